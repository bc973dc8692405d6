"""What goes wrong with the watching itself: said, contained, mended without a restart. Real floods, limits, users."""

import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

if TYPE_CHECKING:
    from tests.service.conftest import AgentUnderTest, MakeBundle, StartAgent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify and its limits")

Until = Callable[..., Any]
TINY = "diffusion/acme/tiny"


def _codes(agent: "AgentUnderTest") -> set[str]:
    return {code for code, _ in agent.alerts()}


def test_a_flood_is_said_once_and_the_state_is_true(
    agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until
) -> None:
    """More events than the kernel keeps, while the agent cannot read; among them one that breaks the bundle."""
    root = make_bundle()
    agent.register(root)
    agent.settled()
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    heard = len(agent.lines)

    agent.process.send_signal(signal.SIGSTOP)
    flood = [root / "unet" / name for name in ("a", "b")]
    for _ in range(most // 4 + 1000):  # created and deleted, two files in turn: nothing is there to be merged
        for file in flood:
            os.close(os.open(file, os.O_CREAT | os.O_WRONLY))
            file.unlink()
    index, text = root / "model_index.json", (root / "model_index.json").read_text()
    index.unlink()
    agent.process.send_signal(signal.SIGCONT)

    raised = agent.wait_for("alert.raised", after=heard, code="watch_overflow")
    assert raised["evidence"] == {"times": 1}
    until(lambda: ("bundle_incomplete", TINY) in agent.alerts(), "the break was seen")
    agent.wait_for("alert.cleared", after=heard, code="watch_overflow")
    assert agent.client.call("agent.status")["watch_overflows"] == 1
    index.write_text(text)
    until(lambda: not agent.alerts(), "it is mended, and was seen to be")


def test_too_few_watches_are_said_and_made_up_for(
    start: "StartAgent", make_bundle: "MakeBundle", until: Until, short_tmp: Path
) -> None:
    """What does not fit is compared at intervals, and watched when there is room: the answer is true all the time."""
    first, second = make_bundle(parent=short_tmp / "a"), make_bundle("second", parent=short_tmp / "b")
    folders = len([path for path in first.rglob("*") if path.is_dir()])
    agent = start(PUMAS_AGENT_WATCH__MAX_WATCHES=str(folders + 12), PUMAS_AGENT_WATCH__POLL_INTERVAL_S="0.2")
    agent.register(first)
    model_id = agent.register(second)

    raised = agent.wait_for("alert.raised", code="watch_limit")
    assert raised["evidence"]["roots_total"] >= 1
    assert agent.client.call("agent.status")["polled_roots"] >= 1
    for root, about in ((first, TINY), (second, model_id)):
        index = root / "model_index.json"
        index.rename(root.parent / "index")
        assert agent.refusal(about) is not None
        until(lambda about=about: ("bundle_incomplete", about) in agent.alerts(), "it is seen")
        (root.parent / "index").rename(index)
        until(lambda about=about: ("bundle_incomplete", about) not in agent.alerts(), "it is mended")
    agent.client.call("unregister_external_model", model_id=TINY)

    until(lambda: not agent.alerts(), "there is room now")
    assert agent.client.call("agent.status")["polled_roots"] == 0


@pytest.mark.needs_root
def test_a_folder_that_may_not_be_read(
    start: "StartAgent", make_bundle: "MakeBundle", until: Until, short_tmp: Path, as_nobody: Sequence[str]
) -> None:
    """The bundle is unreadable and cannot be watched whole; others do not notice. The agent is another user's."""
    root, other = make_bundle(), make_bundle("other", parent=short_tmp / "elsewhere")
    agent = start(within=as_nobody, PUMAS_AGENT_WATCH__POLL_INTERVAL_S="0.2")
    assert psutil.Process(agent.pid).uids().effective != os.getuid()
    agent.register(root)
    agent.register(other)
    agent.settled()

    (root / "unet").chmod(0)
    until(lambda: ("bundle_unreadable", TINY) in agent.alerts(), "it is told of")
    assert agent.refusal(TINY) is not None
    assert agent.refusal("diffusion/acme/other") is None
    (root / "unet").chmod(0o755)
    until(lambda: not agent.alerts(), "it can be read again")

    assert agent.refusal(TINY) is None
    (root / "unet" / "config.json").unlink()
    until(lambda: ("bundle_incomplete", TINY) in agent.alerts(), "it is watched")


def _limited(name: str, count: int) -> tuple[str, ...]:
    """A user namespace in which that limit of inotify is so low."""
    script = f'echo {count} > /proc/sys/user/{name} && exec "$@"'
    return "unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"


@pytest.mark.needs_root
def test_no_instance_can_be_had(start: "StartAgent", make_bundle: "MakeBundle", until: Until) -> None:
    """Other programs of the user have them all: everything is compared at intervals."""
    agent = start(within=_limited("max_inotify_instances", 0), PUMAS_AGENT_WATCH__POLL_INTERVAL_S="0.2")
    root = make_bundle()
    agent.register(root)
    agent.settled()
    assert agent.said("watch.backend_unavailable")
    assert agent.client.call("agent.status")["watch_backend"] == "polling"

    (root / "model_index.json").unlink()

    assert agent.refusal(TINY) is not None
    until(lambda: _codes(agent) == {"bundle_incomplete"}, "it is seen")


@pytest.mark.needs_root
def test_no_more_watches_can_be_had(start: "StartAgent", make_bundle: "MakeBundle", until: Until) -> None:
    """The kernel's own limit: said with its name, and made up for."""
    agent = start(within=_limited("max_inotify_watches", 12), PUMAS_AGENT_WATCH__POLL_INTERVAL_S="0.2")
    root = make_bundle()
    agent.register(root)

    raised = agent.wait_for("alert.raised", code="watch_limit")
    assert "fs.inotify.max_user_watches" in raised["hint"]
    (root / "model_index.json").unlink()

    assert agent.refusal(TINY) is not None
    until(lambda: ("bundle_incomplete", TINY) in agent.alerts(), "it is seen")


def test_no_descriptor_is_left(start: "StartAgent", make_bundle: "MakeBundle", until: Until) -> None:
    """Clients have them all: what cannot be done waits, and is done without a restart when some are given back."""
    agent = start(within=("prlimit", "--nofile=40:40"))
    agent.expected |= {"library.said", "request.failed", "reconcile.failed"}
    root = make_bundle()
    agent.register(root)
    agent.settled()
    crowd = [socket.socket(socket.AF_UNIX) for _ in range(40)]
    for client in crowd:
        client.connect(str(agent.socket))

    (root / "model_index.json").rename(root.parent / "index")
    for client in crowd:
        client.close()

    until(lambda: agent.alerts() == {("bundle_incomplete", TINY)}, "the break was seen", within_s=30)
    (root.parent / "index").rename(root / "model_index.json")
    until(lambda: not agent.alerts(), "it is mended", within_s=30)
    assert agent.refusal(TINY) is None


def test_polling_alone(start: "StartAgent", make_bundle: "MakeBundle", until: Until) -> None:
    """Everything is compared at intervals; alerts come later, and answers are as true."""
    agent = start(PUMAS_AGENT_WATCH__BACKEND="polling", PUMAS_AGENT_WATCH__POLL_INTERVAL_S="0.2")
    root = make_bundle()
    agent.register(root)
    agent.settled()
    assert agent.client.call("agent.status")["watch_backend"] == "polling"

    (root / "model_index.json").rename(root.parent / "index")
    assert agent.refusal(TINY) is not None
    until(lambda: _codes(agent) == {"bundle_incomplete"}, "it is seen")
    (root.parent / "index").rename(root / "model_index.json")

    until(lambda: not agent.alerts(), "it is mended")
