"""The needle kernels against plain restatements of what they compute."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from guidance.vision.kernels import ridge

SHAPES = st.tuples(st.integers(1, 14), st.integers(1, 40))
IMAGES = SHAPES.flatmap(lambda shape: arrays(np.float32, shape, elements=st.floats(0, 3, width=16)))


def contrast_twin(line: NDArray[np.float64], section: int, x: int) -> float:
    core, near = max(1, section * 3 // 10), section // 2 + 1
    far = near + max(2, section // 3)
    if x < far or x >= len(line) - far:
        return 0.0
    flanks = line[x - far + 1 : x - near + 1].mean(), line[x + near : x + far].mean()
    return max(0.0, float(line[x - core : x + core + 1].mean() - max(flanks)))


@settings(max_examples=60, deadline=None)
@given(IMAGES)
def test_ribbon_points_are_the_local_maxima_of_core_above_the_darker_flank(lines: NDArray[np.float32]) -> None:
    widths = np.array([3, 5, 8], dtype=np.int32)
    points = ridge.ribbon_points(lines, widths, 0.1, 1000)
    for number, x, width, contrast in points:
        line = lines[int(number)].astype(np.float64)
        best = [max(contrast_twin(line, int(section), at) for section in widths) for at in range(len(line))]
        assert contrast >= 0.1
        assert np.isclose(best, contrast, atol=1e-4).any()
        assert 0 <= x <= len(line) - 1
        assert 0 <= width <= len(line)


@settings(deadline=None)
@given(IMAGES, st.integers(0, 2**32 - 1), st.integers(0, 3), st.integers(1, 3), st.sampled_from([0.0, 0.25, 1.0, 9.0]))
def test_rougher_is_where_the_median_second_difference_is_above_the_level(
    image: NDArray[np.float32], seed: int, first_row: int, row_step: int, level: float
) -> None:
    mask = np.random.default_rng(seed).choice(np.array([0, 255], dtype=np.uint8), image.shape)
    bends = np.abs(np.diff(np.minimum(image, np.float32(2.0)), n=2, axis=1))[first_row::row_step]
    bends = bends[mask[first_row::row_step, 1:-1] > 0] if image.shape[1] > 2 else np.empty(0)
    expected = bends.size > 0 and float(np.median(bends.astype(np.float64))) > level
    assert ridge.is_rougher(image, mask, np.float32(2.0), first_row, row_step, level) == expected


@settings(deadline=None)
@given(IMAGES, st.integers(0, 2**32 - 1))
def test_a_prepared_image_is_cut_and_marked_outside_with_the_means_of_its_thirds(
    image: NDArray[np.float32], seed: int
) -> None:
    height, width = image.shape
    mask = np.random.default_rng(seed).choice(np.array([0, 1, 255], dtype=np.uint8), image.shape)
    cut, of_rows = np.empty_like(image), np.empty((height // 3, width), np.float32)
    of_columns = np.empty((height, width // 3), np.float32)
    ridge.prepare(image, mask, np.float32(1.5), np.float32(9.0), cut, of_rows, of_columns)
    assert np.array_equal(cut, np.where(mask > 0, np.minimum(image, 1.5), 9.0))
    assert np.allclose(of_rows, cut[: height // 3 * 3].reshape(height // 3, 3, width).mean(axis=1), atol=1e-6)
    assert np.allclose(of_columns, cut[:, : width // 3 * 3].reshape(height, width // 3, 3).mean(axis=2), atol=1e-6)


@given(IMAGES, st.integers(0, 2**32 - 1))
def test_halved_is_the_mean_of_four_that_are_all_seen(image: NDArray[np.float32], seed: int) -> None:
    mask = np.random.default_rng(seed).choice(np.array([0, 255], dtype=np.uint8), image.shape, p=[0.1, 0.9])
    height, width = image.shape[0] // 2, image.shape[1] // 2
    half, seen = np.empty((height, width), np.float32), np.empty((height, width), np.uint8)
    ridge.halve(image, mask, half, seen)
    fours = image[: 2 * height, : 2 * width].reshape(height, 2, width, 2)
    is_seen = mask[: 2 * height, : 2 * width].reshape(height, 2, width, 2).all(axis=(1, 3))
    assert np.array_equal(seen, is_seen)
    assert np.allclose(half, np.where(is_seen, fours.mean(axis=(1, 3)), 0.0), atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 200), st.integers(0, 3)), min_size=1, max_size=60))
def test_a_run_has_the_least_squares_line_of_its_points(rows: list[tuple[int, int, int]]) -> None:
    rows.sort()
    points = np.array([(band, x / 4, 5.0, 0.5) for band, x, _ in rows], dtype=np.float32)
    run_of = np.array([run for *_, run in rows], dtype=np.int32)
    lines = ridge.run_lines(points, run_of, 4)
    for run in range(4):
        mine = points[run_of == run].astype(np.float64)
        assert lines[run, 0] == len(mine)
        if len(np.unique(mine[:, 0])) < 2:
            continue
        slope, offset = np.polyfit(mine[:, 0], mine[:, 1], 1)
        assert np.allclose(lines[run, 3:5], (offset, slope), atol=1e-5)
        rms = np.sqrt(np.mean((mine[:, 1] - offset - slope * mine[:, 0]) ** 2))
        assert np.isclose(lines[run, 5], rms, atol=1e-3)
        assert (lines[run, 1], lines[run, 2]) == (mine[:, 0].min(), mine[:, 0].max())


def test_two_crossing_lines_are_two_runs() -> None:
    bands = np.arange(60)
    x = np.concatenate([20.0 + 0.9 * bands, 74.0 - 0.9 * bands])
    points = np.column_stack([np.tile(bands, 2), x, np.full(120, 5.0), np.full(120, 0.6)]).astype(np.float32)
    order = np.argsort(points[:, 0], kind="stable")
    run_of = ridge.straight_runs(points[order], 3.0, 6)
    lines = np.array([0, 1] * 60)
    for line in (0, 1):
        longest = np.bincount(run_of[lines == line]).max()
        assert longest > 50


def test_a_bowed_pin_is_one_run() -> None:
    bands = np.arange(100)
    points = np.column_stack([bands, 50 + 0.002 * (bands - 50.0) ** 2, np.full(100, 5.0), np.full(100, 0.6)])
    assert (ridge.straight_runs(points.astype(np.float32), 3.0, 6) == 0).all()


def test_long_straight_runs_are_lines_across_the_scan_lines_or_along_them() -> None:
    # Points, first and last band, x at band 0, x per band, rms, width, contrast.
    slanted = [20.0, 10.0, 30.0, 50.0, 4.0, 0.2, 10.0, 0.5]
    short, ragged, broken = ([*slanted] for _ in range(3))
    short[2], ragged[5], broken[0] = 12.0, 3.0, 9.0
    runs = np.array([short, slanted, ragged, broken])
    (line,) = ridge.straight_lines(runs, False, 3.0, 18.0, 2.0, 9.0)
    # Four to the right for three down: 3-4-5. Of its width on the scan line three fifths are across it.
    assert np.allclose(line, [90.0, 31.0, 170.0, 91.0, 0.8, 0.6, 6.0, 0.5, 10.0])
    (turned,) = ridge.straight_lines(runs, True, 3.0, 18.0, 2.0, 9.0)
    assert np.allclose(turned, [31.0, 90.0, 91.0, 170.0, 0.6, 0.8, 6.0, 0.5, 10.0])
    assert len(ridge.straight_lines(runs, False, 3.0, 18.0, 6.5, 9.0)) == 0
    assert len(ridge.straight_lines(runs, False, 3.0, 18.0, 2.0, 5.5)) == 0
