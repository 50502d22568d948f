"""The log of who did what."""

import errno
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guidance.accounts import Role
from web.audit import KEPT_IN_MEMORY, STRANGERS_PER_MINUTE, Audit, Who

ITO = Who("ito", Role.OPERATOR, "10.0.0.5")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "alarms.audit.jsonl"


@pytest.fixture
def audit(path: Path) -> Iterator[Audit]:
    with Audit(path) as audit:
        yield audit


def rows(path: Path) -> list[dict[str, Any]]:
    """The lines that are whole."""
    found = []
    for line in path.read_bytes().split(b"\n"):
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def test_a_line_says_who_did_what_and_from_where_and_is_there_when_note_returns(path: Path, audit: Audit):
    audit.note(ITO, "order", order={"kind": "acknowledge", "alert": 3}, error=None)
    (_, line) = rows(path)
    assert line.pop("at").endswith("+00:00")
    assert line == {
        "by": "ito",
        "role": "operator",
        "address": "10.0.0.5",
        "what": "order",
        "order": {"kind": "acknowledge", "alert": 3},
        "error": None,
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_stood_there_before_stays(path: Path):
    for what in ("first", "second"):
        with Audit(path) as audit:
            audit.note(ITO, what)
    assert [row["what"] for row in rows(path)] == ["the log begins here", "first", "second"]


def test_a_line_that_a_crash_has_torn_swallows_no_other(path: Path):
    path.parent.mkdir()
    path.write_bytes(b'{"at": "2026-')
    with Audit(path) as audit:
        audit.note(ITO, "log-in")
    assert [row["what"] for row in rows(path)] == ["log-in"]


def test_no_word_can_forge_a_line(path: Path, audit: Audit):
    audit.note_stranger("10.0.0.5", "refused", path='/x"}\n{"by": "ito", "what": "order"}\u2028')
    assert path.read_bytes().count(b"\n") == 2
    assert [row["by"] for row in rows(path)] == [None, None]


def test_strangers_fill_no_disk_and_what_was_not_noted_is_counted(path: Path):
    now = [0.0]
    with Audit(path, lambda: now[0]) as audit:
        for _ in range(STRANGERS_PER_MINUTE + 40):
            audit.note_stranger("10.0.0.9", "failed log-in")
        audit.note(ITO, "log-in")
        assert rows(path)[-1]["what"] == "log-in", "who is let in is noted all the same"
        now[0] = 61.0
        audit.note_stranger("10.0.0.9", "failed log-in")
    assert len(rows(path)) == 1 + STRANGERS_PER_MINUTE + 2
    assert rows(path)[-1]["not_noted_before"] == 40


def test_what_a_full_disk_refused_is_written_later_and_says_what_was_lost(
    path: Path, audit: Audit, monkeypatch: pytest.MonkeyPatch
):
    write = os.write

    def full(file: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("web.audit.os.write", full)
    for number in range(KEPT_IN_MEMORY + 5):
        audit.note(ITO, "order", number=number)
    assert audit.fault == "No space left on device"
    monkeypatch.setattr("web.audit.os.write", write)
    audit.retry()
    assert audit.fault is None
    assert rows(path)[1]["what"] == "5 lines were lost: the log could not be written"
    assert [row["number"] for row in rows(path)[2:]] == list(range(5, KEPT_IN_MEMORY + 5))


def test_a_line_of_which_half_fitted_is_written_again_as_a_whole(
    path: Path, audit: Audit, monkeypatch: pytest.MonkeyPatch
):
    write = os.write
    monkeypatch.setattr("web.audit.os.write", lambda file, data: write(file, data[:20]))
    audit.note(ITO, "log-in")
    assert audit.fault == "the disk is full"
    monkeypatch.setattr("web.audit.os.write", write)
    audit.retry()
    assert [row["what"] for row in rows(path)] == ["the log begins here", "log-in"]


def test_a_log_that_cannot_be_had_says_so_and_hinders_nobody(tmp_path: Path):
    (tmp_path / "file").touch()
    with Audit(tmp_path / "file" / "audit.jsonl") as audit:
        audit.note(ITO, "order")
        assert audit.fault is not None
        (tmp_path / "file").unlink()
        audit.retry()
        assert audit.fault is None
    assert [row["what"] for row in rows(tmp_path / "file" / "audit.jsonl")] == ["the log begins here", "order"]


def test_a_log_that_was_deleted_is_begun_anew_and_says_so(path: Path, audit: Audit):
    audit.note(ITO, "before")
    path.unlink()
    audit.note(ITO, "after")
    assert [row["what"] for row in rows(path)] == ["the log begins here", "after"]


def test_syncing_tells_a_disk_that_fails(audit: Audit, monkeypatch: pytest.MonkeyPatch):
    def broken(file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    audit.note(ITO, "log-in")
    with monkeypatch.context() as patched:
        patched.setattr("web.audit.os.fsync", broken)
        audit.sync()
    assert audit.fault == "Input/output error"
    audit.note(ITO, "log-out")
    audit.sync()
    assert audit.fault is None
