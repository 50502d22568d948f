"""Coarser cells over a plane of pixels: what it shows in each, whatever the ratio of the two grids."""

from functools import lru_cache
from math import ceil, floor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels import cells as kernels
from guidance.vision.picture import Density, Mask

_LEAST_OVERLAP_PX: Final = 1e-3
"""Less of a pixel than this is in a cell by rounding alone."""
_TOUCHED_SHARE: Final = 0.5 / 255
"""A cell is touched by more than so much of it: half a grey level of 8 bit."""

Spans = tuple[NDArray[np.uint32], Density]


class Cells:
    """``shape`` cells laid over ``pixels``, both (rows, columns)."""

    def __init__(self, pixels: tuple[int, int], shape: tuple[int, int]) -> None:
        self.shape = shape
        rows, columns = (_spans(length, count) for length, count in zip(pixels, shape, strict=True))
        self._spans = (rows[0], rows[1], columns[0], columns[1])

    def averages(self, plane: Density) -> Density:
        """The mean of a plane in each cell."""
        out = np.empty(self.shape, np.float32)
        kernels.averages(plane, *self._spans, out)
        return out

    def touched(self, mask: Mask, absent: int = 0) -> Mask:
        """255 on cells in which some of the mask is not ``absent``, 0 elsewhere."""
        out = np.empty(self.shape, np.uint8)
        kernels.touched(mask, absent, *self._spans, _TOUCHED_SHARE, out)
        return out


@lru_cache(maxsize=4)
def cells_over(pixels: tuple[int, int], shape: tuple[int, int]) -> Cells:
    """The same cells as long as they are asked for."""
    return Cells(pixels, shape)


def _spans(length: int, count: int) -> Spans:
    """Which of ``length`` pixels each of ``count`` cells begins with, and how much of it the next ones are.

    Shapes (count,) and (most pixels in a cell, count).
    """
    side = length / count
    taps: list[list[float]] = []
    first = np.empty(count, np.uint32)
    for i in range(count):
        start, end = i * side, min((i + 1) * side, length)
        overlaps = [(p, min(end, p + 1) - max(start, p)) for p in range(floor(start), min(length, ceil(end)))]
        overlaps = [(p, overlap) for p, overlap in overlaps if overlap > _LEAST_OVERLAP_PX]
        first[i] = overlaps[0][0]
        taps.append([overlap / (end - start) for _, overlap in overlaps])
    shares = np.zeros((max(map(len, taps)), count), np.float32)
    # All cells read as many pixels; the last ones begin earlier with pixels that count nothing.
    for i, own in enumerate(taps):
        early = max(0, int(first[i]) + len(shares) - length)
        first[i] -= early
        shares[early : early + len(own), i] = own
    return first, shares
