"""Threads, processes and wiring: the only place that owns them.

capture ──newest frame──> analysis ──findings, alerts, heartbeat──> bus
                              └──newest result──> pictures ──JPEG and overlay──> bus
dashboard: a process of its own, one more reader of the bus; restarted when it dies.

Every hand-over holds one thing, the newest, so that nothing lags behind and no stage waits for a later one. The
heartbeat comes from the analysis thread itself: if analysis hangs, readers hear silence and know. If any thread
fails, everything is stopped: a frozen picture must never pass for a live one.
"""

import errno
import http.client
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import FrameType, TracebackType
from typing import Generic, Protocol, Self, TypeVar

import cv2
import numpy as np
import zmq

from drivers.errors import SourceError
from drivers.frame import Frame, FrameSource, Pixels, SourceInfo, freeze
from guidance.bus.messages import DEAF_AFTER_S, HEARTBEAT_S
from guidance.bus.publisher import BusError, FramePublisher, Publisher, port_in_use
from guidance.bus.subscriber import Subscriber
from guidance.overlay import draw, strokes_json
from guidance.records import Alert, CasePlan, Findings, FrameState, Health
from guidance.safety.alarms import Watch
from guidance.settings import Settings
from guidance.vision.pipeline import Pipeline
from guidance.wire import AlertMessage, FindingsMessage, alert_message, findings_message

BUS_HOST = "127.0.0.1"
BUS_PORT = 5570
"""Findings, alerts and health; pictures are on the next port."""

PATIENCE_S = 0.25
"""A frame this late is not coming: there is no signal. Two pulses at the slowest usual rate of cement work."""

TICK_S = 0.1
"""How often a waiting thread looks up: whether frames have stopped coming, whether it is to end."""

REOPEN_S = 0.5
"""Between attempts to open a live source again after it was lost."""

STOP_S = 1.5
"""Threads are given this long to end; with the dashboard's own ending it stays under 2 s."""

JPEG_QUALITY = 85

Thing = TypeVar("Thing")


class Analyses(Protocol):
    """What the service needs of a pipeline."""

    def step(self, frame: Frame) -> Findings: ...

    def no_frame(self, t_s: float) -> Findings: ...


MakePipeline = Callable[[CasePlan, SourceInfo], Analyses]
OpenSource = Callable[[], FrameSource]


class Slot(Generic[Thing]):
    """Room for one thing between two threads: the newest."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._thing: Thing | None = None

    def put(self, thing: Thing) -> bool:
        """Put a thing in the place of whatever lies there. Whether that one was lost."""
        with self._changed:
            lost = self._thing is not None
            self._thing = thing
            self._changed.notify_all()
        return lost

    def wait_until_taken(self, timeout_s: float) -> bool:
        """Whether there is room within the time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._thing is None, timeout_s)

    def take(self, timeout_s: float) -> Thing | None:
        """The thing, None where none came in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._thing is not None, timeout_s)
            thing, self._thing = self._thing, None
            self._changed.notify_all()
        return thing


@dataclass(frozen=True, slots=True)
class Case:
    """One run of a source; a recording that begins anew is another."""

    id: str
    info: SourceInfo


@dataclass(frozen=True, slots=True, eq=False)
class Captured:
    """A frame and when it came, by this machine's monotonic clock."""

    case: Case
    frame: Frame
    at_s: float


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


class Capture:
    """Reads the source and hands over its newest frame.

    A recording is played at the pace of its own timestamps, or with ``pace`` False as fast as analysis takes it,
    without a loss. A live source that is lost is opened again until it is back; if it returns with the same
    picture format the case goes on.
    """

    def __init__(
        self, open_source: OpenSource, loop: bool, pace: bool, newest: Slot[Captured], stopping: threading.Event
    ) -> None:
        self._open_source = open_source
        self._loop = loop
        self._pace = pace
        self._newest = newest
        self._stopping = stopping
        self._started = datetime.now(UTC)
        self._numbers = itertools.count(1)
        self._last: Captured | None = None
        self.case: Case | None = None
        self.analysis_is_ready = threading.Event()
        self.frames = 0
        self.dropped = 0
        self.due_s = float("inf")
        """When the next frame should be here, by the monotonic clock."""

    def run(self) -> None:
        """Until told to stop, or a recording that is not looped ends. Raises SourceError if it never opened."""
        told = ""
        again = False
        while not self._stopping.is_set():
            before = self.frames
            try:
                with self._open_source() as source:
                    again = source.info.live or self._loop
                    self._play(source)
            except SourceError as error:
                if self.case is None:
                    raise
                if str(error) != told:
                    _tell(str(error))
                told = str(error)
            self.due_s = min(self.due_s, time.monotonic())
            if not again:
                return
            if told or self.frames == before:
                self._stopping.wait(REOPEN_S)

    def _play(self, source: FrameSource) -> None:
        self.case = case = self._case_of(source.info)
        live = source.info.live
        while not live and not self.analysis_is_ready.wait(TICK_S):
            if self._stopping.is_set():
                return
        self.due_s = time.monotonic() if live or self._pace else float("inf")
        shift_s: float | None = None
        expected = None
        for frame in source:
            if shift_s is None:
                shift_s = self._shift_s(case, frame) if live else time.monotonic() - frame.t_s
            self.dropped += 0 if expected is None else max(0, frame.sequence - expected)
            expected = frame.sequence + 1
            if live:
                frame = replace(frame, t_s=frame.t_s + shift_s) if shift_s else frame
            elif self._pace:
                shift_s = self._wait_for_its_time(frame, shift_s)
            else:
                self._wait_for_room()
            if self._stopping.is_set():
                return
            self._hand_over(Captured(case, frame, time.monotonic()))
            if live:
                self.due_s = time.monotonic()

    def _wait_for_its_time(self, frame: Frame, shift_s: float) -> float:
        """Wait until the frame is due; the shift from frame time to clock, moved on where the source can't keep up."""
        now = time.monotonic()
        if now - (frame.t_s + shift_s) > PATIENCE_S:
            shift_s = now - frame.t_s
        self.due_s = frame.t_s + shift_s
        self._stopping.wait(max(0.0, self.due_s - now))
        return shift_s

    def _wait_for_room(self) -> None:
        while not self._newest.wait_until_taken(TICK_S):
            if self._stopping.is_set():
                return

    def _hand_over(self, captured: Captured) -> None:
        self._last = captured
        self.frames += 1
        self.dropped += self._newest.put(captured)

    def _case_of(self, info: SourceInfo) -> Case:
        if info.live and self.case is not None and self.case.info == info:
            return self.case
        return Case(f"{self._started:%Y%m%dT%H%M%S}-{next(self._numbers)}", info)

    def _shift_s(self, case: Case, first: Frame) -> float:
        """What makes a reopened live source's time go on where it was lost."""
        if self._last is None or self._last.case is not case:
            return 0.0
        return self._last.frame.t_s + (time.monotonic() - self._last.at_s) - first.t_s


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
    ) -> None:
        self._plan = plan
        self._settings = settings
        self._make_pipeline = make_pipeline
        self._capture = capture
        self._newest = newest
        self._shown = shown
        self._publisher = publisher
        self._stopping = stopping
        self._last: Captured | None = None
        self._last_shown: Shown | None = None
        self._told_s = 0.0
        self._shown_s = 0.0
        self._picture: Frame | None = None
        self._latency_ms: float | None = None
        self._counts: deque[tuple[float, int]] = deque(maxlen=1 + round(1 / HEARTBEAT_S))

    def run(self) -> None:
        """Until told to stop."""
        while (case := self._capture.case) is None:
            if self._stopping.wait(TICK_S):
                return
        warm_up(self._make_pipeline, self._plan, case.info)
        self._begin(case)
        self._capture.analysis_is_ready.set()
        beat_s = time.monotonic()
        while not self._stopping.is_set():
            captured = self._newest.take(min(TICK_S, max(0.0, beat_s - time.monotonic())))
            if captured is not None:
                self._see(captured)
            elif time.monotonic() > self._capture.due_s + PATIENCE_S:
                self._see_nothing()
            if time.monotonic() >= beat_s:
                beat_s = time.monotonic() + HEARTBEAT_S
                self._beat()

    def _begin(self, case: Case) -> None:
        self._case = case
        self._pipeline = self._make_pipeline(self._plan, case.info)
        self._watch = Watch(self._settings.limits(), self._settings.timing())
        self._began_s = time.monotonic()
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

    def _see_nothing(self) -> None:
        t_s = _age_s(self._began_s)
        if self._last is not None:
            t_s = self._last.frame.t_s + _age_s(self._last.at_s)
        self._latency_ms = None
        self._tell(self._pipeline.no_frame(t_s), None)

    def _tell(self, findings: Findings, captured_s: float | None) -> None:
        """``captured_s`` None: no frame stands behind the findings."""
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
        health = Health(
            source=self._case.info.name,
            state=FrameState.NO_SIGNAL if last is None else last.findings.state,
            frames=self._capture.frames,
            pulses=0 if last is None else last.findings.pulse,
            dropped=self._capture.dropped,
            latency_ms=self._latency_ms,
            rate_hz=self._rate_hz(),
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


class Dashboard:
    """Keeps the dashboard's process running.

    The listening socket is bound here and inherited: a port in use is told at once, and while the dashboard is
    being restarted browsers wait instead of being refused. The process ends by itself when the other end of its
    lifeline is closed, which the kernel does however this process ends.
    """

    FIRST_PAUSE_S = 0.25
    LONGEST_PAUSE_S = 5.0
    STEADY_S = 10.0
    """After running this long a death is not counted with those before it."""

    ENDING_S = 1.0
    """What it is given to end after being asked."""

    def __init__(
        self, command: Sequence[str], host: str, port: int, bus: str, frames: str, stopping: threading.Event
    ) -> None:
        self._stopping = stopping
        self._listening = _listening_socket(host, port)
        self.address: tuple[str, int] = self._listening.getsockname()[:2]
        self._lifeline, self._our_end = os.pipe()
        # -P: the package that is installed beside this one, never a folder of that name where the user stands.
        self._command = [sys.executable, "-P", *command, "--fd", str(self._listening.fileno())]
        self._command += ["--lifeline", str(self._lifeline), "--bus", bus, "--frames", frames]

    def run(self) -> None:
        """Until told to stop."""
        pause_s = self.FIRST_PAUSE_S
        while not self._stopping.is_set():
            started_s = time.monotonic()
            with self._process() as process:
                status = self._wait(process)
            if status is None:
                return
            if _age_s(started_s) > self.STEADY_S:
                pause_s = self.FIRST_PAUSE_S
            _tell(f"the dashboard ended (status {status}); starting it again in {pause_s:g} s")
            self._stopping.wait(pause_s)
            pause_s = min(2 * pause_s, self.LONGEST_PAUSE_S)

    def answers(self, timeout_s: float) -> bool:
        """Whether the dashboard says that it is healthy."""
        host, port = self.address
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
        try:
            connection.request("GET", "/healthy")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def close(self) -> None:
        """Give up the port and cut the lifeline."""
        self._listening.close()
        os.close(self._our_end)
        os.close(self._lifeline)

    def _process(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            pass_fds=(self._listening.fileno(), self._lifeline),
            # Ctrl-C on the terminal is for this process alone, which then ends the dashboard in order.
            start_new_session=True,
        )

    def _wait(self, process: subprocess.Popen[bytes]) -> int | None:
        """Its exit status, or None when the service stops, which ends it."""
        while not self._stopping.wait(TICK_S):
            if (status := process.poll()) is not None:
                return status
        process.terminate()
        try:
            process.wait(self.ENDING_S)
        except subprocess.TimeoutExpired:
            process.kill()
        return None


class Service:
    """Capture, analysis, bus and dashboard, from ``start`` to ``stop``.

    ``start`` returns at once and raises BusError where a port cannot be had. If any thread fails afterwards, all
    are told to stop and ``failure`` holds the error: SourceError where the source could not be opened at all,
    anything else is a bug. ``stop`` may be called twice and leaves no thread, process or socket; a source that
    blocks for longer than 1.5 s in reading a frame is the one thing that it cannot end, and it says so.
    """

    def __init__(
        self,
        open_source: OpenSource,
        plan: CasePlan,
        settings: Settings,
        *,
        host: str = "127.0.0.1",
        port: int = 8000,
        bus_port: int = BUS_PORT,
        loop: bool = False,
        pace: bool = True,
        make_pipeline: MakePipeline = Pipeline,
        dashboard: Sequence[str] = ("-m", "web"),
    ) -> None:
        self._open_source = open_source
        self._plan = plan
        self._settings = settings
        self._address = host, port
        self._bus_port = bus_port
        self._loop = loop
        self._pace = pace
        self._make_pipeline = make_pipeline
        self._dashboard_command = dashboard
        self._threads: list[threading.Thread] = []
        self._closing = ExitStack()
        self.stopping = threading.Event()
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Take the ports and start every thread. Raises BusError, with nothing left behind."""
        with ExitStack() as undo:
            undo.callback(self.stop)
            context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
            self._closing.callback(context.destroy, linger=0)
            frames_port = self._bus_port + 1 if self._bus_port else 0
            bus = self._closing.enter_context(Publisher(context, BUS_HOST, self._bus_port))
            frames = self._closing.enter_context(FramePublisher(context, BUS_HOST, frames_port))
            self.bus_endpoint, self.frames_endpoint = bus.endpoint, frames.endpoint
            self.dashboard = Dashboard(
                self._dashboard_command, *self._address, bus.endpoint, frames.endpoint, self.stopping
            )
            self._closing.callback(self.dashboard.close)

            newest: Slot[Captured] = Slot()
            shown: Slot[Shown] = Slot()
            self._capture = Capture(self._open_source, self._loop, self._pace, newest, self.stopping)
            analysis = Analysis(
                self._plan,
                self._settings,
                self._make_pipeline,
                self._capture,
                newest,
                shown,
                bus,
                self.stopping,
            )
            self._start_thread("pictures", Pictures(shown, frames, self.stopping).run)
            self._start_thread("analysis", analysis.run)
            self._start_thread("capture", self._capture.run)
            self._start_thread("dashboard", self.dashboard.run)
            undo.pop_all()

    @property
    def ready(self) -> bool:
        """Whether analysis is warm and looking at frames."""
        return self._capture.analysis_is_ready.is_set()

    def stop(self) -> None:
        """End every thread and process and give back every socket, within 2 s."""
        self.stopping.set()
        deadline_s = time.monotonic() + STOP_S
        for thread in self._threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))
        stuck = [thread.name for thread in self._threads if thread.is_alive()]
        self._threads.clear()
        if stuck:
            _tell(f"did not end in {STOP_S:g} s: {', '.join(stuck)}")
        self._closing.close()

    def _start_thread(self, name: str, work: Callable[[], None]) -> None:
        # A daemon, so that a source which hangs in the kernel cannot keep the process from ending.
        thread = threading.Thread(name=name, target=self._guard, args=(work,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _guard(self, work: Callable[[], None]) -> None:
        """A thread's work; whatever goes wrong in it ends the service and is told by whoever runs it."""
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - nothing is hidden: it is kept and ends the service
            self.failure = self.failure or error
            self.stopping.set()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def run_service(
    open_source: OpenSource,
    plan: CasePlan,
    settings: Settings,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    bus_port: int = BUS_PORT,
    loop: bool = False,
    pace: bool = True,
) -> int:
    """Run the service until SIGINT or SIGTERM; its exit status: 0 when asked to stop, 1 when it failed.

    Prints the dashboard's address once the dashboard answers and analysis is warm. Raises BusError and SourceError
    for what the user can mend.
    """
    service = Service(open_source, plan, settings, host=host, port=port, bus_port=bus_port, loop=loop, pace=pace)
    with _asked_to_stop() as asked, service:
        told = False
        while not asked() and not service.stopping.wait(TICK_S):
            if not told and service.ready and service.dashboard.answers(timeout_s=0.5):
                print(f"Dashboard: {_url(*service.dashboard.address)}", flush=True)  # noqa: T201
                told = True
    if isinstance(service.failure, SourceError):
        raise service.failure
    if service.failure is not None:
        place = traceback.extract_tb(service.failure.__traceback__)[-1]
        _tell(
            f"stopped everything: {type(service.failure).__name__}: {service.failure} ({place.filename}:{place.lineno})"
        )
        return 1
    return 0


def listen(endpoint: str | None = None) -> Iterator[str]:
    """The bus's messages as lines of JSON, for as long as the caller wants. Silence is told on standard error."""
    endpoint = endpoint or f"tcp://{BUS_HOST}:{BUS_PORT}"
    with Subscriber(endpoint) as subscriber:
        silent = False
        while True:
            message = subscriber.receive(timeout_s=DEAF_AFTER_S)
            if message is not None:
                yield message.to_bytes().decode()
            elif not silent:
                _tell(f"{endpoint}: no heartbeat for {DEAF_AFTER_S:g} s; is the service running?")
            silent = message is None


@contextmanager
def read_ahead(frames: Iterable[Frame], enabled: bool) -> Iterator[Iterable[Frame]]:
    """The same frames in the same order, read a few ahead by another thread; errors come where they came."""
    if not enabled:
        yield frames
        return
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead") as pool:
        try:
            yield _ahead(iter(frames), pool)
        finally:
            pool.shutdown(cancel_futures=True)


def _ahead(frames: Iterator[Frame], pool: ThreadPoolExecutor, depth: int = 4) -> Iterator[Frame]:
    def submit() -> Future[Frame | None]:
        return pool.submit(next, frames, None)

    waiting = deque(submit() for _ in range(depth))
    while (frame := waiting.popleft().result()) is not None:
        waiting.append(submit())
        yield frame


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


def _listening_socket(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise port_in_use(host, port, "--port") from error
        raise BusError(f"the dashboard cannot use port {port} on {host}: {error.strerror}") from error


@contextmanager
def _asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Whether SIGINT or SIGTERM has come. A flag, because a handler may not touch the threads' locks."""
    asked = False

    def note(signum: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _age_s(since_s: float) -> float:
    return time.monotonic() - since_s


def _ms_since(since_s: float) -> float:
    return _age_s(since_s) * 1000


def _tell(words: str) -> None:
    print(f"fluoroguide: {words}", file=sys.stderr, flush=True)  # noqa: T201
