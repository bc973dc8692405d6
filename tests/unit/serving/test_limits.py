"""Shares: one user that is not the agent's own never holds all there is."""

import asyncio

import pytest

from pumas_agent.contracts.errors import TooManyConnections
from pumas_agent.serving import Limits
from pumas_agent.serving.limits import Usage

OWN, OTHER = 1, 2


def _usage() -> Usage:
    return Usage(Limits(connections=4, in_flight=4), own_uid=OWN)


def test_another_user_holds_three_quarters_of_the_connections_at_most() -> None:
    """The owner can still connect, and a place that is given back can be taken again."""
    usage = _usage()
    for _ in range(3):
        usage.enter(OTHER)

    with pytest.raises(TooManyConnections, match="user 2"):
        usage.enter(OTHER)
    usage.enter(OWN)
    with pytest.raises(TooManyConnections, match="4 connections"):
        usage.enter(OWN)
    usage.leave(OWN)
    usage.enter(OWN)

    assert usage.connections == 4


async def test_another_user_has_three_quarters_of_the_work_at_most() -> None:
    """Whoever waits is woken once when any request is done, and then counts anew."""
    usage = _usage()
    gate = asyncio.Event()
    woken: list[str] = []

    async def work() -> None:
        await gate.wait()

    tasks = []
    while usage.may_start(OTHER):
        tasks.append(asyncio.create_task(work()))
        usage.start(OTHER, tasks[-1])
    owner_may = usage.may_start(OWN)
    usage.wait(lambda: woken.append("a"))
    gate.set()
    await asyncio.gather(*tasks)

    assert (len(tasks), owner_may) == (3, True)
    assert woken == ["a"]
    assert usage.may_start(OTHER)
    assert not usage.tasks
