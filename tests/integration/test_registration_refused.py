"""What is not registered: which error says so, and that nothing is left behind."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pumas_agent.contracts.errors import (
    AssetUnresponsive,
    InvalidModelId,
    InvalidParams,
    LibraryInsideSource,
    LibraryUnwritable,
    PathNotAbsolute,
    PathNotDirectory,
    PathNotUtf8,
    PumasError,
    SourceInsideLibrary,
)
from pumas_agent.demo.bundle import write_stable_diffusion_bundle

if TYPE_CHECKING:
    from tests.integration.conftest import Parts

TINY = "diffusion/acme/tiny"


async def test_a_bundle_that_is_not_valid_leaves_nothing_and_may_come_again(agent: "Parts", bundle: Path) -> None:
    """In the place of case import_external-005, R3: refused with its findings, no folder, and a retry works."""
    (bundle / "unet").rename(bundle / "aside")
    before = await agent.written()

    refused = await agent.register(bundle)
    nothing = await agent.written()
    (bundle / "aside").rename(bundle / "unet")
    result = await agent.register(bundle)

    assert (refused["status"], refused["success"], refused["model_id"]) == ("refused", False, None)
    assert [(finding["code"], finding["path"]) for finding in refused["findings"]] == [("missing_component", "unet")]
    assert refused["error"] == refused["findings"][0]["message"]
    assert nothing == before
    assert (result["status"], result["model_id"]) == ("registered", TINY)


@pytest.mark.parametrize("what", ["nothing", "no index"])
async def test_a_source_that_is_no_bundle_is_refused(agent: "Parts", tmp_path: Path, what: str) -> None:
    """Cases validation-002 and import_external-005: with the code of old, and nothing is made at its place."""
    source = tmp_path / "source"
    if what == "no index":
        source.mkdir()

    result = await agent.register(source)

    assert [finding["code"] for finding in result["findings"]] == [
        "path_not_found" if what == "nothing" else "missing_model_index"
    ]
    assert source.exists() == (what == "no index")
    assert agent.artifacts() == []


async def test_an_unhealthy_bundle_is_registered_when_asked(agent: "Parts", bundle: Path) -> None:
    """R16, R20: failed and invalid until the first time it is valid; ready ever after, so it degrades."""
    (bundle / "unet").rename(bundle / "aside")
    result = await agent.register(bundle, allow_unhealthy=True)
    history = [states(agent)]

    await agent.call("reconcile")
    history.append(states(agent))
    (bundle / "aside").rename(bundle / "unet")
    await agent.call("reconcile", model_id=TINY)
    history.append(states(agent))
    (bundle / "unet").rename(bundle / "aside")
    await agent.call("reconcile", model_id=TINY)
    history.append(states(agent))

    assert (result["status"], result["success"]) == ("registered", True)
    assert [finding["code"] for finding in result["findings"]] == ["missing_component"]
    assert history == [("failed", "invalid"), ("failed", "invalid"), ("ready", "valid"), ("ready", "degraded")]
    assert agent.record(TINY)["agent"]["identity"]


def states(agent: "Parts") -> tuple[str, str]:
    record = agent.record(TINY)
    return record["import_state"], record["validation_state"]


def in_the_library(agent: "Parts", _bundle: Path) -> str:
    write_stable_diffusion_bundle(agent.root / "diffusion" / "x")
    return str(agent.root / "diffusion" / "x")


def through_a_link_in_the_library(agent: "Parts", bundle: Path) -> str:
    (bundle.parent / "link").symlink_to(in_the_library(agent, bundle))
    return str(bundle.parent / "link")


def a_loop(_agent: "Parts", bundle: Path) -> str:
    (bundle.parent / "loop").symlink_to("loop")
    return str(bundle.parent / "loop")


def not_text(_agent: "Parts", bundle: Path) -> str:
    """A link with a name that is text, to a place whose name is not."""
    strange = os.fsdecode(os.fsencode(bundle.parent) + b"/tin\xff")
    bundle.rename(strange)
    (bundle.parent / "link").symlink_to(strange)
    return str(bundle.parent / "link")


SOURCES: dict[str, tuple[Callable[["Parts", Path], str], type[PumasError]]] = {
    "the library": (lambda agent, _: str(agent.root), SourceInsideLibrary),
    "in the library": (in_the_library, SourceInsideLibrary),
    "a link into the library": (through_a_link_in_the_library, SourceInsideLibrary),
    "around the library": (lambda agent, _: str(agent.root.parent), LibraryInsideSource),
    "relative": (lambda _, bundle: os.path.relpath(bundle), PathNotAbsolute),
    "home": (lambda _, __: "~/tiny", PathNotAbsolute),
    "a file": (lambda _, bundle: str(bundle / "model_index.json"), PathNotDirectory),
    "a loop": (a_loop, PathNotDirectory),
    "too long": (lambda _, __: "/" + "a" * 300, PathNotDirectory),
    "not text": (not_text, PathNotUtf8),
    "a NUL": (lambda _, bundle: f"{bundle}\0", PathNotUtf8),
    "a surrogate": (lambda _, __: "/\ud800", InvalidParams),
    "empty": (lambda _, __: "", InvalidParams),
}


@pytest.mark.parametrize("which", SOURCES)
async def test_a_source_that_may_not_be_registered_has_its_own_code(agent: "Parts", bundle: Path, which: str) -> None:
    """Case import_external-008: invalid parameters, before anything is looked at or written."""
    make, error = SOURCES[which]
    source = make(agent, bundle)
    before = await agent.written()

    with pytest.raises(error) as raised:
        await agent.call("import_external_diffusers_directory", source_path=source, family="acme", official_name="tiny")

    assert type(raised.value) is error
    assert raised.value.rpc_code == -32602
    assert await agent.written() == before
    assert agent.judge.looks == []


@pytest.mark.parametrize("field", ["family", "official_name"])
@pytest.mark.parametrize("value", ["", "  ", "\t"])
async def test_a_blank_name_is_refused(agent: "Parts", bundle: Path, field: str, value: str) -> None:
    """Case import_external-008: and the message names the field."""
    with pytest.raises(InvalidParams, match=field):
        await agent.register(bundle, **{field: value})

    assert agent.artifacts() == []


async def test_a_family_folder_that_is_a_link_is_not_followed(agent: "Parts", bundle: Path, tmp_path: Path) -> None:
    """An id never leads out of the library; nothing is made behind the link."""
    (tmp_path / "elsewhere").mkdir()
    (agent.root / "diffusion").mkdir()
    (agent.root / "diffusion" / "acme").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(InvalidModelId, match="link"):
        await agent.register(bundle)

    assert list((tmp_path / "elsewhere").iterdir()) == []


async def test_a_full_disk_leaves_nothing_and_a_retry_works(
    agent: "Parts", bundle: Path, disk_full: Callable[[bool], None]
) -> None:
    """R18: the artifact and the row come together or not at all."""
    disk_full(True)

    with pytest.raises(LibraryUnwritable, match="No space left"):
        await agent.register(bundle)
    left = agent.artifacts()
    disk_full(False)
    result = await agent.register(bundle)

    assert left == []
    assert result["status"] == "registered"


async def test_a_bundle_that_is_being_written_is_refused(agent: "Parts", bundle: Path) -> None:
    """However whole it looked each time: it is not valid until it holds still."""
    agent.judge.settling = True

    result = await agent.register(bundle)
    nothing = agent.artifacts()
    forced = await agent.register(bundle, allow_unhealthy=True)

    assert (result["status"], [finding["code"] for finding in result["findings"]]) == ("refused", ["bundle_settling"])
    assert nothing == []
    assert forced["success"]
    assert agent.record(TINY)["validation_state"] == "invalid"


async def test_a_filesystem_that_stops_answering_after_the_registration_does_not_undo_it(
    agent: "Parts", bundle: Path
) -> None:
    """The answer says what was done."""
    real = agent.parts.refresher.refresh

    async def silent(*_: object, **__: object) -> object:
        raise AssetUnresponsive("no answer")

    agent.parts.refresher.refresh = silent  # type: ignore[method-assign, assignment]
    result = await agent.register(bundle)
    agent.parts.refresher.refresh = real  # type: ignore[method-assign]

    assert (result["status"], result["success"]) == ("registered", True)
