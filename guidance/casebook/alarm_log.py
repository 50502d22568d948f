"""The alarm log: every change with its time and who made it, one JSON object a line, kept through any crash.

A line is handed to the kernel before the change is told, so whatever was shown is in the log even if the process is
killed the moment after; it is forced to the disk right after, by a thread that no alert waits for, so that it survives
a power cut too. A line that a crash has torn is skipped by the reader, and counted.

``number`` gives the order. ``at`` is the wall clock's word for people: it may be set back or forward at any time.
"""

import fcntl
import json
import os
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import ValidationError

from guidance.records import Alert
from guidance.wire import AlertMessage, WireModel, alert_record

KEPT_IN_MEMORY = 1000
"""So many entries wait for a disk that cannot be written now."""

SERVICE = "fluoroguide"
"""Who changes what no person has."""


class AlarmLogError(Exception):
    """The log cannot be kept there. One line."""


class Event(StrEnum):
    """What an entry tells of."""

    STARTED = "started"
    STOPPED = "stopped"
    CASE = "case"
    ALERT = "alert"
    COMMAND = "command"


class Entry(WireModel):
    """One line. ``alert``: as it is from now on. ``command``: what was ordered, as it came over the bus."""

    number: int
    at: datetime
    event: Event
    by: str
    case: str | None = None
    t_s: float | None = None
    alert: AlertMessage | None = None
    command: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What a log holds. ``damaged``: lines that cannot be read, as a crash leaves them."""

    entries: tuple[Entry, ...]
    damaged: int

    def left_active(self, now: datetime, within: timedelta) -> tuple[Alert, ...]:
        """The alerts that were active when the service was killed; none where it ended in order, or longer ago."""
        active: dict[int, AlertMessage] = {}
        for entry in self.entries:
            if entry.event in (Event.STOPPED, Event.CASE):
                active.clear()
            elif entry.alert is not None and entry.alert.active:
                active[entry.alert.id] = entry.alert
            elif entry.alert is not None:
                active.pop(entry.alert.id, None)
        if not active or abs(now - self.entries[-1].at) > within:
            return ()
        return tuple(alert_record(alert) for alert in active.values())


def read_log(path: Path) -> Told:
    """All that a log holds; nothing where there is none. Raises AlarmLogError."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return Told((), 0)
    except OSError as error:
        raise AlarmLogError(f"{path}: cannot be read ({error.strerror}); expected an alarm log") from error
    entries: list[Entry] = []
    damaged = 0
    for line in filter(None, lines):
        try:
            entry = Entry.model_validate_json(line)
        except ValidationError:
            damaged += 1
            continue
        # What a full disk tore is written again as a whole.
        if not entries or entry.number > entries[-1].number:
            entries.append(entry)
    return Told(tuple(entries), damaged)


class AlarmLog:
    """A log being written, by one process at a time. ``note`` belongs to one thread, ``sync`` may belong to another.

    Raises AlarmLogError where the file cannot be had. Later faults are not raised, as no alert may fail for them:
    ``fault`` holds them in words, and what could not be written waits in memory and is tried again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._write_fault: str | None = None
        self._sync_fault: str | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise AlarmLogError(f"{path}: cannot be written ({error.strerror}); expected an alarm log") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise AlarmLogError(
                f"{path}: another service is writing it; expected one log each: choose another with --alarm-log"
            ) from error
        self._before = read_log(path)
        self._number = 1 + (self._before.entries[-1].number if self._before.entries else 0)
        self._waiting: deque[bytes] = deque(maxlen=KEPT_IN_MEMORY)
        # A torn last line must not swallow the next one.
        self._at_line_start = path.stat().st_size == 0 or path.read_bytes().endswith(b"\n")
        self._unsynced = threading.Event()

    def left_active(self, within_h: float) -> tuple[Alert, ...]:
        """The alerts that were active when the last service was killed, if that is not longer ago."""
        return self._before.left_active(datetime.now(UTC), timedelta(hours=within_h))

    def note(
        self,
        event: Event,
        by: str = SERVICE,
        case: str | None = None,
        t_s: float | None = None,
        alerts: Iterable[AlertMessage | None] = (None,),
        command: dict[str, Any] | None = None,
    ) -> None:
        """Hand an entry for each alert to the kernel, all in one write. Does not wait for the disk."""
        for alert in alerts:
            self._add(event, by, case, t_s, alert, command)
        self.flush()

    def begin_case(self, case: str, carried: Iterable[AlertMessage]) -> None:
        """Note that a case begins and what it begins with, in one write: a crash between the two would lose that."""
        self._add(Event.CASE, SERVICE, case)
        for alert in carried:
            self._add(Event.ALERT, SERVICE, case, alert=alert)
        self.flush()

    def _add(
        self,
        event: Event,
        by: str,
        case: str | None = None,
        t_s: float | None = None,
        alert: AlertMessage | None = None,
        command: dict[str, Any] | None = None,
    ) -> None:
        entry = Entry(
            number=self._number,
            at=datetime.now(UTC),
            event=event,
            by=by,
            case=case,
            t_s=t_s,
            alert=alert,
            command=command,
        )
        self._number += 1
        row = {name: value for name, value in entry.model_dump(mode="json").items() if value is not None}
        self._waiting.append(json.dumps(row, ensure_ascii=False).encode() + b"\n")

    @property
    def fault(self) -> str | None:
        """Why changes are not kept, in words; None while they are. May be asked from any thread."""
        return self._write_fault or self._sync_fault

    def flush(self) -> None:
        """Try to write what waits, and look whether the file is still there."""
        data = (b"" if self._at_line_start else b"\n") + b"".join(self._waiting)
        try:
            if os.fstat(self._file).st_nlink == 0:
                self._write_fault = "the file was deleted"
                return
            written = os.write(self._file, data) if self._waiting else len(data)
        except OSError as error:
            self._write_fault = error.strerror or str(error)
            return
        if written < len(data):
            # The disk is full: whole lines are tried again, the torn one is skipped by the reader.
            self._at_line_start = False
            self._write_fault = "the disk is full"
            return
        self._write_fault = None
        if not self._waiting:
            return
        self._at_line_start = True
        self._waiting.clear()
        self._unsynced.set()

    def sync(self, timeout_s: float) -> None:
        """Force to the disk what was written; waits so long for something to be. A fault is kept, not raised."""
        if not self._unsynced.wait(timeout_s):
            return
        self._unsynced.clear()
        try:
            os.fsync(self._file)
        except OSError as error:
            self._sync_fault = error.strerror or str(error)
        else:
            self._sync_fault = None

    @property
    def free_mb(self) -> float | None:
        """How much may still be written there; None where the disk does not say."""
        try:
            disk = os.fstatvfs(self._file)
        except OSError:
            return None
        return disk.f_bavail * disk.f_frsize / 1e6

    def close(self) -> None:
        """Write and sync what waits. May be called twice."""
        if self._file >= 0:
            self.flush()
            self.sync(0)
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def default_path(bus_port: int) -> Path:
    """Where the log of the service on this port is kept unless told otherwise: the user's own state folder."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "fluoroguide" / f"alarms-{bus_port}.jsonl"
