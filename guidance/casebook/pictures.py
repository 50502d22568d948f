"""Pictures one after another in a file, each lossless, whole when it is written, and found by its place.

FFV1 (RFC 9043) with Rice coding is what still keeps up at 8 bit (80 pictures of 1024 x 1024 a second on one thread,
``docs/casebook.md``); at 10 to 16 bit it makes 13 to 21, and JPEG XL at its fastest effort more than 300.

FFmpeg writes the description of the Matroska file, and each picture's own cluster is written here: FFmpeg's own would
keep the newest picture in memory until the next one comes, which after the last one before a signal is lost is never.
"""

import errno
import os
from abc import ABC, abstractmethod
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import imagecodecs
import numpy as np

from drivers.archived import CLUSTER, JPEG_XL, MATROSKA
from drivers.frame import Pixels

FFV1_OPTIONS = {"level": "3", "coder": "0", "slices": "4", "slicecrc": "1", "g": "1"}
"""Version 3, Rice, slices with checksums, and no picture that needs another one."""


class PictureFile(ABC):
    """One part of a recording. Raises OSError where it cannot be had or written, and where a codec fails."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._size = 0
        self.pictures = 0

    @abstractmethod
    def add(self, pixels: Pixels, t_s: float) -> tuple[int, int]:
        """Where the picture lies, and how many bytes it takes. The kernel has them."""

    def _write(self, *pieces: bytes) -> int:
        """Where the last piece begins."""
        wanted = sum(map(len, pieces))
        written = os.pwritev(self._file, pieces, self._size)
        if written < wanted:
            # The torn picture is written over by the next one.
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.name)
        self._size += wanted
        return self._size - len(pieces[-1])

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._size

    def sync(self) -> None:
        """Wait until the disk has what the kernel has."""
        os.fdatasync(self._file)

    def close(self) -> None:
        """May be called twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class Ffv1File(PictureFile):
    """Pictures of 8 bit: a Matroska file that any player plays, its times in milliseconds."""

    def __init__(self, path: Path, width_px: int, height_px: int) -> None:
        super().__init__(path)
        self._write(_description(width_px, height_px))
        self._codec: Any = av.CodecContext.create("ffv1", "w")
        _set_up(self._codec, width_px, height_px)

    def add(self, pixels: Pixels, t_s: float) -> tuple[int, int]:
        picture = av.VideoFrame.from_ndarray(pixels, format="gray")
        picture.pts = None
        try:
            (packet,) = self._codec.encode(picture)
        except av.FFmpegError as error:
            raise OSError(errno.EIO, f"the picture cannot be encoded: {error}", self.name) from error
        payload = bytes(packet)
        at = self._write(_cluster_head(round(t_s * 1000), len(payload)), payload)
        self.pictures += 1
        return at, len(payload)


class JpegXlFile(PictureFile):
    """Pictures of 10 to 16 bit: JPEG XL codestreams end to end."""

    def add(self, pixels: Pixels, t_s: float) -> tuple[int, int]:
        try:
            payload = bytes(imagecodecs.jpegxl_encode(pixels, lossless=True, effort=1, numthreads=1))
        except imagecodecs.JpegxlError as error:
            raise OSError(errno.EIO, f"the picture cannot be encoded: {error}", self.name) from error
        at = self._write(payload)
        self.pictures += 1
        return at, len(payload)


def next_part(folder: Path, number: int, width_px: int, height_px: int, bits: int) -> PictureFile:
    """The recording's part of that number, counted from 1."""
    suffix = "" if number == 1 else f"-{number:03}"
    if bits == 8:
        return Ffv1File(folder / f"video{suffix}{MATROSKA}", width_px, height_px)
    return JpegXlFile(folder / f"pictures{suffix}{JPEG_XL}")


def _set_up(codec: Any, width_px: int, height_px: int) -> None:
    codec.width, codec.height, codec.pix_fmt = width_px, height_px, "gray"
    codec.time_base = Fraction(1, 1000)
    codec.thread_count = 1
    codec.flags |= av.codec.context.Flags.bitexact
    codec.options = FFV1_OPTIONS


def _description(width_px: int, height_px: int) -> bytes:
    """A Matroska file of this picture size, up to its first cluster."""
    file = BytesIO()
    with av.open(file, "w", format="matroska", options={"live": "1", "fflags": "+bitexact"}) as container:
        stream: Any = container.add_stream("ffv1", rate=30)
        stream.width, stream.height = width_px, height_px
        _set_up(stream.codec_context, width_px, height_px)
        stream.options = FFV1_OPTIONS
        black = av.VideoFrame.from_ndarray(np.zeros((height_px, width_px), np.uint8), format="gray")
        black.pts, black.time_base = 0, Fraction(1, 1000)
        container.mux(stream.encode(black))
        container.mux(stream.encode(None))
    whole = file.getvalue()
    return whole[: whole.index(CLUSTER)]


def _cluster_head(t_ms: int, size: int) -> bytes:
    """All of a cluster of one picture of ``size`` bytes, but for the picture (RFC 9559, 5.1.3 and 10)."""
    block_head = b"\x81\x00\x00\x80"  # of track 1, at the cluster's own time, decodable alone
    head = b"\xe7\x88" + t_ms.to_bytes(8, "big") + b"\xa3" + _length(len(block_head) + size) + block_head
    return CLUSTER + _length(len(head) + size) + head


def _length(size: int) -> bytes:
    return (size | 1 << 56).to_bytes(8, "big")
