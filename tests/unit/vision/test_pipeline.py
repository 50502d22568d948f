"""The whole pipeline on drawn pictures: what it repeats, what it measures, and in whose pixels it speaks."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from drivers.frame import Frame, FrameFlag, SourceInfo, freeze
from guidance.phantom.source import PhantomSource
from guidance.records import CasePlan, FrameState, Phase, PhaseMark, ScaleSource, View, ViewMark, Zone, ZoneKind
from guidance.vision.pipeline import NothingSeenError, Pipeline
from guidance.wire import FindingsMessage, findings_message

SIDE_PX = 320
PULSE_S = 1 / 7.5
SQUARE = np.array([[140.0, 140.0], [180.0, 140.0], [180.0, 180.0], [140.0, 180.0]])
INFO = SourceInfo("drawn", SIDE_PX, SIDE_PX, 8, live=False)


def anatomy(view: int, shift_xy: tuple[float, float] = (0.0, 0.0)) -> NDArray[np.float64]:
    """A round field with bone-like edges, different for each view, moved by ``shift_xy``."""
    rng = np.random.default_rng(100 + view)
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX].astype(np.float64)
    x, y = x - shift_xy[0], y - shift_xy[1]
    level = np.full((SIDE_PX, SIDE_PX), 150.0)
    for cx, cy, radius, depth in zip(
        rng.uniform(40, 280, 24), rng.uniform(40, 280, 24), rng.uniform(8, 40, 24), rng.uniform(8, 25, 24), strict=True
    ):
        level -= depth / (1 + np.exp((np.hypot(x - cx, y - cy) - radius) / 1.5))
    return np.clip(level, 20, 230)


def frame(number: int, level: NDArray[np.float64], flags: FrameFlag = FrameFlag.NONE) -> Frame:
    """One pulse: quantum noise on the level, black outside the round field."""
    noisy = level + np.random.default_rng(number).normal(0, 4, level.shape)
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
    noisy[np.hypot(x - 160, y - 160) > 150] = 2
    return Frame(freeze(np.clip(noisy, 0, 255).astype(np.uint8)), 5.0 + number * PULSE_S, number, flags=flags)


def zone(kind: ZoneKind = ZoneKind.FORBIDDEN, view: View | None = None) -> Zone:
    return Zone(f"zone_{view}", kind, SQUARE, view)


def test_time_counts_from_the_first_frame() -> None:
    pipeline = Pipeline(CasePlan(), INFO)
    assert [pipeline.step(frame(i, anatomy(0))).t_s for i in range(3)] == pytest.approx([0, PULSE_S, 2 * PULSE_S])


def test_a_repeated_picture_repeats_its_findings_and_is_no_new_pulse() -> None:
    pipeline = Pipeline(CasePlan(), INFO)
    pulse = frame(0, anatomy(0))
    first = pipeline.step(pulse)
    again = pipeline.step(Frame(pulse.pixels, pulse.t_s + 1 / 60, 1))
    assert (again.frame, again.pulse) == (1, first.pulse)
    assert again.registration is first.registration
    assert pipeline.step(frame(2, anatomy(0))).pulse == first.pulse + 1


def test_what_the_source_calls_damaged_is_never_analysed() -> None:
    pipeline = Pipeline(CasePlan(), INFO)
    first = pipeline.step(frame(0, anatomy(0)))
    damaged = pipeline.step(frame(1, anatomy(1), FrameFlag.CORRUPT))
    assert damaged.state is FrameState.CORRUPT
    assert (damaged.pulse, damaged.field) == (first.pulse, first.field)


def test_no_frame_is_no_signal_with_the_last_findings() -> None:
    pipeline = Pipeline(CasePlan(zones=(zone(),)), INFO)
    first = pipeline.step(frame(0, anatomy(0)))
    nothing = pipeline.no_frame(9.0)
    assert nothing.state is FrameState.NO_SIGNAL
    assert nothing.t_s == pytest.approx(4.0)
    assert nothing.zones == first.zones


def test_a_case_without_any_picture_has_findings_all_the_same() -> None:
    assert Pipeline(CasePlan(), INFO).no_frame(0.0).state is FrameState.NO_SIGNAL


def test_zones_move_with_the_anatomy() -> None:
    pipeline = Pipeline(CasePlan(mm_per_px=0.3, zones=(zone(),)), INFO)
    pipeline.step(frame(0, anatomy(0)))
    moved = pipeline.step(frame(1, anatomy(0, (6.0, -4.0))))
    assert moved.registration is not None
    assert moved.registration.ok
    assert moved.zones[0].polygon_px == pytest.approx(np.add(SQUARE, (6.0, -4.0)), abs=0.5)


def test_each_planned_view_has_the_zones_drawn_on_its_own_reference() -> None:
    plan = CasePlan(
        mm_per_px=0.3,
        zones=(zone(view=View.AP), zone(view=View.LATERAL)),
        views=(ViewMark(View.AP, 0.0), ViewMark(View.LATERAL, 14 * PULSE_S)),
    )
    pipeline = Pipeline(plan, INFO)
    ap = [pipeline.step(frame(i, anatomy(0))) for i in range(4)][-1]
    lateral = [pipeline.step(frame(i, anatomy(1))) for i in range(4, 20)][-1]
    back = [pipeline.step(frame(i, anatomy(0))) for i in range(20, 32)][-1]
    assert (ap.view, [z.id for z in ap.zones]) == (View.AP, ["zone_ap"])
    assert (lateral.view, [z.id for z in lateral.zones]) == (View.LATERAL, ["zone_lateral"])
    assert (back.view, back.view_id) == (View.AP, ap.view_id)
    assert back.zones[0].polygon_px == pytest.approx(SQUARE, abs=0.7)


def test_a_planned_view_is_where_its_zones_were_drawn_though_it_is_known_only_some_pulses_later() -> None:
    plan = CasePlan(
        mm_per_px=0.3,
        zones=(zone(view=View.AP), zone(view=View.LATERAL)),
        views=(ViewMark(View.AP, 0.0), ViewMark(View.LATERAL, 3.9 * PULSE_S)),
    )
    pipeline = Pipeline(plan, INFO)
    for i in range(4):
        pipeline.step(frame(i, anatomy(0)))
    seen = [pipeline.step(frame(i, anatomy(1, (0.0, 1.0 * (i - 4))))) for i in range(4, 16)]
    assert seen[0].registration is not None
    assert not seen[0].registration.ok
    last = seen[-1]
    assert last.view is View.LATERAL
    assert last.zones[0].polygon_px == pytest.approx(np.add(SQUARE, (0.0, 11.0)), abs=0.5)
    assert last.registration is not None
    assert last.registration.shift_px == pytest.approx((0.0, 11.0), abs=0.5)


def test_zones_of_a_view_are_not_laid_on_what_stood_still_for_a_moment_in_mid_swing() -> None:
    plan = CasePlan(
        mm_per_px=0.3,
        zones=(zone(view=View.AP), zone(view=View.LATERAL)),
        views=(ViewMark(View.AP, 0.0), ViewMark(View.LATERAL, 9 * PULSE_S)),
    )
    pipeline = Pipeline(plan, INFO)
    views = [0] * 4 + [2] * 5 + [1] * 10
    last = [pipeline.step(frame(i, anatomy(view))) for i, view in enumerate(views)][-1]
    assert last.view is View.LATERAL
    assert last.zones[0].polygon_px == pytest.approx(SQUARE, abs=0.5)


def test_the_scale_comes_from_the_best_that_is_known() -> None:
    header = SourceInfo("drawn", SIDE_PX, SIDE_PX, 8, live=False, mm_per_px=0.31)
    picture = frame(0, anatomy(0))
    for plan, info, source in (
        (CasePlan(mm_per_px=0.3), header, ScaleSource.PLAN),
        (CasePlan(), header, ScaleSource.HEADER),
        (CasePlan(), INFO, ScaleSource.ASSUMED),
    ):
        scale = Pipeline(plan, info).step(picture).scale
        assert scale is not None
        assert scale.source is source


def test_the_plans_phases_are_told_as_planned() -> None:
    pipeline = Pipeline(CasePlan(phases=(PhaseMark(0, Phase.NEEDLE), PhaseMark(0.2, Phase.CEMENT))), INFO)
    seen = [pipeline.step(frame(i, anatomy(0))) for i in range(3)]
    assert [findings.phase for findings in seen] == [Phase.NEEDLE, Phase.NEEDLE, Phase.CEMENT]
    assert not any(findings.phase_inferred for findings in seen)


def test_what_was_taken_from_a_stored_picture_is_forgotten_when_the_live_one_shows() -> None:
    def screen(number: int, live: Frame, stored: Frame) -> Frame:
        both = np.full((SIDE_PX + 20, 2 * SIDE_PX + 40), 20, dtype=np.uint8)
        both[10 : 10 + SIDE_PX, 10 : 10 + SIDE_PX] = stored.pixels
        both[10 : 10 + SIDE_PX, 30 + SIDE_PX : 30 + 2 * SIDE_PX] = live.pixels
        return Frame(freeze(both), number * PULSE_S, number)

    # Nothing is drawn, so that nothing tells at first which picture is live; both show the same anatomy.
    stored = frame(99, anatomy(0))
    info = SourceInfo("drawn", 2 * SIDE_PX + 40, SIDE_PX + 20, 8, live=False)
    pipeline = Pipeline(CasePlan(), info)
    seen = [pipeline.step(screen(i, frame(i, anatomy(0, (0.5 * i, 0.0))), stored)) for i in range(6)]
    last = seen[-1]
    assert last.field is not None
    assert last.registration is not None
    assert last.field.polygon_px[:, 0].min() > SIDE_PX
    # Moved since the first frame as the live picture, not by the distance between the two.
    assert last.registration.shift_px == pytest.approx((2.5, 0.0), abs=0.4)
    assert last.registration.ok
    assert (last.frame, last.pulse) == (5, 6)


def test_in_a_view_that_may_be_magnified_otherwise_a_needle_may_be_wider_than_the_plans_scale_allows() -> None:
    # A bar of 12 px: with the plan's scale 6 mm, no needle of a gauge in use.
    plan = CasePlan(mm_per_px=0.5, needle_diameter_mm=3.05)
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
    bar = np.where((np.abs(y - 160) < 6) & (x > 120), 0.35, 1.0)
    pipeline = Pipeline(plan, INFO)
    here = [pipeline.step(frame(i, bar * anatomy(0))) for i in range(6)]
    there = [pipeline.step(frame(i, bar * anatomy(1))) for i in range(6, 26)]
    assert not any(f.needles for f in here)
    assert there[-1].view_id != here[-1].view_id
    assert len(there[-1].needles) == 1


def test_a_deposit_is_told_with_the_needle_that_feeds_it() -> None:
    plan = CasePlan(mm_per_px=0.25, phases=(PhaseMark(0.0, Phase.NEEDLE), PhaseMark(12 * PULSE_S, Phase.CEMENT)))
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
    shafts = np.where(((np.abs(y - 110) < 6) | (np.abs(y - 210) < 6)) & (x > 150), 0.3, 1.0)
    pipeline = Pipeline(plan, INFO)
    for i in range(32):
        radius_px = 2.0 + 0.8 * max(0, i - 12)
        cement = np.exp(
            -0.06 * np.sqrt(np.maximum(0.0, radius_px**2 - (x - 144.0) ** 2 - (y - 210.0) ** 2)) * (i >= 12)
        )
        seen = pipeline.step(frame(i, shafts * cement * anatomy(0)))
    (deposit,) = seen.cement
    (feeding,) = [needle for needle in seen.needles if abs(needle.tip_px[1] - 210) < 6]
    assert deposit.needle == feeding.id


def test_what_is_found_is_the_same_whether_each_frame_is_settled_at_once_or_with_the_next() -> None:
    def findings(settle_every: int) -> list[FindingsMessage]:
        told = []
        with PhantomSource("leak_foramen", seed=3, size_px=192) as source:
            pipeline = Pipeline(source.plan, source.info)
            for number, shown in enumerate(source):
                told.append(findings_message(pipeline.step(shown)))
                if settle_every and number % settle_every == 0:
                    pipeline.settle()
        return told

    at_once = findings(settle_every=1)
    assert any(message.cement for message in at_once)
    assert at_once == findings(settle_every=0) == findings(settle_every=3)


def test_from_the_operators_word_on_it_is_that_phase() -> None:
    pipeline = Pipeline(CasePlan(phases=(PhaseMark(0, Phase.NEEDLE), PhaseMark(10, Phase.CEMENT))), INFO)
    assert pipeline.step(frame(0, anatomy(0))).phase is Phase.NEEDLE
    pipeline.set_phase(Phase.EPIDUROGRAM)
    seen = [pipeline.step(frame(i, anatomy(0))) for i in (1, 2, 100)]
    assert [findings.phase for findings in seen] == [Phase.EPIDUROGRAM] * 3


def test_a_phase_that_was_inferred_is_the_operators_from_then_on() -> None:
    pipeline = Pipeline(CasePlan(), INFO)
    assert pipeline.step(frame(0, anatomy(0))).phase_inferred
    pipeline.set_phase(Phase.CEMENT)
    seen = pipeline.step(frame(1, anatomy(0)))
    assert (seen.phase, seen.phase_inferred) == (Phase.CEMENT, False)


def test_the_view_on_the_screen_is_what_the_operator_calls_it() -> None:
    pipeline = Pipeline(CasePlan(), INFO)
    pipeline.step(frame(0, anatomy(0)))
    pipeline.set_view(View.LATERAL)
    assert pipeline.step(frame(1, anatomy(0))).view is View.LATERAL


def test_a_zone_that_is_drawn_in_the_course_of_a_case_moves_with_the_anatomy() -> None:
    pipeline = Pipeline(CasePlan(), INFO)
    for i in range(3):
        pipeline.step(frame(i, anatomy(0, (4.0, 0.0) if i else (0.0, 0.0))))
    pipeline.set_zone(zone())
    seen = pipeline.step(frame(3, anatomy(0, (7.0, 0.0))))
    assert seen.zones[0].polygon_px == pytest.approx(SQUARE + np.array([3.0, 0.0]), abs=0.5)


def test_a_zone_drawn_again_takes_the_place_of_the_one_before_and_can_be_removed() -> None:
    pipeline = Pipeline(CasePlan(zones=(zone(),)), INFO)
    pipeline.step(frame(0, anatomy(0)))
    pipeline.set_zone(replace(zone(), polygon_px=SQUARE + 30))
    (again,) = pipeline.step(frame(1, anatomy(0))).zones
    assert again.polygon_px == pytest.approx(SQUARE + 30, abs=0.5)
    pipeline.remove_zone(again.id)
    assert not pipeline.step(frame(2, anatomy(0))).zones
    with pytest.raises(NothingSeenError, match="has none of that name"):
        pipeline.remove_zone(again.id)


def test_a_new_reference_keeps_the_zones_where_they_are() -> None:
    pipeline = Pipeline(CasePlan(zones=(zone(),)), INFO)
    for i in range(3):
        last = pipeline.step(frame(i, anatomy(0, (2.0 * i, 0.0))))
    pipeline.take_reference()
    seen = [pipeline.step(frame(i, anatomy(0, (4.0, 0.0)))) for i in range(3, 6)][-1]
    assert seen.registration is not None
    assert seen.registration.shift_px == pytest.approx((0.0, 0.0), abs=0.3)
    assert seen.view_id != last.view_id
    assert seen.zones[0].polygon_px == pytest.approx(last.zones[0].polygon_px, abs=0.5)


def test_a_new_reference_of_one_view_leaves_the_zones_of_the_other() -> None:
    plan = CasePlan(
        zones=(zone(view=View.AP), zone(view=View.LATERAL)),
        views=(ViewMark(View.AP, 0.0), ViewMark(View.LATERAL, 5 * PULSE_S)),
    )
    pipeline = Pipeline(plan, INFO)
    views = [0] * 5 + [1] * 12
    for i, view in enumerate(views):
        pipeline.step(frame(i, anatomy(view)))
    pipeline.take_reference()
    lateral = [pipeline.step(frame(i, anatomy(1))) for i in range(17, 20)][-1]
    again = [pipeline.step(frame(i, anatomy(0))) for i in range(20, 36)][-1]
    assert (lateral.view, [z.id for z in lateral.zones]) == (View.LATERAL, ["zone_lateral"])
    assert (again.view, [z.id for z in again.zones]) == (View.AP, ["zone_ap"])


def test_nothing_can_be_drawn_before_there_is_a_picture() -> None:
    with pytest.raises(NothingSeenError, match="expected a picture"):
        Pipeline(CasePlan(), INFO).set_zone(zone())


def drawn_around(corner_px: tuple[float, float]) -> NDArray[np.float64]:
    return SQUARE + np.array(corner_px)


def test_a_plan_lies_where_it_was_drawn_though_the_patient_has_moved_since() -> None:
    pipeline = Pipeline(CasePlan(), INFO)
    places = [(0.0, 0.0), (3.0, -2.0), (7.0, 4.0), (-4.0, 6.0)]
    pulses = [pipeline.step(frame(i, anatomy(0, place))).pulse for i, place in enumerate(places)]
    plan = CasePlan(mm_per_px=0.4, zones=(Zone("canal", ZoneKind.FORBIDDEN, drawn_around(places[1]), View.AP),))
    pipeline.use_plan(plan, {View.AP: pulses[1]})
    now = pipeline.step(frame(4, anatomy(0, (5.0, 1.0))))
    assert now.zones[0].polygon_px == pytest.approx(drawn_around((5.0, 1.0)), abs=0.5)
    assert (now.view, now.scale and now.scale.mm_per_px) == (View.AP, 0.4)
    assert now.registration is not None
    assert now.registration.shift_px == pytest.approx((2.0, 3.0), abs=0.5)


def test_a_zone_ordered_with_its_pulse_lies_where_it_was_drawn() -> None:
    pipeline = Pipeline(CasePlan(), INFO)
    drawn_on = pipeline.step(frame(0, anatomy(0))).pulse
    pipeline.step(frame(1, anatomy(0, (6.0, 3.0))))
    pipeline.set_zone(zone(), drawn_on)
    assert pipeline.step(frame(2, anatomy(0))).zones[0].polygon_px == pytest.approx(SQUARE, abs=0.5)


def test_a_plan_for_both_views_reaches_also_the_one_that_is_not_on_the_screen() -> None:
    pipeline = Pipeline(CasePlan(), INFO)
    ap = [pipeline.step(frame(i, anatomy(0))) for i in range(4)][-1]
    lateral = [pipeline.step(frame(i, anatomy(1))) for i in range(4, 20)][-1]
    assert lateral.view_id != ap.view_id
    plan = CasePlan(zones=(zone(view=View.AP), zone(view=View.LATERAL)))
    pipeline.use_plan(plan, {View.AP: ap.pulse, View.LATERAL: lateral.pulse})
    here = pipeline.step(frame(20, anatomy(1)))
    back = [pipeline.step(frame(i, anatomy(0))) for i in range(21, 33)][-1]
    assert (here.view, [z.id for z in here.zones]) == (View.LATERAL, ["zone_lateral"])
    assert (back.view, [z.id for z in back.zones]) == (View.AP, ["zone_ap"])


def test_a_view_that_a_plan_does_not_name_keeps_its_zones() -> None:
    pipeline = Pipeline(CasePlan(view=View.AP, zones=(zone(view=View.AP),)), INFO)
    [pipeline.step(frame(i, anatomy(0))) for i in range(4)]
    lateral = [pipeline.step(frame(i, anatomy(1))) for i in range(4, 20)][-1]
    pipeline.use_plan(CasePlan(zones=(zone(view=View.LATERAL),)), {View.LATERAL: lateral.pulse})
    back = [pipeline.step(frame(i, anatomy(0))) for i in range(20, 32)][-1]
    assert [z.id for z in back.zones] == ["zone_ap"]


def test_a_plan_drawn_on_a_pulse_that_is_not_known_changes_nothing() -> None:
    pipeline = Pipeline(CasePlan(mm_per_px=0.2, zones=(zone(),)), INFO)
    known = pipeline.step(frame(0, anatomy(0))).pulse
    for drawn_on in ({View.AP: 99}, {View.AP: known, View.LATERAL: 99}):
        with pytest.raises(NothingSeenError, match=r"pulse 99: .* expected zones drawn on a later picture"):
            pipeline.use_plan(CasePlan(mm_per_px=0.4), drawn_on)
    with pytest.raises(NothingSeenError, match="one and the same"):
        pipeline.use_plan(CasePlan(mm_per_px=0.4), {View.AP: known, View.LATERAL: known})
    unchanged = pipeline.step(frame(1, anatomy(0)))
    assert [z.id for z in unchanged.zones] == ["zone_None"]
    assert unchanged.scale is not None
    assert unchanged.scale.mm_per_px == 0.2


def test_pulses_before_a_new_reference_cannot_be_drawn_on_any_more() -> None:
    pipeline = Pipeline(CasePlan(), INFO)
    old = pipeline.step(frame(0, anatomy(0))).pulse
    pipeline.take_reference()
    pipeline.step(frame(1, anatomy(0)))
    with pytest.raises(NothingSeenError, match="reference was taken anew"):
        pipeline.use_plan(CasePlan(zones=(zone(view=View.AP),)), {View.AP: old})


def test_a_pinned_field_is_told_until_it_is_let_go() -> None:
    pipeline = Pipeline(CasePlan(), INFO)
    found = pipeline.step(frame(0, anatomy(0)))
    corners = np.array([[60.0, 60.0], [260.0, 60.0], [260.0, 260.0], [60.0, 260.0]])
    pipeline.pin_field(corners, None)
    pinned = [pipeline.step(frame(i, anatomy(0))) for i in range(1, 12)]
    assert all(seen.field is not None and seen.field.polygon_px is corners for seen in pinned)
    pipeline.pin_field(None, None)
    again = pipeline.step(frame(12, anatomy(0)))
    assert found.field is not None
    assert again.field is not None
    assert again.field.kind is found.field.kind


def test_a_pinned_polarity_takes_new_references_and_keeps_the_zones_on_the_screen() -> None:
    pipeline = Pipeline(CasePlan(mm_per_px=0.3, zones=(zone(),)), INFO)
    pipeline.step(frame(0, anatomy(0)))
    before = pipeline.step(frame(1, anatomy(0, (4.0, 2.0))))
    assert before.field is not None
    pipeline.pin_field(None, not before.field.bone_dark)
    pipeline.step(frame(2, anatomy(0, (4.0, 2.0))))
    after = pipeline.step(frame(3, anatomy(0, (6.0, 2.0))))
    assert after.field is not None
    assert after.field.bone_dark is not before.field.bone_dark
    assert after.view_id != before.view_id
    assert after.zones[0].polygon_px == pytest.approx(np.add(SQUARE, (6.0, 2.0)), abs=0.7)
    assert all(pipeline.step(frame(i, anatomy(0, (6.0, 2.0)))).view_id == after.view_id for i in range(4, 20))
