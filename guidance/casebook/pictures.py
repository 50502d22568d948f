"""Pictures one after another in a file, each lossless, whole when it is written, and found by its place.

FFV1 (RFC 9043) is what archives recommend and takes the least room. With Rice coding it makes 80 pictures of
1024 x 1024 a second at 8 bit on one thread, so that a larger or faster source is kept in MagicYUV: 500 a second, in a
fifth more room. At 10 to 16 bit FFV1 makes 13 to 21, and JPEG XL at its fastest effort more than 300
(``docs/casebook.md``).

The Matroska file is written here, a cluster for each picture (RFC 9559): FFmpeg's own writer would keep the newest
picture in memory until the next one comes, which after the last one before a signal is lost is never.
"""

import errno
import os
import struct
import zlib
from abc import ABC, abstractmethod
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, NamedTuple

import av
import imagecodecs

from drivers.archived import CLUSTER, JPEG_XL, MATROSKA
from drivers.frame import Pixels, SourceInfo


class Codec(NamedTuple):
    """A codec of FFmpeg for 8 bit that is lossless, and of which no picture needs another one.

    ``fourcc``: what it is called where Matroska has no name of its own for it.
    """

    name: str
    options: dict[str, str]
    fourcc: bytes | None = None


FFV1: Final = Codec("ffv1", {"level": "3", "coder": "0", "slices": "4", "slicecrc": "1", "g": "1"})
"""Version 3, Rice, slices with checksums."""

MAGICYUV: Final = Codec("magicyuv", {"pred": "gradient"}, b"M8G0")
"""Decoded a third sooner than with the median predictor, which takes 3 % less room."""

FFV1_PX_PER_S: Final = 40e6
"""Up to so many FFV1 takes half of a processor (13 ns each): 1280 x 1024 at 30 a second. The rest is the analysis's."""

USUAL_RATE_HZ: Final = 30.0
"""Of a source that does not tell its rate."""


class PictureFile(ABC):
    """One part of a recording. Raises OSError where it cannot be had or written, and where a codec fails."""

    is_fastest = True
    """Whether no other kind of file would cost less time."""

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


class MatroskaFile(PictureFile):
    """Pictures of 8 bit: a file that any player plays, its times in milliseconds."""

    def __init__(self, path: Path, info: SourceInfo, codec: Codec) -> None:
        super().__init__(path)
        self.is_fastest = codec is MAGICYUV
        self._codec = _encoder(info, codec)
        self._write(_description(info, codec, self._codec.extradata))

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


def next_part(folder: Path, number: int, info: SourceInfo, in_haste: bool = False) -> PictureFile:
    """The recording's part of that number, counted from 1; ``in_haste``: of the kind that costs the least time."""
    suffix = "" if number == 1 else f"-{number:03}"
    if info.bits == 8:
        codec = MAGICYUV if in_haste else _codec_for(info)
        return MatroskaFile(folder / f"video{suffix}{MATROSKA}", info, codec)
    return JpegXlFile(folder / f"pictures{suffix}{JPEG_XL}")


def _codec_for(info: SourceInfo) -> Codec:
    """By what would have to be encoded if no picture came twice. A single row or column has no four slices."""
    px_per_s = info.width_px * info.height_px * (info.rate_hz or USUAL_RATE_HZ)
    return FFV1 if px_per_s <= FFV1_PX_PER_S and min(info.width_px, info.height_px) > 1 else MAGICYUV


def _encoder(info: SourceInfo, codec: Codec) -> Any:
    encoder: Any = av.CodecContext.create(codec.name, "w")
    encoder.width, encoder.height, encoder.pix_fmt = info.width_px, info.height_px, "gray"
    encoder.time_base = Fraction(1, 1000)
    encoder.thread_count = 1
    encoder.flags |= av.codec.context.Flags.bitexact
    encoder.options = codec.options
    encoder.open()
    return encoder


def _description(info: SourceInfo, codec: Codec, private: bytes) -> bytes:
    """A Matroska file up to its first cluster, with the elements that FFmpeg's writer gives one without an end.

    ``private``: what the decoder must know. A codec that only has a FOURCC is described as in an AVI file.
    """
    name = b"V_FFV1"
    if codec.fourcc is not None:
        name = b"V_MS/VFW/FOURCC"
        size = 40 + len(private), info.width_px, info.height_px
        private = struct.pack("<IiiHH4sI16x", *size, 1, 8, codec.fourcc, info.width_px * info.height_px) + private
    document = (
        (b"\x42\x86", 1),  # EBML's version, and the least that a reader must know
        (b"\x42\xf7", 1),
        (b"\x42\xf2", 4),  # the longest name and length of an element
        (b"\x42\xf3", 8),
        (b"\x42\x82", b"matroska"),
        (b"\x42\x87", 4),  # its version, and the least that a reader must know
        (b"\x42\x85", 2),
    )
    times = (b"\x2a\xd7\xb1", 1_000_000), (b"\x4d\x80", b"fluoroguide"), (b"\x57\x41", b"fluoroguide")
    video = (b"\x9a", 2), (b"\xb0", info.width_px), (b"\xba", info.height_px)  # progressive
    track = (
        (b"\xd7", 1),  # number
        (b"\x73\xc5", 1),  # UID
        (b"\x83", 1),  # video
        (b"\x9c", 0),  # no lacing
        (b"\x86", name),
        (b"\x63\xa2", private),
        (b"\x23\xe3\x83", round(1e9 / (info.rate_hz or USUAL_RATE_HZ))),
        (b"\xe0", _elements(*video)),
    )
    tracks = _elements((b"\xae", _elements(*track)))
    checked = (b"\xbf", zlib.crc32(tracks).to_bytes(4, "little"))
    segment_of_any_length = b"\x18\x53\x80\x67\x01" + b"\xff" * 7
    return (
        _elements((b"\x1a\x45\xdf\xa3", _elements(*document)))
        + segment_of_any_length
        + _elements((b"\x15\x49\xa9\x66", _elements(*times)), (b"\x16\x54\xae\x6b", _elements(checked) + tracks))
    )


def _cluster_head(t_ms: int, size: int) -> bytes:
    """All of a cluster of one picture of ``size`` bytes, but for the picture (RFC 9559, 5.1.3 and 10)."""
    block_head = b"\x81\x00\x00\x80"  # of track 1, at the cluster's own time, decodable alone
    head = b"\xe7\x88" + t_ms.to_bytes(8, "big") + b"\xa3" + _length(len(block_head) + size) + block_head
    return CLUSTER + _length(len(head) + size) + head


def _elements(*each: tuple[bytes, bytes | int]) -> bytes:
    """Elements of EBML one after another (RFC 8794), each with its name and what it holds."""
    contents = ((name, held.to_bytes(8, "big") if isinstance(held, int) else held) for name, held in each)
    return b"".join(name + _length(len(held)) + held for name, held in contents)


def _length(size: int) -> bytes:
    return (size | 1 << 56).to_bytes(8, "big")
