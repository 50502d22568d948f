"""Kills a recorder again and again, at any moment, and counts what was lost: ``python -m tests.unit.casebook.kills``.

The killed process records noise of 1024 x 1024, 30 pictures a second, through the service's own queue and threads. Each
frame is told on its standard output when it is captured, so what the case lacks of it was lost.
"""

import argparse
import itertools
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from drivers.frame import Frame, SourceInfo, freeze
from guidance.casebook.archive import Archive, CaseState
from guidance.records import CasePlan
from guidance.service.capture import Captured, Case
from guidance.service.recording import Recording

RATE_HZ = 30.0


@dataclass(frozen=True, slots=True)
class Killed:
    """What became of one case. ``lost_s``: from the last frame that was kept until the last one that was captured."""

    captured: int
    kept: int
    damaged: int
    lost_s: float
    says_so: bool


def record_until_killed(root: Path, side_px: int) -> None:
    """Never ends by itself."""
    rng = np.random.default_rng()
    pictures = [freeze(rng.integers(90, 150, (side_px, side_px), dtype=np.uint8)) for _ in range(7)]
    stopping = threading.Event()
    recording = Recording(root, CasePlan(), stopping)
    case = Case("killed", SourceInfo("noise", side_px, side_px, 8, live=True))
    threading.Thread(target=recording.run, daemon=True).start()
    threading.Thread(target=sync_forever, args=(recording,), daemon=True).start()
    began_s = time.monotonic()
    for number in itertools.count():
        t_s = time.monotonic() - began_s
        lost = recording.not_recorded
        recording.put(Captured(case, Frame(pictures[number % 7], t_s, number), time.monotonic()))
        if recording.not_recorded == lost:
            print(f"{number} {t_s:.6f}", flush=True)
        time.sleep(max(0.0, (number + 1) / RATE_HZ - (time.monotonic() - began_s)))


def sync_forever(recording: Recording) -> None:
    while True:
        recording.sync()


def kill_once(root: Path, after_s: float, side_px: int = 1024) -> Killed:
    """Record into an empty archive, kill, and look."""
    command = [sys.executable, "-m", "tests.unit.casebook.kills", "--record", str(root), "--side", str(side_px)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        threading.Timer(after_s, process.send_signal, (signal.SIGKILL,)).start()
        told = [line for line in (first + process.stdout.read()).splitlines(keepends=True) if line.endswith("\n")]
    times_s = {int(number): float(t_s) for number, t_s in (line.split() for line in told)}
    with Archive(root).open("killed") as case:
        damaged = case.damaged_frames()
        kept = [case.frame(number).sequence for number in range(len(case)) if number not in damaged]
        says_so = case.state is CaseState.BROKEN_OFF and bool(case.missing)
    last_kept_s = times_s.get(max(kept, default=-1), 0.0)
    lost_s = max(0.0, max(times_s.values()) - last_kept_s)
    return Killed(len(times_s), len(kept), len(damaged), lost_s, says_so)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--record", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--side", type=int, default=1024)
    options = parser.parse_args()
    if options.record is not None:
        record_until_killed(options.record, options.side)
    runs = []
    for number in range(options.times):
        with tempfile.TemporaryDirectory() as folder:
            runs.append(kill_once(Path(folder), random.uniform(0.05, 2.0), options.side))
        print(number, runs[-1], flush=True)
    lost_s = sorted(run.lost_s for run in runs)
    print(f"{len(runs)} kills: lost median {lost_s[len(lost_s) // 2]:.3f} s, most {lost_s[-1]:.3f} s")
    print(f"damaged frames {sum(run.damaged for run in runs)}; said to have broken off {sum(r.says_so for r in runs)}")


if __name__ == "__main__":
    main()
