"""What the field and its outline are computed with, against plain restatements."""

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from guidance.vision import field_polarity
from guidance.vision.kernels.field import CELL_PX, along_rays, area_mean, cell_statistics, glyphs, hull_radii
from guidance.vision.kernels.outline import best_side, circles_through, clipped, votes_for_circles

Grey = NDArray[np.uint8]
Points = NDArray[np.float64]

PICTURES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=40).flatmap(
    lambda shape: hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 7, 8, 128, 200, 255]))
)
COORDINATES = st.floats(-50, 50, width=32)
POINTS = st.integers(3, 40).flatmap(lambda n: hnp.arrays(np.float64, (n, 2), elements=COORDINATES))


@settings(max_examples=80, deadline=None)
@given(PICTURES)
def test_a_cell_has_the_mean_of_its_pixels_and_counts_those_unlike_their_left_or_upper_neighbour(picture: Grey) -> None:
    h, w = picture.shape
    rows, columns = -(-h // CELL_PX), -(-w // CELL_PX)
    level, busy = np.empty((rows, columns), np.float32), np.empty((rows, columns), np.int32)
    cell_statistics(picture, level, busy)
    filled = np.pad(picture, ((0, rows * CELL_PX - h), (0, columns * CELL_PX - w)), "edge").astype(int)
    differs = np.zeros(filled.shape, dtype=bool)
    differs[:, 1:] = filled[:, 1:] != filled[:, :-1]
    differs[1:] |= filled[1:] != filled[:-1]
    cells = (rows, CELL_PX, columns, CELL_PX)
    assert (level == np.rint(filled.reshape(cells).mean(axis=(1, 3)))).all()
    assert (busy == differs.reshape(cells).sum(axis=(1, 3))).all()


def glyphs_twin(grey: Grey, strokes: NDArray[np.bool_], even: int, steep: int) -> set[tuple[int, ...]]:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(strokes.astype(np.uint8), connectivity=8)
    range_3x3 = cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    found = set()
    for i in range(1, count):
        x, y, w, h, area = (int(v) for v in stats[i])
        levels = grey[labels == i].astype(float)
        is_even = (np.abs(levels - np.median(levels)) <= even).mean() > 0.4
        if 6 <= h <= 48 and w <= 48 and area >= 8 and is_even and (range_3x3[labels == i] > steep).mean() > 0.6:
            found.add((x, y, x + w, y + h))
    return found


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(8, 30), st.integers(8, 70), st.sampled_from([0.1, 0.25, 0.4]))
def test_a_glyph_is_a_connected_stroke_of_a_characters_size_one_grey_and_sharp_ends(
    seed: int, height: int, width: int, density: float
) -> None:
    rng = np.random.default_rng(seed)
    grey = rng.choice(np.array([20, 40, 110, 210, 250], dtype=np.uint8), (height, width))
    strokes = np.zeros((height, width), dtype=bool)
    strokes[1:-1, 1:-1] = rng.random((height - 2, width - 2)) < density
    grey[strokes] = rng.choice(np.array([180, 220, 255], dtype=np.uint8), int(strokes.sum()))
    expected = glyphs_twin(grey, strokes, 18, 80)
    found = glyphs(grey, strokes, np.flatnonzero(strokes), 18, 80)
    assert {tuple(int(v) for v in box) for box in found} == expected
    assert not strokes.any()


def test_a_drawn_character_is_one_glyph_and_the_noise_around_it_is_none() -> None:
    grey = np.random.default_rng(3).integers(60, 90, (60, 80)).astype(np.uint8)
    grey[20:40, 30:32] = 250
    strokes = grey > 150
    strokes[::7, ::9] = True
    strokes[[0, -1]] = strokes[:, [0, -1]] = False
    assert glyphs(grey, strokes, np.flatnonzero(strokes), 18, 80).tolist() == [[30, 20, 32, 40]]


@settings(max_examples=60, deadline=None)
@given(POINTS, POINTS, st.floats(0.5, 40))
def test_points_on_a_circle_vote_for_it_and_those_outside_against_it(
    points: Points, centres: Points, radius: float
) -> None:
    x, y = np.ascontiguousarray(points.T)
    votes = votes_for_circles(x, y, centres, np.full(len(centres), radius), 4.0, 6.5)
    off = np.hypot(points[:, :1] - centres[:, 0], points[:, 1:] - centres[:, 1]) - radius
    # Within rounding of a limit either is right.
    least = (np.abs(off) < 4.0 - 1e-9).sum(axis=0) - 3 * (off > 6.5 - 1e-9).sum(axis=0)
    most = (np.abs(off) < 4.0 + 1e-9).sum(axis=0) - 3 * (off > 6.5 + 1e-9).sum(axis=0)
    assert ((least <= votes) & (votes <= most)).all()


@settings(max_examples=60, deadline=None)
@given(POINTS, st.integers(0, 2**32 - 1), st.integers(1, 8), st.floats(0, 10))
def test_the_best_side_has_the_most_points_left_on_it_of_those_with_few_beyond(
    points: Points, seed: int, least: int, most_beyond: float
) -> None:
    # Whole numbers and limits off them: no distance is within rounding of a limit.
    points, near = np.round(points), 1.5001
    n, rng = len(points), np.random.default_rng(seed)
    first, second = rng.integers(0, n, 30), rng.integers(0, n, 30)
    counted = rng.random(n) < 0.7
    inner = np.median(points, axis=0)
    best = 0
    for a, b in zip(points[first], points[second], strict=True):
        length = np.hypot(*(b - a))
        if length <= 8.0:
            continue
        normal = np.array([a[1] - b[1], b[0] - a[0]]) / length
        offset = normal @ a
        if normal @ inner > offset:
            normal, offset = -normal, -offset
        off = points @ normal - offset
        if (off > 2.5 * near).sum() <= most_beyond:
            best = max(best, int((counted & (np.abs(off) < near)).sum()))
    x, y = np.ascontiguousarray(points.T)
    left = counted.copy()
    on, nx, ny, offset = best_side(x, y, left, first, second, inner, least, near, most_beyond)
    assert on == (best if best >= least else 0)
    if not on:
        assert (left == counted).all()
        return
    assert (left == (counted & (np.abs(points @ (nx, ny) - offset) > 2 * near))).all()
    assert np.hypot(nx, ny) == pytest.approx(1.0)
    assert inner @ (nx, ny) <= offset + 1e-9


def test_a_side_is_refined_by_least_squares_across_it() -> None:
    rng = np.random.default_rng(5)
    along = np.linspace(0, 100, 60)
    normal = np.array([np.cos(2.0), np.sin(2.0)])
    points = 40 * normal + np.outer(along - 50, [-normal[1], normal[0]]) + rng.normal(0, 0.3, (60, 2))
    points = np.concatenate([points, rng.uniform(-30, 30, (10, 2))])
    x, y = np.ascontiguousarray(points.T)
    left = np.ones(70, dtype=bool)
    first, second = rng.integers(0, 70, 300), rng.integers(0, 70, 300)
    on, nx, ny, offset = best_side(x, y, left, first, second, np.zeros(2), 8, 1.6, 5.0)
    centred = points[:60] - points[:60].mean(axis=0)
    expected = np.linalg.svd(centred)[2][1]
    assert on == 60
    assert abs(expected @ (nx, ny)) == pytest.approx(1.0, abs=1e-9)
    assert offset == pytest.approx(points[:60].mean(axis=0) @ (nx, ny))
    assert offset == pytest.approx(40, abs=0.2)
    assert not left[:60].any()


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 20), st.lists(st.tuples(st.floats(0, 6.28), st.floats(-5, 12)), max_size=6))
def test_a_clipped_polygon_holds_what_lies_in_it_and_in_all_half_planes(
    corners: int, cuts: list[tuple[float, float]]
) -> None:
    turn = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    polygon = np.column_stack([10 * np.cos(turn), 8 * np.sin(turn)])
    sides = np.array([(np.cos(a), np.sin(a), offset) for a, offset in cuts]).reshape(-1, 3)
    kept = clipped(polygon, sides)
    for x, y in np.random.default_rng(0).uniform(-10, 10, (50, 2)):
        in_all = min((offset - x * nx - y * ny for nx, ny, offset in sides), default=np.inf)
        depth = min(float(cv2.pointPolygonTest(polygon.astype(np.float32), (x, y), True)), in_all)
        is_kept = len(kept) > 2 and cv2.pointPolygonTest(kept.astype(np.float32), (x, y), False) > 0
        if abs(depth) > 1e-3:
            assert is_kept == (depth > 0)


@pytest.mark.parametrize("side", [9, 15])
@pytest.mark.parametrize("operation", [cv2.erode, cv2.dilate])
def test_over_a_disc_is_over_all_rectangles_in_it(side: int, operation: field_polarity._Morphology) -> None:
    image = np.random.default_rng(1).integers(0, 2**16, (50, 71)).astype(np.uint16)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    assert (field_polarity._over_disc(operation, image, side) == operation(image, disc)).all()


@settings(max_examples=60, deadline=None)
@given(PICTURES, st.integers(1, 9), st.integers(1, 9))
def test_each_pixel_of_an_area_mean_is_the_mean_of_what_it_covers(picture: Grey, rows: int, columns: int) -> None:
    h, w = picture.shape
    rows, columns = min(rows, h), min(columns, w)
    small = np.empty((rows, columns), np.float32)
    area_mean(picture, small)
    # A picture repeated so often that its new pixels hold whole ones of it.
    blown_up = np.repeat(np.repeat(picture.astype(np.float64), rows, axis=0), columns, axis=1)
    expected = blown_up.reshape(rows, h, columns, w).mean(axis=(1, 3))
    assert np.abs(small - expected).max() < 0.51


@settings(max_examples=60, deadline=None)
@given(POINTS, st.integers(1, 40))
def test_a_hull_s_radius_is_where_a_heading_leaves_it(points: Points, rays: int) -> None:
    # The centres of a field's cells, of which no two are the same.
    corners = np.unique(np.round(points) + 0.0, axis=0)
    assume(len(corners) >= 3)
    hull = cv2.convexHull(corners.astype(np.float32)).reshape(-1, 2).astype(np.float64)
    hull = np.ascontiguousarray(hull - hull.mean(axis=0))
    turn = np.linspace(0.1, 6.3, rays)
    heading = np.column_stack([np.cos(turn), np.sin(turn)])
    reach = np.empty(rays)
    hull_radii(hull, heading, reach)
    if cv2.contourArea(hull.astype(np.float32)) < 1.0:
        return
    for (turn_x, turn_y), radius in zip(heading, reach, strict=True):
        just = [
            cv2.pointPolygonTest(hull.astype(np.float32), (turn_x * r, turn_y * r), True)
            for r in (radius - 0.01, radius + 0.01)
        ]
        assert just[0] > -1e-3
        assert just[1] < 1e-3


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.floats(0, 60), st.floats(0, 40)),
    st.lists(st.floats(-20, 60), min_size=1, max_size=12),
    st.integers(1, 50),
)
def test_places_along_rays_are_a_pixel_apart_and_end_before_they_leave_the_frame(
    centre: tuple[float, float], first: list[float], steps: int
) -> None:
    w, h = 61, 43
    start = np.array(first)
    turn = np.linspace(0.0, 6.0, len(start))
    heading = np.column_stack([np.cos(turn), np.sin(turn)])
    x, y = (np.empty((len(start), steps), dtype=np.float32) for _ in range(2))
    ends = np.empty(len(start), dtype=np.int64)
    along_rays(*centre, heading, start, w, h, x, y, ends)
    along = start[:, None] + np.arange(steps)
    at_x, at_y = centre[0] + heading[:, :1] * along, centre[1] + heading[:, 1:] * along
    outside = (at_x < -0.5) | (at_y < -0.5) | (at_x > w - 0.5) | (at_y > h - 0.5)
    np.testing.assert_array_equal(ends, np.where(outside.any(axis=1), outside.argmax(axis=1), steps))
    np.testing.assert_allclose(x, at_x, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(y, at_y, rtol=1e-6, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(POINTS, st.integers(0, 2**32 - 1))
def test_a_circle_through_three_points_is_as_far_from_each_and_none_goes_through_a_line(
    points: Points, seed: int
) -> None:
    points = np.round(points)
    triples = np.random.default_rng(seed).integers(0, len(points), (50, 3))
    a, b, c = (points[triples[:, i]] for i in range(3))
    twice_area = 2.0 * np.abs((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])
    spans = twice_area > 20.5
    centres, radii = np.empty((50, 2)), np.empty(50)
    count = circles_through(points, triples, 20.5, centres, radii)
    assert count == spans.sum()
    for corner in (a, b, c):
        off = np.hypot(*(corner[spans] - centres[:count]).T)
        np.testing.assert_allclose(off, radii[:count], rtol=1e-9, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.uint16, st.integers(1, 300), elements=st.sampled_from([0, 1, 2, 3, 40, 65535])))
def test_percentiles_by_counting_are_numpy_s(values: NDArray[np.uint16]) -> None:
    counted = field_polarity._percentiles(values, (90.0, 99.8))
    np.testing.assert_allclose(counted, np.percentile(values, (90.0, 99.8)), atol=1e-9)
