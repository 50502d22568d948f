"""Two analyses of the same recordings held against each other."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from guidance.casebook.document import Table
from guidance.casebook.results import ResultsError
from guidance.cli import main
from guidance.evaluation.compare import AlertChange, as_document, as_text, compare
from guidance.records import Alert, AlertKind, AlertState, FrameState, Priority, Registration
from guidance.wire import alert_json, findings_json
from tests.unit.safety.scenes import deposit, findings, needle

Rows = list[dict[str, Any]]
LEAK = Alert(
    1, AlertKind.CEMENT_IN_ZONE, Priority.HIGH, AlertState.RAISED, 2, 0.2, "S1L", None, 4.2, "mm2", "Cement in S1L"
)
NEAR = replace(LEAK, id=2, kind=AlertKind.NEEDLE_NEAR_ZONE, priority=Priority.MEDIUM, needle=1, frame=4, t_s=0.4)


def told() -> Rows:
    """Six frames with a needle and some cement."""
    seen = findings(needles=(needle(20, 30),), cement=(deposit(50, 50, 60, 60),))
    return [findings_json(replace(seen, frame=i, t_s=i / 10, pulse=i)) for i in range(6)]


def write(folder: Path, rows: Rows, alerts: list[Alert], **summary: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "findings.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "alerts.jsonl").write_text("".join(json.dumps(alert_json(alert)) + "\n" for alert in alerts))
    (folder / "summary.json").write_text(json.dumps({"software": "fluoroguide 1", "source": folder.name, **summary}))
    return folder


def differences(tmp_path: Path, change: Callable[[Rows], None]) -> dict[str, tuple[int, float | None, float]]:
    """What differs, on how many frames, by how much at most, and when."""
    other = told()
    change(other)
    comparison = compare(write(tmp_path / "a", told(), []), write(tmp_path / "b", other, []))
    assert comparison.differs == bool(comparison.cases[0].differences)
    return {one.what: (one.frames, one.largest, one.at_s) for one in comparison.cases[0].differences}


def test_the_same_results_of_another_version_from_another_place_are_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = write(tmp_path / "a", told(), [LEAK], software="fluoroguide 1")
    b = write(tmp_path / "b", told(), [LEAK], software="fluoroguide 2")
    assert main(["compare", str(a), str(b)]) == 0
    assert capsys.readouterr().out == "first: fluoroguide 1; second: fluoroguide 2\nthe case: the same\n"


def test_alerts_that_are_gained_lost_and_moved_are_told_with_their_times(tmp_path: Path) -> None:
    escape = replace(LEAK, id=3, kind=AlertKind.CEMENT_ESCAPE, zone=None, t_s=0.5, text="Cement escapes")
    first = write(tmp_path / "a", told(), [LEAK, NEAR])
    second = write(tmp_path / "b", told(), [replace(LEAK, t_s=0.35, frame=3), escape])
    comparison = compare(first, second)
    assert comparison.cases[0].alerts == (
        AlertChange("moved", "Cement in S1L", 0.2, 0.35),
        AlertChange("lost", NEAR.text, 0.4, None),
        AlertChange("gained", "Cement escapes", None, 0.5),
    )
    assert "alert moved: 0.20 s | 0.35 s (later by +0.15 s): Cement in S1L" in as_text(comparison)


def test_alerts_of_one_kind_are_paired_by_their_nearest_times(tmp_path: Path) -> None:
    late = replace(LEAK, id=9, t_s=9.0)
    comparison = compare(write(tmp_path / "a", told(), [LEAK, late]), write(tmp_path / "b", told(), [late]))
    assert comparison.cases[0].alerts == (AlertChange("lost", LEAK.text, LEAK.t_s, None),)


def test_another_number_of_the_needle_is_no_other_alert_but_another_end_is(tmp_path: Path) -> None:
    over = replace(NEAR, state=AlertState.CLEARED, t_s=0.5, active=False)
    first = write(tmp_path / "a", told(), [NEAR, over])
    second = write(tmp_path / "b", told(), [replace(NEAR, needle=4), replace(over, needle=4, t_s=0.6)])
    assert [change.what for change in compare(first, second).cases[0].alerts] == ["ends otherwise"]


def test_needles_are_paired_by_their_tips_and_told_in_pixels_and_degrees(tmp_path: Path) -> None:
    def move(rows: Rows) -> None:
        for i, shift in ((2, 3.0), (3, 4.0)):
            rows[i]["needles"][0]["tip_px"] = [20.0, 30.0 + shift]
        rows[4]["needles"][0]["angle_deg"] = rows[4]["needles"][0]["angle_deg"] - 359.0
        rows[5]["needles"] = []

    found = differences(tmp_path, move)
    assert found["needles, tip"] == (2, 4.0, 0.3)
    assert found["needles, angle"] == (1, pytest.approx(1.0), 0.4)
    assert found["needles, number"] == (1, 1.0, 0.5)


def test_areas_registration_and_state_are_told(tmp_path: Path) -> None:
    def change(rows: Rows) -> None:
        rows[1]["cement"][0]["area_mm2"] += 12.5
        rows[2]["registration"] |= {"shift_px": [3.0, 4.0]}
        rows[3]["registration"] |= {"ok": not rows[3]["registration"]["ok"]}
        rows[4]["state"] = FrameState.HELD.value

    registered = replace(findings(), registration=Registration((0.0, 0.0), 0.0, 1.0, ok=True))
    assert findings_json(registered)["registration"] is not None
    found = differences(tmp_path, change)
    assert found == {
        "cement, area": (1, 12.5, 0.1),
        "registration, shift": (1, 5.0, 0.2),
        "registration, zones watched or not": (1, None, 0.3),
        "state": (1, None, 0.4),
    }


def test_what_has_no_column_is_told_too(tmp_path: Path) -> None:
    def change(rows: Rows) -> None:
        rows[1]["needles"][0]["confidence"] = 0.125

    assert differences(tmp_path, change) == {"other: needles": (1, None, 0.1)}


def test_frames_are_paired_by_their_times_and_those_that_only_one_has_are_told(tmp_path: Path) -> None:
    def skip(rows: Rows) -> None:
        del rows[1], rows[4]
        for number, row in enumerate(rows):
            row |= {"frame": number, "latency_ms": 31.0}

    assert differences(tmp_path, skip) == {"frames only in the first": (2, None, 0.1)}


def test_a_line_that_cannot_be_read_is_a_difference(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", told(), []), write(tmp_path / "b", told(), [])
    text = (b / "findings.jsonl").read_text()
    (b / "findings.jsonl").write_text(text.replace('"frame": 3', '"frame" 3'))
    assert "  second: findings.jsonl: line 4 cannot be read" in as_text(compare(a, b)).splitlines()


def test_two_batches_are_compared_case_by_case_and_a_missing_one_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for batch, names in (("a", ("one", "two", "deep/three")), ("b", ("one", "deep/three", "four"))):
        for name in names:
            write(tmp_path / batch / name, told(), [LEAK] if name == "one" and batch == "a" else [])
    page = tmp_path / "c.html"
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--html", str(page)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines[1:] if not line.startswith(" ")] == [
        "deep/three: the same", "four: differs", "one: differs", "two: differs",
    ]  # fmt: skip
    assert "  missing in the first" in lines
    assert "Missing in the second." in page.read_text(encoding="utf-8")
    table = as_document(compare(tmp_path / "a", tmp_path / "b")).blocks[0]
    assert isinstance(table, Table)
    assert table.rows[2][:4] == ("one", "differs", "0", "1")


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a", told(), [])
    (tmp_path / "b").mkdir()
    with pytest.raises(ResultsError, match=r"b: no findings\.jsonl in it; expected the folder of a replay or a batch"):
        compare(tmp_path / "a", tmp_path / "b")
