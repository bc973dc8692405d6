"""Owns the reading of weights files, each once an examination: the header of a safetensors file, the outside of a
pickle.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pumas_agent.bundles.bundle import Bundle, Unusable
from pumas_agent.bundles.findings import Problem
from pumas_agent.bundles.weights.pickles import check_pickle
from pumas_agent.bundles.weights.safetensors import MAX_HEADER_BYTES, Tensors, read_header

SAFETENSORS = ".safetensors"


@dataclass(frozen=True, slots=True)
class WeightFile:
    """A file that its library would read."""

    size_bytes: int
    tensors: Tensors | None
    """None for a pickle, which is not opened."""
    parameters: Mapping[str, int] = field(default_factory=dict)
    """How many numbers, by dtype."""


class WeightFiles:
    """The weights files of one bundle: variants share some."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._known: dict[str, WeightFile | Problem] = {}
        self._header_bytes_left = MAX_HEADER_BYTES  # of all together: ten thousand shards may have the limit each

    def read(self, path: str) -> WeightFile:
        """The file at a path relative to the bundle root; its name decides how it is read, as in both libraries.

        Raises:
            Unusable: its library would refuse it.
        """
        if path not in self._known:
            try:
                self._known[path] = self._read(path)
            except Unusable as unusable:
                self._known[path] = unusable.problem
        found = self._known[path]
        if isinstance(found, Problem):
            raise Unusable(found)
        return found

    def _read(self, path: str) -> WeightFile:
        if path.endswith(SAFETENSORS):
            header = read_header(self._bundle, path, self._header_bytes_left)
            self._header_bytes_left -= header.header_bytes
            return WeightFile(header.size_bytes, header.tensors, header.parameters)
        return WeightFile(check_pickle(self._bundle, path), None)
