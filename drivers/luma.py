"""The brightness of a picture, straight from its luma plane where it has one."""

import re
from functools import lru_cache
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange
from numpy.typing import NDArray

from drivers.frame import Pixels, freeze

_LUMA_PLANE = re.compile(r"(gray|yuv[aj]?4\d\dp|nv(12|21|16|24|42))(9|1[0246])?(le|be)?")
"""FFmpeg's pixel formats whose plane 0 is luma, its low bits used (P010 and the like keep it in the high bits)."""

_PACKED_LUMA_BYTE = {"yuyv422": 0, "yvyu422": 0, "uyvy422": 1}
"""Where the first luma byte stands in the packed formats that grabbers write; every second byte is luma."""


def luma_of(picture: av.VideoFrame) -> tuple[Pixels, int]:
    """A decoded picture's luma and how many bits it has.

    The array is (height, width), uint8 or uint16, C-contiguous and not writeable, turned as the display matrix
    says (quarter turns only). It is copied at most once, and shares the decoder's buffer where that is possible.

    Range: gray is taken as full range, as FFmpeg does whatever its tag says. YUV is limited range (16-235 at 8 bit)
    unless tagged as full, and is stretched to full, as a monitor does; what lies below black or above white is clipped.
    Colour without a luma plane becomes 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), which leaves gray as it was.
    Raises ValueError for samples of more than 16 bits. Misses: interlaced fields are not separated, and pixels
    that are not square stay so.
    """
    name = picture.format.name
    depth = max(component.bits for component in picture.format.components)
    if depth > 16:
        raise ValueError(f"pixels of {depth} bits ({name}); expected 8 to 16")
    if _LUMA_PLANE.fullmatch(name):
        luma, bits = _plane(picture), picture.format.components[0].bits
    elif name in _PACKED_LUMA_BYTE:
        luma, bits = _plane(picture)[:, _PACKED_LUMA_BYTE[name] :: 2], 8
    else:
        luma, bits = _from_colour(picture, depth)
        return freeze(_turned(luma, picture.rotation)), bits
    if not _is_full_range(picture):
        luma = look_up(luma, full_range_table(bits))
    return freeze(_turned(luma, picture.rotation)), bits


def decode_picture(data: bytes, codec: str) -> av.VideoFrame:
    """The one picture that ``data`` holds, by FFmpeg's decoder of that name. Raises av.FFmpegError, ValueError."""
    decoder = av.CodecContext.create(codec, "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.thread_count = 1
    # Without it FFmpeg fills the missing part of a cut picture with gray.
    decoder.options = {"err_detect": "crccheck+explode"}
    for picture in [*decoder.decode(av.Packet(data)), *decoder.decode(None)]:
        return picture
    raise ValueError("no picture in it")


def luma_of_colour(rgb: NDArray[Any]) -> Pixels:
    """Luma (ITU-R BT.601 weights) of RGB, shape (height, width, 3), uint8 or uint16; gray stays as it was."""
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))


def look_up(pixels: NDArray[Any], table: NDArray[Any]) -> Pixels:
    """``table[pixels]``, C-contiguous, in one pass; codes beyond the table's end take its last entry."""
    if pixels.dtype == np.uint8 and len(table) == 256 and pixels.strides[1] == 1:
        return np.asarray(cv2.LUT(pixels, table))
    return np.take(table, pixels, mode="clip")


def _plane(picture: av.VideoFrame) -> NDArray[Any]:
    """Plane 0 as (height, samples per row), without copying; padding is cut off, bottom-up rows are turned round."""
    plane = picture.planes[0]
    form = picture.format
    rows: NDArray[Any] = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, abs(plane.line_size))
    if plane.line_size < 0:
        rows = rows[::-1]
    if form.name in _PACKED_LUMA_BYTE:
        return rows[:, : 2 * plane.width]
    if form.components[0].bits <= 8:
        return rows[:, : plane.width]
    order = ">u2" if form.is_big_endian else "<u2"
    return rows[:, : 2 * plane.width].view(order).astype(np.uint16, copy=False)


def _from_colour(picture: av.VideoFrame, depth: int) -> tuple[Pixels, int]:
    rgb = picture.to_ndarray(format="rgb24" if depth <= 8 else "rgb48le")
    return luma_of_colour(rgb), 8 if depth <= 8 else 16


def _is_full_range(picture: av.VideoFrame) -> bool:
    name = picture.format.name
    return name.startswith(("gray", "yuvj")) or picture.color_range == ColorRange.JPEG


@lru_cache
def full_range_table(bits: int) -> Pixels:
    """Limited-range codes of ``bits`` bits to full range: black and white are 16 and 235, scaled by 2^(bits - 8)."""
    black, white, top = 16 << (bits - 8), 235 << (bits - 8), 2**bits - 1
    share = (np.arange(top + 1) - black) / (white - black)
    table: Pixels = np.rint(np.clip(share, 0, 1) * top).astype(np.uint8 if bits == 8 else np.uint16)
    return table


def _turned(pixels: NDArray[Any], counterclockwise_deg: int) -> NDArray[Any]:
    quarters, rest = divmod(counterclockwise_deg, 90)
    return pixels if rest or not quarters % 4 else np.rot90(pixels, quarters)
