"""The settings: where they come from, which wins, and what is said about a mistake."""

import os
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pumas_agent.contracts.errors import SettingsInvalid
from pumas_agent.contracts.rpc import SOCKET_PATH_MAX
from pumas_agent.settings import Settings, load_bundle_settings, load_settings

EXAMPLE = Path(__file__).parents[2] / "config" / "pumas-agent.toml"


@pytest.fixture
def home(short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without any configuration."""
    monkeypatch.setenv("HOME", str(short_tmp))
    return short_tmp


def _load(
    home: Path,
    *,
    text: str | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Mapping[str, Any]] | None = None,
) -> Settings:
    config = None
    if text is not None:
        config = home / "named.toml"
        config.write_text(text)
    return load_settings(config, {"HOME": str(home), **(environ or {})}, flags or {})


def test_without_any_source_the_defaults_hold(home: Path) -> None:
    """Nothing has to be configured: the library and the socket have their place in the home folder."""
    settings = _load(home)

    data = "Library/Application Support" if sys.platform == "darwin" else ".local/share"
    assert settings.library.root == home / data / "pumas-agent" / "library"
    assert settings.socket.path == home / ".local/state/pumas-agent/agent.sock"
    assert settings.watch.model_dump() == {
        "debounce_ms": 300,
        "max_delay_ms": 3000,
        "backend": "auto",
        "identity_poll_s": 15,
        "full_reconcile_s": 3600,
        "poll_interval_s": 60,
        "max_watches": 0,
    }
    assert settings.log.model_dump() == {"level": "info", "format": "auto"}
    assert (settings.socket.group, settings.socket.max_connections) == ("", 64)
    assert not list(home.iterdir())


def test_flags_win_over_environment_and_environment_over_file(home: Path) -> None:
    """Each source is nearer to the person than the one before."""
    text = "[watch]\ndebounce_ms = 1\nidentity_poll_s = 2\nfull_reconcile_s = 3\n"
    environ = {"PUMAS_AGENT_WATCH__IDENTITY_POLL_S": "20", "PUMAS_AGENT_WATCH__FULL_RECONCILE_S": "30"}
    flags = {"watch": {"full_reconcile_s": 300}}

    settings = _load(home, text=text, environ=environ, flags=flags)

    watch = settings.watch
    assert (watch.debounce_ms, watch.identity_poll_s, watch.full_reconcile_s) == (1, 20, 300)


def test_shortcuts_name_the_library_and_the_socket(home: Path) -> None:
    """The two settings that everyone needs have short variables; `~` is expanded in them."""
    settings = _load(home, environ={"PUMAS_AGENT_LIBRARY": "~/models", "PUMAS_AGENT_SOCKET": "/run/x.sock"})

    assert settings.library.root == home / "models"
    assert settings.socket.path == Path("/run/x.sock")


def test_an_empty_shortcut_counts_as_not_given(home: Path) -> None:
    """`PUMAS_AGENT_LIBRARY= pumas-agent …` must not make the working directory a library."""
    given = {"PUMAS_AGENT_LIBRARY": "", "PUMAS_AGENT_SOCKET": "", "PUMAS_AGENT_CONFIG": ""}

    assert _load(home, environ=given) == _load(home)


@pytest.mark.skipif(sys.platform == "darwin", reason="XDG folders are not used on macOS")
def test_xdg_folders_are_honoured_when_absolute(home: Path) -> None:
    """The base directory specification: a relative value is ignored."""
    folder = home / "xdg" / "pumas-agent"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("[log]\nlevel = 'debug'\n")

    settings = _load(home, environ={"XDG_CONFIG_HOME": str(home / "xdg"), "XDG_DATA_HOME": "relative"})

    assert settings.log.level == "debug"
    assert settings.library.root == home / ".local/share/pumas-agent/library"


def test_the_named_file_has_to_exist(home: Path) -> None:
    """A file that somebody named and that is not there is a mistake, not an empty file."""
    with pytest.raises(SettingsInvalid, match=r"absent\.toml does not exist"):
        load_settings(home / "absent.toml", {"HOME": str(home)}, {})
    with pytest.raises(SettingsInvalid, match=r"gone\.toml does not exist"):
        _load(home, environ={"PUMAS_AGENT_CONFIG": "~/gone.toml"})


def test_the_flag_names_the_file_before_the_variable(home: Path) -> None:
    """`--config` wins over PUMAS_AGENT_CONFIG."""
    other = home / "other.toml"
    other.write_text("[log]\nlevel = 'error'\n")

    settings = _load(home, text="[log]\nlevel = 'warning'\n", environ={"PUMAS_AGENT_CONFIG": str(other)})

    assert settings.log.level == "warning"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[watch]\ndebounce = 3\n", "unknown setting watch.debounce", "did you mean watch.debounce_ms?"),
        ("[wach]\ndebounce_ms = 3\n", "unknown setting wach.debounce_ms", "did you mean watch.debounce_ms?"),
        ("[libary]\n", "unknown setting libary", "did you mean library?"),
        ("library = '/x'\n", "library is a section, not a value", "write [library] on a line"),
        ("root = '/x'\n", "unknown setting root", "did you mean library.root?"),
        ("[zzz]\nqqq = 1\n", "unknown setting zzz.qqq", "known: library.root, library.trash_days"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_one(home: Path, text: str, message: str, hint: str) -> None:
    """A misspelt setting is never ignored: the error has the file, the name, and what was probably meant."""
    with pytest.raises(SettingsInvalid) as caught:
        _load(home, text=text)

    assert message in caught.value.message
    assert str(home / "named.toml") in caught.value.message
    assert (caught.value.hint or "").startswith(hint)


def test_an_unknown_variable_is_refused_by_its_name(home: Path) -> None:
    """Variables with our prefix and a section are ours; others with the prefix alone may be anybody's."""
    with pytest.raises(SettingsInvalid, match=r"PUMAS_AGENT_LOG__LEVL: unknown setting log\.levl"):
        _load(home, environ={"PUMAS_AGENT_LOG__LEVL": "debug"})

    assert _load(home, environ={"PUMAS_AGENT_PORT": "tcp://10.0.0.1"}) == _load(home)


@pytest.mark.parametrize(
    ("section", "key", "value", "allowed"),
    [
        ("watch", "debounce_ms", "soon", "must be a valid integer"),
        ("watch", "debounce_ms", -1, "must be greater than or equal to 0"),
        ("watch", "max_delay_ms", True, "must be a number"),
        ("watch", "identity_poll_s", float("inf"), "must be less than or equal to 2678400"),
        ("watch", "poll_interval_s", 0, "must be greater than or equal to 0.05"),
        ("watch", "backend", "fsevents", "must be 'auto', 'inotify' or 'polling'"),
        ("socket", "max_connections", 0, "must be greater than or equal to 1"),
        ("log", "level", "loud", "must be 'debug', 'info', 'warning' or 'error'"),
        ("library", "root", "~nobody-of-this-name/x", "must start with a home folder that exists"),
        ("library", "root", "/models/\udce9", "must be a path in UTF-8"),
        ("library", "root", 5, "path"),
    ],
)
def test_a_bad_value_names_setting_value_and_what_is_allowed(
    home: Path, section: str, key: str, value: object, allowed: str
) -> None:
    """Whoever made the mistake finds it in one reading."""
    with pytest.raises(SettingsInvalid) as caught:
        _load(home, flags={section: {key: value}})

    assert caught.value.message.startswith(f"the command line: {section}.{key} = ")
    assert repr(str(value)) in caught.value.message
    assert allowed in caught.value.message


def test_every_bad_value_is_named_at_once(home: Path) -> None:
    """Nobody has to correct a file one error at a time."""
    with pytest.raises(SettingsInvalid, match=r"debounce_ms = 'a'.*PUMAS_AGENT_LOG__FORMAT: log.format = 'xml'"):
        _load(home, text="[watch]\ndebounce_ms = 'a'\n", environ={"PUMAS_AGENT_LOG__FORMAT": "xml"})


def test_the_longest_delay_is_not_shorter_than_the_quiet_time(home: Path) -> None:
    """A pair of values that contradict each other is refused."""
    with pytest.raises(SettingsInvalid, match=r"max_delay_ms \(100\) must be at least debounce_ms \(200\)"):
        _load(home, text="[watch]\ndebounce_ms = 200\nmax_delay_ms = 100\n")


@pytest.mark.parametrize(("extra", "fits"), [(0, True), (1, False)])
def test_the_socket_path_has_to_fit_into_its_address(home: Path, extra: int, *, fits: bool) -> None:
    """A Unix socket's path has 107 bytes at most; said here, before anything is started."""
    path = "/" + "é" * ((SOCKET_PATH_MAX - 1) // 2) + "x" * extra

    if fits:
        assert str(_load(home, environ={"PUMAS_AGENT_SOCKET": path}).socket.path) == path
    else:
        with pytest.raises(SettingsInvalid, match=r"PUMAS_AGENT_SOCKET: .* is 108 bytes long") as caught:
            _load(home, environ={"PUMAS_AGENT_SOCKET": path})
        assert "--socket" in (caught.value.hint or "")


@pytest.mark.parametrize("content", [b"[watch\n", b"\xff\xfe", b"a = 1\na = 2\n"])
def test_a_file_that_is_no_toml_is_named(home: Path, content: bytes) -> None:
    """Bad syntax, bad encoding and a key given twice are errors of that file."""
    config = home / "broken.toml"
    config.write_bytes(content)

    with pytest.raises(SettingsInvalid, match=r"broken\.toml is no TOML"):
        load_settings(config, {"HOME": str(home)}, {})


def test_a_file_that_cannot_be_read_is_named(home: Path) -> None:
    """A folder where the file should be, for example."""
    with pytest.raises(SettingsInvalid, match="cannot be read: Is a directory"):
        load_settings(home, {"HOME": str(home)}, {})


def test_relative_paths_start_at_the_working_directory(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is typed means what the shell would mean; links in it are kept."""
    (home / "real").mkdir()
    (home / "link").symlink_to("real")
    monkeypatch.chdir(home)

    settings = _load(home, flags={"library": {"root": Path("link/library")}})

    assert settings.library.root == home / "link" / "library"


def test_the_example_file_shows_every_setting_with_its_default(home: Path) -> None:
    """The example cannot drift: uncommented, it is the defaults, and it names every setting there is."""
    lines = EXAMPLE.read_text().splitlines()
    text = "\n".join(
        line.removeprefix("# ") if line.startswith("# ") and " = " in line and "." not in line.split(" = ")[0] else line
        for line in lines
    )

    named = {section: set(content) for section, content in tomllib.loads(text).items()}
    settings = _load(home, text=text)

    assert named == {section: set(content) for section, content in settings.model_dump().items()}
    if sys.platform != "darwin":
        assert settings == _load(home)


def test_lists_and_tables_from_the_environment(home: Path) -> None:
    """A list has commas, folders are listed as in PATH, and a table is a JSON object."""
    settings = load_settings(
        None,
        {
            "HOME": str(home),
            "PUMAS_AGENT_BUNDLES__QUANTIZATION_BACKENDS": "bitsandbytes, gguf",
            "PUMAS_AGENT_BUNDLES__SEARCH_ROOTS": f"/a{os.pathsep}/b",
            "PUMAS_AGENT_BUNDLES__EXTRA_PIPELINES": '{"NewPipeline": {"task": "text-to-image", "required": ["unet"]}}',
        },
        {},
    ).bundles

    assert settings.quantization_backends == ("bitsandbytes", "gguf")
    assert settings.search_roots == (Path("/a"), Path("/b"))
    assert settings.extra_pipelines["NewPipeline"].required == ("unet",)


def test_a_problem_within_a_table_says_who_gave_it(home: Path) -> None:
    """The file, and the place in the setting."""
    with pytest.raises(SettingsInvalid, match=r"named\.toml: bundles\.extra_pipelines\.X\.task"):
        _load(home, text='[bundles.extra_pipelines.X]\nrequired = ["unet"]\n')


def test_the_settings_of_bundles_alone(home: Path) -> None:
    """Who judges a folder needs no socket: a path that is too long for one is no reason to stop."""
    environ = {"HOME": str(home), "PUMAS_AGENT_SOCKET": "/x" * 100, "PUMAS_AGENT_BUNDLES__CUSTOM_CODE": "allow"}

    assert load_bundle_settings(None, environ, {"bundles": {"depth": "structure"}}).custom_code == "allow"
    with pytest.raises(SettingsInvalid, match=r"bundles\.depth"):
        load_bundle_settings(None, environ, {"bundles": {"depth": "deep"}})
