"""How strokes, states and priorities look: one table for the browser and for what is painted.

Red and yellow are kept for active alerts (IEC 60601-1-8); every meaning is also told by a dash, a width or a word,
never by colour alone.
"""

from dataclasses import asdict, dataclass
from typing import Any

from guidance.records import FrameState, Priority, View


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
    "needle_hidden": Style("#38d6ff", 3.0, (3, 4), 0.0, essential=True),
    "needle_predicted": Style("#38d6ff", 2.4, (6, 6), 0.0, essential=True),
    "needle_distance": Style("#38d6ff", 1.8, (3, 6)),
    "cement_distance": Style("#ff9f45", 1.8, (3, 6)),
    "truth": Style("#ffffff", 2.0, (8, 14)),
    "true_tip": Style("#ffffff", 2.0),
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

NOTHING_ACTIVE = "Alerts: none detected"
ZONES_NOT_WATCHED = "Zones not watched"
SCALE_ASSUMED = "Scale assumed: millimetres are good to a third"
VIEW_LIMITS: dict[View | None, str] = {
    View.LATERAL: "A lateral view cannot show the foramina",
    None: "View unknown: a lateral view cannot show the foramina",
}
"""What a view cannot show, whatever is found on it."""


def look_json() -> dict[str, Any]:
    """How strokes, states and priorities look: what ``paint`` uses, for the browser."""
    return {
        "styles": {name: asdict(style) for name, style in STYLES.items()},
        "states": {state.value: {"word": word, "detail": detail} for state, (word, detail) in STATE_WORDS.items()},
        "alarms": {priority.value: asdict(look) for priority, look in ALARM_LOOKS.items()},
        "label_height": LABEL_HEIGHT,
        "nothing_active": NOTHING_ACTIVE,
    }
