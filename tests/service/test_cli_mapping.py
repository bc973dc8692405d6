"""Mapping from the command line, beside an agent and without one: the same answers, links and register."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pumas_agent.demo.snapshot import differences, snapshot

if TYPE_CHECKING:
    from tests.service.conftest import MakeBundle, StartAgent

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*(?:Z|\+00:00)")
BASE = "diffusion/sdxl/base"


def _command(home: Path, socket: Path, *args: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "pumas_agent", "--library", home / "library", "--socket", socket, *args, "--json"],
        env={**os.environ, "PUMAS_AGENT_MAPPING__CONFIG_DIR": str(home / "configs")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Traceback" not in done.stderr  # on a slow machine there is progress
    return done.returncode, json.loads(done.stdout)


def _prepare(home: Path) -> None:
    """A library with a model of its own, an application with a file in the way, and a configuration."""
    folder = home / "library" / BASE
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text(json.dumps({"model_type": "diffusion", "family": "sdxl", "tags": ["a"]}))
    (folder / "base.safetensors").write_bytes(b"weights")
    (folder / "vae.safetensors").write_bytes(b"vae")
    (home / "app" / "checkpoints").mkdir(parents=True)
    (home / "app" / "checkpoints" / "vae.safetensors").write_bytes(b"theirs")
    (home / "configs").mkdir()
    config = {"app": "comfyui", "version": "*", "mappings": [{"target_dir": "checkpoints"}]}
    (home / "configs" / "comfyui_any_default.json").write_text(json.dumps(config))


def _life(home: Path, socket: Path, bundle: Path) -> list[Any]:
    """What a person types about links, is told, and finds."""
    lines = [
        "reconcile",
        f"register {bundle} --family acme",
        f"map preview comfyui 1 {home}/app",
        f"map preview invokeai 1 {home}/app",
        f"map preview comfyui 1 {bundle}",
        f"map apply comfyui 1 {home}/app",
        f"map apply comfyui 1 {home}/app --yes",
        f"map apply comfyui 1 {home}/app --yes --on-conflict overwrite",
        f"map exclude comfyui {BASE}",
        "map excluded comfyui",
        f"map preview comfyui 1 {home}/app",
        f"links list {BASE}",
        "links health",
        "links clean",
    ]
    told: list[Any] = [_command(home, socket, *line.split()) for line in lines]
    (home / "library" / BASE / "vae.safetensors").unlink()
    told += [_command(home, socket, "links", "health"), _command(home, socket, "links", "clean", "--yes")]
    told.append(sorted(path.name for path in (home / "app").rglob("*")))
    told.append((home / "library" / "link_registry.json").read_text())
    return told


def _comparable(told: Any, home: Path) -> Any:
    volatile = {"duration_ms", "models_changed"}
    if isinstance(told, dict):
        return {_comparable(key, home): _comparable(value, home) for key, value in told.items() if key not in volatile}
    if isinstance(told, list | tuple):
        return [_comparable(item, home) for item in told]
    return _TIME.sub("(time)", told.replace(str(home)[1:], "(home)")) if isinstance(told, str) else told


def test_a_command_says_and_does_the_same_with_and_without_an_agent(
    tmp_path: Path, start: "StartAgent", make_bundle: "MakeBundle", short_tmp: Path
) -> None:
    """R12: and neither touches the bundle that is registered."""
    told = {}
    for kind in ("alone", "beside"):
        home = tmp_path / kind
        _prepare(home)
        bundle = make_bundle(parent=home / "models")
        before = snapshot(bundle)
        socket = short_tmp / "nobody.sock"
        if kind == "beside":
            configs = {"PUMAS_AGENT_MAPPING__CONFIG_DIR": str(home / "configs")}
            socket = start(library=home / "library", **configs).socket
        told[kind] = _comparable(_life(home, socket, bundle), home)
        assert differences(before, snapshot(bundle)) == []

    assert told["alone"] == told["beside"]
    codes = [code for code, _ in told["alone"][:-2]]
    assert codes == [0, 0, 1, 78, 64, 64, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0]
    assert told["alone"][-2] == ["base.safetensors", "checkpoints", "vae.safetensors.replaced-1"]
