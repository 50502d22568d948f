"""Kernels over the pixels of the grid that contrast covered: each is a row, a column and a coarser cell."""

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel

Plane = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Indices = NDArray[np.int64]

_PLANE = 'Array(float32, 2, "C", readonly=True)'
_BYTES = 'Array(uint8, 2, "C", readonly=True)'
_INDICES = 'Array(int64, 1, "C", readonly=True)'
_FLOATS = 'Array(float32, 1, "C", readonly=True)'


@kernel(
    f"float32[:, ::1]({_INDICES}, {_INDICES}, {_INDICES}, int64, {_FLOATS}, {_FLOATS}, {_PLANE}, {_PLANE}, {_PLANE}, "
    f"{_BYTES}, {_BYTES}, float32, float32[::1])"
)
def seen_to_fade(
    rows: Indices,
    cols: Indices,
    cells: Indices,
    count: int,
    contrast: Plane,
    gone: Plane,
    broad: Plane,
    z: Plane,
    compared: Plane,
    hidden: Bytes,
    exclude: Bytes,
    grow: float,
    lightest: Plane,
) -> Plane:
    """Sums over each of ``count`` cells: of what has gone times the contrast, and of its square, (2, count).

    A pixel counts that has been ``compared``, is neither ``hidden`` nor to ``exclude`` and has not become denser: ``z``
    below ``grow``. ``gone``: what the baseline has lost already, so ``broad`` is counted from there. ``lightest``, the
    most that has gone of each pixel, is brought up to date.
    """
    sums = np.zeros((2, count))
    for i in range(rows.shape[0]):
        r, c = rows[i], cols[i]
        if exclude[r, c] == 0 and hidden[r, c] == 0 and compared[r, c] > 0 and z[r, c] < grow:
            lighter = gone[i] - broad[r, c]
            lightest[i] = max(lightest[i], lighter)
            sums[0, cells[i]] += lighter * contrast[i]
            sums[1, cells[i]] += contrast[i] * contrast[i]
    return sums.astype(np.float32)


@kernel(
    f"float32[::1]({_INDICES}, {_INDICES}, {_INDICES}, {_FLOATS}, {_FLOATS}, {_FLOATS}, {_FLOATS}, {_BYTES}, float32, "
    "float32[::1])"
)
def fade(
    rows: Indices,
    cols: Indices,
    cells: Indices,
    faded: Plane,
    there: Plane,
    contrast: Plane,
    lightest: Plane,
    deposits: Bytes,
    least: float,
    gone: Plane,
) -> Plane:
    """How much more has gone of each pixel; ``gone`` is brought up to date.

    As large a share as ``faded`` is of what was ``there`` nearby, both by cell; as before where that is no more than
    ``least``. Outside of ``deposits`` no more than the ``lightest`` that the pixel has been.
    """
    more = np.empty_like(gone)
    for i in range(rows.shape[0]):
        now = gone[i]
        if there[cells[i]] > least:
            share = min(max(faded[cells[i]] / there[cells[i]], np.float32(0.0)), np.float32(1.0))
            now = share * contrast[i]
        if deposits[rows[i], cols[i]] == 0:
            now = min(now, lightest[i])
        more[i] = now - gone[i]
        gone[i] = now
    return more
