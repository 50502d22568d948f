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
from functools import partial
from math import inf
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.records import CementDeposit, Needle, Phase, PointPx
from guidance.vision.cement_deposits import Deposits
from guidance.vision.cement_gas import fills_a_gap, gap_reach_px, gaps, gas_moves
from guidance.vision.cement_laid import BENEATH_MM, LaidObjects
from guidance.vision.cement_needles import NeedlesOnGrid
from guidance.vision.cement_outline import (
    APART_MM,
    APART_SIGMA,
    DEPOSIT_REACH_MM,
    LEAST_AREA_MM2,
    MILLIMETRE_DENSITY,
    NEAR_MM,
    PLAIN_AREA_MM2,
    TIP_REACH_MM,
    millimetre_density,
    off_shafts,
    outlined,
    unsupported,
)
from guidance.vision.cement_passing import PassingMetal
from guidance.vision.cement_pieces import NOWHERE, Box, Pieces, bounds, hull, inner_of, is_empty
from guidance.vision.cement_regions import Region, Regions
from guidance.vision.cement_run import Front, RunWatch
from guidance.vision.cement_washout import WashOut
from guidance.vision.cement_wires import WireWatch
from guidance.vision.change import GROW_SIGMA, LEAST_BASELINE_PULSES, Change, box_of, grown, square
from guidance.vision.geometry import RigidMotion
from guidance.vision.grid import Placed, ReferenceGrid
from guidance.vision.picture import Density, Mask, Picture

KEPT_MM: Final = 2.0
"""Around a known deposit a new baseline keeps what has been added: it has grown by that while the C-arm moved."""
WATCHED_MM: Final = 40.0
"""So far around tips and deposits the display's tone is told: far more than they cover, and less than shutters may."""
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
SUDDEN_MM: Final = 30.0
"""At 7 cm/s a run comes 10 mm far from pulse to pulse, and noise may hide it for one or two. Rails are longer."""
TIP_STANDS_OUT: Final = 2.0
"""What has been added at a tip is no part of a line where it is so much more than the line adds elsewhere."""
METAL_S: Final = 0.7
"""What has been called cement no longer ago came with the metal that is seen there now."""
SAME_PULSE_S: Final = 1e-3
"""Times so near to each other are one pulse's, however they were rounded."""
FED_S: Final = 2.0
"""So long what is near to where a run has ended may have been fed by it."""
PAUSE_S: Final = 1.0
"""After so long without a pulse of this view a deposit may rightly have grown by any amount."""
GAS_YOUNG_S: Final = 4.0
"""So long what has been taken for growth may yet turn out to be what gas has left."""
GAS_PASSES_S: Final = 1.0
"""So long a bubble's trailing edge, a few mm wide, takes to leave a place that it has begun to leave."""


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
        self._started = False
        self._is_interrupted = False
        self._late_pulses = 0
        self._rests = 0
        self._is_renewed = True
        self._wash_out: WashOut | None = None
        self._millimetre = MILLIMETRE_DENSITY
        self._last_t_s = 0.0
        self._unsettled: Callable[[], None] | None = None
        self._lay_out((0, 0))

    def _lay_out(self, shape: tuple[int, int]) -> None:
        """Whatever has the shape of the grid, with nothing on it."""
        self._change = Change(shape)
        self._deposits = Deposits(shape)
        self._needles = NeedlesOnGrid(shape)
        self._laid = LaidObjects(shape)
        self._passing = PassingMetal()
        self._wires = WireWatch()
        self._run_watch = RunWatch(shape)
        self._runs: dict[int, Front] = {}
        self._fronts: list[tuple[float, int, PointPx]] = []
        self._candidates: dict[int, _Candidate] = {}
        self._regions = Regions(shape)
        self._covered: Mask | None = None
        self._unseen: Mask = np.zeros(shape, np.uint8)
        self._steel: Mask = np.zeros(shape, np.uint8)
        self._vacated_s: NDArray[np.float32] = np.full(shape, -inf, np.float32)
        self._vacated_box: Box = NOWHERE
        # Masks that are drawn anew on every pulse, and the boxes outside of which nothing is drawn on them.
        self._known_mask: Mask = np.zeros(shape, np.uint8)
        self._known_box: Box = NOWHERE
        self._watched_mask: Mask = np.zeros(shape, np.uint8)
        self._watched_box: Box = NOWHERE
        self._accepted_mask: Mask = np.zeros(shape, np.uint8)
        self._accepted_box: Box = NOWHERE
        self._nowhere: Mask = np.zeros(shape, np.uint8)

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
        self.settle()
        if phase in (Phase.BASELINE, Phase.EPIDUROGRAM) and not self._started:
            if self._change.shape != picture.density.shape:
                # Some forty planes: the first pulse on which cement is looked for would else wait for them.
                self._unsettled = partial(self._lay_out, picture.density.shape)
            return ()
        if self._grid is None:
            self._grid = ReferenceGrid(picture)
            if self._change.shape != self._grid.shape:
                self._lay_out(self._grid.shape)
            if contrast_on is not None:
                contrast = contrast_on(self._grid)
                self._wash_out = WashOut(contrast) if (contrast > 0).any() else None
        grid = self._grid
        if ok:
            work_mm = grid.work_mm(mm_per_px)
            placed = grid.place(picture, motion, shafts, work_mm)
            self._needles.note(grid, motion, needles, placed.steel, mm_per_px, t_s)
            if rests != self._rests and not self._started:
                self._change = Change(grid.shape)
            elif rests != self._rests:
                self._is_renewed = False
            self._rests = rests
            if self._is_renewed:
                self._take(self._change, placed, phase, work_mm, t_s)
                return self._deposits.told(grid, motion, mm_per_px, self._runs)
            self._renew(self._change, placed, work_mm)
        self._is_interrupted = True
        told = self._deposits.told(grid, motion, mm_per_px, self._runs)
        return tuple(replace(deposit, is_held=True) for deposit in told)

    def settle(self) -> None:
        """Do with the last pulse what only the next one needs; ``update`` does it otherwise."""
        settle, self._unsettled = self._unsettled, None
        if settle is not None:
            settle()

    @property
    def mask(self) -> Mask:
        """255 where cement is seen, on the reference grid; of size 0 before the first pulse."""
        return np.asarray(cv2.compare(self._deposits.labels, 0.0, cv2.CMP_GT), dtype=np.uint8)

    def _take(self, change: Change, placed: Placed, phase: Phase, work_mm: float, t_s: float) -> None:
        tips = self._needles.tips
        watching = phase is Phase.CEMENT or self._started
        if not watching and change.pulses_learnt < 8:
            self._last_t_s = t_s
        has_looked = (watching and change.pulses_learnt >= LEAST_BASELINE_PULSES) or (
            self._phase_inferred and change.pulses_learnt >= 8
        )
        if has_looked:
            if not self._started:
                self._millimetre = millimetre_density(change)
            change.compare(placed, work_mm, self._known(work_mm), watched=self._watched(tips, work_mm))
            if self._is_interrupted:
                self._take_steel_as_it_is(change, placed, work_mm)
            self._find(change, placed, self._needles.resting_tips(work_mm), work_mm, t_s)
            self._started = self._started or watching or self._deposits.there
        self._unsettled = partial(self._learn, change, placed, tips, work_mm, has_looked)

    def _learn(self, change: Change, placed: Placed, tips: list[PointPx], work_mm: float, has_looked: bool) -> None:
        """Take a pulse into the baseline as far as it belongs there. ``has_looked``: cement was looked for on it."""
        if has_looked and self._wash_out is not None:
            self._wash_out.take(change, self._known(work_mm), self._deposits.labels, work_mm)
        if not self._started or change.pulses_learnt < LEAST_BASELINE_PULSES:
            stirred = self._needles.stirred
            if stirred is not None:
                change.unlearn(stirred)
            change.learn(placed, work_mm, self._held(change, tips, work_mm) if self._phase_inferred else None)
        elif self._late_pulses < LEAST_BASELINE_PULSES:
            # What a needle's last stroke has stirred is still worth more than nothing to compare with.
            self._late_pulses += 1
            change.learn(placed, work_mm, cv2.compare(change.base_count, float(LEAST_BASELINE_PULSES), cv2.CMP_GE))

    def _renew(self, change: Change, placed: Placed, work_mm: float) -> None:
        """Take another baseline for another place of the C-arm; known deposits stay."""
        known = cv2.dilate(self._deposits.labels, square(round(KEPT_MM / work_mm)))
        self._is_renewed = change.renew(placed, work_mm, known)
        self._run_watch.forget()
        self._passing.forget()
        self._wires.forget()
        self._runs, self._fronts = {}, []
        self._candidates = {}
        self._laid.forget()
        self._regions.forget()

    def _take_steel_as_it_is(self, change: Change, placed: Placed, work_mm: float) -> None:
        """After an interruption a shaft may be shown darker than before: with shutters closed there is less scatter,
        and nothing else is as dark as to tell how much. Where no deposit lies it goes into the baseline so.
        """
        self._is_interrupted = False
        around = cv2.dilate(self._deposits.labels, square(round(KEPT_MM / work_mm)))
        steel = cv2.bitwise_or(placed.steel, change.base_steel)
        change.fill(cv2.bitwise_and(steel, cv2.compare(around, 0, cv2.CMP_EQ)))

    def _known(self, work_mm: float) -> Mask:
        """Where density has been added or seems to be: no part of tone, slip or noise."""
        margin = max(1, round(1.0 / work_mm))
        self._known_mask[self._known_box] = 0
        self._known_box = box = grown(hull(self._regions.box, self._deposits.box), margin)
        known = self._regions.occupied(self._deposits.labels, box)
        cv2.dilate(known, square(margin), dst=self._known_mask[box])
        return self._known_mask

    def _watched(self, tips: list[PointPx], work_mm: float) -> Mask | None:
        """255 in the box where cement may come next, around tips and deposits; None where there are neither."""
        xs, ys = [round(x) for x, _ in tips], [round(y) for _, y in tips]
        if self._deposits.there:
            rows, cols = self._deposits.box
            xs, ys = [*xs, cols.start, cols.stop], [*ys, rows.start, rows.stop]
        if not xs:
            return None
        reach = round(WATCHED_MM / work_mm)
        box = box_of(min(xs) - reach, min(ys) - reach, max(xs) + reach, max(ys) + reach)
        if box != self._watched_box:
            self._watched_mask[self._watched_box] = 0
            self._watched_mask[box] = 255
            self._watched_box = box
        return self._watched_mask

    def _held(self, change: Change, tips: list[PointPx], work_mm: float) -> Mask:
        """Around the tips the baseline must not take up what may be the first cement."""
        near = np.zeros(change.shape, np.uint8)
        for x, y in tips:
            cv2.circle(near, (round(x), round(y)), max(1, round(3 * TIP_REACH_MM / work_mm)), 255, -1)
        near[change.z < GROW_SIGMA] = 0
        return near

    def _find(self, change: Change, placed: Placed, tips: list[PointPx], work_mm: float, t_s: float) -> None:
        """Update what is cement with one pulse."""
        pause_s, self._last_t_s = t_s - self._last_t_s, t_s
        self._regions.next_pulse()
        if self._laid.there:
            self._follow_laid(change, work_mm, t_s)
        metal, passing = self._metal(change, placed, tips, pause_s, work_mm, t_s)
        foreign = self._find_regions(change, passing)
        if gas_moves(change, placed, work_mm) and self._fill_gaps(change, placed, tips, work_mm, t_s):
            foreign = self._find_regions(change, passing)
        deposits = self._deposits
        cement, box = self._accepted(change, placed, tips, pause_s, work_mm)
        outlines, box = outlined(change, cement, box, deposits.labels, placed, work_mm, self._millimetre)
        off_shafts(outlines, box, placed, change, self._needles.settled_tips, self._millimetre, work_mm)
        if metal is not None:
            # A deposit that metal passes keeps what it had.
            outlines = cv2.bitwise_and(outlines, cv2.compare(metal, 0.0, cv2.CMP_EQ))
            outlines |= cv2.bitwise_and(self.mask, cv2.compare(metal, 0.0, cv2.CMP_GT))
        box = hull(box, deposits.box)
        if not is_empty(box):
            pieces = Pieces(outlines[box], box)
            lately_s = t_s - pause_s - SAME_PULSE_S
            noise = unsupported(change, pieces, deposits.labels, deposits.since_s, lately_s)
            if noise:
                deposits.take_back(pieces.drop(noise), pieces.box)
            deposits.become(pieces, self._needles, self._fed, work_mm, t_s)
        self._follow_runs(change, foreign, work_mm, t_s)

    def _follow_laid(self, change: Change, work_mm: float, t_s: float) -> None:
        """Let what was laid in go where it goes, and take from deposits what they have had of it."""
        box = self._laid.box_to_follow(work_mm)
        is_young = (self._deposits.labels[box] == 0) | self._deposits.younger(t_s - METAL_S, box)
        taken, left_behind = self._laid.follow(change, self._deposits.labels, box, is_young, work_mm, t_s)
        if taken.any():
            self._deposits.take_back(taken, box)
        if left_behind.any():
            covered = np.zeros(change.shape, np.uint8) if self._covered is None else self._covered.copy()
            covered[box] |= left_behind
            self._covered = covered

    def _metal(
        self, change: Change, placed: Placed, tips: list[PointPx], pause_s: float, work_mm: float, t_s: float
    ) -> tuple[Mask | None, Mask | None]:
        """255 on thick metal that passes, and on all that does, wires too; None where there is none."""
        if pause_s > PAUSE_S:
            self._passing.forget()
            self._run_watch.forget(t_s)
        steel = cv2.bitwise_or(cv2.bitwise_or(placed.steel, change.base_steel, dst=self._steel), change.hidden)
        metal = self._passing.seen(change, self._deposits.labels, steel, self._millimetre, work_mm)
        wires = self._wires.seen(change, self._deposits.labels, steel, placed.valid, work_mm)
        if wires is not None:
            wires = _without_cement_at_tips(wires, change.broad, tips, work_mm)
        passing = wires if metal is None else metal if wires is None else cv2.bitwise_or(metal, wires)
        # What shows beneath metal that has gone has not come at once; before the first deposit is told, anywhere.
        self._unseen = self._passing.given_back
        if self._covered is not None:
            may_have_grown = self._covered
            if self._deposits.there:
                reach = round(BENEATH_MM / work_mm)
                beside = grown(self._deposits.box, reach)
                may_have_grown = np.zeros(change.shape, np.uint8)
                may_have_grown[beside] = self._covered[beside] & cv2.dilate(
                    self._deposits.labels[beside], square(reach)
                )
            self._unseen = cv2.bitwise_or(self._passing.given_back, may_have_grown)
        self._covered = passing
        if passing is not None:
            box = self._deposits.ever_box
            where = self._deposits.younger(t_s - METAL_S, box) & (passing[box] > 0)
            if where.any():
                self._deposits.take_back(where, box)
        return metal, passing

    def _accepted(
        self,
        change: Change,
        placed: Placed,
        tips: list[PointPx],
        pause_s: float,
        work_mm: float,
    ) -> tuple[Mask, Box]:
        """255 on the regions, or their parts, that are cement, and the box around them.

        The others are followed as candidates.
        """
        most_px = inf if pause_s > PAUSE_S else max(SUDDEN_MM2, SUDDEN_MM2_PER_S * pause_s) / work_mm**2
        cement, boxes = self._accepted_mask, []
        cement[self._accepted_box] = 0
        followed: dict[int, _Candidate] = {}
        regions = self._regions.told(self._deposits.labels, self._unseen)
        # A wire that something crosses is one object in several regions: what is apart counts together.
        is_laid_in = sum(region.new_px for region in regions if not region.standing_px) > most_px
        for region in regions:
            part = self._regions.part(region)
            is_sudden = _comes_suddenly(region, is_laid_in, most_px, work_mm)
            may_be_laid = is_sudden or (self._laid.there and not region.standing_px)
            # What begins at a resting tip is what is watched for, whatever else is being laid in meanwhile.
            if may_be_laid and (
                region.area_px > most_px or _to_nearest_mm(region.box, part, tips, work_mm) > TIP_REACH_MM
            ):
                part &= ~self._laid_in(region, part, is_sudden, work_mm)
            if not region.standing_px:
                if region.area_px * work_mm**2 < LEAST_AREA_MM2 or not part.any():
                    continue
                seen = self._followed(self._regions.before[region.box][part], region.area_px)
                if not self._is_cement(change, placed, region.box, part, seen, tips, work_mm):
                    followed[region.name] = seen
                    continue
            cement[region.box][part] = 255
            boxes.append(region.box)
        self._candidates = followed
        self._accepted_box = bounds(cement, hull(*boxes))
        return cement, self._accepted_box

    def _find_regions(self, change: Change, passing: Mask | None) -> Mask | None:
        """Find the regions of what has been added; not 0 on what is foreign and no part of them; None: nothing is.

        ``passing``: 255 on metal that does. A deposit that it passes keeps what it had.
        """
        # A copy: what is laid in on this very pulse is told apart only later.
        foreign = self._laid.mask.copy() if self._laid.there else None
        if passing is not None:
            passing = cv2.bitwise_and(passing, cv2.compare(self._deposits.labels, 0.0, cv2.CMP_EQ))
            foreign = passing if foreign is None else cv2.bitwise_or(passing, foreign)
        self._regions.find(change, self._nowhere if foreign is None else foreign, self._deposits.labels)
        return foreign

    def _follow_runs(self, change: Change, foreign: Mask | None, work_mm: float, t_s: float) -> None:
        """The fastest run of each deposit. ``foreign``: not 0 on what is no cement."""
        added = self._nowhere.view(np.bool_) if foreign is None else (foreign > 0) & (change.broad > 0)
        deposits = self._deposits
        self._run_watch.note(
            change, deposits.labels, deposits.since_s, added, self._steel, self._millimetre, work_mm, t_s
        )
        runs = {
            name: self._run_watch.fastest(name, begun_s, self._fed) for name, begun_s in self._deposits.begun_s.items()
        }
        self._runs = {name: run for name, run in runs.items() if run is not None}
        self._fronts = [front for front in self._fronts if front[0] >= t_s - FED_S]
        self._fronts += [(t_s, name, run.xy) for name, run in self._runs.items()]

    @property
    def _fed(self) -> list[tuple[int, PointPx]]:
        """Where runs have lately ended, and from which deposit they came."""
        return [(name, xy) for _, name, xy in self._fronts]

    def _fill_gaps(self, change: Change, placed: Placed, tips: list[PointPx], work_mm: float, t_s: float) -> bool:
        """Take into the baseline what gas has left there; True where there was any."""
        box = grown(hull(self._regions.box, self._vacated_box), gap_reach_px(work_mm))
        has_stood = cv2.compare(self._deposits.since_s[box], t_s - GAS_YOUNG_S, cv2.CMP_LE)
        old = cv2.bitwise_and(self._deposits.labels[box], has_stood)
        lately = cv2.compare(self._vacated_s[box], t_s - GAS_PASSES_S, cv2.CMP_GT)
        filled = gaps(change, placed, self._regions.labels, box, old, lately, tips, work_mm)
        if not cv2.hasNonZero(filled):
            return False
        where = np.zeros(change.shape, np.uint8)
        where[box] = filled
        self._vacated_s[box][filled > 0] = t_s
        self._vacated_box = hull(self._vacated_box, bounds(where, box))
        change.fill(where)
        self._deposits.take_back(filled, box)
        return True

    def _laid_in(
        self,
        region: Region,
        part: NDArray[np.bool_],
        is_sudden: bool,
        work_mm: float,
    ) -> NDArray[np.bool_]:
        """What of a region is no growth but an object or a shutter, which is kept in mind: more at once than flows, or
        its blurred rim. What was there before, as a candidate that has grown, is no part of it.
        """
        box, laid = region.box, part
        if is_sudden:
            is_old = (self._regions.before[box] > 0) | (self._deposits.labels[box] > 0) | (self._unseen[box] > 0)
            laid = part & ~is_old
        rim = max(1, round(1.0 / work_mm))
        wide = grown(box, rim)
        mark = np.zeros(self._laid.mask[wide].shape, np.uint8)
        mark[inner_of(box, wide)][laid] = 255
        rimmed = cv2.dilate(mark, square(rim))
        if not is_sudden and not (rimmed & self._laid.mask[wide]).any():
            return np.zeros(part.shape, np.bool_)
        rimmed[self._deposits.labels[wide] > 0] = 0
        self._laid.add(rimmed, wide)
        return laid

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
        placed: Placed,
        box: Box,
        part: NDArray[np.bool_],
        seen: _Candidate,
        tips: list[PointPx],
        work_mm: float,
    ) -> bool:
        """Whether a candidate is called cement on this pulse."""
        peak = float(change.broad[box][part].max())
        # Cement thickens within a second; a faint haze that has long stood at the field's edge does not.
        if peak < self._millimetre * (APART_MM if seen.pulses < LONE_PULSES else 1.0):
            return False
        to_tip_mm = _to_nearest_mm(box, part, tips, work_mm)
        if to_tip_mm <= TIP_REACH_MM:
            return seen.pulses >= 2
        if not self._started:
            return False
        may_be_fed = peak >= NEAR_MM * self._millimetre
        counts_if_fed = may_be_fed and _counts_if_fed(seen, float(change.z[box][part].max()), work_mm)
        has_grown = seen.pulses >= LONE_PULSES and seen.area_px >= LONE_GROWTH * seen.early_area_px
        # Nearly all candidates are noise, which needs no closer look.
        if not counts_if_fed and not has_grown:
            return False
        inner = part & _well_inside(placed.valid, box, round(LONE_BORDER_MM / work_mm))
        is_cement = has_grown and _stands_alone(change.broad[box] / self._millimetre, part, inner, work_mm)
        if may_be_fed and counts_if_fed != is_cement and self._is_fed(box, part, inner, to_tip_mm, work_mm):
            is_cement = counts_if_fed
        return is_cement and not fills_a_gap(change, box, part, work_mm)

    def _is_fed(
        self, box: Box, part: NDArray[np.bool_], inner: NDArray[np.bool_], to_tip_mm: float, work_mm: float
    ) -> bool:
        """Whether a needle or a deposit is so near to a candidate that it may come from there.

        ``inner``: what of the ``part`` lies away from the field's border.
        """
        # A hand or a hub may touch what flows to them, but then most of it lies elsewhere.
        if 2 * int((self._needles.hubs[box][part] > 0).sum()) > int(part.sum()):
            return False
        needles = self._needles if inner[part].all() else None
        return to_tip_mm <= DEPOSIT_REACH_MM or bool(self._deposits.near(box, part, needles, self._fed, work_mm))


def _without_cement_at_tips(wires: Mask, broad: Density, tips: list[PointPx], work_mm: float) -> Mask:
    """The mask of lines without the resting tips at which more has been added than a line adds elsewhere.

    A bone's edge that breath moves makes a line too, and it must not hide what is awaited there.
    """
    reach = round(TIP_REACH_MM / work_mm)
    for x, y in tips:
        near = box_of(round(x) - reach, round(y) - reach, round(x) + reach + 1, round(y) + reach + 1)
        at_tip = np.zeros(wires[near].shape, np.uint8)
        if not at_tip.size:
            continue
        cv2.circle(at_tip, (round(x) - near[1].start, round(y) - near[0].start), reach, 255, -1)
        elsewhere = wires.copy()
        elsewhere[near][at_tip > 0] = 0
        added = broad[elsewhere > 0]
        much = float(broad[near][at_tip > 0].max()) / TIP_STANDS_OUT
        if np.count_nonzero(added < much) > 0.9 * len(added):
            wires = elsewhere
    return wires


def _comes_suddenly(region: Region, is_laid_in: bool, most_px: float, work_mm: float) -> bool:
    """Whether more of a region is fresh than flows, or all along a line, or all around.

    ``is_laid_in``: what has appeared apart from all deposits is more than flows.
    """
    is_long = most_px < inf and region.fresh_extent_px * work_mm > SUDDEN_MM
    is_object = is_long or (is_laid_in and not region.standing_px)
    return region.fresh_px > most_px or (is_object and region.comes_at_once)


def _well_inside(valid: Mask, box: Box, reach: int) -> NDArray[np.bool_]:
    """Where nothing within ``reach`` pixels is out of sight or of the grid, the shape of ``box``."""
    wide = grown(box, reach)
    inner = cv2.erode(valid[wide], square(reach), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(inner[inner_of(box, wide)] > 0, dtype=np.bool_)


def _to_nearest_mm(box: Box, part: NDArray[np.bool_], points: list[PointPx], work_mm: float) -> float:
    """How far a part of the grid is from the nearest of some points; infinitely where there is none."""
    if not points or not part.any():
        return inf
    rows, cols = np.nonzero(part)
    rows, cols = rows + box[0].start, cols + box[1].start
    return min(float(np.hypot(cols - x, rows - y).min()) for x, y in points) * work_mm


def _counts_if_fed(seen: _Candidate, most_sigma: float, work_mm: float) -> bool:
    """Whether a candidate near to what may feed it is called cement; ``most_sigma``: the greatest significance."""
    if most_sigma < APART_SIGMA:
        return seen.pulses > EMERGING_PULSES and seen.area_px >= LONE_GROWTH * seen.early_area_px
    return seen.pulses >= (1 if seen.area_px * work_mm**2 >= PLAIN_AREA_MM2 else 3)


def _stands_alone(thick_mm: Density, part: NDArray[np.bool_], inner: NDArray[np.bool_], work_mm: float) -> bool:
    """Whether a candidate that has grown, and that no needle and no deposit feeds, can be nothing but cement.

    ``inner``: what of the ``part`` lies away from the field's border. It must be large and thick there, but may be
    compact at the border: cement that comes from a needle of which only the tip shows has its middle there.
    """
    peak_mm = float(thick_mm[inner].max(initial=0.0))
    return (
        int(inner.sum()) * work_mm**2 >= LONE_AREA_MM2
        and peak_mm >= LONE_MM
        and _is_compact(part & (thick_mm > min(0.5 * peak_mm, LONE_MM)), LONE_RADIUS_MM / work_mm)
    )


def _is_compact(part: NDArray[np.bool_], radius_px: float) -> bool:
    """Whether a disc of this radius fits into a part."""
    framed = cv2.copyMakeBorder(part.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    return float(cv2.distanceTransform(framed, cv2.DIST_L2, 3).max()) > radius_px
