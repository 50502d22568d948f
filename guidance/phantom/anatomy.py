"""A pelvis drawn from a seed: sacrum, L4 and L5, hip bones, the soft tissue around them and gas in the bowel.

Bones are signed distances (mm, negative inside) joined by minimum and cut by maximum; a cortical shell over trabecular
bone follows from the distance. The sacrum is modelled straight, in coordinates (x, p, s): s runs down its axis from
the S1 endplate, p points to its back; then it is bent along the kyphotic curve of its midsagittal plane. Sizes are
those of the field's notes for the foramina and of adult anatomy otherwise (H. Gray, Anatomy of the Human Body, 1918).

What it misses: vessels, the muscles' outlines, ligaments, facet joints as joints, age-related spurs, fractures.
"""

from dataclasses import dataclass
from math import cos, radians, sin

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from guidance.phantom.patient import Landmarks, Patient, Points, Volume

LEVELS = ("S1", "S2", "S3", "S4")
SIDES = {"L": 1.0, "R": -1.0}

_LEVEL_END_MM = np.array([0.0, 31.0, 55.0, 75.0, 92.0, 107.0])
"""Where each sacral body begins and ends along the axis, S1's endplate first."""

_BODY_WIDTH_MM = np.array([51.0, 38.0, 31.0, 27.0, 23.0, 14.0])
_BODY_DEPTH_MM = np.array([33.0, 24.0, 18.0, 15.0, 12.0, 8.0])
_WING_HALF_WIDTH_MM = np.array([57.0, 54.0, 45.0, 36.0, 29.0, 17.0])
_CANAL_HALF_WIDTH_MM = np.array([14.5, 12.0, 9.0, 7.0, 5.0, 3.0])
_CANAL_HALF_DEPTH_MM = np.array([7.0, 6.0, 4.5, 3.5, 2.5, 1.5])

_FORAMEN_X_MM = np.array([26.0, 22.5, 19.0, 16.0])
_FORAMEN_S_MM = np.array([29.0, 53.0, 73.5, 90.5])
_ANTERIOR_OPENING_MM = np.array([[13.0, 12.2], [12.9, 13.1], [10.5, 10.0], [8.5, 8.0]])
_POSTERIOR_OPENING_MM = np.array([[10.4, 7.7], [7.1, 7.3], [6.0, 6.0], [5.0, 5.0]])
_OPENING_SHIFT_MM = np.array([[10.0, 6.0], [10.0, 6.0], [7.5, 4.5], [6.0, 3.5]])
"""How far the anterior opening projects lateral and superior of the posterior one; S3 and S4 by proportion."""


@dataclass(frozen=True, slots=True)
class Build:
    """What varies from patient to patient."""

    size: float
    slope_deg: float
    kyphosis_deg: float
    wing_widths: tuple[float, float]
    foramen_shifts_mm: tuple[tuple[float, float, float, float], tuple[float, float, float, float]]
    shear_per_z: float
    shear_per_y: float
    trabecular: float
    cortex_mm: float
    half_width_mm: float
    half_depth_mm: float
    fat_mm: float
    gas_pockets: int

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> "Build":
        """A patient at random: size ±10 %, bone from osteoporotic to sound, lean to stout."""
        shifts = rng.normal(0, 0.9, (2, 4)).clip(-1.8, 1.8)
        return cls(
            size=float(rng.uniform(0.9, 1.1)),
            slope_deg=float(rng.uniform(32, 46)),
            kyphosis_deg=float(rng.uniform(50, 75)),
            wing_widths=(float(rng.uniform(0.96, 1.04)), float(rng.uniform(0.96, 1.04))),
            foramen_shifts_mm=(tuple(map(float, shifts[0])), tuple(map(float, shifts[1]))),  # type: ignore[arg-type]
            shear_per_z=float(rng.normal(0, 0.02)),
            shear_per_y=float(rng.normal(0, 0.02)),
            trabecular=float(rng.uniform(0.11, 0.26)),
            cortex_mm=float(rng.uniform(1.1, 1.9)),
            half_width_mm=float(rng.uniform(158, 190)),
            half_depth_mm=float(rng.uniform(92, 118)),
            fat_mm=float(rng.uniform(12, 30)),
            gas_pockets=int(rng.integers(3, 9)),
        )


class SacralCurve:
    """The midsagittal curve of a sacrum's axis, and the way from straight to bent coordinates and back."""

    def __init__(self, size: float, slope_deg: float, kyphosis_deg: float) -> None:
        self.size = size
        length = _LEVEL_END_MM[-1] * size
        self._s = np.arange(-60.0, length + 40.0, 0.25)
        share = np.clip(self._s / length, 0, 1.1)
        # Most of the curve lies below S2: S1 and S2 are nearly in line.
        angle = np.radians(slope_deg - kyphosis_deg * share**1.5)
        step = np.gradient(self._s)
        self._y, self._z = np.cumsum(np.sin(angle) * step), -np.cumsum(np.cos(angle) * step)
        self._angle = angle
        middle_s1 = _LEVEL_END_MM[1] * size / 2
        self._y -= np.interp(middle_s1, self._s, self._y)
        self._z -= np.interp(middle_s1, self._s, self._z)
        self._tree = cKDTree(np.column_stack([self._y, self._z]))

    def bent(self, x: float, p: float, s: float) -> tuple[float, float, float]:
        """World (x, y, z) of straight coordinates in mm at this sacrum's size."""
        angle = float(np.interp(s, self._s, self._angle))
        y, z = float(np.interp(s, self._s, self._y)), float(np.interp(s, self._s, self._z))
        return x, y + p * cos(angle), z + p * sin(angle)

    def straight(self, y: NDArray[np.float32], z: NDArray[np.float32]) -> tuple[Volume, Volume]:
        """p and s, each (len(z), len(y)), of the points of a midsagittal grid."""
        grid = np.stack(np.meshgrid(y, z), axis=-1)
        _, i = self._tree.query(grid.reshape(-1, 2))
        i = i.reshape(grid.shape[:2])
        dy, dz = grid[..., 0] - self._y[i], grid[..., 1] - self._z[i]
        p = dy * np.cos(self._angle[i]) + dz * np.sin(self._angle[i])
        along = dy * np.sin(self._angle[i]) - dz * np.cos(self._angle[i])
        return p.astype(np.float32), (self._s[i] + along).astype(np.float32)


def make_patient(seed: int, voxel_mm: float = 1.0, build: Build | None = None) -> Patient:
    """A patient, the same for the same seed and voxel size. ``build`` overrides what the seed would draw."""
    rng = np.random.default_rng(seed)
    drawn = Build.drawn(rng)
    return _Sculptor(build or drawn, voxel_mm, rng).patient(f"phantom, seed {seed}")


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """A part of the grid with its world coordinates, each shaped to broadcast over (nz, ny, nx)."""

    where: tuple[slice, slice, slice]
    x: Volume
    y: Volume
    z: Volume


class _Sculptor:
    """Builds one patient's volumes bone by bone."""

    def __init__(self, build: Build, voxel_mm: float, rng: np.random.Generator) -> None:
        self.build = build
        self.voxel_mm = voxel_mm
        self.rng = rng
        self.curve = SacralCurve(build.size, build.slope_deg, build.kyphosis_deg)
        self.low = np.array([-195.0, -165.0, -150.0])
        high = np.array([195.0, 105.0, 125.0])
        self.count = np.ceil((high - self.low) / voxel_mm).astype(int) + 1
        nx, ny, nz = self.count
        self.bone = np.zeros((nz, ny, nx), dtype=np.float32)
        # Marrow is as uneven as the bone around it: two scales of noise, periodic so that one tile serves all.
        self.grain = _noise_tile(rng, 96, 1.3 / voxel_mm) + 0.7 * _noise_tile(rng, 96, 5.0 / voxel_mm)

    def patient(self, name: str) -> Patient:
        hips = [self._hip_bone(side) for side in SIDES.values()]
        self._add_sacrum(hips)
        for block, distance in hips:
            self._lay(block, distance, self.build.cortex_mm * 1.1, 1.0)
        self._add_vertebra(8.0)
        self._add_vertebra(48.0 * self.build.size)
        soft = self._soft_tissue()
        np.multiply(soft, 1 - self.bone, out=soft, where=self.bone > 0)
        patient = Patient(soft, self.bone, self.voxel_mm, tuple(map(float, self.low)), self._landmarks(), name)  # type: ignore[arg-type]
        return patient

    # --- the grid -----------------------------------------------------------------------------------------------

    def _block(self, low: tuple[float, float, float], high: tuple[float, float, float]) -> _Block:
        first = np.clip(np.floor((np.array(low) - self.low) / self.voxel_mm).astype(int), 0, self.count)
        last = np.clip(np.ceil((np.array(high) - self.low) / self.voxel_mm).astype(int), 0, self.count)
        axes = [
            (self.low[i] + self.voxel_mm * np.arange(first[i], last[i])).astype(np.float32) for i in range(3)
        ]
        where = tuple(slice(int(first[i]), int(last[i])) for i in (2, 1, 0))
        x, y, z = axes
        return _Block(where, x[None, None, :], y[None, :, None], z[:, None, None])  # type: ignore[arg-type]

    def _unsheared(self, block: _Block) -> Volume:
        """x as if the pelvis stood straight: a little obliquity and rotation of the patient on the table."""
        return block.x - self.build.shear_per_z * block.z - self.build.shear_per_y * block.y

    def _sheared(self, point: tuple[float, float, float]) -> tuple[float, float, float]:
        x, y, z = point
        return x + self.build.shear_per_z * z + self.build.shear_per_y * y, y, z

    def _lay(self, block: _Block, distance: Volume, cortex_mm: float | Volume, loose: float) -> None:
        """Put a bone into the volume: a shell of cortex over trabecular bone."""
        inside = np.clip(0.5 - distance / self.voxel_mm, 0, 1)
        core = np.clip(0.5 - (distance + cortex_mm) / self.voxel_mm, 0, 1)
        tile = self.grain
        index = [np.arange(s.start, s.stop) % tile.shape[0] for s in block.where]
        noise = tile[np.ix_(*index)]
        trabecular = np.clip(self.build.trabecular * loose * (1 + 0.38 * noise), 0.05, 0.6)
        # The subchondral half of a body's marrow is denser than its middle.
        share = core * trabecular + (inside - core) * np.float32(0.85)
        part = self.bone[block.where]
        np.maximum(part, share, out=part)

    # --- the sacrum ---------------------------------------------------------------------------------------------

    def _add_sacrum(self, hips: list[tuple[_Block, Volume]]) -> None:
        k = self.build.size
        block = self._block((-72 * k, -50 * k, -115 * k), (72 * k, 68 * k, 35 * k))
        x = self._unsheared(block)
        p2, s2 = self.curve.straight(block.y.ravel(), block.z.ravel())
        p, s = p2[:, :, None] / k, s2[:, :, None] / k
        x = x / np.float32(k)
        distance = _sacrum_distance(x, p, s, self.build) * np.float32(k)
        for hip_block, hip in hips:
            # The SI joint: whatever would lie within the joint's width of the hip bone is cut away.
            _cut_near(distance, block, hip, hip_block, 2.6)
        # Bodies fuse late: what is left of the discs shows as dense lines between them.
        cortex = self.build.cortex_mm * (1 + 0.35 * np.exp(-((np.abs(p + 12) / 9) ** 2)))
        self._lay(block, distance, cortex, 1.0)
        self._add_endplates(block, x, p, s, distance)

    def _add_endplates(self, block: _Block, x: Volume, p: Volume, s: Volume, distance: Volume) -> None:
        """The remnants of the discs between the fused bodies: two dense plates around a looser gap."""
        part = self.bone[block.where]
        for end in _LEVEL_END_MM[1:5]:
            width = np.interp(end, _LEVEL_END_MM, _BODY_WIDTH_MM) / 2
            depth = np.interp(end, _LEVEL_END_MM, _BODY_DEPTH_MM) / 2
            within = ((x / width) ** 2 + (p / depth) ** 2 < 1) & (distance < -0.5)
            off = np.abs(np.abs(s - end) - 1.8)
            plate = np.clip(1.2 - off / (self.voxel_mm * 0.8), 0, 1) * np.float32(0.55)
            np.maximum(part, plate * within, out=part)

    # --- vertebrae ----------------------------------------------------------------------------------------------

    def _add_vertebra(self, gap_mm: float) -> None:
        """A lumbar vertebra whose lower endplate lies gap_mm above the sacrum's, along the lumbar lordosis."""
        k = self.build.size
        tilt = radians(self.build.slope_deg * (0.55 if gap_mm < 20 else 0.1))
        _, y0, z0 = self.curve.bent(0, -1.0 * k, -4.0 * k)
        centre_gap = gap_mm - 4 + 15 * k
        y0 -= centre_gap * sin(tilt * 1.35)
        z0 += centre_gap * cos(tilt * 1.1)
        block = self._block((-52 * k, y0 - 26 * k, z0 - 34 * k), (52 * k, y0 + 75 * k, z0 + 34 * k))
        x = self._unsheared(block) / np.float32(k)
        dy, dz = (block.y - np.float32(y0)) / k, (block.z - np.float32(z0)) / k
        p = dy * np.float32(cos(tilt)) + dz * np.float32(sin(tilt))
        h = dz * np.float32(cos(tilt)) - dy * np.float32(sin(tilt))
        self._lay(block, _vertebra_distance(x, p, h) * np.float32(k), self.build.cortex_mm, 1.0)

    # --- hip bones ----------------------------------------------------------------------------------------------

    def _hip_bone(self, side: float) -> tuple[_Block, Volume]:
        """Signed distance of one hip bone: a bent plate cut out by its lateral outline, the socket and two rami."""
        k = self.build.size
        wide = self.build.wing_widths[0 if side > 0 else 1]
        low, high = sorted((side * 5 * k, side * 150 * k))
        block = self._block((low, -105 * k, -150 * k), (high, 78 * k, 95 * k))
        x = self._unsheared(block) * np.float32(side) / np.float32(k * wide)
        y, z = block.y / np.float32(k), block.z / np.float32(k)
        outline = _outline_distance(_ILIUM_OUTLINE_YZ, block.y.ravel() / k, block.z.ravel() / k)[:, :, None]
        # The plate: close to the sagittal plane at the joint, flaring out and forwards towards the crest.
        flare = np.clip((z + 55) / 130, 0, 1)
        ahead = np.clip(46 - y, 0, None)
        plate_x = 50 + ahead * (0.42 + 0.42 * flare) - 9 * np.sin(np.clip(ahead / 115, 0, 1) * np.float32(np.pi)) + 7 * flare
        lean = 1 / np.sqrt(np.float32(1) + (0.42 + 0.42 * flare) ** 2)
        near_joint = np.exp(-(((y - 30) / 22) ** 2) - ((z + 15) / 30) ** 2)
        near_edge = np.exp(-((outline / 9) ** 2))
        low_part = np.clip((-z - 25) / 35, 0, 1)
        half = 2.6 + 3.2 * near_joint + 3.0 * near_edge + 6.0 * low_part
        plate = _both(np.abs(x - plate_x) * lean - half, outline)
        hip_at = (88.0, -38.0, -82.0)
        to_hip = np.sqrt((x - hip_at[0]) ** 2 + (y - hip_at[1]) ** 2 + (z - hip_at[2]) ** 2)
        socket = np.maximum(to_hip - 33, (x - hip_at[0]) * 0.75 - (z - hip_at[2]) * 0.66 - 8)
        bone = _joined(plate, socket, 6.0)
        for start, end, radius in (
            ((75, -55, -92), (28, -92, -112), 8.5),
            ((28, -92, -112), (8, -95, -122), 9.5),
            ((84, -22, -100), (70, 5, -140), 12.0),
        ):
            bone = _joined(bone, _capsule(x, y, z, start, end, radius), 4.0)
        bone = np.maximum(bone, 27 - to_hip)
        head = _joined(to_hip - 24, _capsule(x, y, z, hip_at, (128, -32, -112), 15), 5.0)
        return block, np.minimum(bone, head) * np.float32(k)

    # --- soft tissue --------------------------------------------------------------------------------------------

    def _soft_tissue(self) -> Volume:
        nx, ny, nz = self.count
        whole = self._block(tuple(self.low), tuple(self.low + self.count * self.voxel_mm))  # type: ignore[arg-type]
        b = self.build
        back_mm = 78.0 + b.fat_mm * 0.5
        middle = back_mm - b.half_depth_mm
        hips = 1 + 0.05 * np.cos(np.clip((whole.z + 60) / 120, -1, 1) * np.float32(np.pi))
        u, v = whole.x / (b.half_width_mm * hips), (whole.y - np.float32(middle)) / b.half_depth_mm
        # A squircle: flat where the patient lies, round at the flanks.
        r = np.sqrt(np.sqrt(u**4 + v**4 + np.float32(1.1) * u * u * v * v))
        depth = (1 - r) * b.half_depth_mm
        noise = self._wide_noise(nz, ny, nx)
        inside = np.clip(0.5 + depth / self.voxel_mm, 0, 1)
        muscle = np.clip((depth - b.fat_mm - 5 * noise) / 3, 0, 1)
        skin = np.clip(0.5 - (depth - 2) / self.voxel_mm, 0, 1)
        soft = inside * (0.87 + 0.02 * noise + 0.15 * np.maximum(muscle, skin))
        self._blow_gas(soft)
        return np.ascontiguousarray(soft, dtype=np.float32)

    def _wide_noise(self, nz: int, ny: int, nx: int) -> Volume:
        """Smooth noise over the whole body, about unit variance, correlated over 1 to 2 cm."""
        coarse = self.rng.standard_normal((nz // 9 + 2, ny // 9 + 2, nx // 9 + 2)).astype(np.float32)
        planes = [cv2.resize(plane, (nx, ny), interpolation=cv2.INTER_CUBIC) for plane in coarse]
        at = np.linspace(0, len(planes) - 1.001, nz)
        return np.stack(
            [planes[int(t)] * np.float32(1 - t % 1) + planes[int(t) + 1] * np.float32(t % 1) for t in at]
        )

    def _blow_gas(self, soft: Volume) -> None:
        """Pockets of gas in the bowel before the sacrum: lumps of random shape, edge softened by the wall."""
        k = self.build.size
        for _ in range(self.build.gas_pockets):
            centre = (
                float(self.rng.normal(0, 45)) * k,
                float(self.rng.uniform(-110, -62)) * k,
                float(self.rng.uniform(-75, 85)) * k,
            )
            radii = self.rng.uniform(7, 20, 3) * np.array([1.2, 0.8, 1.0])
            reach = 2.0 * radii.max()
            block = self._block(tuple(c - reach for c in centre), tuple(c + reach for c in centre))  # type: ignore[arg-type]
            shape = np.broadcast_shapes(block.x.shape, block.y.shape, block.z.shape)
            if min(shape) < 2:
                continue
            lumps = gaussian_filter(self.rng.standard_normal(shape, dtype=np.float32), 6.0 / self.voxel_mm)
            lumps /= max(float(lumps.std()), 1e-6)
            r = np.sqrt(
                sum(((axis - c) / radius) ** 2 for axis, c, radius in zip((block.x, block.y, block.z), centre, radii, strict=True))
            )
            air = np.clip((1.0 - r + 0.28 * lumps) * 6 / self.voxel_mm, 0, 1)
            soft[block.where] *= 1 - air

    # --- landmarks ----------------------------------------------------------------------------------------------

    def _landmarks(self) -> Landmarks:
        return sacral_landmarks(self.build, self.curve, self._sheared)


def sacral_landmarks(build: Build, curve: SacralCurve, placed=lambda point: point) -> Landmarks:  # type: ignore[no-untyped-def]
    """The landmarks of a sacrum of this build; ``placed`` moves each point from the model to the patient."""
    k = build.size

    def world(points: list[tuple[float, float, float]]) -> Points:
        return np.array([placed(curve.bent(x * k, p * k, s * k)) for x, p, s in points])

    foramina, roots, bodies, alae, entries = {}, {}, {}, {}, {}
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    for side, sign in SIDES.items():
        for i, level in enumerate(LEVELS):
            x, p, s = _anterior_opening(i, sign, build)
            wide, high = _ANTERIOR_OPENING_MM[i] / 2
            foramina[level + side] = world([(x + wide * np.cos(t), p, s + high * np.sin(t)) for t in turn])
            canal_x = 0.45 * float(np.interp(s, _LEVEL_END_MM, _CANAL_HALF_WIDTH_MM)) * sign
            # Down in the canal, out through the foramen and on along the front of the wing.
            roots[level + side] = world(
                [
                    (canal_x, _canal_p(s - 26), s - 26),
                    (canal_x * 1.3, _canal_p(s - 12), s - 12),
                    (0.5 * (canal_x * 1.6 + x), 0.5 * (_canal_p(s) + p), s - 4),
                    (x, p, s),
                    (x + 4 * sign, p - 5, s + 9),
                    (x + 7 * sign, p - 8, s + 22),
                ]
            )
        alae[side] = world([(38 * sign, 2, 17)])[0]
        entries[side] = world([(44 * sign, 32, 10)])[0]
    body_targets = {}
    for i, level in enumerate(("S1", "S2")):
        top, bottom = _LEVEL_END_MM[i] + 0.5, _LEVEL_END_MM[i + 1] - 2
        corners = []
        for front in (-1, 1):
            for x_sign, s in ((1, top), (-1, top), (-1, bottom), (1, bottom)):
                half_w = np.interp(s, _LEVEL_END_MM, _BODY_WIDTH_MM) / 2
                half_d = np.interp(s, _LEVEL_END_MM, _BODY_DEPTH_MM) / 2
                corners.append((x_sign * half_w, front * half_d, s))
        bodies[level] = world(corners)
        middle = (top + bottom) / 2
        body_targets[level] = world([(5, -4, middle)])[0]
        entries[level] = world([(27 - 4 * i, 26 - 3 * i, middle - 6)])[0]
    s_line = np.linspace(-25, 100, 30)
    canal = world([(0.0, _canal_p(s), s) for s in s_line])
    radius = np.interp(s_line, _LEVEL_END_MM, _CANAL_HALF_DEPTH_MM) * k
    cortex = world([(0.0, -float(np.interp(s, _LEVEL_END_MM, _BODY_DEPTH_MM)) / 2, s) for s in np.linspace(0, 105, 24)])
    veins = []
    for sign in SIDES.values():
        # A lateral sacral vein out of the wing's front, and one that leaves the S1 body and climbs beside the disc.
        veins.append(world([(34 * sign, 0, 20), (36 * sign, -9, 24), (33 * sign, -16, 33), (36 * sign, -17, 50), (30 * sign, -16, 68)]))
        veins.append(world([(8 * sign, -8, 16), (14 * sign, -19, 14), (24 * sign, -24, 4), (30 * sign, -27, -14), (27 * sign, -30, -32)]))
    return Landmarks(foramina, canal, radius, bodies, alae, body_targets, entries, roots, tuple(veins), cortex)


def _canal_p(s: float) -> float:
    """Where the canal's axis lies behind the curve at s."""
    depth = float(np.interp(s, _LEVEL_END_MM, _BODY_DEPTH_MM))
    return depth / 2 + float(np.interp(s, _LEVEL_END_MM, _CANAL_HALF_DEPTH_MM)) + 1.0


def _front_p(x: NDArray[np.float32] | float, s: NDArray[np.float32] | float) -> NDArray[np.float32]:
    """The front of the lateral mass: it recedes from the body's front towards the joint."""
    depth = np.interp(s, _LEVEL_END_MM, _BODY_DEPTH_MM).astype(np.float32)
    return np.asarray(-0.36 * depth + 0.10 * np.abs(x) - 1.5, dtype=np.float32)


def _back_p(s: NDArray[np.float32]) -> NDArray[np.float32]:
    depth = np.interp(s, _LEVEL_END_MM, _BODY_DEPTH_MM)
    return np.asarray(depth / 2 + 2 * np.interp(s, _LEVEL_END_MM, _CANAL_HALF_DEPTH_MM) + 5, dtype=np.float32)


def _anterior_opening(level: int, sign: float, build: Build) -> tuple[float, float, float]:
    """Centre of an anterior sacral foramen in straight coordinates."""
    shift = build.foramen_shifts_mm[0 if sign > 0 else 1][level]
    x = float(_FORAMEN_X_MM[level]) + 0.6 * shift
    s = float(_FORAMEN_S_MM[level]) + shift
    return sign * x, float(_front_p(x, s)), s


def _sacrum_distance(x: Volume, p: Volume, s: Volume, build: Build) -> Volume:
    """Signed distance, in mm at size 1, of the sacrum in straight coordinates."""
    ax = np.abs(x)
    wing_scale = np.where(x > 0, np.float32(build.wing_widths[0]), np.float32(build.wing_widths[1]))

    def along(values: NDArray[np.float64]) -> Volume:
        return np.interp(s, _LEVEL_END_MM, values).astype(np.float32)

    half_w, half_d = along(_BODY_WIDTH_MM) / 2, along(_BODY_DEPTH_MM) / 2
    # Each body is waisted between its endplates.
    middles = (_LEVEL_END_MM[:-1] + _LEVEL_END_MM[1:]) / 2
    waist = sum(np.exp(-(((s - m) / 6.5) ** 2)) for m in middles) * np.float32(0.07)
    r = np.sqrt((ax / (half_w * (1 - waist))) ** 2 + (p / (half_d * (1 - waist))) ** 2)
    ends = np.maximum(-s, s - np.float32(_LEVEL_END_MM[-1]))
    body = _both((r - 1) * half_d, ends)

    wing_w = along(_WING_HALF_WIDTH_MM) * wing_scale
    front, back = _front_p(ax, s), _back_p(s)
    # The wing's upper surface falls away from the endplate, and its back slopes down to the joint.
    top = 1.5 + 0.20 * np.clip(ax - 22, 0, None) - s
    behind = p - (back - 4.5 - 0.10 * np.clip(ax - 20, 0, None))
    wing = _both(_both(ax - wing_w, front - p), _both(behind, np.maximum(top, ends)))
    solid = _joined(body, wing, 3.0)

    # Median crest with the tubercles that were spinous processes; the upper articular processes beside it.
    tubercles = sum(np.exp(-(((s - m - 4) / 5.5) ** 2)) for m in middles[:4])
    crest = _both(_both(ax - 2.6, p - back - 2 - 8 * tubercles * (1 - s / 140)), _both(back - 6 - p, np.maximum(4 - s, s - 88)))
    solid = _joined(solid, crest, 2.5)
    for sign in (1, -1):
        process = _capsule(x, p, s, (20 * sign, 24, 6), (21 * sign, 28, -9), 6.0)
        solid = _joined(solid, process, 3.0)

    canal_p = half_d + along(_CANAL_HALF_DEPTH_MM) + 1
    canal_w, canal_d = along(_CANAL_HALF_WIDTH_MM), along(_CANAL_HALF_DEPTH_MM)
    # Triangular in cross-section: wide before, narrow behind.
    narrowing = 1 - 0.35 * np.clip((p - canal_p) / canal_d, -1, 1)
    canal = (np.sqrt((ax / (canal_w * narrowing)) ** 2 + ((p - canal_p) / canal_d) ** 2) - 1) * canal_d
    solid = np.maximum(solid, -canal)
    for sign in (1.0, -1.0):
        for level in range(4):
            solid = _pierced(solid, x, p, s, level, sign, build)
    return solid


def _pierced(solid: Volume, x: Volume, p: Volume, s: Volume, level: int, sign: float, build: Build) -> Volume:
    """The sacrum with one foramen: a channel from its anterior to its posterior opening, joined to the canal."""
    fx, fp, fs = _anterior_opening(level, sign, build)
    lateral, superior = _OPENING_SHIFT_MM[level]
    back = float(_back_p(np.float32(fs))) - 3
    bx, bs = fx - sign * lateral, fs + superior
    way = np.clip((p - fp) / (back - fp), -0.4, 1.4)
    share = np.clip(way, 0, 1)
    width = _ANTERIOR_OPENING_MM[level] * (1 - share[..., None]) + _POSTERIOR_OPENING_MM[level] * share[..., None]
    cx, cs = fx + (bx - fx) * way, fs + (bs - fs) * way
    wide, high = width[..., 0] / 2, width[..., 1] / 2
    hole = (np.sqrt(((x - cx) / wide) ** 2 + ((s - cs) / high) ** 2) - 1) * np.minimum(wide, high)
    canal_at = (0.5 * sign * float(np.interp(fs, _LEVEL_END_MM, _CANAL_HALF_WIDTH_MM)), _canal_p(fs), fs - 3)
    middle = (fx - 0.35 * sign * lateral, fp + 0.4 * (back - fp), fs + 0.4 * superior)
    link = _capsule(x, p, s, canal_at, middle, 0.42 * float(_ANTERIOR_OPENING_MM[level][1]))
    return np.maximum(solid, -np.minimum(hole, link))


def _vertebra_distance(x: Volume, p: Volume, h: Volume) -> Volume:
    """Signed distance of a lumbar vertebra: p backwards, h upwards from the body's centre."""
    ax = np.abs(x)
    waist = 1 - 0.10 * np.exp(-((h / 8) ** 2))
    r = np.sqrt((ax / (25.5 * waist)) ** 2 + (p / (17.5 * waist)) ** 2)
    body = _both((r - 1) * 18, np.abs(h) - (14.0 - 0.09 * p))
    bone = body
    for sign in (1, -1):
        for start, end, radius in (
            ((15 * sign, 12, 4), (17 * sign, 28, 3), 6.0),  # pedicle
            ((17 * sign, 28, 3), (42 * sign, 30, 6), 4.2),  # transverse process
            ((16 * sign, 30, 16), (17 * sign, 32, -22), 6.0),  # articular processes
            ((16 * sign, 32, -2), (2 * sign, 42, -10), 4.5),  # lamina
        ):
            bone = _joined(bone, _capsule(x, p, h, start, end, radius), 3.0)
    spine = np.maximum(_both(ax - 3.0, np.abs(h + 11) - 9), np.abs(p - 54) - 15)
    return _joined(bone, spine, 2.5)


_ILIUM_OUTLINE_YZ = np.array(
    [
        (58, 14), (44, 42), (20, 64), (-8, 72), (-38, 62), (-62, 40), (-74, 16), (-66, 4), (-58, -14), (-64, -32),
        (-60, -46), (-66, -66), (-60, -92), (-40, -106), (-14, -104), (2, -88), (6, -66), (14, -50), (28, -44),
        (42, -36), (44, -22), (56, -8),
    ]  # fmt: skip
)
"""The hip bone's upper part as seen from the side: crest, both anterior spines, socket, notch, posterior spines."""


def _outline_distance(corners_yz: NDArray[np.generic], y: Volume, z: Volume) -> Volume:
    """Signed distance to a smooth closed outline over a grid, shape (len(z), len(y)); units of the grid."""
    step = float(y[1] - y[0])
    corners = np.asarray(corners_yz, dtype=np.float64)
    for _ in range(3):  # Chaikin's corner cutting
        ahead = np.roll(corners, -1, axis=0)
        corners = np.stack([0.75 * corners + 0.25 * ahead, 0.25 * corners + 0.75 * ahead], axis=1).reshape(-1, 2)
    pixels = ((corners - [y[0], z[0]]) / step * 16).round().astype(np.int32)
    mask = np.zeros((len(z), len(y)), dtype=np.uint8)
    cv2.fillPoly(mask, [pixels], 1, shift=4)
    outside = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
    inside = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    smooth: Volume = cv2.GaussianBlur(((outside - inside) * step).astype(np.float32), (0, 0), 1.0)
    return smooth


def _cut_near(distance: Volume, block: _Block, other: Volume, other_block: _Block, gap_mm: float) -> None:
    """Cut away, in place, what lies within gap_mm of another bone."""
    shared = [
        slice(max(a.start, b.start), max(a.start, b.start, min(a.stop, b.stop)))
        for a, b in zip(block.where, other_block.where, strict=True)
    ]
    here = tuple(slice(s.start - b.start, s.stop - b.start) for s, b in zip(shared, block.where, strict=True))
    there = tuple(slice(s.start - b.start, s.stop - b.start) for s, b in zip(shared, other_block.where, strict=True))
    np.maximum(distance[here], gap_mm - other[there], out=distance[here])


def _both(a: Volume, b: Volume) -> Volume:
    return np.maximum(a, b)


def _joined(a: Volume, b: Volume, blend_mm: float) -> Volume:
    """Union with a fillet (polynomial smooth minimum, I. Quilez, Smooth minimum, 2013)."""
    share = np.clip(1 - np.abs(a - b) / np.float32(blend_mm), 0, 1)
    return np.asarray(np.minimum(a, b) - share * share * np.float32(blend_mm / 4), dtype=np.float32)


def _capsule(
    x: Volume, y: Volume, z: Volume, start: tuple[float, float, float], end: tuple[float, float, float], radius: float
) -> Volume:
    """Signed distance to a rod with round ends."""
    e = np.array(end, dtype=np.float32) - np.array(start, dtype=np.float32)
    dx, dy, dz = x - np.float32(start[0]), y - np.float32(start[1]), z - np.float32(start[2])
    t = np.clip((dx * e[0] + dy * e[1] + dz * e[2]) / np.float32(e @ e), 0, 1)
    return np.asarray(
        np.sqrt((dx - t * e[0]) ** 2 + (dy - t * e[1]) ** 2 + (dz - t * e[2]) ** 2) - np.float32(radius), dtype=np.float32
    )


def _noise_tile(rng: np.random.Generator, side: int, sigma: float) -> Volume:
    """Periodic smooth noise, unit variance, shape (side, side, side)."""
    tile = gaussian_filter(rng.standard_normal((side, side, side), dtype=np.float32), sigma, mode="wrap")
    return np.asarray((tile - tile.mean()) / tile.std(), dtype=np.float32)
