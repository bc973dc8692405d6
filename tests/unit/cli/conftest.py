"""A stand-in for the agent: a real socket that answers each method with what the test prepared."""

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

Answers = Mapping[str, Mapping[str, Any]]
StartAgent = Callable[[Answers], list[dict[str, Any]]]


class _StubAgent:
    """Answers one line at a time; an answer with the key `rpc_error` is an error. Requests are kept in `received`."""

    def __init__(self, path: Path, answers: Answers) -> None:
        self.received: list[dict[str, Any]] = []
        self._answers = answers
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as stream:
                for line in stream:
                    request = json.loads(line)
                    self.received.append({"method": request["method"], **request.get("params", {})})
                    answer = self._answers[request["method"]]
                    body = {"error": answer["rpc_error"]} if "rpc_error" in answer else {"result": answer}
                    stream.write(json.dumps({"jsonrpc": "2.0", "id": request["id"], **body}).encode() + b"\n")
                    stream.flush()


@pytest.fixture
def socket_path(tmp_path: Path, short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the commands of this test look for an agent; their home folder is empty."""
    for name in ("PUMAS_AGENT_CONFIG", "PUMAS_AGENT_LIBRARY", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    path = short_tmp / "agent.sock"
    monkeypatch.setenv("PUMAS_AGENT_SOCKET", str(path))
    return path


@pytest.fixture
def start_agent(socket_path: Path) -> Iterator[StartAgent]:
    """Starts the stand-in with its answers and gives the list of the requests it receives."""
    running: list[_StubAgent] = []

    def start(answers: Answers) -> list[dict[str, Any]]:
        running.append(_StubAgent(socket_path, answers))
        return running[-1].received

    yield start
    for agent in running:
        agent.stop()
