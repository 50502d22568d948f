"""The kernel that finds where a line crosses a polygon, against a plain restatement."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from guidance.vision.kernels.chord import chord


def chord_twin(polygon: NDArray[np.float64], through: NDArray[np.float64], along: NDArray[np.float64]) -> list[float]:
    aside = (polygon - through) @ np.array([-along[1], along[0]])
    ahead = (polygon - through) @ along
    next_aside, next_ahead = np.roll(aside, -1), np.roll(ahead, -1)
    crosses = (aside <= 0) != (next_aside <= 0)
    if not crosses.any():
        return [np.nan, np.nan]
    share = aside[crosses] / (aside[crosses] - next_aside[crosses])
    at = ahead[crosses] + share * (next_ahead[crosses] - ahead[crosses])
    return [at.min(), at.max()]


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.floats(0, 6.28))
def test_a_chord_is_that_of_its_plain_twin(seed: int, n: int, angle: float) -> None:
    rng = np.random.default_rng(seed)
    polygon, through = rng.uniform(0, 9, (n, 2)), rng.uniform(-2, 11, 2)
    along = np.array([np.cos(angle), np.sin(angle)])
    told = chord(polygon, *through.tolist(), *along.tolist())
    assert np.allclose(told, chord_twin(polygon, through, along), equal_nan=True)


def test_through_a_square_from_its_middle_it_is_half_a_side_both_ways_and_past_it_nothing() -> None:
    square = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]])
    assert np.allclose(chord(square, 2.0, 2.0, 1.0, 0.0), (-2.0, 2.0))
    assert np.isnan(chord(square, 2.0, 5.0, 1.0, 0.0)).all()
