"""Dependency requirements: the dependency contract's own words, and nothing about files."""

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pumas_agent.contracts.dependencies import DependencyValidationState
from pumas_agent.dependencies import platform_key

if TYPE_CHECKING:
    from tests.unit.dependencies.conftest import Needs

MODEL = "diffusion/f/m"
RESOLVED, UNKNOWN, INVALID, CONFLICT = DependencyValidationState


def test_a_model_without_bindings_is_resolved_and_needs_nothing(needs: "Needs") -> None:
    """Case dependency-001: what the record says of bindings does not count."""
    needs.facts["dependency_bindings"] = [{"binding_id": "b", "profile_id": "p", "profile_version": 1}]

    assert needs.resolve(None).model_dump(mode="json") == {
        "model_id": MODEL,
        "platform_key": platform_key(),
        "backend_key": None,
        "dependency_contract_version": 1,
        "validation_state": "resolved",
        "validation_errors": [],
        "bindings": [],
    }


def test_bindings_of_which_none_applies_are_not_said_to_be_none(needs: "Needs") -> None:
    """Case dependency-002: unknown_profile, no binding, one error of the top level with all its keys."""
    needs.profile()
    needs.bind(backend_key="transformers", platform_selector="linux-x86_64")

    answer = needs.resolve("linux-x86_64", "diffusers").model_dump(mode="json")

    (error,) = answer["validation_errors"]
    assert (answer["validation_state"], answer["bindings"]) == ("unknown_profile", [])
    assert list(error) == ["code", "scope", "binding_id", "field", "message"]
    assert (error["code"], error["scope"], error["binding_id"], error["field"]) == (
        "declared_bindings_unresolved",
        "top_level",
        None,
        "dependency_bindings",
    )


def test_spellings_are_brought_into_one(needs: "Needs") -> None:
    """Case dependency-004: keys in lower case, addresses without a slash at the end, hashes with their kind, once."""
    package = {
        "name": "Torch",
        "version": "==2.5.1",
        "index": "HTTPS://PYPI.ORG/simple/",
        "extra_index_urls": ["https://b/", "HTTPS://B", "https://a/Path"],
        "hashes": ["ABC123", "sha256:abc123"],
    }
    needs.stored(json.dumps({"python_packages": [package]}))
    needs.bind(backend_key="PyTorch", platform_selector="Linux-X86_64")

    answer = needs.resolve(" Linux-X86_64 ", "PYTORCH").model_dump(mode="json")

    (binding,) = answer["bindings"]
    assert (answer["validation_state"], answer["platform_key"], answer["backend_key"]) == (
        "resolved",
        "linux-x86_64",
        "pytorch",
    )
    assert (binding["backend_key"], binding["environment_kind"]) == ("pytorch", "python-venv")
    assert binding["env_id"] == f"python-venv:p:1:{binding['profile_hash']}:linux-x86_64:pytorch"
    assert binding["requirements"] == [
        {
            "kind": "python_package",
            "name": "torch",
            "exact_pin": "==2.5.1",
            "index_url": "https://pypi.org/simple",
            "extra_index_urls": ["https://a/Path", "https://b"],
            "hashes": ["sha256:abc123"],
        }
    ]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("HTTPS://User:PaSS@Host.ORG/A/", "https://User:PaSS@host.org/A"),
        ("https://host/?q=A/", "https://host?q=A/"),
        ("http://[::1/", "http://[::1/"),
        (" ", None),
    ],
)
def test_only_scheme_and_host_change_their_case(needs: "Needs", given: str, shown: str | None) -> None:
    """What cannot be taken apart is left as it is."""
    needs.stored(json.dumps({"python_packages": [{"name": "a", "version": "==1", "index_url": given}]}))
    needs.bind()

    (requirement,) = needs.resolve().bindings[0].requirements
    assert requirement.index_url == shown


def test_what_a_profile_does_not_say_is_left_out(needs: "Needs") -> None:
    """And what it does say is there, each under its name."""
    said = {
        "markers": "python_version > '3'",
        "python_requires": ">=3.11",
        "platform_constraints": ["b", "a", "a"],
        "source": "pypi",
    }
    needs.stored(
        json.dumps({"python_packages": [{"name": "a", "version": "==1"}, {"name": "b", "version": "==1", **said}]})
    )
    needs.bind()

    bare, full = needs.resolve().model_dump(mode="json")["bindings"][0]["requirements"]
    assert set(bare) == {"kind", "name", "exact_pin"}
    assert full.items() >= {**said, "platform_constraints": ["a", "b"]}.items()


@pytest.mark.parametrize(
    ("own", "asked", "applies"),
    [
        (None, "pytorch", True),
        (" ", "pytorch", True),
        ("pytorch", None, True),
        ("PyTorch", " pytorch ", True),
        ("pytorch", " ", True),
        ("pytorch", "onnx-runtime", False),
    ],
)
def test_a_binding_applies_to_its_backend(needs: "Needs", own: str | None, asked: str | None, *, applies: bool) -> None:
    """Or to all when it names none, and to every question that names none."""
    needs.profile()
    needs.bind(backend_key=own)

    assert len(needs.resolve(backend=asked).bindings) == applies


def test_a_binding_that_was_taken_back_counts_for_nothing(needs: "Needs") -> None:
    """A model with no other is as one that never had any."""
    needs.bind(status="deprecated", profile="gone")

    assert (needs.resolve().validation_state, needs.resolve().bindings) == (RESOLVED, ())


def test_a_profile_that_is_not_there_is_unknown(needs: "Needs") -> None:
    """On that binding; there is no hash, no environment and no package to speak of."""
    needs.bind(profile="gone", version=7)

    answer = needs.resolve()

    (binding,) = answer.bindings
    assert (answer.validation_state, answer.validation_errors) == (UNKNOWN, ())
    assert [(error.code, error.scope, error.binding_id) for error in binding.validation_errors] == [
        ("unknown_profile", "binding", "b")
    ]
    assert (binding.profile_hash, binding.environment_kind, binding.env_id, binding.requirements) == (
        None, None, None, (),
    )  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON",
        "[]",
        "null",
        "{}",
        '{"python_packages": 1}',
        '{"python_packages": [{"name": "a"}]}',
        "[" * 100_000,
    ],
    ids=range(8),
)
def test_a_profile_that_cannot_be_used_is_invalid(needs: "Needs", text: str) -> None:
    """Whatever another program stored: an answer, never a failure."""
    needs.stored(text)
    needs.bind()

    (binding,) = needs.resolve().bindings
    assert (binding.validation_state, binding.env_id, binding.requirements) == (INVALID, None, ())
    assert [error.code for error in binding.validation_errors] == ["invalid_profile"]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=()), max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
_KEYS = (
    "name",
    "version",
    "index",
    "index_url",
    "extra_index_urls",
    "markers",
    "hashes",
    "source",
    "platform_constraints",
)
_PACKAGES = st.lists(st.dictionaries(st.sampled_from(_KEYS), _JSON | st.sampled_from(["torch", "==1.0"]), max_size=5))


@given(
    packages=_PACKAGES | _JSON,
    more=st.dictionaries(st.sampled_from(["pin_policy", "binding_modality_overrides", "x"]), _JSON),
    backend=st.sampled_from(["pytorch", None]) | st.text(),
    selector=st.none() | st.text(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_whatever_is_stored_there_is_an_answer_that_can_be_sent(
    needs: "Needs", packages: Any, more: dict[str, Any], backend: str | None, selector: str | None
) -> None:
    """Law 10: a descriptor is prepared from it on the event loop, and must not fail for a profile."""
    needs.stored(json.dumps({"python_packages": packages, **more}))
    needs.bind(backend_key=backend, platform_selector=selector)

    answer = needs.resolve()

    assert type(answer).model_validate_json(answer.model_dump_json()) == answer


# --- conflicts -------------------------------------------------------------------------------------------------------


def test_two_profiles_for_one_environment_are_in_conflict(needs: "Needs") -> None:
    """Both are marked, neither names an environment, and the packages are shown all the same."""
    needs.profile("p", 1, "torch==1.0")
    needs.profile("q", 1, "torch==2.0")
    needs.bind("b", "p", backend_key="diffusers")
    needs.bind("c", "q", backend_key="DIFFUSERS")

    answer = needs.resolve(backend="diffusers")

    assert answer.validation_state is CONFLICT
    for binding in answer.bindings:
        (error,) = binding.validation_errors
        assert (binding.validation_state, binding.env_id) == (CONFLICT, None)
        assert (error.code, error.field, error.scope) == ("profile_conflict", "profile_hash", "binding")
        assert binding.requirements


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"profile": "p"}, {"profile": "same"}),
        ({"profile": "p"}, {"profile": "container"}),
        ({"profile": "p", "backend_key": "pytorch"}, {"profile": "q", "backend_key": "diffusers"}),
        ({"profile": "p", "platform_selector": "linux-x86_64"}, {"profile": "q", "platform_selector": "linux-aarch64"}),
        ({"profile": "p"}, {"profile": "gone"}),
    ],
    ids=["same content", "other kind of environment", "other backend", "other architecture", "no profile"],
)
def test_what_never_meets_in_one_environment_is_in_no_conflict(
    needs: "Needs", one: dict[str, Any], other: dict[str, Any]
) -> None:
    """Same content, another kind of environment, another backend, another machine."""
    needs.profile("p", 1, "torch==1.0")
    needs.profile("same", 1, "Torch==1.0")
    needs.profile("q", 1, "torch==2.0")
    needs.profile("container", 1, "torch==2.0", kind="container")
    needs.bind("b", **one)
    needs.bind("c", **other)

    assert CONFLICT not in {binding.validation_state for binding in needs.resolve("linux").bindings}


def test_the_answer_is_as_good_as_its_worst_binding(needs: "Needs") -> None:
    """Resolved < unknown_profile < invalid_profile < profile_conflict."""
    assert list(DependencyValidationState) == [RESOLVED, UNKNOWN, INVALID, CONFLICT]
    seen = []
    needs.profile("p", 1, "torch==1.0")
    needs.bind("a", "p", backend_key="one")
    seen.append(needs.resolve().validation_state)
    needs.bind("b", "gone", backend_key="two")
    seen.append(needs.resolve().validation_state)
    needs.stored("{}", "broken")
    needs.bind("c", "broken", backend_key="three")
    seen.append(needs.resolve().validation_state)
    needs.profile("q", 1, "torch==2.0")
    needs.bind("d", "q", backend_key="one")
    seen.append(needs.resolve().validation_state)

    assert seen == [RESOLVED, UNKNOWN, INVALID, CONFLICT]


def test_bindings_come_in_one_order_whatever_order_they_were_made_in(needs: "Needs") -> None:
    """Case dependency-012: kind, backend, selector, profile, version, priority, id; none before any."""
    rows: list[dict[str, Any]] = [
        {"binding_id": "z", "binding_kind": "a"},
        {"binding_id": "y", "backend_key": "b"},
        {"binding_id": "x", "backend_key": "b", "platform_selector": "linux"},
        {"binding_id": "w", "backend_key": "c"},
        {"binding_id": "v", "backend_key": "c", "profile": "q"},
        {"binding_id": "u", "backend_key": "c", "profile": "q", "version": 2},
        {"binding_id": "s", "backend_key": "c", "profile": "q", "version": 2, "priority": 1000},
        {"binding_id": "t", "backend_key": "c", "profile": "q", "version": 2, "priority": 1000},
    ]
    for order in itertools.islice(itertools.permutations(rows), 0, 40_320, 999):
        for row in order:
            needs.bind(**row)
        assert [binding.binding_id for binding in needs.resolve().bindings] == [row["binding_id"] for row in rows]


# --- PyTorch ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("modalities", "missing"),
    [
        (["text"], ["torch"]),
        (["text", "image"], ["torch", "torchvision"]),
        (["audio", "text"], ["torch", "torchaudio"]),
        (["Image ", "audio"], ["torch", "torchvision", "torchaudio"]),
        (["video", "mask"], ["torch"]),
    ],
)
def test_pytorch_needs_torch_and_what_comes_with_the_modalities(
    needs: "Needs", modalities: list[str], missing: list[str]
) -> None:
    """A profile that pins none of them is invalid, with an error for each."""
    needs.facts = {"input_modalities": modalities[:1], "output_modalities": modalities[1:]}
    needs.profile("p", 1, "xformers==1.0")
    needs.bind(backend_key="pytorch")

    (binding,) = needs.resolve().bindings
    assert binding.validation_state is INVALID
    assert {error.code.value for error in binding.validation_errors} == {"unpinned_dependency"}
    assert [error.message.split(" needs ")[1].split(",")[0] for error in binding.validation_errors] == missing


def test_pytorch_with_all_its_pins_is_resolved(needs: "Needs") -> None:
    """Extras of a package do not make it another one."""
    needs.facts = {"input_modalities": ["image"], "output_modalities": ["audio"]}
    needs.profile("p", 1, "torch[opt]==1.0", "torchvision==1.0", "torchaudio==1.0")
    needs.bind(backend_key="pytorch", binding_kind="required_custom")

    assert needs.resolve().validation_state is RESOLVED


@pytest.mark.parametrize(
    ("backend", "kind"), [("diffusers", "required_core"), (None, "required_core"), ("pytorch", "optional")]
)
def test_the_rule_of_pytorch_is_for_what_pytorch_cannot_run_without(
    needs: "Needs", backend: str | None, kind: str
) -> None:
    """Other backends and other kinds of bindings pin what they like."""
    needs.profile("p", 1, "xformers==1.0")
    needs.bind(backend_key=backend, binding_kind=kind)

    assert needs.resolve(backend=None).validation_state is RESOLVED


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"input_modalities": ["any"], "output_modalities": ["text"]},
        {"output_modalities": ["Unknown"]},
        {"task_type_primary": "no-such-task"},
        {"input_modalities": "text", "task_type_primary": None},
    ],
)
def test_modalities_that_are_not_known_leave_the_answer_open(needs: "Needs", facts: dict[str, Any]) -> None:
    """Torch is pinned; whether more is needed cannot be said."""
    needs.facts = facts
    needs.profile()
    needs.bind(backend_key="pytorch")

    (binding,) = needs.resolve().bindings
    assert (binding.validation_state, binding.env_id) == (UNKNOWN, None)
    assert [error.code for error in binding.validation_errors] == ["modality_resolution_unknown"]


def test_modalities_come_from_the_profile_then_the_record_then_the_task(needs: "Needs") -> None:
    """Each stands in only for one that says nothing."""

    def missing() -> list[str]:
        return [
            error.message.split(" needs ")[1].split(",")[0] for error in needs.resolve().bindings[0].validation_errors
        ]

    needs.profile()
    needs.bind(backend_key="pytorch")
    needs.facts = {"task_type_primary": "text-to-image"}
    of_task = missing()
    needs.facts |= {"input_modalities": ["audio"], "output_modalities": []}
    of_record = missing()
    needs.profile(
        binding_modality_overrides={"b": {"input_modalities": ["text"]}, "c": {"input_modalities": ["image"]}}
    )
    of_profile = missing()

    assert (of_task, of_record, of_profile) == (["torchvision"], ["torchaudio"], [])
