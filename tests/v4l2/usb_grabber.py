"""A USB grabber in software: a UVC device spoken over USB/IP, so that the kernel's real ``uvcvideo`` driver is in use.

The kernel's side of USB/IP (``vhci-hcd``) is given one end of a socket pair and talks to the other as if to a remote
device. Protocol: the kernel's Documentation/usb/usbip_protocol.rst; descriptors: "USB Device Class Definition for
Video Devices", 1.0. One bulk endpoint, one format (YUY2), one size, one rate.
"""

import socket
import struct
import threading
import time
from pathlib import Path
from typing import Final

VHCI: Final = Path("/sys/devices/platform/vhci_hcd.0")
WIDTH, HEIGHT, RATE_HZ = 320, 240, 15
FRAME_BYTES: Final = 2 * WIDTH * HEIGHT
_INTERVAL: Final = 10_000_000 // RATE_HZ
_HEADER_BYTES: Final = 2
_PAYLOAD_BYTES: Final = FRAME_BYTES + _HEADER_BYTES

_SUBMIT, _UNLINK, _SUBMITTED, _UNLINKED = 1, 2, 3, 4
_HIGH_SPEED: Final = 3
_STALL: Final = -32
_RESET: Final = -104
_FRAME_ID, _END_OF_FRAME, _ERROR, _END_OF_HEADER = 0x01, 0x02, 0x40, 0x80


def _descriptor(kind: int, *fields: int | bytes) -> bytes:
    body = b"".join(field if isinstance(field, bytes) else bytes([field]) for field in fields)
    return bytes([len(body) + 2, kind]) + body


def _words(form: str, *values: int) -> bytes:
    return struct.pack(f"<{form}", *values)


def _device(vendor: int, product: int) -> bytes:
    return _descriptor(1, _words("H", 0x0200), 0xEF, 2, 1, 64, _words("HHH", vendor, product, 0x0100), 1, 2, 3, 1)


def _configuration() -> bytes:
    entity_input = _descriptor(0x24, 2, 1, _words("H", 0x0201), 0, 0, _words("HHH", 0, 0, 0), 3, b"\0\0\0")
    output = _descriptor(0x24, 3, 2, _words("H", 0x0101), 0, 1, 0)
    units = entity_input + output
    header = _descriptor(0x24, 1, _words("HHI", 0x0100, 13 + len(units), 6_000_000), 1, 1)
    guid = b"YUY2\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
    form = _descriptor(0x24, 4, 1, 1, guid, 16, 1, 0, 0, 0, 0)
    bit_rate = FRAME_BYTES * 8 * RATE_HZ
    frame = _descriptor(
        0x24,
        5,
        1,
        0,
        _words("HHIIII", WIDTH, HEIGHT, bit_rate, bit_rate, FRAME_BYTES, _INTERVAL),
        1,
        _words("I", _INTERVAL),
    )
    stream = _descriptor(0x24, 1, 1, _words("H", 14 + len(form) + len(frame)), 0x81, 0, 2, 0, 0, 0, 1, 0) + form + frame
    body = (
        _descriptor(11, 0, 2, 14, 3, 0, 0)
        + _descriptor(4, 0, 0, 0, 14, 1, 0, 0)
        + header
        + units
        + _descriptor(4, 1, 0, 1, 14, 2, 0, 0)
        + stream
        + _descriptor(5, 0x81, 2, _words("H", 512), 0)
    )
    return _descriptor(2, _words("H", 9 + len(body)), 2, 1, 0, 0x80, 50) + body


class UsbGrabber:
    """A plugged-in device until ``unplug``; each frame is what ``picture`` returned for its number.

    ``faults``: what to do to the next frames, one each: "error" sets the header's error bit, "short" leaves the last
    half away. ``silent``: no frame is sent.
    """

    def __init__(self, serial: str, port: int = 0) -> None:
        self._strings = {1: "Fluoroguide", 2: "Software grabber", 3: serial}
        self._port = port
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        (VHCI / "attach").write_text(f"{port} {theirs.fileno()} 65537 {_HIGH_SPEED}")
        theirs.close()
        self._probe = self._answer()
        self._waiting: list[tuple[int, int]] = []
        self._changed = threading.Condition()
        self._sending = threading.Lock()
        self._is_gone = False
        self.sent = 0
        self.silent = False
        self.faults: list[str] = []
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._serve, self._stream)]
        for thread in self._threads:
            thread.start()

    def unplug(self) -> None:
        with self._changed:
            self._is_gone = True
            self._changed.notify_all()
        (VHCI / "detach").write_text(str(self._port))
        self._ours.close()
        for thread in self._threads:
            thread.join(5)

    @staticmethod
    def picture(number: int) -> bytes:
        """What frame ``number`` holds: luma that runs through the full codes, shifted by one each frame."""
        luma = bytes((i + number) % 220 + 16 for i in range(WIDTH))
        row = b"".join(bytes([value, 128]) for value in luma)
        return row * HEIGHT

    def _answer(self) -> bytes:
        """The stream's only setting, as probe and commit tell it."""
        return _words("HBBIHHHHHII", 1, 1, 1, _INTERVAL, 0, 0, 0, 0, 0, FRAME_BYTES, _PAYLOAD_BYTES)

    def _serve(self) -> None:
        try:
            while True:
                head = self._receive(48)
                command, number, _, direction, endpoint = struct.unpack(">5I", head[:20])
                if command == _UNLINK:
                    self._unlink(number, struct.unpack(">I", head[20:24])[0])
                    continue
                length = struct.unpack(">I", head[24:28])[0]
                data = b"" if direction else self._receive(length)
                if endpoint == 0:
                    answer = self._control(head[40:48], data)
                    self._reply(number, _STALL if answer is None else 0, (answer or b"")[:length], direction, len(data))
                else:
                    with self._changed:
                        self._waiting.append((number, length))
                        self._changed.notify_all()
        except (OSError, EOFError):
            return  # unplugged

    def _receive(self, count: int) -> bytes:
        parts = b""
        while len(parts) < count:
            part = self._ours.recv(count - len(parts))
            if not part:
                raise EOFError
            parts += part
        return parts

    def _reply(self, number: int, status: int, data: bytes, direction: int, sent: int | None = None) -> None:
        length = len(data) if direction else (sent or 0)
        self._send(struct.pack(">5IiIIII8x", _SUBMITTED, number, 0, 0, 0, status, length, 0, 0, 0) + data)

    def _send(self, answer: bytes) -> None:
        with self._sending:
            self._ours.sendall(answer)

    def _unlink(self, number: int, victim: int) -> None:
        with self._changed:
            found = [entry for entry in self._waiting if entry[0] == victim]
            self._waiting = [entry for entry in self._waiting if entry[0] != victim]
        self._send(struct.pack(">5Ii24x", _UNLINKED, number, 0, 0, 0, _RESET if found else 0))

    def _control(self, setup: bytes, data: bytes) -> bytes | None:
        """The answer to a control request; None: not understood."""
        kind, request, value, index, _ = struct.unpack("<BBHHH", setup)
        if kind == 0x80 and request == 6:
            return self._described(value >> 8, value & 0xFF)
        if kind == 0x80 and request == 0:
            return b"\0\0"
        if kind in (0x00, 0x01, 0x02):
            return b""
        if kind == 0x21 and request == 1:
            return b""
        if kind == 0xA1 and index & 0xFF == 1:
            if request == 0x85:
                return _words("H", len(self._probe))
            return b"\x03" if request == 0x86 else self._probe
        return None

    def _described(self, kind: int, number: int) -> bytes | None:
        if kind == 1:
            return _device(0x1D6B, 0x0102)
        if kind == 2:
            return _configuration()
        if kind == 3 and number == 0:
            return _descriptor(3, _words("H", 0x0409))
        if kind == 3 and number in self._strings:
            return _descriptor(3, self._strings[number].encode("utf-16-le"))
        return None

    def _stream(self) -> None:
        """Frame after frame into the requests that wait, at the rate's pace."""
        rest, due_s = b"", time.monotonic()
        try:
            while not self._is_gone:
                if not rest:
                    due_s = max(due_s + 1 / RATE_HZ, time.monotonic() - 1 / RATE_HZ)
                    time.sleep(max(0.0, due_s - time.monotonic()))
                with self._changed:
                    self._changed.wait_for(lambda: self._is_gone or (bool(self._waiting) and not self.silent), 0.05)
                    if self._is_gone:
                        return
                    if not self._waiting or self.silent:
                        continue
                    rest = rest or self._payload()
                    # Answered while nobody can take it back: the kernel hangs up on an answer to what it has withdrawn.
                    number, length = self._waiting.pop(0)
                    part, rest = rest[:length], rest[length:]
                    self._reply(number, 0, part, 1)
        except OSError:
            return  # unplugged

    def _payload(self) -> bytes:
        fault = self.faults.pop(0) if self.faults else None
        info = _END_OF_HEADER | _END_OF_FRAME | (self.sent & _FRAME_ID) | (_ERROR if fault == "error" else 0)
        picture = self.picture(self.sent)
        self.sent += 1
        return bytes([_HEADER_BYTES, info]) + (picture[: FRAME_BYTES // 2] if fault == "short" else picture)
