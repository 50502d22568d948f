"""Recordings on disk: what they share, video files, and npz arrays."""

import re
import tokenize
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
from numpy.typing import NDArray

from drivers.errors import SourceChanged, SourceError
from drivers.frame import Frame, FrameFlag, SourceInfo, freeze
from drivers.luma import luma_of
from drivers.truncation import stated_bytes

DEFAULT_RATE_HZ = 15.0
"""What is assumed where a recording holds no times: the pulse rate of ordinary fluoroscopy."""

# What is wrong is told by SourceError, in one line; libav would write its own to standard error.
av.logging.set_level(None)


@dataclass(frozen=True, slots=True)
class Header:
    """What a recording states besides its pictures."""

    frame_count: int | None = None
    rate_hz: float | None = None
    mm_per_px: float | None = None


class Recording(ABC):
    """What all recordings share: they open and close, keep one picture size, and read frames one at a time.

    A FrameSource. Iterating again goes on after the last frame read; opening again starts from the first.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._file = name
        self._header = Header()
        self._info: SourceInfo | None = None
        self._reading: Generator[Frame, None, None] | None = None
        self._frames: Iterator[Frame] = iter(())

    @abstractmethod
    def _read(self) -> Generator[Frame, None, None]:
        """Frames from the first on. Sets ``_header`` before it; what it opens, it closes when it is closed.

        A recording of several files sets ``_file`` to the one being read, for what is told of a frame.
        """

    @property
    def info(self) -> SourceInfo:
        if self._info is None:
            raise RuntimeError(f"{self._name}: not opened yet; use it in a `with` statement")
        return self._info

    def __enter__(self) -> Self:
        self._close()
        # The first picture tells its true size and depth; headers may lie.
        self._reading = self._read()
        first = next(self._reading, None)
        if first is None:
            raise SourceError(f"{self._name}: holds no picture; expected at least one")
        height_px, width_px = first.pixels.shape
        self._info = SourceInfo(
            name=self._name,
            width_px=width_px,
            height_px=height_px,
            bits=first.bits,
            live=False,
            frame_count=self._header.frame_count,
            rate_hz=self._header.rate_hz,
            mm_per_px=self._header.mm_per_px,
        )
        self._frames = self._alike(first, self._reading)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    def _close(self) -> None:
        if self._reading is not None:
            self._reading.close()
        self._reading = None
        self._frames = iter(())

    def _alike(self, first: Frame, rest: Iterator[Frame]) -> Iterator[Frame]:
        """All frames, as long as they are of the first one's size and depth."""
        height_px, width_px = first.pixels.shape
        for frame in chain([first], rest):
            h, w = frame.pixels.shape
            if (h, w, frame.bits) != (height_px, width_px, first.bits):
                raise SourceChanged(
                    f"{self._file}: frame {frame.sequence}: {w}x{h} pixels of {frame.bits} bits; "
                    f"expected {width_px}x{height_px} of {first.bits} as in the first frame"
                )
            yield frame


class VideoFile(Recording):
    """The frames of the first video stream of any file that FFmpeg decodes.

    ``pixels`` are luma (see ``drivers.luma``), ``t_s`` the stream's presentation timestamps, ``sequence`` counts
    from 0. Where timestamps jump back (recordings joined end to end) or are missing, time goes on at the nominal rate.
    A picture that the decoder says it could only patch up carries FrameFlag.CORRUPT, and reading goes on.

    Raises SourceError for what is not a video, and after the last picture before damage that can't be decoded or the
    point where the file was cut.
    Misses: FFmpeg conceals much damage without a word (a flipped bit in H.264, even in FFV1 with its checksums), and a
    Matroska file that was never finished can't be told from a whole one.

    ``threads``: the same frames whatever it is. Only slices of one picture are decoded side by side, since with
    several pictures at once FFmpeg can lose the sound ones that are under way when another fails.
    """

    def __init__(self, path: Path, threads: int = 2) -> None:
        super().__init__(str(path))
        self._path = path
        self._threads = threads

    def _read(self) -> Generator[Frame, None, None]:
        if self._path.is_file() and self._path.stat().st_size == 0:
            raise SourceError(f"{self._name}: the file is empty; expected a video")
        try:
            # "file:" keeps a name with a colon from being taken for another protocol; the whitelist keeps a
            # playlist from fetching anything over the network.
            container = av.open(f"file:{self._path}", options={"protocol_whitelist": "file"}, metadata_errors="replace")
        except (av.FFmpegError, OSError) as error:
            raise SourceError(f"{self._name}: {reason(error)}; expected a video that FFmpeg can read") from error
        with container:
            yield from self._decode(container, self._video_stream(container))

    def _video_stream(self, container: av.container.InputContainer) -> av.VideoStream:
        """The first one that is not an audio file's cover. Text files, which FFmpeg plays as ANSI art, are none."""
        for stream in container.streams.video:
            is_cover = av.stream.Disposition.attached_pic in stream.disposition
            if not is_cover and container.format.name != "tty" and stream.codec_context is not None:
                return stream
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        kinds = "text" if container.format.name == "tty" else kinds
        raise SourceError(f"{self._name}: holds {kinds}; expected a video stream")

    def _decode(self, container: av.container.InputContainer, stream: av.VideoStream) -> Generator[Frame, None, None]:
        stream.thread_type = "SLICE"
        stream.thread_count = self._threads
        rate = stream.average_rate or stream.guessed_rate
        self._header = Header(frame_count=stream.frames or None, rate_hz=float(rate) if rate else None)
        clock = _Clock(1 / float(rate) if rate else 1 / DEFAULT_RATE_HZ)
        sequence, t_s, damaged = 0, 0.0, False
        packets = container.demux(stream)
        try:
            while (packet := next(packets, None)) is not None:
                for picture in stream.decode(packet):
                    damaged = picture.is_corrupt or packet.is_corrupt
                    t_s = clock.time_of(picture)
                    pixels, bits = luma_of(picture)
                    yield Frame(pixels, t_s, sequence, bits, FrameFlag.CORRUPT if damaged else FrameFlag.NONE)
                    sequence += 1
        except (av.FFmpegError, ValueError) as error:
            raise SourceError(f"{self._place(sequence, t_s)}: {reason(error)}; expected a picture") from error
        self._check_end(sequence, t_s, damaged)

    def _check_end(self, sequence: int, t_s: float, damaged: bool) -> None:
        stated, size = stated_bytes(self._path), self._path.stat().st_size
        if stated is not None and size < stated:
            raise SourceError(
                f"{self._place(sequence, t_s)}: the file ends at {size} bytes; expected {stated}: it was cut short"
            )
        if damaged:
            raise SourceError(f"{self._place(sequence, t_s)}: the file ends in a damaged picture; expected a whole one")

    def _place(self, sequence: int, t_s: float) -> str:
        return f"{self._name}: frame {sequence} (after {t_s:.3f} s)" if sequence else f"{self._name}: frame 0"


class _Clock:
    """Turns presentation timestamps into seconds that never decrease."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._offset_s = 0.0
        self._last_s: float | None = None

    def time_of(self, picture: av.VideoFrame) -> float:
        next_s = 0.0 if self._last_s is None else self._last_s + self._period_s
        if picture.pts is None or picture.time_base is None:
            t_s = next_s
        else:
            # One division of whole numbers: the closest float to the exact rational time.
            t_s = picture.pts * picture.time_base.numerator / picture.time_base.denominator + self._offset_s
        if self._last_s is not None and t_s < self._last_s:
            self._offset_s += next_s - t_s
            t_s = next_s
        self._last_s = t_s
        return t_s


def reason(error: Exception) -> str:
    """The error's own words on one line, without the system's or libav's number."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


def mean_rate_hz(times_s: Sequence[float]) -> float | None:
    """Frames a second over the whole recording; None where its times do not tell."""
    span_s = times_s[-1] - times_s[0] if times_s else 0.0
    return (len(times_s) - 1) / span_s if span_s > 0 else None


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sorts names as people count: img2 before img10."""
    parts = re.findall(r"\d+|\D+", path.name)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts]


_DAMAGED_ARCHIVE = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    MemoryError,
    SyntaxError,
    NotImplementedError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What zipfile and numpy raise on damaged archives; array headers are Python literals."""


class NpzFile(Recording):
    """The frames of an .npz archive of arrays.

    Either ``pulses`` (P, height, width) and ``pulse_of_frame`` (N,), whole numbers that say which pulse each video
    frame shows, or ``frames`` (N, height, width); uint8 or uint16. ``t_s`` (N,), finite and never decreasing, goes
    with the first and may be missing with the second (then 15 frames a second). ``bits``, a single number, where
    a uint16 holds fewer than 16. Raises SourceError for anything else; arrays of Python objects are refused.
    The arrays are read whole into memory; frames that show the same pulse share it.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path

    def _read(self) -> Generator[Frame, None, None]:
        arrays = self._load()
        pulses, pulse_of_frame = self._pictures(arrays)
        bits = self._bits(arrays, pulses)
        times_s = self._times(arrays, len(pulse_of_frame))
        self._header = Header(len(pulse_of_frame), mean_rate_hz(times_s.tolist()))
        frozen = freeze(pulses)
        for sequence, (pulse, t_s) in enumerate(zip(pulse_of_frame, times_s, strict=True)):
            yield Frame(frozen[pulse], float(t_s), sequence, bits)

    def _load(self) -> dict[str, NDArray[Any]]:
        keys = ("pulses", "pulse_of_frame", "frames", "t_s", "bits")
        try:
            # Opened here, since numpy leaves a damaged file open.
            with self._path.open("rb") as file, zipfile.ZipFile(file):
                file.seek(0)
                with np.load(file, allow_pickle=False) as archive:
                    return {key: archive[key] for key in keys if key in archive}
        except _DAMAGED_ARCHIVE as error:
            raise self._refused(reason(error), "a whole .npz archive of plain arrays") from error

    def _pictures(self, arrays: dict[str, NDArray[Any]]) -> tuple[NDArray[Any], NDArray[np.intp]]:
        key = "pulses" if "pulses" in arrays else "frames"
        pictures = arrays.get(key)
        if pictures is None:
            raise self._refused(f"has {', '.join(arrays) or 'none of the keys'}", "`pulses` or `frames`")
        if pictures.ndim != 3 or pictures.dtype not in (np.uint8, np.uint16) or 0 in pictures.shape[1:]:
            raise self._refused(
                f"`{key}` is {pictures.dtype} {pictures.shape}", "(N, height, width) of uint8 or uint16"
            )
        if key == "frames":
            return pictures, np.arange(len(pictures))
        pulse_of_frame = arrays.get("pulse_of_frame")
        if pulse_of_frame is None or pulse_of_frame.ndim != 1 or pulse_of_frame.dtype.kind not in "iu":
            raise self._refused("has `pulses`", "whole numbers `pulse_of_frame` (N,) with them")
        wrong = np.flatnonzero((pulse_of_frame < 0) | (pulse_of_frame >= len(pictures)))
        if wrong.size:
            raise self._refused(f"frame {wrong[0]} shows pulse {pulse_of_frame[wrong[0]]}", f"0 to {len(pictures) - 1}")
        return pictures, pulse_of_frame.astype(np.intp)

    def _bits(self, arrays: dict[str, NDArray[Any]], pictures: NDArray[Any]) -> int:
        most = 8 * pictures.dtype.itemsize
        stated = arrays.get("bits")
        if stated is None or most == 8:
            return most
        if stated.size != 1 or stated.dtype.kind not in "iu" or not 8 <= int(stated.item()) <= most:
            raise self._refused(f"`bits` is {stated}", f"8 to {most}")
        return int(stated.item())

    def _times(self, arrays: dict[str, NDArray[Any]], frames: int) -> NDArray[np.float64]:
        if "t_s" not in arrays:
            if "pulses" in arrays:
                raise self._refused("has `pulses`", "their times `t_s` (N,) with them")
            return np.arange(frames) / DEFAULT_RATE_HZ
        times_s = arrays["t_s"]
        if times_s.shape != (frames,) or times_s.dtype.kind not in "fiu":
            raise self._refused(f"`t_s` is {times_s.dtype} {times_s.shape}", f"{frames} numbers, one a frame")
        times_s = np.asarray(times_s, dtype=np.float64)
        wrong = np.flatnonzero(~np.isfinite(times_s) | (np.diff(times_s, prepend=times_s[:1]) < 0))
        if wrong.size:
            raise self._refused(
                f"`t_s` of frame {wrong[0]} is {times_s[wrong[0]]}", "finite seconds that never decrease"
            )
        return times_s

    def _refused(self, found: str, expected: str) -> SourceError:
        return SourceError(f"{self._name}: {found}; expected {expected}")
