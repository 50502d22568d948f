"""Kernels that find long thin straight lines in a coarse map of what has been added."""

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel
from guidance.vision.kernels.median import part_in_place

Plane = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Flat = NDArray[np.float32]
Ways = NDArray[np.int32]

_PLANE = 'Array(float32, 2, "C", readonly=True)'
_BYTES = 'Array(uint8, 2, "C", readonly=True)'
_OUT = "float32[:, ::1]"
_DIRECTIONS = 24
_GAP = 3
"""So many cells in a row that show nothing end a line."""

_MISS, _HIT, _BLIND, _BEYOND, _KNOWN = np.uint8(1), np.uint8(2), np.uint8(4), np.uint8(8), np.uint8(16)
"""What a cell says for a line, a bit each: counting adds bits, so that there is no branch to be guessed wrong."""
_ONE = np.int32(1)
_KIND_BITS = np.uint32(19)
_FINITE_KINDS = 0x7F800000 >> 19
"""Sizes of one kind differ by a sixteenth: they have all bits but so many lower ones in common. Infinity is none."""


@kernel(f"Tuple((uint8[::1], float32[::1]))({_PLANE}, {_PLANE}, {_BYTES}, float32)")
def _shown(z: Plane, age: Plane, known: Bytes, hit: float) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """What each cell says, and how old it is, row by row, with a frame of one cell that is beyond: ((h + 2) * (w + 2),)

    A hit is marked where it is ``known``.
    """
    h, w = z.shape
    out, years = np.full((h + 2, w + 2), _BEYOND, dtype=np.uint8), np.zeros((h + 2, w + 2), dtype=np.float32)
    for r in range(h):
        for c in range(w):
            value = z[r, c]
            of_hit = _HIT | _KNOWN if known[r, c] != 0 else _HIT
            out[r + 1, c + 1] = of_hit if value > hit else (_MISS if abs(value) < np.inf else _BLIND)
        years[r + 1, 1 : w + 1] = age[r]
    return out.ravel(), years.ravel()


@kernel("int32[:, :, ::1](float32[:, ::1], int64, int64)")
def _ways(steps: Plane, h: int, w: int) -> Ways:
    """How far on in ``_shown`` each step lies, both ways in each direction: (directions, 2, steps)."""
    most = int(1.5 * max(h, w)) + 2
    out = np.empty((steps.shape[0], 2, most), dtype=np.int32)
    half = np.float32(0.5)
    for k in range(steps.shape[0]):
        for way in range(2):
            for n in range(most):
                place = (1 - 2 * way) * (n + 1)
                r, c = np.floor(place * steps[k, 0] + half), np.floor(place * steps[k, 1] + half)
                out[k, way, n] = int(r) * (w + 2) + int(c)
    return out


@kernel(f"void({_PLANE}, {_BYTES}, {_BYTES}, {_BYTES}, float32, float32, float32, {_OUT}, {_OUT})")
def follow(
    pulse: Plane,
    steel: Bytes,
    beyond: Bytes,
    deposits: Bytes,
    slow: float,
    fast: float,
    sigma: float,
    mean: Plane,
    z: Plane,
) -> None:
    """Take a pulse into ``mean``, in place. ``z``: the mean where it tells, see ``lines``.

    A cell's weight is ``slow``; where the pulse departs from the mean by k times ``sigma`` it rises to k², at most
    ``fast``. It does not tell where ``steel``, ``beyond`` or ``deposits`` is not 0.
    """
    for r in range(pulse.shape[0]):
        for c in range(pulse.shape[1]):
            departs = pulse[r, c] - mean[r, c]
            weight = min(max(departs * departs / (sigma * sigma), slow), fast)
            mean[r, c] += departs * weight
            is_blind = (steel[r, c] | beyond[r, c]) != 0
            value = np.float32(np.nan) if is_blind else mean[r, c]
            z[r, c] = np.float32(-np.inf) if deposits[r, c] != 0 else value


@kernel(f"float32({_PLANE})")
def median_size(values: Plane) -> float:
    """The median of how large the values are, whatever their sign; nan where none is finite.

    Sizes are sorted by their upper bits, which run as they do, and only those of the middle kind further.
    """
    bits = values.view(np.uint32)
    counts = np.zeros(1 << 12, dtype=np.int32)
    told = 0
    for r in range(values.shape[0]):
        for c in range(values.shape[1]):
            kind = (bits[r, c] & np.uint32(0x7FFFFFFF)) >> _KIND_BITS
            counts[kind] += 1
    for kind in range(_FINITE_KINDS):
        told += counts[kind]
    if told == 0:
        return np.nan
    lower, upper = (told - 1) // 2, told // 2
    before, kind = 0, 0
    while before + counts[kind] <= lower:
        before += counts[kind]
        kind += 1
    last, size = kind, counts[kind]
    while before + size <= upper:
        last += 1
        size += counts[last]
    middle = np.empty(size, dtype=np.float32)
    n = 0
    for r in range(values.shape[0]):
        for c in range(values.shape[1]):
            own = (bits[r, c] & np.uint32(0x7FFFFFFF)) >> _KIND_BITS
            if own >= kind and own <= last:
                middle[n] = abs(values[r, c])
                n += 1
    part_in_place(middle, upper - before)
    above = middle[upper - before]
    below = above if lower == upper else middle[: upper - before].max()
    return float((below + above) / np.float32(2.0))


@kernel(f"void({_OUT}, float32, float32, float32, {_OUT})")
def grow_older(z: Plane, most: float, hit: float, oldest: float, age: Plane) -> None:
    """Cut ``z`` off at ``most``, in place; ``age``: for how many pulses each cell has had more than ``hit``.

    It falls by one with each pulse that does not show it, and rises to ``oldest``.
    """
    for r in range(z.shape[0]):
        for c in range(z.shape[1]):
            z[r, c] = most if z[r, c] > most else z[r, c]
            gain = np.float32(1.0) if z[r, c] > hit else np.float32(-1.0)
            age[r, c] = min(max(age[r, c] + gain, np.float32(0.0)), oldest)


@kernel("Tuple((int64, float64))(uint8[::1], float32[::1], int32[:, ::1], int64, int64)")
def _familiarity(shown: NDArray[np.uint8], years_of: Flat, ways: Ways, start: int, least: int) -> tuple[int, float]:
    """How many hits along a line are known, and the sum of their ages. See ``_shown``, ``_ways`` and ``lines``."""
    familiar, years = int(shown[start] >> 4), float(years_of[start])
    for way in range(2):
        missed, blind, n, cell = 0, 0, 0, np.uint8(0)
        while missed < _GAP and blind < least and cell != _BEYOND:
            at = start + ways[way, n]
            cell = shown[at]
            n += 1
            if cell & _HIT:
                missed, blind = 0, 0
                familiar += cell >> 4
                years += years_of[at]
            elif cell == _MISS:
                missed += 1
                blind = 0
            else:
                blind += 1
    return familiar, years


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
    shown, years_of = _shown(z, age, known, hit)
    ways = _ways(steps, h, w)
    ends = np.zeros(2, dtype=np.int64)
    at_deposit = np.zeros(2, dtype=np.bool_)
    for r0 in range(h):
        for c0 in range(w):
            if not z[r0, c0] > seed or out[r0, c0]:
                continue
            start = (r0 + 1) * (w + 2) + c0 + 1
            for k in range(_DIRECTIONS):
                # Almost every seed is noise, so it is counted first, and only that.
                hits, told = 1, 1
                for way in range(2):
                    misses, blinds, cell, n = np.int32(0), np.int32(0), np.int32(0), 0
                    steps_on = ways[k, way]
                    while (misses < _GAP) & (blinds < least) & (cell != _BEYOND):
                        cell = np.int32(shown[np.uint32(start + steps_on[n])])
                        n += 1
                        is_miss, is_hit, is_blind = cell & _ONE, cell >> 1 & _ONE, cell >> 2 & _ONE
                        hits += int(is_hit)
                        told += int(is_hit | is_miss)
                        misses = (misses + is_miss) & (is_hit - _ONE)
                        blinds = (blinds + _ONE) & -is_blind
                if hits < least or hits < share * told:
                    continue
                familiar, years = _familiarity(shown, years_of, ways[k], start, least)
                is_new = 2 * familiar < hits
                if is_new and years > young * hits:
                    continue
                down, right = steps[k, 0], steps[k, 1]
                on = z[r0, c0]
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
                            on += value
                            ends[way], at_deposit[way] = n, False
                        elif not np.isfinite(value):
                            blind += 1
                            at_deposit[way] |= value == -np.inf
                        else:
                            blind = 0
                            missed += 1
                            on += value
                beside = np.zeros((2, 2))
                place, place_2, place_years = 0.0, 0.0, 0.0
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
                        place_years += n * age[r, c]
                mean_beside = beside[:, 0] / np.maximum(beside[:, 1], 1)
                slope = (hits * place_years - place * years) / (hits * place_2 - place * place)
                if mean_beside.max() > half * on / told or abs(slope) * (ends[0] - ends[1]) > order:
                    continue
                if is_new and (at_deposit[0] or at_deposit[1]):
                    continue
                for n in range(ends[1], ends[0] + 1):
                    out[int(np.floor(r0 + n * down + half)), int(np.floor(c0 + n * right + half))] = 255
                break
    return out
