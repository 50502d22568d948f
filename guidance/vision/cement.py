"""Cement deposits: what has grown since a fresh baseline, from where a needle feeds it.

Cement and contrast absorb alike, so brightness decides nothing. Cement is what becomes denser after the epidurogram,
stays, and grows: at a needle's tip, out of a deposit, or, far from both, only on strong evidence. What appears all at
once, fills in what was a bright gap (gas that moved on), or loses its density again is something else.

Method: change detection against a registered baseline with hysteresis (Canny, 1986) on significance, and rejection
of ghosts in the sense of Cucchiara et al. (Detecting moving objects, ghosts and shadows in video streams, 2003).
What it misses: cement that was there before the baseline (a view first seen during injection), less than about
2 mm², thinner than the noise allows, or hidden behind steel that moved.
"""

from dataclasses import dataclass
from math import hypot
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.records import CementDeposit, Needle, Phase, PointPx
from guidance.vision.change import Change, Placed, ReferenceGrid
from guidance.vision.geometry import RigidMotion
from guidance.vision.picture import Mask, Picture

SEED_SIGMA: Final = 5.0
"""One false seed in 10⁶ pixels and ten minutes would take 5.5 independent sigmas; two pulses in a row make up for it."""
GROW_SIGMA: Final = 2.5
STAY_SIGMA: Final = 1.5
LEAST_DENSITY: Final = 0.04
"""Half a millimetre of cement where the display's curve and scatter have taken a third of its 13 %."""
EDGE_SHARE: Final = 0.4
"""A deposit ends where its density has fallen to this share of what is around: half, less its rounded flank."""
LEAST_AREA_MM2: Final = 2.0
TIP_REACH_MM: Final = 5.0
"""Cement leaves a needle within its bevel and the blur of where the tip was measured."""
DEPOSIT_REACH_MM: Final = 10.0
"""A run of cement may be lost in noise or behind a shaft for this long and be seen again."""
LONE_AREA_MM2: Final = 8.0
LONE_PULSES: Final = 8
LONE_GROWTH: Final = 1.5
"""Far from any tip or deposit: an area this large that stood this long and has grown by this factor."""
SUDDEN_MM_PER_S: Final = 60.0
"""Nothing that flows in bone or vein is seen to spread faster; an instrument laid into the field is."""
BODY_RADIUS_MM: Final = 2.5
"""A run is what is thinner than twice this: veins and fracture lines are 1 to 4 mm wide."""
RATE_WINDOW_S: Final = 2.0
FRONT_WINDOW_S: Final = 0.6


@dataclass(slots=True, eq=False)
class _Candidate:
    """Something that grows and is not yet called cement."""

    area_px: int
    first_area_px: int
    first_t_s: float
    pulses: int


class CementWatch:
    """The cement of one view. ``update`` takes every live pulse of that view, in order."""

    def __init__(self, phase_inferred: bool = False) -> None:
        """``phase_inferred``: nobody says when cement begins, so growth at a tip is looked for among needles too."""
        self._phase_inferred = phase_inferred
        self._grid: ReferenceGrid | None = None
        self._change: Change | None = None
        self._started = False
        self._candidates: dict[int, _Candidate] = {}
        self._candidate_labels: NDArray[np.int32] | None = None
        self._labels: Mask = np.zeros((0, 0), np.uint8)
        self._since_s: NDArray[np.float32] = np.zeros((0, 0), np.float32)
        self._areas: dict[int, list[tuple[float, float]]] = {}
        self._next_id = 1
        self._last_t_s = 0.0

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
    ) -> tuple[CementDeposit, ...]:
        """The deposits as they lie on this pulse, in input-frame pixels.

        ``motion``: reference to present; while not ``ok`` nothing is learnt and the last deposits are told again.
        ``shafts``: instruments on the picture's work pixels, uint8, not 0 where one is. ``mm_per_px`` None: areas
        and speeds are None, and sizes are judged with a prior scale.
        """
        if phase in (Phase.BASELINE, Phase.EPIDUROGRAM) and not self._started:
            return ()
        if self._grid is None or self._change is None:
            self._grid = ReferenceGrid(picture)
            self._change = Change(self._grid.shape)
            self._labels = np.zeros(self._grid.shape, np.uint8)
            self._since_s = np.zeros(self._grid.shape, np.float32)
        grid, change = self._grid, self._change
        if ok:
            work_mm = grid.work_mm(mm_per_px)
            placed = grid.place(picture, motion, shafts, work_mm)
            tips = [tuple(grid.to_grid(np.array([n.tip_px]), motion)[0]) for n in needles]
            self._take(change, placed, phase, tips, work_mm, t_s)
            self._last_t_s = t_s
        return self._deposits(grid, motion, mm_per_px, t_s)

    @property
    def mask(self) -> Mask:
        """255 where cement is seen, on the reference grid; of size 0 before the first pulse."""
        return np.where(self._labels > 0, 255, 0).astype(np.uint8)

    def _take(
        self,
        change: Change,
        placed: Placed,
        phase: Phase,
        tips: list[tuple[float, float]],
        work_mm: float,
        t_s: float,
    ) -> None:
        watching = phase is Phase.CEMENT or self._started
        if (watching and change.pulses_learnt >= 4) or (self._phase_inferred and change.pulses_learnt >= 8):
            change.compare(placed, work_mm, self._known(work_mm))
            self._find(change, placed, tips, work_mm, t_s)
            self._started = self._started or watching or bool(self._labels.any())
        if not self._started or change.pulses_learnt < 4:
            change.learn(placed, work_mm, self._held(change, tips, work_mm) if self._phase_inferred else None)

    def _known(self, work_mm: float) -> Mask:
        """Where density has been added or seems to be: no part of tone, slip or noise."""
        known = self._labels.copy()
        if self._candidate_labels is not None:
            known[self._candidate_labels > 0] = 1
        if not known.any():
            return known
        wide = 2 * max(1, round(1.0 / work_mm)) + 1
        return np.asarray(cv2.dilate(known, np.ones((wide, wide), np.uint8)), dtype=np.uint8)

    def _held(self, change: Change, tips: list[tuple[float, float]], work_mm: float) -> Mask:
        """Around the tips the baseline must not take up what may be the first cement."""
        near = _discs(change.shape, tips, 3 * TIP_REACH_MM / work_mm)
        near[change.z < GROW_SIGMA] = 0
        return near

    def _find(
        self, change: Change, placed: Placed, tips: list[tuple[float, float]], work_mm: float, t_s: float
    ) -> None:
        """Update the labels of what is cement with one pulse."""
        px_per_mm2 = 1.0 / work_mm**2
        standing = self._labels > 0
        low = ((change.z > GROW_SIGMA) | (standing & (change.z > STAY_SIGMA))).astype(np.uint8)
        low[change.broad < LEAST_DENSITY] = 0
        seeds = change.z > SEED_SIGMA
        n, parts, stats, _ = cv2.connectedComponentsWithStats(low, connectivity=4)
        seeded = np.unique(parts[seeds & (low > 0)])
        tip_near = _discs(change.shape, tips, TIP_REACH_MM / work_mm)
        tip_far = _discs(change.shape, tips, DEPOSIT_REACH_MM / work_mm)
        deposit_near = _grown(self._labels, DEPOSIT_REACH_MM / work_mm)
        accepted = np.zeros(n, np.bool_)
        followed: dict[int, _Candidate] = {}
        for i in seeded:
            area = int(stats[i, cv2.CC_STAT_AREA])
            if i == 0 or area < LEAST_AREA_MM2 * px_per_mm2:
                continue
            x, y, w, h = (int(v) for v in stats[i, :4])
            box = np.s_[y : y + h, x : x + w]
            part = parts[box] == i
            if (self._labels[box][part] > 0).any():
                accepted[i] = True
                continue
            seen = self._followed(part, box, area, t_s)
            near = bool(tip_near[box][part].any())
            close = near or bool(deposit_near[box][part].any()) or bool(tip_far[box][part].any())
            if self._is_cement(change, box, part, seen, near, close, work_mm, t_s):
                accepted[i] = True
            else:
                followed[int(i)] = seen
        self._candidates = followed
        self._candidate_labels = parts * np.isin(parts, list(followed)) if followed else None
        found = accepted[parts]
        self._relabel(_outlined(change, found, work_mm, placed.steel | change.base_steel), work_mm, t_s)

    def _followed(
        self, part: NDArray[np.bool_], box: tuple[slice, slice], area: int, t_s: float
    ) -> _Candidate:
        """The candidate that overlaps this part from the last pulse, brought up to date; or a new one."""
        if self._candidate_labels is not None:
            before = self._candidate_labels[box][part]
            before = before[before > 0]
            if len(before):
                old = self._candidates.get(int(np.bincount(before).argmax()))
                if old is not None:
                    return _Candidate(area, old.first_area_px, old.first_t_s, old.pulses + 1)
        return _Candidate(area, area, t_s, 1)

    def _is_cement(
        self,
        change: Change,
        box: tuple[slice, slice],
        part: NDArray[np.bool_],
        seen: _Candidate,
        near: bool,
        close: bool,
        work_mm: float,
        t_s: float,
    ) -> bool:
        """Whether a candidate is called cement on this pulse."""
        if seen.pulses < 2:
            return False
        if near:
            return True
        if _fills_a_gap(change, box, part, work_mm):
            return False
        if close:
            return seen.pulses >= 3
        return (
            seen.pulses >= LONE_PULSES
            and seen.area_px * work_mm**2 >= LONE_AREA_MM2
            and seen.area_px >= LONE_GROWTH * seen.first_area_px
        )

    def _relabel(self, found: Mask, work_mm: float, t_s: float) -> None:
        """Give each part of the mask the id of the deposit it lies on or nearest to, or a new one."""
        old = self._labels
        n, parts, stats, _ = cv2.connectedComponentsWithStats(found, connectivity=8)
        labels = np.zeros_like(old)
        order = sorted(range(1, n), key=lambda i: -int(stats[i, cv2.CC_STAT_AREA]))
        reach = round(DEPOSIT_REACH_MM / work_mm)
        for i in order:
            x, y, w, h = (int(v) for v in stats[i, :4])
            box = np.s_[y : y + h, x : x + w]
            part = parts[box] == i
            below = old[box][part]
            below = below[below > 0]
            if len(below):
                name = int(below.min())  # deposits that have run together keep the elder's id
            else:
                around = np.s_[max(0, y - reach) : y + h + reach, max(0, x - reach) : x + w + reach]
                near = np.concatenate([old[around].ravel(), labels[around].ravel()])
                near = near[near > 0]
                name = int(near.min()) if len(near) else self._new_id()
            labels[box][part] = name
        fresh = (labels > 0) & (old == 0)
        self._since_s[fresh] = t_s
        self._labels = labels
        for name in np.unique(labels[labels > 0]):
            area = float((labels == name).sum()) * work_mm**2
            history = self._areas.setdefault(int(name), [])
            history.append((t_s, area))
            while history and history[0][0] < t_s - RATE_WINDOW_S:
                history.pop(0)

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def _deposits(
        self, grid: ReferenceGrid, motion: RigidMotion, mm_per_px: float | None, t_s: float
    ) -> tuple[CementDeposit, ...]:
        out = []
        for name in (int(i) for i in np.unique(self._labels) if i > 0):
            mask = np.where(self._labels == name, 255, 0).astype(np.uint8)
            history = self._areas.get(name, [])
            known = mm_per_px is not None and bool(history)
            front = self._front(mask, grid.work_mm(mm_per_px), t_s)
            out.append(
                CementDeposit(
                    id=name,
                    polygons_px=grid.outlines(mask, motion),
                    area_mm2=history[-1][1] if known else None,
                    growth_mm2_per_s=_slope(history) if known else None,
                    front_mm_per_s=front[1] if front is not None and known else None,
                    front_px=_moved(grid, motion, front[0]) if front is not None else None,
                    run_mm=front[2] if front is not None and known else None,
                )
            )
        return tuple(out)

    def _front(
        self, mask: Mask, work_mm: float, t_s: float
    ) -> tuple[tuple[float, float], float, float | None] | None:
        """The point that has advanced farthest lately, its speed in mm/s and the length of its run in mm."""
        young = (mask > 0) & (self._since_s > t_s - FRONT_WINDOW_S)
        old = (mask > 0) & ~young
        if not young.any() or not old.any():
            return None
        x, y, w, h = cv2.boundingRect(mask)
        box = np.s_[y : y + h, x : x + w]
        away = cv2.distanceTransform((~old[box]).astype(np.uint8), cv2.DIST_L2, 5)
        away[~young[box]] = 0
        # A single ragged pixel is no front: three neighbours must have come as far.
        away = cv2.erode(away, np.ones((2, 2), np.uint8))
        r, c = np.unravel_index(int(np.argmax(away)), away.shape)
        reach_mm = float(away[r, c]) * work_mm
        if reach_mm <= 0:
            return None
        return (float(x + c), float(y + r)), reach_mm / FRONT_WINDOW_S, _run_mm(mask[box], (int(r), int(c)), work_mm)


def _run_mm(mask: Mask, front_rc: tuple[int, int], work_mm: float) -> float | None:
    """Length in mm of the thin part of a deposit that ends at ``front_rc``; None where the front is no thin run."""
    radius = max(1, round(BODY_RADIUS_MM / work_mm))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    roomy = cv2.copyMakeBorder(mask, radius, radius, radius, radius, cv2.BORDER_CONSTANT, value=0)
    body = cv2.morphologyEx(roomy, cv2.MORPH_OPEN, disc)[radius:-radius, radius:-radius]
    if not body.any() or body[front_rc]:
        return None
    away = cv2.distanceTransform(np.where(body, 0, 255).astype(np.uint8), cv2.DIST_L2, 5)
    length = float(away[front_rc]) * work_mm
    return length if length > 2 * BODY_RADIUS_MM else None


def _outlined(change: Change, found: NDArray[np.bool_], work_mm: float, steel: Mask) -> Mask:
    """The accepted regions, cut to where their finely smoothed density ends, and joined across shafts."""
    out = np.zeros(found.shape, np.uint8)
    if not found.any():
        return out
    x, y, w, h = cv2.boundingRect(found.astype(np.uint8))
    margin = round(3.0 / work_mm)
    box = np.s_[max(0, y - margin) : y + h + margin, max(0, x - margin) : x + w + margin]
    added, inside = change.added[box], found[box]
    # The plateau near each pixel: the greatest broad density within a few mm.
    wide = 2 * round(2.5 / work_mm) + 1
    plateau = cv2.dilate(np.where(inside, change.broad[box], 0.0).astype(np.float32), np.ones((wide, wide), np.uint8))
    level = np.maximum(EDGE_SHARE * plateau, LEAST_DENSITY)
    near = cv2.dilate(inside.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    part = ((added > level) & near).astype(np.uint8)
    part = cv2.morphologyEx(part, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    closed = cv2.morphologyEx(part, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    across = 2 * round(2.0 / work_mm) + 1
    bridge = cv2.morphologyEx(part, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (across, across)))
    closed |= np.where(steel[box] > 0, bridge, 0).astype(np.uint8)
    out[box] = closed
    return out


def _fills_a_gap(change: Change, box: tuple[slice, slice], part: NDArray[np.bool_], work_mm: float) -> bool:
    """True where what was added mirrors what was light in the baseline: gas moved on, nothing came."""
    margin = max(2, round(3.0 / work_mm))
    rows, cols = box
    r0, c0 = max(0, rows.start - margin), max(0, cols.start - margin)
    wide = np.s_[r0 : rows.stop + margin, c0 : cols.stop + margin]
    inside = np.zeros(change.base[wide].shape, np.uint8)
    inside[rows.start - r0 : rows.stop - r0, cols.start - c0 : cols.stop - c0] = part
    use = cv2.dilate(inside, np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)) > 0
    use &= (change.base_count[wide] > 0) & (change.base_steel[wide] == 0)
    if int(use.sum()) < 20:
        return False
    added = change.broad[wide][use]
    light = -cv2.GaussianBlur(change.base[wide], (0, 0), max(0.5, 0.6 / work_mm))[use]
    added, light = added - added.mean(), light - light.mean()
    both, spread = float(added @ light), float(added @ added)
    return both > 0.5 * spread and both > 0.6 * (spread * float(light @ light)) ** 0.5


def _discs(shape: tuple[int, int], centres_xy: list[tuple[float, float]], radius: float) -> Mask:
    out = np.zeros(shape, np.uint8)
    for x, y in centres_xy:
        cv2.circle(out, (round(x), round(y)), max(1, round(radius)), 255, -1)
    return out


def _grown(mask: Mask, radius: float) -> NDArray[np.bool_]:
    """Within ``radius`` of the mask; cheap where the mask is empty."""
    if not mask.any():
        return np.zeros(mask.shape, np.bool_)
    return np.asarray(cv2.distanceTransform((mask == 0).astype(np.uint8), cv2.DIST_L2, 3) <= radius)


def _slope(history: list[tuple[float, float]]) -> float | None:
    """Least-squares growth of an area history, per second."""
    if len(history) < 3:
        return None
    t, area = np.array(history).T
    t = t - t.mean()
    spread = float(t @ t)
    return float(t @ area) / spread if spread > 0 else None


def _moved(grid: ReferenceGrid, motion: RigidMotion, xy: tuple[float, float]) -> PointPx:
    x, y = motion.move(grid.to_frame_px(np.array([xy])))[0]
    return float(x), float(y)
