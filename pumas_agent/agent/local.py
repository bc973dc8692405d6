"""What one method does, without an agent: the same parts, for one call of a command."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pumas_agent.agent.assembly import absence_policy, assemble, external_roots
from pumas_agent.bundles import Look, Policy, look
from pumas_agent.contracts.classification import ClassifyParams
from pumas_agent.contracts.discovery import DiscoverParams
from pumas_agent.contracts.doctor import DoctorReport
from pumas_agent.contracts.errors import AgentNotRunning, NotPermitted, PumasError
from pumas_agent.contracts.model import Contract
from pumas_agent.contracts.records import AgentStatus, ReconcileReport
from pumas_agent.contracts.rpc import METHODS, Access, Progress, needs_agent
from pumas_agent.importing import BundleFinder, Classifier
from pumas_agent.in_time import in_time
from pumas_agent.library import Catalog, Library
from pumas_agent.path_map import PathMap
from pumas_agent.reconcile import ProgressSink
from pumas_agent.serving import Peer, Request
from pumas_agent.serving.doctor import Doctor, Patient
from pumas_agent.serving.methods import Methods
from pumas_agent.settings import Settings
from pumas_agent.upkeep import NothingProven

_MAKING = {"import_external_diffusers_directory", "import_model", "import_models_batch"}
"""Methods that may be the first thing ever done to a library."""
_OPEN_S = 5.0


async def call_locally(settings: Settings, method: str, params: Contract, progress: ProgressSink) -> BaseModel:
    """Do what one method does, without an agent: reads on a library opened read-only, writes under its lock.

    Raises:
        AgentNotRunning: the method is about the agent itself.
        NotPermitted: a write to a library of another user, which would leave files there that its agent cannot touch.
        PumasError: what the method raises.
    """
    contract = METHODS[method]
    if needs_agent(method):
        raise AgentNotRunning(
            f"no agent runs (nothing listens on {settings.socket.path})", hint="start one with `pumas-agent run`"
        )
    root = settings.library.root
    if method == "agent.doctor":  # it has to say what is wrong with a library that cannot be opened
        return await _examine(settings, progress)
    judge = _JudgeHere(Policy.from_fields(settings.bundles.model_dump()))
    if isinstance(params, DiscoverParams) and not root.exists():  # before the first model there is no library to ask
        finder = BundleFinder(Catalog(), root, judge.judge, settings.bundles.search_roots)
        return await finder.find(params.paths, progress)
    if isinstance(params, ClassifyParams):  # asks nothing of a library
        return await Classifier(judge.judge).classify(params.paths)
    if contract.access is Access.WRITE:
        require_owner(root)
        library = await asyncio.to_thread(Library.open, root, "command", make=method in _MAKING)
    else:
        library = await asyncio.to_thread(Library.open_readonly, root)
    try:
        parts = await assemble(
            library,
            judge,
            NothingProven(),
            follow=_follow_nothing,
            policy=absence_policy(settings),
            mapping_configs=settings.mapping.config_dir,
            paths=PathMap.of(settings.paths.map),
        )

        async def reconcile(scope: str, request: Request) -> ReconcileReport:
            return await parts.reconciler.run(scope, ("asked",), request.progress)

        methods = Methods(parts, reconcile=reconcile, follow=_follow_nothing, status=_no_status)
        handler = methods.registry()[method]
        own = Peer(uid=os.geteuid(), gid=os.getegid(), pid=os.getpid(), groups=frozenset(os.getgroups()))
        answer: Any = handler.call(params, Request(None, own, _reporting(progress)))
        if not isinstance(answer, BaseModel | bytes):
            answer = await answer
        return contract.result.model_validate_json(answer) if isinstance(answer, bytes) else answer
    finally:
        await asyncio.to_thread(library.close)


async def _examine(settings: Settings, progress: ProgressSink) -> DoctorReport:
    root = settings.library.root

    def registered() -> dict[str, str]:
        library = Library.open_readonly(root)
        try:
            return external_roots(library)
        finally:
            library.close()

    try:
        roots = await in_time(registered, _OPEN_S, name="doctor catalog")
    except (OSError, PumasError, TimeoutError):
        roots = {}  # the checks of the library and of its index say why
    patient = Patient(
        root=root,
        socket=settings.socket.path,
        poll_interval_s=settings.watch.poll_interval_s,
        trash_days=settings.library.trash_days,
        roots=roots,
    )
    return await Doctor(lambda: patient).examine(progress)


class _JudgeHere:
    """Judges in a thread of this process: a command has no other clients to keep waiting."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    async def judge(self, root: Path, *, urgent: bool = False) -> Look:  # noqa: ARG002  nobody waits before it
        return await asyncio.to_thread(look, root, self._policy)


def _reporting(progress: ProgressSink) -> Callable[[Progress], None]:
    return lambda told: progress(told.stage, told.done, told.total, told.unit)


async def _follow_nothing() -> None:
    """A command watches nothing."""


def _no_status() -> AgentStatus:
    raise AgentNotRunning("no agent runs")


def require_owner(root: Path) -> None:
    """Refuse to write to a library of another user.

    Raises:
        NotPermitted: it is one.
    """
    if root.exists() and root.stat().st_uid != os.geteuid():
        raise NotPermitted(
            f"the library {root} belongs to another user (uid {root.stat().st_uid})",
            hint="run the command as that user: files made by another one could not be changed by its agent",
        )
