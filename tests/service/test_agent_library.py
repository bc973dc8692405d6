"""A running agent and models of its own: imported, cancelled, adopted by itself, deleted, while runtimes ask."""

import json
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pumas_agent.contracts.errors import ModelNotFound
from pumas_agent.demo.bundle import write_stable_diffusion_bundle

if TYPE_CHECKING:
    from tests.service.conftest import AgentUnderTest, StartAgent

Until = Callable[..., Any]
SLOW_BYTES = 6 * 1024**3
"""Sparse: no disk is filled, and copying it takes longer than anybody waits."""


def big_model(path: Path, size: int) -> Path:
    """A safetensors file with a hole in place of its numbers."""
    header = json.dumps({"x": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + size)
    return path


def ask(agent: "AgentUnderTest", *requests: dict[str, Any]) -> socket.socket:
    """A connection that has asked."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20)
    connection.connect(str(agent.socket))
    for request in requests:
        connection.sendall(json.dumps({"jsonrpc": "2.0", **request}).encode() + b"\n")
    return connection


def import_request(path: Path) -> dict[str, Any]:
    params = {"path": str(path), "family": "acme", "official_name": "big", "model_type": "llm"}
    return {"id": 7, "method": "import_model", "params": params}


def staged(agent: "AgentUnderTest") -> list[Path]:
    return list((agent.library / ".pumas-staging").glob("*/*"))


def no_copier(agent: "AgentUnderTest") -> bool:
    """No process of the agent copies."""
    children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
    lines = [Path(f"/proc/{child}/cmdline").read_bytes() for child in children if Path(f"/proc/{child}").exists()]
    return not any(b"copy_worker" in line for line in lines)


def test_an_import_is_cancelled_by_its_id_and_leaves_nothing(
    agent: "AgentUnderTest", until: Until, short_tmp: Path
) -> None:
    """It told how far it was; what it had copied is gone, and so is its process."""
    connection = ask(agent, import_request(big_model(short_tmp / "big.safetensors", SLOW_BYTES)))
    with connection, connection.makefile("rb") as answers:
        told = json.loads(answers.readline())
        assert (told["method"], told["params"]["stage"], told["params"]["unit"]) == ("progress", "copying", "bytes")
        assert staged(agent)

        connection.sendall(b'{"jsonrpc":"2.0","id":8,"method":"agent.cancel","params":{"id":7}}\n')

        done: dict[int, dict[str, Any]] = {}
        while len(done) < 2:
            answer = json.loads(answers.readline())
            if "id" in answer:
                done[answer["id"]] = answer
    assert done[8]["result"] == {"cancelled": True}
    assert "error" in done[7]
    until(lambda: not (agent.library / ".pumas-staging").exists() and no_copier(agent), "nothing is left")


def test_an_import_ends_with_its_caller(agent: "AgentUnderTest", until: Until, short_tmp: Path) -> None:
    """Ctrl-C in a terminal."""
    connection = ask(agent, import_request(big_model(short_tmp / "big.safetensors", SLOW_BYTES)))
    with connection, connection.makefile("rb") as answers:
        answers.readline()
    until(lambda: not (agent.library / ".pumas-staging").exists() and no_copier(agent), "nothing is left")
    with pytest.raises(ModelNotFound):
        agent.client.call("get_model", model_id="llm/acme/big")


def test_lookups_go_on_while_a_model_is_copied(agent: "AgentUnderTest", short_tmp: Path) -> None:
    root = short_tmp / "tiny"
    write_stable_diffusion_bundle(root)
    model_id = agent.register(root)
    connection = ask(agent, import_request(big_model(short_tmp / "big.safetensors", SLOW_BYTES)))
    with connection, connection.makefile("rb") as answers:
        answers.readline()
        for _ in range(50):
            assert agent.client.call("resolve_model_execution_descriptor", model_id=model_id)["entry_path"] == str(root)
        assert staged(agent)


def test_a_folder_that_appears_in_the_library_becomes_a_model_when_it_is_quiet(
    start: "StartAgent", until: Until, short_tmp: Path
) -> None:
    """A bundle too; a download that goes on does not. Nobody asked."""
    library = short_tmp / "library"
    write_stable_diffusion_bundle(library / "diffusion" / "acme" / "owned")
    (library / "llm" / "acme" / "partial").mkdir(parents=True)
    (library / "llm" / "acme" / "partial" / "w.gguf.part").write_bytes(b"GGUF" + bytes(60))
    for path in library.rglob("*"):
        os.utime(path, ns=(1, 1))
    agent = start().ready()

    until(lambda: agent.state("diffusion/acme/owned") == "valid", "it was adopted", within_s=40.0)

    descriptor = agent.client.call("resolve_model_execution_descriptor", model_id="diffusion/acme/owned")
    assert descriptor["entry_path"] == str(library / "diffusion" / "acme" / "owned")
    assert not (library / "llm" / "acme" / "partial" / "metadata.json").exists()
    partial = str(library / "llm" / "acme" / "partial")
    assert agent.said("model.not_adopted", path=partial, reason="w.gguf.part is a download that is not finished")


def test_a_deleted_model_is_refused_at_once_and_its_bundle_forgotten(agent: "AgentUnderTest", short_tmp: Path) -> None:
    write_stable_diffusion_bundle(short_tmp / "tiny")
    path = str(short_tmp / "tiny")
    model_id = agent.client.call("import_model", path=path, family="acme", official_name="tiny")["model_id"]
    assert agent.client.call("resolve_model_execution_descriptor", model_id=model_id)["validation_state"] == "valid"

    agent.client.call("delete_model_with_cascade", model_id=model_id)

    with pytest.raises(ModelNotFound):
        agent.client.call("resolve_model_execution_descriptor", model_id=model_id)
    agent.settled()
    assert agent.alerts() == set()


def test_a_bundle_of_the_library_is_not_taken_for_another_when_its_record_changes(
    agent: "AgentUnderTest", short_tmp: Path
) -> None:
    """Its record lies beside its components."""
    write_stable_diffusion_bundle(short_tmp / "tiny")
    path = str(short_tmp / "tiny")
    model_id = agent.client.call("import_model", path=path, family="acme", official_name="tiny")["model_id"]
    agent.client.call("update_model", model_id=model_id, notes="mine")
    agent.client.call("reconcile", model_id=model_id)
    agent.settled()

    assert agent.alerts() == set()
    assert agent.client.call("verify", model_id=model_id, deep=True)["differences"] == []
