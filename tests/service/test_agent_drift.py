"""What events alone bring about: nobody looks a model up or asks for a reconcile, and the record follows the disk."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.service.conftest import AgentUnderTest, MakeBundle, StartAgent

Until = Callable[..., Any]
Act = Callable[[Path], Callable[[], object]]
"""Breaks the bundle and gives what mends it."""


def lose_a_component(root: Path) -> Callable[[], object]:
    aside = root.parent / "aside"
    shutil.copytree(root / "unet", aside)
    shutil.rmtree(root / "unet")
    return lambda: aside.rename(root / "unet")


def truncate_the_index(root: Path) -> Callable[[], object]:
    index = root / "model_index.json"
    text = index.read_text()
    with index.open("r+") as file:
        file.truncate(len(text) // 2)
    return lambda: index.write_text(text)


def move_the_root_away(root: Path) -> Callable[[], object]:
    aside = root.parent / "aside"
    root.rename(aside)
    return lambda: aside.rename(root)


def delete_the_root(root: Path) -> Callable[[], object]:
    copy = root.parent.parent / "copy"
    shutil.copytree(root, copy)
    shutil.rmtree(root)
    return lambda: shutil.move(copy, root)


def rename_the_parent(root: Path) -> Callable[[], object]:
    elsewhere = root.parent.with_name("elsewhere")
    root.parent.rename(elsewhere)
    return lambda: elsewhere.rename(root.parent)


def delete_the_parent(root: Path) -> Callable[[], object]:
    """A copy of the parent is left beside it, with the same bundle in it."""
    copy = root.parent.parent / "copy"
    shutil.copytree(root.parent, copy)
    shutil.rmtree(root.parent)
    return lambda: shutil.move(copy, root.parent)


def put_a_file_in_its_place(root: Path) -> Callable[[], object]:
    aside = root.parent / "aside"
    root.rename(aside)
    root.write_text("no folder")

    def mend() -> None:
        root.unlink()
        aside.rename(root)

    return mend


def link_a_component_to_nowhere(root: Path) -> Callable[[], object]:
    aside = (root / "vae").rename(root / "aside")
    (root / "vae").symlink_to("nowhere")

    def mend() -> None:
        (root / "vae").unlink()
        aside.rename(root / "vae")

    return mend


def _if_it_says(agent: "AgentUnderTest", model_id: str, code: str) -> Any:
    """The model, once the last verdict is the one with that code: a deletion may be judged while it goes on."""
    model = agent.model(model_id)
    recorded = model["metadata"] if model is not None else {}
    codes = {found["code"] for found in recorded.get("validation_errors") or ()}
    return model if code in codes and agent.state(model_id) == "degraded" else None


def _unless_all_is_valid(agent: "AgentUnderTest") -> dict[str, Any] | None:
    status = agent.client.call("agent.status")
    return status if status["bundles"] == {"degraded": 1} else None


@pytest.mark.parametrize(
    ("act", "alert", "code"),
    [
        (lose_a_component, "bundle_incomplete", "missing_component"),
        (truncate_the_index, "bundle_incomplete", "invalid_model_index_json"),
        (move_the_root_away, "bundle_moved", "path_not_found"),
        (delete_the_root, "bundle_missing", "path_not_found"),
        (rename_the_parent, "bundle_moved", "path_not_found"),
        (delete_the_parent, "bundle_moved", "path_not_found"),
        (put_a_file_in_its_place, "bundle_missing", "path_not_directory"),
        (link_a_component_to_nowhere, "bundle_incomplete", "dangling_symlink"),
    ],
)
def test_the_record_follows_the_bundle_there_and_back(  # noqa: PLR0917  a row of the table and three fixtures
    agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until, act: Act, alert: str, code: str
) -> None:
    """Degraded with its finding and one alert, twice over; valid again by itself; file, row and status agree."""
    root = make_bundle()
    model_id = agent.register(root)
    agent.settled()
    record = agent.library / model_id / "metadata.json"
    registered = json.loads(record.read_text())

    for _ in range(2):
        heard = len(agent.lines)
        mend = act(root)
        raised = agent.wait_for("alert.raised", after=heard, model_id=model_id, code=alert)
        model = until(lambda: _if_it_says(agent, model_id, code), f"the row says degraded, with {code}")
        codes = {found["code"] for found in model["validation_errors"]}
        on_disk = json.loads(record.read_text())

        if alert == "bundle_moved":
            assert Path(raised["evidence"]["moved_to"]).is_dir()
        else:
            assert {found["code"] for found in raised["evidence"]["findings"]} == codes
        assert raised["path"] == str(root)
        assert raised["since"]
        assert raised["hint"]
        status = until(lambda: _unless_all_is_valid(agent), "the status follows the row")
        assert (status["healthy"], [item["code"] for item in status["alerts"]]) == (False, [alert])
        assert on_disk["validation_state"] == model["metadata"]["validation_state"] == "degraded"
        assert on_disk["validation_errors"] == model["metadata"]["validation_errors"] == model["validation_errors"]
        assert on_disk["entry_path"] == registered["entry_path"] == str(root)
        assert on_disk["import_state"] == "ready"

        heard = len(agent.lines)
        mend()
        cleared = agent.wait_for("alert.cleared", after=heard, model_id=model_id, code=alert)
        until(lambda: agent.state(model_id) == "valid", "the row says valid")
        agent.settled()

        assert cleared["since"] == raised["since"]
        assert agent.client.call("agent.status")["healthy"]
        after = json.loads(record.read_text())
        assert {key for key in registered if registered[key] != after.get(key)} <= {"updated_date", "agent"}
        assert agent.client.descriptor(model_id).entry_path == str(root)


def test_a_bundle_registered_unhealthy_becomes_valid_by_itself(
    agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until
) -> None:
    """It was never valid, so it is invalid and failed; once whole it is ready for good, and then only degrades."""
    root = make_bundle()
    mend = lose_a_component(root)
    model_id = agent.register(root, allow_unhealthy=True)
    assert agent.state(model_id) == "invalid"

    mend()
    until(lambda: agent.state(model_id) == "valid", "the row says valid")
    lose_a_component(root)
    until(lambda: agent.state(model_id) == "degraded", "the row says degraded")

    record = json.loads((agent.library / model_id / "metadata.json").read_text())
    assert record["import_state"] == "ready"


def test_a_registered_path_that_does_not_exist_yet_is_awaited(
    agent: "AgentUnderTest", make_bundle: "MakeBundle", short_tmp: Path, until: Until
) -> None:
    """A bundle may be registered before its disk is there; it is valid as soon as it appears."""
    model_id = agent.register(short_tmp / "later" / "deep" / "tiny", allow_unhealthy=True)
    assert agent.state(model_id) == "invalid"

    make_bundle(parent=short_tmp / "later" / "deep")

    until(lambda: agent.state(model_id) == "valid", "the row says valid")


def test_polling_finds_what_events_would(start: "StartAgent", make_bundle: "MakeBundle", until: Until) -> None:
    """Without inotify the record follows all the same, within some polls."""
    agent = start(PUMAS_AGENT_WATCH__BACKEND="polling", PUMAS_AGENT_WATCH__POLL_INTERVAL_S="0.2")
    root = make_bundle()
    model_id = agent.register(root)

    mend = lose_a_component(root)
    until(lambda: agent.state(model_id) == "degraded", "the row says degraded")
    mend()
    until(lambda: agent.state(model_id) == "valid", "the row says valid")

    assert agent.client.call("agent.status")["watch_backend"] == "polling"


@pytest.mark.parametrize("name", ["with space", "ünï-\U0001f600", "two\nlines", "-dash", "[glob]*?", "n" * 200])
def test_any_name_a_folder_can_have_is_followed(
    agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until, name: str
) -> None:
    """What stands in a path is data, in events, in the log and in the record."""
    root = make_bundle(name)
    model_id = agent.register(root)

    mend = lose_a_component(root)
    until(lambda: agent.state(model_id) == "degraded", "the row says degraded")
    assert agent.wait_for("alert.raised", model_id=model_id)["path"] == str(root)
    mend()
    until(lambda: agent.state(model_id) == "valid", "the row says valid")

    assert agent.client.descriptor(model_id).entry_path == str(root)


def test_a_bundle_inside_another_is_its_own(agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until) -> None:
    """Each is judged by what is its own, and forgetting one leaves the other watched."""
    outer = make_bundle("outer")
    inner = make_bundle("inner", parent=outer)
    outer_id, inner_id = agent.register(outer), agent.register(inner)

    mend = lose_a_component(inner)
    until(lambda: agent.state(inner_id) == "degraded", "the inner one is judged")
    assert agent.state(outer_id) == "valid"
    agent.client.call("unregister_external_model", model_id=outer_id)
    mend()

    until(lambda: agent.state(inner_id) == "valid", "the inner one is watched still")
