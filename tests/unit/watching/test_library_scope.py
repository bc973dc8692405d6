"""Which scope a path in the library belongs to."""

import pytest

from pumas_agent.contracts.records import ALL_MODELS
from pumas_agent.watching import library_scope

MODELS = {"diffusion/sdxl/base", "llm/flat"}


def scope(relative: str) -> str | None:
    return library_scope(relative, MODELS.__contains__)


@pytest.mark.parametrize(
    "relative",
    [
        "models.db",
        "models.db-wal",
        "models.db-shm",
        "models.db.bak",
        "link_registry.json",
        "link_registry.json.41.7.tmp",
        ".pumas-agent.lock",
        ".metadata_v2_migration_checkpoint.json",
        ".package_facts_cache_migration_checkpoint.json",
        "migration-reports",
        "migration-reports/index.json",
        ".tmp_import_0b0e/model.safetensors",
        "diffusion/sdxl/base/metadata.json.41.7.tmp",
        "diffusion/sdxl/base/metadata.json.41.ThreadId(3).tmp",
    ],
)
def test_the_librarys_own_files_belong_to_nobody(relative: str) -> None:
    """What the library writes for itself must not wake the one who writes it."""
    assert scope(relative) is None


@pytest.mark.parametrize(
    ("relative", "expected"),
    [
        ("diffusion/sdxl/base", "diffusion/sdxl/base"),
        ("diffusion/sdxl/base/metadata.json", "diffusion/sdxl/base"),
        ("diffusion/sdxl/base/unet/config.json", "diffusion/sdxl/base"),
        ("diffusion/sdxl/base/models.db", "diffusion/sdxl/base"),
        ("llm/flat/weights.tmp", "llm/flat"),
    ],
)
def test_the_nearest_model_folder_names_the_scope(relative: str, expected: str) -> None:
    """The path itself or the nearest folder above it that is a model; names of library files count at the root only."""
    assert scope(relative) == expected


@pytest.mark.parametrize("relative", ["", "diffusion", "diffusion/sdxl", "diffusion/sdxl/new/metadata.json", "x.json"])
def test_what_is_no_models_concerns_all_models(relative: str) -> None:
    """A folder of models may have been moved in or out: no depth is ignored."""
    assert scope(relative) == ALL_MODELS


def test_a_model_inside_a_model_is_the_nearer_one() -> None:
    """The nearest wins."""
    nested = {"a/b", "a/b/c"}

    assert library_scope("a/b/c/file", nested.__contains__) == "a/b/c"
