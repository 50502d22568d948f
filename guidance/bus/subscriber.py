"""A reader's end of the bus: checked messages, lost ones counted, and silence noticed.

Neither class starts a thread. ZeroMQ gives a reader that stalled the oldest messages first, so pictures are
fetched with ``newest_frame``, which throws away all but the last; whoever lets pictures lie reads the past.
"""

import time
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Generic, Self, TypeVar

import zmq
import zmq.asyncio

from guidance.bus.messages import (
    DEAF_AFTER_S,
    FRAME_TOPIC,
    FrameMessage,
    HealthEnvelope,
    Message,
    Topic,
    read_frame,
    read_message,
)
from guidance.bus.publisher import FRAME_BUFFER_BYTES, FRAMES_KEPT, MESSAGES_KEPT, BusError

AnySocket = TypeVar("AnySocket", zmq.Socket[bytes], zmq.asyncio.Socket)


class Hearing:
    """What a reader knows of its own reception."""

    def __init__(self) -> None:
        self.lost: dict[str, int] = {topic.value: 0 for topic in Topic} | {FRAME_TOPIC.decode(): 0}
        """Messages missed, by topic, since the first one heard."""
        self.heartbeat_s: float | None = None
        """The sender's clock at the last heartbeat, None before the first."""
        self._expected: dict[str, int] = {}

    @property
    def deaf(self) -> bool:
        """Whether no heartbeat has been heard that was sent within the last second."""
        return self.heartbeat_s is None or time.monotonic() - self.heartbeat_s > DEAF_AFTER_S

    def note(self, message: Message) -> None:
        self._count(message.topic.value, message.sequence)
        if isinstance(message, HealthEnvelope):
            self.heartbeat_s = message.sent_s

    def note_frame(self, message: FrameMessage) -> None:
        self._count(FRAME_TOPIC.decode(), message.header.sequence)

    def _count(self, topic: str, sequence: int) -> None:
        expected = self._expected.get(topic, sequence)
        # A count that goes back is a new publisher, not a loss.
        self.lost[topic] += max(0, sequence - expected)
        self._expected[topic] = sequence + 1


class _Reader(Generic[AnySocket]):
    """What both readers share: two connections in a context of their own, and how they are left."""

    def __init__(self, context: zmq.Context[AnySocket], bus: str, frames: str | None) -> None:
        self.hearing = Hearing()
        self._context: zmq.Context[AnySocket] = context
        try:
            self._messages: AnySocket = _connected(context, bus, MESSAGES_KEPT)
            self._frames: AnySocket | None = None if frames is None else _connected(context, frames, FRAMES_KEPT)
        except BusError:
            context.destroy(linger=0)
            raise

    def close(self) -> None:
        """Leave the bus. May be called twice."""
        self._context.destroy(linger=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Subscriber(_Reader[zmq.Socket[bytes]]):
    """Reads the bus from a plain loop.

    ``bus``: endpoint of findings, alerts and health. ``frames``: the pictures' endpoint, None to do without.
    Raises BusError on an endpoint that is none. Connecting needs nobody on the other end yet.
    """

    def __init__(self, bus: str, frames: str | None = None) -> None:
        super().__init__(zmq.Context(), bus, frames)

    def receive(self, timeout_s: float) -> Message | None:
        """The next message, None where none came in time. Raises MessageError on one of another schema."""
        if not self._messages.poll(round(timeout_s * 1000)):
            return None
        message = read_message(self._messages.recv_multipart())
        self.hearing.note(message)
        return message

    def newest_frame(self, timeout_s: float) -> FrameMessage | None:
        """The newest picture, None where none came in time. Older ones in the queue are lost on purpose."""
        if self._frames is None:
            raise BusError("this reader was not told where the pictures are; expected an endpoint for frames")
        if not self._frames.poll(round(timeout_s * 1000)):
            return None
        parts = self._frames.recv_multipart()
        while self._frames.poll(0):
            parts = self._frames.recv_multipart()
        frame = read_frame(parts)
        self.hearing.note_frame(frame)
        return frame


class AsyncSubscriber(_Reader[zmq.asyncio.Socket]):
    """Reads the bus from an asyncio loop; otherwise as Subscriber. Make it inside the running loop."""

    def __init__(self, bus: str, frames: str | None = None) -> None:
        super().__init__(zmq.asyncio.Context(), bus, frames)

    async def messages(self) -> AsyncIterator[Message]:
        """Every message as it comes. Raises MessageError on one of another schema."""
        while True:
            message = read_message(await self._messages.recv_multipart())
            self.hearing.note(message)
            yield message

    async def newest_frames(self) -> AsyncIterator[FrameMessage]:
        """Pictures, always the newest there is. Raises MessageError on one of another schema."""
        if self._frames is None:
            raise BusError("this reader was not told where the pictures are; expected an endpoint for frames")
        while True:
            parts = await self._frames.recv_multipart()
            while await self._frames.poll(0):
                parts = await self._frames.recv_multipart()
            frame = read_frame(parts)
            self.hearing.note_frame(frame)
            yield frame


def _connected(context: zmq.Context[AnySocket], endpoint: str, kept: int) -> AnySocket:
    socket = context.socket(zmq.SUB)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RCVHWM, kept)
    if kept == FRAMES_KEPT:
        socket.setsockopt(zmq.RCVBUF, FRAME_BUFFER_BYTES)
    socket.setsockopt(zmq.SUBSCRIBE, b"")
    try:
        socket.connect(endpoint)
    except zmq.ZMQError as error:
        raise BusError(
            f"{endpoint}: not an endpoint to listen to ({error.strerror}); expected tcp://HOST:PORT"
        ) from error
    return socket
