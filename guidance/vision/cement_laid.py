"""Objects that were laid into the picture at once and are no cement: a clamp, a cloth's seam, a shutter's shade.

What comes in more at once than flows is told apart when it comes (``cement.py``). From there on it is followed: cement
never leaves a place, so an object that leaves a strip of its own has moved, and what is new at its edge is the object
and not growth.

What it misses: an object that moves more slowly than about 1.5 mm/s; growth beside one that moves, until it has passed.
"""

from math import ceil, inf
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.vision.change import GROW_SIGMA, SEED_SIGMA, Change, opened, square
from guidance.vision.picture import Mask

LEFT_MM2: Final = 6.0
LEFT_RADIUS_MM: Final = 0.75
LEFT_S: Final = 1.0
"""An object has moved where it has left a strip so large and so wide within so long, of what was plainly there: noise
at its rim comes and goes."""
STEP_MM: Final = 2.0
"""From pulse to pulse it moves by no more than this, 15 mm/s."""
PASSED_S: Final = 1.5
"""Where it has moved and then not for so long, it has left what is beside a deposit."""
BENEATH_MM: Final = 3.0
"""So far a deposit may have grown beneath an object or metal that covered it."""


class LaidObjects:
    """What was laid into one view. ``mask``: 255 on it, shape (h, w); whoever tells a new object adds it there."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.mask: Mask = np.zeros(shape, np.uint8)
        self._plain: Mask = np.zeros(shape, np.uint8)
        self._left_s: NDArray[np.float32] = np.full(shape, -inf, np.float32)
        self._moved_s: NDArray[np.float32] = np.full(shape, -inf, np.float32)

    def forget(self) -> None:
        """Nothing is known: another baseline is in use."""
        self.mask[:] = self._plain[:] = 0
        self._left_s[:] = self._moved_s[:] = -inf

    def follow(
        self, change: Change, deposits: Mask, may_take: NDArray[np.bool_], work_mm: float, t_s: float
    ) -> tuple[Mask, Mask]:
        """255 on what the objects take along on this pulse, and on what they have left beside deposits.

        ``deposits``: not 0 on those of the last pulse. ``may_take``: True where nothing has been called cement, or so
        lately that it may have been the object.
        """
        gone = change.z < GROW_SIGMA
        self._left_s[(self._plain > 0) & gone] = t_s
        self.mask[gone] = 0
        taken = np.zeros_like(self.mask)
        strip = opened(cv2.compare(self._left_s, t_s - LEFT_S, cv2.CMP_GT), LEFT_RADIUS_MM / work_mm)
        if strip.sum() * work_mm**2 >= LEFT_MM2:
            moved = self._that_left(strip, work_mm)
            taken = cv2.dilate(moved, square(ceil(STEP_MM / work_mm)))
            taken[gone | ~may_take] = 0
            self.mask |= taken
            self._moved_s[(moved | taken) > 0] = t_s
        rests = (self.mask > 0) & (self._moved_s > -inf) & (self._moved_s < t_s - PASSED_S)
        self._moved_s[rests] = -inf
        beneath = cv2.dilate(deposits, square(round(BENEATH_MM / work_mm))) if rests.any() else deposits
        left_behind = np.where(rests & (beneath > 0), np.uint8(255), np.uint8(0))
        self.mask[left_behind > 0] = 0
        self._plain = cv2.bitwise_and(self.mask, self._plain | cv2.compare(change.z, SEED_SIGMA, cv2.CMP_GT))
        return taken, left_behind

    def _that_left(self, strip: NDArray[np.bool_], work_mm: float) -> Mask:
        """255 on the objects at whose border a strip lies that they have left."""
        around = cv2.dilate(strip.astype(np.uint8), square(ceil(STEP_MM / work_mm)))
        _, objects = cv2.connectedComponents(self.mask, connectivity=8)
        names = np.unique(objects[around > 0])
        return np.where(np.isin(objects, names[names > 0]), np.uint8(255), np.uint8(0))
