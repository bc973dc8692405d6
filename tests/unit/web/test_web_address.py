"""Where the page may be served, and by which names it may be asked for."""

import pytest

from pumas_agent.web import LoopbackAddress


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("127.0.0.1:8451", "http://127.0.0.1:8451/"),
        ("localhost:8451", "http://127.0.0.1:8451/"),
        ("127.0.0.53:1", "http://127.0.0.53:1/"),
        ("[::1]:8451", "http://[::1]:8451/"),
    ],
)
def test_an_address_of_this_machine_is_taken(text: str, url: str) -> None:
    assert LoopbackAddress.parse(text).url == url


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0:8451",
        "[::]:8451",
        "192.168.1.7:8451",
        "[::ffff:192.168.1.7]:8451",
        "example.org:8451",
        "127.0.0.1.example.org:80",
        "::1:8451",
        "[127.0.0.1]:8451",
        "127.0.0.1",
        "8451",
        ":8451",
        "127.0.0.1:",
        "127.0.0.1:-1",
        "127.0.0.1:65536",
        "127.0.0.1:٣",
        "127.0.0.1:80/",
        "",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    """What others could reach, names that somebody else answers for, and what is no address at all."""
    with pytest.raises(ValueError, match=r"no HOST:PORT|loopback"):
        LoopbackAddress.parse(text)


def test_a_page_has_the_names_of_the_loopback_interface_with_its_port() -> None:
    assert LoopbackAddress.parse("127.0.0.2:9").names == {"127.0.0.2:9", "127.0.0.1:9", "localhost:9", "[::1]:9"}


def test_a_browser_leaves_the_port_of_http_out() -> None:
    assert {"localhost", "localhost:80"} < LoopbackAddress.parse("127.0.0.1:80").names
