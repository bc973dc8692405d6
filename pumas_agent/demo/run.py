"""The guided run: a small bundle, a real agent, and what the agent knows while the bundle's owner does things to it.

Owns the story. It is the owner of the bundle it makes, so it may change it; it shows that nobody else does. Everything
happens in a temporary folder, and asks the agent only what any program could ask.
"""

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TextIO

from pumas_agent.client import AgentClient
from pumas_agent.contracts.errors import AssetNotValid, ModelNotFound, PumasError
from pumas_agent.demo.bundle import write_stable_diffusion_bundle
from pumas_agent.demo.narration import Narration
from pumas_agent.demo.process import AgentProcess, DemoFailed
from pumas_agent.demo.snapshot import Snapshot, differences, snapshot

__all__ = ["run_demo"]

_PATIENCE_S = 20.0
"""Longer than the agent ever needs on a machine that works: reaching it means that the demo failed."""
_RETRY_S = 0.01
_FAILED = 2
_INTERRUPTED = 130
_BROKEN_PIPE = 141


def run_demo(*, keep: bool = False, as_json: bool = False, out: TextIO = sys.stdout) -> int:
    """Tell the story on `out`; 0 when all went as told, else 2 with the reason. The agent is always stopped.

    The folder is removed whatever happens.

    Args:
        keep: leave the temporary folder.
        as_json: one object at the end instead of the text.
        out: where it is told.
    """
    told = Narration(out, as_json=as_json)
    folder = Path(tempfile.mkdtemp(prefix="pumas-demo-"))
    try:
        with AgentProcess(folder) as agent:
            _Story(folder, agent, told).tell()
        if keep:
            told.fact("kept", str(folder))
        told.finish()
    except DemoFailed as failure:
        told.fail("demo_failed", str(failure))
        return _FAILED
    except PumasError as error:
        told.fail(error.code, error.message)
        return _FAILED
    except BrokenPipeError:  # nobody listens any more
        raise
    except OSError as error:
        told.fail("demo_failed", str(error))
        return _FAILED
    finally:
        if not keep:
            shutil.rmtree(folder)
    return 0


class _Story:
    """One telling: the bundle, where it is now, and how it looked when its owner last touched it."""

    def __init__(self, folder: Path, agent: AgentProcess, told: Narration) -> None:
        self._agent = agent
        self._told = told
        self._home = folder / "models" / "stable-diffusion"
        self._aside = folder / "aside"
        self._aside.mkdir()
        self._client = AgentClient(agent.socket, timeout=_PATIENCE_S)
        self._model_id = ""
        self._acted_at = time.monotonic()
        self._left: dict[Path, Snapshot] = {}
        self._stretches = 0

    def tell(self) -> None:
        """From an empty library to an empty library."""
        self._begin()
        self._register()
        unet, unet_aside = self._home / "unet", self._aside / "unet"
        self._lose(
            "Its owner takes the unet away, and a runtime asks at once",
            "bundle_incomplete",
            lambda: unet.rename(unet_aside),
            asked=True,
        )
        self._regain("Its owner puts the unet back", "bundle_incomplete", lambda: unet_aside.rename(unet))
        weights = unet / "diffusion_pytorch_model.safetensors"
        whole = weights.read_bytes()
        self._lose(
            "A full disk cuts off the weights of the unet, and a runtime asks at once",
            "bundle_incomplete",
            lambda: os.truncate(weights, len(whole) // 2),
            asked=True,
        )
        self._regain("Its owner fetches them again", "bundle_incomplete", lambda: weights.write_bytes(whole))
        moved = self._home.with_name("renamed")
        self._lose(
            "Its owner renames the whole bundle, and nobody asks",
            "bundle_moved",
            lambda: self._move_to(moved),
            asked=False,
        )
        self._regain("The agent is told to follow, and the id stays", "bundle_moved", self._relocate)
        self._unregister()
        self._told.step("Who touched the bundle?")
        self._check_untouched()
        files = sum(len(left) for left in self._left.values())
        self._told.fact(
            "untouched",
            f"only its owner: content, mtime and ctime of its {files} files and folders "
            f"stayed the same in all {self._stretches} stretches between the owner's acts",
        )
        self._client.close()

    def _begin(self) -> None:
        self._told.step("A bundle, and an agent with an empty library")
        started_at = time.monotonic()
        self._act(lambda: write_stable_diffusion_bundle(self._home))
        self._told.fact("bundle", str(self._home))
        ready = self._agent.wait_for("agent.ready", since=0.0, within_s=_PATIENCE_S)
        self._told.fact("agent", f"pid {self._agent.pid} is ready", ms=(ready.at - started_at) * 1000)

    def _register(self) -> None:
        self._told.step("The bundle is registered where it lies")
        asked_at = time.monotonic()
        result = self._client.call(
            "import_external_diffusers_directory",
            source_path=str(self._home),
            family="demo",
            official_name="Stable Diffusion Tiny",
        )
        if not result["success"]:
            raise DemoFailed(f"the bundle was refused: {result['error']}")
        self._model_id = result["model_id"]
        self._told.fact(result["status"], self._model_id, ms=_ms_since(asked_at))
        self._told.fact("valid", self._describe(), ms=_ms_since(asked_at))

    def _lose(self, title: str, code: str, act: Callable[[], object], *, asked: bool) -> None:
        """An act after which the bundle cannot be run.

        `asked`: a runtime asks at once and is refused. Else nobody does, and the agent finds out by itself.
        """
        self._told.step(title)
        self._act(act)
        if asked:
            self._ask_and_be_refused()
        alert = self._wait_for("alert.raised", code)
        self._told.fact("hint", str(alert.get("hint")))
        if not asked:
            self._ask_and_be_refused()

    def _ask_and_be_refused(self) -> None:
        try:
            self._client.descriptor(self._model_id)
        except AssetNotValid as refusal:
            self._told.fact("refused", f"a lookup, {refusal.validation_state}", ms=_ms_since(self._acted_at))
            for finding in refusal.findings:
                self._told.fact("", f"{finding['code']} {finding['path'] or '.'}: {finding['message']}")
        else:
            raise DemoFailed("the agent gave a descriptor for a bundle that cannot be run")

    def _regain(self, title: str, code: str, act: Callable[[], object]) -> None:
        """An act after which the bundle is whole again: the alert goes by itself, and lookups are answered."""
        self._told.step(title)
        self._act(act)
        self._wait_for("alert.cleared", code)
        deadline = self._acted_at + _PATIENCE_S
        while True:
            try:
                described = self._describe()
                break
            except AssetNotValid as refusal:
                if time.monotonic() > deadline:
                    raise DemoFailed(f"the bundle is whole, but is refused: {refusal.findings}") from refusal
            time.sleep(_RETRY_S)
        self._told.fact("valid", described, ms=_ms_since(self._acted_at))

    def _move_to(self, moved: Path) -> None:
        self._home.rename(moved)
        self._home = moved

    def _relocate(self) -> None:
        result = self._client.call(
            "relocate_external_model", model_id=self._model_id, new_path=str(self._home), apply=True
        )
        self._told.fact("relocated", f"{result['same_bundle']} to be the same bundle: {self._model_id}")

    def _unregister(self) -> None:
        self._told.step("The bundle is unregistered")
        asked_at = time.monotonic()
        self._client.call("unregister_external_model", model_id=self._model_id)
        self._told.fact("agent", "forgot it; its files stay", ms=_ms_since(asked_at))
        try:
            self._client.descriptor(self._model_id)
        except ModelNotFound as gone:
            self._told.fact("refused", gone.message)
        else:
            raise DemoFailed("the agent gave a descriptor for a model that it was told to forget")

    def _describe(self) -> str:
        given = self._client.descriptor(self._model_id)
        components = ", ".join(component.name for component in given.components or ())
        return f"{given.pipeline_class} with {components}"

    def _wait_for(self, event: str, code: str) -> dict[str, object]:
        line = self._agent.wait_for(
            event, since=self._acted_at, within_s=_PATIENCE_S, code=code, model_id=self._model_id
        )
        label = event.removeprefix("alert.").replace("raised", "alert")
        self._told.fact(label, f"{code}, in the agent's log", ms=(line.at - self._acted_at) * 1000)
        return line.fields

    def _act(self, act: Callable[[], object]) -> None:
        """The owner does something to the bundle: it has to be as they left it before, and is looked at after."""
        self._check_untouched()
        self._acted_at = time.monotonic()
        act()
        places = (self._home, *self._aside.iterdir())
        self._left = {place: snapshot(place) for place in places if place.exists()}

    def _check_untouched(self) -> None:
        for place, left in self._left.items():
            if changed := differences(left, snapshot(place)):
                raise DemoFailed(f"changed by someone who is not the owner, under {place}: {', '.join(changed)}")
        self._stretches += bool(self._left)


def _ms_since(moment: float) -> float:
    return (time.monotonic() - moment) * 1000


def _end(number: int, _frame: FrameType | None) -> None:
    """Leave through the blocks that stop the agent and remove the folder."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGHUP, _end)
    try:
        sys.exit(run_demo(keep="--keep" in sys.argv, as_json="--json" in sys.argv))
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_BROKEN_PIPE)
