"""A real agent in a process of its own, for the tests `test_agent_*`.

Owns starting, listening to, asking and ending it, and the rule that it ends well: exit code 0, nothing on stderr, and
no line in its log that a test did not expect. Never looks into the library for it.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

import pumas_agent
from pumas_agent.client import AgentClient
from pumas_agent.contracts.errors import AssetNotValid, ModelNotFound
from pumas_agent.demo.bundle import write_stable_diffusion_bundle

T = TypeVar("T")
DEADLINE_S = 10.0
_START_S = 60.0
NOBODY = 65534
_PAUSE = threading.Event()
"""Never set: a pause between two looks, so that a test leaves the processor to what it waits for."""
QUICK = {
    "PUMAS_AGENT_WATCH__DEBOUNCE_MS": "50",
    "PUMAS_AGENT_WATCH__MAX_DELAY_MS": "500",
    "PUMAS_AGENT_WATCH__IDENTITY_POLL_S": "0.5",
}


class AgentUnderTest:
    """An agent with a library and a socket under `folder`, and what it said so far."""

    def __init__(
        self,
        folder: Path,
        *,
        library: Path | None,
        socket: Path | None,
        environ: Mapping[str, str],
        within: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> None:
        self.library = library or folder / "library"
        self.socket = socket or folder / "agent.sock"
        self.lines: list[dict[str, Any]] = []
        self.expected: set[str] = set()
        """Events that may be logged as an error, beside alerts."""
        self._changed = threading.Condition()
        self._ended = False
        self._clients: list[AgentClient] = []
        flags = "--library", str(self.library), "--socket", str(self.socket)
        self.process = subprocess.Popen(
            [*within, sys.executable, "-m", "pumas_agent", *flags, "run", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **QUICK, **environ},
        )
        self._errors: list[str] = []
        self._readers = [
            threading.Thread(target=self._read_log, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def client(self) -> AgentClient:
        """A client of the test's own thread."""
        if not self._clients:
            self.new_client()
        return self._clients[0]

    def new_client(self) -> AgentClient:
        """One more connection; it is closed at the end."""
        client = AgentClient(self.socket, timeout=30)
        self._clients.append(client)
        return client

    # --- what it says ------------------------------------------------------------------------------------------------

    def said(self, event: str, **fields: object) -> list[dict[str, Any]]:
        """Every line of that event, with those fields."""
        wanted = {"event": event, **fields}.items()
        return [line for line in tuple(self.lines) if wanted <= line.items()]

    def wait_for(self, event: str, *, after: int = 0, within_s: float = DEADLINE_S, **fields: object) -> dict[str, Any]:
        """The first line of that event, with those fields, from line `after` on."""
        wanted = {"event": event, **fields}

        def found() -> dict[str, Any] | None:
            return next((line for line in self.lines[after:] if wanted.items() <= line.items()), None)

        with self._changed:
            self._changed.wait_for(lambda: found() is not None or self._ended, within_s)
            line = found()
        assert line is not None, f"it did not say {wanted}; it said:\n{self._story()}"
        return line

    def ready(self) -> "AgentUnderTest":
        self.wait_for("agent.ready", within_s=_START_S)
        return self

    # --- what it is asked --------------------------------------------------------------------------------------------

    def register(self, bundle: Path, **params: Any) -> str:
        """Register a bundle under its folder's name; its id."""
        result = self.client.call(
            "import_external_diffusers_directory",
            **{"source_path": str(bundle), "family": "acme", "official_name": bundle.name, **params},
        )
        assert result["success"], result
        return str(result["model_id"])

    def model(self, model_id: str) -> dict[str, Any] | None:
        """One model as the index has it now; None when there is none. Judges nothing."""
        with suppress(ModelNotFound):
            return self.client.call("get_model", model_id=model_id)
        return None

    def state(self, model_id: str) -> str | None:
        """The validation state in the row: what was committed."""
        model = self.model(model_id)
        return None if model is None else model["metadata"]["validation_state"]

    def refusal(self, model_id: str) -> AssetNotValid | None:
        """Why a lookup is refused now; None when it is answered."""
        try:
            self.client.descriptor(model_id)
        except AssetNotValid as refusal:
            return refusal
        return None

    def alerts(self) -> set[tuple[str, str | None]]:
        """What stands, as (code, model id)."""
        return {(alert["code"], alert["model_id"]) for alert in self.client.call("agent.health")["alerts"]}

    def settled(self) -> None:
        """Wait until nothing is queued."""
        until(lambda: self.client.call("agent.status")["queue"] == 0, "an empty queue")

    def close_log(self) -> None:
        """Go away as the reader of its log: the pipe has no other end any more."""
        assert self.process.stdout is not None
        with Path(os.devnull).open("rb") as nothing:
            os.dup2(nothing.fileno(), self.process.stdout.fileno())

    # --- its end -----------------------------------------------------------------------------------------------------

    def hang_up(self) -> None:
        while self._clients:
            self._clients.pop().close()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Tell it to stop; it has to end well."""
        self.hang_up()
        self.process.send_signal(number)
        assert self.wait() == 0, self._story()
        assert not (faults := self.faults()), faults
        assert not self._errors, "".join(self._errors)

    def kill(self) -> None:
        """As a crash or the kernel would."""
        self.hang_up()
        self.process.kill()
        self.wait()

    def wait(self, within_s: float = _START_S) -> int:
        """Its exit code, with all it said read."""
        code = self.process.wait(within_s)
        for reader in self._readers:
            reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return code

    @property
    def errors(self) -> str:
        """What it wrote on stderr."""
        return "".join(self._errors)

    def faults(self) -> list[dict[str, Any]]:
        """Lines that no healthy run has: errors that are no alert, and whatever has a traceback."""
        return [
            line
            for line in self.lines
            if line["event"] not in self.expected
            and ("exception" in line or (line["level"] in {"error", "critical"} and "alert." not in line["event"]))
        ]

    def _story(self) -> str:
        return "\n".join([*(json.dumps(line) for line in self.lines[-20:]), *self._errors[-20:]])

    def _read_log(self) -> None:
        assert self.process.stdout is not None
        for raw in self.process.stdout:
            try:
                line = json.loads(raw)
            except ValueError:
                line = {"event": raw.decode(errors="backslashreplace"), "level": "error"}
            with self._changed:
                self.lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for raw in self.process.stderr:
            self._errors.append(raw.decode(errors="backslashreplace"))


StartAgent = Callable[..., AgentUnderTest]
MakeBundle = Callable[..., Path]


def until(condition: Callable[[], T], what: str, within_s: float = DEADLINE_S) -> T:
    """The first true value of a condition, which is looked at until the deadline."""
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        _PAUSE.wait(0.01)
    return value


@pytest.fixture(name="until")
def _until() -> Callable[..., Any]:
    """See `until`."""
    return until


@pytest.fixture
def start(short_tmp: Path) -> Iterator[StartAgent]:
    """Starts agents, ready unless `wait=False`; each that still runs at the end is stopped and has to end well."""
    started: list[AgentUnderTest] = []

    def start(
        *,
        library: Path | None = None,
        socket: Path | None = None,
        wait: bool = True,
        within: Sequence[str] = (),
        options: Sequence[str] = (),
        **environ: str,
    ) -> AgentUnderTest:
        agent = AgentUnderTest(
            short_tmp, library=library, socket=socket, environ=environ, within=within, options=options
        )
        started.append(agent)
        return agent.ready() if wait else agent

    try:
        yield start
        for agent in started:
            if agent.process.poll() is None:
                agent.stop()
    finally:
        for agent in started:
            if agent.process.poll() is None:
                agent.kill()


@pytest.fixture(scope="module")
def shared_agent() -> Iterator[AgentUnderTest]:
    """A ready agent that serves the page, for the tests of one file that leave it as it was."""
    with tempfile.TemporaryDirectory(prefix="pumas-", dir="/tmp") as name:
        folder = Path(name).resolve()
        options = ("--web", "127.0.0.1:0")
        agent = AgentUnderTest(folder, library=None, socket=None, environ={"HOME": name}, options=options)
        try:
            yield agent.ready()
            agent.stop()
        finally:
            if agent.process.poll() is None:
                agent.kill()


@pytest.fixture
def as_nobody(short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Sequence[str]:
    """What to start an agent `within`, so that it runs as a user without any right, in a folder that is its own.

    In a mount namespace, because the interpreter may lie where only its owner may go (a home of mode 0700).
    """
    needed = {
        Path(sys.base_prefix).resolve(),
        Path(sys.prefix).resolve(),
        Path(pumas_agent.__file__).resolve().parents[1],
    }
    above = [[folder for folder in reversed(path.parents) if not folder.stat().st_mode & 0o001] for path in needed]
    hidden = {
        closed: sorted(path for path in needed if path.is_relative_to(closed))
        for closed in {folders[0] for folders in above if folders}
    }
    lines = ["set -e"]
    for number, (closed, paths) in enumerate(hidden.items()):
        kept = short_tmp / f"kept{number}"
        for place, path in enumerate(paths):
            (kept / str(place)).mkdir(parents=True)
            lines.append(f"mount --bind {shlex.quote(str(path))} {kept}/{place}")
        lines.append(f"mount -t tmpfs -o mode=755 none {shlex.quote(str(closed))}")
        for place, path in enumerate(paths):
            lines += [f"mkdir -p {shlex.quote(str(path))}", f"mount --bind {kept}/{place} {shlex.quote(str(path))}"]
    lines.append(f'exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups --inh-caps=-all "$@"')
    os.chown(short_tmp, NOBODY, NOBODY)
    monkeypatch.setenv("HOME", str(short_tmp))
    return "unshare", "--mount", "--propagation", "private", "sh", "-c", "\n".join(lines), "sh"


@pytest.fixture
def agent(start: StartAgent) -> AgentUnderTest:
    """A ready agent with an empty library and short intervals."""
    return start()


@pytest.fixture
def make_bundle(short_tmp: Path) -> MakeBundle:
    """Writes whole bundles: `make_bundle(name)` under `bundles/`, each name with other weights."""

    def make(name: str = "tiny", *, parent: Path | None = None) -> Path:
        root = (parent or short_tmp / "bundles") / name
        write_stable_diffusion_bundle(root, seed=sum(map(ord, name)))
        return root

    return make


@pytest.fixture
def steady_writes() -> Iterator[Callable[[Path], None]]:
    """Appends to a file, some hundred times a second, until the test ends."""
    done = threading.Event()
    writers: list[threading.Thread] = []

    def write(path: Path) -> None:
        with path.open("a") as file:
            while not done.wait(0.002):
                file.write("more\n")
                file.flush()

    def begin(path: Path) -> None:
        writers.append(threading.Thread(target=write, args=(path,)))
        writers[-1].start()

    yield begin
    done.set()
    for writer in writers:
        writer.join()
