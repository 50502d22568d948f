"""Where on the grid there is anything: boxes around it, and the connected pieces of a mask within one.

Cement covers a hundredth of the field. What is asked of a mask is asked in the box that holds it.
"""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.vision.change import box_of
from guidance.vision.kernels import pieces as kernels
from guidance.vision.picture import Density, Mask

Box = tuple[slice, slice]
"""Rows and columns of the grid."""

NOWHERE: Final[Box] = (slice(0, 0), slice(0, 0))


def bounds(mask: Mask, within: Box | None = None) -> Box:
    """The least box that holds all of a mask that is not 0, or all of it ``within`` a box; empty where nothing is."""
    rows, cols = within if within is not None else (slice(0, mask.shape[0]), slice(0, mask.shape[1]))
    x, y, w, h = cv2.boundingRect(mask[rows, cols])
    return box_of(cols.start + x, rows.start + y, cols.start + x + w, rows.start + y + h) if w else NOWHERE


def is_empty(box: Box) -> bool:
    """Whether a box holds no pixel."""
    return any(axis.stop <= axis.start for axis in box)


def hull(*boxes: Box) -> Box:
    """The least box that holds all of these."""
    held = [(rows, cols) for rows, cols in boxes if rows.stop > rows.start and cols.stop > cols.start]
    if not held:
        return NOWHERE
    return (
        slice(min(rows.start for rows, _ in held), max(rows.stop for rows, _ in held)),
        slice(min(cols.start for _, cols in held), max(cols.stop for _, cols in held)),
    )


def inner_of(box: Box, wide: Box) -> Box:
    """Where a box lies within a wider one; both may reach beyond the grid's last row and column."""
    (top, left), (rows, cols) = (axis.start for axis in wide), box
    return slice(rows.start - top, rows.stop - top), slice(cols.start - left, cols.stop - left)


class Pieces:
    """The connected pieces (8 neighbours) of a mask in a box, numbered from 1.

    ``names``: (h, w) int32 of the box, 0 where none is. ``areas_px``: of each piece, (n + 1,), 0 for one that has been
    dropped and for the first, the background.
    """

    def __init__(self, mask: Mask, box: Box) -> None:
        """``mask``: the box's part of the grid alone."""
        self.box = box
        self._top, self._left = int(box[0].start), int(box[1].start)
        self.count, names = cv2.connectedComponents(np.ascontiguousarray(mask), connectivity=8)
        self.names: NDArray[np.int32] = names.astype(np.int32, copy=False)
        about = kernels.about(self.names, self.count, self._top, self._left)
        self._boxes, self.areas_px = about[:, :4], about[:, 4]

    def box_of(self, piece: int) -> Box:
        """Where a piece lies on the grid."""
        return box_of(*self._boxes[piece].tolist())

    @property
    def kept(self) -> list[int]:
        """The pieces that have not been dropped, the largest first."""
        there = np.flatnonzero(self.areas_px).tolist()
        return sorted(there, key=lambda piece: -int(self.areas_px[piece]))

    def at(self, piece: int, box: Box) -> NDArray[np.bool_]:
        """True on a piece, the shape of a ``box`` that begins within this one's."""
        return np.asarray(self.names[inner_of(box, self.box)] == piece, dtype=np.bool_)

    def eldest(self, deposits: Mask) -> NDArray[np.uint8]:
        """The least id of the deposits that each piece, and the background, lies on, 0 for none: (n + 1,).

        ``deposits``: ids on the whole grid, 0 elsewhere.
        """
        return kernels.eldest(self.names, self.count, self._top, self._left, deposits)

    def drop(self, pieces: list[int]) -> NDArray[np.bool_]:
        """Leave out some pieces; True where they were, the shape of the box."""
        where = np.isin(self.names, pieces)
        self.names[where] = 0
        self.areas_px[pieces] = 0
        return where

    def evident(
        self, z: Density, broad: Density, least_sigma: Density, least_mm: Density, millimetre: float
    ) -> NDArray[np.bool_]:
        """Which have a pixel that is so significant and so thick, (n + 1,): both as asked of each piece."""
        told = kernels.evident(
            self.names, self.count, self._top, self._left, z, broad, least_sigma, least_mm, millimetre
        )
        return told > 0

    def only_new(self, deposits: Mask, since_s: NDArray[np.float32], than_s: float) -> list[int]:
        """Those that lie on ``deposits`` all of which were first seen after a time."""
        ages = kernels.ages(self.names, self.count, self._top, self._left, deposits, since_s, than_s)
        return np.flatnonzero((ages[:, 0] == 0) & (ages[:, 1] > 0)).tolist()

    def paint(self, values: NDArray[np.uint8], out: Mask) -> None:
        """Write a value for each piece, the first is the background's, into a plane of the whole grid."""
        kernels.paint(self.names, self._top, self._left, values, out)

    def become(self, names: NDArray[np.uint8], t_s: float, deposits: Mask, since_s: NDArray[np.float32]) -> None:
        """Write the id of each piece's deposit, the first is the background's 0, and since when it is there."""
        kernels.become(self.names, self._top, self._left, names, t_s, deposits, since_s)
