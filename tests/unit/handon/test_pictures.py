"""The DICOM pictures: what goes in comes out again, at its own times, and says whose it is or that it is nobody's."""

import json
import tracemalloc
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless

from drivers.dicom import DicomFile
from drivers.errors import SourceError
from drivers.frame import Frame, FrameFlag
from drivers.sources import open_source
from guidance.handon import HandOnError, pictures
from guidance.handon.export import HandedOver, Wishes, hand_over
from guidance.handon.patient import Patient
from guidance.handon.pictures import write_pictures
from guidance.handon.recorded import Excerpt, RecordedCase, chosen
from guidance.handon.study import Study
from tests.unit.handon.made import FRAME_S, NAME, PATIENT, SECRETS, picture, write_case

START = Excerpt(to_s=0.1)
NOBODY = Study.of(None, None, clean_pixels=True)


def handed(case: Path, out: Path, **wishes: Any) -> HandedOver:
    return hand_over(RecordedCase.of(str(case), open_source), out, Wishes(**wishes))


def frames_of(path: Path) -> list[Frame]:
    with DicomFile(path) as source:
        return list(source)


@pytest.mark.parametrize(("compress", "syntax"), [(True, JPEGLSLossless), (False, ExplicitVRLittleEndian)])
@pytest.mark.parametrize("bits", [8, 12])
def test_every_pixel_and_time_comes_back(tmp_path: Path, compress: bool, syntax: str, bits: int) -> None:
    case, out = write_case(tmp_path / "case", bits), tmp_path / "out.dcm"
    handed(case, out, compress=compress, keep_text=True)
    assert dcmread(out).file_meta.TransferSyntaxUID == syntax
    with open_source(str(case)) as source:
        for before, after in zip(source, frames_of(out), strict=True):
            np.testing.assert_array_equal(after.pixels, before.pixels)
            assert after.bits == bits
            assert after.t_s == pytest.approx(before.t_s, abs=1e-6)


def test_eight_bits_are_a_byte_picture_and_more_a_word_picture(tmp_path: Path) -> None:
    for bits, name in ((8, "Byte"), (12, "Word")):
        out = tmp_path / f"{bits}.dcm"
        handed(write_case(tmp_path / f"case{bits}", bits), out, excerpt=START)
        ds = dcmread(out)
        assert ds.SOPClassUID.name == f"Multi-frame Grayscale {name} Secondary Capture Image Storage"
        assert ds.BitsStored == bits


def test_every_pulse_leaves_out_what_comes_again_unchanged_and_keeps_the_times(case: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.dcm"
    handed(case, out, excerpt=Excerpt(every_pulse=True))
    times_s = [frame.t_s for frame in frames_of(out)]
    assert times_s == pytest.approx([3 * FRAME_S * i for i in range(10)], abs=1e-6)


def test_an_excerpt_holds_the_frames_of_its_time(case: Path, tmp_path: Path) -> None:
    done = handed(case, tmp_path / "out.dcm", excerpt=Excerpt(from_s=0.2, to_s=0.5))
    assert done.pictures[0].times_s == pytest.approx([FRAME_S * i for i in range(6, 16)])


def test_an_excerpt_without_frames_is_refused_and_leaves_nothing_behind(case: Path, tmp_path: Path) -> None:
    with pytest.raises(HandOnError, match="no sound frame"):
        handed(case, tmp_path / "out" / "out.dcm", excerpt=Excerpt(from_s=99.0), keep_text=True)
    assert not [*(tmp_path / "out").iterdir()]


def test_damaged_frames_and_those_without_signal_are_left_out(tmp_path: Path) -> None:
    flags = [FrameFlag.NONE, FrameFlag.CORRUPT, FrameFlag.NO_SIGNAL, FrameFlag.NONE]
    frames = iter(Frame(picture(i), 10 + i / 30, i, flags=flag) for i, flag in enumerate(flags))
    files = write_pictures(chosen(frames, Excerpt()), tmp_path / "out.dcm", NOBODY)
    assert files[0].times_s == pytest.approx([0.0, 0.1])


def test_a_long_case_is_several_files_of_one_series(
    case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "MOST_FRAMES", 12)
    done = handed(case, tmp_path / "out.dcm", patient=Patient.read(case / "patient.json"))
    assert [p.path.name for p in done.pictures] == ["out.dcm", "out-002.dcm", "out-003.dcm"]
    headers = [dcmread(p.path) for p in done.pictures]
    assert [ds.NumberOfFrames for ds in headers] == [12, 12, 6]
    assert [ds.InstanceNumber for ds in headers] == [1, 2, 3]
    assert len({ds.SeriesInstanceUID for ds in headers}) == 1
    assert len({ds.SOPInstanceUID for ds in headers}) == 3
    # Each tells where in the case it begins: 16:52:14 plus twelve frames.
    assert str(headers[1].ContentTime).endswith("14.400000")


def test_no_more_than_one_frame_is_held_while_a_file_is_written(tmp_path: Path) -> None:
    size_px = 1024

    def frames() -> Any:
        for i in range(40):
            yield i / 30, Frame(np.full((size_px, size_px), i, np.uint8), i / 30, i)

    tracemalloc.start()
    write_pictures(frames(), tmp_path / "out.dcm", NOBODY, compress=False)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 8 * size_px**2


def test_a_recording_with_its_replay_is_handed_on_as_a_case_is(case: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    for name in ("findings.jsonl", "alerts.jsonl"):
        (case / name).rename(results / name)
    video = str(case / "video.mkv")
    done = hand_over(RecordedCase.of(video, open_source, results), tmp_path / "out.dcm", Wishes())
    # The video holds each pulse once.
    assert dcmread(tmp_path / "out.dcm").NumberOfFrames == 10
    assert done.report is not None


def test_a_look_at_an_archived_case_reads_frames_all_over_the_excerpt_and_no_others(case: Path) -> None:
    recorded = RecordedCase.of(str(case), open_source)
    seen = [frame.sequence for frame in recorded.glimpses(Excerpt(from_s=0.2, to_s=0.9), 4)]
    assert seen == [6, 13, 20, 27]
    assert [frame.sequence for frame in recorded.glimpses(Excerpt(to_s=0.05), 99)] == [0, 1]
    assert not [*recorded.glimpses(Excerpt(from_s=99.0), 4)]


def test_results_without_findings_are_refused(case: Path, tmp_path: Path) -> None:
    with pytest.raises(HandOnError, match=r"no findings\.jsonl"):
        RecordedCase.of(str(case), open_source, tmp_path)


def test_a_frame_that_is_not_what_was_recorded_is_left_out(case: Path, tmp_path: Path) -> None:
    index = [json.loads(line) for line in (case / "frames.jsonl").read_text().splitlines()]
    video = bytearray((case / "video.mkv").read_bytes())
    video[index[15]["at"] + 900] ^= 0x40
    (case / "video.mkv").write_bytes(video)
    done = handed(case, tmp_path / "out.dcm")
    assert len(done.pictures[0].times_s) == 27
    assert 15 * FRAME_S not in done.pictures[0].times_s


def test_a_line_that_a_crash_has_torn_does_not_stop_the_rest(case: Path, tmp_path: Path) -> None:
    lines = (case / "findings.jsonl").read_text().splitlines()
    (case / "findings.jsonl").write_text("\n".join([*lines[:4], lines[4][:50], *lines[5:]]) + "\n")
    done = handed(case, tmp_path / "out.dcm")
    assert done.report is not None
    assert done.damage == ("findings.jsonl: line 5 cannot be read",)


def test_a_recording_that_breaks_off_leaves_no_part_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MOST_FRAMES", 2)

    def frames() -> Any:
        for i in range(3):
            yield i / 30, Frame(picture(i), i / 30, i)
        raise SourceError("the file ends here")

    with pytest.raises(SourceError):
        write_pictures(frames(), tmp_path / "out" / "out.dcm", NOBODY)
    assert not [*(tmp_path / "out").iterdir()]


def test_patient_and_study_are_those_of_the_case(case: Path, tmp_path: Path) -> None:
    handed(case, tmp_path / "out.dcm", patient=Patient.read(case / "patient.json"), excerpt=START)
    ds = dcmread(tmp_path / "out.dcm")
    assert ds.PatientName == NAME
    assert (ds.PatientID, ds.PatientBirthDate, ds.PatientSex) == (PATIENT["id"], "19500131", "F")
    assert (ds.AccessionNumber, ds.StudyInstanceUID) == (PATIENT["accession_number"], PATIENT["study_uid"])
    assert (ds.PatientIdentityRemoved, ds.BurnedInAnnotation) == ("NO", "NO")
    assert ds.StudyDate == "20261130"


def test_a_de_identified_file_says_so_and_holds_no_date_and_no_name(case: Path, tmp_path: Path) -> None:
    handed(case, tmp_path / "out.dcm", excerpt=START)
    ds = dcmread(tmp_path / "out.dcm")
    assert (ds.PatientIdentityRemoved, ds.BurnedInAnnotation) == ("YES", "NO")
    assert [code.CodeValue for code in ds.DeidentificationMethodCodeSequence] == ["113100", "113101"]
    del ds.PixelData
    assert not [element for element in ds.iterall() if element.VR in ("DA", "TM", "DT", "PN") and element.value]
    assert not [word for word in SECRETS if word in str(ds.to_json_dict())]
    assert ds.StudyInstanceUID != PATIENT["study_uid"]


def test_two_exports_without_a_patient_share_no_number(case: Path, tmp_path: Path) -> None:
    names = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    first, second = (handed(case, tmp_path / name, excerpt=START).pictures[0].header for name in ("a.dcm", "b.dcm"))
    assert not {first[name].value for name in names} & {second[name].value for name in names}


def test_a_file_with_its_burned_in_text_never_says_that_nobody_can_be_told_from_it(case: Path, tmp_path: Path) -> None:
    handed(case, tmp_path / "out.dcm", keep_text=True)
    ds = dcmread(tmp_path / "out.dcm")
    assert (ds.PatientIdentityRemoved, ds.BurnedInAnnotation) == ("NO", "YES")
    assert frames_of(tmp_path / "out.dcm")[0].pixels[:14, :90].max() == 255


def test_burned_in_text_goes_unless_it_is_asked_for(case: Path, tmp_path: Path) -> None:
    handed(case, tmp_path / "out.dcm")
    assert all(frame.pixels[:16, :60].max() == 0 for frame in frames_of(tmp_path / "out.dcm"))


def test_the_scale_stands_in_it_where_all_was_measured_with_one(case: Path, tmp_path: Path) -> None:
    handed(case, tmp_path / "out.dcm", excerpt=START)
    ds = dcmread(tmp_path / "out.dcm")
    assert [float(side) for side in ds.PixelSpacing] == [0.4, 0.4]
    assert ds.PixelSpacingCalibrationType == "FIDUCIAL"


def test_no_scale_stands_in_it_where_two_views_had_their_own(case: Path, tmp_path: Path) -> None:
    lines = (case / "findings.jsonl").read_text().splitlines()
    other = json.loads(lines[-3])
    other["scale"] = {"mm_per_px": 0.5, "source": "needle"}
    (case / "findings.jsonl").write_text("\n".join([*lines[:-3], json.dumps(other)]) + "\n")
    handed(case, tmp_path / "out.dcm", excerpt=START)
    assert "PixelSpacing" not in dcmread(tmp_path / "out.dcm")


def test_a_patient_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "patient.json"
    path.write_text("{}")
    path.chmod(0o666)
    patient = Patient(name=NAME, birth_date=date(1950, 1, 31))
    patient.write(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert Patient.read(path) == patient
