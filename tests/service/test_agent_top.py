"""`pumas-agent top` against a real agent: on a screen by its keys, on a real terminal, and printed once."""

import asyncio
import fcntl
import json
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import termios
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from textual.pilot import Pilot

from pumas_agent.cli.top.screen import TopApp

if TYPE_CHECKING:
    from tests.service.conftest import AgentUnderTest, MakeBundle, StartAgent

_DEADLINE_S = 30.0
HOSTILE = "Broken \x1b]0;title\x07 \x9b2J [red]name[/red] \u202e"
ESCAPED = r"Broken \x1b]0;title\x07 \x9b2J [red]name[/red] \u202e"
_COLOURS = re.compile(rb"\x1b\[[0-9;]*(?<![0-9])(3[0-7]|4[0-7]|9[0-7]|10[0-7]|[34]8)(?![0-9])[0-9;]*m")
WITHOUT_TEXTUAL = """
import sys
sys.modules["textual"] = None
from pumas_agent.cli import main
sys.exit(main(sys.argv[1:]))
"""


def drawn(pilot: Pilot[None]) -> str:
    """The words on the screen now."""
    return "\n".join(strip.text for strip in pilot.app.screen._compositor.render_strips())


async def shows(pilot: Pilot[None], *wanted: str, without: str | None = None) -> str:
    """The screen, once it holds all of these words, and not those."""
    deadline = time.monotonic() + _DEADLINE_S
    while True:
        await pilot.pause()
        screen = drawn(pilot)
        if all(words in screen for words in wanted) and (without is None or without not in screen):
            return screen
        assert time.monotonic() < deadline, f"not {wanted} without {without}:\n{screen}"
        await asyncio.sleep(0.05)


async def becomes(condition: Callable[[], bool]) -> None:
    """Until it holds."""
    deadline = time.monotonic() + _DEADLINE_S
    while True:
        if condition():
            return
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


@asynccontextmanager
async def watching(agent: "AgentUnderTest", columns: int = 100, lines: int = 30) -> AsyncIterator[Pilot[None]]:
    """The screen of `top` on an agent."""
    app = TopApp(agent.socket)
    async with app.run_test(size=(columns, lines)) as pilot:
        yield pilot


async def test_what_breaks_comes_first_at_once_and_goes_when_it_is_whole(
    agent: "AgentUnderTest", make_bundle: "MakeBundle"
) -> None:
    """The alert with what to do about it, and its model above the others."""
    names = ("aaa", "mmm", "zzz")
    ids = {name: agent.register(make_bundle(name)) for name in names}
    root = make_bundle("zzz")
    async with watching(agent) as pilot:
        screen = await shows(pilot, "healthy", *ids.values(), " s ")
        assert [line.split()[2:4] for line in screen.splitlines() if " valid " in line and "diffusion/" in line] == [
            ["s", "-"] for _ in names
        ]

        (root / "unet").rename(root / "gone")
        screen = await shows(pilot, "unhealthy", "error bundle_incomplete", "-> restore what", "degraded")
        lines = [line for line in screen.splitlines() if "acme/" in line]
        assert [ids["zzz"] in line for line in lines] == [True, True, False, False]
        assert lines[1].split()[0] == "degraded"
        assert screen.splitlines()[0].startswith("unhealthy   1 alert   3 models (2 valid, 1 degraded)")

        (root / "gone").rename(root / "unet")
        await shows(pilot, "healthy   no alerts", without="bundle_incomplete")


async def test_the_figures_are_those_of_the_agent(agent: "AgentUnderTest", make_bundle: "MakeBundle") -> None:
    """Rates by the second from what it counts; everything that an operator asks first is on the screen."""
    model_id = agent.register(make_bundle())
    async with watching(agent) as pilot:
        await shows(pilot, "queue 0", "workers", "last look", "watches", "roots 2 ", "memory", "files", "connections")
        screen = await shows(pilot, "cpu", "wake-ups", "lookups 0.0/s")
        assert re.search(r"cpu \d+\.\d%", screen)
        assert re.search(r"watches \d+ of [\d,]+ \(", screen)
        for _ in range(50):
            agent.client.descriptor(model_id)
        screen = await shows(pilot, without="lookups 0.0/s")
        assert float(re.findall(r"lookups ([\d.]+)/s", screen)[0]) > 0


async def test_it_says_that_the_agent_is_gone_and_goes_on_with_the_next(
    start: "StartAgent", make_bundle: "MakeBundle"
) -> None:
    """What is known of it stays on the screen, with the time it is of."""
    agent = start()
    model_id = agent.register(make_bundle())
    async with watching(agent, 120) as pilot:
        await shows(pilot, model_id, "healthy", f"pid {agent.pid}")
        await asyncio.to_thread(agent.stop)
        await shows(pilot, "no answer since", "trying again: no agent listens on", "what follows is of", model_id)

        again = await asyncio.to_thread(lambda: start(library=agent.library, socket=agent.socket))
        await shows(pilot, "healthy", f"pid {again.pid}", model_id, without="no answer since")
        shutil.rmtree(make_bundle() / "unet")
        await shows(pilot, "error bundle_incomplete")


async def test_a_filter_shows_what_holds_its_words(agent: "AgentUnderTest", make_bundle: "MakeBundle") -> None:
    """As it is typed, in any case; q is a letter meanwhile; Enter keeps it, Esc clears it."""
    one, other = agent.register(make_bundle("Quiet")), agent.register(make_bundle("loud"))
    async with watching(agent) as pilot:
        await shows(pilot, one, other)
        await pilot.press("slash", *"QUI")
        screen = await shows(pilot, one, "1 of 2 models", without=other)
        assert "QUI" in screen
        await pilot.press("enter")
        await shows(pilot, one, without=other)
        await pilot.press("escape")
        await shows(pilot, one, other, without="of 2 models")
        await pilot.press("slash", *"no such words")
        await shows(pilot, "0 of 2 models", without="diffusion/")
        await pilot.press("enter", "enter", "escape", "q")
    assert pilot.app.return_code == 0


async def test_enter_explains_the_model(agent: "AgentUnderTest", make_bundle: "MakeBundle") -> None:
    """What `explain` and `show` print, true while it is looked at; Esc leads back; one that is gone is said."""
    model_id = agent.register(root := make_bundle())
    async with watching(agent, 120, 60) as pilot:
        await shows(pilot, model_id)
        await pilot.press("enter")
        await shows(pilot, "noticed by", "StableDiffusionPipeline", "unet: ok", "registry folder", "Esc back")
        shutil.rmtree(root / "unet")
        await shows(pilot, "missing_component", "alert bundle_incomplete")
        agent.client.call("unregister_external_model", model_id=model_id)
        await shows(pilot, f"{model_id}: Model not found")
        await pilot.press("escape")
        await shows(pilot, "STATE", "no alerts", without=model_id)


async def test_to_look_at_a_model_costs_the_agent_nothing_while_nothing_happens(
    agent: "AgentUnderTest", make_bundle: "MakeBundle"
) -> None:
    """It is explained once, and then with each news: an explanation looks at the whole bundle."""
    model_id, other = agent.register(make_bundle()), agent.register(make_bundle("other"))
    agent.settled()
    async with watching(agent) as pilot:
        await shows(pilot, model_id, other)
        app = pilot.app
        assert isinstance(app, TopApp)
        asked: list[str] = []
        call = app.feed.client.call

        async def counted(method: str, **params: Any) -> dict[str, Any]:
            asked.append(method)
            return await call(method, **params)

        app.feed.client.call = counted  # type: ignore[method-assign, assignment]
        await pilot.press("enter")
        await shows(pilot, "noticed by")
        ended = asked.count("agent.status") + 3
        await becomes(lambda: asked.count("agent.status") >= ended)
        assert asked.count("explain_model") == 1
        agent.client.call("update_model", model_id=other, notes="new")
        await becomes(lambda: asked.count("explain_model") > 1)


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (200, 60), (40, 12)])
async def test_the_screen_fits_and_obeys_no_name(
    agent: "AgentUnderTest", make_bundle: "MakeBundle", short_tmp: Path, columns: int, lines: int
) -> None:
    """Escapes are spelt out and brackets are no markup, in rows, alerts and details."""
    root = make_bundle("x", parent=short_tmp / "folder \x1b[31m [bold]b[/bold]")
    model_id = agent.register(root, official_name=HOSTILE)
    for number in range(9):
        agent.register(make_bundle(f"whole-{number}"))
    shutil.rmtree(root / "unet")
    agent.wait_for("alert.raised")
    async with watching(agent, columns, lines) as pilot:
        main = await shows(pilot, "unhealthy", "bundle_incomplete", "degraded", "q quit")
        await pilot.press("enter")
        details = await shows(pilot, "degraded", "Esc back")

    for screen in (main, details):
        assert all(char == "\n" or char.isprintable() for char in screen)
        assert len(screen.splitlines()) == lines
    if columns == 200:
        assert ESCAPED in main
        assert r"folder \x1b[31m [bold]b[/bold]" in details
    assert model_id in details.replace("\n", "").replace(" ", "")


async def test_a_thousand_models_are_a_screen_like_any_other(agent: "AgentUnderTest") -> None:
    """The table holds the first five hundred, and says of how many; the cursor stays on its model."""
    async with watching(agent) as pilot:
        await shows(pilot, "healthy")
        app = pilot.app
        assert isinstance(app, TopApp)
        row = {
            "validation_state": "valid",
            "modelType": "diffusion",
            "storage_kind": "external_reference",
            "officialName": "x",
        }
        app.feed.view.models = [{"id": f"m-{number:05}", **row} for number in range(1000)]
        app.draw()
        await shows(pilot, "500 of 1,000 models", "m-00000")
        await pilot.press("pagedown", "down")
        before = app._shown[app._table.cursor_row].id
        app.feed.view.models = [{"id": "a-new", **row}, *app.feed.view.models]
        app.draw()
        assert app._shown[app._table.cursor_row].id == before != "m-00000"


# --- on a real terminal, and on none ---------------------------------------------------------------------------------


def on_terminal(command: list[str], key: bytes = b"", when: bytes = b"", **environ: str) -> tuple[int, bytes]:
    """The exit code, and all that was drawn; `key` is typed once `when` was drawn."""
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    env = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLORTERM"}}
    env |= {"TERM": "xterm-256color", **environ}
    process = subprocess.Popen(command, stdin=end, stdout=end, stderr=end, env=env, start_new_session=True)
    os.close(end)
    screen, deadline = b"", time.monotonic() + 60
    try:
        while True:
            assert time.monotonic() < deadline, screen
            if select.select([terminal], [], [], 0.1)[0]:
                screen += os.read(terminal, 65536)
                if key and when in screen:
                    os.write(terminal, key)
                    key = b""
    except OSError:  # EIO: the other end is closed
        pass
    finally:
        os.close(terminal)
        if time.monotonic() >= deadline:
            process.kill()
    return process.wait(30), screen


def command(agent: "AgentUnderTest", *args: str) -> list[str]:
    return [sys.executable, "-m", "pumas_agent", "--socket", str(agent.socket), "top", *args]


@pytest.mark.parametrize("no_color", [False, True])
@pytest.mark.parametrize("key", [b"q", b"\x03"])
def test_it_draws_on_a_terminal_until_it_is_told_to_stop(
    agent: "AgentUnderTest", key: bytes, *, no_color: bool
) -> None:
    """q, or Ctrl-C; no colour for who wants none; the terminal is given back."""
    environ = {"NO_COLOR": "1"} if no_color else {}

    code, screen = on_terminal(command(agent), key, b"no alerts", **environ)

    assert code == 0
    assert b"\x1b[?1049h" in screen
    assert b"\x1b[?1049l" in screen
    assert bool(_COLOURS.search(screen)) == (not no_color)


def test_without_textual_the_screen_says_what_to_install(agent: "AgentUnderTest") -> None:
    """And what is printed once needs nothing."""
    bare = [sys.executable, "-c", WITHOUT_TEXTUAL, "--socket", str(agent.socket), "top"]

    code, screen = on_terminal(bare)
    done = subprocess.run([*bare, "--json"], check=False, capture_output=True, text=True)

    assert code == 2
    assert b"pip install 'pumas-agent[top]'" in screen
    assert (done.returncode, json.loads(done.stdout)["schema"], done.stderr) == (0, "pumas-agent/top/1", "")


def test_only_the_screen_imports_textual(agent: "AgentUnderTest") -> None:
    """Neither the program, nor a command, nor `top` where it only prints."""
    program = "import sys; from pumas_agent.cli import main; main(sys.argv[1:]); sys.exit('textual' in sys.modules)"

    for args in (["--help"], ["status"], ["top", "--json"], ["top", "--help"]):
        done = subprocess.run(
            [sys.executable, "-c", program, "--socket", str(agent.socket), *args], check=False, capture_output=True
        )
        assert done.returncode == 0, args


def test_where_there_is_no_screen_it_is_printed_once(agent: "AgentUnderTest", make_bundle: "MakeBundle") -> None:
    """As text in a pipe or on a terminal that can do nothing, as one object with --json; 1 when something is wrong."""
    whole, broken = agent.register(make_bundle("whole")), agent.register(make_bundle("broken"))
    healthy = subprocess.run(command(agent), check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    shutil.rmtree(make_bundle("broken") / "unet")
    agent.wait_for("alert.raised")
    agent.settled()

    text = subprocess.run(command(agent), check=False, capture_output=True, text=True)
    code, dumb = on_terminal(command(agent), TERM="dumb")
    whole_object = subprocess.run(command(agent, "--json"), check=False, capture_output=True, text=True)

    assert (healthy.returncode, text.returncode, code, whole_object.returncode) == (0, 1, 1, 1)
    lines = text.stdout.splitlines()
    assert lines[0].startswith("health  unhealthy, 1 alert")
    assert lines[2].split()[:3] == ["bundle_incomplete", "error", broken]
    assert [line.split()[0] for line in lines if line.startswith("diffusion/")] == [broken, whole]
    assert "\x1b" not in text.stdout
    assert b"\x1b[?1049h" not in dumb
    told = json.loads(whole_object.stdout)
    assert [model["id"] for model in told["models"]] == [broken, whole]
    assert told["models"][0]["validated_at"] is not None
    assert told["status"]["pid"] == agent.pid
    assert set(told["rates"]) == {"lookups", "cpu", "wakeups"}
    assert told["figures"]["pumas_agent_models"] == told["models_total"] == 2


def test_without_an_agent_it_says_so(short_tmp: Path) -> None:
    """Exit code 3, on a terminal and in a pipe."""
    bare = [sys.executable, "-m", "pumas_agent", "--socket", str(short_tmp / "none"), "top"]

    code, screen = on_terminal(bare)
    done = subprocess.run([*bare, "--json"], check=False, capture_output=True, text=True)

    assert (code, done.returncode) == (3, 3)
    assert b"no agent listens on" in screen
    assert json.loads(done.stdout)["error"]["code"] == "agent_not_running"
