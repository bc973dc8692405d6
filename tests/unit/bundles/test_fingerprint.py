"""The stat signature: it sees every change that a verdict may rest on, and is cheap where nothing changed."""

import os
import sys
import timeit
from collections.abc import Callable
from pathlib import Path

import pytest

from pumas_agent.bundles import StatSignature
from pumas_agent.bundles.walk import Stat, status_of, walk
from pumas_agent.demo.bundle import write_stable_diffusion_bundle

WEIGHTS = Path("unet", "diffusion_pytorch_model.safetensors")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle whose VAE config is a link to a blob outside, and which has a dangling link."""
    root = tmp_path / "bundle"
    write_stable_diffusion_bundle(root)
    (tmp_path / "blobs").mkdir()
    for name in ("one", "two"):
        (tmp_path / "blobs" / name).write_bytes((root / "vae" / "config.json").read_bytes())
    (root / "vae" / "config.json").unlink()
    (root / "vae" / "config.json").symlink_to(tmp_path / "blobs" / "one")
    (root / "dangling").symlink_to(tmp_path / "blobs" / "three")
    (tmp_path / "far").mkdir()
    (root / "folder_link").symlink_to(tmp_path / "far")
    return root


def rewrite_same_size(root: Path) -> None:
    """Other bytes, and the old modification time."""
    status = (root / WEIGHTS).stat()
    with (root / WEIGHTS).open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\0\0\0\1")
    os.utime(root / WEIGHTS, ns=(status.st_atime_ns, status.st_mtime_ns))


def append(root: Path) -> None:
    with (root / WEIGHTS).open("ab") as file:
        file.write(b"\0")


def rename_over(root: Path) -> None:
    new = root.parent / "new"
    new.write_bytes((root / WEIGHTS).read_bytes())
    new.replace(root / WEIGHTS)


def replace_blob(root: Path) -> None:
    (root.parent / "new").write_bytes(b"{}")
    (root.parent / "new").replace(root.parent / "blobs" / "one")


def retarget_link(root: Path) -> None:
    (root / "new").symlink_to(root.parent / "blobs" / "two")
    (root / "new").replace(root / "vae" / "config.json")


def replace_root(root: Path) -> None:
    root.rename(root.parent / "old")
    write_stable_diffusion_bundle(root)


CHANGES: dict[str, Callable[[Path], object]] = {
    "write": lambda root: (root / "model_index.json").write_text("{}"),
    "truncate": lambda root: os.truncate(root / WEIGHTS, 10),
    "append": append,
    "same-size rewrite": rewrite_same_size,
    "rename over": rename_over,
    "rename": lambda root: (root / "vae").rename(root / "vae2"),
    "delete": lambda root: (root / WEIGHTS).unlink(),
    "add a file to a component": lambda root: (root / "unet" / "extra").touch(),
    "chmod of a file": lambda root: (root / WEIGHTS).chmod(0o400),
    "chmod of a directory": lambda root: (root / "vae").chmod(0o500),
    "chmod of the root": lambda root: root.chmod(0o500),
    "link retargeted": retarget_link,
    "blob written behind a link": lambda root: (root.parent / "blobs" / "one").write_text("{}"),
    "blob replaced behind a link": replace_blob,
    "blob removed behind a link": lambda root: (root.parent / "blobs" / "one").unlink(),
    "dangling link fulfilled": lambda root: (root.parent / "blobs" / "three").touch(),
    "file added behind a folder link": lambda root: (root.parent / "far" / "file").touch(),
    "root moved": lambda root: root.rename(root.parent / "moved"),
    "root replaced": replace_root,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_sees(bundle: Path, change: Callable[[Path], object]) -> None:
    """Every such change is seen."""
    signature = StatSignature.take(bundle)
    assert signature.unchanged()

    change(bundle)

    assert not signature.unchanged()
    assert StatSignature.take(bundle).unchanged()


def test_reading_is_no_change(bundle: Path) -> None:
    """Reading files and listing folders leaves a signature true."""
    signature = StatSignature.take(bundle)

    for path in bundle.rglob("*"):
        if path.is_file():
            path.read_bytes()

    assert signature.unchanged()


def test_a_missing_root_has_a_signature(bundle: Path) -> None:
    """Still missing is unchanged; returned is not."""
    bundle.rename(bundle.parent / "away")
    signature = StatSignature.take(bundle)
    assert signature.unchanged()

    (bundle.parent / "away").rename(bundle)

    assert not signature.unchanged()


def test_a_root_that_went_and_returned_is_unchanged_or_seen(bundle: Path) -> None:
    """A rename away and back touches nothing inside; what was true of the bundle is true again."""
    signature = StatSignature.take(bundle)

    bundle.rename(bundle.parent / "away")
    assert not signature.unchanged()
    (bundle.parent / "away").rename(bundle)

    assert StatSignature.take(bundle).unchanged()


def test_json_round_trip(bundle: Path) -> None:
    """A signature read back from JSON is the same and as good."""
    signature = StatSignature.take(bundle)

    again = StatSignature.from_json(signature.to_json())

    assert again == signature
    assert again.unchanged()
    assert len(again) == len([bundle, *bundle.rglob("*")])


def test_a_check_is_cheap(bundle: Path) -> None:
    """Some microseconds an entry: the bound is loose, because the machine may be busy."""
    signature = StatSignature.take(bundle)

    best = min(timeit.repeat(signature.unchanged, number=20, repeat=10)) / 20

    assert best / len(signature) < 20e-6


def test_an_unchanged_bundle_costs_no_file_opened(bundle: Path) -> None:
    """The check asks for the status of each path, and nothing else."""
    signature = StatSignature.take(bundle)
    opened: list[object] = []
    watching = True

    def note(event: str, args: tuple[object, ...]) -> None:
        if watching and event in {"open", "os.listdir", "os.scandir"}:
            opened.append(args[0])

    sys.addaudithook(note)  # there is no way to take it away again; it is deaf from here on
    unchanged = signature.unchanged()
    watching = False

    assert unchanged
    assert opened == []


def test_a_time_beyond_what_eight_bytes_hold_counts_as_changed(tmp_path: Path) -> None:
    """Nanoseconds since 1970 end in 2262; filesystems do not. Judged too often is right, and served unseen is not."""
    status = status_of(str(tmp_path))
    assert isinstance(status, Stat)
    far = StatSignature.of_entries(
        str(tmp_path), [(str(tmp_path), status._replace(mtime_ns=2**63 + 5, ctime_ns=2**63 + 5))]
    )
    assert not far.unchanged()
    assert far.is_racy(status.ctime_ns, local=False)


def test_a_signature_holds_whatever_a_filesystem_may_say() -> None:
    """A FUSE program says what it likes: inodes of 64 bits, sizes and devices below zero, times long ago."""
    odd = Stat(-5, 0, -1, 2**64 - 1, 0o100644, -2, 2**32 - 1)
    assert list(StatSignature.of_entries("/r", [("/r", odd), ("/r/x", 40)]).entries) == [("/r", odd), ("/r/x", 40)]


def test_a_signature_of_names_that_are_no_text_is_what_was_walked(tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/line\nbreak \xff"
    Path(os.fsdecode(odd)).touch()
    tree = walk(tmp_path)
    assert tuple(StatSignature.of(tree).entries) == tree.entries
