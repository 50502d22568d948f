"""Thin metal that comes into the picture or moves through it while cement is injected: a cable, a wire, a table's rail.

It adds no more than cement does, and pixel by pixel it hardly stands out of the noise. As a line it does, long before
any piece of it could be outlined: it is straight for centimetres, thin, and it came along all of its length at once.
Cement that runs in a vein comes from its deposit, step by step.

What it misses: what is shorter than two centimetres or bends more within them; what rests where the baseline had it.
"""

from functools import reduce
from math import isnan
from typing import Final

import cv2
import numpy as np

from guidance.vision.cells import cells_over
from guidance.vision.change import Change, square
from guidance.vision.kernels import lines as kernels
from guidance.vision.picture import Density, Mask

CELL_MM: Final = 1.0
"""Lines are looked for in cells of about the width that blur gives the thinnest wire."""
DEPOSIT_RIM_MM: Final = 1.5
"""So far around its outline a deposit shows, blurred and growing."""
NORMAL_MEDIAN: Final = 0.6745
"""Half of a normal distribution lies within so many standard deviations."""
LEAST_NOISE: Final = 1e-3
FOLLOW_PULSES: Final = 3.0
"""The average that cement is looked for in would smear what moves; a line has a length to average over instead."""
FOLLOW_SIGMA: Final = 4.0
MOST_WEIGHT: Final = 0.9
"""What plainly stands out is followed at once."""
PLAIN_SIGMA: Final = 4.0
BROAD_MM: Final = 4
"""What is plainly there and so broad is no wire, though a line of noise may go on at both of its sides: it counts as a
deposit, whether it is called one or not."""
LEAST_MM: Final = 18
SEED_SIGMA: Final = 2.0
HIT_SIGMA: Final = 1.0
HIT_SHARE: Final = 0.75
"""A line of 18 cells of which three in four have this much is no chance: of noise one in six has."""
ASIDE_MM: Final = 3
YOUNG_PULSES: Final = 5.0
ORDER_PULSES: Final = 2.0
"""It has come at once where it is no older than the first and one end no older than the other by the second: a run
of cement of 18 mm takes as long at 7 cm/s."""
OLDEST_PULSES: Final = 8.0
KNOWN_MM: Final = 3
"""How far a line may go aside while noise, or a deposit that it touches, hides it for a few pulses."""
LATELY_PULSES: Final = 4
"""An average over time shows for so long where it was."""
BESIDE_MM: Final = 4
STUB_MM: Final = 6
"""A line that begins within so much of a deposit, goes on beyond it for no more than a stub, which noise can make, and
ends within the field is no wire: it is cement that left the deposit faster than its pulses could tell."""
RIM_MM: Final = 2.0
"""So far from its middle a wire shows, blurred and moving."""


class WireWatch:
    """The lines of metal in one view. ``seen`` takes every pulse, in order."""

    def __init__(self) -> None:
        self._mean: Density = np.zeros((0, 0), np.float32)
        self._age: Density = np.zeros((0, 0), np.float32)
        self._z: Density = np.zeros((0, 0), np.float32)
        self._lately: list[Mask] = []

    def forget(self) -> None:
        """Nothing is known: another baseline is in use."""
        self._mean, self._lately = np.zeros((0, 0), np.float32), []

    def _lay_out(self, shape: tuple[int, int]) -> None:
        """Bring what is known to cells of another shape: a scale that a needle's width gives flickers with it."""
        if not self._mean.size:
            self._mean = self._age = np.zeros((1, 1), np.float32)
        size = shape[::-1]
        self._mean, self._age = (
            np.asarray(cv2.resize(kept, size, interpolation=cv2.INTER_NEAREST), dtype=np.float32)
            for kept in (self._mean, self._age)
        )
        self._z = np.empty(shape, np.float32)
        self._lately = [
            np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST), dtype=np.uint8) for mask in self._lately
        ]

    def seen(self, change: Change, deposits: Mask, steel: Mask, valid: Mask, work_mm: float) -> Mask | None:
        """255 where lines of metal are or lately were, with a rim; None where there are none.

        ``deposits``: not 0 on those of the last pulse. ``steel``: not 0 where instruments hide everything. ``valid``:
        0 outside the field.
        """
        h, w = change.shape
        shape = (max(1, round(h * work_mm / CELL_MM)), max(1, round(w * work_mm / CELL_MM)))
        cells = cells_over((h, w), shape)
        pulse = change.of_pulse_in_cells(shape[1], shape[0])
        if self._mean.shape != shape:
            self._lay_out(shape)
        z, age, reach = self._z, self._age, round(DEPOSIT_RIM_MM / work_mm)
        beyond, by_deposit = cells.touched(valid, 255), cells.touched(cv2.dilate(deposits, square(reach)))
        kernels.follow(
            pulse, cells.touched(steel), beyond, by_deposit, 1 / FOLLOW_PULSES, MOST_WEIGHT, FOLLOW_SIGMA, self._mean, z
        )
        # How far cells and pulses are independent is measured, whatever blur and lag did.
        noise = kernels.median_size(z) / NORMAL_MEDIAN
        z /= 1.0 if isnan(noise) else max(noise, LEAST_NOISE)
        plain = cv2.compare(z, PLAIN_SIGMA, cv2.CMP_GT)
        z[cv2.morphologyEx(plain, cv2.MORPH_OPEN, np.ones((BROAD_MM, BROAD_MM), np.uint8)) > 0] = -np.inf
        kernels.grow_older(z, PLAIN_SIGMA, HIT_SIGMA, OLDEST_PULSES, age)
        lately = reduce(cv2.bitwise_or, self._lately) if self._lately else np.zeros(shape, np.uint8)
        known = cv2.dilate(lately, square(KNOWN_MM))
        here = kernels.lines(
            z,
            age,
            known,
            SEED_SIGMA,
            HIT_SIGMA,
            LEAST_MM,
            HIT_SHARE,
            ASIDE_MM,
            YOUNG_PULSES,
            ORDER_PULSES,
        )
        here = without_runs(here, by_deposit, beyond)
        self._lately = [*self._lately, here][-LATELY_PULSES:]
        if not any(mask.any() for mask in self._lately):
            self._lately = []
            return None
        wires = cv2.dilate(reduce(cv2.bitwise_or, self._lately), square(round(RIM_MM / CELL_MM)))
        return np.asarray(cv2.resize(wires, (w, h), interpolation=cv2.INTER_NEAREST), dtype=np.uint8)


def without_runs(lines: Mask, deposits: Mask, beyond: Mask) -> Mask:
    """The lines without those that are runs of cement, see ``STUB_MM``. All in cells. ``beyond``: outside the field."""
    if not lines.any() or not deposits.any():
        return lines
    near = cv2.dilate(deposits, square(BESIDE_MM))
    if not cv2.hasNonZero(cv2.bitwise_and(near, lines)):
        return lines
    _, parts, boxes, _ = cv2.connectedComponentsWithStats(np.where(near > 0, 0, lines).astype(np.uint8))
    sides = np.flatnonzero(np.hypot(boxes[:, 2], boxes[:, 3]) >= STUB_MM)
    _, objects = cv2.connectedComponents(cv2.bitwise_or(near, lines))
    at_border = cv2.dilate(beyond, square(BESIDE_MM)) > 0
    out = lines.copy()
    for name in np.unique(objects[(near > 0) & (lines > 0)]):
        own = [side for side in sides[sides > 0] if objects[parts == side].max() == name]
        if len(own) <= 1 and not any(at_border[parts == side].any() for side in own):
            out[objects == name] = 0
    return out
