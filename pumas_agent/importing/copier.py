"""Copies and hashes files in a niced process of its own. Owns its start, its cancellation, and what its errors mean."""

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pumas_agent.contracts.errors import ImportFailed, InternalError, NotEnoughSpace, PumasError, SourceChanged
from pumas_agent.importing.formats import HEAD_BYTES
from pumas_agent.importing.tree import SourceFile

_LINE = 64 * 1024 * 1024
_REAP_S = 1.0
"""How long a killed process is waited for; one that hangs in the kernel is left to it."""
_ERRORS: dict[str, tuple[type[PumasError], str]] = {
    "changed": (SourceChanged, "import it when nothing writes to it any more"),
    "space": (NotEnoughSpace, "free space on the library's disk"),
    "io": (ImportFailed, "check the disks that hold the source and the library"),
}


@dataclass(frozen=True, slots=True)
class HashedFile:
    """A file that was read to its end. `name` is its path below the source; digests are lower-case hexadecimal."""

    name: str
    size: int
    sha256: str
    blake3: str
    head: bytes


async def copy_files(
    files: Sequence[SourceFile], target: Path | None, progress: Callable[[int], None]
) -> list[HashedFile]:
    """Copy files below `target`, hashed in the same pass and flushed to the disk; with no target only hash them.

    When the task is cancelled the process is ended before this returns, so that the target can be removed; one that
    waits for a disk that does not answer is left to that.

    Args:
        files: what to copy; each is refused when its size or time is another one by now.
        target: an empty folder.
        progress: told the bytes done, about ten times a second.

    Raises:
        SourceChanged: a file was written meanwhile.
        NotEnoughSpace: the disk of the target is full.
        ImportFailed: something could not be read or written.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",  # nothing of the folder or the environment it is started in
        str(Path(__file__).with_name("copy_worker.py")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LINE,
        process_group=0,
    )
    try:
        answer = await _converse(process, files, target, progress)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_REAP_S):
                await process.wait()
    if "error" in answer:
        kind, hint = _ERRORS.get(answer["error"]["kind"], (InternalError, "the log has the details"))
        raise kind(str(answer["error"]["message"]), hint=hint)
    return [
        HashedFile(one["name"], one["size"], one["sha256"], one["blake3"], bytes.fromhex(one["head"]))
        for one in answer["files"]
    ]


async def _converse(
    process: asyncio.subprocess.Process,
    files: Sequence[SourceFile],
    target: Path | None,
    progress: Callable[[int], None],
) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    asked = {
        "files": [(str(file.path), file.name, file.size, file.mtime_ns) for file in files],
        "target": None if target is None else str(target),
        "head": HEAD_BYTES,
    }
    try:
        process.stdin.write(json.dumps(asked).encode() + b"\n")
        await process.stdin.drain()
        while line := await process.stdout.readline():
            answer: dict[str, Any] = json.loads(line)
            if "done" not in answer:
                return answer
            progress(answer["done"])
    except (ConnectionError, ValueError) as error:
        raise InternalError(f"the process that copies said nothing that is an answer: {error}") from error
    raise InternalError("the process that copies ended before its work", hint="the log has the details")
