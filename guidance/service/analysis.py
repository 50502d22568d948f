"""From the newest frame to what is told of it."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np

from drivers.frame import Frame, Pixels, SourceInfo, freeze
from drivers.signal import Signal
from guidance.bus.messages import HEARTBEAT_S
from guidance.bus.publisher import FramePublisher, Publisher
from guidance.overlay import draw, strokes_json
from guidance.records import Alert, CasePlan, Findings, FrameState, Health
from guidance.safety.alarms import Watch
from guidance.service.capture import PATIENCE_S, TICK_S, Capture, Captured, Case, Slot
from guidance.service.recording import Recording
from guidance.settings import Settings
from guidance.wire import AlertMessage, FindingsMessage, alert_message, findings_message

JPEG_QUALITY = 85

WATCH_S = 0.025
"""How often the source's own word on its input is looked at while no frame comes."""


class Analyses(Protocol):
    """What the service needs of a pipeline."""

    def step(self, frame: Frame) -> Findings: ...

    def no_frame(self, t_s: float) -> Findings: ...


MakePipeline = Callable[[CasePlan, SourceInfo], Analyses]


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """What the pictures' thread needs for one message. ``picture``: the last analysed pulse, None before the first."""

    case: Case
    captured_s: float
    findings: Findings
    message: FindingsMessage
    alerts: tuple[Alert, ...]
    active: list[AlertMessage]
    picture: Frame | None


class Analysis:
    """Looks at the newest frame, decides, and tells; alerts first."""

    def __init__(
        self,
        plan: CasePlan,
        settings: Settings,
        make_pipeline: MakePipeline,
        capture: Capture,
        newest: Slot[Captured],
        shown: Slot[Shown],
        publisher: Publisher,
        stopping: threading.Event,
        recording: Recording | None = None,
    ) -> None:
        self._plan = plan
        self._settings = settings
        self._make_pipeline = make_pipeline
        self._capture = capture
        self._newest = newest
        self._shown = shown
        self._publisher = publisher
        self._stopping = stopping
        self._recording = recording
        self._last: Captured | None = None
        self._last_shown: Shown | None = None
        self._told_s = 0.0
        self._shown_s = 0.0
        self._picture: Frame | None = None
        self._latency_ms: float | None = None
        self._beat_due_s = 0.0
        self._counts: deque[tuple[float, int]] = deque(maxlen=1 + round(1 / HEARTBEAT_S))

    def run(self) -> None:
        """Until told to stop."""
        case = self._first_case()
        if case is None:
            return
        warm_up(self._make_pipeline, self._plan, case.info)
        self._begin(case)
        self._capture.analysis_is_ready.set()
        while not self._stopping.is_set():
            captured = self._newest.take(min(WATCH_S, max(0.0, self._beat_due_s - time.monotonic())))
            if captured is not None:
                self._see(captured)
            elif (present := self._capture.case) is not None and present is not self._case:
                self._begin(present)
            elif self._is_lost() and _age_s(self._told_s) >= TICK_S:
                self._see_nothing()
            if time.monotonic() >= self._beat_due_s:
                self._beat_due_s = time.monotonic() + HEARTBEAT_S
                self._beat()

    def _first_case(self) -> Case | None:
        """None where the service ends before a source was opened."""
        while self._capture.case is None and not self._stopping.wait(TICK_S):
            pass
        return self._capture.case

    def _begin(self, case: Case) -> None:
        self._case = case
        self._pipeline = self._make_pipeline(self._plan, case.info)
        self._watch = Watch(self._settings.limits(), self._settings.timing())
        # At once, so that nobody takes the alerts of the case before for those of this one.
        self._began_s = self._beat_due_s = time.monotonic()
        self._last = self._picture = self._last_shown = None

    def _see(self, captured: Captured) -> None:
        if captured.case is not self._case:
            self._begin(captured.case)
        elif self._last is None:
            # What no_frame was told before the first frame was not in the source's time.
            self._pipeline = self._make_pipeline(self._plan, captured.case.info)
        self._last = captured
        findings = self._pipeline.step(captured.frame)
        if findings.pulse != (0 if self._last_shown is None else self._last_shown.findings.pulse):
            self._picture = captured.frame
        self._tell(findings, captured.at_s)

    def _is_lost(self) -> bool:
        """Whether a frame is overdue, or a live source has told of a fault since its last one."""
        if time.monotonic() > self._capture.due_s + PATIENCE_S:
            return True
        status = self._capture.status
        if status is None or status.signal is Signal.LIVE:
            return False
        return self._last is None or self._last.at_s < status.since_s

    def _see_nothing(self) -> None:
        t_s = _age_s(self._began_s)
        if self._last is not None:
            t_s = self._last.frame.t_s + _age_s(self._last.at_s)
        self._latency_ms = None
        self._tell(self._pipeline.no_frame(t_s), None)

    def _tell(self, findings: Findings, captured_s: float | None) -> None:
        """``captured_s`` None: no frame stands behind the findings."""
        status = self._capture.status
        if status is not None and status.signal is not Signal.LIVE:
            findings = replace(findings, input_fault=status.signal.words)
        if captured_s is not None:
            findings = replace(findings, latency_ms=_ms_since(captured_s))
        for change in self._watch.step(findings):
            self._publisher.tell_alert(self._case.id, alert_message(change))
        if captured_s is not None:
            self._latency_ms = _ms_since(captured_s)
            findings = replace(findings, latency_ms=self._latency_ms)
        message = findings_message(findings)
        self._publisher.tell_findings(self._case.id, message)
        self._told_s = time.monotonic()
        alerts = self._watch.active
        self._show(
            Shown(
                self._case,
                self._began_s if self._last is None else self._last.at_s,
                findings,
                message,
                alerts,
                [alert_message(alert) for alert in alerts],
                self._picture,
            )
        )

    def _show(self, shown: Shown) -> None:
        """Hand over what differs from what was shown; the same again only once a heartbeat."""
        before, self._last_shown = self._last_shown, shown
        if before is None or _looks(before) != _looks(shown) or _age_s(self._shown_s) >= HEARTBEAT_S:
            self._shown_s = time.monotonic()
            self._shown.put(shown)

    def _beat(self) -> None:
        """Health; and findings and picture once more if none were told lately, so that late joiners know all."""
        last = self._last_shown
        if last is not None and _age_s(self._told_s) >= HEARTBEAT_S:
            self._publisher.tell_findings(self._case.id, last.message)
            self._told_s = time.monotonic()
            self._shown.put(last)
        self._counts.append((time.monotonic(), self._capture.frames))
        status = self._capture.status
        health = Health(
            source=self._case.info.name,
            state=FrameState.NO_SIGNAL if last is None else last.findings.state,
            frames=self._capture.frames,
            pulses=0 if last is None else last.findings.pulse,
            dropped=self._capture.dropped,
            latency_ms=self._latency_ms,
            rate_hz=self._rate_hz(),
            corrupt=0 if status is None else status.corrupt,
            input=status,
            not_recorded=0 if self._recording is None else self._recording.not_recorded,
        )
        active = [alert_message(alert) for alert in self._watch.active]
        self._publisher.tell_health(self._case.id, health, active, None if last is None else last.findings.t_s)

    def _rate_hz(self) -> float | None:
        (then, before), (now, frames) = self._counts[0], self._counts[-1]
        return (frames - before) / (now - then) if now > then else None


class Pictures:
    """Encodes and tells pictures, so that no alert waits for one."""

    def __init__(self, shown: Slot[Shown], publisher: FramePublisher, stopping: threading.Event) -> None:
        self._shown = shown
        self._publisher = publisher
        self._stopping = stopping

    def run(self) -> None:
        """Until told to stop. A picture is encoded once, however often it is told."""
        encoded: Frame | None = None
        jpeg = b""
        while not self._stopping.is_set():
            shown = self._shown.take(TICK_S)
            if shown is None:
                continue
            if shown.picture is not encoded:
                encoded = shown.picture
                jpeg = b"" if encoded is None else gray_jpeg(encoded)
            strokes = strokes_json(draw(shown.findings, shown.alerts))
            self._publisher.tell_frame(shown.case.id, shown.captured_s, shown.message, strokes, shown.active, jpeg)


def warm_up(make_pipeline: MakePipeline, plan: CasePlan, info: SourceInfo) -> None:
    """Let every kernel run once on noise of the source's size: the first call of each is the slow one."""
    pipeline = make_pipeline(plan, info)
    rng = np.random.default_rng(0)
    for i in range(2):
        noise = rng.integers(2**info.bits // 4, 2**info.bits // 2, (info.height_px, info.width_px))
        pixels: Pixels = noise.astype(np.uint8) if info.bits == 8 else noise.astype(np.uint16)
        pipeline.step(Frame(freeze(pixels), t_s=i / 30, sequence=i, bits=info.bits))


def gray_jpeg(frame: Frame) -> bytes:
    """The frame as an 8-bit gray JPEG; of deeper pixels the upper 8 bits."""
    pixels = frame.pixels if frame.bits == 8 else (frame.pixels >> (frame.bits - 8)).astype(np.uint8)
    done, jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert done
    return bytes(jpeg)


def _looks(shown: Shown) -> tuple[object, ...]:
    """What a picture is told anew for."""
    alerts = tuple((alert.id, alert.state) for alert in shown.alerts)
    return (shown.case.id, shown.findings.pulse, shown.findings.state, alerts)


def _age_s(since_s: float) -> float:
    return time.monotonic() - since_s


def _ms_since(since_s: float) -> float:
    return _age_s(since_s) * 1000
