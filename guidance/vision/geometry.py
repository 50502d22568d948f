"""Rigid motion in the picture plane."""

from dataclasses import dataclass
from functools import lru_cache
from math import cos, radians, sin
from typing import Self

import numpy as np
from numpy.typing import NDArray

from guidance.records import PointPx, Registration

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RigidMotion:
    """Where the anatomy of the reference frame is now: rotate about ``centre_px``, then shift.

    ``rotation_deg`` is counter-clockwise on the screen (y up), as in the contract's angles.
    """

    shift_px: PointPx = (0.0, 0.0)
    rotation_deg: float = 0.0
    centre_px: PointPx = (0.0, 0.0)

    @classmethod
    def of(cls, registration: Registration, centre_px: PointPx) -> Self:
        return cls(registration.shift_px, registration.rotation_deg, centre_px)

    @property
    def matrix(self) -> Matrix:
        """Shape (2, 3): reference (x, y, 1) in input-frame pixels to present (x, y); not writeable."""
        return _matrix(self)

    def since(self, earlier: "RigidMotion") -> "RigidMotion":
        """This motion counted from where the anatomy lay after ``earlier``; both about the same centre."""
        centre = np.array([self.centre_px])
        x, y = (self.move(earlier.move_back(centre)) - centre)[0]
        return RigidMotion((float(x), float(y)), self.rotation_deg - earlier.rotation_deg, self.centre_px)

    def move(self, points_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Reference points, shape (n, 2), moved to the present frame."""
        m = self.matrix
        return points_px @ m[:, :2].T + m[:, 2]

    def move_back(self, points_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Present points, shape (n, 2), moved to the reference frame."""
        m = self.matrix
        return (points_px - m[:, 2]) @ m[:, :2]


@lru_cache(maxsize=8)
def _matrix(motion: RigidMotion) -> Matrix:
    """Each outline of a pulse asks for the same."""
    a = radians(motion.rotation_deg)
    # y runs down, so a turn that is counter-clockwise on the screen has +sin in the first row.
    turn = np.array([[cos(a), sin(a)], [-sin(a), cos(a)]])
    centre = np.array(motion.centre_px)
    offset = centre + np.array(motion.shift_px) - turn @ centre
    matrix = np.column_stack([turn, offset])
    matrix.flags.writeable = False
    return matrix
