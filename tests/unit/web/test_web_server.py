"""The socket of the page: had, or refused with the reason."""

import socket
import subprocess
import sys

import pytest

from pumas_agent.contracts.errors import SettingsInvalid
from pumas_agent.web import LoopbackAddress
from pumas_agent.web.server import bind


def test_any_free_port_is_told() -> None:
    bound, address = bind(LoopbackAddress("127.0.0.1", 0))

    with bound:
        assert bound.getsockname() == ("127.0.0.1", address.port)
        assert address.url == f"http://127.0.0.1:{address.port}/"


@pytest.mark.parametrize("listens", [True, False])
def test_a_port_that_another_has_is_refused(listens: bool) -> None:
    """Also one that is only bound yet: two would answer by turns."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        if listens:
            other.listen()
        with pytest.raises(SettingsInvalid, match=r"127\.0\.0\.1:\d+: Address already in use"):
            bind(LoopbackAddress("127.0.0.1", other.getsockname()[1]))


def test_a_system_that_gives_no_socket_is_named() -> None:
    """As under a unit that allows no network; here, one that allows no descriptor."""
    program = """
import os, resource
from pumas_agent.contracts.errors import SettingsInvalid
from pumas_agent.web import LoopbackAddress
from pumas_agent.web.server import bind
resource.setrlimit(resource.RLIMIT_NOFILE, (os.dup(0), 4096))
try:
    bind(LoopbackAddress("127.0.0.1", 0))
except SettingsInvalid as error:
    print(error)
"""

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ("the page cannot be served on 127.0.0.1:0: Too many open files\n", "")
