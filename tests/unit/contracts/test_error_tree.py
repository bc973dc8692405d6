"""Errors: stable codes, and the same error on both sides of the socket."""

import traceback

import pytest

from pumas_agent.contracts.errors import (
    AssetNotValid,
    InternalError,
    LibraryBusy,
    ModelNotFound,
    PumasError,
    error_from_answer,
    errors_by_code,
)


def all_kinds(root: type[PumasError] = PumasError) -> list[type[PumasError]]:
    kinds = [kind for child in root.__subclasses__() for kind in (child, *all_kinds(child))]
    return [kind for kind in kinds if kind.__module__ == PumasError.__module__]


def test_every_error_has_a_code_of_its_own() -> None:
    """Callers match on it; the root of the tree shares that of an internal error."""
    codes = [kind.code for kind in all_kinds()]

    assert len(codes) == len(set(codes))
    assert errors_by_code() == {kind.code: kind for kind in all_kinds()}
    assert errors_by_code()["internal_error"] is InternalError


def test_every_error_has_numbers_that_its_readers_know() -> None:
    """JSON-RPC numbers are those of the protocol and of the existing library; exit codes fit in a byte."""
    known = {-32700, -32600, -32601, -32602, -32603, -32000, -32002, -32003, -32005}

    assert {kind.rpc_code for kind in all_kinds()} <= known
    assert all(0 < kind.exit_code < 128 for kind in all_kinds())
    assert all(kind.__doc__ for kind in all_kinds())


@pytest.mark.parametrize("kind", [InternalError, *all_kinds()], ids=lambda kind: kind.__name__)
def test_an_error_that_went_through_the_socket_is_the_same_error(kind: type[PumasError]) -> None:
    """Kind, message, hint and data."""
    sent = kind("the thing is wrong", hint="mend it", data={"path": "/x"})

    got = error_from_answer({"code": kind.rpc_code, "message": sent.message, "data": sent.to_data()})

    assert type(got) is kind
    assert (got.message, got.hint, got.data, got.to_data()) == (sent.message, sent.hint, sent.data, sent.to_data())


def test_an_error_without_a_hint_sends_none() -> None:
    """`data` always has a code."""
    assert LibraryBusy("the library is in use").to_data() == {"code": "library_busy"}


@pytest.mark.parametrize(
    "answer",
    [{}, {"message": "m", "data": None}, {"data": "text"}, {"data": {"code": 7, "hint": 8}}, {"data": {"code": "new"}}],
)
def test_an_answer_of_a_stranger_is_still_an_error(answer: dict[str, object]) -> None:
    """A newer agent may send codes that this version does not know."""
    assert type(error_from_answer(answer)) is PumasError


def test_a_refusal_gives_its_facts_by_name() -> None:
    """So that a runtime does not dig in `data`."""
    findings = [{"code": "component_missing", "message": "m", "path": "unet"}]

    refusal = AssetNotValid("x", data={"validation_state": "degraded", "validation_errors": findings, "settling": True})

    assert (refusal.validation_state, refusal.findings, refusal.settling) == ("degraded", findings, True)
    assert (AssetNotValid("x").validation_state, AssetNotValid("x").findings) == (None, [])


def test_data_does_not_alias_what_it_was_made_from() -> None:
    """An error that is held cannot be changed from outside."""
    facts = {"pid": 1}

    error = LibraryBusy("busy", data=facts)
    facts["pid"] = 2

    assert error.data == {"pid": 1}


def test_an_error_that_nobody_catches_says_what_to_do() -> None:
    """The traceback of a runtime ends with the hint, also with the usual one of its kind."""
    given, usual = AssetNotValid("it is degraded", hint="put it back"), ModelNotFound("Model not found: x")

    assert traceback.format_exception_only(given)[-1] == "hint: put it back\n"
    assert traceback.format_exception_only(usual)[-1] == "hint: `pumas-agent list` shows the ids of all models\n"
    assert usual.to_data()["hint"] == usual.hint
    assert traceback.format_exception_only(PumasError("no hint"))[-1].endswith("PumasError: no hint\n")
