"""What is drawn over a picture, and how it is painted."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from guidance.overlay import Stroke, StrokeKind, draw, look_json, paint, status_line, strokes_json, told_first, worst
from guidance.overlay.look import ALARM_LOOKS, STYLES
from guidance.records import (
    Alert,
    AlertKind,
    AlertState,
    FieldKind,
    FieldOutline,
    Findings,
    FrameState,
    Needle,
    Phase,
    Priority,
    Registration,
    Scale,
    ScaleSource,
    View,
    Zone,
    ZoneKind,
)

SQUARE = np.array([[100.0, 100.0], [140.0, 100.0], [140.0, 140.0], [100.0, 140.0]])
NEEDLE = Needle(1, (200.0, 150.0), ((200.0, 150.0), (300.0, 50.0)), 45.0, 10.0, None, False, 0.9)
FINDINGS = Findings(
    frame=3,
    t_s=1.5,
    state=FrameState.LIVE,
    phase=Phase.NEEDLE,
    phase_inferred=True,
    view=View.AP,
    view_id=0,
    field=FieldOutline(FieldKind.FULL, np.array([[0.0, 0.0], [399.0, 0.0], [399.0, 299.0], [0.0, 299.0]]), True),
    registration=Registration((0.0, 0.0), 0.0, 0.9, ok=True),
    scale=None,
    zones=(Zone("foramen_S1L", ZoneKind.FORBIDDEN, SQUARE),),
    needles=(NEEDLE,),
)
BREACH = Alert(
    1,
    AlertKind.CEMENT_IN_ZONE,
    Priority.HIGH,
    AlertState.RAISED,
    3,
    1.5,
    "foramen_S1L",
    None,
    4.2,
    "mm2",
    "Cement in foramen S1L: 4.2 mm²",
)
NEAR = replace(BREACH, id=2, kind=AlertKind.NEEDLE_NEAR_ZONE, priority=Priority.MEDIUM, needle=1, value=2.0, unit="mm")
PIXELS = np.full((300, 400), 90, np.uint8)


def styles_of(strokes: tuple[Stroke, ...]) -> list[str]:
    return [stroke.style for stroke in strokes]


def words_of(strokes: tuple[Stroke, ...]) -> list[str]:
    return [stroke.text for stroke in strokes if stroke.text is not None]


def test_nothing_found_draws_only_the_words_that_nothing_is_watched():
    nothing = replace(FINDINGS, field=None, registration=None, zones=(), needles=())
    assert draw(nothing) == (Stroke(StrokeKind.NOTICE, (), "notice", text="Zones not watched"),)


def test_every_stroke_has_a_style_in_the_table_that_the_browser_gets():
    lateral = replace(FINDINGS, view=View.LATERAL, registration=None)
    for strokes in (draw(FINDINGS), draw(FINDINGS, (BREACH, NEAR)), draw(lateral)):
        assert {stroke.style for stroke in strokes} <= look_json()["styles"].keys()


def test_the_ring_round_a_tip_leaves_the_tip_to_be_seen():
    strokes = draw(FINDINGS)
    ring = next(stroke for stroke in strokes if stroke.style == "needle_tip")
    shaft = next(stroke for stroke in strokes if stroke.style == "needle")
    assert ring.points_px == ((200.0, 150.0),)
    assert ring.radius_px == pytest.approx(8.0)
    (x, y), end = shaft.points_px
    assert math.hypot(x - 200, y - 150) == pytest.approx(8.0)
    assert end == (300.0, 50.0)


def test_a_needle_seen_end_on_has_a_ring_and_no_shaft():
    end_on = replace(NEEDLE, shaft_px=None, angle_deg=None, diameter_px=None)
    strokes = draw(replace(FINDINGS, needles=(end_on,)))
    assert "needle_tip" in styles_of(strokes)
    assert "needle" not in styles_of(strokes)


def test_a_predicted_needle_is_dashed_and_called_predicted():
    strokes = draw(replace(FINDINGS, needles=(replace(NEEDLE, predicted=True),)))
    assert "needle_predicted" in styles_of(strokes)
    assert "needle_tip" not in styles_of(strokes)
    assert STYLES["needle_predicted"].dash
    assert any("predicted" in words for words in words_of(strokes))


def test_a_breached_zone_tells_the_amount_and_is_drawn_over_the_cement():
    strokes = draw(FINDINGS, (BREACH,))
    assert "zone_breached" in styles_of(strokes)
    assert "zone_forbidden" not in styles_of(strokes)
    assert "!!! foramen S1L 4.2 mm²" in words_of(strokes)


def test_a_covered_tip_has_a_dotted_ring_and_is_called_hidden():
    strokes = draw(replace(FINDINGS, needles=(replace(NEEDLE, tip_hidden=True),)))
    assert "needle_hidden" in styles_of(strokes)
    assert "needle_tip" not in styles_of(strokes)
    assert STYLES["needle_hidden"].dash
    assert any("tip hidden" in words for words in words_of(strokes))


def test_a_needle_with_an_alert_tells_its_distance():
    assert "!! needle 1 45° · 2.0 mm" in words_of(draw(FINDINGS, (NEAR,)))


def test_without_registration_the_zones_are_dashed_and_said_not_to_be_watched():
    strokes = draw(replace(FINDINGS, registration=replace(FINDINGS.registration, ok=False)))
    assert "zone_unwatched" in styles_of(strokes)
    assert "zone_forbidden" not in styles_of(strokes)
    assert STYLES["zone_unwatched"].dash
    assert "Zones not watched" in words_of(strokes)


def test_a_breach_stays_drawn_as_one_while_registration_is_lost():
    strokes = draw(replace(FINDINGS, registration=None), (BREACH,))
    assert "zone_breached" in styles_of(strokes)
    assert "Zones not watched" in words_of(strokes)


def test_a_lateral_view_says_that_it_cannot_show_the_foramina():
    words = "A lateral view cannot show the foramina"
    assert words in words_of(draw(replace(FINDINGS, view=View.LATERAL)))
    assert words not in words_of(draw(FINDINGS))


def test_a_view_that_nobody_has_named_is_said_to_show_no_foramina_if_it_is_lateral():
    words = "View unknown: a lateral view cannot show the foramina"
    assert words in words_of(draw(replace(FINDINGS, view=None)))


def test_no_two_zone_styles_differ_by_colour_alone():
    zones = {name: style for name, style in STYLES.items() if name.startswith("zone_")}
    others = {(style.width, style.dash, style.fill) for style in zones.values()}
    assert len(others) == len(zones)


def test_red_and_yellow_are_kept_for_alerts():
    for name, style in STYLES.items():
        red, green, blue = bytes.fromhex(style.colour[1:])
        alarming = red > 230 and blue < 60 and (green < 80 or green > 190)
        assert alarming == (name in ("zone_breached", "zone_near")), name


def test_the_worst_alert_is_the_one_of_the_highest_priority():
    seen = replace(BREACH, state=AlertState.ACKNOWLEDGED)
    assert worst((NEAR, seen)) is seen
    assert worst((seen, replace(BREACH, id=9))).id == 9
    assert worst(()) is None


def test_the_banner_tells_first_what_nobody_has_acknowledged_and_still_states_the_acknowledged():
    # The team acts on an acknowledged leak already; the needle that comes near meanwhile must not hide behind it.
    seen = replace(BREACH, state=AlertState.ACKNOWLEDGED)
    assert told_first((seen, NEAR)) == (NEAR, seen)
    assert told_first((BREACH, NEAR)) == (BREACH, None)
    assert told_first((seen, replace(NEAR, state=AlertState.ACKNOWLEDGED))) == (seen, None)
    assert told_first(()) == (None, None)


def test_a_needle_without_an_alert_tells_how_far_it_may_still_go():
    scaled = replace(FINDINGS, scale=Scale(0.1, ScaleSource.PLAN))
    strokes = draw(scaled)
    assert "needle 1 45° · 6.1 mm to foramen S1L" in words_of(strokes)
    line = next(stroke for stroke in strokes if stroke.kind is StrokeKind.DISTANCE)
    assert (line.subject, line.points_px) == ("needle 1", ((200.0, 150.0), (140.0, 140.0)))
    assert strokes_json((line,))[0]["subject"] == "needle 1"


def test_a_distance_is_painted_as_a_dotted_line_from_the_tip_to_what_it_must_not_reach():
    line = Stroke(StrokeKind.DISTANCE, ((100.0, 150.0), (300.0, 150.0)), "needle_distance", "9 mm", subject="needle 1")
    bare = paint(PIXELS, (), FINDINGS).astype(int)
    blue = (paint(PIXELS, (line,), FINDINGS).astype(int) - bare)[:, :, 0]
    # Twofold enlarged; its halo is darker than the picture.
    row = blue[blue.max(axis=1).argmax(), 201:601] > 40
    assert 0.2 < row.mean() < 0.9, "dotted"
    assert row[:20].any()
    assert row[-20:].any()


def test_millimetres_from_an_assumed_scale_are_said_to_be_rough():
    rough = replace(FINDINGS, scale=Scale(0.1, ScaleSource.ASSUMED))
    assert "Scale assumed: millimetres are good to a third" in words_of(draw(rough))


def test_strokes_become_json_of_tenths_of_a_pixel():
    line = Stroke(StrokeKind.POLYLINE, ((1.04, -0.01), (2.26, 3.0)), "needle")
    ring = Stroke(StrokeKind.CIRCLE, ((5.0, 6.0),), "needle_tip", radius_px=3.14)
    assert json.dumps(strokes_json((line, ring))) == json.dumps(
        [
            {"kind": "polyline", "style": "needle", "xy": [1.0, 0.0, 2.3, 3.0]},
            {"kind": "circle", "style": "needle_tip", "xy": [5.0, 6.0], "r": 3.1},
        ]
    )


def test_the_status_line_says_when_what_and_whether_the_phase_is_inferred():
    assert status_line(FINDINGS) == "1.50 s · LIVE · needle (inferred) · AP view"


@pytest.mark.parametrize("shape", [(300, 400), (1, 7), (641, 479), (1024, 1024)])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_every_picture_is_painted_with_even_sides_whatever_its_size_and_depth(shape: tuple[int, int], bits: int):
    pixels = np.full(shape, 2 ** (bits - 1), np.uint8 if bits == 8 else np.uint16)
    painted = paint(pixels, draw(FINDINGS), FINDINGS, bits=bits)
    assert painted.dtype == np.uint8
    assert painted.shape[2] == 3
    assert painted.shape[0] % 2 == painted.shape[1] % 2 == 0
    assert (painted == 128).all(axis=2).any(), "the middle grey stays a middle grey"


def test_the_painted_size_depends_on_the_pictures_size_only():
    quiet = paint(PIXELS, draw(FINDINGS), FINDINGS)
    lost = replace(FINDINGS, state=FrameState.NO_SIGNAL, registration=None, view=View.LATERAL)
    assert quiet.shape == paint(PIXELS, draw(lost, (BREACH, NEAR)), lost, (BREACH, NEAR)).shape


def test_a_stroke_is_painted_where_the_findings_say():
    # 640 / 400 rounds up to a twofold enlargement: (200, 150) is at 400.5, 300.5, below the banner.
    bare = paint(PIXELS, (), FINDINGS).astype(int)
    ringed = paint(PIXELS, (Stroke(StrokeKind.CIRCLE, ((200.0, 150.0),), "needle_tip", radius_px=10.0),), FINDINGS)
    rows, columns = np.nonzero(np.abs(ringed.astype(int) - bare).sum(axis=2))
    banner_px = 2 * max(16, round(0.03 * 600))
    assert columns.mean() == pytest.approx(400.5, abs=0.3)
    assert rows.mean() - banner_px == pytest.approx(300.5, abs=0.3)
    assert 40 <= np.ptp(columns) <= 40 + 3 + 2 + 2, "the ring, its line, its halo and a smooth edge"


def test_a_high_alert_paints_the_banner_in_its_colour():
    banner = paint(PIXELS, (), FINDINGS, (BREACH,))[4, -4]
    assert tuple(int(channel) for channel in banner[::-1]) == tuple(
        bytes.fromhex(ALARM_LOOKS[Priority.HIGH].colour[1:])
    )


def test_a_picture_that_is_not_live_is_darkened_and_stamped():
    live = paint(PIXELS, (), FINDINGS)
    for state in (FrameState.HELD, FrameState.FROZEN, FrameState.NO_SIGNAL, FrameState.CORRUPT):
        marked = paint(PIXELS, (), replace(FINDINGS, state=state))
        assert np.median(marked) < np.median(live)
        assert (marked == 255).all(axis=2).sum() > 100, "white letters over it"


def test_painting_leaves_the_pixels_as_they_were_and_repeats_to_the_byte():
    pixels = PIXELS.copy()
    pixels.flags.writeable = False
    strokes = draw(FINDINGS, (BREACH, NEAR))
    first = paint(pixels, strokes, FINDINGS, (BREACH, NEAR))
    assert (first == paint(pixels, strokes, FINDINGS, (BREACH, NEAR))).all()
    assert (pixels == PIXELS).all()


def test_strokes_that_leave_the_picture_are_cut_and_not_an_error():
    far = replace(NEEDLE, tip_px=(-50.0, -80.0), shaft_px=((-50.0, -80.0), (900.0, 900.0)))
    outside = Zone("canal", ZoneKind.FORBIDDEN, SQUARE + 5000)
    findings = replace(FINDINGS, needles=(far,), zones=(outside,))
    assert paint(PIXELS, draw(findings), findings).any()
