"""One tree of errors. Each has a stable string code, a JSON-RPC number, an exit code for the command line, and a hint.

The message names the thing that is wrong; the hint says what to do about it. Match on `code`, never on text.
Numbers follow the existing Pumas library; exit codes follow sysexits where one fits.
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class PumasError(Exception):
    """Anything that goes wrong in a way we know about.

    Attributes:
        code: stable name, part of the contract.
        rpc_code: number in a JSON-RPC error.
        exit_code: what a command exits with.
        message: one sentence that names the thing.
        hint: what a person can do, or None.
        data: further facts for programs; becomes part of `error.data`.
    """

    code: ClassVar[str] = "internal_error"
    rpc_code: ClassVar[int] = -32603
    exit_code: ClassVar[int] = 2
    usual_hint: ClassVar[str | None] = None
    """The hint of an error that was raised without one."""

    def __init__(self, message: str, *, hint: str | None = None, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = self.usual_hint if hint is None else hint
        self.data: dict[str, Any] = dict(data or {})
        if self.hint:
            self.add_note(f"hint: {self.hint}")  # what a program shows that does not catch it

    def to_data(self) -> dict[str, Any]:
        """`error.data` of the JSON-RPC answer: always a `code`, a `hint` where there is one."""
        data: dict[str, Any] = {"code": self.code, **self.data}
        if self.hint is not None:
            data["hint"] = self.hint
        return data


class InternalError(PumasError):
    """A fault of ours: logged with its traceback, contained to the request."""


# --- what was asked ------------------------------------------------------------------------------------------------


class ParseError(PumasError):
    """The line is not JSON."""

    code = "parse_error"
    rpc_code = -32700


class InvalidRequest(PumasError):
    """The line is JSON but no JSON-RPC 2.0 request of ours (a batch array, no method, an id that is no id)."""

    code = "invalid_request"
    rpc_code = -32600


class FrameTooLarge(PumasError):
    """The line is longer than the frame limit."""

    code = "frame_too_large"
    rpc_code = -32600


class AnswerTooLarge(PumasError):
    """The answer would be longer than a frame may be."""

    code = "answer_too_large"
    rpc_code = -32603


class MethodNotFound(PumasError):
    """No method of that name."""

    code = "method_not_found"
    rpc_code = -32601


class InvalidParams(PumasError):
    """A parameter is missing, unknown or has the wrong type; the message names it."""

    code = "invalid_params"
    rpc_code = -32602
    exit_code = 64


class InvalidModelId(InvalidParams):
    """The id cannot be a folder inside the library: empty, absolute, with `.` or `..`, or behind a link out."""

    code = "invalid_model_id"


class ContractVersionMismatch(InvalidParams):
    """The caller expects another version of the execution contract than this agent speaks."""

    code = "contract_version_mismatch"
    exit_code = 2


class SourceInsideLibrary(InvalidParams):
    """The bundle to register lies inside the library root: it would be the library's own, not an external one."""

    code = "source_inside_library"


class LibraryInsideSource(InvalidParams):
    """The library root lies inside the folder to register: the registration would contain itself."""

    code = "library_inside_source"


class PathNotUtf8(InvalidParams):
    """The path has bytes that are not UTF-8: no JSON document can hold it."""

    code = "path_not_utf8"


class PathNotDirectory(InvalidParams):
    """The path is no directory."""

    code = "path_not_directory"


class PathNotAbsolute(InvalidParams):
    """The path is relative, and an agent has no working directory that a caller could know."""

    code = "path_not_absolute"


class MappingTargetRefused(InvalidParams):
    """The application's folder lies in the library or in a bundle: no link may be made there."""

    code = "mapping_target_refused"


class MappingConfigMissing(PumasError):
    """No mapping configuration is for that application and version."""

    code = "mapping_config_missing"
    rpc_code = -32005
    exit_code = 78


class MappingConfigInvalid(PumasError):
    """A mapping configuration cannot be read, or has an unknown key or a bad value; the message names the file."""

    code = "mapping_config_invalid"
    rpc_code = -32005
    exit_code = 78


class NotPermitted(PumasError):
    """The peer may connect, but not do this."""

    code = "not_permitted"
    rpc_code = -32005
    exit_code = 77


class TooManyConnections(PumasError):
    """The agent serves as many connections as it may, in all or for this user; the connection is closed."""

    code = "too_many_connections"
    rpc_code = -32000
    exit_code = 69


class TooManySubscriptions(PumasError):
    """The connection has as many subscriptions as one may have."""

    code = "too_many_subscriptions"
    rpc_code = -32000
    exit_code = 69


# --- models --------------------------------------------------------------------------------------------------------


class ModelNotFound(PumasError):
    """No model of that id in the library."""

    code = "model_not_found"
    rpc_code = -32002
    usual_hint = "`pumas-agent list` shows the ids of all models"


class ImportFailed(PumasError):
    """An import could not be done, for a reason that is not the bundle's own state."""

    code = "import_failed"
    rpc_code = -32003


class NotEnoughSpace(ImportFailed):
    """The library's disk has less room than a copy needs, with something left for the library itself."""

    code = "not_enough_space"


class SourceChanged(ImportFailed):
    """A file changed while it was copied. Nothing was imported."""

    code = "source_changed"


class NotExternal(PumasError):
    """The model's files belong to the library; unregistering is for external references."""

    code = "not_external"
    rpc_code = -32005


class AssetNotValid(PumasError):
    """The asset is not valid now: there is no descriptor. `data` says why, see contracts/descriptor.py."""

    code = "asset_not_valid"
    rpc_code = -32005
    exit_code = 1

    @property
    def findings(self) -> list[dict[str, Any]]:
        """What is wrong, as `{code, message, path}`."""
        return list(self.data.get("validation_errors") or ())

    @property
    def validation_state(self) -> str | None:
        """`degraded` or `invalid`."""
        state = self.data.get("validation_state")
        return state if isinstance(state, str) else None

    @property
    def settling(self) -> bool:
        """True while the bundle is being written: the same question may have another answer in a moment."""
        return bool(self.data.get("settling"))


class DescriptorNotUsable(PumasError):
    """A runtime cannot load what a descriptor describes: another version, no bundle, or trust that was not given."""

    code = "descriptor_not_usable"


class AssetUnresponsive(PumasError):
    """The filesystem that holds the asset does not answer in time."""

    code = "asset_unresponsive"
    rpc_code = -32005
    exit_code = 1


class PathNotMapped(PumasError):
    """A runtime in a container asked, and `paths.map` does not say where the asset is there. On the host it is fine."""

    code = "path_not_mapped"
    rpc_code = -32005


# --- dependencies --------------------------------------------------------------------------------------------------


class InvalidDependencyProfile(PumasError):
    """The specification of a dependency profile breaks a rule; `data.field` says where."""

    code = "invalid_dependency_profile"
    rpc_code = -32005


class InvalidDependencyPin(InvalidDependencyProfile):
    """A package of a dependency profile has no exact version."""

    code = "invalid_dependency_pin"


class DependencyProfileImmutable(PumasError):
    """Another dependency profile is stored under that id and version: it is never replaced."""

    code = "dependency_profile_version_immutable"
    rpc_code = -32005


class DependencyProfileNotFound(PumasError):
    """No dependency profile of that id and version."""

    code = "dependency_profile_not_found"
    rpc_code = -32005


class DependencyBindingNotFound(PumasError):
    """The model has no dependency binding of that id."""

    code = "dependency_binding_not_found"
    rpc_code = -32005


class DependencyBindingTaken(PumasError):
    """Another model has a dependency binding of that id."""

    code = "dependency_binding_taken"
    rpc_code = -32005


# --- the library and the agent -------------------------------------------------------------------------------------


class LibraryBusy(PumasError):
    """Another process owns the library; the message names its pid."""

    code = "library_busy"
    exit_code = 75


class LibraryUnavailable(PumasError):
    """The library root is not there, cannot be read, or its index cannot be opened."""

    code = "library_unavailable"
    exit_code = 69


class LibraryOffline(LibraryUnavailable):
    """The library root is gone or empty where it was not: nothing is written until it is back."""

    code = "library_offline"


class LibraryUnwritable(PumasError):
    """A commit could not be written (disk full, read-only, permission). What was there before is still there."""

    code = "library_unwritable"


class LibraryNewer(LibraryUnwritable):
    """A newer version has written the library: this one only reads it."""

    code = "library_newer"


class MetadataUnreadable(PumasError):
    """A `metadata.json` is no JSON object. The file is left as it is."""

    code = "metadata_corrupt"
    rpc_code = -32005


class LinkRegistryUnreadable(PumasError):
    """`link_registry.json` is no register of links. The file is left as it is."""

    code = "link_registry_corrupt"
    rpc_code = -32005


class SettingsInvalid(PumasError):
    """The configuration has an unknown key or a bad value."""

    code = "config_invalid"
    exit_code = 78


class ExtraNotInstalled(PumasError):
    """A command needs a package that an optional extra brings."""

    code = "extra_not_installed"
    exit_code = 2


class AgentNotRunning(PumasError):
    """Nothing listens on the socket."""

    code = "agent_not_running"
    exit_code = 3


class PageNotServed(PumasError):
    """The agent runs, and serves no page."""

    code = "page_not_served"
    exit_code = 3


class AgentUnreachable(PumasError):
    """The socket is there but the agent did not answer: refused, closed or timed out."""

    code = "agent_unreachable"
    exit_code = 69


def _tree(root: type[PumasError]) -> dict[str, type[PumasError]]:
    found = {root.code: root} if root.__module__ == __name__ else {}
    for child in root.__subclasses__():
        found.update(_tree(child))
    return found


def errors_by_code() -> dict[str, type[PumasError]]:
    """Every error of the tree by its code."""
    return _tree(PumasError) | {InternalError.code: InternalError}


def error_from_answer(error: Mapping[str, Any]) -> PumasError:
    """The typed error behind a JSON-RPC `error` object; one this version does not know becomes a PumasError."""
    raw = error.get("data")
    data = dict(raw) if isinstance(raw, dict) else {}
    code = data.pop("code", None)
    hint = data.pop("hint", None)
    kind = errors_by_code().get(code, PumasError) if isinstance(code, str) else PumasError
    return kind(str(error.get("message", "unknown error")), hint=hint if isinstance(hint, str) else None, data=data)
