"""Steel in the beam: bone access needles and what else lies about, as exact path lengths.

Every instrument is a set of convex solids, each a round bar cut by planes. A ray's way through one is an interval:
what the infinite cylinder leaves of it and each plane cuts off. Solids that touch are simply added up.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from math import cos, pi, radians, sin
from typing import Self

import numpy as np
from numpy.typing import NDArray

from guidance.phantom.carm import CArm, Vector
from guidance.phantom.kernels import add_solid
from guidance.phantom.patient import Points
from guidance.phantom.projector import Box, Shadow, clip_box

GAUGE_MM = {11: 3.05, 13: 2.4}
"""Outer diameter of bone access needles."""

_PLASTIC = 0.03
"""Plastic as a share of steel: the same attenuation near 60 keV."""


@dataclass(frozen=True, slots=True, eq=False)
class Solid:
    """A round bar from ``start_mm`` to ``end_mm``, cut by ``planes`` (n, 4): rows (a, b, c, d) keep ax + by + cz <= d.

    ``steel``: its attenuation as a share of steel's.
    """

    start_mm: Vector
    end_mm: Vector
    radius_mm: float
    planes: NDArray[np.float64]
    steel: float = 1.0


def bar(start_mm: Vector, end_mm: Vector, radius_mm: float, steel: float = 1.0) -> Solid:
    """A cylinder with flat ends."""
    axis = _unit(end_mm - start_mm)
    planes = np.array([[*-axis, -axis @ start_mm], [*axis, axis @ end_mm]])
    return Solid(np.asarray(start_mm), np.asarray(end_mm), radius_mm, planes, steel)


def shadow_cm(solids: Iterable[Solid], carm: CArm) -> Shadow:
    """Path length in cm of steel (solids of less attenuation count less), over the part of the detector they shade."""
    parts = list(solids)
    rays = carm.rays()
    ends_mm = np.array([[part.start_mm, part.end_mm] for part in parts]).reshape(-1, 3)
    ends_px = carm.project(ends_mm).reshape(-1, 2, 2)
    radius_px = carm.px_per_mm_at(ends_mm).reshape(-1, 2).max(axis=1) * [part.radius_mm for part in parts]
    # An oblique disc's edge lies up to its radius from the projected axis, plus a little for the cone's growth.
    reach_px = radius_px * 1.1 + 1.5
    low = (ends_px.min(axis=1) - reach_px[:, None]).min(axis=0)
    high = (ends_px.max(axis=1) + reach_px[:, None]).max(axis=0)
    box = clip_box(low, high, carm.side_px)
    patch = np.zeros((box[3] - box[1], box[2] - box[0]), dtype=np.float32)
    for part, band_px, reach in zip(parts, ends_px, reach_px, strict=True):
        x0, y0, x1, y1 = _overlap(clip_box(band_px.min(axis=0) - reach, band_px.max(axis=0) + reach, carm.side_px), box)
        window = np.zeros((y1 - y0, x1 - x0), dtype=np.float32)
        add_solid(
            rays.source_mm,
            rays.corner_mm,
            rays.right_mm,
            rays.down_mm,
            part.start_mm,
            _unit(part.end_mm - part.start_mm),
            part.radius_mm,
            part.planes,
            part.steel / 10,
            np.ascontiguousarray(band_px).ravel(),
            float(reach),
            x0,
            y0,
            window,
        )
        patch[y0 - box[1] : y1 - box[1], x0 - box[0] : x1 - box[0]] += window
    return box, patch


@dataclass(frozen=True, eq=False)
class BoneNeedle:
    """A bone access needle with its stylet in place: a solid bar with a three-faced trocar tip.

    ``tip_mm``: the apex. ``direction``: the way it advances, from hub to tip, any length. ``gauge``: 11 or 13.
    ``hub``: with its plastic handle at the rear end. ``length_mm``: from apex to handle.
    """

    tip_mm: Vector
    direction: Vector
    gauge: int = 11
    hub: bool = True
    length_mm: float = 120.0
    bevel_deg: float = 22.0
    """Angle between each face of the tip and the axis."""

    @property
    def diameter_mm(self) -> float:
        return GAUGE_MM[self.gauge]

    @property
    def back_mm(self) -> Vector:
        """Rear end of the shaft, where the handle begins."""
        return np.asarray(self.tip_mm) - self.length_mm * _unit(self.direction)

    def tip_px(self, carm: CArm) -> tuple[float, float]:
        """The visible apex of the needle in a view."""
        x, y = carm.project(np.asarray(self.tip_mm)[None])[0]
        return float(x), float(y)

    def back_px(self, carm: CArm) -> tuple[float, float]:
        """The shaft's rear end in a view; it may lie outside the picture."""
        x, y = carm.project(self.back_mm[None])[0]
        return float(x), float(y)

    def advanced(self, mm: float) -> Self:
        """The same needle, further in along its own direction."""
        return replace(self, tip_mm=np.asarray(self.tip_mm) + mm * _unit(self.direction))

    def steel_cm(self, carm: CArm) -> Shadow:
        """Its shadow: box and float32 patch of steel path lengths in cm."""
        return shadow_cm(self.solids, carm)

    @cached_property
    def solids(self) -> tuple[Solid, ...]:
        """Shaft with tip, then the handle's parts."""
        tip, axis = np.asarray(self.tip_mm, dtype=np.float64), _unit(self.direction)
        u, v = _across(axis)
        bevel = radians(self.bevel_deg)
        planes = [[*-axis, -axis @ self.back_mm]]
        for k in range(3):
            outward = cos(2 * pi * k / 3) * u + sin(2 * pi * k / 3) * v
            face = cos(bevel) * outward + sin(bevel) * axis
            planes.append([*face, face @ tip])
        shaft = Solid(self.back_mm, tip, self.diameter_mm / 2, np.array(planes))
        if not self.hub:
            return (shaft,)
        back = self.back_mm
        return (
            shaft,
            bar(back, back - 6 * axis, 4.0, 0.35),  # the metal luer lock in the handle
            bar(back + 2 * axis, back - 22 * axis, 9.0, _PLASTIC),
            bar(back - 14 * axis - 30 * u, back - 14 * axis + 30 * u, 6.5, _PLASTIC),
        )


@dataclass(frozen=True, eq=False)
class Clamp:
    """A forceps that was left in the field: two arms crossing at a pivot, with finger rings.

    ``tip_mm``: where the jaws meet. ``direction``: from the rings to the jaws. ``flat``: across both arms.
    """

    tip_mm: Vector
    direction: Vector
    flat: Vector
    opening_deg: float = 9.0
    length_mm: float = 140.0

    def steel_cm(self, carm: CArm) -> Shadow:
        """Its shadow: box and float32 patch of steel path lengths in cm."""
        return shadow_cm(self.solids, carm)

    @cached_property
    def solids(self) -> tuple[Solid, ...]:
        axis = _unit(self.direction)
        flat = _unit(np.asarray(self.flat) - (np.asarray(self.flat) @ axis) * axis)
        pivot = np.asarray(self.tip_mm, dtype=np.float64) - 0.3 * self.length_mm * axis
        parts = [bar(pivot - 2.5 * np.cross(axis, flat), pivot + 2.5 * np.cross(axis, flat), 4.5)]
        for side in (-1.0, 1.0):
            half = radians(self.opening_deg / 2)
            arm = cos(half) * axis + side * sin(half) * flat
            parts.append(bar(pivot, pivot + 0.3 * self.length_mm * arm, 1.7))
            handle_end = pivot - 0.7 * self.length_mm * arm
            parts.append(bar(pivot, handle_end, 2.1))
            centre = handle_end - 11.0 * arm
            ring = _ring(centre, axis, flat, 11.0, 16)
            parts.extend(bar(a, b, 1.8) for a, b in zip(ring, np.roll(ring, -1, axis=0), strict=True))
        return tuple(parts)


@dataclass(frozen=True, eq=False)
class Screw:
    """A threaded screw with a head, as from an earlier operation. ``direction``: from head to tip."""

    tip_mm: Vector
    direction: Vector
    length_mm: float = 60.0
    core_mm: float = 4.5
    thread_mm: float = 7.0
    pitch_mm: float = 2.75

    def steel_cm(self, carm: CArm) -> Shadow:
        """Its shadow: box and float32 patch of steel path lengths in cm."""
        return shadow_cm(self.solids, carm)

    @cached_property
    def solids(self) -> tuple[Solid, ...]:
        tip, axis = np.asarray(self.tip_mm, dtype=np.float64), _unit(self.direction)
        head = tip - self.length_mm * axis
        u, _ = _across(axis)
        # Each turn is a thin disc that leans by the thread's lead angle; only its rim shows beyond the core.
        lean = _unit(axis + self.pitch_mm / (pi * self.thread_mm) * u)
        turns = [tip - (k + 0.5) * self.pitch_mm * axis for k in range(int(0.6 * self.length_mm / self.pitch_mm))]
        return (
            bar(head, tip, self.core_mm / 2),
            bar(head - 5 * axis, head, self.thread_mm * 0.65),
            *(bar(at - 0.3 * lean, at + 0.3 * lean, self.thread_mm / 2, 0.7) for at in turns),
        )


@dataclass(frozen=True, eq=False)
class Cable:
    """A thin wire along ``path_mm`` (n, 3), such as an ECG lead on the skin. ``metal``: its share of steel."""

    path_mm: Points
    diameter_mm: float = 0.9
    metal: float = 0.8

    def steel_cm(self, carm: CArm) -> Shadow:
        """Its shadow: box and float32 patch of steel path lengths in cm."""
        return shadow_cm(self.solids, carm)

    @cached_property
    def solids(self) -> tuple[Solid, ...]:
        pairs = zip(self.path_mm[:-1], self.path_mm[1:], strict=True)
        return tuple(bar(a, b, self.diameter_mm / 2, self.metal) for a, b in pairs)


def _unit(vector: Vector) -> Vector:
    v = np.asarray(vector, dtype=np.float64)
    return v / np.linalg.norm(v)


def _across(axis: Vector) -> tuple[Vector, Vector]:
    """Two unit vectors that complete the axis to a frame."""
    aside = np.array([0.0, 0.0, 1.0]) if abs(axis[2]) < 0.8 else np.array([1.0, 0.0, 0.0])
    u = _unit(np.cross(axis, aside))
    return u, np.cross(axis, u)


def _ring(centre: Vector, axis: Vector, flat: Vector, radius_mm: float, corners: int) -> Points:
    turn = np.linspace(0, 2 * pi, corners, endpoint=False)[:, None]
    return np.asarray(centre + radius_mm * (np.cos(turn) * axis + np.sin(turn) * flat))


def _overlap(a: Box, b: Box) -> Box:
    x0, y0 = max(a[0], b[0]), max(a[1], b[1])
    return x0, y0, max(x0, min(a[2], b[2])), max(y0, min(a[3], b[3]))
