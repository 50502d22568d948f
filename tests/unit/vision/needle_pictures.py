"""X-ray pictures with needles of exactly known place, drawn from first principles for the needle tests."""

from math import cos, radians, sin

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.records import FieldKind, FieldOutline, PointPx
from guidance.vision.field import XrayField
from guidance.vision.picture import Picture, make_picture

STEEL_PER_MM = 0.8
"""Linear attenuation of steel at an effective 65 keV, 1/mm."""
SCATTER_TO_PRIMARY = 1.0
NEEDLE_MM = 3.05


def soft_tissue(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A smooth background of primary transmission, with cortex-like lines, some of them straight."""
    coarse = rng.uniform(0.35, 1.0, (6, 6))
    field = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    lines = np.ones((height, width))
    for _ in range(6):
        ends = rng.uniform(0, 1, 4) * [width, height, width, height]
        stroke = np.zeros((height, width))
        cv2.line(stroke, tuple(map(int, ends[:2])), tuple(map(int, ends[2:])), 1.0, int(rng.integers(2, 9)))
        lines *= 1.0 - 0.15 * cv2.GaussianBlur(stroke, (0, 0), 2.0)
    return np.asarray(np.clip(field, 0.2, 1.1) * lines, dtype=np.float64)


def steel_mm(
    shape: tuple[int, int], tip_px: PointPx, angle_deg: float, length_px: float, diameter_px: float, taper: float
) -> NDArray[np.float64]:
    """Path length through a cylinder with a conical tip of ``taper`` diameters; ``angle_deg`` as in the contract."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    ux, uy = cos(radians(angle_deg)), -sin(radians(angle_deg))
    along = (x - tip_px[0]) * ux + (y - tip_px[1]) * uy
    across = (y - tip_px[1]) * ux - (x - tip_px[0]) * uy
    radius = 0.5 * diameter_px * np.clip(along / max(1e-6, taper * diameter_px), 0.0, 1.0)
    radius[(along < 0) | (along > length_px)] = 0.0
    chord_px = 2.0 * np.sqrt(np.maximum(0.0, radius**2 - across**2))
    return np.asarray(chord_px * NEEDLE_MM / diameter_px)


def expose(
    background: NDArray[np.float64],
    steel: NDArray[np.float64],
    quanta: float,
    rng: np.random.Generator,
    blur_px: float = 1.0,
) -> NDArray[np.uint8]:
    """Display values, bone dark: primary and scatter, detector blur, quantum noise of ``quanta`` a pixel."""
    primary = background * np.exp(-STEEL_PER_MM * steel)
    scatter = SCATTER_TO_PRIMARY * cv2.GaussianBlur(primary, (0, 0), 40.0)
    signal = cv2.GaussianBlur((primary + scatter) / (1.0 + SCATTER_TO_PRIMARY), (0, 0), blur_px)
    noisy = rng.poisson(np.maximum(signal, 0.0) * quanta) / quanta
    noisy = cv2.GaussianBlur(noisy, (0, 0), 0.6)
    return np.asarray(np.clip(230.0 * noisy, 0, 255), dtype=np.uint8)


def whole_field(shape: tuple[int, int], bone_dark: bool = True) -> XrayField:
    """An x-ray field that fills the frame."""
    height, width = shape
    corners = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], dtype=np.float64)
    return XrayField(FieldOutline(FieldKind.FULL, corners, bone_dark), (width, height))


def picture_of(pixels: NDArray[np.uint8], bone_dark: bool = True) -> Picture:
    pixels = np.ascontiguousarray(pixels)
    return make_picture(pixels, whole_field((pixels.shape[0], pixels.shape[1]), bone_dark), 8)
