"""What people have said of a case's alerts becomes the truth that ``evaluate`` holds the software to."""

from pathlib import Path

import pytest

from guidance.casebook.archive import ArchivedCase
from guidance.casebook.case import read_case
from guidance.casebook.judged_truth import NotJudgedError, write_judged_case
from guidance.casebook.judgements import Said, Verdict, judge
from guidance.cli import main
from guidance.evaluation.run import evaluate_case
from guidance.records import AlertKind, AlertState
from tests.unit.casebook.analysed import record_analysed


def judged(case: ArchivedCase, verdicts: dict[AlertKind, Verdict]) -> None:
    """Everything is right but for these."""
    for alert in case.alerts:
        if alert.state is AlertState.RAISED:
            verdict = verdicts.get(AlertKind(alert.kind), Verdict.RIGHT)
            judge(case.folder, Said(alert=alert.id, t_s=alert.t_s, verdict=verdict), "ito")


def test_a_case_whose_alerts_were_right_is_passed_by_the_software_that_raised_them(tmp_path: Path) -> None:
    with ArchivedCase(record_analysed(tmp_path)) as case:
        judged(case, {})
        raised_s = next(a.t_s for a in case.alerts if a.kind is AlertKind.CEMENT_IN_ZONE)
        truth = write_judged_case(case, tmp_path / "case")
    leaking = [frame for frame in truth.frames if frame.leak_mm2.get("foramen_S1L", 0.0) >= 4.0]
    assert leaking[0].t_s == pytest.approx(raised_s, abs=0.5)
    assert leaking[-1].frame == len(truth.frames) - 1, "cement stays where it is"
    assert any(frame.escape for frame in truth.frames)
    scores = evaluate_case(tmp_path / "case")
    assert scores.shortfalls == []
    assert (scores.leaks_found_share, scores.escapes_found_share, scores.false_high_alerts) == (1.0, 1.0, 0.0)
    assert "4 right" in (tmp_path / "case" / "SOURCE.md").read_text()


def test_an_alert_that_was_wrong_and_one_that_was_missed_are_shortfalls(tmp_path: Path) -> None:
    with ArchivedCase(record_analysed(tmp_path)) as case:
        judged(case, {AlertKind.CEMENT_IN_ZONE: Verdict.WRONG})
        missed = Said(t_s=9.0, verdict=Verdict.MISSED, kind=AlertKind.CEMENT_IN_ZONE, zone="foramen_S2R")
        judge(case.folder, missed, "ito")
        write_judged_case(case, tmp_path / "case")
    assert read_case(tmp_path / "case").truth.frames[-1].leak_mm2 == {"foramen_S2R": 4.0}
    shortfalls = " ".join(evaluate_case(tmp_path / "case").shortfalls)
    assert "leaks_found_share 0" in shortfalls
    assert "false_high_alerts 1" in shortfalls


def test_of_a_case_that_is_judged_in_part_nobody_knows_what_is_true(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = record_analysed(tmp_path)
    with ArchivedCase(folder) as case, pytest.raises(NotJudgedError, match="not judged yet: alert 1, 2, 3, 4"):
        write_judged_case(case, tmp_path / "case")
    assert main(["labels", str(folder), "--truth", str(tmp_path / "case")]) == 2
    assert "not judged yet" in capsys.readouterr().err
    assert not (tmp_path / "case").exists()


def test_labels_are_written_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = record_analysed(tmp_path)
    assert main(["labels", str(folder), "--coco", str(tmp_path / "labels.zip")]) == 0
    assert (tmp_path / "labels.zip").stat().st_size > 0
    assert main(["labels", str(folder)]) == 2
    assert "expected --coco FILE" in capsys.readouterr().err
