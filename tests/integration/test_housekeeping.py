"""What the agent does by itself after a look at everything: a round that fails is told, and is not the last one."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from pumas_agent.agent import housekeeping
from pumas_agent.agent.housekeeping import Housekeeping

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Parts

Until = Callable[[Callable[[], object]], Awaitable[None]]


@pytest.mark.parametrize("fault", [OSError("the disk is gone"), ValueError("of ours")])
async def test_a_round_that_fails_is_told_and_the_next_one_is_done(
    agent: "Parts", until: Until, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    told: list[str] = []
    keeping = Housekeeping(agent.parts, adopts=True, trash_days=30, on_fault=told.append)
    agent.parts.adopter._quiet_s = 0.0

    def fails(*_given: Any) -> int:
        raise fault

    monkeypatch.setattr(housekeeping, "empty_trash", fails)
    keeping.begin()
    await until(lambda: told)
    assert str(fault) in told[0]
    monkeypatch.undo()

    (agent.root / "llm/acme/tiny").mkdir(parents=True)
    (agent.root / "llm/acme/tiny/w.gguf").write_bytes(b"GGUF" + bytes(60))
    keeping.begin()
    await until(lambda: agent.library.catalog.get("llm/acme/tiny"))
    await keeping.stop()


@pytest.mark.parametrize("adopts", [True, False])
async def test_nothing_is_adopted_where_that_is_switched_off_or_frozen(
    agent: "Parts", monkeypatch: pytest.MonkeyPatch, until: Until, *, adopts: bool
) -> None:
    """`library.adopt`; and while many bundles are gone together."""
    rounds: list[Path] = []

    def empty_trash(root: "Path", _days: float) -> int:
        rounds.append(root)
        return 0

    monkeypatch.setattr(housekeeping, "empty_trash", empty_trash)
    keeping = Housekeeping(agent.parts, adopts=adopts, trash_days=30, on_fault=lambda _what: None)
    agent.parts.adopter._quiet_s = 0.0
    agent.parts.absences.frozen = adopts
    (agent.root / "llm/acme/tiny").mkdir(parents=True)
    (agent.root / "llm/acme/tiny/w.gguf").write_bytes(b"GGUF" + bytes(60))

    keeping.begin()
    await until(lambda: keeping._round is not None and keeping._round.done())

    assert rounds == ([] if adopts else [agent.root])
    assert agent.library.catalog.ids() == set()
    await keeping.stop()
