"""A campaign: many drawn procedures analysed and held against their bounds, broken off and taken up again at will.

Each trial's notes are one line of a file, written when the trial is done; a campaign that finds its file there goes on
where it stopped.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

import guidance
from guidance.casebook.case import CaseError
from guidance.evaluation import leak_study, needle_study, root_study
from guidance.evaluation.figures import Figure, as_lines
from guidance.evaluation.leak_trials import leak_trial
from guidance.evaluation.root_trials import root_trial
from guidance.evaluation.trials import Trial, needle_trial

Notes = Any
"""What a study notes on a trial: a dataclass of its own with the trial's ``number``."""


@dataclass(frozen=True, slots=True)
class Study:
    """What a campaign is about: which trials it draws, what it notes on each, and what comes of all notes."""

    draw: Callable[[int, int, Path | None], Trial]
    measure: Callable[[Trial], Notes]
    notes: TypeAdapter[Notes]
    figures: Callable[[Sequence[Notes]], list[Figure]]
    shortfall: Callable[[Notes], str]
    more: Callable[[Sequence[Notes]], list[str]] | None = None


STUDIES = {
    "needles": Study(
        needle_trial,
        needle_study.measure,
        TypeAdapter(needle_study.NeedleNotes),
        needle_study.figures,
        needle_study.shortfall,
        needle_study.reliability_lines,
    ),
    "leaks": Study(
        leak_trial,
        leak_study.measure,
        TypeAdapter(leak_study.LeakNotes),
        leak_study.figures,
        leak_study.shortfall,
        leak_study.setting_lines,
    ),
    "roots": Study(
        root_trial, root_study.measure, TypeAdapter(root_study.RootNotes), root_study.figures, root_study.shortfall
    ),
}


@dataclass(frozen=True, slots=True)
class Campaign:
    """Which trials: the first ``trials`` of those that ``seed`` draws. ``ct``: a CT volume for some of the patients."""

    about: str
    trials: int
    seed: int = 1
    ct: Path | None = None

    @property
    def study(self) -> Study:
        """What it is about."""
        return STUDIES[self.about]

    @property
    def header(self) -> dict[str, Any]:
        """What the notes of a campaign must have in common: the first line of their file."""
        return {
            "schema": 1,
            "campaign": self.about,
            "software": guidance.__version__,
            "seed": self.seed,
            "ct": None if self.ct is None else self.ct.name,
        }


def run_campaign(
    campaign: Campaign, file: Path | None, jobs: int | None = None, progress: Callable[[int], None] = lambda done: None
) -> list[Notes]:
    """The notes of all trials in order, those in ``file`` taken over and the new ones added to it as they come.

    ``jobs``: processes, by default one a processor; 1 works in this one. ``progress`` is called with the number of
    trials done at the start and whenever one is. Raises CaseError where the file belongs to another campaign or
    is damaged before its last line, and OSError where it cannot be written.
    """
    done = {} if file is None else {n.number: n for n in _take_up(campaign, file)}
    progress(len(done))
    missing = [number for number in range(campaign.trials) if number not in done]
    for notes in _measured(campaign, missing, jobs or os.cpu_count() or 1):
        done[notes.number] = notes
        if file is not None:
            with file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(asdict(notes), separators=(",", ":"), allow_nan=False) + "\n")
        progress(1)
    return [done[number] for number in range(campaign.trials)]


def _take_up(campaign: Campaign, file: Path) -> list[Notes]:
    """The notes that a file holds already; a new file gets its header, a last line cut short is dropped."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(campaign.header) + "\n", encoding="utf-8")
        return []
    text = file.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    header, *rows = whole.splitlines() or [""]
    if header != json.dumps(campaign.header):
        raise CaseError(f"{file}: line 1: expected {json.dumps(campaign.header)}, the header of this campaign")
    if whole != text:
        file.write_text(whole, encoding="utf-8")
    return [_note_of(campaign, file, number, row) for number, row in enumerate(rows, start=2)]


def _note_of(campaign: Campaign, file: Path, line: int, row: str) -> Notes:
    try:
        return campaign.study.notes.validate_json(row)
    except ValidationError as error:
        raise CaseError(f"{file}: line {line}: {error.errors()[0]['msg']}; expected a trial's notes") from error


def _measured(campaign: Campaign, numbers: Sequence[int], jobs: int) -> Iterator[Notes]:
    if jobs == 1 or len(numbers) < 2:
        yield from (_measure(campaign, number) for number in numbers)
        return
    # Not forked: this process may hold threads of OpenCV and zmq.
    pool = ProcessPoolExecutor(min(jobs, len(numbers)), get_context("spawn"))
    try:
        yield from pool.map(partial(_measure, campaign), numbers)
    finally:
        pool.shutdown(cancel_futures=True)


def _measure(campaign: Campaign, number: int) -> Notes:
    return campaign.study.measure(campaign.study.draw(number, campaign.seed, campaign.ct))


def as_table(campaign: Campaign, notes: Sequence[Notes]) -> str:
    """The figures beside their bounds, what else the study shows, and what fell short, trial by trial."""
    pulses = sum(n.pulses for n in notes)
    lines = [f"{len(notes)} trials, {pulses} pulses", "", *as_lines(campaign.study.figures(notes))]
    if campaign.study.more is not None:
        lines += ["", *campaign.study.more(notes)]
    short = [f"  {n.name}: {words}" for n in notes if (words := campaign.study.shortfall(n))]
    return "\n".join([*lines, "", f"{len(short)} trials fall short", *short])


def falls_short(campaign: Campaign, notes: Sequence[Notes]) -> bool:
    """Whether any figure misses its bound."""
    return not all(figure.is_reached for figure in campaign.study.figures(notes))
