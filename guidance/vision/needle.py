"""Bone access needles, pins and wires on one x-ray picture, with their tips."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, cos, exp, hypot, log, pi, sin

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.records import Needle, PointPx
from guidance.vision.kernels import ridge
from guidance.vision.needle_track import NeedleSighting, NeedleTracker, angle_deg
from guidance.vision.picture import Density, Mask, Picture, density_of

__all__ = ["NeedleSighting", "NeedleTracker", "find_needles", "shaft_mask"]

Floats = NDArray[np.float64]

BAND_PX = 3
"""Rows averaged to one scan line: quantum noise falls, and a section at 45° smears by less than a needle's width."""
SECTION_WIDTHS_PX = (3, 5, 8, 12, 16)
WIDTH_RANGE_PX = (2.0, 13.0)
"""A shaft's width at work scale where scale and gauge are unknown."""
LEAST_CONTRAST = 0.15
"""In log density. 2.4 mm of steel behind as much scatter as primary gives 0.6; cortical lines give 0.1 to 0.3."""
LEAST_NOISE = 0.05
"""Noisier pictures, in log density from pixel to pixel, are averaged over 3 x 3 pixels."""
LEAST_DOT_CONTRAST = 0.45
"""Of a needle end-on: its whole length in the beam leaves nothing but scatter, 0.7 where that equals the primary."""
DARKEST = 2.5
"""Denser than this the display's last grey levels, or their dither, would count as structure."""
OUTSIDE = np.float32(9.0)
MOST_POINTS = 6000
MOST_CANDIDATES = 16
LEAST_CONFIDENCE = 0.5
MOST_DARK_AHEAD = 0.3
LEAST_LENGTH_PX = 18.0
LONGEST_GAP_BANDS = 6


@dataclass(frozen=True, slots=True)
class _Line:
    """A straight run of ribbon sections, in work pixels: ends, unit direction, width across, contrast."""

    start_xy: PointPx
    end_xy: PointPx
    along_xy: PointPx
    width: float
    contrast: float
    weight: float

    @property
    def length(self) -> float:
        return hypot(self.end_xy[0] - self.start_xy[0], self.end_xy[1] - self.start_xy[1])


@dataclass(frozen=True, slots=True, eq=False)
class _Shaft:
    """A run followed to both of its ends, in work pixels.

    ``origin_xy`` + i * ``along_xy`` is row i of ``sections``; ``first`` and ``last`` are its rows; ``kinds``: how
    each ends.
    """

    origin_xy: PointPx
    along_xy: PointPx
    sections: Density
    first: int
    last: int
    kinds: tuple[int, int]
    width: float
    contrast: float

    def at(self, row: float, across: float) -> PointPx:
        """The point of a strip's row and its offset across, in work pixels."""
        (x, y), (ux, uy) = self.origin_xy, self.along_xy
        return x + row * ux - across * uy, y + row * uy + across * ux


def find_needles(picture: Picture, diameter_px: tuple[float, float] | None = None) -> tuple[NeedleSighting, ...]:
    """Every straight steel shaft that ends inside the field, and every needle seen end-on, the most certain first.

    ``diameter_px``: the least and greatest diameter in input-frame pixels, where scale and gauge are known.
    A shaft is a dark ribbon of constant width between two lighter flanks (antiparallel edges: Steger, "An unbiased
    detector of curvilinear structures", 1998, without the scale space), followed both ways until it ends; its tip is
    fitted at full resolution. What it misses: needles whose edges merge with a neighbour's for their whole length, tips
    inside other metal, shafts shorter than about four diameters; a smooth pin, a screw of a needle's width or one
    arm of an open clamp looks the same.
    """
    search = _search_image(picture)
    widths = WIDTH_RANGE_PX
    if diameter_px is not None:
        widths = (max(1.5, 0.6 * diameter_px[0] / picture.factor), 1.6 * diameter_px[1] / picture.factor)
    steep, flat = _runs(search, widths, flat=False), _runs(search, widths, flat=True)
    lines = _lines(steep, False, widths) + _lines(flat, True, widths)
    shafts: list[_Shaft] = []
    sightings: list[NeedleSighting] = []
    tried = 0
    for line in sorted(lines, key=lambda line: -line.weight):
        if any(_lies_on(line, shaft) for shaft in shafts):
            continue
        tried += 1
        if tried > MOST_CANDIDATES:
            break
        shaft = _follow(search, line)
        if shaft is None:
            continue
        shafts.append(shaft)
        sighting = _sighting(picture, shaft)
        if sighting is not None:
            sightings.append(sighting)
    on_shafts = shaft_mask(picture, sightings, 4.0)
    dots = [dot for dot in _dots(search, steep, flat) if on_shafts[round(dot[0][1]), round(dot[0][0])] == 0]
    sightings += [_dot_sighting(picture, dot) for dot in dots]
    likely = [s for s in sightings if s.confidence >= LEAST_CONFIDENCE and _has_diameter(s, diameter_px)]
    return _without_doubles(_without_jaws(picture, likely))


def _has_diameter(sighting: NeedleSighting, allowed_px: tuple[float, float] | None) -> bool:
    if allowed_px is None or sighting.diameter_px is None:
        return True
    return 0.8 * allowed_px[0] <= sighting.diameter_px <= 1.2 * allowed_px[1]


def _without_jaws(picture: Picture, sightings: list[NeedleSighting]) -> list[NeedleSighting]:
    """The sightings without pairs of straight bars that spring from one joint inside the field: a clamp's jaws."""
    jaws = {id(s) for a in sightings for b in sightings if a is not b and _share_a_joint(picture, a, b) for s in (a, b)}
    return [s for s in sightings if id(s) not in jaws]


def _share_a_joint(picture: Picture, a: NeedleSighting, b: NeedleSighting) -> bool:
    if a.shaft_px is None or b.shaft_px is None:
        return False
    (tip_a, back_a), (tip_b, back_b) = np.array(a.shaft_px), np.array(b.shaft_px)
    along_a, along_b = back_a - tip_a, back_b - tip_b
    turn = float(along_a[0] * along_b[1] - along_a[1] * along_b[0]) / (np.hypot(*along_a) * np.hypot(*along_b))
    if not 0.05 < abs(turn) < 0.8 or along_a @ along_b < 0:
        return False
    reach = 2.5 * max(a.diameter_px or 0.0, b.diameter_px or 0.0)
    off = tip_b - tip_a
    share = float(off[0] * along_b[1] - off[1] * along_b[0]) / float(along_a[0] * along_b[1] - along_a[1] * along_b[0])
    joint = tip_a + share * along_a
    x, y = round(float(joint[0])), round(float(joint[1]))
    height, width = picture.pixels.shape
    inside = 0 <= x < width and 0 <= y < height and picture.field.mask[y, x] > 0
    return bool(inside and np.hypot(*(joint - back_a)) < reach and np.hypot(*(joint - back_b)) < reach)


def _without_doubles(sightings: list[NeedleSighting]) -> tuple[NeedleSighting, ...]:
    """The sightings, best first, without those whose tip another one has in the same direction."""
    kept: list[NeedleSighting] = []
    for sighting in sorted(sightings, key=lambda s: -s.confidence):
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


def _search_image(picture: Picture) -> Density:
    """Density with the display's blackest levels cut, quantum noise and dither averaged, and no flank outside."""
    search = np.minimum(picture.density, np.float32(DARKEST))
    if _noise_of(search, picture.mask) > LEAST_NOISE:
        search = cv2.blur(search, (3, 3))
    search[picture.mask == 0] = OUTSIDE
    return search


def _noise_of(density: Density, mask: Mask) -> float:
    """The standard deviation of the noise from one pixel to the next, by the median of second differences."""
    rows = density[4::8]
    bends = np.abs(rows[:, 2:] - 2 * rows[:, 1:-1] + rows[:, :-2])[mask[4::8, 1:-1] > 0]
    return float(np.median(bends)) / (0.6745 * 6**0.5) if bends.size else 0.0


def _runs(search: Density, widths: tuple[float, float], flat: bool) -> Floats:
    """Runs of ribbon sections on rows, or on columns where ``flat``, as ``ridge.run_lines`` gives them."""
    wanted = [width for width in SECTION_WIDTHS_PX if 0.6 * widths[0] <= width <= 1.8 * widths[1]]
    image = cv2.transpose(search) if flat else search
    points = ridge.ribbon_points(image, BAND_PX, np.array(wanted, dtype=np.int32), LEAST_CONTRAST, MOST_POINTS)
    if len(points) == 0:
        return np.empty((0, 8))
    run_of = ridge.straight_runs(points, float(BAND_PX), LONGEST_GAP_BANDS)
    return ridge.run_lines(points, run_of, int(run_of.max()) + 1)


def _lines(runs: Floats, flat: bool, widths: tuple[float, float]) -> list[_Line]:
    """The runs that are long, straight and unbroken enough to be followed as shafts."""
    found = []
    for n, first, last, x0, slope, rms, width, contrast in runs[runs[:, 0] >= 5]:
        slant = 1.0 / hypot(1.0, slope / BAND_PX)
        length = (last - first) * BAND_PX / slant
        across = width * slant
        if length < LEAST_LENGTH_PX or not widths[0] <= across <= widths[1]:
            continue
        if rms * slant > max(0.8, 0.15 * across) or n < 0.5 * (last - first + 1):
            continue
        ends = [(x0 + slope * band, band * BAND_PX + (BAND_PX - 1) / 2) for band in (first, last)]
        along = (slope / BAND_PX * slant, slant)
        if flat:
            ends, along = [(y, x) for x, y in ends], (along[1], along[0])
        found.append(_Line(ends[0], ends[1], along, across, contrast, n * min(contrast, 1.0)))
    return found


def _dots(search: Density, steep: Floats, flat: Floats) -> list[tuple[PointPx, float, float]]:
    """Centre, diameter and contrast of the dark discs, in work pixels: ribbon both ways, and as long as wide.

    ``steep``, ``flat``: the runs on rows and on columns.
    """
    found = []
    for runs in (steep, flat):
        length = (runs[:, 2] - runs[:, 1] + 1) * BAND_PX
        ratio = length / np.maximum(runs[:, 6], 1.0)
        runs = runs[(runs[:, 0] >= 2) & (ratio > 0.4) & (ratio < 1.7) & (runs[:, 7] > 0.7 * LEAST_DOT_CONTRAST)]
        band = 0.5 * (runs[:, 1] + runs[:, 2])
        found.append(np.column_stack([runs[:, 3] + runs[:, 4] * band, band * BAND_PX + (BAND_PX - 1) / 2, runs[:, 6]]))
    dots = []
    for x, y, width in found[0]:
        for other_y, other_x, other_width in found[1]:
            if hypot(x - other_x, y - other_y) > 0.35 * width or not 0.6 < width / other_width < 1.6:
                continue
            disc = _disc(search, 0.5 * (x + other_x), 0.5 * (y + other_y), 0.5 * (width + other_width))
            if disc is not None:
                dots.append(disc)
    return dots


def _disc(search: Density, x: float, y: float, width: float) -> tuple[PointPx, float, float] | None:
    """The disc near a place: centre, diameter, contrast; None where its edge is no circle against light all round."""
    for _ in range(2):
        rays = [
            ridge.straighten(search, x, y, cos(angle), sin(angle), ceil(1.1 * width) + 3, 1).mean(axis=1)
            for angle in np.arange(16) * (pi / 8)
        ]
        profiles = np.array(rays, dtype=np.float64)
        if not np.isfinite(profiles).all():
            return None
        core, around = float(profiles[:, :2].mean()), profiles[:, -3:].mean(axis=1)
        contrast = core - float(around.max())
        if contrast < LEAST_DOT_CONTRAST:
            return None
        radii = np.array([_falls_to(p, 0.5 * (core + a)) for p, a in zip(profiles, around, strict=True)], dtype=float)
        if not np.isfinite(radii).all() or radii.std() > 0.25 * radii.mean():
            return None
        angles = np.arange(16) * (pi / 8)
        x += float(2 * np.mean(radii * np.cos(angles)))
        y += float(2 * np.mean(radii * np.sin(angles)))
    if radii.std() > 0.12 * radii.mean() + 0.15:
        return None
    return (x, y), 2.0 * float(radii.mean()), contrast


def _dot_sighting(picture: Picture, dot: tuple[PointPx, float, float]) -> NeedleSighting:
    """A needle seen end-on. Of a single dark disc one cannot be very sure: a bone screw looks the same."""
    centre, diameter, contrast = dot
    x, y = picture.to_frame_px(np.array(centre))
    confidence = min(0.9, 0.6 + 0.4 * (contrast - LEAST_DOT_CONTRAST))
    return NeedleSighting((float(x), float(y)), None, None, diameter * picture.factor, confidence)


def _lies_on(line: _Line, shaft: _Shaft) -> bool:
    """The line is a piece of a shaft that has been followed already."""
    (ux, uy), (x0, y0) = shaft.along_xy, shaft.origin_xy
    if abs(ux * line.along_xy[1] - uy * line.along_xy[0]) > 0.14:
        return False
    for x, y in (line.start_xy, line.end_xy, _middle(line)):
        row = (x - x0) * ux + (y - y0) * uy
        across = (y - y0) * ux - (x - x0) * uy
        near = int(min(max(row, shaft.first), shaft.last))
        centre = shaft.sections[near, 0]
        if abs(across - (centre if np.isfinite(centre) else 0.0)) > 0.7 * shaft.width + 1:
            return False
    return True


def _middle(line: _Line) -> PointPx:
    return (line.start_xy[0] + line.end_xy[0]) / 2, (line.start_xy[1] + line.end_xy[1]) / 2


def _follow(search: Density, line: _Line) -> _Shaft | None:
    """The line extended both ways to where its ribbon ends; None where it is no ribbon of constant width."""
    height, width = search.shape
    (x, y), (ux, uy) = _middle(line), line.along_xy
    before = _room(x, y, -ux, -uy, width, height)
    after = _room(x, y, ux, uy, width, height)
    rows = before + after + 1
    half = ceil(1.35 * line.width) + 9
    origin = (x - before * ux, y - before * uy)
    strip = ridge.straighten(search, *origin, ux, uy, rows, half)
    sections = ridge.cross_sections(strip, before, float(half), line.width, LEAST_CONTRAST)
    sections[:, 0] -= half
    low = max(0, before - int(line.length / 2))
    high = min(rows - 1, before + int(line.length / 2))
    seed = sections[low : high + 1]
    ribbon = seed[np.isfinite(seed[:, 0])]
    if len(ribbon) < 0.5 * len(seed) or len(ribbon) < 8:
        return None
    contrast, shaft_width = float(np.median(ribbon[:, 2])), float(np.median(ribbon[:, 1]))
    gap = int(max(6.0, 1.2 * shaft_width))
    first, last, kind0, kind1 = ridge.shaft_ends(sections, low, high, contrast, shaft_width, LEAST_CONTRAST, gap)
    return _Shaft(origin, (ux, uy), sections, int(first), int(last), (int(kind0), int(kind1)), shaft_width, contrast)


def _room(x: float, y: float, ux: float, uy: float, width: int, height: int) -> int:
    """How many whole steps of (ux, uy) from (x, y) stay inside the image."""
    steps = [float(width + height)]
    for at, step, size in ((x, ux, width), (y, uy, height)):
        if step > 1e-9:
            steps.append((size - 1 - at) / step)
        elif step < -1e-9:
            steps.append(-at / step)
    return max(0, int(min(steps)))


@dataclass(frozen=True, slots=True)
class _Tip:
    """A shaft's end, measured at full resolution, in input-frame pixels.

    ``drop``: how much of the shaft's contrast is gone beyond it; ``dark_ahead``: the share of the patch in front of
    it that is as dark as the shaft, which then bends or goes on in something else.
    """

    apex_xy: PointPx
    towards_xy: PointPx
    diameter_px: float
    drop: float
    dark_ahead: float


def _sighting(picture: Picture, shaft: _Shaft) -> NeedleSighting | None:
    """The shaft with the better of its free ends as the tip; None where no end lies free inside the field."""
    quality = _Quality.of(shaft)
    if not quality.is_worth_a_look or _confidence(quality, 1.0, 0.0, False) < LEAST_CONFIDENCE:
        return None
    free = [i for i in (0, 1) if shaft.kinds[i] == ridge.FREE]
    tips = [(i, tip) for i in free if (tip := _tip(picture, shaft, i)) is not None]
    if not tips:
        return None
    end, tip = max(tips, key=lambda item: _end_score(picture, item[1]))
    back_row = shaft.first if end == 1 else shaft.last
    back = picture.to_frame_px(np.array(shaft.at(back_row, _centre_near(shaft, back_row))))
    back_xy = (float(back[0]), float(back[1]))
    return NeedleSighting(
        tip_px=tip.apex_xy,
        shaft_px=(tip.apex_xy, back_xy),
        angle_deg=angle_deg(tip.apex_xy, back_xy),
        diameter_px=tip.diameter_px,
        confidence=_confidence(quality, tip.drop, tip.dark_ahead, len(free) == 2),
        tip_hidden=tip.dark_ahead > MOST_DARK_AHEAD,
    )


def _end_score(picture: Picture, tip: _Tip) -> float:
    """Higher for the end that is the tip: sharp, and nearer the middle of the field, where the work is."""
    x0, y0, x1, y1 = picture.field.box_px
    off = hypot(tip.apex_xy[0] - (x0 + x1) / 2, tip.apex_xy[1] - (y0 + y1) / 2) / (x1 - x0)
    return min(tip.drop, 1.0) - tip.dark_ahead - off


def _centre_near(shaft: _Shaft, row: int) -> float:
    near = shaft.sections[max(0, row - 5) : row + 6, 0]
    near = near[np.isfinite(near)]
    return float(np.median(near)) if len(near) else 0.0


def _axis_at(shaft: _Shaft, end: int) -> tuple[Floats, Floats]:
    """The last visible point of the axis and the unit direction out of that end, in work pixels.

    Fitted to the half-contrast centres of the part nearest the end, because long pins bow; other objects beside the
    shaft pull single centres aside, so those far off the line lose their weight.
    """
    centres = shaft.sections[shaft.first : shaft.last + 1, 0].astype(np.float64)
    rows = shaft.first + np.nonzero(np.isfinite(centres))[0].astype(np.float64)
    centres = centres[np.isfinite(centres)]
    reach = max(20, min(len(rows), int(max(40.0, 8.0 * shaft.width))))
    chosen = slice(0, reach) if end == 0 else slice(-reach, None)
    rows, centres = rows[chosen], centres[chosen]
    weight = np.ones(len(rows))
    slope = offset = 0.0
    for _ in range(3):
        slope, offset = _line_fit(rows, centres, weight)
        miss = np.abs(centres - slope * rows - offset)
        weight = 1.0 / (1.0 + (miss / (2.0 * float(np.median(miss)) + 0.05)) ** 2)
    (ux, uy), out = shaft.along_xy, -1 if end == 0 else 1
    towards = out * np.array([ux - slope * uy, uy + slope * ux])
    row = shaft.first if end == 0 else shaft.last
    return np.array(shaft.at(row, slope * row + offset)), towards / np.hypot(*towards)


def _line_fit(x: Floats, y: Floats, weight: Floats) -> tuple[float, float]:
    """Slope and offset of the weighted least-squares line."""
    total = weight.sum()
    mean_x, mean_y = float(weight @ x / total), float(weight @ y / total)
    spread = float(weight @ (x - mean_x) ** 2)
    slope = float(weight @ ((x - mean_x) * (y - mean_y))) / spread if spread > 0 else 0.0
    return slope, mean_y - slope * mean_x


def _tip(picture: Picture, shaft: _Shaft, end: int) -> _Tip | None:
    """The apex at full resolution, from the shaft's profile along its axis; None where the profile has no end."""
    near, towards = _axis_at(shaft, end)
    near = picture.to_frame_px(near)
    width = shaft.width * picture.factor
    visible = (shaft.last - shaft.first) * picture.factor
    back, ahead = int(min(6 * width + 12, max(visible, 2.5 * width))), int(2.5 * width) + 10
    half = int(1.2 * width) + 5
    strip = _full_resolution_strip(picture, near, towards, back, ahead, half)
    # The section is measured well behind the tip, where no taper thins it and no cement widens it.
    body = slice(0, back - int((2.0 if back > 4 * width else 0.7) * width))
    across = _mean(strip[body], axis=0).astype(np.float64) * (-1.0 if picture.field.bone_dark else 1.0)
    profile = _section_of(across)
    if profile is None:
        return None
    centre, diameter, blur = profile
    near = near + np.array([-towards[1], towards[0]]) * (centre - half)
    strip = _full_resolution_strip(picture, near, towards, back, ahead, half)
    raised = _density(picture, strip)
    beside = _lighter_flank(picture, strip, half, diameter, blur)
    # Both sides of the axis in one: a slope of the background across it cancels.
    folded = 0.5 * (raised[:, half:] + raised[:, half::-1]) - beside[:, None]
    fit = _fit_end(folded, float(back), diameter, blur)
    if fit is None:
        return None
    apex, contrast, beyond = fit
    patch = strip[int(apex + 0.6 * diameter) + 1 : int(apex + 1.6 * diameter) + 3]
    half_dark = float(np.nanmedian(beside[body])) + 0.5 * contrast
    dark = _density(picture, cv2.blur(patch, (3, 3))) > half_dark if len(patch) else np.ones(1)
    xy = near + towards * (apex - back)
    return _Tip(
        apex_xy=(float(xy[0]), float(xy[1])),
        towards_xy=(float(towards[0]), float(towards[1])),
        diameter_px=diameter,
        drop=(contrast - beyond) / shaft.contrast,
        dark_ahead=float(np.mean(dark)),
    )


def _lighter_flank(picture: Picture, strip: NDArray[np.float32], middle: int, diameter: float, blur: float) -> Floats:
    """Density beside the shaft on its lighter side, row by row; cement round a tip darkens it as it does the axis."""
    near, wide = round(0.5 * diameter + blur + 0.5), max(2, round(0.4 * diameter))
    left = strip[:, max(0, middle - near - wide + 1) : max(1, middle - near + 1)]
    right = strip[:, middle + near : middle + near + wide]
    sides = np.stack([cv2.blur(_mean(side, axis=1)[:, None], (1, 5))[:, 0] for side in (left, right)])
    return np.asarray(np.fmin(*_density(picture, sides)))


def _mean(values: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """The mean of what lies in the field; NaN where nothing does."""
    inside = np.isfinite(values)
    total = np.where(inside, values, np.float32(0.0)).sum(axis=axis)
    return np.asarray(total / np.where(inside.any(axis=axis), inside.sum(axis=axis), np.nan), dtype=np.float32)


def _density(picture: Picture, values: NDArray[np.float32]) -> Floats:
    return density_of(values, picture.full_scale, picture.field.bone_dark).astype(np.float64)


def _full_resolution_strip(
    picture: Picture, at_xy: Floats, towards: Floats, back: int, ahead: int, half: int
) -> NDArray[np.float32]:
    """Display values along the axis, row ``back`` at ``at_xy``, column ``half`` on the axis; NaN outside the field."""
    reach = np.hypot(max(back, ahead), half) + 2
    height, width = picture.pixels.shape
    x0, y0 = (int(max(0, v - reach)) for v in at_xy)
    x1, y1 = int(min(width, at_xy[0] + reach + 1)), int(min(height, at_xy[1] + reach + 1))
    patch = picture.pixels[y0:y1, x0:x1].astype(np.float32)
    patch[picture.field.mask[y0:y1, x0:x1] == 0] = np.nan
    start = at_xy - towards * back
    return ridge.straighten(patch, start[0] - x0, start[1] - y0, towards[0], towards[1], back + ahead + 1, half)


def _section_of(across: Floats) -> tuple[float, float, float] | None:
    """Centre, diameter and edge blur (standard deviation) in pixels of a shaft's mean section; larger is darker.

    Display values, not densities: blur is linear in them, so that it leaves the width at half contrast as it is.
    """
    n = len(across)
    half = n // 2
    quarter = max(1, n // 5)
    peak = float(np.nanmax(across[half - quarter : half + quarter + 1]))
    start = half - quarter + int(np.nanargmax(across[half - quarter : half + quarter + 1]))
    edges = []
    for step in (-1, 1):
        side = across[start::step] if step > 0 else across[start::-1]
        floor = float(np.nanmin(side))
        if not peak > floor:
            return None
        places = [_falls_to(side, floor + share * (peak - floor)) for share in (0.75, 0.5, 0.25)]
        if any(p is None for p in places):
            return None
        edges.append([start + step * p for p in places if p is not None])
    (left75, left, left25), (right75, right, right25) = edges
    blur = 0.5 * (abs(left25 - left75) + abs(right25 - right75)) / 1.349
    return 0.5 * (left + right), (right - left) / HALF_CONTRAST_SHARE, max(0.5, blur)


def _falls_to(values: Floats, level: float) -> float | None:
    """Where the values first fall to the level, sub-sample; None where they never do."""
    below = np.nonzero(values <= level)[0]
    if len(below) == 0:
        return None
    i = int(below[0])
    if i == 0:
        return 0.0
    drop = values[i - 1] - values[i]
    return float(i - 1 + (values[i - 1] - level) / drop)


TAPERS = (0.2, 0.55, 0.9)
"""How far behind its apex a point reaches full thickness, in diameters: a trocar (three faces at 22°) across the beam
0.9, the same foreshortened less."""
STEEL_DEPTH = 2.4
"""Optical depth of the shaft's full thickness in the primary beam: 3 mm of steel near 65 keV."""
HALF_CONTRAST_SHARE = 0.97
"""A steel cylinder's shadow is half as dark as in its middle this far out, as a share of its radius."""
FIT_STEP_PX = 0.25
FIT_REACH_PX = 4.0
BEFORE_APEX_PX = 12.0
PIXELS_A_SAMPLE = 6.0
"""Neighbouring pixels of a blurred picture share their noise: so many count as one."""


def _fit_end(folded: Floats, expected: float, diameter: float, blur: float) -> tuple[float, float, float] | None:
    """The apex along the axis, and the contrast of the shaft and of what lies beyond with what lies beside.

    ``folded``: density above the flank, rows along the shaft, columns from its axis outwards. It is compared with
    points of several tapers seen through the shaft's own blur and scatter, for every place of the apex, with free
    level and contrast; the apex is the mean over all of them, each weighted by its likelihood. Steel is dark even
    where it is thin, so the point at half contrast lies behind the apex by a third of the taper.
    """
    core = max(1, round(0.22 * diameter))
    along = folded[:, : core + 1].mean(axis=1)
    where = np.arange(len(along), dtype=np.float64)
    good = np.isfinite(along)
    inside = good & (where < expected - 0.6 * diameter)
    beyond = good & (where > expected + 0.9 * diameter + 2)
    if inside.sum() < 4 or beyond.sum() < 3:
        return None
    contrast, contrast_beyond = float(np.median(along[inside])), float(np.median(along[beyond]))
    if contrast - contrast_beyond < 0.05:
        return None
    smooth = np.convolve(along, np.ones(3) / 3.0, mode="same")
    middle = 0.5 * (contrast + contrast_beyond)
    falls = np.nonzero((smooth[:-1] > middle) & (smooth[1:] <= middle))[0]
    falls = falls[(falls > 1) & (falls < len(along) - 3)]
    if len(falls) == 0:
        return None
    half = float(falls[np.argmin(np.abs(falls - expected))]) + 0.5
    columns = min(folded.shape[1], ceil(0.5 * diameter + 2 * blur) + 1)
    rows = np.nonzero((np.abs(where - half) <= 1.3 * diameter + 4) & np.isfinite(folded[:, :columns]).all(axis=1))[0]
    if len(rows) < diameter:
        return None
    values = folded[rows, :columns].ravel()
    values = values - values.mean()
    apexes, misfits = [], []
    for taper in TAPERS:
        points = _point_images(round(2 * diameter) / 2, round(2 * blur) / 2, taper, round(4 * contrast) / 4, columns)
        candidates = half + taper * diameter / 3 + np.arange(-FIT_REACH_PX, FIT_REACH_PX + FIT_STEP_PX, FIT_STEP_PX)
        # Tabulated by the distance behind the apex, from -BEFORE_APEX_PX on.
        at = np.rint((candidates[:, None] - rows[None, :] + BEFORE_APEX_PX) / FIT_STEP_PX).astype(np.intp)
        model = points[np.clip(at, 0, len(points) - 1)].reshape(len(candidates), -1)
        model = model - model.mean(axis=1, keepdims=True)
        gain = np.maximum(0.0, model @ values) ** 2 / np.einsum("ij,ij->i", model, model)
        apexes.append(candidates)
        misfits.append(float(values @ values) - gain)
    misfit = np.concatenate(misfits)
    samples = len(values) / PIXELS_A_SAMPLE
    likelihood = np.exp(-0.5 * samples * (misfit / misfit.min() - 1.0))
    return float(likelihood @ np.concatenate(apexes) / likelihood.sum()), contrast, contrast_beyond


@lru_cache(maxsize=512)
def _point_images(diameter: float, blur: float, taper: float, contrast: float, columns: int) -> NDArray[np.float32]:
    """Density of a shaft's point: rows every FIT_STEP_PX from before its apex backwards, columns out from its axis.

    A cone in a beam with so much scatter that the whole shaft has the given contrast, blurred as the detector does.
    """
    behind = np.arange(-BEFORE_APEX_PX, 3.0 * diameter + 2 * BEFORE_APEX_PX, FIT_STEP_PX)
    fine = 4
    across = np.arange(-fine * (columns + 6), fine * (columns + 6) + 1) / fine
    radius = 0.5 * diameter * np.clip(behind / (taper * diameter), 0.0, 1.0)
    chord = 2.0 * np.sqrt(np.maximum(0.0, radius[:, None] ** 2 - across[None, :] ** 2)) / diameter
    dark, black = exp(-max(0.3, contrast)), exp(-STEEL_DEPTH)
    scatter = max(0.0, (dark - black) / (1.0 - dark))
    signal = (np.exp(-STEEL_DEPTH * chord) + scatter) / (1.0 + scatter)
    signal = cv2.GaussianBlur(signal, (0, 0), sigmaX=blur * fine, sigmaY=blur / FIT_STEP_PX)
    middle = len(across) // 2
    return np.ascontiguousarray(-np.log(signal[:, middle : middle + fine * columns : fine]), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class _Quality:
    """What tells steel from bone along a shaft.

    ``lengths``: its length in diameters; ``fill``: the share of its rows that are ribbon; ``rough``, ``wobble``: how
    far its centres leave a smooth bow and its widths their median, in diameters.
    """

    contrast: float
    lengths: float
    fill: float
    rough: float
    wobble: float

    @classmethod
    def of(cls, shaft: _Shaft) -> "_Quality":
        rows = shaft.sections[shaft.first : shaft.last + 1]
        where = np.nonzero(np.isfinite(rows[:, 0]))[0]
        centres = rows[where, 0].astype(np.float64)
        # Three-point bends over a few diameters: a bow of the whole shaft hardly shows, a ragged line does.
        step = max(2, int(2 * shaft.width))
        bends = centres[2 * step :] - 2 * centres[step:-step] + centres[: -2 * step]
        rough = float(np.median(np.abs(bends))) / 2.0 if len(bends) else 0.0
        wobble = float(np.median(np.abs(rows[where, 1] - shaft.width)))
        return cls(
            contrast=shaft.contrast,
            lengths=len(rows) / shaft.width,
            fill=len(where) / len(rows),
            rough=rough / shaft.width,
            wobble=wobble / shaft.width,
        )

    @property
    def is_worth_a_look(self) -> bool:
        return self.contrast >= 0.22 and self.lengths >= 3.0 and self.wobble <= 0.25 and self.fill >= 0.5


def _confidence(quality: _Quality, drop: float, dark_ahead: float, both_ends_free: bool) -> float:
    """The share of such sightings that are right: a logistic model of shaft and tip."""
    drop_misfit = abs(log(max(drop, 0.05)))
    z = (
        1.5
        + 3.5 * log(quality.contrast / 0.45)
        + 3.0 * log(min(quality.lengths, 25.0) / 10.0)
        + 4.0 * (quality.fill - 0.8)
        - 15.0 * (quality.wobble - 0.06)
        - 15.0 * (quality.rough - 0.03)
        - 2.0 * max(0.0, drop_misfit - 0.4)
        - 4.0 * dark_ahead
        - (1.0 if both_ends_free else 0.0)
    )
    return 1.0 / (1.0 + exp(-z))


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
