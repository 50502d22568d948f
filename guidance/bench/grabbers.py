"""What a grabber's frames cost: from the kernel's buffer to luma in the ring, for every pixel format.

The buffers are memory like the kernel's, more of it than a processor's caches hold; what fills them is a C-arm's
square picture on a video frame of 1920 x 1080. The time is the processor's, of all threads together, so that it is
the share of one core that a grabber takes. What it misses: the kernel's own work, and the driver's five system calls.
"""

import mmap
from dataclasses import dataclass
from itertools import cycle
from time import process_time_ns
from typing import Any, Final

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from drivers.pixel_formats import PIXEL_FORMATS, PixelFormat
from drivers.ring import FrameRing

WIDTH_PX: Final = 1920
HEIGHT_PX: Final = 1080
RATE_HZ: Final = 60
BUFFERS: Final = 4
JPEG_QUALITY: Final = 85

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class CaptureCost:
    """``core_percent``: of one core, at 60 frames a second. ``frame_kib``: what the kernel delivers for a frame."""

    frame_kib: int
    p50_ms: float
    max_ms: float
    core_percent: float


def capture_cost(pictures: list[Bytes], frames: int) -> dict[str, CaptureCost]:
    """The cost of ``frames`` frames in each format that a grabber may deliver, of square 8-bit pictures."""
    shown = [_on_video(picture) for picture in pictures[:BUFFERS]]
    return {
        code: _cost(form, [_packed(picture, code) for picture in shown], frames) for code, form in PIXEL_FORMATS.items()
    }


def _cost(form: PixelFormat, packed: list[Bytes], frames: int) -> CaptureCost:
    buffers = [_mapped(raw) for raw in packed]
    ring = FrameRing(BUFFERS, (HEIGHT_PX, WIDTH_PX), np.uint8 if form.bits == 8 else np.uint16)
    stride = WIDTH_PX * form.row_bytes
    spent_ms = []
    for number, buffer in zip(range(frames + BUFFERS), cycle(buffers), strict=False):
        begin_ns = process_time_ns()
        pixels = ring.take()
        assert pixels is not None
        form.fill(buffer, stride, not form.is_yuv, pixels)
        if number >= BUFFERS:
            spent_ms.append((process_time_ns() - begin_ns) / 1e6)
        del pixels
    mean_ms = float(np.mean(spent_ms))
    return CaptureCost(
        frame_kib=round(np.mean([len(raw) for raw in packed]) / 1024),
        p50_ms=round(float(np.median(spent_ms)), 3),
        max_ms=round(max(spent_ms), 3),
        core_percent=round(mean_ms * RATE_HZ / 10, 1),
    )


def _on_video(picture: Bytes) -> Bytes:
    """The square picture as high as the video frame, black beside it."""
    frame = np.full((HEIGHT_PX, WIDTH_PX), 16, np.uint8)
    left = (WIDTH_PX - HEIGHT_PX) // 2
    frame[:, left : left + HEIGHT_PX] = cv2.resize(picture, (HEIGHT_PX, HEIGHT_PX), interpolation=cv2.INTER_LINEAR)
    return frame


def _packed(luma: Bytes, code: str) -> Bytes:
    """A gray picture's bytes, as a grabber packs them."""
    gray = np.full_like(luma, 128)
    parts: dict[str, Any] = {
        "GREY": lambda: luma,
        "NV12": lambda: np.vstack([luma, gray[: HEIGHT_PX // 2]]),
        "UYVY": lambda: np.stack([gray, luma], axis=2),
        "YUYV": lambda: np.stack([luma, gray], axis=2),
        "Y10": lambda: (luma.astype("<u2") << 2).view(np.uint8),
        "Y12": lambda: (luma.astype("<u2") << 4).view(np.uint8),
        "Y16": lambda: (luma.astype("<u2") << 8).view(np.uint8),
        "BGR3": lambda: np.stack([luma] * 3, axis=2),
        "RGB3": lambda: np.stack([luma] * 3, axis=2),
        "MJPG": lambda: _jpeg(luma),
    }
    return np.ascontiguousarray(parts[code]()).reshape(-1)


def _jpeg(luma: Bytes) -> Bytes:
    colour = np.stack([luma] * 3, axis=2)
    jpeg = simplejpeg.encode_jpeg(colour, quality=JPEG_QUALITY, colorspace="BGR", colorsubsampling="422")
    return np.frombuffer(jpeg, np.uint8)


def _mapped(raw: Bytes) -> Bytes:
    memory = mmap.mmap(-1, len(raw))
    memory.write(raw.tobytes())
    return np.frombuffer(memory, np.uint8)
