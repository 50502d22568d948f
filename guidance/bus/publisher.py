"""The service's end of the bus: two PUB sockets that never wait for a reader.

For a reader that stalls a PUB socket keeps messages up to its high-water mark and then drops the newest, not
the oldest. So nothing may be needed only once: changes of alerts are told as they happen and the heartbeat
repeats what is active, findings are told anew within a heartbeat, and sequence numbers show what was lost.

A socket belongs to one thread at a time: make it anywhere, hand it over before its first message.
"""

import ipaddress
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

import zmq

from guidance.bus.messages import (
    AlertEnvelope,
    FindingsEnvelope,
    FrameHeader,
    FrameMessage,
    HealthBody,
    HealthEnvelope,
    InputBody,
    Message,
    Topic,
    frame_parts,
    message_parts,
)
from guidance.records import Health
from guidance.wire import AlertMessage, FindingsMessage

MESSAGES_KEPT = 256
"""For each reader that stalls: some seconds of findings, so that a short stall loses nothing."""

FRAMES_KEPT = 2
"""For each reader that stalls: a picture is worth having only while it is new."""

FRAME_BUFFER_BYTES = 512 * 1024
"""The kernel's own buffer holds old pictures too; two or three are enough for an even flow."""


class BusError(Exception):
    """The bus cannot be set up. One line."""


class _Bound:
    """A PUB socket bound to this machine's loopback."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], host: str, port: int, kept: int) -> None:
        require_loopback(host)
        self._socket = context.socket(zmq.PUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDHWM, kept)
        self._prepare()
        try:
            self._socket.bind(f"tcp://{_in_endpoint(host)}:{port}")
        except zmq.ZMQError as error:
            self._socket.close()
            if error.errno == zmq.EADDRINUSE:
                raise port_in_use(host, port, "--bus-port") from error
            raise BusError(f"the bus cannot use port {port} on {host}: {error.strerror}") from error
        self.endpoint: str = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def _prepare(self) -> None:
        """Options that must stand before the socket is bound."""

    def close(self) -> None:
        """Unbind; what no reader has fetched is dropped. May be called twice."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Publisher(_Bound):
    """Tells findings, alerts and health. ``port`` 0 takes any free one; readers connect to ``endpoint``."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], host: str, port: int) -> None:
        super().__init__(context, host, port, MESSAGES_KEPT)
        self._sequence: defaultdict[Topic, int] = defaultdict(int)

    def tell_findings(self, case: str, body: FindingsMessage) -> None:
        self._send(FindingsEnvelope(body=body, **self._stamp(Topic.FINDINGS, case)))

    def tell_alert(self, case: str, body: AlertMessage) -> None:
        self._send(AlertEnvelope(body=body, **self._stamp(Topic.ALERTS, case)))

    def tell_health(
        self, case: str, health: Health, active: Sequence[AlertMessage], findings_t_s: float | None
    ) -> None:
        """The heartbeat, with every alert that is not over."""
        body = HealthBody(
            source=health.source,
            state=health.state,
            frames=health.frames,
            pulses=health.pulses,
            dropped=health.dropped,
            corrupt=health.corrupt,
            input=None if health.input is None else InputBody(**asdict(health.input)),
            not_recorded=health.not_recorded,
            latency_ms=health.latency_ms,
            rate_hz=health.rate_hz,
            findings_t_s=findings_t_s,
            alerts=list(active),
        )
        self._send(HealthEnvelope(body=body, **self._stamp(Topic.HEALTH, case)))

    def _stamp(self, topic: Topic, case: str) -> dict[str, Any]:
        sequence = self._sequence[topic]
        self._sequence[topic] += 1
        return {"sequence": sequence, "case": case, "sent_s": time.monotonic()}

    def _send(self, message: Message) -> None:
        self._socket.send_multipart(message_parts(message))


class FramePublisher(_Bound):
    """Tells pictures, on a socket of their own."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], host: str, port: int) -> None:
        super().__init__(context, host, port, FRAMES_KEPT)
        self._sequence = 0

    def _prepare(self) -> None:
        self._socket.setsockopt(zmq.SNDBUF, FRAME_BUFFER_BYTES)

    def tell_frame(
        self,
        case: str,
        captured_s: float,
        findings: FindingsMessage,
        strokes: list[dict[str, Any]],
        active: Sequence[AlertMessage],
        jpeg: bytes,
    ) -> None:
        """A picture with what is seen on it; ``jpeg`` empty where there is none yet."""
        header = FrameHeader(
            sequence=self._sequence,
            case=case,
            sent_s=time.monotonic(),
            captured_s=captured_s,
            frame=findings.frame,
            t_s=findings.t_s,
            state=findings.state,
            findings=findings,
            strokes=strokes,
            alerts=list(active),
        )
        self._sequence += 1
        self._socket.send_multipart(frame_parts(FrameMessage(header, jpeg)))


def port_in_use(host: str, port: int, option: str) -> BusError:
    """The error that says so; ``option`` is how to choose another."""
    return BusError(f"port {port} on {host} is in use; expected a free port: choose another with {option}")


def require_loopback(host: str) -> None:
    """Raise BusError unless ``host`` is this machine's own: the bus is neither encrypted nor guarded yet."""
    if host == "localhost":
        return
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise BusError(f"the bus on {host}: expected a loopback address such as 127.0.0.1; it is not encrypted yet")


def _in_endpoint(host: str) -> str:
    return f"[{host}]" if ":" in host else host
