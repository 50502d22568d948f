"""Kernels of what is told by grey level: tone and noise, and which pixels may tell them.

All planes have one shape, (h, w), float32 or uint8. ``grey``: the class of each pixel's grey level in the baseline, one
of ``bins`` equal ones from density 0 to a top. ``marks``: what may be done with a pixel on this pulse, one bit for
each, see ``mark``; ``bits``: those that a pixel must have to count.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel
from guidance.vision.kernels.median import median_in_place, part_in_place

Plane = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Line = NDArray[np.float32]

SEEN: Final = 1
"""In the field now, and the baseline says something. All other marks imply this one."""
BARE: Final = 2
"""Under no instrument now or then."""
OPEN: Final = 4
"""No change is known there."""
WATCHED: Final = 8
"""Where the tone is taken from as far as it goes."""
RESTS: Final = 16
"""An instrument is there now as it was then, or none."""
SHOWN: Final = 32
"""No instrument that has moved hides it."""

_CELLS: Final = 512
"""So many steps a histogram of differences has."""

_PLANE = 'Array(float32, 2, "C", readonly=True)'
_BYTES = 'Array(uint8, 2, "C", readonly=True)'
_LINE = 'Array(float32, 1, "C", readonly=True)'
_OUT_BYTES = "uint8[:, ::1]"


@kernel(f"void({_BYTES}, {_BYTES}, {_BYTES}, {_BYTES}, {_BYTES}, {_BYTES}, {_OUT_BYTES})")
def mark(
    valid: Bytes, learnt: Bytes, steel: Bytes, base_steel: Bytes, exclude: Bytes, watched: Bytes, out: Bytes
) -> None:
    """Fill ``out`` with the marks of each pixel: a sum of ``SEEN`` to ``SHOWN``, as far as masks tell.

    Each input is not 0 where it holds. ``learnt``: the baseline says something; ``steel``: under an instrument, now and
    in the baseline; ``exclude``: a change is known.
    """
    for r in range(valid.shape[0]):
        for c in range(valid.shape[1]):
            bits = SEEN
            bits |= BARE if (steel[r, c] | base_steel[r, c]) == 0 else 0
            bits |= OPEN if exclude[r, c] == 0 else 0
            bits |= WATCHED if watched[r, c] != 0 else 0
            bits |= RESTS | SHOWN if steel[r, c] == base_steel[r, c] else 0
            out[r, c] = np.uint8(bits if (valid[r, c] != 0) & (learnt[r, c] != 0) else 0)


@kernel(f"void({_PLANE}, int64, float32, {_OUT_BYTES})")
def classify(base: Plane, bins: int, top: float, out: Bytes) -> None:
    """Fill ``out`` with the class of each grey level; what is beyond the first or last counts as that."""
    per_bin = np.float32(bins) / top
    highest = np.float32(bins - 1)
    for r in range(base.shape[0]):
        for c in range(base.shape[1]):
            out[r, c] = np.uint8(min(max(base[r, c] * per_bin, np.float32(0.0)), highest))


@kernel("float32[:, ::1](int32[:, ::1], float32, float32)")
def _quartiles(histogram: NDArray[np.int32], centre: float, reach: float) -> Plane:
    """Lower quartile, median, upper quartile and count of each row of a histogram of ``centre`` +- ``reach``."""
    bins, cells = histogram.shape
    per_cell = np.float32(cells) / (np.float32(2.0) * reach)
    out = np.zeros((bins, 4), dtype=np.float32)
    for i in range(bins):
        total = histogram[i].sum()
        out[i, 3] = total
        seen = 0
        quartile = 0
        for j in range(cells):
            if quartile == 3 or total == 0:
                break
            before = seen
            seen += histogram[i, j]
            while quartile < 3 and 4 * seen >= (quartile + 1) * total:
                inside = (np.float32(0.25) * (quartile + 1) * total - before) / np.float32(seen - before)
                out[i, quartile] = centre - reach + (j + inside) / per_cell
                quartile += 1
    return out


@kernel(f"float32[:, ::1]({_BYTES}, {_PLANE}, {_BYTES}, int64, int64, int64, float32)")
def quartiles_by_grey(grey: Bytes, value: Plane, marks: Bytes, bits: int, step: int, bins: int, reach: float) -> Plane:
    """Lower quartile, median, upper quartile and count of ``value`` in each class of ``grey``: (bins, 4).

    Every ``step``-th row and column is read, where all of ``bits`` are marked. Values are told apart to ``reach``/256
    within +- ``reach``; what lies beyond counts in the outermost cell, which a quartile survives. An empty class has
    four zeros.
    """
    cells = _CELLS
    histogram = np.zeros((bins, cells), dtype=np.int32)
    per_cell = np.float32(cells) / (np.float32(2.0) * reach)
    for r in range(step // 2, grey.shape[0], step):
        for c in range(step // 2, grey.shape[1], step):
            if marks[r, c] & bits == bits:
                j = min(max(int((value[r, c] + reach) * per_cell), 0), cells - 1)
                histogram[grey[r, c], j] += 1
    return _quartiles(histogram, 0.0, reach)


@kernel(f"float32({_PLANE}, {_PLANE}, {_BYTES}, int64, int64)")
def _median_difference(present: Plane, base: Plane, marks: Bytes, bits: int, step: int) -> float:
    """The median of present - base on every ``step``-th row and column where all of ``bits`` are marked; 0 if none."""
    h, w = base.shape
    some = np.empty(((h + step - 1) // step) * ((w + step - 1) // step), dtype=np.float32)
    n = 0
    for r in range(0, h, step):
        for c in range(0, w, step):
            if marks[r, c] & bits == bits:
                some[n] = present[r, c] - base[r, c]
                n += 1
    return median_in_place(some[:n]) if n else 0.0


@kernel(f"UniTuple(float32[:, ::1], 2)({_BYTES}, {_PLANE}, {_PLANE}, {_BYTES}, int64, int64, int64, int64, float32)")
def tone_by_grey(
    grey: Bytes, present: Plane, base: Plane, marks: Bytes, bits: int, fewer: int, step: int, bins: int, reach: float
) -> tuple[Plane, Plane]:
    """``quartiles_by_grey`` of present - base where ``bits`` are marked, and the same where ``fewer`` pixels' bits are.

    ``fewer`` includes all of ``bits``. Brightness control may have gone beyond the reach, so that values are told apart
    within +- ``reach`` of their median, of every eighth row and column.
    """
    h, w = grey.shape
    centre = _median_difference(present, base, marks, bits, 8)
    centre_of_fewer = _median_difference(present, base, marks, fewer, 8)
    cells = _CELLS
    histogram = np.zeros((bins, cells), dtype=np.int32)
    histogram_of_fewer = np.zeros((bins, cells), dtype=np.int32)
    per_cell = np.float32(cells) / (np.float32(2.0) * reach)
    for r in range(step // 2, h, step):
        for c in range(step // 2, w, step):
            if marks[r, c] & bits == bits:
                differs = present[r, c] - base[r, c]
                j = min(max(int((differs - centre + reach) * per_cell), 0), cells - 1)
                histogram[grey[r, c], j] += 1
                if marks[r, c] & fewer == fewer:
                    j = min(max(int((differs - centre_of_fewer + reach) * per_cell), 0), cells - 1)
                    histogram_of_fewer[grey[r, c], j] += 1
    return _quartiles(histogram, centre, reach), _quartiles(histogram_of_fewer, centre_of_fewer, reach)


@kernel(f"float32[::1]({_LINE}, {_LINE}, float32)")
def smoothed_by_grey(value: Line, count: Line, least: float) -> Line:
    """``value`` by grey level, interpolated where fewer than ``least`` pixels speak, smoothed by the number that do.

    Both of shape (bins,); weights 1, 2, 1 times the counts, an interpolated value's count is 1. Zeros if none is told.
    """
    bins = value.shape[0]
    out = np.zeros(bins, dtype=np.float32)
    weight = np.ones(bins, dtype=np.float64)
    weighted = np.zeros(bins, dtype=np.float64)
    before = -1
    for i in range(bins):
        if count[i] < least:
            continue
        weight[i] = count[i]
        weighted[i] = weight[i] * value[i]
        for j in range(before + 1, i):
            weighted[j] = value[i]
            if before >= 0:
                slope = (np.float64(value[i]) - np.float64(value[before])) / (i - before)
                weighted[j] = slope * (j - before) + value[before]
        before = i
    if before < 0:
        return out
    weighted[before + 1 :] = value[before]
    for i in range(bins):
        total, share = 0.5 * weighted[i], 0.5 * weight[i]
        if i > 0:
            total, share = 0.25 * weighted[i - 1] + total, 0.25 * weight[i - 1] + share
        if i < bins - 1:
            total, share = total + 0.25 * weighted[i + 1], share + 0.25 * weight[i + 1]
        out[i] = total / share
    return out


@kernel(f"float32[::1]({_PLANE}, float32)")
def spread_by_grey(table: Plane, least: float) -> Line:
    """Standard deviation by grey level from ``quartiles_by_grey``, shape (bins,), smoothed likewise.

    Quartiles lie 0.674 of it either side of a normal distribution's median. The wider side counts: near black the
    logarithm skews the noise towards the dense side.
    """
    bins = table.shape[0]
    side = np.empty(bins, dtype=np.float32)
    count = np.empty(bins, dtype=np.float32)
    for i in range(bins):
        side[i] = max(table[i, 2] - table[i, 1], table[i, 1] - table[i, 0]) / np.float32(0.6745)
        count[i] = table[i, 3]
    out = smoothed_by_grey(side, count, least)
    for i in range(bins):
        out[i] = max(out[i], np.float32(1e-3))
    return out


@kernel(f"float32({_PLANE}, {_PLANE}, {_BYTES}, {_BYTES}, {_LINE}, int64, int64, float32, float32, float64, int64)")
def excess_at_edges(
    steep: Plane,
    coarse: Plane,
    grey: Bytes,
    marks: Bytes,
    sigma: Line,
    bits: int,
    step: int,
    steepness: float,
    usual: float,
    share: float,
    least: int,
) -> float:
    """How much more edges have changed than noise makes them: (``coarse``² / usual - sigma²) / ``steep``, a quantile.

    ``share``: which quantile; ``usual``: that of a normal distribution's squares. An edge is where ``steep`` is more
    than ``steepness`` times its mean; every ``step``-th row and column is read where all of ``bits`` are marked. nan
    where there are fewer than ``least``. ``sigma``: by class of ``grey``.
    """
    h, w = steep.shape
    most = ((h + step - 1) // step) * ((w + step - 1) // step)
    at = np.empty((most, 2), dtype=np.int64)
    n = 0
    total = 0.0
    for r in range(0, h, step):
        for c in range(0, w, step):
            if marks[r, c] & bits == bits:
                at[n, 0], at[n, 1] = r, c
                total += steep[r, c]
                n += 1
    edge = np.float32(steepness * (total / max(n, 1)))
    excess = np.empty(n, dtype=np.float32)
    edges = 0
    for i in range(n):
        r, c = at[i, 0], at[i, 1]
        if steep[r, c] > edge:
            s = sigma[grey[r, c]]
            excess[edges] = (coarse[r, c] * coarse[r, c] - usual * (s * s)) / steep[r, c]
            edges += 1
    if edges < least:
        return np.nan
    rank = (edges - 1) * share
    below = int(rank)
    above = min(below + 1, edges - 1)
    part_in_place(excess[:edges], above)
    lower = excess[:above].max() if above > below else excess[above]
    return float((lower + np.float32(rank - below) * (excess[above] - lower)) / usual)
