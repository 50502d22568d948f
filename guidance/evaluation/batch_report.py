"""A batch as a table: all cases with what was told of them."""

from collections import Counter
from collections.abc import Sequence

import guidance
from guidance.casebook.document import Document, Heading, Paragraph, Table
from guidance.evaluation.batch import CaseNote
from guidance.records import AlertKind

HIGH = (AlertKind.CEMENT_IN_ZONE, AlertKind.CEMENT_ESCAPE, AlertKind.NEEDLE_IN_ZONE)
"""The clinical kinds of high priority: a case with one of them stands out."""


def as_text(notes: Sequence[CaseNote]) -> str:
    """What failed, a line each, and a line of figures."""
    failed = [note for note in notes if note.error is not None]
    frames, hours = sum(note.frames for note in notes), sum(note.duration_s for note in notes) / 3600
    lines = [f"{note.case}: {note.error}" for note in failed]
    return "\n".join([*lines, f"{len(notes)} cases, {len(failed)} failed, {frames} frames, {hours:.2f} h"])


def as_document(notes: Sequence[CaseNote]) -> Document:
    """All cases in one table, above it how often each kind of alert was raised."""
    raised = Counter[str]()
    for note in notes:
        raised.update(note.alerts_raised)
    failed = [note for note in notes if note.error is not None]
    head = ("case", "duration", "frames", "pulses", "views", "needles", "most cement", "alerts raised", "result")
    rows = tuple(_row(note) for note in notes)
    marked = frozenset(i for i, note in enumerate(notes) if any(note.alerts_raised.get(kind) for kind in HIGH))
    kinds = tuple((kind, str(count), str(_cases_with(kind, notes))) for kind, count in raised.most_common())
    hours, frames = sum(note.duration_s for note in notes) / 3600, sum(note.frames for note in notes)
    return Document(
        f"{len(notes)} cases",
        f"{hours:.2f} h · {frames} frames · {len(failed)} could not be analysed to their end",
        f"fluoroguide {guidance.__version__}",
        (
            Heading("Alerts"),
            Table(("kind", "raised", "in cases"), kinds, frozenset({1, 2})) if kinds else Paragraph("None detected."),
            Heading("Cases"),
            Paragraph("Rows with an alert of high priority about the patient are coloured."),
            Table(head, rows, frozenset({1, 2, 3, 4, 5, 6}), marked),
        ),
    )


def _cases_with(kind: str, notes: Sequence[CaseNote]) -> int:
    return sum(note.alerts_raised.get(kind, 0) > 0 for note in notes)


def _row(note: CaseNote) -> tuple[str, ...]:
    return (
        note.case,
        f"{note.duration_s:.1f} s",
        str(note.frames),
        str(note.pulses),
        str(note.views),
        str(note.needles),
        "–" if note.largest_cement_mm2 is None else f"{note.largest_cement_mm2:.0f} mm²",
        ", ".join(f"{kind} {count}" for kind, count in note.alerts_raised.items()) or "none detected",
        note.error or "analysed",
    )
