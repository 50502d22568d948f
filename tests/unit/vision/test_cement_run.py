"""Runs of cement: what leaves a deposit step by step, and what is there all at once; the kernels' plain twins."""

from collections.abc import Callable

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from guidance.records import CementDeposit
from guidance.vision.cement_run import Front, RunWatch
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
    assert any(d.run_mm is not None and d.run_mm > 20 for d in seen[-1])


def test_a_veil_around_a_deposit_is_no_run() -> None:
    """Half a millimetre that spreads: what a thick deposit's scatter leaves behind."""

    def veil(k: int) -> Plane:
        return np.asarray(0.04 * (ball_cm(*TIP, 6.0 + 1.2 * max(0, k - LEAVES)) > 0) * float(k > LEAVES))

    assert all(d.run_mm is None for d in told(veil))


def arms(*come_s: Callable[[Along], Along], until_s: float) -> Front | None:
    """The run of a deposit of 10 mm with arms of 12 mm to either side; ``come_s``: when each comes how many mm away."""
    shape, work_mm, pulse_s = (120, 160), 0.25, 2 / 15
    row, column = np.indices(shape)
    ball = np.hypot(row - 60, column - 80) <= 20
    outlined_s = np.where(ball, 0.0, np.inf).astype(np.float32)
    for side, come in zip((1, -1), come_s, strict=False):
        away_mm = (side * (column - 80) - 20) * work_mm
        arm = (np.abs(row - 60) <= 3) & (away_mm > 0) & (away_mm <= 12) & (come(away_mm) <= until_s + 1e-6)
        outlined_s[arm] = come(away_mm)[arm]
    deposit = np.where(np.isfinite(outlined_s), 255, 0).astype(np.uint8)
    z = np.where(deposit > 0, np.float32(20), np.float32(0))
    steel = np.zeros(shape, np.uint8)
    pulses_s = [until_s - pulse_s * back for back in range(4, -1, -1)]
    return RunWatch(shape).fastest(deposit, outlined_s, z, z, steel, 1.0, pulses_s, 0.0, work_mm)


def steady(mm_a_pulse: float, until_s: float) -> Callable[[Along], Along]:
    """An arm that has come 12 mm far at ``until_s``."""
    return lambda away_mm: until_s - 2 / 15 * np.floor((12 - away_mm) / mm_a_pulse)


def test_what_a_pulse_itself_shows_of_a_run_counts_on_it() -> None:
    """Whichever way the pulse's time is rounded in the planes."""
    speeds = [run.mm_per_s for k in range(45, 60) if (run := arms(steady(2.0, k * 2 / 15), until_s=k * 2 / 15))]
    assert len(speeds) == 15
    np.testing.assert_allclose(speeds, speeds[0], rtol=0.01)


def test_a_place_that_shows_late_beside_a_shaft_holds_up_no_run() -> None:
    run = arms(lambda mm: np.where(abs(mm - 2.5) < 0.3, 6.0, steady(2.0, 6.0)(mm)), until_s=6.0)
    assert run is not None
    assert run.mm_per_s > 10


def test_an_arm_that_was_there_before_it_joined_has_not_run() -> None:
    assert arms(lambda mm: np.where(mm < 4, 6.0, 1.0), until_s=6.0) is None


def test_a_fast_run_is_told_beside_one_that_has_come_farther() -> None:
    """Of one arm, too, there are two accounts: its outline, which comes late, and its significance."""
    run = arms(steady(0.5, 6.0), lambda mm: np.where(mm > 10.5, np.inf, steady(2.0, 6.0)(mm)), until_s=6.0)
    assert run is not None
    assert run.mm_per_s > 10
    assert run.xy[0] < 80


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_since_when_a_pixel_is_dense_is_kept_until_it_is_not(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    z, added = data.draw(planes(shape, 0.0, 5.0)), data.draw(planes(shape, 0.0, 1.0))
    since = np.where(data.draw(arrays(np.bool_, shape)), np.float32(1.0), np.float32(np.inf))
    grow, stay, least = 2.5, 1.5, 0.5
    twin = np.where(np.isinf(since) & (z >= grow) & (added >= least), np.float32(3.0), since)
    twin[z < stay] = np.inf
    kernels.note_since(z, added, grow, stay, least, 3.0, since)
    np.testing.assert_array_equal(since, twin)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_evidence_is_carried_along_the_best_path(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    z, added = data.draw(planes(shape, 0.0, 8.0)), data.draw(planes(shape, 0.0, 2.0))
    source, bridge = (data.draw(arrays(np.uint8, shape, elements=st.sampled_from([0, 255]))) for _ in range(2))
    left = kernels.carried(z, added, source, bridge, 2.5, 0.5, 3.0)
    lost = 1.0 - np.maximum(np.minimum(z / np.float32(2.5), added / np.float32(0.5)), 0.0)
    lost[bridge > 0] = 0.25
    twin = np.where(source > 0, 3.0, 0.0)
    for _ in range(twin.size):
        framed = np.pad(twin, 1)
        for dr, dc in np.ndindex(3, 3):
            came = framed[dr : dr + shape[0], dc : dc + shape[1]]
            there = np.where(lost <= 0, 3.0, came - np.hypot(dr - 1, dc - 1) * lost)
            twin = np.maximum(twin, np.where((came > 0) & ((dr, dc) != (1, 1)), there, 0.0))
    np.testing.assert_allclose(left, twin, atol=1e-4)
