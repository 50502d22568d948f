from math import radians, tan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from guidance.vision.needle_point import (
    BEFORE_APEX,
    BEVEL_DEG,
    GRAIN,
    ROLLS_DEG,
    SEEN_STEEL,
    STEEL_DEPTH,
    VIEWS_DEG,
    point_images,
    trocar_path,
)


def marched_path(view_deg: float, roll_deg: float, behind: float, aside: float) -> float:
    """The definition: the share of points along a ray that lie inside the shaft and behind all three faces."""
    view, roll, bevel = np.radians([view_deg, roll_deg, BEVEL_DEG])
    steps = np.arange(-8.0, 8.0, 0.002)
    # Along the axis backwards, across it in the picture, and across it along the beam as far as the view allows.
    along = behind * np.sin(view) + steps * np.cos(view)
    high = steps * np.sin(view) - behind * np.cos(view)
    inside = aside**2 + high**2 <= 0.25
    for face in range(3):
        turn = roll + face * 2 * np.pi / 3
        inside &= np.cos(turn) * aside + np.sin(turn) * high <= along * np.tan(bevel)
    return float(inside.sum() * 0.002)


@given(st.floats(25, 90), st.floats(0, 120), st.floats(-0.5, 1.5), st.floats(-0.45, 0.45))
def test_the_path_through_a_point_is_what_lies_in_the_shaft_and_behind_its_faces(
    view_deg: float, roll_deg: float, behind: float, aside: float
) -> None:
    path = trocar_path(view_deg, roll_deg, np.array([behind]), np.array([aside]))
    assert path.shape == (1, 1)
    assert path[0, 0] == pytest.approx(marched_path(view_deg, roll_deg, behind, aside), abs=0.006)


def test_far_behind_its_point_a_shaft_is_as_thick_as_wide() -> None:
    assert trocar_path(90.0, 45.0, np.array([1.0 / tan(radians(BEVEL_DEG))]), np.array([0.0]))[0, 0] == pytest.approx(1)


def densest_at(image: NDArray[np.float32], behind: float) -> float:
    """The greatest density this far behind the visible apex, within a quarter of a diameter of the axis."""
    return float(image[: GRAIN // 4 + 1, round((BEFORE_APEX + behind) * GRAIN)].max())


def test_the_images_begin_to_darken_at_the_visible_apex() -> None:
    # Without scatter and all but unblurred: density is steel's depth times its thickness.
    images = point_images(1, round(4 * STEEL_DEPTH)).density
    assert len(images) == len(VIEWS_DEG) * len(ROLLS_DEG)
    for image in images:
        assert densest_at(image, 0.04) > 0.5 * STEEL_DEPTH * SEEN_STEEL
        assert densest_at(image, -0.04) < STEEL_DEPTH * SEEN_STEEL


def test_a_foreshortened_point_is_blunt() -> None:
    behind = point_images(8, 3).half_behind.reshape(len(VIEWS_DEG), len(ROLLS_DEG)).mean(axis=1)
    assert np.all(np.diff(behind) < 0.0)
