"""Profiles and bindings over a real library: what is stored, said and served, and that it all agrees."""

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pumas_agent.contracts.errors import (
    DependencyBindingNotFound,
    DependencyBindingTaken,
    DependencyProfileImmutable,
    DependencyProfileNotFound,
    InvalidDependencyPin,
    InvalidDependencyProfile,
    InvalidParams,
    LibraryUnwritable,
    MetadataUnreadable,
    ModelNotFound,
)
from pumas_agent.demo.bundle import write_stable_diffusion_bundle
from pumas_agent.demo.snapshot import snapshot
from pumas_agent.dependencies import profiles
from pumas_agent.library import Library, dependency_store

if TYPE_CHECKING:
    from tests.integration.conftest import HeldJudge, Parts

TINY = "diffusion/acme/tiny"
LLM = "llm/acme/words"
SPEC = {"python_packages": [{"name": "diffusers", "version": "==0.32.0"}, {"name": "torch", "version": "==2.5.1"}]}
TABLES = ("dependency_profiles", "model_dependency_bindings", "dependency_binding_history")


async def profile(agent: "Parts", name: str = "p", version: int = 1, **given: Any) -> dict[str, Any]:
    params = {"profile_id": name, "profile_version": version, "environment_kind": "python-venv", "spec": SPEC, **given}
    return await agent.call("upsert_dependency_profile", **params)


async def bind(agent: "Parts", model_id: str = TINY, name: str = "p", version: int = 1, **given: Any) -> dict[str, Any]:
    return await agent.call(
        "bind_model_dependency", model_id=model_id, profile_id=name, profile_version=version, **given
    )


async def unbind(agent: "Parts", binding_id: str, model_id: str = TINY) -> dict[str, Any]:
    return await agent.call("unbind_model_dependency", model_id=model_id, binding_id=binding_id)


async def needs(agent: "Parts", model_id: str = TINY, **asked: Any) -> dict[str, Any]:
    return await agent.call("resolve_model_dependency_requirements", model_id=model_id, **asked)


async def events(agent: "Parts", cursor: str) -> list[tuple[str, str, str, str]]:
    feed = await agent.call("list_model_library_updates_since", cursor=cursor)
    return [
        (event["model_id"], event["change_kind"], event["fact_family"], event["refresh_scope"])
        for event in feed.get("events", ())
    ]


async def cursor(agent: "Parts") -> str:
    return str((await agent.call("list_model_library_updates_since"))["cursor"])


def table(root: Path, name: str, columns: str = "*") -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(root / "models.db")
    rows = connection.execute(f"SELECT {columns} FROM {name} ORDER BY 1, 2").fetchall()  # noqa: S608  our own names
    connection.close()
    return rows


def tables(root: Path) -> dict[str, list[tuple[Any, ...]]]:
    return {name: table(root, name) for name in TABLES}


# --- profiles --------------------------------------------------------------------------------------------------------


async def test_a_profile_is_stored_once_and_for_all(agent: "Parts") -> None:
    """The same again, spelled in another way, is a success that writes nothing; a hash that is given is ignored."""
    first = await profile(agent, profile_hash="0" * 64)
    before = await agent.written()

    turned = {"python_packages": [{"version": "==2.5.1", "name": " Torch"}, SPEC["python_packages"][0]]}
    again = await profile(agent, spec=turned, environment_kind=" Python-Venv")

    assert (first["created"], again["created"]) == (True, False)
    assert first["profile_hash"] == again["profile_hash"] != "0" * 64
    assert first["environment_kind"] == "python-venv"
    assert await agent.written() == before


@pytest.mark.parametrize(
    "given", [{"spec": {"python_packages": [{"name": "a", "version": "==1"}]}}, {"environment_kind": "conda"}]
)
async def test_another_profile_under_the_same_id_and_version_is_refused(agent: "Parts", given: dict[str, Any]) -> None:
    """The message and the field are the contract's; nothing is written; another version is welcome."""
    await profile(agent)
    before = await agent.written()

    with pytest.raises(DependencyProfileImmutable, match="dependency_profile_version_immutable") as error:
        await profile(agent, **given)

    assert error.value.data["field"] == "dependency_profiles.p:1"
    assert error.value.message.startswith("Validation error for dependency_profiles.p:1: ")
    assert await agent.written() == before
    assert (await profile(agent, version=2, **given))["created"]


async def test_a_profile_of_another_program_is_compared_by_its_content(agent: "Parts") -> None:
    """One without a hash, too."""
    text = json.dumps(SPEC, sort_keys=True, separators=(",", ":"))
    connection = sqlite3.connect(agent.root / "models.db")
    connection.execute("INSERT INTO dependency_profiles VALUES ('p', 1, NULL, 'python-venv', ?, '2026')", (text,))
    connection.commit()
    connection.close()
    library = agent.library
    await library.write(lambda store: library.catalog.dependencies.load(store._index.dependencies.profiles(), ()))

    assert not (await profile(agent))["created"]
    with pytest.raises(DependencyProfileImmutable):
        await profile(agent, environment_kind="conda")


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"spec": {"python_packages": [{"name": "torch", "version": ">=2"}]}}, InvalidDependencyPin),
        ({"spec": {}}, InvalidDependencyProfile),
        ({"spec": {"note": "\ud800"}, "environment_kind": "container"}, InvalidDependencyProfile),
        ({"spec": []}, InvalidParams),
        ({"profile_version": 0}, InvalidParams),
        ({"profile_version": 2**31}, InvalidParams),
        ({"profile_id": " "}, InvalidParams),
        ({"profile_id": "\ud800"}, InvalidParams),
        ({"environment_kind": ""}, InvalidParams),
        ({"spec_json": "{}"}, InvalidParams),
    ],
)
async def test_a_profile_that_breaks_a_rule_is_not_stored(
    agent: "Parts", given: dict[str, Any], error: type[Exception]
) -> None:
    """Refused with a name, and nothing is written."""
    before = await agent.written()
    params = {"profile_id": "p", "profile_version": 1, "environment_kind": "python-venv", "spec": SPEC, **given}

    with pytest.raises(error):
        await agent.call("upsert_dependency_profile", **params)

    assert await agent.written() == before


# --- bindings --------------------------------------------------------------------------------------------------------


async def test_a_binding_is_in_the_index_the_record_the_row_and_the_feed(agent: "Parts", bundle: Path) -> None:
    """One commit: the row and its history, the record's projection of it, and both events."""
    await agent.registered(bundle)
    await profile(agent)
    position, generation = await cursor(agent), agent.library.catalog.generation

    change = await bind(agent, backend_key=" Diffusers", platform_selector="Linux ", attached_by="me")

    binding = change["binding"]
    ref = {
        "binding_id": binding["binding_id"],
        "profile_id": "p",
        "profile_version": 1,
        "binding_kind": "required_core",
        "backend_key": "diffusers",
        "platform_selector": "linux",
    }
    assert (change["changed"], change["issues"], binding["status"]) == (True, [], "active")
    assert agent.record(TINY)["dependency_bindings"] == [ref]
    assert (await agent.row(TINY))["dependency_bindings"] == [ref]
    assert (await agent.call("get_model", model_id=TINY))["metadata"]["dependency_bindings"] == [ref]
    assert await events(agent, position) == [
        (TINY, "metadata_modified", "model_record", "summary_and_detail"),
        (TINY, "dependency_binding_modified", "dependency_bindings", "summary_and_detail"),
    ]
    assert agent.library.catalog.generation == generation + 2
    stored = (binding["binding_id"], TINY, "p", 1, "required_core", "diffusers", "linux", "active", 100, "me")
    assert table(agent.root, TABLES[1]) == [(*stored, binding["attached_at"])]
    (history,) = table(agent.root, TABLES[2], "model_id, actor, action, old_value_json, new_value_json, reason")
    assert history[:4] == (TINY, "me", "binding_created", None)
    assert json.loads(history[4])["binding_id"] == binding["binding_id"]
    assert history[5] is None
    assert await agent.library.read(lambda index: index.signatures()) == {
        TINY: agent.library.layout.signature(agent.library.layout.directory(TINY))
    }


async def test_binding_again_changes_nothing(agent: "Parts", bundle: Path) -> None:
    """Law 8: no byte, no event, also for another hand that attaches it."""
    await agent.registered(bundle)
    await profile(agent)
    first = await bind(agent)
    before = await agent.written()

    again = await bind(agent, attached_by="another")

    assert (again["changed"], again["binding"]) == (False, first["binding"])
    assert await agent.written() == before


async def test_another_version_takes_the_place_of_the_first(agent: "Parts", bundle: Path) -> None:
    """A binding is known by its model, profile, kind, backend and selector."""
    await agent.registered(bundle)
    await profile(agent)
    await profile(agent, version=2)
    first = await bind(agent)

    second = await bind(agent, version=2, priority=7)

    assert second["binding"]["binding_id"] == first["binding"]["binding_id"]
    assert [ref["profile_version"] for ref in agent.record(TINY)["dependency_bindings"]] == [2]
    assert table(agent.root, TABLES[1], "profile_version, priority") == [(2, 7)]
    assert [row[0] for row in table(agent.root, TABLES[2], "action, event_id")] == [
        "binding_created",
        "binding_updated",
    ]


async def test_several_bindings_are_recorded_in_their_order(agent: "Parts", bundle: Path) -> None:
    """Kind first, then backend, whatever was bound first."""
    await agent.registered(bundle)
    await profile(agent)

    for backend in ("pytorch", None, "diffusers"):
        await bind(agent, backend_key=backend)
    await bind(agent, binding_kind="a_kind")

    refs = agent.record(TINY)["dependency_bindings"]
    assert [(ref["binding_kind"], ref["backend_key"]) for ref in refs] == [
        ("a_kind", None),
        ("required_core", None),
        ("required_core", "diffusers"),
        ("required_core", "pytorch"),
    ]


async def test_unbinding_keeps_the_binding_and_its_history(agent: "Parts", bundle: Path) -> None:
    """It is deprecated, no record names it, and binding takes it up again; twice is once."""
    await agent.registered(bundle)
    await profile(agent)
    binding_id = (await bind(agent))["binding"]["binding_id"]
    position = await cursor(agent)

    gone = await unbind(agent, binding_id)
    after = await agent.written()
    again = await unbind(agent, binding_id)

    assert (gone["changed"], gone["binding"]["status"], again["changed"]) == (True, "deprecated", False)
    assert await agent.written() == after
    assert agent.record(TINY)["dependency_bindings"] is None
    assert (await needs(agent))["bindings"] == []
    assert ("dependency_binding_modified") in {kind for _, kind, _, _ in await events(agent, position)}
    assert (await bind(agent))["binding"]["status"] == "active"
    assert table(agent.root, TABLES[2], "event_id, action, reason")[0][1:] == ("binding_created", None)
    assert [row[1:] for row in table(agent.root, TABLES[2], "event_id, action, reason")[1:]] == [
        ("binding_updated", "status-changed"),
        ("binding_updated", "status-changed"),
    ]


async def test_what_cannot_be_bound_is_refused_by_name_and_leaves_nothing(agent: "Parts", bundle: Path) -> None:
    """No such model, no such profile, the id of another model's binding, no such binding, no readable record."""
    await agent.registered(bundle)
    await agent.create(LLM, model_type="llm")
    await profile(agent)
    taken = (await bind(agent))["binding"]["binding_id"]
    agent.library.layout.metadata_path(LLM).write_text("{")
    before = await agent.written()

    with pytest.raises(ModelNotFound):
        await bind(agent, "llm/no/such")
    with pytest.raises(ModelNotFound):
        await unbind(agent, taken, "../x")
    with pytest.raises(DependencyProfileNotFound, match="p version 9"):
        await bind(agent, version=9)
    with pytest.raises(DependencyBindingNotFound, match="no-such"):
        await unbind(agent, "no-such")
    with pytest.raises(DependencyBindingNotFound):
        await unbind(agent, taken, LLM)
    with pytest.raises(MetadataUnreadable):
        await bind(agent, LLM)
    with pytest.raises(InvalidParams, match="binding_kind"):
        await bind(agent, binding_kind=" ")
    assert await agent.written() == before

    agent.library.layout.metadata_path(LLM).write_text("{}")
    with pytest.raises(DependencyBindingTaken, match=TINY):
        await bind(agent, LLM, binding_id=taken)


async def test_a_disk_that_is_full_refuses_a_binding_whole(
    agent: "Parts", bundle: Path, disk_full: Callable[[bool], None]
) -> None:
    """Index, record and what is served are as before; once there is room it is a binding."""
    await agent.registered(bundle)
    await profile(agent)
    before = tables(agent.root), agent.record(TINY), agent.artifacts()

    disk_full(True)
    with pytest.raises(LibraryUnwritable, match="No space left"):
        await bind(agent)

    assert (tables(agent.root), agent.record(TINY), agent.artifacts()) == before
    assert (await needs(agent))["bindings"] == []
    disk_full(False)
    assert (await bind(agent))["changed"]


async def test_a_record_that_could_not_be_replaced_catches_up(
    agent: "Parts", bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index decided: the binding holds and is served, and the next look puts it into the record."""
    await agent.registered(bundle)
    await profile(agent)

    def fail(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(dependency_store, "place_json", fail)
        change = await bind(agent)

    assert change["changed"]
    assert len((await needs(agent))["bindings"]) == 1
    assert agent.record(TINY)["dependency_bindings"] is None
    assert [name for name in agent.artifacts() if name.endswith(".tmp")] == []

    await agent.call("reconcile")

    (ref,) = agent.record(TINY)["dependency_bindings"]
    assert ref["binding_id"] == change["binding"]["binding_id"]
    assert (await agent.row(TINY))["dependency_bindings"] == [ref]


async def test_a_record_that_cannot_be_put_right_now_is_put_right_later(
    agent: "Parts", bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row says what holds meanwhile, no look after that writes anything, and none gives up."""
    await agent.registered(bundle)
    await profile(agent)
    await bind(agent)
    refs = agent.record(TINY)["dependency_bindings"]
    agent.edit(TINY, dependency_bindings=None, notes="mine")

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(dependency_store, "staged_json", fail)
        await agent.call("reconcile")
        row, before = await agent.row(TINY), await agent.written()
        await agent.call("reconcile")
        assert await agent.written() == before

    assert (row["dependency_bindings"], row["notes"]) == (refs, "mine")
    assert agent.record(TINY)["dependency_bindings"] is None
    assert len((await needs(agent))["bindings"]) == 1
    await agent.call("reconcile")
    assert (agent.record(TINY)["dependency_bindings"], agent.record(TINY)["notes"]) == (refs, "mine")


async def test_the_record_repeats_the_bindings_and_does_not_make_them(agent: "Parts", bundle: Path) -> None:
    """What somebody writes there is put right at the next look; other fields of theirs stay."""
    await agent.registered(bundle)
    await profile(agent)
    await bind(agent)
    refs = agent.record(TINY)["dependency_bindings"]
    agent.edit(TINY, dependency_bindings=[{"binding_id": "x", "profile_id": "x", "profile_version": 1}], notes="mine")

    await agent.call("reconcile")

    assert (agent.record(TINY)["dependency_bindings"], agent.record(TINY)["notes"]) == (refs, "mine")
    assert [binding["binding_id"] for binding in (await needs(agent))["bindings"]] == [refs[0]["binding_id"]]
    before = await agent.written()
    await agent.call("reconcile")
    assert await agent.written() == before


async def test_an_index_that_knows_of_no_binding_leaves_what_a_record_says(agent: "Parts") -> None:
    """After the loss of models.db the record is the last that tells of them. It still makes none (dependency-001)."""
    ref = {"binding_id": "x", "profile_id": "x", "profile_version": 1}
    await agent.create(LLM, model_type="llm", dependency_bindings=[ref])
    agent.edit(LLM, notes="edited")

    await agent.call("rebuild_model_index")

    assert agent.record(LLM)["dependency_bindings"][0].items() >= ref.items()
    assert (await needs(agent, LLM))["validation_state"] == "resolved"


async def test_profiles_are_parsed_before_anybody_asks(
    agent: "Parts", bundle: Path, judge: "HeldJudge", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law 9: not on the event loop, on which descriptors are prepared; also those that were there at the start."""
    await agent.registered(bundle)
    await profile(agent)
    await bind(agent)
    await asyncio.to_thread(agent.library.close)
    profiles.stored_profile.cache_clear()
    library = await asyncio.to_thread(Library.open, agent.root, "agent")
    parts = type(agent)(library, judge)
    await parts.start()
    await profile(parts, "q")
    monkeypatch.setattr(profiles, "parse_spec", None)  # calling it would fail

    await bind(parts, name="q", backend_key="diffusers")

    assert [binding["profile_id"] for binding in (await needs(parts))["bindings"]] == ["p", "q"]
    await asyncio.to_thread(library.close)


# --- what a runtime is told ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("calm")
async def test_the_next_descriptor_says_what_was_bound(agent: "Parts", bundle: Path) -> None:
    """The prepared bytes are made anew for each change, and are the same ones between two changes."""
    await agent.registered(bundle)
    await profile(agent)
    resolver = agent.parts.resolver
    unbound = await agent.resolve(TINY)

    change = await bind(agent, backend_key="diffusers")
    bound = resolver.at_once(TINY)
    unchanged = resolver.at_once(TINY)
    described = await agent.resolve(TINY)
    await unbind(agent, change["binding"]["binding_id"])
    taken_back = await agent.resolve(TINY)

    assert bound is not None
    assert bound is unchanged
    assert json.loads(bound) == described
    (binding,) = described["dependency_resolution"]["bindings"]
    assert [(package["name"], package["exact_pin"]) for package in binding["requirements"]] == [
        ("diffusers", "==0.32.0"),
        ("torch", "==2.5.1"),
    ]
    assert described["dependency_resolution"]["bindings"][0]["env_id"].endswith(":diffusers")
    assert taken_back == unbound


async def test_a_descriptor_nests_the_answer_about_dependencies_unchanged(agent: "Parts", bundle: Path) -> None:
    """R10: also when it is full of errors; in a batch it is null."""
    await agent.registered(bundle)
    await profile(agent)
    await profile(agent, "q", spec={"python_packages": [{"name": "torch", "version": "==1"}]})
    await bind(agent, backend_key="diffusers", platform_selector="linux-x86_64|linux-aarch64|macos|windows")
    await bind(agent, name="q")

    described = await agent.resolve(TINY)
    batch = await agent.call("resolve_model_execution_descriptors_batch", model_ids=[TINY])

    assert described["dependency_resolution"] == await needs(agent, backend_key="diffusers")
    assert described["dependency_resolution"]["validation_state"] == "profile_conflict"
    assert batch["descriptors"][0]["descriptor"]["dependency_resolution"] is None


@pytest.mark.parametrize("state", ["unknown_profile", "invalid_profile", "profile_conflict"])
async def test_trouble_with_packages_never_changes_the_health_of_the_asset(
    agent: "Parts", bundle: Path, state: str
) -> None:
    """Law 7: it is valid everywhere, executable, and raises no alert; degraded says nothing of packages."""
    await agent.registered(bundle)
    await profile(agent)
    await profile(agent, "q", spec={"python_packages": [{"name": "a", "version": "==1"}]})
    match state:
        case "unknown_profile":
            await bind(agent, backend_key="onnx-runtime")
        case "invalid_profile":
            await bind(agent, name="q", backend_key="pytorch")
            agent.edit(TINY, recommended_backend="pytorch")
            await agent.call("reconcile")
        case _:
            await bind(agent)
            await bind(agent, name="q")

    described = await agent.resolve(TINY)

    assert described["dependency_resolution"]["validation_state"] == state
    assert described["validation_state"] == "valid"
    assert await agent.states(TINY) == {"valid"}
    assert agent.alerts(TINY) == []
    shutil.rmtree(bundle / "vae")
    assert {error["code"] for error in (await agent.refused(TINY)).findings} == {"missing_component"}


async def test_a_generic_bundle_is_bound_to_nothing_by_itself(agent: "Parts", bundle: Path) -> None:
    """Case dependency-014; sd-turbo and KittenTTS are no exceptions here (docs/reference/compatibility.md)."""
    config = json.loads((bundle / "model_index.json").read_text())
    config |= {"_name_or_path": "stabilityai/sd-turbo", "_diffusers_version": "0.32.0"}
    (bundle / "model_index.json").write_text(json.dumps(config))

    await agent.registered(bundle)
    await agent.call("rebuild_model_index")

    assert tables(agent.root) == {name: [] for name in TABLES}
    assert (await agent.resolve(TINY))["dependency_resolution"]["bindings"] == []


# --- audit -----------------------------------------------------------------------------------------------------------


async def test_the_audit_names_what_is_not_pinned(agent: "Parts") -> None:
    """Case dependency-006: one model, one binding, one issue, and the line that is missing."""
    await agent.create(LLM, model_type="llm", input_modalities=["text"], output_modalities=["text"])
    await profile(agent, spec={"python_packages": [{"name": "xformers", "version": "==1"}]})
    change = await bind(agent, LLM, backend_key="pytorch")
    before = await agent.written()

    report = await agent.call("audit_dependency_pin_compliance")

    (issue,) = report["issues"]
    assert (report["models"], report["bindings"]) == (1, 1)
    assert (issue["model_id"], issue["code"], issue["suggestion"]) == (LLM, "unpinned_dependency", "torch==<pin-me>")
    assert change["issues"] == report["issues"]
    assert await agent.written() == before
    await unbind(agent, change["binding"]["binding_id"], LLM)
    assert await agent.call("audit_dependency_pin_compliance") == {"models": 0, "bindings": 0, "issues": []}


async def test_the_audit_sees_what_another_program_stored(agent: "Parts", tmp_path: Path) -> None:
    """A profile with a version that is none, a binding without its profile: known after a start, never a failure."""
    await agent.create(LLM, model_type="llm")
    await asyncio.to_thread(agent.library.close)
    connection = sqlite3.connect(agent.root / "models.db")
    spec = json.dumps({"python_packages": [{"name": "torch", "version": ">=2"}]})
    connection.execute("INSERT INTO dependency_profiles VALUES ('p', 1, 'h', 'python-venv', ?, '2026')", (spec,))
    for binding_id, name, version in (("b", "p", 1), ("c", "gone", 1), ("d", "gone", b"\xff")):
        connection.execute(
            "INSERT INTO model_dependency_bindings (binding_id, model_id, profile_id, profile_version, binding_kind,"
            " priority) VALUES (?, ?, ?, ?, 'runtime', 'high')",
            (binding_id, LLM, name, version),
        )
    connection.commit()
    connection.close()
    library = await asyncio.to_thread(Library.open, tmp_path / "library", "agent")
    parts = type(agent)(library, agent.judge)
    await parts.start()

    report = await parts.call("audit_dependency_pin_compliance")
    answer = await needs(parts, LLM)
    await profile(parts, "gone", spec={"python_packages": [{"name": "numpy", "version": "==1"}]})
    later = await needs(parts, LLM)

    assert {(issue["binding_id"], issue["code"], issue["suggestion"]) for issue in report["issues"]} == {
        ("b", "invalid_profile", "torch==<pin-me>"),
        ("c", "unknown_profile", None),
        ("d", "unknown_profile", None),
    }
    assert answer["validation_state"] == "invalid_profile"
    assert (await unbind(parts, "d", LLM))["changed"]
    assert [binding["validation_state"] for binding in later["bindings"] if binding["binding_id"] == "c"] == [
        "profile_conflict"
    ]
    await asyncio.to_thread(library.close)


# --- a library's life ------------------------------------------------------------------------------------------------


async def bound_bundle(agent: "Parts", bundle: Path) -> dict[str, Any]:
    """A registered bundle with a binding and a history."""
    await agent.registered(bundle)
    await profile(agent)
    change = await bind(agent, backend_key="diffusers")
    await unbind(agent, change["binding"]["binding_id"])
    return await bind(agent, backend_key="diffusers")


async def test_a_rebuild_keeps_profiles_bindings_and_history(agent: "Parts", bundle: Path) -> None:
    """And the records, which repeat them; the backup has them too."""
    await bound_bundle(agent, bundle)
    before, record, answer = tables(agent.root), agent.record(TINY), await needs(agent)

    await agent.call("rebuild_model_index")

    assert [len(rows) for rows in before.values()] == [1, 1, 3]
    assert (tables(agent.root), agent.record(TINY), await needs(agent)) == (before, record, answer)
    (agent.root / "models.db.bak").rename(agent.root / "other")
    connection = sqlite3.connect(agent.root / "other")
    assert connection.execute("SELECT count(*) FROM dependency_binding_history").fetchone() == (3,)
    connection.close()


async def test_removing_a_model_removes_its_bindings_and_nothing_else(agent: "Parts", bundle: Path) -> None:
    """Profiles stay; a later model of the same id inherits nothing; the bundle is untouched (law 1)."""
    await bound_bundle(agent, bundle)
    await agent.create(LLM, model_type="llm")
    other = (await bind(agent, LLM))["binding"]["binding_id"]
    before = snapshot(bundle)

    await agent.call("unregister_external_model", model_id=TINY)

    assert [row[0] for row in table(agent.root, TABLES[1])] == [other]
    assert {row[0] for row in table(agent.root, TABLES[2], "model_id, binding_id")} == {LLM}
    assert len(table(agent.root, TABLES[0])) == 1
    assert snapshot(bundle) == before
    await agent.registered(bundle)
    assert (await needs(agent))["bindings"] == []
    assert agent.record(TINY)["dependency_bindings"] is None
    assert (await bind(agent, backend_key="diffusers"))["changed"]


async def test_a_model_whose_folder_is_gone_takes_its_bindings_along(agent: "Parts") -> None:
    """The row goes with the library's own folder, and what hangs on it."""
    folder = await agent.create(LLM, model_type="llm")
    await profile(agent)
    binding_id = (await bind(agent, LLM))["binding"]["binding_id"]
    shutil.rmtree(folder)

    await agent.call("reconcile")

    assert table(agent.root, TABLES[1]) == []
    assert agent.library.catalog.dependencies.binding(binding_id) is None
    with pytest.raises(ModelNotFound):
        await needs(agent, LLM)


async def test_relocation_reconcile_and_a_new_verdict_keep_the_bindings(agent: "Parts", bundle: Path) -> None:
    """They hang on the id; no file of the bundle is touched by any of it."""
    await bound_bundle(agent, bundle)
    before, refs, answer = tables(agent.root), agent.record(TINY)["dependency_bindings"], await needs(agent)
    moved = bundle.with_name("elsewhere")
    shutil.move(bundle, moved)
    files = snapshot(moved)

    await agent.call("reconcile", model_id=TINY)
    degraded = agent.record(TINY)["validation_state"]
    await agent.call("relocate_external_model", model_id=TINY, new_path=str(moved), apply=True)
    await agent.call("reconcile")

    assert (degraded, agent.record(TINY)["validation_state"]) == ("degraded", "valid")
    assert (tables(agent.root), agent.record(TINY)["dependency_bindings"]) == (before, refs)
    assert await needs(agent) == answer
    assert snapshot(moved) == files


async def test_a_restart_knows_what_was_bound(agent: "Parts", bundle: Path, judge: "HeldJudge") -> None:
    """R9, R24: opened to write or only to read, the answer is the same."""
    await bound_bundle(agent, bundle)
    answer = await needs(agent, platform_context="linux", backend_key="diffusers")
    await asyncio.to_thread(agent.library.close)

    for opened in (Library.open_readonly, lambda root: Library.open(root, "agent")):
        library = await asyncio.to_thread(opened, agent.root)
        parts = type(agent)(library, judge)
        await parts.start()
        assert await needs(parts, platform_context="linux", backend_key="diffusers") == answer
        await asyncio.to_thread(library.close)


async def test_a_bundle_of_the_library_may_be_bound_too(agent: "Parts") -> None:
    """Its record lies beside its files: the change of the record is no change of the bundle."""
    folder = await agent.create("diffusion/own/tiny", model_type="diffusion", bundle_format="diffusers_directory")
    write_stable_diffusion_bundle(folder)
    await agent.call("reconcile")
    before = await agent.resolve("diffusion/own/tiny")
    await profile(agent)

    await bind(agent, "diffusion/own/tiny")

    after = await agent.resolve("diffusion/own/tiny")
    assert len(after["dependency_resolution"]["bindings"]) == 1
    assert {key for key in before if before[key] != after[key]} <= {
        "dependency_resolution", "validated_at", "generation",
    }  # fmt: skip
