"""What the methods are made of: the parts that `agent.assembly` puts together. No logic."""

from dataclasses import dataclass

from pumas_agent.dependencies import DependencyKeeper
from pumas_agent.execution import DescriptorResolver
from pumas_agent.health import AlertBook
from pumas_agent.importing import BundleFinder, Classifier, ExternalRegistrar, OwnedImporter
from pumas_agent.library import Library
from pumas_agent.mapping import MappingService
from pumas_agent.reconcile import Reconciler
from pumas_agent.upkeep import Absences, Adopter, Holds, Refresher, Relocator, Verifier


@dataclass(frozen=True, slots=True)
class Parts:
    """What the methods are made of."""

    library: Library
    refresher: Refresher
    resolver: DescriptorResolver
    finder: BundleFinder
    registrar: ExternalRegistrar
    classifier: Classifier
    importer: OwnedImporter
    adopter: Adopter
    reconciler: Reconciler
    relocator: Relocator
    verifier: Verifier
    absences: Absences
    holds: Holds
    mapping: MappingService
    alerts: AlertBook
    dependencies: DependencyKeeper
