"""What may be there twice is said, and nothing is done about it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pumas_agent.demo.bundle import write_stable_diffusion_bundle

if TYPE_CHECKING:
    from tests.integration.conftest import Parts


async def groups(agent: "Parts") -> list[tuple[str, str, list[str]]]:
    report: dict[str, Any] = await agent.call("list_duplicate_models")
    return [
        (group["reason"], group["value"], [model["model_id"] for model in group["models"]])
        for group in report["groups"]
    ]


async def test_models_of_one_repository_and_of_one_content_are_named(agent: "Parts") -> None:
    await agent.create("llm/a/one", repo_id="Acme/Tiny", hashes={"sha256": "ab"})
    await agent.create("unknown/a/one", repo_id="acme/tiny")
    await agent.create("llm/b/two", hashes={"sha256": "ab"})

    assert await groups(agent) == [
        ("same_repository", "acme/tiny", ["llm/a/one", "unknown/a/one"]),
        ("same_content", "ab", ["llm/a/one", "llm/b/two"]),
    ]


async def test_two_artifacts_of_one_repository_are_two_models(agent: "Parts") -> None:
    """Case duplicates-006."""
    await agent.create("llm/a/q5", repo_id="acme/tiny", selected_artifact_id="q5")
    await agent.create("llm/a/q4", repo_id="acme/tiny", selected_artifact_id="q4")

    assert await groups(agent) == []


async def test_two_registrations_of_one_repository_both_stay(agent: "Parts", bundle: Path, tmp_path: Path) -> None:
    """The existing system removes the one of them that has no payload in the library."""
    bundle.rename(tmp_path / "one")
    write_stable_diffusion_bundle(tmp_path / "two")
    ids = [await agent.registered(tmp_path / name, repo_id="acme/tiny") for name in ("one", "two")]
    before = await agent.written()

    assert await groups(agent) == [("same_repository", "acme/tiny", ids)]
    await agent.call("adopt_orphan_models")
    await agent.call("reconcile")

    assert await agent.written() == before
