"""Scores as one table, as JSON, as JUnit's XML for a CI server, or as a report with pictures."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from xml.etree import ElementTree

import guidance
from guidance.casebook.document import Block, Document, Heading, Paragraph, Table
from guidance.evaluation.run import Evaluated
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


def as_junit(cases: Sequence[Evaluated]) -> str:
    """JUnit's XML: a test for each case, which fails where it falls short and is an error where it cannot be read.

    As the common reading of it has it (the schema of Maven's Surefire); figures and false alerts are its output.
    """
    failed = sum(case.scores is not None and case.falls_short for case in cases)
    errors = sum(case.scores is None for case in cases)
    counts = {"tests": str(len(cases)), "failures": str(failed), "errors": str(errors)}
    counts["time"] = f"{sum(case.took_s for case in cases):.3f}"
    root = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(root, "testsuite", {"name": "fluoroguide evaluate", **counts})
    for case in cases:
        names = {"classname": "fluoroguide.evaluate", "name": case.name, "time": f"{case.took_s:.3f}"}
        test = ElementTree.SubElement(suite, "testcase", names)
        if case.scores is None:
            ElementTree.SubElement(test, "error", {"message": case.error or ""})
            continue
        if case.scores.shortfalls:
            words = "\n".join(case.scores.shortfalls)
            ElementTree.SubElement(test, "failure", {"message": case.scores.shortfalls[0]}).text = words
        told = [f"{title}: {_cell(case.scores, name, spec)}" for title, name, spec in COLUMNS]
        told += [f"false alert at {text}" for text in case.scores.false_alert_texts]
        ElementTree.SubElement(test, "system-out").text = "\n".join(told)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def as_document(cases: Sequence[Evaluated]) -> Document:
    """The table, then each case with what fell short and pictures of its worst frames."""
    short = [case for case in cases if case.falls_short]
    head = ("case", "result", *(title for title, _, _ in COLUMNS))
    rows = tuple(
        (case.name, _result(case), *(_cell(case.scores, name, spec) for _, name, spec in COLUMNS)) for case in cases
    )
    marked = frozenset(i for i, case in enumerate(cases) if case.falls_short)
    blocks: list[Block] = [
        Table(head, rows, frozenset(range(2, 2 + len(COLUMNS))), marked),
        Paragraph(
            "Tip error and registration: medians. Roots, cement: Dice overlap. A leak's delay is in x-ray pulses."
        ),
        Paragraph(
            "In the pictures what was found is in colour, what is true is dashed in white, with a cross on each tip."
        ),
    ]
    for case in cases:
        blocks.append(Heading(case.name))
        blocks += [Paragraph(words, warns=True) for words in _complaints(case)]
        blocks += case.pictures
    return Document(
        f"{len(cases) - len(short)} of {len(cases)} cases reach their bounds",
        "Replayed and held against their truth",
        f"fluoroguide {guidance.__version__}",
        tuple(blocks),
    )


def _complaints(case: Evaluated) -> list[str]:
    if case.scores is None:
        return [case.error or ""]
    return [*case.scores.shortfalls, *(f"False alert at {text}" for text in case.scores.false_alert_texts)]


def _result(case: Evaluated) -> str:
    if case.scores is None:
        return "NOT READ"
    return "SHORT" if case.falls_short else "ok"


def _column(title: str) -> int:
    return max(len(title), 6)


def _cell(scores: Scores | None, name: str, spec: str) -> str:
    value = getattr(scores, name, None)
    return "-" if value is None else format(value, spec)
