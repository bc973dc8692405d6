"""The parts of an agent over a library on disk, called by method name: no socket, no watcher, no queue.

Owns how they are put together for the tests of registration, verdicts, descriptors and methods. The judge is the real
one, in a thread; a test may hold it, count it, or let it say that a filesystem does not answer.
"""

import asyncio
import errno
import json
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from pumas_agent.agent.assembly import assemble
from pumas_agent.bundles import Look, fingerprint, look
from pumas_agent.contracts.errors import AgentNotRunning, AssetNotValid, PumasError
from pumas_agent.contracts.metadata import ModelMetadata
from pumas_agent.contracts.records import AgentStatus, ReconcileReport
from pumas_agent.contracts.rpc import METHODS
from pumas_agent.demo.bundle import write_stable_diffusion_bundle
from pumas_agent.library import Library
from pumas_agent.serving import Peer, Request
from pumas_agent.serving.methods import Methods
from pumas_agent.serving.registry import parse_params
from pumas_agent.upkeep import AbsencePolicy, NothingProven

NOBODY = 65534
DEADLINE_S = 10.0


def look_as_nobody(root: Path) -> Look:
    """A look of a user without rights; for tests marked `needs_root`."""
    os.setresuid(NOBODY, NOBODY, 0)  # the real one too: access(2) asks for that
    try:
        return look(root)
    finally:
        os.setresuid(0, 0, 0)


class HeldJudge:
    """Looks at real bundles, as often as it is asked: `looks` has each root, in order."""

    def __init__(self) -> None:
        self.looks: list[Path] = []
        self.faults: dict[Path, PumasError] = {}
        self.settling = False
        """Say of each bundle that it did not hold still."""
        self.without_rights = False
        """Look as a user who may read only what everybody may; needs root."""
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.in_hand = asyncio.Event()
        """A look has seen the disk and was not yet handed over."""

    def hold(self) -> None:
        """Hand over nothing until `go_on` is set."""
        self.go_on.clear()
        self.in_hand.clear()

    async def judge(self, root: Path, *, urgent: bool = False) -> Look:  # noqa: ARG002  there is no line to wait in
        self.looks.append(root)
        if fault := self.faults.get(root):
            raise fault
        seen = await asyncio.to_thread(look_as_nobody if self.without_rights else look, root)
        self.in_hand.set()
        await self.go_on.wait()
        return replace(seen, signature=None) if self.settling else seen


class Parts:
    """An agent's parts and its methods, as a client sees them."""

    def __init__(self, library: Library, judge: HeldJudge) -> None:
        self.library = library
        self.judge = judge
        self.root = library.layout.root
        self.followed = 0

    async def start(self) -> None:
        self.parts = await assemble(
            self.library,
            self.judge,
            NothingProven(),
            follow=self._follow,
            policy=AbsencePolicy(),
            mapping_configs=self.root.parent / "mapping-configs",
        )
        self.registry = Methods(
            self.parts, reconcile=self._reconcile, follow=self._follow, status=self._no_status
        ).registry()

    async def _follow(self) -> None:
        self.followed += 1

    async def _reconcile(self, scope: str, request: Request) -> ReconcileReport:
        return await self.parts.reconciler.run(scope, ("asked",), request.progress)

    @staticmethod
    def _no_status() -> AgentStatus:
        raise AgentNotRunning("these are the parts alone")

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result as it goes over the wire; it is checked against its contract."""
        contract = METHODS[method]
        peer = Peer(uid=os.geteuid(), gid=os.getegid(), pid=os.getpid(), groups=frozenset())
        request = Request(1, peer, lambda _told: None)
        answer: Any = self.registry[method].call(parse_params(contract, params), request)
        if isinstance(answer, Awaitable):
            answer = await answer
        line = answer.model_dump_json() if isinstance(answer, BaseModel) else answer
        contract.result.model_validate_json(line)
        return dict(json.loads(line))

    async def register(self, bundle: Path, **params: Any) -> dict[str, Any]:
        given = {"source_path": str(bundle), "family": "Acme", "official_name": bundle.name, **params}
        return await self.call("import_external_diffusers_directory", **given)

    async def registered(self, bundle: Path, **params: Any) -> str:
        """Register a bundle; its id."""
        result = await self.register(bundle, **params)
        assert result["success"], result
        return str(result["model_id"])

    async def resolve(self, model_id: str, **params: Any) -> dict[str, Any]:
        return await self.call("resolve_model_execution_descriptor", model_id=model_id, **params)

    async def refused(self, model_id: str) -> AssetNotValid:
        """The refusal that stands for a descriptor."""
        with pytest.raises(AssetNotValid) as refusal:
            await self.resolve(model_id)
        return refusal.value

    async def states(self, model_id: str) -> set[object]:
        """The state of a model in each place that has one; one value when they agree."""
        entry = self.library.catalog.get(model_id)
        assert entry is not None
        rows = (await self.call("list_models"))["models"]
        found = (await self.call("search_models", query=entry.cleaned_name))["models"]
        try:
            served = (await self.resolve(model_id))["validation_state"]
        except AssetNotValid as refusal:
            served = refusal.validation_state
        return {
            self.record(model_id)["validation_state"],
            (await self.row(model_id))["validation_state"],
            (await self.call("get_model", model_id=model_id))["validation_state"],
            entry.validation_state,
            served,
            *(row["validation_state"] for row in (*rows, *found) if row["id"] == model_id),
        }

    async def create(self, model_id: str, **fields: Any) -> Path:
        """A record of another program; its folder."""
        record, _ = ModelMetadata.parse(fields)
        await self.library.write(lambda store: store.create(model_id, record))
        return self.library.layout.directory(model_id)

    def record(self, model_id: str) -> dict[str, Any]:
        """The metadata.json as it is now."""
        return dict(json.loads(self.library.layout.metadata_path(model_id).read_text()))

    def edit(self, model_id: str, **fields: Any) -> None:
        """Change a metadata.json by hand."""
        path = self.library.layout.metadata_path(model_id)
        path.write_text(json.dumps(self.record(model_id) | fields))

    async def row(self, model_id: str) -> dict[str, Any]:
        """The row's metadata."""
        row = await self.library.read(lambda index: index.row(model_id))
        assert row is not None
        return dict(json.loads(row.metadata_json))

    def alerts(self, model_id: str | None = None) -> list[str]:
        """Codes that stand of a model, or of the library itself."""
        return [alert.code.value for alert in self.parts.alerts.standing() if alert.model_id == model_id]

    def artifacts(self) -> list[str]:
        """Everything in the library but the index and the lock."""
        return sorted(
            str(path.relative_to(self.root))
            for path in self.root.rglob("*")
            if not path.name.startswith(("models.db", ".pumas-agent"))
        )

    async def written(self) -> dict[str, object]:
        """Everything that a write would change: each file and folder of the library, and the index with its log."""
        await self.library.write(lambda _: None)  # behind what was posted and nobody waits for
        return await asyncio.to_thread(self._written)

    def _written(self) -> dict[str, object]:
        with sqlite3.connect(self.root / "models.db", isolation_level=None) as connection:
            dump = "\n".join(connection.iterdump())
        connection.close()
        stamps = {
            str(path): (path.lstat().st_ino, path.lstat().st_mtime_ns, path.lstat().st_size)
            for path in [self.root, *self.root.rglob("*")]
            if not path.name.endswith(("-wal", "-shm"))
        }
        return {**stamps, "index": dump, "log": (self.root / "models.db-wal").stat().st_mtime_ns}


@pytest.fixture
def judge() -> HeldJudge:
    return HeldJudge()


@pytest.fixture
async def agent(tmp_path: Path, judge: HeldJudge) -> AsyncIterator[Parts]:
    """The parts, over a library of their own."""
    library = await asyncio.to_thread(Library.open, tmp_path / "library", "agent")
    parts = Parts(library, judge)
    await parts.start()
    yield parts
    judge.go_on.set()
    await asyncio.to_thread(library.close)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A whole bundle, outside the library."""
    root = tmp_path / "models" / "tiny"
    write_stable_diffusion_bundle(root)
    return root


@pytest.fixture
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a verdict be believed at once: a bundle that a test has just written is otherwise judged at each look."""
    monkeypatch.setattr(fingerprint, "RACY_NS", 0)


@pytest.fixture
def disk_full(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Let every flush of a file say that the disk is full, or not any more."""
    full = False
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    def say(now: bool) -> None:
        nonlocal full
        full = now

    monkeypatch.setattr(os, "fsync", fsync)
    return say


async def _until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be"
        await asyncio.sleep(0)


@pytest.fixture
def until() -> Callable[[Callable[[], object]], Awaitable[None]]:
    """Wait for a condition, letting the loop go on."""
    return _until
