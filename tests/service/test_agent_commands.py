"""The command line beside an agent and without one: the same words, the same answers, the same exit codes."""

import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.service.conftest import AgentUnderTest, MakeBundle, StartAgent

Told = tuple[int, dict[str, Any]]
_VOLATILE = {"duration_ms", "queryTimeMs", "validated_at", "generation", "models_changed", "changed", "inode"}
"""What was changed last: an agent has recorded it before a command asks."""
_PROGRESS = re.compile(r".+, \d+ s")
"""What a command says after a few seconds, on a machine that is busy."""
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*(?:Z|\+00:00)")


def _command(library: Path, socket: Path, *args: str, **environ: str) -> Told:
    done = subprocess.run(
        [sys.executable, "-m", "pumas_agent", "--library", str(library), "--socket", str(socket), *args, "--json"],
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert [line for line in done.stderr.splitlines() if not _PROGRESS.fullmatch(line)] == []
    return done.returncode, json.loads(done.stdout)


def _comparable(told: Any, home: Path) -> Any:
    """Without what differs from one run to the next: where the library is, moments and durations."""
    if isinstance(told, dict):
        return {key: _comparable(value, home) for key, value in told.items() if key not in _VOLATILE}
    if isinstance(told, list | tuple):
        return [_comparable(item, home) for item in told]
    return _TIME.sub("(time)", told.replace(str(home)[1:], "(home)")) if isinstance(told, str) else told


def _life(home: Path, socket: Path, bundle: Path) -> list[Told]:
    """What a person types in a bundle's life, and is told."""
    library = home / "library"
    model_id = "diffusion/acme/tiny"
    aside = bundle.parent / "unet"
    told = [
        _command(library, socket, *line.split())
        for line in (
            f"register {bundle} --family acme --tag quick",
            f"register {bundle} --family acme",
            f"register {bundle} --family other",
            f"register {library}/diffusion --family acme",
            "list",
            "list --state degraded",
            "search tiny --tag quick",
            f"show {model_id}",
            "show diffusion/acme/nobody",
            f"descriptor {model_id}",
        )
    ]
    (bundle / "unet").rename(aside)
    told += [
        _command(library, socket, *line.split())
        for line in (f"reconcile {model_id}", "reindex", f"show {model_id}", "list --state degraded")
    ]
    code, refused = _command(library, socket, "descriptor", model_id)
    refused["error"]["data"].pop("since")  # kept by an agent alone
    told.append((code, refused))
    aside.rename(bundle / "unet")
    told += [
        _command(library, socket, *line.split())
        for line in ("reconcile", f"unregister {model_id}", f"unregister {model_id} --yes", "list", "reconcile nobody")
    ]
    return told


def test_commands_say_the_same_with_and_without_an_agent(
    start: "StartAgent", make_bundle: "MakeBundle", short_tmp: Path
) -> None:
    """Twenty commands from registration to unregistration, word by word."""
    homes = [short_tmp / "with", short_tmp / "without"]
    bundles = [make_bundle(parent=home) for home in homes]
    agent = start(library=homes[0] / "library")
    (homes[1] / "library").mkdir()

    with ThreadPoolExecutor(2) as pool:
        lives = pool.map(_life, homes, [agent.socket, short_tmp / "none.sock"], bundles)
        beside, alone = [_comparable(life, home) for life, home in zip(lives, homes, strict=True)]

    assert [code for code, _ in beside] == [0, 0, 2, 64, 0, 0, 0, 0, 2, 0, 1, 0, 0, 0, 1, 0, 64, 0, 0, 2]
    for number, (first, second) in enumerate(zip(beside, alone, strict=True)):
        assert first == second, number


def test_every_exit_code_has_its_case(agent: "AgentUnderTest", make_bundle: "MakeBundle", short_tmp: Path) -> None:
    """0 fine, 1 unhealthy, 2 failed, 3 no agent, 64 usage, 69 unreachable, 75 owned by another, 78 configuration."""
    bundle = make_bundle()
    model_id = agent.register(bundle)
    shutil.rmtree(bundle / "unet")
    agent.wait_for("alert.raised", code="bundle_incomplete", model_id=model_id)
    mine, none = (agent.library, agent.socket), (agent.library, short_tmp / "none.sock")

    cases = [
        (0, "", _command(*mine, "list")),
        (1, "", _command(*mine, "status")),
        (1, "asset_not_valid", _command(*mine, "descriptor", model_id)),
        (2, "model_not_found", _command(*mine, "show", "diffusion/acme/nobody")),
        (3, "agent_not_running", _command(*none, "status")),
        (64, "usage", _command(*mine, "list", "--limit", "0")),
        (64, "invalid_model_id", _command(*mine, "reconcile", "../x")),
        (69, "library_unavailable", _command(short_tmp / "nowhere", none[1], "list")),
        (69, "library_unavailable", _command(short_tmp / "nowhere", agent.socket, "list")),
        (75, "library_busy", _command(*none, "reindex")),
        (78, "config_invalid", _command(*mine, "list", PUMAS_AGENT_WATCH__BACKEND="nonsense")),
    ]

    for exit_code, error, (code, told) in cases:
        assert (code, told.get("error", {}).get("code", "")) == (exit_code, error), told
    assert not (short_tmp / "nowhere").exists()


def test_a_reader_beside_an_agent_reads_what_was_committed(
    agent: "AgentUnderTest", make_bundle: "MakeBundle", short_tmp: Path
) -> None:
    """A command that cannot find the socket opens the library read-only: it sees every commit, and disturbs nothing."""
    model_id = agent.register(make_bundle())
    agent.settled()

    code, listed = _command(agent.library, short_tmp / "none.sock", "list")

    assert (code, [row["id"] for row in listed["models"]]) == (0, [model_id])
    assert agent.refusal(model_id) is None
