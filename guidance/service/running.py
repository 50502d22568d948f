"""The whole service, wired: started, watched and ended."""

import gc
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

import zmq

from drivers.errors import SourceError
from drivers.frame import Frame
from guidance.admission import Admission, AdmissionError
from guidance.bus.desk import CallSocket, Desk, Gate
from guidance.bus.keys import ClientKeys, client_keys, local_folder, local_keys
from guidance.bus.messages import DEAF_AFTER_S, Endpoints
from guidance.bus.publisher import FRAMES_KEPT, MESSAGES_KEPT, FramePublisher, Publisher, require_loopback
from guidance.bus.subscriber import Subscriber
from guidance.casebook.alarm_log import AlarmLog, Event
from guidance.casebook.field_pins import FieldPins
from guidance.encoded import gray_jpeg
from guidance.records import CasePlan
from guidance.service.analysis import Analysis, MakePipeline, Orders, Pictures, Shown
from guidance.service.capture import TICK_S, Capture, Captured, Choose, OpenSource, Slot
from guidance.service.dashboard import Dashboard
from guidance.service.early import EarlyPictures
from guidance.service.recording import Recording
from guidance.settings import Settings
from guidance.vision.pipeline import Pipeline

BUS_HOST = "127.0.0.1"
BUS_PORT = 5570
"""Findings, alerts and health; pictures, snapshots and commands are on the next ports."""

SILENCE = "%s: nothing heard for %g s; is the service running? Beyond its own machine it asks for --keys"

EVERYBODY_HERE = Admission()

STOP_S = 1.5
"""Threads are given this long to end, so that all is over within 2 s."""

GIVES_WAY = 5
"""Nice: a third of the processor's time for whoever writes and encodes, where analysis or capture wants it too."""

log = logging.getLogger(__name__)


class Service:
    """Capture, analysis, bus and dashboard, from ``start`` to ``stop``.

    ``start`` returns at once and raises BusError where a port cannot be had. If any thread fails afterwards, all
    are told to stop and ``failure`` holds the error: SourceError where the source could not be opened at all,
    anything else is a bug. ``stop`` may be called twice and leaves no thread, process or socket; a source that
    blocks for longer than 1.5 s in reading a frame is the one thing that it cannot end, and it says so.
    ``archive``: the folder where cases are kept, see ``Recording``; None: none is. ``plans``: the folder where the
    setup page keeps plans, None where it keeps none. ``fields``: the file that remembers corrected x-ray fields; None:
    they are forgotten. ``choose``: what another source's name means, None: none may be chosen. ``recordings``: folder
    of those that may. ``spec``: what ``open_source`` opens, as it would be chosen.
    """

    def __init__(
        self,
        open_source: OpenSource,
        plan: CasePlan,
        settings: Settings,
        *,
        host: str = "127.0.0.1",
        port: int = 8000,
        admission: Admission = EVERYBODY_HERE,
        bus_host: str = BUS_HOST,
        bus_port: int = BUS_PORT,
        keys: Path | None = None,
        alarm_log: Path | None = None,
        loop: bool = False,
        pace: bool = True,
        make_pipeline: MakePipeline = Pipeline,
        dashboard: Sequence[str] = ("-m", "web"),
        archive: Path | None = None,
        plans: Path | None = None,
        fields: Path | None = None,
        choose: Choose | None = None,
        recordings: Path | None = None,
        spec: str | None = None,
    ) -> None:
        self._spec = spec
        self._recordings = recordings
        self._plans = plans
        self._pins = FieldPins(fields)
        self._plan = plan
        self._settings = settings
        self._address = host, port
        self._admission = admission
        self._bus_host = bus_host
        self._bus_port = bus_port
        self._keys = keys
        self._log_path = alarm_log
        self._log: AlarmLog | None = None
        self._analysis: Analysis | None = None
        self._make_pipeline = make_pipeline
        self._dashboard_command = dashboard
        self._threads: list[threading.Thread] = []
        self._closing = ExitStack()
        self.stopping = threading.Event()
        self.failure: BaseException | None = None
        self._newest: Slot[Captured] = Slot()
        self._archive = archive
        self._recording: Recording | None = None
        self._early: Slot[Captured] = Slot()
        self._encoded: tuple[Frame, Future[bytes]] | None = None
        self._encode_turn = threading.Lock()

        def every(captured: Captured) -> None:
            self._early.put(captured)
            if self._recording is not None:
                self._recording.put(captured)

        self._capture = Capture(open_source, loop, pace, self._newest, self.stopping, every, choose)

    def start(self) -> None:
        """Take the ports and the log and start every thread. Raises BusError, KeysError, AlarmLogError, ArchiveError,
        AdmissionError and AccountsError, with nothing left behind."""
        self._admission.check(self._address[0])
        if self._admission.accounts is not None and self._log_path is None:
            raise AdmissionError("accounts: expected --alarm-log FILE: who did what is noted beside it")
        with ExitStack() as undo:
            undo.callback(self.stop)
            if self._log_path is not None:
                self._log = self._closing.enter_context(AlarmLog(self._log_path))
                self._log.note(Event.STARTED)
            if self._archive is not None:
                kept = self._settings
                self._recording = Recording(
                    self._archive, self._plan, self.stopping, kept.archive_keep_days, kept.archive_keep_gb
                )
            orders = Orders()
            bus, frames, desk = self._open_bus(orders)
            self.dashboard = Dashboard(
                self._dashboard_command,
                *self._address,
                self.endpoints,
                self._local,
                self._dashboard_options(),
                self.stopping,
                self._admission.tls,
            )
            self._closing.callback(self.dashboard.close)

            self._encoding = ThreadPoolExecutor(1, "encoding", initializer=_give_way)
            self._closing.callback(self._encoding.shutdown, cancel_futures=True)

            shown: Slot[Shown] = Slot()
            self._analysis = Analysis(
                self._plan,
                self._settings,
                self._make_pipeline,
                self._capture,
                self._newest,
                shown,
                bus,
                desk,
                orders,
                self._log,
                self._encode,
                self.stopping,
                self._recording,
                self._pins,
            )
            if self._recording is not None:
                self._start_thread("recording", self._recording.run, gives_way=True)
                self._start_thread("archive", self._until_stopped(self._recording.sync), gives_way=True)
                self._start_thread("retention", self._until_stopped(self._recording.let_go), gives_way=True)
            self._start_thread("desk", self._until_stopped(desk.serve))
            if self._log is not None:
                log = self._log
                self._start_thread("log", self._until_stopped(lambda: log.sync(TICK_S)))
            self._start_thread("pictures", Pictures(shown, frames, self.stopping).run)
            self._start_thread("early", EarlyPictures(self._early, self._encode, frames, self.stopping).run)
            self._start_thread("analysis", self._analysis.run)
            self._start_thread("capture", self._capture.run)
            self._start_thread("dashboard", self.dashboard.run)
            undo.pop_all()

    def _encode(self, frame: Frame) -> Future[bytes]:
        """A frame's JPEG, made once for all who ask for it."""
        with self._encode_turn:
            if self._encoded is None or self._encoded[0] is not frame:
                self._encoded = frame, self._encoding.submit(gray_jpeg, frame)
            return self._encoded[1]

    def _open_bus(self, orders: Orders) -> tuple[Publisher, FramePublisher, Desk]:
        """The four sockets and who answers on them, as ``endpoints`` says."""
        if self._keys is None:
            require_loopback(self._bus_host)
        enter = self._closing.enter_context
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._closing.callback(context.destroy, linger=0)
        port = iter(range(self._bus_port, self._bus_port + 4)) if self._bus_port else iter((0, 0, 0, 0))
        local = f"{self._bus_port}" if self._bus_port else f"of-{os.getpid()}-{id(self):x}"
        keys = enter(local_keys(local, self._keys))
        self._local = local_folder(local)
        guarded = keys if self._keys is not None else None
        # Before the sockets that it guards.
        gate = Gate(context, keys)
        self._closing.callback(gate.close)
        bus = enter(Publisher(context, self._bus_host, next(port), MESSAGES_KEPT, guarded))
        frames = enter(FramePublisher(context, self._bus_host, next(port), FRAMES_KEPT, guarded, bus.session))
        snapshots = enter(CallSocket(context, self._bus_host, next(port), MESSAGES_KEPT, guarded))
        commands = enter(CallSocket(context, self._bus_host, next(port), MESSAGES_KEPT, keys))
        self.endpoints = Endpoints(bus.endpoint, frames.endpoint, snapshots.endpoint, commands.endpoint)
        return bus, frames, Desk(snapshots, commands, gate, bus.present, orders.give, (bus, frames))

    def _dashboard_options(self) -> list[str]:
        """Whether the bus asks for keys, who and how many are let in, where it is noted, what the setup page has."""
        guarded = ["--guarded"] if self._keys is not None else []
        kept = ["--most-viewers", str(self._settings.most_viewers)]
        if self._log_path is not None:
            kept += ["--audit-log", str(self._log_path.with_suffix(".audit.jsonl"))]
            kept += ["--sessions", str(self._log_path.with_suffix(".sessions.json"))]
        known = {
            "--plans": self._plans,
            "--recordings": self._recordings,
            "--source": self._spec,
            "--archive": self._archive,
        }
        given = [part for option, value in known.items() if value is not None for part in (option, str(value))]
        return guarded + kept + given + self._admission.options()

    def _until_stopped(self, work: Callable[[], None]) -> Callable[[], None]:
        def loop() -> None:
            while not self.stopping.is_set():
                work()

        return loop

    @property
    def case(self) -> str | None:
        """The present case's name, None before a source is open."""
        return None if self._capture.case is None else self._capture.case.id

    @property
    def client_keys(self) -> ClientKeys:
        """The keys of a client on this machine, by which it may command."""
        return client_keys(self._local)

    @property
    def ready(self) -> bool:
        """Whether analysis is warm and looking at frames."""
        return self._capture.analysis_is_ready.is_set()

    def stop(self) -> None:
        """End every thread and process and give back every socket, within 2 s."""
        self.stopping.set()
        self._capture.stop()
        deadline_s = time.monotonic() + STOP_S
        for thread in self._threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))
        stuck = [thread.name for thread in self._threads if thread.is_alive()]
        self._threads.clear()
        if stuck:
            log.error("did not end in %g s: %s", STOP_S, ", ".join(stuck))
        # Whoever ended before a case began leaves to the next one what was left to it.
        begun = self._analysis is not None and self._analysis.has_begun
        if self._log is not None and begun and self.failure is None and not stuck:
            self._log.note(Event.STOPPED)
        self._log = None
        self._closing.close()

    def _start_thread(self, name: str, work: Callable[[], None], gives_way: bool = False) -> None:
        def guarded() -> None:
            if gives_way:
                _give_way()
            self._guard(work)

        # A daemon, so that a source which hangs in the kernel cannot keep the process from ending.
        thread = threading.Thread(name=name, target=guarded, daemon=True)
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
    admission: Admission = EVERYBODY_HERE,
    bus_host: str = BUS_HOST,
    bus_port: int = BUS_PORT,
    keys: Path | None = None,
    alarm_log: Path | None = None,
    loop: bool = False,
    pace: bool = True,
    archive: Path | None = None,
    plans: Path | None = None,
    fields: Path | None = None,
    choose: Choose | None = None,
    recordings: Path | None = None,
    spec: str | None = None,
) -> int:
    """The exit status of a service that runs until SIGINT or SIGTERM; see ``run_until_asked``."""
    service = Service(
        open_source,
        plan,
        settings,
        host=host,
        port=port,
        admission=admission,
        bus_host=bus_host,
        bus_port=bus_port,
        keys=keys,
        alarm_log=alarm_log,
        loop=loop,
        pace=pace,
        archive=archive,
        plans=plans,
        fields=fields,
        choose=choose,
        recordings=recordings,
        spec=spec,
    )
    tune_interpreter()
    return run_until_asked(service)


def run_until_asked(service: Service) -> int:
    """0 when the service was asked to stop by SIGINT or SIGTERM, 1 when it failed, which is told in one line.

    Prints the dashboard's address once the dashboard answers and analysis is warm. Raises BusError and
    SourceError for what the user can mend. Belongs to the main thread, which alone may handle signals.
    """
    with _asked_to_stop() as asked, service:
        told = False
        while not asked() and not service.stopping.wait(TICK_S):
            if not told and service.ready and service.dashboard.answers(timeout_s=0.5):
                print(f"Dashboard: {service.dashboard.url}", flush=True)  # noqa: T201 - what the user waits for
                told = True
    if isinstance(service.failure, SourceError):
        raise service.failure
    if service.failure is not None:
        print(f"fluoroguide: stopped everything: {_bug(service.failure)}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def listen(endpoint: str | None = None, keys: ClientKeys | None = None) -> Generator[str, None, None]:
    """The bus's messages as lines of JSON, for as long as the caller wants. Silence is told on standard error.

    The first is a snapshot of all that is so already.
    """
    endpoint = endpoint or f"tcp://{BUS_HOST}:{BUS_PORT}"
    with Subscriber(endpoint, keys=keys) as subscriber:
        silent = False
        refused = 0
        while True:
            message = subscriber.receive(timeout_s=DEAF_AFTER_S)
            if subscriber.reception.refused > refused:
                refused = subscriber.reception.refused
                log.warning("%s: %s", endpoint, subscriber.reception.last_refusal)
            if message is not None:
                yield message.to_bytes().decode()
            elif not silent:
                log.warning(SILENCE, endpoint, DEAF_AFTER_S)
            silent = message is None


def tune_interpreter() -> None:
    """For a process that does nothing else: even latency, and a quick end."""
    # Whoever lets go of the GIL for a kernel waits this long to get it back while another thread runs Python; at
    # the usual 5 ms, and a source that is itself Python, it took the median latency from 8.5 to 12 ms.
    sys.setswitchinterval(0.0005)
    # What the imports made lives as long as the process. Walking it took 0.1 s whenever the collector came to its
    # oldest generation, in the middle of a case, and over a second at exit.
    gc.freeze()


def _give_way() -> None:
    """From now on this thread lets those go first that alarms wait for, where they want the same processor."""
    # Only Linux has a priority for each thread.
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), GIVES_WAY)


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


def _bug(error: BaseException) -> str:
    """What went wrong and where, in one line."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})"
