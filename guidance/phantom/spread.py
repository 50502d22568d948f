"""What is injected: cement that grows through uneven bone and finds a way out, contrast that follows a root."""

import heapq
from copy import copy
from dataclasses import dataclass
from math import exp
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_closing, gaussian_filter, map_coordinates
from scipy.spatial import cKDTree

from guidance.phantom.carm import CArm, Vector
from guidance.phantom.patient import Landmarks, Patient, Points, Volume
from guidance.phantom.projector import Box, Shadow, clip_box, draw_grains, grains_box, grains_cm

Leak = Literal["foramen", "canal", "anterior", "vein"]

Course = Literal["root", "vein", "tissue", "canal", "layer", "skin"]
"""Where contrast goes that is injected at a foramen: along the root, or elsewhere."""

GRAIN_MM = 0.7
"""Side of a cement voxel."""

_REACH_VOXELS = 44
"""Half side of the grid in which cement can grow: 31 mm."""

_CORTEX = 0.55
"""Bone share above which cement does not pass."""

_LEAK_SHARE = 0.6
"""Part of what is injected that takes the leak once it is open: the way of least resistance."""


_LONGEST_RUN_MM = 75.0
"""A leak's way ends here: it holds some 3 mL, more than is ever injected."""


@dataclass(slots=True, eq=False)
class _Drawn:
    """What has been drawn of a deposit in one view so far."""

    carm: CArm
    picture: Volume
    voxels: int = 0
    box: Box = (0, 0, 0, 0)


class CementSpread:
    """Cement injected at a needle's tip, in voxels of ``GRAIN_MM``; it grows and never shrinks.

    Method: invasion (D. Wilkinson and J. F. Willemsen, Invasion percolation: a new form of percolation theory,
    1983): always the neighbour of least resistance is filled. Resistance is the trabecular bone's own unevenness plus
    random grain plus the distance from the tip, so that the deposit is compact with lobes; cortex and the outside are
    entered only when nothing else is left. Once ``leak_after_ml`` are in, part of each further injection runs along
    ``leak``: out of the nearest foramen along its root, into the canal, through the anterior cortex, or into
    the nearest vein as a run 1.5 to 3 mm wide. What it misses: pressure, setting, and cement pushed back up the needle.
    """

    def __init__(
        self,
        patient: Patient,
        tip_mm: Vector | tuple[float, float, float],
        seed: int,
        leak: Leak | None = None,
        leak_after_ml: float = 1.0,
    ) -> None:
        rng = np.random.default_rng(seed)
        self.tip_mm = np.asarray(tip_mm, dtype=np.float64)
        self.leak_after_ml = leak_after_ml
        self._asked_ml = 0.0
        side = 2 * _REACH_VOXELS + 1
        self._resistance = self._resistance_of_bone(patient, rng, side)
        # BaSO4 clumps in the powder, so a deposit is mottled.
        clumps = gaussian_filter(rng.standard_normal((side, side, side), dtype=np.float32), 1.2, mode="wrap")
        self._opacity = 1 + 0.22 * clumps / clumps.std()
        self._front: list[tuple[float, int, int, int]] = []
        self._seen: set[tuple[int, int, int]] = set()
        self._filled: set[tuple[int, int, int]] = set()
        self._order: list[tuple[int, int, int]] = []
        self._first = self._start()
        self._seen.add(self._first)
        self._front.append((0.0, *self._first))
        self._run = [] if leak is None else self._leak_run(leak_way(patient.landmarks, self.tip_mm, leak), leak, rng)
        self._run_at = 0
        self._owed = 0.0
        self._drawn: _Drawn | None = None

    def again(self) -> Self:
        """The same site before anything was injected; what never changes is shared with this one."""
        other = copy(self)
        other._asked_ml, other._run_at, other._owed, other._drawn = 0.0, 0, 0.0, None
        other._front, other._seen = [(0.0, *self._first)], {self._first}
        other._filled, other._order = set(), []
        return other

    @property
    def injected_ml(self) -> float:
        """Volume of the voxels filled so far."""
        return len(self._order) * GRAIN_MM**3 / 1000

    @property
    def leaked_ml(self) -> float:
        """The part of it that has left along the leak."""
        return self._run_at * GRAIN_MM**3 / 1000

    @property
    def points_mm(self) -> Points:
        """Centres of the filled voxels in the order of filling, shape (n, 3)."""
        return self.tip_mm + GRAIN_MM * np.array(self._order, dtype=np.float64).reshape(-1, 3)

    def run_mm(self, carm: CArm, hidden: NDArray[np.bool_] | None = None) -> float:
        """How far in a view the front of the leak lies from all cement that is not of the leak; 0 without a leak.

        ``hidden``: True on the view's pixels that show no cement; what of the leak lies there does not count.
        """
        leak = self._run[: self._run_at]
        body = set(self._order).difference(leak)
        if not leak or not body:
            return 0.0
        leak_px, body_px = (
            carm.project(self.tip_mm + GRAIN_MM * np.array(voxels, dtype=np.float64)) for voxels in (leak, sorted(body))
        )
        if hidden is not None:
            x, y = np.rint(leak_px).astype(int).clip(0, carm.side_px - 1).T
            leak_px = leak_px[~hidden[y, x]]
        if not len(leak_px):
            return 0.0
        return float(cKDTree(body_px).query(leak_px)[0].max()) * carm.mm_per_px

    def inject(self, ml: float) -> None:
        """Add ``ml`` of cement, to the nearest voxel of all that was ever asked for."""
        if ml < 0:
            raise ValueError(f"inject {ml:g} mL: expected 0 or more; cement cannot be drawn back")
        self._asked_ml += ml
        wanted = round(self._asked_ml * 1000 / GRAIN_MM**3)
        open_at = round(self.leak_after_ml * 1000 / GRAIN_MM**3)
        while len(self._order) < wanted:
            leaking = len(self._order) >= open_at and self._run_at < len(self._run)
            self._owed += _LEAK_SHARE if leaking else 0.0
            if leaking and self._owed >= 1:
                self._owed -= 1
                self._fill(self._run[self._run_at])
                self._run_at += 1
            else:
                self._grow()

    def cement_cm(self, carm: CArm) -> Shadow:
        """Its shadow: box and float32 patch of cement thickness in cm, mottled by up to a fifth.

        While the view stays the same only what is new is drawn.
        """
        if self._drawn is None or self._drawn.carm != carm:
            self._drawn = _Drawn(carm, np.zeros((carm.side_px, carm.side_px), dtype=np.float32))
        drawn = self._drawn
        fresh = np.array(self._order[drawn.voxels :], dtype=np.int64).reshape(-1, 3)
        if len(fresh):
            index = tuple(np.clip(fresh + _REACH_VOXELS, 0, 2 * _REACH_VOXELS).T)
            points_mm = self.tip_mm + GRAIN_MM * fresh
            draw_grains(drawn.picture, (0, 0), carm, points_mm, GRAIN_MM, self._opacity[index])
            drawn.box = _around(drawn.box, grains_box(carm, points_mm, GRAIN_MM))
            drawn.voxels += len(fresh)
        x0, y0, x1, y1 = drawn.box
        return drawn.box, drawn.picture[y0:y1, x0:x1].copy()

    def _resistance_of_bone(self, patient: Patient, rng: np.random.Generator, side: int) -> NDArray[np.float32]:
        offsets = GRAIN_MM * (np.arange(side) - _REACH_VOXELS)
        x, y, z = ((self.tip_mm[i] + offsets - patient.origin_mm[i]) / patient.voxel_mm for i in range(3))
        bone = map_coordinates(patient.bone, np.meshgrid(z, y, x, indexing="ij"), order=1, output=np.float32)
        bone = bone.transpose(2, 1, 0)
        # A marrow hole of a few millimetres is still inside the bone; a foramen is not.
        inside = binary_closing(bone > 0.06, iterations=2)
        fine = gaussian_filter(rng.standard_normal(bone.shape, dtype=np.float32), 1.0)
        lobes = gaussian_filter(rng.standard_normal(bone.shape, dtype=np.float32), 5.0)
        d = np.sqrt(sum(g**2 for g in np.meshgrid(offsets, offsets, offsets, indexing="ij", sparse=True)))
        uneven = 1.2 * fine / fine.std() + 2.2 * lobes / lobes.std() + 8 * (bone - 0.2)
        resistance = d + uneven
        resistance = resistance + np.where(bone > _CORTEX, 1e3, 0) + np.where(inside, 0, 1e4)
        return np.ascontiguousarray(resistance, dtype=np.float32)

    def _start(self) -> tuple[int, int, int]:
        """The free voxel nearest to the tip, as offsets from it."""
        free = np.argwhere(self._resistance < 500) - _REACH_VOXELS
        if len(free) == 0:
            return 0, 0, 0
        nearest = free[np.argmin((free**2).sum(axis=1))]
        return int(nearest[0]), int(nearest[1]), int(nearest[2])

    def _grow(self) -> None:
        while True:
            if not self._front:
                raise ValueError("the cement has filled all that can be reached; expected a smaller volume")
            _, i, j, k = heapq.heappop(self._front)
            for step in ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)):
                there = (i + step[0], j + step[1], k + step[2])
                if there not in self._seen and max(map(abs, there)) <= _REACH_VOXELS:
                    self._seen.add(there)
                    a, b, c = there
                    cost = float(self._resistance[a + _REACH_VOXELS, b + _REACH_VOXELS, c + _REACH_VOXELS])
                    heapq.heappush(self._front, (cost, *there))
            if (i, j, k) not in self._filled:
                self._fill((i, j, k))
                return

    def _fill(self, voxel: tuple[int, int, int]) -> None:
        self._filled.add(voxel)
        self._order.append(voxel)

    def _leak_run(self, way_mm: Points, leak: Leak, rng: np.random.Generator) -> list[tuple[int, int, int]]:
        """The voxels of the leak in the order in which it fills them."""
        slim = float(rng.uniform(0.75, 1.5))
        wide = {"vein": slim, "foramen": 3.8, "canal": 3.6, "anterior": 5.0}[leak]
        path, at = _resampled(way_mm, GRAIN_MM / 2)
        path, at = path[at < _LONGEST_RUN_MM], at[at < _LONGEST_RUN_MM]
        # A breach is narrow where it leaves the bone and pools behind it; a vein stays a vein.
        radius = np.clip(1.1 + 0.22 * (at - 0.35 * at[-1]), 1.1, wide) if leak != "vein" else np.full(len(at), wide)
        reach = int(np.ceil(radius.max() / GRAIN_MM)) + 1
        low, high = ((edge - self.tip_mm) / GRAIN_MM for edge in (path.min(axis=0), path.max(axis=0)))
        spans = [np.arange(round(a) - reach, round(b) + reach + 1) for a, b in zip(low, high, strict=True)]
        near = np.stack(np.meshgrid(*spans, indexing="ij"), axis=-1).reshape(-1, 3)
        distance, _ = cKDTree(path).query(self.tip_mm + GRAIN_MM * near, distance_upper_bound=reach * GRAIN_MM)
        near = near[np.isfinite(distance)]
        distance, i = cKDTree(path).query(self.tip_mm + GRAIN_MM * near)
        ragged = rng.normal(0, 0.25, len(near)) * (leak != "vein")
        within = distance <= radius[i] + ragged
        arrival = at[i] + 0.8 * distance + rng.normal(0, 0.4, len(near))
        chosen = np.flatnonzero(within)
        order = chosen[np.argsort(arrival[chosen], kind="stable")]
        return [(int(a), int(b), int(c)) for a, b, c in near[order]]


def leak_way(landmarks: Landmarks, tip_mm: Vector, leak: Leak) -> Points:
    """The line, shape (n, 3), on which cement injected at the tip would leave by this leak."""
    tip = np.asarray(tip_mm, dtype=np.float64)

    def from_tip(line: Points) -> Points:
        start = int(np.argmin(np.linalg.norm(line - tip, axis=1)))
        return np.vstack([tip, line[start:]])

    if leak == "foramen":
        name = min(landmarks.foramina, key=lambda f: float(np.linalg.norm(landmarks.foramina[f].mean(axis=0) - tip)))
        return np.vstack([tip, landmarks.foramina[name].mean(axis=0), landmarks.roots[name][-2:]])
    if leak == "canal":
        return from_tip(landmarks.canal_path_mm)
    if leak == "anterior":
        line = landmarks.anterior_cortex
        nearest = line[np.argmin(np.abs(line[:, 2] - tip[2]))]
        front = np.array([tip[0], nearest[1], nearest[2]])
        pool = np.array([[0.0, 0.0, 0.0], [0.0, -7.0, -3.0], [0.0, -9.0, -12.0]])
        return np.vstack([tip, front + pool])
    vein = min(landmarks.veins, key=lambda v: float(np.linalg.norm(v[0] - tip)))
    return np.vstack([tip, vein])


@dataclass(frozen=True, slots=True, eq=False)
class ContrastCloud:
    """Contrast medium at one moment: grains (n, 3) and how full of 200 mgI/mL solution each is (n,)."""

    points_mm: Points
    share: NDArray[np.float64]
    grain_mm: float

    @property
    def ml(self) -> float:
        """Volume of undiluted solution."""
        return float(self.share.sum() * self.grain_mm**3 / 1000)

    def iodine_cm(self, carm: CArm) -> Shadow:
        """Its shadow: box and float32 patch of thickness in cm of 200 mgI/mL solution."""
        return grains_cm(carm, self.points_mm, self.grain_mm, self.share)


class ContrastRun:
    """Contrast injected at a foramen: it runs both ways along the root's sheath and over the dura, then washes out.

    ``root``: "S1L" and so on. ``ml`` of 200 mgI/mL go in at ``ml_per_s``. The sheath is a tube of 2 to 8 mm with the
    nerve as a filling defect in it; what it cannot hold spreads in streaks over the canal's wall. Each grain fills
    when the front reaches it and then loses its contrast with the time constant ``washout_s``.

    ``into``: where it goes instead when the needle lies amiss: a vein that carries it off, a puddle in the tissue, a
    pool in the canal, a layer over the dura alone, or a puddle on the skin. What none of these holds is gone.
    """

    grain_mm = 0.8
    ml_per_s = 0.6

    def __init__(
        self,
        patient: Patient,
        root: str,
        ml: float,
        seed: int,
        washout_s: float = 40.0,
        into: Course = "root",
    ) -> None:
        if root not in patient.landmarks.roots:
            raise ValueError(f"root {root!r}: expected one of {', '.join(patient.landmarks.roots)}")
        rng = np.random.default_rng(seed)
        self.ml, self.washout_s = ml, washout_s
        marks = patient.landmarks
        self.line_mm, at = _resampled(marks.roots[root], 0.4)
        opening_mm = marks.foramina[root].mean(axis=0)
        sheath = 0
        match into:
            case "root":
                opening = float(at[np.argmin(np.linalg.norm(self.line_mm - opening_mm, axis=1))])
                tube, from_opening = self._sheath(self.line_mm, at, opening, rng)
                film, from_root = self._epidural_film(marks, self.line_mm[0], rng)
                points, arrival = np.vstack([tube, film]), np.concatenate([from_opening, from_root + opening])
                sheath = len(tube)
            case "vein":
                points, arrival = self._vein(marks, opening_mm, rng)
            case "tissue":
                points, arrival = self._puddle(opening_mm, rng)
            case "canal":
                points, arrival = self._pool(marks, self.line_mm[0])
            case "layer":
                points, arrival = self._epidural_film(marks, self.line_mm[0], rng)
            case "skin":
                points, arrival = self._blot(opening_mm, rng)
        order = np.argsort(arrival + rng.normal(0, 1.2, len(arrival)), kind="stable")
        share = np.clip(rng.normal(0.85, 0.1, len(points)), 0.3, 1.2)[order]
        filled_ml = np.cumsum(share) * self.grain_mm**3 / 1000
        holds = filled_ml <= ml
        self._points = points[order][holds]
        self._share = share[holds]
        self._filled_s = filled_ml[holds] / self.ml_per_s
        self._in_sheath = order[holds] < sheath

    def at(self, seconds: float) -> ContrastCloud:
        """The contrast ``seconds`` after the injection began; empty before it."""
        there = self._filled_s <= seconds
        # Nothing is washed out while fresh contrast still comes in behind the front.
        since = np.maximum(seconds - max(self.ml / self.ml_per_s, 0.0), 0.0)
        faded = exp(-float(since) / self.washout_s)
        return ContrastCloud(self._points[there], self._share[there] * faded, self.grain_mm)

    def filled_sheath(self, seconds: float) -> ContrastCloud:
        """What has been in the root's sheath so far, washed out or not; empty where contrast goes elsewhere."""
        there = self._in_sheath & (self._filled_s <= seconds)
        return ContrastCloud(self._points[there], self._share[there], self.grain_mm)

    def _sheath(
        self, line: Points, at: NDArray[np.float64], opening: float, rng: np.random.Generator
    ) -> tuple[Points, NDArray[np.float64]]:
        wobble = np.interp(at, np.linspace(0, at[-1], 8), rng.normal(0, 0.45, 8))
        # Widest at the ganglion in the foramen, slimmer along the root on either side.
        radius = np.clip(2.0 + 1.4 * np.exp(-(((at - opening + 3) / 7) ** 2)) + wobble, 1.0, 4.0)
        points = _lattice_near(line, self.grain_mm, 4.0)
        distance, i = cKDTree(line).query(points)
        within = (distance <= radius[i]) & (distance >= 0.42 * radius[i])
        return points[within], np.abs(at[i[within]] - opening)

    def _epidural_film(
        self, marks: Landmarks, start: Vector, rng: np.random.Generator
    ) -> tuple[Points, NDArray[np.float64]]:
        line, at = _resampled(marks.canal_path_mm, 0.5)
        radius = np.interp(at, np.linspace(0, at[-1], len(marks.canal_radius_mm)), marks.canal_radius_mm)
        points = _lattice_near(line, self.grain_mm, float(radius.max()))
        distance, i = cKDTree(line).query(points)
        film = np.abs(distance - 0.85 * radius[i]) < 0.7
        # It keeps to the root's side and runs further along the canal than around it.
        points, along = points[film], at[i[film]]
        home = at[np.argmin(np.linalg.norm(line - start, axis=1))]
        around = np.abs(points[:, 0] - start[0])
        streaks = np.sin(along / 3.1 + rng.uniform(0, 6)) + rng.normal(0, 0.15, len(points))
        kept = streaks > -0.4
        return points[kept], (0.7 * np.abs(along - home) + 1.6 * around)[kept]

    def _vein(
        self, marks: Landmarks, opening_mm: Vector, rng: np.random.Generator
    ) -> tuple[Points, NDArray[np.float64]]:
        """The nearest vein's lumen, 2 to 4 mm wide, from where it begins onwards."""
        vein = min(marks.veins, key=lambda v: float(np.linalg.norm(v - opening_mm, axis=1).min()))
        line, at = _resampled(vein, 0.4)
        radius = float(rng.uniform(1.0, 2.0))
        points = _lattice_near(line, self.grain_mm, radius)
        return points, at[cKDTree(line).query(points)[1]]

    def _puddle(self, opening_mm: Vector, rng: np.random.Generator) -> tuple[Points, NDArray[np.float64]]:
        """A lobed lump in the muscle behind the foramen, at most twice as long as wide."""
        centre = opening_mm + rng.uniform((-8.0, 18.0, -8.0), (8.0, 32.0, 8.0))
        points = _lattice_near(centre[None], self.grain_mm, 18.0)
        off = (points - centre) / rng.uniform(0.75, 1.35, 3)
        distance = np.linalg.norm(off, axis=1)
        lobes = np.sin(3 * off / np.maximum(distance, 1e-9)[:, None] @ rng.normal(0, 1, 3))
        return points, distance * (1 + 0.2 * lobes)

    def _pool(self, marks: Landmarks, start: Vector) -> tuple[Points, NDArray[np.float64]]:
        """The canal's whole width, twice its depth, from the root's level on both ways."""
        line, at = _resampled(marks.canal_path_mm, 0.5)
        radius = np.interp(at, np.linspace(0, at[-1], len(marks.canal_radius_mm)), marks.canal_radius_mm)
        home = int(np.argmin(np.linalg.norm(line - start, axis=1)))
        near = np.abs(at - at[home]) < 25.0
        line, at, radius, home_mm = line[near], at[near], radius[near], float(at[home])
        points = _lattice_near(line, self.grain_mm, 2 * float(radius.max()))
        _, i = cKDTree(line).query(points)
        off = points - line[i]
        off[:, 0] /= 2
        inside = np.linalg.norm(off, axis=1) <= 0.9 * radius[i]
        return points[inside], (np.abs(at[i] - home_mm) + np.abs(2 * off[:, 0]))[inside]

    def _blot(self, opening_mm: Vector, rng: np.random.Generator) -> tuple[Points, NDArray[np.float64]]:
        """A ragged film on the back's skin, two grains thick, that spreads from where it drips."""
        centre = opening_mm + np.array([*rng.uniform(-25, 25, 1), 85.0, *rng.uniform(-25, 25, 1)])
        x, z = (v.ravel() for v in np.meshgrid(*[np.arange(-40, 41) * self.grain_mm] * 2))
        lumps = gaussian_filter(rng.standard_normal((81, 81)), 5.0, mode="wrap").ravel()
        away = np.hypot(x, z) * (1 + 0.15 * lumps / lumps.std())
        layers = [centre + np.column_stack([x, np.full(len(x), y), z]) for y in (0.0, self.grain_mm)]
        return np.vstack(layers), np.tile(away, 2)


def gas_bubble_cm(centre_mm: Vector, radius_mm: float, carm: CArm) -> Shadow:
    """The shadow of a ball: box and float32 patch of how many cm of tissue it takes the place of."""
    centre = np.asarray(centre_mm, dtype=np.float64)[None]
    (x, y), radius_px = carm.project(centre)[0], radius_mm * float(carm.px_per_mm_at(centre)[0])
    box = clip_box(np.array([x, y]) - radius_px - 1, np.array([x, y]) + radius_px + 1, carm.side_px)
    columns, rows = np.arange(box[0], box[2]) - x, np.arange(box[1], box[3]) - y
    half = np.sqrt(np.maximum(0.0, 1.0 - (columns[None, :] ** 2 + rows[:, None] ** 2) / radius_px**2))
    return box, (0.2 * radius_mm * half).astype(np.float32)


def skin_spill(centre_mm: Vector, ml: float, seed: int) -> ContrastCloud:
    """A puddle of contrast on the back's skin: a ragged flat blot, a distractor that never washes out."""
    rng = np.random.default_rng(seed)
    grain = 1.0
    side = np.arange(-40, 41) * grain
    x, z = np.meshgrid(side, side)
    lumps = gaussian_filter(rng.standard_normal(x.shape), 6.0, mode="wrap")
    height = np.exp(-(x**2 + z**2) / 250) * np.clip(1 + 1.4 * lumps / lumps.std(), 0, None)
    height *= ml * 1000 / grain**3 / height.sum()
    wet = height > 0.02
    centre = np.asarray(centre_mm, dtype=np.float64)
    points = centre + np.column_stack([x[wet], np.zeros(int(wet.sum())), z[wet]])
    return ContrastCloud(points, height[wet] * (height.sum() / height[wet].sum()), grain)


def _around(a: Box, b: Box) -> Box:
    """The smallest box around two, of which the first may be empty."""
    if a[0] == a[2] or a[1] == a[3]:
        return b
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def _resampled(line: Points, step_mm: float) -> tuple[Points, NDArray[np.float64]]:
    """Points along a line about step_mm apart, and the arc length at each."""
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    at = np.linspace(0, lengths[-1], max(2, round(lengths[-1] / step_mm) + 1))
    return np.column_stack([np.interp(at, lengths, line[:, i]) for i in range(3)]), at


def _lattice_near(line: Points, grain_mm: float, reach_mm: float) -> Points:
    """Points of a cubic lattice within reach_mm of a line."""
    low, high = line.min(axis=0) - reach_mm, line.max(axis=0) + reach_mm
    axes = [np.arange(a, b, grain_mm) for a, b in zip(low, high, strict=True)]
    lattice = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    distance, _ = cKDTree(line).query(lattice, distance_upper_bound=reach_mm)
    return np.asarray(lattice[np.isfinite(distance)])
