"""The bull's eye view down a needle, drawn from known truth: its black core, its hub's metal and plastic."""

from math import cos, radians, sin

import numpy as np
import pytest
from numpy.typing import NDArray

from guidance.vision.needle import NeedleSighting, _nearest_pixel, find_needles
from tests.unit.vision.needle_pictures import NEEDLE_MM, expose, picture_of, soft_tissue

SHAPE = (400, 480)
DIAMETER_PX = 9.0
MM_PER_PX = NEEDLE_MM / DIAMETER_PX
KNOWN_PX = (0.75 * DIAMETER_PX, 1.05 * DIAMETER_PX)
HUB_XY = (222.0, 187.0)
PLASTIC_MM, LUER_MM = 0.7, 2.1
"""As so much steel along the beam."""
QUANTA = 60.0


def hub_mm() -> NDArray[np.float64]:
    """A handle of 18 mm with a cross bar, and in it a luer lock of 8 mm."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] * MM_PER_PX
    across_mm, down_mm = x - HUB_XY[0] * MM_PER_PX, y - HUB_XY[1] * MM_PER_PX
    away_mm = np.hypot(across_mm, down_mm)
    bar = (np.abs(across_mm) < 30) & (np.abs(down_mm) < 6.5)
    return PLASTIC_MM * (away_mm < 9) + 0.5 * PLASTIC_MM * bar + LUER_MM * (away_mm < 4)


def core_mm(length_mm: float, towards_deg: float) -> NDArray[np.float64]:
    """A shaft along the beam whose tip appears so far from the middle of its hub."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    ux, uy = cos(radians(towards_deg)), sin(radians(towards_deg))
    along = (x - HUB_XY[0]) * ux + (y - HUB_XY[1]) * uy
    across = (y - HUB_XY[1]) * ux - (x - HUB_XY[0]) * uy
    radius = DIAMETER_PX / 2
    short = along - np.clip(along, 0.0, max(0.0, length_mm / MM_PER_PX - radius))
    return np.where(np.hypot(short, across) < radius, 40.0, 0.0)


def seen(steel: NDArray[np.float64], seed: int = 1, bone_dark: bool = True) -> tuple[NeedleSighting, ...]:
    rng = np.random.default_rng(seed)
    pixels = expose(soft_tissue(*SHAPE, rng), steel, QUANTA, rng)
    shown = pixels if bone_dark else np.asarray(255 - pixels, dtype=np.uint8)
    return find_needles(picture_of(shown, bone_dark), KNOWN_PX)


def tip_xy(length_mm: float, towards_deg: float) -> tuple[float, float]:
    length_px = length_mm / MM_PER_PX
    return HUB_XY[0] + length_px * cos(radians(towards_deg)), HUB_XY[1] + length_px * sin(radians(towards_deg))


@pytest.mark.parametrize("towards_deg", [0.0, 70.0, 135.0, -90.0])
@pytest.mark.parametrize("length_mm", [6.0, 9.0, 12.0])
def test_down_the_needle_its_tip_is_the_black_cores_end_away_from_the_hub(length_mm: float, towards_deg: float) -> None:
    (dot,) = seen(hub_mm() + core_mm(length_mm, towards_deg))
    assert dot.shaft_px is None
    assert dot.angle_deg is None
    assert dot.confidence >= 0.8
    assert dot.tip_px == pytest.approx(tip_xy(length_mm, towards_deg), abs=0.8 / MM_PER_PX)


def test_exactly_along_the_needle_the_tip_is_the_middle_of_the_bulls_eye() -> None:
    (dot,) = seen(hub_mm() + core_mm(0.0, 0.0))
    assert dot.tip_px == pytest.approx(HUB_XY, abs=1.0 / MM_PER_PX)


def test_an_inverted_bulls_eye_is_the_same_needle() -> None:
    (dot,) = seen(hub_mm() + core_mm(8.0, 30.0), bone_dark=False)
    assert dot.tip_px == pytest.approx(tip_xy(8.0, 30.0), abs=0.8 / MM_PER_PX)


@pytest.mark.parametrize("radius_mm", [3.0, 4.5, 6.0])
def test_a_screws_head_and_a_marker_have_no_hub_about_them_and_are_none(radius_mm: float) -> None:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    away_mm = np.hypot(x - HUB_XY[0], y - HUB_XY[1]) * MM_PER_PX
    assert seen(np.where(away_mm < radius_mm, 40.0, 0.0)) == ()


def test_a_handle_alone_holds_no_needle() -> None:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    away_mm = np.hypot(x - HUB_XY[0], y - HUB_XY[1]) * MM_PER_PX
    assert seen(np.where(away_mm < 9, PLASTIC_MM, 0.0)) == ()


def test_steel_that_runs_on_beyond_the_hub_is_no_core() -> None:
    y, _ = np.mgrid[: SHAPE[0], : SHAPE[1]]
    wide_bar = np.where(np.abs(y - HUB_XY[1]) * MM_PER_PX < 3.5, 40.0, 0.0)
    assert all(s.shaft_px is not None for s in seen(hub_mm() + wide_bar))


@pytest.mark.parametrize(("from_border_px", "told"), [(6, 0), (70, 1)])
def test_what_the_fields_border_cuts_off_is_not_known_to_be_compact(from_border_px: int, told: int) -> None:
    height = round(HUB_XY[1]) + from_border_px
    steel = (hub_mm() + core_mm(0.0, 0.0))[:height]
    rng = np.random.default_rng(1)
    pixels = expose(soft_tissue(height, SHAPE[1], rng), steel, QUANTA, rng)
    assert len(find_needles(picture_of(pixels), KNOWN_PX)) == told


def test_a_dot_that_is_fitted_beyond_the_pictures_border_is_looked_up_on_the_border() -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[:, -1] = 255
    assert _nearest_pixel(mask, (59.7, 20.0)) == 255
    assert _nearest_pixel(mask, (-0.6, 39.8)) == 0
