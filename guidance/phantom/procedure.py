"""A simulated procedure, frame by frame, with its plan and its truth.

A still view is projected once, on a picture larger than the detector. Needles, contrast and cement are drawn into
that larger picture, and each pulse warps the whole by the patient's movement in the plane of the view: breathing and
the table are small, so they need no new projection. Only a swing of the C-arm does.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from math import atan2, ceil, cos, degrees, radians, sin
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.casebook.case import FrameTruth, RootTruth, RunLengths, TipTruth
from guidance.phantom.carm import CArm
from guidance.phantom.detector import Detector, DetectorSettings
from guidance.phantom.instruments import BoneNeedle, Cable, Clamp, Screw
from guidance.phantom.monitor import (
    DisplayCurve,
    FieldShape,
    Gray,
    Layout,
    Monitor,
    Shutters,
    field_mask,
    field_outline,
    jpeg,
    lost_frame,
)
from guidance.phantom.patient import Volume
from guidance.phantom.projector import Shadow
from guidance.phantom.scenario import Distractor, NeedlePath, Pose, Scenario
from guidance.phantom.shelf import BareView, PatientKey, bare_view, cement_spread, contrast_run, patient_of, project
from guidance.phantom.spectrum import Beam
from guidance.phantom.spread import CementSpread, gas_bubble_cm, skin_spill
from guidance.phantom.timeline import (
    Moment,
    body_shift_mm,
    injected_ml,
    moments,
    phase_at,
    phases,
    pose_at,
    remaining_mm,
    swing_at,
    swinging_share,
    turned_deg,
)
from guidance.phantom.zones import clip_to_frame, draw_zones, target_mm
from guidance.records import FrameState, View, Zone, ZoneKind

Matrix = NDArray[np.float64]
"""Shape (3, 3), homogeneous pixels."""

PEDAL_UP_S = 1.5
"""No pulse for longer than this: the pedal was up, and the machine starts its recursive filter afresh."""

SEEN_STEEL_CM = 0.03
"""Steel this thick takes a fifth of the beam: less is lost in the noise."""

HIDING_STEEL_CM = 0.1
"""Metal this thick over a needle's point leaves a tenth of the beam and no edge of the point to see."""

_NO_SHADOW: Shadow = ((0, 0, 0, 0), np.zeros((0, 0), np.float32))

ESCAPE_ML = 0.02
"""What 5 mm of a run 2.2 mm wide hold."""

SPILL_ML = 1.5
GAS_RADIUS_MM = 11.0
RAIL_MM, RAIL_METAL = 1.6, 0.12
"""An aluminium edge: its share of steel's attenuation makes it as faint as the table lines of real pictures."""

CEMENT_TRUTH_CM, ROOT_TRUTH_CM, STEEL_TRUTH_CM = 0.1, 0.03, 0.02
SOFT_EDGE_SHARE, HARD_EDGE_PX = 0.022, 1.8
"""Widths (10 to 90 %) of the field's edge: of the iris's shadow as a share of the picture, of the machine's mask."""

MONITOR_PICTURE_PX = {Layout.MONITOR_1280X1024: 940, Layout.MONITOR_1920X1080: 900}


class StillView:
    """A view with the C-arm at rest: the patient's shadow on a large picture, and what lies in it now.

    ``carm`` is the wide one, which ``bare`` was projected with.
    """

    def __init__(self, bare: BareView, carm: CArm, beam: Beam) -> None:
        self.carm = carm
        self._beam = beam
        self._bare = bare
        self.roots_cm = np.zeros_like(bare.primary)
        """The thickest that contrast has been so far, in cm."""
        self.cement_cm = np.zeros_like(bare.primary)
        self.steel_cm = np.zeros_like(bare.primary)

    def primary(
        self,
        steel: list[Shadow],
        cement: list[Shadow],
        iodine: list[Shadow],
        spilt: list[Shadow],
        gas: list[Shadow],
    ) -> Volume:
        """Transmitted share of the beam with these shadows in it."""
        self.steel_cm, self.cement_cm, iodine_cm = (self._laid(shadows) for shadows in (steel, cement, iodine))
        np.maximum(self.roots_cm, iodine_cm, out=self.roots_cm)
        iodine_cm += self._laid(spilt)
        # Few pixels have anything but the patient in them: only theirs are worth four exponentials.
        gas_cm = self._laid(gas)
        touched = np.flatnonzero((self.steel_cm > 0) | (self.cement_cm > 0) | (iodine_cm > 0) | (gas_cm > 0))
        soft_cm = np.maximum(self._bare.soft_cm - gas_cm, np.float32(0.0)) if gas else self._bare.soft_cm
        parts = (soft_cm, self._bare.bone_cm, self.steel_cm, self.cement_cm, iodine_cm)
        whole = self._bare.primary.copy()
        whole.ravel()[touched] = self._beam.primary(*(part.ravel()[touched] for part in parts))
        return whole

    def _laid(self, shadows: list[Shadow]) -> Volume:
        total = np.zeros_like(self._bare.primary)
        for (x0, y0, x1, y1), patch in shadows:
            total[y0:y1, x0:x1] += patch
        return total


class Procedure:
    """A scenario being played. ``frames`` may be called once; ``plan`` is there from the beginning.

    ``seed`` replaces the scenario's own: another patient, other noise, another way for the cement. ``size_px``
    replaces the detector's matrix. ``folder``: where a scenario's CT is looked for.
    """

    def __init__(
        self, scenario: Scenario, seed: int | None = None, size_px: int | None = None, folder: Path | None = None
    ) -> None:
        self.scenario = scenario
        self.seed = scenario.anatomy.seed if seed is None else seed
        self.moments = moments(scenario)
        video, display = scenario.video, scenario.display
        self._side_px = size_px or video.size_px
        self.monitor = Monitor(
            display.layout,
            self._side_px,
            display.picture_px or MONITOR_PICTURE_PX.get(display.layout, self._side_px),
            text=display.text,
        )
        ct = scenario.anatomy.ct
        self._key = PatientKey.of(self.seed, None if ct is None else (folder or Path()) / ct)
        self.patient = patient_of(self._key)
        self._beam = Beam(video.kvp)
        self._detector = Detector(
            DetectorSettings(pixel_mm=scenario.carm.field_mm / self._side_px, lag=video.lag), self.seed
        )
        self._curve = DisplayCurve(latitude=display.latitude, edge_gain=display.edge_gain, inverted=display.inverted)
        soft = display.edge == "soft"
        edge_px = SOFT_EDGE_SHARE * self._side_px if soft else HARD_EDGE_PX
        field = field_mask(display.field, self._side_px, edge_px)
        self._iris = field if soft else None
        self._mask = None if soft else (field * 255).astype(np.uint8)
        self._phases = phases(scenario)
        self._views: dict[Pose, StillView] = {}
        self._references: dict[View, tuple[Moment, Pose, Matrix]] = {}
        self._zones: dict[View, dict[str, Zone]] = {}
        self._spreads = [self._spread(i) for i in range(len(scenario.cement))]
        self._injected = [0.0] * len(self._spreads)
        self._runs = [
            contrast_run(self._key, c.root, c.ml, self.seed + i, c.washout_s, c.into)
            for i, c in enumerate(scenario.contrast)
        ]
        self._last: tuple[Moment, FrameTruth] | None = None
        for view in View:
            self._draw_view(view)
        # Projected now: a picture must not wait for it in mid-procedure.
        for pose in (scenario.carm, *scenario.swings):
            self._still_view(pose)

    # ---- what is known before the first frame

    @property
    def size_px(self) -> tuple[int, int]:
        """(width, height) of the video frames."""
        return self.monitor.size_px

    @property
    def mm_per_px(self) -> float:
        """In the isocentre's plane of the first pose, in video-frame pixels."""
        return self._carm(self.scenario.carm).mm_per_px * self._side_px / self.monitor.picture_px

    @property
    def plan(self) -> dict[str, Any]:
        """What the operator would know: the contract's ``plan.json``."""
        width, height = self.size_px
        zones = []
        for view, drawn in self._zones.items():
            for zone in drawn.values():
                polygon = clip_to_frame(zone.polygon_px, width, height)
                if polygon is not None:
                    entry = {"id": zone.id, "kind": zone.kind.value, "polygon_px": np.round(polygon, 2).tolist()}
                    zones.append(entry | ({"view": view.value} if self.scenario.swings else {}))
        plan: dict[str, Any] = {"schema": 1, "mm_per_px": round(self.mm_per_px, 6)}
        if self.scenario.needles:
            plan["needle_diameter_mm"] = {11: 3.05, 13: 2.4}[self.scenario.needles[0].gauge]
        plan["view"] = self.scenario.carm.view.value
        plan["phases"] = [{"at_s": mark.at_s, "phase": mark.phase.value} for mark in self._phases]
        plan["zones"] = zones
        if self.scenario.swings:
            plan["views"] = [
                {"view": view.value, "reference_s": first.t_s} for view, (first, _, _) in self._references.items()
            ]
        return plan

    # ---- the frames

    def frames(self) -> Iterator[tuple[Moment, Gray]]:
        """Video frames in order, uint8 of ``size_px``."""
        picture = np.zeros((self._side_px, self._side_px), np.uint8)
        stored: Gray | None = None
        whole = self.monitor.show(picture, None, 0.0, "", "")
        last_pulse_s = 0.0
        for moment in self.moments:
            if moment.fresh:
                if moment.pulse_s - last_pulse_s > PEDAL_UP_S:
                    self._detector.forget()
                picture = self._picture(moment, moment.pulse_s - last_pulse_s)
                last_pulse_s = moment.pulse_s
                stored = picture if stored is None else stored
            if moment.state is FrameState.NO_SIGNAL:
                assert moment.screen is not None
                yield moment, lost_frame(self.size_px, moment.screen.screen, self.seed, moment.frame)
                continue
            if moment.state is not FrameState.FROZEN:
                whole = self._shown(moment, picture, stored)
            yield moment, whole

    def truth(self, moment: Moment) -> FrameTruth:
        """What is true of the frame that was given last.

        A frame that shows an earlier pulse has that pulse's truth, under its own number, time and state.
        """
        if self._last is None or self._last[0].pulse != moment.pulse:
            self._last = (moment, self._truth_of_pulse(moment))
        update = {"frame": moment.frame, "t_s": moment.t_s, "state": moment.state}
        update["held"] = moment.state is FrameState.HELD
        update["phase"] = phase_at(self._phases, moment.t_s)
        return self._last[1].model_copy(update=update)

    def _shown(self, moment: Moment, picture: Gray, stored: Gray | None) -> Gray:
        video = self.scenario.video
        status = "LIVE" if moment.state is FrameState.LIVE else "HOLD"
        exposure = f"{video.kvp:.0f} kV  {video.pulse_hz:g} p/s"
        whole = self.monitor.show(picture, stored, moment.t_s, status, exposure)
        return whole if video.jpeg_quality is None else jpeg(whole, video.jpeg_quality)

    def _picture(self, moment: Moment, since_last_s: float) -> Gray:
        """One pulse, from the beam to the developed picture in its field."""
        t = moment.pulse_s
        for i, injection in enumerate(self.scenario.cement):
            wanted = injected_ml(injection.start_s, injection.end_s, injection.ml, t)
            if wanted > self._injected[i]:
                self._spreads[i].inject(wanted - self._injected[i])
                self._injected[i] = wanted
        view = self._swung_view(t) or self._still_view(pose_at(self.scenario, t))
        lit = view.primary(*self._shadows(view.carm, t))
        side = (self._side_px, self._side_px)
        to_picture = self._wide_to_picture(view.carm, t)[:2]
        # Beyond the wide picture lies more patient, never air.
        primary = cv2.warpAffine(lit, to_picture, side, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        primary *= self._opening(t)
        signal = self._detector.expose(primary, self._dose_ur(t), since_last_s)
        picture = self._curve.develop(signal)
        return picture if self._mask is None else np.asarray(cv2.multiply(picture, self._mask, scale=1 / 255))

    def _shadows(self, carm: CArm, t_s: float) -> tuple[list[Shadow], ...]:
        """What casts a shadow besides the patient: steel, cement, contrast in the body and on the skin, new gas."""
        steel = [needle.steel_cm(carm) for needle in self._needles(t_s)]
        things = self._things(t_s)
        steel += [metal.steel_cm(carm) for thing in things for metal in _metals(thing, t_s)]
        cement = [s.cement_cm(carm) for s, ml in zip(self._spreads, self._injected, strict=True) if ml > 0]
        iodine: list[Shadow] = []
        spilt = [
            skin_spill(np.array(d.at_mm), SPILL_ML, self.seed).iodine_cm(carm) for d in things if d.kind == "spill"
        ]
        for run, injection in zip(self._runs, self.scenario.contrast, strict=True):
            if t_s > injection.start_s:
                goes_to = iodine if injection.into == "root" else spilt
                goes_to.append(run.at(t_s - injection.start_s).iodine_cm(carm))
        gas = [gas_bubble_cm(_place_mm(d, t_s), GAS_RADIUS_MM, carm) for d in things if d.kind == "gas"]
        return steel, cement, iodine, spilt, gas

    def _opening(self, t_s: float) -> Volume:
        """The share of the beam that iris and shutters let through."""
        closed = max((c for c in self.scenario.collimation if c.at_s <= t_s), key=lambda c: c.at_s, default=None)
        open_ = np.ones((1, 1), np.float32)
        if closed is not None:
            leaves = Shutters(closed.left, closed.top, closed.right, closed.bottom, closed.turn_deg)
            open_ = _opening(leaves, self._side_px)
        return open_ if self._iris is None else np.maximum(open_ * self._iris, np.float32(0.002))

    def _dose_ur(self, t_s: float) -> float:
        steps = [step for step in self.scenario.dose if step.at_s <= t_s]
        return max(steps, key=lambda s: s.at_s).dose_ur if steps else self.scenario.video.dose_ur

    # ---- the scene

    def _needles(self, t_s: float) -> list[BoneNeedle]:
        return [self._needle(path, t_s) for path in self.scenario.needles if path.appears_s <= t_s]

    def _things(self, t_s: float) -> list[Distractor]:
        return [d for d in self.scenario.distractors if d.start_s <= t_s < d.end_s]

    def _needle(self, path: NeedlePath, t_s: float) -> BoneNeedle:
        target = target_mm(self.patient.landmarks, path.target) + np.array(path.offset_mm)
        hub = np.array([np.tan(radians(path.lateral_deg)), 1.0, np.tan(radians(path.cephalad_deg))])
        inwards = -hub / np.linalg.norm(hub)
        return BoneNeedle(target - remaining_mm(path, t_s) * inwards, inwards, path.gauge)

    def _spread(self, i: int) -> CementSpread:
        injection = self.scenario.cement[i]
        tip = self._needle(self.scenario.needles[injection.needle - 1], injection.start_s).tip_mm
        x, y, z = tip.tolist()
        return cement_spread(self._key, (x, y, z), self.seed + i, injection.leak, injection.leak_after_ml)

    def _carm(self, pose: Pose) -> CArm:
        return CArm(
            rotation_deg=pose.angle_deg,
            tilt_deg=pose.tilt_deg,
            isocentre_mm=pose.isocentre_mm,
            side_px=self._side_px,
            detector_side_mm=pose.field_mm,
        )

    def _panned(self, before: Pose, after: Pose) -> Matrix:
        """How far the sacrum's picture moves on the detector when the C-arm goes from one pose to the other.

        Exact for a pan; between poses of one view that differ in angle nothing rigid would be.
        """
        sacrum_mm = np.zeros((1, 3))
        (x0, y0), (x1, y1) = (self._carm(pose).project(sacrum_mm)[0] for pose in (before, after))
        return _shift(float(x1 - x0), float(y1 - y0))

    def _still_view(self, pose: Pose) -> StillView:
        key = Pose.model_validate({name: getattr(pose, name) for name in Pose.model_fields})
        if key not in self._views:
            upsample = 2 * max(1, round(self._side_px / 512)) if self._side_px > 256 else 1
            wide = _widened(self._carm(pose), self._margin_px(pose), upsample)
            self._views[key] = StillView(bare_view(self._key, wide, upsample, self._beam), wide, self._beam)
        return self._views[key]

    def _swung_view(self, t_s: float) -> StillView | None:
        """The view in mid-swing, with a quarter of the rays each way: nobody reads a swinging picture."""
        swing = swing_at(self.scenario, t_s)
        if swing is None or not swing.beam_on:
            return None
        share, before = swinging_share(swing, t_s), pose_at(self.scenario, t_s)
        pose = before.model_copy(
            update={
                "rotation_deg": before.angle_deg + share * (swing.angle_deg - before.angle_deg),
                "tilt_deg": before.tilt_deg + share * (swing.tilt_deg - before.tilt_deg),
                "isocentre_mm": tuple(
                    a + share * (b - a) for a, b in zip(before.isocentre_mm, swing.isocentre_mm, strict=True)
                ),
            }
        )
        upsample = 8
        wide = _widened(self._carm(pose), 0, upsample)
        return StillView(project(self.patient, wide, upsample, self._beam), wide, self._beam)

    def _margin_px(self, pose: Pose) -> int:
        """How much larger than the detector a picture must be on each side for all that the patient moves."""
        carm, iso = self._carm(pose), np.array(pose.isocentre_mm)
        times = np.linspace(0, self.scenario.video.duration_s, 200)
        shifts = np.array([body_shift_mm(self.scenario, float(t)) for t in times])
        reach = np.abs(carm.project(iso + shifts) - carm.project(iso[None])).max()
        turned = max(abs(turned_deg(self.scenario, float(t))) for t in times) + abs(self.scenario.display.rotation_deg)
        # Outside the field nothing is seen, so a turned circle needs no corners.
        corner = 0.0 if self.scenario.display.field is FieldShape.CIRCLE else sin(radians(min(turned, 45)))
        return ceil(float(reach) + corner * self._side_px / 2) + 4

    def _wide_to_picture(self, wide: CArm, t_s: float) -> Matrix:
        """The patient's movement in the plane of a view, then the picture's own turn, in detector pixels."""
        margin = (wide.side_px - self._side_px) / 2
        iso = np.array(wide.isocentre_mm)
        moved = wide.project(np.stack([iso + body_shift_mm(self.scenario, t_s), iso]))
        centre = (self._side_px - 1) / 2
        body = _turn(turned_deg(self.scenario, t_s), centre)
        body[:2, 2] += moved[0] - moved[1]
        return _turn(self.scenario.display.rotation_deg, centre) @ body @ _shift(-margin, -margin)

    def _wide_to_frame(self, wide: CArm, t_s: float) -> Matrix:
        return self.monitor.matrix @ self._wide_to_picture(wide, t_s)

    # ---- plan and truth

    def _first_moment(self, view: View) -> Moment | None:
        """The first pulse with the C-arm at rest in this view."""
        for moment in self.moments:
            resting = moment.fresh and swing_at(self.scenario, moment.pulse_s) is None
            if resting and pose_at(self.scenario, moment.pulse_s).view is view:
                return moment
        return None

    def _draw_view(self, view: View) -> None:
        """Draw a view's zones on its first frame, if it is ever seen."""
        first = self._first_moment(view)
        if first is None:
            return
        pose = pose_at(self.scenario, first.pulse_s)
        carm = self._carm(pose)
        matrix = self._wide_to_frame(carm, first.pulse_s)
        targets = [needle.target for needle in self.scenario.needles]
        self._references[view] = (first, pose, matrix)
        self._zones[view] = draw_zones(
            self.patient.landmarks, view, lambda points_mm: _moved(matrix, carm.project(points_mm)), targets
        )

    def _truth_of_pulse(self, moment: Moment) -> FrameTruth:
        t, pose = moment.pulse_s, pose_at(self.scenario, moment.pulse_s)
        bare = FrameTruth(
            frame=moment.frame,
            t_s=moment.t_s,
            pulse=moment.pulse,
            state=moment.state,
            held=False,
            phase=phase_at(self._phases, t),
            view=None,
            shift_px=None,
            rotation_deg=None,
        )
        if moment.pulse < 0 or swing_at(self.scenario, t) is not None:
            return bare
        still = self._still_view(pose)
        to_frame = self._wide_to_frame(still.carm, t)
        _, reference_pose, reference = self._references[pose.view]
        panned = self._panned(reference_pose, pose)
        motion = self._wide_to_frame(self._carm(pose), t) @ panned @ np.linalg.inv(reference)
        shift_px, rotation_deg = _as_registration(motion, self.size_px)
        zones = {name: _moved(motion, zone.polygon_px) for name, zone in self._zones[pose.view].items()}
        forbidden = [z.id for z in self._zones[pose.view].values() if z.kind is ZoneKind.FORBIDDEN]
        tips = self._tips(still, to_frame, t)
        cement, roots, steel = (
            self._seen(thickness, to_frame, least)
            for thickness, least in (
                (still.cement_cm, CEMENT_TRUTH_CM),
                (still.roots_cm, ROOT_TRUTH_CM),
                (still.steel_cm, STEEL_TRUTH_CM),
            )
        )
        mm2 = self.mm_per_px**2
        hidden = (still.steel_cm >= STEEL_TRUTH_CM) | (still.cement_cm < CEMENT_TRUTH_CM)

        def leak_mm2(seen: NDArray[np.bool_]) -> dict[str, float]:
            return {
                name: round(float(np.count_nonzero(seen & _filled(zones[name], seen.shape))) * mm2, 3)
                for name in forbidden
            }

        return bare.model_copy(
            update={
                "view": pose.view,
                "shift_px": shift_px,
                "rotation_deg": rotation_deg,
                "tips": tips,
                "leak_mm2": leak_mm2(cement),
                "leak_beside_steel_mm2": leak_mm2(cement & ~steel),
                "tip_in_zone": {
                    name: any(t.visible and _inside(zones[name], t.tip_px) for t in tips) for name in forbidden
                },
                "cement_mm2": round(float(np.count_nonzero(cement)) * mm2, 3),
                "roots_mm2": round(float(np.count_nonzero(roots)) * mm2, 3),
                "escape": any(spread.leaked_ml >= ESCAPE_ML for spread in self._spreads),
                "run_mm": _longest_mm(spread.run_mm(still.carm) for spread in self._spreads),
                "run_beside_steel_mm": _longest_mm(spread.run_mm(still.carm, hidden) for spread in self._spreads),
                "cement": RunLengths.of(cement) if cement.any() else None,
                "roots": RunLengths.of(roots) if roots.any() else None,
                "filled": self._filled_roots(still.carm, to_frame, t),
                "zones": {name: _points(polygon) for name, polygon in zones.items()},
            }
        )

    def _tips(self, still: StillView, to_frame: Matrix, t_s: float) -> tuple[TipTruth, ...]:
        field = _moved(self.monitor.matrix, field_outline(self.scenario.display.field, self._side_px))
        carm = still.carm
        present = [(n, path) for n, path in enumerate(self.scenario.needles, start=1) if path.appears_s <= t_s]
        needles = [self._needle(path, t_s) for _, path in present]
        metal = [needle.steel_cm(carm) for needle in needles] if len(needles) > 1 else [_NO_SHADOW]
        metal += [piece.steel_cm(carm) for thing in self._things(t_s) for piece in _metals(thing, t_s)]
        tips = []
        for i, ((number, _), needle) in enumerate(zip(present, needles, strict=True)):
            apex_px, back_px = _visible_apex_px(needle, carm), np.array(needle.back_px(carm))
            point_px = _point_px(needle, apex_px, back_px, carm)
            hidden = any(_thickness_cm(shadow, point_px) > HIDING_STEEL_CM for shadow in metal[:i] + metal[i + 1 :])
            tip, back = _moved(to_frame, np.stack([apex_px, back_px]))
            whole = (0, 0, carm.side_px, carm.side_px)
            tips.append(
                TipTruth(
                    id=number,
                    tip_px=_points(tip[None])[0],
                    back_px=_points(back[None])[0],
                    visible=not hidden and _inside(field, (float(tip[0]), float(tip[1]))),
                    in_cement=_thickness_cm((whole, still.cement_cm), point_px) > CEMENT_TRUTH_CM,
                    shaft_px=_length_inside(field, tip, back),
                )
            )
        return tuple(tips)

    def _filled_roots(self, carm: CArm, to_frame: Matrix, t_s: float) -> dict[str, RootTruth]:
        filled = {}
        for run, injection in zip(self._runs, self.scenario.contrast, strict=True):
            thickness_cm = np.zeros((carm.side_px, carm.side_px), np.float32)
            (x0, y0, x1, y1), patch = run.filled_sheath(t_s - injection.start_s).iodine_cm(carm)
            thickness_cm[y0:y1, x0:x1] = patch
            seen = self._seen(thickness_cm, to_frame, ROOT_TRUTH_CM)
            if seen.any():
                line_px = _moved(to_frame, carm.project(run.line_mm))
                filled[injection.root] = RootTruth(mask=RunLengths.of(seen), line_px=_points(line_px))
        return filled

    def _seen(self, thickness_cm: Volume, to_frame: Matrix, least_cm: float) -> NDArray[np.bool_]:
        """Where a material is at least this thick, on the frame and inside the field."""
        width, height = self.size_px
        if not thickness_cm.any():
            return np.zeros((height, width), dtype=bool)
        warped = cv2.warpAffine(thickness_cm, to_frame[:2], (width, height), flags=cv2.INTER_LINEAR)
        field = _moved(self.monitor.matrix, field_outline(self.scenario.display.field, self._side_px))
        return np.asarray((warped >= least_cm) & _filled(field, warped.shape))


@lru_cache(maxsize=4)
def _opening(leaves: Shutters, side_px: int) -> Volume:
    return leaves.opening(side_px, penumbra_px=0.012 * side_px)


def _widened(carm: CArm, margin_px: int, multiple: int) -> CArm:
    """The same view on a detector that reaches further on each side; its side is a multiple of ``multiple``."""
    side = carm.side_px + 2 * margin_px
    while side % multiple:
        side += 2 if carm.side_px % 2 == side % 2 else 1
    return replace(carm, side_px=side, detector_side_mm=carm.pitch_mm * side)


def _place_mm(thing: Distractor, t_s: float) -> NDArray[np.float64]:
    return np.array(thing.at_mm) + (t_s - thing.start_s) * np.array(thing.drift_mm_per_s)


def _metals(thing: Distractor, t_s: float) -> tuple[Clamp | Screw | Cable, ...]:
    at, a = _place_mm(thing, t_s), radians(thing.angle_deg)
    along = np.array([cos(a), 0.0, sin(a)])
    across = np.array([-sin(a), 0.0, cos(a)])
    s = np.linspace(-120, 120, 40)[:, None]
    match thing.kind:
        case "clamp":
            return (Clamp(at, along, across),)
        case "screw":
            return (Screw(at, along),)
        case "cable":
            return (Cable(at + s * along + 6 * np.sin(s / 22) * across),)
        case "rail":
            sides = (at - 24 * across, at + 24 * across)
            return tuple(Cable(side + s[[0, -1]] * along, RAIL_MM, RAIL_METAL) for side in sides)
        case "spill" | "gas":
            return ()


def _visible_apex_px(needle: BoneNeedle, carm: CArm) -> NDArray[np.float64]:
    """Where the needle's shadow ends on its axis, shape (2,).

    Seen obliquely from behind, an edge of the trocar stands out beyond its point; seen from the side, the point's
    last third of a millimetre is too thin to be seen. The handle, which lies over a point
    seen end-on, is no part of it.
    """
    apex, back = np.array(needle.tip_px(carm)), np.array(needle.back_px(carm))
    length = float(np.linalg.norm(back - apex))
    (x0, y0, _, _), patch = replace(needle, hub=False).steel_cm(carm)
    if patch.size == 0 or length < 1:
        return apex
    along = (back - apex) / length
    across = np.array([-along[1], along[0]])
    s_mm = np.arange(-2.0, 2.0, 0.05)
    aside_mm = np.linspace(-0.25, 0.25, 5) * needle.diameter_mm
    spots_mm = s_mm[:, None, None] * along + aside_mm[:, None] * across
    spots = (apex + spots_mm / carm.mm_per_px - (x0, y0)).astype(np.float32)
    steel_cm = cv2.remap(patch, spots[..., 0], spots[..., 1], cv2.INTER_LINEAR)
    seen = np.flatnonzero((steel_cm >= SEEN_STEEL_CM).any(axis=1))
    return apex if seen.size == 0 else np.asarray(apex + s_mm[seen[0]] / carm.mm_per_px * along)


def _point_px(needle: BoneNeedle, apex_px: Matrix, back_px: Matrix, carm: CArm) -> NDArray[np.float32]:
    """Five places on the axis of the needle's point, from its apex one diameter back, shape (5, 2)."""
    length = float(np.linalg.norm(back_px - apex_px))
    along = (back_px - apex_px) / max(length, 1.0)
    reach_px = min(length, needle.diameter_mm / carm.mm_per_px)
    return (apex_px + np.linspace(0, reach_px, 5)[:, None] * along).astype(np.float32)


def _length_inside(field: NDArray[np.float64], tip: NDArray[np.float64], back: NDArray[np.float64]) -> float:
    """How much of a shaft lies inside the field, in whole pixels."""
    length = float(np.linalg.norm(back - tip))
    places = tip + np.arange(0.5, max(1.0, length))[:, None] * (back - tip) / max(length, 1.0)
    return float(sum(_inside(field, (float(x), float(y))) for x, y in places))


def _longest_mm(lengths_mm: Iterable[float]) -> float:
    return round(max(lengths_mm, default=0.0), 2)


def _thickness_cm(shadow: Shadow, points_px: NDArray[np.float32]) -> float:
    """The mean thickness at points of the wide picture."""
    (x0, y0, x1, y1), patch = shadow
    inside = [
        patch[y - y0, x - x0] if x0 <= x < x1 and y0 <= y < y1 else 0.0 for x, y in np.rint(points_px).astype(int)
    ]
    return float(np.mean(inside))


def _turn(angle_deg: float, centre_px: float) -> Matrix:
    """Turn counter-clockwise on the screen about (centre, centre); y runs down."""
    a = radians(angle_deg)
    turn = np.array([[cos(a), sin(a), 0.0], [-sin(a), cos(a), 0.0], [0.0, 0.0, 1.0]])
    return np.asarray(_shift(centre_px, centre_px) @ turn @ _shift(-centre_px, -centre_px))


def _shift(x_px: float, y_px: float) -> Matrix:
    return np.array([[1.0, 0.0, x_px], [0.0, 1.0, y_px], [0.0, 0.0, 1.0]])


def _as_registration(motion: Matrix, size_px: tuple[int, int]) -> tuple[tuple[float, float], float]:
    """A rigid motion as ``records.Registration`` has it: turn about the frame's centre, then shift."""
    centre = np.array([(size_px[0] - 1) / 2, (size_px[1] - 1) / 2, 1.0])
    shift = (motion @ centre - centre)[:2]
    return (round(float(shift[0]), 3), round(float(shift[1]), 3)), round(degrees(atan2(motion[0, 1], motion[0, 0])), 4)


def _moved(matrix: Matrix, points_px: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(points_px @ matrix[:2, :2].T + matrix[:2, 2])


def _points(polygon: NDArray[np.float64]) -> tuple[tuple[float, float], ...]:
    return tuple((round(float(x), 2), round(float(y), 2)) for x, y in polygon)


def _filled(polygon: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.round(polygon * 16).astype(np.int32)], 1, shift=4)
    return mask.astype(bool)


def _inside(polygon: NDArray[np.float64], point_px: tuple[float, float]) -> bool:
    return bool(cv2.pointPolygonTest(polygon.astype(np.float32).reshape(-1, 1, 2), point_px, False) >= 0)
