"""From the newest frame to what is told of it, and the orders of those who look at it."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass, replace
from queue import Empty, SimpleQueue
from typing import Literal, Protocol, assert_never

import numpy as np

from drivers.frame import Frame, Pixels, SourceInfo, freeze
from drivers.signal import Signal
from guidance.bus.desk import Desk
from guidance.bus.messages import (
    HEARTBEAT_S,
    Acknowledge,
    AlarmLogBody,
    AudioBody,
    ChooseSource,
    HealthBody,
    InputBody,
    Mark,
    NextPatient,
    Order,
    PauseAudio,
    PinField,
    RemoveZone,
    SetPhase,
    SetView,
    SetZone,
    TakeReference,
    UsePlan,
)
from guidance.bus.publisher import FramePublisher, Publisher
from guidance.casebook.alarm_log import SERVICE, AlarmLog, Event
from guidance.casebook.field_pins import FieldPin, FieldPins, FieldPinsError
from guidance.drawing import faults, is_convex
from guidance.overlay import draw, strokes_json
from guidance.plan import PlanError, check_zones_inside
from guidance.records import (
    Alert,
    AlertState,
    CasePlan,
    Condition,
    Findings,
    FrameState,
    Phase,
    PolygonPx,
    View,
    Zone,
    ZoneKind,
)
from guidance.safety.alarms import NoSuchAlertError, Watch, carried_over
from guidance.safety.equipment import Equipment, equipment_conditions
from guidance.service.capture import PATIENCE_S, TICK_S, Capture, Captured, Case, NotChosenError, Slot
from guidance.service.recording import Recording, Write
from guidance.settings import Settings
from guidance.vision.pipeline import NothingSeenError
from guidance.wire import AlertMessage, FindingsMessage, alert_message, findings_message

WATCH_S = 0.025
"""How often the source's own word on its input is looked at while no frame comes."""


class Analyses(Protocol):
    """What the service needs of a pipeline."""

    def step(self, frame: Frame) -> Findings: ...

    def settle(self) -> None: ...

    def no_frame(self, t_s: float) -> Findings: ...

    def set_phase(self, phase: Phase) -> None: ...

    def set_view(self, view: View) -> None: ...

    def set_zone(self, zone: Zone, pulse: int | None = None) -> None: ...

    def remove_zone(self, zone_id: str) -> None: ...

    def take_reference(self) -> None: ...

    def use_plan(self, plan: CasePlan, drawn_on: Mapping[View, int]) -> None: ...

    def pin_field(self, polygon_px: PolygonPx | None, bone_dark: bool | None) -> bool: ...


MakePipeline = Callable[[CasePlan, SourceInfo], Analyses]
Encode = Callable[[Frame], Future[bytes]]


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """What the pictures' thread needs for one message.

    ``jpeg``: of the last analysed pulse, None before the first; ``picture_t_s``: when it was first shown.
    """

    case: Case
    captured_s: float
    findings: Findings
    message: FindingsMessage
    alerts: tuple[Alert, ...]
    active: list[AlertMessage]
    jpeg: Future[bytes] | None
    picture_t_s: float | None


class Orders:
    """What the desk hands over and the analysis obeys, between two frames."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[tuple[Order, Future[str | None]]] = SimpleQueue()

    def give(self, order: Order) -> Future[str | None]:
        """What will come of it: None, or why it is not obeyed."""
        obeyed: Future[str | None] = Future()
        self._waiting.put((order, obeyed))
        return obeyed

    def obey(self, obey: Callable[[Order], str | None]) -> None:
        """Obey all that wait, but for those that nobody waits for any more."""
        while True:
            try:
                order, obeyed = self._waiting.get_nowait()
            except Empty:
                return
            if obeyed.set_running_or_notify_cancel():
                obeyed.set_result(obey(order))


class Analysis:
    """Looks at the newest frame, decides, and tells; alerts first.

    ``log``: None where none is kept. Each change is in it before it is told. ``encode``: another thread makes the JPEG.
    ``pins``: the sources' corrected fields. ``recording``: keeps all that is told, beside the frames.
    """

    def __init__(
        self,
        plan: CasePlan,
        settings: Settings,
        make_pipeline: MakePipeline,
        capture: Capture,
        newest: Slot[Captured],
        shown: Slot[Shown],
        publisher: Publisher,
        desk: Desk,
        orders: Orders,
        log: AlarmLog | None,
        encode: Encode,
        stopping: threading.Event,
        recording: Recording | None = None,
        pins: FieldPins | None = None,
    ) -> None:
        self._pins = pins or FieldPins(None)
        self._plan_version: str | None = None
        self._desk = desk
        self._encode = encode
        self._orders = orders
        self._log = log
        self._log_ok_s = time.monotonic()
        self._equipment: tuple[Condition, ...] = ()
        self._delay_ms: float | None = None
        self._delay_max_ms: float | None = None
        self._delays_ms: dict[int, float] = {}
        self._left_active = () if log is None else log.left_active(settings.carry_over_h)
        self._case: Case | None = None
        self._own_plan = self._plan = plan
        self._settings = settings
        self._limits = settings.limits(plan)
        self._watch = Watch(self._limits, settings.timing())
        self._make_pipeline = make_pipeline
        self._capture = capture
        self._newest = newest
        self._shown = shown
        self._publisher = publisher
        self._stopping = stopping
        self._recording = recording
        self._last: Captured | None = None
        self._last_shown: Shown | None = None
        self._told_s = 0.0
        self._shown_s = 0.0
        self._jpeg: Future[bytes] | None = None
        self._was_pulse = False
        self._picture_t_s: float | None = None
        self._latency_ms: float | None = None
        self._beat_due_s = 0.0
        self._counts: deque[tuple[float, int]] = deque(maxlen=1 + round(1 / HEARTBEAT_S))

    def run(self) -> None:
        """Until told to stop."""
        case = self._first_case()
        if case is None:
            return
        # What was active when the last service was killed is told before anything else.
        self._begin(case)
        self._beat()
        warm_up(self._make_pipeline, self._plan, case.info)
        self._began_s = time.monotonic()
        self._capture.analysis_is_ready.set()
        while not self._stopping.is_set():
            captured = self._newest.take(min(WATCH_S, max(0.0, self._beat_due_s - time.monotonic())))
            if captured is not None:
                self._see(captured)
            elif (present := self._capture.case) is not None and present is not self._case:
                self._begin(present)
            elif self._is_lost() and _age_s(self._told_s) >= TICK_S:
                self._see_nothing()
            self._orders.obey(self._obey)
            if time.monotonic() >= self._beat_due_s:
                self._beat_due_s = time.monotonic() + HEARTBEAT_S
                self._beat()

    def _first_case(self) -> Case | None:
        """None where the service ends before a source was opened."""
        while self._capture.case is None and not self._stopping.wait(TICK_S):
            pass
        return self._capture.case

    def _begin(self, case: Case) -> None:
        if self._case is None:
            carried = carried_over(self._left_active)
        else:
            # A recording that begins anew shows another patient, a live source that was lost the same one.
            same_patient = case.info.live and not case.another_patient
            carried = carried_over(self._watch.active) if same_patient else ()
        self._case = case
        self._plan = self._own_plan if case.plan is None else case.plan
        self._pipeline = self._pipeline_of(case)
        # At once, so that nobody takes the alerts of the case before for those of this one.
        self._began_s = self._beat_due_s = time.monotonic()
        self._last = self._jpeg = self._picture_t_s = self._last_shown = None
        # What was drawn on another case's pictures is no plan of this one.
        self._plan_version, self._limits = None, self._settings.limits(self._plan)
        self._delays_ms.clear()
        self._publisher.begin_case()
        if self._log is not None:
            self._log.begin_case(case.id, [alert_message(alert) for alert in carried])
        self._watch = Watch(self._limits, self._settings.timing(), carried)
        self._publisher.tell_alerts(case.id, self._active(), self._health())
        if self._recording is not None:
            self._recording.begin(case)
            self._keep_beginning(self._pins.of(case.info))

    def _keep_beginning(self, pin: FieldPin) -> None:
        """What holds for the case from its first frame on, though nobody has ordered it in it."""
        active = [alert.model_copy(update={"t_s": 0.0, "frame": 0}) for alert in self._active()]
        self._keep(lambda recorder: recorder.alerts(active))
        if not pin.is_automatic:
            said = PinField(polygon_px=pin.polygon_px, bone_dark=pin.bone_dark).model_dump(mode="json")
            self._keep(lambda recorder: recorder.command(SERVICE, 0.0, said))

    def _pipeline_of(self, case: Case) -> Analyses:
        """A new one, with what was corrected for the source."""
        pipeline = self._make_pipeline(self._plan, case.info)
        pin = self._pins.of(case.info)
        if not pin.is_automatic:
            _pin(pipeline, pin)
        return pipeline

    @property
    def has_begun(self) -> bool:
        """Whether a case has begun, and with it what was carried over from before. May be asked from any thread."""
        return self._case is not None

    @property
    def _present_case(self) -> Case:
        assert self._case is not None
        return self._case

    def _see(self, captured: Captured) -> None:
        if captured.case is not self._case:
            self._begin(captured.case)
        elif self._last is None:
            # What no_frame was told before the first frame was not in the source's time.
            self._pipeline = self._pipeline_of(captured.case)
        self._last = captured
        # After a pulse the next one is likely, and its picture is ready when it has been looked at.
        jpeg = self._encode(captured.frame) if self._was_pulse else None
        findings = self._pipeline.step(captured.frame)
        self._was_pulse = findings.pulse != (0 if self._last_shown is None else self._last_shown.findings.pulse)
        if self._was_pulse:
            self._jpeg = jpeg or self._encode(captured.frame)
            self._picture_t_s = findings.t_s
        self._tell(findings, captured.at_s)
        self._pipeline.settle()

    def _is_lost(self) -> bool:
        """Whether a frame is overdue, or a live source has told of a fault since its last one."""
        if time.monotonic() > self._capture.due_s + PATIENCE_S:
            return True
        status = self._capture.status
        if status is None or status.signal is Signal.LIVE:
            return False
        return self._last is None or self._last.at_s < status.since_s

    def _see_nothing(self) -> None:
        t_s = _age_s(self._began_s)
        if self._last is not None:
            t_s = self._last.frame.t_s + _age_s(self._last.at_s)
        self._latency_ms = None
        self._tell(self._pipeline.no_frame(t_s), None)

    def _tell(self, findings: Findings, captured_s: float | None) -> None:
        """``captured_s`` None: no frame stands behind the findings."""
        status = self._capture.status
        if status is not None and status.signal is not Signal.LIVE:
            findings = replace(findings, input_fault=status.signal.words)
        if captured_s is not None:
            findings = replace(findings, latency_ms=_ms_since(captured_s))
        self._tell_changes(self._watch.step(findings, self._equipment), captured_s)
        if captured_s is not None:
            self._latency_ms = _ms_since(captured_s)
            findings = replace(findings, latency_ms=self._latency_ms)
        message = findings_message(findings)
        self._publisher.tell_findings(self._present_case.id, message)
        self._keep(lambda recorder: recorder.findings(message))
        self._told_s = time.monotonic()
        alerts = self._watch.active
        self._show(
            Shown(
                self._present_case,
                self._began_s if self._last is None else self._last.at_s,
                findings,
                message,
                alerts,
                self._active(),
                self._jpeg,
                self._picture_t_s,
            )
        )

    def _tell_changes(self, changes: tuple[Alert, ...], captured_s: float | None, by: str = SERVICE) -> None:
        """Note each change and then tell it; the kernel has it when the first reader does."""
        if not changes:
            return
        if self._log is not None:
            t_s = changes[0].t_s
            self._log.note(Event.ALERT, by, self._present_case.id, t_s, [alert_message(change) for change in changes])
        for change in changes:
            if change.state is AlertState.RAISED and captured_s is not None:
                self._delay_ms = self._delays_ms[change.id] = _ms_since(captured_s)
                self._delay_max_ms = max(self._delay_max_ms or 0.0, self._delay_ms)
        messages = [alert_message(change, self._delays_ms.get(change.id)) for change in changes]
        self._publisher.tell_alerts(self._present_case.id, messages, self._health())
        self._keep(lambda recorder: recorder.alerts(messages))

    def _keep(self, write: Write) -> None:
        """Hand to the archive, where there is one."""
        if self._recording is not None:
            self._recording.tell(self._present_case, write)

    def _active(self) -> list[AlertMessage]:
        return [alert_message(alert, self._delays_ms.get(alert.id)) for alert in self._watch.active]

    def _obey(self, order: Order) -> str | None:
        """None once it is done, or why it is not."""
        case = self._present_case
        if order.case != case.id:
            return f"meant for case {order.case!r}; the present one is {case.id!r}"
        unkept: str | None = None
        try:
            self._do(order)
        except (NoSuchAlertError, NothingSeenError, NotChosenError, PlanError) as error:
            return str(error)
        except FieldPinsError as error:
            unkept = str(error)
        t_s = None if self._last_shown is None else self._last_shown.findings.t_s
        said = order.command.model_dump(mode="json", by_alias=True)
        if isinstance(order.command, UsePlan):
            said["version"] = order.command.plan.version
        if self._log is not None:
            self._log.note(Event.COMMAND, order.by, case.id, t_s, command=said)
        self._keep(lambda recorder: recorder.command(order.by, t_s, said))
        # At once, so that everybody sees what it has come to.
        self._beat_due_s = 0.0
        return unkept

    def _do(self, order: Order) -> None:
        match order.command:
            case Acknowledge(alert=alert_id):
                self._tell_changes(self._watch.acknowledge(alert_id, order.by), None, order.by)
            case PauseAudio(on=True):
                self._watch.pause_audio()
            case PauseAudio():
                self._watch.resume_audio()
            case SetPhase(phase=phase):
                self._pipeline.set_phase(phase)
            case SetView(view=view):
                self._pipeline.set_view(view)
            case SetZone(zone=entry, pulse=pulse):
                info = self._present_case.info
                zone = Zone(entry.id, entry.kind, np.array(entry.polygon_px, dtype=np.float64))
                check_zones_inside(CasePlan(zones=(zone,)), info.width_px, info.height_px, "order")
                self._pipeline.set_zone(zone, pulse)
            case RemoveZone(id=zone_id):
                self._pipeline.remove_zone(zone_id)
            case TakeReference():
                self._pipeline.take_reference()
                self._carry_over()
            case UsePlan() as use:
                self._use_plan(use)
            case ChooseSource(source=spec, confirmed=confirmed):
                if not confirmed and self._is_live():
                    raise NotChosenError("a live case would end; expected the order to be confirmed")
                self._capture.choose(spec)
            case NextPatient(confirmed=confirmed):
                if not confirmed and self._is_live():
                    raise NotChosenError("a live case would end; expected the order to be confirmed")
                self._capture.begin_next_patient()
            case PinField(polygon_px=polygon, bone_dark=bone_dark):
                self._pin_field(FieldPin(polygon_px=polygon, bone_dark=bone_dark))
            case Mark():
                pass
            case _ as never:
                assert_never(never)

    def _is_live(self) -> bool:
        return self._last_shown is not None and self._last_shown.findings.state is FrameState.LIVE

    def _use_plan(self, use: UsePlan) -> None:
        """Everything of it between two frames, or nothing. What is active stays: the next pulses tell what is over."""
        info, plan = self._present_case.info, use.plan.record()
        check_zones_inside(plan, info.width_px, info.height_px, "plan")
        for fault in faults(plan.zones, info.width_px, info.height_px):
            if fault.is_error:
                raise PlanError(fault.text)
        self._pipeline.use_plan(plan, {drawn.view: drawn.pulse for drawn in use.drawn_on})
        self._limits = self._settings.limits(plan)
        self._watch.use(self._limits)
        self._plan_version = use.plan.version

    def _pin_field(self, pin: FieldPin) -> None:
        info = self._present_case.info
        if pin.polygon_px is not None:
            outline = Zone("x-ray field", ZoneKind.BODY, np.array(pin.polygon_px, dtype=np.float64))
            check_zones_inside(CasePlan(zones=(outline,)), info.width_px, info.height_px, "order")
            if not is_convex(outline.polygon_px):
                raise PlanError("the x-ray field's outline has a dent or crosses itself; expected a convex one")
        if _pin(self._pipeline, pin):
            self._carry_over()
        self._pins.keep(info, pin)

    def _carry_over(self) -> None:
        """What the old reference has shown, a new one cannot show to be over."""
        before = self._watch.active
        carried = carried_over(before)
        kept = {alert.id for alert in carried}
        over = (replace(a, state=AlertState.CLEARED, active=False) for a in before if a.id not in kept)
        self._watch = Watch(self._limits, self._settings.timing(), carried)
        self._tell_changes((*over, *carried), None)

    def _show(self, shown: Shown) -> None:
        """Hand over what differs from what was shown; the same again only once a heartbeat."""
        before, self._last_shown = self._last_shown, shown
        if before is None or _looks(before) != _looks(shown) or _age_s(self._shown_s) >= HEARTBEAT_S:
            self._shown_s = time.monotonic()
            self._shown.put(shown)

    def _beat(self) -> None:
        """Health; and findings and picture once more if none were told lately, so that late joiners know all."""
        last = self._last_shown
        if last is not None and _age_s(self._told_s) >= HEARTBEAT_S:
            self._publisher.tell_findings(self._present_case.id, last.message)
            self._told_s = time.monotonic()
            self._shown.put(last)
        self._counts.append((time.monotonic(), self._capture.frames))
        self._equipment = tuple(self._look_around())
        self._publisher.tell_health(self._present_case.id, self._health())

    def _look_around(self) -> Iterable[Condition]:
        log = self._log
        if log is not None:
            log.flush()
        if log is None or log.fault is None:
            self._log_ok_s = time.monotonic()
        equipment = Equipment(
            disk_free_mb=None if log is None else log.free_mb,
            recorder_fault=None if log is None else log.fault,
            recorder_stopped_for_s=_age_s(self._log_ok_s),
            silent_s=self._desk.silent_s(),
        )
        if (recording := self._recording) is not None:
            equipment = replace(
                equipment,
                minutes_left=recording.minutes_left,
                recording_fault=recording.fault,
                recording_stopped_for_s=recording.stopped_for_s,
                not_recorded=recording.not_recorded,
                not_recorded_ago_s=recording.lost_ago_s,
            )
        told = {alert.kind for alert in self._watch.active}
        return equipment_conditions(equipment, self._limits, told)

    def _health(self) -> HealthBody:
        last = self._last_shown
        status = self._capture.status
        audio = self._watch.audio
        return HealthBody(
            source=self._present_case.info.name,
            state=FrameState.NO_SIGNAL if last is None else last.findings.state,
            frames=self._capture.frames,
            pulses=0 if last is None else last.findings.pulse,
            dropped=self._capture.dropped,
            latency_ms=self._latency_ms,
            rate_hz=self._rate_hz(),
            corrupt=0 if status is None else status.corrupt,
            input=None if status is None else InputBody(**asdict(status)),
            not_recorded=0 if self._recording is None else self._recording.not_recorded,
            recording_fault=None if self._recording is None else self._recording.fault,
            recording_left_min=None if self._recording is None else self._recording.minutes_left,
            findings_t_s=None if last is None else last.findings.t_s,
            alerts=self._active(),
            audio=AudioBody(sounding=audio.sounding, paused_s=audio.paused_s),
            alarm_delay_ms=self._delay_ms,
            alarm_delay_max_ms=self._delay_max_ms,
            refused=sum(self._desk.refused.values()),
            subscribers=[name for name, _ in self._desk.silent_s()],
            alarm_log=None if self._log is None else AlarmLogBody(fault=self._log.fault, free_mb=self._log.free_mb),
            recording=self._recording is not None,
            plan=self._plan_version,
            source_mm_per_px=self._present_case.info.mm_per_px,
            pinned=self._pinned(),
            source_spec=self._capture.spec,
            source_refused=self._capture.refused,
        )

    def _pinned(self) -> list[Literal["outline", "polarity"]]:
        pin = self._pins.of(self._present_case.info)
        outline: list[Literal["outline", "polarity"]] = [] if pin.polygon_px is None else ["outline"]
        return outline if pin.bone_dark is None else [*outline, "polarity"]

    def _rate_hz(self) -> float | None:
        if not self._counts:
            return None
        (then, before), (now, frames) = self._counts[0], self._counts[-1]
        return (frames - before) / (now - then) if now > then else None


class Pictures:
    """Tells pictures, so that no alert waits for one."""

    def __init__(self, shown: Slot[Shown], publisher: FramePublisher, stopping: threading.Event) -> None:
        self._shown = shown
        self._publisher = publisher
        self._stopping = stopping

    def run(self) -> None:
        """Until told to stop."""
        while not self._stopping.is_set():
            shown = self._shown.take(TICK_S)
            if shown is None:
                continue
            jpeg = b"" if shown.jpeg is None else shown.jpeg.result()
            strokes = strokes_json(draw(shown.findings, shown.alerts))
            self._publisher.tell_frame(
                shown.case.id, shown.captured_s, shown.message, strokes, shown.active, jpeg, shown.picture_t_s
            )


def warm_up(make_pipeline: MakePipeline, plan: CasePlan, info: SourceInfo) -> None:
    """Let every kernel run once on noise of the source's size: the first call of each is the slow one."""
    pipeline = make_pipeline(plan, info)
    rng = np.random.default_rng(0)
    for i in range(2):
        noise = rng.integers(2**info.bits // 4, 2**info.bits // 2, (info.height_px, info.width_px))
        pixels: Pixels = noise.astype(np.uint8) if info.bits == 8 else noise.astype(np.uint16)
        pipeline.step(Frame(freeze(pixels), t_s=i / 30, sequence=i, bits=info.bits))


def _pin(pipeline: Analyses, pin: FieldPin) -> bool:
    """Whether it takes new references."""
    polygon_px = None if pin.polygon_px is None else np.array(pin.polygon_px, dtype=np.float64)
    return pipeline.pin_field(polygon_px, pin.bone_dark)


def _looks(shown: Shown) -> tuple[object, ...]:
    """What a picture is told anew for."""
    alerts = tuple((alert.id, alert.state) for alert in shown.alerts)
    return (shown.case.id, shown.findings.pulse, shown.findings.state, alerts)


def _age_s(since_s: float) -> float:
    return time.monotonic() - since_s


def _ms_since(since_s: float) -> float:
    return _age_s(since_s) * 1000
