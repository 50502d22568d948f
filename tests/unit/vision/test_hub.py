"""The kernels that look at hubs and discs, against plain restatements of what they compute."""

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from guidance.vision.kernels import hub as kernels
from guidance.vision.kernels.shaft import straighten

SEEDS = st.integers(0, 2**32 - 1)
SHAPES = st.tuples(st.integers(1, 14), st.integers(1, 20))
IMAGES = SHAPES.flatmap(lambda shape: arrays(np.float32, shape, elements=st.floats(0, 2, width=16)))
Image = NDArray[np.float32]


def distance(image: Image, x: float, y: float) -> NDArray[np.float64]:
    rows, columns = np.ogrid[: image.shape[0], : image.shape[1]]
    return np.asarray(np.hypot(columns - x, rows - y))


@given(IMAGES, arrays(np.int64, st.tuples(st.integers(1, 5), st.just(2)), elements=st.integers(-25, 25)))
def test_what_stands_out_is_darker_than_it_is_in_each_direction(image: Image, steps_yx: NDArray[np.int64]) -> None:
    wide = np.pad(image, 25)
    height, width = image.shape
    around = [wide[25 + y : 25 + y + height, 25 + x : 25 + x + width] for y, x in steps_yx]
    expected = image - np.max(around, axis=0) > np.float32(0.4)
    assert np.array_equal(kernels.standing_out(image, steps_yx, np.float32(0.4)), expected)


@given(IMAGES)
def test_pieces_are_the_connected_ones(image: Image) -> None:
    dark = (image > 1.0).astype(np.uint8)
    _, _, boxes, middles = cv2.connectedComponentsWithStats(dark, connectivity=8)
    expected = sorted([float(box[cv2.CC_STAT_AREA]), *middle] for box, middle in zip(boxes, middles, strict=True))
    told = kernels.pieces_of(dark).tolist()
    everything = [] if dark.all() else [[float((dark == 0).sum()), *np.argwhere(dark == 0)[:, ::-1].mean(axis=0)]]
    assert np.allclose(sorted(told + everything), [row for row in expected if row[0] > 0])


@given(IMAGES, st.floats(0, 19), st.floats(0, 13), st.floats(1.5, 8))
def test_the_contrast_is_that_of_the_darkest_near_a_place_with_the_ring_about_it(
    image: Image, x: float, y: float, reach: float
) -> None:
    away = distance(image, x, y)
    ring, near = np.abs(away - reach) < 1, away < 0.3 * reach
    if not ring.any() or not near.any():
        return
    share, contrast = kernels.contrast_about(image, x, y, reach)
    ground = float(np.median(image[ring].astype(np.float64)))
    assert np.isclose(contrast, image[near].max() - ground)
    assert np.allclose(share, (image - ground) / max(1e-6, contrast), rtol=1e-4, atol=1e-4 / max(1e-6, contrast))


@given(IMAGES, st.floats(0, 19), st.floats(0, 13))
def test_the_piece_is_the_connected_one_that_comes_nearest(image: Image, x: float, y: float) -> None:
    dark = image > 0.8
    piece = kernels.piece(image, x, y, 0.8)
    if not dark.any():
        assert not piece.any()
        return
    _, labels = cv2.connectedComponents(dark.astype(np.uint8), connectivity=4)
    nearest = np.argmin(np.where(dark, distance(image, x, y), np.inf))
    assert np.array_equal(piece, labels == labels.ravel()[nearest])


@given(IMAGES, SEEDS)
def test_the_median_within_a_mask(image: Image, seed: int) -> None:
    mask = np.random.default_rng(seed).integers(0, 2, image.shape).astype(np.uint8)
    mask[0, 0] = 1
    assert kernels.median_within(image, mask) == np.median(image[mask > 0].astype(np.float64))


@given(IMAGES, SEEDS, st.floats(0, 19), st.floats(0, 13))
def test_values_between_two_gaps_and_near_a_place(image: Image, seed: int, x: float, y: float) -> None:
    gap = np.random.default_rng(seed).uniform(0, 5, image.shape).astype(np.float32)
    expected = np.sort(image[(gap > 1) & (gap < 3) & (distance(image, x, y) < 6)])
    assert np.array_equal(kernels.between(image, gap, 1.0, 3.0, x, y, 6.0), expected)


@given(IMAGES, st.floats(0, 19), st.floats(0, 13))
def test_the_middle_is_found_in_three_rounds(image: Image, x: float, y: float) -> None:
    middle = np.array([x, y])
    for _ in range(3):
        there = np.argwhere((image > 0.8) & (distance(image, *middle) < 5))[:, ::-1]
        middle = there.mean(axis=0) if len(there) else middle
    assert np.allclose(kernels.middle_about(image, x, y, 0.8, 5.0), middle)


@settings(deadline=None)
@given(IMAGES, st.floats(0, 19), st.floats(0, 13), st.integers(1, 6))
def test_rays_are_means_across_strips(image: Image, x: float, y: float, n: int) -> None:
    angles = np.linspace(0, 5, 4)
    along = np.column_stack([np.cos(angles), np.sin(angles)])
    profiles = kernels.rays(image, x, y, along, n)
    expected = [straighten(image, x, y, ux, uy, n, 1).mean(axis=1) for ux, uy in along]
    assert np.allclose(profiles, expected, atol=1e-5, equal_nan=True)


def test_a_disc_is_where_a_run_on_rows_meets_one_on_columns_of_its_width() -> None:
    # Points, first and last band, x at band 0, x per band, rms, width, contrast.
    on_rows = np.array([[3.0, 10.0, 12.0, 40.0, 0.0, 0.1, 8.0, 0.6], [9.0, 10.0, 30.0, 40.0, 0.0, 0.1, 8.0, 0.6]])
    on_columns = np.array([[3.0, 12.0, 14.0, 34.5, 0.0, 0.1, 9.0, 0.6], [3.0, 40.0, 42.0, 34.5, 0.0, 0.1, 9.0, 0.6]])
    places = kernels.disc_places(on_rows, on_columns, 3.0, 0.3)
    # The first is at (40, 11 * 3 + 1) on rows and at (13 * 3 + 1, 34.5) on columns; others are long, or elsewhere.
    assert np.allclose(places, [[40.0, 34.25, 8.5]])
    assert len(kernels.disc_places(on_rows, on_columns, 3.0, 0.7)) == 0
