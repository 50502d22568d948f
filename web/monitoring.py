"""What a monitoring system is told: ``/healthy``, each part in a word, and ``/metrics``, in the way of Prometheus.

What is not known is not told: while the service is not heard, there are no figures of it, rather than its last ones.
``docs/monitoring.md`` says what each means and which alerts are worth having.
"""

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from drivers.signal import Signal
from guidance.bus.messages import FindingsEnvelope, HealthBody, Message, SnapshotEnvelope
from guidance.records import AlertKind, FrameState, Priority
from web.live import Board

UNCACHED: Final = {"Cache-Control": "no-store"}

NO_PICTURE_S: Final = 1.0
"""A picture is told at least every 250 ms, be it the same one again: when none has come for this long none will."""

PULSE_BUCKETS_S: Final = (0.005, 0.01, 0.015, 0.02, 0.025, 0.033, 0.04, 0.06, 0.08, 0.12, 0.25, 0.5, 1.0)


class PartState(StrEnum):
    """How a part does. ``IMPAIRED``: it works, with a trouble. ``ABSENT``: there is none, and none is wanted."""

    OK = "ok"
    IMPAIRED = "impaired"
    FAILED = "failed"
    UNKNOWN = "unknown"
    ABSENT = "absent"


Part = dict[str, Any]


def parts_of(board: Board) -> dict[str, Part]:
    """Each part's state, and what stands behind it. What only the service could tell is unknown while it is silent."""
    known = board.reception
    bus = {
        "state": PartState.FAILED if known.deaf else PartState.OK,
        "heartbeat_age_ms": _ms(known.silent_s),
        "messages_lost": known.lost,
        "messages_refused": known.refused,
    }
    return {"bus": bus, **_told_parts(board), "viewers": _viewers(board)}


def _told_parts(board: Board) -> dict[str, Part]:
    """What the heartbeat tells of."""
    health = heard_health(board)
    if health is None:
        unknown = ("source", "analysis", "pictures", "alarm_log", "disk", "recorder")
        return {name: {"state": PartState.UNKNOWN} for name in unknown}
    kinds = {alert.kind for alert in health.alerts}
    log, fault = health.alarm_log, health.recording_fault
    return {
        "source": {
            # Held: the x-rays are off.
            "state": _impaired(health.state not in (FrameState.LIVE, FrameState.HELD)),
            "video": health.state,
            "input": None if health.input is None else health.input.signal,
            "rate_hz": health.rate_hz,
            "frames_dropped": health.dropped,
            "frames_corrupt": health.corrupt,
        },
        "analysis": {
            "state": _impaired(AlertKind.ANALYSIS_BEHIND in kinds),
            "pulses": health.pulses,
            "latency_ms": health.latency_ms,
        },
        "pictures": _pictures(board),
        "alarm_log": {"state": PartState.ABSENT}
        if log is None
        else {"state": _impaired(log.fault is not None), "fault": log.fault},
        "disk": {"state": PartState.ABSENT}
        if log is None or log.free_mb is None
        else {"state": _impaired(AlertKind.DISK_FILLING in kinds), "free_mb": log.free_mb},
        "recorder": {
            "state": _impaired(bool({AlertKind.RECORDER_BEHIND, AlertKind.DISK_FILLING} & kinds) or bool(fault)),
            "frames_not_recorded": health.not_recorded,
            "fault": fault,
            "left_min": health.recording_left_min,
        }
        if health.recording
        else {"state": PartState.ABSENT},
    }


def _pictures(board: Board) -> Part:
    silent_s = time.monotonic() - board.picture_heard_s
    state = PartState.OK if silent_s <= NO_PICTURE_S else PartState.FAILED
    if math.isinf(silent_s):
        state = PartState.UNKNOWN  # none has come yet
    return {"state": state, "heard_ms_ago": _ms(silent_s), "captured_ms_ago": _ms(board.picture_age_s())}


def _viewers(board: Board) -> Part:
    tally = board.tally
    return {
        "state": _impaired(len(board.viewers) >= board.most_viewers),
        "watching": len(board.viewers),
        "most": board.most_viewers,
        "pictures_missed": tally.missed,
        "cut_off": tally.cut,
        "refused": tally.refused,
    }


def heard_health(board: Board) -> HealthBody | None:
    """The last heartbeat, None where it is so old that it may no longer be so."""
    return None if board.reception.deaf else board.reception.health


def _impaired(is_so: bool) -> PartState:
    return PartState.IMPAIRED if is_so else PartState.OK


def _ms(seconds: float) -> int | None:
    return round(1000 * seconds) if math.isfinite(seconds) else None


def overall(parts: dict[str, Part]) -> PartState:
    """The worst that is known of the parts."""
    states = {part["state"] for part in parts.values()}
    return next((state for state in (PartState.FAILED, PartState.IMPAIRED) if state in states), PartState.OK)


class Monitoring:
    """The figures of a board, and those that are made of all that passes by: how long each pulse took.

    ``doors``: the parts that let people in, for ``/healthy``.
    """

    def __init__(self, board: Board, doors: Callable[[], dict[str, Part]] = dict) -> None:
        self.doors = doors
        self._pulse: tuple[str, int] | None = None
        self.registry = CollectorRegistry(auto_describe=False)
        self._analysed = Histogram(
            "fluoroguide_analysis_seconds",
            "From the capture of an x-ray pulse until its findings were told.",
            buckets=PULSE_BUCKETS_S,
            registry=self.registry,
        )
        drawn = Histogram(
            "fluoroguide_viewer_drawn_seconds",
            "From the capture of a frame until a viewer said that it had drawn it.",
            buckets=PULSE_BUCKETS_S,
            registry=self.registry,
        )
        board.tally.drawn_s = drawn.observe
        self.registry.register(_BoardCollector(board))
        ProcessCollector(namespace="fluoroguide_dashboard", registry=self.registry)
        service = os.getppid()
        # Where the service is gone another process is the parent.
        ProcessCollector(
            namespace="fluoroguide_service",
            pid=lambda: service if os.getppid() == service else "gone",
            registry=self.registry,
        )

    def hear(self, message: Message | SnapshotEnvelope) -> None:
        """Note how long a pulse took; repeats, and what is told again, are none."""
        if not isinstance(message, FindingsEnvelope) or message.body.latency_ms is None:
            return
        pulse = (message.case, message.body.pulse)
        if pulse != self._pulse and message.body.state is FrameState.LIVE:
            self._analysed.observe(message.body.latency_ms / 1000)
        self._pulse = pulse


class _BoardCollector(Collector):
    """Reads the board at each scrape, so that no figure is older than it says."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def collect(self) -> Iterator[Metric]:
        board, known, tally = self._board, self._board.reception, self._board.tally
        yield _gauge("bus_heard", "1 while the service's heartbeat is heard.", not known.deaf)
        if math.isfinite(known.silent_s):
            yield _gauge("heartbeat_age_seconds", "Since the last heartbeat was sent.", known.silent_s)
        lost = {(topic,): count for topic, count in known.lost.items()}
        yield _by(CounterMetricFamily, "messages_lost", "Messages of the bus that were missed.", ["topic"], lost)
        yield _counter("messages_refused", "Messages of the bus that were none, or were told before.", known.refused)

        parts = parts_of(board)
        states = {(name, state): float(part["state"] is state) for name, part in parts.items() for state in PartState}
        yield _by(GaugeMetricFamily, "part_state", "1 for the state that a part is in.", ["part", "state"], states)

        if math.isfinite(board.picture_age_s()):
            yield _gauge("picture_age_seconds", "Since the newest picture was captured.", board.picture_age_s())
        yield _counter("pictures", "Pictures that the dashboard has heard.", board.pictures)
        yield _gauge("viewers", "Pages that show the dashboard.", len(board.viewers))
        yield _gauge("viewers_most", "As many are let in.", board.most_viewers)
        yield _counter("viewer_pictures_drawn", "Pictures that viewers have drawn.", tally.drawn)
        yield _counter("viewer_pictures_missed", "Pictures that a viewer was too slow for.", tally.missed)
        yield _counter("viewers_cut_off", "Viewers that did not answer.", tally.cut)
        yield _counter("viewers_refused", "Viewers that were too many.", tally.refused)
        health = heard_health(board)
        if health is not None:
            yield from _of_health(health)


def _of_health(health: HealthBody) -> Iterator[Metric]:
    """What the heartbeat tells. Absent while it is not heard."""
    yield _counter("frames", "Frames that the source has given.", health.frames)
    yield _gauge("case_pulses", "X-ray pulses of the present case that were analysed.", health.pulses)
    yield _counter("frames_dropped", "Frames that no analysis has seen.", health.dropped)
    yield _counter("frames_corrupt", "Frames that came damaged.", health.corrupt)
    yield _counter("requests_refused", "Calls, orders and peers that the bus has refused.", health.refused)
    yield _gauge("subscribers", "Subscribers of the bus that gave their names.", len(health.subscribers))
    for name, words, value in (
        ("frame_rate_hertz", "Frames of the source a second.", health.rate_hz),
        ("analysis_last_seconds", "From capture to findings, of the last frame.", _seconds(health.latency_ms)),
        ("alarm_delay_last_seconds", "From capture to the last alarm.", _seconds(health.alarm_delay_ms)),
        ("alarm_delay_most_seconds", "The longest such delay.", _seconds(health.alarm_delay_max_ms)),
    ):
        if value is not None:
            yield _gauge(name, words, value)

    states = {(state,): float(state is health.state) for state in FrameState}
    yield _by(GaugeMetricFamily, "source_state", "1 for the state that the video is in.", ["state"], states)
    if health.input is not None:
        signals = {(signal,): float(signal is health.input.signal) for signal in Signal}
        yield _by(GaugeMetricFamily, "input_signal", "1 for what the grabber says.", ["signal"], signals)
        yield _counter("input_restarts", "How often the grabber's stream was started anew.", health.input.restarts)

    told = Counter((alert.priority, str(alert.kind), alert.state) for alert in health.alerts)
    labels = ["priority", "kind", "state"]
    yield _by(GaugeMetricFamily, "alert_active", "Active alerts, by what they are.", labels, told)
    counts = {(priority,): sum(alert.priority is priority for alert in health.alerts) for priority in Priority}
    yield _by(GaugeMetricFamily, "alerts_active", "Active alerts; 0 means that none is.", ["priority"], counts)
    if health.alarm_log is not None:
        yield _gauge("alarm_log_written", "1 while changes of alerts are kept.", health.alarm_log.fault is None)
        if health.alarm_log.free_mb is not None:
            yield _gauge("disk_free_bytes", "Left where the alarm log is.", health.alarm_log.free_mb * 1e6)
    if health.recording:
        yield _counter("frames_not_recorded", "Frames that the recorder was too slow for.", health.not_recorded)


def _by(
    kind: type[GaugeMetricFamily] | type[CounterMetricFamily],
    name: str,
    words: str,
    labels: list[str],
    values: Mapping[Any, float],
) -> Metric:
    """A family with a figure for each tuple of its labels' values."""
    family = kind(f"fluoroguide_{name}", words, labels=labels)
    for key, value in values.items():
        family.add_metric([str(label) for label in key], value)
    return family


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(f"fluoroguide_{name}", words, value=float(value))


def _counter(name: str, words: str, value: float) -> Metric:
    return CounterMetricFamily(f"fluoroguide_{name}", words, value=float(value))


def _seconds(ms: float | None) -> float | None:
    return None if ms is None else ms / 1000


router = APIRouter()


@router.get("/healthy")
async def healthy(request: Request) -> JSONResponse:
    """503 while nothing is watched, or no picture comes: there a new start may help. Else 200, whatever is impaired."""
    parts = parts_of(request.app.state.board) | request.app.state.monitoring.doors()
    state = overall(parts)
    body = {"state": state, "ok": state is not PartState.FAILED, "parts": parts}
    status = HTTPStatus.SERVICE_UNAVAILABLE if state is PartState.FAILED else HTTPStatus.OK
    return JSONResponse(body, status, UNCACHED)


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """All figures, in the format that the reader asks for."""
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(request.app.state.monitoring.registry), headers={**UNCACHED, "Content-Type": content_type})
