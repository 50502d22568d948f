"""``fluoroguide archive``: what there is in an archive, whether it is whole, what is to be kept and what goes."""

import argparse
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from tqdm import tqdm

from drivers.dicom import is_dicom
from guidance.casebook.archive import Archive, ArchivedCase, CaseEntry, in_words
from guidance.casebook.importing import import_recording
from guidance.casebook.recorder import PATIENT
from guidance.handon.patient import Patient
from guidance.opening import open_spec, plan_for


def add_to(parser: argparse.ArgumentParser) -> None:
    """Give the parser the archive's own commands."""
    actions = parser.add_subparsers(title="what to do", required=True, metavar="ACTION")

    def action(name: str, run: Callable[[argparse.Namespace], int], words: str) -> argparse.ArgumentParser:
        sub = actions.add_parser(name, help=words, description=words[0].upper() + words[1:] + ".")
        sub.set_defaults(run=run)
        return sub

    listed = action("list", _list, "the cases, the newest first")
    listed.add_argument("archive", type=Path, metavar="ARCHIVE")
    listed.add_argument("--json", action="store_true", help="print JSON")

    check = action("check", _check, "read every frame and name those that are not what was recorded")
    check.add_argument("cases", type=Path, nargs="+", metavar="CASE", help="folders of the archive")

    imported = action("import", _import, "recordings made elsewhere")
    imported.add_argument("archive", type=Path, metavar="ARCHIVE")
    imported.add_argument("sources", nargs="+", metavar="SOURCE", help="video, images, DICOM")
    imported.add_argument("--plan", type=Path, help="the operator's plan.json")

    for name, keep, words in (
        ("keep", True, "mark cases so that they are never deleted by age or size"),
        ("release", False, "take that mark away"),
    ):
        mark = action(name, _mark(keep), words)
        mark.add_argument("cases", type=Path, nargs="+", metavar="CASE", help="folders of the archive")

    tag = action("tag", _tag, "give a case the words that it is found by, in the place of those it has")
    tag.add_argument("case", type=Path, metavar="CASE")
    tag.add_argument("tags", nargs="*", metavar="TAG")

    tidy = action("tidy", _tidy, "delete the oldest cases, but never one that is marked keep or being recorded")
    tidy.add_argument("archive", type=Path, metavar="ARCHIVE")
    tidy.add_argument("--days", type=float, help="those that are older")
    tidy.add_argument("--gb", type=float, help="until all together are not larger")

    rebuild = action("rebuild", _rebuild, "make the index anew from the folders")
    rebuild.add_argument("archive", type=Path, metavar="ARCHIVE")


def _list(options: argparse.Namespace) -> int:
    entries = Archive(options.archive).cases()
    if options.json:
        print(json.dumps([_as_json(entry) for entry in entries], indent=2, ensure_ascii=False))
        return 0
    for entry in entries:
        marks = " ".join(filter(None, (str(entry.state), "keep" if entry.keep else "", *entry.tags)))
        alerts = ", ".join(f"{count} {kind}" for kind, count in entry.alerts.items()) or "none raised"
        size = f"{entry.bytes / 1e6:8.1f} MB"
        print(f"{entry.id:24} {entry.duration_s:8.1f} s {entry.frames:7} frames {size}  {marks}  alerts: {alerts}")
    if not entries:
        print("no cases")
    return 0


def _as_json(entry: CaseEntry) -> dict[str, object]:
    row = {name: getattr(entry, name) for name in entry.__dataclass_fields__}
    return row | {"began": entry.began.isoformat(), "complete": entry.complete}


def _check(options: argparse.Namespace) -> int:
    whole = True
    for folder in options.cases:
        with ArchivedCase(folder) as case, tqdm(total=len(case), unit=" frames", disable=None, desc=case.id) as bar:
            damaged = case.damaged_frames(bar.update)
            missing = case.missing
        for words in missing:
            print(f"{folder}: {words}")
        if damaged:
            print(f"{folder}: damaged: {in_words(damaged)}")
        print(f"{folder}: {len(case) - len(damaged)} of {len(case)} frames are as they were recorded")
        whole = whole and not damaged and not missing
    return 0 if whole else 1


def _import(options: argparse.Namespace) -> int:
    for spec in options.sources:
        dicom = _dicom_of(spec)
        patient = None if dicom is None else Patient.of_dicom(dicom)
        with open_spec(spec) as source:
            plan = plan_for(source, spec, options.plan)
            with tqdm(total=source.info.frame_count, unit=" frames", disable=None, desc=source.info.name) as bar:
                made = import_recording(source, plan, options.archive, _made(spec), lambda frame: bar.update(1))
        if patient is not None:
            patient.write(made / PATIENT)
        print(made)
    return 0


def _dicom_of(spec: str) -> Path | None:
    """A DICOM file of what is imported; None where there is none."""
    path = Path(spec)
    files = sorted(path.iterdir()) if path.is_dir() else [path] if path.is_file() else []
    return next((file for file in files if file.is_file() and is_dicom(file)), None)


def _made(spec: str) -> datetime | None:
    """When the file was last written; None for what is no file."""
    path = Path(spec)
    return datetime.fromtimestamp(path.stat().st_mtime, UTC) if path.exists() else None


def _mark(keep: bool) -> Callable[[argparse.Namespace], int]:
    def mark(options: argparse.Namespace) -> int:
        for folder in options.cases:
            Archive(folder.parent).set_keep(folder.name, keep)
        return 0

    return mark


def _tag(options: argparse.Namespace) -> int:
    Archive(options.case.parent).set_tags(options.case.name, options.tags)
    return 0


def _tidy(options: argparse.Namespace) -> int:
    for case_id in Archive(options.archive).let_go(options.days, options.gb):
        print(f"deleted {case_id}")
    return 0


def _rebuild(options: argparse.Namespace) -> int:
    print(f"{Archive(options.archive).rebuild()} cases")
    return 0
