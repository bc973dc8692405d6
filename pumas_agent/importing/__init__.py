"""How an asset enters the library."""

from pumas_agent.importing.external import ExternalRegistrar
from pumas_agent.importing.source import canonical_source

__all__ = ["ExternalRegistrar", "canonical_source"]
