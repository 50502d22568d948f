"""Pictures of a case's worst frames: what was found in its colours, what is true in white."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from drivers.frame import Frame
from guidance.casebook.case import CaseTruth, FrameTruth, RunLengths
from guidance.casebook.document import Picture, picture_of
from guidance.evaluation.alerts import ALARM_DUE_PULSES, AlertScore, Danger, first_dangers
from guidance.evaluation.score import PulseScore
from guidance.overlay import Stroke, StrokeKind, draw, paint
from guidance.records import Alert, AlertState, Findings
from guidance.safety.limits import Limits

MOST_FALSE_ALERTS = 5
"""So many false alerts of a case have a picture: a hundred of one kind look alike."""

CROSS_SHARE = 0.03
"""Half the length of the cross on a true tip, of the picture's height."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """``badness``: the larger, the worse; None or 0 where there is nothing to show. ``words`` tell it."""

    badness: Callable[[PulseScore], float | None]
    words: Callable[[PulseScore], str]


CRITERIA = (
    Criterion(lambda pulse: pulse.tip_mm, lambda pulse: f"largest tip error, {pulse.tip_mm:.2f} mm"),
    Criterion(lambda pulse: pulse.missed, lambda pulse: f"needles missed: {pulse.missed}"),
    Criterion(lambda pulse: pulse.false, lambda pulse: f"false needles: {pulse.false}"),
    Criterion(
        lambda pulse: None if pulse.dice_cement is None else 1 - pulse.dice_cement,
        lambda pulse: f"least overlap of cement, Dice {pulse.dice_cement:.2f}",
    ),
    Criterion(
        lambda pulse: None if pulse.dice_roots is None else 1 - pulse.dice_roots,
        lambda pulse: f"least overlap of nerve roots, Dice {pulse.dice_roots:.2f}",
    ),
    Criterion(
        lambda pulse: pulse.registration_mm,
        lambda pulse: f"largest error of registration, {pulse.registration_mm:.2f} mm",
    ),
)


@dataclass(frozen=True, slots=True, eq=False)
class _Shot:
    frame: Frame
    findings: Findings
    alerts: tuple[Alert, ...]


class WorstFrames:
    """Keeps the frames of one case that may be worth a look, and draws them: ``begin``, ``note`` each frame, ``end``.

    One for each criterion; one for each danger that was never told, when it was due; and the first false alerts.
    """

    def __init__(self) -> None:
        self._worst: dict[int, tuple[float, PulseScore, _Shot]] = {}
        self._raised: list[tuple[Alert, _Shot]] = []
        self._due: dict[int, list[Danger]] = {}
        self._at_due: dict[Danger, _Shot] = {}
        self._captions: dict[int, list[str]] = {}
        self._shots: dict[int, _Shot] = {}

    def begin(self, truth: CaseTruth, limits: Limits) -> None:
        """Of the case that follows."""
        self._truth = truth
        for danger, first in first_dangers(truth, limits).items():
            due = max(f.frame for f in truth.frames if f.pulse <= truth.frames[first].pulse + ALARM_DUE_PULSES)
            self._due.setdefault(due, []).append(danger)

    def note(
        self,
        frame: Frame,
        findings: Findings,
        active: tuple[Alert, ...],
        changes: Sequence[Alert],
        pulse: PulseScore | None,
    ) -> None:
        """One frame with what was found, and how well: ``pulse``, None where it was no new one."""
        shot = _Shot(frame, findings, active)
        self._raised += [(change, shot) for change in changes if change.state is AlertState.RAISED]
        self._at_due |= dict.fromkeys(self._due.get(findings.frame, []), shot)
        if pulse is None:
            return
        for i, criterion in enumerate(CRITERIA):
            badness = criterion.badness(pulse)
            if badness and (i not in self._worst or badness > self._worst[i][0]):
                self._worst[i] = badness, pulse, shot

    def end(self, alerts: AlertScore) -> None:
        """The case is over, and this is how its alerts were scored."""
        for danger, delay in alerts.delays_pulses.items():
            if delay is None and danger in self._at_due:
                kind, zone = danger
                self._caption(self._at_due[danger], f"never told: {kind}{'' if zone is None else f' {zone}'}")
        false = [(alert, shot) for alert, shot in self._raised if alert in alerts.false]
        for alert, shot in false[:MOST_FALSE_ALERTS]:
            self._caption(shot, f"false alert: {alert.text}")
        for i, (_, pulse, shot) in sorted(self._worst.items()):
            self._caption(shot, CRITERIA[i].words(pulse))

    def pictures(self) -> tuple[Picture, ...]:
        """A picture for each of those frames, with all that is wrong on it."""
        return tuple(self._picture(shot, self._captions[number]) for number, shot in self._shots.items())

    def _caption(self, shot: _Shot, words: str) -> None:
        self._shots[shot.findings.frame] = shot
        self._captions.setdefault(shot.findings.frame, []).append(words)

    def _picture(self, shot: _Shot, captions: Sequence[str]) -> Picture:
        findings = shot.findings
        truth = self._truth.frames[findings.frame]
        strokes = (*draw(findings, shot.alerts), *truth_strokes(truth, CROSS_SHARE * self._truth.height_px))
        page = paint(shot.frame.pixels, strokes, findings, shot.alerts, shot.frame.bits)
        return picture_of(page, f"{findings.t_s:.1f} s, frame {findings.frame}: {'; '.join(captions)}")


def truth_strokes(truth: FrameTruth, cross_px: float) -> tuple[Stroke, ...]:
    """What is true of a frame, to be drawn over it: zones, roots, cement, and a cross on each visible tip.

    ``cross_px``: half the cross's length. It is open in the middle, so that the tip itself is seen.
    """
    outlines = [tuple(zone) for zone in truth.zones.values()]
    outlines += [ring for mask in (truth.roots, truth.cement) if mask is not None for ring in _rings(mask)]
    strokes = [Stroke(StrokeKind.POLYGON, ring, "truth") for ring in outlines]
    for tip in truth.tips:
        if tip.visible:
            x, y = tip.tip_px
            for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                arm = tuple((x + dx * length_px, y + dy * length_px) for length_px in (cross_px / 3, cross_px))
                strokes.append(Stroke(StrokeKind.POLYLINE, arm, "true_tip"))
    return tuple(strokes)


def _rings(mask: RunLengths) -> Iterator[tuple[tuple[float, float], ...]]:
    contours, _ = cv2.findContours(mask.mask(), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    for contour in contours:
        points = np.asarray(contour, dtype=np.float64).reshape(-1, 2)
        yield tuple((x, y) for x, y in points.tolist())
