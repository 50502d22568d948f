"""Contrast that washes out under cement: it makes the picture lighter where cement makes it denser.

The epidurogram is known at its densest, so what has faded since is taken out of the baseline. Otherwise cement that
runs along a root shows only as what it adds beyond what the contrast has lost meanwhile, and that may be nothing.
"""

from typing import Final

import cv2
import numpy as np

from guidance.vision.change import GROW_SIGMA, Change
from guidance.vision.picture import Density, Mask

FADING_MM: Final = 8.0
"""Over this distance contrast is taken to fade alike: one root does, two may not."""
_CELL_MM: Final = 1.0
_LEAST_TOLD: Final = 1e-4
"""Of squared contrast near a pixel, summed by weight: less is some noise far away."""


class WashOut:
    """What the baseline's contrast has lost so far. ``take`` takes every pulse that has been compared, in order."""

    def __init__(self, contrast: Density) -> None:
        """``contrast``: the most that it had added, (h, w); 0 where none was."""
        self._pixels = np.nonzero(contrast > 0)
        self._contrast: Density = contrast[self._pixels]
        self._gone: Density = np.zeros_like(self._contrast)
        self._lightest: Density = np.zeros_like(self._contrast)

    def take(self, change: Change, exclude: Mask, deposits: Mask, work_mm: float) -> None:
        """Take out of the baseline what has faded, as far as this pulse tells.

        ``exclude``: not 0 where something has been added. Outside of ``deposits`` no more counts as gone than has
        been seen to go, pixel by pixel: what fades later than its surroundings must not turn into cement.
        """
        if not len(self._contrast):
            return
        at = self._pixels
        lighter = self._gone - change.broad[at]
        told = (exclude[at] == 0) & (change.hidden[at] == 0) & (change.count[at] > 0) & (change.z[at] < GROW_SIGMA)
        np.maximum(self._lightest, lighter, out=self._lightest, where=told)
        gone = self._faded(np.where(told, lighter, np.float32(0.0)), told, work_mm)
        gone = np.where(deposits[at] > 0, gone, np.minimum(gone, self._lightest))
        change.take_out(at, gone - self._gone)
        self._gone = gone

    def _faded(self, lighter: Density, told: Mask, work_mm: float) -> Density:
        """What has faded at each pixel, from the share that has nearby; as before where nothing near is told."""
        side = max(1, round(_CELL_MM / work_mm))
        rows, cols = (axis // side for axis in self._pixels)
        height, width = int(rows.max()) + 1, int(cols.max()) + 1
        cells = rows * width + cols
        faded, there = (
            cv2.GaussianBlur(
                np.bincount(cells, weights, height * width).reshape(height, width).astype(np.float32),
                (0, 0),
                FADING_MM / (side * work_mm),
            ).ravel()[cells]
            for weights in (lighter * self._contrast, told * self._contrast**2)
        )
        share = np.divide(faded, there, out=np.zeros_like(faded), where=there > _LEAST_TOLD).clip(0.0, 1.0)
        return np.where(there > _LEAST_TOLD, share * self._contrast, self._gone).astype(np.float32)
