"""Paths as a runtime in a container sees them: who gets them, where, and what is refused instead of guessed."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pumas_agent.contracts.errors import AssetNotValid, InvalidParams, PathNotMapped
from pumas_agent.path_map import PathMap

if TYPE_CHECKING:
    from tests.integration.conftest import Parts

TINY = "diffusion/acme/tiny"
BATCH = "resolve_model_execution_descriptors_batch"


@pytest.fixture
def models(bundle: Path, agent: "Parts") -> Path:
    """The folder of the bundle, which containers see as /models."""
    agent.parts.resolver.retune(PathMap.of({str(bundle.parent): "/models"}))
    return bundle.parent


@pytest.mark.usefixtures("calm")
async def test_who_asks_for_the_container_is_told_its_paths(agent: "Parts", bundle: Path, models: Path) -> None:
    """And nothing else of the descriptor differs; who does not ask is told the host's."""
    await agent.registered(bundle)

    inside = await agent.resolve(TINY, paths_as="container")
    outside = await agent.resolve(TINY)

    assert (inside["entry_path"], outside["entry_path"]) == ("/models/tiny", str(models / "tiny"))
    assert {**inside, "entry_path": outside["entry_path"]} == outside
    assert outside == await agent.resolve(TINY, paths_as="host")


async def test_a_batch_is_told_them_too(agent: "Parts", bundle: Path, models: Path, tmp_path: Path) -> None:
    """Each item for itself: one that the container does not see is an error among the others."""
    await agent.registered(bundle)
    folder = await agent.create("llm/f/m")
    (folder / "m.gguf").write_bytes(b"x")

    seen, unseen = (await agent.call(BATCH, model_ids=[TINY, "llm/f/m"], paths_as="container"))["descriptors"]
    assert seen["descriptor"]["entry_path"] == "/models/tiny"
    assert unseen["error_data"] | {"code": "path_not_mapped", "path": str(folder / "m.gguf")} == unseen["error_data"]
    first, second = (await agent.call(BATCH, model_ids=[TINY, "llm/f/m"]))["descriptors"]
    assert first["descriptor"]["entry_path"] == str(bundle)
    assert second["descriptor"]["entry_path"] == str(folder / "m.gguf")

    agent.parts.resolver.retune(PathMap.of({str(models): "/models", str(tmp_path / "library"): "/library"}))
    (item,) = (await agent.call(BATCH, model_ids=["llm/f/m"], paths_as="container"))["descriptors"]
    assert item["descriptor"]["entry_path"] == "/library/llm/f/m/m.gguf"


async def test_what_no_rule_covers_is_refused(agent: "Parts", bundle: Path) -> None:
    """It may not be there, or be something else; the error names the path on the host, and nobody else notices."""
    await agent.registered(bundle)

    with pytest.raises(PathNotMapped, match=str(bundle)) as error:
        await agent.resolve(TINY, paths_as="container")

    assert (error.value.rpc_code, error.value.data) == (-32005, {"path": str(bundle)})
    assert "paths.map" in (error.value.hint or "")
    assert (await agent.resolve(TINY))["entry_path"] == str(bundle)
    assert agent.parts.resolver.lookups.by_result() == {"answered": 1, "refused": 1, "unknown": 0, "unresponsive": 0}


async def test_other_rules_hold_from_the_next_answer_on(agent: "Parts", bundle: Path, models: Path) -> None:
    """A reload: what was prepared by the rules before is told nobody."""
    await agent.registered(bundle)
    before = await agent.resolve(TINY, paths_as="container")

    agent.parts.resolver.retune(PathMap.of({str(models): "/elsewhere"}))

    assert before["entry_path"] == "/models/tiny"
    assert (await agent.resolve(TINY, paths_as="container"))["entry_path"] == "/elsewhere/tiny"


@pytest.mark.usefixtures("calm")
async def test_an_answer_for_the_container_is_prepared_once(agent: "Parts", bundle: Path) -> None:
    """And made anew when the verdict is: a descriptor is true when it is given, whoever's paths it has."""
    agent.parts.resolver.retune(PathMap.of({str(bundle.parent): "/models"}))
    await agent.registered(bundle)
    ask = agent.registry["resolve_model_execution_descriptor"].contract.params.model_validate
    params = ask({"model_id": TINY, "paths_as": "container"})
    resolver = agent.parts.resolver
    first, second = (resolver.at_once(TINY, params.paths_as) for _ in range(2))  # type: ignore[attr-defined]

    assert first is second is not None
    (bundle / "unet" / "config.json").unlink()
    with pytest.raises(AssetNotValid, match="not executable") as refusal:
        await agent.resolve(TINY, paths_as="container")
    assert refusal.value.code == "asset_not_valid"


async def test_nothing_else_speaks_of_the_container(agent: "Parts", bundle: Path) -> None:
    """Rows, records and explanations are for people on the host."""
    agent.parts.resolver.retune(PathMap.of({str(bundle.parent): "/in-the-container"}))
    await agent.registered(bundle)
    told = [
        await agent.call("get_model", model_id=TINY),
        await agent.call("list_models"),
        await agent.call("explain_model", model_id=TINY),
        await agent.call("model_library_selector_snapshot"),
    ]

    assert str(bundle) in str(told[0])
    assert "/in-the-container" not in str(told)
    with pytest.raises(InvalidParams, match="paths_as"):
        await agent.call("get_model", model_id=TINY, paths_as="container")


async def test_any_other_view_is_no_view(agent: "Parts", bundle: Path) -> None:
    """A misspelt one is not taken for the host."""
    await agent.registered(bundle)

    with pytest.raises(InvalidParams, match="paths_as"):
        await agent.resolve(TINY, paths_as="docker")
