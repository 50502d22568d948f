"""The tip of a shaft, measured at full resolution with a model of the trocar point."""

from dataclasses import dataclass
from math import ceil, hypot, inf

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.records import PointPx
from guidance.vision.kernels import points
from guidance.vision.kernels import tip as kernels
from guidance.vision.kernels.tip import median_of_known
from guidance.vision.needle_point import BEFORE_APEX, CORE, GRAIN, point_images
from guidance.vision.needle_shaft import Floats, Shaft
from guidance.vision.picture import Density, Picture, density_of

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
    work_xy, (ux, uy) = _axis_at(shaft, end)
    x, y = picture.to_frame_px(np.array(work_xy)).tolist()
    width = shaft.width * picture.factor
    visible = (shaft.last - shaft.first) * picture.factor
    back, ahead = int(min(6 * width + 12, max(visible, 2.5 * width))), int(2.5 * width) + 10
    half = int(1.2 * width) + 5
    x, y = x - back * ux, y - back * uy
    # The section is measured well behind the tip, where no taper thins it and no cement widens it.
    body = back - int((2.0 if back > 4 * width else 0.7) * width)
    mean = kernels.mean_section(_full_resolution_strip(picture, x, y, ux, uy, body, half))
    across = mean.astype(np.float64) * (-1.0 if picture.field.bone_dark else 1.0)
    profile = kernels.section_of(across).tolist()
    if not profile:
        return None
    centre, diameter, blur = profile
    x, y = x - (centre - half) * uy, y + (centre - half) * ux
    strip = _full_resolution_strip(picture, x, y, ux, uy, back + ahead + 1, half)
    raised = _density(picture, strip)
    beside = _lighter_flank(picture, strip, diameter, blur)
    # Both sides of the axis in one: a slope of the background across it cancels.
    folded = kernels.fold(raised, beside)
    fit = _fit_end(folded, float(back), diameter, blur)
    if fit is None:
        return None
    apex, contrast, beyond = fit
    last = slice(max(0, int(apex - 1.6 * diameter)), max(1, int(apex - 0.6 * diameter)))
    patch = strip[int(apex + 0.6 * diameter) + 1 : int(apex + 1.6 * diameter) + 3]
    beside_tip = beside[max(0, int(apex - 3 * diameter)) : max(1, int(apex))]
    at_end = slice(max(0, int(apex - 1.3 * diameter)), max(1, int(apex - 0.4 * diameter)))
    core = raised[at_end, half - max(1, int(0.25 * diameter)) : half + max(1, int(0.25 * diameter)) + 1]
    half_core = median_of_known(core.ravel().astype(np.float64)) - 0.5 * contrast
    # Half-way to what lies beside it; where that is still soft tissue while the end lies in bone, to bone.
    half_dark = max(median_of_known(beside_tip) + 0.5 * contrast, half_core)
    in_front = _density(picture, cv2.blur(patch, (3, 3))) if len(patch) else np.full(1, inf)
    return Tip(
        apex_xy=(x + apex * ux, y + apex * uy),
        towards_xy=(ux, uy),
        diameter_px=diameter,
        drop=(contrast - beyond) / shaft.contrast,
        dark_ahead=np.count_nonzero(in_front > half_dark) / in_front.size,
        ragged=_ragged(shaft, end),
        dark_reach_px=_dark_reach(raised[:, half].astype(np.float64), apex, half_core),
        steel_share=median_of_known(_core_along(folded, diameter)[last]) / contrast,
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


def _axis_at(shaft: Shaft, end: int) -> tuple[PointPx, PointPx]:
    """The last visible point of the axis and the unit direction out of that end, in work pixels.

    Fitted to the half-contrast centres of the part nearest the end, because long pins bow; other objects beside the
    shaft pull single centres aside, so those far off the line lose their weight.
    """
    most = max(20, int(max(40.0, 8.0 * shaft.width)))
    slope, offset = kernels.axis_near(shaft.sections, shaft.first, shaft.last, end, most)
    (ux, uy), out = shaft.along_xy, -1 if end == 0 else 1
    towards_x, towards_y = out * (ux - slope * uy), out * (uy + slope * ux)
    length, row = hypot(towards_x, towards_y), shaft.first if end == 0 else shaft.last
    return shaft.at(row, slope * row + offset), (towards_x / length, towards_y / length)


def _lighter_flank(picture: Picture, strip: NDArray[np.float32], diameter: float, blur: float) -> Floats:
    """Density beside the shaft on its lighter side, row by row; cement round a tip darkens it as it does the axis."""
    near, wide = round(0.5 * diameter + blur + 0.5), max(2, round(0.4 * diameter))
    sides = cv2.blur(kernels.beside(strip, near, wide), (1, 5))
    return np.asarray(np.fmin(*_density(picture, sides).T), dtype=np.float64)


def _density(picture: Picture, values: NDArray[np.float32]) -> Density:
    return density_of(values, picture.full_scale, picture.field.bone_dark)


def _full_resolution_strip(
    picture: Picture, x: float, y: float, ux: float, uy: float, n: int, half: int
) -> NDArray[np.float32]:
    """Display values along the axis, row 0 at (x, y), column ``half`` on the axis; NaN outside the field."""
    return kernels.straighten_field(picture.pixels, picture.field.mask, x, y, ux, uy, n, half)


def _fit_end(folded: Floats, expected: float, diameter: float, blur: float) -> tuple[float, float, float] | None:
    """The apex along the axis, and the contrast of the shaft and of what lies beyond with what lies beside.

    ``folded``: density above the flank, rows along the shaft, columns from its axis outwards. It is compared with a
    trocar's point as it looks at several rolls and foreshortenings through the shaft's own blur and scatter, for every
    place of the apex, with free level and contrast; the apex is the mean over all of them, each weighted by its
    likelihood. It is the visible apex: steel is dark even where it is thin, so the point at half contrast lies behind
    it, and the point's very end is too thin to be seen.
    """
    end = kernels.end_of(_core_along(folded, diameter), expected, diameter).tolist()
    if not end:
        return None
    half, contrast, contrast_beyond = end
    columns = min(folded.shape[1], ceil(0.5 * diameter + 2 * blur) + 1)
    values, behind = kernels.about_end(folded, half, 1.3 * diameter + 4, columns)
    if len(behind) < diameter:
        return None
    images = point_images(round(100 * blur / diameter), round(4 * contrast))
    image_columns = np.rint(np.arange(columns) * (GRAIN / diameter)).astype(np.int64)
    ahead = points.apex_ahead(
        images.density,
        images.half_behind,
        values,
        np.minimum(image_columns, images.density.shape[1] - 1),
        behind / diameter + BEFORE_APEX,
        float(GRAIN),
        round(FIT_REACH * GRAIN),
        values.size / PIXELS_A_SAMPLE,
    )
    return half + ahead * diameter, contrast, contrast_beyond


def _core_along(folded: Floats, diameter: float) -> Floats:
    """Density above the flank in the middle of the shaft, row by row."""
    return np.asarray(folded[:, : max(1, round(CORE * diameter)) + 1].mean(axis=1))
