"""Many cases analysed anew: on all processors or on a cluster, and taken up again where it broke off.

Each case is a replay of its own, written aside and moved to its place when it is whole: ``OUT/CASE`` holds what
``fluoroguide replay`` writes, byte for byte, whoever did it. ``OUT/batch.jsonl`` has a line for each case, with what it
was made of; a case whose line still fits is not done again. What one file does to its analysis, be it that it kills the
process, is told in its line and stops no other.
"""

import fcntl
import hashlib
import json
import logging
import os
import shutil
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distributions
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, ValidationError

import drivers
import guidance
from drivers.archived import CASE, INDEX
from drivers.dicom import is_dicom, is_run
from drivers.errors import SourceError
from drivers.images import IMAGE_SUFFIXES
from drivers.recording import natural_key
from guidance.casebook.case import FRAMES, VIDEO, CaseError
from guidance.casebook.replay import OutputError, replay
from guidance.casebook.results import ALERTS, FINDINGS, SUMMARY
from guidance.opening import open_spec, plan_file, plan_for
from guidance.phantom.scenario import ScenarioError
from guidance.plan import PlanError
from guidance.settings import Settings

NOTES, ATTEMPTS, LOCK = "batch.jsonl", ".attempts", ".lock"

NO_RECORDINGS = frozenset({".json", ".jsonl", ".md", ".txt", ".html", ".csv", ".xml", ".pdf", ".log"})
"""What lies beside recordings and is passed over; everything else is tried."""

RESULT_DEPENDS_ON = ("numpy", "numba", "scipy", "opencv-python-headless", "av", "pydicom", "tifffile", "simplejpeg")
"""Another version of these may give another last bit."""


class BatchError(CaseError):
    """A batch cannot be run; one line that names what and where."""


@dataclass(frozen=True, slots=True)
class CaseToDo:
    """``name``: the folder of its results below OUT. ``spec``: what ``replay`` would be given, an absolute path."""

    name: str
    spec: str


@dataclass(frozen=True, slots=True)
class Task:
    """A case with all that its analysis needs, for a process or a machine of its own."""

    case: CaseToDo
    plan: Path | None
    settings: Settings
    attempts: Path
    software: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a task. ``folder``: its results, as far as they go. ``error``: in one line. ``trace``: of a bug."""

    case: CaseToDo
    folder: Path | None
    error: str | None = None
    trace: str | None = None


class MadeOf(BaseModel):
    """All that a case's results depend on, as hexadecimal digits; ``plan`` and ``recording`` by their files."""

    model_config = ConfigDict(frozen=True)
    software: str
    plan: str | None
    settings: str
    recording: str


class CaseNote(BaseModel):
    """A line of ``batch.jsonl``. ``files``: the results' sizes in bytes. The figures are those of ``summary.json``."""

    model_config = ConfigDict(frozen=True)
    case: str
    error: str | None
    made_of: MadeOf
    files: dict[str, int]
    software: str | None = None
    complete: bool = False
    frames: int = 0
    pulses: int = 0
    duration_s: float = 0.0
    states: dict[str, int] = {}
    alerts_raised: dict[str, int] = {}
    needles: int = 0
    views: int = 0
    largest_cement_mm2: float | None = None


def find_cases(arguments: Sequence[str]) -> list[CaseToDo]:
    """Every recording that the arguments name or hold, in the order of their names. Raises BatchError.

    A folder that is a recording itself (a case, an archived case, images, single-frame DICOM files) is one case; of any
    other folder everything in it is looked at, its folders too.
    """
    cases: list[CaseToDo] = []
    for argument in arguments:
        if "://" in argument:
            cases.append(CaseToDo("".join(c if c.isalnum() or c in "._-" else "_" for c in argument), argument))
            continue
        # Absolute, so that each worker's results name the same source.
        path = Path(argument).resolve()
        if not path.exists():
            raise BatchError(f"{argument}: no such file or folder; expected an archive, a folder of recordings or one")
        whole = path.is_file() or _is_recording(path)
        found = [path] if whole else list(_recordings(path))
        if not found:
            raise BatchError(f"{argument}: no recordings; expected an archive, a folder of recordings or one")
        above = path.parent if whole else path
        cases += [CaseToDo(file.relative_to(above).as_posix(), str(file)) for file in found]
    taken: set[str] = set()
    for case in cases:
        if case.name in taken:
            raise BatchError(f"{case.spec}: a second case of the name {case.name}; expected each name once in a batch")
        taken.add(case.name)
    return cases


def _recordings(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir(), key=natural_key):
        if path.name.startswith((".", "index.sqlite3")):
            continue
        if path.is_dir() and not _is_recording(path):
            yield from _recordings(path)
        elif path.is_dir() or path.suffix.lower() not in NO_RECORDINGS:
            yield path


def _is_recording(folder: Path) -> bool:
    try:
        files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    except OSError:
        return True  # a case that cannot be read, and says so when it is tried
    if {CASE, VIDEO, FRAMES} & {path.name for path in files}:
        return True
    if any(path.suffix.lower() in IMAGE_SUFFIXES for path in files):
        return True
    slices = [path for path in files if _is_readable_dicom(path)]
    return len(slices) > 1 and not any(is_run(path) for path in slices)


def _is_readable_dicom(path: Path) -> bool:
    try:
        return is_dicom(path)
    except OSError:
        return False


def run_batch(
    cases: Sequence[CaseToDo],
    out: Path,
    work: Callable[[Sequence[Task]], Iterator[Outcome]],
    settings: Settings,
    plan: Path | None = None,
    progress: Callable[[Outcome | None], None] = lambda outcome: None,
) -> list[CaseNote]:
    """The notes on these cases in order, those that are done already taken over. Notes on others in ``out`` stay.

    ``work`` does the others: ``on_processes`` or ``on_cluster``. ``progress`` is called once for each case, with None
    for one that was done before. Raises BatchError where ``out`` cannot be written, or another batch is writing to it.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with _alone_in(out):
            return _run(cases, out.resolve(), work, settings, plan, progress)
    except OSError as error:
        if error.filename is None:
            raise
        raise BatchError(
            f"{error.filename}: cannot be written ({error.strerror}); expected a writable folder"
        ) from error


def _run(
    cases: Sequence[CaseToDo],
    out: Path,
    work: Callable[[Sequence[Task]], Iterator[Outcome]],
    settings: Settings,
    plan: Path | None,
    progress: Callable[[Outcome | None], None],
) -> list[CaseNote]:
    attempts = out / ATTEMPTS
    shutil.rmtree(attempts, ignore_errors=True)
    attempts.mkdir()
    made_of = {case.name: _made_of(case, settings, plan) for case in cases}
    before = read_notes(out)
    _write_notes(out, before)  # without a last line cut short, which the next would be joined to
    notes = {case.name: before[case.name] for case in cases if _is_done(before.get(case.name), made_of, out)}
    for _ in notes:
        progress(None)
    waiting = [Task(case, plan, settings, attempts, software()) for case in cases if case.name not in notes]
    # The largest first, so that none of them is begun when all others are done.
    waiting.sort(key=lambda task: -sum(file.stat().st_size for file in _recording_files(task.case.spec)))
    for outcome in work(waiting):
        note = _take_in(outcome, out, made_of[outcome.case.name])
        notes[note.case] = note
        with (out / NOTES).open("a", encoding="utf-8") as lines:
            lines.write(note.model_dump_json() + "\n")
        progress(outcome)
    # A worker that was given up may still be writing there.
    shutil.rmtree(attempts, ignore_errors=True)
    in_order = {case.name: notes[case.name] for case in cases}
    _write_notes(out, in_order | {name: note for name, note in before.items() if name not in in_order})
    return list(in_order.values())


@contextmanager
def _alone_in(out: Path) -> Iterator[None]:
    # A file, for NFS locks no folder.
    with (out / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BatchError(f"{out}: another batch is writing to it; expected one at a time") from error
        yield


def read_notes(out: Path) -> dict[str, CaseNote]:
    """The newest note on each case in ``out``; a last line cut short is passed over. Raises BatchError."""
    notes: dict[str, CaseNote] = {}
    try:
        text = (out / NOTES).read_text(encoding="utf-8")
    except FileNotFoundError:
        return notes
    for number, line in enumerate(text.split("\n")[:-1], start=1):
        try:
            note = CaseNote.model_validate_json(line)
        except ValidationError as error:
            complaint = error.errors(include_url=False)[0]["msg"]
            raise BatchError(f"{out / NOTES}: line {number}: {complaint}; expected a case's note") from error
        notes[note.case] = note
    return notes


def _write_notes(out: Path, notes: Mapping[str, CaseNote]) -> None:
    new = out / f"{NOTES}.new"
    new.write_text("".join(note.model_dump_json() + "\n" for note in notes.values()), encoding="utf-8")
    new.replace(out / NOTES)


def _is_done(note: CaseNote | None, made_of: dict[str, MadeOf], out: Path) -> bool:
    if note is None or note.error is not None or note.made_of != made_of[note.case]:
        return False
    return _sizes(out / note.case) == note.files


def _take_in(outcome: Outcome, out: Path, made_of: MadeOf) -> CaseNote:
    """Move the results to their place, in the place of older ones, and note what they are."""
    place = out / outcome.case.name
    if place.exists():
        shutil.rmtree(place)
    summary: dict[str, Any] = {}
    if outcome.folder is not None and outcome.folder.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        outcome.folder.rename(place)
        if (place / SUMMARY).is_file():
            summary = json.loads((place / SUMMARY).read_text(encoding="utf-8"))
    figures = {name: summary[name] for name in CaseNote.model_fields if name in summary}
    return CaseNote(case=outcome.case.name, error=outcome.error, made_of=made_of, files=_sizes(place), **figures)


def _sizes(folder: Path) -> dict[str, int]:
    return {name: (folder / name).stat().st_size for name in (FINDINGS, ALERTS, SUMMARY) if (folder / name).is_file()}


def _made_of(case: CaseToDo, settings: Settings, plan: Path | None) -> MadeOf:
    file = plan_file(case.spec, plan)
    try:
        read = None if file is None else hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    except OSError:
        read = None  # the analysis will tell
    return MadeOf(
        software=software(),
        plan=read,
        settings=hashlib.sha256(settings.model_dump_json().encode()).hexdigest()[:12],
        recording=_recording_digest(case.spec),
    )


def _recording_digest(spec: str) -> str:
    """Stands for a recording's files by their names, sizes and times; what is noted beside them does not count."""
    files = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in _recording_files(spec)]
    return hashlib.sha256(json.dumps([files or spec]).encode()).hexdigest()[:12]


def _recording_files(spec: str) -> list[Path]:
    """The files that are read of a recording; none of a simulated one."""
    path = Path(spec)
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
    except OSError:
        return []
    return [file for file in files if file.is_file() and (file.suffix not in NO_RECORDINGS or file.name == INDEX)]


@cache
def software() -> str:
    """Twelve hexadecimal digits that stand for this version: its code to the letter, and what it calculates with.

    The version's number alone would let a case done before the last change of the code pass for one done after it.
    """
    digest = hashlib.sha256()
    for package in (drivers, guidance):
        root = Path(package.__path__[0])
        for file in sorted(root.rglob("*.py")):
            digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    installed = {one.name.lower(): one.version for one in distributions()}
    digest.update(json.dumps([(name, installed.get(name)) for name in RESULT_DEPENDS_ON]).encode())
    return digest.hexdigest()[:12]


def analyse_case(task: Task) -> Outcome:
    """Replay one case into a new folder of its own, here and now. What cannot be read is told in the outcome."""
    if software() != task.software:
        return Outcome(task.case, None, f"{os.uname().nodename}: another version of fluoroguide; expected the same")
    # With the process's number, so that one can tell who is at it; two attempts at one case never meet.
    folder = task.attempts / f"{os.getpid()}-{uuid4().hex}"
    try:
        folder.mkdir()
    except OSError as error:
        return Outcome(task.case, None, f"{task.attempts}: {error.strerror}; expected a folder that all workers share")
    try:
        with open_spec(task.case.spec) as source:
            plan = plan_for(source, task.case.spec, task.plan)
            replay(source, source.info, plan, task.settings, folder)
    except (SourceError, PlanError, CaseError, ScenarioError, OutputError) as error:
        return Outcome(task.case, folder, " ".join(str(error).split()))
    return Outcome(task.case, folder)


def on_processes(tasks: Sequence[Task], jobs: int | None = None) -> Iterator[Outcome]:
    """What comes of each task, as it comes, from ``jobs`` processes: by default one a processor.

    Where a process is killed, by the system or by a fault in a decoder, those that it may have been doing are each
    tried once more alone; what kills its process then too is told as its error.
    """
    waiting = deque(tasks)
    jobs = min(jobs or os.cpu_count() or 1, max(1, len(tasks)))
    while waiting:
        suspects: list[Task] = []
        yield from _until_one_is_killed(waiting, jobs, suspects)
        for suspect in suspects:
            killed: list[Task] = []
            yield from _until_one_is_killed(deque([suspect]), 1, killed)
            for task in killed:
                yield Outcome(task.case, None, f"{task.case.spec}: its analysis was killed twice")


def _until_one_is_killed(waiting: deque[Task], jobs: int, suspects: list[Task]) -> Iterator[Outcome]:
    """Works ``waiting`` off; where a process dies it ends, with the tasks that were under way in ``suspects``."""
    # Not forked: this process may hold threads of OpenCV and zmq. An interrupt ends the processes without a word.
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_DFL))
    running: dict[Future[Outcome], Task] = {}
    try:
        while (waiting or running) and not suspects:
            while waiting and len(running) < jobs:
                task = waiting.popleft()
                running[pool.submit(analyse_case, task)] = task
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task = running.pop(future)
                try:
                    yield future.result()
                except BrokenProcessPool:
                    suspects.append(task)
                except Exception as error:  # noqa: BLE001 - a bug met in one case is told with its trace and stops no other
                    yield _bug(task, error)
        suspects += running.values()
    finally:
        pool.shutdown(cancel_futures=True)


def on_cluster(tasks: Sequence[Task], address: str) -> Iterator[Outcome]:
    """The same from the workers of a Dask cluster, which must reach recordings and OUT under the same paths.

    A worker that is lost loses nothing: the scheduler gives its tasks to another. Raises BatchError where no scheduler
    answers at ``address``, or none any longer: the batch goes on from there when it is begun again.
    """
    try:
        from distributed import Client, KilledWorker, as_completed
    except ImportError as error:
        raise BatchError("--scheduler: Dask is missing; expected it installed: pip install '.[cluster]'") from error
    # What goes wrong is told here, in one line.
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        client = Client(address, timeout="10s", set_as_default=False)
    except (OSError, ValueError) as error:
        raise BatchError(
            f"{address}: no scheduler answers ({error}); expected tcp://HOST:PORT of a Dask cluster"
        ) from error
    with client:
        futures = dict(zip(client.map(analyse_case, tasks, pure=False), tasks, strict=True))
        for future in as_completed(futures, loop=client.loop):
            task = futures.pop(future)
            try:
                yield future.result()
            except CancelledError as error:
                raise BatchError(
                    f"{address}: the scheduler is gone; expected it to last: begin the batch again"
                ) from error
            except KilledWorker:
                yield Outcome(task.case, None, f"{task.case.spec}: every worker that analysed it was killed")
            except Exception as error:  # noqa: BLE001 - as with processes
                yield _bug(task, error)
            future.release()


def _bug(task: Task, error: Exception) -> Outcome:
    told = " ".join(f"{task.case.spec}: a fault of the software: {type(error).__name__}: {error}".split())
    return Outcome(task.case, None, told, "".join(traceback.format_exception(error)))
