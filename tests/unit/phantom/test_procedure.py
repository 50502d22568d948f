"""The procedure: what its frames, its plan and its truth have to do with each other."""

from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from guidance.casebook.case import FrameTruth
from guidance.phantom.carm import CArm
from guidance.phantom.instruments import BoneNeedle
from guidance.phantom.procedure import Procedure, _visible_apex_px
from guidance.phantom.scenario import parse_scenario
from guidance.phantom.timeline import Moment
from guidance.phantom.zones import clip_to_frame
from guidance.plan import PlanFile, check_zones_inside
from guidance.records import FrameState, View
from guidance.vision.geometry import RigidMotion

SIDE = 192

SCENARIO = """
title = "everything, small and short"
may_alarm = true
[video]
duration_s = 8
size_px = 192
pulse_hz = 3
video_hz = 6
dose_ur = 50
[breathing]
amplitude_mm = 3
nod_deg = 1.0
per_minute = 30
[[contrast]]
root = "S1L"
start_s = 0.3
[[needles]]
target = "ala_L"
remaining_mm = 20
strokes = [{ start_s = 0.5, end_s = 1.0, remaining_mm = 0 }]
[[cement]]
ml = 1.6
start_s = 1.2
end_s = 3.2
leak = "foramen"
leak_after_ml = 0.5
[[intervals]]
state = "held"
start_s = 3.5
end_s = 4.0
[[intervals]]
state = "frozen"
start_s = 4.5
end_s = 5.0
[[swings]]
view = "lateral"
start_s = 5.0
end_s = 6.0
[[swings]]
view = "ap"
start_s = 6.6
end_s = 7.0
beam_on = true
"""

Played = list[tuple[Moment, NDArray[np.uint8], FrameTruth]]


@lru_cache(maxsize=1)
def played() -> tuple[Procedure, Played]:
    procedure = Procedure(parse_scenario(SCENARIO, "test"))
    return procedure, [(m, pixels.copy(), procedure.truth(m)) for m, pixels in procedure.frames()]


def truth_at(t_s: float) -> FrameTruth:
    return next(truth for _, _, truth in played()[1] if truth.t_s >= t_s - 1e-6)


def test_frames_are_counted_and_of_the_promised_size() -> None:
    procedure, frames = played()
    assert [m.frame for m, _, _ in frames] == list(range(48))
    assert {pixels.shape for _, pixels, _ in frames} == {procedure.size_px[::-1]}


def test_each_pulse_is_shown_twice_and_the_next_one_differs() -> None:
    frames = played()[1]
    assert np.array_equal(frames[0][1][40:150], frames[1][1][40:150])
    assert not np.array_equal(frames[1][1][40:150], frames[2][1][40:150])


def test_the_needle_is_dark_at_its_true_tip_and_the_tip_rests_on_its_target() -> None:
    _, pixels, truth = next(f for f in played()[1] if f[2].t_s >= 1.1)
    tip, back = np.array(truth.tips[0].tip_px), np.array(truth.tips[0].back_px)
    along = (back - tip) / np.linalg.norm(back - tip)
    x, y = np.round(tip + 8 * along).astype(int)
    beyond = np.round(tip - 8 * along).astype(int)
    assert truth.tips[0].visible
    assert int(pixels[y, x]) + 40 < int(pixels[beyond[1], beyond[0]])


def test_the_leak_begins_after_the_deposit_and_is_told_by_its_zone() -> None:
    assert truth_at(1.5).cement_mm2 > 5
    assert truth_at(1.5).leak_mm2["foramen_S1L"] == 0
    assert truth_at(3.4).leak_mm2["foramen_S1L"] > 4
    assert truth_at(3.4).leak_mm2["foramen_S1R"] == 0
    assert 0 < truth_at(3.4).leak_beside_steel_mm2["foramen_S1L"] <= truth_at(3.4).leak_mm2["foramen_S1L"]
    assert [truth_at(t).escape for t in (1.5, 3.4)] == [False, True]


def test_the_cement_mask_is_where_the_picture_has_become_darker() -> None:
    frames = played()[1]
    before = next(f for f in frames if f[2].t_s >= 1.1)
    # A full breath later the patient lies where he lay before.
    after = next(f for f in frames if f[2].t_s >= 3.16)
    assert after[2].cement is not None
    mask = after[2].cement.mask() > 0
    darker = before[1].astype(int) - after[1].astype(int)
    assert darker[mask].mean() > 25


def test_the_roadmap_stays_after_the_contrast_has_begun_to_wash_out() -> None:
    assert truth_at(0.0).roots is None
    assert truth_at(4.4).roots_mm2 >= 0.95 * truth_at(2.3).roots_mm2 > 50


def test_a_filled_root_is_named_with_its_axis_and_lies_within_the_roadmap() -> None:
    assert truth_at(0.0).filled == {}
    truth = truth_at(4.4)
    assert truth.roots is not None
    (root,) = truth.filled.values()
    mask = root.mask.mask() > 0
    assert (truth.roots.mask()[mask] > 0).mean() > 0.98
    ys, xs = np.nonzero(mask)
    away = np.hypot(*(np.array(root.line_px)[:, :, None] - [xs, ys]).transpose(1, 0, 2)).min(axis=0)
    assert away.max() * played()[0].mm_per_px < 5


def test_zones_move_as_the_registration_says() -> None:
    procedure, _ = played()
    first, moved = truth_at(0.0), truth_at(1.0)
    assert moved.shift_px is not None
    assert moved.rotation_deg == pytest.approx(1.0, abs=0.05)
    width, height = procedure.size_px
    motion = RigidMotion(moved.shift_px, moved.rotation_deg or 0.0, ((width - 1) / 2, (height - 1) / 2))
    for name, polygon in first.zones.items():
        assert np.allclose(motion.move(np.array(polygon)), np.array(moved.zones[name]), atol=0.05)


def test_the_picture_moves_as_the_registration_says() -> None:
    still = parse_scenario(
        'title = ""\nmay_alarm = false\n[video]\nduration_s = 2\nsize_px = 192\npulse_hz = 1\nvideo_hz = 1\n'
        "dose_ur = 90\nlag = 0\n[display]\nfield = 'rectangle'\ntext = false\nrotation_deg = 10\n"
        "[[table]]\nstart_s = 0.1\nend_s = 0.9\nshift_mm = [4, 0, -2]\n",
        "t",
    )
    procedure = Procedure(still)
    pictures, truths = [], []
    for moment, pixels in procedure.frames():
        pictures.append(pixels[20:-20, 20:-20].astype(np.float32))
        truths.append(procedure.truth(moment))
    window = cv2.createHanningWindow(pictures[0].shape[::-1], cv2.CV_32F)
    shift, _ = cv2.phaseCorrelate(pictures[0], pictures[1], window)
    assert shift == pytest.approx(truths[1].shift_px, abs=0.5)
    assert truths[1].shift_px is not None
    assert np.hypot(truths[1].shift_px[0], truths[1].shift_px[1]) == pytest.approx(
        np.hypot(4, 2) / procedure.mm_per_px, rel=0.01
    )


def test_a_patient_who_turns_with_the_table_is_seen_turned_from_then_on() -> None:
    turning = parse_scenario(
        'title = ""\nmay_alarm = false\n[video]\nduration_s = 2\nsize_px = 192\npulse_hz = 1\nvideo_hz = 1\n'
        "dose_ur = 90\nlag = 0\n[display]\nfield = 'rectangle'\ntext = false\n"
        "[[table]]\nstart_s = 0.1\nend_s = 0.9\nshift_mm = [4, 0, -2]\nturn_deg = 5\n",
        "t",
    )
    procedure = Procedure(turning)
    (before, _), (after, truth) = [
        (pixels.astype(np.float32), procedure.truth(moment)) for moment, pixels in procedure.frames()
    ]
    assert truth.rotation_deg == pytest.approx(5.0, abs=0.05)
    assert truth.shift_px is not None
    height, width = before.shape
    motion = RigidMotion(truth.shift_px, 5.0, ((width - 1) / 2, (height - 1) / 2))
    moved = cv2.warpAffine(before, motion.matrix, (width, height), flags=cv2.INTER_LINEAR)
    middle = np.s_[40:-40, 40:-40]
    assert np.abs(moved - after)[middle].mean() < 0.3 * np.abs(before - after)[middle].mean()


def test_a_held_picture_repeats_its_pulse_while_the_clock_may_run() -> None:
    held = [f for f in played()[1] if f[0].state is FrameState.HELD and f[0].t_s < 4.0]
    assert len(held) == 3
    assert all(truth.held for _, _, truth in held)
    assert len({truth.pulse for _, _, truth in held}) == 1
    assert np.array_equal(held[0][1][40:150], held[2][1][40:150])


def test_a_frozen_picture_is_the_same_to_the_last_pixel() -> None:
    frames = played()[1]
    frozen = [i for i, f in enumerate(frames) if f[0].state is FrameState.FROZEN]
    assert len(frozen) == 3
    assert all(np.array_equal(frames[i][1], frames[frozen[0] - 1][1]) for i in frozen)


def test_a_swing_has_no_registration_and_each_view_its_own_zones() -> None:
    swinging = truth_at(6.7)
    assert swinging.view is None
    assert swinging.shift_px is None
    lateral = truth_at(6.2)
    assert lateral.view is View.LATERAL
    assert set(lateral.zones) == {"canal", "anterior", "body_S1"}
    assert truth_at(7.4).view is View.AP
    assert "foramen_S1L" in truth_at(7.4).zones


def test_the_plan_is_one_that_the_service_accepts() -> None:
    procedure, _ = played()
    plan = PlanFile.model_validate(procedure.plan).record()
    check_zones_inside(plan, *procedure.size_px, "plan")
    assert plan.needle_diameter_mm == 3.05
    assert [mark.view for mark in plan.views] == [View.AP, View.LATERAL]
    assert plan.views[1].reference_s == pytest.approx(6.0)


def test_zones_of_the_plan_lie_where_the_first_frames_truth_has_them() -> None:
    procedure, _ = played()
    drawn = {z["id"]: z["polygon_px"] for z in procedure.plan["zones"] if z["view"] == "ap"}
    first = truth_at(0.0)
    assert set(drawn) == set(first.zones)
    assert np.allclose(drawn["foramen_S1L"], first.zones["foramen_S1L"], atol=0.02)


def test_a_polygon_is_clipped_to_the_frame_and_dropped_outside_it() -> None:
    square = np.array([[-10.0, 5.0], [10.0, 5.0], [10.0, 15.0], [-10.0, 15.0]])
    clipped = clip_to_frame(square, 100, 100)
    assert clipped is not None
    assert clipped[:, 0].min() == 0
    assert clipped[:, 0].max() == 10
    assert clip_to_frame(square - [50, 0], 100, 100) is None


SMALL = (
    'title = ""\nmay_alarm = false\n[video]\nduration_s = 4\nsize_px = 192\npulse_hz = 1\nvideo_hz = 1\ndose_ur = 90\n'
)


def all_of(text: str) -> Played:
    procedure = Procedure(parse_scenario(SMALL + text, "test"))
    return [(moment, pixels.copy(), procedure.truth(moment)) for moment, pixels in procedure.frames()]


def test_a_pan_of_the_c_arm_moves_the_anatomy_the_other_way() -> None:
    swing = "[[swings]]\nview = 'ap'\nstart_s = 0.5\nend_s = 1.5\nisocentre_mm = [10, 0, 5]\n"
    frames = all_of(swing)
    first, panned = frames[0][2], frames[-1][2]
    # The patient's left is on the left, the head up; 200 mm of detector are 120 mm in the isocentre's plane.
    px_per_mm = 192 / 120
    assert first.shift_px == (0.0, 0.0)
    assert panned.shift_px == pytest.approx((10 * px_per_mm, 5 * px_per_mm), abs=0.5)
    zone, moved = np.array(first.zones["foramen_S1L"]), np.array(panned.zones["foramen_S1L"])
    assert np.allclose(moved - zone, panned.shift_px, atol=0.05)


def test_gas_on_its_way_makes_the_place_lighter_where_it_has_come_to() -> None:
    gas = "[[distractors]]\nkind = 'gas'\nat_mm = [30, -35, 0]\ndrift_mm_per_s = [-20, 0, 0]\n"
    without, with_gas = all_of(""), all_of(gas)
    for second, x_mm in ((0, 30), (3, -30)):
        lighter = with_gas[second][1].astype(int) - without[second][1]
        # Magnified a little more than the isocentre's plane: it lies nearer to the tube.
        x = round(95.5 - x_mm * 192 / 120 * 600 / 565)
        assert lighter[92:100, x - 4 : x + 5].mean() > 5
        assert abs(lighter[92:100, 191 - x - 4 : 191 - x + 5].mean()) < 3


def test_a_tip_behind_a_clamps_joint_is_not_visible_and_one_in_cement_is_told_to_be() -> None:
    needle = "[[needles]]\ntarget = 'ala_L'\nremaining_mm = 0\n[[cement]]\nml = 0.6\nstart_s = 1.1\nend_s = 2.0\n"
    clamp = "[[distractors]]\nkind = 'clamp'\nat_mm = [80, 2.5, 0]\nangle_deg = 0\nstart_s = 2.5\n"
    tips = [truth.tips[0] for _, _, truth in all_of(needle + clamp)]
    assert [tip.visible for tip in tips] == [True, True, True, False]
    assert [tip.in_cement for tip in tips] == [False, False, True, True]


def test_a_run_is_as_long_as_it_stands_out_of_the_deposit() -> None:
    leak = truth_at(3.4)
    assert truth_at(1.5).run_mm == 0
    assert 3 < leak.run_mm < 30


def test_the_apex_of_a_needle_seen_end_on_is_where_its_own_shadow_ends_and_not_its_handles() -> None:
    angle = np.radians(4.0)
    carm = CArm(side_px=512)
    right, _, beam = carm.axes
    needle = BoneNeedle(np.zeros(3), np.cos(angle) * beam + np.sin(angle) * right)
    (x0, y0, _, _), steel_cm = replace(needle, hub=False).steel_cm(carm)
    row = steel_cm[round(needle.tip_px(carm)[1]) - y0]
    assert _visible_apex_px(needle, carm)[0] == pytest.approx(x0 + np.flatnonzero(row > 0.0)[-1], abs=1.5)
