"""Who the patient is stands in the DICOM files and in patient.json: never in a log, an error, a name or on a screen."""

import io
import json
import logging
from pathlib import Path

import pytest
from pydicom import dcmread

from guidance.cli import main
from guidance.handon import HandOnError
from guidance.handon.patient import Patient
from tests.unit.handon.made import NAME, SECRETS


def says_nothing(text: str) -> None:
    assert not [word for word in SECRETS if word in text]


def test_an_export_names_the_patient_in_the_files_alone(
    case: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    assert (
        main(["export", str(case), "--dicom", str(tmp_path / "out" / "x.dcm"), "--preview", str(tmp_path / "p.png")])
        == 0
    )
    assert dcmread(tmp_path / "out" / "x.dcm").PatientName == NAME
    told = capsys.readouterr()
    says_nothing(told.out + told.err + caplog.text)
    says_nothing("".join(path.name for path in tmp_path.rglob("*")))


def test_what_libraries_doubt_about_a_name_is_told_to_nobody(
    case: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They warn with the name in their words, and here every warning that is heard is an error."""
    caplog.set_level(logging.DEBUG)
    for name in ("Müller", "Müller^Änne^^^^^", "Müller^A=ミュラー^アンネ", f"{'M' * 50}Müller"):
        (case / "patient.json").write_text(json.dumps({"schema": 1, "name": name, "id": "4711 "}), encoding="utf-8")
        assert main(["export", str(case), "--to-s", "0", "--dicom", str(tmp_path / "x.dcm")]) == 0
        assert str(dcmread(tmp_path / "x.dcm").PatientName).startswith(name.rstrip("^"))
    says_nothing(caplog.text)


def test_a_patient_shown_by_accident_shows_nothing(case: Path) -> None:
    patient = Patient.read(case / "patient.json")
    says_nothing(repr(patient) + str(patient))


@pytest.mark.parametrize(
    "written",
    [
        f'{{"schema": 1, "name": "{NAME}", "sex": "Müller"}}',
        f'{{"schema": 1, "name": "{NAME}" "id"}}',
        f'{{"schema": 1, "birth_date": "{NAME}"}}',
        f'{{"schema": 1, "{NAME}": 1}}',
        json.dumps({"schema": 1, "accession_number": NAME * 9}),
        json.dumps({"schema": 1, "study_uid": NAME}),
    ],
    ids=["sex", "no JSON", "date", "unknown field", "too long", "uid"],
)
def test_an_error_in_a_patient_file_names_the_place_and_not_what_stands_there(tmp_path: Path, written: str) -> None:
    (tmp_path / "patient.json").write_text(written, encoding="utf-8")
    with pytest.raises(HandOnError) as failed:
        Patient.read(tmp_path / "patient.json")
    says_nothing(str(failed.value))
    assert "patient.json" in str(failed.value)


def test_a_file_that_goes_as_it_is_cannot_be_asked_for_without_its_patient(
    case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(case), "--to-s", "0", "--dicom", str(tmp_path / "x.dcm")]) == 0
    assert main(["send", str(tmp_path / "x.dcm"), "--to", "PACS@127.0.0.1:1", "--deidentify"]) == 2
    assert "go as they are" in capsys.readouterr().err


def test_a_patient_is_typed_in_and_not_given_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{NAME}\n4711\n1950-01-31\nF\n"))
    assert main(["patient", str(tmp_path / "patient.json")]) == 0
    assert Patient.read(tmp_path / "patient.json").name == NAME
    told = capsys.readouterr()
    says_nothing(told.out + told.err)
