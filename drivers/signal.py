"""What a live source says of its input, beside its frames."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol, cast

from drivers.frame import FrameSource


class Signal(StrEnum):
    """The state of a live source's input; each has its own cause and its own remedy.

    LIVE is told with a frame that was begun without a fault of the input, not before one.
    """

    LIVE = "live"
    NO_SIGNAL = "no_signal"
    NO_LOCK = "no_lock"
    OUT_OF_RANGE = "out_of_range"
    TIMINGS_CHANGED = "timings_changed"
    STALLED = "stalled"
    STREAM_ERROR = "stream_error"
    UNPLUGGED = "unplugged"
    STARTING = "starting"

    @property
    def words(self) -> str:
        """What a person beside the machine is told."""
        return _WORDS[self]


_WORDS = {
    Signal.LIVE: "live",
    Signal.NO_SIGNAL: "no signal at the input: is the cable in and the C-arm's video on?",
    Signal.NO_LOCK: "a signal that the grabber cannot lock to: is the cable damaged or too long?",
    Signal.OUT_OF_RANGE: "a video format that the grabber cannot take",
    Signal.TIMINGS_CHANGED: "the video format has changed: starting anew",
    Signal.STALLED: "the grabber has stopped delivering frames",
    Signal.STREAM_ERROR: "the grabber reports an error: starting anew",
    Signal.UNPLUGGED: "the grabber is unplugged",
    Signal.STARTING: "the grabber is starting: no frame yet",
}


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """How a live source is doing; a snapshot.

    ``since_s``: since when ``signal`` has been so, by the monotonic clock. ``frames``: delivered, bad ones too.
    ``dropped``: frames that the grabber counted and never delivered, or for which there was no room. ``corrupt``:
    delivered damaged. ``restarts``: how often the stream was started anew.
    """

    signal: Signal
    since_s: float
    frames: int = 0
    dropped: int = 0
    corrupt: int = 0
    restarts: int = 0


class StatusNote:
    """Where a live source notes how it is doing; one thread writes, any reads a whole snapshot."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self.status = SourceStatus(Signal.STARTING, now_s())

    def say(self, signal: Signal) -> None:
        """The input's state, told anew only where it has changed."""
        if signal is not self.status.signal:
            self.status = replace(self.status, signal=signal, since_s=self._now_s())

    def count(self, frames: int = 0, dropped: int = 0, corrupt: int = 0, restarts: int = 0) -> None:
        """Add to the counts, all at once."""
        now = self.status
        self.status = replace(
            now,
            frames=now.frames + frames,
            dropped=now.dropped + dropped,
            corrupt=now.corrupt + corrupt,
            restarts=now.restarts + restarts,
        )


class LiveSource(FrameSource, Protocol):
    """A source whose frames come in their own time, and may fail to.

    Its iteration goes on through every fault; while no frame comes, ``status`` tells why. It ends after ``stop``, or
    where the picture's size or depth changes: then ``info`` holds the new one and iterating again goes on. Raises
    SourceError only for what no waiting can mend.
    """

    @property
    def status(self) -> SourceStatus:
        """May be read from any thread."""
        ...

    def stop(self) -> None:
        """Iteration ends within a tenth of a second. May be called from any thread, and again."""


def as_live(source: FrameSource) -> LiveSource | None:
    """The opened source, where its frames come in their own time; None for one that is read as fast as one likes."""
    return cast(LiveSource, source) if source.info.live else None
