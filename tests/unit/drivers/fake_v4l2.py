"""A simulated grabber behind the driver's ``Kernel``: it answers as Linux does, and fails when told to."""

import ctypes
import errno
import mmap
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from drivers import v4l2_kernel as v4l2
from drivers.v4l2_kernel import BufferFlag, Caps, Identity, InputCaps, Ready

MONOTONIC = int(BufferFlag.MONOTONIC)


def timings(width: int, height: int, rate_hz: float) -> v4l2.DvTimings:
    """Timings without blanking."""
    return v4l2.DvTimings(width=width, height=height, pixelclock=round(width * height * rate_hz))


IDENTITY = Identity("Card", "1234:5678", "S1", "1-1", 0)


@dataclass
class Card:
    """What a grabber is and how it does. ``deliver`` puts the next frame into a buffer; faults are attributes."""

    formats: tuple[str, ...] = ("UYVY", "GREY")
    sizes: tuple[tuple[int, int], ...] = ((70, 48),)
    rates: tuple[float, ...] = (30.0,)
    has_timings: bool = False
    source: v4l2.DvTimings = field(default_factory=lambda: timings(70, 48, 30))
    identity: Identity = IDENTITY
    path: str = "/dev/video0"
    is_there: bool = True
    status: int = 0
    timings_errno: int = 0
    errors: dict[int, deque[int]] = field(default_factory=dict)
    """For each request, the errors that its next calls come to."""
    sequence: int = 0
    padding: int = 0
    quantization: int = 0
    flags: int = MONOTONIC
    waiting: deque[tuple[int, int, int, float]] = field(default_factory=deque)
    events: int = 0
    poll_error: bool = False
    open_nodes: int = 0
    streams: int = 0
    pictures: np.ndarray[Any, Any] | None = None
    """Delivered in turn, whenever the driver waits and has given a buffer."""
    delivered: int = 0

    def __post_init__(self) -> None:
        self.lock = threading.Condition()
        self.answers = threading.Event()
        """Cleared, questions about the input hang as they may in a driver that waits for its hardware."""
        self.answers.set()
        self.free: deque[int] = deque()
        self.memory: list[mmap.mmap] = []
        self.format = v4l2.PixFormat(width=self.sizes[0][0], height=self.sizes[0][1])
        self.set_timings = self.source
        self.query_timings = lambda: self.source
        self.is_streaming = False
        self.chosen_input = 0

    def deliver(self, pixels: bytes | np.ndarray[Any, Any], flags: int = 0, t_s: float | None = None) -> bool:
        """A frame of what ``format`` tells; False where the driver has given no buffer for it."""
        raw = pixels if isinstance(pixels, bytes) else pixels.tobytes()
        with self.lock:
            if not self.free or not self.is_streaming:
                return False
            sequence, self.sequence = self.sequence, (self.sequence + 1) & 0xFFFF_FFFF
            index = self.free.popleft()
            self.memory[index][: len(raw)] = raw
            self.waiting.append((index, len(raw) | flags << 32, sequence, time.monotonic() if t_s is None else t_s))
            self.lock.notify_all()
        return True

    def change(self, **what: Any) -> None:
        """Set attributes and tell of it as a source-change event."""
        with self.lock:
            for name, value in what.items():
                setattr(self, name, value)
            self.events += 1
            self.lock.notify_all()

    def fail(self, request: int, *errors: int) -> None:
        self.errors.setdefault(request, deque()).extend(errors)

    def unplug(self) -> None:
        with self.lock:
            self.is_there = self.is_streaming = False
            self.free.clear()
            self.waiting.clear()
            self.memory = []
            self.lock.notify_all()


class FakeKernel:
    """The machine's cards."""

    def __init__(self, *cards: Card) -> None:
        self.cards = list(cards)

    def nodes(self) -> Iterator[tuple[str, Identity]]:
        yield from ((card.path, card.identity) for card in self.cards if card.is_there)

    def open(self, path: str) -> "FakeNode":
        for card in self.cards:
            if card.path == path and card.is_there:
                return FakeNode(card)
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")


class FakeNode:
    """An opened card."""

    def __init__(self, card: Card) -> None:
        self.card = card
        self.is_open = True
        self.is_woken = False
        card.open_nodes += 1

    def close(self) -> None:
        if self.is_open:
            self.card.open_nodes -= 1
        self.is_open = False

    def wake(self) -> None:
        with self.card.lock:
            self.is_woken = True
            self.card.lock.notify_all()

    def map(self, offset: int, length: int) -> mmap.mmap:
        shared = os.memfd_create("buffer")
        os.ftruncate(shared, length)
        self.card.memory[offset] = mmap.mmap(shared, length)
        seen_by_driver = mmap.mmap(shared, length, mmap.MAP_SHARED, mmap.PROT_READ)
        os.close(shared)
        return seen_by_driver

    def wait(self, timeout_s: float) -> Ready:
        card = self.card

        def ready() -> Ready:
            if not card.is_there:
                return Ready.GONE
            said = Ready(0)
            said |= Ready.FRAME if card.waiting else Ready(0)
            said |= Ready.EVENT if card.events else Ready(0)
            said |= Ready.ERROR if card.poll_error or not card.is_streaming else Ready(0)
            return said

        if card.pictures is not None and card.free and not card.waiting and card.is_streaming:
            card.deliver(card.pictures[card.delivered % len(card.pictures)])
            card.delivered += 1
        with card.lock:
            card.lock.wait_for(lambda: bool(ready()) or self.is_woken, timeout_s)
            self.is_woken = False
            return ready()

    def call(self, request: int, argument: ctypes.Structure | ctypes.c_int32) -> None:
        card = self.card
        if request == v4l2.ENUMINPUT:
            card.answers.wait()
        with card.lock:
            if not card.is_there or not self.is_open:
                raise OSError(errno.ENODEV, "No such device")
            if card.errors.get(request):
                number = card.errors[request].popleft()
                if number:
                    raise OSError(number, "injected")
            _ANSWERS[request](card, argument)


def _refuse(number: int) -> None:
    raise OSError(number, "refused")


def _capability(card: Card, told: Any) -> None:
    told.driver, told.card, told.bus_info = b"fake", card.identity.name.encode(), b"usb-1"
    told.capabilities = int(Caps.DEVICE_CAPS)
    told.device_caps = int(Caps.VIDEO_CAPTURE | Caps.STREAMING)


def _input(card: Card, told: Any) -> None:
    if told.index > 1:
        _refuse(errno.EINVAL)
    told.name = b"HDMI" if card.has_timings else b"Camera"
    told.status = card.status
    told.capabilities = int(InputCaps.DV_TIMINGS) if card.has_timings else 0


def _format_description(card: Card, told: Any) -> None:
    if told.index >= len(card.formats):
        _refuse(errno.EINVAL)
    told.pixelformat = v4l2.fourcc(card.formats[told.index])


def _frame_size(card: Card, told: Any) -> None:
    if told.index >= len(card.sizes) or card.has_timings:
        _refuse(errno.EINVAL)
    told.type, (told.width, told.height) = v4l2.DISCRETE, card.sizes[told.index]


def _frame_interval(card: Card, told: Any) -> None:
    if told.index >= len(card.rates):
        _refuse(errno.EINVAL)
    told.type, told.discrete = v4l2.DISCRETE, v4l2.Fraction(1000, round(1000 * card.rates[told.index]))


def _get_format(card: Card, told: Any) -> None:
    told.fmt.pix = card.format


def _set_format(card: Card, told: Any) -> None:
    pix = told.fmt.pix
    code = v4l2.letters(pix.pixelformat)
    if code not in card.formats:
        pix.pixelformat = v4l2.fourcc(card.formats[0])
        code = card.formats[0]
    if card.has_timings:
        pix.width, pix.height = card.set_timings.width, card.set_timings.height
    elif (pix.width, pix.height) not in card.sizes:
        pix.width, pix.height = card.sizes[0]
    wide = {"GREY": 1, "NV12": 1, "BGR3": 3, "RGB3": 3, "MJPG": 0}.get(code, 2)
    pix.bytesperline = pix.width * wide + card.padding if wide else 0
    pix.sizeimage = max(pix.bytesperline, pix.width) * pix.height * (3 if code == "NV12" else 2) // 2
    pix.quantization = card.quantization
    card.format = v4l2.PixFormat.from_buffer_copy(pix)


def _parameters(card: Card, told: Any) -> None:
    if not told.parm.capture.timeperframe.numerator:
        told.parm.capture.timeperframe = v4l2.Fraction(1000, round(1000 * card.rates[0]))


def _request_buffers(card: Card, told: Any) -> None:
    card.memory = [mmap.mmap(-1, 1)] * told.count
    card.free.clear()
    card.waiting.clear()


def _query_buffer(card: Card, told: Any) -> None:
    told.length, told.m.offset = card.format.sizeimage, told.index


def _queue(card: Card, told: Any) -> None:
    card.free.append(told.index)


def _dequeue(card: Card, told: Any) -> None:
    if not card.waiting:
        raise BlockingIOError(errno.EAGAIN, "nothing yet")
    told.index, length, told.sequence, t_s = card.waiting.popleft()
    told.bytesused, told.flags = length & 0xFFFF_FFFF, card.flags | length >> 32
    told.timestamp.tv_sec, told.timestamp.tv_usec = int(t_s), round(t_s % 1 * 1e6)


def _stream_on(card: Card, told: Any) -> None:
    card.is_streaming, card.streams, card.sequence = True, card.streams + 1, 0 if card.streams else card.sequence


def _stream_off(card: Card, told: Any) -> None:
    card.is_streaming, card.poll_error = False, False
    card.waiting.clear()


def _query_timings(card: Card, told: Any) -> None:
    if card.timings_errno:
        _refuse(card.timings_errno)
    seen = card.query_timings()
    ctypes.memmove(ctypes.addressof(told), ctypes.addressof(seen), ctypes.sizeof(told))


def _get_timings(card: Card, told: Any) -> None:
    ctypes.memmove(ctypes.addressof(told), ctypes.addressof(card.set_timings), ctypes.sizeof(told))


def _set_timings(card: Card, told: Any) -> None:
    card.set_timings = v4l2.DvTimings.from_buffer_copy(told)


def _event(card: Card, told: Any) -> None:
    if not card.events:
        _refuse(errno.ENOENT)
    card.events -= 1
    told.type = v4l2.EVENT_SOURCE_CHANGE


def _get_input(card: Card, told: Any) -> None:
    told.value = card.chosen_input


def _set_input(card: Card, told: Any) -> None:
    if told.value not in (0, 1):
        _refuse(errno.EINVAL)
    card.chosen_input = told.value


def _nothing(card: Card, told: Any) -> None:
    pass


_ANSWERS = {
    v4l2.QUERYCAP: _capability,
    v4l2.ENUMINPUT: _input,
    v4l2.G_INPUT: _get_input,
    v4l2.S_INPUT: _set_input,
    v4l2.ENUM_FMT: _format_description,
    v4l2.ENUM_FRAMESIZES: _frame_size,
    v4l2.ENUM_FRAMEINTERVALS: _frame_interval,
    v4l2.G_FMT: _get_format,
    v4l2.S_FMT: _set_format,
    v4l2.G_PARM: _parameters,
    v4l2.S_PARM: _parameters,
    v4l2.REQBUFS: _request_buffers,
    v4l2.QUERYBUF: _query_buffer,
    v4l2.QBUF: _queue,
    v4l2.DQBUF: _dequeue,
    v4l2.STREAMON: _stream_on,
    v4l2.STREAMOFF: _stream_off,
    v4l2.QUERY_DV_TIMINGS: _query_timings,
    v4l2.G_DV_TIMINGS: _get_timings,
    v4l2.S_DV_TIMINGS: _set_timings,
    v4l2.SUBSCRIBE_EVENT: _nothing,
    v4l2.DQEVENT: _event,
    v4l2.G_EDID: _nothing,
    v4l2.S_EDID: _nothing,
}
