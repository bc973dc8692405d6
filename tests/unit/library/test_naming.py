"""Names of folders from names people give."""

import re
import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pumas_agent.library import normalize_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Llama 2 7B", "llama_2_7b"),
        ("SDXL-1.0-Base", "sdxl-1_0-base"),
        ("stable_diffusion_v1.5", "stable_diffusion_v1_5"),
        ("model/test:file", "modeltestfile"),
        ("model<>test", "modeltest"),
        ("test|model", "testmodel"),
        ("test---model", "test_model"),
        ("test___model", "test_model"),
        ("test-_-model", "test_model"),
        ("--test--", "test"),
        ("__model__", "model"),
        ("CON", "con_model"),
        ("nul", "nul_model"),
        ("", "unnamed_model"),
        ("---", "unnamed_model"),
        ("..", "unnamed_model"),
        (".", "unnamed_model"),
        ("../../etc", "etc"),
        ("a" * 200, "a" * 128),
        ("FLUX.1-dev", "flux_1-dev"),
        ("C++ model", "c_model"),
        ("tab\there", "tab_here"),
        ("Stable Diffusion XL (base)", "stable_diffusion_xl_base"),
        ("x" * 100 + "-" + "y" * 60, "x" * 100),
        ("x" * 60 + "-" + "y" * 100, "x" * 60 + "-" + "y" * 67),
    ],
)
def test_a_latin_name_gives_what_the_existing_library_gives(name: str, expected: str) -> None:
    """Cases naming-001 to naming-027, those of names that no character is lost from."""
    assert normalize_name(name) == expected


@pytest.mark.parametrize(("name", "expected"), [("Crème Brûlée", "creme_brulee"), ("Ünïcode", "unicode")])
def test_accents_are_taken_off_latin_letters(name: str, expected: str) -> None:
    """An accented name stays readable, and is the same however its accents are encoded."""
    assert normalize_name(name) == expected
    assert normalize_name(unicodedata.normalize("NFD", name)) == expected


@pytest.mark.parametrize("name", ["日本語", "Ünïcode Модель", "Łódź", "🦁", "CON модель", "नमस्ते"])
def test_a_name_that_loses_characters_ends_in_a_digest(name: str) -> None:
    """Names of other scripts do not all become `unnamed_model` (unlike naming-019)."""
    assert re.fullmatch(r"[a-z0-9_-]+_[0-9a-f]{8}", normalize_name(name))


@given(st.text(max_size=300))
def test_a_folder_name_is_never_empty_long_or_strange(name: str) -> None:
    """`[a-z0-9_-]`, 1 to 128 characters."""
    assert re.fullmatch(r"[a-z0-9_-]{1,128}", normalize_name(name))


@given(st.text(max_size=300))
def test_a_folder_name_is_its_own_folder_name(name: str) -> None:
    """Normalising twice is normalising once, so an id never drifts."""
    once = normalize_name(name)

    assert normalize_name(once) == once


_CYRILLIC_AND_HAN = st.text(
    st.characters(min_codepoint=0x400, max_codepoint=0x4FF) | st.sampled_from("模型日本語大小"), min_size=1
)


@given(_CYRILLIC_AND_HAN, _CYRILLIC_AND_HAN)
def test_two_names_of_another_script_never_share_a_folder(first: str, second: str) -> None:
    """Unless they are the same text."""
    assume(unicodedata.normalize("NFC", first) != unicodedata.normalize("NFC", second))

    assert normalize_name(first) != normalize_name(second)
