"""Findings and alerts read back from a folder."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from guidance.casebook.results import Results, ResultsError
from guidance.records import Alert, AlertState
from guidance.wire import FindingsMessage, alert_record, findings_json, findings_record
from tests.unit.casebook.recorded import alert
from tests.unit.safety.scenes import deposit, findings, needle, root

SEEN = replace(
    findings(
        needles=(needle(20, 30),), cement=(deposit(50, 50, 9, 9, growth_mm2_per_s=1.5),), roots=(root(1, 2, 30, 4),)
    ),
    t_s=0.0,
    frame=0,
)


def write(folder: Path, times_s: tuple[float, ...], *alerts: Alert) -> Path:
    rows = [findings_json(replace(SEEN, frame=i, t_s=t_s)) for i, t_s in enumerate(times_s)]
    (folder / "findings.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    changes = [alert_json_of(change) for change in alerts]
    (folder / "alerts.jsonl").write_text("".join(change + "\n" for change in changes))
    return folder


def alert_json_of(change: Alert) -> str:
    fields = {name: getattr(change, name) for name in Alert.__dataclass_fields__}
    return alert(0, 0.0).model_copy(update=fields).model_dump_json()


def test_findings_come_back_from_their_message_as_they_were() -> None:
    again = findings_record(FindingsMessage.model_validate(findings_json(SEEN)))
    assert findings_json(again) == findings_json(SEEN)
    assert again.needles == SEEN.needles
    assert again.scale == SEEN.scale


def test_what_stood_at_a_time_is_the_last_line_at_or_before_it(tmp_path: Path) -> None:
    results = Results(write(tmp_path, (0.5, 0.6, 0.9)))
    told = results.findings_at([0.9, 0.4, 0.6, 0.89, 7.0])
    assert [found and found.t_s for found in told] == [0.9, None, 0.6, 0.6, 0.9]


def test_an_alert_is_active_from_its_raising_until_its_last_change(tmp_path: Path) -> None:
    raised = replace(alert_record(alert(0, 0.2)), t_s=0.2)
    cleared = replace(raised, state=AlertState.CLEARED, t_s=0.4)
    over = replace(raised, state=AlertState.ACKNOWLEDGED, t_s=0.6, active=False)
    results = Results(write(tmp_path, (0.0,), raised, cleared, over))
    states = [[one.state for one in results.active_at(t_s)] for t_s in (0.1, 0.2, 0.5, 0.6)]
    assert states == [[], [AlertState.RAISED], [AlertState.CLEARED], []]


def test_a_last_line_cut_short_is_passed_over_and_a_damaged_one_told(tmp_path: Path) -> None:
    write(tmp_path, (0.0, 0.1, 0.2))
    lines = (tmp_path / "findings.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "findings.jsonl").write_text(lines[0] + "{damaged\n" + lines[1] + lines[2][:40])
    results = Results(tmp_path)
    assert [row["t_s"] for row in results.rows()] == [0.0, 0.1]
    assert results.damage == ["findings.jsonl: line 2 cannot be read"]


def test_a_folder_without_findings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"no findings\.jsonl; expected the folder of a replay or a recorded case"):
        Results(tmp_path)
