"""The sacrum: its shape, and the landmarks that follow from it.

It is modelled straight, in coordinates (x, p, s): s runs down its axis from the S1 endplate, p points to its back; then
it is bent along the kyphotic curve of its midsagittal plane. The foramina's sizes are those of the field's notes, the
rest is ordinary adult anatomy (H. Gray, Anatomy of the Human Body, 1918).
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import cos, sin

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.spatial import cKDTree

from guidance.phantom.distance import Point, capsule, common, ellipsoid, joined
from guidance.phantom.patient import Landmarks, Points, Volume

LEVELS = ("S1", "S2", "S3", "S4")
SIDES = {"L": 1.0, "R": -1.0}

LEVEL_END_MM = (0.0, 31.0, 55.0, 75.0, 92.0, 107.0)
"""Where each of the five bodies begins and ends along the axis, S1's endplate first; at size 1."""

_BODY_WIDTH_MM = (51.0, 38.0, 31.0, 27.0, 23.0, 13.0)
_BODY_DEPTH_MM = (33.0, 24.0, 18.0, 15.0, 12.0, 8.0)
_WING_HALF_WIDTH_MM = (58.0, 55.0, 43.0, 34.0, 27.0, 10.0)
_CANAL_HALF_WIDTH_MM = (14.5, 12.0, 9.0, 7.0, 5.0, 3.0)
_CANAL_HALF_DEPTH_MM = (7.0, 6.0, 4.5, 3.5, 2.5, 1.5)


@dataclass(frozen=True, slots=True)
class Foramen:
    """One sacral foramen at size 1: (wide, high) of both openings and how far apart they project."""

    x_mm: float
    s_mm: float
    anterior_mm: tuple[float, float]
    posterior_mm: tuple[float, float]
    lateral_mm: float
    superior_mm: float


FORAMINA = (
    Foramen(26.0, 29.0, (13.0, 12.2), (10.4, 7.7), 10.0, 6.0),
    Foramen(22.5, 53.0, (12.9, 13.1), (7.1, 7.3), 10.0, 6.0),
    Foramen(19.0, 73.5, (10.5, 10.0), (6.0, 6.0), 7.5, 4.5),
    Foramen(16.0, 90.5, (8.5, 8.0), (5.0, 5.0), 6.0, 3.5),
)
"""S1 and S2 as measured, S3 and S4 by proportion. The anterior opening lies lateral and superior of the posterior."""


@dataclass(frozen=True, slots=True)
class SacralBuild:
    """What makes one sacrum differ from another. Pairs are (left, right)."""

    size: float = 1.0
    slope_deg: float = 40.0
    """Angle of the S1 endplate with the horizontal plane."""
    kyphosis_deg: float = 62.0
    wing_widths: tuple[float, float] = (1.0, 1.0)
    foramen_shifts_mm: tuple[tuple[float, ...], tuple[float, ...]] = ((0.0,) * 4, (0.0,) * 4)


class SacralCurve:
    """The midsagittal curve of a sacrum's axis, and the way from straight to bent coordinates and back."""

    def __init__(self, build: SacralBuild) -> None:
        length = LEVEL_END_MM[-1] * build.size
        self._s = np.arange(-60.0, length + 40.0, 0.25)
        # Most of the curve lies below S2: S1 and S2 are nearly in line.
        angle = np.radians(build.slope_deg - build.kyphosis_deg * np.clip(self._s / length, 0, 1.1) ** 1.5)
        self._angle = angle
        self._y, self._z = np.cumsum(np.sin(angle)) * 0.25, -np.cumsum(np.cos(angle)) * 0.25
        middle_s1 = LEVEL_END_MM[1] * build.size / 2
        self._y -= np.interp(middle_s1, self._s, self._y)
        self._z -= np.interp(middle_s1, self._s, self._z)
        self._tree = cKDTree(np.column_stack([self._y, self._z]))

    def bent(self, x: float, p: float, s: float) -> Point:
        """World (x, y, z) of straight coordinates, all in mm at this sacrum's own size."""
        angle = float(np.interp(s, self._s, self._angle))
        y, z = float(np.interp(s, self._s, self._y)), float(np.interp(s, self._s, self._z))
        return x, y + p * cos(angle), z + p * sin(angle)

    def straight(self, y: Volume, z: Volume) -> tuple[Volume, Volume]:
        """p and s, each of shape (len(z), len(y)), of the points of a midsagittal grid."""
        grid = np.stack(np.meshgrid(y, z), axis=-1)
        _, i = self._tree.query(grid)
        dy, dz = grid[..., 0] - self._y[i], grid[..., 1] - self._z[i]
        p = dy * np.cos(self._angle[i]) + dz * np.sin(self._angle[i])
        along = dy * np.sin(self._angle[i]) - dz * np.cos(self._angle[i])
        return p.astype(np.float32), (self._s[i] + along).astype(np.float32)


def sacrum_distance(x: Volume, p: Volume, s: Volume, build: SacralBuild) -> Volume:
    """Signed distance, in mm at size 1, of the sacrum in straight coordinates.

    x has shape (nz, ny, nx) or (1, 1, nx), p and s (nz, ny, 1); the result (nz, ny, nx).
    """
    ax = np.abs(x)
    half_w, half_d = _along(_BODY_WIDTH_MM, s) / 2, _along(_BODY_DEPTH_MM, s) / 2
    # Each body is waisted between its endplates.
    waist = 1 - 0.07 * _bumps(s, [(a + b) / 2 for a, b in pairwise(LEVEL_END_MM)], 6.5)
    r = np.sqrt((ax / (half_w * waist)) ** 2 + (p / (half_d * waist)) ** 2)
    ends = np.maximum(-s, s - LEVEL_END_MM[-1])
    body = common(np.asarray((r - 1) * half_d, dtype=np.float32), ends, 3.0)

    wing_w = _along(_WING_HALF_WIDTH_MM, s) * np.where(x > 0, *map(np.float32, build.wing_widths))
    front, back = _front_p(ax, s), _back_p(s)
    # The wing's upper surface falls away from the endplate, and its back slopes down to the joint.
    top = 1.0 + 0.32 * np.clip(ax - 20, 0, None) + 0.10 * np.abs(p - 4) - s
    behind = p - (back - 4.5 - 0.12 * np.clip(ax - 18, 0, None))
    across = common(ax - wing_w, common(front - p, behind, 8.0), 9.0)
    wing = common(across, common(top, ends, 6.0), 9.0)
    solid = joined(body, wing, 4.0)

    for end, height in zip(LEVEL_END_MM[:4], (9.0, 7.0, 5.5, 4.0), strict=True):
        # What is left of the spinous processes stands on the median crest.
        at = end + 17.0 - end / 12
        crest_p = float(_back_p(np.float32(at)))
        solid = joined(solid, ellipsoid(x, p, s, (0, crest_p, at), (3.6, height, 8.0)), 5.0)
    for sign in SIDES.values():
        solid = joined(solid, capsule(x, p, s, (21 * sign, 22, 5), (22 * sign, 27, -7), 5.5), 4.0)

    canal_w, canal_d = _along(_CANAL_HALF_WIDTH_MM, s), _along(_CANAL_HALF_DEPTH_MM, s)
    off = (p - half_d - canal_d - 1) / canal_d
    # Triangular in cross-section: wide before, narrow behind.
    narrowing = 1 - 0.35 * np.clip(off, -1, 1)
    canal = (np.sqrt((ax / (canal_w * narrowing)) ** 2 + off**2) - 1) * canal_d
    solid = np.maximum(solid, -np.minimum(canal, _disc_remnants(ax, p, s)))
    for sign in SIDES.values():
        half = np.flatnonzero((sign * x).max(axis=(0, 1)) > -1)
        side = slice(int(half[0]), int(half[-1]) + 1)
        for level in range(4):
            hole = _foramen_distance(x[..., side], p, s, level, sign, build)
            np.maximum(solid[..., side], -hole, out=solid[..., side])
    return solid


def _disc_remnants(ax: Volume, p: Volume, s: Volume) -> Volume:
    """Signed distance of what is left of the discs between the fused bodies: each a slit inside a rim of bone."""
    slits = []
    for end, left in zip(LEVEL_END_MM[1:5], (0.80, 0.72, 0.62, 0.5), strict=True):
        half_w = float(np.interp(end, LEVEL_END_MM, _BODY_WIDTH_MM)) / 2
        half_d = float(np.interp(end, LEVEL_END_MM, _BODY_DEPTH_MM)) / 2
        r = np.sqrt((ax / half_w) ** 2 + (p / half_d) ** 2)
        # Higher in front than the rim, as the bodies' ends are hollow.
        rim = np.asarray((r - left) * half_d, dtype=np.float32)
        slits.append(common(np.abs(s - end) - 1.7 + 1.2 * r * r, rim, 1.0))
    return np.asarray(np.minimum.reduce(slits), dtype=np.float32)


def sacral_landmarks(build: SacralBuild, curve: SacralCurve, placed: Callable[[Point], Point]) -> Landmarks:
    """The landmarks of a sacrum of this build; ``placed`` moves each from the model's space to the patient's."""
    k = build.size

    def world(points: list[Point]) -> Points:
        return np.array([placed(curve.bent(x * k, p * k, s * k)) for x, p, s in points])

    foramina, roots, alae, entries = {}, {}, {}, {}
    turn = [2 * np.pi * i / 24 for i in range(24)]
    for side, sign in SIDES.items():
        for level, (name, foramen) in enumerate(zip(LEVELS, FORAMINA, strict=True)):
            x, p, s = _anterior_opening(level, sign, build)
            wide, high = foramen.anterior_mm
            foramina[name + side] = world([(x + wide / 2 * cos(t), p, s + high / 2 * sin(t)) for t in turn])
            beside = 0.45 * sign * float(np.interp(s, LEVEL_END_MM, _CANAL_HALF_WIDTH_MM))
            # Down in the canal, out through the foramen and on along the front of the wing.
            roots[name + side] = world(
                [
                    (beside, _canal_p(s - 26), s - 26),
                    (beside * 1.3, _canal_p(s - 12), s - 12),
                    ((beside * 1.6 + x) / 2, (_canal_p(s) + p) / 2, s - 4),
                    (x, p, s),
                    (x + 4 * sign, p - 5, s + 9),
                    (x + 7 * sign, p - 8, s + 22),
                ]
            )
        alae[side] = world([(38 * sign, 2, 17)])[0]
        entries[side] = world([(33 * sign, 30, 22)])[0]

    bodies, targets = {}, {}
    for level, name in enumerate(("S1", "S2")):
        top, bottom = LEVEL_END_MM[level] + 0.5, LEVEL_END_MM[level + 1] - 2
        middle = (top + bottom) / 2
        bodies[name] = world(_body_corners(top, bottom))
        targets[name] = world([(5, -4 + 1.5 * level, middle)])[0]
        entries[name] = world([(28 - 5 * level, 26 - 3 * level, middle - 3 * (1 - level))])[0]

    s_line = np.linspace(-25, 100, 30).tolist()
    canal = world([(0.0, _canal_p(s), s) for s in s_line])
    radius = k * np.interp(s_line, LEVEL_END_MM, _CANAL_HALF_DEPTH_MM)
    cortex = np.array([placed((x, y, z)) for x, y, z in anterior_cortex(build, curve).tolist()])
    veins = []
    for m in SIDES.values():
        # A lateral sacral vein out of the wing's front, and one that leaves the S1 body and climbs beside the disc.
        veins.append(
            world([(34 * m, 0, 20), (36 * m, -9, 24), (33 * m, -16, 33), (36 * m, -17, 50), (30 * m, -16, 68)])
        )
        veins.append(
            world([(8 * m, -8, 16), (14 * m, -19, 14), (24 * m, -24, 4), (30 * m, -27, -14), (27 * m, -30, -32)])
        )
    return Landmarks(foramina, canal, radius, bodies, alae, targets, entries, roots, tuple(veins), cortex)


def anterior_cortex(build: SacralBuild, curve: SacralCurve) -> Points:
    """The front of the sacrum in its midsagittal plane, shape (24, 3), from the promontory downwards."""
    k = build.size
    s_line = np.linspace(0, 105, 24)
    front = -_along(_BODY_DEPTH_MM, s_line) / 2
    return np.array([curve.bent(0.0, p * k, s * k) for p, s in zip(front.tolist(), s_line.tolist(), strict=True)])


def _body_corners(top: float, bottom: float) -> list[Point]:
    return [
        (x_sign * float(np.interp(s, LEVEL_END_MM, _BODY_WIDTH_MM)) / 2, front * _half_depth(s), s)
        for front in (-1, 1)
        for x_sign, s in ((1, top), (-1, top), (-1, bottom), (1, bottom))
    ]


def _along(values: tuple[float, ...], s: NDArray[np.generic] | np.generic) -> Volume:
    """A size along the axis, smoothly interpolated between the levels."""
    smooth = PchipInterpolator(LEVEL_END_MM, values)
    return np.asarray(smooth(np.clip(s, LEVEL_END_MM[0], LEVEL_END_MM[-1])), dtype=np.float32)


def _half_depth(s: float) -> float:
    return float(_along(_BODY_DEPTH_MM, np.float32(s))) / 2


def _canal_p(s: float) -> float:
    """How far the canal's axis lies behind the bodies' at s."""
    return _half_depth(s) + float(_along(_CANAL_HALF_DEPTH_MM, np.float32(s))) + 1


def _front_p(ax: Volume | np.float32, s: Volume | np.float32) -> Volume:
    """The front of the lateral mass: it recedes from the body's front towards the joint."""
    return np.asarray(-0.36 * _along(_BODY_DEPTH_MM, s) + 0.10 * ax - 1.5, dtype=np.float32)


def _back_p(s: Volume | np.float32) -> Volume:
    """The back of the laminae."""
    return np.asarray(_along(_BODY_DEPTH_MM, s) / 2 + 2 * _along(_CANAL_HALF_DEPTH_MM, s) + 5, dtype=np.float32)


def _bumps(s: Volume, centres: list[float], width: float) -> Volume:
    return np.asarray(sum(np.exp(-(((s - c) / width) ** 2)) for c in centres), dtype=np.float32)


def _anterior_opening(level: int, sign: float, build: SacralBuild) -> Point:
    """Centre of an anterior sacral foramen in straight coordinates."""
    shift = build.foramen_shifts_mm[0 if sign > 0 else 1][level]
    x, s = FORAMINA[level].x_mm + 0.6 * shift, FORAMINA[level].s_mm + shift
    return sign * x, float(_front_p(np.float32(x), np.float32(s))), s


def _foramen_distance(x: Volume, p: Volume, s: Volume, level: int, sign: float, build: SacralBuild) -> Volume:
    """A channel from the anterior to the posterior opening, joined to the canal."""
    foramen = FORAMINA[level]
    fx, fp, fs = _anterior_opening(level, sign, build)
    back = float(_back_p(np.float32(fs))) - 3
    way = np.clip((p - fp) / (back - fp), -0.4, 1.4)
    share = np.clip(way, 0, 1)
    wide, high = (
        (a * (1 - share) + b * share) / 2 for a, b in zip(foramen.anterior_mm, foramen.posterior_mm, strict=True)
    )
    off_x = (x - fx + sign * foramen.lateral_mm * way) / wide
    off_s = (s - fs - foramen.superior_mm * way) / high
    channel = (np.sqrt(off_x**2 + off_s**2) - 1) * np.minimum(wide, high)
    canal_at = (0.5 * sign * float(_along(_CANAL_HALF_WIDTH_MM, np.float32(fs))), _canal_p(fs), fs - 3)
    middle = (fx - 0.35 * sign * foramen.lateral_mm, fp + 0.4 * (back - fp), fs + 0.4 * foramen.superior_mm)
    return joined(channel, capsule(x, p, s, canal_at, middle, 0.4 * foramen.anterior_mm[1]), 3.0)
