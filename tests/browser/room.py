"""A room for the browser tests: made-up findings on a real bus, the dashboard in its own process, and Chromium."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np
import zmq
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from guidance.bus.desk import CallSocket, Desk, Gate
from guidance.bus.keys import local_folder, local_keys
from guidance.bus.messages import AudioBody, Endpoints, HealthBody, Order
from guidance.bus.publisher import FramePublisher, Publisher
from guidance.overlay import draw, strokes_json
from guidance.records import (
    Alert,
    AlertKind,
    AlertState,
    CementDeposit,
    FieldKind,
    FieldOutline,
    Findings,
    FrameState,
    Needle,
    NerveRoot,
    Phase,
    PolygonPx,
    Priority,
    Registration,
    Scale,
    ScaleSource,
    View,
    Zone,
    ZoneKind,
)
from guidance.safety.alarms import worst_first
from guidance.wire import alert_message, findings_message

CHROMIUM = Path("/usr/bin/chromium")
DRIVER = Path("/usr/bin/chromedriver")
FRAME_S = 0.05
HEARTBEAT_S = 0.25


def ring(x: float, y: float, radius: float, corners: int = 24) -> PolygonPx:
    turn = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.column_stack([x + radius * np.cos(turn), y + radius * np.sin(turn)])


FINDINGS = Findings(
    frame=0,
    t_s=0.0,
    state=FrameState.LIVE,
    phase=Phase.CEMENT,
    phase_inferred=False,
    view=View.AP,
    view_id=0,
    field=FieldOutline(FieldKind.CIRCLE, ring(256, 240, 230, 60), bone_dark=True),
    registration=Registration((0.0, 0.0), 0.0, 0.97, ok=True),
    scale=Scale(0.4, ScaleSource.PLAN),
    zones=(
        Zone("foramen_S1L", ZoneKind.FORBIDDEN, ring(200, 200, 18)),
        Zone("canal", ZoneKind.CAUTION, ring(256, 260, 30)),
        Zone("ala_L", ZoneKind.TARGET, ring(150, 260, 60)),
    ),
    needles=(Needle(1, (190.0, 230.0), ((190.0, 230.0), (90.0, 80.0)), 123.7, 7.0, 0.62, False, 0.9),),
    nerve_roots=(NerveRoot(1, (ring(210, 330, 12),), np.array([[200.0, 210.0], [215.0, 380.0]]), 88.0),),
    cement=(CementDeposit(1, (ring(170, 250, 22),), 143.2, growth_mm2_per_s=4.2),),
)

CEMENT_IN_FORAMEN = Alert(
    id=3,
    kind=AlertKind.CEMENT_IN_ZONE,
    priority=Priority.HIGH,
    state=AlertState.RAISED,
    frame=261,
    t_s=17.4,
    zone="foramen_S1L",
    needle=None,
    value=4.2,
    unit="mm2",
    text="Cement in foramen S1L: 4.2 mm²",
)


@dataclass(slots=True)
class Scene:
    """What the fake source shows; change it and it is shown."""

    findings: Findings = FINDINGS
    alerts: tuple[Alert, ...] = ()
    pictures: bool = True
    heartbeat: bool = True
    sounding: Priority | None = None
    paused_s: float = 0.0
    refusal: str | None = None
    """What every order is answered with; None where it is obeyed."""
    noisy: bool = True
    source: str = "fake source"
    plan: str | None = None
    pixels: np.ndarray = field(default_factory=lambda: np.full((480, 512), 96, np.uint8))


class FakeService:
    """Publishes its scene, as the service would, until it is closed. ``case``: a new one forgets the one before."""

    def __init__(self, frame_s: float = FRAME_S) -> None:
        self._frame_s = frame_s
        self.scene = Scene()
        self.case = "case"
        self.orders: list[Order] = []
        """What was ordered, the oldest first. The scene does not change by it."""
        self._closing = ExitStack()
        enter = self._closing.enter_context
        context = self._closing.enter_context(zmq.Context())
        keys = enter(local_keys(f"room-{os.getpid()}-{id(self):x}"))
        self.keys = local_folder(f"room-{os.getpid()}-{id(self):x}")
        self._gate = Gate(context, keys)
        self._closing.callback(self._gate.close)
        self._publisher = enter(Publisher(context, "127.0.0.1", 0))
        self._frames = enter(FramePublisher(context, "127.0.0.1", 0))
        snapshots = enter(CallSocket(context, "127.0.0.1", 0))
        commands = enter(CallSocket(context, "127.0.0.1", 0, keys=keys))
        self._desk = Desk(snapshots, commands, self._gate, self._publisher.present, self._obey)
        self.endpoints = Endpoints(
            self._publisher.endpoint, self._frames.endpoint, snapshots.endpoint, commands.endpoint
        )
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fake service")
        self._thread.start()

    def _obey(self, order: Order) -> "Future[str | None]":
        self.orders.append(order)
        obeyed: Future[str | None] = Future()
        obeyed.set_result(self.scene.refusal)
        return obeyed

    def _run(self) -> None:
        noise = np.random.default_rng(7)
        beat_s = float("-inf")
        told: tuple[Alert, ...] = ()
        frame = 0
        due_s = time.monotonic()
        while not self._over.is_set():
            self._desk.serve()
            if time.monotonic() < due_s:
                continue
            due_s = time.monotonic() + self._frame_s
            scene = self.scene
            active = [alert_message(alert) for alert in worst_first(scene.alerts)]
            health = HealthBody(
                source=scene.source,
                state=scene.findings.state,
                frames=frame,
                pulses=frame,
                dropped=0,
                latency_ms=8.0,
                rate_hz=1 / self._frame_s,
                findings_t_s=frame * self._frame_s,
                alerts=active,
                audio=AudioBody(sounding=scene.sounding, paused_s=scene.paused_s),
                plan=scene.plan,
            )
            if scene.alerts != told and scene.heartbeat:
                changes = [alert_message(alert) for alert in scene.alerts if alert not in told]
                self._publisher.tell_alerts(self.case, changes, health)
                told = scene.alerts
            if scene.heartbeat and time.monotonic() - beat_s > HEARTBEAT_S:
                beat_s = time.monotonic()
                self._publisher.tell_health(self.case, health)
            if scene.pictures:
                t_s = scene.findings.t_s or frame * self._frame_s
                findings = replace(scene.findings, frame=frame, pulse=frame, t_s=t_s, latency_ms=8.0)
                self._publisher.tell_findings(self.case, findings_message(findings))
                pixels = scene.pixels
                if scene.noisy:
                    pixels = cv2.add(pixels, noise.integers(0, 30, pixels.shape, np.uint8))
                jpeg = cv2.imencode(".jpg", pixels)[1].tobytes()
                strokes = strokes_json(draw(findings, scene.alerts))
                told = findings_message(findings)
                self._frames.tell_frame(self.case, time.monotonic(), told, strokes, active, jpeg, findings.t_s)
            frame += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._closing.close()


class Dashboard:
    """The web process on a socket that outlives it, as the service keeps it. ``options``: further ones of it."""

    def __init__(self, endpoints: Endpoints, keys: Path, *options: str) -> None:
        self._options = ("--keys", str(keys), *options, *(str(endpoint) for endpoint in astuple(endpoints)))
        self._socket = socket.create_server(("127.0.0.1", 0))
        scheme = "https" if "--tls-cert" in options else "http"
        self.address = f"{scheme}://127.0.0.1:{self._socket.getsockname()[1]}/"
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline: int | None = None

    def start(self) -> None:
        reading, self._lifeline = os.pipe()
        fd = self._socket.fileno()
        command = [sys.executable, "-m", "web", "--fd", str(fd), "--lifeline", str(reading), *self._options]
        self._process = subprocess.Popen(command, pass_fds=(fd, reading))
        os.close(reading)

    def kill(self) -> None:
        """As if it had crashed."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._drop_lifeline()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def let_go(self, timeout_s: float = 5.0) -> int:
        """End the lifeline, as the service does; the exit status."""
        assert self._process is not None
        self._drop_lifeline()
        return self._process.wait(timeout_s)

    def _drop_lifeline(self) -> None:
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.is_running:
            self.let_go()
        self._drop_lifeline()
        self._socket.close()


@contextmanager
def chromium(width_px: int = 1280, height_px: int = 800) -> Iterator[webdriver.Chrome]:
    """A headless Chromium of the system, driven by its own driver; nothing is fetched from anywhere."""
    os.environ["SE_OFFLINE"] = "true"
    options = Options()
    options.binary_location = str(CHROMIUM)
    for argument in (
        "--headless=new",
        "--no-sandbox",  # containers run as root
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--window-size={width_px},{height_px}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    try:
        # The window's frame is no part of the page.
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width_px, "height": height_px, "deviceScaleFactor": 1, "mobile": False},
        )
        yield driver
    finally:
        driver.quit()
