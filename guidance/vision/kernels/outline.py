"""The geometry of fitting an outline: how many edge points speak for a circle or a line, and half-planes that cut."""

from math import atan2, cos, sin

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel

_COORDINATES = 'Array(float64, 1, "C", readonly=True)'
_POINTS = 'Array(float64, 2, "C", readonly=True)'
_TRIPLES = 'Array(int64, 2, "C", readonly=True)'
_INDICES = 'Array(int64, 1, "C", readonly=True)'

Coordinates = NDArray[np.float64]
Points = NDArray[np.float64]


@kernel(f"int64({_POINTS}, {_TRIPLES}, float64, float64[:, ::1], float64[::1])")
def circles_through(
    points: Points, triples: NDArray[np.int64], least_area: float, centres: Points, radii: Coordinates
) -> int:
    """How many circles were written to the beginning of ``centres``, (n, 2), and ``radii``, (n,).

    Each runs through three points, (n, 2), by a row of ``triples``; where those span no more than a
    quarter of ``least_area`` there is none.
    """
    count = 0
    for i in range(len(triples)):
        a, b, c = triples[i]
        ab_x, ab_y = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1]
        ac_x, ac_y = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1]
        twice_area = 2.0 * (ab_x * ac_y - ab_y * ac_x)
        if abs(twice_area) <= least_area:
            continue
        bb, cc = ab_x * ab_x + ab_y * ab_y, ac_x * ac_x + ac_y * ac_y
        x, y = (ac_y * bb - ab_y * cc) / twice_area, (ab_x * cc - ac_x * bb) / twice_area
        centres[count, 0], centres[count, 1], radii[count] = points[a, 0] + x, points[a, 1] + y, np.hypot(x, y)
        count += 1
    return count


@kernel(f"int64[::1]({_COORDINATES}, {_COORDINATES}, {_POINTS}, {_COORDINATES}, float64, float64)")
def votes_for_circles(
    x: Coordinates, y: Coordinates, centres: Points, radii: Coordinates, near: float, far: float
) -> NDArray[np.int64]:
    """For each circle the points within ``near`` of it, less three for each that lies more than ``far`` outside."""
    votes = np.empty(len(radii), dtype=np.int64)
    for c in range(len(radii)):
        on = beyond = 0
        for i in range(len(x)):
            dx, dy = x[i] - centres[c, 0], y[i] - centres[c, 1]
            off = np.sqrt(dx * dx + dy * dy) - radii[c]
            on += abs(off) < near
            beyond += off > far
        votes[c] = on - 3 * beyond
    return votes


@kernel(
    f"Tuple((int64, float64, float64, float64))({_COORDINATES}, {_COORDINATES}, boolean[::1], {_INDICES}, {_INDICES}, "
    f"{_COORDINATES}, int64, float64, float64)"
)
def best_side(
    x: Coordinates,
    y: Coordinates,
    left: NDArray[np.bool_],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    inner: Coordinates,
    least: int,
    near: float,
    most_beyond: float,
) -> tuple[int, float, float, float]:
    """The line that most points lie on: how many, and its ``normal`` and ``offset``, refined by least squares.

    It is one through a pair of points, ``first`` and ``second``, more than 8 px apart. Points marked in ``left`` lie on
    it within ``near``; the normal points away from ``inner``, and no more than ``most_beyond`` points may lie more than
    2.5 ``near`` on that side. Unmarked are then those within 2 ``near`` of the refined line. 0 below ``least`` points.
    """
    most, nx, ny, offset = 0, 0.0, 0.0, 0.0
    for c in range(len(first)):
        a, b = first[c], second[c]
        dx, dy = x[b] - x[a], y[b] - y[a]
        length = np.hypot(dx, dy)
        if length <= 8.0:
            continue
        normal_x, normal_y = -dy / length, dx / length
        through = normal_x * x[a] + normal_y * y[a]
        if normal_x * inner[0] + normal_y * inner[1] > through:
            normal_x, normal_y, through = -normal_x, -normal_y, -through
        on = beyond = 0
        for i in range(len(x)):
            off = x[i] * normal_x + y[i] * normal_y - through
            on += (abs(off) < near) & left[i]
            beyond += off > 2.5 * near
        if on > most and beyond <= most_beyond:
            most, nx, ny, offset = on, normal_x, normal_y, through
    if most < least:
        return 0, nx, ny, offset
    is_on = left & (np.abs(x * nx + y * ny - offset) < near)
    mean_x, mean_y = x[is_on].mean(), y[is_on].mean()
    dx_on, dy_on = x[is_on] - mean_x, y[is_on] - mean_y
    along = 0.5 * atan2(2.0 * (dx_on * dy_on).sum(), (dx_on * dx_on).sum() - (dy_on * dy_on).sum())
    nx, ny = -sin(along), cos(along)
    offset = nx * mean_x + ny * mean_y
    if nx * inner[0] + ny * inner[1] > offset:
        nx, ny, offset = -nx, -ny, -offset
    left &= np.abs(x * nx + y * ny - offset) > 2.0 * near
    return most, nx, ny, offset


@kernel(f"float64[:, ::1]({_POINTS}, {_POINTS})")
def clipped(polygon: Points, sides: Points) -> Points:
    """What of a convex polygon, (n, 2), half-planes ``x nx + y ny <= offset`` leave; ``sides``: rows (nx, ny, offset).

    Method: Sutherland and Hodgman, Reentrant polygon clipping, 1974.
    """
    kept = polygon.copy()
    for s in range(len(sides)):
        n = len(kept)
        if n < 3:
            break
        off = kept[:, 0] * sides[s, 0] + kept[:, 1] * sides[s, 1] - sides[s, 2]
        corners = np.empty((2 * n, 2))
        count = 0
        for i in range(n):
            j = (i + 1) % n
            if off[i] <= 0:
                corners[count, 0], corners[count, 1] = kept[i, 0], kept[i, 1]
                count += 1
            if (off[i] < 0.0 < off[j]) or (off[j] < 0.0 < off[i]):
                share = off[i] / (off[i] - off[j])
                for axis in range(2):
                    corners[count, axis] = kept[i, axis] + share * (kept[j, axis] - kept[i, axis])
                count += 1
        kept = corners[:count].copy()
    return kept
