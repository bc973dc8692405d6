"""What `explain`, `verify` and `list --selector` ask for, show, and exit with."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import structlog

from pumas_agent.cli import main
from pumas_agent.demo.bundle import write_stable_diffusion_bundle

StartAgent = Callable[[Mapping[str, Mapping[str, Any]]], list[dict[str, Any]]]

ID = "diffusion/acme/whole"
FINDING = {
    "code": "missing_component",
    "message": "component unet is missing",
    "path": "unet",
    "severity": "fatal",
    "meaning": "A component has no folder.",
    "hint": "Fetch it again.",
}
BUNDLE: dict[str, Any] = {
    "root": "/bundles/whole",
    "valid": False,
    "pipeline_class": "StableDiffusionPipeline",
    "task": "text-to-image",
    "size_bytes": 5,
    "load_variant": None,
    "load_dtype": None,
    "security_tier": "safe",
    "findings": [],
    "notices": [],
    "components": [
        {
            "name": "unet",
            "relative_path": "unet",
            "source_library": "diffusers",
            "class_name": "UNet2DConditionModel",
            "state": "missing",
            "findings": [FINDING],
            "notices": [],
            "weights": None,
        }
    ],
}
EXPLAINED: dict[str, Any] = {
    "model_id": ID,
    "summary": "degraded: it was valid once",
    "healthy": False,
    "state": "degraded",
    "settling": False,
    "since": "2026-01-01T00:00:00+00:00",
    "judged_at": None,
    "storage_kind": "external_reference",
    "bundle_format": "diffusers_directory",
    "alerts": [],
    "record": {
        "path": "/library/metadata.json",
        "readable": False,
        "fault": "it is not JSON",
        "has_backup": True,
        "unreadable_fields": [],
        "validation_state": None,
        "import_state": None,
        "validation_errors": [],
        "updated_date": None,
        "not_committed": None,
    },
    "bundle": BUNDLE,
    "place": None,
    "files": None,
    "watching": {"by": "polling", "why": "events on nfs4 do not tell of everything"},
}
VERIFIED: dict[str, Any] = {
    "ok": False,
    "deep": True,
    "models": 2,
    "bundles_judged": 1,
    "unhealthy": [],
    "files": 3,
    "files_hashed": 1,
    "bytes_hashed": 5_000_000,
    "differences": [
        {"code": "hash_differs", "model_id": "llm/f/a", "message": "sha256 differs \x1b[31m", "path": "model.gguf"}
    ],
    "more_differences": 2,
    "notes": ["BLAKE3 digests are not compared"],
    "duration_ms": 5.0,
}
SNAPSHOT: dict[str, Any] = {
    "selector_snapshot_contract_version": 1,
    "cursor": "model-library-updates:7",
    "rows": [{"model_id": ID, "artifact_state": "partial", "display_name": "Whole"}],
    "total_count": 1,
}


@pytest.fixture(autouse=True)
def _quiet_log() -> Iterator[None]:
    """A command that does the work itself sets up logging, for a process that ends with it."""
    yield
    structlog.reset_defaults()


def test_explain_asks_for_a_model_and_exits_1_when_something_is_wrong(
    start_agent: StartAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its object is the answer with a schema."""
    received = start_agent({"explain_model": EXPLAINED})

    assert main(["explain", ID, "--json"]) == 1

    assert received == [{"method": "explain_model", "model_id": ID}]
    assert json.loads(capsys.readouterr().out) == {"schema": "pumas-agent/explain/1", **EXPLAINED}


def test_explain_shows_what_is_wrong_what_it_means_and_what_to_do(
    start_agent: StartAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the record, and why changes are not told by events."""
    start_agent({"explain_model": EXPLAINED})

    main(["explain", ID])

    out = capsys.readouterr().out
    for said in (
        "degraded",
        "it is not JSON",
        "metadata.json.bak is the record before",
        "polling because events on nfs4",
        "unet: missing",
        "missing_component unet",
        "A component has no folder.",
        "-> Fetch it again.",
    ):
        assert said in out, said


def test_a_healthy_model_exits_0(start_agent: StartAgent) -> None:
    """There is nothing to do."""
    start_agent({"explain_model": EXPLAINED | {"healthy": True}})

    assert main(["explain", ID]) == 0


@pytest.mark.usefixtures("socket_path")
@pytest.mark.parametrize("how", ["absolute", "relative", "a name alone"])
def test_a_path_is_explained_without_an_agent_and_a_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    """With the verdict of `validate`."""
    write_stable_diffusion_bundle(tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    what = {"absolute": str(tmp_path / "tiny"), "relative": "./tiny", "a name alone": "tiny"}[how]

    assert main(["explain", what, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["schema"], told["path"], told["bundle"]["valid"]) == ("pumas-agent/explain/1", what, True)

    shutil.rmtree(tmp_path / "tiny" / "unet")
    assert main(["explain", what]) == 1
    assert "missing_component unet" in capsys.readouterr().out
    assert main(["validate", what]) == 1


@pytest.mark.usefixtures("socket_path")
def test_neither_a_model_nor_a_folder_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """The error is that of the model: a path would have looked like one."""
    assert main(["explain", "llm/f/none"]) == 69
    assert "there is no library" in capsys.readouterr().err
    assert main(["explain", "./none"]) == 1
    assert "path_not_found" in capsys.readouterr().out


def test_verify_asks_and_exits_1_when_something_differs(
    start_agent: StartAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is not given is left out."""
    received = start_agent({"verify": VERIFIED})

    assert main(["verify", "llm/f/a", "--deep", "--json"]) == 1
    assert main(["verify"]) == 1

    assert received == [
        {"method": "verify", "model_id": "llm/f/a", "deep": True},
        {"method": "verify", "deep": False},
    ]
    assert json.loads(capsys.readouterr().out.splitlines()[0]) == {"schema": "pumas-agent/verify/1", **VERIFIED}


def test_verify_shows_each_difference_and_what_could_not_be_compared(
    start_agent: StartAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    """Text from disk is escaped."""
    start_agent({"verify": VERIFIED})

    main(["verify", "--deep"])

    out = capsys.readouterr().out
    for said in ("hash_differs llm/f/a model.gguf", "and 2 more", "note: BLAKE3", "1 files, 5.0 MB", "\\x1b[31m"):
        assert said in out, said
    assert "\x1b[31m" not in out


def test_verify_exits_0_when_all_agrees(start_agent: StartAgent) -> None:
    """And a bundle that is not valid is no agreement, although its record says so."""
    start_agent({"verify": VERIFIED | {"ok": True, "differences": [], "more_differences": 0, "notes": []}})

    assert main(["verify"]) == 0


def test_the_selector_is_a_list_with_another_answer(
    start_agent: StartAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    """Filters are those of a list; the cursor stands in the object."""
    received = start_agent({"model_library_selector_snapshot": SNAPSHOT})

    args = ["list", "--selector", "--match", "wh", "--task", "text-to-image", "--state", "degraded", "--limit", "1"]
    assert main([*args, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"schema": "pumas-agent/selector/1", **SNAPSHOT}
    assert main(args) == 0
    assert "partial" in capsys.readouterr().out
    assert received[0] == {
        "method": "model_library_selector_snapshot",
        "search": "wh",
        "task_type_primary": "text-to-image",
        "validation_state": "degraded",
        "limit": 1,
        "tags": [],
    }


@pytest.mark.usefixtures("socket_path")
@pytest.mark.parametrize("option", ["--match", "--task"])
def test_options_of_the_selector_are_refused_without_it(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """They would choose nothing."""
    assert main(["list", option, "x"]) == 64
    assert "--selector" in capsys.readouterr().err
