"""The specification of a dependency profile: its rules, its canonical form and its hash. Pure.

The canonical form is what is stored and hashed, so that two texts that mean the same are one profile.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pumas_agent.contracts.errors import InvalidDependencyPin, InvalidDependencyProfile
from pumas_agent.dependencies.modalities import MODALITIES

MOST_PACKAGES = 1000
"""Packages of one profile: an answer that is prepared on the event loop holds all of them."""
_PIN = re.compile(r"==[A-Za-z0-9]+[A-Za-z0-9._+\-]*")
_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?(\[[a-z0-9._,\s-]*\])?")
_TEXTS = ("index_url", "markers", "python_requires", "source")
_LISTS = ("extra_index_urls", "platform_constraints", "hashes")
_PACKAGE_KEYS = {"name", "version", "index", *_TEXTS, *_LISTS}
_SIDES = ("input_modalities", "output_modalities")


@dataclass(frozen=True, slots=True)
class ProfileSpec:
    """A specification that keeps the rules."""

    document: Mapping[str, Any]
    """The canonical form."""
    hash: str
    """SHA-256 of it, in hex."""

    @property
    def packages(self) -> list[dict[str, Any]]:
        """The packages, sorted by name and version: `name`, `version`, and what is said besides."""
        packages: list[dict[str, Any]] = self.document["python_packages"]
        return packages

    @property
    def required(self) -> list[str]:
        """Names that the profile's own policy wants pinned."""
        return [package["name"] for package in self.document.get("pin_policy", {}).get("required_packages", ())]

    @property
    def text(self) -> str:
        """The canonical form, as it is stored and hashed."""
        return _canonical(self.document)

    def override(self, binding_id: str) -> list[str]:
        """The modalities that the profile says one binding is for."""
        said = self.document.get("binding_modality_overrides", {}).get(binding_id, {})
        return [token for side in _SIDES for token in said.get(side, ())]


def parse_spec(spec: object, environment_kind: str, *, strict: bool = True) -> ProfileSpec:
    """Check a specification and bring it into its canonical form.

    Args:
        spec: the object as it came from a file, a client or the index.
        environment_kind: of the profile; one that starts with `python` needs packages.
        strict: refuse keys of a package that nobody knows (a misspelt `hashes` would go unnoticed), and more packages
            than a profile may have. Profiles that are stored already are read without.

    Raises:
        InvalidDependencyPin: a package has no exact version.
        InvalidDependencyProfile: another rule is broken; the message names the field.
    """
    if not isinstance(spec, dict):
        raise _invalid("spec", "is no object")
    packages = _packages(spec.get("python_packages"), strict=strict)
    if not packages and environment_kind.strip().lower().startswith("python"):
        raise _invalid("python_packages", f"is empty, and an environment {environment_kind} is made of packages")
    document = {key: value for key, value in spec.items() if key not in {"pin_policy", "binding_modality_overrides"}}
    document["python_packages"] = packages
    if (policy := spec.get("pin_policy")) is not None:
        document["pin_policy"] = _policy(policy, {package["name"] for package in packages})
    if (overrides := spec.get("binding_modality_overrides")) is not None:
        document["binding_modality_overrides"] = _overrides(overrides)
    try:
        text = _canonical(document).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise _invalid("spec", f"cannot be written as JSON: {error}") from None
    return ProfileSpec(document, hashlib.sha256(text).hexdigest())


def _canonical(document: Mapping[str, Any]) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _packages(value: object, *, strict: bool) -> list[dict[str, Any]]:
    given = _list(value, "python_packages")
    if strict and len(given) > MOST_PACKAGES:
        raise _invalid("python_packages", f"has more than {MOST_PACKAGES} packages")
    packages: dict[str, dict[str, Any]] = {}
    """Each by all that is said of it: exact duplicates are one."""
    versions: dict[str, str] = {}
    for position, item in enumerate(given):
        field = f"python_packages[{position}]"
        package = _package(item, field, strict=strict)
        name, version = package["name"], package["version"]
        if versions.setdefault(name, version) != version:
            raise _invalid(field, f"pins {name} to {version}, and another entry to {versions[name]}")
        packages.setdefault(json.dumps(package, sort_keys=True), package)
    return sorted(packages.values(), key=lambda package: (package["name"], package["version"]))


def _package(item: object, field: str, *, strict: bool) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise _invalid(field, "is no object")
    if strict and (unknown := sorted(str(key) for key in item.keys() - _PACKAGE_KEYS)):
        raise _invalid(f"{field}.{unknown[0]}", f"is no key of a package; those are {', '.join(sorted(_PACKAGE_KEYS))}")
    name = _name(item.get("name"), f"{field}.name")
    version = item.get("version")
    if not isinstance(version, str) or not _PIN.fullmatch(version):
        raise InvalidDependencyPin(
            f"Validation error for {field}.version: invalid_dependency_pin: {name} has {version!r}"
            " where an exact version has to stand",
            hint="write one version, like ==1.2.3, without ranges or wildcards",
            data={"field": f"{field}.version", "package": name},
        )
    said = {"index_url": item.get("index"), **{key: item[key] for key in (*_TEXTS, *_LISTS) if item.get(key)}}
    texts = {key: _text(said.get(key), f"{field}.{key}") for key in _TEXTS}
    lists = {key: _texts(said.get(key), f"{field}.{key}") for key in _LISTS}
    present = {key: value for key, value in {**texts, **lists}.items() if value}
    return {"name": name, "version": version, **present}


def _policy(value: object, declared: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _invalid("pin_policy", "is no object")
    names: set[str] = set()
    for position, item in enumerate(_list(value.get("required_packages"), "pin_policy.required_packages")):
        field = f"pin_policy.required_packages[{position}]"
        if not isinstance(item, dict):
            raise _invalid(field, "is no object")
        names.add(name := _name(item.get("name"), f"{field}.name"))
        if name not in declared:
            raise _invalid(field, f"wants {name}, which python_packages does not have")
    return {"required_packages": [{"name": name} for name in sorted(names)]}


def _overrides(value: object) -> dict[str, Any]:
    field = "binding_modality_overrides"
    if not isinstance(value, dict):
        raise _invalid(field, "is no object")
    overrides: dict[str, Any] = {}
    for binding_id, sides in value.items():
        if not isinstance(sides, dict):
            raise _invalid(f"{field}.{binding_id}", "is no object")
        found = {side: _tokens(sides[side], f"{field}.{binding_id}.{side}") for side in _SIDES if sides.get(side)}
        overrides[binding_id.strip()] = found
    return overrides


def _tokens(value: object, field: str) -> list[str]:
    tokens = {token.strip().lower() for token in _texts(value, field)}
    if unknown := sorted(tokens - MODALITIES):
        raise _invalid(field, f"has {unknown[0]!r}, which is no modality; those are {', '.join(sorted(MODALITIES))}")
    return sorted(tokens)


def _name(value: object, field: str) -> str:
    name = value.strip().lower() if isinstance(value, str) else ""
    if not _NAME.fullmatch(name):
        raise _invalid(field, f"is {value!r}, which is no name of a package")
    return name


def _list(value: object, field: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise _invalid(field, "is no list")
    return value


def _text(value: object, field: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise _invalid(field, "is no text")
    return value


def _texts(value: object, field: str) -> list[str]:
    """A list of texts; one text counts as a list of one."""
    texts = [value] if isinstance(value, str) else _list(value, field)
    if not all(isinstance(text, str) for text in texts):
        raise _invalid(field, "holds something that is no text")
    return texts


def _invalid(field: str, why: str) -> InvalidDependencyProfile:
    field = field.encode("utf-8", "backslashreplace").decode("utf-8")  # keys of a stranger are in it
    return InvalidDependencyProfile(f"Validation error for {field}: {field} {why}", data={"field": field})
