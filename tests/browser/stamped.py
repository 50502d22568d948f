"""The real service on pulses that were rendered beforehand, each with the moment of its capture in its own pixels.

    python -m tests.browser.stamped PULSES.npy [--pulse-hz N]

Rendering an x-ray pulse costs more than there is time for between two, so ``render`` does it once. When all have been
shown the last ones go to and fro, with everything that is watched in sight.
"""

import argparse
import json
import sys
import threading
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
from tqdm import tqdm

from drivers.frame import Frame, SourceInfo, freeze
from drivers.signal import Signal, SourceStatus, StatusNote
from guidance.phantom.procedure import Procedure
from guidance.phantom.scenario import load_scenario
from guidance.plan import load_plan
from guidance.service import run_service
from guidance.settings import Settings
from tests.browser import barcode

SCENARIO: Final = Path(__file__).with_name("latency.toml")
VIDEO_HZ: Final = 30
TO_AND_FRO_S: Final = 2.0
TICK_S: Final = 1e-4
"""What the barcode counts in."""


def stamp_of(at_s: float) -> int:
    """The barcode's number for a moment of the monotonic clock."""
    return round(at_s / TICK_S) % (1 << barcode.BITS)


def since_s(stamp: int, at_s: float) -> float:
    """Seconds from the stamped moment until ``at_s``."""
    return (round(at_s / TICK_S) - stamp) % (1 << barcode.BITS) * TICK_S


def render(path: Path, scenario: Path = SCENARIO) -> None:
    """Write the scenario's pulses, shape (n, height, width) uint8, to a .npy file, and its plan beside it."""
    procedure = Procedure(load_scenario(scenario))
    width, height = procedure.size_px
    count = len(procedure.moments)
    pulses = np.lib.format.open_memmap(path, "w+", np.uint8, (count, height, width))
    for number, (_, pixels) in enumerate(tqdm(procedure.frames(), total=count, unit=" pulses", disable=None)):
        pulses[number] = pixels
    pulses.flush()
    path.with_suffix(".json").write_text(json.dumps(procedure.plan), encoding="utf-8")


class StampedPulses:
    """The pulses as a live source of 30 frames a second, a new pulse ``pulse_hz`` times a second."""

    def __init__(self, path: Path, pulse_hz: float) -> None:
        self._path = path
        self._each = round(VIDEO_HZ / pulse_hz)
        self._stopping = threading.Event()
        self._note = StatusNote()
        self._pulses: np.ndarray | None = None

    @property
    def info(self) -> SourceInfo:
        assert self._pulses is not None, "not opened yet"
        _, height, width = self._pulses.shape
        return SourceInfo("stamped pulses", width, height, bits=8, live=True, rate_hz=VIDEO_HZ)

    @property
    def status(self) -> SourceStatus:
        return self._note.status

    def stop(self) -> None:
        self._stopping.set()

    def __enter__(self) -> Self:
        self._pulses = np.load(self._path, mmap_mode="r")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pulses = None

    def __iter__(self) -> Iterator[Frame]:
        assert self._pulses is not None, "not opened yet"
        due_s = start_s = time.monotonic()
        for sequence, pulse in enumerate(_order(len(self._pulses), self._each)):
            if self._stopping.wait(max(0.0, due_s - time.monotonic())):
                return
            due_s = max(due_s, time.monotonic() - 1 / VIDEO_HZ) + 1 / VIDEO_HZ
            pixels = np.array(self._pulses[pulse])
            captured_s = time.monotonic()
            barcode.write(pixels, stamp_of(captured_s))
            self._note.say(Signal.LIVE)
            self._note.count(frames=1)
            yield Frame(freeze(pixels), captured_s - start_s, sequence)


def _order(count: int, each: int) -> Iterator[int]:
    """Which pulse every frame shows: all in their time, then the last ones to and fro."""
    yield from (number // each * each for number in range(count))
    last = range(count - round(TO_AND_FRO_S * VIDEO_HZ), count)
    for number in cycle((*last[-2::-1], *last[1:])):
        yield number // each * each


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.stamped", description=__doc__)
    parser.add_argument("pulses", type=Path)
    parser.add_argument("--pulse-hz", type=float, default=VIDEO_HZ)
    options = parser.parse_args()
    plan = load_plan(options.pulses.with_suffix(".json"))
    source = StampedPulses(options.pulses, options.pulse_hz)
    return run_service(lambda: source, plan, Settings(), port=0, bus_port=0)


if __name__ == "__main__":
    sys.exit(main())
