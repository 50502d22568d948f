import numpy as np
import pytest

from guidance.phantom.anatomy import Build, make_patient
from guidance.phantom.carm import CArm
from guidance.phantom.distance import capsule, outline
from guidance.phantom.patient import Patient
from guidance.phantom.projector import path_lengths_cm
from guidance.phantom.sacrum import FORAMINA, SacralBuild, SacralCurve

VOXEL_MM = 2.0


@pytest.fixture(scope="module")
def patient() -> Patient:
    return make_patient(3, VOXEL_MM)


def test_the_same_seed_gives_the_same_bytes(patient: Patient):
    again = make_patient(3, VOXEL_MM)
    assert again.bone.tobytes() == patient.bone.tobytes()
    assert again.soft.tobytes() == patient.soft.tobytes()


def test_another_seed_gives_another_patient():
    rng_a, rng_b = np.random.default_rng(1), np.random.default_rng(2)
    assert Build.drawn(rng_a) != Build.drawn(rng_b)


def test_materials_are_shares_and_never_exceed_their_room(patient: Patient):
    assert patient.bone.min() == 0
    assert patient.bone.max() <= 1
    assert patient.soft.min() >= 0
    assert patient.soft.max() < 1.1
    assert patient.bone.dtype == patient.soft.dtype == np.float32


def test_bodies_wings_and_needle_targets_lie_in_trabecular_bone(patient: Patient):
    marks = patient.landmarks
    targets = np.array([*marks.ala_targets.values(), *marks.body_targets.values()])
    assert (patient.bone_at(targets) > 0.03).all()
    assert (patient.bone_at(targets) < 0.75).all()


def test_the_canal_and_the_foramina_are_hollow(patient: Patient):
    marks = patient.landmarks
    canal = marks.canal_path_mm[(marks.canal_path_mm[:, 2] < 8) & (marks.canal_path_mm[:, 2] > -40)]
    assert patient.bone_at(canal).max() < 0.1
    for name, outline_mm in marks.foramina.items():
        if name[:2] in ("S1", "S2"):
            assert patient.bone_at(outline_mm.mean(axis=0)[None])[0] < 0.15, name


def test_an_anterior_opening_measures_what_the_notes_say():
    build = Build.drawn(np.random.default_rng(0))
    plain = Build(SacralBuild(), 0, 0, build.trabecular, 1.2, 170, 100, 20, 0)
    outline_mm = make_patient(0, 4.0, plain).landmarks.foramina["S1L"]
    # On the hollow side of the sacrum's bend heights shrink by up to 7 %.
    assert np.ptp(outline_mm[:, 0]) == pytest.approx(13.0, abs=0.2)
    assert np.hypot(np.ptp(outline_mm[:, 1]), np.ptp(outline_mm[:, 2])) == pytest.approx(12.2, abs=0.9)
    assert (FORAMINA[0].lateral_mm, FORAMINA[0].superior_mm) == (10.0, 6.0)


def test_left_structures_lie_left_and_s2_below_s1(patient: Patient):
    marks = patient.landmarks
    for level in ("S1", "S2", "S3", "S4"):
        assert marks.foramina[f"{level}L"][:, 0].min() > 0 > marks.foramina[f"{level}R"][:, 0].max()
    assert marks.foramina["S2L"][:, 2].mean() < marks.foramina["S1L"][:, 2].mean()


def test_a_root_passes_through_its_foramen(patient: Patient):
    for name, root in patient.landmarks.roots.items():
        centre = patient.landmarks.foramina[name].mean(axis=0)
        assert np.linalg.norm(root - centre, axis=1).min() < 1.0


def test_a_foramen_lets_more_through_than_the_wing_beside_it(patient: Patient):
    carm = CArm(side_px=128, detector_side_mm=280)
    _, bone_cm = path_lengths_cm(patient, carm)
    for side in ("L", "R"):
        (fx, fy), (ax, ay) = (
            carm.project(
                np.stack([patient.landmarks.foramina[f"S1{side}"].mean(axis=0), patient.landmarks.ala_targets[side]])
            )
            .round()
            .astype(int)
        )
        assert bone_cm[fy - 1 : fy + 2, fx - 1 : fx + 2].mean() < 0.8 * bone_cm[ay - 1 : ay + 2, ax - 1 : ax + 2].mean()


def test_a_sacrum_bent_and_straightened_comes_back():
    curve = SacralCurve(SacralBuild())
    x, y, z = curve.bent(0.0, 6.0, 40.0)
    p, s = curve.straight(np.array([y], np.float32), np.array([z], np.float32))
    assert (x, p[0, 0], s[0, 0]) == pytest.approx((0.0, 6.0, 40.0), abs=0.3)


def test_a_rods_distance_is_that_to_its_axis_less_its_radius():
    x = np.array([0.0, 3.0, 12.0], np.float32)
    zero = np.zeros(3, np.float32)
    np.testing.assert_allclose(
        capsule(x, zero, zero + 2, (0, 0, 0), (10, 0, 0), 1.0), [1, 1, np.sqrt(8) - 1], atol=1e-6
    )


def test_an_outlines_distance_is_negative_inside():
    axis = np.arange(-20, 21, dtype=np.float32)
    square = np.array([[-10, -10], [10, -10], [10, 10], [-10, 10]], dtype=np.float64)
    distance = outline(square, axis, axis)
    assert distance[20, 20] == pytest.approx(-10, abs=1.5)
    assert distance[20, 35] == pytest.approx(5, abs=1.5)
