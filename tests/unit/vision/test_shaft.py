"""The kernels that follow a shaft, against plain restatements of what they compute."""

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from guidance.vision.kernels import shaft as kernels
from guidance.vision.kernels.ridge import half_way

Image = NDArray[np.float32]

SHAPES = st.tuples(st.integers(1, 14), st.integers(1, 40))
IMAGES = SHAPES.flatmap(lambda shape: arrays(np.float32, shape, elements=st.floats(0, 3, width=16)))
LEAST_CONTRAST = 0.15


@settings(max_examples=60, deadline=None)
@given(IMAGES, st.floats(-3, 20), st.floats(-3, 20), st.floats(0, 6.28))
def test_a_strip_is_the_image_interpolated_along_the_line(image: Image, x: float, y: float, angle: float) -> None:
    ux, uy = np.cos(angle), np.sin(angle)
    strip = kernels.straighten(image, x, y, ux, uy, 7, 2)
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


@dataclass(frozen=True)
class Followed:
    """A shaft in a picture whose rows it runs along, from ``follow``: downwards, about column 15."""

    sections: Image
    first: int
    last: int
    kinds: tuple[int, int]
    width: float
    contrast: float


def line(x: float, start: float, end: float) -> NDArray[np.float64]:
    """A straight line downwards, of the width that all pictures here show."""
    return np.array([x, start, x, end, 0.0, 1.0, 7.0, 0.5, 9.0])


def followed(
    picture: Image, certain: tuple[float, float] = (10.0, 30.0), beyond_widths: float = 0.0
) -> Followed | None:
    sections, shaft = kernels.follow(picture, line(15.5, *certain), LEAST_CONTRAST, beyond_widths)
    if len(shaft) == 0:
        return None
    first, last, width, contrast, *kinds = shaft[4:].tolist()
    return Followed(sections, int(first), int(last), (int(kinds[0]), int(kinds[1])), width, contrast)


def picture_of(contrast: float, rows: int, shaft_rows: int, width: int) -> Image:
    picture = np.full((rows, 32), 0.5, dtype=np.float32)
    picture[:shaft_rows, 16 - (width + 1) // 2 : 16 + (width + 1) // 2] += contrast
    return picture


def test_sections_measure_centre_width_and_contrast() -> None:
    shaft = followed(picture_of(0.8, 80, 50, 7))
    assert shaft is not None
    sections = shaft.sections[5:45]
    assert np.allclose(sections[:, kernels.CENTRE], 0.0, atol=0.05)
    assert np.allclose(sections[:, kernels.WIDTH], 8.0, atol=0.1)
    assert np.allclose(sections[:, 2:5], (0.8, 1.3, 0.5), atol=1e-4)
    assert (shaft.width, shaft.contrast) == (sections[0, kernels.WIDTH], sections[0, kernels.CONTRAST])


def test_a_shaft_ends_free_in_light_dark_in_metal_and_at_the_border_of_the_field() -> None:
    def end_of(picture: Image) -> tuple[int, int]:
        shaft = followed(picture)
        assert shaft is not None
        return shaft.last, shaft.kinds[1]

    free = picture_of(0.8, 140, 50, 7)
    row, kind = end_of(free)
    assert abs(row - 49) <= 1
    assert kind == kernels.FREE
    metal = free.copy()
    metal[50:] = 1.3
    assert end_of(metal)[1] == kernels.DARK
    border = free.copy()
    border[52:] = 9.0
    assert end_of(border)[1] == kernels.BORDER


def test_what_is_no_ribbon_is_no_shaft() -> None:
    assert followed(np.full((80, 32), 0.5, dtype=np.float32)) is None
    assert followed(picture_of(0.8, 80, 50, 7), (19.0, 79.0)) is not None
    assert followed(picture_of(0.8, 80, 26, 7), (19.0, 79.0)) is None


def test_beyond_its_ends_a_shaft_is_looked_at_so_far_and_no_farther() -> None:
    picture = picture_of(0.8, 200, 50, 7)
    near, far = followed(picture), followed(picture, beyond_widths=5.0)
    assert near is not None
    assert far is not None
    assert (near.first, near.last) == (far.first, far.last)
    known = np.flatnonzero(np.isfinite(far.sections[:, kernels.CORE]))
    assert known[-1] == far.last + int(5.0 * far.width)
    assert np.array_equal(near.sections[: near.last + 1], far.sections[: far.last + 1], equal_nan=True)


def section_twin(strip: Image, i: int, at: float, width: float) -> tuple[list[float], float]:
    """A row's section and where the next row's centre is expected."""
    line = strip[max(0, i - 1) : i + 2]
    line = (line[0] + line[1] + line[2]) / np.float32(3) if len(line) == 3 else line
    if line.ndim == 2:
        above = strip[max(0, i - 1)]
        below = strip[min(len(strip) - 1, i + 1)]
        line = (above + strip[i] + below) / np.float32(3)
    off = np.arange(strip.shape[1]) - at
    near, far = 0.5 * width + 1, 0.5 * width + 1 + max(2.0, 0.33 * width)
    parts = [
        line[np.abs(off) <= max(1.0, 0.3 * width)],
        line[(-off >= near) & (-off <= far)],
        line[(off >= near) & (off <= far)],
    ]
    nothing = [np.nan] * 5
    if any(len(part) == 0 for part in parts):
        return nothing, at
    core, left, right = (float(part.astype(np.float64).mean()) for part in parts)
    if not max(core, left, right) < 8.0:
        return nothing, at
    contrast = core - max(left, right)
    if contrast < LEAST_CONTRAST:
        return [np.nan, np.nan, contrast, core, 0.5 * (left + right)], at
    edges = [half_way(line, at, step, int(far) + 1, 0.5 * (core + flank)) for step, flank in ((-1, left), (1, right))]
    centre = 0.5 * (edges[0] + edges[1])
    follows = abs(centre - at) < 0.3 * width + 1
    half = strip.shape[1] // 2
    return [centre - half, edges[1] - edges[0], contrast, core, 0.5 * (left + right)], (
        at + 0.15 * (centre - at) if follows else at
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-0.3, 0.3), st.integers(1, 60), st.integers(0, 30))
def test_sections_are_those_of_the_plain_twin_as_far_as_the_shaft_goes(
    seed: int, slant: float, start: int, certain: int
) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = np.ogrid[:90, :60]
    bow = 30 + slant * (rows - 45) + 2 * np.sin(rows / 15)
    picture = (0.5 + 0.8 * (np.abs(columns - bow) < 3.5) + rng.normal(0, 0.1, (90, 60))).astype(np.float32)
    picture[rng.integers(90) :] += rng.choice([0.0, 0.8, 9.0])
    n, half, width = 90, 19, 7.0
    from_row, to_row = max(0, start - certain), min(n - 1, start + certain)
    start = (from_row + to_row) // 2
    sections, shaft = kernels.follow(picture, line(31.0, from_row, 2 * start - from_row), LEAST_CONTRAST, 3.0)
    strip = kernels.straighten(picture, 31.0, 0.0, 0.0, 1.0, n, half)
    twin = np.full((n, 5), np.nan)
    for begin, step in ((start, 1), (start - 1, -1)):
        at, i = float(half), begin
        while 0 <= i < n:
            twin[i], at = section_twin(strip, i, at, width)
            i += step
    told = np.flatnonzero(np.isfinite(sections[:, kernels.CORE]))
    if len(shaft):
        assert set(range(int(shaft[4]), int(shaft[5]) + 1)) - set(told) <= set(
            np.flatnonzero(np.isnan(twin[:, kernels.CORE]))
        )
    assert np.allclose(sections[told], twin[told], atol=1e-4, equal_nan=True)


def shafts(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Shafts through one place: x, y, direction, first and last row, width, contrast, kinds."""
    angles = rng.choice(rng.uniform(0, 3.14, 2), n)
    first = rng.integers(0, 20, n)
    columns = [*rng.uniform(-20, 20, (2, n)), np.cos(angles), np.sin(angles), first, first + rng.integers(5, 60, n)]
    return np.column_stack([*columns, rng.uniform(3, 9, n), rng.uniform(0.2, 1.0, n), np.zeros((n, 2))])


@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_rows_are_alone_where_no_other_shaft_of_their_kind_is_beside_them(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    bars = shafts(rng, n)
    x, y, ux, uy, first, last, width, contrast = bars[0, :8]
    sections = np.zeros((100, 5), np.float32)
    sections[rng.random(100) < 0.3] = np.nan
    rows = np.arange(first, last + 1)
    alone = np.ones(len(rows), dtype=bool)
    for other in bars[1:]:
        if other[7] < 0.6 * contrast:
            continue
        off = np.column_stack([x + rows * ux, y + rows * uy]) - other[:2]
        along, across = off @ other[2:4], off @ np.array([-other[3], other[2]])
        alone &= (np.abs(across) > width + 0.5 * other[6] + 2) | (along < other[4]) | (along > other[5])
    own = np.isfinite(sections[int(first) : int(last) + 1, 0]) & alone
    expected = alone if own.sum() > 3.0 * width else np.ones_like(alone)
    assert np.array_equal(kernels.rows_alone(sections, bars, 0, 0.6, 3.0), expected)


@given(st.integers(0, 2**32 - 1), st.integers(8, 80), st.floats(2.0, 9.0))
def test_evenness_is_that_of_its_plain_twin(seed: int, n: int, width: float) -> None:
    rng = np.random.default_rng(seed)
    sections = rng.normal(width, 1.0, (n + 10, 5)).astype(np.float32)
    sections[rng.random(n + 10) < 0.3, :2] = np.nan
    sections[5:9] = width
    alone = rng.random(n) < 0.8
    alone[:4] = True
    told = kernels.evenness(sections, 5, alone, width, 2.0)

    rows = sections[5 : 5 + n][alone].astype(np.float64)
    is_pale = np.isnan(rows[:, 0]) & ~(2.0 * (rows[:, 3] - rows[:, 4]) - rows[:, 2] >= kernels.ONE_SIDED * 2.0)
    known = rows[np.isfinite(rows[:, 0])]
    centres, widths, step = known[:, 0], known[:, 1], max(2, int(2 * width))
    bends = np.abs(centres[2 * step :] - 2 * centres[step:-step] + centres[: -2 * step])
    thirds = [np.median(third) for values in (centres, widths) for third in np.array_split(values, 3)]
    expected = [
        len(known) / len(rows),
        1.0 - is_pale.mean(),
        np.median(bends) if len(bends) else 0.0,
        np.median(np.abs(widths - width)),
        *thirds,
        np.median(known[:, 3] - known[:, 2] - known[:, 4]),
    ]
    assert np.allclose(told, expected, atol=1e-5)


@given(st.integers(0, 2**32 - 1), st.integers(0, 8))
def test_a_line_lies_on_a_shaft_whose_way_it_goes_beside_its_centres(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    sections = np.zeros((60, 5), np.float32)
    sections[:, 0] = rng.choice([np.nan, -2.0, 0.0, 2.0], 60)
    x, y, ux, uy, first, last, width, *_ = shaft = shafts(rng, 1)[0]
    first, last = int(first), min(int(last), 59)
    shaft[5] = last
    # Ends in rows and offsets across.
    ends = np.stack([rng.uniform(-20, 80, (n, 2)), rng.uniform(-6, 6, (n, 2))], axis=2)
    xy = np.array([x, y]) + ends @ np.array([[ux, uy], [-uy, ux]])
    along = rng.choice([0.0, 0.1, 0.2, 3.1], n) + np.arctan2(uy, ux)
    lines = np.column_stack([xy.reshape(n, 4), np.cos(along), np.sin(along), np.ones((n, 3))])

    def is_on(at: NDArray[np.float64]) -> bool:
        centre = np.nan_to_num(sections[int(np.clip(at[0], first, last)), 0])
        return bool(abs(at[1] - centre) <= 0.7 * width + 1)

    expected = [
        abs(np.sin(angle - np.arctan2(uy, ux))) <= 0.14
        and first <= (a[0] + b[0]) / 2 <= last
        and all(is_on(at) for at in ((a + b) / 2, a, b))
        for angle, (a, b) in zip(along, ends, strict=True)
    ]
    assert kernels.lie_on(lines, sections, shaft).tolist() == expected


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(-5, 40), st.floats(0, 1))
def test_a_centre_is_the_median_near_its_row_or_in_line_with_all(seed: int, n: int, row: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    sections = rng.normal(0, 2, (n + 5, 5)).astype(np.float32)
    sections[rng.random(n + 5) > share, 0] = np.nan
    alone = rng.random(n) < 0.7
    rows = 3 + np.flatnonzero(alone & np.isfinite(sections[3 : 3 + n, 0]))
    centres = sections[rows, 0].astype(np.float64)
    near = centres[np.abs(rows - row) <= 2]
    if len(near):
        expected = float(np.median(near))
    elif len(rows) > 1:
        expected = float(np.polyval(np.polyfit(rows, centres, 1), row))
    else:
        expected = float(centres.sum())
    assert np.isclose(kernels.centre_near(sections, 3, alone, row, 2), expected, atol=1e-6)
