"""The needle finder over many drawn procedures: what it reaches, held against what it must reach.

``measure`` runs one trial through the whole pipeline and notes every needle of every pulse; ``figures`` makes the
table of many trials. Only new pulses count, and of those only where the C-arm stands still.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import atan2, degrees

import numpy as np
from numpy.typing import NDArray

from drivers.frame import Frame, SourceInfo
from guidance.casebook.case import FrameTruth, TipTruth
from guidance.evaluation.alerts import STUB_MM
from guidance.evaluation.figures import Figure, percentile, share
from guidance.evaluation.score import MATCH_MM, match_points
from guidance.evaluation.trials import Trial
from guidance.phantom.source import PhantomSource
from guidance.records import CasePlan, Findings, FrameState, Needle, ScaleSource
from guidance.vision.pipeline import Pipeline

RIGHT_MM = 2.0
"""A told needle counts as right, for the reliability of its confidence, with its tip this near a true one."""

SETTLED_S = 1.0
"""A needle that appears is given this long to be told; until then it is neither found nor missed."""

CONFIDENCE_BINS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)


@dataclass(slots=True)
class TipNote:
    """One visible needle on one pulse. Errors are None where it was not found; ``found_id`` None likewise.

    ``shaft_mm``: how much of its shaft lies inside the field.
    ``along_mm``: how far beyond the true apex the found one lies, ``aside_mm``: how far off the true axis.
    """

    t_s: float
    truth_id: int
    in_cement: bool
    shaft_mm: float
    found_id: int | None = None
    error_px: float | None = None
    along_mm: float | None = None
    aside_mm: float | None = None
    turn_deg: float | None = None


@dataclass(slots=True)
class NeedleNotes:
    """What was noted on one trial. ``told``: confidence, and whether it was right, of each needle on each pulse.

    ``false_at_s``: the pulses with a needle where there is none. ``scale_ratio``: mm_per_px told over true, where it
    came from a needle.
    """

    name: str
    kind: str
    number: int
    mm_per_px: float
    pulses: int = 0
    false_at_s: list[float] = field(default_factory=list)
    tips: list[TipNote] = field(default_factory=list)
    told: list[tuple[float, bool]] = field(default_factory=list)
    scale_ratio: float | None = None


def measure(trial: Trial) -> NeedleNotes:
    """The trial rendered, analysed as ``serve`` does it, and noted."""
    with PhantomSource(trial.scenario, seed=trial.seed, keep_truth=True) as source:
        frames = ((frame, source.truth_of(i)) for i, frame in enumerate(source))
        return note_trial(trial, source.info, source.plan, source.plan.mm_per_px or 1.0, frames)


def note_trial(
    trial: Trial, info: SourceInfo, plan: CasePlan, mm_per_px: float, frames: Iterable[tuple[Frame, FrameTruth]]
) -> NeedleNotes:
    """The trial's frames analysed and noted. ``mm_per_px``: the true one, told to the pipeline if the trial says so."""
    notes = NeedleNotes(trial.name, trial.kind, trial.number, mm_per_px)
    pipeline = Pipeline(plan if trial.knows_scale else replace(plan, mm_per_px=None), info)
    pulse = 0
    for frame, truth in frames:
        findings = pipeline.step(frame)
        is_new, pulse = findings.pulse != pulse, findings.pulse
        if is_new and findings.state is FrameState.LIVE and truth.view is not None:
            _note_pulse(notes, findings, truth)
    return notes


def _note_pulse(notes: NeedleNotes, findings: Findings, truth: FrameTruth) -> None:
    mm = notes.mm_per_px
    notes.pulses += 1
    if findings.scale is not None and findings.scale.source is ScaleSource.NEEDLE:
        notes.scale_ratio = findings.scale.mm_per_px / mm
    found = [n for n in findings.needles if not n.predicted]
    real = [tip for tip in truth.tips if tip.visible]
    hidden = [tip.tip_px for tip in truth.tips if not tip.visible]
    pairs = match_points([n.tip_px for n in found], [t.tip_px for t in real], MATCH_MM / mm)
    partner = {j: (found[i], distance_px) for i, j, distance_px in pairs}
    matched = {i: distance_px for i, _, distance_px in pairs}
    notes.told += [(n.confidence, matched[i] * mm <= RIGHT_MM) for i, n in enumerate(found) if i in matched]
    spare = [n for i, n in enumerate(found) if i not in matched]
    # A needle whose tip is out of sight may be shown or not: neither is right or wrong.
    about_hidden = {i for i, _, _ in match_points([n.tip_px for n in spare], hidden, np.inf)}
    false = [n for i, n in enumerate(spare) if i not in about_hidden]
    notes.told += [(n.confidence, False) for n in false]
    if false:
        notes.false_at_s.append(truth.t_s)
    for j, tip in enumerate(real):
        note = TipNote(truth.t_s, tip.id, tip.in_cement, (tip.shaft_px or 0.0) * mm)
        if j in partner:
            _note_errors(note, *partner[j], tip, mm)
        notes.tips.append(note)


def _note_errors(note: TipNote, needle: Needle, error_px: float, tip: TipTruth, mm: float) -> None:
    back = np.subtract(tip.back_px, tip.tip_px)
    length = max(float(np.hypot(*back)), 1e-9)
    off = np.subtract(needle.tip_px, tip.tip_px)
    note.found_id, note.error_px = needle.id, error_px
    note.along_mm = float(-(off @ back) / length) * mm
    note.aside_mm = abs(float(off[0] * back[1] - off[1] * back[0])) / length * mm
    if needle.angle_deg is not None:
        turn = needle.angle_deg - degrees(atan2(-back[1], back[0]))
        note.turn_deg = abs((turn + 180.0) % 360.0 - 180.0)


# ---- the figures of many trials


def figures(trials: Sequence[NeedleNotes]) -> list[Figure]:
    """All figures of these trials, in the order of their importance."""
    shafts = [(trial, tip) for trial in trials if trial.kind != "end-on" for tip in _settled(trial)]
    found = [(trial, tip) for trial, tip in shafts if tip.error_px is not None]
    px = [tip.error_px for _, tip in found if tip.error_px is not None]
    mm = [tip.error_px * trial.mm_per_px for trial, tip in found if tip.error_px is not None]
    turns = [tip.turn_deg for _, tip in found if tip.turn_deg is not None]
    bare = [tip.error_px * trial.mm_per_px for trial, tip in found if tip.error_px is not None and not tip.in_cement]
    nothing = [trial for trial in trials if trial.kind == "nothing"]
    metal = [trial for trial in trials if trial.kind == "metal"]
    with_needles = [trial for trial in trials if trial.kind not in ("nothing", "metal")]
    dots = [(trial, tip) for trial in trials if trial.kind == "end-on" for tip in _settled(trial)]
    dots_found = [(trial, tip) for trial, tip in dots if tip.error_px is not None]
    dots_mm = [tip.error_px * trial.mm_per_px for trial, tip in dots_found if tip.error_px is not None]
    jitters = [jitter for trial in trials for jitter in _jitters_mm(trial)]
    out = [
        percentile("tip error, median", mm, 50, 0.3, "mm"),
        percentile("tip error, median", px, 50, 1.5, "px"),
        percentile("tip error, 95th percentile", mm, 95, 1.0, "mm"),
        percentile("  of tips not in cement", bare, 95, None, "mm"),
        _missed(
            f"missed, {STUB_MM:g} mm of shaft in sight", [tip for _, tip in shafts if tip.shaft_mm >= STUB_MM], 2.0
        ),
        _missed("missed, less of it in sight", [tip for _, tip in shafts if tip.shaft_mm < STUB_MM], None),
        _false("false, frames without a needle", nothing, 0.5),
        _false("false, with clamp, screw, cable", metal, 2.0),
        _false("false, beside needles", with_needles, None),
        percentile("direction error, median", turns, 50, 0.3, "°"),
        percentile("jitter of a still tip, median", jitters, 50, 0.15, "mm"),
        percentile("jitter of a still tip, worst", jitters, 100, None, "mm"),
        share("end-on, told", len(dots_found), len(dots), 90.0, at_least=True),
        percentile("end-on, tip error, median", dots_mm, 50, None, "mm"),
        _false("end-on, false", [trial for trial in trials if trial.kind == "end-on"], None),
    ]
    for kind in ("crossing", "swing", "occlusion", "withdrawal", "driving", "in cement"):
        kept = [is_kept for trial in trials if trial.kind == kind for is_kept in _keeps_ids(trial)]
        out.append(share(f"identity kept, {kind}", sum(kept), len(kept), 100.0, at_least=True))
    off = [100 * abs(trial.scale_ratio - 1.0) for trial in trials if trial.scale_ratio is not None]
    return [*out, percentile("scale from the needle, off by", off, 50, None, "%")]


def _settled(trial: NeedleNotes) -> list[TipNote]:
    """The tips that must be told: not those of a needle that came into sight less than a second ago."""
    since: dict[int, float] = {}
    last: dict[int, float] = {}
    settled = []
    for tip in trial.tips:
        if tip.t_s - last.get(tip.truth_id, -np.inf) > SETTLED_S:
            since[tip.truth_id] = tip.t_s
        last[tip.truth_id] = tip.t_s
        if tip.found_id is not None or since[tip.truth_id] <= 0.0 or tip.t_s - since[tip.truth_id] > SETTLED_S:
            settled.append(tip)
    return settled


def _jitters_mm(trial: NeedleNotes) -> list[float]:
    """The standard deviation, both axes together, of each still needle's tip about its true place."""
    if trial.kind != "still":
        return []
    by_id: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for tip in trial.tips:
        if tip.along_mm is not None and tip.aside_mm is not None:
            by_id[tip.truth_id].append((tip.along_mm, tip.aside_mm))
    return [float(np.sqrt(np.var(np.array(offs), axis=0).sum())) for offs in by_id.values() if len(offs) >= 10]


def _keeps_ids(trial: NeedleNotes) -> list[bool]:
    """For each needle that was told at all, whether it was told under one id throughout, and nobody else under it."""
    ids: dict[int, set[int]] = defaultdict(set)
    for tip in trial.tips:
        if tip.found_id is not None:
            ids[tip.truth_id].add(tip.found_id)
    owners = [found for own in ids.values() for found in own]
    return [len(own) == 1 and owners.count(next(iter(own))) == 1 for own in ids.values()]


def reliability_lines(trials: Sequence[NeedleNotes]) -> list[str]:
    """What the confidence told is worth: of the needles told alike, how many were right."""
    lines = ["confidence told     needles  right  mean confidence"]
    for low, high, count, right, mean in reliability([told for trial in trials for told in trial.told]):
        lines.append(f"{low:4.2f} to {high:4.2f}      {count:8}  {right:5.1%}  {mean:5.1%}")
    return lines


def reliability(told: Sequence[tuple[float, bool]]) -> list[tuple[float, float, int, float, float]]:
    """For each bin of confidence that has any: its bounds, how many, the share that is right, the mean confidence."""
    out = []
    for low, high in pairwise(CONFIDENCE_BINS):
        here = [t for t in told if low <= t[0] < high or t[0] == high == 1.0]
        if here:
            confidence, right = np.array(here, dtype=np.float64).mean(axis=0)
            out.append((low, high, len(here), float(right), float(confidence)))
    return out


def shortfall(trial: NeedleNotes) -> str:
    """What is wrong with one trial, in a line."""
    tips = _settled(trial)
    words = []
    if trial.false_at_s:
        words.append(f"false on {len(trial.false_at_s)} of {trial.pulses} pulses (first {trial.false_at_s[0]:.2f} s)")
    missed = [tip for tip in tips if tip.found_id is None]
    if missed:
        words.append(f"missed {len(missed)} of {len(tips)} (first {missed[0].t_s:.2f} s)")
    if trial.kind != "end-on":
        errors = [tip.error_px * trial.mm_per_px for tip in tips if tip.error_px is not None]
        if errors and (_p95(errors) > 1.0 or np.median(errors) > 0.3):
            worst = max((t for t in tips if t.error_px is not None), key=lambda t: t.error_px or 0.0)
            words.append(f"tip median {np.median(errors):.2f}, p95 {_p95(errors):.2f}, max {max(errors):.2f} mm")
            words[-1] += f" ({worst.t_s:.2f} s)"
        turns = [tip.turn_deg for tip in tips if tip.turn_deg is not None]
        if turns and np.median(turns) > 0.5:
            words.append(f"direction {np.median(turns):.2f}°")
    if not all(_keeps_ids(trial)):
        words.append("id changed")
    jitters = _jitters_mm(trial)
    if jitters and max(jitters) > 0.15:
        words.append(f"jitter {max(jitters):.2f} mm")
    return "; ".join(words)


def _p95(values: Sequence[float] | NDArray[np.float64]) -> float:
    return float(np.percentile(values, 95))


def _missed(words: str, tips: Sequence[TipNote], bound: float | None) -> Figure:
    return share(words, sum(tip.found_id is None for tip in tips), len(tips), bound)


def _false(words: str, trials: Sequence[NeedleNotes], bound: float | None) -> Figure:
    return share(words, sum(len(t.false_at_s) for t in trials), sum(t.pulses for t in trials), bound)
