"""Kernels that follow objects which were laid into the picture: where they have gone from, and where they rest.

All work in a box of the grid, whose first row and column are ``top`` and ``left``; ``out`` has its shape. Each row is
cut to the box first: columns counted from there need no check and are taken many at a time.
"""

from math import inf

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel

Plane = NDArray[np.float32]
Bytes = NDArray[np.uint8]

_PLANE = 'Array(float32, 2, "C", readonly=True)'


@kernel(
    f"int64({_PLANE}, float32, float32, float32, int64, int64, uint8[:, ::1], uint8[:, ::1], float32[:, ::1], "
    "uint8[:, ::1])"
)
def leave(
    z: Plane,
    grow: float,
    t_s: float,
    lately_s: float,
    top: int,
    left: int,
    plain: Bytes,
    mask: Bytes,
    left_s: Plane,
    out: Bytes,
) -> int:
    """Take out of ``mask`` where ``z`` is below ``grow``; ``left_s`` is ``t_s`` where that was ``plain``ly there.

    255 in ``out`` where ``left_s`` is later than ``lately_s``, else 0; on how many pixels.
    """
    h, w = out.shape
    total = 0
    for r in range(h):
        sigmas, was_plain = z[top + r][left : left + w], plain[top + r][left : left + w]
        own, since = mask[top + r][left : left + w], left_s[top + r][left : left + w]
        row = np.int32(0)
        for c in range(w):
            is_gone = sigmas[c] < grow
            since[c] = t_s if is_gone & (was_plain[c] != 0) else since[c]
            own[c] = np.uint8(0) if is_gone else own[c]
            is_late = since[c] > lately_s
            out[r, c] = np.uint8(255) if is_late else np.uint8(0)
            row += np.int32(is_late)
        total += int(row)
    return total


@kernel(
    f"int64({_PLANE}, float32, float32, int64, int64, uint8[:, ::1], uint8[:, ::1], float32[:, ::1], uint8[:, ::1])"
)
def rest(
    z: Plane, seed: float, passed_s: float, top: int, left: int, plain: Bytes, mask: Bytes, moved_s: Plane, out: Bytes
) -> int:
    """255 in ``out`` where the mask has moved, but not since ``passed_s``, else 0; on how many pixels.

    What rests has not moved any more: its ``moved_s`` is forgotten. ``plain``: of the mask, what was plainly there or
    is, with ``z`` above ``seed``.
    """
    h, w = out.shape
    total = 0
    for r in range(h):
        sigmas, own = z[top + r][left : left + w], mask[top + r][left : left + w]
        plainly, moved = plain[top + r][left : left + w], moved_s[top + r][left : left + w]
        row = np.int32(0)
        for c in range(w):
            rests = (own[c] != 0) & (moved[c] > -inf) & (moved[c] < passed_s)
            moved[c] = np.float32(-inf) if rests else moved[c]
            out[r, c] = np.uint8(255) if rests else np.uint8(0)
            plainly[c] = own[c] if (plainly[c] != 0) | (sigmas[c] > seed) else np.uint8(0)
            row += np.int32(rests)
        total += int(row)
    return total
