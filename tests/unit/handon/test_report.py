"""The structured report: each event with its values and the frames that it is seen on."""

from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from drivers.sources import open_source
from guidance.handon import pictures
from guidance.handon.export import Wishes, hand_over
from guidance.handon.patient import Patient
from guidance.handon.recorded import Excerpt, RecordedCase
from tests.unit.handon.made import NAME


def report(case: Path, out: Path, **wishes: Any) -> Dataset:
    done = hand_over(RecordedCase.of(str(case), open_source), out, Wishes(**{"keep_text": True} | wishes))
    assert done.report is not None
    return dcmread(done.report)


def groups(ds: Dataset) -> dict[str, Dataset]:
    """The measurement groups by their tracking identifiers."""
    [container] = [i for i in ds.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "126010"]
    return {item.ContentSequence[0].TextValue: item for item in container.ContentSequence}


def values(group: Dataset) -> dict[str, float]:
    return {
        item.ConceptNameCodeSequence[0].CodeValue: float(item.MeasuredValueSequence[0].NumericValue)
        for item in group.ContentSequence
        if item.ValueType == "NUM" and item.ConceptNameCodeSequence[0].CodingSchemeDesignator == "99FLUOROGUIDE"
    }


def frame_numbers(group: Dataset) -> list[Any]:
    found = [i.ReferencedSOPSequence[0] for i in group.ContentSequence if i.ValueType == "IMAGE"]
    return [item.ReferencedFrameNumber for item in found]


def test_it_tells_phases_needles_cement_and_alerts(case: Path, tmp_path: Path) -> None:
    found = groups(report(case, tmp_path / "out.dcm"))
    assert list(found) == ["Phase 1", "Phase 2", "Needle 1", "Cement 1", "Alert 3"]
    assert values(found["Needle 1"]) == {"angle_deg": 126.9, "depth_share": 0.45, "deepest_share": 0.45}
    assert values(found["Cement 1"]) == {"area_mm2": 50.0, "largest_mm2": 50.0}
    assert values(found["Alert 3"]) == pytest.approx({"value": 4.2, "acknowledged": 0.1, "cleared": 0.3})
    comment = found["Alert 3"].ContentSequence[-1]
    assert comment.TextValue == "Cement in foramen S1L: 4.2 mm²"


def test_each_event_points_to_its_frame_in_the_pictures(case: Path, tmp_path: Path) -> None:
    ds = report(case, tmp_path / "out.dcm")
    found = groups(ds)
    assert frame_numbers(found["Alert 3"]) == [19]
    # When last seen, and when it was first.
    assert frame_numbers(found["Cement 1"]) == [[16, 28]]
    told = ds.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert [item.ReferencedSOPInstanceUID for item in told] == [dcmread(tmp_path / "out.dcm").SOPInstanceUID]


def test_in_a_case_of_several_files_the_right_one_is_pointed_to(
    case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "MOST_FRAMES", 12)
    group = groups(report(case, tmp_path / "out.dcm"))["Alert 3"]
    [image] = [item.ReferencedSOPSequence[0] for item in group.ContentSequence if item.ValueType == "IMAGE"]
    assert image.ReferencedSOPInstanceUID == dcmread(tmp_path / "out-002.dcm").SOPInstanceUID
    assert image.ReferencedFrameNumber == 7


def test_an_event_outside_of_the_excerpt_is_told_without_a_frame(case: Path, tmp_path: Path) -> None:
    group = groups(report(case, tmp_path / "out.dcm", excerpt=Excerpt(to_s=0.2)))["Alert 3"]
    assert frame_numbers(group) == []
    assert values(group)["value"] == pytest.approx(4.2)


def test_it_says_what_no_report_can_show(case: Path, tmp_path: Path) -> None:
    last = report(case, tmp_path / "out.dcm").ContentSequence[-1]
    assert "does not mean that it was not there" in last.TextValue


def test_it_is_of_the_same_patient_and_study_as_the_pictures(case: Path, tmp_path: Path) -> None:
    ds = report(case, tmp_path / "out.dcm", patient=Patient.read(case / "patient.json"))
    assert ds.PatientName == NAME
    assert ds.StudyInstanceUID == dcmread(tmp_path / "out.dcm").StudyInstanceUID
    assert ds.ContentDate == "20261130"


def test_of_a_de_identified_case_it_tells_no_day(case: Path, tmp_path: Path) -> None:
    ds = report(case, tmp_path / "out.dcm", keep_text=False)
    assert ds.PatientIdentityRemoved == "YES"
    days = {str(element.value) for element in ds.iterall() if element.VR in ("DA", "DT") and element.value}
    assert days == {"19000101"}
    assert not [element for element in ds.iterall() if element.VR == "PN" and element.value]


def test_without_findings_there_is_no_report(case: Path, tmp_path: Path) -> None:
    (case / "findings.jsonl").unlink()
    done = hand_over(RecordedCase.of(str(case), open_source), tmp_path / "out.dcm", Wishes())
    assert done.report is None
