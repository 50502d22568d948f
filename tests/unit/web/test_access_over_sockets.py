"""Who gets in, over real sockets and real TLS, to the dashboard's own process."""

import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from guidance.accounts import Role, add_account, remove_account
from guidance.bus.messages import Acknowledge, Endpoints
from guidance.service.dashboard import Dashboard as Kept
from tests.browser.room import Dashboard, FakeService
from tests.unit.certificates import self_signed
from web.__main__ import RENEWED_S
from web.access import HEADERS, LOGGED_OUT_CODE

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def service() -> Iterator[FakeService]:
    with FakeService() as service:
        yield service


class Ward:
    """A dashboard with accounts, over TLS, and programs that speak to it as a browser does."""

    def __init__(self, service: FakeService, folder: Path) -> None:
        self.accounts = folder / "accounts.json"
        self.audit_log = folder / "alarms.audit.jsonl"
        add_account(self.accounts, "ito", Role.OPERATOR, PASSWORD)
        add_account(self.accounts, "nurse", Role.VIEWER, PASSWORD)
        cert, key = self.certificate = self_signed(folder)
        self.trusting = ssl.create_default_context(cafile=str(cert))
        self.dashboard = Dashboard(
            service.endpoints,
            service.keys,
            *("--accounts", str(self.accounts), "--audit-log", str(self.audit_log)),
            *("--sessions", str(folder / "alarms.sessions.json"), "--tls-cert", str(cert), "--tls-key", str(key)),
        )

    @property
    def origin(self) -> str:
        return self.dashboard.address.rstrip("/")

    def ask(self, path: str, body: object = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        request = urllib.request.Request(self.dashboard.address + path, headers=headers)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
            request.add_header("Origin", self.origin)
        try:
            with urllib.request.urlopen(request, timeout=20, context=self.trusting) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers), error.read()

    def logged_in(self, name: str) -> str:
        """The cookie."""
        status, headers, _ = self.ask("login", {"name": name, "password": PASSWORD})
        assert status == 200
        return headers["set-cookie"].partition(";")[0]

    def live(self, cookie: str | None, origin: str | None = None) -> ClientConnection:
        headers = {} if cookie is None else {"Cookie": cookie}
        return connect(
            self.dashboard.address.replace("http", "ws") + "live",
            compression=None,
            ssl=self.trusting,
            origin=origin or self.origin,  # type: ignore[arg-type]
            additional_headers=headers,
        )

    def presented(self) -> bytes:
        """The certificate that a new connection is shown."""
        anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
        address = "127.0.0.1", int(self.origin.rpartition(":")[2])
        with socket.create_connection(address, timeout=10) as plain, anybody.wrap_socket(plain) as line:
            shown = line.getpeercert(binary_form=True)
        assert shown is not None
        return shown

    def noted(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.audit_log.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def kept_ward(service: FakeService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    ward = Ward(service, tmp_path_factory.mktemp("ward"))
    with ward.dashboard:
        yield ward


@pytest.fixture
def ward(kept_ward: Ward, service: FakeService) -> Ward:
    """One for all tests, as starting it takes seconds; nothing was ordered yet."""
    service.orders.clear()
    return kept_ward


def order(live: ClientConnection, **command: object) -> str | None:
    """Why it was not obeyed, once a case is known."""
    while True:
        message = live.recv(timeout=10)
        assert isinstance(message, bytes)
        if json.loads(message[4 : 4 + int.from_bytes(message[:4], "little")])["case"] is not None:
            break
    live.send(json.dumps(command))
    answer = next(message for message in iter(live.recv, None) if isinstance(message, str))
    error: str | None = json.loads(answer)["error"]
    return error


def ends_with(live: ClientConnection) -> int:
    """The code that a live line closes with."""
    with pytest.raises(ConnectionClosed) as closed:
        for _ in iter(lambda: live.recv(timeout=10), None):
            pass
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


def test_an_operators_order_carries_the_accounts_name_onto_the_bus_and_into_the_log(ward: Ward, service: FakeService):
    with ward.live(ward.logged_in("ito")) as page:
        assert order(page, kind="acknowledge", alert=3) is None
    (given,) = service.orders
    assert (given.command, given.by) == (Acknowledge(alert=3), "ito (local)")
    line = ward.noted()[-1]
    assert (line["by"], line["address"], line["what"], line["case"]) == ("ito", "127.0.0.1", "order", "case")
    assert (line["order"], line["error"]) == ({"kind": "acknowledge", "alert": 3}, None)


def test_a_viewer_sees_everything_and_orders_nothing(ward: Ward, service: FakeService):
    with ward.live(ward.logged_in("nurse")) as page:
        assert "log in as an operator" in (order(page, kind="acknowledge", alert=3) or "")
        assert "log in as an operator" in (order(page, kind="audio_pause", on=True) or "")
    assert not service.orders
    assert [(row["by"], row["what"], bool(row["error"])) for row in ward.noted()[-2:]] == [("nurse", "order", True)] * 2


def test_pages_of_other_sites_and_strangers_get_no_live_line(ward: Ward):
    cookie = ward.logged_in("ito")
    with pytest.raises(InvalidStatus) as refused, ward.live(cookie, origin="https://evil.example"):
        pass
    assert refused.value.response.status_code == 403
    for name in HEADERS:
        assert name in refused.value.response.headers
    with ward.live(None) as stranger:
        assert ends_with(stranger) == LOGGED_OUT_CODE


def test_an_account_that_is_removed_loses_its_live_line_at_once(ward: Ward):
    add_account(ward.accounts, "locum", Role.OPERATOR, PASSWORD)
    with ward.live(ward.logged_in("locum")) as hers, ward.live(ward.logged_in("ito")) as his:
        remove_account(ward.accounts, "locum")
        assert ends_with(hers) == LOGGED_OUT_CODE
        assert order(his, kind="acknowledge", alert=3) is None


def test_a_dashboard_that_was_killed_logs_nobody_out(ward: Ward):
    cookie = ward.logged_in("nurse")
    ward.dashboard.kill()
    ward.dashboard.start()
    status, _, body = ward.ask("me", Cookie=cookie)
    assert (status, json.loads(body)) == (200, {"account": "nurse", "role": "viewer"})


def test_healthy_says_whether_the_log_is_kept_and_the_accounts_are_read(ward: Ward):
    def states() -> tuple[str, str]:
        parts = json.loads(ward.ask("healthy")[2])["parts"]
        return parts["audit_log"]["state"], parts["accounts"]["state"]

    assert states() == ("ok", "ok")
    good = ward.accounts.read_bytes()
    ward.accounts.write_text("{", encoding="utf-8")
    ward.ask("styles.json", Authorization="Bearer x")
    assert states() == ("ok", "impaired")
    ward.accounts.write_bytes(good)
    ward.ask("styles.json", Authorization="Bearer x")
    assert states() == ("ok", "ok")


def test_without_tls_nothing_is_said_on_a_port_that_speaks_it(ward: Ward):
    host, port = "127.0.0.1", int(ward.origin.rpartition(":")[2])
    with socket.create_connection((host, port), timeout=10) as plain:
        plain.sendall(b"GET /healthy HTTP/1.0\r\n\r\n")
        assert b"HTTP" not in plain.recv(4096)


def test_old_tls_is_refused(ward: Ward):
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with (
        socket.create_connection(("127.0.0.1", int(ward.origin.rpartition(":")[2])), timeout=10) as plain,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        old.wrap_socket(plain)


def test_a_dashboard_without_accounts_serves_no_socket_that_others_can_reach(service: FakeService):
    with socket.create_server(("0.0.0.0", 0)) as reachable:
        reading, writing = os.pipe()
        command = [sys.executable, "-m", "web", "--fd", str(reachable.fileno()), "--lifeline", str(reading)]
        command += ["--keys", str(service.keys), *map(str, astuple(service.endpoints))]
        ended = subprocess.run(
            command, pass_fds=(reachable.fileno(), reading), timeout=30, capture_output=True, text=True, check=False
        )
        os.close(reading)
        os.close(writing)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "--accounts" in ended.stderr


def test_the_service_sees_that_its_dashboard_answers_over_tls(service: FakeService, tmp_path: Path):
    cert, key = self_signed(tmp_path)
    stopping = threading.Event()
    options = ["--tls-cert", str(cert), "--tls-key", str(key)]
    endpoints = Endpoints(*astuple(service.endpoints))
    kept = Kept(("-m", "web"), "127.0.0.1", 0, endpoints, service.keys, options, stopping, tls=True)
    keeping = threading.Thread(target=kept.run)
    keeping.start()
    try:
        assert kept.url.startswith("https://127.0.0.1:")
        assert any(kept.answers(timeout_s=5) or stopping.wait(0.2) for _ in range(100))
    finally:
        stopping.set()
        keeping.join()
        kept.close()


def test_a_renewed_certificate_is_taken_up_and_open_lines_stay(ward: Ward, tmp_path: Path):
    cert, key = ward.certificate
    before = cert.read_bytes(), key.read_bytes()
    fresh, fresh_key = self_signed(tmp_path)
    with ward.live(ward.logged_in("ito")) as page:
        cert.write_bytes(fresh.read_bytes())  # not yet a pair
        time.sleep(1.2 * RENEWED_S)
        assert ward.presented() == ssl.PEM_cert_to_DER_cert(before[0].decode())
        key.write_bytes(fresh_key.read_bytes())
        deadline_s = time.monotonic() + 10 * RENEWED_S
        while ward.presented() != ssl.PEM_cert_to_DER_cert(fresh.read_text(encoding="utf-8")):
            assert time.monotonic() < deadline_s, "not taken up"
            time.sleep(0.2)
        page.recv(timeout=10)
    cert.write_bytes(before[0])
    key.write_bytes(before[1])
