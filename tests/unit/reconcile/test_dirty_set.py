"""When a dirty scope is due, on a clock that the tests turn."""

import threading

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pumas_agent.contracts.records import ALL_MODELS
from pumas_agent.reconcile import DirtySet, Job

QUIET, CEILING = 0.3, 3.0


class FakeClock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


def dirty_set() -> tuple[DirtySet, FakeClock]:
    clock = FakeClock()
    return DirtySet(QUIET, CEILING, clock), clock


def scopes(jobs: list[Job]) -> list[str]:
    return [job.scope for job in jobs]


def test_a_scope_is_due_after_the_quiet_time() -> None:
    """Not before, and with every reason it was marked for."""
    dirty, clock = dirty_set()
    dirty.mark("a", "event")
    clock.now += 0.2
    dirty.mark("a", "sweep")
    clock.now += 0.2
    assert dirty.take_due() == []

    clock.now += 0.11

    assert dirty.take_due() == [Job("a", frozenset({"event", "sweep"}))]


def test_steady_marks_cannot_starve_a_scope() -> None:
    """The ceiling counts from the first mark."""
    dirty, clock = dirty_set()
    began = clock.now

    while not dirty.take_due():
        dirty.mark("a", "event")
        clock.now += 0.1

    assert CEILING <= clock.now - began < CEILING + 0.2


def test_marks_during_a_run_make_one_more_after_it() -> None:
    """However many they are; and none while it runs."""
    dirty, clock = dirty_set()
    dirty.mark("a", "event")
    clock.now += QUIET
    dirty.take_due()

    for _ in range(5):
        dirty.mark("a", "event")
    clock.now += CEILING
    assert (dirty.take_due(), dirty.due_in(), len(dirty)) == ([], None, 1)
    dirty.finished("a")
    assert scopes(dirty.take_due()) == ["a"]
    dirty.finished("a")

    clock.now += CEILING
    assert (dirty.take_due(), len(dirty)) == ([], 0)


def test_all_models_take_the_waiting_models_with_them() -> None:
    """Their reasons go along, and they do not run again."""
    dirty, clock = dirty_set()
    dirty.mark(ALL_MODELS, "start")
    clock.now += 0.1
    dirty.mark("a", "event")
    clock.now += 0.2

    assert dirty.take_due() == [Job(ALL_MODELS, frozenset({"start", "event"}))]
    dirty.finished(ALL_MODELS)

    clock.now += CEILING
    assert (dirty.take_due(), len(dirty)) == ([], 0)


def test_all_models_leave_alone_what_runs_failed_or_is_waited_for() -> None:
    """A mark during a run, a retry and a question each keep their own run."""
    dirty, clock = dirty_set()
    for scope in ("runs", "failed"):
        dirty.mark(scope, "event")
    clock.now += QUIET
    dirty.take_due()
    dirty.failed("failed", 10)
    dirty.mark("runs", "event")
    dirty.mark(ALL_MODELS, "event")
    clock.now += QUIET
    dirty.mark("asked", "asked", at_once=True)

    assert scopes(dirty.take_due()) == [ALL_MODELS, "asked"]
    dirty.finished("runs")
    assert scopes(dirty.take_due()) == ["runs"]
    clock.now += 10

    assert scopes(dirty.take_due()) == ["failed"]


def test_a_failed_scope_comes_back_after_its_delay_and_no_sooner() -> None:
    """Marks meanwhile do not shorten the delay: what fails steadily must not run steadily."""
    dirty, clock = dirty_set()
    dirty.mark("a", "event")
    clock.now += QUIET
    dirty.take_due()
    dirty.mark("a", "event")

    dirty.failed("a", 8)
    clock.now += 7.9
    dirty.mark("a", "event")
    assert dirty.take_due() == []
    clock.now += 0.4

    assert dirty.take_due() == [Job("a", frozenset({"event", "retry"}))]


def test_at_once_overrides_quiet_time_and_retry_delay() -> None:
    """Also for a scope that waits already."""
    dirty, clock = dirty_set()
    dirty.mark("waits", "event")
    dirty.mark("failed", "event")
    clock.now += QUIET
    dirty.take_due()
    dirty.finished("waits")
    dirty.failed("failed", 60)
    dirty.mark("waits", "event")

    assert dirty.mark("waits", "asked", at_once=True)
    dirty.mark("failed", "asked", at_once=True)

    assert set(scopes(dirty.take_due())) == {"waits", "failed"}


def test_a_mark_says_when_the_waiter_must_wake() -> None:
    """Only a scope that is due before all others does; a thousand marks of one scope wake nobody again."""
    dirty, clock = dirty_set()

    assert dirty.mark("a", "event")
    assert not dirty.mark("a", "event")
    clock.now += 0.1
    assert not dirty.mark("b", "event")
    assert dirty.mark("b", "asked", at_once=True)


def test_due_in_counts_down_to_the_next_scope() -> None:
    """Nothing waits, something waits, something is overdue."""
    dirty, clock = dirty_set()
    assert dirty.due_in() is None

    dirty.mark("a", "event")
    clock.now += 0.1
    dirty.mark("a", "event")
    assert dirty.due_in() == pytest.approx(QUIET)
    clock.now += 5

    assert dirty.due_in() == 0.0


def test_no_more_are_taken_than_asked_for_and_the_longest_due_first() -> None:
    """The rest stays due."""
    dirty, clock = dirty_set()
    for scope in "abc":
        dirty.mark(scope, "event")
        clock.now += 0.01
    clock.now += QUIET

    assert scopes(dirty.take_due(2)) == ["a", "b"]
    assert (len(dirty), scopes(dirty.take_due(2))) == (3, ["c"])


def test_marks_from_many_threads_are_not_lost() -> None:
    """Each scope is due once, whoever marked it."""
    dirty, clock = dirty_set()

    def mark() -> None:
        for number in range(1000):
            dirty.mark(f"m{number % 50}", "event")

    threads = [threading.Thread(target=mark) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clock.now += CEILING

    assert sorted(scopes(dirty.take_due())) == sorted(f"m{number}" for number in range(50))


class DirtySetMachine(RuleBasedStateMachine):
    """Whatever the order: no mark is lost, and no scope runs twice at a time."""

    scope = st.sampled_from(["a", "b", "c", ALL_MODELS])

    def __init__(self) -> None:
        super().__init__()
        self.dirty, self.clock = dirty_set()
        self.running: set[str] = set()
        self.owed: set[str] = set()

    @rule(scope=scope, at_once=st.booleans())
    def mark(self, scope: str, at_once: bool) -> None:
        due_in = self.dirty.due_in()
        wakes = self.dirty.mark(scope, "event", at_once=at_once)
        self.owed.add(scope)
        earlier = self.dirty.due_in()
        if earlier is not None and (due_in is None or earlier < due_in):
            assert wakes

    @rule(seconds=st.sampled_from([0.0, 0.1, QUIET, CEILING, 20.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(limit=st.sampled_from([None, 1, 2]))
    def take(self, limit: int | None) -> None:
        for job in self.dirty.take_due(limit):
            assert job.scope not in self.running
            assert job.reasons
            if job.scope == ALL_MODELS:
                # what waited may have gone with it; a scope that runs keeps its own
                self.owed &= self.running | self.kept()
            self.running.add(job.scope)
            self.owed.discard(job.scope)

    def kept(self) -> set[str]:
        return {scope for scope in self.owed if scope in self.dirty._waiting}

    @precondition(lambda self: self.running)
    @rule(data=st.data(), failed=st.booleans())
    def end(self, data: st.DataObject, failed: bool) -> None:
        scope = data.draw(st.sampled_from(sorted(self.running)))
        self.running.discard(scope)
        if failed:
            self.dirty.failed(scope, 10)
            self.owed.add(scope)
        else:
            self.dirty.finished(scope)

    @invariant()
    def counts_what_waits_or_runs(self) -> None:
        assert len(self.dirty) == len(self.owed | self.running)

    def teardown(self) -> None:
        while self.owed or self.running:
            for scope in sorted(self.running):
                self.dirty.finished(scope)
            self.running.clear()
            before = len(self.owed)
            self.clock.now += 100
            self.take(None)
            assert len(self.owed) < before or not before


DirtySetMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestDirtySetMachine = DirtySetMachine.TestCase


def test_other_times_count_for_what_waits_too() -> None:
    """A shorter quiet time makes due what would have waited longer; a longer one puts it off; what runs is left."""
    dirty, clock = dirty_set()
    dirty.mark("running", "event")
    clock.now += QUIET
    assert scopes(dirty.take_due()) == ["running"]
    dirty.mark("running", "event")
    dirty.mark("a", "event")
    clock.now += 0.1

    dirty.retune(0.05, CEILING)
    assert scopes(dirty.take_due()) == ["a"]

    dirty.mark("b", "event")
    dirty.retune(10.0, 20.0)
    clock.now += 9.9
    assert dirty.take_due() == []
    clock.now += 0.2
    assert scopes(dirty.take_due()) == ["b"]
