"""Runs inside the virtual machine: faults injected into the kernel's virtual grabber, and how the driver takes each.

Writes one JSON object an exercise to /mnt/results.jsonl. Expectations stand in the test, not here. vivid's controls:
https://docs.kernel.org/admin-guide/media/vivid.html
"""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from drivers import v4l2_kernel as v4l2
from drivers.frame import FrameFlag
from drivers.signal import Signal
from drivers.v4l2 import open_grabber
from drivers.v4l2_devices import devices
from drivers.v4l2_kernel import DeviceNode
from tests.v4l2.watched import Watched, held, nothing_leaked, tell

CONTROLS = 0x00F0F000
OSD_TEXT = CONTROLS + 0x01
DV_SIGNAL, DV_TIMINGS = CONTROLS + 0x3E, CONTROLS + 0x3F
DROPPED, DISCONNECT, BUFFER_ERROR = CONTROLS + 0x40, CONTROLS + 0x41, CONTROLS + 0x42
QBUF_ERROR, STREAMON_ERROR, FATAL = CONTROLS + 0x44, CONTROLS + 0x45, CONTROLS + 0x46
WRAP_SEQUENCE, WRAP_TIMESTAMP = CONTROLS + 0x26, CONTROLS + 0x27
DEVICE = "/dev/video0"
HDMI, WEBCAM = f"v4l2://{DEVICE}?input=0&format=GREY", f"v4l2://{DEVICE}?input=1&format=GREY&rate=30"

SMALL_60, INTERLACED, SMALL_OTHER = 0, 1, 2
"""Timings of vivid's list: 640x480p60, 720x480i60 and 720x480p60."""
SELECTED = 4
"""Mode of the input's signal: the selected timings; 1 to 3 are the faults."""
SETTLED_S = 0.05
"""A frame that was read before its fault was told may still be on its way to the list for so long."""


def turn(control: int, value: int = 1) -> None:
    """Set a control, through a descriptor of its own: a device that is disconnected returns when all are closed."""
    node = DeviceNode(DEVICE)
    try:
        node.call(v4l2.S_CTRL, v4l2.Control(id=control, value=value))
    finally:
        node.close()


@dataclass(frozen=True)
class Fault:
    """``inject`` brings it about, ``end`` ends what does not end by itself. ``signal``: the state that must be told;
    where None, ``counted`` names the count that must rise."""

    name: str
    inject: Callable[[], None]
    signal: Signal | None
    counted: str = ""
    end: Callable[[], None] | None = None


def refuse_to_start() -> None:
    turn(STREAMON_ERROR)
    turn(FATAL)


def input_fault(name: str, mode: int, signal: Signal) -> Fault:
    return Fault(name, lambda: turn(DV_SIGNAL, mode), signal, end=lambda: turn(DV_SIGNAL, SELECTED))


STREAM_FAULTS = (
    Fault("corrupt buffer", lambda: turn(BUFFER_ERROR), None, "corrupt"),
    Fault("dropped frames", lambda: turn(DROPPED, 30), None, "dropped", lambda: turn(DROPPED, 0)),
    Fault("fatal stream error", lambda: turn(FATAL), Signal.STREAM_ERROR),
    Fault("buffer refused", lambda: turn(QBUF_ERROR), Signal.STREAM_ERROR),
    Fault("stream refused to start", refuse_to_start, Signal.STREAM_ERROR),
    Fault("disconnect", lambda: turn(DISCONNECT), Signal.UNPLUGGED),
)
INPUT_FAULTS = (
    input_fault("no signal", 1, Signal.NO_SIGNAL),
    input_fault("no lock", 2, Signal.NO_LOCK),
    input_fault("out of range", 3, Signal.OUT_OF_RANGE),
    Fault("timings changed", lambda: turn(DV_TIMINGS, SMALL_OTHER), Signal.TIMINGS_CHANGED),
    *STREAM_FAULTS,
    Fault("timings changed back", lambda: turn(DV_TIMINGS, SMALL_60), Signal.TIMINGS_CHANGED),
)


@dataclass(frozen=True)
class Taken:
    """How a fault was taken, in milliseconds; None: not within 5 s. ``live_while_lost``: frames wrongly told live."""

    told_ms: float | None
    recovered_ms: float | None
    live_while_lost: int


def take(watched: Watched, fault: Fault) -> Taken:
    """Bring the fault about, wait until it is told, end it, and wait for a good frame."""
    before, first, since_s = watched.grabber.status, len(watched.frames), time.monotonic()
    fault.inject()

    def told_s() -> float | None:
        if fault.signal is not None:
            return watched.told_s(fault.signal, since_s)
        has_risen = getattr(watched.grabber.status, fault.counted) > getattr(before, fault.counted)
        return time.monotonic() if has_risen else None

    watched.until(lambda: told_s() is not None, 5)
    at_s, live_while_lost, over_s = told_s(), 0, None
    if fault.end is not None:
        if fault.signal is not None:
            time.sleep(2 * SETTLED_S)
        over_s = time.monotonic()
        fault.end()
        if at_s is not None and fault.signal is not None:
            flags = [frame.flags for frame in watched.frames[first:] if at_s + SETTLED_S < frame.at_s < over_s]
            live_while_lost = sum(flag is FrameFlag.NONE for flag in flags)
    over_s = over_s or at_s or since_s
    watched.until(watched.good_after(over_s), 5)
    good_s = next((f.at_s for f in watched.frames[first:] if f.at_s > over_s and f.flags is FrameFlag.NONE), None)
    return Taken(
        None if at_s is None else (at_s - since_s) * 1000,
        None if good_s is None else (good_s - over_s) * 1000,
        live_while_lost,
    )


def many(watched: Watched, name: str, faults: tuple[Fault, ...], count: int) -> None:
    """So many faults in a row, in turn; each must be told by its name and be over before the next."""
    missed: list[str] = []
    taken: dict[str, list[Taken]] = defaultdict(list)
    before = held()
    for i in range(count):
        fault = faults[i % len(faults)]
        now = take(watched, fault)
        if now.told_ms is None or now.recovered_ms is None or now.live_while_lost:
            missed.append(f"{i} {fault.name}: {now}")
        taken[fault.name].append(now)
    after = held()
    for fault_name, all_of_it in taken.items():
        told = [one.told_ms for one in all_of_it if one.told_ms is not None]
        recovered = [one.recovered_ms for one in all_of_it if one.recovered_ms is not None]
        tell(
            fault=f"{name}: {fault_name}",
            count=len(all_of_it),
            told_ms=[median(told), max(told)] if told else None,
            recovered_ms=[median(recovered), max(recovered)] if recovered else None,
        )
    tell(fault=name, count=count, missed=missed, held_before=before, held_after=after)


def drops(watched: Watched) -> None:
    """Three times the driver's own count against the kernel's numbers."""
    for percent in (10, 30, 60):
        before, earlier = watched.settled()
        turn(DROPPED, percent)
        time.sleep(2)
        turn(DROPPED, 0)
        after, sequences = watched.settled()
        gaps = sum(b - a - 1 for a, b in pairwise(sequences[len(earlier) - 1 :]))
        counted, frames = after.dropped - before.dropped, len(sequences) - len(earlier)
        tell(fault=f"{percent} % dropped", counted=counted, gaps=gaps, frames=frames)


def timings(watched: Watched) -> None:
    """Another size goes on by itself; an interlaced one is refused by name."""
    infos = []
    for choice in (SMALL_OTHER, SMALL_60):
        since_s, before = time.monotonic(), watched.grabber.info
        turn(DV_TIMINGS, choice)
        watched.until(lambda before=before: watched.grabber.info != before)
        told_s = time.monotonic()
        watched.until(watched.good_after(told_s))
        shapes = {frame.shape for frame in watched.frames if frame.at_s > told_s + SETTLED_S}
        info = watched.grabber.info
        infos.append([info.width_px, info.height_px])
        tell(fault=f"timings {choice}", took_ms=(told_s - since_s) * 1000, shapes=sorted(shapes), info=infos[-1])
    refused = take(
        watched,
        Fault(
            "interlaced",
            lambda: turn(DV_TIMINGS, INTERLACED),
            Signal.OUT_OF_RANGE,
            end=lambda: turn(DV_TIMINGS, SMALL_60),
        ),
    )
    tell(fault="interlaced", **vars(refused))


def wraps() -> None:
    for fault, control in (("sequence wraps", WRAP_SEQUENCE), ("timestamp wraps", WRAP_TIMESTAMP)):
        turn(control)
        with Watched(HDMI) as watched:
            watched.until(lambda watched=watched: len(watched.frames) >= 300, 30)
            status, sequences = watched.settled()
        first, last = watched.frames[0], watched.frames[len(sequences) - 1]
        tell(
            fault=fault,
            frames=len(sequences),
            dropped=status.dropped,
            in_order=all(b > a for a, b in pairwise(sequences)),
            time_never_falls=all(b.t_s >= a.t_s for a, b in pairwise(watched.frames)),
            time_passed_share=(last.t_s - first.t_s) / (last.at_s - first.at_s),
            first=sequences[0],
            last=sequences[-1],
        )
        turn(control, 0)


def formats() -> None:
    """The grabber's still test picture (bars, white to black) in every format: how far it is from its kin's at most.

    In 8-bit levels; colours are weighed otherwise for gray (ITU-R BT.709) than for YUV (BT.601), white and black alike.
    """
    turn(OSD_TEXT, 2)
    kin: dict[str, NDArray[np.int16]] = {}
    for code in ("GREY", "Y10", "Y12", "Y16", "YUYV", "UYVY", "NV12", "RGB3", "BGR3"):
        with open_grabber(f"v4l2://{DEVICE}?input=0&format={code}") as grabber:
            frame = next(frame for frame in grabber if frame.flags is FrameFlag.NONE)
        picture = (frame.pixels >> (frame.bits - 8)).astype(np.int16)
        like = kin.setdefault("gray" if code in ("GREY", "Y10", "Y12", "Y16") else "colour", picture)
        away_from_gray, bar = abs(picture - kin["gray"]), picture.shape[1] // 8
        ends = [away_from_gray[:, 8 : bar - 8].max(), away_from_gray[:, 8 - bar : -8].max()]
        tell(fault=f"format {code}", bits=frame.bits, away=abs(picture - like).max(), ends_away=max(ends))
    turn(OSD_TEXT, 0)


def webcam() -> None:
    """The webcam input brings the rate that it is asked for."""
    for rate_hz in (30, 10):
        with Watched(f"v4l2://{DEVICE}?input=1&format=GREY&rate={rate_hz}") as watched:
            watched.until(lambda watched=watched: len(watched.frames) >= 25, 20)
            _, sequences = watched.settled()
            first, last = watched.frames[0], watched.frames[len(sequences) - 1]
        interval_s = (last.t_s - first.t_s) / (sequences[-1] - sequences[0])
        tell(fault=f"webcam at {rate_hz}/s", told_hz=watched.grabber.info.rate_hz, measured_hz=1 / interval_s)


def listed() -> None:
    """What `fluoroguide devices` tells, with a good and with a bad signal, and with an EDID of our own."""
    block = bytes.fromhex("00ffffffffffff00") + bytes(119)
    Path("/dev/shm/edid").write_bytes(block + bytes([-sum(block) % 256]))
    with open_grabber(f"{HDMI}&edid=/dev/shm/edid"):
        pass
    for mode in (SELECTED, 2):
        turn(DV_SIGNAL, mode)
        tell(fault=f"listed in mode {mode}", devices=[device.as_json() for device in devices()])
    turn(DV_SIGNAL, SELECTED)
    with open_grabber(WEBCAM):
        pass
    tell(fault="webcam listed", devices=[device.as_json() for device in devices()])


def main() -> None:
    turn(DV_TIMINGS, SMALL_60)
    turn(DV_SIGNAL, SELECTED)
    nothing_leaked()
    with Watched(HDMI) as watched:
        watched.until(watched.good_after(0.0))
        tell(fault="none", timestamp_is=watched.grabber.timestamp_is)
        for exercise in (drops, timings):
            exercise(watched)
        many(watched, "a thousand in a row", INPUT_FAULTS, 1000)
    wraps()
    formats()
    webcam()
    with Watched(WEBCAM) as watched:
        watched.until(watched.good_after(0.0))
        many(watched, "webcam", STREAM_FAULTS, 5 * len(STREAM_FAULTS))
    listed()
    nothing_leaked()


if __name__ == "__main__":
    main()
