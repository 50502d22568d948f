"""Frames from the source to whoever wants the newest, in their own time."""

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Generic, TypeVar

from drivers.errors import SourceError
from drivers.frame import Frame, FrameSource, SourceInfo
from drivers.signal import LiveSource, SourceStatus, as_live
from guidance.plan import PlanError
from guidance.records import CasePlan

PATIENCE_S = 0.25
"""A frame this late is not coming: there is no signal."""

TICK_S = 0.1
"""How often a waiting thread looks up: whether frames have stopped coming, whether it is to end."""

REOPEN_S = 0.5
"""Between attempts to open a source again after it was lost."""

log = logging.getLogger(__name__)

Thing = TypeVar("Thing")
OpenSource = Callable[[], FrameSource]


@dataclass(frozen=True, slots=True)
class Choice:
    """A source that may be chosen while another one plays. ``plan_of``: what is known of it, once it is open."""

    spec: str
    open_source: OpenSource
    plan_of: Callable[[FrameSource], CasePlan]


class NotChosenError(ValueError):
    """Another source is not chosen. One line."""


Choose = Callable[[str], Choice]
"""What a path or URL names. Nothing is opened yet."""


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
    """One run of a source; a recording that begins anew is another. ``plan`` None: the one that the service has.

    ``another_patient``: somebody has said so, so that nothing of the case before holds for this one.
    """

    id: str
    info: SourceInfo
    plan: CasePlan | None = field(default=None, compare=False)
    another_patient: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class Captured:
    """A frame and when it came, by this machine's monotonic clock."""

    case: Case
    frame: Frame
    at_s: float


class Capture:
    """Reads the source and hands over its newest frame, and every frame to ``every`` where somebody wants them.

    A recording is played at the pace of its own timestamps, or with ``pace`` False as fast as analysis takes it,
    without a loss. A live source that is lost is opened again until it is back; if it returns with the same
    picture format the case goes on. Where sources may be chosen (``choose``) the end of one is no end: the next choice
    is waited for. One that cannot be opened leaves the one before in its place, and ``refused`` says why.
    """

    def __init__(
        self,
        open_source: OpenSource,
        loop: bool,
        pace: bool,
        newest: Slot[Captured],
        stopping: threading.Event,
        every: Callable[[Captured], None] | None = None,
        choose: Choose | None = None,
    ) -> None:
        self._choose = choose
        self._chosen: Choice | None = None
        self._next: Choice | None = None
        self._is_new = True
        self._next_patient = False
        self._plan: CasePlan | None = None
        self.refused: str | None = None
        self._open_source = open_source
        self._loop = loop
        self._pace = pace
        self._newest = newest
        self._every = every
        self._stopping = stopping
        self._numbers = itertools.count(1)
        self._last: Captured | None = None
        self.case: Case | None = None
        self.analysis_is_ready = threading.Event()
        self.frames = 0
        self.dropped = 0
        self._live: LiveSource | None = None
        self.due_s = float("inf")
        """When the next frame should be here, by the monotonic clock. No signal is lost before a recording begins."""

    def run(self) -> None:
        """Until told to stop, or a recording that is not looped ends. Raises SourceError if it never opened."""
        complaint = ""
        again = False
        while not self._stopping.is_set():
            before = self._take_choice()
            frames_before = self.frames
            try:
                with self._open() as source:
                    again = source.info.live or self._loop
                    self._play(source)
            except (SourceError, PlanError) as error:
                if self.case is None:
                    raise
                # A cable that stays out is told once, not at every attempt.
                if str(error) != complaint or self.frames > frames_before:
                    log.warning("%s", error)
                complaint = str(error)
                if self._is_new:
                    self._chosen, self.refused = before, str(error)
                again = (again or self._is_new) and not self._stopping.wait(REOPEN_S)
            self.due_s = min(self.due_s, time.monotonic())
            if self._next is not None:
                continue
            if not again and not self._wait_for_choice():
                return
            if again:
                self._turn_over()
                if self.frames == frames_before:
                    self._stopping.wait(TICK_S)

    def choose(self, spec: str) -> None:
        """Play this source next, let go of the present one. May be called from any thread. Raises NotChosenError."""
        if self._choose is None:
            raise NotChosenError("this service was started for one source; expected one that may choose")
        self._next = self._choose(spec)
        if self._live is not None:
            self._live.stop()

    def begin_next_patient(self) -> None:
        """Another case from the live source's next frame on. May be called from any thread. Raises NotChosenError."""
        if self._live is None:
            raise NotChosenError("the source is no live one; expected a live source, before which patients change")
        self._next_patient = True

    @property
    def spec(self) -> str | None:
        """What was chosen last; None while the source that the service was started with plays."""
        return None if self._chosen is None else self._chosen.spec

    def _take_choice(self) -> Choice | None:
        """What was chosen before, where there is a new choice."""
        before = self._chosen
        if self._next is not None:
            self._chosen, self._next, self._is_new, self.refused = self._next, None, True, None
        return before

    @contextmanager
    def _open(self) -> Iterator[FrameSource]:
        """The present source; raises SourceError and PlanError."""
        chosen = self._chosen
        with self._open_source() if chosen is None else chosen.open_source() as source:
            self._plan = None if chosen is None else chosen.plan_of(source)
            yield source

    def _wait_for_choice(self) -> bool:
        """Whether another source was chosen; at once False where none can be."""
        while self._choose is not None and not self._stopping.wait(TICK_S):
            if self._next is not None:
                return True
        return False

    @property
    def _is_over(self) -> bool:
        """Whether the present source is to be let go."""
        return self._stopping.is_set() or self._next is not None

    @property
    def status(self) -> SourceStatus | None:
        """How a live source says that it is doing; None for a recording, and before one is open."""
        return None if self._live is None else self._live.status

    def stop(self) -> None:
        """End the wait for a live source's next frame. May be called from any thread, once ``stopping`` is set."""
        if self._live is not None:
            self._live.stop()

    def _play(self, source: FrameSource) -> None:
        self.case = self._case_of(source.info)
        self._live = as_live(source)
        if self._live is not None:
            self._play_live(self._live)
            return
        while not self.analysis_is_ready.wait(TICK_S):
            if self._stopping.is_set():
                return
        if self._pace:
            self._play_paced(self.case, source)
        else:
            self._play_as_taken(self.case, source)

    def _play_live(self, source: LiveSource) -> None:
        # One that opens again and again without a frame gains no time by it.
        self.due_s = min(self.due_s, time.monotonic())
        while not self._is_over:
            # Where its picture's format has changed the iteration ends, and another case begins.
            case = self.case = self._case_of(source.info)
            shift_s: float | None = None
            for frame in self._counted(source):
                if self._next_patient:
                    case = self.case = self._case_of_next_patient(source.info)
                if shift_s is None:
                    shift_s = self._shift_s(case, frame)
                self._hand_over(case, replace(frame, t_s=frame.t_s + shift_s) if shift_s else frame)
                self.due_s = time.monotonic()
            if source.info == case.info:
                return

    def _play_paced(self, case: Case, source: FrameSource) -> None:
        start_s: float | None = None
        for frame in self._counted(source):
            now = time.monotonic()
            if start_s is None or now - (start_s + frame.t_s) > PATIENCE_S:
                # The first frame; or the source cannot keep up, and hurrying afterwards would only drop frames.
                start_s = now - frame.t_s
            self.due_s = start_s + frame.t_s
            if self._stopping.wait(max(0.0, self.due_s - now)):
                return
            self._hand_over(case, frame)

    def _play_as_taken(self, case: Case, source: FrameSource) -> None:
        self.due_s = float("inf")
        for frame in self._counted(source):
            while not self._newest.wait_until_taken(TICK_S):
                if self._is_over:
                    return
            self._hand_over(case, frame)

    def _turn_over(self) -> None:
        """A recording's next case waits for its first frame: nothing of the old one is shown, and nothing is lost."""
        assert self.case is not None
        if not self.case.info.live:
            self._newest.wait_until_taken(TICK_S)
            self.due_s = float("inf")
            self.case = self._case_of(self.case.info)

    def _counted(self, source: FrameSource) -> Iterator[Frame]:
        """The source's frames until told to stop; gaps in its own count are drops."""
        expected: int | None = None
        for frame in source:
            if self._is_over:
                return
            self.dropped += 0 if expected is None else max(0, frame.sequence - expected)
            expected = frame.sequence + 1
            yield frame

    def _hand_over(self, case: Case, frame: Frame) -> None:
        self._last = Captured(case, frame, time.monotonic())
        self.frames += 1
        if self._every is not None:
            self._every(self._last)
        self.dropped += self._newest.put(self._last)

    def _case_of(self, info: SourceInfo) -> Case:
        """The present case, where it may go on: a live one of the same format, or one that has no frame yet."""
        is_new, self._is_new = self._is_new, False
        if self.case is not None and self.case.info == info and not is_new:
            begun = self._last is not None and self._last.case is self.case
            if info.live or not begun:
                return self.case
        return Case(f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{next(self._numbers)}", info, self._plan)

    def _case_of_next_patient(self, info: SourceInfo) -> Case:
        self._next_patient, self._is_new = False, True
        return replace(self._case_of(info), plan=CasePlan(), another_patient=True)

    def _shift_s(self, case: Case, first: Frame) -> float:
        """What makes a reopened live source's time go on where it was lost."""
        if self._last is None or self._last.case is not case:
            return 0.0
        return self._last.frame.t_s + (time.monotonic() - self._last.at_s) - first.t_s


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
