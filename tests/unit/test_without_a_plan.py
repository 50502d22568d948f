"""A procedure of which nobody has said anything: no phases, no zones, no scale, no view."""

import pytest

from guidance.casebook.case import FrameTruth
from guidance.casebook.replay import analyse
from guidance.phantom.scenario import Scenario
from guidance.phantom.source import PhantomSource
from guidance.records import Alert, AlertKind, AlertState, CasePlan, Findings, Phase, Priority, ScaleSource
from guidance.settings import Settings

NEEDLE_COMES_S, CEMENT_COMES_S = 2.6, 5.4
PROCEDURE = {
    "title": "Cement follows a root that the epidurogram has filled",
    "may_alarm": True,
    "video": {"duration_s": 8.6},
    "breathing": {"amplitude_mm": 1.0},
    "contrast": [{"root": "S1L", "start_s": 0.8, "washout_s": 3.0}],
    "needles": [
        {
            "target": "ala_L",
            "appears_s": NEEDLE_COMES_S,
            "remaining_mm": 25.0,
            "strokes": [
                {"start_s": 3.0, "end_s": 3.4, "remaining_mm": 12.0},
                {"start_s": 3.9, "end_s": 4.3, "remaining_mm": 0.0},
            ],
        }
    ],
    "cement": [{"ml": 1.4, "start_s": CEMENT_COMES_S, "end_s": 8.6, "leak": "foramen", "leak_after_ml": 0.5}],
}

Watched = list[tuple[Findings, tuple[Alert, ...], FrameTruth]]


@pytest.fixture(scope="module")
def watched() -> Watched:
    """Every frame of the procedure: what was found, which alerts changed, what is true."""
    with PhantomSource(Scenario.model_validate(PROCEDURE), size_px=336, keep_truth=True) as source:
        rows = analyse(source, source.info, CasePlan(), Settings())
        return [(findings, changes, source.truth_of(i)) for i, (_, findings, changes, _) in enumerate(rows)]


def test_phases_are_inferred_in_their_order_and_none_before_its_time(watched: Watched) -> None:
    begins_s: dict[Phase, float] = {}
    for findings, _, _ in watched:
        begins_s.setdefault(findings.phase, findings.t_s)
    assert list(begins_s) == [Phase.BASELINE, Phase.EPIDUROGRAM, Phase.NEEDLE, Phase.CEMENT]
    assert begins_s[Phase.EPIDUROGRAM] >= 0.8
    assert begins_s[Phase.NEEDLE] >= NEEDLE_COMES_S
    assert CEMENT_COMES_S <= begins_s[Phase.CEMENT] <= CEMENT_COMES_S + 1.5


def test_an_inferred_phase_is_never_shown_as_planned(watched: Watched) -> None:
    assert all(findings.phase_inferred for findings, _, _ in watched)


def test_a_needle_that_is_driven_on_is_no_cement(watched: Watched) -> None:
    assert not any(findings.cement for findings, _, _ in watched if findings.t_s < CEMENT_COMES_S)


def test_cement_that_reaches_a_root_is_told_without_any_zone(watched: Watched) -> None:
    raised = [(f.t_s, a) for f, changes, _ in watched for a in changes if a.state is AlertState.RAISED]
    assert AlertKind.CEMENT_NEAR_ROOT in {alert.kind for _, alert in raised}
    in_foramen_s = min(truth.t_s for _, _, truth in watched if truth.leak_mm2["foramen_S1L"] >= 4.0)
    assert min(t_s for t_s, a in raised if a.kind is AlertKind.CEMENT_NEAR_ROOT) <= in_foramen_s + 0.5


def test_no_high_alert_comes_before_cement(watched: Watched) -> None:
    early = [a for f, changes, _ in watched if f.t_s < CEMENT_COMES_S for a in changes]
    assert not [alert for alert in early if alert.priority is Priority.HIGH]


def test_areas_say_that_their_scale_is_the_needles(watched: Watched) -> None:
    with_cement = [findings for findings, _, _ in watched if findings.cement]
    assert with_cement
    assert all(f.scale is not None and f.scale.source is ScaleSource.NEEDLE for f in with_cement)
    before_any_needle = [findings for findings, _, _ in watched if findings.t_s < NEEDLE_COMES_S]
    assert all(root.area_mm2 is None for findings in before_any_needle for root in findings.nerve_roots)
