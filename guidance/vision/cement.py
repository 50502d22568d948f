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
from guidance.vision.cement_gas import fills_a_gap, gaps, gas_moves
from guidance.vision.cement_laid import LaidObjects
from guidance.vision.cement_outline import (
    APART_MM,
    DEPOSIT_REACH_MM,
    LEAST_AREA_MM2,
    MILLIMETRE_DENSITY,
    NEAR_MM,
    PLAIN_AREA_MM2,
    SHAFT_MM,
    TIP_REACH_MM,
    millimetre_density,
    off_shafts,
    outlined,
    swallowed,
)
from guidance.vision.cement_passing import PassingMetal
from guidance.vision.cement_run import FRONT_STEPS, FRONT_WINDOW_S, Front, RunWatch, edge_of
from guidance.vision.cement_washout import WashOut
from guidance.vision.cement_wires import WireWatch
from guidance.vision.change import (
    GROW_SIGMA,
    LEAST_BASELINE_PULSES,
    PRIOR_MM_PER_PX,
    SEED_SIGMA,
    STAY_SIGMA,
    Change,
    Placed,
    ReferenceGrid,
    box_of,
    grown,
    square,
)
from guidance.vision.geometry import RigidMotion
from guidance.vision.kernels.change import regions
from guidance.vision.picture import Density, Mask, Picture

LEAST_DENSITY: Final = 0.02
"""A quarter of a millimetre of cement where the display's curve and scatter have taken a third of its 13 %."""
KEPT_MM: Final = 2.0
"""Around a known deposit a new baseline keeps what has been added: it has grown by that while the C-arm moved."""
STILL_MM: Final = 1.5
STILL_PULSES: Final = 3
HUB_MM: Final = 15.0
HUB_S: Final = 10.0
"""Around the outer end of a shaft a hub and a hand move: what appears there belongs to no deposit nearby, also while
the shaft is not found."""
WATCHED_MM: Final = 40.0
"""So far around tips and deposits the display's tone is told: far more than they cover, and less than shutters may."""
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
SUDDEN_MM2: Final = 60.0
SUDDEN_MM2_PER_S: Final = 400.0
"""Twice what a run 2 mm wide at 10 cm/s would add: a clamp, a shutter or a table edge comes faster than cement."""
BENEATH_MM: Final = 3.0
"""So far a deposit may have grown beneath metal: what shows there when it has gone has not come at once. Before the
first deposit is told it may do so anywhere."""
TIP_STANDS_OUT: Final = 2.0
METAL_S: Final = 0.7
"""What has been called cement no longer ago came with the metal that is seen there now."""
PAUSE_S: Final = 1.0
"""After so long without a pulse of this view a deposit may rightly have grown by any amount."""
GAS_YOUNG_S: Final = 4.0
"""So long what has been taken for growth may yet turn out to be what gas has left."""
GAS_PASSES_S: Final = 1.0
"""So long a bubble's trailing edge, a few mm wide, takes to leave a place that it has begun to leave."""
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
        self._is_interrupted = False
        self._late_pulses = 0
        self._candidates: dict[int, _Candidate] = {}
        self._labels: Mask = np.zeros((0, 0), np.uint8)
        self._laid = LaidObjects((0, 0))
        self._passing = PassingMetal()
        self._wires = WireWatch()
        self._covered: Mask = np.zeros((0, 0), np.uint8)
        self._unseen: Mask = np.zeros((0, 0), np.uint8)
        self._rests = 0
        self._is_renewed = True
        self._inner: Mask = np.zeros((0, 0), np.uint8)
        self._regions: NDArray[np.int32] = np.zeros((0, 0), np.int32)
        self._solid: Mask = np.zeros((0, 0), np.uint8)
        self._hubs: Mask = np.zeros((0, 0), np.uint8)
        self._wash_out: WashOut | None = None
        self._millimetre = MILLIMETRE_DENSITY
        self._settled_tips: dict[int, PointPx] = {}
        self._ends: list[tuple[float, PointPx]] = []
        self._shafts: NDArray[np.uint16] = np.zeros((0, 0), np.uint16)
        self._since_s: NDArray[np.float32] = np.zeros((0, 0), np.float32)
        self._vacated_s: NDArray[np.float32] = np.zeros((0, 0), np.float32)
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
            self._laid = LaidObjects(self._grid.shape)
            self._covered = np.zeros(self._grid.shape, np.uint8)
            self._regions = np.zeros(self._grid.shape, np.int32)
            self._since_s = np.full(self._grid.shape, inf, np.float32)
            self._vacated_s = np.full(self._grid.shape, -inf, np.float32)
            if contrast_on is not None:
                self._wash_out = WashOut(contrast_on(self._grid))
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
        self._is_interrupted = True
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
                self._millimetre = millimetre_density(change)
            change.compare(placed, work_mm, self._known(work_mm), watched=self._watched(tips, work_mm))
            if self._is_interrupted:
                self._take_steel_as_it_is(change, placed, work_mm)
            self._find(change, placed, self._resting(tips, work_mm), work_mm, t_s)
            if self._wash_out is not None:
                self._wash_out.take(change, self._known(work_mm), self._labels, work_mm)
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
        self._wires.forget()
        self._runs = {}
        self._candidates = {}
        self._laid.forget()
        self._regions[:] = 0

    def _take_steel_as_it_is(self, change: Change, placed: Placed, work_mm: float) -> None:
        """After an interruption a shaft may be shown darker than before: with shutters closed there is less scatter,
        and nothing else is as dark as to tell how much. Where no deposit lies it goes into the baseline so.
        """
        self._is_interrupted = False
        around = cv2.dilate(self._labels, square(round(KEPT_MM / work_mm)))
        steel = cv2.bitwise_or(placed.steel, change.base_steel)
        change.fill(cv2.bitwise_and(steel, cv2.compare(around, 0, cv2.CMP_EQ)))

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
        box = box_of(x - margin, y - margin, x + w + margin, y + h + margin)
        if w:
            known[box] = cv2.dilate(known[box], np.ones((2 * margin + 1, 2 * margin + 1), np.uint8))
        return known

    def _watched(self, tips: list[PointPx], work_mm: float) -> Mask | None:
        """255 in the box where cement may come next, around tips and deposits; None where there are neither."""
        x, y, w, h = cv2.boundingRect(self._labels)
        places = np.rint([*tips, *([(x, y), (x + w, y + h)] if w else [])]).astype(int)
        if not len(places):
            return None
        watched, reach = np.zeros_like(self._labels), round(WATCHED_MM / work_mm)
        (left, top), (right, bottom) = places.min(axis=0) - reach, places.max(axis=0) + reach
        watched[box_of(left, top, right, bottom)] = 255
        return watched

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
        pause_s, self._last_t_s = t_s - self._last_t_s, t_s
        if self._laid.mask.any():
            self._follow_laid(change, work_mm, t_s)
        metal, passing = self._metal(change, placed, tips, pause_s, work_mm, t_s)
        broad = self._own(change.broad, passing)
        found = self._regions_of(change, broad)
        if gas_moves(change, placed, work_mm) and self._fill_gaps(change, placed, tips, work_mm, t_s):
            broad = self._own(change.broad, passing)
            found = self._regions_of(change, broad)
        border = round(LONE_BORDER_MM / work_mm)
        self._inner = cv2.erode(placed.valid, square(border), borderType=cv2.BORDER_CONSTANT, borderValue=0)
        cement = self._accepted(change, found, before, tips, pause_s, work_mm)
        outlines = outlined(change, cement, self._labels, work_mm, swallowed(change, placed), self._millimetre)
        outlines = off_shafts(outlines, placed, change, self._settled_tips.values(), self._millimetre, work_mm)
        if metal is not None:
            outlines = np.where(metal > 0, np.where(self._labels > 0, np.uint8(255), np.uint8(0)), outlines)
        self._relabel(outlines, work_mm, t_s)
        self._follow_runs(change, placed, broad, work_mm, t_s)

    def _follow_laid(self, change: Change, work_mm: float, t_s: float) -> None:
        """Let what was laid in go where it goes, and take from deposits what they have had of it."""
        is_young = (self._labels == 0) | (self._since_s > t_s - METAL_S)
        taken, left_behind = self._laid.follow(change, is_young, work_mm, t_s)
        self._unlabel(taken)
        self._covered = cv2.bitwise_or(self._covered, left_behind)

    def _metal(
        self, change: Change, placed: Placed, tips: list[PointPx], pause_s: float, work_mm: float, t_s: float
    ) -> tuple[Mask | None, Mask | None]:
        """255 on thick metal that passes, and on all that does, wires too; None where there is none."""
        if pause_s > PAUSE_S:
            self._passing.forget()
        steel = placed.steel | change.base_steel | change.hidden
        metal = self._passing.seen(change, self._labels, steel, self._millimetre, work_mm)
        wires = self._wires.seen(change, self._labels, steel | cv2.bitwise_not(placed.valid), work_mm)
        if wires is not None:
            wires = _without_cement_at_tips(wires, change.broad, tips, work_mm)
        passing = wires if metal is None else metal if wires is None else cv2.bitwise_or(metal, wires)
        may_have_grown = self._covered
        if self._labels.any():
            may_have_grown = cv2.bitwise_and(
                self._covered, cv2.dilate(self._labels, square(round(BENEATH_MM / work_mm)))
            )
        self._unseen = cv2.bitwise_or(self._passing.given_back, may_have_grown)
        self._covered = np.zeros(change.shape, np.uint8) if passing is None else passing
        if passing is not None:
            self._unlabel(cv2.bitwise_and(passing, cv2.compare(self._since_s, t_s - METAL_S, cv2.CMP_GT)))
        return metal, passing

    def _accepted(
        self,
        change: Change,
        found: NDArray[np.int32],
        before: NDArray[np.int32],
        tips: list[PointPx],
        pause_s: float,
        work_mm: float,
    ) -> Mask:
        """255 on the regions, or their parts, that are cement; the others are followed as candidates."""
        most_px = inf if pause_s > PAUSE_S else max(SUDDEN_MM2, SUDDEN_MM2_PER_S * pause_s) / work_mm**2
        cement = np.zeros(change.shape, np.uint8)
        followed: dict[int, _Candidate] = {}
        # A wire that something crosses is one object in several regions: what is apart counts together.
        is_laid_in = self._apart_px(found, before) > most_px
        for name, (left, top, right, bottom, area) in enumerate(found.tolist(), start=1):
            box = box_of(left, top, right, bottom)
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
        return cement

    def _unlabel(self, where: Mask) -> None:
        """What has been taken for cement is none, and never was."""
        self._labels[where > 0] = 0
        self._since_s[where > 0] = inf

    def _own(self, broad: Density, passing: Mask | None) -> Density:
        """What has been added without what is foreign; a deposit that metal passes keeps what it had."""
        if passing is not None:
            broad = np.where((passing > 0) & (self._labels == 0), np.float32(0.0), broad)
        laid = self._laid.mask
        return np.where(laid > 0, np.float32(0.0), broad) if laid.any() else broad

    def _follow_runs(self, change: Change, placed: Placed, broad: Density, work_mm: float, t_s: float) -> None:
        """The fastest run of each deposit. ``broad``: what has been added, without what is foreign."""
        steel = cv2.bitwise_or(placed.steel, change.base_steel)
        foreign = (broad <= 0) & (change.broad > 0)
        self._run_watch.note(change, self._labels, foreign, steel, self._millimetre, work_mm, t_s)
        runs = {name: self._run_watch.fastest(name, self._begun_s[name]) for name in self._names()}
        self._runs = {name: run for name, run in runs.items() if run is not None}

    def _names(self) -> list[int]:
        x, y, w, h = cv2.boundingRect(self._labels)
        counts = np.bincount(self._labels[y : y + h, x : x + w].ravel(), minlength=1)
        return [int(name) + 1 for name in np.flatnonzero(counts[1:])]

    def _regions_of(self, change: Change, broad: Density) -> NDArray[np.int32]:
        return regions(change.z, broad, self._labels, SEED_SIGMA, GROW_SIGMA, STAY_SIGMA, LEAST_DENSITY, self._regions)

    def _fill_gaps(self, change: Change, placed: Placed, tips: list[PointPx], work_mm: float, t_s: float) -> bool:
        """Take into the baseline what gas has left there; True where there was any."""
        old = np.where(self._since_s > t_s - GAS_YOUNG_S, np.uint8(0), self._labels)
        lately = np.where(self._vacated_s > t_s - GAS_PASSES_S, np.uint8(255), np.uint8(0))
        filled = gaps(change, placed, self._regions, old, lately, tips, work_mm)
        if not filled.any():
            return False
        self._vacated_s[filled > 0] = t_s
        change.fill(filled)
        self._unlabel(filled)
        return True

    def _apart_px(self, found: NDArray[np.int32], before: NDArray[np.int32]) -> int:
        """How much is new on this pulse in all regions that hold no deposit."""
        new_px = 0
        for name, (left, top, right, bottom, _) in enumerate(found.tolist(), start=1):
            box = box_of(left, top, right, bottom)
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
        fresh = part & (before == 0) & ~standing & (self._unseen[box] == 0)
        rim = max(1, round(1.0 / work_mm))
        rows, cols = box
        wide = box_of(cols.start - rim, rows.start - rim, cols.stop + rim, rows.stop + rim)
        mark = np.zeros(self._laid.mask[wide].shape, np.uint8)
        inner = mark[rows.start - wide[0].start :, cols.start - wide[1].start :][: part.shape[0], : part.shape[1]]
        comes_at_once = 2 * int(fresh.sum()) > int(part.sum())
        if int(fresh.sum()) > most_px or (is_laid_in and comes_at_once and not (part & standing).any()):
            laid = fresh
        elif not (part & standing).any():
            inner[part] = 255
            if not (cv2.dilate(mark, square(rim)) & self._laid.mask[wide]).any():
                return np.zeros(part.shape, np.bool_)
            laid = part
        else:
            return np.zeros(part.shape, np.bool_)
        inner[laid] = 255
        rimmed = cv2.dilate(mark, square(rim))
        rimmed[self._labels[wide] > 0] = 0
        self._laid.mask[wide] |= rimmed
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
        if fills_a_gap(change, box, part, work_mm):
            return False
        by_a_hub = bool((self._hubs[box][part] > 0).any())
        inner = part & (self._inner[box] > 0)
        is_inner = bool(inner[part].all())
        is_fed = to_tip_mm <= DEPOSIT_REACH_MM or self._names_near(box, part, work_mm, is_inner)
        if is_fed and not by_a_hub and float(change.broad[box][part].max()) >= NEAR_MM * self._millimetre:
            return seen.pulses >= (1 if seen.area_px * work_mm**2 >= PLAIN_AREA_MM2 else 3)
        return _stands_alone(change.broad[box] / self._millimetre, part, inner, seen, work_mm)

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
        around = grown(box, round(DEPOSIT_REACH_MM / work_mm))
        away = np.full(self._solid[around].shape, 255, np.uint8)
        r, c = np.nonzero(part)
        away[r + box[0].start - around[0].start, c + box[1].start - around[1].start] = 0
        near = cv2.distanceTransform(away, cv2.DIST_L2, 3) <= DEPOSIT_REACH_MM / work_mm
        names |= set(self._solid[around][near].tolist())
        return sorted(names - {0})

    def _relabel(self, found: Mask, work_mm: float, t_s: float) -> None:
        """Give each part of the mask the id of the deposit it lies on or nearest to, or a new one."""
        x, y, w, h = cv2.boundingRect(cv2.bitwise_or(found, self._labels))
        whole = box_of(x, y, x + w, y + h)
        if not w:
            return
        n, parts, stats, _ = cv2.connectedComponentsWithStats(np.ascontiguousarray(found[whole]), connectivity=8)
        named: dict[int, int] = {}
        for i in sorted(range(1, n), key=lambda i: -int(stats[i, cv2.CC_STAT_AREA])):
            left, top, width, height = (int(v) for v in stats[i, :4])
            part = parts[top : top + height, left : left + width] == i
            box = box_of(x + left, y + top, x + left + width, y + top + height)
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
                    run_log_ratio=front.log_ratio if front is not None else 0.0,
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


def _without_cement_at_tips(wires: Mask, broad: Density, tips: list[PointPx], work_mm: float) -> Mask:
    """The mask of lines without the resting tips at which more has been added than a line adds elsewhere.

    A bone's edge that breath moves makes a line too, and it must not hide what is awaited there.
    """
    for x, y in tips:
        at_tip = cv2.circle(np.zeros_like(wires), (round(x), round(y)), round(TIP_REACH_MM / work_mm), 255, -1)
        elsewhere = broad[(wires > 0) & (at_tip == 0)]
        if len(elsewhere) and float(broad[at_tip > 0].max()) > TIP_STANDS_OUT * float(np.percentile(elsewhere, 90)):
            wires = np.where(at_tip > 0, np.uint8(0), wires)
    return wires


def _to_nearest_mm(box: tuple[slice, slice], part: NDArray[np.bool_], points: list[PointPx], work_mm: float) -> float:
    """How far a part of the grid is from the nearest of some points; infinitely where there is none."""
    if not points or not part.any():
        return inf
    rows, cols = np.nonzero(part)
    rows, cols = rows + box[0].start, cols + box[1].start
    return min(float(np.hypot(cols - x, rows - y).min()) for x, y in points) * work_mm


def _stands_alone(
    thick_mm: Density, part: NDArray[np.bool_], inner: NDArray[np.bool_], seen: _Candidate, work_mm: float
) -> bool:
    """Whether a candidate that no needle and no deposit feeds can be nothing but cement.

    ``inner``: what of the ``part`` lies away from the field's border. It must be large and thick there, but may be
    compact at the border: cement that comes from a needle of which only the tip shows has its middle there.
    """
    peak_mm = float(thick_mm[inner].max(initial=0.0))
    return (
        seen.pulses >= LONE_PULSES
        and int(inner.sum()) * work_mm**2 >= LONE_AREA_MM2
        and seen.area_px >= LONE_GROWTH * seen.early_area_px
        and peak_mm >= LONE_MM
        and _is_compact(part & (thick_mm > min(0.5 * peak_mm, LONE_MM)), LONE_RADIUS_MM / work_mm)
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
