"""Kernel that finds long thin straight lines in a coarse map of what has been added."""

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel

Plane = NDArray[np.float32]
Bytes = NDArray[np.uint8]

_PLANE = 'Array(float32, 2, "C", readonly=True)'
_BYTES = 'Array(uint8, 2, "C", readonly=True)'
_DIRECTIONS = 24
_GAP = 3
"""So many cells in a row that show nothing end a line."""


@kernel(f"uint8[:, ::1]({_PLANE}, {_PLANE}, {_BYTES}, float32, float32, int64, float32, int64, float32, float32)")
def lines(
    z: Plane,
    age: Plane,
    known: Bytes,
    seed: float,
    hit: float,
    least: int,
    share: float,
    aside: int,
    young: float,
    order: float,
) -> Bytes:
    """255 on straight lines, (h, w).

    A line goes on both ways from a cell with ``z`` > ``seed``, until three cells in a row have no more than ``hit``;
    for less than ``least`` cells in a row it goes on where ``z`` does not tell: not a number on steel, minus infinity
    on a deposit. It is a line where at least ``least`` cells and ``share`` of all that
    tell have more, and ``aside`` cells to either side less than half as much as on it, on average, a deposit as much.
    It must have come at once: by ``age``, for how many pulses each cell has had more than ``hit``, the straight line
    through the ages rises by no more than ``order`` from end to end. And half of the cells are ``known``, not 0, or
    the ages are on average no more than ``young`` and it does not end at a deposit.
    """
    h, w = z.shape
    out = np.zeros((h, w), dtype=np.uint8)
    steps = np.empty((_DIRECTIONS, 2), dtype=np.float32)
    for k in range(_DIRECTIONS):
        steps[k, 0] = np.sin(np.pi * k / _DIRECTIONS)
        steps[k, 1] = np.cos(np.pi * k / _DIRECTIONS)
    half = np.float32(0.5)
    ends = np.zeros(2, dtype=np.int64)
    at_deposit = np.zeros(2, dtype=np.bool_)
    for r0 in range(h):
        for c0 in range(w):
            if not z[r0, c0] > seed or out[r0, c0]:
                continue
            for k in range(_DIRECTIONS):
                down, right = steps[k, 0], steps[k, 1]
                hits, told, familiar, on = 1, 1, int(known[r0, c0] > 0), z[r0, c0]
                for way in range(2):
                    sign = 1 - 2 * way
                    n, missed, blind = 0, 0, 0
                    ends[way], at_deposit[way] = 0, False
                    while missed < _GAP and blind < least:
                        n += sign
                        r = int(np.floor(r0 + n * down + half))
                        c = int(np.floor(c0 + n * right + half))
                        if r < 0 or r >= h or c < 0 or c >= w:
                            break
                        value = z[r, c]
                        if value > hit:
                            missed, blind = 0, 0
                            told += 1
                            on += value
                            hits += 1
                            ends[way], at_deposit[way] = n, False
                            familiar += int(known[r, c] > 0)
                        elif not np.isfinite(value):
                            blind += 1
                            at_deposit[way] |= value == -np.inf
                        else:
                            blind = 0
                            missed += 1
                            told += 1
                            on += value
                if hits < least or hits < share * told:
                    continue
                beside = np.zeros((2, 2))
                place, place_2, years, place_years = 0.0, 0.0, 0.0, 0.0
                for n in range(ends[1], ends[0] + 1):
                    for side in range(2):
                        across = aside * (1 - 2 * side)
                        r = int(np.floor(r0 + n * down + across * right + half))
                        c = int(np.floor(c0 + n * right - across * down + half))
                        if r >= 0 and r < h and c >= 0 and c < w and not np.isnan(z[r, c]):
                            beside[side, 0] += on / told if z[r, c] == -np.inf else z[r, c]
                            beside[side, 1] += 1
                    r = int(np.floor(r0 + n * down + half))
                    c = int(np.floor(c0 + n * right + half))
                    if z[r, c] > hit:
                        place += n
                        place_2 += n * n
                        years += age[r, c]
                        place_years += n * age[r, c]
                mean_beside = beside[:, 0] / np.maximum(beside[:, 1], 1)
                slope = (hits * place_years - place * years) / (hits * place_2 - place * place)
                if mean_beside.max() > half * on / told or abs(slope) * (ends[0] - ends[1]) > order:
                    continue
                if 2 * familiar < hits and (years > young * hits or at_deposit[0] or at_deposit[1]):
                    continue
                for n in range(ends[1], ends[0] + 1):
                    out[int(np.floor(r0 + n * down + half)), int(np.floor(c0 + n * right + half))] = 255
                break
    return out
