"""What is a condition, by the contract's table of alert kinds."""

from collections.abc import Callable

import numpy as np
import pytest

from guidance.records import AlertKind, Condition, Findings, FrameState, Priority, Registration, Zone, ZoneKind
from guidance.safety.limits import AlarmTiming, Limits
from guidance.safety.rules import History, assess
from tests.unit.safety.scenes import FORAMEN, LOST, deposit, findings, needle, root


def conditions(*frames: Findings) -> tuple[Condition, ...]:
    """The conditions on the last of these frames."""
    history = History()
    for frame in frames:
        seen = assess(frame, Limits(), AlarmTiming(), history).conditions
    return seen


def kinds(*frames: Findings) -> set[AlertKind]:
    return {condition.kind for condition in conditions(*frames)}


def test_four_square_millimetres_in_a_forbidden_zone_are_a_breach() -> None:
    (breach,) = conditions(findings(cement=(deposit(90, 100, 20, 10),)))
    assert breach.kind is AlertKind.CEMENT_IN_ZONE
    assert breach.priority is Priority.HIGH
    assert breach.zone == "foramen_S1L"
    assert breach.unit == "mm2"
    # 10 px x 10 px of 0.25 mm
    assert breach.value == pytest.approx(6.25, rel=0.1)


def test_less_than_the_threshold_in_a_zone_warns_that_cement_is_at_it() -> None:
    (near,) = conditions(findings(cement=(deposit(80, 100, 23, 10),)))
    assert near.kind is AlertKind.CEMENT_NEAR_ZONE
    assert near.value == 0


def test_cement_within_three_millimetres_of_a_zone_warns() -> None:
    (near,) = conditions(findings(cement=(deposit(60, 100, 32, 10),)))
    assert near.kind is AlertKind.CEMENT_NEAR_ZONE
    assert near.priority is Priority.MEDIUM
    assert near.value == pytest.approx(2.0)


def test_cement_far_from_a_zone_is_no_condition() -> None:
    assert not conditions(findings(cement=(deposit(20, 100, 30, 10),)))


def growing_towards(right_px: Callable[[int], float], pulses: int = 20, y: float = 110) -> list[Findings]:
    """A deposit of 10 px height whose right end lies at ``right_px`` on each pulse; the zone begins at 100."""
    return [findings(k, cement=(deposit(-300, y, 300 + right_px(k), 10),)) for k in range(1, pulses + 1)]


def test_a_sustained_approach_warns_while_it_is_still_far() -> None:
    # From 10 mm off with 3 mm/s, after two seconds at 4 mm.
    (near,) = conditions(*growing_towards(lambda k: 60 + 1.6 * k, 15))
    assert near.kind is AlertKind.CEMENT_NEAR_ZONE
    assert near.value == pytest.approx(4.0)


def test_a_deposit_that_comes_out_of_the_noise_is_no_approach() -> None:
    assert not conditions(*growing_towards(lambda k: min(80, 20 + 15 * k), 7))


def test_an_outline_that_catches_up_after_it_was_held_is_no_approach() -> None:
    held = [findings(k, cement=(deposit(0, 110, 70, 10, is_held=True),)) for k in range(1, 12)]
    caught_up = [findings(k, cement=(deposit(0, 110, 70 + 2 * min(k - 11, 7), 10),)) for k in range(12, 30)]
    assert not any(conditions(*held, *caught_up[:n]) for n in range(1, len(caught_up)))


def test_an_approach_that_slows_down_does_not_warn() -> None:
    assert not conditions(*growing_towards(lambda k: 82 - 60 * 0.75**k, 16))


def test_a_run_that_passes_by_a_zone_does_not_warn() -> None:
    # Below the zone's lower edge by 5 mm, from left to right.
    assert not conditions(*growing_towards(lambda k: 20 + 3 * k, 25, y=160))


def test_a_fast_front_that_runs_away_from_a_zone_does_not_warn() -> None:
    frames = [
        findings(pulse, cement=(deposit(80 - 20 * pulse, 200, 60 + 20 * pulse, 10, front_mm_per_s=37.0),))
        for pulse in range(1, 5)
    ]
    assert not conditions(*frames)


def test_a_target_zone_never_alarms() -> None:
    target = Zone("ala_L", ZoneKind.TARGET, FORAMEN.polygon_px)
    assert not conditions(findings(cement=(deposit(100, 100, 30, 30),), zones=(target,)))


def test_cement_in_a_caution_zone_warns_and_is_no_breach() -> None:
    caution = Zone("posterior_quarter", ZoneKind.CAUTION, FORAMEN.polygon_px)
    assert kinds(findings(cement=(deposit(100, 100, 30, 30),), zones=(caution,))) == {AlertKind.CEMENT_NEAR_ZONE}


def test_a_thin_fast_run_is_an_escape_without_any_zone() -> None:
    run = deposit(0, 0, 10, 10, front_mm_per_s=12.0, run_mm=11.0, front_px=(10.0, 5.0))
    (escape,) = conditions(findings(cement=(run,), zones=()))
    assert (escape.kind, escape.value, escape.unit) == (AlertKind.CEMENT_ESCAPE, 12.0, "mm/s")


def test_an_escape_stays_a_condition_when_its_front_has_come_to_rest() -> None:
    running = [
        findings(
            pulse,
            cement=(
                deposit(0, 0, 10, 10, front_mm_per_s=speed, run_mm=11.0, run_log_ratio=ratio, front_px=(10.0, 5.0)),
            ),
            zones=(),
        )
        for pulse, speed, ratio in ((1, 12.0, 3.0), (2, 8.0, 9.0), (3, 3.0, 2.5))
    ]
    resting = findings(4, cement=(deposit(0, 0, 10, 10, front_mm_per_s=1.0),), zones=())
    (escape,) = conditions(*running, resting)
    assert (escape.kind, escape.value) == (AlertKind.CEMENT_ESCAPE, 12.0)


def test_a_run_that_only_one_pulse_shows_is_no_escape_on_the_next() -> None:
    running = findings(
        1, cement=(deposit(0, 0, 10, 10, front_mm_per_s=12.0, run_mm=11.0, front_px=(10.0, 5.0)),), zones=()
    )
    assert not conditions(running, findings(2, cement=(deposit(0, 0, 10, 10),), zones=()))


def test_a_run_that_its_pulses_do_not_bear_out_is_no_escape_until_they_do() -> None:
    def running(pulse: int, ratio: float) -> Findings:
        run = deposit(0, 0, 10, 10, front_mm_per_s=12.0, run_mm=11.0, run_log_ratio=ratio, front_px=(10.0, 5.0))
        return findings(pulse, cement=(run,), zones=())

    unlikely = [running(pulse, 3.0) for pulse in (1, 2, 3)]
    assert not conditions(*unlikely)
    assert conditions(*unlikely, running(4, 8.0))


def test_a_front_that_is_told_in_another_place_each_time_is_noise_and_no_escape() -> None:
    def running(pulse: int, x: float) -> Findings:
        run = deposit(0, 0, 10, 10, front_mm_per_s=12.0, run_mm=11.0, run_log_ratio=9.0, front_px=(x, 5.0))
        return findings(pulse, cement=(run,), zones=())

    assert conditions(running(1, 60))
    assert not conditions(running(1, 60), running(2, 120))
    assert not conditions(running(1, 60), running(2, 120), running(3, 200))


def test_a_run_is_an_escape_although_another_front_is_told_in_between() -> None:
    def running(pulse: int, x: float) -> Findings:
        run = deposit(0, 0, 10, 10, front_mm_per_s=12.0, run_mm=11.0, run_log_ratio=9.0, front_px=(x, 5.0))
        return findings(pulse, cement=(run,), zones=())

    assert conditions(running(1, 60), running(2, 120), running(3, 66))


def test_a_run_goes_on_where_the_anatomy_has_moved_to() -> None:
    def running(pulse: int, x: float) -> Findings:
        run = deposit(0, 0, 10, 10, front_mm_per_s=12.0, run_mm=11.0, run_log_ratio=9.0, front_px=(x, 5.0))
        moved = Registration((40.0 * pulse, 0.0), 0.0, 0.95, ok=True)
        return findings(pulse, cement=(run,), zones=(), registration=moved)

    assert conditions(running(1, 60), running(2, 104))
    assert not conditions(running(1, 60), running(2, 60))


def running_to(x: float, pulse: int, ratio: float = 9.0) -> Findings:
    """A deposit far from the zone, which begins at 100, with a run whose front lies at ``x``."""
    run = deposit(20, 115, 20, 10, front_mm_per_s=12.0, run_mm=11.0, run_log_ratio=ratio, front_px=(x, 120.0))
    return findings(pulse, cement=(run,))


def test_a_run_that_is_followed_into_a_zone_breaches_it_before_it_can_be_outlined_there() -> None:
    frames = [running_to(110, 1), running_to(117, 2)]
    assert AlertKind.CEMENT_NEAR_ZONE in kinds(frames[0])
    (breach,) = (c for c in conditions(*frames) if c.kind is AlertKind.CEMENT_IN_ZONE)
    # 17 px of 0.25 mm, taken to be 1 mm wide
    assert breach.value == pytest.approx(4.25)


def test_a_run_that_has_come_to_rest_in_a_zone_is_there_still() -> None:
    resting = findings(4, cement=(deposit(20, 115, 20, 10),))
    assert AlertKind.CEMENT_IN_ZONE in kinds(running_to(110, 1), running_to(117, 2), running_to(120, 3), resting)


def test_a_run_that_its_pulses_do_not_bear_out_breaches_no_zone() -> None:
    frames = [running_to(117, pulse, ratio=3.0) for pulse in (1, 2, 3)]
    assert AlertKind.CEMENT_IN_ZONE not in kinds(*frames[1:], findings(4, cement=(deposit(20, 115, 20, 10),)))


def test_a_thin_arm_that_grows_slowly_is_no_escape() -> None:
    assert not conditions(
        findings(cement=(deposit(0, 0, 10, 10, front_mm_per_s=1.0, run_mm=11.0, front_px=(10.0, 5.0)),), zones=())
    )


def test_cement_beside_a_mapped_root_warns() -> None:
    near = findings(cement=(deposit(300, 300, 20, 20),), roots=(root(324, 300, 10, 60),))
    assert kinds(near) == {AlertKind.CEMENT_NEAR_ROOT}


def test_a_tip_in_a_forbidden_zone_is_told_with_its_depth() -> None:
    (breach,) = conditions(findings(needles=(needle(108, 120),)))
    assert breach.kind is AlertKind.NEEDLE_IN_ZONE
    assert breach.value == pytest.approx(2.0)
    assert breach.needle == 1


def test_a_tip_told_within_its_error_of_a_zone_is_told_at_its_edge() -> None:
    # Half a millimetre before the edge: one tip in twenty lies farther off than that.
    (breach,) = conditions(findings(needles=(needle(98, 120),)))
    assert breach.kind is AlertKind.NEEDLE_IN_ZONE
    assert breach.value == 0.0
    assert breach.text == "Needle 1 at the edge of foramen S1L"


def test_a_tip_that_approaches_a_zone_warns() -> None:
    frames = [findings(pulse, needles=(needle(80 + 2 * pulse, 120),)) for pulse in range(1, 6)]
    assert AlertKind.NEEDLE_NEAR_ZONE in kinds(*frames)


def test_a_tip_that_rests_beside_a_zone_does_not_warn() -> None:
    frames = [findings(pulse, needles=(needle(92, 120),)) for pulse in range(1, 20)]
    assert AlertKind.NEEDLE_NEAR_ZONE not in kinds(*frames)


def test_a_tip_that_withdraws_from_a_zone_does_not_warn() -> None:
    frames = [findings(pulse, needles=(needle(98 - pulse, 120),)) for pulse in range(1, 8)]
    assert AlertKind.NEEDLE_NEAR_ZONE not in kinds(*frames)


def seen_on(pulses: str) -> list[Findings]:
    """A needle in the zone from the tenth pulse of its view on: on pulses marked with a hash, predicted on others."""
    empty = [findings(pulse) for pulse in range(1, 10)]
    told = [
        findings(pulse, needles=(needle(110, 110, predicted=mark != "#"),))
        for pulse, mark in enumerate(pulses, start=10)
    ]
    return [*empty, *told]


@pytest.mark.parametrize(
    ("pulses", "alarms"),
    [
        ("##", True),
        ("#-#", False),
        ("#-#########", False),
        ("#-##########", True),
        ("#-##-#######-#-###-#-####-####", False),
        ("###############-#", True),
        ("##########---#", False),
    ],
    ids=["at once", "missed at once", "nine since", "ten since", "as a bone's edge", "missed once after long", "lost"],
)
def test_a_needle_that_comes_into_sight_alarms_while_it_is_seen_steadily(pulses: str, alarms: bool) -> None:
    assert (kinds(*seen_on(pulses)) == {AlertKind.NEEDLE_IN_ZONE}) is alarms


def test_a_predicted_tip_never_alarms() -> None:
    assert not conditions(findings(needles=(needle(120, 120, predicted=True),)))


def test_a_tip_near_a_mapped_root_warns() -> None:
    assert kinds(findings(needles=(needle(300, 310),), roots=(root(308, 300, 10, 60),))) == {AlertKind.NEEDLE_NEAR_ROOT}


def test_zones_are_not_judged_where_registration_is_lost() -> None:
    lost = [
        findings(pulse, cement=(deposit(100, 100, 30, 30),), registration=LOST, t_s=pulse * 0.2)
        for pulse in range(1, 4)
    ]
    assert kinds(*lost) == {AlertKind.REFERENCE_LOST}


@pytest.mark.parametrize(
    ("state", "kind", "grace_s"),
    [
        (FrameState.NO_SIGNAL, AlertKind.VIDEO_LOST, 0.25),
        (FrameState.FROZEN, AlertKind.VIDEO_FROZEN, 1.0),
        (FrameState.CORRUPT, AlertKind.VIDEO_CORRUPT, 0.25),
    ],
)
def test_video_trouble_is_told_after_its_grace_time(state: FrameState, kind: AlertKind, grace_s: float) -> None:
    begun = findings(state=state, t_s=10.0)
    within = findings(state=state, t_s=10.0 + 0.9 * grace_s)
    beyond = findings(state=state, t_s=10.0 + 1.1 * grace_s)
    assert kind not in kinds(begun, within)
    assert kind in kinds(begun, within, beyond)


def test_a_held_picture_is_no_trouble() -> None:
    held = [findings(state=FrameState.HELD, t_s=float(second)) for second in range(60)]
    assert not conditions(*held)


def test_a_frame_that_repeats_a_pulse_repeats_its_conditions() -> None:
    live = findings(1, cement=(deposit(100, 100, 30, 30),))
    held = findings(1, state=FrameState.HELD, t_s=5.0)
    assert kinds(live, held) == {AlertKind.CEMENT_IN_ZONE}


def test_conditions_do_not_depend_on_where_the_picture_lies() -> None:
    moved = np.array([1000.0, 500.0])
    zone = Zone("z", ZoneKind.FORBIDDEN, FORAMEN.polygon_px + moved)
    (breach,) = conditions(findings(cement=(deposit(1090, 600, 20, 10),), zones=(zone,)))
    assert breach.value == pytest.approx(6.25, rel=0.1)
