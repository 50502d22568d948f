"""The service's end of what it tells: two PUB sockets that never wait for a reader.

For a reader that stalls a PUB socket keeps messages up to its high-water mark and then drops the newest, not
the oldest. So nothing may be needed only once: changes of alerts are told as they happen, the heartbeat repeats what
is active, ``present`` is the whole of it for whoever asks, and sequence numbers show what was lost.

A socket belongs to one thread at a time: make it anywhere, hand it over before its first message.
"""

import ipaddress
import threading
import time
import uuid
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import zmq

from guidance.bus.keys import ServiceKeys
from guidance.bus.messages import (
    AlertEnvelope,
    EarlyHeader,
    EarlyPicture,
    FindingsEnvelope,
    FrameHeader,
    FrameMessage,
    HealthBody,
    HealthEnvelope,
    Message,
    SnapshotBody,
    SnapshotEnvelope,
    Topic,
    early_parts,
    frame_parts,
    message_parts,
)
from guidance.wire import AlertMessage, FindingsMessage

MESSAGES_KEPT = 256
"""For each reader that stalls: some seconds of findings, so that a short stall loses nothing."""

FRAMES_KEPT = 2
"""For each reader that stalls: a picture is worth having only while it is new."""

FRAME_BUFFER_BYTES = 512 * 1024
"""The kernel's own buffer holds old pictures too; two or three are enough for an even flow."""


_Present = tuple[str, float, SnapshotBody]
"""The case, when it was so, and what."""


class BusError(Exception):
    """The bus cannot be set up, or does not answer. One line."""


class Bound:
    """A socket of the service. ``keys``: encrypted, and for known clients only.

    ``turned_away`` tells of each peer that did not get as far as a message. It is a socket of its own and may be read
    by another thread.
    """

    KIND = zmq.PUB
    TURNED_AWAY = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        host: str,
        port: int,
        kept: int = MESSAGES_KEPT,
        keys: ServiceKeys | None = None,
    ) -> None:
        if keys is None:
            require_loopback(host)
        self.socket = context.socket(self.KIND)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.SNDHWM, kept)
        # A peer whose cable was pulled sends no farewell, and would be kept for hours.
        self.socket.setsockopt(zmq.HEARTBEAT_IVL, 1000)
        self.socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 5000)
        if keys is not None:
            self.socket.setsockopt(zmq.CURVE_SERVER, 1)
            self.socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
        self._prepare()
        self.turned_away = self.socket.get_monitor_socket(self.TURNED_AWAY)
        # Whoever knocks all day long fills no memory.
        self.turned_away.setsockopt(zmq.RCVHWM, 1000)
        try:
            self.socket.bind(f"tcp://{_in_endpoint(host)}:{port}")
        except zmq.ZMQError as error:
            self.close()
            if error.errno == zmq.EADDRINUSE:
                raise port_in_use(host, port, "--bus-port") from error
            raise BusError(f"the bus cannot use port {port} on {host}: {error.strerror}") from error
        bound: str = self.socket.getsockopt_string(zmq.LAST_ENDPOINT)
        # Bound to every address of this machine, it is reached from here by the loopback one.
        self.endpoint = bound.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")

    def _prepare(self) -> None:
        """Options that must stand before the socket is bound."""

    def close(self) -> None:
        """Unbind; what no reader has fetched is dropped. May be called twice."""
        if not self.socket.closed:
            self.socket.disable_monitor()
            self.turned_away.close()
            self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Publisher(Bound):
    """Tells findings, alerts and health. ``port`` 0 takes any free one; readers connect to ``endpoint``."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        host: str,
        port: int,
        kept: int = MESSAGES_KEPT,
        keys: ServiceKeys | None = None,
    ) -> None:
        super().__init__(context, host, port, kept, keys)
        self.session = uuid.uuid4().hex
        self._next: dict[Topic, int] = dict.fromkeys(Topic, 0)
        self._findings: FindingsMessage | None = None
        self._health: HealthBody | None = None
        self._present: _Present | None = None
        self._encoded: tuple[_Present, bytes] | None = None

    def tell_findings(self, case: str, body: FindingsMessage) -> None:
        """What is seen on a frame."""
        self._send(FindingsEnvelope(body=body, **self._stamp(Topic.FINDINGS, case)))
        self._findings = body
        if self._health is not None:
            self._keep(case, self._health)

    def tell_alerts(self, case: str, changes: Sequence[AlertMessage], health: HealthBody) -> None:
        """Changes of alerts, in their order. ``health``: how all is after them, for whoever asks from now on."""
        for body in changes:
            self._send(AlertEnvelope(body=body, **self._stamp(Topic.ALERTS, case)))
        self._keep(case, health)

    def tell_health(self, case: str, health: HealthBody) -> None:
        """The heartbeat, with every active alert."""
        stamp = self._stamp(Topic.HEALTH, case)
        self._send(HealthEnvelope(body=self._keep(case, health), **stamp))

    def begin_case(self) -> None:
        """What was told so far is another case's; until the next heartbeat nobody is told of it any more."""
        self._findings = self._health = self._present = None

    def present(self) -> bytes | None:
        """The whole state as a snapshot's message, None before the first heartbeat.

        It is as old as its ``sent_s`` says: whoever answers with it may live on while nothing is watched any more.
        May be called from one other thread.
        """
        kept = self._present
        if kept is None:
            return None
        if self._encoded is None or self._encoded[0] is not kept:
            case, kept_s, body = kept
            number = body.health.next[Topic.HEALTH]
            told = SnapshotEnvelope(session=self.session, sequence=number, case=case, sent_s=kept_s, body=body)
            # However many ask, it is written once.
            self._encoded = (kept, told.to_bytes())
        return self._encoded[1]

    def _keep(self, case: str, health: HealthBody) -> HealthBody:
        # One assignment: another thread sees the state before or after, never between.
        health = self._health = health.model_copy(
            update={"next": {topic.value: number for topic, number in self._next.items()}}
        )
        body = SnapshotBody.model_construct(health=health, findings=self._findings)
        self._present = (case, time.monotonic(), body)
        return health

    def _stamp(self, topic: Topic, case: str) -> dict[str, Any]:
        sequence = self._next[topic]
        self._next[topic] += 1
        return {"session": self.session, "sequence": sequence, "case": case, "sent_s": time.monotonic()}

    def _send(self, message: Message) -> None:
        self.socket.send_multipart(message_parts(message))


class FramePublisher(Bound):
    """Tells pictures, on a socket of their own. Two threads may: one before a frame is looked at, one after."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        host: str,
        port: int,
        kept: int = FRAMES_KEPT,
        keys: ServiceKeys | None = None,
        session: str = "",
    ) -> None:
        super().__init__(context, host, port, kept, keys)
        self._session = session or uuid.uuid4().hex
        self._sequence = self._early = 0
        # A socket may go from thread to thread where a lock stands between.
        self._turn = threading.Lock()

    def _prepare(self) -> None:
        self.socket.setsockopt(zmq.SNDBUF, FRAME_BUFFER_BYTES)

    def tell_frame(
        self,
        case: str,
        captured_s: float,
        findings: FindingsMessage,
        strokes: list[dict[str, Any]],
        active: Sequence[AlertMessage],
        jpeg: bytes,
        picture_t_s: float | None = None,
    ) -> None:
        """A picture with what is seen on it; ``jpeg`` empty where there is none yet."""
        header = FrameHeader(
            session=self._session,
            sequence=self._sequence,
            case=case,
            sent_s=time.monotonic(),
            captured_s=captured_s,
            picture_t_s=picture_t_s,
            frame=findings.frame,
            t_s=findings.t_s,
            state=findings.state,
            findings=findings,
            strokes=strokes,
            alerts=list(active),
        )
        self._sequence += 1
        with self._turn:
            self.socket.send_multipart(frame_parts(FrameMessage(header, jpeg)))

    def tell_early(self, case: str, captured_s: float, jpeg: bytes) -> None:
        """A picture that nobody has looked at yet."""
        header = EarlyHeader(
            session=self._session, sequence=self._early, case=case, sent_s=time.monotonic(), captured_s=captured_s
        )
        self._early += 1
        with self._turn:
            self.socket.send_multipart(early_parts(EarlyPicture(header, jpeg)))


def port_in_use(host: str, port: int, option: str) -> BusError:
    """The error that says so; ``option`` is how to choose another."""
    return BusError(f"port {port} on {host} is in use; expected a free port: choose another with {option}")


def is_loopback(host: str) -> bool:
    """Whether only this machine itself can reach that address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_loopback(host: str) -> None:
    """Raise BusError unless ``host`` is this machine's own: beyond it nothing goes unencrypted."""
    if not is_loopback(host):
        raise BusError(
            f"the bus on {host}: expected --keys FOLDER: beyond this machine it is encrypted and lets in known clients "
            "only; `fluoroguide keys` makes them"
        )


def _in_endpoint(host: str) -> str:
    return f"[{host}]" if ":" in host else host
