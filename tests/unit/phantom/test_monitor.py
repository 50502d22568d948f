"""The monitor: display curve, field, layouts, lost video."""

import numpy as np
import pytest

from guidance.phantom.monitor import (
    DisplayCurve,
    FieldShape,
    Layout,
    LostVideo,
    Monitor,
    Shutters,
    field_mask,
    field_outline,
    jpeg,
    lost_frame,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20261122)


def test_more_signal_is_brighter_and_inverted_it_is_darker() -> None:
    ramp = np.tile(np.geomspace(0.05, 20, 200, dtype=np.float32), (40, 1))
    grey = DisplayCurve(edge_gain=0).develop(ramp)[20].astype(int)
    turned = DisplayCurve(edge_gain=0, inverted=True).develop(ramp)[20].astype(int)
    assert (np.diff(grey) >= 0).all()
    assert (np.diff(turned) <= 0).all()
    assert grey[0] < 25
    assert grey[-1] > 230


def test_equal_ratios_of_signal_are_equal_steps_of_grey_in_the_middle_of_the_scale() -> None:
    curve = DisplayCurve(edge_gain=0)
    greys = [int(curve.develop(np.full((32, 32), s, np.float32))[16, 16]) for s in (0.8, 1.0, 1.25)]
    assert greys[1] - greys[0] == pytest.approx(greys[2] - greys[1], abs=1)


def test_edge_enhancement_overshoots_at_an_edge_and_leaves_even_parts_alone() -> None:
    step = np.full((64, 64), 0.9, np.float32)
    step[:, 32:] = 1.1
    flat, sharp = (DisplayCurve(edge_gain=g).develop(step)[32].astype(int) for g in (0.0, 0.6))
    assert sharp[31] < flat[31]
    assert sharp[32] > flat[32]
    assert sharp[8] == flat[8]


@pytest.mark.parametrize("shape", list(FieldShape))
def test_the_field_mask_fills_its_outline(shape: FieldShape) -> None:
    x, y = field_outline(shape, 200).T
    area = 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))
    mask = field_mask(shape, 200, edge_px=2)
    assert mask.sum() == pytest.approx(area, rel=0.02)
    assert mask[100, 100] == 1
    assert mask[0, 0] < 0.6


def test_shutters_close_from_their_own_side_and_let_a_little_through() -> None:
    opening = Shutters(left=0.2, bottom=0.1).opening(100, penumbra_px=2)
    assert opening[50, 10] == pytest.approx(0.004)
    assert opening[95, 50] == pytest.approx(0.004)
    assert opening[5, 50] == opening[50, 90] == 1


@pytest.mark.parametrize(
    ("layout", "size_px"),
    [
        (Layout.PICTURE, (120, 120)),
        (Layout.MONITOR_1280X1024, (1280, 1024)),
        (Layout.MONITOR_1920X1080, (1920, 1080)),
    ],
)
def test_the_picture_stands_where_the_matrix_says(layout: Layout, size_px: tuple[int, int]) -> None:
    monitor = Monitor(layout, 60, 120, text=False)
    picture = np.zeros((60, 60), np.uint8)
    picture[40, 20] = 255
    frame = monitor.show(picture, None, 0.0, "LIVE", "")
    x0, y0 = monitor.origin_px
    shown = frame[y0 : y0 + 120, x0 : x0 + 120].astype(float)
    rows, columns = np.indices(shown.shape)
    centre = (float((columns * shown).sum() / shown.sum()) + x0, float((rows * shown).sum() / shown.sum()) + y0)
    assert frame.shape == size_px[::-1]
    assert centre == pytest.approx((monitor.matrix @ [20, 40, 1])[:2], abs=0.05)


def test_the_clock_runs_by_the_second() -> None:
    monitor = Monitor(Layout.PICTURE, 300, 300)
    picture = np.zeros((300, 300), np.uint8)
    now, same, later = (monitor.show(picture, None, t, "HOLD", "") for t in (3.0, 3.9, 4.0))
    assert np.array_equal(now, same)
    assert not np.array_equal(now, later)


def test_lost_video_is_one_grey_or_ever_new_noise() -> None:
    blue = lost_frame((40, 30), LostVideo.BLUE, 1, 0)
    assert blue.shape == (30, 40)
    assert blue.min() == blue.max()
    noise = [lost_frame((40, 30), LostVideo.NOISE, 1, frame) for frame in (0, 0, 1)]
    assert np.array_equal(noise[0], noise[1])
    assert not np.array_equal(noise[0], noise[2])


def test_jpeg_changes_pixels_but_not_the_picture(rng: np.random.Generator) -> None:
    frame = rng.integers(90, 160, (64, 64), dtype=np.uint8)
    packed = jpeg(frame, 70)
    assert packed.shape == frame.shape
    assert not np.array_equal(packed, frame)
    assert packed.mean() == pytest.approx(frame.mean(), abs=1)
