"""Runs: thin arms through which cement leaves its deposit, in a vein or a fracture line, and how fast.

A run is seen before it can be outlined: pixel by pixel it hardly stands out of the noise, along its way it does. So it
is followed through the significance of what has been added, and told by how it came: from the body outwards, step by
step. A wire that touches a deposit, an edge that has slipped and noise that gives way are there along all of their
length at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.records import PointPx
from guidance.vision.change import GROW_SIGMA, SEED_SIGMA, STAY_SIGMA, Change, opened, square, steel_itself
from guidance.vision.kernels import runs as kernels
from guidance.vision.picture import Density, Mask

LEAST_THICK_MM: Final = 0.4
"""A run shows where what has been added is this significant and so thick: tone and veil are not fitted better."""
CARRIED_MM: Final = 1.0
"""Evidence is carried across so much way with none at all: the reach of one speck of noise. Through what a shaft
hides it lasts four times as long, which is across a shaft and not along it."""
BODY_RADIUS_MM: Final = 2.5
"""A run is what is thinner than twice this: veins and fracture lines are 1 to 4 mm wide."""
BLUR_MM: Final = 0.8
"""By so much significance reaches beyond an outline on either side."""
RIM_MM: Final = 1.5
"""So near to the body all arms hang together."""
FLANK_MM: Final = 0.5
"""Beside a shaft's mask its edge slips, along all of its length: no run is seen to end there."""
FRONT_WINDOW_S: Final = 0.6
FRONT_STEPS: Final = 4
"""An edge's advance is looked at over this long and at least so many pulses."""
LEAST_RUN_MM: Final = 9.0
"""A run is clearly longer than it may be wide, and than the lobes in which a deposit comes out of the noise."""
AHEAD_MM: Final = 2.0
"""Ahead of a run there is nothing yet. What ends where something foreign goes on is a part of that."""
RUN_ADVANCES: Final = 2
RUN_STEP_MM: Final = 0.4
"""A run's tip has moved on by this much on so many pulses of the window: an arm that appears at once has not run."""
LARGEST_SHARE: Final = 0.6
FASTEST_MM: Final = 15.0
"""No single step is more of the run than this, nor faster than 10 cm/s at 7.5 pulses a second: what joins the deposit
when it is already long has come from elsewhere."""
PLACE_MM: Final = 0.2
SETTLING_S: Final = 0.3
"""So long after its first outline a deposit still comes out of the noise, thick parts first: nothing runs yet."""


@dataclass(frozen=True, slots=True)
class Front:
    """Where a deposit advances fastest, on the grid. ``run_mm``: the length of the run that it ends, if it does."""

    xy: PointPx
    mm_per_s: float
    run_mm: float | None = None


class RunWatch:
    """The runs of one view. ``note`` takes every pulse that was compared, in order."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self._since_s = np.full(shape, inf, np.float32)

    def forget(self) -> None:
        """Nothing has been seen yet: another baseline is in use."""
        self._since_s[:] = inf

    def note(self, change: Change, millimetre: float, t_s: float) -> None:
        """Take in what a pulse shows. ``millimetre``: the density that a millimetre of cement adds."""
        least = LEAST_THICK_MM * millimetre
        kernels.note_since(change.z, change.broad, GROW_SIGMA, STAY_SIGMA, least, t_s, self._since_s)

    def fastest(
        self,
        deposit: Mask,
        outlined_s: NDArray[np.float32],
        z: Density,
        added: Density,
        steel: Mask,
        millimetre: float,
        pulses_s: list[float],
        begun_s: float,
        work_mm: float,
    ) -> Front | None:
        """The fastest run that leaves a deposit and goes on leaving it; None where no arm does.

        ``deposit``: not 0 on its outline, which began at ``begun_s``; ``outlined_s``: since when each pixel is in it,
        where what lies beside a shaft counts too. ``z``, ``added``: see ``Change``; 0 on what is
        no cement. ``steel``: not 0 on instruments, now or in the baseline. ``pulses_s``: the pulses over which an
        advance counts, away from where the deposit is no longer thin, pulse by pulse, its largest step
        as the next.

        Missed: what runs along a shaft until it comes out beside it, and what is fainter than the noise of a
        millimetre or two of its way.
        """
        x, y, w, h = cv2.boundingRect(deposit)
        core = np.zeros(deposit.shape, np.bool_)
        core[y : y + h, x : x + w] = opened(deposit[y : y + h, x : x + w], BODY_RADIUS_MM / work_mm)
        if not core.any() or len(pulses_s) <= RUN_ADVANCES:
            return None
        source, bridge = core.astype(np.uint8), steel_itself(steel)
        least = LEAST_THICK_MM * millimetre
        left = kernels.carried(z, added, source, bridge, GROW_SIGMA, least, CARRIED_MM / work_mm)
        x, y, w, h = cv2.boundingRect(cv2.compare(left, 0.0, cv2.CMP_GT))
        box = np.s_[y : y + h, x : x + w]
        on_way = left[box] > 0
        beside = cv2.dilate(steel[box], square(max(1, round(FLANK_MM / work_mm)))) > 0
        dense = np.isfinite(self._since_s[box])
        seen = on_way & ~beside & dense & (added[box] > 0)
        foreign = np.where(dense & (added[box] <= 0), 255, 0).astype(np.uint8)
        away_mm = _away_mm(_body(core[box], seen | (deposit[box] > 0), work_mm), work_mm)
        open_ahead = cv2.dilate(foreign, square(round(AHEAD_MM / work_mm))) == 0
        outlined = deposit[box] > 0
        beyond_core_mm = _away_mm(core[box], work_mm)
        runs = [
            *_runs(on_way, seen, away_mm, z[box], self._since_s[box], pulses_s, begun_s + SETTLING_S),
            *_runs(
                on_way | outlined, outlined, beyond_core_mm, z[box], outlined_s[box], pulses_s, begun_s + SETTLING_S
            ),
        ]
        run = max((run for run in runs if open_ahead[_rc(run)]), key=lambda run: run.mm_per_s, default=None)
        return None if run is None else replace(run, xy=(x + run.xy[0], y + run.xy[1]))


def _body(core: NDArray[np.bool_], all_of_it: NDArray[np.bool_], work_mm: float) -> NDArray[np.bool_]:
    """Where a deposit is no longer thin: its core, and what significance shows to be as wide and hangs on it."""
    wide = core | opened(np.where(all_of_it, 255, 0).astype(np.uint8), (BODY_RADIUS_MM + BLUR_MM) / work_mm)
    _, parts = cv2.connectedComponents(wide.astype(np.uint8), connectivity=8)
    return np.asarray(wide & np.isin(parts, np.unique(parts[core])), dtype=np.bool_)


def _away_mm(body: NDArray[np.bool_], work_mm: float) -> NDArray[np.float32]:
    away_px = cv2.distanceTransform(np.where(body, 0, 255).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(away_px * np.float32(work_mm), dtype=np.float32)


def _rc(run: Front) -> tuple[int, int]:
    return round(run.xy[1]), round(run.xy[0])


def _runs(
    on_way: NDArray[np.bool_],
    seen: NDArray[np.bool_],
    away_mm: NDArray[np.float32],
    z: Density,
    since_s: NDArray[np.float32],
    pulses_s: list[float],
    settled_s: float,
) -> Iterator[Front]:
    """The arms that run. ``on_way``: where evidence was carried. ``seen``: where an arm itself shows."""
    arms = (on_way & (away_mm > RIM_MM)).astype(np.uint8)
    count, parts, boxes, _ = cv2.connectedComponentsWithStats(arms, connectivity=8)
    for part in range(1, count):
        left, top, width, height = (int(v) for v in boxes[part, :4])
        box = np.s_[top : top + height, left : left + width]
        arm_mm = np.where((parts[box] == part) & seen[box], away_mm[box], np.float32(0.0))
        run = _advance(arm_mm, z[box], since_s[box], pulses_s, settled_s)
        if run is not None:
            yield replace(run, xy=(left + run.xy[0], top + run.xy[1]))


def _advance(
    away_mm: NDArray[np.float32], z: Density, since_s: NDArray[np.float32], pulses_s: list[float], settled_s: float
) -> Front | None:
    """The tip of an arm that goes on leaving its body, and how fast; None for one that does not.

    ``away_mm``: of the arm's pixels from the body, 0 elsewhere.
    """
    tip_rc = _farthest_of(away_mm)
    length_mm = float(away_mm[tip_rc])
    # Over half of its way a run's ridge, at its least length, is as significant as an outline's seed. Significance
    # grows with the root of the length that it is gathered over: the ridge of a longer one may be as much fainter.
    if length_mm < LEAST_RUN_MM or _ridge_sigma(away_mm, z) < SEED_SIGMA * (LEAST_RUN_MM / length_mm) ** 0.5:
        return None
    first_s = _first_s(away_mm, since_s, settled_s)
    largest_mm = np.diff(_reached_mm(first_s, np.unique(first_s)), prepend=0.0).max()
    if largest_mm > min(LARGEST_SHARE * length_mm, FASTEST_MM):
        return None
    # In the planes' own precision, or half of the pulses come just before what they themselves show.
    reached_mm = _reached_mm(first_s, np.maximum(np.array(pulses_s, np.float32), np.float32(settled_s)))
    steps_mm = sorted(np.diff(reached_mm).tolist(), reverse=True)
    if steps_mm[RUN_ADVANCES - 1] < RUN_STEP_MM:
        return None
    pulse_s = (pulses_s[-1] - pulses_s[0]) / len(steps_mm)
    # Noise that gives way makes one long step: it counts as the next.
    speed = (steps_mm[1] + sum(steps_mm[1:])) / (pulse_s * len(steps_mm))
    return Front((float(tip_rc[1]), float(tip_rc[0])), speed, length_mm)


def _ridge_sigma(away_mm: NDArray[np.float32], z: Density) -> float:
    """The median significance along an arm, of the strongest at each distance from the body."""
    places = (away_mm[away_mm > 0] / PLACE_MM).astype(np.int64)
    strongest = np.zeros(int(places.max()) + 1, np.float32)
    np.maximum.at(strongest, places, z[away_mm > 0])
    return float(np.median(strongest[strongest > 0]))


def _first_s(away_mm: NDArray[np.float32], since_s: NDArray[np.float32], settled_s: float) -> NDArray[np.float32]:
    """Since when an arm has shown at each place, PLACE_MM apart; never before ``settled_s``."""
    places = (away_mm[away_mm > 0] / PLACE_MM).astype(np.int64)
    first_s = np.full(int(places.max()) + 1, inf, np.float32)
    np.minimum.at(first_s, places, since_s[away_mm > 0])
    first_s[np.isinf(first_s)] = settled_s
    return np.maximum(first_s, np.float32(settled_s))


def _reached_mm(first_s: NDArray[np.float32], times_s: NDArray[np.float32]) -> NDArray[np.float64]:
    """How far from the body an arm had come at each time; ``first_s``: since when it shows at each place.

    Nothing comes to a place before it has come to those on the way: of all distances it is the one that fewest places
    speak against, so noise that was there has not run, and a place that shows late, as beside a shaft, holds up none.
    """
    votes = np.where(first_s <= times_s[:, None], 1, -1)
    split = np.pad(np.cumsum(votes, axis=1), ((0, 0), (1, 0))).argmax(axis=1)
    return np.asarray(PLACE_MM * split, dtype=np.float64)


def edge_of(mask: Mask, since_s: NDArray[np.float32], pulses_s: list[float], work_mm: float) -> Front | None:
    """The edge point of a deposit that has advanced farthest lately; None where nothing has."""
    young = (mask > 0) & (since_s > pulses_s[0])
    old = (mask > 0) & ~young
    if not young.any() or not old.any():
        return None
    away = cv2.distanceTransform(np.where(old, 0, 255).astype(np.uint8), cv2.DIST_L2, 5)
    away[~young] = 0
    r, c = _farthest_of(away)
    if away[r, c] <= 0:
        return None
    return Front((float(c), float(r)), float(away[r, c]) * work_mm / (pulses_s[-1] - pulses_s[0]))


def _farthest_of(away: NDArray[np.float32]) -> tuple[int, int]:
    """Row and column of the greatest value. A single ragged pixel does not count: its neighbours must come as far."""
    away = cv2.erode(away, np.ones((2, 2), np.uint8))
    r, c = np.unravel_index(int(np.argmax(away)), away.shape)
    return int(r), int(c)
