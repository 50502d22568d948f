"""A case handed over: survey, pictures and report, in this order."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from drivers.frame import Frame, Pixels
from guidance.handon.deidentify import SURVEYED, Redaction, survey, write_preview
from guidance.handon.events import Events, events_of
from guidance.handon.patient import Patient
from guidance.handon.pictures import Calibration, PictureFile, write_pictures
from guidance.handon.recorded import Excerpt, RecordedCase, chosen
from guidance.handon.report import write_report
from guidance.handon.study import Study
from guidance.records import ScaleSource


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is handed over of a case, and how.

    ``patient`` None: nobody can be told from it. ``keep_text``: burned-in text stays. ``compress``: JPEG-LS, else none.
    ``preview``: where a picture of what is blacked out goes.
    """

    patient: Patient | None = None
    excerpt: Excerpt = field(default_factory=Excerpt)
    compress: bool = True
    keep_text: bool = False
    report: bool = True
    preview: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class HandedOver:
    """What was written. ``report`` None: none was wished for, or the case has no findings. ``damage``: of those."""

    pictures: tuple[PictureFile, ...]
    report: Path | None
    damage: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        return (*(picture.path for picture in self.pictures), *(() if self.report is None else (self.report,)))


def hand_over(
    case: RecordedCase, out: Path, wishes: Wishes, progress: Callable[[int], object] = lambda frames: None
) -> HandedOver:
    """The case as DICOM files: ``out`` with its pictures, ``-002`` and so on, and ``-report`` beside it.

    A recording that is no archived case is read twice where text is to be blacked out. ``progress`` hears of each frame
    that is written.
    Raises HandOnError, and SourceError where the recording is damaged: then nothing is left behind, and an excerpt
    that ends before the damage can be had.
    """
    redaction = None
    if not wishes.keep_text:
        redaction = survey(case.glimpses(wishes.excerpt, 2 * SURVEYED - 1))
        if wishes.preview is not None:
            write_preview(wishes.preview, redaction)
    told = case.told()
    events = events_of((), ()) if told is None else events_of(told.rows(), told.alerts)
    study = Study.of(wishes.patient, case.began, clean_pixels=redaction is not None)
    with case.open() as source:
        frames = _blackened(chosen(iter(source), wishes.excerpt), redaction, progress)
        pictures = write_pictures(
            frames,
            out,
            study,
            compress=wishes.compress,
            calibration=_calibration(events, source.info.mm_per_px),
            blackened=redaction is not None,
        )
    report = None
    if wishes.report and events.phases:
        report = out.with_name(f"{out.stem}-report{out.suffix}")
        write_report(report, study, events, pictures)
    return HandedOver(tuple(pictures), report, () if told is None else tuple(told.damage))


def _blackened(
    frames: Iterator[tuple[float, Frame]], redaction: Redaction | None, progress: Callable[[int], object]
) -> Iterator[tuple[float, Frame]]:
    before: Pixels | None = None
    shown: Pixels | None = None
    for t_s, frame in frames:
        # A pulse that comes again is the same picture object again, which nobody has to code anew.
        if before is None or shown is None or not np.array_equal(before, frame.pixels):
            before = shown = frame.pixels
            if redaction is not None:
                shown, _ = redaction.apply(before, frame.bits)
        yield t_s, Frame(shown, frame.t_s, frame.sequence, frame.bits)
        progress(1)


def _calibration(events: Events, header_mm_per_px: float | None) -> Calibration | None:
    """The one scale that the whole case was measured with; None where there were several, or none to rely on."""
    stated = {scale for scale in events.scales if scale[1] is not ScaleSource.ASSUMED}
    if len(stated) == 1:
        return Calibration(*stated.pop())
    if stated or header_mm_per_px is None:
        return None
    return Calibration(header_mm_per_px, ScaleSource.HEADER)
