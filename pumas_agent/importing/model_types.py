"""Which type a model is (`llm`, `diffusion` …): from what its files say of themselves, never from where they lie.

Owns the rules. A folder that happens to be called `audio` says nothing about the models in it, so paths are not looked
at; the model's own name is, last. Reads a config and a header, both bounded.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pumas_agent.bundles.reading import FileTooLarge, NotRegularFile, opened, read_file
from pumas_agent.importing.formats import FileFormat

MODEL_TYPES = ("llm", "vlm", "reranker", "diffusion", "embedding", "audio", "vision", "unknown")
UNKNOWN_TYPE = "unknown"
RESOLVER = "import-resolver"
_CONFIG_BYTES = 4 * 1024 * 1024
_HEADER_BYTES = 16 * 1024 * 1024
_GGUF_BYTES = 256 * 1024

_TASKS = {
    **dict.fromkeys(("text-generation", "text2text-generation", "summarization", "translation", "fill-mask"), "llm"),
    **dict.fromkeys(("question-answering", "text-classification", "token-classification"), "llm"),
    **dict.fromkeys(("image-text-to-text", "image-to-text", "visual-question-answering", "video-text-to-text"), "vlm"),
    **dict.fromkeys(("text-ranking",), "reranker"),
    **dict.fromkeys(
        ("text-to-image", "image-to-image", "text-to-video", "unconditional-image-generation"), "diffusion"
    ),
    **dict.fromkeys(("feature-extraction", "sentence-similarity"), "embedding"),
    **dict.fromkeys(("text-to-speech", "text-to-audio", "automatic-speech-recognition"), "audio"),
    **dict.fromkeys(("audio-classification", "audio-to-audio"), "audio"),
    **dict.fromkeys(("image-classification", "object-detection", "image-segmentation", "depth-estimation"), "vision"),
    **dict.fromkeys(("zero-shot-image-classification", "zero-shot-object-detection"), "vision"),
}
_CONFIG_TYPES = {
    **dict.fromkeys(("llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen3_moe", "gemma", "gemma2", "gemma3"), "llm"),
    **dict.fromkeys(("phi", "phi3", "falcon", "gpt2", "gpt_neox", "gpt_oss", "bloom", "opt", "deepseek_v3"), "llm"),
    **dict.fromkeys(("llava", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "idefics2", "paligemma", "florence2"), "vlm"),
    **dict.fromkeys(("stable-diffusion", "sdxl", "flux", "sd3"), "diffusion"),
    **dict.fromkeys(("whisper", "wav2vec2", "encodec", "bark", "musicgen", "speecht5"), "audio"),
    **dict.fromkeys(("vit", "clip_vision_model", "dinov2", "detr", "segformer", "yolos", "swin", "convnext"), "vision"),
    **dict.fromkeys(("bge", "nomic_bert", "e5"), "embedding"),
}
_ARCHITECTURES: tuple[tuple[str, str], ...] = (
    (r".*(Reward|Rerank).*", "reranker"),
    (r"(Whisper|Encodec).*|MossTTSDelayModel|.*For(SpeechSeq2Seq|AudioClassification|CTC|TextToWaveform)", "audio"),
    (r"VisionEncoderDecoderModel|(Florence|PaliGemma|Idefics|Blip|BLIP|Llava|Qwen\d.*VL).*", "vlm"),
    (r"UNet2D(Condition)?Model|AutoencoderKL.*|VQModel|StableDiffusion.*Pipeline|DiffusionPipeline", "diffusion"),
    (r".*Transformer2DModel|.*Pipeline", "diffusion"),
    (r"CLIPVisionModel.*|.*For(ImageClassification|ObjectDetection|SemanticSegmentation|DepthEstimation)", "vision"),
    (r".*For(CausalLM|MaskedLM|ConditionalGeneration|(Sequence|Token)Classification|QuestionAnswering)", "llm"),
)
_TENSORS: tuple[tuple[str, str, int], ...] = (
    (r"audio|mel_|codec|wave|encodec|vocoder", "audio", 3),
    (r"diffusion_model\.|first_stage_|down_blocks\.|up_blocks\.|(double|joint)_blocks\.|lora_unet", "diffusion", 5),
    (r"vision_model\.|patch_embed|backbone\.", "vision", 3),
    (r"^(model\.)?layers\.|lm_head|transformer\.h\.|self_attn|\.mlp\.", "llm", 5),
)  # fmt: skip
_NAMES: tuple[tuple[str, str], ...] = (
    ("reranker", "reranker"),
    ("rerank", "reranker"),
    *((word, "audio") for word in ("tts", "whisper", "speech")),
    *((word, "embedding") for word in ("embedding", "embed")),
    *((word, "diffusion") for word in ("sdxl", "flux", "lora", "diffusion")),
)
_GGUF_WORDS: tuple[tuple[str, str], ...] = (
    *((word, "audio") for word in ("whisper", "tts", "wav")),
    *((word, "diffusion") for word in ("flux", "sd1", "sd3", "sdxl", "diffusion", "wan", "qwen_image")),
    *((word, "embedding") for word in ("bert", "embed")),
    *((word, "vlm") for word in ("clip", "mmproj", "llava", "vl")),
)
_GGUF_STRING = 8
_GGUF_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


@dataclass(frozen=True, slots=True)
class TypeResolution:
    """A model's type, how it was told, and how sure that is (0 to 1)."""

    model_type: str
    source: str = RESOLVER
    confidence: float = 0.0


def type_of_hint(hint: str | None) -> str | None:
    """The type that a caller names: one of ours, a task of the Hugging Face Hub or a config's `model_type`."""
    word = (hint or "").strip().lower()
    if word in MODEL_TYPES:
        return word
    return _TASKS.get(word) or _CONFIG_TYPES.get(word)


def resolve_type(
    name: str, config: Mapping[str, Any] | None, primary: tuple[Path, FileFormat] | None
) -> TypeResolution:
    """The type of a model.

    Args:
        name: what people call it.
        config: its config.json, when it has one.
        primary: its largest model file and that one's format.
    """
    if found := _type_of_config(config or {}):
        return TypeResolution(found, confidence=0.9)
    if primary is not None and (found := _type_of_file(*primary)):
        return TypeResolution(found, confidence=0.7)
    words = set(re.split(r"[^a-z0-9]+", name.lower()))
    for word, found in _NAMES:
        if word in words:
            return TypeResolution(found, "model-type-name-tokens", 0.6)
    return TypeResolution(UNKNOWN_TYPE)


def read_config(folder: Path) -> dict[str, Any] | None:
    """The config.json of a folder; None when there is none that can be read."""
    try:
        document = json.loads(read_file(folder / "config.json", _CONFIG_BYTES))
    except (OSError, ValueError, RecursionError, NotRegularFile, FileTooLarge):
        return None
    return document if isinstance(document, dict) else None


def family_of(config: Mapping[str, Any] | None, primary: tuple[Path, FileFormat] | None) -> str | None:
    """The family that the files name: a config's `model_type`, or a GGUF file's architecture."""
    named = (config or {}).get("model_type")
    if isinstance(named, str) and named.strip():
        return named.strip().lower()
    if primary is not None and primary[1] is FileFormat.GGUF:
        return _gguf_facts(primary[0]).get("general.architecture")
    return None


def _type_of_config(config: Mapping[str, Any]) -> str | None:
    names = config.get("architectures")
    named = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
    if isinstance(config.get("_class_name"), str):
        named.append(config["_class_name"])
    for pattern, found in _ARCHITECTURES:
        if any(re.fullmatch(pattern, name) for name in named):
            return found
    said = config.get("model_type")
    return _CONFIG_TYPES.get(said.lower()) if isinstance(said, str) else None


def _type_of_file(path: Path, found: FileFormat) -> str | None:
    if found is FileFormat.GGUF:
        facts = _gguf_facts(path)
        said = " ".join(value.lower() for value in facts.values())
        if "rerank" in facts.get("general.name", "").lower():
            return "reranker"
        words = set(re.split(r"[^a-z0-9_]+", said))
        return next((kind for word, kind in _GGUF_WORDS if any(word in one for one in words)), "llm")
    if found is FileFormat.SAFETENSORS:
        names = _tensor_names(path)
        for pattern, kind, least in _TENSORS:
            if sum(1 for name in names if re.search(pattern, name)) > least:
                return kind
    return None


def _tensor_names(path: Path) -> list[str]:
    try:
        with opened(path) as descriptor:
            length = int.from_bytes(os.pread(descriptor, 8, 0), "little")
            document = json.loads(os.pread(descriptor, length, 8)) if length <= _HEADER_BYTES else {}
    except (OSError, ValueError, RecursionError, NotRegularFile):
        return []
    return list(document) if isinstance(document, dict) else []


def _gguf_facts(path: Path) -> dict[str, str]:
    """The strings of a GGUF header up to its first array (ggml's docs/gguf.md): the `general` ones come first."""
    try:
        with opened(path) as descriptor:
            head = os.pread(descriptor, _GGUF_BYTES, 0)
        return dict(_gguf_strings(head))
    except (OSError, NotRegularFile, IndexError, UnicodeDecodeError):
        return {}


def _gguf_strings(head: bytes) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    position = 24

    def text() -> str:
        nonlocal position
        length = int.from_bytes(head[position : position + 8], "little")
        value = head[position + 8 : position + 8 + length].decode()
        position += 8 + length
        return value

    for _ in range(min(int.from_bytes(head[16:24], "little"), 64)):
        if position + 12 > len(head):
            break
        key = text()
        kind = int.from_bytes(head[position : position + 4], "little")
        position += 4
        if kind == _GGUF_STRING:
            found.append((key, text()))
        elif kind in _GGUF_SIZES:
            position += _GGUF_SIZES[kind]
        else:
            break
    return found
