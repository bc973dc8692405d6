"""Every method of the socket, called through its registry: what it lists, finds, shows and refuses."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pumas_agent import __version__
from pumas_agent.contracts.errors import InvalidModelId, InvalidParams, MethodNotFound, ModelNotFound
from pumas_agent.contracts.rpc import METHODS

if TYPE_CHECKING:
    from tests.integration.conftest import Parts

TINY = "diffusion/acme/tiny"


async def three_models(agent: "Parts", bundle: Path) -> None:
    """A bundle, and two models of another program with dates between which nothing lies."""
    await agent.create(
        "llm/f/old", model_type="llm", official_name="Old Llama", tags=["Chat", "small"], updated_date="2020-01-01"
    )
    await agent.create("llm/f/new", model_type="llm", tags=["chat"], updated_date="2021-01-01", hashes={"sha256": "ab"})
    await agent.registered(bundle, tags=["chat", "image"])


async def listed(agent: "Parts", **params: Any) -> tuple[list[str], int]:
    answer = await agent.call("list_models", **params)
    return [row["id"] for row in answer["models"]], answer["totalCount"]


def test_the_registry_binds_every_method_and_no_other(agent: "Parts") -> None:
    """R4, R15: the names of the contract, each with its own."""
    assert set(agent.registry) == set(METHODS)
    assert all(handler.contract is METHODS[name] for name, handler in agent.registry.items())


# --- lists -----------------------------------------------------------------------------------------------------------


async def test_a_row_shows_what_a_model_is_and_how_it_fares(agent: "Parts", bundle: Path) -> None:
    """R6, R8, R25: external bundles stand in the one list among the others, with the same fields."""
    await three_models(agent, bundle)

    rows = (await agent.call("list_models"))["models"]

    assert rows[0] == {
        "id": TINY,
        "path": str(agent.root / TINY),
        "cleanedName": "tiny",
        "officialName": "tiny",
        "modelType": "diffusion",
        "tags": ["chat", "image"],
        "hashes": {},
        "updatedAt": agent.record(TINY)["updated_date"],
        "storage_kind": "external_reference",
        "bundle_format": "diffusers_directory",
        "validation_state": "valid",
        "entry_path": str(bundle),
        "size_bytes": agent.record(TINY)["size_bytes"],
    }
    assert (rows[1]["storage_kind"], rows[1]["validation_state"], rows[1]["hashes"]) == (
        "library_owned",
        None,
        {"sha256": "ab"},
    )


async def test_a_page_is_cut_from_what_passes_the_filters(agent: "Parts", bundle: Path) -> None:
    """Newest first, filters before paging, and a total of all that match."""
    await three_models(agent, bundle)

    assert await listed(agent) == ([TINY, "llm/f/new", "llm/f/old"], 3)
    assert await listed(agent, limit=1, offset=1) == (["llm/f/new"], 3)
    assert await listed(agent, offset=3) == ([], 3)
    assert await listed(agent, tags=["CHAT"], limit=1) == ([TINY], 3)
    assert await listed(agent, tags=["chat", "small"]) == (["llm/f/old"], 1)
    assert await listed(agent, model_type="llm", limit=1) == (["llm/f/new"], 2)
    assert await listed(agent, storage_kind="external_reference") == ([TINY], 1)
    assert await listed(agent, bundle_format="diffusers_directory") == ([TINY], 1)
    assert await listed(agent, validation_state="valid") == ([TINY], 1)
    assert await listed(agent, validation_state="degraded") == ([], 0)


@pytest.mark.parametrize(
    "params", [{"limit": 0}, {"limit": 1001}, {"offset": -1}, {"storage_kind": "mine"}, {"tag": "x"}]
)
async def test_a_filter_that_is_none_is_refused(agent: "Parts", params: dict[str, Any]) -> None:
    """And named."""
    with pytest.raises(InvalidParams, match=next(iter(params))):
        await agent.call("list_models", **params)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("llama", ["llm/f/old"]),
        ("LLA", ["llm/f/old"]),
        ("llama tiny", ["llm/f/old", TINY]),
        ("", [TINY, "llm/f/new", "llm/f/old"]),
        ("   ", [TINY, "llm/f/new", "llm/f/old"]),
        ("nothing", []),
        ('"', []),
        ("* OR NOT (", []),
        ("a\0tin", [TINY]),
        ("'; DROP TABLE models; --", []),
        ("日本語", []),
    ],
)
async def test_any_text_may_be_searched_for(agent: "Parts", bundle: Path, text: str, found: list[str]) -> None:
    """R6: each word is a prefix, no character is an operator, and blank text finds everything."""
    await three_models(agent, bundle)

    answer = await agent.call("search_models", query=text)

    ids = [row["id"] for row in answer["models"]]
    assert sorted(ids) == sorted(found)
    assert answer["totalCount"] == len(ids)


async def test_a_search_is_filtered_before_it_is_paged(agent: "Parts", bundle: Path) -> None:
    """Tags count before the page is cut, and the total is of what passes."""
    await three_models(agent, bundle)

    answer = await agent.call("search_models", query="chat", model_type="llm", limit=1)

    assert ([row["modelType"] for row in answer["models"]], answer["totalCount"]) == (["llm"], 2)
    assert answer["query"] == '"chat"*'


# --- one model -------------------------------------------------------------------------------------------------------


async def test_one_model_is_shown_with_its_findings(agent: "Parts", bundle: Path) -> None:
    """R6, R20, R24, R25: its row, its record, what is wrong with it, and when it was judged."""
    await agent.registered(bundle)
    shutil.rmtree(bundle / "vae")
    await agent.call("reconcile")

    shown = await agent.call("get_model", model_id=TINY)

    (row,) = (await agent.call("list_models"))["models"]
    assert {key: shown[key] for key in row} == row
    assert shown["metadata"] == await agent.row(TINY)
    assert [(error["code"], error["path"]) for error in shown["validation_errors"]] == [("missing_component", "vae")]
    assert shown["validation_errors"] == agent.record(TINY)["validation_errors"]
    assert (shown["validation_notices"], shown["metadata_findings"], shown["primary_file"]) == ([], [], None)
    assert shown["validated_at"].endswith("+00:00")


async def test_a_value_that_cannot_be_read_is_shown_and_hides_nothing(agent: "Parts") -> None:
    """One bad value costs its field, and get_model names it."""
    await agent.create("llm/f/m", official_name="Whole")
    agent.edit("llm/f/m", size_bytes="big", match_confidence="very", tags=7)
    await agent.call("reconcile")

    shown = await agent.call("get_model", model_id="llm/f/m")

    assert sorted(finding["field"] for finding in shown["metadata_findings"]) == [
        "match_confidence",
        "size_bytes",
        "tags",
    ]
    assert (shown["officialName"], shown["metadata"]["size_bytes"]) == ("Whole", "big")


async def test_a_file_model_shows_its_file(agent: "Parts") -> None:
    """R7, R21: primary_file is for file models; nobody has judged this one yet."""
    folder = await agent.create("llm/f/m")
    (folder / "a.gguf").write_bytes(b"x")

    shown = await agent.call("get_model", model_id="llm/f/m")

    assert (shown["primary_file"], shown["validated_at"]) == (str(folder / "a.gguf"), None)


@pytest.mark.parametrize("method", ["get_model", "resolve_model_dependency_requirements", "reconcile"])
async def test_an_id_that_no_model_has_is_not_found(agent: "Parts", method: str) -> None:
    """-32002, and the message names it."""
    with pytest.raises(ModelNotFound, match="Model not found: diffusion/f/none"):
        await agent.call(method, model_id="diffusion/f/none")


async def test_an_id_that_leads_out_of_the_library_is_refused(agent: "Parts") -> None:
    """By the methods that would go to its folder."""
    for model_id in ("../x", "/etc", "a/../../b"):
        for method in ("reconcile", "unregister_external_model"):
            with pytest.raises(InvalidModelId):
                await agent.call(method, model_id=model_id)


# --- the library and the agent ---------------------------------------------------------------------------------------


async def test_the_state_of_the_library_counts_its_models(agent: "Parts", bundle: Path) -> None:
    """Names of old; the generation is the position of the feed."""
    await three_models(agent, bundle)

    status = await agent.call("get_library_status")

    assert status == {
        "success": True,
        "indexing": False,
        "deep_scan_in_progress": False,
        "model_count": 3,
        "pending_lookups": 0,
        "generation": agent.library.catalog.generation,
        "root": str(agent.root),
    }


async def test_the_feed_leaves_out_what_is_absent(agent: "Parts", bundle: Path) -> None:
    """Reference 6.6 and 16.9: no empty list, no null."""
    start = await agent.call("list_model_library_updates_since")
    await agent.registered(bundle)

    feed = await agent.call("list_model_library_updates_since", cursor=start["cursor"])
    again = await agent.call("list_model_library_updates_since", cursor=feed["cursor"])

    assert sorted(start) == sorted(again) == ["cursor", "snapshot_required", "stale_cursor"]
    (event,) = feed["events"]
    assert (event["model_id"], event["change_kind"], event["cursor"]) == (TINY, "model_added", feed["cursor"])
    assert "selected_artifact_id" not in event


async def test_health_has_the_alerts_that_stand(agent: "Parts", bundle: Path) -> None:
    """R28: with all that a log line of it has."""
    await agent.registered(bundle)
    healthy = await agent.call("agent.health")
    shutil.rmtree(bundle)
    await agent.call("reconcile")

    health = await agent.call("agent.health")

    (alert,) = health["alerts"]
    assert (healthy, health["healthy"]) == ({"healthy": True, "alerts": [], "cursor": healthy["cursor"]}, False)
    assert (alert["code"], alert["severity"], alert["model_id"], alert["path"]) == (
        "bundle_missing",
        "error",
        TINY,
        str(bundle),
    )


async def test_hello_says_what_there_is_and_what_is_missing(agent: "Parts") -> None:
    """R15: a client that cannot do without a method we lack is refused with its name."""
    hello = await agent.call("agent.hello", client="test", required=["get_model"], optional=["agent.top", "get_model"])

    assert hello == {
        "agent": "pumas-agent",
        "version": __version__,
        "execution_contract_version": 1,
        "dependency_contract_version": 1,
        "methods": sorted(METHODS),
        "missing": ["agent.top"],
    }
    with pytest.raises(MethodNotFound, match=r"agent\.top") as error:
        await agent.call("agent.hello", client="test", required=["agent.top"])
    assert error.value.data == {"missing": ["agent.top"]}


async def test_roots_are_followed_when_models_come_and_go(agent: "Parts", bundle: Path) -> None:
    """R26: a registration is watched before it is judged for the last time, and no more once it is forgotten."""
    await agent.registered(bundle)
    registered = agent.followed
    await agent.call("unregister_external_model", model_id=TINY)

    assert (registered, agent.followed) == (1, 2)
