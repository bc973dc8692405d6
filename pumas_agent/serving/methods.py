"""The one place where a method name meets the function that does it.

The socket's server and the command line without an agent call the same registry. Each function checks nothing that its
contract checks already, and blocks on nothing: what takes time is awaited.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from pumas_agent import __version__
from pumas_agent.contracts.dependencies import (
    DEPENDENCY_CONTRACT_VERSION,
    BindingChange,
    BindParams,
    DependencyProfile,
    DependencyProfileParams,
    DependencyRequirementsResolution,
    PinAudit,
    UnbindParams,
)
from pumas_agent.contracts.descriptor import EXECUTION_CONTRACT_VERSION, DescriptorBatch
from pumas_agent.contracts.discovery import DiscoverParams, DiscoveryReport
from pumas_agent.contracts.errors import AgentNotRunning, AssetUnresponsive, MethodNotFound, ModelNotFound
from pumas_agent.contracts.explanation import ModelExplanation
from pumas_agent.contracts.health import is_healthy
from pumas_agent.contracts.imports import ExternalBundleSpec, ModelImportResult, UnregisterResult
from pumas_agent.contracts.metrics import MetricsReport
from pumas_agent.contracts.records import (
    ALL_MODELS,
    AgentStatus,
    HealthReport,
    LibraryStatus,
    ReconcileReport,
    ReindexReport,
)
from pumas_agent.contracts.relocation import (
    Accepted,
    Hold,
    HoldParams,
    Released,
    ReleaseParams,
    RelocateParams,
    Relocation,
)
from pumas_agent.contracts.rpc import (
    METHODS,
    Cancelled,
    CancelParams,
    DependencyParams,
    DescriptorBatchParams,
    DescriptorParams,
    FilterParams,
    Hello,
    HelloParams,
    ModelParams,
    NoParams,
    ReconcileParams,
    SearchParams,
    SelectorParams,
    Thawed,
    UpdatesParams,
)
from pumas_agent.contracts.verification import VerifyParams, VerifyReport
from pumas_agent.execution import require_contract_version
from pumas_agent.serving.doctor import Examine, nobody_to_examine
from pumas_agent.serving.explaining import Watching, explain, nobody_watches
from pumas_agent.serving.library_methods import LibraryMethods
from pumas_agent.serving.listing import library_status, list_rows, model_details, search_rows
from pumas_agent.serving.parts import Parts
from pumas_agent.serving.registry import Answer, Handler, Registry, Request
from pumas_agent.serving.selector import selector_snapshot
from pumas_agent.serving.subscriptions import Subscriptions
from pumas_agent.upkeep import Holds, accept, unregister

T = TypeVar("T")
Reconcile = Callable[[str, Request], Awaitable[ReconcileReport]]
"""`(scope, request)`: a look at the scope that starts after the call; the request is told how far it is."""


class Methods:
    """The functions behind the methods."""

    def __init__(
        self,
        parts: Parts,
        *,
        reconcile: Reconcile,
        follow: Callable[[], Awaitable[None]],
        status: Callable[[], AgentStatus],
        watching: Watching = nobody_watches,
        doctor: Examine = nobody_to_examine,
        metrics: Callable[[], Awaitable[MetricsReport]] | None = None,
        subscriptions: Subscriptions | None = None,
    ) -> None:
        self._doctor = doctor
        self._metrics = metrics
        self._subscriptions = subscriptions
        self._watching = watching
        self._parts = parts
        self._reconcile = reconcile
        self._follow = follow
        self._status = status

    def registry(self) -> Registry:
        """Every method of the contract, bound."""
        mapping = self._parts.mapping
        calls: dict[str, Callable[[Any, Request], Answer | Awaitable[Answer]]] = {
            "resolve_model_execution_descriptor": self.descriptor,
            "resolve_model_execution_descriptors_batch": self.descriptors,
            "resolve_model_dependency_requirements": self.requirements,
            "list_models": self.list_models,
            "search_models": self.search_models,
            "model_library_selector_snapshot": self.selector,
            "get_model": self.get_model,
            "explain_model": self.explain,
            "get_library_status": self.library_status,
            "list_model_library_updates_since": self.updates,
            "verify": self.verify,
            "discover_bundles": self.discover,
            "import_external_diffusers_directory": self.register,
            "relocate_external_model": self.relocate,
            "unregister_external_model": self.unregister,
            "accept_bundle_change": self.accept,
            "thaw": self.thaw,
            "hold_bundle": self.hold,
            "release_bundle": self.release,
            "upsert_dependency_profile": self.upsert_profile,
            "bind_model_dependency": self.bind,
            "unbind_model_dependency": self.unbind,
            "audit_dependency_pin_compliance": self.audit,
            "reconcile": self.reconcile,
            "rebuild_model_index": self.rebuild,
            **LibraryMethods(self._parts, self._forget).calls(),
            "agent.cancel": self.cancel,
            "preview_model_mapping": lambda params, _request: mapping.preview(params),
            "apply_model_mapping": lambda params, request: mapping.apply(params, request.progress),
            "get_link_health": lambda _params, _request: mapping.health(),
            "clean_broken_links": lambda _params, _request: mapping.clean(),
            "get_links_for_model": lambda params, _request: mapping.links_of(params.model_id),
            "set_model_link_exclusion": lambda params, _request: mapping.set_exclusion(params),
            "get_link_exclusions": lambda params, _request: mapping.exclusions(params),
            "agent.hello": self.hello,
            "agent.status": lambda _params, _request: self._status(),
            "agent.health": self.health,
            "agent.doctor": lambda _params, request: self._doctor(request.progress),
            "agent.metrics": self.metrics,
            "agent.subscribe": lambda params, request: self._running(self._subscriptions).subscribe(params, request),
            "agent.unsubscribe": lambda params, request: self._running(self._subscriptions).unsubscribe(
                params, request
            ),
        }
        return {name: Handler(contract, calls[name]) for name, contract in METHODS.items()}

    # --- runtime ------------------------------------------------------------------------------------------------

    def descriptor(self, params: DescriptorParams, _request: Request) -> Answer | Awaitable[Answer]:
        """At once when the verdict holds; after a judgement otherwise."""
        require_contract_version(params.expected_execution_contract_version)
        resolver, model_id, paths_as = self._parts.resolver, params.model_id, params.paths_as
        return resolver.at_once(model_id, paths_as) or resolver.resolve(model_id, paths_as)

    async def descriptors(self, params: DescriptorBatchParams, _request: Request) -> DescriptorBatch:
        """Each id for itself."""
        return await self._parts.resolver.batch(params.model_ids, params.paths_as)

    def requirements(self, params: DependencyParams, _request: Request) -> DependencyRequirementsResolution:
        """Of a model that is in the library."""
        return self._parts.dependencies.resolve(params.model_id, params.platform_context, params.backend_key)

    # --- read ---------------------------------------------------------------------------------------------------

    async def list_models(self, params: FilterParams, _request: Request) -> bytes:
        """From the catalog, made into a line off the loop."""
        catalog = self._parts.library.catalog
        return await self._parts.library.read(lambda _: list_rows(catalog, params))

    async def search_models(self, params: SearchParams, _request: Request) -> bytes:
        """Ids from the index, rows from the catalog."""
        catalog = self._parts.library.catalog
        return await self._parts.library.read(lambda index: search_rows(index, catalog, params))

    async def selector(self, params: SelectorParams, _request: Request) -> bytes:
        """From the catalog alone."""
        catalog = self._parts.library.catalog
        return await self._parts.library.read(lambda _: selector_snapshot(catalog, params))

    async def get_model(self, params: ModelParams, _request: Request) -> bytes:
        """From the catalog, the index and the last verdict."""
        library = self._parts.library
        entry = library.catalog.get(params.model_id)
        if entry is None:
            raise ModelNotFound(
                f"Model not found: {params.model_id}", hint="`pumas-agent list` shows the ids of all models"
            )
        verdict = self._parts.refresher.verdict(params.model_id)
        return await library.read(lambda index: model_details(index, library.layout, entry, verdict))

    async def explain(self, params: ModelParams, _request: Request) -> ModelExplanation:
        """From everything that is known of it."""
        parts = self._parts
        return await explain(parts.library, parts.refresher, parts.alerts, self._watching, params.model_id)

    async def library_status(self, _params: NoParams, _request: Request) -> LibraryStatus:
        """Counts."""
        library = self._parts.library
        return await library.read(lambda index: library_status(index, library, self._parts.reconciler.running))

    async def updates(self, params: UpdatesParams, _request: Request) -> bytes:
        """Absent keys and an empty list are left out."""
        feed = await self._parts.library.read(lambda index: index.updates_since(params.cursor, params.limit))
        return feed.model_dump_json(exclude_none=True, exclude=None if feed.events else {"events"}).encode()

    async def verify(self, params: VerifyParams, request: Request) -> VerifyReport:
        """On a thread of its own; it ends when its caller is gone."""
        return await self._parts.verifier.verify(params.model_id, deep=params.deep, tell=request.progress)

    # --- import and maintain ------------------------------------------------------------------------------------

    async def discover(self, params: DiscoverParams, request: Request) -> DiscoveryReport:
        """Searched on threads, judged as bundles are."""
        return await self._parts.finder.find(params.paths, request.progress)

    async def register(self, spec: ExternalBundleSpec, request: Request) -> ModelImportResult:
        """Register, watch, and judge once more: what happened before the watches stood was not seen."""
        request.progress("judging", 0, 1, "bundles")
        result = await self._parts.registrar.register(spec)
        if result.success and result.model_id is not None:
            await self._follow()
            try:
                verdict = await self._parts.refresher.refresh(result.model_id)
            except AssetUnresponsive:
                return result  # it is registered; what it is now is told by the first lookup that gets an answer
            return result.model_copy(update={"findings": verdict.errors})
        return result

    async def unregister(self, params: ModelParams, _request: Request) -> UnregisterResult:
        """Forget it everywhere."""
        result = await unregister(self._parts.library, params.model_id)
        await self._forget(params.model_id)
        return result

    async def _forget(self, model_id: str) -> None:
        self._parts.refresher.forget(model_id)
        self._parts.absences.forget(model_id)
        self._parts.alerts.forget(model_id)
        await self._follow()

    async def relocate(self, params: RelocateParams, _request: Request) -> Relocation:
        """Plan or apply, then watch and judge what is at the new place."""
        result = await self._parts.relocator.relocate(params)
        if result.applied:
            await self._follow()
            try:
                verdict = await self._parts.refresher.refresh(params.model_id)
            except AssetUnresponsive:
                return result
            return result.model_copy(update={"findings": verdict.errors})
        return result

    async def accept(self, params: ModelParams, _request: Request) -> Accepted:
        """Then judge it as what it is now."""
        await accept(self._parts.library, params.model_id)
        verdict = await self._parts.refresher.refresh(params.model_id)
        return Accepted(model_id=params.model_id, validation_state=verdict.state, findings=verdict.errors)

    def hold(self, params: HoldParams, request: Request) -> Hold:
        """Until it is released, or the caller's connection ends."""
        entry = self._parts.library.catalog.get(params.bundle)
        root = entry.bundle_root if entry is not None else params.bundle
        if root is None or not root.startswith("/"):
            raise ModelNotFound(f"Model not found: {params.bundle}", hint="give a model id, or an absolute path")
        hold = self._parts.holds.hold(root)
        request.on_gone(lambda: _release(self._parts.holds, hold))
        return Hold(hold=hold, path=root)

    def release(self, params: ReleaseParams, _request: Request) -> Released:
        """It is judged soon."""
        return Released(released=self._parts.holds.release(params.hold))

    def thaw(self, _params: NoParams, _request: Request) -> Thawed:
        """Go on, although many are gone."""
        return Thawed(thawed=self._parts.absences.thaw())

    async def reconcile(self, params: ReconcileParams, request: Request) -> ReconcileReport:
        """Of one model or of everything."""
        scope = params.model_id or ALL_MODELS
        if params.model_id is not None:
            library = self._parts.library
            model_id = params.model_id
            is_there = await library.read(lambda _: library.layout.metadata_path(model_id).exists())
            if library.catalog.get(model_id) is None and not is_there:
                raise ModelNotFound(f"Model not found: {params.model_id}")
        return await self._reconcile(scope, request)

    async def rebuild(self, _params: NoParams, request: Request) -> ReindexReport:
        """All rows anew."""
        return await self._parts.reconciler.rebuild(request.progress)

    # --- dependencies -------------------------------------------------------------------------------------------

    async def upsert_profile(self, params: DependencyProfileParams, _request: Request) -> DependencyProfile:
        """Once and for all."""
        return await self._parts.dependencies.upsert_profile(params)

    async def bind(self, params: BindParams, _request: Request) -> BindingChange:
        """The next descriptor says so."""
        return await self._parts.dependencies.bind(params)

    async def unbind(self, params: UnbindParams, _request: Request) -> BindingChange:
        """The next descriptor no longer says so."""
        return await self._parts.dependencies.unbind(params)

    async def audit(self, _params: NoParams, _request: Request) -> PinAudit:
        """Of all bindings."""
        return await self._parts.dependencies.audit()

    # --- agent --------------------------------------------------------------------------------------------------

    def cancel(self, params: CancelParams, request: Request) -> Cancelled:
        """What it had begun is undone; the request is answered with an error."""
        return Cancelled(cancelled=request.cancel(params.id))

    def hello(self, params: HelloParams, _request: Request) -> Hello:
        """Refuses a client that cannot do without a method we do not have."""
        if lacking := [name for name in params.required if name not in METHODS]:
            raise MethodNotFound(
                f"this agent has no {', '.join(lacking)}", hint="update the agent", data={"missing": lacking}
            )
        return Hello(
            version=__version__,
            execution_contract_version=EXECUTION_CONTRACT_VERSION,
            dependency_contract_version=DEPENDENCY_CONTRACT_VERSION,
            methods=tuple(sorted(METHODS)),
            missing=tuple(name for name in params.optional if name not in METHODS),
        )

    def health(self, _params: NoParams, _request: Request) -> HealthReport:
        """What stands."""
        alerts, journal = self._parts.alerts.standing(), self._parts.alerts.journal
        return HealthReport(healthy=is_healthy(alerts), alerts=alerts, cursor=journal.cursor(journal.sequence))

    def metrics(self, _params: NoParams, _request: Request) -> Awaitable[MetricsReport]:
        """Now."""
        return self._running(self._metrics)()

    def _running(self, part: T | None) -> T:
        """A part that only a running agent has."""
        if part is None:
            raise AgentNotRunning("no agent runs", hint="start one with `pumas-agent run`")
        return part


def _release(holds: Holds, hold: str) -> None:
    holds.release(hold)
