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
