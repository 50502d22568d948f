"""The commands for cases that are over: batch, compare, stills and report."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

from drivers.archived import CASE
from guidance.casebook.archive import ArchivedCase
from guidance.casebook.case_report import Recording, as_document, make_report, recording_of
from guidance.casebook.document import Document, as_html
from guidance.casebook.replay import OutputError, replay
from guidance.casebook.results import FINDINGS, Results, ResultsError
from guidance.casebook.stills import (
    ArchivedCasePictures,
    Pictures,
    Redact,
    SourcePictures,
    raised_times,
    require_within,
    write_stills,
)
from guidance.handon.deidentify import SURVEYED, Redaction, survey
from guidance.handon.recorded import Excerpt, RecordedCase
from guidance.opening import open_spec, plan_for
from guidance.settings import Settings, load_settings

AddCommand = Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]


def add_to(command: AddCommand) -> None:
    """Adds the commands' parsers."""
    batch = command("batch", _batch, "analyse many cases anew, on all processors or a cluster")
    batch.add_argument("archives", nargs="+", metavar="ARCHIVE", help="an archive, a folder of recordings, or one")
    batch.add_argument("--out", type=Path, required=True, help="folder for the results; a batch goes on from there")
    batch.add_argument("--plan", type=Path, help="one plan for all cases, in the place of their own")
    batch.add_argument("--settings", type=Path, help="JSON file of thresholds")
    where = batch.add_mutually_exclusive_group()
    where.add_argument("--jobs", type=int, help="processes (default: one a processor)")
    where.add_argument("--scheduler", metavar="ADDRESS", help="work on a Dask cluster: tcp://HOST:PORT")

    compare = command("compare", _compare, "show what differs between two outputs of replay or batch")
    compare.add_argument("first", type=Path, metavar="OUT_A")
    compare.add_argument("second", type=Path, metavar="OUT_B")
    compare.add_argument("--html", type=Path, metavar="FILE", help="also as a report")

    stills = command("stills", _stills, "pictures of a case with their overlay, as PNG")
    _add_case(stills)
    stills.add_argument("--at-s", type=float, nargs="+", metavar="S", help="when (default: at each alert)")
    stills.add_argument("--out", type=Path, required=True, help="folder for the pictures")

    report = command("report", _report, "the report of a case, as HTML or PDF")
    _add_case(report)
    report.add_argument("--out", type=Path, required=True, metavar="FILE", help="FILE.html or FILE.pdf")


def _add_case(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("case", metavar="CASE", help="a recorded case, or any recording")
    parser.add_argument(
        "--results",
        type=Path,
        metavar="DIR",
        help="what `replay` wrote of it (default: as recorded, else analysed now)",
    )
    parser.add_argument("--plan", type=Path, help="the plan, where it is analysed now")
    parser.add_argument("--with-patient", action="store_true", help="with the patient's data and text in the pictures")


def _batch(options: argparse.Namespace) -> int:
    from guidance.evaluation import batch
    from guidance.evaluation.batch_report import as_document as batch_document
    from guidance.evaluation.batch_report import as_text as batch_text

    if options.jobs is not None and options.jobs < 1:
        raise batch.BatchError("batch --jobs: expected at least one process")
    settings = load_settings(options.settings)
    cases = batch.find_cases(options.archives)
    plan = None if options.plan is None else options.plan.resolve()
    if options.scheduler is None:
        work = partial(batch.on_processes, jobs=options.jobs)
    else:
        work = partial(batch.on_cluster, address=options.scheduler)
    with tqdm(total=len(cases), unit=" cases", disable=None, desc="batch") as bar:

        def progress(outcome: batch.Outcome | None) -> None:
            if outcome is not None and outcome.trace is not None:
                bar.write(outcome.trace, file=sys.stderr)
            bar.update()

        notes = batch.run_batch(cases, options.out, work, settings, plan, progress)
    known = tuple(batch.read_notes(options.out).values())
    write_file(options.out / "batch.html", as_html(batch_document(known)).encode())
    print(batch_text(notes))
    return 1 if any(note.error is not None for note in notes) else 0


def _compare(options: argparse.Namespace) -> int:
    from guidance.evaluation.compare import as_document as comparison_document
    from guidance.evaluation.compare import as_text as comparison_text
    from guidance.evaluation.compare import compare

    comparison = compare(options.first, options.second)
    print(comparison_text(comparison))
    if options.html is not None:
        write_file(options.html, as_html(comparison_document(comparison)).encode())
    return 1 if comparison.differs else 0


def _stills(options: argparse.Namespace) -> int:
    with _opened(options) as case:
        times_s = raised_times(case.results) if options.at_s is None else options.at_s
        require_within(case.results, options.at_s or ())
        for file in write_stills(case.pictures, case.results, times_s, options.out, _redact(options)):
            print(file)
        if not times_s:
            print("no alert was raised; --at-s says when else", file=sys.stderr)
    return 0


def _report(options: argparse.Namespace) -> int:
    written = {".html": lambda document: as_html(document).encode(), ".pdf": _pdf}.get(options.out.suffix.lower())
    if written is None:
        raise OutputError(f"{options.out}: expected a name that ends in .html or .pdf")
    with _opened(options) as case:
        report = make_report(case.results, case.recording, case.pictures, _redact(options))
    write_file(options.out, written(as_document(report)))
    return 0


def _redact(options: argparse.Namespace) -> Redact | None:
    """What takes burned-in text out of a picture; the case is surveyed for it when the first one is shown."""
    if options.with_patient:
        return None

    @cache
    def redaction() -> Redaction:
        return survey(RecordedCase.of(options.case, open_spec).glimpses(Excerpt(), 2 * SURVEYED - 1))

    return lambda frame: redaction().apply(frame.pixels, frame.bits)[0]


def _pdf(document: Document) -> bytes:
    from guidance.casebook.document_pdf import as_pdf

    return as_pdf(document)


@dataclass(frozen=True, slots=True)
class _OpenedCase:
    recording: Recording
    results: Results
    pictures: Pictures


@contextmanager
def _opened(options: argparse.Namespace) -> Iterator[_OpenedCase]:
    """The case that a command names, with the results of it that were named, or else of an analysis now."""
    with ExitStack() as closing:
        folder = _results_of(options)
        if folder is None:
            folder = Path(closing.enter_context(TemporaryDirectory(prefix="fluoroguide-")))
            _analyse(options.case, options.plan, folder)
        elif options.plan is not None:
            raise ResultsError("--plan: expected only where the case is analysed now, not with results")
        results = Results(folder)
        if (Path(options.case) / CASE).is_file():
            case = closing.enter_context(ArchivedCase(Path(options.case)))
            yield _OpenedCase(recording_of(case), results, ArchivedCasePictures(case))
            return
        source = closing.enter_context(open_spec(options.case))
        info = source.info
        recording = Recording(Path(options.case).name, options.case, info.width_px, info.height_px, info.bits)
        yield _OpenedCase(recording, results, SourcePictures(source))


def _results_of(options: argparse.Namespace) -> Path | None:
    """The folder of results that was named, or the recorded case's own where it has any."""
    named: Path | None = options.results
    own = Path(options.case) / FINDINGS
    return own.parent if named is None and own.is_file() and own.stat().st_size > 0 else named


def _analyse(spec: str, plan: Path | None, out: Path) -> None:
    with open_spec(spec) as source:
        info = source.info
        with tqdm(total=info.frame_count, unit=" frames", disable=None, desc="analysing") as bar:
            replay(source, info, plan_for(source, spec, plan), Settings(), out, progress=lambda findings: bar.update())


def write_file(path: Path, content: bytes) -> None:
    """Write a report. Raises OutputError."""
    try:
        path.write_bytes(content)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); expected a writable file") from error
