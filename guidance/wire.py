"""Records as the contract's JSON: one shape for replay files, the bus and the dashboard.

Every float is rounded to 3 decimals (a thousandth of a pixel, of a millimetre, of a second), so that files are
compact and a difference in the last bit of a sum never shows. NaN and Infinity are refused, not written.
"""

from functools import lru_cache
from typing import Annotated, Any, cast

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidatorFunctionWrapHandler, WrapValidator

from guidance.records import (
    TECHNICAL,
    Alert,
    AlertKind,
    AlertState,
    CementDeposit,
    FieldKind,
    FieldOutline,
    Findings,
    FrameState,
    Needle,
    NerveRoot,
    Phase,
    PolygonPx,
    Priority,
    Registration,
    Scale,
    ScaleSource,
    View,
    Zone,
    ZoneKind,
)


def _rounded(value: Any, validate: ValidatorFunctionWrapHandler) -> list[tuple[float, float]]:
    """Points to three decimals, each as ``round`` has it, all at once: one by one they cost most of a message.

    ``value``: as it comes from the wire, or (n, 2) as the records have it.
    """
    exact = value if isinstance(value, np.ndarray) else np.array(validate(value), dtype=np.float64).reshape(-1, 2)
    if not np.isfinite(exact).all():
        raise ValueError("a polygon with a point that is nowhere; expected finite numbers")
    thousandths = exact * 1000.0
    whole = np.rint(thousandths)
    rounded = whole / 1000.0 + 0.0
    # Only the decimal digits tell which way something halfway goes, or so near to it that the product is.
    in_doubt = (np.abs(np.abs(thousandths - whole) - 0.5) < 1e-6) | (np.abs(thousandths) > 1e9)
    if in_doubt.any():
        rounded[in_doubt] = [round(number, 3) + 0.0 for number in exact[in_doubt].tolist()]
    return [(x, y) for x, y in rounded.tolist()]


Finite = Annotated[float, Field(allow_inf_nan=False)]
Rounded = Annotated[Finite, AfterValidator(lambda value: round(value, 3) + 0.0)]
Point = tuple[Rounded, Rounded]
Polygon = Annotated[list[tuple[Finite, Finite]], WrapValidator(_rounded)]


class WireModel(BaseModel):
    """A reader passes over fields that it does not know: an alert must reach one that is older than its sender."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class FieldMessage(WireModel):
    kind: FieldKind
    polygon: Polygon
    bone_dark: bool


class RegistrationMessage(WireModel):
    shift_px: Point
    rotation_deg: Rounded
    confidence: Rounded
    ok: bool


class ScaleMessage(WireModel):
    mm_per_px: Annotated[float, Field(gt=0, allow_inf_nan=False), AfterValidator(lambda v: round(v, 6))]
    source: ScaleSource


class ZoneMessage(WireModel):
    id: str
    kind: ZoneKind
    polygon_px: Polygon


class NeedleMessage(WireModel):
    id: int
    tip_px: Point
    shaft_px: tuple[Point, Point] | None
    angle_deg: Rounded | None
    diameter_px: Rounded | None
    depth_share: Rounded | None
    predicted: bool
    confidence: Rounded
    tip_hidden: bool = False


class NerveRootMessage(WireModel):
    id: int
    polygons_px: list[Polygon]
    centerline_px: Polygon
    area_mm2: Rounded | None


class CementMessage(WireModel):
    id: int
    polygons_px: list[Polygon]
    area_mm2: Rounded | None
    growth_mm2_per_s: Rounded | None
    front_mm_per_s: Rounded | None
    needle: int | None = None
    front_px: Point | None = None
    run_mm: Rounded | None = None


class FrameMessage(WireModel):
    """What begins a line of ``findings.jsonl``, and is all that tells a repeated frame from the one that it repeats."""

    frame: int
    t_s: Annotated[float, Field(allow_inf_nan=False), AfterValidator(lambda v: round(v, 6))]
    state: FrameState


class FindingsMessage(FrameMessage):
    """One line of ``findings.jsonl``."""

    phase: Phase
    phase_inferred: bool
    view: View | None
    view_id: int
    field_px: FieldMessage | None
    registration: RegistrationMessage | None
    scale: ScaleMessage | None
    zones: list[ZoneMessage]
    needles: list[NeedleMessage]
    nerve_roots: list[NerveRootMessage]
    cement: list[CementMessage]
    pulse: int
    latency_ms: Rounded | None
    input_fault: str | None = None


class AlertMessage(WireModel):
    """One line of ``alerts.jsonl``.

    ``kind`` and ``unit`` may be ones that this reader is too old to know: the alert is told all the same. ``active``
    false: the alert's last change, it is shown no more. ``technical``: it is about the watching, not about the patient.
    ``delay_ms``: from the capture of the frame that raised it until it was told; null in a replay.
    """

    id: int
    kind: Annotated[AlertKind | str, Field(union_mode="left_to_right")]
    priority: Priority
    state: AlertState
    frame: int
    t_s: Annotated[float, Field(allow_inf_nan=False), AfterValidator(lambda v: round(v, 6))]
    zone: str | None
    needle: int | None
    value: Rounded
    unit: str
    text: str
    technical: bool
    root: int | None = None
    subject: str | None = None
    first_seen_t_s: Annotated[float, Field(allow_inf_nan=False), AfterValidator(lambda v: round(v, 6))] | None = None
    active: bool = True
    by: str | None = None
    delay_ms: Rounded | None = None


def findings_message(findings: Findings) -> FindingsMessage:
    """The wire form of one frame's findings."""
    field, registration, scale = findings.field, findings.registration, findings.scale
    return FindingsMessage(
        frame=findings.frame,
        t_s=findings.t_s,
        state=findings.state,
        phase=findings.phase,
        phase_inferred=findings.phase_inferred,
        view=findings.view,
        view_id=findings.view_id,
        field_px=None if field is None else _field(field),
        registration=None
        if registration is None
        else RegistrationMessage(
            shift_px=registration.shift_px,
            rotation_deg=registration.rotation_deg,
            confidence=registration.confidence,
            ok=registration.ok,
        ),
        scale=None if scale is None else ScaleMessage(mm_per_px=scale.mm_per_px, source=scale.source),
        zones=[_zone(zone) for zone in findings.zones],
        needles=[_needle(needle) for needle in findings.needles],
        nerve_roots=[_root(root) for root in findings.nerve_roots],
        cement=[_cement(deposit) for deposit in findings.cement],
        pulse=findings.pulse,
        latency_ms=findings.latency_ms,
        input_fault=findings.input_fault,
    )


def alert_message(alert: Alert, delay_ms: float | None = None) -> AlertMessage:
    """The wire form of one change of an alert. ``delay_ms``: from its frame's capture until now, where known."""
    fields = {name: getattr(alert, name) for name in Alert.__dataclass_fields__}
    return AlertMessage(**fields, technical=alert.kind in TECHNICAL, delay_ms=delay_ms)


def alert_record(message: AlertMessage) -> Alert:
    """The alert that a message tells of; of a kind that is not known its name."""
    return Alert(**{name: getattr(message, name) for name in Alert.__dataclass_fields__})


def findings_json(findings: Findings) -> dict[str, Any]:
    """One line of ``findings.jsonl`` as JSON's own types."""
    return findings_message(findings).model_dump(mode="json")


def alert_json(alert: Alert) -> dict[str, Any]:
    """One line of ``alerts.jsonl`` as JSON's own types."""
    return alert_message(alert).model_dump(mode="json")


class FindingsLines:
    """Findings after findings as lines of ``findings.jsonl``, each as if it were made by itself.

    Of pulsed fluoroscopy most frames repeat a pulse, and its findings: what is the same is put into words once.
    """

    _SAME = tuple(name for name in Findings.__dataclass_fields__ if name not in FrameMessage.model_fields)

    def __init__(self) -> None:
        self._last: Findings | None = None
        self._rest = b""

    def line(self, findings: Findings) -> bytes:
        """The line, its break included. Raises ValueError for NaN and Infinity."""
        frame = FrameMessage(frame=findings.frame, t_s=findings.t_s, state=findings.state)
        head = frame.model_dump_json().encode()[:-1]
        if self._last is None or not self._repeats(self._last, findings):
            self._rest = findings_message(findings).model_dump_json().encode()[len(head) :] + b"\n"
        self._last = findings
        return head + self._rest

    def _repeats(self, last: Findings, now: Findings) -> bool:
        # Records never change: what is the same object tells the same.
        return all(getattr(now, name) is getattr(last, name) for name in self._SAME)


def _polygon(points: PolygonPx) -> Polygon:
    """The points as they are: the message's own check makes a list of them."""
    return cast(Polygon, np.asarray(points, dtype=np.float64).reshape(-1, 2))


@lru_cache(maxsize=4)
def _field(field: FieldOutline) -> FieldMessage:
    """The same for as long as the field is: a circle's outline has more points than all else in most messages."""
    return FieldMessage(kind=field.kind, polygon=_polygon(field.polygon_px), bone_dark=field.bone_dark)


def _zone(zone: Zone) -> ZoneMessage:
    return ZoneMessage(id=zone.id, kind=zone.kind, polygon_px=_polygon(zone.polygon_px))


def _needle(needle: Needle) -> NeedleMessage:
    return NeedleMessage(**{name: getattr(needle, name) for name in NeedleMessage.model_fields})


def _root(root: NerveRoot) -> NerveRootMessage:
    return NerveRootMessage(
        id=root.id,
        polygons_px=[_polygon(ring) for ring in root.polygons_px],
        centerline_px=_polygon(root.centerline_px),
        area_mm2=root.area_mm2,
    )


def _cement(deposit: CementDeposit) -> CementMessage:
    return CementMessage(
        id=deposit.id,
        polygons_px=[_polygon(ring) for ring in deposit.polygons_px],
        area_mm2=deposit.area_mm2,
        growth_mm2_per_s=deposit.growth_mm2_per_s,
        front_mm_per_s=deposit.front_mm_per_s,
        needle=deposit.needle,
        front_px=deposit.front_px,
        run_mm=deposit.run_mm,
    )


def findings_record(message: FindingsMessage) -> Findings:
    """What ``findings_message`` was made of, as far as it is told: to draw what was recorded as it was drawn then."""
    field, registration, scale = message.field_px, message.registration, message.scale
    return Findings(
        frame=message.frame,
        t_s=message.t_s,
        state=message.state,
        phase=message.phase,
        phase_inferred=message.phase_inferred,
        view=message.view,
        view_id=message.view_id,
        field=None if field is None else FieldOutline(field.kind, _array(field.polygon), field.bone_dark),
        registration=None
        if registration is None
        else Registration(
            registration.shift_px, registration.rotation_deg, registration.confidence, ok=registration.ok
        ),
        scale=None if scale is None else Scale(scale.mm_per_px, scale.source),
        zones=tuple(Zone(zone.id, zone.kind, _array(zone.polygon_px), message.view) for zone in message.zones),
        needles=tuple(
            Needle(**{name: getattr(needle, name) for name in NeedleMessage.model_fields}) for needle in message.needles
        ),
        nerve_roots=tuple(
            NerveRoot(root.id, _arrays(root.polygons_px), _array(root.centerline_px), root.area_mm2)
            for root in message.nerve_roots
        ),
        cement=tuple(
            CementDeposit(
                **{name: getattr(deposit, name) for name in CementMessage.model_fields if name != "polygons_px"},
                polygons_px=_arrays(deposit.polygons_px),
            )
            for deposit in message.cement
        ),
        pulse=message.pulse,
        latency_ms=message.latency_ms,
        input_fault=message.input_fault,
    )


def _array(points: Polygon) -> PolygonPx:
    return np.array(points, dtype=np.float64).reshape(-1, 2)


def _arrays(rings: list[Polygon]) -> tuple[PolygonPx, ...]:
    return tuple(_array(ring) for ring in rings)
