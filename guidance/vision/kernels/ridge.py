"""Dark ribbons on scan lines, and the straight runs that they form: the dense part of the needle search.

A needle cuts every scan line it crosses in the same way: a dark section of constant width between two lighter
flanks. Looking for that section on rows (steep needles) and on columns (flat ones) costs a few operations a pixel,
where a bank of oriented filters costs hundreds. Both flanks must be lighter, so a single edge (cortex, collimator,
skin) scores nothing.
"""

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel

Image = NDArray[np.float32]
Mask = NDArray[np.uint8]

_IMAGE = 'Array(float32, 2, "C", readonly=True)'
_INTS = 'Array(int32, 1, "C", readonly=True)'
_LINE = 'Array(float32, 1, "C", readonly=True)'
_LINES = 'Array(float64, 2, "C", readonly=True)'
_MASK = 'Array(uint8, 2, "C", readonly=True)'
_LANES = 4


@kernel('float64(Array(float32, 1, "C", readonly=True), float64, int64, int64, float64)')
def half_way(line: NDArray[np.float32], start: float, step: int, most: int, level: float) -> float:
    """Where the line first falls to ``level``, going from ``start`` by ``step``: sub-pixel position."""
    x = int(np.floor(start + 0.5))
    for _ in range(most):
        ahead = x + step
        if ahead < 0 or ahead >= line.size:
            break
        if line[ahead] <= level:
            drop = line[x] - line[ahead]
            share = min(1.0, max(0.0, (line[x] - level) / drop)) if drop > 0 else 0.5
            return x + step * share
        x = ahead
    return float(x)


@kernel(f"boolean({_IMAGE}, {_MASK}, float32, int64, int64, float64)")
def is_rougher(image: Image, mask: Mask, most: np.float32, first_row: int, row_step: int, level: float) -> bool:
    """Whether the median size of second differences along every ``row_step``-th row, where the mask is set, is above
    a level. ``most``: of the image; what is more is cut.
    """
    above, inside = 0, 0
    for y in range(first_row, image.shape[0], row_step):
        row, seen = image[y], mask[y]
        for x in range(1, row.size - 1):
            bend = abs(min(row[x + 1], most) - np.float32(2.0) * min(row[x], most) + min(row[x - 1], most))
            inside += seen[x] != 0
            above += (seen[x] != 0) & (bend > level)
    if 2 * above != inside or inside == 0:
        return 2 * above > inside
    # As many above as below: the median lies half-way between the two in the middle.
    least_above, most_below = np.float32(np.inf), np.float32(-np.inf)
    for y in range(first_row, image.shape[0], row_step):
        row, seen = image[y], mask[y]
        for x in range(1, row.size - 1):
            bend = abs(min(row[x + 1], most) - np.float32(2.0) * min(row[x], most) + min(row[x - 1], most))
            if seen[x] != 0 and bend > level:
                least_above = min(least_above, bend)
            elif seen[x] != 0:
                most_below = max(most_below, bend)
    return bool(0.5 * (np.float64(least_above) + np.float64(most_below)) > level)


@kernel(f"void({_IMAGE}, {_MASK}, float32[:, ::1], uint8[:, ::1])")
def halve(image: Image, mask: Mask, half: Image, seen: Mask) -> None:
    """Means of two by two pixels, to ``half``, and 1 to ``seen``; 0 to both where the mask is not set on all four."""
    for y in range(half.shape[0]):
        upper, lower, in_upper, in_lower = image[2 * y], image[2 * y + 1], mask[2 * y], mask[2 * y + 1]
        to, is_seen = half[y], seen[y]
        for x in range(half.shape[1]):
            inside = in_upper[2 * x] & in_upper[2 * x + 1] & in_lower[2 * x] & in_lower[2 * x + 1]
            mean = (upper[2 * x] + upper[2 * x + 1] + (lower[2 * x] + lower[2 * x + 1])) * np.float32(0.25)
            to[x] = mean if inside != 0 else np.float32(0.0)
            is_seen[x] = inside != 0


@kernel(
    f"void({_IMAGE}, {_MASK}, float32, float32, float32[:, ::1], float32[:, ::1], float32[:, ::1])",
)
def prepare(
    image: Image, mask: Mask, most: np.float32, outside: np.float32, cut: Image, of_rows: Image, of_columns: Image
) -> None:
    """The image cut at ``most``, with ``outside`` where the mask is not set, to ``cut``; of that the means of every
    three rows, shape (height // 3, width), and of every three columns, (height, width // 3).
    """
    height, width = image.shape
    for y in range(height):
        row, inside, to = image[y], mask[y], cut[y]
        for x in range(width):
            value = min(row[x], most)
            to[x] = value if inside[x] != 0 else outside
        line = of_columns[y]
        for band in range(line.size):
            line[band] = (to[3 * band] + to[3 * band + 1] + to[3 * band + 2]) / np.float32(3.0)
        if y % 3 == 2:
            line, upper, middle = of_rows[y // 3], cut[y - 2], cut[y - 1]
            for x in range(width):
                line[x] = (upper[x] + middle[x] + to[x]) / np.float32(3.0)


@kernel(f"float32({_LINE}, int64, int64)")
def _contrast(total: NDArray[np.float32], x: int, section: int) -> np.float32:
    """Of a section at x: its core above the darker flank. ``total``: the running sum of the scan line."""
    core, near, far = max(1, section * 3 // 10), section // 2 + 1, section // 2 + 1 + max(2, section // 3)
    per_core, per_flank = np.float32(1.0) / np.float32(2 * core + 1), np.float32(1.0) / np.float32(far - near)
    left = (total[x - near + 1] - total[x - far + 1]) * per_flank
    right = (total[x + far] - total[x + near]) * per_flank
    return np.float32((total[x + core + 1] - total[x - core]) * per_core - max(left, right))


@kernel(f"float32[:, ::1]({_IMAGE}, {_INTS}, float64, int64)")
def ribbon_points(lines: Image, widths_px: NDArray[np.int32], least_contrast: float, most: int) -> Image:
    """Where scan lines cross a dark ribbon: shape (n, 4), columns line number, x, width and contrast.

    ``lines``: of density, larger is darker; excluded pixels must be much darker than anything real, so that they can be
    no flank. ``widths_px``: the section widths looked for. Contrast is the core above the darker of its two flanks. At
    most ``most`` points, from the top.
    """
    n_lines, width = lines.shape
    totals = np.zeros((_LANES, width + 1), np.float32)
    best = np.empty(width, np.float32)
    points = np.empty((most, 4), np.float32)
    n = 0
    for band in range(n_lines):
        line, total = lines[band], totals[band % _LANES]
        if band % _LANES == 0:
            # A running sum waits for each of its additions; the next lines' are done meanwhile.
            a, b = lines[band], lines[min(band + 1, n_lines - 1)]
            c, d = lines[min(band + 2, n_lines - 1)], lines[min(band + 3, n_lines - 1)]
            sum_a, sum_b, sum_c, sum_d = np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0)
            for x in range(width):
                sum_a += a[x]
                sum_b += b[x]
                sum_c += c[x]
                sum_d += d[x]
                totals[0, x + 1], totals[1, x + 1], totals[2, x + 1], totals[3, x + 1] = sum_a, sum_b, sum_c, sum_d
        best[:] = 0.0
        for section in widths_px:
            core, near, far = max(1, section * 3 // 10), section // 2 + 1, section // 2 + 1 + max(2, section // 3)
            if width <= 2 * far:
                continue
            per_core = np.float32(1.0) / np.float32(2 * core + 1)
            per_flank = np.float32(1.0) / np.float32(far - near)
            # Six shifted views instead of six computed indices: only so does the loop become vector code.
            left_from, left_to = total[1:], total[1 + far - near :]
            core_from, core_to = total[far - core :], total[far + core + 1 :]
            right_from, right_to = total[far + near :], total[2 * far :]
            best_here = best[far : width - far]
            for i in range(width - 2 * far):
                left = (left_to[i] - left_from[i]) * per_flank
                right = (right_to[i] - right_from[i]) * per_flank
                contrast = (core_to[i] - core_from[i]) * per_core - max(left, right)
                best_here[i] = contrast if contrast > best_here[i] else best_here[i]
        for x in range(2, width - 2):
            contrast = best[x]
            if contrast < least_contrast or contrast < best[x - 1] or contrast < best[x - 2]:
                continue
            if contrast <= best[x + 1] or contrast <= best[x + 2]:
                continue
            # Which it was: the first that is as good.
            section = 0
            for wanted in widths_px:
                far = wanted // 2 + 1 + max(2, wanted // 3)
                if section == 0 and far <= x < width - far and _contrast(total, x, wanted) >= contrast:
                    section = wanted
            core, near, far = max(1, section * 3 // 10), section // 2 + 1, section // 2 + 1 + max(2, section // 3)
            middle = (total[x + core + 1] - total[x - core]) / (2 * core + 1)
            left = (total[x - near + 1] - total[x - far + 1]) / (far - near)
            right = (total[x + far] - total[x + near]) / (far - near)
            points[n, 0] = band
            from_x = half_way(line, x, -1, far, 0.5 * (middle + left))
            to_x = half_way(line, x, 1, far, 0.5 * (middle + right))
            points[n, 1] = 0.5 * (from_x + to_x)
            points[n, 2] = to_x - from_x
            points[n, 3] = contrast
            n += 1
            if n == most:
                return points
    return points[:n].copy()


@kernel(f"int32[::1]({_IMAGE}, float64, int64)")
def straight_runs(points: Image, band_px: float, longest_gap: int) -> NDArray[np.int32]:
    """For each ribbon point, the number of the straight run it belongs to: shape (n,), counted from 0.

    ``points`` as from ``ribbon_points``, in the order of their bands. A run continues at most 46° off the scan
    direction, near the line through its latest points (least squares with forgetting, so a bowed pin stays one
    run), and may miss ``longest_gap`` bands. A point belongs to one run: at a crossing the other coasts over it.
    """
    n = points.shape[0]
    run_of = np.full(n, -1, np.int32)
    # Per open run: weighted sums about its latest band, for the line x(u) with u in bands.
    weight = np.zeros(n, np.float64)
    su = np.zeros(n, np.float64)
    suu = np.zeros(n, np.float64)
    sx = np.zeros(n, np.float64)
    sux = np.zeros(n, np.float64)
    width = np.zeros(n, np.float64)
    last = np.zeros(n, np.int64)
    length = np.zeros(n, np.int64)
    taker = np.full(n, -1, np.int64)
    cost_of = np.zeros(n, np.float64)
    active = np.empty(n, np.int64)
    n_active, n_runs, first = 0, 0, 0
    while first < n:
        band = int(points[first, 0])
        end = first
        while end < n and int(points[end, 0]) == band:
            end += 1
        kept = 0
        for i in range(n_active):
            if band - last[active[i]] <= min(longest_gap, 1 + length[active[i]] // 2):
                active[kept] = active[i]
                kept += 1
        n_active = kept
        for i in range(n_active):
            taker[active[i]] = -1
        for p in range(first, end):
            best, best_cost = -1, 1.0
            for i in range(n_active):
                run = active[i]
                ahead = band - last[run]
                if length[run] < 2:
                    expected = sx[run]
                    gate = 1.05 * band_px * ahead + 1.0
                else:
                    spread = weight[run] * suu[run] - su[run] * su[run]
                    slope = (weight[run] * sux[run] - su[run] * sx[run]) / spread
                    expected = (sx[run] - slope * su[run]) / weight[run] + slope * ahead
                    gate = 1.0 + 0.12 * width[run] + (3.0 if length[run] < 4 else 0.4) * min(ahead, 4)
                off = abs(points[p, 1] - expected)
                # By the narrower of the two: a shaft that leaves its hub must not carry the hub's width along.
                wider = abs(points[p, 2] - width[run]) / (min(points[p, 2], width[run]) + 2.0)
                if off > gate or wider > 0.66:
                    continue
                cost = off / gate * 0.6 + wider * 0.3 - 0.02 * min(length[run], 20)
                if cost < best_cost:
                    best, best_cost = run, cost
            if best >= 0 and (taker[best] < 0 or best_cost < cost_of[best]):
                taker[best], cost_of[best] = p, best_cost
        for i in range(n_active):
            run = active[i]
            p = taker[run]
            if p < 0:
                continue
            ahead = float(band - last[run])
            suu[run] += ahead * (ahead * weight[run] - 2.0 * su[run])
            su[run] -= ahead * weight[run]
            sux[run] -= ahead * sx[run]
            fade = 0.93**ahead
            suu[run] *= fade
            su[run] *= fade
            sux[run] *= fade
            weight[run] = weight[run] * fade + 1.0
            sx[run] = sx[run] * fade + points[p, 1]
            width[run] += (points[p, 2] - width[run]) / min(length[run] + 1.0, 10.0)
            last[run] = band
            length[run] += 1
            run_of[p] = run
        for p in range(first, end):
            if run_of[p] < 0:
                run = n_runs
                n_runs += 1
                weight[run], sx[run], width[run] = 1.0, points[p, 1], points[p, 2]
                last[run], length[run] = band, 1
                run_of[p] = run
                active[n_active] = run
                n_active += 1
        first = end
    return run_of


@kernel(f"float64[:, ::1]({_IMAGE}, {_INTS}, int64)")
def run_lines(points: Image, run_of: NDArray[np.int32], n_runs: int) -> NDArray[np.float64]:
    """Each run's straight line: shape (n_runs, 8).

    Columns: number of points, first and last band, x at band 0, x per band, rms distance in x, mean width, mean
    contrast.
    """
    sums = np.zeros((n_runs, 6))
    lines = np.zeros((n_runs, 8))
    lines[:, 1] = np.inf
    for p in range(points.shape[0]):
        line, add = lines[run_of[p]], sums[run_of[p]]
        band, x = float(points[p, 0]), float(points[p, 1])
        line[0] += 1.0
        line[1] = min(line[1], band)
        line[2] = max(line[2], band)
        line[6] += points[p, 2]
        line[7] += points[p, 3]
        add[0] += band
        add[1] += band * band
        add[2] += x
        add[3] += band * x
        add[4] += x * x
    for r in range(n_runs):
        n, add = lines[r, 0], sums[r]
        spread = add[1] - add[0] * add[0] / n
        slope = (add[3] - add[0] * add[2] / n) / spread if spread > 0 else 0.0
        lines[r, 3] = (add[2] - slope * add[0]) / n
        lines[r, 4] = slope
        squares = add[4] - add[2] * add[2] / n - slope * slope * spread
        lines[r, 5] = np.sqrt(max(0.0, squares) / n)
        lines[r, 6] /= n
        lines[r, 7] /= n
    return lines


START_X, START_Y, END_X, END_Y, ALONG_X, ALONG_Y, WIDTH, CONTRAST, WEIGHT = range(9)
"""The columns of straight lines: ends and unit direction, width across it, contrast; what decides which comes first."""


@kernel(f"float64[:, ::1]({_LINES}, boolean, float64, float64, float64, float64)")
def straight_lines(
    runs: NDArray[np.float64], flat: bool, band_px: float, least_length: float, thinnest: float, thickest: float
) -> NDArray[np.float64]:
    """The runs that are long, straight and unbroken enough for a shaft, as lines in pixels: shape (n, 9).

    ``runs``: as from ``run_lines``, on columns where ``flat``. ``thinnest``, ``thickest``: of its width.
    """
    lines = np.empty((runs.shape[0], 9))
    n = 0
    for k in range(runs.shape[0]):
        run = runs[k]
        first, last, slope = run[1], run[2], run[4]
        if run[0] < 5:
            continue
        slant = 1.0 / np.hypot(1.0, slope / band_px)
        length, across = (last - first) * band_px / slant, run[6] * slant
        if length < least_length or not thinnest <= across <= thickest:
            continue
        if run[5] * slant > max(0.8, 0.15 * across) or run[0] < 0.5 * (last - first + 1):
            continue
        line = lines[n]
        n += 1
        # Of scan lines one axis is along them, the other across.
        x, y = (1, 0) if flat else (0, 1)
        line[START_X + x], line[START_X + y] = run[3] + slope * first, first * band_px + (band_px - 1.0) / 2.0
        line[END_X + x], line[END_X + y] = run[3] + slope * last, last * band_px + (band_px - 1.0) / 2.0
        line[ALONG_X + x], line[ALONG_X + y] = slope / band_px * slant, slant
        line[WIDTH], line[CONTRAST], line[WEIGHT] = across, run[7], run[0] * min(run[7], 1.0)
    return lines[:n].copy()
