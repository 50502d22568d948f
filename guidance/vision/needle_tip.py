"""The tip of a shaft, measured at full resolution with a model of the trocar point."""

from dataclasses import dataclass
from math import ceil, inf

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.records import PointPx
from guidance.vision.kernels import points
from guidance.vision.kernels import tip as kernels
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
    offset_x, offset_y = (origin + (picture.factor - 1) / 2 for origin in picture.origin_px)
    told, strip, sides = kernels.strip_at_end(
        picture.pixels,
        picture.field.mask,
        shaft.sections,
        shaft.numbers,
        end,
        picture.factor,
        offset_x,
        offset_y,
        picture.field.bone_dark,
    )
    if len(told) == 0:
        return None
    x, y, ux, uy, back, diameter, blur = told.tolist()
    raised, beside = _density(picture, strip), _density(picture, cv2.blur(sides, (1, 5)))
    core = max(1, round(CORE * diameter)) + 1
    fall, flank, along, folded = kernels.end_in(raised, beside, back, diameter, core)
    if len(fall) == 0:
        return None
    half, contrast, contrast_beyond = fall.tolist()
    apex = _fitted_apex(folded, half, contrast, diameter, blur)
    if apex is None:
        return None
    half_dark, dark_reach_px, steel_share = kernels.about_apex(raised, flank, along, apex, diameter, contrast)
    patch = strip[int(apex + 0.6 * diameter) + 1 : int(apex + 1.6 * diameter) + 3]
    in_front = _density(picture, cv2.blur(patch, (3, 3))) if len(patch) else np.full(1, inf)
    return Tip(
        apex_xy=(x + apex * ux, y + apex * uy),
        towards_xy=(ux, uy),
        diameter_px=diameter,
        drop=(contrast - contrast_beyond) / shaft.contrast,
        dark_ahead=int(np.count_nonzero(in_front > half_dark)) / in_front.size,
        ragged=_ragged(shaft, end),
        dark_reach_px=dark_reach_px,
        steel_share=steel_share,
    )


def _ragged(shaft: Shaft, end: int) -> float:
    """The share of the shaft's last stretch before its taper that has not its width: cement or metal is there."""
    near, far = int(0.8 * shaft.width), max(int(2.5 * shaft.width), int(0.8 * shaft.width) + 3)
    rows = slice(shaft.first + near, shaft.first + far) if end == 0 else slice(shaft.last - far, shaft.last - near)
    widths = shaft.sections[rows, 1]
    even = int(np.count_nonzero(np.abs(widths - shaft.width) < 0.2 * shaft.width))
    return 1.0 - even / len(widths) if len(widths) else 1.0


def _density(picture: Picture, values: NDArray[np.float32]) -> Density:
    return density_of(values, picture.full_scale, picture.field.bone_dark)


def _fitted_apex(folded: Floats, half: float, contrast: float, diameter: float, blur: float) -> float | None:
    """The visible apex along the axis; None where too little of the shaft about its end is known.

    ``folded``: density above the flank, rows along the shaft, columns from its axis outwards; ``half``: where its
    contrast has fallen by half. It is compared with a trocar's point as it looks at several rolls and foreshortenings
    through the shaft's own blur and scatter, for every place of the apex, with free level and contrast; the apex is the
    mean over all of them, each weighted by its likelihood. It is the visible apex: steel is dark even where it is thin,
    so the point at half contrast lies behind it, and the point's very end is too thin to be seen.
    """
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
    return float(half + ahead * diameter)
