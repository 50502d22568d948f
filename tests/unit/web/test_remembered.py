"""What the dashboard remembers of a case."""

from dataclasses import replace

from guidance.bus.messages import FrameHeader, FrameMessage
from guidance.records import CementDeposit, Findings, FrameState, View
from guidance.wire import FindingsMessage, findings_message
from tests.browser.room import FINDINGS, ring
from web.remembered import TREND_POINTS, TRENDS_KEPT, VIEWS_KEPT, CementTrends, StoredViews

AP = replace(FINDINGS, view=View.AP, view_id=0)
LATERAL = replace(FINDINGS, view=View.LATERAL, view_id=1)


def picture(findings: Findings, jpeg: bytes) -> FrameMessage:
    header = FrameHeader(
        session="s",
        sequence=0,
        case="a",
        sent_s=1.0,
        captured_s=1.0,
        frame=findings.frame,
        t_s=findings.t_s,
        state=findings.state,
        findings=findings_message(findings),
        strokes=[],
        alerts=[],
    )
    return FrameMessage(header, jpeg)


def other_after(*pictures: FrameMessage) -> bytes | None:
    views = StoredViews()
    for one in pictures:
        views.note(one)
    return None if views.other is None else views.other.jpeg


def test_the_other_view_is_the_last_live_picture_of_the_view_before():
    assert other_after(picture(AP, b"1"), picture(AP, b"2")) is None
    assert other_after(picture(AP, b"1"), picture(AP, b"2"), picture(LATERAL, b"3")) == b"2"
    assert other_after(picture(AP, b"1"), picture(LATERAL, b"2"), picture(AP, b"3")) == b"2"


def test_a_picture_that_is_held_or_not_recognised_is_not_kept():
    held = replace(AP, state=FrameState.HELD)
    assert AP.registration is not None
    moving = replace(AP, registration=replace(AP.registration, ok=False))
    after = (picture(held, b"2"), picture(moving, b"3"), picture(LATERAL, b"4"))
    assert other_after(picture(AP, b"1"), *after) == b"1"
    assert other_after(*after) is None


def test_a_new_reference_of_the_same_view_is_no_other_view():
    renewed = replace(AP, view_id=2)
    assert other_after(picture(AP, b"1"), picture(renewed, b"2")) is None
    assert other_after(picture(LATERAL, b"0"), picture(AP, b"1"), picture(renewed, b"2")) == b"0"


def test_views_that_nobody_has_named_are_told_apart_by_what_they_show():
    unnamed = replace(AP, view=None)
    assert other_after(picture(unnamed, b"1"), picture(replace(unnamed, view_id=1), b"2")) == b"1"


def at(t_s: float, *areas_mm2: float | None, state: FrameState = FrameState.LIVE) -> FindingsMessage:
    cement = tuple(CementDeposit(i + 1, (ring(9, 9, 4),), area) for i, area in enumerate(areas_mm2))
    return findings_message(replace(FINDINGS, t_s=t_s, state=state, cement=cement))


def test_a_trend_has_a_point_each_half_second_of_each_deposit_whose_area_is_known():
    trends = CementTrends()
    for one in (at(1.0, 5.0), at(1.2, 6.0), at(1.5, 7.0, None), at(2.0, 8.0, 3.0)):
        trends.note(one)
    assert trends.as_json() == {"0/1": [(1.0, 5.0), (1.5, 7.0), (2.0, 8.0)], "0/2": [(2.0, 3.0)]}


def test_a_picture_that_is_not_live_adds_nothing_to_a_trend():
    trends = CementTrends()
    trends.note(at(1.0, 5.0, state=FrameState.HELD))
    assert trends.as_json() == {}


def test_a_trend_keeps_no_more_than_its_last_half_hour():
    trends = CementTrends()
    for i in range(TREND_POINTS + 10):
        trends.note(at(0.5 * i, 5.0))
    (points,) = trends.as_json().values()
    assert len(points) == TREND_POINTS
    assert points[0][0] == 5.0


def test_however_many_views_and_deposits_a_case_has_only_the_latest_are_kept():
    views, trends = StoredViews(), CementTrends()
    for i in range(3 * TRENDS_KEPT):
        views.note(picture(replace(AP, view=None, view_id=i), b"%d" % i))
        trends.note(findings_message(replace(FINDINGS, view_id=i, t_s=float(i))))
    assert len(views._last) == VIEWS_KEPT
    assert views.other is not None
    assert list(trends.as_json()) == [f"{i}/1" for i in range(2 * TRENDS_KEPT, 3 * TRENDS_KEPT)]
