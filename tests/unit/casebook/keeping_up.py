"""Whether recording keeps up while everything else runs: ``python -m tests.unit.casebook.keeping_up``.

The whole service watches a phantom's pulses with fresh noise in every frame, as an analogue input gives them: no frame
is the same as the one before, so every one must be encoded.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from drivers.frame import Frame, Pixels, SourceInfo, freeze
from guidance.bus.messages import HealthBody, HealthEnvelope
from guidance.bus.subscriber import Subscriber
from guidance.casebook.archive import Archive
from guidance.opening import open_spec
from guidance.records import CasePlan
from guidance.service import Service
from guidance.settings import Settings

SCENARIO = "phantom://leak_foramen?size=1024"
NOISY_FRAMES = 60


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a recording came to. ``latency_ms``: of the findings, median and 99th percentile."""

    frames: int
    not_recorded: int
    not_analysed: int
    damaged: int
    latency_ms: tuple[float, float]
    kib_a_frame: float

    def __str__(self) -> str:
        return (
            f"{self.frames} frames, {self.not_recorded} not recorded, {self.damaged} damaged, "
            f"{self.not_analysed} not analysed; findings {self.latency_ms[0]:.0f} ms old (median), "
            f"{self.latency_ms[1]:.0f} (99th percentile); {self.kib_a_frame:.0f} KiB a frame"
        )


class NoisyFrames:
    """A source that plays the same pictures again and again, none like the one before."""

    def __init__(self, pictures: list[Pixels], rate_hz: float, seconds: float) -> None:
        self._pictures = pictures
        self._rate_hz = rate_hz
        self._count = round(seconds * rate_hz)
        height_px, width_px = pictures[0].shape
        self.info = SourceInfo("noise", width_px, height_px, 8, live=False, rate_hz=rate_hz)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def __iter__(self) -> Iterator[Frame]:
        for number in range(self._count):
            yield Frame(self._pictures[number % len(self._pictures)], number / self._rate_hz, number)


def noisy_pictures(width_px: int, height_px: int) -> list[Pixels]:
    """Pulses of the phantom, each with the noise of a digitizer on it, cut or widened to the size."""
    rng = np.random.default_rng(8)
    pictures: list[Pixels] = []
    with open_spec(SCENARIO) as source:
        for frame in source:
            wide = np.zeros((height_px, width_px), np.uint8)
            h, w = min(height_px, 1024), min(width_px, 1024)
            left = (width_px - w) // 2
            wide[:h, left : left + w] = frame.pixels[:h, :w]
            noise = rng.normal(0, 2, wide.shape)
            pictures.append(freeze(np.clip(wide + noise, 0, 255).astype(np.uint8)))
            if len(pictures) == NOISY_FRAMES:
                return pictures
    raise RuntimeError(f"{SCENARIO} has fewer than {NOISY_FRAMES} frames")


def record(root: Path, width_px: int, height_px: int, rate_hz: float, seconds: float) -> Recorded:
    """Run the service on such frames into an empty archive, and look at what it has kept."""
    pictures = noisy_pictures(width_px, height_px)
    latencies_ms: list[float] = []
    health: HealthBody | None = None
    service = Service(
        lambda: NoisyFrames(pictures, rate_hz, seconds), CasePlan(), Settings(), port=0, bus_port=0, archive=root
    )
    with service, Subscriber(service.endpoints) as reader:
        until_s = time.monotonic() + seconds + 60
        while time.monotonic() < until_s:
            message = reader.receive(timeout_s=0.5)
            if isinstance(message, HealthEnvelope):
                health = message.body
                latencies_ms += [] if health.latency_ms is None else [health.latency_ms]
                if health.frames >= round(seconds * rate_hz):
                    break
        time.sleep(1)
    assert health is not None
    (entry,) = Archive(root).cases()
    with Archive(root).open(entry.id) as case:
        damaged = case.damaged_frames()
        not_recorded = round(seconds * rate_hz) - len(case)
    median, high = np.percentile(latencies_ms, [50, 99])
    return Recorded(
        entry.frames,
        not_recorded,
        health.dropped,
        len(damaged),
        (float(median), float(high)),
        entry.bytes / 1024 / entry.frames,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    for width_px, height_px, rate_hz in ((1024, 1024, 30.0), (1920, 1080, 60.0)):
        with tempfile.TemporaryDirectory() as folder:
            done = record(Path(folder) / "archive", width_px, height_px, rate_hz, options.seconds)
        sys.stdout.write(f"{width_px} x {height_px} at {rate_hz:g}/s: {done}\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
