"""Searching by whatever a person types: what is found, in which order, and how it is filtered and paged."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pumas_agent.contracts.metadata import ModelMetadata
from pumas_agent.library import Library, find
from pumas_agent.library.index import search_words

if TYPE_CHECKING:
    from tests.integration.conftest import Parts


def wide(text: str) -> str:
    """The text in the characters that East Asian keyboards have for it."""
    return "".join(chr(ord(char) + 0xFEE0) if char.isalpha() else char for char in text)


NAMES = {
    "llm/f/cpp": "Coder c++ 7B",
    "llm/f/call": "The foo( variant",
    "llm/f/colon": "owner a:b",
    "llm/f/star": "five * stars",
    "llm/f/irish": "Model o'x",
    "llm/f/tilde": "approx ~",
    "llm/f/quoted": 'so "called" model',
    "llm/f/percent": "100% real",
    "llm/f/under": "snake__case",
    "llm/f/chinese": "通义千问图像模型二代",
    "llm/f/japanese": "日本語ステーブル拡散",
    "llm/f/thai": "แบบจำลองภาษาไทยขนาดใหญ่",
    "llm/f/korean": "한국어언어모델",
    "llm/f/accent": "Crème Brûlée",
    "llm/f/wide": wide("Full Width"),
    "llm/f/nul": "before\0after",
    "llm/f/middle": "UltraDiffusionMax",
    "llm/f/lines": "two\nlines",
}


async def names(agent: "Parts") -> None:
    for model_id, name in NAMES.items():
        await agent.create(model_id, official_name=name, model_type="llm", updated_date="2026-01-01")


async def found(agent: "Parts", query: str, **params: Any) -> list[str]:
    answer = await agent.call("search_models", query=query, **params)
    return [row["id"] for row in answer["models"]]


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("c++", "cpp"),
        ("C++ 7b", "cpp"),
        ("foo(", "call"),
        ("a:b", "colon"),
        ("*", "star"),
        ("o'x", "irish"),
        ("~", "tilde"),
        ('"called"', "quoted"),
        ('"', "quoted"),
        ("100%", "percent"),
        ("%", "percent"),
        ("__", "under"),
        ("千问", "chinese"),
        ("模型", "chinese"),
        ("ステーブル", "japanese"),
        ("拡散", "japanese"),
        ("ภาษาไทย", "thai"),
        ("언어", "korean"),
        ("creme", "accent"),
        ("BRÛLÉE", "accent"),
        ("rûlé", "accent"),
        ("full width", "wide"),
        (wide("width"), "wide"),
        ("before\0after", "nul"),
        ("\0", "nul"),
        ("diffusion", "middle"),
        ("half\ud800 before", "nul"),
        ("two lines", "lines"),
        ("  two \n lines ", "lines"),
    ],
)
async def test_a_model_whose_name_holds_the_text_is_found_first(agent: "Parts", text: str, model: str) -> None:
    """Punctuation, quotes, scripts without spaces, the middle of a word: never an error, never silently empty."""
    await names(agent)

    assert (await found(agent, text))[0] == f"llm/f/{model}"


async def test_each_name_is_found_by_each_part_of_it(agent: "Parts") -> None:
    """The rule of the table above for every part of four characters of every name."""
    await names(agent)

    for model_id, name in NAMES.items():
        for start in range(len(name) - 3):
            part = name[start : start + 4]
            assert model_id in await found(agent, part), part


@pytest.mark.parametrize(
    ("text", "models"),
    [
        ("zzz ☃", []),
        ("\u0301", []),
        ("模型 zzz\ud800", ["chinese"]),
        ("(" * 4096, []),
        ("...", []),
        ("模\ud800型", ["chinese"]),
    ],
)
async def test_what_nothing_is_named_finds_nothing_and_is_no_error(
    agent: "Parts", text: str, models: list[str]
) -> None:
    """JSON can say half a surrogate pair, and a person can paste one."""
    await names(agent)

    assert await found(agent, text) == [f"llm/f/{model}" for model in models]


async def test_the_words_of_a_text_in_a_script_without_spaces_may_stand_anywhere(agent: "Parts") -> None:
    """Any word may match, as with the others; a sign alone among words is none."""
    await names(agent)

    assert await found(agent, "图像 拡散 +") == ["llm/f/chinese", "llm/f/japanese"]


async def test_the_best_come_first(agent: "Parts") -> None:
    """Just that name, then a name that begins so, then by rank, then a name that holds it inside a word."""
    await agent.create("llm/f/z-exact", official_name="SDXL")
    await agent.create("llm/f/y-start", official_name="sdxl turbo")
    await agent.create("llm/f/x-rank", official_name="The best sdxl there is", tags=["sdxl"])
    await agent.create("llm/f/w-rank", official_name="Another that has a rather long name with sdxl in it somewhere")
    await agent.create("llm/f/a-inside", official_name="mysdxl")

    assert await found(agent, "sdxl") == [
        "llm/f/z-exact", "llm/f/y-start", "llm/f/x-rank", "llm/f/w-rank", "llm/f/a-inside",
    ]  # fmt: skip


async def test_an_id_a_repository_and_a_cleaned_name_are_names(agent: "Parts") -> None:
    """Each may be typed whole."""
    await agent.create("llm/owner/a", official_name="one", cleaned_name="cleaned", repo_id="Org/Repo-1.0")
    await agent.create("llm/owner/b", official_name="Org Repo-1.0 cleaned llm/owner/a")

    for text in ("llm/owner/a", "cleaned", "org/repo-1.0"):
        assert (await found(agent, text))[0] == "llm/owner/a"


async def test_a_text_of_several_words_is_looked_for_as_it_stands_before_its_words(agent: "Parts") -> None:
    """A name with the phrase in it comes before one that has the words apart, however often."""
    await agent.create("llm/f/apart", official_name="turbo and stable", tags=["stable", "turbo"])
    await agent.create("llm/f/phrase", official_name="a model that is called stable turbo by its owner")

    assert await found(agent, "stable turbo") == ["llm/f/phrase", "llm/f/apart"]


async def test_equal_matches_are_in_the_order_of_their_ids(agent: "Parts") -> None:
    """The same search gives the same pages."""
    for number in (3, 1, 2):
        await agent.create(f"llm/f/m{number}", official_name="same name", updated_date="2026-01-01")

    assert await found(agent, "same name") == await found(agent, "same") == ["llm/f/m1", "llm/f/m2", "llm/f/m3"]


async def test_pages_of_a_filtered_search_are_cut_from_what_passes(agent: "Parts") -> None:
    """Every filter comes before paging, tags too; the total is of all that match; pages join without a gap."""
    for number in range(30):
        await agent.create(
            f"llm/f/m{number:02}",
            official_name=f"model {number}",
            model_type="llm" if number % 2 else "audio",
            tags=["Chat", "BIG"] if number % 3 else ["chat"],
        )
    wanted = [f"llm/f/m{number:02}" for number in range(30) if number % 2 and number % 3]

    pages: list[str] = []
    for offset in range(0, len(wanted) + 3, 3):
        answer = await agent.call(
            "search_models", query="model", model_type="llm", tags=["big", "CHAT"], limit=3, offset=offset
        )
        assert answer["totalCount"] == len(wanted)
        pages += [row["id"] for row in answer["models"]]

    assert pages == wanted


async def test_each_filter_holds_for_list_search_and_selector_alike(agent: "Parts", bundle: Path) -> None:
    """One and the same choice of models on three surfaces."""
    await agent.create("llm/f/tiny-a", model_type="llm", tags=["x"])
    await agent.create("audio/f/tiny-b", model_type="audio", tags=["X", "y"])
    await agent.registered(bundle, tags=["y"])
    for params in (
        {"model_type": "llm"},
        {"storage_kind": "external_reference"},
        {"storage_kind": "library_owned"},
        {"bundle_format": "diffusers_directory"},
        {"validation_state": "valid"},
        {"validation_state": "invalid"},
        {"tags": ["x"]},
        {"tags": ["Y", "x"]},
        {"tags": ["x"], "model_type": "audio"},
    ):
        listed = {row["id"] for row in (await agent.call("list_models", **params))["models"]}
        selected = await agent.call("model_library_selector_snapshot", **params)

        assert set(await found(agent, "tiny", **params)) == listed, params
        assert {row["model_id"] for row in selected.get("rows", [])} == listed, params
        assert selected["total_count"] == len(listed)


def test_where_very_many_match_the_words_that_few_have_decide(tmp_path: Path) -> None:
    """All of them are found, in an order that a second search gives again."""
    library = Library.open(tmp_path / "library", "command")
    assert library._store is not None
    with library._store._index.transaction():
        for number in range(1_050):
            library._store._index._connection.execute(
                "INSERT INTO models VALUES (?, '/', ?, ?, 'llm', '[]', '{}', '{}', '2026')",
                (f"llm/f/m{number:04}", f"m{number:04}", f"common {'rare' if number == 777 else 'other'}"),
            )
    library.catalog.load(library._reader.rows(), 1)

    ids = [entry.id for entry in find(library._reader, library.catalog, "rare common")]

    assert ids[0] == "llm/f/m0777"
    assert sorted(ids) == sorted(library.catalog.ids())
    assert ids[1:] == sorted(ids[1:])
    assert ids == [entry.id for entry in find(library._reader, library.catalog, "rare common")]
    assert next(entry.id for entry in find(library._reader, library.catalog, "common rare")) == "llm/f/m0777"
    library.close()


def test_a_text_of_very_many_words_is_cut() -> None:
    """What a search costs does not grow with what is pasted; a word that comes again counts once."""
    assert len(search_words(" ".join(f"w{number}" for number in range(2_000)))) == 64
    assert search_words("a a A") == ["a"]


async def test_a_change_is_found_at_once_and_what_was_is_not(agent: "Parts") -> None:
    """The lists that are kept sorted follow every commit."""
    await agent.create("llm/f/a", official_name="模型一号", updated_date="2026-01-01")
    assert await found(agent, "一号") == ["llm/f/a"]

    await agent.create("llm/f/b", official_name="模型一号二", updated_date="2026-01-02")
    await agent.library.write(
        lambda store: store.update("llm/f/a", lambda _: ModelMetadata(official_name="other", updated_date="2026-01-03"))
    )
    assert await found(agent, "一号") == ["llm/f/b"]
    assert await found(agent, "") == ["llm/f/a", "llm/f/b"]

    await agent.library.write(lambda store: store.remove("llm/f/b"))
    assert await found(agent, "一号") == []
    assert await found(agent, "") == ["llm/f/a"]
