"""Kernels on polygons and polylines of the picture plane, corners as (n, 2) float64, x and y in px."""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel

Corners = NDArray[np.float64]

_CORNERS = 'Array(float64, 2, "C", readonly=True)'


@kernel("float64(float64, float64, float64, float64, float64, float64)")
def _to_edge2(x: float, y: float, x0: float, y0: float, x1: float, y1: float) -> float:
    """Squared distance from a point to an edge."""
    along_x, along_y = x1 - x0, y1 - y0
    to_x, to_y = x - x0, y - y0
    length2 = max(along_x * along_x + along_y * along_y, 1e-12)
    share = min(max((to_x * along_x + to_y * along_y) / length2, 0.0), 1.0)
    off_x, off_y = to_x - share * along_x, to_y - share * along_y
    return off_x * off_x + off_y * off_y


@kernel("float64(float64, float64, float64, float64, float64, float64)")
def _side(px: float, py: float, qx: float, qy: float, rx: float, ry: float) -> float:
    """On which side of the line from p to q a point r lies: 1, -1, or 0 on it."""
    return float(np.sign((qx - px) * (ry - py) - (qy - py) * (rx - px)))


@kernel(f"float64({_CORNERS}, {_CORNERS}, boolean)")
def edge_gap(ring: Corners, other: Corners, is_closed: bool) -> float:
    """Shortest distance between the edges of a ring and of another polyline; 0 where any two cross.

    ``is_closed``: the other is a ring too. One of a single corner is that point. Edges that can be no nearer than what
    has been found, by their boxes, are passed over.
    """
    n, m = ring.shape[0], other.shape[0]
    edges = m if is_closed or m == 1 else m - 1
    left, top, right, bottom = np.inf, np.inf, -np.inf, -np.inf
    for j in range(m):
        left, right = min(left, other[j, 0]), max(right, other[j, 0])
        top, bottom = min(top, other[j, 1]), max(bottom, other[j, 1])
    least = np.inf
    for i in range(n):
        ax, ay = ring[i, 0], ring[i, 1]
        bx, by = ring[(i + 1) % n, 0], ring[(i + 1) % n, 1]
        x0, x1, y0, y1 = min(ax, bx), max(ax, bx), min(ay, by), max(ay, by)
        off_x, off_y = max(0.0, left - x1, x0 - right), max(0.0, top - y1, y0 - bottom)
        if off_x * off_x + off_y * off_y > least:
            continue
        for j in range(edges):
            k = (j + 1) % m
            cx, cy, dx, dy = other[j, 0], other[j, 1], other[k, 0], other[k, 1]
            off_x = max(0.0, min(cx, dx) - x1, x0 - max(cx, dx))
            off_y = max(0.0, min(cy, dy) - y1, y0 - max(cy, dy))
            if off_x * off_x + off_y * off_y > least:
                continue
            if (
                _side(ax, ay, bx, by, cx, cy) * _side(ax, ay, bx, by, dx, dy) < 0
                and _side(cx, cy, dx, dy, ax, ay) * _side(cx, cy, dx, dy, bx, by) < 0
            ):
                return 0.0
            least = min(least, _to_edge2(ax, ay, cx, cy, dx, dy), _to_edge2(cx, cy, ax, ay, bx, by))
            least = min(least, _to_edge2(bx, by, cx, cy, dx, dy), _to_edge2(dx, dy, ax, ay, bx, by))
    return sqrt(least)


@kernel(f"float64[::1]({_CORNERS}, {_CORNERS})")
def depths(points: Corners, ring: Corners) -> NDArray[np.float64]:
    """Distance from each point to a ring's nearest edge, positive inside it, negative outside: (n,)."""
    out = np.empty(points.shape[0])
    corners = ring.shape[0]
    for i in range(points.shape[0]):
        x, y = points[i, 0], points[i, 1]
        least, is_inside = np.inf, False
        for j in range(corners):
            x0, y0 = ring[j - 1 if j > 0 else corners - 1, 0], ring[j - 1 if j > 0 else corners - 1, 1]
            x1, y1 = ring[j, 0], ring[j, 1]
            least = min(least, _to_edge2(x, y, x0, y0, x1, y1))
            if (y0 > y) != (y1 > y) and x < x0 + (y - y0) / (y1 - y0) * (x1 - x0):
                is_inside = not is_inside
        out[i] = sqrt(least) if is_inside else -sqrt(least)
    return out
