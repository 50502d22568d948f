"""The board that every viewer sees, without any socket."""

import json
import time
from dataclasses import replace
from typing import Any

import pytest

from guidance.bus.messages import (
    AlertEnvelope,
    FindingsEnvelope,
    FrameHeader,
    FrameMessage,
    HealthBody,
    HealthEnvelope,
    Message,
    Topic,
)
from guidance.bus.subscriber import Reception
from guidance.overlay import draw, strokes_json
from guidance.records import AlertState, Findings, FrameState, View
from guidance.wire import AlertMessage, alert_message, findings_message
from tests.browser.room import CEMENT_IN_FORAMEN, FINDINGS
from web.live import Board

RAISED = alert_message(CEMENT_IN_FORAMEN)
CLEARED = alert_message(replace(CEMENT_IN_FORAMEN, state=AlertState.CLEARED, active=False))


class Bus:
    """A board with a reception that hears what a publisher would tell."""

    def __init__(self) -> None:
        self.reception = Reception()
        self.board = Board(self.reception)
        self._next = dict.fromkeys(Topic, 0)

    def change(self, body: AlertMessage, case: str = "a") -> None:
        self._hear(AlertEnvelope(session="s", sequence=self._number(Topic.ALERTS), case=case, sent_s=1.0, body=body))

    def heartbeat(self, alerts: list[AlertMessage], case: str = "a") -> None:
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
        self._hear(HealthEnvelope(session="s", sequence=self._number(Topic.HEALTH), case=case, sent_s=1.0, body=body))

    def findings(self, findings: Findings, sent_s: float, case: str = "a") -> None:
        number = self._number(Topic.FINDINGS)
        body = findings_message(findings)
        self._hear(FindingsEnvelope(session="s", sequence=number, case=case, sent_s=sent_s, body=body))

    def _number(self, topic: Topic) -> int:
        self._next[topic] += 1
        return self._next[topic] - 1

    def _hear(self, message: Message) -> None:
        heard = self.reception.note(message)
        assert heard is not None
        self.board.hear(heard)


@pytest.fixture
def bus() -> Bus:
    """A board that has heard one heartbeat."""
    bus = Bus()
    bus.heartbeat([])
    return bus


def picture(frame: int, case: str = "a", **changes: Any) -> FrameMessage:
    findings = replace(FINDINGS, frame=frame, **changes)
    header = FrameHeader(
        session="s",
        sequence=frame,
        case=case,
        sent_s=1.0,
        captured_s=1.0,
        frame=frame,
        t_s=0.0,
        state=FrameState.LIVE,
        findings=findings_message(findings),
        strokes=strokes_json(draw(findings)),
        alerts=[],
    )
    return FrameMessage(header, b"jpeg %d" % frame)


def unpacked(message: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(message[:4], "little")
    return json.loads(message[4 : 4 + length]), message[4 + length :]


def test_a_message_carries_the_newest_picture_with_its_findings_strokes_and_age(bus: Bus):
    bus.board.hear_picture(picture(1))
    bus.board.hear_picture(picture(2))
    header, jpeg = unpacked(bus.board.message(with_picture=True))
    assert jpeg == b"jpeg 2"
    assert header["picture"]["frame"] == 2
    assert header["picture"]["findings"]["needles"][0]["id"] == 1
    assert {stroke["style"] for stroke in header["picture"]["strokes"]} >= {"needle_tip", "zone_forbidden"}
    assert isinstance(header["age_ms"], float)


def test_words_are_told_without_a_picture(bus: Bus):
    bus.heartbeat([RAISED])
    header, jpeg = unpacked(bus.board.message(with_picture=False))
    assert jpeg == b""
    assert "picture" not in header
    assert [alert["text"] for alert in header["alerts"]] == [CEMENT_IN_FORAMEN.text]
    assert header["audio"] == {"sounding": None, "paused_s": 0.0}


def test_changes_are_told_the_newest_first(bus: Bus):
    bus.change(RAISED)
    bus.change(CLEARED)
    header, _ = unpacked(bus.board.message(with_picture=False))
    assert [change["state"] for change in header["changes"]] == ["cleared", "raised"]
    assert header["alerts"] == []


def test_a_picture_of_the_case_before_is_not_shown(bus: Bus):
    bus.heartbeat([], case="b")
    bus.board.hear_picture(picture(9, case="a"))
    assert bus.board.picture is None


def test_a_new_case_forgets_the_picture_and_the_changes_of_the_one_before(bus: Bus):
    bus.board.hear_picture(picture(1))
    bus.change(RAISED)
    bus.heartbeat([], case="b")
    header, _ = unpacked(bus.board.message(with_picture=False))
    assert bus.board.picture is None
    assert (header["changes"], header["alerts"]) == ([], [])


def test_the_newest_frame_vouches_for_its_pulse_from_the_moment_of_its_capture(bus: Bus):
    seen = replace(FINDINGS, frame=7, pulse=3, latency_ms=40.0)
    bus.findings(seen, sent_s=time.monotonic() - 1.0)
    header, _ = unpacked(bus.board.message(with_picture=False))
    assert header["newest"]["pulse"] == 3
    assert header["newest"]["age_ms"] == pytest.approx(1040, abs=30)
    # The same frame told again has not been captured again.
    bus.findings(seen, sent_s=time.monotonic())
    header, _ = unpacked(bus.board.message(with_picture=False))
    assert header["newest"]["age_ms"] > 1000


def test_findings_that_no_frame_stands_behind_vouch_for_nothing(bus: Bus):
    bus.findings(replace(FINDINGS, frame=7, latency_ms=None), sent_s=time.monotonic())
    header, _ = unpacked(bus.board.message(with_picture=False))
    assert header["newest"] is None


def test_the_other_view_is_named_in_each_message_and_given_on_demand_until_a_new_case_forgets_it(bus: Bus):
    assert bus.board.other_view() is None
    bus.board.hear_picture(picture(1))
    bus.board.hear_picture(picture(2, view=View.LATERAL, view_id=1))
    header, _ = unpacked(bus.board.message(with_picture=False))
    assert header["other"]["frame"] == 1
    stored = bus.board.other_view()
    assert stored is not None
    other, jpeg = unpacked(stored)
    assert jpeg == b"jpeg 1"
    assert {stroke["style"] for stroke in other["strokes"]} >= {"needle_tip", "root"}
    bus.heartbeat([], case="b")
    assert bus.board.other_view() is None
    assert unpacked(bus.board.message(with_picture=False))[0]["other"] is None


def test_a_new_case_forgets_the_trends(bus: Bus):
    bus.findings(FINDINGS, sent_s=1.0)
    assert bus.board.trends.as_json() == {"0/1": [(0.0, 143.2)]}
    bus.heartbeat([], case="b")
    assert bus.board.trends.as_json() == {}
