"""What a change is, and the steps that changes are made of: each step alters files below a bundle's root."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Step = Callable[[Path], None]
"""Alters the copy of a bundle at the given root; may use the root's parent folder for what lies outside."""

LFS_POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)


@dataclass(frozen=True, slots=True)
class Change:
    """One deliberate change to a copy of the whole bundle called `base`."""

    name: str
    base: str
    step: Step
    arguments: Mapping[str, str | bool] = field(default_factory=dict)
    """What `from_pretrained` is called with besides the path."""
    place: str = "."
    """Where the changed bundle is, seen from the copy's root."""

    def make(self, root: Path) -> Path:
        """Alter the copy at `root`; the path of the bundle to judge."""
        self.step(root)
        return Path(os.path.normpath(root / self.place))


def steps(*parts: Step) -> Step:
    """Several steps, in order."""

    def run(root: Path) -> None:
        for part in parts:
            part(root)

    return run


def nothing(_root: Path) -> None:
    """The bundle as it is."""


def write(path: str, content: str | bytes) -> Step:
    """A file with this content, in place of whatever was there; its folders are made."""

    def run(root: Path) -> None:
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_symlink():
            target.unlink()
        target.write_bytes(content.encode() if isinstance(content, str) else content)

    return run


def rewrite(path: str, edit: Callable[[bytes], bytes]) -> Step:
    """The bytes of a file, edited."""

    def run(root: Path) -> None:
        target = root / path
        target.write_bytes(edit(target.read_bytes()))

    return run


def edit_json(path: str, edit: Callable[[dict[str, Any]], None]) -> Step:
    """The object in a JSON file, edited in place."""

    def run(root: Path) -> None:
        target = root / path
        content = json.loads(target.read_text(encoding="utf-8"))
        edit(content)
        target.write_text(json.dumps(content, indent=2), encoding="utf-8")

    return run


def set_keys(path: str, values: Mapping[str, Any]) -> Step:
    """Keys of a JSON object, set."""
    return edit_json(path, lambda content: content.update(values))


def drop_keys(path: str, *keys: str) -> Step:
    """Keys of a JSON object, removed."""

    def edit(content: dict[str, Any]) -> None:
        for key in keys:
            content.pop(key, None)

    return edit_json(path, edit)


def remove(*paths: str) -> Step:
    """Files, links or whole folders, gone."""

    def run(root: Path) -> None:
        for path in paths:
            target = root / path
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            else:
                target.unlink()

    return run


def rename(path: str, name: str) -> Step:
    """A file or folder under another path of the bundle."""

    def run(root: Path) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / path).rename(root / name)

    return run


def copy(path: str, name: str) -> Step:
    """A second copy of a file or folder, in place of what was there."""

    def run(root: Path) -> None:
        source, target = root / path, root / name
        if source.is_dir():
            if target.exists():
                shutil.rmtree(target)
            shutil.copytree(source, target)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())

    return run


def swap(first: str, second: str) -> Step:
    """Two files or folders in each other's place."""
    return steps(rename(first, ".swapped"), rename(second, first), rename(".swapped", second))


def cut(path: str, count: int) -> Step:
    """A file without its last `count` bytes."""
    return rewrite(path, lambda content: content[: len(content) - count])


def halve(path: str) -> Step:
    """The first half of a file."""
    return rewrite(path, lambda content: content[: len(content) // 2])


def append(path: str, more: bytes) -> Step:
    """A file with bytes after its end."""
    return rewrite(path, lambda content: content + more)


def mode(path: str, bits: int) -> Step:
    """The permission bits of a file or folder."""

    def run(root: Path) -> None:
        (root / path).chmod(bits)

    return run


def link(path: str, target: str) -> Step:
    """A symbolic link."""

    def run(root: Path) -> None:
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)

    return run


def move_outside(path: str) -> Step:
    """A file or folder kept beside the bundle, a link to it in its place."""

    def run(root: Path) -> None:
        outside = root.parent / "outside"
        outside.mkdir(exist_ok=True)
        target = outside / path.replace("/", "_")
        (root / path).rename(target)
        (root / path).symlink_to(target.resolve())

    return run


def directory(path: str) -> Step:
    """An empty folder."""

    def run(root: Path) -> None:
        (root / path).mkdir(parents=True)

    return run


def pipe(path: str) -> Step:
    """A named pipe in place of a file."""

    def run(root: Path) -> None:
        (root / path).unlink()
        os.mkfifo(root / path)

    return run
