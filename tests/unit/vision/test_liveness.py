"""What each frame is worth, told as stories of what a grabber delivers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from drivers.frame import Frame, FrameFlag, freeze
from guidance.records import FrameState
from guidance.vision.field import find_field
from guidance.vision.kernels.liveness import is_even, likeness, noise_between
from guidance.vision.liveness import Liveness, LivenessWatch
from tests.unit.vision.xray_pictures import Grey, anatomy, disc, noisy, within

SIDE = 240
IMAGE = anatomy(SIDE)
INSIDE = disc((SIDE, SIDE), (120, 120), 105)
FIELD = find_field(within(noisy(IMAGE, 0), INSIDE), 8)

LIVE, HELD, FROZEN, NONE = FrameState.LIVE, FrameState.HELD, FrameState.FROZEN, FrameState.NO_SIGNAL


def pulse(number: int) -> Grey:
    return within(noisy(IMAGE, number), INSIDE)


def clocked(picture: Grey, t_s: float) -> Grey:
    shown = picture.copy()
    cv2.putText(shown, f":{int(t_s) % 60:02d}", (2, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255, 1)
    return shown


def compressed(picture: Grey, quality: int) -> Grey:
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)


def told(video: Iterator[tuple[Grey, FrameFlag]], video_hz: float = 30.0) -> list[Liveness]:
    watch = LivenessWatch()
    return [
        watch.update(Frame(freeze(pixels), i / video_hz, i, 8, flags), i / video_hz, FIELD)
        for i, (pixels, flags) in enumerate(video)
    ]


def pulsed(frames: int, each: int, first: int = 0, clock: bool = False) -> Iterator[tuple[Grey, FrameFlag]]:
    for i in range(frames):
        shown = pulse(first + i // each)
        yield (clocked(shown, (first * each + i) / 30) if clock else shown), FrameFlag.NONE


def still(frames: int, picture: Grey) -> Iterator[tuple[Grey, FrameFlag]]:
    for _ in range(frames):
        yield picture.copy(), FrameFlag.NONE


def held_with_a_running_clock() -> Iterator[tuple[Grey, FrameFlag]]:
    yield from pulsed(100, 4, clock=True)
    for i in range(100, 190):
        yield clocked(pulse(24), i / 30), FrameFlag.NONE


def held_then_live_again() -> Iterator[tuple[Grey, FrameFlag]]:
    yield from pulsed(40, 4)
    yield from still(40, pulse(9))
    yield from pulsed(40, 4, first=50)


def recompressed_and_held() -> Iterator[tuple[Grey, FrameFlag]]:
    for i in range(60):
        yield compressed(pulse(i // 4), 97 + i % 2), FrameFlag.NONE
    for i in range(30):
        yield compressed(pulse(14), 97 + i % 2), FrameFlag.NONE


def slower_pulses() -> Iterator[tuple[Grey, FrameFlag]]:
    yield from pulsed(60, 2)
    yield from pulsed(300, 15, first=100)


def dose_rises() -> Iterator[tuple[Grey, FrameFlag]]:
    yield from pulsed(60, 2)
    for i in range(120):
        yield within(noisy(IMAGE, 500 + i // 2, noise=1.5), INSIDE), FrameFlag.NONE


def black_field_beside_a_clock() -> Iterator[tuple[Grey, FrameFlag]]:
    yield from pulsed(40, 4, clock=True)
    for i in range(40, 60):
        yield clocked(np.zeros((SIDE, SIDE), np.uint8), i / 30), FrameFlag.NONE


def blue_screen_after_a_clock() -> Iterator[tuple[Grey, FrameFlag]]:
    yield from pulsed(40, 4, clock=True)
    yield from still(20, np.full((SIDE, SIDE), 41, np.uint8))


def snow() -> Iterator[tuple[Grey, FrameFlag]]:
    yield from pulsed(10, 1)
    for i in range(10):
        yield np.random.default_rng(i).integers(0, 255, (SIDE, SIDE), dtype=np.uint8), FrameFlag.NONE


def bars() -> Iterator[tuple[Grey, FrameFlag]]:
    yield from pulsed(10, 1)
    yield from still(10, np.repeat(np.repeat(np.arange(8, dtype=np.uint8) * 32, 30)[None], SIDE, axis=0))


def flagged(flag: FrameFlag) -> Iterator[tuple[Grey, FrameFlag]]:
    yield from pulsed(10, 1)
    for _ in range(5):
        yield pulse(99), flag


def status_rewritten_twice_a_second_apart() -> Iterator[tuple[Grey, FrameFlag]]:
    for i, (shown, flags) in enumerate(pulsed(200, 4)):
        yield clocked(shown, min(i / 30, 2.0)), flags
    yield from still(90, clocked(pulse(49), 2.0))


@dataclass(frozen=True)
class Story:
    """``ends``: the state of the last frames; ``pulses``: how many new ones the video has, None where not exact."""

    video: Callable[[], Iterator[tuple[Grey, FrameFlag]]]
    ends: FrameState
    pulses: int | None
    only: tuple[FrameState, ...] = ()


STORIES = {
    "every frame is a new pulse": Story(lambda: pulsed(40, 1), LIVE, 40, (LIVE,)),
    "each pulse is shown four times": Story(lambda: pulsed(80, 4), LIVE, 20, (LIVE,)),
    "the pulse rate drops to two a second": Story(slower_pulses, LIVE, 50),
    "the pulses turn much less noisy": Story(dose_rises, LIVE, 90, (LIVE,)),
    "the pedal is released": Story(lambda: iter([*pulsed(60, 4), *still(20, pulse(14))]), HELD, 15, (LIVE, HELD)),
    "the last image is held while the clock runs": Story(held_with_a_running_clock, HELD, 25, (LIVE, HELD)),
    "everything stands, the clock too": Story(
        lambda: iter([*pulsed(140, 4, clock=True), *still(90, clocked(pulse(34), 139 / 30))]),
        FROZEN,
        35,
        (LIVE, HELD, FROZEN),
    ),
    "what ticked stopped long before the pedal was released": Story(
        status_rewritten_twice_a_second_apart, HELD, 50, (LIVE, HELD)
    ),
    "held, then live again": Story(held_then_live_again, LIVE, 20, (LIVE, HELD)),
    "repeats are compressed anew each time": Story(recompressed_and_held, HELD, None, (LIVE, HELD)),
    "a video that begins held": Story(lambda: still(60, pulse(1)), HELD, 1, (LIVE, HELD)),
    "the screen turns blue": Story(
        lambda: iter([*pulsed(10, 1), *still(10, np.full((SIDE, SIDE), 41, np.uint8))]), NONE, 10, (LIVE, NONE)
    ),
    "the field goes black and the clock stays": Story(black_field_beside_a_clock, HELD, None, (LIVE, HELD)),
    "the screen turns blue and the clock goes": Story(blue_screen_after_a_clock, NONE, 10, (LIVE, NONE)),
    "snow": Story(snow, NONE, 10, (LIVE, NONE)),
    "colour bars": Story(bars, NONE, 10, (LIVE, NONE)),
    "the source reports no signal": Story(lambda: flagged(FrameFlag.NO_SIGNAL), NONE, 10, (LIVE, NONE)),
    "the source reports damage": Story(lambda: flagged(FrameFlag.CORRUPT), FrameState.CORRUPT, 10),
}


@pytest.mark.parametrize("name", STORIES)
def test_the_story_ends_in_its_state_with_its_number_of_pulses(name: str) -> None:
    story = STORIES[name]
    frames = told(story.video())
    assert [frame.state for frame in frames[-4:]] == [story.ends] * 4
    if story.pulses is not None:
        assert sum(frame.new_pulse for frame in frames) == story.pulses
    if story.only:
        assert {frame.state for frame in frames} <= set(story.only)


def test_a_held_image_is_noticed_within_one_pulse_interval_and_a_frame() -> None:
    frames = told(iter([*pulsed(60, 4), *still(20, pulse(14))]))
    first_held = next(i for i, frame in enumerate(frames) if frame.state is HELD)
    assert 60 <= first_held <= 62


def test_only_a_live_frame_can_be_a_new_pulse() -> None:
    for story in STORIES.values():
        assert all(frame.state is LIVE for frame in told(story.video()) if frame.new_pulse)


def test_repeated_s_grows_while_a_picture_repeats() -> None:
    frames = told(iter([*pulsed(8, 1), *still(10, pulse(7))]))
    assert frames[-1].repeated_s == pytest.approx(10 / 30)
    assert frames[7].repeated_s == 0.0


def test_sixteen_bit_video_is_judged_alike() -> None:
    watch = LivenessWatch()
    deep = [freeze(pulse(i // 3).astype(np.uint16) << 4) for i in range(12)]
    frames = [watch.update(Frame(pixels, i / 30, i, 12), i / 30, FIELD) for i, pixels in enumerate(deep)]
    assert [frame.new_pulse for frame in frames] == [i % 3 == 0 for i in range(12)]


def test_repeats_that_are_compressed_anew_count_as_repeats_once_the_first_pulses_are_known() -> None:
    frames = told(recompressed_and_held())
    assert [frame.new_pulse for frame in frames[16:]] == [i < 60 and i % 4 == 0 for i in range(16, len(frames))]


PAIRS = st.integers(1, 60).flatmap(
    lambda n: hnp.arrays(np.float32, (2, n), elements=st.sampled_from([0, 3, 4, 5, 100, 102, 103, 250, 251, 255]))
)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_noise_is_the_capped_change_of_grey_neighbours_against_each_other(data: st.DataObject) -> None:
    after = data.draw(PAIRS)
    before = data.draw(hnp.arrays(np.float32, after.shape, elements=st.floats(0, 255, width=16)))
    grey = ((after > 4) & (after < 251)).all(axis=0)
    if grey.sum() < 0.02 * grey.size:
        grey[:] = True
    change = (after - before)[:, grey]
    expected = np.minimum(np.abs(change[0] - change[1]), 16.0).mean()
    assert noise_between(before, after) == pytest.approx(expected, abs=1e-4)


@settings(max_examples=120, deadline=None)
@given(PAIRS, st.floats(0, 1))
def test_a_picture_is_even_that_lies_within_three_levels_of_its_median(
    pairs: NDArray[np.float32], share: float
) -> None:
    pairs[:, : int(share * pairs.shape[1])] = 101
    assert is_even(pairs) == ((np.abs(pairs - np.median(pairs)) <= 3).mean() > 0.97)


def test_nothing_is_no_even_picture() -> None:
    assert not is_even(np.empty((2, 0), dtype=np.float32))


@settings(max_examples=60, deadline=None)
@given(PAIRS)
def test_neighbours_are_alike_as_far_as_they_vary_together(pairs: NDArray[np.float32]) -> None:
    left, right = pairs.astype(np.float64)
    common, spread = likeness(pairs)
    assert common == pytest.approx(np.mean((left - left.mean()) * (right - right.mean())), abs=0.01)
    assert spread == pytest.approx(left.std() * right.std(), abs=0.01)
