"""Dark straight ribbons of constant width on a picture, each followed to both of its ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.records import PointPx
from guidance.vision.kernels import ridge
from guidance.vision.kernels import shaft as kernels
from guidance.vision.picture import Density, Picture

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
    numbers: Floats
    """The same, but for the sections, as the kernels take them."""

    @classmethod
    def of(cls, sections: Density, numbers: Floats) -> Self:
        """The shaft as ``kernels.follow`` tells it."""
        x, y, ux, uy, first, last, width, contrast, *kinds = numbers.tolist()
        ends = int(kinds[0]), int(kinds[1])
        return cls((x, y), (ux, uy), sections, int(first), int(last), ends, width, contrast, numbers)

    def at(self, row: float, across: float) -> PointPx:
        """The point of a strip's row and its offset across, in work pixels."""
        (x, y), (ux, uy) = self.origin_xy, self.along_xy
        return x + row * ux - across * uy, y + row * uy + across * ux


class SearchPlanes:
    """What the search for needles looks at: good until the next picture, for which the same memory is used again.

    ``image``: density with the display's blackest levels cut, quantum noise and dither averaged, and no flank outside.
    ``of_rows``, ``of_columns``: scan lines, means of bands of BAND_PX: shapes (rows / 3, columns), (columns / 3, rows).
    ``half``: means of two by two pixels, 0 where one of them is outside, and ``half_seen`` is 0, too.
    """

    def __init__(self) -> None:
        self._take_memory((0, 0))

    def _take_memory(self, shape: tuple[int, int]) -> None:
        height, width = shape
        self.image, self._smooth = np.empty((2, *shape), np.float32)
        self.of_rows = np.empty((height // BAND_PX, width), np.float32)
        self._columns = np.empty((height, width // BAND_PX), np.float32)
        self.of_columns = np.empty(self._columns.shape[::-1], np.float32)
        self.half = np.empty((height // 2, width // 2), np.float32)
        self.half_seen = np.empty((height // 2, width // 2), np.uint8)

    def show(self, picture: Picture) -> None:
        """Look at this picture from now on."""
        density, mask = picture.density, picture.mask
        if density.shape != self.image.shape:
            self._take_memory((density.shape[0], density.shape[1]))
        most = np.float32(DARKEST)
        # The standard deviation of noise from one pixel to the next, by the median of second differences.
        if ridge.is_rougher(density, mask, most, NOISE_ROWS // 4, NOISE_ROWS, 0.6745 * 6**0.5 * LEAST_NOISE):
            cv2.threshold(density, DARKEST, 0.0, cv2.THRESH_TRUNC, dst=self.image)
            cv2.blur(self.image, (3, 3), dst=self._smooth)
            density, most = self._smooth, OUTSIDE
        ridge.prepare(density, mask, most, OUTSIDE, self.image, self.of_rows, self._columns)
        cv2.transpose(self._columns, dst=self.of_columns)
        ridge.halve(self.image, mask, self.half, self.half_seen)


def ribbon_runs(lines: Density, widths: tuple[float, float]) -> Floats:
    """Runs of ribbon sections on scan lines, as ``ridge.run_lines`` gives them."""
    wanted = [width for width in SECTION_WIDTHS_PX if 0.6 * widths[0] <= width <= 1.8 * widths[1]]
    points = ridge.ribbon_points(lines, np.array(wanted, dtype=np.int32), LEAST_CONTRAST, MOST_POINTS)
    if len(points) == 0:
        return np.empty((0, 8))
    run_of = ridge.straight_runs(points, float(BAND_PX), LONGEST_GAP_BANDS)
    return ridge.run_lines(points, run_of, int(run_of.max()) + 1)


def straight_lines(steep: Floats, flat: Floats, widths: tuple[float, float]) -> Floats:
    """The runs on rows and on columns that may be shafts, the most weighty first, as ``ridge.straight_lines``."""
    of_both = [
        ridge.straight_lines(runs, is_flat, float(BAND_PX), LEAST_LENGTH_PX, *widths)
        for runs, is_flat in ((steep, False), (flat, True))
    ]
    lines = np.concatenate(of_both)
    return lines[np.argsort(-lines[:, ridge.WEIGHT], kind="stable")]


def follow(search: Density, line: Floats) -> Shaft | None:
    """The line extended both ways to where its ribbon ends; None where it is no ribbon of constant width."""
    sections, shaft = kernels.follow(search, line, LEAST_CONTRAST, FADES_WIDTHS[1])
    return Shaft.of(sections, shaft) if len(shaft) else None


def without_pieces_of(shaft: Shaft, lines: Floats) -> Floats:
    """The lines that are no pieces of a shaft that has been followed; one that lies beyond its end is none."""
    return lines[~kernels.lie_on(lines, shaft.sections, shaft.numbers)]


def runs_through(shaft: Shaft, bar: Shaft) -> bool:
    """The shaft goes on in the bar from end to end: the bar is where it merges with another that crosses it."""
    ends = [_seen_from(shaft, bar.at(row, 0.0)) for row in (bar.first, bar.last)]
    first, last, half = shaft.first - bar.width, shaft.last + bar.width, 0.5 * bar.width
    return shaft is not bar and all(first < row < last and abs(across) < half for row, across in ends)


def rows_alone(shafts: Sequence[Shaft]) -> list[Flags]:
    """For each shaft, which of its rows, from its first to its last, have no other shaft of its kind at their flanks.

    All of them where a shaft has hardly any to itself: then there is no other place to learn from.
    """
    numbers = np.array([shaft.numbers for shaft in shafts])
    return [
        kernels.rows_alone(shaft.sections, numbers, place, ALIKE, LEAST_OWN_WIDTHS)
        for place, shaft in enumerate(shafts)
    ]


def _seen_from(shaft: Shaft, xy: PointPx) -> tuple[float, float]:
    """The row of the shaft's strip and the offset across it, for a point in work pixels."""
    (x, y), (x0, y0), (ux, uy) = xy, shaft.origin_xy, shaft.along_xy
    return (x - x0) * ux + (y - y0) * uy, (y - y0) * ux - (x - x0) * uy


def goes_on(shaft: Shaft, end: int) -> bool:
    """The shaft only fades at this end, as where the display saturates: it can be followed on, faint, in its line.

    A sign test: beyond a true end the middle is darker than both flanks on a third of the rows, by chance.
    """
    contrast = _beyond(shaft, end)[:, kernels.CONTRAST]
    in_field, darker = np.count_nonzero(np.isfinite(contrast)), np.count_nonzero(contrast > 0)
    return bool(in_field > 1.5 * shaft.width and darker > FADED_SHARE * in_field)


def _beyond(shaft: Shaft, end: int) -> Density:
    """The sections beyond an end and its taper."""
    skip, reach = int(FADES_WIDTHS[0] * shaft.width) + 2, int(FADES_WIDTHS[1] * shaft.width)
    if end == 0:
        return shaft.sections[max(0, shaft.first - reach) : max(0, shaft.first - skip)]
    return shaft.sections[shaft.last + 1 + skip : shaft.last + 1 + reach]


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
