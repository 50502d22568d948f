"""Areas and distances of polygons, against plain geometry."""

import numpy as np
import pytest

from guidance.safety.shapes import depth_in_px, gap_px, gap_to_line_px, overlap_px2
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
