"""What the Linux kernel's video interface (V4L2) asks and answers: requests, structures, flags.

Layouts and numbers are those of <linux/videodev2.h> on 64-bit machines, all of which lay them out alike; the sizes
are held by a test. ``Node`` is the only way to a device: all that the driver does goes through it, so that a test can
put a simulated one in its place.
"""

import ctypes
import fcntl
import math
import mmap
import os
import select
import threading
from collections.abc import Iterator
from ctypes import Structure, Union, c_char, c_int32, c_int64, c_uint8, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path
from typing import Final, Protocol

U32 = c_uint32


class Capability(Structure):
    _fields_ = [
        ("driver", c_char * 16),
        ("card", c_char * 32),
        ("bus_info", c_char * 32),
        ("version", U32),
        ("capabilities", U32),
        ("device_caps", U32),
        ("reserved", U32 * 3),
    ]


class FormatDescription(Structure):
    _fields_ = [
        ("index", U32),
        ("type", U32),
        ("flags", U32),
        ("description", c_char * 32),
        ("pixelformat", U32),
        ("mbus_code", U32),
        ("reserved", U32 * 3),
    ]


class PixFormat(Structure):
    _fields_ = [
        ("width", U32),
        ("height", U32),
        ("pixelformat", U32),
        ("field", U32),
        ("bytesperline", U32),
        ("sizeimage", U32),
        ("colorspace", U32),
        ("priv", U32),
        ("flags", U32),
        ("ycbcr_enc", U32),
        ("quantization", U32),
        ("xfer_func", U32),
    ]


class _FormatOf(Union):
    # The kernel's own union holds pointers, which align it to 8 bytes.
    _fields_ = [("pix", PixFormat), ("raw", c_uint8 * 200), ("align", c_uint64)]


class Format(Structure):
    _fields_ = [("type", U32), ("fmt", _FormatOf)]


class RequestBuffers(Structure):
    _fields_ = [
        ("count", U32),
        ("type", U32),
        ("memory", U32),
        ("capabilities", U32),
        ("flags", c_uint8),
        ("reserved", c_uint8 * 3),
    ]


class _TimeVal(Structure):
    _fields_ = [("tv_sec", c_int64), ("tv_usec", c_int64)]


class _TimeCode(Structure):
    _fields_ = [("type", U32), ("flags", U32), ("fields", c_uint8 * 8)]


class _Memory(Union):
    _fields_ = [("offset", U32), ("userptr", c_uint64), ("fd", c_int32)]


class Buffer(Structure):
    _fields_ = [
        ("index", U32),
        ("type", U32),
        ("bytesused", U32),
        ("flags", U32),
        ("field", U32),
        ("timestamp", _TimeVal),
        ("timecode", _TimeCode),
        ("sequence", U32),
        ("memory", U32),
        ("m", _Memory),
        ("length", U32),
        ("reserved2", U32),
        ("request_fd", c_int32),
    ]

    @property
    def t_s(self) -> float:
        return float(self.timestamp.tv_sec) + 1e-6 * float(self.timestamp.tv_usec)


class Fraction(Structure):
    _fields_ = [("numerator", U32), ("denominator", U32)]


class _CaptureParameters(Structure):
    _fields_ = [
        ("capability", U32),
        ("capturemode", U32),
        ("timeperframe", Fraction),
        ("extendedmode", U32),
        ("readbuffers", U32),
        ("reserved", U32 * 4),
    ]


class _ParametersOf(Union):
    _fields_ = [("capture", _CaptureParameters), ("raw", c_uint8 * 200)]


class StreamParameters(Structure):
    _fields_ = [("type", U32), ("parm", _ParametersOf)]


class Input(Structure):
    _fields_ = [
        ("index", U32),
        ("name", c_char * 32),
        ("type", U32),
        ("audioset", U32),
        ("tuner", U32),
        ("std", c_uint64),
        ("status", U32),
        ("capabilities", U32),
        ("reserved", U32 * 3),
    ]


class Control(Structure):
    _fields_ = [("id", U32), ("value", c_int32)]


class Edid(Structure):
    _fields_ = [("pad", U32), ("start_block", U32), ("blocks", U32), ("reserved", U32 * 5), ("edid", c_void_p)]


class FrameInterval(Structure):
    """One of the intervals that a format and size can have; only the least of a range is read."""

    _fields_ = [
        ("index", U32),
        ("pixel_format", U32),
        ("width", U32),
        ("height", U32),
        ("type", U32),
        ("discrete", Fraction),
        ("rest", U32 * 4),
        ("reserved", U32 * 2),
    ]


class FrameSize(Structure):
    """One of the sizes that a format can have; only those of a list are read, not of a range."""

    _fields_ = [
        ("index", U32),
        ("pixel_format", U32),
        ("type", U32),
        ("width", U32),
        ("height", U32),
        ("rest", U32 * 4),
        ("reserved", U32 * 2),
    ]


class DvTimings(Structure):
    """Digital video timings (BT.656/BT.1120), of which the kernel packs every field."""

    _pack_ = 1
    _fields_ = [
        ("type", U32),
        ("width", U32),
        ("height", U32),
        ("interlaced", U32),
        ("polarities", U32),
        ("pixelclock", c_uint64),
        ("hfrontporch", U32),
        ("hsync", U32),
        ("hbackporch", U32),
        ("vfrontporch", U32),
        ("vsync", U32),
        ("vbackporch", U32),
        ("il_vfrontporch", U32),
        ("il_vsync", U32),
        ("il_vbackporch", U32),
        ("standards", U32),
        ("flags", U32),
        ("picture_aspect", Fraction),
        ("cea861_vic", c_uint8),
        ("hdmi_vic", c_uint8),
        ("reserved", c_uint8 * 46),
        ("rest_of_union", c_uint8 * 4),
    ]

    @property
    def rate_hz(self) -> float | None:
        """Pictures a second; None where the timings do not say."""
        total_x = self.width + self.hfrontporch + self.hsync + self.hbackporch
        total_y = self.height + self.vfrontporch + self.vsync + self.vbackporch
        if self.interlaced:
            total_y = (total_y + self.il_vfrontporch + self.il_vsync + self.il_vbackporch) / 2
        return self.pixelclock / (total_x * total_y) if self.pixelclock and total_x * total_y else None

    def is_same_as(self, other: "DvTimings") -> bool:
        """Whether the two are one: a measured pixel clock wanders by some parts in 1000."""
        picture = (self.width, self.height, self.interlaced) == (other.width, other.height, other.interlaced)
        return picture and math.isclose(self.rate_hz or 0.0, other.rate_hz or 0.0, rel_tol=0.005)


class _TimeSpec(Structure):
    _fields_ = [("tv_sec", c_int64), ("tv_nsec", c_int64)]


class _EventOf(Union):
    _fields_ = [("source_changes", U32), ("data", c_uint8 * 64), ("align", c_uint64)]


class Event(Structure):
    _fields_ = [
        ("type", U32),
        ("u", _EventOf),
        ("pending", U32),
        ("sequence", U32),
        ("timestamp", _TimeSpec),
        ("id", U32),
        ("reserved", U32 * 8),
    ]


class EventSubscription(Structure):
    _fields_ = [("type", U32), ("id", U32), ("flags", U32), ("reserved", U32 * 5)]


_WRITE, _READ = 1, 2


def _request(direction: int, number: int, argument: type[Structure] | type[c_int32]) -> int:
    return direction << 30 | ctypes.sizeof(argument) << 16 | ord("V") << 8 | number


QUERYCAP: Final = _request(_READ, 0, Capability)
ENUM_FMT: Final = _request(_READ | _WRITE, 2, FormatDescription)
G_FMT: Final = _request(_READ | _WRITE, 4, Format)
S_FMT: Final = _request(_READ | _WRITE, 5, Format)
REQBUFS: Final = _request(_READ | _WRITE, 8, RequestBuffers)
QUERYBUF: Final = _request(_READ | _WRITE, 9, Buffer)
QBUF: Final = _request(_READ | _WRITE, 15, Buffer)
DQBUF: Final = _request(_READ | _WRITE, 17, Buffer)
STREAMON: Final = _request(_WRITE, 18, c_int32)
STREAMOFF: Final = _request(_WRITE, 19, c_int32)
G_PARM: Final = _request(_READ | _WRITE, 21, StreamParameters)
S_PARM: Final = _request(_READ | _WRITE, 22, StreamParameters)
ENUMINPUT: Final = _request(_READ | _WRITE, 26, Input)
G_CTRL: Final = _request(_READ | _WRITE, 27, Control)
S_CTRL: Final = _request(_READ | _WRITE, 28, Control)
G_INPUT: Final = _request(_READ, 38, c_int32)
S_INPUT: Final = _request(_READ | _WRITE, 39, c_int32)
G_EDID: Final = _request(_READ | _WRITE, 40, Edid)
S_EDID: Final = _request(_READ | _WRITE, 41, Edid)
ENUM_FRAMESIZES: Final = _request(_READ | _WRITE, 74, FrameSize)
ENUM_FRAMEINTERVALS: Final = _request(_READ | _WRITE, 75, FrameInterval)
S_DV_TIMINGS: Final = _request(_READ | _WRITE, 87, DvTimings)
G_DV_TIMINGS: Final = _request(_READ | _WRITE, 88, DvTimings)
DQEVENT: Final = _request(_READ, 89, Event)
SUBSCRIBE_EVENT: Final = _request(_WRITE, 90, EventSubscription)
QUERY_DV_TIMINGS: Final = _request(_READ, 99, DvTimings)

CAPTURE: Final = 1
"""V4L2_BUF_TYPE_VIDEO_CAPTURE: one plane a buffer."""
MMAP: Final = 1
FIELD_NONE: Final = 1
QUANTIZATION_FULL: Final = 1
QUANTIZATION_LIMITED: Final = 2
COLORSPACE_JPEG: Final = 7
DISCRETE: Final = 1
"""One size or interval of a list, where 2 and 3 are ranges."""
EVENT_SOURCE_CHANGE: Final = 5


class Caps(IntFlag):
    VIDEO_CAPTURE = 0x0000_0001
    STREAMING = 0x0400_0000
    DEVICE_CAPS = 0x8000_0000


class InputCaps(IntFlag):
    DV_TIMINGS = 0x2


class InputStatus(IntFlag):
    NO_POWER = 0x1
    NO_SIGNAL = 0x2
    NO_H_LOCK = 0x100
    NO_SYNC = 0x1_0000


class BufferFlag(IntFlag):
    ERROR = 0x40
    MONOTONIC = 0x2000
    TIMESTAMP_KINDS = 0xE000
    START_OF_EXPOSURE = 0x1_0000
    TIMESTAMP_SOURCES = 0x7_0000


class Ready(IntFlag):
    """What waiting for a device came to."""

    FRAME = select.POLLIN
    EVENT = select.POLLPRI
    ERROR = select.POLLERR
    GONE = select.POLLHUP | select.POLLNVAL


class Buffered(Protocol):
    """A buffer's memory, seen from here."""

    def __len__(self) -> int: ...

    def close(self) -> None: ...


class Node(Protocol):
    """An opened device node. Every method but ``close`` raises OSError as the kernel does."""

    def call(self, request: int, argument: ctypes.Structure | ctypes.c_int32) -> None:
        """One ioctl; the argument is filled in place."""

    def map(self, offset: int, length: int) -> mmap.mmap: ...

    def wait(self, timeout_s: float) -> Ready:
        """What is ready within the time; nothing where it has passed, or somebody has called ``wake``."""

    def wake(self) -> None:
        """End a ``wait``, from any thread; also the next one, if none is under way."""

    def close(self) -> None:
        """Give it back; may be done twice."""


class DeviceNode:
    """A node of the running kernel."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._woken = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._waking = threading.Lock()
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN | select.POLLPRI)
        self._poll.register(self._woken, select.POLLIN)

    def fileno(self) -> int:
        return self._fd

    def call(self, request: int, argument: ctypes.Structure | ctypes.c_int32) -> None:
        while True:
            try:
                fcntl.ioctl(self._fd, request, argument)
            except InterruptedError:
                continue  # a signal came in between, which Python sees to by itself
            return

    def map(self, offset: int, length: int) -> mmap.mmap:
        return mmap.mmap(self._fd, length, mmap.MAP_SHARED, mmap.PROT_READ, offset=offset)

    def wait(self, timeout_s: float) -> Ready:
        ready = Ready(0)
        for descriptor, events in self._poll.poll(max(0, math.ceil(timeout_s * 1000))):
            if descriptor == self._woken:
                os.eventfd_read(self._woken)
            else:
                ready |= Ready(events & (select.POLLIN | select.POLLPRI | select.POLLERR | Ready.GONE))
        return ready

    def wake(self) -> None:
        # Another thread may be closing: what has its descriptor's number next must not be written to.
        with self._waking:
            if self._woken >= 0:
                os.eventfd_write(self._woken, 1)

    def close(self) -> None:
        with self._waking:
            for descriptor in (self._fd, self._woken):
                if descriptor >= 0:
                    os.close(descriptor)
            self._fd = self._woken = -1


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells a device from others, also when it returns under another number.

    ``serial`` and ``port`` are empty where the bus has none; ``index`` tells a device's several nodes apart.
    """

    name: str
    vendor_product: str
    serial: str
    port: str
    index: int

    def is_same_device(self, other: "Identity") -> bool:
        """By its serial number where it has one, on any port; else by the port that it is plugged into."""
        if (self.name, self.vendor_product, self.index) != (other.name, other.vendor_product, other.index):
            return False
        return self.serial == other.serial if self.serial or other.serial else self.port == other.port


class Kernel(Protocol):
    """The devices of a machine."""

    def nodes(self) -> Iterator[tuple[str, Identity]]:
        """The path of every video node there is now, and what it is, by number."""

    def open(self, path: str) -> Node: ...


class RunningKernel:
    """The machine's own devices."""

    def nodes(self) -> Iterator[tuple[str, Identity]]:
        folder = Path("/sys/class/video4linux")
        found = [entry for entry in folder.glob("video*") if entry.name[5:].isdecimal()]
        for entry in sorted(found, key=lambda entry: int(entry.name[5:])):
            try:
                yield f"/dev/{entry.name}", _identity(entry)
            except OSError:
                continue  # unplugged while it was being looked at

    def open(self, path: str) -> Node:
        return DeviceNode(path)


def _identity(entry: Path) -> Identity:
    interface = (entry / "device").resolve()
    # A USB interface lies in its device's folder, whose own name is the port.
    device = interface.parent if (interface.parent / "idVendor").exists() else interface
    vendor_product = ":".join(_read(device / name) for name in ("idVendor", "idProduct")).strip(":")
    index = _read(entry / "index")
    return Identity(_read(entry / "name"), vendor_product, _read(device / "serial"), device.name, int(index or 0))


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except FileNotFoundError:
        return ""


def fourcc(code: str) -> int:
    """The kernel's number for a pixel format's four letters, padded with blanks."""
    return int.from_bytes(code.ljust(4).encode("ascii"), "little")


def letters(number: int) -> str:
    """The four letters of a pixel format's number; what is no letter is shown as ?, a big-endian format with -BE."""
    raw = (number & 0x7FFF_FFFF).to_bytes(4, "little")
    name = "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in raw).rstrip()
    return f"{name}-BE" if number >> 31 else name
