"""What a trial of the leak campaign comes to, held against a truth that is known by construction."""

import numpy as np
import pytest

from guidance.casebook.case import CaseTruth, FrameTruth, RunLengths
from guidance.evaluation.leak_study import DangerNote, LeakNotes, RunNote, note_trial, setting_lines
from guidance.evaluation.leak_trials import leak_trial
from guidance.records import FrameState, Phase, View
from tests.unit.safety.scenes import MM_PER_PX, PULSE_S, findings

AP, SIDE, MOVES = View.AP, View.LATERAL, None


def frame(number: int, view: View | None) -> FrameTruth:
    return FrameTruth(
        frame=number,
        t_s=number * PULSE_S,
        pulse=number + 1,
        state=FrameState.LIVE,
        held=False,
        phase=Phase.CEMENT,
        view=view,
        shift_px=None,
        rotation_deg=None,
    )


def notes_of(*pulses: tuple[View | None, int]) -> LeakNotes:
    """``pulses``: the true view of each, and the id of the view that was told."""
    truth = CaseTruth(
        schema=1,
        mm_per_px=MM_PER_PX,
        width_px=320,
        height_px=320,
        frames=tuple(frame(i, view) for i, (view, _) in enumerate(pulses)),
    )
    told = [findings(i + 1, view_id=name) for i, (_, name) in enumerate(pulses)]
    return note_trial(leak_trial(7, 1), told, [], truth)


@pytest.mark.parametrize("after", [SIDE, MOVES], ids=["beam off", "beam on"])
def test_a_swing_is_noticed_once_the_old_view_is_no_longer_told(after: View | None) -> None:
    notes = notes_of((AP, 0), (AP, 0), (after, 0), (after, 1), (SIDE, 1))
    assert (notes.swings, notes.returns) == ([2], [])


def test_a_view_is_known_again_once_its_first_id_is_told() -> None:
    notes = notes_of((AP, 0), (SIDE, 1), (SIDE, 1), (AP, 1), (AP, 1), (AP, 0))
    assert (notes.swings, notes.returns) == ([1, 3], [3])


def test_a_c_arm_that_is_rolled_aside_within_its_view_has_not_swung() -> None:
    notes = notes_of((AP, 0), (AP, 0), (MOVES, 0), (MOVES, 0), (AP, 0), (AP, 0))
    assert (notes.swings, notes.returns) == ([], [])


ZONE = "foramen_S1L"
ZONE_PX = ((200.0, 100.0), (240.0, 100.0), (240.0, 140.0), (200.0, 140.0))


def reaching(number: int, x_px: float) -> FrameTruth:
    """Cement 10 px high from the left as far as ``x_px``; the zone begins at 200."""
    cement = np.zeros((320, 320), np.uint8)
    cement[115:125, 20 : round(x_px)] = 255
    return frame(number, AP).model_copy(
        update={
            "zones": {ZONE: ZONE_PX},
            "cement": RunLengths.of(cement > 0),
            "leak_mm2": {ZONE: max(0.0, x_px - 200) * 10 * MM_PER_PX**2},
        }
    )


@pytest.mark.parametrize(("mm_per_s", "can_be_foreseen"), [(4.0, True), (25.0, False)])
def test_a_warning_is_asked_for_before_a_slow_leak_only(mm_per_s: float, can_be_foreseen: bool) -> None:
    pulse_px = mm_per_s * PULSE_S / MM_PER_PX
    truth = CaseTruth(
        schema=1,
        mm_per_px=MM_PER_PX,
        width_px=320,
        height_px=320,
        # It rests a while and then runs: the rest before does not count.
        frames=tuple(reaching(i, 160 + pulse_px * max(0, i - 20)) for i in range(60)),
    )
    (leak,) = note_trial(leak_trial(7, 1), [findings(i + 1) for i in range(60)], [], truth).dangers
    assert leak.mm_per_s == pytest.approx(mm_per_s, rel=0.15)
    assert leak.can_be_foreseen is can_be_foreseen


@pytest.mark.parametrize(("mm_per_s", "is_escape"), [(3.0, False), (12.0, True)])
def test_a_run_is_an_escape_only_where_its_front_was_fast_as_it_came_to_ten_millimetres(
    mm_per_s: float, is_escape: bool
) -> None:
    # It comes fast as far as 6 mm, which does not count.
    lengths_mm = [0.0, 6.0, *(6.0 + mm_per_s * PULSE_S * i for i in range(1, 20))]
    truth = CaseTruth(
        schema=1,
        mm_per_px=MM_PER_PX,
        width_px=320,
        height_px=320,
        frames=tuple(frame(i, AP).model_copy(update={"run_mm": mm}) for i, mm in enumerate(lengths_mm)),
    )
    (run,) = note_trial(leak_trial(4, 1), [findings(i + 1) for i in range(len(lengths_mm))], [], truth).runs
    assert (run.told_s, run.is_escape) == (None, is_escape)


def test_each_event_and_each_dose_has_its_line_of_what_was_told_in_time() -> None:
    leak = DangerNote("cement_in_zone", ZONE, 1.0, delay_pulses=5, warned=True)
    runs = [RunNote(0.2, 12.0), RunNote(None, 12.0), RunNote(None, 2.0)]
    notes = LeakNotes("a trial", "leak vein", 4, dose_ur=0.6, beam_s=60.0, dangers=[leak], runs=runs)
    heading, *lines = setting_lines([notes, LeakNotes("another", "gas", 15, dose_ur=0.6, beam_s=30.0)])
    assert heading.split() == ["trials", "minutes", "leaks", "breaches", "escapes", "false", "high", "false"]
    assert [line.split()[-7:] for line in lines] == [
        ["1", "1.0", "0/1", "-", "1/2", "0", "0"],
        ["1", "0.5", "-", "-", "-", "0", "0"],
        ["2", "1.5", "0/1", "-", "1/2", "0", "0"],
    ]
