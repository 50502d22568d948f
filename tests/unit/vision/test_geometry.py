"""Rigid motion, against its definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidance.vision.geometry import RigidMotion


def test_a_positive_rotation_turns_counter_clockwise_on_the_screen() -> None:
    turned = RigidMotion(rotation_deg=90.0, centre_px=(100.0, 100.0)).move(np.array([[150.0, 100.0]]))
    # Right of the centre goes to above it, and up is towards smaller y.
    assert turned[0] == pytest.approx([100.0, 50.0])


def test_the_shift_comes_after_the_turn_and_moves_the_centre_itself() -> None:
    motion = RigidMotion((3.0, -2.0), 30.0, (64.0, 48.0))
    assert motion.move(np.array([[64.0, 48.0]]))[0] == pytest.approx([67.0, 46.0])


@given(st.floats(-50, 50), st.floats(-180, 180), st.floats(-50, 50), st.floats(-180, 180))
def test_a_motion_since_an_earlier_one_leads_from_there_to_the_same_place(
    dx: float, turn: float, dy: float, turn_before: float
) -> None:
    before, now = RigidMotion((dy, 3.0), turn_before, (256.0, 200.0)), RigidMotion((dx, dy), turn, (256.0, 200.0))
    points = np.array([[10.0, 20.0], [400.0, 120.0]])
    assert now.since(before).move(before.move(points)) == pytest.approx(now.move(points), abs=1e-6)


@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(-180, 180), st.floats(0, 500), st.floats(0, 500))
def test_moving_back_undoes_moving(dx: float, dy: float, turn: float, x: float, y: float) -> None:
    motion = RigidMotion((dx, dy), turn, (256.0, 200.0))
    point = np.array([[x, y]])
    assert motion.move_back(motion.move(point)) == pytest.approx(point, abs=1e-6)
