"""Many clients at once while the library and the bundles change: answers are true, errors are typed refusals."""

import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from pumas_agent.client import AgentClient
from pumas_agent.contracts.errors import AssetNotValid, ModelNotFound

if TYPE_CHECKING:
    from tests.service.conftest import AgentUnderTest, MakeBundle

Until = Callable[..., Any]
CLIENTS = 20
CHURNED = 6
REGISTERED = 30
ROUNDS = 6


@dataclass
class Truth:
    """When one bundle was surely whole and when surely broken, in seconds of `time.monotonic`."""

    root: Path
    whole: list[tuple[float, float]] = field(default_factory=list)
    broken: list[tuple[float, float]] = field(default_factory=list)

    def flip(self) -> None:
        """Break it, or mend it: one rename, between two moments at which the truth is known."""
        component, aside = self.root / "unet", self.root.parent / f"{self.root.name}-unet"
        breaking = component.exists()
        ends, begins = (self.whole, self.broken) if breaking else (self.broken, self.whole)
        ends[-1] = (ends[-1][0], time.monotonic())
        if breaking:
            component.rename(aside)
        else:
            aside.rename(component)
        begins.append((time.monotonic(), float("inf")))


@dataclass(frozen=True)
class Answer:
    """What a client was told of a bundle, and between which moments."""

    asked: float
    told: float
    number: int
    refusal: AssetNotValid | None

    def contradicts(self, truth: Truth) -> bool:
        """It says the opposite of what was true all the time from the question to the answer."""
        if self.refusal is not None and self.refusal.settling:
            return False
        against = truth.broken if self.refusal is None else truth.whole
        return any(begin <= self.asked and self.told <= end for begin, end in against)


class Crowd:
    """Threads with a connection each, until the block is left; what one of them lets through fails the test."""

    def __init__(self, socket: Path) -> None:
        self.over = threading.Event()
        self.faults: list[BaseException] = []
        self._socket = socket
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self._threads:
            thread.join(60)
        assert not self.faults, self.faults

    def send(self, count: int, work: Callable[[AgentClient, int], None]) -> list[threading.Thread]:
        """Have `work(client, number)` done by so many threads at once."""
        threads = [threading.Thread(target=self._do, args=(work, number)) for number in range(count)]
        self._threads += threads
        for thread in threads:
            thread.start()
        return threads

    def _do(self, work: Callable[[AgentClient, int], None], number: int) -> None:
        try:
            with AgentClient(self._socket, timeout=30) as client:
                work(client, number)
        except BaseException as fault:  # noqa: BLE001  whatever it is, the test has to show it
            self.faults.append(fault)


@pytest.fixture
def crowd(agent: "AgentUnderTest") -> Crowd:
    return Crowd(agent.socket)


def test_twenty_clients_are_never_told_what_was_not_true(
    agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until, crowd: Crowd
) -> None:
    """Lookups while bundles break, are mended and registered, and everything is reconciled and indexed anew."""
    truths = [Truth(make_bundle(f"churned{number}"), [(0, float("inf"))]) for number in range(CHURNED)]
    ids = [agent.register(truth.root) for truth in truths]
    answers: list[Answer] = []

    def look_up(client: AgentClient, turn: int) -> None:
        while not crowd.over.is_set():
            turn = (turn + 1) % CHURNED
            asked, refusal = time.monotonic(), None
            try:
                client.descriptor(ids[turn])
            except AssetNotValid as refused:
                refusal = refused
            answers.append(Answer(asked, time.monotonic(), turn, refusal))

    def register(client: AgentClient, _: int) -> None:
        for number in range(REGISTERED):
            spec: dict[str, Any] = {
                "source_path": str(make_bundle(f"new{number:02}")),
                "family": "new",
                "official_name": str(number),
            }
            assert client.call("import_external_diffusers_directory", **spec)["success"]
            client.call("rebuild_model_index" if number % 5 == 0 else "reconcile")

    with crowd:
        crowd.send(CLIENTS, look_up)
        (registering,) = crowd.send(1, register)
        for turn in range(ROUNDS * CHURNED):
            enough = len(answers) + 2 * CLIENTS
            truths[turn % CHURNED].flip()
            until(lambda enough=enough: len(answers) > enough or crowd.faults, "everyone has asked", within_s=30)
        registering.join(60)

    assert [answer for answer in answers if answer.contradicts(truths[answer.number])] == []
    assert {answer.refusal is None for answer in answers} == {True, False}
    agent.settled()
    for model_id, truth in zip(ids, truths, strict=True):
        assert agent.state(model_id) == ("valid" if (truth.root / "unet").exists() else "degraded")
    assert agent.client.call("list_models")["totalCount"] == CHURNED + REGISTERED


def test_a_name_that_changes_hands_is_never_mixed_up(
    agent: "AgentUnderTest", make_bundle: "MakeBundle", crowd: Crowd
) -> None:
    """Unregistered and registered again elsewhere under the same id, while it is looked up: one of the two, or none."""
    roots = [make_bundle("one"), make_bundle("two")]
    owned: list[tuple[float, float, str]] = []
    seen: list[tuple[float, float, str]] = []

    def look_up(client: AgentClient, _: int) -> None:
        while not crowd.over.is_set():
            asked = time.monotonic()
            with suppress(ModelNotFound):
                path = client.descriptor("diffusion/acme/shared").entry_path
                seen.append((asked, time.monotonic(), path))

    with crowd:
        crowd.send(4, look_up)
        for turn in range(30):
            root = roots[turn % 2]
            begun = time.monotonic()
            model_id = agent.register(root, official_name="shared")
            assert agent.client.descriptor(model_id).entry_path == str(root)
            agent.client.call("unregister_external_model", model_id=model_id)
            owned.append((begun, time.monotonic(), str(root)))

    assert seen
    for asked, told, path in seen:
        assert any(path == root and asked <= end and begin <= told for begin, end, root in owned), (asked, told, path)


def test_one_bundle_registered_by_many_at_once_is_registered_once(
    agent: "AgentUnderTest", make_bundle: "MakeBundle", crowd: Crowd
) -> None:
    """The same source under the same name: one is told registered, the others already_registered, one event."""
    spec: dict[str, Any] = {"source_path": str(make_bundle()), "family": "acme", "official_name": "tiny"}
    cursor = agent.client.call("list_model_library_updates_since")["cursor"]
    results: list[str] = []

    def register(client: AgentClient, _: int) -> None:
        results.append(client.call("import_external_diffusers_directory", **spec)["status"])

    with crowd:
        crowd.send(8, register)
    agent.settled()

    assert sorted(results) == ["already_registered"] * 7 + ["registered"]
    events = agent.client.call("list_model_library_updates_since", cursor=cursor)["events"]
    assert [event["change_kind"] for event in events] == ["model_added"]


def test_bundles_that_vanish_together_are_each_refused(
    agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until
) -> None:
    """A disk with thirty bundles goes and comes: every one is refused, none is forgotten, all are valid again."""
    bundles = [make_bundle(f"b{number:02}") for number in range(30)]
    ids = [agent.register(bundle) for bundle in bundles]
    agent.settled()
    disk, aside = bundles[0].parent, bundles[0].parent.with_name("unplugged")

    disk.rename(aside)
    batch = agent.client.call("resolve_model_execution_descriptors_batch", model_ids=ids)["descriptors"]
    assert [item["error_data"]["code"] for item in batch] == ["asset_not_valid"] * len(ids)
    until(lambda: {agent.state(model_id) for model_id in ids} == {"degraded"}, "all are recorded")
    until(lambda: agent.alerts() == {("mass_disappearance", None)}, "one alert tells of them all")

    shutil.move(aside, disk)
    until(lambda: {agent.state(model_id) for model_id in ids} == {"valid"}, "all are valid again")
    until(lambda: not agent.alerts(), "no alert stands")
