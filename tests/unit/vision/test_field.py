"""The x-ray field, its polarity and the text in it."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from guidance.phantom.monitor import FieldShape, Layout, Monitor, field_mask, field_outline, jpeg
from guidance.phantom.procedure import MONITOR_PICTURE_PX
from guidance.records import FieldKind
from guidance.vision.field import XrayField, described, find_field, find_fields, places_in, polygon_mask
from guidance.vision.field_watch import FieldWatch
from guidance.vision.kernels.field import outermost_falls
from guidance.vision.outline import fit_outline, rectangle
from tests.unit.vision.xray_pictures import Grey, anatomy, convex, disc, monitor, noisy, within

SIDE = 400
REAL = Path(__file__).parents[3].parent / "shared" / "data" / "carm_hip_dev"


def overlap(field: XrayField, inside: NDArray[np.bool_]) -> float:
    found = field.mask > 0
    return float((found & inside).sum() / (found | inside).sum())


def octagon(centre: float, reach: float) -> list[tuple[float, float]]:
    turn = np.radians(np.arange(8) * 45 + 22.5)
    return [(centre + reach * np.cos(a), centre + reach * np.sin(a)) for a in turn]


def turned_rectangle(angle_deg: float) -> list[tuple[float, float]]:
    a = np.radians(angle_deg)
    corners = np.array([[-150, -110], [150, -110], [150, 110], [-150, 110]])
    turn = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
    return [(200 + x, 200 + y) for x, y in corners @ turn]


SHAPES = {
    "a circle": (disc((SIDE, SIDE), (205, 195), 170), FieldKind.CIRCLE),
    "a circle that the frame clips": (disc((SIDE, SIDE), (230, 200), 190), FieldKind.CIRCLE),
    "an octagon": (convex((SIDE, SIDE), octagon(200, 180)), FieldKind.OCTAGON),
    "shutters": (convex((SIDE, SIDE), turned_rectangle(0)), FieldKind.RECTANGLE),
    "turned shutters": (convex((SIDE, SIDE), turned_rectangle(17)), FieldKind.RECTANGLE),
    "a circle behind one shutter": (
        disc((SIDE, SIDE), (200, 200), 180) & convex((SIDE, SIDE), [(0, 90), (399, 60), (399, 399), (0, 399)]),
        FieldKind.POLYGON,
    ),
    "the full frame": (np.ones((SIDE, SIDE), dtype=bool), FieldKind.FULL),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("inverted", [False, True], ids=["as taken", "inverted"])
def test_every_shape_of_field_is_found_in_either_polarity(name: str, inverted: bool) -> None:
    inside, kind = SHAPES[name]
    picture = noisy(anatomy(SIDE), 1)
    field = find_field(within(255 - picture if inverted else picture, inside), 8)
    assert field.outline.kind is kind
    assert overlap(field, inside) > 0.975


def test_a_saturated_background_that_touches_the_edge_belongs_to_the_field() -> None:
    picture = noisy(anatomy(SIDE), 1)
    picture[:, 260:] = 255
    inside = disc((SIDE, SIDE), (200, 200), 180)
    assert overlap(find_field(within(picture, inside), 8), inside) > 0.975


def test_a_shadow_as_dark_as_the_surround_does_not_bend_the_circle() -> None:
    picture = noisy(anatomy(SIDE), 1)
    picture[230:, :130] = 0
    inside = disc((SIDE, SIDE), (200, 200), 180)
    assert overlap(find_field(within(picture, inside), 8), inside) > 0.975


def test_a_soft_edge_lies_at_half_its_height() -> None:
    soft = cv2.GaussianBlur(disc((SIDE, SIDE), (200, 200), 160).astype(np.float32), (0, 0), 6)
    picture = noisy(np.full((SIDE, SIDE), 150, np.float32) * soft, 1)
    radius = np.hypot(*(find_field(picture, 8).outline.polygon_px - 200).T)
    assert np.abs(radius - 160).max() < 3


@pytest.mark.parametrize("inverted", [False, True], ids=["as taken", "inverted"])
def test_shutters_before_a_soft_circle_cut_it_though_their_shadow_is_noisy(inverted: bool) -> None:
    circle = cv2.GaussianBlur(disc((SIDE, SIDE), (200, 200), 185).astype(np.float32), (0, 0), 4)
    shutters = convex((SIDE, SIDE), [(60, 70), (340, 85), (330, 399), (40, 399)])
    inside = disc((SIDE, SIDE), (200, 200), 185) & shutters
    picture = noisy((60 + 0.7 * anatomy(SIDE)) * circle * np.where(shutters, np.float32(1), np.float32(0.1)) + 14, 1)
    field = find_field(255 - picture if inverted else picture, 8)
    assert field.outline.kind is FieldKind.POLYGON
    assert overlap(field, inside) > 0.96


def test_a_soft_circle_in_its_noisy_glow_is_the_same_circle_on_every_pulse() -> None:
    inside = disc((SIDE, SIDE), (200, 200), 195)
    soft = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 4)
    for seed in range(6):
        field = find_field(noisy((60 + 0.7 * anatomy(SIDE)) * soft + 14, seed, noise=60.0), 8)
        assert field.outline.kind is FieldKind.CIRCLE
        assert overlap(field, inside) > 0.96


@pytest.mark.parametrize("inverted", [False, True], ids=["as taken", "inverted"])
def test_shutters_within_a_black_mask_cut_the_field_in_either_polarity(inverted: bool) -> None:
    mask = disc((SIDE, SIDE), (200, 200), 190)
    shutters = convex((SIDE, SIDE), [(90, 60), (340, 90), (330, 399), (60, 340)])
    wide = 60 + 0.7 * anatomy(SIDE)
    watch = FieldWatch()
    for k in range(9):
        picture = noisy(wide if k < 3 else np.where(shutters, wide, np.float32(20)), k)
        field = watch.update(within(255 - picture if inverted else picture, mask), 8)
    assert field.bone_dark is not inverted
    assert overlap(field, mask & shutters) > 0.96


def test_shutters_that_a_recursive_filter_fades_in_are_found_before_it_has_settled() -> None:
    shutters = convex((SIDE, SIDE), [(90, 60), (340, 90), (330, 399), (60, 340)])
    open_wide = 60 + 0.7 * anatomy(SIDE)
    shown, watch, doubted, found = open_wide, FieldWatch(), [], []
    for k in range(12):
        shown = 0.6 * shown + 0.4 * (open_wide if k < 3 else np.where(shutters, open_wide, np.float32(20)))
        field = watch.update(noisy(shown, k), 8)
        doubted.append(watch.is_in_doubt)
        found.append(overlap(field, shutters) > 0.96)
    assert found.index(True) < 3 + 7
    assert doubted.index(True) < found.index(True), "what is watched is held from the suspicion on"
    assert not any(doubted[:3])


@pytest.mark.parametrize("inverted", [False, True], ids=["as taken", "inverted"])
def test_an_iris_s_shade_tells_the_polarity_where_soft_anatomy_tells_none(inverted: bool) -> None:
    iris = cv2.GaussianBlur(disc((SIDE, SIDE), (200, 200), 170).astype(np.float32), (0, 0), 6)
    # Gas: as bright against its surroundings as bone is dark.
    gas = 30 * cv2.GaussianBlur(disc((SIDE, SIDE), (230, 180), 30).astype(np.float32), (0, 0), 4)
    picture = noisy((130 + gas) * iris + 14, 1)
    assert find_field(255 - picture if inverted else picture, 8).bone_dark is not inverted


def test_sixteen_bit_pixels_give_the_same_field() -> None:
    picture = within(noisy(anatomy(SIDE), 1), disc((SIDE, SIDE), (205, 195), 170))
    deep = (picture.astype(np.uint16) << 4) | 7
    narrow, wide = find_field(picture, 8), find_field(deep, 12)
    np.testing.assert_allclose(wide.outline.polygon_px, narrow.outline.polygon_px)


def test_the_box_and_the_mask_fit_the_outline_of_a_wide_frame() -> None:
    picture = np.zeros((300, 500), np.uint8)
    picture[:, 100:400] = noisy(anatomy(300), 1)
    picture = within(picture, disc((500, 300), (250, 150), 130))
    field = find_field(picture, 8)
    assert field.mask.shape == (300, 500)
    assert field.box_px == pytest.approx((120, 20, 381, 281), abs=3)
    assert not field.mask.flags.writeable


def test_polarity_follows_the_picture() -> None:
    inside = disc((SIDE, SIDE), (200, 200), 180)
    picture = noisy(anatomy(SIDE), 1)
    assert find_field(within(picture, inside), 8).bone_dark
    assert not find_field(within(255 - picture, inside), 8).bone_dark
    assert not find_field(255 - within(picture, inside), 8).bone_dark


def test_a_thin_black_rim_of_the_frame_does_not_speak_for_dark_bone() -> None:
    rim = np.zeros((SIDE, SIDE), dtype=bool)
    rim[3:-3, 3:-3] = True
    pale = np.asarray(128 + 0.3 * (127 - anatomy(SIDE)), dtype=np.float32)
    assert not find_field(within(noisy(pale, 1), rim), 8).bone_dark


@pytest.mark.parametrize("size", [(640, 512), (960, 540)])
def test_the_field_is_found_in_a_whole_monitor_layout(size: tuple[int, int]) -> None:
    inside = disc((SIDE, SIDE), (200, 200), 190)
    screen = monitor(size, within(noisy(anatomy(SIDE), 1), inside), (110, 60))
    truth = np.zeros((size[1], size[0]), dtype=bool)
    truth[60 : 60 + SIDE, 110 : 110 + SIDE] = inside
    field = find_field(screen, 8)
    assert field.outline.kind is FieldKind.CIRCLE
    assert overlap(field, truth) > 0.97


def on_monitor(layout: Layout, shape: FieldShape, soft: bool, inverted: bool) -> tuple[Grey, NDArray[np.bool_]]:
    """A frame as a grabber with JPEG delivers it, and where its live field is; an iris leaves glow and noise around."""
    side_px, edge_px = 512, 11.0 if soft else 1.8
    field = field_mask(shape, side_px, edge_px)
    if soft:
        lit = anatomy(side_px) * field
        picture = noisy(lit + 0.15 * cv2.GaussianBlur(lit, (0, 0), 50) + 10, 1)
        picture = 255 - picture if inverted else picture
    else:
        picture = noisy(anatomy(side_px), 1)
        picture = ((255 - picture if inverted else picture) * field).astype(np.uint8)
    screen = Monitor(layout, side_px, MONITOR_PICTURE_PX[layout])
    frame = jpeg(screen.show(picture, picture, 0.0, "LIVE", "80 kV"), 85)
    corners = field_outline(shape, side_px) @ screen.matrix[:2, :2].T + screen.matrix[:2, 2]
    return frame, convex(screen.size_px, [(x, y) for x, y in corners.tolist()])


@pytest.mark.parametrize("inverted", [False, True], ids=["as taken", "inverted"])
@pytest.mark.parametrize(
    ("shape", "soft"),
    [
        (FieldShape.CIRCLE, False),
        (FieldShape.CIRCLE, True),
        (FieldShape.OCTAGON, False),
        (FieldShape.OCTAGON, True),
        (FieldShape.RECTANGLE, False),
    ],
)
@pytest.mark.parametrize("layout", list(MONITOR_PICTURE_PX))
def test_a_monitor_s_panels_and_its_other_picture_are_no_part_of_the_field(
    layout: Layout, shape: FieldShape, soft: bool, inverted: bool
) -> None:
    frame, inside = on_monitor(layout, shape, soft, inverted)
    fields = find_fields(frame, 8)
    assert len(fields) == (2 if layout is Layout.MONITOR_1920X1080 else 1)
    live = min(fields, key=lambda field: field.box_px[0])
    assert live.outline.kind.value == shape.value
    assert overlap(live, inside) > 0.97
    assert live.bone_dark is not inverted


def test_an_octagon_is_closed_where_it_is_as_dark_as_its_surround() -> None:
    corners = np.array(octagon(200, 180))
    share = np.linspace(0, 1, 40, endpoint=False)[:, None]
    sides = [corners[i] + share * (corners[(i + 1) % 8] - corners[i]) for i in range(8)]
    seen = np.vstack(sides[1:6]) + np.random.default_rng(0).normal(0, 0.4, (200, 2))
    frame = rectangle(0, 0, SIDE, SIDE)
    outline = fit_outline(seen, frame, frame)
    assert outline is not None
    assert outline.kind is FieldKind.OCTAGON
    for corner in corners:
        assert np.hypot(*(outline.polygon - corner).T).min() < 2.5


@pytest.mark.parametrize("sigma_px", [3.0, 4.0, 5.0])
def test_the_width_of_a_soft_edge_is_told_and_two_of_it_inside_the_picture_is_full(sigma_px: float) -> None:
    soft = cv2.GaussianBlur(disc((SIDE, SIDE), (200, 200), 160).astype(np.float32), (0, 0), sigma_px)
    field = find_field(noisy(np.full((SIDE, SIDE), 150, np.float32) * soft, 1), 8)
    # A Gaussian falls from three quarters to one quarter over 1.35 sigma.
    assert field.edge_width_px == pytest.approx(1.35 * sigma_px, abs=2)
    radius = np.hypot(*(field.outline.polygon_px - 200).T)
    assert soft[200, 200 + int(radius.min() - 2 * field.edge_width_px)] > 0.97


def test_a_mask_s_edge_is_no_wider_than_three_pixels() -> None:
    picture = within(noisy(anatomy(SIDE), 1), disc((SIDE, SIDE), (200, 200), 180))
    assert find_field(picture, 8).edge_width_px <= 3


def test_the_whole_frame_has_no_edge() -> None:
    assert find_field(noisy(anatomy(SIDE), 1), 8).edge_width_px == 0


def test_of_two_pictures_on_a_monitor_the_one_that_changes_is_live() -> None:
    stored = within(noisy(anatomy(SIDE, 1), 1), disc((SIDE, SIDE), (200, 200), 195))
    watch = FieldWatch()
    for pulse in range(3):
        live = within(noisy(anatomy(SIDE, 2), 10 + pulse), disc((SIDE, SIDE), (200, 200), 185))
        screen = monitor((960, 540), stored, (100, 60))
        screen[60 : 60 + SIDE, 530 : 530 + SIDE] = live
        assert len(find_fields(screen, 8)) == 2
        field = watch.update(screen, 8)
    assert field.box_px[0] > 500
    assert watch.mistakes == 1


def test_once_the_live_picture_is_known_looking_again_does_not_turn_to_the_larger_stored_one() -> None:
    stored = within(noisy(anatomy(SIDE, 1), 1), disc((SIDE, SIDE), (200, 200), 195))
    watch = FieldWatch(np.array([[150.0, 250.0], [250.0, 350.0]]))
    for number in range(40):
        # Four leaves close a little at a time: the watch has to look again.
        reach = 170 if number < 12 else 150
        live = within(noisy(anatomy(SIDE, 2), number + 2), disc((SIDE, SIDE), (200, 200), reach))
        screen = monitor((960, 540), live, (50, 60))
        screen[60 : 60 + SIDE, 510 : 510 + SIDE] = stored
        field = watch.update(screen, 8)
        assert field.box_px[2] < 480
    assert watch.mistakes == 0


def test_of_two_pictures_on_a_monitor_the_one_that_is_drawn_on_is_taken_first() -> None:
    picture = within(noisy(anatomy(SIDE, 1), 1), disc((SIDE, SIDE), (200, 200), 190))
    screen = monitor((960, 540), picture, (100, 60))
    screen[60 : 60 + SIDE, 530 : 530 + SIDE] = picture
    for left in (100, 530):
        watch = FieldWatch(np.array([[left + 200.0, 260.0], [left + 220.0, 280.0]]))
        assert watch.update(screen, 8).box_px[0] == pytest.approx(left + 10, abs=3)
        assert watch.mistakes == 0


def test_burned_in_text_is_masked_and_instruments_are_not() -> None:
    inside = disc((SIDE, SIDE), (200, 200), 190)
    picture = within(noisy(anatomy(SIDE), 1), inside)
    plain = find_field(picture, 8)
    assert plain.text_boxes_px == ()
    cv2.putText(picture, "12:34:56", (150, 120), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 255, 2)
    field = find_field(picture, 8)
    assert len(field.text_boxes_px) == 1
    drawn = np.zeros_like(picture)
    cv2.putText(drawn, "12:34:56", (150, 120), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 255, 2)
    assert not field.mask[drawn > 0].any()
    assert (field.mask == 0).sum() - (plain.mask == 0).sum() < 3 * 130 * 30


def test_a_place_tells_polarity_and_text_once_it_is_described() -> None:
    picture = within(255 - noisy(anatomy(400), 0), disc((400, 400), (199.5, 199.5), 180.0))
    (place,) = places_in(picture)
    field = described(picture, place)
    assert not place.is_described
    assert field.is_described
    assert not field.bone_dark
    assert described(picture, field) is field
    np.testing.assert_array_equal(field.mask, place.mask)


def test_the_rim_holds_the_pixels_within_a_cell_of_the_outline() -> None:
    # The frame cuts this one: along its border there is no rim.
    field = find_field(within(noisy(anatomy(400), 0), disc((400, 400), (199.5, 199.5), 196.0))[:, :330], 8)
    inside = polygon_mask(field.outline.polygon_px, field.frame_size_px)
    rim = np.zeros(inside.size, dtype=bool)
    rim[field.rim_index] = True
    deep = cv2.erode(inside, np.ones((17, 17), np.uint8)) > 0
    np.testing.assert_array_equal(rim.reshape(inside.shape), (inside > 0) & ~deep)


def test_the_watch_keeps_one_field_while_only_the_anatomy_changes() -> None:
    watch = FieldWatch()
    inside = disc((SIDE, SIDE), (200, 200), 190)
    fields = [watch.update(within(noisy(anatomy(SIDE, pulse // 4), pulse), inside), 8) for pulse in range(12)]
    assert all(field is fields[0] for field in fields)


def test_the_watch_follows_the_collimator_within_a_few_frames() -> None:
    watch = FieldWatch()
    wide, narrow = disc((SIDE, SIDE), (200, 200), 190), convex((SIDE, SIDE), turned_rectangle(8))
    for pulse in range(3):
        field = watch.update(within(noisy(anatomy(SIDE), pulse), wide), 8)
    assert field.outline.kind is FieldKind.CIRCLE
    for pulse in range(4):
        field = watch.update(within(noisy(anatomy(SIDE), pulse), narrow), 8)
    assert overlap(field, narrow) > 0.97
    for pulse in range(4):
        field = watch.update(within(noisy(anatomy(SIDE), pulse), wide), 8)
    assert overlap(field, wide) > 0.97


@pytest.mark.parametrize("surround", [0, 235], ids=["black", "white"])
def test_a_picture_that_washes_out_for_a_while_keeps_its_outline(surround: int) -> None:
    watch = FieldWatch()
    inside = disc((SIDE, SIDE), (200, 200), 180)

    def screen(image: NDArray[np.float32], number: int) -> NDArray[np.uint8]:
        return monitor((960, 540), within(noisy(image, number), inside, surround), (50, 60))

    for pulse in range(4):
        before = watch.update(screen(anatomy(SIDE), pulse), 8)
    assert before.outline.kind is FieldKind.CIRCLE
    for pulse in range(10, 22):
        faded = surround + 0.04 * (anatomy(SIDE, 1) - surround)
        watch.update(screen(np.asarray(faded, dtype=np.float32), pulse), 8)
    for pulse in range(30, 36):
        after = watch.update(screen(anatomy(SIDE, 1), pulse), 8)
    assert overlap(after, polygon_mask(before.outline.polygon_px, (960, 540)) > 0) > 0.97
    assert watch.mistakes == 0


def test_the_watch_notices_that_the_operator_inverts_the_picture() -> None:
    watch = FieldWatch()
    inside = disc((SIDE, SIDE), (200, 200), 190)
    assert watch.update(within(noisy(anatomy(SIDE), 1), inside), 8).bone_dark
    for pulse in range(4):
        field = watch.update(within(255 - noisy(anatomy(SIDE), pulse), inside), 8)
    assert not field.bone_dark
    assert watch.mistakes == 0


def test_a_polarity_taken_wrongly_at_first_is_corrected_when_the_evidence_comes() -> None:
    inside = disc((SIDE, SIDE), (200, 200), 190)
    rng = np.random.default_rng(3)
    hazy = cv2.GaussianBlur(rng.normal(0, 300, (SIDE, SIDE)).astype(np.float32), (0, 0), 12) + 130
    # Thin bright strands in a haze: what little there is to see speaks for absorbers bright.
    strands = hazy.copy()
    for x in range(40, 380, 40):
        cv2.line(strands, (x, 40), (x + 15, 360), 190.0, 3)
    watch = FieldWatch()
    assert not watch.update(within(noisy(np.asarray(strands, dtype=np.float32), 0), inside), 8).bone_dark
    for pulse in range(40):
        # The anatomy comes in slowly enough not to be taken for an inversion.
        share = min(1.0, pulse / 6)
        image = (1 - share) * strands + share * anatomy(SIDE)
        field = watch.update(within(noisy(np.asarray(image, dtype=np.float32), pulse), inside), 8)
    assert field.bone_dark
    assert watch.mistakes == 1


@settings(max_examples=60, deadline=None)
@given(rise=hnp.arrays(np.float32, (3, 40), elements=st.integers(0, 90).map(float)), end=st.integers(0, 40))
def test_the_edge_kernel_finds_what_its_definition_finds(rise: NDArray[np.float32], end: int) -> None:
    # Steps make edges likely: noise alone has hardly any.
    rise[1, :25] += 60
    rise[2, :15] += 120
    edges, widths = np.empty(3), np.empty(3)
    outermost_falls(rise, np.full(3, end, dtype=np.int64), 8, 20.0, 0.4, edges, widths)
    expected = [outermost_fall(row[:end].astype(np.float64), 8, 20.0, 0.4) for row in rise]
    np.testing.assert_allclose(np.column_stack([edges, widths]), expected, atol=1e-4)


def outermost_fall(rise: NDArray[np.float64], depth: int, least: float, steep: float) -> tuple[float, float]:
    """Plain twin of ``outermost_falls`` for one profile: its edge and its width."""
    end, gap = len(rise), depth // 4
    levels = {
        s: (
            rise[s - depth : s + 1 - gap].mean(),
            rise[s + 1 + min(gap, (end - 2 - s) // 2) : s + 1 + depth].mean(),
        )
        for s in range(depth, end - 1)
    }
    falls = {s: float(inside - outside) for s, (inside, outside) in levels.items()}
    if max(falls.values(), default=0.0) < least:
        return float("nan"), float("nan")
    at = max(s for s, fall in falls.items() if fall >= max(least, steep * max(falls.values())))
    top = at
    while at > depth and at > top - gap - 2:
        at -= 1
        top = at if falls[at] > falls[top] else top
    half, fall = levels[top][1] + falls[top] / 2, falls[top]
    beyond = next((s for s in range(top + 1, end - 1) if rise[s] < half), end - 1)
    edge = max(np.flatnonzero(rise[:beyond] >= half), default=0)
    drop = rise[edge] - rise[edge + 1]
    fraction = min(float((rise[edge] - half) / drop), 1.0) if drop > 0 else 0.0
    inner = max(np.flatnonzero(rise[: edge + 1] >= half + fall / 4), default=0)
    outer = edge + 1 + next((i for i, v in enumerate(rise[edge + 1 :]) if v <= half - fall / 4), end - edge - 1)
    return edge + fraction, outer - inner - 1.0


@pytest.mark.skipif(not REAL.is_dir(), reason="the real C-arm pictures are not beside this checkout")
@pytest.mark.parametrize("inverted", [False, True], ids=["as taken", "inverted"])
def test_the_fields_of_the_real_pictures_lie_within_five_pixels_of_their_labels(inverted: bool) -> None:
    labels = json.loads((REAL / "labels.json").read_text())["images"]
    for name, label in labels.items():
        pixels = cv2.imread(str(REAL / name), cv2.IMREAD_UNCHANGED)
        pixels = np.ascontiguousarray(pixels if pixels.ndim == 2 else pixels[:, :, 0])
        bits = 8 * pixels.dtype.itemsize
        field = find_field(np.invert(pixels) if inverted else pixels, bits)
        assert field.outline.kind is FieldKind.CIRCLE, name
        assert field.bone_dark is not inverted, name
        if not inverted:
            only_inside = np.where(field.mask > 0, np.invert(pixels), pixels)
            assert not find_field(only_inside, bits).bone_dark, name
        assert field.text_boxes_px == (), name
        h, w = pixels.shape
        polygon, circle = field.outline.polygon_px, label["fov"]
        free = ((polygon > 1) & (polygon < np.array([w, h]) - 2)).all(axis=1)
        radius = np.hypot(polygon[free, 0] - circle["cx"], polygon[free, 1] - circle["cy"])
        assert np.abs(radius - circle["r"]).max() < 5, name
