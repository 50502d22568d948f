"""The median kernel against numpy's."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from guidance.vision.kernels.median import median, median_in_place, part_in_place

VALUES = st.sampled_from([np.float32, np.float64]).flatmap(
    lambda dtype: arrays(dtype, st.integers(1, 60), elements=st.floats(-9, 9, width=16))
)


@given(VALUES)
def test_it_is_numpys_median_in_double_precision(values: NDArray[np.floating]) -> None:
    before = values.copy()
    assert median(values) == float(np.median(values.astype(np.float64)))
    assert np.array_equal(values, before)


@given(VALUES)
def test_in_place_the_same_values_are_left_in_another_order(values: NDArray[np.floating]) -> None:
    before = values.copy()
    assert median_in_place(values) == median(before)
    assert np.array_equal(np.sort(values), np.sort(before))


@given(VALUES, st.data())
def test_a_rank_is_in_its_place_and_none_before_it_is_greater(
    values: NDArray[np.floating], data: st.DataObject
) -> None:
    rank = data.draw(st.integers(0, values.size - 1))
    ordered = np.sort(values)
    part_in_place(values, rank)
    assert values[rank] == ordered[rank]
    assert np.all(values[:rank] <= values[rank])
    assert np.array_equal(np.sort(values), ordered)
