"""From the packages of a profile to requirements: addresses and hashes in one spelling. Pure."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pumas_agent.contracts.dependencies import DependencyRequirement


def requirement_of(package: dict[str, Any]) -> DependencyRequirement:
    """One package of a specification, as a runtime is told of it."""
    return DependencyRequirement(
        name=package["name"],
        exact_pin=package["version"],
        index_url=_url(package.get("index_url", "")) or None,
        extra_index_urls=_unique(map(_url, package.get("extra_index_urls", ()))),
        markers=package.get("markers", "").strip() or None,
        python_requires=package.get("python_requires", "").strip() or None,
        platform_constraints=_unique(text.strip() for text in package.get("platform_constraints", ())),
        hashes=_unique(map(_hash, package.get("hashes", ()))),
        source=package.get("source", "").strip() or None,
    )


def _unique(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({text for text in texts if text}))


def _url(text: str) -> str:
    """Scheme and host in lower case, no slash at the end; a user's name and password keep their case."""
    text = text.strip()
    try:
        parts = urlsplit(text)
    except ValueError:  # brackets without an address in them: not ours to mend
        return text
    user, at, host = parts.netloc.rpartition("@")
    authority = user + at + host.lower()
    return urlunsplit((parts.scheme.lower(), authority, parts.path.rstrip("/"), parts.query, parts.fragment))


def _hash(text: str) -> str:
    digest = text.strip().lower()
    return digest if not digest or ":" in digest else f"sha256:{digest}"
