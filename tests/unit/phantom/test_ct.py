import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from drivers.errors import SourceError
from guidance.phantom.ct import body_mask, find_sacrum, load_patient, materials, read_placement, read_volume
from guidance.phantom.spectrum import ATTENUATION_PER_CM

VHM = Path(__file__).parents[3].parent / "shared" / "data" / "vhm_pelvis_ct.nii.gz"
SACRUM_HERE = {"schema": 1, "s1_centre_mm": [0, 0, 0], "slope_deg": 42}


def _trunk_hu() -> np.ndarray:
    """A trunk with a spine, a hand that touches it, and a table under it: (30, 90, 120) voxels of 3 mm."""
    hu = np.full((30, 90, 120), -1000, np.float32)
    y, x = np.mgrid[:90, :120]
    hu[:, ((x - 60) / 45) ** 2 + ((y - 45) / 28) ** 2 < 1] = 40
    hu[:, (x - 60) ** 2 + (y - 55) ** 2 < 36] = 700
    hu[10:20, (x - 60) ** 2 + (y - 9) ** 2 < 64] = 50
    hu[:, 78:80, 20:100] = 200
    return hu


@pytest.fixture
def nifti(tmp_path: Path) -> Path:
    path = tmp_path / "trunk.nii.gz"
    # Stored as most files are: axes right to left, back to front.
    nibabel.save(nibabel.Nifti1Image(_trunk_hu().transpose(2, 1, 0), np.diag([-3.0, -3.0, 3.0, 1.0])), path)
    return path


@pytest.fixture
def placement(tmp_path: Path) -> Path:
    path = tmp_path / "sacrum.json"
    path.write_text(json.dumps({**SACRUM_HERE, "s1_centre_mm": [180, 165, 45]}))
    return path


def _write_slice(path: Path, plane: np.ndarray, z_mm: float, orientation: list[float]) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    data.ImagePositionPatient, data.ImageOrientationPatient = [0.0, 0.0, z_mm], orientation
    data.PixelSpacing, data.RescaleSlope, data.RescaleIntercept = [3.0, 3.0], 1, -1024
    data.Rows, data.Columns = plane.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    data.PixelData = (plane + 1024).astype(np.uint16).tobytes()
    data.save_as(path, enforce_file_format=True)


def test_the_table_and_a_touching_hand_are_masked_and_the_trunk_is_kept():
    hu = _trunk_hu()
    keep = body_mask(hu, 3.0)
    assert not keep[:, 77:].any()
    assert not keep[:, :10].any()
    trunk = hu > 30
    trunk[:, 77:] = trunk[:, :17] = False
    assert keep[trunk].mean() > 0.99


def test_a_mixture_has_the_attenuation_of_its_ct_number():
    hu = np.array([-1000.0, -100.0, 0.0, 300.0, 900.0, 1560.0], np.float32)
    soft, bone = materials(hu)
    per_cm = soft * ATTENUATION_PER_CM["soft"][2] + bone * ATTENUATION_PER_CM["bone"][2]
    np.testing.assert_allclose(per_cm, 0.193 * (1 + hu / 1000), atol=0.001)


def test_a_nifti_and_its_dicom_slices_give_the_same_volume(nifti: Path, tmp_path: Path):
    folder = tmp_path / "series"
    folder.mkdir()
    for i, plane in enumerate(_trunk_hu()):
        _write_slice(folder / f"{99 - i}.dcm", plane, 3.0 * i, [1, 0, 0, 0, 1, 0])
    one, other = read_volume(nifti), read_volume(folder)
    np.testing.assert_array_equal(one.hu, other.hu)
    assert one.spacing_mm == pytest.approx(other.spacing_mm)
    assert one.origin_mm == pytest.approx(other.origin_mm)


def test_a_patient_is_placed_by_the_landmarks_file(nifti: Path, placement: Path):
    patient = load_patient(nifti, placement, voxel_mm=3.0)
    assert patient.bone_at(np.array([[0.0, 0.0, 0.0]]))[0] > 0.3
    assert patient.bone_at(np.array([[0.0, 0.0, 0.0]]))[0] < 0.6
    assert set(patient.landmarks.bodies) == {"S1", "S2"}


def test_a_volume_without_a_sacrum_says_that_none_was_found(nifti: Path):
    with pytest.raises(SourceError, match="no sacrum found"):
        load_patient(nifti, voxel_mm=3.0)


def test_bone_without_a_bend_is_no_sacrum():
    bone = np.zeros((100, 60, 60), np.float32)
    bone[:, 20:40, 20:40] = 0.5
    assert find_sacrum(bone, 1.0, (0.0, 0.0, 0.0)) is None


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "cannot be read as NIfTI"),
        (b"not a volume at all", "cannot be read as NIfTI"),
    ],
)
def test_a_file_that_is_no_volume_gives_one_clear_error(tmp_path: Path, content: bytes, complaint: str):
    path = tmp_path / "bad.nii.gz"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=complaint) as caught:
        read_volume(path)
    assert "\n" not in str(caught.value)


def test_a_truncated_nifti_gives_one_clear_error(nifti: Path):
    nifti.write_bytes(nifti.read_bytes()[:2000])
    with pytest.raises(SourceError, match=r"trunk\.nii\.gz"):
        read_volume(nifti)


def test_a_missing_volume_is_named(tmp_path: Path):
    with pytest.raises(SourceError, match=r"gone\.nii: not found"):
        read_volume(tmp_path / "gone.nii")


def test_slices_of_another_orientation_are_refused(tmp_path: Path):
    for i in range(16):
        _write_slice(tmp_path / f"{i}.dcm", np.zeros((20, 20)), i, [0, 1, 0, 0, 0, -1])
    with pytest.raises(SourceError, match="expected axial"):
        read_volume(tmp_path)


def test_slices_with_a_gap_are_refused(tmp_path: Path):
    for i in range(17):
        _write_slice(tmp_path / f"{i}.dcm", np.zeros((20, 20)), i + (i > 8), [1, 0, 0, 0, 1, 0])
    with pytest.raises(SourceError, match="evenly spaced"):
        read_volume(tmp_path)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"schema": 2}, "schema"),
        ({"slope": 3}, "unknown field"),
        ({"s1_centre_mm": [1, 2]}, "three finite numbers"),
        ({"s1_centre_mm": [1, 2, True]}, "three finite numbers"),
        ({"size": -1}, "size: expected a number from 0.6"),
    ],
)
def test_a_landmarks_file_that_does_not_fit_names_the_field(tmp_path: Path, change: dict, complaint: str):
    path = tmp_path / "sacrum.json"
    path.write_text(json.dumps({**SACRUM_HERE, **change}))
    with pytest.raises(SourceError, match=complaint):
        read_placement(path)


@pytest.mark.skipif(not VHM.exists(), reason="the Visible Human's CT is not in ../shared/data")
def test_the_visible_humans_s1_is_found_without_a_landmarks_file():
    volume = read_volume(VHM)
    x, y, z = volume.origin_mm
    # Around the spine only, which saves time; hands and table lie outside.
    _, bone = materials(volume.hu[:, 180:400, 150:380])
    found = find_sacrum(bone, 1.0, (x + 150, y + 180, z))
    assert found is not None
    # As read off the midsagittal slice by eye.
    assert found.s1_centre_mm == pytest.approx((262, 288, 484), abs=8)
    assert found.build.slope_deg == pytest.approx(60, abs=8)
