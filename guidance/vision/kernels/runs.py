"""Kernels that follow a thin run of cement through noise: how far evidence carries, and how an arm has come."""

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel

Plane = NDArray[np.float32]
Bytes = NDArray[np.uint8]

_PLANE = 'Array(float32, 2, "C", readonly=True)'
_BRIDGED = np.float32(0.25)
_BYTES = 'Array(uint8, 2, "C", readonly=True)'
_TABLE = 'Array(float64, 2, "C", readonly=True)'
_LINE = 'Array(float64, 1, "C", readonly=True)'


@kernel(f"float32[:, ::1]({_PLANE}, {_BYTES}, {_BYTES}, float32)")
def carried(evidence: Plane, source: Bytes, bridge: Bytes, most: float) -> Plane:
    """How much evidence is left where a path from ``source`` arrives that spends it in gaps: (h, w), 0 out of reach.

    It starts with ``most`` pixels' worth, and each pixel as strong as asked for (``evidence`` >= 1) renews it. A
    weaker one takes up to one pixel's worth per pixel of way. On ``bridge`` nothing is seen: a pixel takes a quarter.
    The best path to each pixel counts.
    """
    h, w = evidence.shape
    left = np.zeros((h, w), dtype=np.float32)
    queued = np.zeros((h, w), dtype=np.uint8)
    room = h * w + 1
    queue = np.empty(room, dtype=np.int64)
    first, last = 0, 0
    for r in range(h):
        for c in range(w):
            if source[r, c]:
                left[r, c] = most
                queue[last] = r * w + c
                last += 1
                queued[r, c] = 1
    while first != last:
        r = queue[first] // w
        c = queue[first] % w
        first = (first + 1) % room
        queued[r, c] = 0
        for dr in range(-1, 2):
            for dc in range(-1, 2):
                rr = r + dr
                cc = c + dc
                if rr < 0 or rr >= h or cc < 0 or cc >= w or left[rr, cc] >= most:
                    continue
                lost = _BRIDGED
                if not bridge[rr, cc]:
                    lost = np.float32(1.0) - max(evidence[rr, cc], np.float32(0.0))
                way = np.float32(1.0) if dr == 0 or dc == 0 else np.float32(1.41421356)
                there = most if lost <= np.float32(0.0) else left[r, c] - way * lost
                if there > left[rr, cc]:
                    left[rr, cc] = there
                    if not queued[rr, cc]:
                        queued[rr, cc] = 1
                        queue[last] = rr * w + cc
                        last = (last + 1) % room
    return left


@kernel(f"float64[::1]({_TABLE}, {_LINE}, {_LINE}, int64, float64, int64)")
def advance(
    gain: NDArray[np.float64], ago: NDArray[np.float64], speeds: NDArray[np.float64], least: int, base: float, rest: int
) -> NDArray[np.float64]:
    """How much likelier it is that an arm has advanced than that it was there, came at once, or is none.

    ``gain``: (pulses, places from the body outwards), by how much a pulse makes it likelier that the arm lies at a
    place. ``ago``: how long ago each pulse was. ``speeds``: to be tried, in places per unit of ``ago``. An arm that has
    come is as long as an advance explains best, ``least`` places or more, and has had up to a ``base`` share of its
    length all the while; one that was there may be shorter. An advance may have come to rest on one of the last
    ``rest`` pulses. Log of the ratio, speed, length in places: (3,).
    """
    pulses, places = gain.shape
    before = np.zeros((pulses, places + 1))
    for k in range(pulses):
        for i in range(places):
            before[k, i + 1] = before[k, i] + gain[k, i]
    best = np.array([-np.inf, 0.0, 0.0])
    for length in range(least, places + 1):
        for stood in range(int(base * length) + 1):
            for speed in speeds:
                for last in range(max(0, pulses - rest), pulses):
                    total = 0.0
                    for k in range(pulses):
                        back = int(speed * max(ago[k] - ago[last], 0.0) + 0.5)
                        total += before[k, max(stood, length - back)]
                    if total > best[0]:
                        best[0], best[1], best[2] = total, speed, length
    length = int(best[2])
    otherwise = 0.0
    for stood in range(length + 1):
        total = 0.0
        for k in range(pulses):
            total += before[k, stood]
        otherwise = max(otherwise, total)
        if stood <= int(base * length):
            for k in range(pulses - 1, -1, -1):
                total += before[k, length] - before[k, stood]
                otherwise = max(otherwise, total)
    best[0] -= otherwise
    return best
