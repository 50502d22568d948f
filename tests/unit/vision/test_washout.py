"""The kernels of contrast that fades, and their plain twins."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from guidance.vision.kernels import washout as kernels
from tests.unit.vision.test_change import SHAPES, flags, planes


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_what_is_seen_to_fade_is_summed_by_cell_where_it_is_told(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    broad, z, compared = (
        data.draw(planes(shape)),
        data.draw(planes(shape, -4.0, 4.0)),
        data.draw(planes(shape, 0.0, 2.0)),
    )
    hidden, exclude = data.draw(flags(shape)), data.draw(flags(shape))
    rows, cols = (axis.ravel() for axis in np.indices(shape))
    cells = (rows // 2) * 9 + cols // 2
    n = len(rows)
    contrast, gone, lightest = (
        data.draw(arrays(np.float32, n, elements=st.floats(0.0, 1.0, width=32))) for _ in range(3)
    )
    most = lightest.copy()
    sums = kernels.seen_to_fade(rows, cols, cells, 60, contrast, gone, broad, z, compared, hidden, exclude, 2.5, most)
    told = ((exclude == 0) & (hidden == 0) & (compared > 0) & (z < 2.5)).ravel()
    lighter = gone - broad.ravel()
    np.testing.assert_array_equal(most, np.where(told, np.maximum(lightest, lighter), lightest))
    for got, weights in zip(sums, (told * lighter * contrast, told * contrast**2), strict=True):
        np.testing.assert_allclose(got, np.bincount(cells, weights, 60), rtol=1e-5, atol=1e-6)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_contrast_fades_by_the_share_that_has_gone_nearby(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    deposits = data.draw(flags(shape))
    rows, cols = (axis.ravel() for axis in np.indices(shape))
    cells = (rows // 2) * 9 + cols // 2
    faded, there = (data.draw(arrays(np.float32, 60, elements=st.floats(0.0, 1.0, width=32))) for _ in range(2))
    contrast, lightest, gone = (
        data.draw(arrays(np.float32, len(rows), elements=st.floats(0.0, 1.0, width=32))) for _ in range(3)
    )
    now = gone.copy()
    more = kernels.fade(rows, cols, cells, faded, there, contrast, lightest, deposits, 0.25, now)
    share = np.divide(faded, there, out=np.zeros_like(faded), where=there > 0.25).clip(0, 1)
    twin = np.where(there[cells] > 0.25, share[cells] * contrast, gone)
    twin = np.where(deposits.ravel() > 0, twin, np.minimum(twin, lightest))
    np.testing.assert_array_equal(now, twin)
    np.testing.assert_array_equal(more, twin - gone)
