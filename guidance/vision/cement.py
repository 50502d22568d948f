"""Cement deposits: what has grown since a fresh baseline, from where a needle feeds it.

Cement and contrast absorb alike, so brightness decides nothing. Cement is what becomes denser after the epidurogram,
stays, and grows: at a needle's tip, out of a deposit, or, far from both, only on strong evidence. What appears all at
once, fills in what was a bright gap (gas that moved on), or loses its density again is something else.

Method: change detection against a registered baseline with hysteresis (Canny, 1986) on significance, and rejection
of ghosts in the sense of Cucchiara et al. (Detecting moving objects, ghosts and shadows in video streams, 2003).
What it misses: cement that was there before the baseline (a view first seen during injection), less than about
2 mm², thinner than the noise allows, or hidden behind steel that moved.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import hypot, inf
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.records import CementDeposit, Needle, Phase, PointPx
from guidance.vision.cement_passing import PassingMetal
from guidance.vision.cement_run import FRONT_STEPS, FRONT_WINDOW_S, Front, RunWatch, edge_of
from guidance.vision.change import (
    COARSE_MM,
    LEAST_BASELINE_PULSES,
    PRIOR_MM_PER_PX,
    STEEL_MARGIN_PX,
    Change,
    Placed,
    ReferenceGrid,
    opened,
    square,
    steel_itself,
)
from guidance.vision.geometry import RigidMotion
from guidance.vision.kernels.change import regions
from guidance.vision.picture import Density, Mask, Picture

SEED_SIGMA: Final = 5.0
"""About one chance seed in ten minutes of 10⁴ independent looks a pulse; two pulses in a row rule out the rest."""
GROW_SIGMA: Final = 2.5
STAY_SIGMA: Final = 1.5
LEAST_DENSITY: Final = 0.02
"""A quarter of a millimetre of cement where the display's curve and scatter have taken a third of its 13 %."""
PLAIN_MM: Final = 0.4
"""Outlines end here at the latest: tone and veil are not fitted better everywhere."""
APART_MM: Final = 0.55
"""What is not joined to a deposit must be so thick somewhere; what those fits leave behind is not."""
THIN_MM: Final = 0.8
"""What is nowhere near so thick is less than a millimetre, or a shaft's or a bone's slipped edge."""
KEPT_MM: Final = 2.0
"""Around a known deposit a new baseline keeps what has been added: it has grown by that while the C-arm moved."""
NEAR_MM: Final = 1.5
"""What lies apart from the deposit that feeds it is thicker than what a bone's edge adds that parallax has moved."""
MILLIMETRE_DENSITY: Final = 0.09
"""What one millimetre of cement adds to the display's density: 13 % of the signal, less a third for scatter. So it is
taken where no shaft tells better."""
SHAFT_SHARE: Final = 0.125
LEAST_MILLIMETRE: Final = 0.05
MOST_MILLIMETRE: Final = 0.13
"""A millimetre adds about a tenth of what an 11 or 13 gauge shaft adds, whatever the scatter and the display's curve,
because both bend shaft and cement alike: with scatter S times the primary, 0.13/(1 + S) of ln((1 + S)/S) is 0.08 to
0.11 for S of 0.5 to 2."""
GAS_MM2: Final = 10.0
GAS_RADIUS_MM: Final = 0.75
"""Nothing that is injected makes a picture lighter: gas that moves does, over so much, in pieces this far across."""
GONE_SHARE: Final = 0.4
"""Of what gas leaves behind so much of the edges are the baseline's that are gone, of cement next to nothing."""
GAS_BLUR_MM: Final = 1.2
"""Bubbles are coarser than what is detected: smoothed twice as far, edges of noise weigh sixteen times less."""
GAS_DEPTH: Final = 1.5
"""Gas leaves no more behind than it takes where it goes: what is this much denser is something else."""
EDGE_MM: Final = 1.5
"""Edges are compared over about this length of them."""
GAS_YOUNG_S: Final = 0.5
"""So long what has been taken for growth may yet turn out to be what gas has left."""
EDGE_SHARE: Final = 0.5
"""Where even its middle is thinner than two millimetres, a deposit ends at half of that."""
SLOPE_SHARE: Final = 0.2
"""A thick deposit's edge is blurred: a sheer one lies at half of its plateau, a sloping one at a millimetre."""
FADING_MM: Final = 8.0
"""Over this distance contrast is taken to fade alike: one root does, two may not."""
LEAST_AREA_MM2: Final = 2.0
TIP_REACH_MM: Final = 5.0
"""Cement leaves a needle within its bevel and the blur of where the tip was measured."""
STILL_MM: Final = 1.5
STILL_PULSES: Final = 3
DEPOSIT_REACH_MM: Final = 10.0
"""A run of cement may be lost in noise or behind a shaft for this long and be seen again."""
PLAIN_AREA_MM2: Final = 4.0
"""What is near and so large counts at once, as every alarm waits for a second pulse; less must stand for three."""
HUB_MM: Final = 15.0
HUB_S: Final = 10.0
"""Around the outer end of a shaft a hub and a hand move: what appears there belongs to no deposit nearby, also while
the shaft is not found."""
STIRRED_MM: Final = 1.0
HAND_MM: Final = 15.0
"""A needle whose tip has gone this far has taken along what lies this near to its shaft: the baseline begins anew."""
LONE_AREA_MM2: Final = 8.0
LONE_PULSES: Final = 8
LONE_GROWTH: Final = 1.5
EMERGING_PULSES: Final = 4
LONE_MM: Final = 3.0
LONE_RADIUS_MM: Final = 1.5
LONE_BORDER_MM: Final = 4.0
"""Far from any tip or deposit: an area this large that stood this long and has grown by this factor. Bone that fills
is soon three millimetres thick somewhere and wider than an edge that has slipped, and nobody injects at the very
border of the field, where shutters and the machine's mask move over the anatomy."""
FLANK_MM: Final = 1.0
"""Beside a shaft's mask its edge may still show, blurred and enhanced."""
SHAFT_MM: Final = 2.6
"""Half of a shaft with its flanks: cement on both sides is taken to lie across it, on one side up to its axis."""
SUDDEN_MM2: Final = 60.0
SUDDEN_MM2_PER_S: Final = 400.0
"""Twice what a run 2 mm wide at 10 cm/s would add: a clamp, a shutter or a table edge comes faster than cement."""
PAUSE_S: Final = 1.0
"""After so long without a pulse of this view a deposit may rightly have grown by any amount."""
RATE_WINDOW_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class _Candidate:
    """Something that has become denser and is not called cement, at least not yet."""

    area_px: int
    early_area_px: int
    pulses: int


class CementWatch:
    """The cement of one view. ``update`` takes every live pulse of that view, in order."""

    def __init__(self, phase_inferred: bool = False) -> None:
        """``phase_inferred``: nobody says when cement begins, so growth at a tip is looked for among needles too."""
        self._phase_inferred = phase_inferred
        self._grid: ReferenceGrid | None = None
        self._change: Change | None = None
        self._started = False
        self._late_pulses = 0
        self._candidates: dict[int, _Candidate] = {}
        self._labels: Mask = np.zeros((0, 0), np.uint8)
        self._foreign: Mask = np.zeros((0, 0), np.uint8)
        self._passing = PassingMetal()
        self._rests = 0
        self._is_renewed = True
        self._inner: Mask = np.zeros((0, 0), np.uint8)
        self._regions: NDArray[np.int32] = np.zeros((0, 0), np.int32)
        self._solid: Mask = np.zeros((0, 0), np.uint8)
        self._hubs: Mask = np.zeros((0, 0), np.uint8)
        self._contrast: Density | None = None
        self._millimetre = MILLIMETRE_DENSITY
        self._settled_tips: dict[int, PointPx] = {}
        self._ends: list[tuple[float, PointPx]] = []
        self._shafts: NDArray[np.uint16] = np.zeros((0, 0), np.uint16)
        self._since_s: NDArray[np.float32] = np.zeros((0, 0), np.float32)
        self._areas: dict[int, list[tuple[float, float]]] = {}
        self._next_id = 1
        self._begun_s: dict[int, float] = {}
        self._last_t_s = 0.0
        self._pulses_s: list[float] = []
        self._earlier_tips: list[list[PointPx]] = []
        self._run_watch = RunWatch((0, 0))
        self._runs: dict[int, Front] = {}

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
        rests: int = 0,
        contrast_on: Callable[[ReferenceGrid], Density] | None = None,
    ) -> tuple[CementDeposit, ...]:
        """The deposits as they lie on this pulse, in input-frame pixels.

        ``motion``: reference to present; while not ``ok`` nothing is learnt and the last deposits are told again.
        ``rests``: how often the C-arm has come to rest elsewhere within the view: what is no deposit then lies
        beside its baseline, which begins anew.
        ``shafts``: instruments on the picture's work pixels, uint8, not 0 where one is. ``mm_per_px`` None: areas
        and speeds are None, and sizes are judged with a prior scale. ``contrast_on``: what the epidurogram had added
        at most, on the grid that it is asked for; it is asked once, when the epidurogram is over.
        """
        if phase in (Phase.BASELINE, Phase.EPIDUROGRAM) and not self._started:
            return ()
        if self._grid is None or self._change is None:
            self._grid = ReferenceGrid(picture)
            self._change = Change(self._grid.shape)
            self._labels = np.zeros(self._grid.shape, np.uint8)
            self._solid = np.zeros(self._grid.shape, np.uint8)
            self._hubs = np.zeros(self._grid.shape, np.uint8)
            self._foreign = np.zeros(self._grid.shape, np.uint8)
            self._regions = np.zeros(self._grid.shape, np.int32)
            self._since_s = np.full(self._grid.shape, inf, np.float32)
            if contrast_on is not None:
                self._contrast = contrast_on(self._grid)
            self._run_watch = RunWatch(self._grid.shape)
        grid, change = self._grid, self._change
        if ok:
            work_mm = grid.work_mm(mm_per_px)
            placed = grid.place(picture, motion, shafts, work_mm)
            needles = _once(needles, TIP_REACH_MM / (mm_per_px or PRIOR_MM_PER_PX))
            tips = [_point(grid.to_grid(np.array([n.tip_px]), motion)) for n in needles]
            ends = [_point(grid.to_grid(np.array([n.shaft_px[1]]), motion)) for n in needles if n.shaft_px is not None]
            self._note_shafts(placed.steel, ends, work_mm, t_s)
            stirred = self._stirred(grid, motion, needles, work_mm)
            if rests != self._rests and not self._started:
                change = self._change = Change(grid.shape)
            elif rests != self._rests:
                self._is_renewed = False
            self._rests = rests
            if self._is_renewed:
                self._take(change, placed, phase, tips, stirred, work_mm, t_s)
                return self._deposits(grid, motion, mm_per_px)
            self._renew(change, placed, work_mm)
        return tuple(replace(deposit, is_held=True) for deposit in self._deposits(grid, motion, mm_per_px))

    @property
    def mask(self) -> Mask:
        """255 where cement is seen, on the reference grid; of size 0 before the first pulse."""
        return np.where(self._labels > 0, 255, 0).astype(np.uint8)

    def _take(
        self,
        change: Change,
        placed: Placed,
        phase: Phase,
        tips: list[PointPx],
        stirred: Mask,
        work_mm: float,
        t_s: float,
    ) -> None:
        watching = phase is Phase.CEMENT or self._started
        if not watching and change.pulses_learnt < 8:
            self._last_t_s = t_s
        if (watching and change.pulses_learnt >= LEAST_BASELINE_PULSES) or (
            self._phase_inferred and change.pulses_learnt >= 8
        ):
            if not self._started:
                self._millimetre = _millimetre(change)
            change.compare(placed, work_mm, self._known(work_mm))
            self._find(change, placed, self._resting(tips, work_mm), work_mm, t_s)
            self._started = self._started or watching or bool(self._labels.any())
        self._earlier_tips = [*self._earlier_tips, tips][-STILL_PULSES:]
        if not self._started or change.pulses_learnt < LEAST_BASELINE_PULSES:
            change.unlearn(stirred)
            change.learn(placed, work_mm, self._held(change, tips, work_mm) if self._phase_inferred else None)
        elif self._late_pulses < LEAST_BASELINE_PULSES:
            # What a needle's last stroke has stirred is still worth more than nothing to compare with.
            self._late_pulses += 1
            change.learn(placed, work_mm, cv2.compare(change.base_count, float(LEAST_BASELINE_PULSES), cv2.CMP_GE))

    def _renew(self, change: Change, placed: Placed, work_mm: float) -> None:
        """Take another baseline for another place of the C-arm; known deposits stay."""
        known = cv2.dilate(self._labels, square(round(KEPT_MM / work_mm)))
        self._is_renewed = change.renew(placed, work_mm, known)
        self._run_watch.forget()
        self._passing.forget()
        self._runs = {}
        self._candidates = {}
        self._foreign[:] = 0
        self._regions[:] = 0

    def _note_shafts(self, steel: Mask, ends: list[PointPx], work_mm: float, t_s: float) -> None:
        """Number the shafts along which cement may have run unseen, and mark where their hubs lately were."""
        names = cv2.connectedComponents(steel, ltype=cv2.CV_16U)[1]
        self._ends = [(seen_s, end) for seen_s, end in self._ends if t_s - seen_s <= HUB_S]
        self._ends += [(t_s, end) for end in ends]
        self._hubs[:] = 0
        for x, y in {(round(x), round(y)) for _, (x, y) in self._ends}:
            cv2.circle(self._hubs, (x, y), round(HUB_MM / work_mm), 255, -1)
        self._shafts = cv2.dilate(names, square(max(1, round(SHAFT_MM / work_mm)))) if steel.any() else names

    def _stirred(self, grid: ReferenceGrid, motion: RigidMotion, needles: tuple[Needle, ...], work_mm: float) -> Mask:
        """Where needles that have moved, or are new, have taken their shaft, their hub and the hand along."""
        stirred = np.zeros(grid.shape, np.uint8)
        for needle in needles:
            tip = _point(grid.to_grid(np.array([needle.tip_px]), motion))
            was = self._settled_tips.get(needle.id)
            if was is not None and hypot(tip[0] - was[0], tip[1] - was[1]) * work_mm <= STIRRED_MM:
                continue
            self._settled_tips[needle.id] = tip
            if needle.shaft_px is not None:
                ends = grid.to_grid(np.array(needle.shaft_px), motion)
                along = ends[1] - ends[0]
                # The bone at the tip has not been stirred, and it is where cement must be noticed first.
                share = min(1.0, 1.2 * HAND_MM / (work_mm * max(1.0, float(np.hypot(*along)))))
                line = np.rint([ends[0] + share * along, ends[1]]).astype(int).tolist()
                cv2.line(stirred, line[0], line[1], 255, 2 * round(HAND_MM / work_mm))
        return stirred

    def _resting(self, tips: list[PointPx], work_mm: float) -> list[PointPx]:
        """The tips that have not moved lately: nobody injects through a needle while driving it."""
        within = STILL_MM / work_mm
        return [
            (x, y)
            for x, y in tips
            if all(any(hypot(x - u, y - v) <= within for u, v in earlier) for earlier in self._earlier_tips)
        ]

    def _known(self, work_mm: float) -> Mask:
        """Where density has been added or seems to be: no part of tone, slip or noise."""
        known = np.where(self._regions > 0, 255, self._labels).astype(np.uint8)
        x, y, w, h = cv2.boundingRect(known)
        margin = max(1, round(1.0 / work_mm))
        box = _box(x - margin, y - margin, x + w + margin, y + h + margin)
        if w:
            known[box] = cv2.dilate(known[box], np.ones((2 * margin + 1, 2 * margin + 1), np.uint8))
        return known

    def _held(self, change: Change, tips: list[PointPx], work_mm: float) -> Mask:
        """Around the tips the baseline must not take up what may be the first cement."""
        near = np.zeros(change.shape, np.uint8)
        for x, y in tips:
            cv2.circle(near, (round(x), round(y)), max(1, round(3 * TIP_REACH_MM / work_mm)), 255, -1)
        near[change.z < GROW_SIGMA] = 0
        return near

    def _find(self, change: Change, placed: Placed, tips: list[PointPx], work_mm: float, t_s: float) -> None:
        """Update what is cement with one pulse."""
        before = self._regions.copy()
        if self._foreign.any():
            self._foreign[change.z < GROW_SIGMA] = 0
        passing = self._passing.follow(change.z, self._labels, work_mm)
        broad = self._own(change.broad, passing)
        found = self._regions_of(change, broad)
        if _gas_moves(change, placed, work_mm) and self._fill_gaps(change, placed, tips, work_mm, t_s):
            broad = self._own(change.broad, passing)
            found = self._regions_of(change, broad)
        border = round(LONE_BORDER_MM / work_mm)
        self._inner = cv2.erode(placed.valid, square(border), borderType=cv2.BORDER_CONSTANT, borderValue=0)
        pause_s, self._last_t_s = t_s - self._last_t_s, t_s
        most_px = inf if pause_s > PAUSE_S else max(SUDDEN_MM2, SUDDEN_MM2_PER_S * pause_s) / work_mm**2
        cement = np.zeros(change.shape, np.uint8)
        followed: dict[int, _Candidate] = {}
        # A wire that something crosses is one object in several regions: what is apart counts together.
        is_laid_in = self._apart_px(found, before) > most_px
        for name, (left, top, right, bottom, area) in enumerate(found.tolist(), start=1):
            box = _box(left, top, right, bottom)
            part = self._regions[box] == name
            if _to_nearest_mm(box, part, tips, work_mm) > TIP_REACH_MM or area > most_px:
                # What begins at a resting tip is what is watched for, whatever else is being laid in meanwhile.
                part &= ~self._laid_in(box, part, before[box], is_laid_in, most_px, work_mm)
            if not (self._labels[box][part] > 0).any():
                if not part.any() or area * work_mm**2 < LEAST_AREA_MM2:
                    continue
                seen = self._followed(before[box][part], area)
                if not self._is_cement(change, box, part, seen, tips, work_mm):
                    followed[name] = seen
                    continue
            cement[box][part] = 255
        self._candidates = followed
        gone = _washed_out(change, self._contrast, self._known(work_mm), cement, work_mm)
        outlines = _outlined(change, gone, cement, self._labels, work_mm, _swallowed(change, placed), self._millimetre)
        self._relabel(self._off_shafts(outlines, placed, change, work_mm), work_mm, t_s)
        self._follow_runs(change, placed, broad, work_mm, t_s)
        self._passing.note(self._foreign, change.z, self._labels, work_mm)

    def _own(self, broad: Density, passing: Mask | None) -> Density:
        """What has been added without what is foreign; a deposit that metal passes keeps what it had."""
        if passing is not None:
            broad = np.where((passing > 0) & (self._labels == 0), np.float32(0.0), broad)
        return np.where(self._foreign > 0, np.float32(0.0), broad) if self._foreign.any() else broad

    def _follow_runs(self, change: Change, placed: Placed, broad: Density, work_mm: float, t_s: float) -> None:
        """The fastest run of each deposit. ``broad``: what has been added, without what is foreign."""
        steel = cv2.bitwise_or(placed.steel, change.base_steel)
        self._run_watch.note(change, self._millimetre, t_s)
        self._runs = {}
        x, y, w, h = cv2.boundingRect(self._labels)
        for name in np.flatnonzero(np.bincount(self._labels[y : y + h, x : x + w].ravel(), minlength=1)[1:]) + 1:
            run = self._run_watch.fastest(
                cv2.compare(self._labels, float(name), cv2.CMP_EQ),
                self._since_s,
                change.z,
                broad,
                steel,
                self._millimetre,
                self._pulses_s,
                self._begun_s[int(name)],
                work_mm,
            )
            if run is not None:
                self._runs[int(name)] = run

    def _regions_of(self, change: Change, broad: Density) -> NDArray[np.int32]:
        return regions(change.z, broad, self._labels, SEED_SIGMA, GROW_SIGMA, STAY_SIGMA, LEAST_DENSITY, self._regions)

    def _fill_gaps(self, change: Change, placed: Placed, tips: list[PointPx], work_mm: float, t_s: float) -> bool:
        """Take into the baseline what gas has left there; True where there was any.

        Part by part of what is new, also beside a deposit, so that what comes on top of it later is told.
        """
        rim = max(1, round(1.0 / work_mm))
        settled = np.where(self._since_s > t_s - GAS_YOUNG_S, np.uint8(0), self._labels)
        for x, y in tips:
            cv2.circle(settled, (round(x), round(y)), 2 * rim, 255, -1)
        settled[change.broad > GAS_DEPTH * -float(change.broad[change.hidden == 0].min())] = 255
        is_new = np.where(cv2.dilate(settled, square(2 * rim)) > 0, 0, self._regions > 0).astype(np.uint8)
        count, parts, stats, _ = cv2.connectedComponentsWithStats(is_new, connectivity=8)
        filled = np.zeros(change.shape, np.uint8)
        for i in range(1, count):
            left, top, width, height, area = (int(v) for v in stats[i])
            if area * work_mm**2 < 0.5 * LEAST_AREA_MM2:
                continue
            wide = _box(left - 2 * rim, top - 2 * rim, left + width + 2 * rim, top + height + 2 * rim)
            part = (parts[wide] == i).astype(np.uint8)
            part = cv2.dilate(part, square(rim))
            part[settled[wide] > 0] = 0
            if _gone_share(change, placed, wide, part, work_mm) > GONE_SHARE:
                filled[wide] |= part
        if not filled.any():
            return False
        change.fill(filled)
        self._labels[filled > 0] = 0
        self._since_s[filled > 0] = inf
        return True

    def _off_shafts(self, outlines: Mask, placed: Placed, change: Change, work_mm: float) -> Mask:
        """The outlines without what only a shaft's own flanks show: its edges slip along all of its length.

        Over a shaft cement counts where it comes out beside it or at the tip, and where it has run along it from there.
        """
        shafts = cv2.bitwise_or(placed.steel, change.base_steel)
        if not shafts.any():
            return outlines
        shafts = cv2.dilate(shafts, square(max(1, round(FLANK_MM / work_mm))))
        beside = cv2.bitwise_and(outlines, shafts)
        seen = cv2.bitwise_xor(outlines, beside)
        reach = cv2.dilate(seen, square(round((FLANK_MM + SHAFT_MM) / work_mm)))
        for x, y in self._settled_tips.values():
            cv2.circle(reach, (round(x), round(y)), round(TIP_REACH_MM / work_mm), 255, -1)
        flanks = np.where(reach == 0, beside, 0).astype(np.uint8)
        return outlines ^ _slipped(flanks, outlines, shafts, change, self._millimetre, work_mm)

    def _apart_px(self, found: NDArray[np.int32], before: NDArray[np.int32]) -> int:
        """How much is new on this pulse in all regions that hold no deposit."""
        new_px = 0
        for name, (left, top, right, bottom, _) in enumerate(found.tolist(), start=1):
            box = _box(left, top, right, bottom)
            part = self._regions[box] == name
            if not (self._labels[box][part] > 0).any():
                new_px += int((before[box][part] == 0).sum())
        return new_px

    def _laid_in(
        self,
        box: tuple[slice, slice],
        part: NDArray[np.bool_],
        before: NDArray[np.int32],
        is_laid_in: bool,
        most_px: float,
        work_mm: float,
    ) -> NDArray[np.bool_]:
        """What of a region is no growth but an object or a shutter: more at once than flows, or its blurred rim.

        ``is_laid_in``: what has appeared apart from all deposits is more than flows. What was there before, as a
        candidate that has grown, is no part of it.
        """
        standing = self._labels[box] > 0
        fresh = part & (before == 0) & ~standing
        rim = max(1, round(1.0 / work_mm))
        rows, cols = box
        wide = _box(cols.start - rim, rows.start - rim, cols.stop + rim, rows.stop + rim)
        mark = np.zeros(self._foreign[wide].shape, np.uint8)
        inner = mark[rows.start - wide[0].start :, cols.start - wide[1].start :][: part.shape[0], : part.shape[1]]
        comes_at_once = 2 * int(fresh.sum()) > int(part.sum())
        if int(fresh.sum()) > most_px or (is_laid_in and comes_at_once and not (part & standing).any()):
            laid = fresh
        elif not (part & standing).any():
            inner[part] = 255
            if not (cv2.dilate(mark, square(rim)) & self._foreign[wide]).any():
                return np.zeros(part.shape, np.bool_)
            laid = part
        else:
            return np.zeros(part.shape, np.bool_)
        inner[laid] = 255
        rimmed = cv2.dilate(mark, square(rim))
        rimmed[self._labels[wide] > 0] = 0
        self._foreign[wide] |= rimmed
        return np.asarray(laid, dtype=np.bool_)

    def _followed(self, before: NDArray[np.int32], area_px: int) -> _Candidate:
        """The candidate that lay under this part on the last pulse, brought up to date; or a new one."""
        counts = np.bincount(before)
        counts[0] = 0
        old = self._candidates.get(int(counts.argmax()))
        if old is None:
            return _Candidate(area_px, area_px, 1)
        # What appears at once needs some pulses to stand out of the noise in full: growth counts from then on.
        early = max(area_px, old.early_area_px) if old.pulses < EMERGING_PULSES else old.early_area_px
        return _Candidate(area_px, early, old.pulses + 1)

    def _is_cement(
        self,
        change: Change,
        box: tuple[slice, slice],
        part: NDArray[np.bool_],
        seen: _Candidate,
        tips: list[PointPx],
        work_mm: float,
    ) -> bool:
        """Whether a candidate is called cement on this pulse."""
        # Cement thickens within a second; a faint haze that has long stood at the field's edge does not.
        least = self._millimetre * (APART_MM if seen.pulses < LONE_PULSES else 1.0)
        if float(change.broad[box][part].max()) < least:
            return False
        to_tip_mm = _to_nearest_mm(box, part, tips, work_mm)
        if to_tip_mm <= TIP_REACH_MM:
            return seen.pulses >= 2
        if not self._started:
            return False
        if _fills_a_gap(change, box, part, work_mm):
            return False
        by_a_hub = bool((self._hubs[box][part] > 0).any())
        inner = part & (self._inner[box] > 0)
        is_inner = bool(inner[part].all())
        is_fed = to_tip_mm <= DEPOSIT_REACH_MM or self._names_near(box, part, work_mm, is_inner)
        if is_fed and not by_a_hub and float(change.broad[box][part].max()) >= NEAR_MM * self._millimetre:
            return seen.pulses >= (1 if seen.area_px * work_mm**2 >= PLAIN_AREA_MM2 else 3)
        return _stands_alone(change.broad[box] / self._millimetre, inner, seen, work_mm)

    def _names_near(
        self, box: tuple[slice, slice], part: NDArray[np.bool_], work_mm: float, along_shafts: bool = True
    ) -> list[int]:
        """Ids of the deposits within reach of a part of the grid, the oldest first. A speck reaches nothing.

        ``along_shafts``: a shaft hides cement along its length, so what touches it is as near as what touches it
        elsewhere.
        """
        if not self._solid.any():
            return []
        shafts = np.unique(self._shafts[box][part]) if along_shafts else np.zeros(0, np.uint16)
        names = set(self._solid[np.isin(self._shafts, shafts[shafts > 0])].tolist())
        around = _grown(box, round(DEPOSIT_REACH_MM / work_mm))
        away = np.full(self._solid[around].shape, 255, np.uint8)
        r, c = np.nonzero(part)
        away[r + box[0].start - around[0].start, c + box[1].start - around[1].start] = 0
        near = cv2.distanceTransform(away, cv2.DIST_L2, 3) <= DEPOSIT_REACH_MM / work_mm
        names |= set(self._solid[around][near].tolist())
        return sorted(names - {0})

    def _relabel(self, found: Mask, work_mm: float, t_s: float) -> None:
        """Give each part of the mask the id of the deposit it lies on or nearest to, or a new one."""
        x, y, w, h = cv2.boundingRect(cv2.bitwise_or(found, self._labels))
        whole = _box(x, y, x + w, y + h)
        if not w:
            return
        n, parts, stats, _ = cv2.connectedComponentsWithStats(np.ascontiguousarray(found[whole]), connectivity=8)
        named: dict[int, int] = {}
        for i in sorted(range(1, n), key=lambda i: -int(stats[i, cv2.CC_STAT_AREA])):
            left, top, width, height = (int(v) for v in stats[i, :4])
            part = parts[top : top + height, left : left + width] == i
            box = _box(x + left, y + top, x + left + width, y + top + height)
            below = self._labels[box][part]
            below = below[below > 0]
            # Deposits that have run together keep the elder's id; a part of its own belongs to what it is near to.
            near = [int(below.min())] if len(below) else self._names_near(box, part, work_mm)
            named[i] = near[0] if near else self._new_id()
        lookup = np.zeros(n, np.uint8)
        for i, name in named.items():
            lookup[i] = name
        fresh = lookup[parts]
        solid = stats[:, cv2.CC_STAT_AREA] * work_mm**2 >= PLAIN_AREA_MM2
        self._solid[:] = 0
        self._solid[whole] = (lookup * solid)[parts]
        # Cement does not leave: what is lost in noise and comes back has been there since it was first seen.
        np.minimum(self._since_s[whole], np.float32(t_s), out=self._since_s[whole], where=fresh > 0)
        self._labels[whole] = fresh
        areas = np.bincount(fresh.ravel()) * work_mm**2
        self._pulses_s = [*self._pulses_s, t_s][-1 - max(FRONT_STEPS, self._steps_in_window(t_s)) :]
        for name in set(named.values()):
            self._begun_s.setdefault(name, t_s)
            history = self._areas.setdefault(name, [])
            history.append((t_s, float(areas[name])))
            while history[0][0] < t_s - RATE_WINDOW_S:
                history.pop(0)

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def _deposits(self, grid: ReferenceGrid, motion: RigidMotion, mm_per_px: float | None) -> tuple[CementDeposit, ...]:
        x, y, w, h = cv2.boundingRect(self._labels)
        part = self._labels[y : y + h, x : x + w]
        out = []
        for name in (int(i) for i in np.unique(part) if i > 0):
            mask = np.where(part == name, 255, 0).astype(np.uint8)
            history = self._areas[name]
            front = self._front(name, mask, (x, y), grid.work_mm(mm_per_px))
            known = mm_per_px is not None
            out.append(
                CementDeposit(
                    id=name,
                    polygons_px=grid.outlines(mask, motion, (x, y)),
                    area_mm2=history[-1][1] if known else None,
                    growth_mm2_per_s=_slope(history) if known else None,
                    front_mm_per_s=front.mm_per_s if front is not None and known else None,
                    front_px=_moved(grid, motion, front.xy) if front is not None else None,
                    run_mm=front.run_mm if front is not None and known else None,
                )
            )
        return tuple(out)

    def _steps_in_window(self, t_s: float) -> int:
        return sum(past_s >= t_s - FRONT_WINDOW_S for past_s in self._pulses_s)

    def _front(self, name: int, mask: Mask, offset_xy: tuple[int, int], work_mm: float) -> Front | None:
        """A deposit's run where there is one, else its edge that has advanced farthest; None where nothing has."""
        if name in self._runs:
            return self._runs[name]
        x, y = offset_xy
        front = edge_of(mask, self._since_s[y : y + mask.shape[0], x : x + mask.shape[1]], self._pulses_s, work_mm)
        return None if front is None else replace(front, xy=(x + front.xy[0], y + front.xy[1]))


def _washed_out(change: Change, contrast: Density | None, known: Mask, found: Mask, work_mm: float) -> Density | None:
    """How much density contrast has taken away from under the accepted regions since the baseline; None where none did.

    Contrast fades everywhere by the same share, which is seen where nothing else is ``known`` to have been added.
    """
    x, y, w, h = cv2.boundingRect(found)
    reach = round(2 * FADING_MM / work_mm)
    box = _box(x - reach, y - reach, x + w + reach, y + h + reach)
    if contrast is None or not (contrast[y : y + h, x : x + w] > 0).any():
        return None
    seen = np.where((known[box] == 0) & (change.hidden[box] == 0), contrast[box], np.float32(0.0))
    size = tuple(max(1, side // 4) for side in seen.shape[::-1])
    faded, there = (
        cv2.GaussianBlur(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), (0, 0), FADING_MM / (4 * work_mm))
        for plane in (-change.broad[box] * seen, seen * seen)
    )
    share = np.divide(faded, there, out=np.zeros_like(faded), where=there > 1e-5).clip(0.0, 1.0)
    gone = np.zeros_like(contrast)
    gone[box] = cv2.resize(share, seen.shape[::-1], interpolation=cv2.INTER_LINEAR) * contrast[box]
    return gone


def _outlined(
    change: Change,
    gone: Density | None,
    found: Mask,
    standing: Mask,
    work_mm: float,
    steel: Mask,
    millimetre: float,
) -> Mask:
    """The accepted regions, cut to where their finely smoothed density ends, and joined across shafts.

    ``gone``: density that has been taken away meanwhile.
    """
    out = np.zeros(found.shape, np.uint8)
    x, y, w, h = cv2.boundingRect(found)
    if not w:
        return out
    margin = round(3.0 / work_mm)
    box = _box(x - margin, y - margin, x + w + margin, y + h + margin)
    inside, hidden = found[box], steel[box]
    added, broad = change.added[box], change.broad[box]
    if gone is not None:
        added, broad = added + gone[box], broad + gone[box]
    reach = cv2.dilate(inside, square(1))
    if hidden.any():
        added = _behind(added, hidden, work_mm)
        reach |= cv2.dilate(inside, square(round(2 * SHAFT_MM / work_mm))) & hidden
    plateau = _plateau(broad, inside, work_mm)
    level = np.clip(EDGE_SHARE * plateau, PLAIN_MM * millimetre, np.maximum(millimetre, SLOPE_SHARE * plateau))
    part = np.where((added > level) & (plateau > THIN_MM * millimetre), reach, 0).astype(np.uint8)
    part = without_threads(part, hidden, change.z[box])
    part = cv2.morphologyEx(part, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    part = cv2.morphologyEx(part, cv2.MORPH_CLOSE, square(1))
    out[box] = _evident(part, standing[box], change.z[box], broad / millimetre, work_mm)
    return out


def without_threads(outline: Mask, hidden: Mask, z: Density) -> Mask:
    """The outline without what is narrower than three pixels, about a millimetre, unless it is evident by itself.

    Blur leaves nothing so narrow: it is noise that a deposit's edge has gathered. ``hidden``: not 0 where steel may
    hide the rest of its width. ``z``: in standard deviations.
    """
    wide = cv2.morphologyEx(cv2.bitwise_or(outline, hidden), cv2.MORPH_OPEN, square(1))
    return np.where((wide > 0) | (z > SEED_SIGMA), outline, 0).astype(np.uint8)


def _slipped(flanks: Mask, outlines: Mask, shafts: Mask, change: Change, millimetre: float, work_mm: float) -> Mask:
    """What of the outlines on shafts, ``flanks``, may be no more than a shaft that has slipped.

    That is all but what hangs together with outlines beside shafts and has run along one from there.
    """
    if not flanks.any():
        return flanks
    n, parts = cv2.connectedComponents(outlines, connectivity=8)
    is_fed = np.zeros(n, np.bool_)
    is_fed[parts[(outlines > 0) & (flanks == 0)]] = True
    slipped = flanks.copy()
    n, pieces, stats, _ = cv2.connectedComponentsWithStats(flanks, connectivity=8)
    for i in range(1, n):
        left, top, width, height = (int(v) for v in stats[i, :4])
        box = _grown(_box(left, top, left + width, top + height), round(DEPOSIT_REACH_MM / work_mm))
        piece = pieces[box] == i
        if is_fed[parts[box][piece]].all() and _has_run_along(
            piece, outlines, shafts, change, box, millimetre, work_mm
        ):
            slipped[box][piece] = 0
    return slipped


def _has_run_along(
    piece: NDArray[np.bool_],
    outlines: Mask,
    shafts: Mask,
    change: Change,
    box: tuple[slice, slice],
    millimetre: float,
    work_mm: float,
) -> bool:
    """Whether a piece of an outline that lies on a shaft is cement and not the shaft itself, slipped.

    A slip makes the other flank lighter by as much, and the shaft beyond the piece as dense. Only the flanks tell:
    the steel's own shadow has no equal in the picture that its tone could be matched by.
    """
    broad, on_shaft, mark = change.broad[box], shafts[box] > 0, piece.astype(np.uint8)
    flank = piece & (cv2.erode(shafts[box], square(STEEL_MARGIN_PX + round(FLANK_MM / work_mm))) == 0)
    if not flank.any():
        return False
    thick = float(np.median(broad[flank]))
    across = on_shaft & (cv2.dilate(mark, square(round(2 * SHAFT_MM / work_mm))) > 0)
    lighter = across & (change.z[box] < -STAY_SIGMA)
    outlined = cv2.dilate(outlines[box], square(round(FLANK_MM / work_mm))) > 0
    beyond = on_shaft & ~outlined & (cv2.dilate(mark, square(round(DEPOSIT_REACH_MM / work_mm))) > 0)
    return (
        thick > millimetre
        and -float(broad[lighter].sum()) < 0.5 * float(broad[flank].sum())
        and beyond.any()
        and float(np.percentile(broad[beyond], 90)) < 0.5 * thick
    )


def _evident(outlines: Mask, standing: Mask, z: Density, thick_mm: Density, work_mm: float) -> Mask:
    """The pieces of a mask that would count if they stood alone: beside a deposit, veil and noise are no cement.

    ``standing``: not 0 where cement was before. A new piece beside it must be a millimetre thick somewhere, a small
    one more: noise that lasts makes specks.
    """
    n, pieces, stats, _ = cv2.connectedComponentsWithStats(outlines, connectivity=8)
    area_mm2 = stats[:, cv2.CC_STAT_AREA] * work_mm**2
    least_mm = np.full(n, APART_MM, np.float32)
    if standing.any():
        least_mm[:] = np.where(area_mm2 >= PLAIN_AREA_MM2, 1.0, NEAR_MM)
        least_mm[pieces[standing > 0]] = APART_MM
    seeds = pieces[(z > SEED_SIGMA) & (thick_mm > least_mm[pieces])]
    counts = (np.bincount(seeds, minlength=n) > 0) & (area_mm2 >= LEAST_AREA_MM2)
    counts[0] = False
    return np.where(counts[pieces], outlines, 0).astype(np.uint8)


def _millimetre(change: Change) -> float:
    """What a millimetre of cement adds on this machine, told by the baseline's shafts; the usual without one."""
    known = change.base_count > 0
    core = (steel_itself(change.base_steel) > 0) & known
    if not core.any():
        return MILLIMETRE_DENSITY
    beside = (cv2.dilate(change.base_steel, square(4)) > 0) & (cv2.dilate(change.base_steel, square(1)) == 0) & known
    contrast = float(np.median(change.base[core]) - np.median(change.base[beside])) if beside.any() else 0.0
    return min(max(SHAFT_SHARE * contrast, LEAST_MILLIMETRE), MOST_MILLIMETRE)


def _swallowed(change: Change, placed: Placed) -> Mask:
    """255 where an instrument's shadow hides what lies before or behind it: moved ones, and those at rest inside."""
    core = steel_itself(np.bitwise_and(placed.steel, change.base_steel))
    return np.where(core > 0, 255, change.hidden).astype(np.uint8)


def _plateau(broad: Density, inside: Mask, work_mm: float) -> Density:
    """The greatest density within some 2.5 mm, from inside; at half the resolution, which is enough for a level."""
    h, w = broad.shape
    half = cv2.resize(cv2.bitwise_and(broad, broad, mask=inside), ((w + 1) // 2, (h + 1) // 2))
    return np.asarray(cv2.resize(cv2.dilate(half, square(round(1.25 / work_mm))), (w, h)), dtype=np.float32)


def _behind(added: Density, hidden: Mask, work_mm: float) -> Density:
    """The added density with what a shaft hides filled in from both of its sides (a normalised convolution)."""
    seen = (hidden == 0).astype(np.float32)
    sigma = 0.5 * SHAFT_MM / work_mm
    total, share = cv2.GaussianBlur(added * seen, (0, 0), sigma), cv2.GaussianBlur(seen, (0, 0), sigma)
    return np.where(hidden > 0, np.maximum(added, total / np.maximum(share, 1e-3)), added).astype(np.float32)


def _fills_a_gap(change: Change, box: tuple[slice, slice], part: NDArray[np.bool_], work_mm: float) -> bool:
    """True where the present picture goes on across a part's border and only the baseline had a step there.

    Gas has moved on, nothing has come. Where something else has changed beside the part, its border says nothing.
    """
    rim = max(2, round(2.0 / work_mm))
    wide = _grown(box, 2 * rim)
    inside = np.zeros(change.base[wide].shape, np.uint8)
    inside[box[0].start - wide[0].start :, box[1].start - wide[1].start :][: part.shape[0], : part.shape[1]] = part
    inner = (inside > 0) & (cv2.erode(inside, square(rim)) == 0)
    outer = (cv2.dilate(inside, square(2 * rim)) > 0) & (cv2.dilate(inside, square(rim // 2)) == 0)
    outer &= (change.base_count[wide] > 0) & (np.abs(change.z[wide]) < GROW_SIGMA) & (change.base_steel[wide] == 0)
    if int(outer.sum()) < 20:
        return False
    step, added = (
        float(plane[wide][inner].mean() - plane[wide][outer].mean()) for plane in (change.base, change.broad)
    )
    return -step > 0.5 * added


def _to_nearest_mm(box: tuple[slice, slice], part: NDArray[np.bool_], points: list[PointPx], work_mm: float) -> float:
    """How far a part of the grid is from the nearest of some points; infinitely where there is none."""
    if not points or not part.any():
        return inf
    rows, cols = np.nonzero(part)
    rows, cols = rows + box[0].start, cols + box[1].start
    return min(float(np.hypot(cols - x, rows - y).min()) for x, y in points) * work_mm


def _gas_moves(change: Change, placed: Placed, work_mm: float) -> bool:
    """Whether anything larger than noise and slipped edges has become lighter than the baseline."""
    lighter = cv2.compare(change.z, -SEED_SIGMA, cv2.CMP_LT)
    lighter &= placed.valid & cv2.compare(change.hidden, 0, cv2.CMP_EQ)
    if cv2.countNonZero(lighter) * work_mm**2 < GAS_MM2:
        return False
    return float(opened(lighter, GAS_RADIUS_MM / work_mm).sum()) * work_mm**2 >= GAS_MM2


def _gone_share(change: Change, placed: Placed, box: tuple[slice, slice], part: Mask, work_mm: float) -> float:
    """How much of the edges of what has been added to a part is where the baseline had them, with the opposite sign.

    The edges that only the baseline has are of what has left. A bubble that has moved by less than its size leaves a
    crescent, of which one edge has gone and the other is the bubble's new one.
    """
    steel = cv2.dilate(placed.steel[box] | change.base_steel[box], square(STEEL_MARGIN_PX))
    use = (part > 0) & (steel == 0) & (placed.valid[box] > 0) & (change.base_count[box] > 0)
    base = cv2.GaussianBlur(change.base[box], (0, 0), GAS_BLUR_MM / work_mm)
    broad = cv2.GaussianBlur(change.broad[box], (0, 0), (GAS_BLUR_MM**2 - COARSE_MM**2) ** 0.5 / work_mm)
    against, energy = np.zeros(base.shape, np.float32), np.zeros(base.shape, np.float32)
    for axis in ((1, 0), (0, 1)):
        was, came = (cv2.Sobel(plane, cv2.CV_32F, *axis) for plane in (base, broad))
        against -= was * came
        energy += came * came
    against[~use] = energy[~use] = 0
    near_against, near_energy = (cv2.GaussianBlur(plane, (0, 0), EDGE_MM / work_mm) for plane in (against, energy))
    total = float(energy.sum())
    return float(energy[near_against > 0.5 * near_energy].sum()) / total if total > 0 else 0.0


def _stands_alone(thick_mm: Density, part: NDArray[np.bool_], seen: _Candidate, work_mm: float) -> bool:
    """Whether a candidate that no needle and no deposit feeds can be nothing but cement.

    ``part``: what of it lies away from the field's border.
    """
    peak_mm = float(thick_mm[part].max(initial=0.0))
    return (
        seen.pulses >= LONE_PULSES
        and int(part.sum()) * work_mm**2 >= LONE_AREA_MM2
        and seen.area_px >= LONE_GROWTH * seen.early_area_px
        and peak_mm >= LONE_MM
        and _is_compact(part & (thick_mm > 0.5 * peak_mm), LONE_RADIUS_MM / work_mm)
    )


def _is_compact(part: NDArray[np.bool_], radius_px: float) -> bool:
    """Whether a disc of this radius fits into a part."""
    framed = cv2.copyMakeBorder(part.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    return float(cv2.distanceTransform(framed, cv2.DIST_L2, 3).max()) > radius_px


def _once(needles: tuple[Needle, ...], reach_px: float) -> tuple[Needle, ...]:
    """The needles without those that are an elder one seen the other way round, its hub taken for a tip."""
    return tuple(needle for needle in needles if not any(_reverses(needle, elder, reach_px) for elder in needles))


def _reverses(needle: Needle, elder: Needle, reach_px: float) -> bool:
    if elder.id >= needle.id or needle.shaft_px is None or elder.shaft_px is None:
        return False
    apart = np.array(needle.shaft_px) - np.array(elder.shaft_px[::-1])
    return bool((np.hypot(*apart.T) <= reach_px).all())


def _slope(history: list[tuple[float, float]]) -> float | None:
    """Least-squares growth of an area history, per second."""
    if len(history) < 3:
        return None
    t, area = np.array(history).T
    t = t - t.mean()
    spread = float(t @ t)
    return float(t @ area) / spread if spread > 0 else None


def _moved(grid: ReferenceGrid, motion: RigidMotion, xy: PointPx) -> PointPx:
    return _point(motion.move(grid.to_frame_px(np.array([xy]))))


def _point(xy: NDArray[np.float64]) -> PointPx:
    return float(xy[0, 0]), float(xy[0, 1])


def _grown(box: tuple[slice, slice], reach: int) -> tuple[slice, slice]:
    rows, cols = box
    return _box(cols.start - reach, rows.start - reach, cols.stop + reach, rows.stop + reach)


def _box(left: int, top: int, right: int, bottom: int) -> tuple[slice, slice]:
    """Rows and columns of a box; what lies beyond the first row or column is cut off."""
    return slice(max(0, top), max(0, bottom)), slice(max(0, left), max(0, right))
