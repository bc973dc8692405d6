"""Owns what is said about weights files beside those that are loaded. Reads their first bytes at most."""

import os
from collections.abc import Collection, Iterator

from pumas_agent.bundles.bundle import LFS_MARKS, Bundle, Component, Unusable
from pumas_agent.bundles.findings import FindingCode, Problem, notice

_WEIGHTS = (".safetensors", ".bin")
_LENGTH_BYTES = 8


def unused_damage(bundle: Bundle, component: Component, loaded: Collection[str]) -> Iterator[Problem]:
    """Weights beside those that are loaded are worth keeping only when they are whole."""
    for name in sorted(bundle.names(component.folder)):
        path = component.path(name)
        if name.endswith(_WEIGHTS) and path not in loaded and bundle.is_file(path):
            try:
                damage = _damage(bundle, path)
            except Unusable:
                damage = "cannot be read"
            if damage is not None:
                what = f"{path} is not loaded, and {damage}"
                yield notice(FindingCode.UNUSED_WEIGHTS_DAMAGED, what, path)


def _damage(bundle: Bundle, path: str) -> str | None:
    """What the first bytes tell."""
    with bundle.open(path) as descriptor:
        size = os.fstat(descriptor).st_size
        start = os.pread(descriptor, 64, 0)
    if not start:
        return "is empty"
    if start.startswith(LFS_MARKS):
        return "is a Git LFS pointer"
    if path.endswith(".safetensors"):
        header_end = _LENGTH_BYTES + int.from_bytes(start[:_LENGTH_BYTES], "little")
        if len(start) < _LENGTH_BYTES or header_end > size:
            return "is shorter than its header"
    return None
