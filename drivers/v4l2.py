"""USB, HDMI and SDI grabbers through the Linux kernel's own interface (V4L2): every frame, and every fault by its name.

    v4l2:///dev/video0[?input=0&format=UYVY&size=1920x1080&rate=30&edid=FILE]

The kernel goes on delivering frames when a cable is out, when a buffer is damaged and when the format has changed
(seen with its virtual grabber under fault injection), so noise would look like live video. What it says of its input
is therefore asked for with every frame, and each frame carries the answer.

Method: memory-mapped streaming, poll, source-change events, digital video timings, as the kernel's "Linux Media
Infrastructure userspace API" describes them. What it misses: planar (multi-plane) devices, interlaced fields, and
grabbers that hide a lost signal from the kernel; those show in the pixels, see ``guidance.vision.liveness``.
"""

import errno
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Final, Self
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from drivers import v4l2_kernel as v4l2
from drivers.errors import SourceError
from drivers.frame import Frame, FrameFlag, SourceInfo
from drivers.pixel_formats import PIXEL_FORMATS
from drivers.ring import FrameRing
from drivers.signal import Signal, SourceStatus, StatusNote
from drivers.v4l2_card import BUFFERS, Card, GrabberOptions
from drivers.v4l2_kernel import BufferFlag, Identity, Kernel, Ready, RunningKernel

RING_FRAMES: Final = 32
"""What recorder and analysis may hold on to together: half a second at 60 frames a second."""
TICK_S: Final = 0.05
"""How often a waiting iteration looks up."""
LEAST_STALL_S: Final = 0.25
STALL_INTERVALS: Final = 2.5
"""A frame this late is not coming."""
STALE_S: Final = 0.25
"""What has waited for so long is given back unread: an old frame is never delivered as new."""
BELIEVED_S: Final = 1.0
"""A timestamp further from this machine's own clock is the driver's mistake (a wrap, another clock)."""
DEAD_S: Final = 1.0
"""A stream that has delivered nothing for so long is started anew, and again after each such time."""
RETRY_S: Final = 0.1
SLOW_QUESTION_S: Final = 0.002
ASK_EVERY_S: Final = 0.1
"""The input's state is asked for with every frame, of a card that takes its time over the answer every so often."""
_GONE = frozenset({errno.ENODEV, errno.ENXIO, errno.ENOENT, errno.EBADF})


class _FormatChanged(Exception):  # noqa: N818 - an event inside this module, no error
    """The picture's size or depth is another from now on."""


class V4L2Grabber:
    """A grabber as a LiveSource, see ``drivers.signal``.

    Opening raises SourceError for a device that is not there, is no grabber, or is in use. An input without a signal
    opens all the same: ``info`` then tells the format that the grabber stands at.

    Frames: ``t_s`` is the kernel's CLOCK_MONOTONIC, of the moment that ``timestamp_is`` names. ``sequence`` counts on
    through wraps and restarts; a gap is a frame that was lost. Damaged buffers come flagged CORRUPT, those of an input
    without a signal NO_SIGNAL, as do frames that were begun before the signal came back. Where the iteration was left
    alone for a quarter of a second, what waited in the meantime is lost, and counted.
    """

    def __init__(
        self, options: GrabberOptions, kernel: Kernel | None = None, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._options = options
        self._kernel = kernel or RunningKernel()
        self._now_s = now_s
        self._note = StatusNote(now_s)
        self._card: Card | None = None
        self._identity: Identity | None = None
        self._others: set[Identity] = set()
        self._info: SourceInfo | None = None
        self._ring: FrameRing | None = None
        self._stopped = False
        self._expected: int | None = None
        self._sequence = -1
        self._last_t_s = 0.0
        self._fault: Signal | None = None
        self._good_from_s = 0.0
        self._asked_s = self._question_s = 0.0
        self._heard_s = self._looked_s = 0.0
        self.timestamp_is = "unknown"

    # ---- what every source has

    @property
    def info(self) -> SourceInfo:
        if self._info is None:
            raise RuntimeError(f"{self._options.path}: not opened yet")
        return self._info

    @property
    def status(self) -> SourceStatus:
        status = self._note.status
        # Whoever reads may hang in the kernel; then nobody else would say so.
        hung_s = self._heard_s + 2 * self._stall_s()
        if status.signal is Signal.LIVE and self._now_s() > hung_s:
            return replace(status, signal=Signal.STALLED, since_s=hung_s)
        return status

    def stop(self) -> None:
        self._stopped = True
        card = self._card
        if card is not None:
            card.wake()

    def __enter__(self) -> Self:
        self._close()
        self._stopped, self._info = False, None
        self._note.say(Signal.STARTING)
        try:
            self._open(self._options.path)
            self._start()
        except BaseException as error:
            self._close()
            if isinstance(error, OSError):
                raise SourceError(f"{self._options.path}: {_why(error)}") from error
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped = True
        self._close()

    def __iter__(self) -> Iterator[Frame]:
        try:
            while not self._stopped:
                frame = self._next_or_recover()
                if frame is not None:
                    yield frame
        except _FormatChanged:
            return

    # ---- opening

    def _open(self, path: str) -> None:
        card = self._card = Card(self._kernel, path, self._options)
        self._identity = card.identity or self._identity

    @property
    def _opened(self) -> Card:
        if self._card is None:
            raise OSError(errno.ENODEV, "unplugged")
        return self._card

    def _start(self) -> None:
        """Let frames come. Raises _FormatChanged where the picture's size or depth has become another."""
        before, now = self._info, self._opened.start()
        bits = now.form.bits
        self._info = SourceInfo(self._opened.name, now.width_px, now.height_px, bits, live=True, rate_hz=now.rate_hz)
        is_other = before is None or _picture(before) != _picture(self._info)
        if is_other:
            self._ring = FrameRing(RING_FRAMES, (now.height_px, now.width_px), np.uint8 if bits == 8 else np.uint16)
        self._heard_s = self._looked_s = self._now_s()
        if self._note.status.signal is Signal.UNPLUGGED:
            self._note.say(Signal.STARTING)
        self._ask()
        if before is not None and is_other:
            raise _FormatChanged

    def _close(self) -> None:
        card, self._card = self._card, None
        if card is not None:
            card.close()

    # ---- frame by frame

    def _next_or_recover(self) -> Frame | None:
        """The next frame; None where none came within a tick, or the device had an error. Raises _FormatChanged."""
        try:
            return self._next()
        except OSError as error:
            self._recover(error)
            return None

    def _next(self) -> Frame | None:
        if self._fault is Signal.TIMINGS_CHANGED:
            self._restart()
        if self._now_s() - self._looked_s > STALE_S:
            self._give_back_unread()
        ready = self._opened.wait(self._tick_s())
        self._looked_s = self._now_s()
        if ready & Ready.EVENT and self._opened.has_changed():
            self._good_from_s = self._looked_s
            self._ask(in_full=True)
        if ready & Ready.FRAME:
            if self._is_due():
                self._ask()
            return self._take()
        if ready & Ready.ERROR:
            raise OSError(errno.EIO, "stream error")
        self._look_up()
        return None

    def _give_back_unread(self) -> None:
        """Nobody has looked for long: what waits is old, and the gap that it leaves is counted with the next frame."""
        for _ in range(BUFFERS):
            if (buffer := self._opened.dequeue()) is not None:
                self._opened.enqueue(buffer)

    def _take(self) -> Frame | None:
        """The frame that waits, copied once; None where there was no room or nothing waits after all."""
        card = self._opened
        if self._now_s() - self._looked_s > STALE_S or (buffer := card.dequeue()) is None:
            return None
        self._heard_s = self._now_s()
        missing = self._missing_before(int(buffer.sequence))
        frame = self._copy(buffer)
        try:
            # Its number and type are all that the kernel reads; what was in it has been copied.
            card.enqueue(buffer)
        except OSError:
            self._note.count(dropped=missing + 1)
            raise
        if frame is None:
            self._note.count(dropped=missing + 1)
            return None
        self._note.count(frames=1, dropped=missing, corrupt=int(FrameFlag.CORRUPT in frame.flags))
        if FrameFlag.NO_SIGNAL not in frame.flags:
            self._note.say(Signal.LIVE)
        return frame

    def _copy(self, buffer: v4l2.Buffer) -> Frame | None:
        """The frame that the buffer holds; None where there is no room for it."""
        assert self._ring is not None
        pixels = self._ring.take()
        if pixels is None:
            return None
        flags = FrameFlag.NONE
        taken_s, begun_s = self._times_s(buffer)
        if self._fault is not None or begun_s < self._good_from_s:
            flags |= FrameFlag.NO_SIGNAL
        if not self._opened.read(buffer, pixels):
            # What an earlier frame has left in the array is never to be seen again.
            pixels[:] = 0
            flags |= FrameFlag.CORRUPT
        pixels.flags.writeable = False
        self._last_t_s = max(self._last_t_s, taken_s)
        return Frame(pixels, self._last_t_s, self._sequence, self.info.bits, flags)

    def _times_s(self, buffer: v4l2.Buffer) -> tuple[float, float]:
        """When a frame was taken, as ``timestamp_is`` says, and when it was begun at the latest."""
        rate_hz = self.info.rate_hz
        interval_s = 1 / rate_hz if rate_hz else 0.0
        is_kernels = buffer.flags & BufferFlag.TIMESTAMP_KINDS == BufferFlag.MONOTONIC
        if not is_kernels or abs(buffer.t_s - self._heard_s) > BELIEVED_S + interval_s:
            self.timestamp_is = "arrival here"
            return self._heard_s, self._heard_s - interval_s
        if buffer.flags & BufferFlag.TIMESTAMP_SOURCES == BufferFlag.START_OF_EXPOSURE:
            self.timestamp_is = "start of exposure"
            return buffer.t_s, buffer.t_s
        self.timestamp_is = "end of frame"
        return buffer.t_s, buffer.t_s - interval_s

    def _missing_before(self, sequence: int) -> int:
        """How many numbers are missing before this one; the kernel's are 32 bits wide and begin anew with a stream."""
        gap = 0 if self._expected is None else (sequence - self._expected) & 0xFFFF_FFFF
        if gap >= 1 << 31:
            gap = 0  # the same number twice, as some drivers do at the start
        self._expected = (sequence + 1) & 0xFFFF_FFFF
        self._sequence += 1 + gap
        return gap

    def _tick_s(self) -> float:
        """How long to wait: no longer than until the next frame is late."""
        left_s = self._heard_s + self._stall_s() - self._now_s()
        return min(TICK_S, left_s) if left_s > 0 else TICK_S

    def _stall_s(self) -> float:
        """How late a frame must be so as not to come any more."""
        rate_hz = None if self._info is None else self._info.rate_hz
        return max(LEAST_STALL_S, STALL_INTERVALS / rate_hz if rate_hz else 0.0)

    def _look_up(self) -> None:
        """No frame has come within a tick: why, and what to do."""
        self._ask()
        silent_s = self._now_s() - self._heard_s
        if self._fault is not None or silent_s < self._stall_s():
            return
        if self._note.status.signal is not Signal.STALLED:
            self._good_from_s = self._now_s()
            self._note.say(Signal.STALLED)
        if silent_s >= max(DEAD_S, 2 * self._stall_s()):
            self._restart()

    # ---- the input's state

    def _is_due(self) -> bool:
        return self._question_s < SLOW_QUESTION_S or self._now_s() - self._asked_s >= ASK_EVERY_S

    def _ask(self, in_full: bool = False) -> None:
        """Ask the card how its input is. Raises OSError."""
        asked_s = self._now_s()
        fault = self._opened.input_fault(in_full or self._note.status.signal is not Signal.LIVE)
        self._asked_s = self._now_s()
        self._question_s = self._asked_s - asked_s
        if fault is not None:
            self._note.say(fault)
        elif self._fault is not None:
            # What the card began before may hold the fault.
            self._good_from_s = self._asked_s
        self._fault = fault

    # ---- faults

    def _restart(self) -> None:
        self._expected = None
        self._opened.halt()
        self._note.count(restarts=1)
        self._start()

    def _recover(self, error: OSError) -> None:
        """After an error of the device: start the stream anew, or wait until the device is back."""
        while not self._stopped:
            if error.errno in _GONE:
                self._note.say(Signal.UNPLUGGED)
                self._close()
                self._await_return()
                return
            self._note.say(Signal.STREAM_ERROR)
            if self._expected is None:
                time.sleep(RETRY_S)  # it has failed again before a frame came
            try:
                self._restart()
            except OSError as again:
                error = again
            else:
                return

    def _await_return(self) -> None:
        """Until the device is back, under whatever number, or ``stop`` was called."""
        self._expected = None
        # What is there at this moment is another device, also where it has the same serial number, as copies have.
        self._others = {identity for _, identity in self._kernel.nodes() if identity != self._identity}
        while not self._stopped:
            path = self._path_now()
            if path is not None:
                try:
                    self._open(path)
                    self._note.count(restarts=1)
                    self._start()
                except (OSError, SourceError):
                    # It is still being set up, or another program was quicker; next time, then.
                    self._close()
                else:
                    return
            time.sleep(RETRY_S)

    def _path_now(self) -> str | None:
        """Where the device is now; None while it is not there."""
        if self._identity is None:
            return self._options.path
        there = {identity: path for path, identity in self._kernel.nodes()}
        self._others &= there.keys()
        known, others = self._identity, self._others
        return next((path for one, path in there.items() if known.is_same_device(one) and one not in others), None)


def open_grabber(url: str) -> V4L2Grabber:
    """The grabber of a v4l2:// URL. Raises SourceError for an option that it doesn't know."""
    parts = urlsplit(url)
    given = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
    path = unquote(parts.netloc + parts.path)
    options = GrabberOptions(path)
    for key, value in given.items():
        if key not in _OPTIONS:
            raise SourceError(f"{url}: option {key}: expected one of {', '.join(_OPTIONS)}")
        expected, read = _OPTIONS[key]
        try:
            options = read(options, value)
        except ValueError as error:
            raise SourceError(f"{url}: option {key}={value}: expected {expected}") from error
    if not path.startswith("/dev/"):
        raise SourceError(f"{url}: no device; expected v4l2:///dev/videoN")
    return V4L2Grabber(options)


def _with_format(options: GrabberOptions, text: str) -> GrabberOptions:
    if text not in PIXEL_FORMATS:
        raise ValueError(text)
    return replace(options, format=text)


def _with_size(options: GrabberOptions, text: str) -> GrabberOptions:
    width, height = (int(side) for side in text.split("x"))
    if min(width, height) < 1:
        raise ValueError(text)
    return replace(options, size_px=(width, height))


def _with_rate(options: GrabberOptions, text: str) -> GrabberOptions:
    rate_hz = float(text)
    if not 0 < rate_hz <= 1000:
        raise ValueError(text)
    return replace(options, rate_hz=rate_hz)


_OPTIONS: Final[dict[str, tuple[str, Callable[[GrabberOptions, str], GrabberOptions]]]] = {
    "input": ("a number", lambda options, text: replace(options, input=int(text))),
    "format": (f"one of {', '.join(PIXEL_FORMATS)}", _with_format),
    "size": ("WIDTHxHEIGHT", _with_size),
    "rate": ("frames a second", _with_rate),
    "edid": ("a file", lambda options, text: replace(options, edid=text)),
}


def _picture(info: SourceInfo) -> tuple[int, int, int]:
    return info.width_px, info.height_px, info.bits


def _why(error: OSError) -> str:
    """Why a device cannot be opened, and what was expected."""
    match error.errno:
        case errno.ENOENT | errno.ENODEV | errno.ENXIO:
            return "no such device; expected a grabber, see `fluoroguide devices`"
        case errno.EBUSY:
            return "in use by another program; expected a grabber that is free"
        case errno.EACCES | errno.EPERM:
            return "no permission; expected a user of the group video"
        case errno.ENOTTY | errno.EINVAL:
            return "no grabber; expected a device that captures and streams video"
        case _:
            return f"{error.strerror}; expected a grabber that streams"
