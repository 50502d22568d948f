"""The geometry of fitting an outline: how many edge points speak for a circle or a line, and half-planes that cut."""

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel

_COORDINATES = 'Array(float64, 1, "C", readonly=True)'
_POINTS = 'Array(float64, 2, "C", readonly=True)'
_MARKS = 'Array(uint8, 1, "C", readonly=True)'
_INDICES = 'Array(int64, 1, "C", readonly=True)'

Coordinates = NDArray[np.float64]
Points = NDArray[np.float64]


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
    f"Tuple((int64, float64, float64, float64))({_COORDINATES}, {_COORDINATES}, {_MARKS}, {_INDICES}, {_INDICES}, "
    f"{_COORDINATES}, float64, float64)"
)
def best_line(
    x: Coordinates,
    y: Coordinates,
    counted: NDArray[np.uint8],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    inner: Coordinates,
    near: float,
    most_beyond: float,
) -> tuple[int, float, float, float]:
    """Of the lines through pairs of points that with the most points on it: how many, and its ``normal`` and offset.

    ``first``, ``second``: which points make a pair; those of no more than 8 px apart make none. ``counted``: not 0 for
    points that count as on a line, within ``near``. The normal points away from ``inner``; no line counts that has
    more than ``most_beyond`` points more than 2.5 ``near`` on that side. Without any line 0 points.
    """
    most, best_x, best_y, best_offset = 0, 0.0, 0.0, 0.0
    for c in range(len(first)):
        a, b = first[c], second[c]
        dx, dy = x[b] - x[a], y[b] - y[a]
        length = np.hypot(dx, dy)
        if length <= 8.0:
            continue
        normal_x, normal_y = -dy / length, dx / length
        offset = normal_x * x[a] + normal_y * y[a]
        if normal_x * inner[0] + normal_y * inner[1] > offset:
            normal_x, normal_y, offset = -normal_x, -normal_y, -offset
        on = beyond = 0
        for i in range(len(x)):
            off = x[i] * normal_x + y[i] * normal_y - offset
            on += (abs(off) < near) & (counted[i] != 0)
            beyond += off > 2.5 * near
        if on > most and beyond <= most_beyond:
            most, best_x, best_y, best_offset = on, normal_x, normal_y, offset
    return most, best_x, best_y, best_offset


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
                corners[count] = kept[i]
                count += 1
            if (off[i] < 0.0 < off[j]) or (off[j] < 0.0 < off[i]):
                share = off[i] / (off[i] - off[j])
                corners[count] = kept[i] + share * (kept[j] - kept[i])
                count += 1
        kept = corners[:count].copy()
    return kept
