"""Which alerts of a replay were true, which were false, and how late the true ones came.

An alert is true when the truth shows what it says within a margin of measurement around the moment it was raised: what
lies just outside a threshold may be told either way, because no film can settle it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.casebook.case import CaseTruth, FrameTruth
from guidance.records import Alert, AlertKind, AlertState, FrameState, PolygonPx
from guidance.safety.limits import Limits
from guidance.safety.shapes import depth_in_px

MARGIN_MM = 1.5
"""How far a true thing may lie beyond a distance threshold and still have earned its alert."""

AREA_MARGIN = 0.5
"""Share of the area threshold from which a breach may be told."""

AROUND_S = 0.5
"""An alert may come this much after what it tells was last true: lag and persistence keep it back."""

STUB_MM = 10.0
"""Of less than three diameters of shaft nobody can tell a needle from a bone's edge."""

ALARM_DUE_PULSES = 3
"""So many pulses after a tip has come into a zone its alert is due; one that has passed through by then is no breach.
A display's recursive filter shows a tip that moves so fast as a trail without an end."""

SETTLING_S = 2.0
"""After a swing, or when video returns, technical alerts may stand this long."""


Danger = tuple[AlertKind, str | None]
"""What must be told, and of which zone."""


@dataclass(frozen=True, slots=True)
class AlertScore:
    """``first_frames``: of each true danger. ``delays_pulses``: from there to its alert; None: missed."""

    first_frames: dict[Danger, int]
    delays_pulses: dict[Danger, int | None]
    false: tuple[Alert, ...]

    def delays_of(self, kind: AlertKind) -> list[int | None]:
        """The delays of all dangers of one kind."""
        return [delay for (danger, _), delay in self.delays_pulses.items() if danger is kind]


def score_alerts(changes: Sequence[Alert], truth: CaseTruth, limits: Limits) -> AlertScore:
    """Hold every raised alert against the truth, and every true danger against the alerts."""
    raised = [change for change in changes if change.state is AlertState.RAISED]
    firsts = first_dangers(truth, limits)
    delays = {danger: _delay(danger, first, raised, truth) for danger, first in firsts.items()}
    return AlertScore(firsts, delays, tuple(alert for alert in raised if not _is_true(alert, truth, limits)))


def first_dangers(truth: CaseTruth, limits: Limits) -> dict[Danger, int]:
    """Each leak, needle breach and escape with the first live frame on which it is true."""
    first: dict[Danger, int] = {}
    live = [frame for frame in truth.frames if frame.state is FrameState.LIVE]
    for frame in live:
        for danger in _cement_dangers(frame, limits):
            first.setdefault(danger, frame.frame)
    for zone, frame in _breaches(live, truth.mm_per_px):
        first.setdefault((AlertKind.NEEDLE_IN_ZONE, zone), frame.frame)
    return first


def _breaches(live: Iterable[FrameTruth], mm_per_px: float) -> Iterator[tuple[str, FrameTruth]]:
    """Each stay of a tip in a zone that lasts until its alert is due: the zone and the frame that it begins on."""
    begun: dict[str, FrameTruth] = {}
    for frame in live:
        for zone in frame.tip_in_zone:
            if not _shows_a_tip_in(zone, frame, mm_per_px):
                begun.pop(zone, None)
            elif frame.pulse - begun.setdefault(zone, frame).pulse >= ALARM_DUE_PULSES:
                yield zone, begun[zone]


def _shows_a_tip_in(zone: str, frame: FrameTruth, mm_per_px: float) -> bool:
    """Whether a tip lies in the zone, and enough of a shaft is to be seen to be known for a needle's."""
    lengths_px = (tip.shaft_px for tip in frame.tips if tip.visible)
    is_seen = any(px is None or px * mm_per_px >= STUB_MM for px in lengths_px)
    return frame.tip_in_zone[zone] and is_seen


def _cement_dangers(frame: FrameTruth, limits: Limits) -> Iterator[Danger]:
    # Behind an instrument nobody sees a leak: it must be told once it comes out, and may be told before.
    for zone, area_mm2 in (frame.leak_mm2 | frame.leak_beside_steel_mm2).items():
        if area_mm2 >= limits.cement_in_zone_mm2:
            yield AlertKind.CEMENT_IN_ZONE, zone
    if frame.escape:
        yield AlertKind.CEMENT_ESCAPE, None


def _delay(danger: Danger, first: int, raised: Iterable[Alert], truth: CaseTruth) -> int | None:
    told = [alert.frame for alert in raised if (alert.kind, alert.zone) == danger]
    if not told:
        return None
    # Before the first true frame is not late; whether it was too early is for ``_is_true`` to say.
    return max(0, truth.frames[min(told)].pulse - truth.frames[first].pulse)


def _is_true(alert: Alert, truth: CaseTruth, limits: Limits) -> bool:
    around = _around(alert, truth)
    match alert.kind:
        case AlertKind.CEMENT_IN_ZONE:
            enough = limits.cement_in_zone_mm2 * AREA_MARGIN
            return any(frame.leak_mm2.get(alert.zone or "", 0.0) >= enough for frame in around)
        case AlertKind.CEMENT_NEAR_ZONE:
            return _cement_comes_near(alert, truth, limits)
        case AlertKind.CEMENT_NEAR_ROOT:
            reach_px = (limits.cement_near_root_mm + MARGIN_MM) / truth.mm_per_px
            return any(_masks_meet(frame, reach_px) for frame in around)
        case AlertKind.CEMENT_ESCAPE:
            return any(frame.escape for frame in around)
        case AlertKind.NEEDLE_IN_ZONE:
            return any(_tip_gap_mm(frame, alert.zone, truth) <= MARGIN_MM for frame in around)
        case AlertKind.NEEDLE_NEAR_ZONE:
            near_mm = limits.needle_near_zone_mm + MARGIN_MM
            return any(_tip_gap_mm(frame, alert.zone, truth) <= near_mm for frame in around)
        case AlertKind.NEEDLE_NEAR_ROOT:
            reach_px = (limits.needle_near_root_mm + MARGIN_MM) / truth.mm_per_px
            return any(_tip_meets_roots(frame, reach_px) for frame in around)
        case AlertKind.REFERENCE_LOST:
            return any(frame.view is None or _view_changes(frame, truth) for frame in _around(alert, truth, SETTLING_S))
        case AlertKind.VIDEO_LOST | AlertKind.VIDEO_FROZEN | AlertKind.VIDEO_CORRUPT:
            state = {
                AlertKind.VIDEO_LOST: FrameState.NO_SIGNAL,
                AlertKind.VIDEO_FROZEN: FrameState.FROZEN,
                AlertKind.VIDEO_CORRUPT: FrameState.CORRUPT,
            }[alert.kind]
            return any(frame.state is state for frame in around)
        case (
            AlertKind.ANALYSIS_BEHIND
            | AlertKind.DISK_FILLING
            | AlertKind.RECORDER_STOPPED
            | AlertKind.RECORDER_BEHIND
            | AlertKind.SUBSCRIBER_LOST
        ):
            # Only a service can be behind or miss somebody, never a replay.
            return False


def _around(alert: Alert, truth: CaseTruth, before_s: float = AROUND_S) -> list[FrameTruth]:
    return [frame for frame in truth.frames if alert.t_s - before_s <= frame.t_s <= alert.t_s + 1e-6]


def _cement_comes_near(alert: Alert, truth: CaseTruth, limits: Limits) -> bool:
    """Whether cement lies near the zone when the alert is raised, or reaches it in the time that it warns of."""
    near_px = (limits.cement_near_zone_mm + MARGIN_MM) / truth.mm_per_px
    for frame in truth.frames:
        soon = alert.t_s - AROUND_S <= frame.t_s <= alert.t_s + limits.cement_arrival_s + AROUND_S
        zone = frame.zones.get(alert.zone or "")
        if soon and zone is not None and frame.cement is not None:
            ys, xs = np.nonzero(frame.cement.mask())
            if len(xs) and _nearest_px(np.column_stack([xs, ys]), np.array(zone)) <= near_px:
                return True
    return False


def _nearest_px(points: PolygonPx, zone: PolygonPx) -> float:
    # Every third point of a solid mask is as near as its neighbours, to a pixel.
    return min(max(0.0, -depth_in_px((float(x), float(y)), zone)) for x, y in points[::3])


def _masks_meet(frame: FrameTruth, reach_px: float) -> bool:
    if frame.cement is None or frame.roots is None:
        return False
    return bool((_distance_px(frame.roots.mask())[frame.cement.mask() > 0] <= reach_px).any())


def _tip_meets_roots(frame: FrameTruth, reach_px: float) -> bool:
    if frame.roots is None:
        return False
    distance = _distance_px(frame.roots.mask())
    h, w = distance.shape
    for tip in frame.tips:
        x, y = round(tip.tip_px[0]), round(tip.tip_px[1])
        if 0 <= x < w and 0 <= y < h and distance[y, x] <= reach_px:
            return True
    return False


def _tip_gap_mm(frame: FrameTruth, zone: str | None, truth: CaseTruth) -> float:
    polygon = frame.zones.get(zone or "")
    if polygon is None:
        return np.inf
    return min((-depth_in_px(tip.tip_px, np.array(polygon)) for tip in frame.tips), default=np.inf) * truth.mm_per_px


def _distance_px(mask: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(cv2.distanceTransform(cv2.bitwise_not(mask), cv2.DIST_L2, 5), dtype=np.float32)


def _view_changes(frame: FrameTruth, truth: CaseTruth) -> bool:
    return frame.frame > 0 and truth.frames[frame.frame - 1].view is not frame.view
