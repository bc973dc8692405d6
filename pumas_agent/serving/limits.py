"""How much of the server anyone may use, and how much of it each user uses now.

Only counts: who is refused or made to wait is up to the connection that asks.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from pumas_agent.contracts.errors import TooManyConnections
from pumas_agent.contracts.rpc import MAX_FRAME_IN, MAX_FRAME_OUT


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What keeps one client from hurting the others. Bytes are without the newline; times are in seconds."""

    frame_in: int = MAX_FRAME_IN
    frame_out: int = MAX_FRAME_OUT
    connections: int = 64
    in_flight: int = 256
    in_flight_per_connection: int = 32
    uid_share: float = 0.75
    """Of the connections and of the requests in flight, what one user that is not the agent's own may hold."""
    requests_per_turn: int = 16
    """Answered on the spot for one connection before the others have their turn."""
    unfinished_frame_s: float = 5.0
    """How long a line may take from its first byte to its newline."""
    drain_s: float = 5.0
    """How long a client may leave its answers unread once `write_buffer` is full."""
    write_buffer: int = 256 * 1024
    """Answers waiting to be read by a client; beyond it, no more is read from that client."""


class Usage:
    """Connections and requests in flight, in all and by user."""

    def __init__(self, limits: Limits, own_uid: int) -> None:
        self._limits = limits
        self._own_uid = own_uid
        self._connections: Counter[int] = Counter()
        self._in_flight: Counter[int] = Counter()
        self._waiting: list[Callable[[], None]] = []
        self.tasks: set[asyncio.Task[None]] = set()

    @property
    def connections(self) -> int:
        """How many are open."""
        return self._connections.total()

    def enter(self, uid: int) -> None:
        """Count a connection until `leave`.

        Raises:
            TooManyConnections: there are as many as there may be, in all or of this user.
        """
        if self.connections >= self._limits.connections:
            raise TooManyConnections(
                f"the agent serves {self._limits.connections} connections already", hint="close some, or try again"
            )
        if self._connections[uid] >= self._share(uid, self._limits.connections):
            raise TooManyConnections(
                f"user {uid} has {self._connections[uid]} connections already", hint="close some, or try again"
            )
        self._connections[uid] += 1

    def leave(self, uid: int) -> None:
        """A connection that was counted is gone."""
        self._connections[uid] -= 1
        self._connections += Counter()  # keeps no entry for a user who has none

    def may_start(self, uid: int) -> bool:
        """Whether one more request of this user may be in flight."""
        limit = self._limits.in_flight
        return len(self.tasks) < limit and self._in_flight[uid] < self._share(uid, limit)

    def start(self, uid: int, task: asyncio.Task[None]) -> None:
        """Count a request until its task is done."""
        self.tasks.add(task)
        self._in_flight[uid] += 1
        task.add_done_callback(lambda task: self._done(uid, task))

    def wait(self, wake: Callable[[], None]) -> None:
        """Call `wake` once, when a request is done."""
        self._waiting.append(wake)

    def _done(self, uid: int, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        self._in_flight[uid] -= 1
        waiting, self._waiting = self._waiting, []
        for wake in waiting:
            wake()

    def _share(self, uid: int, limit: int) -> int:
        return limit if uid == self._own_uid else max(1, int(limit * self._limits.uid_share))
