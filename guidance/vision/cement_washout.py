"""Contrast that washes out under cement: it makes the picture lighter where cement makes it denser.

The epidurogram is known at its densest, so what has faded since is taken out of the baseline. Otherwise cement that
runs along a root shows only as what it adds beyond what the contrast has lost meanwhile, and that may be nothing.
"""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.vision.change import GROW_SIGMA, Change
from guidance.vision.kernels import washout as kernels
from guidance.vision.picture import Density, Mask

FADING_MM: Final = 8.0
"""Over this distance contrast is taken to fade alike: one root does, two may not."""
_CELL_MM: Final = 1.0
_LEAST_TOLD: Final = 1e-4
"""Of squared contrast near a pixel, summed by weight: less is some noise far away."""


class WashOut:
    """What the baseline's contrast has lost so far. ``take`` takes every pulse that has been compared, in order."""

    def __init__(self, contrast: Density) -> None:
        """``contrast``: the most that it had added, (h, w); 0 where none was. There must be some."""
        self._rows, self._cols = (np.ascontiguousarray(axis) for axis in np.nonzero(contrast > 0))
        self._contrast: Density = contrast[self._rows, self._cols]
        self._gone: Density = np.zeros_like(self._contrast)
        self._lightest: Density = np.zeros_like(self._contrast)
        self._side = 0
        self._cells: NDArray[np.int64] = np.zeros(0, np.int64)
        self._cells_shape = (0, 0)

    def take(self, change: Change, exclude: Mask, deposits: Mask, work_mm: float) -> None:
        """Take out of the baseline what has faded, as far as this pulse tells.

        ``exclude``: not 0 where something has been added. Outside of ``deposits`` no more counts as gone than has
        been seen to go, pixel by pixel: what fades later than its surroundings must not turn into cement.
        """
        self._lay_out(max(1, round(_CELL_MM / work_mm)))
        sums = kernels.seen_to_fade(
            self._rows,
            self._cols,
            self._cells,
            self._cells_shape[0] * self._cells_shape[1],
            self._contrast,
            self._gone,
            change.broad,
            change.z,
            change.count,
            change.hidden,
            exclude,
            GROW_SIGMA,
            self._lightest,
        )
        # The share that has gone is that of all contrast nearby; where nothing near is told, it stays.
        reach = FADING_MM / (self._side * work_mm)
        faded, there = (cv2.GaussianBlur(cells.reshape(self._cells_shape), (0, 0), reach).ravel() for cells in sums)
        more = kernels.fade(
            self._rows,
            self._cols,
            self._cells,
            faded,
            there,
            self._contrast,
            self._lightest,
            deposits,
            _LEAST_TOLD,
            self._gone,
        )
        change.take_out((self._rows, self._cols), more)

    def _lay_out(self, side: int) -> None:
        """Cells of so many pixels a side: a scale that a needle's width gives flickers with it."""
        if side == self._side:
            return
        rows, cols = self._rows // side, self._cols // side
        self._side, self._cells_shape = side, (int(rows.max()) + 1, int(cols.max()) + 1)
        self._cells = rows * self._cells_shape[1] + cols
