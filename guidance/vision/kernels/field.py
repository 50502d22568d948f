"""Where profiles that run out of the x-ray field leave it."""

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel

_PROFILES = 'Array(float32, 2, "C", readonly=True)'
_ENDS = 'Array(int64, 1, "C", readonly=True)'


@kernel(f"void({_PROFILES}, {_ENDS}, int64, float64, float64, float64[::1], float64[::1])")
def outermost_falls(
    rise: NDArray[np.float32],
    ends: NDArray[np.int64],
    depth: int,
    least: float,
    steep: float,
    edges: NDArray[np.float64],
    widths: NDArray[np.float64],
) -> None:
    """Fill ``edges`` with the index, to a fraction, where each profile has fallen halfway out of the field.

    ``rise``: (profiles, samples), difference from the surround, from inside outwards; of profile i the first
    ``ends[i]`` samples count. A fall is the difference of the means over ``depth`` samples before and after, those
    next to the place left out, for an edge may be soft; the level outside is the one beside the edge, because
    scatter glows on behind a collimator. The outermost one counts that is at least ``least`` and the share ``steep``
    of the largest on its profile. ``widths``: the samples from three quarters of the fall to one quarter, 0 on
    a sharp edge. NaN where nothing falls by ``least``.
    """
    gap = depth // 4
    total = np.zeros(rise.shape[1] + 1)
    inside, outside = np.zeros(rise.shape[1]), np.zeros(rise.shape[1])
    for i in range(rise.shape[0]):
        edges[i] = np.nan
        widths[i] = np.nan
        end = ends[i]
        for s in range(end):
            total[s + 1] = total[s] + rise[i, s]
        largest = 0.0
        for s in range(depth, end - 1):
            after = s + 1 + min(gap, (end - 2 - s) // 2)
            last = min(s + 1 + depth, end)
            inside[s] = (total[s + 1 - gap] - total[s - depth]) / (depth + 1 - gap)
            outside[s] = (total[last] - total[after]) / (last - after)
            largest = max(largest, inside[s] - outside[s])
        if largest < least:
            continue
        at = end - 2
        while inside[at] - outside[at] < max(least, steep * largest):
            at -= 1
        # The top of this fall: none higher within the gap that a soft edge may take.
        top = at
        while at > depth and at > top - gap - 2:
            at -= 1
            if inside[at] - outside[at] > inside[top] - outside[top]:
                top = at
        fall = inside[top] - outside[top]
        half = outside[top] + 0.5 * fall
        edge = top
        while edge < end - 2 and rise[i, edge + 1] >= half:
            edge += 1
        while edge > 0 and rise[i, edge] < half:
            edge -= 1
        edges[i] = edge
        drop = rise[i, edge] - rise[i, edge + 1]
        if drop > 0.0:
            edges[i] = edge + min((rise[i, edge] - half) / drop, 1.0)
        inner, outer = edge, edge + 1
        while inner > 0 and rise[i, inner] < half + 0.25 * fall:
            inner -= 1
        while outer < end and rise[i, outer] > half - 0.25 * fall:
            outer += 1
        widths[i] = outer - inner - 1
