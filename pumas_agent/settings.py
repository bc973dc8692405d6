"""What the agent was told: a TOML file, the environment and flags, made into one checked and frozen object.

Owns the names, defaults and limits of the settings, and where the file and the library are when nobody said. Later
sources win: file, then `PUMAS_AGENT_<SECTION>__<KEY>`, then flags. Never creates a file or folder, and never guesses: a
name it does not know or a value it cannot use is an error that says where it stands and what would be right.
"""

import difflib
import json
import os
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, ValidationError, model_validator

from pumas_agent.contracts.errors import SettingsInvalid
from pumas_agent.contracts.model import Contract
from pumas_agent.contracts.rpc import SOCKET_PATH_MAX, default_socket_path
from pumas_agent.path_map import PathMap

__all__ = [
    "BundleSettings",
    "Explained",
    "ExtraPipelineSettings",
    "FeedSettings",
    "LibrarySettings",
    "LogSettings",
    "MappingSettings",
    "PathSettings",
    "Settings",
    "SocketSettings",
    "WatchSettings",
    "config_path",
    "explain_settings",
    "load_bundle_settings",
    "load_settings",
]

_Model = TypeVar("_Model", bound=Contract)
_PREFIX = "PUMAS_AGENT_"
_SHORTCUTS = {"PUMAS_AGENT_LIBRARY": ("library", "root"), "PUMAS_AGENT_SOCKET": ("socket", "path")}


def _absolute(path: Path) -> Path:
    """`~` is expanded; a relative path starts at the working directory. Links stay as they are."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ValueError("must be a path in UTF-8: answers that name it are JSON") from None
    try:
        return path.expanduser().absolute()
    except RuntimeError:
        raise ValueError(f"must start with a home folder that exists, and {path.parts[0]} is none") from None


def _absolute_or_none(text: str) -> str:
    """As `_absolute`; empty stays empty."""
    return str(_absolute(Path(text))) if text else ""


def _number(value: object) -> object:
    """`true` is no number here, although Python would count it as 1."""
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004  pydantic collects ValueError, not TypeError
    return value


def _some_path(value: object) -> object:
    """An empty path would be the working directory, which nobody means: `--library "$UNSET"`."""
    if value == "":
        raise ValueError("must not be empty")
    return value


def _from_list(value: object) -> object:
    """In an environment variable a list is text with commas."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _from_path_list(value: object) -> object:
    """In an environment variable a list of folders is written as in PATH."""
    return tuple(part for part in value.split(os.pathsep) if part) if isinstance(value, str) else value


def _from_json(value: object) -> object:
    """In an environment variable a table is a JSON object."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value or "{}", object_pairs_hook=_once)
    except ValueError as error:
        raise ValueError(f"must be a JSON object: {error}") from None


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """JSON lets a key be given twice, and nobody means that."""
    known: dict[str, object] = {}
    for key, value in pairs:
        if key in known:
            raise ValueError(f"{key!r} is given twice")
        known[key] = value
    return known


def _path_rules(rules: dict[str, str]) -> dict[str, str]:
    return dict(PathMap.of(rules).rules)


AbsolutePath = Annotated[Path, BeforeValidator(_some_path), AfterValidator(_absolute)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_from_list)]
Milliseconds = Annotated[int, BeforeValidator(_number), Field(ge=0, le=3_600_000)]
Seconds = Annotated[float, BeforeValidator(_number), Field(ge=0.05, le=31 * 86_400)]


class LibrarySettings(Contract):
    """The library this agent owns."""

    root: AbsolutePath = Field(description="Folder of the library; made when it is absent.")
    trash_days: Annotated[float, BeforeValidator(_number), Field(ge=0, le=36500)] = Field(
        default=30, description="How long deleted models stay in the trash folder, in days."
    )
    adopt: bool = Field(default=True, description="Make models of folders with model files that appear in the library.")


class SocketSettings(Contract):
    """Where runtimes ask, and who may."""

    path: AbsolutePath = Field(description="The Unix socket.")
    group: str = Field(default="", description="Members of this group may read and resolve; empty: the owner alone.")
    max_connections: Annotated[int, BeforeValidator(_number), Field(ge=1, le=10_000)] = Field(
        default=64, description="Clients at a time; one more is refused."
    )


class WatchSettings(Contract):
    """How soon the disk is looked at, and how often without a reason."""

    debounce_ms: Milliseconds = Field(default=300, description="Quiet time after an event before a look.")
    max_delay_ms: Milliseconds = Field(default=3000, description="Longest wait while events keep coming.")
    backend: Literal["auto", "inotify", "polling"] = Field(
        default="auto", description="What delivers events; auto: the best that this machine has."
    )
    identity_poll_s: Seconds = Field(default=15, description="How often each root is checked to be the same folder.")
    full_reconcile_s: Seconds = Field(default=3600, description="How often everything is looked at.")
    poll_interval_s: Seconds = Field(
        default=60, description="How often roots are compared of which events do not tell everything."
    )
    max_watches: Annotated[int, BeforeValidator(_number), Field(ge=0, le=2**31 - 1)] = Field(
        default=0, description="inotify watches at most; 0: as many as the kernel gives."
    )

    @model_validator(mode="after")
    def _delays_in_order(self) -> Self:
        if self.max_delay_ms < self.debounce_ms:
            raise ValueError(f"max_delay_ms ({self.max_delay_ms}) must be at least debounce_ms ({self.debounce_ms})")
        return self


class ExtraPipelineSettings(Contract):
    """A pipeline class that the built-in tables do not know."""

    task: str = Field(description="What it does; only text-to-image can be executed.")
    required: tuple[str, ...] = Field(default=(), description="Components it cannot be made without.")
    optional: tuple[str, ...] = Field(default=(), description="Components that may be left out.")


class BundleSettings(Contract):
    """What a diffusers directory has to be to count as valid, and where to look for more of them."""

    depth: Literal["content", "structure"] = Field(
        default="content", description="content: everything that decides loading; structure: that the folders exist."
    )
    custom_code: Literal["refuse", "allow"] = Field(
        default="refuse", description="allow: bundles that bring Python code to run may be valid."
    )
    pickle_weights: Literal["allow", "refuse"] = Field(
        default="allow", description="refuse: bundles whose weights are pickles are not valid."
    )
    quantization_backends: Texts = Field(
        default=(), description="The quant_method values that the runtimes here can load."
    )
    extra_pipelines: Annotated[dict[str, ExtraPipelineSettings], BeforeValidator(_from_json)] = Field(
        default={}, description="Pipeline classes to know besides the built-in ones: name to task, required, optional."
    )
    search_roots: Annotated[tuple[AbsolutePath, ...], BeforeValidator(_from_path_list)] = Field(
        default=(), description="Folders in which `discover` looks when it is given none, and bundles that are gone."
    )
    auto_relocate: bool = Field(
        default=False, description="Follow a bundle that was proven to have moved, without being asked."
    )


class HealthSettings(Contract):
    """When something is wrong with the whole rather than with single bundles."""

    mass_disappearance_share: Annotated[float, BeforeValidator(_number), Field(ge=0, le=1)] = Field(
        default=0.5, description="Share of the bundles that vanish together from which on nothing is done by itself."
    )
    mass_disappearance_min: Annotated[int, BeforeValidator(_number), Field(ge=1, le=2**31 - 1)] = Field(
        default=3, description="And at least so many bundles."
    )
    visible_after_ms: Milliseconds = Field(
        default=0, description="How long a condition has to stand before an alert is raised."
    )
    on_alert: Texts = Field(
        default=(), description="Program and arguments to run at every change of an alert, which is JSON on its stdin."
    )
    metrics_file: Annotated[str, AfterValidator(_absolute_or_none)] = Field(
        default="", description="File that is written with the metrics every 15 s, for node_exporter; empty: none."
    )


class FeedSettings(Contract):
    """How much of what changed is kept for clients that were away; whoever was away longer loads everything anew."""

    keep_days: Annotated[int, BeforeValidator(_number), Field(ge=1, le=36_500)] = Field(
        default=30, description="Changes older than this are dropped from the feed."
    )
    keep_events: Annotated[int, BeforeValidator(_number), Field(ge=1, le=2**31 - 1)] = Field(
        default=100_000, description="And the oldest of more than so many."
    )


class MappingSettings(Contract):
    """Which files of the library are linked into which application."""

    config_dir: AbsolutePath = Field(description="Folder of the mapping configurations, a JSON file each.")


class PathSettings(Contract):
    """How runtimes in containers see the host's paths; whoever does not ask for that is told the host's own."""

    map: Annotated[dict[str, str], BeforeValidator(_from_json), AfterValidator(_path_rules)] = Field(
        default={},
        description="Prefix on the host to prefix in the container, absolute both; the longest that covers wins.",
    )


class LogSettings(Contract):
    """What is logged and how it looks."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="What matters less than this is not logged."
    )
    format: Literal["auto", "json", "console"] = Field(
        default="auto", description="auto: console on a terminal, JSON lines elsewhere."
    )


class _Origins(dict[str, Path]):
    """Which file said which setting. Any two are equal: who said a value makes it no other value."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Origins)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None


class Settings(Contract):
    """Everything the agent was told. A value that is here is a value that was checked."""

    _files: _Origins = PrivateAttr(default_factory=_Origins)

    def told_in(self, files: Mapping[str, Path]) -> Self:
        """Note which file said which setting."""
        self._files.update(files)
        return self

    def files(self) -> Mapping[str, Path]:
        """Which file said which setting; one that none said is not in it."""
        return dict(self._files)

    def file_of(self, name: str) -> Path | None:
        """The file that said a setting, such as `health.on_alert`; None when none did."""
        return self._files.get(name)

    library: LibrarySettings
    socket: SocketSettings
    watch: WatchSettings = WatchSettings()
    bundles: BundleSettings = BundleSettings()
    health: HealthSettings = HealthSettings()
    feed: FeedSettings = FeedSettings()
    mapping: MappingSettings
    paths: PathSettings = PathSettings()
    log: LogSettings = LogSettings()


_SECTIONS: dict[str, type[Contract]] = {
    "library": LibrarySettings,
    "socket": SocketSettings,
    "watch": WatchSettings,
    "bundles": BundleSettings,
    "health": HealthSettings,
    "feed": FeedSettings,
    "mapping": MappingSettings,
    "paths": PathSettings,
    "log": LogSettings,
}
_NAMES = tuple(f"{section}.{key}" for section, model in _SECTIONS.items() for key in model.model_fields)
_KNOWN = (*_SECTIONS, *_NAMES)


@dataclass(frozen=True, slots=True)
class _Given:
    """One value and who gave it."""

    source: "Source"
    origin: str
    section: str
    key: str
    value: Any


Source = Literal["default", "file", "environment", "flag"]


@dataclass(frozen=True, slots=True)
class Explained:
    """One setting, and where its value comes from: `origin` is the file or the variable."""

    name: str
    value: Any
    source: Source
    origin: str


def load_settings(
    config: Path | None, environ: Mapping[str, str], overrides: Mapping[str, Mapping[str, Any]]
) -> Settings:
    """The settings of this process.

    Args:
        config: the file a flag named; when null `PUMAS_AGENT_CONFIG`, else the platform's own place. A named file has
            to exist, the platform's may be absent.
        environ: usually `os.environ`. An empty `PUMAS_AGENT_LIBRARY`, `_SOCKET` or `_CONFIG` counts as not given.
        overrides: what flags said, by section and key.

    Raises:
        SettingsInvalid: the file cannot be read, a name is unknown, or a value cannot be used.
    """
    return _load(config, environ, overrides)[0]


def explain_settings(
    config: Path | None, environ: Mapping[str, str], overrides: Mapping[str, Mapping[str, Any]]
) -> list[Explained]:
    """Each setting in the order of the reference; arguments and errors as `load_settings`."""
    settings, origins = _load(config, environ, overrides)
    document = settings.model_dump(mode="json")
    explained = []
    for name in _NAMES:
        section, _, key = name.partition(".")
        given = origins.get(name)
        value = document[section][key]
        explained.append(
            Explained(name, value, "default", "default")
            if given is None
            else Explained(name, value, given.source, given.origin)
        )
    return explained


def config_path(config: Path | None, environ: Mapping[str, str]) -> tuple[Path, bool]:
    """The configuration file, and whether somebody named it: that one has to exist."""
    variable = environ.get("PUMAS_AGENT_CONFIG")
    named = config or (Path(variable).expanduser() if variable else None)
    return named or _config_folder(environ) / "config.toml", named is not None


def _load(
    config: Path | None, environ: Mapping[str, str], overrides: Mapping[str, Mapping[str, Any]]
) -> tuple[Settings, dict[str, _Given]]:
    values, origins = _collected(config, environ, overrides)
    settings = _checked(Settings, values, origins)
    length = len(os.fsencode(settings.socket.path))
    if length > SOCKET_PATH_MAX:
        raise SettingsInvalid(
            f"{origins['socket.path'].origin}: socket.path {settings.socket.path} is {length} bytes long; "
            f"the path of a Unix socket has at most {SOCKET_PATH_MAX}",
            hint="choose a shorter path with --socket or PUMAS_AGENT_SOCKET",
        )
    # Only a file is named by an absolute path: variables and flags are named otherwise.
    files = {name: Path(given.origin) for name, given in origins.items() if given.origin.startswith("/")}
    return settings.told_in(files), origins


def load_bundle_settings(
    config: Path | None, environ: Mapping[str, str], overrides: Mapping[str, Mapping[str, Any]]
) -> BundleSettings:
    """The `bundles` settings alone, for who needs no library and no socket; arguments and errors as `load_settings`."""
    values, origins = _collected(config, environ, overrides)
    return _checked(_BundlesAlone, {"bundles": values["bundles"]}, origins).bundles


class _BundlesAlone(Contract):
    """So that a problem is named `bundles.…` here too."""

    bundles: BundleSettings


def _collected(
    config: Path | None, environ: Mapping[str, str], overrides: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, dict[str, Any]], dict[str, _Given]]:
    """What every source says, and who said it last."""
    values: dict[str, dict[str, Any]] = {section: {} for section in _SECTIONS}
    origins: dict[str, _Given] = {}
    for given in (
        _Given("default", "default", "library", "root", _default_library(environ)),
        _Given("default", "default", "socket", "path", default_socket_path(environ)),
        _Given("default", "default", "mapping", "config_dir", _config_folder(environ) / "mapping-configs"),
        *_from_file(config, environ),
        *_from_environment(environ),
        *_from_flags(overrides),
    ):
        name = f"{given.section}.{given.key}"
        _check_name(given.origin, name)
        values[given.section][given.key] = given.value
        origins[name] = given
    return values, origins


def _checked(model: type[_Model], values: Mapping[str, Any], origins: Mapping[str, _Given]) -> _Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise SettingsInvalid(
            "; ".join(_problem(problem, origins) for problem in error.errors(include_url=False)),
            hint="correct the value, or remove it to get the default",
        ) from None


def _from_file(config: Path | None, environ: Mapping[str, str]) -> Iterator[_Given]:
    path, is_named = config_path(config, environ)
    path = path.absolute()
    try:
        document = tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError:
        if not is_named:
            return
        raise SettingsInvalid(
            f"the configuration file {path} does not exist", hint="correct --config or PUMAS_AGENT_CONFIG"
        ) from None
    except OSError as error:
        raise SettingsInvalid(
            f"the configuration file {path} cannot be read: {error.strerror}", hint="let the agent's user read it"
        ) from error
    except ValueError as error:  # not UTF-8, or not TOML: the message has the place
        raise SettingsInvalid(f"{path} is no TOML: {error}", hint="correct that line: `key = value`") from error
    for section, content in document.items():
        if not isinstance(content, dict) or not content:
            _check_name(str(path), section)
        if not isinstance(content, dict):
            raise SettingsInvalid(f"{path}: {section} is a section, not a value", hint=f"write [{section}] on a line")
        for key, value in content.items():
            yield _Given("file", str(path), section, key, value)


def _from_environment(environ: Mapping[str, str]) -> Iterator[_Given]:
    for name, (section, key) in _SHORTCUTS.items():
        if value := environ.get(name):
            yield _Given("environment", name, section, key, value)
    for name, value in sorted(environ.items()):
        section, found, key = name.removeprefix(_PREFIX).lower().partition("__")
        if name.startswith(_PREFIX) and found:
            yield _Given("environment", name, section, key, value)


def _from_flags(overrides: Mapping[str, Mapping[str, Any]]) -> Iterator[_Given]:
    for section, content in overrides.items():
        for key, value in content.items():
            yield _Given("flag", "the command line", section, key, value)


def _own_folder(environ: Mapping[str, str], variable: str, otherwise: str) -> Path:
    """Our folder in the platform's place for such things: `$variable`, else `otherwise` in the home folder."""
    home = Path(environ.get("HOME") or Path.home())
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "pumas-agent"
    given = environ.get(variable, "")
    return (Path(given) if given.startswith("/") else home / otherwise) / "pumas-agent"


def _config_folder(environ: Mapping[str, str]) -> Path:
    return _own_folder(environ, "XDG_CONFIG_HOME", ".config")


def _default_library(environ: Mapping[str, str]) -> Path:
    return _own_folder(environ, "XDG_DATA_HOME", ".local/share") / "library"


def _check_name(origin: str, name: str) -> None:
    """Refuse the name of a section or setting that is not there, naming the nearest one that is."""
    if name in _KNOWN:
        return
    nearest = difflib.get_close_matches(name, _KNOWN, n=1, cutoff=0.5)
    raise SettingsInvalid(
        f"{origin}: unknown setting {name}",
        hint=f"did you mean {nearest[0]}?" if nearest else f"known: {', '.join(_NAMES)}",
    )


def _problem(problem: Mapping[str, Any], origins: Mapping[str, _Given]) -> str:
    """One sentence: who gave which setting what, and what is allowed."""
    name = ".".join(str(part) for part in problem["loc"])
    allowed = str(problem["msg"]).removeprefix("Value error, ").replace("Input should be", "must be", 1)
    given = origins.get(".".join(name.split(".")[:2]))  # what is below a setting came with it
    if given is None:  # about a whole section
        return f"{name}: {allowed}"
    return f"{given.origin}: {name} = {str(problem['input'])[:200]!r}: {allowed}"
