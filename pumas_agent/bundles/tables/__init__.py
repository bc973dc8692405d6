"""Facts about the classes of diffusers and transformers, as tables. Knows nothing of any bundle."""

from pumas_agent.bundles.tables.facts import ComponentKind, PipelineFacts, Tables, tables, tables_with

__all__ = ["ComponentKind", "PipelineFacts", "Tables", "tables", "tables_with"]
