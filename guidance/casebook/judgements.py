"""What people who look at a case afterwards say of its alerts: a line each, never changed, the last one counts."""

import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from guidance.casebook.recorder import JUDGEMENTS
from guidance.records import AlertKind


class JudgementError(ValueError):
    """A judgement cannot be kept or read. One line."""


class Verdict(StrEnum):
    """``LATE``: right, and should have come at ``t_s``. ``MISSED``: none came, and should have at ``t_s``."""

    RIGHT = "right"
    WRONG = "wrong"
    LATE = "late"
    MISSED = "missed"


class Said(BaseModel):
    """A judgement as somebody gives it.

    ``alert``: which one, None of one that was missed; that has a ``kind`` instead, and a ``zone`` where it has one.
    ``t_s``: when the alert came or, late or missed, should have come. ``withdrawn``: the one said before of the same
    alert, or missed at the same time, no longer holds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    alert: Annotated[int, Field(ge=0)] | None = None
    t_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    verdict: Verdict
    note: Annotated[str, Field(max_length=2000)] = ""
    kind: AlertKind | None = None
    zone: Annotated[str, Field(max_length=64)] | None = None
    withdrawn: bool = False

    @model_validator(mode="after")
    def _is_about_something(self) -> "Said":
        is_missed = self.verdict is Verdict.MISSED
        if is_missed != (self.alert is None) or is_missed != (self.kind is not None):
            raise ValueError("expected the alert's number, or for a missed one its kind and no number")
        return self

    @property
    def subject(self) -> tuple[int | None, float | None]:
        """What it is about: a later judgement of the same takes the place of this one."""
        return (self.alert, None) if self.alert is not None else (None, self.t_s)


class Judgement(Said):
    """A judgement as it is kept: ``at`` when (UTC), ``by`` whom."""

    at: str
    by: str


def judge(folder: Path, said: Said, by: str) -> Judgement:
    """Append what ``by`` says of the case in ``folder``; it is on the disk when this returns. Raises JudgementError."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    kept = Judgement(at=at, by=by, **said.model_dump())
    line = json.dumps(kept.model_dump(mode="json"), ensure_ascii=False, allow_nan=False).encode() + b"\n"
    path = folder / JUDGEMENTS
    try:
        with path.open("ab+", buffering=0) as file:
            # A line that a crash has torn must not swallow this one.
            size = file.seek(0, os.SEEK_END)
            torn = size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"
            data = b"\n" + line if torn else line
            if file.write(data) != len(data):
                raise JudgementError(f"{path}: the disk is full")
            os.fsync(file.fileno())
    except OSError as error:
        raise JudgementError(f"{path}: cannot be written ({error.strerror}); expected a writable folder") from error
    return kept


def judgements(folder: Path) -> tuple[tuple[Judgement, ...], tuple[str, ...]]:
    """All that was said of the case in ``folder``, the oldest first, and in words which lines cannot be read."""
    path = folder / JUDGEMENTS
    try:
        lines = path.read_bytes().split(b"\n") if path.exists() else []
    except OSError as error:
        raise JudgementError(f"{path}: cannot be read ({error.strerror})") from error
    kept: list[Judgement] = []
    faults: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            kept.append(Judgement.model_validate_json(line))
        except ValidationError:
            faults.append(f"line {number} of {JUDGEMENTS} cannot be read")
    return tuple(kept), tuple(faults)


def standing(said: Iterable[Judgement]) -> tuple[Judgement, ...]:
    """The judgements that hold: of each alert, and of each missed one, the last word, unless that withdraws it."""
    last = {one.subject: one for one in said}
    return tuple(one for one in last.values() if not one.withdrawn)
