"""Runs inside the virtual machine: a USB grabber through the kernel's uvcvideo driver, plugged, pulled and damaged.

Writes one JSON object an exercise to /mnt/results.jsonl. Expectations stand in the test, not here.
"""

import time
import zlib
from itertools import pairwise
from statistics import median

import numpy as np

from drivers.luma import full_range_table
from drivers.signal import Signal
from drivers.v4l2_devices import devices
from tests.v4l2.usb_grabber import HEIGHT, WIDTH, UsbGrabber
from tests.v4l2.watched import Watched, held, nothing_leaked, tell

SERIAL = "FG-1"
REPLUGS = 10


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


def damaged(watched: Watched, usb: UsbGrabber, fault: str, count: int = 10) -> None:
    """uvcvideo drops what is marked or short without a word: only the missing number tells."""
    before, _ = watched.settled()
    for _ in range(count):
        usb.faults.append(fault)
        watched.until(lambda: not usb.faults)
        since_s = time.monotonic()
        watched.until(lambda since_s=since_s: len([f for f in watched.frames if f.at_s > since_s]) >= 3)
    after, _ = watched.settled()
    tell(fault=fault, count=count, dropped=after.dropped - before.dropped, corrupt=after.corrupt - before.corrupt)


def silence(watched: Watched, usb: UsbGrabber) -> None:
    usb.silent = True
    fell_s = watched.frames[-1].at_s
    watched.until(watched.says(Signal.STALLED))
    told_s = watched.told_s(Signal.STALLED, fell_s)
    last_s = watched.frames[-1].at_s
    usb.silent = False
    back_s = time.monotonic()
    watched.until(watched.good_after(back_s))
    recovered_ms = (watched.frames[-1].at_s - back_s) * 1000
    tell(fault="silence", told_ms=None if told_s is None else (told_s - last_s) * 1000, recovered_ms=recovered_ms)


def pulled(watched: Watched, usb: UsbGrabber) -> float | None:
    """Milliseconds until it is told that the grabber is gone."""
    since_s = time.monotonic()
    usb.unplug()
    watched.until(watched.says(Signal.UNPLUGGED))
    told_s = watched.told_s(Signal.UNPLUGGED, since_s)
    return None if told_s is None else (told_s - since_s) * 1000


def plugged(watched: Watched, port: int) -> tuple[UsbGrabber, float | None]:
    """The grabber in a port, and the milliseconds until it delivers, all that the kernel does included."""
    back_s = time.monotonic()
    usb = UsbGrabber(SERIAL, port)
    return usb, watched.until(watched.good_after(back_s), 20)


def main() -> None:
    nothing_leaked()
    plugged_s = time.monotonic()
    usb = UsbGrabber(SERIAL)
    url = appears()
    tell(fault="plug", url=url, took_ms=(time.monotonic() - plugged_s) * 1000)
    assert url is not None
    with Watched(url) as watched:
        content(watched)
        for fault in ("error", "short"):
            damaged(watched, usb, fault)
        silence(watched, usb)
        name = watched.grabber.info.name
        told_ms = pulled(watched, usb)
        stranger = UsbGrabber("FG-2", port=1)
        time.sleep(2)
        tell(fault="stranger", state=watched.grabber.status.signal)
        usb, recovered_ms = plugged(watched, port=2)
        tell(fault="replug", told_ms=told_ms, recovered_ms=recovered_ms, before=name, after=watched.grabber.info.name)

        before, told, recovered = held(), [], []
        for i in range(REPLUGS):
            told.append(pulled(watched, usb))
            usb, again_ms = plugged(watched, port=2 + i % 2)
            recovered.append(again_ms)
        missed = told.count(None) + recovered.count(None)
        tell(fault="replugged again and again", count=REPLUGS, missed=missed, held_before=before, held_after=held())
        if not missed:
            tell(
                fault="replug figures",
                told_ms=[median(told), max(told)],
                recovered_ms=[median(recovered), max(recovered)],
            )
    usb.unplug()
    stranger.unplug()
    nothing_leaked()


if __name__ == "__main__":
    main()
