"""Where a line crosses a polygon."""

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel

Floats = NDArray[np.float64]


@kernel('UniTuple(float64, 2)(Array(float64, 2, "C", readonly=True), float64, float64, float64, float64)')
def chord(polygon: Floats, x: float, y: float, along_x: float, along_y: float) -> tuple[float, float]:
    """How far from (x, y) along a unit vector the line enters the polygon, shape (n, 2), and leaves it for good; NaN
    where it passes by.
    """
    n = polygon.shape[0]
    first, last = np.inf, -np.inf
    for k in range(n):
        off_x, off_y = polygon[k, 0] - x, polygon[k, 1] - y
        next_x, next_y = polygon[(k + 1) % n, 0] - x, polygon[(k + 1) % n, 1] - y
        aside, next_aside = along_x * off_y - along_y * off_x, along_x * next_y - along_y * next_x
        if (aside <= 0.0) != (next_aside <= 0.0):
            ahead, next_ahead = off_x * along_x + off_y * along_y, next_x * along_x + next_y * along_y
            at = ahead + aside / (aside - next_aside) * (next_ahead - ahead)
            first, last = min(first, at), max(last, at)
    return (first, last) if first <= last else (np.nan, np.nan)
