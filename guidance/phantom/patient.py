"""The patient in the beam: two material volumes, and where the structures lie that a plan is drawn from.

World coordinates, in mm: x to the patient's left, y posterior, z superior (LPS); the origin is the centre of the S1
body. Arrays of points have shape (n, 3), float64, columns x, y, z.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

Points = NDArray[np.float64]
Volume = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Landmarks:
    """Structures that zones, needles, contrast and leaks need; every key ends in L or R, the patient's side.

    ``foramina``: closed polygon of each anterior sacral opening, "S1L" to "S4R".
    ``canal_path_mm``, ``canal_radius_mm``: axis of the sacral canal from above S1 downwards and its radius, (n,).
    ``bodies``: "S1", "S2" -> the eight corners, shape (8, 3): the anterior wall's four (superior left, superior
    right, inferior right, inferior left), then the posterior wall's in the same order.
    ``ala_targets``, ``body_targets``: where cement is meant to go ("L", "R"; "S1", "S2").
    ``entry_points``: for each of those names, where the needle's way to that target meets bone.
    ``roots``: "S1L".. -> the nerve root from the canal through its foramen outwards.
    ``veins``: the ways on which cement escapes; the first point of each lies in bone.
    ``anterior_cortex``: the front of the sacrum in the midsagittal plane, from the promontory downwards.
    """

    foramina: dict[str, Points]
    canal_path_mm: Points
    canal_radius_mm: NDArray[np.float64]
    bodies: dict[str, Points]
    ala_targets: dict[str, Points]
    body_targets: dict[str, Points]
    entry_points: dict[str, Points]
    roots: dict[str, Points]
    veins: tuple[Points, ...]
    anterior_cortex: Points


DEPTH_STEP_MM = 1 / 16
"""What one step of ``Surface.depth`` means."""


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """Where the surfaces of the bones lie, to a fraction of a voxel: cortical lines are finer than voxels.

    ``depth``: int8, the bone volume's shape, depth below the nearest surface in steps of ``DEPTH_STEP_MM``, negative
    outside, clipped to 8 mm either way. ``marrow``: float32 cube of a power of two a side, bone share of the
    trabecular bone beneath ``cortex_mm`` of shell, repeated throughout the patient with ``marrow_mm`` from sample to
    sample. ``cortical``: bone share of the shell.
    """

    depth: NDArray[np.int8]
    cortex_mm: float
    cortical: float
    marrow: Volume
    marrow_mm: float


@dataclass(frozen=True, slots=True, eq=False)
class Patient:
    """Material volumes on a grid of cubes, shape (nz, ny, nx), float32, C-contiguous.

    ``soft``: 1 is soft tissue of 1.06 g/cm³; fat is about 0.88, gas 0. ``bone``: 1 is cortical bone of 1.92 g/cm³,
    trabecular bone 0.1 to 0.35. ``origin_mm`` is the centre of voxel [0, 0, 0] as (x, y, z). The body goes on
    beyond the first and the last slice.
    """

    soft: Volume
    bone: Volume
    voxel_mm: float
    origin_mm: tuple[float, float, float]
    landmarks: Landmarks
    name: str = field(default="phantom")
    surface: Surface | None = None
    """None: there are but voxels, as with a CT volume."""

    def bone_at(self, points_mm: Points) -> NDArray[np.float32]:
        """Bone share at points, shape (n,), trilinear; 0 outside the volume."""
        voxels = (points_mm - np.array(self.origin_mm)).T[::-1] / self.voxel_mm
        return np.asarray(map_coordinates(self.bone, voxels, order=1, output=np.float32))
