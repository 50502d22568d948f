"""Pictures that are told before anybody has looked at them."""

import threading
from concurrent.futures import Future

import numpy as np

from drivers.frame import Frame, FrameFlag, SourceInfo, freeze
from guidance.service.capture import Captured, Case, Slot
from guidance.service.early import EarlyPictures

CASE = Case("a case", SourceInfo("made up", 32, 24, 8, live=True))


class Told:
    """Stands in for the publisher's socket."""

    def __init__(self) -> None:
        self.jpegs: list[bytes] = []

    def tell_early(self, case: str, captured_s: float, jpeg: bytes) -> None:
        assert case == CASE.id
        self.jpegs.append(jpeg)


def told_of(frames: list[Frame]) -> list[bytes]:
    """What is told of these frames, one after the other; a frame's JPEG is its grey level."""

    def encode(frame: Frame) -> Future[bytes]:
        done: Future[bytes] = Future()
        done.set_result(bytes([int(frame.pixels[0, 0])]))
        return done

    newest: Slot[Captured] = Slot()
    stopping, publisher = threading.Event(), Told()
    thread = threading.Thread(target=EarlyPictures(newest, encode, publisher, stopping).run)
    thread.start()
    for frame in frames:
        newest.put(Captured(CASE, frame, 1.0))
        assert newest.wait_until_taken(5.0)
    stopping.set()
    thread.join()
    return publisher.jpegs


def frame(grey: int, flags: FrameFlag = FrameFlag.NONE) -> Frame:
    return Frame(freeze(np.full((24, 32), grey, np.uint8)), 0.0, 0, flags=flags)


def test_each_new_picture_is_told_once() -> None:
    assert told_of([frame(1), frame(1), frame(2), frame(1)]) == [b"\x01", b"\x02", b"\x01"]


def test_what_the_source_knows_to_be_damaged_is_not_shown() -> None:
    assert told_of([frame(1), frame(9, FrameFlag.CORRUPT), frame(8, FrameFlag.NO_SIGNAL)]) == [b"\x01"]
