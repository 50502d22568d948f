"""How long a frame takes through the pipeline that ``serve`` runs, stage by stage, beside OpenCV's usual tools.

The frames are the phantom's, decoded beforehand; each is a new pulse, so that nothing is skipped. The comparison
runs on the same frames in the same process with one thread.
"""

import platform
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from time import perf_counter_ns
from typing import Any

import cv2
import numpy as np

import guidance
from drivers.frame import Frame
from guidance.evaluation.capture_bench import HEIGHT_PX, RATE_HZ, WIDTH_PX, CaptureCost, capture_cost
from guidance.phantom.source import PhantomSource
from guidance.safety.alarms import Watch
from guidance.settings import Settings
from guidance.vision.pipeline import Pipeline
from guidance.wire import findings_json

SCENARIO = "leak_foramen"
"""Contrast, a needle and cement within 14 s: all stages have work to do."""
WARM_UP_FRAMES = 5
PERCENTILES = (50, 90, 99)
CAPTURE = f"{WIDTH_PX} x {HEIGHT_PX} at {RATE_HZ}/s"


@dataclass(frozen=True, slots=True)
class Report:
    """Milliseconds by stage, one row a stage, each with p50, p90, p99 and max; and what a grabber's frames cost."""

    size_px: int
    frames: int
    stages: dict[str, dict[str, float]]
    compared: dict[str, dict[str, float]]
    capture: dict[str, CaptureCost]

    def as_json(self) -> dict[str, Any]:
        """The report with the machine and the versions that it holds for."""
        return {
            "schema": 1,
            "software": f"fluoroguide {guidance.__version__}",
            "machine": f"{platform.machine()}, Python {platform.python_version()}, OpenCV {cv2.__version__}",
            "size_px": self.size_px,
            "frames": self.frames,
            "stages_ms": self.stages,
            "compared_ms": self.compared,
            "capture": {code: asdict(cost) for code, cost in self.capture.items()},
        }

    def as_table(self) -> str:
        """The same for a reader."""
        lines = [f"{self.frames} pulses of {self.size_px} x {self.size_px}, milliseconds", ""]
        for title, rows in (("stage", self.stages), ("OpenCV, same frames", self.compared)):
            lines.append(f"{title:28}" + "".join(f"{name:>9}" for name in ("p50", "p90", "p99", "max")))
            lines += [f"{name:28}" + "".join(f"{value:9.2f}" for value in row.values()) for name, row in rows.items()]
            lines.append("")
        lines.append(f"{'a grabber of ' + CAPTURE:28}{'KiB':>9}{'p50':>9}{'max':>9}{'% of a core':>13}")
        for code, cost in self.capture.items():
            lines.append(f"{code:28}{cost.frame_kib:9}{cost.p50_ms:9.2f}{cost.max_ms:9.2f}{cost.core_percent:13.1f}")
        return "\n".join(lines)


def bench(size_px: int, frames: int) -> Report:
    """Time ``frames`` pulses of the scenario, or all it has, at ``size_px`` a side."""
    pulses, source = _pulses(size_px, frames + WARM_UP_FRAMES)
    spent: dict[str, list[float]] = defaultdict(list)
    last = 0

    def lap(stage: str) -> None:
        nonlocal last
        now = perf_counter_ns()
        spent[stage].append((now - last) / 1e6)
        last = now

    pipeline = Pipeline(source.plan, source.info, on_stage=lap)
    watch = Watch(Settings().limits(), Settings().timing())
    for number, frame in enumerate(pulses):
        if number == WARM_UP_FRAMES:
            spent.clear()
        begin = last = perf_counter_ns()
        findings = pipeline.step(frame)
        watch.step(findings)
        lap("rules and alarms")
        findings_json(findings)
        lap("as JSON")
        spent["whole"].append((perf_counter_ns() - begin) / 1e6)
    timed = len(pulses) - WARM_UP_FRAMES
    stages = {stage: _summary(ms) for stage, ms in spent.items()}
    pictures = [np.asarray(frame.pixels, np.uint8) for frame in pulses]
    return Report(size_px, timed, stages, _compare(pulses), capture_cost(pictures, timed))


def _pulses(size_px: int, count: int) -> tuple[list[Frame], PhantomSource]:
    """The first ``count`` distinct pulses, and the source with its plan and info."""
    pulses: list[Frame] = []
    with PhantomSource(SCENARIO, size_px=size_px) as source:
        for frame in source:
            if not pulses or not np.array_equal(frame.pixels, pulses[-1].pixels):
                pulses.append(frame)
            if len(pulses) == count:
                break
        return pulses, source


def _compare(pulses: list[Frame]) -> dict[str, dict[str, float]]:
    """What an engineer would otherwise reach for, on the same 8-bit pictures."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    subtractor = cv2.createBackgroundSubtractorMOG2()
    first = pulses[0].pixels.astype(np.float32)
    window = cv2.createHanningWindow(first.shape[::-1], cv2.CV_32F)
    tools: dict[str, Callable[[Any], Any]] = {
        "phaseCorrelate": lambda p: cv2.phaseCorrelate(first, p.astype(np.float32), window),
        "BackgroundSubtractorMOG2": subtractor.apply,
        "Canny and HoughLinesP": lambda p: cv2.HoughLinesP(cv2.Canny(p, 50, 150), 1, np.pi / 180, 80),
    }
    compared = {}
    for name, tool in tools.items():
        spent = []
        for frame in pulses[:: max(1, len(pulses) // 30)]:
            begin = perf_counter_ns()
            tool(frame.pixels)
            spent.append((perf_counter_ns() - begin) / 1e6)
        compared[name] = _summary(spent)
    cv2.setNumThreads(threads)
    return compared


def _summary(ms: list[float]) -> dict[str, float]:
    figures = {f"p{p}": float(np.percentile(ms, p)) for p in PERCENTILES}
    return {name: round(value, 3) for name, value in {**figures, "max": max(ms)}.items()}
