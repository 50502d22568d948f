"""What happened in a case as a DICOM Structured Report (Comprehensive SR, TID 1500), which points into its pictures.

Each phase, needle, deposit of cement and alert is a measurement group (TID 1501) with the frames that it is seen on.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import (
    CodedConcept,
    ComprehensiveSR,
    DeviceObserverIdentifyingAttributes,
    LongitudinalTemporalOffsetFromEvent,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    TextContentItem,
    TimePointContext,
    TrackingIdentifier,
)
from pydicom.dataset import Dataset

import guidance
from guidance.handon import HandOnError
from guidance.handon.events import AlertEvent, CementEvent, Events, NeedleEvent, PhaseSpan
from guidance.handon.patient import in_confidence
from guidance.handon.pictures import PictureFile
from guidance.handon.study import Study, new_uid

SCHEME = "99FLUOROGUIDE"
"""The designator of our own codes; each is a name of docs/data-formats.md."""

NO_DATE = "19000101"
"""Where DICOM insists on a date and none may be told."""

NONE_DETECTED = (
    "Research software, not a medical device. What is not in this report was not detected, which does not mean that "
    "it was not there: a lateral view does not show the foramina at all, and thin cement (under about 1 mm) or "
    "cement behind steel is out of sight."
)

_UNITS = {
    "mm": ("mm", "millimeter"),
    "mm2": ("mm2", "square millimeter"),
    "mm/s": ("mm/s", "millimeter per second"),
    "s": ("s", "second"),
    "ms": ("ms", "millisecond"),
    "deg": ("deg", "degree"),
    "MB": ("MBy", "megabyte"),
    "1": ("1", "no units"),
}
"""UCUM's codes of the units that alerts and findings come in."""


def write_report(path: Path, study: Study, events: Events, pictures: Sequence[PictureFile]) -> Dataset:
    """The report's dataset, written to ``path``. ``pictures``: the files of the case that it points into, at least one.

    An event outside of these pictures stands in it without a frame. Raises HandOnError where there is nothing to
    report, or the file cannot be written.
    """
    if not (events.phases or events.alerts):
        raise HandOnError(f"{path}: no findings in the case; expected at least one frame with them")
    with in_confidence():
        report = _report(study, events, pictures)
        try:
            report.save_as(path, enforce_file_format=True)
        except OSError as error:
            raise HandOnError(f"{path}: cannot be written ({error.strerror}); expected a writable place") from error
    return report


def _report(study: Study, events: Events, pictures: Sequence[PictureFile]) -> Dataset:
    content = MeasurementReport(
        observation_context=ObservationContext(
            observer_device_context=ObserverContext(
                _dcm("121007", "Device"),
                DeviceObserverIdentifyingAttributes(
                    uid=new_uid(), name="fluoroguide", manufacturer_name="fluoroguide", model_name=guidance.__version__
                ),
            )
        ),
        procedure_reported=CodedConcept("44491008", "SCT", "Fluoroscopy"),
        imaging_measurements=[*_groups(events, pictures)],
        title=_dcm("126000", "Imaging Measurement Report"),
    )
    content[0].ContentSequence.append(_comment(NONE_DETECTED))
    report = ComprehensiveSR(
        evidence=[picture.header for picture in pictures],
        content=content[0],
        series_instance_uid=new_uid(),
        series_number=2,
        sop_instance_uid=new_uid(),
        instance_number=1,
        manufacturer="fluoroguide",
        manufacturer_model_name="fluoroguide",
        software_versions=guidance.__version__,
        series_description="Events of the fluoroscopy",
        coding_schemes=[CodingSchemeIdentificationItem(SCHEME, name="fluoroguide's own codes")],
        is_complete=True,
    )
    _complete(report, study)
    return report


def _complete(report: Dataset, study: Study) -> None:
    """What highdicom leaves out or takes from the clock."""
    common = study.dataset()
    for name in ("StudyDescription", "TimezoneOffsetFromUTC"):
        if name in common:
            setattr(report, name, common[name].value)
    study.mark(report)
    if study.patient is None:
        report.ContentDate, report.ContentTime = NO_DATE, "000000"
        for name in ("InstanceCreationDate", "InstanceCreationTime"):
            delattr(report, name)
        for equipment in report.ContributingEquipmentSequence:
            if "ContributionDateTime" in equipment:
                del equipment.ContributionDateTime
    elif study.began is not None:
        # A report of a case is of the case's day; when it was made stands in Instance Creation Date.
        report.ContentDate, report.ContentTime = f"{study.began:%Y%m%d}", f"{study.began:%H%M%S}"


def _groups(events: Events, pictures: Sequence[PictureFile]) -> Iterator[MeasurementsAndQualitativeEvaluations]:
    for number, phase in enumerate(events.phases, 1):
        yield _phase(number, phase, pictures)
    for needle in events.needles:
        yield _needle(needle, pictures)
    for deposit in events.cement:
        yield _cement(deposit, pictures)
    for alert in events.alerts:
        yield _alert(alert, pictures)


def _phase(number: int, span: PhaseSpan, pictures: Sequence[PictureFile]) -> MeasurementsAndQualitativeEvaluations:
    told = "inferred" if span.inferred else "stated"
    return _group(
        f"Phase {number}",
        _own("phase", "Phase of the procedure"),
        span.from_s,
        pictures,
        [_measured("duration", "Duration", span.to_s - span.from_s, "s")],
        [
            _graded("phase", "Phase of the procedure", span.phase, span.phase.capitalize()),
            _graded("phase_source", "Origin of the phase", told, told.capitalize()),
        ],
        also_at_s=[span.to_s],
    )


def _needle(needle: NeedleEvent, pictures: Sequence[PictureFile]) -> MeasurementsAndQualitativeEvaluations:
    measured = []
    if needle.angle_deg is not None:
        measured.append(_measured("angle_deg", "Angle of the shaft in the picture", needle.angle_deg, "deg"))
    if needle.depth_share is not None and needle.deepest_share is not None:
        measured.append(_measured("depth_share", "Depth, share of the vertebral body", needle.depth_share, "1"))
        measured.append(_measured("deepest_share", "Greatest depth, share of the body", needle.deepest_share, "1"))
    times = [t_s for t_s in (needle.depth_t_s, needle.deepest_t_s) if t_s is not None]
    kind = _own("needle", "Bone access needle")
    return _group(f"Needle {needle.id}", kind, needle.t_s, pictures, measured, _view(needle.view), times)


def _cement(deposit: CementEvent, pictures: Sequence[PictureFile]) -> MeasurementsAndQualitativeEvaluations:
    measured = []
    if deposit.area_mm2 is not None:
        measured.append(_measured("area_mm2", "Projected area when last seen", deposit.area_mm2, "mm2"))
    if deposit.largest_mm2 is not None:
        measured.append(_measured("largest_mm2", "Largest projected area", deposit.largest_mm2, "mm2"))
    times = [t_s for t_s in (deposit.first_t_s, deposit.largest_t_s) if t_s is not None]
    kind = _own("cement", "Deposit of bone cement")
    return _group(f"Cement {deposit.id}", kind, deposit.t_s, pictures, measured, _view(deposit.view), times)


def _alert(event: AlertEvent, pictures: Sequence[PictureFile]) -> MeasurementsAndQualitativeEvaluations:
    raised = event.raised
    measured = [_measured("value", "Value when raised", raised.value, raised.unit)] if raised.unit in _UNITS else []
    for name, meaning, t_s in (
        ("acknowledged", "Acknowledged after", event.acknowledged_s),
        ("cleared", "No longer seen after", event.cleared_s),
    ):
        if t_s is not None:
            measured.append(_measured(name, meaning, t_s - raised.t_s, "s"))
    kind = str(raised.kind)
    group = _group(
        f"Alert {raised.id}",
        _own("alert", "Alert"),
        raised.t_s,
        pictures,
        measured,
        [
            _graded("kind", "Kind of alert", kind, kind.replace("_", " ").capitalize()),
            _graded("priority", "Priority (IEC 60601-1-8)", raised.priority, raised.priority.capitalize()),
        ],
    )
    group[0].ContentSequence.append(_comment(raised.text))
    return group


def _view(view: str | None) -> list[QualitativeEvaluation]:
    return [] if view is None else [_graded("view", "View", view, view)]


def _group(
    name: str,
    kind: CodedConcept,
    t_s: float,
    pictures: Sequence[PictureFile],
    measurements: list[Measurement],
    evaluations: list[QualitativeEvaluation],
    also_at_s: Sequence[float] = (),
) -> MeasurementsAndQualitativeEvaluations:
    start = _own("start", "First frame of the case")
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=new_uid(), identifier=name),
        time_point_context=TimePointContext(
            f"{t_s:.3f} s",
            temporal_offset_from_event=LongitudinalTemporalOffsetFromEvent(t_s, _unit("s"), start),
        ),
        finding_type=kind,
        measurements=measurements or None,
        qualitative_evaluations=evaluations or None,
        source_images=[*_frames_at([t_s, *also_at_s], pictures)] or None,
    )


def _frames_at(times_s: Sequence[float], pictures: Sequence[PictureFile]) -> Iterator[SourceImageForMeasurementGroup]:
    """The frames of each file that are shown at these times."""
    for picture in pictures:
        numbers = sorted({number for t_s in times_s if (number := picture.frame_at(t_s)) is not None})
        if numbers:
            header = picture.header
            yield SourceImageForMeasurementGroup(header.SOPClassUID, header.SOPInstanceUID, numbers)


def _measured(name: str, meaning: str, value: float, unit: str) -> Measurement:
    return Measurement(_own(name, meaning), round(value, 3), _unit(unit))


def _graded(name: str, meaning: str, value: str, words: str) -> QualitativeEvaluation:
    return QualitativeEvaluation(_own(name, meaning), _own(value, words))


def _comment(text: str) -> TextContentItem:
    return TextContentItem(_dcm("121106", "Comment"), text, RelationshipTypeValues.CONTAINS)


def _own(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value, SCHEME, meaning[:64])


def _dcm(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value, "DCM", meaning)


def _unit(unit: str) -> CodedConcept:
    value, meaning = _UNITS[unit]
    return CodedConcept(value, "UCUM", meaning)
