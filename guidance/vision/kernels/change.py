"""Kernels of the comparison with a baseline: tone and noise by grey level, the difference, averages over time.

All pictures have one shape, (h, w) float32. A pixel counts where its ``valid`` (or ``use``) is not 0. Grey levels
are the baseline's densities, sorted into ``bins`` equal classes from 0 to ``top``.
"""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel

Plane = NDArray[np.float32]
Bytes = NDArray[np.uint8]

_PLANE = 'Array(float32, 2, "C", readonly=True)'
_BYTES = 'Array(uint8, 2, "C", readonly=True)'
_LINE = 'Array(float32, 1, "C", readonly=True)'
_OUT = "float32[:, ::1]"


@kernel(f"float32[:, ::1]({_PLANE}, {_PLANE}, {_BYTES}, int64, int64, float32, float32, float32)")
def quartiles_by_grey(
    grey: Plane, value: Plane, use: Bytes, step: int, bins: int, top: float, centre: float, reach: float
) -> Plane:
    """Lower quartile, median, upper quartile and count of ``value`` in each class of ``grey``: (bins, 4).

    Every ``step``-th row and column is read. Values are told apart to ``reach``/256 within ``centre`` +- ``reach``;
    what lies beyond counts in the outermost cell, which a quartile survives. An empty class has four zeros.
    """
    cells = 512
    histogram = np.zeros((bins, cells), dtype=np.int32)
    per_bin = np.float32(bins) / top
    per_cell = np.float32(cells) / (np.float32(2.0) * reach)
    for r in range(step // 2, grey.shape[0], step):
        for c in range(step // 2, grey.shape[1], step):
            if use[r, c]:
                i = min(max(int(grey[r, c] * per_bin), 0), bins - 1)
                j = min(max(int((value[r, c] - centre + reach) * per_cell), 0), cells - 1)
                histogram[i, j] += 1
    out = np.zeros((bins, 4), dtype=np.float32)
    for i in range(bins):
        total = 0
        for j in range(cells):
            total += histogram[i, j]
        if total == 0:
            continue
        seen = 0
        quartile = 0
        for j in range(cells):
            before = seen
            seen += histogram[i, j]
            while quartile < 3 and 4 * seen >= (quartile + 1) * total:
                inside = (np.float32(0.25) * (quartile + 1) * total - before) / np.float32(seen - before)
                out[i, quartile] = centre - reach + (j + inside) / per_cell
                quartile += 1
        out[i, 3] = total
    return out


@kernel(f"void({_PLANE}, {_PLANE}, {_BYTES}, {_LINE}, float32, {_OUT})")
def difference(present: Plane, base: Plane, valid: Bytes, tone: NDArray[np.float32], top: float, out: Plane) -> None:
    """``out`` = present - base - tone(base) where valid; elsewhere ``out`` stays as it is.

    ``tone``: one value for each class of grey, at the class's centre, linear in between.
    """
    bins = tone.shape[0]
    per_bin = np.float32(bins) / top
    for r in range(base.shape[0]):
        for c in range(base.shape[1]):
            if valid[r, c]:
                x = min(max(base[r, c] * per_bin - np.float32(0.5), np.float32(0.0)), np.float32(bins - 1))
                i = min(int(x), bins - 2)
                f = x - np.float32(i)
                out[r, c] = present[r, c] - base[r, c] - (tone[i] * (np.float32(1.0) - f) + tone[i + 1] * f)


@kernel(f"float32[:, :, ::1]({_PLANE}, {_PLANE}, {_PLANE}, {_BYTES}, int64, float32, float32)")
def cell_sums(
    delta: Plane, z: Plane, broad: Plane, use: Bytes, cell: int, quiet: float, faint: float
) -> NDArray[np.float32]:
    """Sum of ``delta`` and number of pixels in each ``cell`` x ``cell`` square: (2, rows, columns).

    Pixels count where used and where |z| is below ``quiet`` or |broad| below ``faint``; every second row and column
    is read.
    """
    rows = (delta.shape[0] + cell - 1) // cell
    columns = (delta.shape[1] + cell - 1) // cell
    out = np.zeros((2, rows, columns), dtype=np.float32)
    for r in range(0, delta.shape[0], 2):
        for c in range(0, delta.shape[1], 2):
            if use[r, c] and (abs(z[r, c]) < quiet or abs(broad[r, c]) < faint):
                out[0, r // cell, c // cell] += delta[r, c]
                out[1, r // cell, c // cell] += np.float32(1.0)
    return out


@kernel(f"float64[::1]({_PLANE}, {_PLANE}, {_PLANE}, {_BYTES}, int64, float32)")
def slip_sums(delta: Plane, grad_x: Plane, grad_y: Plane, use: Bytes, step: int, clip: float) -> NDArray[np.float64]:
    """Sums xx, xy, yy, xd, yd of the normal equations delta = -(grad_x * sx + grad_y * sy); |delta| clipped."""
    out = np.zeros(5)
    for r in range(step // 2, delta.shape[0], step):
        for c in range(step // 2, delta.shape[1], step):
            if use[r, c]:
                d = min(max(delta[r, c], -clip), clip)
                gx = grad_x[r, c]
                gy = grad_y[r, c]
                out[0] += gx * gx
                out[1] += gx * gy
                out[2] += gy * gy
                out[3] += gx * d
                out[4] += gy * d
    return out


@kernel(f"void({_OUT}, {_PLANE}, {_PLANE}, {_BYTES}, float32, float32)")
def take_slip(delta: Plane, grad_x: Plane, grad_y: Plane, valid: Bytes, slip_x: float, slip_y: float) -> None:
    """Remove from ``delta``, in place, what a shift of (slip_x, slip_y) pixels explains to first order."""
    for r in range(delta.shape[0]):
        for c in range(delta.shape[1]):
            if valid[r, c]:
                delta[r, c] += grad_x[r, c] * slip_x + grad_y[r, c] * slip_y


@kernel(
    f"void({_PLANE}, {_PLANE}, {_PLANE}, {_PLANE}, {_BYTES}, {_LINE}, {_LINE}, float32, float32, "
    f"{_OUT}, {_OUT}, {_OUT}, {_OUT})"
)
def follow(
    base: Plane,
    fine: Plane,
    coarse: Plane,
    steep: Plane,
    valid: Bytes,
    sigma_one: NDArray[np.float32],
    sigma_settled: NDArray[np.float32],
    top: float,
    longest: float,
    mean_fine: Plane,
    mean_coarse: Plane,
    count: Plane,
    z: Plane,
) -> None:
    """Take one pulse's change into the averages over time, in place, where valid; ``z``: in standard deviations,
    0 where less than one.

    A pixel's weight is 1/n up to n = ``longest``; where the pulse departs from the average by k standard
    deviations it rises to (k/4)², at most three quarters, and n forgets accordingly: noise is averaged over many
    pulses, growth followed within two or three. ``sigma_one``: of one pulse's ``coarse``, ``sigma_settled``: of an
    average of n = ``longest``, both by class of grey in ``base``; in between the variance runs linearly in 1/n, so
    whatever correlates the pulses (lag) or does not average out (the baseline's own noise) is measured, not
    assumed. ``steep``: variance that the registration's own error adds.
    """
    bins = sigma_one.shape[0]
    per_bin = np.float32(bins) / top
    last = np.float32(1.0) / longest
    for r in range(base.shape[0]):
        for c in range(base.shape[1]):
            if valid[r, c]:
                i = min(max(int(base[r, c] * per_bin), 0), bins - 1)
                settled = sigma_settled[i] * sigma_settled[i]
                one = max(sigma_one[i] * sigma_one[i], settled)
                departs = coarse[r, c] - mean_coarse[r, c]
                weight = max(np.float32(1.0) / (count[r, c] + np.float32(1.0)), last)
                urge = departs * departs * np.float32(1.0 / 16.0)
                if urge > weight * (one + steep[r, c]):
                    weight = max(weight, min(urge / (one + steep[r, c]), np.float32(0.75)))
                mean = mean_coarse[r, c] + weight * departs
                mean_coarse[r, c] = mean
                mean_fine[r, c] += weight * (fine[r, c] - mean_fine[r, c])
                count[r, c] = np.float32(1.0) / weight
                z[r, c] = 0.0
                if mean * mean > settled:
                    share = (weight - last) / (np.float32(1.0) - last)
                    z[r, c] = mean / np.float32(sqrt(settled + (one - settled) * share + steep[r, c]))


@kernel(f"void({_PLANE}, {_PLANE}, {_PLANE}, {_LINE}, float32, float32, uint8[:, ::1])")
def departed(
    base: Plane, coarse: Plane, steep: Plane, sigma: NDArray[np.float32], top: float, sigmas: float, out: Bytes
) -> None:
    """255 in ``out`` where the smoothed difference ``coarse`` exceeds so many standard deviations, else 0."""
    bins = sigma.shape[0]
    per_bin = np.float32(bins) / top
    for r in range(base.shape[0]):
        for c in range(base.shape[1]):
            s = sigma[min(max(int(base[r, c] * per_bin), 0), bins - 1)]
            is_far = coarse[r, c] * coarse[r, c] > sigmas * sigmas * (s * s + steep[r, c])
            out[r, c] = np.uint8(255) if is_far else np.uint8(0)


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
