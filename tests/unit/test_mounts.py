"""Which filesystems answer by themselves."""

from pathlib import Path

import pytest

from pumas_agent import mounts
from pumas_agent.mounts import is_local


def test_a_local_filesystem(tmp_path: Path) -> None:
    """The disk of this machine is local."""
    assert is_local(tmp_path)


def test_a_filesystem_that_is_not_named(tmp_path: Path) -> None:
    """What is not known to be local is not, and neither is what is not there."""
    assert not is_local(Path("/proc/self"))
    assert not is_local(tmp_path / "gone")


@pytest.mark.parametrize(("kind", "local"), [("btrfs", True), ("nfs4", False), ("fuse.sshfs", False)])
def test_a_device_that_no_mount_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, *, local: bool
) -> None:
    """A subvolume's device is in no mount: then the mount around the path counts, the innermost one."""
    place = tmp_path / "my models"
    (place / "bundle").mkdir(parents=True)
    escaped = str(place).replace(" ", r"\040")
    table = tmp_path / "mountinfo"
    table.write_text(
        f"1 0 250:250 / / rw,relatime - ext4 /dev/x rw\n2 1 250:251 / {escaped} rw master:1 - {kind} server:/x rw\n"
    )
    monkeypatch.setattr(mounts, "MOUNTINFO", table)

    assert is_local(place / "bundle") is local
    assert is_local(tmp_path)


def test_without_mountinfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel has no mountinfo, psutil says which filesystems there are."""
    monkeypatch.setattr(mounts, "MOUNTINFO", tmp_path / "none")

    assert is_local(tmp_path)
    assert not is_local(Path("/proc/self"))
