"""Mapping configurations: which of them hold for an application's version, and which models their rules match.

Reads the folder of configurations; never writes there, and never looks at a model.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from pumas_agent.contracts.errors import MappingConfigInvalid, MappingConfigMissing
from pumas_agent.contracts.mapping import ANY_VERSION, MappingConfig, MappingRule

_MAX_BYTES = 1024 * 1024
_EXACT_VERSION = 4
_CUSTOM_VARIANT = 2
_HINT = "docs/how-to/map-into-applications.md shows what stands in one"


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What rules ask of a model, in small letters."""

    model_type: str
    subtype: str | None
    family: str
    tags: frozenset[str]


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules that hold for one version of an application, and the files they come from, most specific first."""

    rules: tuple[MappingRule, ...]
    files: tuple[str, ...]


def load_rules(folder: Path | None, app_id: str, version: str) -> Rules:
    """The rules for a version: of each folder of the application, those of the most specific configuration for it.

    An exact version is more specific than `*`, and with equal versions the variant `custom` more than any other. Of
    equals the first by name counts.

    Raises:
        MappingConfigMissing: none is for that version.
        MappingConfigInvalid: one that may be for the application cannot be used. What it says is not known, so the
            next less specific one must not take its place.
    """
    found = [
        (-_specificity(config, version), path.name, config)
        for path in _files(folder)
        if (config := _read(path, app_id)) is not None and config.version in {version, ANY_VERSION}
    ]
    if not found:
        raise MappingConfigMissing(
            f"no mapping configuration for {app_id} {version} in {folder or 'any folder'}",
            hint=f"write one into {app_id}_any_default.json there; {_HINT}",
        )
    found.sort(key=lambda item: item[:2])
    rules: dict[str, tuple[MappingRule, ...]] = {}
    for _, _, config in found:
        for target_dir in dict.fromkeys(rule.target_dir for rule in config.mappings):
            rules.setdefault(target_dir, tuple(rule for rule in config.mappings if rule.target_dir == target_dir))
    return Rules(tuple(rule for group in rules.values() for rule in group), tuple(name for _, name, _ in found))


def matches(rule: MappingRule, facts: ModelFacts) -> bool:
    """Whether a rule is for a model. Capital and small letters are the same."""
    return (
        _passes(rule.model_types, {facts.model_type})
        and _passes(rule.subtypes, {facts.subtype} if facts.subtype else ())
        and _passes(rule.families, {facts.family})
        and _passes(rule.tags, facts.tags)
        and not (rule.exclude_tags and _passes(rule.exclude_tags, facts.tags))
    )


def _passes(wanted: tuple[str, ...] | None, has: Iterable[str]) -> bool:
    return not wanted or not {word.casefold() for word in wanted}.isdisjoint(has)


def _specificity(config: MappingConfig, version: str) -> int:
    exact = config.version == version and version != ANY_VERSION
    return _EXACT_VERSION * exact + _CUSTOM_VARIANT * (config.variant == "custom")


def _files(folder: Path | None) -> list[Path]:
    if folder is None:
        return []
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".json" and path.is_file())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise MappingConfigInvalid(
            f"the mapping configurations in {folder} cannot be read: {error.strerror}"
        ) from error


def _read(path: Path, app_id: str) -> MappingConfig | None:
    """The configuration in a file; None when it is another application's.

    What is said in the file counts; its name only tells whose it may be when the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            config = MappingConfig.model_validate_json(file.read(_MAX_BYTES))  # what is longer is cut off, and no JSON
    except (OSError, ValidationError) as error:
        if not path.name.startswith(f"{app_id}_"):
            return None
        raise MappingConfigInvalid(f"{path} is no mapping configuration: {_problem(error)}", hint=_HINT) from error
    return config if config.app == app_id else None


def _problem(error: OSError | ValidationError) -> str:
    if isinstance(error, OSError):
        return str(error.strerror)
    problems = error.errors(include_url=False, include_input=False)
    return "; ".join(f"{'.'.join(str(part) for part in said['loc']) or 'it'}: {said['msg']}" for said in problems)
