"""Where a bundle is that is gone: proven by content, told apart by inode, and with its filesystem when that is gone."""

import shutil
import time
from pathlib import Path

import pytest

from pumas_agent import mounts as mounts_module
from pumas_agent.bundles import identity_of
from pumas_agent.contracts.metadata import AgentFacts, MountFacts
from pumas_agent.demo.bundle import write_stable_diffusion_bundle
from pumas_agent.mounts import Mount, Mounts
from pumas_agent.upkeep.whereabouts import Fate, Lost, Whereabouts, is_safe_place, whereabouts

ROOT = Mount("/", "ext4", "8:1", "/dev/sda1")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    root = tmp_path / "disk" / "bundle"
    write_stable_diffusion_bundle(root)
    return root


def facts_of(root: Path, mount: MountFacts | None = None) -> AgentFacts:
    return AgentFacts(identity=identity_of(root), inode=root.stat().st_ino, mount=mount)


def search(
    lost: Lost, *, table: Mounts | None = None, taken: frozenset[str] = frozenset(), roots: tuple[Path, ...] = ()
) -> Whereabouts:
    return whereabouts(
        lost,
        mounts=table or Mounts((ROOT,)),
        taken=taken,
        search_roots=roots,
        library=Path("/nowhere"),
        deadline=time.monotonic() + 30,
    )


def test_the_same_folder_under_another_name(bundle: Path) -> None:
    """Beside its old place."""
    lost = Lost(str(bundle), facts_of(bundle))
    bundle.rename(bundle.with_name("renamed"))

    assert search(lost) == Whereabouts(Fate.MOVED, str(bundle.with_name("renamed")))


def test_of_two_with_the_same_content_the_same_folder(bundle: Path) -> None:
    """A copy has another inode; of two copies nobody can tell."""
    lost = Lost(str(bundle), facts_of(bundle))
    shutil.copytree(bundle, bundle.with_name("copy"))
    shutil.copytree(bundle, bundle.with_name("copy2"))
    bundle.rename(bundle.with_name("renamed"))
    assert search(lost).moved_to == str(bundle.with_name("renamed"))

    shutil.rmtree(bundle.with_name("renamed"))
    found = search(lost)

    assert (found.fate, found.moved_to) == (Fate.MISSING, None)
    assert found.candidates == (str(bundle.with_name("copy")), str(bundle.with_name("copy2")))


def test_what_belongs_to_another_model_is_not_it(bundle: Path) -> None:
    """However alike it is."""
    lost = Lost(str(bundle), facts_of(bundle))
    bundle.rename(bundle.with_name("renamed"))

    assert search(lost, taken=frozenset({str(bundle.with_name("renamed"))})) == Whereabouts(Fate.MISSING)


def test_search_roots_and_hints(bundle: Path, tmp_path: Path) -> None:
    """Far from its old place it is found where the settings say, and where it was seen to go."""
    lost = Lost(str(bundle), facts_of(bundle))
    far = tmp_path / "far" / "off" / "place"
    far.parent.mkdir(parents=True)
    bundle.rename(far)

    assert search(lost) == Whereabouts(Fate.MISSING)
    assert search(lost, roots=(tmp_path / "far",)) == Whereabouts(Fate.MOVED, str(far))
    assert search(Lost(lost.root, lost.facts, (str(far),))) == Whereabouts(Fate.MOVED, str(far))


def test_a_fine_tune_is_another_bundle(bundle: Path) -> None:
    """Weights are sampled: the same headers are not the same numbers."""
    lost = Lost(str(bundle), facts_of(bundle))
    shutil.rmtree(bundle)
    write_stable_diffusion_bundle(bundle.with_name("tuned"), seed=1)

    assert search(lost) == Whereabouts(Fate.MISSING)


def test_a_filesystem_that_is_not_mounted(bundle: Path) -> None:
    """The mount point belongs to another filesystem now: the bundle is with its own, wherever that is."""
    known = MountFacts(point=str(bundle.parent), kind="ext4", source="/dev/sdb1", path="bundle")
    lost = Lost(str(bundle), facts_of(bundle, known))
    shutil.rmtree(bundle)

    assert search(lost) == Whereabouts(Fate.OFFLINE, mount=known)


def test_a_filesystem_that_is_mounted_elsewhere(bundle: Path) -> None:
    """The same one, by what is mounted; and the bundle in it, by its content."""
    known = MountFacts(point="/media/usb", kind="ext4", source="/dev/sdb1", path="bundle")
    lost = Lost("/media/usb/bundle", facts_of(bundle, known))
    table = Mounts((ROOT, Mount(str(bundle.parent), "ext4", "8:17", "/dev/sdb1")))

    assert search(lost, table=table) == Whereabouts(Fate.MOVED, str(bundle), remounted=True)


def test_a_filesystem_is_known_by_its_uuid(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under another device name it is the same; another one under the same device name is not."""
    by_uuid, device = tmp_path / "by-uuid", tmp_path / "sdc1"
    by_uuid.mkdir()
    device.touch()
    (by_uuid / "1234-ABCD").symlink_to(device)
    monkeypatch.setattr(mounts_module, "BY_UUID", by_uuid)
    monkeypatch.setattr(mounts_module, "DEVICES", str(tmp_path))
    known = MountFacts(point="/media/usb", kind="ext4", source="/dev/sdb1", uuid="1234-ABCD", path="bundle")
    lost = Lost("/media/usb/bundle", facts_of(bundle, known))
    elsewhere = Mount(str(bundle.parent), "ext4", "8:33", str(device))

    assert search(lost, table=Mounts((ROOT, elsewhere))) == Whereabouts(Fate.MOVED, str(bundle), remounted=True)
    (by_uuid / "1234-ABCD").rename(by_uuid / "other")
    assert search(lost, table=Mounts((ROOT, elsewhere))).fate is Fate.OFFLINE


def test_a_safe_place_is_one_that_others_cannot_write_to(tmp_path: Path) -> None:
    """Its owner is ours or root, and no folder above it may be written by everybody, unless it is sticky."""
    place = tmp_path / "a" / "b"
    place.mkdir(parents=True)
    owner = place.stat().st_uid
    assert is_safe_place(place, owner)

    place.parent.chmod(0o777)
    assert not is_safe_place(place, owner)
    place.parent.chmod(0o1777)
    assert is_safe_place(place, owner)
    assert not is_safe_place(tmp_path / "gone", owner)
