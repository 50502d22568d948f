"""Nerve roots over many drawn epidurograms: what of them is on the roadmap, how exactly, and what else is.

``measure`` runs one trial through the pipeline and notes what it comes to; ``figures`` makes the table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from guidance.casebook.case import FrameTruth
from guidance.evaluation.figures import Figure, percentile, share
from guidance.evaluation.score import dice, fill
from guidance.evaluation.trials import Trial
from guidance.phantom.source import PhantomSource
from guidance.phantom.spread import ContrastRun
from guidance.records import Findings, FrameState, View
from guidance.vision.pipeline import Pipeline

ASIDE_MM = 1.5
"""Contrast this far beside a true root is still told as of that root: blur and registration."""

OWN_SHARE = 0.5
"""A true root is told as one of its own where one told root covers this share of what is its own alone."""

LEAST_OWN_SHARE = 0.5
LEAST_OWN_MM2 = 40.0
"""A root counts as one that can be told apart while so much of it lies in no other's shadow: on the lateral view left
and right cover each other, and a root that has only begun to fill is nothing long yet."""

SETTLED_S = 0.5
"""So long after the injection's end the roadmap is scored: the display's recursive filter has caught up."""

Mask = NDArray[np.uint8]


@dataclass(slots=True)
class RoadmapNote:
    """The roadmap on one pulse: overlap with the true roots, and the median distance of its centre-lines in mm.

    ``line_mm`` None: no root was told.
    """

    t_s: float
    dice: float
    line_mm: float | None


@dataclass(slots=True)
class RootNotes:
    """What was noted on one trial.

    ``at_end``: the roadmap when the injection is over; ``later``: on the last pulse, after wash-out and a move; None
    where no root is filled. ``own``: by root that can be told apart at the injection's end, whether it is told as one
    of its own. ``told_s``: by root that could ever be told apart, the seconds from then until it was first told as its
    own; None: never. ``false``: when each told root that is none was first told, by its id.
    """

    name: str
    kind: str
    number: int
    dose_ur: float
    view: str
    pulses: int = 0
    at_end: RoadmapNote | None = None
    later: RoadmapNote | None = None
    own: dict[str, bool] = field(default_factory=dict)
    told_s: dict[str, float | None] = field(default_factory=dict)
    false: dict[int, float] = field(default_factory=dict)


def measure(trial: Trial) -> RootNotes:
    """The trial rendered, analysed as ``serve`` does it, and noted."""
    with PhantomSource(trial.scenario, seed=trial.seed, keep_truth=True) as source:
        pipeline = Pipeline(source.plan, source.info)
        rows = [(pipeline.step(frame), source.truth_of(i)) for i, frame in enumerate(source)]
        size_rc = (source.info.height_px, source.info.width_px)
        return note_trial(trial, rows, size_rc, source.plan.mm_per_px or 1.0)


def note_trial(
    trial: Trial, rows: Sequence[tuple[Findings, FrameTruth]], size_rc: tuple[int, int], mm_per_px: float
) -> RootNotes:
    """What the findings of the trial's frames come to, held against their truth."""
    scenario = trial.scenario
    notes = RootNotes(trial.name, trial.kind, trial.number, scenario.video.dose_ur, scenario.carm.view.value)
    over_s = SETTLED_S + max((c.start_s + c.ml / ContrastRun.ml_per_s for c in scenario.contrast), default=0.0)
    apart_s: dict[str, float] = {}
    pulse = 0
    for found, true in rows:
        if found.state is not FrameState.LIVE or found.pulse == pulse or true.view is None:
            continue
        pulse = found.pulse
        notes.pulses += 1
        real = {name: root.mask.mask() for name, root in true.filled.items()}
        told = {root.id: fill(root.polygons_px, size_rc) for root in found.nerve_roots}
        for told_id in _astray(real, told, mm_per_px):
            notes.false.setdefault(told_id, true.t_s)
        covered = _told_as_own(real, told, mm_per_px)
        for name, is_told in covered.items():
            first_s = apart_s.setdefault(name, true.t_s)
            if notes.told_s.setdefault(name, None) is None and is_told:
                notes.told_s[name] = round(true.t_s - first_s, 3)
        if real:
            notes.later = RoadmapNote(
                true.t_s, dice(_union(told, size_rc), _union(real, size_rc)), _line_mm(found, true, real, mm_per_px)
            )
            if notes.at_end is None and true.t_s >= over_s:
                notes.at_end, notes.own = notes.later, covered
    return notes


def _union(masks: Mapping[Any, Mask], size_rc: tuple[int, int]) -> Mask:
    out = np.zeros(size_rc, np.uint8)
    for mask in masks.values():
        out |= mask
    return out


def _astray(real: Mapping[str, Mask], told: Mapping[int, Mask], mm_per_px: float) -> list[int]:
    """The told roots of which more than half lies beside all true ones."""
    if not told:
        return []
    beside = cv2.bitwise_not(_union(real, next(iter(told.values())).shape))
    far = cv2.distanceTransform(beside, cv2.DIST_L2, 5) * mm_per_px > ASIDE_MM if real else beside > 0
    return [told_id for told_id, mask in told.items() if 2 * np.count_nonzero(far[mask > 0]) > cv2.countNonZero(mask)]


def _told_as_own(real: Mapping[str, Mask], told: Mapping[int, Mask], mm_per_px: float) -> dict[str, bool]:
    """By true root that can be told apart now: whether a told root covers it, and it alone."""
    own = {name: _without_others(name, real) for name in real}
    apart = {
        name: part
        for name, part in own.items()
        if cv2.countNonZero(part) >= LEAST_OWN_SHARE * cv2.countNonZero(real[name])
        and cv2.countNonZero(part) * mm_per_px**2 >= LEAST_OWN_MM2
    }
    covered = dict.fromkeys(apart, False)
    for mask in told.values():
        names = [
            name for name, part in apart.items() if cv2.countNonZero(part & mask) >= OWN_SHARE * cv2.countNonZero(part)
        ]
        if len(names) == 1:
            covered[names[0]] = True
    return covered


def _without_others(name: str, real: Mapping[str, Mask]) -> Mask:
    part = real[name]
    for other, mask in real.items():
        if other != name:
            part = part & ~mask
    return part


def _line_mm(found: Findings, true: FrameTruth, real: Mapping[str, Mask], mm_per_px: float) -> float | None:
    """The median distance of the told centre-lines' points from the filled roots' axes; None where none is told."""
    if not found.nerve_roots:
        return None
    axes = [_inside(np.array(root.line_px), real[name]) for name, root in true.filled.items()]
    points = np.concatenate([root.centerline_px for root in found.nerve_roots])
    away_px, _ = cKDTree(np.concatenate(axes)).query(points)
    return round(float(np.median(away_px)) * mm_per_px, 3)


def _inside(line_px: NDArray[np.float64], mask: Mask) -> NDArray[np.float64]:
    """The points of a line that lie in a mask or within its hollow: contrast leaves the nerve itself free."""
    filled = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((15, 15), np.uint8))
    columns, rows = np.rint(line_px).astype(int).T
    h, w = mask.shape
    on = (columns >= 0) & (columns < w) & (rows >= 0) & (rows < h)
    on[on] = filled[rows[on], columns[on]] > 0
    return np.asarray(line_px[on])


# ---- the figures of many trials


def figures(trials: Sequence[RootNotes]) -> list[Figure]:
    """All figures of these trials, the most important first."""
    clear = [t for t in trials if t.dose_ur >= 1]
    out = []
    for words, chosen in (
        ("AP, >= 1 µR", [t for t in clear if t.view == View.AP]),
        ("AP, 0.6 µR", [t for t in trials if t.dose_ur < 1 and t.view == View.AP]),
        ("lateral", [t for t in trials if t.view == View.LATERAL]),
    ):
        out += _of_roadmaps(words, chosen)
    seconds = [s for t in clear for s in t.told_s.values() if s is not None]
    veins = [t for t in trials if t.kind == "vein"]
    others = [t for t in trials if t.kind != "vein"]
    return [
        *out,
        percentile("seconds until a root is told, median", seconds, 50, None, "s"),
        percentile("seconds until a root is told, 95th percentile", seconds, 95, None, "s"),
        share("epidurograms with a false root", sum(bool(t.false) for t in others), len(others), 5),
        share("  where a vein fills, as long and tubular", sum(bool(t.false) for t in veins), len(veins), None),
    ]


def _of_roadmaps(words: str, trials: Sequence[RootNotes]) -> list[Figure]:
    """Overlap, centre-lines and roots of their own at one dose and view; only from behind they are held to a bound."""
    bounds = (0.8, 1.0, 90.0) if words == "AP, >= 1 µR" else (None, None, None)
    own = [told for t in trials for told in t.own.values()]
    out = []
    for when, notes in (
        ("at the injection's end", [t.at_end for t in trials if t.at_end is not None]),
        ("washed out and moved", [t.later for t in trials if t.later is not None]),
    ):
        overlaps, lines = [n.dice for n in notes], [n.line_mm for n in notes if n.line_mm is not None]
        out.append(percentile(f"Dice {when}, {words}", overlaps, 50, bounds[0], "", at_least=True))
        out.append(percentile(f"centre-line {when}, {words}", lines, 50, bounds[1], "mm"))
    return [*out, share(f"roots told as their own, {words}", sum(own), len(own), bounds[2], at_least=True)]


def shortfall(trial: RootNotes) -> str:
    """What is wrong with one trial."""
    words = []
    for when, note in (("end", trial.at_end), ("later", trial.later)):
        if note is not None and (note.dice < 0.8 or note.line_mm is None or note.line_mm > 1):
            line = "no centre-line" if note.line_mm is None else f"centre-line {note.line_mm:.1f} mm"
            words.append(f"{when} Dice {note.dice:.2f}, {line}")
    missed = [name for name, is_told in trial.own.items() if not is_told]
    if missed:
        words.append(f"no root of its own: {', '.join(missed)}")
    words += [f"false root {name} from {t_s:.2f} s" for name, t_s in trial.false.items()]
    return "; ".join(words)
