"""Findings as drawing instructions: one source for the browser, the annotated video and stills.

``draw`` says what is drawn where, ``look_json`` how it looks; the browser draws both as vectors, ``paint``
draws them into pixels. Red and yellow are kept for active alerts (IEC 60601-1-8); every meaning is also told
by a dash, a width or a word, never by colour alone.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from math import ceil, hypot
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.frame import Pixels
from guidance.records import (
    Alert,
    AlertKind,
    AlertState,
    CementDeposit,
    Findings,
    FrameState,
    Needle,
    NerveRoot,
    PointPx,
    PolygonPx,
    Priority,
    View,
    Zone,
    ZoneKind,
)

Bgr = NDArray[np.uint8]


class StrokeKind(StrEnum):
    """How a stroke's points are joined."""

    POLYLINE = "polyline"
    POLYGON = "polygon"
    CIRCLE = "circle"
    TEXT = "text"
    NOTICE = "notice"


@dataclass(frozen=True, slots=True)
class Stroke:
    """One thing to draw. ``points_px`` are input-frame pixels; a circle has its centre, a text its anchor.

    A text stands right of its anchor, its middle at the anchor's height. ``radius_px`` belongs to circles. A
    notice has no point: its words must stand beside the picture.
    """

    kind: StrokeKind
    points_px: tuple[PointPx, ...]
    style: str
    text: str | None = None
    radius_px: float | None = None


@dataclass(frozen=True, slots=True)
class Style:
    """``width`` and ``dash`` are in thousandths of the picture's shown height; ``fill`` is an opacity.

    ``essential``: still drawn when the viewer has thinned the overlay.
    """

    colour: str
    width: float
    dash: tuple[float, ...] = ()
    fill: float = 0.0
    essential: bool = False


STYLES: dict[str, Style] = {
    "field": Style("#7d8f9e", 1.6, (8, 12)),
    "zone_body": Style("#7f9bb8", 2.0, (14, 7)),
    "zone_target": Style("#57c98a", 2.4, (22, 7)),
    "zone_caution": Style("#d8b48c", 2.4, (4, 6)),
    "zone_forbidden": Style("#ff8fc0", 2.8, (), 0.05, essential=True),
    "zone_near": Style("#ffd60a", 3.4, (9, 5), 0.08, essential=True),
    "zone_breached": Style("#ff3b30", 4.5, (), 0.28, essential=True),
    "zone_unwatched": Style("#b4b9be", 2.2, (5, 7)),
    "root": Style("#b79bff", 2.2, (), 0.10),
    "root_centre": Style("#b79bff", 2.0, (8, 6)),
    "cement": Style("#ff9f45", 2.4, (), 0.10, essential=True),
    "cement_front": Style("#ff9f45", 3.0, (), 0.0, essential=True),
    "needle": Style("#38d6ff", 2.4),
    "needle_tip": Style("#38d6ff", 3.0, (), 0.0, essential=True),
    "needle_predicted": Style("#38d6ff", 2.4, (6, 6), 0.0, essential=True),
    "label": Style("#e8eef4", 1.0),
    "label_alert": Style("#ffffff", 1.0, essential=True),
    "notice": Style("#ffd796", 1.0, essential=True),
}

STATE_WORDS: dict[FrameState, tuple[str, str]] = {
    FrameState.HELD: ("HELD", "x-ray off, last image"),
    FrameState.FROZEN: ("FROZEN", "the source repeats one picture"),
    FrameState.NO_SIGNAL: ("NO SIGNAL", "the input carries no video"),
    FrameState.CORRUPT: ("CORRUPT", "the picture came damaged"),
}


@dataclass(frozen=True, slots=True)
class AlarmLook:
    """How a priority shows: background, ink, the standard's marks, its flashing (0 is steady)."""

    colour: str
    ink: str
    marks: str
    flash_hz: float


ALARM_LOOKS: dict[Priority, AlarmLook] = {
    Priority.HIGH: AlarmLook("#d71f1f", "#ffffff", "!!!", 2.0),
    Priority.MEDIUM: AlarmLook("#ffd60a", "#000000", "!!", 0.6),
    Priority.LOW: AlarmLook("#3fd0dc", "#000000", "!", 0.0),
}

LABEL_HEIGHT = 15.0
"""A label's capitals, in thousandths of the picture's shown height."""

DRAWN_WITHIN_PX = 1.5
"""How far a drawn outline of cement or a root may lie from the found one."""

NOTHING_ACTIVE = "Alerts: none detected"
ZONES_NOT_WATCHED = "Zones not watched"
LATERAL_LIMIT = "Foramina cannot be seen on a lateral view"

_URGENCY = {Priority.HIGH: 2, Priority.MEDIUM: 1, Priority.LOW: 0}
_INSIDE = {AlertKind.CEMENT_IN_ZONE, AlertKind.NEEDLE_IN_ZONE}
_NEEDLE_ALERTS = {AlertKind.NEEDLE_IN_ZONE, AlertKind.NEEDLE_NEAR_ZONE, AlertKind.NEEDLE_NEAR_ROOT}


def draw(findings: Findings, alerts: Sequence[Alert] = ()) -> tuple[Stroke, ...]:
    """What to draw over one frame, the most important last (on top), then its notices.

    ``alerts`` are the active ones.
    """
    quiet = [zone for zone in findings.zones if _zone_style(zone, findings, alerts) != "zone_breached"]
    breached = [zone for zone in findings.zones if _zone_style(zone, findings, alerts) == "zone_breached"]
    strokes: list[Stroke] = []
    if findings.field is not None:
        strokes.append(Stroke(StrokeKind.POLYGON, _points(findings.field.polygon_px), "field"))
    for zone in quiet:
        strokes += _zone(zone, findings, alerts)
    for root in findings.nerve_roots:
        strokes += _root(root)
    for deposit in findings.cement:
        strokes += _cement(deposit)
    for zone in breached:
        strokes += _zone(zone, findings, alerts)
    for needle in findings.needles:
        strokes += _needle(needle, [a for a in alerts if a.needle == needle.id and a.kind in _NEEDLE_ALERTS])
    strokes += [Stroke(StrokeKind.NOTICE, (), "notice", text=words) for words in notices(findings)]
    return tuple(strokes)


def zones_watched(findings: Findings) -> bool:
    """Whether the zones lie where they are drawn; otherwise nothing can be said of them."""
    return findings.registration is not None and findings.registration.ok


def notices(findings: Findings) -> tuple[str, ...]:
    """What this frame cannot show, in words that must stand beside it."""
    words = []
    if not zones_watched(findings):
        words.append(ZONES_NOT_WATCHED)
    elif not findings.zones:
        words.append("No zones drawn for this view")
    if findings.view is View.LATERAL:
        words.append(LATERAL_LIMIT)
    return tuple(words)


def worst(alerts: Sequence[Alert]) -> Alert | None:
    """The active alert that the banner tells: highest priority, then not yet acknowledged, then newest."""
    return max(
        alerts,
        key=lambda a: (_URGENCY[a.priority], a.state is not AlertState.ACKNOWLEDGED, a.id),
        default=None,
    )


def status_line(findings: Findings) -> str:
    """Time, state, phase, view and scale in one line."""
    phase = findings.phase.value + (" (inferred)" if findings.phase_inferred else "")
    view = {View.AP: "AP view", View.LATERAL: "lateral view", None: "view unknown"}[findings.view]
    parts = [f"{findings.t_s:.2f} s", findings.state.value.replace("_", " ").upper(), phase, view]
    if findings.scale is not None:
        parts.append(f"{findings.scale.mm_per_px:.3f} mm/px from {findings.scale.source.value}")
    return " · ".join(parts)


def strokes_json(strokes: Sequence[Stroke]) -> list[dict[str, Any]]:
    """The strokes as JSON's own types: ``xy`` is x0, y0, x1, y1, ... rounded to 0.1 px."""
    return [_stroke_json(stroke) for stroke in strokes]


def look_json() -> dict[str, Any]:
    """How strokes, states and priorities look: what ``paint`` uses, for the browser."""
    return {
        "styles": {name: asdict(style) for name, style in STYLES.items()},
        "states": {state.value: {"word": word, "detail": detail} for state, (word, detail) in STATE_WORDS.items()},
        "alarms": {priority.value: asdict(look) for priority, look in ALARM_LOOKS.items()},
        "urgency": {priority.value: rank for priority, rank in _URGENCY.items()},
        "label_height": LABEL_HEIGHT,
        "nothing_active": NOTHING_ACTIVE,
    }


def _zone_style(zone: Zone, findings: Findings, alerts: Sequence[Alert]) -> str:
    kinds = {alert.kind for alert in alerts if alert.zone == zone.id}
    if kinds & _INSIDE:
        return "zone_breached"
    if not zones_watched(findings):
        return "zone_unwatched"
    if kinds:
        return "zone_near"
    return f"zone_{zone.kind.value}"


def _zone(zone: Zone, findings: Findings, alerts: Sequence[Alert]) -> list[Stroke]:
    style = _zone_style(zone, findings, alerts)
    points = _points(zone.polygon_px)
    words = zone.id.replace("_", " ")
    alerted = style in ("zone_breached", "zone_near")
    if alerted:
        # The alert's own number stands at the place that it is about.
        alert = worst([alert for alert in alerts if alert.zone == zone.id])
        assert alert is not None
        words = f"{ALARM_LOOKS[alert.priority].marks} {words} {_quantity(alert)}"
    outline = Stroke(StrokeKind.POLYGON, points, style)
    if zone.kind in (ZoneKind.TARGET, ZoneKind.BODY) and not alerted:
        return [outline, _label(_left_of(points), words)]
    return [outline, _label(_right_of(points), words, alerted)]


def _root(root: NerveRoot) -> list[Stroke]:
    strokes = [Stroke(StrokeKind.POLYGON, _smoothed(ring), "root") for ring in root.polygons_px]
    centre = _points(root.centerline_px)
    if len(centre) > 1:
        strokes.append(Stroke(StrokeKind.POLYLINE, centre, "root_centre"))
        strokes.append(_label(centre[-1], f"root {root.id}"))
    return strokes


def _cement(deposit: CementDeposit) -> list[Stroke]:
    rings = [_smoothed(ring) for ring in deposit.polygons_px]
    strokes = [Stroke(StrokeKind.POLYGON, ring, "cement") for ring in rings]
    if deposit.front_px is not None and deposit.run_mm is not None:
        strokes.append(Stroke(StrokeKind.CIRCLE, (deposit.front_px,), "cement_front", radius_px=8.0))
    if rings:
        words = f"cement {deposit.id}"
        if deposit.area_mm2 is not None:
            words += f" {deposit.area_mm2:.0f} mm²"
        if deposit.growth_mm2_per_s is not None and abs(deposit.growth_mm2_per_s) >= 0.5:
            words += f" {deposit.growth_mm2_per_s:+.0f}/s"
        strokes.append(_label(_below(max(rings, key=len)), words))
    return strokes


def _needle(needle: Needle, alerts: Sequence[Alert]) -> list[Stroke]:
    """A ring that leaves the tip itself to be seen, and the shaft from the ring backwards."""
    radius_px = 0.8 * needle.diameter_px if needle.diameter_px else 8.0
    tip_style = "needle_predicted" if needle.predicted else "needle_tip"
    strokes = [Stroke(StrokeKind.CIRCLE, (needle.tip_px,), tip_style, radius_px=radius_px)]
    x, y = needle.tip_px
    anchor = (x + 1.6 * radius_px, y)  # seen end-on
    if needle.shaft_px is not None:
        (_, _), (x1, y1) = needle.shaft_px
        length_px = hypot(x1 - x, y1 - y)
        if length_px > radius_px:
            ux, uy = (x1 - x) / length_px, (y1 - y) / length_px
            start = (x + radius_px * ux, y + radius_px * uy)
            shaft_style = "needle_predicted" if needle.predicted else "needle"
            strokes.append(Stroke(StrokeKind.POLYLINE, (start, (x1, y1)), shaft_style))
            # Back along the shaft, where it covers nothing that the needle goes towards; below a shaft that
            # rises to the right and above one that falls, so that it does not cover the shaft either.
            back_px = min(length_px, 10 * radius_px)
            aside_px = 2 * radius_px if ux * uy < 0 else -2 * radius_px
            anchor = (x + back_px * ux + radius_px, y + back_px * uy + aside_px)
    words = f"needle {needle.id}"
    if needle.angle_deg is not None:
        words += f" {needle.angle_deg:.0f}°"
    if needle.depth_share is not None:
        words += f" depth {100 * needle.depth_share:.0f} %"
    if needle.predicted:
        words += " predicted"
    alert = worst(alerts)
    if alert is not None:
        words = f"{ALARM_LOOKS[alert.priority].marks} {words} · {_quantity(alert)}"
    strokes.append(_label(anchor, words, alert is not None))
    return strokes


def _quantity(alert: Alert) -> str:
    value = f"{alert.value:.1f} {alert.unit.replace('mm2', 'mm²')}"
    return f"{value} past edge" if alert.kind is AlertKind.NEEDLE_IN_ZONE else value


def _label(anchor: PointPx, words: str, alerted: bool = False) -> Stroke:
    return Stroke(StrokeKind.TEXT, (anchor,), "label_alert" if alerted else "label", text=words)


def _points(polygon: PolygonPx) -> tuple[PointPx, ...]:
    return tuple((x, y) for x, y in polygon.tolist())


def _smoothed(ring: PolygonPx) -> tuple[PointPx, ...]:
    """The ring without the staircase of the pixels that it was found on, nowhere further off than the constant."""
    drawn = cv2.approxPolyDP(np.ascontiguousarray(ring, dtype=np.float32), DRAWN_WITHIN_PX, True)
    return tuple((x, y) for x, y in drawn.reshape(-1, 2).tolist())


def _right_of(points: Sequence[PointPx]) -> PointPx:
    x, y = max(points)
    return x + 8, y


def _left_of(points: Sequence[PointPx]) -> PointPx:
    """Just inside the upper left corner: large regions are labelled where nothing else is."""
    xs, ys = zip(*points, strict=True)
    return min(xs) + 8, min(ys) + 14


def _below(points: Sequence[PointPx]) -> PointPx:
    x, y = max(points, key=lambda point: point[1])
    return x + 6, y + 14


def _stroke_json(stroke: Stroke) -> dict[str, Any]:
    item: dict[str, Any] = {
        "kind": stroke.kind.value,
        "style": stroke.style,
        "xy": [round(value, 1) + 0.0 for point in stroke.points_px for value in point],
    }
    if stroke.text is not None:
        item["text"] = stroke.text
    if stroke.radius_px is not None:
        item["r"] = round(stroke.radius_px, 1)
    return item


_SHIFT = 4  # OpenCV's fixed-point coordinates: sixteenths of a pixel
_HALO_BGR = (12, 12, 12)
_STRIP_BGR = (24, 20, 16)
_MIN_SIDE_PX = 640
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_CAPITAL_PX = 22.0  # the height of its capitals at scale 1
# Before version 5 OpenCV's letters are ASCII only.
_ASCII = str.maketrans({"²": "2", "°": " deg", "·": "-", "µ": "u", "−": "-", "–": "-"})
_PLAIN_TEXT = int(cv2.__version__.split(".")[0]) < 5


def paint(
    pixels: Pixels, strokes: Sequence[Stroke], findings: Findings, alerts: Sequence[Alert] = (), bits: int = 8
) -> Bgr:
    """The annotated picture, (height, width, 3) uint8 BGR, both even: banner, picture, status, notices.

    The strips stand outside the picture, so that nothing of it is covered. A picture under 640 px is enlarged
    by a whole number, so that the words can be read. ``painted_size_px`` tells the size.
    """
    zoom = _zoom(*pixels.shape)
    picture = _base(pixels, bits, zoom)
    if findings.state is not FrameState.LIVE:
        picture = _dimmed(picture, 0.75 if findings.state is FrameState.HELD else 0.4)
    unit = picture.shape[0] / 1000
    for stroke in strokes:
        if stroke.kind not in (StrokeKind.TEXT, StrokeKind.NOTICE):
            _paint_line(picture, stroke, zoom, unit)
    _paint_labels(picture, [stroke for stroke in strokes if stroke.kind is StrokeKind.TEXT], zoom, unit)
    if findings.state is not FrameState.LIVE:
        _stamp(picture, findings.state)
    strip_px = _strip_px(picture.shape[0])
    width = picture.shape[1]
    status = _strip(width, strip_px, status_line(findings), (225, 220, 215))
    told = " · ".join(stroke.text or "" for stroke in strokes if stroke.kind is StrokeKind.NOTICE)
    limits = _strip(width, strip_px, told, _bgr(STYLES["notice"].colour))
    page = np.vstack([_banner(width, strip_px, alerts), picture, status, limits])
    # An odd side loses a line of the last strip, or the picture's last column.
    height, width = page.shape[0] // 2 * 2, page.shape[1] // 2 * 2
    return np.ascontiguousarray(page[:height, :width])


def painted_size_px(height_px: int, width_px: int) -> tuple[int, int]:
    """(height, width) of what ``paint`` makes of a picture of this size; it depends on nothing else."""
    zoom = _zoom(height_px, width_px)
    page_px = zoom * height_px + 3 * _strip_px(zoom * height_px)
    return page_px // 2 * 2, zoom * width_px // 2 * 2


def _zoom(height_px: int, width_px: int) -> int:
    return max(1, ceil(_MIN_SIDE_PX / max(height_px, width_px)))


def _strip_px(picture_height_px: int) -> int:
    return 2 * max(16, round(0.03 * picture_height_px))


def _base(pixels: Pixels, bits: int, zoom: int) -> Bgr:
    gray = pixels.astype(np.uint8) if bits == 8 else (pixels >> (bits - 8)).astype(np.uint8)
    if zoom > 1:
        gray = cv2.resize(gray, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR), dtype=np.uint8)


def _dimmed(picture: Bgr, share: float) -> Bgr:
    return np.asarray(cv2.convertScaleAbs(picture, alpha=share), dtype=np.uint8)


def _zoomed(points_px: Sequence[PointPx], zoom: int) -> NDArray[np.float64]:
    """Input pixel x covers ``zoom`` output pixels whose middle is (x + 1/2) zoom - 1/2."""
    return (np.array(points_px, dtype=np.float64) + 0.5) * zoom - 0.5


def _paint_line(picture: Bgr, stroke: Stroke, zoom: int, unit: float) -> None:
    style = STYLES[stroke.style]
    points = _zoomed(stroke.points_px, zoom)
    if stroke.kind is StrokeKind.CIRCLE:
        points = _circle(points[0], (stroke.radius_px or 0.0) * zoom)
    closed = stroke.kind is not StrokeKind.POLYLINE
    if style.fill and closed:
        _fill(picture, points, _bgr(style.colour), style.fill)
    pieces = _dashes(points, closed, [max(2.0, length * unit) for length in style.dash])
    fixed = [np.round(piece * 2**_SHIFT).astype(np.int32) for piece in pieces]
    width = max(1, round(style.width * unit))
    whole = closed and not style.dash
    cv2.polylines(picture, fixed, whole, _HALO_BGR, width + 2, cv2.LINE_AA, _SHIFT)
    cv2.polylines(picture, fixed, whole, _bgr(style.colour), width, cv2.LINE_AA, _SHIFT)


def _circle(centre: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    return centre + radius * np.column_stack([np.cos(turn), np.sin(turn)])


def _dashes(points: NDArray[np.float64], closed: bool, pattern: Sequence[float]) -> list[NDArray[np.float64]]:
    """The drawn parts of a line with the dash pattern (on, off), corners kept; without one the whole line."""
    if not pattern:
        return [points]
    line = np.vstack([points, points[:1]]) if closed else points
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    on, off = pattern
    pieces = []
    for start in np.arange(0.0, along[-1], on + off):
        end = min(start + on, along[-1])
        inner = (along > start) & (along < end)
        stops = np.concatenate([[start], along[inner], [end]])
        pieces.append(np.column_stack([np.interp(stops, along, line[:, axis]) for axis in (0, 1)]))
    return pieces


def _fill(picture: Bgr, points: NDArray[np.float64], colour: tuple[int, int, int], opacity: float) -> None:
    height, width = picture.shape[:2]
    x0, y0 = np.clip(np.floor(points.min(axis=0)).astype(int), 0, (width, height))
    x1, y1 = np.clip(np.ceil(points.max(axis=0)).astype(int) + 1, 0, (width, height))
    if x0 >= x1 or y0 >= y1:
        return
    region = picture[y0:y1, x0:x1]
    tinted = region.copy()
    cv2.fillPoly(tinted, [np.round((points - (x0, y0)) * 2**_SHIFT).astype(np.int32)], colour, cv2.LINE_AA, _SHIFT)
    cv2.addWeighted(tinted, opacity, region, 1 - opacity, 0, dst=region)


def _paint_labels(picture: Bgr, labels: Sequence[Stroke], zoom: int, unit: float) -> None:
    """Each label on a dark ground beside its anchor; where two overlap the less important one moves down."""
    taken: list[tuple[float, float, float, float]] = []
    for label in sorted(labels, key=lambda label: not STYLES[label.style].essential):
        words = _writable(label.text or "")
        scale = max(11.0, LABEL_HEIGHT * unit) / _CAPITAL_PX
        (width, height), _ = cv2.getTextSize(words, _FONT, scale, 1)
        x, middle = _zoomed(label.points_px, zoom)[0]
        x = min(max(x, 4.0), max(4.0, picture.shape[1] - width - 4.0))
        step = 1.7 * height
        top = min(max(middle - step / 2, 0.0), picture.shape[0] - step)
        while any(x < x1 and x0 < x + width and top < y1 and y0 < top + step for x0, y0, x1, y1 in taken):
            top += 2
        taken.append((x, top, x + width, top + step))
        corners = np.array([[x - 3, top], [x + width + 3, top], [x + width + 3, top + step], [x - 3, top + step]])
        _fill(picture, corners, _HALO_BGR, 0.6)
        place = (round(x), round(top + (step + height) / 2))
        cv2.putText(picture, words, place, _FONT, scale, _bgr(STYLES[label.style].colour), 1, cv2.LINE_AA)


def _writable(words: str) -> str:
    return words.translate(_ASCII) if _PLAIN_TEXT else words


def _stamp(picture: Bgr, state: FrameState) -> None:
    word, detail = STATE_WORDS[state]
    height, width = picture.shape[:2]
    # A held picture is still looked at: its mark stays off the middle.
    y = 0.06 * height if state is FrameState.HELD else 0.5 * height
    _centred(picture, word, y, 0.05 * height)
    _centred(picture, detail, y + 0.07 * height, 0.022 * height)
    cv2.rectangle(picture, (1, 1), (width - 2, height - 2), (200, 200, 200), max(2, round(0.004 * height)))


def _centred(picture: Bgr, words: str, y: float, height_px: float) -> None:
    scale, thickness = max(11.0, height_px) / _CAPITAL_PX, max(1, round(height_px / 20))
    (width, height), _ = cv2.getTextSize(words, _FONT, scale, thickness)
    place = (max(4, (picture.shape[1] - width) // 2), round(y + height / 2))
    ground = np.array([[place[0] - 8, y - height], [place[0] + width + 8, y - height]])
    _fill(picture, np.vstack([ground, ground[::-1] + np.array([0, 2 * height])]), _HALO_BGR, 0.6)
    cv2.putText(picture, words, place, _FONT, scale, (255, 255, 255), thickness, cv2.LINE_AA)


def _banner(width: int, height: int, alerts: Sequence[Alert]) -> Bgr:
    alert = worst(alerts)
    if alert is None:
        return _strip(width, height, NOTHING_ACTIVE, (200, 190, 180))
    look = ALARM_LOOKS[alert.priority]
    more = f" (+{len(alerts) - 1} more)" if len(alerts) > 1 else ""
    seen = " (acknowledged)" if alert.state is AlertState.ACKNOWLEDGED else ""
    words = f"{look.marks} {alert.text}{seen}{more}"
    return _strip(width, height, words, _bgr(look.ink), _bgr(look.colour), bold=True)


def _strip(
    width: int,
    height: int,
    words: str,
    ink: tuple[int, int, int],
    ground: tuple[int, int, int] = _STRIP_BGR,
    bold: bool = False,
) -> Bgr:
    """One line of words, as large as the strip allows."""
    strip = np.full((height, width, 3), ground, dtype=np.uint8)
    words = _writable(words)
    thickness = 2 if bold else 1
    scale = 0.5 * height / _CAPITAL_PX
    (extent, _), _ = cv2.getTextSize(words, _FONT, scale, thickness)
    # Letters do not shrink quite as their scale does.
    scale *= min(1.0, 0.94 * (width - 16) / max(1, extent))
    (_, letter), _ = cv2.getTextSize(words, _FONT, scale, thickness)
    cv2.putText(strip, words, (8, (height + letter) // 2), _FONT, scale, ink, thickness, cv2.LINE_AA)
    return strip


def _bgr(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour[1:])
    return blue, green, red
