"""The nouns of the project: frozen records without behaviour.

Pixels are (x, y), x right, y down, (0, 0) the centre of the top-left pixel of the input frame. Times are seconds
from the first frame's timestamp. Angles are degrees. Areas are mm² in the plane that ``mm_per_px`` calibrates.
What is unknown is None. ``docs/data-formats.md`` describes the same fields as they are written to files.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

PolygonPx = NDArray[np.float64]
"""Vertices, shape (n, 2), columns x and y, in input-frame pixels."""

PointPx = tuple[float, float]


class FrameState(StrEnum):
    """What a frame is worth."""

    LIVE = "live"
    HELD = "held"
    FROZEN = "frozen"
    NO_SIGNAL = "no_signal"
    CORRUPT = "corrupt"


class Phase(StrEnum):
    """Where in the procedure a frame lies."""

    BASELINE = "baseline"
    EPIDUROGRAM = "epidurogram"
    NEEDLE = "needle"
    CEMENT = "cement"


class View(StrEnum):
    """From where the C-arm looks."""

    AP = "ap"
    LATERAL = "lateral"


class ZoneKind(StrEnum):
    """What a zone of the plan means."""

    FORBIDDEN = "forbidden"
    CAUTION = "caution"
    TARGET = "target"
    BODY = "body"


@dataclass(frozen=True, slots=True, eq=False)
class Zone:
    """A region of the anatomy, drawn on its view's reference frame. ``view`` None: whichever view is first."""

    id: str
    kind: ZoneKind
    polygon_px: PolygonPx
    view: View | None = None


@dataclass(frozen=True, slots=True)
class PhaseMark:
    """From ``at_s`` on the procedure is in ``phase``."""

    at_s: float
    phase: Phase


@dataclass(frozen=True, slots=True)
class ViewMark:
    """The frame at ``reference_s`` is the one on which this view's zones are drawn."""

    view: View
    reference_s: float


@dataclass(frozen=True, slots=True, eq=False)
class CasePlan:
    """What the operator knows of a case; every part may be missing."""

    mm_per_px: float | None = None
    needle_diameter_mm: float | None = None
    view: View | None = None
    phases: tuple[PhaseMark, ...] = ()
    zones: tuple[Zone, ...] = ()
    views: tuple[ViewMark, ...] = ()
    picture_px: tuple[int, int] | None = None
    """Width and height of the pictures that the zones are drawn on."""
    limits: tuple[tuple[str, float], ...] = ()
    """The case's own thresholds, by the names that ``safety.limits.Limits`` has for them."""


class FieldKind(StrEnum):
    """The shape of the irradiated part of the video frame."""

    CIRCLE = "circle"
    OCTAGON = "octagon"
    RECTANGLE = "rectangle"
    POLYGON = "polygon"
    FULL = "full"


@dataclass(frozen=True, slots=True, eq=False)
class FieldOutline:
    """The x-ray field inside the video frame. ``bone_dark``: absorbers are shown darker than air."""

    kind: FieldKind
    polygon_px: PolygonPx
    bone_dark: bool


@dataclass(frozen=True, slots=True)
class Registration:
    """How far the anatomy has moved since its view's reference frame: rotate about the frame's centre, then shift.

    ``rotation_deg`` is counter-clockwise as seen on the screen (y up). ``ok`` False: zones can't be trusted here.
    """

    shift_px: PointPx
    rotation_deg: float
    confidence: float
    ok: bool


@dataclass(frozen=True, slots=True)
class Needle:
    """A bone access needle. ``shaft_px`` runs from the tip backwards, None when seen end-on.

    ``angle_deg``: direction from the tip back along the shaft, counter-clockwise from +x with y up, in (-180, 180].
    ``depth_share``: 0 at a vertebral body's posterior wall, 1 at its anterior cortex; None without such a zone.
    ``tip_hidden``: cement or metal covers the tip, which is told where it was last seen.
    """

    id: int
    tip_px: PointPx
    shaft_px: tuple[PointPx, PointPx] | None
    angle_deg: float | None
    diameter_px: float | None
    depth_share: float | None
    predicted: bool
    confidence: float
    tip_hidden: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class NerveRoot:
    """A contrast-filled root of the epidurogram, kept as a roadmap after the contrast has washed out."""

    id: int
    polygons_px: tuple[PolygonPx, ...]
    centerline_px: PolygonPx
    area_mm2: float | None


@dataclass(frozen=True, slots=True, eq=False)
class CementDeposit:
    """One connected deposit of cement (several rings where it is in pieces). ``front_mm_per_s``: its fastest edge."""

    id: int
    polygons_px: tuple[PolygonPx, ...]
    area_mm2: float | None
    growth_mm2_per_s: float | None = None
    front_mm_per_s: float | None = None
    front_px: PointPx | None = None
    run_mm: float | None = None
    """Length of a thin, fast run leaving the deposit at ``front_px``; None when there is none."""
    run_log_ratio: float = 0.0
    """How much likelier a front that advances makes the last pulses than anything else, as a natural logarithm."""
    needle: int | None = None
    """The needle that feeds it: at whose tip it was first seen to lie; None where it came up away from all."""
    is_held: bool = False
    """It is told as it was last seen, because the anatomy moves too fast or is not recognised."""


class ScaleSource(StrEnum):
    """Where the millimetres come from."""

    PLAN = "plan"
    NEEDLE = "needle"
    HEADER = "header"
    ASSUMED = "assumed"
    """From the usual size of an x-ray field: good to a third. Areas are not told with it, alarms still work."""


@dataclass(frozen=True, slots=True)
class Scale:
    """``mm_per_px`` and its origin; from a needle it holds at the needle's depth."""

    mm_per_px: float
    source: ScaleSource


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """All that is seen on one frame. A frame that is not a new pulse repeats the last findings."""

    frame: int
    t_s: float
    state: FrameState
    phase: Phase
    phase_inferred: bool
    view: View | None
    view_id: int
    """Which stored view this is, counted from 0 in the order of appearance; -1 before the first picture."""
    field: FieldOutline | None
    registration: Registration | None
    scale: Scale | None
    zones: tuple[Zone, ...] = ()
    """The plan's zones of this view, moved with the anatomy to where they are on this frame."""
    needles: tuple[Needle, ...] = ()
    nerve_roots: tuple[NerveRoot, ...] = ()
    cement: tuple[CementDeposit, ...] = ()
    pulse: int = 0
    """How many distinct x-ray pulses have been analysed so far; does not advance on a repeated picture."""
    latency_ms: float | None = None
    input_fault: str | None = None
    """What a live source says is wrong with its input, in words; None while nothing is, and in a replay."""


class Priority(StrEnum):
    """IEC 60601-1-8's alarm priorities."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class AlertKind(StrEnum):
    """What is wrong: with the patient, or with what watches (``TECHNICAL``)."""

    CEMENT_IN_ZONE = "cement_in_zone"
    CEMENT_NEAR_ZONE = "cement_near_zone"
    CEMENT_ESCAPE = "cement_escape"
    CEMENT_NEAR_ROOT = "cement_near_root"
    NEEDLE_IN_ZONE = "needle_in_zone"
    NEEDLE_NEAR_ZONE = "needle_near_zone"
    NEEDLE_NEAR_ROOT = "needle_near_root"
    VIDEO_LOST = "video_lost"
    VIDEO_FROZEN = "video_frozen"
    VIDEO_CORRUPT = "video_corrupt"
    REFERENCE_LOST = "reference_lost"
    ANALYSIS_BEHIND = "analysis_behind"
    DISK_FILLING = "disk_filling"
    RECORDER_STOPPED = "recorder_stopped"
    RECORDER_BEHIND = "recorder_behind"
    SUBSCRIBER_LOST = "subscriber_lost"


TECHNICAL = frozenset(
    {
        AlertKind.VIDEO_LOST,
        AlertKind.VIDEO_FROZEN,
        AlertKind.VIDEO_CORRUPT,
        AlertKind.REFERENCE_LOST,
        AlertKind.ANALYSIS_BEHIND,
        AlertKind.DISK_FILLING,
        AlertKind.RECORDER_STOPPED,
        AlertKind.RECORDER_BEHIND,
        AlertKind.SUBSCRIBER_LOST,
    }
)
"""Kinds that say that the watching is impaired; all others say that the patient may be in danger."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that is wrong on this frame; the alarms decide whether and when it is told.

    ``zone``, ``needle``, ``root`` and ``subject`` (a subscriber's name, the recording) say where: one condition for
    each place.
    """

    kind: AlertKind
    priority: Priority
    value: float
    unit: str
    text: str
    zone: str | None = None
    needle: int | None = None
    root: int | None = None
    subject: str | None = None


class AlertState(StrEnum):
    """What has last happened to an alert. ``CLEARED``: its condition is no longer seen."""

    RAISED = "raised"
    CLEARED = "cleared"
    ACKNOWLEDGED = "acknowledged"


@dataclass(frozen=True, slots=True)
class Alert:
    """One change of one alert, or how it stands since its last one.

    ``active`` False: this was its last change, and it is shown no more. One that is cleared and still active is
    latched: its condition is no longer seen, but nobody has acknowledged it. ``first_seen_t_s``: the frame on which
    its condition was first seen, before it had lasted long enough. ``by``: who acknowledged it.
    """

    id: int
    kind: AlertKind
    priority: Priority
    state: AlertState
    frame: int
    t_s: float
    zone: str | None
    needle: int | None
    value: float
    unit: str
    text: str
    root: int | None = None
    subject: str | None = None
    first_seen_t_s: float | None = None
    active: bool = True
    by: str | None = None


@dataclass(frozen=True, slots=True)
class Audio:
    """What must be heard now. ``sounding``: the worst priority that nobody has acknowledged; None while paused.

    ``paused_s``: seconds of audio pause left, 0 while there is none.
    """

    sounding: Priority | None = None
    paused_s: float = 0.0
