"""Campaigns: trials drawn at random, noted, and taken up where they broke off."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from guidance.casebook.case import CaseError
from guidance.evaluation.campaign import STUDIES, Campaign, as_table, run_campaign
from guidance.evaluation.needle_study import NeedleNotes, TipNote, figures, measure, reliability
from guidance.evaluation.trials import Trial, needle_trial
from guidance.records import View


def a_tip(t_s: float, found_id: int | None = 1, error_px: float = 1.0, truth_id: int = 1) -> TipNote:
    tip = TipNote(t_s, truth_id, in_cement=False, shaft_mm=80.0)
    if found_id is not None:
        tip.found_id, tip.error_px, tip.along_mm, tip.aside_mm, tip.turn_deg = found_id, error_px, 0.1, 0.0, 0.1
    return tip


def notes_of(kind: str, *tips: TipNote, pulses: int = 10) -> NeedleNotes:
    return NeedleNotes("a trial", kind, 0, mm_per_px=0.2, pulses=pulses, tips=list(tips))


def value_of(words: str, *trials: NeedleNotes, unit: str | None = None) -> float | None:
    return next(f.value for f in figures(trials) if f.words == words and unit in (None, f.unit))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Trials are only counted, not rendered; gives the numbers of those that were."""
    numbers: list[int] = []

    def count(trial: Trial) -> NeedleNotes:
        numbers.append(trial.number)
        return NeedleNotes(trial.name, trial.kind, trial.number, 0.2)

    monkeypatch.setitem(STUDIES, "needles", replace(STUDIES["needles"], measure=count))
    return numbers


def test_the_same_seed_and_number_draw_the_same_trial() -> None:
    assert needle_trial(17, seed=3) == needle_trial(17, seed=3)
    assert needle_trial(17, seed=3) != needle_trial(17, seed=4)


def test_a_short_campaign_meets_both_views_all_doses_and_every_kind_of_event() -> None:
    trials = [needle_trial(number, seed=5) for number in range(26)]
    assert {trial.scenario.carm.view for trial in trials} == set(View)
    assert {trial.scenario.video.dose_ur for trial in trials} == {0.6, 1.0, 4.0}
    assert {"crossing", "swing", "occlusion", "withdrawal", "end-on", "nothing", "metal"} < {t.kind for t in trials}


def test_a_trial_runs_through_the_whole_pipeline_and_finds_its_needle() -> None:
    trial = needle_trial(0, seed=9)
    video = trial.scenario.video.model_copy(update={"duration_s": 1.2, "dose_ur": 4.0})
    notes = measure(replace(trial, scenario=trial.scenario.model_copy(update={"video": video})))
    assert notes.pulses == 9
    assert sum(tip.found_id is not None for tip in notes.tips) >= 8


def test_a_broken_off_campaign_goes_on_where_it_stopped(tmp_path: Path, counted: list[int]) -> None:
    file = tmp_path / "notes.jsonl"
    run_campaign(Campaign("needles", 2), file, jobs=1)
    with file.open("a") as lines:
        lines.write('{"name": "cut sho')
    notes = run_campaign(Campaign("needles", 4), file, jobs=1)
    assert counted == [0, 1, 2, 3]
    assert [n.number for n in notes] == [0, 1, 2, 3]
    assert len(file.read_text().splitlines()) == 5


def test_the_notes_of_another_campaign_are_refused_by_file_and_line(tmp_path: Path, counted: list[int]) -> None:
    file = tmp_path / "notes.jsonl"
    run_campaign(Campaign("needles", 1, seed=1), file, jobs=1)
    with pytest.raises(CaseError, match=r"notes\.jsonl: line 1: expected .*\"seed\": 2"):
        run_campaign(Campaign("needles", 1, seed=2), file, jobs=1)
    assert counted == [0]


def test_a_damaged_line_is_named(tmp_path: Path, counted: list[int]) -> None:
    file = tmp_path / "notes.jsonl"
    run_campaign(Campaign("needles", 2), file, jobs=1)
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0], "{}", lines[2]]) + "\n")
    with pytest.raises(CaseError, match=r"line 2: .*expected a trial's notes"):
        run_campaign(Campaign("needles", 2), file, jobs=1)


def test_notes_read_back_are_the_notes_that_were_written() -> None:
    notes = notes_of("driving", a_tip(0.0), a_tip(0.1, None))
    assert STUDIES["needles"].notes.validate_json(json.dumps(asdict(notes))) == notes


def test_tip_errors_are_told_in_pixels_and_millimetres() -> None:
    trial = notes_of("still", *(a_tip(i / 7.5, error_px=2.0) for i in range(5)))
    assert value_of("tip error, median", trial, unit="px") == 2.0
    assert value_of("tip error, median", trial, unit="mm") == pytest.approx(0.4)


def test_needles_seen_end_on_have_their_own_share_told_and_error() -> None:
    trial = notes_of("end-on", *(a_tip(i / 7.5, found_id=1 if i % 2 else None, error_px=4.0) for i in range(40)))
    assert value_of("end-on, told", trial) == pytest.approx(50.0)
    assert value_of("end-on, tip error, median", trial) == pytest.approx(0.8)
    assert value_of("missed, 10 mm of shaft in sight", trial) is None


def test_a_needle_that_has_just_come_into_sight_is_not_missed_yet() -> None:
    late = [a_tip(2.0 + i / 7.5, None) for i in range(5)]
    assert value_of("missed, 10 mm of shaft in sight", notes_of("driving", *late)) is None
    from_the_start = [a_tip(i / 7.5, None) for i in range(5)]
    assert value_of("missed, 10 mm of shaft in sight", notes_of("driving", *from_the_start)) == 100.0


def test_two_ids_for_one_needle_or_one_for_two_are_no_kept_identity() -> None:
    words = "identity kept, crossing"
    assert value_of(words, notes_of("crossing", a_tip(0.0, 1), a_tip(0.1, 1))) == 100.0
    assert value_of(words, notes_of("crossing", a_tip(0.0, 1), a_tip(0.1, 2))) == 0.0
    swapped = notes_of("crossing", a_tip(0.0, 1, truth_id=1), a_tip(0.1, 1, truth_id=2))
    assert value_of(words, swapped) == 0.0


def test_reliability_is_the_share_of_right_ones_among_needles_told_alike() -> None:
    told = [(0.92, True)] * 9 + [(0.92, False)]
    assert reliability(told) == [(0.9, 0.95, 10, pytest.approx(0.9), pytest.approx(0.92))]


def test_the_table_names_what_falls_short() -> None:
    trial = notes_of("metal")
    trial.false_at_s = [0.4, 0.5]
    table = as_table(Campaign("needles", 1), [trial])
    assert "false, with clamp, screw, cable" in table
    assert "SHORT" in table
    assert "a trial: false on 2 of 10 pulses (first 0.40 s)" in table
