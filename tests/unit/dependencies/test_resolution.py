"""Dependency requirements: the dependency contract's own words, and nothing about files."""

import sys

import pytest

from pumas_agent.dependencies import platform_key, resolve_requirements


def test_a_model_without_bindings_is_resolved_and_needs_nothing() -> None:
    """Reference 8.2: no active rows."""
    resolution = resolve_requirements("llm/f/m", has_bindings=False)

    assert resolution.model_dump(mode="json") == {
        "model_id": "llm/f/m",
        "platform_key": platform_key(),
        "backend_key": None,
        "dependency_contract_version": 1,
        "validation_state": "resolved",
        "validation_errors": [],
        "bindings": [],
    }


def test_bindings_that_are_not_worked_out_are_not_said_to_be_none() -> None:
    """Reference 8.2: unknown_profile, with one error of the top level; every key of an error is there."""
    resolution = resolve_requirements("llm/f/m", has_bindings=True)

    (error,) = resolution.validation_errors
    assert resolution.validation_state == "unknown_profile"
    assert list(error) == ["code", "scope", "binding_id", "field", "message"]
    assert (error["code"], error["scope"], error["binding_id"], error["field"]) == (
        "declared_bindings_unresolved",
        "top_level",
        None,
        "dependency_bindings",
    )


@pytest.mark.parametrize(
    ("given", "key"), [(None, platform_key()), (" Linux-X86_64 ", "linux-x86_64"), ("", "unknown"), ("  ", "unknown")]
)
def test_the_platform_is_trimmed_and_lower_case(given: str | None, key: str) -> None:
    """Reference 8.2: blank is unknown, and this machine when nothing is asked."""
    assert resolve_requirements("m", has_bindings=False, platform_context=given).platform_key == key


@pytest.mark.parametrize(("given", "key"), [(None, None), ("", None), (" Diffusers ", "diffusers")])
def test_the_backend_is_trimmed_and_lower_case(given: str | None, key: str | None) -> None:
    """Reference 8.2: blank is null."""
    assert resolve_requirements("m", has_bindings=True, backend=given).backend_key == key


@pytest.mark.parametrize(("system", "key"), [("linux", "linux"), ("darwin", "macos"), ("win32", "windows")])
def test_this_machine_is_named_as_requirements_name_it(monkeypatch: pytest.MonkeyPatch, system: str, key: str) -> None:
    """Reference 8.1: linux, windows, macos."""
    monkeypatch.setattr(sys, "platform", system)

    assert platform_key() == key
