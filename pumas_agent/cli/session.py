"""How a command gets its answer: from the agent when one runs, else by the same code in this process.

Owns that choice, of several agents the choice which one, and the check of parameters before they leave. Prints nothing
but progress, and on a terminal which agent it asks when that is not the one of the settings. Never starts an agent.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pumas_agent.cli.output import printable
from pumas_agent.cli.progress import ProgressDisplay
from pumas_agent.contracts.errors import AgentNotRunning, InvalidParams, LibraryUnavailable, PathNotUtf8

if TYPE_CHECKING:
    from pumas_agent.contracts.model import Contract
    from pumas_agent.contracts.rpc import MethodContract
    from pumas_agent.settings import BundleSettings, Settings

READ_TIMEOUT_S = 30.0
"""Longer than a filesystem is given to answer, so that the agent is the one who says which does not."""
WRITE_TIMEOUT_S = 600.0
_DOCTOR_TIMEOUT_S = 8.0
"""An examination gives a sign of life every second: an agent that gives none hangs, which is then what is wrong."""


@dataclass(frozen=True, slots=True)
class Session:
    """The global options of one command."""

    config: Path | None = None
    library: Path | None = None
    socket: Path | None = None

    def settings(self, *, log_level: str | None = None) -> "Settings":
        """The settings with the flags on top.

        Raises:
            SettingsInvalid: see `load_settings`.
        """
        from pumas_agent.settings import load_settings

        return load_settings(self.config, os.environ, self.flags(log_level=log_level))

    def flags(self, *, log_level: str | None = None) -> dict[str, dict[str, object]]:
        """What was said on the command line, by section and key."""
        flags: dict[str, dict[str, object]] = {
            "library": {"root": self.library},
            "socket": {"path": self.socket},
            "log": {"level": log_level},
        }
        return {
            section: {key: value for key, value in content.items() if value is not None}
            for section, content in flags.items()
        }

    def bundle_settings(self, *, depth: str | None) -> "BundleSettings":
        """The settings on judging bundles alone; what is said of library and socket is not needed for it.

        Raises:
            SettingsInvalid: see `load_settings`.
        """
        from pumas_agent.settings import load_bundle_settings

        return load_bundle_settings(self.config, os.environ, {"bundles": {"depth": depth}} if depth else {})

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a method, as it goes over the wire. Parameters that are null are left to their defaults.

        Raises:
            InvalidParams: a parameter is not what the method takes; the message names it.
            AgentNotRunning: for the `agent.` methods, which only an agent can answer.
            LibraryUnavailable: the agent owns another library than `--library` names.
            PumasError: what the agent, or the same code here, said.
        """
        from pumas_agent.contracts.rpc import METHODS, needs_agent

        contract = METHODS[method]
        request = _checked(contract, {key: value for key, value in params.items() if value is not None})
        settings = self.settings()
        with ProgressDisplay(method.removeprefix("agent.").replace("_", " ")) as display:
            try:
                return self._ask_agent(settings, contract, request, display)
            except AgentNotRunning:
                if needs_agent(method):
                    raise
            return _do_here(settings, method, request, display)

    def call_here(self, method: str) -> dict[str, Any]:
        """The result of a method without parameters, done by this process whether an agent runs or not.

        Raises:
            PumasError: what the code here said.
        """
        from pumas_agent.contracts.rpc import METHODS

        settings = self.settings()
        socket = settings.socket.model_copy(update={"path": self.agent_socket(settings)})
        settings = settings.model_copy(update={"socket": socket})
        with ProgressDisplay(method.removeprefix("agent.")) as display:
            return _do_here(settings, method, _checked(METHODS[method], {}), display)

    def agent_socket(self, settings: "Settings") -> Path:
        """Where the agent to be asked listens.

        `--socket` is taken as it is. Of a library that is named, the agent that holds its lock is the one that is
        meant, wherever it listens; and so it is when nothing is where the settings say.
        """
        said = settings.socket.path
        library_named = self.library is not None or (
            "PUMAS_AGENT_LIBRARY" in os.environ and "PUMAS_AGENT_SOCKET" not in os.environ
        )
        if self.socket is not None or not (library_named or not said.is_socket()):
            return said
        return _socket_of_owner(settings.library.root) or said

    def _ask_agent(
        self, settings: "Settings", contract: "MethodContract", request: "Contract", display: ProgressDisplay
    ) -> dict[str, Any]:
        from pumas_agent.client import AgentClient
        from pumas_agent.contracts.rpc import Access

        timeout = WRITE_TIMEOUT_S if contract.access is Access.WRITE else READ_TIMEOUT_S
        if contract.name == "agent.doctor":
            timeout = _DOCTOR_TIMEOUT_S
        socket = self.agent_socket(settings)
        if socket != settings.socket.path and sys.stderr.isatty():
            click.echo(f"asking the agent of {printable(settings.library.root)} on {printable(socket)}", err=True)
        with AgentClient(socket, timeout=timeout) as client:
            if self.library is not None:
                owned = Path(client.call("agent.status")["library_root"])
                if owned.resolve() != settings.library.root.resolve():
                    raise LibraryUnavailable(
                        f"the agent on {socket} owns {owned}, not {settings.library.root}",
                        hint="leave --library out to ask that agent, or name another agent's socket with --socket",
                    )
            params = request.model_dump(mode="json", exclude_unset=True)
            return client.call(contract.name, on_progress=display.update, **params)


def _socket_of_owner(library: Path) -> Path | None:
    """Where the agent listens that owns a library; None when none does, or when it does not say."""
    from pumas_agent.library.lock import lock_holder

    try:
        holder = lock_holder(library)
    except OSError:  # not ours to look at: whoever may, is told
        return None
    return holder.socket if holder is not None and holder.role == "agent" else None


def given_path(text: str) -> Path:
    """The absolute path of what was typed: `~` and relative paths mean something here, not in the agent.

    Links are kept: they are part of how the person knows the place.

    Raises:
        PathNotUtf8: it cannot be told in JSON.
        InvalidParams: it is empty, or there is no such home folder.
    """
    if not text:
        raise InvalidParams("the path is empty", hint="name a folder; . is the one you are in")
    try:
        text.encode()
        return Path(text).expanduser().absolute()
    except UnicodeEncodeError:
        raise PathNotUtf8(f"the path {text} has bytes that are not UTF-8", hint="rename it") from None
    except RuntimeError:
        raise InvalidParams(f"{text} starts with a home folder that does not exist") from None


def _do_here(settings: "Settings", method: str, request: "Contract", display: ProgressDisplay) -> dict[str, Any]:
    import asyncio

    from pumas_agent.agent import call_locally
    from pumas_agent.health import configure_logs

    # The log is the voice of the agent. A command speaks by its result and its errors, and stdout is for the result.
    configure_logs("critical", "auto", sys.stderr)
    result = asyncio.run(call_locally(settings, method, request, display.update))
    return result.model_dump(mode="json")


def _checked(contract: "MethodContract", params: Mapping[str, Any]) -> "Contract":
    from pydantic import ValidationError

    try:
        return contract.params.model_validate(params)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        said = "; ".join(f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}" for problem in problems)
        raise InvalidParams(said) from None
