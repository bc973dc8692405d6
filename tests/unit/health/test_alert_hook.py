"""The operator's program: whatever it does, the agent goes on."""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from pumas_agent.contracts.events import Transition
from pumas_agent.contracts.health import Alert, AlertCode, Severity
from pumas_agent.health import AlertEvent, AlertHook, distrust
from pumas_agent.health.hook import hook_environment, message

DEADLINE_S = 20.0
MakeHook = Callable[..., AlertHook]


def event(number: int = 1, text: str = "") -> AlertEvent:
    alert = Alert(
        code=AlertCode.BUNDLE_MISSING,
        severity=Severity.ERROR,
        model_id="m",
        path="/bundle",
        since="2026-01-01T00:00:00+00:00",
        evidence={"text": text},
        hint="put it back",
    )
    return AlertEvent(number, Transition.RAISED, alert)


@pytest.fixture
def make_hook() -> Iterator[MakeHook]:
    """A started hook that runs a Python program with arguments; stopped at the end."""
    hooks: list[AlertHook] = []

    def make(program: str, *args: object, **options: Any) -> AlertHook:
        hook = AlertHook([sys.executable, "-c", program, *map(str, args)], **options)
        hooks.append(hook)
        hook.start()
        return hook

    yield make
    for hook in hooks:
        hook.stop()


def wait(condition: Callable[[], object]) -> None:
    """Until it holds."""
    pause, deadline = threading.Event(), time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        pause.wait(0.01)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


APPEND = "import sys; text = sys.stdin.read(); open(sys.argv[1], 'a').write(text)"


def test_it_reads_the_alert_as_a_line_of_json_one_run_after_another(make_hook: MakeHook, tmp_path: Path) -> None:
    """In order, each whole, also when it is longer than a pipe."""
    told = tmp_path / "told"
    hook = make_hook(APPEND, told)

    events = [event(number, "x" * 200_000 if number == 2 else "") for number in (1, 2, 3)]
    for one in events:
        hook.offer(one)
    wait(lambda: len(lines(told)) == 3)

    bodies = [json.loads(line) for line in lines(told)]
    assert [body["sequence"] for body in bodies] == [1, 2, 3]
    assert bodies[0] == {
        "schema": "pumas-agent/alert/1",
        "event": "alert.raised",
        "sequence": 1,
        **events[0].alert.model_dump(mode="json"),
    }
    assert (hook.failures, hook.dropped) == (0, 0)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import sys; sys.exit('no mail today')", "exit code 1: no mail today"),
        ("import os; os.kill(os.getpid(), 9)", "exit code -9"),
        ("import sys; sys.stderr.write('y' * 10_000_000); sys.exit(3)", "exit code 3: yyy"),
    ],
)
def test_a_failure_is_logged_and_the_next_one_is_run(
    make_hook: MakeHook, tmp_path: Path, program: str, reason: str
) -> None:
    """With the beginning of what it said, and no more of it."""
    told = tmp_path / "told"
    with capture_logs() as said:
        hook = make_hook(
            f"import sys\nif '\"sequence\": 1,' in sys.stdin.read():\n    {program}\nopen({str(told)!r}, 'w')"
        )
        hook.offer(event(1))
        hook.offer(event(2))
        wait(told.exists)

    (line,) = [line for line in said if line["event"] == "hook.failed"]
    assert line["reason"].startswith(reason)
    assert len(line["reason"]) < 3000
    assert hook.failures == 1


def test_a_program_that_writes_a_lot_is_not_held_up(make_hook: MakeHook, tmp_path: Path) -> None:
    """On either output: it is read and dropped."""
    told = tmp_path / "told"
    program = "import sys; [f.write('z' * 5_000_000) for f in (sys.stdout, sys.stderr)]; open(sys.argv[1], 'w')"

    hook = make_hook(program, told)
    hook.offer(event())

    wait(told.exists)
    wait(lambda: hook.runs == 1)
    assert hook.failures == 0


def test_a_program_that_hangs_is_killed_with_what_it_started(make_hook: MakeHook, tmp_path: Path) -> None:
    """Whether it reads or not, and although it ignores being asked to end."""
    started = tmp_path / "started"
    program = (
        "import os, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); child = os.fork()\n"
        "if child: open(sys.argv[1] + '.new', 'w').write(f'{os.getpid()} {child}')\n"
        "if child: os.rename(sys.argv[1] + '.new', sys.argv[1])\n"
        "time.sleep(600)"
    )
    with capture_logs() as said:
        hook = make_hook(program, started, limit_s=1.0)
        hook.offer(event(text="x" * 200_000))
        wait(lambda: hook.failures == 1)

    assert "longer than 1 s" in said[0]["reason"]
    pids = [int(word) for word in started.read_text().split()]
    wait(lambda: not any(_lives(pid) for pid in pids))


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_program_that_is_not_there_is_a_failure_like_any_other() -> None:
    with capture_logs() as said:
        hook = AlertHook(["/nowhere/at-all"])
        hook.start()
        hook.offer(event())
        wait(lambda: hook.failures == 1)
        hook.stop()

    assert said[0]["reason"] == "it cannot be started: No such file or directory"


def test_no_shell_reads_the_arguments(make_hook: MakeHook, tmp_path: Path) -> None:
    told = tmp_path / "told"
    make_hook("import sys; open(sys.argv[1], 'w').write(sys.argv[2])", told, "$HOME; `id` *").offer(event())

    wait(lambda: lines(told))
    assert lines(told) == ["$HOME; `id` *"]


def test_what_only_the_agent_may_use_is_not_in_its_environment() -> None:
    """Its supervisor would take the program's word for the agent's."""
    given = {"PATH": "/bin", "NOTIFY_SOCKET": "/run/n", "LISTEN_FDS": "1", "LISTEN_PID": "2", "WATCHDOG_USEC": "3"}

    assert hook_environment(given) == {"PATH": "/bin"}


def test_the_line_is_of_limited_length(make_hook: MakeHook, tmp_path: Path) -> None:
    """What does not fit is counted and logged once; whoever offers never waits."""
    go_on, begun = tmp_path / "go-on", tmp_path / "begun"
    program = (
        "import pathlib, sys, time; open(sys.argv[2], 'w')\n"
        "while not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.01)"
    )
    with capture_logs() as said:
        hook = make_hook(program, go_on, begun, line_length=2)
        hook.offer(event(1))
        wait(begun.exists)
        for number in range(2, 7):
            hook.offer(event(number))
        dropped = hook.dropped
        go_on.touch()
        wait(lambda: hook.runs == 3)

    assert dropped == 3
    assert [line["log_level"] for line in said if line["event"] == "hook.dropped"] == ["warning", "debug", "debug"]


def test_without_a_program_nothing_is_run_and_nothing_waits(make_hook: MakeHook, tmp_path: Path) -> None:
    """What is in the line when the program is taken away is forgotten; a new one reads what comes then."""
    go_on, begun, told = tmp_path / "go-on", tmp_path / "begun", tmp_path / "told"
    program = (
        "import pathlib, sys, time; open(sys.argv[2], 'w')\n"
        "while not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.01)"
    )
    hook = make_hook(program, go_on, begun)
    hook.offer(event(1))
    wait(begun.exists)
    hook.offer(event(2))

    hook.retune(())
    hook.offer(event(3))
    hook.retune([sys.executable, "-c", APPEND, str(told)])
    hook.offer(event(4))
    go_on.touch()
    wait(lambda: lines(told))

    assert json.loads(lines(told)[0])["sequence"] == 4
    assert (hook.runs, hook.failures, hook.dropped) == (2, 0, 0)


def test_who_wants_no_program_pays_for_no_thread() -> None:
    before = threading.active_count()
    hook = AlertHook()
    hook.offer(event())
    hook.retune(())
    hook.stop()

    assert threading.active_count() == before
    assert hook.runs == 0


def test_stopping_ends_the_run_that_is_going_on(make_hook: MakeHook, tmp_path: Path) -> None:
    """The agent does not wait for it to end by itself."""
    begun = tmp_path / "begun"
    hook = make_hook("import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)", begun)
    hook.offer(event())
    wait(lambda: lines(begun))

    hook.stop()

    wait(lambda: not _lives(int(begun.read_text())))
    assert hook.failures == 0


def test_bytes_of_a_path_that_are_no_text_do_not_stop_the_message() -> None:
    """JSON is ASCII."""
    assert json.loads(message(event(text="\udcff")))["evidence"] == {"text": "\udcff"}


@pytest.mark.parametrize(
    ("mode", "folder_mode", "trusted"),
    [(0o600, 0o700, True), (0o644, 0o755, True), (0o664, 0o755, False), (0o602, 0o755, False), (0o644, 0o777, False)],
)
def test_a_configuration_that_others_may_write_is_not_trusted(
    tmp_path: Path, mode: int, folder_mode: int, *, trusted: bool
) -> None:
    """Nor one in a folder where they could put another in its place."""
    folder = tmp_path / "config"
    folder.mkdir()
    config = folder / "config.toml"
    config.touch()
    config.chmod(mode)
    folder.chmod(folder_mode)

    assert (distrust(config) is None) == trusted


def test_a_link_that_others_may_turn_is_not_trusted(tmp_path: Path) -> None:
    """Whoever may write the folder of the link may let it lead to a file of ours that says something else."""
    config, shared = tmp_path / "config.toml", tmp_path / "shared"
    config.touch(0o600)
    shared.mkdir()
    shared.chmod(0o777)
    (shared / "link").symlink_to(config)

    assert (distrust(config), distrust(shared / "link")) == (None, f"the folder {shared} may be written by others")


@pytest.mark.needs_root
def test_a_configuration_of_another_user_is_not_trusted(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.touch(0o600)
    os.chown(config, 65534, 65534)

    assert "another user" in (distrust(config) or "")


def test_a_configuration_that_is_gone_is_not_trusted(tmp_path: Path) -> None:
    assert distrust(tmp_path / "gone") is not None
