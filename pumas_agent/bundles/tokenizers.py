"""Owns the rules on tokenizers: which files each class reads, and whether they hold a vocabulary that can be used.

A tokenizer without its files loads with a vocabulary of three words and draws another picture, without a warning
(transformers 5). What the files must hold stands in `tokenizer_json` and `vocabularies`.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from pumas_agent.bundles.bundle import Bundle, Component, Presence, Rule, Unusable
from pumas_agent.bundles.findings import FindingCode, Problem, fatal, notice, shown
from pumas_agent.bundles.prompt_tokens import PROMPT_TOKEN_RULES
from pumas_agent.bundles.special_tokens import SPECIAL_TOKEN_RULES, WHOLE_TOKENIZERS
from pumas_agent.bundles.tables import ComponentKind
from pumas_agent.bundles.tokenizer_json import check_tokenizer_json
from pumas_agent.bundles.vocabularies import check_slow_files, is_damaged

TOKENIZER_JSON = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
_SIDE_FILES = ("special_tokens_map.json", "added_tokens.json")
_NOT_VOCABULARY = ("tokenizer_file", "tokenizer_config_file")
_SENTENCEPIECE = (".model",)
_CLIP_POSITIONS = 77
"""`max_position_embeddings` of a CLIP text encoder whose config does not say (transformers: CLIPTextConfig)."""
_LEAST_POSITIONS = 8
"""A prompt has a start, an end, and room for a few words; those published have 64 and more."""
_PREFERRED = re.compile(r"tekken\.json|tokenizer\.model|tiktoken\.model")
"""What transformers 5 takes for the vocabulary of any class, where there is no tokenizer.json."""
_VERSIONED = re.compile(r"tokenizer\.(\d{1,4})\.[\w.]{0,40}json")
_TEMPLATE, _TEMPLATES = "chat_template.jinja", "additional_chat_templates"
_MAX_TEMPLATE_BYTES = 4 * 1024 * 1024


def vocabulary_is_complete(bundle: Bundle) -> Iterator[Problem]:
    """tokenizer.json, or every file of the slow tokenizer, is there; what transformers would read can be used.

    tokenizer.json comes first whenever it is a file: a damaged one is not made up for by the files beside it.
    """
    for component in _tokenizers(bundle):
        slow = _slow_files(bundle, component)
        if bundle.is_file(component.path(TOKENIZER_JSON)) and _reads_tokenizer_json(bundle, component):
            has_the_tokens = _has_the_tokens(bundle, component)
            path = component.path(TOKENIZER_JSON)
            yield from check_tokenizer_json(bundle, component, path, has_the_tokens=has_the_tokens)
            yield from _beside_tokenizer_json(bundle, component, slow)
        elif slow and (stray := _preferred(bundle, component, slow)) is not None:
            path = component.path(stray)
            what = (
                f"{path} is taken for the vocabulary in place of {', '.join(slow)}, and {component.class_name} cannot"
            )
            yield fatal(FindingCode.INVALID_TOKENIZER_FILES, what, path)
        elif slow and all(bundle.is_file(component.path(name)) for name in slow):
            yield from check_slow_files(bundle, component, slow)
            if all(name.endswith(_SENTENCEPIECE) for name in slow):
                what = f"{component.name} has a sentencepiece model only; runtimes need sentencepiece and protobuf"
                yield notice(FindingCode.TOKENIZER_NEEDS_SENTENCEPIECE, what, component.path(slow[0]))
        elif slow:
            yield from _missing(bundle, component, slow)


def settings_are_usable(bundle: Bundle) -> Iterator[Problem]:
    """tokenizer_config.json is an object, and says how long a prompt may be to those who ask it.

    CLIP's pipelines cut prompts at `model_max_length`; without it, transformers gives a number that no tensor has room
    for, and the first prompt fails. Other pipelines name a length of their own.
    """
    for component in _tokenizers(bundle):
        path = component.path(TOKENIZER_CONFIG)
        if bundle.presence(path) is Presence.FILE:
            document = bundle.document(path)
            yield from _entries_are_usable(document, path)
            if _cuts_prompts(bundle, component):
                if document.get("padding_side", "right") == "left":
                    what = f"{path} fills prompts on the left, where a CLIP was trained to find their start"
                    yield fatal(FindingCode.INVALID_CONFIG_JSON, what, path)
                length = document.get("model_max_length", document.get("max_len"))  # its name of old
                yield from _length_is_usable(bundle, component, length)
            elif not isinstance(document.get("model_max_length"), int | float | None):
                what = f"{path} gives {shown(document['model_max_length'])} for model_max_length"
                yield fatal(FindingCode.INVALID_CONFIG_JSON, what, path)
            yield from _versions_are_usable(bundle, component, document)
        elif _cuts_prompts(bundle, component):
            what = f"{component.name} has no {TOKENIZER_CONFIG}: prompts would not be cut to length"
            yield bundle.no_file(path, FindingCode.TOKENIZER_CONFIG_MISSING, what)


def side_files_are_usable(bundle: Bundle) -> Iterator[Problem]:
    """special_tokens_map.json and added_tokens.json may be absent, and are objects where they are there.

    transformers 5 reads neither where tokenizer_config.json has the tokens itself, in `added_tokens_decoder`.
    """
    for component in _tokenizers(bundle):
        unread = _has_the_tokens(bundle, component)
        for name in _SIDE_FILES:
            path = component.path(name)
            if bundle.is_file(path):
                damage = next(_side_file(bundle, path), None)
                if damage is not None and unread:
                    what = f"{path} is damaged; {TOKENIZER_CONFIG} has the tokens, and it is not read"
                    yield notice(FindingCode.UNUSED_TOKENIZER_FILE_DAMAGED, what, path)
                elif damage is not None:
                    yield damage


def templates_are_text(bundle: Bundle) -> Iterator[Problem]:
    """Templates of chats, which no pipeline here needs and every tokenizer reads, are text in UTF-8."""
    for component in _tokenizers(bundle):
        folder = component.path(_TEMPLATES)
        more = (f"{folder}/{name}" for name in sorted(bundle.names(folder)) if name.endswith(".jinja"))
        for path in (component.path(_TEMPLATE), *more):
            if bundle.is_file(path):
                try:
                    bundle.read(path, _MAX_TEMPLATE_BYTES).decode()
                except UnicodeDecodeError:
                    yield fatal(FindingCode.INVALID_TOKENIZER_FILES, f"{path} is not text in UTF-8", path)
                except Unusable as unusable:
                    yield unusable.problem


def _has_the_tokens(bundle: Bundle, component: Component) -> bool:
    path = component.path(TOKENIZER_CONFIG)
    try:
        return bundle.is_file(path) and "added_tokens_decoder" in bundle.document(path)
    except Unusable:
        return False


def _preferred(bundle: Bundle, component: Component, slow: tuple[str, ...]) -> str | None:
    """A file that transformers 5 would read in place of the class's own, which is of another kind.

    It looks for names that hold those of `_PREFERRED`, unless some name holds `tokenizer.json`.
    """
    names = bundle.names(component.folder)
    if any(TOKENIZER_JSON in name for name in names):
        return None
    return min((name for name in names if name not in slow and _PREFERRED.search(name)), default=None)


def _versions_are_usable(bundle: Bundle, component: Component, document: dict[str, Any]) -> Iterator[Problem]:
    """Each version of tokenizer.json that the config names is sound."""
    path = component.path(TOKENIZER_CONFIG)
    versions = document.get("fast_tokenizer_files", [])
    if not isinstance(versions, list) or not all(isinstance(name, str) for name in versions):
        yield fatal(FindingCode.INVALID_CONFIG_JSON, f"{path} gives {shown(versions)} for fast_tokenizer_files", path)
        return
    newest = int(bundle.tables.transformers_version.partition(".")[0])
    found = (_VERSIONED.fullmatch(name) for name in versions)
    for version in sorted({component.path(name[0]) for name in found if name is not None and int(name[1]) <= newest}):
        if bundle.is_file(version):
            yield from check_tokenizer_json(bundle, component, version)
        elif bundle.is_file(component.path(TOKENIZER_JSON)):
            what = f"{path} names {version[:200]}, which some versions of transformers would read"
            yield bundle.no_file(version, FindingCode.MISSING_TOKENIZER_FILES, what)


def _side_file(bundle: Bundle, path: str) -> Iterator[Problem]:
    try:
        bundle.document(path)
    except Unusable as unusable:
        yield unusable.problem


def _tokenizers(bundle: Bundle) -> Iterator[Component]:
    return (component for component in bundle.components if component.kind is ComponentKind.TOKENIZER)


def _cuts_prompts(bundle: Bundle, component: Component) -> bool:
    """The pipeline takes a tokenizer of CLIP, which it asks how long a prompt may be."""
    names: Iterable[str] = (component.class_name,)
    if component.class_name in WHOLE_TOKENIZERS and bundle.facts is not None:
        names = bundle.facts.classes.get(component.name, ())
    return any(name.removesuffix("Fast") == "CLIPTokenizer" for name in names)


def _reads_tokenizer_json(bundle: Bundle, component: Component) -> bool:
    files = bundle.tables.tokenizer_files(component.class_name)
    return files is None or "tokenizer_file" in files or component.class_name.endswith("Fast")


def _slow_files(bundle: Bundle, component: Component) -> tuple[str, ...]:
    """The files that together are the vocabulary without tokenizer.json; none for a class that needs none."""
    files = bundle.tables.tokenizer_files(component.class_name) or {}
    names = tuple(name for role, name in sorted(files.items()) if role not in _NOT_VOCABULARY)
    if len(names) == 1 and names[0].endswith(_SENTENCEPIECE):
        # transformers 5 takes a sentencepiece model under its general name too, and rather
        return ("tokenizer.model",) if bundle.is_file(component.path("tokenizer.model")) else names
    return names


def _beside_tokenizer_json(bundle: Bundle, component: Component, slow: tuple[str, ...]) -> Iterator[Problem]:
    there = [name for name in slow if bundle.is_file(component.path(name))]
    for name in there:
        path = component.path(name)
        if is_damaged(bundle, path):
            what = f"{path} is damaged; {TOKENIZER_JSON} is what loads"
            yield notice(FindingCode.UNUSED_TOKENIZER_FILE_DAMAGED, what, path)
    if len(there) < len(slow) and not component.class_name.endswith("Fast"):
        what = f"{component.name} has {TOKENIZER_JSON} only; transformers 4 asks for {', '.join(slow)}"
        yield notice(FindingCode.TOKENIZER_JSON_ONLY, what, component.path(TOKENIZER_JSON))


def _missing(bundle: Bundle, component: Component, slow: tuple[str, ...]) -> Iterator[Problem]:
    code = FindingCode.MISSING_TOKENIZER_FILES
    for name in slow:
        path = component.path(name)
        if not bundle.is_file(path):
            what = f"{component.name} has neither {TOKENIZER_JSON} nor {name}: transformers would make up a vocabulary"
            yield bundle.no_file(path, code, what)


def _entries_are_usable(document: dict[str, object], path: str) -> Iterator[Problem]:
    decoder = document.get("added_tokens_decoder", {})
    if not isinstance(decoder, dict) or not all(isinstance(token, dict) for token in decoder.values()):
        yield fatal(FindingCode.INVALID_CONFIG_JSON, f"{path} has added_tokens_decoder without tokens", path)
    for name in ("padding_side", "truncation_side"):
        if document.get(name, "right") not in ("left", "right"):
            yield fatal(FindingCode.INVALID_CONFIG_JSON, f"{path} has a {name} that is neither left nor right", path)


def _length_is_usable(bundle: Bundle, component: Component, length: object) -> Iterator[Problem]:
    path = component.path(TOKENIZER_CONFIG)
    most = _positions(bundle, component)
    if not isinstance(length, int) or isinstance(length, bool) or not _LEAST_POSITIONS <= length <= most:
        given = "no" if length is None else f"{shown(length)} as"
        what = f"{path} gives {given} model_max_length; the text encoder takes at most {most} tokens"
        yield fatal(FindingCode.TOKENIZER_CONFIG_MISSING, what, path)


def _positions(bundle: Bundle, tokenizer: Component) -> int:
    """How many tokens the text encoder that belongs to the tokenizer takes."""
    name = tokenizer.name.replace("tokenizer", "text_encoder", 1)
    for component in bundle.components:
        if component.name == name and component.kind is ComponentKind.TRANSFORMERS_MODEL:
            try:
                said = bundle.document(component.path("config.json")).get("max_position_embeddings")
            except Unusable:
                break
            return said if isinstance(said, int) else _CLIP_POSITIONS
    return _CLIP_POSITIONS


TOKENIZER_RULES: tuple[Rule, ...] = (
    vocabulary_is_complete,
    settings_are_usable,
    side_files_are_usable,
    templates_are_text,
    *SPECIAL_TOKEN_RULES,
    *PROMPT_TOKEN_RULES,
)
