"""What people say of alerts is kept whole, never changed, and the last word counts."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from guidance.casebook.judgements import JudgementError, Said, Verdict, judge, judgements, standing
from guidance.casebook.recorder import JUDGEMENTS
from guidance.records import AlertKind

RIGHT = Said(alert=3, t_s=10.4, verdict=Verdict.RIGHT, note="seen by eye")
MISSED = Said(t_s=7.25, verdict=Verdict.MISSED, kind=AlertKind.CEMENT_IN_ZONE, zone="foramen_S1L")


def test_what_is_said_reads_back_with_who_said_it_and_when(tmp_path: Path) -> None:
    kept = judge(tmp_path, RIGHT, "ito")
    assert (kept.by, kept.verdict, kept.note) == ("ito", Verdict.RIGHT, "seen by eye")
    assert judgements(tmp_path) == ((kept,), ())


def test_a_case_that_nobody_has_judged_has_no_judgements(tmp_path: Path) -> None:
    assert judgements(tmp_path) == ((), ())


def test_of_the_same_alert_the_last_word_counts_and_the_first_stays_in_the_file(tmp_path: Path) -> None:
    judge(tmp_path, RIGHT, "ito")
    judge(tmp_path, RIGHT.model_copy(update={"verdict": Verdict.WRONG}), "sato")
    said, _ = judgements(tmp_path)
    assert [one.verdict for one in said] == [Verdict.RIGHT, Verdict.WRONG]
    assert [(one.verdict, one.by) for one in standing(said)] == [(Verdict.WRONG, "sato")]


def test_two_missed_ones_stand_beside_each_other_and_one_can_be_withdrawn(tmp_path: Path) -> None:
    judge(tmp_path, MISSED, "ito")
    judge(tmp_path, MISSED.model_copy(update={"t_s": 9.0}), "ito")
    judge(tmp_path, MISSED.model_copy(update={"withdrawn": True}), "ito")
    assert [one.t_s for one in standing(judgements(tmp_path)[0])] == [9.0]


def test_a_line_torn_by_a_crash_is_told_of_and_swallows_no_other(tmp_path: Path) -> None:
    judge(tmp_path, RIGHT, "ito")
    with (tmp_path / JUDGEMENTS).open("ab") as file:
        file.write(b'{"alert": 4, "t_s"')
    judge(tmp_path, MISSED, "ito")
    said, faults = judgements(tmp_path)
    assert [one.verdict for one in said] == [Verdict.RIGHT, Verdict.MISSED]
    assert faults == (f"line 2 of {JUDGEMENTS} cannot be read",)


@pytest.mark.parametrize(
    "row",
    [
        {"t_s": 1.0, "verdict": "right"},
        {"t_s": 1.0, "verdict": "missed"},
        {"alert": 1, "t_s": 1.0, "verdict": "missed", "kind": "cement_in_zone"},
        {"alert": 1, "t_s": 1.0, "verdict": "right", "kind": "cement_in_zone"},
        {"alert": 1, "t_s": -1.0, "verdict": "right"},
        {"alert": 1, "t_s": 1.0, "verdict": "perhaps"},
        {"alert": 1, "t_s": 1.0, "verdict": "right", "surgeon": "x"},
    ],
)
def test_what_is_about_nothing_or_not_known_is_refused(row: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Said.model_validate(row)


def test_a_folder_that_is_gone_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(JudgementError, match="cannot be written"):
        judge(tmp_path / "gone", RIGHT, "ito")
