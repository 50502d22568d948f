"""The kernels that look for threads and joints, against plain restatements of what they compute."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from guidance.vision.kernels import lookalikes as kernels
from guidance.vision.kernels.shaft import straighten

SEEDS = st.integers(0, 2**32 - 1)


@settings(deadline=None)
@given(SEEDS, st.integers(4, 60), st.sampled_from([1, 2]), st.integers(0, 20))
def test_a_bow_is_the_least_squares_polynomial_through_the_centres(seed: int, n: int, degree: int, beyond: int) -> None:
    rng = np.random.default_rng(seed)
    sections = np.full((n + 8, 5), np.nan, np.float32)
    known = np.sort(rng.choice(n, rng.integers(4, n + 1), replace=False))
    sections[3 + known, 0] = rng.normal(0, 3, len(known))
    bow = kernels.bow(sections, 3, 3 + n - 1, degree, beyond)
    polynomial = np.polyfit(known, sections[3 + known, 0].astype(np.float64), degree)
    expected = np.polyval(polynomial, np.arange(-beyond, n + beyond))
    assert np.allclose(bow, expected, rtol=1e-6, atol=1e-6)


@settings(deadline=None)
@given(SEEDS, st.floats(0, 6.28), st.integers(1, 5))
def test_a_straight_view_has_the_bow_in_its_middle_column(seed: int, angle: float, half: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.random((25, 40), dtype=np.float32)
    x, y, ux, uy = 20.0, 12.0, float(np.cos(angle)), float(np.sin(angle))
    centres = rng.uniform(-4, 4, 15)
    view = kernels.straight_view(image, np.array([x, y, ux, uy]), centres, half, 9.0)
    strip = straighten(image, x, y, ux, uy, 15, 12)
    left = np.floor(centres[:, None]) + np.arange(-half, half + 1)
    share, column, row = (centres - np.floor(centres))[:, None], left.astype(int) + 12, np.arange(15)[:, None]
    expected = (1 - share) * strip[row, column] + share * strip[row, column + 1]
    assert np.allclose(view, np.where(np.isfinite(expected), expected, 9.0), atol=1e-5)


@given(SEEDS, st.integers(1, 12), st.integers(2, 9), st.floats(0.1, 1.0))
def test_steel_reaches_so_far_without_a_break(seed: int, n: int, half: int, paler: float) -> None:
    rng = np.random.default_rng(seed)
    view = rng.choice(np.array([0.2, 0.9, 1.4, 9.0], np.float32), (n, 2 * half + 1), p=[0.1, 0.4, 0.4, 0.1])
    steel, dark, reach = kernels.steel_beside(view, 1, paler, 8.0)
    along = view[:, half - 1 : half + 2].astype(np.float64).mean(axis=1)
    assert np.allclose(steel, along, atol=1e-9)
    assert np.array_equal(dark, (view > (steel - paler)[:, None]) & (view < 8.0))
    for told, side in zip(reach, (dark[:, half:], dark[:, half::-1]), strict=True):
        assert np.array_equal(told, np.minimum.accumulate(side, axis=1).sum(axis=1))


@given(SEEDS, st.integers(1, 20), st.integers(0, 3), st.integers(0, 3))
def test_edges_are_the_means_beside_the_axis(seed: int, n: int, near: int, wide: int) -> None:
    view = np.random.default_rng(seed).random((n, 15), dtype=np.float32)
    edges = kernels.edges_of(view, near, near + wide)
    double = view.astype(np.float64)
    assert np.allclose(edges[0], double[:, 7 + near : 7 + near + wide + 1].mean(axis=1))
    assert np.allclose(edges[1], double[:, 7 - near - wide : 7 - near + 1].mean(axis=1))


@given(SEEDS, st.integers(2, 60), st.integers(0, 9), st.integers(1, 10))
def test_unevenness_is_what_a_running_mean_leaves_in_a_hann_window(seed: int, n: int, begin: int, half: int) -> None:
    edges = np.random.default_rng(seed).random((2, begin + n + 3))
    smooth = 2 * half + 1
    uneven = kernels.unevenness(edges, begin, begin + n, smooth)
    for told, edge in zip(uneven, edges[:, begin : begin + n], strict=True):
        even: NDArray[np.float64] = np.convolve(np.pad(edge, half, mode="edge"), np.ones(smooth) / smooth, mode="valid")
        assert np.allclose(told, (edge - even) * np.hanning(n), atol=1e-12)


def runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and one past the last of each run of true values."""
    steps = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(steps[::2], steps[1::2], strict=True)]


def spreads_twin(
    dark: NDArray[np.bool_], bar: NDArray[np.int64], bare: NDArray[np.bool_], away: NDArray[np.float64], width: float
) -> bool:
    other = dark & (np.arange(dark.shape[1])[None, :] > bar[:, None])
    thick = other.sum(axis=1)
    seen = bare & (away > 0) & (thick >= 0.6 * width) & (thick <= 1.4 * width)
    rows = np.flatnonzero(seen)
    if len(rows) < max(kernels.TWIN_WIDTHS * width, 0.5 * (np.ptp(rows) if len(rows) else 0.0)):
        return False
    slope, offset = np.polyfit(away[seen], np.argmax(other[seen], axis=1) + 0.5 * width, 1)
    return bool(abs(offset) < 0.7 * width and kernels.LEAST_JAWS_TURN < slope < kernels.MOST_JAWS_TURN)


def joint_twin(view: NDArray[np.float32], width: float, contrast: float) -> bool:
    half = view.shape[1] // 2
    steel, dark, first_bar = kernels.steel_beside(view, max(1, round(0.25 * width)), kernels.BOSS_PALER * contrast, 8.0)
    inside = steel < 8.0
    narrow, broad = np.minimum(*first_bar) / width, np.maximum(*first_bar) / width
    boss = inside & (narrow >= kernels.BOSS_WIDTHS) & (broad <= kernels.BROADEST_BOSS_WIDTHS)
    boss = np.convolve(boss, np.ones(5), mode="same") >= 3
    bare = inside & (broad <= 0.75 + 1.0 / width)
    arm = int(np.ceil(1.5 * width))
    for first, last in runs(boss):
        if not 0.7 * width <= last - first <= 2 * kernels.BROADEST_BOSS_WIDTHS * width:
            continue
        metal = inside & (steel > np.median(steel[first:last]) - 0.6 * contrast)
        if min(metal[max(0, first - arm) : first].sum(), metal[last : last + arm].sum()) < 0.8 * arm:
            continue
        away = np.arange(len(steel)) - 0.5 * (first + last)
        for side, bar in zip((dark[:, half:], dark[:, half::-1]), first_bar, strict=True):
            if any(spreads_twin(side, bar, bare, there, width) for there in (away, -away)):
                return True
    return False


def clamp_view(
    rng: np.random.Generator, joint: int, turn: float, boss_px: float, twin_px: float
) -> NDArray[np.float32]:
    """A bar of 6 pixels, one beside it that leaves it at ``turn`` from a boss on, and dark specks."""
    rows, columns = np.ogrid[:110, -20:21]
    on_bar = np.abs(columns) < 3.2
    on_twin = np.abs(columns - turn * np.maximum(0, joint - rows)) < twin_px
    view = 0.3 + 0.7 * (on_bar | on_twin | (np.hypot(columns, rows - joint) < boss_px))
    view = view + rng.normal(0, 0.03, view.shape) + 0.5 * (rng.random(view.shape) < 0.004)
    view[rng.integers(105, 112) :] = 9.0
    return view.astype(np.float32)


@settings(deadline=None)
@given(SEEDS, st.integers(2, 108), st.floats(-0.5, 0.5), st.floats(0, 16), st.floats(1, 4))
def test_a_joint_is_seen_where_the_plain_twin_sees_one(
    seed: int, joint: int, turn: float, boss_px: float, twin_px: float
) -> None:
    view = clamp_view(np.random.default_rng(seed), joint, turn, boss_px, twin_px)
    assert kernels.runs_into_joint(view, 6.4, 0.7, 8.0) == joint_twin(view, 6.4, 0.7)


def test_a_boss_from_which_a_second_bar_springs_is_a_joint_and_one_alone_is_none() -> None:
    rng = np.random.default_rng(1)
    assert kernels.runs_into_joint(clamp_view(rng, 70, 0.2, 9.0, 3.0), 6.4, 0.7, 8.0)
    assert not kernels.runs_into_joint(clamp_view(rng, 70, 0.0, 9.0, 3.0), 6.4, 0.7, 8.0)
    assert not kernels.runs_into_joint(clamp_view(rng, 70, 0.2, 0.0, 3.0), 6.4, 0.7, 8.0)
