"""Small bundles of every kind that people keep, whole by the libraries' own measure, written without torch."""

from pumas_agent.demo.bundles.cache import as_cache_snapshot
from pumas_agent.demo.bundles.writing import BundleKind, write_bundle

__all__ = ["BundleKind", "as_cache_snapshot", "write_bundle"]
