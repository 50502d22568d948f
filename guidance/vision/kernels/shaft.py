"""A dark ribbon followed along its axis, and what its sections tell: one pass over the pixels that matter."""

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels import ridge
from guidance.vision.kernels._jit import kernel
from guidance.vision.kernels.median import median_in_place
from guidance.vision.kernels.ridge import half_way

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


@kernel(f"void({_IMAGE}, float64, float64, float64, float64, float32[::1], int64, int64)")
def sample_across(
    image: Image, x: float, y: float, along_x: float, along_y: float, row: NDArray[np.float32], begin: int, end: int
) -> None:
    """The columns from ``begin`` to before ``end`` of one row of a strip, its middle at (x, y)."""
    height, width = image.shape
    half = row.size // 2
    reach_x, reach_y = half * abs(along_y) + 1.0, half * abs(along_x) + 1.0
    if reach_x <= x < width - 1 - reach_x and reach_y <= y < height - 1 - reach_y:
        # Wholly inside: no test for each pixel, and no floor of what is positive.
        for j in range(begin, end):
            across = j - half
            px, py = x - across * along_y, y + across * along_x
            ix, iy = int(px), int(py)
            share_x, share_y = np.float32(px - ix), np.float32(py - iy)
            upper = image[iy, ix] + share_x * (image[iy, ix + 1] - image[iy, ix])
            lower = image[iy + 1, ix] + share_x * (image[iy + 1, ix + 1] - image[iy + 1, ix])
            row[j] = upper + share_y * (lower - upper)
        return
    for j in range(begin, end):
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
        sample_across(image, x + i * along_x, y + i * along_y, along_x, along_y, strip[i], 0, strip.shape[1])
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
    """Fill the sections to one side as far as a row; the strip is sampled no farther than it is needed.

    ``done``: first and last row with a section, first and last row of the strip that are sampled. ``at``: where the
    centre is expected on the next row, for either side.
    """
    n, across = strip.shape
    step = 1 if side == 1 else -1
    while done[side] != to_row:
        i = done[side] + step
        # A row is looked at from here and from the next two, before which the centre moves by little.
        aside = int(0.5 * width + max(2.0, 0.33 * width) + 0.3 * (0.3 * width + 1.0)) + 5
        begin, end = max(0, int(at[side]) - aside), min(across, int(at[side]) + aside + 2)
        while done[3] < min(n - 1, i + 1):
            done[3] += 1
            x, y = axis[0] + done[3] * axis[2], axis[1] + done[3] * axis[3]
            sample_across(image, x, y, axis[2], axis[3], strip[done[3]], begin, end)
        while done[2] > max(0, i - 1):
            done[2] -= 1
            x, y = axis[0] + done[2] * axis[2], axis[1] + done[2] * axis[3]
            sample_across(image, x, y, axis[2], axis[3], strip[done[2]], begin, end)
        at[side] = _section(strip, i, at[side], width, least_contrast, line, sections[i])
        done[side] = i


@kernel("int64(float64, float64, float64, float64, int64, int64)")
def _room(x: float, y: float, along_x: float, along_y: float, width: int, height: int) -> int:
    """How many whole steps from (x, y) stay inside the image."""
    steps = float(width + height)
    if abs(along_x) > 1e-9:
        steps = min(steps, ((width - 1 if along_x > 0.0 else 0) - x) / along_x)
    if abs(along_y) > 1e-9:
        steps = min(steps, ((height - 1 if along_y > 0.0 else 0) - y) / along_y)
    return max(0, int(steps))


@kernel(f"Tuple((float32[:, ::1], float64[::1]))({_IMAGE}, {_LINE}, float64, float64)")
def follow(image: Image, line: Floats, least_contrast: float, beyond_widths: float) -> tuple[Image, Floats]:
    """A straight line followed both ways to where its ribbon ends: the sections on all rows of its way through the
    image, shape (n, 5), and the shaft, shape (10,); an empty one where fewer than half of the line's rows are ribbon.

    ``line``: as a row of ``ridge.straight_lines``. Of the shaft: x and y of row 0, the unit vector along the rows,
    first and last row, width, contrast, and how it ends at the first and at the last.

    Columns of a section: centre, counted from the axis, and width (at half contrast, NaN where there is no ribbon),
    contrast of the core above its darker flank, core density, mean flank density. Each is that of three rows
    averaged. Pixels of 8 and more, or NaN, are outside the x-ray field: a row whose core or flank touches them is NaN
    altogether, and so are those that lie farther beyond the ends than ``beyond_widths``. The centre follows the shaft
    slowly: pins bow.

    A shaft goes on while its rows are ribbon or as dark as it is (it crosses another object), and over only a few rows
    that are neither.
    """
    width, along_x, along_y = line[ridge.WIDTH], line[ridge.ALONG_X], line[ridge.ALONG_Y]
    x, y = (line[ridge.START_X] + line[ridge.END_X]) / 2, (line[ridge.START_Y] + line[ridge.END_Y]) / 2
    start = _room(x, y, -along_x, -along_y, image.shape[1], image.shape[0])
    n = start + _room(x, y, along_x, along_y, image.shape[1], image.shape[0]) + 1
    axis = np.array([x - start * along_x, y - start * along_y, along_x, along_y])
    certain = int(np.hypot(line[ridge.END_X] - line[ridge.START_X], line[ridge.END_Y] - line[ridge.START_Y]) / 2)
    low, high = max(0, start - certain), min(n - 1, start + certain)
    half_across = int(np.ceil(1.35 * width)) + 9
    across = 2 * half_across + 1
    sections = np.full((n, 5), np.nan, np.float32)
    strip, smooth = np.empty((n, across), np.float32), np.empty(across, np.float32)
    done, at = np.array([start, start - 1, start, start - 1]), np.full(2, float(half_across))
    for side in range(2):
        to_row = high if side == 1 else low
        _look_on(image, axis, width, least_contrast, side, to_row, strip, sections, done, at, smooth)
    own = np.empty((2, high - low + 1), np.float32)
    n_own = 0
    for i in range(low, high + 1):
        if np.isfinite(sections[i, CENTRE]):
            own[0, n_own], own[1, n_own] = sections[i, WIDTH], sections[i, CONTRAST]
            n_own += 1
    if n_own < 0.5 * (high - low + 1) or n_own < FEWEST_SECTIONS:
        return sections, np.empty(0)
    shaft = np.empty(10)
    for i in range(4):
        shaft[i] = axis[i]
    shown_width, contrast = median_in_place(own[0, :n_own]), median_in_place(own[1, :n_own])
    shaft[6], shaft[7] = shown_width, contrast
    longest_gap = int(max(6.0, 1.2 * shown_width))
    threshold = max(least_contrast, 0.3 * contrast)
    for side in range(2):
        step = 1 if side == 1 else -1
        last = high if side == 1 else low
        level = np.nan
        for k in range(min(int(2 * shown_width) + 4, high - low + 1)):
            core = sections[last - step * k, CORE]
            if core == core:
                level = core if level != level else max(level, core)
        dark, light, kind = 0, 0, BORDER
        i = last + step
        while 0 <= i < n:
            _look_on(image, axis, width, least_contrast, side, i, strip, sections, done, at, smooth)
            section = sections[i]
            core = section[CORE]
            if core != core:
                break
            if section[CONTRAST] >= threshold and 0.4 * shown_width <= section[WIDTH] <= 1.8 * shown_width:
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
            if dark > 3 * shown_width + 40:
                kind = DARK
                break
            i += step
        if kind == BORDER and abs(i - last) > shown_width + 4:
            kind = DARK if dark > light else FREE
        shaft[4 + side], shaft[8 + side] = last, kind
        beyond = last + step * int(beyond_widths * shown_width)
        if step * (beyond - done[side]) > 0:
            beyond = min(max(beyond, 0), n - 1)
            _look_on(image, axis, width, least_contrast, side, beyond, strip, sections, done, at, smooth)
    return sections, shaft


@kernel(f"boolean[::1]({_TABLE}, {_IMAGE}, {_LINE})")
def lie_on(lines: Floats, sections: Image, shaft: Floats) -> Flags:
    """Which lines, as from ``ridge.straight_lines``, are pieces of a shaft that was followed; one that lies beyond its
    end is not.
    """
    lie = np.zeros(lines.shape[0], np.bool_)
    first, last, most_aside = int(shaft[4]), int(shaft[5]), 0.7 * shaft[6] + 1
    for k in range(lines.shape[0]):
        line = lines[k]
        if abs(shaft[2] * line[ridge.ALONG_Y] - shaft[3] * line[ridge.ALONG_X]) > 0.14:
            continue
        lies = True
        for part in range(3):
            # Its middle, its start and its end.
            to_end = 0.5 if part == 0 else part - 1.0
            x = line[ridge.START_X] + to_end * (line[ridge.END_X] - line[ridge.START_X]) - shaft[0]
            y = line[ridge.START_Y] + to_end * (line[ridge.END_Y] - line[ridge.START_Y]) - shaft[1]
            row, across = x * shaft[2] + y * shaft[3], y * shaft[2] - x * shaft[3]
            centre = sections[int(min(max(row, first), last)), CENTRE]
            aside = abs(across - (centre if np.isfinite(centre) else 0.0))
            lies = lies and aside <= most_aside and (part > 0 or first <= row <= last)
        lie[k] = lies
    return lie


@kernel(f"boolean[::1]({_IMAGE}, {_TABLE}, int64, float64, float64)")
def rows_alone(sections: Image, shafts: Floats, number: int, alike: float, least_own_widths: float) -> Flags:
    """Which rows of a shaft, from its first to its last, have no other shaft of its kind at their flanks: shape (n,).

    ``sections``: of the shaft of this ``number``; ``shafts``: all, as from ``follow``. Those of less than ``alike`` of
    its contrast do not count. All rows where the shaft has hardly any to itself: then there is no other place to learn
    from.
    """
    bar = shafts[number]
    first, n = int(bar[4]), int(bar[5]) - int(bar[4]) + 1
    alone = np.ones(n, np.bool_)
    for k in range(shafts.shape[0]):
        other = shafts[k]
        if k == number or other[7] < alike * bar[7]:
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


@kernel(f"float64({_IMAGE}, int64, {_FLAGS}, int64, int64)")
def centre_near(sections: Image, first: int, alone: Flags, row: int, reach: int) -> float:
    """A shaft's centre at a row: the median of those known within reach or, where none is, in line with all that are.

    ``alone``: the rows to learn from, counted from its ``first``. 0 where none is known.
    """
    near = np.empty(alone.size)
    n, n_near, sum_x, sum_y, sum_xx, sum_xy = 0, 0, 0.0, 0.0, 0.0, 0.0
    for i in range(alone.size):
        centre = np.float64(sections[first + i, CENTRE])
        if not (alone[i] and np.isfinite(centre)):
            continue
        off = float(first + i - row)
        n += 1
        sum_x += off
        sum_y += centre
        sum_xx += off * off
        sum_xy += off * centre
        if abs(off) <= reach:
            near[n_near] = centre
            n_near += 1
    if n_near:
        return median_in_place(near[:n_near])
    if n == 0:
        return 0.0
    spread = sum_xx - sum_x * sum_x / n
    slope = (sum_xy - sum_x * sum_y / n) / spread if spread > 0.0 else 0.0
    return (sum_y - slope * sum_x) / n
