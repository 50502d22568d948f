"""A recorded case: its pictures lie where an index says, and each frame is held to its checksum.

A folder with ``frames.jsonl``, a line for every frame that came, and the parts that hold the pictures: ``video.mkv``,
``video-002.mkv`` ... (FFV1 or MagicYUV in Matroska, 8 bit) or ``pictures.jxls`` ... (JPEG XL codestreams end to end, 10
to 16 bit). A picture that came again unchanged is stored once, so several lines may point at the same bytes. Lines are
found by their own numbers and pictures by their place, so a case that broke off reads like any other up to its last
frame.
"""

import json
import os
import struct
import zlib
from collections.abc import Generator, Iterable
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

import av
import imagecodecs
import numpy as np
from numpy.typing import NDArray

from drivers.errors import SourceError
from drivers.frame import Frame, FrameFlag, Pixels, freeze
from drivers.recording import Header, Recording, mean_rate_hz

CASE, INDEX = "case.json", "frames.jsonl"
MATROSKA, JPEG_XL = ".mkv", ".jxls"
CLUSTER = b"\x1f\x43\xb6\x75"
"""Where the pictures of a Matroska file begin (RFC 9559, 5.1.3)."""

CODECS = ("ffv1", "magicyuv")
"""What the pictures of a Matroska file are in: any one can be decoded without another."""

HEADER_BYTES = 65536
"""A Matroska file's description of its one track is well inside of these."""


class IndexRow(NamedTuple):
    """A line of ``frames.jsonl``. ``at``, ``size``: the bytes of the picture in the file ``part``.

    No dataclass: half an hour has 54 000 of them, which take 50 ms to make instead of 220.
    """

    frame: int
    t_s: float
    sequence: int
    flags: int
    crc32: int
    part: str
    at: int
    size: int

    def as_line(self) -> bytes:
        """The row as JSON; ``t_s`` with every bit of it."""
        return json.dumps(self._asdict(), separators=(",", ":")).encode() + b"\n"


ALL_FLAGS = (FrameFlag.CORRUPT | FrameFlag.NO_SIGNAL).value

UNREADABLE = IndexRow(-1, 0.0, -1, FrameFlag.CORRUPT.value, 0, "", 0, 0)
"""In the place of a line that cannot be read."""


def checksum(of_pixels: int, t_s: float, sequence: int, flags: FrameFlag) -> int:
    """The CRC-32 of a frame: of its pixels, whose own is known (``checksum_of``), and of all that is told of them."""
    return zlib.crc32(struct.pack("<dqi", t_s, sequence, flags.value), of_pixels)


def checksum_of(pixels: Pixels) -> int:
    """The CRC-32 of a picture alone: the same for every frame that shows it."""
    return zlib.crc32(pixels.data)


def read_index(path: Path) -> tuple[IndexRow, ...]:
    """All whole lines, each at the place of its number. Raises SourceError.

    A line cut off at the end, as power loss leaves it, is passed over; one damaged in between is UNREADABLE.
    """
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror}); expected the index of a recording") from error
    try:
        # In one piece, ten times faster than line by line.
        return _in_place(IndexRow(**row) for row in json.loads(b"[" + b",".join(lines) + b"]"))
    except (ValueError, TypeError):
        return _in_place(map(_row, lines))


def _row(line: bytes) -> IndexRow | None:
    try:
        row = IndexRow(**json.loads(line))
        whole = all(isinstance(getattr(row, name), kind) for name, kind in IndexRow.__annotations__.items())
    except (ValueError, TypeError):
        return None
    return row if whole else None


def _in_place(rows: Iterable[IndexRow | None]) -> tuple[IndexRow, ...]:
    """Each row at the place of its number. None stands for a line that cannot be read."""
    placed: list[IndexRow] = []
    unread = 0
    for row in rows:
        if row is None:
            unread += 1
        elif row.frame < len(placed) and placed[row.frame] == row:
            unread = 0  # what a full disk tore was written again, and all that waited with it
        else:
            # A line torn by a full disk comes again, and leaves no gap.
            placed += [UNREADABLE] * (0 if row.frame == len(placed) else unread)
            placed.append(row)
            unread = 0
    return (*placed, *[UNREADABLE] * unread)


class _Stored(NamedTuple):
    """A picture that has been read: where from, and its checksum, which every frame that shows it is held to."""

    part: str
    at: int
    pixels: Pixels
    crc32: int

    def is_damaged(self, row: IndexRow, number: int) -> bool:
        """Whether the frame of that number is not what was recorded."""
        flags = FrameFlag(row.flags & ALL_FLAGS)
        crc32 = checksum(self.crc32, row.t_s, row.sequence, flags)
        return (row.frame, row.flags, row.crc32) != (number, flags.value, crc32)


class _Decoder(Protocol):
    def __call__(self, packet: bytes) -> Pixels: ...


class ArchivedPictures:
    """The frames of a recorded case by their number. A context manager; belongs to one thread.

    ``rows``: the index. Raises SourceError where there is none. A frame that is not what was recorded carries
    FrameFlag.CORRUPT, with what can be decoded of it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._closing = ExitStack()
        self._parts: dict[str, tuple[int, _Decoder]] = {}
        self._last: _Stored | None = None
        self.header = self._read_header()
        self.rows = read_index(folder / INDEX)

    def _read_header(self) -> dict[str, Any]:
        path = self.folder / CASE
        try:
            header = json.loads(path.read_text(encoding="utf-8"))
            self.shape = int(header["height_px"]), int(header["width_px"])
            self.bits = int(header["bits"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SourceError(f"{path}: {error}; expected a recorded case's header") from error
        if min(self.shape) < 1 or max(self.shape) > 16384 or not 8 <= self.bits <= 16:
            raise SourceError(
                f"{path}: pictures of {self.shape[1]}x{self.shape[0]}, {self.bits} bits; expected 8 to 16"
            )
        return dict(header)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def times_s(self) -> NDArray[np.float64]:
        """Of every frame, never decreasing; a line that is lost or out of order has the time of the one before it."""
        times_s = np.array([row.t_s for row in self.rows], dtype=np.float64)
        before, after = times_s[:-2], times_s[2:]
        times_s[1:-1] = np.where((times_s[1:-1] > after) & (before <= after), before, times_s[1:-1])
        return np.maximum.accumulate(times_s)

    def frame(self, number: int) -> Frame:
        """The frame, compared with its checksum."""
        row = self.rows[number]
        flags = FrameFlag(row.flags & ALL_FLAGS)
        stored = self._picture(row)
        if stored is None or stored.is_damaged(row, number):
            flags |= FrameFlag.CORRUPT
        if stored is None:
            pixels = freeze(np.zeros(self.shape, np.uint8) if self.bits == 8 else np.zeros(self.shape, np.uint16))
        else:
            pixels = stored.pixels
        return Frame(pixels, row.t_s, row.sequence, self.bits, flags)

    def is_whole(self, number: int) -> bool:
        """Whether the frame is what was recorded; one that already came damaged may be."""
        row = self.rows[number]
        stored = self._picture(row)
        return stored is not None and not stored.is_damaged(row, number)

    def _picture(self, row: IndexRow) -> _Stored | None:
        """None where nothing of it can be had."""
        if self._last is not None and (self._last.part, self._last.at) == (row.part, row.at):
            return self._last
        if not 0 < row.size <= 8 * self.shape[0] * self.shape[1] + HEADER_BYTES:
            return None
        try:
            file, decode = self._part(row.part)
            pixels = decode(os.pread(file, row.size, row.at))
        except (OSError, ValueError, LookupError, av.FFmpegError, imagecodecs.JpegxlError):
            return None
        if pixels.shape != self.shape or pixels.itemsize != (1 if self.bits == 8 else 2):
            return None
        self._last = _Stored(row.part, row.at, pixels, checksum_of(pixels))
        return self._last

    def _part(self, name: str) -> tuple[int, _Decoder]:
        if name not in self._parts:
            if Path(name).name != name or Path(name).suffix not in (MATROSKA, JPEG_XL):
                raise ValueError(f"no part of a recording: {name!r}")
            file = os.open(self.folder / name, os.O_RDONLY | os.O_CLOEXEC)
            self._closing.callback(os.close, file)
            decode = _matroska(os.pread(file, HEADER_BYTES, 0)) if name.endswith(MATROSKA) else _jpeg_xl
            self._parts[name] = file, decode
        return self._parts[name]

    def close(self) -> None:
        """May be done twice."""
        self._closing.close()
        self._parts.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _matroska(beginning: bytes) -> _Decoder:
    """Decodes single pictures, as the track says that begins a Matroska file."""
    with av.open(BytesIO(beginning), format="matroska") as container:
        track = container.streams.video[0].codec_context
        if track.name not in CODECS:
            raise ValueError(f"expected pictures in {' or '.join(CODECS)}, not {track.name}")
        codec: Any = av.CodecContext.create(track.name, "r")
        codec.width, codec.height, codec.extradata = track.width, track.height, track.extradata
    # Of one picture, so that whoever jumps to it or replays alone has it sooner; the same whatever their number.
    codec.thread_type, codec.thread_count = "SLICE", 2

    def decode(packet: bytes) -> Pixels:
        pictures = codec.decode(av.Packet(packet))
        if len(pictures) != 1 or pictures[0].format.name != "gray":
            raise ValueError("expected one gray picture")
        return freeze(pictures[0].to_ndarray())

    return decode


def _jpeg_xl(packet: bytes) -> Pixels:
    return freeze(imagecodecs.jpegxl_decode(packet))


class ArchivedFrames(Recording):
    """Every frame of a recorded case, at its own exact time. ``pixels`` of a damaged one mean nothing."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self._folder = folder

    def _read(self) -> Generator[Frame, None, None]:
        with ArchivedPictures(self._folder) as pictures:
            mm_per_px = pictures.header.get("mm_per_px")
            self._header = Header(len(pictures), mean_rate_hz(pictures.times_s.tolist()), mm_per_px)
            for number, t_s in enumerate(pictures.times_s.tolist()):
                frame = pictures.frame(number)
                yield Frame(frame.pixels, t_s, frame.sequence, frame.bits, frame.flags)
