"""A dark ribbon followed along its axis, and what its sections tell: one pass over the pixels that matter."""

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel
from guidance.vision.kernels.median import median_in_place

Image = NDArray[np.float32]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_IMAGE = 'Array(float32, 2, "C", readonly=True)'
_LINE = 'Array(float64, 1, "C", readonly=True)'
_TABLE = 'Array(float64, 2, "C", readonly=True)'
_FLAGS = 'Array(boolean, 1, "C", readonly=True)'

ONE_SIDED = 0.6
"""Of a shaft's contrast: so dark against its lighter flank it goes on, though another shaft lies along the other."""
BORDER, DARK, FREE = 0, 1, 2
"""How a shaft ends: at the edge of the x-ray field, in something as dark as itself, or with light beyond it."""
CENTRE, WIDTH, CONTRAST, CORE, FLANKS = 0, 1, 2, 3, 4
"""The columns of sections."""
FEWEST_SECTIONS = 8


@kernel('float64(Array(float32, 1, "C", readonly=True), float64, int64, int64, float64)')
def half_way(line: NDArray[np.float32], start: float, step: int, most: int, level: float) -> float:
    """Where the line first falls to ``level``, going from ``start`` by ``step``: sub-pixel position."""
    x = int(np.floor(start + 0.5))
    for _ in range(most):
        ahead = x + step
        if ahead < 0 or ahead >= line.size:
            break
        if line[ahead] <= level:
            drop = line[x] - line[ahead]
            share = min(1.0, max(0.0, (line[x] - level) / drop)) if drop > 0 else 0.5
            return x + step * share
        x = ahead
    return float(x)


@kernel(f"void({_IMAGE}, float64, float64, float64, float64, float32[::1])")
def sample_across(image: Image, x: float, y: float, along_x: float, along_y: float, row: NDArray[np.float32]) -> None:
    """One row of a strip, its middle at (x, y)."""
    height, width = image.shape
    half = row.size // 2
    reach_x, reach_y = half * abs(along_y) + 1.0, half * abs(along_x) + 1.0
    if reach_x <= x < width - 1 - reach_x and reach_y <= y < height - 1 - reach_y:
        # Wholly inside: no test for each pixel, and no floor of what is positive.
        for j in range(row.size):
            across = j - half
            px, py = x - across * along_y, y + across * along_x
            ix, iy = int(px), int(py)
            share_x, share_y = np.float32(px - ix), np.float32(py - iy)
            upper = image[iy, ix] + share_x * (image[iy, ix + 1] - image[iy, ix])
            lower = image[iy + 1, ix] + share_x * (image[iy + 1, ix + 1] - image[iy + 1, ix])
            row[j] = upper + share_y * (lower - upper)
        return
    for j in range(row.size):
        across = j - half
        px, py = x - across * along_y, y + across * along_x
        ix, iy = int(np.floor(px)), int(np.floor(py))
        if ix < 0 or iy < 0 or ix >= width - 1 or iy >= height - 1:
            row[j] = np.nan
            continue
        fx, fy = px - ix, py - iy
        top = image[iy, ix] * (1.0 - fx) + image[iy, ix + 1] * fx
        low = image[iy + 1, ix] * (1.0 - fx) + image[iy + 1, ix + 1] * fx
        row[j] = top * (1.0 - fy) + low * fy


@kernel(f"float32[:, ::1]({_IMAGE}, float64, float64, float64, float64, int64, int64)")
def straighten(
    image: Image, x: float, y: float, along_x: float, along_y: float, n_along: int, half_across: int
) -> Image:
    """A strip of the image along a line, shape (n_along, 2 * half_across + 1), bilinear, one pixel a step.

    Row i lies i pixels from (x, y) along the unit vector (along_x, along_y); columns run across it, to its right
    as seen on the screen with y down. Outside the image: NaN.
    """
    strip = np.empty((n_along, 2 * half_across + 1), np.float32)
    for i in range(n_along):
        sample_across(image, x + i * along_x, y + i * along_y, along_x, along_y, strip[i])
    return strip


@kernel(f"float64({_IMAGE}, int64, float64, float64, float64, float32[::1], float32[::1])")
def _section(
    strip: Image,
    i: int,
    at: float,
    width: float,
    least_contrast: float,
    line: NDArray[np.float32],
    section: NDArray[np.float32],
) -> float:
    """Where the shaft is looked for on the next row: near ``at``, and a little towards its centre on row ``i``.

    Fills ``section`` where core and flanks lie in the field. ``line``: as long as a row of the strip, written over.
    """
    n, across = strip.shape
    near, far = 0.5 * width + 1.0, 0.5 * width + 1.0 + max(2.0, 0.33 * width)
    core, reach = max(1.0, 0.3 * width), int(far) + 1
    before, after = strip[max(0, i - 1)], strip[min(n - 1, i + 1)]
    here = strip[i]
    middle_at = int(np.floor(at + 0.5))
    for j in range(max(0, middle_at - reach - 1), min(across, middle_at + reach + 2)):
        line[j] = (before[j] + here[j] + after[j]) / np.float32(3.0)
    core_sum, left, right = 0.0, 0.0, 0.0
    core_from, core_to = max(0, int(np.ceil(at - core))), min(across, int(np.floor(at + core)) + 1)
    left_from, left_to = max(0, int(np.ceil(at - far))), min(across, int(np.floor(at - near)) + 1)
    right_from, right_to = max(0, int(np.ceil(at + near))), min(across, int(np.floor(at + far)) + 1)
    if core_from >= core_to or left_from >= left_to or right_from >= right_to:
        return at
    for j in range(core_from, core_to):
        core_sum += line[j]
    for j in range(left_from, left_to):
        left += line[j]
    for j in range(right_from, right_to):
        right += line[j]
    middle, left, right = (
        core_sum / (core_to - core_from),
        left / (left_to - left_from),
        right / (right_to - right_from),
    )
    # NaN fails the comparison, too.
    if not (middle < 8.0 and left < 8.0 and right < 8.0):
        return at
    contrast = middle - max(left, right)
    section[CONTRAST], section[CORE], section[FLANKS] = contrast, middle, 0.5 * (left + right)
    if contrast < least_contrast:
        return at
    a = half_way(line, at, -1, reach, 0.5 * (middle + left))
    b = half_way(line, at, 1, reach, 0.5 * (middle + right))
    centre = 0.5 * (a + b)
    section[CENTRE], section[WIDTH] = np.float32(centre) - np.float32(across // 2), b - a
    return at + 0.15 * (centre - at) if abs(centre - at) < 0.3 * width + 1.0 else at


@kernel(
    f"void({_IMAGE}, {_LINE}, float64, float64, int64, int64, float32[:, ::1], float32[:, ::1], int64[::1],"
    " float64[::1], float32[::1])"
)
def _look_on(
    image: Image,
    axis: Floats,
    width: float,
    least_contrast: float,
    side: int,
    to_row: int,
    strip: Image,
    sections: Image,
    done: NDArray[np.int64],
    at: Floats,
    line: NDArray[np.float32],
) -> None:
    """Fill the sections to one side as far as a row; rows of the strip are sampled no farther than they are needed.

    ``done``: first and last row with a section, first and last row of the strip that are sampled. ``at``: where the
    centre is expected on the next row, for either side.
    """
    n = strip.shape[0]
    step = 1 if side == 1 else -1
    while done[side] != to_row:
        i = done[side] + step
        while done[3] < min(n - 1, i + 1):
            done[3] += 1
            sample_across(
                image, axis[0] + done[3] * axis[2], axis[1] + done[3] * axis[3], axis[2], axis[3], strip[done[3]]
            )
        while done[2] > max(0, i - 1):
            done[2] -= 1
            sample_across(
                image, axis[0] + done[2] * axis[2], axis[1] + done[2] * axis[3], axis[2], axis[3], strip[done[2]]
            )
        at[side] = _section(strip, i, at[side], width, least_contrast, line, sections[i])
        done[side] = i


@kernel(
    f"Tuple((float32[:, ::1], int64[::1], float64[::1]))"
    f"({_IMAGE}, {_LINE}, int64, int64, int64, int64, float64, float64, float64)"
)
def follow(
    image: Image,
    axis: Floats,
    n: int,
    start: int,
    seed: int,
    half_across: int,
    width: float,
    least_contrast: float,
    beyond_widths: float,
) -> tuple[Image, NDArray[np.int64], Floats]:
    """A ribbon's sections, shape (n, 5), its ends [first row, last row, kind of the first, kind of the last] and its
    [width, contrast]; no ends and nothing more where fewer than half of its certain rows are ribbon.

    ``axis``: x and y of row 0, and the unit vector along the rows. ``start``: the row to begin at; ``seed``: so many
    rows to either side of it are certainly ribbon, about ``width`` wide. ``half_across``: how far from the axis it
    is looked at.

    Columns of a section: centre, counted from the axis, and width (at half contrast, NaN where there is no ribbon),
    contrast of the core above its darker flank, core density, mean flank density. Each is that of three rows
    averaged. Pixels of 8 and more, or NaN, are outside the x-ray field: a row whose core or flank touches them is NaN
    altogether, and so are those that lie farther beyond the ends than ``beyond_widths``. The centre follows the shaft
    slowly: pins bow.

    A shaft goes on while its rows are ribbon or as dark as it is (it crosses another object), and over only a few rows
    that are neither.
    """
    across = 2 * half_across + 1
    sections = np.full((n, 5), np.nan, np.float32)
    strip, line = np.empty((n, across), np.float32), np.empty(across, np.float32)
    done, at = np.array([start, start - 1, start, start - 1]), np.full(2, float(half_across))
    low, high = max(0, start - seed), min(n - 1, start + seed)
    for side in range(2):
        _look_on(image, axis, width, least_contrast, side, high if side else low, strip, sections, done, at, line)
    certain = sections[low : high + 1]
    own = np.empty((2, high - low + 1), np.float32)
    n_own = 0
    for i in range(high - low + 1):
        if np.isfinite(certain[i, CENTRE]):
            own[0, n_own], own[1, n_own] = certain[i, WIDTH], certain[i, CONTRAST]
            n_own += 1
    if n_own < 0.5 * (high - low + 1) or n_own < FEWEST_SECTIONS:
        return sections, np.empty(0, np.int64), np.empty(0)
    shown = np.array([median_in_place(own[0, :n_own]), median_in_place(own[1, :n_own])])
    width_here, contrast = shown
    longest_gap = int(max(6.0, 1.2 * width_here))
    threshold = max(least_contrast, 0.3 * contrast)
    ends = np.empty(4, np.int64)
    for side in range(2):
        step = 1 if side == 1 else -1
        last = high if side == 1 else low
        level = np.nan
        for k in range(min(int(2 * width_here) + 4, high - low + 1)):
            core = sections[last - step * k, CORE]
            if core == core:
                level = core if level != level else max(level, core)
        dark, light, kind = 0, 0, BORDER
        i = last + step
        while 0 <= i < n:
            _look_on(image, axis, width, least_contrast, side, i, strip, sections, done, at, line)
            section = sections[i]
            core = section[CORE]
            if core != core:
                break
            if section[CONTRAST] >= threshold and 0.4 * width_here <= section[WIDTH] <= 1.8 * width_here:
                last, dark, light = i, 0, 0
                level += 0.1 * (core - level)
            elif (
                core >= level - 0.4 * contrast
                or 2.0 * (section[CORE] - section[FLANKS]) - section[CONTRAST] >= ONE_SIDED * contrast
            ):
                # As dark as the shaft, or dark against one side: another shaft lies along the other.
                dark += 1
            else:
                light += 1
            if light > longest_gap:
                kind = FREE if dark <= light else DARK
                break
            if dark > 3 * width_here + 40:
                kind = DARK
                break
            i += step
        if kind == BORDER and abs(i - last) > width_here + 4:
            kind = DARK if dark > light else FREE
        ends[side], ends[2 + side] = last, kind
        beyond = last + step * int(beyond_widths * width_here)
        if step * (beyond - done[side]) > 0:
            beyond = min(max(beyond, 0), n - 1)
            _look_on(image, axis, width, least_contrast, side, beyond, strip, sections, done, at, line)
    return sections, ends, shown


@kernel(f"boolean[::1]({_IMAGE}, {_LINE}, {_TABLE}, float64, float64)")
def rows_alone(sections: Image, bar: Floats, others: Floats, alike: float, least_own_widths: float) -> Flags:
    """Which rows of a shaft, from its first to its last, have no other shaft of its kind at their flanks: shape (n,).

    ``bar`` and each row of ``others``: x and y of row 0, unit vector along the rows, first and last row, width and
    contrast. Equal ones are the shaft itself; those of less than ``alike`` of its contrast do not count. All rows where
    the shaft has hardly any to itself: then there is no other place to learn from.
    """
    first, n = int(bar[4]), int(bar[5]) - int(bar[4]) + 1
    alone = np.ones(n, np.bool_)
    for k in range(others.shape[0]):
        other = others[k]
        if (other == bar).all() or other[7] < alike * bar[7]:
            continue
        reach = bar[6] + 0.5 * other[6] + 2.0
        for i in range(n):
            off_x, off_y = bar[0] + (first + i) * bar[2] - other[0], bar[1] + (first + i) * bar[3] - other[1]
            along, across = off_x * other[2] + off_y * other[3], off_y * other[2] - off_x * other[3]
            alone[i] &= (abs(across) > reach) | (along < other[4]) | (along > other[5])
    own = 0
    for i in range(n):
        own += alone[i] and np.isfinite(sections[first + i, CENTRE])
    if own <= least_own_widths * bar[6]:
        alone[:] = True
    return alone


@kernel(f"float64[::1]({_IMAGE}, int64, {_FLAGS}, float64, float64)")
def evenness(sections: Image, first: int, alone: Flags, width: float, contrast: float) -> Floats:
    """How even a shaft is along those of its rows that are ``alone``, counted from its ``first``: shape (11,).

    The shares of rows that are ribbon, and that are or would be but for another shaft; the medians of the absolute
    three-point bends of the centres over a few widths, of how far widths lie from the shaft's, of the centres in
    the first, middle and last third, of the widths in each third, and of how far the darker flank lies above the mean
    of both.
    """
    rows = np.empty((5, alone.size), np.float32)
    pale_below = np.float32(ONE_SIDED * contrast)
    n, n_rows, n_pale = 0, 0, 0
    for i in range(alone.size):
        if not alone[i]:
            continue
        section = sections[first + i]
        n_rows += 1
        if np.isfinite(section[CENTRE]):
            rows[0, n], rows[1, n] = section[CENTRE], section[WIDTH]
            rows[2, n] = section[CORE] - section[CONTRAST] - section[FLANKS]
            n += 1
        elif not (np.float32(2.0) * (section[CORE] - section[FLANKS]) - section[CONTRAST] >= pale_below):
            n_pale += 1
    told = np.zeros(11)
    told[0], told[1] = n / n_rows, 1.0 - n_pale / n_rows
    step = max(2, int(2 * width))
    if n > 2 * step:
        bends = np.empty(n - 2 * step)
        for i in range(bends.size):
            before, at, after = rows[0, i], rows[0, i + step], rows[0, i + 2 * step]
            bends[i] = abs(np.float64(after) - np.float64(2.0) * at + before)
        told[2] = median_in_place(bends)
    for i in range(n):
        rows[3, i] = abs(rows[1, i] - np.float32(width))
    told[3] = median_in_place(rows[3, :n])
    begin = 0
    for third in range(3):
        end = begin + n // 3 + (1 if third < n % 3 else 0)
        told[4 + third] = median_in_place(rows[0, begin:end])
        told[7 + third] = median_in_place(rows[1, begin:end])
        begin = end
    told[10] = median_in_place(rows[2, :n])
    return told
