"""Every frame on its way to a recorder, which may lag behind but never holds anybody up."""

import queue
import threading
from collections.abc import Callable
from typing import Final

from guidance.service.capture import TICK_S, Captured

ROOM_FRAMES: Final = 20
"""What may wait for the recorder: a third of a second at 60 a second. A grabber lends no more than 32 pictures at once
(``drivers.v4l2.RING_FRAMES``); those that are left are the analysis's."""

Record = Callable[[Captured], None]


class Recording:
    """Hands every captured frame to a recorder, in order, by a thread of its own.

    Where the recorder is so far behind that there is no room, the newest frame is lost to it, and counted:
    ``not_recorded``. Frames must not be kept by the recorder for longer than it needs to write them.
    """

    def __init__(self, record: Record, stopping: threading.Event) -> None:
        self._record = record
        self._stopping = stopping
        self._waiting: queue.Queue[Captured] = queue.Queue(ROOM_FRAMES)
        self.not_recorded = 0

    def put(self, captured: Captured) -> None:
        """At once, whatever the recorder does."""
        try:
            self._waiting.put_nowait(captured)
        except queue.Full:
            self.not_recorded += 1

    def run(self) -> None:
        """Until told to stop; what waits then is recorded still."""
        while True:
            try:
                captured = self._waiting.get(timeout=TICK_S)
            except queue.Empty:
                if self._stopping.is_set():
                    return
            else:
                self._record(captured)
                del captured  # its picture goes back to the grabber while this thread waits
