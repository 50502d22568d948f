"""The service with a small pipeline and a small dashboard in the real ones' places."""

import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np
import pytest
import zmq
from numpy.typing import NDArray
from pydantic import ValidationError

from drivers.errors import SourceError
from drivers.frame import Frame, FrameFlag, FrameSource, SourceInfo, freeze
from drivers.signal import Signal, SourceStatus
from drivers.v4l2 import V4L2Grabber
from drivers.v4l2_card import GrabberOptions
from drivers.v4l2_kernel import InputStatus
from guidance.bus.commands import Commander
from guidance.bus.messages import (
    HEARTBEAT_S,
    Acknowledge,
    AlertEnvelope,
    ChooseSource,
    DrawnOn,
    FindingsEnvelope,
    FrameMessage,
    HealthBody,
    HealthEnvelope,
    Mark,
    Message,
    NextPatient,
    PauseAudio,
    PinField,
    RemoveZone,
    SetPhase,
    SetView,
    SetZone,
    SnapshotEnvelope,
    TakeReference,
    UsePlan,
)
from guidance.bus.publisher import BusError, Publisher
from guidance.bus.subscriber import Subscriber
from guidance.casebook import alarm_log
from guidance.casebook.alarm_log import AlarmLog, Event, read_log
from guidance.casebook.archive import Archive, CaseState
from guidance.casebook.field_pins import FieldPin, FieldPins, FieldPinsError
from guidance.casebook.recorder import CaseRecorder
from guidance.encoded import gray_jpeg
from guidance.plan import PlanFile, ZoneEntry
from guidance.records import (
    Alert,
    AlertKind,
    AlertState,
    CasePlan,
    CementDeposit,
    Findings,
    FrameState,
    Phase,
    Priority,
    Scale,
    ScaleSource,
    View,
    Zone,
    ZoneKind,
)
from guidance.service import Service, listen, read_ahead, run_until_asked
from guidance.service.capture import Captured, Case, Choice
from guidance.service.recording import ROOM_FRAMES, Recording
from guidance.settings import Settings
from guidance.vision.pipeline import NothingSeenError
from guidance.wire import alert_message
from tests.unit.drivers.fake_v4l2 import Card, FakeKernel

SMALL_DASHBOARD = """
import argparse, http.server, os, socket, threading
options = argparse.ArgumentParser()
for name in ("--fd", "--lifeline"):
    options.add_argument(name, type=int)
options, _ = options.parse_known_args()
threading.Thread(target=lambda: (os.read(options.lifeline, 1), os._exit(0)), daemon=True).start()
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = str(os.getpid()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words):
        pass
server = http.server.HTTPServer(("", 0), Answer, bind_and_activate=False)
server.socket = socket.socket(fileno=options.fd)
server.serve_forever()
"""
QUIET_DASHBOARD = "import sys; sys.argv; import os; os.read(int(sys.argv[sys.argv.index('--lifeline') + 1]), 1)"

Heard = Message | SnapshotEnvelope
HEALTH = HealthBody(
    source="small",
    state=FrameState.LIVE,
    frames=0,
    pulses=0,
    dropped=0,
    latency_ms=None,
    rate_hz=None,
    findings_t_s=None,
    alerts=[],
)

ESCAPE = Alert(
    4, AlertKind.CEMENT_ESCAPE, Priority.HIGH, AlertState.RAISED, 9, 0.3, None, None, 9.0, "mm/s", "Cement escapes"
)

Openings = list[Sequence[Frame | Exception]]


def frames(count: int, start_s: float = 0.0, rate_hz: float = 50.0) -> list[Frame]:
    picture = freeze(np.full((32, 48), 90, np.uint8))
    return [Frame(picture, start_s + i / rate_hz, i) for i in range(count)]


class SmallSource:
    """Frames from a list, with an exception in a frame's place raised; opens once for each list."""

    def __init__(self, frames: Sequence[Frame | Exception], live: bool) -> None:
        self.info = SourceInfo("small", 48, 32, 8, live)
        self.status = SourceStatus(Signal.LIVE, 0.0)
        self._frames = frames

    def stop(self) -> None: ...

    def __enter__(self) -> Self:
        if self._frames and isinstance(self._frames[0], Exception):
            raise self._frames[0]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._frames:
            if isinstance(frame, Exception):
                raise frame
            if self.info.live:
                time.sleep(0.02)
            yield frame


def source(*openings: Sequence[Frame | Exception], live: bool = False) -> Callable[[], FrameSource]:
    """Each opening gives the next list; the last one again and again."""
    left = list(openings)
    return lambda: SmallSource(left.pop(0) if len(left) > 1 else left[0], live)


class SmallPipeline:
    """Every frame is a pulse. The ``fails_at``-th raises."""

    fails_at = -1

    def __init__(self, plan: CasePlan, info: SourceInfo) -> None:
        scale = Scale(0.2, ScaleSource.PLAN)
        self._last = Findings(-1, 0.0, FrameState.LIVE, Phase.NEEDLE, False, None, 0, None, None, scale)
        self._first_s: float | None = None

    def step(self, frame: Frame) -> Findings:
        if self._last.frame + 1 == self.fails_at:
            raise ZeroDivisionError("a bug in the pipeline")
        lost = frame.flags & FrameFlag.NO_SIGNAL
        return self._next(frame.t_s, FrameState.NO_SIGNAL if lost else FrameState.LIVE)

    def settle(self) -> None: ...

    def no_frame(self, t_s: float) -> Findings:
        return self._next(t_s, FrameState.NO_SIGNAL)

    def use_plan(self, plan: CasePlan, drawn_on: Mapping[View, int]) -> None: ...

    def _next(self, t_s: float, state: FrameState) -> Findings:
        if self._first_s is None:
            self._first_s = t_s
        pulse = self._last.pulse + (state is FrameState.LIVE)
        self._last = replace(self._last, frame=self._last.frame + 1, t_s=t_s - self._first_s, state=state, pulse=pulse)
        return self._last


class FailingPipeline(SmallPipeline):
    fails_at = 5


def small_service(
    open_source: Callable[[], FrameSource],
    *,
    loop: bool = False,
    pace: bool = True,
    port: int = 0,
    pipeline: type[SmallPipeline] = SmallPipeline,
    dashboard: str = QUIET_DASHBOARD,
    archive: Path | None = None,
) -> Service:
    return Service(
        open_source,
        CasePlan(),
        Settings(),
        port=port,
        bus_port=0,
        loop=loop,
        pace=pace,
        make_pipeline=pipeline,
        dashboard=("-c", dashboard),
        archive=archive,
    )


def hear(subscriber: Subscriber, wanted: Callable[[Heard], bool], within_s: float = 3.0) -> Heard:
    """The first message that is wanted."""
    deadline_s = time.monotonic() + within_s
    while time.monotonic() < deadline_s:
        message = subscriber.receive(timeout_s=0.1)
        if message is not None and wanted(message):
            return message
    raise AssertionError("not heard in time")


def wait_until(true: Callable[[], bool], within_s: float = 3.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline_s, "not so in time"
        time.sleep(0.02)


def frames_kept(case: Path) -> int:
    """So many lines its index has."""
    index = case / "frames.jsonl"
    return index.read_bytes().count(b"\n") if index.exists() else 0


def answer(port: int) -> str:
    """What the small dashboard answers: its process id; empty where it does not."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.sendall(b"GET /healthy HTTP/1.0\r\n\r\n")
            received = b"".join(iter(lambda: connection.recv(4096), b""))
    except OSError:
        return ""
    return received.rsplit(b"\r\n", 1)[-1].decode()


def decoded(jpeg: bytes) -> NDArray[np.uint8]:
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_UNCHANGED), dtype=np.uint8)


def open_sockets() -> set[str]:
    """Sockets and pipes of this process, as the kernel names them."""
    targets = set()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the descriptor that lists the folder
            targets.add(str(link.readlink()))
    return {target for target in targets if target.startswith(("socket:", "pipe:"))}


def all_children() -> set[str]:
    found: set[str] = set()
    for task in Path("/proc/self/task").iterdir():
        # A thread of an earlier test may end between the listing and the look at it.
        with suppress(FileNotFoundError, ProcessLookupError):
            found.update((task / "children").read_text().split())
    return found


@pytest.fixture
def children() -> Callable[[], set[str]]:
    """The processes that a test has begun and that have not ended; what earlier tests left is not its fault."""
    before = all_children()
    return lambda: all_children() - before


def test_every_frame_of_a_recording_is_analysed_and_told_when_it_is_not_paced() -> None:
    with small_service(source(frames(60)), pace=False) as service, Subscriber(service.endpoints) as reader:
        told = hear(reader, lambda m: isinstance(m, HealthEnvelope) and m.body.frames == 60)
    assert isinstance(told, HealthEnvelope)
    assert (told.body.dropped, told.body.pulses) == (0, 60)


def test_a_recording_is_played_at_the_pace_of_its_own_timestamps() -> None:
    with small_service(source(frames(200, start_s=1000.0))) as service, Subscriber(service.endpoints) as reader:
        first = hear(reader, lambda m: isinstance(m, FindingsEnvelope))
        later = hear(reader, lambda m: isinstance(m, FindingsEnvelope) and m.body.t_s > 1)
    assert isinstance(first, FindingsEnvelope)
    assert isinstance(later, FindingsEnvelope)
    assert later.sent_s - first.sent_s == pytest.approx(later.body.t_s - first.body.t_s, abs=0.1)


def test_findings_carry_the_time_from_capture_to_telling() -> None:
    with small_service(source(frames(200))) as service, Subscriber(service.endpoints) as reader:
        told = hear(reader, lambda m: isinstance(m, FindingsEnvelope))
    assert isinstance(told, FindingsEnvelope)
    assert told.body.latency_ms is not None
    assert 0 < told.body.latency_ms < 1000


def test_a_reader_that_comes_late_knows_the_state_and_the_active_alerts_from_one_heartbeat() -> None:
    with small_service(source(frames(3))) as service:
        with Subscriber(service.endpoints) as early:
            hear(early, lambda m: isinstance(m, AlertEnvelope))
        with Subscriber(service.endpoints) as late:
            told = hear(late, lambda m: isinstance(m, HealthEnvelope))
            assert isinstance(told, HealthEnvelope)
            then = hear(late, lambda m: isinstance(m, HealthEnvelope))
            assert not late.deaf
    assert told.body.state is FrameState.NO_SIGNAL
    assert [alert.kind for alert in told.body.alerts] == [AlertKind.VIDEO_LOST]
    assert told.body.findings_t_s is not None
    assert then.sent_s - told.sent_s == pytest.approx(HEARTBEAT_S, abs=0.1)


def test_a_reader_that_comes_late_gets_findings_and_picture_of_a_recording_with_long_pauses() -> None:
    slow = [*frames(1), *frames(1, start_s=60.0)]
    with small_service(source(slow)) as service:
        wait_until(lambda: service.ready)
        time.sleep(0.4)
        with Subscriber(service.endpoints, pictures=True) as late:
            told = hear(late, lambda m: isinstance(m, FindingsEnvelope))
            picture = late.newest_frame(timeout_s=2)
    assert isinstance(told, FindingsEnvelope)
    assert told.body.state is FrameState.LIVE
    assert picture is not None
    assert picture.header.frame == 0


def test_a_picture_is_told_with_its_findings_and_comes_back_as_it_was_but_for_jpeg() -> None:
    with (
        small_service(source(frames(200))) as service,
        Subscriber(service.endpoints, pictures=True) as reader,
    ):
        told: FrameMessage | None = None
        for _ in range(30):
            told = reader.newest_frame(timeout_s=0.1)
            if told is not None:
                break
    assert told is not None
    picture = decoded(told.jpeg)
    assert picture.shape == (32, 48)
    assert abs(int(picture[10, 10]) - 90) <= 2
    assert told.header.captured_s <= told.header.sent_s
    assert told.header.findings.frame == told.header.frame


class FewPulses(SmallPipeline):
    """Two frames in three show the pulse before them again."""

    def step(self, frame: Frame) -> Findings:
        before = self._last.pulse
        after = super().step(frame)
        self._last = replace(after, pulse=before + (frame.sequence % 3 == 0))
        return self._last


@pytest.mark.parametrize("pipeline", [SmallPipeline, FewPulses])
def test_the_picture_is_always_that_of_the_pulse_that_the_findings_are_of(pipeline: type[SmallPipeline]) -> None:
    grey = [freeze(np.full((32, 48), 20 + i, np.uint8)) for i in range(200)]
    shown = [Frame(pixels, i / 50, i) for i, pixels in enumerate(grey)]
    each = 3 if pipeline is FewPulses else 1
    told = 0
    with (
        small_service(source(shown), pipeline=pipeline, pace=False) as service,
        Subscriber(service.endpoints, pictures=True) as reader,
    ):
        until_s = time.monotonic() + 2
        while time.monotonic() < until_s:
            message = reader.newest_frame(timeout_s=0.1)
            if message is not None and message.jpeg:
                pulse = message.header.findings.pulse
                assert decoded(message.jpeg)[10, 10] == pytest.approx(20 + each * (pulse - 1), abs=1)
                told += 1
    assert told > 3


def test_a_live_source_that_is_lost_raises_video_lost_and_clears_it_when_it_is_back() -> None:
    lost = SourceError("/dev/video0: unplugged; expected a frame")
    opened = source([*frames(5), lost], [lost], [lost], frames(500), live=True)
    with small_service(opened) as service, Subscriber(service.endpoints) as reader:
        raised = hear(reader, lambda m: isinstance(m, AlertEnvelope))
        cleared = hear(reader, lambda m: isinstance(m, AlertEnvelope) and m.body.state is AlertState.CLEARED)
        after = hear(reader, lambda m: isinstance(m, FindingsEnvelope))
        assert service.failure is None
    assert isinstance(raised, AlertEnvelope)
    assert isinstance(cleared, AlertEnvelope)
    assert isinstance(after, FindingsEnvelope)
    assert raised.body.kind is cleared.body.kind is AlertKind.VIDEO_LOST
    assert raised.case == cleared.case
    assert after.body.t_s > cleared.body.t_s - 1e-6 > raised.body.t_s


def test_a_grabber_that_is_unplugged_is_told_in_words_and_its_case_goes_on_when_it_is_back() -> None:
    pictures = np.random.default_rng(1).integers(60, 200, (8, 32, 48), np.uint8)
    card = Card(formats=("GREY",), sizes=((48, 32),), pictures=pictures)
    back = Card(formats=("GREY",), sizes=((48, 32),), pictures=pictures, path="/dev/video5", is_there=False)
    kernel = FakeKernel(card, back)
    opened = lambda: V4L2Grabber(GrabberOptions(card.path), kernel)  # noqa: E731
    with small_service(opened) as service, Subscriber(service.endpoints) as reader:
        first = hear(reader, lambda m: isinstance(m, FindingsEnvelope) and m.body.state is FrameState.LIVE)
        card.unplug()
        raised = hear(reader, lambda m: isinstance(m, AlertEnvelope))
        back.is_there = True
        cleared = hear(reader, lambda m: isinstance(m, AlertEnvelope) and m.body.state is AlertState.CLEARED)
        after = hear(reader, lambda m: isinstance(m, FindingsEnvelope) and m.body.state is FrameState.LIVE)
    assert isinstance(raised, AlertEnvelope)
    assert isinstance(after, FindingsEnvelope)
    assert raised.body.kind is AlertKind.VIDEO_LOST
    assert raised.body.text.endswith("the grabber is unplugged")
    assert first.case == raised.case == cleared.case == after.case
    assert after.body.input_fault is None
    assert back.open_nodes == 0


def test_the_heartbeat_carries_what_the_grabber_counts_and_the_state_of_its_input() -> None:
    pictures = np.random.default_rng(1).integers(60, 200, (8, 32, 48), np.uint8)
    card = Card(formats=("GREY",), sizes=((48, 32),), pictures=pictures)
    opened = lambda: V4L2Grabber(GrabberOptions(card.path), FakeKernel(card))  # noqa: E731
    with small_service(opened) as service, Subscriber(service.endpoints) as reader:
        hear(reader, lambda m: isinstance(m, FindingsEnvelope) and m.body.state is FrameState.LIVE)
        card.status = int(InputStatus.NO_H_LOCK)
        # The card's word may be in a heartbeat before the frame that comes with it has been looked at.
        bad = hear(reader, lambda m: isinstance(m, HealthEnvelope) and m.body.state is FrameState.NO_SIGNAL)
        with card.lock:
            card.status, card.sequence = 0, card.sequence + 7
        good = hear(reader, lambda m: isinstance(m, HealthEnvelope) and m.body.input.signal is Signal.LIVE)
    assert isinstance(bad, HealthEnvelope)
    assert isinstance(good, HealthEnvelope)
    assert good.body.input is not None
    assert bad.body.input is not None
    assert bad.body.input.signal is Signal.NO_LOCK
    assert good.body.input.dropped >= 7


def test_a_grabber_that_hangs_in_the_kernel_is_told_as_no_signal_and_does_not_keep_the_service_from_ending() -> None:
    pictures = np.random.default_rng(1).integers(60, 200, (8, 32, 48), np.uint8)
    card = Card(formats=("GREY",), sizes=((48, 32),), pictures=pictures)
    opened = lambda: V4L2Grabber(GrabberOptions(card.path), FakeKernel(card))  # noqa: E731
    try:
        with small_service(opened) as service, Subscriber(service.endpoints) as reader:
            hear(reader, lambda m: isinstance(m, FindingsEnvelope) and m.body.state is FrameState.LIVE)
            card.answers.clear()
            hear(reader, lambda m: isinstance(m, AlertEnvelope) and m.body.kind is AlertKind.VIDEO_LOST)
            told = hear(reader, lambda m: isinstance(m, FindingsEnvelope) and m.body.input_fault is not None)
    finally:
        card.answers.set()
    assert isinstance(told, FindingsEnvelope)
    assert told.body.state is FrameState.NO_SIGNAL
    assert told.body.input_fault == Signal.STALLED.words


def test_every_frame_is_recorded_in_order_whatever_the_analysis_skips_and_with_all_that_was_told(
    tmp_path: Path,
) -> None:
    service = small_service(source(frames(120), live=True), archive=tmp_path)
    with service:
        wait_until(lambda: (case := service.case) is not None and frames_kept(tmp_path / case) >= 100, within_s=10)
        archive = Archive(tmp_path)
        assert [entry.state for entry in archive.cases()] == [CaseState.RECORDING]
    (entry,) = archive.cases()
    assert entry.state is CaseState.COMPLETE
    with archive.open(entry.id) as case:
        kept = [case.frame(number) for number in range(len(case))]
        assert [frame.sequence for frame in kept] == list(range(len(kept)))
        assert case.damaged_frames() == ()
        told = [case.findings_at(row.t_s) for row in case.timeline]
        assert told
        assert all(line is not None and line["t_s"] == row.t_s for line, row in zip(told, case.timeline, strict=True))


def test_what_a_recorder_is_too_far_behind_for_is_counted_and_told_and_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_on = threading.Event()
    seen: list[int] = []

    def stuck(recorder: CaseRecorder, frame: Frame) -> None:
        seen.append(frame.sequence)
        may_go_on.wait(10)

    monkeypatch.setattr(CaseRecorder, "frame", stuck)
    with (
        small_service(source(frames(400), live=True), archive=tmp_path) as service,
        Subscriber(service.endpoints) as reader,
    ):
        told = hear(reader, lambda m: isinstance(m, HealthEnvelope) and m.body.not_recorded >= 5, within_s=10)
        alert = hear(
            reader, lambda m: isinstance(m, AlertEnvelope) and m.body.kind is AlertKind.RECORDER_BEHIND, within_s=5
        )
        may_go_on.set()
    assert isinstance(told, HealthEnvelope)
    assert isinstance(alert, AlertEnvelope)
    assert told.body.recording
    assert told.body.frames >= told.body.not_recorded + ROOM_FRAMES
    assert told.body.state is FrameState.LIVE
    assert seen[:ROOM_FRAMES] == list(range(ROOM_FRAMES))


def test_once_frames_are_lost_for_want_of_room_the_rest_of_the_case_is_kept_in_the_faster_codec(tmp_path: Path) -> None:
    stopping = threading.Event()
    recording = Recording(tmp_path, CasePlan(), stopping)
    rng = np.random.default_rng(4)
    shown = [replace(f, pixels=freeze(rng.integers(0, 255, f.pixels.shape, np.uint8))) for f in frames(ROOM_FRAMES + 9)]
    height_px, width_px = shown[0].pixels.shape
    case = Case("case", SourceInfo("bench", width_px, height_px, 8, live=True))
    for frame in shown[:-3]:
        recording.put(Captured(case, frame, 0.0))
    recorder = threading.Thread(target=recording.run)
    recorder.start()
    wait_until(lambda: frames_kept(tmp_path / "case") == ROOM_FRAMES)
    for frame in shown[-3:]:
        recording.put(Captured(case, frame, 0.0))
    stopping.set()
    recorder.join()
    with Archive(tmp_path).open("case") as kept:
        assert kept.header.not_recorded == 6
        assert kept.damaged_frames() == ()
        assert len(kept) == ROOM_FRAMES + 3
        assert b"M8G0" in (kept.folder / "video-002.mkv").read_bytes()


def test_a_disk_that_refuses_is_told_the_analysis_goes_on_and_so_does_the_case_when_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guidance.service.recording.RETRY_S", 0.1)
    is_full = threading.Event()
    write = os.pwritev

    def pwritev(file: int, pieces: Sequence[bytes], at: int) -> int:
        return 10 if is_full.is_set() else write(file, pieces, at)

    monkeypatch.setattr(os, "pwritev", pwritev)
    rng = np.random.default_rng(3)
    noise = [replace(f, pixels=freeze(rng.integers(0, 255, f.pixels.shape, np.uint8))) for f in frames(900)]
    with (
        small_service(source(noise, live=True), archive=tmp_path) as service,
        Subscriber(service.endpoints) as reader,
    ):
        hear(reader, lambda m: isinstance(m, HealthEnvelope) and m.body.frames > 20, within_s=10)
        is_full.set()
        told = hear(
            reader, lambda m: isinstance(m, AlertEnvelope) and m.body.kind is AlertKind.RECORDER_STOPPED, within_s=10
        )
        seen = hear(reader, lambda m: isinstance(m, FindingsEnvelope), within_s=5)
        is_full.clear()
        over = hear(reader, lambda m: isinstance(m, AlertEnvelope) and m.body.state is AlertState.CLEARED, within_s=10)
        hear(reader, lambda m: isinstance(m, HealthEnvelope) and m.body.recording_fault is None, within_s=5)
    assert isinstance(told, AlertEnvelope)
    assert told.body.text == "The case is not being recorded: No space left on device"
    assert isinstance(seen, FindingsEnvelope)
    assert seen.body.state is FrameState.LIVE
    assert isinstance(over, AlertEnvelope)
    (entry,) = Archive(tmp_path).cases()
    with Archive(tmp_path).open(entry.id) as case:
        assert case.damaged_frames() == ()
        assert case.frame(len(case) - 1).sequence > len(case)
        assert any("not recorded" in words for words in case.missing)
        assert (case.folder / "video-002.mkv").exists()


def test_a_live_source_that_never_gives_a_frame_is_no_signal_and_not_silence() -> None:
    with small_service(source([], live=True)) as service, Subscriber(service.endpoints) as reader:
        raised = hear(reader, lambda m: isinstance(m, AlertEnvelope))
    assert isinstance(raised, AlertEnvelope)
    assert raised.body.kind is AlertKind.VIDEO_LOST


def test_a_recording_that_has_ended_is_told_as_no_signal_and_the_service_goes_on() -> None:
    with small_service(source(frames(5))) as service, Subscriber(service.endpoints) as reader:
        hear(reader, lambda m: isinstance(m, FindingsEnvelope) and m.body.state is FrameState.NO_SIGNAL)
        assert not service.stopping.is_set()


def test_a_looped_recording_begins_a_new_case_at_each_turn() -> None:
    with small_service(source(frames(5)), loop=True) as service, Subscriber(service.endpoints) as reader:
        first = hear(reader, lambda m: isinstance(m, FindingsEnvelope))
        second = hear(reader, lambda m: isinstance(m, FindingsEnvelope) and m.case != first.case)
    assert isinstance(second, FindingsEnvelope)
    assert second.body.frame == 0


def test_between_two_turns_of_a_recording_nothing_is_shown_as_live_and_nothing_alarms() -> None:
    slow_to_begin = itertools.chain([0.0], itertools.repeat(1.2))

    def open_slowly() -> FrameSource:
        time.sleep(next(slow_to_begin))
        return SmallSource(frames(5), live=False)

    with small_service(open_slowly, loop=True) as service, Subscriber(service.endpoints) as reader:
        first = hear(reader, lambda m: isinstance(m, FindingsEnvelope))
        between = hear(reader, lambda m: isinstance(m, HealthEnvelope) and m.case != first.case)
        then = hear(reader, lambda m: not isinstance(m, HealthEnvelope | SnapshotEnvelope))
    assert isinstance(between, HealthEnvelope)
    assert between.body.state is FrameState.NO_SIGNAL
    assert between.body.findings_t_s is None
    assert isinstance(then, FindingsEnvelope)
    assert (then.case, then.body.frame, then.body.state) == (between.case, 0, FrameState.LIVE)


def test_a_killed_dashboard_leaves_the_alerts_going_and_comes_back_on_the_same_port() -> None:
    service = small_service(source(frames(1000)), dashboard=SMALL_DASHBOARD)
    with service, Subscriber(service.endpoints) as reader:
        port = service.dashboard.address[1]
        wait_until(lambda: answer(port) != "")
        first = answer(port)
        os.kill(int(first), signal.SIGKILL)
        for _ in range(3):
            hear(reader, lambda m: isinstance(m, FindingsEnvelope), within_s=0.5)
        wait_until(lambda: answer(port) not in ("", first))
        assert reader.reception.lost["findings"] == 0


def test_a_port_in_use_is_told_at_once_and_leaves_nothing_behind() -> None:
    before = open_sockets()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BusError) as refusal:
            small_service(source(frames(5)), port=port).start()
    assert str(refusal.value) == (
        f"port {port} on 127.0.0.1 is in use; expected a free port: choose another with --port"
    )
    assert open_sockets() == before


def test_stopping_leaves_no_thread_no_process_and_no_socket_and_may_be_repeated(
    children: Callable[[], set[str]],
) -> None:
    threads, sockets = set(threading.enumerate()), open_sockets()
    service = small_service(source(frames(1000)), dashboard=SMALL_DASHBOARD)
    service.start()
    wait_until(lambda: service.ready and service.dashboard.answers(timeout_s=1))
    service.stop()
    service.stop()
    assert set(threading.enumerate()) == threads
    assert not children()
    assert open_sockets() == sockets


def test_a_dashboard_that_will_not_end_is_killed(children: Callable[[], set[str]]) -> None:
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    with small_service(source(frames(1000)), dashboard=stubborn) as service:
        wait_until(lambda: bool(children()) and service.ready)
        time.sleep(0.2)
    assert not children()


def test_an_error_in_the_analysis_stops_everything() -> None:
    with small_service(source(frames(1000)), pipeline=FailingPipeline) as service:
        assert service.stopping.wait(3)
        assert isinstance(service.failure, ZeroDivisionError)


def test_a_source_that_cannot_be_opened_is_an_error_for_the_user() -> None:
    refused = SourceError("nowhere.mkv: no such file; expected a video")
    with pytest.raises(SourceError, match=r"nowhere\.mkv"):
        run_until_asked(small_service(source([refused])))


def test_an_error_in_the_analysis_is_told_in_one_line_and_gives_status_1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_until_asked(small_service(source(frames(1000)), pipeline=FailingPipeline)) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "ZeroDivisionError: a bug in the pipeline" in told


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_service_with_status_0_after_the_address_was_told(
    number: signal.Signals, capsys: pytest.CaptureFixture[str], children: Callable[[], set[str]]
) -> None:
    service = small_service(source(frames(1000)), dashboard=SMALL_DASHBOARD)

    def interrupt() -> None:
        wait_until(lambda: hasattr(service, "dashboard") and service.ready)
        wait_until(lambda: answer(service.dashboard.address[1]) != "")
        time.sleep(0.4)
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with ThreadPoolExecutor() as pool:
        interrupted = pool.submit(interrupt)
        assert run_until_asked(service) == 0
        interrupted.result()
    assert capsys.readouterr() == (f"Dashboard: http://127.0.0.1:{service.dashboard.address[1]}/\n", "")
    assert not children()
    assert signal.getsignal(number) is before


def test_the_dashboard_ends_when_the_service_is_killed() -> None:
    program = f"""
import threading
from pathlib import Path
from guidance.bus.messages import Endpoints
from guidance.service.dashboard import Dashboard
dashboard = Dashboard(("-c", {SMALL_DASHBOARD!r}), "127.0.0.1", 0, Endpoints("bus"), Path("keys"), [],
    threading.Event())
print(dashboard.address[1], flush=True)
dashboard.run()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        port = int(parent.stdout.readline())
        wait_until(lambda: answer(port) != "")
        dashboard = Path("/proc", answer(port))
        assert dashboard.exists()
        parent.kill()
    wait_until(lambda: not dashboard.exists() or "(zombie)" in (dashboard / "status").read_text())


def test_frames_read_ahead_are_the_same_in_the_same_order() -> None:
    wanted = frames(20)
    for enabled in (True, False):
        with read_ahead(wanted, enabled) as given:
            assert list(given) == wanted


def test_an_error_while_reading_ahead_comes_after_the_frames_before_it() -> None:
    damaged = SmallSource([*frames(3), SourceError("frame 3: damaged")], live=False)
    given: list[int] = []
    with pytest.raises(SourceError, match="frame 3"), read_ahead(damaged, enabled=True) as ahead:
        given += (frame.sequence for frame in ahead)
    assert given == [0, 1, 2]


def test_reading_ahead_may_be_broken_off() -> None:
    before = set(threading.enumerate())
    with read_ahead(frames(100), enabled=True) as ahead:
        next(iter(ahead))
    assert set(threading.enumerate()) == before


def test_listening_gives_lines_of_json_and_tells_silence(caplog: pytest.LogCaptureFixture) -> None:
    with zmq.Context() as context, Publisher(context, "127.0.0.1", 0) as publisher:
        lines = listen(publisher.endpoint)
        with ThreadPoolExecutor() as pool:
            line = pool.submit(next, lines)
            try:
                wait_until(lambda: "is the service running?" in caplog.text)
            finally:
                while not line.done():
                    publisher.tell_health("case", HEALTH)
                    time.sleep(0.02)
        assert '"schema":1' in line.result()
        lines.close()


def test_deep_pixels_are_shown_by_their_upper_eight_bits() -> None:
    deep = Frame(freeze(np.full((16, 16), 0x0B40, np.uint16)), 0.0, 0, bits=12)
    picture = decoded(gray_jpeg(deep))
    assert abs(int(picture[8, 8]) - 0xB4) <= 1


class EscapingPipeline(SmallPipeline):
    """Cement escapes from the third frame on, for as long as ``runs_for`` frames."""

    runs_for = 10_000

    def _next(self, t_s: float, state: FrameState) -> Findings:
        seen = super()._next(t_s, state)
        ring = np.array([[5.0, 5.0], [20.0, 5.0], [20.0, 15.0]])
        run = CementDeposit(1, (ring,), 20.0, None, 20.0, (20.0, 15.0), run_mm=12.0, run_log_ratio=9.0)
        self._last = replace(seen, cement=(run,) if 3 <= seen.frame < 3 + self.runs_for else ())
        return self._last


class EscapedPipeline(EscapingPipeline):
    runs_for = 10


def with_log(
    path: Path | None,
    pipeline: type[SmallPipeline] = EscapingPipeline,
    count: int = 2000,
    live: bool = False,
    dashboard: str = QUIET_DASHBOARD,
    settings: Settings | None = None,
    fields: Path | None = None,
    archive: Path | None = None,
) -> Service:
    return Service(
        source(frames(count), live=live),
        CasePlan(),
        settings or Settings(),
        port=0,
        bus_port=0,
        alarm_log=path,
        fields=fields,
        archive=archive,
        make_pipeline=pipeline,
        dashboard=("-c", dashboard),
    )


def escape(message: Heard) -> bool:
    return isinstance(message, AlertEnvelope) and message.body.kind is AlertKind.CEMENT_ESCAPE


def commander(service: Service) -> Commander:
    assert service.endpoints.commands is not None
    return Commander(service.endpoints.commands, service.client_keys, "Dr. Ito")


def test_an_alert_is_in_the_log_when_it_is_told_and_says_how_late_it_came(tmp_path: Path) -> None:
    log = tmp_path / "alarms.jsonl"
    with with_log(log) as service, Subscriber(service.endpoints) as reader:
        told = hear(reader, escape)
        assert isinstance(told, AlertEnvelope)
        noted = [entry.alert for entry in read_log(log).entries if entry.alert is not None]
        assert [alert.id for alert in noted] == [told.body.id]
        beat = hear(reader, lambda m: isinstance(m, HealthEnvelope) and m.body.alarm_delay_ms is not None)
    assert told.body.delay_ms is not None
    assert 0 < told.body.delay_ms < 1000
    assert isinstance(beat, HealthEnvelope)
    assert beat.body.alarm_delay_max_ms == pytest.approx(told.body.delay_ms)
    assert beat.body.audio.sounding is Priority.HIGH


def test_an_acknowledged_alert_says_by_whom_on_the_bus_and_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "alarms.jsonl"
    with with_log(log) as service, Subscriber(service.endpoints) as reader, commander(service) as desk:
        told = hear(reader, escape)
        assert isinstance(told, AlertEnvelope)
        desk.order(told.case, Acknowledge(alert=told.body.id))
        then = hear(reader, lambda m: escape(m) and m.body.state is AlertState.ACKNOWLEDGED)
        with pytest.raises(BusError, match="alert 99: not active"):
            desk.order(told.case, Acknowledge(alert=99))
    assert isinstance(then, AlertEnvelope)
    assert then.body.by == "Dr. Ito (local)"
    entries = [(entry.event, entry.by) for entry in read_log(log).entries]
    assert entries[-3:] == [
        (Event.ALERT, "Dr. Ito (local)"),
        (Event.COMMAND, "Dr. Ito (local)"),
        (Event.STOPPED, "fluoroguide"),
    ]


def test_an_audio_pause_is_told_with_what_is_left_of_it() -> None:
    with with_log(None) as service, Subscriber(service.endpoints) as reader, commander(service) as desk:
        told = hear(reader, escape)
        desk.order(told.case, PauseAudio(on=True))
        paused = hear(reader, lambda m: isinstance(m, HealthEnvelope) and m.body.audio.paused_s > 0)
        desk.order(told.case, PauseAudio(on=False))
        after = hear(reader, lambda m: isinstance(m, HealthEnvelope) and m.body.audio.paused_s == 0)
    assert isinstance(paused, HealthEnvelope)
    assert isinstance(after, HealthEnvelope)
    assert paused.body.audio.sounding is None
    assert 118 < paused.body.audio.paused_s <= 120
    assert after.body.audio.sounding is Priority.HIGH


def test_an_order_for_another_case_is_refused() -> None:
    with with_log(None) as service, Subscriber(service.endpoints) as reader, commander(service) as desk:
        told = hear(reader, escape)
        with pytest.raises(BusError, match=f"meant for case 'yesterday'; the present one is '{told.case}'"):
            desk.order("yesterday", PauseAudio(on=True))


def test_every_order_about_the_picture_reaches_the_pipeline_and_is_answered() -> None:
    reached: list[tuple[str, object]] = []

    class Noting(EscapingPipeline):
        def set_phase(self, phase: Phase) -> None:
            reached.append(("phase", phase))

        def set_view(self, view: View) -> None:
            reached.append(("view", view))

        def set_zone(self, zone: Zone, pulse: int | None = None) -> None:
            reached.append(("zone", (zone.id, zone.kind, zone.polygon_px.tolist(), pulse)))

        def remove_zone(self, zone_id: str) -> None:
            raise NothingSeenError(f"zone {zone_id!r}: none of that name")

    corners: list[tuple[float, float]] = [(1.0, 1.0), (9.0, 1.0), (5.0, 9.0)]
    with with_log(None, Noting) as service, Subscriber(service.endpoints) as reader, commander(service) as desk:
        told = hear(reader, escape)
        assert desk.order(told.case, SetPhase(phase=Phase.CEMENT)).ok
        assert desk.order(told.case, SetView(view=View.LATERAL)).ok
        zone = ZoneEntry(id="canal", kind=ZoneKind.FORBIDDEN, polygon_px=corners)
        assert desk.order(told.case, SetZone(zone=zone, pulse=5)).ok
        with pytest.raises(BusError, match="not obeyed: zone 'disc': none of that name"):
            desk.order(told.case, RemoveZone(id="disc"))
    assert reached == [
        ("phase", Phase.CEMENT),
        ("view", View.LATERAL),
        ("zone", ("canal", ZoneKind.FORBIDDEN, [list(corner) for corner in corners], 5)),
    ]


def test_a_zone_outside_the_picture_is_refused() -> None:
    corners: list[tuple[float, float]] = [(1.0, 1.0), (900.0, 1.0), (5.0, 9.0)]
    zone = ZoneEntry(id="canal", kind=ZoneKind.FORBIDDEN, polygon_px=corners)
    with with_log(None) as service, Subscriber(service.endpoints) as reader, commander(service) as desk:
        told = hear(reader, escape)
        with pytest.raises(BusError, match="expected a point inside the 48 x 32 frame"):
            desk.order(told.case, SetZone(zone=zone))


def test_a_plan_is_used_whole_and_its_version_is_told_and_noted(tmp_path: Path) -> None:
    used: list[tuple[CasePlan, dict[View, int]]] = []

    class Noting(EscapingPipeline):
        def use_plan(self, plan: CasePlan, drawn_on: Mapping[View, int]) -> None:
            used.append((plan, dict(drawn_on)))

    log = tmp_path / "alarms.jsonl"
    corners: list[tuple[float, float]] = [(1.0, 1.0), (20.0, 1.0), (5.0, 20.0)]
    zone = ZoneEntry(id="canal", kind=ZoneKind.FORBIDDEN, polygon_px=corners, view=View.LATERAL)
    plan = PlanFile.model_validate(
        {"schema": 1, "mm_per_px": 0.3, "limits": {"cement_escape_mm_per_s": 8.0}, "zones": [zone.model_dump()]}
    )
    use = UsePlan(plan=plan, drawn_on=[DrawnOn(view=View.LATERAL, pulse=7)])
    with with_log(log, Noting) as service, Subscriber(service.endpoints) as reader, commander(service) as desk:
        told = hear(reader, escape)
        assert desk.order(told.case, use).ok
        beat = hear(reader, lambda m: isinstance(m, HealthEnvelope) and m.body.plan is not None)
    assert isinstance(beat, HealthEnvelope)
    assert beat.body.plan == plan.version
    # What was active is active still.
    assert [alert.kind for alert in beat.body.alerts] == [AlertKind.CEMENT_ESCAPE]
    ((record, drawn_on),) = used
    assert drawn_on == {View.LATERAL: 7}
    assert (record.mm_per_px, record.limits) == (0.3, (("cement_escape_mm_per_s", 8.0),))
    (said,) = [entry.command for entry in read_log(log).entries if entry.command is not None]
    assert (said["kind"], said["version"], said["plan"]["schema"]) == ("plan", plan.version, 1)


def test_a_plans_thresholds_hold_from_the_next_pulse_on() -> None:
    plan = PlanFile.model_validate({"schema": 1, "limits": {"cement_escape_mm_per_s": 5.0}})
    slow = Settings(cement_escape_mm_per_s=50.0)
    with with_log(None, settings=slow) as service, Subscriber(service.endpoints) as reader, commander(service) as desk:
        told = hear(reader, lambda m: isinstance(m, HealthEnvelope) and m.body.pulses > 4)
        assert isinstance(told, HealthEnvelope)
        assert told.body.alerts == []
        desk.order(told.case, UsePlan(plan=plan, drawn_on=[]))
        hear(reader, escape)


@pytest.mark.parametrize(
    ("corners", "why"),
    [
        ([(1.0, 1.0), (20.0, 20.0), (20.0, 1.0), (1.0, 20.0)], "“canal” crosses itself"),
        ([(1.0, 1.0), (900.0, 1.0), (5.0, 9.0)], "expected a point inside the 48 x 32 frame"),
        ([(1.0, 1.0), (2.0, 1.0), (2.0, 2.0)], "only 0 square pixels"),
    ],
)
def test_a_plan_that_is_drawn_wrong_is_refused_in_one_sentence(corners: list[tuple[float, float]], why: str) -> None:
    zone = ZoneEntry(id="canal", kind=ZoneKind.FORBIDDEN, polygon_px=corners, view=View.AP)
    plan = PlanFile.model_validate({"schema": 1, "zones": [zone.model_dump()]})
    with with_log(None) as service, Subscriber(service.endpoints) as reader, commander(service) as desk:
        told = hear(reader, escape)
        with pytest.raises(BusError, match=why):
            desk.order(told.case, UsePlan(plan=plan, drawn_on=[DrawnOn(view=View.AP, pulse=1)]))


def test_an_order_for_a_plan_must_fit_together() -> None:
    corners: list[tuple[float, float]] = [(1.0, 1.0), (20.0, 1.0), (5.0, 20.0)]
    zone = ZoneEntry(id="canal", kind=ZoneKind.FORBIDDEN, polygon_px=corners, view=View.AP)
    plan = PlanFile.model_validate({"schema": 1, "zones": [zone.model_dump()]})
    with pytest.raises(ValidationError, match="its view is drawn on no picture"):
        UsePlan(plan=plan, drawn_on=[DrawnOn(view=View.LATERAL, pulse=1)])
    with pytest.raises(ValidationError, match="expected each view once"):
        UsePlan(plan=plan, drawn_on=[DrawnOn(view=View.AP, pulse=1)] * 2)
    phased = PlanFile.model_validate({"schema": 1, "phases": [{"at_s": 1, "phase": "cement"}]})
    with pytest.raises(ValidationError, match="phase is ordered by itself"):
        UsePlan(plan=phased, drawn_on=[])


def test_a_corrected_field_is_remembered_for_the_source(tmp_path: Path) -> None:
    pinned: list[tuple[object, object]] = []

    class Noting(EscapingPipeline):
        def pin_field(self, polygon_px: object, bone_dark: bool | None) -> bool:
            pinned.append((None if polygon_px is None else np.asarray(polygon_px).tolist(), bone_dark))
            return bone_dark is not None

    file = tmp_path / "state" / "fields.json"
    corners = [(2.0, 2.0), (40.0, 2.0), (40.0, 30.0)]
    with (
        with_log(None, Noting, fields=file) as service,
        Subscriber(service.endpoints) as reader,
        commander(service) as desk,
    ):
        told = hear(reader, escape)
        desk.order(told.case, PinField(polygon_px=corners, bone_dark=False))
        again = hear(reader, lambda m: escape(m) and m.body.state is AlertState.RAISED)
        # A new reference cannot show that what the old one has shown is over.
        assert isinstance(again, AlertEnvelope)
        assert again.body.text.endswith("(before watching broke off)")
        hear(reader, lambda m: isinstance(m, HealthEnvelope) and m.body.pinned == ["outline", "polarity"])
        with pytest.raises(BusError, match="a dent or crosses itself; expected a convex one"):
            desk.order(told.case, PinField(polygon_px=[(2, 2), (40, 2), (10, 10), (2, 30)]))
    pinned.clear()
    with with_log(None, Noting, fields=file, archive=tmp_path) as service, Subscriber(service.endpoints) as reader:
        told = hear(reader, escape)
    assert pinned[-1] == ([list(corner) for corner in corners], False)
    # And the case knows that it held, so that it can be analysed anew.
    with Archive(tmp_path).open(told.case) as case:
        (correction,) = case.commands
    assert (correction.t_s, correction.command["kind"], correction.command["bone_dark"]) == (0.0, "field", False)


def test_a_file_of_corrected_fields_that_is_none_is_told_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "fields.json"
    file.write_text("[]")
    with pytest.raises(FieldPinsError, match=r"fields\.json: not a file of corrected x-ray fields"):
        with_log(None, fields=file)
    file.write_text('{"grabber 64x64": {"polygon_px": [[2, 2], [40, 2], [10, 10], [2, 30]]}}')
    with pytest.raises(FieldPinsError, match="grabber 64x64: polygon_px has a dent"):
        with_log(None, fields=file)


def test_two_services_of_one_machine_remember_each_others_corrections(tmp_path: Path) -> None:
    a, b = (SourceInfo(name, 48, 32, 8, live=True) for name in "ab")
    file = tmp_path / "fields.json"
    first, second = FieldPins(file), FieldPins(file)
    first.keep(a, FieldPin(bone_dark=True))
    second.keep(b, FieldPin(bone_dark=False))
    assert (FieldPins(file).of(a).bone_dark, FieldPins(file).of(b).bone_dark) == (True, False)
    second.keep(b, FieldPin())
    assert FieldPins(file).of(b).is_automatic


def with_choice(live: bool, chosen: Callable[[str], Choice], plan: CasePlan | None = None) -> Service:
    plans.clear()
    return Service(
        source(frames(4000), live=live),
        plan or CasePlan(),
        Settings(),
        port=0,
        bus_port=0,
        make_pipeline=Planned,
        dashboard=("-c", QUIET_DASHBOARD),
        choose=chosen,
    )


plans: list[CasePlan] = []


class Planned(SmallPipeline):
    def __init__(self, plan: CasePlan, info: SourceInfo) -> None:
        super().__init__(plan, info)
        plans.append(plan)


OTHER_PLAN = CasePlan(mm_per_px=0.7)


def chosen(spec: str) -> Choice:
    return Choice(spec, source(frames(4000), live=True), lambda source: OTHER_PLAN)


@pytest.mark.parametrize("live", [True, False])
def test_another_source_is_chosen_and_a_new_case_with_its_own_plan_begins(live: bool) -> None:
    with with_choice(live, chosen) as service, Subscriber(service.endpoints) as reader, commander(service) as desk:
        told = hear(reader, lambda m: isinstance(m, HealthEnvelope) and m.body.state is FrameState.LIVE)
        assert desk.order(told.case, ChooseSource(source="v4l2:///dev/video1", confirmed=True)).ok
        after = hear(reader, lambda m: isinstance(m, HealthEnvelope) and m.case != told.case and m.body.pulses > 2)
        assert isinstance(after, HealthEnvelope)
        assert (after.body.source_spec, after.body.source_refused) == ("v4l2:///dev/video1", None)
        assert plans[-1] is OTHER_PLAN
        # And once more.
        assert desk.order(after.case, ChooseSource(source="v4l2:///dev/video0", confirmed=True)).ok
        last = hear(reader, lambda m: isinstance(m, HealthEnvelope) and m.body.source_spec == "v4l2:///dev/video0")
        assert last.case != after.case


def test_the_next_patient_is_a_new_case_on_the_same_source_without_plan_and_alerts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = small_service(source(frames(4000), live=True), pipeline=EscapingPipeline, archive=tmp_path)
    with service, Subscriber(service.endpoints) as reader, commander(service) as desk:
        told = hear(reader, lambda m: isinstance(m, AlertEnvelope) and m.body.state is AlertState.RAISED)
        with pytest.raises(BusError, match="a live case would end; expected the order to be confirmed"):
            desk.order(told.case, NextPatient())
        monkeypatch.setattr(EscapingPipeline, "runs_for", 0)
        assert desk.order(told.case, NextPatient(confirmed=True)).ok
        after = hear(reader, lambda m: isinstance(m, HealthEnvelope) and m.case != told.case)
    assert isinstance(after, HealthEnvelope)
    assert after.body.alerts == []
    new, before = Archive(tmp_path).cases()
    assert (new.id, before.id) == (after.case, told.case)
    with Archive(tmp_path).open(new.id) as case:
        assert case.times_s[0] == 0
        assert case.plan.zones == ()


def test_a_recording_has_no_next_patient() -> None:
    with small_service(source(frames(4000))) as service, Subscriber(service.endpoints) as reader:
        told = hear(reader, lambda m: isinstance(m, HealthEnvelope))
        with commander(service) as desk, pytest.raises(BusError, match="expected a live source"):
            desk.order(told.case, NextPatient(confirmed=True))


def test_a_live_case_is_ended_only_by_an_order_that_is_confirmed() -> None:
    with with_choice(True, chosen) as service, Subscriber(service.endpoints) as reader, commander(service) as desk:
        told = hear(reader, lambda m: isinstance(m, HealthEnvelope) and m.body.state is FrameState.LIVE)
        with pytest.raises(BusError, match="a live case would end; expected the order to be confirmed"):
            desk.order(told.case, ChooseSource(source="v4l2:///dev/video1"))
        assert service.case == told.case


def test_a_source_that_cannot_be_opened_leaves_the_one_before_in_its_place_and_says_why() -> None:
    def broken(spec: str) -> Choice:
        return Choice(
            spec, source([SourceError(f"{spec}: in use by another program")], live=True), lambda _: OTHER_PLAN
        )

    own = CasePlan(mm_per_px=0.3)
    with with_choice(True, broken, own) as service, Subscriber(service.endpoints) as reader, commander(service) as desk:
        told = hear(reader, lambda m: isinstance(m, HealthEnvelope) and m.body.state is FrameState.LIVE)
        desk.order(told.case, ChooseSource(source="v4l2:///dev/video1", confirmed=True))
        after = hear(
            reader,
            lambda m: isinstance(m, HealthEnvelope) and m.case != told.case and m.body.pulses > 2,
        )
        assert isinstance(after, HealthEnvelope)
        assert after.body.source_refused == "v4l2:///dev/video1: in use by another program"
        assert (after.body.source_spec, after.body.state) == (None, FrameState.LIVE)
        assert plans[-1] is own


def test_after_a_recordings_end_another_may_be_chosen() -> None:
    def short() -> FrameSource:
        return source(frames(8), live=False)()

    service = Service(
        short,
        CasePlan(),
        Settings(),
        port=0,
        bus_port=0,
        make_pipeline=SmallPipeline,
        dashboard=("-c", QUIET_DASHBOARD),
        choose=chosen,
    )
    with service, Subscriber(service.endpoints) as reader, commander(service) as desk:
        told = hear(
            reader,
            lambda m: isinstance(m, HealthEnvelope) and m.body.state is FrameState.NO_SIGNAL and m.body.pulses > 5,
        )
        desk.order(told.case, ChooseSource(source="v4l2:///dev/video1"))
        hear(
            reader, lambda m: isinstance(m, HealthEnvelope) and m.body.state is FrameState.LIVE and m.case != told.case
        )


def test_a_service_that_was_started_for_one_source_keeps_to_it() -> None:
    with with_log(None) as service, Subscriber(service.endpoints) as reader, commander(service) as desk:
        told = hear(reader, escape)
        with pytest.raises(BusError, match="was started for one source"):
            desk.order(told.case, ChooseSource(source="v4l2:///dev/video1", confirmed=True))


def test_a_marker_is_kept_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "alarms.jsonl"
    with with_log(log) as service, Subscriber(service.endpoints) as reader, commander(service) as desk:
        told = hear(reader, escape)
        desk.order(told.case, Mark(text="second needle"))
    assert {"kind": "marker", "text": "second needle"} in [entry.command for entry in read_log(log).entries]


def test_what_was_active_when_the_last_service_was_killed_is_active_again(tmp_path: Path) -> None:
    log = tmp_path / "alarms.jsonl"
    with AlarmLog(log) as before:
        before.begin_case("earlier", [alert_message(ESCAPE)])
    with with_log(log, SmallPipeline) as service, Subscriber(service.endpoints) as reader, commander(service) as desk:
        first = hear(reader, lambda m: isinstance(m, HealthEnvelope | SnapshotEnvelope))
        (alert,) = reader.alerts
        assert (alert.kind, alert.state) == (AlertKind.CEMENT_ESCAPE, AlertState.RAISED)
        assert alert.text == "Cement escapes (before watching broke off)"
        wait_until(lambda: service.ready)
        desk.order(first.case, Acknowledge(alert=alert.id))
        hear(reader, lambda m: isinstance(m, HealthEnvelope) and not m.body.alerts)


def test_a_service_that_ended_in_order_leaves_no_alert_to_the_next(tmp_path: Path) -> None:
    log = tmp_path / "alarms.jsonl"
    with with_log(log) as service, Subscriber(service.endpoints) as reader:
        hear(reader, escape)
    assert read_log(log).left_active(datetime.now(UTC), timedelta(hours=12)) == ()


def test_a_service_that_could_not_start_leaves_to_the_next_what_was_left_to_it(tmp_path: Path) -> None:
    log = tmp_path / "alarms.jsonl"
    with AlarmLog(log) as before:
        before.begin_case("earlier", [alert_message(ESCAPE)])
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(BusError):
        Service(
            source(frames(5)), CasePlan(), Settings(), port=taken.getsockname()[1], bus_port=0, alarm_log=log
        ).start()
    assert [alert.id for alert in read_log(log).left_active(datetime.now(UTC), timedelta(hours=12))] == [ESCAPE.id]


def test_a_new_reference_cannot_end_what_the_old_one_has_shown() -> None:
    class Renewed(EscapedPipeline):
        def take_reference(self) -> None: ...

    with with_log(None, Renewed) as service, Subscriber(service.endpoints) as reader, commander(service) as desk:
        told = hear(reader, escape)
        assert isinstance(told, AlertEnvelope)
        desk.order(told.case, Acknowledge(alert=told.body.id))
        desk.order(told.case, TakeReference())
        again = hear(reader, lambda m: escape(m) and m.body.text.endswith("(before watching broke off)"))
        assert isinstance(again, AlertEnvelope)
        assert (again.body.id, again.body.state) == (told.body.id, AlertState.RAISED)
        desk.order(told.case, Acknowledge(alert=told.body.id))
        hear(reader, lambda m: escape(m) and not m.body.active)


def test_a_service_that_failed_leaves_its_alerts_to_the_next(tmp_path: Path) -> None:
    class Failing(EscapingPipeline):
        fails_at = 30

    log = tmp_path / "alarms.jsonl"
    with with_log(log, Failing) as service:
        assert service.stopping.wait(5)
    assert [alert.kind for alert in read_log(log).left_active(datetime.now(UTC), timedelta(hours=12))] == [
        AlertKind.CEMENT_ESCAPE
    ]


def test_a_named_subscriber_that_dies_is_missed_and_one_that_leaves_is_not() -> None:
    with with_log(None, SmallPipeline) as service, Subscriber(service.endpoints) as reader:
        with Subscriber(service.endpoints, name="polite") as polite:
            polite.receive(timeout_s=0.3)
        program = f"""
from guidance.bus.messages import Endpoints
from guidance.bus.subscriber import Subscriber
import os, signal
endpoints = Endpoints({service.endpoints.messages!r}, snapshots={service.endpoints.snapshots!r})
subscriber = Subscriber(endpoints, name="nurse call")
while subscriber.receive(timeout_s=1) is None:
    pass
os.kill(os.getpid(), signal.SIGKILL)
"""
        subprocess.run([sys.executable, "-c", program], check=False)
        told = hear(
            reader, lambda m: isinstance(m, AlertEnvelope) and m.body.kind is AlertKind.SUBSCRIBER_LOST, within_s=6
        )
        with Subscriber(service.endpoints, name="nurse call") as back:
            back.receive(timeout_s=0.3)
            hear(reader, lambda m: isinstance(m, AlertEnvelope) and m.body.state is AlertState.CLEARED)
    assert isinstance(told, AlertEnvelope)
    assert (told.body.subject, told.body.technical) == ("nurse call", True)


def test_a_log_that_cannot_be_written_is_told_and_costs_no_alert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(alarm_log.os, "write", full)
    with with_log(tmp_path / "alarms.jsonl") as service, Subscriber(service.endpoints) as reader:
        wait_until(lambda: reader.receive(timeout_s=0.1) is not None and len(reader.alerts) == 2)
        health = reader.reception.health
    assert [alert.text for alert in reader.alerts] == [
        "Cement escapes in a thin run of 12 mm, 20 mm/s",
        "Alarm log is not being written: No space left on device",
    ]
    assert health is not None
    assert health.alarm_log is not None
    assert health.alarm_log.fault == "No space left on device"


def test_an_alert_outlives_a_live_sources_change_of_format() -> None:
    class Changing(SmallSource):
        def __iter__(self) -> Iterator[Frame]:
            yield from super().__iter__()
            self.info = SourceInfo("small", 64, 48, 8, live=True)

    changing = lambda: Changing(frames(60), live=True)  # noqa: E731
    with small_service(changing, pipeline=EscapedPipeline) as service, Subscriber(service.endpoints) as reader:
        first = hear(reader, escape)
        after = hear(reader, lambda m: isinstance(m, HealthEnvelope) and m.case != first.case)
    assert isinstance(after, HealthEnvelope)
    assert [alert.kind for alert in after.body.alerts] == [AlertKind.CEMENT_ESCAPE]


def test_setting_the_wall_clock_neither_drops_nor_repeats_an_alert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shift = [0.0]
    real = datetime

    class Wall(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return real.now(UTC) + timedelta(seconds=shift[0])

    monkeypatch.setattr(alarm_log, "datetime", Wall)
    monkeypatch.setattr(time, "time", lambda: real.now(UTC).timestamp() + shift[0])
    log = tmp_path / "alarms.jsonl"
    with with_log(log) as service, Subscriber(service.endpoints) as reader:
        hear(reader, escape)
        for shift[0] in (-3600.0, 3600.0, 0.0):
            for _ in range(3):
                beat = hear(reader, lambda m: isinstance(m, HealthEnvelope))
                assert isinstance(beat, HealthEnvelope)
                assert [alert.kind for alert in beat.body.alerts] == [AlertKind.CEMENT_ESCAPE]
        assert not reader.deaf
    assert [entry.alert.state for entry in read_log(log).entries if entry.alert is not None] == [AlertState.RAISED]
