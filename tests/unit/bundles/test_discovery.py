"""The search for bundles below a folder, on real directories."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pumas_agent.bundles import discovery
from pumas_agent.bundles.discovery import Search, find_bundles
from pumas_agent.demo.bundle import write_stable_diffusion_bundle
from pumas_agent.demo.snapshot import snapshot

NOBODY = 65534
Touch = Callable[..., Path]


@pytest.fixture
def bundle(tmp_path: Path) -> Touch:
    """Makes a folder that holds a model_index.json: `bundle("a", "b")` is `a/b`."""

    def make(*parts: str) -> Path:
        root = tmp_path.joinpath(*parts)
        root.mkdir(parents=True)
        (root / "model_index.json").write_text("{}")
        return root

    return make


def _find(folder: Path, *, seconds: float = 60.0, leave_out: Path = Path("/nonexistent/library")) -> Search:
    return find_bundles(folder, deadline=time.monotonic() + seconds, leave_out=leave_out)


def _roots(search: Search) -> list[str]:
    return [str(place.root.relative_to(search.folder)) for place in search.places]


def test_every_folder_with_an_index_is_found_and_none_is_entered(tmp_path: Path, bundle: Touch) -> None:
    """What lies inside a bundle is that bundle's; a folder named model_index.json makes no bundle."""
    bundle("sdxl")
    bundle("sdxl", "refiner")
    bundle("deep", "er", "flux")
    (tmp_path / "odd" / "model_index.json").mkdir(parents=True)

    search = _find(tmp_path)

    assert (_roots(search), search.not_searched, search.truncated) == (["deep/er/flux", "sdxl"], (), False)


def test_the_folder_may_itself_be_a_bundle(bundle: Touch) -> None:
    """And be named through a link: the answer has the canonical root."""
    root = bundle("sdxl")
    link = root.parent / "link"
    link.symlink_to(root)

    search = _find(link)

    assert [place.root for place in search.places] == [root]


def test_an_index_that_is_a_dangling_link_is_found(tmp_path: Path, bundle: Touch) -> None:
    """It was a bundle: whoever judges it says what is lost."""
    index = bundle("pruned") / "model_index.json"
    index.unlink()
    index.symlink_to("gone")

    assert _roots(_find(tmp_path)) == ["pruned"]


def test_hidden_folders_and_links_are_passed_by(tmp_path: Path, bundle: Touch) -> None:
    """A link may lead out of the folder, or around in it."""
    bundle(".trash", "old")
    outside = bundle("outside", "flux")
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "out").symlink_to(outside)
    (tmp_path / "inside" / "round").symlink_to(tmp_path)

    assert _roots(_find(tmp_path / "inside")) == []
    assert _roots(_find(tmp_path)) == ["outside/flux"]


def test_the_cache_of_a_home_folder_is_found_behind_its_dot(tmp_path: Path, bundle: Touch) -> None:
    """`.cache` is hidden, and where huggingface_hub keeps what it downloads; the rest of it is passed by."""
    bundle(".cache", "huggingface", "hub", "models--acme--tiny", "snapshots", "a1")
    bundle(".cache", "other", "model")

    assert _roots(_find(tmp_path)) == [".cache/huggingface/hub/models--acme--tiny/snapshots/a1"]


def test_the_snapshot_of_main_comes_first_then_the_newest(tmp_path: Path, bundle: Touch) -> None:
    """`refs/main` names what the last download of main saw (huggingface_hub's cache layout)."""
    for age, revision in enumerate(["new", "old", "main"]):
        root = bundle("models--acme--tiny", "snapshots", revision)
        os.utime(root, (1_000_000 - age, 1_000_000 - age))
    (tmp_path / "models--acme--tiny" / "refs").mkdir()
    (tmp_path / "models--acme--tiny" / "refs" / "main").write_text("main")
    bundle("models--acme--tiny", "blobs", "nothing-to-see")
    bundle("models--gpt2", "snapshots", "b1")

    found = [place.snapshot for place in _find(tmp_path).places]

    assert [(one.repo_id, one.revision, one.is_main) for one in found if one] == [
        ("acme/tiny", "main", True),
        ("acme/tiny", "new", False),
        ("acme/tiny", "old", False),
        ("gpt2", "b1", False),
    ]


def test_a_snapshot_knows_its_repository_from_anywhere(bundle: Touch) -> None:
    """Whether the cache, the repository, the snapshot or a folder of it was named."""
    root = bundle("hub", "models--acme--tiny", "snapshots", "a1", "sub")

    found = [_find(folder).places[0].snapshot for folder in (root, *list(root.parents)[:4])]

    assert {one.repo_id for one in found if one} == {"acme/tiny"}
    assert None not in found


@pytest.mark.parametrize(
    "markers",
    [("folder_paths.py", "comfy/"), ("webui.py", "launch.py", "modules/"), ("invokeai.yaml",)],
    ids=["ComfyUI", "WebUI", "InvokeAI"],
)
def test_of_an_application_only_the_models_folder_is_searched(
    tmp_path: Path, bundle: Touch, markers: tuple[str, ...]
) -> None:
    """Its code, its own environment and its pictures are thousands of folders without a model."""
    bundle("app", "models", "diffusers", "sdxl")
    bundle("app", "venv", "examples", "not-this")
    for name in markers:
        path = tmp_path / "app" / name
        path.mkdir() if name.endswith("/") else path.touch()

    assert _roots(_find(tmp_path)) == ["app/models/diffusers/sdxl"]
    assert _roots(_find(tmp_path / "app")) == ["models/diffusers/sdxl"]


def test_a_models_folder_that_is_a_link_is_told(tmp_path: Path, bundle: Touch) -> None:
    """Many keep models on another disk; the person has to name that."""
    bundle("disk", "sdxl")
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "invokeai.yaml").touch()
    (tmp_path / "app" / "models").symlink_to(tmp_path / "disk")

    search = _find(tmp_path / "app")

    assert search.places == ()
    assert search.not_searched == ((str(tmp_path / "app" / "models"), "is a link; name the folder it leads to"),)


@pytest.mark.parametrize("folder", ["nothing", "file", "loop", "nul\0"])
def test_what_cannot_be_searched_is_told(tmp_path: Path, folder: str) -> None:
    """And raises nothing."""
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")

    search = _find(tmp_path / folder)

    assert not search.readable
    assert [path for path, _ in search.not_searched] == [str(tmp_path / folder)]


def test_a_name_that_is_not_utf_8_is_passed_by_and_told(tmp_path: Path) -> None:
    """It could be neither answered nor registered: both are JSON."""
    os.mkdir(os.fsencode(tmp_path) + b"/caf\xe9")  # noqa: PTH102  bytes

    search = _find(tmp_path)

    assert search.not_searched == ((f"{tmp_path}/caf\\udce9", "the name is not UTF-8"),)


def test_the_library_is_left_out(tmp_path: Path, bundle: Touch) -> None:
    """What lies there is the library's own, and cannot be registered as external."""
    bundle("library", "diffusion", "acme", "tiny")
    bundle("library2", "sdxl")

    assert _roots(_find(tmp_path, leave_out=tmp_path / "library")) == ["library2/sdxl"]
    assert not _find(tmp_path / "library" / "diffusion", leave_out=tmp_path / "library").places


def test_a_search_without_time_says_what_it_left(tmp_path: Path, bundle: Touch) -> None:
    """It is not an empty answer."""
    bundle("sdxl")

    search = _find(tmp_path, seconds=-1)

    assert (search.places, search.truncated) == ((), True)
    assert search.not_searched == ((str(tmp_path), "no time was left"),)


def test_a_tree_without_end_is_left_at_a_bound(tmp_path: Path, bundle: Touch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breadth first: what is near is found before a bound is met. Entries, levels and bundles are bounded."""
    bundle("near")
    bundle("a", "b", "c", "far")
    for bound, value in (("MAX_LEVELS", 2), ("MAX_ENTRIES", 4), ("MAX_BUNDLES", 1)):
        with monkeypatch.context() as patch:
            patch.setattr(discovery, bound, value)

            search = _find(tmp_path)

        assert (_roots(search), search.truncated) == (["near"], True), bound
        assert search.not_searched, bound


def test_a_search_changes_nothing(tmp_path: Path) -> None:
    """No file comes, goes or changes."""
    write_stable_diffusion_bundle(tmp_path / "models--acme--tiny" / "snapshots" / "a1")
    (tmp_path / "models--acme--tiny" / "refs").mkdir()
    os.mkfifo(tmp_path / "models--acme--tiny" / "refs" / "main")
    before = snapshot(tmp_path)

    assert len(_find(tmp_path).places) == 1

    assert snapshot(tmp_path) == before


@pytest.mark.needs_root
def test_a_folder_that_is_closed_to_us_is_told(short_tmp: Path) -> None:
    """The rest is searched."""
    for name in ("closed", "open"):
        (short_tmp / name).mkdir()
        (short_tmp / name / "model_index.json").touch()
    (short_tmp / "closed").chmod(0)
    short_tmp.chmod(0o755)

    os.setresuid(NOBODY, NOBODY, 0)
    try:
        search = _find(short_tmp)
    finally:
        os.setresuid(0, 0, 0)

    assert _roots(search) == ["open"]
    assert search.not_searched == ((str(short_tmp / "closed"), "permission denied"),)
