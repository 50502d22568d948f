"""The audit log: who did what, when and from where, one JSON object a line, beside the alarm log.

A line is handed to the kernel before the answer goes out, so that whatever was answered is in the log even if the
process is killed the moment after; a thread forces it to the disk right after. No line holds a password, a token or
a cookie. A log that cannot be written hinders nobody from acknowledging an alert: lines wait in memory, and are written
with a word on how many there was no room for as soon as it can be.
"""

import json
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from guidance.accounts import Role

log = logging.getLogger(__name__)

KEPT_IN_MEMORY = 1000
"""So many lines wait for a disk that cannot be written now."""

STRANGERS_PER_MINUTE = 60
"""What people who are not let in do fills no disk: more of it is counted only."""

ANYBODY = "dashboard"
"""Who opened the page on the service's own machine, where nobody is asked for a name."""


@dataclass(frozen=True, slots=True)
class Who:
    """Who does something: an account's name, what it may do, and the address that it comes from."""

    name: str
    role: Role
    address: str


class Audit:
    """A log being written. ``path`` None: kept nowhere, for tests and for a service that keeps no log.

    Nothing raises: ``fault`` says why it cannot be written. ``note`` belongs to one thread.
    """

    def __init__(self, path: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._file = -1
        self._waiting: deque[bytes] = deque()
        self._lost = 0
        self._torn = False
        self._minute_s = clock()
        self._strangers = 0
        self._not_noted = 0
        self._unsynced = threading.Event()
        self._write_fault: str | None = None
        self._sync_fault: str | None = None
        self._flush()

    @property
    def fault(self) -> str | None:
        """Why what is done is not kept, in words; None while it is."""
        return self._write_fault or self._sync_fault

    def note(self, by: Who, what: str, **details: Any) -> None:
        """``by`` did ``what``. ``details``: JSON values, no secret; ``error``: why it was not done, None if it was."""
        self._add({"by": by.name, "role": by.role.value, "address": by.address, "what": what, **details})
        self._flush()

    def note_stranger(self, address: str, what: str, **details: Any) -> None:
        """Somebody who is not let in did ``what``. Too much of that is counted, and told with what comes next."""
        now = self._clock()
        if now - self._minute_s >= 60:
            self._minute_s, self._strangers = now, 0
        self._strangers += 1
        if self._strangers > STRANGERS_PER_MINUTE:
            self._not_noted += 1
            return
        if self._not_noted:
            details["not_noted_before"], self._not_noted = self._not_noted, 0
        self._add({"by": None, "address": address, "what": what, **details})
        self._flush()

    def retry(self) -> None:
        """Try again to write what waits."""
        if self._waiting or self._write_fault is not None:
            self._flush()

    def sync(self) -> None:
        """Force to the disk what was written. Waits for it: belongs to a thread of its own."""
        if not self._unsynced.is_set():
            return
        self._unsynced.clear()
        try:
            os.fsync(self._file)
        except OSError as error:
            self._sync_fault = error.strerror or str(error)
        else:
            self._sync_fault = None

    def _add(self, row: dict[str, Any]) -> None:
        if self._path is None:
            return
        row = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), **row}
        self._waiting.append(json.dumps(row, ensure_ascii=True, allow_nan=False).encode() + b"\n")
        while len(self._waiting) > KEPT_IN_MEMORY:
            self._waiting.popleft()
            self._lost += 1

    def _flush(self) -> None:
        if self._path is None:
            return
        try:
            if self._file >= 0 and os.fstat(self._file).st_nlink == 0:
                # Somebody has deleted it: what is done from now on is kept in one that says where it begins.
                os.close(self._file)
                self._file = -1
            if self._file < 0:
                self._open(self._path)
            fault = self._write()
        except OSError as error:
            fault = error.strerror or str(error)
        if fault is not None and fault != self._write_fault:
            log.error("the audit log %s cannot be written: %s", self._path, fault)
        self._write_fault = fault

    def _write(self) -> str | None:
        lost = [] if not self._lost else [self._word(f"{self._lost} lines were lost: the log could not be written")]
        # A torn line must not swallow the next one.
        data = (b"\n" if self._torn else b"") + b"".join([*lost, *self._waiting])
        if os.write(self._file, data) < len(data):
            self._torn = True
            return "the disk is full"
        self._torn = False
        self._lost = 0
        self._waiting.clear()
        self._unsynced.set()
        return None

    def _open(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        size = os.fstat(self._file).st_size
        self._torn = size > 0 and os.pread(self._file, 1, size - 1) != b"\n"
        if size == 0:
            self._waiting.appendleft(self._word("the log begins here"))

    @staticmethod
    def _word(what: str) -> bytes:
        row = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "by": None, "what": what}
        return json.dumps(row).encode() + b"\n"

    def close(self) -> None:
        """Write and sync what waits. May be called twice."""
        if self._file >= 0:
            self._flush()
        if self._file >= 0:
            self.sync()
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
