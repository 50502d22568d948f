"""Metal that passes over deposits: a clamp, a wire or a cable that moves through the picture while cement is injected.

Apart from deposits such a thing is told by how fast it came. Where it touches one, its density joins the deposit's, and
only its shape tells them apart: metal moves rigidly, so it is where its shape of before fits what is seen beside the
deposit, also where it comes out on the other side.

What it misses: metal that is first seen across a deposit, of what lies over it; metal that bends, and what turns by
more than some degrees while it touches one.
"""

from dataclasses import dataclass, replace
from math import ceil, hypot, inf
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.vision.change import GROW_SIGMA, square
from guidance.vision.picture import Density, Mask

JOINED_MM: Final = 3.0
"""Nearer than this to a deposit, blur and one more pulse's way may join the two; what is cut from it here is apart."""
TOUCH_MM: Final = 4.0
"""So near to a deposit an object's shape is kept as it was, before any of it is cut away."""
NEAR_MM: Final = 30.0
"""So much of it around a deposit is followed: enough to tell its way, and one object also where others cross it."""
LEAST_MM2: Final = 10.0
STEP_MM: Final = 3.0
"""How far it may go from one pulse to the next: 2 cm/s, and the way until the average has followed."""
MOVED_MM: Final = 0.5
"""Less is noise: what is at rest has its place already."""
RIM_MM: Final = 1.0
"""Around it blur, and the pulse's way that the average lags behind, show too."""
LATELY_PULSES: Final = 4
"""An average over time shows for so long where it was."""
AS_GOOD_SHARE: Final = 0.99
"""A lesser step that fits nearly as well is taken: along its own length a wire's move does not show."""
MOST_SAMPLES: Final = 400
MOST_SIGMA: Final = 10.0
"""What is so significant is plainly there: no single spot outweighs the rest."""


@dataclass(frozen=True, slots=True, eq=False)
class _Shape:
    """An object as it was when it was last apart from all deposits, and how far it has gone since.

    ``rc``: its pixels, shape (n, 2).
    """

    rc: NDArray[np.intp]
    gone_rc: tuple[int, int] = (0, 0)


class PassingMetal:
    """The objects that pass the deposits of one view. On each pulse ``follow`` comes first, then ``note``."""

    def __init__(self) -> None:
        self._shapes: list[_Shape] = []
        self._lately: list[Mask] = []

    def forget(self) -> None:
        """Nothing passes: another baseline is in use."""
        self._shapes, self._lately = [], []

    def follow(self, z: Density, deposits: Mask, work_mm: float) -> Mask | None:
        """255 where objects that have moved are or lately were, with a rim; None where there are none.

        ``z``: what has been added, in standard deviations. ``deposits``: not 0 on those of the last pulse.
        """
        if not self._shapes and not self._lately:
            return None
        seen = np.where(cv2.dilate(deposits, square(ceil(RIM_MM / work_mm))) > 0, np.float32(np.nan), z)
        followed = (_moved(shape, seen, STEP_MM / work_mm) for shape in self._shapes)
        self._shapes = [shape for shape in followed if shape is not None]
        joined = cv2.dilate(deposits, square(ceil(JOINED_MM / work_mm)))
        here = np.zeros(z.shape, np.uint8)
        for shape in self._shapes:
            if hypot(*shape.gone_rc) * work_mm > MOVED_MM:
                here[_inside(shape.rc + shape.gone_rc, z.shape)] = 255
        here = np.where(joined > 0, cv2.dilate(here, square(ceil(RIM_MM / work_mm))), 0).astype(np.uint8)
        self._lately = [*self._lately, here][-LATELY_PULSES:]
        if not any(mask.any() for mask in self._lately):
            self._lately = []
            return None
        return np.asarray(np.bitwise_or.reduce(self._lately), dtype=np.uint8)

    def note(self, foreign: Mask, z: Density, deposits: Mask, work_mm: float) -> None:
        """Take the shapes of objects that are apart from all deposits; keep those of the others.

        ``foreign``: not 0 on what has come faster than cement flows.
        """
        present = np.where(z >= GROW_SIGMA, foreign, 0).astype(np.uint8)
        if not deposits.any() or not (present.any() or self._shapes):
            self._shapes = []
            return
        to_deposit_mm = cv2.distanceTransform(cv2.compare(deposits, 0, cv2.CMP_EQ), cv2.DIST_L2, 3) * work_mm
        shapes = [shape for shape in self._shapes if _least(to_deposit_mm, shape.rc + shape.gone_rc) <= TOUCH_MM]
        count, parts, stats, _ = cv2.connectedComponentsWithStats(present, connectivity=8)
        for i in range(1, count):
            if stats[i, cv2.CC_STAT_AREA] * work_mm**2 < LEAST_MM2:
                continue
            rc = np.argwhere(parts == i)
            away_mm = to_deposit_mm[rc[:, 0], rc[:, 1]]
            if TOUCH_MM < float(away_mm.min()) < NEAR_MM:
                shapes.append(_Shape(rc[away_mm < NEAR_MM]))
        self._shapes = shapes


def _moved(shape: _Shape, z: Density, step_px: float) -> _Shape | None:
    """The shape where it fits best not far from where it was; None where it is not seen any more.

    ``z``: not a number where nothing tells.
    """
    reach = ceil(step_px)
    spots = (shape.rc + shape.gone_rc)[:: max(1, len(shape.rc) // MOST_SAMPLES)]
    steps = np.array(
        sorted(
            ((r, c) for r in range(-reach, reach + 1) for c in range(-reach, reach + 1) if hypot(r, c) <= step_px),
            key=lambda step: hypot(*step),
        )
    )
    places = spots[:, None, :] + steps
    told = np.full(places.shape[:2], np.nan, np.float32)
    inside = ((places >= 0) & (places < z.shape)).all(axis=2)
    told[inside] = z[places[inside][:, 0], places[inside][:, 1]].clip(0, MOST_SIGMA)
    number = np.isfinite(told).sum(axis=0)
    fits = np.where(number > len(spots) // 3, np.nansum(told, axis=0) / np.maximum(number, 1), 0)
    if fits.max() < GROW_SIGMA:
        return None
    down, right = steps[np.flatnonzero(fits >= AS_GOOD_SHARE * fits.max())[0]].tolist()
    return replace(shape, gone_rc=(shape.gone_rc[0] + down, shape.gone_rc[1] + right))


def _inside(rc: NDArray[np.intp], shape: tuple[int, ...]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of those of some pixels that lie in a picture."""
    rc = rc[((rc >= 0) & (rc < shape)).all(axis=1)]
    return rc[:, 0], rc[:, 1]


def _least(plane: Density, rc: NDArray[np.intp]) -> float:
    return float(plane[_inside(rc, plane.shape)].min(initial=inf))
