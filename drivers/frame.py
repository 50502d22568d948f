"""A frame, and what every source of frames promises."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Flag, auto
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


class FrameFlag(Flag):
    """What the source itself says of a frame."""

    NONE = 0
    CORRUPT = auto()
    """The buffer or packet was damaged: never analysed."""
    NO_SIGNAL = auto()
    """The input has no signal: the pixels mean nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One video frame as it came.

    ``pixels``: luma, shape (height, width), uint8 or uint16, C-contiguous, not writeable.
    ``t_s``: the source's timestamp in seconds, from the source's own origin, never decreasing.
    ``sequence``: the source's own count; a gap means that frames were dropped.
    ``bits``: how many of the pixel's bits carry signal (8 to 16).
    """

    pixels: Pixels
    t_s: float
    sequence: int
    bits: int = 8
    flags: FrameFlag = FrameFlag.NONE


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known of a source before its first frame."""

    name: str
    """What a person would call it: a file's name, a device's label."""
    width_px: int
    height_px: int
    bits: int
    live: bool
    """True where frames arrive in their own time; False where they can be read as fast as one likes."""
    frame_count: int | None = None
    rate_hz: float | None = None
    mm_per_px: float | None = None
    """In the detector's or the imager's plane, where the source's header states it."""


class FrameSource(Protocol):
    """A context manager that yields frames in order.

    Opening (``__enter__``) reads enough to fill ``info`` and raises SourceError on what cannot be read.
    Iterating yields frames until the end; damage in the middle raises SourceError after the frames before it.
    Closing (``__exit__``) may be done twice and leaves no thread, process or descriptor.
    """

    @property
    def info(self) -> SourceInfo: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __iter__(self) -> Iterator[Frame]: ...


def freeze(pixels: Pixels) -> Pixels:
    """The same pixels, C-contiguous and not writeable, copied only if they must be."""
    frozen: Pixels = np.require(pixels, requirements="C")
    if frozen is pixels and frozen.flags.writeable:
        frozen = frozen.view()
    frozen.flags.writeable = False
    return frozen
