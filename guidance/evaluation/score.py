"""A replay held against the truth of its case: the figures of one case.

Only new pulses count for needles, roots, cement and registration: a repeated picture repeats its findings and would
weigh a slow pulse rate more than a fast one. States count on every frame.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.casebook.case import CaseTruth, FrameTruth
from guidance.evaluation.alerts import AlertScore, score_alerts
from guidance.records import Alert, AlertKind, Findings, FrameState, PolygonPx, Registration
from guidance.safety.limits import Limits
from guidance.vision.geometry import RigidMotion

MATCH_MM = 10.0
"""A found tip farther than this from every true one is a false needle."""

CEMENT_FROM_MM2 = 10.0
"""Overlap is scored from this much cement on: of less, the edge is all there is."""

Mask = NDArray[np.uint8]


@dataclass(slots=True)
class Scores:
    """The figures of one case; None where the case has nothing to measure it on."""

    name: str
    frames: int = 0
    pulses: int = 0
    beam_s: float = 0.0
    tip_median_px: float | None = None
    tip_p95_mm: float | None = None
    missed_share: float | None = None
    false_needles_per_frame: float | None = None
    dice_roots: float | None = None
    dice_cement: float | None = None
    registration_median_mm: float | None = None
    state_accuracy: float | None = None
    leaks_found_share: float | None = None
    leak_delay_frames: float | None = None
    breaches_found_share: float | None = None
    escapes_found_share: float | None = None
    false_high_alerts: float | None = None
    false_alerts: float | None = None
    false_alerts_per_hour: float | None = None
    false_alert_texts: list[str] = field(default_factory=list)
    shortfalls: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PulseScore:
    """How well one pulse was seen; None where the truth has nothing to hold it against.

    ``tip_mm``: the largest error of the tips that were found. ``missed`` and ``false``: how many needles.
    """

    tip_mm: float | None
    missed: int
    false: int
    dice_cement: float | None
    dice_roots: float | None
    registration_mm: float | None


@dataclass(slots=True)
class Scorer:
    """Collects one case's figures frame by frame. ``pulse``: the last frame's own, None where it was no new pulse."""

    name: str
    truth: CaseTruth
    limits: Limits
    pulse: PulseScore | None = None
    _scores: Scores = field(init=False)
    _tip_px: list[float] = field(default_factory=list)
    _tips: int = 0
    _false_tips: int = 0
    _dice_cement: list[float] = field(default_factory=list)
    _dice_roots: list[float] = field(default_factory=list)
    _registration_mm: list[float] = field(default_factory=list)
    _states_right: int = 0
    _last_pulse: int = 0
    _last_live_s: float | None = None
    _changes: list[Alert] = field(default_factory=list)
    alerts: AlertScore = field(init=False)
    """Known once the result has been asked for."""

    def __post_init__(self) -> None:
        self._scores = Scores(self.name)

    def note(self, findings: Findings, changes: Sequence[Alert]) -> None:
        """Hold one frame's findings against its truth."""
        if findings.frame >= len(self.truth.frames):
            raise ValueError(
                f"{self.name}: frame {findings.frame} has no truth; expected {len(self.truth.frames)} frames"
            )
        truth = self.truth.frames[findings.frame]
        self._changes += changes
        self._states_right += findings.state is truth.state
        self._scores.frames += 1
        self.pulse = None
        if findings.state is FrameState.LIVE and findings.pulse != self._last_pulse:
            self._last_pulse = findings.pulse
            self._note_pulse(findings, truth)

    def result(self) -> Scores:
        """The case's figures."""
        s, mm = self._scores, self.truth.mm_per_px
        s.pulses = self._last_pulse
        if s.frames != len(self.truth.frames):
            s.shortfalls.append(f"{s.frames} frames replayed of {len(self.truth.frames)}")
        s.beam_s = self._beam_s()
        if self._tip_px:
            s.tip_median_px = float(np.median(self._tip_px))
            s.tip_p95_mm = float(np.percentile(self._tip_px, 95)) * mm
        if self._tips:
            s.missed_share = 1.0 - len(self._tip_px) / self._tips
        if s.pulses:
            s.false_needles_per_frame = self._false_tips / s.pulses
        if s.frames:
            s.state_accuracy = self._states_right / s.frames
        s.dice_cement = _median(self._dice_cement)
        # The roadmap is scored as it stands once the injection is over.
        s.dice_roots = self._dice_roots[-1] if self._dice_roots else None
        s.registration_median_mm = _median(self._registration_mm)
        self.alerts = score_alerts(self._changes, self.truth, self.limits)
        self._add_alerts(self.alerts)
        return s

    def _note_pulse(self, findings: Findings, truth: FrameTruth) -> None:
        tip_mm, missed, false = self._note_needles(findings, truth)
        dice_cement, dice_roots = self._note_masks(findings, truth)
        registration_mm = self._note_registration(findings, truth)
        self.pulse = PulseScore(tip_mm, missed, false, dice_cement, dice_roots, registration_mm)

    def _note_needles(self, findings: Findings, truth: FrameTruth) -> tuple[float | None, int, int]:
        if truth.view is None:
            # While the C-arm swings the truth names no tips: what is found is neither right nor wrong.
            return None, 0, 0
        found = [n.tip_px for n in findings.needles if not n.predicted]
        real = [tip.tip_px for tip in truth.tips if tip.visible]
        hidden = [tip.tip_px for tip in truth.tips if not tip.visible]
        pairs = match_points(found, real, MATCH_MM / self.truth.mm_per_px)
        errors_px = [distance for _, _, distance in pairs]
        self._tips += len(real)
        self._tip_px += errors_px
        # A needle whose tip is out of sight may be shown or not: neither is right or wrong.
        spare = [p for i, p in enumerate(found) if i not in {i for i, _, _ in pairs}]
        false = len(spare) - len(match_points(spare, hidden, np.inf))
        self._false_tips += false
        tip_mm = max(errors_px) * self.truth.mm_per_px if errors_px else None
        return tip_mm, len(real) - len(pairs), false

    def _note_masks(self, findings: Findings, truth: FrameTruth) -> tuple[float | None, float | None]:
        size = (self.truth.height_px, self.truth.width_px)
        dice_cement = dice_roots = None
        if truth.cement is not None and truth.cement_mm2 >= CEMENT_FROM_MM2:
            rings = [ring for deposit in findings.cement for ring in deposit.polygons_px]
            dice_cement = dice(fill(rings, size), truth.cement.mask())
            self._dice_cement.append(dice_cement)
        if truth.roots is not None:
            rings = [ring for root in findings.nerve_roots for ring in root.polygons_px]
            dice_roots = dice(fill(rings, size), truth.roots.mask())
            self._dice_roots.append(dice_roots)
        return dice_cement, dice_roots

    def _note_registration(self, findings: Findings, truth: FrameTruth) -> float | None:
        if findings.registration is None or not findings.registration.ok:
            return None
        error_mm = registration_error_mm(findings.registration, truth, self.truth)
        self._registration_mm += [] if error_mm is None else [error_mm]
        return error_mm

    def _beam_s(self) -> float:
        """How long the beam was on: the time of all frames that are live in truth."""
        frames = self.truth.frames
        return sum(after.t_s - frame.t_s for frame, after in pairwise(frames) if frame.state is FrameState.LIVE)

    def _add_alerts(self, alerts: AlertScore) -> None:
        s = self._scores
        leaks = alerts.delays_of(AlertKind.CEMENT_IN_ZONE)
        s.leaks_found_share = _found_share(leaks)
        s.leak_delay_frames = max((delay for delay in leaks if delay is not None), default=None)
        s.breaches_found_share = _found_share(alerts.delays_of(AlertKind.NEEDLE_IN_ZONE))
        s.escapes_found_share = _found_share(alerts.delays_of(AlertKind.CEMENT_ESCAPE))
        s.false_high_alerts = float(sum(alert.priority.value == "high" for alert in alerts.false))
        s.false_alerts = float(len(alerts.false))
        s.false_alert_texts = [f"{alert.t_s:.1f} s: {alert.kind}: {alert.text}" for alert in alerts.false]
        if s.beam_s > 0:
            s.false_alerts_per_hour = len(alerts.false) * 3600 / s.beam_s


def registration_error_mm(registration: Registration, truth: FrameTruth, case: CaseTruth) -> float | None:
    """How far the told motion carries the anatomy from where it is; None where the truth has no motion."""
    if truth.shift_px is None or truth.rotation_deg is None:
        return None
    w, h = case.width_px, case.height_px
    centre = ((w - 1) / 2, (h - 1) / 2)
    # Points over the middle of the frame: rotation shows where anatomy is, not in the far corners.
    points = np.array([[x * w, y * h] for x in (0.3, 0.5, 0.7) for y in (0.3, 0.5, 0.7)])
    real = RigidMotion(truth.shift_px, truth.rotation_deg, centre).move(points)
    told = RigidMotion.of(registration, centre).move(points)
    return float(np.hypot(*(told - real).T).mean()) * case.mm_per_px


def match_points(
    found: Sequence[tuple[float, float]], real: Sequence[tuple[float, float]], within_px: float
) -> list[tuple[int, int, float]]:
    """Pairs (index found, index real, distance), nearest first, each point used once."""
    distances = sorted(
        (float(np.hypot(f[0] - r[0], f[1] - r[1])), i, j) for i, f in enumerate(found) for j, r in enumerate(real)
    )
    pairs: list[tuple[int, int, float]] = []
    for distance, i, j in distances:
        taken = any(i == a or j == b for a, b, _ in pairs)
        if distance <= within_px and not taken:
            pairs.append((i, j, distance))
    return pairs


def dice(a: Mask, b: Mask) -> float:
    """Overlap of two masks, 0 to 1; 1 where both are empty (Dice, Ecology 26, 1945)."""
    total = cv2.countNonZero(a) + cv2.countNonZero(b)
    return 1.0 if total == 0 else 2.0 * cv2.countNonZero(cv2.bitwise_and(a, b)) / total


def fill(rings: Iterable[PolygonPx], size_rc: tuple[int, int]) -> Mask:
    """The union of polygons as a mask, 255 inside, shape ``size_rc``."""
    mask = np.zeros(size_rc, np.uint8)
    for ring in rings:
        cv2.fillPoly(mask, [np.round(ring).astype(np.int32)], 255)
    return mask


def _found_share(delays: Sequence[int | None]) -> float | None:
    return sum(delay is not None for delay in delays) / len(delays) if delays else None


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None
