"""Owns what each kind of finding means and what a person can do about it. Never looks at a disk."""

from typing import NamedTuple

from pumas_agent.bundles.findings import FindingCode as Code


class Explanation(NamedTuple):
    """One kind of finding, for people."""

    severity: str
    """`fatal`, `notice`, or `either` where a setting or the rest of the bundle decides."""
    meaning: str
    hint: str
    """What to do about it."""


def _fatal(meaning: str, hint: str) -> Explanation:
    return Explanation("fatal", meaning, hint)


def _notice(meaning: str, hint: str) -> Explanation:
    return Explanation("notice", meaning, hint)


_AGAIN = "Fetch the file again from where the bundle came from: `hf download REPO FILE --local-dir FOLDER`."
_LFS = "The repository was cloned without its large files: run `git lfs pull` in it, or fetch the file again."
_INDEX = "Correct model_index.json; the one published with the model is the reference."
_OTHER = "No runtime here can load the class; use another edition of the model."
_NOTHING = "Nothing to do."

EXPLANATIONS: dict[Code, Explanation] = {
    Code.PATH_NOT_FOUND: _fatal("Nothing is at the path.", "Check the path, and that its disk is mounted."),
    Code.PATH_NOT_DIRECTORY: _fatal("The path is no directory.", "Name the folder; a checkpoint file is no bundle."),
    Code.BUNDLE_REPLACED: _fatal(
        "A bundle of another pipeline class stands where the registered one was.",
        "Put the registered one back; or `pumas-agent accept ID`, when the other one is meant.",
    ),
    Code.MISSING_MODEL_INDEX: _fatal(
        "The folder has no model_index.json.",
        "Name the folder that holds it; in a Hugging Face cache that is `models--…/snapshots/<revision>`.",
    ),
    Code.INVALID_MODEL_INDEX_JSON: _fatal("model_index.json is not a JSON object in UTF-8.", _AGAIN),
    Code.MISSING_PIPELINE_CLASS: _fatal("model_index.json names no pipeline class.", _INDEX),
    Code.UNSUPPORTED_PIPELINE: _fatal(
        "The pipeline does not make an image from a prompt alone.", "Only text-to-image pipelines can be executed."
    ),
    Code.MISSING_COMPONENT: _fatal(
        "A component that the index names has no folder.", "Fetch the folder again, or put back what was moved."
    ),
    Code.COMPONENT_UNREADABLE: _fatal(
        "A file or folder cannot be read.",
        "Give the user that runs pumas-agent the right to read it, or mount its filesystem anew if that is what fails.",
    ),
    Code.PATH_ESCAPE: _fatal(
        "A name leads out of the bundle.", "Do not use this bundle before you know why it reaches out of its folder."
    ),
    Code.COMPONENT_CLASS_MISMATCH: _fatal(
        "A component is of a class that the pipeline cannot use.", "Fetch the component that belongs to the pipeline."
    ),
    Code.COMPONENT_CLASS_UNAVAILABLE: _fatal(
        "The class of a component, or one of its settings, needs a package that runtimes lack.", _OTHER
    ),
    Code.CONFIG_DEFAULTS: _fatal(
        "A config says nothing: the library would take its defaults, and draw another picture.", _AGAIN
    ),
    Code.CUSTOM_CODE: Explanation(
        "either",
        "The bundle brings Python code that the runtime would run; a notice when that is allowed.",
        'Read the code; `bundles.custom_code = "allow"` accepts bundles that bring their own.',
    ),
    Code.DANGLING_SYMLINK: _fatal(
        "A link that is needed leads nowhere.",
        "Put back what it leads to, or fetch the file again; a copied cache snapshot needs its blobs.",
    ),
    Code.FILE_TOO_LARGE: _fatal(
        "A file, or the bundle, is beyond what is looked at.", "No pipeline is that large: check what it is."
    ),
    Code.INVALID_COMPONENT_ENTRY: _fatal("An entry of the index is not [library, class].", _INDEX),
    Code.INVALID_CONFIG_JSON: _fatal(
        "A config is not a JSON object in UTF-8, or has a setting that nothing is drawn with.", _AGAIN
    ),
    Code.INVALID_PIPELINE_CLASS: _fatal("`_class_name` is no name, or names code that is not there.", _INDEX),
    Code.INVALID_SHARD_INDEX: _fatal("A shard index cannot be used.", _AGAIN),
    Code.INVALID_TOKENIZER_FILES: _fatal(
        "A vocabulary is empty, cut off, of another kind, or not that of the text encoder.", _AGAIN
    ),
    Code.INVALID_WEIGHTS_HEADER: _fatal("A weights file is not of its format.", _AGAIN),
    Code.MISSING_CONFIG: _fatal("A component has no config.", _AGAIN),
    Code.MISSING_SHARD: _fatal("A shard that the index names is not there.", "Fetch the shard."),
    Code.MISSING_TOKENIZER_FILES: _fatal("The vocabulary of a tokenizer is not complete.", _AGAIN),
    Code.MISSING_WEIGHTS: _fatal(
        "A component has no weights under a name that the library looks for.",
        "Fetch them; other formats and names are not loaded from a bundle.",
    ),
    Code.NOT_A_PIPELINE_CLASS: _fatal("`_class_name` names a class of diffusers that is no pipeline.", _INDEX),
    Code.PIPELINE_CLASS_UNAVAILABLE: _fatal(
        "The pipeline class, or one of its settings, needs a package that runtimes lack.", _OTHER
    ),
    Code.PROMPT_ENCODER_ABSENT: _fatal("The pipeline would load, and could not read a prompt.", _INDEX),
    Code.QUANTIZED_BACKEND: _fatal(
        "The weights are quantized by a package that runtimes may lack.",
        "If the runtimes here can load it, add its quant_method to `bundles.quantization_backends`.",
    ),
    Code.REQUIRED_COMPONENT_ABSENT: _fatal(
        "The pipeline cannot be made without a component that is not there.", _INDEX
    ),
    Code.REQUIRED_COMPONENT_NULL: _fatal(
        "The bundle was saved without a component that the pipeline cannot be made without.",
        "Fetch an edition that has it.",
    ),
    Code.TOKENIZER_CONFIG_MISSING: _fatal("Without tokenizer_config.json prompts are not cut to length.", _AGAIN),
    Code.TOKENIZER_MERGES_EMPTY: _fatal("merges.txt is empty: prompts would be read letter by letter.", _AGAIN),
    Code.UNET_IN_CHANNELS: _fatal(
        "The UNet takes other input than the pipeline gives, as those for inpainting do.",
        "Use the UNet that was made for drawing from text.",
    ),
    Code.UNKNOWN_COMPONENT_CLASS: _fatal("The library has no such class that can be loaded.", _INDEX),
    Code.UNKNOWN_COMPONENT_LIBRARY: _fatal("diffusers loads no components from the library.", _INDEX),
    Code.UNKNOWN_PIPELINE_CLASS: _fatal(
        "The diffusers that the tables were made from has no such class.",
        "If a newer diffusers has it, describe it in `bundles.extra_pipelines`.",
    ),
    Code.UNSUPPORTED_FILE_TYPE: _fatal("A pipe, socket or device stands for a file.", "Put a file in its place."),
    Code.VARIANT_MISSING: _fatal("No component has the variant.", "Leave the variant out, or fetch its files."),
    Code.VARIANT_SCAN_CRASH: Explanation(
        "either",
        "diffusers fails on a name without a dot when it looks for a variant; fatal when the bundle needs the variant.",
        "Move what is named out of the component's folder.",
    ),
    Code.WEIGHTS_INCOMPLETE: _fatal("Tensors are missing: the library would make them up.", _AGAIN),
    Code.WEIGHTS_LFS_POINTER: _fatal("A Git LFS pointer stands for the weights.", _LFS),
    Code.WEIGHTS_ONLY_VARIANT: _fatal(
        "A component has weights in a variant only, and others lack it.", "Fetch the rest of the variant."
    ),
    Code.WEIGHTS_SHAPE_MISMATCH: _fatal("Config and weights are of two different models.", "Fetch both again."),
    Code.WEIGHTS_SIZE_MISMATCH: _fatal("A weights file is longer than it says.", _AGAIN),
    Code.WEIGHTS_TRUNCATED: _fatal(
        "A weights file is shorter than it says: the download did not finish, or the disk was full.", _AGAIN
    ),
    Code.COMPONENT_IN_ROOT: _notice(
        "A component lies in the root of the bundle.", "Move its files into a folder of the component's name."
    ),
    Code.CONFIG_CLASS_MISMATCH: _notice("A config was written for another class.", "Check that it is of this model."),
    Code.EXTRA_DIR: _notice("A folder that no component uses.", f"{_NOTHING} It takes space and is not loaded."),
    Code.INCOMPLETE_DOWNLOAD: _notice("A download did not finish.", "Let it finish, or remove what it left."),
    Code.JUNK_FILES: _notice("Files that operating systems leave.", f"{_NOTHING} They are not loaded."),
    Code.PICKLE_WEIGHTS: Explanation(
        "either",
        'Weights are a pickle: loading one trusts whoever made it. Fatal at `bundles.pickle_weights = "refuse"`.',
        "Prefer an edition in safetensors.",
    ),
    Code.SHARD_INDEX_DISAGREES: _notice("A shard index does not say what the shards hold.", "Fetch the index again."),
    Code.STALE_SHARD_INDEX: _notice("A shard index stands beside the file that is loaded.", "Remove the index."),
    Code.SYMLINK_OUTSIDE_BUNDLE: _notice(
        "A link leads out of the bundle.", "Keep the place it leads to as long as the bundle."
    ),
    Code.TOKENIZER_JSON_ONLY: _notice(
        "Only tokenizer.json is there.", "Runtimes with transformers 4 need the vocabulary files too."
    ),
    Code.TOKENIZER_NEEDS_SENTENCEPIECE: _notice(
        "Only a sentencepiece model is there.", "Runtimes need the packages sentencepiece and protobuf."
    ),
    Code.UNKNOWN_KEY: _notice("A key that the pipeline does not take.", f"{_NOTHING} diffusers ignores it."),
    Code.UNUSED_CODE: _notice("Python code that nothing would run.", _NOTHING),
    Code.UNUSED_TOKENIZER_FILE_DAMAGED: _notice("A vocabulary file that is not loaded is damaged.", _AGAIN),
    Code.UNUSED_WEIGHTS_DAMAGED: _notice(
        "A weights file that is not loaded is damaged.", "Remove it, or fetch it again."
    ),
    Code.VARIANT_REQUIRED: _notice(
        "The bundle is complete in a variant only.", "Runtimes ask for it: descriptors name it as `load_variant`."
    ),
    Code.VERSION_NEWER: _notice(
        "A newer diffusers wrote the bundle.", "If loading fails, update diffusers in the runtime."
    ),
}
"""Every code has one."""
