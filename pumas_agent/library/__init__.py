"""The library root and its index: the only part that writes to the library."""

from pumas_agent.library.catalog import Catalog, CatalogEntry, json_object
from pumas_agent.library.dependency_book import DependencyBook
from pumas_agent.library.dependency_tables import ACTIVE, DEPRECATED, BindingRow, ProfileRow
from pumas_agent.library.files import read_json
from pumas_agent.library.index import IndexReader, IndexWriter, search_query
from pumas_agent.library.layout import LibraryLayout
from pumas_agent.library.library import Library
from pumas_agent.library.lock import LibraryLock
from pumas_agent.library.naming import normalize_name
from pumas_agent.library.projection import primary_file
from pumas_agent.library.store import IndexOutcome, LibraryChanges, ModelStore

__all__ = [
    "ACTIVE",
    "DEPRECATED",
    "BindingRow",
    "Catalog",
    "CatalogEntry",
    "DependencyBook",
    "IndexOutcome",
    "IndexReader",
    "IndexWriter",
    "Library",
    "LibraryChanges",
    "LibraryLayout",
    "LibraryLock",
    "ModelStore",
    "ProfileRow",
    "json_object",
    "normalize_name",
    "primary_file",
    "read_json",
    "search_query",
]
