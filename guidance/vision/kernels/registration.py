"""How well each block of a reference lies on the present picture, and where it would rather lie."""

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel

Image = NDArray[np.float32]

_IMAGE = 'Array(float32, 2, "C", readonly=True)'
_MASK = 'Array(uint8, 2, "C", readonly=True)'
_BLOCKS = 'Array(int32, 2, "C", readonly=True)'
_MATRIX = 'Array(float64, 2, "C", readonly=True)'

BLOCK_PX = 16
SUMS = 21
"""n, c, t, cc, tt, ct; jx, jy, ja; c times j; t times j; then jj: xx, xy, xa, yy, ya, aa."""


@kernel(f"void({_IMAGE}, {_MASK}, {_IMAGE}, {_MASK}, {_MATRIX}, {_BLOCKS}, float64[:, ::1])")
def block_sums(
    reference: Image,
    reference_mask: NDArray[np.uint8],
    present: Image,
    present_mask: NDArray[np.uint8],
    matrix: NDArray[np.float64],
    blocks: NDArray[np.int32],
    sums: NDArray[np.float64],
) -> None:
    """Fill ``sums``, shape (blocks, SUMS), over the pixels of each block that both masks allow.

    ``matrix`` (2, 3) maps reference (x, y, 1) to present (x, y). c: present value there (bilinear), t: reference
    value, j: derivative of t for a shift in x, in y, and for a turn about the reference's centre, scaled to be one
    pixel at a quarter of its width. ``blocks``: (n, 2) top-left corners x, y, at least 1 px from the border.
    """
    h, w = present.shape
    rows, columns = reference.shape
    cx, cy = (columns - 1) / 2.0, (rows - 1) / 2.0
    per_turn = 4.0 / columns
    m00, m01, m02 = matrix[0, 0], matrix[0, 1], matrix[0, 2]
    m10, m11, m12 = matrix[1, 0], matrix[1, 1], matrix[1, 2]
    for b in range(blocks.shape[0]):
        left, top = blocks[b, 0], blocks[b, 1]
        n = c1 = t1 = cc = tt = ct = 0.0
        sx = sy = sa = kx = ky = ka = rx = ry = ra = 0.0
        xx = xy = xa = yy = ya = aa = 0.0
        for y in range(top, top + BLOCK_PX):
            for x in range(left, left + BLOCK_PX):
                if reference_mask[y, x] == 0:
                    continue
                px = m00 * x + m01 * y + m02
                py = m10 * x + m11 * y + m12
                if px < 0.0 or py < 0.0 or px >= w - 1 or py >= h - 1:
                    continue
                ix, iy = int(px), int(py)
                if present_mask[iy, ix] == 0 or present_mask[iy + 1, ix + 1] == 0:
                    continue
                fx, fy = px - ix, py - iy
                upper = present[iy, ix] * (1.0 - fx) + present[iy, ix + 1] * fx
                lower = present[iy + 1, ix] * (1.0 - fx) + present[iy + 1, ix + 1] * fx
                c = upper * (1.0 - fy) + lower * fy
                t = float(reference[y, x])
                jx = 0.5 * (float(reference[y, x + 1]) - float(reference[y, x - 1]))
                jy = 0.5 * (float(reference[y + 1, x]) - float(reference[y - 1, x]))
                ja = (jy * (x - cx) - jx * (y - cy)) * per_turn
                n += 1.0
                c1 += c
                t1 += t
                cc += c * c
                tt += t * t
                ct += c * t
                sx += jx
                sy += jy
                sa += ja
                kx += c * jx
                ky += c * jy
                ka += c * ja
                rx += t * jx
                ry += t * jy
                ra += t * ja
                xx += jx * jx
                xy += jx * jy
                xa += jx * ja
                yy += jy * jy
                ya += jy * ja
                aa += ja * ja
        sums[b, 0], sums[b, 1], sums[b, 2], sums[b, 3], sums[b, 4], sums[b, 5] = n, c1, t1, cc, tt, ct
        sums[b, 6], sums[b, 7], sums[b, 8] = sx, sy, sa
        sums[b, 9], sums[b, 10], sums[b, 11] = kx, ky, ka
        sums[b, 12], sums[b, 13], sums[b, 14] = rx, ry, ra
        sums[b, 15], sums[b, 16], sums[b, 17] = xx, xy, xa
        sums[b, 18], sums[b, 19], sums[b, 20] = yy, ya, aa
