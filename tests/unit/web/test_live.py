"""The board that every viewer sees, without any socket."""

import json
from dataclasses import replace
from typing import Any

from guidance.bus.messages import AlertEnvelope, FrameHeader, FrameMessage, HealthBody, HealthEnvelope
from guidance.bus.subscriber import Hearing
from guidance.overlay import draw, strokes_json
from guidance.records import AlertState, FrameState
from guidance.wire import AlertMessage, alert_message, findings_message
from tests.browser.room import CEMENT_IN_FORAMEN, FINDINGS
from web.live import Board

RAISED = alert_message(CEMENT_IN_FORAMEN)
CLEARED = alert_message(replace(CEMENT_IN_FORAMEN, state=AlertState.CLEARED))


def change(body: AlertMessage, sent_s: float, case: str = "a") -> AlertEnvelope:
    return AlertEnvelope(sequence=0, case=case, sent_s=sent_s, body=body)


def heartbeat(alerts: list[AlertMessage], sent_s: float, case: str = "a") -> HealthEnvelope:
    body = HealthBody(
        source="a recording",
        state=FrameState.LIVE,
        frames=1,
        pulses=1,
        dropped=0,
        latency_ms=8.0,
        rate_hz=15.0,
        findings_t_s=0.0,
        alerts=alerts,
    )
    return HealthEnvelope(sequence=0, case=case, sent_s=sent_s, body=body)


def picture(frame: int, sent_s: float, alerts: list[AlertMessage], case: str = "a") -> FrameMessage:
    findings = replace(FINDINGS, frame=frame)
    header = FrameHeader(
        sequence=frame,
        case=case,
        sent_s=sent_s,
        captured_s=sent_s,
        frame=frame,
        t_s=0.0,
        state=FrameState.LIVE,
        findings=findings_message(findings),
        strokes=strokes_json(draw(findings)),
        alerts=alerts,
    )
    return FrameMessage(header, b"jpeg %d" % frame)


def unpacked(message: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(message[:4], "little")
    return json.loads(message[4 : 4 + length]), message[4 + length :]


def test_a_message_carries_the_newest_picture_with_its_findings_strokes_and_age():
    board = Board(Hearing())
    board.hear_picture(picture(1, 10.0, []))
    board.hear_picture(picture(2, 10.1, []))
    header, jpeg = unpacked(board.message(with_picture=True))
    assert jpeg == b"jpeg 2"
    assert header["picture"]["frame"] == 2
    assert header["picture"]["findings"]["needles"][0]["id"] == 1
    assert {stroke["style"] for stroke in header["picture"]["strokes"]} >= {"needle_tip", "zone_forbidden"}
    assert isinstance(header["age_ms"], float)


def test_words_are_told_without_a_picture():
    board = Board(Hearing())
    board.hear(heartbeat([RAISED], 10.0))
    header, jpeg = unpacked(board.message(with_picture=False))
    assert jpeg == b""
    assert "picture" not in header
    assert [alert["text"] for alert in header["alerts"]] == [CEMENT_IN_FORAMEN.text]


def test_a_raised_alert_is_active_until_it_is_over():
    board = Board(Hearing())
    board.hear(change(RAISED, 1.0))
    assert board.alerts == [RAISED]
    board.hear(change(CLEARED, 2.0))
    assert board.alerts == []
    assert list(board.changes) == [CLEARED, RAISED]


def test_a_picture_sent_before_an_alert_does_not_take_it_back():
    board = Board(Hearing())
    board.hear(change(RAISED, 2.0))
    board.hear_picture(picture(1, 1.9, []))
    assert board.alerts == [RAISED]


def test_a_late_joiner_takes_the_active_alerts_from_the_heartbeat():
    board = Board(Hearing())
    board.hear(heartbeat([RAISED], 5.0))
    assert board.alerts == [RAISED]


def test_what_is_left_of_the_case_before_is_not_shown_again():
    board = Board(Hearing())
    board.hear(heartbeat([], 1.0, case="a"))
    board.hear(heartbeat([], 2.0, case="b"))
    board.hear_picture(picture(9, 1.9, [RAISED], case="a"))
    assert board.picture is None
    assert board.alerts == []


def test_a_new_case_forgets_the_picture_and_the_changes_of_the_one_before():
    board = Board(Hearing())
    board.hear_picture(picture(1, 1.0, [RAISED]))
    board.hear(change(RAISED, 1.0))
    board.hear(heartbeat([], 2.0, case="b"))
    assert board.picture is None
    assert not board.changes
    assert board.alerts == []
