"""What was told of a case, read back: the findings and alerts of a replay's folder, or of a recorded case's."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from guidance.records import Alert, Findings
from guidance.wire import AlertMessage, FindingsMessage, alert_record, findings_record

FINDINGS, ALERTS, SUMMARY = "findings.jsonl", "alerts.jsonl", "summary.json"

SAME_TIME_S = 1e-6
"""Times are written to a millionth of a second."""


class ResultsError(ValueError):
    """Results cannot be used; one line that names the file, the place in it and what was expected."""


class Results:
    """``findings.jsonl`` and ``alerts.jsonl`` of a folder. Raises ResultsError where there are none.

    ``summary``: the contents of ``summary.json``; None in a recorded case, which has none. ``damage``: the lines that
    could not be read so far, in words; a last line cut short, as power loss leaves it, is passed over.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damage: list[str] = []
        if not (folder / FINDINGS).is_file():
            raise ResultsError(f"{folder}: no {FINDINGS}; expected the folder of a replay or a recorded case")
        self.summary = self._read_summary()
        self.alerts = tuple(self._read_alerts())

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every line of the findings as JSON's own types, in order."""
        yield from self._lines(FINDINGS)

    def findings_at(self, times_s: Sequence[float]) -> list[Findings | None]:
        """What was told last at or before each time; None before the first line."""
        wanted = sorted(set(times_s))
        found: dict[float, Findings | None] = {}
        last: dict[str, Any] | None = None
        for row in self.rows():
            while len(found) < len(wanted) and row["t_s"] > wanted[len(found)] + SAME_TIME_S:
                found[wanted[len(found)]] = self._findings(last)
            if len(found) == len(wanted):
                break
            last = row
        for t_s in wanted[len(found) :]:
            found[t_s] = self._findings(last)
        return [found[t_s] for t_s in times_s]

    def active_at(self, t_s: float) -> tuple[Alert, ...]:
        """The alerts that were shown at that time, each as it stood."""
        standing = {change.id: change for change in self.alerts if change.t_s <= t_s + SAME_TIME_S}
        return tuple(alert_record(change) for change in standing.values() if change.active)

    def _findings(self, row: dict[str, Any] | None) -> Findings | None:
        if row is None:
            return None
        try:
            return findings_record(FindingsMessage.model_validate(row))
        except ValidationError as error:
            raise ResultsError(
                f"{self.folder / FINDINGS}: frame {row.get('frame')}: {_complaint(error)}; expected a line of findings"
            ) from error

    def _read_alerts(self) -> Iterator[AlertMessage]:
        if not (self.folder / ALERTS).is_file():
            return
        for row in self._lines(ALERTS):
            try:
                yield AlertMessage.model_validate(row)
            except ValidationError as error:
                self.damage.append(f"{ALERTS}: {_complaint(error)}")

    def _read_summary(self) -> dict[str, Any] | None:
        path = self.folder / SUMMARY
        if not path.is_file():
            return None
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise ResultsError(f"{path}: {error}; expected the summary of a replay") from error

    def _lines(self, name: str) -> Iterator[dict[str, Any]]:
        try:
            with (self.folder / name).open("rb") as file:
                for number, line in enumerate(file, start=1):
                    if not line.endswith(b"\n"):
                        return
                    try:
                        yield dict(json.loads(line))
                    except (ValueError, TypeError):
                        self.damage.append(f"{name}: line {number} cannot be read")
        except OSError as error:
            raise ResultsError(f"{self.folder / name}: {error.strerror}; expected a readable file") from error


def _complaint(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
