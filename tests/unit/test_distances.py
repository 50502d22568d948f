"""How far tips and cement are from what they must not reach."""

from dataclasses import replace

import numpy as np
import pytest

from guidance.overlay.distances import cement_distance, distance_words, needle_distance
from guidance.records import (
    CementDeposit,
    Findings,
    Needle,
    NerveRoot,
    PolygonPx,
    Registration,
    Scale,
    ScaleSource,
    Zone,
    ZoneKind,
)
from tests.unit.test_overlay import FINDINGS as PLAIN
from tests.unit.test_overlay import NEEDLE, SQUARE


def shifted(x_px: float, y_px: float) -> PolygonPx:
    return SQUARE + np.array([x_px, y_px])


SCALE = Scale(0.2, ScaleSource.PLAN)
FORAMEN = Zone("foramen_S1L", ZoneKind.FORBIDDEN, SQUARE)
TARGET = Zone("ala_L", ZoneKind.TARGET, shifted(60.0, 0.0))
ROOT = NerveRoot(2, (shifted(300.0, 0.0),), np.array([[420.0, 100.0], [420.0, 140.0]]), None)
FINDINGS = replace(PLAIN, scale=SCALE, zones=(FORAMEN, TARGET), nerve_roots=(ROOT,))


def at(x: float, y: float) -> Needle:
    return replace(NEEDLE, tip_px=(x, y), shaft_px=None)


def words(needle: Needle, findings: Findings = FINDINGS) -> str | None:
    distance = needle_distance(needle, findings)
    return None if distance is None else distance_words(distance, findings.scale)


def test_a_tip_is_told_its_distance_to_the_nearest_forbidden_zone_whatever_lies_between():
    distance = needle_distance(at(170.0, 120.0), FINDINGS)
    assert distance is not None
    assert (distance.from_px, distance.to_px) == ((170.0, 120.0), (140.0, 120.0))
    assert words(at(170.0, 120.0)) == "6.0 mm to foramen S1L"


def test_a_nerve_root_counts_as_a_forbidden_zone_does():
    assert words(at(390.0, 120.0)) == "2.0 mm to root 2"


def test_a_tip_in_a_zone_is_told_how_deep_it_is():
    assert words(at(130.0, 120.0)) == "2.0 mm inside foramen S1L"


def test_nothing_is_told_while_nobody_knows_where_the_zones_lie():
    assert words(at(170.0, 120.0), replace(FINDINGS, registration=None)) is None
    lost = Registration((0.0, 0.0), 0.0, 0.1, ok=False)
    assert words(at(170.0, 120.0), replace(FINDINGS, registration=lost)) is None


def test_without_anything_forbidden_there_is_no_distance():
    assert words(at(170.0, 120.0), replace(FINDINGS, zones=(TARGET,), nerve_roots=())) is None


@pytest.mark.parametrize(
    ("scale", "told"),
    [(None, "30 px to foramen S1L"), (Scale(0.2, ScaleSource.ASSUMED), "≈ 6.0 mm to foramen S1L")],
)
def test_a_scale_that_is_not_known_is_not_passed_off_as_millimetres(scale: Scale | None, told: str):
    assert words(at(170.0, 120.0), replace(FINDINGS, scale=scale)) == told


@pytest.mark.parametrize(("shift_px", "gap_px"), [(90.0, 50.0), (45.0, 5.0), (20.0, 0.0)])
def test_cement_is_measured_from_its_edge_and_is_at_a_place_that_it_has_reached(shift_px: float, gap_px: float):
    distance = cement_distance(CementDeposit(1, (shifted(shift_px, 7.0),), None), FINDINGS)
    assert distance is not None
    assert distance.to == "foramen S1L"
    assert distance.gap_px == pytest.approx(gap_px, abs=0.01)
    if gap_px:
        assert np.hypot(*np.subtract(distance.from_px, distance.to_px)) == pytest.approx(gap_px, abs=0.01)
        assert distance.from_px[0] == pytest.approx(100 + shift_px, abs=0.01)
