"""Areas and distances of polygons, against plain geometry."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from guidance.records import PolygonPx
from guidance.safety.shapes import (
    DRAWN_BESIDE_PX,
    SUBPIXELS,
    deepest_corner,
    depth_in_px,
    gap_px,
    gap_to_line_px,
    overlap_px2,
)
from guidance.vision.kernels import polygons as kernels
from tests.unit.safety.scenes import box


def test_the_overlap_of_two_boxes_is_their_common_area() -> None:
    assert overlap_px2([box(0, 0, 20, 10)], box(10, 5, 30, 30)) == pytest.approx(50, rel=0.1)


def test_overlapping_rings_are_counted_once() -> None:
    ring = box(0, 0, 40, 40)
    assert overlap_px2([ring, ring], box(0, 0, 20, 20)) == pytest.approx(400, rel=0.06)


def test_shapes_far_apart_do_not_overlap() -> None:
    assert overlap_px2([box(500, 500, 5, 5)], box(0, 0, 20, 20)) == 0


def test_the_gap_between_boxes_is_between_their_nearest_edges() -> None:
    assert gap_px([box(0, 0, 10, 10)], box(13, 2, 5, 5)) == pytest.approx(3)
    assert gap_px([box(0, 0, 10, 10)], box(13, 14, 5, 5)) == pytest.approx(5)


def test_a_shape_within_another_has_no_gap() -> None:
    assert gap_px([box(0, 0, 100, 100)], box(40, 40, 5, 5)) == 0
    assert gap_px([box(40, 40, 5, 5)], box(0, 0, 100, 100)) == 0


def test_boxes_that_cross_without_a_corner_inside_have_no_gap() -> None:
    assert gap_px([box(0, 40, 100, 10)], box(40, 0, 10, 100)) == 0


def test_the_gap_to_a_line_is_to_its_nearest_point() -> None:
    line = np.array([[20.0, 0.0], [20.0, 100.0]])
    assert gap_to_line_px([box(0, 0, 10, 10)], line) == pytest.approx(10)


def test_depth_is_positive_inside_and_negative_outside() -> None:
    square = box(0, 0, 10, 10)
    assert depth_in_px((5, 4), square) == pytest.approx(4)
    assert depth_in_px((15, 5), square) == pytest.approx(-5)


def corners(least: int) -> st.SearchStrategy[PolygonPx]:
    """Some corners, also of shapes that cross themselves, have no area or touch in a corner."""
    return st.integers(least, 9).flatmap(
        lambda n: arrays(np.float64, (n, 2), elements=st.floats(0, 40, width=16) | st.integers(0, 12).map(float))
    )


def whole_overlap_px2(rings: list[PolygonPx], zone: PolygonPx) -> float:
    """The definition: both drawn on all of the zone's grid, and what is on both counted."""
    low, high = np.floor(zone.min(axis=0)) - 1, np.ceil(zone.max(axis=0)) + 1
    w, h = ((high - low) * SUBPIXELS).astype(int)
    cement, inside = np.zeros((h, w), np.uint8), np.zeros((h, w), np.uint8)
    for canvas, shapes in ((cement, rings), (inside, [zone])):
        for shape in shapes:
            cv2.fillPoly(canvas, [np.round((shape - low) * SUBPIXELS).astype(np.int32)], 1)
    return float((cement & inside).sum()) / SUBPIXELS**2


@given(st.lists(corners(3), min_size=1, max_size=3), corners(3), st.floats(-50, 50, width=16))
@settings(max_examples=150, deadline=None)
def test_the_overlap_is_what_both_cover_when_drawn(rings: list[PolygonPx], zone: PolygonPx, aside_px: float) -> None:
    rings = [ring + np.array([aside_px, 0.0]) for ring in rings]
    assert overlap_px2(rings, zone) == whole_overlap_px2(rings, zone)
    assert gap_px(rings, zone) <= DRAWN_BESIDE_PX or overlap_px2(rings, zone) == 0


def to_edges(points: PolygonPx, start: PolygonPx, end: PolygonPx) -> float:
    along, to_point = end - start, points[:, None] - start
    share = ((to_point * along).sum(axis=2) / np.maximum((along**2).sum(axis=1), 1e-12)).clip(0, 1)
    return float(np.hypot(*np.moveaxis(to_point - share[..., None] * along, 2, 0)).min())


def any_cross(a0: PolygonPx, a1: PolygonPx, b0: PolygonPx, b1: PolygonPx) -> bool:
    def side(p: PolygonPx, q: PolygonPx, r: PolygonPx) -> PolygonPx:
        along, to = q - p, r - p
        return np.asarray(np.sign(along[..., 0] * to[..., 1] - along[..., 1] * to[..., 0]))

    A0, A1, B0, B1 = a0[:, None], a1[:, None], b0[None], b1[None]
    parted_by_a = side(A0, A1, B0) * side(A0, A1, B1) < 0
    return bool((parted_by_a & (side(B0, B1, A0) * side(B0, B1, A1) < 0)).any())


@given(corners(1), corners(1), st.booleans(), st.floats(-60, 60, width=16))
@settings(max_examples=150, deadline=None)
def test_the_gap_of_edges_is_the_least_of_all_pairs(
    ring: PolygonPx, other: PolygonPx, is_closed: bool, aside_px: float
) -> None:
    other = other + np.array([aside_px, 0.0])
    a0, a1 = ring, np.roll(ring, -1, axis=0)
    b0, b1 = (other, np.roll(other, -1, axis=0)) if is_closed or len(other) == 1 else (other[:-1], other[1:])
    twin = 0.0 if any_cross(a0, a1, b0, b1) else min(to_edges(a0, b0, b1), to_edges(other, a0, a1))
    assert kernels.edge_gap(ring, other, is_closed) == pytest.approx(twin, abs=1e-9)


@given(corners(1), corners(3))
@settings(max_examples=150, deadline=None)
def test_depths_are_those_of_opencv_for_many_points_at_once(points: PolygonPx, ring: PolygonPx) -> None:
    twin = np.array([depth_in_px((float(x), float(y)), ring) for x, y in points])
    depths = kernels.depths(points, ring)
    # On an edge rounding decides which side it is.
    np.testing.assert_allclose(np.abs(depths), np.abs(twin), atol=1e-5)
    np.testing.assert_array_equal((depths > 0)[np.abs(twin) > 1e-5], (twin > 0)[np.abs(twin) > 1e-5])


def test_the_deepest_corner_is_the_nearest_where_none_is_inside() -> None:
    rings = [box(20, 0, 10, 10), box(13, 4, 2, 2)]
    assert deepest_corner(rings, box(0, 0, 10, 10)).tolist() in ([13.0, 4.0], [13.0, 6.0])
    assert deepest_corner(rings, box(8, 0, 10, 10)).tolist() in ([13.0, 4.0], [13.0, 6.0])
