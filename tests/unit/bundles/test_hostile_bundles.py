"""Bundles made to hang, crash or exhaust: each gets an answer, and nothing below the root is touched."""

import json
import multiprocessing
import os
import shutil
import socket
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pumas_agent.bundles import Depth, Policy, StatSignature, identity_of, look, validate
from pumas_agent.contracts.bundles import BundleReport
from pumas_agent.demo.bundle import write_stable_diffusion_bundle
from pumas_agent.demo.bundles import BundleKind, write_bundle

NOBODY = 65534
CLASS_NAME = "StableDiffusionPipeline"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    root = tmp_path / "bundle"
    write_stable_diffusion_bundle(root)
    return root


@pytest.fixture
def public_bundle() -> Iterator[Path]:
    """A bundle that another user can reach; pytest's own folders are private."""
    folder = Path(tempfile.mkdtemp(prefix="pumas-public-"))
    folder.chmod(0o755)
    write_stable_diffusion_bundle(folder / "bundle")
    yield folder / "bundle"
    shutil.rmtree(folder)


def said(report: BundleReport) -> list[tuple[str, str | None]]:
    return [(finding.code, finding.path) for finding in report.findings]


def looked_at_by_nobody(root: Path) -> BundleReport:
    """The report of a process that owns nothing: a fork, for the interpreter itself may be out of its reach."""
    look(root)  # so that the fork has nothing left to import
    answers, answer = multiprocessing.Pipe(duplex=False)

    def look_as_nobody() -> None:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        answer.send(look(root).report.model_dump_json())

    process = multiprocessing.get_context("fork").Process(target=look_as_nobody)
    process.start()
    process.join(30)
    assert process.exitcode == 0
    assert answers.poll()
    return BundleReport.model_validate_json(answers.recv())


def needs_root(test: Callable[..., None]) -> Callable[..., None]:
    reason = "needs root: what a permission denies is shown with a second user"
    return pytest.mark.needs_root(pytest.mark.skipif(os.geteuid() != 0, reason=reason)(test))  # type: ignore[no-any-return]


@needs_root
def test_files_of_another_owner_are_read(public_bundle: Path) -> None:
    """O_NOATIME is refused to who does not own the file; the file is read without it."""
    report = looked_at_by_nobody(public_bundle)

    assert report.is_valid
    assert report.identity == identity_of(public_bundle)


@needs_root
@pytest.mark.parametrize(
    ("closed", "path"), [("model_index.json", "model_index.json"), ("vae", "vae"), (".", None), ("..", None)]
)
def test_permission_denied(public_bundle: Path, closed: str, path: str | None) -> None:
    """What may not be read is component_unreadable, on the index, a component or the root; never 'missing'."""
    (public_bundle / closed).chmod(0o000)

    assert said(looked_at_by_nobody(public_bundle)) == [("component_unreadable", path)]


def test_index_is_a_pipe(bundle: Path) -> None:
    """A pipe as index is a finding, not a hang, and its writer is not woken."""
    (bundle / "model_index.json").unlink()
    os.mkfifo(bundle / "model_index.json")

    assert said(look(bundle).report) == [("unsupported_file_type", "model_index.json")]


def test_index_is_a_socket(bundle: Path) -> None:
    """A socket as index is a finding."""
    (bundle / "model_index.json").unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(bundle / "model_index.json"))

        assert said(validate(bundle)) == [("unsupported_file_type", "model_index.json")]


def test_index_is_a_device(bundle: Path) -> None:
    """A link to an endless device is a finding."""
    (bundle / "model_index.json").unlink()
    (bundle / "model_index.json").symlink_to("/dev/zero")

    assert said(validate(bundle)) == [("unsupported_file_type", "model_index.json")]


def test_index_is_too_large(bundle: Path) -> None:
    """An index over 1 MiB is not read."""
    with (bundle / "model_index.json").open("r+b") as file:
        file.truncate(1024 * 1024 + 1)

    assert said(validate(bundle)) == [("file_too_large", "model_index.json")]


@pytest.mark.parametrize("bomb", [b"[" * 500_000, b'{"a":' * 100_000, b"[" * 900 + b"]" * 900, b"9" * 100_000])
def test_nested_and_endless_json(bundle: Path, bomb: bytes) -> None:
    """JSON made to exhaust the parser is a finding."""
    (bundle / "model_index.json").write_bytes(bomb)

    assert not validate(bundle).is_valid


@pytest.mark.parametrize("text", [r'"\ud800"', r'"x\udcff"'])
@pytest.mark.parametrize("place", ['{"_class_name": %s}', '{"_class_name": "FluxPipeline", %s: ["a", "b"]}'])
def test_text_that_is_no_unicode(bundle: Path, text: str, place: str) -> None:
    """A lone surrogate is JSON to Python, and no report could hold it: it is shown as an escape."""
    (bundle / "model_index.json").write_text(place % text)

    report = validate(bundle)

    assert not report.is_valid
    assert BundleReport.model_validate_json(report.model_dump_json()) == report


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "unet/config.json/deeper"])
def test_component_names_that_nothing_can_have(bundle: Path, name: str) -> None:
    """A component that cannot exist is missing, where any name may be one; a class of diffusers ignores it."""
    (bundle / "model_index.json").write_text(json.dumps({"_class_name": CLASS_NAME, name: ["a", "b"]}))

    by_structure = validate(bundle, policy=Policy(depth=Depth.STRUCTURE))

    assert said(by_structure) == [("missing_component", name)]
    assert "missing_component" not in [code for code, _ in said(validate(bundle))]


def test_file_names_that_are_no_utf8(bundle: Path) -> None:
    """A name of any bytes is walked, signed and digested, and shows in a report only with escapes."""
    (bundle / os.fsdecode(b"\xff\xfe")).mkdir()
    (bundle / "vae").rename(bundle / "the_vae")
    (bundle / "vae").symlink_to(os.fsdecode(b"gone\xff"))

    seen = look(bundle)

    assert seen.report.findings[0].message.endswith(r"to gone\udcff")
    assert seen.report.model_dump_json()
    assert seen.signature is not None
    assert StatSignature.from_json(seen.signature.to_json()) == seen.signature
    assert seen.signature.unchanged()


def test_roots_that_are_no_paths(tmp_path: Path) -> None:
    """A root with a NUL, a lone surrogate or bytes that are no UTF-8 is one that is not there."""
    roots = [tmp_path / "a\0b", tmp_path / "\ud800", Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))]

    looks = [look(root) for root in roots]

    assert [said(seen.report) for seen in looks] == [[("path_not_found", None)]] * 3
    assert all(seen.signature is not None and seen.signature.unchanged() for seen in looks)
    assert all(seen.report.model_dump_json() for seen in looks)


def test_link_loops(bundle: Path) -> None:
    """Links in circles, to files and to directories above, end."""
    (bundle / "unet" / "up").symlink_to("..")
    (bundle / "unet" / "self").symlink_to("self")
    (bundle / "vae" / "sideways").symlink_to("../unet")

    seen = look(bundle)

    assert seen.report.is_valid
    assert seen.signature is not None
    assert len(seen.signature) < 60


def test_too_many_entries(bundle: Path) -> None:
    """More than 20,000 entries are no pipeline; what was walked until there is signed."""
    (bundle / "many").mkdir()
    for number in range(20_001):
        (bundle / "many" / str(number)).symlink_to("x")

    seen = look(bundle)

    assert said(seen.report) == [("file_too_large", None)]
    assert seen.signature is not None
    assert len(seen.signature) == 20_000
    assert seen.report.identity is None


def test_too_many_levels(bundle: Path) -> None:
    """Eight levels are walked; a ninth is a finding."""
    deep = bundle.joinpath(*"12345678")
    deep.mkdir(parents=True)
    assert validate(bundle).is_valid

    (deep / "9").mkdir()

    assert said(validate(bundle)) == [("file_too_large", None)]


def test_looking_changes_nothing(bundle: Path) -> None:
    """After a look every entry has the bytes and the times it had before."""
    paths = [bundle, *sorted(bundle.rglob("*"))]
    before = [(path, path.stat().st_mtime_ns, path.stat().st_ctime_ns) for path in paths]
    contents = [path.read_bytes() for path in paths if path.is_file()]

    look(bundle)

    assert [bundle, *sorted(bundle.rglob("*"))] == paths
    assert [(path, path.stat().st_mtime_ns, path.stat().st_ctime_ns) for path in paths] == before
    assert [path.read_bytes() for path in paths if path.is_file()] == contents


HOSTILE_SETTINGS: list[tuple[BundleKind, str, str, Any]] = [
    (BundleKind.STABLE_DIFFUSION, "tokenizer/tokenizer_config.json", "padding_side", []),
    (BundleKind.STABLE_DIFFUSION, "unet/config.json", "_diffusers_version", f"0{'a' * 100_000}!"),
    (BundleKind.STABLE_DIFFUSION, "unet/config.json", "layers_per_block", 10**30),
    (BundleKind.STABLE_DIFFUSION, "unet/config.json", "layers_per_block", 10**15),
    (BundleKind.STABLE_DIFFUSION, "unet/config.json", "block_out_channels", [10**4000, 10**4000]),
    (BundleKind.FLUX, "transformer/config.json", "attention_head_dim", 10**4299),
]


@pytest.mark.parametrize(("kind", "path", "key", "value"), HOSTILE_SETTINGS, ids=lambda given: f"{given!s:.20}")
def test_a_setting_of_any_kind_and_size(kind: BundleKind, path: str, key: str, value: Any, tmp_path: Path) -> None:
    """A list for a word, a text that defeats a pattern, numbers without measure: a finding, at once, no exception."""
    root = tmp_path / "bundle"
    write_bundle(kind, root)
    settings = json.loads((root / path).read_text())
    (root / path).write_text(json.dumps({**settings, key: value}))

    report = validate(root)

    wrong = {"invalid_config_json", "weights_incomplete", "weights_shape_mismatch"}
    assert {finding.code for finding in report.findings} & wrong


def test_a_version_of_a_thousand_digits(bundle: Path) -> None:
    """Python turns no text of more than 4,300 digits into a number; such a version is none, and nothing else."""
    index = json.loads((bundle / "model_index.json").read_text())
    (bundle / "model_index.json").write_text(json.dumps({**index, "_diffusers_version": f"{'9' * 5000}.1"}))

    assert validate(bundle).is_valid


@pytest.mark.parametrize("depth", range(900, 1000, 3))
def test_a_setting_that_is_nested_as_deep_as_json_goes(depth: int, bundle: Path) -> None:
    """What could just be read may be too deep to be shown: it is shown in part."""
    config = bundle / "vae" / "config.json"
    nested = f"{'[' * depth}{']' * depth}"
    config.write_text(f'{config.read_text().rstrip()[:-1]}, "scaling_factor": {nested}}}')

    assert ("invalid_config_json", "vae/config.json") in said(validate(bundle))


@pytest.mark.parametrize("line", [b"\n", b" "])
def test_merges_are_not_spread_out_in_memory(line: bytes, tmp_path: Path) -> None:
    """15 MB of nothing in merges.txt would be gigabytes as lists of words; the first wrong line ends the reading."""
    write_bundle(BundleKind.STABLE_DIFFUSION, tmp_path / "bundle")
    (tmp_path / "bundle" / "tokenizer" / "merges.txt").write_bytes(line * 15_000_000)
    tracemalloc.start()

    report = validate(tmp_path / "bundle")

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert ("invalid_tokenizer_files", "tokenizer/merges.txt") in said(report)
    assert peak < 100_000_000


def test_headers_are_bounded_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand shards may each have a header of the largest size: of all together no more is read."""
    write_bundle(BundleKind.STABLE_DIFFUSION, tmp_path / "bundle")
    monkeypatch.setattr("pumas_agent.bundles.weights.files.MAX_HEADER_BYTES", 1000)

    codes = {finding.code for finding in validate(tmp_path / "bundle").findings}

    assert codes == {"file_too_large"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4),
    max_leaves=12,
)
near_indexes = st.dictionaries(
    st.sampled_from(["_class_name", "unet", "vae", "..", "", ".", "/", "a\0", "\ud800"]) | st.text(st.characters()),
    json_values | st.just(["diffusers", "X"]) | st.just(CLASS_NAME),
).map(lambda index: json.dumps(index).encode())


@settings(deadline=None, max_examples=150, database=None)
@given(content=st.binary(max_size=200) | near_indexes)
def test_any_bytes_as_index(content: bytes) -> None:
    """Whatever model_index.json holds, there is a report, it is JSON, and it is the same twice."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "unet").mkdir()
        (root / "model_index.json").write_bytes(content)

        report = validate(root)

        assert validate(root) == report
        assert BundleReport.model_validate_json(report.model_dump_json()) == report


def test_a_vocabulary_of_nothing_but_lists(tmp_path: Path) -> None:
    """Three bytes of text are a list of seventy: the file is refused before it is decoded."""
    write_bundle(BundleKind.STABLE_DIFFUSION, tmp_path)
    content = b"[" + b"[]," * 4_000_000 + b"[]]"
    (tmp_path / "tokenizer" / "vocab.json").write_bytes(content)

    tracemalloc.start()
    report = validate(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert ("invalid_tokenizer_files", "tokenizer/vocab.json") in said(report)
    assert peak < 10 * len(content)
