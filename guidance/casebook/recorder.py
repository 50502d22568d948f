"""A case as it is written: every frame as it came, and beside it all that was found, told and ordered.

``docs/casebook.md`` describes the folder. Whatever is handed over is with the kernel when the call returns, so that
killing the process loses nothing of it, and ``sync`` gives it to the disk.
"""

import fcntl
import json
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

import guidance
from drivers.archived import CASE, INDEX, IndexRow, checksum, checksum_of
from drivers.frame import Frame, Pixels, SourceInfo
from guidance.casebook.lines import LineFile
from guidance.casebook.pictures import PictureFile, next_part
from guidance.wire import AlertMessage, FindingsMessage

PLAN, PATIENT = "plan.json", "patient.json"
FINDINGS, TIMELINE, ALERTS, COMMANDS = "findings.jsonl", "timeline.jsonl", "alerts.jsonl", "commands.jsonl"
JUDGEMENTS = "judgements.jsonl"


class CaseHeader(BaseModel):
    """``case.json``. ``ended`` None: it is being recorded, or broke off."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    id: str
    began: datetime
    source: str
    width_px: Annotated[int, Field(ge=1, le=16384)]
    height_px: Annotated[int, Field(ge=1, le=16384)]
    bits: Annotated[int, Field(ge=8, le=16)]
    live: bool
    mm_per_px: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    software: str
    ended: datetime | None = None
    frames: int | None = None
    not_recorded: int = 0
    duration_s: float | None = None
    tags: tuple[str, ...] = ()
    keep: bool = False


class _Stored(NamedTuple):
    """The picture that was written last: what it is, and where it lies."""

    pixels: Pixels
    crc32: int
    part: str
    at: int
    size: int

    def is_same(self, pixels: Pixels, crc32: int) -> bool:
        # Checksums that differ spare the comparison.
        return crc32 == self.crc32 and np.array_equal(pixels, self.pixels)


class CaseRecorder:
    """One case being written. ``frame`` and the rest belong to one thread, ``sync`` may belong to another.

    Raises OSError where the folder cannot be made, and from every call where the disk refuses. After that the case
    goes on: ``frame`` begins a new part, and lines that wait go out with the next ones. ``began``: when the recording
    was made; None: now.
    """

    def __init__(self, folder: Path, info: SourceInfo, plan: Mapping[str, Any], began: datetime | None = None) -> None:
        self.folder = folder
        folder.mkdir(parents=True, mode=0o700)
        self._info = info
        self._header = CaseHeader(
            id=folder.name,
            began=began or datetime.now(UTC),
            source=info.name,
            width_px=info.width_px,
            height_px=info.height_px,
            bits=info.bits,
            live=info.live,
            mm_per_px=info.mm_per_px,
            software=f"fluoroguide {guidance.__version__}",
        )
        write_json(folder / PLAN, plan)
        write_header(folder, self._header)
        self._index = LineFile(folder / INDEX)
        # Held as long as the case is written: who finds it free and the case not ended knows that it broke off.
        self._lock = os.open(folder / INDEX, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._lines = {name: LineFile(folder / name) for name in (FINDINGS, TIMELINE, ALERTS, COMMANDS)}
        self._part: PictureFile | None = None
        self._parts = 0
        self._closing = threading.Lock()
        self._first_s: float | None = None
        self._in_haste = False
        self._last: _Stored | None = None
        self._frames = 0
        self._last_t_s = 0.0
        self._bytes_of_parts = 0
        _sync_folder(folder)
        _sync_folder(folder.parent)

    def frame(self, frame: Frame) -> None:
        """Every frame as it came; the first one's time is the case's zero."""
        if self._first_s is None:
            self._first_s = frame.t_s
        t_s = frame.t_s - self._first_s
        stored = self._store(frame.pixels, t_s)
        row = IndexRow(
            frame=self._frames,
            t_s=t_s,
            sequence=frame.sequence,
            flags=frame.flags.value,
            crc32=checksum(stored.crc32, t_s, frame.sequence, frame.flags),
            part=stored.part,
            at=stored.at,
            size=stored.size,
        )
        self._frames += 1
        self._last_t_s = t_s
        self._index.add(row.as_line()[:-1])

    def hurry(self) -> None:
        """Store pictures from now on as costs the least time, in a new part: frames were lost that found no room."""
        self._in_haste = True
        if self._part is not None and not self._part.is_fastest:
            self._end_part()

    def _store(self, pixels: Pixels, t_s: float) -> _Stored:
        """Where it lies. One that came again unchanged, as held images and repeated pulses do, lies there already."""
        crc32 = checksum_of(pixels)
        if self._last is not None and self._last.is_same(pixels, crc32):
            return self._last
        if self._part is None:
            self._begin_part()
        assert self._part is not None
        try:
            at, size = self._part.add(pixels, t_s)
        except OSError:
            # What is in this part stays readable; where there is room again, the next one begins.
            self._end_part()
            raise
        # A copy: a grabber lends its pictures.
        self._last = _Stored(pixels.copy(), crc32, self._part.name, at, size)
        return self._last

    def _begin_part(self) -> None:
        with self._closing:
            self._parts += 1
            self._part = next_part(self.folder, self._parts, self._info, self._in_haste)
        _sync_folder(self.folder)

    def _end_part(self) -> None:
        with self._closing:
            if self._part is not None:
                self._bytes_of_parts += self._part.size
                self._part.close()
                if self._part.pictures == 0:
                    (self.folder / self._part.name).unlink()
            self._part = self._last = None

    def findings(self, message: FindingsMessage) -> None:
        """As the room saw them."""
        at = self._lines[FINDINGS].add(message.model_dump_json().encode())
        areas = [deposit.area_mm2 for deposit in message.cement if deposit.area_mm2 is not None]
        self._lines[TIMELINE].add_json(
            {
                "t_s": message.t_s,
                "at": at,
                "state": message.state,
                "phase": message.phase,
                "view": message.view,
                "depths": {str(needle.id): needle.depth_share for needle in message.needles},
                "cement_mm2": round(sum(areas), 3) if areas else None,
                "latency_ms": message.latency_ms,
            }
        )

    def alerts(self, messages: Iterable[AlertMessage]) -> None:
        """Changes of alerts, in order."""
        for message in messages:
            self._lines[ALERTS].add(message.model_dump_json().encode())

    def command(self, by: str, t_s: float | None, command: Mapping[str, Any]) -> None:
        """An order that was obeyed."""
        self._lines[COMMANDS].add_json(
            {"at": datetime.now(UTC).isoformat(), "t_s": t_s, "by": by, "command": dict(command)}
        )

    @property
    def written_bytes(self) -> int:
        """How much of the disk the case takes."""
        pictures = self._bytes_of_parts + (0 if self._part is None else self._part.size)
        return pictures + self._index.size + sum(file.size for file in self._lines.values())

    def sync(self) -> None:
        """Wait until the disk has what was handed over: the pictures first, as their lines speak of them."""
        with self._closing:
            if self._lock < 0:
                return
            if self._part is not None:
                self._part.sync()
            self._index.sync()
            for file in self._lines.values():
                file.sync()

    def close(self, not_recorded: int = 0) -> None:
        """End the case in order. May be called twice. Raises OSError where the last lines cannot be written."""
        if self._lock < 0:
            return
        try:
            self._close_files()
            edit_header(
                self.folder,
                lambda header: header.model_copy(
                    update={
                        "ended": datetime.now(UTC),
                        "frames": self._frames,
                        "duration_s": self._last_t_s,
                        "not_recorded": not_recorded,
                    }
                ),
            )
        finally:
            self._let_go()

    def break_off(self) -> None:
        """Let go of the case without an end: what was kept stays, and opening it says so. May be called twice."""
        if self._lock >= 0:
            try:
                self._close_files()
            finally:
                self._let_go()

    def _close_files(self) -> None:
        self.sync()
        self._end_part()
        with self._closing:
            for file in (self._index, *self._lines.values()):
                file.close()

    def _let_go(self) -> None:
        with self._closing:
            os.close(self._lock)
            self._lock = -1


def write_header(folder: Path, header: CaseHeader) -> None:
    """``case.json``, whole or as it was. Raises OSError."""
    write_json(folder / CASE, header.model_dump(mode="json", by_alias=True))


def edit_header(folder: Path, change: Callable[[CaseHeader], CaseHeader]) -> CaseHeader:
    """``case.json`` changed, by one process at a time. Raises OSError and, where it is not one, ValueError."""
    lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        header = change(CaseHeader.model_validate_json((folder / CASE).read_bytes()))
        write_header(folder, header)
    finally:
        os.close(lock)
    return header


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """The file as a whole, or as it was before. Raises OSError."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(data, file, indent=1, ensure_ascii=False, allow_nan=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        with suppress(FileNotFoundError):
            fresh.unlink()
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Without it, power loss can take a file whose contents are on the disk."""
    file = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
