"""Thick metal that comes over a picture in which cement grows, in small simulated pulses."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from guidance.vision.cement_outline import MILLIMETRE_DENSITY
from guidance.vision.cement_passing import PassingMetal
from guidance.vision.change import Change, ReferenceGrid
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
