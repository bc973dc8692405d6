"""The feed of what changed, and the search: both answer whatever they are asked."""

import sqlite3
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
