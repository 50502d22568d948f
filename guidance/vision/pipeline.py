"""The one place where the order of stages stands: a frame in, findings out."""

from dataclasses import dataclass, field, replace

import numpy as np

from drivers.frame import Frame, SourceInfo
from guidance.records import (
    CasePlan,
    CementDeposit,
    Findings,
    FrameState,
    Needle,
    NerveRoot,
    Phase,
    Scale,
    ScaleSource,
    View,
    ViewMark,
    Zone,
    ZoneKind,
)
from guidance.vision.cement import CementWatch
from guidance.vision.contrast import RootMapper
from guidance.vision.field import FieldWatch, XrayField
from guidance.vision.geometry import RigidMotion
from guidance.vision.liveness import LivenessWatch
from guidance.vision.needle import NeedleTracker, find_needles, shaft_mask
from guidance.vision.phase import PhaseClock
from guidance.vision.picture import Mask, Picture, make_picture
from guidance.vision.registration import Placement, Registrar

USUAL_NEEDLE_MM = 3.05
"""11 gauge: what a needle is taken for where the plan does not say."""

USUAL_FIELD_MM = 160.0
"""A 23 cm intensifier's field at the patient, magnified 1.4 times: the scale where nothing better is known."""

NEEDLE_WIDENING_PX = 3.0
"""Work pixels added around a shaft before other stages look: its blurred edge and a pulse's own motion."""


@dataclass(slots=True)
class _ViewContext:
    """What belongs to one view of the C-arm and waits for its return. Zones are in the reference frame's pixels."""

    roots: RootMapper
    cement: CementWatch
    view: View | None = None
    zones: tuple[Zone, ...] = ()
    found_roots: tuple[NerveRoot, ...] = ()
    deposits: tuple[CementDeposit, ...] = ()


@dataclass(slots=True)
class Pipeline:
    """All stages of one case, with their state. ``step`` is given every frame in order."""

    plan: CasePlan
    info: SourceInfo
    _liveness: LivenessWatch = field(default_factory=LivenessWatch)
    _field_watch: FieldWatch = field(default_factory=FieldWatch)
    _field: XrayField | None = None
    _tracker: NeedleTracker = field(default_factory=NeedleTracker)
    _registrar: Registrar = field(init=False)
    _phases: PhaseClock = field(init=False)
    _contexts: dict[int, _ViewContext] = field(default_factory=dict)
    _views_to_come: list[ViewMark] = field(init=False)
    _needle_scale: Scale | None = None
    _first_t_s: float | None = None
    _last: Findings | None = None

    def __post_init__(self) -> None:
        self._registrar = Registrar(self.plan.mm_per_px or self.info.mm_per_px)
        self._phases = PhaseClock(self.plan.phases)
        self._views_to_come = sorted(self.plan.views, key=lambda mark: mark.reference_s)

    def step(self, frame: Frame) -> Findings:
        """What is seen on this frame. One that is not a new live pulse repeats the last findings."""
        t_s = self._seconds(frame.t_s)
        liveness = self._liveness.update(frame, t_s, self._field)
        if liveness.state is FrameState.LIVE and (liveness.new_pulse or self._last is None):
            self._last = self._analyse(frame, t_s)
        else:
            self._last = self._repeat(liveness.state, t_s)
        return self._last

    def no_frame(self, t_s: float) -> Findings:
        """What to tell at source time ``t_s`` when no frame has come: no signal, the last findings repeated."""
        self._last = self._repeat(FrameState.NO_SIGNAL, self._seconds(t_s))
        return self._last

    def _seconds(self, source_t_s: float) -> float:
        if self._first_t_s is None:
            self._first_t_s = source_t_s
        return source_t_s - self._first_t_s

    def _repeat(self, state: FrameState, t_s: float) -> Findings:
        if self._last is not None:
            return replace(self._last, frame=self._last.frame + 1, t_s=t_s, state=state)
        phase, inferred = self._phases.at(t_s), self._phases.is_inferred
        return Findings(0, t_s, state, phase, inferred, self.plan.view, -1, None, None, None)

    def _analyse(self, frame: Frame, t_s: float) -> Findings:
        number = 0 if self._last is None else self._last.frame + 1
        self._field = self._field_watch.update(frame.pixels, frame.bits)
        picture = make_picture(frame.pixels, self._field, frame.bits)
        sightings = find_needles(picture, self._needle_diameters_px())
        shafts = shaft_mask(picture, sightings, NEEDLE_WIDENING_PX)
        placement = self._registrar.update(picture, self._not_bone(picture, shafts), number, t_s)
        context = self._context(placement, t_s)
        zones = _moved(context.zones, placement.motion)
        bodies = tuple(zone for zone in zones if zone.kind is ZoneKind.BODY)
        needles = self._tracker.update(sightings, t_s, placement.motion, placement.view_id, bodies)
        scale = self._scale(needles)
        phase = self._phases.at(t_s)
        self._look_for_absorbers(context, picture, placement, needles, shafts, phase, scale, t_s)
        return Findings(
            frame=number,
            t_s=t_s,
            state=FrameState.LIVE,
            phase=phase,
            phase_inferred=self._phases.is_inferred,
            view=context.view,
            view_id=placement.view_id,
            field=self._field.outline,
            registration=placement.registration,
            scale=scale,
            zones=zones,
            needles=needles,
            nerve_roots=context.found_roots,
            cement=context.deposits,
            pulse=1 if self._last is None else self._last.pulse + 1,
        )

    def _look_for_absorbers(
        self,
        context: _ViewContext,
        picture: Picture,
        placement: Placement,
        needles: tuple[Needle, ...],
        shafts: Mask,
        phase: Phase,
        scale: Scale,
        t_s: float,
    ) -> None:
        """Contrast and cement: new absorbers against this view's own past."""
        known_mm_per_px = None if scale.source is ScaleSource.ASSUMED else scale.mm_per_px
        context.found_roots = context.roots.update(
            picture, placement.motion, placement.registration.ok, needles, shafts, phase, known_mm_per_px, t_s
        )
        context.deposits = context.cement.update(
            picture, placement.motion, placement.registration.ok, needles, shafts, phase, known_mm_per_px, t_s
        )
        if self._phases.is_inferred:
            self._phases.note(needles, bool(context.found_roots), bool(context.deposits))

    def _not_bone(self, picture: Picture, shafts: Mask) -> Mask:
        """Work pixels that registration must not follow: shafts, and whatever contrast or cement lay last."""
        ...
        return shafts

    def _context(self, placement: Placement, t_s: float) -> _ViewContext:
        context = self._contexts.get(placement.view_id)
        if context is None:
            context = _ViewContext(RootMapper(), CementWatch())
            if not self._contexts and not self.plan.views:
                context.view = self.plan.view
                context.zones = tuple(z for z in self.plan.zones if z.view in (None, self.plan.view))
            self._contexts[placement.view_id] = context
        self._take_up_planned_view(context, placement, t_s)
        return context

    def _take_up_planned_view(self, context: _ViewContext, placement: Placement, t_s: float) -> None:
        """From its reference time on, a planned view is the one that is then on the screen."""
        if not (self._views_to_come and t_s >= self._views_to_come[0].reference_s and placement.registration.ok):
            return
        mark = self._views_to_come.pop(0)
        context.view = mark.view
        first = mark is min(self.plan.views, key=lambda m: m.reference_s)
        drawn = tuple(z for z in self.plan.zones if z.view is mark.view or (z.view is None and first))
        # Drawn on this frame; kept where they would lie on the view's own reference frame.
        context.zones = tuple(replace(zone, polygon_px=placement.motion.move_back(zone.polygon_px)) for zone in drawn)

    def _needle_diameters_px(self) -> tuple[float, float] | None:
        """The range of shaft widths that the plan's scale and gauge allow; None where they are not known."""
        mm_per_px = self.plan.mm_per_px or self.info.mm_per_px
        if mm_per_px is None:
            return None
        ...

    def _scale(self, needles: tuple[Needle, ...]) -> Scale:
        """Millimetres from the best that is known: plan, header, a needle's width, the field's usual size."""
        if self.plan.mm_per_px is not None:
            return Scale(self.plan.mm_per_px, ScaleSource.PLAN)
        if self.info.mm_per_px is not None:
            return Scale(self.info.mm_per_px, ScaleSource.HEADER)
        widths = [n.diameter_px for n in needles if n.diameter_px is not None and not n.predicted]
        if widths:
            mm = self.plan.needle_diameter_mm or USUAL_NEEDLE_MM
            self._needle_scale = Scale(mm / float(np.median(widths)), ScaleSource.NEEDLE)
        if self._needle_scale is not None:
            return self._needle_scale
        assert self._field is not None
        x0, y0, x1, y1 = self._field.box_px
        return Scale(USUAL_FIELD_MM / max(x1 - x0, y1 - y0), ScaleSource.ASSUMED)


def _moved(zones: tuple[Zone, ...], motion: RigidMotion) -> tuple[Zone, ...]:
    return tuple(replace(zone, polygon_px=motion.move(zone.polygon_px)) for zone in zones)
