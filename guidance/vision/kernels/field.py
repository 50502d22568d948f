"""Where profiles that run out of the x-ray field leave it, and what is drawn into it."""

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel

_PROFILES = 'Array(float32, 2, "C", readonly=True)'
_ENDS = 'Array(int64, 1, "C", readonly=True)'
_GREY = 'Array(uint8, 2, "C", readonly=True)'
_INDICES = 'Array(int64, 1, "C", readonly=True)'
_POINTS = 'Array(float64, 2, "C", readonly=True)'
_LENGTHS = 'Array(float64, 1, "C", readonly=True)'

CELL_PX = 8
GLYPH_HEIGHT_PX = 6, 48
GLYPH_WIDTH_PX = 48
LEAST_GLYPH_AREA_PX = 8
EVEN_SHARE, SHARP_SHARE = 0.4, 0.6
"""More than these shares of a character's pixels have its grey, and end within one pixel."""


@kernel(f"void({_GREY}, float32[:, ::1], int32[:, ::1])")
def cell_statistics(grey: NDArray[np.uint8], level: NDArray[np.float32], busy: NDArray[np.int32]) -> None:
    """Of each cell of CELL_PX x CELL_PX its mean ``level``, to whole levels, and how many pixels are ``busy``.

    A pixel is busy that differs from its left or its upper neighbour. Cells that the picture's right and lower border
    cut are filled up with the pixels at that border.
    """
    h, w = grey.shape
    columns = level.shape[1]
    total = np.zeros(columns * CELL_PX, dtype=np.uint16)
    differs = np.zeros(columns * CELL_PX, dtype=np.uint8)
    for row in range(level.shape[0]):
        total[:] = 0
        differs[:] = 0
        for y in range(row * CELL_PX, (row + 1) * CELL_PX):
            here, above = grey[min(y, h - 1)], grey[min(max(y - 1, 0), h - 1)]
            total[0] += here[0]
            differs[0] += here[0] != above[0]
            for x in range(1, w):
                total[x] += here[x]
                differs[x] += (here[x] != here[x - 1]) | (here[x] != above[x])
            for x in range(w, columns * CELL_PX):
                total[x] += here[w - 1]
                differs[x] += here[w - 1] != above[w - 1]
        for column in range(columns):
            sum_of_levels = busy_pixels = 0
            for x in range(column * CELL_PX, (column + 1) * CELL_PX):
                sum_of_levels += total[x]
                busy_pixels += differs[x]
            level[row, column] = np.rint(np.float32(sum_of_levels) / np.float32(CELL_PX * CELL_PX))
            busy[row, column] = busy_pixels


@kernel(f"void({_POINTS}, {_POINTS}, float64[::1])")
def hull_radii(hull: NDArray[np.float64], heading: NDArray[np.float64], reach: NDArray[np.float64]) -> None:
    """Fill ``reach`` with the distances from the origin to a convex hull, (n, 2), along each heading, (rays, 2)."""
    n = len(hull)
    for i in range(len(heading)):
        turn_x, turn_y = heading[i]
        farthest = 0.0
        for a in range(n):
            x, y = hull[a]
            next_x, next_y = hull[(a + 1) % n]
            edge_x, edge_y = next_x - x, next_y - y
            cross = turn_x * edge_y - turn_y * edge_x
            if cross == 0.0:
                continue
            along = (x * edge_y - y * edge_x) / cross
            share = (x * turn_y - y * turn_x) / cross
            if -1e-6 < share < 1.0 + 1e-6:
                farthest = max(farthest, along)
        reach[i] = farthest


@kernel(f"void(float64, float64, {_POINTS}, {_LENGTHS}, int64, int64, float32[:, ::1], float32[:, ::1], int64[::1])")
def along_rays(
    centre_x: float,
    centre_y: float,
    heading: NDArray[np.float64],
    first: NDArray[np.float64],
    w: int,
    h: int,
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    ends: NDArray[np.int64],
) -> None:
    """Fill ``x`` and ``y``, (rays, steps), with places 1 px apart along each heading, from ``first`` px off the centre.

    ``ends``: how many of a ray's places come before the first that lies outside the frame, ``w`` by ``h``.
    """
    steps = x.shape[1]
    for i in range(len(heading)):
        turn_x, turn_y = heading[i]
        end = steps
        for s in range(steps):
            along = first[i] + s
            at_x, at_y = centre_x + turn_x * along, centre_y + turn_y * along
            x[i, s], y[i, s] = at_x, at_y
            if end == steps and ((at_x < -0.5) | (at_y < -0.5) | (at_x > w - 0.5) | (at_y > h - 0.5)):
                end = s
        ends[i] = end


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


@kernel(f"void({_GREY}, float32[:, ::1])")
def area_mean(grey: NDArray[np.uint8], small: NDArray[np.float32]) -> None:
    """Fill ``small`` with the means, to whole levels, of the parts of the picture that its pixels cover.

    What OpenCV's ``INTER_AREA`` gives, but for how halves are rounded, in a fifth of the time: it takes each row of the
    picture at once.
    """
    h, w = grey.shape
    rows, columns = small.shape
    down, across = h / rows, w / columns
    total = np.empty(w, dtype=np.float32)
    # What each column of ``small`` takes of which pixels of a row is the same for all rows.
    first = np.empty(columns, dtype=np.int64)
    shares = np.zeros((columns, int(across) + 3))
    for column in range(columns):
        left, right = column * across, min((column + 1) * across, float(w))
        first[column] = int(left)
        for x in range(int(left), int(np.ceil(right))):
            shares[column, x - int(left)] = min(right, x + 1.0) - max(left, float(x))
    for row in range(rows):
        top, bottom = row * down, min((row + 1) * down, float(h))
        total[:] = np.float32(0.0)
        for y in range(int(top), int(np.ceil(bottom))):
            share = np.float32(min(bottom, y + 1.0) - max(top, float(y)))
            line = grey[y]
            for x in range(w):
                total[x] += share * np.float32(line[x])
        for column in range(columns):
            mean = 0.0
            for i in range(min(shares.shape[1], w - first[column])):
                mean += shares[column, i] * total[first[column] + i]
            small[row, column] = np.rint(mean / (down * across))


@kernel(f"int64[:, ::1]({_GREY}, boolean[:, ::1], {_INDICES}, int64, int64)")
def glyphs(
    grey: NDArray[np.uint8], strokes: NDArray[np.bool_], starts: NDArray[np.int64], even: int, steep: int
) -> NDArray[np.int64]:
    """Boxes (x0, y0, x1, y1), shape (n, 4), of the connected strokes as large, as even and as sharp as a character.

    ``strokes``: like ``grey``, none of them on its border; all False afterwards. ``starts``: where, as indices into
    the flattened picture. Pixels connect to all eight neighbours. A stroke is even where it differs from its own median
    by no more than ``even``, sharp where the levels of a pixel and its neighbours differ by more than ``steep``.
    """
    w = grey.shape[1]
    level, is_stroke = grey.ravel(), strokes.ravel()
    around = np.array([-w - 1, -w, -w + 1, -1, 1, w - 1, w, w + 1])
    boxes = np.empty((len(starts) // LEAST_GLYPH_AREA_PX + 1, 4), dtype=np.int64)
    found = 0
    pixels = np.empty(len(starts), dtype=np.int64)
    count = np.empty(256, dtype=np.int64)
    for start in starts:
        if not is_stroke[start]:
            continue
        is_stroke[start] = False
        pixels[0] = start
        area, looked = 1, 0
        while looked < area:
            for step in around:
                beside = pixels[looked] + step
                if is_stroke[beside]:
                    is_stroke[beside] = False
                    pixels[area] = beside
                    area += 1
            looked += 1
        if area < LEAST_GLYPH_AREA_PX:
            continue
        stroke = pixels[:area]
        top, bottom = stroke.min() // w, stroke.max() // w
        if not GLYPH_HEIGHT_PX[0] <= bottom + 1 - top <= GLYPH_HEIGHT_PX[1]:
            continue
        left = right = start % w
        for pixel in stroke:
            left, right = min(left, pixel % w), max(right, pixel % w)
        if right + 1 - left > GLYPH_WIDTH_PX:
            continue
        count[:] = 0
        for pixel in stroke:
            count[level[pixel]] += 1
        lower = upper = -1
        below = 0
        for grade in range(256):
            below += count[grade]
            if lower < 0 and 2 * below >= area:
                lower = grade
            if upper < 0 and 2 * below > area:
                upper = grade
        evens = 0
        for grade in range(256):
            if abs(2 * grade - lower - upper) <= 2 * even:
                evens += count[grade]
        if evens <= EVEN_SHARE * area:
            continue
        sharp = 0
        for pixel in stroke:
            low = high = int(level[pixel])
            for step in around:
                low, high = min(low, int(level[pixel + step])), max(high, int(level[pixel + step]))
            sharp += high - low > steep
        if sharp > SHARP_SHARE * area:
            boxes[found, 0], boxes[found, 1], boxes[found, 2], boxes[found, 3] = left, top, right + 1, bottom + 1
            found += 1
    return boxes[:found].copy()
