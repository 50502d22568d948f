"""A reader's end of the bus: checked messages, the present alert state, lost ones counted, silence noticed.

    with Subscriber("tcp://127.0.0.1:5570", name="nurse call") as bus:
        while True:
            bus.receive(timeout_s=0.5)
            show("UNKNOWN" if bus.deaf else [alert.text for alert in bus.alerts])

``Reception`` is what both clients know, without a socket; ``Subscriber`` and ``AsyncSubscriber`` feed it. Neither
starts a thread, so ``receive`` must be called at least twice a second. Nothing that comes in raises: what is not of the
schema, or is old, is refused and counted.
"""

import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Generic, Self, TypeVar

import zmq
import zmq.asyncio

from guidance.bus.keys import ClientKeys
from guidance.bus.messages import (
    DEAF_AFTER_S,
    EARLY_TOPIC,
    FRAME_TOPIC,
    REPORT_S,
    AlertEnvelope,
    AudioBody,
    Call,
    EarlyPicture,
    EndpointError,
    Endpoints,
    FindingsEnvelope,
    FrameMessage,
    HealthBody,
    HealthEnvelope,
    Message,
    MessageError,
    SnapshotEnvelope,
    Topic,
    read_early,
    read_frame,
    read_message,
    read_snapshot,
)
from guidance.bus.publisher import FRAME_BUFFER_BYTES, FRAMES_KEPT, MESSAGES_KEPT, BusError
from guidance.safety.alarms import worst_first
from guidance.wire import AlertMessage, FindingsMessage, alert_record

LONGEST_MESSAGE_BYTES = 16 * 1024 * 1024
LONGEST_FRAME_BYTES = 64 * 1024 * 1024
ASK_AGAIN_S = 0.5
"""A call for a snapshot that nobody has answered is repeated after this."""

SESSIONS_REMEMBERED = 64

PARTING_MS = 50
"""What a farewell may take."""

AnySocket = TypeVar("AnySocket", zmq.Socket[bytes], zmq.asyncio.Socket)


class Reception:
    """What a reader knows: the present state, and how well it hears.

    ``alerts``: active alerts, worst first; ``audio``, ``health``, ``findings``: the newest, None before any. They are
    exactly the service's unless ``deaf``. ``lost``: messages missed, by topic, since the first heard. ``refused``: how
    many were not of the schema or had been told before, and ``last_refusal`` in words.
    """

    def __init__(self) -> None:
        self.lost: dict[str, int] = {topic.value: 0 for topic in Topic} | {FRAME_TOPIC.decode(): 0}
        self.refused = 0
        self.last_refusal: str | None = None
        self.alerts: tuple[AlertMessage, ...] = ()
        self.audio: AudioBody | None = None
        self.health: HealthBody | None = None
        self.findings: FindingsMessage | None = None
        self.case: str | None = None
        self.wants_snapshot = True
        self._session: str | None = None
        self._sessions_over: deque[str] = deque(maxlen=SESSIONS_REMEMBERED)
        self._due: dict[str, int] = {}
        """What should be heard next of each topic that has been heard."""
        self._known: dict[str, int] = {}
        """Up to which message of each topic the state holds what was told: further, where a snapshot came."""
        self._frame_session: str | None = None
        self._clocks_apart_s = float("inf")
        self._beat_s = float("-inf")

    @property
    def deaf(self) -> bool:
        """Whether no heartbeat has been heard that was sent within the last second."""
        return self.silent_s > DEAF_AFTER_S

    @property
    def silent_s(self) -> float:
        """Seconds since the last heartbeat was sent, by this reader's clock; infinite before the first."""
        return time.monotonic() - self._beat_s

    def take(self, parts: list[bytes]) -> Message | None:
        """The message that was published, once it is part of the state; None where it is refused."""
        try:
            message = read_message(parts)
        except MessageError as error:
            self._refuse(str(error))
            return None
        return self.note(message)

    def take_snapshot(self, parts: list[bytes]) -> SnapshotEnvelope | None:
        """The snapshot, once it is the state; None where it is refused or older than what is known."""
        try:
            snapshot = read_snapshot(parts)
        except MessageError as error:
            self._refuse(str(error))
            return None
        following = snapshot.body.health.next
        same = snapshot.session == self._session
        if same and any(following.get(topic, 0) < self._known.get(topic.value, 0) for topic in Topic):
            # What was told meanwhile is newer.
            return None
        if not self._enter_session(snapshot.session):
            self._refuse("snapshot of a service that has ended")
            return None
        self._enter_case(snapshot.case)
        self.wants_snapshot = False
        self._known |= {topic.value: following.get(topic, 0) for topic in Topic}
        self._take_health(snapshot.body.health)
        self.findings = snapshot.body.findings
        self._note_beat(snapshot.sent_s)
        return snapshot

    def take_frame(self, parts: list[bytes]) -> FrameMessage | None:
        """The picture; None where it is refused."""
        try:
            frame = read_frame(parts)
        except MessageError as error:
            self._refuse(str(error))
            return None
        topic = FRAME_TOPIC.decode()
        if frame.header.session != self._frame_session:
            if frame.header.session in self._sessions_over:
                self._refuse("picture of a service that has ended")
                return None
            self._frame_session = frame.header.session
            self._due.pop(topic, None)
        if frame.header.sequence < self._due.get(topic, 0):
            self._refuse("picture that was told before")
            return None
        self._expect(topic, frame.header.sequence, heard=True)
        return frame

    def take_early(self, parts: list[bytes]) -> EarlyPicture | None:
        """The early picture; None where it is refused. None is missed: only the newest counts."""
        try:
            picture = read_early(parts)
        except MessageError as error:
            self._refuse(str(error))
            return None
        return None if picture.header.session in self._sessions_over else picture

    def note(self, message: Message) -> Message | None:
        """A message of the schema, once it is part of the state; None where it was heard before."""
        topic = message.topic.value
        if not self._enter_session(message.session):
            self._refuse(f"{topic} of a service that has ended")
            return None
        if message.sequence < self._due.get(topic, 0):
            self._refuse(f"{topic} {message.sequence} was told before")
            return None
        self._expect(topic, message.sequence, heard=True)
        if isinstance(message, HealthEnvelope):
            for other in (Topic.FINDINGS, Topic.ALERTS):
                self._expect(other.value, message.body.next.get(other, 0), heard=False)
        if message.sequence < self._known.get(topic, 0):
            # A snapshot that has overtaken it holds it already.
            return message
        self._known[topic] = message.sequence + 1
        self._enter_case(message.case)
        if isinstance(message, AlertEnvelope):
            self._take_change(message.body)
        elif isinstance(message, HealthEnvelope):
            self._known |= message.body.next
            self._take_health(message.body)
            self._note_beat(message.sent_s)
        elif isinstance(message, FindingsEnvelope):
            self.findings = message.body
        return message

    def _enter_session(self, session: str) -> bool:
        """Whether this is of the service that is heard, or of one that has taken its place."""
        if session in self._sessions_over:
            return False
        if session != self._session:
            if self._session is not None:
                self._sessions_over.append(self._session)
            self._session, self._clocks_apart_s, self.wants_snapshot = session, float("inf"), True
            frame = FRAME_TOPIC.decode()
            self._due = {frame: self._due[frame]} if frame in self._due else {}
            self._known = {}
            self.case, self.alerts, self.findings = None, (), None
        return True

    def _enter_case(self, case: str) -> None:
        if case != self.case:
            self.case, self.alerts, self.findings = case, (), None

    def _expect(self, topic: str, sequence: int, heard: bool) -> None:
        """Count what lies between the message that was due and this one, which is ``heard`` or is to come.

        The first that is heard misses what was published since the state that the reader began with.
        """
        due = self._due.get(topic, min(sequence, self._known.get(topic, sequence)))
        if sequence > due:
            self.lost[topic] += sequence - due
            self.wants_snapshot = self.wants_snapshot or topic != FRAME_TOPIC.decode()
        self._due[topic] = max(due, sequence + heard)

    def _take_change(self, change: AlertMessage) -> None:
        others = [alert for alert in self.alerts if alert.id != change.id]
        self.alerts = _worst_first([change, *others] if change.active else others)

    def _take_health(self, health: HealthBody) -> None:
        self.health, self.audio, self.alerts = health, health.audio, tuple(health.alerts)

    def _note_beat(self, sent_s: float) -> None:
        # The other machine's clock counts from another moment. The least difference seen is the one without a delay.
        self._clocks_apart_s = min(self._clocks_apart_s, time.monotonic() - sent_s)
        self._beat_s = sent_s + self._clocks_apart_s

    def _refuse(self, why: str) -> None:
        self.refused += 1
        self.last_refusal = why


def _worst_first(alerts: list[AlertMessage]) -> tuple[AlertMessage, ...]:
    by_id = {alert.id: alert for alert in alerts}
    return tuple(by_id[alert.id] for alert in worst_first(alert_record(alert) for alert in alerts))


class _Client(Generic[AnySocket]):
    """What both clients share: connections in a context of their own, when to call, and how they are left."""

    def __init__(
        self,
        context: zmq.Context[AnySocket],
        endpoints: Endpoints | str,
        name: str | None,
        keys: ClientKeys | None,
        pictures: bool,
    ) -> None:
        self.reception = Reception()
        self._context: zmq.Context[AnySocket] = context
        self._name = name
        self._call_due_s = self._report_due_s = 0.0
        self._calls: AnySocket | None = None
        self._frames: AnySocket | None = None
        try:
            where = Endpoints.of(endpoints) if isinstance(endpoints, str) else endpoints
            self._messages: AnySocket = _connected(context, zmq.SUB, where.messages, keys, MESSAGES_KEPT)
            if where.snapshots is not None:
                self._calls = _connected(context, zmq.DEALER, where.snapshots, keys, MESSAGES_KEPT)
            if pictures and where.frames is not None:
                self._frames = _connected(context, zmq.SUB, where.frames, keys, FRAMES_KEPT)
        except (BusError, EndpointError) as error:
            context.destroy(linger=0)
            raise BusError(str(error)) from error

    @property
    def alerts(self) -> tuple[AlertMessage, ...]:
        """The active alerts, worst first: exactly the service's, unless ``deaf``."""
        return self.reception.alerts

    @property
    def deaf(self) -> bool:
        """Whether no heartbeat has been heard that was sent within the last second: what is known may be over."""
        return self.reception.deaf

    def close(self) -> None:
        """Leave the bus, with a word to the service where it knows this reader. May be called twice."""
        if self._name is not None and self._calls is not None and not self._calls.closed:
            self._calls.setsockopt(zmq.LINGER, PARTING_MS)
            with contextlib.suppress(zmq.Again):
                # Whatever the client's loop, this one word goes out at once.
                plain: zmq.Socket[bytes] = zmq.Socket.shadow(self._calls.underlying)
                plain.send(Call(call="leaving", name=self._name).to_bytes(), zmq.DONTWAIT)
        self._context.destroy()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _due_call(self) -> Call | None:
        """A call for a snapshot where the state is not known; each second the word that somebody listens."""
        now = time.monotonic()
        if self._calls is None:
            return None
        if (self.reception.wants_snapshot or self.reception.deaf) and now >= self._call_due_s:
            self._call_due_s, self._report_due_s = now + ASK_AGAIN_S, now + REPORT_S
            return Call(call="snapshot", name=self._name)
        if self._name is not None and now >= self._report_due_s:
            self._report_due_s = now + REPORT_S
            return Call(call="listening", name=self._name)
        return None

    def _wait_ms(self, deadline_s: float) -> int:
        return max(0, round(1000 * min(deadline_s - time.monotonic(), ASK_AGAIN_S)))


class Subscriber(_Client[zmq.Socket[bytes]]):
    """Reads the bus from a plain loop.

    ``endpoints``: ``tcp://HOST:PORT`` of the bus, or each socket's own. ``name``: of a subscriber whose silence the
    service should raise an alert for. ``keys``: for a bus beyond this machine. ``pictures``: whether to hear those too.
    Raises BusError on an endpoint that is none. Connecting needs nobody on the other end yet.
    """

    def __init__(
        self,
        endpoints: Endpoints | str,
        name: str | None = None,
        keys: ClientKeys | None = None,
        pictures: bool = False,
    ) -> None:
        super().__init__(zmq.Context(), endpoints, name, keys, pictures)
        self._poller = zmq.Poller()
        for socket in (self._messages, self._calls):
            if socket is not None:
                self._poller.register(socket, zmq.POLLIN)

    def receive(self, timeout_s: float) -> Message | SnapshotEnvelope | None:
        """What was heard next, already part of the state; None where nothing came in time."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            call = self._due_call()
            if call is not None and self._calls is not None:
                # A queue of calls that nobody takes says nothing more than one.
                with contextlib.suppress(zmq.Again):
                    self._calls.send(call.to_bytes(), zmq.DONTWAIT)
            ready = dict(self._poller.poll(self._wait_ms(deadline_s)))
            told: Message | SnapshotEnvelope | None = None
            if self._calls is not None and self._calls in ready:
                told = self.reception.take_snapshot(self._calls.recv_multipart())
            elif self._messages in ready:
                told = self.reception.take(self._messages.recv_multipart())
            if told is not None or time.monotonic() >= deadline_s:
                return told

    def newest_frame(self, timeout_s: float) -> FrameMessage | None:
        """The newest picture, None where none came in time. Older ones in the queue are lost on purpose."""
        if self._frames is None:
            raise BusError("this reader hears no pictures; expected pictures=True and an endpoint for frames")
        if not self._frames.poll(round(timeout_s * 1000)):
            return None
        parts = self._frames.recv_multipart()
        while self._frames.poll(0):
            parts = self._frames.recv_multipart()
        return self.reception.take_frame(parts)


class AsyncSubscriber(_Client[zmq.asyncio.Socket]):
    """Reads the bus from an asyncio loop; otherwise as Subscriber. Make it inside the running loop."""

    def __init__(
        self,
        endpoints: Endpoints | str,
        name: str | None = None,
        keys: ClientKeys | None = None,
        pictures: bool = False,
    ) -> None:
        super().__init__(zmq.asyncio.Context(), endpoints, name, keys, pictures)
        self._poller = zmq.asyncio.Poller()
        for socket in (self._messages, self._calls):
            if socket is not None:
                self._poller.register(socket, zmq.POLLIN)

    async def receive(self, timeout_s: float) -> Message | SnapshotEnvelope | None:
        """What was heard next, already part of the state; None where nothing came in time."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            call = self._due_call()
            if call is not None and self._calls is not None:
                with contextlib.suppress(zmq.Again):
                    await self._calls.send(call.to_bytes(), zmq.DONTWAIT)
            ready = dict(await self._poller.poll(self._wait_ms(deadline_s)))
            told: Message | SnapshotEnvelope | None = None
            if self._calls is not None and self._calls in ready:
                told = self.reception.take_snapshot(await self._calls.recv_multipart())
            elif self._messages in ready:
                told = self.reception.take(await self._messages.recv_multipart())
            if told is not None or time.monotonic() >= deadline_s:
                return told

    async def messages(self) -> AsyncIterator[Message | SnapshotEnvelope]:
        """All that is heard, as it comes."""
        while True:
            told = await self.receive(ASK_AGAIN_S)
            if told is not None:
                yield told

    async def newest_pictures(self) -> AsyncIterator[FrameMessage | EarlyPicture]:
        """Pictures before and after they were looked at, of each kind always the newest there is."""
        self._picture_socket.setsockopt(zmq.SUBSCRIBE, EARLY_TOPIC)
        async for parts in self._newest_parts():
            is_early = parts[0] == EARLY_TOPIC
            picture = self.reception.take_early(parts) if is_early else self.reception.take_frame(parts)
            if picture is not None:
                yield picture

    async def newest_frames(self) -> AsyncIterator[FrameMessage]:
        """Pictures with what was seen on them, always the newest there is."""
        async for parts in self._newest_parts():
            frame = self.reception.take_frame(parts)
            if frame is not None:
                yield frame

    @property
    def _picture_socket(self) -> zmq.asyncio.Socket:
        if self._frames is None:
            raise BusError("this reader hears no pictures; expected pictures=True and an endpoint for frames")
        return self._frames

    async def _newest_parts(self) -> AsyncIterator[list[bytes]]:
        """Of all that lies in the socket the newest of each topic, and what was before it not."""
        socket = self._picture_socket
        while True:
            parts = await socket.recv_multipart()
            newest = {parts[0]: parts}
            while await socket.poll(0):
                parts = await socket.recv_multipart()
                newest[parts[0]] = parts
            for parts in newest.values():
                yield parts


def _connected(
    context: zmq.Context[AnySocket], kind: int, endpoint: str, keys: ClientKeys | None, kept: int
) -> AnySocket:
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RCVHWM, kept)
    socket.setsockopt(zmq.MAXMSGSIZE, LONGEST_FRAME_BYTES if kept == FRAMES_KEPT else LONGEST_MESSAGE_BYTES)
    # A line that was cut without a farewell is noticed, and made again, after this.
    socket.setsockopt(zmq.HEARTBEAT_IVL, 500)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 2000)
    socket.setsockopt(zmq.RECONNECT_IVL, 50)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
    if keys is not None:
        socket.setsockopt(zmq.CURVE_SERVERKEY, keys.service)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.public)
        socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
    if kept == FRAMES_KEPT:
        socket.setsockopt(zmq.RCVBUF, FRAME_BUFFER_BYTES)
    if kind == zmq.SUB:
        # What a later version tells besides is not for this reader.
        for topic in (*(topic.value.encode() for topic in Topic), FRAME_TOPIC):
            socket.setsockopt(zmq.SUBSCRIBE, topic)
    else:
        socket.setsockopt(zmq.SNDHWM, 4)
    try:
        socket.connect(endpoint)
    except zmq.ZMQError as error:
        raise BusError(
            f"{endpoint}: not an endpoint to listen to ({error.strerror}); expected tcp://HOST:PORT"
        ) from error
    return socket
