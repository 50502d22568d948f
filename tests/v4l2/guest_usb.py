"""Runs inside the virtual machine: a USB grabber through the kernel's uvcvideo driver, plugged, pulled and damaged.

Writes one JSON object an exercise to /mnt/results.jsonl. Expectations stand in the test, not here.
"""

import time
import zlib
from itertools import pairwise

import numpy as np

from drivers.luma import full_range_table
from drivers.signal import Signal
from drivers.v4l2_devices import devices
from tests.v4l2.usb_grabber import HEIGHT, WIDTH, UsbGrabber
from tests.v4l2.watched import Watched, nothing_leaked, tell

SERIAL = "FG-1"


def appears(timeout_s: float = 20.0) -> str | None:
    """The grabber's URL, once the kernel has bound it."""
    until_s = time.monotonic() + timeout_s
    while time.monotonic() < until_s:
        for device in devices():
            if device.serial == SERIAL and device.modes:
                return device.url
        time.sleep(0.02)
    return None


def expected(number: int) -> int:
    """The checksum of what the driver makes of frame ``number``."""
    raw = np.frombuffer(UsbGrabber.picture(number), np.uint8).reshape(HEIGHT, WIDTH, 2)
    return zlib.crc32(np.ascontiguousarray(full_range_table(8)[raw[..., 0]]))


def content(watched: Watched, count: int = 30) -> None:
    """Whether each frame is one that was sent, and they come in order."""
    watched.until(lambda: len(watched.frames) >= count, 30)
    number_of = {expected(number): number for number in range(220)}
    numbers = [number_of.get(frame.checksum) for frame in watched.frames[:count]]
    known = [number for number in numbers if number is not None]
    rises = all(0 < (b - a) % 220 < 110 for a, b in pairwise(known))
    tell(fault="content", frames=count, unknown=len(numbers) - len(known), in_order=rises)


def damaged(watched: Watched, usb: UsbGrabber, fault: str) -> None:
    """uvcvideo drops what is marked or short without a word: only the missing number tells."""
    before, _ = watched.settled()
    usb.faults.append(fault)
    watched.until(lambda: not usb.faults)
    since_s = time.monotonic()
    watched.until(lambda: len([frame for frame in watched.frames if frame.at_s > since_s]) >= 5)
    after, _ = watched.settled()
    tell(fault=fault, dropped=after.dropped - before.dropped, corrupt=after.corrupt - before.corrupt)


def main() -> None:
    nothing_leaked()
    usb = UsbGrabber(SERIAL)
    plugged_s = time.monotonic()
    url = appears()
    tell(fault="plug", url=url, took_ms=(time.monotonic() - plugged_s) * 1000)
    assert url is not None
    with Watched(url) as watched:
        content(watched)
        for fault in ("error", "short"):
            damaged(watched, usb, fault)
        usb.silent = True
        tell(fault="silence", told_ms=watched.until(watched.says(Signal.STALLED)))
        usb.silent = False
        tell(fault="after silence", recovered_ms=watched.until(watched.good_after(time.monotonic())))
        usb.unplug()
        tell(fault="unplug", told_ms=watched.until(watched.says(Signal.UNPLUGGED)))
        time.sleep(0.5)
        stranger = UsbGrabber("FG-2", port=1)
        time.sleep(2)
        tell(fault="stranger", state=watched.grabber.status.signal)
        usb = UsbGrabber(SERIAL, port=2)
        back_s = time.monotonic()
        tell(fault="replug", recovered_ms=watched.until(watched.good_after(back_s), 20))
    usb.unplug()
    stranger.unplug()
    nothing_leaked()


if __name__ == "__main__":
    main()
