"""The DeckLink driver against a stand-in for GStreamer, and against GStreamer's own test picture where it is."""

import shutil
import sys
import threading
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from drivers import decklink
from drivers.decklink import DeckLinkCard, open_decklink
from drivers.errors import SourceError
from drivers.frame import Frame, FrameFlag
from drivers.signal import Signal

FAKE = Path(__file__).with_name("fake_gstreamer.py")


def card(*steps: str) -> DeckLinkCard:
    return DeckLinkCard("DeckLink 0", [], [sys.executable, str(FAKE), ";".join(steps)])


def read(source: DeckLinkCard, count: int) -> list[Frame]:
    with source:
        return list(islice(source, count))


def test_frames_come_with_their_luma_time_and_number() -> None:
    frames = read(card("caps 6 4", "frame 0 16", "frame 1 235", "frame 2 126"), 3)

    assert [int(frame.pixels[0, 0]) for frame in frames] == [0, 255, 128]
    assert all(frame.pixels.shape == (4, 6) and not frame.pixels.flags.writeable for frame in frames)
    assert [frame.sequence for frame in frames] == [0, 1, 2]
    assert frames[2].t_s - frames[0].t_s == pytest.approx(2 / 30, abs=1e-3)


def test_a_gap_in_the_times_is_frames_that_were_lost() -> None:
    source = card("caps 6 4", "frame 0 16", "frame 4 16")

    assert [frame.sequence for frame in read(source, 2)] == [0, 4]
    assert source.status.dropped == 3


def test_what_the_card_makes_up_without_a_signal_is_never_live() -> None:
    frames = read(card("caps 6 4", "frame 0 16", "frame 1 16 800", "frame 2 16"), 3)

    assert [frame.flags for frame in frames] == [FrameFlag.NONE, FrameFlag.NO_SIGNAL, FrameFlag.NONE]


def test_the_cards_own_word_on_its_signal_counts() -> None:
    steps = ("say /GstDecklinkVideoSrc:decklinkvideosrc0: signal = false", "wait 0.3", "frame 0 16")
    source = card("caps 6 4", *steps)

    assert read(source, 1)[0].flags is FrameFlag.NO_SIGNAL
    assert source.status.signal is Signal.NO_SIGNAL


def test_a_damaged_picture_is_flagged_and_blank() -> None:
    source = card("caps 6 4", "frame 0 235", "frame 1 235 100")
    frames = read(source, 2)

    assert frames[1].flags is FrameFlag.CORRUPT
    assert not frames[1].pixels.any()
    assert source.status.corrupt == 1


@pytest.mark.parametrize("last", ["end", "half"])
def test_a_pipeline_that_ends_or_breaks_off_is_started_anew_and_time_goes_on(last: str) -> None:
    source = card("caps 6 4", "frame 0 16", "frame 1 235", last)
    assert source.status.signal is Signal.STARTING
    frames = read(source, 4)

    assert [frame.sequence for frame in frames] == [0, 1, 2, 3]
    assert frames[2].t_s > frames[1].t_s
    assert source.status.restarts == 1


def test_another_picture_size_ends_the_iteration_and_reading_goes_on() -> None:
    with card("caps 6 4", "frame 0 16", "caps 8 2", "frame 1 235") as source:
        assert [frame.pixels.shape for frame in source] == [(4, 6)]
        assert (source.info.width_px, source.info.height_px) == (8, 2)
        assert next(iter(source)).pixels.shape == (2, 8)


def test_a_silent_card_is_told_and_can_be_stopped() -> None:
    with card("caps 6 4", "frame 0 16") as source:
        frames: list[Frame] = []
        reader = threading.Thread(target=lambda: frames.extend(source))
        reader.start()
        _eventually(lambda: source.status.signal is Signal.STALLED)
        source.stop()
        reader.join(5)

    assert not reader.is_alive()
    assert len(frames) == 1


def test_a_card_that_falls_silent_within_a_picture_is_told_and_can_be_stopped() -> None:
    with card("caps 6 4", "frame 0 16", "half") as source:
        reader = threading.Thread(target=lambda: list(source))
        reader.start()
        _eventually(lambda: source.status.signal is Signal.STALLED)
        source.stop()
        reader.join(5)

    assert not reader.is_alive()


def test_a_card_that_cannot_be_had_is_one_clear_error() -> None:
    with pytest.raises(SourceError, match="DeckLink 0: Failed to set pipeline to PAUSED; expected") as told:
        read(card("say Failed to set pipeline to PAUSED.", "wait 0.2", "end"), 1)

    assert "\n" not in str(told.value)


def test_closing_twice_leaves_no_process_no_thread_and_no_descriptor() -> None:
    source = card("caps 6 4", "frame 0 16")
    before = threading.active_count(), _descriptors()
    for _ in range(2):
        read(source, 1)
        source.__exit__(None, None, None)

    assert (threading.active_count(), _descriptors()) == before
    assert list(source) == []


def test_without_gstreamer_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decklink.shutil, "which", lambda name: None)
    with pytest.raises(SourceError, match=r"decklink://0: GStreamer is not installed; expected gstreamer1\.0-tools"):
        open_decklink("decklink://0")


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("decklink://card", "expected decklink://N"),
        ("decklink://0?speed=1", "option speed: expected one of mode, connection"),
        ("decklink://0?connection=usb", "option connection=usb: expected auto"),
        ("decklink://0?mode=1080p30 ! filesink", "option mode="),
    ],
)
def test_a_url_that_says_what_cannot_be_is_refused(url: str, complaint: str) -> None:
    with pytest.raises(SourceError, match=complaint):
        open_decklink(url)


@pytest.mark.skipif(shutil.which("gst-launch-1.0") is None, reason="needs gstreamer1.0-tools and -plugins-bad")
def test_gstreamers_own_test_picture_is_read() -> None:
    test_picture = [
        "videotestsrc",
        "is-live=true",
        "pattern=white",
        "!",
        "video/x-raw,width=322,height=240",
        "!",
        "identity",
    ]
    frames = read(DeckLinkCard("test", test_picture), 3)

    assert [frame.sequence for frame in frames] == [0, 1, 2]
    assert (frames[0].pixels == 255).all()


def _eventually(holds: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(1000):
        if holds():
            return
        waiting.wait(0.01)
    raise AssertionError("never came")


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
