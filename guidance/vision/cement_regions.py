"""The regions of one view in which density has been added, on this pulse and on the one before."""

from dataclasses import dataclass
from math import hypot
from typing import Final

import numpy as np
from numpy.typing import NDArray

from guidance.vision.cement_pieces import NOWHERE, Box
from guidance.vision.change import GROW_SIGMA, SEED_SIGMA, STAY_SIGMA, Change, box_of
from guidance.vision.kernels.regions import holdings, occupied, regions
from guidance.vision.picture import Mask

LEAST_DENSITY: Final = 0.02
"""A quarter of a millimetre of cement where the display's curve and scatter have taken a third of its 13 %."""


@dataclass(frozen=True, slots=True)
class Region:
    """A connected region: its number, its box, and of how many pixels it is.

    ``standing_px`` of them are deposits, ``new_px`` were in no region before. ``fresh_px`` are both new and no deposit,
    and were not hidden on the pulse before; ``fresh_extent_px`` is the diagonal of the box around those.
    """

    name: int
    box: Box
    area_px: int
    standing_px: int
    new_px: int
    fresh_px: int
    fresh_extent_px: float

    @property
    def comes_at_once(self) -> bool:
        """Whether most of it is fresh."""
        return 2 * self.fresh_px > self.area_px


class Regions:
    """``labels``: the numbers of the last pulse's regions on the grid, (h, w) int32, 0 elsewhere; ``before``: those of
    the pulse before. ``box``: the least that holds all of the last pulse's.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.labels: NDArray[np.int32] = np.zeros(shape, np.int32)
        self.before: NDArray[np.int32] = np.zeros(shape, np.int32)
        self.box: Box = NOWHERE
        self._found: NDArray[np.int32] = np.zeros((0, 5), np.int32)

    def forget(self) -> None:
        """Nothing has been added: another baseline is in use."""
        self.labels[:] = 0
        self.box, self._found = NOWHERE, self._found[:0]

    def next_pulse(self) -> None:
        """What was found last is now what was found before."""
        self.labels, self.before = self.before, self.labels

    def find(self, change: Change, foreign: Mask, deposits: Mask) -> None:
        """Find this pulse's regions. ``foreign``: not 0 on what is no part of any."""
        self._found = regions(
            change.z, change.broad, foreign, deposits, SEED_SIGMA, GROW_SIGMA, STAY_SIGMA, LEAST_DENSITY, self.labels
        )
        lows, highs = self._found[:, :2], self._found[:, 2:4]
        self.box = box_of(*lows.min(axis=0).tolist(), *highs.max(axis=0).tolist()) if len(lows) else NOWHERE

    def told(self, deposits: Mask, unseen: Mask) -> list[Region]:
        """What each region holds. ``unseen``: not 0 where nobody saw the pulse before what was there."""
        held = holdings(self.labels, self._found, self.before, deposits, unseen)
        out = []
        for name, (found, counts) in enumerate(zip(self._found.tolist(), held.tolist(), strict=True), start=1):
            standing, new, fresh, left, top, right, bottom = counts
            extent = hypot(right - left, bottom - top)
            out.append(Region(name, box_of(*found[:4]), found[4], standing, new, fresh, extent))
        return out

    def part(self, region: Region) -> NDArray[np.bool_]:
        """True on a region, the shape of its box."""
        return np.asarray(self.labels[region.box] == region.name, dtype=np.bool_)

    def occupied(self, deposits: Mask, box: Box) -> Mask:
        """255 where the last pulse's regions or deposits are, the shape of ``box``."""
        out = np.empty(self.labels[box].shape, np.uint8)
        occupied(self.labels, deposits, box[0].start, box[1].start, out)
        return out
