"""What both clients share: requests to bytes, bytes to results, and the errors of a connection.

Never touches a socket.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

from pydantic_core import from_json, to_json

from pumas_agent.contracts.descriptor import (
    EXECUTION_CONTRACT_VERSION,
    PATHS_AS_VARIABLE,
    ModelExecutionDescriptor,
    PathsAs,
)
from pumas_agent.contracts.errors import (
    AgentNotRunning,
    AgentUnreachable,
    FrameTooLarge,
    InvalidParams,
    NotPermitted,
    PumasError,
    error_from_answer,
)
from pumas_agent.contracts.metadata import AssetValidationState, BundleFormat, StorageKind
from pumas_agent.contracts.records import ModelList
from pumas_agent.contracts.rpc import MAX_FRAME_IN, METHODS, Access, Progress

DESCRIPTOR_METHOD = "resolve_model_execution_descriptor"

OnProgress = Callable[[str, int, int | None, str], None]
"""Called with the stage, how much is done, how much there is (null while nobody knows), and the unit."""


class ListFilters(TypedDict, total=False):
    """What `list_models` takes; the meaning of each is that of `contracts.rpc.FilterParams`."""

    limit: int
    offset: int
    model_type: str | None
    storage_kind: StorageKind | None
    bundle_format: BundleFormat | None
    validation_state: AssetValidationState | None
    tags: tuple[str, ...]


def request_frame(request_id: int, method: str, params: dict[str, Any]) -> bytes:
    """The line that asks.

    Raises:
        InvalidParams: JSON cannot hold a parameter (a path that is no UTF-8, for one).
        FrameTooLarge: the line would be longer than the agent reads.
    """
    try:
        frame = to_json({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})
    except ValueError as error:
        raise InvalidParams(f"the parameters of {method} cannot be written as JSON: {error}") from None
    if len(frame) > MAX_FRAME_IN:
        raise FrameTooLarge(f"the parameters of {method} need {len(frame)} bytes, {MAX_FRAME_IN} are allowed")
    return frame + b"\n"


def parse_line(line: bytes | bytearray) -> dict[str, Any]:
    """The object on a line. Raises AgentUnreachable when there is none: something else listens on the socket."""
    try:
        message = from_json(line)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        raise AgentUnreachable("what answers on the socket is no agent: it does not speak JSON-RPC")
    return message


def progress_of(message: dict[str, Any]) -> Progress | None:
    """The progress that a message tells of; None when it is an answer."""
    if message.get("method") != "progress":
        return None
    try:
        return Progress.model_validate(message.get("params"), extra="ignore")
    except ValueError:
        raise AgentUnreachable("what answers on the socket is no agent of a version this client knows") from None


def result_of(message: dict[str, Any]) -> dict[str, Any]:
    """The result in an answer. Raises the typed error in it, or AgentUnreachable when it is no answer."""
    result, error = message.get("result"), message.get("error")
    if isinstance(error, dict):
        raise error_from_answer(error)
    if not isinstance(result, dict):
        raise AgentUnreachable("what answers on the socket is no agent: its answer is neither a result nor an error")
    return result


def whose_paths(given: str | None) -> PathsAs:
    """Whose paths a client wants: as it was told, else as the environment says, else the host's.

    Raises:
        InvalidParams: there is no such thing.
    """
    said = given or os.environ.get(PATHS_AS_VARIABLE) or PathsAs.HOST
    try:
        return PathsAs(said)
    except ValueError:
        raise InvalidParams(
            f"paths are those of {' or '.join(PathsAs)}, and not of {said!r}",
            hint=f"correct paths_as, or {PATHS_AS_VARIABLE} in the environment",
        ) from None


def descriptor_params(model_id: str, paths_as: PathsAs = PathsAs.HOST) -> dict[str, Any]:
    """Ask for a descriptor of the version that this client understands."""
    params = {"model_id": model_id, "expected_execution_contract_version": EXECUTION_CONTRACT_VERSION}
    # An agent from before there was such a parameter tells the host's paths; asked for others it refuses.
    return params if paths_as is PathsAs.HOST else {**params, "paths_as": paths_as}


def parse_descriptor(result: dict[str, Any]) -> ModelExecutionDescriptor:
    """The descriptor in a result. The contract only grows, so what a newer agent adds is passed over."""
    return ModelExecutionDescriptor.model_validate(result, extra="ignore")


def parse_models(result: dict[str, Any]) -> ModelList:
    """The page of rows in a result; what a newer agent adds is passed over."""
    return ModelList.model_validate(result, extra="ignore")


def only_reads(method: str) -> bool:
    """Whether a method may be sent again; one that this version does not know may not."""
    return method in METHODS and METHODS[method].access is not Access.WRITE


def not_connected(path: Path, error: OSError) -> PumasError:
    """Why there is no connection."""
    if isinstance(error, FileNotFoundError | NotADirectoryError | ConnectionRefusedError):
        return AgentNotRunning(f"no agent listens on {path}", hint="start it: pumas-agent run")
    if isinstance(error, PermissionError):
        return NotPermitted(f"this user may not open {path}", hint="ask the agent's owner to set socket.group")
    return AgentUnreachable(f"cannot connect to {path}: {error.strerror or error}", hint="see: pumas-agent status")


def connection_lost(path: Path) -> AgentUnreachable:
    """The connection broke while a call was under way."""
    return AgentUnreachable(
        f"the agent on {path} closed the connection before it answered",
        hint="it may be restarting; if the call changes something, look whether it was done before you repeat it",
    )


def timed_out(path: Path, timeout: float) -> AgentUnreachable:
    """No answer came in time."""
    return AgentUnreachable(
        f"the agent on {path} did not answer within {timeout:g} s", hint="see its log, or give the client more time"
    )
