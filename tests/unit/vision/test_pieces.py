"""Boxes on the grid, the pieces of a mask, and their kernels beside plain twins."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from guidance.vision.cement_pieces import NOWHERE, Box, Pieces, bounds, hull, inner_of, is_empty
from guidance.vision.change import grown
from guidance.vision.kernels import pieces as kernels
from tests.unit.vision.test_change import SHAPES, flags, planes

Boxed = tuple[tuple[int, int], Box, NDArray[np.uint8], NDArray[np.uint8]]
"""The grid's shape, a box on it, a mask of the box, and deposits of the whole grid."""


def ids(shape: tuple[int, int]) -> st.SearchStrategy[NDArray[np.uint8]]:
    return arrays(np.uint8, shape, elements=st.integers(0, 3))


@st.composite
def boxed(draw: st.DrawFn) -> Boxed:
    shape = draw(SHAPES)
    top, left = draw(st.integers(0, shape[0] - 1)), draw(st.integers(0, shape[1] - 1))
    bottom, right = draw(st.integers(top + 1, shape[0])), draw(st.integers(left + 1, shape[1]))
    return shape, np.s_[top:bottom, left:right], draw(flags((bottom - top, right - left))), draw(ids(shape))


def test_the_box_around_a_mask_is_where_it_lies_on_the_whole_grid() -> None:
    mask = np.zeros((20, 30), np.uint8)
    mask[7:9, 11] = 1
    assert bounds(mask) == np.s_[7:9, 11:12]
    assert bounds(mask, np.s_[5:15, 10:40]) == np.s_[7:9, 11:12]
    assert is_empty(bounds(mask, np.s_[0:5, 0:30]))


def test_boxes_that_hold_nothing_are_no_part_of_a_hull() -> None:
    assert hull(NOWHERE, np.s_[3:5, 8:9], np.s_[4:9, 2:3], NOWHERE) == np.s_[3:9, 2:9]
    assert is_empty(hull(NOWHERE))
    assert is_empty(hull())


@given(boxed(), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_a_box_lies_in_a_wider_one_where_it_lies_on_the_grid(case: Boxed, reach: int) -> None:
    _, box, _, deposits = case
    wide = grown(box, reach)
    assert np.array_equal(deposits[wide][inner_of(box, wide)], deposits[box])


@given(boxed())
@settings(max_examples=80, deadline=None)
def test_pieces_know_where_they_lie_how_large_they_are_and_on_what(case: Boxed) -> None:
    shape, box, mask, deposits = case
    pieces = Pieces(mask, box)
    whole = np.zeros(shape, np.int32)
    whole[box] = pieces.names
    assert pieces.count == cv2.connectedComponents(mask, connectivity=8)[0]
    eldest = pieces.eldest(deposits)
    assert pieces.kept == sorted(range(1, pieces.count), key=lambda piece: -int((whole == piece).sum()))
    for piece in range(1, pieces.count):
        here = whole == piece
        below = deposits[here]
        assert pieces.areas_px[piece] == here.sum()
        assert eldest[piece] == min(below[below > 0], default=0)
        own = pieces.box_of(piece)
        assert own == bounds(here.astype(np.uint8))
        assert np.array_equal(pieces.at(piece, own), here[own])
    beside = deposits[box][mask == 0]
    assert eldest[0] == min(beside[beside > 0], default=0)


def test_a_piece_that_is_dropped_is_none_any_more() -> None:
    mask = np.zeros((9, 9), np.uint8)
    mask[1:3, 1:3] = mask[5:8, 5:8] = 255
    pieces = Pieces(mask, np.s_[0:9, 0:9])
    small = int(pieces.names[1, 1])
    assert np.array_equal(np.argwhere(pieces.drop([small])), [[1, 1], [1, 2], [2, 1], [2, 2]])
    assert pieces.kept == [3 - small]
    assert not pieces.names[1:3, 1:3].any()


@given(boxed(), st.data())
@settings(max_examples=60, deadline=None)
def test_a_piece_is_evident_where_one_of_its_pixels_is_significant_and_thick(case: Boxed, data: st.DataObject) -> None:
    shape, box, mask, _ = case
    z, broad = data.draw(planes(shape, 0.0, 9.0)), data.draw(planes(shape, 0.0, 0.5))
    pieces = Pieces(mask, box)
    least = data.draw(arrays(np.float32, (2, pieces.count), elements=st.floats(0.0, 6.0, width=32)))
    told = pieces.evident(z, broad, least[0], least[1], 0.125)
    for piece in range(1, pieces.count):
        here = pieces.names == piece
        assert told[piece] == (here & (z[box] > least[0, piece]) & (broad[box] / 0.125 > least[1, piece])).any()


@given(boxed(), st.data())
@settings(max_examples=60, deadline=None)
def test_a_piece_is_only_new_where_all_that_it_lies_on_is(case: Boxed, data: st.DataObject) -> None:
    shape, box, mask, deposits = case
    since_s = data.draw(arrays(np.float32, shape, elements=st.sampled_from([1.0, 2.0, 3.0, np.inf])))
    pieces = Pieces(mask, box)
    lies_on = [since_s[box][(pieces.names == piece) & (deposits[box] > 0)] for piece in range(pieces.count)]
    twin = [piece for piece in range(1, pieces.count) if len(lies_on[piece]) and lies_on[piece].min() > 2.0]
    assert pieces.only_new(deposits, since_s, 2.0) == twin


@given(boxed(), st.data())
@settings(max_examples=60, deadline=None)
def test_pieces_become_deposits_in_their_box_and_nowhere_else(case: Boxed, data: st.DataObject) -> None:
    shape, box, mask, deposits = case
    since_s = data.draw(arrays(np.float32, shape, elements=st.sampled_from([1.0, 2.0, 3.0, np.inf])))
    pieces = Pieces(mask, box)
    names = data.draw(arrays(np.uint8, pieces.count, elements=st.integers(1, 200)))
    names[0] = 0
    painted, labels, since, rest = deposits.copy(), deposits.copy(), since_s.copy(), np.ones(shape, np.bool_)
    rest[box] = False
    pieces.paint(names, painted)
    pieces.become(names, 2.0, labels, since)
    twin = names[pieces.names]
    assert np.array_equal(labels[box], twin)
    assert np.array_equal(labels[rest], deposits[rest])
    assert np.array_equal(painted, labels)
    assert np.array_equal(since[box], np.where(twin > 0, np.minimum(since_s[box], 2.0), since_s[box]))
    assert np.array_equal(since[rest], since_s[rest])


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_cut_lies_where_the_added_exceeds_a_share_of_its_plateau_within_limits(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    added, plateau = data.draw(planes(shape, 0.0, 1.0)), data.draw(planes(shape, 0.0, 1.0))
    reach, out = data.draw(flags(shape)), np.full(shape, 7, np.uint8)
    kernels.cut(added, plateau, reach, 0.125, 0.0625, 0.25, 0.5, 0.375, out)
    level = np.clip(0.5 * plateau, 0.0625, np.maximum(0.25, 0.375 * plateau))
    assert np.array_equal(out, np.where((added > level) & (plateau > 0.125), reach, 0))


@pytest.mark.parametrize("box", [np.s_[0:1, 0:1], np.s_[8:9, 0:12]])
def test_pieces_at_the_grid_s_border_are_found(box: Box) -> None:
    mask = np.full((9, 12), 255, np.uint8)
    pieces = Pieces(mask[box], box)
    assert pieces.box_of(1) == box
