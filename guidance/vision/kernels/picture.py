"""Each pixel's value in a table."""

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel


@kernel('void(Array(uint16, 2, "C", readonly=True), Array(float32, 1, "C", readonly=True), float32[:, ::1])')
def look_up(pixels: NDArray[np.uint16], table: NDArray[np.float32], found: NDArray[np.float32]) -> None:
    """Fill ``found`` with the table's entry for each of the pixels, of the same shape; OpenCV's ``LUT`` for 16 bits."""
    for row in range(pixels.shape[0]):
        here, there = pixels[row], found[row]
        for x in range(pixels.shape[1]):
            there[x] = table[here[x]]
