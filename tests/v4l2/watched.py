"""Inside the virtual machine: a grabber that is read by a thread, and how its results come out."""

import json
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from drivers.frame import FrameFlag
from drivers.signal import Signal, SourceStatus, StatusNote
from drivers.v4l2 import open_grabber


@dataclass(frozen=True)
class Seen:
    """A frame as it was read. ``at_s``: when. ``checksum``: of its pixels (CRC-32)."""

    at_s: float
    sequence: int
    flags: FrameFlag
    shape: tuple[int, ...]
    t_s: float
    checksum: int


class _Journal(StatusNote):
    """Also when each state was told, however short."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[float, Signal]] = []

    def say(self, signal: Signal) -> None:
        is_news = signal is not self.status.signal
        super().say(signal)
        if is_news:
            self.told.append((time.monotonic(), signal))


class Watched:
    """A grabber read by a thread, with all that it told."""

    def __init__(self, url: str) -> None:
        self.grabber = open_grabber(url)
        self._journal = self.grabber._note = _Journal()
        self.frames: list[Seen] = []
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._read)
        self._stopping = False

    def __enter__(self) -> Self:
        self.grabber.__enter__()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self.grabber.stop()
        self._thread.join(5)
        assert not self._thread.is_alive(), "the iteration did not end"
        self.grabber.__exit__(None, None, None)
        if self.failure is not None:
            raise self.failure

    def _read(self) -> None:
        try:
            while not self._stopping:
                for frame in self.grabber:
                    now_s, checksum = time.monotonic(), zlib.crc32(frame.pixels)
                    seen = Seen(now_s, frame.sequence, frame.flags, frame.pixels.shape, frame.t_s, checksum)
                    self.frames.append(seen)
        except BaseException as error:  # noqa: BLE001 - told by whoever joins
            self.failure = error

    def until(self, holds: Callable[[], bool], timeout_s: float = 10.0) -> float | None:
        """Milliseconds until it holds; None where it does not in time."""
        start_s = time.monotonic()
        while time.monotonic() - start_s < timeout_s:
            if holds():
                return (time.monotonic() - start_s) * 1000
            if self.failure is not None:
                raise self.failure
            time.sleep(0.002)
        return None

    def told_s(self, signal: Signal, since_s: float) -> float | None:
        """When the state was first told after ``since_s``; None where it has not been."""
        newest = self._journal.told[-100:]
        return next((at_s for at_s, told in newest if told is signal and at_s >= since_s), None)

    def says(self, *signals: Signal) -> Callable[[], bool]:
        return lambda: self.grabber.status.signal in signals

    def good_after(self, since_s: float) -> Callable[[], bool]:
        return lambda: any(f.at_s > since_s and f.flags is FrameFlag.NONE for f in self.frames[-3:])

    def settled(self) -> tuple[SourceStatus, list[int]]:
        """Status and the sequence numbers of all frames, of one moment."""
        while True:
            status, frames = self.grabber.status, list(self.frames)
            if status.frames == len(frames) and status is self.grabber.status:
                return status, [frame.sequence for frame in frames]


def _plain(value: Any) -> Any:
    """What numpy counts, as JSON's own number."""
    return value.item()


def tell(**result: Any) -> None:
    with Path("/mnt/results.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(result, default=_plain) + "\n")
    print(result, flush=True)


def held() -> dict[str, int]:
    """What a driver might leave behind: threads, descriptors, buffers of a device that are still mapped."""
    return {
        "threads": threading.active_count(),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "buffers": Path("/proc/self/maps").read_text().count("/dev/video"),
    }


def nothing_leaked() -> None:
    tell(fault="leaks", **held())
