"""What a method is to the server: a contract, a function, and how its parameters are checked before it is called.

Owns no method: the functions are bound to their names in methods.py. Never touches a socket.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Protocol

from pydantic import BaseModel, ValidationError

from pumas_agent.contracts.errors import InvalidParams, MethodNotFound
from pumas_agent.contracts.model import Contract
from pumas_agent.contracts.rpc import MethodContract, Progress, RequestId
from pumas_agent.serving.peers import Peer

Answer = BaseModel | bytes
"""A result: a model, or the one line of JSON that it would become, prepared beforehand."""

PROGRESS_INTERVAL_S = 0.1
_MOST_PARAMS = 64
_LONGEST_NAME = 128


class Outlet(Protocol):
    """A connection, as who sends notifications over it sees it."""

    def notify(self, frame: bytes) -> None:
        """Send a line that answers nothing; lost when the client is gone."""

    async def room(self) -> None:
        """Return when the client reads what it is sent. It never does for one that is gone."""


class _NoOutlet:
    """Of a call that came over no connection."""

    def notify(self, frame: bytes) -> None:
        """Nobody is there."""

    async def room(self) -> None:
        """At once."""


class Request:
    """One call, as its handler sees it: who asked, and a way to say how far the work is."""

    __slots__ = ("_next_report", "_report", "_stage", "cancel", "id", "on_gone", "outlet", "peer")

    def __init__(
        self,
        request_id: RequestId,
        peer: Peer,
        report: Callable[[Progress], None],
        on_gone: Callable[[Callable[[], None]], None] = lambda _: None,
        cancel: Callable[[RequestId], bool] = lambda _: False,
        *,
        outlet: Outlet | None = None,
    ) -> None:
        """Make one.

        Args:
            request_id: of the message.
            peer: who asks.
            report: sends a progress notification.
            on_gone: takes what has to be done when the caller's connection ends.
            cancel: gives up another request of the same connection; false when there is none that can be.
            outlet: the connection, for what is sent after the answer.
        """
        self.id = request_id
        self.peer = peer
        self.on_gone = on_gone
        self.cancel = cancel
        self.outlet = outlet or _NoOutlet()
        self._report = report
        self._stage: str | None = None
        self._next_report = 0.0

    def progress(self, stage: str, done: int, total: int | None, unit: str) -> None:
        """Tell the caller how far the work is, from any thread; about ten times a second at most, and never an error.

        A new stage and the last step (`done` equals `total`) are always told.
        """
        now = time.monotonic()
        if stage == self._stage and done != total and now < self._next_report:
            return
        self._stage = stage
        self._next_report = now + PROGRESS_INTERVAL_S
        self._report(Progress(id=self.id, stage=stage, done=done, total=total, unit=unit))


@dataclass(frozen=True, slots=True)
class Handler:
    """A method and the function that does it.

    A function that returns its answer is answered on the spot and must not block. One that returns an awaitable becomes
    a task; the task of a method that only reads, or says that it can be given up, is cancelled when its caller is gone,
    so what it shares with other requests has to be shielded.
    """

    contract: MethodContract
    call: Callable[[Any, Request], Answer | Awaitable[Answer]]


Registry = Mapping[str, Handler]


def find_handler(registry: Registry, method: str) -> Handler:
    """The handler of a method.

    Raises:
        MethodNotFound: there is none; the hint names those with a similar name.
    """
    handler = registry.get(method)
    if handler is None:
        # Comparing names takes time in proportion to their length, and this one is a stranger's.
        near = get_close_matches(method, registry) if len(method) <= _LONGEST_NAME else []
        raise MethodNotFound(
            f"no method is named {_shown(method)}",
            hint=f"did you mean {' or '.join(near)}?" if near else "agent.hello lists the methods",
        )
    return handler


def parse_params(contract: MethodContract, params: dict[str, Any]) -> Contract:
    """The parameters, checked.

    Raises:
        InvalidParams: a parameter is missing, unknown or wrong; the message names each, `data.parameters` lists them.
    """
    if len(params) > _MOST_PARAMS:
        raise InvalidParams(f"{contract.name} was given {len(params)} parameters, no method has that many")
    try:
        return contract.params.model_validate(params)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        names = [".".join(str(part) for part in fault["loc"]) for fault in faults]
        known = ", ".join(contract.params.model_fields) or "none"
        raise InvalidParams(
            "; ".join(_fault(name, fault["type"], fault["msg"]) for name, fault in zip(names, faults, strict=True)),
            hint=f"{contract.name} takes: {known}",
            data={"parameters": [name[:_LONGEST_NAME] for name in names]},
        ) from None


def _fault(name: str, kind: str, message: str) -> str:
    if kind == "missing":
        return f"parameter {_shown(name)} is missing"
    if kind == "extra_forbidden":
        return f"parameter {_shown(name)} is unknown"
    return f"parameter {_shown(name)}: {message[:1].lower()}{message[1:]}"


def _shown(name: str) -> str:
    return repr(name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "…")
