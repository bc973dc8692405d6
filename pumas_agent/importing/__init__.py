"""How an asset enters the library."""

from pumas_agent.importing.classify import Classifier
from pumas_agent.importing.discovery import BundleFinder
from pumas_agent.importing.external import ExternalRegistrar
from pumas_agent.importing.model_types import MODEL_TYPES
from pumas_agent.importing.owned import OwnedImporter
from pumas_agent.importing.source import canonical_source

__all__ = ["MODEL_TYPES", "BundleFinder", "Classifier", "ExternalRegistrar", "OwnedImporter", "canonical_source"]
