"""The alarm log: nothing that was told is lost, whatever happens to the process, the disk or the clock."""

import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from guidance.casebook import alarm_log
from guidance.casebook.alarm_log import AlarmLog, AlarmLogError, Event, read_log
from guidance.records import Alert, AlertKind, AlertState, Priority
from guidance.wire import AlertMessage, alert_message


def alert(
    number: int, state: AlertState = AlertState.RAISED, active: bool = True, by: str | None = None
) -> AlertMessage:
    return alert_message(
        Alert(
            number,
            AlertKind.CEMENT_IN_ZONE,
            Priority.HIGH,
            state,
            7,
            0.2,
            "S1L",
            None,
            4.2,
            "mm2",
            "Cement",
            active=active,
            by=by,
        )
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "alarms.jsonl"


def active(path: Path) -> list[int]:
    return [left.id for left in read_log(path).left_active(datetime.now(UTC), timedelta(hours=12))]


def test_an_entry_says_what_when_and_who(path: Path) -> None:
    with AlarmLog(path) as log:
        log.note(Event.ALERT, "radiographer", "case-1", 0.2, [alert(1, AlertState.ACKNOWLEDGED, by="radiographer")])
    (entry,) = read_log(path).entries
    assert (entry.number, entry.by, entry.case, entry.t_s) == (1, "radiographer", "case-1", 0.2)
    assert abs(entry.at - datetime.now(UTC)) < timedelta(seconds=10)
    assert entry.alert is not None
    assert entry.alert.state is AlertState.ACKNOWLEDGED


def test_numbers_go_on_where_the_last_process_left_off(path: Path) -> None:
    for _ in range(3):
        with AlarmLog(path) as log:
            log.note(Event.STARTED)
            log.note(Event.STOPPED)
    assert [entry.number for entry in read_log(path).entries] == [1, 2, 3, 4, 5, 6]


def test_what_was_noted_is_there_after_the_process_is_killed_at_once(path: Path) -> None:
    program = """
import os, signal, sys
from pathlib import Path
from guidance.casebook.alarm_log import AlarmLog, Event
log = AlarmLog(Path(sys.argv[1]))
for i in range(100):
    log.note(Event.COMMAND, command={"marker": i})
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [entry.command for entry in read_log(path).entries] == [{"marker": i} for i in range(100)]


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_torn_last_line_is_skipped_and_does_not_swallow_the_next(path: Path, cut: int) -> None:
    with AlarmLog(path) as log:
        log.note(Event.STARTED)
        log.note(Event.ALERT, alerts=[alert(1)])
    os.truncate(path, path.stat().st_size - cut)
    with AlarmLog(path) as log:
        log.note(Event.STOPPED)
    told = read_log(path)
    assert told.damaged == (cut > 1)
    assert [entry.event for entry in told.entries if entry.event is not Event.ALERT] == [Event.STARTED, Event.STOPPED]


def test_alerts_that_were_active_when_the_process_died_are_left(path: Path) -> None:
    log = AlarmLog(path)
    log.begin_case("a", [])
    log.note(Event.ALERT, alerts=[alert(1), alert(2), alert(3)])
    log.note(Event.ALERT, alerts=[alert(2, AlertState.CLEARED, active=False), alert(3, AlertState.CLEARED)])
    assert active(path) == [1, 3]
    log.close()


def test_a_new_case_begins_with_what_it_carries_over(path: Path) -> None:
    with AlarmLog(path) as log:
        log.begin_case("a", [])
        log.note(Event.ALERT, alerts=[alert(1), alert(2)])
        log.begin_case("b", [alert(2)])
    assert active(path) == [2]


def test_a_service_that_died_again_before_its_first_case_still_leaves_them(path: Path) -> None:
    with AlarmLog(path) as log:
        log.note(Event.ALERT, alerts=[alert(1)])
        log.note(Event.STARTED)
    assert active(path) == [1]


def test_a_service_that_ended_in_order_leaves_nothing(path: Path) -> None:
    with AlarmLog(path) as log:
        log.note(Event.ALERT, alerts=[alert(1)])
        log.note(Event.STOPPED)
    assert active(path) == []


def test_what_was_active_yesterday_is_another_patients(path: Path) -> None:
    with AlarmLog(path) as log:
        log.note(Event.ALERT, alerts=[alert(1)])
    assert read_log(path).left_active(datetime.now(UTC) + timedelta(hours=13), timedelta(hours=12)) == ()


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_set_by_an_hour_changes_neither_the_order_nor_what_is_left(
    path: Path, hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(datetime):
        shift = timedelta()

        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + cls.shift

    monkeypatch.setattr(alarm_log, "datetime", Clock)
    with AlarmLog(path) as log:
        log.note(Event.ALERT, alerts=[alert(1)])
        Clock.shift = timedelta(hours=hours)
        log.note(Event.ALERT, alerts=[alert(2)])
    assert [entry.number for entry in read_log(path).entries] == [1, 2]
    assert active(path) == [1, 2]


def test_two_services_cannot_write_one_log(path: Path) -> None:
    with AlarmLog(path), pytest.raises(AlarmLogError, match="choose another with --alarm-log"):
        AlarmLog(path)


def test_a_place_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AlarmLogError, match="cannot be written"):
        AlarmLog(tmp_path / "file" / "alarms.jsonl")


def test_what_a_full_disk_refuses_is_kept_and_written_later(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> int:
        raise OSError(28, "No space left on device")

    with AlarmLog(path) as log:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            log.note(Event.STARTED)
            log.note(Event.ALERT, alerts=[alert(1)])
            assert log.fault == "No space left on device"
        log.flush()
        assert log.fault is None
    assert [entry.number for entry in read_log(path).entries] == [1, 2]


def test_a_disk_that_fills_in_the_middle_of_a_line_loses_no_entry(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    with AlarmLog(path) as log:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda file, data: write(file, data[:30]))
            log.note(Event.STARTED)
            assert log.fault == "the disk is full"
        log.note(Event.STOPPED)
    told = read_log(path)
    assert [entry.event for entry in told.entries] == [Event.STARTED, Event.STOPPED]
    assert told.damaged == 1


def test_syncing_forces_what_was_written_to_the_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forced: list[int] = []
    with AlarmLog(path) as log:
        monkeypatch.setattr(os, "fsync", forced.append)
        log.sync(0)
        assert not forced
        log.note(Event.STARTED)
        log.sync(0)
        log.sync(0)
        assert len(forced) == 1


def test_a_disk_that_does_not_take_what_was_written_is_told_until_it_does(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(file: int) -> None:
        raise OSError(5, "Input/output error")

    with AlarmLog(path) as log:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", broken)
            log.note(Event.STARTED)
            log.sync(0)
            assert log.fault == "Input/output error"
        log.note(Event.STOPPED)
        log.sync(0)
        assert log.fault is None


def test_a_log_that_is_deleted_under_its_service_is_told(path: Path) -> None:
    with AlarmLog(path) as log:
        log.note(Event.STARTED)
        path.unlink()
        log.flush()
        assert log.fault == "the file was deleted"


def test_the_room_left_is_the_disks(path: Path) -> None:
    with AlarmLog(path) as log:
        assert log.free_mb == pytest.approx(shutil.disk_usage(path.parent).free / 1e6, rel=0.05)
