"""Coarser cells over a plane: their means and what they touch, as plain sums over overlaps say."""

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from guidance.vision.cells import Cells, cells_over

SIDES = st.tuples(st.integers(1, 14), st.integers(1, 17))


def overlaps(length: int, count: int) -> NDArray[np.float64]:
    """How much of each cell each pixel is: (count, length). What is less than a thousandth of a pixel is rounding."""
    starts, side = np.arange(count)[:, None] * (length / count), length / count
    pixels = np.arange(length)
    shared = (np.minimum(starts + side, pixels + 1) - np.maximum(starts, pixels)).clip(0)
    return np.where(shared > 1e-3, shared, 0.0) / side


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_a_cell_has_the_mean_of_its_pixels_and_is_touched_by_any_of_a_mask(data: st.DataObject) -> None:
    pixels, shape = data.draw(SIDES), data.draw(SIDES)
    plane = data.draw(arrays(np.float32, pixels, elements=st.floats(-8, 8, width=16)))
    mask = data.draw(arrays(np.uint8, pixels, elements=st.sampled_from([0, 1, 255])))
    down, across = (overlaps(length, count) for length, count in zip(pixels, shape, strict=True))
    cells = Cells(pixels, shape)
    np.testing.assert_allclose(cells.averages(plane), down @ plane @ across.T, atol=1e-4)
    for absent in (0, 255):
        share = down @ (mask != absent) @ across.T
        clear = np.abs(share - 0.5 / 255) > 1e-5
        np.testing.assert_array_equal(cells.touched(mask, absent)[clear] > 0, (share > 0.5 / 255)[clear])


def test_larger_cells_are_those_of_opencvs_area_interpolation() -> None:
    rng = np.random.default_rng(4)
    for pixels, shape in (((131, 97), (61, 42)), ((90, 60), (30, 20)), ((50, 81), (49, 80))):
        plane = rng.normal(0, 1, pixels).astype(np.float32)
        mask = np.where(rng.random(pixels) < 0.02, 255, 0).astype(np.uint8)
        averages, touched = (cv2.resize(p, shape[::-1], interpolation=cv2.INTER_AREA) for p in (plane, mask))
        cells = cells_over(pixels, shape)
        np.testing.assert_allclose(cells.averages(plane), averages, atol=1e-5)
        np.testing.assert_array_equal(cells.touched(mask) > 0, touched > 0)
