"""The deposits of one view: where each lies, since when, how its area has gone, and what is told of it."""

from collections.abc import Sequence
from dataclasses import replace
from math import inf
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.records import CementDeposit, PointPx
from guidance.vision.cement_outline import DEPOSIT_REACH_MM, PLAIN_AREA_MM2
from guidance.vision.cement_run import FRONT_STEPS, FRONT_WINDOW_S, Front, edge_of
from guidance.vision.change import ReferenceGrid, box_of, grown
from guidance.vision.geometry import RigidMotion
from guidance.vision.picture import Mask

SHAFT_REACH_MM: Final = 30.0
"""So far from its deposit cement may come out from behind a shaft: across the bone to the canal and a way along it."""
RATE_WINDOW_S: Final = 2.0
"""Growth is measured over this long."""


class Deposits:
    """``labels``: the deposits' ids on the reference grid, (h, w) uint8, 0 elsewhere. ``shape`` is the grid's.

    ``since_s``: (h, w) float32, when cement was first seen at each place, infinite where it was never.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.labels: Mask = np.zeros(shape, np.uint8)
        self._solid: Mask = np.zeros(shape, np.uint8)
        self.since_s: NDArray[np.float32] = np.full(shape, inf, np.float32)
        self._areas: dict[int, list[tuple[float, float]]] = {}
        self._begun_s: dict[int, float] = {}
        self._pulses_s: list[float] = []
        self._next_id = 1

    @property
    def there(self) -> bool:
        """Whether there are any."""
        return bool(self.labels.any())

    @property
    def begun_s(self) -> dict[int, float]:
        """The ids of those that there are, and when each was first outlined."""
        x, y, w, h = cv2.boundingRect(self.labels)
        counts = np.bincount(self.labels[y : y + h, x : x + w].ravel(), minlength=1)
        return {name: self._begun_s[name] for name in (int(i) + 1 for i in np.flatnonzero(counts[1:]))}

    def younger(self, than_s: float) -> NDArray[np.bool_]:
        """True where cement was first seen after this time, or never."""
        return np.asarray(self.since_s > than_s, dtype=np.bool_)

    def take_back(self, where: Mask) -> None:
        """What has been taken for cement where ``where`` is not 0 is none, and never was."""
        self.labels[where > 0] = 0
        self.since_s[where > 0] = inf

    def near(
        self,
        box: tuple[slice, slice],
        part: NDArray[np.bool_],
        shafts: NDArray[np.uint16] | None,
        fed: Sequence[tuple[int, PointPx]],
        work_mm: float,
    ) -> list[int]:
        """Ids of the deposits within reach of a part of the grid, the oldest first. A speck reaches nothing.

        ``shafts``: numbered, and as wide as cement may be hidden by them. A shaft hides cement along its length, so
        what touches it within 30 mm is as near as what touches it elsewhere. ``fed``: where runs of which deposit have
        lately ended: their way is lost in noise again where it is thin, and what they fill is not.
        """
        if not self._solid.any():
            return []
        around = grown(box, round(SHAFT_REACH_MM / work_mm))
        solid = self._solid[around]
        away = np.full(solid.shape, 255, np.uint8)
        r, c = np.nonzero(part)
        r, c = r + box[0].start, c + box[1].start
        away[r - around[0].start, c - around[1].start] = 0
        away_mm = cv2.distanceTransform(away, cv2.DIST_L2, 3) * np.float32(work_mm)
        near = away_mm <= DEPOSIT_REACH_MM
        if shafts is not None:
            touched = np.unique(shafts[box][part])
            near |= np.isin(shafts[around], touched[touched > 0]) & (away_mm <= SHAFT_REACH_MM)
        names = set(solid[near].tolist())
        names |= {name for name, (x, y) in fed if float(np.hypot(c - x, r - y).min()) * work_mm <= DEPOSIT_REACH_MM}
        return sorted(names - {0})

    def become(
        self,
        found: Mask,
        shafts: NDArray[np.uint16],
        fed: Sequence[tuple[int, PointPx]],
        work_mm: float,
        t_s: float,
    ) -> None:
        """Each part of the mask gets the id of the deposit that it lies on or is nearest to, or a new one."""
        x, y, w, h = cv2.boundingRect(cv2.bitwise_or(found, self.labels))
        whole = box_of(x, y, x + w, y + h)
        if not w:
            return
        n, parts, stats, _ = cv2.connectedComponentsWithStats(np.ascontiguousarray(found[whole]), connectivity=8)
        named: dict[int, int] = {}
        for i in sorted(range(1, n), key=lambda i: -int(stats[i, cv2.CC_STAT_AREA])):
            left, top, width, height = (int(v) for v in stats[i, :4])
            part = parts[top : top + height, left : left + width] == i
            box = box_of(x + left, y + top, x + left + width, y + top + height)
            below = self.labels[box][part]
            below = below[below > 0]
            # Deposits that have run together keep the elder's id; a part of its own belongs to what it is near to.
            near = [int(below.min())] if len(below) else self.near(box, part, shafts, fed, work_mm)
            named[i] = near[0] if near else self._new_id()
        lookup = np.zeros(n, np.uint8)
        for i, name in named.items():
            lookup[i] = name
        fresh = lookup[parts]
        solid = stats[:, cv2.CC_STAT_AREA] * work_mm**2 >= PLAIN_AREA_MM2
        self._solid[:] = 0
        self._solid[whole] = (lookup * solid)[parts]
        # Cement does not leave: what is lost in noise and comes back has been there since it was first seen.
        np.minimum(self.since_s[whole], np.float32(t_s), out=self.since_s[whole], where=fresh > 0)
        self.labels[whole] = fresh
        areas = np.bincount(fresh.ravel()) * work_mm**2
        self._pulses_s = [*self._pulses_s, t_s][-1 - max(FRONT_STEPS, self._steps_in_window(t_s)) :]
        for name in set(named.values()):
            self._begun_s.setdefault(name, t_s)
            history = self._areas.setdefault(name, [])
            history.append((t_s, float(areas[name])))
            while history[0][0] < t_s - RATE_WINDOW_S:
                history.pop(0)

    def told(
        self, grid: ReferenceGrid, motion: RigidMotion, mm_per_px: float | None, runs: dict[int, Front]
    ) -> tuple[CementDeposit, ...]:
        """What is told of them: as they lie on the pulse that ``motion`` leads to. ``runs``: of some, by id."""
        x, y, w, h = cv2.boundingRect(self.labels)
        part = self.labels[y : y + h, x : x + w]
        known = mm_per_px is not None
        out = []
        for name in (int(i) for i in np.unique(part) if i > 0):
            mask = np.where(part == name, 255, 0).astype(np.uint8)
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
