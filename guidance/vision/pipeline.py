"""The one place where the order of stages stands: a frame in, findings out."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import inf

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.frame import Frame, SourceInfo
from guidance.records import (
    CasePlan,
    CementDeposit,
    Findings,
    FrameState,
    Needle,
    NerveRoot,
    Phase,
    PolygonPx,
    Registration,
    Scale,
    ScaleSource,
    View,
    Zone,
    ZoneKind,
)
from guidance.vision import memory, needle_point, threads
from guidance.vision.cement import CementWatch
from guidance.vision.cement_outline import LEAST_AREA_MM2, TIP_REACH_MM
from guidance.vision.contrast import RootMapper
from guidance.vision.field import XrayField
from guidance.vision.field_watch import FieldWatch
from guidance.vision.geometry import RigidMotion
from guidance.vision.liveness import LivenessWatch
from guidance.vision.needle import find_needles, shaft_mask
from guidance.vision.needle_shaft import SearchPlanes
from guidance.vision.needle_track import NeedleTracker
from guidance.vision.phase import PhaseClock
from guidance.vision.picture import Mask, Picture, make_picture
from guidance.vision.recent import RecentPulses
from guidance.vision.registration import Placement, Registrar

USUAL_NEEDLE_MM = 3.05
"""11 gauge: what a needle is taken for where the plan does not say."""

THINNEST_NEEDLE_MM, THICKEST_NEEDLE_MM = 2.4, 3.05
"""13 and 11 gauge: a second needle need not be of the plan's gauge."""
SHOWN_WIDTH_SHARE = 0.85, 1.05
"""How wide a needle is shown, least and most, against its width in the plane that the scale holds for. From bone
outwards a tip is at most 6 % larger on the picture: the skin it goes through is on the detector's side. A clamp's arm
is 1.1 to 1.4 times as thick as 11 gauge. Beside a background that saturates a needle is shown up to a sixth thinner."""

USUAL_FIELD_MM = 160.0
"""A 23 cm intensifier's field at the patient, magnified 1.4 times: the scale where nothing better is known."""

SCALE_PULSES = 15
"""A needle's width is taken as the median over this many pulses, so that areas do not flicker with its noise."""

PATIENT_LOOKS = 8
"""So many pulses of a view that do not show what the plan's zones are drawn on: a blurred pulse right after a swing."""

SHAFT_MARGIN_PX = 3.0
"""Work pixels added around a shaft before other stages look: its blurred edge and its motion within a pulse."""

STEEL_REMEMBERED_S = 10.0
"""A needle that is no longer seen, its tip hidden in cement, still covers its place: it must not turn into cement."""

STROKE_PULSES = 5
"""A stroke takes some half a second: so long a tip that goes on is on the way to where the stroke ends."""

Lap = Callable[[str], None]

threads.limit()
memory.keep()


@dataclass(frozen=True, slots=True, eq=False)
class _Stroke:
    """How a needle was driven: where its tip came to on the view's reference frame, and how long ago it began."""

    tip_px: NDArray[np.float64]
    pulses: int = 1


@dataclass(slots=True)
class _ViewContext:
    """What belongs to one view of the C-arm and waits for its return. Zones lie as on the view's reference frame.

    ``drawn``: how the anatomy lay on the pulse that the plan's zones are drawn on, for whom motion counts from there.
    """

    roots: RootMapper
    cement: CementWatch
    view: View | None
    zones: tuple[Zone, ...]
    found_roots: tuple[NerveRoot, ...] = ()
    deposits: tuple[CementDeposit, ...] = ()
    drawn: RigidMotion = field(default_factory=RigidMotion)
    feeders: dict[int, int] = field(default_factory=dict)
    """For each deposit the needle that feeds it, once that is known."""
    steel: dict[int, tuple[float, Needle]] = field(default_factory=dict)
    """When and where each needle was last seen."""
    strokes: dict[int, _Stroke] = field(default_factory=dict)
    """The last stroke of each needle."""
    is_beside_steel: bool = False
    """Whether growth is seen beside the shafts: a needle's own, as it is driven on, lies all under its shaft."""

    def is_driven(self, needles: Iterable[Needle], motion: RigidMotion) -> bool:
        """Whether a needle's tip has come further by its own width since its last stroke, or a needle is new.

        A tip that is hidden tells nothing: it is not where it seems to be.
        """
        driven = False
        for needle in needles:
            if needle.predicted or needle.tip_hidden or needle.diameter_px is None:
                continue
            tip_px = motion.move_back(np.array([needle.tip_px]))[0]
            last = self.strokes.get(needle.id)
            if last is None or float(np.hypot(*(tip_px - last.tip_px))) > needle.diameter_px:
                self.strokes[needle.id], driven = _Stroke(tip_px), True
            elif last.pulses < STROKE_PULSES:
                self.strokes[needle.id] = _Stroke(tip_px, last.pulses + 1)
        return driven


@dataclass(slots=True)
class _DrawnOn:
    """The pulse that a planned view's zones are drawn on, until it is known where it lies in its view."""

    picture: Picture
    not_bone: Mask
    looks: int = 0

    def where(self, registrar: Registrar) -> RigidMotion | None:
        """Its motion in the present view, None where it shows another; the reference's place after many looks."""
        self.looks += 1
        found = registrar.locate(self.picture, self.not_bone)
        return RigidMotion() if found is None and self.looks >= PATIENT_LOOKS else found


class NothingSeenError(ValueError):
    """What is asked for needs a picture that is not there. One line."""


class Pipeline:
    """All stages of one case, with their state. ``step`` takes every frame in order.

    ``on_stage`` is called with a stage's name when the stage is done, for whoever holds a clock.
    """

    def __init__(self, plan: CasePlan, info: SourceInfo, on_stage: Lap = lambda stage: None) -> None:
        self._plan = plan
        self._header_mm_per_px = info.mm_per_px
        self._take_scale(plan)
        self._on_stage = on_stage
        self._liveness = LivenessWatch()
        drawn = [zone.polygon_px for zone in plan.zones]
        self._field_watch = FieldWatch(np.concatenate(drawn) if drawn else None)
        self._registrar = Registrar()
        self._recent = RecentPulses()
        self._tracker = NeedleTracker()
        self._search_planes = SearchPlanes()
        needle_point.prepare()
        self._phases = PhaseClock(plan.phases)
        self._contexts: dict[int, _ViewContext] = {}
        self._views_to_come = sorted(plan.views, key=lambda mark: mark.reference_s)
        self._first_view_id: int | None = None
        self._renewed: tuple[View | None, tuple[Zone, ...]] | None = None
        """Of the view that gets a new reference with the next pulse."""
        self._has_orders = False
        """Whether zones were drawn after the first frame."""
        self._drawn_on: _DrawnOn | None = None
        self._needle_widths_px: deque[float] = deque(maxlen=SCALE_PULSES)
        self._field: XrayField | None = None
        self._placement: Placement | None = None
        self._first_t_s: float | None = None
        self._first_frame: tuple[Frame, float] | None = None
        self._last: Findings | None = None

    def step(self, frame: Frame) -> Findings:
        """What is seen on this frame. One that is not a new live pulse repeats the last findings."""
        t_s = self._seconds(frame.t_s)
        liveness = self._liveness.update(frame, t_s, self._field)
        self._on_stage("liveness")
        is_corrected = False
        if liveness.state not in (FrameState.NO_SIGNAL, FrameState.CORRUPT):
            # Repeats too: which of two pictures on a monitor is the live one shows between the pulses.
            mistakes = self._field_watch.mistakes
            self._field = self._field_watch.update(frame.pixels, frame.bits)
            is_corrected = self._field_watch.mistakes > mistakes
        self._on_stage("field")
        if is_corrected:
            self._start_anew()
        if liveness.state is FrameState.LIVE and (liveness.new_pulse or is_corrected):
            assert self._field is not None
            number, pulse = (0, 1) if self._last is None else (self._last.frame + 1, self._last.pulse + 1)
            self._first_frame = self._first_frame or (frame, t_s)
            self._last = self._analyse(frame, self._field, t_s, number, pulse)
        else:
            self._last = self._repeat(liveness.state, t_s)
        return self._last

    def settle(self) -> None:
        """Do what only the next frame needs. To be called once the last one's findings are told, which it would delay.

        Whoever is in no hurry need not: ``step`` does it otherwise, with the same findings.
        """
        for context in self._contexts.values():
            context.cement.settle()
        self._on_stage("settling")

    def no_frame(self, t_s: float) -> Findings:
        """What to tell at source time ``t_s`` when no frame has come: no signal, the last findings repeated."""
        self._last = self._repeat(FrameState.NO_SIGNAL, self._seconds(t_s))
        return self._last

    def set_phase(self, phase: Phase) -> None:
        """From now on it is this phase, whatever the plan says or is seen."""
        self._phases.set(phase, 0.0 if self._last is None else self._last.t_s)

    def set_view(self, view: View) -> None:
        """The view on the screen is this one. Raises NothingSeenError."""
        self._present_context()[0].view = view

    def set_zone(self, zone: Zone, pulse: int | None = None) -> None:
        """Watch from now on a zone that was drawn on this pulse (None: the last). Raises NothingSeenError."""
        context, motion = self._present_context() if pulse is None else self._context_of(pulse)
        drawn = replace(zone, polygon_px=motion.move_back(zone.polygon_px))
        context.zones = (*(other for other in context.zones if other.id != zone.id), drawn)
        self._has_orders = True

    def use_plan(self, plan: CasePlan, drawn_on: Mapping[View, int]) -> None:
        """From now on watch this plan's zones in the views that ``drawn_on`` names, by its scale and needle.

        ``drawn_on``: the number of the pulse on which each view's zones were drawn; they lie where they were drawn
        although the anatomy has moved since. Views that it does not name keep their zones; the phases stay as they
        are. Raises NothingSeenError, with nothing changed, where a pulse is not known any more.
        """
        drawn: dict[int, tuple[View, _ViewContext, RigidMotion]] = {}
        for view, pulse in drawn_on.items():
            context, lay = self._context_of(pulse)
            if id(context) in drawn:
                raise NothingSeenError(f"both views are drawn on one and the same; expected {view} on another picture")
            drawn[id(context)] = view, context, lay
        self._plan = replace(self._plan, mm_per_px=plan.mm_per_px, needle_diameter_mm=plan.needle_diameter_mm)
        self._take_scale(plan)
        self._views_to_come = [mark for mark in self._views_to_come if mark.view not in drawn_on]
        for view, context, lay in drawn.values():
            own = (zone for zone in plan.zones if zone.view is view or (zone.view is None and len(drawn) == 1))
            context.view, context.drawn = view, lay
            context.zones = tuple(replace(zone, polygon_px=lay.move_back(zone.polygon_px)) for zone in own)
        self._has_orders = True

    def pin_field(self, polygon_px: PolygonPx | None, bone_dark: bool | None) -> bool:
        """Take the x-ray field's outline and polarity as told from the next frame on; None: as they are found.

        ``polygon_px``: convex, (n, 2). Another polarity turns every reference over: they are taken anew, with the zones
        of the view on the screen where they lie now, and other views wait for theirs to be drawn again. Whether that is
        so is returned. Raises NothingSeenError where zones would be lost because the anatomy on the screen is not
        recognised.
        """
        is_other = self._field_watch.would_turn_over(bone_dark)
        if is_other and any(context.zones for context in self._contexts.values()):
            self._present_context()
        self._field_watch.pin(polygon_px, bone_dark)
        if is_other:
            self._has_orders = True
            self._start_anew()
        return is_other

    def remove_zone(self, zone_id: str) -> None:
        """Do not watch a zone of the view on the screen any more. Raises NothingSeenError where it has none such."""
        context, _ = self._present_context()
        if zone_id not in {zone.id for zone in context.zones}:
            raise NothingSeenError(f"zone {zone_id!r}: the view on the screen has none of that name")
        context.zones = tuple(zone for zone in context.zones if zone.id != zone_id)

    def take_reference(self) -> None:
        """Take the next pulse as a new reference; the zones stay where they are. Raises NothingSeenError.

        The roadmap and the cement found so far in this view are forgotten: cement that is there becomes part of the
        reference. Other views keep all that is known of them.
        """
        context, motion = self._present_context()
        assert self._placement is not None
        self._renewed = (context.view, _moved(context.zones, motion))
        self._registrar.forget_view()
        del self._contexts[self._placement.view_id]
        if self._placement.view_id == self._first_view_id:
            self._first_view_id = None
        self._placement = None

    def _take_scale(self, plan: CasePlan) -> None:
        self._mm_per_px = plan.mm_per_px or self._header_mm_per_px
        self._mm_per_px_source = ScaleSource.PLAN if plan.mm_per_px else ScaleSource.HEADER

    def _context_of(self, pulse: int) -> tuple[_ViewContext, RigidMotion]:
        """The view that a pulse showed, and how its anatomy lay on it."""
        found = self._recent.where(pulse)
        if found is None or found[0] not in self._contexts:
            raise NothingSeenError(
                f"pulse {pulse}: its anatomy was not recognised, its reference was taken anew, or it is long gone; "
                "expected zones drawn on a later picture"
            )
        return self._contexts[found[0]], found[1]

    def _present_context(self) -> tuple[_ViewContext, RigidMotion]:
        """The view on the screen, and how its anatomy lies now."""
        placement = self._placement
        if placement is None or not placement.registration.ok:
            raise NothingSeenError("the anatomy on the screen is not recognised; expected a picture that is")
        return self._contexts[placement.view_id], placement.motion

    def _seconds(self, source_t_s: float) -> float:
        if self._first_t_s is None:
            self._first_t_s = source_t_s
        return source_t_s - self._first_t_s

    def _repeat(self, state: FrameState, t_s: float) -> Findings:
        if self._last is not None:
            return replace(self._last, frame=self._last.frame + 1, t_s=t_s, state=state)
        return Findings(
            frame=0,
            t_s=t_s,
            state=state,
            phase=self._phases.at(t_s),
            phase_inferred=self._phases.is_inferred,
            view=self._plan.view,
            view_id=-1,
            field=None,
            registration=None,
            scale=None,
        )

    def _start_anew(self) -> None:
        """Forget what was measured in a field that was not the live one, or of the wrong polarity.

        The zones were drawn on the first frame, so that is where the new reference is taken from; where some were drawn
        later, the next pulse is, with the zones where they lay on the last.
        """
        renewed = None
        if self._has_orders and self._placement is not None:
            context = self._contexts[self._placement.view_id]
            renewed = context.view, _moved(context.zones, self._placement.motion)
        self._registrar = Registrar(max(self._contexts, default=-1) + 1)
        self._contexts.clear()
        self._recent = RecentPulses()
        self._placement = self._first_view_id = None
        self._renewed = renewed
        self._needle_widths_px.clear()
        if renewed is not None:
            return
        self._views_to_come = sorted(self._plan.views, key=lambda mark: mark.reference_s)
        self._drawn_on = None
        if self._first_frame is not None and self._field is not None:
            frame, t_s = self._first_frame
            self._analyse(frame, self._field, t_s, 0, 1)

    def _analyse(self, frame: Frame, field: XrayField, t_s: float, number: int, pulse: int) -> Findings:
        picture = make_picture(frame.pixels, field, frame.bits)
        self._on_stage("picture")

        sightings = find_needles(picture, self._needle_diameters_px(), planes=self._search_planes)
        shafts = shaft_mask(picture, [*sightings, *self._steel_remembered(t_s)], SHAFT_MARGIN_PX)
        self._on_stage("needles")
        not_bone = self._not_bone(picture, shafts)
        placement = self._registrar.update(picture, not_bone, number, t_s)
        self._placement = placement
        self._recent.note(pulse, placement)
        self._on_stage("registration")

        context = self._context(placement)
        self._take_up_planned_view(context, placement, picture, not_bone, t_s)
        zones = _moved(context.zones, placement.motion)
        bodies = tuple(zone for zone in zones if zone.kind is ZoneKind.BODY)
        view_id = placement.view_id if placement.registration.ok else None
        phase = self._phases.at(t_s)
        # Cement hides tips before its phase is inferred, too.
        is_injecting = phase is Phase.CEMENT or (self._phases.is_inferred and context.is_beside_steel)
        needles = self._tracker.update(sightings, t_s, placement.motion, view_id, bodies, is_injecting)
        context.steel |= {needle.id: (t_s, needle) for needle in needles if not needle.predicted}
        scale = self._scale(needles, field)
        self._on_stage("tracking")

        known_mm_per_px = None if scale.source is ScaleSource.ASSUMED else scale.mm_per_px
        may_compare = placement.registration.ok and placement.is_sharp and not self._field_watch.is_in_doubt
        seen = (picture, placement.motion, may_compare, needles, shafts, phase, known_mm_per_px, t_s)
        context.found_roots = context.roots.update(*seen)
        self._on_stage("nerve roots")
        is_driving = self._phases.is_inferred and phase is Phase.NEEDLE and may_compare
        if is_driving and context.is_driven(needles, placement.motion) and not context.is_beside_steel:
            # What has grown at its tip was the needle itself.
            context.cement = CementWatch(phase_inferred=True)
        deposits = context.cement.update(*seen, placement.rests, context.roots.contrast_on)
        if self._phases.is_inferred:
            context.is_beside_steel = _is_beside(deposits, shafts, picture, scale.mm_per_px)
            self._phases.note(needles, bool(context.found_roots), context.is_beside_steel)
            if phase is Phase.NEEDLE and not context.is_beside_steel:
                deposits = ()
        _note_feeders(context.feeders, deposits, needles, TIP_REACH_MM / scale.mm_per_px)
        context.deposits = tuple(replace(deposit, needle=context.feeders.get(deposit.id)) for deposit in deposits)
        self._on_stage("cement")

        return Findings(
            frame=number,
            t_s=t_s,
            state=FrameState.LIVE,
            phase=phase,
            phase_inferred=self._phases.is_inferred,
            view=context.view,
            view_id=placement.view_id,
            field=field.outline,
            registration=_since_drawn(placement, context),
            scale=scale,
            zones=zones,
            needles=needles,
            nerve_roots=context.found_roots,
            cement=context.deposits,
            pulse=pulse,
        )

    def _steel_remembered(self, t_s: float) -> list[Needle]:
        """Needles of the last pulse's view that were seen not long ago, where they were then."""
        if self._placement is None:
            return []
        seen = self._contexts[self._placement.view_id].steel.values()
        return [needle for seen_s, needle in seen if t_s - seen_s <= STEEL_REMEMBERED_S]

    def _not_bone(self, picture: Picture, shafts: Mask) -> Mask:
        """Work pixels that registration must not follow: shafts, and contrast and cement where they last were."""
        if self._placement is None:
            return shafts
        context = self._contexts[self._placement.view_id]
        rings = [ring for root in context.found_roots for ring in root.polygons_px]
        rings += [ring for deposit in context.deposits for ring in deposit.polygons_px]
        return _with_rings(shafts, picture, rings)

    def _context(self, placement: Placement) -> _ViewContext:
        """What is kept for the view on the screen; a new view begins with nothing but what the plan has for it."""
        context = self._contexts.get(placement.view_id)
        if context is None:
            plan, is_first = self._plan, not self._contexts and not self._plan.views
            view = plan.view if is_first else None
            zones = tuple(zone for zone in plan.zones if is_first and zone.view in (None, plan.view))
            if self._renewed is not None:
                (view, zones), self._renewed = self._renewed, None
            context = _ViewContext(RootMapper(), CementWatch(self._phases.is_inferred), view, zones)
            self._contexts[placement.view_id] = context
            if self._first_view_id is None:
                self._first_view_id = placement.view_id
        return context

    def _take_up_planned_view(
        self, context: _ViewContext, placement: Placement, picture: Picture, not_bone: Mask, t_s: float
    ) -> None:
        """From its reference time on, a planned view is the one that is then on the screen.

        Its zones are drawn on the pulse of that time. Where the view is known only some pulses later, that pulse is
        looked for in it: breath has moved the anatomy meanwhile, and a picture of the swing is none of the view.
        """
        if not self._views_to_come or t_s < self._views_to_come[0].reference_s:
            return
        if self._drawn_on is None:
            self._drawn_on = _DrawnOn(picture, not_bone)
        if not placement.registration.ok:
            return
        lay = placement.motion if self._drawn_on.picture is picture else self._drawn_on.where(self._registrar)
        if lay is None:
            return
        self._drawn_on = None
        is_first = len(self._views_to_come) == len(self._plan.views)
        mark = self._views_to_come.pop(0)
        drawn = (zone for zone in self._plan.zones if zone.view is mark.view or (zone.view is None and is_first))
        # Kept where they would lie on the view's own reference frame.
        context.view, context.drawn = mark.view, lay
        context.zones = tuple(replace(zone, polygon_px=lay.move_back(zone.polygon_px)) for zone in drawn)

    def _needle_diameters_px(self) -> tuple[float, float] | None:
        """The range of shaft widths to look for; None in any view but the first: it may be magnified otherwise."""
        is_first_view = self._placement is None or self._placement.view_id == self._first_view_id
        return needle_diameters_px(self._plan.needle_diameter_mm, self._mm_per_px if is_first_view else None)

    def _scale(self, needles: Iterable[Needle], field: XrayField) -> Scale:
        """Millimetres from the best that is known: plan, header, a needle's width, the field's usual size."""
        if self._mm_per_px is not None:
            return Scale(self._mm_per_px, self._mm_per_px_source)
        self._needle_widths_px.extend(n.diameter_px for n in needles if n.diameter_px is not None and not n.predicted)
        if self._needle_widths_px:
            diameter_mm = self._plan.needle_diameter_mm or USUAL_NEEDLE_MM
            return Scale(diameter_mm / float(np.median(self._needle_widths_px)), ScaleSource.NEEDLE)
        x0, y0, x1, y1 = field.box_px
        return Scale(USUAL_FIELD_MM / max(x1 - x0, y1 - y0), ScaleSource.ASSUMED)


def _moved(zones: Iterable[Zone], motion: RigidMotion) -> tuple[Zone, ...]:
    """Zones of a view's reference frame, where they lie after the motion."""
    return tuple(replace(zone, polygon_px=motion.move(zone.polygon_px)) for zone in zones)


def _note_feeders(
    feeders: dict[int, int], deposits: Iterable[CementDeposit], needles: Iterable[Needle], within_px: float
) -> None:
    """Take note of the nearest needle at each deposit that is not known to be fed by one yet."""
    for deposit in deposits:
        if deposit.id in feeders:
            continue
        rings = [np.asarray(ring, dtype=np.float32) for ring in deposit.polygons_px]
        inside_px = [
            (max((cv2.pointPolygonTest(ring, needle.tip_px, True) for ring in rings), default=-inf), needle.id)
            for needle in needles
        ]
        nearest_px, needle_id = max(inside_px, default=(-inf, 0))
        if nearest_px >= -within_px:
            feeders[deposit.id] = needle_id


def _is_beside(deposits: Iterable[CementDeposit], shafts: Mask, picture: Picture, mm_per_px: float) -> bool:
    """Whether as much of the deposits as counts by itself lies where no shaft does."""
    rings = [ring for deposit in deposits for ring in deposit.polygons_px]
    if not rings:
        return False
    beside = cv2.bitwise_and(_with_rings(np.zeros_like(shafts), picture, rings), cv2.bitwise_not(shafts))
    return cv2.countNonZero(beside) * (picture.factor * mm_per_px) ** 2 >= LEAST_AREA_MM2


def needle_diameters_px(diameter_mm: float | None, mm_per_px: float | None) -> tuple[float, float] | None:
    """The range of shaft widths that the gauges in use and the scale allow; None where no scale is known."""
    if mm_per_px is None:
        return None
    mm = diameter_mm or USUAL_NEEDLE_MM
    thinnest, thickest = min(mm, THINNEST_NEEDLE_MM), max(mm, THICKEST_NEEDLE_MM)
    return SHOWN_WIDTH_SHARE[0] * thinnest / mm_per_px, SHOWN_WIDTH_SHARE[1] * thickest / mm_per_px


def _since_drawn(placement: Placement, context: _ViewContext) -> Registration:
    """The registration as the plan counts it: since the frame that the view's zones are drawn on."""
    motion = placement.motion.since(context.drawn)
    return replace(placement.registration, shift_px=motion.shift_px, rotation_deg=motion.rotation_deg)


def _with_rings(mask: Mask, picture: Picture, rings: Iterable[PolygonPx]) -> Mask:
    """The work-scale mask with input-frame polygons filled in; the same array where there are none."""
    corners = [np.round(picture.to_work_px(ring)).astype(np.int32) for ring in rings]
    if not corners:
        return mask
    filled = mask.copy()
    cv2.fillPoly(filled, corners, 255)
    return filled
