"""``fluoroguide bench``."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from guidance.bench.analysis import time_analysis
from guidance.bench.grabbers import BUFFERS, capture_cost
from guidance.bench.kernels import time_kernels
from guidance.bench.pulses import DURATION_S, RATE_HZ, BenchCase, Pulses, recorded, render
from guidance.bench.recording import time_replay, time_start
from guidance.bench.report import Machine, Report
from guidance.bench.service import time_service
from guidance.bench.tools import time_tools
from guidance.casebook.replay import OutputError
from guidance.opening import open_spec, plan_for
from guidance.service import tune_interpreter

PROCEDURE_FRAMES: Final = DURATION_S * RATE_HZ
CASES: Final = (
    BenchCase(512, 512),
    BenchCase(768, 768),
    BenchCase(1024, 1024, needles=2),
    BenchCase(1024, 1024, needles=3),
    BenchCase(1024, 1024, bits=16),
    BenchCase(1280, 1024),
    BenchCase(1920, 1080),
    BenchCase(1920, 1080, bits=16),
)
"""Beside the main one: what the cost grows with."""
SERVICE_CASES: Final = (BenchCase(1024, 1024), BenchCase(1920, 1080))
SERVICE_S: Final = 40.0
GRABBER_FRAMES: Final = 100


def add_to(command: Callable[..., argparse.ArgumentParser]) -> None:
    """The command's options. ``command``: makes a parser of a name, what it runs and words on it."""
    parser = command("bench", bench, "time the pipeline that `serve` runs, stage by stage")
    parser.add_argument("--size", type=int, default=1024, help="side of the picture in pixels (default: %(default)s)")
    parser.add_argument(
        "--frames", type=int, default=PROCEDURE_FRAMES, help="frames to time (default: one procedure, %(default)s)"
    )
    parser.add_argument("--source", metavar="SOURCE", help="a recording to time instead of the phantom")
    parser.add_argument("--plan", type=Path, help="its plan.json")
    parser.add_argument(
        "--all", action="store_true", help="also other sizes, the whole service, replay, start, kernels (15 minutes)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--report", type=Path, metavar="FILE", help="also write it as Markdown")


def bench(options: argparse.Namespace) -> int:
    """Time and print. Raises SourceError, PlanError, OutputError."""
    if not 128 <= options.size <= 1536 or options.frames < 2:
        raise OutputError("bench: expected a --size from 128 to 1536, and at least 2 --frames")
    tune_interpreter()
    pulses = _pulses(options)
    report = _everything(pulses, options.frames) if options.all else _short(pulses, options.frames)
    print(json.dumps(report.as_json(), indent=2) if options.json else report.as_text())
    if options.report is not None:
        try:
            options.report.write_text(report.as_markdown(), encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{options.report}: cannot be written ({error.strerror})") from error
    return 0


def _pulses(options: argparse.Namespace) -> Pulses:
    if options.source is None:
        return render(BenchCase(options.size, options.size))
    with open_spec(options.source) as source:
        return recorded(options.source, source, plan_for(source, options.source, options.plan))


def _short(pulses: Pulses, frames: int) -> Report:
    return Report(Machine.here(), [time_analysis(pulses, frames)], time_tools(pulses))


def _everything(pulses: Pulses, frames: int) -> Report:
    start = time_start(pulses)
    analysis = [time_analysis(pulses, frames)]
    tools, kernels = time_tools(pulses), time_kernels(pulses)
    capture = capture_cost([np.asarray(frame.pixels, np.uint8) for frame in pulses.frames[-BUFFERS:]], GRABBER_FRAMES)
    replays = [time_replay(pulses, each) for each in (1, 2, 4)]
    services = [time_service(render(case), SERVICE_S) for case in SERVICE_CASES]
    analysis += [time_analysis(render(case), PROCEDURE_FRAMES) for case in CASES]
    return Report(Machine.here(), analysis, tools, kernels, capture, services, replays, start)
