import numpy as np
import pytest

from guidance.phantom.carm import CArm
from guidance.phantom.instruments import BoneNeedle, Cable, Clamp, Screw, Solid, bar, shadow_cm

VIEW = CArm(side_px=256, detector_side_mm=160)


def _whole(shadow: tuple[tuple[int, int, int, int], np.ndarray], side_px: int = 256) -> np.ndarray:
    picture = np.zeros((side_px, side_px), np.float32)
    (x0, y0, x1, y1), patch = shadow
    picture[y0:y1, x0:x1] = patch
    return picture


def _sampled_cm(solid: Solid, carm: CArm, row: int, column: int) -> float:
    """The plain twin: walk along the ray in small steps and ask at each whether it is inside."""
    rays = carm.rays()
    way = rays.corner_mm + column * rays.right_mm + row * rays.down_mm - rays.source_mm
    way /= np.linalg.norm(way)
    points = rays.source_mm + np.arange(400, 800, 0.01)[:, None] * way
    axis = (solid.end_mm - solid.start_mm) / np.linalg.norm(solid.end_mm - solid.start_mm)
    rel = points - solid.start_mm
    inside = np.linalg.norm(rel - np.outer(rel @ axis, axis), axis=1) < solid.radius_mm
    inside &= (points @ solid.planes[:, :3].T <= solid.planes[:, 3]).all(axis=1)
    return inside.sum() * 0.001 * solid.steel


def test_the_ray_through_the_middle_of_a_needle_crosses_its_diameter():
    needle = BoneNeedle(np.array([0.0, 0.0, 0.0]), np.array([1.0, 0.0, 0.0]), 11, hub=False)
    picture = _whole(needle.steel_cm(VIEW))
    # The patient's left is on the left: the shaft runs from the centre to the right.
    assert picture[120:136, 180].max() == pytest.approx(0.305, abs=0.003)
    assert picture[:, 100].max() == 0


@pytest.mark.parametrize(("gauge", "diameter_mm"), [(11, 3.05), (13, 2.4)])
def test_a_needle_is_as_wide_on_the_picture_as_its_gauge(gauge: int, diameter_mm: float):
    needle = BoneNeedle(np.array([0.0, 0.0, 0.0]), np.array([1.0, 0.0, 0.0]), gauge, hub=False)
    across = _whole(needle.steel_cm(VIEW))[:, 190] > 0
    assert across.sum() * VIEW.mm_per_px == pytest.approx(diameter_mm, abs=2 * VIEW.mm_per_px)


def test_steel_begins_at_the_apex_and_nowhere_beyond_it():
    needle = BoneNeedle(np.array([3.0, -2.0, 4.0]), np.array([0.8, -0.3, -0.5]), 11)
    x, y = needle.tip_px(VIEW)
    rows, columns = np.nonzero(_whole(needle.steel_cm(VIEW)) > 0)
    nearest = np.hypot(columns - x, rows - y).min()
    assert nearest < 1.5
    back = np.array(needle.back_px(VIEW)) - [x, y]
    along = np.stack([columns - x, rows - y], axis=1) @ back / np.linalg.norm(back)
    assert along.min() > -1


@pytest.mark.parametrize("view", [VIEW, CArm(90, 0, side_px=256, detector_side_mm=160)])
def test_every_ray_agrees_with_walking_along_it(view: CArm):
    needle = BoneNeedle(np.array([2.0, 1.0, -3.0]), np.array([0.5, -0.7, -0.4]), 11, hub=False)
    picture = _whole(needle.steel_cm(view))
    x, y = needle.tip_px(view)
    rng = np.random.default_rng(3)
    for row, column in np.add(rng.integers(-14, 15, (60, 2)), [round(y), round(x)]):
        expected = _sampled_cm(needle.solids[0], view, row, column)
        assert picture[row, column] == pytest.approx(expected, abs=0.004)


def test_a_bar_seen_end_on_shows_its_whole_length():
    picture = _whole(shadow_cm([bar(np.array([0.0, -20.0, 0.0]), np.array([0.0, 20.0, 0.0]), 3.0)], VIEW))
    assert picture[127, 127] == pytest.approx(4.0, abs=0.01)


def test_an_advanced_needle_has_moved_along_itself():
    needle = BoneNeedle(np.zeros(3), np.array([0.0, -2.0, 0.0]))
    np.testing.assert_allclose(needle.advanced(5).tip_mm, [0, -5, 0])


def test_a_needle_out_of_view_casts_no_shadow():
    _, patch = BoneNeedle(np.array([0.0, 0.0, 900.0]), np.array([1.0, 0.0, 0.0])).steel_cm(VIEW)
    assert patch.size == 0


def test_the_distractors_are_steel_in_view():
    wave = np.linspace(-30, 30, 20)
    cable = Cable(np.column_stack([wave, np.full(20, 60.0), 8 * np.sin(wave / 6)]))
    clamp = Clamp(np.zeros(3), np.array([1.0, 0, -0.4]), np.array([0, 0, 1.0]))
    screw = Screw(np.array([10.0, 0, 0]), np.array([1.0, 0, 0.2]), length_mm=40)
    for thing, least_cm in ((cable, 0.05), (clamp, 0.3), (screw, 0.4)):
        assert _whole(thing.steel_cm(VIEW)).max() > least_cm


def test_the_screws_thread_sticks_out_of_its_core():
    screw = Screw(np.array([-15.0, 0, 0]), np.array([-1.0, 0, 0]), length_mm=40)
    widths = (_whole(screw.steel_cm(VIEW)) > 0).sum(axis=0)
    threaded = widths[(widths > 0)][-60:-10]
    assert threaded.max() - threaded.min() > 3
