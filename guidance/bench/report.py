"""The bench's figures, for a terminal, a program, and docs/performance.md."""

import importlib.metadata
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import guidance
from guidance.bench.analysis import TOLD, AnalysisFigures, Quantiles
from guidance.bench.grabbers import HEIGHT_PX, RATE_HZ, WIDTH_PX, CaptureCost
from guidance.bench.kernels import KernelFigures
from guidance.bench.pulses import RATE_HZ as PULSE_HZ
from guidance.bench.recording import ReplayFigures, StartFigures
from guidance.bench.service import ServiceFigures
from guidance.bench.tools import ToolFigures

QUANTILES: Final = ("p50", "p90", "p99", "p99.9", "max")
VERSIONS: Final = ("numpy", "numba", "opencv-python-headless", "scikit-image", "scipy")
CASE_WORDS: Final = (
    f"`work scale`: what the stages look at, which the cost grows with; p50 to max: {TOLD}; `CPU`: with all that is "
    "done after that. `at once`: the most memory that a frame has had beyond what stays, median and p99; `faults`: "
    "pages of memory a frame that came anew from the system; `peak`: of the process, the rendered frames among it.\n"
)
Row = Sequence[str]


@dataclass(frozen=True, slots=True)
class Machine:
    """What the figures hold for."""

    processor: str
    cores: int
    python: str
    versions: dict[str, str]
    software: str = f"fluoroguide {guidance.__version__}"

    @classmethod
    def here(cls) -> "Machine":
        return cls(_processor(), len(os.sched_getaffinity(0)), platform.python_version(), dict(_versions()))


@dataclass(frozen=True, slots=True)
class Report:
    """All that was timed; what was not is empty or None."""

    machine: Machine
    analysis: Sequence[AnalysisFigures]
    tools: Sequence[ToolFigures] = ()
    kernels: Sequence[KernelFigures] = ()
    capture: dict[str, CaptureCost] = field(default_factory=dict)
    services: Sequence[ServiceFigures] = ()
    replays: Sequence[ReplayFigures] = ()
    start: StartFigures | None = None

    def as_json(self) -> dict[str, Any]:
        return {"schema": 3, **asdict(self)}

    def as_text(self) -> str:
        """For a terminal."""
        return "\n\n".join(f"{table.title}\n\n{table.as_text()}" for table in self._tables())

    def as_markdown(self) -> str:
        """docs/performance.md."""
        machine = self.machine
        versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
        head = (
            "# Performance\n\n"
            "Made by `fluoroguide bench --all --report docs/performance.md`; nothing here is written by hand.\n\n"
            f"{machine.software} on {machine.processor}, {machine.cores} cores; Python {machine.python}, {versions}.\n"
        )
        parts = (
            "\n".join(part for part in (f"## {table.title}\n", *table.words, table.as_markdown()) if part)
            for table in self._tables()
        )
        return head + "\n" + "\n\n".join(parts) + "\n"

    def _tables(self) -> Iterable["_Table"]:
        main = self.analysis[0]
        yield _stages(main)
        if len(self.analysis) > 1:
            yield _cases(self.analysis)
        if self.services:
            yield _services(self.services)
        if self.replays:
            yield _replays(self.replays)
        if self.start is not None:
            yield _Table(
                "Start",
                ("kernels", "seconds to the first findings"),
                [
                    ("in the cache", f"{self.start.warm_s:.1f}"),
                    ("compiled first, once a machine", f"{self.start.cold_s:.1f}"),
                ],
            )
        if self.tools:
            yield _tools(self.tools, main)
        if self.kernels:
            yield _kernels(self.kernels)
        if self.capture:
            yield _capture(self.capture)


@dataclass(frozen=True, slots=True)
class _Table:
    title: str
    head: Row
    rows: Sequence[Row]
    words: Sequence[str] = ()

    def as_text(self) -> str:
        widths = [max(len(row[i]) for row in (self.head, *self.rows)) for i in range(len(self.head))]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in (self.head, *self.rows)
        )

    def as_markdown(self) -> str:
        rule = ["---", *["---:"] * (len(self.head) - 1)]
        return "\n".join("| " + " | ".join(row) + " |" for row in (self.head, rule, *self.rows))


def _stages(main: AnalysisFigures) -> _Table:
    rows = [(stage, *_cells(ms)) for stage, ms in main.stages_ms.items()]
    what = (
        f"{main.frames} frames, each a new x-ray pulse with a root, needles and cement in sight; procedures of "
        f"{PULSE_HZ} pulses a second, again and again.\n"
    )
    cost = (
        f"Processor time a frame {main.cpu_ms:.1f} ms, of the slowest one {main.slowest_cpu_ms:.1f} ms; "
        f"{main.frames_per_s:.0f} frames a second. First frame of a procedure {main.first_ms:.0f} ms. Memory: "
        f"{main.resident_mib[0]:.0f} MiB after the first tenth, {main.resident_mib[1]:.0f} at the end, the rendered "
        "frames among it.\n"
    )
    return _Table(f"From frame to findings and alerts: {main.name}", ("stage, ms", *QUANTILES), rows, (what, cost))


def _cases(cases: Sequence[AnalysisFigures]) -> _Table:
    head = (
        "case",
        "work scale",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "max ms",
        "first ms",
        "CPU ms",
        "at once MiB",
        "faults",
        "peak MiB",
    )
    rows: list[Row] = []
    for case in cases:
        told = case.stages_ms[TOLD]
        times = (told.p50, told.p99, told.p999, told.max, case.first_ms, case.cpu_ms)
        at_once = f"{case.allocated_mib.p50:.1f} / {case.allocated_mib.p99:.1f}"
        sizes = (at_once, f"{case.faults:.0f}", f"{case.peak_mib:.0f}")
        work = f"{case.work_px[0]} x {case.work_px[1]}"
        rows.append((case.name, work, *(f"{ms:.1f}" for ms in times), *sizes))
    return _Table(
        "By size, depth and number of needles",
        head,
        rows,
        (CASE_WORDS,),
    )


def _services(services: Sequence[ServiceFigures]) -> _Table:
    rows = []
    for figures in services:
        for name, ms in (
            ("alerts published", figures.told_ms),
            ("alerts that were raised", figures.alerts_ms),
            ("pixels leave for the viewer", figures.seen_ms),
            ("drawing leaves for the viewer", figures.drawn_ms),
        ):
            if ms is not None:
                rows.append((f"{figures.name}: {name}", *_cells(ms)))
    words = [
        f"{f.name}: {f.frames} frames, {f.skipped} not looked at, {f.not_recorded} not recorded, "
        f"{f.lost_by_reader} messages missed by the bus's reader.\n"
        for f in services
    ]
    return _Table(
        f"The whole service: {PULSE_HZ} new pulses a second, recording, a reader of the bus, one viewer",
        ("since the frame's capture, ms", *QUANTILES),
        rows,
        words,
    )


def _replays(replays: Sequence[ReplayFigures]) -> _Table:
    rows = [
        (
            f"{figures.frames} frames, {figures.pulse_hz:g} pulses a second",
            f"{figures.one_core_hz:.0f}",
            "" if figures.two_cores_hz is None else f"{figures.two_cores_hz:.0f}",
        )
        for figures in replays
    ]
    return _Table("Replay of a recording of 30 frames a second", ("frames a second", "one core", "two cores"), rows)


def _tools(tools: Sequence[ToolFigures], main: AnalysisFigures) -> _Table:
    rows = []
    for tool in tools:
        ours_ms = main.stages_ms[tool.stage].p50
        if tool.ms is None:
            rows.append((tool.name, "not installed", tool.stage, f"{ours_ms:.2f}", ""))
        else:
            rows.append((tool.name, f"{tool.ms.p50:.2f}", tool.stage, f"{ours_ms:.2f}", f"{tool.ms.p50 / ours_ms:.1f}"))
    return _Table(
        "Beside what one would otherwise reach for",
        ("tool", "p50 ms", "a step of our stage", "p50 ms", "ratio"),
        rows,
        ("The same pulses at work scale, on one thread. None of them gives what the stage gives.\n",),
    )


def _kernels(kernels: Sequence[KernelFigures]) -> _Table:
    rows = [
        (
            figures.name,
            f"{figures.ours_ms:.3f}",
            f"{figures.numpy_ms:.2f} ({figures.numpy_ms / figures.ours_ms:.0f} x)",
            figures.library or "",
            ""
            if figures.library_ms is None
            else f"{figures.library_ms:.3f} ({figures.library_ms / figures.ours_ms:.1f} x)",
        )
        for figures in kernels
    ]
    return _Table(
        "Kernels beside the same result from NumPy, OpenCV or scikit-image",
        ("kernel", "ms", "plain NumPy, ms", "best library", "ms"),
        rows,
    )


def _capture(costs: dict[str, CaptureCost]) -> _Table:
    rows = [
        (code, str(cost.frame_kib), f"{cost.p50_ms:.2f}", f"{cost.max_ms:.2f}", f"{cost.core_percent:.1f}")
        for code, cost in costs.items()
    ]
    return _Table(
        f"A grabber of {WIDTH_PX} x {HEIGHT_PX} at {RATE_HZ}/s",
        ("format", "KiB", "p50 ms", "max ms", "% of a core"),
        rows,
    )


def _cells(ms: Quantiles) -> tuple[str, ...]:
    return tuple(f"{value:.2f}" for value in (ms.p50, ms.p90, ms.p99, ms.p999, ms.max))


def _versions() -> Iterable[tuple[str, str]]:
    for name in VERSIONS:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue


def _processor() -> str:
    """Its name where the system tells it, else its family."""
    cpus = Path("/proc/cpuinfo")
    if cpus.exists():
        for line in cpus.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
