"""Bone access needles, pins and wires on one x-ray picture, with their tips."""

from collections.abc import Iterable
from dataclasses import replace
from math import ceil, hypot, inf

import cv2
import numpy as np

from guidance.records import Needle, PointPx
from guidance.vision.kernels.shaft import BORDER, DARK, FREE, centre_near
from guidance.vision.needle_dot import (
    HUB_REACH_DIAMETERS,
    HUB_REACH_OF_FIELD,
    LEAST_DOT_CONTRAST,
    Disc,
    HubDot,
    dark_discs,
    hub_dots,
)
from guidance.vision.needle_evidence import Evidence
from guidance.vision.needle_lookalikes import has_joint, has_thread, without_jaws
from guidance.vision.needle_shaft import (
    Flags,
    Floats,
    SearchPlanes,
    Shaft,
    follow,
    goes_on,
    ribbon_runs,
    rows_alone,
    runs_through,
    straight_lines,
    without_pieces_of,
)
from guidance.vision.needle_tip import Tip, find_tip
from guidance.vision.needle_track import NeedleSighting, NeedleTracker, angle_deg
from guidance.vision.picture import Density, Mask, Picture

__all__ = ["NeedleSighting", "NeedleTracker", "find_needles", "shaft_mask"]

THICKEST_PX = 13.0
"""A shaft's width at work scale where scale and gauge are unknown."""
THINNEST_FIELD_SHARE = 2.4 / 250.0
"""Where they are unknown: 13 gauge in the largest field there is, a 38 cm detector's at the patient."""
THINNEST_RIBBON_SHARE = 0.75
"""Of the least diameter. Steel's shadow is 0.83 of its diameter wide in density; thinner ribbons are bone's edges."""
MOST_CANDIDATES = 16
AXIS_ROWS = 5
"""So many rows to either side tell where the axis is."""
LEAST_CONFIDENCE = 0.5
MOST_CONFIDENCE_BEFORE_A_JOINT = 0.96
"""Below what is told on one pulse alone."""
MOST_DARK_AHEAD = 0.45
MOST_RAGGED = 0.3
"""Beyond either of these the tip lies in something as dark as itself, and its place along the axis is uncertain."""


def find_needles(
    picture: Picture,
    diameter_px: tuple[float, float] | None = None,
    least_confidence: float = LEAST_CONFIDENCE,
    planes: SearchPlanes | None = None,
) -> tuple[NeedleSighting, ...]:
    """Every straight steel shaft that ends inside the field, and every needle seen end-on, the most certain first.

    Those marked ``tip_covered`` end in something as dark as steel: a needle only to who knows it from before.

    ``diameter_px``: the least and greatest diameter in input-frame pixels, where scale and gauge are known.
    ``least_confidence``: what is less sure is left out. ``planes``: memory to use from pulse to pulse.

    A shaft is a dark ribbon of constant width between two lighter flanks (antiparallel edges: Steger, "An unbiased
    detector of curvilinear structures", 1998, without the scale space), followed both ways until it ends; its tip is
    fitted at full resolution. What it misses: needles whose edges merge with a neighbour's for their whole length, tips
    inside other metal, shafts shorter than about three diameters; a smooth pin, a screw of a needle's width or one arm
    of an open clamp looks the same.
    """
    planes = planes or SearchPlanes()
    planes.show(picture)
    hub_reach = _hub_reach(picture, diameter_px)
    thickest = THICKEST_PX if diameter_px is None else 1.6 * diameter_px[1] / picture.factor
    if diameter_px is None:
        x0, y0, x1, y1 = picture.field.box_px
        diameter_px = THINNEST_FIELD_SHARE * max(x1 - x0, y1 - y0), inf
    widths = (max(1.5, THINNEST_RIBBON_SHARE * diameter_px[0] / picture.factor), thickest)
    steep, flat = ribbon_runs(planes.of_rows, widths), ribbon_runs(planes.of_columns, widths)
    lines = straight_lines(steep, flat, widths)
    followed, lookalikes = _along_shafts(picture, planes.image, lines, least_confidence)
    shafts = [s for s in followed if s.tip_covered or s.confidence >= least_confidence]
    dots = _end_on(picture, planes, steep, flat, hub_reach, shafts)
    fitting = [s for s in shafts + dots if _has_diameter(s, diameter_px)]
    likely, covered = ([s for s in fitting if s.tip_covered is is_covered] for is_covered in (False, True))
    return _without_doubles([*without_jaws(picture, likely, lookalikes), *covered])


def _along_shafts(
    picture: Picture, search: Density, lines: Floats, least_confidence: float
) -> tuple[list[NeedleSighting], list[NeedleSighting]]:
    """What the lines are when followed: needles, and what looks like one but is known not to be."""
    shafts = _followed(search, lines)
    needles: list[NeedleSighting] = []
    lookalikes: list[NeedleSighting] = []
    for shaft, alone in zip(shafts, rows_alone(shafts), strict=True):
        sighting = _sighting(picture, shaft, alone, shafts, least_confidence)
        if sighting is not None:
            is_lookalike = has_thread(search, shaft) or has_joint(search, shaft)
            (lookalikes if is_lookalike else needles).append(sighting)
    return needles, lookalikes


def _followed(search: Density, lines: Floats) -> list[Shaft]:
    """The lines followed to their ends, the most weighty first, each shaft once."""
    shafts: list[Shaft] = []
    for _ in range(MOST_CANDIDATES):
        if len(lines) == 0:
            break
        shaft, lines = follow(search, lines[0]), lines[1:]
        if shaft is not None:
            shafts.append(shaft)
            lines = without_pieces_of(shaft, lines)
    return shafts


def _end_on(
    picture: Picture, planes: SearchPlanes, steep: Floats, flat: Floats, hub_reach: float, shafts: list[NeedleSighting]
) -> list[NeedleSighting]:
    """The needles seen end-on, bare or through their hubs, off the shafts."""
    discs = [(disc.centre_xy, _bare_dot(picture, disc)) for disc in dark_discs(planes.image, steep, flat)]
    hubs = [(dot.tip_xy, _in_hub(picture, dot)) for dot in hub_dots(planes, hub_reach)]
    if not discs and not hubs:
        return []
    on_shafts = shaft_mask(picture, shafts, 4.0)
    return [sighting for centre_xy, sighting in discs + hubs if _nearest_pixel(on_shafts, centre_xy) == 0]


def _nearest_pixel(mask: Mask, xy: PointPx) -> int:
    """The mask where a point lies that was fitted on it; a fit may end a part of a pixel beyond the border."""
    h, w = mask.shape
    return int(mask[min(max(round(xy[1]), 0), h - 1), min(max(round(xy[0]), 0), w - 1)])


def _sighting(
    picture: Picture, shaft: Shaft, alone: Flags, shafts: list[Shaft], least_confidence: float
) -> NeedleSighting | None:
    """The shaft with the better of its free ends as the tip, or with the end that cement or metal covers.

    None where it has neither: no needle, or a needle's part with both ends out of sight. ``alone``: its rows that no
    other of the ``shafts`` lies beside.
    """
    evidence = Evidence.of(shaft, alone)
    if not evidence.may_be_steel or evidence.confidence < least_confidence:
        return None
    free = [i for i in (0, 1) if shaft.kinds[i] == FREE and not goes_on(shaft, i)]
    tips = [(i, tip) for i in free if (tip := find_tip(picture, shaft, i)) is not None]
    if not tips:
        is_merged = any(runs_through(other, shaft) for other in shafts)
        return None if is_merged else _covered(picture, shaft, alone, evidence)
    end, tip = max(tips, key=lambda item: _end_score(picture, item[1]))
    back_xy = _frame_xy(picture, shaft, alone, shaft.first if end == 1 else shaft.last)
    back_is_dark = shaft.kinds[1 - end] == DARK
    evidence = replace(evidence, back_is_free=len(free) == 2, back_is_dark=back_is_dark)
    confidence = evidence.confidence
    if back_is_dark:
        # A hub, or a clamp's joint: the next pulse may show the other arm.
        confidence = min(confidence, MOST_CONFIDENCE_BEFORE_A_JOINT)
    return NeedleSighting(
        tip_px=tip.apex_xy,
        shaft_px=(tip.apex_xy, back_xy),
        angle_deg=angle_deg(tip.apex_xy, back_xy),
        diameter_px=tip.diameter_px,
        confidence=confidence,
        tip_hidden=tip.dark_ahead > MOST_DARK_AHEAD or tip.ragged > MOST_RAGGED,
        dark_ahead_px=tip.dark_reach_px,
        steel_share=tip.steel_share,
        evidence=evidence,
    )


def _covered(picture: Picture, shaft: Shaft, alone: Flags, evidence: Evidence) -> NeedleSighting | None:
    """The shaft that ends in something as dark as itself and comes from outside the field, or from a hub."""
    end = _covered_end(picture, shaft, alone)
    if end is None or goes_on(shaft, end):
        return None
    at, back_row = (shaft.first, shaft.last) if end == 0 else (shaft.last, shaft.first)
    tip = find_tip(picture, shaft, end)
    end_xy, back_xy = (_frame_xy(picture, shaft, alone, row) for row in (at, back_row))
    tip_xy = end_xy if tip is None else tip.apex_xy
    return NeedleSighting(
        tip_px=tip_xy,
        shaft_px=(tip_xy, back_xy),
        angle_deg=angle_deg(tip_xy, back_xy),
        diameter_px=shaft.width * picture.factor if tip is None else tip.diameter_px,
        confidence=evidence.confidence,
        tip_hidden=True,
        dark_ahead_px=inf if tip is None else tip.dark_reach_px,
        tip_covered=True,
        evidence=evidence,
    )


def _covered_end(picture: Picture, shaft: Shaft, alone: Flags) -> int | None:
    """Which end the tip may be at; of two in the dark the one nearer the field's middle: the other is in the hub."""
    if shaft.kinds == (DARK, DARK):
        off = [_off_middle(picture, _frame_xy(picture, shaft, alone, row)) for row in (shaft.first, shaft.last)]
        return int(off[1] < off[0])
    ends = [i for i in (0, 1) if shaft.kinds[i] != BORDER and _comes_from_outside(shaft, 1 - i)]
    return ends[0] if len(ends) == 1 else None


def _comes_from_outside(shaft: Shaft, end: int) -> bool:
    return shaft.kinds[end] == BORDER or goes_on(shaft, end)


def _frame_xy(picture: Picture, shaft: Shaft, alone: Flags, row: int) -> PointPx:
    """The axis at a row: as seen there or, where another shaft lies along this one, in line with the rest of it."""
    centre = centre_near(shaft.sections, shaft.first, alone, row, AXIS_ROWS)
    x, y = picture.to_frame_px(np.array(shaft.at(row, centre)))
    return float(x), float(y)


def _bare_dot(picture: Picture, disc: Disc) -> NeedleSighting:
    """A needle seen end-on. Of a single dark disc one cannot be very sure: a bone screw looks the same."""
    x, y = picture.to_frame_px(np.array(disc.centre_xy))
    confidence = min(0.9, 0.6 + 0.4 * (disc.contrast - LEAST_DOT_CONTRAST))
    return NeedleSighting((float(x), float(y)), None, None, disc.diameter * picture.factor, confidence)


def _in_hub(picture: Picture, dot: HubDot) -> NeedleSighting:
    """A needle seen from behind, through its hub. Its shaft's width blends with the hub's metal and is not told."""
    x, y = picture.to_frame_px(np.array(dot.tip_xy))
    confidence = min(0.95, 0.75 + 0.3 * (dot.contrast - LEAST_DOT_CONTRAST))
    return NeedleSighting((float(x), float(y)), None, None, None, confidence)


def _hub_reach(picture: Picture, diameter_px: tuple[float, float] | None) -> float:
    """From a needle's core to beyond its hub, in work pixels."""
    if diameter_px is None:
        return HUB_REACH_OF_FIELD * float(max(picture.density.shape))
    return HUB_REACH_DIAMETERS * diameter_px[1] / picture.factor


def _end_score(picture: Picture, tip: Tip) -> float:
    """Higher for the end that is the tip: sharp, and nearer the middle of the field, where the work is."""
    return min(tip.drop, 1.0) - tip.dark_ahead - _off_middle(picture, tip.apex_xy)


def _off_middle(picture: Picture, at_xy: PointPx) -> float:
    """How far a point of the frame lies from the field's middle, in widths of the field."""
    x0, y0, x1, y1 = picture.field.box_px
    return hypot(at_xy[0] - (x0 + x1) / 2, at_xy[1] - (y0 + y1) / 2) / (x1 - x0)


def _has_diameter(sighting: NeedleSighting, allowed_px: tuple[float, float]) -> bool:
    if sighting.diameter_px is None:
        return True
    return 0.9 * allowed_px[0] <= sighting.diameter_px <= 1.1 * allowed_px[1]


def _without_doubles(sightings: list[NeedleSighting]) -> tuple[NeedleSighting, ...]:
    """The sightings, best first, without those whose tip another one has in the same direction."""
    kept: list[NeedleSighting] = []
    for sighting in sorted(sightings, key=lambda s: (s.tip_covered, -s.confidence)):
        if not any(_same_needle(sighting, other) for other in kept):
            kept.append(sighting)
    return tuple(kept)


def _same_needle(a: NeedleSighting, b: NeedleSighting) -> bool:
    reach = max(a.diameter_px or 0.0, b.diameter_px or 0.0)
    if hypot(a.tip_px[0] - b.tip_px[0], a.tip_px[1] - b.tip_px[1]) > reach:
        return False
    if a.angle_deg is None or b.angle_deg is None:
        return True
    return abs((a.angle_deg - b.angle_deg + 180.0) % 360.0 - 180.0) < 15.0


def shaft_mask(picture: Picture, needles: Iterable[NeedleSighting | Needle], widen_px: float) -> Mask:
    """255 on the needles' shafts and 0 elsewhere, at work scale, widened by ``widen_px`` work pixels a side."""
    mask = np.zeros(picture.density.shape, dtype=np.uint8)
    for needle in needles:
        diameter = (needle.diameter_px or 0.0) / picture.factor
        ends = picture.to_work_px(np.array(needle.shaft_px or (needle.tip_px, needle.tip_px)))
        thickness = max(1, ceil(diameter + 2 * widen_px))
        points = [(round(x * 16), round(y * 16)) for x, y in ends.tolist()]
        cv2.line(mask, points[0], points[1], 255, thickness, cv2.LINE_8, 4)
    return mask
