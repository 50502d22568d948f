"""The grabber driver against a simulated card; against the kernel's own it is tested in tests/v4l2."""

import ctypes
import errno
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from drivers import v4l2_kernel as v4l2
from drivers.errors import SourceError
from drivers.frame import Frame, FrameFlag
from drivers.signal import LiveSource, Signal
from drivers.v4l2 import DEAD_S, RETRY_S, RING_FRAMES, STALE_S, V4L2Grabber, open_grabber
from drivers.v4l2_card import GrabberOptions
from drivers.v4l2_devices import devices
from drivers.v4l2_kernel import BufferFlag, DeviceNode, Identity, InputStatus
from tests.unit.drivers.fake_v4l2 import Card, FakeKernel, timings

PATIENCE_S = 10.0
RATE_HZ = 30.0
PICTURE: NDArray[np.uint8] = (np.arange(48 * 70).reshape(48, 70) % 199 + 20).astype(np.uint8)


def grabber(card: Card, *others: Card, **options: object) -> V4L2Grabber:
    return V4L2Grabber(GrabberOptions(card.path, **options), FakeKernel(card, *others))  # type: ignore[arg-type]


class Reader:
    """A grabber's frames, read by a thread; goes on through changes of format."""

    def __init__(self, source: LiveSource) -> None:
        self.source = source
        self.frames: list[Frame] = []
        self.runs = 0
        self.failure: BaseException | None = None
        self.stopping = False
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        try:
            while not self.stopping:
                self.runs += 1
                self.frames.extend(self.source)
        except BaseException as error:  # noqa: BLE001 - told by whoever waits
            self.failure = error

    def stop(self) -> None:
        self.stopping = True
        self.source.stop()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()


@contextmanager
def read(source: LiveSource) -> Iterator[Reader]:
    with source:
        reader = Reader(source)
        try:
            yield reader
        finally:
            reader.stop()


def eventually(holds: Callable[[], bool]) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until_s, "never came"
        time.sleep(0.002)


def deliver(
    card: Card,
    reader: Reader,
    pixels: bytes | NDArray[np.uint8] = PICTURE,
    flags: int = 0,
    t_s: float | None = None,
) -> Frame:
    """A frame delivered and read."""
    before = len(reader.frames)
    eventually(lambda: card.deliver(pixels, flags, t_s))
    eventually(lambda: len(reader.frames) > before)
    return reader.frames[-1]


@pytest.mark.parametrize(
    ("structure", "size"),
    [
        (v4l2.Capability, 104),
        (v4l2.FormatDescription, 64),
        (v4l2.Format, 208),
        (v4l2.RequestBuffers, 20),
        (v4l2.Buffer, 88),
        (v4l2.StreamParameters, 204),
        (v4l2.Input, 80),
        (v4l2.Edid, 40),
        (v4l2.FrameInterval, 52),
        (v4l2.FrameSize, 44),
        (v4l2.DvTimings, 132),
        (v4l2.Event, 136),
        (v4l2.EventSubscription, 32),
    ],
)
def test_the_kernels_structures_have_the_kernels_sizes(structure: type[ctypes.Structure], size: int) -> None:
    assert ctypes.sizeof(structure) == size


def _limited(luma: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.rint(np.clip((luma.astype(float) - 16) / 219, 0, 1) * 255).astype(np.uint8)


def _packed(first: int) -> NDArray[np.uint8]:
    pairs = np.full((48, 70, 2), 128, np.uint8)
    pairs[..., first] = PICTURE
    return pairs.reshape(48, 140)


FORMATS = {
    "GREY": (PICTURE, PICTURE),
    "UYVY": (_packed(1), _limited(PICTURE)),
    "YUYV": (_packed(0), _limited(PICTURE)),
    "NV12": (np.vstack([PICTURE, np.full((24, 70), 128, np.uint8)]), _limited(PICTURE)),
    "Y10": ((PICTURE.astype("<u2") * 4).view(np.uint8), PICTURE.astype(np.uint16) * 4),
    "Y12": ((PICTURE.astype("<u2") * 16).view(np.uint8), PICTURE.astype(np.uint16) * 16),
    "Y16": ((PICTURE.astype("<u2") * 256).view(np.uint8), PICTURE.astype(np.uint16) * 256),
    "RGB3": (np.repeat(PICTURE, 3, axis=1), PICTURE),
    "BGR3": (np.repeat(PICTURE, 3, axis=1), PICTURE),
}


@pytest.mark.parametrize("padding", [0, 26])
@pytest.mark.parametrize("code", FORMATS)
def test_the_luma_that_comes_out_is_the_luma_that_went_in(code: str, padding: int) -> None:
    raw, expected = FORMATS[code]
    card = Card(formats=(code,), padding=padding)
    with read(grabber(card)) as reader:
        frame = deliver(card, reader, np.pad(raw, ((0, 0), (0, padding))))

    assert np.array_equal(frame.pixels, expected)
    assert frame.pixels.flags.c_contiguous
    assert not frame.pixels.flags.writeable
    assert frame.bits == {"Y10": 10, "Y12": 12, "Y16": 16}.get(code, 8)


@pytest.mark.parametrize(
    ("code", "quantization", "black_and_white"),
    [
        ("GREY", v4l2.QUANTIZATION_LIMITED, [0, 255]),
        ("GREY", 0, [16, 235]),
        ("Y10", v4l2.QUANTIZATION_LIMITED, [0, 1023]),
        ("RGB3", v4l2.QUANTIZATION_LIMITED, [0, 255]),
        ("UYVY", 0, [0, 255]),
        ("UYVY", v4l2.QUANTIZATION_FULL, [16, 235]),
    ],
)
def test_the_range_is_the_one_that_the_driver_says_or_else_the_formats_usual_one(
    code: str, quantization: int, black_and_white: list[int]
) -> None:
    picture = np.full((48, 70), 16, np.uint8)
    picture[:, 35:] = 235
    raw = {
        "GREY": picture,
        "Y10": (picture.astype("<u2") * 4).view(np.uint8),
        "RGB3": np.repeat(picture, 3, axis=1),
        "UYVY": np.stack([np.full_like(picture, 128), picture], axis=2),
    }[code]
    card = Card(formats=(code,), quantization=quantization)
    with read(grabber(card)) as reader:
        pixels = deliver(card, reader, raw).pixels

    assert [pixels[0, 0], pixels[0, -1]] == black_and_white


JPEG: bytes = cv2.imencode(".jpg", cv2.merge([PICTURE] * 3), [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def _without_tables(jpeg: bytes) -> bytes:
    """Without its Huffman tables, as motion JPEG leaves the usual ones away (AVI MJPEG DIB, Microsoft)."""
    kept, place = jpeg[:2], 2
    while jpeg[place + 1] != 0xDA:
        end = place + 2 + int.from_bytes(jpeg[place + 2 : place + 4], "big")
        kept += b"" if jpeg[place + 1] == 0xC4 else jpeg[place:end]
        place = end
    return kept + jpeg[place:]


@pytest.mark.parametrize(
    "jpeg", [JPEG, JPEG + bytes(300), JPEG[:-2], _without_tables(JPEG)], ids=["whole", "padded", "no end", "no tables"]
)
def test_a_compressed_picture_is_decoded(jpeg: bytes) -> None:
    card = Card(formats=("MJPG",))
    with read(grabber(card)) as reader:
        frame = deliver(card, reader, jpeg)

    assert abs(frame.pixels.astype(int) - PICTURE).mean() < 3
    assert frame.flags is FrameFlag.NONE


@pytest.mark.parametrize(
    "jpeg",
    [
        JPEG[: len(JPEG) // 2],
        JPEG[: len(JPEG) // 2] + JPEG[-2:],
        bytes(900),
        cv2.imencode(".jpg", PICTURE[:9])[1].tobytes(),
    ],
    ids=["cut", "a hole", "no picture", "another size"],
)
def test_a_compressed_picture_that_is_damaged_is_corrupt_and_blank(jpeg: bytes) -> None:
    card = Card(formats=("MJPG",))
    with read(grabber(card)) as reader:
        deliver(card, reader, JPEG)
        damaged = deliver(card, reader, jpeg)

    assert damaged.flags is FrameFlag.CORRUPT
    assert not damaged.pixels.any()


def test_a_frames_time_is_the_kernels_and_never_falls() -> None:
    card = Card()
    source = grabber(card)
    with read(source) as reader:
        now_s = time.monotonic()
        for t_s in (now_s, now_s + 0.04, now_s - 0.5, now_s + 0.08):
            deliver(card, reader, t_s=t_s)
        times = [frame.t_s for frame in reader.frames]

    assert times == pytest.approx([now_s, now_s + 0.04, now_s + 0.04, now_s + 0.08], abs=1e-5)
    assert source.timestamp_is == "end of frame"


@pytest.mark.parametrize("wrong_s", [-3600.0, 3600.0])
def test_a_clock_that_is_not_this_machines_is_not_believed_and_time_goes_on(wrong_s: float) -> None:
    card = Card()
    source = grabber(card)
    with read(source) as reader:
        before_s = time.monotonic()
        frames = [deliver(card, reader, t_s=time.monotonic() + offset_s) for offset_s in (0.0, wrong_s, wrong_s, 0.0)]
        after_s = time.monotonic()

    assert [before_s <= frame.t_s <= after_s for frame in frames] == [True] * 4
    assert [frame.flags for frame in frames] == [FrameFlag.NONE] * 4


def test_a_gap_in_the_kernels_count_is_counted_to_the_frame() -> None:
    card = Card(sequence=0xFFFF_FFFE)
    with read(grabber(card)) as reader:
        card.sequence = 0xFFFF_FFFE
        for lost in (0, 3, 0, 0, 1):
            card.sequence = (card.sequence + lost) & 0xFFFF_FFFF
            deliver(card, reader)

    assert [frame.sequence for frame in reader.frames] == [0, 4, 5, 6, 8]
    assert reader.source.status.dropped == 4


@pytest.mark.parametrize(("pixels", "flags"), [(PICTURE, int(BufferFlag.ERROR)), (PICTURE[:20], 0)])
def test_a_damaged_or_short_buffer_is_flagged_counted_and_shows_nothing_of_an_earlier_frame(
    pixels: NDArray[np.uint8], flags: int
) -> None:
    card = Card(formats=("GREY",))
    with read(grabber(card)) as reader:
        deliver(card, reader)
        bad, after = deliver(card, reader, pixels, flags), deliver(card, reader)

    assert bad.flags is FrameFlag.CORRUPT
    assert not bad.pixels.any()
    assert after.flags is FrameFlag.NONE
    assert reader.source.status.corrupt == 1


@pytest.mark.parametrize(
    ("status", "timings_errno", "signal"),
    [
        (int(InputStatus.NO_SIGNAL), errno.ENOLINK, Signal.NO_SIGNAL),
        (int(InputStatus.NO_H_LOCK), errno.ENOLCK, Signal.NO_LOCK),
        (int(InputStatus.NO_H_LOCK), errno.ERANGE, Signal.OUT_OF_RANGE),
    ],
)
def test_noise_of_an_input_without_a_usable_signal_is_never_live(
    status: int, timings_errno: int, signal: Signal
) -> None:
    card = Card(has_timings=True)
    with read(grabber(card, format="GREY")) as reader:
        deliver(card, reader)
        card.change(status=status, timings_errno=timings_errno)
        noise = deliver(card, reader)
        assert reader.source.status.signal is signal
        card.change(status=0, timings_errno=0)
        back_s = time.monotonic()
        begun_before = deliver(card, reader, t_s=back_s + 0.5 / RATE_HZ)
        told_meanwhile = reader.source.status.signal
        good = deliver(card, reader, t_s=time.monotonic() + 1.5 / RATE_HZ)

    assert reader.frames[0].flags is FrameFlag.NONE
    assert noise.flags is FrameFlag.NO_SIGNAL
    assert begun_before.flags is FrameFlag.NO_SIGNAL
    assert told_meanwhile is signal
    assert good.flags is FrameFlag.NONE
    assert reader.source.status.signal is Signal.LIVE


def test_a_frame_that_was_begun_before_the_source_changed_is_not_live_though_its_signal_is_good_again() -> None:
    card = Card(has_timings=True)
    with read(grabber(card, format="GREY")) as reader:
        deliver(card, reader)
        begun_s = time.monotonic()
        card.change()
        eventually(lambda: not card.events)
        across, after = deliver(card, reader, t_s=begun_s), deliver(card, reader, t_s=time.monotonic() + 2 / RATE_HZ)

    assert across.flags is FrameFlag.NO_SIGNAL
    assert after.flags is FrameFlag.NONE


def test_a_camera_without_timings_tells_a_lost_signal_too() -> None:
    card = Card()
    with read(grabber(card)) as reader:
        card.status = int(InputStatus.NO_SIGNAL)
        eventually(lambda: reader.source.status.signal is Signal.NO_SIGNAL)
        card.status = 0
        eventually(lambda: deliver(card, reader).flags is FrameFlag.NONE)
        assert reader.source.status.signal is Signal.LIVE


def test_an_opened_card_is_live_only_once_a_good_frame_has_come() -> None:
    card = Card()
    with read(grabber(card)) as reader:
        assert reader.source.status.signal is Signal.STARTING
        deliver(card, reader)
        assert reader.source.status.signal is Signal.LIVE


def test_what_waited_while_nobody_read_is_lost_and_counted_and_never_delivered_as_new() -> None:
    card = Card(formats=("GREY",))
    with grabber(card) as source:
        frames = iter(source)
        eventually(lambda: card.deliver(np.full_like(PICTURE, 1)))
        assert next(frames).pixels[0, 0] == 1
        for _ in range(3):
            eventually(lambda: card.deliver(np.full_like(PICTURE, 2)))
        time.sleep(1.2 * STALE_S)
        new = threading.Timer(0.2, lambda: card.deliver(np.full_like(PICTURE, 3)))
        new.start()
        frame = next(frames)
        new.join()

    assert frame.pixels[0, 0] == 3
    assert frame.sequence == 4
    assert source.status.dropped == 3


def test_other_timings_are_taken_up_and_reading_goes_on() -> None:
    card = Card(has_timings=True)
    other = PICTURE[:40, :60]
    with read(grabber(card, format="GREY")) as reader:
        deliver(card, reader)
        card.change(source=timings(60, 40, 25))
        eventually(lambda: reader.runs == 2)
        frame = deliver(card, reader, other)
        info = reader.source.info

    assert (info.width_px, info.height_px, info.rate_hz) == (60, 40, pytest.approx(25))
    assert np.array_equal(frame.pixels, other)
    assert [frame.sequence for frame in reader.frames] == [0, 1]


def test_another_rate_of_the_same_size_goes_on_without_a_break() -> None:
    card = Card(has_timings=True)
    with read(grabber(card, format="GREY")) as reader:
        deliver(card, reader)
        card.change(source=timings(70, 48, 60))
        eventually(lambda: reader.source.status.restarts == 1)
        deliver(card, reader)

    assert reader.runs == 1
    assert reader.source.info.rate_hz == pytest.approx(60)


def test_a_card_that_tells_of_no_changes_is_asked_for_its_timings() -> None:
    card = Card(has_timings=True)
    card.fail(v4l2.SUBSCRIBE_EVENT, errno.ENOTTY)
    with read(grabber(card, format="GREY")) as reader:
        deliver(card, reader)
        # Frames go on, whatever they hold, so that nothing else makes the driver ask.
        card.pictures = PICTURE[np.newaxis, :40, :60]
        card.source = timings(60, 40, 25)
        eventually(lambda: reader.runs == 2)


def test_a_measured_pixel_clock_that_wanders_is_no_change() -> None:
    card = Card(has_timings=True, source=timings(70, 48, 56.25))
    with read(grabber(card, format="GREY")) as reader:
        for rate_hz in (56.2, 56.3, 56.25):
            card.change(source=timings(70, 48, rate_hz))
            eventually(lambda: not card.events)
            deliver(card, reader)

    assert reader.source.status.restarts == 0


def test_timings_that_change_at_every_question_are_never_live_and_the_iteration_can_be_stopped() -> None:
    card = Card(has_timings=True)
    rates_hz = itertools.cycle((30.0, 60.0))
    with read(grabber(card, format="GREY")) as reader:
        deliver(card, reader)
        card.query_timings = lambda: timings(70, 48, next(rates_hz))
        card.change()
        eventually(lambda: reader.source.status.restarts >= 30)
        assert reader.source.status.signal is not Signal.LIVE
        frames_then = [frame.flags for frame in reader.frames[1:]]

    assert FrameFlag.NONE not in frames_then


def test_interlaced_video_is_out_of_range_as_a_buffer_may_hold_half_a_picture() -> None:
    card = Card(has_timings=True)
    with read(grabber(card, format="GREY")) as reader:
        interlaced = timings(70, 48, 30)
        interlaced.interlaced = 1
        card.change(source=interlaced)
        eventually(lambda: reader.source.status.signal is Signal.OUT_OF_RANGE)
        half = deliver(card, reader)

    assert half.flags is FrameFlag.NO_SIGNAL


def test_timings_that_the_card_cannot_take_are_out_of_range() -> None:
    card = Card(has_timings=True)
    card.fail(v4l2.S_DV_TIMINGS, errno.EINVAL)
    card.set_timings, card.source = timings(70, 48, 30), timings(70, 24, 60)
    with read(grabber(card, format="GREY")) as reader:
        eventually(lambda: reader.source.status.signal is Signal.OUT_OF_RANGE)
        assert reader.source.info.height_px == 48
        card.change(source=timings(70, 48, 30))
        eventually(lambda: deliver(card, reader).flags is FrameFlag.NONE)
        assert reader.source.status.signal is Signal.LIVE


def test_a_card_that_stops_delivering_is_told_and_started_anew() -> None:
    card = Card(formats=("GREY",))
    with read(grabber(card)) as reader:
        deliver(card, reader)
        eventually(lambda: reader.source.status.signal is Signal.STALLED)
        stalled_s = reader.source.status.since_s
        eventually(lambda: reader.source.status.restarts == 1)
        assert time.monotonic() - stalled_s >= 0.5 * DEAD_S
        assert reader.source.status.signal is Signal.STALLED
        eventually(lambda: deliver(card, reader).flags is FrameFlag.NONE)
        assert reader.source.status.signal is Signal.LIVE


def test_a_driver_that_hangs_in_the_kernel_is_told_as_stalled_and_its_frames_are_not_taken_for_new_ones() -> None:
    card = Card(formats=("GREY",))
    with read(grabber(card)) as reader:
        deliver(card, reader)
        card.answers.clear()
        try:
            eventually(lambda: card.deliver(np.full_like(PICTURE, 1)))
            eventually(lambda: reader.source.status.signal is Signal.STALLED)
        finally:
            card.answers.set()
        eventually(lambda: not card.waiting)
        eventually(lambda: deliver(card, reader, np.full_like(PICTURE, 2)).flags is FrameFlag.NONE)

    assert [int(frame.pixels[0, 0]) for frame in reader.frames if 1 in frame.pixels] == []
    assert reader.source.status.dropped == 1


@pytest.mark.parametrize("request_of", ["DQBUF", "QBUF", "STREAMON"])
def test_a_stream_that_fails_is_started_anew_until_it_runs(request_of: str) -> None:
    card = Card(formats=("GREY",))
    with read(grabber(card)) as reader:
        deliver(card, reader)
        card.fail(v4l2.STREAMON, *([errno.EIO] * 2 if request_of == "STREAMON" else []))
        card.fail(getattr(v4l2, "DQBUF" if request_of == "STREAMON" else request_of), errno.EIO)
        eventually(lambda: card.deliver(PICTURE))
        eventually(lambda: reader.source.status.restarts >= (3 if request_of == "STREAMON" else 1))
        assert reader.source.status.signal is Signal.STREAM_ERROR
        frame = deliver(card, reader)
        assert reader.source.status.signal is Signal.LIVE

    status, sequences = reader.source.status, [frame.sequence for frame in reader.frames]
    assert frame.flags is FrameFlag.NONE
    assert sequences == sorted(set(sequences))
    assert status.frames == len(sequences)
    assert status.frames + status.dropped == sequences[-1] + 1


def test_a_stream_that_fails_before_every_first_frame_is_not_started_anew_without_a_pause() -> None:
    card = Card(formats=("GREY",))
    with read(grabber(card)) as reader:
        deliver(card, reader)
        card.fail(v4l2.DQBUF, *[errno.EIO] * 1000)
        card.pictures = PICTURE[np.newaxis]
        began_s = time.monotonic()
        eventually(lambda: reader.source.status.restarts >= 3)
        assert time.monotonic() - began_s >= 2 * RETRY_S
        assert reader.source.status.signal is Signal.STREAM_ERROR


def test_a_poll_error_starts_the_stream_anew() -> None:
    card = Card(formats=("GREY",))
    with read(grabber(card)) as reader:
        deliver(card, reader)
        card.poll_error = True
        eventually(lambda: reader.source.status.restarts == 1)
        deliver(card, reader)


def test_a_device_that_returns_under_another_number_is_known_by_its_serial_number() -> None:
    card = Card(formats=("GREY",))
    other = Card(formats=("GREY",), identity=Identity("Card", "1234:5678", "S2", "1-1", 0), path="/dev/video1")
    back = Card(formats=("GREY",), identity=Identity("Card", "1234:5678", "S1", "1-4", 0), path="/dev/video7")
    back.is_there = False
    with read(grabber(card, other, back)) as reader:
        deliver(card, reader)
        card.unplug()
        eventually(lambda: reader.source.status.signal is Signal.UNPLUGGED)
        eventually(lambda: card.open_nodes == 0)
        time.sleep(0.2)
        assert other.open_nodes == 0
        back.is_there = True
        deliver(back, reader)

    assert reader.source.status.signal is Signal.LIVE
    assert reader.runs == 1
    assert [frame.sequence for frame in reader.frames] == [0, 1]
    assert back.open_nodes == 0


def test_a_copy_with_the_same_serial_number_that_was_there_before_is_not_taken_for_the_one_that_is_gone() -> None:
    card = Card(formats=("GREY",))
    copy = Card(formats=("GREY",), identity=Identity("Card", "1234:5678", "S1", "1-3", 0), path="/dev/video1")
    back = Card(formats=("GREY",), identity=Identity("Card", "1234:5678", "S1", "1-2", 0), path="/dev/video2")
    back.is_there = False
    with read(grabber(card, copy, back)) as reader:
        deliver(card, reader)
        card.unplug()
        eventually(lambda: card.open_nodes == 0)
        time.sleep(3 * RETRY_S)
        assert copy.open_nodes == 0
        back.is_there = True
        deliver(back, reader)
        assert copy.streams == 0

        back.unplug()
        eventually(lambda: back.open_nodes == 0)
        copy.unplug()
        time.sleep(3 * RETRY_S)
        copy.is_there = True
        deliver(copy, reader)


def test_without_a_serial_number_a_device_is_known_by_its_port() -> None:
    here = Identity("Card", "1:2", "", "1-1", 0)

    assert here.is_same_device(Identity("Card", "1:2", "", "1-1", 0))
    assert not here.is_same_device(Identity("Card", "1:2", "", "1-2", 0))
    assert not here.is_same_device(Identity("Card", "1:2", "", "1-1", 1))


def test_who_holds_every_picture_loses_the_next_and_none_is_overwritten() -> None:
    card = Card(formats=("GREY",))
    with read(grabber(card)) as reader:
        for i in range(RING_FRAMES):
            deliver(card, reader, np.full_like(PICTURE, i))
        eventually(lambda: card.deliver(PICTURE))
        eventually(lambda: reader.source.status.dropped == 1)
        assert [int(frame.pixels[0, 0]) for frame in reader.frames] == list(range(RING_FRAMES))
        part = reader.frames[3].pixels[5:9]
        del reader.frames[3:]
        for i in range(RING_FRAMES - 4):
            deliver(card, reader, np.full_like(PICTURE, 100 + i))

    assert (part == 3).all()
    assert reader.source.status.dropped == 1


def test_stopping_from_another_thread_ends_a_silent_card_and_leaves_nothing_open() -> None:
    card = Card()
    with read(grabber(card)):
        pass

    assert card.open_nodes == 0
    assert not card.is_streaming


def test_waking_a_node_that_another_thread_has_closed_writes_nowhere(tmp_path: Path) -> None:
    (tmp_path / "node").touch()
    node = DeviceNode(str(tmp_path / "node"))
    node.close()
    with (tmp_path / "next").open("wb+") as next_one:
        node.wake()
        assert next_one.read() == b""
    node.close()


def test_opening_and_closing_twice_leaves_nothing_open() -> None:
    card = Card(formats=("GREY",))
    source: LiveSource = grabber(card)
    with pytest.raises(RuntimeError, match="not opened yet"):
        _ = source.info
    for _ in range(2):
        with read(source) as reader:
            assert deliver(card, reader).flags is FrameFlag.NONE
        source.__exit__(None, None, None)

    assert list(source) == []
    assert card.open_nodes == 0


def test_a_grabber_that_is_opened_again_takes_what_its_input_brings_then() -> None:
    card = Card(has_timings=True)
    source = grabber(card, format="GREY")
    with source:
        assert source.info.height_px == 48
    card.source = timings(60, 40, 25)
    with source:
        assert source.info.height_px == 40


def test_the_largest_picture_that_comes_fast_enough_is_chosen() -> None:
    card = Card(formats=("YUYV", "GREY"), sizes=((70, 48), (140, 96)), rates=(30.0,))
    with grabber(card) as source:
        assert (source.info.width_px, source.info.height_px) == (140, 96)
        assert v4l2.letters(card.format.pixelformat) == "GREY"
        assert source.info.rate_hz == pytest.approx(30)
        assert source.info.live


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"input": 5}, "input=5: no such input; expected one of 0, 1"),
        ({"format": "Y16"}, "format=Y16: not offered; the grabber's formats are GREY, UYVY"),
        ({"size_px": (640, 480)}, "size=640x480: not offered"),
        ({"edid": "/none"}, "edid=/none"),
    ],
)
def test_what_a_grabber_has_not_is_one_clear_error(options: dict[str, object], complaint: str) -> None:
    card = Card()
    with pytest.raises(SourceError, match=complaint) as told, grabber(card, **options):
        pass

    assert "\n" not in str(told.value)
    assert card.open_nodes == 0


@pytest.mark.parametrize(
    ("request_number", "number", "complaint"),
    [
        (v4l2.REQBUFS, errno.EBUSY, "in use by another program"),
        (v4l2.S_INPUT, errno.EBUSY, "in use by another program"),
        (v4l2.SUBSCRIBE_EVENT, errno.ENODEV, "no such device"),
        (v4l2.QUERYCAP, errno.ENOTTY, "no grabber"),
        (v4l2.STREAMON, errno.EIO, "expected a grabber that streams"),
    ],
)
def test_a_grabber_that_cannot_be_opened_is_one_clear_error(request_number: int, number: int, complaint: str) -> None:
    card = Card()
    card.fail(request_number, number)
    with pytest.raises(SourceError, match=complaint), grabber(card, input=0):
        pass

    assert card.open_nodes == 0


def test_a_grabber_that_is_not_there_is_one_clear_error() -> None:
    with (
        pytest.raises(SourceError, match="/dev/video9: no such device"),
        grabber(Card(path="/dev/video9", is_there=False)),
    ):
        pass


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("v4l2:///dev/video0?colour=1", "option colour: expected one of input"),
        ("v4l2:///dev/video0?input=a", "option input=a: expected a number"),
        ("v4l2:///dev/video0?size=10", "expected WIDTHxHEIGHT"),
        ("v4l2:///dev/video0?rate=0", "expected frames a second"),
        ("v4l2:///dev/video0?format=H264", "expected one of GREY"),
        ("v4l2://video0", "expected v4l2:///dev/videoN"),
    ],
)
def test_a_url_that_says_what_cannot_be_is_refused(url: str, complaint: str) -> None:
    with pytest.raises(SourceError, match=complaint):
        open_grabber(url)


def test_devices_tell_cards_inputs_signal_formats_and_rates() -> None:
    hdmi = Card(has_timings=True, timings_errno=errno.ENOLCK, status=int(InputStatus.NO_H_LOCK))
    camera = Card(identity=Identity("Camera", "1:2", "", "1-2", 0), path="/dev/video2", rates=(25, 60, 30))
    first, second = devices(FakeKernel(hdmi, camera))

    assert (first.url, first.serial) == ("v4l2:///dev/video0", "S1")
    assert first.inputs[0].signal is Signal.NO_LOCK
    assert first.inputs[0].edid_bytes == 0
    assert [(mode.format, mode.width_px, mode.rates_hz) for mode in second.modes] == [
        ("UYVY", 70, (60, 30, 25)),
        ("GREY", 70, (60, 30, 25)),
    ]
    assert "GREY  70x48  60, 30, 25/s" in "\n".join(second.as_lines())
    assert first.as_json()["inputs"][0]["signal"] == "no_lock"
    assert (hdmi.open_nodes, camera.open_nodes) == (0, 0)
