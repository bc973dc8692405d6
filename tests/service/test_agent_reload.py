"""Who is told, changed while the agent runs: each test edits the configuration and sends a SIGHUP."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.exposition import parse

if TYPE_CHECKING:
    from tests.service.conftest import AgentUnderTest, MakeBundle, StartAgent

Until = Callable[..., Any]


@pytest.fixture
def config(short_tmp: Path) -> Path:
    path = short_tmp / "config.toml"
    path.touch(0o600)
    return path


def reload(agent: "AgentUnderTest", config: Path, text: str) -> dict[str, Any]:
    """Have the agent read this configuration; what it says of that."""
    config.write_text(text)
    before = len(agent.lines)
    agent.process.send_signal(signal.SIGHUP)
    return agent.wait_for("config.reloaded", after=before)


def teller(folder: Path, name: str) -> tuple[str, Path]:
    """The configuration that names a program, and the file to which that adds what it reads."""
    told, program = folder / f"{name}.told", folder / name
    program.write_text(f"#!/bin/sh\ncat >> {told}\n")
    program.chmod(0o700)
    return f'[health]\non_alert = ["{program}"]\n', told


def break_and_mend(agent: "AgentUnderTest", root: Path) -> None:
    """Two transitions of one alert."""
    before = len(agent.lines)
    (root / "unet").rename(root / "gone")
    agent.wait_for("alert.raised", after=before)
    (root / "gone").rename(root / "unet")
    agent.wait_for("alert.cleared", after=before)


def faults(agent: "AgentUnderTest") -> list[str]:
    return [fault for fault in agent.client.call("agent.status")["faults"] if "on_alert" in fault or "metrics" in fault]


def hook_runs(agent: "AgentUnderTest") -> float:
    return parse(agent.client.call("agent.metrics")["text"])["pumas_agent_hook_runs_total"][2][()]


def test_the_program_is_the_one_of_the_newest_configuration(
    start: "StartAgent", make_bundle: "MakeBundle", config: Path, short_tmp: Path, until: Until
) -> None:
    """None, one, another, none again; how often one was run is counted over all of them."""
    agent, root = start(PUMAS_AGENT_CONFIG=str(config)), make_bundle()
    agent.register(root)
    (first, first_told), (second, second_told) = teller(short_tmp, "first"), teller(short_tmp, "second")

    break_and_mend(agent, root)
    assert hook_runs(agent) == 0
    line = reload(agent, config, first)
    assert (line["changed"], line["restart_needed"]) == (["health.on_alert"], [])
    break_and_mend(agent, root)
    until(lambda: first_told.exists() and "alert.cleared" in first_told.read_text(), "the first was run")
    said = first_told.read_text()

    reload(agent, config, second)
    break_and_mend(agent, root)
    until(lambda: second_told.exists() and "alert.cleared" in second_told.read_text(), "the second was run")
    runs = hook_runs(agent)
    assert runs == len(said.splitlines()) + len(second_told.read_text().splitlines())

    assert reload(agent, config, "")["changed"] == ["health.on_alert"]
    before = len(agent.lines)
    shutil.rmtree(root / "unet")
    agent.wait_for("alert.raised", after=before)
    agent.stop()
    assert first_told.read_text() == said
    assert len(second_told.read_text().splitlines()) + len(said.splitlines()) == runs


def test_a_program_that_others_can_name_by_now_is_run_no_more(
    start: "StartAgent", make_bundle: "MakeBundle", config: Path, short_tmp: Path, until: Until
) -> None:
    """Looked at anew in each reload, also when the text is the same; a fault in the status until it is mended."""
    named, told = teller(short_tmp, "tell")
    config.write_text(named)
    agent, root = start(PUMAS_AGENT_CONFIG=str(config)), make_bundle()
    agent.register(root)

    config.chmod(0o666)
    assert reload(agent, config, named)["changed"] == []
    (refused,) = agent.said("hook.refused")
    break_and_mend(agent, root)
    assert refused["reason"] == f"{config} may be written by others"
    assert faults(agent) == [f"health.on_alert is not run: {config} may be written by others"]
    assert hook_runs(agent) == 0

    reload(agent, config, f"{named}[feed]\nkeep_days = 1\n")
    assert len(agent.said("hook.refused")) == 1, "it is said once"
    config.chmod(0o600)
    reload(agent, config, named)
    assert faults(agent) == []
    (root / "unet").rename(root / "gone")
    until(told.exists, "it is run again")


def test_a_program_that_a_reload_names_is_not_run_for_a_stranger(
    start: "StartAgent", make_bundle: "MakeBundle", config: Path, short_tmp: Path
) -> None:
    """Which file named it is known of a reload as it is of a start."""
    agent, root = start(PUMAS_AGENT_CONFIG=str(config)), make_bundle()
    agent.register(root)
    named, told = teller(short_tmp, "tell")
    config.chmod(0o666)

    reload(agent, config, named)
    break_and_mend(agent, root)
    agent.stop()

    assert len(agent.said("hook.refused")) == 1
    assert not told.exists()


def test_the_file_of_figures_is_the_one_of_the_newest_configuration(
    start: "StartAgent", config: Path, short_tmp: Path, until: Until
) -> None:
    """None, one, another, none: each at once, and no file that says how it was is left."""
    first, second = short_tmp / "first.prom", short_tmp / "second.prom"
    agent = start(PUMAS_AGENT_CONFIG=str(config))

    line = reload(agent, config, f'[health]\nmetrics_file = "{first}"\n')
    assert (line["changed"], line["restart_needed"]) == (["health.metrics_file"], [])
    until(first.exists, "the first")
    reload(agent, config, f'[health]\nmetrics_file = "{second}"\n')
    until(second.exists, "the second")
    assert not first.exists()
    assert "pumas_agent_healthy" in parse(second.read_text())
    reload(agent, config, "")

    assert not second.exists()
    assert sorted(path.name for path in short_tmp.iterdir() if "prom" in path.name) == []


def test_a_file_that_could_not_be_written_is_a_fault_until_another_is_named(
    start: "StartAgent", config: Path, short_tmp: Path, until: Until
) -> None:
    """And what stands there, which was never ours, stays."""
    foreign = short_tmp / "folder.prom"
    (foreign / "x").mkdir(parents=True)
    agent = start(PUMAS_AGENT_CONFIG=str(config))

    reload(agent, config, f'[health]\nmetrics_file = "{foreign}"\n')
    agent.wait_for("metrics.not_written")
    assert len(faults(agent)) == 1
    reload(agent, config, f'[health]\nmetrics_file = "{short_tmp}/new.prom"\n')
    until((short_tmp / "new.prom").exists, "the new one")

    assert faults(agent) == []
    assert (foreign / "x").is_dir()


def test_what_waits_to_be_told_is_told_as_soon_as_the_configuration_says(
    start: "StartAgent", make_bundle: "MakeBundle", config: Path
) -> None:
    """health.visible_after_ms, shorter and longer; the alert is as old as what it is about."""
    config.write_text("[health]\nvisible_after_ms = 600000\n")
    agent = start(PUMAS_AGENT_CONFIG=str(config))
    early, late = make_bundle("early"), make_bundle("late")
    early_id, late_id = agent.register(early), agent.register(late)
    (early / "unet").rename(early / "gone")
    assert agent.refusal(early_id) is not None
    agent.settled()
    assert agent.alerts() == set()

    line = reload(agent, config, "")
    raised = agent.wait_for("alert.raised", model_id=early_id)
    assert line["changed"] == ["health.visible_after_ms"]
    assert raised["since"] < raised["timestamp"].replace("Z", "+00:00")

    reload(agent, config, "[health]\nvisible_after_ms = 600000\n")
    (late / "unet").rename(late / "gone")
    assert agent.refusal(late_id) is not None
    agent.settled()
    assert agent.alerts() == {("bundle_incomplete", early_id)}
