"""A shaft straightened, and what about its edges and beside it tells a screw or a clamp's arm from a needle."""

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel
from guidance.vision.kernels.median import median_in_place
from guidance.vision.kernels.shaft import CENTRE, sample_across

Image = NDArray[np.float32]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_IMAGE = 'Array(float32, 2, "C", readonly=True)'
_LINE = 'Array(float64, 1, "C", readonly=True)'
_TABLE = 'Array(float64, 2, "C", readonly=True)'

BOSS_WIDTHS = 0.8
"""A joint reaches at least this far to either side of an arm's axis; the arm itself reaches half a width."""
BROADEST_BOSS_WIDTHS = 2.6
BOSS_PALER = 0.35
"""Of the shaft's contrast: a joint is steel through and through, crossing wires are not."""
TWIN_WIDTHS = 2.5
"""For at least this far the other arm shows beside this one."""
LEAST_JAWS_TURN, MOST_JAWS_TURN = 0.04, 0.45
"""Sine of the angle between two jaws."""


@kernel(f"float64[::1]({_IMAGE}, int64, int64, int64, int64)")
def bow(sections: Image, first: int, last: int, degree: int, beyond: int) -> Floats:
    """The least-squares line or parabola through a shaft's centres, at its rows and ``beyond`` them at either end.

    By orthogonal polynomials (Forsythe, "Generation and use of orthogonal polynomials for data-fitting with a digital
    computer", 1957). ``degree``: 1 or 2.
    """
    rows, centres = np.empty(last - first + 1), np.empty(last - first + 1)
    n = 0
    for i in range(rows.size):
        centre = sections[first + i, CENTRE]
        if np.isfinite(centre):
            rows[n], centres[n] = i, centre
            n += 1
    rows, centres = rows[:n], centres[:n]
    row, centre = rows.mean(), centres.mean()
    squares, cubes = 0.0, 0.0
    for k in range(n):
        off = rows[k] - row
        squares += off * off
        cubes += off * off * off
    spread, skew = squares / n, cubes / squares if squares > 0.0 else 0.0
    along, bent, bends = 0.0, 0.0, 0.0
    for k in range(n):
        off = rows[k] - row
        curve = off * off - skew * off - spread
        along += off * centres[k]
        bent += curve * centres[k]
        bends += curve * curve
    slope = along / squares if squares > 0.0 else 0.0
    curvature = bent / bends if degree == 2 and bends > 0.0 else 0.0
    at = np.empty(last - first + 1 + 2 * beyond)
    for i in range(at.size):
        off = i - beyond - row
        at[i] = centre + slope * off + curvature * (off * off - skew * off - spread)
    return at


@kernel(f"float32[:, ::1]({_IMAGE}, {_LINE}, {_LINE}, int64, float64)")
def straight_view(image: Image, axis: Floats, centres: Floats, half: int, outside: float) -> Image:
    """The image along a bowed axis, shape (n, 2 * half + 1), the bow in the middle column.

    ``axis``: x and y of row 0, and the unit vector along the rows. ``centres``: how far the bow lies from that on each
    row. ``outside``: what stands for what is not in the image.
    """
    strip = np.empty(2 * half + 3, np.float32)
    view = np.empty((centres.size, 2 * half + 1), np.float32)
    for i in range(centres.size):
        left = np.floor(centres[i])
        share = np.float32(centres[i] - left)
        x, y = axis[0] + i * axis[2] - left * axis[3], axis[1] + i * axis[3] + left * axis[2]
        sample_across(image, x, y, axis[2], axis[3], strip, 0, strip.size)
        for j in range(2 * half + 1):
            value = (np.float32(1.0) - share) * strip[j + 1] + share * strip[j + 2]
            view[i, j] = value if np.isfinite(value) else np.float32(outside)
    return view


@kernel(f"Tuple((float64[::1], boolean[:, ::1], int64[:, ::1]))({_IMAGE}, int64, float64, float64)")
def steel_beside(view: Image, core: int, paler: float, darkest: float) -> tuple[Floats, Flags, NDArray[np.int64]]:
    """A straight view's density along its axis, shape (n,), where it is as dark as there, shape of the view, and how
    many pixels it is so without a break to the right and to the left, shape (2, n), the axis itself counted.

    ``core``: so far to either side the density is averaged. ``paler``: by so much less it is as dark. ``darkest``: from
    there on it is no density.
    """
    n, middle = view.shape[0], view.shape[1] // 2
    steel, dark, reach = np.empty(n), np.empty(view.shape, np.bool_), np.zeros((2, n), np.int64)
    for i in range(n):
        total = 0.0
        for j in range(middle - core, middle + core + 1):
            total += view[i, j]
        steel[i] = total / (2 * core + 1)
        level = steel[i] - paler
        for j in range(view.shape[1]):
            dark[i, j] = (view[i, j] > level) & (view[i, j] < darkest)
        for side in range(2):
            step = 1 if side == 0 else -1
            while reach[side, i] <= middle and dark[i, middle + step * reach[side, i]]:
                reach[side, i] += 1
    return steel, dark, reach


@kernel("boolean(boolean[:, ::1], int64[::1], boolean[::1], int64, float64, int64, float64)")
def _spreads(
    dark: Flags, bar: NDArray[np.int64], bare: Flags, side: int, joint: float, ahead: int, width: float
) -> bool:
    """A second bar beside the shaft springs from the same boss: its distance grows with that from the boss, from none.

    ``dark``: of a straight view, of which one ``side`` (1 or -1) is looked at. ``bar``: how far the shaft itself
    reaches there. ``bare``: rows where it is a bar and no more. ``joint``: the row where the boss is; ``ahead``: 1 to
    look beyond it, -1 before it.
    """
    middle = dark.shape[1] // 2
    n, first, last = 0, 0, 0
    sum_x, sum_y, sum_xx, sum_xy = 0.0, 0.0, 0.0, 0.0
    for i in range(dark.shape[0]):
        away = ahead * (i - joint)
        if not bare[i] or away <= 0.0:
            continue
        thick, nearest = 0, 0
        for off in range(bar[i] + 1, middle + 1):
            if dark[i, middle + side * off]:
                nearest = off if thick == 0 else nearest
                thick += 1
        if not 0.6 * width <= thick <= 1.4 * width:
            continue
        first, last = i if n == 0 else first, i
        n += 1
        beside = nearest + 0.5 * width
        sum_x += away
        sum_y += beside
        sum_xx += away * away
        sum_xy += away * beside
    if n < max(TWIN_WIDTHS * width, 0.5 * (last - first)) or n < 2:
        return False
    slope = (sum_xy - sum_x * sum_y / n) / (sum_xx - sum_x * sum_x / n)
    offset = (sum_y - slope * sum_x) / n
    return abs(offset) < 0.7 * width and LEAST_JAWS_TURN < slope < MOST_JAWS_TURN


@kernel(f"boolean({_IMAGE}, float64, float64, float64)")
def runs_into_joint(view: Image, width: float, contrast: float, darkest: float) -> bool:
    """The bar in the middle of a straight view and one beside it run into a boss as dark as themselves, and dark metal
    out of it.

    ``width``, ``contrast``: of the bar. ``darkest``: from there on it is no density.
    """
    n, core, arm = view.shape[0], max(1, int(np.rint(0.25 * width))), int(np.ceil(1.5 * width))
    steel, dark, reach = steel_beside(view, core, BOSS_PALER * contrast, darkest)
    is_boss, bare = np.zeros(n + 4, np.bool_), np.empty(n, np.bool_)
    for i in range(n):
        narrow, broad = min(reach[0, i], reach[1, i]) / width, max(reach[0, i], reach[1, i]) / width
        is_boss[i + 2] = steel[i] < darkest and narrow >= BOSS_WIDTHS and broad <= BROADEST_BOSS_WIDTHS
        bare[i] = steel[i] < darkest and broad <= 0.75 + 1.0 / width
    first = -1
    for i in range(n + 1):
        # Single rows in which noise breaks it belong to it.
        if i < n and is_boss[i : i + 5].sum() >= 3:
            first = i if first < 0 else first
            continue
        if first < 0:
            continue
        begin, end, first = first, i, -1
        if not 0.7 * width <= end - begin <= 2 * BROADEST_BOSS_WIDTHS * width:
            continue
        level = median_in_place(steel[begin:end].copy()) - 0.6 * contrast
        before, after = 0, 0
        for k in range(arm):
            if begin - 1 - k >= 0:
                before += steel[begin - 1 - k] < darkest and steel[begin - 1 - k] > level
            if end + k < n:
                after += steel[end + k] < darkest and steel[end + k] > level
        if min(before, after) < 0.8 * arm:
            continue
        for side in range(2):
            for ahead in (1, -1):
                if _spreads(dark, reach[side], bare, 1 - 2 * side, 0.5 * (begin + end), ahead, width):
                    return True
    return False


@kernel(f"float64[:, ::1]({_IMAGE}, int64, int64)")
def edges_of(view: Image, near: int, far: int) -> Floats:
    """The mean density on each row from ``near`` to ``far`` pixels right and left of the axis: shape (2, n)."""
    middle = view.shape[1] // 2
    edges = np.zeros((2, view.shape[0]))
    for i in range(view.shape[0]):
        for off in range(near, far + 1):
            edges[0, i] += view[i, middle + off]
            edges[1, i] += view[i, middle - off]
    return edges / (far - near + 1)


@kernel(f"float64[:, ::1]({_TABLE}, int64, int64, int64)")
def unevenness(edges: Floats, begin: int, end: int, smooth: int) -> Floats:
    """What a stretch of each edge leaves of its running mean over ``smooth`` rows, an odd number, in a Hann window:
    shape (2, end - begin). Beyond its ends the stretch goes on as it ends.
    """
    n, half = end - begin, smooth // 2
    uneven = np.empty((2, n))
    for side in range(2):
        edge = edges[side, begin:end]
        total = half * edge[0]
        for k in range(half + 1):
            total += edge[min(k, n - 1)]
        for i in range(n):
            window = 0.5 - 0.5 * np.cos(2.0 * np.pi * i / (n - 1))
            uneven[side, i] = (edge[i] - total / smooth) * window
            total += edge[min(i + half + 1, n - 1)] - edge[max(i - half, 0)]
    return uneven
