"""The files of the service: what they say, that the service managers take them, and whose files are touched."""

import json
import os
import plistlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pumas_agent.cli import main
from pumas_agent.cli.service_files import is_ours, launchd_plist, marked, socket_unit, system_template, user_unit

ROOT = Path(__file__).parents[3]
SHIPPED = {
    "systemd/pumas-agent.service": user_unit(["/usr/bin/pumas-agent"]),
    "systemd/pumas-agent@.service": system_template(["/usr/bin/pumas-agent"]),
    "systemd/pumas-agent.socket": socket_unit(None),
    "config/com.pumas.agent.plist": launchd_plist(["/usr/local/bin/pumas-agent"], Path("/tmp/pumas-agent.log")),  # noqa: S108 - its example
}
REQUIRED = {
    "Type=notify",
    "WatchdogSec=60",
    "Restart=on-failure",
    "RestartPreventExitStatus=64 77 78",
    "UMask=0077",
    "NoNewPrivileges=yes",
    "MemoryDenyWriteExecute=yes",
    "RestrictAddressFamilies=AF_UNIX",
    "SystemCallFilter=@system-service",
    "ExecReload=/bin/kill -HUP $MAINPID",
}
FORBIDDEN = r"ProtectHome=|ProcSubset=|ReadWritePaths=(?!-)|PrivateUsers=|User=root"
Run = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def home(short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(short_tmp))
    return short_tmp


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "bin" / "pumas-agent"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: str, code: int = 0) -> dict[str, Any]:
        capsys.readouterr()
        assert main([*words, "--json"]) == code
        answer: dict[str, Any] = json.loads(capsys.readouterr().out)
        return answer

    return run


def _files(run: Run, *words: str) -> dict[str, str]:
    return {file["name"]: file["content"] for file in run("service", "print", *words)["files"]}


def _directives(unit: str) -> list[str]:
    return [line for line in unit.splitlines() if line and not line.startswith(("#", "["))]


@pytest.mark.parametrize("which", ["--user", "--system"])
def test_a_unit_says_what_it_has_to_and_nothing_that_blinds_the_agent(run: Run, which: str) -> None:
    """Bundles live in homes, the limits of inotify in /proc, and a path that is missing must not stop the start."""
    (unit,) = _files(run, "--systemd", which).values()
    directives = _directives(unit)

    assert set(directives) >= REQUIRED
    assert {line.partition("=")[0] for line in directives} >= {"RuntimeDirectory", "StateDirectory", "MemoryMax"}
    assert not [line for line in directives if re.match(FORBIDDEN, line)]


@pytest.mark.parametrize("words", [["--user", "--on-demand"], ["--system"]])
def test_each_line_of_a_unit_is_explained(run: Run, words: list[str]) -> None:
    """A comment stands before each setting, or before the pair of settings that it is about."""
    for name, unit in _files(run, "--systemd", *words).items():
        unexplained = 0
        for line in unit.splitlines():
            unexplained = 0 if line.startswith("#") or not line else unexplained + (not line.startswith("["))
            assert unexplained <= 2, (name, line)


@pytest.mark.needs_tool("systemd-analyze")
@pytest.mark.parametrize(
    ("words", "instance"),
    [
        (["--user", "--on-demand"], "pumas-agent.service"),
        (["--user", "--on-demand"], "pumas-agent.socket"),
        (["--system"], "pumas-agent@root.service"),
    ],
)
def test_systemd_takes_them(run: Run, tmp_path: Path, program: Path, words: list[str], instance: str) -> None:
    """`systemd-analyze verify` has nothing to say: every directive known, every value right, the program there."""
    for name, text in _files(run, "--systemd", "--executable", str(program), *words).items():
        (tmp_path / name.replace("@.", "@root.")).write_text(text)
    (tmp_path / "run").mkdir()

    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", words[0], str(tmp_path / instance)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path / "run")},
        check=False,
        capture_output=True,
        text=True,
    )

    said = [line for line in checked.stderr.splitlines() if "pumas-agent" in line]
    assert (checked.returncode, said) == (0, []), checked.stderr


@pytest.mark.needs_tool("systemd-analyze")
def test_the_system_s_template_exposes_little(run: Run, tmp_path: Path, program: Path) -> None:
    """By systemd's own scale of 0 to 100: 28 with systemd 252; 30 is what it calls OK."""
    (unit,) = _files(run, "--systemd", "--system", "--executable", str(program)).values()
    (tmp_path / "pumas-agent@root.service").write_text(unit)

    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=30", str(tmp_path / "pumas-agent@root.service")],
        check=False,
        capture_output=True,
        text=True,
    )

    if "unrecognized option" in rated.stderr:
        pytest.skip("this systemd-analyze rates no files")
    assert rated.returncode == 0, rated.stdout


@pytest.mark.parametrize("name", SHIPPED)
def test_the_files_of_the_repository_are_what_is_rendered(name: str) -> None:
    """For a package that installs the program as /usr/bin/pumas-agent; the places are the user's defaults."""
    assert (ROOT / name).read_text() == SHIPPED[name]


@pytest.mark.parametrize("source", ["printed", "shipped"])
def test_launchd_gets_a_property_list(run: Run, source: str) -> None:
    """Absolute words, started at login, again after a crash and not after a mistake, files private."""
    if source == "printed":
        content = plistlib.loads(_files(run, "--launchd")["com.pumas.agent.plist"].encode())
    else:
        content = plistlib.loads((ROOT / "config" / "com.pumas.agent.plist").read_bytes())

    words = content["ProgramArguments"]
    assert Path(words[0]).is_absolute()
    assert words[-1] == "run"
    assert content["Label"] == "com.pumas.agent"
    assert content["KeepAlive"] == {"Crashed": True}
    assert content["RunAtLoad"] is True
    assert content["Umask"] == 63


def test_the_service_uses_what_a_command_here_would(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file by its absolute path, what the file leaves open as options; what stands in the file is left to it."""
    config = home / "my config.toml"
    config.write_text(f"[library]\nroot = '{home}/models'\n")
    monkeypatch.chdir(home)
    monkeypatch.setenv("PUMAS_AGENT_SOCKET", str(home / "100%.sock"))

    printed = run(
        "--config", "my config.toml", "service", "print", "--systemd", "--on-demand", "--executable", "/opt/p"
    )
    files = {file["name"]: file["content"] for file in printed["files"]}

    command = next(line for line in _directives(files["pumas-agent.service"]) if line.startswith("ExecStart="))
    assert command == f'ExecStart=/opt/p --config "{home}/my config.toml" --socket {home}/100%%.sock run'
    assert f"ListenStream={home}/100%%.sock" in _directives(files["pumas-agent.socket"])


def test_without_a_file_the_library_is_named(run: Run, home: Path) -> None:
    """The service manager's environment may lead to another default."""
    (unit,) = _files(run, "--systemd", "--executable", "/opt/p").values()

    data = "Library/Application Support" if sys.platform == "darwin" else ".local/share"
    assert f"ExecStart=/opt/p --library {home}/{data}/pumas-agent/library run" in _directives(unit)


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("/opt/p", "/opt/p"),
        ("a b", '"a b"'),
        ("100%", "100%%"),
        ("$HOME", '"$$HOME"'),
        ('say "x"', r'"say \"x\""'),
        ("back\\slash", r'"back\\slash"'),
        ("new\nline", r'"new\nline"'),
    ],
)
def test_words_are_written_so_that_systemd_reads_them_as_they_are(word: str, written: str) -> None:
    """By systemd.service(5): specifiers and variables doubled, C escapes within quotes."""
    assert f"ExecStart=/p --library {written} run" in _directives(user_unit(["/p", "--library", word]))


@pytest.mark.needs_tool("systemd-analyze")
@pytest.mark.parametrize("word", ["a b", "100%", "$HOME", 'say "x"', "back\\slash", "tab\tnew\nline", "ü", ";", "{}"])
def test_no_word_of_a_path_upsets_the_unit(word: str, program: Path, tmp_path: Path) -> None:
    """No specifier, variable or quote of a path means anything to systemd: it takes the line without a complaint."""
    unit = tmp_path / "pumas-agent.service"
    unit.write_text(user_unit([str(program), "--library", f"/x/{word}"]))

    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], check=False, capture_output=True, text=True
    )

    assert [line for line in checked.stderr.splitlines() if "pumas-agent" in line] == []


def test_install_writes_and_says_what_comes_next(
    run: Run, home: Path, capsys: pytest.CaptureFixture[str], program: Path
) -> None:
    """Into the user's own folder; a second time changes nothing; uninstall takes exactly that away."""
    folder = home / ".config" / "systemd" / "user"
    words = ["--systemd", "--on-demand", "--executable", str(program)]

    first = run("service", "install", *words)
    content = (folder / "pumas-agent.service").read_bytes()
    run("service", "install", *words)

    assert first["written"] == [str(folder / "pumas-agent.service"), str(folder / "pumas-agent.socket")]
    assert first["next"] == [
        "systemctl --user daemon-reload",
        "systemctl --user enable --now pumas-agent.socket",
    ]
    assert (folder / "pumas-agent.service").read_bytes() == content
    assert (folder / "pumas-agent.service").stat().st_mode & 0o777 == 0o644
    assert f"{program} " in content.decode()

    (folder / "other.service").write_text("[Unit]\n")
    gone = run("service", "uninstall", "--systemd")
    assert gone["removed"] == first["written"]
    assert sorted(path.name for path in folder.iterdir()) == ["other.service"]
    assert main(["service", "uninstall", "--systemd"]) == 0
    assert "nothing was installed" in capsys.readouterr().out


def test_a_file_of_somebody_else_is_neither_overwritten_nor_removed(run: Run, home: Path) -> None:
    """Nor one that was changed after it was written, nor a link; --force overwrites, and never through a link."""
    folder = home / ".config" / "systemd" / "user"
    unit = folder / "pumas-agent.service"
    run("service", "install", "--systemd")
    unit.write_text(changed := unit.read_text().replace("WatchdogSec=60", "WatchdogSec=600"))

    refused = run("service", "install", "--systemd", code=2)
    left = run("service", "uninstall", "--systemd", code=1)

    assert refused["error"]["code"] == "service_file_refused"
    assert "--force" in refused["error"]["hint"]
    assert left["left"] == [str(unit)]
    assert unit.read_text() == changed

    other = home / "precious"
    other.write_text("mine")
    unit.unlink()
    unit.symlink_to(other)
    run("service", "install", "--systemd", code=2)
    run("service", "uninstall", "--systemd", code=1)
    run("service", "install", "--systemd", "--force")
    assert other.read_text() == "mine"
    assert not unit.is_symlink()


def test_the_mark_knows_a_file_by_every_byte() -> None:
    """Units and property lists alike; anything else is not ours."""
    for text in ("[Unit]\nA=b\n", "<?xml?>\n<plist/>\n"):
        written = marked(text).encode()
        assert is_ours(written)
        assert not is_ours(written.replace(b"i", b"j", 1))
        assert not is_ours(written + b"#\n")
        assert not is_ours(text.encode())
    assert not is_ours(b"")
    assert not is_ours(b"\xff\n\xff")


def test_an_installed_property_list_can_be_read(run: Run, home: Path) -> None:
    """The mark is a comment in it."""
    run("service", "install", "--launchd")

    written = home / "Library" / "LaunchAgents" / "com.pumas.agent.plist"
    assert plistlib.loads(written.read_bytes())["Label"] == "com.pumas.agent"
    assert run("service", "uninstall", "--launchd")["removed"] == [str(written)]


def test_what_the_service_will_not_see_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A setting in the shell's environment is not one of the service."""
    monkeypatch.setenv("PUMAS_AGENT_LOG__LEVEL", "debug")

    assert main(["service", "install", "--systemd"]) == 0

    assert "PUMAS_AGENT_LOG__LEVEL" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["--launchd --system", "--launchd --on-demand", "--system --on-demand"])
def test_what_there_is_not_is_refused(run: Run, words: str) -> None:
    """Exit code 64."""
    assert run("service", "print", *words.split(), code=64)["error"]["code"] == "usage"


def test_enable_runs_what_install_would_only_name(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A systemctl of the test's writes down what it was asked; its failure is one of the command."""
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/asked\nexit $(cat {tmp_path}/code)\n')
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (tmp_path / "code").write_text("0")

    run("service", "install", "--systemd")
    assert not (tmp_path / "asked").exists()
    done = run("service", "install", "--systemd", "--enable")

    assert done["next"] == []
    assert (tmp_path / "asked").read_text() == "--user daemon-reload\n--user enable --now pumas-agent.service\n"
    (tmp_path / "code").write_text("3")
    assert "exit code 3" in run("service", "install", "--systemd", "--enable", code=2)["error"]["message"]


def test_the_drop_in_of_the_page_fits_the_unit() -> None:
    """It has the unit's command with the page, and allows the network that the unit refuses: for this machine alone."""
    text = (ROOT / "systemd/pumas-agent.service.d/web.conf").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]

    command = f"{_value(SHIPPED['systemd/pumas-agent.service'], 'ExecStart')} --web 127.0.0.1:8451"
    assert lines[:3] == ["[Service]", "ExecStart=", f"ExecStart={command}"]
    assert {"RestrictAddressFamilies=AF_INET AF_INET6", "IPAddressDeny=any", "IPAddressAllow=localhost"} < set(lines)
    assert not re.search(FORBIDDEN, text)


def _value(unit: str, name: str) -> str:
    return next(line.partition("=")[2] for line in unit.splitlines() if line.startswith(f"{name}="))
