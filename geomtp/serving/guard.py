"""What is looked at before a request reaches the server's own code, and headers of all answers.

A server on this machine can be reached by any page that the browser has open. Three things keep
such pages out: the name by which the server is called (a page that has its own name point at
127.0.0.1 is known by it), where a request comes from, and headers that forbid pages to use answers.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

UPLOAD_PATH = "/api/rasters"
"""The only path that takes long bodies, and bounds them itself."""

_SHORT_BODY_BYTES = 64 * 1024

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """Lets requests through to ``app`` that this server's own page, or a program, may send."""

    def __init__(self, app: ASGIApp, allowed_hosts: Collection[str] = ()) -> None:
        self._app = app
        self._names = {"localhost", *(name.lower() for name in allowed_hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): v.decode("latin-1") for name, v in scope["headers"]}

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(k.lower().encode(), v.encode()) for k, v in _HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *own]}
            await send(message)

        refusal = self._refusal(scope["method"], scope["path"], headers)
        if refusal is None:
            await self._app(scope, receive, send_with_headers)
        else:
            await _answer(*refusal, send_with_headers)

    def _refusal(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if not self._known(host):
            return 421, (
                f"this server is not called {host[:100]!r}: open it by its address, or start it "
                f"with --allowed_hosts"
            )
        if method in ("GET", "HEAD"):
            return None
        origin = headers.get("origin")
        foreign = headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
        if foreign or (origin is not None and urlsplit(origin).netloc != host):
            return 403, "requests from pages of other servers are refused"
        if (method, path) == ("POST", UPLOAD_PATH):
            return None
        length = headers.get("content-length", "0")
        if "transfer-encoding" in headers or not length.isdigit():
            return 411, "the length of the request was expected in its header Content-Length"
        if int(length) > _SHORT_BODY_BYTES:
            return 413, f"at most {_SHORT_BODY_BYTES} bytes are read of such a request"
        return None

    def _known(self, host: str) -> bool:
        """Whether ``host`` is a name of this server; plain addresses cannot be rebound."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
        except ValueError:
            return False
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


async def _answer(status: int, sentence: str, send: Send) -> None:
    body = json.dumps({"detail": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)),
               (b"connection", b"close")]  # fmt: skip
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
