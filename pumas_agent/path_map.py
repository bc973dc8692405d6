"""How a runtime in a container sees the host's paths: the rules of the setting `paths.map`, and nothing else.

Pure text. Owns which rules make sense together and what a path becomes by them. Looks at no disk and follows no link.
"""

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self


class NotSeen(Exception):
    """No rule says where a path is in the container, or two of them contradict each other. The text says which."""


@dataclass(frozen=True, slots=True)
class PathMap:
    """Prefixes of the host, each with its name in the container, the longest first.

    Whole components alone are compared: `/mnt/models` is no prefix of `/mnt/models2`.
    """

    rules: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, rules: Mapping[str, str]) -> Self:
        """Check and order the rules.

        Raises:
            ValueError: a path is not absolute or holds `..`, or two rules name the same place on one of the sides.
        """
        plain = [(_plain(host), _plain(container)) for host, container in rules.items()]
        for side, at in (("host", 0), ("container", 1)):
            seen: set[str] = set()
            for rule in plain:
                if rule[at] in seen:
                    raise ValueError(f"must not have two rules for {rule[at]} of the {side}")
                seen.add(rule[at])
        return cls(tuple(sorted(plain, key=lambda rule: (-len(rule[0]), rule[0]))))

    def seen(self, path: str, beside: Iterable[str] = ()) -> str:
        """The name that a path of the host has in the container.

        Args:
            path: absolute.
            beside: folders that links below the path lead to. By the same rule they are as far away as on the host.

        Raises:
            NotSeen: it has none, or something else stands there.
        """
        rule = self._rule_of(path)
        if rule is None:
            known = ", ".join(host for host, _ in self.rules)
            raise NotSeen(f"no rule of paths.map covers {path}; there are rules for {known or 'nothing'}")
        name = _moved(path, *rule)
        for host, container in self.rules:
            overlaps = _is_below(name, container) or _is_below(container, name)
            agrees = _is_below(host, rule[0]) and _moved(host, *rule) == container
            if overlaps and not agrees and len(container) > len(rule[1]):
                raise NotSeen(f"{path} would be {name} in the container, and paths.map has {host} at {container}")
        for folder in beside:
            if self._rule_of(folder) != rule:
                raise NotSeen(
                    f"links in {path} lead to {folder}, which the rule for {rule[0]} of paths.map does not cover"
                )
        return name

    def _rule_of(self, path: str) -> tuple[str, str] | None:
        return next((rule for rule in self.rules if _is_below(path, rule[0])), None)


def _plain(path: str) -> str:
    """Without double and trailing slashes."""
    if not path.startswith("/"):
        raise ValueError(f"must have absolute paths on both sides, and {path!r} is none")
    if ".." in path.split("/") or "\0" in path:
        raise ValueError(f"must have paths without '..' and NUL, and {path!r} has one")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise ValueError("must have paths in UTF-8: answers that name them are JSON") from None
    return "/" + posixpath.normpath(path).lstrip("/")


def _is_below(path: str, prefix: str) -> bool:
    return prefix in ("/", path) or path.startswith(prefix + "/")


def _moved(path: str, host: str, container: str) -> str:
    below = path[len(host) :] if host != "/" else path
    return (container.rstrip("/") + ("/" + below.lstrip("/") if below.strip("/") else "")) or "/"
