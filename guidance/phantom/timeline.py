"""When what happens in a scenario: pulses and video frames, phases, C-arm poses, and how the patient moves."""

from dataclasses import dataclass
from math import cos, pi

import numpy as np
from numpy.typing import NDArray

from guidance.phantom.scenario import Interval, NeedlePath, Pose, Scenario, Swing, TableMove
from guidance.records import FrameState, Phase, PhaseMark

SOON = 1e-9
"""Frame times are multiples of a period: a billionth of a second keeps rounding from losing a pulse."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One video frame. ``pulse``: which x-ray pulse it shows, from 0; -1 before the first.

    ``fresh``: the first frame that shows its pulse. ``pulse_s``: when that pulse was fired.
    """

    frame: int
    t_s: float
    state: FrameState
    pulse: int
    fresh: bool
    pulse_s: float
    screen: Interval | None = None
    """Why the frame is not live, where an interval says so."""


def moments(scenario: Scenario) -> tuple[Moment, ...]:
    """Every video frame of a scenario, in order; times in whole milliseconds, as recordings keep them."""
    video = scenario.video
    out: list[Moment] = []
    pulse, fired, pulse_s = -1, -1, 0.0
    for frame in range(round(video.duration_s * video.video_hz)):
        t = frame / video.video_hz
        interval = _interval(scenario, t)
        state = FrameState.LIVE
        if interval is not None:
            state = interval.state
        elif (swing := swing_at(scenario, t)) is not None and not swing.beam_on:
            state = FrameState.HELD
        due = int(t * video.pulse_hz + SOON)
        fresh = state is FrameState.LIVE and due != fired
        if fresh:
            pulse, fired, pulse_s = pulse + 1, due, t
        out.append(Moment(frame, round(t, 3), state, pulse, fresh, pulse_s, interval))
    return tuple(out)


def swing_at(scenario: Scenario, t_s: float) -> Swing | None:
    """The swing that is under way."""
    return next((s for s in scenario.swings if s.start_s <= t_s + SOON < s.end_s), None)


def pose_at(scenario: Scenario, t_s: float) -> Pose:
    """Where the C-arm stands, or where it last stood while it swings."""
    done = [s for s in scenario.swings if s.end_s <= t_s + SOON]
    return max(done, key=lambda s: s.end_s) if done else scenario.carm


def swinging_share(swing: Swing, t_s: float) -> float:
    """How far a swing has come, 0 to 1, starting and stopping gently."""
    return _ease((t_s - swing.start_s) / (swing.end_s - swing.start_s))


def body_shift_mm(scenario: Scenario, t_s: float) -> NDArray[np.float64]:
    """How far breathing and the table have carried the patient, shape (3,), left, posterior, superior."""
    shift = _breath(scenario, t_s) * scenario.breathing.amplitude_mm * np.array([0.0, 0.35, -1.0])
    for move in scenario.table:
        shift += _moved_share(move, t_s) * np.array(move.shift_mm)
    return np.asarray(shift)


def turned_deg(scenario: Scenario, t_s: float) -> float:
    """How far breathing and the table have turned the anatomy in the picture, counter-clockwise."""
    nod_deg = _breath(scenario, t_s) * scenario.breathing.nod_deg
    return nod_deg + sum(_moved_share(move, t_s) * move.turn_deg for move in scenario.table)


def remaining_mm(needle: NeedlePath, t_s: float) -> float:
    """What is left of a needle's way to its target."""
    left = needle.remaining_mm
    for stroke in sorted(needle.strokes, key=lambda s: s.start_s):
        share = min(max((t_s - stroke.start_s) / (stroke.end_s - stroke.start_s), 0.0), 1.0)
        left += share * (stroke.remaining_mm - left)
    return left


def injected_ml(start_s: float, end_s: float, ml: float, t_s: float) -> float:
    """What has been injected so far, at an even rate."""
    return ml * min(max((t_s - start_s) / (end_s - start_s), 0.0), 1.0)


def phases(scenario: Scenario) -> tuple[PhaseMark, ...]:
    """The procedure's phases, each beginning with its first act."""
    firsts = {
        Phase.EPIDUROGRAM: [c.start_s for c in scenario.contrast],
        Phase.NEEDLE: [n.strokes[0].start_s if n.strokes else n.appears_s for n in scenario.needles],
        Phase.CEMENT: [c.start_s for c in scenario.cement],
    }
    marks = [PhaseMark(min(times), phase) for phase, times in firsts.items() if times]
    marks.sort(key=lambda mark: mark.at_s)
    if marks and marks[0].at_s <= 0:
        return tuple(marks)
    return (PhaseMark(0.0, Phase.BASELINE), *marks)


def phase_at(marks: tuple[PhaseMark, ...], t_s: float) -> Phase:
    """The phase under way."""
    return next(mark.phase for mark in reversed(marks) if mark.at_s <= t_s + SOON)


def _interval(scenario: Scenario, t_s: float) -> Interval | None:
    # A lost signal hides everything else, and a frozen source hides whether the beam is on.
    worst = {FrameState.NO_SIGNAL: 0, FrameState.FROZEN: 1, FrameState.HELD: 2}
    under_way = [i for i in scenario.intervals if i.start_s <= t_s + SOON < i.end_s]
    return min(under_way, key=lambda i: worst[i.state], default=None)


def _breath(scenario: Scenario, t_s: float) -> float:
    """0 at rest (end of expiration, where a breath dwells), 1 at full inspiration."""
    return ((1 - cos(2 * pi * t_s * scenario.breathing.per_minute / 60)) / 2) ** 2


def _moved_share(move: TableMove, t_s: float) -> float:
    return _ease((t_s - move.start_s) / (move.end_s - move.start_s))


def _ease(share: float) -> float:
    s = min(max(share, 0.0), 1.0)
    return s * s * (3 - 2 * s)
