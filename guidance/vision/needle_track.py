"""Which needle is which, from pulse to pulse and from view to view, and how deep it is."""

from dataclasses import dataclass, field
from math import atan2, degrees, hypot

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.records import Needle, PointPx, Zone
from guidance.vision.geometry import RigidMotion

Floats = NDArray[np.float64]

PREDICTED_FOR_S = 0.5
"""A needle that is not seen is carried on at its last velocity for this long, marked as predicted, then ends."""
REMEMBERED_FOR_S = 30.0
"""For this long of its own view's time a needle that ended takes its old id when it returns along its line."""
CERTAIN = 0.95
"""A needle of this confidence is told on its first pulse; others on their second."""
USUAL_DIAMETER_PX = 12.0
"""The unit of all gates where a diameter could not be measured."""
TIP_GATE_DIAMETERS = 3.0
FASTEST_DIAMETERS_PER_S = 20.0
"""Six centimetres a second for an 11-gauge needle: a hand on a mallet, not a swing of the C-arm."""
LINE_GATE_DIAMETERS = 1.5
STEADY_PULSES = 3
HIDDEN_ADVANCE_DIAMETERS = 3.0
"""A tip that advances out of sight is taken for still up to this far, and believed beyond."""
LEAST_RETREAT_DIAMETERS = 0.35
TURN_GATE_DEG = 10.0


@dataclass(frozen=True, slots=True)
class NeedleSighting:
    """A needle seen on one picture, all in input-frame pixels and the contract's angles.

    ``shaft_px`` runs from the tip backwards; it and ``angle_deg`` are None for a needle seen end-on.
    ``confidence`` is meant as the share of such sightings that are right. ``tip_hidden``: what lies ahead of the tip
    is about as dark as steel (cement, another instrument), so the tip may lie farther back than it seems.
    ``dark_ahead_px``: for so far ahead of the tip the axis is as dark as the shaft's end, so that steel may be there.
    """

    tip_px: PointPx
    shaft_px: tuple[PointPx, PointPx] | None
    angle_deg: float | None
    diameter_px: float | None
    confidence: float
    tip_hidden: bool = False
    dark_ahead_px: float = 0.0


@dataclass(slots=True, eq=False)
class _Track:
    """One needle in the coordinates of its view's reference frame, so that breathing does not move it."""

    id: int
    tip: Floats
    back: Floats | None
    diameter_px: float | None
    confidence: float
    seen_at_s: float
    view_clock_s: float
    velocity: Floats = field(default_factory=lambda: np.zeros(2))
    pulses: int = 1
    told: bool = False

    @property
    def unit_px(self) -> float:
        return self.diameter_px or USUAL_DIAMETER_PX

    def tip_at(self, t_s: float) -> Floats:
        return self.tip + self.velocity * min(PREDICTED_FOR_S, max(0.0, t_s - self.seen_at_s))


@dataclass(slots=True, eq=False)
class _ViewMemory:
    """The needles of one stored view; its clock stands still while another view is on the screen."""

    tracks: list[_Track] = field(default_factory=list)
    clock_s: float = 0.0
    updated_at_s: float | None = None


class NeedleTracker:
    """Gives sightings their identity. Call ``update`` once a new x-ray pulse.

    Tips are followed in the anatomy's coordinates with a constant velocity and two gates: by tip (it can only have
    moved so far) and by line (a needle that comes back where it left, or after an occlusion, lies on its old axis).
    What it misses: two needles that swap places along the same line while neither is seen.
    """

    def __init__(self) -> None:
        self._views: dict[int, _ViewMemory] = {}
        self._next_id = 1
        self._view_id: int | None = None

    def update(
        self,
        sightings: tuple[NeedleSighting, ...],
        t_s: float,
        motion: RigidMotion,
        view_id: int,
        bodies: tuple[Zone, ...] = (),
        may_begin: bool = True,
    ) -> tuple[Needle, ...]:
        """The needles of this pulse in order of id, among them those predicted for lack of a sighting.

        ``motion``: from the view's reference frame to this frame. ``bodies``: vertebral bodies of a lateral view,
        moved to this frame. ``may_begin``: False where ``motion`` is not known to hold: a sighting of a known needle
        is taken in, but none becomes a new one. The sightings of the first pulse ever are told at once; a later
        needle is told on its second pulse unless it is certain.
        """
        is_first = not self._views
        view = self._views.setdefault(view_id, _ViewMemory())
        if self._view_id == view_id and view.updated_at_s is not None:
            view.clock_s += max(0.0, t_s - view.updated_at_s)
        self._view_id, view.updated_at_s = view_id, t_s

        measured = [_in_anatomy(sighting, motion) for sighting in sightings]
        partner = _pair(view, measured, t_s)
        for number, (sighting, (tip, back)) in enumerate(zip(sightings, measured, strict=True)):
            track = partner.get(number)
            if track is None and not may_begin:
                continue
            if track is None:
                track = _Track(self._next_id, tip, back, sighting.diameter_px, sighting.confidence, t_s, view.clock_s)
                track.told = is_first or sighting.confidence >= CERTAIN
                self._next_id += 1
                view.tracks.append(track)
            else:
                _take_in(track, sighting, tip, back, t_s)
                track.view_clock_s = view.clock_s
                track.told = True
        view.tracks = [
            track
            for track in view.tracks
            if track.seen_at_s == t_s or (track.told and view.clock_s - track.view_clock_s <= REMEMBERED_FOR_S)
        ]
        return tuple(
            _told(track, t_s, motion, bodies)
            for track in sorted(view.tracks, key=lambda track: track.id)
            if track.told and t_s - track.seen_at_s <= PREDICTED_FOR_S
        )


def _in_anatomy(sighting: NeedleSighting, motion: RigidMotion) -> tuple[Floats, Floats | None]:
    tip = motion.move_back(np.array([sighting.tip_px]))[0]
    if sighting.shaft_px is None:
        return tip, None
    return tip, motion.move_back(np.array([sighting.shaft_px[1]]))[0]


def _pair(view: _ViewMemory, measured: list[tuple[Floats, Floats | None]], t_s: float) -> dict[int, _Track]:
    """Sighting number -> its track: the best pairs first, each sighting and each track once."""
    costs = []
    for number, (tip, back) in enumerate(measured):
        for track in view.tracks:
            cost = _cost(track, tip, back, t_s)
            if cost is not None:
                costs.append((cost, track.id, number, track))
    pairs: dict[int, _Track] = {}
    taken: set[int] = set()
    for _, track_id, number, track in sorted(costs, key=lambda item: item[:3]):
        if number not in pairs and track_id not in taken:
            pairs[number] = track
            taken.add(track_id)
    return pairs


def _cost(track: _Track, tip: Floats, back: Floats | None, t_s: float) -> float | None:
    """How badly a sighting fits a track, in diameters; None outside the gates."""
    unit, unseen_s = track.unit_px, t_s - track.seen_at_s
    moved = float(np.hypot(*(tip - track.tip_at(t_s)))) / unit
    near = moved <= TIP_GATE_DIAMETERS + FASTEST_DIAMETERS_PER_S * min(unseen_s, PREDICTED_FOR_S)
    if back is None or track.back is None:
        return moved if near else None
    axis, track_axis = _unit(back - tip), _unit(track.back - track.tip)
    turn_deg = degrees(atan2(abs(axis[0] * track_axis[1] - axis[1] * track_axis[0]), float(axis @ track_axis)))
    if turn_deg > TURN_GATE_DEG:
        return None
    off = tip - track.tip
    aside = abs(float(off[0] * track_axis[1] - off[1] * track_axis[0])) / unit
    if aside > LINE_GATE_DIAMETERS + (FASTEST_DIAMETERS_PER_S / 4 * unseen_s if near else 0.0):
        return None
    if not near and unseen_s <= PREDICTED_FOR_S:
        return None
    # Along the line a needle may have travelled far while unseen; aside of it, hardly at all.
    return 3.0 * aside + min(moved, 10.0) + turn_deg / 5.0


def _unit(vector: Floats) -> Floats:
    return np.asarray(vector / max(1e-9, hypot(vector[0], vector[1])))


def _take_in(track: _Track, sighting: NeedleSighting, tip: Floats, back: Floats | None, t_s: float) -> None:
    """Update a track: half of a small innovation (quantum noise), all of a large one (a stroke)."""
    passed_s = t_s - track.seen_at_s
    expected = track.tip_at(t_s)
    innovation = tip - expected
    if sighting.tip_hidden and back is not None and track.pulses >= STEADY_PULSES:
        # Cement that grows ahead of a needle looks like a needle that advances: keep the tip that was seen bare.
        track.velocity = np.zeros(2)
        expected, ahead = track.tip, _unit(tip - back)
        innovation = tip - expected
        advance = float(innovation @ ahead)
        if abs(advance) <= HIDDEN_ADVANCE_DIAMETERS * track.unit_px:
            innovation = innovation - advance * ahead
    elif back is not None and track.pulses >= STEADY_PULSES:
        # Absorbers only add up. Steel that was drawn back leaves its place lighter; where it is as dark as before, the
        # tip is still there, and cement about it has taken its edges.
        ahead = _unit(tip - back)
        retreat = -float((tip - track.tip) @ ahead)
        seems_dark = 0.6 * retreat <= sighting.dark_ahead_px
        if LEAST_RETREAT_DIAMETERS * track.unit_px < retreat <= HIDDEN_ADVANCE_DIAMETERS * track.unit_px and seems_dark:
            expected, innovation = track.tip, tip - track.tip + retreat * ahead
            track.velocity = np.zeros(2)
    is_noise = hypot(innovation[0], innovation[1]) < 0.25 * track.unit_px and passed_s <= PREDICTED_FOR_S
    smoothed = expected + (0.5 if is_noise else 1.0) * innovation
    if passed_s > PREDICTED_FOR_S or passed_s <= 0.0:
        track.velocity = np.zeros(2)
    else:
        track.velocity = track.velocity + (0.15 if is_noise else 0.5) * innovation / passed_s
    # Video that stands still must not creep: below the noise the velocity is none.
    if hypot(track.velocity[0], track.velocity[1]) < 0.2 * track.unit_px:
        track.velocity = np.zeros(2)
    track.tip, track.back, track.seen_at_s = smoothed, back if back is not None else track.back, t_s
    if sighting.diameter_px is not None:
        known = track.diameter_px or sighting.diameter_px
        track.diameter_px = known + 0.2 * (sighting.diameter_px - known)
    track.confidence += 0.5 * (sighting.confidence - track.confidence)
    track.pulses += 1


def _told(track: _Track, t_s: float, motion: RigidMotion, bodies: tuple[Zone, ...]) -> Needle:
    unseen_s = t_s - track.seen_at_s
    points = motion.move(np.array([track.tip_at(t_s), track.tip if track.back is None else track.back]))
    tip, back = (float(points[0, 0]), float(points[0, 1])), (float(points[1, 0]), float(points[1, 1]))
    has_shaft = track.back is not None
    return Needle(
        id=track.id,
        tip_px=tip,
        shaft_px=(tip, back) if has_shaft else None,
        angle_deg=angle_deg(tip, back) if has_shaft else None,
        diameter_px=track.diameter_px,
        depth_share=depth_share(tip, back, bodies) if has_shaft else None,
        predicted=unseen_s > 0.0,
        confidence=track.confidence * (1.0 - unseen_s / (2.0 * PREDICTED_FOR_S)),
    )


def angle_deg(tip_px: PointPx, back_px: PointPx) -> float:
    """The direction from the tip back along the shaft, counter-clockwise from +x with y up, in (-180, 180]."""
    angle = degrees(atan2(tip_px[1] - back_px[1], back_px[0] - tip_px[0]))
    return 180.0 if angle <= -180.0 else angle


def depth_share(tip_px: PointPx, back_px: PointPx, bodies: tuple[Zone, ...]) -> float | None:
    """How deep a tip lies in a vertebral body: 0 at the posterior wall, 1 at the anterior cortex; None off any body.

    Measured along the body's anterior-posterior axis, taken as the side of the polygon's smallest enclosing rectangle
    that runs most nearly along the needle; the chord through the tip in that direction is the diameter. The
    needle enters from posterior, so the side of the shaft's back end is posterior. Between -0.5 and 1.5: a tip
    that is farther away is in no body. What it misses: a needle steeper than 45° to the true axis.
    """
    tip, shaft = np.array(tip_px), np.array(back_px) - np.array(tip_px)
    shares = []
    for body in bodies:
        corners = cv2.boxPoints(cv2.minAreaRect(body.polygon_px.astype(np.float32))).astype(np.float64)
        sides = [_unit(corners[1] - corners[0]), _unit(corners[2] - corners[1])]
        anterior = max(sides, key=lambda side: abs(float(side @ shaft)))
        if anterior @ shaft > 0:
            anterior = -anterior
        chord = _chord(body.polygon_px, tip, anterior)
        if chord is not None and chord[1] > chord[0]:
            share = -chord[0] / (chord[1] - chord[0])
            if -0.5 <= share <= 1.5:
                shares.append(share)
    return min(shares, key=lambda share: abs(share - 0.5)) if shares else None


def _chord(polygon_px: Floats, through: Floats, along: Floats) -> tuple[float, float] | None:
    """Where a line enters and leaves a polygon, as distances from ``through``; None where it passes by."""
    normal = np.array([-along[1], along[0]])
    aside = (polygon_px - through) @ normal
    ahead = (polygon_px - through) @ along
    next_aside, next_ahead = np.roll(aside, -1), np.roll(ahead, -1)
    crosses = (aside <= 0) != (next_aside <= 0)
    if not crosses.any():
        return None
    share = aside[crosses] / (aside[crosses] - next_aside[crosses])
    at = ahead[crosses] + share * (next_ahead[crosses] - ahead[crosses])
    return float(at.min()), float(at.max())
