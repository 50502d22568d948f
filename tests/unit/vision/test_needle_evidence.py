"""What along a shaft speaks for steel and what against it."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from guidance.vision.needle_evidence import Evidence
from guidance.vision.needle_shaft import Shaft, rows_alone

WIDTH, CONTRAST, LENGTH = 8.0, 0.6, 120
STEEL = Evidence(
    contrast=0.7, lengths=18.0, fill=1.0, unbroken=1.0, rough=0.0, wobble=0.02, bent=0.0, uneven=0.05, lopsided=0.03
)


def shaft(
    centres: float | NDArray[np.float64] = 0.0,
    widths: float | NDArray[np.float64] = WIDTH,
    flanks: tuple[float, float] = (0.5, 0.5),
    y: float = 100.0,
    first: int = 0,
) -> Shaft:
    """A shaft along +x at height ``y``, dark by CONTRAST above its darker flank."""
    sections = np.zeros((LENGTH, 5), np.float32)
    sections[:, 0], sections[:, 1], sections[:, 2] = centres, widths, CONTRAST
    sections[:, 3], sections[:, 4] = max(flanks) + CONTRAST, sum(flanks) / 2
    return Shaft.of(sections, np.array([50.0, y, 1.0, 0.0, first, LENGTH - 1, WIDTH, CONTRAST, 0, 2]))


def of(shaft: Shaft, others: Sequence[Shaft] = ()) -> Evidence:
    return Evidence.of(shaft, rows_alone([shaft, *others])[0])


def test_straight_steel_of_one_width_is_almost_certainly_a_needle() -> None:
    evidence = of(shaft())
    assert evidence.may_be_steel
    assert evidence.confidence > 0.94


def test_a_bones_edge_with_bone_on_one_side_is_lopsided() -> None:
    assert of(shaft(flanks=(0.5, 0.5))).lopsided == pytest.approx(0.0, abs=1e-6)
    assert of(shaft(flanks=(0.2, 0.5))).lopsided == pytest.approx(0.5, abs=1e-6)


def test_a_cable_is_bent_and_a_shaft_whose_centres_noise_moves_is_not() -> None:
    rng = np.random.default_rng(1)
    along = np.linspace(-1.0, 1.0, LENGTH)
    assert not of(shaft(centres=8.0 * along**2)).may_be_steel
    assert of(shaft(centres=rng.normal(0.0, 0.3, LENGTH))).bent == 0.0


def test_rows_where_another_shaft_lies_alongside_say_nothing() -> None:
    centres = np.zeros(LENGTH)
    centres[60:] = np.where(np.arange(60) % 11 < 5, 2.0, -2.0)
    ragged = shaft(centres=centres)
    other, far = shaft(y=104.0, first=55), shaft(y=140.0, first=55)
    assert of(ragged, [other]).rough == 0.0
    assert of(ragged, [far]).rough > 0.0


def test_a_shaft_that_another_hides_here_and_there_is_not_broken_but_one_that_fades_is() -> None:
    hidden, faded = shaft(), shaft()
    hidden.sections[20:100, :2] = faded.sections[20:100, :2] = np.nan
    # Dark against the side where no other shaft lies, and against neither.
    hidden.sections[20:100, 2], hidden.sections[20:100, 4] = 0.05, hidden.sections[20:100, 3] - 0.4
    faded.sections[20:100, 2], faded.sections[20:100, 4] = 0.05, faded.sections[20:100, 3] - 0.05
    assert of(hidden).may_be_steel
    assert not of(faded).may_be_steel


@pytest.mark.parametrize(
    "against",
    [
        {"contrast": 0.3},
        {"lengths": 4.0},
        {"fill": 0.6},
        {"rough": 0.05},
        {"wobble": 0.15},
        {"uneven": 0.28},
        {"lopsided": 0.4},
        {"back_is_free": True},
        {"back_is_dark": True},
    ],
)
def test_confidence_falls_with_all_that_speaks_against_steel(against: dict[str, float]) -> None:
    assert replace(STEEL, **against).confidence < STEEL.confidence
