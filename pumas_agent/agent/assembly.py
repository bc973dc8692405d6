"""How the parts are put together, the same for the service and for one command. No logic."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pumas_agent.contracts.errors import AssetUnresponsive, PumasError
from pumas_agent.contracts.health import AlertCode
from pumas_agent.dependencies import DependencyKeeper
from pumas_agent.execution import DescriptorResolver
from pumas_agent.health import (
    LIBRARY,
    LIBRARY_CODES,
    AlertBook,
    library_condition,
)
from pumas_agent.importing import BundleFinder, Classifier, ExternalRegistrar, OwnedImporter
from pumas_agent.library import Library
from pumas_agent.mapping import MappingService
from pumas_agent.path_map import PathMap
from pumas_agent.reconcile import Reconciler
from pumas_agent.serving.parts import Parts
from pumas_agent.settings import Settings
from pumas_agent.upkeep import (
    AbsencePolicy,
    Absences,
    Adopter,
    Announcer,
    Freshness,
    Holds,
    Judge,
    RecordKeeper,
    Refresher,
    Relocator,
    Verifier,
)

_NO_MAP = PathMap()


def absence_policy(settings: Settings) -> AbsencePolicy:
    """What the settings say about bundles that are gone."""
    return AbsencePolicy(
        search_roots=settings.bundles.search_roots,
        auto_relocate=settings.bundles.auto_relocate,
        mass_share=settings.health.mass_disappearance_share,
        mass_least=settings.health.mass_disappearance_min,
    )


def external_roots(library: Library) -> dict[str, str]:
    """Where each registered external bundle is, by model id."""
    return {
        entry.id: entry.bundle_root
        for entry in library.catalog.bundles()
        if entry.is_external and entry.bundle_root is not None
    }


async def assemble(
    library: Library,
    judge: Judge,
    freshness: Freshness,
    *,
    follow: Callable[[], Any],
    policy: AbsencePolicy,
    mapping_configs: Path | None = None,
    paths: PathMap = _NO_MAP,
    searches: bool = False,
    relocated: Callable[[str], None] = lambda _: None,
    unsettled: Callable[[str], None] = lambda _: None,
    visible_after_s: float = 0.0,
) -> Parts:
    """The parts on an open library.

    Args:
        library: open to write, or only to read.
        judge: looks at bundles.
        freshness: proves that nothing happened to them.
        follow: called when models came or went, before they are judged.
        policy: what is done about bundles that are gone, and where bundles are looked for.
        mapping_configs: folder of the configurations for applications; null: there are none.
        paths: how a container sees the host.
        searches: look for what is gone; a single command does not.
        unsettled: told of a model that is being written: it has to be looked at again when it may be quiet.
        visible_after_s: how long a condition has to stand before an alert is raised.
        relocated: told of a model that was given another root without being asked.
    """

    def remember(code: AlertCode, model_id: str, since: str | None) -> None:
        if not library.writable:
            return
        if since is None:
            library.post(lambda store: store.delete_alert(code, model_id))
        else:
            library.post(lambda store: store.put_alert(code, model_id, since))

    alerts = AlertBook(await library.read(lambda index: index.alerts()), remember, visible_after_s=visible_after_s)

    relocator = Relocator(library, judge)
    absences = Absences(library, alerts, relocator.relocate, policy, searches=searches, relocated=relocated)

    announcer = Announcer(alerts, absences, unsettled)

    def release(root: str) -> None:
        for entry in library.catalog.bundles():
            if entry.bundle_root == root:
                unsettled(entry.id)

    def observe_silence(model_id: str, error: AssetUnresponsive) -> None:
        entry = library.catalog.get(model_id)
        announcer.observe_silence(model_id, (entry and entry.bundle_root) or "", error)

    def observe_library(error: PumasError | None) -> None:
        alerts.observe(LIBRARY, LIBRARY_CODES, library_condition(str(library.layout.root), error))

    refresher = Refresher(
        library,
        judge,
        freshness,
        observe=announcer.observe,
        observe_silence=observe_silence,
        records=RecordKeeper(library, observe_library),
        holds=(holds := Holds(release)),
    )
    importer = OwnedImporter(library, judge.judge)
    dependencies = DependencyKeeper(library)
    await dependencies.prepare()
    return Parts(
        library=library,
        refresher=refresher,
        resolver=DescriptorResolver(library, refresher, alerts, paths),
        finder=BundleFinder(library.catalog, library.layout.root, judge.judge, policy.search_roots),
        registrar=ExternalRegistrar(library, judge.judge),
        classifier=Classifier(judge.judge),
        importer=importer,
        adopter=Adopter(library, importer),
        reconciler=Reconciler(library, refresher, alerts, observe_library=observe_library, follow=follow),
        relocator=relocator,
        verifier=Verifier(library, judge),
        absences=absences,
        holds=holds,
        mapping=MappingService(library, mapping_configs),
        alerts=alerts,
        dependencies=dependencies,
    )
