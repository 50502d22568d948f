"""Objects that pass deposits, followed in maps of significance that are drawn by hand."""

import cv2
import numpy as np

from guidance.vision.cement_passing import PassingMetal
from guidance.vision.picture import Density, Mask

WORK_MM = 0.5
SHAPE = (120, 160)
DEPOSIT_XY = (80, 60)


def deposit() -> Mask:
    return cv2.circle(np.zeros(SHAPE, np.uint8), DEPOSIT_XY, 8, 1, -1)


def wire(x: int) -> Mask:
    return cv2.line(np.zeros(SHAPE, np.uint8), (x, 10), (x, 110), 255, 3)


def seen(x: int, rng: np.random.Generator) -> Density:
    z = rng.normal(0, 1, SHAPE) + 6.0 * (wire(x) > 0) + 30.0 * deposit()
    return z.astype(np.float32)


def followed_to(x: int) -> Mask | None:
    """What passes once a wire has gone to ``x``, two pixels on each pulse, told as foreign as long as it was apart."""
    rng = np.random.default_rng(5)
    passing = PassingMetal()
    for at in range(50, x + 1, 2):
        z = seen(at, rng)
        here = passing.follow(z, deposit(), WORK_MM)
        passing.note(wire(at) if at < 62 else np.zeros(SHAPE, np.uint8), z, deposit(), WORK_MM)
    return here


def test_a_wire_is_known_where_it_comes_out_from_behind_a_deposit() -> None:
    here = followed_to(90)
    assert here is not None
    assert here[52:69, 89:92].all()


def test_only_what_is_near_a_deposit_is_told() -> None:
    here = followed_to(80)
    assert here is not None
    assert here[60, 80]
    assert not here[:40].any()
    assert not here[80:].any()


def test_nothing_passes_where_a_wire_lies_still() -> None:
    rng = np.random.default_rng(5)
    passing = PassingMetal()
    for _ in range(6):
        z = seen(62, rng)
        assert passing.follow(z, deposit(), WORK_MM) is None
        passing.note(wire(62), z, deposit(), WORK_MM)


def test_a_wire_that_has_gone_is_forgotten() -> None:
    rng = np.random.default_rng(5)
    passing = PassingMetal()
    for at in range(50, 80, 2):
        z = seen(at, rng)
        passing.follow(z, deposit(), WORK_MM)
        passing.note(wire(at) if at < 62 else np.zeros(SHAPE, np.uint8), z, deposit(), WORK_MM)
    nothing = (rng.normal(0, 1, SHAPE) + 30.0 * deposit()).astype(np.float32)
    for _ in range(5):
        here = passing.follow(nothing, deposit(), WORK_MM)
        passing.note(np.zeros(SHAPE, np.uint8), nothing, deposit(), WORK_MM)
    assert here is None
