import numpy as np
import pytest
from scipy.ndimage import label

from guidance.phantom.anatomy import make_patient
from guidance.phantom.carm import CArm
from guidance.phantom.patient import Patient
from guidance.phantom.spread import GRAIN_MM, CementSpread, ContrastRun, Course, leak_way, skin_spill

VIEW = CArm(side_px=256, detector_side_mm=200)
LEAKS = ["foramen", "canal", "anterior", "vein"]


@pytest.fixture(scope="module")
def patient() -> Patient:
    return make_patient(5, 1.5)


@pytest.fixture(scope="module")
def tip_mm(patient: Patient) -> np.ndarray:
    return patient.landmarks.ala_targets["L"]


def test_the_volume_put_in_is_the_volume_of_the_voxels(patient: Patient, tip_mm: np.ndarray):
    cement = CementSpread(patient, tip_mm, seed=1)
    for _ in range(30):
        cement.inject(0.05)
    assert cement.injected_ml == pytest.approx(1.5, abs=GRAIN_MM**3 / 1000)
    assert len(np.unique(cement.points_mm.round(3), axis=0)) == len(cement.points_mm)


def test_cement_only_ever_grows(patient: Patient, tip_mm: np.ndarray):
    cement = CementSpread(patient, tip_mm, seed=1)
    cement.inject(0.4)
    before = cement.points_mm
    cement.inject(0.4)
    np.testing.assert_array_equal(cement.points_mm[: len(before)], before)
    with pytest.raises(ValueError, match="cannot be drawn back"):
        cement.inject(-0.1)


def test_the_same_seed_grows_the_same_deposit_in_any_number_of_strokes(patient: Patient, tip_mm: np.ndarray):
    at_once, in_strokes = (CementSpread(patient, tip_mm, 7, "vein", 0.3) for _ in range(2))
    at_once.inject(0.9)
    for _ in range(9):
        in_strokes.inject(0.1)
    np.testing.assert_array_equal(at_once.points_mm, in_strokes.points_mm)


def test_without_a_leak_cement_stays_in_the_bone_and_in_one_piece(patient: Patient, tip_mm: np.ndarray):
    cement = CementSpread(patient, tip_mm, seed=2)
    cement.inject(1.5)
    assert (patient.bone_at(cement.points_mm) > 0.03).mean() > 0.98
    index = np.round((cement.points_mm - cement.points_mm.min(axis=0)) / GRAIN_MM).astype(int)
    grid = np.zeros(index.max(axis=0) + 1, bool)
    grid[tuple(index.T)] = True
    assert label(grid)[1] == 1


def test_the_picture_holds_the_volume_too(patient: Patient, tip_mm: np.ndarray):
    cement = CementSpread(patient, tip_mm, seed=2)
    cement.inject(1.0)
    _, patch = cement.cement_cm(VIEW)
    scale = VIEW.px_per_mm_at(cement.points_mm).mean()
    assert patch.sum() / scale**2 / 100 == pytest.approx(1.0, abs=0.05)


def test_a_picture_drawn_stroke_by_stroke_is_the_picture_drawn_at_once(patient: Patient, tip_mm: np.ndarray):
    at_once, in_strokes = (CementSpread(patient, tip_mm, 7, "foramen", 0.3) for _ in range(2))
    at_once.inject(0.8)
    for _ in range(8):
        in_strokes.inject(0.1)
        in_strokes.cement_cm(VIEW)
    (box, patch), (other_box, other_patch) = at_once.cement_cm(VIEW), in_strokes.cement_cm(VIEW)
    assert box == other_box
    np.testing.assert_array_equal(patch, other_patch)


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_starts_when_told_and_reaches_where_it_is_named_for(patient: Patient, tip_mm: np.ndarray, leak: str):
    cement = CementSpread(patient, tip_mm, 3, leak, leak_after_ml=0.5)
    cement.inject(0.5)
    assert cement.leaked_ml == 0
    inside = cement.points_mm
    cement.inject(1.0)
    assert cement.leaked_ml > 0.15
    end = leak_way(patient.landmarks, tip_mm, leak)[2]
    nearest = [np.linalg.norm(points - end, axis=1).min() for points in (inside, cement.points_mm)]
    assert nearest[1] < 2.0 < nearest[0]


def test_cement_in_the_canal_lies_within_the_canal(patient: Patient, tip_mm: np.ndarray):
    cement = CementSpread(patient, tip_mm, 3, "canal", leak_after_ml=0.2)
    cement.inject(1.2)
    canal = patient.landmarks.canal_path_mm
    distance = np.linalg.norm(cement.points_mm[:, None] - canal[None], axis=2).min(axis=1)
    assert (distance < 4.0).sum() * GRAIN_MM**3 > 50


def test_contrast_fills_from_the_foramen_outwards_and_washes_out(patient: Patient):
    run = ContrastRun(patient, "S1L", ml=1.5, seed=4)
    assert run.at(-1).ml == 0
    volumes = [run.at(t).ml for t in (0.3, 1.0, 2.5)]
    assert volumes == sorted(volumes)
    assert volumes[2] == pytest.approx(1.5, abs=0.02)
    early = run.at(0.3).points_mm
    opening = patient.landmarks.foramina["S1L"].mean(axis=0)
    assert (
        np.linalg.norm(early - opening, axis=1).mean() < np.linalg.norm(run.at(2.5).points_mm - opening, axis=1).mean()
    )
    # One time constant after the injection's end 37 % is left.
    assert run.at(2.5 + run.washout_s).ml == pytest.approx(1.5 * np.exp(-1), rel=0.03)


@pytest.mark.parametrize("into", ["vein", "tissue", "canal", "layer", "skin"])
def test_contrast_that_goes_elsewhere_is_seen_and_fills_no_root(patient: Patient, into: Course):
    run = ContrastRun(patient, "S1R", ml=0.8, seed=3, into=into)
    full = run.at(run.ml / run.ml_per_s)
    assert 0 < full.ml <= 0.81
    assert run.filled_sheath(60).ml == 0
    _, patch = full.iodine_cm(VIEW)
    assert np.percentile(patch[patch > 0.02], 50) > 0.05


def test_a_filled_sheath_is_known_after_it_has_washed_out(patient: Patient):
    run = ContrastRun(patient, "S2L", ml=1.5, seed=3, washout_s=1.0)
    assert run.at(30).ml < 0.01
    assert 0.3 < run.filled_sheath(30).ml < 1.5


def test_contrast_is_thick_enough_to_be_seen(patient: Patient):
    _, patch = ContrastRun(patient, "S2R", ml=1.5, seed=4).at(4).iodine_cm(VIEW)
    assert np.percentile(patch[patch > 0.02], 50) > 0.1


def test_a_root_that_does_not_exist_is_refused(patient: Patient):
    with pytest.raises(ValueError, match="expected one of S1L"):
        ContrastRun(patient, "S9L", 1.0, 0)


def test_a_spill_holds_what_was_spilt():
    cloud = skin_spill(np.array([0.0, 80.0, 0.0]), 0.8, seed=6)
    assert cloud.ml == pytest.approx(0.8)
    assert np.ptp(cloud.points_mm[:, 1]) == 0


def test_a_site_used_again_is_untouched(patient: Patient, tip_mm: np.ndarray):
    used = CementSpread(patient, tip_mm, 1, "foramen", 0.2)
    used.inject(0.5)
    again = used.again()
    assert again.injected_ml == again.leaked_ml == 0
    again.inject(0.5)
    np.testing.assert_array_equal(again.points_mm, used.points_mm)
