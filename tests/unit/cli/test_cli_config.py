"""`config show` says where each setting comes from; `config check` finds a mistake before an agent does."""

import json
from pathlib import Path
from typing import Any

import pytest

from pumas_agent.cli import main
from pumas_agent.settings import Settings


@pytest.fixture(autouse=True)
def home(short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(short_tmp))
    return short_tmp


def _json(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*words, "--json"]) == code
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_each_setting_has_its_value_and_its_origin(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Default, file, environment, flag: the last one wins, and is the one that is named."""
    file = home / "c.toml"
    file.write_text("[watch]\ndebounce_ms = 5\nmax_delay_ms = 50\n[log]\nlevel = 'debug'\n")
    monkeypatch.setenv("PUMAS_AGENT_WATCH__DEBOUNCE_MS", "6")

    shown = _json(capsys, "--config", str(file), "--library", str(home / "l"), "config", "show")

    assert (shown["schema"], shown["path"], shown["exists"]) == ("pumas-agent/config-show/1", str(file), True)
    settings = {one["name"]: (one["value"], one["source"], one["origin"]) for one in shown["settings"]}
    assert settings["watch.debounce_ms"] == (6, "environment", "PUMAS_AGENT_WATCH__DEBOUNCE_MS")
    assert settings["watch.max_delay_ms"] == (50, "file", str(file))
    assert settings["log.level"] == ("debug", "file", str(file))
    assert settings["library.root"] == (str(home / "l"), "flag", "the command line")
    assert settings["socket.path"][1:] == ("default", "default")
    assert settings["feed.keep_days"] == (30, "default", "default")
    every = [f"{section}.{key}" for section, of in Settings.model_fields.items() for key in of.annotation.model_fields]  # type: ignore[union-attr]
    assert list(settings) == every


def test_shown_as_a_table_it_says_the_same(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line a setting, and which file would be read."""
    monkeypatch.setenv("PUMAS_AGENT_LOG__LEVEL", "error")

    assert main(["config", "show"]) == 0

    out = capsys.readouterr().out
    assert f"{home}" in out.splitlines()[0]
    assert "there is none" in out.splitlines()[0]
    line = next(line for line in out.splitlines() if line.startswith("log.level"))
    assert line.split() == ["log.level", '"error"', "environment", "PUMAS_AGENT_LOG__LEVEL"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[watch]\ndebounce = 3\n", ("unknown setting watch.debounce", "did you mean watch.debounce_ms?")),
        ("[log]\nlevel = 'loud'\n", ("log.level = 'loud'", "correct the value")),
        ("[log\n", ("is no TOML", "")),
    ],
)
def test_a_mistake_is_exit_code_78_and_named(
    home: Path, capsys: pytest.CaptureFixture[str], text: str, said: tuple[str, str]
) -> None:
    """With the file, the setting, and what was probably meant."""
    file = home / "c.toml"
    file.write_text(text)

    error = _json(capsys, "config", "check", str(file), code=78)["error"]

    assert error["code"] == "config_invalid"
    assert said[0] in error["message"]
    assert str(file) in error["message"]
    assert said[1] in (error["hint"] or "")


def test_a_right_file_is_said_to_be(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is named is judged alone; without one, what the environment says counts too."""
    file = home / "c.toml"
    file.write_text("[log]\nlevel = 'debug'\n")
    monkeypatch.setenv("PUMAS_AGENT_LOG__LEVEL", "loud")

    assert _json(capsys, "config", "check", str(file)) == {
        "schema": "pumas-agent/config-check/1",
        "path": str(file),
        "exists": True,
        "valid": True,
    }
    assert "PUMAS_AGENT_LOG__LEVEL" in _json(capsys, "config", "check", code=78)["error"]["message"]
    monkeypatch.delenv("PUMAS_AGENT_LOG__LEVEL")
    assert _json(capsys, "config", "check")["exists"] is False
    assert _json(capsys, "config", "check", str(home / "absent"), code=78)["error"]["code"] == "config_invalid"
