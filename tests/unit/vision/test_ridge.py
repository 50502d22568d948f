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
@given(IMAGES, st.integers(1, 3))
def test_ribbon_points_are_the_local_maxima_of_core_above_the_darker_flank(
    image: NDArray[np.float32], band_px: int
) -> None:
    widths = np.array([3, 5, 8], dtype=np.int32)
    points = ridge.ribbon_points(image, band_px, widths, 0.1, 1000)
    for band, x, width, contrast in points:
        rows = image[int(band) * band_px : (int(band) + 1) * band_px].astype(np.float64)
        line = rows.mean(axis=0)
        best = [max(contrast_twin(line, int(section), at) for section in widths) for at in range(len(line))]
        assert contrast >= 0.1
        assert np.isclose(best, contrast, atol=1e-4).any()
        assert 0 <= x <= len(line) - 1
        assert 0 <= width <= len(line)


@settings(max_examples=60, deadline=None)
@given(IMAGES, st.floats(-3, 20), st.floats(-3, 20), st.floats(0, 6.28))
def test_a_strip_is_the_image_interpolated_along_the_line(
    image: NDArray[np.float32], x: float, y: float, angle: float
) -> None:
    ux, uy = np.cos(angle), np.sin(angle)
    strip = ridge.straighten(image, x, y, ux, uy, 7, 2)
    height, width = image.shape
    for i in range(7):
        for j in range(5):
            px, py = x + i * ux - (j - 2) * uy, y + i * uy + (j - 2) * ux
            ix, iy = int(np.floor(px)), int(np.floor(py))
            if not (0 <= ix < width - 1 and 0 <= iy < height - 1):
                assert np.isnan(strip[i, j])
                continue
            fx, fy = px - ix, py - iy
            square = image[iy : iy + 2, ix : ix + 2].astype(np.float64)
            expected = np.array([1 - fy, fy]) @ square @ np.array([1 - fx, fx])
            assert np.isclose(strip[i, j], expected, atol=1e-4)


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


def strip_of(contrast: float, rows: int, shaft_rows: int, width: int) -> NDArray[np.float32]:
    strip = np.full((rows, 31), 0.5, dtype=np.float32)
    strip[:shaft_rows, 15 - width // 2 : 15 + width // 2 + 1] += contrast
    return strip


def test_sections_measure_centre_width_and_contrast() -> None:
    sections = ridge.cross_sections(strip_of(0.8, 80, 50, 7), 20, 15.0, 7.0, 0.15)
    shaft = sections[5:45]
    assert np.allclose(shaft[:, 0], 15.0, atol=0.05)
    assert np.allclose(shaft[:, 1], 7.0, atol=0.1)
    assert np.allclose(shaft[:, 2:5], (0.8, 1.3, 0.5), atol=1e-4)
    assert np.isnan(sections[55:, 0]).all()


def test_a_shaft_ends_free_in_light_dark_in_metal_and_at_the_border_of_the_field() -> None:
    def end_of(strip: NDArray[np.float32]) -> tuple[int, int]:
        sections = ridge.cross_sections(strip, 20, 15.0, 7.0, 0.15)
        ends = ridge.shaft_ends(sections, 10, 40, 0.8, 7.0, 0.15, 8)
        return int(ends[1]), int(ends[3])

    free = strip_of(0.8, 140, 50, 7)
    row, kind = end_of(free)
    assert abs(row - 49) <= 1
    assert kind == ridge.FREE
    metal = free.copy()
    metal[50:] = 1.3
    assert end_of(metal)[1] == ridge.DARK
    border = free.copy()
    border[52:] = 9.0
    assert end_of(border)[1] == ridge.BORDER
