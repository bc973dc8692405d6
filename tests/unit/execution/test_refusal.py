"""What a refusal says to a person."""

import pytest

from pumas_agent.bundles import StatSignature
from pumas_agent.contracts.bundles import AssetValidationError
from pumas_agent.contracts.descriptor import Refusal
from pumas_agent.contracts.errors import ContractVersionMismatch
from pumas_agent.contracts.metadata import AssetValidationState
from pumas_agent.execution import require_contract_version
from pumas_agent.execution.descriptor import refusal_of
from pumas_agent.upkeep import Verdict


def verdict(*messages: str, settling: bool = False) -> Verdict:
    return Verdict(
        model_id="m",
        state=AssetValidationState.DEGRADED,
        errors=tuple(AssetValidationError(code="missing_component", message=message) for message in messages),
        entry_path="/bundle",
        report_json=None,
        changed=False,
        writing=False,
        signature=None if settling else StatSignature.of_entries("/bundle", ()),
        racy=False,
        local=True,
        beside=(),
        in_library=False,
        judged_at="2026-01-01T00:00:00+00:00",
        started=0.0,
        generation=1,
    )


@pytest.mark.parametrize(
    ("found", "hint"),
    [
        (verdict("a", "b"), "a; b; it becomes executable by itself once that is mended"),
        (verdict("a", "b", "c", "d", "e"), "a; b; c (and 2 more); it becomes executable"),
        (verdict(), "the record does not say valid yet"),
        (verdict("a", settling=True), "the bundle is being written right now"),
    ],
)
def test_the_hint_says_what_to_do(found: Verdict, hint: str) -> None:
    """The first findings, how many more there are, or that it is being written."""
    refusal = refusal_of(found, None)

    assert refusal.hint is not None
    assert refusal.hint.startswith(hint)


def test_the_data_of_a_refusal_is_its_contract() -> None:
    """contracts/descriptor: no key more, none less."""
    data = refusal_of(verdict("a"), "2026-01-01T00:00:00+00:00").to_data()

    assert set(data) == set(Refusal.model_fields)
    assert Refusal.model_validate(data).validation_errors[0].message == "a"


def test_a_caller_that_expects_nothing_is_served() -> None:
    """contracts: only a caller that sends a version is refused on a mismatch."""
    require_contract_version(None)
    require_contract_version(1)
    for other in (0, 2, -1):
        with pytest.raises(ContractVersionMismatch):
            require_contract_version(other)
