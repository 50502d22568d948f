"""What pairs of neighbouring pixels, read here and there over a field, tell of it."""

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel
from guidance.vision.kernels.median import median_in_place

_PAIRS = 'Array(float32, 2, "C", readonly=True)'

Pairs = NDArray[np.float32]

EVEN_LEVELS, EVEN_SHARE = 3.0, 0.97
"""A picture of one colour has more than this share of its levels so near their median."""
MOST_CHANGE = 16.0
"""An edge that has moved counts as no larger a change between neighbours, in 8-bit levels."""


@kernel(f"float64({_PAIRS}, {_PAIRS})")
def noise_between(before: Pairs, after: Pairs) -> float:
    """Mean change of neighbours against each other, in levels, over what is neither black nor white.

    ``before``, ``after``: (2, n) levels of left and right neighbours, on two frames. Where less than 2 % of the pairs
    are grey all of them count.
    """
    total = total_grey = 0.0
    grey = 0
    n = after.shape[1]
    for i in range(n):
        left, right = after[0, i], after[1, i]
        change = abs((left - before[0, i]) - (right - before[1, i]))
        change = change if change < MOST_CHANGE else MOST_CHANGE
        is_grey = (left > 4.0) & (left < 251.0) & (right > 4.0) & (right < 251.0)
        total += change
        total_grey += change if is_grey else 0.0
        grey += is_grey
    return total / n if grey < 0.02 * n else total_grey / grey


@kernel(f"boolean({_PAIRS})")
def is_even(pairs: Pairs) -> bool:
    """Whether the levels, of any shape (2, n), are those of a picture of one colour."""
    levels = pairs.ravel()
    if levels.size == 0:
        return False
    middle = levels.mean()
    below = above = 0
    for level in levels:
        below += 1 if level < middle - EVEN_LEVELS else 0
        above += 1 if level > middle + EVEN_LEVELS else 0
    # No other window as wide as this one holds what lies on both sides of it: the median, which is dear, is not needed.
    if min(below, above) > (1.0 - EVEN_SHARE) * levels.size:
        return False
    median = np.float32(median_in_place(levels.copy()))
    near = 0
    for level in levels:
        near += 1 if abs(level - median) <= EVEN_LEVELS else 0
    return near > EVEN_SHARE * levels.size


@kernel(f"Tuple((float64, float64))({_PAIRS})")
def likeness(pairs: Pairs) -> tuple[float, float]:
    """Covariance of left and right neighbours, (2, n), and the product of their standard deviations, in levels²."""
    n = pairs.shape[1]
    x, y = pairs[0].mean(), pairs[1].mean()
    xx = yy = xy = 0.0
    for i in range(n):
        a, b = pairs[0, i] - x, pairs[1, i] - y
        xx += a * a
        yy += b * b
        xy += a * b
    return xy / n, np.sqrt(xx / n) * np.sqrt(yy / n)
