"""Recordings that were made elsewhere, as cases of the archive."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from drivers.frame import Frame, FrameSource
from guidance.casebook.archive import ArchiveError
from guidance.casebook.recorder import CaseRecorder
from guidance.plan import plan_json
from guidance.records import CasePlan


def import_recording(
    source: FrameSource,
    plan: CasePlan,
    archive: Path,
    began: datetime | None = None,
    progress: Callable[[Frame], object] = lambda frame: None,
) -> Path:
    """The new case's folder: every frame of an opened source, with no findings yet.

    ``began``: when the recording was made; None: it is not known, and the case is of now. Raises ArchiveError where
    the archive cannot be written; SourceError passes through from damage in the middle. Whatever came before is kept,
    as a case that broke off.
    """
    began = began or datetime.now(UTC)
    try:
        archive.mkdir(mode=0o700, parents=True, exist_ok=True)
        recorder = CaseRecorder(new_folder(archive, began), source.info, plan_json(plan), began)
        try:
            for frame in source:
                recorder.frame(frame)
                progress(frame)
            recorder.close()
        finally:
            recorder.break_off()
    except OSError as error:
        raise ArchiveError(f"{archive}: cannot be written ({error.strerror}); expected room for the case") from error
    return recorder.folder


def new_folder(archive: Path, began: datetime) -> Path:
    """Where a case that began then is to lie: of that second none has the same number."""
    number = 1
    while (folder := archive / f"{began:%Y%m%dT%H%M%S}-{number}").exists():
        number += 1
    return folder
