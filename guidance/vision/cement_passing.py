"""Thick metal that comes into the picture or moves through it while cement is injected: a clamp, a screw.

Three to four millimetres of steel add as much at once as eight to twelve of cement, and cement never thickens so
fast: what a pixel has gained within two pulses tells one from the other, wherever it is, also over a deposit.

What it misses: metal thinner than about a millimetre and a half; metal that comes so slowly that its blurred edge
takes longer over a pixel.
"""

from math import ceil
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.vision.change import GROW_SIGMA, Change, square
from guidance.vision.picture import Density, Mask

JUMP_MM: Final = 5.0
JUMP_PULSES: Final = 2
"""Metal's edge adds 5 to 10 mm of cement within so many pulses; cement that runs fast, seen lengthways, 1 to 3.5."""
JUMP_SIGMA: Final = 7.0
"""Five standard deviations of the difference of two pulses."""
JUMPED_MM2: Final = 4.0
"""Noise at low dose makes specks that jump; they are smaller than this."""
SETTLING_PULSES: Final = 3
"""After a pause of the beam the average needs so long to arrive at what has been added meanwhile."""
RISE_MM: Final = 1.5
RISE_PULSES: Final = 4
"""What hangs together with a jump and has risen by so much meanwhile is the metal's blurred edge."""
FALLEN_SHARE: Final = 0.5
"""Metal has left a pixel that has lost this share of what it gained."""
REST_PULSES: Final = 8
FLOWN_MM2: Final = 60.0
"""After so long without a jump anywhere in it, what reaches no farther beyond the deposits than this is weighed anew:
so much may have flowed, and a deposit that metal has left has grown beneath it."""
RIM_MM: Final = 1.0
"""Around it blur, and the pulse's way that the average lags behind, show too."""
LATELY_PULSES: Final = 4
"""An average over time shows for so long where it was."""


class PassingMetal:
    """The thick metal in one view. ``seen`` takes every pulse, in order."""

    given_back: Mask
    """255 on what the last pulse has weighed anew: nobody saw how fast it came, and it may have flowed."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Nothing is known: another baseline is in use, or pulses are missing."""
        self._unsettled = SETTLING_PULSES
        self._recent: list[Density] = []
        self._lately: list[Mask] = []
        self._metal: Mask = np.zeros((0, 0), np.uint8)
        self.given_back = self._metal
        self._was: Density = np.zeros((0, 0), np.float32)
        self._peak: Density = np.zeros((0, 0), np.float32)
        self._at_rest: NDArray[np.uint8] = np.zeros((0, 0), np.uint8)

    def seen(self, change: Change, deposits: Mask, steel: Mask, millimetre: float, work_mm: float) -> Mask | None:
        """255 where metal is or lately was, with a rim; None where there is none.

        ``deposits``: not 0 on those of the last pulse. ``steel``: not 0 on instruments, whose own slip jumps too.
        ``millimetre``: the density of one of cement.
        """
        broad = change.broad
        if self._metal.shape != broad.shape:
            self._metal, self.given_back = np.zeros(broad.shape, np.uint8), np.zeros(broad.shape, np.uint8)
            self._was, self._peak, self._at_rest = broad.copy(), broad.copy(), self._metal.copy()
        if self._unsettled > 0:
            self._unsettled -= 1
            return None
        self._recent = [*self._recent, broad.copy()][-1 - RISE_PULSES :]
        self.given_back[:] = 0
        if len(self._recent) > JUMP_PULSES:
            self._find(change, deposits, steel, millimetre, work_mm)
        self._lately = [*self._lately, self._metal.copy()][-LATELY_PULSES:]
        if not any(mask.any() for mask in self._lately):
            return None
        return np.asarray(cv2.dilate(np.bitwise_or.reduce(self._lately), square(ceil(RIM_MM / work_mm))))

    def _find(self, change: Change, deposits: Mask, steel: Mask, millimetre: float, work_mm: float) -> None:
        """Bring up to date which pixels metal covers, what they had before and at most since."""
        broad, least_px = change.broad, JUMPED_MM2 / work_mm**2
        rise = cv2.subtract(broad, self._recent[-1 - JUMP_PULSES])
        jumped = cv2.compare(rise, JUMP_MM * millimetre, cv2.CMP_GT)
        jumped[(rise * change.z < JUMP_SIGMA * broad) | (steel > 0)] = 0
        if cv2.countNonZero(jumped) < least_px and not self._metal.any():
            self._at_rest[:] = REST_PULSES
            return
        np.maximum(self._peak, broad, out=self._peak, where=self._metal > 0)
        self._metal[broad < self._was + FALLEN_SHARE * (self._peak - self._was)] = 0
        risen = (broad - self._recent[0] > RISE_MM * millimetre) & (change.z > GROW_SIGMA)
        fresh = (risen | (jumped > 0)) & (self._metal == 0)
        self._was[fresh], self._peak[fresh] = self._recent[0][fresh], broad[fresh]
        here = cv2.bitwise_or(self._metal, np.where(fresh, 255, 0).astype(np.uint8))
        self._at_rest = np.where(jumped > 0, np.uint8(0), cv2.add(self._at_rest, 1))
        # What does not hang together with a jump, or not any more, has grown.
        sure = (here > 0) & (self._peak - self._was > JUMP_MM * millimetre) & (steel == 0)
        count, parts = cv2.connectedComponents(here, connectivity=8)
        sure_px, beyond_px, moving_px = (
            np.bincount(parts[where], minlength=count)
            for where in (sure, deposits == 0, (here > 0) & (self._at_rest < REST_PULSES))
        )
        may_flow = (moving_px == 0) & (beyond_px <= FLOWN_MM2 / work_mm**2)
        is_metal = (sure_px >= least_px) & ~may_flow
        is_metal[0] = may_flow[0] = False
        self._metal = np.where(is_metal[parts], 255, 0).astype(np.uint8)
        self.given_back = np.where(may_flow[parts], 255, 0).astype(np.uint8)
        for mask in self._lately:
            mask[self.given_back > 0] = 0
