"""Cases that were recorded, in a folder: found, opened, kept and let go.

The folders are what counts. ``index.sqlite3`` beside them only saves reading them all to show a list: it is mended at
every look, and may be deleted at any time.
"""

import fcntl
import json
import os
import re
import shutil
import sqlite3
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from itertools import groupby, pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from drivers.archived import CASE, INDEX, ArchivedPictures, read_index
from drivers.errors import SourceError
from drivers.frame import Frame
from guidance.casebook.recorder import (
    ALERTS,
    COMMANDS,
    FINDINGS,
    PLAN,
    TIMELINE,
    CaseHeader,
    edit_header,
)
from guidance.plan import PlanError, load_plan
from guidance.records import AlertState, CasePlan, FrameState, Phase, View
from guidance.wire import AlertMessage, WireModel

SQLITE = "index.sqlite3"
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
TAIL_BYTES = 4096
Model = TypeVar("Model", bound=BaseModel)
# A table is several times faster than the enumeration itself, and a case has tens of thousands of rows.
STATES: dict[str, FrameState] = {state.value: state for state in FrameState}
PHASES: dict[str, Phase] = {phase.value: phase for phase in Phase}
VIEWS: dict[str | None, View | None] = {None: None, **{view.value: view for view in View}}


class ArchiveError(ValueError):
    """A case cannot be had or changed. One line."""


class CaseState(StrEnum):
    """How a recording stands."""

    RECORDING = "recording"
    COMPLETE = "complete"
    BROKEN_OFF = "broken_off"
    """The service was killed, or the power was: the case ends where it was lost."""


@dataclass(frozen=True, slots=True)
class CaseEntry:
    """What a list of cases tells of one. ``alerts``: how many were raised of each kind."""

    id: str
    began: datetime
    duration_s: float
    frames: int
    source: str
    tags: tuple[str, ...]
    keep: bool
    state: CaseState
    alerts: Mapping[str, int]
    bytes: int

    @property
    def complete(self) -> bool:
        """Whether it was ended in order."""
        return self.state is CaseState.COMPLETE


class TimelineRow(NamedTuple):
    """What was found on one frame, in short. ``at``: where in ``findings.jsonl`` the whole of it begins.

    ``depths``: each needle's share of the vertebral body's depth, None where that is not known.
    """

    t_s: float
    at: int
    state: FrameState
    phase: Phase
    view: View | None
    depths: Mapping[int, float | None]
    cement_mm2: float | None
    latency_ms: float | None


class CommandRow(WireModel):
    """An order that was obeyed."""

    at: datetime
    t_s: float | None
    by: str
    command: dict[str, Any]


class ArchivedCase:
    """A recorded case, opened to be looked at; also while it is being recorded, as far as it has come.

    A context manager; belongs to one thread at a time. Raises ArchiveError in one line where the folder is no case.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.id = folder.name
        self.header = read_header(folder)
        try:
            self._pictures = ArchivedPictures(folder)
            self.plan: CasePlan = load_plan(folder / PLAN) if (folder / PLAN).exists() else CasePlan()
        except (SourceError, PlanError) as error:
            raise ArchiveError(str(error)) from error
        self.times_s: NDArray[np.float64] = self._pictures.times_s
        self._damaged_lines: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._pictures)

    def frame(self, number: int) -> Frame:
        """The frame, compared with its checksum: ``flags`` has CORRUPT where it is not what was recorded."""
        if not 0 <= number < len(self):
            raise ArchiveError(f"{self.id}: no frame {number}; expected 0 to {len(self) - 1}")
        return self._pictures.frame(number)

    def number_at(self, t_s: float) -> int:
        """The last frame at or before the time; the first one before all."""
        return max(0, int(np.searchsorted(self.times_s, t_s, side="right")) - 1)

    @cached_property
    def timeline(self) -> tuple[TimelineRow, ...]:
        """A row for each line of ``findings.jsonl``, in order."""
        told = [_timeline_row(row) for row in self._rows(TIMELINE)]
        self._damaged_lines[TIMELINE] += told.count(None)
        return tuple(row for row in told if row is not None)

    def findings_at(self, t_s: float) -> dict[str, Any] | None:
        """The line of ``findings.jsonl`` that stood then: the last one at or before. None before the first."""
        found = bisect_right(self._timeline_s, t_s + 5e-7)  # findings are told to a microsecond
        if found == 0:
            return None
        with (self.folder / FINDINGS).open("rb") as file:
            file.seek(self.timeline[found - 1].at)
            line = file.readline()
        try:
            row: dict[str, Any] = json.loads(line)
        except ValueError as error:
            raise ArchiveError(
                f"{self.folder / FINDINGS}: byte {self.timeline[found - 1].at}: damaged; expected a line of JSON"
            ) from error
        return row

    @cached_property
    def _timeline_s(self) -> list[float]:
        return [row.t_s for row in self.timeline]

    @cached_property
    def alerts(self) -> tuple[AlertMessage, ...]:
        """Every change of an alert, in order."""
        return self._models(ALERTS, AlertMessage)

    @cached_property
    def commands(self) -> tuple[CommandRow, ...]:
        """Every order that was obeyed, also the plans that came into use."""
        return self._models(COMMANDS, CommandRow)

    def _models(self, name: str, model: type[Model]) -> tuple[Model, ...]:
        read: list[Model] = []
        for line in _lines(self.folder / name):
            try:
                read.append(model.model_validate_json(line))
            except ValidationError:
                self._damaged_lines[name] += 1
        return tuple(read)

    def _rows(self, name: str) -> Iterator[Any]:
        lines = _lines(self.folder / name)
        try:
            # Half as long as json.loads takes for half an hour.
            yield from from_json(b"[" + b",".join(lines) + b"]", cache_strings="keys")
            return
        except ValueError:
            pass
        for line in lines:
            try:
                yield json.loads(line)
            except ValueError:
                self._damaged_lines[name] += 1

    @property
    def state(self) -> CaseState:
        """How its recording stands."""
        return _state(self.folder, self.header)

    @property
    def missing(self) -> tuple[str, ...]:
        """What the case lacks, in words; nothing of damage inside of pictures, which ``damaged_frames`` finds."""
        return tuple(self._missing())

    def _missing(self) -> Iterator[str]:
        if self.state is CaseState.BROKEN_OFF:
            last = f"the last frame kept is of {self.times_s[-1]:.3f} s" if len(self) else "no frame was kept"
            yield f"The recording broke off: {last}"
        lost = [number for number, row in enumerate(self._pictures.rows) if row.frame < 0]
        if lost:
            yield f"The index is damaged at {in_words(lost)}"
        steps = pairwise(row.sequence for row in self._pictures.rows if row.frame >= 0)
        gaps = [later - earlier - 1 for earlier, later in steps if later > earlier + 1]
        if gaps:
            yield f"{sum(gaps)} frames did not come or were not recorded, in {len(gaps)} gaps"
        _ = self.timeline, self.alerts, self.commands
        for name, count in (+self._damaged_lines).items():
            yield f"{count} lines of {name} are damaged"

    def damaged_frames(self, progress: Callable[[int], object] = lambda done: None) -> tuple[int, ...]:
        """The numbers of all frames that are not what was recorded. Reads every one of them."""
        damaged = []
        for number in range(len(self)):
            if not self._pictures.is_whole(number):
                damaged.append(number)
            progress(1)
        return tuple(damaged)

    def close(self) -> None:
        """May be done twice."""
        self._pictures.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Archive:
    """A folder of cases. Nothing is held open between two calls."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise ArchiveError(f"{root}: no such folder; expected an archive of cases")
        self.root = root

    def cases(self) -> tuple[CaseEntry, ...]:
        """All of them, the newest first, also those that broke off or are being recorded. Folders that are no case are
        passed over. Raises ArchiveError."""
        with closing(self._index()) as index:
            known = {row[0]: (row[1], _entry(row[2])) for row in index.execute("SELECT id, stamp, entry FROM cases")}
            found = dict(self._look(known))
            changed = [(id_, *found[id_]) for id_ in found if found[id_] != known.get(id_)]
            gone = [(id_,) for id_ in known if id_ not in found]
            if changed or gone:
                with index:
                    index.executemany("DELETE FROM cases WHERE id = ?", gone)
                    rows = [(id_, stamp, _as_json(entry)) for id_, stamp, entry in changed]
                    index.executemany("INSERT OR REPLACE INTO cases VALUES (?, ?, ?)", rows)
        return tuple(sorted((entry for _, entry in found.values()), key=lambda e: (e.began, e.id), reverse=True))

    def _look(self, known: Mapping[str, tuple[int, CaseEntry]]) -> Iterator[tuple[str, tuple[int, CaseEntry]]]:
        """Every case with what its header's file looks like; read only where that has changed or is not final."""
        try:
            folders = [Path(entry) for entry in os.scandir(self.root) if entry.is_dir()]
        except OSError as error:
            raise ArchiveError(f"{self.root}: {error.strerror}; expected a readable folder") from error
        for folder in folders:
            try:
                stamp = (folder / CASE).stat().st_mtime_ns
                before = known.get(folder.name)
                is_final = before is not None and before[0] == stamp and before[1].complete
                yield folder.name, before if before is not None and is_final else (stamp, describe(folder))
            except (OSError, ArchiveError):
                continue

    def _index(self) -> sqlite3.Connection:
        with suppress(OSError):
            os.close(os.open(self.root / SQLITE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        try:
            return _open_index(str(self.root / SQLITE))
        except sqlite3.OperationalError:
            # A read-only archive is read all the same, only more slowly.
            return _open_index(":memory:")
        except sqlite3.DatabaseError:
            (self.root / SQLITE).unlink()
            return _open_index(str(self.root / SQLITE))

    def rebuild(self) -> int:
        """Make the index anew from the folders; how many cases there are. Raises ArchiveError."""
        for name in (SQLITE, f"{SQLITE}-wal", f"{SQLITE}-shm"):
            (self.root / name).unlink(missing_ok=True)
        return len(self.cases())

    def folder(self, case_id: str) -> Path:
        """The case's folder. Raises ArchiveError for an unknown case, and for what is no case's name."""
        folder = self.root / case_id
        if not ID.fullmatch(case_id) or not (folder / CASE).is_file():
            raise ArchiveError(f"{case_id!r}: no such case; expected one of the archive's")
        return folder

    def open(self, case_id: str) -> ArchivedCase:
        """The case, to be closed. Raises ArchiveError."""
        return ArchivedCase(self.folder(case_id))

    def set_keep(self, case_id: str, keep: bool) -> None:
        """Whether retention must leave it alone. Raises ArchiveError."""
        self._edit(case_id, {"keep": keep})

    def set_tags(self, case_id: str, tags: Iterable[str]) -> None:
        """Words to find it by. Raises ArchiveError."""
        self._edit(case_id, {"tags": tuple(dict.fromkeys(tags))})

    def _edit(self, case_id: str, update: Mapping[str, Any]) -> None:
        folder = self.folder(case_id)
        try:
            edit_header(folder, lambda header: header.model_copy(update=update))
        except (OSError, ValueError) as error:
            raise ArchiveError(f"{case_id}: cannot be changed ({error})") from error

    def remove(self, case_id: str) -> None:
        """Delete a case for good. Raises ArchiveError, also where it is being recorded or marked to be kept."""
        folder = self.folder(case_id)
        header = read_header(folder)
        if header.keep or _state(folder, header) is CaseState.RECORDING:
            raise ArchiveError(f"{case_id}: {'marked keep' if header.keep else 'being recorded'}; it is not deleted")
        try:
            # The header last: what is half deleted is still a case, and is deleted at the next turn.
            for file in sorted(folder.iterdir(), key=lambda file: file.name == CASE):
                shutil.rmtree(file) if file.is_dir() and not file.is_symlink() else file.unlink()
            folder.rmdir()
        except OSError as error:
            raise ArchiveError(f"{case_id}: cannot be deleted ({error})") from error

    def let_go(self, days: float | None = None, gigabytes: float | None = None) -> tuple[str, ...]:
        """Delete the oldest cases until none is older and all together are not larger. The names of those deleted.

        Never one that is marked keep or is being recorded. Raises ArchiveError.
        """
        cases = self.cases()
        over = sum(case.bytes for case in cases) - (float("inf") if gigabytes is None else gigabytes * 1e9)
        now = datetime.now(UTC)
        gone = []
        for case in reversed(cases):
            is_old = days is not None and now - case.began > timedelta(days=days)
            if (is_old or over > 0) and not case.keep and case.state is not CaseState.RECORDING:
                self.remove(case.id)
                over -= case.bytes
                gone.append(case.id)
        return tuple(gone)


def _timeline_row(row: Any) -> TimelineRow | None:
    """None for what is damaged in a way that still is JSON."""
    try:
        return TimelineRow(
            t_s=float(row["t_s"]),
            at=int(row["at"]),
            state=STATES[row["state"]],
            phase=PHASES[row["phase"]],
            view=VIEWS[row["view"]],
            depths={int(needle): share for needle, share in row["depths"].items()},
            cement_mm2=row["cement_mm2"],
            latency_ms=row["latency_ms"],
        )
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def read_header(folder: Path) -> CaseHeader:
    """``case.json``. Raises ArchiveError."""
    path = folder / CASE
    try:
        return CaseHeader.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ArchiveError(f"{path}: cannot be read ({error.strerror}); expected a recorded case") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise ArchiveError(f"{path}: {place}: {first['msg']}") from error


def describe(folder: Path) -> CaseEntry:
    """What a list of cases tells of this one. Raises ArchiveError."""
    header = read_header(folder)
    frames, duration_s = header.frames, header.duration_s
    if frames is None or duration_s is None:
        frames, duration_s = _as_far_as_it_came(folder / INDEX)
    raised: Counter[str] = Counter()
    for line in _lines(folder / ALERTS):
        try:
            alert = AlertMessage.model_validate_json(line)
        except ValidationError:
            continue  # opening the case tells of it
        if alert.state is AlertState.RAISED:
            raised[str(alert.kind)] += 1
    return CaseEntry(
        id=folder.name,
        began=header.began,
        duration_s=duration_s,
        frames=frames,
        source=header.source,
        tags=header.tags,
        keep=header.keep,
        state=_state(folder, header),
        alerts=dict(sorted(raised.items())),
        bytes=sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
    )


def _as_far_as_it_came(index: Path) -> tuple[int, float]:
    """Frames and seconds of a recording that has no end, by its last whole line."""
    try:
        with index.open("rb") as file:
            file.seek(max(0, index.stat().st_size - TAIL_BYTES))
            tail = file.read().split(b"\n")[:-1]
        last = json.loads(tail[-1])
        return int(last["frame"]) + 1, float(last["t_s"])
    except FileNotFoundError:
        return 0, 0.0
    except (OSError, ValueError, LookupError, TypeError):
        rows = read_index(index)
        return len(rows), max((row.t_s for row in rows), default=0.0)


def _state(folder: Path, header: CaseHeader) -> CaseState:
    if header.ended is not None:
        return CaseState.COMPLETE
    try:
        file = os.open(folder / INDEX, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return CaseState.BROKEN_OFF
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return CaseState.RECORDING
    finally:
        os.close(file)
    return CaseState.BROKEN_OFF


def _lines(path: Path) -> list[bytes]:
    """All whole lines; none where there is no file."""
    try:
        return [line for line in path.read_bytes().split(b"\n")[:-1] if line]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ArchiveError(f"{path}: cannot be read ({error.strerror}); expected lines of JSON") from error


def in_words(numbers: Iterable[int]) -> str:
    """Frames by their numbers, which are in order: ``frames 3, 7 to 9``."""
    runs = [[n for _, n in run] for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])]
    return "frames " + ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)


def _open_index(path: str) -> sqlite3.Connection:
    index = sqlite3.connect(path, timeout=10)
    try:
        index.execute("PRAGMA journal_mode=WAL")
        index.execute("CREATE TABLE IF NOT EXISTS cases (id TEXT PRIMARY KEY, stamp INTEGER, entry TEXT)")
        index.execute("SELECT id, stamp, entry FROM cases LIMIT 1").fetchall()
    except sqlite3.Error:
        index.close()
        raise
    return index


def _as_json(entry: CaseEntry) -> str:
    row = {name: getattr(entry, name) for name in entry.__dataclass_fields__}
    return json.dumps(row | {"began": entry.began.isoformat()})


def _entry(text: str) -> CaseEntry:
    row = json.loads(text)
    entry = CaseEntry(**row)
    return replace(
        entry,
        began=datetime.fromisoformat(row["began"]),
        tags=tuple(row["tags"]),
        state=CaseState(row["state"]),
    )
