import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from guidance.phantom.carm import CArm
from guidance.phantom.kernels import add_grains, covered, joseph_surface
from guidance.phantom.patient import DEPTH_STEP_MM, Landmarks, Patient, Surface
from guidance.phantom.projector import grains_cm, path_lengths_cm

NOWHERE = np.zeros((0, 3))
NO_LANDMARKS = Landmarks({}, NOWHERE, np.zeros(0), {}, {}, {}, {}, {}, (), NOWHERE)


def _ball_in_a_box(voxel_mm: float = 1.0) -> Patient:
    """A ball of bone, radius 20 mm, at (10, -5, 8); soft tissue fills |x| < 40, |y| < 30 for all z."""
    axis = np.arange(-60, 60, voxel_mm)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    r = np.sqrt((x - 10) ** 2 + (y + 5) ** 2 + (z - 8) ** 2)
    bone = np.clip(0.5 + (20 - r) / voxel_mm, 0, 1).astype(np.float32)
    soft = ((abs(x) <= 40) & (abs(y) <= 30)).astype(np.float32)
    return Patient(soft, bone, voxel_mm, (-60.0, -60.0, -60.0), NO_LANDMARKS)


VIEWS = [(0, 0, 0), (90, 0, 0), (0, 25, 0), (35, -10, 20)]


@pytest.mark.parametrize(("rotation", "tilt", "roll"), VIEWS)
def test_paths_through_a_ball_are_its_chords(rotation: float, tilt: float, roll: float):
    carm = CArm(rotation, tilt, side_px=48, detector_side_mm=200, roll_deg=roll)
    _, bone_cm = path_lengths_cm(_ball_in_a_box(), carm)
    rays = carm.rays()
    column, row = np.meshgrid(np.arange(48), np.arange(48))
    way = rays.corner_mm + column[..., None] * rays.right_mm + row[..., None] * rays.down_mm - rays.source_mm
    way /= np.linalg.norm(way, axis=-1, keepdims=True)
    to_ball = np.array([10.0, -5.0, 8.0]) - rays.source_mm
    off2 = to_ball @ to_ball - (way @ to_ball) ** 2
    chord_cm = 0.2 * np.sqrt(np.clip(20**2 - off2, 0, None))
    # Half a voxel's error at the rim, where a chord changes fastest; nearly none within.
    inner = off2 < 17**2
    np.testing.assert_allclose(bone_cm[inner], chord_cm[inner], atol=0.06)
    assert np.abs(bone_cm - chord_cm).mean() < 0.02


def test_the_path_straight_through_a_box_is_its_depth():
    soft_cm, _ = path_lengths_cm(_ball_in_a_box(), CArm(side_px=33, detector_side_mm=40))
    assert soft_cm[16, 16] == pytest.approx(6.1, abs=0.11)


def test_the_body_goes_on_beyond_the_last_slice():
    soft_cm, _ = path_lengths_cm(_ball_in_a_box(), CArm(side_px=64, detector_side_mm=400))
    assert soft_cm[0, 32] > 6


def test_every_other_ray_gives_nearly_the_same_picture():
    carm = CArm(side_px=128, detector_side_mm=160)
    _, full = path_lengths_cm(_ball_in_a_box(), carm)
    _, half = path_lengths_cm(_ball_in_a_box(), carm, upsample=2)
    assert np.abs(full - half).mean() < 0.01
    with pytest.raises(ValueError, match="divisor"):
        path_lengths_cm(_ball_in_a_box(), carm, upsample=3)


def test_a_prone_patient_is_seen_from_the_back():
    left, head, back = np.eye(3)[0] * 50, np.eye(3)[2] * 50, np.eye(3)[1] * 50
    (lx, ly), (hx, hy) = CArm().project(np.stack([left, head]))
    assert lx < 255.5
    assert hy < 255.5
    assert (ly, hx) == pytest.approx((255.5, 255.5))
    ((bx, _),) = CArm(rotation_deg=90).project(back[None])
    assert bx > 255.5


def test_a_pixel_at_the_isocentre_spans_mm_per_px():
    carm = CArm(20, 10, (5.0, 6.0, 7.0), roll_deg=30)
    centre = np.array([5.0, 6.0, 7.0])
    step = carm.mm_per_px * carm.axes[0]
    a, b = carm.project(np.stack([centre, centre + step]))
    np.testing.assert_allclose(a, [255.5, 255.5], atol=1e-9)
    np.testing.assert_allclose(b - a, [1, 0], atol=1e-9)


def test_roll_turns_the_anatomy_counter_clockwise_on_the_screen():
    carm = CArm(roll_deg=10)
    ((x, y),) = carm.project(np.array([[-40.0, 0.0, 0.0]]))  # to the right of the picture's centre
    assert x > 255.5
    assert y < 255.5


def test_rays_and_projection_agree():
    carm = CArm(30, 15, (3.0, -4.0, 5.0), side_px=64, roll_deg=7)
    rays = carm.rays()
    point = rays.source_mm + 0.6 * (rays.corner_mm + 12 * rays.right_mm + 50 * rays.down_mm - rays.source_mm)
    np.testing.assert_allclose(carm.project(point[None]), [[12, 50]], atol=1e-9)


def test_grains_keep_their_volume_on_the_picture():
    carm = CArm(side_px=256, detector_side_mm=200)
    points = np.random.default_rng(1).uniform(-5, 5, (400, 3))
    _, patch = grains_cm(carm, points, 0.7, np.ones(400))
    assert patch.sum() * 10 * carm.mm_per_px**2 == pytest.approx(400 * 0.7**3, rel=0.01)


def test_grains_out_of_view_leave_an_empty_shadow():
    box, patch = grains_cm(CArm(), np.array([[500.0, 0.0, 0.0]]), 0.7, np.ones(1))
    assert patch.size == 0
    assert box[2] - box[0] == 0 or box[3] - box[1] == 0


def test_compiled_grains_equal_their_plain_twin():
    rng = np.random.default_rng(2)
    centres, half, weight = rng.uniform(-3, 20, (30, 2)), rng.uniform(0.4, 4, 30), rng.uniform(0.1, 2, 30)
    patch, plain = np.zeros((13, 17), np.float32), np.zeros((13, 17))
    add_grains(centres, half, weight, 2, 1, patch)
    wide = np.arange(-40, 60)
    for (x, y), h, w in zip(centres, half, weight, strict=True):
        column = np.clip(1 - np.abs(wide - (x - 2)) / h, 0, None)
        row = np.clip(1 - np.abs(wide - (y - 1)) / h, 0, None)
        if row.sum() > 0 and column.sum() > 0:
            plain += (w * h * h / row.sum() / column.sum() * np.outer(row, column))[40:53, 40:57]
    np.testing.assert_allclose(patch, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("rotation", "tilt"), [(0, 0), (90, 12), (40, -20)])
def test_compiled_paths_equal_their_plain_twin(rotation: float, tilt: float):
    """Joseph's rule restated: sum the bilinear samples where the ray crosses each plane across its main axis."""
    rng = np.random.default_rng(5)
    volume = rng.uniform(0, 1, (9, 13, 11)).astype(np.float32)
    patient = Patient(volume, volume[::-1].copy(), 4.0, (-20.0, -24.0, -16.0), NO_LANDMARKS)
    carm = CArm(rotation, tilt, side_px=7, detector_side_mm=60)
    soft_cm, bone_cm = path_lengths_cm(patient, carm)
    rays = carm.rays()
    for row in range(7):
        for column in range(7):
            way = rays.corner_mm + column * rays.right_mm + row * rays.down_mm - rays.source_mm
            main = int(np.argmax(np.abs(way[:2])))
            planes_mm = patient.origin_mm[main] + 4.0 * np.arange(volume.shape[2 - main])
            at_mm = rays.source_mm + ((planes_mm - rays.source_mm[main]) / way[main])[:, None] * way
            at = (at_mm - patient.origin_mm) / 4.0
            within = (at[:, 1 - main] >= 0) & (at[:, 1 - main] <= volume.shape[1 + main] - 1)
            step_cm = 0.4 * np.linalg.norm(way) / abs(way[main])
            for got, material in ((soft_cm, patient.soft), (bone_cm, patient.bone)):
                samples = map_coordinates(material, at[within][:, ::-1].T, order=1, mode="nearest", output=np.float64)
                assert got[row, column] == pytest.approx(samples.sum() * step_cm, rel=1e-3, abs=1e-3)


def _shell_in_a_box(cortex_mm: float = 0.8) -> Patient:
    """A ball of radius 20 mm about the origin: a shell of solid bone around marrow of a fifth."""
    axis = np.arange(-60.0, 61.0)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    below_mm = 20 - np.sqrt(x**2 + y**2 + z**2)
    bone = np.clip(0.5 + below_mm, 0, 1).astype(np.float32)
    depth = np.clip(below_mm / DEPTH_STEP_MM, -128, 127).astype(np.int8)
    surface = Surface(depth, cortex_mm, 1.0, np.full((8, 8, 8), 0.2, np.float32), 0.5)
    return Patient(1 - bone, bone, 1.0, (-60.0, -60.0, -60.0), NO_LANDMARKS, surface=surface)


def _chord_mm(off_mm: np.ndarray, radius_mm: float) -> np.ndarray:
    return 2 * np.sqrt(np.clip(radius_mm**2 - off_mm**2, 0, None))


def test_a_shell_thinner_than_a_voxel_casts_its_own_shadow():
    carm = CArm(side_px=161, detector_side_mm=80)
    soft_cm, bone_cm = path_lengths_cm(_shell_in_a_box(), carm)
    # Rays of the middle row pass the ball's centre at this distance.
    angle = np.arctan((np.arange(161) - 80) * carm.pitch_mm / 1000)
    off_mm = 600 * np.sin(angle)
    chord, core = _chord_mm(off_mm, 20), _chord_mm(off_mm, 19.2)
    expected_cm = (chord - core + 0.2 * core) / 10
    away = np.abs(np.abs(off_mm) - 19.6) > 1
    np.testing.assert_allclose(bone_cm[80][away], expected_cm[away], atol=0.05)
    # The line at the rim is there, and no wider than the shell's own.
    line = bone_cm[80, 80:]
    assert line.max() == pytest.approx(expected_cm.max(), rel=0.15)
    assert soft_cm[80, 80] + bone_cm[80, 80] == pytest.approx(12.1, abs=0.15)


@pytest.mark.parametrize(
    ("near", "far"), [(-1, 2), (2, -1), (0.1, 0.1), (-0.1, 0.15), (3, 4), (-4, -3), (0.05, 0.0501)]
)
def test_what_a_step_covers_is_the_mean_of_a_clipped_ramp(near: float, far: float):
    depth = np.linspace(near, far, 20001)
    assert covered(near, far, 0.35) == pytest.approx(np.clip(0.5 + depth / 0.35, 0, 1).mean(), abs=2e-4)


def test_the_surface_kernel_agrees_with_a_plain_twin():
    rng = np.random.default_rng(4)
    coarse = rng.normal(0, 40, (6, 6, 6))
    depth = np.clip(np.kron(coarse, np.ones((4, 4, 4))), -128, 127).astype(np.int8)
    marrow = rng.uniform(0.1, 0.4, (8, 8, 8)).astype(np.float32)
    rays = CArm(10, 5, (12.0, 12.0, 12.0), side_px=12, detector_side_mm=30).rays()
    got = np.zeros((12, 12), np.float32)
    args = (rays.source_mm, rays.corner_mm, rays.right_mm, rays.down_mm)
    joseph_surface(depth, DEPTH_STEP_MM, 0.35, 1.0, 0.9, marrow, 2.0, *args, 0.1, got)
    expected = np.zeros_like(got)
    for row, column in np.ndindex(12, 12):
        way = rays.corner_mm + column * rays.right_mm + row * rays.down_mm - rays.source_mm
        ks = np.arange(24)
        points = rays.source_mm + ((ks - rays.source_mm[1]) / way[1])[:, None] * way
        points[:, 2] = np.clip(points[:, 2], 0, 24 - 1.001)
        inside = (points[:, 0] >= 0) & (points[:, 0] <= 24 - 1.001)
        mm = map_coordinates(depth.astype(float), points[inside][:, ::-1].T, order=1) * DEPTH_STEP_MM
        before = np.concatenate([[-2.35], np.maximum(mm[:-1], -2.35)])
        for b, m, point, k in zip(before, mm, points[inside], ks[inside], strict=True):
            shell, core = covered(b, m, 0.35), covered(b - 1.0, m - 1.0, 0.35)
            loose = marrow[int(point[2] * 2) & 7, int((k - 0.5) * 2) & 7, int(point[0] * 2) & 7]
            expected[row, column] += core * loose + (shell - core) * 0.9
        expected[row, column] *= 0.1 * np.linalg.norm(way / way[1])
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
