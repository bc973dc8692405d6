"""Every method, called by other users over a real socket of a real agent: who is answered, and that a refusal is one.

Who may call what is written out here a second time, on purpose: a method that is new, or that changes hands, fails
until somebody has decided.
"""

import grp
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pumas_agent.contracts.rpc import METHODS, Access
from pumas_agent.demo.snapshot import Snapshot, differences, snapshot
from pumas_agent.serving import PeerPolicy
from pumas_agent.serving.peers import Peer

if TYPE_CHECKING:
    from tests.service.conftest import AgentUnderTest, MakeBundle, StartAgent

NOBODY = 65534
GROUP = grp.getgrall()[-1]
TINY, OWNED, DOOMED = (f"diffusion/acme/{name}" for name in ("tiny", "owned", "doomed"))

SHOWS = "members of the group too"
ASKS_FOR_A_LOOK = "the owner alone: it looks with the agent's rights, or works long"
CHANGES = "the owner alone: it changes something"
EXPECTED = {
    "resolve_model_execution_descriptor": SHOWS,
    "resolve_model_execution_descriptors_batch": SHOWS,
    "resolve_model_dependency_requirements": SHOWS,
    "list_models": SHOWS,
    "search_models": SHOWS,
    "model_library_selector_snapshot": SHOWS,
    "get_model": SHOWS,
    "explain_model": SHOWS,
    "get_library_status": SHOWS,
    "list_model_library_updates_since": SHOWS,
    "list_duplicate_models": SHOWS,
    "preview_model_mapping": SHOWS,
    "get_link_health": SHOWS,
    "get_links_for_model": SHOWS,
    "get_link_exclusions": SHOWS,
    "audit_dependency_pin_compliance": SHOWS,
    "agent.hello": SHOWS,
    "agent.cancel": SHOWS,
    "agent.status": SHOWS,
    "agent.health": SHOWS,
    "agent.metrics": SHOWS,
    "agent.subscribe": SHOWS,
    "agent.unsubscribe": SHOWS,
    "verify": ASKS_FOR_A_LOOK,
    "discover_bundles": ASKS_FOR_A_LOOK,
    "classify_model_import_paths": ASKS_FOR_A_LOOK,
    "agent.doctor": ASKS_FOR_A_LOOK,
    "hold_bundle": CHANGES,
    "release_bundle": CHANGES,
    "thaw": CHANGES,
    "reconcile": CHANGES,
    "rebuild_model_index": CHANGES,
    "upsert_dependency_profile": CHANGES,
    "bind_model_dependency": CHANGES,
    "unbind_model_dependency": CHANGES,
    "update_model": CHANGES,
    "set_model_link_exclusion": CHANGES,
    "apply_model_mapping": CHANGES,
    "clean_broken_links": CHANGES,
    "import_external_diffusers_directory": CHANGES,
    "import_model": CHANGES,
    "import_models_batch": CHANGES,
    "import_model_in_place": CHANGES,
    "adopt_orphan_models": CHANGES,
    "repair_model_record": CHANGES,
    "reclassify_model": CHANGES,
    "relocate_external_model": CHANGES,
    "accept_bundle_change": CHANGES,
    "unregister_external_model": CHANGES,
    "delete_model_with_cascade": CHANGES,
}
"""In an order in which the owner can call them all: what goes is asked for before it is gone."""

SPEAK = """
import json, os, socket, sys
path, uid, groups, lines, together = json.load(sys.stdin)
os.setgroups(groups)
os.setgid(uid)
os.setuid(uid)
connection, answers = None, []
for line in lines:
    if connection is None or not together:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(30)
        connection.connect(path)
        reader = connection.makefile()
    try:
        connection.sendall(line.encode() + b"\\n")
    except OSError:
        pass  # refused already; what it was told can still be read
    while True:
        answer = json.loads(reader.readline())
        if "method" not in answer:  # neither progress nor an event
            answers.append(answer)
            break
    if not together:
        try:
            assert reader.readline() == "", "it says more"
        except ConnectionResetError:
            pass  # it hung up on what it had not read
print(json.dumps(answers))
"""
"""As root, since the interpreter may be where nobody else can run it; becomes the user before it connects."""

pytestmark = [pytest.mark.needs_root, pytest.mark.skipif(sys.platform != "linux", reason="users of Linux")]


def _speak(
    agent: "AgentUnderTest", uid: int, groups: Sequence[int], lines: Sequence[str], *, together: bool
) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-c", SPEAK],
        input=json.dumps([str(agent.socket), uid, list(groups), list(lines), together]),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def _line(method: str, params: Mapping[str, Any]) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": method, "method": method, "params": params})


class House:
    """A running agent that owns and references something, and calls of every method that would be done."""

    def __init__(self, start: "StartAgent", folder: Path, bundle: Path, other: Path) -> None:
        self.bundle, self.other, self.app = bundle, other, folder / "app"
        self.app.mkdir()
        configs = folder / "configs"
        configs.mkdir()
        config = {"app": "comfyui", "version": "*", "mappings": [{"target_dir": "checkpoints"}]}
        (configs / "comfyui_any_default.json").write_text(json.dumps(config))
        self.copy = folder / "copies" / "tiny"
        shutil.copytree(bundle, self.copy)
        self.agent = start(
            PUMAS_AGENT_SOCKET__GROUP=GROUP.gr_name,
            PUMAS_AGENT_LIBRARY__ADOPT="false",
            PUMAS_AGENT_MAPPING__CONFIG_DIR=str(configs),
        )
        self.weights = bundle / "unet" / "diffusion_pytorch_model.safetensors"
        self.agent.register(bundle)
        self._import("owned")
        self._import("doomed")
        for name in ("orphan", "another"):
            orphan = self.agent.library / "diffusion" / "acme" / name
            orphan.mkdir()
            shutil.copy(self.weights, orphan / f"{name}.safetensors")
            os.utime(orphan / f"{name}.safetensors", (0, 0))
        self.agent.settled()
        # The filesystem lets everyone through: what is tested is the agent's own judgement.
        folder.chmod(0o755)
        self.agent.socket.chmod(0o666)

    def _import(self, name: str) -> None:
        assert self.agent.client.call("import_model", **self._spec(name))["success"]

    def _spec(self, name: str) -> dict[str, Any]:
        return {"path": str(self.weights), "family": "acme", "official_name": name, "model_type": "diffusion"}

    def params(self) -> dict[str, dict[str, Any]]:
        """Of the methods that take any."""
        model = {"model_id": TINY}
        mapping = {"app_id": "comfyui", "version_tag": "1", "models_path": str(self.app)}
        profile = {"profile_id": "p", "profile_version": 1}
        spec = {"python_packages": [{"name": "diffusers", "version": "==0.32.0"}]}
        orphan = str(self.agent.library / "diffusion" / "acme" / "orphan")
        return {
            **dict.fromkeys(["resolve_model_execution_descriptor", "resolve_model_dependency_requirements"], model),
            "resolve_model_execution_descriptors_batch": {"model_ids": [TINY, OWNED]},
            "search_models": {"query": "tiny"},
            **dict.fromkeys(["get_model", "explain_model", "get_links_for_model"], model),
            "discover_bundles": {"paths": [str(self.bundle.parent)]},
            "classify_model_import_paths": {"paths": [str(self.bundle)]},
            "preview_model_mapping": mapping,
            "get_link_exclusions": {"app_id": "comfyui"},
            "agent.hello": {"client": "test"},
            "agent.cancel": {"id": 7},
            "agent.subscribe": {"topics": ["models", "alerts"]},
            "agent.unsubscribe": {"subscription": "none"},
            "hold_bundle": {"bundle": TINY},
            "release_bundle": {"hold": "hold-1"},
            "upsert_dependency_profile": {**profile, "environment_kind": "python-venv", "spec": spec},
            "bind_model_dependency": {**model, **profile, "binding_id": "b"},
            "unbind_model_dependency": {**model, "binding_id": "b"},
            "update_model": {**model, "notes": "changed"},
            "set_model_link_exclusion": {**model, "app_id": "comfyui", "excluded": True},
            "apply_model_mapping": mapping,
            "import_external_diffusers_directory": {
                "source_path": str(self.other),
                "family": "acme",
                "official_name": "other",
            },
            "import_model": self._spec("more"),
            "import_models_batch": {"specs": [self._spec("most")]},
            "import_model_in_place": {"path": orphan},
            "repair_model_record": {**model, "apply": True},
            "reclassify_model": {"model_id": OWNED, "model_type": "vision", "apply": True},
            "relocate_external_model": {**model, "new_path": str(self.copy), "apply": True, "force": True},
            **dict.fromkeys(["accept_bundle_change", "unregister_external_model"], model),
            "delete_model_with_cascade": {"model_id": DOOMED},
        }

    def lines(self, *access: str) -> list[str]:
        params = self.params()
        return [_line(name, params.get(name, {})) for name, who in EXPECTED.items() if who in access]

    def disk(self) -> dict[str, Snapshot]:
        """All that a call could change, with times; without what SQLite's readers share in memory."""
        places = {"library": self.agent.library, "app": self.app, "copy": self.copy.parent}
        places |= {"bundle": self.bundle, "other": self.other}
        return {
            name: {path: facts for path, facts in snapshot(place).items() if not path.endswith("models.db-shm")}
            for name, place in places.items()
        }


@pytest.fixture
def house(start: "StartAgent", make_bundle: "MakeBundle", short_tmp: Path) -> House:
    return House(start, short_tmp, make_bundle(), make_bundle("other"))


def _unchanged(before: Mapping[str, Snapshot], after: Mapping[str, Snapshot]) -> bool:
    return {name: differences(known, after[name]) for name, known in before.items()} == {name: [] for name in before}


def test_somebody_has_decided_about_every_method() -> None:
    """The contract says the same as this file, method by method."""
    words = {SHOWS: Access.READ, ASKS_FOR_A_LOOK: Access.LOOK, CHANGES: Access.WRITE}

    assert {name: words[who] for name, who in EXPECTED.items()} == {
        name: method.access for name, method in METHODS.items()
    }


def test_a_stranger_is_told_nothing_by_any_method(house: House) -> None:
    """Each call is refused before a byte of it is parsed: the answer names no request, whatever was sent."""
    before = house.disk()

    answers = _speak(
        house.agent, NOBODY, [], ["no JSON", "", *house.lines(SHOWS, ASKS_FOR_A_LOOK, CHANGES)], together=False
    )

    assert len(answers) == len(EXPECTED) + 2
    assert {answer["id"] for answer in answers} == {None}
    assert {(answer["error"]["code"], answer["error"]["data"]["code"]) for answer in answers} == {
        (-32005, "not_permitted")
    }
    assert [line["uid"] for line in house.agent.said("peer.refused")] == [NOBODY]
    assert _unchanged(before, house.disk())


def test_a_member_of_the_group_is_shown_and_can_change_nothing(house: House) -> None:
    """Reading works, all of it; a look or a change is refused by its name, also where its parameters make no sense."""
    before = house.disk()
    own = ASKS_FOR_A_LOOK, CHANGES
    senseless = [_line(name, {"no": "sense"}) for name, who in EXPECTED.items() if who in own]

    refused = _speak(house.agent, NOBODY, [GROUP.gr_gid], [*house.lines(*own), *senseless], together=True)
    unchanged = _unchanged(before, house.disk())
    shown = _speak(house.agent, NOBODY, [GROUP.gr_gid], house.lines(SHOWS), together=True)

    assert unchanged
    for answer in refused:
        assert (answer["error"]["code"], answer["error"]["data"]["code"]) == (-32005, "not_permitted"), answer
        assert answer["id"] in answer["error"]["message"]
    assert len(refused) == 2 * sum(who in own for who in EXPECTED.values())
    assert [(answer["id"], "result" in answer) for answer in shown] == [
        (name, True) for name, who in EXPECTED.items() if who == SHOWS
    ], [answer for answer in shown if "error" in answer]
    assert _unchanged(before, house.disk())


def test_the_owner_may_call_every_method(house: House) -> None:
    """The same calls, word by word, that others are refused; they are done, so each refusal was one of something."""
    before = house.disk()

    answers = _speak(house.agent, 0, [], house.lines(SHOWS, ASKS_FOR_A_LOOK, CHANGES), together=True)

    assert [answer["id"] for answer in answers] == list(EXPECTED)
    assert [answer for answer in answers if "result" not in answer] == []
    failed = [answer for answer in answers if answer["result"].get("success") is False]
    assert failed == []
    after = house.disk()
    assert differences(before["library"], after["library"])
    assert differences(before["app"], after["app"])
    external = ("bundle", "other", "copy")
    assert _unchanged({name: before[name] for name in external}, after), "but never below an external root"


@pytest.mark.parametrize(
    ("uid", "gid", "groups", "allowed"),
    [
        (1000, 1000, set(), set(Access)),
        (0, 0, set(), set(Access)),
        (2000, 50, set(), {Access.READ}),
        (2000, 2000, {7, 50}, {Access.READ}),
        (1000, 50, {50}, set(Access)),
        (2000, 2000, {7, 1000}, set()),
        (65534, 65534, set(), set()),
    ],
)
def test_an_agent_that_is_not_root_s_obeys_its_user_and_root(
    uid: int, gid: int, groups: set[int], allowed: set[Access]
) -> None:
    """A group with the number of the owner is nothing."""
    policy = PeerPolicy(own_uid=1000, group_gid=50)

    assert policy.allowed(Peer(uid, gid, 1, frozenset(groups))) == allowed
