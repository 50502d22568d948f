"""The root campaign: what its trials are, and what one comes to against a truth that is known by construction."""

import json
from dataclasses import asdict, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.casebook.case import FrameTruth, RootTruth, RunLengths
from guidance.evaluation.campaign import STUDIES
from guidance.evaluation.root_study import RootNotes, figures, measure, note_trial, shortfall
from guidance.evaluation.root_trials import root_trial
from guidance.records import Findings, FrameState, NerveRoot, Phase, View
from tests.unit.safety.scenes import PULSE_S, findings

SIZE_RC = (240, 320)
MM_PER_PX = 0.5
LEFT = [(80.0, 40.0), (60.0, 200.0)]
RIGHT = [(200.0, 40.0), (220.0, 200.0)]
Line = list[tuple[float, float]]


def tube(line: Line) -> NDArray[np.uint8]:
    mask = np.zeros(SIZE_RC, np.uint8)
    cv2.polylines(mask, [np.round(line).astype(np.int32)], False, 255, 9)
    return mask


def axis(line: Line) -> tuple[tuple[float, float], ...]:
    x, y = (np.linspace(line[0][k], line[1][k], 50).tolist() for k in (0, 1))
    return tuple(zip(x, y, strict=True))


def told(name: int, *lines: Line) -> NerveRoot:
    rings = [ring for line in lines for ring in cv2.findContours(tube(line), 0, cv2.CHAIN_APPROX_NONE)[0]]
    return NerveRoot(name, tuple(ring[:, 0].astype(np.float64) for ring in rings), np.array(lines[0]), None)


def pulse_of(number: int, roots: tuple[NerveRoot, ...], **filled: Line) -> tuple[Findings, FrameTruth]:
    truth = FrameTruth(
        frame=number,
        t_s=number * PULSE_S,
        pulse=number + 1,
        state=FrameState.LIVE,
        held=False,
        phase=Phase.EPIDUROGRAM,
        view=View.AP,
        shift_px=None,
        rotation_deg=None,
        filled={name: RootTruth(mask=RunLengths.of(tube(line)), line_px=axis(line)) for name, line in filled.items()},
    )
    return replace(findings(number + 1), nerve_roots=roots, t_s=truth.t_s), truth


def notes_of(*roots: NerveRoot, pulses: int = 60, **filled: Line) -> RootNotes:
    trial = replace(root_trial(0, 1), kind="roots")
    return note_trial(trial, [pulse_of(i, roots, **filled) for i in range(pulses)], SIZE_RC, MM_PER_PX)


def test_a_short_campaign_meets_every_look_alike_and_one_to_four_roots_in_both_views() -> None:
    trials = [root_trial(number, 3) for number in range(26)]
    assert root_trial(17, 3) == root_trial(17, 3) != root_trial(17, 4)
    assert {t.scenario.carm.view for t in trials} == set(View)
    assert {t.scenario.video.dose_ur for t in trials} == {0.6, 1.0, 4.0}
    went = {injection.into for t in trials for injection in t.scenario.contrast}
    assert went == {"root", "vein", "tissue", "canal", "layer", "skin"}
    assert {"wire", "gas", "pan", "table", "needle"} < {t.kind for t in trials}
    assert {len(t.scenario.contrast) for t in trials if t.kind in ("roots", "dose")} <= {1, 2, 3, 4}


def test_a_trial_runs_through_the_whole_pipeline() -> None:
    trial = root_trial(0, 9)
    video = trial.scenario.video.model_copy(update={"duration_s": 2.0, "size_px": 256})
    notes = measure(replace(trial, scenario=trial.scenario.model_copy(update={"video": video})))
    assert notes.pulses == 15
    assert notes.later is not None
    assert not notes.false


def test_roots_told_as_they_are_overlap_wholly_and_are_their_own() -> None:
    notes = notes_of(told(1, LEFT), told(2, RIGHT), S1L=LEFT, S1R=RIGHT)
    assert notes.at_end is not None
    assert notes.at_end.dice > 0.95
    assert notes.at_end.line_mm is not None
    assert notes.at_end.line_mm < 0.5
    assert notes.own == {"S1L": True, "S1R": True}
    assert notes.told_s == {"S1L": 0.0, "S1R": 0.0}
    assert not notes.false
    assert shortfall(notes) == ""


def test_of_two_roots_told_as_one_neither_is_told_as_its_own() -> None:
    notes = notes_of(told(1, LEFT, RIGHT), S1L=LEFT, S1R=RIGHT)
    assert notes.own == {"S1L": False, "S1R": False}
    assert "no root of its own" in shortfall(notes)


def test_a_root_told_where_none_is_filled_is_false_from_its_first_pulse() -> None:
    notes = notes_of(told(1, LEFT), told(4, RIGHT), S1L=LEFT)
    assert notes.false == {4: 0.0}
    assert next(f.value for f in figures([notes]) if f.words == "epidurograms with a false root") == 100.0


def test_roots_that_cover_each_other_need_not_be_told_apart() -> None:
    beside = [(x + 2, y) for x, y in LEFT]
    assert notes_of(told(1, LEFT), S1L=LEFT, S1R=beside).own == {}


def test_an_epidurogram_without_a_filled_root_has_no_overlap_to_score() -> None:
    notes = notes_of()
    assert (notes.at_end, notes.later, notes.own) == (None, None, {})


def test_notes_read_back_are_the_notes_that_were_written() -> None:
    notes = notes_of(told(1, LEFT), told(4, RIGHT), S1L=LEFT)
    assert STUDIES["roots"].notes.validate_json(json.dumps(asdict(notes))) == notes
