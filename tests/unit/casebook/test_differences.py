"""What has changed between two analyses of a case, in words that somebody can go to."""

from dataclasses import replace

import pytest

from guidance.casebook.differences import DifferenceKind, FindingsDifferences, alert_differences
from guidance.records import Alert, AlertKind, AlertState, FrameState, Priority, Scale, ScaleSource
from guidance.wire import AlertMessage, FindingsMessage, alert_message, findings_message
from tests.unit.safety.scenes import deposit, findings, needle


def raised(t_s: float, zone: str = "foramen_S1L", state: AlertState = AlertState.RAISED) -> AlertMessage:
    return alert_message(
        Alert(1, AlertKind.CEMENT_IN_ZONE, Priority.HIGH, state, 0, t_s, zone, None, 4.2, "mm2", f"Cement in {zone}")
    )


@pytest.mark.parametrize(
    ("then", "now", "kinds"),
    [
        ([10.0], [10.1], []),
        ([10.0], [12.0], [DifferenceKind.ALERT_MOVED]),
        ([10.0], [], [DifferenceKind.ALERT_LOST]),
        ([], [10.0], [DifferenceKind.ALERT_GAINED]),
        ([10.0], [30.0], [DifferenceKind.ALERT_LOST, DifferenceKind.ALERT_GAINED]),
        ([10.0, 12.0], [10.05], [DifferenceKind.ALERT_LOST]),
    ],
)
def test_alerts_are_gained_lost_or_moved(then: list[float], now: list[float], kinds: list[DifferenceKind]) -> None:
    found = alert_differences([raised(t_s) for t_s in then], [raised(t_s) for t_s in now])
    assert [one.kind for one in found] == kinds


def test_an_alert_of_another_zone_is_another_one_and_clearing_is_none() -> None:
    found = alert_differences([raised(10.0), raised(11.0, state=AlertState.CLEARED)], [raised(10.0, "foramen_S2L")])
    assert {one.kind for one in found} == {DifferenceKind.ALERT_LOST, DifferenceKind.ALERT_GAINED}


def test_an_alert_that_moved_says_by_how_much_and_which_way() -> None:
    (found,) = alert_differences([raised(10.0)], [raised(11.5)])
    assert (found.from_s, found.to_s) == (10.0, 11.5)
    assert "1.5 s later now" in found.text


def seen(
    t_s: float, tip_x: float | None = 50.0, mm2: float = 100.0, state: FrameState = FrameState.LIVE
) -> FindingsMessage:
    needles = () if tip_x is None else (needle(tip_x, 50.0),)
    one = findings(cement=(replace(deposit(0, 0, 9, 9), area_mm2=mm2),), needles=needles)
    return findings_message(replace(one, t_s=t_s, state=state, scale=Scale(0.4, ScaleSource.PLAN)))


def test_a_tip_an_area_and_a_count_that_differ_are_each_told_once_for_as_long_as_they_do() -> None:
    found = FindingsDifferences()
    for i in range(10):
        found.note(seen(i / 10), seen(i / 10, tip_x=60.0, mm2=130.0))
    found.note(seen(5.0), seen(5.0, tip_x=None))
    told = found.found()
    assert [(one.kind, one.from_s, one.to_s) for one in told] == [
        (DifferenceKind.CEMENT_AREA, 0.0, 0.9),
        (DifferenceKind.NEEDLE_TIP, 0.0, 0.9),
        (DifferenceKind.NEEDLE_COUNT, 5.0, 5.0),
    ]
    assert told[1].text == "a tip lies 4.0 mm apart"


def test_small_differences_and_frames_that_are_not_live_say_nothing() -> None:
    found = FindingsDifferences()
    found.note(seen(0.0), seen(0.0, tip_x=52.0, mm2=105.0))
    found.note(seen(1.0, state=FrameState.HELD), seen(1.0, tip_x=None, mm2=0.0))
    assert found.found() == []
