"""What is said on the bus: versioned JSON, checked on both ends. ``docs/schema/`` holds the same as JSON Schema.

The service has four sockets, on ports that follow each other:

    messages    PUB      [topic, JSON envelope]       findings, alerts, health
    frames      PUB      [b"frame", JSON header, JPEG], apart, so that no alert ever waits behind a picture;
                         [b"picture", JSON header, JPEG] of the same frames before they are looked at
    snapshots   ROUTER   [JSON call] -> [JSON envelope] the whole present state; subscribers also give their names here
    commands    ROUTER   [JSON order] -> [JSON answer]  from those alone whose key is known

``session`` names the sender's process and ``sequence`` counts from 0 for each topic as long as it lives: a gap means
that messages were lost. ``case`` is new for every start and every loop of a recording: whoever sees it change forgets
what came before. ``sent_s`` is the sender's monotonic clock: how old a message is can be told from the differences
between it and the reader's own.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from drivers.signal import Signal
from guidance.plan import Finite, PlanFile, ZoneEntry
from guidance.records import FrameState, Phase, Priority, View
from guidance.wire import AlertMessage, FindingsMessage, Rounded, WireModel

SCHEMA: Final = 1
"""Raised when a field is removed, renamed or given another meaning, never when one is added: see docs/bus.md."""

HEARTBEAT_S = 0.25
"""How often ``health`` is told. Whoever missed something knows the whole alert state after one of these."""

DEAF_AFTER_S = 1.0
"""A reader that has heard no heartbeat for this long no longer knows what is going on, and must say so."""

REPORT_S = 1.0
"""How often a subscriber that gave its name says that it still listens."""

LONGEST_CALL_BYTES = 64 * 1024
"""No call or order is longer: a zone of a thousand corners takes half of it."""

FRAME_TOPIC = b"frame"
EARLY_TOPIC = b"picture"

Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")]


class MessageError(ValueError):
    """A message is not one of this schema. One line."""


class EndpointError(ValueError):
    """An address that nothing can be reached under. One line."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the service's sockets are; None where one is not wanted."""

    messages: str
    frames: str | None = None
    snapshots: str | None = None
    commands: str | None = None

    @classmethod
    def of(cls, messages: str) -> Self:
        """All four, from the first: ``tcp://HOST:PORT``, the others on the next ports. Raises EndpointError."""
        match = re.fullmatch(r"(tcp://.+):(\d{1,5})", messages)
        if match is None:
            raise EndpointError(f"{messages}: not an endpoint to listen to; expected tcp://HOST:PORT")
        place, port = match[1], int(match[2])
        return cls(messages, *(f"{place}:{port + further}" for further in (1, 2, 3)))


class Topic(StrEnum):
    """What a message is about."""

    FINDINGS = "findings"
    ALERTS = "alerts"
    HEALTH = "health"


class InputBody(WireModel):
    """What a grabber says of its input.

    ``since_s``: since when ``signal`` has been so, by the clock of ``sent_s``. ``frames``: delivered, bad ones too.
    ``dropped``: never delivered. ``restarts``: how often the stream was started anew.
    """

    signal: Signal
    since_s: Seconds
    frames: Count
    dropped: Count
    corrupt: Count
    restarts: Count


class AudioBody(WireModel):
    """What must be heard now; ``paused_s`` is what is left of an audio pause, 0 while there is none."""

    sounding: Priority | None
    paused_s: Annotated[Rounded, Field(ge=0)]


class AlarmLogBody(WireModel):
    """How the alarm log does. ``fault``: why changes are not kept, in words; ``free_mb``: what is left on its disk."""

    fault: str | None
    free_mb: Annotated[Rounded, Field(ge=0)] | None


class HealthBody(WireModel):
    """How the service is doing, and the whole alert state.

    ``dropped``: frames that no analysis has seen, because the source lost them or a newer one came before their turn.
    ``not_recorded``: those that the recorder was too far behind for. ``input``: None where the source is no grabber.
    ``alerts``: every active alert, worst first, also those acknowledged. A reader that missed changes takes this list.
    ``next``: the sequence numbers that come next, so that also the loss of a last message is noticed.
    ``alarm_delay_ms``: from the capture of the frame that raised an alert until it was told, of the last alert and the
    longest since the start; None before the first. ``refused``: messages that the service refused since its start.
    ``subscribers``: those that gave their names and are heard. ``alarm_log``: None where none is kept. ``recording``:
    whether cases are kept; ``recording_fault``: why this one is not at the moment; ``recording_left_min``: how long the
    disk lasts as it fills now. ``plan``: the version of the plan that was ordered
    last, None where none was. ``source_mm_per_px``: what the source's header states. ``pinned``: what of the x-ray
    field somebody has corrected. ``source_spec``: the source that was ordered last, None where none was;
    ``source_refused``: why it could not be had, and the one before plays on.
    """

    source: str
    state: FrameState
    frames: Count
    pulses: Count
    dropped: Count
    corrupt: Count = 0
    input: InputBody | None = None
    not_recorded: Count = 0
    recording_fault: str | None = None
    recording_left_min: Rounded | None = None
    latency_ms: Rounded | None
    rate_hz: Rounded | None
    findings_t_s: Seconds | None
    alerts: list[AlertMessage]
    audio: AudioBody = AudioBody(sounding=None, paused_s=0.0)
    next: dict[str, Count] = Field(default_factory=dict)
    alarm_delay_ms: Rounded | None = None
    alarm_delay_max_ms: Rounded | None = None
    refused: Count = 0
    subscribers: list[str] = Field(default_factory=list)
    alarm_log: AlarmLogBody | None = None
    recording: bool = False
    plan: str | None = None
    source_mm_per_px: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    pinned: list[Literal["outline", "polarity"]] = Field(default_factory=list)
    source_spec: str | None = None
    source_refused: str | None = None


class _Envelope(WireModel):
    model_config = ConfigDict(populate_by_name=True)

    version: Literal[1] = Field(default=SCHEMA, alias="schema")
    session: str
    sequence: Count
    case: str
    sent_s: Seconds

    def to_bytes(self) -> bytes:
        """The message as UTF-8 JSON on one line."""
        return self.model_dump_json(by_alias=True).encode()


class FindingsEnvelope(_Envelope):
    """What is seen on one frame."""

    topic: Literal[Topic.FINDINGS] = Topic.FINDINGS
    body: FindingsMessage


class AlertEnvelope(_Envelope):
    """One change of one alert."""

    topic: Literal[Topic.ALERTS] = Topic.ALERTS
    body: AlertMessage


class HealthEnvelope(_Envelope):
    """The heartbeat."""

    topic: Literal[Topic.HEALTH] = Topic.HEALTH
    body: HealthBody


class SnapshotBody(WireModel):
    """The whole present state: what the heartbeat would tell now, and the last findings, None before the first."""

    health: HealthBody
    findings: FindingsMessage | None


class SnapshotEnvelope(_Envelope):
    """The answer to a call for a snapshot. ``sequence`` counts these; ``body.health.next`` says where to go on."""

    topic: Literal["snapshot"] = "snapshot"
    body: SnapshotBody


Message = FindingsEnvelope | AlertEnvelope | HealthEnvelope
"""What is published."""

_MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="topic")])


class FrameHeader(_Envelope):
    """All that is drawn over one picture.

    ``strokes``: ``overlay.strokes_json``'s drawing instructions. ``alerts``: the active ones, worst first.
    ``captured_s``: when the frame came in, by the same clock as ``sent_s``. ``picture_t_s``: when the picture's pulse
    was first shown, which is what a plan's ``reference_s`` names; None before the first.
    """

    captured_s: Seconds
    picture_t_s: Seconds | None = None
    frame: int
    t_s: Seconds
    state: FrameState
    findings: FindingsMessage
    strokes: list[dict[str, Any]]
    alerts: list[AlertMessage]


@dataclass(frozen=True, slots=True)
class FrameMessage:
    """A picture and what is seen on it.

    ``jpeg``: gray, full size, nothing drawn in it: the last pulse that was analysed, so that it always fits
    the findings. Empty before the first pulse. Whether it is live is the header's ``state``.
    """

    header: FrameHeader
    jpeg: bytes


class EarlyHeader(_Envelope):
    """Of a picture that nobody has looked at yet. ``captured_s``: as a frame's."""

    captured_s: Seconds


@dataclass(frozen=True, slots=True)
class EarlyPicture:
    """A frame as it came, told at once: what is seen on it follows as a ``FrameMessage``.

    ``jpeg``: gray, full size. Told only where it differs from the one before, and never of a frame that the source
    itself knows to be damaged.
    """

    header: EarlyHeader
    jpeg: bytes


class _Told(BaseModel):
    """What the service is told by others: a misspelt field must not pass silently."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Call(_Told):
    """What a subscriber says on the snapshots' socket. Only ``snapshot`` is answered.

    ``name``: of a subscriber that wants to be missed when it is gone; it says ``listening`` each second, and
    ``leaving`` when it goes on purpose.
    """

    version: Literal[1] = Field(default=SCHEMA, alias="schema")
    call: Literal["snapshot", "listening", "leaving"]
    name: Name | None = None

    def to_bytes(self) -> bytes:
        return self.model_dump_json(by_alias=True).encode()


class Acknowledge(_Told):
    """An alert has been seen. Other alerts are not touched by it."""

    kind: Literal["acknowledge"] = "acknowledge"
    alert: Count


class PauseAudio(_Told):
    """Silence for the time of the setting, or its end. A new or worse alert ends it."""

    kind: Literal["audio_pause"] = "audio_pause"
    on: bool


class SetPhase(_Told):
    """From now on the procedure is in this phase, whatever the plan or what is seen say."""

    kind: Literal["phase"] = "phase"
    phase: Phase


class SetView(_Told):
    """The view on the screen is this one."""

    kind: Literal["view"] = "view"
    view: View


class TakeReference(_Told):
    """The next pulse is the new reference: zones stay where they are, roadmap and cement are looked for anew."""

    kind: Literal["reference"] = "reference"


class SetZone(_Told):
    """A zone of the view on the screen, drawn on the picture that is shown; it replaces one of the same id.

    ``pulse``: the number of the pulse that it was drawn on, where that is not the one that is shown now.
    """

    kind: Literal["zone"] = "zone"
    zone: ZoneEntry
    pulse: Count | None = None


class RemoveZone(_Told):
    """A zone of the view on the screen is no longer watched."""

    kind: Literal["remove_zone"] = "remove_zone"
    id: Name


class DrawnOn(_Told):
    """The pulse, by its number in the findings, that a view's zones were drawn on."""

    view: View
    pulse: Count


class UsePlan(_Told):
    """From now on this plan: its zones in the views of ``drawn_on``, its scale, needle and thresholds, all at once.

    Zones lie where they were drawn although the anatomy has moved since. Views that ``drawn_on`` does not name keep
    their zones; each zone's view must be among those that it does. No active alert is lost. ``phases`` must be empty,
    since a live case's phase is ordered by itself; ``views`` says where the plan belongs in a recording, and is not
    looked at.
    """

    kind: Literal["plan"] = "plan"
    plan: PlanFile
    drawn_on: Annotated[list[DrawnOn], Field(max_length=2)]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        named = [drawn.view for drawn in self.drawn_on]
        if len(set(named)) < len(named):
            raise ValueError("drawn_on: expected each view once")
        if self.plan.phases:
            raise ValueError("plan.phases: expected none; a live case's phase is ordered by itself")
        for zone in self.plan.zones:
            if zone.view not in named and not (zone.view is None and len(named) == 1):
                raise ValueError(f"zone {zone.id!r}: its view is drawn on no picture; expected it in drawn_on")
        return self


class PinField(_Told):
    """The x-ray field is this, whatever is found; None: as it is found. Remembered for the source.

    ``polygon_px``: a convex outline. Another polarity takes new references: the zones of the view on the screen stay,
    those of other views must be drawn again.
    """

    kind: Literal["field"] = "field"
    polygon_px: Annotated[list[tuple[Finite, Finite]], Field(min_length=3, max_length=256)] | None = None
    bone_dark: bool | None = None


class ChooseSource(_Told):
    """Watch this source from now on, a path or URL: a new case begins. ``confirmed``: even if one is live now."""

    kind: Literal["source"] = "source"
    source: Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\x00-\x1f\x7f]*$")]
    confirmed: bool = False


class NextPatient(_Told):
    """Another patient from now on, before the same live source: a new case begins, without zones and alerts.

    ``confirmed``: even if the picture is live now.
    """

    kind: Literal["next_patient"] = "next_patient"
    confirmed: bool = False


class Mark(_Told):
    """Words for the log, at this moment of the case."""

    kind: Literal["marker"] = "marker"
    text: Annotated[str, Field(min_length=1, max_length=1000)]


Command = Annotated[
    Acknowledge
    | PauseAudio
    | SetPhase
    | SetView
    | TakeReference
    | SetZone
    | RemoveZone
    | UsePlan
    | PinField
    | ChooseSource
    | NextPatient
    | Mark,
    Field(discriminator="kind"),
]


class Order(_Told):
    """A command, and who gives it. ``id`` is new for each. ``case``: the one that it is meant for; no other obeys."""

    version: Literal[1] = Field(default=SCHEMA, alias="schema")
    id: Annotated[str, Field(min_length=8, max_length=64, pattern=r"^[0-9A-Za-z_-]+$")]
    case: Annotated[str, Field(max_length=200)]
    by: Name
    command: Command

    def to_bytes(self) -> bytes:
        return self.model_dump_json(by_alias=True).encode()


class Answer(WireModel):
    """What became of an order. ``error``: why it was not obeyed, in one line. ``id`` None: it could not be read."""

    model_config = ConfigDict(populate_by_name=True)

    version: Literal[1] = Field(default=SCHEMA, alias="schema")
    id: str | None
    ok: bool
    error: str | None = None

    def to_bytes(self) -> bytes:
        return self.model_dump_json(by_alias=True).encode()


def message_parts(message: Message) -> list[bytes]:
    """The message as the bus's parts."""
    return [message.topic.encode(), message.to_bytes()]


def read_message(parts: list[bytes]) -> Message:
    """The message in the bus's parts. Raises MessageError."""
    if len(parts) != 2:
        raise MessageError(f"bus message of {len(parts)} parts; expected a topic and an envelope")
    try:
        message = _MESSAGE.validate_json(parts[1])
    except ValidationError as error:
        raise MessageError(f"bus message on topic {parts[0][:40]!r}: {_complaint(error)}") from error
    if message.topic.encode() != parts[0]:
        raise MessageError(f"bus message on topic {parts[0][:40]!r} says that it is on {message.topic}")
    return message


def read_snapshot(parts: list[bytes]) -> SnapshotEnvelope:
    """The snapshot in the answer's parts. Raises MessageError."""
    if len(parts) != 1:
        raise MessageError(f"snapshot of {len(parts)} parts; expected an envelope")
    try:
        return SnapshotEnvelope.model_validate_json(parts[0])
    except ValidationError as error:
        raise MessageError(f"snapshot: {_complaint(error)}") from error


def read_call(data: bytes) -> Call:
    """What a subscriber says. Raises MessageError."""
    try:
        return Call.model_validate_json(data)
    except ValidationError as error:
        raise MessageError(f"call: {_complaint(error)}") from error


def read_order(data: bytes) -> Order:
    """What is ordered. Raises MessageError."""
    try:
        return Order.model_validate_json(data)
    except ValidationError as error:
        raise MessageError(f"order: {_complaint(error)}") from error


def read_answer(data: bytes) -> Answer:
    """What became of an order. Raises MessageError."""
    try:
        return Answer.model_validate_json(data)
    except ValidationError as error:
        raise MessageError(f"answer: {_complaint(error)}") from error


def frame_parts(message: FrameMessage) -> list[bytes]:
    """The picture as the bus's parts."""
    return [FRAME_TOPIC, message.header.to_bytes(), message.jpeg]


def read_frame(parts: list[bytes]) -> FrameMessage:
    """The picture in the bus's parts. Raises MessageError."""
    if len(parts) != 3 or parts[0] != FRAME_TOPIC:
        raise MessageError(f"picture message of {len(parts)} parts; expected {FRAME_TOPIC!r}, a header and a JPEG")
    try:
        return FrameMessage(FrameHeader.model_validate_json(parts[1]), parts[2])
    except ValidationError as error:
        raise MessageError(f"picture's header: {_complaint(error)}") from error


def early_parts(picture: EarlyPicture) -> list[bytes]:
    """The early picture as the bus's parts."""
    return [EARLY_TOPIC, picture.header.to_bytes(), picture.jpeg]


def read_early(parts: list[bytes]) -> EarlyPicture:
    """The early picture in the bus's parts. Raises MessageError."""
    if len(parts) != 3 or parts[0] != EARLY_TOPIC:
        raise MessageError(f"early picture of {len(parts)} parts; expected {EARLY_TOPIC!r}, a header and a JPEG")
    try:
        return EarlyPicture(EarlyHeader.model_validate_json(parts[1]), parts[2])
    except ValidationError as error:
        raise MessageError(f"early picture's header: {_complaint(error)}") from error


def _complaint(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "envelope"
    return f"{place}: {first['msg']} (this reader knows schema {SCHEMA})"
