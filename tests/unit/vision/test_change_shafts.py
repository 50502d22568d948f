"""The kernels for shafts that have slipped aside since the baseline, against plain twins."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from guidance.vision.kernels import shafts
from guidance.vision.kernels.grey import OPEN
from tests.unit.vision.test_change import SHAPES, greys, planes

CLIP, LEAST_PX, STEPS, LEAST_STEP_PX, MOST_SLIP_PX = 0.3, 40, 4, 0.1, 3.0


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_parts_that_have_become_lighter_equal_their_definition(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    parts = data.draw(greys(shape, 4)).astype(np.int32)
    grey = data.draw(greys(shape, 4))
    coarse, doubt = data.draw(planes(shape)), data.draw(planes(shape, 0.0, 0.5))
    sigma = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    top, left = data.draw(st.integers(0, shape[0] - 1)), data.draw(st.integers(0, shape[1] - 1))
    box = np.ascontiguousarray(parts[top:, left:])
    got = shafts.uncovered(box, 4, top, left, grey, coarse, doubt, sigma, np.float32(2), 0.25)
    lighter = ((coarse < 0) & (coarse**2 > np.float32(4) * (sigma[grey] ** 2 + doubt)))[top:, left:]
    twin = [part > 0 and int(lighter[box == part].sum()) > 0.25 * int((box == part).sum()) for part in range(4)]
    assert got.tolist() == twin


def slipped_twin(
    parts: NDArray[np.int32],
    count: int,
    base: NDArray[np.float32],
    grad_x: NDArray[np.float32],
    grad_y: NDArray[np.float32],
    marks: NDArray[np.uint8],
    delta: NDArray[np.float32],
) -> NDArray[np.float32]:
    """The difference without what shafts have slipped; ``parts`` on the whole plane."""
    out = delta.copy()
    for part in range(1, count):
        shaft = np.nonzero(parts == part)
        use = marks[shaft] & OPEN > 0
        if int(use.sum()) < LEAST_PX:
            continue
        rows, cols = shaft
        places = np.column_stack([cols - cols.mean(), rows - rows.mean()])
        aside, lengthways = np.linalg.eigh(places.T @ places)[1].T
        along = places @ lengthways
        ends = np.column_stack([np.ones_like(along), along / max(1.0, float(np.abs(along).max()))])
        effect = ((grad_x[shaft] * aside[0] + grad_y[shaft] * aside[1])[:, None] * ends)[use]
        told, rest, slip = delta[shaft], delta[shaft], np.zeros(2)
        for _ in range(STEPS):
            step = np.linalg.lstsq(effect, np.clip(rest[use], -CLIP, CLIP), rcond=None)[0]
            if float(np.abs(step).sum()) < LEAST_STEP_PX:
                break
            slip += step
            at = np.array([cols, rows]) + (ends @ slip) * aside[:, None]
            x, y = at.astype(np.float32)
            rest = told + base[shaft] - cv2.remap(base, x, y, cv2.INTER_LINEAR).ravel()
        fits_better = np.abs(rest[use]).clip(0, CLIP).sum() < np.abs(told[use]).clip(0, CLIP).sum()
        if fits_better and float(np.abs(slip).sum()) < MOST_SLIP_PX:
            out[shaft] = rest
    return out


def two_shafts(height: int, width: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Two bars across a plane, one of them out of its edge, and what they absorb."""
    mask = np.zeros((height, width), np.uint8)
    cv2.line(mask, (5, 8), (width - 10, height // 2), 255, 6)
    cv2.line(mask, (width - 15, height - 6), (width + 5, height - 25), 255, 6)
    count, parts = cv2.connectedComponents(mask)
    assert count == 3
    bare = np.where(cv2.erode(mask, np.ones((3, 3), np.uint8)) > 0, 0.8, 0.1).astype(np.float32)
    return parts, cv2.GaussianBlur(bare, (0, 0), 1.0).astype(np.float32)


@pytest.mark.parametrize(("x_px", "y_px"), [(0.0, 0.0), (0.3, 0.6), (-1.2, 0.8), (2.0, 3.5)])
def test_what_a_shaft_has_slipped_is_taken_as_the_twin_takes_it(x_px: float, y_px: float) -> None:
    rng = np.random.default_rng(8)
    height, width = 70, 110
    parts, base = two_shafts(height, width)
    grad_x, grad_y = (cv2.Sobel(base, cv2.CV_32F, dx, dy, ksize=3, scale=0.125) for dx, dy in ((1, 0), (0, 1)))
    aside = np.array([[1.0, 0.0, x_px], [0.0, 1.0, y_px]])
    present = cv2.warpAffine(base, aside, (width, height), borderMode=cv2.BORDER_REPLICATE)
    delta = (present - base + rng.normal(0, 0.02, base.shape)).astype(np.float32)
    marks = np.where(rng.random(base.shape) < 0.8, OPEN, 0).astype(np.uint8)
    twin = slipped_twin(parts, 3, base, grad_x, grad_y, marks, delta)
    # In a box that leaves out what no shaft reaches.
    top, left = (int(axis.min()) for axis in np.nonzero(parts))
    box = np.ascontiguousarray(parts[top:, left:])
    got = delta.copy()
    shafts.take_shaft_slips(
        box, 3, top, left, base, grad_x, grad_y, marks, CLIP, LEAST_PX, STEPS, LEAST_STEP_PX, MOST_SLIP_PX, got
    )
    np.testing.assert_allclose(got, twin, atol=2e-4)
    assert np.array_equal(got[parts == 0], delta[parts == 0])


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_between_pixels_a_plane_is_bilinear_and_beyond_its_edge_0(data: st.DataObject) -> None:
    plane = data.draw(planes(data.draw(SHAPES)))
    y = data.draw(st.floats(-3, plane.shape[0] + 2, width=32))
    x = data.draw(st.floats(-3, plane.shape[1] + 2, width=32))
    (twin,) = cv2.remap(plane, np.array([x], np.float32), np.array([y], np.float32), cv2.INTER_LINEAR).ravel()
    assert shafts._between(plane, np.float32(y), np.float32(x)) == pytest.approx(twin, abs=1e-5)
