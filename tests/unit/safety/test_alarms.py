"""The lifecycle of alerts: told once, never from a single pulse, kept while unknown."""

from guidance.records import Alert, AlertKind, AlertState, Findings, FrameState
from guidance.safety.alarms import Watch
from guidance.safety.limits import AlarmTiming, Limits
from tests.unit.safety.scenes import LOST, deposit, findings, needle

IN_ZONE = (deposit(100, 100, 30, 30),)
NEAR_ZONE = (deposit(60, 100, 32, 10),)


def story(*frames: Findings) -> list[tuple[AlertKind, AlertState, int]]:
    """Every change of an alert: kind, state and the frame it came on."""
    watch = Watch(Limits(), AlarmTiming())
    return [(a.kind, a.state, a.frame) for frame in frames for a in watch.step(frame)]


def active_after(*frames: Findings) -> list[AlertKind]:
    watch = Watch(Limits(), AlarmTiming())
    for frame in frames:
        watch.step(frame)
    return [alert.kind for alert in watch.active]


def test_a_single_pulse_never_alarms() -> None:
    assert story(findings(1, cement=IN_ZONE), *[findings(p) for p in range(2, 20)]) == []


def test_a_single_pulse_shown_many_times_never_alarms() -> None:
    assert story(*[findings(1, cement=IN_ZONE, t_s=i / 60) for i in range(60)]) == []


def test_the_second_pulse_in_a_row_raises_the_alert_once() -> None:
    assert story(*[findings(p, cement=IN_ZONE) for p in range(1, 10)]) == [
        (AlertKind.CEMENT_IN_ZONE, AlertState.RAISED, 2)
    ]


def test_an_alert_is_over_after_five_pulses_without_its_condition() -> None:
    raised = [findings(p, cement=IN_ZONE) for p in (1, 2)]
    gone = [findings(p) for p in range(3, 10)]
    assert story(*raised, *gone)[-1] == (AlertKind.CEMENT_IN_ZONE, AlertState.CLEARED, 7)


def test_a_flickering_condition_stays_one_alert() -> None:
    flicker = [findings(p, cement=IN_ZONE if p < 3 or p % 3 else ()) for p in range(1, 40)]
    assert len(story(*flicker)) == 1


def test_in_zone_takes_the_place_of_near_zone() -> None:
    near = [findings(p, cement=NEAR_ZONE) for p in (1, 2, 3)]
    inside = [findings(p, cement=IN_ZONE) for p in (4, 5, 6)]
    assert story(*near, *inside) == [
        (AlertKind.CEMENT_NEAR_ZONE, AlertState.RAISED, 2),
        (AlertKind.CEMENT_IN_ZONE, AlertState.RAISED, 5),
        (AlertKind.CEMENT_NEAR_ZONE, AlertState.CLEARED, 5),
    ]


def test_a_lesser_alert_is_not_told_while_the_worse_one_for_its_place_is_active() -> None:
    inside = [findings(p, cement=IN_ZONE) for p in (1, 2)]
    shrunk = [findings(p, cement=NEAR_ZONE) for p in (3, 4, 5)]
    assert active_after(*inside, *shrunk) == [AlertKind.CEMENT_IN_ZONE]


def test_an_alert_stays_while_the_zones_are_not_watched() -> None:
    raised = [findings(p, cement=IN_ZONE) for p in (1, 2)]
    lost = [findings(p, registration=LOST) for p in range(3, 30)]
    assert AlertKind.CEMENT_IN_ZONE in active_after(*raised, *lost)


def test_an_alert_stays_while_another_view_is_on_the_screen() -> None:
    raised = [findings(p, cement=IN_ZONE) for p in (1, 2)]
    swung = [findings(p, view_id=1, zones=()) for p in range(3, 30)]
    assert active_after(*raised, *swung) == [AlertKind.CEMENT_IN_ZONE]


def test_an_alert_stays_while_the_picture_is_held() -> None:
    raised = [findings(p, cement=IN_ZONE) for p in (1, 2)]
    held = [findings(2, state=FrameState.HELD, t_s=1.0 + i / 10) for i in range(100)]
    assert active_after(*raised, *held) == [AlertKind.CEMENT_IN_ZONE]


def test_a_technical_alert_ends_with_its_trouble() -> None:
    lost = [findings(1, state=FrameState.NO_SIGNAL, t_s=i / 10) for i in range(5)]
    assert story(*lost, findings(2, t_s=0.6)) == [
        (AlertKind.VIDEO_LOST, AlertState.RAISED, 1),
        (AlertKind.VIDEO_LOST, AlertState.CLEARED, 2),
    ]


def test_acknowledging_one_alert_leaves_the_others() -> None:
    watch = Watch(Limits(), AlarmTiming())
    for p in (1, 2):
        watch.step(findings(p, cement=IN_ZONE, needles=(needle(120, 120),)))
    first, second = watch.active
    acknowledged = watch.acknowledge(first.id)
    assert isinstance(acknowledged, Alert)
    assert acknowledged.state is AlertState.ACKNOWLEDGED
    assert {a.id: a.state for a in watch.active} == {
        first.id: AlertState.ACKNOWLEDGED,
        second.id: AlertState.RAISED,
    }


def test_acknowledging_what_is_not_there_says_so() -> None:
    watch = Watch(Limits(), AlarmTiming())
    watch.step(findings(1))
    assert watch.acknowledge(99) is None


def test_the_worst_alert_stands_first() -> None:
    frames = [findings(p, cement=NEAR_ZONE, needles=(needle(120, 120),), t_s=p * 0.13) for p in (1, 2)]
    assert active_after(*frames) == [AlertKind.NEEDLE_IN_ZONE, AlertKind.CEMENT_NEAR_ZONE]
