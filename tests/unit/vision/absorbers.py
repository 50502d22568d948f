"""Small x-ray pulses with known absorbers, noise and motion, for the tests of what compares pulses."""

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.records import FieldKind, FieldOutline, Needle
from guidance.vision.field import XrayField
from guidance.vision.geometry import RigidMotion
from guidance.vision.picture import Mask, Picture, make_picture

SIDE_PX = 200
MM_PER_PX = 0.3
PULSE_S = 1 / 7.5
PER_CM = 1.4
"""Cement and iodine, 1/cm at about 65 keV."""

Plane = NDArray[np.float64]


def anatomy(side_px: int = SIDE_PX) -> Plane:
    """Transmitted share of a soft background with two bones and one sharp cortex, (side, side)."""
    y, x = np.mgrid[:side_px, :side_px] / side_px
    bone = 0.5 * np.exp(-(((x - 0.3) / 0.12) ** 2)) + 0.35 * (np.hypot(x - 0.65, y - 0.6) < 0.22)
    return np.asarray(0.75 * np.exp(-(0.5 * y + cv2.GaussianBlur(bone, (0, 0), 1.5))))


class Beam:
    """Pulses of ``anatomy`` behind absorbers given in cm, moved rigidly. ``noise``: of a pixel at mean brightness."""

    def __init__(self, noise: float = 0.15, seed: int = 0) -> None:
        self._share = anatomy()
        self._noise = noise
        self._rng = np.random.default_rng(seed)
        half = SIDE_PX / 2 - 0.5
        self.centre_px = (half, half)
        corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) * float(SIDE_PX - 1)
        outline = FieldOutline(FieldKind.RECTANGLE, corners, bone_dark=True)
        self._field = XrayField(outline, (SIDE_PX, SIDE_PX))

    def pulse(
        self,
        absorber_cm: Plane | float = 0.0,
        per_cm: float = PER_CM,
        shift_px: tuple[float, float] = (0.0, 0.0),
        gain: float = 1.0,
        noise: float | None = None,
    ) -> tuple[Picture, RigidMotion]:
        """The picture of one pulse, and the motion that leads from the reference to it."""
        motion = RigidMotion(shift_px, 0.0, self.centre_px)
        light = self._share * np.exp(-per_cm * np.asarray(absorber_cm))
        light = cv2.warpAffine(light, motion.matrix, light.shape[::-1], borderMode=cv2.BORDER_REFLECT)
        noise = self._noise if noise is None else noise
        if noise > 0:
            quanta = 1 / (noise**2 * 0.45)
            light = self._rng.poisson(light * quanta) / quanta
        pixels = np.clip(255 * gain * light + 0.5, 0, 255).astype(np.uint8)
        return make_picture(pixels, self._field, bits=8), motion


def nothing() -> Plane:
    return np.zeros((SIDE_PX, SIDE_PX))


def ball_cm(x: float, y: float, radius_mm: float) -> Plane:
    """Thickness of a ball."""
    rows, cols = np.mgrid[:SIDE_PX, :SIDE_PX]
    away_mm = np.hypot(cols - x, rows - y) * MM_PER_PX
    return np.asarray(0.2 * np.sqrt(np.clip(radius_mm**2 - away_mm**2, 0, None)))


def tube_cm(points_px: list[tuple[float, float]], diameter_mm: float, share: float = 1.0) -> Plane:
    """Thickness of a round tube along a polyline, filled from its start as far as ``share`` of its length."""
    points = np.array(points_px, dtype=float)
    along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    at = np.linspace(0, share * along[-1], 200)
    line = np.column_stack([np.interp(at, along, points[:, k]) for k in (0, 1)])
    canvas = np.full((SIDE_PX, SIDE_PX), 255, np.uint8)
    cv2.polylines(canvas, [np.round(line * 16).astype(np.int32)], False, 0, 1, cv2.LINE_8, 4)
    away_mm = cv2.distanceTransform(canvas, cv2.DIST_L2, 5) * MM_PER_PX
    return np.asarray(0.2 * np.sqrt(np.clip((diameter_mm / 2) ** 2 - away_mm.astype(float) ** 2, 0, None)))


def needle_at(tip_px: tuple[float, float]) -> Needle:
    """A needle whose tip is there, coming from the upper right."""
    back = (tip_px[0] + 60.0, tip_px[1] - 60.0)
    return Needle(1, tip_px, (tip_px, back), 45.0, 3.05 / MM_PER_PX, None, False, 0.9)


def no_steel(picture: Picture) -> Mask:
    return np.zeros(picture.density.shape, np.uint8)


def filled(polygons_px: tuple[NDArray[np.float64], ...]) -> NDArray[np.bool_]:
    """The pixels inside a finding's rings."""
    out = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    for ring in polygons_px:
        cv2.fillPoly(out, [np.round(ring).astype(np.int32)], 1)
    return out > 0


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float(2 * (a & b).sum() / max(1, a.sum() + b.sum()))
