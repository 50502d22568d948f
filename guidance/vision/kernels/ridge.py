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

_IMAGE = 'Array(float32, 2, "C", readonly=True)'
_INTS = 'Array(int32, 1, "C", readonly=True)'


@kernel("float64(float32[::1], float64, int64, int64, float64)")
def _half_way(line: NDArray[np.float32], start: float, step: int, most: int, level: float) -> float:
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


@kernel(f"float32[:, ::1]({_IMAGE}, int64, {_INTS}, float64, int64)")
def ribbon_points(
    density: Image, band_px: int, widths_px: NDArray[np.int32], least_contrast: float, most: int
) -> Image:
    """Where bands of rows cross a dark ribbon: shape (n, 4), columns band number, x, width and contrast.

    ``density``: larger is darker; excluded pixels must be much darker than anything real, so that they can be no
    flank. ``band_px`` rows are averaged to one scan line. ``widths_px``: the section widths looked for.
    Contrast is the core above the darker of its two flanks. At most ``most`` points, from the top.
    """
    height, width = density.shape
    line = np.empty(width, np.float32)
    total = np.zeros(width + 1, np.float32)
    best = np.empty(width, np.float32)
    section_at = np.empty(width, np.int32)
    points = np.empty((most, 4), np.float32)
    n = 0
    for band in range(height // band_px):
        line[:] = density[band * band_px]
        for r in range(1, band_px):
            row = density[band * band_px + r]
            for x in range(width):
                line[x] += row[x]
        for x in range(width):
            line[x] /= np.float32(band_px)
            total[x + 1] = total[x] + line[x]
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
            best_here, section_here = best[far : width - far], section_at[far : width - far]
            for i in range(width - 2 * far):
                left = (left_to[i] - left_from[i]) * per_flank
                right = (right_to[i] - right_from[i]) * per_flank
                contrast = (core_to[i] - core_from[i]) * per_core - max(left, right)
                better = contrast > best_here[i]
                best_here[i] = contrast if better else best_here[i]
                section_here[i] = section if better else section_here[i]
        for x in range(2, width - 2):
            contrast = best[x]
            if contrast < least_contrast or contrast < best[x - 1] or contrast < best[x - 2]:
                continue
            if contrast <= best[x + 1] or contrast <= best[x + 2]:
                continue
            section = section_at[x]
            core, near, far = max(1, section * 3 // 10), section // 2 + 1, section // 2 + 1 + max(2, section // 3)
            middle = (total[x + core + 1] - total[x - core]) / (2 * core + 1)
            left = (total[x - near + 1] - total[x - far + 1]) / (far - near)
            right = (total[x + far] - total[x + near]) / (far - near)
            points[n, 0] = band
            from_x = _half_way(line, x, -1, far, 0.5 * (middle + left))
            to_x = _half_way(line, x, 1, far, 0.5 * (middle + right))
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


@kernel(f"float32[:, ::1]({_IMAGE}, float64, float64, float64, float64, int64, int64)")
def straighten(
    image: Image, x: float, y: float, along_x: float, along_y: float, n_along: int, half_across: int
) -> Image:
    """A strip of the image along a line, shape (n_along, 2 * half_across + 1), bilinear, one pixel a step.

    Row i lies i pixels from (x, y) along the unit vector (along_x, along_y); columns run across it, to its right
    as seen on the screen with y down. Outside the image: NaN.
    """
    height, width = image.shape
    strip = np.empty((n_along, 2 * half_across + 1), np.float32)
    for i in range(n_along):
        row_x, row_y = x + i * along_x, y + i * along_y
        reach_x, reach_y = half_across * abs(along_y) + 1.0, half_across * abs(along_x) + 1.0
        if reach_x <= row_x < width - 1 - reach_x and reach_y <= row_y < height - 1 - reach_y:
            # Wholly inside: no test for each pixel, and no floor of what is positive.
            for j in range(2 * half_across + 1):
                across = j - half_across
                px, py = row_x - across * along_y, row_y + across * along_x
                ix, iy = int(px), int(py)
                share_x, share_y = np.float32(px - ix), np.float32(py - iy)
                upper = image[iy, ix] + share_x * (image[iy, ix + 1] - image[iy, ix])
                lower = image[iy + 1, ix] + share_x * (image[iy + 1, ix + 1] - image[iy + 1, ix])
                strip[i, j] = upper + share_y * (lower - upper)
            continue
        for j in range(2 * half_across + 1):
            across = j - half_across
            px = x + i * along_x - across * along_y
            py = y + i * along_y + across * along_x
            ix, iy = int(np.floor(px)), int(np.floor(py))
            if ix < 0 or iy < 0 or ix >= width - 1 or iy >= height - 1:
                strip[i, j] = np.nan
                continue
            fx, fy = px - ix, py - iy
            top = image[iy, ix] * (1.0 - fx) + image[iy, ix + 1] * fx
            low = image[iy + 1, ix] * (1.0 - fx) + image[iy + 1, ix + 1] * fx
            strip[i, j] = top * (1.0 - fy) + low * fy
    return strip


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


@kernel(f"float32[:, ::1]({_IMAGE}, int64, float64, float64, float64)")
def cross_sections(strip: Image, start: int, centre: float, width: float, least_contrast: float) -> Image:
    """The shaft's section at every row of a strip: shape (n, 5), followed outwards from row ``start``.

    Columns: centre and width (at half contrast, NaN where there is no ribbon), contrast of the core above its
    darker flank, core density, mean flank density. Pixels of 8 and more, or NaN, are outside the x-ray field: a row
    whose core or flank touches them is NaN altogether. The centre follows the shaft slowly: pins bow.
    """
    n, across = strip.shape
    sections = np.full((n, 5), np.nan, np.float32)
    line = np.empty(across, np.float32)
    near, far = 0.5 * width + 1.0, 0.5 * width + 1.0 + max(2.0, 0.33 * width)
    core = max(1.0, 0.3 * width)
    for direction in (1, -1):
        at = centre
        i = start if direction == 1 else start - 1
        while 0 <= i < n:
            before, after = max(0, i - 1), min(n - 1, i + 1)
            for j in range(across):
                line[j] = (strip[before, j] + strip[i, j] + strip[after, j]) / np.float32(3.0)
            core_sum, left, right, n_core, n_left, n_right = 0.0, 0.0, 0.0, 0, 0, 0
            for j in range(across):
                off = j - at
                if abs(off) <= core:
                    core_sum += line[j]
                    n_core += 1
                elif near <= -off <= far:
                    left += line[j]
                    n_left += 1
                elif near <= off <= far:
                    right += line[j]
                    n_right += 1
            if n_core > 0 and n_left > 0 and n_right > 0:
                middle, left, right = core_sum / n_core, left / n_left, right / n_right
                # NaN fails the comparison, too.
                if middle < 8.0 and left < 8.0 and right < 8.0:
                    contrast = middle - max(left, right)
                    sections[i, 2], sections[i, 3], sections[i, 4] = contrast, middle, 0.5 * (left + right)
                    if contrast >= least_contrast:
                        reach = int(far) + 1
                        a = _half_way(line, at, -1, reach, 0.5 * (middle + left))
                        b = _half_way(line, at, 1, reach, 0.5 * (middle + right))
                        sections[i, 0], sections[i, 1] = 0.5 * (a + b), b - a
                        if abs(0.5 * (a + b) - at) < 0.3 * width + 1.0:
                            at += 0.15 * (0.5 * (a + b) - at)
            i += direction
    return sections


ONE_SIDED = 0.6
"""Of a shaft's contrast: so dark against its lighter flank it goes on, though another shaft lies along the other."""
BORDER, DARK, FREE = 0, 1, 2
"""How a shaft ends: at the edge of the x-ray field, in something as dark as itself, or with light beyond it."""


@kernel(f"int64[::1]({_IMAGE}, int64, int64, float64, float64, float64, int64)")
def shaft_ends(
    sections: Image, low: int, high: int, contrast: float, width: float, least_contrast: float, longest_gap: int
) -> NDArray[np.int64]:
    """How far a shaft goes: [first row, last row, kind of the first end, kind of the last].

    ``sections`` as from ``cross_sections``; ``low`` to ``high``: the rows that are certainly shaft; ``contrast`` and
    ``width``: what it shows there. A shaft goes on while its rows are ribbon or as dark as it is (it crosses
    another object), and over at most ``longest_gap`` rows that are neither.
    """
    n = sections.shape[0]
    ends = np.empty(4, np.int64)
    threshold = max(least_contrast, 0.3 * contrast)
    for side in range(2):
        step = 1 if side == 1 else -1
        last = high if side == 1 else low
        level = np.nan
        for k in range(min(int(2 * width) + 4, high - low + 1)):
            core = sections[last - step * k, 3]
            if core == core:
                level = core if level != level else max(level, core)
        dark, light, kind = 0, 0, BORDER
        i = last + step
        while 0 <= i < n:
            core = sections[i, 3]
            if core != core:
                break
            wide = sections[i, 1]
            if sections[i, 2] >= threshold and 0.4 * width <= wide <= 1.8 * width:
                last, dark, light = i, 0, 0
                level += 0.1 * (core - level)
            elif (
                core >= level - 0.4 * contrast or 2.0 * (core - sections[i, 4]) - sections[i, 2] >= ONE_SIDED * contrast
            ):
                # As dark as the shaft, or dark against one side: another shaft lies along the other.
                dark += 1
            else:
                light += 1
            if light > longest_gap:
                kind = FREE if dark <= light else DARK
                break
            if dark > 3 * width + 40:
                kind = DARK
                break
            i += step
        if kind == BORDER and abs(i - last) > width + 4:
            kind = DARK if dark > light else FREE
        ends[side], ends[2 + side] = last, kind
    return ends
