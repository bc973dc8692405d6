"""Deliberately damaged bundles: what is said of each, against what the real library made of it.

Owns the comparison. The changes stand in `tests.cases`, and what diffusers 0.42.1 did with each, when
it was loaded with `DiffusionPipeline.from_pretrained` and asked for one picture, in tests/data.
"""

import json
import multiprocessing
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pumas_agent.bundles import Policy, validate
from pumas_agent.contracts.bundles import BundleReport
from tests.cases import CHANGES
from tests.cases.bases import BASES, write_base

DATA = Path(__file__).parents[2] / "data"
CASES: list[dict[str, Any]] = json.loads((DATA / "bundle-cases.json").read_text())
MEASURED: dict[str, str] = json.loads((DATA / "measured-cases.json").read_text())
"""Those of the catalogue whose outcome carries over to the bundles that the project writes."""
NOBODY = 65534
Bases = dict[str, tuple[Path, Path]]
"""The folder of each base, and the root of the bundle in it."""
WELL = "the same picture"

DIFFERS = {
    "control_fp16only_no_variant_kw": ([], ["variant_required"]),  # a descriptor names the variant to load
    "bundle_path_missing": (["path_not_found"], []),  # the name that the existing Pumas library has for it
}
"""Cases with an outcome of our own: findings and notices."""

BEYOND = {
    "another pipeline, scheduler or setting is the owner's choice": (
        r"class_name_(pag|sag|sd3_pag|sdxl_pag)|component_class_scheduler_.*|config_(flux_)?scheduler_.*|scalar_null_sdxl"
        r"|config_unet_(sample_size_16|attention_head_dim_4|act_fn_gelu|center_input_sample)"
        r"|config_vae_(scaling_factor|use_quant_conv_false)|config_(sd3|pixart)_transformer_sample_size_\d+"
        r"|config_text_encoder_(num_attention_heads_8|without_num_attention_heads|num_hidden_layers_[02])"
        r"|config_flux_transformer_(num_layers_0|axes_dims_rope)"
        r"|tok_config_(model_max_length_16|padding_side_left)|tok_special_map_pad_other"
    ),
    "a value that only the code of the library understands": (
        r"config_unet_sample_size_null|config_(unet|vae)_act_fn_unknown|tok_v5_pre_tokenizer_unknown|scalar_watermarker_sdxl"
        r"|config_text_encoder_(hidden_act_unknown|eos_token_id_null|torch_dtype_float16|use_return_dict|attn_implementation)"
    ),
    "the numbers in the tensors, or of the words": (
        r"weights_zeroed_.*|weights_all_bf16_(unet|vae)|weights_one_f8_unet|weights_embeddings_differ_.*"
        r"|tok_vocab_other_numbers|tok_t5_vocab_shorter|tok_sdxl_folders_swapped|dir_symlink_to_other_component"
    ),
    "what is inside a pickle": r"bin_swapped_unet_vae",
}
"""Valid, although the library fails or draws another picture: no look at files can tell, by reason."""

DELIBERATE = {
    *("path_escape", "custom_code", "quantized_backend", "file_too_large"),  # leads out, runs code, needs more packages
    *("config_defaults", "tokenizer_merges_empty", "tokenizer_config_missing", "prompt_encoder_absent"),
    *("unsupported_pipeline", "unet_in_channels"),  # draws, but not from text alone
}
"""Findings with which a bundle is refused although it may load and draw well."""

REFUSED_ALL_THE_SAME = (
    r"shard_index_lists_missing_tensor_.*"  # a tensor that nobody has: a shard may be another file's
    r"|weights_missing_encoder_conv_in_weight_vae"  # what tells a VAE from any other file
    r"|component_class_flux_umt5"  # has tensors that a T5 has not, which are made up
    r"|config_flux_text_encoder_2_feed_forward_relu"  # asks for a tensor that is not there, and is made up
)
"""Likewise, by name."""


@pytest.fixture(scope="session")
def bases() -> Iterator[Bases]:
    """One of each base; where another user may come too."""
    folder = Path(tempfile.mkdtemp(prefix="pumas-cases-")).resolve()
    folder.chmod(0o755)
    yield {name: (folder / name, write_base(name, folder)) for name in BASES}
    shutil.rmtree(folder)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder of a test's own, where another user may come too."""
    folder = Path(tempfile.mkdtemp(prefix="pumas-case-")).resolve()
    folder.chmod(0o755)
    yield folder
    for path in folder.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder)


def damaged(name: str, bases: Bases, place: Path) -> Path:
    """A copy of the change's base, changed."""
    change = CHANGES[name]
    folder, root = bases[change.base]
    shutil.copytree(folder, place / folder.name, symlinks=True)
    return change.make(place / root.relative_to(folder.parent))


def judged_by_nobody(root: Path, **how: Any) -> BundleReport:
    """The report of a user without rights, from a fork."""
    answers, answer = multiprocessing.Pipe(duplex=False)

    def judge() -> None:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        answer.send(validate(root, **how).model_dump_json())

    process = multiprocessing.get_context("fork").Process(target=judge)
    process.start()
    process.join(30)
    assert process.exitcode == 0
    return BundleReport.model_validate_json(answers.recv())


def case(row: dict[str, Any]) -> Any:
    marks = [pytest.mark.needs_root] if "unreadable" in row["case"] else []
    return pytest.param(row, id=row["case"], marks=marks)


@pytest.mark.parametrize("row", [case(row) for row in CASES])
def test_what_is_said_of_a_measured_case(row: dict[str, Any], bases: Bases, place: Path) -> None:
    """The code that the case expects, among the findings when it is fatal, among the notices otherwise."""
    name = row["case"]
    trusted = row["arguments"].get("trust_remote_code")
    how = {"variant": row["arguments"].get("variant"), "policy": Policy(custom_code="allow" if trusted else "refuse")}
    root = damaged(name, bases, place)

    report = (judged_by_nobody if "unreadable" in name else validate)(root, **how)

    findings, notices = ([said.code for said in kind] for kind in (report.findings, report.notices))
    if name in DIFFERS:
        assert (findings, notices) == DIFFERS[name]
        return
    assert report.is_valid == (not row["fatal"])
    assert row["code"] in (None, *(findings if row["fatal"] else notices))


@pytest.mark.parametrize("base", sorted(BASES))
def test_verdicts_agree_with_the_library(base: str, bases: Bases, place: Path) -> None:
    """Valid is what loads and draws well; what does so is valid: but for what is listed above, with its reason."""
    names = [name for name in MEASURED if CHANGES[name].base == base]
    beyond = re.compile("|".join(BEYOND.values()))
    wrong = []

    for number, name in enumerate(names):
        folder = place / str(number)
        folder.mkdir()
        report = validate(damaged(name, bases, folder))
        codes = {finding.code for finding in report.findings}
        if report.is_valid and MEASURED[name] != WELL and not beyond.fullmatch(name):
            wrong.append((name, "valid", MEASURED[name]))
        elif codes - DELIBERATE and MEASURED[name] == WELL and not re.fullmatch(REFUSED_ALL_THE_SAME, name):
            wrong.append((name, str(codes), MEASURED[name]))

    assert wrong == []


def test_the_comparison_is_not_empty() -> None:
    """All of the measured cases, and far more than a thousand changes, of all kinds of outcomes."""
    assert len(CASES) == 102
    assert len(MEASURED) > 1600
    assert len(set(MEASURED.values())) == 5
    assert {row["case"] for row in CASES} <= CHANGES.keys()
