"""Kernels that tell thick metal, which jumps, from cement, which grows: what each pixel has gained, and since when."""

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel

Plane = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Counts = NDArray[np.int64]

_PLANE = 'Array(float32, 2, "C", readonly=True)'
_BYTES = 'Array(uint8, 2, "C", readonly=True)'
_OUT = "float32[:, ::1]"
_OUT_BYTES = "uint8[:, ::1]"


@kernel(f"int64({_PLANE}, {_PLANE}, float32)")
def risen_px(broad: Plane, before: Plane, least: float) -> int:
    """How many pixels have gained more than ``least``."""
    count = 0
    for r in range(broad.shape[0]):
        for c in range(broad.shape[1]):
            count += broad[r, c] - before[r, c] > least
    return count


@kernel(f"int64({_PLANE}, {_PLANE}, {_PLANE}, {_BYTES}, float32, float32, {_OUT_BYTES})")
def jumps(broad: Plane, before: Plane, z: Plane, steel: Bytes, least: float, sigmas: float, out: Bytes) -> int:
    """255 in ``out`` where a pixel has jumped, else 0; how many have.

    It has gained more than ``least`` and as much as ``sigmas`` standard deviations, of which ``broad`` is ``z``, and no
    instrument is there.
    """
    count = 0
    for r in range(broad.shape[0]):
        for c in range(broad.shape[1]):
            rise = broad[r, c] - before[r, c]
            jumped = (rise > least) & ~(rise * z[r, c] < sigmas * broad[r, c]) & (steel[r, c] == 0)
            out[r, c] = np.uint8(255) if jumped else np.uint8(0)
            count += jumped
    return count


@kernel(
    f"void({_PLANE}, {_PLANE}, {_PLANE}, {_BYTES}, float32, float32, float32, "
    f"{_BYTES}, {_OUT}, {_OUT}, {_OUT_BYTES}, {_OUT_BYTES})"
)
def follow(
    broad: Plane,
    long_before: Plane,
    z: Plane,
    jumped: Bytes,
    rise: float,
    sigma: float,
    fallen: float,
    metal: Bytes,
    was: Plane,
    peak: Plane,
    at_rest: Bytes,
    here: Bytes,
) -> None:
    """255 in ``here`` on ``metal`` that has not left and on what has risen, else 0.

    ``was``: what a pixel had before metal came, ``peak``: what it has had at most since. Metal has left a pixel that
    has lost the share ``fallen`` of its gain. Risen is what has jumped, or has more than ``sigma`` standard deviations
    and has gained more than ``rise`` since ``long_before``. ``at_rest``: pulses since the last jump, at most 255. The
    last four are brought up to date in place.
    """
    for r in range(broad.shape[0]):
        present = np.uint8(0)
        for c in range(broad.shape[1]):
            risen = (broad[r, c] - long_before[r, c] > rise) & (z[r, c] > sigma)
            here[r, c] = jumped[r, c] | (np.uint8(255) if risen else np.uint8(0))
        for c in range(broad.shape[1]):
            present |= here[r, c] | metal[r, c]
        for c in range(broad.shape[1]):
            rested = min(at_rest[r, c] + 1, 255)
            at_rest[r, c] = np.uint8(0) if jumped[r, c] != 0 else np.uint8(rested)
        if present == 0:
            continue
        for c in range(broad.shape[1]):
            value = broad[r, c]
            if metal[r, c] != 0:
                peak[r, c] = max(peak[r, c], value)
                if not value < was[r, c] + fallen * (peak[r, c] - was[r, c]):
                    here[r, c] = 255
                    continue
            if here[r, c] != 0:
                was[r, c] = long_before[r, c]
                peak[r, c] = value


@kernel(
    f"int64[:, ::1](int32[:, ::1], int64, int64, int64, {_PLANE}, {_PLANE}, float32, "
    f"{_BYTES}, {_BYTES}, {_BYTES}, int64)"
)
def weigh(
    parts: NDArray[np.int32],
    count: int,
    top: int,
    left: int,
    was: Plane,
    peak: Plane,
    jump: float,
    steel: Bytes,
    deposits: Bytes,
    at_rest: Bytes,
    rest: int,
) -> Counts:
    """For each of ``count`` parts how many pixels have gained more than ``jump`` beside ``steel``, lie beyond the
    ``deposits``, and have jumped less than ``rest`` pulses ago: (count, 3). ``parts`` begin at ``top`` and ``left``.
    """
    out = np.zeros((count, 3), dtype=np.int64)
    for i in range(parts.shape[0]):
        for j in range(parts.shape[1]):
            part = parts[i, j]
            if part != 0:
                r, c = top + i, left + j
                out[part, 0] += (peak[r, c] - was[r, c] > jump) & (steel[r, c] == 0)
                out[part, 1] += deposits[r, c] == 0
                out[part, 2] += at_rest[r, c] < rest
    return out


@kernel(f"void(int32[:, ::1], boolean[::1], int64, int64, {_OUT_BYTES})")
def mark(parts: NDArray[np.int32], wanted: NDArray[np.bool_], top: int, left: int, out: Bytes) -> None:
    """Put 255 into ``out`` on the parts that are ``wanted``; they begin at ``top`` and ``left`` of it."""
    for i in range(parts.shape[0]):
        for j in range(parts.shape[1]):
            if wanted[parts[i, j]]:
                out[top + i, left + j] = 255
