"""Dark straight ribbons of constant width on a picture, each followed to both of its ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, hypot

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.records import PointPx
from guidance.vision.kernels import ridge
from guidance.vision.picture import Density, Mask, Picture

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

BAND_PX = 3
"""Rows averaged to one scan line: quantum noise falls, and a section at 45° smears by less than a needle's width."""
SECTION_WIDTHS_PX = (3, 5, 8, 12, 16)
LEAST_CONTRAST = 0.15
"""In log density. 2.4 mm of steel behind as much scatter as primary gives 0.6; cortical lines give 0.1 to 0.3."""
LEAST_NOISE = 0.05
"""Noisier pictures, in log density from pixel to pixel, are averaged over 3 x 3 pixels."""
NOISE_ROWS = 16
"""The noise is estimated on every sixteenth row: ten thousand pixels and more."""
DARKEST = 2.5
"""Denser than this the display's last grey levels, or their dither, would count as structure."""
OUTSIDE = np.float32(9.0)
MOST_POINTS = 6000
LEAST_LENGTH_PX = 18.0
LONGEST_GAP_BANDS = 6
FADES_WIDTHS = (0.8, 7.0)
"""From where to where beyond its end a shaft that only fades is looked for, in widths."""
FADED_SHARE = 0.9
ALIKE = 0.6
"""Of a shaft's contrast: what is so much fainter does not disturb it."""
LEAST_OWN_WIDTHS = 3.0
"""A shaft must show for so far without another beside it, to be judged by that part alone."""


@dataclass(frozen=True, slots=True)
class Line:
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
class Shaft:
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


def search_image(picture: Picture) -> Density:
    """Density with the display's blackest levels cut, quantum noise and dither averaged, and no flank outside."""
    search = np.minimum(picture.density, np.float32(DARKEST))
    if _noise_of(search, picture.mask) > LEAST_NOISE:
        search = cv2.blur(search, (3, 3))
    np.putmask(search, picture.mask == 0, OUTSIDE)
    return search


def _noise_of(density: Density, mask: Mask) -> float:
    """The standard deviation of the noise from one pixel to the next, by the median of second differences."""
    rows = density[4::NOISE_ROWS]
    bends = np.abs(rows[:, 2:] - 2 * rows[:, 1:-1] + rows[:, :-2])[mask[4::NOISE_ROWS, 1:-1] > 0]
    return median(bends) / (0.6745 * 6**0.5) if bends.size else 0.0


def median(values: NDArray[np.floating]) -> float:
    """The median of one-dimensional values without NaN. ``np.median`` takes five times as long on a few hundred."""
    half = len(values) // 2
    if len(values) % 2:
        return float(np.partition(values, half)[half])
    parted = np.partition(values, (half - 1, half))
    return 0.5 * (float(parted[half - 1]) + float(parted[half]))


def ribbon_runs(search: Density, widths: tuple[float, float], flat: bool) -> Floats:
    """Runs of ribbon sections on rows, or on columns where ``flat``, as ``ridge.run_lines`` gives them."""
    wanted = [width for width in SECTION_WIDTHS_PX if 0.6 * widths[0] <= width <= 1.8 * widths[1]]
    image = cv2.transpose(search) if flat else search
    points = ridge.ribbon_points(image, BAND_PX, np.array(wanted, dtype=np.int32), LEAST_CONTRAST, MOST_POINTS)
    if len(points) == 0:
        return np.empty((0, 8))
    run_of = ridge.straight_runs(points, float(BAND_PX), LONGEST_GAP_BANDS)
    return ridge.run_lines(points, run_of, int(run_of.max()) + 1)


def straight_lines(runs: Floats, flat: bool, widths: tuple[float, float]) -> list[Line]:
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
        found.append(Line(ends[0], ends[1], along, across, contrast, n * min(contrast, 1.0)))
    return found


def _middle(line: Line) -> PointPx:
    return (line.start_xy[0] + line.end_xy[0]) / 2, (line.start_xy[1] + line.end_xy[1]) / 2


def lies_on(line: Line, shaft: Shaft) -> bool:
    """The line is a piece of a shaft that has been followed already; one that lies beyond its end is not."""
    (ux, uy), points = shaft.along_xy, np.array([_middle(line), line.start_xy, line.end_xy])
    if abs(ux * line.along_xy[1] - uy * line.along_xy[0]) > 0.14:
        return False
    rows, across = _seen_from(shaft, points[:, 0], points[:, 1])
    if not shaft.first <= rows[0] <= shaft.last:
        return False
    centres = shaft.sections[np.clip(rows, shaft.first, shaft.last).astype(np.intp), 0]
    return bool(np.all(np.abs(across - np.nan_to_num(centres)) <= 0.7 * shaft.width + 1))


def follow(search: Density, line: Line) -> Shaft | None:
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
    contrast, shaft_width = median(ribbon[:, 2]), median(ribbon[:, 1])
    gap = int(max(6.0, 1.2 * shaft_width))
    first, last, kind0, kind1 = ridge.shaft_ends(sections, low, high, contrast, shaft_width, LEAST_CONTRAST, gap)
    return Shaft(origin, (ux, uy), sections, int(first), int(last), (int(kind0), int(kind1)), shaft_width, contrast)


def runs_through(shaft: Shaft, bar: Shaft) -> bool:
    """The shaft goes on in the bar from end to end: the bar is where it merges with another that crosses it."""
    ends = np.array([bar.at(bar.first, 0.0), bar.at(bar.last, 0.0)])
    rows, across = _seen_from(shaft, ends[:, 0], ends[:, 1])
    is_along = (rows > shaft.first - bar.width) & (rows < shaft.last + bar.width)
    return shaft is not bar and bool(np.all(is_along & (np.abs(across) < 0.5 * bar.width)))


def rows_alone(shaft: Shaft, others: Sequence[Shaft]) -> Flags:
    """Which rows of a shaft, from its first to its last, have no other shaft of its kind at their flanks.

    All of them where the shaft has hardly any to itself: then there is no other place to learn from.
    """
    rows = np.arange(shaft.first, shaft.last + 1, dtype=np.float64)
    x, y = (origin + rows * along for origin, along in zip(shaft.origin_xy, shaft.along_xy, strict=True))
    alone = np.ones(len(rows), dtype=np.bool_)
    for other in others:
        if other is shaft or other.contrast < ALIKE * shaft.contrast:
            continue
        along, across = _seen_from(other, x, y)
        reach = shaft.width + 0.5 * other.width + 2.0
        alone &= (np.abs(across) > reach) | (along < other.first) | (along > other.last)
    own = np.isfinite(shaft.sections[shaft.first : shaft.last + 1, 0]) & alone
    return alone if np.count_nonzero(own) > LEAST_OWN_WIDTHS * shaft.width else np.ones_like(alone)


def _seen_from(shaft: Shaft, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Rows of the shaft's strip and offsets across it, for points in work pixels."""
    (x0, y0), (ux, uy) = shaft.origin_xy, shaft.along_xy
    return (x - x0) * ux + (y - y0) * uy, (y - y0) * ux - (x - x0) * uy


def goes_on(shaft: Shaft, end: int) -> bool:
    """The shaft only fades at this end, as where the display saturates: it can be followed on, faint, in its line.

    A sign test: beyond a true end the middle is darker than both flanks on a third of the rows, by chance.
    """
    beyond = _beyond(shaft, end)[:, 2]
    return len(beyond) > 1.5 * shaft.width and float(np.mean(beyond > 0)) > FADED_SHARE


def _beyond(shaft: Shaft, end: int) -> Density:
    """The sections beyond an end and its taper, those in the field."""
    skip, reach = int(FADES_WIDTHS[0] * shaft.width) + 2, int(FADES_WIDTHS[1] * shaft.width)
    if end == 0:
        beyond = shaft.sections[max(0, shaft.first - reach) : max(0, shaft.first - skip)]
    else:
        beyond = shaft.sections[shaft.last + 1 + skip : shaft.last + 1 + reach]
    return beyond[np.isfinite(beyond[:, 2])]


def _room(x: float, y: float, ux: float, uy: float, width: int, height: int) -> int:
    """How many whole steps of (ux, uy) from (x, y) stay inside the image."""
    steps = [float(width + height)]
    for at, step, size in ((x, ux, width), (y, uy, height)):
        if step > 1e-9:
            steps.append((size - 1 - at) / step)
        elif step < -1e-9:
            steps.append(-at / step)
    return max(0, int(min(steps)))


def falls_to(values: Floats, level: float) -> float | None:
    """Where the values first fall to the level, sub-sample; None where they never do."""
    below = np.nonzero(values <= level)[0]
    if len(below) == 0:
        return None
    i = int(below[0])
    if i == 0:
        return 0.0
    drop = values[i - 1] - values[i]
    return float(i - 1 + (values[i - 1] - level) / drop)
