"""A shaft straightened, and what about its edges and beside it tells a screw or a clamp's arm from a needle."""

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel
from guidance.vision.kernels.shaft import CENTRE, sample_across

Image = NDArray[np.float32]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_IMAGE = 'Array(float32, 2, "C", readonly=True)'
_LINE = 'Array(float64, 1, "C", readonly=True)'
_TABLE = 'Array(float64, 2, "C", readonly=True)'


@kernel(f"float64[::1]({_IMAGE}, int64, int64, int64, int64)")
def bow(sections: Image, first: int, last: int, degree: int, beyond: int) -> Floats:
    """The least-squares line or parabola through a shaft's centres, at its rows and ``beyond`` them at either end.

    By orthogonal polynomials (Forsythe, "Generation and use of orthogonal polynomials for data-fitting with a digital
    computer", 1957). ``degree``: 1 or 2.
    """
    rows, centres = np.empty(last - first + 1), np.empty(last - first + 1)
    n = 0
    for i in range(rows.size):
        centre = sections[first + i, CENTRE]
        if np.isfinite(centre):
            rows[n], centres[n] = i, centre
            n += 1
    rows, centres = rows[:n], centres[:n]
    row, centre = rows.mean(), centres.mean()
    squares, cubes = 0.0, 0.0
    for k in range(n):
        off = rows[k] - row
        squares += off * off
        cubes += off * off * off
    spread, skew = squares / n, cubes / squares if squares > 0.0 else 0.0
    along, bent, bends = 0.0, 0.0, 0.0
    for k in range(n):
        off = rows[k] - row
        curve = off * off - skew * off - spread
        along += off * centres[k]
        bent += curve * centres[k]
        bends += curve * curve
    slope = along / squares if squares > 0.0 else 0.0
    curvature = bent / bends if degree == 2 and bends > 0.0 else 0.0
    at = np.empty(last - first + 1 + 2 * beyond)
    for i in range(at.size):
        off = i - beyond - row
        at[i] = centre + slope * off + curvature * (off * off - skew * off - spread)
    return at


@kernel(f"float32[:, ::1]({_IMAGE}, {_LINE}, {_LINE}, int64, float64)")
def straight_view(image: Image, axis: Floats, centres: Floats, half: int, outside: float) -> Image:
    """The image along a bowed axis, shape (n, 2 * half + 1), the bow in the middle column.

    ``axis``: x and y of row 0, and the unit vector along the rows. ``centres``: how far the bow lies from that on each
    row. ``outside``: what stands for what is not in the image.
    """
    strip = np.empty(2 * half + 3, np.float32)
    view = np.empty((centres.size, 2 * half + 1), np.float32)
    for i in range(centres.size):
        left = np.floor(centres[i])
        share = np.float32(centres[i] - left)
        x, y = axis[0] + i * axis[2] - left * axis[3], axis[1] + i * axis[3] + left * axis[2]
        sample_across(image, x, y, axis[2], axis[3], strip, 0, strip.size)
        for j in range(2 * half + 1):
            value = (np.float32(1.0) - share) * strip[j + 1] + share * strip[j + 2]
            view[i, j] = value if np.isfinite(value) else np.float32(outside)
    return view


@kernel(f"Tuple((float64[::1], boolean[:, ::1], int64[:, ::1]))({_IMAGE}, int64, float64, float64)")
def steel_beside(view: Image, core: int, paler: float, darkest: float) -> tuple[Floats, Flags, NDArray[np.int64]]:
    """A straight view's density along its axis, shape (n,), where it is as dark as there, shape of the view, and how
    many pixels it is so without a break to the right and to the left, shape (2, n), the axis itself counted.

    ``core``: so far to either side the density is averaged. ``paler``: by so much less it is as dark. ``darkest``: from
    there on it is no density.
    """
    n, middle = view.shape[0], view.shape[1] // 2
    steel, dark, reach = np.empty(n), np.empty(view.shape, np.bool_), np.zeros((2, n), np.int64)
    for i in range(n):
        total = 0.0
        for j in range(middle - core, middle + core + 1):
            total += view[i, j]
        steel[i] = total / (2 * core + 1)
        level = steel[i] - paler
        for j in range(view.shape[1]):
            dark[i, j] = (view[i, j] > level) & (view[i, j] < darkest)
        for side in range(2):
            step = 1 if side == 0 else -1
            while reach[side, i] <= middle and dark[i, middle + step * reach[side, i]]:
                reach[side, i] += 1
    return steel, dark, reach


@kernel(f"float64[:, ::1]({_IMAGE}, int64, int64)")
def edges_of(view: Image, near: int, far: int) -> Floats:
    """The mean density on each row from ``near`` to ``far`` pixels right and left of the axis: shape (2, n)."""
    middle = view.shape[1] // 2
    edges = np.zeros((2, view.shape[0]))
    for i in range(view.shape[0]):
        for off in range(near, far + 1):
            edges[0, i] += view[i, middle + off]
            edges[1, i] += view[i, middle - off]
    return edges / (far - near + 1)


@kernel(f"float64[:, ::1]({_TABLE}, int64, int64, int64)")
def unevenness(edges: Floats, begin: int, end: int, smooth: int) -> Floats:
    """What a stretch of each edge leaves of its running mean over ``smooth`` rows, an odd number, in a Hann window:
    shape (2, end - begin). Beyond its ends the stretch goes on as it ends.
    """
    n, half = end - begin, smooth // 2
    uneven = np.empty((2, n))
    for side in range(2):
        edge = edges[side, begin:end]
        total = half * edge[0]
        for k in range(half + 1):
            total += edge[min(k, n - 1)]
        for i in range(n):
            window = 0.5 - 0.5 * np.cos(2.0 * np.pi * i / (n - 1))
            uneven[side, i] = (edge[i] - total / smooth) * window
            total += edge[min(i + half + 1, n - 1)] - edge[max(i - half, 0)]
    return uneven
