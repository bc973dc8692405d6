"""How commands fail: what they say, where, and what they exit with."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest

from pumas_agent.cli import main
from pumas_agent.cli.listing import BUNDLE_FORMATS, STORAGE_KINDS, VALIDATION_STATES
from pumas_agent.cli.program import program
from pumas_agent.cli.session import Session
from pumas_agent.contracts.errors import PumasError, errors_by_code
from pumas_agent.contracts.metadata import AssetValidationState, BundleFormat, StorageKind

StartAgent = Callable[[Mapping[str, Mapping[str, Any]]], list[dict[str, Any]]]
pytestmark = pytest.mark.usefixtures("socket_path")


def _row(model_id: str, name: str) -> dict[str, Any]:
    row = {"id": model_id, "officialName": name, "modelType": "diffusion", "updatedAt": "now"}
    return row | {"validation_state": "valid", "storage_kind": "external_reference", "bundle_format": None}


def _fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def call(_session: Session, _method: str, **_params: Any) -> dict[str, Any]:
        raise error

    monkeypatch.setattr(Session, "call", call)


@pytest.mark.parametrize("kind", [*errors_by_code().values()])
def test_every_error_exits_with_its_own_code(
    kind: type[PumasError], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One tree of errors, one mapping: message and hint on stderr, nothing on stdout."""
    _fail_with(monkeypatch, kind("it is\x1b wrong", hint="make it right"))

    exit_code = main(["list"])

    out, err = capsys.readouterr()
    assert (exit_code, out) == (kind.exit_code, "")
    assert err == "error: it is\\x1b wrong\nhint: make it right\n"


def test_with_json_an_error_is_one_object_on_stdout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A program reads one stream and one shape whatever happened."""
    kind = errors_by_code()["asset_not_valid"]
    _fail_with(monkeypatch, kind("not valid", hint="look", data={"validation_state": "degraded"}))

    exit_code = main(["descriptor", "a/b/c", "--json"])

    out, err = capsys.readouterr()
    assert (exit_code, err) == (1, "")
    assert json.loads(out) == {
        "schema": "pumas-agent/error/1",
        "error": {
            "code": "asset_not_valid",
            "message": "not valid",
            "hint": "look",
            "data": {"validation_state": "degraded"},
        },
    }


def test_a_refusal_shows_each_finding(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Why a runtime would be refused, on stderr, one finding a line."""
    findings = [{"code": "missing_component", "path": "unet", "message": "no unet"}]
    _fail_with(monkeypatch, errors_by_code()["asset_not_valid"]("not valid", data={"validation_errors": findings}))

    exit_code = main(["descriptor", "a/b/c"])

    assert exit_code == 1
    assert capsys.readouterr().err == "error: not valid\n  missing_component unet: no unet\n"


@pytest.mark.parametrize(
    "args", [[], ["lst"], ["list", "--limit", "0"], ["list", "--limt", "1"], ["show"], ["validate"], ["list", "extra"]]
)
def test_wrong_arguments_are_usage_errors(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 64, with the way to the help; as an object when JSON was asked for."""
    assert main(args) == 64
    out, err = capsys.readouterr()
    assert (out, err.splitlines()[0][:7]) == ("", "error: ")
    assert "--help" in err

    assert main([*args, "--json"]) == 64
    out, err = capsys.readouterr()
    assert (json.loads(out)["error"]["code"], err) == ("usage", "")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupted_command_exits_130(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As shells expect of Ctrl-C, and without a traceback."""
    _fail_with(monkeypatch, error)

    exit_code = main(["list"])

    assert (exit_code, capsys.readouterr().err) == (130, "error: interrupted\n")


def test_a_fault_of_ours_is_no_exit_code_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """1 means that something was looked at and is unhealthy; a bug exits 2, with its traceback on stderr."""
    _fail_with(monkeypatch, ZeroDivisionError("by nought"))

    exit_code = main(["list", "--json"])

    out, err = capsys.readouterr()
    assert exit_code == 2
    assert json.loads(out)["error"]["code"] == "internal_error"
    assert "Traceback" in err


@pytest.mark.parametrize("args", [["--help"], ["list", "-h"], ["--version"]])
def test_help_and_version_are_fine(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """They exit 0 and speak on stdout."""
    assert main(args) == 0
    assert "pumas-agent" in capsys.readouterr().out


def test_every_command_takes_json_and_says_what_it_does() -> None:
    """`run` has no result that could be an object, and that of `completion` is a script for a shell."""
    for name, command in _commands(program):
        assert command.help, name
        takes_json = any("--json" in option.opts for option in command.params)
        assert takes_json == (name not in {"run", "completion"}), name


def _commands(group: click.Group) -> Iterator[tuple[str, click.Command]]:
    """Those of a group of commands one by one."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            assert command.help, name
            yield from _commands(command)
        else:
            yield name, command


def test_the_words_of_the_filters_are_those_of_the_contract() -> None:
    """They are spelt out in the command line so that its start stays quick."""
    assert [*STORAGE_KINDS] == [*StorageKind]
    assert [*BUNDLE_FORMATS] == [*BundleFormat]
    assert [*VALIDATION_STATES] == [*AssetValidationState]


def test_help_imports_nothing_heavy() -> None:
    """`pumas-agent --help` is felt on every key: no pydantic, rich or asyncio is imported for it."""
    script = (
        "import sys; from pumas_agent.cli import main; main(['--help']);"
        "sys.exit(sorted({'pydantic', 'rich', 'asyncio', 'structlog'} & set(sys.modules)).__repr__())"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.stderr.strip() == "[]"


def test_a_reader_that_goes_away_is_no_error(start_agent: StartAgent) -> None:
    """`pumas-agent list | head -1` ends quietly, as other programs do."""
    start_agent({"list_models": {"models": [_row("a/b/c", "x" * 500)] * 1000, "totalCount": 1000}})

    process = subprocess.Popen(
        [sys.executable, "-m", "pumas_agent", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=20)

    assert (process.returncode, err) == (141, "")


def test_a_locale_without_the_letter_is_no_error(start_agent: StartAgent, socket_path: Path) -> None:
    """An ASCII terminal shows an escape where it has no letter."""
    start_agent({"list_models": {"models": [_row("diffusion/模型/x", "é")], "totalCount": 1}})

    done = subprocess.run(
        [sys.executable, "-m", "pumas_agent", "list"],
        env={"PYTHONIOENCODING": "ascii", "HOME": str(socket_path.parent), "PUMAS_AGENT_SOCKET": str(socket_path)},
        capture_output=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, b"")
    assert b"diffusion/\\u6a21\\u578b/x" in done.stdout
