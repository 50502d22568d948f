"""The tip of a shaft, measured at full resolution with a model of the trocar point."""

from dataclasses import dataclass
from math import ceil, inf

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.records import PointPx
from guidance.vision.kernels import points
from guidance.vision.kernels import tip as kernels
from guidance.vision.kernels.tip import median_of_known
from guidance.vision.needle_point import BEFORE_APEX, CORE, GRAIN, point_images
from guidance.vision.needle_shaft import Floats, Shaft
from guidance.vision.picture import Picture, density_of

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
    body = back - int((2.0 if back > 4 * width else 0.7) * width)
    across = kernels.mean_section(strip, body).astype(np.float64) * (-1.0 if picture.field.bone_dark else 1.0)
    profile = kernels.section_of(across).tolist()
    if not profile:
        return None
    centre, diameter, blur = profile
    near = near + np.array([-towards[1], towards[0]]) * (centre - half)
    strip = _full_resolution_strip(picture, near, towards, back, ahead, half)
    raised = _density(picture, strip)
    beside = _lighter_flank(picture, strip, diameter, blur)
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
    half_core = median_of_known(core.ravel()) - 0.5 * contrast
    # Half-way to what lies beside it; where that is still soft tissue while the end lies in bone, to bone.
    half_dark = max(median_of_known(beside_tip) + 0.5 * contrast, half_core)
    dark = _density(picture, cv2.blur(patch, (3, 3))) > half_dark if len(patch) else np.ones(1)
    xy = near + towards * (apex - back)
    return Tip(
        apex_xy=(float(xy[0]), float(xy[1])),
        towards_xy=(float(towards[0]), float(towards[1])),
        diameter_px=diameter,
        drop=(contrast - beyond) / shaft.contrast,
        dark_ahead=float(np.mean(dark)),
        ragged=_ragged(shaft, end),
        dark_reach_px=_dark_reach(raised[:, half], apex, half_core),
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


def _axis_at(shaft: Shaft, end: int) -> tuple[Floats, Floats]:
    """The last visible point of the axis and the unit direction out of that end, in work pixels.

    Fitted to the half-contrast centres of the part nearest the end, because long pins bow; other objects beside the
    shaft pull single centres aside, so those far off the line lose their weight.
    """
    most = max(20, int(max(40.0, 8.0 * shaft.width)))
    slope, offset = kernels.axis_near(shaft.sections, shaft.first, shaft.last, end, most)
    (ux, uy), out = shaft.along_xy, -1 if end == 0 else 1
    towards = out * np.array([ux - slope * uy, uy + slope * ux])
    row = shaft.first if end == 0 else shaft.last
    return np.array(shaft.at(row, slope * row + offset)), towards / np.hypot(*towards)


def _lighter_flank(picture: Picture, strip: NDArray[np.float32], diameter: float, blur: float) -> Floats:
    """Density beside the shaft on its lighter side, row by row; cement round a tip darkens it as it does the axis."""
    near, wide = round(0.5 * diameter + blur + 0.5), max(2, round(0.4 * diameter))
    sides = cv2.blur(kernels.beside(strip, near, wide), (1, 5))
    return np.asarray(np.fmin(*_density(picture, sides).T))


def _density(picture: Picture, values: NDArray[np.float32]) -> Floats:
    return density_of(values, picture.full_scale, picture.field.bone_dark).astype(np.float64)


def _full_resolution_strip(
    picture: Picture, at_xy: Floats, towards: Floats, back: int, ahead: int, half: int
) -> NDArray[np.float32]:
    """Display values along the axis, row ``back`` at ``at_xy``, column ``half`` on the axis; NaN outside the field."""
    (x, y), (ux, uy) = (at_xy - towards * back).tolist(), towards.tolist()
    return kernels.straighten_field(picture.pixels, picture.field.mask, x, y, ux, uy, back + ahead + 1, half)


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
    where = np.arange(len(folded), dtype=np.float64)
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
    columns = np.rint(np.arange(values.shape[1]) * (GRAIN / diameter)).astype(np.int64)
    reach = round(FIT_REACH * GRAIN)
    apexes = images.half_behind[:, None] + np.arange(-reach, reach + 1) / GRAIN
    # Neighbouring places are one row of the images apart.
    first_rows = np.rint((apexes[:, :1] + (behind_half / diameter + BEFORE_APEX)) * GRAIN).astype(np.int64)
    product, total, squares = points.laid_on(
        images.density,
        np.ascontiguousarray(values.T),
        np.minimum(columns, images.density.shape[1] - 1),
        first_rows,
        apexes.shape[1],
    )
    spread = squares - total**2 / values.size
    return apexes * diameter, float((values * values).sum()) - np.maximum(0.0, product) ** 2 / spread


def _core_along(folded: Floats, diameter: float) -> Floats:
    """Density above the flank in the middle of the shaft, row by row."""
    return np.asarray(folded[:, : max(1, round(CORE * diameter)) + 1].mean(axis=1))
