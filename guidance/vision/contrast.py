"""Nerve roots filled by the epidurogram: what became denser than the baseline, long and tubular.

The roadmap keeps the densest that each pixel has been, so a root stays after its contrast has washed out. What is
wider than a root (a puddle on the skin, a pool in the canal) is cut off; the rest must be much longer than wide.
The centre-line is the cheapest path between the root's far ends where cost falls with the distance to its edge
(Deschamps & Cohen, Fast extraction of minimal paths in 3D images, 2001).

What it misses: a root filled before the baseline, thinner than about 2 mm, or in front of a denser pool; a vein of
a root's width and length is told as a root.
"""

from dataclasses import dataclass
from math import inf
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.records import Needle, NerveRoot, Phase, PolygonPx
from guidance.vision.change import LEAST_BASELINE_PULSES, Change, opened, square
from guidance.vision.geometry import RigidMotion
from guidance.vision.grid import Placed, ReferenceGrid, halved
from guidance.vision.kernels.median import median
from guidance.vision.kernels.paths import paths_from, way_to
from guidance.vision.kernels.regions import regions
from guidance.vision.kernels.roadmap import draw
from guidance.vision.picture import Density, Mask, Picture

FINEST_MM: Final = 0.35
"""Work pixels smaller than this are taken two by two: half of the least root's width still has two of them."""
SEED_SIGMA: Final = 6.0
GROW_SIGMA: Final = 3.5
"""A sigma more than for a single look: the greatest of ten or so independent looks lies 1.5 higher."""
SETTLED_PULSES: Final = 3.0
"""What is not plain on two looks counts once so many pulses stand behind it: contrast that comes and goes fast is."""
BORDER_MM: Final = 4.0
"""Nothing is drawn this near to the field's edge: an iris's shadow stays on the screen while the anatomy moves."""
TRACE_PULSES: Final = 3
"""The roadmap is drawn on every pulse, its outlines are traced on every third: contrast runs for seconds."""
EDGE_SHARE: Final = 0.35
"""A tube ends where its smoothed density falls to about this share of its axis."""
WIDTH_MM: Final = (1.5, 8.5)
"""Roots with their sheath are 2 to 8 mm wide; a smoothing of 0.6 mm blurs that by a few tenths."""
POOL_MM: Final = 10.0
RIM_MM: Final = 5.0
"""What lies at a pool as near as this, for the most part, is the pool's rim; a root leads away."""
LEAST_LENGTH_MM: Final = 15.0
LEAST_ELONGATION: Final = 3.5
LEAST_FILLING_S: Final = 0.2
"""Contrast runs along a root, at most some 10 cm/s; an instrument laid into the field is there all at once."""
LEAST_SPAN: Final = 0.6
"""From end to end over length: roots bend by less than a half circle (0.64), chains of noise curl."""
HOLE_MM2: Final = 12.0
"""A nerve is at most 4 mm thick; what two roots enclose is larger."""
MOST_CUTS: Final = 3
"""Four roots run together at three places."""
BRANCH_WIDTHS: Final = 1.3
"""What lies aside of a tube's middle by more than so many times its half width there branches off."""
BORDER_SHARE: Final = 0.4
"""A tube has as much of its border to itself, however close others run."""
GAP_SHARE: Final = 0.35
"""A root's border is seen in the present picture; what moving gas has left had half of its border in the baseline."""
KEPT_TRACES: Final = 3
"""A root told on so many traces, over a second of pulses, stays on the roadmap whatever its contrast runs into."""


@dataclass(slots=True, eq=False)
class _Root:
    """A root on the reference grid; its line and, once it is told, its rings are in the reference frame's pixels."""

    mask: Mask
    line_px: PolygonPx
    area_px: int
    rings_px: tuple[PolygonPx, ...] = ()
    traces: int = 1

    @property
    def is_kept(self) -> bool:
        return self.traces >= KEPT_TRACES


class RootMapper:
    """The roadmap of one view. ``update`` takes every live pulse of that view, in order."""

    def __init__(self) -> None:
        self._halves = False
        self._grid: ReferenceGrid | None = None
        self._change: Change | None = None
        self._peak: NDArray[np.float32] = np.zeros((0, 0), np.float32)
        self._peak_z: NDArray[np.float32] = np.zeros((0, 0), np.float32)
        self._arrived_s: NDArray[np.float32] = np.zeros((0, 0), np.float32)
        self._last_z: NDArray[np.float32] = np.zeros((0, 0), np.float32)
        self._last_added: NDArray[np.float32] = np.zeros((0, 0), np.float32)
        self._steel: Mask = np.zeros((0, 0), np.uint8)
        self._inner: Mask = np.zeros((0, 0), np.uint8)
        self._known: Mask = np.zeros((0, 0), np.uint8)
        self._regions: NDArray[np.int32] = np.zeros((0, 0), np.int32)
        self._nowhere: Mask = np.zeros((0, 0), np.uint8)
        self._roots: dict[int, _Root] = {}
        self._looks = 0
        self._next_id = 1
        self._has_begun = False

    def update(
        self,
        picture: Picture,
        motion: RigidMotion,
        ok: bool,
        needles: tuple[Needle, ...],
        shafts: Mask,
        phase: Phase,
        mm_per_px: float | None,
        t_s: float,
    ) -> tuple[NerveRoot, ...]:
        """The roots as they lie on this pulse, in input-frame pixels.

        ``motion``: reference to present; while not ``ok`` nothing is learnt. ``shafts``: instruments on the
        picture's work pixels, uint8. What comes before the epidurogram is the baseline; what follows keeps the roadmap.
        ``mm_per_px`` None: areas are None, and sizes are judged with a prior scale.
        """
        if self._grid is None or self._change is None:
            self._grid, self._change = self._laid_out(picture, shafts, mm_per_px)
        grid, change = self._grid, self._change
        self._has_begun = self._has_begun or phase is Phase.EPIDUROGRAM
        if ok and (phase is Phase.EPIDUROGRAM or (not self._has_begun and phase is not Phase.CEMENT)):
            if self._halves:
                picture, shafts = halved(picture, shafts)
            work_mm = grid.work_mm(mm_per_px)
            placed = grid.place(picture, motion, shafts, work_mm)
            self._take(change, placed, phase, work_mm, t_s)
        area_mm2 = None if mm_per_px is None else grid.work_mm(mm_per_px) ** 2
        return tuple(
            NerveRoot(
                id=name,
                polygons_px=tuple(motion.move(ring) for ring in root.rings_px),
                centerline_px=motion.move(root.line_px),
                area_mm2=None if area_mm2 is None else root.area_px * area_mm2,
            )
            for name, root in sorted(self._roots.items())
        )

    def _laid_out(self, picture: Picture, shafts: Mask, mm_per_px: float | None) -> tuple[ReferenceGrid, Change]:
        """The grid of the first picture, with nothing on it."""
        self._halves = ReferenceGrid(picture).work_mm(mm_per_px) < FINEST_MM
        grid = ReferenceGrid(halved(picture, shafts)[0] if self._halves else picture)
        self._peak, self._peak_z, self._last_added, self._last_z = np.zeros((4, *grid.shape), np.float32)
        self._arrived_s = np.full(grid.shape, inf, np.float32)
        self._steel, self._inner, self._known, self._nowhere = np.zeros((4, *grid.shape), np.uint8)
        self._regions = np.zeros(grid.shape, np.int32)
        return grid, Change(grid.shape)

    @property
    def mask(self) -> Mask:
        """255 where a root of the roadmap lies, on the reference grid; of size 0 before the first pulse."""
        out = np.zeros(self._peak.shape, np.uint8)
        for root in self._roots.values():
            out |= root.mask
        return out

    def contrast_on(self, grid: ReferenceGrid) -> Density:
        """The most that contrast has added in the epidurogram, on another grid of this view; (h, w) float32."""
        if self._grid is None:
            return np.zeros(grid.shape, np.float32)
        return grid.carry(np.where(self._peak_z > GROW_SIGMA, self._peak, np.float32(0.0)), self._grid)

    def _take(self, change: Change, placed: Placed, phase: Phase, work_mm: float, t_s: float) -> None:
        learnt = change.pulses_learnt >= LEAST_BASELINE_PULSES
        # While needles are driven only the baseline is learnt: what a stroke or the table moves is no contrast.
        if learnt and phase is not Phase.NEEDLE:
            np.greater(self._peak_z, GROW_SIGMA, out=self._known.view(np.bool_))
            change.compare(placed, work_mm, self._known, edges_stray=True)
            self._draw(change, placed, work_mm, t_s)
            self._looks += 1
            if self._looks % TRACE_PULSES == 0:
                self._trace(work_mm)
        if not learnt or phase is not Phase.EPIDUROGRAM:
            np.greater(change.z, GROW_SIGMA, out=self._known.view(np.bool_))
            change.learn(placed, work_mm, self._known)

    def _draw(self, change: Change, placed: Placed, work_mm: float, t_s: float) -> None:
        """Take this pulse into the roadmap: what two looks in a row have shown, well inside the field."""
        cv2.erode(placed.valid, square(round(BORDER_MM / work_mm)), dst=self._inner)
        draw(
            change.z,
            change.added,
            change.count,
            self._inner,
            t_s,
            SETTLED_PULSES,
            SEED_SIGMA,
            GROW_SIGMA,
            self._last_z,
            self._last_added,
            self._peak,
            self._peak_z,
            self._arrived_s,
        )
        cv2.bitwise_or(self._steel, placed.steel, dst=self._steel)

    def _trace(self, work_mm: float) -> None:
        """Find the tubes of the roadmap and follow their ids."""
        area_least = LEAST_LENGTH_MM * WIDTH_MM[0] / work_mm**2
        parts = regions(
            self._peak_z,
            self._peak,
            self._nowhere,
            self._nowhere,
            SEED_SIGMA,
            GROW_SIGMA,
            GROW_SIGMA,
            0.0,
            self._regions,
        )
        found: list[_Root] = []
        for name, (left, top, right, bottom, area) in enumerate(parts.tolist(), start=1):
            if area < area_least:
                continue
            box = np.s_[top:bottom, left:right]
            for tube in self._tubes(box, self._regions[box] == name, work_mm):
                for branch in self._by_known_roots(box, tube):
                    found += self._roots_along(branch, (left, top), work_mm)
        self._name(found)

    def _tubes(self, box: tuple[slice, slice], part: NDArray[np.bool_], work_mm: float) -> list[NDArray[np.bool_]]:
        """A connected region cut at its edge and freed from pools, in pieces."""
        peak = np.where(part, self._peak[box], 0).astype(np.float32)
        wide = 2 * round(2.5 / work_mm) + 1
        axis = cv2.dilate(cv2.GaussianBlur(peak, (0, 0), 0.6 / work_mm), np.ones((wide, wide), np.uint8))
        # Noise that clings to a root is much fainter than the root; a root's own thin end is not.
        axis = np.maximum(axis, 0.5 * _quantile(peak[part], np.float32(0.9)))
        inside = np.where(part & (peak > EDGE_SHARE * axis), 255, 0).astype(np.uint8)
        inside = cv2.morphologyEx(inside, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
        inside = _without_holes(inside, HOLE_MM2 / work_mm**2)
        pool = opened(inside, max(1, round(0.5 * POOL_MM / work_mm)))
        tubes = np.where(pool, 0, inside).astype(np.uint8)
        n, pieces, stats, _ = cv2.connectedComponentsWithStats(tubes, connectivity=4)
        least = LEAST_LENGTH_MM * WIDTH_MM[0] / work_mm**2
        large = [pieces == i for i in range(1, n) if stats[i, cv2.CC_STAT_AREA] >= least]
        if not pool.any():
            return large
        away_mm = cv2.distanceTransform(np.where(pool, 0, 255).astype(np.uint8), cv2.DIST_L2, 5) * work_mm
        return [piece for piece in large if median(away_mm[piece]) > RIM_MM]

    def _by_known_roots(self, box: tuple[slice, slice], tube: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
        """A tube shared out among the roots already known that have run together in it; else the tube."""
        marks = np.zeros(tube.shape, np.int32)
        for name, root in self._roots.items():
            if root.is_kept:
                marks[tube & (root.mask[box] > 0)] = name
        return _shared_out(tube, marks)

    def _roots_along(
        self, tube: NDArray[np.bool_], offset_xy: tuple[int, int], work_mm: float, cuts: int = MOST_CUTS
    ) -> list[_Root]:
        """The roots that a tube is made of: its longest line's, and those that branch off it.

        Where the line bends too far for one root, as roots do that meet in the canal, it is cut at its bend.
        """
        least_px = LEAST_LENGTH_MM * WIDTH_MM[0] / work_mm**2
        line = centre_line(tube)
        trunk, branches = _parted(tube, line, least_px)
        root = self._root(trunk, line, offset_xy, work_mm)
        found = [] if root is None else [root]
        bend = _bend(line) if root is None and cuts else None
        if bend is not None:
            marks = np.zeros(tube.shape, np.int32)
            columns, rows = line.round().astype(int).T
            marks[rows[:bend], columns[:bend]] = 1
            marks[rows[bend:], columns[bend:]] = 2
            branches += _shared_out(trunk, marks)
        for branch in branches if cuts else []:
            if int(branch.sum()) >= least_px:
                found += self._roots_along(branch, offset_xy, work_mm, cuts - 1)
        return found

    def _root(
        self, tube: NDArray[np.bool_], line: NDArray[np.float64], offset_xy: tuple[int, int], work_mm: float
    ) -> _Root | None:
        """The root that a region with this centre-line is.

        None where it is not long and tubular, lies on a shaft, came all at once or is what gas has left.
        """
        assert self._grid is not None
        assert self._change is not None
        x, y = offset_xy
        h, w = tube.shape
        box = np.s_[y : y + h, x : x + w]
        if float((self._steel[box][tube] > 0).mean()) > 0.5:
            return None
        steps = np.hypot(*np.diff(line, axis=0).T)
        length_mm = float(steps.sum()) * work_mm
        span_mm = float(np.hypot(*(line[-1] - line[0]))) * work_mm
        area = int(tube.sum())
        if length_mm < LEAST_LENGTH_MM or span_mm < LEAST_SPAN * length_mm:
            return None
        width_mm = area * work_mm**2 / length_mm
        if not WIDTH_MM[0] <= width_mm <= WIDTH_MM[1] or length_mm < LEAST_ELONGATION * width_mm:
            return None
        mask = np.zeros(self._grid.shape, np.uint8)
        mask[box][tube] = 255
        if not _has_border_of_its_own(self._change.base, self._peak, self._peak_z, mask, work_mm):
            return None
        line = line + np.array(offset_xy)
        arrived = self._arrived_s[line[:, 1].round().astype(int), line[:, 0].round().astype(int)]
        seen = arrived[np.isfinite(arrived)]
        if not len(seen) or _quantile(seen, np.float64(0.9)) - _quantile(seen, np.float64(0.1)) < LEAST_FILLING_S:
            return None
        return _Root(mask, self._grid.to_frame_px(_from_its_source(line, arrived)), area)

    def _name(self, found: list[_Root]) -> None:
        """Give each root the id of the one it overlaps most. The roadmap keeps the larger extent of old and new."""
        overlaps = sorted(
            (-int(cv2.countNonZero(cv2.bitwise_and(root.mask, old.mask))), i, name)
            for i, root in enumerate(found)
            for name, old in self._roots.items()
        )
        names: dict[int, int] = {}
        for less, i, name in overlaps:
            if less < 0 and i not in names and name not in names.values():
                names[i] = name
        kept = {name: old for name, old in self._roots.items() if old.is_kept}
        named = dict(kept)
        for i, name in names.items():
            old, root = self._roots[name], found[i]
            root.traces = old.traces + 1
            if not (old.is_kept and old.area_px > root.area_px):
                named[name] = root
        for root in (found[i] for i in range(len(found)) if i not in names):
            if not any(
                2 * cv2.countNonZero(cv2.bitwise_and(root.mask, old.mask)) > root.area_px for old in kept.values()
            ):
                named[self._next_id] = root
                self._next_id += 1
        assert self._grid is not None
        for root in named.values():
            root.rings_px = root.rings_px or self._grid.outlines(root.mask, RigidMotion())
        self._roots = named


def centre_line(region: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The middle of a tube from one far end to the other: points (n, 2), columns x and y, about a pixel apart.

    ``region``: (h, w) bool, one connected piece with at least one pixel.
    """
    roomy = _framed(region)
    deep = cv2.distanceTransform(roomy, cv2.DIST_L2, 5)
    inside = roomy > 0
    previous = np.empty(roomy.shape, np.int32)
    even = np.where(inside, np.float32(1.0), np.float32(inf))
    start = np.unravel_index(int(np.argmax(deep)), deep.shape)
    first = _farthest(paths_from(even, int(start[0]), int(start[1]), previous))
    last = _farthest(paths_from(even, first[0], first[1], previous))
    # Squared: the way through the middle of a bend must beat the short cut along its inner edge.
    central = np.where(inside, (1.0 / np.maximum(deep, 0.5)) ** 2, np.float32(inf))
    paths_from(central, first[0], first[1], previous)
    way = way_to(previous, last[0], last[1])
    line = np.column_stack([way % roomy.shape[1] - 1.0, way // roomy.shape[1] - 1.0])
    if len(line) < 5:
        return line
    taps = np.ones(5) / 5
    middle = np.column_stack([np.convolve(line[:, k], taps, "valid") for k in (0, 1)])
    return np.vstack([line[:1], middle, line[-1:]])


def _has_border_of_its_own(
    base: NDArray[np.float32],
    added: NDArray[np.float32],
    z: NDArray[np.float32],
    mask: Mask,
    work_mm: float,
) -> bool:
    """Whether a region ends where it does because contrast does.

    A part of something larger has little border; at the border of what moving gas has left the present picture goes
    on, and only the baseline had a step.
    """
    x, y, w, h = cv2.boundingRect(mask)
    margin = round(4.0 / work_mm)
    box = np.s_[max(0, y - margin) : y + h + margin, max(0, x - margin) : x + w + margin]
    inside = np.minimum(mask[box], 1).astype(np.float32)
    outer_mm = cv2.distanceTransform((inside == 0).astype(np.uint8), cv2.DIST_L2, 5) * work_mm
    around = (outer_mm > 1.0) & (outer_mm < 2.5)
    border = around & (np.abs(z[box]) < GROW_SIGMA)
    if border.sum() < BORDER_SHARE * around.sum():
        return False
    reach = 1.5 / work_mm
    weight = np.maximum(cv2.GaussianBlur(inside, (0, 0), reach), 1e-6)
    within, gained = (cv2.GaussianBlur(plane[box] * inside, (0, 0), reach) / weight for plane in (base, added))
    step = cv2.GaussianBlur(base[box], (0, 0), 0.6 / work_mm) - within
    return float((step[border] > 0.5 * gained[border]).mean()) <= GAP_SHARE


def _without_holes(region: Mask, most_px: float) -> Mask:
    """The region with the holes in it of at most so many pixels, as a nerve makes in its sheath."""
    roomy = cv2.copyMakeBorder(region, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    _, holes, stats, _ = cv2.connectedComponentsWithStats(cv2.bitwise_not(roomy), connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] <= most_px
    small[0] = True
    return np.where(small[holes], 255, 0).astype(np.uint8)[1:-1, 1:-1]


def _parted(
    tube: NDArray[np.bool_], line_xy: NDArray[np.float64], least_px: float
) -> tuple[NDArray[np.bool_], list[NDArray[np.bool_]]]:
    """The tube along a line, as wide as it is there, and what branches off it with at least so many pixels."""
    deep = cv2.distanceTransform(_framed(tube), cv2.DIST_L2, 5)[1:-1, 1:-1]
    off = np.full(tube.shape, 255, np.uint8)
    columns, rows = line_xy.round().astype(int).T
    off[rows, columns] = 0
    away, cells = cv2.distanceTransformWithLabels(off, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    wide = np.zeros(int(cells.max()) + 1, np.float32)
    wide[cells[rows, columns]] = deep[rows, columns]
    aside = tube & (away > BRANCH_WIDTHS * wide[cells] + 1)
    n, parts, stats, _ = cv2.connectedComponentsWithStats(aside.astype(np.uint8), connectivity=8)
    branches = [parts == i for i in range(1, n) if stats[i, cv2.CC_STAT_AREA] >= least_px]
    trunk = tube.copy()
    for branch in branches:
        trunk &= ~branch
    return trunk, branches


def _bend(line_xy: NDArray[np.float64]) -> int | None:
    """Index of the line's point farthest from the chord between its ends; None for a line of a few points."""
    if len(line_xy) < 5:
        return None
    chord = line_xy[-1] - line_xy[0]
    away = line_xy - line_xy[0]
    along = np.clip(away @ chord / max(float(chord @ chord), 1.0), 0.0, 1.0)
    return int(np.argmax(np.hypot(*(away - along[:, None] * chord).T)))


def _shared_out(region: NDArray[np.bool_], marks: NDArray[np.int32]) -> list[NDArray[np.bool_]]:
    """The region's pixels by the mark that each is nearest to, in pieces; the region itself where one or none is.

    ``marks``: (h, w) int32, the number of the mark on a pixel, 0 on most.
    """
    marked = marks[marks > 0]
    if len(marked) == 0 or (marked == marked[0]).all():
        return [region]
    away = np.where(marks > 0, 0, 255).astype(np.uint8)
    _, cells = cv2.distanceTransformWithLabels(away, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    of_cell = np.zeros(int(cells.max()) + 1, np.int32)
    of_cell[cells[marks > 0]] = marked
    nearest = of_cell[cells]
    pieces = []
    for name in np.unique(marked):
        n, parts, stats, _ = cv2.connectedComponentsWithStats(
            (region & (nearest == name)).astype(np.uint8), connectivity=8
        )
        if n > 1:
            pieces.append(np.asarray(parts == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])), dtype=np.bool_))
    return pieces


def _from_its_source(line_xy: NDArray[np.float64], arrived_s: NDArray[np.float32]) -> NDArray[np.float64]:
    """The line turned so that it begins where contrast arrived first; at once everywhere, at the upper end."""
    quarter = max(1, len(line_xy) // 4)
    head, tail = np.float32(median(arrived_s[:quarter])), np.float32(median(arrived_s[-quarter:]))
    turned = tail < head if head != tail else line_xy[-1, 1] < line_xy[0, 1]
    return line_xy[::-1].copy() if turned else line_xy


def _quantile(values: NDArray[np.float32], share: np.floating) -> float:
    """What a share of the values does not exceed, in line between the two about it, without NumPy's preparations."""
    at = share * (len(values) - 1)
    below = int(at)
    above = min(below + 1, len(values) - 1)
    ordered = np.partition(values, (below, above))
    rise, part = ordered[above] - ordered[below], at - below
    return float(ordered[above] - rise * (1 - part) if part >= 0.5 else ordered[below] + rise * part)


def _framed(region: NDArray[np.bool_]) -> Mask:
    """A region with a pixel of nothing around it, as a mask of 0 and 1."""
    return np.asarray(cv2.copyMakeBorder(region.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0))


def _farthest(total: NDArray[np.float32]) -> tuple[int, int]:
    reached = np.where(np.isfinite(total), total, np.float32(-1.0))
    r, c = np.unravel_index(int(np.argmax(reached)), reached.shape)
    return int(r), int(c)
