"""The rigid step by which the blocks of a reference come to lie on the present picture."""

from math import cos, inf, log, pi, sin

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel
from guidance.vision.kernels.median import median, median_in_place

Image = NDArray[np.float32]
Mask = NDArray[np.uint8]
Numbers = NDArray[np.float64]
Terms = NDArray[np.float64]

_IMAGE = 'Array(float32, 2, "C", readonly=True)'
_MASK = 'Array(uint8, 2, "C", readonly=True)'
_TERMS = 'Array(float64, 3, "C", readonly=True)'
_BLOCKS = 'Array(int32, 2, "C", readonly=True)'
_MATRIX = 'Array(float64, 2, "C", readonly=True)'

BLOCK_PX = 16
TERMS = 5
CLEAR_PX = 24
"""A block lies within a square of this side wherever a motion of up to fifteen degrees may carry it."""
SUMS = 21
"""n, c, t, cc, tt, ct; jx, jy, ja; c times j; t times j; then jj: xx, xy, xa, yy, ya, aa."""
ENOUGH_PX = 0.4 * BLOCK_PX**2
"""A block of which fewer pixels are seen does not count."""
LEAST_BLOCKS = 8
AGREE_NCC = 0.5
"""A block agrees from this normalised correlation on: bone edges elsewhere in the picture reach it now and then. Where
noise usually leaves less than a correlation of one to be reached, this share of that."""
FINE_PX = 1.2
"""What is compared is smoothed by a Gaussian of this sigma."""
ALIKE_PX = 2 * pi * FINE_PX**2
"""The band makes neighbouring pixels alike: about so many count as one."""
LOUDEST = 3.0
"""No block counts more than so many times the usual one."""
STUBBORN = 3.0
"""By how many times the usual a block must object to the common motion before it loses half of its weight."""
STEPS = 10
LONGEST_STEP_PX = 4.0
SETTLED_PX, DONE_PX = 0.15, 0.05
"""A last step longer than the one leaves the motion undetermined; one shorter than the other ends the search."""


@kernel(f"void({_MATRIX}, float64[::1], float64[::1])")
def _sum_reference(block: Numbers, seen: Numbers, sums: Numbers) -> None:
    """Those sums of ``block_sums`` that need no present picture, over the pixels of one block that are seen."""
    total = np.zeros(15 * BLOCK_PX)
    for start in range(0, BLOCK_PX * BLOCK_PX, BLOCK_PX):
        for i in range(BLOCK_PX):
            k = start + i
            t, jx, jy, ja = seen[k] * block[1, k], seen[k] * block[2, k], seen[k] * block[3, k], seen[k] * block[4, k]
            total[i] += seen[k] * block[0, k]
            total[BLOCK_PX + i] += t
            total[2 * BLOCK_PX + i] += t * t
            total[3 * BLOCK_PX + i] += jx
            total[4 * BLOCK_PX + i] += jy
            total[5 * BLOCK_PX + i] += ja
            total[6 * BLOCK_PX + i] += t * jx
            total[7 * BLOCK_PX + i] += t * jy
            total[8 * BLOCK_PX + i] += t * ja
            total[9 * BLOCK_PX + i] += jx * jx
            total[10 * BLOCK_PX + i] += jx * jy
            total[11 * BLOCK_PX + i] += jx * ja
            total[12 * BLOCK_PX + i] += jy * jy
            total[13 * BLOCK_PX + i] += jy * ja
            total[14 * BLOCK_PX + i] += ja * ja
    for term, at in enumerate((0, 2, 4, 6, 7, 8, 12, 13, 14, 15, 16, 17, 18, 19, 20)):
        sums[at] = total[term * BLOCK_PX : (term + 1) * BLOCK_PX].sum()


@kernel(f"void({_IMAGE}, {_MASK}, {_BLOCKS}, float64[:, :, ::1], float64[:, ::1])")
def block_terms(reference: Image, reference_mask: Mask, blocks: NDArray[np.int32], terms: Terms, own: Numbers) -> None:
    """Fill ``terms`` with what each pixel of a block contributes to ``block_sums``, and ``own`` with the sums thereof.

    ``terms``: (blocks, TERMS, BLOCK_PX²), whether the mask allows the pixel and then its t, jx, jy and ja, else 0.
    ``own``: (blocks, SUMS), 0 for those sums that need the present picture.
    """
    columns = reference.shape[1]
    cx, cy = (columns - 1) / 2.0, (reference.shape[0] - 1) / 2.0
    per_turn = 4.0 / columns
    terms[:] = 0.0
    own[:] = 0.0
    seen = np.ones(BLOCK_PX * BLOCK_PX)
    for b in range(len(blocks)):
        left, top = blocks[b, 0], blocks[b, 1]
        for k in range(BLOCK_PX * BLOCK_PX):
            y, x = top + k // BLOCK_PX, left + k % BLOCK_PX
            if reference_mask[y, x] == 0:
                continue
            jx = 0.5 * (float(reference[y, x + 1]) - float(reference[y, x - 1]))
            jy = 0.5 * (float(reference[y + 1, x]) - float(reference[y - 1, x]))
            terms[b, 0, k] = 1.0
            terms[b, 1, k] = reference[y, x]
            terms[b, 2, k], terms[b, 3, k] = jx, jy
            terms[b, 4, k] = (jy * (x - cx) - jx * (y - cy)) * per_turn
        _sum_reference(terms[b], seen, own[b])


@kernel(f"void({_MATRIX}, float64[::1], float64[::1])")
def _sum_present(block: Numbers, present: Numbers, sums: Numbers) -> None:
    """The other sums of ``block_sums`` over one block; ``present``: c, 0 where it is not seen."""
    total = np.zeros(6 * BLOCK_PX)
    for start in range(0, BLOCK_PX * BLOCK_PX, BLOCK_PX):
        for i in range(BLOCK_PX):
            k = start + i
            c = present[k] * block[0, k]
            total[i] += c
            total[BLOCK_PX + i] += c * c
            total[2 * BLOCK_PX + i] += c * block[1, k]
            total[3 * BLOCK_PX + i] += c * block[2, k]
            total[4 * BLOCK_PX + i] += c * block[3, k]
            total[5 * BLOCK_PX + i] += c * block[4, k]
    for term, at in enumerate((1, 3, 5, 9, 10, 11)):
        sums[at] = total[term * BLOCK_PX : (term + 1) * BLOCK_PX].sum()


@kernel(f"boolean({_MASK}, {_MATRIX}, int64, int64)")
def _all_seen(clear: Mask, matrix: Numbers, left: int, top: int) -> bool:
    """Whether a block surely lies within the present picture and its mask; ``clear``: as for ``block_sums``."""
    h, w = clear.shape
    right, bottom = left + BLOCK_PX - 1, top + BLOCK_PX - 1
    x0, y0, x1, y1 = inf, inf, -inf, -inf
    for x, y in ((left, top), (right, top), (left, bottom), (right, bottom)):
        px = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]
        py = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]
        x0, y0, x1, y1 = min(x0, px), min(y0, py), max(x1, px), max(y1, py)
    # A pixel further out than its corners, which rounding may reach.
    if not (x0 >= 1.0 and y0 >= 1.0 and x1 < w - 2.0 and y1 < h - 2.0):
        return False
    return max(x1 - x0, y1 - y0) <= CLEAR_PX - 4 and clear[int(y0) - 1, int(x0) - 1] != 0


@kernel(f"void({_TERMS}, {_MATRIX}, {_IMAGE}, {_MASK}, {_MASK}, {_MATRIX}, {_BLOCKS}, float64[:, ::1])")
def block_sums(
    terms: Terms,
    own: Numbers,
    present: Image,
    present_mask: Mask,
    clear: Mask,
    matrix: Numbers,
    blocks: NDArray[np.int32],
    sums: Numbers,
) -> None:
    """Fill ``sums``, shape (blocks, SUMS), over the pixels of each block that both masks allow.

    ``matrix`` (2, 3) maps reference (x, y, 1) to present (x, y). c: present value there (bilinear), t: reference
    value, j: derivative of t for a shift in x, in y, and for a turn about the reference's centre, scaled to be one
    pixel at a quarter of its width. ``blocks``: (n, 2) top-left corners x, y, at least 1 px from the border.
    ``terms``, ``own``: as ``block_terms`` gives them: where all of a block is seen only the rest must be summed.
    ``clear``: not 0 where ``present_mask`` is so over CLEAR_PX² pixels of which that one is the first.
    """
    h, w = present.shape
    if h < 2 or w < 2:
        sums[:] = 0.0
        return
    values, masked = present.ravel(), present_mask.ravel()
    width, height, stride, columns = float(w), float(h), np.uint64(w), np.int32(w)
    m00, m01, m02 = matrix[0, 0], matrix[0, 1], matrix[0, 2]
    m10, m11, m12 = matrix[1, 0], matrix[1, 1], matrix[1, 2]
    c, seen = np.empty(BLOCK_PX * BLOCK_PX), np.empty(BLOCK_PX * BLOCK_PX)
    at, fx, fy = np.empty(BLOCK_PX, dtype=np.int32), np.empty(BLOCK_PX), np.empty(BLOCK_PX)
    corner = np.empty(4 * BLOCK_PX, dtype=np.float32)
    for b in range(len(blocks)):
        left, top = blocks[b, 0], blocks[b, 1]
        all_seen = _all_seen(clear, matrix, left, top)
        # A row at a time, and what can be in steps of their own: so they are done for several pixels at once.
        for row in range(BLOCK_PX):
            y, start = top + row, row * BLOCK_PX
            if all_seen:
                for i in range(BLOCK_PX):
                    px, py = m00 * (left + i) + m01 * y + m02, m10 * (left + i) + m11 * y + m12
                    # Not negative here, so that to cut is to round down.
                    into_x, into_y = np.int32(px), np.int32(py)
                    fx[i], fy[i] = px - into_x, py - into_y
                    at[i] = into_y * columns + into_x
            else:
                for i in range(BLOCK_PX):
                    px, py = m00 * (left + i) + m01 * y + m02, m10 * (left + i) + m11 * y + m12
                    ix, iy = min(max(np.floor(px), 0.0), width - 2.0), min(max(np.floor(py), 0.0), height - 2.0)
                    fx[i], fy[i] = px - ix, py - iy
                    at[i] = np.int32(iy * width + ix)
                    is_inside = (px >= 0.0) & (py >= 0.0) & (px < width - 1.0) & (py < height - 1.0)
                    seen[start + i] = 1.0 if is_inside else 0.0
                for i in range(BLOCK_PX):
                    first = np.uint64(at[i])
                    if (masked[first] == 0) | (masked[first + stride + np.uint64(1)] == 0):
                        seen[start + i] = 0.0
            for i in range(BLOCK_PX):
                # Unsigned, or each would be asked whether it counts from the end.
                first = np.uint64(at[i])
                corner[i], corner[BLOCK_PX + i] = values[first], values[first + np.uint64(1)]
                corner[2 * BLOCK_PX + i] = values[first + stride]
                corner[3 * BLOCK_PX + i] = values[first + stride + np.uint64(1)]
            for i in range(BLOCK_PX):
                upper = corner[i] * (1.0 - fx[i]) + corner[BLOCK_PX + i] * fx[i]
                lower = corner[2 * BLOCK_PX + i] * (1.0 - fx[i]) + corner[3 * BLOCK_PX + i] * fx[i]
                c[start + i] = upper * (1.0 - fy[i]) + lower * fy[i]
        if all_seen:
            for k in range(SUMS):
                sums[b, k] = own[b, k]
        else:
            for k in range(BLOCK_PX * BLOCK_PX):
                c[k] *= seen[k]
            _sum_reference(terms[b], seen, sums[b])
        _sum_present(terms[b], c, sums[b])


@kernel(f"float64({_MATRIX}, {_MATRIX}, float64[::1], float64[::1])")
def _weighed(normal: Numbers, right: Numbers, weight: Numbers, step: Numbers) -> float:
    """Fill ``step`` with what the blocks want together, and return the largest variance of its parts for noise one.

    ``normal``: (blocks, 6) xx, xy, xa, yy, ya, aa. ``right``: (blocks, 3).
    """
    xx = xy = xa = yy = ya = aa = 0.0
    x = y = a = 0.0
    for b in range(len(weight)):
        xx += weight[b] * normal[b, 0]
        xy += weight[b] * normal[b, 1]
        xa += weight[b] * normal[b, 2]
        yy += weight[b] * normal[b, 3]
        ya += weight[b] * normal[b, 4]
        aa += weight[b] * normal[b, 5]
        x += weight[b] * right[b, 0]
        y += weight[b] * right[b, 1]
        a += weight[b] * right[b, 2]
    ridge = 1e-9 + 1e-6 * (xx + yy + aa)
    xx, yy, aa = xx + ridge, yy + ridge, aa + ridge
    # The inverse of a symmetric matrix of three rows, from its cofactors.
    cxx, cxy, cxa = yy * aa - ya * ya, xa * ya - xy * aa, xy * ya - xa * yy
    cyy, cya, caa = xx * aa - xa * xa, xa * xy - xx * ya, xx * yy - xy * xy
    determinant = xx * cxx + xy * cxy + xa * cxa
    step[0] = (cxx * x + cxy * y + cxa * a) / determinant
    step[1] = (cxy * x + cyy * y + cya * a) / determinant
    step[2] = (cxa * x + cya * y + caa * a) / determinant
    return max(abs(cxx), abs(cyy), abs(caa)) / abs(determinant)


@kernel(f"Tuple((float64, float64))({_MATRIX}, float64[::1], float64[::1], float64[::1])")
def common_step(sums: Numbers, step: Numbers, ncc: Numbers, stray: Numbers) -> tuple[float, float]:
    """The ``step`` (x, y, turn) that most blocks want; its standard error in pixels and the reachable correlation.

    ``sums``: (blocks, SUMS) of blocks that are seen. ``ncc``: filled with each block's normalised correlation as it
    lies now. ``stray``: with the square of how far it lies from where it would rather lie, noise taken off.
    """
    blocks = len(sums)
    var_c, var_t, cov = np.empty(blocks), np.empty(blocks), np.empty(blocks)
    for b in range(blocks):
        n, c, t, cc, tt, ct = sums[b, 0], sums[b, 1], sums[b, 2], sums[b, 3], sums[b, 4], sums[b, 5]
        var_c[b], var_t[b] = max(cc - c * c / n, 1e-12), max(tt - t * t / n, 1e-12)
        cov[b] = ct - c * t / n
        ncc[b] = cov[b] / np.sqrt(var_c[b] * var_t[b])
    # One gain for the whole picture: brightness control and display curves change contrast everywhere.
    alike = ncc > AGREE_NCC
    # The present pulse's noise is not gain: where blocks lie well, what they have in common tells.
    gains = (cov / var_t)[alike] if alike.sum() >= LEAST_BLOCKS else np.sqrt(var_c / var_t)
    gain = min(max(median_in_place(gains), 0.2), 5.0)
    # The reference is a mean, the present pulse is not: of its variance, so much is what both show.
    reachable_ncc = min(1.0, gain * median_in_place(np.sqrt(var_t / var_c)))

    normal, right = np.empty((blocks, 6)), np.empty((blocks, 3))
    noise, own_noise, gained = np.empty(blocks), np.empty(blocks), np.empty(blocks)
    strength, weight = np.empty(blocks), np.empty(blocks)
    for b in range(blocks):
        n, c, t = sums[b, 0], sums[b, 1], sums[b, 2]
        pair = 0
        for i in range(3):
            j = sums[b, 6 + i]
            right[b, i] = (sums[b, 9 + i] - c * j / n) / gain - (sums[b, 12 + i] - t * j / n)
            for k in range(i, 3):
                normal[b, pair] = sums[b, 15 + pair] - j * sums[b, 6 + k] / n
                pair += 1
        residual = max(var_c[b] / gain**2 + var_t[b] - 2 * cov[b] / gain, 0.0)
        xx, xy, yy, x, y = normal[b, 0], normal[b, 1], normal[b, 3], right[b, 0], right[b, 1]
        strength[b] = xx + yy
        # What the residual would lose by a shift of the block's own, and what noise alone would make it lose.
        wide, high = xx + 1e-6 * strength[b], yy + 1e-6 * strength[b]
        determinant = wide * high - xy * xy
        gained[b] = (high * x * x - 2.0 * xy * x * y + wide * y * y) / determinant if determinant > 0.0 else 0.0
        noise[b] = residual / n
        own_noise[b] = max(residual - gained[b], 0.0) / n * ALIKE_PX
        # By noise alone a step of two parts gains 2 ln 2 times the noise, in the median.
        stray[b] = (gained[b] - 2.0 * log(2.0) * own_noise[b]) / (0.5 * strength[b] + 1e-12)

    usual_noise, usual_strength = median(noise), median(strength)
    for b in range(blocks):
        # Blocks that something covers fit much worse than most.
        covered = noise[b] / (3.0 * usual_noise + 1e-12)
        # The edge of something drawn is much stronger than any bone's, and would outvote it.
        loud = min(1.0, LOUDEST * usual_strength / (strength[b] + 1e-12))
        weight[b] = min(max(ncc[b], 0.03), 1.0) ** 2 / (1.0 + covered * covered) * loud
    _weighed(normal, right, weight, step)
    # Those that would fit much worse by the common step than by their own show what stands still or goes its way.
    worse = np.empty(blocks)
    for b in range(blocks):
        x, y, a = step[0], step[1], step[2]
        bend = normal[b, 0] * x * x + normal[b, 3] * y * y + normal[b, 5] * a * a
        bend += 2.0 * (normal[b, 1] * x * y + normal[b, 2] * x * a + normal[b, 4] * y * a)
        common = right[b, 0] * x + right[b, 1] * y + right[b, 2] * a - 0.5 * bend
        worse[b] = max(gained[b] - 2.0 * common, 0.0) / (own_noise[b] + 1e-12)
    usual_worse = median(worse)
    total = weighted_noise = heaviest = 0.0
    for b in range(blocks):
        stubborn = worse[b] / (STUBBORN * (2.0 + usual_worse))
        weight[b] /= 1.0 + stubborn * stubborn
        total += weight[b]
        weighted_noise += weight[b] * noise[b]
        heaviest = max(heaviest, weight[b])
    variance = _weighed(normal, right, weight, step)
    return np.sqrt(variance * weighted_noise / max(total, 1e-12) * ALIKE_PX * heaviest), reachable_ncc


@kernel(
    f"Tuple((int64, float64, float64))({_TERMS}, {_MATRIX}, {_IMAGE}, {_MASK}, {_MASK}, {_BLOCKS}, "
    "int64, int64, float64[:, ::1], float64[::1], float64[::1])"
)
def align(
    terms: Terms,
    own: Numbers,
    present: Image,
    present_mask: Mask,
    clear: Mask,
    blocks: NDArray[np.int32],
    columns: int,
    rows: int,
    matrix: Numbers,
    ncc: Numbers,
    stray: Numbers,
) -> tuple[int, float, float]:
    """Change ``matrix`` by Gauss-Newton steps until the blocks lie on the present picture.

    Arrays as for ``block_sums`` and ``common_step``; ``columns`` and ``rows`` of the reference. Returns how many blocks
    are seen, of which ``ncc`` and ``stray`` then tell; the standard error of the motion in pixels, infinite where the
    steps did not settle; and the reachable correlation. Where fewer than LEAST_BLOCKS are seen on the way it ends
    there, with an infinite error.
    """
    cx, cy = (columns - 1) / 2.0, (rows - 1) / 2.0
    all_sums, sums = np.empty((len(blocks), SUMS)), np.empty((len(blocks), SUMS))
    step = np.zeros(3)
    for count in range(STEPS + 1):
        block_sums(terms, own, present, present_mask, clear, matrix, blocks, all_sums)
        seen = 0
        for b in range(len(blocks)):
            if all_sums[b, 0] > ENOUGH_PX:
                for k in range(SUMS):
                    sums[seen, k] = all_sums[b, k]
                seen += 1
        if seen < LEAST_BLOCKS:
            return seen, inf, 1.0
        last_px = np.abs(step).max()
        error_px, reachable_ncc = common_step(sums[:seen], step, ncc[:seen], stray[:seen])
        if count == STEPS or (count > 0 and last_px < DONE_PX):
            break
        largest = np.abs(step).max()
        if largest > LONGEST_STEP_PX:
            step *= LONGEST_STEP_PX / largest
        # The matrix after the inverse of the step: a turn about the centre, and a shift.
        a = step[2] * 4.0 / columns
        c, s = cos(a), sin(a)
        m00, m01, m10, m11 = matrix[0, 0], matrix[0, 1], matrix[1, 0], matrix[1, 1]
        x, y = cx + step[0], cy + step[1]
        ox, oy = cx - (c * x + s * y), cy - (c * y - s * x)
        matrix[0, 2] += m00 * ox + m01 * oy
        matrix[1, 2] += m10 * ox + m11 * oy
        matrix[0, 0], matrix[0, 1] = m00 * c - m01 * s, m00 * s + m01 * c
        matrix[1, 0], matrix[1, 1] = m10 * c - m11 * s, m10 * s + m11 * c
    return seen, error_px if last_px <= SETTLED_PX else inf, reachable_ncc


@kernel(f"Tuple((int64, float64))({_IMAGE}, {_MASK}, {_IMAGE}, {_MASK})")
def correlation(now: Image, now_mask: Mask, before: Image, before_mask: Mask) -> tuple[int, float]:
    """How two pictures of one shape correlate where both masks allow, over every other row and column.

    Returns of how many pixels, and Pearson's coefficient; NaN where one of them is of one value there.
    """
    n = 0
    x = y = xx = yy = xy = 0.0
    for row in range(0, now.shape[0], 2):
        for column in range(0, now.shape[1], 2):
            use = (now_mask[row, column] != 0) & (before_mask[row, column] != 0)
            a = float(now[row, column]) if use else 0.0
            b = float(before[row, column]) if use else 0.0
            n += use
            x += a
            y += b
            xx += a * a
            yy += b * b
            xy += a * b
    if n == 0:
        return 0, np.nan
    return n, (xy - x * y / n) / np.sqrt((xx - x * x / n) * (yy - y * y / n))
