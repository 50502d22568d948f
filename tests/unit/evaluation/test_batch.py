"""Many cases: each what a replay of it is, whatever happens to the others, to the processes, or to the machine."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from guidance.casebook.case import CaseError
from guidance.cli import main
from guidance.evaluation import batch
from guidance.evaluation.batch import (
    ATTEMPTS,
    BatchError,
    CaseNote,
    Outcome,
    Task,
    analyse_case,
    find_cases,
    on_processes,
    read_notes,
    run_batch,
)
from guidance.settings import Settings
from tests.unit.casebook.recorded import record
from tests.unit.drivers.written import pictures, write_dicom
from tests.unit.evaluation.cases import write_recording

PATIENCE_S = 120.0
RESULTS = ("findings.jsonl", "alerts.jsonl", "summary.json")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Two recordings, one that is none, a case with a plan, and what lies beside recordings."""
    folder = tmp_path / "archive"
    write_recording(folder / "run2.mkv", 2)
    write_recording(folder / "run10.mkv", 10)
    write_recording(folder / "2026" / "case" / "video.mkv", 3)
    (folder / "2026" / "case" / "plan.json").write_text('{"schema": 1, "view": "lateral"}')
    (folder / "bad.mp4").write_bytes(b"this is no video")
    (folder / "README.md").write_text("about these recordings")
    (folder / ".hidden.mkv").write_bytes(b"")
    (folder / "index.sqlite3-wal").write_bytes(b"")
    return folder


@pytest.fixture
def done_here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the cases that were analysed, all in this process."""
    names: list[str] = []

    def here(tasks: Sequence[Task], jobs: int | None = None) -> Iterator[Outcome]:
        for task in tasks:
            names.append(task.case.name)
            yield analyse_case(task)

    monkeypatch.setattr(batch, "on_processes", here)
    return names


def written(out: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def wait_for(what: Callable[[], Path | None]) -> Path:
    deadline_s = time.monotonic() + PATIENCE_S
    while (found := what()) is None:
        assert time.monotonic() < deadline_s, "did not come in time"
        time.sleep(0.01)
    return found


def attempt_under_way(out: Path, but: int = 0) -> Path | None:
    """The folder of an attempt that has some 20 frames behind it already, not by the process ``but``."""
    with suppress(FileNotFoundError):  # it may be done and moved away meanwhile
        for findings in (out / ATTEMPTS).glob("*/findings.jsonl"):
            if findings.read_bytes().count(b"\n") > 15 and process_of(findings.parent) != but:
                return findings.parent
    return None


def process_of(attempt: Path) -> int:
    return int(attempt.name.split("-")[0])


def test_every_recording_below_a_folder_is_found_in_the_order_that_people_count(archive: Path) -> None:
    assert [case.name for case in find_cases([str(archive)])] == ["2026/case", "bad.mp4", "run2.mkv", "run10.mkv"]


def test_a_folder_of_single_pictures_is_one_case_and_a_folder_of_runs_is_many(tmp_path: Path) -> None:
    for name in ("single", "runs", "images"):
        (tmp_path / name).mkdir()
    for i in range(3):
        write_dicom(tmp_path / "single" / f"{i}.dcm", pictures(1))
        write_dicom(tmp_path / "runs" / f"{i}.dcm", pictures(2))
        (tmp_path / "images" / f"{i}.png").write_bytes(b"")
    names = [case.name for case in find_cases([str(tmp_path)])]
    assert names == ["images", "runs/0.dcm", "runs/1.dcm", "runs/2.dcm", "single"]


def test_a_recorded_archive_is_found_case_by_case(tmp_path: Path) -> None:
    for name in ("20261130T165214-1", "20261130T170000-1"):
        record(tmp_path / "archive" / name).close()
    assert [case.name for case in find_cases([str(tmp_path / "archive")])] == ["20261130T165214-1", "20261130T170000-1"]


def test_two_cases_of_one_name_a_missing_folder_and_an_empty_one_are_refused(tmp_path: Path, archive: Path) -> None:
    shutil.copytree(archive, tmp_path / "copy")
    with pytest.raises(BatchError, match="a second case of the name 2026/case"):
        find_cases([str(archive), str(tmp_path / "copy")])
    with pytest.raises(BatchError, match="nothing: no such file or folder"):
        find_cases([str(tmp_path / "nothing")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(BatchError, match="empty: no recordings"):
        find_cases([str(tmp_path / "empty")])


def test_each_case_is_byte_for_byte_what_a_replay_writes_and_a_bad_one_is_told(
    archive: Path, tmp_path: Path, done_here: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["batch", str(archive), "--out", str(out)]) == 1
    assert "bad.mp4: Invalid data found" in capsys.readouterr().out
    for name in ("2026/case", "run2.mkv", "run10.mkv"):
        assert main(["replay", str(archive / name), "--out", str(tmp_path / "replayed")]) == 0
        assert written(out / name) == written(tmp_path / "replayed")
    notes = read_notes(out)
    assert [(name, note.error is None, note.frames) for name, note in notes.items()] == [
        ("2026/case", True, 8), ("bad.mp4", False, 0), ("run2.mkv", True, 8), ("run10.mkv", True, 8),
    ]  # fmt: skip
    assert "bad.mp4" in (out / "batch.html").read_text(encoding="utf-8")
    assert not (out / ATTEMPTS).exists()


def test_what_is_done_is_not_done_again_and_what_is_not_whole_is(
    archive: Path, tmp_path: Path, done_here: list[str]
) -> None:
    out = tmp_path / "out"
    main(["batch", str(archive), "--out", str(out)])
    first = written(out)
    done_here.clear()
    main(["batch", str(archive), "--out", str(out)])
    assert done_here == ["bad.mp4"]
    (out / "run2.mkv" / "findings.jsonl").write_bytes(b"")  # cut short, as power loss leaves it
    with (out / "batch.jsonl").open("a") as notes:
        notes.write('{"case": "cut sho')
    done_here.clear()
    main(["batch", str(archive), "--out", str(out)])
    assert sorted(done_here) == ["bad.mp4", "run2.mkv"]
    assert written(out) == first


def test_another_folder_into_the_same_results_keeps_the_notes_on_the_first(
    archive: Path, tmp_path: Path, done_here: list[str]
) -> None:
    out = tmp_path / "out"
    main(["batch", str(archive), "--out", str(out)])
    write_recording(tmp_path / "more" / "run3.mkv", 5)
    assert main(["batch", str(tmp_path / "more"), "--out", str(out)]) == 0
    assert list(read_notes(out)) == ["run3.mkv", "2026/case", "bad.mp4", "run2.mkv", "run10.mkv"]
    assert "run10.mkv" in (out / "batch.html").read_text(encoding="utf-8")
    done_here.clear()
    main(["batch", str(archive), "--out", str(out)])
    assert done_here == ["bad.mp4"]


def test_another_plan_other_settings_another_version_or_recording_is_done_anew(
    archive: Path, tmp_path: Path, done_here: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (archive / "bad.mp4").unlink()
    out = str(tmp_path / "out")
    main(["batch", str(archive), "--out", out])
    (archive / "2026" / "case" / "plan.json").write_text('{"schema": 1, "view": "ap"}')
    done_here.clear()
    main(["batch", str(archive), "--out", out])
    assert done_here == ["2026/case"]
    write_recording(archive / "run2.mkv", 99)
    done_here.clear()
    main(["batch", str(archive), "--out", out])
    assert done_here == ["run2.mkv"]
    (tmp_path / "settings.json").write_text('{"release_pulses": 9}')
    done_here.clear()
    main(["batch", str(archive), "--out", out, "--settings", str(tmp_path / "settings.json")])
    assert len(done_here) == 3
    monkeypatch.setattr(batch, "software", lambda: "another")
    done_here.clear()
    main(["batch", str(archive), "--out", out, "--settings", str(tmp_path / "settings.json")])
    assert len(done_here) == 3


def test_a_recording_that_breaks_off_keeps_what_was_found_and_is_tried_again(
    tmp_path: Path, done_here: list[str]
) -> None:
    file = write_recording(tmp_path / "a" / "run.mkv", 1, frames=12)
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    for _ in range(2):
        assert main(["batch", str(tmp_path / "a"), "--out", str(tmp_path / "out")]) == 1
    assert done_here == ["run.mkv"] * 2
    note = read_notes(tmp_path / "out")["run.mkv"]
    assert (note.complete, 0 < note.frames < 12) == (False, True)


def test_a_worker_of_another_version_does_nothing_and_says_so(archive: Path, tmp_path: Path) -> None:
    def elsewhere(tasks: Sequence[Task]) -> Iterator[Outcome]:
        yield from (analyse_case(replace(task, software="another")) for task in tasks)

    notes = run_batch(find_cases([str(archive / "run2.mkv")]), tmp_path / "out", elsewhere, Settings())
    assert notes[0].error is not None
    assert "another version of fluoroguide" in notes[0].error


def test_two_batches_do_not_write_to_one_folder(archive: Path, tmp_path: Path, done_here: list[str]) -> None:
    out = tmp_path / "out"

    def and_another(tasks: Sequence[Task]) -> Iterator[Outcome]:
        with pytest.raises(BatchError, match="another batch is writing to it"):
            run_batch([], out, batch.on_processes, Settings())
        yield from batch.on_processes(tasks)

    run_batch(find_cases([str(archive / "run2.mkv")]), out, and_another, Settings())
    assert done_here == ["run2.mkv"]


def test_damaged_notes_are_refused_by_file_and_line(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "batch.jsonl").write_text("{}\n")
    with pytest.raises(CaseError, match=r"batch\.jsonl: line 1: .*expected a case's note"):
        run_batch(find_cases([str(archive)]), tmp_path, on_processes, Settings())


def test_a_bug_in_one_case_is_told_with_its_trace_and_the_others_are_done(archive: Path, tmp_path: Path) -> None:
    (tmp_path / ATTEMPTS).mkdir()
    bad, good = (
        Task(case, None, settings, tmp_path / ATTEMPTS, batch.software())
        for case, settings in zip(find_cases([str(archive)])[2:], (None, Settings()), strict=True)
    )
    outcomes = {outcome.case.name: outcome for outcome in on_processes([bad, good])}
    assert outcomes["run10.mkv"].error is None
    assert outcomes["run2.mkv"].error is not None
    assert "run2.mkv: a fault of the software: AttributeError: 'NoneType'" in outcomes["run2.mkv"].error
    assert "in analyse_case" in (outcomes["run2.mkv"].trace or "")


def test_a_case_that_kills_its_process_twice_is_told_and_stops_no_other(tmp_path: Path) -> None:
    archive, out = tmp_path / "archive", tmp_path / "out"
    write_recording(archive / "long.mkv", 1, frames=200)
    write_recording(archive / "short.mkv", 2)
    write_recording(archive / "short2.mkv", 3)
    cases = find_cases([str(archive)])
    notes: list[CaseNote] = []
    batch_of_all = threading.Thread(target=lambda: notes.extend(run_batch(cases, out, on_processes, Settings())))
    batch_of_all.start()
    killed = 0
    for _ in range(2):
        killed = process_of(wait_for(lambda but=killed: attempt_under_way(out, but)))  # type: ignore[misc]
        os.kill(killed, signal.SIGKILL)
    batch_of_all.join(PATIENCE_S)
    assert {note.case: note.error and note.error.split(": ")[-1] for note in notes} == {
        "long.mkv": "its analysis was killed twice", "short.mkv": None, "short2.mkv": None,
    }  # fmt: skip


def test_a_cluster_gives_what_one_machine_gives_also_when_a_worker_is_killed(
    tmp_path: Path, done_here: list[str]
) -> None:
    archive, out = tmp_path / "archive", tmp_path / "out"
    for seed in range(4):
        write_recording(archive / f"{seed}.mkv", seed, frames=60)
    (archive / "bad.mp4").write_bytes(b"this is no video")
    with ExitStack() as closing:
        scheduler = tmp_path / "scheduler.json"
        start_dask(closing, "scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(scheduler))
        wait_for(lambda: scheduler if scheduler.is_file() and scheduler.stat().st_size else None)
        address = json.loads(scheduler.read_text())["address"]
        for name in ("one", "two"):
            folder = str(tmp_path / name)
            alone = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", folder)
            start_dask(closing, "worker", address, *alone)
        command = [sys.executable, "-m", "guidance.cli", "batch", str(archive), "--out", str(out)]
        run = closing.enter_context(subprocess.Popen([*command, "--scheduler", address], stdout=subprocess.PIPE))
        closing.callback(run.kill)
        os.kill(process_of(wait_for(lambda: attempt_under_way(out))), signal.SIGKILL)
        told, _ = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 1
    assert told.decode().splitlines()[-1].startswith("5 cases, 1 failed, 240 frames")
    assert main(["batch", str(archive), "--out", str(tmp_path / "here")]) == 1
    assert written(out) == written(tmp_path / "here")


def start_dask(closing: ExitStack, what: str, *arguments: str) -> None:
    command = [sys.executable, "-m", "dask", what, "--host", "127.0.0.1", *arguments]
    process = closing.enter_context(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    closing.callback(process.kill)


def test_a_scheduler_that_does_not_answer_is_told_in_one_line(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["batch", str(archive), "--out", str(tmp_path / "out"), "--scheduler", "nonsense://nowhere"]
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert "nonsense://nowhere: no scheduler answers" in told
    assert told.count("\n") == 1
