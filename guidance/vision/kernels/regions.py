"""Kernels that find the connected regions of what has been added, tell what each holds, and how much has gone."""

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel

Plane = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Labels = NDArray[np.int32]

_PLANE = 'Array(float32, 2, "C", readonly=True)'
_BYTES = 'Array(uint8, 2, "C", readonly=True)'
_LABELS = 'Array(int32, 2, "C", readonly=True)'
_BOXES = 'Array(int32, 2, "C", readonly=True)'
_FLOATS = 'Array(float32, 1, "C", readonly=True)'
_FLAGS = 'Array(uint8, 1, "C", readonly=True)'


@kernel(f"void({_FLOATS}, {_FLOATS}, {_FLAGS}, {_FLAGS}, float32, float32, float32, int32[::1])")
def _mark(
    z: Plane, added: Plane, foreign: Bytes, standing: Bytes, grow: float, stay: float, least: float, labels: Labels
) -> None:
    """-1 in a row of labels where a pixel belongs to a region if that holds a seed. Without a branch: many at once."""
    for c in range(z.shape[0]):
        reaches = (z[c] > grow) | ((standing[c] != 0) & (z[c] > stay))
        labels[c] = -np.int32(reaches & (added[c] > least) & (foreign[c] == 0))


@kernel(f"int32[:, ::1]({_PLANE}, {_PLANE}, {_BYTES}, {_BYTES}, float32, float32, float32, float32, int32[:, ::1])")
def regions(
    z: Plane,
    added: Plane,
    foreign: Bytes,
    standing: Bytes,
    seed: float,
    grow: float,
    stay: float,
    least: float,
    labels: Labels,
) -> Labels:
    """Connected regions (4 neighbours) by hysteresis: shape (n, 5), columns left, top, right, bottom, area.

    A pixel belongs where z > ``grow``, or z > ``stay`` on what is ``standing``, added > ``least``, unless it is
    ``foreign``; a region needs one with z > ``seed`` or on what is standing. Right and bottom are exclusive.
    ``labels``, filled: row of the region plus one, 0 for none.
    """
    h, w = z.shape
    labels[:] = 0
    # Nearly all rows hold no seed, nor does a region reach them: a row is marked when one does.
    may_seed = np.zeros(h, dtype=np.int32)
    marked = np.zeros(h, dtype=np.uint8)
    room = 0
    low = min(grow, stay)
    for r in range(h):
        seeds, stands, high = np.int32(0), np.int32(0), np.int32(0)
        for c in range(w):
            seeds += np.int32(z[r, c] > seed)
            stands += np.int32(standing[r, c] != 0)
            high += np.int32(z[r, c] > low)
        may_seed[r] = seeds + stands
        room += int(high)
    stack = np.empty(2 * room + 1, dtype=np.int32)
    found = np.empty((may_seed.sum(), 5), dtype=np.int32)
    n = 0
    for row in range(h):
        if may_seed[row] == 0:
            continue
        if marked[row] == 0:
            _mark(z[row], added[row], foreign[row], standing[row], grow, stay, least, labels[row])
            marked[row] = 1
        for col in range(w):
            if labels[row, col] >= 0 or not (z[row, col] > seed or (standing[row, col] and z[row, col] > stay)):
                continue
            left, top, right, bottom, area = col, row, col, row, 0
            stack[0] = row * w + col
            size = 1
            while size > 0:
                size -= 1
                r = stack[size] // w
                first = stack[size] - r * w
                if labels[r, first] >= 0:
                    continue
                last = first
                while first > 0 and labels[r, first - 1] < 0:
                    first -= 1
                while last < w - 1 and labels[r, last + 1] < 0:
                    last += 1
                labels[r, first : last + 1] = n + 1
                area += last + 1 - first
                left = min(left, first)
                right = max(right, last)
                top = min(top, r)
                bottom = max(bottom, r)
                for rr in (r - 1, r + 1):
                    if rr < 0 or rr >= h:
                        continue
                    if marked[rr] == 0:
                        _mark(z[rr], added[rr], foreign[rr], standing[rr], grow, stay, least, labels[rr])
                        marked[rr] = 1
                    for c in range(first, last + 1):
                        if labels[rr, c] < 0 and (c == first or labels[rr, c - 1] >= 0):
                            stack[size] = rr * w + c
                            size += 1
            found[n, 0] = left
            found[n, 1] = top
            found[n, 2] = right + 1
            found[n, 3] = bottom + 1
            found[n, 4] = area
            n += 1
    for r in range(h):
        if marked[r]:
            for c in range(w):
                labels[r, c] = max(labels[r, c], np.int32(0))
    return found[:n].copy()


@kernel(f"int32[:, ::1]({_LABELS}, {_BOXES}, {_LABELS}, {_BYTES}, {_BYTES})")
def holdings(labels: Labels, boxes: Labels, before: Labels, standing: Bytes, unseen: Bytes) -> Labels:
    """What each region holds: (n, 7), numbers of pixels that are ``standing``, that were in no region ``before``, and
    that are fresh, and the fresh ones' left, top, right and bottom.

    ``labels`` and ``boxes``: as ``regions`` gives them. Fresh is what was in no region before, does not stand, and was
    not ``unseen`` then. Right and bottom are exclusive; with nothing fresh all four are 0.
    """
    n = boxes.shape[0]
    out = np.zeros((n, 7), dtype=np.int32)
    for i in range(n):
        left, top, right, bottom = int(boxes[i, 2]), int(boxes[i, 3]), 0, 0
        for r in range(boxes[i, 1], boxes[i, 3]):
            for c in range(boxes[i, 0], boxes[i, 2]):
                if labels[r, c] != i + 1:
                    continue
                out[i, 0] += standing[r, c] != 0
                if before[r, c] != 0:
                    continue
                out[i, 1] += 1
                if standing[r, c] == 0 and unseen[r, c] == 0:
                    out[i, 2] += 1
                    left = min(left, c)
                    top = min(top, r)
                    right = max(right, c + 1)
                    bottom = max(bottom, r + 1)
        if out[i, 2] > 0:
            out[i, 3], out[i, 4], out[i, 5], out[i, 6] = left, top, right, bottom
    return out


@kernel(f"int64({_PLANE}, {_BYTES}, {_BYTES}, float32, int64, uint8[:, ::1])")
def lighter(z: Plane, valid: Bytes, hidden: Bytes, sigmas: float, least: int, out: Bytes) -> int:
    """On how many valid pixels that are not hidden ``z`` is below -``sigmas``.

    Where they are ``least`` or more, ``out`` is filled: 255 on them, 0 elsewhere.
    """
    h, w = z.shape
    rows = np.zeros(h, dtype=np.int32)
    total = 0
    for r in range(h):
        row = np.int32(0)
        for c in range(w):
            row += np.int32(z[r, c] < -sigmas)
        if row == 0:
            continue
        row = np.int32(0)
        for c in range(w):
            row += np.int32((z[r, c] < -sigmas) & (valid[r, c] != 0) & (hidden[r, c] == 0))
        rows[r] = row
        total += int(row)
    if total < least:
        return total
    for r in range(h):
        if rows[r] == 0:
            out[r] = 0
            continue
        for c in range(w):
            has_gone = (z[r, c] < -sigmas) & (valid[r, c] != 0) & (hidden[r, c] == 0)
            out[r, c] = np.uint8(255) if has_gone else np.uint8(0)
    return total


@kernel(f"void({_LABELS}, {_BYTES}, int64, int64, uint8[:, ::1])")
def occupied(labels: Labels, deposits: Bytes, top: int, left: int, out: Bytes) -> None:
    """255 in ``out``, a box whose corner is told, where the grid has a region or a deposit, else 0."""
    h, w = out.shape
    for r in range(h):
        # A row that is cut to the box first is taken many pixels at a time.
        regions_there, deposits_there = labels[top + r][left : left + w], deposits[top + r][left : left + w]
        for c in range(w):
            is_there = (regions_there[c] != 0) | (deposits_there[c] != 0)
            out[r, c] = np.uint8(255) if is_there else np.uint8(0)
