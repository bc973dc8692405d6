"""Which modalities a model takes and gives, as far as its packages depend on them. Pure."""

from collections.abc import Iterable

MODALITIES = frozenset({
    "text", "image", "audio", "video", "document", "mask", "depth", "bbox", "keypoints", "action", "3d", "embedding",
    "tabular", "timeseries", "rl-state", "any", "unknown",
})  # fmt: skip
"""The canonical tokens."""
UNSETTLED = frozenset({"any", "unknown"})
"""Tokens that say nothing about which packages are needed."""

_OF_TASK: dict[str, tuple[str, ...]] = {
    "text-generation": ("text",),
    "text-to-image": ("text", "image"),
    "image-to-image": ("image",),
    "text-image-to-image": ("text", "image"),
    "text-to-audio": ("text", "audio"),
    "audio-to-audio": ("audio",),
    "audio-to-text": ("audio", "text"),
    "image-to-text": ("image", "text"),
    "image-segmentation": ("image", "mask"),
    "depth-estimation": ("image", "depth"),
    "object-detection": ("image", "bbox"),
    "video-to-text": ("video", "text"),
    "text-ranking": ("text", "document"),
    "visual-question-answering": ("text", "image"),
    "video-question-answering": ("text", "video"),
    "text-to-video": ("text", "video"),
    "text-to-3d": ("text", "3d"),
    "image-to-3d": ("image", "3d"),
}


def modalities(override: Iterable[str], recorded: Iterable[str], task: str | None) -> frozenset[str]:
    """What a profile says for this binding, else what the model's record says, else what its task implies.

    Empty, or with `any` or `unknown` in it, when that leaves open what is needed.
    """
    for said in (override, recorded):
        if tokens := frozenset(token.strip().lower() for token in said if token.strip()):
            return tokens
    return frozenset(_OF_TASK.get((task or "").strip().lower(), ()))
