"""A replay held against a truth that is known by construction."""

from dataclasses import replace

import numpy as np
import pytest

from guidance.casebook.case import CaseTruth, Expect, FrameTruth, RunLengths, TipTruth
from guidance.evaluation.alerts import score_alerts
from guidance.evaluation.run import shortfalls
from guidance.evaluation.score import Scorer, dice, fill, match_points
from guidance.records import Alert, AlertKind, AlertState, FrameState, Phase, Priority, View
from guidance.safety.limits import Limits
from tests.unit.safety.scenes import MM_PER_PX, PULSE_S, box, deposit, findings, needle

SIZE = 320
ZONE = {"foramen_S1L": ((100.0, 100.0), (140.0, 100.0), (140.0, 140.0), (100.0, 140.0))}


def truth_frame(
    number: int, leak_mm2: float = 0.0, tip: tuple[float, float] | None = None, shaft_px: float = 200.0
) -> FrameTruth:
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[100:120, 60:90] = 255
    tips = ()
    if tip is not None:
        tips = (TipTruth(id=1, tip_px=tip, back_px=(300.0, 300.0), visible=True, shaft_px=shaft_px),)
    return FrameTruth(
        frame=number,
        t_s=number * PULSE_S,
        pulse=number,
        state=FrameState.LIVE,
        held=False,
        phase=Phase.CEMENT,
        view=View.AP,
        shift_px=(0.0, 0.0),
        rotation_deg=0.0,
        tips=tips,
        leak_mm2={"foramen_S1L": leak_mm2},
        tip_in_zone={"foramen_S1L": tip is not None and min(tip) >= 100 and max(tip) <= 140},
        cement_mm2=600 * MM_PER_PX**2,
        cement=RunLengths.of(mask),
        zones=ZONE,
    )


def truth_of(*frames: FrameTruth) -> CaseTruth:
    return CaseTruth(schema=1, mm_per_px=MM_PER_PX, width_px=SIZE, height_px=SIZE, frames=frames)


def raised(kind: AlertKind, frame: int, zone: str | None = "foramen_S1L") -> Alert:
    return Alert(1, kind, Priority.HIGH, AlertState.RAISED, frame, frame * PULSE_S, zone, None, 5.0, "mm2", kind.value)


def test_perfect_findings_score_perfectly() -> None:
    truth = truth_of(*[truth_frame(i, tip=(200.0, 50.0)) for i in range(4)])
    scorer = Scorer("case", truth, Limits())
    for i in range(4):
        # Outer rings run through the centres of the outermost pixels.
        seen = findings(i + 1, cement=(deposit(60, 100, 29, 19),), needles=(needle(200, 50),))
        scorer.note(replace(seen, frame=i), ())
    scores = scorer.result()
    assert scores.tip_median_px == 0
    assert scores.missed_share == 0
    assert scores.false_needles_per_frame == 0
    assert scores.dice_cement == pytest.approx(1.0)
    assert scores.registration_median_mm == pytest.approx(0.0, abs=1e-9)
    assert scores.state_accuracy == 1
    assert scores.false_alerts == 0


def test_points_are_matched_nearest_first_and_once() -> None:
    pairs = match_points([(0, 0), (10, 0)], [(9, 0), (1, 0)], 20)
    assert {(i, j) for i, j, _ in pairs} == {(0, 1), (1, 0)}
    assert match_points([(0, 0), (1, 0)], [(0, 0)], 20) == [(0, 0, 0.0)]
    assert match_points([(0, 0)], [(50, 0)], 20) == []


def test_dice_is_twice_the_overlap_over_the_sum() -> None:
    a = fill([box(0, 0, 9, 9)], (40, 40))
    b = fill([box(5, 0, 9, 9)], (40, 40))
    assert dice(a, a) == 1
    assert dice(a, b) == pytest.approx(0.5)
    assert dice(np.zeros_like(a), np.zeros_like(a)) == 1


def test_the_delay_of_a_leak_is_counted_in_pulses_from_its_first_true_frame() -> None:
    truth = truth_of(*[truth_frame(i, leak_mm2=5.0 if i >= 3 else 0.0) for i in range(10)])
    score = score_alerts([raised(AlertKind.CEMENT_IN_ZONE, 5)], truth, Limits())
    assert score.delays_pulses == {(AlertKind.CEMENT_IN_ZONE, "foramen_S1L"): 2}
    assert score.false == ()


def test_a_leak_behind_a_shaft_need_not_be_told_before_it_comes_out() -> None:
    def leak(i: int) -> FrameTruth:
        seen_mm2 = {"foramen_S1L": 5.0 if i >= 6 else 1.0}
        return truth_frame(i, leak_mm2=9.0).model_copy(update={"leak_beside_steel_mm2": seen_mm2})

    truth = truth_of(*[leak(i) for i in range(10)])
    late, early = (score_alerts([raised(AlertKind.CEMENT_IN_ZONE, i)], truth, Limits()) for i in (8, 2))
    assert late.delays_of(AlertKind.CEMENT_IN_ZONE) == [2]
    assert early.delays_of(AlertKind.CEMENT_IN_ZONE) == [0]
    assert early.false == ()


def test_a_leak_that_nobody_told_is_missed() -> None:
    truth = truth_of(*[truth_frame(i, leak_mm2=5.0) for i in range(10)])
    assert score_alerts([], truth, Limits()).delays_of(AlertKind.CEMENT_IN_ZONE) == [None]


def test_a_needle_breach_and_an_escape_must_be_told_too() -> None:
    quiet = truth_frame(0)
    dangers = [truth_frame(i, tip=(120.0, 120.0)).model_copy(update={"escape": True}) for i in range(1, 6)]
    told = [raised(AlertKind.NEEDLE_IN_ZONE, 1)]
    score = score_alerts(told, truth_of(quiet, *dangers), Limits())
    assert score.delays_of(AlertKind.NEEDLE_IN_ZONE) == [0]
    assert score.delays_of(AlertKind.CEMENT_ESCAPE) == [None]


@pytest.mark.parametrize(("stay_pulses", "delays"), [(3, []), (4, [None])])
def test_a_tip_that_has_passed_through_a_zone_before_its_alert_is_due_is_no_breach(
    stay_pulses: int, delays: list[int | None]
) -> None:
    inside = [truth_frame(i, tip=(120.0, 120.0)) for i in range(stay_pulses)]
    beyond = [truth_frame(stay_pulses + i, tip=(200.0, 50.0)) for i in range(4)]
    assert score_alerts([], truth_of(*inside, *beyond), Limits()).delays_of(AlertKind.NEEDLE_IN_ZONE) == delays


def test_a_stub_of_a_needle_in_a_zone_need_not_be_told_but_may_be() -> None:
    truth = truth_of(*[truth_frame(i, tip=(120.0, 120.0), shaft_px=9.0 / MM_PER_PX) for i in range(6)])
    score = score_alerts([raised(AlertKind.NEEDLE_IN_ZONE, 2)], truth, Limits())
    assert score.delays_of(AlertKind.NEEDLE_IN_ZONE) == []
    assert score.false == ()


def test_an_alert_of_what_is_not_there_is_false() -> None:
    truth = truth_of(*[truth_frame(i) for i in range(10)])
    alerts = [raised(AlertKind.CEMENT_IN_ZONE, 5), raised(AlertKind.CEMENT_ESCAPE, 6, zone=None)]
    assert score_alerts(alerts, truth, Limits()).false == tuple(alerts)


def test_a_warning_of_cement_that_lies_near_is_true() -> None:
    truth = truth_of(*[truth_frame(i) for i in range(10)])
    assert score_alerts([raised(AlertKind.CEMENT_NEAR_ZONE, 5)], truth, Limits()).false == ()


def test_a_bound_that_is_missed_or_could_not_be_measured_is_a_shortfall() -> None:
    truth = truth_of(truth_frame(0, tip=(200.0, 50.0)))
    scores = Scorer("case", truth, Limits()).result()
    told = shortfalls(scores, Expect(schema=1, tip_median_px=1.5))
    assert told == ["tip_median_px not measured, expected at most 1.5"]
    scores.tip_median_px = 2.0
    assert shortfalls(scores, Expect(schema=1, tip_median_px=1.5)) == ["tip_median_px 2, expected at most 1.5"]
    scores.tip_median_px = 1.0
    assert shortfalls(scores, Expect(schema=1, tip_median_px=1.5)) == []
