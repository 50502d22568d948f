"""The deposits of one view: where each lies, since when, how its area has gone, and what is told of it."""

from collections.abc import Sequence
from dataclasses import replace
from math import inf
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.records import CementDeposit, PointPx
from guidance.vision.cement_needles import NeedlesOnGrid
from guidance.vision.cement_outline import DEPOSIT_REACH_MM, PLAIN_AREA_MM2
from guidance.vision.cement_pieces import NOWHERE, Box, Pieces, bounds, hull
from guidance.vision.cement_run import FRONT_STEPS, FRONT_WINDOW_S, Front, edge_of
from guidance.vision.change import grown
from guidance.vision.geometry import RigidMotion
from guidance.vision.grid import ReferenceGrid
from guidance.vision.picture import Mask

SHAFT_REACH_MM: Final = 30.0
"""So far from its deposit cement may come out from behind a shaft: across the bone to the canal and a way along it."""
RATE_WINDOW_S: Final = 2.0
"""Growth is measured over this long."""


class Deposits:
    """``labels``: the deposits' ids on the reference grid, (h, w) uint8, 0 elsewhere. ``shape`` is the grid's.

    ``box``: the least that holds all of them, ``ever_box`` all that ever were. ``ids``: those that there are.
    ``since_s``: (h, w) float32, when cement was first seen at each place, infinite where it was never.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.labels: Mask = np.zeros(shape, np.uint8)
        self.box: Box = NOWHERE
        self.ever_box: Box = NOWHERE
        self.ids: list[int] = []
        self._solid: Mask = np.zeros(shape, np.uint8)
        self.since_s: NDArray[np.float32] = np.full(shape, inf, np.float32)
        self._areas: dict[int, list[tuple[float, float]]] = {}
        self._begun_s: dict[int, float] = {}
        self._pulses_s: list[float] = []
        self._next_id = 1

    @property
    def there(self) -> bool:
        """Whether there are any."""
        return bool(self.ids)

    @property
    def begun_s(self) -> dict[int, float]:
        """The ids of those that there are, and when each was first outlined."""
        return {name: self._begun_s[name] for name in self.ids}

    def younger(self, than_s: float, box: Box) -> NDArray[np.bool_]:
        """True where cement was first seen after this time, or never, the shape of ``box``."""
        return np.asarray(self.since_s[box] > than_s, dtype=np.bool_)

    def take_back(self, where: Mask | NDArray[np.bool_], box: Box) -> None:
        """What has been taken for cement where ``where``, the shape of ``box``, is not 0 is none, and never was."""
        self.labels[box][where > 0] = 0
        self.since_s[box][where > 0] = inf
        self.box = bounds(self.labels, self.box)
        self.ids = [int(i) + 1 for i in np.flatnonzero(np.bincount(self.labels[self.box].ravel(), minlength=1)[1:])]

    def near(
        self,
        box: Box,
        part: NDArray[np.bool_],
        needles: NeedlesOnGrid | None,
        fed: Sequence[tuple[int, PointPx]],
        work_mm: float,
    ) -> list[int]:
        """Ids of the deposits within reach of a part of the grid, the oldest first. A speck reaches nothing.

        A shaft of the ``needles`` hides cement along its length, so what touches it within 30 mm is as near as what
        touches it elsewhere; None: not so here. ``fed``: where runs of which deposit have lately ended: their way is
        lost in noise again where it is thin, and what they fill is not.
        """
        if not cv2.hasNonZero(self._solid):
            return []
        around = hull(bounds(self._solid, grown(box, round(SHAFT_REACH_MM / work_mm))), box)
        solid = self._solid[around]
        away = np.full(solid.shape, 255, np.uint8)
        r, c = np.nonzero(part)
        r, c = r + box[0].start, c + box[1].start
        away[r - around[0].start, c - around[1].start] = 0
        away_mm = cv2.distanceTransform(away, cv2.DIST_L2, 3) * np.float32(work_mm)
        near = away_mm <= DEPOSIT_REACH_MM
        if needles is not None:
            touched = np.unique(needles.shafts[box][part])
            near |= np.isin(needles.shafts[around], touched[touched > 0]) & (away_mm <= SHAFT_REACH_MM)
        names = set(solid[near].tolist())
        names |= {name for name, (x, y) in fed if float(np.hypot(c - x, r - y).min()) * work_mm <= DEPOSIT_REACH_MM}
        return sorted(names - {0})

    def become(
        self,
        found: Pieces,
        needles: NeedlesOnGrid,
        fed: Sequence[tuple[int, PointPx]],
        work_mm: float,
        t_s: float,
    ) -> None:
        """Each piece gets the id of the deposit that it lies on or is nearest to, or a new one.

        ``found``: in a box that holds all deposits that there were, too.
        """
        kept = found.kept
        if not kept and not self.there:
            return
        names = np.zeros(found.count, np.uint8)
        below = found.eldest(self.labels).tolist()
        for piece in kept:
            # Deposits that have run together keep the elder's id; a part of its own belongs to what it is near to.
            eldest = below[piece]
            if not eldest:
                box = found.box_of(piece)
                near = self.near(box, found.at(piece, box), needles, fed, work_mm)
                eldest = near[0] if near else self._new_id()
            names[piece] = eldest
        self._solid[:] = 0
        found.paint(np.where(found.areas_px * work_mm**2 >= PLAIN_AREA_MM2, names, np.uint8(0)), self._solid)
        # Cement does not leave: what is lost in noise and comes back has been there since it was first seen.
        found.become(names, t_s, self.labels, self.since_s)
        areas = np.bincount(names, found.areas_px) * work_mm**2
        self.box = hull(*(found.box_of(piece) for piece in kept))
        self.ever_box = hull(self.ever_box, self.box)
        self.ids = sorted({int(names[piece]) for piece in kept})
        self._pulses_s = [*self._pulses_s, t_s][-1 - max(FRONT_STEPS, self._steps_in_window(t_s)) :]
        for name in self.ids:
            self._begun_s.setdefault(name, t_s)
            history = self._areas.setdefault(name, [])
            history.append((t_s, float(areas[name])))
            while history[0][0] < t_s - RATE_WINDOW_S:
                history.pop(0)

    def told(
        self, grid: ReferenceGrid, motion: RigidMotion, mm_per_px: float | None, runs: dict[int, Front]
    ) -> tuple[CementDeposit, ...]:
        """What is told of them: as they lie on the pulse that ``motion`` leads to. ``runs``: of some, by id."""
        known = mm_per_px is not None
        out = []
        for name in self.ids:
            mask, (x, y) = self._alone(name)
            history = self._areas[name]
            front = runs.get(name) or self._edge(mask, (x, y), grid.work_mm(mm_per_px))
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

    def _alone(self, name: int) -> tuple[Mask, tuple[int, int]]:
        """255 on one deposit, as far as it reaches and a pixel around it, and where the corner of that is, as x and y.

        The pixel tells where a deposit ends; only where it makes up the rim of ``box`` there is none to spare.
        """
        every = cv2.compare(np.ascontiguousarray(self.labels[self.box]), float(name), cv2.CMP_EQ)
        own = grown(bounds(every), 1)
        return np.ascontiguousarray(every[own]), (self.box[1].start + own[1].start, self.box[0].start + own[0].start)

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def _steps_in_window(self, t_s: float) -> int:
        return sum(past_s >= t_s - FRONT_WINDOW_S for past_s in self._pulses_s)

    def _edge(self, mask: Mask, offset_xy: tuple[int, int], work_mm: float) -> Front | None:
        """A deposit's edge that has advanced farthest; None where nothing has."""
        x, y = offset_xy
        edge = edge_of(mask, self.since_s[y : y + mask.shape[0], x : x + mask.shape[1]], self._pulses_s, work_mm)
        return None if edge is None else replace(edge, xy=(x + edge.xy[0], y + edge.xy[1]))


def _slope(history: list[tuple[float, float]]) -> float | None:
    """Least-squares growth of an area history, per second."""
    if len(history) < 3:
        return None
    t, area = np.array(history).T
    t = t - t.mean()
    spread = float(t @ t)
    return float(t @ area) / spread if spread > 0 else None


def _moved(grid: ReferenceGrid, motion: RigidMotion, xy: PointPx) -> PointPx:
    moved = motion.move(grid.to_frame_px(np.array([xy])))
    return float(moved[0, 0]), float(moved[0, 1])
