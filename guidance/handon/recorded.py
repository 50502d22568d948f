"""A case that is handed on: its frames, what was found on them, and whose it is."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from drivers.frame import Frame, FrameSource
from guidance.handon import HandOnError
from guidance.handon.patient import FILE_NAME, Patient
from guidance.wire import AlertMessage

FINDINGS, ALERTS = "findings.jsonl", "alerts.jsonl"


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Which of a case's frames are handed on: from ``from_s`` up to and including ``to_s``, seconds from its first
    frame.

    ``every_pulse``: a picture that comes again unchanged, as a monitor's output repeats each pulse, is in it once.
    """

    from_s: float = 0.0
    to_s: float = float("inf")
    every_pulse: bool = False


@dataclass(frozen=True, slots=True)
class RecordedCase:
    """A folder of the archive, or any recording with the results of its replay.

    ``open``: a source of its frames, new for each reading. ``results``: the folder with ``findings.jsonl`` and
    ``alerts.jsonl``, None without. ``began``: when its first frame came; None where nobody noted it. ``patient``: as
    ``patient.json`` in the case's folder says; None without one.
    """

    name: str
    open: Callable[[], FrameSource]
    results: Path | None = None
    began: datetime | None = None
    patient: Patient | None = None

    @classmethod
    def of(cls, spec: str, open_source: Callable[[str], FrameSource], results: Path | None = None) -> "RecordedCase":
        """The case that a path or URL names. Raises HandOnError on results or notes beside it that cannot be read."""
        folder = Path(spec)
        if results is not None and not (results / FINDINGS).is_file():
            raise HandOnError(f"{results}: no {FINDINGS}; expected the folder that a replay wrote")
        if results is None and (folder / FINDINGS).is_file():
            results = folder
        noted = folder / FILE_NAME
        return cls(
            name=folder.name,
            open=lambda: open_source(spec),
            results=results,
            began=_began(folder / "case.json"),
            patient=Patient.read(noted) if noted.is_file() else None,
        )

    def findings(self) -> Iterator[dict[str, Any]]:
        """The lines of ``findings.jsonl`` as JSON, in order; none without results. Raises HandOnError."""
        if self.results is not None:
            yield from _lines(self.results / FINDINGS)

    def alerts(self) -> Iterator[AlertMessage]:
        """All changes of alerts, in order; none without results. Raises HandOnError."""
        if self.results is None or not (self.results / ALERTS).is_file():
            return
        for number, line in enumerate(_lines(self.results / ALERTS), 1):
            try:
                yield AlertMessage.model_validate(line)
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                place = ".".join(str(part) for part in first["loc"])
                raise HandOnError(f"{self.results / ALERTS}: line {number}: {place}: {first['msg']}") from error


def chosen(frames: Iterator[Frame], excerpt: Excerpt) -> Iterator[tuple[float, Frame]]:
    """Each frame of the excerpt with its time from the case's first frame; damaged ones and those without signal are
    left out.

    The times of the others stay true, so that a gap shows as one.
    """
    first_s: float | None = None
    before = None
    for frame in frames:
        first_s = frame.t_s if first_s is None else first_s
        t_s = frame.t_s - first_s
        if t_s > excerpt.to_s:
            return
        if t_s < excerpt.from_s or frame.flags:
            continue
        if excerpt.every_pulse and before is not None and np.array_equal(before, frame.pixels):
            continue
        before = frame.pixels
        yield t_s, frame


def _began(path: Path) -> datetime | None:
    if not path.is_file():
        return None
    try:
        began = datetime.fromisoformat(json.loads(path.read_text(encoding="utf-8"))["began"])
        if began.tzinfo is None:
            raise ValueError("a time without its zone")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HandOnError(f"{path}: began: {error}; expected a time in UTC, as 2026-11-30T16:52:14Z") from error
    return began


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith("\n"):
                    # What was being written when the recording broke off.
                    return
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise HandOnError(f"{path}: line {number}: not valid JSON ({error})") from error
                if not isinstance(row, dict):
                    raise HandOnError(f"{path}: line {number}: expected an object")
                yield row
    except (OSError, UnicodeDecodeError) as error:
        raise HandOnError(f"{path}: cannot be read ({error}); expected lines of JSON") from error
