"""The kernels that measure a shaft's end, against plain restatements of what they compute."""

from math import erf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from guidance.vision.kernels import tip as kernels
from guidance.vision.kernels.shaft import straighten

SEEDS = st.integers(0, 2**32 - 1)
Floats = NDArray[np.float64]


@given(SEEDS, st.integers(3, 60), st.integers(3, 40), st.sampled_from([0, 1]))
def test_the_axis_near_an_end_is_three_rounds_of_weighted_least_squares(seed: int, n: int, most: int, end: int) -> None:
    rng = np.random.default_rng(seed)
    sections = np.full((n + 10, 5), np.nan, np.float32)
    known = np.sort(rng.choice(n, rng.integers(3, n + 1), replace=False)) + 4
    sections[known, 0] = 0.1 * known + rng.normal(0, 0.3, len(known)) + 3.0 * (rng.random(len(known)) < 0.2)
    slope, offset = kernels.axis_near(sections, 4, 4 + n - 1, end, most)

    rows = known[:most] if end == 0 else known[-most:]
    centres, weight = sections[rows, 0].astype(np.float64), np.ones(len(rows))
    for _ in range(3):
        # numpy's weights multiply distances, not their squares.
        expected = np.polyfit(rows, centres, 1, w=np.sqrt(weight))
        miss = np.abs(centres - np.polyval(expected, rows))
        weight = 1.0 / (1.0 + (miss / (2.0 * np.median(miss) + 0.05)) ** 2)
    assert np.allclose((slope, offset), expected, rtol=1e-5, atol=1e-5)


@settings(deadline=None)
@given(SEEDS, st.sampled_from([np.uint8, np.uint16]), st.floats(-3, 30), st.floats(-3, 20), st.floats(0, 6.28))
def test_the_fields_strip_is_that_of_a_picture_with_nothing_outside_it(
    seed: int, dtype: type, x: float, y: float, angle: float
) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, np.iinfo(dtype).max, (18, 30), endpoint=True).astype(dtype)
    field = np.where(rng.random((18, 30)) < 0.1, 0, 255).astype(np.uint8)
    ux, uy = float(np.cos(angle)), float(np.sin(angle))
    strip = kernels.straighten_field(pixels, field, x, y, ux, uy, 12, 3)
    known = np.where(field > 0, pixels, np.nan).astype(np.float32)
    expected = straighten(known, x, y, ux, uy, 12, 3)
    assert np.allclose(strip, expected, rtol=1e-4, atol=1e-4 * np.iinfo(dtype).max, equal_nan=True)


def strip_with_holes(seed: int, n: int, half: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    strip = rng.random((n, 2 * half + 1), dtype=np.float32)
    strip[rng.random(strip.shape) < 0.3] = np.nan
    return strip


def known_mean(values: NDArray[np.float32]) -> float:
    known = values[np.isfinite(values)].astype(np.float64)
    return float(known.mean()) if len(known) else np.nan


@given(SEEDS, st.integers(0, 12), st.integers(0, 6))
def test_the_mean_section_is_that_of_what_is_known(seed: int, n: int, half: int) -> None:
    strip = strip_with_holes(seed, n, half)
    expected = [known_mean(strip[:, j]) for j in range(2 * half + 1)]
    assert np.allclose(kernels.mean_section(strip), expected, atol=1e-6, equal_nan=True)


@given(SEEDS, st.integers(1, 12), st.integers(1, 6), st.integers(0, 5), st.integers(1, 4))
def test_beside_a_shaft_is_the_mean_of_what_is_known_there(seed: int, n: int, half: int, near: int, wide: int) -> None:
    near = min(near, half)
    strip = strip_with_holes(seed, n, half)
    left, right = strip[:, half::-1], strip[:, half:]
    expected = [[known_mean(side[i, near : near + wide]) for side in (left, right)] for i in range(n)]
    assert np.allclose(kernels.beside(strip, near, wide), expected, atol=1e-6, equal_nan=True)


@given(st.floats(-2, 2), st.floats(15, 20), st.floats(1.0, 2.5))
def test_a_section_has_the_centre_the_diameter_and_the_blur_it_was_drawn_with(
    centre: float, width: float, blur: float
) -> None:
    # A bar's blurred edges are half as high as the bar is where they were, if it is three blurs wide to either side.
    offs = np.arange(-25, 26) - centre
    share = [normal_below((off + width / 2) / blur) - normal_below((off - width / 2) / blur) for off in offs]
    told = kernels.section_of(3.0 + np.array(share))
    # What straight lines between the pixels make of it.
    assert told[0] == pytest.approx(25 + centre, abs=0.05)
    assert told[1] * kernels.HALF_CONTRAST_SHARE == pytest.approx(width, abs=0.1)
    assert told[2] == pytest.approx(blur, abs=0.15)


def normal_below(x: float) -> float:
    return 0.5 * (1.0 + erf(x / 2**0.5))


def test_what_is_flat_or_unknown_has_no_section() -> None:
    assert len(kernels.section_of(np.ones(21))) == 0
    assert len(kernels.section_of(np.full(21, np.nan))) == 0


def end_twin(along: Floats, expected: float, diameter: float) -> list[float]:
    where, good = np.arange(len(along)), np.isfinite(along)
    inside, beyond = good & (where < expected - 0.6 * diameter), good & (where > expected + 0.9 * diameter + 2)
    if inside.sum() < 4 or beyond.sum() < 3:
        return []
    contrast, contrast_beyond = np.median(along[inside]), np.median(along[beyond])
    if contrast - contrast_beyond < 0.05:
        return []
    smooth = np.convolve(along, np.ones(3) / 3, mode="same")
    middle = 0.5 * (contrast + contrast_beyond)
    falls = np.nonzero((smooth[:-1] > middle) & (smooth[1:] <= middle))[0]
    falls = falls[(falls > 1) & (falls < len(along) - 3)]
    if len(falls) == 0:
        return []
    return [float(falls[np.argmin(np.abs(falls - expected))]) + 0.5, contrast, contrast_beyond]


@given(SEEDS, st.integers(1, 60), st.floats(0, 60), st.floats(3, 12), st.floats(0, 0.5))
def test_an_end_is_where_the_profile_falls_half_way_nearest_to_where_it_should(
    seed: int, n: int, at: float, diameter: float, noise: float
) -> None:
    rng = np.random.default_rng(seed)
    along = np.where(np.arange(n) < at, 1.0, 0.2) + rng.normal(0, noise, n)
    along[rng.random(n) < 0.1] = np.nan
    told, expected = kernels.end_of(along, at, diameter), end_twin(along, at, diameter)
    assert len(told) == len(expected)
    assert np.allclose(told, expected)


@given(SEEDS, st.integers(0, 30))
def test_the_median_of_what_is_known(seed: int, n: int) -> None:
    values = np.random.default_rng(seed).choice([np.nan, 1.0, 2.0, 5.0], n)
    known = values[np.isfinite(values)]
    expected = np.median(known) if len(known) else np.nan
    assert np.array_equal(kernels.median_of_known(values), expected, equal_nan=True)


@given(SEEDS, st.integers(1, 20), st.floats(-2, 22), st.floats(0, 9), st.integers(1, 4))
def test_about_an_end_are_the_known_rows_less_their_mean(
    seed: int, n: int, half: float, reach: float, columns: int
) -> None:
    rng = np.random.default_rng(seed)
    folded = rng.random((n, 4))
    folded[rng.random((n, 4)) < 0.1] = np.nan
    values, behind = kernels.about_end(folded, half, reach, columns)
    is_known = np.isfinite(folded[:, :columns]).all(axis=1)
    rows = np.flatnonzero((np.abs(np.arange(n) - half) <= reach) & is_known)
    assert np.allclose(behind, half - rows)
    assert values.shape == (columns, len(rows))
    if len(rows):
        known = folded[rows, :columns]
        assert np.allclose(values.T, known - known.mean(), atol=1e-6)


@settings(deadline=None)
@given(SEEDS, st.sampled_from([np.uint8, np.uint16]), st.sampled_from([0, 1]), st.sampled_from([1.0, 2.0]))
def test_the_strip_at_an_end_runs_along_its_axis_and_has_the_shafts_section(
    seed: int, dtype: type, end: int, factor: float
) -> None:
    # A dark bar of 8 work pixels along x, from column 12 to 52 of a picture of 80, at row 29.5.
    rng = np.random.default_rng(seed)
    side = int(80 * factor)
    full = np.iinfo(dtype).max
    rows, columns = (np.arange(side)[:, None] + 0.5) / factor - 0.5, (np.arange(side) + 0.5) / factor - 0.5
    is_bar = (np.abs(rows - 29.5) < 4.0) & (np.abs(columns - 32.0) < 20.0)
    pixels = np.where(is_bar, 0.2 * full, 0.8 * full).astype(dtype)
    pixels += rng.integers(0, max(1, full // 100), pixels.shape).astype(dtype)
    sections = np.full((80, 5), np.nan, np.float32)
    sections[12:53, 0] = 0.0
    shaft = np.array([0.0, 29.5, 1.0, 0.0, 12.0, 52.0, 8.0, 1.4, 2.0, 2.0])
    offset = (factor - 1) / 2
    field = np.full(pixels.shape, 255, np.uint8)
    told, strip, sides = kernels.strip_at_end(pixels, field, sections, shaft, end, factor, offset, offset, True)
    x, y, ux, uy, back, diameter, blur = told
    assert (ux, uy) == ((-1.0, 0.0) if end == 0 else (1.0, 0.0))
    assert diameter * kernels.HALF_CONTRAST_SHARE == pytest.approx(8 * factor, abs=0.3)
    assert y == pytest.approx(29.5 * factor + offset, abs=0.2)
    assert x + back * ux == pytest.approx((12.0 if end == 0 else 52.0) * factor + offset)
    half = strip.shape[1] // 2
    assert np.array_equal(
        strip, kernels.straighten_field(pixels, field, x, y, ux, uy, len(strip), half), equal_nan=True
    )
    near, wide = round(0.5 * diameter + blur + 0.5), max(2, round(0.4 * diameter))
    assert np.array_equal(sides, kernels.beside(strip, near, wide), equal_nan=True)
    light = kernels.strip_at_end(full - pixels, field, sections, shaft, end, factor, offset, offset, False)
    assert np.allclose(light[0], told)


def test_a_shaft_on_an_even_picture_has_no_strip() -> None:
    sections = np.full((80, 5), np.nan, np.float32)
    sections[12:53, 0] = 0.0
    shaft = np.array([0.0, 29.5, 1.0, 0.0, 12.0, 52.0, 8.0, 1.4, 2.0, 2.0])
    even = np.full((80, 80), 90, np.uint8)
    told, _, sides = kernels.strip_at_end(even, np.full_like(even, 255), sections, shaft, 1, 1.0, 0.0, 0.0, True)
    assert told.shape == (0,)
    assert sides.shape == (0, 2)


@given(SEEDS, st.integers(1, 60), st.floats(0, 60), st.floats(3, 12), st.integers(1, 4))
def test_an_ends_axis_is_above_the_lighter_of_its_sides(
    seed: int, n: int, at: float, diameter: float, core: int
) -> None:
    strip, sides = strip_with_holes(seed, n, 4), strip_with_holes(seed + 1, n, 1)[:, :2].copy()
    strip[: int(at)] += 1.0
    end, flank, along, folded = kernels.end_in(strip, sides, at, diameter, core)
    assert np.array_equal(flank, np.fmin(*sides.T).astype(np.float64), equal_nan=True)
    both = 0.5 * (strip[:, 4:].astype(np.float64) + strip[:, 4::-1])
    assert np.array_equal(folded, both - flank[:, None], equal_nan=True)
    assert np.allclose(along, folded[:, :core].mean(axis=1), equal_nan=True)
    assert np.array_equal(end, kernels.end_of(along, at, diameter))


@given(SEEDS, st.integers(6, 60), st.floats(3, 50), st.floats(3, 12), st.floats(0.3, 1.5))
def test_what_is_about_an_apex(seed: int, n: int, apex: float, diameter: float, contrast: float) -> None:
    apex = min(apex, n - 3.0)
    strip, rng = strip_with_holes(seed, n, 6), np.random.default_rng(seed)
    strip[:, 6] = np.where(np.arange(n) < apex + 4, 1.0, 0.2) + rng.normal(0, 0.3, n)
    flank, along = rng.random(n), rng.random(n)
    half_dark, reach, steel = kernels.about_apex(strip, flank, along, apex, diameter, contrast)

    def median_between(values: NDArray[np.floating], first: float, last: float) -> float:
        part = values[max(0, int(apex - first * diameter)) : max(1, int(apex - last * diameter))].astype(np.float64)
        return float(np.nanmedian(part))

    aside = max(1, int(0.25 * diameter))
    at_end = median_between(strip[:, 6 - aside : 7 + aside], 1.3, 0.4) - 0.5 * contrast
    beside = median_between(flank, 3.0, 0.0) + 0.5 * contrast
    assert half_dark == pytest.approx(max(at_end, beside))
    dark = np.convolve(strip[:, 6].astype(np.float64), np.ones(5) / 5, "same")[int(np.ceil(apex)) : -2] > at_end
    assert reach == (np.inf if dark.all() else np.argmin(dark))
    assert steel == pytest.approx(median_between(along, 1.6, 0.6) / contrast)
