"""A case that is handed on: its frames, what was found on them, and whose it is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from drivers.archived import INDEX
from drivers.frame import Frame, FrameSource
from guidance.casebook.archive import ArchivedCase
from guidance.casebook.recorder import FINDINGS, PATIENT
from guidance.casebook.results import Results
from guidance.handon import HandOnError
from guidance.handon.patient import Patient

TOLERANCE_S = 5e-7
"""Times are told to a microsecond, here and in the findings."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Which of a case's frames are handed on: from ``from_s`` up to and including ``to_s``, seconds from its first
    frame.

    ``every_pulse``: a picture that comes again unchanged, as a monitor's output repeats each pulse, is in it once.
    """

    from_s: float = 0.0
    to_s: float = float("inf")
    every_pulse: bool = False

    def holds(self, times_s: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of these times, from the case's first frame, are in it."""
        return (times_s >= self.from_s - TOLERANCE_S) & (times_s <= self.to_s + TOLERANCE_S)


@dataclass(frozen=True, slots=True)
class RecordedCase:
    """A folder of the archive, or any recording with the results of its replay.

    ``open``: a source of its frames, new for each reading. ``results``: the folder with ``findings.jsonl`` and
    ``alerts.jsonl``, None without. ``began``: when its first frame came; None where nobody noted it. ``patient``: as
    ``patient.json`` in the case's folder says; None without one. ``missing``: what an archived case lacks, in words.
    ``archived``: the folder of an archived case, None of any other recording.
    """

    open: Callable[[], FrameSource]
    results: Path | None = None
    began: datetime | None = None
    patient: Patient | None = None
    missing: tuple[str, ...] = ()
    archived: Path | None = None

    @classmethod
    def of(cls, spec: str, open_source: Callable[[str], FrameSource], results: Path | None = None) -> Self:
        """The case that a path or URL names. ``results``: in the place of what the case has beside it.

        Raises HandOnError, and ArchiveError of an archived case, where something cannot be read.
        """
        folder = Path(spec)
        if results is not None and not (results / FINDINGS).is_file():
            raise HandOnError(f"{results}: no {FINDINGS}; expected the folder that a replay wrote")
        if results is None and (folder / FINDINGS).is_file():
            results = folder
        began: datetime | None = None
        missing: tuple[str, ...] = ()
        is_archived = (folder / INDEX).is_file()
        if is_archived:
            with ArchivedCase(folder) as archived:
                began, missing = archived.header.began, archived.missing
        return cls(
            open=lambda: open_source(spec),
            results=results,
            began=began,
            patient=Patient.read(folder / PATIENT) if (folder / PATIENT).is_file() else None,
            missing=missing,
            archived=folder if is_archived else None,
        )

    def glimpses(self, excerpt: Excerpt, count: int) -> Iterator[Frame]:
        """Sound frames all over the excerpt: of an archived case ``count`` at most, else each pulse of the recording.

        An archived frame is read by its place; to reach one in the middle of another recording all before it are read.
        """
        if self.archived is None:
            with self.open() as source:
                yield from (frame for _, frame in chosen(iter(source), replace(excerpt, every_pulse=True)))
            return
        with ArchivedCase(self.archived) as case:
            inside = np.flatnonzero(excerpt.holds(case.times_s))
            for number in np.unique(np.linspace(0, len(inside) - 1, min(count, len(inside))).astype(int)):
                frame = case.frame(int(inside[number]))
                if not frame.flags:
                    yield frame

    def told(self) -> Results | None:
        """What was found and told beside its frames; None without results. Raises ResultsError."""
        return None if self.results is None else Results(self.results)


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
        if t_s > excerpt.to_s + TOLERANCE_S:
            return
        if t_s < excerpt.from_s - TOLERANCE_S or frame.flags:
            continue
        if excerpt.every_pulse and before is not None and np.array_equal(before, frame.pixels):
            continue
        before = frame.pixels
        yield t_s, frame
