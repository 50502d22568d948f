"""Luma straight from a grabber's packed buffer, in one pass, whatever its pixel format."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from drivers.frame import Pixels
from drivers.luma import full_range_table, look_up

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """A format that a grabber may deliver, by the kernel's four letters.

    ``bits``: of luma. ``row_bytes``: a pixel's bytes in a row of the plane that holds luma, 0 where rows are
    compressed. ``is_yuv``: of limited range where the driver does not say; gray and RGB are of full range then.
    ``read``: (height, bytes per row) of that plane and the array to fill.
    """

    code: str
    bits: int
    row_bytes: int
    is_yuv: bool
    read: Callable[[Bytes, Pixels], None]

    def luma_bytes(self, height_px: int, stride: int) -> int:
        """How many bytes of a buffer hold luma; fewer have come short. 0 where that is not known beforehand."""
        return height_px * stride if self.row_bytes else 0

    def fill(self, buffer: Bytes, stride: int, is_full_range: bool, out: Pixels) -> None:
        """Fill ``out``, (height, width) uint8 or uint16, with the buffer's luma. Raises ValueError on damage."""
        if not self.row_bytes:
            self.read(buffer, out)
            return
        height, width = out.shape
        rows = buffer[: height * stride].reshape(height, stride)[:, : width * self.row_bytes]
        self.read(rows, out)
        if not is_full_range:
            table = full_range_table(self.bits)
            if self.bits == 8:
                cv2.LUT(out, table, dst=out)
            else:
                np.copyto(out, look_up(out, table))


def _plain(rows: Bytes, out: Pixels) -> None:
    np.copyto(out, rows)


def _words(rows: Bytes, out: Pixels) -> None:
    np.copyto(out, rows.view("<u2"))


def _every_other(first: int) -> Callable[[Bytes, Pixels], None]:
    def read(rows: Bytes, out: Pixels) -> None:
        cv2.extractChannel(rows.reshape(*out.shape, 2) if rows.flags.c_contiguous else _pairs(rows), first, dst=out)

    return read


def _pairs(rows: Bytes) -> NDArray[Any]:
    """Rows of byte pairs as (height, width, 2), without a copy although rows are padded."""
    height, width = rows.shape[0], rows.shape[1] // 2
    return np.lib.stride_tricks.as_strided(rows, (height, width, 2), (rows.strides[0], 2, 1), writeable=False)


def _colour(order: int) -> Callable[[Bytes, Pixels], None]:
    def read(rows: Bytes, out: Pixels) -> None:
        cv2.cvtColor(np.ascontiguousarray(rows).reshape(*out.shape, 3), order, dst=out)

    return read


def _jpeg(data: Bytes, out: Pixels) -> None:
    # Some grabbers leave the mark of the end away; a picture that is cut is refused all the same.
    jpeg = data.tobytes() + b"\xff\xd9"
    height, width, _, _ = simplejpeg.decode_jpeg_header(jpeg)
    if (height, width) != out.shape:
        raise ValueError(f"a picture of {width}x{height} pixels in the place of {out.shape[1]}x{out.shape[0]}")
    simplejpeg.decode_jpeg(jpeg, "GRAY", buffer=out)


PIXEL_FORMATS: Final = {
    form.code: form
    for form in (
        PixelFormat("GREY", 8, 1, False, _plain),
        PixelFormat("NV12", 8, 1, True, _plain),
        PixelFormat("UYVY", 8, 2, True, _every_other(1)),
        PixelFormat("YUYV", 8, 2, True, _every_other(0)),
        PixelFormat("Y16", 16, 2, False, _words),
        PixelFormat("Y12", 12, 2, False, _words),
        PixelFormat("Y10", 10, 2, False, _words),
        PixelFormat("BGR3", 8, 3, False, _colour(cv2.COLOR_BGR2GRAY)),
        PixelFormat("RGB3", 8, 3, False, _colour(cv2.COLOR_RGB2GRAY)),
        PixelFormat("MJPG", 8, 0, False, _jpeg),
    )
}
"""In the order in which they are chosen: luma that only needs to be copied first, what has lost detail last."""
