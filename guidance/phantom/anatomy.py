"""A pelvis drawn from a seed: sacrum, L4 and L5, hip bones, the soft tissue around them and gas in the bowel.

Bones are signed distances; a cortical shell over uneven trabecular bone follows from the distance. What it misses:
vessels, the outlines of single muscles, ligaments, facet joints as joints, spurs, fractures.
"""

from dataclasses import dataclass
from math import cos, pi, radians, sin
from typing import Self

import cv2
import numpy as np
from scipy import fft
from scipy.ndimage import gaussian_filter

from guidance.phantom.distance import Point, capsule, common, ellipsoid, joined, outline
from guidance.phantom.patient import DEPTH_STEP_MM, Patient, Surface, Volume
from guidance.phantom.sacrum import (
    SIDES,
    SacralBuild,
    SacralCurve,
    sacral_landmarks,
    sacrum_distance,
)

_JOINT_MM = 2.8
"""Width of the sacroiliac joint with its cartilage."""

_CORTICAL = 0.95
"""Cortical shells hold vessels: a little less than solid."""

_MARROW_SIDE, _MARROW_MM = 128, 0.5
"""Trabecular bone repeats after 64 mm. Its finest structure is about half a millimetre wide."""


@dataclass(frozen=True, slots=True)
class Build:
    """What varies from patient to patient."""

    sacrum: SacralBuild
    shear_per_z: float
    """Obliquity on the table: how far the pelvis leans to the left per mm upwards..."""
    shear_per_y: float
    """...and how far it is turned, per mm backwards."""
    trabecular: float
    cortex_mm: float
    half_width_mm: float
    half_depth_mm: float
    fat_mm: float
    gas_pockets: int

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Self:
        """A patient at random: size ±10 %, bone from osteoporotic to sound, lean to stout."""
        shifts = rng.normal(0, 0.9, (2, 4)).clip(-1.8, 1.8).tolist()
        return cls(
            sacrum=SacralBuild(
                size=rng.uniform(0.9, 1.1),
                slope_deg=rng.uniform(32, 46),
                kyphosis_deg=rng.uniform(50, 75),
                wing_widths=(rng.uniform(0.96, 1.04), rng.uniform(0.96, 1.04)),
                foramen_shifts_mm=(tuple(shifts[0]), tuple(shifts[1])),
            ),
            shear_per_z=rng.normal(0, 0.02),
            shear_per_y=rng.normal(0, 0.02),
            trabecular=rng.uniform(0.11, 0.26),
            cortex_mm=rng.uniform(0.7, 1.3),
            half_width_mm=rng.uniform(158, 190),
            half_depth_mm=rng.uniform(92, 118),
            fat_mm=rng.uniform(12, 30),
            gas_pockets=int(rng.integers(3, 10)),
        )


def make_patient(seed: int, voxel_mm: float = 1.0, build: Build | None = None) -> Patient:
    """A patient, the same for the same seed and voxel size. ``build`` replaces what the seed would draw."""
    rng = np.random.default_rng(seed)
    drawn = Build.drawn(rng)
    return _Sculptor(build or drawn, voxel_mm, rng).patient(f"phantom, seed {seed}")


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """A part of the grid and its world coordinates, shaped to broadcast over (nz, ny, nx)."""

    where: tuple[slice, slice, slice]
    x: Volume
    y: Volume
    z: Volume


def _thinned(block: _Block) -> _Block:
    """Every other sample of a block, up to the one at its end or just beyond."""
    x, y, z = (
        (v.ravel()[0] + 2 * (v.ravel()[1] - v.ravel()[0]) * np.arange(v.size // 2 + 1)).astype(np.float32)
        for v in (block.x, block.y, block.z)
    )
    return _Block(block.where, x[None, None, :], y[None, :, None], z[:, None, None])


def _refilled(values: Volume, shape: tuple[int, ...]) -> Volume:
    """What ``_thinned`` left out, by linear interpolation; cut to ``shape``."""
    for axis, wanted in enumerate(shape):
        ahead = np.moveaxis(values, axis, 0)
        full = np.empty((2 * len(ahead) - 1, *ahead.shape[1:]), dtype=np.float32)
        full[::2] = ahead
        full[1::2] = 0.5 * (ahead[:-1] + ahead[1:])
        values = np.moveaxis(full[:wanted], 0, axis)
    return np.ascontiguousarray(values)


class _Sculptor:
    """Builds one patient's volumes, bone by bone."""

    _LOW_MM = (-195.0, -165.0, -150.0)
    _HIGH_MM = (195.0, 105.0, 125.0)

    def __init__(self, build: Build, voxel_mm: float, rng: np.random.Generator) -> None:
        self.build = build
        self.size = build.sacrum.size
        self.voxel_mm = voxel_mm
        self.rng = rng
        self.curve = SacralCurve(build.sacrum)
        self.axes = [
            np.arange(low, high, voxel_mm, dtype=np.float32)
            for low, high in zip(self._LOW_MM, self._HIGH_MM, strict=True)
        ]
        shape = tuple(len(axis) for axis in reversed(self.axes))
        self.bone: Volume = np.zeros(shape, dtype=np.float32)
        self.soft: Volume = np.zeros(shape, dtype=np.float32)
        self.depth = np.full(shape, -128, dtype=np.int8)
        # Periodic, so that one tile serves every bone.
        self.lumps = _noise_tile(rng, 96, (4.5 / voxel_mm,) * 3)
        self.marrow = _marrow(rng, build.trabecular)

    def patient(self, name: str) -> Patient:
        hips = [self._hip_bone(side) for side in SIDES.values()]
        self._add_sacrum(hips)
        for block, distance in hips:
            self._lay(block, distance, ramp_voxels=2.0)
        self._add_vertebra(0)
        self._add_vertebra(1)
        self._add_soft_tissue()
        self._blow_gas()
        np.multiply(self.soft, 1 - self.bone, out=self.soft, where=self.bone > 0)
        landmarks = sacral_landmarks(self.build.sacrum, self.curve, self._leant)
        surface = Surface(self.depth, self.build.cortex_mm, _CORTICAL, self.marrow, _MARROW_MM)
        return Patient(self.soft, self.bone, self.voxel_mm, self._LOW_MM, landmarks, name, surface)

    # --- the grid ---

    def _block(self, low: Point, high: Point) -> _Block:
        """The part of the grid between two corners, in mm."""
        parts = []
        for axis, a, b in zip(self.axes, low, high, strict=True):
            first, last = np.searchsorted(axis, [a, b])
            parts.append(slice(int(first), int(last)))
        x, y, z = (axis[part] for axis, part in zip(self.axes, parts, strict=True))
        return _Block((parts[2], parts[1], parts[0]), x[None, None, :], y[None, :, None], z[:, None, None])

    def _upright_x(self, block: _Block) -> Volume:
        """x as if the pelvis lay straight on the table."""
        lean = self.build.shear_per_z * block.z + self.build.shear_per_y * block.y
        return np.asarray(block.x - lean, dtype=np.float32)

    def _leant(self, point: Point) -> Point:
        x, y, z = point
        return x + self.build.shear_per_z * z + self.build.shear_per_y * y, y, z

    def _tiled(self, tile: Volume, block: _Block, samples_per_voxel: float = 1.0) -> Volume:
        index = [
            (np.arange(part.start, part.stop) * samples_per_voxel).astype(int) % tile.shape[0] for part in block.where
        ]
        part: Volume = tile[np.ix_(*index)]
        return part

    def _lay(self, block: _Block, distance: Volume, ramp_voxels: float = 1.4) -> None:
        """Put a bone into the volumes: a shell of cortex over trabecular bone."""
        # A perfectly smooth surface would draw lines that no bone draws.
        distance = distance + 0.45 * self._tiled(self.lumps, block)
        steps = np.clip(distance * np.float32(-1 / DEPTH_STEP_MM), -128, 127).astype(np.int8)
        depth = self.depth[block.where]
        np.maximum(depth, steps, out=depth)
        # A soft edge: slanted plates would otherwise show their steps as stripes.
        ramp = np.float32(1 / (ramp_voxels * self.voxel_mm))
        inside = np.clip(0.5 - distance * ramp, 0, 1)
        core = np.clip(0.5 - (distance + np.float32(self.build.cortex_mm)) * ramp, 0, 1)
        loose = self._tiled(self.marrow, block, self.voxel_mm / _MARROW_MM)
        share = core * loose + (inside - core) * np.float32(_CORTICAL)
        part = self.bone[block.where]
        np.maximum(part, share, out=part)

    # --- bones ---

    def _add_sacrum(self, hips: list[tuple[_Block, Volume]]) -> None:
        k = self.size
        block = self._block((-74 * k, -50 * k, -115 * k), (74 * k, 72 * k, 48 * k))
        p, s = (v[:, :, None] / k for v in self.curve.straight(block.y.ravel(), block.z.ravel()))
        x = self._upright_x(block) / k
        distance = sacrum_distance(x, p, s, self.build.sacrum) * np.float32(k)
        for hip_block, hip in hips:
            _cut_near(distance, block, hip, hip_block, _JOINT_MM)
        self._lay(block, distance)

    def _add_vertebra(self, above: int) -> None:
        """L5 (0) or L4 (1), along the lumbar lordosis."""
        k = self.size
        lean = radians(self.build.sacrum.slope_deg) * (0.55, 0.12)[above]
        way = radians(self.build.sacrum.slope_deg) * (0.72, 0.50)[above]
        _, y0, z0 = self.curve.bent(0, 0, 0)
        off = (23.5, 61.0)[above] * k
        y0, z0 = y0 - off * sin(way), z0 + off * cos(way)
        block = self._block((-52 * k, y0 - 28 * k, z0 - 40 * k), (52 * k, y0 + 80 * k, z0 + 40 * k))
        dy, dz = (block.y - y0) / k, (block.z - z0) / k
        p, h = dy * cos(lean) + dz * sin(lean), dz * cos(lean) - dy * sin(lean)
        distance = _vertebra_distance(self._upright_x(block) / k, p, h) * np.float32(k)
        self._lay(block, distance)

    def _hip_bone(self, side: float) -> tuple[_Block, Volume]:
        """One hip bone with its femur: a bent plate cut out by its lateral outline, the socket, two rami."""
        k = self.size
        wide = self.build.sacrum.wing_widths[0 if side > 0 else 1]
        low, high = sorted((side * 2 * k, side * 150 * k))
        block = self._block((low, -105 * k, -150 * k), (high, 78 * k, 95 * k))
        # Smooth shapes of centimetres: every other sample in each direction says all.
        rough = _thinned(block)
        x = self._upright_x(rough) * (side / (k * wide))
        y, z = rough.y / k, rough.z / k
        edge = outline(_ILIUM_OUTLINE_YZ, y.ravel(), z.ravel())[:, :, None]
        # The plate: nearly sagittal at the joint, flaring out and forwards towards the crest.
        flare = np.clip((z + 55) / 130, 0, 1)
        flare = flare * flare * (3 - 2 * flare)
        ahead = 46 - y
        spread = 0.40 + 0.45 * flare
        # The joint's own plane runs inwards on its way down.
        plate_x = 50 + 0.13 * np.clip(z, -60, 30) + ahead * spread - 9 * np.sin(np.clip(ahead / 115, 0, 1) * pi)
        at_joint = np.exp(-(((y - 26) / 24) ** 2) - ((z + 12) / 34) ** 2)
        half = 2.3 + 3.6 * at_joint + 2.6 * np.exp(-((edge / 8) ** 2)) + 6.0 * np.clip((-z - 25) / 35, 0, 1)
        plate = common(np.abs(x - plate_x) / np.sqrt(1 + spread**2) - half, edge, 4.0)

        hx, hy, hz = 88.0, -38.0, -84.0
        to_hip = np.sqrt((x - hx) ** 2 + (y - hy) ** 2 + (z - hz) ** 2)
        socket = common(to_hip - 33, 0.8 * (x - hx) - 0.6 * (z - hz) - 6, 6.0)
        bone = joined(plate, socket, 10.0)
        for start, end, radius in (
            ((75, -55, -94), (30, -90, -114), 8.0),
            ((30, -90, -114), (12, -94, -124), 9.0),
            ((84, -22, -100), (70, 5, -140), 12.0),
        ):
            bone = joined(bone, capsule(x, y, z, start, end, radius), 6.0)
        bone = common(bone, 27.5 - to_hip, 2.0)
        femur = joined(to_hip - 24, capsule(x, y, z, (hx, hy, hz), (128, -32, -114), 15), 8.0)
        distance = np.asarray(np.minimum(bone, femur) * np.float32(k), dtype=np.float32)
        shape = tuple(part.stop - part.start for part in block.where)
        return block, _refilled(distance, shape)

    # --- soft tissue ---

    def _add_soft_tissue(self) -> None:
        """Skin, fat and muscle within a rounded outline, slice by slice."""
        b = self.build
        x, y, heights = self.axes
        shape = (len(heights) // 9 + 2, len(y) // 9 + 2, len(x) // 9 + 2)
        coarse = self.rng.standard_normal(shape, dtype=np.float32)
        planes = [cv2.resize(plane, (len(x), len(y)), interpolation=cv2.INTER_CUBIC) for plane in coarse]
        middle = 78.0 + b.fat_mm / 2 - b.half_depth_mm
        v = ((y - middle) / b.half_depth_mm)[:, None] ** 2
        for i, z in enumerate(heights.tolist()):
            at, t = divmod(i / 9, 1.0)
            noise = planes[int(at)] * np.float32(1 - t) + planes[int(at) + 1] * np.float32(t)
            hips = 1 + 0.05 * cos(pi * min(max((z + 60) / 120, -1), 1))
            u = (x / (b.half_width_mm * hips))[None, :] ** 2
            # Between an ellipse and a rectangle: flat where the patient lies, round at the flanks.
            depth = (1 - np.sqrt(np.sqrt(u * u + v * v + 1.1 * u * v))) * b.half_depth_mm
            muscle = np.clip((depth - b.fat_mm - 5 * noise) / 3, 0, 1)
            skin = np.clip(0.5 - (depth - 2) / self.voxel_mm, 0, 1)
            tissue = 0.87 + 0.02 * noise + 0.15 * np.maximum(muscle, skin)
            self.soft[i] = np.clip(0.5 + depth / self.voxel_mm, 0, 1) * tissue

    def _blow_gas(self) -> None:
        """Gas in the bowel before the sacrum: chains of lumpy bubbles, their edges softened by the wall."""
        k = self.size
        for _ in range(self.build.gas_pockets):
            centre = self.rng.uniform((-75, -105, -70), (75, -62, 85)) * k
            heading = self.rng.normal(0, 1, 3) * (1, 0.4, 1)
            for _ in range(int(self.rng.integers(1, 6))):
                self._blow_bubble(centre.tolist(), self.rng.uniform((5, 4, 5), (15, 11, 13)).tolist())
                heading = heading + self.rng.normal(0, 0.6, 3) * (1, 0.4, 1)
                centre = centre + 13 * heading / np.linalg.norm(heading)

    def _blow_bubble(self, centre: list[float], radii: list[float]) -> None:
        reach = 1.8 * max(radii)
        cx, cy, cz = centre
        block = self._block((cx - reach, cy - reach, cz - reach), (cx + reach, cy + reach, cz + reach))
        r = ellipsoid(block.x, block.y, block.z, (cx, cy, cz), (radii[0], radii[1], radii[2]))
        wall = 1.6 * gaussian_filter(self._tiled(self.lumps, block), 1.0)
        self.soft[block.where] *= 1 - np.clip(0.5 - (r + wall) / (2.5 * self.voxel_mm), 0, 1)


def _vertebra_distance(x: Volume, p: Volume, h: Volume) -> Volume:
    """Signed distance of a lumbar vertebra: p backwards, h upwards from the body's centre."""
    ax = np.abs(x)
    waist = 1 - 0.13 * np.exp(-((h / 8) ** 2))
    r = np.sqrt((ax / (25.5 * waist)) ** 2 + (p / (17.5 * waist)) ** 2)
    # A little taller in front, endplates slightly hollow.
    height = 14.0 - 0.09 * p - 1.3 * np.clip(1 - r, 0, 1)
    bone = common((r - 1) * 18, np.abs(h) - height, 2.5)
    for sign in SIDES.values():
        for start, end, radius in (
            ((15 * sign, 12, 4), (18 * sign, 25, 3), 5.0),  # pedicle
            ((18 * sign, 26, 3), (40 * sign, 31, 7), 3.4),  # transverse process
            ((17 * sign, 27, 2), (18 * sign, 33, 13), 4.8),  # upper articular process
            ((15 * sign, 32, -2), (17 * sign, 36, -17), 4.8),  # lower articular process
            ((16 * sign, 29, 0), (3 * sign, 40, -8), 4.2),  # lamina
        ):
            bone = joined(bone, capsule(x, p, h, start, end, radius), 4.0)
    return joined(bone, ellipsoid(x, p, h, (0, 52, -11), (3.4, 15, 9)), 4.0)


_ILIUM_OUTLINE_YZ = np.array(
    [
        (58, 14), (44, 42), (20, 64), (-8, 72), (-38, 62), (-62, 40), (-74, 16), (-66, 4), (-58, -14), (-64, -32),
        (-60, -46), (-66, -66), (-60, -92), (-40, -106), (-14, -104), (2, -88), (6, -66), (14, -50), (28, -44),
        (42, -36), (44, -22), (56, -8),
    ],
    dtype=np.float64,
)  # fmt: skip
"""The hip bone's upper part seen from the side, (y, z) in mm: crest, front spines, socket, notch, rear spines."""


def _cut_near(distance: Volume, block: _Block, other: Volume, other_block: _Block, gap_mm: float) -> None:
    """Cut away, in place, what lies within gap_mm of another bone."""
    here, there = [], []
    for a, b in zip(block.where, other_block.where, strict=True):
        first, last = max(a.start, b.start), min(a.stop, b.stop)
        here.append(slice(first - a.start, last - a.start))
        there.append(slice(first - b.start, last - b.start))
    part = distance[tuple(here)]
    np.maximum(part, gap_mm - other[tuple(there)], out=part)


def _marrow(rng: np.random.Generator, mean: float) -> Volume:
    """Periodic trabecular bone, as bone shares: strands that run along the body, denser and looser parts."""
    strands = _noise_tile(rng, _MARROW_SIDE, (3.0, 0.8, 0.8))
    parts = _noise_tile(rng, _MARROW_SIDE, (9.0, 6.0, 6.0))
    return np.clip(mean * (1 + 0.55 * strands + 0.35 * parts), 0.03, 0.7).astype(np.float32)


def _noise_tile(rng: np.random.Generator, side: int, sigma: tuple[float, float, float]) -> Volume:
    """Periodic smooth noise of unit variance, shape (side, side, side); ``sigma`` along (z, y, x), in samples."""
    noise = fft.rfftn(rng.standard_normal((side, side, side), dtype=np.float32))
    for axis, width in enumerate(sigma):
        frequency = (fft.rfftfreq if axis == 2 else fft.fftfreq)(side)
        falls = np.exp(-2 * (pi * width * frequency) ** 2).astype(np.float32)
        noise *= falls.reshape([-1 if i == axis else 1 for i in range(3)])
    tile = fft.irfftn(noise, (side, side, side))
    return np.asarray((tile - tile.mean()) / tile.std(), dtype=np.float32)
