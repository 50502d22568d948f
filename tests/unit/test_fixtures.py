"""The fixture cases of the repository, replayed and held to their bounds."""

from pathlib import Path

import pytest

from guidance.evaluation.run import evaluate_case

FOLDER = Path(__file__).parents[2] / "replay_fixtures"
CASES = sorted(path for path in FOLDER.iterdir() if path.is_dir())


def test_there_are_enough_cases_and_they_are_small() -> None:
    assert len(CASES) >= 8
    assert sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()) < 40e6


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_fixture_case_keeps_its_bounds(case: Path) -> None:
    scores = evaluate_case(case)
    assert not scores.shortfalls, [*scores.shortfalls, *scores.false_alert_texts]
