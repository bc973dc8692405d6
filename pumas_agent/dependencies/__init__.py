"""Dependency requirements of models: packages, in their own vocabulary."""

from pumas_agent.dependencies.resolution import platform_key, resolve_requirements

__all__ = ["platform_key", "resolve_requirements"]
