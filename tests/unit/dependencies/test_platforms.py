"""Which platforms a selector means."""

import platform as python_platform
import sys

import pytest

from pumas_agent.dependencies import Platform, Selector, platform_key


@pytest.mark.parametrize(
    ("selector", "key", "matches"),
    [
        (None, "linux", True),
        ("", "linux", True),
        ("  ", "unknown", True),
        ("*", "unknown", True),
        ("windows|*", "linux", True),
        ("linux-x86_64", "linux-x86_64", True),
        ("Linux-X86_64", " linux-x86_64 ", True),
        ("linux-x86_64", "linux-aarch64", False),
        ("linux", "windows", False),
        ("macos, linux-x86_64", "linux-x86_64", True),
        ("macos|windows", "linux", False),
        ("linux-x86_64", "linux", True),
        ("linux", "linux-x86_64", True),
        ("linux-aarch64|macos", "linux", True),
        ("darwin", "macos", True),
        ("macos-arm64", "darwin-aarch64", True),
        ("windows-amd64", "win32-x86_64", True),
        ("linux-x64", "linux-amd64", True),
        ("linux", "", False),
        ("unknown", "", True),
        ("linux-x86", "linux-x86_64", False),
        ("linux-", "linux-x86_64", True),
        (",|", "linux", True),
    ],
)
def test_a_platform_without_an_architecture_is_every_architecture(
    selector: str | None, key: str, matches: bool
) -> None:
    """`linux` and `linux-x86_64` mean each other, whichever of them asks; two architectures never do (W26)."""
    assert Selector.of(selector).matches(Platform.of(key)) == matches


@pytest.mark.parametrize(
    ("one", "other", "asked", "overlap"),
    [
        (None, "linux-x86_64", "linux", True),
        ("linux-x86_64", "linux-aarch64", "linux", False),
        ("linux", "linux-aarch64", "linux", True),
        ("linux-x86_64|windows", "linux-aarch64|windows", "linux", False),
        ("linux-x86_64", "linux-x86_64,macos", "linux", True),
    ],
)
def test_selectors_overlap_when_one_machine_is_meant_by_both(
    one: str | None, other: str, asked: str, overlap: bool
) -> None:
    """Of the platform that was asked about: that both mean Windows too says nothing about Linux."""
    first, second, platform = Selector.of(one), Selector.of(other), Platform.of(asked)

    assert first.overlaps(second, platform) == second.overlaps(first, platform) == overlap


@pytest.mark.parametrize(("system", "key"), [("linux", "linux"), ("darwin", "macos"), ("win32", "windows")])
def test_this_machine_is_named_as_requirements_name_it(monkeypatch: pytest.MonkeyPatch, system: str, key: str) -> None:
    """Reference 8.1: linux, windows, macos. Its architecture counts, although it is not in the name."""
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(python_platform, "machine", lambda: "AMD64")

    assert platform_key() == key
    assert Platform.here() == Platform(key, key, "x86_64")
    assert not Selector.of(f"{key}-aarch64").matches(Platform.here())


@pytest.mark.parametrize(("given", "key"), [(" Linux-X86_64 ", "linux-x86_64"), ("", "unknown"), (" ", "unknown")])
def test_the_key_is_what_was_asked(given: str, key: str) -> None:
    """Reference 8.2: trimmed and in lower case; blank is unknown. An alias stays as it was given."""
    assert Platform.of(given).key == key
    assert Platform.of("Darwin").key == "darwin"
