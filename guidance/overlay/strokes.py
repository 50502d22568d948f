"""What is drawn over a picture, and what is said beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import hypot
from typing import Any

import cv2
import numpy as np

from guidance.overlay.distances import Distance, cement_distance, distance_words, needle_distance
from guidance.overlay.look import ALARM_LOOKS, SCALE_ASSUMED, VIEW_LIMITS, ZONES_NOT_WATCHED
from guidance.records import (
    Alert,
    AlertKind,
    AlertState,
    CementDeposit,
    Findings,
    Needle,
    NerveRoot,
    PointPx,
    PolygonPx,
    Scale,
    ScaleSource,
    View,
    Zone,
    ZoneKind,
)
from guidance.safety.alarms import worst_first


class StrokeKind(StrEnum):
    """How a stroke's points are joined."""

    POLYLINE = "polyline"
    POLYGON = "polygon"
    CIRCLE = "circle"
    TEXT = "text"
    NOTICE = "notice"
    DISTANCE = "distance"


@dataclass(frozen=True, slots=True)
class Stroke:
    """One thing to draw. ``points_px`` are input-frame pixels; a circle has its centre, a text its anchor.

    A text stands right of its anchor, its middle at the anchor's height. ``radius_px`` belongs to circles. A
    notice has no point: its words must stand beside the picture. A distance is a line between two points whose words
    belong to the ``subject`` that it starts from, ``needle 1`` or ``cement 2``.
    """

    kind: StrokeKind
    points_px: tuple[PointPx, ...]
    style: str
    text: str | None = None
    radius_px: float | None = None
    subject: str | None = None


DRAWN_WITHIN_PX = 1.5
"""How far a drawn outline of cement or a root may lie from the found one."""

_INSIDE = {AlertKind.CEMENT_IN_ZONE, AlertKind.NEEDLE_IN_ZONE}
_NEEDLE_ALERTS = {AlertKind.NEEDLE_IN_ZONE, AlertKind.NEEDLE_NEAR_ZONE, AlertKind.NEEDLE_NEAR_ROOT}


def draw(findings: Findings, alerts: Sequence[Alert] = ()) -> tuple[Stroke, ...]:
    """What to draw over one frame, the most important last (on top), then its notices.

    ``alerts`` are the active ones; those whose condition is no longer seen are words, and nothing on the picture.
    """
    alerts = [alert for alert in alerts if alert.state is not AlertState.CLEARED]
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
        strokes += _distance("cement", deposit.id, cement_distance(deposit, findings), findings.scale)
        strokes += _cement(deposit)
    for zone in breached:
        strokes += _zone(zone, findings, alerts)
    for needle in findings.needles:
        distance = needle_distance(needle, findings)
        strokes += _distance("needle", needle.id, distance, findings.scale)
        words = None if distance is None else distance_words(distance, findings.scale)
        strokes += _needle(needle, [a for a in alerts if a.needle == needle.id and a.kind in _NEEDLE_ALERTS], words)
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
    if findings.view in VIEW_LIMITS:
        words.append(VIEW_LIMITS[findings.view])
    if findings.scale is not None and findings.scale.source is ScaleSource.ASSUMED:
        words.append(SCALE_ASSUMED)
    return tuple(words)


def worst(alerts: Sequence[Alert]) -> Alert | None:
    """The active alert of the highest priority; None where there is none."""
    return next(iter(worst_first(alerts)), None)


def told_first(alerts: Sequence[Alert]) -> tuple[Alert | None, Alert | None]:
    """The alert that the banner tells, and the acknowledged one that it states beside it.

    What nobody has acknowledged comes first, however low its priority: the team acts on an acknowledged one already,
    and must not miss the other behind it. None where there is none.
    """
    acknowledged = [alert for alert in alerts if alert.state is AlertState.ACKNOWLEDGED]
    waiting = worst([alert for alert in alerts if alert.state is not AlertState.ACKNOWLEDGED])
    return (waiting, worst(acknowledged)) if waiting is not None else (worst(acknowledged), None)


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


def _distance(what: str, number: int, distance: Distance | None, scale: Scale | None) -> list[Stroke]:
    if distance is None:
        return []
    ends = (distance.from_px, distance.to_px)
    words = distance_words(distance, scale)
    return [Stroke(StrokeKind.DISTANCE, ends, f"{what}_distance", words, subject=f"{what} {number}")]


def _needle(needle: Needle, alerts: Sequence[Alert], distance: str | None) -> list[Stroke]:
    """A ring that leaves the tip itself to be seen, dotted where the tip is covered, and the shaft from the ring on."""
    radius_px = 0.8 * needle.diameter_px if needle.diameter_px else 8.0
    tip_style = "needle_predicted" if needle.predicted else "needle_hidden" if needle.tip_hidden else "needle_tip"
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
    elif needle.tip_hidden:
        words += " tip hidden"
    alert = worst(alerts)
    if alert is not None:
        words = f"{ALARM_LOOKS[alert.priority].marks} {words} · {_quantity(alert)}"
    elif distance is not None:
        words += f" · {distance}"
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
    if stroke.subject is not None:
        item["subject"] = stroke.subject
    return item
