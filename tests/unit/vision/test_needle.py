"""The needle finder on drawn x-ray pictures of known truth."""

from math import cos, hypot, radians, sin

import numpy as np
import pytest

from guidance.vision.needle import NeedleSighting, find_needles, shaft_mask
from guidance.vision.picture import Picture
from tests.unit.vision.needle_pictures import NEEDLE_MM, expose, picture_of, soft_tissue, steel_mm

SHAPE = (400, 480)
DIAMETER_PX = 9.0
QUANTA = 60.0
"""A pixel: 13 % noise, as of a few µR a frame."""


def one_needle(tip: tuple[float, float], angle_deg: float, seed: int = 1, bone_dark: bool = True) -> Picture:
    rng = np.random.default_rng(seed)
    pixels = expose(soft_tissue(*SHAPE, rng), steel_mm(SHAPE, tip, angle_deg, 900.0, DIAMETER_PX, 0.8), QUANTA, rng)
    return picture_of(pixels if bone_dark else np.asarray(255 - pixels, dtype=np.uint8), bone_dark)


def nearest(sightings: tuple[NeedleSighting, ...], tip: tuple[float, float]) -> tuple[float, NeedleSighting]:
    return min(((hypot(s.tip_px[0] - tip[0], s.tip_px[1] - tip[1]), s) for s in sightings), key=lambda pair: pair[0])


@pytest.mark.parametrize("angle_deg", [-170.0, -90.0, -44.0, 3.0, 45.0, 90.0, 133.0])
def test_a_needle_is_found_at_any_angle_with_its_tip_within_a_millimetre(angle_deg: float) -> None:
    tip = (240.0, 190.0)
    found = find_needles(one_needle(tip, angle_deg))
    error_px, sighting = nearest(found, tip)
    assert error_px * NEEDLE_MM / DIAMETER_PX < 1.0
    assert sighting.angle_deg is not None
    assert abs((sighting.angle_deg - angle_deg + 180) % 360 - 180) < 0.5
    assert sighting.diameter_px == pytest.approx(DIAMETER_PX, rel=0.25)
    assert sighting.confidence > 0.8


def test_the_shaft_runs_from_the_tip_backwards() -> None:
    tip = (240.0, 190.0)
    _, sighting = nearest(find_needles(one_needle(tip, 30.0)), tip)
    assert sighting.shaft_px is not None
    assert sighting.shaft_px[0] == sighting.tip_px
    assert sighting.shaft_px[1][0] > 400


def test_an_inverted_picture_gives_the_same_needle() -> None:
    tip = (200.0, 210.0)
    dark, light = one_needle(tip, 60.0), one_needle(tip, 60.0, bone_dark=False)
    (a,), (b,) = find_needles(dark), find_needles(light)
    assert a.tip_px == pytest.approx(b.tip_px, abs=0.5)


@pytest.mark.parametrize("seed", range(6))
def test_tissue_with_straight_cortical_lines_holds_no_needle(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = expose(soft_tissue(*SHAPE, rng), np.zeros(SHAPE), QUANTA, rng)
    assert find_needles(picture_of(pixels)) == ()


def test_a_bar_across_the_whole_field_has_no_tip() -> None:
    rng = np.random.default_rng(2)
    steel = steel_mm(SHAPE, (-300.0, 150.0), -10.0, 2000.0, DIAMETER_PX, 0.8)
    assert find_needles(picture_of(expose(soft_tissue(*SHAPE, rng), steel, QUANTA, rng))) == ()


def test_crossing_needles_are_both_found() -> None:
    rng = np.random.default_rng(3)
    tips = (200.0, 150.0), (290.0, 160.0)
    steel = steel_mm(SHAPE, tips[0], -40.0, 900.0, DIAMETER_PX, 0.8)
    steel += steel_mm(SHAPE, tips[1], -140.0, 900.0, DIAMETER_PX, 0.8)
    found = find_needles(picture_of(expose(soft_tissue(*SHAPE, rng), steel, QUANTA, rng)))
    assert len(found) == 2
    assert all(nearest(found, tip)[0] < 3.0 for tip in tips)


def test_the_mask_covers_the_shaft_and_its_margin_only() -> None:
    tip = (240.0, 190.0)
    picture = one_needle(tip, 30.0)
    found = find_needles(picture)
    mask = shaft_mask(picture, found, 3.0)
    steel = steel_mm(SHAPE, tip, 30.0, 900.0, DIAMETER_PX, 0.8) > 1.0
    assert (mask[steel] == 255).mean() > 0.98
    assert (mask == 255).sum() < 2.2 * steel.sum()


def test_the_mask_of_no_needle_is_empty() -> None:
    assert not shaft_mask(one_needle((240.0, 190.0), 30.0), (), 3.0).any()


def test_a_needle_seen_end_on_is_a_dot_without_a_shaft() -> None:
    rng = np.random.default_rng(4)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    steel = np.where(np.hypot(x - 222.0, y - 187.0) < DIAMETER_PX / 2, 40.0, 0.0)
    (dot,) = find_needles(picture_of(expose(soft_tissue(*SHAPE, rng), steel, QUANTA, rng)))
    assert dot.shaft_px is None
    assert dot.angle_deg is None
    assert dot.tip_px == pytest.approx((222.0, 187.0), abs=1.0)
    assert dot.diameter_px == pytest.approx(DIAMETER_PX, rel=0.25)


def test_a_tip_in_cement_is_said_to_be_hidden_and_a_bare_one_is_not() -> None:
    tip = (240.0, 190.0)
    rng = np.random.default_rng(6)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    # A ball of cement round the tip that attenuates about as 1.2 mm of steel in its middle.
    cement = 1.2 * np.sqrt(np.maximum(0.0, 1.0 - ((x - 236) ** 2 + (y - 193) ** 2) / 14.0**2))
    needle = steel_mm(SHAPE, tip, 30.0, 900.0, DIAMETER_PX, 0.8)
    (in_cement,) = find_needles(picture_of(expose(soft_tissue(*SHAPE, rng), needle + cement, QUANTA, rng)))
    assert in_cement.tip_hidden
    assert not nearest(find_needles(one_needle(tip, 30.0)), tip)[1].tip_hidden


def test_a_column_of_cement_in_the_shafts_line_stands_out_less_than_steel() -> None:
    tip, angle_deg, rng = (240.0, 190.0), 30.0, np.random.default_rng(8)
    end = (tip[0] - 22 * cos(radians(angle_deg)), tip[1] + 22 * sin(radians(angle_deg)))
    needle = steel_mm(SHAPE, tip, angle_deg, 900.0, DIAMETER_PX, 0.8)
    column = 0.3 * steel_mm(SHAPE, end, angle_deg, 50.0, DIAMETER_PX, 0.3)
    pixels = expose(np.full(SHAPE, 0.8), np.maximum(needle, column), QUANTA, rng)
    error_px, sighting = nearest(find_needles(picture_of(pixels)), end)
    assert error_px < DIAMETER_PX
    assert sighting.steel_share < 0.7
    assert nearest(find_needles(one_needle(tip, angle_deg)), tip)[1].steel_share > 0.75


@pytest.mark.parametrize(("shown_px", "expected"), [(DIAMETER_PX, 1), (0.55 * DIAMETER_PX, 0)])
def test_where_the_scale_is_known_a_ribbon_of_half_a_needles_width_is_none(shown_px: float, expected: int) -> None:
    rng = np.random.default_rng(9)
    steel = steel_mm(SHAPE, (240.0, 190.0), 30.0, 900.0, shown_px, 0.8)
    picture = picture_of(expose(soft_tissue(*SHAPE, rng), steel, QUANTA, rng))
    assert len(find_needles(picture, (0.75 * DIAMETER_PX, 1.2 * DIAMETER_PX))) == expected


def test_a_shaft_that_ends_in_something_as_dark_as_itself_is_told_as_covered() -> None:
    rng = np.random.default_rng(7)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    cement = 3.2 * np.sqrt(np.maximum(0.0, 1.0 - ((x - 220) ** 2 + (y - 205) ** 2) / 70.0**2))
    needle = steel_mm(SHAPE, (240.0, 190.0), 30.0, 900.0, DIAMETER_PX, 0.8)
    found = find_needles(picture_of(expose(soft_tissue(*SHAPE, rng), np.maximum(needle, cement), QUANTA, rng)))
    (shaft,) = [s for s in found if s.tip_covered]
    assert shaft.tip_hidden
    assert shaft.angle_deg == pytest.approx(30.0, abs=1.0)
