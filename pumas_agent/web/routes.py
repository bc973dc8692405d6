"""What is at which path of the page: its files, the methods, the events, the metrics. Starlette's only place but one.

Owns how a request becomes a call and an answer a response. Files are read once, when the page starts: a request never
names a place on the disk.
"""

import asyncio
import json
from collections.abc import Mapping
from importlib import resources

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from pumas_agent.bundles import EXPLANATIONS
from pumas_agent.contracts.errors import (
    AgentUnreachable,
    FrameTooLarge,
    InvalidRequest,
    MethodNotFound,
    PumasError,
    TooManyConnections,
)
from pumas_agent.importing import MODEL_TYPES
from pumas_agent.serving.framing import error_frame
from pumas_agent.web.calls import Call, Calls, EventStream
from pumas_agent.web.gate import Receive, Scope, Send

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_JSON = "application/json"
HEARTBEAT_S = 15.0
"""How long a stream of events is silent at most; the page takes one that is silent for longer for lost."""


def make_app(calls: Calls) -> Starlette:
    """The application, without its gate."""
    routes = _Routes(calls)
    return Starlette(
        routes=[
            *(Route(path, routes.file) for path in routes.files),
            Route("/rpc", routes.rpc, methods=["POST"]),
            Route("/events", routes.events),
            Route("/metrics", routes.metrics),
        ],
        exception_handlers={HTTPException: _nothing_there},
    )


class _Routes:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self.files = {f"/static/{name}": content for name, content in static_files().items()}
        self.files["/"] = self.files.pop("/static/index.html")
        self.files["/static/words.json"] = (_JSON, _words())

    async def file(self, request: Request) -> Response:
        media_type, content = self.files[request.url.path]
        return Response(content, media_type=media_type)

    async def rpc(self, request: Request) -> Response:
        begun = await self._begin(request)
        if isinstance(begun, Response):
            return begun
        gone = asyncio.create_task(_until_gone(request))
        await asyncio.wait({begun.task, gone}, return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if begun.task.done() and not begun.task.cancelled() and (answer := begun.task.result()):
            return Response(answer, media_type=_JSON)
        if begun.may_be_given_up:
            begun.task.cancel()
        return Response(status_code=204)  # a notification; or nobody is there any more

    async def _begin(self, request: Request) -> Call | Response:
        """The call under way, or why there is none."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _JSON:
            return _error(415, InvalidRequest("a request is JSON", hint=f"send it with Content-Type: {_JSON}"))
        limits = self._calls.limits
        try:
            return self._calls.begin(await _body(request, limits.frame_in, limits.unfinished_frame_s))
        except FrameTooLarge as error:
            return _error(413, error)
        except (AgentUnreachable, TooManyConnections) as error:
            return _error(503, error)
        except TimeoutError:
            return _error(408, InvalidRequest("the request did not come whole in time"))
        except ClientDisconnect:
            return Response(status_code=204)  # what did not come whole is not done

    async def events(self, request: Request) -> "Response | _EventResponse":
        try:
            answer, stream = await self._calls.subscribe(request.query_params.get("cursor"))
        except PumasError as error:
            return _error(503 if isinstance(error, AgentUnreachable | TooManyConnections) else 400, error)
        return _EventResponse(answer, stream)

    async def metrics(self, _request: Request) -> Response:
        content_type, text = await self._calls.metrics()
        return Response(text, headers={"content-type": content_type})


async def _nothing_there(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(error.status_code, MethodNotFound("nothing is there", hint="the page is at /"), error.headers)


def static_files() -> dict[str, tuple[str, bytes]]:
    """The type and the content of each file of the page, by name."""
    found = {}
    for entry in (resources.files("pumas_agent.web") / "static").iterdir():
        suffix = f".{entry.name.rpartition('.')[2]}"
        if suffix in _TYPES:
            found[entry.name] = (_TYPES[suffix], entry.read_bytes())
    return found


class _EventResponse:
    """A line a notification, for as long as the client reads."""

    def __init__(self, answer: bytes, stream: EventStream) -> None:
        self._answer = answer
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.create_task(self._end_when_gone(scope, receive))
        try:
            headers = [(b"content-type", b"application/x-ndjson")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            lines: bytes | None = self._answer
            while lines is not None:
                await send({"type": "http.response.body", "body": lines, "more_body": True})
                lines = await self._stream.take(HEARTBEAT_S)
            await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()
            self._stream.end()

    async def _end_when_gone(self, scope: Scope, receive: Receive) -> None:
        await _until_gone(Request(scope, receive))
        self._stream.end()


async def _body(request: Request, limit: int, within_s: float) -> bytes:
    """The whole body.

    Raises:
        ClientDisconnect: the client hung up before its end.
        FrameTooLarge: it is longer than the limit.
        TimeoutError: it did not come in time.
    """
    body = bytearray()
    async with asyncio.timeout(within_s):
        async for part in request.stream():
            body += part
            if len(body) > limit:
                raise FrameTooLarge(
                    f"a request may be {limit} bytes long, this one is longer", hint="ask for less at a time"
                )
    return bytes(body)


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _error(status: int, error: PumasError, headers: Mapping[str, str] | None = None) -> Response:
    return Response(error_frame(None, error), status, headers, media_type=_JSON)


def _words() -> bytes:
    """What a finding means and what to do about it, and which types there are: words, and nothing of the library.

    The page shows findings of bundles that are no models yet, which no method explains.
    """
    findings = {code.value: {"meaning": text.meaning, "hint": text.hint} for code, text in EXPLANATIONS.items()}
    return json.dumps({"findings": findings, "model_types": MODEL_TYPES}).encode()
