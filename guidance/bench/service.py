"""The whole service at work: frames at 30 a second, bus, recording, dashboard and one viewer, each as in the room.

The bus's reader and the viewer are processes of their own, as they are at work. The viewer speaks as the page does but
draws nothing: what a browser adds is measured by ``python -m tests.browser.latency``.
"""

import json
import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from guidance.bench.analysis import Quantiles
from guidance.bench.pulses import Pulses, PulseSource
from guidance.bench.recording import NotStartedError
from guidance.bus.messages import AlertEnvelope, Endpoints, FindingsEnvelope, HealthEnvelope
from guidance.bus.subscriber import Subscriber
from guidance.records import AlertState
from guidance.service.running import Service
from guidance.settings import Settings

PATIENCE_S: Final = 60.0
SETTLED_S: Final = 2.0
"""From when the dashboard answers until it is measured: processes have begun, files are open."""
_TICK_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class _Heard:
    """Milliseconds since their frame was captured, and what the service counted meanwhile."""

    told_ms: list[float]
    alerts_ms: list[float]
    came: int
    skipped: int
    not_recorded: int
    lost: int


@dataclass(frozen=True, slots=True)
class ServiceFigures:
    """``frames`` came while it was measured; ``skipped``: those that the analysis has not looked at.

    ``told_ms``: from a frame's capture until its alerts are published, and its findings next, as the service tells;
    ``alerts_ms`` likewise of each alert that was raised. ``seen_ms``: until the pixels leave the dashboard for the
    viewer, ``drawn_ms`` until what was seen on them does.
    """

    name: str
    frames: int
    skipped: int
    not_recorded: int
    lost_by_reader: int
    told_ms: Quantiles
    alerts_ms: Quantiles | None
    seen_ms: Quantiles
    drawn_ms: Quantiles


def time_service(pulses: Pulses, seconds: float) -> ServiceFigures:
    """The figures of so many seconds. Raises NotStartedError, BusError."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, spawn) as others, TemporaryDirectory() as folder, _running(pulses, Path(folder)) as on:
        address = on.dashboard.url.replace("http", "ws", 1).rstrip("/") + "/live"
        heard_ = others.submit(_listen, on.endpoints, seconds)
        seen_ = others.submit(_view, address, seconds)
        heard, (seen_ms, drawn_ms) = heard_.result(), seen_.result()
    return ServiceFigures(
        pulses.name,
        heard.came,
        heard.skipped,
        heard.not_recorded,
        heard.lost,
        Quantiles.of(heard.told_ms),
        Quantiles.of(heard.alerts_ms) if heard.alerts_ms else None,
        Quantiles.of(seen_ms),
        Quantiles.of(drawn_ms),
    )


@contextmanager
def _running(pulses: Pulses, folder: Path) -> Iterator[Service]:
    """The service on the pulses, again and again, once everything has begun."""
    service = Service(
        lambda: PulseSource(pulses),
        pulses.plan,
        Settings(),
        port=0,
        bus_port=0,
        loop=True,
        archive=folder / "archive",
        alarm_log=folder / "alarms.jsonl",
    )
    with service:
        deadline_s = time.monotonic() + PATIENCE_S
        while not (service.ready and service.dashboard.answers(timeout_s=0.5)):
            if service.failure is not None or time.monotonic() > deadline_s:
                raise NotStartedError(f"the service has not started within {PATIENCE_S:g} s: {service.failure}")
            time.sleep(_TICK_S)
        time.sleep(SETTLED_S)
        yield service


def _listen(endpoints: Endpoints, seconds: float) -> _Heard:
    """A reader of the bus, in a process of its own."""
    told_ms: list[float] = []
    alerts_ms: list[float] = []
    health: list[HealthEnvelope] = []
    last: tuple[str, int] | None = None
    with Subscriber(endpoints) as subscriber:
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            match subscriber.receive(_TICK_S):
                case FindingsEnvelope(case=case, body=body) if (case, body.frame) != last and body.latency_ms:
                    # A heartbeat tells the last ones again.
                    last = case, body.frame
                    told_ms.append(body.latency_ms)
                case AlertEnvelope(body=body) if body.state is AlertState.RAISED and body.delay_ms is not None:
                    alerts_ms.append(body.delay_ms)
                case HealthEnvelope() as told:
                    health.append(told)
        first, at_end = health[0].body, health[-1].body
        return _Heard(
            told_ms,
            alerts_ms,
            at_end.frames - first.frames,
            at_end.dropped - first.dropped,
            at_end.not_recorded - first.not_recorded,
            sum(subscriber.reception.lost.values()),
        )


def _view(address: str, seconds: float) -> tuple[list[float], list[float]]:
    """A viewer that answers as the page does, in a process of its own: the ages of pixels and of what is drawn."""
    seen_ms: list[float] = []
    drawn_ms: list[float] = []
    with connect(address, max_size=None) as line:
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            try:
                message = line.recv(timeout=_TICK_S)
            except TimeoutError:
                continue
            except ConnectionClosed as error:
                raise NotStartedError(f"{address}: the dashboard has ended the line: {error}") from error
            assert isinstance(message, bytes)
            length = int.from_bytes(message[:4], "little")
            told = json.loads(message[4 : 4 + length])
            if "captured_ms" in told:
                seen_ms.append(told["captured_ms"])
            if "picture" in told and told["picture"] is not None:
                drawn_ms.append(told["age_ms"])
            if "captured_ms" in told or "picture" in told:
                line.send("ack")
    return seen_ms, drawn_ms
