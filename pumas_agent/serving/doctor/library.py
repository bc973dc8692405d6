"""The library on disk: its folder, index, schema, records, register of links and scratch folders. Reads only."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pumas_agent.contracts.doctor import Check, CheckName
from pumas_agent.contracts.errors import LibraryUnavailable, MetadataUnreadable
from pumas_agent.library import IndexReader, LibraryLayout, read_json, read_links
from pumas_agent.library.layout import INDEX_NAME, LINKS_NAME, METADATA_NAME, STAGING_NAME, TRASH_NAME
from pumas_agent.serving.doctor.patient import Patient, fail, ok, warn

_LITTLE_SPACE = 1 << 30
_NO_SPACE = 64 << 20
_DAY_S = 86_400.0
_REINDEX = "`pumas-agent reindex` makes it anew from the metadata files"
_NONE = "no library there yet"
_MAKE = "`pumas-agent register PATH` or `pumas-agent run` makes one; `--library` names another"


def check_library(patient: Patient) -> list[Check]:
    """That it is there and can be written by whom it has to be written."""
    root = patient.root
    if not root.exists():
        return [warn(CheckName.LIBRARY, _NONE, _MAKE, root)]
    if not root.is_dir():
        return [fail(CheckName.LIBRARY, "it is no folder", "name another one with --library", root)]
    owner = root.stat().st_uid
    if not os.access(root, os.R_OK | os.W_OK | os.X_OK):
        fix = f"`ls -ld {root}`; its disk may be mounted read-only: `findmnt -T {root}`"
        return [fail(CheckName.LIBRARY, f"it cannot be written by uid {os.geteuid()}", fix, root)]
    if owner != os.geteuid():
        evidence = f"it belongs to uid {owner}; files that uid {os.geteuid()} makes there are not its owner's"
        return [warn(CheckName.LIBRARY, evidence, "run the agent and its commands as its owner", root)]
    if os.statvfs(root).f_flag & os.ST_RDONLY:
        return [fail(CheckName.LIBRARY, "its filesystem is read-only", f"`findmnt -T {root}`, `dmesg`", root)]
    return [ok(CheckName.LIBRARY, "can be read and written", root)]


def check_free_space(patient: Patient) -> list[Check]:
    """Room for the next commit, and for the next import."""
    place = next(path for path in (patient.root, *patient.root.parents) if path.exists())
    facts = os.statvfs(place)
    free = facts.f_bavail * facts.f_frsize
    evidence = f"{free / 1e9:.1f} GB free"
    fix = f"make room: `df -h {place}`; deleted models lie in {patient.root / TRASH_NAME}"
    if free < _NO_SPACE:
        return [fail(CheckName.FREE_SPACE, evidence, fix, place)]
    if free < _LITTLE_SPACE:
        return [warn(CheckName.FREE_SPACE, evidence, fix, place)]
    if facts.f_files and facts.f_favail < facts.f_files // 100:
        return [warn(CheckName.FREE_SPACE, f"{evidence}, but only {facts.f_favail} inodes", fix, place)]
    return [ok(CheckName.FREE_SPACE, evidence, place)]


def check_index(patient: Patient) -> list[Check]:
    """What SQLite says of the file, and whether its search rows say what its models say."""
    if not (patient.root / INDEX_NAME).exists():
        return [warn(CheckName.INDEX, "there is none", f"a start of the agent, or {_REINDEX}")]
    with _index(patient.root) as index:
        if damage := index.damage():
            fix = "stop the agent, move the file away, start it again: the rows are made anew (docs/how-to/recover.md)"
            return [fail(CheckName.INDEX, f"the file is damaged: {damage[0]}", fix, patient.root / INDEX_NAME)]
        if differing := index.differing_search_rows():
            evidence = f"{len(differing)} models are found by other words than they have, the first is {differing[0]}"
            return [fail(CheckName.INDEX, evidence, _REINDEX)]
        return [ok(CheckName.INDEX, f"{len(index.ids())} models; the file and its search rows are whole")]


def check_schema(patient: Patient) -> list[Check]:
    """That this version and the index fit each other."""
    if not (patient.root / INDEX_NAME).exists():
        return [ok(CheckName.SCHEMA, "no index there yet")]
    with _index(patient.root) as index:
        newer, missing = index.schema_differences()
    if newer:
        fix = "update pumas-agent; until then the library is only read"
        return [fail(CheckName.SCHEMA, f"a newer version has written it ({', '.join(newer)})", fix)]
    if missing:
        fix = "the next `pumas-agent run` brings it up to date; `pumas-agent backup` before"
        return [warn(CheckName.SCHEMA, f"an older version has written it ({', '.join(missing)} to be done)", fix)]
    return [ok(CheckName.SCHEMA, "as this version has it")]


def check_records(patient: Patient) -> Iterator[Check]:
    """That every row has a record that can be read, and every record a row."""
    if not patient.root.is_dir():
        yield ok(CheckName.RECORDS, _NONE)
        return
    layout = LibraryLayout(patient.root)
    found = layout.survey().signatures
    wrong = 0
    for model_id in sorted(found):
        try:
            read_json(layout.root / model_id / METADATA_NAME)
        except FileNotFoundError:
            continue  # removed since
        except MetadataUnreadable as error:
            wrong += 1
            yield fail(CheckName.RECORDS, error.message, error.hint or f"`pumas-agent explain {model_id}`", model_id)
    try:
        with _index(patient.root) as index:
            known = set(index.signatures()) & set(index.ids())
    except LibraryUnavailable:
        known = set(found)  # the check of the index says so
    for model_id in sorted(known - found.keys()):
        wrong += 1
        fix = f"`pumas-agent explain {model_id}`; `pumas-agent reconcile` takes it out if its folder is gone for good"
        yield warn(CheckName.RECORDS, "the index has it, and no record is there", fix, model_id)
    for model_id in sorted(found.keys() - known):
        wrong += 1
        yield warn(
            CheckName.RECORDS, "it has a record, and the index does not have it", "`pumas-agent reconcile`", model_id
        )
    if not wrong:
        yield ok(CheckName.RECORDS, f"{len(found)} can be read and are in the index")


def check_link_registry(patient: Patient) -> list[Check]:
    """That the register of links can be read."""
    links = read_links(patient.root / LINKS_NAME)
    if links.unparsed:
        evidence = f"{len(links.unparsed)} of its entries cannot be understood; they are kept as they are"
        return [warn(CheckName.LINK_REGISTRY, evidence, "`pumas-agent links health`", patient.root / LINKS_NAME)]
    return [ok(CheckName.LINK_REGISTRY, f"{len(links.links)} links")]


def check_scratch(patient: Patient) -> list[Check]:
    """What deleted models and copies that were cut off take up."""
    trash, staging = patient.root / TRASH_NAME, patient.root / STAGING_NAME
    found: list[Check] = []
    if oldest := _oldest_entry(trash):
        days = (time.time() - oldest) / _DAY_S
        evidence = f"{_size(trash) / 1e9:.1f} GB of deleted models, the oldest {max(days, 0):.0f} days old"
        if days > patient.trash_days + 1:
            found.append(warn(CheckName.SCRATCH, evidence, "a running agent empties it at each full reconcile", trash))
        else:
            found.append(ok(CheckName.SCRATCH, evidence, trash))
    oldest = _oldest_entry(staging)
    if oldest and time.time() - oldest > _DAY_S:
        evidence = f"{_size(staging) / 1e9:.1f} GB of a copy that was begun over a day ago"
        found.append(warn(CheckName.SCRATCH, evidence, "the next start of the agent empties it", staging))
    return found or [ok(CheckName.SCRATCH, "no deleted models, and no copy that was cut off")]


@contextmanager
def _index(root: Path) -> Iterator[IndexReader]:
    """The index on a connection that writes nothing, whether a program has it open or not.

    Raises:
        LibraryUnavailable: it cannot be opened, or read.
    """
    layout = LibraryLayout(root)
    in_use = layout.log_path.exists()
    reader = IndexReader.open(layout.index_path) if in_use else IndexReader.open_at_rest(layout.index_path)
    try:
        yield reader
    except sqlite3.Error as error:
        raise LibraryUnavailable(
            f"the index {layout.index_path} cannot be read: {error}",
            hint="stop the agent, move the file away, start it again: the rows are made anew",
        ) from error
    finally:
        reader.close()


def newest_update(patient: Patient) -> str | None:
    """The latest time in the library; None when there is no library, or when it cannot be read."""
    try:
        with _index(patient.root) as index:
            return index.newest_update()
    except (OSError, LibraryUnavailable):
        return None


def _oldest_entry(folder: Path) -> float | None:
    try:
        return min((entry.stat(follow_symlinks=False).st_mtime for entry in os.scandir(folder)), default=None)
    except OSError:
        return None


def _size(folder: Path) -> int:
    total = 0
    for path, _folders, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(f"{path}/{name}").st_size
            except OSError:
                continue  # emptied meanwhile
    return total
