"""MappingService: what the methods about mapping and links do, one at a time, and none on the event loop.

Folders of applications are looked at and changed on a thread of their own, so that a filesystem that hangs there holds
up no commit, and not the end of the process. The register of links and the exclusions are written by the library's
writer thread.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pumas_agent.contracts.errors import AssetUnresponsive, ModelNotFound
from pumas_agent.contracts.mapping import (
    ApplyMappingParams,
    AppParams,
    CleanedLinks,
    LinkEntry,
    LinkExclusionParams,
    LinkExclusions,
    LinkExclusionSet,
    LinkHealth,
    MappingParams,
    MappingResult,
    ModelLink,
    ModelLinks,
)
from pumas_agent.in_time import in_time
from pumas_agent.library import Library, LinkRegistry, read_links
from pumas_agent.mapping.applying import Application
from pumas_agent.mapping.configs import Rules, load_rules
from pumas_agent.mapping.deciding import Known, make_plan
from pumas_agent.mapping.folders import Protected, models_folder
from pumas_agent.mapping.plan import Plan
from pumas_agent.mapping.registered import RegisteredLinks, Removal
from pumas_agent.mapping.sources import Gate

LOOK_S = 25.0
"""How long a filesystem is given to answer; less than a client waits."""

T = TypeVar("T")
Report = Callable[[str, int, int | None, str], None]
"""`(stage, done, total, unit)`."""


@dataclass(frozen=True, slots=True)
class ForgottenLinks:
    """What came of the links of a model: targets that were removed, and those that stay, each with the reason."""

    removed: tuple[str, ...]
    kept: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Prepared:
    rules: Rules
    plan: Plan
    registry: LinkRegistry
    protected: Protected


class MappingService:
    """The mapping of one library."""

    def __init__(self, library: Library, config_dir: Path | None) -> None:
        """Make one.

        Args:
            library: open to write, or only to read.
            config_dir: folder of the configurations; null when there are none.
        """
        self._library = library
        self._config_dir = config_dir
        self._one_at_a_time = asyncio.Lock()
        self._running: set[asyncio.Task[Any]] = set()

    # --- mapping ------------------------------------------------------------------------------------------------

    async def preview(self, params: MappingParams) -> bytes:
        """What applying would do: a `MappingPreview`, as the one line of JSON that goes out.

        Raises:
            MappingConfigMissing, MappingConfigInvalid: there are no rules to go by.
            MappingTargetRefused, PathNotAbsolute, PathNotDirectory, PathNotUtf8: the models folder is none.
            LinkRegistryUnreadable, LibraryOffline: what was made before is not known.
            AssetUnresponsive: the application's filesystem does not answer.
        """
        excluded = await self._excluded(params.app_id)

        def look() -> bytes:
            prepared = self._prepare(params, excluded)
            return prepared.plan.preview(prepared.rules.files).model_dump_json().encode()

        return await self._look(look, params.models_path)

    async def apply(self, params: ApplyMappingParams, report: Report = lambda *_: None) -> MappingResult:
        """Make the links. What was begun is finished and registered, also when the caller goes away.

        Raises:
            LibraryUnwritable: the links are made and could not be registered; applying again registers them.
            PumasError: as `preview`; nothing was done.
        """
        return await self._finish(self._apply(params, report))

    async def _apply(self, params: ApplyMappingParams, report: Report) -> MappingResult:
        async with self._one_at_a_time:
            await self._require_writable()
            excluded = await self._excluded(params.app_id)
            prepared = await self._look(lambda: self._prepare(params, excluded), params.models_path)
            application = Application(params, prepared.protected, prepared.registry.links)
            outcome = await in_time(
                lambda: application.carry_out(
                    prepared.plan, lambda done, total: report("linking", done, total, "files")
                ),
                None,
                name="mapping",
            )
            if outcome.add or outcome.drop:
                await self._library.write(
                    lambda store: store.update_links(lambda links: links.changed(add=outcome.add, drop=outcome.drop))
                )
            return outcome.result(prepared.plan)

    async def _excluded(self, app_id: str) -> frozenset[str]:
        return await self._library.read(lambda index: index.link_exclusions(app_id))

    def _prepare(self, params: MappingParams, excluded: frozenset[str]) -> _Prepared:
        layout, catalog = self._library.layout, self._library.catalog
        layout.require_online()
        entries = sorted(catalog.entries(), key=lambda entry: entry.id)
        protected = Protected(layout.root, entries)
        root = models_folder(params.models_path, protected)
        rules = load_rules(self._config_dir, params.app_id, params.version_tag)
        registry = read_links(layout.links_path)
        gate = Gate(layout, catalog, excluded)
        plan = make_plan(root, rules, map(gate.examine, entries), Known(registry.links, protected, gate))
        return _Prepared(rules, plan, registry, protected)

    # --- links --------------------------------------------------------------------------------------------------

    async def health(self) -> LinkHealth:
        """What is left of all links."""
        return await self._look(
            lambda: RegisteredLinks(self._library.layout, self._library.catalog).health(self._links()),
            "an application's folder",
        )

    async def clean(self) -> CleanedLinks:
        """Remove links that lead nowhere, and forget those that are gone or something else now."""
        return await self._finish(self._clean())

    async def _clean(self) -> CleanedLinks:
        removals = await self._take(RegisteredLinks.clean, lambda _: True)
        return CleanedLinks(cleaned=sum(removal.forget for removal in removals))

    async def links_of(self, model_id: str) -> ModelLinks:
        """Of one model.

        Raises:
            ModelNotFound: the library has no such model, and the register no link of it.
        """
        registry = await asyncio.to_thread(read_links, self._library.layout.links_path)
        links = registry.of_model(model_id)
        if not links and self._library.catalog.get(model_id) is None:
            raise ModelNotFound(f"Model not found: {model_id}")
        return ModelLinks(
            links=tuple(
                ModelLink(
                    source=link.source,
                    target=link.target,
                    link_type=link.link_type,
                    app_id=link.app_id,
                    app_version=link.app_version,
                    created_at=link.created_at,
                )
                for link in links
            )
        )

    async def forget_model(self, model_id: str) -> ForgottenLinks:
        """Remove the links of a model that is going to be deleted. Its files have to be there still.

        A hard link or a copy goes while it is the very file of the library; what somebody changed stays, and is named.
        """
        return await self._finish(self._forget(model_id))

    async def _forget(self, model_id: str) -> ForgottenLinks:
        removals = await self._take(RegisteredLinks.take_away, lambda entry: entry.model_id == model_id)
        return ForgottenLinks(
            removed=tuple(removal.target for removal in removals if removal.removed),
            kept=tuple((removal.target, removal.why_not) for removal in removals if removal.why_not is not None),
        )

    async def _take(
        self, act: Callable[[RegisteredLinks, LinkEntry], Removal], chosen: Callable[[LinkEntry], bool]
    ) -> list[Removal]:
        async with self._one_at_a_time:
            await self._require_writable()

            def work() -> list[Removal]:
                links = RegisteredLinks(self._library.layout, self._library.catalog)
                return [act(links, entry) for entry in self._links() if chosen(entry)]

            removals = await in_time(work, None, name="mapping")
            if drop := [removal.target for removal in removals if removal.forget]:
                await self._library.write(lambda store: store.update_links(lambda links: links.changed(drop=drop)))
            return removals

    async def _require_writable(self) -> None:
        """Before anything is done that has to be registered: is this the library that was opened, and its register?"""
        await self._library.write(lambda store: store.update_links(lambda links: links))

    def _links(self) -> list[LinkEntry]:
        self._library.layout.require_online()
        return [entry for _, entry in sorted(read_links(self._library.layout.links_path).links.items())]

    # --- exclusions ---------------------------------------------------------------------------------------------

    async def set_exclusion(self, params: LinkExclusionParams) -> LinkExclusionSet:
        """Leave a model out of an application's mapping from now on, or take it in again.

        Raises:
            ModelNotFound: no such model.
        """
        await self._library.write(
            lambda store: store.set_link_exclusion(params.model_id, params.app_id, excluded=params.excluded)
        )
        return LinkExclusionSet(**params.model_dump())

    async def exclusions(self, params: AppParams) -> LinkExclusions:
        """Of an application."""
        excluded = await self._excluded(params.app_id)
        return LinkExclusions(excluded_model_ids=tuple(sorted(excluded)))

    # --- how work is done ----------------------------------------------------------------------------------

    @staticmethod
    async def _look(question: Callable[[], T], place: str) -> T:
        try:
            return await in_time(question, LOOK_S, name="mapping")
        except TimeoutError:
            raise AssetUnresponsive(
                f"{place} does not answer within {LOOK_S:g} s", hint="is its disk, or its network, there?"
            ) from None

    async def _finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for work that goes on when the caller is cancelled: a link that was made has to be registered."""
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)
