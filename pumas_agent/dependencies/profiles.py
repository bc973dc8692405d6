"""A stored profile as it was meant: parsed once, for a stored profile never changes. Pure."""

import json
from dataclasses import dataclass
from functools import lru_cache

from pumas_agent.contracts.dependencies import DependencyRequirement
from pumas_agent.contracts.errors import InvalidDependencyPin, InvalidDependencyProfile
from pumas_agent.dependencies.requirements import requirement_of
from pumas_agent.dependencies.spec import ProfileSpec, parse_spec
from pumas_agent.library import ProfileRow


@dataclass(frozen=True, slots=True)
class StoredProfile:
    """What a row of the index amounts to: a specification and its requirements, or why there is none."""

    hash: str | None
    environment_kind: str
    spec: ProfileSpec | None
    requirements: tuple[DependencyRequirement, ...]
    fault: str | None
    unpinned: str | None
    """The package that has no exact version, when that is the fault."""

    @property
    def names(self) -> frozenset[str]:
        """The packages that are pinned, without their extras."""
        return frozenset(requirement.name.partition("[")[0] for requirement in self.requirements)


@lru_cache(maxsize=4096)
def stored_profile(row: ProfileRow) -> StoredProfile:
    """The profile of a row. A row that another program wrote wrongly is a fault of that profile, never an error."""
    kind = row.environment_kind.strip().lower()
    try:
        spec = parse_spec(json.loads(row.spec_json), kind, strict=False)
    except InvalidDependencyProfile as error:
        unpinned = error.data.get("package") if isinstance(error, InvalidDependencyPin) else None
        return StoredProfile(row.profile_hash, kind, None, (), error.message, unpinned)
    except (ValueError, RecursionError) as error:
        return StoredProfile(row.profile_hash, kind, None, (), f"it is no JSON: {error}", None)
    requirements = tuple(map(requirement_of, spec.packages))
    return StoredProfile(row.profile_hash or spec.hash, kind, spec, requirements, None, None)
