"""Leaks, breaches and false alarms over many drawn procedures: what is told, how late, and what else it rests on.

``measure`` runs one trial as ``serve`` does, alarms included, and notes what it comes to; ``figures`` makes the table.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise, takewhile

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.casebook.case import CaseTruth, FrameTruth
from guidance.casebook.replay import analyse
from guidance.evaluation.alerts import score_alerts
from guidance.evaluation.figures import Figure, per_hour, percentile, share
from guidance.evaluation.leak_trials import LEAKS
from guidance.evaluation.score import CEMENT_FROM_MM2, dice, fill, registration_error_mm
from guidance.evaluation.trials import Trial
from guidance.phantom.source import PhantomSource
from guidance.records import TECHNICAL, Alert, AlertKind, AlertState, Findings, FrameState, Phase, Priority, View
from guidance.safety.limits import Limits
from guidance.settings import Settings

MASKS_EVERY = 4
"""Cement's outline is scored on every so many-th pulse: neighbours are alike."""

RUN_TOLD_FROM_MM = 10.0
RUN_SPEED_S = 0.5
"""A run is as fast as its front has been for so long."""

WARNED_TO_MM_PER_S = 10.0
"""A faster leak crosses the distance that a warning looks over within two pulses, which is what any alert needs."""


@dataclass(slots=True)
class DangerNote:
    """A leak into a zone or a needle in one.

    ``delay_pulses`` None: missed. ``warned``: its near-alert came before. ``mm_per_s``: how fast a leak's front came
    to the zone; None for a needle, and for a leak that is there as soon as the view is.
    """

    kind: str
    zone: str | None
    first_s: float
    delay_pulses: int | None
    warned: bool
    mm_per_s: float | None = None

    @property
    def can_be_foreseen(self) -> bool:
        """Whether it is a leak slow enough to be warned of."""
        return self.mm_per_s is not None and self.mm_per_s < WARNED_TO_MM_PER_S


@dataclass(slots=True)
class RunNote:
    """A run of cement that has come to 10 mm of length.

    ``told_s``: from when that shows to its alert, None where none came. ``mm_per_s``: how fast its front came there;
    None for one that is there as soon as the view is.
    """

    told_s: float | None
    mm_per_s: float | None

    @property
    def is_escape(self) -> bool:
        """Whether it is fast: an escape is a thin, fast run by definition, and its alert has a least speed."""
        return self.mm_per_s is not None and self.mm_per_s >= Settings().limits().cement_escape_mm_per_s


@dataclass(slots=True)
class FalseNote:
    """An alert that the truth does not bear out."""

    kind: str
    high: bool
    t_s: float
    text: str


@dataclass(slots=True)
class LeakNotes:
    """What was noted on one trial.

    ``cement``: Dice and told area over true area. ``roots``: Dice at the injection's end and the median distance in mm
    of the told centre-lines' points from the middle of the true roots. ``registration``: error in mm and whether it was
    trusted.
    ``swings``: pulses until a swing was noticed; ``returns``: until a view was known again; None: never.
    """

    name: str
    kind: str
    number: int
    dose_ur: float
    beam_s: float = 0.0
    pulses: int = 0
    dangers: list[DangerNote] = field(default_factory=list)
    false: list[FalseNote] = field(default_factory=list)
    runs: list[RunNote] = field(default_factory=list)
    cement: list[tuple[float, float]] = field(default_factory=list)
    roots: tuple[float, float] | None = None
    registration: list[tuple[float, bool]] = field(default_factory=list)
    swings: list[int | None] = field(default_factory=list)
    returns: list[int | None] = field(default_factory=list)


def measure(trial: Trial) -> LeakNotes:
    """The trial rendered, analysed and noted."""
    with PhantomSource(trial.scenario, seed=trial.seed, keep_truth=True) as source:
        settings = Settings()
        rows = [(f, changes) for _, f, changes, _ in analyse(source, source.info, source.plan, settings)]
        truth = CaseTruth.model_validate(
            {
                "schema": 1,
                "mm_per_px": source.plan.mm_per_px,
                "width_px": source.info.width_px,
                "height_px": source.info.height_px,
                "frames": tuple(source.truth_of(i) for i in range(len(rows))),
            }
        )
    return note_trial(trial, [f for f, _ in rows], [c for _, changes in rows for c in changes], truth)


def note_trial(trial: Trial, findings: Sequence[Findings], changes: Sequence[Alert], truth: CaseTruth) -> LeakNotes:
    """What a replay of the trial comes to. ``findings``: one a frame. ``changes``: of alerts, in order."""
    limits = Settings().limits()
    notes = LeakNotes(trial.name, trial.kind, trial.number, trial.scenario.video.dose_ur)
    notes.beam_s = sum(b.t_s - a.t_s for a, b in pairwise(truth.frames) if a.state is FrameState.LIVE)
    raised = [change for change in changes if change.state is AlertState.RAISED]
    scored = score_alerts(changes, truth, limits)
    for (kind, zone), delay in scored.delays_pulses.items():
        if kind is not AlertKind.CEMENT_ESCAPE:
            first = scored.first_frames[kind, zone]
            note = DangerNote(kind.value, zone, truth.frames[first].t_s, delay, _is_warned(raised, kind, zone))
            if kind is AlertKind.CEMENT_IN_ZONE and zone is not None:
                note.mm_per_s = _leak_mm_per_s(
                    zone, _until_leak(zone, truth, limits), truth, limits.cement_near_zone_mm
                )
            notes.dangers.append(note)
    notes.false = [FalseNote(a.kind.value, a.priority is Priority.HIGH, a.t_s, a.text) for a in scored.false]
    notes.runs = _runs(raised, truth)
    _note_pulses(notes, findings, truth)
    notes.roots = _roots(findings, truth)
    _note_swings(notes, findings, truth)
    return notes


def _is_warned(raised: Sequence[Alert], kind: AlertKind, zone: str | None) -> bool:
    """Whether the zone's near-alert was raised on an earlier frame than the breach."""
    near = {
        AlertKind.CEMENT_IN_ZONE: AlertKind.CEMENT_NEAR_ZONE,
        AlertKind.NEEDLE_IN_ZONE: AlertKind.NEEDLE_NEAR_ZONE,
    }[kind]
    told = [a.frame for a in raised if (a.kind, a.zone) == (kind, zone)]
    return bool(told) and any(a.frame < min(told) for a in raised if (a.kind, a.zone) == (near, zone))


def _until_leak(zone: str, truth: CaseTruth, limits: Limits) -> Sequence[FrameTruth]:
    """The frames as far as the first on which a leak has come into the zone, be it behind an instrument."""
    leaks = (f.leak_mm2.get(zone, 0.0) >= limits.cement_in_zone_mm2 for f in truth.frames)
    return truth.frames[: next(number for number, is_leak in enumerate(leaks, start=1) if is_leak)]


def _leak_mm_per_s(zone: str, frames: Sequence[FrameTruth], truth: CaseTruth, near_mm: float) -> float | None:
    """How fast the true front came to the zone: from where it last was farther off than ``near_mm``, or began, to the
    leak on the last of ``frames``. None where nothing was seen before.
    """
    here_mm, start = _front_mm(zone, frames[-1], truth), None
    for frame in reversed(frames[:-1]):
        mm = _front_mm(zone, frame, truth)
        if mm is not None:
            start = (frame.t_s, mm)
            if mm > near_mm:
                break
    if start is None or here_mm is None:
        return None
    return (start[1] - here_mm) / (frames[-1].t_s - start[0])


def _front_mm(zone: str, frame: FrameTruth, truth: CaseTruth) -> float | None:
    """How far the true cement is from the zone; where it is inside, how deep, as a negative number."""
    if frame.cement is None or zone not in frame.zones:
        return None
    cement = frame.cement.mask()
    inside = fill([np.array(frame.zones[zone])], (truth.height_px, truth.width_px))
    if (cement & inside).any():
        return -float(cv2.distanceTransform(inside, cv2.DIST_L2, 5)[cement > 0].max()) * truth.mm_per_px
    return float(cv2.distanceTransform(255 - inside, cv2.DIST_L2, 5)[cement > 0].min()) * truth.mm_per_px


def _runs(raised: Sequence[Alert], truth: CaseTruth) -> list[RunNote]:
    """The first run that shows beside the instruments ``RUN_TOLD_FROM_MM`` away from its deposit; empty without one.

    As for leaks, what lies in a shaft's shadow is not seen. How fast it is, its whole front says, seen or not. Cement
    that creeps along a thin way for seconds comes to that length too. It is no escape, and what it reaches has alerts
    of its own.
    """
    lengths_mm = [0.0 if f.view is None else f.run_mm for f in truth.frames]
    seen_mm = [0.0 if f.view is None else _seen_run_mm(f) for f in truth.frames]
    long, shown = (
        next((i for i, mm in enumerate(run) if mm >= RUN_TOLD_FROM_MM), None) for run in (lengths_mm, seen_mm)
    )
    if long is None or shown is None:
        return []
    told = [a.t_s for a in raised if a.kind is AlertKind.CEMENT_ESCAPE]
    told_s = max(0.0, min(told) - truth.frames[shown].t_s) if told else None
    return [RunNote(told_s, _run_mm_per_s(truth.frames[: long + 1]))]


def _seen_run_mm(frame: FrameTruth) -> float:
    return frame.run_mm if frame.run_beside_steel_mm is None else frame.run_beside_steel_mm


def _run_mm_per_s(frames: Sequence[FrameTruth]) -> float | None:
    """How fast the true run has grown in the view of the last of ``frames``, over about ``RUN_SPEED_S``."""
    last = frames[-1]
    of_view = takewhile(lambda frame: frame.view is last.view, reversed(frames))
    before = [f for f in of_view if 0 < last.t_s - f.t_s <= RUN_SPEED_S + 1e-6]
    return (last.run_mm - before[-1].run_mm) / (last.t_s - before[-1].t_s) if before else None


def _note_pulses(notes: LeakNotes, findings: Sequence[Findings], truth: CaseTruth) -> None:
    pulse = 0
    for found, true in zip(findings, truth.frames, strict=True):
        if found.state is not FrameState.LIVE or found.pulse == pulse:
            continue
        pulse = found.pulse
        notes.pulses += 1
        if found.registration is not None:
            error_mm = registration_error_mm(found.registration, true, truth)
            if error_mm is not None:
                notes.registration.append((error_mm, found.registration.ok))
        if true.cement is not None and true.cement_mm2 >= CEMENT_FROM_MM2 and pulse % MASKS_EVERY == 0:
            rings = [ring for deposit in found.cement for ring in deposit.polygons_px]
            told = fill(rings, (truth.height_px, truth.width_px))
            area_mm2 = cv2.countNonZero(told) * truth.mm_per_px**2
            notes.cement.append((dice(told, true.cement.mask()), area_mm2 / true.cement_mm2))


def _roots(findings: Sequence[Findings], truth: CaseTruth) -> tuple[float, float] | None:
    """Dice and centre-line distance on the last frame of the epidurogram, when the injection is over."""
    last = next((i for i in reversed(range(len(findings))) if truth.frames[i].phase is Phase.EPIDUROGRAM), None)
    if last is None or truth.frames[last].roots is None:
        return None
    rle = truth.frames[last].roots
    assert rle is not None
    real = rle.mask()
    told = fill([r for root in findings[last].nerve_roots for r in root.polygons_px], (truth.height_px, truth.width_px))
    return dice(told, real), _centreline_mm(findings[last], real, truth)


def _centreline_mm(found: Findings, real: NDArray[np.uint8], truth: CaseTruth) -> float:
    """The median distance of the told centre-lines from the ridge of the true mask; 99 where nothing is told."""
    depth = cv2.distanceTransform(real, cv2.DIST_L2, 5)
    ridge = (depth >= cv2.dilate(depth, np.ones((3, 3), np.uint8)) - 0.5) & (depth > 0.5 / truth.mm_per_px)
    if not ridge.any() or not found.nerve_roots:
        return 99.0
    away = cv2.distanceTransform((~ridge).astype(np.uint8), cv2.DIST_L2, 5)
    points = np.rint(np.concatenate([root.centerline_px for root in found.nerve_roots])).astype(int)
    x, y = points[:, 0].clip(0, truth.width_px - 1), points[:, 1].clip(0, truth.height_px - 1)
    return float(np.median(away[y, x])) * truth.mm_per_px


def _note_swings(notes: LeakNotes, findings: Sequence[Findings], truth: CaseTruth) -> None:
    """After each swing: the pulses until the old view is no longer told, and until a view seen before is told again.

    A C-arm that is rolled aside and comes to rest in the view that it left has not swung.
    """
    stays = _stays(_fresh_pulses(findings, truth))
    told: dict[View, int] = {}
    watched: View | None = None
    for i, (view, stay) in enumerate(stays):
        coming = next((v for v, _ in stays[i:] if v is not None), None)
        if i > 0 and stays[i - 1][0] is not None and coming is not watched:
            old = stays[i - 1][1][-1].view_id
            notes.swings.append(_first([not _is_ok(f) or f.view_id != old for f in stay]))
        if view is None:
            continue
        if view in told and view is not watched:
            notes.returns.append(_first([_is_ok(f) and f.view_id == told[view] for f in stay]))
        told.setdefault(view, stay[-1].view_id)
        watched = view


def _stays(pulses: Sequence[tuple[Findings, FrameTruth]]) -> list[tuple[View | None, list[Findings]]]:
    """What was found for as long as the C-arm stood in a view, None while it moves, in order."""
    return [(view, [found for found, _ in stay]) for view, stay in groupby(pulses, key=lambda pulse: pulse[1].view)]


def _fresh_pulses(findings: Sequence[Findings], truth: CaseTruth) -> list[tuple[Findings, FrameTruth]]:
    """The frames that show a pulse for the first time, live in truth."""
    fresh = []
    pulse = -1
    for found, true in zip(findings, truth.frames, strict=True):
        if true.state is FrameState.LIVE and true.pulse != pulse:
            pulse = true.pulse
            fresh.append((found, true))
    return fresh


def _first(holds: Sequence[bool]) -> int | None:
    """On which pulse, counted from 1, it holds for the first time; None on none."""
    return holds.index(True) + 1 if True in holds else None


def _is_ok(findings: Findings) -> bool:
    return findings.registration is not None and findings.registration.ok


# ---- the figures of many trials


def figures(trials: Sequence[LeakNotes]) -> list[Figure]:
    """All figures of these trials, the most important first."""
    hours = sum(t.beam_s for t in trials) / 3600
    leaks = [d for t in trials if t.dose_ur >= 1 for d in t.dangers if d.kind == AlertKind.CEMENT_IN_ZONE]
    faster = [d for d in leaks if not d.can_be_foreseen]
    breaches = [d for t in trials for d in t.dangers if d.kind == AlertKind.NEEDLE_IN_ZONE]
    told = [d.delay_pulses for d in leaks if d.delay_pulses is not None]
    escapes = [run.told_s for t in trials for run in t.runs if run.is_escape]
    slower_runs = [run.told_s for t in trials for run in t.runs if not run.is_escape]
    quiet = [t for t in trials if t.kind not in LEAKS]
    quiet_h = sum(t.beam_s for t in quiet) / 3600
    false = [f for t in trials for f in t.false]
    needle_false = sum(f.kind == AlertKind.NEEDLE_IN_ZONE for f in false)
    out = [
        share("leaks told (>= 1 µR)", len(told), len(leaks), 98, at_least=True),
        percentile("delay of a leak, median", told, 50, 2, "pulses"),
        percentile("delay of a leak, 95th percentile", told, 95, 4, "pulses"),
        share(
            "warned before a leak slower than 10 mm/s",
            sum(d.warned for d in leaks if d.can_be_foreseen),
            sum(d.can_be_foreseen for d in leaks),
            90,
            at_least=True,
        ),
        share("warned before a faster leak", sum(d.warned for d in faster), len(faster), None, at_least=True),
        share("escapes told within 0.5 s of 10 mm", _within(escapes, 0.5), len(escapes), 90, at_least=True),
        share("slower runs told so", _within(slower_runs, 0.5), len(slower_runs), None, at_least=True),
        share(
            "needle breaches told within 3 pulses",
            _within([d.delay_pulses for d in breaches], 3),
            len(breaches),
            98,
            True,
        ),
        per_hour("false high alerts, nothing leaks", sum(f.high for t in quiet for f in t.false), quiet_h, 0.2),
        per_hour("false alerts, clinical", sum(f.kind not in TECHNICAL for f in false), hours, 1),
        per_hour("false alerts, all", len(false), hours, 1),
        per_hour("false needle_in_zone", needle_false, hours, 0.2),
    ]
    for words, low_ur, bound in (("cement Dice, >= 1 µR", 1.0, 0.90), ("cement Dice, 0.6 µR", 0.0, 0.85)):
        overlaps = [d for t in trials for d, _ in t.cement if (t.dose_ur >= 1.0) == (low_ur > 0)]
        out.append(percentile(words + ", median", overlaps, 50, bound, "", at_least=True))
        out.append(percentile(words + ", 10th percentile", overlaps, 10, None, "", at_least=True))
    areas = [100 * abs(ratio - 1) for t in trials for _, ratio in t.cement]
    roots = [t.roots for t in trials if t.roots is not None and t.dose_ur >= 1]
    moved = [(error, ok) for t in trials for error, ok in t.registration]
    trusted = [error for error, ok in moved if ok]
    out += [
        percentile("cement area error, median", areas, 50, 10, "%"),
        percentile("roots Dice (>= 1 µR), median", [d for d, _ in roots], 50, 0.8, "", at_least=True),
        percentile("roots centre-line distance, median", [mm for _, mm in roots], 50, 1, "mm"),
        percentile("registration error, median", trusted, 50, 0.5, "mm"),
        percentile("registration error, 95th percentile", trusted, 95, 1, "mm"),
        share("trusted although more than 2 mm off", sum(e > 2 for e in trusted), len(moved), None),
        share("not trusted at all", len(moved) - len(trusted), len(moved), None),
        share(
            "swing noticed within 3 frames",
            _within([n for t in trials for n in t.swings], 3),
            _count(trials, "swings"),
            100,
            True,
        ),
        share(
            "view known again within 5 frames",
            _within([n for t in trials for n in t.returns], 5),
            _count(trials, "returns"),
            100,
            True,
        ),
    ]
    return out


def _within(values: Sequence[float | None], most: float) -> int:
    return sum(value is not None and value <= most for value in values)


def _count(trials: Sequence[LeakNotes], name: str) -> int:
    return sum(len(getattr(t, name)) for t in trials)


def setting_lines(trials: Sequence[LeakNotes]) -> list[str]:
    """What was told in time of all there was to tell, and what was told falsely, by event and by dose."""
    lines = [f"{'':24} trials  minutes   leaks  breaches  escapes  false high  false"]
    slices = [(t.kind, t) for t in trials] + [(f"{t.dose_ur:g} µR", t) for t in trials]
    for words in dict.fromkeys(words for words, _ in slices):
        these = [t for name, t in slices if name == words]
        dangers = [d for t in these for d in t.dangers]
        leaks, breaches = (
            [d.delay_pulses for d in dangers if d.kind == kind]
            for kind in (AlertKind.CEMENT_IN_ZONE, AlertKind.NEEDLE_IN_ZONE)
        )
        escapes = [run.told_s for t in these for run in t.runs if run.is_escape]
        false = [f for t in these for f in t.false]
        lines.append(
            f"{words:24} {len(these):6}  {sum(t.beam_s for t in these) / 60:7.1f}  {_of(leaks, 4):>6}  "
            f"{_of(breaches, 3):>8}  {_of(escapes, 0.5):>7}  {sum(f.high for f in false):10}  {len(false):5}"
        )
    return lines


def _of(delays: Sequence[float | None], most: float) -> str:
    return f"{_within(delays, most)}/{len(delays)}" if delays else "-"


def shortfall(trial: LeakNotes) -> str:
    """What is wrong with one trial."""
    words = []
    for danger in trial.dangers:
        what = f"{danger.kind} {danger.zone or ''} of {danger.first_s:.2f} s"
        if danger.delay_pulses is None:
            words.append(f"{what} missed")
        elif danger.delay_pulses > (4 if danger.kind == AlertKind.CEMENT_IN_ZONE else 3):
            words.append(f"{what} {danger.delay_pulses} pulses late")
        elif not danger.warned and danger.can_be_foreseen:
            words.append(f"{what} without a warning")
    words += [
        "escape missed" if run.told_s is None else f"escape {run.told_s:.2f} s late"
        for run in trial.runs
        if run.is_escape and not _within([run.told_s], 0.5)
    ]
    words += [f"false {f.kind} at {f.t_s:.2f} s ({f.text})" for f in trial.false]
    if trial.cement and (overlap := float(np.median([d for d, _ in trial.cement]))) < 0.85:
        words.append(f"cement Dice {overlap:.2f}")
    if trial.roots is not None and (trial.roots[0] < 0.8 or trial.roots[1] > 1):
        words.append(f"roots Dice {trial.roots[0]:.2f}, centre-line {trial.roots[1]:.1f} mm")
    trusted = [error for error, ok in trial.registration if ok]
    if trusted and np.percentile(trusted, 95) > 1:
        words.append(f"registration p95 {np.percentile(trusted, 95):.1f} mm")
    if len(trusted) < 0.7 * len(trial.registration):
        words.append(f"registered on {len(trusted)} of {len(trial.registration)} pulses")
    words += ["swing noticed late" for n in trial.swings if n is None or n > 3]
    words += ["view not known again in time" for n in trial.returns if n is None or n > 5]
    return "; ".join(words)
