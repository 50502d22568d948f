"""What every source promises, whatever it reads."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from drivers.decklink import DeckLinkCard
from drivers.errors import SourceError
from drivers.frame import Frame, FrameSource
from drivers.signal import LiveSource, Signal, as_live
from drivers.sources import open_source
from drivers.v4l2 import V4L2Grabber
from drivers.v4l2_card import GrabberOptions
from guidance.phantom.source import PhantomSource
from tests.unit.drivers import fake_gstreamer
from tests.unit.drivers.fake_v4l2 import Card, FakeKernel
from tests.unit.drivers.written import pictures, recode, write_dicom, write_video


def _remove_files(source: FrameSource, folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


@dataclass(frozen=True)
class Kind:
    """A kind of source. ``open_in``: one with six frames or more, made in an empty folder.

    ``lose``: takes away what it reads; None where nothing could go. ``silence``: a live one gives no more.
    """

    name: str
    open_in: Callable[[Path], FrameSource]
    bits: int = 8
    shape: tuple[int, int] = (48, 70)
    rate_hz: float = 15
    live: bool = False
    lose: Callable[[FrameSource, Path], None] | None = _remove_files
    silence: Callable[[FrameSource], None] = lambda source: None


def recorded(name: str, write: Callable[[Path], str], bits: int = 8) -> Kind:
    """A recording; ``write`` tells what to open."""
    return Kind(name, lambda folder: open_source(write(folder)), bits)


def _grabber(folder: Path) -> FrameSource:
    card = Card(formats=("GREY",), rates=(15.0,), pictures=pictures())
    return V4L2Grabber(GrabberOptions(card.path), FakeKernel(card))


def _decklink(folder: Path) -> FrameSource:
    steps = ";".join(["caps 70 48", *(f"frame {i} {16 + i}" for i in range(12))])
    return DeckLinkCard("DeckLink 0", [], [sys.executable, str(fake_gstreamer.__file__), steps])


def _card(source: FrameSource) -> Card:
    return source._kernel.cards[0]  # type: ignore[attr-defined,no-any-return]


def _unplug(source: FrameSource, folder: Path) -> None:
    _card(source).unplug()


def _silence(source: FrameSource) -> None:
    _card(source).pictures = None


def _kill(source: FrameSource, folder: Path) -> None:
    source._process.kill()  # type: ignore[attr-defined]


def _phantom(folder: Path) -> FrameSource:
    return PhantomSource("epidurogram_only", seed=1, size_px=128)


def _images(folder: Path, suffix: str) -> str:
    for i, picture in enumerate(pictures()):
        assert cv2.imwrite(str(folder / f"shot{i + 5}{suffix}"), picture)
    return str(folder)


def _tiff_stack(folder: Path) -> str:
    tifffile.imwrite(folder / "run.tif", pictures(dtype=np.uint16, top=65535), photometric="minisblack")
    return str(folder / "run.tif")


def _npz(folder: Path) -> str:
    np.savez(
        folder / "frames.npz",
        pulses=pictures(3),
        pulse_of_frame=np.array([0, 0, 1, 1, 2, 2]),
        t_s=np.arange(6) / 15,
    )
    return str(folder)


def _single_dicom_frames(folder: Path) -> str:
    for i, picture in enumerate(pictures()):
        write_dicom(folder / f"{100 - i}.dcm", picture[np.newaxis], InstanceNumber=i + 1, SeriesInstanceUID="1.2.3")
    return str(folder)


def _case(folder: Path) -> str:
    write_video(folder / "video.mkv", pictures())
    return str(folder)


KINDS = [
    recorded("FFV1 in Matroska", lambda at: str(write_video(at / "v.mkv", pictures()))),
    recorded("H.264 in MP4", lambda at: str(write_video(at / "v.mp4", pictures(), "libx264", "yuv420p"))),
    recorded("MJPEG in AVI", lambda at: str(write_video(at / "v.avi", pictures(), "mjpeg", "yuvj420p"))),
    recorded("VP9 in WebM", lambda at: str(write_video(at / "v.webm", pictures(), "libvpx-vp9", "yuv420p"))),
    recorded("a case's video", _case),
    recorded("PNG folder", lambda at: _images(at, ".png")),
    recorded("JPEG glob", lambda at: _images(at, ".jpg") + "/shot*.jpg"),
    recorded("TIFF stack", _tiff_stack, bits=16),
    recorded("npz", _npz),
    recorded(
        "multi-frame DICOM", lambda at: str(write_dicom(at / "r.dcm", pictures(dtype=np.uint16, top=4095), 12)), 12
    ),
    recorded("JPEG-LS DICOM", lambda at: str(recode(write_dicom(at / "r.dcm", pictures()), "JPEGLSLossless"))),
    recorded("folder of single DICOM frames", _single_dicom_frames),
    Kind("V4L2 grabber", _grabber, live=True, lose=_unplug, silence=_silence),
    Kind("DeckLink card", _decklink, rate_hz=30, live=True, lose=_kill),
    Kind("phantom", _phantom, shape=(128, 128), rate_hz=7.5, lose=None),
]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    chosen = request.param
    assert isinstance(chosen, Kind)
    return chosen


@pytest.fixture
def source(kind: Kind, tmp_path: Path) -> FrameSource:
    return kind.open_in(tmp_path)


def _read(source: FrameSource) -> list[Frame]:
    """The first six frames; of a recording there are no more."""
    with source:
        return list(islice(source, 6))


def test_every_frame_comes_in_order_and_time_never_decreases(source: FrameSource) -> None:
    frames = _read(source)

    assert [frame.sequence for frame in frames] == list(range(6))
    assert all(a.t_s <= b.t_s for a, b in pairwise(frames))
    assert all(np.isfinite(frame.t_s) for frame in frames)


def test_frames_are_contiguous_and_not_writeable(source: FrameSource, kind: Kind) -> None:
    for frame in _read(source):
        assert frame.pixels.flags.c_contiguous
        assert not frame.pixels.flags.writeable
        assert frame.pixels.dtype == (np.uint8 if kind.bits == 8 else np.uint16)


def test_the_first_frame_is_what_the_info_says(source: FrameSource, kind: Kind) -> None:
    with source:
        info = source.info
        first = next(iter(source))

    assert first.pixels.shape == (info.height_px, info.width_px) == kind.shape
    assert first.bits == info.bits == kind.bits
    assert info.rate_hz == pytest.approx(kind.rate_hz)
    assert info.live is kind.live


def test_a_recording_ends_and_tells_its_length_where_it_knows_it(source: FrameSource, kind: Kind) -> None:
    if kind.live or kind.name == "phantom":
        return
    with source:
        assert len(list(source)) == 6
        assert source.info.frame_count in (6, None)


def test_reading_a_recording_again_gives_the_same_bytes(source: FrameSource, kind: Kind) -> None:
    if kind.live:
        return
    once, again = _read(source), _read(source)

    assert [frame.pixels.tobytes() for frame in once] == [frame.pixels.tobytes() for frame in again]
    assert [frame.t_s for frame in once] == [frame.t_s for frame in again]


def test_a_frame_outlives_those_after_it(source: FrameSource) -> None:
    with source:
        kept = [(frame, frame.pixels.copy()) for frame in islice(source, 6)]

    assert all(np.array_equal(frame.pixels, copy) for frame, copy in kept)


def test_a_source_that_is_lost_says_so_and_leaves_nothing_behind(
    source: FrameSource, kind: Kind, tmp_path: Path
) -> None:
    if kind.lose is None:
        return
    _read(source)
    before = _held()
    if kind.live:
        with _reading(source) as live:
            kind.lose(source, tmp_path)
            _eventually(lambda: live.status.signal in (Signal.UNPLUGGED, Signal.STREAM_ERROR))
    else:
        kind.lose(source, tmp_path)
        with pytest.raises(SourceError, match=str(tmp_path)) as told, source:
            list(source)
        assert "\n" not in str(told.value)

    # A thread that has been joined may be the system's for a moment longer.
    _eventually(lambda: _held() == before)


def test_a_live_source_that_falls_silent_says_so_and_its_iteration_ends_when_it_is_told_to(
    source: FrameSource, kind: Kind
) -> None:
    if not kind.live:
        return
    _read(source)
    before = _held()
    with _reading(source) as live:
        kind.silence(source)
        _eventually(lambda: live.status.signal is Signal.STALLED)

    _eventually(lambda: _held() == before)


def test_closing_twice_and_in_mid_run_leaves_no_thread_and_no_descriptor(source: FrameSource) -> None:
    _read(source)
    before = _held()

    source.__enter__()
    frames = iter(source)
    next(frames)
    source.__exit__(None, None, None)
    source.__exit__(None, None, None)

    assert list(frames) == []
    assert _held() == before


def test_opening_without_reading_and_opening_twice_leaves_nothing_behind(source: FrameSource) -> None:
    _read(source)
    before = _held()

    source.__enter__()
    with source:
        pass

    assert _held() == before


def test_info_before_opening_is_a_mistake_of_the_caller(source: FrameSource) -> None:
    with pytest.raises(RuntimeError, match="not opened yet"):
        _ = source.info


@contextmanager
def _reading(source: FrameSource) -> Iterator[LiveSource]:
    """The source, live, while a thread reads it; at the end it is told to stop, and must."""
    with source:
        live = as_live(source)
        assert live is not None
        reader = threading.Thread(target=lambda: [None for _ in source])
        reader.start()
        try:
            _eventually(lambda: live.status.signal is Signal.LIVE)
            yield live
        finally:
            live.stop()
            reader.join(10)
        assert not reader.is_alive()


def _eventually(holds: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < until_s, "never came"
        time.sleep(0.005)


def _held() -> tuple[list[threading.Thread], int, set[str]]:
    """Python's threads, how many threads the system counts, and what the open descriptors lead to."""
    descriptors = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            descriptors.add(f"{descriptor.name} {descriptor.readlink()}")
        except OSError:
            continue  # the one that lists them
    return threading.enumerate(), len(list(Path("/proc/self/task").iterdir())), descriptors
