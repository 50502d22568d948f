"""The phantom as a FrameSource, and rendered as a case."""

from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest

from drivers.errors import SourceError
from drivers.frame import Frame, FrameFlag
from guidance.casebook.case import read_case
from guidance.phantom import shelf
from guidance.phantom.case import render_case
from guidance.phantom.source import PhantomSource, open_phantom
from guidance.records import FrameState

SCENARIO = """
title = "a needle and a lost signal"
may_alarm = true
[video]
duration_s = 1
size_px = 128
pulse_hz = 4
video_hz = 8
[[needles]]
target = "ala_L"
[[intervals]]
state = "no_signal"
start_s = 0.5
end_s = 0.75
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SCENARIO, encoding="utf-8")
    return path


def taken(source: PhantomSource, count: int = 8) -> list[Frame]:
    with source:
        return list(islice(source, count))


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(scenario: Path) -> None:
    one, same, other = (taken(open_phantom(f"phantom://{scenario}?seed={seed}"), 3) for seed in (1, 1, 2))
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[0].pixels, other[0].pixels)


def test_frames_keep_the_promise_of_a_frame(scenario: Path) -> None:
    source = PhantomSource(scenario)
    frames = taken(source)
    assert source.info.frame_count == len(frames) == 8
    assert (source.info.width_px, source.info.height_px, source.info.live) == (128, 128, False)
    assert [f.sequence for f in frames] == list(range(8))
    assert [f.t_s for f in frames] == pytest.approx([i / 8 for i in range(8)])
    assert not any(f.pixels.flags.writeable for f in frames)
    assert [f.flags is FrameFlag.NO_SIGNAL for f in frames] == [False] * 4 + [True] * 2 + [False] * 2


def test_it_can_be_played_again_from_the_start(scenario: Path) -> None:
    with PhantomSource(scenario) as source:
        first, again = (next(iter(source)).pixels for _ in range(2))
    assert np.array_equal(first, again)


def test_truth_is_kept_where_it_was_asked_for(scenario: Path) -> None:
    source = PhantomSource(scenario, keep_truth=True)
    taken(source)
    assert source.truth_of(4).state is FrameState.NO_SIGNAL
    with pytest.raises(LookupError):
        PhantomSource(scenario).truth_of(0)


def test_it_is_not_read_before_it_is_open() -> None:
    with pytest.raises(RuntimeError, match="not opened yet"):
        next(iter(PhantomSource("demo")))


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("phantom://demo?speed=3", "expected seed=N or size=N"),
        ("phantom://demo?seed=x", "expected seed=N or size=N"),
        ("phantom://demo?size=9", "expected 128 to 1536"),
        ("phantom://nothing_of_that_name", "no such scenario"),
    ],
)
def test_a_url_that_cannot_be_used_gives_one_clear_error(url: str, complaint: str) -> None:
    with pytest.raises(SourceError, match=complaint) as error, open_phantom(url):
        pass
    assert "\n" not in str(error.value)


def test_a_rendered_case_holds_the_same_frames_as_the_source(scenario: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    render_case(scenario, tmp_path / "case", seed=1, progress=lambda done, of: seen.append((done, of)))
    case = read_case(tmp_path / "case")
    with av.open(str(case.recording)) as container:
        recorded = [frame.to_ndarray() for frame in container.decode(video=0)]
    frames = taken(PhantomSource(scenario, seed=1))
    assert seen[-1] == (8, 8)
    assert len(recorded) == len(frames) == len(case.truth.frames)
    assert all(np.array_equal(a, b.pixels) for a, b in zip(recorded, frames, strict=True))
    assert case.expect.dice_cement is None
    assert case.expect.tip_median_px is not None


def test_a_case_rendered_twice_is_the_same_to_the_last_byte(scenario: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        render_case(scenario, tmp_path / name, seed=3)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["SOURCE.md", "expect.json", "plan.json", "truth.json", "video.mkv"]
    assert all((tmp_path / "one" / f).read_bytes() == (tmp_path / "two" / f).read_bytes() for f in files)


def test_a_second_opening_takes_everything_from_the_shelf(scenario: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"phantom://{scenario}?seed=5"
    first = taken(open_phantom(url), 3)

    def never(*_: object) -> None:
        raise AssertionError("made again")

    for made in ("make_patient", "path_lengths_cm", "CementSpread", "ContrastRun"):
        monkeypatch.setattr(shelf, made, never)
    again = taken(open_phantom(url), 3)
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(first, again, strict=True))


def test_nothing_is_projected_in_mid_stream_for_a_still_view(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def noted(*key: object) -> shelf.BareView:
        asked.append(key)
        return shelf.bare_view(*key)  # type: ignore[arg-type]

    monkeypatch.setattr("guidance.phantom.procedure.bare_view", noted)
    with PhantomSource("swing_ap_lateral", seed=1, size_px=128) as source:
        frames = iter(source)
        next(frames)
        before = len(asked)
        assert sum(1 for _ in frames) == source.info.frame_count - 1
    assert len(asked) == before
