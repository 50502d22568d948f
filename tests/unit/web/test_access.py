"""The door in front of the application, and what people try at it."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI, Request, WebSocket
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient, WebSocketDenialResponse, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from guidance import accounts
from guidance.accounts import KnownAccounts, Role, add_account, add_token, remove_account
from web.access import HEADERS, LOGGED_OUT_CODE, Access
from web.attempts import FREE_OF_ACCOUNT, Attempts
from web.audit import Audit
from web.login import LONGEST_BODY_BYTES, LogIn, PasswordCheck
from web.sessions import Sessions

PASSWORD = "correct horse battery"
HOST = "c-arm-7.hospital:8443"


class House:
    """A small application behind a real door."""

    def __init__(self, folder: Path, tls: bool = True, logged_in: bool = True) -> None:
        self.accounts = folder / "accounts.json"
        self.audit_log = folder / "audit.jsonl"
        self.changed: list[str] = []
        self.tls = tls
        known = None
        if logged_in:
            if not self.accounts.exists():
                add_account(self.accounts, "ito", Role.OPERATOR, PASSWORD)
                add_account(self.accounts, "nurse", Role.VIEWER, PASSWORD)
                self.wall = add_token(self.accounts, "wall", Role.VIEWER)
                self.program = add_token(self.accounts, "program", Role.OPERATOR)
            known = KnownAccounts(self.accounts)
        audit = Audit(self.audit_log)
        sessions = None if known is None else Sessions(known, audit, None)
        self.log_in_routes = LogIn(audit, sessions, tls, Attempts(lambda: 0.0))
        self.door = Access(self._application(), audit, sessions, tls)
        self._closing = ExitStack()
        self._closing.callback(self.log_in_routes.close)
        self._closing.enter_context(audit)

    def _application(self) -> FastAPI:
        app = FastAPI()
        app.include_router(self.log_in_routes.router)

        @app.get("/picture")
        async def picture() -> str:
            return "the patient's"

        @app.post("/plan")
        async def plan(request: Request) -> None:
            self.changed.append(request.state.who.name)

        @app.get("/broken")
        async def broken() -> None:
            raise ZeroDivisionError

        @app.get("/healthy")
        async def healthy() -> str:
            return "ok"

        @app.websocket("/live")
        async def live(websocket: WebSocket) -> None:
            await websocket.accept()
            async for words in websocket.iter_text():
                await websocket.send_text(words)

        return app

    def client(self, host: str = HOST, address: str = "10.0.0.5") -> TestClient:
        scheme = "https" if self.tls else "http"
        return TestClient(
            self.door,
            f"{scheme}://{host}",
            raise_server_exceptions=False,
            follow_redirects=False,
            client=(address, 50000),
        )

    def logged_in(self, name: str, **options: Any) -> TestClient:
        client = self.client(**options)
        assert log_in(client, name).status_code == 200
        return client

    def noted(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.audit_log.read_text(encoding="utf-8").splitlines()]

    def close(self) -> None:
        self._closing.close()


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a hash costs is no concern of these tests."""
    monkeypatch.setattr("guidance.accounts._HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    accounts._stand_in.cache_clear()
    yield
    accounts._stand_in.cache_clear()


def live(client: TestClient, headers: dict[str, str] | None = None) -> WebSocketTestSession:
    """The live line, by default as a page of the service opens it."""
    address = str(client.base_url.join("/live")).replace("http", "ws", 1)
    session: WebSocketTestSession = client.websocket_connect(
        address, headers={"Origin": origin_of(client)} if headers is None else headers
    )
    return session


def refused_with(client: TestClient, headers: dict[str, str]) -> int:
    """The status that a live line is refused with."""
    with pytest.raises(WebSocketDenialResponse) as refused, live(client, headers):
        pass
    return int(refused.value.status_code)


def origin_of(client: TestClient) -> str:
    return str(client.base_url).rstrip("/")


def log_in(client: TestClient, name: str = "ito", password: str = PASSWORD, **headers: str) -> httpx.Response:
    own = {"Origin": origin_of(client)} | headers
    return client.post("/login", json={"name": name, "password": password}, headers=own)


def cookie(client: TestClient) -> str:
    (value,) = client.cookies.jar
    assert value.value is not None
    return value.value


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.close()


@pytest.fixture
def own_machine(tmp_path: Path) -> Iterator[House]:
    """A service on its machine's own address, where nobody logs in."""
    house = House(tmp_path, tls=False, logged_in=False)
    yield house
    house.close()


# What a stranger gets.


def test_a_stranger_sees_no_picture_and_no_live_line(house: House):
    client = house.client()
    assert client.get("/picture").status_code == 401
    assert client.get("/me").json() == {"account": None, "role": None}
    assert client.get("/no/such/page").status_code == 401, "not even what there is"
    assert refused_with(client, {}) == 401


def test_a_strangers_browser_is_sent_to_the_log_in_and_back_to_its_page_and_nowhere_else(house: House):
    client = house.client()
    html = {"Accept": "text/html"}
    assert client.get("/", headers=html).headers["location"] == "/login.html"
    assert client.get("/setup.html", headers=html).headers["location"] == "/login.html?next=setup.html"
    for path in (f"https://{HOST}//evil.example/x.html", "/a/b.html", "/x.html%0d%0aSet-Cookie: a=b"):
        assert client.get(path, headers=html).headers["location"] == "/login.html"


def test_a_stranger_may_ask_whether_the_service_is_well(house: House):
    assert house.client().get("/healthy").status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "NONSENSE"])
def test_a_stranger_changes_nothing_by_any_method(house: House, method: str):
    client = house.client()
    assert client.request(method, "/plan", headers={"Origin": origin_of(client)}).status_code == 401
    assert client.request(method, "/healthy", headers={"Origin": origin_of(client)}).status_code == 401
    assert not house.changed


# Logging in.


def test_whoever_logs_in_sees_and_is_told_who_they_are(house: House):
    client = house.logged_in("nurse")
    assert client.get("/picture").json() == "the patient's"
    assert client.get("/me").json() == {"account": "nurse", "role": "viewer"}


def test_the_cookie_is_for_this_host_alone_and_for_no_script(house: House):
    client = house.client()
    told = log_in(client).headers["set-cookie"]
    assert told.startswith("__Host-fluoroguide-8443=")
    for word in ("HttpOnly", "Secure", "SameSite=strict", "Path=/"):
        assert word in told
    assert "Domain" not in told
    assert "Max-Age" not in told, "an operator's browser forgets it"
    assert "Max-Age" in log_in(client, "nurse").headers["set-cookie"]


def test_without_tls_the_cookie_is_not_secure_as_no_browser_would_send_it(tmp_path: Path):
    house = House(tmp_path, tls=False)
    told = log_in(house.client()).headers["set-cookie"]
    assert told.startswith("fluoroguide-8443=")
    assert "Secure" not in told
    house.close()


def test_a_wall_screen_logs_in_by_its_token_once(house: House):
    client = house.client()
    answer = client.post("/login", json={"token": house.wall}, headers={"Origin": origin_of(client)})
    assert answer.json() == {"account": "wall", "role": "viewer"}
    assert client.get("/picture").status_code == 200


def test_a_wrong_password_and_an_unknown_account_are_told_alike(house: House):
    wrong = log_in(house.client(), "ito", "wrong wrong wrong")
    unknown = log_in(house.client(), "nobody", "wrong wrong wrong")
    by_token = log_in(house.client(), "wall", house.wall)
    assert [answer.status_code for answer in (wrong, unknown, by_token)] == [401] * 3
    assert wrong.content == unknown.content == by_token.content
    assert "set-cookie" not in wrong.headers


def test_a_session_of_the_browsers_own_choice_is_not_taken_over(house: House):
    client = house.client()
    client.cookies.set("__Host-fluoroguide-8443", "chosen-by-an-attacker")
    log_in(client)
    assert (
        client.get("/picture", headers={"Cookie": "__Host-fluoroguide-8443=chosen-by-an-attacker"}).status_code == 401
    )


def test_logging_in_again_ends_the_session_before(house: House):
    client = house.logged_in("nurse")
    before = cookie(client)
    log_in(client, "ito")
    stale = house.client()
    stale.cookies.set("__Host-fluoroguide-8443", before)
    assert stale.get("/picture").status_code == 401
    assert client.get("/me").json()["account"] == "ito"


def test_whoever_logs_out_is_out_also_by_a_copy_of_the_cookie(house: House):
    client = house.logged_in("ito")
    copied = cookie(client)
    assert client.post("/logout", headers={"Origin": origin_of(client)}).status_code == 200
    assert client.get("/picture").status_code == 401
    thief = house.client()
    thief.cookies.set("__Host-fluoroguide-8443", copied)
    assert thief.get("/picture").status_code == 401


@pytest.mark.parametrize(
    ("body", "type_", "status"),
    [
        (b"{", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"[" * 4000, "application/json", 400),
        (b'{"name": "ito"}', "application/json", 400),
        (b'{"token": "wall~\\ud800"}', "application/json", 400),
        (b'{"name": "ito", "password": "\\ud800"}', "application/json", 400),
        (b'{"name": ["ito"], "password": {"$ne": ""}}', "application/json", 400),
        (b'{"name": "ito", "password": "x", "role": "operator"}', "application/json", 400),
        (b" " * (LONGEST_BODY_BYTES + 1), "application/json", 413),
        (b"name=ito&password=correct+horse+battery", "application/x-www-form-urlencoded", 415),
        (b'{"name": "ito", "password": "correct horse battery"}', "text/plain", 415),
    ],
)
def test_what_is_no_log_in_is_refused(house: House, body: bytes, type_: str, status: int):
    client = house.client()
    answer = client.post("/login", content=body, headers={"Content-Type": type_, "Origin": origin_of(client)})
    assert answer.status_code == status
    assert "set-cookie" not in answer.headers


# Guessing.


def test_guessing_is_slowed_down_and_a_right_guess_during_the_wait_does_not_count(house: House):
    client = house.client()
    for _ in range(FREE_OF_ACCOUNT):
        assert log_in(client, password="wrong wrong wrong").status_code == 401
    refused = log_in(client)
    assert refused.status_code == 429
    assert refused.json()["wait_s"] >= 1
    assert int(refused.headers["retry-after"]) >= 1
    assert log_in(house.client(), "nurse").status_code == 200, "others may"


def test_a_forged_forwarding_header_gives_no_fresh_attempts(house: House):
    client = house.client()
    for number in range(FREE_OF_ACCOUNT):
        log_in(client, password="wrong wrong wrong", **{"X-Forwarded-For": f"10.9.9.{number}"})
    assert log_in(client, **{"X-Forwarded-For": "10.9.9.99"}).status_code == 429
    assert {row.get("address") for row in house.noted()[1:]} == {"10.0.0.5"}


def test_passwords_that_wait_in_line_are_bounded(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(PasswordCheck, "busy", property(lambda check: True))
    answer = log_in(house.client())
    assert answer.status_code == 503
    assert "retry-after" in answer.headers


def test_an_account_removed_while_its_password_is_looked_at_is_not_let_in(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    def slowly(account: object, password: str) -> bool:
        remove_account(house.accounts, "ito")
        return True

    monkeypatch.setattr("web.login.has_password", slowly)
    assert log_in(house.client()).status_code == 401


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0")))
def test_no_garbage_in_a_cookie_or_a_token_lets_anybody_in_or_breaks_anything(house: House, garbage: str):
    client = house.client()
    raw = garbage.encode("latin-1")
    for headers in (
        {"Cookie": raw},
        {"Cookie": b"__Host-fluoroguide-8443=" + raw},
        {"Authorization": raw},
        {"Authorization": b"Bearer " + raw},
        {"Authorization": b"Bearer wall~" + raw},
        {"Host": raw},
    ):
        assert client.get("/picture", headers=headers).status_code == 401


# Tokens of programs.


def test_a_program_comes_with_its_token_in_the_header(house: House):
    client = house.client()
    bearer = {"Authorization": f"Bearer {house.program}"}
    assert client.get("/picture", headers=bearer).status_code == 200
    assert client.post("/plan", headers=bearer).status_code == 200
    assert house.changed == ["program"]
    with live(client, bearer) as line:
        line.send_text("hello")
        assert line.receive_text() == "hello"


def test_a_token_in_the_wrong_place_counts_for_nothing(house: House):
    client = house.client()
    token = house.program
    assert client.get(f"/picture?token={token}").status_code == 401
    assert client.get(f"/picture?access_token={token}").status_code == 401
    assert client.get("/picture", headers={"Authorization": token}).status_code == 401
    assert client.get("/picture", headers={"Authorization": f"Basic {token}"}).status_code == 401
    assert client.get("/picture", headers={"X-Token": token}).status_code == 401
    client.cookies.set("__Host-fluoroguide-8443", token)
    assert client.get("/picture").status_code == 401
    assert token.partition("~")[2] not in house.audit_log.read_text(encoding="utf-8")


def test_an_unknown_token_is_noted_and_does_not_fall_back_on_the_cookie(house: House):
    client = house.logged_in("ito")
    assert client.get("/picture", headers={"Authorization": "Bearer wall~guessed"}).status_code == 401
    assert house.noted()[-1]["what"] == "refused: unknown token"


# Roles.


def test_a_viewer_changes_nothing_and_is_told_why(house: House):
    client = house.logged_in("nurse")
    answer = client.post("/plan", headers={"Origin": origin_of(client)})
    assert answer.status_code == 403
    assert "log in as an operator" in answer.json()["error"]
    assert not house.changed
    assert (house.noted()[-1]["by"], house.noted()[-1]["error"]) == ("nurse", "a viewer may not")


def test_an_operator_changes_things_and_that_is_noted_before_the_answer(house: House):
    client = house.logged_in("ito")
    assert client.post("/plan", headers={"Origin": origin_of(client)}).status_code == 200
    assert house.changed == ["ito"]
    line = house.noted()[-1]
    assert (line["by"], line["method"], line["path"], line["error"]) == ("ito", "POST", "/plan", None)


def test_a_role_that_is_taken_away_counts_from_the_next_request(house: House):
    client = house.logged_in("ito")
    remove_account(house.accounts, "ito")
    add_account(house.accounts, "ito", Role.VIEWER, PASSWORD)
    assert client.post("/plan", headers={"Origin": origin_of(client)}).status_code == 401


# Pages of other sites.

FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": f"http://{HOST}"},
    {"Origin": "https://c-arm-7.hospital"},
    {"Origin": "https://c-arm-7.hospital:8444"},
    {"Origin": f"https://{HOST}.evil.example"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Origin": f"https://{HOST}"},
    {"Sec-Fetch-Site": "none"},
    {},
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_the_page_of_another_site_changes_nothing_with_an_operators_cookie(house: House, headers: dict[str, str]):
    client = house.logged_in("ito")
    assert client.post("/plan", headers=headers).status_code == 403
    assert client.post("/logout", headers=headers).status_code == 403
    assert not house.changed
    assert client.get("/picture").status_code == 200


@pytest.mark.parametrize("headers", FOREIGN[:-1])
def test_the_page_of_another_site_logs_nobody_in(house: House, headers: dict[str, str]):
    client = house.client()
    answer = client.post("/login", json={"name": "ito", "password": PASSWORD}, headers=headers)
    assert answer.status_code == 403


@pytest.mark.parametrize("headers", [row for row in FOREIGN if "Sec-Fetch-Site" not in row])
def test_the_page_of_another_site_gets_no_live_line_with_an_operators_cookie(house: House, headers: dict[str, str]):
    client = house.logged_in("ito")
    assert refused_with(client, headers) == 403


def test_nothing_is_shared_with_other_sites(house: House):
    client = house.logged_in("ito")
    for method in ("GET", "OPTIONS"):
        answer = client.request(method, "/picture", headers={"Origin": "https://evil.example"})
        assert not [name for name in answer.headers if name.startswith("access-control")]


# The live line.


def test_a_live_line_ends_when_its_session_does(house: House):
    client = house.logged_in("ito")
    with live(client) as line:
        line.send_text("hello")
        assert line.receive_text() == "hello"
        client.post("/logout", headers={"Origin": origin_of(client)})
        with pytest.raises(WebSocketDisconnect) as ended:
            line.receive_text()
    assert ended.value.code == LOGGED_OUT_CODE


def test_a_live_line_ends_when_its_account_or_token_is_removed(house: House):
    client = house.logged_in("nurse")
    with (
        live(client) as by_cookie,
        live(house.client(), {"Authorization": f"Bearer {house.program}"}) as by_token,
    ):
        remove_account(house.accounts, "nurse")
        remove_account(house.accounts, "program")
        for line in (by_cookie, by_token):
            with pytest.raises(WebSocketDisconnect) as ended:
                line.receive_text()
            assert ended.value.code == LOGGED_OUT_CODE


def test_a_browser_is_told_that_nobody_is_logged_in(house: House):
    client = house.client()
    with live(client) as line:
        with pytest.raises(WebSocketDisconnect) as ended:
            line.receive_text()
        assert ended.value.code == LOGGED_OUT_CODE


# Where nobody logs in.


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "[::1]:8000"])
def test_on_its_own_machine_everybody_is_an_operator(own_machine: House, host: str):
    client = own_machine.client(host)
    assert client.get("/me").json() == {"account": None, "role": "operator"}
    assert client.post("/plan", headers={"Origin": f"http://{host}"}).status_code == 200
    assert client.post("/login", json={}).status_code == 404


@pytest.mark.parametrize(
    "host", ["evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "", "[", "a:b"]
)
def test_a_name_that_was_made_to_mean_this_machine_opens_nothing(own_machine: House, host: str):
    client = own_machine.client("127.0.0.1:8000")
    headers = {"Host": host, "Origin": f"http://{host}"}
    for path in ("/picture", "/healthy", "/me"):
        assert client.get(path, headers=headers).status_code == 421
    assert client.post("/plan", headers=headers).status_code == 421
    assert refused_with(client, headers) == 421
    assert not own_machine.changed


def test_the_page_of_another_site_changes_nothing_on_ones_own_machine(own_machine: House):
    client = own_machine.client("127.0.0.1:8000")
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
        assert client.post("/plan", headers=headers).status_code == 403
    assert client.post("/plan").status_code == 200, "a program names no origin"


# What every answer carries.


def test_every_answer_carries_the_headers_errors_and_refusals_too(house: House):
    client = house.logged_in("ito")
    own = {"Origin": origin_of(client)}
    answers = [
        client.get("/picture"),
        client.get("/no/such/page"),
        client.get("/broken"),
        client.post("/plan", headers={"Origin": "https://evil.example"}),
        house.client().get("/picture"),
        house.client().get("/", headers={"Accept": "text/html"}),
        client.post("/logout", headers=own),
    ]
    assert [answer.status_code for answer in answers] == [200, 404, 500, 403, 401, 303, 200]
    for answer in answers:
        for name in HEADERS:
            assert name in answer.headers, (answer.status_code, name)
        assert answer.headers["strict-transport-security"].startswith("max-age=")
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store", "going back after the log-out shows nothing"


def test_without_tls_no_browser_is_told_to_insist_on_it(own_machine: House):
    assert "strict-transport-security" not in own_machine.client("127.0.0.1:8000").get("/picture").headers


# What is noted.


def test_logging_in_and_out_and_failing_to_is_noted_without_any_secret(house: House):
    client = house.client()
    log_in(client, password="wrong wrong wrong")
    log_in(client, name=PASSWORD, password="ito")
    log_in(client)
    secret = cookie(client)
    client.post("/logout", headers={"Origin": origin_of(client)})
    told = [(row["by"], row["what"], row.get("account")) for row in house.noted()[1:]]
    assert told == [
        (None, "failed log-in", "ito"),
        (None, "failed log-in", None),
        ("ito", "log-in", None),
        ("ito", "log-out", None),
    ]
    written = house.audit_log.read_text(encoding="utf-8")
    for word in (PASSWORD, "wrong wrong", secret):
        assert word not in written


def test_passwords_are_looked_at_in_one_thread_that_gives_way(house: House, monkeypatch: pytest.MonkeyPatch):
    seen: list[tuple[str, int]] = []

    def look(account: object, password: str) -> bool:
        seen.append((threading.current_thread().name, os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))
        return False

    monkeypatch.setattr("web.login.has_password", look)
    for name in ("ito", "nurse", "nobody"):
        log_in(house.client(), name)
    assert len(seen) == 3
    assert {niceness for _, niceness in seen} == {19}
    assert len({name for name, _ in seen}) == 1
