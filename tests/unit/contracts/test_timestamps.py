"""How old something has to be to go, whatever was done to the clock."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from pumas_agent.contracts.timestamps import days_ago


def test_it_is_so_many_days_before_now() -> None:
    apart = datetime.now(UTC) - timedelta(days=30) - days_ago(30)

    assert abs(apart) < timedelta(seconds=5)


@pytest.mark.parametrize(("set_by_days", "seen_days"), [(3650, 0), (-365, -365), (1, 0)])
def test_a_clock_that_is_set_forward_makes_nothing_old(
    monkeypatch: pytest.MonkeyPatch, set_by_days: int, seen_days: int
) -> None:
    """What is gone is gone; what stays a while longer does no harm. Set back, everything is younger."""
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + set_by_days * 86_400)

    apart = days_ago(30) - datetime.fromtimestamp(now, UTC) + timedelta(days=30 - seen_days)

    assert abs(apart) < timedelta(seconds=5)
