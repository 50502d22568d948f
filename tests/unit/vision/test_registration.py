"""The anatomy's motion against its reference, and the views that come back."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from guidance.records import FieldKind, FieldOutline
from guidance.vision.field import XrayField, find_field
from guidance.vision.geometry import RigidMotion
from guidance.vision.kernels.registration import (
    AGREE_NCC,
    ALIKE_PX,
    BLOCK_PX,
    CLEAR_PX,
    FINE_PX,
    LEAST_BLOCKS,
    LOUDEST,
    STUBBORN,
    SUMS,
    TERMS,
    align,
    block_sums,
    block_terms,
    common_step,
    correlation,
)
from guidance.vision.picture import Mask, Picture, make_picture
from guidance.vision.registration import BROAD_PX, Registrar, _SeenAround
from tests.unit.vision.xray_pictures import anatomy, disc, noisy, within

W, H = 560, 512
CENTRE = ((W - 1) / 2, (H - 1) / 2)
INSIDE = disc((W, H), (280, 256), 240)
TURN = np.linspace(0, 2 * np.pi, 90, endpoint=False)
FIELD = XrayField(
    FieldOutline(FieldKind.CIRCLE, np.column_stack([280 + 240 * np.cos(TURN), 256 + 240 * np.sin(TURN)]), True), (W, H)
)
WIDE = {seed: anatomy(800, seed) for seed in (0, 1, 2)}
REAL = Path(__file__).parents[3].parent / "shared" / "data" / "carm_hip_dev"


def seen_at(motion: RigidMotion, view: int = 0) -> NDArray[np.float32]:
    """The anatomy moved by ``motion``, without noise."""
    inset = np.array([[1.0, 0, -(800 - W) / 2], [0, 1.0, -(800 - H) / 2], [0, 0, 1.0]])
    matrix = np.vstack([motion.matrix, [0, 0, 1.0]]) @ inset
    image = cv2.warpAffine(WIDE[view], matrix[:2], (W, H), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(image, dtype=np.float32)


def pulse(motion: RigidMotion, number: int, view: int = 0, gain: float = 1.0, cover: float = 0.0) -> Picture:
    """A pulse of the anatomy moved by ``motion``; ``cover``: height share that something else, moving freely, hides."""
    image = seen_at(motion, view)
    if cover:
        rows = int(cover * H)
        image[:rows] = cv2.resize(WIDE[1], (W, H))[(number * 37) % 200 :][:rows]
    shown = within(noisy(np.asarray(image * gain, dtype=np.float32), number), INSIDE)
    return make_picture(shown, FIELD, 8)


def still() -> RigidMotion:
    return RigidMotion((0.0, 0.0), 0.0, CENTRE)


def moved(x: float, y: float, turn_deg: float = 0.0) -> RigidMotion:
    return RigidMotion((x, y), turn_deg, CENTRE)


def error_px(found: RigidMotion, truth: RigidMotion) -> float:
    points = np.array([[280.0, 256], [150, 256], [280, 130], [380, 350]])
    return float(np.hypot(*(found.move(points) - truth.move(points)).T).max())


def started(view: int = 0) -> Registrar:
    registrar = Registrar()
    registrar.update(pulse(still(), 0, view), None, 0, 0.0)
    return registrar


def test_the_first_picture_is_the_reference_and_has_not_moved() -> None:
    registrar = Registrar()
    first = pulse(still(), 0)
    placement = registrar.update(first, None, 7, 0.0)
    assert placement.view_id == 0
    assert not placement.view_changed
    assert placement.reference_frame == 7
    assert placement.registration.ok
    assert placement.motion == still()
    assert registrar.reference is first


def test_there_is_no_reference_before_the_first_picture() -> None:
    with pytest.raises(AttributeError, match="no picture"):
        _ = Registrar().reference


@pytest.mark.parametrize(
    "truth",
    [moved(3.3, -1.7), moved(0, 0, 1.5), moved(-14, 9, -2), moved(60, -45, 3), moved(-70, 70, -5)],
    ids=["a breath", "a turn", "a push", "the table", "25 mm and 5 degrees"],
)
def test_a_rigid_motion_is_measured_to_half_a_pixel(truth: RigidMotion) -> None:
    placement = started().update(pulse(truth, 1), None, 1, 0.1)
    assert placement.registration.ok
    assert error_px(placement.motion, truth) < 0.5
    assert placement.registration.shift_px == placement.motion.shift_px


def test_motion_is_followed_pulse_by_pulse() -> None:
    registrar = started()
    for number in range(1, 12):
        truth = moved(4.0 * number, 8 * np.sin(number), 0.4 * number)
        placement = registrar.update(pulse(truth, number), None, number, 0.1 * number)
        assert placement.registration.ok
        assert error_px(placement.motion, truth) < 0.5


@pytest.mark.parametrize("gain", [0.55, 1.08])
def test_a_step_in_brightness_is_not_a_motion(gain: float) -> None:
    placement = started().update(pulse(moved(6, 2), 1, gain=gain), None, 1, 0.1)
    assert placement.registration.ok
    assert error_px(placement.motion, moved(6, 2)) < 0.5


def test_a_third_of_the_picture_may_be_hidden_by_something_that_moves_by_itself() -> None:
    registrar = started()
    for number in range(1, 5):
        truth = moved(2.0 * number, -1.0 * number)
        placement = registrar.update(pulse(truth, number, cover=0.33), None, number, 0.1 * number)
        assert placement.registration.ok
        assert error_px(placement.motion, truth) < 0.6


def test_what_is_to_be_ignored_pulls_nothing() -> None:
    registrar = started()
    truth = moved(5, 5)
    picture = pulse(truth, 1)
    ignore: Mask = np.zeros_like(picture.mask)
    cv2.line(ignore, (100, 400), (330, 200), 255, 25)
    spoilt = picture.density.copy()
    spoilt[ignore > 0] += 2.0
    covered = Picture(
        picture.pixels, spoilt, picture.mask, picture.field, picture.origin_px, picture.factor, picture.full_scale
    )
    placement = registrar.update(covered, ignore, 1, 0.1)
    assert placement.registration.ok
    assert error_px(placement.motion, truth) < 0.5


def test_a_picture_without_structure_is_not_ok() -> None:
    flat = np.full((H, W), 120, np.float32)
    placement = started().update(make_picture(within(noisy(flat, 1), INSIDE), FIELD, 8), None, 1, 0.1)
    assert not placement.registration.ok


def test_another_view_is_not_ok_at_once_then_new_and_recognised_when_it_returns() -> None:
    registrar = started()
    for number in range(1, 4):
        registrar.update(pulse(still(), number), None, number, 0.1 * number)
    placements = [registrar.update(pulse(still(), n, view=1), None, n, 0.1 * n) for n in range(10, 16)]
    assert not placements[0].registration.ok
    opened = next(p for p in placements if p.view_changed)
    assert opened.view_id == 1
    assert opened.registration.ok
    assert placements[-1].view_id == 1
    assert placements[-1].registration.ok
    truth = moved(12, -8, 1.0)
    placements = [registrar.update(pulse(truth, n), None, n, 0.1 * n) for n in range(20, 26)]
    assert not placements[0].registration.ok
    assert placements[-1].view_id == 0
    assert placements[-1].reference_frame == 0
    assert error_px(placements[-1].motion, truth) < 0.5
    assert sum(p.view_changed for p in placements) == 1


def test_a_view_is_known_again_though_much_of_the_last_one_still_shows() -> None:
    registrar = started()
    for number in range(1, 9):
        registrar.update(pulse(still(), number), None, number, 0.1 * number)
    for number in range(10, 20):
        registrar.update(pulse(still(), number, view=1), None, number, 0.1 * number)
    rows = int(0.33 * H)
    for number in range(20, 26):
        image = seen_at(still())
        image[:rows] = seen_at(still(), view=1)[:rows]
        picture = make_picture(within(noisy(image, number, 2.0), INSIDE), FIELD, 8)
        placement = registrar.update(picture, None, number, 0.1 * number)
    assert placement.view_id == 0
    assert placement.registration.ok
    assert error_px(placement.motion, still()) < 0.5


def test_what_stood_still_for_a_moment_in_mid_swing_is_no_view_to_be_known_again() -> None:
    registrar = started()
    shown = [0] * 8 + [2] * 5 + [1] * 8 + [2] * 8
    ids = [registrar.update(pulse(still(), n, view), None, n, 0.1 * n).view_id for n, view in enumerate(shown, 1)]
    passing, after, again = ids[12], ids[20], ids[-1]
    assert len({0, passing, after, again}) == 4


def test_any_pulse_of_the_view_can_be_looked_up_in_it() -> None:
    registrar = started()
    registrar.update(pulse(moved(20, 5), 1), None, 1, 0.1)
    found = registrar.locate(pulse(moved(-6, 4, 1.0), 2), None)
    assert found is not None
    assert error_px(found, moved(-6, 4, 1.0)) < 0.5
    assert registrar.locate(pulse(still(), 3, view=1), None) is None


def test_noise_of_a_sixth_of_the_signal_does_not_lose_the_anatomy() -> None:
    registrar = Registrar()
    for number in range(24):
        truth = moved(0.0, 6 * np.sin(0.4 * number))
        image = within(noisy(seen_at(truth), number, 20.0), INSIDE)
        placement = registrar.update(make_picture(image, FIELD, 8), None, number, 0.1 * number)
        assert placement.registration.ok
        assert error_px(placement.motion, truth) < 1.0


def test_anatomy_is_not_lost_where_noise_comes_to_leave_half_of_the_blocks_without_agreement() -> None:
    registrar = Registrar()
    for number in range(54):
        truth = moved(0.0, 6 * np.sin(0.4 * number))
        image = within(noisy(seen_at(truth), number, min(44.0, 15.0 + 0.8 * number)), INSIDE)
        placement = registrar.update(make_picture(image, FIELD, 8), None, number, 0.1 * number)
        assert placement.registration.ok
        assert error_px(placement.motion, truth) < 1.5


@pytest.mark.parametrize(
    ("view", "noise", "truth"),
    [(0, 25.0, moved(-3.6, 8.9, -1.5)), (1, 15.0, moved(-14.3, 3.4, -2.0)), (2, 25.0, moved(4.8, 15.1, -2.5))],
)
def test_anatomy_that_jumps_and_turns_at_low_dose_is_found_within_two_pulses(
    view: int, noise: float, truth: RigidMotion
) -> None:
    registrar = Registrar()
    for number, motion in enumerate([still(), truth, truth]):
        image = within(noisy(seen_at(motion, view), number, noise), INSIDE)
        placement = registrar.update(make_picture(image, FIELD, 8), None, number, 0.1 * number)
    assert placement.registration.ok
    assert error_px(placement.motion, truth) < 1.0


def test_shutters_that_close_change_neither_the_scale_nor_the_motion() -> None:
    registrar = started()
    registrar.update(pulse(still(), 1), None, 1, 0.1)
    inside = disc((W, H), CENTRE, 150)
    outline = np.column_stack([CENTRE[0] + 150 * np.cos(TURN), CENTRE[1] + 150 * np.sin(TURN)])
    closed = XrayField(FieldOutline(FieldKind.CIRCLE, outline, True), (W, H))
    for number, truth in enumerate((moved(2, 3), moved(5, 1), moved(60, -40)), start=2):
        image = within(noisy(seen_at(truth), number), inside)
        placement = registrar.update(make_picture(image, closed, 8), None, number, 0.1 * number)
        assert placement.registration.ok
        assert error_px(placement.motion, truth) < 0.6


def test_what_stands_still_before_the_anatomy_does_not_hold_it_back() -> None:
    registrar = Registrar()
    for number in range(10):
        truth = moved(0.5 * number, 0.9 * number)
        image = seen_at(truth)
        for corner in ((90, 60), (470, 60), (90, 450), (470, 450)):
            cv2.rectangle(image, corner, (corner[0] + 60, corner[1] + 40), 30.0, -1)
        picture = make_picture(within(noisy(image, number), INSIDE), FIELD, 8)
        placement = registrar.update(picture, None, number, 0.1 * number)
        assert placement.registration.ok
        assert error_px(placement.motion, truth) < 0.5


def test_half_of_the_picture_that_becomes_another_at_once_is_not_ok() -> None:
    registrar = started()
    for number in range(1, 5):
        assert registrar.update(pulse(still(), number), None, number, 0.1 * number).registration.ok
    assert not registrar.update(pulse(still(), 5, cover=0.5), None, 5, 0.5).registration.ok


def test_a_jump_of_the_table_leaves_a_trail_that_fades_in_two_pulses() -> None:
    registrar = started()
    heights = [0.5 * n for n in range(6)] + [14.0, 14.0, 14.0]
    sharp = [
        registrar.update(pulse(moved(0, down), n), None, n, 0.1 * n).is_sharp for n, down in enumerate(heights, start=1)
    ]
    assert sharp == [True] * 6 + [False, False, True]


def test_deep_breath_at_few_pulses_a_second_is_no_jump() -> None:
    registrar = started()
    sharp = [
        registrar.update(pulse(moved(0, 12 * np.sin(1.4 * n)), n), None, n, 0.5 * n).is_sharp for n in range(1, 16)
    ]
    assert all(sharp[4:])


def in_depth(parallax_px: float, number: int, down_px: float = 0.0, gone: float = 0.0) -> Picture:
    """A pulse of two bones at different depths that a turn of the C-arm moves against each other.

    ``gone``: height share that shows something else.
    """
    both = [
        cv2.warpAffine(WIDE[view], np.float64([[1, 0, x - (800 - W) / 2], [0, 1, down_px - (800 - H) / 2]]), (W, H))
        for view, x in ((0, parallax_px / 2), (1, -parallax_px / 2))
    ]
    image = np.asarray(np.sqrt(both[0] * both[1]), dtype=np.float32)
    rows = int(gone * H)
    image[:rows] = seen_at(still(), view=2)[:rows]
    return make_picture(within(noisy(image, number), INSIDE), FIELD, 8)


def test_a_turn_of_the_c_arm_is_not_ok_long_before_the_picture_is_another() -> None:
    registrar = Registrar()
    for number in range(3):
        assert registrar.update(in_depth(0.0, number), None, number, 0.1 * number).registration.ok
    oks = [registrar.update(in_depth(p, 3), None, 3, 0.3).registration.ok for p in (1.0, 3.0, 5.0, 7.0, 9.0)]
    assert oks[2:] == [False, False, False]


def test_parts_that_stray_a_little_and_parts_that_are_gone_tell_of_a_turn_together() -> None:
    def last_ok(parallax_px: float, gone: float) -> bool:
        registrar = Registrar()
        for number in range(5):
            registrar.update(in_depth(0.0, number), None, number, 0.1 * number)
        return registrar.update(in_depth(parallax_px, 5, gone=gone), None, 5, 0.5).registration.ok

    assert last_ok(1.5, 0.0)
    assert last_ok(0.0, 0.25)
    assert not last_ok(1.5, 0.25)


def test_a_view_beside_its_reference_is_ok_again_once_the_c_arm_rests() -> None:
    registrar = Registrar()
    registrar.update(in_depth(0.0, 0), None, 0, 0.0)
    oks = [registrar.update(in_depth(4.0, n), None, n, 0.1 * n).registration.ok for n in range(1, 9)]
    assert not oks[0]
    assert oks[-1]


def test_anatomy_is_followed_while_the_c_arm_is_rolled_aside() -> None:
    registrar = Registrar()
    for number in range(9):
        registrar.update(in_depth(0.0, number), None, number, 0.1 * number)
    paths = [(2.0, 4.0), (4.0, 8.0), (5.0, 13.0), (6.0, 18.0), *[(6.0, 20.0)] * 6]
    placements = [
        registrar.update(in_depth(parallax, n, down), None, n, 0.1 * n) for n, (parallax, down) in enumerate(paths, 9)
    ]
    assert not placements[2].registration.ok
    assert all(abs(p.motion.shift_px[1] - down) < 1.5 for p, (_, down) in zip(placements, paths, strict=True))
    assert placements[-1].registration.ok
    assert [p.rests for p in placements] == sorted(p.rests for p in placements)
    assert (placements[0].rests, placements[-1].rests) == (0, 1)


def test_after_a_long_jump_of_the_table_the_picture_is_sharp_once_it_rests_elsewhere() -> None:
    registrar = started()
    placements = [
        registrar.update(pulse(moved(0, down), n), None, n, 0.1 * n)
        for n, down in enumerate([0.0] * 3 + [12.0] + [24.0] * 5, start=1)
    ]
    assert [p.is_sharp for p in placements] == [True] * 3 + [False] * 5 + [True]
    assert [p.rests for p in placements] == [0] * 8 + [1]


def test_no_view_is_opened_in_mid_swing() -> None:
    registrar = started()
    for number in range(1, 4):
        registrar.update(pulse(still(), number), None, number, 0.1 * number)
    for number in range(10, 20):
        swinging = moved(45.0 * (number % 3), 30.0 * number - 450, 9.0 * (number % 4) - 13)
        placement = registrar.update(pulse(swinging, number, view=1), None, number, 0.1 * number)
        assert placement.view_id == 0
        assert not placement.view_changed
        assert not placement.registration.ok


@pytest.mark.skipif(not REAL.is_dir(), reason="the real C-arm pictures are not beside this checkout")
@pytest.mark.parametrize("name", ["044_11909745_AP_no_wire.png", "062_I1000001_Lat_no_wire.png"])
def test_a_real_picture_is_followed_over_25_mm_and_5_degrees_to_half_a_millimetre(name: str) -> None:
    shown = cv2.imread(str(REAL / name), cv2.IMREAD_UNCHANGED)
    shown = shown if shown.ndim == 2 else shown[:, :, 0]
    taken = find_field(np.ascontiguousarray(shown), 8 * shown.dtype.itemsize)
    # What lies beyond a narrower field comes into it when the anatomy moves; the picture's own noise must not help.
    x0, y0, x1, y1 = taken.box_px
    centre, radius = ((x0 + x1) / 2, (y0 + y1) / 2), 0.34 * min(x1 - x0, y1 - y0)
    mm_per_px = 160.0 / max(x1 - x0, y1 - y0)
    anatomy_seen = cv2.GaussianBlur(shown.astype(np.float32) * (255.0 / np.iinfo(shown.dtype).max), (0, 0), 1.5)
    h, w = shown.shape
    circle = np.column_stack([centre[0] + radius * np.cos(TURN), centre[1] + radius * np.sin(TURN)])
    field = XrayField(FieldOutline(FieldKind.CIRCLE, circle, True), (w, h))
    registrar = Registrar()
    errors_mm = []
    for number in range(24):
        share = np.sin(0.5 * np.pi * number / 6)
        truth = RigidMotion((15 / mm_per_px * share, -20 / mm_per_px * share), 5 * share, ((w - 1) / 2, (h - 1) / 2))
        image = cv2.warpAffine(anatomy_seen, truth.matrix, (w, h), flags=cv2.INTER_CUBIC)
        picture = make_picture(within(noisy(image, number), disc((w, h), centre, radius)), field, 8)
        placement = registrar.update(picture, None, number, number / 7.5)
        assert placement.registration.ok
        points = np.array([centre, *circle[::15]])
        errors_mm.append(mm_per_px * np.hypot(*(placement.motion.move(points) - truth.move(points)).T).mean())
    assert np.median(errors_mm) < 0.5
    assert np.percentile(errors_mm, 95) < 1.0


def plain_sums(
    reference: NDArray[np.float32],
    reference_mask: Mask,
    present: NDArray[np.float32],
    present_mask: Mask,
    matrix: NDArray[np.float64],
    corner: tuple[int, int],
) -> NDArray[np.float64]:
    """``block_sums`` for one block, restated."""
    rows, columns = np.mgrid[corner[1] : corner[1] + BLOCK_PX, corner[0] : corner[0] + BLOCK_PX]
    x, y = columns.ravel(), rows.ravel()
    px, py = matrix[:, :2] @ np.array([x, y], dtype=np.float64) + matrix[:, 2:]
    h, w = present.shape
    use = (reference_mask[y, x] > 0) & (px >= 0) & (py >= 0) & (px < w - 1) & (py < h - 1)
    x, y, px, py = x[use], y[use], px[use], py[use]
    ix, iy = px.astype(int), py.astype(int)
    use = (present_mask[iy, ix] > 0) & (present_mask[iy + 1, ix + 1] > 0)
    x, y, px, py, ix, iy = x[use], y[use], px[use], py[use], ix[use], iy[use]
    fx, fy = px - ix, py - iy
    image = present.astype(np.float64)
    c = (image[iy, ix] * (1 - fx) + image[iy, ix + 1] * fx) * (1 - fy)
    c += (image[iy + 1, ix] * (1 - fx) + image[iy + 1, ix + 1] * fx) * fy
    wide = reference.astype(np.float64)
    t = wide[y, x]
    jx, jy = (wide[y, x + 1] - wide[y, x - 1]) / 2, (wide[y + 1, x] - wide[y - 1, x]) / 2
    middle_x, middle_y = (reference.shape[1] - 1) / 2, (reference.shape[0] - 1) / 2
    ja = (jy * (x - middle_x) - jx * (y - middle_y)) * 4 / reference.shape[1]
    j = np.array([jx, jy, ja])
    products = [jx @ jx, jx @ jy, jx @ ja, jy @ jy, jy @ ja, ja @ ja]
    return np.array([len(c), c.sum(), t.sum(), c @ c, t @ t, c @ t, *j.sum(axis=1), *(j @ c), *(j @ t), *products])


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    height=st.integers(BLOCK_PX + 2, 60),
    width=st.integers(BLOCK_PX + 2, 60),
    shift=st.floats(-20, 20),
    turn_deg=st.floats(-20, 20),
)
def test_the_kernel_sums_what_the_plain_definition_sums(
    seed: int, height: int, width: int, shift: float, turn_deg: float
) -> None:
    rng = np.random.default_rng(seed)
    reference = rng.standard_normal((height, width), dtype=np.float32)
    present = rng.standard_normal((width, height), dtype=np.float32)
    reference_mask = (rng.random(reference.shape) > 0.2).astype(np.uint8) * 255
    present_mask = (rng.random(present.shape) > 0.2).astype(np.uint8) * 255
    # Off whole pixels, where rounding would decide which of them counts.
    matrix = RigidMotion((shift + 0.0137, -shift / 2 + 0.0071), turn_deg, (width / 2, height / 2)).matrix
    corner = (int(rng.integers(1, width - BLOCK_PX)), int(rng.integers(1, height - BLOCK_PX)))
    sums = sums_of(reference, reference_mask, present, present_mask, matrix, [corner])
    expected = plain_sums(reference, reference_mask, present, present_mask, matrix, corner)
    np.testing.assert_allclose(sums[0], expected, rtol=1e-5, atol=1e-4)


def sums_of(
    reference: NDArray[np.float32],
    reference_mask: Mask,
    present: NDArray[np.float32],
    present_mask: Mask,
    matrix: NDArray[np.float64],
    corners: list[tuple[int, int]],
) -> NDArray[np.float64]:
    blocks = np.array(corners, dtype=np.int32)
    terms, own = np.empty((len(blocks), TERMS, BLOCK_PX**2)), np.empty((len(blocks), SUMS))
    sums = np.empty((len(blocks), SUMS))
    block_terms(reference, reference_mask, blocks, terms, own)
    clear = _clear(present_mask)
    block_sums(terms, own, present, present_mask, clear, np.ascontiguousarray(matrix), blocks, sums)
    return sums


def _clear(mask: Mask) -> Mask:
    clear = np.zeros_like(mask)
    for y in range(mask.shape[0] - CLEAR_PX + 1):
        for x in range(mask.shape[1] - CLEAR_PX + 1):
            clear[y, x] = 255 * bool(mask[y : y + CLEAR_PX, x : x + CLEAR_PX].all())
    return clear


@pytest.mark.parametrize("turn_deg", [0.0, 5.0, -12.0, 40.0])
def test_a_block_that_is_wholly_seen_has_the_sums_of_any_other(turn_deg: float) -> None:
    rng = np.random.default_rng(4)
    reference, present = rng.standard_normal((2, 90, 80), dtype=np.float32)
    mask = np.full(reference.shape, 255, dtype=np.uint8)
    matrix = RigidMotion((3.0137, -2.0071), turn_deg, (40.0, 45.0)).matrix
    corners = [(30, 36), (1, 1), (62, 70)]
    sums = sums_of(reference, mask, present, mask, matrix, corners)
    for found, corner in zip(sums, corners, strict=True):
        expected = plain_sums(reference, mask, present, mask, matrix, corner)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_a_picture_of_one_row_shows_no_block() -> None:
    reference = np.random.default_rng(5).standard_normal((40, 40), dtype=np.float32)
    mask = np.full(reference.shape, 255, dtype=np.uint8)
    sums = sums_of(reference, mask, reference[:1], mask[:1], np.eye(3)[:2], [(1, 1)])
    assert sums[0, 0] == 0


def plain_step(
    sums: NDArray[np.float64],
) -> tuple[NDArray[np.float64], float, float, NDArray[np.float64], NDArray[np.float64]]:
    """``common_step``, restated with matrices: step, error, reachable correlation, correlations and strays."""
    n, c, t, cc, tt, ct = sums[:, :6].T
    var_c, var_t, cov = np.maximum(cc - c * c / n, 1e-12), np.maximum(tt - t * t / n, 1e-12), ct - c * t / n
    ncc = cov / np.sqrt(var_c * var_t)
    alike = ncc > AGREE_NCC
    gains = (cov / var_t)[alike] if alike.sum() >= LEAST_BLOCKS else np.sqrt(var_c / var_t)
    gain = float(np.clip(np.median(gains), 0.2, 5.0))
    reachable = min(1.0, gain * float(np.median(np.sqrt(var_t / var_c))))
    j, cj, tj = sums[:, 6:9], sums[:, 9:12], sums[:, 12:15]
    right = (cj - c[:, None] * j / n[:, None]) / gain - (tj - t[:, None] * j / n[:, None])
    normal = sums[:, [15, 16, 17, 16, 18, 19, 17, 19, 20]].reshape(-1, 3, 3)
    normal = normal - j[:, :, None] * j[:, None, :] / n[:, None, None]
    residual = np.maximum(var_c / gain**2 + var_t - 2 * cov / gain, 0.0)

    def common(weight: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        total = np.einsum("b,bij->ij", weight, normal)
        total[np.diag_indices(3)] += 1e-9 + 1e-6 * np.trace(total)
        return np.linalg.inv(total), np.linalg.inv(total) @ (weight @ right)

    size = np.trace(normal[:, :2, :2], axis1=1, axis2=2)
    own = np.linalg.solve(normal[:, :2, :2] + 1e-6 * size[:, None, None] * np.eye(2), right[:, :2, None])[:, :, 0]
    gained = (own * right[:, :2]).sum(axis=1)
    own_noise = np.maximum(residual - gained, 0.0) / n * ALIKE_PX
    noise = residual / n
    weight = np.clip(ncc, 0.03, 1.0) ** 2 / (1.0 + (noise / (3.0 * np.median(noise) + 1e-12)) ** 2)
    weight = weight * np.minimum(1.0, LOUDEST * np.median(size) / (size + 1e-12))
    _, step = common(weight)
    shared = right @ step - 0.5 * np.einsum("i,bij,j->b", step, normal, step)
    worse = np.maximum(gained - 2.0 * shared, 0.0) / (own_noise + 1e-12)
    weight = weight / (1.0 + (worse / (STUBBORN * (2.0 + np.median(worse)))) ** 2)
    inverse, step = common(weight)
    mean_noise = (weight * noise).sum() / weight.sum()
    error = float(np.sqrt(np.abs(np.diag(inverse)).max() * mean_noise * ALIKE_PX * weight.max()))
    return step, error, reachable, ncc, (gained - 2 * np.log(2) * own_noise) / (0.5 * size + 1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), noise=st.floats(0.01, 3.0), shift=st.floats(-1.5, 1.5))
def test_the_common_step_is_that_of_the_plain_definition(seed: int, noise: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    smooth = cv2.GaussianBlur(rng.standard_normal((80, 100), dtype=np.float32), (0, 0), 2.0)
    present = smooth + noise * cv2.GaussianBlur(rng.standard_normal((80, 100), dtype=np.float32), (0, 0), 2.0)
    mask = (rng.random(smooth.shape) > 0.02).astype(np.uint8) * 255
    matrix = RigidMotion((shift + 0.0137, -shift / 2), 0.5, (50.0, 40.0)).matrix
    corners = [(x, y) for x in range(3, 80, 16) for y in range(3, 60, 16)]
    sums = sums_of(smooth, mask, present, mask, matrix, corners)
    expected = plain_step(sums)
    step, ncc, stray = np.empty(3), np.empty(len(sums)), np.empty(len(sums))
    error, reachable = common_step(sums, step, ncc, stray)
    np.testing.assert_allclose(step, expected[0], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose((error, reachable), expected[1:3], rtol=1e-6)
    np.testing.assert_allclose(ncc, expected[3], rtol=1e-6)
    np.testing.assert_allclose(stray, expected[4], rtol=1e-6, atol=1e-9)


def test_alignment_ends_where_the_picture_was_moved_to_and_says_how_well_it_is_known() -> None:
    rng = np.random.default_rng(7)
    picture = cv2.GaussianBlur(rng.standard_normal((90, 110), dtype=np.float32), (0, 0), 2.0)
    moved = RigidMotion((1.7, -2.3), 1.5, (54.5, 44.5)).matrix
    present = cv2.warpAffine(picture, moved, (110, 90), flags=cv2.INTER_CUBIC)
    mask = np.full(picture.shape, 255, dtype=np.uint8)
    blocks = np.array([(x, y) for x in range(9, 90, 16) for y in range(9, 70, 16)], dtype=np.int32)
    terms, own = np.empty((len(blocks), TERMS, BLOCK_PX**2)), np.empty((len(blocks), SUMS))
    block_terms(picture, mask, blocks, terms, own)
    matrix, ncc, stray = np.eye(3)[:2].copy(), np.empty(len(blocks)), np.empty(len(blocks))
    seen, error_px, reachable_ncc = align(terms, own, present, mask, _clear(mask), blocks, 110, 90, matrix, ncc, stray)
    corners = np.array([[10.0, 10, 1], [100, 10, 1], [100, 80, 1], [10, 80, 1]])
    assert np.abs(corners @ matrix.T - corners @ moved.T).max() < 0.1
    assert seen == len(blocks)
    assert error_px < 0.1
    assert reachable_ncc > 0.9
    assert (ncc > 0.9).all()


def test_alignment_that_sees_too_few_blocks_knows_nothing() -> None:
    picture = np.random.default_rng(8).standard_normal((60, 60), dtype=np.float32)
    mask = np.full(picture.shape, 255, dtype=np.uint8)
    blocks = np.array([(x, y) for x in (1, 17, 33) for y in (1, 17, 33)], dtype=np.int32)
    terms, own = np.empty((len(blocks), TERMS, BLOCK_PX**2)), np.empty((len(blocks), SUMS))
    block_terms(picture, mask, blocks, terms, own)
    matrix = np.array([[1.0, 0.0, 40.0], [0.0, 1.0, 0.0]])
    seen, error_px, _ = align(terms, own, picture, mask, _clear(mask), blocks, 60, 60, matrix, np.empty(9), np.empty(9))
    assert seen < LEAST_BLOCKS
    assert error_px == np.inf


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), height=st.integers(1, 20), width=st.integers(3, 30), density=st.floats(0.2, 1.0))
def test_the_correlation_is_pearsons_over_every_other_pixel_that_both_masks_allow(
    seed: int, height: int, width: int, density: float
) -> None:
    rng = np.random.default_rng(seed)
    now, before = rng.standard_normal((2, height, width), dtype=np.float32)
    now_mask, before_mask = ((rng.random((2, height, width)) < density) * 255).astype(np.uint8)
    both = (now_mask[::2, ::2] > 0) & (before_mask[::2, ::2] > 0)
    seen, alike = correlation(now, now_mask, before, before_mask)
    assert seen == both.sum()
    if seen > 2:
        assert alike == pytest.approx(np.corrcoef(now[::2, ::2][both], before[::2, ::2][both])[0, 1], abs=1e-4)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), height=st.integers(2, 90), width=st.integers(2, 130))
def test_what_of_a_mean_is_seen_is_told_from_changes_as_from_whole_masks(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    seen_around, use = _SeenAround(), np.full((height, width), 255, np.uint8)
    for pulse in range(6):
        use = use.copy()
        x, y = (np.sort(rng.integers(0, side + 1, 2)) for side in (width, height))
        use[y[0] : y[1], x[0] : x[1]] = rng.choice([0, 255]) if pulse % 3 else 255
        share = (use > 0).astype(np.float32)
        for told, sigma_px in zip(seen_around.of(use, share), (FINE_PX, BROAD_PX), strict=True):
            side = 2 * round(3 * sigma_px) + 1
            expected = np.maximum(cv2.GaussianBlur(share, (side, side), sigma_px), np.float32(1e-3))
            assert np.allclose(told, expected, rtol=0.0, atol=1e-6)
