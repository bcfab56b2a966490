"""Who may look: a strict check of the Host header, a token wherever others could reach the page, and headers against misuse.

A page on the web can make a browser ask any address that its own name resolves to ("DNS rebinding"). The browser then sends that
name as the Host; so only addresses, `localhost` and names that the person allowed are answered.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..rates import Buckets, Rate

_GUESSES = Rate(per_second=0.1, burst=10)
_COOKIE_SECONDS = 30 * 86400
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True)
class Access:
    """What is allowed. Without a `token` only this machine may look, under a loopback name and at `port`."""

    port: int
    token: str = ""
    names: frozenset[str] = frozenset()

    def allows_host(self, host: str) -> bool:
        """Say whether the Host header is one that we answer to."""
        name, port = _split(host)
        if not self.token:
            return name in _LOOPBACK_NAMES and port == self.port
        return name == "localhost" or name in self.names or _is_address(name)

    @property
    def cookie_name(self) -> str:
        """Cookies know no ports; several dashboards of one machine must not overwrite each other's."""
        return f"collab_dashboard_{self.port}"

    @property
    def cookie_value(self) -> str:
        """What a browser keeps in place of the token."""
        return hmac.new(self.token.encode(), b"collab-node/dashboard/1", hashlib.sha256).hexdigest()


class Guard:
    """Stands before the application."""

    def __init__(self, app: ASGIApp, access: Access, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._access = access
        self._clock = clock
        self._guesses = Buckets(_GUESSES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or let the application do so."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        answer = self._refusal(scope)
        await (answer or self._app)(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._access.allows_host(hosts[0]):
            return PlainTextResponse("This dashboard does not answer to that name: see --allow-host.\n", 421)
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("Only to look at.\n", 405, {"Allow": "GET, HEAD"})
        return self._ask_for_token(scope, headers) if self._access.token else None

    def _ask_for_token(self, scope: Scope, headers: Headers) -> Response | None:
        if _same(_cookie(headers, self._access.cookie_name), self._access.cookie_value):
            return None
        shown = _shown(scope, headers)
        if not shown:
            return PlainTextResponse("A token is needed: open the address that `collab-node dashboard` printed.\n", 401)
        if not self._guesses.take((scope.get("client") or ("", 0))[0], self._clock()):
            return PlainTextResponse("Too many wrong tokens: wait a minute.\n", 429, {"Retry-After": "60"})
        if not _same(shown, self._access.token):
            return PlainTextResponse("That is not the token: open the address that `collab-node dashboard` printed.\n", 403)
        if "authorization" in headers:
            return None
        answer = RedirectResponse("./", 303)  # so that the token does not stay in the address
        answer.set_cookie(
            self._access.cookie_name, self._access.cookie_value, max_age=_COOKIE_SECONDS, httponly=True, samesite="strict"
        )
        return answer


def _shown(scope: Scope, headers: Headers) -> str:
    """Return the token that the request shows, in its header or its address."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    try:
        shown = parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=8).get("token", [""])
    except ValueError:
        return ""
    return str(shown[0])


def _same(shown: str, expected: str) -> bool:
    return hmac.compare_digest(shown.encode("utf-8", "surrogateescape"), expected.encode())


def _cookie(headers: Headers, name: str) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return found.value if found is not None else ""


def _split(host: str) -> tuple[str, int]:
    """Return name and port of a Host header; the port is 80 where it says none, and -1 where it is no port."""
    name, colon, port = host.strip().lower().rpartition(":")
    if not colon or port.endswith("]"):
        name, port = host.strip().lower(), "80"
    number = int(port) if port.isascii() and port.isdecimal() and len(port) <= 5 else -1
    return name.removeprefix("[").removesuffix("]"), number


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-cache")
        await send(message)

    return send_with_headers
