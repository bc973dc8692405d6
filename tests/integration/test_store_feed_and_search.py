"""The feed of what changed, and the search: both answer whatever they are asked."""

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pumas_agent.contracts.metadata import ModelMetadata
from pumas_agent.contracts.records import ChangeKind
from pumas_agent.library import Library, ModelStore
from pumas_agent.library.index import search_query

CURSOR = "model-library-updates:"


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    library = Library.open(tmp_path / "library", "command")
    yield library
    library.close()


@pytest.fixture
def store(library: Library) -> ModelStore:
    assert library._store is not None
    return library._store


@pytest.fixture
def five(library: Library, store: ModelStore) -> int:
    """Five models, and so five events; the id of the last."""
    for number in range(5):
        store.create(f"llm/f/m{number}", ModelMetadata())
    return library._reader.last_event_id()


def test_without_a_cursor_the_feed_says_where_it_is(library: Library, five: int) -> None:
    """Case feed-005: no events, not stale."""
    feed = library._reader.updates_since(None, 0)

    assert (feed.cursor, feed.events, feed.stale_cursor, feed.snapshot_required) == (
        f"{CURSOR}{five}",
        (),
        False,
        False,
    )


@pytest.mark.parametrize("cursor", ["not-a-valid-cursor", "", CURSOR, f"{CURSOR}-1", f"{CURSOR}1x", f"{CURSOR}{9**30}"])
def test_a_cursor_that_is_none_is_stale(library: Library, five: int, cursor: str) -> None:
    """Case feed-002: load everything again, and go on from here."""
    feed = library._reader.updates_since(cursor, 0)

    assert (feed.cursor, feed.events, feed.stale_cursor, feed.snapshot_required) == (f"{CURSOR}{five}", (), True, True)


def test_a_cursor_ahead_of_the_log_is_stale(library: Library, five: int) -> None:
    """The existing library says nothing (feed-007), and a client of a restored backup would wait for ever."""
    assert library._reader.updates_since(f"{CURSOR}{five + 1}", 0).stale_cursor
    assert not library._reader.updates_since(f"{CURSOR}{five}", 0).stale_cursor


def test_a_cursor_before_the_oldest_event_is_stale_and_zero_never_is(library: Library, five: int) -> None:
    """Only when something between is missing: the one just before the oldest is fine."""
    connection = sqlite3.connect(library.layout.index_path)
    connection.execute("DELETE FROM model_library_update_events WHERE event_id < 4")
    connection.commit()

    stale = {since: library._reader.updates_since(f"{CURSOR}{since}", 0).stale_cursor for since in range(five + 1)}

    assert stale == {0: False, 1: True, 2: True, 3: False, 4: False, 5: False}
    connection.execute("DELETE FROM model_library_update_events")
    connection.commit()
    connection.close()
    assert library._reader.updates_since(f"{CURSOR}2", 0).stale_cursor
    assert not library._reader.updates_since(f"{CURSOR}{five}", 0).stale_cursor


# --- pruning ---------------------------------------------------------------------------------------------------------


def events(library: Library) -> list[int]:
    """The ids of the events that are kept."""
    with sqlite3.connect(library.layout.index_path) as connection:
        found = [event for (event,) in connection.execute("SELECT event_id FROM model_library_update_events")]
    connection.close()
    return sorted(found)


def age(library: Library, ages: dict[int, str]) -> None:
    """Give events another time, in SQL's words: `-40 days`."""
    with sqlite3.connect(library.layout.index_path) as connection:
        for event, since in ages.items():
            connection.execute(
                "UPDATE model_library_update_events SET created_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ?)"
                " WHERE event_id = ?",
                (since, event),
            )
    connection.close()


def prune(store: ModelStore, days: int = 30, count: int = 100_000) -> int:
    """As the agent does: until there is nothing left to do."""
    pruned = 0
    while now := store.prune_feed(days, count):
        pruned += now
    return pruned


def test_events_that_are_too_old_go(library: Library, store: ModelStore, five: int) -> None:
    """And a cursor before the oldest that is left is stale, as the one just before it is not."""
    age(library, {1: "-40 days", 2: "-31 days", 3: "-29 days"})

    assert prune(store) == 2
    assert events(library) == [3, 4, 5]
    stale = {since: library._reader.updates_since(f"{CURSOR}{since}", 0).stale_cursor for since in range(1, five + 2)}
    assert stale == {1: True, 2: False, 3: False, 4: False, 5: False, 6: True}


def test_a_clock_that_is_set_forward_makes_no_event_old(
    library: Library, store: ModelStore, five: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What happened a second ago happened a second ago, and the clients go on from their cursors."""
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3650 * 86_400)

    assert prune(store) == 0
    assert events(library) == list(range(1, five + 1))


def test_the_oldest_of_too_many_events_go(library: Library, store: ModelStore, five: int) -> None:
    """Whatever their age; the newest are left."""
    assert prune(store, count=2) == 3
    assert events(library) == [4, five]
    assert [event.model_id for event in library._reader.updates_since(f"{CURSOR}3", 0).events] == [
        "llm/f/m3",
        "llm/f/m4",
    ]


def test_a_feed_without_any_event_left_goes_on_where_it_was(library: Library, store: ModelStore, five: int) -> None:
    """The client that knew everything still does; no position is given out twice."""
    age(library, dict.fromkeys(range(1, five + 1), "-31 days"))

    assert prune(store) == five
    assert events(library) == []
    assert library._reader.updates_since(None, 0).cursor == f"{CURSOR}{five}"
    assert not library._reader.updates_since(f"{CURSOR}{five}", 0).stale_cursor
    assert library._reader.updates_since(f"{CURSOR}{five - 1}", 0).stale_cursor
    store.create("llm/f/next", ModelMetadata())
    feed = library._reader.updates_since(f"{CURSOR}{five}", 0)
    assert [event.cursor for event in feed.events] == [f"{CURSOR}{five + 1}"]


@pytest.mark.usefixtures("five")
def test_from_position_zero_a_pruned_feed_asks_for_a_snapshot(library: Library, store: ModelStore) -> None:
    """Position 0 is never stale; but what a client that stands there has not seen is not all in the feed any more."""
    assert not library._reader.updates_since(f"{CURSOR}0", 0).snapshot_required

    prune(store, count=2)
    feed = library._reader.updates_since(f"{CURSOR}0", 0)

    assert (feed.stale_cursor, feed.snapshot_required, len(feed.events)) == (False, True, 2)


def test_a_clock_that_was_wrong_makes_no_gap(library: Library, store: ModelStore, five: int) -> None:
    """An event in between that looks old stays until all before it go; one that looks young keeps those behind it."""
    age(library, {1: "-40 days", 3: "-40 days"})

    assert prune(store) == 1
    assert events(library) == [2, 3, 4, five]
    age(library, {2: "+40 days", 3: "-40 days", 4: "-40 days"})
    assert prune(store) == 0
    assert prune(store, count=1) == 3


def test_nothing_is_written_when_there_is_nothing_to_prune(library: Library, store: ModelStore, five: int) -> None:
    """No byte, and no lock is taken: another connection may hold it meanwhile (law 8)."""
    log = library.layout.log_path.stat()
    other = sqlite3.connect(library.layout.index_path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    assert store.prune_feed(30, five) == 0

    other.execute("ROLLBACK")
    other.close()
    after = library.layout.log_path.stat()
    assert (after.st_size, after.st_mtime_ns) == (log.st_size, log.st_mtime_ns)


def test_a_long_log_is_pruned_a_part_at_a_time(library: Library, store: ModelStore) -> None:
    """So that no commit waits long behind it; the oldest part first."""
    with store._index.transaction():
        store._index._connection.executemany(
            "INSERT INTO model_library_update_events (model_id, change_kind, fact_family, refresh_scope)"
            " VALUES (?, 'model_added', 'model_record', 'summary')",
            [("x",)] * 12_000,
        )

    assert [store.prune_feed(30, 100) for _ in range(4)] == [5_000, 5_000, 1_900, 0]
    assert events(library) == list(range(11_901, 12_001))


def test_events_come_in_order_and_the_cursor_is_the_last_of_them(library: Library, five: int) -> None:
    """A client that pages through loses and repeats none."""
    seen: list[str] = []
    cursor = f"{CURSOR}0"
    while events := (feed := library._reader.updates_since(cursor, 2)).events:
        seen += [event.model_id for event in events]
        cursor = feed.cursor
        assert cursor == events[-1].cursor

    assert seen == [f"llm/f/m{number}" for number in range(5)]
    assert cursor == f"{CURSOR}{five}"


def test_a_limit_of_zero_means_a_hundred(library: Library, store: ModelStore) -> None:
    """Case feed-006."""
    with store._index.transaction():
        for _ in range(101):
            store._index.add_event("x", ChangeKind.METADATA_MODIFIED, None)

    feed = library._reader.updates_since(f"{CURSOR}0", 0)

    assert len(feed.events) == 100
    assert feed.events[0].producer_revision is not None


def test_positions_of_removed_events_are_not_given_out_again(library: Library, store: ModelStore, five: int) -> None:
    """AUTOINCREMENT, by hand or not."""
    connection = sqlite3.connect(library.layout.index_path)
    connection.execute("DELETE FROM model_library_update_events")
    connection.commit()
    connection.close()

    store.remove("llm/f/m0")

    assert library._reader.last_event_id() == five + 1


@pytest.mark.parametrize(
    "text",
    [
        "c++", "foo(", "a:b", "*", '"', '""', '"half', "NEAR", "NEAR(a b)", "AND", "OR NOT", "llm/llama",
        "gpt,2", "o'x", "~", "^a", "{a}", "-a", "id:llm", "a\0b", "\0", "half\ud800", "²", "́", "模型", "🦁", "%_",
        " ".join(["w"] * 2048),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("five")
def test_whatever_a_person_types_is_a_search_and_never_an_error(library: Library, text: str) -> None:
    """No character of it is an operator of the engine."""
    assert isinstance(library._reader.search(text), list)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=80))
def test_any_text_at_all_can_be_searched_for(library: Library, text: str) -> None:
    """The rule of the table above over everything."""
    assert library._reader.search(text) == []


@pytest.mark.parametrize(
    ("text", "query"),
    [("gpt-2 model", '"gpt-2"* OR "model"*'), ('say "hi"', '"say"* OR """hi"""*'), ("", ""), ("  ", ""), ("+ *", "")],
)
def test_each_word_is_a_quoted_prefix(text: str, query: str) -> None:
    """Cases fts-003, fts-004 (every word is quoted here, so that none is an operator) and fts-006."""
    assert search_query(text) == query


def test_search_finds_words_by_prefix_in_every_column(library: Library, store: ModelStore) -> None:
    """Case, accents and the number of words do not matter; any word may match, best first."""
    store.create("diffusion/f/one", ModelMetadata(official_name="Crème Portrait", tags=["c++"], family="sdxl"))
    store.create("diffusion/f/two", ModelMetadata(official_name="Portrait", cleaned_name="portrait"))

    search = library._reader.search

    assert search("creme") == search("CRÈME") == search("SDX") == search("c++") == ["diffusion/f/one"]
    assert set(search("port")) == {"diffusion/f/one", "diffusion/f/two"}
    assert search("creme portrait")[0] == "diffusion/f/one"
    assert search("nothing") == search("...") == []


def test_a_blank_text_lists_everything_newest_first(library: Library, store: ModelStore) -> None:
    """Case fts-006."""
    for name, date in {"a": "2026-01-01", "b": "2026-03-01", "c": "2026-02-01"}.items():
        store.create(f"llm/f/{name}", ModelMetadata(updated_date=date))

    assert library._reader.search("") == library._reader.search(" \t") == ["llm/f/b", "llm/f/c", "llm/f/a"]


def test_the_family_that_is_searched_is_the_architectures_before_the_given_one(
    library: Library, store: ModelStore
) -> None:
    """Case fts-007."""
    store.create("llm/f/a", ModelMetadata(architecture_family="archfam", family="givenfam"))
    store.create("llm/f/b", ModelMetadata(family="givenfam"))

    assert library._reader.search("archfam") == ["llm/f/a"]
    assert library._reader.search("givenfam") == ["llm/f/b"]


def test_the_search_follows_every_change(library: Library, store: ModelStore) -> None:
    """Case fts-009: added, changed, removed."""
    store.create("llm/f/a", ModelMetadata(tags=["first"]))
    store.update("llm/f/a", lambda record: record.model_copy(update={"tags": ["second"]}))
    assert (library._reader.search("first"), library._reader.search("second")) == ([], ["llm/f/a"])

    store.remove("llm/f/a")

    assert library._reader.search("second") == []
