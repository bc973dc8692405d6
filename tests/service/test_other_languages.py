"""The clients of docs/how-to/clients, where their tools are: they give the path, or the reason and exit code 1."""

import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.service.conftest import AgentUnderTest, MakeBundle

CLIENTS = Path(__file__).parents[2] / "docs" / "how-to" / "clients"


def command(language: str, folder: Path, *, in_gate: bool) -> list[str]:
    """How the client is run; compiled first where it has to be."""
    tool = {"sh": "socat", "mjs": "node", "rs": "rustc"}[language]
    if shutil.which(tool) is None:
        if in_gate and tool == "socat":
            pytest.fail("the gate installs socat")
        pytest.skip(f"needs {tool}")
    source = CLIENTS / f"resolve.{language}"
    if language == "sh":
        return ["sh", str(source)]
    if language == "mjs":
        return ["node", str(source)]
    environ = os.environ | {"HOME": pwd.getpwuid(os.getuid()).pw_dir}  # where its toolchain may be
    subprocess.run(
        ["rustc", "-o", folder / "resolve", source], check=True, capture_output=True, timeout=120, env=environ
    )
    return [str(folder / "resolve")]


@pytest.mark.parametrize("language", ["sh", "mjs", "rs"])
def test_a_client_gets_the_path_or_the_reason(
    agent: "AgentUnderTest", make_bundle: "MakeBundle", tmp_path: Path, language: str, *, in_gate: bool
) -> None:
    words = command(language, tmp_path, in_gate=in_gate)
    root = make_bundle()
    model_id = agent.register(root)
    environ = os.environ | {"PUMAS_AGENT_SOCKET": str(agent.socket)}

    def run(model: str) -> tuple[int, str, str]:
        done = subprocess.run([*words, model], capture_output=True, text=True, env=environ, timeout=30, check=False)
        return done.returncode, done.stdout.strip(), done.stderr.strip()

    assert run(model_id) == (0, str(root), "")

    (root / "model_index.json").unlink()
    code, out, err = run(model_id)
    assert (code, out) == (1, "")
    assert "is not executable" in err
    assert run("diffusion/none/none") == (1, "", "Model not found: diffusion/none/none")


@pytest.mark.parametrize("name", ["resolve.sh", "resolve.mjs", "resolve.rs"])
def test_a_client_is_as_short_as_promised(name: str) -> None:
    """About thirty lines, and shown by the guide."""
    assert len((CLIENTS / name).read_text().splitlines()) <= 40
    assert f"clients/{name}" in (CLIENTS.parent / "use-from-a-runtime.md").read_text()
