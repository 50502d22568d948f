"""An opened grabber: its input, timings, format and buffers, as the kernel has them.

Every method raises OSError as the kernel does; what a fault means and what is to be done stands in ``drivers.v4l2``.
"""

import ctypes
import errno
import mmap
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from drivers import v4l2_kernel as v4l2
from drivers.errors import SourceError
from drivers.frame import Pixels
from drivers.pixel_formats import PIXEL_FORMATS, PixelFormat
from drivers.signal import Signal
from drivers.v4l2_devices import TIMINGS_SAY, Mode, ask, inputs_of, is_grabber, modes_of, status_says, write_edid
from drivers.v4l2_kernel import BufferFlag, InputCaps, Kernel, Ready

BUFFERS: Final = 4
"""Of the kernel's: at 60 frames a second a pause of 50 ms loses none."""
GOOD_RATE_HZ: Final = 24.0
"""A format that brings so many frames a second is chosen by its quality, else by its rate."""


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


@dataclass(frozen=True, slots=True)
class Delivered:
    """What the card delivers. ``stride``: bytes a row. ``rate_hz``: None where the driver does not say."""

    form: PixelFormat
    width_px: int
    height_px: int
    stride: int
    is_full_range: bool
    rate_hz: float | None


class Card:
    """An open device node. Opening raises SourceError for what is no grabber or has not what was asked for."""

    def __init__(self, kernel: Kernel, path: str, options: GrabberOptions) -> None:
        self._options = options
        self._node = kernel.open(path)
        self._buffers: list[mmap.mmap] = []
        self._timings: v4l2.DvTimings | None = None
        self._refused: v4l2.DvTimings | None = None
        try:
            self._check(path)
            self._choose_input()
            change = v4l2.EventSubscription(type=v4l2.EVENT_SOURCE_CHANGE)
            self._tells_changes = ask(self._node, v4l2.SUBSCRIBE_EVENT, change) is not None
        except BaseException:
            self._node.close()
            raise
        real = str(Path(path).resolve()) if path.startswith("/dev/") else path
        self.identity = next((identity for name, identity in kernel.nodes() if name == real), None)

    def _check(self, path: str) -> None:
        capability = v4l2.Capability()
        self._node.call(v4l2.QUERYCAP, capability)
        if not is_grabber(capability):
            raise SourceError(f"{path}: no grabber; expected a device that captures and streams video")
        self.name = f"{capability.card.decode(errors='replace')} ({path})"

    def _choose_input(self) -> None:
        """Switch to the input asked for. Raises SourceError where there is none such."""
        wanted = self._options.input
        if wanted is not None:
            try:
                self._node.call(v4l2.S_INPUT, ctypes.c_int32(wanted))
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOTTY):
                    raise
                there = ", ".join(str(entry.index) for entry in inputs_of(self._node)) or "none"
                raise SourceError(
                    f"{self._options.path}: input={wanted}: no such input; expected one of {there}"
                ) from error
        entry = self._input()
        self._has_timings = entry is not None and bool(entry.capabilities & InputCaps.DV_TIMINGS)
        if self._options.edid is not None:
            try:
                write_edid(self._node, entry.index if entry is not None else 0, Path(self._options.edid).read_bytes())
            except (OSError, ValueError) as error:
                raise SourceError(f"{self._options.path}: edid={self._options.edid}: {error}") from error

    def _input(self) -> v4l2.Input | None:
        number = ctypes.c_int32()
        if ask(self._node, v4l2.G_INPUT, number) is None:
            return None
        return ask(self._node, v4l2.ENUMINPUT, v4l2.Input(index=number.value))

    # ---- starting and stopping

    def start(self) -> Delivered:
        """Agree on timings and format, and let frames come. Raises SourceError for what the card has not."""
        if self._has_timings:
            self._take_timings()
        self.delivered = self._agree()
        self._map()
        self._node.call(v4l2.STREAMON, ctypes.c_int32(v4l2.CAPTURE))
        return self.delivered

    def halt(self) -> None:
        """Stop the stream and give its buffers back; a device that is gone has none."""
        with suppress(OSError):
            self._node.call(v4l2.STREAMOFF, ctypes.c_int32(v4l2.CAPTURE))
        for buffer in self._buffers:
            buffer.close()
        self._buffers = []
        with suppress(OSError):
            self._node.call(v4l2.REQBUFS, v4l2.RequestBuffers(count=0, type=v4l2.CAPTURE, memory=v4l2.MMAP))

    def close(self) -> None:
        self.halt()
        self._node.close()

    def _take_timings(self) -> None:
        """Set the card to what its input delivers; without a signal it stays where it is."""
        seen = v4l2.DvTimings()
        try:
            self._node.call(v4l2.QUERY_DV_TIMINGS, seen)
        except OSError as error:
            if error.errno not in TIMINGS_SAY:
                raise
        else:
            # Of interlaced video a buffer may hold half a picture.
            is_taken = not seen.interlaced and ask(self._node, v4l2.S_DV_TIMINGS, seen) is not None
            self._refused = None if is_taken else seen
        self._timings = v4l2.DvTimings()
        self._node.call(v4l2.G_DV_TIMINGS, self._timings)

    def _agree(self) -> Delivered:
        """Set format, size and rate; what has come of it."""
        options = self._options
        form, size_px = self._choice()
        asked = v4l2.Format(type=v4l2.CAPTURE)
        self._node.call(v4l2.G_FMT, asked)
        pix = asked.fmt.pix
        pix.pixelformat, pix.field, pix.bytesperline = v4l2.fourcc(form.code), v4l2.FIELD_NONE, 0
        if size_px is not None:
            pix.width, pix.height = size_px
        self._node.call(v4l2.S_FMT, asked)
        if pix.pixelformat != v4l2.fourcc(form.code):
            raise SourceError(
                f"{options.path}: delivers {v4l2.letters(pix.pixelformat)} where {form.code} was asked for"
            )
        if options.size_px is not None and (pix.width, pix.height) != options.size_px:
            wanted = "x".join(str(side) for side in options.size_px)
            raise SourceError(f"{options.path}: size={wanted}: the grabber offers {pix.width}x{pix.height}")
        return Delivered(
            form,
            int(pix.width),
            int(pix.height),
            int(pix.bytesperline) or int(pix.width) * max(1, form.row_bytes),
            _is_full_range(pix, form),
            self._set_rate(form, int(pix.width), int(pix.height)),
        )

    def _choice(self) -> tuple[PixelFormat, tuple[int, int] | None]:
        """The format, and the size where it can be chosen: as asked for, else the largest that comes fast enough.

        Raises SourceError where the grabber has nothing that was asked for.
        """
        options = self._options
        offered = [
            mode
            for mode in modes_of(self._node)
            if options.format in (None, mode.format)
            and (self._has_timings or options.size_px in (None, (mode.width_px, mode.height_px)) or _is_ranged(mode))
        ]
        if not offered:
            there = ", ".join(sorted({mode.format for mode in modes_of(self._node)})) or "none that is known"
            asked = " ".join(f"{key}={value}" for key, value in options.asked.items()) or "any format"
            raise SourceError(f"{options.path}: {asked}: not offered; the grabber's formats are {there}")
        order = list(PIXEL_FORMATS)
        wanted_hz = options.rate_hz or GOOD_RATE_HZ

        def merit(mode: Mode) -> tuple[float, int, int]:
            enough = min(1.0, max(mode.rates_hz, default=wanted_hz) / wanted_hz)
            area_px = 0 if self._has_timings else (mode.width_px or 0) * (mode.height_px or 0)
            return enough, area_px, -order.index(mode.format)

        best = max(offered, key=merit)
        if self._has_timings or best.width_px is None or best.height_px is None:
            return PIXEL_FORMATS[best.format], options.size_px
        return PIXEL_FORMATS[best.format], options.size_px or (best.width_px, best.height_px)

    def _set_rate(self, form: PixelFormat, width_px: int, height_px: int) -> float | None:
        """Ask for the rate where it can be asked for; what the card delivers, None where it does not say."""
        if self._timings is not None:
            return self._timings.rate_hz
        parameters = ask(self._node, v4l2.G_PARM, v4l2.StreamParameters(type=v4l2.CAPTURE))
        if parameters is None:
            return None
        interval = parameters.parm.capture.timeperframe
        here = (form.code, width_px, height_px)
        rates_hz = (m.rates_hz for m in modes_of(self._node) if (m.format, m.width_px, m.height_px) == here)
        wanted_hz = self._options.rate_hz or max(next(rates_hz, ()), default=None)
        if wanted_hz is not None:
            interval.numerator, interval.denominator = 1000, round(1000 * wanted_hz)
            ask(self._node, v4l2.S_PARM, parameters)
        return interval.denominator / interval.numerator if interval.numerator else None

    def _map(self) -> None:
        """Ask for buffers, look into them, and give them all to the card."""
        asked = v4l2.RequestBuffers(count=BUFFERS, type=v4l2.CAPTURE, memory=v4l2.MMAP)
        self._node.call(v4l2.REQBUFS, asked)
        for index in range(asked.count):
            buffer = v4l2.Buffer(index=index, type=v4l2.CAPTURE, memory=v4l2.MMAP)
            self._node.call(v4l2.QUERYBUF, buffer)
            self._buffers.append(self._node.map(buffer.m.offset, buffer.length))
            self._node.call(v4l2.QBUF, buffer)

    # ---- while it runs

    def wait(self, timeout_s: float) -> Ready:
        """What is ready within the time. Raises OSError where the device is gone."""
        ready = self._node.wait(timeout_s)
        if ready & Ready.GONE:
            raise OSError(errno.ENODEV, "unplugged")
        return ready

    def wake(self) -> None:
        """End a ``wait``, from any thread."""
        self._node.wake()

    def has_changed(self) -> bool:
        """Whether an event tells of another source; takes all events that wait."""
        changed = False
        while (event := ask(self._node, v4l2.DQEVENT, v4l2.Event())) is not None:
            changed |= event.type == v4l2.EVENT_SOURCE_CHANGE
        return changed

    def dequeue(self) -> v4l2.Buffer | None:
        """The oldest buffer that is filled; None where none is."""
        buffer = v4l2.Buffer(type=v4l2.CAPTURE, memory=v4l2.MMAP)
        try:
            self._node.call(v4l2.DQBUF, buffer)
        except BlockingIOError:
            return None
        return buffer

    def enqueue(self, buffer: v4l2.Buffer) -> None:
        """Give a buffer back to be filled anew."""
        self._node.call(v4l2.QBUF, buffer)

    def read(self, buffer: v4l2.Buffer, pixels: Pixels) -> bool:
        """Whether the buffer holds a whole picture, whose luma is in ``pixels`` then."""
        now = self.delivered
        if buffer.flags & BufferFlag.ERROR or buffer.bytesused < now.form.luma_bytes(now.height_px, now.stride):
            return False
        raw = np.frombuffer(self._buffers[buffer.index], np.uint8, count=buffer.bytesused)
        try:
            now.form.fill(raw, now.stride, now.is_full_range, pixels)
        except ValueError:
            return False
        return True

    def input_fault(self, in_full: bool) -> Signal | None:
        """What is wrong with the input; None where nothing is.

        ``in_full``: also what its timings are; TIMINGS_CHANGED where they are others than are set.
        """
        entry = self._input()
        if entry is None:
            self._node.call(v4l2.QUERYCAP, v4l2.Capability())  # ENODEV where it has gone
            return None
        fault = status_says(entry.status)
        if self._has_timings and (in_full or fault is not None or not self._tells_changes):
            return self._timings_fault() or fault
        return fault

    def _timings_fault(self) -> Signal | None:
        seen = v4l2.DvTimings()
        try:
            self._node.call(v4l2.QUERY_DV_TIMINGS, seen)
        except OSError as error:
            if error.errno in TIMINGS_SAY:
                return TIMINGS_SAY[error.errno]
            raise
        if self._refused is not None and seen.is_same_as(self._refused):
            return Signal.OUT_OF_RANGE
        is_other = self._timings is not None and not seen.is_same_as(self._timings)
        return Signal.TIMINGS_CHANGED if is_other else None


def _is_ranged(mode: Mode) -> bool:
    """Whether the driver lists no sizes: it may take any."""
    return mode.width_px is None


def _is_full_range(pix: v4l2.PixFormat, form: PixelFormat) -> bool:
    """Whether black is 0 and white the greatest code: as the driver says, else as the format usually has it."""
    if pix.quantization in (v4l2.QUANTIZATION_FULL, v4l2.QUANTIZATION_LIMITED):
        return bool(pix.quantization == v4l2.QUANTIZATION_FULL)
    return not form.is_yuv or bool(pix.colorspace == v4l2.COLORSPACE_JPEG)
