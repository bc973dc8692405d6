"""What happens around a running agent: its library goes, its disk is full, its log has no reader."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pumas_agent.contracts.errors import LibraryUnavailable, PumasError
from pumas_agent.demo.snapshot import differences, snapshot

if TYPE_CHECKING:
    from tests.service.conftest import AgentUnderTest, MakeBundle, StartAgent

Until = Callable[..., Any]
_RETRY_S = 20.0
"""A look that failed is tried again after 1, 2, 4 … seconds."""


def test_a_library_that_goes_away_stops_writing_not_answering(
    agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until
) -> None:
    """Renamed away: `library_offline`, nothing written anywhere, lookups still true; back again: as if nothing was."""
    agent.expected.add("reconcile.failed")
    broken, whole = make_bundle("broken"), make_bundle("whole")
    broken_id, whole_id = agent.register(broken), agent.register(whole)
    agent.settled()
    aside = agent.library.with_name("aside")

    agent.library.rename(aside)
    agent.wait_for("alert.raised", code="library_offline", severity="critical")
    left = snapshot(aside)
    shutil.rmtree(broken / "unet")
    assert agent.refusal(broken_id) is not None
    assert agent.client.descriptor(whole_id).entry_path == str(whole)
    with pytest.raises(LibraryUnavailable):
        agent.client.call("reconcile")
    with pytest.raises(LibraryUnavailable):
        agent.register(make_bundle("late"))
    with pytest.raises(LibraryUnavailable):
        agent.client.call("unregister_external_model", model_id=whole_id)
    assert agent.client.call("list_models")["totalCount"] == 2
    assert ("library_offline", None) in agent.alerts()
    assert not agent.library.exists()
    assert differences(left, snapshot(aside)) == []

    aside.rename(agent.library)
    agent.wait_for("alert.cleared", code="library_offline", within_s=_RETRY_S)
    until(lambda: agent.state(broken_id) == "degraded", "what happened meanwhile is committed", within_s=_RETRY_S)
    assert agent.alerts() == {("bundle_incomplete", broken_id)}
    assert agent.register(make_bundle("late"))


def test_an_empty_folder_in_place_of_the_library_drops_nothing(
    agent: "AgentUnderTest", make_bundle: "MakeBundle"
) -> None:
    """An unmounted disk leaves an empty folder: no row is dropped, and nothing is written there."""
    agent.expected.add("reconcile.failed")
    model_id = agent.register(make_bundle())
    agent.settled()
    aside = agent.library.with_name("aside")

    agent.library.rename(aside)
    agent.library.mkdir()
    agent.wait_for("alert.raised", code="library_offline")
    with pytest.raises(LibraryUnavailable):
        agent.client.call("reconcile")
    with pytest.raises(LibraryUnavailable):
        agent.client.call("rebuild_model_index")
    assert agent.state(model_id) == "valid"
    assert list(agent.library.iterdir()) == []

    agent.library.rmdir()
    aside.rename(agent.library)
    agent.wait_for("alert.cleared", code="library_offline", within_s=_RETRY_S)
    agent.settled()
    assert agent.state(model_id) == "valid"


@pytest.fixture
def small_disk(short_tmp: Path, in_gate: bool) -> Iterator[Path]:
    """A filesystem of 3 MiB."""
    mount = short_tmp / "disk"
    mount.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m,mode=755", "tmpfs", str(mount)], capture_output=True, check=False
    )
    if done.returncode:
        assert not in_gate, done.stderr
        pytest.skip("no right to mount here")
    yield mount
    subprocess.run(["umount", "--lazy", str(mount)], check=True)


def _fill(disk: Path) -> Path:
    filler = disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            with suppress(OSError):
                while file.write(b"x" * size):
                    pass
    return filler


@pytest.mark.needs_root
def test_a_full_disk_delays_the_record_not_the_truth(
    small_disk: Path, start: "StartAgent", make_bundle: "MakeBundle", until: Until
) -> None:
    """The worse verdict is served, `library_unwritable` stands; with space again the record follows by itself."""
    agent = start(library=small_disk / "library")
    agent.expected |= {"reconcile.failed"}
    bundle = make_bundle()
    model_id = agent.register(bundle)
    agent.settled()
    record = agent.library / model_id / "metadata.json"
    before = record.read_bytes()
    filler = _fill(small_disk)

    shutil.rmtree(bundle / "unet")
    refusal = agent.refusal(model_id)
    assert refusal is not None
    assert [found["code"] for found in refusal.findings] == ["missing_component"]
    agent.wait_for("alert.raised", code="library_unwritable")
    agent.wait_for("alert.raised", code="bundle_incomplete", model_id=model_id)
    assert {code for code, _ in agent.alerts()} == {"bundle_incomplete", "library_unwritable"}
    assert record.read_bytes() == before
    with pytest.raises(PumasError) as refused:
        agent.register(make_bundle("other"))
    assert refused.value.code == "library_unwritable"
    assert not (agent.library / "diffusion" / "acme" / "other").exists()
    assert {path.name for path in record.parent.iterdir()} <= {"metadata.json", "metadata.json.bak"}

    filler.unlink()
    until(lambda: agent.state(model_id) == "degraded", "the record follows", within_s=_RETRY_S)
    agent.wait_for("alert.cleared", code="library_unwritable", within_s=_RETRY_S)
    assert json.loads(record.read_text())["validation_state"] == "degraded"
    assert agent.alerts() == {("bundle_incomplete", model_id)}


@pytest.mark.needs_root
def test_a_library_that_becomes_read_only_delays_the_record_not_the_truth(
    start: "StartAgent", make_bundle: "MakeBundle", until: Until
) -> None:
    """A read-only mount lies over the library, as the kernel makes a filesystem with errors read-only under us."""
    agent = start(within=("unshare", "--mount", "--propagation", "private"))
    agent.expected |= {"reconcile.failed"}
    bundle = make_bundle()
    model_id = agent.register(bundle)
    agent.settled()
    inside = ["nsenter", f"--target={agent.pid}", "--mount"]
    before = (record := agent.library / model_id / "metadata.json").read_bytes()
    subprocess.run([*inside, "mount", "--bind", "-o", "ro", agent.library, agent.library], check=True)

    (index := bundle / "model_index.json").rename(aside := bundle.with_name("aside"))
    assert agent.refusal(model_id) is not None
    agent.wait_for("alert.raised", code="library_unwritable")
    assert record.read_bytes() == before
    with pytest.raises(PumasError) as refused:
        agent.register(make_bundle("other"))
    assert refused.value.code == "library_unwritable"
    subprocess.run([*inside, "umount", "--lazy", agent.library], check=True)

    until(lambda: agent.state(model_id) == "degraded", "the record follows", within_s=_RETRY_S)
    agent.wait_for("alert.cleared", code="library_unwritable", within_s=_RETRY_S)
    aside.rename(index)
    until(lambda: agent.state(model_id) == "valid", "it is mended")
    until(lambda: not agent.alerts(), "nothing stands")


@pytest.mark.needs_root
def test_a_record_that_may_not_be_written_delays_no_truth(
    agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until
) -> None:
    """One folder that takes no file: its model is refused all the same, an alert says why, the others are recorded."""
    agent.expected |= {"reconcile.failed"}
    closed, free = make_bundle("closed"), make_bundle("free")
    closed_id, free_id = agent.register(closed), agent.register(free)
    agent.settled()
    folder = str(agent.library / closed_id)
    subprocess.run(["chattr", "+i", folder], check=True)
    try:
        for bundle in (closed, free):
            shutil.rmtree(bundle / "unet")
        until(lambda: agent.state(free_id) == "degraded", "the other one is recorded")
        agent.wait_for("alert.raised", code="library_unwritable")
        assert agent.refusal(closed_id) is not None
        assert agent.state(closed_id) == "valid"
    finally:
        subprocess.run(["chattr", "-i", folder], check=True)

    until(lambda: agent.state(closed_id) == "degraded", "the record follows", within_s=_RETRY_S)
    agent.wait_for("alert.cleared", code="library_unwritable", within_s=_RETRY_S)


@pytest.mark.needs_root
def test_a_disk_that_is_unmounted_and_mounted_again_is_watched_again(
    small_disk: Path, agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until
) -> None:
    """So quickly that no sweep sees it gone, with the same device and inode numbers: events tell again all the same."""
    bundle = make_bundle(parent=small_disk)
    model_id = agent.register(bundle)
    agent.settled()

    subprocess.run(["umount", str(small_disk)], check=True)
    assert agent.refusal(model_id) is not None
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m,mode=755", "tmpfs", str(small_disk)], check=True)
    make_bundle(parent=small_disk)
    until(lambda: agent.state(model_id) == "valid", "it is seen to be back")
    agent.settled()
    shutil.rmtree(bundle / "unet")

    until(lambda: agent.state(model_id) == "degraded", "the break is seen")


def test_a_reader_of_the_log_that_goes_away_ends_nothing(
    agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until
) -> None:
    """Every line fails to be written from then on: alerts stand, records follow, and it ends well when told to."""
    root = make_bundle()
    model_id = agent.register(root)
    agent.settled()

    agent.close_log()
    for _ in range(3):
        shutil.rmtree(root / "unet")
        until(lambda: agent.alerts() == {("bundle_incomplete", model_id)}, "the alert stands")
        until(lambda: agent.state(model_id) == "degraded", "the record follows")
        make_bundle()
        until(lambda: agent.state(model_id) == "valid", "the record follows back")

    agent.stop()
