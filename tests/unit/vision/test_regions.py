"""The kernels of what has been added and what has gone, and their plain twins."""

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from guidance.vision.kernels import regions as kernels
from tests.unit.vision.test_change import SHAPES, flags, planes
from tests.unit.vision.test_pieces import Boxed, boxed, ids


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_regions_are_the_connected_parts_that_hold_a_seed(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    z, added = data.draw(planes(shape, 0.0, 8.0)), data.draw(planes(shape, 0.0, 1.0))
    standing = data.draw(flags(shape))
    labels = np.empty(shape, np.int32)
    seed, grow, stay, least = (np.float32(v) for v in (5.0, 2.5, 1.5, 0.1))
    foreign = data.draw(flags(shape))
    found = kernels.regions(z, added, foreign, standing, seed, grow, stay, least, labels)
    held = (standing > 0) & (z > stay)
    low = ((z > grow) | held) & (added > least) & (foreign == 0)
    _, parts = cv2.connectedComponents(low.astype(np.uint8), connectivity=4)
    kept = {int(i) for i in np.unique(parts[low & ((z > seed) | held)])} if low.any() else set()
    np.testing.assert_array_equal(labels > 0, np.isin(parts, list(kept)) & low)
    assert len(found) == len(kept)
    for i, (left, top, right, bottom, area) in enumerate(found.tolist(), start=1):
        rows, cols = np.nonzero(labels == i)
        assert (left, top, right, bottom) == (cols.min(), rows.min(), cols.max() + 1, rows.max() + 1)
        assert area == len(rows)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_what_a_region_holds_is_counted_pixel_by_pixel(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    z = data.draw(planes(shape, 0.0, 8.0))
    before, standing, unseen = (data.draw(flags(shape)) for _ in range(3))
    labels = np.empty(shape, np.int32)
    nothing = np.zeros(shape, np.uint8)
    found = kernels.regions(z, z, nothing, nothing, 5.0, 2.5, 1.5, 0.0, labels)
    held = kernels.holdings(labels, found, before.astype(np.int32), standing, unseen)
    assert held.shape == (len(found), 7)
    for i, counts in enumerate(held.tolist(), start=1):
        here = labels == i
        fresh = here & (before == 0) & (standing == 0) & (unseen == 0)
        assert counts[:3] == [(here & (standing > 0)).sum(), (here & (before == 0)).sum(), fresh.sum()]
        x, y, w, h = cv2.boundingRect(fresh.astype(np.uint8))
        assert counts[3:] == [x, y, x + w, y + h]


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_what_has_become_lighter_is_marked_where_it_can_be_seen(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    z, valid, hidden = data.draw(planes(shape, -8.0, 8.0)), data.draw(flags(shape)), data.draw(flags(shape))
    out = np.full(shape, 7, np.uint8)
    count = kernels.lighter(z, valid, hidden, 5.0, 3, out)
    twin = (z < -5.0) & (valid > 0) & (hidden == 0)
    assert count == twin.sum()
    assert np.array_equal(out, np.where(twin, 255, 0) if count >= 3 else np.full(shape, 7))


@given(boxed(), st.data())
@settings(max_examples=40, deadline=None)
def test_a_box_is_occupied_where_a_region_or_a_deposit_is(case: Boxed, data: st.DataObject) -> None:
    shape, box, mask, deposits = case
    labels = data.draw(ids(shape)).astype(np.int32)
    out = np.full_like(mask, 7)
    kernels.occupied(labels, deposits, box[0].start, box[1].start, out)
    assert np.array_equal(out, np.where((labels[box] > 0) | (deposits[box] > 0), 255, 0))
