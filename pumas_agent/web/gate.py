"""What every request passes before the page sees it: by which name it came, from which site, and whether it may ask.

Owns the headers that keep a browser from doing more with the page than it should. Reads no body and knows no method.
"""

import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from pumas_agent.contracts.errors import NotPermitted, PumasError
from pumas_agent.serving.framing import error_frame

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

DATA = frozenset({"/rpc", "/events", "/metrics"})
"""What tells something of the library, or changes it: only for who has the token."""

_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_ALWAYS = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]


class Gate:
    """Lets through what came to one of our names, from our own page or no page, and with the token where it needs one.

    A page of another site that leads its name to this machine sends that name (DNS rebinding); one that sends a request
    here says where it comes from. Neither is listened to, token or not.
    """

    def __init__(self, app: App, names: frozenset[str], token: str) -> None:
        self._app = app
        self._names = {name.encode() for name in names}
        self._bearer = b"bearer " + token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on, or answer that it is refused."""
        if scope["type"] != "http":
            return
        is_data = scope["path"] in DATA

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                caching = b"no-store" if is_data or message["status"] >= 400 else b"no-cache"  # noqa: PLR2004
                message["headers"] = [*message.get("headers", ()), *_ALWAYS, (b"cache-control", caching)]
            await send(message)

        refused = self._refusal(scope["headers"], is_data=is_data)
        if refused is None:
            await self._app(scope, receive, send_guarded)
        else:
            status, error = refused
            extra = [(b"www-authenticate", b"Bearer")] if status == 401 else []  # noqa: PLR2004
            await send_error(send_guarded, status, error, extra)

    def _refusal(self, headers: list[tuple[bytes, bytes]], *, is_data: bool) -> tuple[int, PumasError] | None:
        hosts = [value.lower() for name, value in headers if name == b"host"]
        origins = [value.lower() for name, value in headers if name == b"origin"]
        if len(hosts) != 1 or hosts[0] not in self._names:
            return 403, NotPermitted(
                "the page is not served by that name", hint="use the address that `pumas-agent web` prints"
            )
        if any(origin != b"http://" + hosts[0] for origin in origins):
            return 403, NotPermitted("the request comes from another site's page")
        if is_data and not self._has_token(headers):
            return 401, NotPermitted(
                "the token is missing, or it is not that of this agent",
                hint="open the link that `pumas-agent web` prints",
            )
        return None

    def _has_token(self, headers: list[tuple[bytes, bytes]]) -> bool:
        given = [value for name, value in headers if name == b"authorization"]
        if len(given) != 1:
            return False
        scheme, _, token = given[0].partition(b" ")
        return secrets.compare_digest(scheme.lower() + b" " + token.strip(), self._bearer)


async def send_error(
    send: Send, status: int, error: PumasError, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    """Answer with an error of our tree, as a JSON-RPC error of no request."""
    body = error_frame(None, error)
    plain = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": [*plain, *(headers or [])]})
    await send({"type": "http.response.body", "body": body})
