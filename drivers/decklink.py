"""Blackmagic DeckLink cards through GStreamer's ``decklinkvideosrc``, in a process of its own.

    decklink://0[?mode=1080p30&connection=sdi]

GStreamer stays outside: its pipeline writes buffers with their timestamps and flags to a pipe (GStreamer Data Protocol,
``gdppay``) and tells of its ``signal`` property in words. So no binding is needed, and a driver that hangs is ended
from here. The card's own library (Desktop Video) comes from its vendor.

What it misses: the card's own count of frames; a lost frame is told by the gap that it leaves in the timestamps.
"""

import os
import re
import select
import shutil
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Final, Self
from urllib.parse import parse_qs, urlsplit

import numpy as np

from drivers.errors import SourceError
from drivers.frame import Frame, FrameFlag, SourceInfo
from drivers.pixel_formats import PIXEL_FORMATS
from drivers.ring import FrameRing
from drivers.signal import Signal, SourceStatus, StatusNote

ELEMENT: Final = "decklinkvideosrc"
LAUNCH: Final = ("gst-launch-1.0", "-v")
INSPECT: Final = "gst-inspect-1.0"
CODE: Final = "UYVY"
RING_FRAMES: Final = 32
FIRST_FRAME_S: Final = 10.0
"""A card that has not told its format by then is not going to."""
LEAST_STALL_S: Final = 0.25
STALL_INTERVALS: Final = 2.5
DEAD_S: Final = 1.0
RETRY_S: Final = 0.5
TICK_S: Final = 0.05
END_S: Final = 1.0

_HEADER: Final = struct.Struct(">BBBxHIQQQQH")
_HEADER_BYTES: Final = 62
_BUFFER, _CAPS = 1, 2
_CORRUPTED, _GAP = 0x100, 0x800
"""GStreamer's flags of a buffer; the second marks what the card made up while it had no signal."""
_NO_TIME: Final = (1 << 64) - 1
_SIGNAL_TOLD = re.compile(r"\bsignal = (true|false)", re.IGNORECASE)
_OPTIONS: Final = {
    "mode": re.compile(r"[a-z0-9]+"),
    "connection": re.compile(r"auto|sdi|hdmi|optical-sdi|component|composite|svideo"),
}


@dataclass(frozen=True, slots=True)
class _Packet:
    """One packet of the protocol; ``pts_s`` and ``duration_s`` None where GStreamer has none."""

    kind: int
    pts_s: float | None
    duration_s: float | None
    flags: int
    payload: bytearray


@dataclass(frozen=True, slots=True)
class _Caps:
    """The picture that the pipeline delivers."""

    width_px: int
    height_px: int
    rate_hz: float | None


class _Ended(Exception):  # noqa: N818 - an event inside this module
    """The pipeline's process has ended, or sent what is no packet."""


class DeckLinkCard:
    """An input of a DeckLink card as a LiveSource, see ``drivers.signal``.

    ``t_s`` is GStreamer's time of the picture. A pipeline that ends is started anew. ``source``: the pipeline's first
    element with its properties.
    """

    def __init__(self, name: str, source: Sequence[str], launch: Sequence[str] = LAUNCH) -> None:
        self._name = name
        self._command = (
            *launch,
            *source,
            "!",
            f"video/x-raw,format={CODE}",
            "!",
            "gdppay",
            "!",
            "fdsink",
            "sync=false",
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._words: threading.Thread | None = None
        self._frames_fd = -1
        self._info: SourceInfo | None = None
        self._caps: _Caps | None = None
        self._ring: FrameRing | None = None
        self._note = StatusNote()
        self._has_signal = True
        self._complaint = ""
        self._stopped = False
        self._sequence = -1
        self._last_pts_s: float | None = None
        self._shift_s = self._last_t_s = 0.0
        self._heard_s = 0.0

    @property
    def info(self) -> SourceInfo:
        if self._info is None:
            raise RuntimeError(f"{self._name}: not opened yet")
        return self._info

    @property
    def status(self) -> SourceStatus:
        return self._note.status

    def stop(self) -> None:
        self._stopped = True

    def __enter__(self) -> Self:
        self._end()
        self._stopped = False
        self._start()
        try:
            until_s = time.monotonic() + FIRST_FRAME_S
            while self._caps is None:
                if time.monotonic() > until_s:
                    raise SourceError(
                        f"{self._name}: no picture format within {FIRST_FRAME_S:g} s; expected a DeckLink card"
                    )
                packet = self._packet(TICK_S)
                if packet is not None and packet.kind == _CAPS:
                    self._take_caps(packet)
        except _Ended as ended:
            self._end()
            raise SourceError(
                f"{self._name}: {self._complaint or ended}; expected a DeckLink card and its vendor's library"
            ) from ended
        except SourceError:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped = True
        self._end()

    def __iter__(self) -> Iterator[Frame]:
        while not self._stopped:
            try:
                packet = self._packet(TICK_S)
            except _Ended:
                self._note.say(Signal.STREAM_ERROR)
                self._start_again()
                continue
            if packet is None:
                self._look_up()
            elif packet.kind == _CAPS:
                if self._take_caps(packet):
                    return
            elif packet.kind == _BUFFER and (frame := self._frame(packet)) is not None:
                yield frame

    # ---- the pipeline's process

    def _start(self) -> None:
        self._complaint = ""
        # What GStreamer says goes to its standard output, so the frames have a pipe of their own.
        self._frames_fd, theirs = os.pipe()
        try:
            self._process = subprocess.Popen(
                (*self._command, f"fd={theirs}"),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(theirs,),
                # Not in the terminal's group: Ctrl-C ends it through here and not beside.
                process_group=0,
            )
        finally:
            os.close(theirs)
        assert self._process.stdout is not None
        self._words = threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True)
        self._words.start()
        self._heard_s = time.monotonic()

    def _start_again(self) -> None:
        self._end()
        self._note.count(restarts=1)
        until_s = time.monotonic() + RETRY_S
        while not self._stopped and time.monotonic() < until_s:
            time.sleep(TICK_S)
        if not self._stopped:
            self._last_pts_s = None
            self._start()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._words is not None:
            self._words.join(END_S)
            self._words = None
        if process is not None and process.stdout is not None:
            process.stdout.close()
        if self._frames_fd >= 0:
            os.close(self._frames_fd)
            self._frames_fd = -1

    def _listen(self, words: IO[bytes]) -> None:
        """Read what GStreamer says of the signal, and what it complains of."""
        for raw in words:
            line = raw.decode(errors="replace").strip()
            if (told := _SIGNAL_TOLD.search(line)) is not None:
                self._has_signal = told[1].lower() == "true"
            elif line.startswith(("ERROR", "WARNING: erroneous", "Failed")) and not self._complaint:
                self._complaint = line.removeprefix("ERROR:").strip(" .")

    def _packet(self, timeout_s: float) -> _Packet | None:
        """The next packet; None where none begins in time. Raises _Ended."""
        if self._frames_fd < 0:
            raise _Ended("not started")
        if not select.select([self._frames_fd], [], [], timeout_s)[0]:
            return None
        head = self._read(_HEADER_BYTES)
        major, _, _, kind, length, pts, duration, _, _, flags = _HEADER.unpack(head[: _HEADER.size])
        if major != 1:
            raise _Ended(f"protocol {major}, expected 1")
        payload = self._read(length)
        return _Packet(kind, _seconds(pts), _seconds(duration), flags, payload)

    def _read(self, count: int) -> bytearray:
        """Exactly so many bytes. Raises _Ended where they do not come, or ``stop`` was called meanwhile."""
        data = bytearray(count)
        view, began_s = memoryview(data), time.monotonic()
        while view:
            if not select.select([self._frames_fd], [], [], TICK_S)[0]:
                silent_s = time.monotonic() - began_s
                if self._stopped or silent_s >= DEAD_S:
                    raise _Ended("half a packet")
                if silent_s >= LEAST_STALL_S:
                    self._note.say(Signal.STALLED)
                continue
            got = os.readv(self._frames_fd, [view])
            if not got:
                raise _Ended("GStreamer has ended")
            view = view[got:]
        return data

    # ---- frames

    def _take_caps(self, packet: _Packet) -> bool:
        """Note the picture's format; whether ``info`` has become another."""
        text = bytes(packet.payload).decode(errors="replace")
        size = {name: int(value) for name, value in re.findall(r"\b(width|height)=\(int\)(\d+)", text)}
        if len(size) < 2:
            raise _Ended(f"a picture without a size: {text}")
        rate = re.search(r"framerate=\(fraction\)(\d+)/(\d+)", text)
        rate_hz = int(rate[1]) / int(rate[2]) if rate and int(rate[1]) and int(rate[2]) else None
        caps = _Caps(size["width"], size["height"], rate_hz)
        before, self._caps = self._caps, caps
        if caps != before or self._ring is None:
            self._ring = FrameRing(RING_FRAMES, (caps.height_px, caps.width_px), np.uint8)
            self._info = SourceInfo(self._name, caps.width_px, caps.height_px, 8, live=True, rate_hz=rate_hz)
        return before is not None and (before.width_px, before.height_px) != (caps.width_px, caps.height_px)

    def _frame(self, packet: _Packet) -> Frame | None:
        assert self._ring is not None
        assert self._caps is not None
        self._heard_s = time.monotonic()
        is_good = self._has_signal and not packet.flags & _GAP
        self._note.say(Signal.LIVE if is_good else Signal.NO_SIGNAL)
        missing = self._missing_before(packet)
        self._sequence += 1 + missing
        pixels = self._ring.take()
        if pixels is None:
            self._note.count(dropped=missing + 1)
            return None
        flags = FrameFlag.NONE if is_good else FrameFlag.NO_SIGNAL
        form, stride = PIXEL_FORMATS[CODE], (2 * self._caps.width_px + 3) // 4 * 4
        if packet.flags & _CORRUPTED or len(packet.payload) < form.luma_bytes(self._caps.height_px, stride):
            pixels[:] = 0
            flags |= FrameFlag.CORRUPT
        else:
            form.fill(np.frombuffer(packet.payload, np.uint8), stride, False, pixels)
        pixels.flags.writeable = False
        self._note.count(frames=1, dropped=missing, corrupt=int(bool(flags & FrameFlag.CORRUPT)))
        return Frame(pixels, self._t_s(packet), self._sequence, 8, flags)

    def _missing_before(self, packet: _Packet) -> int:
        """How many frames the gap in the timestamps would have held."""
        interval_s = packet.duration_s or (1 / self._caps.rate_hz if self._caps and self._caps.rate_hz else None)
        if packet.pts_s is None or self._last_pts_s is None or interval_s is None:
            return 0
        return max(0, round((packet.pts_s - self._last_pts_s) / interval_s) - 1)

    def _t_s(self, packet: _Packet) -> float:
        """The picture's time; GStreamer's begins anew with each pipeline, this one goes on."""
        if packet.pts_s is None:
            self._last_t_s = max(self._last_t_s, self._heard_s)
            return self._last_t_s
        if self._last_pts_s is None:
            self._shift_s = self._heard_s - packet.pts_s
        self._last_pts_s = packet.pts_s
        self._last_t_s = max(self._last_t_s, packet.pts_s + self._shift_s)
        return self._last_t_s

    def _look_up(self) -> None:
        """No frame has come within a tick."""
        silent_s = time.monotonic() - self._heard_s
        interval_s = 1 / self._caps.rate_hz if self._caps is not None and self._caps.rate_hz else 0.0
        if silent_s >= max(LEAST_STALL_S, STALL_INTERVALS * interval_s):
            self._note.say(Signal.STALLED if self._has_signal else Signal.NO_SIGNAL)
        if silent_s >= FIRST_FRAME_S:
            self._start_again()


def _seconds(nanoseconds: int) -> float | None:
    return None if nanoseconds == _NO_TIME else nanoseconds / 1e9


def open_decklink(url: str) -> DeckLinkCard:
    """The card of a decklink:// URL. Raises SourceError, also where GStreamer or its element is not installed."""
    parts = urlsplit(url)
    number = parts.netloc + parts.path.strip("/")
    if not number.isdecimal():
        raise SourceError(f"{url}: expected decklink://N, N the card's number from 0 on")
    options = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
    _check(url, options)
    words = is_missing()
    if words is not None:
        raise SourceError(f"{url}: {words}")
    properties = [f"device-number={number}", *(f"{key}={value}" for key, value in options.items())]
    return DeckLinkCard(f"DeckLink {number}", [ELEMENT, *properties])


def _check(url: str, options: Mapping[str, str]) -> None:
    for key, value in options.items():
        if key not in _OPTIONS:
            raise SourceError(f"{url}: option {key}: expected one of {', '.join(_OPTIONS)}")
        if not _OPTIONS[key].fullmatch(value):
            raise SourceError(f"{url}: option {key}={value}: expected {_OPTIONS[key].pattern}")


def is_missing() -> str | None:
    """What must be installed before a card can be used; None where all is there."""
    if shutil.which(LAUNCH[0]) is None or shutil.which(INSPECT) is None:
        return "GStreamer is not installed; expected gstreamer1.0-tools and gstreamer1.0-plugins-bad"
    if subprocess.run([INSPECT, "--exists", ELEMENT], check=False, timeout=30).returncode:
        return f"GStreamer has no {ELEMENT}; expected gstreamer1.0-plugins-bad"
    return None
