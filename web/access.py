"""Who gets in: stands in front of the whole application, so that nothing behind it is open by an oversight.

    a request ── its host ── who sends it ── what is open to strangers ── its origin and role ── the application
                  421              │                 401                       403
             (rebinding)     cookie, token, or anybody on the service's own machine

A request's ``state`` holds ``who`` (``web.audit.Who``) and ``identify``, which says who it is at a later moment. A
WebSocket ends as soon as nobody is behind it any more.
"""

import asyncio
import json
import re
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from guidance.accounts import Role, account_of_token
from guidance.bus.publisher import is_loopback
from web.audit import ANYBODY, Audit, Who
from web.sessions import Sessions

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": (
        "camera=(), microphone=(), geolocation=(), display-capture=(), usb=(), serial=(), hid=(), "
        "midi=(), payment=(), fullscreen=(self), screen-wake-lock=(self), autoplay=(self)"
    ),
}
HSTS = "max-age=31536000"

STRANGERS_MAY_SEE = frozenset(
    {"/healthy", "/me", "/login.html", "/login.js", "/login.css", "/theme.css", "/favicon.svg", "/favicon.ico"}
)
STRANGERS_MAY_DO = frozenset({"/login", "/logout"})
OWN_PAGE = re.compile(r"/[a-z0-9-]+\.html")
ONLY_SEEING = frozenset({"GET", "HEAD"})

LOGGED_OUT_CODE = 4401
"""A WebSocket that closes with this had nobody behind it: the page says so, and tries again."""

STILL_THERE_S = 0.25
"""How often an open WebSocket is asked whose it is."""

Identify = Callable[[], Who | None]


class Access:
    """The application behind a door. ``sessions`` None: nobody logs in, everybody on this machine is an operator.

    ``tls``: the line is encrypted, so that cookies and origins must be too.
    """

    def __init__(self, app: ASGIApp, audit: Audit, sessions: Sessions | None, tls: bool) -> None:
        self._app = app
        self._audit = audit
        self._sessions = sessions
        self._tls = tls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, WebSocket or lifespan."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        send = self._with_headers(send)

        def identify() -> Who | None:
            return self._who(connection)

        who = identify()
        scope.setdefault("state", {}).update(who=who, identify=identify)
        if scope["type"] == "websocket":
            await self._websocket(connection, identify, receive, send)
        elif (refusal := self._refusal(connection, who)) is not None:
            await refusal(scope, receive, send)
        elif who is None or scope["method"] in ONLY_SEEING or scope["path"] in STRANGERS_MAY_DO:
            await self._app(scope, receive, send)
        else:
            await self._app(scope, receive, self._noted(who, scope, send))

    def _who(self, connection: HTTPConnection) -> Who | None:
        address = address_of(connection)
        if self._sessions is None:
            return Who(ANYBODY, Role.OPERATOR, address)
        if (token := _bearer(connection)) is not None:
            account = account_of_token(self._sessions.accounts.now(), token)
            return None if account is None else Who(account.name, account.role, address)
        secret = connection.cookies.get(cookie_name(connection, self._tls))
        return None if secret is None else self._sessions.who(secret, address)

    def _refusal(self, connection: HTTPConnection, who: Who | None) -> Response | None:
        """The answer to an HTTP request that does not get in; None where it does."""
        path, method = connection.scope["path"], connection.scope["method"]
        if not self._is_under_own_name(connection):
            return _error(HTTPStatus.MISDIRECTED_REQUEST, "opened under a name that is not this machine's own")
        seeing = method in ONLY_SEEING
        if who is None and path not in (STRANGERS_MAY_SEE if seeing else STRANGERS_MAY_DO):
            if _bearer(connection) is not None:
                self._audit.note_stranger(address_of(connection), "refused: unknown token", path=path[:200])
            if seeing and "text/html" in connection.headers.get("accept", ""):
                after = f"?next={path[1:]}" if OWN_PAGE.fullmatch(path) else ""
                return RedirectResponse(f"/login.html{after}", HTTPStatus.SEE_OTHER)
            return _error(HTTPStatus.UNAUTHORIZED, "not logged in", {"WWW-Authenticate": "Bearer"})
        if seeing:
            return None
        if not self._is_of_own_page(connection):
            self._audit.note_stranger(address_of(connection), "refused: another site's page", path=path[:200])
            return _error(HTTPStatus.FORBIDDEN, "sent by the page of another site")
        if path not in STRANGERS_MAY_DO and who is not None and who.role is not Role.OPERATOR:
            self._audit.note(who, "request", method=method, path=path[:200], error="a viewer may not")
            return _error(HTTPStatus.FORBIDDEN, "this log-in may see and not change: log in as an operator")
        return None

    async def _websocket(self, connection: HTTPConnection, identify: Identify, receive: Receive, send: Send) -> None:
        if not self._is_under_own_name(connection):
            await _deny(connection, receive, send, HTTPStatus.MISDIRECTED_REQUEST)
        elif not self._is_of_own_page(connection):
            self._audit.note_stranger(address_of(connection), "refused: another site's WebSocket")
            await _deny(connection, receive, send, HTTPStatus.FORBIDDEN)
        elif identify() is None and "origin" not in connection.headers:
            await _deny(connection, receive, send, HTTPStatus.UNAUTHORIZED)
        elif identify() is None:
            # A browser hides from its page why a WebSocket was not opened; why it was closed it tells.
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": LOGGED_OUT_CODE, "reason": "not logged in"})
        else:
            await self._until_nobody(connection, identify, receive, send)

    async def _until_nobody(self, connection: HTTPConnection, identify: Identify, receive: Receive, send: Send) -> None:
        """Serve a WebSocket for as long as somebody who may see is behind it."""
        opened = False

        async def noting(message: Message) -> None:
            nonlocal opened
            opened = message["type"] in ("websocket.accept", "websocket.send")
            await send(message)

        serving = asyncio.ensure_future(self._app(connection.scope, receive, noting))
        try:
            while identify() is not None:
                done, _ = await asyncio.wait({serving}, timeout=STILL_THERE_S)
                if done:
                    return serving.result()
            serving.cancel()
            await asyncio.wait({serving})
            if not serving.cancelled():
                return serving.result()
            if opened:
                await send({"type": "websocket.close", "code": LOGGED_OUT_CODE, "reason": "logged out"})
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

    def _noted(self, who: Who, scope: Scope, send: Send) -> Send:
        """``send`` that notes what a request came to before its answer begins."""

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                status = message["status"]
                error = None if status < HTTPStatus.BAD_REQUEST else f"status {status}"
                self._audit.note(who, "request", method=scope["method"], path=scope["path"][:200], error=error)
            await send(message)

        return noting

    def _with_headers(self, send: Send) -> Send:
        """``send`` that puts the headers on whatever is answered, errors and refusals too."""

        async def sending(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                message.setdefault("headers", [])
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                # A page that is older than the service must not be shown, nor one that was left by logging out.
                headers.setdefault("Cache-Control", "no-cache" if self._sessions is None else "no-store")
                if self._tls:
                    headers.setdefault("Strict-Transport-Security", HSTS)
            await send(message)

        return sending

    def _is_under_own_name(self, connection: HTTPConnection) -> bool:
        """Where nobody logs in, the name in the address bar is this machine's own.

        A page from elsewhere may have a name of its own made to mean this machine: it would be of the same origin.
        """
        return self._sessions is not None or is_loopback(_host(connection)[0])

    def _is_of_own_page(self, connection: HTTPConnection) -> bool:
        """Whether what changes something comes from a page of this service, or from a program that is no browser."""
        # Browsers do not agree on what is the same site for a WebSocket; its origin they all tell.
        http = connection.scope["type"] == "http"
        site = connection.headers.get("sec-fetch-site") if http else None
        origin = connection.headers.get("origin")
        if site is not None and site != "same-origin":
            return False
        if origin is not None:
            # Something in front may speak TLS for a service that does not.
            schemes = ("https",) if self._tls else ("http", "https")
            return origin in {f"{scheme}://{connection.headers.get('host')}" for scheme in schemes}
        # A browser names the origin of all that changes something; a program has no other's cookies.
        return site is not None or "cookie" not in connection.headers


def identify_of(connection: HTTPConnection) -> Identify:
    """Who is behind a request or a WebSocket, at the moment of each call: rights may end while it lasts."""
    identify: Identify = connection.state.identify
    return identify


def address_of(connection: HTTPConnection) -> str:
    """Where a request comes from, as the kernel says; what a header claims does not count."""
    return "" if connection.client is None else connection.client.host


def cookie_name(connection: HTTPConnection, tls: bool) -> str:
    """The session's cookie. Cookies do not tell ports apart, so the name does: one machine may serve two C-arms.

    ``__Host-`` makes the browser refuse one that came without TLS, or from a neighbouring domain.
    """
    port = _host(connection)[1]
    return f"{'__Host-' if tls else ''}fluoroguide{'' if port is None else f'-{port}'}"


def _host(connection: HTTPConnection) -> tuple[str, int | None]:
    """Name and port of the Host header; empty where it is none."""
    try:
        parts = urlsplit(f"//{connection.headers.get('host', '')}")
        return parts.hostname or "", parts.port
    except ValueError:
        return "", None


def _bearer(connection: HTTPConnection) -> str | None:
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _error(status: HTTPStatus, words: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": words}, status, headers)


async def _deny(connection: HTTPConnection, receive: Receive, send: Send, status: HTTPStatus) -> None:
    await receive()
    if "websocket.http.response" not in connection.scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    body = json.dumps({"error": status.phrase}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "websocket.http.response.start", "status": status.value, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
