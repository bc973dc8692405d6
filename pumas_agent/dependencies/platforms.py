"""Names of platforms, and which of them a selector means. Pure.

A platform is a system with or without an architecture: `linux`, `linux-x86_64`. One without an architecture stands for
every architecture of that system, in a selector and in a question alike, so that neither has to know how exact the
other one is.
"""

import platform as python_platform
import re
import sys
from dataclasses import dataclass
from typing import Self

UNKNOWN = "unknown"
_SYSTEMS = {"darwin": "macos", "osx": "macos", "win32": "windows", "win": "windows"}
_ARCHITECTURES = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}
_ANY = "*"


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform by its parts; `key` is how it was named."""

    key: str
    system: str
    architecture: str | None

    @classmethod
    def of(cls, text: str) -> Self:
        """The platform that a text names; blank is `unknown`."""
        key = text.strip().lower() or UNKNOWN
        system, _, architecture = key.partition("-")
        return cls(key, _SYSTEMS.get(system, system), _ARCHITECTURES.get(architecture, architecture) or None)

    @classmethod
    def here(cls) -> Self:
        """This machine. It is named without its architecture, which counts all the same."""
        machine = python_platform.machine().lower()
        key = platform_key()
        return cls(key, key, _ARCHITECTURES.get(machine, machine) or None)

    def may_be(self, other: "Platform") -> bool:
        """Whether one machine can be both."""
        if self.system != other.system:
            return False
        return None in {self.architecture, other.architecture} or self.architecture == other.architecture


def platform_key() -> str:
    """This machine's platform as requirements name it: `linux`, `macos` or `windows`."""
    return _SYSTEMS.get(sys.platform, sys.platform)


@dataclass(frozen=True, slots=True)
class Selector:
    """The platforms that a binding is for; none when it is for all."""

    platforms: tuple[Platform, ...]

    @classmethod
    def of(cls, text: str | None) -> Self:
        """What a list separated by `,` or `|` means; null, blank and `*` mean every platform."""
        names = [name.strip() for name in re.split(r"[,|]", text or "")]
        return cls(() if _ANY in names else tuple(Platform.of(name) for name in names if name))

    def matches(self, platform: Platform) -> bool:
        """Whether a machine of that platform is meant, as far as the two say."""
        return not self.platforms or any(named.may_be(platform) for named in self.platforms)

    def overlaps(self, other: "Selector", platform: Platform) -> bool:
        """Whether one machine of that platform can be meant by both; each of them matches the platform."""
        if not self.platforms or not other.platforms:
            return True
        mine = [named for named in self.platforms if named.may_be(platform)]
        return any(named.may_be(theirs) for named in mine for theirs in other.platforms)
