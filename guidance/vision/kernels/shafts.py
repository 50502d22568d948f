"""Kernels for shafts that were there in the baseline: what they have slipped beside the anatomy since.

``parts``: int32, the number of each pixel's shaft in the box whose first row and column on the planes are ``top`` and
``left``, 0 where none is; ``count``: one more than there are. Planes are (h, w), as in ``kernels.grey``.
"""

from math import atan2, cos, floor, sin

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel
from guidance.vision.kernels.grey import OPEN, Bytes, Line, Plane

_PLANE = 'Array(float32, 2, "C", readonly=True)'
_BYTES = 'Array(uint8, 2, "C", readonly=True)'
_LINE = 'Array(float32, 1, "C", readonly=True)'
_PARTS = 'Array(int32, 2, "C", readonly=True)'
_OUT = "float32[:, ::1]"

Parts = NDArray[np.int32]
Places = NDArray[np.int64]
Numbers = NDArray[np.float64]


@kernel(f"float32({_PLANE}, int64, int64)")
def _at(plane: Plane, r: int, c: int) -> np.float32:
    """A plane's value at a pixel; 0 beyond its edge."""
    is_inside = 0 <= r < plane.shape[0] and 0 <= c < plane.shape[1]
    return np.float32(plane[r, c] if is_inside else 0.0)


@kernel(f"float32({_PLANE}, float32, float32)")
def _between(plane: Plane, y: np.float32, x: np.float32) -> np.float32:
    """A plane's value between its pixels, bilinear as ``cv2.remap`` rounds it; 0 beyond its edge."""
    r, c = floor(y), floor(x)
    down, right = np.float64(y - np.float32(r)), np.float64(x - np.float32(c))
    upper, lower = _at(plane, r, c), _at(plane, r + 1, c)
    upper = np.float32(right * np.float64(_at(plane, r, c + 1) - upper) + upper)
    lower = np.float32(right * np.float64(_at(plane, r + 1, c + 1) - lower) + lower)
    return np.float32(down * np.float64(lower - upper) + upper)


@kernel("Tuple((float64, float64, float64[::1]))(int64[::1], int64[::1])")
def _lengthways(rows: Places, cols: Places) -> tuple[float, float, Numbers]:
    """The direction in which pixels extend farthest, x and y, and how far along it each lies from their middle.

    The farthest is at 1 or -1, unless it is within a pixel.
    """
    n = rows.size
    x, y = cols.sum() / n, rows.sum() / n
    xx, xy, yy = 0.0, 0.0, 0.0
    for i in range(n):
        xx += (cols[i] - x) * (cols[i] - x)
        xy += (cols[i] - x) * (rows[i] - y)
        yy += (rows[i] - y) * (rows[i] - y)
    angle = 0.5 * atan2(2.0 * xy, xx - yy)
    ux, uy = cos(angle), sin(angle)
    along = (cols - x) * ux + (rows - y) * uy
    farthest = max(1.0, np.abs(along).max())
    return ux, uy, along / farthest


@kernel(
    f"void(int64[::1], int64[::1], {_PLANE}, {_PLANE}, {_PLANE}, {_BYTES}, float64, int64, float64, float64, {_OUT})"
)
def _take_slip(
    rows: Places,
    cols: Places,
    base: Plane,
    grad_x: Plane,
    grad_y: Plane,
    marks: Bytes,
    clip: float,
    most_steps: int,
    least_step_px: float,
    most_slip_px: float,
    delta: Plane,
) -> None:
    n = rows.size
    ux, uy, along = _lengthways(rows, cols)
    aside_x, aside_y = np.float32(-uy), np.float32(ux)
    # The normal equations of slip = near + far * along, both aside: the effect of each is the gradient across.
    steep = np.empty(n, dtype=np.float64)
    told = np.empty(n, dtype=np.float32)
    aa, ab, bb = 0.0, 0.0, 0.0
    before = 0.0
    for i in range(n):
        r, c = rows[i], cols[i]
        told[i] = delta[r, c]
        steep[i] = 0.0
        if marks[r, c] & OPEN:
            steep[i] = grad_x[r, c] * aside_x + grad_y[r, c] * aside_y
            before += min(abs(told[i]), clip)
        aa += steep[i] * steep[i]
        ab += steep[i] * steep[i] * along[i]
        bb += steep[i] * steep[i] * along[i] * along[i]
    determinant = aa * bb - ab * ab
    if determinant <= 1e-9 * max(aa, bb) ** 2:
        return
    near, far = 0.0, 0.0
    rest = told.copy()
    after = before
    for _ in range(most_steps):
        ad, bd = 0.0, 0.0
        for i in range(n):
            d = min(max(rest[i], -clip), clip)
            ad += steep[i] * d
            bd += steep[i] * along[i] * d
        step_near, step_far = (bb * ad - ab * bd) / determinant, (aa * bd - ab * ad) / determinant
        if abs(step_near) + abs(step_far) < least_step_px:
            break
        near += step_near
        far += step_far
        after = 0.0
        for i in range(n):
            r, c = rows[i], cols[i]
            slipped = np.float32(near + far * along[i])
            moved = _between(base, np.float32(r) + slipped * aside_y, np.float32(c) + slipped * aside_x)
            rest[i] = told[i] + base[r, c] - moved
            after += min(abs(rest[i]), clip) if marks[r, c] & OPEN else 0.0
    if after < before and abs(near) + abs(far) < most_slip_px:
        for i in range(n):
            delta[rows[i], cols[i]] = rest[i]


@kernel(f"Tuple((int64[::1], int64[::1], int64[::1]))({_PARTS}, int64, int64, int64)")
def _pixels_by_part(parts: Parts, count: int, top: int, left: int) -> tuple[Places, Places, Places]:
    """Rows and columns of all pixels of parts, one part after the other, and where each part begins, (count + 1,)."""
    starts = np.zeros(count + 1, dtype=np.int64)
    for r in range(parts.shape[0]):
        for c in range(parts.shape[1]):
            if parts[r, c] > 0:
                starts[parts[r, c] + 1] += 1
    starts = np.cumsum(starts)
    rows = np.empty(starts[count], dtype=np.int64)
    cols = np.empty(starts[count], dtype=np.int64)
    at = starts.copy()
    for r in range(parts.shape[0]):
        for c in range(parts.shape[1]):
            part = parts[r, c]
            if part > 0:
                rows[at[part]] = top + r
                cols[at[part]] = left + c
                at[part] += 1
    return rows, cols, starts


@kernel(
    f"void({_PARTS}, int64, int64, int64, {_PLANE}, {_PLANE}, {_PLANE}, {_BYTES}, "
    "float64, int64, int64, float64, float64, " + f"{_OUT})"
)
def take_shaft_slips(
    parts: Parts,
    count: int,
    top: int,
    left: int,
    base: Plane,
    grad_x: Plane,
    grad_y: Plane,
    marks: Bytes,
    clip: float,
    least_px: int,
    most_steps: int,
    least_step_px: float,
    most_slip_px: float,
    delta: Plane,
) -> None:
    """Remove from ``delta``, in place, what each shaft has slipped aside, more at one of its ends than at the other.

    Least squares on the shaft's pixels that are OPEN, which must be ``least_px``, with differences clipped; at most so
    many steps (Gauss-Newton) until one is less than ``least_step_px``. A slip of ``most_slip_px`` or more, or one that
    explains nothing, is not removed. ``grad_x``, ``grad_y``: of the baseline ``base``.
    """
    rows, cols, starts = _pixels_by_part(parts, count, top, left)
    for part in range(1, count):
        mine = slice(starts[part], starts[part + 1])
        told_px = 0
        for i in range(starts[part], starts[part + 1]):
            told_px += 1 if marks[rows[i], cols[i]] & OPEN else 0
        if told_px >= least_px:
            _take_slip(
                rows[mine],
                cols[mine],
                base,
                grad_x,
                grad_y,
                marks,
                clip,
                most_steps,
                least_step_px,
                most_slip_px,
                delta,
            )


@kernel(f"boolean[::1]({_PARTS}, int64, int64, int64, {_BYTES}, {_PLANE}, {_PLANE}, {_LINE}, float32, float64)")
def uncovered(
    parts: Parts,
    count: int,
    top: int,
    left: int,
    grey: Bytes,
    coarse: Plane,
    doubt: Plane,
    sigma: Line,
    sigmas: float,
    share: float,
) -> NDArray[np.bool_]:
    """Which shafts have become lighter by so many standard deviations on more than this share of them: (count,).

    ``sigma``: by class of ``grey``; ``doubt``: variance that adds to it.
    """
    total = np.zeros(count, dtype=np.int64)
    lighter = np.zeros(count, dtype=np.int64)
    for r in range(parts.shape[0]):
        for c in range(parts.shape[1]):
            part = parts[r, c]
            if part == 0:
                continue
            total[part] += 1
            change = coarse[top + r, left + c]
            s = sigma[grey[top + r, left + c]]
            if change < 0 and change * change > sigmas * sigmas * (s * s + doubt[top + r, left + c]):
                lighter[part] += 1
    return lighter > share * total
