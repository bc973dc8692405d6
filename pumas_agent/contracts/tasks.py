"""What goes into a model of a task and what comes out: tasks of the Hugging Face Hub, in the tokens of the record."""

import re

_TASKS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(("text-generation", "text2text-generation", "summarization", "translation"), ("text", "text")),
    **dict.fromkeys(("fill-mask", "text-classification", "token-classification"), ("text", "text")),
    "question-answering": ("text", "text"),
    "text-ranking": ("text+document", "text"),
    **dict.fromkeys(("feature-extraction", "sentence-similarity"), ("text", "embedding")),
    **dict.fromkeys(("text-to-image", "unconditional-image-generation"), ("text", "image")),
    "image-to-image": ("image", "image"),
    **dict.fromkeys(("image-text-to-image", "text-image-to-image"), ("text+image", "image")),
    "text-to-video": ("text", "video"),
    "image-to-video": ("image", "video"),
    **dict.fromkeys(("text-to-audio", "text-to-speech"), ("text", "audio")),
    "audio-to-audio": ("audio", "audio"),
    **dict.fromkeys(("automatic-speech-recognition", "audio-to-text"), ("audio", "text")),
    "audio-classification": ("audio", "text"),
    "image-to-text": ("image", "text"),
    **dict.fromkeys(("image-text-to-text", "visual-question-answering"), ("text+image", "text")),
    **dict.fromkeys(("video-text-to-text", "video-question-answering"), ("text+video", "text")),
    "video-to-text": ("video", "text"),
    **dict.fromkeys(("image-classification", "zero-shot-image-classification"), ("image", "text")),
    **dict.fromkeys(("object-detection", "zero-shot-object-detection"), ("image", "bbox")),
    **dict.fromkeys(("image-segmentation", "mask-generation"), ("image", "mask")),
    "depth-estimation": ("image", "depth"),
    "keypoint-detection": ("image", "keypoints"),
    "text-to-3d": ("text", "3d"),
    "image-to-3d": ("image", "3d"),
}


def task_name(given: str | None) -> str | None:
    """A task as records write it: lower case, words joined by dashes; None when nothing is said."""
    return re.sub(r"[^a-z0-9]+", "-", (given or "").lower()).strip("-") or None


def modalities_of(task: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What goes in and what comes out; `unknown` for a task that is not known."""
    inputs, outputs = _TASKS.get(task_name(task) or "", ("unknown", "unknown"))
    return tuple(inputs.split("+")), tuple(outputs.split("+"))
