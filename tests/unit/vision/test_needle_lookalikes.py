"""What looks like a needle and is none, on drawn x-ray pictures, beside needles that must stay."""

from math import cos, hypot, radians, sin

import numpy as np
import pytest
from numpy.typing import NDArray

from guidance.vision.needle import find_needles
from guidance.vision.needle_lookalikes import without_jaws
from guidance.vision.needle_shaft import Shaft, goes_on, runs_through, without_pieces_of
from guidance.vision.needle_track import NeedleSighting
from guidance.vision.picture import Picture
from tests.unit.vision.needle_pictures import NEEDLE_MM, expose, picture_of, steel_mm

SHAPE = (400, 480)
DIAMETER_PX = 8.0
JOINT = (330.0, 190.0)
FLAT, POINTED = 0.05, 0.8


def shown(steel: NDArray[np.float64], seed: int = 1) -> Picture:
    return picture_of(expose(np.full(SHAPE, 0.8), steel, 60.0, np.random.default_rng(seed)))


def bar(tip: tuple[float, float], angle_deg: float, length_px: float, taper: float) -> NDArray[np.float64]:
    return steel_mm(SHAPE, tip, angle_deg, length_px, DIAMETER_PX, taper)


def threaded(tip: tuple[float, float], angle_deg: float, pitch_px: float) -> NDArray[np.float64]:
    """A bar whose rim stands out by a third of its width, once a pitch."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    along = (x - tip[0]) * cos(radians(angle_deg)) - (y - tip[1]) * sin(radians(angle_deg))
    core = steel_mm(SHAPE, tip, angle_deg, 900.0, DIAMETER_PX, FLAT)
    rim = steel_mm(SHAPE, tip, angle_deg, 900.0, 1.6 * DIAMETER_PX, FLAT)
    return np.where(np.mod(along, pitch_px) < 0.3 * pitch_px, np.maximum(core, rim), core)


def towards(joint: tuple[float, float], angle_deg: float, reach_px: float) -> tuple[float, float]:
    """The place this far in front of a joint, on a bar that leads from it back at the given angle."""
    return joint[0] - reach_px * cos(radians(angle_deg)), joint[1] + reach_px * sin(radians(angle_deg))


@pytest.mark.parametrize("angle_deg", [3.0, 50.0, 95.0])
def test_a_threaded_screw_is_no_needle(angle_deg: float) -> None:
    tip = (200.0, 190.0)
    assert find_needles(shown(threaded(tip, angle_deg, pitch_px=7.0))) == ()
    assert len(find_needles(shown(bar(tip, angle_deg, 900.0, POINTED)))) == 1


def test_two_jaws_that_spread_from_one_point_with_level_tips_are_no_needles() -> None:
    joint = (500.0, 200.0)
    jaws = [bar(towards(joint, a, 180.0), a, 900.0, FLAT) for a in (-6.0, 6.0)]
    assert find_needles(shown(sum(jaws, np.zeros(SHAPE)))) == ()


def test_two_needles_that_spread_to_unlike_depths_are_both_found() -> None:
    joint = (500.0, 200.0)
    needles = [bar(towards(joint, a, reach), a, 900.0, POINTED) for a, reach in ((-6.0, 180.0), (6.0, 250.0))]
    assert len(find_needles(shown(sum(needles, np.zeros(SHAPE))))) == 2


@pytest.mark.parametrize("reach_px", [130.0, 170.0, 210.0])
def test_of_needles_that_merge_where_they_cross_each_is_found_in_its_own_direction(reach_px: float) -> None:
    tips = {a: towards((400.0, 190.0), a, reach) for a, reach in ((-3.0, 260.0), (3.0, reach_px))}
    steel = sum((bar(tip, angle_deg, 900.0, POINTED) for angle_deg, tip in tips.items()), np.zeros(SHAPE))
    found = sorted(find_needles(shown(steel)), key=lambda s: s.tip_px)
    assert [s.angle_deg for s in found] == pytest.approx(list(tips), abs=0.5)
    for sighting, (x, y) in zip(found, tips.values(), strict=True):
        assert hypot(sighting.tip_px[0] - x, sighting.tip_px[1] - y) < 3.0


def test_needles_that_cross_close_to_the_border_and_leave_the_field_as_one_bar_are_both_found() -> None:
    tips = [towards((440.0, 190.0), angle_deg, reach_px) for angle_deg, reach_px in ((-6.0, 260.0), (6.0, 170.0))]
    needles = [bar(tip, angle_deg, 900.0, POINTED) for tip, angle_deg in zip(tips, (-6.0, 6.0), strict=True)]
    assert len(find_needles(shown(sum(needles, np.zeros(SHAPE))))) == 2


def test_the_bar_where_two_needles_merge_is_a_piece_of_each_and_a_line_beyond_its_end_is_not_one_of_it() -> None:
    def shaft(first: int, last: int, width: float) -> Shaft:
        return Shaft.of(np.zeros((200, 5), np.float32), np.array([0, 100, 1, 0, first, last, width, 0.5, 1, 0.0]))

    def line(start: float, end: float) -> NDArray[np.float64]:
        return np.array([[start, 103.0, end, 103.0, 1.0, 0.0, 8.0, 0.5, 10.0]])

    needle, merged = shaft(20, 195, 8.0), shaft(120, 199, 12.0)
    assert runs_through(needle, merged)
    assert not runs_through(merged, needle)
    assert len(without_pieces_of(merged, line(130.0, 160.0))) == 0
    assert len(without_pieces_of(merged, line(80.0, 118.0))) == 1


@pytest.mark.parametrize("turn_deg", [0.0, 37.0, 101.0])
def test_both_arms_of_a_clamp_seen_with_its_joint_are_no_needles(turn_deg: float) -> None:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    box_lock = np.where(np.hypot(x - JOINT[0], y - JOINT[1]) < 1.4 * DIAMETER_PX, 5.0, 0.0)
    arms = [bar(towards(JOINT, turn_deg + a, 110.0), turn_deg + a, 900.0, FLAT) for a in (-4.5, 4.5)]
    assert find_needles(shown(sum(arms, box_lock))) == ()


def test_an_arm_goes_with_its_twin_whose_joint_was_seen() -> None:
    def arm(angle_deg: float) -> NeedleSighting:
        ends = towards(JOINT, angle_deg, 110.0), towards(JOINT, angle_deg, 40.0)
        return NeedleSighting(ends[0], ends, angle_deg, DIAMETER_PX, 0.98)

    picture = shown(np.zeros(SHAPE))
    assert without_jaws(picture, [arm(-4.5)], [arm(4.5)]) == []
    assert without_jaws(picture, [arm(-4.5)], []) == [arm(-4.5)]


@pytest.mark.parametrize(("bend_widths", "expected"), [(100.0, 0), (1000.0, 1)])
def test_a_lead_that_bends_is_no_needle_and_a_long_pin_that_bows_is_one(bend_widths: float, expected: int) -> None:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    radius = bend_widths * DIAMETER_PX
    across = 2.0 * np.abs(np.hypot(x - 300.0, y - 200.0 - radius) - radius) / DIAMETER_PX
    thick = NEEDLE_MM * np.sqrt(np.maximum(0.0, 1.0 - across**2))
    assert len(find_needles(shown(np.where(x > 150.0, thick, 0.0)))) == expected


@pytest.mark.parametrize(("steel_share", "expected"), [(1.0, 1), (0.25, 0)])
def test_a_straight_ribbon_much_fainter_than_steel_is_no_needle(steel_share: float, expected: int) -> None:
    assert len(find_needles(shown(steel_share * bar((200.0, 190.0), 30.0, 900.0, POINTED)))) == expected


def test_two_arms_that_merge_into_one_bar_of_uneven_width_are_no_needle() -> None:
    arms = [bar(towards(JOINT, 37.0 + a, 130.0), 37.0 + a, 900.0, FLAT) for a in (-2.5, 2.5)]
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    box_lock = np.where(np.hypot(x - JOINT[0], y - JOINT[1]) < 1.4 * DIAMETER_PX, 5.0, 0.0)
    assert find_needles(shown(sum(arms, box_lock))) == ()


@pytest.mark.parametrize(("shown_px", "expected"), [(DIAMETER_PX, 1), (2.5, 0)])
def test_without_a_scale_what_is_too_thin_for_the_largest_field_is_no_needle(shown_px: float, expected: int) -> None:
    steel = steel_mm(SHAPE, (200.0, 190.0), 30.0, 900.0, shown_px, POINTED)
    assert len(find_needles(shown(steel))) == expected


def test_parallel_needles_with_their_hubs_side_by_side_are_both_found() -> None:
    steel = np.zeros(SHAPE)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for row in (180.0, 200.0):
        steel += bar((150.0, row), 0.0, 200.0, POINTED)
        # The luer lock: broader than the shaft, of brass as dark as it; behind it there is plastic.
        steel += np.where((np.abs(x - 360.0) < 10) & (np.abs(y - row) < 9), NEEDLE_MM, 0.0)
    tips = sorted(s.tip_px for s in find_needles(shown(steel)) if s.shaft_px is not None)
    assert [min(hypot(tip[0] - 150.0, tip[1] - row) for tip in tips) < 3.0 for row in (180.0, 200.0)] == [True, True]


@pytest.mark.parametrize(("beyond", "expected"), [(0.02, True), (-0.02, False)])
def test_an_end_beyond_which_a_faint_shaft_is_left_is_no_end(beyond: float, expected: bool) -> None:
    sections = np.zeros((120, 5), np.float32)
    sections[:60, 2], sections[60:, 2] = 0.5, beyond
    shaft = Shaft.of(sections, np.array([0, 0, 1, 0, 10, 60, 8, 0.5, 2, 2]))
    assert goes_on(shaft, 1) is expected
