"""An agent in a process of its own, with a bare echo on the same event loop to compare with."""

import asyncio
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pumas_agent.agent import Agent
from pumas_agent.client import AgentClient
from pumas_agent.settings import load_settings
from tests.bench.echo import serve_echo

_START_S = 120.0


@contextmanager
def running_agent(library: Path) -> Iterator[tuple[Path, Path]]:
    """The sockets of an agent on `library` and of the echo beside it, once it has looked at everything."""
    with tempfile.TemporaryDirectory(prefix="pumas-bench-") as folder:
        agent, echo = Path(folder, "agent.sock"), Path(folder, "echo.sock")
        with Path(folder, "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.bench.service", str(library), str(agent), str(echo)], stdout=log
            )
        try:
            deadline = time.monotonic() + _START_S
            while not (agent.exists() and echo.exists()):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the agent did not start: {Path(folder, 'log').read_text()}")
                time.sleep(0.01)
            with AgentClient(agent, timeout=_START_S) as client:
                client.call("reconcile")
                while client.call("agent.status")["queue"]:
                    time.sleep(0.05)
            yield agent, echo
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


async def _serve(library: str, agent_path: str, echo_path: str) -> None:
    settings = load_settings(
        None, {}, {"library": {"root": library}, "socket": {"path": agent_path}, "log": {"level": "error"}}
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    agent = Agent(settings)
    await agent.start(given_up=stop.is_set)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(echo_path)
    server = await serve_echo(listener)
    await stop.wait()
    server.close()
    await agent.stop()


if __name__ == "__main__":
    asyncio.run(_serve(*sys.argv[1:]))
