"""Which modalities a model takes and gives, as far as its packages depend on them. Pure."""

from collections.abc import Iterable

from pumas_agent.contracts.tasks import modalities_of

MODALITIES = frozenset({
    "text", "image", "audio", "video", "document", "mask", "depth", "bbox", "keypoints", "action", "3d", "embedding",
    "tabular", "timeseries", "rl-state", "any", "unknown",
})  # fmt: skip
"""The canonical tokens."""
UNSETTLED = frozenset({"any", "unknown"})
"""Tokens that say nothing about which packages are needed."""


def modalities(override: Iterable[str], recorded: Iterable[str], task: str | None) -> frozenset[str]:
    """What a profile says for this binding, else what the model's record says, else what its task implies.

    Empty, or with `any` or `unknown` in it, when that leaves open what is needed.
    """
    for said in (override, recorded):
        if tokens := frozenset(token.strip().lower() for token in said if token.strip()):
            return tokens
    implied = modalities_of(task)
    return frozenset(token for tokens in implied for token in tokens) - {"unknown"}
