"""Runs inside the virtual machine: faults injected into the kernel's virtual grabber, and how the driver takes each.

Writes one JSON object a fault to /mnt/results.jsonl. Expectations stand in the test, not here. vivid's controls:
https://docs.kernel.org/admin-guide/media/vivid.html
"""

import time
from itertools import pairwise

from drivers import v4l2_kernel as v4l2
from drivers.frame import FrameFlag
from drivers.signal import Signal, SourceStatus
from drivers.v4l2_kernel import DeviceNode
from tests.v4l2.watched import Watched, nothing_leaked, tell

CONTROLS = 0x00F0F000
DV_SIGNAL, DV_TIMINGS = CONTROLS + 0x3E, CONTROLS + 0x3F
DROPPED, DISCONNECT, BUFFER_ERROR = CONTROLS + 0x40, CONTROLS + 0x41, CONTROLS + 0x42
QBUF_ERROR, STREAMON_ERROR, FATAL = CONTROLS + 0x44, CONTROLS + 0x45, CONTROLS + 0x46
WRAP_SEQUENCE, WRAP_TIMESTAMP = CONTROLS + 0x26, CONTROLS + 0x27
DEVICE = "/dev/video0"

SMALL_60, SMALL_OTHER = 0, 2
"""Timings of vivid's list: 640x480p60 and 720x480p60."""


def turn(control: int, value: int = 1) -> None:
    """Set a control, through a descriptor of its own: a device that is disconnected returns when all are closed."""
    node = DeviceNode(DEVICE)
    try:
        node.call(v4l2.S_CTRL, v4l2.Control(id=control, value=value))
    finally:
        node.close()


def input_faults(watched: Watched) -> None:
    for fault, mode, signal in (
        ("no signal", 1, Signal.NO_SIGNAL),
        ("no lock", 2, Signal.NO_LOCK),
        ("out of range", 3, Signal.OUT_OF_RANGE),
    ):
        turn(DV_SIGNAL, mode)
        told_ms = watched.until(watched.says(signal))
        lost_s = time.monotonic()
        time.sleep(0.5)
        live_while_lost = sum(flags is FrameFlag.NONE for flags in watched.flags_after(lost_s + 0.05))
        turn(DV_SIGNAL, 0)
        back_s = time.monotonic()
        good_ms = watched.until(watched.good_after(back_s))
        tell(fault=fault, state=signal, told_ms=told_ms, live_while_lost=live_while_lost, recovered_ms=good_ms)


def timings_change(watched: Watched) -> None:
    before = watched.grabber.info
    turn(DV_TIMINGS, SMALL_OTHER)
    turn(DV_SIGNAL, 4)
    since_s = time.monotonic()
    told_ms = watched.until(lambda: watched.grabber.info != before)
    good_ms = watched.until(watched.good_after(since_s))
    after = watched.grabber.info
    shapes = sorted({frame.shape for frame in watched.frames if frame.at_s > since_s + (told_ms or 0) / 1000})
    tell(
        fault="timings change",
        told_ms=told_ms,
        recovered_ms=good_ms,
        before=[before.width_px, before.height_px],
        after=[after.width_px, after.height_px],
        shapes=shapes,
        restarts=watched.grabber.status.restarts,
    )
    turn(DV_TIMINGS, SMALL_60)
    watched.until(lambda: watched.grabber.info == before)
    watched.until(watched.good_after(time.monotonic()))


def drops(watched: Watched) -> None:
    before, earlier = watched.settled()
    turn(DROPPED, 30)
    time.sleep(4)
    turn(DROPPED, 0)
    after, sequences = watched.settled()
    gaps = sum(b - a - 1 for a, b in pairwise(sequences[len(earlier) - 1 :]))
    tell(fault="30 % dropped", counted=after.dropped - before.dropped, gaps=gaps, frames=len(sequences) - len(earlier))


def corrupt_buffer(watched: Watched) -> None:
    since_s, before = time.monotonic(), watched.grabber.status.corrupt
    turn(BUFFER_ERROR)
    told_ms = watched.until(lambda: watched.grabber.status.corrupt > before)
    good_ms = watched.until(watched.good_after(time.monotonic()))
    corrupt = sum(bool(flags & FrameFlag.CORRUPT) for flags in watched.flags_after(since_s))
    tell(fault="corrupt buffer", told_ms=told_ms, recovered_ms=good_ms, flagged=corrupt)


def stream_errors(watched: Watched) -> None:
    for fault, controls in (
        ("fatal stream error", (FATAL,)),
        ("buffer refused", (QBUF_ERROR,)),
        ("stream refused to start", (STREAMON_ERROR, FATAL)),
    ):
        before = watched.grabber.status.restarts
        for control in controls:
            turn(control)
        since_s = time.monotonic()
        told_ms = watched.until(lambda before=before: watched.grabber.status.restarts > before)
        good_ms = watched.until(watched.good_after(since_s + (told_ms or 0) / 1000))
        tell(fault=fault, told_ms=told_ms, recovered_ms=good_ms)


def disconnect(watched: Watched) -> None:
    since_s = time.monotonic()
    turn(DISCONNECT)
    told_ms = watched.until(lambda: watched.grabber.status.restarts > 0 or watched.says(Signal.UNPLUGGED)())
    good_ms = watched.until(watched.good_after(since_s + 0.1))
    tell(fault="disconnect", told_ms=told_ms, recovered_ms=good_ms)


def many(watched: Watched, count: int = 1000) -> None:
    """So many faults in a row, in turn; each must be told by its name and be over before the next."""
    missed: list[str] = []
    slowest_ms = 0.0
    for i in range(count):
        name, control, value, signal = FAULTS[i % len(FAULTS)]
        before = watched.grabber.status
        turn(control, value)
        told_ms = watched.until(lambda signal=signal, before=before: has_told(watched, signal, before), 5)
        if told_ms is None:
            missed.append(f"{i} {name}")
        slowest_ms = max(slowest_ms, told_ms or 0.0)
        if control == DV_SIGNAL:
            turn(DV_SIGNAL, 0)
        if watched.until(watched.good_after(time.monotonic()), 5) is None:
            missed.append(f"{i} after {name}")
    tell(fault="many in a row", count=count, missed=missed, slowest_ms=slowest_ms)


FAULTS = (
    ("no signal", DV_SIGNAL, 1, Signal.NO_SIGNAL),
    ("no lock", DV_SIGNAL, 2, Signal.NO_LOCK),
    ("out of range", DV_SIGNAL, 3, Signal.OUT_OF_RANGE),
    ("corrupt buffer", BUFFER_ERROR, 1, None),
    ("fatal stream error", FATAL, 1, Signal.STREAM_ERROR),
    ("buffer refused", QBUF_ERROR, 1, Signal.STREAM_ERROR),
)
"""Name, control, its value, and the state that it must come to; None: a damaged frame."""


def has_told(watched: Watched, signal: Signal | None, before: SourceStatus) -> bool:
    now = watched.grabber.status
    if signal is None:
        return now.corrupt > before.corrupt
    return now.restarts > before.restarts if signal is Signal.STREAM_ERROR else now.signal is signal


def wraps() -> None:
    for fault, control, value in (("sequence wraps", WRAP_SEQUENCE, 1), ("timestamp wraps", WRAP_TIMESTAMP, 2)):
        turn(control, value)
        with Watched(f"v4l2://{DEVICE}?input=0&format=GREY") as watched:
            watched.until(lambda watched=watched: len(watched.frames) >= 200, 30)
            status, sequences = watched.settled()
        times = [frame.t_s for frame in watched.frames]
        tell(
            fault=fault,
            frames=len(sequences),
            dropped=status.dropped,
            in_order=all(b > a for a, b in pairwise(sequences)),
            time_never_falls=all(b >= a for a, b in pairwise(times)),
            first=sequences[0],
            last=sequences[-1],
        )
        turn(control, 0)


def main() -> None:
    turn(DV_TIMINGS, SMALL_60)
    turn(DV_SIGNAL, 4)
    nothing_leaked()
    with Watched(f"v4l2://{DEVICE}?input=0&format=GREY") as watched:
        tell(fault="none", started_ms=watched.until(watched.good_after(0.0)), timestamp_is=watched.grabber.timestamp_is)
        for exercise in (input_faults, drops, corrupt_buffer, timings_change, stream_errors, disconnect, many):
            exercise(watched)
    wraps()
    nothing_leaked()


if __name__ == "__main__":
    main()
