"""models.db: the rows that are derived from the metadata files, search over them, and the feed of what changed.

`IndexReader` answers questions on a connection that cannot write; `IndexWriter` is the one that can, and only
`ModelStore` has it. Knows SQL and nothing of files.
"""

import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from itertools import islice
from pathlib import Path
from urllib.parse import quote

from pumas_agent.contracts.errors import LibraryNewer, LibraryUnavailable, LibraryUnwritable
from pumas_agent.contracts.records import ChangeKind, FactFamily, RefreshScope, UpdateEvent, UpdateFeed
from pumas_agent.library.backup import attach, back_up, restore
from pumas_agent.library.dependency_tables import DependencyTables
from pumas_agent.library.migrations import (
    SEARCH_COLUMNS,
    migrate,
    missing_migrations,
    search_rows_sql,
    unknown_migrations,
)
from pumas_agent.library.references import forget_move, move_references, plan_move, planned_moves

_BUSY_MS = 30_000
_CURSOR = "model-library-updates:"
_FEED_LIMIT = 100
_RANKED_MOST = 1_000
_MOST_WORDS = 64
"""Words of a search; what a person types has fewer."""
_COLUMNS = "id, path, cleaned_name, official_name, model_type, tags_json, hashes_json, metadata_json, updated_at"


@dataclass(frozen=True, slots=True)
class IndexRow:
    """One row of `models`, column by column."""

    id: str
    path: str
    cleaned_name: str
    official_name: str
    model_type: str
    tags_json: str
    hashes_json: str
    metadata_json: str
    updated_at: str


class IndexReader:
    """Questions to an index. A reader never waits for a writer (WAL) and never makes a file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.dependencies = DependencyTables(connection)

    @classmethod
    def open(cls, path: Path) -> "IndexReader":
        """Open an existing index for reading, while a writer has it open or not.

        Raises:
            LibraryUnavailable: there is none, or it cannot be opened.
        """
        return cls(_connect_readonly(path, "mode=ro"))

    @classmethod
    def open_at_rest(cls, path: Path) -> "IndexReader":
        """Open an existing index that no program has open to write.

        Raises:
            LibraryUnavailable: there is none, or it cannot be opened.
        """
        # Even mode=ro makes -wal and -shm beside an index that has none; immutable=1 does not (sqlite.org/wal.html).
        return cls(_connect_readonly(path, "mode=ro&immutable=1"))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def rows(self) -> Iterator[IndexRow]:
        """Every row."""
        for values in self._connection.execute(f"SELECT {_COLUMNS} FROM models"):
            yield IndexRow(*values)

    def row(self, model_id: str) -> IndexRow | None:
        """One row."""
        values = self._connection.execute(f"SELECT {_COLUMNS} FROM models WHERE id = ?", (model_id,)).fetchone()
        return IndexRow(*values) if values else None

    def ids(self) -> list[str]:
        """Every id, in order."""
        return [model_id for (model_id,) in self._connection.execute("SELECT id FROM models ORDER BY id")]

    def differing_search_rows(self) -> list[str]:
        """Models whose search row is missing, is there twice, or is not what their row says; or that have no row."""
        columns = ", ".join(SEARCH_COLUMNS)
        expected = search_rows_sql("models")
        sql = (
            f"SELECT id FROM (SELECT {columns} FROM ({expected}) EXCEPT SELECT {columns} FROM model_search)"
            f" UNION SELECT id FROM (SELECT {columns} FROM model_search EXCEPT SELECT {columns} FROM ({expected}))"
            " UNION SELECT id FROM model_search GROUP BY id HAVING count(*) > 1"
        )
        return sorted(model_id for (model_id,) in self._connection.execute(sql) if model_id is not None)

    def damage(self) -> list[str]:
        """What SQLite finds wrong with the file itself."""
        return [str(said) for (said,) in self._connection.execute("PRAGMA quick_check(20)") if said != "ok"]

    def schema_differences(self) -> tuple[list[str], list[str]]:
        """Migrations that only a newer version has, and those that are still to be done."""
        return unknown_migrations(self._connection), missing_migrations(self._connection)

    def newest_update(self) -> str | None:
        """The latest time that any row says it was changed; null when there is none."""
        found = self._connection.execute("SELECT max(updated_at) FROM models").fetchone()
        return str(found[0]) if found and found[0] is not None else None

    def search(self, text: str) -> list[str]:
        """Ids that match any word of the text as a prefix, best first; all of them, newest first, for a blank text."""
        if not text.strip():
            sql = "SELECT id FROM models ORDER BY updated_at DESC, id"
            return [model_id for (model_id,) in self._connection.execute(sql)]
        ranked, common = self.rank(text)
        others = set[str]().union(*map(self.having, common))
        return [*ranked, *sorted(others.difference(ranked))]

    def rank(self, text: str) -> tuple[list[str], list[str]]:
        """Ids that match a word of the text as a prefix, best first, and the words that are too common to rank by.

        A word that over a thousand models have says little about which is meant, and to rank by it takes longer than
        all the rest: who wants the models that have only such words asks with `having`.
        """
        words = search_words(text)
        common = [word for word in words if self._is_common(word)]
        telling = [word for word in words if word not in common]
        if not telling:
            return [], common
        sql = "SELECT id FROM model_search WHERE model_search MATCH ? ORDER BY rank, id"
        return [model_id for (model_id,) in self._connection.execute(sql, (_any_of(telling),))], common

    def _is_common(self, word: str) -> bool:
        sql = "SELECT count(*) FROM (SELECT 1 FROM model_search WHERE model_search MATCH ? LIMIT ?)"
        return bool(self._connection.execute(sql, (_any_of([word]), _RANKED_MOST + 1)).fetchone()[0] > _RANKED_MOST)

    def having(self, word: str) -> set[str]:
        """Ids that match a word as a prefix."""
        # Read from where FTS5 keeps the first column (sqlite.org/fts5.html, appendix B): in a third of the time.
        found = "SELECT rowid FROM model_search WHERE model_search MATCH ?"
        sql = f"SELECT c0 FROM model_search_content WHERE id IN ({found})"
        return {model_id for (model_id,) in self._connection.execute(sql, (_any_of([word]),))}

    def signatures(self) -> dict[str, str]:
        """The stamp of each metadata.json as it was when its row was made."""
        return dict(self._connection.execute("SELECT model_id, signature FROM agent_signatures"))

    def signatures_of(self, model_ids: Iterable[str]) -> dict[str, str]:
        """The same for some models."""
        sql = "SELECT signature FROM agent_signatures WHERE model_id = ?"
        found = {model_id: self._connection.execute(sql, (model_id,)).fetchone() for model_id in model_ids}
        return {model_id: row[0] for model_id, row in found.items() if row is not None}

    def link_exclusions(self, app_id: str) -> frozenset[str]:
        """Models that are left out of an application's mapping."""
        sql = "SELECT model_id FROM model_link_exclusions WHERE app_id = ?"
        return frozenset(model_id for (model_id,) in self._connection.execute(sql, (app_id,)))

    def pending_lookups(self) -> int:
        """How many models wait for a look-up in the net (another program does them)."""
        sql = "SELECT count(*) FROM models WHERE json_extract(metadata_json, '$.pending_online_lookup') = 1"
        return int(self._connection.execute(sql).fetchone()[0])

    def back_up(self, path: Path) -> dict[str, int]:
        """Copy the whole index to `path`; see `backup.back_up`.

        Raises:
            LibraryUnwritable: it could not be written.
        """
        return back_up(self._connection, path)

    def alerts(self) -> dict[tuple[str, str], str]:
        """Since when each alert stands, by (code, model_id)."""
        return {
            (code, model_id): since for code, model_id, since in self._connection.execute("SELECT * FROM agent_alerts")
        }

    def last_event_id(self) -> int:
        """The newest position of the feed that was ever given out; 0 before the first."""
        sql = "SELECT seq FROM sqlite_sequence WHERE name = 'model_library_update_events'"
        found = self._connection.execute(sql).fetchone()
        return int(found[0]) if found else 0

    def last_prunable_event(self, before: str, keep: int) -> int:
        """The newest event that is older than a time, or beyond the newest `keep` ones; 0 when there is none.

        Events go from the oldest on and without a gap, whatever a clock said in between: a client that holds a cursor
        has to be told when something after it is missing.

        Args:
            before: RFC 3339, UTC.
            keep: events.
        """
        table = "model_library_update_events"
        (oldest, newest) = self._connection.execute(f"SELECT min(event_id), max(event_id) FROM {table}").fetchone()
        if oldest is None:
            return 0
        sql = f"SELECT event_id FROM {table} ORDER BY event_id DESC LIMIT 1 OFFSET ?"
        beyond = self._connection.execute(sql, (keep,)).fetchone()
        sql = f"SELECT event_id FROM {table} WHERE created_at >= ? ORDER BY event_id LIMIT 1"
        young = self._connection.execute(sql, (before,)).fetchone()
        last_old = young[0] - 1 if young is not None else newest
        last = max(last_old, beyond[0] if beyond is not None else 0)
        return int(last) if last >= oldest else 0

    def updates_since(self, cursor: str | None, limit: int) -> UpdateFeed:
        """What changed since a cursor. A cursor ahead of the log is stale too."""
        newest = self.last_event_id()
        current = cursor_of(newest)
        if cursor is None:
            return UpdateFeed(cursor=current)
        stale = UpdateFeed(cursor=current, stale_cursor=True, snapshot_required=True)
        match = re.fullmatch(re.escape(_CURSOR) + r"(\d{1,18})", cursor)
        if match is None:
            return stale
        since = int(match[1])
        (oldest,) = self._connection.execute("SELECT min(event_id) FROM model_library_update_events").fetchone()
        if since > newest or (since != 0 and since < (oldest or newest + 1) - 1):
            return stale
        events = tuple(
            UpdateEvent(
                cursor=cursor_of(event_id),
                model_id=model_id,
                change_kind=ChangeKind(kind),
                fact_family=FactFamily(family),
                refresh_scope=RefreshScope(scope),
                selected_artifact_id=artifact,
                producer_revision=revision,
            )
            for event_id, model_id, artifact, kind, family, scope, revision in self._connection.execute(
                "SELECT event_id, model_id, selected_artifact_id, change_kind, fact_family, refresh_scope,"
                " COALESCE(producer_revision, created_at) FROM model_library_update_events"
                " WHERE event_id > ? ORDER BY event_id LIMIT ?",
                (since, limit or _FEED_LIMIT),
            )
        )
        # Position 0 is never stale, but what happened first may be gone; a snapshot of an empty library is from there.
        return UpdateFeed(
            cursor=events[-1].cursor if events else current,
            events=events,
            snapshot_required=since == 0 and newest != 0 and oldest != 1,
        )


def _connect_readonly(path: Path, mode: str) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?{mode}", uri=True, isolation_level=None, check_same_thread=False
        )
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        connection.execute("PRAGMA query_only = ON")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        raise LibraryUnavailable(
            f"cannot open the index {path}: {error}", hint="`pumas-agent run` or `pumas-agent reindex` makes it"
        ) from error
    return connection


def cursor_of(event_id: int) -> str:
    """The cursor of a client that knows of everything up to an event."""
    return f"{_CURSOR}{event_id}"


def search_words(text: str) -> list[str]:
    """The words that a person typed, as far as there is a letter or digit in them, each once."""
    text = text.replace("\0", " ").encode("utf-8", "ignore").decode("utf-8")  # neither can stand in a query
    words = dict.fromkeys(word for word in text.lower().split() if any(map(str.isalnum, word)))
    return list(islice(words, _MOST_WORDS))


def search_query(text: str) -> str:
    """What a person typed, as an FTS5 query."""
    return _any_of(search_words(text))


def _any_of(words: Iterable[str]) -> str:
    """Each a prefix, and quoted, so that no character is an operator."""
    return " OR ".join('"' + word.replace('"', '""') + '"*' for word in words)


class IndexWriter(IndexReader):
    """The one connection that writes. Used by one thread at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        self._least_event_id = 0

    @classmethod
    def open(cls, path: Path) -> "IndexWriter":
        """Open an index, making it or bringing its schema up to date.

        Raises:
            LibraryUnavailable: it cannot be opened, or is no SQLite database.
            LibraryNewer: a newer version has written it; nothing was changed.
        """
        try:
            address = f"file:{quote(str(path))}"  # so that a backup can be attached by one, read-only
            connection = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
            if newer := unknown_migrations(connection):
                connection.close()
                raise LibraryNewer(
                    f"a newer pumas-agent has written the index {path} ({', '.join(newer)}): it is only read",
                    hint="update pumas-agent; until then nothing in the library is changed",
                )
            connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA temp_store = MEMORY")
            migrate(connection)
        except sqlite3.Error as error:
            raise LibraryUnavailable(
                f"cannot open the index {path}: {error}",
                hint="if the file is damaged, move it away and run `pumas-agent reindex`: it makes the rows anew",
            ) from error
        return cls(connection)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing.

        Raises:
            LibraryUnwritable: SQLite could not write; nothing of the transaction is kept.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise LibraryUnwritable(
                f"the index cannot be written: {error}", hint="is the library's disk full?"
            ) from error

    @contextmanager
    def durable_transaction(self) -> Iterator[None]:
        """A transaction that a power cut cannot undo once it returned (synchronous=FULL flushes the log at commit)."""
        self._connection.execute("PRAGMA synchronous = FULL")
        try:
            with self.transaction():
                yield
        finally:
            self._connection.execute("PRAGMA synchronous = NORMAL")

    def upsert(self, row: IndexRow) -> ChangeKind | None:
        """Write a row when a column differs, with its search row (a trigger) and its feed event; None if none does."""
        old = self.row(row.id)
        if old == row:
            return None
        kind = ChangeKind.METADATA_MODIFIED if old else ChangeKind.MODEL_ADDED
        assignments = ", ".join(f"{name.strip()} = excluded.{name.strip()}" for name in _COLUMNS.split(",")[1:])
        self._connection.execute(
            f"INSERT INTO models ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
            f" ON CONFLICT (id) DO UPDATE SET {assignments}",
            astuple(row),
        )
        self.add_event(row.id, kind, row.updated_at)
        return kind

    def delete(self, model_id: str) -> bool:
        """Delete a row and what hangs on it, with its feed event. False when there was none."""
        # The table of link exclusions has no foreign key.
        self._connection.execute("DELETE FROM model_link_exclusions WHERE model_id = ?", (model_id,))
        self._connection.execute("DELETE FROM agent_signatures WHERE model_id = ?", (model_id,))
        self._connection.execute("DELETE FROM agent_alerts WHERE model_id = ?", (model_id,))
        deleted = self._connection.execute("DELETE FROM models WHERE id = ?", (model_id,)).rowcount > 0
        if deleted:
            self.add_event(model_id, ChangeKind.MODEL_REMOVED, None)
        return deleted

    def add_event(
        self, model_id: str, kind: ChangeKind, revision: str | None, family: FactFamily = FactFamily.MODEL_RECORD
    ) -> None:
        """Say in the feed what happened to a model."""
        self._connection.execute(
            "INSERT INTO model_library_update_events"
            " (event_id, model_id, change_kind, fact_family, refresh_scope, producer_revision)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                max(self.last_event_id() + 1, self._least_event_id),
                model_id,
                kind,
                family,
                RefreshScope.SUMMARY_AND_DETAIL,
                revision,
            ),
        )

    def put_link_exclusion(self, model_id: str, app_id: str, excluded_at: str) -> None:
        """Leave a model out of an application's mapping."""
        self._connection.execute(
            "INSERT OR IGNORE INTO model_link_exclusions VALUES (?, ?, ?)", (model_id, app_id, excluded_at)
        )

    def delete_link_exclusion(self, model_id: str, app_id: str) -> None:
        """Take it in again."""
        self._connection.execute(
            "DELETE FROM model_link_exclusions WHERE model_id = ? AND app_id = ?", (model_id, app_id)
        )

    def put_signatures(self, signatures: Iterable[tuple[str, str]]) -> None:
        """Remember the stamps of files whose rows are now up to date."""
        self._connection.executemany("INSERT OR REPLACE INTO agent_signatures VALUES (?, ?)", signatures)

    def delete_signature(self, model_id: str) -> None:
        """Forget the stamp of a file that is about to change: until it is put again, the next scan reads that file."""
        self._connection.execute("DELETE FROM agent_signatures WHERE model_id = ?", (model_id,))

    def put_alert(self, code: str, model_id: str, since: str) -> None:
        """Remember since when an alert stands."""
        self._connection.execute("INSERT OR REPLACE INTO agent_alerts VALUES (?, ?, ?)", (code, model_id, since))

    def delete_alert(self, code: str, model_id: str) -> None:
        """Forget an alert."""
        self._connection.execute("DELETE FROM agent_alerts WHERE code = ? AND model_id = ?", (code, model_id))

    def prune_events(self, last: int, most: int) -> int:
        """Delete the oldest events up to one, `most` of them; how many it were. No position is given out again."""
        sql = (
            "DELETE FROM model_library_update_events WHERE event_id IN"
            " (SELECT event_id FROM model_library_update_events WHERE event_id <= ? ORDER BY event_id LIMIT ?)"
        )
        return self._connection.execute(sql, (last, most)).rowcount

    def skip_event_ids(self, least: int) -> None:
        """Give the next event this position at least, so that positions which were lost are not given out again.

        Writes nothing: the gap is there once an event is.
        """
        self._least_event_id = least

    def plan_move(self, old_id: str, new_id: str, changes_json: str) -> None:
        """Remember that a model is on its way to another id."""
        plan_move(self._connection, old_id, new_id, changes_json)

    def planned_moves(self) -> list[tuple[str, str, str]]:
        """Moves that were begun and not finished; see `references`."""
        return planned_moves(self._connection)

    def forget_move(self, old_id: str) -> None:
        """It is finished, or given up."""
        forget_move(self._connection, old_id)

    def move_references(self, old_id: str, new_id: str) -> None:
        """What hangs on a model goes along to the new id, whose row is there."""
        move_references(self._connection, old_id, new_id)

    def restore(self, path: Path) -> dict[str, int]:
        """Add what a backup has and this index has not; see `backup.restore`.

        Raises:
            LibraryUnavailable: it is no backup.
            LibraryUnwritable: SQLite could not write; nothing is kept.
        """
        attach(self._connection, path)
        try:
            with self.transaction():
                return restore(self._connection)
        finally:
            self._connection.execute("DETACH DATABASE backup")

    def flush(self) -> None:
        """Move the log into the database file and empty it, so that a backup of one file is whole."""
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
