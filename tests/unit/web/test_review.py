"""The review pages' doors over a real socket, without a browser: what they give, and what they refuse."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from guidance.accounts import Role, add_token
from guidance.casebook.archive import ArchivedCase
from guidance.casebook.judgements import judgements
from guidance.casebook.recompute import progress_of
from tests.unit.casebook.analysed import record_analysed
from tests.unit.casebook.recorded import frames, record

LEAK, NOISE, GROWING = "20261130T090000-1", "20261129T090000-1", "20261130T100000-1"


@contextmanager
def serving(archive: Path, *options: str) -> Iterator[str]:
    """The address of ``python -m web`` on an archive alone."""
    reading, lifeline = os.pipe()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        fd = listening.fileno()
        command = [sys.executable, "-m", "web", "--fd", str(fd), "--lifeline", str(reading), "--archive", str(archive)]
        process = subprocess.Popen([*command, *options], pass_fds=(fd, reading))
        os.close(reading)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            os.close(lifeline)
            assert process.wait(10) == 0


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("archive")
    record_analysed(root, case_id=LEAK)
    record(root / NOISE)
    return root


@pytest.fixture(scope="module")
def address(archive: Path) -> Iterator[str]:
    with serving(archive) as found:
        yield found


def asked(address: str, path: str, method: str = "GET", body: Any = None, **headers: str) -> tuple[int, Any, Any]:
    """Status, headers and what came: JSON where it is."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{address}review/{path}", data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            is_json = answer.headers["content-type"] == "application/json"
            came = answer.read()
            return answer.status, answer.headers, json.loads(came) if is_json else came
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, json.loads(error.read())


def test_the_list_has_every_case_with_its_alerts(address: str) -> None:
    _, _, cases = asked(address, "cases")
    assert {case["id"] for case in cases} == {LEAK, NOISE}
    leak = next(case for case in cases if case["id"] == LEAK)
    assert leak["alerts"]["cement_in_zone"] == 1
    assert leak["state"] == "complete"


def test_a_case_opens_with_its_course_and_times(address: str, archive: Path) -> None:
    _, _, found = asked(address, f"cases/{LEAK}")
    _, _, times = asked(address, f"cases/{LEAK}/times")
    with ArchivedCase(archive / LEAK) as case:
        assert np.frombuffer(times, "<f8").tolist() == case.times_s.tolist()
        assert len(found["alerts"]) == len(case.alerts)
    assert [phase for _, phase in found["course"]["phases"]] == ["baseline", "epidurogram", "needle", "cement"]
    assert found["missing"] == []


def test_a_picture_never_changes_and_a_lossless_one_is_what_was_recorded(address: str, archive: Path) -> None:
    status, headers, jpeg = asked(address, f"cases/{LEAK}/pictures/60.jpg")
    assert (status, headers["Fluoroguide-Frame"]) == (200, "whole")
    assert "immutable" in headers["Cache-Control"]
    _, _, png = asked(address, f"cases/{LEAK}/pictures/60.png")
    with ArchivedCase(archive / LEAK) as case:
        recorded = case.frame(60).pixels
    assert (cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED) == recorded).all()
    shown = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_UNCHANGED)
    assert shown.shape == recorded.shape


def test_a_damaged_frame_is_never_given_as_good(address: str) -> None:
    _, headers, _ = asked(address, f"cases/{NOISE}/pictures/3.jpg")
    assert headers["Fluoroguide-Frame"] == "damaged"
    assert headers["Cache-Control"] == "no-store"
    assert asked(address, f"cases/{NOISE}")[2]["damaged"] == [3]


def test_a_moment_tells_what_was_found_and_drawn_then(address: str) -> None:
    _, _, moment = asked(address, f"cases/{LEAK}/moments/95")
    assert moment["findings"]["frame"] == 95
    assert {"cement_in_zone"} <= {alert["kind"] for alert in moment["alerts"]}
    assert any(stroke["style"] == "zone_breached" for stroke in moment["strokes"])


@pytest.mark.parametrize(
    ("path", "why"),
    [
        (f"cases/{LEAK}/pictures/9999.jpg", "no frame 9999"),
        (f"cases/{LEAK}/moments/-1", "no frame -1"),
        (f"cases/{LEAK}/pictures/0.gif", "expected jpg or png"),
        ("cases/20260101T000000-1", "no such case"),
        ("cases/..", "no such case"),
        ("cases/.%2e%5c", "no such case"),
        (f"cases/{NOISE}/moments/0?recomputed=true", "not been analysed by the present version"),
    ],
)
def test_what_there_is_not_is_refused_in_one_sentence(address: str, path: str, why: str) -> None:
    # As written: urllib would resolve the dots by itself.
    connection = http.client.HTTPConnection(address.removeprefix("http://").rstrip("/"), timeout=20)
    connection.request("GET", f"/review/{path}")
    answer = connection.getresponse()
    assert answer.status in (404, 422)
    assert why in json.loads(answer.read())["error"]
    connection.close()


def test_a_judgement_is_kept_by_whom_and_shown_when_the_case_is_opened_again(address: str, archive: Path) -> None:
    said = {"alert": 1, "t_s": 10.4, "verdict": "right", "note": "seen"}
    status, _, kept = asked(address, f"cases/{LEAK}/judgements", "POST", said)
    assert (status, kept["by"]) == (200, "dashboard")
    assert judgements(archive / LEAK)[0][-1].note == "seen"
    assert asked(address, f"cases/{LEAK}")[2]["judgements"] == [kept]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"alert": 99, "t_s": 1, "verdict": "right"}, "no alert 99"),
        ({"t_s": 1, "verdict": "missed"}, "its kind"),
        ({"alert": 1, "t_s": 1, "verdict": "good"}, "verdict"),
    ],
)
def test_a_judgement_of_nothing_is_refused(address: str, said: Any, why: str) -> None:
    status, _, answer = asked(address, f"cases/{LEAK}/judgements", "POST", said)
    assert status == 422
    assert why in answer["error"]


def test_tags_and_keep_are_set_and_found_in_the_list(address: str) -> None:
    assert asked(address, f"cases/{NOISE}/tags", "PUT", {"tags": [" teaching ", "leak"]})[0] == 200
    assert asked(address, f"cases/{NOISE}/keep", "PUT", {"keep": True})[0] == 200
    noise = next(case for case in asked(address, "cases")[2] if case["id"] == NOISE)
    assert (noise["tags"], noise["keep"]) == (["teaching", "leak"], True)
    assert asked(address, f"cases/{NOISE}/tags", "PUT", {"tags": [""]})[0] == 422


def test_a_case_is_analysed_anew_beside_it_with_progress_and_then_drawn(address: str, archive: Path) -> None:
    assert asked(address, f"cases/{LEAK}/recomputed")[2]["begun"] is False
    assert asked(address, f"cases/{LEAK}/recomputed", "POST")[0] == 200
    status, _, answer = asked(address, f"cases/{LEAK}/recomputed", "POST")
    assert (status, "one at a time" in answer["error"]) == (409, True)
    assert asked(address, f"cases/{LEAK}/recomputed", "DELETE")[0] == 200
    assert asked(address, f"cases/{LEAK}/recomputed")[2]["complete"] is False
    assert asked(address, f"cases/{LEAK}/recomputed", "POST")[0] == 200
    until = time.monotonic() + 60
    while not (told := asked(address, f"cases/{LEAK}/recomputed")[2])["complete"] or told["running"]:
        assert time.monotonic() < until, told
        time.sleep(0.2)
    assert told["differences"] == []
    assert asked(address, f"cases/{LEAK}/moments/0?recomputed=true")[0] == 200
    now = asked(address, f"cases/{LEAK}/moments/95?recomputed=true")[2]
    then = asked(address, f"cases/{LEAK}/moments/95")[2]
    assert now["strokes"] == then["strokes"]
    assert (progress_of(archive / LEAK) or {})["done"] == 105


def test_a_case_that_is_being_recorded_is_shown_as_far_as_it_has_come(address: str, archive: Path) -> None:
    shown = frames(12)
    recorder = record(archive / GROWING, shown[:6], close=False)
    try:
        first = asked(address, f"cases/{GROWING}")[2]
        assert (first["state"], first["frames"]) == ("recording", 6)
        assert asked(address, f"cases/{GROWING}/recomputed", "POST")[0] == 409
        for frame in shown[6:]:
            recorder.frame(frame)
        assert asked(address, f"cases/{GROWING}")[2]["frames"] == 12
    finally:
        recorder.close()
    last = asked(address, f"cases/{GROWING}")[2]
    assert (last["state"], last["missing"]) == ("complete", [])
    shutil.rmtree(archive / GROWING)


def test_alone_there_is_no_live_page_and_the_first_one_is_the_list(address: str) -> None:
    assert asked(address, "about")[2] == {"live": False}
    for page in ("", "setup.html"):
        with urllib.request.urlopen(address + page, timeout=20) as answer:
            assert answer.url == f"{address}review.html"


def test_a_viewer_may_see_and_not_judge_and_pictures_stay_in_no_browser(archive: Path, tmp_path: Path) -> None:
    accounts = tmp_path / "accounts.json"
    tokens = {role: add_token(accounts, role.value, role) for role in Role}
    said = {"alert": 2, "t_s": 10.4, "verdict": "wrong"}
    with serving(archive, "--accounts", str(accounts)) as address:
        viewer = {"Authorization": f"Bearer {tokens[Role.VIEWER]}"}
        operator = {"Authorization": f"Bearer {tokens[Role.OPERATOR]}"}
        assert asked(address, "cases")[0] == 401
        assert asked(address, "cases", **viewer)[0] == 200
        assert asked(address, f"cases/{LEAK}/pictures/1.jpg", **viewer)[1]["Cache-Control"] == "no-store"
        assert asked(address, f"cases/{LEAK}/judgements", "POST", said, **viewer)[0] == 403
        status, _, kept = asked(address, f"cases/{LEAK}/judgements", "POST", said, **operator)
        assert (status, kept["by"]) == (200, "operator")
