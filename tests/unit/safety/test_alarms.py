"""The lifecycle of alerts: told once, never from a single pulse, kept while unknown."""

import pytest

from guidance.records import TECHNICAL, AlertKind, AlertState, Audio, Findings, FrameState, Priority
from guidance.safety.alarms import NoSuchAlertError, Watch, carried_over
from guidance.safety.equipment import Equipment, equipment_conditions
from guidance.safety.limits import AlarmTiming, Limits
from tests.unit.safety.scenes import LOST, MM_PER_PX, SOUND, deposit, findings, needle

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


def test_a_technical_alert_ends_when_its_trouble_has_been_over_for_its_release_time() -> None:
    lost = [findings(1, state=FrameState.NO_SIGNAL, t_s=i / 10) for i in range(5)]
    back = [findings(2 + i, t_s=0.5 + i / 10) for i in range(8)]
    assert story(*lost, *back) == [
        (AlertKind.VIDEO_LOST, AlertState.RAISED, 1),
        (AlertKind.VIDEO_LOST, AlertState.CLEARED, 7),
    ]


def test_video_that_flutters_is_one_alert() -> None:
    flutter = [findings(i + 1, state=FrameState.NO_SIGNAL if i % 8 else FrameState.LIVE, t_s=i / 10) for i in range(40)]
    assert len(story(*flutter)) == 1


def raised_watch(**timing: float) -> Watch:
    """A watch with cement in the foramen on pulses 1 and 2."""
    watch = Watch(Limits(), AlarmTiming(**timing))
    for p in (1, 2):
        watch.step(findings(p, cement=IN_ZONE))
    return watch


def test_acknowledging_one_alert_leaves_the_others() -> None:
    watch = Watch(Limits(), AlarmTiming())
    for p in (1, 2):
        watch.step(findings(p, cement=IN_ZONE, needles=(needle(120, 120),)))
    first, second = watch.active
    (acknowledged,) = watch.acknowledge(first.id, "the radiographer")
    assert (acknowledged.state, acknowledged.by) == (AlertState.ACKNOWLEDGED, "the radiographer")
    assert {a.id: a.state for a in watch.active} == {
        first.id: AlertState.ACKNOWLEDGED,
        second.id: AlertState.RAISED,
    }
    assert watch.audio.sounding is Priority.HIGH


def test_an_acknowledged_alert_stands_behind_one_that_waits() -> None:
    watch = Watch(Limits(), AlarmTiming())
    for p in (1, 2):
        watch.step(findings(p, cement=IN_ZONE, needles=(needle(120, 120),)))
    first, second = watch.active
    watch.acknowledge(first.id, "a")
    assert [a.id for a in watch.active] == [second.id, first.id]


def test_what_waits_is_heard_also_behind_a_worse_alert_that_was_acknowledged() -> None:
    watch = raised_watch()
    watch.acknowledge(1, "a")
    for i in range(6):
        watch.step(findings(3 + i, registration=LOST))
    assert [(a.kind, a.state) for a in watch.active] == [
        (AlertKind.CEMENT_IN_ZONE, AlertState.ACKNOWLEDGED),
        (AlertKind.REFERENCE_LOST, AlertState.RAISED),
    ]
    assert watch.audio.sounding is Priority.MEDIUM


def test_acknowledging_what_is_not_there_says_what_is() -> None:
    with pytest.raises(NoSuchAlertError, match=r"alert 99: not active; expected one of \[1\]"):
        raised_watch().acknowledge(99, "a")


def test_acknowledging_twice_is_one_change() -> None:
    watch = raised_watch()
    assert len(watch.acknowledge(1, "a")) == 1
    assert watch.acknowledge(1, "b") == ()


def test_a_high_alert_whose_condition_is_gone_stays_until_acknowledged() -> None:
    watch = raised_watch()
    changes = [change for p in range(3, 60) for change in watch.step(findings(p))]
    assert [(c.state, c.active) for c in changes] == [(AlertState.CLEARED, True)]
    assert watch.audio.sounding is Priority.HIGH
    (last,) = watch.acknowledge(1, "a")
    assert (last.state, last.active) == (AlertState.ACKNOWLEDGED, False)
    assert watch.active == ()
    assert watch.audio.sounding is None


def test_an_acknowledged_alert_ends_with_its_condition() -> None:
    watch = raised_watch()
    watch.acknowledge(1, "a")
    (last,) = [change for p in range(3, 20) for change in watch.step(findings(p))]
    assert (last.state, last.active) == (AlertState.CLEARED, False)


def test_a_medium_alert_ends_by_itself() -> None:
    near = [findings(p, cement=NEAR_ZONE) for p in (1, 2)]
    assert not active_after(*near, *[findings(p) for p in range(3, 20)])


def test_a_latched_alert_whose_condition_returns_is_raised_again_as_the_same_alert() -> None:
    watch = raised_watch()
    for p in range(3, 20):
        watch.step(findings(p))
    (again,) = [change for p in (20, 21, 22) for change in watch.step(findings(p, cement=IN_ZONE))]
    assert (again.id, again.state, again.frame) == (1, AlertState.RAISED, 21)
    assert again.first_seen_t_s == findings(20).t_s
    assert len(watch.active) == 1


def test_a_near_zone_alert_is_told_beside_a_latched_one_of_the_same_zone() -> None:
    watch = raised_watch()
    for p in range(3, 20):
        watch.step(findings(p, cement=NEAR_ZONE))
    assert [(a.kind, a.state) for a in watch.active] == [
        (AlertKind.CEMENT_IN_ZONE, AlertState.CLEARED),
        (AlertKind.CEMENT_NEAR_ZONE, AlertState.RAISED),
    ]


def test_an_alert_tells_since_when_its_condition_was_seen() -> None:
    (alert,) = raised_watch().active
    assert alert.first_seen_t_s == findings(1).t_s
    assert alert.t_s == findings(2).t_s


def test_what_has_alarmed_is_not_over_just_beyond_its_threshold() -> None:
    # 16 px x 4 px of 0.25 mm are exactly 4 mm2 and 13 px x 4 px 3.25: less than raises, more than 75 %.
    raised = [findings(p, cement=(deposit(100, 100, 30, 30),)) for p in (1, 2)]
    less = [findings(p, cement=(deposit(110, 110, 13, 4),)) for p in range(3, 30)]
    gone = [findings(p, cement=(deposit(110, 110, 11, 4),)) for p in range(30, 60)]
    assert len(story(*raised, *less)) == 1
    assert (AlertKind.CEMENT_IN_ZONE, AlertState.CLEARED, 34) in story(*raised, *less, *gone)


def test_what_has_not_alarmed_needs_its_whole_threshold() -> None:
    less = [findings(p, cement=(deposit(110, 110, 13, 4),)) for p in range(1, 30)]
    assert AlertKind.CEMENT_IN_ZONE not in active_after(*less)


@pytest.mark.parametrize(("gap_mm", "active"), [(3.4, True), (3.6, False)])
def test_a_near_alert_ends_half_a_millimetre_beyond_its_distance(gap_mm: float, active: bool) -> None:
    near = [findings(p, cement=NEAR_ZONE) for p in (1, 2)]
    left = 100 - gap_mm / MM_PER_PX - 40
    away = [findings(p, cement=(deposit(left, 100, 40, 10),)) for p in range(3, 20)]
    assert bool(active_after(*near, *away)) is active


def test_an_audio_pause_counts_down_and_ends() -> None:
    watch = raised_watch(audio_pause_s=20)
    watch.pause_audio()
    assert watch.audio == Audio(None, 20)
    start_s = findings(2).t_s
    for second in range(1, 19):
        watch.step(findings(2, state=FrameState.HELD, t_s=start_s + second))
    assert watch.audio == Audio(None, pytest.approx(2))
    for second in (19, 21):
        watch.step(findings(2, state=FrameState.HELD, t_s=start_s + second))
    assert watch.audio == Audio(Priority.HIGH, 0)


def test_a_new_alert_ends_the_audio_pause() -> None:
    watch = raised_watch()
    watch.pause_audio()
    for p in (3, 4):
        watch.step(findings(p, cement=IN_ZONE, needles=(needle(120, 120),)))
    assert watch.audio == Audio(Priority.HIGH, 0)


def test_an_escalation_ends_the_audio_pause() -> None:
    watch = Watch(Limits(), AlarmTiming())
    for p in (1, 2):
        watch.step(findings(p, cement=NEAR_ZONE))
    watch.pause_audio()
    for p in (3, 4):
        watch.step(findings(p, cement=IN_ZONE))
    assert watch.audio == Audio(Priority.HIGH, 0)


def test_an_alert_that_is_still_the_same_does_not_end_the_audio_pause() -> None:
    watch = raised_watch()
    watch.pause_audio()
    for p in range(3, 20):
        watch.step(findings(p, cement=IN_ZONE))
    assert watch.audio.sounding is None
    assert watch.audio.paused_s > 0


def test_an_acknowledged_leak_that_doubles_is_raised_again() -> None:
    watch = Watch(Limits(), AlarmTiming())
    for p in (1, 2):
        watch.step(findings(p, cement=(deposit(110, 110, 16, 6),)))
    watch.acknowledge(1, "a")
    assert not watch.step(findings(3, cement=(deposit(110, 110, 16, 11),)))
    assert not watch.step(findings(4, cement=(deposit(110, 110, 16, 13),)))
    (again,) = watch.step(findings(5, cement=(deposit(110, 110, 16, 13),)))
    assert (again.id, again.state, again.by) == (1, AlertState.RAISED, None)


def test_an_acknowledged_tip_that_goes_deeper_is_raised_again() -> None:
    watch = Watch(Limits(), AlarmTiming())
    for p in (1, 2):
        watch.step(findings(p, needles=(needle(102, 120),)))
    watch.acknowledge(1, "a")
    changes = [c for p in (3, 4, 5) for c in watch.step(findings(p, needles=(needle(112, 120),)))]
    assert [(c.state, c.frame) for c in changes] == [(AlertState.RAISED, 4)]


def test_an_acknowledged_high_alert_is_raised_again_while_it_lasts() -> None:
    watch = raised_watch(renotify_s=60)
    watch.acknowledge(1, "a")
    start_s = findings(2).t_s
    held = [findings(2, state=FrameState.HELD, t_s=start_s + second) for second in range(1, 100)]
    assert [c.t_s - start_s for frame in held for c in watch.step(frame)] == [60]


@pytest.mark.parametrize("jump_s", [-3600.0, 3600.0])
def test_a_clock_that_is_set_neither_drops_nor_repeats_an_alert(jump_s: float) -> None:
    steady = [findings(p, cement=IN_ZONE) for p in range(1, 10)]
    jumped = [findings(p, cement=IN_ZONE, t_s=p * 0.13 + jump_s) for p in range(10, 40)]
    assert len(story(*steady, *jumped)) == 1


@pytest.mark.parametrize("jump_s", [-3600.0, 3600.0])
def test_lost_video_is_one_alert_whatever_is_done_to_the_clock(jump_s: float) -> None:
    lost = [findings(1, state=FrameState.NO_SIGNAL, t_s=100 + i / 10) for i in range(10)]
    jumped = [findings(1, state=FrameState.NO_SIGNAL, t_s=101 + jump_s + i / 10) for i in range(10)]
    assert [kind for kind, _, _ in story(*lost, *jumped)] == [AlertKind.VIDEO_LOST]


def test_a_clock_set_back_by_an_hour_does_not_prolong_the_audio_pause() -> None:
    watch = raised_watch(audio_pause_s=20)
    watch.step(findings(2, state=FrameState.HELD, t_s=5000.0))
    watch.pause_audio()
    for second in range(25):
        watch.step(findings(2, state=FrameState.HELD, t_s=1400.0 + second))
    assert watch.audio == Audio(Priority.HIGH, 0)


def test_a_high_alert_is_carried_into_the_next_case_until_acknowledged() -> None:
    before = raised_watch()
    before.acknowledge(1, "a")
    watch = Watch(Limits(), AlarmTiming(), carried_over(before.active))
    for p in range(1, 30):
        watch.step(findings(p))
    (alert,) = watch.active
    assert (alert.state, alert.by, alert.text) == (
        AlertState.RAISED,
        None,
        "Cement in foramen S1L: 57.2 mm² (before watching broke off)",
    )
    (last,) = watch.acknowledge(alert.id, "b")
    assert not last.active
    assert not watch.active


def test_what_is_carried_over_and_seen_again_is_one_alert() -> None:
    watch = Watch(Limits(), AlarmTiming(), carried_over(raised_watch().active))
    for p in range(1, 5):
        watch.step(findings(p, cement=IN_ZONE))
    (alert,) = watch.active
    assert alert.text == "Cement in foramen S1L: 57.2 mm²"


def test_a_new_alert_takes_no_number_of_one_that_was_carried_over() -> None:
    watch = Watch(Limits(), AlarmTiming(), carried_over(raised_watch().active))
    for p in (1, 2):
        watch.step(findings(p, needles=(needle(120, 120),)))
    assert sorted(alert.id for alert in watch.active) == [1, 2]


def test_only_clinical_alerts_of_high_priority_are_carried_over() -> None:
    watch = Watch(Limits(), AlarmTiming())
    for i in range(10):
        watch.step(findings(1 + i, cement=NEAR_ZONE, registration=LOST if i > 3 else SOUND))
    assert {alert.kind for alert in watch.active} == {AlertKind.CEMENT_NEAR_ZONE, AlertKind.REFERENCE_LOST}
    assert carried_over(watch.active) == ()


def test_a_technical_alert_of_high_priority_latches_where_it_is_set_so() -> None:
    watch = Watch(Limits(), AlarmTiming(latch_technical=True))
    for i in range(20):
        watch.step(findings(1 + i, state=FrameState.NO_SIGNAL if i < 5 else FrameState.LIVE, t_s=i / 5))
    assert [(a.kind, a.state) for a in watch.active] == [(AlertKind.VIDEO_LOST, AlertState.CLEARED)]


def test_trouble_with_the_equipment_is_told_beside_what_is_seen() -> None:
    watch = Watch(Limits(), AlarmTiming())
    trouble = Equipment(disk_free_mb=3.0, recorder_fault="disk full", silent_s=(("nurse call", 4.0),))
    for p in (1, 2):
        watch.step(findings(p, cement=IN_ZONE), tuple(equipment_conditions(trouble, Limits())))
    assert [(a.kind, a.subject) for a in watch.active] == [
        (AlertKind.CEMENT_IN_ZONE, None),
        (AlertKind.SUBSCRIBER_LOST, "nurse call"),
        (AlertKind.RECORDER_STOPPED, None),
        (AlertKind.DISK_FILLING, None),
    ]
    assert all((a.kind in TECHNICAL) is (a.kind is not AlertKind.CEMENT_IN_ZONE) for a in watch.active)


def test_the_worst_alert_stands_first() -> None:
    frames = [findings(p, cement=NEAR_ZONE, needles=(needle(120, 120),), t_s=p * 0.13) for p in (1, 2)]
    assert active_after(*frames) == [AlertKind.NEEDLE_IN_ZONE, AlertKind.CEMENT_NEAR_ZONE]
