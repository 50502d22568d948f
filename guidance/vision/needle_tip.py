"""The tip of a shaft, measured at full resolution with a model of the trocar point."""

from dataclasses import dataclass
from math import ceil, inf

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.records import PointPx
from guidance.vision.kernels import points, ridge
from guidance.vision.needle_point import BEFORE_APEX, CORE, GRAIN, point_images
from guidance.vision.needle_shaft import Floats, Shaft, falls_to, median
from guidance.vision.picture import Picture, density_of

HALF_CONTRAST_SHARE = 0.97
"""A steel cylinder's shadow is half as dark as in its middle this far out, as a share of its radius."""
FIT_REACH = 0.3
"""How far the apex may lie from where the point at half contrast puts it, in diameters."""
PIXELS_A_SAMPLE = 6.0
"""Neighbouring pixels of a blurred picture share their noise: so many count as one."""


@dataclass(frozen=True, slots=True)
class Tip:
    """A shaft's end, measured at full resolution, in input-frame pixels.

    ``drop``: how much of the shaft's contrast is gone beyond it; ``dark_ahead``: the share of the patch in front of
    it that is as dark as the shaft, which then bends or goes on in something else; ``ragged``: the share of its last
    stretch that has not the shaft's width; ``dark_reach_px``: how far ahead its axis stays as dark as at its end;
    ``steel_share``: how much its last stretch stands out from what lies beside it, as a share of the whole shaft.
    """

    apex_xy: PointPx
    towards_xy: PointPx
    diameter_px: float
    drop: float
    dark_ahead: float
    ragged: float
    dark_reach_px: float
    steel_share: float


def find_tip(picture: Picture, shaft: Shaft, end: int) -> Tip | None:
    """The apex at full resolution, from the shaft's profile along its axis; None where the profile has no end."""
    near, towards = _axis_at(shaft, end)
    near = picture.to_frame_px(near)
    width = shaft.width * picture.factor
    visible = (shaft.last - shaft.first) * picture.factor
    back, ahead = int(min(6 * width + 12, max(visible, 2.5 * width))), int(2.5 * width) + 10
    half = int(1.2 * width) + 5
    strip = _full_resolution_strip(picture, near, towards, back, ahead, half)
    # The section is measured well behind the tip, where no taper thins it and no cement widens it.
    body = slice(0, back - int((2.0 if back > 4 * width else 0.7) * width))
    across = _mean(strip[body], axis=0).astype(np.float64) * (-1.0 if picture.field.bone_dark else 1.0)
    profile = _section_of(across)
    if profile is None:
        return None
    centre, diameter, blur = profile
    near = near + np.array([-towards[1], towards[0]]) * (centre - half)
    strip = _full_resolution_strip(picture, near, towards, back, ahead, half)
    raised = _density(picture, strip)
    beside = _lighter_flank(picture, strip, half, diameter, blur)
    # Both sides of the axis in one: a slope of the background across it cancels.
    folded = 0.5 * (raised[:, half:] + raised[:, half::-1]) - beside[:, None]
    fit = _fit_end(folded, float(back), diameter, blur)
    if fit is None:
        return None
    apex, contrast, beyond = fit
    last = slice(max(0, int(apex - 1.6 * diameter)), max(1, int(apex - 0.6 * diameter)))
    patch = strip[int(apex + 0.6 * diameter) + 1 : int(apex + 1.6 * diameter) + 3]
    beside_tip = beside[max(0, int(apex - 3 * diameter)) : max(1, int(apex))]
    at_end = slice(max(0, int(apex - 1.3 * diameter)), max(1, int(apex - 0.4 * diameter)))
    core = raised[at_end, half - max(1, int(0.25 * diameter)) : half + max(1, int(0.25 * diameter)) + 1]
    # Half-way to what lies beside it; where that is still soft tissue while the end lies in bone, to bone.
    half_dark = max(float(np.nanmedian(beside_tip)) + 0.5 * contrast, float(np.nanmedian(core)) - 0.5 * contrast)
    dark = _density(picture, cv2.blur(patch, (3, 3))) > half_dark if len(patch) else np.ones(1)
    xy = near + towards * (apex - back)
    return Tip(
        apex_xy=(float(xy[0]), float(xy[1])),
        towards_xy=(float(towards[0]), float(towards[1])),
        diameter_px=diameter,
        drop=(contrast - beyond) / shaft.contrast,
        dark_ahead=float(np.mean(dark)),
        ragged=_ragged(shaft, end),
        dark_reach_px=_dark_reach(raised[:, half], apex, float(np.nanmedian(core)) - 0.5 * contrast),
        steel_share=float(np.nanmedian(_core_along(folded, diameter)[last])) / contrast,
    )


def _dark_reach(axis: Floats, apex: float, level: float) -> float:
    """How many rows beyond the apex are darker than the level, on the average of five; infinite where all are."""
    dark = np.convolve(axis, np.ones(5) / 5, mode="same")[ceil(apex) : -2] > level
    return float(np.argmin(dark)) if not dark.all() else inf


def _ragged(shaft: Shaft, end: int) -> float:
    """The share of the shaft's last stretch before its taper that has not its width: cement or metal is there."""
    near, far = int(0.8 * shaft.width), max(int(2.5 * shaft.width), int(0.8 * shaft.width) + 3)
    rows = slice(shaft.first + near, shaft.first + far) if end == 0 else slice(shaft.last - far, shaft.last - near)
    widths = shaft.sections[rows, 1]
    return 1.0 - float(np.mean(np.abs(widths - shaft.width) < 0.2 * shaft.width)) if len(widths) else 1.0


def _axis_at(shaft: Shaft, end: int) -> tuple[Floats, Floats]:
    """The last visible point of the axis and the unit direction out of that end, in work pixels.

    Fitted to the half-contrast centres of the part nearest the end, because long pins bow; other objects beside the
    shaft pull single centres aside, so those far off the line lose their weight.
    """
    centres = shaft.sections[shaft.first : shaft.last + 1, 0].astype(np.float64)
    rows = shaft.first + np.nonzero(np.isfinite(centres))[0].astype(np.float64)
    centres = centres[np.isfinite(centres)]
    reach = max(20, min(len(rows), int(max(40.0, 8.0 * shaft.width))))
    chosen = slice(0, reach) if end == 0 else slice(-reach, None)
    rows, centres = rows[chosen], centres[chosen]
    weight = np.ones(len(rows))
    slope = offset = 0.0
    for _ in range(3):
        slope, offset = _line_fit(rows, centres, weight)
        miss = np.abs(centres - slope * rows - offset)
        weight = 1.0 / (1.0 + (miss / (2.0 * median(miss) + 0.05)) ** 2)
    (ux, uy), out = shaft.along_xy, -1 if end == 0 else 1
    towards = out * np.array([ux - slope * uy, uy + slope * ux])
    row = shaft.first if end == 0 else shaft.last
    return np.array(shaft.at(row, slope * row + offset)), towards / np.hypot(*towards)


def _line_fit(x: Floats, y: Floats, weight: Floats) -> tuple[float, float]:
    """Slope and offset of the weighted least-squares line."""
    total = weight.sum()
    mean_x, mean_y = float(weight @ x / total), float(weight @ y / total)
    spread = float(weight @ (x - mean_x) ** 2)
    slope = float(weight @ ((x - mean_x) * (y - mean_y))) / spread if spread > 0 else 0.0
    return slope, mean_y - slope * mean_x


def _lighter_flank(picture: Picture, strip: NDArray[np.float32], middle: int, diameter: float, blur: float) -> Floats:
    """Density beside the shaft on its lighter side, row by row; cement round a tip darkens it as it does the axis."""
    near, wide = round(0.5 * diameter + blur + 0.5), max(2, round(0.4 * diameter))
    left = strip[:, max(0, middle - near - wide + 1) : max(1, middle - near + 1)]
    right = strip[:, middle + near : middle + near + wide]
    sides = np.stack([cv2.blur(_mean(side, axis=1)[:, None], (1, 5))[:, 0] for side in (left, right)])
    return np.asarray(np.fmin(*_density(picture, sides)))


def _mean(values: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """The mean of what lies in the field; NaN where nothing does."""
    inside = np.isfinite(values)
    total = np.where(inside, values, np.float32(0.0)).sum(axis=axis)
    return np.asarray(total / np.where(inside.any(axis=axis), inside.sum(axis=axis), np.nan), dtype=np.float32)


def _density(picture: Picture, values: NDArray[np.float32]) -> Floats:
    return density_of(values, picture.full_scale, picture.field.bone_dark).astype(np.float64)


def _full_resolution_strip(
    picture: Picture, at_xy: Floats, towards: Floats, back: int, ahead: int, half: int
) -> NDArray[np.float32]:
    """Display values along the axis, row ``back`` at ``at_xy``, column ``half`` on the axis; NaN outside the field."""
    reach = np.hypot(max(back, ahead), half) + 2
    height, width = picture.pixels.shape
    x0, y0 = (int(max(0, v - reach)) for v in at_xy)
    x1, y1 = int(min(width, at_xy[0] + reach + 1)), int(min(height, at_xy[1] + reach + 1))
    patch = picture.pixels[y0:y1, x0:x1].astype(np.float32)
    patch[picture.field.mask[y0:y1, x0:x1] == 0] = np.nan
    start = at_xy - towards * back
    return ridge.straighten(patch, start[0] - x0, start[1] - y0, towards[0], towards[1], back + ahead + 1, half)


def _section_of(across: Floats) -> tuple[float, float, float] | None:
    """Centre, diameter and edge blur (standard deviation) in pixels of a shaft's mean section; larger is darker.

    Display values, not densities: blur is linear in them, so that it leaves the width at half contrast as it is.
    """
    n = len(across)
    half = n // 2
    quarter = max(1, n // 5)
    peak = float(np.nanmax(across[half - quarter : half + quarter + 1]))
    start = half - quarter + int(np.nanargmax(across[half - quarter : half + quarter + 1]))
    edges = []
    for step in (-1, 1):
        side = across[start::step] if step > 0 else across[start::-1]
        floor = float(np.nanmin(side))
        if not peak > floor:
            return None
        places = [falls_to(side, floor + share * (peak - floor)) for share in (0.75, 0.5, 0.25)]
        if any(p is None for p in places):
            return None
        edges.append([start + step * p for p in places if p is not None])
    (left75, left, left25), (right75, right, right25) = edges
    blur = 0.5 * (abs(left25 - left75) + abs(right25 - right75)) / 1.349
    return 0.5 * (left + right), (right - left) / HALF_CONTRAST_SHARE, max(0.5, blur)


def _fit_end(folded: Floats, expected: float, diameter: float, blur: float) -> tuple[float, float, float] | None:
    """The apex along the axis, and the contrast of the shaft and of what lies beyond with what lies beside.

    ``folded``: density above the flank, rows along the shaft, columns from its axis outwards. It is compared with a
    trocar's point as it looks at several rolls and foreshortenings through the shaft's own blur and scatter, for every
    place of the apex, with free level and contrast; the apex is the mean over all of them, each weighted by its
    likelihood. It is the visible apex: steel is dark even where it is thin, so the point at half contrast lies behind
    it, and the point's very end is too thin to be seen.
    """
    along = _core_along(folded, diameter)
    where = np.arange(len(along), dtype=np.float64)
    good = np.isfinite(along)
    inside = good & (where < expected - 0.6 * diameter)
    beyond = good & (where > expected + 0.9 * diameter + 2)
    if inside.sum() < 4 or beyond.sum() < 3:
        return None
    contrast, contrast_beyond = median(along[inside]), median(along[beyond])
    if contrast - contrast_beyond < 0.05:
        return None
    smooth = np.convolve(along, np.ones(3) / 3.0, mode="same")
    middle = 0.5 * (contrast + contrast_beyond)
    falls = np.nonzero((smooth[:-1] > middle) & (smooth[1:] <= middle))[0]
    falls = falls[(falls > 1) & (falls < len(along) - 3)]
    if len(falls) == 0:
        return None
    half = float(falls[np.argmin(np.abs(falls - expected))]) + 0.5
    columns = min(folded.shape[1], ceil(0.5 * diameter + 2 * blur) + 1)
    rows = np.nonzero((np.abs(where - half) <= 1.3 * diameter + 4) & np.isfinite(folded[:, :columns]).all(axis=1))[0]
    if len(rows) < diameter:
        return None
    values = folded[rows, :columns].astype(np.float32)
    apexes, misfits = _misfits(values - np.float32(values.mean()), half - where[rows], diameter, blur, contrast)
    samples = values.size / PIXELS_A_SAMPLE
    likelihood = np.exp(-0.5 * samples * (misfits / misfits.min() - 1.0))
    return half + float((likelihood * apexes).sum() / likelihood.sum()), contrast, contrast_beyond


def _misfits(
    values: NDArray[np.float32], behind_half: Floats, diameter: float, blur: float, contrast: float
) -> tuple[Floats, Floats]:
    """Places of the apex in pixels ahead of the point at half contrast, and how badly the best point fits there.

    ``values``: density of mean 0, its rows ``behind_half`` pixels behind the point at half contrast, its columns out
    from the axis. Both results have the shape (ways to see a point, places).
    """
    images = point_images(round(100 * blur / diameter), round(4 * contrast))
    columns = np.rint(np.arange(values.shape[1]) * (GRAIN / diameter)).astype(np.intp)
    table = images.density[:, :, np.minimum(columns, images.density.shape[2] - 1)]
    reach = round(FIT_REACH * GRAIN)
    apexes = images.half_behind[:, None] + np.arange(-reach, reach + 1) / GRAIN
    # Each row of the table with each row of the picture once; a place of the apex is a diagonal through these.
    products = (table.reshape(-1, len(columns)) @ values.T).reshape(*table.shape[:2], len(values))
    offsets = behind_half / diameter + BEFORE_APEX
    product, total, squares = points.along_diagonals(
        products, table.sum(axis=2), np.einsum("ijk,ijk->ij", table, table), apexes, offsets, float(GRAIN)
    )
    spread = squares - total**2 / values.size
    return apexes * diameter, float((values * values).sum()) - np.maximum(0.0, product) ** 2 / spread


def _core_along(folded: Floats, diameter: float) -> Floats:
    """Density above the flank in the middle of the shaft, row by row."""
    return np.asarray(folded[:, : max(1, round(CORE * diameter)) + 1].mean(axis=1))
