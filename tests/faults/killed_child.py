"""A child process that does one thing to a library and is killed in the middle of it.

Run as a program: `killed_child.py ROOT`. Reads lines `ACTION KEY POINT` from its input; for each it forks a child that
opens the library, prepares what the action needs, and then acts, counting the moments at which it could be killed:
every line of the commit path, the moments before and after every system call and every call into SQLite in it, every
statement that SQLite runs, those of its triggers too. At moment number POINT the child kills itself with SIGKILL. The
answer is one line of JSON: `before` (the feed's cursor when the action began), `reported` (the action returned, so its
caller knows that it was done) and `killed`.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from pumas_agent.contracts.metadata import ModelMetadata
from pumas_agent.library import ACTIVE, DEPRECATED, BindingRow, Library, ModelStore, ProfileRow
from pumas_agent.library import dependency_store as dependency_store_module
from pumas_agent.library import dependency_tables as dependency_tables_module
from pumas_agent.library import files as files_module
from pumas_agent.library import index as index_module
from pumas_agent.library import places as places_module
from pumas_agent.library import references as references_module
from pumas_agent.library import store as store_module

_COMMIT_PATH = {
    module.__file__
    for module in (
        *(store_module, places_module, files_module, index_module, references_module),
        *(dependency_store_module, dependency_tables_module),
    )
}
_LOOKS_ONLY = {"_require_storable", "order", "ref", "_json", "_text", "_optional", "_int"}  # many lines, no effect
_SEAMS = {
    "open", "write", "flush", "fsync", "link", "replace", "rename", "unlink", "mkdir", "rmdir", "execute",
    "executemany", "close",
}  # fmt: skip


class KillPoints:
    """Counts the moments of an action, and kills the process at one of them."""

    def __init__(self, point: int) -> None:
        self._left = point

    def _moment(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def _line(self, frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename not in _COMMIT_PATH or frame.f_code.co_name in _LOOKS_ONLY:
            return None
        if event == "line":
            self._moment()
        return self._line

    def _call(self, _: FrameType, event: str, argument: Any) -> None:
        if event in {"c_call", "c_return"} and argument.__name__ in _SEAMS:
            self._moment()

    def run(self, action: Callable[[], object], store: ModelStore) -> None:
        store._index._connection.set_trace_callback(lambda _: self._moment())
        sys.settrace(self._line)
        sys.setprofile(self._call)
        try:
            action()
        finally:
            sys.setprofile(None)
            sys.settrace(None)


def _rename(store: ModelStore, model_id: str, key: str) -> Callable[[], object]:
    old = "diffusion/crash/before"
    for name in (model_id, old):
        if (store.layout.root / name / "metadata.json").exists():
            store.remove(name)
    store.create(old, ModelMetadata(notes=f"before {key}", tags=[f"old{key}"]))
    store._index._connection.execute(
        "INSERT INTO model_metadata_overlays VALUES (?, ?, '{}', 'active', NULL, 'now', 'me')", (key, old)
    )
    return lambda: store.places.rename(old, model_id, {"notes": key, "tags": [f"new{key}"]})


def _adopt(store: ModelStore, model_id: str, key: str) -> Callable[[], object]:
    if (store.layout.root / model_id / "metadata.json").exists():
        store.places.move_to_trash(model_id)
    staged = store.places.stage()
    (staged / "weights.gguf").write_bytes(b"GGUF")
    return lambda: store.places.adopt_staged(model_id, staged, ModelMetadata(notes=key, tags=[f"new{key}"]))


def _bind(store: ModelStore, model_id: str, key: str, *, active: bool) -> Callable[[], object]:
    if (store.layout.root / model_id / "metadata.json").exists():
        store.remove(model_id)
    store.create(model_id, ModelMetadata(notes="first"))
    store.dependencies.put_profile(ProfileRow("p", 1, "hash", "container", "{}", "2026"))
    binding = BindingRow(key, model_id, "p", 1, "runtime", None, None, ACTIVE, 100, "me", "2026")
    if not active:
        store.dependencies.put_binding(binding, "me")
        binding = replace(binding, status=DEPRECATED)
    return lambda: store.dependencies.put_binding(binding, "me")


def _create(store: ModelStore, model_id: str, key: str) -> Callable[[], object]:
    if (store.layout.root / model_id / "metadata.json").exists():
        store.remove(model_id)
    return lambda: store.create(model_id, ModelMetadata(notes=key, tags=[f"new{key}"]))


_NEW: Mapping[str, Callable[[ModelStore, str, str], Callable[[], object]]] = {
    "create": _create,
    "rename": _rename,
    "adopt": _adopt,
    "bind": partial(_bind, active=True),
    "unbind": partial(_bind, active=False),
}
"""Actions that begin with a model that is not there, or with a new one."""


def prepare(store: ModelStore, action: str, model_id: str, key: str) -> Callable[[], object]:
    """Bring the model to where the action starts from, and give the action."""
    if action in _NEW:
        return _NEW[action](store, model_id, key)
    if not (store.layout.root / model_id / "metadata.json").exists():
        store.create(model_id, ModelMetadata(notes="first"))
    store.update(model_id, lambda record: record.model_copy(update={"notes": f"before {key}", "tags": [f"old{key}"]}))
    if action == "trash":
        (store.layout.root / model_id / "weights.gguf").write_bytes(b"GGUF")
        store.index_one(model_id)
        return lambda: store.places.move_to_trash(model_id)
    if action == "remove":
        return lambda: store.remove(model_id)
    return lambda: store.update(
        model_id, lambda record: record.model_copy(update={"notes": key, "tags": [f"new{key}"]})
    )


def child(root: Path, action: str, key: str, point: int, report: int) -> None:
    library = Library.open(root, "command")
    store = library._store
    assert store is not None
    act = prepare(store, action, f"diffusion/crash/{action}", key)
    os.write(report, f"{library.catalog.generation}\n".encode())
    KillPoints(point).run(act, store)
    os.write(report, b"done\n")
    os.kill(os.getpid(), signal.SIGKILL)  # never a clean end: the log of the index stays as it is


def main() -> None:
    root = Path(sys.argv[1])
    for line in sys.stdin:
        action, key, point = line.split()
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                child(root, action, key, int(point), writing)
            finally:
                os._exit(70)
        os.close(writing)
        with os.fdopen(reading) as report:
            said = report.read().split()
        _, status = os.waitpid(pid, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        answer = {"before": int(said[0]) if said else None, "reported": "done" in said, "killed": killed}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
