"""Where in the procedure a frame lies."""

from guidance.records import Needle, Phase, PhaseMark
from guidance.vision.phase import CEMENT_PULSES, PhaseClock

NEEDLE = (Needle(1, (10.0, 10.0), None, None, 12.0, None, False, 0.9),)


def test_the_plan_decides_where_it_speaks() -> None:
    clock = PhaseClock([PhaseMark(0, Phase.BASELINE), PhaseMark(2, Phase.EPIDUROGRAM), PhaseMark(9, Phase.CEMENT)])
    clock.note(NEEDLE * 3, contrast_seen=True, cement_seen=True)
    assert [clock.at(t) for t in (0.0, 1.9, 2.0, 8.9, 30.0)] == [
        Phase.BASELINE,
        Phase.BASELINE,
        Phase.EPIDUROGRAM,
        Phase.EPIDUROGRAM,
        Phase.CEMENT,
    ]
    assert not clock.is_inferred


def test_without_a_plan_the_phase_follows_what_is_seen() -> None:
    clock = PhaseClock(())
    assert clock.is_inferred
    assert clock.at(0.0) is Phase.BASELINE
    clock.note((), contrast_seen=True, cement_seen=False)
    assert clock.at(1.0) is Phase.EPIDUROGRAM
    for _ in range(3):
        clock.note(NEEDLE, contrast_seen=True, cement_seen=False)
    assert clock.at(2.0) is Phase.NEEDLE
    for _ in range(CEMENT_PULSES):
        clock.note(NEEDLE, contrast_seen=True, cement_seen=True)
    assert clock.at(3.0) is Phase.CEMENT


def test_growth_that_goes_again_as_a_needle_is_driven_is_no_cement_phase() -> None:
    clock = PhaseClock(())
    for k in range(30):
        clock.note(NEEDLE, contrast_seen=True, cement_seen=k % CEMENT_PULSES > 0)
    assert clock.at(4.0) is Phase.NEEDLE


def test_a_needle_seen_once_does_not_move_the_phase_on() -> None:
    clock = PhaseClock(())
    for _ in range(10):
        clock.note(NEEDLE, contrast_seen=False, cement_seen=False)
        clock.note((), contrast_seen=False, cement_seen=False)
    assert clock.at(1.0) is Phase.BASELINE
