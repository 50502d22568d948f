"""Where the C-arm stands: a point source and a flat square detector, turned about the isocentre."""

from dataclasses import dataclass
from functools import cached_property
from math import cos, radians, sin

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Rays:
    """Every ray of a view: from ``source_mm`` to ``corner_mm + column * right_mm + row * down_mm``.

    ``corner_mm`` is the centre of the detector's top-left pixel; the other two are the steps from pixel to pixel.
    """

    source_mm: Vector
    corner_mm: Vector
    right_mm: Vector
    down_mm: Vector


@dataclass(frozen=True)
class CArm:
    """One position of the C-arm.

    The patient lies prone with the tube under the table, so at rotation 0 (the room's "AP") the beam runs from
    anterior to posterior and the picture shows the back as the operator sees it: the patient's left on the left,
    the head up. Rotation 90 is lateral: the beam runs from the patient's right to left, posterior is on the right.
    ``tilt_deg`` moves the detector towards the head (positive: the beam runs cephalad, as in a Ferguson view).
    ``roll_deg`` turns the detector in its plane so that the anatomy turns counter-clockwise on the screen.
    Moving the table is moving ``isocentre_mm``. Lengths in mm, world coordinates as in ``patient``.
    """

    rotation_deg: float = 0.0
    tilt_deg: float = 0.0
    isocentre_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    source_to_detector_mm: float = 1000.0
    source_to_isocentre_mm: float = 600.0
    side_px: int = 512
    detector_side_mm: float = 280.0
    roll_deg: float = 0.0

    @property
    def mm_per_px(self) -> float:
        """Millimetres per detector pixel in the plane of the isocentre, parallel to the detector."""
        return self.pitch_mm * self.source_to_isocentre_mm / self.source_to_detector_mm

    @property
    def pitch_mm(self) -> float:
        """Size of a detector pixel, at the detector."""
        return self.detector_side_mm / self.side_px

    @cached_property
    def axes(self) -> Vector:
        """Shape (3, 3): unit vectors of the picture's right, the picture's down and the beam, as rows."""
        a, t, r = radians(self.rotation_deg), radians(self.tilt_deg), radians(self.roll_deg)
        level = np.array([sin(a), cos(a), 0.0])
        head = np.array([0.0, 0.0, 1.0])
        beam = cos(t) * level + sin(t) * head
        right = np.array([-cos(a), sin(a), 0.0])
        down = sin(t) * level - cos(t) * head
        return np.stack([cos(r) * right + sin(r) * down, cos(r) * down - sin(r) * right, beam])

    @cached_property
    def source_mm(self) -> Vector:
        """The focal spot, shape (3,)."""
        return np.asarray(np.asarray(self.isocentre_mm) - self.source_to_isocentre_mm * self.axes[2])

    def rays(self) -> Rays:
        """The rays through all pixel centres."""
        right, down, beam = self.axes
        half = (self.side_px - 1) / 2 * self.pitch_mm
        corner = self.source_mm + self.source_to_detector_mm * beam - half * (right + down)
        return Rays(self.source_mm, corner, right * self.pitch_mm, down * self.pitch_mm)

    def project(self, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pixels (x, y), shape (n, 2), of points, shape (n, 3), which lie before the source."""
        across, down, depth = ((np.asarray(points_mm, dtype=np.float64) - self.source_mm) @ self.axes.T).T
        scale = self.source_to_detector_mm / (depth * self.pitch_mm)
        return np.column_stack([across * scale, down * scale]) + (self.side_px - 1) / 2

    def px_per_mm_at(self, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Magnification in pixels per mm at each point, shape (n,)."""
        depth = (np.asarray(points_mm, dtype=np.float64) - self.source_mm) @ self.axes[2]
        return np.asarray(self.source_to_detector_mm / (depth * self.pitch_mm))
