"""Where a bundle that someone wants to register really is, and whether it may be registered at all.

Resolves paths and compares them; opens nothing and writes nothing.
"""

from functools import partial
from pathlib import Path

from pumas_agent.contracts.errors import (
    AssetUnresponsive,
    LibraryInsideSource,
    PathNotAbsolute,
    PathNotDirectory,
    PathNotUtf8,
    SourceInsideLibrary,
)
from pumas_agent.in_time import in_time


def canonical_source(source_path: str, library_root: Path) -> Path:
    """The canonical path of a source. One that does not exist comes back as far as it can be resolved.

    Args:
        source_path: as given, absolute.
        library_root: canonical.

    Raises:
        PathNotUtf8, PathNotAbsolute, PathNotDirectory: it cannot be registered.
        SourceInsideLibrary, LibraryInsideSource: it would be registered in itself.
    """
    _require_text(source_path)
    given = Path(source_path)
    if not given.is_absolute():
        raise PathNotAbsolute(
            f"not an absolute path: {source_path!r}", hint="the command line makes paths absolute; a program has to"
        )
    try:
        source = given.resolve()
        is_other = source.exists() and not source.is_dir()
    except (OSError, RuntimeError) as error:  # a link loop is a RuntimeError before Python 3.13
        raise PathNotDirectory(
            f"{source_path:.1000} cannot be looked at: {getattr(error, 'strerror', None) or error}",
            hint="does a link lead to itself? may the agent's user enter the folders above it?",
        ) from error
    _require_text(str(source))
    if is_other:
        raise PathNotDirectory(
            f"{source} is not a directory",
            hint="register the folder that holds model_index.json; a single file is imported, not registered",
        )
    if source == library_root or library_root in source.parents:
        raise SourceInsideLibrary(
            f"{source} lies inside the library {library_root}", hint="only a bundle outside the library can be external"
        )
    if source in library_root.parents:
        raise LibraryInsideSource(
            f"the library {library_root} lies inside {source}", hint="register the bundle's own folder"
        )
    return source


async def source_in_time(source_path: str, library_root: Path, *, patience_s: float = 10.0) -> Path:
    """As `canonical_source`, on a thread that can be left to a filesystem that hangs.

    Raises:
        AssetUnresponsive: it did not answer within `patience_s` seconds.
        InvalidParams: as `canonical_source`.
    """
    resolve = partial(canonical_source, source_path, library_root)
    try:
        return await in_time(resolve, patience_s, name="resolve-source")
    except TimeoutError:
        raise AssetUnresponsive(
            f"{source_path} did not answer within {patience_s:g} s",
            hint="check the filesystem that holds it: a network or external drive may have gone away",
        ) from None


def _require_text(path: str) -> None:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        raise PathNotUtf8(
            f"the path has bytes that are not UTF-8: {path!a}", hint="rename the folder that has them"
        ) from None
    if "\0" in path:
        raise PathNotUtf8("the path has a NUL character")
