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

from guidance.vision.cement_pieces import NOWHERE, Box, bounds, hull, inner_of, is_empty
from guidance.vision.change import GROW_SIGMA, SEED_SIGMA, Change, grown, opened, square
from guidance.vision.kernels import laid as kernels
from guidance.vision.kernels.pieces import paint
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
_OPENED_PX: Final = 2
"""An opening may reach so far beyond what it opens."""


class LaidObjects:
    """What was laid into one view. ``mask``: 255 on it, shape (h, w)."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.mask: Mask = np.zeros(shape, np.uint8)
        self._box: Box = NOWHERE
        self._plain: Mask = np.zeros(shape, np.uint8)
        self._left_s: NDArray[np.float32] = np.full(shape, -inf, np.float32)
        self._moved_s: NDArray[np.float32] = np.full(shape, -inf, np.float32)

    def forget(self) -> None:
        """Nothing is known: another baseline is in use."""
        self.mask[:] = self._plain[:] = 0
        self._box = NOWHERE
        self._left_s[:] = self._moved_s[:] = -inf

    @property
    def there(self) -> bool:
        """Whether there is anything."""
        return not is_empty(self._box) and bool(cv2.hasNonZero(self.mask[self._box]))

    def add(self, mark: Mask, box: Box) -> None:
        """Something new has been laid in: 255 on it in ``mark``, the shape of ``box``."""
        self.mask[box] |= mark
        self._box = hull(self._box, box)

    def box_to_follow(self, work_mm: float) -> Box:
        """Where what has been laid in so far may be by the next pulse, or may have left something."""
        return grown(self._box, 2 * ceil(STEP_MM / work_mm) + _OPENED_PX)

    def follow(
        self, change: Change, deposits: Mask, box: Box, may_take: NDArray[np.bool_], work_mm: float, t_s: float
    ) -> tuple[Mask, Mask]:
        """255 on what the objects take along on this pulse, and on what they have left beside deposits: of ``box``.

        ``deposits``: not 0 on those of the last pulse, (h, w). ``box``: see ``box_to_follow``. ``may_take``: True where
        nothing has been called cement, or so lately that it may have been the object; of ``box``.
        """
        top, left = box[0].start, box[1].start
        mask = self.mask[box]
        strip = np.empty(mask.shape, np.uint8)
        lately_s = t_s - LEFT_S
        count = kernels.leave(
            change.z, GROW_SIGMA, t_s, lately_s, top, left, self._plain, self.mask, self._left_s, strip
        )
        taken = np.zeros(mask.shape, np.uint8)
        wide_strip = opened(strip, LEFT_RADIUS_MM / work_mm) if count else np.zeros(mask.shape, np.bool_)
        if wide_strip.sum() * work_mm**2 >= LEFT_MM2:
            moved = _that_left(mask, wide_strip, work_mm)
            taken = cv2.dilate(moved, square(ceil(STEP_MM / work_mm)))
            taken[(change.z[box] < GROW_SIGMA) | ~may_take] = 0
            mask |= taken
            self._moved_s[box][(moved | taken) > 0] = t_s
            self._box = hull(self._box, bounds(self.mask, box))
        left_behind = np.empty(mask.shape, np.uint8)
        if kernels.rest(
            change.z, SEED_SIGMA, t_s - PASSED_S, top, left, self._plain, self.mask, self._moved_s, left_behind
        ):
            reach = round(BENEATH_MM / work_mm)
            wide = grown(box, reach)
            beneath = cv2.dilate(deposits[wide], square(reach))[inner_of(box, wide)]
            left_behind[beneath == 0] = 0
            mask[left_behind > 0] = self._plain[box][left_behind > 0] = 0
        return taken, left_behind


def _that_left(mask: Mask, strip: NDArray[np.bool_], work_mm: float) -> Mask:
    """255 on the objects of a mask at whose border a strip lies that they have left."""
    around = cv2.dilate(strip.astype(np.uint8), square(ceil(STEP_MM / work_mm)))
    count, objects = cv2.connectedComponents(mask, connectivity=8)
    has_moved = np.zeros(count, np.uint8)
    has_moved[objects[around > 0]] = 255
    has_moved[0] = 0
    moved: Mask = np.empty(around.shape, np.uint8)
    paint(objects, 0, 0, has_moved, moved)
    return moved
