"""Kernels of the comparison with a baseline: tone and noise by grey level, the difference, averages over time.

All planes have one shape, (h, w), float32 or uint8. ``grey``: the class of each pixel's grey level in the baseline, one
of ``bins`` equal ones from density 0 to ``top``. ``marks``: what may be done with a pixel on this pulse, one bit for
each, see ``mark``; ``bits``: those that a pixel must have to count.

A row is gone through several times by loops of a line or two, because that is what becomes vector code: looking up in
a table does not, so it is done ahead of the arithmetic, and a loop that writes several planes does not either, because
the compiler must take them for the same memory.
"""

from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel

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
_OUT = "float32[:, ::1]"
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


@kernel(f"void({_BYTES}, {_BYTES}, {_OUT_BYTES})")
def overlay(mask: Bytes, steel: Bytes, out: Bytes) -> None:
    """Fill ``out`` with two masks in one plane: 1 where the one is not 0, and 2 where the other is not."""
    for r in range(mask.shape[0]):
        for c in range(mask.shape[1]):
            out[r, c] = np.uint8((1 if mask[r, c] != 0 else 0) + (2 if steel[r, c] != 0 else 0))


@kernel(f"void({_BYTES}, {_OUT_BYTES}, {_OUT_BYTES})")
def part(overlaid: Bytes, mask: Bytes, steel: Bytes) -> None:
    """Fill ``mask`` and ``steel``, 0 or 255, from what ``overlay`` made of two masks."""
    for r in range(mask.shape[0]):
        for c in range(mask.shape[1]):
            mask[r, c] = np.uint8(255 if overlaid[r, c] & 1 else 0)
        for c in range(mask.shape[1]):
            steel[r, c] = np.uint8(255 if overlaid[r, c] & 2 else 0)


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
    return float(np.median(some[:n])) if n else 0.0


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


@kernel(f"float64({_LINE})")
def median(line: Line) -> float:
    """The median of a few numbers; ``np.median`` takes twenty times as long to look after all that could be given."""
    return float(np.median(line))


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


@kernel(
    f"float64[::1]({_PLANE}, {_PLANE}, {_BYTES}, {_LINE}, float32, "
    f"{_PLANE}, {_PLANE}, {_PLANE}, int64, float32, {_OUT})"
)
def difference(
    present: Plane,
    base: Plane,
    marks: Bytes,
    tone: Line,
    top: float,
    instead: Plane,
    grad_x: Plane,
    grad_y: Plane,
    step: int,
    clip: float,
    out: Plane,
) -> NDArray[np.float64]:
    """``out`` = present - base - tone(base) where SEEN, elsewhere ``instead``; returned is what it tells of a slip.

    ``tone``: one value for each class of grey, at the class's centre, linear in between. Returned are the sums xx, xy,
    yy, xd, yd of the normal equations out = -(grad_x * sx + grad_y * sy), on every ``step``-th row and column where
    BARE and OPEN, with |out| clipped.
    """
    h, w = base.shape
    bins = tone.shape[0]
    per_bin = np.float32(bins) / top
    one, zero, half, last = np.float32(1.0), np.float32(0.0), np.float32(0.5), np.float32(bins - 1)
    # Copies of their own: of an argument the compiler cannot tell that the rows below do not lie upon it.
    lower, upper = tone[:-1].copy(), tone[1:].copy()
    level = np.empty(w, dtype=np.uint8)
    below = np.empty(w, dtype=np.float32)
    above = np.empty(w, dtype=np.float32)
    shift = np.empty(w, dtype=np.float32)
    tells = BARE | OPEN
    xx, xy, yy, xd, yd = 0.0, 0.0, 0.0, 0.0, 0.0
    for r in range(h):
        for c in range(w):
            level[c] = np.uint8(min(max(base[r, c] * per_bin - half, zero), last - one))
        for c in range(w):
            below[c] = lower[level[c]]
        for c in range(w):
            above[c] = upper[level[c]]
        for c in range(w):
            share = min(max(base[r, c] * per_bin - half, zero), last) - np.float32(level[c])
            shift[c] = below[c] * (one - share) + above[c] * share
        for c in range(w):
            told = present[r, c] - base[r, c] - shift[c]
            out[r, c] = told if marks[r, c] & SEEN else instead[r, c]
        if r % step != step // 2:
            continue
        for c in range(step // 2, w, step):
            if marks[r, c] & tells == tells:
                d = min(max(out[r, c], -clip), clip)
                gx = grad_x[r, c]
                gy = grad_y[r, c]
                xx += gx * gx
                xy += gx * gy
                yy += gy * gy
                xd += gx * d
                yd += gy * d
    return np.array([xx, xy, yy, xd, yd])


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
    ordered = np.partition(excess[:edges], above)
    lower = ordered[:above].max() if above > below else ordered[above]
    return float((lower + np.float32(rank - below) * (ordered[above] - lower)) / usual)


@kernel(f"void({_OUT}, {_PLANE}, {_PLANE}, {_BYTES}, float32, float32)")
def take_slip(delta: Plane, grad_x: Plane, grad_y: Plane, marks: Bytes, slip_x: float, slip_y: float) -> None:
    """Remove from ``delta``, in place where SEEN, what a shift of (slip_x, slip_y) pixels explains to first order."""
    for r in range(delta.shape[0]):
        for c in range(delta.shape[1]):
            slipped = delta[r, c] + (grad_x[r, c] * slip_x + grad_y[r, c] * slip_y)
            delta[r, c] = slipped if marks[r, c] & SEEN else delta[r, c]


@kernel(f"float32[:, :, ::1]({_PLANE}, {_PLANE}, {_PLANE}, {_BYTES}, int64, float32, float32)")
def cell_sums(
    delta: Plane, z: Plane, broad: Plane, marks: Bytes, cell: int, quiet: float, faint: float
) -> NDArray[np.float32]:
    """Sum of ``delta`` and number of pixels in each ``cell`` x ``cell`` square: (2, rows, columns).

    Pixels count where BARE and where |z| is below ``quiet`` or |broad| below ``faint``; every second row and column
    is read.
    """
    h, w = delta.shape
    rows = (h + cell - 1) // cell
    columns = (w + cell - 1) // cell
    out = np.zeros((2, rows, columns), dtype=np.float32)
    told = np.empty(w, dtype=np.float32)
    counts = np.empty(w, dtype=np.float32)
    for r in range(0, h, 2):
        for c in range(w):
            is_quiet = (abs(z[r, c]) < quiet) | (abs(broad[r, c]) < faint)
            counts[c] = np.float32(1.0) if is_quiet & ((marks[r, c] & BARE) != 0) else np.float32(0.0)
        for c in range(w):
            told[c] = delta[r, c] if counts[c] > 0 else np.float32(0.0)
        i = r // cell
        for j in range(columns):
            total, count = out[0, i, j], out[1, i, j]
            left = j * cell
            for c in range(left + left % 2, min(left + cell, w), 2):
                total += told[c]
                count += counts[c]
            out[0, i, j], out[1, i, j] = total, count
    return out


@kernel(
    f"void({_BYTES}, {_PLANE}, {_PLANE}, {_PLANE}, {_BYTES}, {_LINE}, {_LINE}, float32, {_OUT}, {_OUT}, {_OUT}, {_OUT})"
)
def follow(
    grey: Bytes,
    fine: Plane,
    coarse: Plane,
    steep: Plane,
    marks: Bytes,
    sigma_one: Line,
    sigma_settled: Line,
    longest: float,
    mean_fine: Plane,
    mean_coarse: Plane,
    count: Plane,
    z: Plane,
) -> None:
    """Take one pulse's change into the averages over time, in place, where SHOWN; ``z``: in standard deviations,
    0 where less than one.

    A pixel's weight is 1/n up to n = ``longest``; where the pulse departs from the average by k standard
    deviations it rises to (k/4)², at most three quarters, and n forgets accordingly: noise is averaged over many
    pulses, growth followed within two or three. ``sigma_one``: of one pulse's ``coarse``, ``sigma_settled``: of an
    average of n = ``longest``, both by class of ``grey``; in between the variance runs linearly in 1/n, so
    whatever correlates the pulses (lag) or does not average out (the baseline's own noise) is measured, not
    assumed. ``steep``: variance that the registration's own error adds.
    """
    h, w = grey.shape
    last = np.float32(1.0) / longest
    none, unit = np.float32(0.0), np.float32(1.0)
    settled_by_grey = sigma_settled * sigma_settled
    one_by_grey = np.maximum(sigma_one * sigma_one, settled_by_grey)
    one = np.empty(w, dtype=np.float32)
    settled = np.empty(w, dtype=np.float32)
    weight = np.empty(w, dtype=np.float32)
    for r in range(h):
        for c in range(w):
            one[c] = one_by_grey[grey[r, c]]
            settled[c] = settled_by_grey[grey[r, c]]
        for c in range(w):
            departs = coarse[r, c] - mean_coarse[r, c]
            usual = max(unit / (count[r, c] + unit), last)
            urge = departs * departs * np.float32(1.0 / 16.0)
            variance = one[c] + steep[r, c]
            urged = max(usual, min(urge / variance, np.float32(0.75)))
            chosen = urged if urge > usual * variance else usual
            weight[c] = chosen if marks[r, c] & SHOWN else none
        for c in range(w):
            mean_coarse[r, c] += weight[c] * (coarse[r, c] - mean_coarse[r, c])
        for c in range(w):
            mean_fine[r, c] += weight[c] * (fine[r, c] - mean_fine[r, c])
        for c in range(w):
            count[r, c] = unit / weight[c] if weight[c] > none else count[r, c]
        for c in range(w):
            mean = mean_coarse[r, c]
            share = (weight[c] - last) / (unit - last)
            sigmas = mean / np.float32(sqrt(settled[c] + (one[c] - settled[c]) * share + steep[r, c]))
            stands_out = sigmas if mean * mean > settled[c] else none
            z[r, c] = stands_out if weight[c] > none else z[r, c]


@kernel(f"void({_BYTES}, {_PLANE}, {_PLANE}, {_LINE}, float32, {_OUT_BYTES})")
def departed(grey: Bytes, coarse: Plane, steep: Plane, sigma: Line, sigmas: float, out: Bytes) -> None:
    """255 in ``out`` where the smoothed difference ``coarse`` exceeds so many standard deviations, else 0.

    ``sigma``: by class of ``grey``; ``steep``: variance that adds to it.
    """
    h, w = grey.shape
    by_grey = sigma * sigma
    variance = np.empty(w, dtype=np.float32)
    for r in range(h):
        for c in range(w):
            variance[c] = by_grey[grey[r, c]]
        for c in range(w):
            is_far = coarse[r, c] * coarse[r, c] > sigmas * sigmas * (variance[c] + steep[r, c])
            out[r, c] = np.uint8(255) if is_far else np.uint8(0)


@kernel(f"void({_BYTES}, {_PLANE}, {_PLANE}, {_LINE}, float32, float32, {_OUT})")
def fill_doubt(
    grey: Bytes, count: Plane, steep: Plane, sigma: Line, correlated: float, usual: float, out: Plane
) -> None:
    """``out`` = ``steep`` and the variance of a mean of ``count`` pulses above that of ``usual`` ones.

    ``sigma``: of one pulse by class of ``grey``; only one pulse in ``correlated`` is independent.
    """
    h, w = grey.shape
    by_grey = sigma * sigma
    variance = np.empty(w, dtype=np.float32)
    unit = np.float32(1.0)
    least = unit / np.float32(max(usual, 1.0))
    for r in range(h):
        for c in range(w):
            variance[c] = by_grey[grey[r, c]]
        for c in range(w):
            missing = max(unit / max(count[r, c], unit) - least, np.float32(0.0))
            out[r, c] = steep[r, c] + correlated * missing * variance[c]


@kernel(f"float32[:, ::1]({_BYTES}, {_PLANE}, {_PLANE}, {_BYTES}, {_LINE}, float32, int64, int64, int64, int64)")
def in_deviations(
    grey: Bytes,
    coarse: Plane,
    doubt: Plane,
    marks: Bytes,
    sigma: Line,
    least: float,
    top: int,
    bottom: int,
    left: int,
    right: int,
) -> Plane:
    """``coarse`` in its standard deviations within a box: (bottom - top, right - left), nan where not SHOWN.

    ``sigma``: by class of ``grey``; ``doubt``: variance that adds to it. A deviation below ``least`` counts as that.
    """
    by_grey = sigma * sigma
    width = right - left
    variance = np.empty(width, dtype=np.float32)
    out = np.empty((bottom - top, width), dtype=np.float32)
    for r in range(top, bottom):
        greys, added, doubted, marked = (
            grey[r, left:right],
            coarse[r, left:right],
            doubt[r, left:right],
            marks[r, left:right],
        )
        told = out[r - top]
        for c in range(width):
            variance[c] = by_grey[greys[c]]
        for c in range(width):
            deviation = max(np.float32(sqrt(variance[c] + doubted[c])), least)
            told[c] = added[c] / deviation if marked[c] & SHOWN else np.float32(np.nan)
    return out


@kernel(f"float32[:, ::1]({_PLANE}, int64, int64)")
def cell_means(plane: Plane, height: int, width: int) -> Plane:
    """A plane averaged over coarser cells, each pixel by the share of it that lies in a cell: (height, width)."""
    h, w = plane.shape
    tall, wide = h / height, w / width
    out = np.empty((height, width), dtype=np.float32)
    line = np.empty(w, dtype=np.float32)
    for i in range(height):
        top, bottom = i * tall, min((i + 1) * tall, float(h))
        line[:] = np.float32(0.0)
        for r in range(int(top), min(int(np.ceil(bottom)), h)):
            share = np.float32((min(bottom, r + 1.0) - max(top, float(r))) / tall)
            for c in range(w):
                line[c] += share * plane[r, c]
        for j in range(width):
            left, right = j * wide, min((j + 1) * wide, float(w))
            first, last = int(left), min(int(np.ceil(right)), w) - 1
            total = line[first] * (min(right, first + 1.0) - left)
            for c in range(first + 1, last):
                total += line[c]
            if last > first:
                total += line[last] * (right - last)
            out[i, j] = total / wide
    return out


@kernel(f"void({_PLANE}, {_BYTES}, {_BYTES}, {_BYTES}, float32, {_OUT}, {_OUT})")
def learn(delta: Plane, valid: Bytes, hold: Bytes, anew: Bytes, longest: float, base: Plane, count: Plane) -> None:
    """Take one pulse into the baseline, in place, where valid and not held: a mean over ``longest`` pulses.

    Where ``anew`` is not 0 the mean begins with this pulse.
    """
    for r in range(base.shape[0]):
        for c in range(base.shape[1]):
            if valid[r, c] and not hold[r, c]:
                before = np.float32(0.0) if anew[r, c] else count[r, c]
                n = min(before + np.float32(1.0), longest)
                base[r, c] += delta[r, c] / n
                count[r, c] = n


@kernel(f"int32[:, ::1]({_PLANE}, {_PLANE}, {_BYTES}, float32, float32, float32, float32, int32[:, ::1])")
def regions(
    z: Plane,
    added: Plane,
    standing: Bytes,
    seed: float,
    grow: float,
    stay: float,
    least: float,
    labels: NDArray[np.int32],
) -> NDArray[np.int32]:
    """Connected regions (4 neighbours) by hysteresis: shape (n, 5), columns left, top, right, bottom, area.

    A pixel belongs where z > ``grow``, or z > ``stay`` on what is ``standing``, and added > ``least``; a region needs
    one with z > ``seed`` or on what is standing. Right and bottom are exclusive. ``labels``, filled: row of the region
    plus one, 0 for none.
    """
    h, w = z.shape
    labels[:] = 0
    # Seeds first, counted row by row in vector code: most rows have none.
    in_row = np.zeros(h, dtype=np.int64)
    for r in range(h):
        hits = 0
        for c in range(w):
            hits += (z[r, c] > seed) | ((standing[r, c] != 0) & (z[r, c] > stay))
        in_row[r] = hits
    count = in_row.sum()
    seeds = np.empty(count, dtype=np.int64)
    count = 0
    for r in range(h):
        if in_row[r] == 0:
            continue
        for c in range(w):
            if z[r, c] > seed or (standing[r, c] and z[r, c] > stay):
                seeds[count] = r * w + c
                count += 1
    stack = np.empty(h * w, dtype=np.int64)
    found = np.empty((count, 5), dtype=np.int32)
    n = 0
    for first in seeds:
        r = first // w
        c = first % w
        if labels[r, c] != 0 or added[r, c] <= least:
            continue
        left, top, right, bottom, area = c, r, c, r, 0
        labels[r, c] = n + 1
        stack[0] = first
        size = 1
        while size > 0:
            size -= 1
            r = stack[size] // w
            c = stack[size] % w
            area += 1
            left = min(left, c)
            right = max(right, c)
            top = min(top, r)
            bottom = max(bottom, r)
            for rr, cc in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)):
                if rr < 0 or rr >= h or cc < 0 or cc >= w or labels[rr, cc] != 0 or added[rr, cc] <= least:
                    continue
                if z[rr, cc] > grow or (standing[rr, cc] and z[rr, cc] > stay):
                    labels[rr, cc] = n + 1
                    stack[size] = rr * w + cc
                    size += 1
        found[n, 0] = left
        found[n, 1] = top
        found[n, 2] = right + 1
        found[n, 3] = bottom + 1
        found[n, 4] = area
        n += 1
    return found[:n].copy()
