"""A bundle's root goes, by every way there is: what is said and refused, and that all is well by itself afterwards.

On real filesystems; those that are mounted are in a mount namespace of the agent's own.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pumas_agent.contracts.errors import AssetUnresponsive
from pumas_agent.demo.snapshot import differences, snapshot

if TYPE_CHECKING:
    from tests.service.conftest import AgentUnderTest, MakeBundle, StartAgent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mounts and namespaces of Linux")

Until = Callable[..., Any]
TINY = "diffusion/acme/tiny"
FUSE = Path(__file__).with_name("fuse_passthrough.py")
UNSHARED = ("unshare", "--mount", "--propagation", "private")
SOON_S = 3.0
"""Debounce, search and a sweep, with room for a busy machine."""


def exchange(one: Path, other: Path) -> None:
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def assert_refused_and_told(
    agent: "AgentUnderTest", until: Until, alert: str, *, after: int, model_id: str = TINY
) -> dict[str, Any]:
    """Refused at once; degraded in row and file, registered still, one alert; the alert."""
    refusal = agent.refusal(model_id)
    assert refusal is not None
    assert refusal.validation_state == "degraded"
    raised = agent.wait_for("alert.raised", after=after, within_s=SOON_S, code=alert, model_id=model_id)
    until(lambda: agent.state(model_id) == "degraded", "the row says degraded")
    record = json.loads((agent.library / model_id / "metadata.json").read_text())
    assert record["validation_state"] == "degraded"
    assert {code for code, about in agent.alerts() if about == model_id} == {alert}
    return raised


def assert_well_again(agent: "AgentUnderTest", until: Until, root: Path, model_id: str = TINY) -> None:
    """Valid by itself, served from where it was, and nothing stands."""
    until(lambda: agent.state(model_id) == "valid", "the row says valid")
    until(lambda: not agent.alerts(), "no alert stands")
    assert agent.client.descriptor(model_id).entry_path == str(root)


class TestOnOneFilesystem:
    """Renames, deletions and swaps."""

    def test_renamed_and_back(self, agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until) -> None:
        root = make_bundle()
        agent.register(root)
        agent.settled()
        heard = len(agent.lines)

        root.rename(root.with_name("renamed"))
        raised = assert_refused_and_told(agent, until, "bundle_moved", after=heard)
        assert raised["evidence"] == {"moved_to": str(root.with_name("renamed"))}
        root.with_name("renamed").rename(root)

        assert_well_again(agent, until, root)

    def test_moved_beside_another_bundle(
        self, agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until, short_tmp: Path
    ) -> None:
        """From one watched place to another: the way it went was seen."""
        root, other = make_bundle(), make_bundle("other", parent=short_tmp / "disk2")
        agent.register(root)
        agent.register(other)
        agent.settled()
        heard = len(agent.lines)

        root.rename(other.parent / "moved")
        raised = assert_refused_and_told(agent, until, "bundle_moved", after=heard)

        assert raised["evidence"] == {"moved_to": str(other.parent / "moved")}

    def test_a_grandparent_renamed(
        self, agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until, short_tmp: Path
    ) -> None:
        root = make_bundle(parent=short_tmp / "grand" / "parent")
        agent.register(root)
        agent.settled()
        heard = len(agent.lines)

        (short_tmp / "grand").rename(short_tmp / "elsewhere")
        raised = assert_refused_and_told(agent, until, "bundle_moved", after=heard)
        assert raised["evidence"] == {"moved_to": str(short_tmp / "elsewhere" / "parent" / "tiny")}
        (short_tmp / "elsewhere").rename(short_tmp / "grand")

        assert_well_again(agent, until, root)

    def test_deleted_and_made_again_in_one_tick(
        self, agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until, short_tmp: Path
    ) -> None:
        """Perhaps with the same inode number: what is there is judged, and watched."""
        root = make_bundle()
        shutil.copytree(root, short_tmp / "copy")
        agent.register(root)
        agent.settled()

        for _ in range(5):
            shutil.rmtree(root)
            shutil.copytree(short_tmp / "copy", root)
            assert agent.refusal(TINY) is None
        agent.settled()
        (root / "model_index.json").unlink()

        until(lambda: ("bundle_incomplete", TINY) in agent.alerts(), "the new folder is watched")

    def test_two_bundles_of_one_kind_swapped(
        self, agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until
    ) -> None:
        """Each is judged as what it is now, and that it is another one is said."""
        root, other = make_bundle(), make_bundle("other")
        agent.register(root)
        agent.register(other)
        agent.settled()
        heard = len(agent.lines)

        exchange(root, other)

        for model_id in (TINY, "diffusion/acme/other"):
            agent.wait_for("alert.raised", after=heard, within_s=SOON_S, code="bundle_changed", model_id=model_id)
            assert agent.refusal(model_id) is None
        until(lambda: {agent.state(TINY), agent.state("diffusion/acme/other")} == {"valid"}, "both are valid")

    def test_another_kind_of_bundle_in_its_place(
        self, agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until
    ) -> None:
        """Runtimes are not given something else under the same id; acceptance is a person's."""
        root = make_bundle()
        agent.register(root)
        agent.settled()
        heard = len(agent.lines)
        index = root / "model_index.json"
        text = index.read_text()

        index.write_text(text.replace("StableDiffusionPipeline", "StableDiffusionPAGPipeline"))
        raised = assert_refused_and_told(agent, until, "bundle_replaced", after=heard)
        assert [finding["code"] for finding in raised["evidence"]["findings"]] == ["bundle_replaced"]
        agent.client.call("reconcile", model_id=TINY)
        assert agent.refusal(TINY) is not None
        accepted = agent.client.call("accept_bundle_change", model_id=TINY)
        assert accepted["validation_state"] == "valid"
        assert agent.client.descriptor(TINY).pipeline_class == "StableDiffusionPAGPipeline"
        heard = len(agent.lines)
        index.write_text(text)

        assert_refused_and_told(agent, until, "bundle_replaced", after=heard)

    def test_a_case_only_rename(self, agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until) -> None:
        """Another name, on a filesystem that tells cases apart."""
        root = make_bundle()
        agent.register(root)
        agent.settled()
        heard = len(agent.lines)

        root.rename(root.with_name("TINY"))

        raised = assert_refused_and_told(agent, until, "bundle_moved", after=heard)
        assert raised["evidence"] == {"moved_to": str(root.with_name("TINY"))}

    def test_a_link_it_was_registered_by_leads_to_where_it_went(
        self, agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until, short_tmp: Path
    ) -> None:
        """The path as it was given is kept for that: the place is found though nothing else leads there."""
        root, away = make_bundle(), short_tmp / "far" / "away" / "v2"
        link = short_tmp / "current"
        link.symlink_to(root)
        agent.register(link, official_name="tiny")
        agent.settled()
        assert agent.client.descriptor(TINY).entry_path == str(root)
        heard = len(agent.lines)

        shutil.copytree(root, away)
        link.unlink()
        link.symlink_to(away)
        assert agent.refusal(TINY) is None  # what was registered is there still
        shutil.rmtree(root)

        raised = assert_refused_and_told(agent, until, "bundle_moved", after=heard)
        assert raised["evidence"] == {"moved_to": str(away)}

    def test_it_is_found_in_a_folder_of_the_settings(
        self, start: "StartAgent", make_bundle: "MakeBundle", until: Until, short_tmp: Path
    ) -> None:
        """Told as missing soon, and as moved when the search has come that far."""
        far = short_tmp / "far" / "off"
        far.mkdir(parents=True)
        agent = start(PUMAS_AGENT_BUNDLES__SEARCH_ROOTS=str(far.parent))
        root = make_bundle()
        agent.register(root)
        agent.settled()
        heard = len(agent.lines)

        root.rename(far / "tiny")

        raised = assert_refused_and_told(agent, until, "bundle_moved", after=heard)
        assert raised["evidence"] == {"moved_to": str(far / "tiny")}

    def test_a_registry_folder_that_is_removed_takes_its_alert_with_it(
        self, agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until
    ) -> None:
        """Of a bundle that is gone as well: nothing is said any more of what is not registered."""
        root, other = make_bundle(), make_bundle("other")
        agent.register(root)
        agent.register(other)
        agent.settled()
        shutil.rmtree(root)
        until(lambda: ("bundle_missing", TINY) in agent.alerts(), "it is missing")

        agent.client.call("unregister_external_model", model_id=TINY)
        heard = len(agent.lines)
        shutil.rmtree(other)

        agent.wait_for("alert.raised", after=heard, code="bundle_missing", model_id="diffusion/acme/other")
        assert {about for _, about in agent.alerts()} == {"diffusion/acme/other"}

    def test_a_link_to_nowhere_in_its_place(
        self, agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until
    ) -> None:
        """Something is at the path, and it leads to nothing: the bundle is gone, and is found."""
        root = make_bundle()
        agent.register(root)
        agent.settled()
        heard = len(agent.lines)

        root.rename(root.with_name("renamed"))
        root.symlink_to("nowhere")

        raised = assert_refused_and_told(agent, until, "bundle_moved", after=heard)
        assert raised["evidence"] == {"moved_to": str(root.with_name("renamed"))}

    def test_two_copies_are_no_proof(self, agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until) -> None:
        """Which of them it is cannot be told: missing, with both named."""
        root = make_bundle()
        agent.register(root)
        agent.settled()
        copies = [root.with_name("copy1"), root.with_name("copy2")]
        for copy in copies:
            shutil.copytree(root, copy)
        heard = len(agent.lines)

        shutil.rmtree(root)

        raised = assert_refused_and_told(agent, until, "bundle_missing", after=heard)
        until(lambda: _candidates(agent) == [str(copy) for copy in copies], "both copies are named")
        assert raised["path"] == str(root)

    def test_a_fine_tune_is_not_the_bundle(
        self, agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until
    ) -> None:
        """Same index, configs and headers; other numbers in the weights."""
        root, tuned = make_bundle(), make_bundle("tuned")
        agent.register(root)
        agent.settled()
        heard = len(agent.lines)

        shutil.rmtree(root)

        raised = assert_refused_and_told(agent, until, "bundle_missing", after=heard)
        assert "candidates" not in raised["evidence"]
        assert tuned.is_dir()


def _candidates(agent: "AgentUnderTest") -> list[str]:
    alerts = agent.client.call("agent.health")["alerts"]
    return [path for alert in alerts for path in alert["evidence"].get("candidates", ())]


def _offline(agent: "AgentUnderTest") -> tuple[str, list[str]]:
    [alert] = agent.client.call("agent.health")["alerts"]
    return alert["path"], alert["evidence"]["models"]


class TestRelocation:
    """The record says where the bundle is; the id and everything attached to it stay."""

    def test_planned_and_applied(self, agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until) -> None:
        root = make_bundle()
        agent.register(root, tags=["keep"])
        agent.settled()
        new = root.with_name("new")
        root.rename(new)
        until(lambda: ("bundle_moved", TINY) in agent.alerts(), "it is known to have moved")
        until(lambda: agent.state(TINY) == "degraded", "that is recorded")
        before, record = snapshot(new), json.loads((agent.library / TINY / "metadata.json").read_text())

        plan = agent.client.call("relocate_external_model", model_id=TINY, new_path=str(new))
        assert (plan["same_bundle"], plan["refused"], plan["applied"]) == ("proven", None, False)
        assert json.loads((agent.library / TINY / "metadata.json").read_text()) == record
        done = agent.client.call("relocate_external_model", model_id=TINY, new_path=str(new), apply=True)

        assert done["applied"]
        assert_well_again(agent, until, new)
        after = json.loads((agent.library / TINY / "metadata.json").read_text())
        assert after["source_path"] == after["entry_path"] == str(new)
        changed = {key for key in record if record[key] != after.get(key)}
        kept = {"source_path", "entry_path", "updated_date", "agent", "validation_state", "validation_errors"}
        assert changed <= kept
        assert differences(before, snapshot(new)) == []
        (new / "model_index.json").rename(new / "aside")
        until(lambda: ("bundle_incomplete", TINY) in agent.alerts(), "the new place is watched")

    def test_another_bundle_is_refused_unless_forced(
        self, agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until
    ) -> None:
        root, other = make_bundle(), make_bundle("other")
        agent.register(root)
        agent.settled()
        asked: dict[str, Any] = {"model_id": TINY, "new_path": str(other), "apply": True}

        refused = agent.client.call("relocate_external_model", **asked)
        assert (refused["same_bundle"], refused["applied"]) == ("other", False)
        assert "another bundle" in refused["refused"]
        forced = agent.client.call("relocate_external_model", **asked, force=True)

        assert forced["applied"]
        until(lambda: agent.client.descriptor(TINY).entry_path == str(other), "it is served from there")

    def test_by_itself_when_that_is_wanted(self, start: "StartAgent", make_bundle: "MakeBundle", until: Until) -> None:
        """`bundles.auto_relocate`: on exactly one proven match, and it is said."""
        agent = start(PUMAS_AGENT_BUNDLES__AUTO_RELOCATE="true")
        root = make_bundle()
        agent.register(root)
        agent.settled()
        new = root.with_name("new")

        root.rename(new)

        said = agent.wait_for("bundle.relocated", model_id=TINY)
        assert (said["old_path"], said["new_path"]) == (str(root), str(new))
        assert_well_again(agent, until, new)

    def test_never_by_itself_when_many_vanish_together(
        self, start: "StartAgent", make_bundle: "MakeBundle", until: Until
    ) -> None:
        """Frozen with one alert, thawed by a person, or by themselves when they are back."""
        agent = start(PUMAS_AGENT_BUNDLES__AUTO_RELOCATE="true")
        roots = [make_bundle(f"b{number}") for number in range(4)]
        ids = [agent.register(root) for root in roots]
        agent.settled()
        disk = roots[0].parent

        disk.rename(disk.with_name("renamed"))
        until(lambda: agent.alerts() == {("mass_disappearance", None)}, "one alert for all")
        until(lambda: {agent.state(model_id) for model_id in ids} == {"degraded"}, "all are recorded")
        disk.with_name("renamed").rename(disk)
        until(lambda: not agent.alerts(), "thawed by itself")
        assert not agent.said("bundle.relocated")

        disk.rename(disk.with_name("renamed"))
        until(lambda: agent.alerts() == {("mass_disappearance", None)}, "frozen again")
        assert agent.client.call("thaw") == {"thawed": True}

        until(lambda: len(agent.said("bundle.relocated")) == len(ids), "all are relocated")
        until(lambda: not agent.alerts(), "no alert stands")
        for model_id, root in zip(ids, roots, strict=True):
            assert agent.client.descriptor(model_id).entry_path == str(disk.with_name("renamed") / root.name)

    def test_a_collection_at_once_by_command(
        self, agent: "AgentUnderTest", make_bundle: "MakeBundle", until: Until
    ) -> None:
        """`relocate --all OLD_PREFIX NEW_PREFIX`, with a plan that writes nothing."""
        roots = [make_bundle(name) for name in ("tiny", "other")]
        ids = [agent.register(root) for root in roots]
        agent.settled()
        old, new = roots[0].parent, roots[0].parent.with_name("renamed")
        old.rename(new)
        until(lambda: {agent.state(model_id) for model_id in ids} == {"degraded"}, "all are recorded")
        command = [sys.executable, "-m", "pumas_agent", "--socket", str(agent.socket), "relocate", "--all", old, new]

        planned = subprocess.run(
            [*map(str, command), "--plan"], capture_output=True, text=True, check=False, timeout=60
        )
        assert planned.returncode == 0, planned.stderr
        assert planned.stdout.count("the same bundle") == 2
        assert {agent.state(model_id) for model_id in ids} == {"degraded"}
        done = subprocess.run([*map(str, command), "--yes"], capture_output=True, text=True, check=False, timeout=60)

        assert "relocated 2 of 2" in done.stdout
        until(lambda: {agent.state(model_id) for model_id in ids} == {"valid"}, "all are valid")

    def test_a_copy_that_was_cut_off_is_refused_and_the_plan_says_where(
        self, agent: "AgentUnderTest", make_bundle: "MakeBundle", short_tmp: Path
    ) -> None:
        """Its identity is another one; what a person has to do is to complete it."""
        root, copy = make_bundle(), short_tmp / "copy"
        model_id = agent.register(root)
        shutil.copytree(root, copy)
        os.truncate(copy / "vae" / "diffusion_pytorch_model.safetensors", 20_000)
        command = [sys.executable, "-m", "pumas_agent", "--socket", agent.socket, "relocate", model_id, copy, "--plan"]

        planned = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=60)

        assert planned.returncode == 1
        assert "REFUSED" in planned.stdout
        assert "weights_truncated vae/diffusion_pytorch_model.safetensors: " in planned.stdout
        assert "hint: complete what was copied" in planned.stdout


class Namespace:
    """The mount namespace of an agent, and a filesystem image that can be mounted in it."""

    def __init__(self, agent: "AgentUnderTest", folder: Path) -> None:
        self._agent = agent
        self.folder = folder

    def run(self, *command: object) -> None:
        inside = ["nsenter", f"--target={self._agent.pid}", "--mount", *map(str, command)]
        subprocess.run(inside, check=True, capture_output=True, timeout=30)

    def seen(self, path: Path) -> Path:
        """A path of the namespace, as it can be reached from here."""
        return Path(f"/proc/{self._agent.pid}/root{path}")

    def image_of(self, content: Path) -> Path:
        """An ext4 image with what is below a folder."""
        image = self.folder / "image"
        subprocess.run(["mkfs.ext4", "-q", "-d", content, image, "64M"], check=True, capture_output=True, timeout=60)
        return image

    def mount(self, image: Path, point: Path) -> None:
        self.run("mkdir", "-p", point)
        self.run("mount", "-o", "loop", image, point)

    def unmount(self, point: Path) -> None:
        self.run("umount", "--lazy", point)


@pytest.fixture
def namespace(start: "StartAgent", short_tmp: Path, in_gate: bool) -> tuple["AgentUnderTest", Namespace]:
    """An agent in a mount namespace of its own, which ends with it."""
    missing = [tool for tool in ("unshare", "nsenter", "mkfs.ext4", "mount") if shutil.which(tool) is None]
    if missing and not in_gate:
        pytest.skip(f"needs {', '.join(missing)}")
    agent = start(within=UNSHARED)
    return agent, Namespace(agent, short_tmp)


@pytest.mark.needs_root
class TestMounts:
    """A disk that goes is not a bundle that is missing."""

    def test_an_unplugged_disk_is_one_alert_and_comes_back_by_itself(
        self, namespace: tuple["AgentUnderTest", Namespace], make_bundle: "MakeBundle", until: Until, short_tmp: Path
    ) -> None:
        """With its bundles folded into it; each is refused meanwhile, and none is forgotten."""
        agent, inside = namespace
        for name in ("tiny", "second", "third"):
            make_bundle(name, parent=short_tmp / "content")
        image, disk = inside.image_of(short_tmp / "content"), short_tmp / "disk"
        inside.mount(image, disk)
        ids = [agent.register(disk / name) for name in ("tiny", "second", "third")]
        agent.settled()

        inside.unmount(disk)
        refused = [agent.refusal(model_id) for model_id in ids]
        assert None not in refused
        until(lambda: agent.alerts() == {("bundle_offline", None)}, "one alert for the disk")
        until(lambda: _offline(agent) == (str(disk), sorted(ids)), "the alert names the disk and all its bundles")
        until(lambda: {agent.state(model_id) for model_id in ids} == {"degraded"}, "all are recorded")
        inside.mount(image, disk)

        until(lambda: not agent.alerts(), "no alert stands")
        until(lambda: {agent.state(model_id) for model_id in ids} == {"valid"}, "all are valid again")
        assert agent.client.descriptor(ids[0]).entry_path == str(disk / "tiny")

    def test_a_disk_that_comes_back_somewhere_else(
        self, namespace: tuple["AgentUnderTest", Namespace], make_bundle: "MakeBundle", until: Until, short_tmp: Path
    ) -> None:
        """Under another mount point: the same filesystem, the same content, so the records follow by themselves."""
        agent, inside = namespace
        make_bundle(parent=short_tmp / "content")
        image, disk, other = inside.image_of(short_tmp / "content"), short_tmp / "disk", short_tmp / "other"
        inside.mount(image, disk)
        agent.register(disk / "tiny")
        agent.settled()

        inside.run("mkdir", "-p", other)
        inside.run("mount", "--move", disk, other)

        agent.wait_for("bundle.relocated", model_id=TINY)
        assert_well_again(agent, until, other / "tiny")

    def test_something_mounted_over_a_bundle(
        self, namespace: tuple["AgentUnderTest", Namespace], make_bundle: "MakeBundle", until: Until
    ) -> None:
        """No event tells of it but that of the table of mounts; a lookup right after it is refused."""
        agent, inside = namespace
        root = make_bundle()
        agent.register(root)
        agent.settled()

        inside.run("mount", "-t", "tmpfs", "none", root)
        until(lambda: agent.refusal(TINY) is not None, "it is refused")
        until(lambda: agent.alerts() == {("bundle_incomplete", TINY)}, "one alert")
        inside.unmount(root)

        assert_well_again(agent, until, root)

    def test_something_mounted_over_a_component(
        self, namespace: tuple["AgentUnderTest", Namespace], make_bundle: "MakeBundle", until: Until
    ) -> None:
        """Below the root too."""
        agent, inside = namespace
        root = make_bundle()
        agent.register(root)
        agent.settled()

        inside.run("mount", "-t", "tmpfs", "none", root / "unet")
        until(lambda: agent.alerts() == {("bundle_incomplete", TINY)}, "one alert")
        assert agent.refusal(TINY) is not None
        inside.unmount(root / "unet")

        assert_well_again(agent, until, root)

    def test_another_bundle_in_a_folder_of_the_same_number(
        self, namespace: tuple["AgentUnderTest", Namespace], make_bundle: "MakeBundle", until: Until, short_tmp: Path
    ) -> None:
        """ext4 gives the number of a deleted folder to the next: path, device and inode are those of the old root.

        It is whole and of the same class, so it is served, as another; nothing of the old one is taken for it.
        """
        agent, inside = namespace
        make_bundle(parent=short_tmp / "content")
        image, disk = inside.image_of(short_tmp / "content"), short_tmp / "disk"
        inside.mount(image, disk)
        agent.register(disk / "tiny")
        agent.settled()
        root = inside.seen(disk / "tiny")
        number, other = root.stat().st_ino, make_bundle("other")
        heard = len(agent.lines)

        shutil.rmtree(root)
        for attempt in range(100):  # the first free number in its group is the one that has just become free
            (try_ := root.with_name(f"try{attempt}")).mkdir()
            if try_.stat().st_ino == number:
                break
        shutil.copytree(other, try_, dirs_exist_ok=True)
        try_.rename(root)
        assert root.stat().st_ino == number

        raised = agent.wait_for("alert.raised", after=heard, within_s=SOON_S, code="bundle_changed", model_id=TINY)
        assert raised["path"] == str(disk / "tiny")
        (index := root / "model_index.json").rename(root.with_name("index"))
        assert agent.refusal(TINY) is not None
        until(lambda: ("bundle_incomplete", TINY) in agent.alerts(), "the new folder is watched")
        root.with_name("index").rename(index)
        until(lambda: agent.state(TINY) == "valid", "it is mended")

    def test_a_change_below_an_overlay_is_seen_by_comparing(
        self, start: "StartAgent", make_bundle: "MakeBundle", until: Until, short_tmp: Path
    ) -> None:
        """Events of the overlay do not tell of its lower layer: it is watched, and compared at intervals."""
        agent = start(within=UNSHARED, PUMAS_AGENT_WATCH__POLL_INTERVAL_S="0.2")
        inside = Namespace(agent, short_tmp)
        lower = make_bundle(parent=short_tmp / "lower")
        for name in ("upper", "merged"):
            (short_tmp / name).mkdir()
        inside.run("mount", "-t", "tmpfs", "none", short_tmp / "upper")
        inside.run("mkdir", short_tmp / "upper" / "u", short_tmp / "upper" / "w")
        layers = f"lowerdir={lower.parent},upperdir={short_tmp / 'upper/u'},workdir={short_tmp / 'upper/w'}"
        inside.run("mount", "-t", "overlay", "-o", layers, "none", short_tmp / "merged")
        agent.register(short_tmp / "merged" / "tiny")
        agent.settled()
        assert agent.client.call("agent.status")["polled_roots"] == 1

        index = lower / "model_index.json"
        text = index.read_text()

        index.write_text("")

        until(lambda: ("bundle_incomplete", TINY) in agent.alerts(), "it is seen")
        index.write_text(text)
        until(lambda: not agent.alerts(), "it is mended")

    def test_a_filesystem_that_hangs_holds_up_nobody_else(
        self, start: "StartAgent", make_bundle: "MakeBundle", until: Until, short_tmp: Path
    ) -> None:
        """Law 10: a FUSE program that is stopped. Its bundle is unresponsive; the others are watched and served."""
        agent = start(within=UNSHARED, PUMAS_AGENT_WATCH__POLL_INTERVAL_S="0.2")
        hung, well = make_bundle(parent=short_tmp / "source"), make_bundle("well")
        (short_tmp / "point").mkdir()
        command = [sys.executable, FUSE, hung.parent, short_tmp / "point", agent.pid]
        program = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
        try:
            assert program.stdout is not None
            assert program.stdout.readline() == "mounted\n"
            agent.register(short_tmp / "point" / "tiny")
            model_id = agent.register(well)
            agent.settled()
            assert agent.client.call("agent.status")["polled_roots"] == 1

            program.send_signal(signal.SIGSTOP)
            with pytest.raises(AssetUnresponsive):
                agent.client.descriptor(TINY)
            until(lambda: ("bundle_unresponsive", TINY) in agent.alerts(), "it is told of", within_s=30)
            started = time.monotonic()
            assert agent.refusal(model_id) is None
            assert time.monotonic() - started < 1
            heard = len(agent.lines)
            (well / "model_index.json").rename(well / "aside")
            agent.wait_for("alert.raised", after=heard, within_s=SOON_S, model_id=model_id)
            (well / "aside").rename(well / "model_index.json")
            heard = len(agent.lines)
            well.parent.rename(well.parent.with_name("renamed"))
            agent.wait_for("alert.raised", after=heard, within_s=SOON_S, code="bundle_moved", model_id=model_id)
            well.parent.with_name("renamed").rename(well.parent)
            program.send_signal(signal.SIGCONT)

            until(lambda: not agent.alerts(), "it answers again", within_s=30)
            assert agent.refusal(TINY) is None
        finally:
            program.send_signal(signal.SIGCONT)
            program.kill()
            program.communicate()

    def test_a_network_disk_fails_in_every_way_it_can(
        self, start: "StartAgent", make_bundle: "MakeBundle", until: Until, short_tmp: Path
    ) -> None:
        """Its program dies: not a matter of rights. It is unmounted: offline. It comes back elsewhere: followed."""
        agent = start(within=UNSHARED, PUMAS_AGENT_WATCH__POLL_INTERVAL_S="0.2")
        source, inside = make_bundle(parent=short_tmp / "source").parent, Namespace(agent, short_tmp)
        for name in ("nas", "other"):
            (short_tmp / name).mkdir()
        with fuse(agent, source, short_tmp / "nas") as program:
            agent.register(short_tmp / "nas" / "tiny")
            agent.settled()

            program.kill()
            until(lambda: agent.alerts() == {("bundle_unreadable", TINY)}, "it answers with an error")
        assert "mount it anew" in agent.client.call("agent.health")["alerts"][0]["hint"]
        assert agent.refusal(TINY) is not None

        inside.unmount(short_tmp / "nas")
        until(lambda: agent.alerts() == {("bundle_offline", None)}, "it is offline")

        with fuse(agent, source, short_tmp / "other"):
            assert_well_again(agent, until, short_tmp / "other" / "tiny")
            inside.unmount(short_tmp / "other")


@contextmanager
def fuse(agent: "AgentUnderTest", source: Path, point: Path) -> Iterator["subprocess.Popen[str]"]:
    """A folder as a FUSE filesystem at a point in the agent's mounts; the program behind it."""
    command = [sys.executable, FUSE, source, point, agent.pid]
    program = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    try:
        assert program.stdout is not None
        assert program.stdout.readline() == "mounted\n"
        yield program
    finally:
        program.kill()
        program.communicate()


def test_the_time_it_takes(agent: "AgentUnderTest", make_bundle: "MakeBundle") -> None:
    """An alert names its moment; it is soon after the change, far from the next periodic look."""
    root = make_bundle()
    agent.register(root)
    agent.settled()
    heard = len(agent.lines)

    started = time.monotonic()
    os.rename(root, root.with_name("gone"))  # noqa: PTH104 - one system call
    agent.wait_for("alert.raised", after=heard, within_s=SOON_S, code="bundle_moved")

    assert time.monotonic() - started < SOON_S
