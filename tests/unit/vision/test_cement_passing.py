"""Thick metal that comes over a picture in which cement grows, in small simulated pulses."""

from collections.abc import Callable

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from guidance.vision.cement_outline import MILLIMETRE_DENSITY
from guidance.vision.cement_passing import PassingMetal
from guidance.vision.change import Change
from guidance.vision.grid import ReferenceGrid
from guidance.vision.kernels import passing as kernels
from tests.unit.vision.absorbers import MM_PER_PX, Beam, Plane, ball_cm, nothing, tube_cm

DEPOSIT_XY = (100.0, 110.0)
COMES = 22
"""The pulse on which metal appears; the first eight are the baseline."""


def seen(absorber_cm: Callable[[int], Plane], pulses: int) -> list[NDArray[np.bool_]]:
    """Where there is metal, pulse by pulse after the baseline's; a deposit of 8 mm lies in the middle."""
    beam, metal = Beam(), PassingMetal()
    picture, motion = beam.pulse(nothing())
    grid = ReferenceGrid(picture)
    change, nowhere = Change(grid.shape), np.zeros(grid.shape, np.uint8)
    deposits = (ball_cm(*DEPOSIT_XY, 4.0) > 0.1).astype(np.uint8)
    told = []
    for k in range(pulses):
        picture, motion = beam.pulse(absorber_cm(k))
        placed = grid.place(picture, motion, nowhere, MM_PER_PX)
        if k < 8:
            change.learn(placed, MM_PER_PX)
            continue
        change.compare(placed, MM_PER_PX)
        here = metal.seen(change, deposits, nowhere, MILLIMETRE_DENSITY, MM_PER_PX)
        told.append(np.zeros(grid.shape, np.bool_) if here is None else here > 0)
    return told


def deposit(k: int) -> Plane:
    return ball_cm(*DEPOSIT_XY, 4.0) * float(np.clip((k - 8) / 20, 0, 1))


def clamp(x: float) -> Plane:
    """Thick enough to add ten millimetres of cement."""
    return 1.5 * (tube_cm([(x, 10), (x + 20, 190)], 5.0) > 0)


def test_a_clamp_over_a_deposit_is_metal_as_soon_as_it_is_seen() -> None:
    told = seen(lambda k: deposit(k) + (clamp(90) if k >= COMES else 0.0), COMES + 3)
    over = clamp(90) > 0
    assert told[-1][over].mean() > 0.9
    assert not told[COMES - 9].any()


def test_metal_that_has_gone_on_leaves_the_deposit() -> None:
    told = seen(lambda k: deposit(k) + (clamp(60 + 5 * (k - COMES)) if k >= COMES else 0.0), COMES + 20)
    assert any(mask[110, 100] for mask in told)
    assert not told[-1][110, 100]


def test_cement_that_grows_is_no_metal() -> None:
    assert not any(mask.any() for mask in seen(deposit, 40))


def test_a_lump_that_came_at_once_and_stays_is_weighed_anew() -> None:
    lump = 1.2 * (ball_cm(DEPOSIT_XY[0] + 15, DEPOSIT_XY[1], 3.0) > 0)
    told = seen(lambda k: deposit(k) + (lump if k >= COMES else 0.0), COMES + 16)
    assert any(mask.any() for mask in told)
    assert not told[-1].any()


SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 40))
MASK = st.sampled_from([np.uint8(0), np.uint8(255)])


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_a_jump_is_a_gain_that_noise_does_not_make_beside_steel(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    broad, before, z = (data.draw(arrays(np.float32, shape, elements=st.floats(-2, 2, width=16))) for _ in range(3))
    steel, out = data.draw(arrays(np.uint8, shape, elements=MASK)), np.empty(shape, np.uint8)
    rise = broad - before
    assert kernels.risen_px(broad, before, 0.5) == (rise > 0.5).sum()
    twin = (rise > 0.5) & (rise * z >= np.float32(1.5) * broad) & (steel == 0)
    assert kernels.jumps(broad, before, z, steel, 0.5, 1.5, out) == twin.sum()
    np.testing.assert_array_equal(out, np.where(twin, 255, 0))


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_metal_is_followed_as_the_rules_say(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    broad, before, z, was, peak = (
        data.draw(arrays(np.float32, shape, elements=st.floats(-2, 2, width=16))) for _ in range(5)
    )
    jumped, metal = (data.draw(arrays(np.uint8, shape, elements=MASK)) for _ in range(2))
    at_rest = data.draw(arrays(np.uint8, shape, elements=st.sampled_from([np.uint8(v) for v in (0, 7, 254, 255)])))
    here, after = np.empty(shape, np.uint8), [was.copy(), peak.copy(), at_rest.copy()]
    kernels.follow(broad, before, z, jumped, 0.25, 1.0, 0.5, metal, *after, here)
    highest = np.where(metal > 0, np.maximum(peak, broad), peak)
    stays = (metal > 0) & ~(broad < was + np.float32(0.5) * (highest - was))
    fresh = ((jumped > 0) | ((broad - before > 0.25) & (z > 1.0))) & ~stays
    np.testing.assert_array_equal(here, np.where(stays | fresh, 255, 0))
    np.testing.assert_array_equal(after[0], np.where(fresh, before, was))
    np.testing.assert_array_equal(after[1], np.where(fresh, broad, highest))
    np.testing.assert_array_equal(after[2], np.where(jumped > 0, 0, np.minimum(at_rest.astype(int) + 1, 255)))


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_parts_are_weighed_pixel_by_pixel(data: st.DataObject) -> None:
    shape, top, left = data.draw(SHAPES), data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3))
    whole = (shape[0] + 3, shape[1] + 3)
    parts = data.draw(arrays(np.int32, shape, elements=st.integers(0, 3)))
    was, peak = (data.draw(arrays(np.float32, whole, elements=st.floats(-2, 2, width=16))) for _ in range(2))
    steel, deposits, at_rest = (
        data.draw(arrays(np.uint8, whole, elements=st.sampled_from([np.uint8(v) for v in (0, 3, 9)]))) for _ in range(3)
    )
    out = kernels.weigh(parts, 4, top, left, was, peak, 0.5, steel, deposits, at_rest, 5)
    box = np.s_[top : top + shape[0], left : left + shape[1]]
    told = (peak - was)[box] > 0.5, deposits[box] == 0, at_rest[box] < 5
    for part in range(1, 4):
        here = parts == part
        assert tuple(out[part]) == ((told[0] & (steel[box] == 0) & here).sum(), *((t & here).sum() for t in told[1:]))
    assert not out[0].any()
    wanted, marked = np.array([False, True, False, True]), np.zeros(whole, np.uint8)
    kernels.mark(parts, wanted, top, left, marked)
    np.testing.assert_array_equal(marked[box], np.where(wanted[parts], 255, 0))
    assert np.count_nonzero(marked) == np.count_nonzero(marked[box])
