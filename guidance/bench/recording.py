"""How fast a recording is replayed, and how soon a service that starts has looked at its first frame."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from guidance.bench.pulses import RATE_HZ, Pulses
from guidance.bus.messages import FindingsEnvelope
from guidance.bus.subscriber import Subscriber
from guidance.casebook.recorder import CaseRecorder
from guidance.casebook.replay import replay
from guidance.opening import open_spec, plan_for
from guidance.plan import plan_json
from guidance.service import read_ahead
from guidance.settings import Settings

PATIENCE_S: Final = 180.0
PORTS: Final = range(20_000, 30_000, 4)
START_FRAMES: Final = 30


class NotStartedError(RuntimeError):
    """The service has not come up. One line."""


@dataclass(frozen=True, slots=True)
class ReplayFigures:
    """Frames a second: read, checked against their checksums, decoded, analysed and written."""

    frames: int
    pulse_hz: float
    one_core_hz: float
    two_cores_hz: float | None


@dataclass(frozen=True, slots=True)
class StartFigures:
    """Seconds from the command until the first findings are on the bus; ``cold``: no kernel has been compiled yet."""

    warm_s: float
    cold_s: float


def time_replay(pulses: Pulses, each: int) -> ReplayFigures:
    """The figures of the pulses as a recording of 30 frames a second, ``each`` of them showing the same pulse."""
    with TemporaryDirectory() as folder:
        case = Path(folder) / "case"
        frames = _record(pulses, case, each)
        cores = len(os.sched_getaffinity(0))
        one_s = _replay_s(case, Path(folder) / "one", cores=1)
        two_s = _replay_s(case, Path(folder) / "two", cores=2) if cores > 1 else None
    return ReplayFigures(
        frames, RATE_HZ / each, round(frames / one_s, 1), None if two_s is None else round(frames / two_s, 1)
    )


def time_start(pulses: Pulses) -> StartFigures:
    """The figures of a service on a recording. Raises NotStartedError."""
    with TemporaryDirectory() as folder:
        case = Path(folder) / "case"
        _record(replace(pulses, frames=pulses.frames[:START_FRAMES]), case, 1)
        cache = {"NUMBA_CACHE_DIR": str(Path(folder) / "kernels")}
        cold_s = _start_s(case, Path(folder), cache)
        return StartFigures(round(_start_s(case, Path(folder), cache), 2), round(cold_s, 2))


def _record(pulses: Pulses, case: Path, each: int) -> int:
    """How many frames were recorded."""
    recorder = CaseRecorder(case, pulses.info, plan_json(pulses.plan))
    shown = [frame for frame in pulses.frames for _ in range(each)]
    for number, frame in enumerate(shown):
        recorder.frame(replace(frame, t_s=number / RATE_HZ, sequence=number))
    recorder.close()
    return len(shown)


def _replay_s(case: Path, out: Path, cores: int) -> float:
    with _on_cores(cores), open_spec(str(case)) as source:
        plan = plan_for(source, str(case))
        begin_s = time.perf_counter()
        with read_ahead(source, enabled=cores > 1) as frames:
            replay(frames, source.info, plan, Settings(), out)
        return time.perf_counter() - begin_s


@contextmanager
def _on_cores(count: int) -> Iterator[None]:
    """Only on so many of the processors that this process may run on."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(allowed)[:count]))
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _start_s(case: Path, folder: Path, environment: dict[str, str]) -> float:
    port = random.choice(PORTS)
    command = [sys.executable, "-m", "guidance", "serve", "--source", str(case), "--loop", "--port", "0"]
    command += ["--bus-port", str(port), "--alarm-log", str(folder / "alarms.jsonl")]
    begin_s = time.monotonic()
    with (
        subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.DEVNULL) as service,
        Subscriber(f"tcp://127.0.0.1:{port}") as subscriber,
    ):
        try:
            while time.monotonic() < begin_s + PATIENCE_S and service.poll() is None:
                match subscriber.receive(timeout_s=0.1):
                    case FindingsEnvelope(body=body) if body.pulse > 0:
                        return time.monotonic() - begin_s
        finally:
            service.terminate()
    raise NotStartedError(f"serve has told nothing within {PATIENCE_S:g} s")
