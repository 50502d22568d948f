"""The overlay in pixels: for the annotated video and for stills."""

from collections.abc import Sequence
from math import ceil

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.frame import Pixels
from guidance.overlay.look import ALARM_LOOKS, LABEL_HEIGHT, NOTHING_ACTIVE, STATE_WORDS, STYLES
from guidance.overlay.strokes import Stroke, StrokeKind, status_line, told_first
from guidance.records import Alert, AlertState, Findings, FrameState, PointPx

Bgr = NDArray[np.uint8]

_SHIFT = 4  # OpenCV's fixed-point coordinates: sixteenths of a pixel
_HALO_BGR = (12, 12, 12)
_STRIP_BGR = (24, 20, 16)
_MIN_SIDE_PX = 640
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_CAPITAL_PX = 22.0  # the height of its capitals at scale 1
# Before version 5 OpenCV's letters are ASCII only.
_ASCII = str.maketrans({"²": "2", "°": " deg", "·": "-", "µ": "u", "−": "-", "–": "-", "≈": "~"})
_PLAIN_TEXT = int(cv2.__version__.split(".")[0]) < 5


def paint(
    pixels: Pixels, strokes: Sequence[Stroke], findings: Findings, alerts: Sequence[Alert] = (), bits: int = 8
) -> Bgr:
    """The annotated picture, (height, width, 3) uint8 BGR, both even: banner, picture, status, notices.

    The strips stand outside the picture, so that nothing of it is covered. A picture under 640 px is enlarged
    by a whole number, so that the words can be read. The size depends on nothing but the
    input's size.
    """
    picture = paint_over(pixels, strokes, findings, bits)
    strip_px = _strip_px(picture.shape[0])
    width = picture.shape[1]
    status = _strip(width, strip_px, status_line(findings), (225, 220, 215))
    told = " · ".join(stroke.text or "" for stroke in strokes if stroke.kind is StrokeKind.NOTICE)
    limits = _strip(width, strip_px, told, _bgr(STYLES["notice"].colour))
    page = np.vstack([_banner(width, strip_px, alerts), picture, status, limits])
    # An odd side loses a line of the last strip, or the picture's last column.
    height, width = page.shape[0] // 2 * 2, page.shape[1] // 2 * 2
    return np.ascontiguousarray(page[:height, :width])


def paint_over(pixels: Pixels, strokes: Sequence[Stroke], findings: Findings, bits: int = 8) -> Bgr:
    """The picture with its overlay alone, (height, width, 3) uint8 BGR; enlarged as by ``paint``."""
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
    return picture


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
    closed = stroke.kind in (StrokeKind.POLYGON, StrokeKind.CIRCLE)
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
    alert, stated = told_first(alerts)
    if alert is None:
        return _strip(width, height, NOTHING_ACTIVE, (200, 190, 180))
    look = ALARM_LOOKS[alert.priority]
    others = len(alerts) - (1 if stated is None else 2)
    more = "" if stated is None else f" (acknowledged: {stated.text})"
    more += f" (+{others} more)" if others else ""
    seen = {AlertState.ACKNOWLEDGED: " (acknowledged)", AlertState.CLEARED: " (no longer seen)"}.get(alert.state, "")
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
