"""Runs: thin arms through which cement leaves its deposit, in a vein or a fracture line, and how fast."""

from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.records import PointPx
from guidance.vision.change import opened
from guidance.vision.picture import Mask

BODY_RADIUS_MM: Final = 2.5
"""A run is what is thinner than twice this: veins and fracture lines are 1 to 4 mm wide."""
FRONT_WINDOW_S: Final = 0.6
FRONT_STEPS: Final = 4
"""An edge's advance is looked at over this long and at least so many pulses."""
LEAST_RUN_MM: Final = 7.5
"""A run is clearly longer than it may be wide."""
RUN_ADVANCES: Final = 2
RUN_STEP_MM: Final = 0.4
"""A run's tip has moved on by this much on so many pulses of the window: an arm that appears at once has not run."""
SETTLING_S: Final = 1.0
"""So long after its first outline a deposit still comes out of the noise, thick parts first: nothing runs yet."""


@dataclass(frozen=True, slots=True)
class Front:
    """Where a deposit advances fastest, on the grid. ``run_mm``: the length of the run that it ends, if it does."""

    xy: PointPx
    mm_per_s: float
    run_mm: float | None = None


def run_of(
    mask: Mask,
    shafts: NDArray[np.uint16],
    since_s: NDArray[np.float32],
    pulses_s: list[float],
    settled_s: float,
    work_mm: float,
) -> Front | None:
    """The longest thin run that leaves a deposit and goes on leaving it; None where no arm does.

    Pieces apart from the deposit are no run of it, unless a shaft hides what joins them: ``shafts`` is not 0 there.
    ``since_s``: when each pixel of the deposit was first seen; ``pulses_s``: the pulses over which to look. The run's
    own advance counts, pulse by pulse, away from where the deposit is no longer thin, and without its
    largest step. What was there before ``settled_s`` has not run.
    """
    body = opened(mask, BODY_RADIUS_MM / work_mm)
    if not body.any() or len(pulses_s) <= RUN_ADVANCES:
        return None
    away_mm = cv2.distanceTransform(np.where(body, 0, 255).astype(np.uint8), cv2.DIST_L2, 5) * np.float32(work_mm)
    arms = np.where(body | ~_joined(mask, shafts, body), 0, mask).astype(np.uint8)
    count, parts, boxes, _ = cv2.connectedComponentsWithStats(arms, connectivity=8)
    begun = max(pulses_s[0], settled_s)
    runs = []
    for part in range(1, count):
        left, top, width, height = (int(v) for v in boxes[part, :4])
        box = np.s_[top : top + height, left : left + width]
        run = _advance(np.where(parts[box] == part, away_mm[box], np.float32(0.0)), since_s[box], pulses_s, begun)
        if run is not None:
            runs.append(replace(run, xy=(left + run.xy[0], top + run.xy[1])))
    return max(runs, key=lambda run: run.run_mm or 0.0, default=None)


def _advance(
    away_mm: NDArray[np.float32], since_s: NDArray[np.float32], pulses_s: list[float], begun_s: float
) -> Front | None:
    """The tip of an arm that goes on leaving its body, and how fast; None for one that does not.

    ``away_mm``: of the arm's pixels from the body, 0 elsewhere.
    """
    tip_rc = _farthest_of(away_mm)
    length_mm = float(away_mm[tip_rc])
    if length_mm < LEAST_RUN_MM:
        return None
    arm = away_mm > 0
    reach_mm, first_s = away_mm[arm], since_s[arm]
    reached_mm = [float(reach_mm[first_s <= max(at_s, begun_s)].max(initial=0.0)) for at_s in pulses_s]
    steps_mm = sorted(np.diff(reached_mm).tolist(), reverse=True)
    if steps_mm[RUN_ADVANCES - 1] < RUN_STEP_MM:
        return None
    pulse_s = (pulses_s[-1] - pulses_s[0]) / len(steps_mm)
    speed = sum(steps_mm[1:]) / (pulse_s * (len(steps_mm) - 1))
    return Front((float(tip_rc[1]), float(tip_rc[0])), speed, length_mm)


def _joined(mask: Mask, shafts: NDArray[np.uint16], body: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where the mask hangs together with its body, shafts counted as bridges."""
    _, parts = cv2.connectedComponents(((mask > 0) | (shafts > 0)).astype(np.uint8), connectivity=8)
    with_body = np.unique(parts[body & (mask > 0)])
    return np.asarray((mask > 0) & np.isin(parts, with_body), dtype=np.bool_)


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
