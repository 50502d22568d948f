"""Pictures on their way to the screens before they are looked at, so that no analysis makes the picture older."""

import threading
import zlib
from collections.abc import Callable
from concurrent.futures import Future

from drivers.frame import Frame, FrameFlag
from guidance.bus.publisher import FramePublisher
from guidance.service.capture import TICK_S, Captured, Slot


class EarlyPictures:
    """Tells each frame that differs from the one before, the newest first where they come faster than they are told.

    ``encode``: makes a frame's JPEG, once, for this and for whoever tells what was seen on it. What the source itself
    knows to be damaged is not shown.
    """

    def __init__(
        self,
        newest: Slot[Captured],
        encode: Callable[[Frame], Future[bytes]],
        publisher: FramePublisher,
        stopping: threading.Event,
    ) -> None:
        self._newest = newest
        self._encode = encode
        self._publisher = publisher
        self._stopping = stopping

    def run(self) -> None:
        """Until told to stop."""
        before: tuple[str, int] | None = None
        while not self._stopping.is_set():
            captured = self._newest.take(TICK_S)
            if captured is None or captured.frame.flags is not FrameFlag.NONE:
                continue
            # A sum and not the pixels: a grabber lends its pictures, and lends few.
            this = (captured.case.id, zlib.crc32(captured.frame.pixels.data))
            if this != before:
                before = this
                self._publisher.tell_early(captured.case.id, captured.at_s, self._encode(captured.frame).result())
            del captured
