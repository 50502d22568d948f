"""Signed distances (mm, negative inside) and how shapes are made of them, on float32 grids that broadcast."""

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.phantom.patient import Volume

Point = tuple[float, float, float]


def joined(a: Volume, b: Volume, blend_mm: float) -> Volume:
    """Union with a fillet (polynomial smooth minimum, I. Quilez, Smooth minimum, 2013)."""
    share = np.clip(1 - np.abs(a - b) / np.float32(blend_mm), 0, 1)
    return np.asarray(np.minimum(a, b) - share * share * np.float32(blend_mm / 4), dtype=np.float32)


def common(a: Volume, b: Volume, blend_mm: float) -> Volume:
    """Intersection with its edge rounded."""
    return -joined(-a, -b, blend_mm)


def capsule(x: Volume, y: Volume, z: Volume, start: Point, end: Point, radius: float) -> Volume:
    """A rod with round ends."""
    ex, ey, ez = (b - a for a, b in zip(start, end, strict=True))
    dx, dy, dz = x - start[0], y - start[1], z - start[2]
    t = np.clip((dx * ex + dy * ey + dz * ez) / (ex * ex + ey * ey + ez * ez), 0, 1)
    squares = (dx - t * ex) ** 2 + (dy - t * ey) ** 2 + (dz - t * ez) ** 2
    return np.asarray(np.sqrt(squares) - radius, dtype=np.float32)


def ellipsoid(x: Volume, y: Volume, z: Volume, centre: Point, radii: Point) -> Volume:
    """An ellipsoid along the axes; the distance is right at its surface and grows with its smallest radius."""
    r = np.sqrt(sum(((v - c) / q) ** 2 for v, c, q in zip((x, y, z), centre, radii, strict=True)))
    return np.asarray((r - 1) * min(radii), dtype=np.float32)


def outline(corners: NDArray[np.float64], across: Volume, up: Volume) -> Volume:
    """Distance to a closed outline with rounded corners (n, 2), over a grid: shape (len(up), len(across)).

    Its corners are cut three times (G. M. Chaikin, An algorithm for high speed curve generation, 1974).
    """
    step = float(across[1] - across[0])
    for _ in range(3):
        ahead = np.roll(corners, -1, axis=0)
        corners = np.stack([0.75 * corners + 0.25 * ahead, 0.25 * corners + 0.75 * ahead], axis=1).reshape(-1, 2)
    pixels = ((corners - [across[0], up[0]]) / step * 16).round().astype(np.int32)
    mask = np.zeros((len(up), len(across)), dtype=np.uint8)
    cv2.fillPoly(mask, [pixels], 1, shift=4)
    outside = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
    inside = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    smooth: Volume = cv2.GaussianBlur(((outside - inside) * step).astype(np.float32), (0, 0), 1.0)
    return smooth
