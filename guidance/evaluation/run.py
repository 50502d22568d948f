"""Fixture cases replayed and scored."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from drivers.errors import SourceError
from drivers.sources import open_source
from guidance.casebook.case import CaseError, Expect, read_case
from guidance.casebook.document import Picture
from guidance.casebook.replay import analyse
from guidance.evaluation.score import Scorer, Scores
from guidance.evaluation.worst import WorstFrames
from guidance.settings import Settings

AT_MOST = (
    "tip_median_px",
    "tip_p95_mm",
    "missed_share",
    "false_needles_per_frame",
    "leak_delay_frames",
    "false_high_alerts",
    "false_alerts",
    "registration_median_mm",
)
AT_LEAST = (
    "dice_cement",
    "dice_roots",
    "leaks_found_share",
    "breaches_found_share",
    "escapes_found_share",
    "state_accuracy",
)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A case held against its truth. ``error``: why it could not be, in one line; then there are no scores.

    ``pictures``: of its worst frames, where they were asked for.
    """

    name: str
    scores: Scores | None
    error: str | None
    took_s: float
    pictures: tuple[Picture, ...] = ()

    @property
    def falls_short(self) -> bool:
        """Whether it misses a bound, or could not be held against any."""
        return self.scores is None or bool(self.scores.shortfalls)


def evaluate_cases(folders: Iterable[Path], with_pictures: bool = False) -> list[Evaluated]:
    """Each case in turn; one that cannot be read keeps no other from being evaluated."""
    return [_evaluated(folder, with_pictures) for folder in folders]


def _evaluated(folder: Path, with_pictures: bool) -> Evaluated:
    worst = WorstFrames() if with_pictures else None
    name, began_s = folder.resolve().name, monotonic()
    try:
        scores = evaluate_case(folder, worst)
    except (CaseError, SourceError) as error:
        return Evaluated(name, None, " ".join(str(error).split()), monotonic() - began_s)
    return Evaluated(name, scores, None, monotonic() - began_s, () if worst is None else worst.pictures())


def evaluate_case(folder: Path, worst: WorstFrames | None = None) -> Scores:
    """Replay the case in ``folder`` and hold it to its bounds. Raises CaseError or SourceError.

    ``worst`` is shown every frame.
    """
    case = read_case(folder)
    settings = Settings()
    limits = settings.limits(case.plan)
    scorer = Scorer(folder.name, case.truth, limits)
    if worst is not None:
        worst.begin(case.truth, limits)
    with open_source(str(case.recording)) as source:
        for frame, findings, changes, active in analyse(source, source.info, case.plan, settings):
            scorer.note(findings, changes)
            if worst is not None:
                worst.note(frame, findings, active, changes, scorer.pulse)
    scores = scorer.result()
    scores.shortfalls += shortfalls(scores, case.expect)
    if worst is not None:
        worst.end(scorer.alerts)
    return scores


def shortfalls(scores: Scores, expect: Expect) -> list[str]:
    """Each bound that the scores miss, in words. A bound on what could not be measured is missed too."""
    missed = []
    for name in (*AT_MOST, *AT_LEAST):
        bound, value = getattr(expect, name), getattr(scores, name)
        if bound is None:
            continue
        within = value is not None and (value <= bound if name in AT_MOST else value >= bound)
        if not within:
            told = "not measured" if value is None else f"{value:.3g}"
            missed.append(f"{name} {told}, expected {'at most' if name in AT_MOST else 'at least'} {bound:g}")
    return missed
