"""Why a model is as it is: what `explain_model` says of bundles, of files and of records that are broken."""

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pumas_agent.bundles import EXPLANATIONS, FindingCode, explained, validate
from pumas_agent.contracts.bundles import AssetValidationError, BundleReport
from pumas_agent.contracts.errors import AssetUnresponsive, ModelNotFound
from pumas_agent.demo.snapshot import differences, snapshot

if TYPE_CHECKING:
    from tests.integration.conftest import HeldJudge, Parts

TINY = "diffusion/acme/tiny"
MODEL = "llm/f/a"


async def explain(agent: "Parts", model_id: str = TINY) -> dict[str, Any]:
    return await agent.call("explain_model", model_id=model_id)


async def test_a_whole_bundle_is_explained_by_its_components(agent: "Parts", bundle: Path) -> None:
    """State, record, place, filesystem, identity and who would notice."""
    await agent.registered(bundle)

    told = await explain(agent)

    assert (told["healthy"], told["state"], told["since"], told["alerts"]) == (True, "valid", None, [])
    assert told["summary"] == "valid: every rule holds now"
    assert {component["name"]: component["state"] for component in told["bundle"]["components"]} == dict.fromkeys(
        ["feature_extractor", "scheduler", "text_encoder", "tokenizer", "unet", "vae"], "present"
    )
    unet = next(component for component in told["bundle"]["components"] if component["name"] == "unet")
    assert unet["weights"]["files"] == ["unet/diffusion_pytorch_model.safetensors"]
    place = told["place"]
    assert (place["root"], place["given_path"], place["same_bundle"]) == (str(bundle), str(bundle), "same")
    assert place["identity"] == place["identity_now"] is not None
    assert (place["mount"]["point"], place["mount"]["path"]) == (
        place["mounted_now"]["point"],
        place["mounted_now"]["path"],
    )
    assert (told["record"]["readable"], told["record"]["validation_state"]) == (True, "valid")
    assert told["files"] is None
    assert told["watching"]["by"] == "no_agent"


async def test_each_finding_stands_at_its_component_with_what_it_means_and_what_to_do(
    agent: "Parts", bundle: Path
) -> None:
    """The texts are those of the reference; since when is what the alert says."""
    await agent.registered(bundle)
    shutil.rmtree(bundle / "unet")
    os.truncate(bundle / "vae" / "diffusion_pytorch_model.safetensors", 30_000)

    told = await explain(agent)

    found = {
        component["name"]: [finding["code"] for finding in component["findings"]]
        for component in told["bundle"]["components"]
        if component["findings"]
    }
    assert found == {"unet": ["missing_component"], "vae": ["weights_truncated"]}
    (finding,) = next(one for one in told["bundle"]["components"] if one["name"] == "unet")["findings"]
    meaning = EXPLANATIONS[FindingCode.MISSING_COMPONENT]
    assert (finding["severity"], finding["meaning"], finding["hint"]) == ("fatal", meaning.meaning, meaning.hint)
    assert (told["healthy"], told["state"]) == (False, "degraded")
    assert "it was valid once" in told["summary"]
    assert "and 1 more" in told["summary"]
    (alert,) = told["alerts"]
    assert (alert["code"], alert["since"]) == ("bundle_incomplete", told["since"])
    assert told["place"]["same_bundle"] == "unknown"


async def test_a_notice_is_told_as_that(agent: "Parts", bundle: Path) -> None:
    """It makes no bundle unhealthy."""
    (bundle / "extra").mkdir()
    (bundle / "extra" / "x.txt").write_text("x")
    await agent.registered(bundle)

    told = await explain(agent)

    notices = told["bundle"]["notices"]
    assert [(notice["code"], notice["severity"]) for notice in notices] == [("extra_dir", "notice")]
    assert told["healthy"]


def test_a_path_is_judged_as_validate_judges_it(bundle: Path) -> None:
    """Every finding and notice of the report is told, each once, and none else."""
    shutil.rmtree(bundle / "unet")
    (bundle / "extra").mkdir()
    report = validate(bundle)

    told = explained(report)

    findings = [*told.findings, *(one for component in told.components for one in component.findings)]
    notices = [*told.notices, *(one for component in told.components for one in component.notices)]
    assert {(one.code, one.path) for one in findings} == {(one.code, one.path) for one in report.findings}
    assert {(one.code, one.path) for one in notices} == {(one.code, one.path) for one in report.notices}
    assert len(findings) + len(notices) == len(report.findings) + len(report.notices)


def test_a_code_that_is_not_known_has_no_explanation() -> None:
    """A report of a newer version."""
    report = BundleReport(root="/x", findings=(AssetValidationError(code="from_the_future", message="m"),))

    (finding,) = explained(report).findings

    assert (finding.code, finding.meaning, finding.hint) == ("from_the_future", None, None)


async def test_a_bundle_that_is_gone_is_explained(agent: "Parts", bundle: Path) -> None:
    """There is no component to tell of; its record and its filesystem are known."""
    await agent.registered(bundle)
    shutil.rmtree(bundle)

    told = await explain(agent)

    assert [finding["code"] for finding in told["bundle"]["findings"]] == ["path_not_found"]
    assert told["bundle"]["components"] == []
    assert (told["place"]["mounted_now"], told["place"]["mount"] is None) == (None, False)
    assert [alert["code"] for alert in told["alerts"]] == ["bundle_missing"]


async def test_another_bundle_at_the_place_is_called_another(agent: "Parts", bundle: Path) -> None:
    """Valid, and with other contents."""
    await agent.registered(bundle)
    config = bundle / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text() + "\n")

    told = await explain(agent)

    assert (told["place"]["same_bundle"], told["state"]) == ("other", "valid")
    assert told["place"]["identity"] != told["place"]["identity_now"]


async def test_a_bundle_whose_filesystem_does_not_answer_is_explained_all_the_same(
    agent: "Parts", bundle: Path, judge: "HeldJudge"
) -> None:
    """From the record; the place is not asked again."""
    await agent.registered(bundle)
    agent.parts.refresher.forget(TINY)
    judge.faults[bundle] = AssetUnresponsive("it does not answer")

    told = await explain(agent)

    assert (told["healthy"], told["state"], told["bundle"]) == (False, "valid", None)
    assert "it does not answer" in told["summary"]
    assert told["place"]["mounted_now"] is None
    assert "bundle_unresponsive" in [alert["code"] for alert in told["alerts"]]


async def test_a_registration_without_a_path_is_explained(agent: "Parts") -> None:
    """It is nowhere."""
    await agent.create("diffusion/f/a", storage_kind="external_reference", bundle_format="diffusers_directory")

    told = await explain(agent, "diffusion/f/a")

    assert (told["state"], told["place"]["root"], told["bundle"]) == ("invalid", None, None)
    assert "no absolute entry path" in told["summary"]


# --- file models -----------------------------------------------------------------------------------------------------


async def test_the_files_of_a_model_are_told(agent: "Parts") -> None:
    """Which of them a runtime would load, and how large they are."""
    folder = await agent.create(MODEL)
    (folder / "small.gguf").write_bytes(b"GG")
    (folder / "large.gguf").write_bytes(b"GGUF")
    (folder / "sub").mkdir()
    (folder / "sub" / "read.me").write_bytes(b"x")

    told = await explain(agent, MODEL)

    assert told["files"] == {
        "folder": str(folder),
        "primary_file": str(folder / "large.gguf"),
        "size_bytes": 7,
        "files": [
            {"name": "large.gguf", "size": 4, "is_primary": True},
            {"name": "small.gguf", "size": 2, "is_primary": False},
            {"name": "sub/read.me", "size": 1, "is_primary": False},
        ],
        "more_files": 0,
        "missing_files": [],
    }
    assert (told["healthy"], told["bundle"], told["place"]) == (True, None, None)
    assert told["summary"].endswith("large.gguf")


@pytest.mark.parametrize(
    ("fields", "file", "said"),
    [
        ({}, None, "no file"),
        ({"files": [{"name": "b.gguf"}]}, "a.gguf", "b.gguf is not there"),
        ({"expected_files": ["b.gguf", "c.gguf"]}, "a.gguf", "b.gguf is not there, and 1 more"),
        ({"match_source": "download_partial"}, "a.gguf", "not finished"),
    ],
)
async def test_a_model_that_is_incomplete_is_not_healthy(
    agent: "Parts", fields: dict[str, Any], file: str | None, said: str
) -> None:
    """The reason in a sentence."""
    folder = await agent.create(MODEL, **fields)
    if file:
        (folder / file).write_bytes(b"GGUF")

    told = await explain(agent, MODEL)

    assert (told["healthy"], said in told["summary"]) == (False, True)


async def test_a_model_whose_folder_is_gone_is_explained(agent: "Parts") -> None:
    """The index knows it still."""
    folder = await agent.create(MODEL)
    shutil.rmtree(folder)

    told = await explain(agent, MODEL)

    assert (told["healthy"], told["record"]["readable"]) == (False, False)
    assert "is gone" in told["summary"]


# --- records ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b'{"a": Infinity}'])
async def test_what_is_wrong_with_a_record_that_cannot_be_read_is_told(
    agent: "Parts", bundle: Path, content: bytes
) -> None:
    """The bundle is judged all the same, as the index knows it; that there is a backup is said."""
    await agent.registered(bundle)
    await agent.library.write(lambda store: store.update(TINY, lambda old: old.with_values({"notes": "x"})))
    (agent.root / TINY / "metadata.json").write_bytes(content)
    await agent.call("reconcile", model_id=TINY)

    told = await explain(agent)

    record = told["record"]
    assert (record["readable"], record["has_backup"], told["healthy"]) == (False, True, False)
    assert record["fault"] in told["summary"]
    assert (told["state"], told["bundle"]["valid"]) == ("valid", True)
    assert [alert["code"] for alert in told["alerts"]] == ["metadata_corrupt"]
    assert told["since"] is not None


async def test_a_record_that_was_never_indexed_is_explained(agent: "Parts") -> None:
    """Because it cannot be read, or because nobody looked yet."""
    for name, content in {"broken": "{", "new": "{}"}.items():
        folder = agent.root / "llm/f" / name
        folder.mkdir(parents=True)
        (folder / "metadata.json").write_text(content)

    broken, new = await explain(agent, "llm/f/broken"), await explain(agent, "llm/f/new")

    assert (broken["state"], broken["storage_kind"], broken["healthy"]) == (None, None, False)
    assert broken["record"]["fault"] in broken["summary"]
    assert "not indexed yet" in new["summary"]


async def test_fields_of_the_record_that_cannot_be_read_are_named(agent: "Parts") -> None:
    """The others are told."""
    await agent.create(MODEL, updated_date="2026-01-01")
    agent.edit(MODEL, tags=7)

    record = (await explain(agent, MODEL))["record"]

    assert (record["readable"], record["updated_date"]) == (True, "2026-01-01")
    assert [field["field"] for field in record["unreadable_fields"]] == ["tags"]


async def test_a_verdict_that_is_not_in_the_record_says_why(agent: "Parts", bundle: Path) -> None:
    """The record says one thing, the disk another."""
    await agent.registered(bundle)
    (agent.root / TINY / "metadata.json").write_text("{")
    shutil.rmtree(bundle / "unet")
    await agent.call("reconcile", model_id=TINY)

    told = await explain(agent)

    assert told["state"] == "degraded"
    assert "metadata.json" in told["record"]["not_committed"]


@pytest.mark.parametrize("model_id", ["llm/f/none", "..", "/etc", "a\0b", "a//b", "é" * 300])
async def test_a_model_that_is_none_is_not_found(agent: "Parts", model_id: str) -> None:
    """Whatever the id looks like."""
    with pytest.raises(ModelNotFound):
        await explain(agent, model_id)


async def test_explaining_changes_nothing_of_a_bundle(agent: "Parts", bundle: Path) -> None:
    """R18, and nothing in the library when the record says so already."""
    await agent.registered(bundle)
    outside, inside = snapshot(bundle.parent), await agent.written()

    await explain(agent)

    assert differences(outside, snapshot(bundle.parent)) == []
    assert await agent.written() == inside
