"""How long a frame takes from where it is handed in until its alerts and its findings can be told, stage by stage.

The interpreter is taken as it is: whoever wants the figures of ``serve`` tunes it alike (``tune_interpreter``).
"""

import resource
import sys
import tracemalloc
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns, process_time_ns, thread_time_ns
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from guidance.bench.pulses import Pulses, densities_of
from guidance.safety.alarms import Watch
from guidance.settings import Settings
from guidance.vision.pipeline import Lap, Pipeline
from guidance.wire import findings_message

PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9)
RULES: Final = "rules and alarms"
TOLD: Final = "until alerts can be told"
WHOLE: Final = "whole"
SETTLED_FRAMES: Final = 30
"""So many frames into a procedure all that is kept from one frame to the next has its size."""
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Of many times in milliseconds, or of many sizes."""

    p50: float
    p90: float
    p99: float
    p999: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float] | NDArray[np.float64]) -> Self:
        return cls(*(round(float(v), 3) for v in (*np.percentile(values, PERCENTILES), max(values))))


@dataclass(frozen=True, slots=True)
class AnalysisFigures:
    """What the analysis of ``frames`` frames took. ``work_px``: width and height of what the stages look at.

    ``stages_ms``: by stage, those from the frame until its alerts can be told together, and the ``whole``, with what is
    done after them; the first frame of each procedure, for which the field is looked for and everything is laid out, is
    in ``first_ms`` alone. ``cpu_ms``: of all threads, a frame; ``slowest_cpu_ms``: the processor time of the frame that
    took longest, which is less where something else had the processor. ``allocated_mib``: the most
    that a frame has had of memory at once beyond what it began with; ``faults``: pages a frame that the system had to
    give anew. ``resident_mib``: of the process after the first tenth of the frames, and at their end.
    """

    name: str
    work_px: tuple[int, int]
    frames: int
    stages_ms: dict[str, Quantiles]
    first_ms: float
    cpu_ms: float
    slowest_cpu_ms: float
    frames_per_s: float
    allocated_mib: Quantiles
    faults: float
    resident_mib: tuple[float, float]
    peak_mib: float


def time_analysis(pulses: Pulses, frames: int) -> AnalysisFigures:
    """The figures of ``frames`` frames; the procedure begins anew, as another case, as often as that needs."""
    allocated_mib = _allocated_mib(pulses)
    times = _Times(frames)
    resident_mib: list[float] = []
    with tqdm(total=frames, unit=" frames", disable=None, desc=pulses.name) as progress:
        wall_ns, cpu_ns, faults = perf_counter_ns(), process_time_ns(), _page_faults()
        while times.done < frames:
            analysis = _Analysis(pulses, times.lap)
            for number in range(min(len(pulses.frames), frames - times.done)):
                times.begin()
                analysis.take(number)
                times.end(is_first=number == 0)
                if times.done in (max(1, frames // 10), frames):
                    resident_mib.append(_resident_mib())
            progress.update(times.done - progress.n)
        wall_ns, cpu_ns = perf_counter_ns() - wall_ns, process_time_ns() - cpu_ns
        faults = _page_faults() - faults
    (density,) = densities_of(pulses, 1)
    height_px, width_px = density.shape
    return AnalysisFigures(
        pulses.name,
        (width_px, height_px),
        frames,
        times.quantiles(),
        round(times.first_ms, 1),
        round(cpu_ns / frames / 1e6, 2),
        round(times.slowest_cpu_ms, 1),
        round(frames / wall_ns * 1e9, 1),
        allocated_mib,
        round(faults / frames, 1),
        (resident_mib[0], resident_mib[-1]),
        _peak_mib(),
    )


class _Times:
    """What each stage of each frame takes, in memory that is all there from the beginning: what grows is not this."""

    def __init__(self, frames: int) -> None:
        self.done = 0
        self.first_ms = self.slowest_cpu_ms = 0.0
        self._slowest_ms = 0.0
        # 0 where a frame has not had the stage.
        self._spent_ms: dict[str, NDArray[np.float64]] = defaultdict(lambda: np.full(frames, 0.0))
        self._told_ms, self._whole_ms = np.full((2, frames), 0.0)

    def begin(self) -> None:
        self._thread_ns = thread_time_ns()
        self._begin_ns = self._last_ns = perf_counter_ns()

    def lap(self, stage: str) -> None:
        now_ns = perf_counter_ns()
        self._spent_ms[stage][self.done] += (now_ns - self._last_ns) / 1e6
        if stage == RULES:
            self._told_ms[self.done] = (now_ns - self._begin_ns) / 1e6
        self._last_ns = now_ns

    def end(self, is_first: bool) -> None:
        """``is_first``: of its procedure; kept apart."""
        whole_ms = (perf_counter_ns() - self._begin_ns) / 1e6
        if is_first:
            self.first_ms = max(self.first_ms, whole_ms)
            for spent_ms in (*self._spent_ms.values(), self._told_ms):
                spent_ms[self.done] = 0.0
        else:
            self._whole_ms[self.done] = whole_ms
            if whole_ms > self._slowest_ms:
                self._slowest_ms, self.slowest_cpu_ms = whole_ms, (thread_time_ns() - self._thread_ns) / 1e6
        self.done += 1

    def quantiles(self) -> dict[str, Quantiles]:
        """By stage, of the frames that had it."""
        by_stage = self._spent_ms | {TOLD: self._told_ms, WHOLE: self._whole_ms}
        return {stage: Quantiles.of(spent_ms[spent_ms > 0]) for stage, spent_ms in by_stage.items()}


class _Analysis:
    """Pipeline, rules and alarms of one procedure, with a lap after each."""

    def __init__(self, pulses: Pulses, lap: Lap) -> None:
        self._frames, self._lap = pulses.frames, lap
        self._pipeline = Pipeline(pulses.plan, pulses.info, on_stage=lap)
        settings = Settings()
        self._watch = Watch(settings.limits(pulses.plan), settings.timing())

    def take(self, number: int) -> None:
        findings = self._pipeline.step(self._frames[number])
        self._watch.step(findings)
        self._lap(RULES)
        findings_message(findings).model_dump_json()
        self._lap("as JSON")
        self._pipeline.settle()


def _allocated_mib(pulses: Pulses) -> Quantiles:
    """The most that each frame has had at once of what NumPy, OpenCV's pictures and Python allocate.

    Beyond what was there before it, once all that stays has been made. Apart from the timing, which it slows down.
    """
    most: list[float] = []
    analysis = _Analysis(pulses, lambda stage: None)
    tracemalloc.start()
    try:
        for number in range(len(pulses.frames)):
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            analysis.take(number)
            _, peak = tracemalloc.get_traced_memory()
            if number >= min(SETTLED_FRAMES, len(pulses.frames) - 1):
                most.append((peak - before) / _MIB)
    finally:
        tracemalloc.stop()
    return Quantiles.of(most)


def _resident_mib() -> float:
    """Of this process; where the system does not tell it, the most that it ever was."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except FileNotFoundError:
        return _peak_mib()
    return round(pages * resource.getpagesize() / _MIB, 1)


def _page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def _peak_mib() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _MIB, 1)
