"""The black core of a shaft in the grey shadow of its hub, and rays about a dark disc: many questions of few pixels."""

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel
from guidance.vision.kernels.median import median_in_place
from guidance.vision.kernels.shaft import straighten

Image = NDArray[np.float32]
Mask = NDArray[np.uint8]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_IMAGE = 'Array(float32, 2, "C", readonly=True)'
_MASK = 'Array(uint8, 2, "C", readonly=True)'
_TABLE = 'Array(float64, 2, "C", readonly=True)'
_STEPS = 'Array(int64, 2, "C", readonly=True)'


@kernel(f"uint8[:, ::1]({_IMAGE}, {_STEPS}, float32)")
def standing_out(image: Image, steps_yx: Ints, least: np.float32) -> Mask:
    """1 where the image is by more than ``least`` above what it is at each of the steps from there; beyond it is 0."""
    height, width = image.shape
    out, around = np.empty((height, width), np.uint8), np.empty(width, np.float32)
    for y in range(height):
        around[:] = np.float32(0.0)
        for k in range(steps_yx.shape[0]):
            at_y, step_x = y + steps_yx[k, 0], steps_yx[k, 1]
            if 0 <= at_y < height and abs(step_x) < width:
                there = image[at_y, max(step_x, 0) : width + min(step_x, 0)]
                here = around[max(-step_x, 0) : width - max(step_x, 0)]
                for x in range(here.size):
                    here[x] = max(here[x], there[x])
        for x in range(width):
            out[y, x] = image[y, x] - around[x] > least
    return out


@kernel(f"float64[:, ::1]({_MASK})")
def pieces_of(mask: Mask) -> Floats:
    """The connected pieces (by sides and by corners) of what is set: shape (n, 3), area and middle x and y."""
    height, width = mask.shape
    to_do, to_see = mask.copy(), np.empty(mask.size, np.int64)
    pieces = np.empty((mask.size // 2 + 1, 3))
    n = 0
    for top in range(height):
        for left in range(width):
            if not to_do[top, left]:
                continue
            piece = pieces[n]
            piece[:] = 0.0
            n += 1
            to_do[top, left] = 0
            to_see[0], waiting = top * width + left, 1
            while waiting:
                waiting -= 1
                row, column = to_see[waiting] // width, to_see[waiting] % width
                piece[0] += 1.0
                piece[1] += column
                piece[2] += row
                for r in range(max(row - 1, 0), min(row + 2, height)):
                    for c in range(max(column - 1, 0), min(column + 2, width)):
                        if to_do[r, c]:
                            to_do[r, c] = 0
                            to_see[waiting] = r * width + c
                            waiting += 1
            piece[1] /= piece[0]
            piece[2] /= piece[0]
    return pieces[:n].copy()


@kernel(f"Tuple((float32[:, ::1], float64))({_IMAGE}, float64, float64, float64)")
def contrast_about(window: Image, x: float, y: float, reach: float) -> tuple[Image, float]:
    """Each pixel's share of the contrast between the darkest near a place and the median on the ring at the reach, and
    that contrast.
    """
    height, width = window.shape
    ring = np.empty(window.size, np.float32)
    n, darkest = 0, np.float32(-np.inf)
    inner_2 = (reach - 1.0) * (reach - 1.0) if reach > 1.0 else -1.0
    for row in range(height):
        for column in range(width):
            away_2 = (column - x) * (column - x) + (row - y) * (row - y)
            if inner_2 < away_2 < (reach + 1.0) * (reach + 1.0):
                ring[n] = window[row, column]
                n += 1
            if away_2 < 0.09 * reach * reach and window[row, column] > darkest:
                darkest = window[row, column]
    ground = median_in_place(ring[:n]) if n else 0.0
    contrast = np.float64(darkest) - ground
    share = np.empty((height, width), np.float32)
    per_contrast = np.float32(max(1e-6, contrast))
    for row in range(height):
        for column in range(width):
            share[row, column] = (window[row, column] - np.float32(ground)) / per_contrast
    return share, contrast


@kernel(f"uint8[:, ::1]({_IMAGE}, float64, float64, float64)")
def piece(share: Image, x: float, y: float, level: float) -> Mask:
    """1 on the connected piece above a level (by sides, not by corners) that comes nearest to a place; else 0."""
    height, width = share.shape
    found = np.zeros((height, width), np.uint8)
    row, column = int(np.rint(y)), int(np.rint(x))
    is_on_it = 0 <= row < height and 0 <= column < width and share[row, column] > np.float32(level)
    nearest_2, start = np.inf, row * width + column if is_on_it else -1
    for row in range(0 if is_on_it else height):
        for column in range(width):
            away_2 = (column - x) * (column - x) + (row - y) * (row - y)
            if share[row, column] > np.float32(level) and away_2 < nearest_2:
                nearest_2, start = away_2, row * width + column
    if start < 0:
        return found
    to_see = np.empty(share.size, np.int64)
    to_see[0], n = start, 1
    found[start // width, start % width] = 1
    while n:
        n -= 1
        row, column = to_see[n] // width, to_see[n] % width
        for side in range(4):
            r, c = row + (side == 0) - (side == 1), column + (side == 2) - (side == 3)
            if 0 <= r < height and 0 <= c < width and not found[r, c] and share[r, c] > np.float32(level):
                found[r, c] = 1
                to_see[n] = r * width + c
                n += 1
    return found


@kernel(f"float64({_IMAGE}, {_MASK})")
def median_within(image: Image, mask: Mask) -> float:
    """The median where the mask is set, which it is somewhere."""
    values = np.empty(image.size, np.float32)
    n = 0
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            if mask[row, column]:
                values[n] = image[row, column]
                n += 1
    return median_in_place(values[:n])


@kernel(f"float32[::1]({_IMAGE}, {_IMAGE}, float64, float64, float64, float64, float64)")
def between(image: Image, gap: Image, nearest: float, farthest: float, x: float, y: float, within: float) -> Image:
    """The values where the gap lies between two limits, within a distance of a place, in rising order."""
    values = np.empty(image.size, np.float32)
    n = 0
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            away_2 = (column - x) * (column - x) + (row - y) * (row - y)
            if nearest < gap[row, column] < farthest and away_2 < within * within:
                values[n] = image[row, column]
                n += 1
    return np.sort(values[:n])


@kernel(f"UniTuple(float64, 2)({_IMAGE}, float64, float64, float64, float64)")
def middle_about(image: Image, x: float, y: float, level: float, within: float) -> tuple[float, float]:
    """The middle of what is above a level within a distance of it: three rounds, beginning at a place."""
    for _ in range(3):
        sum_x, sum_y, n = 0.0, 0.0, 0
        for row in range(image.shape[0]):
            for column in range(image.shape[1]):
                away_2 = (column - x) * (column - x) + (row - y) * (row - y)
                if image[row, column] > np.float32(level) and away_2 < within * within:
                    sum_x += column
                    sum_y += row
                    n += 1
        if n:
            x, y = sum_x / n, sum_y / n
    return x, y


@kernel(f"float64[:, ::1]({_IMAGE}, float64, float64, {_TABLE}, int64)")
def rays(image: Image, x: float, y: float, along_xy: Floats, n: int) -> Floats:
    """Profiles of ``n`` pixels from a place along unit vectors, each the mean of three lines: shape (directions, n)."""
    profiles = np.empty((along_xy.shape[0], n))
    for k in range(along_xy.shape[0]):
        strip = straighten(image, x, y, along_xy[k, 0], along_xy[k, 1], n, 1)
        for i in range(n):
            profiles[k, i] = (strip[i, 0] + strip[i, 1] + strip[i, 2]) / np.float32(3.0)
    return profiles


@kernel(f"float64[:, ::1]({_TABLE}, {_TABLE}, float64, float64)")
def disc_places(steep: Floats, flat: Floats, band_px: float, least_contrast: float) -> Floats:
    """Where a run on rows and one on columns, each as long as wide, have one middle: shape (n, 3), x, y and width."""
    places = np.empty((steep.shape[0] * flat.shape[0], 3))
    middles_a, middles_b = np.empty((steep.shape[0], 3)), np.empty((flat.shape[0], 3))
    counts = np.zeros(2, np.int64)
    for side in range(2):
        runs, middles = (steep, middles_a) if side == 0 else (flat, middles_b)
        for k in range(runs.shape[0]):
            run = runs[k]
            ratio = (run[2] - run[1] + 1) * band_px / max(run[6], 1.0)
            if run[0] >= 2 and 0.4 < ratio < 1.7 and run[7] > least_contrast:
                band = 0.5 * (run[1] + run[2])
                middle = middles[counts[side]]
                middle[0] = run[3] + run[4] * band
                middle[1] = band * band_px + (band_px - 1.0) / 2.0
                middle[2] = run[6]
                counts[side] += 1
    n = 0
    for i in range(counts[0]):
        x, y, width = middles_a[i]
        for j in range(counts[1]):
            other_y, other_x, other_width = middles_b[j]
            if np.hypot(x - other_x, y - other_y) <= 0.35 * width and 0.6 < width / other_width < 1.6:
                places[n, 0], places[n, 1] = 0.5 * (x + other_x), 0.5 * (y + other_y)
                places[n, 2] = 0.5 * (width + other_width)
                n += 1
    return places[:n].copy()
