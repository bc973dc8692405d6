"""Subscriptions over a real socket and a real library: each event once, in order, from where the client stands."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pumas_agent.contracts.health import AlertCode
from pumas_agent.contracts.metadata import ModelMetadata
from pumas_agent.contracts.rpc import METHODS
from pumas_agent.health import AlertBook, Condition
from pumas_agent.library import Library, ModelStore
from pumas_agent.serving import Handler, Limits, PeerPolicy, RpcServer, bind_socket
from pumas_agent.serving.subscriptions import MOST_PER_CONNECTION, Subscriptions

LIMITS = Limits(drain_s=0.3, write_buffer=16 * 1024)
FEED = "model-library-updates:"


class Agent:
    """A library, a book of alerts, and a server that lets clients subscribe to both."""

    def __init__(self, library: Library, path: Path) -> None:
        self.library = library
        self.path = path
        self.alerts = AlertBook({}, lambda _code, _model, _since: None)
        self.subscriptions = Subscriptions(library, self.alerts.journal)
        calls: dict[str, Callable[..., Any]] = {
            "agent.subscribe": self.subscriptions.subscribe,
            "agent.unsubscribe": self.subscriptions.unsubscribe,
        }
        registry = {name: Handler(METHODS[name], call) for name, call in calls.items()}
        self.server = RpcServer(registry, PeerPolicy(os.geteuid()), LIMITS)

    async def change(self, name: str, notes: str) -> None:
        """One commit, which is one event of the feed."""
        model_id = f"llm/acme/{name}"

        def write(store: ModelStore) -> None:
            if self.library.catalog.get(model_id) is None:
                store.create(model_id, ModelMetadata(family="acme", official_name=name, notes=notes))
            else:
                store.update(model_id, lambda metadata: metadata.model_copy(update={"notes": notes}))

        await self.library.write(write)

    def alert(self, evidence: dict[str, Any] | None) -> None:
        found = {AlertCode.BUNDLE_MISSING: Condition("/bundle", evidence, "")} if evidence is not None else {}
        self.alerts.observe("m", [AlertCode.BUNDLE_MISSING], found)


class Client:
    """One connection, line by line."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def line(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            message: dict[str, Any] = json.loads(await self.reader.readline())
            return message

    async def event(self) -> dict[str, Any]:
        message = await self.line()
        assert message["method"] == "event", message
        params: dict[str, Any] = message["params"]
        return params

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        frame = {"jsonrpc": "2.0", "id": 1, "method": f"agent.{method}", "params": params}
        self.writer.write(json.dumps(frame).encode() + b"\n")
        return await self.line()

    async def subscribe(self, *topics: str, cursor: str | None = None) -> dict[str, Any]:
        result: dict[str, Any] = (await self.call("subscribe", topics=topics, cursor=cursor))["result"]
        return result


@pytest.fixture
async def agent(tmp_path: Path, short_tmp: Path) -> AsyncIterator[Agent]:
    library = Library.open(tmp_path / "library", "agent")
    agent = Agent(library, short_tmp / "s")
    await agent.server.start(bind_socket(agent.path))
    yield agent
    await agent.server.stop(drain_s=0.2)
    agent.subscriptions.close()
    await asyncio.to_thread(library.close)


@pytest.fixture
async def connect(agent: Agent) -> AsyncIterator[Callable[[], Any]]:
    writers: list[asyncio.StreamWriter] = []

    async def connect() -> Client:
        reader, writer = await asyncio.open_unix_connection(str(agent.path), limit=1 << 20)
        writers.append(writer)
        return Client(reader, writer)

    yield connect
    for writer in writers:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def number(cursor: str) -> int:
    return int(cursor.removeprefix(FEED))


async def test_events_before_and_during_a_subscription_come_once_and_in_order(
    agent: Agent, connect: Callable[[], Any]
) -> None:
    """What was committed after the cursor, while it subscribed, and later: no gap and no double."""
    client = await connect()
    start = agent.library.catalog.generation
    for turn in range(5):
        await agent.change(f"before{turn}", "")
    writing = [asyncio.create_task(agent.change(f"m{turn % 7}", f"notes {turn}")) for turn in range(300)]
    await writing[20]

    begun = await client.subscribe("models", cursor=f"{FEED}{start}")
    await asyncio.gather(*writing)
    newest = agent.library.catalog.generation
    events = [await client.event() for _ in range(newest - start)]

    assert (begun["stale_cursor"], begun["snapshot_required"], begun["cursor"]) == (False, False, f"{FEED}{start}")
    assert [number(event["cursor"]) for event in events] == list(range(start + 1, newest + 1))
    assert all(event["update"]["cursor"] == event["cursor"] for event in events)
    assert newest - start >= 305


async def test_without_a_cursor_it_begins_now(agent: Agent, connect: Callable[[], Any]) -> None:
    await agent.change("old", "")
    agent.alert({"n": 1})
    client = await connect()

    await client.subscribe("models", "alerts")
    await agent.change("new", "")
    agent.alert(None)
    events = [await client.event(), await client.event()]

    assert {event["topic"] for event in events} == {"models", "alerts"}
    assert [e["update"]["model_id"] for e in events if e["topic"] == "models"] == ["llm/acme/new"]
    assert [e["transition"] for e in events if e["topic"] == "alerts"] == ["cleared"]


@pytest.mark.parametrize("cursor", [f"{FEED}999999", f"{FEED}x", "nonsense", "alerts:0:1"])
async def test_a_cursor_that_is_no_position_is_told_so(agent: Agent, connect: Callable[[], Any], cursor: str) -> None:
    """As in the feed: stale, ahead, or of somebody else; what comes afterwards is news."""
    client = await connect()
    topic = "alerts" if cursor.startswith("alerts") else "models"

    begun = await client.subscribe(topic, cursor=cursor)
    await agent.change("m", "")
    agent.alert({})
    event = await client.event()

    assert (begun["stale_cursor"], begun["snapshot_required"], begun["reload"]) == (True, True, [topic])
    assert (event["topic"], event["snapshot_required"]) == (topic, False)


async def test_the_cursor_of_an_event_resumes_both_topics(agent: Agent, connect: Callable[[], Any]) -> None:
    """Also when the client was away in between."""
    first = await connect()
    await first.subscribe("alerts", "models")
    agent.alert({"n": 1})
    cursor = (await first.event())["cursor"]
    first.writer.close()
    agent.alert({"n": 2})
    await agent.change("m", "")
    agent.alert(None)

    second = await connect()
    begun = await second.subscribe("models", "alerts", cursor=cursor)
    events = [await second.event() for _ in range(3)]

    assert begun["reload"] == []
    assert [event.get("transition") for event in events if event["topic"] == "alerts"] == ["updated", "cleared"]
    assert [event["update"]["model_id"] for event in events if event["topic"] == "models"] == ["llm/acme/m"]
    assert events[-1]["cursor"] != cursor


async def test_transitions_that_are_not_kept_any_more_are_told_as_a_gap(
    agent: Agent, connect: Callable[[], Any]
) -> None:
    client = await connect()
    begun = await client.subscribe("alerts")
    old = begun["cursor"]
    for turn in range(1100):
        agent.alert({"n": turn})

    event = await client.event()
    agent.alert(None)
    after = await client.event()
    again = await (await connect()).subscribe("alerts", cursor=old)

    assert (event["snapshot_required"], "alert" in event) == (True, False)
    assert (after["transition"], after["snapshot_required"]) == ("cleared", False)
    assert again["reload"] == ["alerts"]


async def test_a_client_that_does_not_read_is_dropped_and_costs_no_memory(
    agent: Agent, connect: Callable[[], Any]
) -> None:
    """Nothing is queued for it beyond the write buffer; the others go on."""
    slow, other = await connect(), await connect()
    await slow.subscribe("alerts")
    await other.subscribe("alerts")
    slow.writer.transport.pause_reading()

    sent = 0
    async with asyncio.timeout(20):
        while agent.server.connections == 2:
            sent += 1
            agent.alert({"n": sent, "text": "x" * 4000})
            waiting = [connection._transport.get_write_buffer_size() for connection in agent.server._service.open]
            assert max(waiting) <= LIMITS.write_buffer + 8192
            await other.event()

    assert agent.subscriptions.count == 1


async def test_subscriptions_end_with_their_connection(agent: Agent, connect: Callable[[], Any]) -> None:
    client = await connect()
    for _ in range(2):
        await client.subscribe("alerts")
    count = agent.subscriptions.count
    (connection,) = agent.server._service.open

    client.writer.close()
    async with asyncio.timeout(10):
        await connection.closed

    assert (count, agent.subscriptions.count) == (2, 0)


async def test_a_connection_has_a_few_subscriptions_and_no_more(connect: Callable[[], Any]) -> None:
    """One that was ended makes room; a name of another connection is none."""
    client, other = await connect(), await connect()
    names = [(await client.subscribe("models"))["subscription"] for _ in range(MOST_PER_CONNECTION)]

    refused = await client.call("subscribe", topics=["alerts"])
    strange = await other.call("unsubscribe", subscription=names[0])
    ended = await client.call("unsubscribe", subscription=names[0])
    again = await client.call("unsubscribe", subscription=names[0])
    room = await client.call("subscribe", topics=["alerts"])

    assert refused["error"]["data"]["code"] == "too_many_subscriptions"
    assert [answer["result"]["unsubscribed"] for answer in (strange, ended, again)] == [False, True, False]
    assert "result" in room


async def test_after_unsubscribing_nothing_is_sent(agent: Agent, connect: Callable[[], Any]) -> None:
    client = await connect()
    begun = await client.subscribe("alerts")
    await client.call("unsubscribe", subscription=begun["subscription"])

    agent.alert({})
    await client.subscribe("alerts")
    agent.alert(None)

    assert (await client.event())["transition"] == "cleared"


@pytest.mark.parametrize("topics", [[], ["weather"], ["alerts", "models", "alerts"]])
async def test_topics_have_to_be_known(connect: Callable[[], Any], topics: list[str]) -> None:
    client = await connect()

    answer = await client.call("subscribe", topics=topics)

    assert answer["error"]["data"]["code"] == "invalid_params"
