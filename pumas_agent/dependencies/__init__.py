"""Dependency requirements of models: packages, in their own vocabulary."""

from pumas_agent.dependencies.keeper import DependencyKeeper
from pumas_agent.dependencies.platforms import Platform, Selector, platform_key
from pumas_agent.dependencies.resolution import resolve_requirements
from pumas_agent.dependencies.spec import ProfileSpec, parse_spec

__all__ = [
    "DependencyKeeper",
    "Platform",
    "ProfileSpec",
    "Selector",
    "parse_spec",
    "platform_key",
    "resolve_requirements",
]
