"""Fits a needle's confidence to what turns out right: ``python -m guidance.evaluation.confidence --real FOLDER``.

Every shaft that the finder looks at, however doubtful, on pictures of the needle campaign's trials and on labelled real
pictures, is held against the truth. A logistic function of its evidence is fitted by maximum likelihood with a small
ridge (A. Hoerl, R. Kennard, Ridge regression, 1970) and printed, with its reliability on trials it was not fitted to.
The weights go to ``guidance.vision.needle_evidence`` by hand, so that a change of them is a change one can see.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from tqdm import tqdm

from drivers.frame import Frame
from guidance.casebook.case import FrameTruth
from guidance.evaluation.needle_study import RIGHT_MM, reliability
from guidance.evaluation.real_pictures import HIT_PX, is_about, picture_of, read_frame, read_labels
from guidance.evaluation.trials import Trial, needle_trial
from guidance.phantom.source import PhantomSource
from guidance.records import CasePlan, FrameState
from guidance.vision.field import find_field
from guidance.vision.needle import NeedleSighting, find_needles
from guidance.vision.picture import make_picture
from guidance.vision.pipeline import needle_diameters_px

EVERY_PULSES = 6
"""Neighbouring pulses show the same; so many apart the noise is another and a needle may have moved."""
MOST_A_TRIAL = 4.0
"""What all right ones, and all wrong ones, of a trial may weigh together: they are not independent."""
REAL_WEIGHT = 5.0
ON_SHAFT_MM = 4.0
RIDGE = 2.0
FOLDS = 5

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A shaft that was looked at. ``group``: the trial or picture that it is of; candidates of one are alike."""

    features: tuple[float, ...]
    is_right: bool
    group: str
    is_real: bool = False


def candidates_of(
    trial: Trial, plan: CasePlan, mm_per_px: float, frames: Iterable[tuple[Frame, FrameTruth]]
) -> list[Candidate]:
    """The candidates on some pulses of a trial, without those on a true shaft that have their tip elsewhere."""
    diameters_px = needle_diameters_px(plan.needle_diameter_mm, mm_per_px if trial.knows_scale else None)
    out = []
    field = None
    for frame, truth in frames:
        if truth.pulse % EVERY_PULSES or truth.view is None or truth.state is not FrameState.LIVE:
            continue
        field = field or find_field(frame.pixels, frame.bits)
        picture = make_picture(frame.pixels, field, frame.bits)
        for sighting in find_needles(picture, diameters_px, least_confidence=0.0):
            is_right = _is_right(sighting, truth, mm_per_px)
            if sighting.evidence is not None and not sighting.tip_covered and is_right is not None:
                out.append(Candidate(sighting.evidence.features, is_right, trial.name))
    return out


def _is_right(sighting: NeedleSighting, truth: FrameTruth, mm_per_px: float) -> bool | None:
    """Whether its tip is a true one's; None where it lies along a true needle with its tip elsewhere."""
    middle = np.mean(sighting.shaft_px or (sighting.tip_px, sighting.tip_px), axis=0)
    lies_along = False
    for tip in truth.tips:
        if tip.visible and np.hypot(*np.subtract(tip.tip_px, sighting.tip_px)) * mm_per_px <= RIGHT_MM:
            return True
        along = np.subtract(tip.back_px, tip.tip_px)
        along = along / max(float(np.hypot(*along)), 1e-9)
        offs = [np.subtract(point, tip.tip_px) for point in (sighting.tip_px, middle)]
        lies_along |= min(abs(off[0] * along[1] - off[1] * along[0]) for off in offs) * mm_per_px < ON_SHAFT_MM
    return None if lies_along else False


def candidates_on(folder: Path) -> list[Candidate]:
    """The candidates on labelled real pictures; those about an instrument that is not scored are left out."""
    out = []
    for name, instruments in read_labels(folder).items():
        scored = [i for i in instruments if i.scored]
        for sighting in find_needles(picture_of(read_frame(folder / name)), least_confidence=0.0):
            near = any(np.hypot(*np.subtract(sighting.tip_px, i.tip_px)) <= HIT_PX for i in scored)
            unsure = not near and any(is_about(sighting, i) for i in instruments)
            if sighting.evidence is not None and not sighting.tip_covered and not unsure:
                out.append(Candidate(sighting.evidence.features, near, name, is_real=True))
    return out


def fit(candidates: Sequence[Candidate]) -> Floats:
    """Constant and weights, shape (1 + features,), of the most likely logistic function."""
    x, right = _arrays(candidates)
    counts = Counter((c.group, c.is_right) for c in candidates)
    weigh = [REAL_WEIGHT if c.is_real else min(1.0, MOST_A_TRIAL / counts[c.group, c.is_right]) for c in candidates]
    weight = np.array(weigh)
    scale = np.maximum(x.std(axis=0), 1e-9)
    scale[0] = 1.0

    def cost(b: Floats) -> tuple[float, Floats]:
        z = (x / scale) @ b
        misfit = np.logaddexp(0, np.where(right, -z, z))
        slope = (x / scale).T @ (weight * (1 / (1 + np.exp(-z)) - right))
        ridge = np.concatenate([[0.0], b[1:]])
        return float(weight @ misfit + RIDGE * ridge @ ridge), slope + 2 * RIDGE * ridge

    return np.asarray(minimize(cost, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B").x / scale)


def held_out(candidates: Sequence[Candidate]) -> list[tuple[float, bool]]:
    """Each candidate's confidence by a fit to other groups, and whether it was right. Raises ValueError on too few."""
    groups = sorted({c.group for c in candidates})
    if len(groups) < FOLDS:
        raise ValueError(f"{len(groups)} trials and pictures with a shaft on them: expected at least {FOLDS}")
    fold = {group: i % FOLDS for i, group in enumerate(groups)}
    told: list[tuple[float, bool]] = []
    for i in range(FOLDS):
        b = fit([c for c in candidates if fold[c.group] != i])
        mine = [c for c in candidates if fold[c.group] == i]
        x, right = _arrays(mine)
        told += zip((1 / (1 + np.exp(-x @ b))).tolist(), right.tolist(), strict=True)
    return told


def _arrays(candidates: Sequence[Candidate]) -> tuple[Floats, NDArray[np.bool_]]:
    x = np.array([(1.0, *c.features) for c in candidates])
    return x, np.array([c.is_right for c in candidates])


def as_table(candidates: Sequence[Candidate]) -> str:
    """The fitted weights, and the reliability on what they were not fitted to."""
    b = fit(candidates)
    lines = [f"CONSTANT = {b[0]:.2f}", f"WEIGHTS = ({', '.join(f'{w:.2f}' for w in b[1:])})", ""]
    lines.append(f"{'confidence':16} {'shafts':>6} {'right':>6}   by a fit to other trials and pictures")
    for low, high, count, right, _ in reliability(held_out(candidates)):
        lines.append(f"{low:4.2f} to {high:4.2f}     {count:6} {right:6.1%}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints weights and reliability."""
    parser = argparse.ArgumentParser(description="Fits a needle's confidence to what turns out right.")
    parser.add_argument("--trials", type=int, default=104, help="of the needle campaign (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="which (default: %(default)s)")
    parser.add_argument("--ct", type=Path, help="a CT volume as some of the patients")
    parser.add_argument("--real", type=Path, metavar="FOLDER", help="labelled real pictures")
    options = parser.parse_args(arguments)
    candidates = [] if options.real is None else candidates_on(options.real)
    for number in tqdm(range(options.trials), unit=" trials", disable=None):
        trial = needle_trial(number, options.seed, options.ct)
        with PhantomSource(trial.scenario, seed=trial.seed, keep_truth=True) as source:
            frames = ((frame, source.truth_of(i)) for i, frame in enumerate(source))
            candidates += candidates_of(trial, source.plan, source.plan.mm_per_px or 1.0, frames)
    sys.stdout.write(as_table(candidates) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
