"""A file of JSON lines that grows: what is in it survives a crash, and a full disk tears no line but the last."""

import json
import os
from collections import deque
from pathlib import Path
from typing import Any

KEPT_WAITING = 10_000
"""So many lines wait for a disk that cannot be written now: half a minute of a case, or all its alerts."""


class LineFile:
    """Lines in the order in which they were added. A context manager is not needed: ``close``.

    Raises OSError where the file cannot be had, and from ``add`` where it cannot be written: what could not be waits,
    and goes out with the next line. A line that the disk cut off is written again as a whole; the reader passes over
    the torn one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.size = os.fstat(self._file).st_size
        self._waiting: deque[bytes] = deque(maxlen=KEPT_WAITING)
        # Whatever ended in the middle of a line must not swallow the next one.
        self._is_torn = self.size > 0 and not path.read_bytes().endswith(b"\n")

    def add(self, line: bytes) -> int:
        """Where in the file the line begins, which has no line break of its own."""
        self._waiting.append(line + b"\n")
        return self.flush() - len(line) - 1

    def add_json(self, row: dict[str, Any]) -> int:
        """The same for a JSON object."""
        return self.add(json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode())

    def flush(self) -> int:
        """Hand to the kernel what waits; the file's size after it. Raises OSError."""
        data = (b"\n" if self._is_torn else b"") + b"".join(self._waiting)
        if self._waiting:
            written = os.write(self._file, data)
            self.size += written
            if written < len(data):
                self._is_torn = True
                raise OSError(28, "No space left on device", str(self.path))
            self._waiting.clear()
            self._is_torn = False
        return self.size

    def sync(self) -> None:
        """Wait until the disk has what the kernel has. Raises OSError."""
        os.fdatasync(self._file)

    def close(self) -> None:
        """May be called twice. What still waits is tried once more. Raises OSError, closed all the same."""
        if self._file < 0:
            return
        try:
            self.flush()
            self.sync()
        finally:
            os.close(self._file)
            self._file = -1
