"""Identity, prediction and depth of needles from pulse to pulse."""

from dataclasses import replace
from math import cos, inf, radians, sin

import numpy as np
import pytest

from guidance.records import Needle, Zone, ZoneKind
from guidance.vision.geometry import RigidMotion
from guidance.vision.needle_track import NeedleSighting, NeedleTracker, angle_deg, depth_share

STILL = RigidMotion()
AXIS = cos(radians(45))


def seen(x: float, y: float, angle: float = 45.0, confidence: float = 0.8, hidden: bool = False) -> NeedleSighting:
    back = (x + 200 * cos(radians(angle)), y - 200 * sin(radians(angle)))
    return NeedleSighting((x, y), ((x, y), back), angle, 10.0, confidence, hidden)


def ids(needles: tuple[Needle, ...]) -> list[int]:
    return [needle.id for needle in needles]


def test_a_single_picture_tells_its_needles_at_once() -> None:
    assert ids(NeedleTracker().update((seen(100, 100), seen(300, 100)), 0.0, STILL, 0)) == [1, 2]


def test_a_later_needle_is_told_on_its_second_pulse() -> None:
    tracker = NeedleTracker()
    tracker.update((), 0.0, STILL, 0)
    assert tracker.update((seen(100, 100),), 0.1, STILL, 0) == ()
    assert ids(tracker.update((seen(100, 100),), 0.2, STILL, 0)) == [1]


def test_a_needle_whose_tip_lies_in_dense_bone_when_watching_begins_is_told_on_its_third_pulse_as_hidden() -> None:
    tracker = NeedleTracker()
    at_work = replace(covered(100, 100), confidence=0.95)
    told = [tracker.update((at_work,), 0.13 * pulse, STILL, 0) for pulse in range(4)]
    assert [ids(needles) for needles in told] == [[], [], [1], [1]]
    assert told[-1][0].tip_hidden
    (bare,) = tracker.update((seen(100, 100, confidence=0.95),), 0.52, STILL, 0)
    assert (bare.id, bare.tip_hidden) == (1, False)


def test_so_is_one_whose_tip_lies_in_cement_when_the_other_view_is_first_seen() -> None:
    tracker = NeedleTracker()
    tracker.update((), 0.0, STILL, 0)
    at_work = replace(covered(100, 100), confidence=0.95)
    told = [tracker.update((at_work,), 5.0 + 0.13 * pulse, STILL, 1) for pulse in range(3)]
    assert [len(needles) for needles in told] == [0, 0, 1]


@pytest.mark.parametrize(("begins_s", "confidence"), [(0.0, 0.8), (2.0, 0.95)])
def test_a_shaft_that_ends_in_something_dark_is_no_needle_where_it_is_doubtful_or_comes_later(
    begins_s: float, confidence: float
) -> None:
    tracker = NeedleTracker()
    tracker.update((), 0.0, STILL, 0)
    doubtful = replace(covered(100, 100), confidence=confidence)
    assert not any(tracker.update((doubtful,), begins_s + 0.13 * pulse, STILL, 0) for pulse in range(1, 10))


def test_a_flicker_of_one_pulse_is_never_told() -> None:
    tracker = NeedleTracker()
    tracker.update((), 0.0, STILL, 0)
    tracker.update((seen(100, 100),), 0.1, STILL, 0)
    assert tracker.update((), 0.2, STILL, 0) == ()
    assert tracker.update((seen(100, 100),), 0.3, STILL, 0) == ()


def test_where_no_view_is_known_a_new_needle_waits_for_its_fifth_pulse_but_known_ones_go_on() -> None:
    tracker = NeedleTracker()
    tracker.update((seen(100, 100),), 0.0, STILL, 0)
    for pulse in range(1, 5):
        told = tracker.update((seen(100 + pulse, 100), seen(300, 100)), 0.1 * pulse, STILL, None)
        assert ids(told) == [1]
        assert not told[0].predicted


def test_a_needle_not_seen_is_predicted_for_half_a_second_and_then_ends() -> None:
    tracker = NeedleTracker()
    tracker.update((seen(100, 100),), 0.0, STILL, 0)
    (needle,) = tracker.update((), 0.4, STILL, 0)
    assert needle.predicted
    assert needle.confidence < 0.8
    assert tracker.update((), 0.6, STILL, 0) == ()


def test_a_needle_keeps_its_id_through_a_second_of_occlusion_and_through_reentry() -> None:
    tracker = NeedleTracker()
    tracker.update((seen(100, 100),), 0.0, STILL, 0)
    for t in (0.5, 1.0, 1.5):
        tracker.update((), t, STILL, 0)
    assert ids(tracker.update((seen(150, 50),), 2.0, STILL, 0)) == [1]


def test_a_needle_that_was_drawn_back_too_fast_to_be_followed_keeps_its_id() -> None:
    tracker = followed(seen(100, 200))
    tracker.update((seen(220, 80),), 1.2, STILL, 0)
    assert ids(tracker.update((seen(220, 80),), 1.3, STILL, 0)) == [1]


def test_a_needle_elsewhere_is_a_new_one() -> None:
    tracker = NeedleTracker()
    tracker.update((seen(100, 100),), 0.0, STILL, 0)
    tracker.update((seen(100, 100), seen(180, 100)), 0.1, STILL, 0)
    assert ids(tracker.update((seen(100, 100), seen(180, 100)), 0.2, STILL, 0)) == [1, 2]


def test_crossing_needles_keep_their_ids() -> None:
    tracker = NeedleTracker()
    for pulse in range(30):
        a, b = seen(100 + 3 * pulse, 100 - 3 * pulse, -135.0), seen(190 - 3 * pulse, 100 - 3 * pulse, -45.0)
        order = (a, b) if pulse % 2 else (b, a)
        needles = tracker.update(order, pulse / 7.5, STILL, 0)
    by_id = {needle.id: needle for needle in needles}
    first = 2  # on the first pulse b came first
    assert by_id[first].angle_deg == pytest.approx(-135.0, abs=1.0)
    assert by_id[first].tip_px[0] > 180


def followed(*sightings: NeedleSighting, view_id: int = 0) -> NeedleTracker:
    """A tracker that has seen these for a second."""
    tracker = NeedleTracker()
    for pulse in range(9):
        tracker.update(sightings, pulse / 7.5, STILL, view_id)
    return tracker


def test_one_needle_has_one_id_in_both_views_and_on_return() -> None:
    tracker = followed(seen(100, 100))
    assert ids(tracker.update((seen(300, 150, confidence=0.99),), 60.0, STILL, 1)) == [1]
    assert ids(tracker.update((seen(102, 99),), 120.0, STILL, 0)) == [1]


def test_several_needles_have_ids_of_their_own_in_each_view_and_keep_them_on_return() -> None:
    tracker = followed(seen(100, 100), seen(300, 100))
    lateral = (seen(200, 150, confidence=0.99), seen(400, 150, confidence=0.99))
    assert ids(tracker.update(lateral, 60.0, STILL, 1)) == [3, 4]
    assert ids(tracker.update((seen(102, 99), seen(302, 99)), 120.0, STILL, 0)) == [1, 2]
    assert ids(tracker.update(lateral, 180.0, STILL, 1)) == [3, 4]


def test_a_needle_that_is_put_in_between_two_looks_at_a_view_is_the_one_that_is_new_in_it() -> None:
    tracker = followed(seen(100, 100), seen(300, 100))
    lateral = (seen(200, 150, confidence=0.99), seen(400, 150, confidence=0.99))
    tracker.update(lateral, 60.0, STILL, 1)
    for pulse in range(9):
        told = tracker.update((seen(100, 100), seen(300, 100), seen(500, 100)), 120.0 + pulse / 7.5, STILL, 0)
    assert ids(told) == [1, 2, 5]
    assert ids(tracker.update((*lateral, seen(600, 150, confidence=0.99)), 180.0, STILL, 1)) == [3, 4, 5]


def test_a_flicker_beside_a_needle_does_not_cost_it_its_id_in_the_other_view() -> None:
    tracker = NeedleTracker()
    for pulse in range(9):
        flicker = (seen(300, 100, confidence=0.99),) if pulse == 5 else ()
        tracker.update((seen(100, 100), *flicker), pulse / 7.5, STILL, 0)
    assert ids(tracker.update((seen(300, 150, confidence=0.99),), 60.0, STILL, 1)) == [1]


def test_what_a_turning_c_arm_shows_does_not_spoil_the_view_it_left() -> None:
    tracker = followed(seen(100, 100), seen(300, 100))
    for pulse in range(9, 20):
        tracker.update((seen(100 + 20 * (pulse - 8), 100), seen(300, 100 + 9 * (pulse - 8))), pulse / 7.5, STILL, None)
    (left, right) = tracker.update((seen(100, 100), seen(300, 100)), 20 / 7.5, STILL, 0)
    assert (left.id, right.id) == (1, 2)
    assert left.tip_px == pytest.approx((100.0, 100.0), abs=0.5)


def test_a_view_that_is_taken_for_another_for_one_pulse_does_not_cost_its_needle_its_id() -> None:
    tracker = followed(seen(100, 100))
    for pulse in range(9, 20):
        (other,) = tracker.update((seen(300, 150),), 60.0 + pulse / 7.5, STILL, 0 if pulse == 16 else None) or (None,)
    assert other is not None
    assert other.id == 1
    assert ids(tracker.update((seen(102, 99),), 120.0, STILL, 0)) == [1]


def test_a_needle_followed_while_no_view_is_known_keeps_its_id_in_the_view_that_is_then_stored() -> None:
    tracker = followed(seen(100, 100), seen(300, 100))
    for pulse in range(9, 20):
        tracker.update((seen(100, 100), seen(300, 100)), pulse / 7.5, STILL, None)
    moved = RigidMotion(shift_px=(30.0, 0.0))
    assert ids(tracker.update((seen(100, 100), seen(300, 100)), 20 / 7.5, moved, 1)) == [1, 2]


def test_needles_move_with_the_anatomy() -> None:
    tracker = NeedleTracker()
    tracker.update((seen(100, 100),), 0.0, STILL, 0)
    moved = RigidMotion(shift_px=(60.0, 40.0))
    (needle,) = tracker.update((), 0.2, moved, 0)
    assert needle.tip_px == pytest.approx((160.0, 140.0))
    assert ids(tracker.update((seen(160, 140),), 0.3, moved, 0)) == [1]


def test_a_still_needle_jitters_less_than_its_sightings() -> None:
    rng = np.random.default_rng(5)
    tracker = NeedleTracker()
    noisy = 100 + rng.normal(0, 0.8, (80, 2))
    tips = [tracker.update((seen(x, y),), k / 7.5, STILL, 0)[0].tip_px for k, (x, y) in enumerate(noisy)]
    assert np.std(np.array(tips[10:]), axis=0).max() < 0.75 * np.std(noisy[10:], axis=0).max()


def test_cement_growing_ahead_does_not_advance_a_still_tip_but_a_long_stroke_does() -> None:
    tracker = NeedleTracker()
    for k in range(5):
        tracker.update((seen(100, 100),), k / 7.5, STILL, 0)
    ahead = (100 - 12 * cos(radians(45)), 100 + 12 * sin(radians(45)))
    column = replace(seen(*ahead, hidden=True), steel_share=0.5)
    (held,) = tracker.update((column,), 0.8, STILL, 0)
    assert held.tip_hidden
    assert held.tip_px == pytest.approx((100.0, 100.0), abs=0.5)
    far = (100 - 40 * cos(radians(45)), 100 + 40 * sin(radians(45)))
    (moved,) = tracker.update((replace(column, tip_px=far, shaft_px=seen(*far).shaft_px),), 0.95, STILL, 0)
    assert not moved.tip_hidden
    assert moved.tip_px == pytest.approx(far, abs=0.5)


def covered(x: float, y: float) -> NeedleSighting:
    return replace(seen(x, y, hidden=True), tip_covered=True, dark_ahead_px=inf)


def test_a_shaft_whose_end_is_covered_begins_no_needle() -> None:
    tracker = NeedleTracker()
    assert all(tracker.update((covered(100, 100),), 0.1 * pulse, STILL, 0) == () for pulse in range(6))


def test_a_known_tip_stays_where_it_was_while_cement_covers_it() -> None:
    tracker = NeedleTracker()
    tracker.update((seen(100, 100),), 0.0, STILL, 0)
    for pulse in range(1, 12):
        (needle,) = tracker.update((covered(100 + 4.0 * pulse, 100 - 4.0 * pulse),), 0.13 * pulse, STILL, 0)
        assert not needle.predicted
        assert needle.tip_px == pytest.approx((100.0, 100.0), abs=0.5)


def test_an_end_in_the_dark_with_light_ahead_of_it_is_a_tip_drawn_back_out_of_its_own_trail() -> None:
    tracker = followed(seen(100, 100))
    for pulse in range(1, 6):
        trail = replace(covered(100 + 15.0 * pulse, 100 - 15.0 * pulse), dark_ahead_px=8.0)
        (needle,) = tracker.update((trail,), 1.07 + 0.13 * pulse, STILL, 0)
        assert needle.id == 1
        assert needle.tip_px == pytest.approx((100 + 15.0 * pulse, 100 - 15.0 * pulse), abs=0.5)


def test_a_tip_that_is_being_driven_is_believed_in_the_dark_too() -> None:
    tracker = followed(seen(200, 100, angle=0.0))
    for pulse in range(1, 6):
        ahead = replace(seen(200 - 6.0 * pulse, 100, angle=0.0, hidden=pulse > 2), dark_ahead_px=20.0 * (pulse > 2))
        (needle,) = tracker.update((ahead,), 1.07 + 0.13 * pulse, STILL, 0)
    assert needle.tip_px[0] == pytest.approx(170.0, abs=2.0)
    assert not needle.tip_hidden


def test_a_resting_tip_with_ragged_edges_is_believed_ahead_on_its_second_pulse_there() -> None:
    tracker = followed(seen(200, 100, angle=0.0))
    told = [tracker.update((seen(188, 100, angle=0.0, hidden=True),), 1.2 + t_s, STILL, 0)[0] for t_s in (0.0, 0.13)]
    assert [needle.tip_hidden for needle in told] == [True, False]
    assert [needle.tip_px[0] for needle in told] == pytest.approx([200.0, 188.0], abs=0.5)


def test_a_covered_shaft_moves_a_known_needle_aside_with_its_axis() -> None:
    tracker = NeedleTracker()
    tracker.update((seen(100, 100),), 0.0, STILL, 0)
    for pulse in range(1, 12):
        (needle,) = tracker.update((covered(143, 63),), 0.13 * pulse, STILL, 0)
    assert needle.tip_px == pytest.approx((103.0, 103.0), abs=0.3)


def test_a_sighting_with_an_end_is_preferred_to_a_covered_one() -> None:
    tracker = NeedleTracker()
    tracker.update((seen(100, 100),), 0.0, STILL, 0)
    (needle,) = tracker.update((covered(100, 100), seen(110, 90)), 0.13, STILL, 0)
    assert needle.tip_px == pytest.approx((110.0, 90.0), abs=0.5)


def test_something_far_ahead_on_a_hidden_needles_line_is_no_second_needle() -> None:
    tracker = NeedleTracker()
    for pulse in range(5):
        tracker.update((seen(200, 100),), 0.13 * pulse, STILL, 0)
    for pulse in range(5, 9):
        (needle,) = tracker.update((seen(140, 160, hidden=True),), 0.13 * pulse, STILL, 0)
        assert needle.tip_px == pytest.approx((200.0, 100.0), abs=0.5)


def test_a_resting_tip_that_creeps_under_a_millimetre_is_held_but_a_longer_way_is_believed() -> None:
    tracker = NeedleTracker()
    for pulse in range(20):
        tracker.update((seen(100, 100, angle=0.0),), 0.13 * pulse, STILL, 0)
    for pulse in range(6):
        (needle,) = tracker.update((seen(100 - 0.5 * pulse, 100, angle=0.0),), 2.6 + 0.13 * pulse, STILL, 0)
    assert needle.tip_px[0] == pytest.approx(100.0, abs=0.6)
    (needle,) = tracker.update((seen(95.0, 100, angle=0.0),), 3.4, STILL, 0)
    assert needle.tip_px[0] == pytest.approx(95.0, abs=0.1)


@pytest.mark.parametrize(("is_injecting", "told_px"), [(True, 0.0), (False, 8.0)])
def test_a_resting_tip_does_not_seem_to_advance_by_a_cap_of_cement_while_it_is_injected(
    is_injecting: bool, told_px: float
) -> None:
    tracker = NeedleTracker()
    for pulse in range(20):
        tracker.update((seen(100, 100),), 0.1 * pulse, STILL, 0)
    for pulse in range(20, 25):
        (needle,) = tracker.update((seen(100 - 8 * AXIS, 100 + 8 * AXIS),), 0.1 * pulse, STILL, 0, (), is_injecting)
    assert (100 - needle.tip_px[0]) / AXIS == pytest.approx(told_px, abs=0.5)


def test_a_tip_that_is_driven_on_in_the_dark_is_believed_on_the_second_pulse_of_the_stroke() -> None:
    tracker = NeedleTracker()
    for pulse in range(12):
        tracker.update((seen(300, 100, angle=0.0),), 0.13 * pulse, STILL, 0)
    told = []
    for pulse in range(12, 15):
        x = 300.0 - 8.0 * (pulse - 11)
        (needle,) = tracker.update((seen(x, 100, angle=0.0, hidden=True),), 0.13 * pulse, STILL, 0)
        told.append(needle.tip_px[0] - x)
    assert told[0] == pytest.approx(8.0, abs=0.5)
    assert told[1:] == pytest.approx([0.0, 0.0], abs=0.5)


def test_a_doubtful_needle_is_told_on_its_fifth_pulse_in_a_row() -> None:
    tracker = NeedleTracker()
    tracker.update((), 0.0, STILL, 0)
    told = [tracker.update((seen(100, 100, confidence=0.6),), 0.1 * pulse, STILL, 0) for pulse in range(1, 7)]
    assert [len(needles) for needles in told] == [0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize(("wander_px", "told"), [(0.5, 1), (6.0, 0)])
def test_a_needle_seen_end_on_is_told_once_it_stays_where_it_is(wander_px: float, told: int) -> None:
    tracker = NeedleTracker()
    tracker.update((), 0.0, STILL, 0)
    for pulse in range(1, 9):
        dot = NeedleSighting((100 + wander_px * (pulse % 2), 100), None, None, 10.0, 0.9)
        needles = tracker.update((dot,), 0.13 * pulse, STILL, 0)
    assert len(needles) == told


def clouded_for_a_second() -> NeedleTracker:
    tracker = NeedleTracker()
    for pulse in range(18):
        sighting = replace(seen(200, 100, angle=0.0), dark_ahead_px=0.0 if pulse < 10 else 8.0)
        tracker.update((sighting,), 0.13 * pulse, STILL, 0)
    return tracker


@pytest.mark.parametrize("ahead_px", [12.0, 40.0])
@pytest.mark.parametrize("is_hidden", [True, False])
def test_a_column_of_cement_in_a_resting_needles_line_does_not_advance_its_tip(
    ahead_px: float, is_hidden: bool
) -> None:
    tracker = clouded_for_a_second()
    for pulse in range(18, 40):
        column = replace(seen(200 - ahead_px, 100, angle=0.0, hidden=is_hidden), steel_share=0.5)
        (needle,) = tracker.update((column,), 0.13 * pulse, STILL, 0)
        assert needle.tip_px[0] == pytest.approx(200.0, abs=0.5)


def test_a_tip_in_bone_that_noise_shows_bare_on_one_pulse_is_believed_when_it_is_driven_on() -> None:
    tracker = NeedleTracker()
    for pulse in range(24):
        tracker.update((seen(300, 100, angle=0.0, hidden=pulse != 15),), 0.13 * pulse, STILL, 0)
    for pulse in range(24, 28):
        x = 300.0 - 5.0 * (pulse - 23)
        (needle,) = tracker.update((seen(x, 100, angle=0.0, hidden=True),), 0.13 * pulse, STILL, 0)
    assert needle.tip_px[0] == pytest.approx(x, abs=2.0)


def test_a_bare_tip_with_steel_to_its_end_has_been_driven_out_of_the_cement() -> None:
    tracker = clouded_for_a_second()
    (needle,) = tracker.update((seen(170, 100, angle=0.0),), 0.13 * 18, STILL, 0)
    assert needle.tip_px[0] == pytest.approx(170.0, abs=0.5)


@pytest.mark.parametrize(("dark_ahead_px", "expected_px"), [(5.0, 100.0), (0.0, 108.0)])
def test_a_tip_seems_drawn_back_only_where_its_old_place_became_lighter(
    dark_ahead_px: float, expected_px: float
) -> None:
    tracker = NeedleTracker()
    for pulse in range(5):
        tracker.update((seen(100, 100, angle=0.0),), pulse * 0.15, STILL, 0)
    back = replace(seen(108, 100, angle=0.0), dark_ahead_px=dark_ahead_px)
    (needle,) = tracker.update((back,), 0.8, STILL, 0)
    assert needle.tip_px[0] == pytest.approx(expected_px, abs=0.5)


@pytest.mark.parametrize(
    ("back", "angle"), [((10, 0), 0.0), ((0, -10), 90.0), ((-10, 0), 180.0), ((0, 10), -90.0), ((10, -10), 45.0)]
)
def test_angles_are_counter_clockwise_with_y_up(back: tuple[float, float], angle: float) -> None:
    assert angle_deg((0.0, 0.0), back) == pytest.approx(angle)


BODY = Zone("S1", ZoneKind.BODY, np.array([[100.0, 100], [200, 100], [200, 160], [100, 160]]))


@pytest.mark.parametrize(("x", "share"), [(200, 0.0), (150, 0.5), (133, 0.67), (100, 1.0), (90, 1.1)])
def test_depth_counts_from_the_posterior_wall_where_the_needle_comes_from(x: float, share: float) -> None:
    assert depth_share((x, 130.0), (x + 150.0, 150.0), (BODY,)) == pytest.approx(share)


def test_a_tip_off_every_body_has_no_depth() -> None:
    assert depth_share((150.0, 300.0), (300.0, 320.0), (BODY,)) is None
    assert depth_share((400.0, 130.0), (550.0, 150.0), (BODY,)) is None
    assert depth_share((150.0, 130.0), (300.0, 150.0), ()) is None


def test_a_needle_that_tilts_until_it_is_a_dot_and_back_keeps_its_id() -> None:
    tracker = NeedleTracker()
    shaft = seen(300.0, 300.0)
    dot = replace(shaft, shaft_px=None, angle_deg=None, diameter_px=None)
    views = [shaft] * 4 + [dot] * 4 + [shaft] * 4
    told = [tracker.update((view,), i / 7.5, RigidMotion(), 0) for i, view in enumerate(views)]
    assert {tuple(ids(needles)) for needles in told} == {(1,)}
    assert [needles[0].shaft_px is None for needles in told] == [False] * 4 + [True] * 4 + [False] * 4


def hub_end_of(needle: NeedleSighting) -> NeedleSighting:
    """The rear half of a needle's shaft with its back told as the tip, as where cement covers the true one."""
    assert needle.shaft_px is not None
    tip, back = np.array(needle.shaft_px)
    middle = 0.5 * (tip + back)
    end, start = (float(back[0]), float(back[1])), (float(middle[0]), float(middle[1]))
    return replace(needle, tip_px=end, shaft_px=(end, start), angle_deg=angle_deg(end, start))


def test_a_shafts_back_end_is_no_second_needle_while_cement_covers_the_tip() -> None:
    needle = seen(100, 300)
    tracker = followed(needle)
    for pulse in range(12, 24):
        (told,) = tracker.update((hub_end_of(needle),), 0.1 * pulse, STILL, 0)
        assert told.id == 1
        assert told.tip_hidden
        assert told.tip_px == pytest.approx((100, 300), abs=1.0)


def test_a_needle_from_the_other_side_in_line_with_a_known_one_is_a_second() -> None:
    tracker = followed(seen(200, 100, angle=0.0))
    for pulse in range(12, 18):
        opposite = seen(180, 100, angle=180.0)
        told = tracker.update((seen(200, 100, angle=0.0), opposite), 0.1 * pulse, STILL, 0)
    assert ids(told) == [1, 2]
