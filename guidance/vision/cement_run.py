"""Runs: thin arms through which cement leaves its deposit, in a vein or a fracture line, and how fast.

A run is seen before it can be outlined: in one pulse it hardly stands out of the noise pixel by pixel, and an average
over time falls behind a front at 2 cm/s; along its way it does stand out. So each pulse is looked at along short lines
(matched filters; Chaudhuri et al., Detection of blood vessels in retinal images, 1989), what hangs together on a
deposit is followed outwards, and it is told by how it came: a steady front is a slanting line in distance and time, and
explains the last pulses better than an arm that was there all the while or came at once (a generalized likelihood
ratio; Kay, Fundamentals of statistical signal processing II, 1998). A wire that touches a deposit, an edge that has
slipped and noise that gives way are there along all of their length at once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import ceil, hypot, inf, pi
from typing import Final, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.records import PointPx
from guidance.vision.cement_outline import DEPOSIT_REACH_MM
from guidance.vision.change import COARSE_MM, GROW_SIGMA, Change, box_of, grown, opened, square, steel_itself
from guidance.vision.kernels import runs as kernels
from guidance.vision.picture import Density, Mask

LEAST_THICK_MM: Final = 0.4
THIN_SIGMA: Final = 2.0
"""A layer so thick is never more than so significant: tone and veil are not fitted better."""
LOOK_MM: Final = 25.0
"""Runs are followed to so far from a deposit's box, which a front at 5 cm/s takes half a second to cross."""
LINE_MM: Final = 4.0
"""Veins and fracture lines are about straight over so much."""
LINES: Final = 8
LINE_SIGMA: Final = 3.0
"""Evidence is renewed by a line of so many standard deviations. The best of all lines through a pixel of noise is as
strong on one pixel in a hundred, which does not hang together."""
MOST_SIGMA: Final = 5.0
"""No pixel says more than this: a line that just touches a dense deposit is none."""
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
SIDES_MM: Final = (2.5, 4.0)
SIDE_SHARE: Final = 0.5
"""So far beside its ridge a run shows less than this share: a veil or a shadow is as dense there."""
ROOT_MM: Final = 4.0
RIDGE_SIGMA: Final = 2.5
"""A run's ridge stands so much out of what is beside it. One picked out of noise by lines stands out by two to 2.4."""
FRONT_WINDOW_S: Final = 0.6
FRONT_STEPS: Final = 4
"""An edge's advance is looked at over this long and at least so many pulses."""
RUN_WINDOW_S: Final = 0.7
RUN_PULSES: Final = 6
"""A run's advance likewise: it is 9 mm long half a second before or after it is told."""
LEAST_PULSES: Final = 3
LEAST_RUN_MM: Final = 9.0
"""A run is clearly longer than it may be wide, and than the lobes in which a deposit comes out of the noise."""
AHEAD_MM: Final = 2.0
"""Ahead of a run there is nothing yet. What ends where something foreign goes on is a part of that."""
STANDING_SHARE: Final = 0.4
"""So much of an arm may have been there all the while: a run often leaves where a deposit has a spur."""
RESTED_PULSES: Final = 3
"""A run that has just come to its end is told still: a second pulse must show it."""
FAINT_SIGMA: Final = (1.0, 3.0)
"""Arms are weighed as if they showed between so little and so much: a thick one's blurred end tells no more."""
LEAST_LOG_RATIO: Final = 2.5
"""An advance is so much likelier than all else: twelve times on one pulse, and another pulse must say so again."""
SPEEDS_MM_PER_S: Final = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.5, 8.0, 10.0, 12.5, 16.0, 20.0, 25.0, 32.0, 40.0, 55.0])
LEAST_MM_PER_S: Final = 3.0
"""What advances more slowly than this thickens or comes out of the noise."""
PLACE_MM: Final = 0.5
SIGHT_S: Final = 0.3
"""What is far out of sight and then there has needed as long to stand out of the noise."""
SETTLING_S: Final = 0.3
"""So long after its first outline a deposit still comes out of the noise, thick parts first: nothing runs yet."""

RETURNING_S: Final = 1.0
"""So long after pulses that nobody saw, what has grown meanwhile comes out of the noise, a whole deposit of it."""

OPENED_BEYOND_PX: Final = 3
"""What is opened reaches no farther than this beyond what it was."""

_Scalar = TypeVar("_Scalar", bound=np.generic)
_Box = tuple[slice, slice]
_Pixels = tuple[NDArray[np.intp], NDArray[np.intp]]
_APART_MM: Final = (4 * pi) ** 0.5 * COARSE_MM
"""Noise that is smoothed so speaks once in this much of a line."""


@dataclass(frozen=True, slots=True)
class Front:
    """Where a deposit advances fastest, on the grid.

    ``run_mm``: the length of the run that it ends, if it does. ``log_ratio``: how much likelier that is than anything
    else.
    """

    xy: PointPx
    mm_per_s: float
    run_mm: float | None = None
    log_ratio: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class _Pulse:
    """What one pulse shows in a ``box`` of the grid: standard deviations, nan where it says nothing."""

    t_s: float
    box: _Box
    sigmas: Density

    def at(self, rows: NDArray[np.intp], cols: NDArray[np.intp]) -> NDArray[np.float32]:
        """What it shows at some places of the grid, nan where nobody looked."""
        r, c = rows - self.box[0].start, cols - self.box[1].start
        h, w = self.sigmas.shape
        is_inside = (r >= 0) & (r < h) & (c >= 0) & (c < w)
        shown = np.full(len(r), np.nan, np.float32)
        shown[is_inside] = self.sigmas[r[is_inside], c[is_inside]]
        return shown


class _Planes:
    """Room for what is worked out around the deposits of a grid, kept from pulse to pulse. Each is of a box's shape."""

    def __init__(self, shape: tuple[int, int]) -> None:
        framed = (shape[0] + 2) * (shape[1] + 2)
        self._evidence = np.empty(shape[0] * shape[1], np.float32)
        self._lost = np.empty(framed, np.float32)
        self._worth = np.zeros(framed, np.float32)
        self._queued = np.zeros(framed, np.uint8)
        self._shown = np.empty(0, np.float32)
        self.queue = np.empty((2, framed), np.int32)

    def shown(self, shape: tuple[int, int], rim: int) -> Density:
        """See ``kernels.framed``; as wide as ``kernels.carried`` asks."""
        h, w = shape[0] + 2 * rim, shape[1] + 2 * rim + kernels.STRETCH
        if self._shown.size < h * w:
            self._shown = np.empty(h * w, np.float32)
        return _laid_out(self._shown, (h, w))

    def evidence(self, shape: tuple[int, int]) -> Density:
        """See ``kernels.carried``."""
        return _laid_out(self._evidence, shape)

    def framed(self, shape: tuple[int, int]) -> tuple[Density, Density, Mask]:
        """``lost``, ``worth`` and ``queued``, see ``kernels.carried``."""
        h, w = shape[0] + 2, shape[1] + 2
        return _laid_out(self._lost, (h, w)), _laid_out(self._worth, (h, w)), _laid_out(self._queued, (h, w))


def _laid_out(room: NDArray[_Scalar], shape: tuple[int, int]) -> NDArray[_Scalar]:
    return room[: shape[0] * shape[1]].reshape(shape)


@dataclass(frozen=True, eq=False)
class _Scene:
    """What surrounds the deposits on the pulse at hand; all planes are of one box of the grid.

    ``places``: of each deposit its box, see ``kernels.extents``. ``sigmas``: what the pulse shows, and ``shown`` as
    short lines are taken over it. ``evidence``: of the best line through each pixel, 1 as much as renews it, where
    paths from a deposit have been.
    """

    box: _Box
    work_mm: float
    deposits: Mask
    places: NDArray[np.int32]
    since_s: NDArray[np.float32]
    z: Density
    sigmas: Density
    shown: Density
    evidence: Density
    steel: Mask
    foreign: Mask

    @cached_property
    def bridge(self) -> Mask:
        """Not 0 where a shaft hides a run."""
        return steel_itself(self.steel)

    @cached_property
    def beside(self) -> Mask:
        """Not 0 on shafts and their flanks."""
        return np.asarray(cv2.dilate(self.steel, square(max(1, round(FLANK_MM / self.work_mm)))), dtype=np.uint8)

    @cached_property
    def shafts(self) -> NDArray[np.int32]:
        """The shafts, numbered, as wide as what comes out from behind them may be apart."""
        wide = cv2.dilate(self.beside, square(round(RIM_MM / self.work_mm)))
        return np.asarray(cv2.connectedComponents(wide)[1], dtype=np.int32)

    def around(self, box: _Box, reach: int) -> _Box:
        """A box of the scene and so much around it that is of the scene."""
        rows, cols = grown(box, reach)
        h, w = self.deposits.shape
        return slice(rows.start, min(h, rows.stop)), slice(cols.start, min(w, cols.stop))


@dataclass(frozen=True, slots=True, eq=False)
class _Arm:
    """Of an arm's pixels how many mm they are from its body, 0 elsewhere, in a ``box`` of the scene."""

    box: _Box
    away_mm: NDArray[np.float32]


class RunWatch:
    """The runs of one view. ``note`` takes every pulse that was compared, in order; ``fastest`` asks of the last."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self._planes = _Planes(shape)
        self.forget()

    def forget(self, t_s: float = -inf) -> None:
        """Nothing has been seen yet: another baseline is in use, or pulses are missing until ``t_s``.

        What has grown meanwhile comes out of the noise then, as a new deposit does.
        """
        self._pulses: list[_Pulse] = []
        self._scene: _Scene | None = None
        self._begun_s = t_s

    def note(
        self,
        change: Change,
        deposits: Mask,
        since_s: NDArray[np.float32],
        foreign: NDArray[np.bool_],
        steel: Mask,
        millimetre: float,
        work_mm: float,
        t_s: float,
    ) -> None:
        """Take in what a pulse shows.

        ``deposits``: their names, 0 elsewhere. ``since_s``: when each pixel first was of one. ``foreign``: what has
        been added and is no cement. ``steel``: not 0 on instruments, now or in the baseline. ``millimetre``: the
        density that a millimetre of cement adds.
        """
        x, y, w, h = cv2.boundingRect(deposits)
        self._scene = None
        if not w:
            return
        rows, cols = grown(box_of(x, y, x + w, y + h), round(LOOK_MM / work_mm))
        box = slice(rows.start, min(rows.stop, deposits.shape[0])), slice(cols.start, min(cols.stop, deposits.shape[1]))
        sigmas = change.of_pulse(box, LEAST_THICK_MM * millimetre / THIN_SIGMA)
        self._pulses.append(_Pulse(t_s, box, sigmas))
        while len(self._pulses) > RUN_PULSES and self._pulses[0].t_s < t_s - RUN_WINDOW_S:
            self._pulses.pop(0)
        reach = round(LINE_MM / 2 / work_mm)
        shown = self._planes.shown(sigmas.shape, reach)
        others = foreign.view(np.uint8)
        kernels.framed(sigmas, others, box[0].start, box[1].start, MOST_SIGMA, reach, shown)
        self._planes.framed(sigmas.shape)[0].fill(np.nan)
        self._scene = _Scene(
            box,
            work_mm,
            deposits[box],
            kernels.extents(deposits[y : y + h, x : x + w]) + np.array([x - cols.start, y - rows.start] * 2, np.int32),
            since_s[box],
            change.z[box],
            sigmas,
            shown,
            self._planes.evidence(sigmas.shape),
            steel[box],
            others[box],
        )

    def fastest(self, name: int, begun_s: float, ends: Sequence[tuple[int, PointPx]] = ()) -> Front | None:
        """The fastest run that leaves a deposit; None where no arm does. The deposit's outline began at ``begun_s``.

        ``ends``: where runs of which deposit have lately ended. Missed: what runs along a shaft until it comes out
        beside it, and what is fainter than the noise of some millimetres of its way.
        """
        scene = self._scene
        settled_s = max(begun_s + SETTLING_S, self._begun_s + RETURNING_S)
        begun_s = max(begun_s, self._begun_s)
        pulses = [pulse for pulse in self._pulses if pulse.t_s >= settled_s]
        if scene is None or len(pulses) < LEAST_PULSES:
            return None
        box, core = _core(name, scene)
        if not core.any():
            return None
        runs = [_advance(arm, scene, pulses) for arm in _arms(name, box, core, scene, self._planes)]
        own_ends = [xy for deposit, xy in ends if deposit == name]
        runs += _come_into_sight(name, box, core, scene, own_ends, begun_s, pulses[-1].t_s)
        return max((run for run in runs if run is not None), key=lambda run: run.mm_per_s, default=None)


@lru_cache(maxsize=4)
def _lines(work_mm: float) -> tuple[NDArray[np.int32], NDArray[np.int32], float]:
    """Short lines through a pixel: rows and columns of their taps beside it, each (lines, taps).

    Returned too is the standard deviation of what their taps add up to.
    """
    at_mm = np.linspace(-LINE_MM / 2, LINE_MM / 2, kernels.TAPS)
    apart_mm = at_mm - at_mm[:, None]
    # Smoothing correlates the noise of neighbouring taps.
    spread = float(np.exp(-((apart_mm / (2 * COARSE_MM)) ** 2)).mean()) ** 0.5
    angles = np.arange(LINES)[:, None] * (pi / LINES)
    rows, cols = (np.rint(at_mm * along(angles) / work_mm).astype(np.int32) for along in (np.sin, np.cos))
    return rows, cols, kernels.TAPS * spread


def _core(name: int, scene: _Scene) -> tuple[_Box, NDArray[np.bool_]]:
    """A box of the scene around a deposit and where in it the deposit is no longer thin."""
    left, top, right, bottom = (int(v) for v in scene.places[name])
    box = scene.around(box_of(left, top, right, bottom), OPENED_BEYOND_PX)
    deposit = cv2.compare(scene.deposits[box], float(name), cv2.CMP_EQ)
    radius_px = BODY_RADIUS_MM / scene.work_mm
    if min(right - left, bottom - top) + 1 <= 2 * radius_px:
        return box, np.zeros(deposit.shape, np.bool_)
    return box, opened(deposit, radius_px)


def _arms(name: int, box: _Box, core: NDArray[np.bool_], scene: _Scene, planes: _Planes) -> Iterator[_Arm]:
    """The arms of a deposit whose ``core`` lies in a ``box`` of the scene."""
    work_mm = scene.work_mm
    rows, cols, deviation = _lines(work_mm)
    corners, worth = kernels.carried(
        scene.shown,
        rows * np.int32(scene.shown.shape[1]) + cols,
        LINE_SIGMA * deviation,
        scene.bridge,
        core.view(np.uint8),
        box[0].start,
        box[1].start,
        CARRIED_MM / work_mm,
        scene.evidence,
        *planes.framed(scene.deposits.shape),
        planes.queue,
    )
    x, y, right, bottom = corners.tolist()
    reached = box_of(x, y, right, bottom)
    of_deposit, told = np.empty(worth.shape, np.uint8), np.empty(worth.shape, np.uint8)
    kernels.sort_reached(
        worth,
        scene.evidence[reached],
        scene.sigmas[reached],
        scene.z[reached],
        scene.deposits[reached],
        scene.beside[reached],
        scene.foreign[reached],
        name,
        GROW_SIGMA,
        of_deposit,
        told,
    )
    core = _moved(core, box, reached)
    # The body holds the core: what is no farther than this from the core ends no run.
    if not cv2.hasNonZero(cv2.bitwise_and(told, cv2.compare(_away_mm(core, work_mm), LEAST_RUN_MM, cv2.CMP_GE))):
        return
    away_mm = _away_mm(_body(core, of_deposit, work_mm), work_mm)
    beyond = cv2.bitwise_and(cv2.compare(worth, 0, cv2.CMP_GT), cv2.compare(away_mm, RIM_MM, cv2.CMP_GT))
    count, parts, boxes, _ = cv2.connectedComponentsWithStats(beyond)
    for part in range(1, count):
        left, top, width, height = (int(v) for v in boxes[part, :4])
        if hypot(width, height) * work_mm >= LEAST_RUN_MM - RIM_MM:
            within = np.s_[top : top + height, left : left + width]
            own = np.where((parts[within] == part) & (told[within] > 0), away_mm[within], np.float32(0.0))
            own_box = box_of(x + left, y + top, x + left + width, y + top + height)
            around = scene.around(own_box, 1)
            yield _Arm(around, _moved(own, own_box, around))


def _moved(plane: NDArray[_Scalar], box: _Box, other: _Box) -> NDArray[_Scalar]:
    """A plane of one box as it lies in another, which holds all that is not 0 of it."""
    (top, bottom), (left, right) = (
        (max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(box, other, strict=True)
    )
    out = np.zeros((other[0].stop - other[0].start, other[1].stop - other[1].start), plane.dtype)
    out[top - other[0].start : bottom - other[0].start, left - other[1].start : right - other[1].start] = plane[
        top - box[0].start : bottom - box[0].start, left - box[1].start : right - box[1].start
    ]
    return out


def _come_into_sight(
    name: int,
    box: _Box,
    core: NDArray[np.bool_],
    scene: _Scene,
    ends: Sequence[PointPx],
    begun_s: float,
    t_s: float,
) -> Iterator[Front]:
    """What of a deposit is outlined far from its body: it came out from behind a shaft, or fills where a run ended.

    Its way is hidden by steel or by noise, so how it advanced cannot be seen. It is as fast as it has grown since it
    came into sight, and no slower than from its deposit's first moment on.
    """
    deposit = scene.deposits[box] == name
    count, parts = cv2.connectedComponents((deposit & (scene.beside[box] == 0)).view(np.uint8), connectivity=8)
    hangs_on = _touched(parts, count, core)
    if hangs_on[1:].all():
        return
    body = core | (hangs_on[parts] & (parts > 0))
    away_mm = _away_mm(body, scene.work_mm)
    y, x = scene.box[0].start + box[0].start, scene.box[1].start + box[1].start
    for part in np.flatnonzero(~hangs_on[1:]) + 1:
        here = parts == part
        r, c = _farthest_of(np.where(here, away_mm, np.float32(0.0)))
        length_mm, near_mm = float(away_mm[r, c]), float(away_mm[here].min())
        if length_mm < LEAST_RUN_MM or near_mm < RIM_MM:
            continue
        if _something_goes_on(box[0].start + r, box[1].start + c, scene):
            continue
        rows, cols = np.nonzero(here)
        shafts = scene.shafts[box]
        n = int(shafts.max()) + 1
        is_by_shaft = bool((_touched(shafts, n, here) & _touched(shafts, n, body))[1:].any())
        to_end_px = min((float(np.hypot(cols + x - u, rows + y - v).min()) for u, v in ends), default=inf)
        if not is_by_shaft and to_end_px * scene.work_mm > DEPOSIT_REACH_MM:
            continue
        in_sight_s = t_s - float(scene.since_s[box][here].min())
        mm_per_s = max((length_mm - near_mm) / max(in_sight_s, SIGHT_S), length_mm / (t_s - begun_s))
        z = scene.z[box][here]
        evidence = float((np.minimum(z, MOST_SIGMA) ** 2 / 2).sum()) * (scene.work_mm / _APART_MM) ** 2
        if evidence >= LEAST_LOG_RATIO and mm_per_s >= LEAST_MM_PER_S:
            yield Front((float(x + c), float(y + r)), mm_per_s, length_mm, evidence)


def _touched(parts: NDArray[np.int32], count: int, where: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """For each of ``count`` parts whether some of it is there, and whether some of what is none is."""
    touched = np.zeros(count, np.bool_)
    touched[parts[where]] = True
    return touched


def _body(core: NDArray[np.bool_], all_of_it: Mask, work_mm: float) -> NDArray[np.bool_]:
    """Where a deposit is no longer thin: its core, and what significance shows to be as wide and hangs on it."""
    wide = core | opened(all_of_it, (BODY_RADIUS_MM + BLUR_MM) / work_mm)
    count, parts = cv2.connectedComponents(wide.view(np.uint8), connectivity=8)
    return np.asarray(wide & _touched(parts, count, core)[parts], dtype=np.bool_)


def _away_mm(body: NDArray[np.bool_], work_mm: float) -> NDArray[np.float32]:
    away_px = cv2.distanceTransform(cv2.compare(body.view(np.uint8), 0, cv2.CMP_EQ), cv2.DIST_L2, 5)
    return np.asarray(away_px * np.float32(work_mm), dtype=np.float32)


def _advance(arm: _Arm, scene: _Scene, pulses: list[_Pulse]) -> Front | None:
    """The front of an arm that goes on leaving its body, and how fast; None for one that does not."""
    r, c = _farthest_of(arm.away_mm)
    length_mm = float(arm.away_mm[r, c])
    r, c = arm.box[0].start + r, arm.box[1].start + c
    if length_mm < LEAST_RUN_MM or _something_goes_on(r, c, scene):
        return None
    # It is chosen by the pulse at hand. What earlier pulses show there has not been, so noise is no advance.
    away_mm = np.minimum(arm.away_mm, np.float32(length_mm))
    rows, cols, places = kernels.ridge(away_mm, scene.evidence[arm.box], PLACE_MM)
    rows, cols = rows + arm.box[0].start, cols + arm.box[1].start
    y, x = scene.box[0].start, scene.box[1].start
    shown = np.full((len(pulses), int(places[-1]) + 1), np.nan)
    for k, pulse in enumerate(pulses):
        shown[k, places] = pulse.at(rows + y, cols + x)
    ago_s = np.array([pulses[-1].t_s - pulse.t_s for pulse in pulses])
    ratio, speed, length = kernels.advance(
        _gain(shown), ago_s, SPEEDS_MM_PER_S / PLACE_MM, round(LEAST_RUN_MM / PLACE_MM), STANDING_SHARE, RESTED_PULSES
    )
    mm_per_s = float(speed) * PLACE_MM
    if ratio < LEAST_LOG_RATIO or mm_per_s < LEAST_MM_PER_S or not _stands_out((rows, cols), places, scene):
        return None
    return Front((float(x + c), float(y + r)), mm_per_s, float(length) * PLACE_MM, float(ratio))


def _something_goes_on(r: int, c: int, scene: _Scene) -> bool:
    """Whether something foreign lies ahead of an end there, which then is a part of that."""
    ahead = round(AHEAD_MM / scene.work_mm)
    return bool(scene.foreign[max(0, r - ahead) : r + ahead + 1, max(0, c - ahead) : c + ahead + 1].any())


def _stands_out(ridge: _Pixels, places: NDArray[np.int64], scene: _Scene) -> bool:
    """Whether a ridge stands out of what lies beside it, on the whole and where it leaves its body."""
    rows, cols = ridge
    on_it = box_of(int(cols.min()), int(rows.min()), int(cols.max()) + 1, int(rows.max()) + 1)
    box = scene.around(on_it, ceil(SIDES_MM[1] / scene.work_mm))
    sigmas = scene.sigmas[box]
    line = np.full(sigmas.shape, 255, np.uint8)
    line[rows - box[0].start, cols - box[1].start] = 0
    aside_mm = cv2.distanceTransform(line, cv2.DIST_L2, 3) * scene.work_mm
    told = np.isfinite(sigmas) & (scene.beside[box] == 0)
    sides = sigmas[told & (aside_mm > SIDES_MM[0]) & (aside_mm <= SIDES_MM[1])]
    along = scene.sigmas[ridge]
    is_root = places * PLACE_MM <= RIM_MM + ROOT_MM
    ridge_sigma = min(_median(along), _median(along[is_root]))
    side_sigma = _median(sides)
    return side_sigma <= min(SIDE_SHARE * ridge_sigma, ridge_sigma - RIDGE_SIGMA)


def _median(sigmas: NDArray[np.float32]) -> float:
    """The median of what is seen, infinite where nothing is."""
    seen = sigmas[np.isfinite(sigmas)]
    return float(np.median(seen)) if len(seen) else inf


def _gain(shown: NDArray[np.float64]) -> NDArray[np.float64]:
    """By how much each pulse makes it likelier that an arm lies at each place, as a logarithm; 0 where it says nothing.

    ``shown``: (pulses, places), standard deviations; nan where nothing is seen.
    The arm is taken to show everywhere as it does on the whole on the pulse at hand. No place says more than its
    absence would: it may be much thicker.
    """
    now = shown[-1][np.isfinite(shown[-1])]
    level = float(np.clip(np.minimum(now, MOST_SIGMA).mean(), *FAINT_SIGMA)) if len(now) else FAINT_SIGMA[0]
    most = level**2 / 2
    gain = np.clip(level * shown - most, -most, most) * (PLACE_MM / _APART_MM)
    return np.where(np.isfinite(shown), gain, 0.0)


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
