"""The fit of a needle's confidence: to known odds, and judged on what it was not fitted to."""

import numpy as np
import pytest

from guidance.evaluation.confidence import Candidate, as_table, candidates_of, fit, held_out
from guidance.evaluation.needle_study import reliability
from guidance.evaluation.trials import needle_trial
from guidance.phantom.source import PhantomSource

CONSTANT, WEIGHT = 1.0, -3.0


@pytest.fixture(scope="module")
def drawn() -> list[Candidate]:
    """Candidates whose odds of being right are known: one to a group, one feature that matters and one that doesn't."""
    rng = np.random.default_rng(7)
    features = rng.uniform(0, 1, (3000, 2))
    right = rng.random(3000) < 1 / (1 + np.exp(-(CONSTANT + WEIGHT * features[:, 0])))
    return [
        Candidate((float(a), float(b)), bool(r), f"{i}")
        for i, ((a, b), r) in enumerate(zip(features, right, strict=True))
    ]


def test_the_fit_recovers_the_odds_that_the_candidates_were_drawn_with(drawn: list[Candidate]) -> None:
    constant, matters, does_not = fit(drawn)
    # Three standard errors of 3000 draws, and the ridge's pull towards none.
    assert constant == pytest.approx(CONSTANT, abs=0.3)
    assert matters == pytest.approx(WEIGHT, abs=0.5)
    assert does_not == pytest.approx(0.0, abs=0.4)


def test_of_those_held_out_as_many_are_right_as_the_confidence_says(drawn: list[Candidate]) -> None:
    for _, _, count, right, confidence in reliability(held_out(drawn)):
        assert right == pytest.approx(confidence, abs=4 * (0.25 / count) ** 0.5 + 0.02)


def test_a_trial_of_many_pulses_weighs_no_more_than_a_few(drawn: list[Candidate]) -> None:
    repeated = [Candidate((0.9, 0.5), True, "one trial")] * 3000
    assert fit(drawn + repeated)[1] == pytest.approx(fit(drawn)[1], abs=0.2)


def test_the_candidates_of_a_trial_are_held_against_its_truth() -> None:
    trial = needle_trial(0, seed=9)
    video = trial.scenario.video.model_copy(update={"duration_s": 0.9, "dose_ur": 4.0})
    with PhantomSource(trial.scenario.model_copy(update={"video": video}), seed=trial.seed, keep_truth=True) as source:
        frames = ((frame, source.truth_of(i)) for i, frame in enumerate(source))
        found = candidates_of(trial, source.plan, source.plan.mm_per_px or 1.0, frames)
    assert any(c.is_right for c in found)
    assert len({c.group for c in found}) == 1


def test_the_table_gives_the_weights_to_copy_and_the_reliability(drawn: list[Candidate]) -> None:
    table = as_table(drawn)
    assert "CONSTANT = " in table
    assert "WEIGHTS = (" in table
    assert table.count("%") >= 3


def test_too_few_trials_to_hold_any_out_are_refused() -> None:
    with pytest.raises(ValueError, match=r"1 trials and pictures .* expected at least 5"):
        held_out([Candidate((0.0,), True, "one")])
