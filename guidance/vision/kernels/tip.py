"""Profiles along and across a shaft's end at full resolution, where numpy's calls would cost more than their work."""

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel
from guidance.vision.kernels.median import median_in_place
from guidance.vision.kernels.shaft import CENTRE

Image = NDArray[np.float32]
Mask = NDArray[np.uint8]
Pixels = NDArray[np.uint8] | NDArray[np.uint16]
Floats = NDArray[np.float64]

_IMAGE = 'Array(float32, 2, "C", readonly=True)'
_MASK = 'Array(uint8, 2, "C", readonly=True)'
_DEEP = 'Array(uint16, 2, "C", readonly=True)'
_LINE = 'Array(float64, 1, "C", readonly=True)'
_TABLE = 'Array(float64, 2, "C", readonly=True)'

HALF_CONTRAST_SHARE = 0.97
"""A steel cylinder's shadow is half as dark as in its middle this far out, as a share of its radius."""
MOST_CENTRES, CENTRES_WIDTHS = 40.0, 8.0
"""The axis near an end is told by so many centres, or those of so many widths, whichever are more."""


@kernel(f"UniTuple(float64, 2)({_IMAGE}, int64, int64, int64, int64)")
def axis_near(sections: Image, first: int, last: int, end: int, most: int) -> tuple[float, float]:
    """Slope and offset by row of the line through the ``most`` centres nearest to an end (0: the first, 1: the last).

    Three rounds of weighted least squares: centres off the line lose their weight (Cauchy's weights, after Holland and
    Welsch, "Robust regression using iteratively reweighted least-squares", 1977).
    """
    x, y = np.empty(last - first + 1), np.empty(last - first + 1)
    n = 0
    for k in range(x.size):
        row = first + k if end == 0 else last - k
        if n < most and np.isfinite(sections[row, CENTRE]):
            x[n], y[n] = row, sections[row, CENTRE]
            n += 1
    weight, miss, sorted_miss = np.ones(n), np.empty(n), np.empty(n)
    slope, offset = 0.0, 0.0
    for _ in range(3):
        total, sum_x, sum_y = 0.0, 0.0, 0.0
        for k in range(n):
            total += weight[k]
            sum_x += weight[k] * x[k]
            sum_y += weight[k] * y[k]
        mean_x, mean_y, spread, along = sum_x / total, sum_y / total, 0.0, 0.0
        for k in range(n):
            spread += weight[k] * (x[k] - mean_x) ** 2
            along += weight[k] * (x[k] - mean_x) * (y[k] - mean_y)
        slope = along / spread if spread > 0.0 else 0.0
        offset = mean_y - slope * mean_x
        for k in range(n):
            miss[k] = abs(y[k] - slope * x[k] - offset)
            sorted_miss[k] = miss[k]
        scale = 2.0 * median_in_place(sorted_miss) + 0.05
        for k in range(n):
            weight[k] = 1.0 / (1.0 + (miss[k] / scale) ** 2)
    return slope, offset


@kernel(
    f"float32[:, ::1]({_MASK}, {_MASK}, float64, float64, float64, float64, int64, int64)",
    f"float32[:, ::1]({_DEEP}, {_MASK}, float64, float64, float64, float64, int64, int64)",
)
def straighten_field(
    pixels: Pixels, field: Mask, x: float, y: float, along_x: float, along_y: float, n_along: int, half_across: int
) -> Image:
    """As ``straighten``, of a whole frame's pixels; NaN where one of the four lies outside the field's mask, too."""
    height, width = pixels.shape
    strip = np.empty((n_along, 2 * half_across + 1), np.float32)
    for i in range(n_along):
        row_x, row_y = x + i * along_x, y + i * along_y
        for j in range(2 * half_across + 1):
            across = j - half_across
            px, py = row_x - across * along_y, row_y + across * along_x
            ix, iy = int(np.floor(px)), int(np.floor(py))
            if ix < 0 or iy < 0 or ix >= width - 1 or iy >= height - 1:
                strip[i, j] = np.nan
                continue
            if min(field[iy, ix], field[iy, ix + 1], field[iy + 1, ix], field[iy + 1, ix + 1]) == 0:
                strip[i, j] = np.nan
                continue
            share_x, share_y = np.float32(px - ix), np.float32(py - iy)
            a, b = np.float32(pixels[iy, ix]), np.float32(pixels[iy, ix + 1])
            c, d = np.float32(pixels[iy + 1, ix]), np.float32(pixels[iy + 1, ix + 1])
            upper, lower = a + share_x * (b - a), c + share_x * (d - c)
            strip[i, j] = upper + share_y * (lower - upper)
    return strip


@kernel(f"float32[::1]({_IMAGE})")
def mean_section(strip: Image) -> NDArray[np.float32]:
    """The mean of all rows, column by column, of what is known; NaN where nothing is."""
    total, known = np.zeros(strip.shape[1], np.float32), np.zeros(strip.shape[1], np.int64)
    for i in range(strip.shape[0]):
        for j in range(strip.shape[1]):
            value = strip[i, j]
            total[j] += value if np.isfinite(value) else np.float32(0.0)
            known[j] += np.isfinite(value)
    for j in range(total.size):
        total[j] = total[j] / known[j] if known[j] else np.nan
    return total


@kernel(f"float32[:, ::1]({_IMAGE}, int64, int64)")
def beside(strip: Image, near: int, wide: int) -> Image:
    """The means on each row of the known among ``wide`` pixels from ``near`` on, left and right of the middle column:
    shape (n, 2); NaN where none is known.
    """
    middle = strip.shape[1] // 2
    sides = np.empty((strip.shape[0], 2), np.float32)
    for i in range(strip.shape[0]):
        for side in range(2):
            total, known = np.float32(0.0), 0
            for off in range(min(near, middle), min(near + wide, middle + 1)):
                value = strip[i, middle + off if side else middle - off]
                if np.isfinite(value):
                    total += value
                    known += 1
            sides[i, side] = total / known if known else np.nan
    return sides


@kernel(f"float64({_LINE}, int64, int64, float64)")
def _falls_to(values: Floats, start: int, step: int, level: float) -> float:
    """How far from ``start`` the values first fall to the level, going by ``step``; NaN where they never do."""
    i = start
    while 0 <= i < values.size:
        if values[i] <= level:
            if i == start:
                return 0.0
            before = values[i - step]
            return float(abs(i - step - start) + (before - level) / (before - values[i]))
        i += step
    return np.nan


@kernel(f"float64[::1]({_LINE})")
def section_of(across: Floats) -> Floats:
    """[centre, diameter, edge blur (standard deviation)] in pixels of a shaft's mean section, which lies about the
    middle; larger is darker. Empty where it has no such edges.

    Display values, not densities: blur is linear in them, so that it leaves the width at half contrast as it is.
    """
    n = across.size
    half, quarter = n // 2, max(1, n // 5)
    start = -1
    for i in range(max(0, half - quarter), min(n, half + quarter + 1)):
        if np.isfinite(across[i]) and (start < 0 or across[i] > across[start]):
            start = i
    if start < 0:
        return np.empty(0)
    half_at, blur = np.empty(2), 0.0
    for side in range(2):
        step = 1 if side else -1
        floor, i = np.inf, start
        while 0 <= i < n:
            if across[i] < floor:
                floor = across[i]
            i += step
        rise = across[start] - floor
        if not rise > 0.0:
            return np.empty(0)
        # What rises falls to each of these before it reaches its floor.
        upper = _falls_to(across, start, step, floor + 0.75 * rise)
        lower = _falls_to(across, start, step, floor + 0.25 * rise)
        half_at[side] = start + step * _falls_to(across, start, step, floor + 0.5 * rise)
        blur += 0.5 * (lower - upper) / 1.349
    centre, width = 0.5 * (half_at[0] + half_at[1]), half_at[1] - half_at[0]
    return np.array([centre, width / HALF_CONTRAST_SHARE, max(0.5, blur)]) if width > 0.0 else np.empty(0)


@kernel(f"float64[::1]({_LINE}, float64, float64)")
def end_of(along: Floats, expected: float, diameter: float) -> Floats:
    """[where a shaft's contrast falls half-way to what lies beyond its end, its contrast, that of what lies beyond].

    ``along``: density above the flank along its axis, NaN where it is not known. ``expected``: where the end should
    be; of several falls the nearest to it counts. Empty where there is no end.
    """
    n = along.size
    inside, beyond = np.empty(n), np.empty(n)
    n_inside, n_beyond = 0, 0
    for i in range(n):
        if not np.isfinite(along[i]):
            continue
        if i < expected - 0.6 * diameter:
            inside[n_inside] = along[i]
            n_inside += 1
        if i > expected + 0.9 * diameter + 2:
            beyond[n_beyond] = along[i]
            n_beyond += 1
    if n_inside < 4 or n_beyond < 3:
        return np.empty(0)
    contrast, contrast_beyond = median_in_place(inside[:n_inside]), median_in_place(beyond[:n_beyond])
    if contrast - contrast_beyond < 0.05:
        return np.empty(0)
    middle, half = 0.5 * (contrast + contrast_beyond), np.nan
    for i in range(2, n - 3):
        here = (along[i - 1] + along[i] + along[i + 1]) / 3.0
        ahead = (along[i] + along[i + 1] + along[i + 2]) / 3.0
        if here > middle >= ahead and not abs(half - expected) <= abs(i - expected):
            half = i
    return np.array([half + 0.5, contrast, contrast_beyond]) if half == half else np.empty(0)


@kernel(f"float64({_LINE})")
def median_of_known(values: Floats) -> float:
    """The median of what is finite; NaN where nothing is."""
    known = np.empty(values.size)
    n = 0
    for value in values:
        if np.isfinite(value):
            known[n] = value
            n += 1
    return median_in_place(known[:n]) if n else np.nan


@kernel(
    f"Tuple((float64[::1], float32[:, ::1], float32[:, ::1]))"
    f"({_MASK}, {_MASK}, {_IMAGE}, {_LINE}, int64, float64, float64, float64, boolean)",
    f"Tuple((float64[::1], float32[:, ::1], float32[:, ::1]))"
    f"({_DEEP}, {_MASK}, {_IMAGE}, {_LINE}, int64, float64, float64, float64, boolean)",
)
def strip_at_end(
    pixels: Pixels,
    field: Mask,
    sections: Image,
    shaft: Floats,
    end: int,
    factor: float,
    offset_x: float,
    offset_y: float,
    is_dark: bool,
) -> tuple[Floats, Image, Image]:
    """A shaft's end at full resolution: [x and y of row 0 on the axis, unit vector out of the end, row where the end
    should be, diameter, blur], display values along the axis, shape (n, 2 * half + 1), and the means beside the shaft
    on either side, (n, 2). Empty where the shaft has no edges.

    ``sections``, ``shaft``: as from ``shaft.follow``. ``factor``, ``offset_x``, ``offset_y``: from its pixels to the
    frame's. ``is_dark``: steel is low in display values.
    """
    first, last, width = int(shaft[4]), int(shaft[5]), shaft[6] * factor
    # Fitted to the half-contrast centres of the part nearest the end, because long pins bow; other objects beside the
    # shaft pull single centres aside, so those far off the line lose their weight.
    slope, offset = axis_near(sections, first, last, end, int(max(MOST_CENTRES, CENTRES_WIDTHS * shaft[6])))
    row, out = first if end == 0 else last, -1.0 if end == 0 else 1.0
    across = slope * row + offset
    ux, uy = out * (shaft[2] - slope * shaft[3]), out * (shaft[3] + slope * shaft[2])
    length = np.hypot(ux, uy)
    ux, uy = ux / length, uy / length
    x = (shaft[0] + row * shaft[2] - across * shaft[3]) * factor + offset_x
    y = (shaft[1] + row * shaft[3] + across * shaft[2]) * factor + offset_y
    back = int(min(6.0 * width + 12.0, max((last - first) * factor, 2.5 * width)))
    ahead, half = int(2.5 * width) + 10, int(1.2 * width) + 5
    x, y = x - back * ux, y - back * uy
    # The section is measured well behind the tip, where no taper thins it and no cement widens it.
    body = back - int((2.0 if back > 4.0 * width else 0.7) * width)
    mean = mean_section(straighten_field(pixels, field, x, y, ux, uy, body, half)).astype(np.float64)
    section = section_of(-mean if is_dark else mean)
    if section.size == 0:
        return section, np.empty((0, 0), np.float32), np.empty((0, 2), np.float32)
    centre, diameter, blur = section
    x, y = x - (centre - half) * uy, y + (centre - half) * ux
    strip = straighten_field(pixels, field, x, y, ux, uy, back + ahead + 1, half)
    near, wide = int(np.rint(0.5 * diameter + blur + 0.5)), max(2, int(np.rint(0.4 * diameter)))
    return np.array([x, y, ux, uy, float(back), diameter, blur]), strip, beside(strip, near, wide)


@kernel(f"Tuple((float32[:, ::1], float64[::1]))({_TABLE}, float64, float64, int64)")
def about_end(folded: Floats, half: float, reach: float, columns: int) -> tuple[Image, Floats]:
    """The known rows within reach of a place on the axis, less their mean, shape (columns, n), and how far each lies
    behind that place, shape (n,).
    """
    rows = np.empty(folded.shape[0], np.int64)
    n, total = 0, 0.0
    for i in range(folded.shape[0]):
        if abs(i - half) <= reach:
            row = folded[i, :columns].sum()
            if np.isfinite(row):
                rows[n] = i
                n += 1
                total += row
    values, behind = np.empty((columns, n), np.float32), np.empty(n)
    mean = np.float32(total / max(1, n * columns))
    for k in range(n):
        behind[k] = half - rows[k]
        for j in range(columns):
            values[j, k] = np.float32(folded[rows[k], j]) - mean
    return values, behind


@kernel(
    f"Tuple((float64[::1], float64[::1], float64[::1], float64[:, ::1]))({_IMAGE}, {_IMAGE}, float64, float64, int64)"
)
def end_in(
    strip: Image, sides: Image, expected: float, diameter: float, core: int
) -> tuple[Floats, Floats, Floats, Floats]:
    """What ``end_of`` tells of a strip's axis; the flank, shape (n,); the density along the axis above the flank, over
    ``core`` columns from the axis outwards, shape (n,); and both sides of the axis in one, above the flank, shape (n,
    columns from the axis outwards).

    ``strip``, ``sides``: density along the shaft and beside it. The flank is the lighter of both sides, row by row:
    cement round a tip darkens it as it does the axis. Folded, a slope of the background across the axis cancels.
    """
    n, half = strip.shape[0], strip.shape[1] // 2
    flank, along, folded = np.empty(n), np.empty(n), np.empty((n, half + 1))
    for i in range(n):
        left, right = sides[i, 0], sides[i, 1]
        flank[i] = left if left < right or right != right else right
        for off in range(half + 1):
            both = np.float64(strip[i, half + off]) + np.float64(strip[i, half - off])
            folded[i, off] = 0.5 * both - flank[i]
        along[i] = folded[i, :core].mean()
    return end_of(along, expected, diameter), flank, along, folded


@kernel(f"UniTuple(float64, 3)({_IMAGE}, {_LINE}, {_LINE}, float64, float64, float64)")
def about_apex(
    strip: Image, flank: Floats, along: Floats, apex: float, diameter: float, contrast: float
) -> tuple[float, float, float]:
    """How dark what lies before an apex must be to be taken for the shaft; how many rows beyond the apex the axis is as
    dark as at its end, on the average of five, infinite where all are; and how much the last stretch stands out from
    what lies beside it, as a share of the whole shaft's ``contrast``.

    ``strip``, ``flank``, ``along``: as for and from ``end_in``.
    """
    n, half = strip.shape[0], strip.shape[1] // 2
    begin, end = max(0, int(apex - 1.3 * diameter)), max(1, int(apex - 0.4 * diameter))
    aside = max(1, int(0.25 * diameter))
    core = strip[begin:end, half - aside : half + aside + 1].astype(np.float64)
    at_end = median_of_known(core.ravel()) - 0.5 * contrast
    beside = median_of_known(flank[max(0, int(apex - 3.0 * diameter)) : max(1, int(apex))]) + 0.5 * contrast
    # Half-way to what lies beside it; where that is still soft tissue while the end lies in bone, to bone.
    half_dark = at_end if at_end > beside else beside
    reach, is_dark, row = 0.0, True, int(np.ceil(apex))
    while is_dark and row < n - 2:
        mean = 0.0
        for i in range(max(0, row - 2), row + 3):
            mean += 0.2 * np.float64(strip[i, half])
        is_dark = mean > at_end
        reach += is_dark
        row += 1
    steel = median_of_known(along[max(0, int(apex - 1.6 * diameter)) : max(1, int(apex - 0.6 * diameter))])
    return half_dark, np.inf if is_dark else reach, steel / contrast
