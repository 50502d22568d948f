"""The pixels on which all pulses of a view are compared: those of its reference picture."""

from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.records import PolygonPx
from guidance.vision.geometry import RigidMotion
from guidance.vision.kernels import change as kernels
from guidance.vision.picture import Density, Mask, Picture

PRIOR_MM_PER_PX: Final = 0.25
"""Input pixels are taken for this size until the scale is known: a 23 cm field on about 1000 pixels."""
_BORDER_MM: Final = 1.5
"""The field's edge is blurred and enhanced over about this width."""
_AT_HOME: Final = 1e-6 + 1e-5 * np.eye(3)
"""A chain of transforms that is so near to the identity is that."""


def halved(picture: Picture, steel: Mask) -> tuple[Picture, Mask]:
    """The picture and its instruments at half the work scale; an odd last row or column is left out.

    A pixel is inside the field where all of its four were, and under steel where any was.
    """
    h, w = (side // 2 for side in picture.density.shape)
    even = np.s_[: 2 * h, : 2 * w]
    density, mask, metal = (
        cv2.resize(plane[even], (w, h), interpolation=cv2.INTER_AREA)
        for plane in (picture.density, picture.mask, steel)
    )
    mask, metal = cv2.compare(mask, 255, cv2.CMP_EQ), cv2.compare(metal, 0, cv2.CMP_GT)
    return replace(picture, density=density, mask=mask, factor=2 * picture.factor), metal


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """One pulse laid on the reference grid: where the anatomy was in the reference picture.

    ``density``: (h, w) float32. ``valid``: (h, w) uint8, 255 where this pulse shows the anatomy. ``steel``: (h, w)
    uint8, 255 where an instrument covers it. ``motion`` leads back to this pulse's input pixels.
    """

    density: Density
    valid: Mask
    steel: Mask
    motion: RigidMotion


class ReferenceGrid:
    """The work-scale pixels of a view's reference picture, on which all its pulses are compared."""

    def __init__(self, reference: Picture) -> None:
        self.shape: tuple[int, int] = reference.density.shape
        self.factor = reference.factor
        self.origin_px = reference.origin_px
        self._to_frame = _frame_matrix(reference)
        self._density = np.zeros(self.shape, np.float32)
        self._valid, self._mask, self._steel, self._moved, self._unmoved = np.zeros((5, *self.shape), np.uint8)

    def work_mm(self, mm_per_px: float | None) -> float:
        """The side of a grid pixel in mm, from the prior where the scale is not known."""
        return self.factor * (mm_per_px if mm_per_px is not None else PRIOR_MM_PER_PX)

    def place(self, picture: Picture, motion: RigidMotion, steel: Mask, work_mm: float) -> Placed:
        """``picture`` on this grid; ``steel``: instruments on the picture's own work pixels, uint8.

        Crop and factor of the picture may differ from the reference's (another field, a new collimation). The planes
        belong to the grid and the picture, and hold until the next pulse is placed.
        """
        h, w = self.shape
        move = np.vstack([motion.matrix, [0.0, 0.0, 1.0]])
        chain = np.linalg.inv(_frame_matrix(picture)) @ move @ self._to_frame
        onto = np.ascontiguousarray(chain[:2])
        if (h, w) == picture.density.shape and bool((np.abs(chain - np.eye(3)) <= _AT_HOME).all()):
            density, mask, metal = picture.density, picture.mask, steel
        else:
            bilinear = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            nearest = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
            density, mask, metal = self._density, self._mask, self._steel
            cv2.warpAffine(picture.density, onto, (w, h), dst=density, flags=bilinear, borderMode=cv2.BORDER_REPLICATE)
            # Field and instruments take their way together: it is the way that costs.
            if self._unmoved.shape != picture.mask.shape:
                self._unmoved = np.empty_like(picture.mask)
            kernels.overlay(picture.mask, steel, self._unmoved)
            kernels.part(cv2.warpAffine(self._unmoved, onto, (w, h), dst=self._moved, flags=nearest), mask, metal)
        border = 2 * max(2, round(_BORDER_MM / work_mm)) + 1
        # The border of the array counts as outside the field.
        cv2.erode(
            mask, np.ones((border, border), np.uint8), dst=self._valid, borderType=cv2.BORDER_CONSTANT, borderValue=0
        )
        return Placed(density, self._valid, metal, motion)

    def carry(self, plane: Density, other: "ReferenceGrid") -> Density:
        """A plane of another grid of the same view on this one; 0 where that grid does not reach."""
        onto = (np.linalg.inv(other._to_frame) @ self._to_frame)[:2]
        h, w = self.shape
        return np.asarray(
            cv2.warpAffine(plane, onto, (w, h), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP), dtype=np.float32
        )

    def outlines(self, mask: Mask, motion: RigidMotion, offset_xy: tuple[int, int] = (0, 0)) -> tuple[PolygonPx, ...]:
        """Outer rings of a mask, in the present frame's pixels; ``offset_xy``: where its corner lies on the grid.

        A ring passes a quarter of an input pixel outside the centres of the outermost input pixels that belong, so
        that filling it gives the mask's pixels back whether a pixel counts by its centre or by rounded corners.
        """
        x, y, w, h = cv2.boundingRect(mask)
        if w == 0:
            return ()
        corner = (x + offset_xy[0], y + offset_xy[1])
        fine = 2 * self.factor
        # At twice the grid a border has all the corners that it has at any finer one, and they lie likewise.
        part = cv2.resize(mask[y : y + h, x : x + w], None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
        rings, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        out = []
        for ring in rings:
            ring = ring // 2 * fine + ring % 2 * (fine - 1)
            corners = cv2.approxPolyDP(ring, 0.5 * fine, True).reshape(-1, 2).astype(np.float64)
            if len(corners) >= 3:
                out.append(motion.move(self.to_frame_px((corners + 0.5) / fine - 0.5 + corner)))
        return tuple(out)

    def to_frame_px(self, grid_xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Grid points, shape (n, 2), in the reference frame's input pixels."""
        return grid_xy @ self._to_frame[:2, :2].T + self._to_frame[:2, 2]

    def to_grid(self, frame_xy: NDArray[np.float64], motion: RigidMotion) -> NDArray[np.float64]:
        """Points of the present frame, shape (n, 2), on this grid."""
        return (motion.move_back(frame_xy) - self._to_frame[:2, 2]) / self.factor


def _frame_matrix(picture: Picture) -> NDArray[np.float64]:
    """Shape (3, 3): a picture's work pixels to its input-frame pixels."""
    x, y = (corner + (picture.factor - 1) / 2 for corner in picture.origin_px)
    return np.array([[picture.factor, 0, x], [0, picture.factor, y], [0, 0, 1]], dtype=np.float64)
