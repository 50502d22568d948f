"""Thick metal that comes into the picture or moves through it while cement is injected: a clamp, a screw.

Three to four millimetres of steel add as much at once as eight to twelve of cement, and cement never thickens so
fast: what a pixel has gained within two pulses tells one from the other, wherever it is, also over a deposit.

What it misses: metal thinner than about a millimetre and a half; metal that comes so slowly that its blurred edge
takes longer over a pixel.
"""

from collections import deque
from functools import reduce
from math import ceil
from typing import Final

import cv2
import numpy as np

from guidance.vision.change import GROW_SIGMA, Change, box_of, square
from guidance.vision.kernels import passing as kernels
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
        self._recent: deque[Density] = deque()
        self._lately: list[Mask | None] = []
        self._is_there = False
        self._metal: Mask = np.zeros((0, 0), np.uint8)
        self.given_back = self._metal
        self._was: Density = np.zeros((0, 0), np.float32)
        self._peak: Density = np.zeros((0, 0), np.float32)
        self._at_rest: Mask = np.zeros((0, 0), np.uint8)
        self._jumped: Mask = np.zeros((0, 0), np.uint8)
        self._here: Mask = np.zeros((0, 0), np.uint8)

    def seen(self, change: Change, deposits: Mask, steel: Mask, millimetre: float, work_mm: float) -> Mask | None:
        """255 where metal is or lately was, with a rim; None where there is none.

        ``deposits``: not 0 on those of the last pulse. ``steel``: not 0 on instruments, whose own slip jumps too.
        ``millimetre``: the density of one of cement.
        """
        broad = change.broad
        if self._metal.shape != broad.shape:
            self._metal, self.given_back = np.zeros(broad.shape, np.uint8), np.zeros(broad.shape, np.uint8)
            self._was, self._peak, self._at_rest = broad.copy(), broad.copy(), self._metal.copy()
            self._jumped, self._here = self._metal.copy(), self._metal.copy()
        if self._unsettled > 0:
            self._unsettled -= 1
            return None
        oldest = self._recent.popleft() if len(self._recent) > RISE_PULSES else np.empty_like(broad)
        np.copyto(oldest, broad)
        self._recent.append(oldest)
        self.given_back[:] = 0
        if len(self._recent) > JUMP_PULSES:
            self._find(change, deposits, steel, millimetre, work_mm)
        self._lately = [*self._lately, self._metal.copy() if self._is_there else None][-LATELY_PULSES:]
        lately = [mask for mask in self._lately if mask is not None and cv2.hasNonZero(mask)]
        if not lately:
            return None
        return np.asarray(cv2.dilate(reduce(cv2.bitwise_or, lately), square(ceil(RIM_MM / work_mm))))

    def _find(self, change: Change, deposits: Mask, steel: Mask, millimetre: float, work_mm: float) -> None:
        """Bring up to date which pixels metal covers, what they had before and at most since."""
        broad, before, least_px = change.broad, self._recent[-1 - JUMP_PULSES], JUMPED_MM2 / work_mm**2
        jump = JUMP_MM * millimetre
        jumped_px = kernels.risen_px(broad, before, jump)
        if jumped_px >= least_px or self._is_there:
            jumped_px = kernels.jumps(broad, before, change.z, steel, jump, JUMP_SIGMA, self._jumped)
        if jumped_px < least_px and not self._is_there:
            self._at_rest[:] = REST_PULSES
            return
        here = self._here
        kernels.follow(
            broad,
            self._recent[0],
            change.z,
            self._jumped,
            RISE_MM * millimetre,
            GROW_SIGMA,
            FALLEN_SHARE,
            self._metal,
            self._was,
            self._peak,
            self._at_rest,
            here,
        )
        # What does not hang together with a jump, or not any more, has grown.
        x, y, w, h = cv2.boundingRect(here)
        box = box_of(x, y, x + w, y + h)
        count, parts = cv2.connectedComponents(np.ascontiguousarray(here[box]), connectivity=8)
        sure_px, beyond_px, moving_px = kernels.weigh(
            parts, count, y, x, self._was, self._peak, jump, steel, deposits, self._at_rest, REST_PULSES
        ).T
        may_flow = (moving_px == 0) & (beyond_px <= FLOWN_MM2 / work_mm**2)
        is_metal = (sure_px >= least_px) & ~may_flow
        is_metal[0] = may_flow[0] = False
        self._is_there = bool(is_metal.any())
        self._metal[:] = 0
        kernels.mark(parts, is_metal, y, x, self._metal)
        if may_flow.any():
            kernels.mark(parts, may_flow, y, x, self.given_back)
            for mask in self._lately:
                if mask is not None:
                    mask[self.given_back > 0] = 0
