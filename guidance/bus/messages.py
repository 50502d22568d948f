"""What is said on the bus: versioned JSON, checked on both ends.

Topics ``findings``, ``alerts`` and ``health`` are two parts: [topic, JSON envelope]. Pictures have a socket
of their own and three parts: [b"frame", JSON header, JPEG], so that no alert ever waits behind a picture.

``sequence`` counts from 0 for each topic as long as the publisher lives: a gap means that messages were
lost. ``case`` is new for every start and every loop of a recording: whoever sees it change forgets what came
before. ``sent_s`` is the sender's monotonic clock, which all processes of one machine share: a reader there
can tell how old a message is, however long it lay in a queue. It means nothing on another machine.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from drivers.signal import Signal
from guidance.records import FrameState
from guidance.wire import AlertMessage, FindingsMessage, Rounded, WireModel

SCHEMA: Final = 1

HEARTBEAT_S = 0.25
"""How often ``health`` is told. A late joiner knows the whole present state after one of these."""

DEAF_AFTER_S = 1.0
"""A reader that has heard no heartbeat for this long no longer knows what is going on, and must say so."""

FRAME_TOPIC = b"frame"

Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(allow_inf_nan=False)]


class MessageError(ValueError):
    """A message is not one of this schema. One line."""


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


class HealthBody(WireModel):
    """How the service is doing, and all that a late joiner must know at once.

    ``dropped``: frames that no analysis has seen, because the source lost them or a newer one came before their turn.
    ``not_recorded``: those that the recorder was too far behind for. ``input``: None where the source is no grabber.
    ``alerts``: every alert that is raised or acknowledged and not over, worst first. A reader that missed
    changes takes this list. ``findings_t_s``: the time of the last findings, None before the first.
    """

    source: str
    state: FrameState
    frames: Count
    pulses: Count
    dropped: Count
    corrupt: Count = 0
    input: InputBody | None = None
    not_recorded: Count = 0
    latency_ms: Rounded | None
    rate_hz: Rounded | None
    findings_t_s: Seconds | None
    alerts: list[AlertMessage]


class _Envelope(WireModel):
    model_config = ConfigDict(populate_by_name=True)

    version: Literal[1] = Field(default=SCHEMA, alias="schema")
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


Message = FindingsEnvelope | AlertEnvelope | HealthEnvelope

_MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="topic")])


class FrameHeader(_Envelope):
    """All that is drawn over one picture.

    ``strokes``: ``overlay.strokes_json``'s drawing instructions. ``alerts``: the active ones, worst first.
    ``captured_s``: when the frame came in, by the same clock as ``sent_s``.
    """

    captured_s: Seconds
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
        raise MessageError(_complaint(parts[0], error)) from error
    if message.topic.encode() != parts[0]:
        raise MessageError(f"bus message on topic {parts[0]!r} says that it is on {message.topic}")
    return message


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
        raise MessageError(_complaint(parts[0], error)) from error


def _complaint(topic: bytes, error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "envelope"
    return f"bus message on topic {topic!r}: {place}: {first['msg']} (this reader knows schema {SCHEMA})"
