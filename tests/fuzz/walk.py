"""A random walk: bundles are renamed, moved, broken and mended at random below a running agent, which is never wrong.

After each step a lookup: a descriptor is given only for what a fresh validation of the disk calls valid. After each
quiet moment: the agent's view of every bundle is that of a fresh validation, and what is watched is exactly what has to
be. The agent runs in this process, so that its parts can be looked into.
"""

import asyncio
import random
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path

from pumas_agent.agent import Agent
from pumas_agent.bundles import validate
from pumas_agent.contracts.errors import AssetNotValid
from pumas_agent.contracts.imports import ExternalBundleSpec
from pumas_agent.contracts.metadata import AssetValidationState
from pumas_agent.demo.bundle import write_stable_diffusion_bundle
from pumas_agent.settings import load_settings

BUNDLES = 5
QUIET_EVERY = 25
_QUIET_S = 30.0
_PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")


def walk(seed: int, folder: Path, steps: int) -> str:
    """Walk so many steps; what was done.

    Raises:
        AssertionError: the agent was wrong; the message says at which step, after what.
    """
    return asyncio.run(_Walk(seed, folder).run(steps))


class _Walk:
    def __init__(self, seed: int, folder: Path) -> None:
        self._random = random.Random(seed)
        self._folder = folder
        self._places = [folder / "disk1", folder / "disk2", folder / "deep" / "down"]
        self._whole = folder / "whole"
        self._done: list[str] = []
        self._roots: dict[str, Path] = {}

    async def run(self, steps: int) -> str:
        self._prepare()
        agent = await self._started()
        try:
            for step in range(1, steps + 1):
                self._step()
                await self._ask(agent)
                if step % QUIET_EVERY == 0:
                    await self._is_right(agent)
        except AssertionError as error:
            raise AssertionError(f"step {len(self._done)}, after {self._done[-8:]}: {error}") from error
        finally:
            await agent.stop()
        return f"{len(self._done)} steps"

    def _prepare(self) -> None:
        for place in self._places:
            place.mkdir(parents=True)
        for number in range(BUNDLES):
            write_stable_diffusion_bundle(self._whole / f"b{number}", seed=number)

    async def _started(self) -> Agent:
        settings = load_settings(
            None,
            {},
            {
                "library": {"root": self._folder / "library"},
                "socket": {"path": self._folder / "s"},
                "watch": {"debounce_ms": 10, "max_delay_ms": 100, "identity_poll_s": 1},
                "log": {"level": "error"},
            },
        )
        agent = Agent(settings)
        await agent.start(given_up=lambda: False)
        for number in range(BUNDLES):
            root = self._places[number % 2] / f"b{number}"
            shutil.copytree(self._whole / f"b{number}", root)
            spec = ExternalBundleSpec(source_path=str(root), family="walk", official_name=f"b{number}")
            result = await agent.parts.registrar.register(spec)
            assert result.success, result
            self._roots[str(result.model_id)] = root
        await agent.follow()
        return agent

    # --- what is done to the disk -------------------------------------------------------------------------------

    def _step(self) -> None:
        name = self._random.choice(list(_STEPS))
        model_id = self._random.choice(sorted(self._roots))
        self._done.append(f"{name} {self._roots[model_id].name}")
        try:
            _STEPS[name](self, self._roots[model_id])
        except (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, shutil.Error):
            self._done[-1] += " (not possible)"
        except OSError as error:
            self._done[-1] += f" ({error.strerror})"

    def _some_path(self) -> Path:
        return self._random.choice(self._places) / self._random.choice(["aside", "other", "b0", "b1", "b2", "b3", "b4"])

    def _rename(self, root: Path) -> None:
        root.rename(self._some_path())

    def _bring_back(self, root: Path) -> None:
        found = [path for place in self._places for path in place.iterdir() if path.is_dir() and path != root]
        self._random.choice(sorted(found) or [root]).rename(root)

    def _swap(self, root: Path) -> None:
        other, aside = self._random.choice(sorted(self._roots.values())), self._folder / "swapping"
        if other != root:
            root.rename(aside)
            other.rename(root)
            aside.rename(other)

    def _delete(self, root: Path) -> None:
        shutil.rmtree(root)

    def _restore(self, root: Path) -> None:
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(self._whole / root.name, root)

    def _delete_part(self, root: Path) -> None:
        shutil.rmtree(root / self._random.choice(_PARTS))

    def _rename_part(self, root: Path) -> None:
        part = root / self._random.choice(_PARTS)
        part.rename(root / self._random.choice([*_PARTS, "aside"]))

    def _move_part_out(self, root: Path) -> None:
        (root / self._random.choice(_PARTS)).rename(self._random.choice(self._places) / "stray")

    def _move_part_in(self, root: Path) -> None:
        (self._random.choice(self._places) / "stray").rename(root / self._random.choice(_PARTS))

    def _restore_part(self, root: Path) -> None:
        part = self._random.choice(_PARTS)
        if (root / part).is_symlink():
            (root / part).unlink()
        shutil.rmtree(root / part, ignore_errors=True)
        shutil.copytree(self._whole / root.name / part, root / part)

    def _truncate(self, root: Path) -> None:
        files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
        self._random.choice(files or [root / "nothing" / "at all"]).write_bytes(b"")

    def _write(self, root: Path) -> None:
        (root / self._random.choice(["new", "unet/new", "vae/new"])).write_text("x")

    def _make_folders(self, root: Path) -> None:
        deep = root / "new folder" / "a" / "b"
        deep.mkdir(parents=True)
        (deep / "file").write_text("x")

    def _link_part(self, root: Path) -> None:
        part = root / self._random.choice(_PARTS)
        aside = part.with_name("linked")
        part.rename(aside)
        part.symlink_to(aside.name)

    def _retarget(self, root: Path) -> None:
        links = sorted(path for path in root.iterdir() if path.is_symlink())
        link = self._random.choice(links or [root / "nothing"])
        link.unlink()
        link.symlink_to(self._random.choice(["linked", "nowhere", "../b0/unet"]))

    def _rename_place(self, _: Path) -> None:
        place = self._random.choice(self._places)
        place.rename(place.with_name("renamed"))
        place.with_name("renamed").rename(place)

    def _exchange_places(self, _: Path) -> None:
        one, other, aside = self._places[0], self._places[1], self._folder / "swapping"
        one.rename(aside)
        other.rename(one)
        aside.rename(other)

    def _mode(self, root: Path) -> None:
        part = root / self._random.choice(_PARTS)
        part.chmod(stat.S_IMODE(part.stat().st_mode) ^ 0o011)

    # --- what the agent says about it ---------------------------------------------------------------------------

    async def _ask(self, agent: Agent) -> None:
        for model_id in self._random.sample(sorted(self._roots), 2):
            resolver = agent.parts.resolver
            try:
                answer = resolver.at_once(model_id) or await resolver.resolve(model_id)
            except AssetNotValid:
                continue
            report = validate(self._roots[model_id])
            assert report.is_valid, f"{model_id} was given: {answer[:200]!r}, {report.findings[:3]}"

    async def _is_right(self, agent: Agent) -> None:
        deadline = time.monotonic() + _QUIET_S
        while (wrong := self._differences(agent)) is not None:
            assert time.monotonic() < deadline, wrong
            await asyncio.sleep(0.02)

    def _differences(self, agent: Agent) -> str | None:
        """What the agent holds that is not so; None when all is right and nothing is on its way."""
        if agent.queue.queued:
            return f"{agent.queue.queued} scopes are queued"
        for model_id, root in self._roots.items():
            entry = agent.library.catalog.get(model_id)
            if entry is None:
                return f"{model_id} is not registered any more"
            valid = entry.validation_state is AssetValidationState.VALID
            if valid != validate(root).is_valid:
                return f"{model_id} is {entry.validation_state}, and the disk says {validate(root).findings[:2]}"
        return self._watching(agent)

    def _watching(self, agent: Agent) -> str | None:
        """What is not watched, or watched and not there."""
        backend = agent.watcher._backend
        assert backend is not None
        hub = backend.hub
        assert hub is not None
        held = Path(f"/proc/self/fdinfo/{hub._inotify.descriptor}").read_text().count("inotify wd:")
        if held != hub.watches:
            return f"the kernel holds {held} watches, and {hub.watches} are known"
        for root in self._roots.values():
            if not root.is_dir():
                continue
            expected = {str(root), *(str(path) for path in root.rglob("*") if path.is_dir() and not path.is_symlink())}
            folder = agent.watcher._folders.get((str(root), "tree"))
            emitter = backend.emitter(folder.watch) if folder is not None and folder.watch is not None else None
            tree = hub._folders._trees.get(emitter) if emitter is not None else None  # type: ignore[call-overload]
            if tree is None or set(tree.paths) != expected:
                return f"below {root} is watched {tree and sorted(tree.paths)}, and not {sorted(expected)}"
            for path, watch in tree.paths.items():
                if hub._inotify.add(path) != watch:
                    return f"{path} is another folder than the one that is watched"
        return None


_STEPS: dict[str, Callable[[_Walk, Path], None]] = {
    "rename": _Walk._rename,
    "bring back": _Walk._bring_back,
    "swap": _Walk._swap,
    "delete": _Walk._delete,
    "restore": _Walk._restore,
    "restore again": _Walk._restore,
    "delete part": _Walk._delete_part,
    "rename part": _Walk._rename_part,
    "move part out": _Walk._move_part_out,
    "move part in": _Walk._move_part_in,
    "restore part": _Walk._restore_part,
    "truncate": _Walk._truncate,
    "write": _Walk._write,
    "make folders": _Walk._make_folders,
    "link part": _Walk._link_part,
    "retarget": _Walk._retarget,
    "rename place": _Walk._rename_place,
    "exchange places": _Walk._exchange_places,
    "mode": _Walk._mode,
}
