"""One fixture case replayed and scored."""

from pathlib import Path

from drivers.sources import open_source
from guidance.casebook.case import Expect, read_case
from guidance.casebook.replay import analyse
from guidance.evaluation.score import Scorer, Scores
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


def evaluate_case(folder: Path) -> Scores:
    """Replay the case in ``folder`` and hold it to its bounds. Raises CaseError or SourceError."""
    case = read_case(folder)
    settings = Settings()
    scorer = Scorer(folder.name, case.truth, settings.limits(case.plan))
    with open_source(str(case.recording)) as source:
        for _, findings, changes, _ in analyse(source, source.info, case.plan, settings):
            scorer.note(findings, changes)
    scores = scorer.result()
    scores.shortfalls += shortfalls(scores, case.expect)
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
