"""Kernels of the comparison with a baseline: the difference, averages over time, what stands out of them.

Planes, ``grey`` and ``marks`` as in ``kernels.grey``; densities run from 0 to ``top``.

A row is gone through several times by loops of a line or two, because that is what becomes vector code: looking up in
a table does not, so it is done ahead of the arithmetic, and a loop that writes several planes does not either, because
the compiler must take them for the same memory.
"""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel
from guidance.vision.kernels.grey import BARE, OPEN, SEEN, SHOWN, Bytes, Line, Plane

Indices = NDArray[np.int64]

_PLANE = 'Array(float32, 2, "C", readonly=True)'
_BYTES = 'Array(uint8, 2, "C", readonly=True)'
_LINE = 'Array(float32, 1, "C", readonly=True)'
_INDICES = 'Array(int64, 1, "C", readonly=True)'
_OUT = "float32[:, ::1]"
_OUT_BYTES = "uint8[:, ::1]"


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


@kernel(f"void({_INDICES}, {_INDICES}, {_LINE}, {_OUT}, {_OUT}, {_OUT})")
def take_out(rows: Indices, cols: Indices, density: Line, base: Plane, added: Plane, broad: Plane) -> None:
    """Move so much density from the baseline to the averages of what has been added, in place, at some pixels."""
    for i in range(rows.shape[0]):
        r, c = rows[i], cols[i]
        base[r, c] -= density[i]
        added[r, c] += density[i]
        broad[r, c] += density[i]
