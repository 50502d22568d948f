"""Every frame, and all that is told of it, on its way to the archive, which may lag but never holds anybody up."""

import queue
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from guidance.casebook.archive import Archive, ArchiveError
from guidance.casebook.recorder import CaseRecorder
from guidance.plan import plan_json
from guidance.records import CasePlan
from guidance.service.capture import TICK_S, Captured, Case

ROOM_FRAMES: Final = 20
"""What may wait for the recorder: a third of a second at 60 a second. A grabber lends no more than 32 pictures at once
(``drivers.v4l2.RING_FRAMES``); those that are left are the analysis's."""

SYNC_S: Final = 0.4
"""How often the disk is given what the kernel has: power loss may take no more than a second."""

ROOM_TOLD: Final = 20_000
"""So much of what is told may wait while a disk hangs: ten minutes of it."""

RETRY_S: Final = 2.0
"""After the disk has refused, until it is tried again."""

RATE_S: Final = 60.0
"""Over so long it is measured how fast the disk fills."""

LET_GO_S: Final = 60.0
"""How often it is looked whether old cases are to go."""

Write = Callable[[CaseRecorder], None]


class Recording:
    """Keeps each case in a folder of the archive.

    ``put`` and ``tell`` return at once, whatever the disk does. Where the recorder is so far behind that there is no
    room, the newest frame is lost to it, and counted: ``not_recorded``; what is told of frames is never lost for that.
    Where the disk refuses, ``fault`` says why, and it is tried again until it goes on.
    Raises ArchiveError where there is no such folder and none can be made.
    """

    def __init__(
        self,
        root: Path,
        plan: CasePlan,
        stopping: threading.Event,
        keep_days: float | None = None,
        keep_gb: float | None = None,
    ) -> None:
        self._root = root
        self._plan = plan
        self._stopping = stopping
        self._keep_days = keep_days
        self._keep_gb = keep_gb
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ArchiveError(f"{root}: {error.strerror}; expected a folder for cases") from error
        self._archive = Archive(root)
        self._waiting: queue.SimpleQueue[tuple[Case, Write, bool]] = queue.SimpleQueue()
        self._room = threading.BoundedSemaphore(ROOM_FRAMES)
        self._open: dict[str, CaseRecorder] = {}
        self._turn = threading.Lock()
        self._not_recorded: dict[str, int] = {}
        self._hurried: set[str] = set()
        self._lost_s = float("-inf")
        self._retry_at_s = 0.0
        self._write_fault: str | None = None
        self._sync_fault: str | None = None
        self._ok_s = time.monotonic()
        self._sizes: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])
        self._closed_bytes = 0

    def put(self, captured: Captured) -> None:
        """Keep a frame."""
        if not self._room.acquire(blocking=False):
            if captured.case.id not in self._hurried:
                self._hurried.add(captured.case.id)
                self.tell(captured.case, CaseRecorder.hurry)
            self._lose(captured.case)
            return
        frame = captured.frame
        self._waiting.put((captured.case, lambda recorder: recorder.frame(frame), True))

    def tell(self, case: Case, write: Write) -> None:
        """Keep what is told of the case."""
        if self._waiting.qsize() > ROOM_TOLD:
            self._lose(case)
            return
        self._waiting.put((case, write, False))

    def begin(self, case: Case) -> None:
        """From here on this case alone is told of: any other one ends."""
        self._waiting.put((case, lambda recorder: self._end_others(recorder), False))

    def run(self) -> None:
        """Until told to stop; what waits then is recorded still."""
        try:
            while True:
                try:
                    case, write, is_frame = self._waiting.get(timeout=TICK_S)
                except queue.Empty:
                    if self._stopping.is_set():
                        return
                else:
                    self._write(case, write, is_frame)
                    del write  # its picture goes back to the grabber while this thread waits
        finally:
            for case_id in list(self._open):
                self._end(case_id)

    def _write(self, case: Case, write: Write, is_frame: bool) -> None:
        try:
            # Frames would each begin a part of their own on a full disk; lines wait for the next one by themselves.
            if is_frame and time.monotonic() < self._retry_at_s:
                self._lose(case)
            else:
                write(self._recorder(case))
                if is_frame:
                    self._write_fault, self._ok_s = None, time.monotonic()
        except OSError as error:
            self._write_fault = error.strerror or str(error)
            self._retry_at_s = time.monotonic() + RETRY_S
            if is_frame:
                self._lose(case)
        finally:
            if is_frame:
                self._room.release()

    def _recorder(self, case: Case) -> CaseRecorder:
        """The case's, opened at the first call. Raises OSError."""
        if case.id not in self._open:
            folder = self._root / case.id
            number = 1
            while folder.exists():  # a service that was started again within the same second
                folder = self._root / f"{case.id}.{number}"
                number += 1
            recorder = CaseRecorder(folder, case.info, plan_json(self._plan if case.plan is None else case.plan))
            with self._turn:
                self._open[case.id] = recorder
        return self._open[case.id]

    def _end_others(self, recorder: CaseRecorder) -> None:
        for case_id, other in list(self._open.items()):
            if other is not recorder:
                self._end(case_id)

    def _end(self, case_id: str) -> None:
        with self._turn:
            recorder = self._open.pop(case_id)
        self._closed_bytes += recorder.written_bytes
        try:
            recorder.close(self._not_recorded.get(case_id, 0))
        except OSError as error:
            self._write_fault = error.strerror or str(error)

    def _lose(self, case: Case) -> None:
        self._not_recorded[case.id] = self._not_recorded.get(case.id, 0) + 1
        self._lost_s = time.monotonic()

    @property
    def not_recorded(self) -> int:
        """Frames that were lost to the archive since the start."""
        return sum(list(self._not_recorded.values()))

    @property
    def lost_ago_s(self) -> float:
        """How long ago the last frame was lost; infinite where none was."""
        return time.monotonic() - self._lost_s

    @property
    def fault(self) -> str | None:
        """Why frames are not kept, in words; None while they are. May be asked from any thread."""
        return self._write_fault or self._sync_fault

    @property
    def stopped_for_s(self) -> float:
        """Since a frame was kept, while there is a fault."""
        return 0.0 if self.fault is None else time.monotonic() - self._ok_s

    @property
    def minutes_left(self) -> float | None:
        """How long the disk lasts at the present rate; None where nothing is written, or the disk does not say."""
        (then, before), (now, after) = self._sizes[0], self._sizes[-1]
        if after <= before or now <= then:
            return None
        try:
            free = shutil.disk_usage(self._root).free
        except OSError:
            return None
        return free / ((after - before) / (now - then)) / 60

    def sync(self) -> None:
        """Give the disk what the kernel has, once. Belongs to a thread of its own: some disks take their time."""
        self._stopping.wait(SYNC_S)
        with self._turn:
            recorders = list(self._open.values())
        try:
            for recorder in recorders:
                recorder.sync()
        except OSError as error:
            self._sync_fault = error.strerror or str(error)
        else:
            self._sync_fault = None
        now = time.monotonic()
        self._sizes.append((now, self._closed_bytes + sum(recorder.written_bytes for recorder in recorders)))
        while len(self._sizes) > 2 and now - self._sizes[0][0] > RATE_S:
            self._sizes.popleft()

    def let_go(self) -> None:
        """Delete the cases that are older or more than may be kept. Takes time: belongs to a thread of its own."""
        if self._keep_days is not None or self._keep_gb is not None:
            # A case that cannot be deleted now is tried again; a disk that fills for it is told by its own alarm.
            with suppress(ArchiveError):
                self._archive.let_go(self._keep_days, self._keep_gb)
        self._stopping.wait(LET_GO_S)
