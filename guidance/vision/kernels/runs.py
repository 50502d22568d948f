"""Kernels that follow a thin run of cement through noise: how far evidence carries, and how an arm has come."""

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel

Plane = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Flat = NDArray[np.float32]
Lines = NDArray[np.int32]

TAPS = 7
"""Of each line."""
STRETCH = 32
"""Evidence is worked out for so many pixels of a row at once, which costs as much as for four."""

_PLANE = 'Array(float32, 2, "C", readonly=True)'
_BRIDGED = np.float32(0.25)
_BYTES = 'Array(uint8, 2, "C", readonly=True)'
_STRIDED = 'Array(float32, 2, "A", readonly=True)'
_STRIDED_BYTES = 'Array(uint8, 2, "A", readonly=True)'
_TABLE = 'Array(float64, 2, "C", readonly=True)'
_OUT = "float32[:, ::1]"
_FLAT = 'Array(float32, 1, "C", readonly=True)'
_LINES = 'Array(int32, 2, "C", readonly=True)'
_LINE = 'Array(float64, 1, "C", readonly=True)'


@kernel(f"int32[:, ::1]({_STRIDED_BYTES})")
def extents(names: Bytes) -> NDArray[np.int32]:
    """Where each name from 0 to 255 lies: (256, 4), columns left, top, right, bottom, right and bottom exclusive.

    All four are 0 for one that is nowhere, and for 0.
    """
    h, w = names.shape
    out = np.zeros((256, 4), dtype=np.int32)
    for r in range(h):
        for c in range(w):
            name = names[r, c]
            if name != 0:
                if out[name, 3] == 0:
                    out[name, 0], out[name, 1], out[name, 2] = c, r, c
                out[name, 0] = min(out[name, 0], c)
                out[name, 2] = max(out[name, 2], c + 1)
                out[name, 3] = r + 1
    return out


@kernel(f"void({_PLANE}, {_BYTES}, int64, int64, float32, int64, {_OUT})")
def framed(sigmas: Plane, foreign: Bytes, top: int, left: int, most: float, rim: int, out: Plane) -> None:
    """``out``: what a pulse shows, cut off at ``most``, with ``rim`` pixels of nothing above and to the left.

    Below and to the right there is nothing either as far as ``out`` goes. The pulse shows nothing where ``sigmas`` is
    not a number and where ``foreign`` is not 0, a larger plane in which it begins at ``top`` and ``left``.
    """
    h, w = sigmas.shape
    out[:rim] = 0
    out[rim + h :] = 0
    for r in range(h):
        out[rim + r, :rim] = 0
        out[rim + r, rim + w :] = 0
        shown, beside, row = sigmas[r], foreign[top + r, left : left + w], out[rim + r, rim : rim + w]
        for c in range(w):
            row[c] = min(shown[c], most) if (shown[c] == shown[c]) & (beside[c] == 0) else np.float32(0.0)


@kernel(f"void({_FLAT}, int64, {_LINES}, float32, float32[::1])")
def _best_lines(shown: Flat, at: int, lines: Lines, enough: float, out: Flat) -> None:
    """``out``: the largest sum along any of the lines through each place from ``at`` on, in multiples of ``enough``."""
    n = out.shape[0]
    out[:] = -np.inf
    for k in range(lines.shape[0]):
        # In one expression, so that a sum stays in its register.
        a, b, c, d = at + lines[k, 0], at + lines[k, 1], at + lines[k, 2], at + lines[k, 3]
        e, f, g = at + lines[k, 4], at + lines[k, 5], at + lines[k, 6]
        s, t, u, v = shown[a : a + n], shown[b : b + n], shown[c : c + n], shown[d : d + n]
        x, y, z = shown[e : e + n], shown[f : f + n], shown[g : g + n]
        for i in range(n):
            out[i] = max(out[i], s[i] + t[i] + u[i] + v[i] + x[i] + y[i] + z[i])
    for i in range(n):
        out[i] /= enough


@kernel(f"boolean({_BYTES}, int64, int64)")
def _is_within(mask: Bytes, r: int, c: int) -> bool:
    """Whether all eight neighbours of a place are of a mask too."""
    if r == 0 or c == 0 or r == mask.shape[0] - 1 or c == mask.shape[1] - 1:
        return False
    above = mask[r - 1, c - 1] & mask[r - 1, c] & mask[r - 1, c + 1]
    below = mask[r + 1, c - 1] & mask[r + 1, c] & mask[r + 1, c + 1]
    return bool((above & below & mask[r, c - 1] & mask[r, c + 1]) != 0)


@kernel(
    f"Tuple((int64[::1], {_OUT}))({_PLANE}, {_LINES}, float32, {_BYTES}, {_BYTES}, int64, int64, float32, "
    f"{_OUT}, {_OUT}, {_OUT}, uint8[:, ::1], int32[:, ::1])"
)
def carried(
    shown: Plane,
    lines: Lines,
    enough: float,
    bridge: Bytes,
    source: Bytes,
    top: int,
    left: int,
    most: float,
    evidence: Plane,
    lost: Plane,
    worth: Plane,
    queued: Bytes,
    queue: NDArray[np.int32],
) -> tuple[NDArray[np.int64], Plane]:
    """How much evidence is left where a path from ``source`` arrives that spends it in gaps, and in which box.

    It starts with ``most`` pixels' worth, and each pixel as strong as asked for (``evidence`` >= 1) renews it. A
    weaker one takes up to one pixel's worth per pixel of way. On ``bridge`` nothing is seen: a pixel takes a quarter.
    The best path to each pixel counts. The box: left, top, right, bottom of what is reached, the latter two exclusive.

    ``evidence``: (h, w), the largest sum along any of the ``lines`` through each pixel as a multiple of ``enough``. It
    is worked out where a path asks for it and left as it is elsewhere, because most of the plane is out of reach.
    ``shown``: what the lines are taken over, with a frame as wide as they reach and ``STRETCH`` more to the right;
    ``lines``: (lines, TAPS), how far on in it. ``source`` begins at ``top`` and ``left``. All others have a frame of
    one pixel: ``lost`` is nan where nobody has asked yet; ``worth`` and ``queued`` come and go with zeros; ``queue``
    has two rows with room for all pixels.
    """
    h, w = evidence.shape
    wide, rim = shown.shape[1], (shown.shape[0] - h) // 2
    stride = w + 2
    flat_shown, flat_lost, flat_worth, flat_queued = shown.ravel(), lost.ravel(), worth.ravel(), queued.ravel()
    best = np.empty(STRETCH, dtype=np.float32)
    around = np.array([-stride, -1, 1, stride, -stride - 1, -stride + 1, stride - 1, stride + 1])
    sure, waiting = queue[0], queue[1]
    n_sure, first, last = 0, 0, 0
    lowest, highest = (h + 2) * stride, 0
    # As good as it can get: nothing is to be done beyond the border.
    worth[0], worth[h + 1], worth[:, 0], worth[:, w + 1] = most, most, most, most
    for r in range(source.shape[0]):
        for c in range(source.shape[1]):
            if source[r, c]:
                at = (top + r + 1) * stride + left + c + 1
                flat_worth[at] = most
                # Most lie within the source, and no path begins there.
                if not _is_within(source, r, c):
                    sure[n_sure] = at
                    n_sure += 1
    while n_sure > 0 or first != last:
        # What can get no better goes first: then little of the rest has to be gone through again.
        if n_sure > 0:
            n_sure -= 1
            at = int(sure[n_sure])
        else:
            at = int(waiting[first])
            first = first + 1 if first + 1 < waiting.shape[0] else 0
            flat_queued[at] = 0
            if flat_worth[at] >= most:
                continue
        here = flat_worth[at]
        lowest, highest = min(lowest, at), max(highest, at)
        for n in range(8):
            # Unsigned: a place that may be negative would be looked at twice as long.
            to = np.uint32(at + around[n])
            if flat_worth[to] >= most:
                continue
            loss = flat_lost[to]
            if loss != loss:
                r, begin = to // stride - 1, (to % stride - 1) // STRETCH * STRETCH
                _best_lines(flat_shown, (r + rim) * wide + begin + rim, lines, enough, best)
                end = min(begin + STRETCH, w)
                row, losses, bridged = evidence[r, begin:end], lost[r + 1, begin + 1 : end + 1], bridge[r, begin:end]
                for i in range(end - begin):
                    row[i] = best[i]
                    unseen = np.float32(1.0) - max(best[i], np.float32(0.0))
                    losses[i] = _BRIDGED if bridged[i] != 0 else unseen
                loss = flat_lost[to]
            way = np.float32(1.0) if n < 4 else np.float32(1.41421356)
            there = most if loss <= np.float32(0.0) else here - way * loss
            if there > flat_worth[to]:
                flat_worth[to] = there
                if there >= most:
                    sure[n_sure] = to
                    n_sure += 1
                elif not flat_queued[to]:
                    flat_queued[to] = 1
                    waiting[last] = to
                    last = last + 1 if last + 1 < waiting.shape[0] else 0
    worth[0], worth[h + 1], worth[:, 0], worth[:, w + 1] = 0, 0, 0, 0
    y0, y1 = lowest // stride - 1, highest // stride
    x0, x1 = w, 0
    for r in range(y0, y1):
        for c in range(x0):
            if worth[r + 1, c + 1] > 0:
                x0 = c
                break
        for c in range(w - 1, x1 - 1, -1):
            if worth[r + 1, c + 1] > 0:
                x1 = c + 1
                break
    out = worth[y0 + 1 : y1 + 1, x0 + 1 : x1 + 1].copy()
    worth[y0 + 1 : y1 + 1, x0 + 1 : x1 + 1] = 0
    return np.array([x0, y0, x1, y1]), out


@kernel(f"Tuple((float64[::1], int64[:, ::1], int64[::1]))({_LINE}, {_LINE}, int64)")
def _advances(
    ago: NDArray[np.float64], speeds: NDArray[np.float64], rest: int
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """The advances to be tried: their speeds, how many places back they were on each pulse, and at most.

    Shapes (n,), (n, pulses) and (n,). Each may have come to rest on any of the last ``rest`` pulses; what is back as
    much as a slower one on all pulses is left out.
    """
    pulses = ago.shape[0]
    rests = min(rest, pulses)
    advances = np.empty(speeds.shape[0] * rests)
    backs = np.zeros((advances.size, pulses), dtype=np.int64)
    farthest = np.zeros(advances.size, dtype=np.int64)
    count = 0
    for speed in speeds:
        for last in range(pulses - rests, pulses):
            for k in range(pulses):
                backs[count, k] = int(speed * max(ago[k] - ago[last], 0.0) + 0.5)
            is_new = True
            for n in range(count):
                k = 0
                while k < pulses and backs[n, k] == backs[count, k]:
                    k += 1
                is_new &= k < pulses
            if is_new:
                advances[count] = speed
                farthest[count] = backs[count].max()
                count += 1
    return advances[:count].copy(), backs[:count].copy(), farthest[:count].copy()


@kernel(
    f"void({_PLANE}, {_STRIDED}, {_STRIDED}, {_STRIDED}, {_STRIDED_BYTES}, {_STRIDED_BYTES}, {_STRIDED_BYTES}, uint8, "
    "float32, uint8[:, ::1], uint8[:, ::1])"
)
def sort_reached(
    worth: Plane,
    evidence: Plane,
    sigmas: Plane,
    z: Plane,
    deposits: Bytes,
    beside: Bytes,
    foreign: Bytes,
    name: int,
    dense: float,
    of_deposit: Bytes,
    told: Bytes,
) -> None:
    """255 in ``of_deposit`` and in ``told``, else 0, on what paths have reached, that is where ``worth`` is not 0.

    Of a deposit is what is called its ``name``, and what has reached ``dense`` standard deviations, on this pulse
    (``sigmas``) or on average (``z``), clear of shafts (``beside``) and of what is ``foreign``. Told is what is as
    clear and has ``evidence`` enough.
    """
    for r in range(worth.shape[0]):
        for c in range(worth.shape[1]):
            is_clear = (worth[r, c] > 0) & (beside[r, c] == 0) & (foreign[r, c] == 0)
            is_dense = is_clear & ((sigmas[r, c] >= dense) | (z[r, c] >= dense))
            of_deposit[r, c] = np.uint8(255) if is_dense | (deposits[r, c] == name) else np.uint8(0)
            told[r, c] = np.uint8(255) if is_clear & (evidence[r, c] >= 1) else np.uint8(0)


@kernel(f"int64[:, ::1]({_PLANE}, {_STRIDED}, float32)")
def ridge(arm: Plane, evidence: Plane, apart: float) -> NDArray[np.int64]:
    """The ridge of an arm: of all pixels as far from its body the one with the most evidence, outwards.

    ``arm``: how far each pixel is from the body, 0 where it is none of the arm's. What is less than ``apart`` farther
    is as far. Rows, columns and how many times as far as ``apart``: (3, n).
    """
    h, w = arm.shape
    farthest = np.float32(0.0)
    for r in range(h):
        for c in range(w):
            farthest = max(farthest, arm[r, c])
    out = np.full((3, int(farthest / apart) + 1), -1, dtype=np.int64)
    most = np.full(out.shape[1], -np.inf, dtype=np.float32)
    for r in range(h):
        for c in range(w):
            if arm[r, c] != 0:
                place = int(arm[r, c] / apart)
                if evidence[r, c] > most[place]:
                    most[place] = evidence[r, c]
                    out[0, place], out[1, place], out[2, place] = r, c, place
    return out[:, out[2] >= 0]


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
    advances, backs, farthest = _advances(ago, speeds, rest)
    for length in range(least, places + 1):
        for stood in range(int(base * length) + 1):
            for n in range(advances.size):
                # What had stood all the while is shorter than what came first: this has been weighed.
                if 0 < stood <= length - farthest[n]:
                    continue
                total = 0.0
                for k in range(pulses):
                    total += before[k, max(stood, length - backs[n, k])]
                if total > best[0]:
                    best[0], best[1], best[2] = total, advances[n], length
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
