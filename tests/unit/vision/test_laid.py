"""The kernels that follow what was laid into the picture, and their plain twins."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from guidance.vision.kernels import laid as kernels
from tests.unit.vision.test_change import flags, planes
from tests.unit.vision.test_pieces import Boxed, boxed


def times(shape: tuple[int, int]) -> st.SearchStrategy[NDArray[np.float32]]:
    return arrays(np.float32, shape, elements=st.sampled_from([-np.inf, 1.0, 2.0, 3.0, 4.0]))


def kept_outside(box: tuple[slice, slice], now: NDArray, before: NDArray) -> bool:
    """Whether a plane is as it was wherever the box is not."""
    rest = np.ones(now.shape, np.bool_)
    rest[box] = False
    return np.array_equal(now[rest], before[rest])


@given(boxed(), st.data())
@settings(max_examples=60, deadline=None)
def test_objects_leave_where_nothing_is_added_any_more(case: Boxed, data: st.DataObject) -> None:
    shape, box, out, _ = case
    z, left_s = data.draw(planes(shape, 0.0, 6.0)), data.draw(times(shape))
    plain, mask = data.draw(flags(shape)), data.draw(flags(shape))
    now_mask, now_s = mask.copy(), left_s.copy()
    count = kernels.leave(z, 2.5, 5.0, 2.5, box[0].start, box[1].start, plain, now_mask, now_s, out)
    gone = z[box] < 2.5
    assert np.array_equal(now_mask[box], np.where(gone, 0, mask[box]))
    since = np.where(gone & (plain[box] > 0), 5.0, left_s[box])
    assert np.array_equal(now_s[box], since)
    assert np.array_equal(out, np.where(since > 2.5, 255, 0))
    assert count == (since > 2.5).sum()
    assert kept_outside(box, now_mask, mask)
    assert kept_outside(box, now_s, left_s)


@given(boxed(), st.data())
@settings(max_examples=60, deadline=None)
def test_objects_rest_where_they_have_moved_and_do_so_no_more(case: Boxed, data: st.DataObject) -> None:
    shape, box, out, _ = case
    z, moved_s = data.draw(planes(shape, 0.0, 6.0)), data.draw(times(shape))
    plain, mask = data.draw(flags(shape)), data.draw(flags(shape))
    now_plain, now_s = plain.copy(), moved_s.copy()
    count = kernels.rest(z, 5.0, 2.5, box[0].start, box[1].start, now_plain, mask, now_s, out)
    rests = (mask[box] > 0) & np.isfinite(moved_s[box]) & (moved_s[box] < 2.5)
    assert count == rests.sum()
    assert np.array_equal(out, np.where(rests, 255, 0))
    assert np.array_equal(now_s[box], np.where(rests, -np.inf, moved_s[box]))
    assert np.array_equal(now_plain[box], np.where((plain[box] > 0) | (z[box] > 5.0), mask[box], 0))
    assert kept_outside(box, now_plain, plain)
    assert kept_outside(box, now_s, moved_s)
