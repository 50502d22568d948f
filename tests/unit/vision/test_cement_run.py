"""Runs of cement: what leaves a deposit step by step, and what is there all at once; the kernels' plain twins."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from guidance.records import CementDeposit
from guidance.vision.cement_run import Front, RunWatch
from guidance.vision.change import Change
from guidance.vision.geometry import RigidMotion
from guidance.vision.grid import Placed
from guidance.vision.kernels import runs as kernels
from tests.unit.vision.absorbers import Plane, ball_cm, nothing, tube_cm
from tests.unit.vision.test_cement import BEGINS, TIP, watch

Along = NDArray[np.floating]
SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 12))
LEAVES = 26
"""The pulse on which something begins to leave the deposit, or to come to it."""


def planes(shape: tuple[int, int], low: float, high: float) -> st.SearchStrategy[NDArray[np.float32]]:
    return arrays(np.float32, shape, elements=st.floats(low, high, width=32))


def body(k: int) -> Plane:
    return nothing() if k < BEGINS else ball_cm(*TIP, 4.0) * min(1.0, (k - BEGINS) / 8)


def told(absorber_cm: Callable[[int], Plane], noise: float = 0.15) -> list[CementDeposit]:
    pulses = watch(lambda k: body(k) + absorber_cm(k), 40, noise=lambda k: noise)
    return [deposit for deposits in pulses for deposit in deposits]


def vein(k: int, end_xy: tuple[float, float]) -> Plane:
    share = float(np.clip((k - LEAVES) / 9, 0.0, 1.0))
    return tube_cm([(110, 114), (150, 140), end_xy], 1.8, share) if share > 0 else nothing()


def test_a_run_is_told_before_noise_lets_it_be_outlined_in_full() -> None:
    """A vein of 1.5 mm that is filled at 25 mm/s, at the noise of a low dose."""
    seen = list(watch(lambda k: body(k) + vein(k, (190, 150)), LEAVES + 7, noise=lambda k: 0.25))
    assert any(d.run_mm is not None for d in seen[-1])


def test_a_longer_run_is_told_where_a_shorter_one_would_be_too_faint() -> None:
    seen = list(watch(lambda k: body(k) + vein(k, (220, 160)), LEAVES + 9, noise=lambda k: 0.4))
    # Such noise may hide it on one pulse.
    assert any(d.run_mm is not None and d.run_mm > 20 for deposits in seen[-2:] for d in deposits)


def test_a_veil_around_a_deposit_is_no_run() -> None:
    """Half a millimetre that spreads: what a thick deposit's scatter leaves behind."""

    def veil(k: int) -> Plane:
        return np.asarray(0.04 * (ball_cm(*TIP, 6.0 + 1.2 * max(0, k - LEAVES)) > 0) * float(k > LEAVES))

    assert all(d.run_mm is None for d in told(veil))


def arms(*come_s: Callable[[Along], Along], until_s: float, behind_mm: tuple[float, float] = (0, 0)) -> Front | None:
    """The run of a deposit of 10 mm with arms of 12 mm to either side; ``come_s``: when each comes how many mm away.

    An instrument hides what lies between ``behind_mm`` from the deposit.
    """
    shape, work_mm, pulse_s = (120, 160), 0.25, 2 / 15
    row, column = np.indices(shape)
    ball = np.hypot(row - 60, column - 80) <= 20
    rng = np.random.default_rng(5)
    valid = np.full(shape, 255, np.uint8)
    away_mm = (column - 80 - 20) * work_mm
    steel = np.where((away_mm >= behind_mm[0]) & (away_mm < behind_mm[1]), 255, 0).astype(np.uint8)
    change, watch, pulses = Change(shape), RunWatch(shape), round(until_s / pulse_s)
    for k in range(-8, pulses + 1):
        thick_mm = np.where(ball & (k >= 0), 5.0, 0.0)
        for side, come in zip((1, -1), come_s, strict=False):
            away_mm = (side * (column - 80) - 20) * work_mm
            arm = (np.abs(row - 60) <= 3) & (away_mm > 0) & (away_mm <= 12)
            thick_mm[arm & (come(away_mm) <= k * pulse_s + 1e-6)] = 1.5
        density = (1.0 + 0.1 * thick_mm + rng.normal(0, 0.05, shape)).astype(np.float32)
        placed = Placed(density, valid, steel, RigidMotion((0.0, 0.0), 0.0, (0.0, 0.0)))
        if k < 0:
            change.learn(placed, work_mm)
        else:
            deposit = np.where(ball, np.uint8(1), np.uint8(0))
            since_s = np.where(ball, np.float32(0), np.float32(np.inf))
            change.compare(placed, work_mm, np.where(thick_mm > 0, 255, 0).astype(np.uint8))
            watch.note(change, deposit, since_s, np.zeros(shape, np.bool_), steel, 0.1, work_mm, k * pulse_s)
    return watch.fastest(1, 0.0)


def steady(mm_a_pulse: float, until_s: float) -> Callable[[Along], Along]:
    """An arm that has come 12 mm far at ``until_s``."""
    return lambda away_mm: until_s - 2 / 15 * np.floor((12 - away_mm) / mm_a_pulse)


def test_a_run_is_as_fast_and_as_long_as_it_has_come() -> None:
    run = arms(steady(2.0, 2.0), until_s=2.0)
    assert run is not None
    assert run.run_mm == pytest.approx(12, abs=1.5)
    assert run.mm_per_s == pytest.approx(15, rel=0.3)
    assert run.xy == pytest.approx((148, 60), abs=5)


def test_a_run_that_has_come_to_its_end_is_told_on_the_next_pulse_too() -> None:
    assert arms(steady(2.0, 2.0), until_s=2.0 + 2 / 15) is not None


def test_a_run_is_followed_across_a_shaft() -> None:
    assert arms(steady(2.0, 2.0), until_s=2.0, behind_mm=(2.0, 5.0)) is not None


def beyond_a_shaft(near_mm: float, since_s: float, t_s: float) -> Front | None:
    """What is told of cement that is outlined on both sides of a shaft, 6 mm long beyond it; the deposit began at 0."""
    shape, work_mm, pulse_s = (120, 200), 0.25, 2 / 15
    row, column = np.indices(shape)
    away_mm = (column - 70) * work_mm
    ball = np.hypot(row - 60, column - 50) <= 20
    steel = np.where((away_mm >= 0.5) & (away_mm < near_mm), 255, 0).astype(np.uint8)
    beyond = (away_mm >= near_mm + 1) & (away_mm < near_mm + 7) & (np.abs(row - 60) <= 4)
    change, watch = Change(shape), RunWatch(shape)
    rng = np.random.default_rng(5)
    for k in range(-8, round(t_s / pulse_s) + 1):
        there = (ball & (k >= 0)) | (beyond & (k * pulse_s >= since_s - 1e-6))
        density = (1.0 + 0.3 * there + rng.normal(0, 0.05, shape)).astype(np.float32)
        placed = Placed(density, np.full(shape, 255, np.uint8), steel, RigidMotion((0.0, 0.0), 0.0, (0.0, 0.0)))
        if k < 0:
            change.learn(placed, work_mm)
            continue
        change.compare(placed, work_mm, np.where(there, 255, 0).astype(np.uint8))
        first_s = np.where(beyond, np.float32(since_s), np.where(ball, np.float32(0), np.float32(np.inf)))
        no = np.zeros(shape, np.bool_)
        watch.note(change, there.astype(np.uint8), first_s, no, steel, 0.1, work_mm, k * pulse_s)
    return watch.fastest(1, 0.0)


def test_cement_that_comes_out_from_behind_a_shaft_far_from_its_deposit_has_run_there() -> None:
    run = beyond_a_shaft(near_mm=6.0, since_s=1.8, t_s=2.0)
    assert run is not None
    assert run.run_mm == pytest.approx(13, abs=1.5)
    assert run.mm_per_s > 5


def test_a_lobe_that_a_shaft_cuts_off_is_no_run() -> None:
    assert beyond_a_shaft(near_mm=1.2, since_s=1.8, t_s=2.0) is None


def test_what_has_long_stood_behind_a_shaft_does_not_run() -> None:
    run = beyond_a_shaft(near_mm=6.0, since_s=1.0, t_s=6.0)
    assert run is None or run.mm_per_s < 5


def test_an_arm_that_comes_at_once_has_not_run() -> None:
    assert arms(lambda mm: np.full_like(mm, 1.8), until_s=2.0) is None


def test_an_arm_that_was_there_before_it_joined_has_not_run() -> None:
    assert arms(lambda mm: np.where(mm < 4, 2.0, 0.5), until_s=2.0) is None


def test_an_arm_that_stands_has_not_run() -> None:
    assert arms(lambda mm: np.zeros_like(mm), until_s=2.0) is None


def test_a_fast_run_is_told_beside_one_that_has_come_farther() -> None:
    run = arms(steady(0.5, 2.0), lambda mm: np.where(mm > 10.5, np.inf, steady(2.0, 2.0)(mm)), until_s=2.0)
    assert run is not None
    assert run.mm_per_s > 10
    assert run.xy[0] < 80


def test_each_of_two_deposits_has_its_own_run_whichever_is_asked_for_first() -> None:
    shape, work_mm, pulse_s = (150, 160), 0.25, 2 / 15
    row, column = np.indices(shape)
    names = np.zeros(shape, np.uint8)
    for name, r in ((1, 35), (2, 115)):
        names[np.hypot(row - r, column - 50) <= 20] = name
    change, watch, rng = Change(shape), RunWatch(shape), np.random.default_rng(5)
    nothing, away_mm = np.zeros(shape, np.uint8), (column - 70) * work_mm
    for k in range(-8, 16):
        thick_mm = np.where((names > 0) & (k >= 0), 5.0, 0.0)
        for r, come in ((35, steady(2.0, 2.0)), (115, steady(1.0, 2.0))):
            arm = (np.abs(row - r) <= 3) & (away_mm > 0) & (away_mm <= 12)
            thick_mm[arm & (come(away_mm) <= k * pulse_s + 1e-6)] = 1.5
        density = (1.0 + 0.1 * thick_mm + rng.normal(0, 0.05, shape)).astype(np.float32)
        placed = Placed(density, cv2.bitwise_not(nothing), nothing, RigidMotion((0.0, 0.0), 0.0, (0.0, 0.0)))
        if k < 0:
            change.learn(placed, work_mm)
            continue
        change.compare(placed, work_mm, np.where(thick_mm > 0, 255, 0).astype(np.uint8))
        since_s = np.where(names > 0, np.float32(0), np.float32(np.inf))
        watch.note(change, names, since_s, nothing > 0, nothing, 0.1, work_mm, k * pulse_s)
    first, second = watch.fastest(1, 0.0), watch.fastest(2, 0.0)
    assert first is not None
    assert second is not None
    assert abs(first.xy[1] - 35) <= 5
    assert abs(second.xy[1] - 115) <= 5
    assert first.mm_per_s > second.mm_per_s
    assert (watch.fastest(2, 0.0), watch.fastest(1, 0.0)) == (second, first)


def test_noise_is_no_run() -> None:
    assert all(arms(lambda mm: np.full_like(mm, np.inf), until_s=k * 2 / 15) is None for k in range(4, 12))


LINES = [[(0, n // 2) for n in range(-3, 4)], [(n // 2, 0) for n in range(-3, 4)]]
"""Rows and columns beside a pixel of the short lines that the carrying of evidence is tried with."""


def carried(
    shown: NDArray[np.float32], bridge: NDArray[np.uint8], source: NDArray[np.uint8], most: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What ``kernels.carried`` leaves at each pixel, and the evidence as far as it has asked for it; nan elsewhere."""
    h, w = shown.shape
    wide = np.zeros((h + 4, w + 4 + kernels.STRETCH), np.float32)
    kernels.framed(shown, np.zeros((h, w), np.uint8), 0, 0, 5.0, 2, wide)
    offsets = np.array([[dr * wide.shape[1] + dc for dr, dc in line] for line in LINES], np.int32)
    evidence, framed = np.full((h, w), np.nan, np.float32), (h + 2, w + 2)
    lost, worth, queued = np.full(framed, np.nan, np.float32), np.zeros(framed, np.float32), np.zeros(framed, np.uint8)
    queue = np.empty((2, lost.size), np.int32)
    box, left = kernels.carried(wide, offsets, 7.0, bridge, source, 0, 0, most, evidence, lost, worth, queued, queue)
    assert not worth.any()
    assert not queued.any()
    x, y, right, bottom = box
    out = np.zeros((h, w), np.float32)
    if left.size:
        out[y:bottom, x:right] = left
        assert all(edge.any() for edge in (left[0], left[-1], left[:, 0], left[:, -1]))
    return out, evidence


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_evidence_is_carried_along_the_best_path(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    shown = data.draw(planes(shape, -3.0, 6.0))
    source, bridge = (data.draw(arrays(np.uint8, shape, elements=st.sampled_from([0, 255]))) for _ in range(2))
    left, asked = carried(shown, bridge, source, 3.0)
    framed = np.pad(np.minimum(shown, 5.0), 2)
    sums = [sum(framed[2 + r : 2 + r + shape[0], 2 + c : 2 + c + shape[1]] for r, c in line) for line in LINES]
    evidence = np.max(sums, axis=0) / 7.0
    known = np.isfinite(asked)
    np.testing.assert_allclose(asked[known], evidence[known], atol=1e-5)
    lost = 1.0 - np.maximum(evidence, 0.0)
    lost[bridge > 0] = 0.25
    twin = np.where(source > 0, 3.0, 0.0)
    for _ in range(2 * twin.size):  # there, and back from where a gap was crossed
        framed = np.pad(twin, 1)
        for dr, dc in np.ndindex(3, 3):
            came = framed[dr : dr + shape[0], dc : dc + shape[1]]
            there = np.where(lost <= 0, 3.0, came - np.hypot(dr - 1, dc - 1) * lost)
            twin = np.maximum(twin, np.where((came > 0) & ((dr, dc) != (1, 1)), there, 0.0))
    np.testing.assert_allclose(left, twin, atol=1e-4)
    assert known[(left > 0) & (source == 0)].all()


def test_evidence_is_worked_out_only_near_where_it_is_carried() -> None:
    source = np.zeros((60, 200), np.uint8)
    source[30, 20] = 255
    left, asked = carried(np.zeros(source.shape, np.float32), np.zeros_like(source), source, 3.0)
    assert int((left > 0).sum()) < 40
    assert np.isfinite(asked).sum() <= 9 * kernels.STRETCH


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_what_a_pulse_shows_is_framed_by_nothing(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    top, left, rim = (data.draw(st.integers(0, 3)) for _ in range(3))
    values = st.sampled_from([np.float32(v) for v in (np.nan, -2.0, 0.5, 5.0, 7.5)])
    sigmas = data.draw(arrays(np.float32, shape, elements=values))
    foreign = data.draw(arrays(np.uint8, (shape[0] + 3, shape[1] + 3), elements=st.sampled_from([0, 1])))
    out = np.full((shape[0] + 2 * rim, shape[1] + 2 * rim + 4), 9.0, np.float32)
    kernels.framed(sigmas, foreign, top, left, 5.0, rim, out)
    tells = np.isfinite(sigmas) & (foreign[top : top + shape[0], left : left + shape[1]] == 0)
    twin = np.zeros_like(out)
    twin[rim : rim + shape[0], rim : rim + shape[1]] = np.where(tells, np.minimum(sigmas, 5.0), 0.0)
    np.testing.assert_array_equal(out, twin)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_each_name_has_its_box(data: st.DataObject) -> None:
    names = data.draw(arrays(np.uint8, data.draw(SHAPES), elements=st.sampled_from([0, 1, 2, 255])))
    out = kernels.extents(names)
    for name in range(256):
        rows, cols = np.nonzero((names == name) & (names > 0))
        box = (cols.min(), rows.min(), cols.max() + 1, rows.max() + 1) if len(rows) else (0, 0, 0, 0)
        assert tuple(out[name]) == box


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_an_advance_is_weighed_against_what_stood_and_what_came_at_once(data: st.DataObject) -> None:
    pulses, places, least, rest = (data.draw(st.integers(*span)) for span in ((2, 6), (4, 14), (2, 4), (1, 3)))
    gain = data.draw(arrays(np.float64, (pulses, places), elements=st.floats(-4, 4, width=16)))
    ago = np.arange(pulses - 1.0, -1.0, -1.0)
    speeds = np.array([0.5, 1.0, 2.5])
    ratio, speed, length = kernels.advance(gain, ago, speeds, least, 0.4, rest)

    def total(fronts: Along) -> float:
        return float(sum(row[:front].sum() for row, front in zip(gain, fronts.astype(int), strict=True)))

    def advanced(length: int, speed: float, stood: int, rested: float) -> float:
        return total(np.maximum(stood, length - np.floor(speed * np.maximum(ago - rested, 0) + 0.5)))

    explained = {
        (speed, length): max(
            advanced(length, speed, stood, rested)
            for stood in range(int(0.4 * length) + 1)
            for rested in range(min(rest, pulses))
        )
        for speed in speeds
        for length in range(least, places + 1)
    }
    otherwise = max(
        [total(np.full(pulses, stood)) for stood in range(int(length) + 1)]
        + [
            total(np.where(np.arange(pulses) >= came, length, stood))
            for stood in range(int(0.4 * length) + 1)
            for came in range(pulses + 1)
        ]
    )
    np.testing.assert_allclose(explained[speed, length], max(explained.values()), atol=1e-9)
    np.testing.assert_allclose(ratio, max(explained.values()) - otherwise, atol=1e-9)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_a_ridge_has_of_all_pixels_as_far_the_one_with_most_evidence(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    values = st.sampled_from([np.float32(v) for v in (0.0, 0.25, 0.5, 0.75, 1.75, 3.0)])
    arm = data.draw(arrays(np.float32, shape, elements=values))
    whole = data.draw(arrays(np.float32, (shape[0] + 2, shape[1] + 3), elements=values))
    evidence = whole[1 : 1 + shape[0], 2 : 2 + shape[1]]
    ridge = kernels.ridge(arm, evidence, 0.5)
    places = np.where(arm > 0, (arm / 0.5).astype(int), -1)
    expected = []
    for place in np.unique(places[places >= 0]):
        rows, cols = np.nonzero(places == place)
        best = int(np.argmax(evidence[rows, cols]))
        expected.append((rows[best], cols[best], place))
    np.testing.assert_array_equal(ridge.T, np.array(expected, dtype=np.int64).reshape(-1, 3))


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_what_paths_have_reached_is_the_deposits_where_it_is_dense_and_told_where_evidence_is_enough(
    data: st.DataObject,
) -> None:
    shape = data.draw(SHAPES)
    values = st.sampled_from([np.float32(v) for v in (np.nan, 0.0, 0.5, 1.0, 2.5, 4.0)])
    worth, evidence, sigmas, z = (data.draw(arrays(np.float32, shape, elements=values)) for _ in range(4))
    worth = np.nan_to_num(worth)
    names = st.sampled_from([np.uint8(0), np.uint8(1), np.uint8(2)])
    deposits, beside, foreign = (data.draw(arrays(np.uint8, shape, elements=names)) for _ in range(3))
    of_deposit, told = np.empty(shape, np.uint8), np.empty(shape, np.uint8)
    kernels.sort_reached(worth, evidence, sigmas, z, deposits, beside, foreign, 2, 2.5, of_deposit, told)
    clear = (worth > 0) & (beside == 0) & (foreign == 0)
    dense = np.fmax(sigmas, z) >= 2.5
    np.testing.assert_array_equal(of_deposit, np.where((clear & dense) | (deposits == 2), 255, 0))
    np.testing.assert_array_equal(told, np.where(clear & (evidence >= 1), 255, 0))
