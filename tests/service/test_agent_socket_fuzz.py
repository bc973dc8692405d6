"""A short part of the endless test `python -m tests.fuzz socket`: each kind of hostile client, with fixed seeds."""

from typing import TYPE_CHECKING

from tests.fuzz import sockets

if TYPE_CHECKING:
    from tests.service.conftest import AgentUnderTest


def test_whatever_a_client_does_the_others_are_answered(agent: "AgentUnderTest") -> None:
    """Each attack once; what the agent comes to hold stays within its limits, however many come."""
    before = sockets.resident(agent.pid)

    for seed in range(len(sockets.ATTACKS)):
        sockets.check(seed, agent.socket, agent.pid)

    assert sockets.highest(agent.pid) - before < sockets.MEMORY_BYTES
    agent.settled()
