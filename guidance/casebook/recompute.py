"""A case analysed again by the present version, in a process of its own that takes only what nobody else needs.

``python -m guidance.casebook.recompute CASE`` writes beside the recording, which it never touches:
``recomputed/VERSION/`` with ``findings.jsonl``, ``alerts.jsonl``, ``differences.json`` and ``progress.json``. The
orders that were given then are given again, at the same frames.
"""

import fcntl
import json
import os
import sys
import time
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

import guidance
from drivers.errors import SourceError
from drivers.sources import open_source
from guidance.casebook.archive import ArchivedCase, ArchiveError, CommandRow
from guidance.casebook.differences import Difference, FindingsDifferences, alert_differences
from guidance.casebook.replay import write_line
from guidance.casebook.shown import SAME_MOMENT_S
from guidance.plan import PlanError, PlanFile, ZoneEntry
from guidance.records import Alert, Phase, View, Zone
from guidance.safety.alarms import Watch, carried_over
from guidance.settings import Settings
from guidance.vision.pipeline import NothingSeenError, Pipeline
from guidance.wire import AlertMessage, FindingsMessage, alert_json, alert_message, findings_message

FOLDER = "recomputed"
FINDINGS, ALERTS, TIMES, DIFFERENCES, PROGRESS, LOCK = (
    "findings.jsonl",
    "alerts.jsonl",
    "times.f64",
    "differences.json",
    "progress.json",
    "lock",
)
TOLD_EVERY_S = 0.5
UNSEEN = frozenset({"acknowledge", "audio_pause", "marker", "source", "next_patient"})
"""Orders that change nothing of what is seen in a case."""


class RecomputeError(Exception):
    """A case cannot be analysed again. One line."""


def version_folder(case_folder: Path) -> Path:
    """Where the present version's analysis of a case is kept."""
    return case_folder / FOLDER / guidance.__version__


def recompute(case: ArchivedCase, settings: Settings = Settings()) -> None:  # noqa: B008 - frozen
    """Analyse every frame of the case and write what comes of it. Raises RecomputeError."""
    out = version_folder(case.folder)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with _alone(out), _Progress(out / PROGRESS, len(case)) as progress:
            differences = _analyse_again(case, settings, out, progress)
            rows = [difference.as_json() for difference in differences]
            _replace(out / DIFFERENCES, json.dumps(rows, ensure_ascii=False).encode())
            progress.finish()
    except OSError as error:
        raise RecomputeError(
            f"{error.filename or out}: cannot be written ({error.strerror}); expected a writable folder"
        ) from error
    except SourceError as error:
        raise RecomputeError(str(error)) from error


def _analyse_again(case: ArchivedCase, settings: Settings, out: Path, progress: "_Progress") -> list[Difference]:
    found = FindingsDifferences()
    then = _Recorded(case)
    raised: list[AlertMessage] = []
    with (
        (out / FINDINGS).open("wb") as findings_file,
        (out / ALERTS).open("w", encoding="utf-8") as alerts_file,
        (out / TIMES).open("wb") as times_file,
        open_source(str(case.folder)) as source,
    ):
        room = _Room(case, settings, Pipeline(case.plan, source.info))
        for frame in source:
            progress.note_not_obeyed(room.obey_until(frame.t_s, then))
            findings = room.pipeline.step(frame)
            changes = [*room.changes, *room.watch.step(findings)]
            room.changes.clear()
            room.note_pulse(findings.pulse, findings.t_s)
            now = findings_message(findings)
            times_file.write(np.array([findings.t_s, findings_file.tell()]).tobytes())
            findings_file.write(now.model_dump_json().encode() + b"\n")
            for change in changes:
                write_line(alerts_file, alert_json(change))
                raised.append(alert_message(change))
            before = then.at(now.t_s)
            if before is not None:
                found.note(before, now)
            progress.step(then.unreadable)
    return sorted([*alert_differences(case.alerts, raised), *found.found()], key=lambda one: one.from_s)


class _Recorded:
    """The findings that were recorded, read once from first to last, and when each pulse of theirs was first seen.

    ``unreadable``: how many of them are damaged.
    """

    def __init__(self, case: ArchivedCase) -> None:
        self._case = case
        self._next = 0
        self._pulses: list[tuple[int, float]] = []
        self.unreadable = 0

    def at(self, t_s: float) -> FindingsMessage | None:
        """What was recorded of just this frame; None where nobody looked at it."""
        rows = self._case.timeline
        while self._next < len(rows) and rows[self._next].t_s < t_s - SAME_MOMENT_S:
            self._next += 1
        if self._next == len(rows) or rows[self._next].t_s > t_s + SAME_MOMENT_S:
            return None
        try:
            told = FindingsMessage.model_validate(self._case.findings_at(rows[self._next].t_s))
        except (ArchiveError, ValidationError):
            self.unreadable += 1
            return None
        if not self._pulses or told.pulse > self._pulses[-1][0]:
            self._pulses.append((told.pulse, told.t_s))
        return told

    def time_of(self, pulse: int) -> float | None:
        """When the last pulse up to this number was first seen."""
        place = bisect_right(self._pulses, (pulse, float("inf"))) - 1
        return None if place < 0 else self._pulses[place][1]


class _Room:
    """The present version, given the orders of then. ``changes``: of alerts, by orders, not told yet."""

    def __init__(self, case: ArchivedCase, settings: Settings, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.changes: list[Alert] = []
        self._settings = settings
        self._limits = settings.limits(case.plan)
        self.watch = Watch(self._limits, settings.timing())
        self._orders = [row for row in case.commands if row.t_s is not None]
        self._pulses: list[tuple[float, int]] = []

    def note_pulse(self, pulse: int, t_s: float) -> None:
        if not self._pulses or pulse > self._pulses[-1][1]:
            self._pulses.append((t_s, pulse))

    def obey_until(self, t_s: float, then: _Recorded) -> list[str]:
        """Obey what was ordered before the frame at ``t_s``; in words, what cannot be obeyed now."""
        refused = []
        while self._orders and (given_s := self._orders[0].t_s) is not None and given_s < t_s - SAME_MOMENT_S:
            row = self._orders.pop(0)
            try:
                self._obey(row, then)
            except (NothingSeenError, PlanError, ValueError, KeyError) as error:
                refused.append(f"at {given_s:.1f} s, {row.command.get('kind')}: {error}")
        return refused

    def _obey(self, row: CommandRow, then: _Recorded) -> None:
        order: Mapping[str, Any] = row.command
        match order["kind"]:
            case "phase":
                self.pipeline.set_phase(Phase(order["phase"]))
            case "view":
                self.pipeline.set_view(View(order["view"]))
            case "zone":
                entry = ZoneEntry.model_validate(order["zone"])
                zone = Zone(entry.id, entry.kind, np.array(entry.polygon_px, dtype=np.float64))
                pulse = order.get("pulse")
                self.pipeline.set_zone(zone, None if pulse is None else self._pulse_now(pulse, then))
            case "remove_zone":
                self.pipeline.remove_zone(order["id"])
            case "reference":
                self.pipeline.take_reference()
                self._carry_over()
            case "plan":
                plan = PlanFile.model_validate(
                    {name: value for name, value in order["plan"].items() if value is not None}
                ).record()
                drawn_on = {View(one["view"]): self._pulse_now(one["pulse"], then) for one in order["drawn_on"]}
                self.pipeline.use_plan(plan, drawn_on)
                self._limits = self._settings.limits(plan)
                self.watch.use(self._limits)
            case "field":
                outline = order.get("polygon_px")
                polygon = None if outline is None else np.array(outline, dtype=np.float64)
                if self.pipeline.pin_field(polygon, order.get("bone_dark")):
                    self._carry_over()
            case kind if kind not in UNSEEN:
                raise ValueError("an order that this version does not know")

    def _carry_over(self) -> None:
        """As the service does: what the old reference has shown, a new one cannot show to be over."""
        self.watch = Watch(self._limits, self._settings.timing(), carried_over(self.watch.active))

    def _pulse_now(self, pulse: int, then: _Recorded) -> int:
        """The number that the same picture has in this analysis, which looks at frames that the other passed over."""
        t_s = then.time_of(pulse)
        place = -1 if t_s is None else bisect_right(self._pulses, (t_s + SAME_MOMENT_S, sys.maxsize)) - 1
        if place < 0:
            raise NothingSeenError(f"pulse {pulse} was not recorded")
        return self._pulses[place][1]


class _Progress:
    """``progress.json``: how far it has come, twice a second; the file is whole at every moment."""

    def __init__(self, path: Path, frames: int) -> None:
        self._path = path
        self._row: dict[str, Any] = {
            "software": f"fluoroguide {guidance.__version__}",
            "frames": frames,
            "done": 0,
            "complete": False,
            "error": None,
            "not_obeyed": [],
            "unreadable": 0,
        }
        self._told_s = float("-inf")

    def step(self, unreadable: int) -> None:
        self._row["done"] += 1
        self._row["unreadable"] = unreadable
        if time.monotonic() - self._told_s > TOLD_EVERY_S:
            self._tell()

    def note_not_obeyed(self, words: list[str]) -> None:
        self._row["not_obeyed"] += words

    def finish(self) -> None:
        self._row["complete"] = True

    def _tell(self) -> None:
        self._told_s = time.monotonic()
        _replace(self._path, json.dumps(self._row, ensure_ascii=False).encode())

    def __enter__(self) -> Self:
        self._tell()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self._row["error"] = " ".join(str(error).split()) or type(error).__name__
        self._tell()


class Recomputed:
    """What the present version has made of a case: only once ``progress_of`` says that it is complete."""

    def __init__(self, case_folder: Path) -> None:
        self._folder = version_folder(case_folder)
        self._times = _times(self._folder / TIMES)
        self.alerts: tuple[AlertMessage, ...] = ()
        if (self._folder / ALERTS).exists():
            lines = (self._folder / ALERTS).read_bytes().split(b"\n")
            self.alerts = tuple(AlertMessage.model_validate_json(line) for line in lines[:-1])

    def findings_at(self, t_s: float) -> dict[str, Any] | None:
        """The line of the last frame at or before; None before the first."""
        place = int(np.searchsorted(self._times[:, 0], t_s + SAME_MOMENT_S, side="right")) - 1
        if place < 0:
            return None
        with (self._folder / FINDINGS).open("rb") as file:
            file.seek(int(self._times[place, 1]))
            line = file.readline()
        found: dict[str, Any] = json.loads(line)
        return found


def progress_of(case_folder: Path) -> dict[str, Any] | None:
    """How far the present version has come with a case: ``progress.json``, ``running`` and, at the end,
    ``differences``; None where it has not begun.
    """
    folder = version_folder(case_folder)
    try:
        told: dict[str, Any] = json.loads((folder / PROGRESS).read_bytes())
    except (OSError, ValueError):
        return None
    told["running"] = _is_locked(folder / LOCK)
    told["differences"] = json.loads((folder / DIFFERENCES).read_bytes()) if told["complete"] else []
    return told


def forget(case_folder: Path) -> None:
    """What the present version has made of a case counts no more. Raises RecomputeError while it is still at it."""
    folder = version_folder(case_folder)
    if _is_locked(folder / LOCK):
        raise RecomputeError(f"{case_folder.name}: is being analysed already")
    (folder / PROGRESS).unlink(missing_ok=True)


def _times(path: Path) -> NDArray[np.float64]:
    """Times and places of the lines that are whole, (n, 2)."""
    data = path.read_bytes() if path.exists() else b""
    return np.frombuffer(data[: len(data) // 16 * 16]).reshape(-1, 2)


@contextmanager
def _alone(out: Path) -> Iterator[IO[bytes]]:
    """Nobody else writes into the folder meanwhile; the kernel lets go of it however this process ends."""
    with (out / LOCK).open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RecomputeError(f"{out}: is being analysed already") from error
        yield lock


def _is_locked(path: Path) -> bool:
    try:
        with path.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _replace(path: Path, data: bytes) -> None:
    """Write a file so that whoever reads it finds the one before or this one, whole."""
    beside = path.with_suffix(".new")
    beside.write_bytes(data)
    beside.replace(path)


def _give_way() -> None:
    """Run only when nothing else wants to: the live analysis and whoever looks at its pictures come first."""
    os.nice(19)
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def main(arguments: list[str]) -> int:
    """Analyse the case in a folder again; 0 when done, 1 where that cannot be done."""
    _give_way()
    try:
        with ArchivedCase(Path(arguments[0])) as case:
            recompute(case)
    except (RecomputeError, ArchiveError) as error:
        sys.stderr.write(f"fluoroguide: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
