"""The tables of dependency profiles and their bindings to models: rows, and the SQL that reads and writes them.

Owns nothing else of the index: when a transaction begins and ends is for the store to say. Knows no rule about what a
profile holds.
"""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, astuple, dataclass
from typing import Any

from pumas_agent.contracts.metadata import DependencyBindingRef

ACTIVE = "active"
DEPRECATED = "deprecated"
_DEFAULT_PRIORITY = 100


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """One row of `dependency_profiles`."""

    profile_id: str
    profile_version: int
    profile_hash: str | None
    environment_kind: str
    spec_json: str
    created_at: str


@dataclass(frozen=True, slots=True)
class BindingRow:
    """One row of `model_dependency_bindings`."""

    binding_id: str
    model_id: str
    profile_id: str
    profile_version: int
    binding_kind: str
    backend_key: str | None
    platform_selector: str | None
    status: str
    priority: int
    attached_by: str | None
    attached_at: str

    @property
    def is_active(self) -> bool:
        """It applies."""
        return self.status == ACTIVE

    @property
    def order(self) -> tuple[str, str, str, str, int, int, str]:
        """The order in which bindings are listed."""
        return (
            self.binding_kind,
            self.backend_key or "",
            self.platform_selector or "",
            self.profile_id,
            self.profile_version,
            self.priority,
            self.binding_id,
        )

    @property
    def ref(self) -> DependencyBindingRef:
        """What a model's record says of it."""
        return DependencyBindingRef(
            binding_id=self.binding_id,
            profile_id=self.profile_id,
            profile_version=self.profile_version,
            binding_kind=self.binding_kind,
            backend_key=self.backend_key,
            platform_selector=self.platform_selector,
        )


class DependencyTables:
    """The two tables and the history, on a connection of the index."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def profiles(self) -> Iterator[ProfileRow]:
        """Every profile."""
        sql = (
            "SELECT profile_id, profile_version, profile_hash, environment_kind, spec_json, created_at"
            " FROM dependency_profiles"
        )
        for profile_id, version, digest, kind, spec, created in self._connection.execute(sql):
            yield ProfileRow(
                _text(profile_id), _int(version, 0), _optional(digest), _text(kind), _text(spec), _text(created)
            )

    def bindings(self) -> Iterator[BindingRow]:
        """Every binding, those that no longer apply too."""
        sql = (
            "SELECT binding_id, model_id, profile_id, profile_version, binding_kind, backend_key, platform_selector,"
            " status, priority, attached_by, attached_at FROM model_dependency_bindings"
        )
        for binding, model, profile, version, kind, backend, selector, status, *rest in self._connection.execute(sql):
            priority, by, at = rest
            yield BindingRow(
                binding_id=_text(binding),
                model_id=_text(model),
                profile_id=_text(profile),
                profile_version=_int(version, 0),
                binding_kind=_text(kind),
                backend_key=_optional(backend),
                platform_selector=_optional(selector),
                status=_text(status),
                priority=_int(priority, _DEFAULT_PRIORITY),
                attached_by=_optional(by),
                attached_at=_text(at),
            )

    def insert_profile(self, row: ProfileRow) -> None:
        """Store a profile."""
        self._connection.execute(
            "INSERT INTO dependency_profiles"
            " (profile_id, profile_version, profile_hash, environment_kind, spec_json, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            astuple(row),
        )

    def put_binding(self, row: BindingRow, old: BindingRow | None, actor: str) -> None:
        """Store a binding in place of the `old` one, and what happened to it."""
        if old is None:
            self._connection.execute(
                "INSERT INTO model_dependency_bindings"
                " (binding_id, model_id, profile_id, profile_version, binding_kind, backend_key, platform_selector,"
                " status, priority, attached_by, attached_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                astuple(row),
            )
        else:
            self._update_binding(row, old)
        self._connection.execute(
            "INSERT INTO dependency_binding_history"
            " (binding_id, model_id, actor, action, old_value_json, new_value_json, reason)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                row.binding_id,
                row.model_id,
                actor,
                "binding_updated" if old else "binding_created",
                _json(old) if old else None,
                _json(row),
                "status-changed" if old and old.status != row.status else None,
            ),
        )

    def _update_binding(self, row: BindingRow, old: BindingRow) -> None:
        self._connection.execute(
            "UPDATE model_dependency_bindings SET binding_kind = ?, backend_key = ?, platform_selector = ?, status = ?,"
            " priority = ?, attached_by = ?, attached_at = ? WHERE binding_id = ?",
            (
                row.binding_kind,
                row.backend_key,
                row.platform_selector,
                row.status,
                row.priority,
                row.attached_by,
                row.attached_at,
                row.binding_id,
            ),
        )
        # Only when it is another: a binding that another program made to a profile which is not there can go all the
        # same, and SQLite looks for the profile when the columns are as much as named.
        if (row.profile_id, row.profile_version) != (old.profile_id, old.profile_version):
            self._connection.execute(
                "UPDATE model_dependency_bindings SET profile_id = ?, profile_version = ? WHERE binding_id = ?",
                (row.profile_id, row.profile_version, row.binding_id),
            )


def _json(row: BindingRow) -> str:
    return json.dumps(asdict(row), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


# Another program may have put any type into a column: SQLite does not mind.


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def _optional(value: Any) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _int(value: Any, default: int) -> int:
    return value if isinstance(value, int) else default
