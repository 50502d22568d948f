"""Shortest paths over a small patch of pixels: the centre-line of a nerve root."""

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel

Plane = NDArray[np.float32]
Steps = NDArray[np.int32]


@kernel('float32[:, ::1](Array(float32, 2, "C", readonly=True), int64, int64, int32[:, ::1])')
def paths_from(cost: Plane, row: int, column: int, previous: Steps) -> Plane:
    """The cheapest way from one pixel to every other (Dijkstra, 1959): total cost, infinite where unreachable.

    ``cost``: (h, w) float32, a pixel's cost for each unit of way through it; infinite outside. A step to one of the
    eight neighbours costs its length times the mean of both. ``previous``, filled: the flat index of the pixel
    before, -1 where there is none.
    """
    h, w = cost.shape
    total = np.full((h, w), np.inf, dtype=np.float32)
    previous[:] = -1
    # Every pixel inside is entered from each of its neighbours at most.
    inside = 0
    for r in range(h):
        for c in range(w):
            inside += 1 if np.isfinite(cost[r, c]) else 0
    heap_cost = np.empty(8 * inside + 8, dtype=np.float32)
    heap_at = np.empty(8 * inside + 8, dtype=np.int64)
    total[row, column] = 0.0
    heap_cost[0] = 0.0
    heap_at[0] = row * w + column
    size = 1
    while size > 0:
        here_cost = heap_cost[0]
        here = heap_at[0]
        size -= 1
        moved_cost = heap_cost[size]
        moved_at = heap_at[size]
        i = 0
        while True:
            child = 2 * i + 1
            if child >= size:
                break
            if child + 1 < size and heap_cost[child + 1] < heap_cost[child]:
                child += 1
            if heap_cost[child] >= moved_cost:
                break
            heap_cost[i] = heap_cost[child]
            heap_at[i] = heap_at[child]
            i = child
        heap_cost[i] = moved_cost
        heap_at[i] = moved_at
        r = here // w
        c = here % w
        if here_cost > total[r, c]:
            continue
        for dr in range(-1, 2):
            for dc in range(-1, 2):
                rr = r + dr
                cc = c + dc
                if (dr == 0 and dc == 0) or rr < 0 or rr >= h or cc < 0 or cc >= w:
                    continue
                if not np.isfinite(cost[rr, cc]):
                    continue
                length = np.float32(1.0) if dr == 0 or dc == 0 else np.float32(1.41421356)
                there = here_cost + length * np.float32(0.5) * (cost[r, c] + cost[rr, cc])
                if there < total[rr, cc]:
                    total[rr, cc] = there
                    previous[rr, cc] = here
                    i = size
                    size += 1
                    while i > 0:
                        parent = (i - 1) // 2
                        if heap_cost[parent] <= there:
                            break
                        heap_cost[i] = heap_cost[parent]
                        heap_at[i] = heap_at[parent]
                        i = parent
                    heap_cost[i] = there
                    heap_at[i] = rr * w + cc
    return total


@kernel('int64[::1](Array(int32, 2, "C", readonly=True), int64, int64)')
def way_to(previous: Steps, row: int, column: int) -> NDArray[np.int64]:
    """The way that leads to a pixel, from it back to where ``paths_from`` began: flat indices, (n,)."""
    steps = 0
    at = row * previous.shape[1] + column
    while at >= 0:
        at = previous[at // previous.shape[1], at % previous.shape[1]]
        steps += 1
    way = np.empty(steps, dtype=np.int64)
    at = row * previous.shape[1] + column
    for i in range(steps):
        way[i] = at
        at = previous[at // previous.shape[1], at % previous.shape[1]]
    return way
