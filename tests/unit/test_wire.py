"""Records as the contract's JSON."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pydantic import ValidationError

from guidance.overlay import draw
from guidance.records import Alert, AlertKind, AlertState, FieldKind, FieldOutline, FrameState, Priority
from guidance.wire import (
    FindingsLines,
    FindingsMessage,
    alert_json,
    findings_json,
    findings_message,
    findings_record,
)
from tests.unit.safety.scenes import box, deposit, findings, needle, root

CONTRACT_FIELDS = {
    "frame", "t_s", "state", "phase", "view", "field_px", "registration",
    "needles", "nerve_roots", "cement", "latency_ms",
}  # fmt: skip


def test_findings_carry_every_field_of_the_contract() -> None:
    row = findings_json(findings(cement=(deposit(0, 0, 5, 5),), needles=(needle(1, 2),), roots=(root(0, 0, 9, 4),)))
    assert row.keys() >= CONTRACT_FIELDS
    assert row["needles"][0].keys() >= {
        "id", "tip_px", "shaft_px", "angle_deg", "diameter_px", "depth_share", "predicted", "confidence",
        "tip_hidden",
    }  # fmt: skip
    assert row["nerve_roots"][0].keys() >= {"id", "polygons_px", "centerline_px", "area_mm2"}
    assert row["cement"][0].keys() >= {"id", "polygons_px", "area_mm2"}


def test_a_row_of_findings_reads_back_as_the_same_row() -> None:
    outline = FieldOutline(FieldKind.CIRCLE, box(0, 0, 9, 9), True)
    row = findings_json(replace(findings(), field=outline))
    assert FindingsMessage.model_validate_json(json.dumps(row)).model_dump(mode="json") == row


def test_numbers_are_rounded_to_a_thousandth() -> None:
    row = findings_json(findings(needles=(needle(1.23456, -0.00001),)))
    assert row["needles"][0]["tip_px"] == [1.235, 0.0]
    assert "-0.0" not in json.dumps(row)


def test_what_is_not_a_number_is_refused_and_never_written() -> None:
    with pytest.raises(ValidationError):
        findings_json(findings(needles=(needle(np.nan, 0),)))


@settings(max_examples=100, deadline=None)
@given(
    hnp.arrays(np.float64, st.tuples(st.integers(0, 9), st.just(2)), elements=st.floats(-1e12, 1e12))
    | hnp.arrays(np.int64, st.tuples(st.integers(1, 9), st.just(2)), elements=st.integers(-(10**8), 10**8)).map(
        lambda ten_thousandths: ten_thousandths / 10_000
    )
)
def test_each_number_of_a_polygon_is_rounded_as_a_single_one_is(points: NDArray[np.float64]) -> None:
    expected = [[round(x, 3) + 0.0, round(y, 3) + 0.0] for x, y in points.tolist()]
    outline = FieldOutline(FieldKind.POLYGON, points, True)
    row = findings_json(replace(findings(), field=outline))
    assert row["field_px"]["polygon"] == expected
    row["field_px"]["polygon"] = points.tolist()
    read = FindingsMessage.model_validate_json(json.dumps(row))
    assert read.field_px is not None
    assert [list(point) for point in read.field_px.polygon] == expected


@pytest.mark.parametrize("nowhere", [np.nan, np.inf])
def test_a_polygon_with_a_point_that_is_nowhere_is_refused(nowhere: float) -> None:
    outline = FieldOutline(FieldKind.POLYGON, np.array([[0.0, 1.0], [nowhere, 2.0]]), True)
    with pytest.raises(ValidationError, match="finite"):
        findings_json(replace(findings(), field=outline))


def test_an_alert_is_the_contracts_line() -> None:
    alert = Alert(
        3, AlertKind.CEMENT_IN_ZONE, Priority.HIGH, AlertState.RAISED, 261, 17.4,
        "foramen_S1L", None, 4.2, "mm2", "Cement",
    )  # fmt: skip
    assert alert_json(alert) == {
        "id": 3, "kind": "cement_in_zone", "priority": "high", "state": "raised", "frame": 261, "t_s": 17.4,
        "zone": "foramen_S1L", "needle": None, "value": 4.2, "unit": "mm2", "text": "Cement",
        "technical": False, "root": None, "subject": None, "first_seen_t_s": None, "active": True, "by": None,
        "delay_ms": None,
    }  # fmt: skip


def test_lines_of_repeats_are_those_that_each_frame_has_by_itself() -> None:
    seen = findings(cement=(deposit(0, 0, 5, 5),), needles=(needle(1, 2),), roots=(root(0, 0, 9, 4),))
    told = [
        seen,
        replace(seen, frame=10, t_s=1 / 3),
        replace(seen, frame=11, t_s=2 / 3, state=FrameState.HELD),
        replace(seen, frame=12, t_s=1.0, pulse=seen.pulse + 1),
        replace(seen, frame=13, t_s=1.1, needles=(needle(1, 3),)),
        replace(seen, frame=14, t_s=1.2, needles=()),
        replace(seen, frame=15, t_s=1.3, cement=()),
    ]
    lines = FindingsLines()
    assert [lines.line(each) for each in told] == [
        json.dumps(findings_json(each), ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for each in told
    ]


def test_what_was_told_can_be_drawn_as_it_was_drawn_then() -> None:
    outline = FieldOutline(FieldKind.CIRCLE, box(0, 0, 99, 99), True)
    leaking = replace(deposit(0, 0, 5, 5), front_px=(7.0, 3.0), run_mm=6.5, front_mm_per_s=9.0)
    seen = replace(findings(cement=(leaking,), needles=(needle(40, 40),), roots=(root(0, 0, 9, 4),)), field=outline)
    told = FindingsMessage.model_validate_json(json.dumps(findings_json(seen)))
    assert draw(findings_record(told)) == draw(seen)
    assert findings_message(findings_record(told)) == told
