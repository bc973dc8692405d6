"""The rules of `paths.map`: which prefix wins, what is refused, and what a settings file may say."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pumas_agent.contracts.errors import SettingsInvalid
from pumas_agent.path_map import NotSeen, PathMap
from pumas_agent.settings import Settings, load_settings


def _seen(rules: dict[str, str], path: str, *beside: str) -> str:
    return PathMap.of(rules).seen(path, beside)


@pytest.mark.parametrize(
    ("rules", "path", "seen"),
    [
        ({"/mnt/models": "/models"}, "/mnt/models/sd/xl", "/models/sd/xl"),
        ({"/mnt/models": "/models"}, "/mnt/models", "/models"),
        ({"/mnt": "/m", "/mnt/models": "/models"}, "/mnt/models/xl", "/models/xl"),
        ({"/mnt/models": "/models", "/mnt": "/m"}, "/mnt/other/xl", "/m/other/xl"),
        ({"/mnt//models/": "/models/."}, "/mnt/models/xl", "/models/xl"),
        ({"//mnt/models": "//models"}, "/mnt/models/xl", "/models/xl"),
        ({"/": "/host"}, "/mnt/xl", "/host/mnt/xl"),
        ({"/": "/host"}, "/", "/host"),
        ({"/mnt/root": "/"}, "/mnt/root/xl", "/xl"),
        ({"/mnt/root": "/"}, "/mnt/root", "/"),
        ({"/mnt/models": "/mnt/models"}, "/mnt/models/xl", "/mnt/models/xl"),
        ({"/a": "/m", "/a/sd/unet": "/m/sd/unet"}, "/a/sd", "/m/sd"),
    ],
)
def test_the_longest_prefix_wins(rules: dict[str, str], path: str, seen: str) -> None:
    """In whatever order the rules stand; what is below it stays as it is."""
    assert _seen(rules, path) == seen


@pytest.mark.parametrize("path", ["/mnt/models2/xl", "/mnt", "/other/mnt/models/xl", "/mnt/model"])
def test_whole_components_alone_are_a_prefix(path: str) -> None:
    """What no rule covers has no name in the container: a guess would be a file that is not there, or another."""
    with pytest.raises(NotSeen, match=r"no rule of paths\.map covers .*there are rules for /mnt/models"):
        _seen({"/mnt/models": "/models"}, path)


def test_without_rules_nothing_is_seen() -> None:
    with pytest.raises(NotSeen, match="there are rules for nothing"):
        PathMap().seen("/mnt/models/xl")


@pytest.mark.parametrize(
    ("rules", "path"),
    [
        ({"/a": "/models", "/b": "/models/b"}, "/a/b/xl"),
        ({"/a": "/models", "/b": "/models/b"}, "/a/b"),
        ({"/a": "/models", "/b": "/models/xl/unet"}, "/a/xl"),
        ({"/a": "/", "/b": "/b"}, "/a/b/xl"),
    ],
)
def test_what_another_mount_covers_is_not_seen(rules: dict[str, str], path: str) -> None:
    """The name would lead to files of another folder, or to a bundle with a folder of another one in it."""
    with pytest.raises(NotSeen, match=r"paths\.map has /b at"):
        _seen(rules, path)


def test_a_bundle_whose_links_lead_out_of_its_rule_is_not_seen() -> None:
    """A snapshot without the blobs of its cache: its links would lead nowhere."""
    hub = "/home/u/hub/models--x"
    snapshot, blobs = f"{hub}/snapshots/1", f"{hub}/blobs"

    assert _seen({hub: "/hub"}, snapshot, blobs) == "/hub/snapshots/1"
    with pytest.raises(NotSeen, match=f"lead to {blobs}"):
        _seen({snapshot: "/model"}, snapshot, blobs)
    with pytest.raises(NotSeen, match=f"lead to {blobs}"):
        _seen({snapshot: "/model", blobs: "/blobs"}, snapshot, blobs)


NAMES = st.sampled_from(["a", "b", "aa", "é"])
PLACES = st.lists(NAMES, max_size=4).map(lambda parts: "/" + "/".join(parts))


@given(rules=st.dictionaries(PLACES, PLACES, max_size=4), path=PLACES)
def test_two_paths_never_have_one_name(rules: dict[str, str], path: str) -> None:
    """Whatever the rules are: with each as a mount, what has the name in the container is what was asked for."""
    try:
        known = PathMap.of(rules)
        name = known.seen(path)
    except (ValueError, NotSeen):
        return

    def below(place: str, prefix: str) -> bool:
        return f"{place}/".startswith(prefix.rstrip("/") + "/")

    mounted = max((rule for rule in known.rules if below(name, rule[1])), key=lambda rule: len(rule[1]))
    tail = name[len(mounted[1].rstrip("/")) :]
    assert (mounted[0].rstrip("/") + tail).rstrip("/") == path.rstrip("/")


# --- settings ----------------------------------------------------------------------------------------------------


def _load(folder: Path, text: str, **environ: str) -> Settings:
    config = folder / "config.toml"
    config.write_text(text)
    return load_settings(config, {"HOME": str(folder), **environ}, {})


def test_rules_from_a_file_and_from_the_environment(short_tmp: Path) -> None:
    """A table, or the same as JSON; slashes too many are taken away."""
    written = _load(short_tmp, '[paths.map]\n"/mnt/models/" = "/models"\n')
    given = _load(short_tmp, "", PUMAS_AGENT_PATHS__MAP='{"/mnt/models": "/models"}')

    assert written.paths.map == given.paths.map == {"/mnt/models": "/models"}
    assert _load(short_tmp, "").paths.map == {}


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ('"mnt" = "/models"', "must have absolute paths on both sides, and 'mnt' is none"),
        ('"/mnt" = "models"', "must have absolute paths on both sides, and 'models' is none"),
        ('"~/models" = "/models"', "and '~/models' is none"),
        ('"" = "/models"', "and '' is none"),
        ('"/mnt" = ""', "and '' is none"),
        ('"/mnt/../etc" = "/models"', "must have paths without '..' and NUL, and '/mnt/../etc' has one"),
        ('"/mnt" = "/models/.."', "without '..'"),
        ('"/mnt" = "/mo\\u0000dels"', "without '..' and NUL"),
        ('"/mnt" = "/a"\n"/mnt/" = "/b"', "must not have two rules for /mnt of the host"),
        ('"/a" = "/models"\n"/b" = "/models/"', "must not have two rules for /models of the container"),
        ('"/mnt" = 5', "must be a valid string"),
        ('"/mnt" = { "/a" = "/b" }', "must be a valid string"),
    ],
)
def test_rules_that_make_no_sense_are_refused(short_tmp: Path, rules: str, why: str) -> None:
    """With the file, the setting and what would be right."""
    with pytest.raises(SettingsInvalid) as error:
        _load(short_tmp, f"[paths.map]\n{rules}\n")

    assert f"{short_tmp / 'config.toml'}: paths.map" in error.value.message
    assert why in error.value.message
    assert error.value.hint


@pytest.mark.parametrize(
    ("text", "why", "hint"),
    [
        ("[paths]\nmaps = {}\n", "unknown setting paths.maps", "did you mean paths.map?"),
        ("[path]\nmap = {}\n", "unknown setting path.map", "did you mean paths.map?"),
        ("[paths]\nmap = ['/mnt']\n", "paths.map", "correct the value"),
    ],
)
def test_another_shape_is_refused(short_tmp: Path, text: str, why: str, hint: str) -> None:
    with pytest.raises(SettingsInvalid) as error:
        _load(short_tmp, text)

    assert why in error.value.message
    assert hint in (error.value.hint or "")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ('{"/mnt": "/a", "/mnt": "/b"}', "'/mnt' is given twice"),
        ("/mnt=/models", "must be a JSON object"),
        (json.dumps({"/mnt/\ud800": "/models"}), "must have paths in UTF-8"),
    ],
)
def test_a_variable_that_is_no_table_of_rules_is_refused(short_tmp: Path, given: str, why: str) -> None:
    """JSON itself would take the last of two."""
    with pytest.raises(SettingsInvalid) as error:
        _load(short_tmp, "", PUMAS_AGENT_PATHS__MAP=given)

    assert "PUMAS_AGENT_PATHS__MAP: paths.map" in error.value.message
    assert why in error.value.message
