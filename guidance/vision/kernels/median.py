"""Order statistics for other kernels and short arrays: NumPy's look after all that could be given, and each use of one
in a kernel would take a second to compile."""

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel


@kernel("void(float32[::1], int64)", "void(float64[::1], int64)")
def part_in_place(values: NDArray[np.floating], rank: int) -> None:
    """Order values without NaN so far that the one of this rank is in its place, and none before it is greater.

    Hoare, "Algorithm 65: find", 1961.
    """
    low, high = 0, values.size - 1
    while low < high:
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while pivot < values[j]:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if rank <= j:
            high = j
        elif rank >= i:
            low = i
        else:
            break


@kernel("float64(float32[::1])", "float64(float64[::1])")
def median_in_place(values: NDArray[np.floating]) -> float:
    """The median of one or more values without NaN, which are left in another order.

    Of an even number of values the mean of the two in the middle.
    """
    n = values.size
    half = n // 2
    part_in_place(values, half)
    upper = np.float64(values[half])
    if n % 2:
        return upper
    # What lies before the upper one is no greater.
    lower = values[0]
    for k in range(1, half):
        lower = max(lower, values[k])
    return 0.5 * (np.float64(lower) + upper)


@kernel(
    'float64(Array(float32, 1, "C", readonly=True))',
    'float64(Array(float64, 1, "C", readonly=True))',
)
def median(values: NDArray[np.floating]) -> float:
    """The median of one or more values without NaN."""
    return median_in_place(values.copy())
