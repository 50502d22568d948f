"""The web application over real sockets, without a browser."""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from guidance.bus.messages import Acknowledge, Endpoints
from guidance.overlay import look_json
from tests.browser.room import Dashboard, FakeService
from web.app import STATIC


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[FakeService, Dashboard]]:
    with FakeService() as service, Dashboard(service.endpoints, service.keys) as dashboard:
        yield service, dashboard


def live(dashboard: Dashboard, **options: Any) -> ClientConnection:
    return connect(dashboard.address.replace("http", "ws") + "live", compression=None, **options)


def fetched(address: str) -> tuple[int, dict[str, str], bytes]:
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


def header_of(message: str | bytes) -> dict[str, Any]:
    assert isinstance(message, bytes)
    return json.loads(message[4 : 4 + int.from_bytes(message[:4], "little")])


def test_the_page_is_served_with_a_policy_that_allows_no_inline_script(running: tuple[FakeService, Dashboard]):
    status, headers, page = fetched(running[1].address)
    assert status == 200
    assert b"not a medical device" in page
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_no_static_file_holds_inline_script_style_or_an_address_elsewhere():
    for path in STATIC.iterdir():
        words = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://", words), path.name
        if path.suffix == ".html":
            assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=", words)


def test_the_page_asks_for_all_that_it_needs_at_once():
    index = (STATIC / "index.html").read_text(encoding="utf-8")
    needed, unread = set(), ["main.js"]
    while unread:
        words = (STATIC / unread.pop()).read_text(encoding="utf-8")
        fresh = set(re.findall(r'(?:\bfrom|^import)\s+"\./([\w/-]+\.js)"', words, re.MULTILINE)) - needed
        needed |= fresh
        unread += fresh
    assert needed
    assert needed == set(re.findall(r'<link rel="modulepreload" href="([^"]+)"', index))


def test_the_browser_is_given_the_same_look_that_is_painted(running: tuple[FakeService, Dashboard]):
    _, _, body = fetched(running[1].address + "styles.json")
    assert json.loads(body) == json.loads(json.dumps(look_json()))


def test_without_a_stored_view_there_is_none_to_fetch(running: tuple[FakeService, Dashboard]):
    status, _, body = fetched(running[1].address + "other-view")
    assert (status, body) == (404, b"")


def test_the_trends_are_told_by_view_and_deposit(running: tuple[FakeService, Dashboard]):
    with live(running[1]) as viewer:
        while header_of(viewer.recv(timeout=10))["newest"] is None:
            pass
        _, _, body = fetched(running[1].address + "trends.json")
    (point, *_) = json.loads(body)["0/1"]
    assert point[1] == 143.2


def test_healthy_says_whether_the_bus_is_heard(running: tuple[FakeService, Dashboard]):
    with live(running[1]) as viewer:
        while header_of(viewer.recv(timeout=10))["health"] is None:
            pass
        status, headers, body = fetched(running[1].address + "healthy")
    assert status == 200
    assert json.loads(body)["parts"]["bus"]["state"] == "ok"
    assert headers["cache-control"] == "no-store"


def test_healthy_is_503_where_nothing_is_heard(running: tuple[FakeService, Dashboard]):
    with Dashboard(Endpoints(*["tcp://127.0.0.1:9"] * 4), running[0].keys) as dashboard:
        status, _, body = fetched(dashboard.address + "healthy")
    assert status == 503
    assert json.loads(body)["parts"]["bus"]["state"] == "failed"


def test_a_page_of_another_origin_gets_no_live_line(running: tuple[FakeService, Dashboard]):
    with pytest.raises(InvalidStatus) as refused, live(running[1], origin="http://elsewhere.example"):
        pass
    assert refused.value.response.status_code == 403


def test_a_viewer_that_does_not_answer_gets_one_picture_and_words_only_from_then_on(
    running: tuple[FakeService, Dashboard],
):
    with live(running[1]) as viewer:
        headers = [header_of(viewer.recv(timeout=10)) for _ in range(12)]
        assert sum("picture" in header for header in headers) == 1
        viewer.send("ack")
        while "picture" not in header_of(viewer.recv(timeout=10)):
            pass


def test_a_viewer_that_says_what_it_should_not_harms_nobody(running: tuple[FakeService, Dashboard]):
    with live(running[1]) as rude, live(running[1]) as other:
        rude.send(b"\x00\x01")
        rude.send("nonsense")
        rude.send('{"kind": "acknowledge", "alert": -3}')
        assert "alerts" in header_of(other.recv(timeout=10))
        answers = (message for message in iter(rude.recv, None) if isinstance(message, str))
        assert [json.loads(next(answers))["error"] for _ in range(2)] == ["the page gave an order that is none"] * 2
    assert not running[0].orders


def test_what_a_page_orders_reaches_the_service_and_is_answered(running: tuple[FakeService, Dashboard]):
    with live(running[1]) as viewer:
        while header_of(viewer.recv(timeout=10))["case"] is None:
            pass
        viewer.send('{"kind": "acknowledge", "alert": 3}')
        answer = next(message for message in iter(viewer.recv, None) if isinstance(message, str))
    assert json.loads(answer) == {"error": None}
    (order,) = running[0].orders
    assert (order.command, order.case, order.by) == (Acknowledge(alert=3), "case", "dashboard (local)")


def test_the_process_ends_by_itself_when_its_lifeline_does(running: tuple[FakeService, Dashboard]):
    with Dashboard(running[0].endpoints, running[0].keys) as dashboard, live(dashboard) as viewer:
        viewer.recv(timeout=10)
        assert dashboard.let_go() == 0
