"""Which of the found bundles `discover --register` chooses, and where `discover` looks when nobody says."""

from typing import Any

import pytest

from pumas_agent.cli.discover import hugging_face_cache, plan

_VARIABLES = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME")


def _bundle(path: str, model_id: str = "diffusion/acme/tiny", **facts: Any) -> dict[str, Any]:
    known = {"path": path, "model_id": model_id, "health": "valid", "registered": False, "id_taken": False}
    return known | facts


def test_what_is_valid_and_not_registered_is_chosen() -> None:
    """The rest needs no word: the list shows it."""
    wanted = _bundle("/a", "diffusion/acme/a")
    others = [
        _bundle("/b", "diffusion/acme/b", registered=True),
        *(_bundle(f"/{health}", health, health=health) for health in ("invalid", "unsupported", "unjudged")),
    ]

    assert plan([wanted, *others]) == ([wanted], [])


def test_one_id_is_given_once_and_the_first_has_it() -> None:
    """The first of a repository's snapshots is that of main; what is left is told with its reason."""
    main, old, taken = _bundle("/main"), _bundle("/old"), _bundle("/other", "diffusion/acme/x", id_taken=True)

    chosen, left = plan([main, old, taken])

    assert chosen == [main]
    assert left == [
        (old, "diffusion/acme/tiny will be /main"),
        (taken, "diffusion/acme/x is another bundle already"),
    ]


@pytest.mark.parametrize(
    ("environ", "cache"),
    [
        ({}, "~/.cache/huggingface/hub"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/huggingface/hub"),
        ({"XDG_CACHE_HOME": "/x", "HF_HOME": "~/hf"}, "~/hf/hub"),
        ({"HF_HOME": "/hf", "HUGGINGFACE_HUB_CACHE": "/old"}, "/old"),
        ({"HUGGINGFACE_HUB_CACHE": "/old", "HF_HUB_CACHE": "$DISK/hub", "DISK": "/disk"}, "/disk/hub"),
    ],
)
def test_the_cache_is_where_huggingface_hub_has_it(
    environ: dict[str, str], cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same variables in the same order as its constants.py, names of variables in them expanded."""
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    assert hugging_face_cache() == cache
