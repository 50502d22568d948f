"""One x-ray pulse, prepared once for every stage that looks at it."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.frame import Pixels
from guidance.vision.field import XrayField
from guidance.vision.kernels.picture import look_up

WORK_SIDE_PX = 640
"""The dense stages work on at most about this many pixels a side; tips are refined at full resolution."""

Density = NDArray[np.float32]
Mask = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One pulse inside its x-ray field, as optical density.

    ``pixels``: the whole input frame, (height, width).
    ``density``: (h, w) float32 at work scale, cropped to the field's box. Larger means more absorber, whatever
    the input's polarity; the unit is the natural logarithm of the display's ratio, so with a linear display it is
    the attenuation up to a constant. Display curves, brightness control and scatter bend it: compare, don't read.
    ``mask``: (h, w) uint8, 255 inside the x-ray field and away from burned-in text.
    ``origin_px``: input-frame coordinates of the corner pixel (0, 0) of the crop. ``factor``: input pixels per
    work pixel, an integer; each work pixel is the mean of factor x factor input pixels.
    ``full_scale``: the largest value a pixel can have (255 for 8 bit).
    """

    pixels: Pixels
    density: Density
    mask: Mask
    field: XrayField
    origin_px: tuple[int, int]
    factor: int
    full_scale: float

    def to_frame_px(self, work_xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Work coordinates, shape (..., 2), as input-frame pixels."""
        return work_xy * self.factor + (np.array(self.origin_px) + (self.factor - 1) / 2)

    def to_work_px(self, frame_xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Input-frame pixels, shape (..., 2), as work coordinates."""
        return (frame_xy - (np.array(self.origin_px) + (self.factor - 1) / 2)) / self.factor


def density_of(pixels: NDArray[np.generic], full_scale: float, bone_dark: bool) -> Density:
    """Optical density of display values, same shape, float32; 0 for the brightest, rising with absorption.

    The floor of 1/64 of full scale keeps the logarithm from turning a dark corner's last grey levels into
    mountains.
    """
    share = np.asarray(pixels, dtype=np.float32) / np.float32(full_scale)
    if not bone_dark:
        share = 1.0 - share
    floor = np.float32(1.0 / 64.0)
    return np.asarray(-np.log((share + floor) / (1.0 + floor)), dtype=np.float32)


@lru_cache(maxsize=4)
def _density_table(values: int, full_scale: float, bone_dark: bool) -> Density:
    """Density of every value that a pixel can have: looking it up costs less than half of the logarithm.

    What is beyond full scale, which no sound frame has, is as bright as that.
    """
    return density_of(np.minimum(np.arange(values), full_scale), full_scale, bone_dark)


def _density_by_table(pixels: Pixels, full_scale: float, bone_dark: bool) -> Density:
    table = _density_table(np.iinfo(pixels.dtype).max + 1, full_scale, bone_dark)
    if pixels.dtype == np.uint8:
        return np.asarray(cv2.LUT(pixels, table), dtype=np.float32)
    density = np.empty(pixels.shape, dtype=np.float32)
    look_up(np.ascontiguousarray(pixels), table, density)
    return density


@lru_cache(maxsize=4)
def _work_mask(field: XrayField, factor: int) -> Mask:
    """The field's mask at work scale, not writeable: the same array for as long as the field is the same."""
    x0, y0, x1, y1 = field.box_px
    w, h = (x1 - x0) // factor, (y1 - y0) // factor
    mask = field.mask[y0 : y0 + h * factor, x0 : x0 + w * factor]
    if factor > 1:
        mask = np.where(cv2.resize(mask, (w, h), interpolation=cv2.INTER_AREA) == 255, 255, 0).astype(np.uint8)
    mask = np.ascontiguousarray(mask)
    mask.flags.writeable = False
    return mask


def make_picture(pixels: Pixels, field: XrayField, bits: int) -> Picture:
    """The field's part of a frame at work scale."""
    full_scale = float(2**bits - 1)
    x0, y0, x1, y1 = field.box_px
    factor = max(1, -(-max(x1 - x0, y1 - y0) // WORK_SIDE_PX))
    w, h = (x1 - x0) // factor, (y1 - y0) // factor
    crop = pixels[y0 : y0 + h * factor, x0 : x0 + w * factor]
    small = cv2.resize(crop, (w, h), interpolation=cv2.INTER_AREA) if factor > 1 else crop
    return Picture(
        pixels=pixels,
        density=_density_by_table(small, full_scale, field.bone_dark),
        mask=_work_mask(field, factor),
        field=field,
        origin_px=(x0, y0),
        factor=factor,
        full_scale=full_scale,
    )
