"""Where profiles that run out of the x-ray field leave it."""

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel

_PROFILES = 'Array(float32, 2, "C", readonly=True)'
_ENDS = 'Array(int64, 1, "C", readonly=True)'

LOOKS = 6


@kernel(f"void({_PROFILES}, {_ENDS}, int64, float64, float64[::1])")
def outermost_edges(
    rise: NDArray[np.float32], ends: NDArray[np.int64], depth: int, contrast: float, edges: NDArray[np.float64]
) -> None:
    """Fill ``edges`` with the index, to a fraction, where each profile falls to half of what it is just inside.

    ``rise``: (profiles, samples), difference from the surround, from inside outwards; of profile i the first
    ``ends[i]`` samples count. A soft edge is wider than it looks from its foot, where it exceeds ``contrast``, so
    the look inside (the median up to ``depth`` samples) is repeated from each new edge until it stays. NaN where
    there is no edge, or the field is hardly different from its surround.
    """
    for i in range(rise.shape[0]):
        edges[i] = np.nan
        edge = ends[i] - 1
        while edge >= 0 and rise[i, edge] <= contrast:
            edge -= 1
        half = 0.0
        for _ in range(LOOKS):
            if edge < depth:
                edge = -1
                break
            plateau = float(np.median(rise[i, edge - depth : edge - depth // 4]))
            if plateau < 2.0 * contrast:
                edge = -1
                break
            half = 0.5 * plateau
            inner = edge
            while inner >= 0 and rise[i, inner] < half:
                inner -= 1
            settled = edge - inner < 2
            edge = inner
            if settled:
                break
        if edge < 0:
            continue
        edges[i] = edge
        if edge + 1 < ends[i]:
            drop = rise[i, edge] - rise[i, edge + 1]
            if drop > 0.0:
                edges[i] = edge + (rise[i, edge] - half) / drop
