"""What looks like a bone access needle and is none: screws by their thread, clamps by their joint or their jaws."""

from math import ceil, hypot

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels import lookalikes as kernels
from guidance.vision.kernels.lookalikes import BROADEST_BOSS_WIDTHS, LEAST_JAWS_TURN, MOST_JAWS_TURN
from guidance.vision.needle_shaft import OUTSIDE, Shaft
from guidance.vision.needle_track import NeedleSighting
from guidance.vision.picture import Density, Picture

Floats = NDArray[np.float64]

SHORTEST_PITCH_PX = 2.5
LONGEST_PITCH_WIDTHS = 1.0
"""Of a bone screw the pitch is about a third of the outer diameter."""
LEAST_THREAD_SHARE = 0.5
"""Of the unevenness of a shaft's edges, what one period alone must explain; noise reaches half of that."""
LEAST_TURNS = 7
"""An instrument that crosses a needle makes up to six waves on half of it."""
LEAST_THREAD_DEPTH = 0.06
"""Root mean square of the thread in the density beside the core, as a share of the shaft's contrast."""
JOINT_BEYOND_WIDTHS = 8.0
"""A clamp's arms merge before its joint, and with them what looks like the end of one."""
JAWS_LEVEL_WIDTHS = 0.8
JAWS_LENGTH_WIDTHS = 30.0
BOSS_REACH_WIDTHS, BESIDE_WIDTHS = 1.0, 3.5
"""From the axis between two bars that cross: where only a boss reaches, and where no boss does."""
CROSSED_WIDTHS = 4.0
"""Bars whose backs lie within this of the point where they meet end there; bars that reach beyond it cross."""


def has_thread(search: Density, shaft: Shaft) -> bool:
    """The shaft's edges rise and fall with one short period: a screw. A needle's are uneven by noise alone.

    What it misses: threads finer than the picture resolves, of fewer than seven turns in view, or on less than half of
    what is seen.
    """
    width = shaft.width
    near, far = max(1, round(0.4 * width)), round(0.4 * width) + max(2, round(0.5 * width))
    edges = kernels.edges_of(_straight_view(search, shaft, far, degree=2), near, far)
    n = edges.shape[1]
    # Many screws are threaded at one end only.
    return any(_is_threaded(edges, begin, end, shaft) for begin, end in ((0, n), (0, n // 2), (n // 2, n)))


def _is_threaded(edges: Floats, begin: int, end: int, shaft: Shaft) -> bool:
    n, smooth = end - begin, max(3, 2 * round(0.7 * shaft.width) + 1)
    if n < 3 * smooth:
        return False
    uneven = kernels.unevenness(edges, begin, end, smooth)
    # The thread is at most all of it, in both halves of the spectrum: smooth edges need not be analysed.
    if (float(np.vdot(uneven, uneven)) / (0.75 * n)) ** 0.5 <= LEAST_THREAD_DEPTH * shaft.contrast:
        return False
    powers = (np.abs(np.fft.rfft(uneven)) ** 2).sum(axis=0)
    periods = n / np.maximum(np.arange(len(powers)), 1)
    powers[periods < SHORTEST_PITCH_PX] = 0.0
    peak = int(np.argmax(np.where(periods <= max(4.0, LONGEST_PITCH_WIDTHS * shaft.width), powers, 0.0)))
    of_peak = float(powers[max(0, peak - 1) : peak + 2].sum())
    # Parseval, with the window's mean square of 3/8, both halves of the spectrum and both sides of the shaft.
    depth = (of_peak / (0.375 * n**2)) ** 0.5 / shaft.contrast
    is_regular = peak >= LEAST_TURNS and of_peak > LEAST_THREAD_SHARE * float(powers.sum())
    return is_regular and depth > LEAST_THREAD_DEPTH


def has_joint(search: Density, shaft: Shaft) -> bool:
    """The shaft and a bar beside it run into a boss as dark as themselves, and dark metal out of it: a clamp's arm.

    The boss is broader than the shaft on both sides at once; a needle crossed by another instrument is so on one side
    at a time, or without end. Behind a needle's metal hub there is plastic; before a chuck there is no second bar.
    """
    width = shaft.width
    half = ceil((BROADEST_BOSS_WIDTHS + 0.5) * width)
    view = _straight_view(search, shaft, half, degree=1, beyond=ceil(JOINT_BEYOND_WIDTHS * width))
    return kernels.runs_into_joint(view, width, shaft.contrast, float(OUTSIDE) - 1.0)


def _straight_view(search: Density, shaft: Shaft, half: int, degree: int, beyond: int = 0) -> Density:
    """The shaft from end to end and ``beyond``, straightened: rows along it, its axis in the middle column.

    ``degree``: pins bow, and a parabola follows them; beyond their ends only a line is sure to. Neither follows single
    centres that another object pulled aside.
    """
    bow = kernels.bow(shaft.sections, shaft.first, shaft.last, degree, beyond)
    axis = np.array([*shaft.at(shaft.first - beyond, 0.0), *shaft.along_xy])
    return kernels.straight_view(search, axis, bow, half, float(OUTSIDE))


def without_jaws(
    picture: Picture, sightings: list[NeedleSighting], others: list[NeedleSighting]
) -> list[NeedleSighting]:
    """The sightings without those that spring from one joint with another bar: a clamp's jaws.

    ``others``: bars already known as no needles. Of two arms that overlap, one may hide the joint from the other.
    """
    bars = [*sightings, *others]
    return [s for s in sightings if not any(s is not bar and _are_jaws(picture, s, bar) for bar in bars)]


def _are_jaws(picture: Picture, a: NeedleSighting, b: NeedleSighting) -> bool:
    """Two bars that spread from a point behind them, and either both end there or are of one width and length.

    Needles cannot: their handles keep their backs apart. What it misses to tell apart: two needles that a view from
    the side shows fanning out from one point with their tips equally deep.
    """
    if a.shaft_px is None or b.shaft_px is None:
        return False
    (tip_a, back_a), (tip_b, back_b) = np.array(a.shaft_px), np.array(b.shaft_px)
    along_a, along_b = _unit(back_a - tip_a), _unit(back_b - tip_b)
    turn = float(along_a[0] * along_b[1] - along_a[1] * along_b[0])
    if abs(turn) < LEAST_JAWS_TURN or along_a @ along_b < 0:
        return False
    width_a, width_b = a.diameter_px or 0.0, b.diameter_px or 0.0
    width = max(width_a, width_b)
    off = tip_b - tip_a
    reach_a = float(off[0] * along_b[1] - off[1] * along_b[0]) / turn
    reach_b = float(off[0] * along_a[1] - off[1] * along_a[0]) / turn
    joint = tip_a + reach_a * along_a
    if abs(turn) < 0.8 and min(reach_a, reach_b) > 0.0 and _is_inside(picture, joint):
        beyond = min(float((back_a - joint) @ along_a), float((back_b - joint) @ along_b))
        both_leave = all(_leaves_field(picture, bar, CROSSED_WIDTHS * width) for bar in (a, b))
        if beyond > (1.0 if both_leave else CROSSED_WIDTHS) * width:
            # Needles seen from the side cross like this, but without a boss.
            return _has_boss(picture, joint, _unit(along_a + along_b), width)
        if max(np.hypot(*(joint - back_a)), np.hypot(*(joint - back_b))) < CROSSED_WIDTHS * width:
            return True
    return (
        abs(turn) <= MOST_JAWS_TURN
        and min(width_a, width_b) > 0.85 * width
        and 2.0 * width < min(reach_a, reach_b)
        and max(reach_a, reach_b) < JAWS_LENGTH_WIDTHS * width
        and abs(reach_a - reach_b) < JAWS_LEVEL_WIDTHS * width
    )


def _has_boss(picture: Picture, joint_xy: Floats, along: Floats, width_px: float) -> bool:
    """Where two bars cross, metal reaches farther to both sides than they do."""
    across = np.array([-along[1], along[0]])
    offs = np.array([0.0, -BOSS_REACH_WIDTHS, BOSS_REACH_WIDTHS, -BESIDE_WIDTHS, BESIDE_WIDTHS]) * width_px
    spread = np.linspace(-0.4, 0.4, 5) * width_px
    places = joint_xy + offs[:, None, None] * across + spread[None, :, None] * along
    x, y = np.rint(picture.to_work_px(places.reshape(-1, 2))).astype(np.intp).T
    height, width = picture.density.shape
    density = picture.density[y.clip(0, height - 1), x.clip(0, width - 1)].reshape(5, 5).mean(axis=1)
    steel, *sides, left, right = density.tolist()
    return bool(min(sides) > 0.5 * (steel + min(left, right)))


def _leaves_field(picture: Picture, bar: NeedleSighting, reach_px: float) -> bool:
    """The bar reaches the field's edge, or ends, merged with another, so near it that its edge is within reach."""
    if bar.evidence is not None and not (bar.evidence.back_is_free or bar.evidence.back_is_dark):
        return True
    tip, back = np.array(bar.shaft_px)
    return not _is_inside(picture, back + reach_px * _unit(back - tip))


def _is_inside(picture: Picture, at_xy: Floats) -> bool:
    x, y = round(float(at_xy[0])), round(float(at_xy[1]))
    height, width = picture.pixels.shape
    return bool(0 <= x < width and 0 <= y < height and picture.field.mask[y, x] > 0)


def _unit(vector: Floats) -> Floats:
    return np.asarray(vector / max(1e-9, hypot(vector[0], vector[1])))
