"""The commands that hand a case on: export, send, patient, worklist and igtlink."""

import argparse
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tqdm import tqdm

from drivers.dicom import is_dicom
from guidance.bus.keys import client_keys
from guidance.casebook.recorder import PATIENT
from guidance.handon import COMMIT_PORT, IGTL_PORT, OWN_AE_TITLE, HandOnError
from guidance.handon.patient import Patient
from guidance.handon.recorded import Excerpt, RecordedCase
from guidance.opening import open_spec

if TYPE_CHECKING:
    from guidance.handon.peers import Peer, SentFile

# highdicom, pynetdicom and OpenIGTLink's library take a second to import, so each command does it when it is run.

Run = Callable[[argparse.Namespace], int]
AddCommand = Callable[[str, Run, str], argparse.ArgumentParser]


def add_commands(command: AddCommand) -> None:
    """``command`` makes a parser from a name, what runs it, and what it does in words."""
    export = command("export", _export, "write a case as DICOM: its pictures and a report of its events")
    export.add_argument("case", metavar="CASE", help="an archived case, or any recording")
    export.add_argument("--dicom", type=Path, required=True, metavar="OUT.dcm", help="the pictures' file")
    _add_wishes(export)

    send = command("send", _send, "send a case, or DICOM files, to an archive")
    send.add_argument("what", nargs="+", metavar="CASE|FILE", help="an archived case or recording, or DICOM files")
    to = send.add_mutually_exclusive_group(required=True)
    to.add_argument("--to", metavar="AET@HOST:PORT", help="by C-STORE")
    to.add_argument("--stow", metavar="URL", help="by STOW-RS; a login comes from ~/.netrc")
    send.add_argument("--commit", action="store_true", help="ask the archive to promise to keep it; fails without")
    send.add_argument("--commit-port", type=int, default=COMMIT_PORT, help="where it may answer (default: %(default)s)")
    send.add_argument(
        "--commit-timeout-s", type=float, default=60.0, help="how long it may take (default: %(default)s)"
    )
    _add_own_title(send)
    _add_wishes(send)

    patient = command("patient", _patient, "type in who the patient is, into a file that its owner alone may read")
    patient.add_argument("file", type=Path, metavar="FILE", help=f"CASE/{PATIENT}, or another for --patient")

    worklist = command("worklist", _worklist, "ask the hospital's worklist, and take over a patient and study from it")
    worklist.add_argument("--from", dest="peer", required=True, metavar="AET@HOST:PORT")
    worklist.add_argument("--date", default="today", help="YYYY-MM-DD, today or any (default: %(default)s)")
    worklist.add_argument("--modality", default="", help="as the worklist has it: XA, RF")
    worklist.add_argument("--station", default="", metavar="AET", help="scheduled for this station")
    worklist.add_argument("--accession", default="", metavar="NUMBER", help="the order with this number")
    worklist.add_argument("--save", type=Path, metavar="FILE", help=f"write the one entry found: CASE/{PATIENT}")
    _add_own_title(worklist)

    igtlink = command("igtlink", _igtlink, "serve the live picture, tips and state to 3D Slicer (OpenIGTLink)")
    igtlink.add_argument("--connect", metavar="ENDPOINT", help="default: the service's usual one on this machine")
    igtlink.add_argument("--keys", type=Path, metavar="FOLDER", help="a client's keys, for a bus beyond this machine")
    igtlink.add_argument("--host", default="127.0.0.1", help="address to listen at (default: %(default)s)")
    igtlink.add_argument("--port", type=int, default=IGTL_PORT, help="(default: %(default)s)")


def _add_own_title(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ae-title", default=OWN_AE_TITLE, help="what we are called there (default: %(default)s)")


def _add_wishes(parser: argparse.ArgumentParser) -> None:
    part = parser.add_argument_group("of a case")
    part.add_argument(
        "--results", type=Path, metavar="DIR", help="what `replay` found on it; an archived case has its own"
    )
    part.add_argument("--from-s", type=float, default=0.0, help="from so many seconds after its first frame")
    part.add_argument("--to-s", type=float, default=float("inf"), help="up to so many")
    part.add_argument("--every-pulse", action="store_true", help="a picture that comes again unchanged only once")
    part.add_argument("--uncompressed", action="store_true", help="instead of JPEG-LS, which loses nothing either")
    part.add_argument("--no-report", action="store_true", help="the pictures alone")
    text = part.add_mutually_exclusive_group()
    text.add_argument("--keep-text", action="store_true", help="leave burned-in text and all beside the x-ray field")
    text.add_argument("--preview", type=Path, metavar="OUT.png", help="show what is blacked out")
    whose = part.add_mutually_exclusive_group()
    whose.add_argument("--patient", type=Path, metavar="FILE", help=f"whose it is (default: CASE/{PATIENT})")
    whose.add_argument("--deidentify", action="store_true", help="nobody's, even where that is known")


def _export(options: argparse.Namespace) -> int:
    for path in _written(options.case, options.dicom, options):
        print(path)
    return 0


def _send(options: argparse.Namespace) -> int:
    from guidance.handon.peers import Peer, SentFile

    # Before the work, not after it.
    peer = None if options.to is None else Peer.parse(options.to)
    if peer is None and options.commit:
        raise HandOnError("send --commit: expected --to, since STOW-RS knows no storage commitment")
    files = [Path(name) for name in options.what]
    if all(path.is_file() and is_dicom(path) for path in files):
        _refuse_wishes(options)
        return _deliver(peer, [SentFile.of(path) for path in files], options)
    if len(files) > 1:
        raise HandOnError("send: expected one case, or DICOM files")
    with TemporaryDirectory(prefix="fluoroguide-") as folder:
        written = _written(options.what[0], Path(folder) / "pictures.dcm", options)
        return _deliver(peer, [SentFile.of(path) for path in written], options)


def _refuse_wishes(options: argparse.Namespace) -> None:
    """Whoever asks for a file without its patient must not see it go with him."""
    parser = argparse.ArgumentParser()
    _add_wishes(parser)
    for name, usual in vars(parser.parse_args([])).items():
        if getattr(options, name) != usual:
            raise HandOnError(f"send --{name.replace('_', '-')}: DICOM files go as they are; export them first")


def _written(spec: str, out: Path, options: argparse.Namespace) -> tuple[Path, ...]:
    from guidance.handon.export import Wishes, hand_over

    case = RecordedCase.of(spec, open_spec, options.results)
    patient = case.patient if options.patient is None else Patient.read(options.patient)
    if options.deidentify:
        patient = None
    wishes = Wishes(
        patient,
        Excerpt(options.from_s, options.to_s, options.every_pulse),
        compress=not options.uncompressed,
        keep_text=options.keep_text,
        report=not options.no_report,
        preview=options.preview,
    )
    _say("without patient data" if patient is None else "with the patient's name and study")
    for words in case.missing:
        _say(words)
    if options.keep_text:
        _say("burned-in text is left in the pictures")
    with tqdm(unit=" frames", disable=None, desc="pictures") as bar:
        done = hand_over(case, out, wishes, bar.update)
    for words in done.damage:
        _say(words)
    if done.report is None and wishes.report:
        _say("no report: the case has no findings; replay it and give --results")
    return done.paths


def _deliver(peer: "Peer | None", files: "list[SentFile]", options: argparse.Namespace) -> int:
    from guidance.handon.peers import commit, store, stow

    if peer is None:
        for _ in stow(options.stow, files):
            pass
        print(f"{len(files)} files stored at {options.stow}")
        return 0
    for _ in store(peer, files, options.ae_title):
        pass
    print(f"{len(files)} files stored at {peer}")
    if not options.commit:
        return 0
    answer = commit(peer, files, options.ae_title, options.commit_port, options.commit_timeout_s)
    missing = [file for file in files if file.sop_instance not in answer.kept]
    for file in missing:
        reason = answer.refused.get(file.sop_instance)
        _say(f"{file.path}: not committed ({'no word of it' if reason is None else f'reason 0x{reason:04X}'})")
    print(f"{len(files) - len(missing)} of {len(files)} committed by {peer}")
    return 1 if missing else 0


_QUESTIONS = (
    ("name", "Name, FAMILY^GIVEN"),
    ("id", "Patient ID"),
    ("birth_date", "Date of birth, YYYY-MM-DD"),
    ("sex", "Sex, M, F or O"),
    ("accession_number", "Accession number"),
    ("study_uid", "Study Instance UID"),
    ("study_id", "Study ID"),
    ("study_description", "Study description"),
    ("referring_physician", "Referring physician, FAMILY^GIVEN"),
)


def _patient(options: argparse.Namespace) -> int:
    """Asked for, not given as options: those stand in the shell's history and in every list of processes."""
    given: dict[str, str] = {}
    for name, words in _QUESTIONS:
        if sys.stdin.isatty():
            print(f"{words}: ", end="", file=sys.stderr, flush=True)
        if answer := sys.stdin.readline().strip():
            given[name] = answer
    Patient.checked(given, str(options.file)).write(options.file)
    _say(f"{options.file}: written")
    return 0


def _worklist(options: argparse.Namespace) -> int:
    from guidance.handon.peers import Peer, worklist

    entries = worklist(
        Peer.parse(options.peer),
        options.ae_title,
        day=_day(options.date),
        modality=options.modality,
        station=options.station,
        accession_number=options.accession,
    )
    if options.save is not None:
        if len(entries) != 1:
            raise HandOnError(f"worklist --save: {len(entries)} entries; expected one: say which with --accession")
        entries[0].patient.write(options.save)
        _say(f"{options.save}: written")
        return 0
    for entry in entries:
        patient = entry.patient
        born = "" if patient.birth_date is None else str(patient.birth_date)
        print(
            f"{entry.when:14}{patient.accession_number:17}{patient.name:32}{born:11}{patient.sex or '':3}"
            f"{entry.modality:5}{entry.station:17}{entry.step}".rstrip()
        )
    if not entries:
        _say("nothing is scheduled")
    return 0


def _day(text: str) -> date | None:
    if text in ("today", "any"):
        return date.today() if text == "today" else None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise HandOnError(f"--date {text}: expected YYYY-MM-DD, today or any") from error


def _igtlink(options: argparse.Namespace) -> int:
    from guidance.handon.igtlink import serve

    keys = None if options.keys is None else client_keys(options.keys)
    serve(options.connect, options.host, options.port, keys, lambda port: print(f"{options.host}:{port}", flush=True))
    return 0


def _say(words: str) -> None:
    print(f"fluoroguide: {words}", file=sys.stderr)
