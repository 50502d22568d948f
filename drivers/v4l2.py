"""USB, HDMI and SDI grabbers through the Linux kernel's own interface (V4L2): every frame, and every fault by its name.

    v4l2:///dev/video0[?input=0&format=UYVY&size=1920x1080&rate=30&edid=FILE]

The kernel goes on delivering frames when a cable is out, when a buffer is damaged and when the format has changed
(seen with its virtual grabber under fault injection), so noise would look like live video. What it says of its input
is therefore asked for with every frame, and each frame carries the answer.

Method: memory-mapped streaming, poll, source-change events, digital video timings, as the kernel's "Linux Media
Infrastructure userspace API" describes them. What it misses: planar (multi-plane) devices, interlaced fields, and
grabbers that hide a lost signal from the kernel; those show in the pixels, see ``guidance.vision.liveness``.
"""

import ctypes
import errno
import mmap
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from drivers import v4l2_kernel as v4l2
from drivers.errors import SourceError
from drivers.frame import Frame, FrameFlag, Pixels, SourceInfo
from drivers.pixel_formats import PIXEL_FORMATS, PixelFormat
from drivers.ring import FrameRing
from drivers.signal import Signal, SourceStatus, StatusNote
from drivers.v4l2_devices import TIMINGS_SAY, Mode, ask, inputs_of, is_grabber, modes_of, status_says, write_edid
from drivers.v4l2_kernel import BufferFlag, Identity, InputCaps, Kernel, Node, Ready, RunningKernel

BUFFERS: Final = 4
"""Of the kernel's: at 60 frames a second a pause of 50 ms loses none."""
RING_FRAMES: Final = 32
"""What recorder and analysis may hold on to together: half a second at 60 frames a second."""
TICK_S: Final = 0.05
"""How often a waiting iteration looks up."""
LEAST_STALL_S: Final = 0.25
STALL_INTERVALS: Final = 2.5
"""A frame this late is not coming."""
DEAD_S: Final = 1.0
"""A stream that has delivered nothing for so long is started anew, and again after each such time."""
RETRY_S: Final = 0.1
SLOW_QUESTION_S: Final = 0.002
ASK_EVERY_S: Final = 0.1
"""The input's state is asked for with every frame, of a card that takes its time over the answer every so often."""
GOOD_RATE_HZ: Final = 24.0
"""A format that brings so many frames a second is chosen by its quality, else by its rate."""

_GONE = frozenset({errno.ENODEV, errno.ENXIO, errno.ENOENT, errno.EBADF})


@dataclass(frozen=True, slots=True)
class GrabberOptions:
    """What a URL asks for; None: the grabber's own choice."""

    path: str
    input: int | None = None
    format: str | None = None
    size_px: tuple[int, int] | None = None
    rate_hz: float | None = None
    edid: str | None = None

    @property
    def asked(self) -> dict[str, str]:
        """What of format, size and rate was asked for, as it was written."""
        size = None if self.size_px is None else f"{self.size_px[0]}x{self.size_px[1]}"
        rate = None if self.rate_hz is None else f"{self.rate_hz:g}"
        return {k: v for k, v in (("format", self.format), ("size", size), ("rate", rate)) if v is not None}


class _FormatChanged(Exception):  # noqa: N818 - an event inside this module, no error
    """The picture's size or depth is another from now on."""


class V4L2Grabber:
    """A grabber as a LiveSource, see ``drivers.signal``.

    Opening raises SourceError for a device that is not there, is no grabber, or is in use. An input without a signal
    opens all the same: ``info`` then tells the format that the grabber stands at.

    Frames: ``t_s`` is the kernel's CLOCK_MONOTONIC, of the moment that ``timestamp_is`` names. ``sequence`` counts on
    through wraps and restarts; a gap is a frame that was lost. Damaged buffers come flagged CORRUPT, those of an input
    without a signal NO_SIGNAL, as do frames that were begun before the signal came back.
    """

    def __init__(
        self, options: GrabberOptions, kernel: Kernel | None = None, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._options = options
        self._kernel = kernel or RunningKernel()
        self._now_s = now_s
        self._node: Node | None = None
        self._identity: Identity | None = None
        self._info: SourceInfo | None = None
        self._note = StatusNote(now_s)
        self._stopped = False
        self._buffers: list[mmap.mmap] = []
        self._ring: FrameRing | None = None
        self._form: PixelFormat = PIXEL_FORMATS["GREY"]
        self._stride = 0
        self._is_full_range = False
        self._interval_s: float | None = None
        self._has_timings = False
        self._timings: v4l2.DvTimings | None = None
        self._refused: tuple[int, ...] | None = None
        self._expected: int | None = None
        self._sequence = -1
        self._last_t_s = 0.0
        self._good_from_s = 0.0
        self._asked_s = self._question_s = 0.0
        self._heard_s = 0.0
        self.timestamp_is = "unknown"

    # ---- what every source has

    @property
    def info(self) -> SourceInfo:
        if self._info is None:
            raise RuntimeError(f"{self._options.path}: not opened yet")
        return self._info

    @property
    def status(self) -> SourceStatus:
        return self._note.status

    def stop(self) -> None:
        self._stopped = True
        node = self._node
        if node is not None:
            node.wake()

    def __enter__(self) -> Self:
        self._close()
        self._stopped = False
        try:
            self._open(self._options.path)
            self._start()
        except OSError as error:
            self._close()
            raise SourceError(f"{self._options.path}: {_why(error)}") from error
        except SourceError:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped = True
        self._close()

    def __iter__(self) -> Iterator[Frame]:
        while not self._stopped:
            try:
                frame = self._next()
                if frame is not None:
                    yield frame
            except _FormatChanged:
                return
            except OSError as error:
                try:
                    self._recover(error)
                except _FormatChanged:
                    return

    # ---- opening

    def _open(self, path: str) -> None:
        node = self._node = self._kernel.open(path)
        capability = v4l2.Capability()
        node.call(v4l2.QUERYCAP, capability)
        if not is_grabber(capability):
            raise SourceError(f"{path}: no grabber; expected a device that captures and streams video")
        real = str(Path(path).resolve()) if path.startswith("/dev/") else path
        self._identity = next((identity for name, identity in self._kernel.nodes() if name == real), self._identity)
        self._choose_input()
        change = v4l2.EventSubscription(type=v4l2.EVENT_SOURCE_CHANGE)
        ask(node, v4l2.SUBSCRIBE_EVENT, change)  # a grabber that tells of none is asked
        self._name = f"{capability.card.decode(errors='replace')} ({path})"

    def _choose_input(self) -> None:
        """Switch to the input asked for. Raises SourceError where there is none such."""
        node, wanted = self._opened, self._options.input
        if wanted is not None and ask(node, v4l2.S_INPUT, ctypes.c_int32(wanted)) is None:
            there = ", ".join(str(entry.index) for entry in inputs_of(node)) or "none"
            raise SourceError(f"{self._options.path}: input={wanted}: no such input; expected one of {there}")
        entry = self._input()
        self._has_timings = entry is not None and bool(entry.capabilities & InputCaps.DV_TIMINGS)
        if self._options.edid is not None:
            try:
                write_edid(node, entry.index if entry is not None else 0, Path(self._options.edid).read_bytes())
            except (OSError, ValueError) as error:
                raise SourceError(f"{self._options.path}: edid={self._options.edid}: {error}") from error

    def _input(self) -> v4l2.Input | None:
        number = ctypes.c_int32()
        if ask(self._opened, v4l2.G_INPUT, number) is None:
            return None
        return ask(self._opened, v4l2.ENUMINPUT, v4l2.Input(index=number.value))

    @property
    def _opened(self) -> Node:
        if self._node is None:
            raise OSError(errno.ENODEV, "unplugged")
        return self._node

    def _start(self) -> None:
        """Agree on timings and format, and let frames come. Raises _FormatChanged where ``info`` becomes another."""
        before = self._info
        if self._has_timings:
            self._take_timings()
        self._agree()
        self._map()
        self._opened.call(v4l2.STREAMON, ctypes.c_int32(v4l2.CAPTURE))
        self._expected = None
        self._heard_s = self._now_s()
        self._ask()
        if before is not None and _picture(before) != _picture(self.info):
            raise _FormatChanged

    def _take_timings(self) -> None:
        """Set the grabber to what its input delivers; without a signal it stays where it is."""
        seen = v4l2.DvTimings()
        try:
            self._opened.call(v4l2.QUERY_DV_TIMINGS, seen)
        except OSError as error:
            if error.errno not in TIMINGS_SAY:
                raise
        else:
            self._refused = None if ask(self._opened, v4l2.S_DV_TIMINGS, seen) is not None else seen.same_as
        set_now = v4l2.DvTimings()
        self._opened.call(v4l2.G_DV_TIMINGS, set_now)
        self._timings = set_now

    def _agree(self) -> None:
        """Set format, size and rate, and note what has come of it."""
        node, options = self._opened, self._options
        form, size_px = self._choice()
        asked = v4l2.Format(type=v4l2.CAPTURE)
        node.call(v4l2.G_FMT, asked)
        asked.fmt.pix.pixelformat = v4l2.fourcc(form.code)
        asked.fmt.pix.field = v4l2.FIELD_NONE
        asked.fmt.pix.bytesperline = 0
        if size_px is not None:
            asked.fmt.pix.width, asked.fmt.pix.height = size_px
        node.call(v4l2.S_FMT, asked)
        pix = asked.fmt.pix
        if pix.pixelformat != v4l2.fourcc(form.code):
            raise SourceError(
                f"{options.path}: delivers {v4l2.letters(pix.pixelformat)} where {form.code} was asked for"
            )
        if options.size_px is not None and (pix.width, pix.height) != options.size_px:
            raise SourceError(
                f"{options.path}: size={options.size_px[0]}x{options.size_px[1]}: the grabber offers "
                f"{pix.width}x{pix.height}"
            )
        self._form, self._stride = form, pix.bytesperline or pix.width * max(1, form.row_bytes)
        self._is_full_range = _is_full_range(pix)
        rate_hz = self._set_rate(pix)
        self._interval_s = 1 / rate_hz if rate_hz else None
        shape = (int(pix.height), int(pix.width))
        if self._ring is None or self._info is None or _picture(self._info) != (shape[1], shape[0], form.bits):
            self._ring = FrameRing(RING_FRAMES, shape, np.uint8 if form.bits == 8 else np.uint16)
        self._info = SourceInfo(self._name, shape[1], shape[0], form.bits, live=True, rate_hz=rate_hz)

    def _choice(self) -> tuple[PixelFormat, tuple[int, int] | None]:
        """The format, and the size where it can be chosen: as asked for, else the largest that comes fast enough.

        Raises SourceError where the grabber has nothing that was asked for.
        """
        options = self._options
        offered = [
            mode
            for mode in modes_of(self._opened)
            if options.format in (None, mode.format)
            and (self._has_timings or options.size_px in (None, (mode.width_px, mode.height_px)) or _is_ranged(mode))
        ]
        if not offered:
            there = ", ".join(sorted({mode.format for mode in modes_of(self._opened)})) or "none that is known"
            asked = " ".join(f"{key}={value}" for key, value in options.asked.items()) or "any format"
            raise SourceError(f"{options.path}: {asked}: not offered; the grabber's formats are {there}")
        order = list(PIXEL_FORMATS)
        wanted_hz = options.rate_hz or GOOD_RATE_HZ

        def merit(mode: Mode) -> tuple[float, int, int]:
            enough = min(1.0, (mode.rate_hz or wanted_hz) / wanted_hz)
            area_px = 0 if self._has_timings else (mode.width_px or 0) * (mode.height_px or 0)
            return enough, area_px, -order.index(mode.format)

        best = max(offered, key=merit)
        if self._has_timings or best.width_px is None or best.height_px is None:
            return PIXEL_FORMATS[best.format], options.size_px
        return PIXEL_FORMATS[best.format], options.size_px or (best.width_px, best.height_px)

    def _set_rate(self, pix: v4l2.PixFormat) -> float | None:
        """Ask for the rate where it can be asked for; what the grabber delivers, None where it does not say."""
        if self._timings is not None:
            return self._timings.rate_hz
        parameters = ask(self._opened, v4l2.G_PARM, v4l2.StreamParameters(type=v4l2.CAPTURE))
        if parameters is None:
            return None
        interval = parameters.parm.capture.timeperframe
        size_px = (pix.width, pix.height)
        modes = (
            m for m in modes_of(self._opened) if (m.format, m.width_px, m.height_px) == (self._form.code, *size_px)
        )
        wanted_hz = self._options.rate_hz or next((mode.rate_hz for mode in modes), None)
        if wanted_hz is not None:
            interval.numerator, interval.denominator = 1000, round(1000 * wanted_hz)
            ask(self._opened, v4l2.S_PARM, parameters)
        return interval.denominator / interval.numerator if interval.numerator else None

    def _map(self) -> None:
        """Ask for buffers, look into them, and give them all to the grabber."""
        node = self._opened
        asked = v4l2.RequestBuffers(count=BUFFERS, type=v4l2.CAPTURE, memory=v4l2.MMAP)
        node.call(v4l2.REQBUFS, asked)
        for index in range(asked.count):
            buffer = v4l2.Buffer(index=index, type=v4l2.CAPTURE, memory=v4l2.MMAP)
            node.call(v4l2.QUERYBUF, buffer)
            self._buffers.append(node.map(buffer.m.offset, buffer.length))
            node.call(v4l2.QBUF, buffer)

    def _halt(self) -> None:
        """Stop the stream and give its buffers back; a device that is gone has none."""
        if self._node is not None:
            with suppress(OSError):
                self._node.call(v4l2.STREAMOFF, ctypes.c_int32(v4l2.CAPTURE))
        for buffer in self._buffers:
            buffer.close()
        self._buffers = []
        if self._node is not None:
            with suppress(OSError):
                none = v4l2.RequestBuffers(count=0, type=v4l2.CAPTURE, memory=v4l2.MMAP)
                self._node.call(v4l2.REQBUFS, none)

    def _close(self) -> None:
        self._halt()
        node, self._node = self._node, None
        if node is not None:
            node.close()

    # ---- frame by frame

    def _next(self) -> Frame | None:
        """The next frame; None where none came within a tick. Raises OSError, _FormatChanged."""
        ready = self._opened.wait(TICK_S)
        if ready & Ready.GONE:
            raise OSError(errno.ENODEV, "unplugged")
        if ready & Ready.EVENT and self._dequeue_events():
            self._ask(has_changed=True)
        if ready & Ready.FRAME:
            if self._is_due():
                self._ask()
            return self._take()
        if ready & Ready.ERROR:
            raise OSError(errno.EIO, "stream error")
        self._look_up()
        return None

    def _dequeue_events(self) -> bool:
        """Whether the source has changed."""
        changed = False
        while (event := ask(self._opened, v4l2.DQEVENT, v4l2.Event())) is not None:
            changed |= event.type == v4l2.EVENT_SOURCE_CHANGE
        return changed

    def _take(self) -> Frame | None:
        """The frame that waits, copied once; None where there was no room or nothing waits after all."""
        buffer = v4l2.Buffer(type=v4l2.CAPTURE, memory=v4l2.MMAP)
        try:
            self._opened.call(v4l2.DQBUF, buffer)
        except BlockingIOError:
            return None
        try:
            self._heard_s = self._now_s()
            if self._note.status.signal is Signal.STALLED:
                self._is_good_again()
            return self._frame(buffer, self._missing_before(int(buffer.sequence)))
        finally:
            # Its number and type are all that the kernel reads; what was in it has been copied.
            self._opened.call(v4l2.QBUF, buffer)

    def _frame(self, buffer: v4l2.Buffer, missing: int) -> Frame | None:
        """``missing``: how many frames the kernel has lost before this one."""
        assert self._ring is not None
        pixels = self._ring.take()
        if pixels is None:
            self._note.count(dropped=missing + 1)
            return None
        taken_s = buffer.t_s if buffer.flags & BufferFlag.TIMESTAMP_KINDS == BufferFlag.MONOTONIC else self._heard_s
        self.timestamp_is = _meaning(buffer.flags)
        flags = FrameFlag.NONE
        if self._note.status.signal is not Signal.LIVE or taken_s < self._good_from_s:
            flags |= FrameFlag.NO_SIGNAL
        if not self._fill(pixels, buffer):
            # What an earlier frame has left in the array is never to be seen again.
            pixels[:] = 0
            flags |= FrameFlag.CORRUPT
        pixels.flags.writeable = False
        self._last_t_s = max(self._last_t_s, taken_s)
        self._note.count(frames=1, dropped=missing, corrupt=int(bool(flags & FrameFlag.CORRUPT)))
        return Frame(pixels, self._last_t_s, self._sequence, self._form.bits, flags)

    def _fill(self, pixels: Pixels, buffer: v4l2.Buffer) -> bool:
        """Whether the buffer held a whole picture, whose luma is in ``pixels`` then."""
        if buffer.flags & BufferFlag.ERROR or buffer.bytesused < self._form.luma_bytes(len(pixels), self._stride):
            return False
        raw = np.frombuffer(self._buffers[buffer.index], np.uint8, count=buffer.bytesused)
        try:
            self._form.fill(raw, self._stride, self._is_full_range, pixels)
        except ValueError:
            return False
        return True

    def _missing_before(self, sequence: int) -> int:
        """How many numbers are missing before this one; the kernel's are 32 bits wide and begin anew with a stream."""
        gap = 0 if self._expected is None else (sequence - self._expected) & 0xFFFF_FFFF
        if gap >= 1 << 31:
            gap = 0  # the same number twice, as some drivers do at the start
        self._expected = (sequence + 1) & 0xFFFF_FFFF
        self._sequence += 1 + gap
        return gap

    def _look_up(self) -> None:
        """No frame has come within a tick: why, and what to do."""
        silent_s = self._now_s() - self._heard_s
        self._ask()
        if silent_s < max(LEAST_STALL_S, STALL_INTERVALS * (self._interval_s or 0.0)):
            return
        if self._note.status.signal is Signal.LIVE:
            self._note.say(Signal.STALLED)
        if self._note.status.signal is Signal.STALLED and silent_s >= DEAD_S:
            self._restart()

    # ---- the input's state

    def _is_due(self) -> bool:
        return self._question_s < SLOW_QUESTION_S or self._now_s() - self._asked_s >= ASK_EVERY_S

    def _ask(self, has_changed: bool = False) -> None:
        """Ask the grabber how its input is. Raises OSError, and _FormatChanged after it has changed."""
        asked_s = self._now_s()
        entry = self._input()
        if entry is None:
            self._opened.call(v4l2.QUERYCAP, v4l2.Capability())  # ENODEV where it has gone
        bad = status_says(entry.status) if entry is not None else None
        was = self._note.status.signal
        if self._has_timings and (has_changed or bad is not None or was is not Signal.LIVE):
            bad = self._ask_timings() or bad
        self._asked_s = self._now_s()
        self._question_s = self._asked_s - asked_s
        if bad is not None:
            self._note.say(bad)
        elif self._note.status.signal not in (Signal.LIVE, Signal.STALLED):
            self._is_good_again()

    def _ask_timings(self) -> Signal | None:
        """What the timings say is wrong; None where nothing is. Starts anew where they are others than are set."""
        seen = v4l2.DvTimings()
        try:
            self._opened.call(v4l2.QUERY_DV_TIMINGS, seen)
        except OSError as error:
            if error.errno in TIMINGS_SAY:
                return TIMINGS_SAY[error.errno]
            raise
        if seen.same_as == self._refused:
            return Signal.OUT_OF_RANGE
        if self._timings is not None and seen.same_as != self._timings.same_as:
            self._note.say(Signal.TIMINGS_CHANGED)
            self._restart()
        return None

    def _is_good_again(self) -> None:
        # What the grabber began before may hold the fault.
        self._good_from_s = self._now_s()
        self._note.say(Signal.LIVE)

    # ---- faults

    def _restart(self) -> None:
        self._halt()
        self._note.count(restarts=1)
        self._start()

    def _recover(self, error: OSError) -> None:
        """After an error of the device: start the stream anew, or wait until the device is back."""
        if error.errno in _GONE:
            self._note.say(Signal.UNPLUGGED)
            self._close()
            self._await_return()
            return
        self._note.say(Signal.STREAM_ERROR)
        while not self._stopped:
            try:
                self._restart()
            except OSError as again:
                if again.errno in _GONE:
                    self._recover(again)
                    return
                self._pause()
            else:
                return

    def _await_return(self) -> None:
        """Until the device is back, under whatever number, or ``stop`` was called."""
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
            self._pause()

    def _path_now(self) -> str | None:
        """Where the device is now; None while it is not there."""
        if self._identity is None:
            return self._options.path
        known = self._identity
        return next((path for path, identity in self._kernel.nodes() if known.is_same_device(identity)), None)

    def _pause(self) -> None:
        if self._node is not None:
            self._node.wait(0.0)
        time.sleep(RETRY_S)


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


def _is_ranged(mode: Mode) -> bool:
    """Whether the driver lists no sizes: it may take any."""
    return mode.width_px is None


def _picture(info: SourceInfo) -> tuple[int, int, int]:
    return info.width_px, info.height_px, info.bits


def _is_full_range(pix: v4l2.PixFormat) -> bool:
    """Whether black is 0 and white the greatest code. YUV is of limited range unless the driver says otherwise."""
    if pix.quantization in (v4l2.QUANTIZATION_FULL, v4l2.QUANTIZATION_LIMITED):
        return bool(pix.quantization == v4l2.QUANTIZATION_FULL)
    return bool(pix.colorspace == v4l2.COLORSPACE_JPEG)


def _meaning(flags: int) -> str:
    """Of which moment a buffer's timestamp is."""
    if flags & BufferFlag.TIMESTAMP_KINDS != BufferFlag.MONOTONIC:
        return "arrival here"
    is_start = flags & BufferFlag.TIMESTAMP_SOURCES == BufferFlag.START_OF_EXPOSURE
    return "start of exposure" if is_start else "end of frame"


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
