"""What has become denser: laid on the reference, tone-matched, averaged, weighed; and the kernels' plain twins."""

import heapq
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from guidance.vision.change import Change, opened
from guidance.vision.grid import ReferenceGrid
from guidance.vision.kernels import change as kernels
from guidance.vision.kernels import grey as grey_levels
from guidance.vision.kernels.paths import paths_from, way_to
from tests.unit.vision.absorbers import MM_PER_PX, PER_CM, SIDE_PX, Beam, ball_cm, no_steel, nothing

TOP = np.float32(4.2)
SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 12))


def planes(shape: tuple[int, int], low: float = -2.0, high: float = 2.0) -> st.SearchStrategy[NDArray[np.float32]]:
    return arrays(np.float32, shape, elements=st.floats(low, high, width=32))


def flags(shape: tuple[int, int]) -> st.SearchStrategy[NDArray[np.uint8]]:
    return arrays(np.uint8, shape, elements=st.sampled_from([0, 255]))


def greys(shape: tuple[int, int], below: int) -> st.SearchStrategy[NDArray[np.uint8]]:
    return arrays(np.uint8, shape, elements=st.integers(0, below - 1))


def compared(
    absorber_cm: NDArray[np.float64],
    learnt: int = 16,
    pulses: int = 12,
    gain: float = 1.0,
    noise: float = 0.15,
    told_wrong_by_px: tuple[float, float] = (0.0, 0.0),
    watched: NDArray[np.uint8] | None = None,
) -> Change:
    """A change after ``learnt`` pulses of nothing and ``pulses`` of an absorber."""
    beam = Beam(noise)
    change = Change((SIDE_PX, SIDE_PX))
    grid = ReferenceGrid(beam.pulse()[0])
    for k in range(learnt + pulses):
        after = k >= learnt
        picture, motion = beam.pulse(absorber_cm if after else 0.0, gain=gain if after else 1.0)
        if after:
            motion = replace(motion, shift_px=told_wrong_by_px)
        placed = grid.place(picture, motion, no_steel(picture), MM_PER_PX)
        if after:
            change.compare(placed, MM_PER_PX, watched=watched)
        else:
            change.learn(placed, MM_PER_PX)
    return change


def test_added_density_is_the_attenuation_of_what_was_added() -> None:
    change = compared(ball_cm(120, 60, 5.0), noise=0.1)
    assert change.added[60, 120] == pytest.approx(PER_CM * 1.0, rel=0.15)


def test_significance_of_mere_noise_is_about_normal() -> None:
    change = compared(nothing())
    inner = change.z[15:-15, 15:-15]
    share = float((np.abs(inner) > 2).mean())
    assert 0.01 < share < 0.12, "a normal distribution has 4.6 % beyond two sigmas"
    assert float(np.abs(inner).max()) < 6


def test_a_shutter_over_the_other_half_leaves_the_tone_where_cement_is_watched_for() -> None:
    shutter, watched = nothing(), np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    shutter[:105] = 0.8
    watched[110:] = 255
    change = compared(shutter, pulses=3, gain=1.1, noise=0.1, watched=watched)
    lighter = float(-change.broad[135:185, 15:185].min())
    assert lighter < 0.2, "0.29 where the shutter's greys count as well"


@pytest.mark.parametrize("gain", [0.6, 1.2])
def test_brightness_control_adds_nothing(gain: float) -> None:
    change = compared(nothing(), gain=gain)
    inner = change.broad[15:-15, 15:-15]
    assert abs(float(np.median(inner))) < 0.01
    assert float((np.abs(change.z[15:-15, 15:-15]) > 5).mean()) < 1e-3


def test_a_registration_that_is_wrong_by_less_than_a_pixel_adds_nothing() -> None:
    change = compared(nothing(), noise=0.05, told_wrong_by_px=(0.6, -0.4))
    assert float((np.abs(change.z[15:-15, 15:-15]) > 5).mean()) < 2e-3


def test_haze_around_a_thick_deposit_is_veil_even_where_it_is_significant() -> None:
    beam, change = Beam(noise=0.08), Change((SIDE_PX, SIDE_PX))
    grid = ReferenceGrid(beam.pulse()[0])
    centre = SIDE_PX / 2
    r, c = np.mgrid[:SIDE_PX, :SIDE_PX]
    away_mm = np.hypot(c - centre, r - centre) * MM_PER_PX
    haze = 0.045 * np.exp(-0.5 * (away_mm / 10.0) ** 2)
    hazy_cm = np.maximum(ball_cm(centre, centre, 6.0), haze / PER_CM)
    for k in range(60):
        picture, motion = beam.pulse(hazy_cm if k >= 16 else 0.0)
        placed = grid.place(picture, motion, no_steel(picture), MM_PER_PX)
        if k < 16:
            change.learn(placed, MM_PER_PX)
        else:
            # As the cement watch does: what stands out is kept from tone and noise.
            change.compare(placed, MM_PER_PX, cv2.dilate((change.z > 2.5).astype(np.uint8), np.ones((5, 5), np.uint8)))
    around = (away_mm > 8.0) & (away_mm < 12.0)
    assert np.median(change.added[around]) < 0.4 * np.median(haze[around])
    assert change.added[away_mm < 3.0].min() > 0.8


def test_nothing_of_a_placed_pulse_is_kept_once_it_has_been_compared() -> None:
    """A grid places each pulse on the same planes."""
    there, told = ball_cm(120, 60, 5.0), []
    for is_overwritten in (False, True):
        beam, change = Beam(), Change((SIDE_PX, SIDE_PX))
        grid = ReferenceGrid(beam.pulse()[0])
        for k in range(14):
            picture, motion = beam.pulse(there if k >= 8 else 0.0, shift_px=(0.4 * k, -0.2 * k))
            steel = no_steel(picture)
            steel[150:160, 20:180] = 255
            placed = grid.place(picture, motion, steel, MM_PER_PX)
            if k < 8:
                change.learn(placed, MM_PER_PX)
            else:
                change.compare(placed, MM_PER_PX)
            if is_overwritten and k > 0:
                for plane in (placed.density, placed.valid, placed.steel):
                    plane[:] = 7
        told.append((change.z, change.added, change.hidden, change.of_pulse(np.s_[40:160, 30:170], 0.01)))
    for plain, overwritten in zip(*told, strict=True):
        assert np.array_equal(plain, overwritten, equal_nan=True)


def test_under_an_instrument_nothing_is_compared() -> None:
    beam, change = Beam(), Change((SIDE_PX, SIDE_PX))
    grid = ReferenceGrid(beam.pulse()[0])
    steel = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    steel[50:60, 40:160] = 255
    for k in range(20):
        picture, motion = beam.pulse(0.3 * (steel > 0) if k >= 12 else 0.0)
        placed = grid.place(picture, motion, steel if k >= 12 else no_steel(picture), MM_PER_PX)
        if k < 12:
            change.learn(placed, MM_PER_PX)
        else:
            change.compare(placed, MM_PER_PX)
    assert np.abs(change.z[steel > 0]).max() == 0


def over_a_shaft(tip_aside_px: float, hub_aside_px: float) -> tuple[Change, NDArray[np.bool_], NDArray[np.bool_]]:
    """A ball over a shaft that was there in the baseline and has since gone aside; where the ball is over the shaft,
    and where the shaft is bare."""
    beam, change = Beam(noise=0.1), Change((SIDE_PX, SIDE_PX))
    grid = ReferenceGrid(beam.pulse()[0])
    steel = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    steel[50:64, 40:160] = 255
    bare_cm = np.where(cv2.erode(steel, np.ones((7, 1), np.uint8)) > 0, 0.8, 0.0)
    shaft_cm = cv2.GaussianBlur(bare_cm, (0, 0), 1.0)  # the focal spot's and the detector's blur
    ball = ball_cm(70, 57, 4.0)
    lean = (hub_aside_px - tip_aside_px) / 120
    aside = np.array([[1.0, 0.0, 0.0], [lean, 1.0, tip_aside_px - 40 * lean]])
    for k in range(24):
        shaft = cv2.warpAffine(shaft_cm, aside, shaft_cm.shape) if k >= 12 else shaft_cm
        picture, motion = beam.pulse(shaft + (ball if k >= 12 else 0.0))
        placed = grid.place(picture, motion, steel, MM_PER_PX)
        if k < 12:
            change.learn(placed, MM_PER_PX)
        else:
            change.compare(placed, MM_PER_PX)
    return change, (steel > 0) & (ball > 0.3), (steel > 0) & (cv2.dilate(ball, np.ones((9, 9))) == 0)


def test_over_a_shaft_that_rests_what_is_added_is_seen() -> None:
    change, over, _ = over_a_shaft(0, 0)
    assert not change.hidden.any()
    assert float((change.z[over] > 5).mean()) > 0.9


@pytest.mark.parametrize(("tip_aside_px", "hub_aside_px"), [(0.5, 0.5), (0.0, 1.5), (-0.3, 1.0)])
def test_a_shaft_that_parallax_has_moved_adds_nothing_and_what_is_over_it_is_seen(
    tip_aside_px: float, hub_aside_px: float
) -> None:
    change, over, bare = over_a_shaft(tip_aside_px, hub_aside_px)
    assert np.abs(change.broad[bare]).max() < 0.05, "half a millimetre of cement"
    assert float((change.z[over] > 5).mean()) > 0.85


def test_a_shaft_that_has_moved_far_aside_within_its_mask_hides_what_is_over_it() -> None:
    change, over, _ = over_a_shaft(4, 4)
    assert change.hidden[over].all()
    assert not change.z[over].any()


def test_a_baseline_that_was_unlearnt_begins_with_the_next_pulse() -> None:
    beam, change = Beam(noise=0.05), Change((SIDE_PX, SIDE_PX))
    grid = ReferenceGrid(beam.pulse()[0])
    there = ball_cm(100, 100, 5.0)
    for k in range(24):
        picture, motion = beam.pulse(0.2 * there if k >= 12 else 0.0)
        placed = grid.place(picture, motion, no_steel(picture), MM_PER_PX)
        if k == 12:
            change.unlearn((there > 0).astype(np.uint8))
        if k < 18:
            change.learn(placed, MM_PER_PX)
        else:
            change.compare(placed, MM_PER_PX)
    assert float(np.abs(change.z[there > 0]).max()) < 5


def test_an_opening_keeps_what_a_disc_fits_into() -> None:
    mask = np.zeros((60, 80), np.uint8)
    cv2.circle(mask, (25, 30), 14, 255, -1)
    mask[28:32, 30:75] = 255
    body = opened(mask, 6.0)
    assert body[30, 25]
    assert not body[30, 60]
    assert not opened(mask, 20.0).any()


@pytest.mark.parametrize("radius_px", [1.5, 2.9, 3.0, 5.0, 5.1, 9.7])
@pytest.mark.parametrize("seed", range(4))
def test_an_opening_is_by_distances_whatever_its_radius(radius_px: float, seed: int) -> None:
    hills = cv2.GaussianBlur(np.random.default_rng(seed).normal(size=(70, 90)).astype(np.float32), (0, 0), 2.0 + seed)
    mask = cv2.compare(hills, 0.0, cv2.CMP_GT)
    framed = np.pad(mask, 1)
    rim = cv2.compare(cv2.distanceTransform(framed, cv2.DIST_L2, 5), radius_px, cv2.CMP_LE)
    twin = cv2.distanceTransform(rim, cv2.DIST_L2, 5)[1:-1, 1:-1] <= radius_px + 1
    np.testing.assert_array_equal(opened(mask, radius_px), twin if not rim.all() else False)


def test_an_opening_of_a_mask_that_fills_its_array_ends_at_the_array() -> None:
    assert opened(np.full((9, 9), 255, np.uint8), 3.0)[4, 4]


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_the_difference_equals_its_definition(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    present, base = data.draw(planes(shape)), data.draw(planes(shape, 0.0, 5.0))
    valid = data.draw(flags(shape))
    tone = data.draw(arrays(np.float32, 6, elements=st.floats(-1, 1, width=32)))
    instead, grad_x, grad_y = data.draw(planes(shape)), data.draw(planes(shape)), data.draw(planes(shape))
    out = np.full(shape, 9.0, np.float32)
    sums = kernels.difference(present, base, valid, tone, TOP, instead, grad_x, grad_y, 2, np.float32(0.5), out)
    centres = (np.arange(6) + 0.5) * float(TOP) / 6
    twin = np.where(valid > 0, present - base - np.interp(base, centres, tone), instead)
    np.testing.assert_allclose(out, twin, atol=2e-5)
    picked = np.s_[1::2, 1::2]
    on = valid[picked] > 0
    d, gx, gy = np.clip(out[picked][on], -0.5, 0.5), grad_x[picked][on], grad_y[picked][on]
    products = [(a.astype(float) * b).sum() for a, b in ((gx, gx), (gx, gy), (gy, gy), (gx, d), (gy, d))]
    np.testing.assert_allclose(sums, products, atol=1e-4)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_the_average_over_time_equals_its_definition(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    grey, fine, coarse = data.draw(greys(shape, 5)), data.draw(planes(shape)), data.draw(planes(shape))
    valid, steep = data.draw(flags(shape)), data.draw(planes(shape, 0.0, 0.5))
    one = data.draw(arrays(np.float32, 5, elements=st.floats(0.125, 1, width=32)))
    settled = (one * np.float32(0.5)).astype(np.float32)
    mean_fine, mean = data.draw(planes(shape)), data.draw(planes(shape))
    count = data.draw(planes(shape, 0.0, 16.0))
    got = [mean_fine.copy(), mean.copy(), count.copy(), np.zeros(shape, np.float32)]
    longest = np.float32(16)
    kernels.follow(grey, fine, coarse, steep, valid, one, settled, longest, *got)
    s1, s2 = one[grey].astype(float) ** 2, settled[grey].astype(float) ** 2
    urge = (coarse - mean) ** 2 / (16.0 * (s1 + steep))
    weight = np.maximum(np.maximum(1 / (count + 1), 1 / 16), np.minimum(urge, 0.75))
    new = mean + weight * (coarse - mean)
    sd = np.sqrt(s2 + (s1 - s2) * (weight - 1 / 16) / (1 - 1 / 16) + steep)
    use = valid > 0
    np.testing.assert_allclose(got[1][use], new[use], atol=1e-4)
    np.testing.assert_allclose(got[0][use], (mean_fine + weight * (fine - mean_fine))[use], atol=1e-4)
    np.testing.assert_allclose(got[2][use], (1 / weight)[use], rtol=1e-3)
    firm = use & (np.abs(new) > np.sqrt(s2) * 1.001)
    np.testing.assert_allclose(got[3][firm], (new / sd)[firm], rtol=1e-3, atol=1e-3)
    assert np.array_equal(got[1][~use], mean[~use])


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_the_baseline_mean_equals_its_definition(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    delta, valid, hold, anew = data.draw(planes(shape)), *(data.draw(flags(shape)) for _ in range(3))
    base, count = data.draw(planes(shape, 0.0, 4.0)), data.draw(planes(shape, 0.0, 40.0))
    new_base, new_count = base.copy(), count.copy()
    kernels.learn(delta, valid, hold, anew, np.float32(32), new_base, new_count)
    n = np.minimum(np.where(anew > 0, 0, count) + 1, 32)
    use = (valid > 0) & (hold == 0)
    np.testing.assert_allclose(new_base, np.where(use, base + delta / n, base), atol=1e-5)
    np.testing.assert_allclose(new_count, np.where(use, n, count))


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_what_has_departed_equals_its_definition(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    grey = data.draw(greys(shape, 4))
    coarse, steep = data.draw(planes(shape, -3.0, 3.0)), data.draw(planes(shape, 0.0, 0.5))
    sigma = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    out = np.full(shape, 7, np.uint8)
    kernels.departed(grey, coarse, steep, sigma, np.float32(5), out)
    deviation = sigma[grey] ** 2 + steep
    assert np.array_equal(out, np.where(coarse**2 > np.float32(25) * deviation, 255, 0))


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_sums_over_cells_and_what_a_slip_leaves_equal_their_definitions(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    delta, z, use = data.draw(planes(shape)), data.draw(planes(shape, -4, 4)), data.draw(flags(shape))
    broad = data.draw(planes(shape))
    sums = kernels.cell_sums(delta, z, broad, use, 4, np.float32(2.5), np.float32(0.05))
    counts = (use > 0) & ((np.abs(z) < 2.5) | (np.abs(broad) < np.float32(0.05)))
    counts[1::2] = False
    counts[:, 1::2] = False
    for r in range(sums.shape[1]):
        for c in range(sums.shape[2]):
            cell = np.s_[4 * r : 4 * r + 4, 4 * c : 4 * c + 4]
            assert sums[0, r, c] == pytest.approx(float(delta[cell][counts[cell]].sum()), abs=1e-4)
            assert sums[1, r, c] == counts[cell].sum()
    grad_x, grad_y = data.draw(planes(shape)), data.draw(planes(shape))
    moved = delta.copy()
    kernels.take_slip(moved, grad_x, grad_y, use, np.float32(0.5), np.float32(-0.25))
    np.testing.assert_allclose(moved, np.where(use > 0, delta + grad_x * 0.5 - grad_y * 0.25, delta), atol=1e-5)


def test_quartiles_by_grey_are_those_of_each_class() -> None:
    rng = np.random.default_rng(3)
    grey = rng.integers(0, 6, (90, 120), np.uint8)
    value = rng.normal(0.1, 0.2, grey.shape).astype(np.float32)
    marks = rng.choice(np.array([1, 3, 7], np.uint8), grey.shape)
    table = grey_levels.quartiles_by_grey(grey, value, marks, 3, 1, 6, np.float32(1.0))
    for i in range(6):
        mine = value[(marks & 3 == 3) & (grey == i)]
        assert table[i, 3] == len(mine)
        np.testing.assert_allclose(table[i, :3], np.quantile(mine, [0.25, 0.5, 0.75]), atol=0.01)


def test_quartiles_of_nothing_are_zeros() -> None:
    plane, nothing = np.ones((1, 5), np.float32), np.zeros((1, 5), np.uint8)
    assert not grey_levels.quartiles_by_grey(nothing, plane, nothing, 1, 1, 4, np.float32(1)).any()
    for table in grey_levels.tone_by_grey(nothing, plane, plane, nothing, 1, 3, 1, 4, np.float32(1)):
        assert not table.any()


def test_a_tone_beyond_the_tables_reach_is_told_all_the_same() -> None:
    rng = np.random.default_rng(4)
    base = rng.uniform(0, 4, (64, 80)).astype(np.float32)
    present = base + rng.normal(3.0, 0.1, base.shape).astype(np.float32)
    present[:, 40:] += np.float32(2.0)
    grey, marks = np.zeros(base.shape, np.uint8), np.full(base.shape, 7, np.uint8)
    marks[:, 40:] = 3
    marks[:, 50:] = 1
    for table, columns in zip(
        grey_levels.tone_by_grey(grey, present, base, marks, 3, 7, 3, 2, np.float32(1.0)), (50, 40), strict=True
    ):
        told = (present - base)[1::3, 1:columns:3]
        assert table[0, 3] == told.size
        np.testing.assert_allclose(table[0, :3], np.quantile(told, [0.25, 0.5, 0.75]), atol=0.02)
        assert not table[1].any()


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_what_is_smoothed_by_grey_is_interpolated_where_few_pixels_speak(data: st.DataObject) -> None:
    bins = data.draw(st.integers(1, 9))
    value = data.draw(arrays(np.float32, bins, elements=st.floats(-1, 1, width=32)))
    count = data.draw(arrays(np.float32, bins, elements=st.sampled_from([0, 3, 40, 900])))
    known = count >= 40
    got = grey_levels.smoothed_by_grey(value, count, np.float32(40))
    if not known.any():
        assert not got.any()
        return
    levels = np.arange(bins)
    filled, weight = np.interp(levels, levels[known], value[known]), np.where(known, count, 1.0)
    taps = np.array([0.25, 0.5, 0.25])
    total, share = (np.convolve(line, taps)[1:-1] for line in (weight * filled, weight))
    np.testing.assert_allclose(got, total / share, atol=1e-6)


def test_the_spread_of_a_normal_distribution_is_its_standard_deviation() -> None:
    quarter = 0.6745 * 0.2
    table = np.array([[-quarter, 0, quarter, 1000], [-0.5 * quarter, 0, quarter, 1000], [0, 0, 0, 0]], np.float32)
    np.testing.assert_allclose(grey_levels.spread_by_grey(table, np.float32(40)), 0.2, rtol=1e-5)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_marks_say_what_may_be_done_with_a_pixel(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    valid, learnt, steel, base_steel, exclude, watched = (data.draw(flags(shape)) for _ in range(6))
    marks = np.full(shape, 99, np.uint8)
    grey_levels.mark(valid, learnt, steel, base_steel, exclude, watched, marks)
    seen = (valid > 0) & (learnt > 0)
    for bit, holds in (
        (grey_levels.SEEN, seen),
        (grey_levels.BARE, seen & (steel == 0) & (base_steel == 0)),
        (grey_levels.OPEN, seen & (exclude == 0)),
        (grey_levels.WATCHED, seen & (watched > 0)),
        (grey_levels.RESTS, seen & (steel == base_steel)),
        (grey_levels.SHOWN, seen & (steel == base_steel)),
    ):
        assert np.array_equal(marks & bit > 0, holds)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_classes_of_grey_equal_their_definition(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    base, out = data.draw(planes(shape, -1.0, 6.0)), np.full(shape, 99, np.uint8)
    grey_levels.classify(base, 24, TOP, out)
    assert np.array_equal(out, np.clip(base * (np.float32(24) / TOP), 0, 23).astype(np.uint8))


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_two_masks_come_back_from_one_plane(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    one, other = data.draw(flags(shape)), data.draw(flags(shape))
    both, first, second = np.full((3, *shape), 99, np.uint8)
    kernels.overlay(one, other, both)
    kernels.part(both, first, second)
    assert np.array_equal(first, one)
    assert np.array_equal(second, other)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_deviations_and_doubt_equal_their_definitions(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    grey, marks = data.draw(greys(shape, 4)), data.draw(greys(shape, 64))
    coarse, doubt = data.draw(planes(shape)), data.draw(planes(shape, 0.0, 0.5))
    count = data.draw(planes(shape, 0.0, 40.0))
    sigma = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    rows = sorted(data.draw(st.tuples(st.integers(0, shape[0]), st.integers(0, shape[0]))))
    cols = sorted(data.draw(st.tuples(st.integers(0, shape[1]), st.integers(0, shape[1]))))
    box = np.s_[rows[0] : rows[1], cols[0] : cols[1]]
    got = kernels.in_deviations(grey, coarse, doubt, marks, sigma, np.float32(0.25), *rows, *cols)
    twin = coarse / np.maximum(np.sqrt(sigma[grey] ** 2 + doubt), 0.25)
    np.testing.assert_allclose(got, np.where(marks & grey_levels.SHOWN, twin, np.nan)[box], rtol=1e-5)
    out = np.full(shape, 9.0, np.float32)
    kernels.fill_doubt(grey, count, doubt, sigma, np.float32(2), np.float32(8), out)
    missing = np.maximum(1 / np.maximum(count, 1) - 1 / 8, 0)
    np.testing.assert_allclose(out, doubt + 2 * missing * sigma[grey] ** 2, rtol=1e-5, atol=1e-6)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_what_washes_out_goes_from_the_baseline_to_what_has_been_added(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    before = [data.draw(planes(shape)) for _ in range(3)]
    rows, cols = (np.ascontiguousarray(axis) for axis in np.nonzero(data.draw(flags(shape))))
    density = data.draw(arrays(np.float32, len(rows), elements=st.floats(-1.0, 1.0, width=32)))
    planes_now = [plane.copy() for plane in before]
    kernels.take_out(rows, cols, density, *planes_now)
    for plane, was, sign in zip(planes_now, before, (-1, 1, 1), strict=True):
        was[rows, cols] += sign * density
        np.testing.assert_array_equal(plane, was)


def test_the_excess_at_edges_is_a_quantile_of_those_that_are_steep() -> None:
    rng = np.random.default_rng(5)
    steep = rng.exponential(1.0, (90, 110)).astype(np.float32)
    coarse = rng.normal(0, 2, steep.shape).astype(np.float32)
    grey, marks = rng.integers(0, 4, steep.shape, np.uint8), rng.choice(np.array([1, 3, 7], np.uint8), steep.shape)
    sigma = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    asked = (np.float32(3), np.float32(1.64), 0.8)
    got = grey_levels.excess_at_edges(steep, coarse, grey, marks, sigma, 3, 3, *asked, 40)
    told = marks[::3, ::3] & 3 == 3
    s, d, noise = steep[::3, ::3][told], coarse[::3, ::3][told], sigma[grey[::3, ::3][told]]
    edges = s > 3 * s.mean()
    assert got == pytest.approx(np.quantile(((d**2 / 1.64 - noise**2) / s)[edges], 0.8), rel=1e-4)
    assert np.isnan(grey_levels.excess_at_edges(steep, coarse, grey, marks, sigma, 3, 3, *asked, int(edges.sum()) + 1))


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_the_cheapest_paths_are_those_of_a_plain_search(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    cost = data.draw(planes(shape, 0.125, 2.0))
    cost[data.draw(flags(shape)) > 0] = np.inf
    start = (data.draw(st.integers(0, shape[0] - 1)), data.draw(st.integers(0, shape[1] - 1)))
    cost[start] = 1.0
    previous = np.empty(shape, np.int32)
    total = paths_from(cost, *start, previous)
    twin = {start: 0.0}
    queue = [(0.0, start)]
    while queue:
        here, (r, c) = heapq.heappop(queue)
        if here > twin[r, c]:
            continue
        for rr in range(max(0, r - 1), min(shape[0], r + 2)):
            for cc in range(max(0, c - 1), min(shape[1], c + 2)):
                there = here + np.hypot(rr - r, cc - c) * (float(cost[r, c]) + float(cost[rr, cc])) / 2
                if np.isfinite(there) and there < twin.get((rr, cc), np.inf):
                    twin[rr, cc] = there
                    heapq.heappush(queue, (there, (rr, cc)))
    for at in np.ndindex(shape):
        assert total[at] == pytest.approx(twin.get(at, np.inf), rel=1e-4, abs=1e-5)
    assert previous[start] == -1
    for at in twin:
        way = way_to(previous, *at)
        assert (way[0], way[-1]) == (at[0] * shape[1] + at[1], start[0] * shape[1] + start[1])
        assert np.array_equal(previous.ravel()[way[:-1]], way[1:])
