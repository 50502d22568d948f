"""Scores as one table, or as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from guidance.evaluation.score import Scores

COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("tip px", "tip_median_px", ".2f"),
    ("p95 mm", "tip_p95_mm", ".2f"),
    ("missed", "missed_share", ".1%"),
    ("false/fr", "false_needles_per_frame", ".3f"),
    ("roots", "dice_roots", ".2f"),
    ("cement", "dice_cement", ".2f"),
    ("leaks", "leaks_found_share", ".0%"),
    ("delay", "leak_delay_frames", ".0f"),
    ("breach", "breaches_found_share", ".0%"),
    ("escape", "escapes_found_share", ".0%"),
    ("false high", "false_high_alerts", ".0f"),
    ("false/h", "false_alerts_per_hour", ".0f"),
    ("reg mm", "registration_median_mm", ".2f"),
    ("state", "state_accuracy", ".1%"),
)
"""Heading, field of Scores, format. Tip error is the median; roots, cement: Dice; a leak's delay is in pulses."""


def as_table(scores: Sequence[Scores]) -> str:
    """One line a case, then what fell short of its bounds."""
    width = max([len(s.name) for s in scores] + [4])
    head = "  ".join([f"{'case':{width}}", *(f"{title:>{_column(title)}}" for title, _, _ in COLUMNS), "result"])
    lines = [head, "-" * len(head)]
    for s in scores:
        cells = [f"{_cell(s, name, spec):>{_column(title)}}" for title, name, spec in COLUMNS]
        lines.append("  ".join([f"{s.name:{width}}", *cells, "SHORT" if s.shortfalls else "ok"]))
    for s in scores:
        lines += [f"{s.name}: {shortfall}" for shortfall in s.shortfalls]
        lines += [f"{s.name}: false alert at {text}" for text in s.false_alert_texts]
    return "\n".join(lines)


def as_json(scores: Sequence[Scores]) -> str:
    """All figures of all cases."""
    return json.dumps([asdict(s) for s in scores], indent=2)


def _column(title: str) -> int:
    return max(len(title), 6)


def _cell(scores: Scores, name: str, spec: str) -> str:
    value = getattr(scores, name)
    return "-" if value is None else format(value, spec)
