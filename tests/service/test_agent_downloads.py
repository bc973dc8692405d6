"""A bundle that is being written is settling, not broken: nobody is alarmed, and nobody is told that it is valid."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.service.conftest import AgentUnderTest, MakeBundle

Until = Callable[..., Any]
TINY = "diffusion/acme/tiny"


@contextmanager
def _downloading(part: Path) -> Iterator[None]:
    """A file that grows some twenty times a second, under the name of a download tool."""
    done = threading.Event()

    def grow() -> None:
        with part.open("ab") as file:
            while not done.wait(0.05):
                file.write(b"more")
                file.flush()

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        yield
    finally:
        done.set()
        writer.join()


def _raised(agent: "AgentUnderTest", after: int) -> list[str]:
    return [line["code"] for line in agent.lines[after:] if line["event"] == "alert.raised"]


def test_a_download_is_no_alarm_and_ends_in_one_verdict(
    agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until, short_tmp: Path
) -> None:
    """Refused while it goes on, with `settling`; valid when it is done; nothing was ever raised."""
    root = make_bundle()
    agent.register(root)
    agent.settled()
    weights, part = root / "unet" / "diffusion_pytorch_model.safetensors", root / "unet" / "weights.incomplete"
    shutil.copy(weights, short_tmp / "whole")
    heard = len(agent.lines)

    with _downloading(part):
        until(part.exists, "the download has begun")
        weights.unlink()
        until(lambda: agent.state(TINY) == "degraded", "the record does not say valid")
        size = part.stat().st_size
        until(lambda: part.stat().st_size > size + 100, "the download went on")
        refusal = agent.refusal(TINY)
        assert refusal is not None
        assert refusal.settling
        assert _raised(agent, heard) == []
    part.unlink()
    shutil.copy(short_tmp / "whole", weights)

    until(lambda: agent.state(TINY) == "valid", "it is whole")
    assert _raised(agent, heard) == []


def test_a_download_that_stopped_is_told_of_once(
    agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until
) -> None:
    """When it is quiet, by stable sizes and times."""
    root = make_bundle()
    agent.register(root)
    agent.settled()
    heard = len(agent.lines)

    with _downloading(root / "unet" / "config.json"):
        agent.wait_for("reconcile.finished", after=heard, scope=TINY)
        assert _raised(agent, heard) == []

    until(lambda: _raised(agent, heard) == ["bundle_incomplete"], "it is told of")
    until(lambda: agent.state(TINY) == "degraded", "it is recorded")


def test_a_downloader_may_say_so_itself(agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until) -> None:
    """`hold_bundle`, by id or path, until it is released or the connection ends."""
    root = make_bundle()
    agent.register(root)
    agent.settled()
    aside = root.parent / "index"
    heard = len(agent.lines)

    hold = agent.client.call("hold_bundle", bundle=TINY)
    assert hold["path"] == str(root)
    (root / "model_index.json").rename(aside)
    agent.wait_for("reconcile.finished", after=heard, scope=TINY)
    refusal = agent.refusal(TINY)
    assert refusal is not None
    assert refusal.settling
    assert _raised(agent, heard) == []
    assert agent.client.call("release_bundle", hold=hold["hold"]) == {"released": True}
    until(lambda: _raised(agent, heard) == ["bundle_incomplete"], "it is told of")
    assert agent.client.call("release_bundle", hold=hold["hold"]) == {"released": False}

    aside.rename(root / "model_index.json")
    until(lambda: not agent.alerts(), "it is whole")
    heard = len(agent.lines)
    downloader = agent.new_client()
    downloader.call("hold_bundle", bundle=str(root))
    (root / "model_index.json").rename(aside)
    agent.wait_for("reconcile.finished", after=heard, scope=TINY)
    assert _raised(agent, heard) == []
    downloader.close()

    until(lambda: _raised(agent, heard) == ["bundle_incomplete"], "the hold ended with its connection")


def test_what_is_taken_away_is_told_of_at_once(agent: "AgentUnderTest", make_bundle: "MakeBundle") -> None:
    """Deleting and renaming are no writing: no alert waits for them to settle."""
    root = make_bundle()
    agent.register(root)
    agent.settled()
    heard = len(agent.lines)

    shutil.rmtree(root / "vae")

    agent.wait_for("alert.raised", after=heard, within_s=1.0, code="bundle_incomplete")
