"""Subscriptions: alerts and changes of models, sent to who asked for them, each once and in order.

Owns where each subscription stands. Nothing is queued for a client: what it has not been sent is read again from the
index, or from the journal of alerts, from where it stands. So there is neither a gap nor a double between what was and
what comes, and a client that does not read costs no memory: it waits, and its connection is dropped by the limits of
every connection.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress

import structlog

from pumas_agent.contracts.errors import PumasError, TooManySubscriptions
from pumas_agent.contracts.events import (
    Event,
    Subscribed,
    SubscribeParams,
    Topic,
    Unsubscribed,
    UnsubscribeParams,
)
from pumas_agent.contracts.records import UpdateFeed
from pumas_agent.health import AlertEvent, AlertJournal
from pumas_agent.library import IndexReader, Library, cursor_of
from pumas_agent.serving.framing import event_frame
from pumas_agent.serving.registry import Outlet, Request

MOST_PER_CONNECTION = 4
_READ_AT_A_TIME = 200
_RETRY_S = 1.0

log = structlog.get_logger(__name__)


class Subscriptions:
    """All of them. Belongs to the event loop."""

    def __init__(self, library: Library, journal: AlertJournal) -> None:
        self._library = library
        self._journal = journal
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)
        self._of: dict[Outlet, dict[str, _Subscription]] = {}
        """By connection. A connection stays until it ends, so that its end is asked for once."""
        library.catalog.listen(self._on_commit)
        journal.listen(self._on_alert)

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(map(len, self._of.values()))

    async def subscribe(self, params: SubscribeParams, request: Request) -> Subscribed:
        """Begin one. What is sent comes after the answer, which says from where on.

        Raises:
            TooManySubscriptions: the connection has as many as it may have.
        """
        outlet = request.outlet
        starts, reload = await self._starts(params)
        # From here on nothing waits: the answer is written before the first event.
        if outlet not in self._of:
            self._of[outlet] = {}
            request.on_gone(lambda: self._end_all(outlet))
        own = self._of[outlet]
        if len(own) >= MOST_PER_CONNECTION:
            raise TooManySubscriptions(
                f"this connection has {len(own)} subscriptions already", hint="one may have several topics"
            )
        subscription = _Subscription(f"s{next(self._numbers)}", self._library, self._journal, outlet, starts)
        own[subscription.name] = subscription
        subscription.begin()
        return Subscribed(
            subscription=subscription.name,
            cursor=subscription.cursor,
            stale_cursor=bool(reload),
            snapshot_required=bool(reload),
            reload=tuple(reload),
        )

    def unsubscribe(self, params: UnsubscribeParams, request: Request) -> Unsubscribed:
        """End one of the same connection. What was sent before may still be on its way."""
        subscription = self._of.get(request.outlet, {}).pop(params.subscription, None)
        if subscription is not None:
            subscription.end()
        return Unsubscribed(unsubscribed=subscription is not None)

    def close(self) -> None:
        """End all of them."""
        for outlet in tuple(self._of):
            self._end_all(outlet)

    async def _starts(self, params: SubscribeParams) -> tuple[dict[Topic, str], list[Topic]]:
        """Where each topic begins, and of which of them something before that is lost."""
        starts: dict[Topic, str] = {}
        reload: list[Topic] = []
        parts = params.cursor.split(",") if params.cursor is not None else []
        given = {topic: part for part in parts if (topic := _topic_of(part)) is not None}
        for topic in dict.fromkeys(params.topics):
            part = given.get(topic)
            if part is not None and await self._is_known(topic, part):
                starts[topic] = part
                continue
            if part is not None or (parts and not given):
                reload.append(topic)
            newest = cursor_of(self._library.catalog.generation)
            starts[topic] = newest if topic is Topic.MODELS else self._journal.cursor(self._journal.sequence)
        return starts, reload

    async def _is_known(self, topic: Topic, cursor: str) -> bool:
        if topic is Topic.ALERTS:
            return self._journal.position(cursor) is not None
        feed = await self._library.read(lambda index: index.updates_since(cursor, 1))
        return not feed.snapshot_required

    def _end_all(self, outlet: Outlet) -> None:
        for subscription in self._of.pop(outlet, {}).values():
            subscription.end()

    def _all(self) -> Iterator["_Subscription"]:
        for own in self._of.values():
            yield from own.values()

    def _on_commit(self) -> None:
        """Called on the thread that commits."""
        if self._of:
            with suppress(RuntimeError):  # the loop has ended, and with it every client
                self._loop.call_soon_threadsafe(self._wake)

    def _on_alert(self, _event: AlertEvent) -> None:
        self._wake()

    def _wake(self) -> None:
        for subscription in self._all():
            subscription.wake()


class _Subscription:
    """One: where it stands, and the task that sends what comes after."""

    def __init__(
        self, name: str, library: Library, journal: AlertJournal, outlet: Outlet, starts: dict[Topic, str]
    ) -> None:
        self.name = name
        self._library = library
        self._journal = journal
        self._outlet = outlet
        self._at = starts
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def cursor(self) -> str:
        """Where it stands in all its topics."""
        return ",".join(self._at[topic] for topic in sorted(self._at))

    def begin(self) -> None:
        self._news.set()  # something may have come since its start was found
        self._task = asyncio.create_task(self._run(), name=f"subscription {self.name}")

    def end(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def wake(self) -> None:
        self._news.set()

    async def _run(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                if Topic.ALERTS in self._at:
                    await self._send_alerts()
                if Topic.MODELS in self._at:
                    await self._send_updates()
            except PumasError as error:  # the index cannot be read: it is tried again from the same place
                log.warning("subscription.not_read", code=error.code, reason=error.message)
                await asyncio.sleep(_RETRY_S)
                self._news.set()
            except Exception:  # a task that nobody waits for
                log.exception("subscription.failed")
                return

    async def _send_alerts(self) -> None:
        while (position := self._journal.position(self._at[Topic.ALERTS])) != self._journal.sequence:
            events = self._journal.after(position) if position is not None else None
            if events is None:
                await self._send_gap(Topic.ALERTS, self._journal.cursor(self._journal.sequence))
                continue
            for event in events:
                await self._outlet.room()
                self._at[Topic.ALERTS] = self._journal.cursor(event.sequence)
                self._send(
                    Event(
                        subscription=self.name,
                        topic=Topic.ALERTS,
                        cursor=self.cursor,
                        transition=event.transition,
                        alert=event.alert,
                    )
                )

    async def _send_updates(self) -> None:
        while True:
            feed = await self._library.read(_updates_since(self._at[Topic.MODELS]))
            if feed.snapshot_required:
                await self._send_gap(Topic.MODELS, feed.cursor)
                continue
            if not feed.events:
                return
            for update in feed.events:
                await self._outlet.room()
                self._at[Topic.MODELS] = update.cursor
                self._send(Event(subscription=self.name, topic=Topic.MODELS, cursor=self.cursor, update=update))

    async def _send_gap(self, topic: Topic, cursor: str) -> None:
        await self._outlet.room()
        self._at[topic] = cursor
        self._send(Event(subscription=self.name, topic=topic, cursor=self.cursor, snapshot_required=True))

    def _send(self, event: Event) -> None:
        self._outlet.notify(event_frame(event))


def _updates_since(cursor: str) -> Callable[[IndexReader], UpdateFeed]:
    return lambda index: index.updates_since(cursor, _READ_AT_A_TIME)


def _topic_of(cursor: str) -> Topic | None:
    if cursor.startswith(cursor_of(0)[:-1]):
        return Topic.MODELS
    return Topic.ALERTS if cursor.startswith("alerts:") else None
