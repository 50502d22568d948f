"""Logging in and out, and who one is."""

import asyncio
import math
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from guidance.accounts import Account, KnownAccounts, Role, account_of_token, has_password
from web.access import address_of, cookie_name
from web.attempts import Attempts
from web.audit import Audit, Who
from web.sessions import UNWATCHED_S, Sessions

LONGEST_BODY_BYTES = 4096
MOST_WAITING = 8
"""So many passwords wait to be looked at; who comes then from where it never logged in is asked to come again."""

NOT_FOUND = "wrong name or password"
"""Said alike whether there is such an account or not."""


class PasswordLogIn(BaseModel):
    """A person's."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=64)]
    password: Annotated[str, Field(max_length=1024)]


class TokenLogIn(BaseModel):
    """A wall screen's, once: from then on its cookie counts."""

    model_config = ConfigDict(extra="forbid")

    token: Annotated[str, Field(max_length=256)]


_LOG_IN: TypeAdapter[PasswordLogIn | TokenLogIn] = TypeAdapter(PasswordLogIn | TokenLogIn)


class PasswordCheck:
    """Looks at passwords one after the other, in a thread that gives way to all others: pictures do not wait for it."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "passwords", initializer=_give_way)
        self._waiting = 0

    @property
    def busy(self) -> bool:
        """Whether so many wait already that another one is turned away."""
        return self._waiting >= MOST_WAITING

    async def fits(self, account: Account | None, password: str) -> bool:
        """Whether the password is that account's; the same work where there is none."""
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, has_password, account, password)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)


class LogIn:
    """The routes. ``sessions`` None: nobody logs in, everybody on this machine is an operator."""

    def __init__(self, audit: Audit, sessions: Sessions | None, tls: bool, attempts: Attempts) -> None:
        self._audit = audit
        self._sessions = sessions
        self._tls = tls
        self._attempts = attempts
        self._check = PasswordCheck()
        self.router = APIRouter()
        self.router.add_api_route("/me", self.me, methods=["GET"])
        self.router.add_api_route("/login", self.log_in, methods=["POST"])
        self.router.add_api_route("/logout", self.log_out, methods=["POST"])

    async def me(self, request: Request) -> JSONResponse:
        """Who asks: ``{"account": NAME, "role": "viewer" | "operator"}``.

        Both are null for a stranger. ``account`` alone is null where nobody logs in.
        """
        who: Who | None = request.state.who
        account = None if who is None or self._sessions is None else who.name
        return _unkept({"account": account, "role": None if who is None else who.role.value})

    async def log_in(self, request: Request) -> Response:
        """Begin a session: 200 and its cookie, 401, or 429 with ``wait_s``."""
        if self._sessions is None:
            return _unkept({"error": "nobody logs in here"}, HTTPStatus.NOT_FOUND)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return _unkept({"error": "expected JSON"}, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        said = await _body(request)
        if said is None:
            return _unkept({"error": "too long"}, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        try:
            asked = _LOG_IN.validate_json(said)
        except ValidationError:
            return _unkept({"error": "expected name and password, or a token"}, HTTPStatus.BAD_REQUEST)

        address = address_of(request)
        name = asked.name if isinstance(asked, PasswordLogIn) else asked.token.partition("~")[0]
        wait_s = self._attempts.wait_s(name, address)
        if wait_s > 0:
            return _later(HTTPStatus.TOO_MANY_REQUESTS, "too many attempts", wait_s)
        if self._check.busy and not self._attempts.is_home(name, address):
            return _later(HTTPStatus.SERVICE_UNAVAILABLE, "too many log in at once", 1.0)
        self._attempts.note_attempt(name, address)
        accounts = self._sessions.accounts
        account = await self._account(accounts, asked)
        if account is None:
            # Some type their password where their name belongs: only a name that is one gets into the log.
            known = name if name in accounts.now() else None
            self._audit.note_stranger(address, "failed log-in", account=known)
            return _unkept({"error": NOT_FOUND}, HTTPStatus.UNAUTHORIZED)
        self._attempts.note_success(name, address)
        return self._begin(request, self._sessions, account)

    async def log_out(self, request: Request) -> Response:
        """End the session: what its pages show ends within a quarter of a second."""
        answer = _unkept({})
        if self._sessions is None:
            return answer
        name = cookie_name(request, self._tls)
        if (secret := request.cookies.get(name)) is not None:
            who = self._sessions.who(secret, address_of(request))
            self._sessions.end(secret)
            if who is not None:
                self._audit.note(who, "log-out")
        answer.delete_cookie(name, path="/", secure=self._tls, httponly=True, samesite="strict")
        return answer

    def close(self) -> None:
        """End the thread that looks at passwords."""
        self._check.close()

    async def _account(self, accounts: KnownAccounts, asked: PasswordLogIn | TokenLogIn) -> Account | None:
        if isinstance(asked, TokenLogIn):
            return account_of_token(accounts.now(), asked.token)
        account = accounts.now().get(asked.name)
        if not await self._check.fits(account, asked.password):
            return None
        # It may have been removed or changed meanwhile.
        return account if account == accounts.now().get(asked.name) else None

    def _begin(self, request: Request, sessions: Sessions, account: Account) -> Response:
        name = cookie_name(request, self._tls)
        if (before := request.cookies.get(name)) is not None:
            sessions.end(before)
        secret = sessions.begin(account)
        self._audit.note(Who(account.name, account.role, address_of(request)), "log-in")
        answer = _unkept({"account": account.name, "role": account.role.value})
        # A wall screen is started anew without anybody there; an operator's browser forgets with its last window.
        kept_s = int(UNWATCHED_S[Role.VIEWER]) if account.role is Role.VIEWER else None
        answer.set_cookie(name, secret, kept_s, path="/", secure=self._tls, httponly=True, samesite="strict")
        return answer


async def _body(request: Request) -> bytes | None:
    """What was sent; None as soon as it is too long."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_BODY_BYTES:
            return None
    return body


def _unkept(body: dict[str, Any], status: HTTPStatus = HTTPStatus.OK) -> JSONResponse:
    return JSONResponse(body, status, {"Cache-Control": "no-store"})


def _later(status: HTTPStatus, words: str, wait_s: float) -> JSONResponse:
    answer = _unkept({"error": words, "wait_s": math.ceil(wait_s)}, status)
    answer.headers["Retry-After"] = str(math.ceil(wait_s))
    return answer


def _give_way() -> None:
    # Linux keeps a niceness for each thread.
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
