"""The library root and its index: the only part that writes to the library."""

from pumas_agent.library.catalog import PARTIAL_SOURCE, Catalog, CatalogEntry, json_object
from pumas_agent.library.dependency_book import DependencyBook
from pumas_agent.library.dependency_tables import ACTIVE, DEPRECATED, BindingRow, ProfileRow
from pumas_agent.library.files import read_json
from pumas_agent.library.index import IndexReader, IndexWriter, cursor_of, search_query
from pumas_agent.library.layout import LibraryLayout
from pumas_agent.library.library import Library
from pumas_agent.library.links import LinkRegistry, read_links
from pumas_agent.library.lock import LibraryLock, LockHolder, lock_holder
from pumas_agent.library.naming import normalize_name
from pumas_agent.library.projection import (
    MODEL_EXTENSIONS,
    PARTIAL_SUFFIXES,
    is_partial_download,
    payload_files,
    primary_file,
)
from pumas_agent.library.search import find, names_holding
from pumas_agent.library.store import IndexOutcome, LibraryChanges, ModelStore

__all__ = [
    "ACTIVE",
    "DEPRECATED",
    "MODEL_EXTENSIONS",
    "PARTIAL_SOURCE",
    "PARTIAL_SUFFIXES",
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
    "LinkRegistry",
    "LockHolder",
    "ModelStore",
    "ProfileRow",
    "cursor_of",
    "find",
    "is_partial_download",
    "json_object",
    "lock_holder",
    "names_holding",
    "normalize_name",
    "payload_files",
    "primary_file",
    "read_json",
    "read_links",
    "search_query",
]
