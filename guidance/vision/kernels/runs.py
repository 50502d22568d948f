"""Kernels that follow a thin run of cement through noise: since when each pixel shows it, how far evidence carries."""

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel

Plane = NDArray[np.float32]
Bytes = NDArray[np.uint8]

_PLANE = 'Array(float32, 2, "C", readonly=True)'
_BRIDGED = np.float32(0.25)
_BYTES = 'Array(uint8, 2, "C", readonly=True)'


@kernel(f"void({_PLANE}, {_PLANE}, float32, float32, float32, float32, float32[:, ::1])")
def note_since(z: Plane, added: Plane, grow: float, stay: float, least: float, t_s: float, since_s: Plane) -> None:
    """Bring up to date, in place, since when each pixel has been dense without a break; infinite where it is not.

    It begins with z >= ``grow`` and added >= ``least`` and lasts while z >= ``stay``.
    """
    for r in range(z.shape[0]):
        for c in range(z.shape[1]):
            if z[r, c] < stay:
                since_s[r, c] = np.inf
            elif z[r, c] >= grow and added[r, c] >= least and since_s[r, c] == np.inf:
                since_s[r, c] = t_s


@kernel(f"float32[:, ::1]({_PLANE}, {_PLANE}, {_BYTES}, {_BYTES}, float32, float32, float32)")
def carried(z: Plane, added: Plane, source: Bytes, bridge: Bytes, grow: float, least: float, most: float) -> Plane:
    """How much evidence is left where a path from ``source`` arrives that spends it in gaps: (h, w), 0 out of reach.

    It starts with ``most`` pixels' worth, and each pixel as strong as asked for (z = ``grow`` and added = ``least``)
    renews it. A weaker one, by the weaker of both, takes up to one pixel's worth per pixel of way. On ``bridge``
    nothing is seen: a pixel takes a quarter. The best path to each pixel counts.
    """
    h, w = z.shape
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
                    lost = np.float32(1.0) - max(min(z[rr, cc] / grow, added[rr, cc] / least), np.float32(0.0))
                way = np.float32(1.0) if dr == 0 or dc == 0 else np.float32(1.41421356)
                there = most if lost <= np.float32(0.0) else left[r, c] - way * lost
                if there > left[rr, cc]:
                    left[rr, cc] = there
                    if not queued[rr, cc]:
                        queued[rr, cc] = 1
                        queue[last] = rr * w + cc
                        last = (last + 1) % room
    return left
