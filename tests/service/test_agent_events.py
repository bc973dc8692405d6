"""What a running agent says by itself: over subscriptions, by the operator's program, and in figures."""

import asyncio
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pumas_agent.client import AgentClient, AsyncAgentClient
from pumas_agent.contracts.errors import AgentNotRunning
from pumas_agent.contracts.events import Event
from tests.exposition import parse

if TYPE_CHECKING:
    from tests.service.conftest import AgentUnderTest, MakeBundle, StartAgent

Until = Callable[..., Any]
ROOT = Path(__file__).parents[2]
FEED = "model-library-updates:"


class Listener:
    """A client that listens on a thread of its own, and keeps what it heard."""

    def __init__(self, socket: Path, topics: list[str], cursor: str | None) -> None:
        self.heard: list[Event] = []
        self._events = AgentClient(socket, timeout=30).events(topics, cursor, wait=True)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for event in self._events:
            self.heard.append(event)

    def updates_of(self, model_id: str) -> list[Event]:
        return [event for event in self.heard if event.update is not None and event.update.model_id == model_id]

    def alerts(self) -> list[tuple[str, str]]:
        return [
            (str(event.transition), event.alert.code.value) for event in tuple(self.heard) if event.alert is not None
        ]


def positions(agent: "AgentUnderTest") -> str:
    """Where an agent stands in both topics."""
    feed = agent.client.call("list_model_library_updates_since")["cursor"]
    return f"{agent.client.call('agent.health')['cursor']},{feed}"


def test_a_runtime_hears_that_its_bundle_broke(
    start: "StartAgent", make_bundle: "MakeBundle", until: Until, record_property: Callable[[str, object], None]
) -> None:
    """Without asking, about as soon as the quiet time after the event has passed."""
    agent = start()
    root = make_bundle()
    model_id = agent.register(root)
    agent.settled()
    listener = Listener(agent.socket, ["models", "alerts"], positions(agent))
    until(lambda: _metric(agent, "pumas_agent_subscriptions") == 1, "the subscription")

    (root / "unet").rename(root / "gone")
    broken = time.monotonic()

    until(lambda: listener.updates_of(model_id), "the change of the model")
    record_property("heard_after_ms", round((time.monotonic() - broken) * 1000))
    until(lambda: ("raised", "bundle_incomplete") in listener.alerts(), "the alert")
    assert agent.refusal(model_id) is not None
    raised = next(event for event in listener.heard if event.alert is not None)
    assert raised.alert is not None
    assert raised.alert.model_id == model_id


def _metric(agent: "AgentUnderTest", name: str) -> float:
    (value,) = parse(agent.client.call("agent.metrics")["text"])[name][2].values()
    return value


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_listener_goes_on_when_the_agent_is_restarted(
    start: "StartAgent", make_bundle: "MakeBundle", until: Until, number: signal.Signals
) -> None:
    """Changes of models come each once; of alerts it is told that some may be lost."""
    agent = start()
    begin = positions(agent)
    listener = Listener(agent.socket, ["models", "alerts"], begin)
    first = agent.register(make_bundle("one"))
    until(lambda: listener.updates_of(first), "the first model")
    agent.settled()
    if number is signal.SIGKILL:
        agent.kill()
    else:
        agent.stop()

    agent = start()
    root = make_bundle("two")
    second = agent.register(root)
    until(lambda: any(event.snapshot_required for event in listener.heard), "that it listens again")
    shutil.rmtree(root / "unet")
    until(lambda: ("raised", "bundle_incomplete") in listener.alerts(), "an alert of the new agent")
    agent.settled()
    feed = agent.client.call("list_model_library_updates_since", cursor=begin.split(",")[1], limit=1000)
    until(lambda: len([e for e in listener.heard if e.update]) >= len(feed["events"]), "all changes")

    assert listener.updates_of(second)
    heard = [event.update.cursor for event in listener.heard if event.update is not None]
    assert heard == [event["cursor"] for event in feed["events"]]
    assert [event.topic for event in listener.heard if event.snapshot_required] == ["alerts"]


async def test_the_asyncio_client_hears_the_same(start: "StartAgent", make_bundle: "MakeBundle") -> None:
    """And goes on when the agent is restarted."""
    agent = start()
    client = AsyncAgentClient(agent.socket)
    events = client.events(["models"], f"{FEED}0")
    first = await asyncio.to_thread(agent.register, make_bundle("one"))
    async with asyncio.timeout(30):
        before = await anext(events)
        await asyncio.to_thread(agent.kill)
        agent = await asyncio.to_thread(start)
        second = await asyncio.to_thread(agent.register, make_bundle("two"))
        heard = [before]
        while not any(event.update and event.update.model_id == second for event in heard):
            heard.append(await anext(events))
    await events.aclose()  # type: ignore[attr-defined]

    assert before.update is not None
    assert before.update.model_id == first
    numbers = [int(event.cursor.removeprefix(FEED)) for event in heard]
    assert numbers == list(range(1, len(numbers) + 1))


def test_who_asks_for_events_of_no_agent_is_told_at_once(short_tmp: Path) -> None:
    """Only one that has spoken, or is waited for, may come back."""
    with pytest.raises(AgentNotRunning):
        next(AgentClient(short_tmp / "s").events(["alerts"]))


# --- the command ---------------------------------------------------------------------------------------------------


class Follower:
    """`pumas-agent events --follow --json`, and the lines it printed."""

    def __init__(self, agent: "AgentUnderTest", *flags: str) -> None:
        words = "--library", str(agent.library), "--socket", str(agent.socket), "events", "--follow", "--json", *flags
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pumas_agent", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.lines: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(map(json.loads, self.process.stdout))

    def has(self, **fields: object) -> bool:
        return any(fields.items() <= line.items() for line in tuple(self.lines))

    def interrupt(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(20)
        assert self.process.stderr is not None
        said = self.process.stderr.read()
        self._reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return code, said


@pytest.fixture
def follow() -> Iterator[Callable[..., Follower]]:
    followers: list[Follower] = []

    def follow(agent: "AgentUnderTest", *flags: str) -> Follower:
        followers.append(Follower(agent, *flags))
        return followers[-1]

    yield follow
    for follower in followers:
        if follower.process.poll() is None:
            follower.process.kill()
            follower.interrupt()


def test_the_command_shows_what_stands_and_follows_what_comes(
    start: "StartAgent", make_bundle: "MakeBundle", until: Until, follow: Callable[..., Follower]
) -> None:
    """Through a restart of the agent; Ctrl-C ends it quietly."""
    agent = start()
    root = make_bundle()
    model_id = agent.register(root)
    shutil.rmtree(root / "unet")
    agent.wait_for("alert.raised", code="bundle_incomplete")
    agent.settled()

    follower = follow(agent)
    until(lambda: follower.has(topic="alerts", transition="standing"), "what stands")
    until(lambda: follower.has(topic="models"), "what changed lately")
    until(lambda: _metric(agent, "pumas_agent_subscriptions") == 1, "the subscription")
    agent.stop()
    agent = start()
    until(lambda: follower.has(topic="alerts", snapshot_required=True), "that alerts were lost")
    write = make_bundle("again")
    again = agent.register(write)
    until(lambda: any((line.get("update") or {}).get("model_id") == again for line in follower.lines), "what came")
    code, said = follower.interrupt()

    assert (code, said) == (130, "")
    assert {line["schema"] for line in follower.lines} == {"pumas-agent/event/1"}
    standing = next(line for line in follower.lines if line.get("transition") == "standing")
    assert standing["alert"]["model_id"] == model_id
    assert all("cursor" in line for line in follower.lines)


def _command(agent: "AgentUnderTest", *args: str) -> subprocess.CompletedProcess[str]:
    words = "--library", str(agent.library), "--socket", str(agent.socket), *args
    return subprocess.run(
        [sys.executable, "-m", "pumas_agent", *words], capture_output=True, text=True, check=False, timeout=60
    )


def test_the_command_shows_what_came_after_a_position(agent: "AgentUnderTest", make_bundle: "MakeBundle") -> None:
    """With an agent and, of the models, without one."""
    first = agent.register(make_bundle("one"))
    agent.settled()
    cursor = agent.client.call("list_model_library_updates_since")["cursor"]
    second = agent.register(make_bundle("two"))
    agent.settled()
    args = "events", "--topic", "models", "--json", "--since", cursor

    running = _command(agent, *args)
    ahead = _command(agent, "events", "--topic", "models", "--json", "--since", f"{FEED}9999")
    agent.stop()
    alone = _command(agent, *args)
    alerts = _command(agent, "events", "--topic", "alerts")

    models = {json.loads(line)["update"]["model_id"] for line in running.stdout.splitlines()}
    assert (first in models, second in models, running.returncode) == (False, True, 0)
    assert alone.stdout == running.stdout
    assert [json.loads(line)["snapshot_required"] for line in ahead.stdout.splitlines()] == [True]
    assert alerts.returncode == 3


# --- the operator's program ------------------------------------------------------------------------------------------


def test_the_program_is_run_at_every_change_of_an_alert(
    start: "StartAgent", make_bundle: "MakeBundle", until: Until, short_tmp: Path
) -> None:
    """With what the log says, and nothing of the agent's own supervisor."""
    told, program = short_tmp / "told", short_tmp / "tell"
    program.write_text(f"#!/bin/sh\ncat >> {told}\nenv > {short_tmp}/env\n")
    program.chmod(0o700)
    agent = start(PUMAS_AGENT_HEALTH__ON_ALERT=str(program), LISTEN_FDNAMES="x")
    root = make_bundle()
    model_id = agent.register(root)

    (root / "unet").rename(root / "gone")
    agent.wait_for("alert.raised", code="bundle_incomplete")
    (root / "gone").rename(root / "unet")
    agent.wait_for("alert.cleared", code="bundle_incomplete")
    until(lambda: told.exists() and "alert.cleared" in told.read_text(), "both runs")

    bodies = [json.loads(line) for line in told.read_text().splitlines()]
    assert [(body["event"], body["model_id"]) for body in bodies][:1] == [("alert.raised", model_id)]
    assert bodies[-1]["event"] == "alert.cleared"
    until((short_tmp / "env").exists, "the environment")
    assert "LISTEN_FDNAMES" not in (short_tmp / "env").read_text()


def test_a_program_that_fails_harms_nothing(start: "StartAgent", make_bundle: "MakeBundle") -> None:
    agent = start(PUMAS_AGENT_HEALTH__ON_ALERT="/bin/false")
    root = make_bundle()
    agent.register(root)

    shutil.rmtree(root / "unet")
    line = agent.wait_for("hook.failed")

    assert (line["program"], line["reason"]) == ("/bin/false", "exit code 1")
    assert agent.alerts()


@pytest.mark.parametrize(("mode", "runs"), [(0o600, True), (0o666, False)])
def test_a_program_that_others_could_have_named_is_not_run(
    start: "StartAgent", make_bundle: "MakeBundle", until: Until, short_tmp: Path, mode: int, *, runs: bool
) -> None:
    """It is said once in the log, and stands under the faults in the status."""
    told, config = short_tmp / "told", short_tmp / "config.toml"
    config.write_text(f'[health]\non_alert = ["/usr/bin/touch", "{told}"]\n')
    config.chmod(mode)
    agent = start(PUMAS_AGENT_CONFIG=str(config))
    root = make_bundle()
    agent.register(root)

    shutil.rmtree(root / "unet")
    agent.wait_for("alert.raised")
    if runs:
        until(told.exists, "the run")
    faults = agent.client.call("agent.status")["faults"]
    agent.stop()

    assert told.exists() == runs
    assert any("on_alert is not run" in fault for fault in faults) == (not runs)
    assert len(agent.said("hook.refused")) == (not runs)


# --- figures ---------------------------------------------------------------------------------------------------------


def test_every_figure_is_in_the_reference(agent: "AgentUnderTest") -> None:
    """With its type, its labels and its meaning, and the reference has no other."""
    page = (Path(__file__).parents[2] / "docs" / "reference" / "metrics.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| .* \| (.+) \|$", page, re.MULTILINE)

    said = parse(agent.client.call("agent.metrics")["text"])

    assert rows == [(name, kind, meaning) for name, (kind, meaning, _) in said.items()]


def test_the_figures_are_what_happened(agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until) -> None:
    """In the text format of Prometheus, which a strict reader takes; `status` has the same."""
    good, broken = agent.register(make_bundle("good")), agent.register(make_bundle("broken"))
    shutil.rmtree(make_bundle("broken") / "unet")
    until(lambda: agent.state(broken) == "degraded", "one is degraded")
    agent.settled()
    before = parse(agent.client.call("agent.metrics")["text"])

    for _ in range(5):
        agent.client.descriptor(good)
    assert agent.refusal(broken) is not None
    report = agent.client.call("agent.metrics")
    status = agent.client.call("agent.status")
    figures = {name: samples for name, (_, _, samples) in parse(report["text"]).items()}

    def more(result: str) -> float:
        key = (("result", result),)
        return figures["pumas_agent_lookups_total"][key] - before["pumas_agent_lookups_total"][2][key]

    assert report["content_type"].startswith("text/plain; version=0.0.4")
    assert (more("answered"), more("refused"), more("unknown")) == (5, 1, 0)
    assert figures["pumas_agent_models"] == {(): 2}
    bundles = {dict(labels)["state"]: count for labels, count in figures["pumas_agent_bundles"].items()}
    assert bundles == {"valid": 1, "degraded": 1, "invalid": 0, "unknown": 0}
    assert figures["pumas_agent_alerts"] == {(("code", "bundle_incomplete"), ("severity", "error")): 1}
    assert figures["pumas_agent_generation"] == {(): status["generation"]}
    assert figures["pumas_agent_reconciles_total"][()] > 0
    assert figures["pumas_agent_reconcile_last_duration_seconds"][()] > 0
    assert figures["pumas_agent_open_fds"][()] > 3
    assert status["open_fds"] > 3
    assert 0 < figures["pumas_agent_cpu_seconds_total"][()] <= status["cpu_seconds"] + 0.001
    assert all(name.startswith("pumas_agent_") for name in figures)


def test_the_command_prints_the_figures(agent: "AgentUnderTest") -> None:
    """As they are, or in an object."""
    text, whole = _command(agent, "metrics"), _command(agent, "metrics", "--json")

    assert parse(text.stdout).keys() == parse(json.loads(whole.stdout)["text"]).keys()
    assert json.loads(whole.stdout)["schema"] == "pumas-agent/metrics/1"


def test_every_metric_that_a_rule_names_is_there(agent: "AgentUnderTest") -> None:
    """config/prometheus-alerts.yml, with the labels that it asks for."""
    rules = (ROOT / "config" / "prometheus-alerts.yml").read_text()
    expressions = "\n".join(re.findall(r"^ +expr: (.+)$", rules, re.MULTILINE))
    there = parse(agent.client.call("agent.metrics")["text"])

    named = set(re.findall(r"\bpumas_agent_\w+", expressions))
    assert named
    assert named <= there.keys()
    assert len(re.findall(r"- alert:", rules)) == len(expressions.splitlines())


def test_the_figures_are_written_to_a_file(start: "StartAgent", until: Until, short_tmp: Path) -> None:
    """At once after the start, readable for who collects it."""
    path = short_tmp / "pumas-agent.prom"
    start(PUMAS_AGENT_HEALTH__METRICS_FILE=str(path))

    until(path.exists, "the file")
    assert "pumas_agent_healthy" in parse(path.read_text())
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_file_that_cannot_be_written_is_a_fault_and_no_more(start: "StartAgent", short_tmp: Path) -> None:
    agent = start(PUMAS_AGENT_HEALTH__METRICS_FILE=str(short_tmp / "no-folder" / "x.prom"))

    agent.wait_for("metrics.not_written")

    assert any("metrics are not written" in fault for fault in agent.client.call("agent.status")["faults"])


def test_what_is_over_soon_is_not_told(start: "StartAgent", make_bundle: "MakeBundle") -> None:
    """health.visible_after_ms; a lookup is refused all the same."""
    agent = start(PUMAS_AGENT_HEALTH__VISIBLE_AFTER_MS="600000")
    root = make_bundle()
    model_id = agent.register(root)

    (root / "unet").rename(root / "gone")
    refusal = agent.refusal(model_id)
    agent.settled()
    (root / "gone").rename(root / "unet")
    agent.settled()
    agent.client.call("reconcile")
    answered = agent.refusal(model_id)
    agent.stop()

    assert (refusal is not None, answered) == (True, None)
    assert [line for line in agent.lines if line["event"].startswith("alert.")] == []
