"""The archive's commands, as they are typed."""

import json
from pathlib import Path

import pytest

from guidance.cli import main
from tests.unit.casebook.recorded import record
from tests.unit.drivers.written import pictures, write_dicom, write_video


def test_a_whole_case_passes_the_check_and_a_damaged_one_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path / "case")
    assert main(["archive", "check", str(tmp_path / "case")]) == 0
    video = tmp_path / "case" / "video.mkv"
    row = json.loads((tmp_path / "case" / "frames.jsonl").read_text().splitlines()[4])
    data = bytearray(video.read_bytes())
    data[row["at"] + row["size"] // 2] ^= 1
    video.write_bytes(data)
    assert main(["archive", "check", str(tmp_path / "case")]) == 1
    assert "damaged: frames 4 to 5" in capsys.readouterr().out


def test_a_video_is_imported_as_a_case_that_replays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_video(tmp_path / "clip.mkv", pictures(6))
    assert main(["archive", "import", str(tmp_path / "archive"), str(tmp_path / "clip.mkv")]) == 0
    folder = Path(capsys.readouterr().out.strip())
    assert not (folder / "patient.json").exists()
    assert main(["archive", "list", str(tmp_path / "archive"), "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert (entry["id"], entry["frames"], entry["complete"]) == (folder.name, 6, True)
    assert main(["replay", str(folder), "--out", str(tmp_path / "out")]) == 0
    assert len((tmp_path / "out" / "findings.jsonl").read_text().splitlines()) == 6


def test_cases_are_kept_tagged_and_tidied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        record(tmp_path / name)
    assert main(["archive", "keep", str(tmp_path / "a")]) == 0
    assert main(["archive", "tag", str(tmp_path / "a"), "S1", "teaching"]) == 0
    assert main(["archive", "tidy", str(tmp_path), "--gb", "0"]) == 0
    assert capsys.readouterr().out == "deleted b\n"
    assert main(["archive", "list", str(tmp_path)]) == 0
    assert "complete keep S1 teaching" in capsys.readouterr().out
    assert main(["archive", "rebuild", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "1 cases\n"


def test_what_is_no_archive_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["archive", "list", str(tmp_path / "missing")]) == 2
    assert capsys.readouterr().err.endswith("no such folder; expected an archive of cases\n")


def test_a_dicom_import_knows_whose_it_is_and_tells_it_in_that_one_file_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = {"PatientName": "Roe^Jane", "PatientID": "4711", "PatientBirthDate": "19500229", "PatientSex": "F"}
    write_dicom(tmp_path / "run.dcm", pictures(3), **header)
    assert main(["archive", "import", str(tmp_path / "archive"), str(tmp_path / "run.dcm")]) == 2
    assert "birth_date" in capsys.readouterr().err
    assert not (tmp_path / "archive").exists()
    write_dicom(tmp_path / "run.dcm", pictures(3), **header | {"PatientBirthDate": "19500228"})
    assert main(["archive", "import", str(tmp_path / "archive"), str(tmp_path / "run.dcm")]) == 0
    folder = Path(capsys.readouterr().out.strip())
    patient = json.loads((folder / "patient.json").read_text())
    assert (patient["name"], patient["id"], patient["birth_date"]) == ("Roe^Jane", "4711", "1950-02-28")
    for file in folder.iterdir():
        assert b"Roe" not in file.name.encode() + (file.read_bytes() if file.name != "patient.json" else b"")
