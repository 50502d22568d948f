"""Which needle is which, from pulse to pulse and from view to view, and how deep it is."""

from copy import copy
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import atan2, degrees, hypot, inf

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.records import Needle, PointPx, Zone
from guidance.vision.geometry import RigidMotion
from guidance.vision.kernels.chord import chord
from guidance.vision.needle_evidence import Evidence

Floats = NDArray[np.float64]

PREDICTED_FOR_S = 0.5
"""A needle that is not seen is carried on at its last velocity for this long, marked as predicted, then ends."""
REMEMBERED_FOR_S = 30.0
"""For this long of its own view's time a needle that ended takes its old id when it returns along its line."""
CERTAIN = 0.97
"""A needle of this confidence is told on its first pulse."""
LIKELY = 0.8
PULSES_TO_TELL, PULSES_TO_TELL_COVERED, PULSES_TO_TELL_UNLIKELY = 2, 3, 5
"""In a row. Noise makes a bone's edge look like a needle on single pulses; a needle is one on all of them."""
LIKELY_COVERED = 0.9
FIRST_LOOK_S = 0.5
"""A straight shaft of steel from outside the field that ends in dense bone or cement when its view is first watched is
a needle at work."""
USUAL_DIAMETER_PX = 12.0
"""The unit of all gates where a diameter could not be measured."""
TIP_GATE_DIAMETERS = 3.0
FASTEST_DIAMETERS_PER_S = 20.0
"""Six centimetres a second for an 11-gauge needle: a hand on a mallet, not a swing of the C-arm."""
LINE_GATE_DIAMETERS = 1.5
ON_OFFER_S = 2.0
"""A needle that was seen so shortly before the view changed may be one that appears in the other view."""
STEADY_PULSES = 3
HIDDEN_WAY_DIAMETERS = 3.0
"""A resting tip that moves along its axis out of sight is taken for still up to this far, and believed beyond."""
LEAST_RETREAT_DIAMETERS = 0.35
HIDDEN_RETREAT_DIAMETERS = 1.0
"""An end in something dark is told no better than this: a tip that seems drawn back by less has not moved."""
DRIVEN_DIAMETERS_PER_S = 1.0
DARK_SHARE = 0.6
"""Of the way from a tip that seems drawn back to its old place: if this much is as dark as steel, it is still there."""
NOISE_DIAMETERS = 0.25
RESTING_PULSES = 8
RESTING_NOISE_DIAMETERS = 0.45
"""A tip that has rested so long may seem this much off, 1.3 mm, before it is taken to have moved."""
CEMENT_CREEP_DIAMETERS = 1.0
"""While cement is injected nobody drives a needle: a resting tip that seems to advance so far has a cap of it."""
STROKE_DIAMETERS = 0.2
"""From one pulse to the next. Cement's growth displaces what is measured by less, a stroke on the needle by more."""
SURE_STROKES = 2
STOPPED_DIAMETERS = 0.1
LEAST_GAIN = 0.05
CLOUDED_DIAMETERS = 0.5
CLOUDED_PULSES = 3
"""Cement comes over seconds. A tip that is driven is behind a dense cortex for a pulse or two, and does not rest."""
SURE_STEEL_SHARE = 0.85
LEAST_STEEL_SHARE = 0.7
"""Behind a bare tip at rest the shaft stands out by 0.75 to 1.1; a column of cement in its line by 0.2 to 0.6."""
TURN_GATE_DEG = 10.0
COVERED_COST = 5.0
"""In diameters: any sighting with an end of its own is preferred to one whose end is covered."""
STRANGER_COST = 100.0
"""In diameters: a known view's own needles come before those that only lie at the same place on the screen."""


@dataclass(frozen=True, slots=True)
class NeedleSighting:
    """A needle seen on one picture, all in input-frame pixels and the contract's angles.

    ``shaft_px`` runs from the tip backwards; it and ``angle_deg`` are None for a needle seen end-on.
    ``confidence`` is meant as the share of such sightings that are right. ``tip_hidden``: what lies ahead of the tip
    is about as dark as steel (cement, another instrument), so the tip may lie farther back than it seems.
    ``tip_covered``: the shaft ends in something as dark as itself, which may hide any length of it; alone it is no
    evidence of a needle. ``dark_ahead_px``: for so far ahead of the tip the axis is as dark as the shaft's end, so
    that steel may be there. ``steel_share``: how much the last stretch stands out from what lies beside it, as a
    share of what the whole shaft does: a column of cement in a needle's line does less.
    """

    tip_px: PointPx
    shaft_px: tuple[PointPx, PointPx] | None
    angle_deg: float | None
    diameter_px: float | None
    confidence: float
    tip_hidden: bool = False
    dark_ahead_px: float = 0.0
    tip_covered: bool = False
    steel_share: float = 1.0
    evidence: Evidence | None = None
    """What the confidence in a shaft rests on."""

    @property
    def cloud_px(self) -> float:
        """How far what lies at the tip and ahead of it is as dark as steel."""
        return max(self.dark_ahead_px, self.diameter_px or USUAL_DIAMETER_PX if self.tip_hidden else 0.0)


@dataclass(slots=True, eq=False)
class _Track:
    """One needle in the coordinates of its view's reference frame, so that breathing does not move it."""

    tip: Floats
    back: Floats | None
    diameter_px: float | None
    confidence: float
    seen_at_s: float
    view_clock_s: float
    id: int | None = None
    """None until it is told."""
    velocity: Floats = field(default_factory=lambda: np.zeros(2))
    pulses: int = 1
    still_pulses: int = 0
    strokes: int = 0
    """Pulses in a row on which the tip, as it was measured, has come forward faster than cement grows."""
    clouded_pulses: int = 0
    """By how much the pulses since the tip came to rest on which something as dark as steel had come ahead of it
    outnumber the others: noise hides a tip in bone on one pulse and not on the next."""
    usual_cloud_px: float | None = None
    """What was dark ahead of the tip since it came to rest, on the average: bone, which was there before."""
    tip_hidden: bool = False
    is_covered: bool = False
    """No sighting has yet shown an end of its own."""
    sighted_tip: Floats = field(init=False)
    """Of the latest sighting, as it was measured."""

    def __post_init__(self) -> None:
        self.sighted_tip = self.tip

    @property
    def unit_px(self) -> float:
        return self.diameter_px or USUAL_DIAMETER_PX

    def tip_at(self, t_s: float) -> Floats:
        return self.tip + self.velocity * min(PREDICTED_FOR_S, max(0.0, t_s - self.seen_at_s))


@dataclass(slots=True, eq=False)
class _ViewMemory:
    """The needles of one view; its clock stands still while another is on the screen.

    ``on_offer``: the ids of the view before that have not been found here yet.
    """

    tracks: list[_Track] = field(default_factory=list)
    clock_s: float = 0.0
    updated_at_s: float = 0.0
    motion: RigidMotion = field(default_factory=RigidMotion)
    on_offer: set[int] = field(default_factory=set)


class NeedleTracker:
    """Gives sightings their identity. Call ``update`` once a new x-ray pulse.

    Tips are followed in the anatomy's coordinates with a constant velocity and two gates: by tip (it can only have
    moved so far) and by line (a needle that comes back where it left, or after an occlusion, lies on its old axis).
    Each view keeps its needles until it returns. Where one needle was on the screen before the view changed and one
    appears, they are the same and share their id. Several cannot be told apart from one projection, so each view
    then has its own ids.
    What it misses: two needles that swap places along the same line while neither is seen.
    """

    def __init__(self) -> None:
        self._views: dict[int, _ViewMemory] = {}
        self._now: _ViewMemory | None = None
        self._is_placed = True
        self._next_id = 1
        self._shown: set[int] = set()
        """The needles that were on the screen when a known view last was."""
        self._of_one_view: set[int] = set()
        """Those that cannot be told apart in another view, whose ids mean nothing there."""

    def update(
        self,
        sightings: tuple[NeedleSighting, ...],
        t_s: float,
        motion: RigidMotion,
        view_id: int | None,
        bodies: tuple[Zone, ...] = (),
        is_injecting: bool = False,
    ) -> tuple[Needle, ...]:
        """The needles of this pulse in order of id, among them those predicted for lack of a sighting.

        ``motion``: from the view's reference frame to this frame. ``view_id``: None where the picture lies in no
        known view, and ``motion`` is the last known: needles are followed on the screen until a view is known.
        ``bodies``: vertebral bodies of a lateral view, moved to this frame. ``is_injecting``: it is the time of cement.

        The sightings of the first pulse ever are told at once; a later needle is told on its second pulse, or on its
        fifth where it or the view is doubtful, unless it is certain. A covered tip is told, on its third pulse, only
        where it may have been there since its view first was.
        """
        is_first = self._now is None
        view, carried = self._enter(view_id, t_s, motion)
        own_ids = {track.id for track in view.tracks if track not in carried}
        seen_as = [_with_its_tip(sighting, *_in_anatomy(sighting, motion), view, t_s) for sighting in sightings]
        sightings = tuple(sighting for sighting, _, _ in seen_as)
        measured = [(tip, back) for _, tip, back in seen_as]
        strangers = [track for track in carried if track.id not in own_ids]
        partner = _pair(view, strangers, sightings, measured, t_s)
        for number, (sighting, (tip, back)) in enumerate(zip(sightings, measured, strict=True)):
            track = partner.get(number)
            if track is not None:
                _take_in(track, sighting, tip, back, t_s, is_injecting)
                track.view_clock_s = view.clock_s
            elif not sighting.tip_covered or self._may_have_been_there(sighting, view):
                track = _Track(tip, back, sighting.diameter_px, sighting.confidence, t_s, view.clock_s)
                track.is_covered = track.tip_hidden = sighting.tip_covered
                view.tracks.append(track)
        seen = [track for track in view.tracks if track.seen_at_s == t_s]
        self._name(view, [track for track in seen if track.id is None and self._is_sure(track, is_first)])
        waiting = [track for track in view.tracks if track.seen_at_s < t_s and _is_remembered(track, view)]
        # A wrong view, told for a pulse while the C-arm turns, must not cost a needle its place in the right one.
        waiting = [track for track in waiting if not any(_is_same(track, other, t_s) for other in seen)]
        view.tracks = [track for track in waiting if not (self._is_placed and track in carried)] + seen
        if self._is_placed:
            self._shown = {track.id for track in view.tracks if track.id is not None and _is_on_offer(track, view)}
        alive = [track for track in view.tracks if t_s - track.seen_at_s <= PREDICTED_FOR_S]
        latest = {track.id: track for track in sorted(alive, key=lambda track: track.seen_at_s) if track.id is not None}
        return tuple(_told(latest[number], number, t_s, motion, bodies) for number in sorted(latest))

    def _enter(self, view_id: int | None, t_s: float, motion: RigidMotion) -> tuple[_ViewMemory, list[_Track]]:
        """The memory of the view on the screen, and those of its tracks that are carried over from the one before.

        What was just seen on the screen may be seen on, whatever view it is called.
        """
        left, was_placed = self._now, self._is_placed
        self._is_placed = view_id is not None
        if view_id is not None:
            view = self._views.setdefault(view_id, _ViewMemory())
        else:
            view = _ViewMemory() if left is None or was_placed else left
        carried: list[_Track] = []
        if view is left:
            view.clock_s += max(0.0, t_s - view.updated_at_s)
        else:
            view.on_offer = set(self._shown)
            if left is not None:
                alive = [track for track in left.tracks if t_s - track.seen_at_s <= PREDICTED_FOR_S]
                carried = [_carried(track, left.motion, motion, view) for track in alive]
            view.tracks += carried
        self._now, view.updated_at_s, view.motion = view, t_s, motion
        return view, carried

    def _may_have_been_there(self, sighting: NeedleSighting, view: _ViewMemory) -> bool:
        """Whether a shaft that ends in something dark was there when its view first was: nobody could see it come."""
        return self._is_placed and view.clock_s <= FIRST_LOOK_S and sighting.confidence >= LIKELY_COVERED

    def _is_sure(self, track: _Track, is_first: bool) -> bool:
        if track.is_covered:
            return track.pulses >= PULSES_TO_TELL_COVERED
        if is_first:
            return True
        if track.back is None and track.still_pulses < PULSES_TO_TELL:
            # Steel seen end-on stays where it is; the darkest place of soft-edged bone wanders with the noise.
            return False
        if self._is_placed and track.confidence >= CERTAIN:
            return True
        is_likely = self._is_placed and track.confidence >= LIKELY
        return track.pulses >= (PULSES_TO_TELL if is_likely else PULSES_TO_TELL_UNLIKELY)

    def _name(self, view: _ViewMemory, new: list[_Track]) -> None:
        """Give ids to needles that are told for the first time in their view.

        One on the line of a needle that is no longer seen is that needle, however far it has been moved.
        """
        for track in new:
            track.id = _id_on_its_line(track, view)
        new = [track for track in new if track.id is None]
        taken = {track.id for track in view.tracks if self._is_placed or _is_shown(track, view)}
        on_offer = view.on_offer - self._of_one_view - taken
        if len(new) == len(on_offer) == 1:
            new[0].id = on_offer.pop()
            return
        for track in new:
            track.id = self._next_id
            self._next_id += 1
        if new and on_offer and self._is_placed:
            self._of_one_view |= on_offer | {track.id for track in new if track.id is not None}


def _id_on_its_line(new: _Track, view: _ViewMemory) -> int | None:
    """The id of the unseen needle on whose line a new one lies; None where there is none."""
    now_s = new.seen_at_s
    seen_ids = {track.id for track in view.tracks if track.seen_at_s == now_s}
    known = [track for track in view.tracks if track.id is not None and track.id not in seen_ids]
    costs = [(_cost(track, new.tip, new.back, now_s, anywhere_on_its_line=True), track.id) for track in known]
    return min(((cost, number) for cost, number in costs if cost is not None), default=(0.0, None))[1]


def _is_same(known: _Track, seen: _Track, t_s: float) -> bool:
    """Both are one needle, and ``seen`` lies where ``known`` may have come to."""
    return known.id == seen.id and _cost(known, seen.tip, seen.back, t_s, anywhere_on_its_line=True) is not None


def _is_remembered(track: _Track, view: _ViewMemory) -> bool:
    return track.id is not None and view.clock_s - track.view_clock_s <= REMEMBERED_FOR_S


def _is_shown(track: _Track, view: _ViewMemory) -> bool:
    return view.clock_s - track.view_clock_s <= PREDICTED_FOR_S


def _is_on_offer(track: _Track, view: _ViewMemory) -> bool:
    return track.pulses >= PULSES_TO_TELL_UNLIKELY and view.clock_s - track.view_clock_s <= ON_OFFER_S


def _carried(track: _Track, left: RigidMotion, entered: RigidMotion, view: _ViewMemory) -> _Track:
    """A copy of the track in another view, where it lies at the same place on the screen."""
    here = copy(track)
    points = [track.tip, track.sighted_tip, track.tip + track.velocity, track.tip if track.back is None else track.back]
    tip, sighted_tip, next_tip, back = entered.move_back(left.move(np.array(points)))
    here.tip, here.sighted_tip, here.velocity = tip, sighted_tip, next_tip - tip
    here.back = None if track.back is None else back
    here.view_clock_s = view.clock_s
    return here


def _in_anatomy(sighting: NeedleSighting, motion: RigidMotion) -> tuple[Floats, Floats | None]:
    """Where the tip and the back lie on the view's reference frame."""
    if sighting.shaft_px is None:
        return motion.move_back(np.array([sighting.tip_px]))[0], None
    tip, back = motion.move_back(np.array([sighting.tip_px, sighting.shaft_px[1]]))
    return tip, back


def _with_its_tip(
    sighting: NeedleSighting, tip: Floats, back: Floats | None, view: _ViewMemory, t_s: float
) -> tuple[NeedleSighting, Floats, Floats | None]:
    """The sighting, its tip and its back, turned round where it is a known needle's shaft that was taken to end at its
    back.

    Where cement covers a tip, the shaft's other end is the only bare one: at the hub, or where the display saturates
    beside the patient. Two needles cannot lie in one place, so the steel of a known needle points where it pointed.
    """
    if sighting.shaft_px is None or back is None or sighting.tip_covered:
        return sighting, tip, back
    if not any(_lies_within(track, back, tip, t_s) for track in view.tracks):
        return sighting, tip, back
    tip_px, back_px = sighting.shaft_px
    turned = replace(
        sighting,
        tip_px=back_px,
        shaft_px=(back_px, tip_px),
        angle_deg=angle_deg(back_px, tip_px),
        tip_hidden=True,
        dark_ahead_px=inf,
        tip_covered=True,
    )
    return turned, back, tip


def _lies_within(track: _Track, tip: Floats, back: Floats, t_s: float) -> bool:
    """Whether a shaft, by its middle, is a piece of a told needle's that is still on the screen."""
    if track.id is None or track.back is None or t_s - track.seen_at_s > PREDICTED_FOR_S:
        return False
    (x, y), (to_back_x, to_back_y) = (0.5 * (tip + back) - track.tip).tolist(), (track.back - track.tip).tolist()
    length = hypot(to_back_x, to_back_y)
    is_beside = 0.0 < x * to_back_x + y * to_back_y < length * length
    return is_beside and _cost(track, _uncovered(track, tip, back), back, t_s) is not None


def _pair(
    view: _ViewMemory,
    strangers: list[_Track],
    sightings: tuple[NeedleSighting, ...],
    measured: list[tuple[Floats, Floats | None]],
    t_s: float,
) -> dict[int, _Track]:
    """Sighting number -> its track: the best pairs first, each sighting, track and id once.

    ``strangers``: the tracks that this view has not known before.
    """
    costs = []
    tracks = sorted(view.tracks, key=lambda track: -track.seen_at_s)
    for number, (sighting, (tip, back)) in enumerate(zip(sightings, measured, strict=True)):
        for place, track in enumerate(tracks):
            if sighting.tip_covered and back is not None and track.back is not None:
                cost = _cost(track, _uncovered(track, tip, back), back, t_s)
                cost = None if cost is None else cost + COVERED_COST
            else:
                cost = _cost(track, tip, back, t_s, sighting.tip_hidden)
            if cost is not None:
                cost += STRANGER_COST if track in strangers else 0.0
                costs.append((cost, place, number, track))
    pairs: dict[int, _Track] = {}
    for _, _, number, track in sorted(costs, key=lambda item: item[:3]):
        is_free = all(track is not other and (track.id is None or track.id != other.id) for other in pairs.values())
        if number not in pairs and is_free:
            pairs[number] = track
    return pairs


def _uncovered(track: _Track, tip: Floats, back: Floats) -> Floats:
    """Where the known tip lies on the axis of a shaft whose end is covered; the shaft's end if it has passed it."""
    ahead = _unit(tip - back)
    hidden = float((track.tip - tip) @ ahead)
    return np.asarray(tip + max(0.0, hidden) * ahead)


def _cost(
    track: _Track, tip: Floats, back: Floats | None, t_s: float, anywhere_on_its_line: bool = False
) -> float | None:
    """How badly a sighting fits a track, in diameters; None outside the gates."""
    unit, unseen_s = track.unit_px, t_s - track.seen_at_s
    moved = hypot(*(tip - track.tip_at(t_s)).tolist()) / unit
    near = moved <= _reach(track, t_s)
    if back is None or track.back is None:
        return moved if near else None
    axis_x, axis_y = _unit(back - tip).tolist()
    track_x, track_y = _unit(track.back - track.tip).tolist()
    turn_deg = degrees(atan2(abs(axis_x * track_y - axis_y * track_x), axis_x * track_x + axis_y * track_y))
    if turn_deg > TURN_GATE_DEG:
        return None
    off_x, off_y = (tip - track.tip).tolist()
    aside = abs(off_x * track_y - off_y * track_x) / unit
    if aside > LINE_GATE_DIAMETERS + (FASTEST_DIAMETERS_PER_S / 4 * unseen_s if near else 0.0):
        return None
    if not near and unseen_s <= PREDICTED_FOR_S and not anywhere_on_its_line:
        return None
    # Along the line a needle may have travelled far while unseen; aside of it, hardly at all.
    return float(3.0 * aside + min(moved, 10.0) + turn_deg / 5.0)


def _reach(track: _Track, t_s: float) -> float:
    """How far a tip can have come since it was seen, in diameters."""
    return TIP_GATE_DIAMETERS + FASTEST_DIAMETERS_PER_S * min(t_s - track.seen_at_s, PREDICTED_FOR_S)


def _unit(vector: Floats) -> Floats:
    return np.asarray(vector / max(1e-9, hypot(*vector.tolist())))


def _take_in(
    track: _Track, sighting: NeedleSighting, tip: Floats, back: Floats | None, t_s: float, is_injecting: bool
) -> None:
    """Update a track: all of a large innovation (a stroke); of a small one (quantum noise) half, and along the axis
    the less the longer the needle has rested."""
    passed_s = t_s - track.seen_at_s
    forward = 0.0 if back is None else float((tip - track.sighted_tip) @ _unit(tip - back))
    track.strokes = track.strokes + 1 if forward > STROKE_DIAMETERS * track.unit_px else 0
    step = hypot(*(tip - track.sighted_tip).tolist())
    track.sighted_tip = tip
    is_fed = is_injecting and track.pulses >= RESTING_PULSES
    if step < STOPPED_DIAMETERS * track.unit_px:
        track.velocity = np.zeros(2)
    if passed_s > PREDICTED_FOR_S:
        track.clouded_pulses, track.usual_cloud_px = 0, None
    expected, ahead, seen_ahead_px, is_held = track.tip_at(t_s), np.zeros(2), 0.0, False
    if back is not None:
        ahead = _unit(tip - back)
        off = tip - track.tip
        seen_ahead_px = float(off @ ahead)
        is_seen_again = step < NOISE_DIAMETERS * track.unit_px
        is_held = _is_out_of_sight(track, sighting, off, ahead, is_seen_again, is_fed, t_s)
        if is_held:
            expected, tip = track.tip, tip - seen_ahead_px * ahead
            track.velocity = np.zeros(2)
    rests = track.still_pulses >= RESTING_PULSES and step < STROKE_DIAMETERS * track.unit_px
    advance = float((tip - expected) @ ahead)
    if is_fed and 0.0 < advance < CEMENT_CREEP_DIAMETERS * track.unit_px:
        tip = tip - advance * ahead
    innovation = tip - expected
    noise_px = (RESTING_NOISE_DIAMETERS if rests else NOISE_DIAMETERS) * track.unit_px
    is_noise = hypot(innovation[0], innovation[1]) < noise_px and passed_s <= PREDICTED_FOR_S
    smoothed = expected + (0.5 if is_noise else 1.0) * innovation
    if is_noise:
        # Cement makes a tip that rests seem to creep along its axis, a little each pulse; a mallet does not.
        gain = max(LEAST_GAIN, 1.0 / (2.0 + track.still_pulses))
        smoothed = smoothed + (gain - 0.5) * float(innovation @ ahead) * ahead
    if passed_s > PREDICTED_FOR_S or passed_s <= 0.0 or (rests and is_noise):
        track.velocity = np.zeros(2)
    else:
        track.velocity = track.velocity + (0.15 if is_noise else 0.5) * innovation / passed_s
    # Video that stands still must not creep: below the noise the velocity is none.
    if hypot(track.velocity[0], track.velocity[1]) < 0.2 * track.unit_px:
        track.velocity = np.zeros(2)
    track.still_pulses = track.still_pulses + 1 if is_noise and not track.velocity.any() else 0
    if is_held or is_noise:
        _note_cloud(track, sighting.cloud_px + max(0.0, seen_ahead_px))
    else:
        track.clouded_pulses, track.usual_cloud_px = 0, None
    track.is_covered = track.is_covered and sighting.tip_covered
    track.tip_hidden = is_held or track.is_covered
    track.tip, track.back, track.seen_at_s = smoothed, back, t_s
    if sighting.diameter_px is not None:
        known = track.diameter_px or sighting.diameter_px
        track.diameter_px = known + 0.2 * (sighting.diameter_px - known)
    track.confidence += 0.5 * (sighting.confidence - track.confidence)
    track.pulses += 1


def _note_cloud(track: _Track, cloud_px: float) -> None:
    """Count whether more is dark ahead of a resting tip than has been."""
    cloud_px = min(cloud_px, HIDDEN_WAY_DIAMETERS * track.unit_px)
    usual_px = cloud_px if track.usual_cloud_px is None else track.usual_cloud_px
    has_come = cloud_px > usual_px + CLOUDED_DIAMETERS * track.unit_px
    if track.clouded_pulses or (has_come and track.still_pulses >= RESTING_PULSES):
        track.clouded_pulses = max(0, track.clouded_pulses + (1 if has_come else -1))
    else:
        usual_px += (cloud_px - usual_px) / RESTING_PULSES
    track.usual_cloud_px = usual_px


def _is_out_of_sight(
    track: _Track,
    sighting: NeedleSighting,
    off: Floats,
    ahead: Floats,
    is_seen_again: bool,
    is_fed: bool,
    t_s: float,
) -> bool:
    """The tip cannot be seen where it is, so that ``off`` along the axis ``ahead`` is no evidence that it moved.

    ``is_seen_again``: the sighting before had its tip at the same place. ``is_fed``: cement may come out of it.

    Cement that grows ahead of a needle looks like a needle that advances. One that seems drawn back: absorbers only
    add up. Steel that was drawn back leaves its place lighter; where it is as dark as before, the tip is still there,
    and cement about it has taken its edges.
    """
    unit, advance = track.unit_px, float(off @ ahead)
    if abs(advance) > _reach(track, t_s) * unit and sighting.tip_hidden:
        # No hand is so fast: the shaft's line was followed through cement to something beyond it.
        return t_s - track.seen_at_s <= PREDICTED_FOR_S
    if track.pulses < STEADY_PULSES and not sighting.tip_covered:
        return False
    if advance <= 0.0:
        least = HIDDEN_RETREAT_DIAMETERS if sighting.tip_covered else 0.0
        most = inf if sighting.tip_covered else HIDDEN_WAY_DIAMETERS
        is_dark = sighting.dark_ahead_px / DARK_SHARE > max(-advance, LEAST_RETREAT_DIAMETERS * unit)
        return -advance < least * unit or (is_dark and -advance <= most * unit)
    if is_fed:
        # Cement comes out of this very tip: only steel all the way to a bare end, seen twice, is the needle.
        is_bare = not sighting.tip_hidden and sighting.cloud_px < CLOUDED_DIAMETERS * unit
        return not (is_bare and is_seen_again and sighting.steel_share >= SURE_STEEL_SHARE)
    is_steel = sighting.steel_share >= LEAST_STEEL_SHARE
    is_bare = sighting.dark_ahead_px < CLOUDED_DIAMETERS * unit and is_steel and is_seen_again
    is_hidden = sighting.tip_covered or (sighting.tip_hidden and not is_bare)
    is_driven = track.strokes >= SURE_STROKES or float(track.velocity @ ahead) > DRIVEN_DIAMETERS_PER_S * unit
    if track.clouded_pulses >= CLOUDED_PULSES:
        # Cement has come between: only steel to a bare end, or to one that a mallet moves, is the needle driven on.
        is_sure = sighting.steel_share >= SURE_STEEL_SHARE
        return not is_steel or (is_hidden and not (is_driven and is_sure))
    return is_hidden and not is_driven and advance <= HIDDEN_WAY_DIAMETERS * unit


def _told(track: _Track, number: int, t_s: float, motion: RigidMotion, bodies: tuple[Zone, ...]) -> Needle:
    unseen_s = t_s - track.seen_at_s
    points = motion.move(np.array([track.tip_at(t_s), track.tip if track.back is None else track.back]))
    tip, back = (float(points[0, 0]), float(points[0, 1])), (float(points[1, 0]), float(points[1, 1]))
    has_shaft = track.back is not None
    return Needle(
        id=number,
        tip_px=tip,
        shaft_px=(tip, back) if has_shaft else None,
        angle_deg=angle_deg(tip, back) if has_shaft else None,
        diameter_px=track.diameter_px,
        depth_share=depth_share(tip, back, bodies) if has_shaft else None,
        predicted=unseen_s > 0.0,
        confidence=track.confidence * (1.0 - unseen_s / (2.0 * PREDICTED_FOR_S)),
        tip_hidden=track.tip_hidden,
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
    (x, y), (shaft_x, shaft_y) = tip_px, (back_px[0] - tip_px[0], back_px[1] - tip_px[1])
    shares = []
    for body in bodies:
        corners = cv2.boxPoints(cv2.minAreaRect(body.polygon_px.astype(np.float32))).tolist()
        # The side along which the shaft lies, away from its back.
        (side_x, side_y), along = max(
            ((side, side[0] * shaft_x + side[1] * shaft_y) for side in _sides(corners[:3])),
            key=lambda side_and_along: abs(side_and_along[1]),
        )
        forward = -1.0 if along > 0 else 1.0
        posterior, anterior = chord(np.ascontiguousarray(body.polygon_px), x, y, forward * side_x, forward * side_y)
        # NaN fails the comparison, too.
        if anterior > posterior:
            share = -posterior / (anterior - posterior)
            if -0.5 <= share <= 1.5:
                shares.append(share)
    return min(shares, key=lambda share: abs(share - 0.5)) if shares else None


def _sides(corners: list[PointPx]) -> list[PointPx]:
    """Unit vectors from each corner to the next."""
    steps = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(corners)]
    return [(dx / max(1e-9, hypot(dx, dy)), dy / max(1e-9, hypot(dx, dy))) for dx, dy in steps]
