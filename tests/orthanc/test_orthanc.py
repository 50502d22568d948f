"""A case handed on to a real archive: Debian's Orthanc, by every way that there is, and held against dciodvfy."""

import io
import logging
import subprocess
from pathlib import Path

import numpy as np
import pytest
from dicomweb_client import DICOMwebClient
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless

from drivers.dicom import DicomFile
from guidance.cli import main
from guidance.handon import HandOnError
from guidance.handon.patient import Patient
from guidance.handon.peers import Commitment, Peer, SentFile, commit, store, worklist
from guidance.handon.study import new_uid
from tests.orthanc.conftest import Orthanc
from tests.unit.handon.made import ACCESSION, NAME, PATIENT, SECRETS, write_case

TODAY = "20261130"


@pytest.fixture(scope="package")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a case and its files: of a patient and of nobody, compressed and not, of 8 and of 12 bits."""
    folder = tmp_path_factory.mktemp("exported")
    case, deep = write_case(folder / "case"), write_case(folder / "deep", bits=12)
    for name, arguments in {
        "patient": [str(case)],
        "nobody": [str(case), "--deidentify", "--every-pulse"],
        "plain": [str(case), "--uncompressed", "--to-s", "0.3"],
        "deep": [str(deep), "--from-s", "0.7"],
        "one": [str(case), "--to-s", "0"],
        "text": [str(case), "--keep-text", "--deidentify", "--to-s", "0.3"],
    }.items():
        assert main(["export", *arguments, "--dicom", str(folder / f"{name}.dcm")]) == 0
    return folder


@pytest.mark.parametrize("name", ["patient", "nobody", "plain", "deep", "one", "text"])
def test_dciodvfy_finds_no_error(debian: None, exported: Path, name: str) -> None:
    for path in (exported / f"{name}.dcm", exported / f"{name}-report.dcm"):
        checked = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
        told = checked.stdout + checked.stderr
        assert "Error" not in told, told
        assert "SC" in told or "ComprehensiveSR" in told


@pytest.mark.parametrize(("name", "syntax"), [("patient", JPEGLSLossless), ("plain", ExplicitVRLittleEndian)])
def test_a_case_is_stored_as_it_is_and_its_report_with_it(
    orthanc: Orthanc, exported: Path, name: str, syntax: str, tmp_path: Path
) -> None:
    files = [str(exported / f"{name}.dcm"), str(exported / f"{name}-report.dcm")]
    assert main(["send", *files, "--to", orthanc.address]) == 0
    [study] = orthanc.ask("/studies?expand")
    assert study["MainDicomTags"]["AccessionNumber"] == ACCESSION
    assert sorted(series["MainDicomTags"]["Modality"] for series in orthanc.ask("/series?expand")) == ["RF", "SR"]
    [pictures] = [i["ID"] for i in orthanc.ask("/instances?expand") if "NumberOfFrames" in i["MainDicomTags"]]
    back = tmp_path / "back.dcm"
    back.write_bytes(orthanc.fetch(f"/instances/{pictures}/file"))
    assert dcmread(back).file_meta.TransferSyntaxUID == syntax
    with DicomFile(exported / f"{name}.dcm") as sent, DicomFile(back) as stored:
        for before, after in zip(sent, stored, strict=True):
            np.testing.assert_array_equal(after.pixels, before.pixels)


def test_orthanc_itself_sees_the_pictures(orthanc: Orthanc, exported: Path) -> None:
    """Its own decoder, not ours, gives the same pixels."""
    assert main(["send", str(exported / "patient.dcm"), "--to", orthanc.address]) == 0
    [instance] = orthanc.ask("/instances")
    import cv2

    png = np.frombuffer(orthanc.fetch(f"/instances/{instance}/frames/9/image-uint8"), np.uint8)
    seen = cv2.imdecode(png, cv2.IMREAD_GRAYSCALE)
    with DicomFile(exported / "patient.dcm") as sent:
        np.testing.assert_array_equal(seen, [frame.pixels for frame in sent][9])


def test_it_promises_to_keep_what_it_was_sent(
    orthanc: Orthanc, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ports = ["--commit", "--commit-port", str(orthanc.commit_port)]
    assert main(["send", str(exported / "case"), "--to", orthanc.address, *ports]) == 0
    assert "2 of 2 committed" in capsys.readouterr().out


def test_what_it_does_not_have_it_does_not_promise_to_keep(orthanc: Orthanc, exported: Path) -> None:
    sent, unsent = SentFile.of(exported / "patient.dcm"), SentFile.of(exported / "plain.dcm")
    peer = Peer.parse(orthanc.address)
    assert [*store(peer, [sent])] == [sent]
    answer = commit(peer, [sent, unsent], port=orthanc.commit_port, timeout_s=20)
    assert answer == Commitment({sent.sop_instance}, {unsent.sop_instance: 0x0112})


def test_a_promise_that_never_comes_is_an_error(orthanc: Orthanc, exported: Path) -> None:
    # It answers FLUOROGUIDE at its own port, and nobody else at all.
    with pytest.raises(HandOnError, match=r"commitment|STRANGER"):
        commit(Peer.parse(orthanc.address), [SentFile.of(exported / "one.dcm")], "STRANGER", orthanc.commit_port, 1.0)


def test_a_case_is_stored_over_the_web(orthanc: Orthanc, exported: Path) -> None:
    assert main(["send", str(exported / "case"), "--stow", orthanc.dicomweb]) == 0
    found = DICOMwebClient(orthanc.dicomweb).search_for_instances(search_filters={"AccessionNumber": ACCESSION})
    assert len(found) == 2


# pynetdicom forgets to close the socket that nobody has answered.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_wrong_address_is_one_clear_line(
    orthanc: Orthanc, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(exported / "one.dcm")
    for arguments, words in (
        (["--to", f"NOBODY@127.0.0.1:{orthanc.dicom_port}"], "refuses FLUOROGUIDE"),
        (["--to", "ORTHANC@127.0.0.1:1"], "nobody answers"),
        (["--to", "ORTHANC@nowhere.invalid:104"], "expected the name or address of a machine"),
        (["--to", "127.0.0.1"], "expected AET@HOST:PORT"),
        (["--stow", orthanc.dicomweb + "/nowhere"], "HTTP status 404"),
        (["--stow", "http://127.0.0.1:1/dicom-web"], "does not take it"),
    ):
        assert main(["send", file, *arguments]) == 2
        told = capsys.readouterr().err
        assert words in told
        assert "Traceback" not in told


def scheduled(orthanc: Orthanc, accession: str, name: str, day: str = TODAY) -> None:
    step = Dataset()
    step.Modality, step.ScheduledStationAETitle = "XA", "CARM7"
    step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepStartTime = day, "093000"
    step.ScheduledProcedureStepDescription, step.ScheduledProcedureStepID = "Sacroplasty", "SPS1"
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = "1.2.276.0.7230010.3.1.0.1"
    ds.file_meta.MediaStorageSOPInstanceUID = new_uid()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = name, PATIENT["id"], "19500131", "F"
    ds.AccessionNumber, ds.StudyInstanceUID = accession, PATIENT["study_uid"]
    ds.ReferringPhysicianName, ds.RequestedProcedureID = "Ito^Ken", "RP1"
    ds.RequestedProcedureDescription = "Sacroplasty"
    ds.ScheduledProcedureStepSequence = [step]
    ds.save_as(orthanc.worklists / f"{accession}.wl", enforce_file_format=True)


def test_patient_and_study_come_from_the_worklist(
    orthanc: Orthanc, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scheduled(orthanc, ACCESSION, NAME)
    scheduled(orthanc, "OTHER", "Other^One", day="20261201")
    peer = Peer.parse(orthanc.address)
    assert [entry.patient.accession_number for entry in worklist(peer)] == [ACCESSION, "OTHER"]
    asked = ["worklist", "--from", orthanc.address, "--date", "2026-11-30", "--modality", "XA"]
    assert main(asked) == 0
    assert NAME in capsys.readouterr().out
    assert main([*asked, "--save", str(tmp_path / "patient.json")]) == 0
    patient = Patient.read(tmp_path / "patient.json")
    assert (patient.name, patient.accession_number, patient.study_uid) == (NAME, ACCESSION, PATIENT["study_uid"])
    assert (patient.procedure_id, patient.step_id) == ("RP1", "SPS1")
    out = tmp_path / "out.dcm"
    whose = ["--patient", str(tmp_path / "patient.json")]
    assert main(["export", str(exported / "case"), *whose, "--dicom", str(out)]) == 0
    ds = dcmread(out)
    assert ds.PatientName == NAME
    assert ds.RequestAttributesSequence[0].RequestedProcedureID == "RP1"


def test_nothing_of_the_patient_is_logged_on_the_way(
    orthanc: Orthanc, exported: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    scheduled(orthanc, ACCESSION, NAME)
    case, ports = str(exported / "case"), ["--commit", "--commit-port", str(orthanc.commit_port)]
    assert main(["send", case, "--to", orthanc.address, *ports]) == 0
    assert main(["send", case, "--stow", orthanc.dicomweb]) == 0
    assert worklist(Peer.parse(orthanc.address))
    told = capsys.readouterr()
    text = io.StringIO(caplog.text + told.out + told.err)
    assert not [line for line in text if any(word in line for word in SECRETS)]
