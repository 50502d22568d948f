"""What is told of zones as they are drawn; the page is held to the same cases in tests/browser/test_setup.py."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guidance.drawing import faults, is_convex
from guidance.records import View, Zone, ZoneKind

CASES = json.loads((Path(__file__).parent / "drawing_cases.json").read_text(encoding="utf-8"))
FIELD = np.array([[0.0, 0.0], [100.0, 0.0], [100.0, 80.0], [0.0, 80.0]])


def zone_of(drawn: dict[str, Any]) -> Zone:
    polygon = np.array(drawn["polygon_px"], dtype=np.float64)
    return Zone(drawn["id"], ZoneKind(drawn["kind"]), polygon, View(drawn["view"]))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_every_fault_is_told_in_one_sentence_with_its_place(case: dict[str, Any]) -> None:
    found = faults([zone_of(drawn) for drawn in case["zones"]], 120, 100, FIELD)
    told = [["error" if fault.is_error else "warning", fault.zone, fault.text] for fault in found]
    assert told == [expected[:3] for expected in case["faults"]]
    for fault, (*_, at) in zip(found, case["faults"], strict=True):
        assert (fault.at_px is None) == (at is None)
        assert at is None or fault.at_px == pytest.approx(at, abs=0.5)


def test_errors_come_before_warnings() -> None:
    drawn = [zone_of(CASES[2]["zones"][0]), zone_of(CASES[11]["zones"][0])]
    assert [fault.is_error for fault in faults(drawn, 120, 100)] == [True, False]


@pytest.mark.parametrize(
    ("corners", "convex"),
    [
        ([[0, 0], [9, 0], [9, 9], [0, 9]], True),
        ([[0, 9], [9, 9], [9, 0], [0, 0]], True),
        ([[0, 0], [9, 0], [3, 3], [0, 9]], False),
        ([[0, 0], [9, 9], [9, 0], [0, 9]], False),
        # A pentagram turns one way only, but twice round.
        ([[50, 0], [79, 90], [2, 35], [98, 35], [21, 90]], False),
    ],
)
def test_a_dent_and_a_crossing_are_not_convex(corners: list[list[float]], convex: bool) -> None:
    assert is_convex(np.array(corners, dtype=np.float64)) is convex
