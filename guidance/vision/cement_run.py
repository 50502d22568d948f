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
from math import hypot, inf, pi
from typing import Final

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
LINE_TAPS: Final = 7
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
    """What one pulse shows: standard deviations on the whole grid, nan where it says nothing or nobody looked."""

    t_s: float
    sigmas: Density


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """What surrounds the deposits on the pulse at hand; all planes are of one box, ``corner_xy`` its place.

    ``evidence``: of the best line through each pixel, 1 as much as renews it. ``dense``: what has been added there for
    itself. ``beside``: on shafts and their flanks.
    """

    box: tuple[slice, slice]
    work_mm: float
    deposits: Mask
    since_s: NDArray[np.float32]
    z: Density
    evidence: Density
    dense: NDArray[np.bool_]
    steel: Mask
    beside: NDArray[np.bool_]
    foreign: NDArray[np.bool_]

    @property
    def corner_xy(self) -> tuple[int, int]:
        return self.box[1].start, self.box[0].start


class RunWatch:
    """The runs of one view. ``note`` takes every pulse that was compared, in order; ``fastest`` asks of the last."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape = shape
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
        box = grown(box_of(x, y, x + w, y + h), round(LOOK_MM / work_mm))
        sigmas = change.of_pulse(box, LEAST_THICK_MM * millimetre / THIN_SIGMA)
        whole = np.full(self._shape, np.nan, np.float32)
        whole[box] = sigmas
        self._pulses.append(_Pulse(t_s, whole))
        while len(self._pulses) > RUN_PULSES and self._pulses[0].t_s < t_s - RUN_WINDOW_S:
            self._pulses.pop(0)
        sigmas = np.where(foreign[box], np.float32(0.0), np.nan_to_num(sigmas))
        self._scene = _Scene(
            box,
            work_mm,
            deposits[box],
            since_s[box],
            change.z[box],
            _along_lines(sigmas, work_mm) / np.float32(LINE_SIGMA),
            (np.maximum(sigmas, change.z[box]) >= GROW_SIGMA) & ~foreign[box],
            steel[box],
            cv2.dilate(steel[box], square(max(1, round(FLANK_MM / work_mm)))) > 0,
            foreign[box],
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
        runs = [_advance(arm_mm, scene, pulses) for arm_mm in _arms(name, scene)]
        own_ends = [xy for deposit, xy in ends if deposit == name]
        runs += _come_into_sight(name, scene, own_ends, begun_s, pulses[-1].t_s)
        return max((run for run in runs if run is not None), key=lambda run: run.mm_per_s, default=None)


def _along_lines(sigmas: Density, work_mm: float) -> Density:
    """The most that any short line through each pixel shows, in standard deviations of its mean."""
    at_mm = np.linspace(-LINE_MM / 2, LINE_MM / 2, LINE_TAPS)
    apart_mm = at_mm - at_mm[:, None]
    # Smoothing correlates the noise of neighbouring taps.
    spread = float(np.exp(-((apart_mm / (2 * COARSE_MM)) ** 2)).mean()) ** 0.5
    reach = round(LINE_MM / 2 / work_mm)
    h, w = sigmas.shape
    capped = np.minimum(sigmas, np.float32(MOST_SIGMA))
    framed = cv2.copyMakeBorder(capped, reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=0)
    best, line = np.full((h, w), -np.inf, np.float32), np.empty((h, w), np.float32)
    for angle in np.arange(LINES) * (pi / LINES):
        line[:] = 0
        for mm in at_mm:
            r, c = reach + round(mm * np.sin(angle) / work_mm), reach + round(mm * np.cos(angle) / work_mm)
            cv2.add(line, framed[r : r + h, c : c + w], dst=line)
        cv2.max(best, line, dst=best)
    return best / np.float32(LINE_TAPS * spread)


def _arms(name: int, scene: _Scene) -> Iterator[NDArray[np.float32]]:
    """The arms of a deposit: how many mm their pixels are from its body, 0 elsewhere, (h, w) of the scene."""
    deposit = cv2.compare(scene.deposits, float(name), cv2.CMP_EQ)
    core = opened(deposit, BODY_RADIUS_MM / scene.work_mm)
    if not core.any():
        return
    source, bridge = core.astype(np.uint8), steel_itself(scene.steel)
    on_way = kernels.carried(scene.evidence, source, bridge, CARRIED_MM / scene.work_mm) > 0
    x, y, w, h = cv2.boundingRect(on_way.astype(np.uint8))
    box = np.s_[y : y + h, x : x + w]
    seen = on_way[box] & ~scene.beside[box] & ~scene.foreign[box]
    away_mm = _away_mm(_body(core[box], (seen & scene.dense[box]) | (deposit[box] > 0), scene.work_mm), scene.work_mm)
    seen &= scene.evidence[box] >= 1
    count, parts, boxes, _ = cv2.connectedComponentsWithStats((on_way[box] & (away_mm > RIM_MM)).astype(np.uint8))
    for part in range(1, count):
        width, height = (int(v) for v in boxes[part, 2:4])
        if hypot(width, height) * scene.work_mm >= LEAST_RUN_MM - RIM_MM:
            arm_mm = np.zeros(on_way.shape, np.float32)
            arm_mm[box] = np.where((parts == part) & seen, away_mm, np.float32(0.0))
            yield arm_mm


def _come_into_sight(name: int, scene: _Scene, ends: Sequence[PointPx], begun_s: float, t_s: float) -> Iterator[Front]:
    """What of a deposit is outlined far from its body: it came out from behind a shaft, or fills where a run ended.

    Its way is hidden by steel or by noise, so how it advanced cannot be seen. It is as fast as it has grown since it
    came into sight, and no slower than from its deposit's first moment on.
    """
    deposit = scene.deposits == name
    core = opened(np.where(deposit, 255, 0).astype(np.uint8), BODY_RADIUS_MM / scene.work_mm)
    if not core.any():
        return
    _, parts = cv2.connectedComponents(np.where(scene.beside, 0, deposit).astype(np.uint8), connectivity=8)
    _, shafts = cv2.connectedComponents(
        cv2.dilate(scene.beside.astype(np.uint8), square(round(RIM_MM / scene.work_mm)))
    )
    body = core | np.isin(parts, _names_of(parts, core))
    by_body = _names_of(shafts, body)
    away_mm = _away_mm(body, scene.work_mm)
    x, y = scene.corner_xy
    for part in np.setdiff1d(_names_of(parts, deposit), _names_of(parts, body)):
        here = parts == part
        rows, cols = np.nonzero(here)
        is_by_shaft = bool(np.isin(_names_of(shafts, here), by_body).any())
        to_end_px = min((float(np.hypot(cols + x - u, rows + y - v).min()) for u, v in ends), default=inf)
        if not is_by_shaft and to_end_px * scene.work_mm > DEPOSIT_REACH_MM:
            continue
        r, c = _farthest_of(np.where(here, away_mm, np.float32(0.0)))
        length_mm, near_mm = float(away_mm[r, c]), float(away_mm[here].min())
        if length_mm < LEAST_RUN_MM or near_mm < RIM_MM or _something_goes_on(r, c, scene):
            continue
        in_sight_s = t_s - float(scene.since_s[here].min())
        mm_per_s = max((length_mm - near_mm) / max(in_sight_s, SIGHT_S), length_mm / (t_s - begun_s))
        evidence = float((np.minimum(scene.z[here], MOST_SIGMA) ** 2 / 2).sum()) * (scene.work_mm / _APART_MM) ** 2
        if evidence >= LEAST_LOG_RATIO and mm_per_s >= LEAST_MM_PER_S:
            yield Front((float(x + c), float(y + r)), mm_per_s, length_mm, evidence)


def _names_of(parts: NDArray[np.int32], where: NDArray[np.bool_]) -> NDArray[np.int32]:
    names = np.unique(parts[where])
    return names[names > 0]


def _body(core: NDArray[np.bool_], all_of_it: NDArray[np.bool_], work_mm: float) -> NDArray[np.bool_]:
    """Where a deposit is no longer thin: its core, and what significance shows to be as wide and hangs on it."""
    wide = core | opened(np.where(all_of_it, 255, 0).astype(np.uint8), (BODY_RADIUS_MM + BLUR_MM) / work_mm)
    _, parts = cv2.connectedComponents(wide.astype(np.uint8), connectivity=8)
    return np.asarray(wide & np.isin(parts, np.unique(parts[core])), dtype=np.bool_)


def _away_mm(body: NDArray[np.bool_], work_mm: float) -> NDArray[np.float32]:
    away_px = cv2.distanceTransform(np.where(body, 0, 255).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(away_px * np.float32(work_mm), dtype=np.float32)


def _advance(arm_mm: NDArray[np.float32], scene: _Scene, pulses: list[_Pulse]) -> Front | None:
    """The front of an arm that goes on leaving its body, and how fast; None for one that does not.

    ``arm_mm``: of the arm's pixels from the body, 0 elsewhere.
    """
    r, c = _farthest_of(arm_mm)
    length_mm = float(arm_mm[r, c])
    if length_mm < LEAST_RUN_MM or _something_goes_on(r, c, scene):
        return None
    ridge, places = _ridge(np.minimum(arm_mm, np.float32(length_mm)), scene.evidence)
    shown = np.full((len(pulses), int(places[-1]) + 1), np.nan)
    for k, pulse in enumerate(pulses):
        shown[k, places] = pulse.sigmas[scene.box][ridge]
    ago_s = np.array([pulses[-1].t_s - pulse.t_s for pulse in pulses])
    ratio, speed, length = kernels.advance(
        _gain(shown), ago_s, SPEEDS_MM_PER_S / PLACE_MM, round(LEAST_RUN_MM / PLACE_MM), STANDING_SHARE, RESTED_PULSES
    )
    mm_per_s = float(speed) * PLACE_MM
    if ratio < LEAST_LOG_RATIO or mm_per_s < LEAST_MM_PER_S or not _stands_out(ridge, places, scene, pulses[-1]):
        return None
    x, y = scene.corner_xy
    return Front((float(x + c), float(y + r)), mm_per_s, float(length) * PLACE_MM, float(ratio))


def _something_goes_on(r: int, c: int, scene: _Scene) -> bool:
    """Whether something foreign lies ahead of an end there, which then is a part of that."""
    ahead = round(AHEAD_MM / scene.work_mm)
    return bool(scene.foreign[max(0, r - ahead) : r + ahead + 1, max(0, c - ahead) : c + ahead + 1].any())


def _ridge(arm_mm: NDArray[np.float32], evidence: Density) -> tuple[_Pixels, NDArray[np.int64]]:
    """The rows and columns of an arm's ridge and at which places from the body, PLACE_MM apart, they lie; outwards.

    Of all pixels as far from the body it is the one that the pulse at hand shows best. What earlier pulses show there
    has not been chosen, so noise is no advance.
    """
    rows, cols = np.nonzero(arm_mm)
    best_first = np.argsort(-evidence[rows, cols], kind="stable")
    rows, cols = rows[best_first], cols[best_first]
    places, chosen = np.unique((arm_mm[rows, cols] / PLACE_MM).astype(np.int64), return_index=True)
    return (rows[chosen], cols[chosen]), places


def _stands_out(ridge: _Pixels, places: NDArray[np.int64], scene: _Scene, pulse: _Pulse) -> bool:
    """Whether a ridge stands out of what lies beside it, on the whole and where it leaves its body."""
    line = np.full(scene.evidence.shape, 255, np.uint8)
    line[ridge] = 0
    aside_mm = cv2.distanceTransform(line, cv2.DIST_L2, 3) * scene.work_mm
    sigmas = pulse.sigmas[scene.box]
    told = np.isfinite(sigmas) & ~scene.beside
    sides = sigmas[told & (aside_mm > SIDES_MM[0]) & (aside_mm <= SIDES_MM[1])]
    along = sigmas[ridge]
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
