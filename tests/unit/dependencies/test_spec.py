"""The specification of a profile: pins, names, policies, overrides, and one hash for what means the same."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pumas_agent.contracts.errors import InvalidDependencyPin, InvalidDependencyProfile
from pumas_agent.dependencies import parse_spec
from pumas_agent.dependencies.spec import MOST_PACKAGES

PYTHON = "python-venv"


def spec(*packages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"python_packages": list(packages), **more}


def package(name: str, version: str = "==1.0", **more: Any) -> dict[str, Any]:
    return {"name": name, "version": version, **more}


def test_names_are_lower_case_and_sorted_and_the_policy_with_them() -> None:
    """Case dependency-007."""
    parsed = parse_spec(
        spec(package("XFORMERS"), package(" Torch "), pin_policy={"required_packages": [{"name": " XFORMERS"}]}),
        PYTHON,
    )

    assert [item["name"] for item in parsed.packages] == ["torch", "xformers"]
    assert parsed.required == ["xformers"]
    assert len(parsed.hash) == 64
    assert int(parsed.hash, 16)


@pytest.mark.parametrize(
    "version",
    [
        ">=2.5.1",
        "2.5.1",
        "==",
        "== 2.5.1",
        "==2.*",
        "~=2.5",
        "==2.5.1,<3",
        "==2.5.1\n",
        " ==2.5.1",
        "===1.0",
        "",
        None,
        2,
    ],
)
def test_a_version_that_is_not_exact_is_no_pin(version: object) -> None:
    """Case dependency-008."""
    with pytest.raises(InvalidDependencyPin, match="invalid_dependency_pin") as error:
        parse_spec(spec({"name": "torch", "version": version}), PYTHON)

    assert error.value.code == "invalid_dependency_pin"
    assert error.value.rpc_code == -32005
    assert error.value.data["field"] == "python_packages[0].version"


@pytest.mark.parametrize("version", ["==2.5.1", "==2.5.1+cu124", "==1.0rc1", "==2024.1-2_x", "==v1"])
def test_an_exact_version_is_a_pin(version: str) -> None:
    """Letters, digits, dots, and `_`, `+` and `-` after the first of them."""
    assert parse_spec(spec(package("torch", version)), PYTHON).packages[0]["version"] == version


def test_exact_duplicates_are_one() -> None:
    """Also when the name is spelled in another way."""
    parsed = parse_spec(spec(package("torch"), package("TORCH ")), PYTHON)

    assert parsed.packages == [package("torch")]


def test_two_versions_of_a_package_are_refused() -> None:
    """Whatever else the entries say."""
    with pytest.raises(InvalidDependencyProfile, match=r"pins torch to ==2\.0, and another entry to ==1\.0"):
        parse_spec(spec(package("torch"), package("Torch", "==2.0", markers="x")), PYTHON)


def test_one_version_may_come_from_two_places() -> None:
    """For different platforms, for example: such entries are no exact duplicates."""
    given = [package("torch", markers="sys_platform == 'linux'"), package("torch", markers="sys_platform == 'darwin'")]

    assert parse_spec(spec(*given), PYTHON).packages == given


@pytest.mark.parametrize("kind", ["python", "Python-Venv", " python3 "])
def test_an_environment_of_python_needs_a_package(kind: str) -> None:
    """Others, such as a container, may have none."""
    with pytest.raises(InvalidDependencyProfile, match="python_packages"):
        parse_spec({"python_packages": []}, kind)
    with pytest.raises(InvalidDependencyProfile, match="python_packages"):
        parse_spec({}, kind)

    assert parse_spec({}, "container").packages == []


def test_a_policy_may_only_want_what_is_declared() -> None:
    """A package that nobody pinned cannot be required."""
    with pytest.raises(InvalidDependencyProfile, match="wants xformers") as error:
        parse_spec(spec(package("torch"), pin_policy={"required_packages": [{"name": "xformers"}]}), PYTHON)

    assert error.value.data["field"] == "pin_policy.required_packages[0]"


def test_overrides_take_canonical_modalities() -> None:
    """Trimmed, in lower case, sorted and once."""
    parsed = parse_spec(
        spec(package("torch"), binding_modality_overrides={"b": {"input_modalities": [" Text", "image", "text"]}}),
        PYTHON,
    )

    assert parsed.override("b") == ["image", "text"]
    assert parsed.override("another") == []


def test_overrides_take_no_other_modality() -> None:
    """`picture` is none."""
    with pytest.raises(InvalidDependencyProfile, match="'picture', which is no modality") as error:
        parse_spec(spec(package("t"), binding_modality_overrides={"b": {"output_modalities": ["picture"]}}), PYTHON)

    assert error.value.data["field"] == "binding_modality_overrides.b.output_modalities"


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        ([], "spec"),
        (None, "spec"),
        ({"python_packages": {}}, "python_packages"),
        ({"python_packages": ["torch==1"]}, "python_packages[0]"),
        (spec({"version": "==1"}), "python_packages[0].name"),
        (spec(package(" ")), "python_packages[0].name"),
        (spec(package("--index-url")), "python_packages[0].name"),
        (spec(package("a b")), "python_packages[0].name"),
        (spec(package("torch\n")), None),
        (spec(package("torch", index_url=7)), "python_packages[0].index_url"),
        (spec(package("torch", hashes=[1])), "python_packages[0].hashes"),
        (spec(package("torch", extra_index_urls={"a": 1})), "python_packages[0].extra_index_urls"),
        (spec(package("torch", hashs=["a"])), "python_packages[0].hashs"),
        (spec(package("torch"), pin_policy=[]), "pin_policy"),
        (spec(package("torch"), pin_policy={"required_packages": ["torch"]}), "pin_policy.required_packages[0]"),
        (spec(package("torch"), binding_modality_overrides=[1]), "binding_modality_overrides"),
        (spec(package("torch"), binding_modality_overrides={"b": 1}), "binding_modality_overrides.b"),
        (spec(package("torch") | {"\ud800": 1}), "python_packages[0].\\ud800"),
        (spec(package("torch", source="\ud800")), "spec"),
        (spec(package("torch"), binding_modality_overrides={"\ud800": 1}), "binding_modality_overrides.\\ud800"),
        (spec(package("torch"), note=float("nan")), "spec"),
        (spec(package("torch"), note="\ud800"), "spec"),
        (spec(*(package(f"p{number}") for number in range(MOST_PACKAGES + 1))), "python_packages"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_the_name_of_its_field(broken: object, field: str | None) -> None:
    """Nothing is guessed, and nothing fails in another way. White space around a name is no fault."""
    if field is None:
        parse_spec(broken, PYTHON)
        return
    with pytest.raises(InvalidDependencyProfile) as error:
        parse_spec(broken, PYTHON)

    assert error.value.data["field"] == field
    assert error.value.message.startswith(f"Validation error for {field}: ")
    assert error.value.message.encode()  # it can be sent


def test_what_is_stored_already_is_read_with_keys_that_nobody_knows() -> None:
    """Another program wrote it; they do not count for the hash."""
    parsed = parse_spec(spec(package("torch", note="x")), PYTHON, strict=False)

    assert parsed.packages == [package("torch")]


def test_the_hash_is_that_of_the_canonical_form() -> None:
    """Reference 8.3: absent keys left out, keys sorted, compact, UTF-8, `index` is `index_url`; other keys stay."""
    parsed = parse_spec(
        {
            "zeta": {"b": "é", "a": [1]},
            "python_packages": [
                {"version": "==2.0", "name": "Torch", "index": "https://x", "hashes": [], "markers": None},
                {"name": "accelerate", "version": "==1.0", "index_url": "https://y", "index": "https://z"},
            ],
            "pin_policy": None,
        },
        PYTHON,
    )

    canonical = (
        '{"python_packages":[{"index_url":"https://y","name":"accelerate","version":"==1.0"},'
        '{"index_url":"https://x","name":"torch","version":"==2.0"}],"zeta":{"a":[1],"b":"é"}}'
    )
    assert parsed.text == canonical
    assert parsed.hash == hashlib.sha256(canonical.encode()).hexdigest()


_NAMES = st.sampled_from(["torch", "Torch", " numpy", "a.b-c", "uvicorn[standard]"])
_PACKAGES = st.builds(
    lambda name, version, more: {"name": name, "version": f"=={version}", **more},
    _NAMES,
    st.sampled_from(["1.0", "2"]),
    st.dictionaries(st.sampled_from(["index", "markers", "source"]), st.text(max_size=5), max_size=2),
)


@given(st.lists(_PACKAGES, min_size=1, max_size=6), st.dictionaries(st.sampled_from("xyz"), st.text(), max_size=2))
def test_the_canonical_form_is_its_own(packages: list[dict[str, Any]], more: dict[str, Any]) -> None:
    """What was stored and is stored again has the same hash; the order of the keys never counts."""
    try:
        once = parse_spec(spec(*packages, **more), PYTHON)
    except InvalidDependencyProfile:
        return
    turned = json.loads(once.text, object_pairs_hook=lambda pairs: dict(reversed(pairs)))

    assert parse_spec(turned, PYTHON).hash == once.hash
