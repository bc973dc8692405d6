"""Owns the rules on the pipeline that model_index.json names: a class of diffusers that draws from text."""

import re
from collections.abc import Iterator

from pumas_agent.bundles.bundle import Bundle
from pumas_agent.bundles.findings import FindingCode, Problem, fatal, notice
from pumas_agent.bundles.model_index import CLASS_NAME, MODEL_INDEX

TEXT_TO_IMAGE = "text-to-image"
_RELEASE = re.compile(r"(\d{1,9})\.(\d{1,9})(?:\.(\d{1,9}))?")
_PRIOR = re.compile(rb"^prior\s*:", re.MULTILINE)
_MAX_README_BYTES = 1024 * 1024
_PARTS = 2
"""`[module, class]`"""


def index_is_an_object(bundle: Bundle) -> Iterator[Problem]:
    """model_index.json is a JSON object (diffusers: `DiffusionPipeline.load_config`)."""
    if bundle.index.problem is None and not isinstance(bundle.index.document, dict):
        yield _fatal(FindingCode.INVALID_MODEL_INDEX_JSON, "holds no JSON object")


def class_can_be_loaded(bundle: Bundle) -> Iterator[Problem]:
    """`_class_name` names a pipeline class of diffusers (`_get_pipeline_class`), or code that the bundle brings."""
    if not isinstance(bundle.index.document, dict):
        return
    named = bundle.index.fields.get(CLASS_NAME)
    if named is None or (isinstance(named, str) and not named.strip()):
        yield _fatal(FindingCode.MISSING_PIPELINE_CLASS, "names no pipeline in _class_name")
    elif isinstance(named, str):
        yield from _class_of_diffusers(bundle, named)
    elif not isinstance(named, list) or len(named) != _PARTS or not all(isinstance(part, str) for part in named):
        yield _fatal(FindingCode.INVALID_PIPELINE_CLASS, "has a _class_name that is neither a name nor [module, class]")
    elif leads_away(named[0]):
        yield _fatal(FindingCode.PATH_ESCAPE, f"names the module {named[0]!r}, which leads out of the bundle")
    elif not bundle.is_file(f"{named[0]}.py"):
        what = f"names the class [{named[0]!r}, {named[1]!r}], and the bundle has no {named[0]}.py"
        yield _fatal(FindingCode.INVALID_PIPELINE_CLASS, what)


def code_is_allowed(bundle: Bundle) -> Iterator[Problem]:
    """Code that the bundle brings runs in the runtime's process: refused, or a notice where the operator allows it."""
    for path in custom_pipeline_files(bundle):
        yield custom_code(bundle, path, f"{path} is code of the bundle's own, which diffusers would run")


def custom_pipeline_files(bundle: Bundle) -> Iterator[str]:
    """The Python file that takes the place of a pipeline class (diffusers: `_resolve_custom_pipeline_and_cls`).

    `None.py` does so in every bundle: diffusers looks for the custom pipeline that nobody asked for by that name.
    """
    if bundle.is_file("None.py"):
        yield "None.py"
    named = bundle.index.fields.get(CLASS_NAME)
    if isinstance(named, list) and named and isinstance(named[0], str) and not leads_away(named[0]):
        path = f"{named[0]}.py"
        if bundle.is_file(path):
            yield path


def custom_code(bundle: Bundle, path: str, message: str) -> Problem:
    """The problem, or notice, that Python code of the bundle's own is."""
    say = notice if bundle.policy.allow_custom_code else fatal
    return say(FindingCode.CUSTOM_CODE, message, path)


def task_is_supported(bundle: Bundle) -> Iterator[Problem]:
    """The class makes an image from a prompt alone, by the table of tasks and not by words in its name."""
    facts = bundle.facts
    if facts is not None and facts.task != TEXT_TO_IMAGE:
        what = f"names {facts.name}, whose task is {facts.task} and not {TEXT_TO_IMAGE}"
        yield _fatal(FindingCode.UNSUPPORTED_PIPELINE, what)


def prior_is_in_the_bundle(bundle: Bundle) -> Iterator[Problem]:
    """A combined pipeline must not send for its prior (diffusers: `_update_init_kwargs_with_connected_pipeline`)."""
    if bundle.facts is None or not bundle.facts.connected or not bundle.is_file("README.md"):
        return
    front, *_ = bundle.read("README.md", _MAX_README_BYTES).removeprefix(b"---").split(b"\n---", 1)
    if _PRIOR.search(front):
        what = "README.md names a prior in another repository, which diffusers would send for"
        yield fatal(FindingCode.REQUIRED_COMPONENT_ABSENT, what, "README.md")


def watermarks_can_be_drawn(bundle: Bundle) -> Iterator[Problem]:
    """`add_watermarker` needs invisible-watermark: without it, SDXL's pipelines do not load (`__init__`, NameError).

    Nothing that diffusers saves asks for it: it is no part of what a pipeline registers.
    """
    asked = bundle.index.fields.get("add_watermarker")
    if asked and bundle.facts is not None and bundle.facts.name.startswith("StableDiffusionXL"):
        what = "asks for add_watermarker, which needs a package that runtimes do not have"
        yield _fatal(FindingCode.PIPELINE_CLASS_UNAVAILABLE, what)


def flags_of_the_index_are_said(bundle: Bundle) -> Iterator[Problem]:
    """`force_zeros_for_empty_prompt` is no null, which is false: a pipeline that is told nothing takes it for true."""
    fields, name = bundle.index.fields, "force_zeros_for_empty_prompt"
    if name in fields and fields[name] is None and bundle.facts is not None:
        what = f"gives null for {name}, which would be false"
        yield _fatal(FindingCode.INVALID_MODEL_INDEX_JSON, what)


def version_is_known(bundle: Bundle) -> Iterator[Problem]:
    """The bundle was written by a diffusers that is not newer than the tables."""
    written, known = (
        _RELEASE.match(text) if isinstance(text, str) else None
        for text in (bundle.index.fields.get("_diffusers_version"), bundle.tables.diffusers_version)
    )
    if written and known and _numbers(written) > _numbers(known):
        what = f"was written by diffusers {written.string:.40}; what is known here is {known.string}"
        yield notice(FindingCode.VERSION_NEWER, f"{MODEL_INDEX} {what}", MODEL_INDEX)


def leads_away(name: str) -> bool:
    """True for a name that is a path: what should name one thing in a folder names something elsewhere."""
    return "/" in name or "\\" in name or "\0" in name or name in {".", ".."}


def _class_of_diffusers(bundle: Bundle, name: str) -> Iterator[Problem]:
    tables = bundle.tables
    if tables.is_dummy_pipeline(name):
        what = f"names {name}, which needs a package that runtimes do not have"
        yield _fatal(FindingCode.PIPELINE_CLASS_UNAVAILABLE, what)
    elif bundle.facts is not None:
        return
    elif tables.is_not_a_pipeline(name):
        yield _fatal(FindingCode.NOT_A_PIPELINE_CLASS, f"names {name}, which is no class of a pipeline")
    else:
        what = f"names {name}, which diffusers {tables.diffusers_version} does not have"
        yield _fatal(FindingCode.UNKNOWN_PIPELINE_CLASS, what)


def _numbers(release: re.Match[str]) -> tuple[int, ...]:
    return tuple(int(part or 0) for part in release.groups())


def _fatal(code: FindingCode, what: str) -> Problem:
    return fatal(code, f"{MODEL_INDEX} {what}", MODEL_INDEX)


PIPELINE_RULES = (
    index_is_an_object,
    class_can_be_loaded,
    code_is_allowed,
    task_is_supported,
    prior_is_in_the_bundle,
    watermarks_can_be_drawn,
    flags_of_the_index_are_said,
    version_is_known,
)
