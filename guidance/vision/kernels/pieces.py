"""Kernels on the connected pieces of an outline, as OpenCV numbers them in a box of the grid: 0 is none.

``pieces``: (h, w) int32, the box alone; ``top`` and ``left`` say where it lies. All other planes are the whole grid's,
and each of their rows is cut to the box first: columns counted from there need no check and are taken many at a time.
"""

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel

Plane = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Pieces = NDArray[np.int32]

_PLANE = 'Array(float32, 2, "C", readonly=True)'
_BYTES = 'Array(uint8, 2, "C", readonly=True)'
_PIECES = 'Array(int32, 2, "C", readonly=True)'
_FLOATS = 'Array(float32, 1, "C", readonly=True)'
_BY_PIECE = 'Array(uint8, 1, "C", readonly=True)'


@kernel(f"int32[:, ::1]({_PIECES}, int64, int64, int64)")
def about(pieces: Pieces, count: int, top: int, left: int) -> Pieces:
    """Left, top, right and bottom on the grid and area in pixels of each of ``count`` pieces: (count, 5).

    Right and bottom are exclusive. The first is the background, of which nothing is told.
    """
    h, w = pieces.shape
    out = np.zeros((count, 5), dtype=np.int32)
    out[1:, 0] = left + w
    out[1:, 1] = top + h
    for r in range(h):
        last = 0
        while last < w:
            first = last
            piece = pieces[r, first]
            while last < w and pieces[r, last] == piece:
                last += 1
            if piece != 0:
                out[piece, 0] = min(out[piece, 0], left + first)
                out[piece, 1] = min(out[piece, 1], top + r)
                out[piece, 2] = max(out[piece, 2], left + last)
                out[piece, 3] = top + r + 1
                out[piece, 4] += last - first
    return out


@kernel(f"uint8[::1]({_PIECES}, int64, int64, int64, {_BYTES})")
def eldest(pieces: Pieces, count: int, top: int, left: int, deposits: Bytes) -> NDArray[np.uint8]:
    """The least id of the ``deposits`` that each of ``count`` pieces lies on, the background too; 0 for none."""
    out = np.zeros(count, dtype=np.uint8)
    h, w = pieces.shape
    for r in range(h):
        names = deposits[top + r][left : left + w]
        for c in range(w):
            if names[c] != 0 and (out[pieces[r, c]] == 0 or names[c] < out[pieces[r, c]]):
                out[pieces[r, c]] = names[c]
    return out


@kernel(f"uint8[::1]({_PIECES}, int64, int64, int64, {_PLANE}, {_PLANE}, {_FLOATS}, {_FLOATS}, float32)")
def evident(
    pieces: Pieces,
    count: int,
    top: int,
    left: int,
    z: Plane,
    broad: Plane,
    least_sigma: NDArray[np.float32],
    least_thick: NDArray[np.float32],
    unit: float,
) -> NDArray[np.uint8]:
    """1 for each piece with a pixel where both ``z`` and ``broad`` / ``unit`` exceed what it needs, else 0."""
    out = np.zeros(count, dtype=np.uint8)
    h, w = pieces.shape
    for r in range(h):
        sigmas, thick = z[top + r][left : left + w], broad[top + r][left : left + w]
        for c in range(w):
            piece = pieces[r, c]
            if piece != 0 and sigmas[c] > least_sigma[piece] and thick[c] / unit > least_thick[piece]:
                out[piece] = 1
    return out


@kernel(f"uint8[:, ::1]({_PIECES}, int64, int64, int64, {_BYTES}, {_PLANE}, float32)")
def ages(
    pieces: Pieces, count: int, top: int, left: int, deposits: Bytes, since_s: Plane, than_s: float
) -> NDArray[np.uint8]:
    """Whether each piece lies on deposits that were first seen by ``than_s``, and on later ones: (count, 2)."""
    out = np.zeros((count, 2), dtype=np.uint8)
    h, w = pieces.shape
    for r in range(h):
        names, since = deposits[top + r][left : left + w], since_s[top + r][left : left + w]
        for c in range(w):
            if pieces[r, c] != 0 and names[c] != 0:
                out[pieces[r, c], 1 if since[c] > than_s else 0] = 1
    return out


@kernel(f"void({_PIECES}, int64, int64, {_BY_PIECE}, uint8[:, ::1])")
def paint(pieces: Pieces, top: int, left: int, values: NDArray[np.uint8], out: Bytes) -> None:
    """Each pixel of the box gets its piece's value in ``out``, the background too."""
    h, w = pieces.shape
    for r in range(h):
        painted = out[top + r][left : left + w]
        for c in range(w):
            painted[c] = values[pieces[r, c]]


@kernel(f"void({_PIECES}, int64, int64, {_BY_PIECE}, float32, uint8[:, ::1], float32[:, ::1])")
def become(
    pieces: Pieces, top: int, left: int, names: NDArray[np.uint8], t_s: float, deposits: Bytes, since_s: Plane
) -> None:
    """The pieces become ``deposits`` of these names, 0 for none, seen since ``t_s`` unless before."""
    h, w = pieces.shape
    for r in range(h):
        own, since = deposits[top + r][left : left + w], since_s[top + r][left : left + w]
        for c in range(w):
            own[c] = names[pieces[r, c]]
            since[c] = min(since[c], t_s) if own[c] != 0 else since[c]


@kernel(f"void({_PLANE}, {_PLANE}, {_BYTES}, float32, float32, float32, float32, float32, uint8[:, ::1])")
def cut(
    added: Plane,
    plateau: Plane,
    reach: Bytes,
    least_plateau: float,
    least: float,
    most: float,
    share: float,
    slope: float,
    out: Bytes,
) -> None:
    """``reach`` where ``added`` exceeds its level, else 0, in ``out``; all planes are of one box.

    The level is the ``share`` of the plateau, ``least`` or more, and no more than the greater of ``most`` and its
    ``slope``. Where the plateau is not above ``least_plateau`` there is nothing.
    """
    for r in range(out.shape[0]):
        for c in range(out.shape[1]):
            level = min(max(share * plateau[r, c], least), max(most, slope * plateau[r, c]))
            is_in = (added[r, c] > level) & (plateau[r, c] > least_plateau)
            out[r, c] = reach[r, c] if is_in else np.uint8(0)
