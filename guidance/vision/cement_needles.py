"""What needles tell of cement, on the reference grid: where it may come out, what hides it, and what they stir up."""

from collections import deque
from math import hypot
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.records import Needle, PointPx
from guidance.vision.cement_outline import SHAFT_MM, TIP_REACH_MM
from guidance.vision.cement_pieces import bounds
from guidance.vision.change import grown, square
from guidance.vision.geometry import RigidMotion
from guidance.vision.grid import PRIOR_MM_PER_PX, ReferenceGrid
from guidance.vision.picture import Mask

STILL_MM: Final = 1.5
STILL_PULSES: Final = 3
HUB_MM: Final = 15.0
HUB_S: Final = 10.0
"""Around the outer end of a shaft a hub and a hand move: what appears there belongs to no deposit nearby, also while
the shaft is not found."""
STIRRED_MM: Final = 1.0
HAND_MM: Final = 15.0
"""A needle whose tip has gone this far has taken along what lies this near to its shaft: the baseline begins anew."""


class NeedlesOnGrid:
    """The needles of one view. ``note`` takes every pulse."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape = shape
        self._work_mm = 1.0
        self._steel: Mask | None = None
        self._shafts: NDArray[np.uint16] | None = None
        self._hubs: Mask | None = None
        self._stirred: list[tuple[tuple[int, int], tuple[int, int]]] = []
        self._settled: dict[int, PointPx] = {}
        self._ends: deque[tuple[float, PointPx]] = deque()
        self._recent: list[list[PointPx]] = []

    @property
    def tips(self) -> list[PointPx]:
        """Where the tips are on the last pulse."""
        return self._recent[-1] if self._recent else []

    @property
    def settled_tips(self) -> list[PointPx]:
        """Where each needle that was ever seen last had its tip, but for tremor."""
        return list(self._settled.values())

    @property
    def hubs(self) -> Mask:
        """255 where outer ends of shafts lately were, (h, w)."""
        if self._hubs is None:
            self._hubs = np.zeros(self._shape, np.uint8)
            for x, y in {(round(x), round(y)) for _, (x, y) in self._ends}:
                cv2.circle(self._hubs, (x, y), round(HUB_MM / self._work_mm), 255, -1)
        return self._hubs

    @property
    def shafts(self) -> NDArray[np.uint16]:
        """The last pulse's shafts, numbered, as wide as cement may be hidden by them; 0 elsewhere. (h, w)."""
        if self._shafts is None:
            self._shafts = np.zeros(self._shape, np.uint16)
            if self._steel is not None:
                reach = max(1, round(SHAFT_MM / self._work_mm))
                box = grown(bounds(self._steel), reach)
                names = cv2.connectedComponents(np.ascontiguousarray(self._steel[box]), ltype=cv2.CV_16U)[1]
                self._shafts[box] = cv2.dilate(names, square(reach))
        return self._shafts

    @property
    def stirred(self) -> Mask | None:
        """255 where a needle that has moved, or is new, has taken its shaft, its hub and the hand along; None where
        there is none. (h, w)."""
        if not self._stirred:
            return None
        stirred = np.zeros(self._shape, np.uint8)
        for outer, inner in self._stirred:
            cv2.line(stirred, outer, inner, 255, 2 * round(HAND_MM / self._work_mm))
        return stirred

    def note(
        self,
        grid: ReferenceGrid,
        motion: RigidMotion,
        needles: tuple[Needle, ...],
        steel: Mask,
        mm_per_px: float | None,
        t_s: float,
    ) -> None:
        """Take in a pulse. ``motion``: reference to present. ``steel``: instruments on the grid, as they stay until the
        next pulse."""
        self._work_mm = grid.work_mm(mm_per_px)
        self._steel, self._shafts, self._hubs = steel, None, None
        needles = _once(needles, TIP_REACH_MM / (mm_per_px or PRIOR_MM_PER_PX))
        shafts = [needle.shaft_px for needle in needles if needle.shaft_px is not None]
        seen_px = [*(needle.tip_px for needle in needles), *(shaft[1] for shaft in shafts)]
        points = [(x, y) for x, y in grid.to_grid(np.array(seen_px), motion).tolist()] if seen_px else []
        tips, ends = points[: len(needles)], points[len(needles) :]
        self._recent = [*self._recent, tips][-1 - STILL_PULSES :]
        while self._ends and t_s - self._ends[0][0] > HUB_S:
            self._ends.popleft()
        self._ends.extend((t_s, end) for end in ends)
        self._note_stirred(grid, motion, needles)

    def resting_tips(self, work_mm: float) -> list[PointPx]:
        """The tips that have not moved lately: nobody injects through a needle while driving it."""
        within = STILL_MM / work_mm
        return [
            (x, y)
            for x, y in self.tips
            if all(any(hypot(x - u, y - v) <= within for u, v in earlier) for earlier in self._recent[:-1])
        ]

    def _note_stirred(self, grid: ReferenceGrid, motion: RigidMotion, needles: tuple[Needle, ...]) -> None:
        self._stirred = []
        for needle, tip in zip(needles, self.tips, strict=True):
            was = self._settled.get(needle.id)
            if was is not None and hypot(tip[0] - was[0], tip[1] - was[1]) * self._work_mm <= STIRRED_MM:
                continue
            self._settled[needle.id] = tip
            if needle.shaft_px is not None:
                ends = grid.to_grid(np.array(needle.shaft_px), motion)
                along = ends[1] - ends[0]
                # The bone at the tip has not been stirred, and it is where cement must be noticed first.
                share = min(1.0, 1.2 * HAND_MM / (self._work_mm * max(1.0, float(np.hypot(*along)))))
                (x, y), (u, v) = np.rint([ends[0] + share * along, ends[1]]).astype(int).tolist()
                self._stirred.append(((x, y), (u, v)))


def _once(needles: tuple[Needle, ...], reach_px: float) -> tuple[Needle, ...]:
    """The needles without those that are an elder one seen the other way round, its hub taken for a tip."""
    return tuple(needle for needle in needles if not any(_reverses(needle, elder, reach_px) for elder in needles))


def _reverses(needle: Needle, elder: Needle, reach_px: float) -> bool:
    if elder.id >= needle.id or needle.shaft_px is None or elder.shaft_px is None:
        return False
    apart = np.array(needle.shaft_px) - np.array(elder.shaft_px[::-1])
    return bool((np.hypot(*apart.T) <= reach_px).all())
