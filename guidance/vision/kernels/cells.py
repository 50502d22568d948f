"""Kernels that average a plane over coarser cells, whatever the ratio of the two grids."""

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel

Plane = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Index = NDArray[np.uint32]

_PLANE = 'Array(float32, 2, "C", readonly=True)'
_BYTES = 'Array(uint8, 2, "C", readonly=True)'
_INDEX = 'Array(uint32, 1, "C", readonly=True)'
_SPANS = f"{_INDEX}, {_PLANE}, {_INDEX}, {_PLANE}"


# Rows first: what is left for the pass along them, which has to gather, is as short as the result.
@kernel(f"void({_PLANE}, {_SPANS}, float32[:, ::1])")
def averages(plane: Plane, top: Index, down: Plane, left: Index, across: Plane, out: Plane) -> None:
    """``out``: what ``plane`` has on average in each cell.

    A cell's rows begin at ``top``, one a row of cells, and count as much as ``down`` says: (most rows, rows of cells).
    ``left`` and ``across`` likewise.
    """
    line = np.empty(plane.shape[1], dtype=np.float32)
    total = np.empty(left.shape[0], dtype=np.float32)
    for i in range(top.shape[0]):
        row, share = plane[top[i]], down[0, i]
        for c in range(line.shape[0]):
            line[c] = share * row[c]
        for t in range(1, down.shape[0]):
            row, share = plane[top[i] + t], down[t, i]
            for c in range(line.shape[0]):
                line[c] += share * row[c]
        total[:] = 0
        for t in range(across.shape[0]):
            ahead, shares = line[t:], across[t]
            for j in range(left.shape[0]):
                total[j] += shares[j] * ahead[left[j]]
        for j in range(left.shape[0]):
            out[i, j] = total[j]


@kernel(f"void({_BYTES}, uint8, {_SPANS}, float32, uint8[:, ::1])")
def touched(
    mask: Bytes, absent: int, top: Index, down: Plane, left: Index, across: Plane, least: float, out: Bytes
) -> None:
    """``out``: 255 on cells of which more than a share of ``least`` is not as ``absent`` in ``mask``, 0 elsewhere.

    The others: see ``averages``.
    """
    line = np.empty(mask.shape[1], dtype=np.float32)
    total = np.empty(left.shape[0], dtype=np.float32)
    for i in range(top.shape[0]):
        present = np.uint8(0)
        for t in range(down.shape[0]):
            row = mask[top[i] + t]
            for c in range(line.shape[0]):
                present |= row[c] ^ absent
        out[i] = 0
        if present == 0:
            continue
        line[:] = 0
        for t in range(down.shape[0]):
            row, share = mask[top[i] + t], down[t, i]
            for c in range(line.shape[0]):
                line[c] += share if row[c] != absent else np.float32(0.0)
        total[:] = 0
        for t in range(across.shape[0]):
            ahead, shares = line[t:], across[t]
            for j in range(left.shape[0]):
                total[j] += shares[j] * ahead[left[j]]
        for j in range(left.shape[0]):
            out[i, j] = np.uint8(255) if total[j] > least else np.uint8(0)
