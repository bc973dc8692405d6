"""Owns the index of weights in shards: which files it names, and whether they hold what it says. Reads no weights."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from pumas_agent.bundles.bundle import LFS_MARKS, Bundle, Unusable
from pumas_agent.bundles.findings import FindingCode, Problem, fatal, notice
from pumas_agent.bundles.weights.safetensors import Tensors

MAX_INDEX_BYTES = 64 * 1024 * 1024
MAX_SHARDS = 10_000


@dataclass(frozen=True, slots=True)
class ShardIndex:
    """A sound index."""

    path: str
    """Relative to the bundle root."""
    weight_map: Mapping[str, str]
    """From the name of each tensor to the name of its shard."""

    @property
    def shards(self) -> list[str]:
        """The files relative to the bundle root, in the order in which they are loaded."""
        folder = PurePosixPath(self.path).parent
        return [str(folder / name) for name in sorted(set(self.weight_map.values()))]


def read_index(bundle: Bundle, path: str) -> ShardIndex:
    """The index at `path`, with shards that lie beside it.

    Raises:
        Unusable: it cannot be read, or diffusers and transformers (`get_checkpoint_shard_files`) would refuse it.
    """
    content = bundle.read(path, MAX_INDEX_BYTES)
    if content.startswith(LFS_MARKS):
        raise _invalid(path, "is a Git LFS pointer, not the index itself")
    try:
        document = json.loads(content.decode("utf-8"))
    except ValueError as error:
        raise _invalid(path, f"is not UTF-8 JSON: {error}") from error
    except RecursionError as error:
        raise _invalid(path, "is nested too deeply") from error
    weight_map = _weight_map(path, document)
    index = ShardIndex(path, weight_map)
    for name in set(weight_map.values()):
        if "/" in name or name in (".", ".."):
            what = f"{path} names the shard {name!r:.100}, which does not lie beside it"
            raise Unusable(fatal(FindingCode.PATH_ESCAPE, what, path))
    return index


def missing_shards(bundle: Bundle, index: ShardIndex) -> Iterator[Problem]:
    """Each shard is a file: one that is not is reported."""
    for shard in index.shards:
        if not bundle.is_file(shard):
            what = f"{shard} is missing, which {index.path} names"
            yield bundle.no_file(shard, FindingCode.MISSING_SHARD, what)


def disagreements(index: ShardIndex, shards: Mapping[str, Tensors], *, described: bool) -> Iterator[Problem]:
    """Each tensor of the index is in a shard; both libraries load a bundle without, and draw from random numbers.

    A tensor in another shard than the index says, or in none of its lines, is loaded all the same.

    Args:
        index: of the weights.
        shards: the tensors of each file.
        described: it is known what the model is made of, by which its tensors are judged; others it does without.
    """
    folder = PurePosixPath(index.path).parent
    held = {name for tensors in shards.values() for name in tensors}
    in_shard = {shard: shards.get(str(folder / shard), {}) for shard in set(index.weight_map.values())}
    missing = sorted(index.weight_map.keys() - held)
    if missing:
        what = f"{_listed(missing)} of {index.path} {'is' if len(missing) == 1 else 'are'} in no shard"
        if described:
            yield notice(FindingCode.SHARD_INDEX_DISAGREES, what, index.path)
        else:
            yield fatal(FindingCode.WEIGHTS_INCOMPLETE, what, index.path)
    unlisted = sorted(held - index.weight_map.keys())
    moved = sorted(name for name, shard in index.weight_map.items() if name in held and name not in in_shard[shard])
    if unlisted or moved:
        what = f"{index.path} does not say where {_listed([*unlisted, *moved])} lies"
        yield notice(FindingCode.SHARD_INDEX_DISAGREES, what, index.path)


def _weight_map(path: str, document: Any) -> dict[str, str]:
    weight_map = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(weight_map, dict) or not all(isinstance(shard, str) for shard in weight_map.values()):
        raise _invalid(path, "has no weight_map from tensors to shards")
    if not isinstance(document.get("metadata"), dict):
        raise _invalid(path, "has no metadata, which the libraries ask for")
    if not weight_map:
        raise Unusable(fatal(FindingCode.WEIGHTS_INCOMPLETE, f"{path} names no tensor", path))
    if len(set(weight_map.values())) > MAX_SHARDS:
        raise _invalid(path, f"names more than {MAX_SHARDS} shards")
    return weight_map


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
    return f"{names[0]:.100}{more}"


def _invalid(path: str, what: str) -> Unusable:
    return Unusable(fatal(FindingCode.INVALID_SHARD_INDEX, f"{path} {what}", path))
