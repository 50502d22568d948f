"""A campaign short enough for every run of the tests: leaks, quiet procedures and a breach, drawn at random."""

from pathlib import Path

import pytest

from guidance.evaluation.campaign import Campaign, as_table, run_campaign
from guidance.evaluation.leak_study import LeakNotes
from guidance.evaluation.leak_trials import LEAKS
from guidance.records import AlertKind

TRIALS = 9
SEED = 1


@pytest.fixture(scope="module")
def campaign() -> Campaign:
    """The first procedures of one seed: four that leak, four in which nothing does, a breach."""
    return Campaign("leaks", TRIALS, SEED)


@pytest.fixture(scope="module")
def notes(campaign: Campaign, tmp_path_factory: pytest.TempPathFactory) -> list[LeakNotes]:
    file: Path = tmp_path_factory.mktemp("campaign") / "leaks.jsonl"
    return run_campaign(campaign, file, jobs=2)


def test_every_leak_and_every_breach_is_told(notes: list[LeakNotes]) -> None:
    dangers = [danger for trial in notes for danger in trial.dangers]
    assert {danger.kind for danger in dangers} == {AlertKind.CEMENT_IN_ZONE, AlertKind.NEEDLE_IN_ZONE}
    assert all(danger.delay_pulses is not None for danger in dangers)


def test_where_nothing_leaks_no_high_alert_is_raised(notes: list[LeakNotes]) -> None:
    assert [f for trial in notes if trial.kind not in LEAKS for f in trial.false if f.high] == []


def test_its_table_names_each_figure_with_its_bound(campaign: Campaign, notes: list[LeakNotes]) -> None:
    table = as_table(campaign, notes)
    for words in ("leaks told", "false high alerts", "cement Dice", "registration error", "swing noticed"):
        assert words in table
