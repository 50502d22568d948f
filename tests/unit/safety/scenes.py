"""Findings made by hand: small scenes for the rules and alarms."""

from dataclasses import replace

import numpy as np

from guidance.records import (
    CementDeposit,
    Findings,
    FrameState,
    Needle,
    NerveRoot,
    Phase,
    PointPx,
    PolygonPx,
    Registration,
    Scale,
    ScaleSource,
    View,
    Zone,
    ZoneKind,
)

MM_PER_PX = 0.25
PULSE_S = 1 / 7.5


def box(x: float, y: float, w: float, h: float) -> PolygonPx:
    return np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]], dtype=np.float64)


FORAMEN = Zone("foramen_S1L", ZoneKind.FORBIDDEN, box(100, 100, 40, 40))
SOUND = Registration((0.0, 0.0), 0.0, 0.95, True)
LOST = replace(SOUND, confidence=0.1, ok=False)


def deposit(x: float, y: float, w: float, h: float, **more: float | PointPx) -> CementDeposit:
    return CementDeposit(1, (box(x, y, w, h),), w * h * MM_PER_PX**2, **more)


def needle(x: float, y: float, predicted: bool = False, confidence: float = 0.95) -> Needle:
    return Needle(1, (x, y), ((x, y), (x + 200, y)), 0.0, 12.0, None, predicted, confidence)


def root(x: float, y: float, w: float, h: float) -> NerveRoot:
    middle = np.array([[x, y + h / 2], [x + w, y + h / 2]])
    return NerveRoot(1, (box(x, y, w, h),), middle, w * h * MM_PER_PX**2)


def findings(
    pulse: int = 1,
    cement: tuple[CementDeposit, ...] = (),
    needles: tuple[Needle, ...] = (),
    roots: tuple[NerveRoot, ...] = (),
    zones: tuple[Zone, ...] = (FORAMEN,),
    registration: Registration | None = SOUND,
    state: FrameState = FrameState.LIVE,
    view_id: int = 0,
    t_s: float | None = None,
) -> Findings:
    return Findings(
        frame=pulse,
        t_s=pulse * PULSE_S if t_s is None else t_s,
        state=state,
        phase=Phase.CEMENT,
        phase_inferred=False,
        view=View.AP,
        view_id=view_id,
        field=None,
        registration=registration,
        scale=Scale(MM_PER_PX, ScaleSource.PLAN),
        zones=zones,
        needles=needles,
        nerve_roots=roots,
        cement=cement,
        pulse=pulse,
    )
