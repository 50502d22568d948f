"""The live case for 3D Slicer and whatever else speaks OpenIGTLink: picture, needle tips, state and alerts.

A viewer keeps showing the last picture that it got, and tells nobody how old it is. So a picture that is not live
says so in its own pixels, and one that means nothing any more is replaced by a black one with the reason in it; the
tips go.

    IMAGE   Fluoroscopy   the picture, in mm where the scale is known, else in pixels
    POINT   Tips          the visible tips of needles on a live picture; none otherwise
    STATUS  State         OK while it is live
    STRING  State, Alerts in words, the worst alert first

OpenIGTLink's own messages are pyigtl's. Its server serves one client at a time and queues pictures for a slow one, so
the serving is done here: each client gets the newest of each message when it has taken the last.
"""

import asyncio
import contextlib
import logging
import signal
import struct
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pyigtl
import simplejpeg
from numpy.typing import NDArray

from guidance.bus.keys import ClientKeys
from guidance.bus.messages import Endpoints, FrameMessage
from guidance.bus.subscriber import AsyncSubscriber, Reception
from guidance.handon import HandOnError
from guidance.records import FrameState
from guidance.wire import FindingsMessage

log = logging.getLogger(__name__)

BUS = "tcp://127.0.0.1:5570"
STALE_S = 1.0
"""A picture that came longer ago is no longer the present one, whatever it said of itself."""

LOOK_S = 0.1
REPEAT_S = 1.0
"""What has not changed is told again this often: a client may have come meanwhile."""

STUCK_S = 5.0
"""A client that has not taken a message for this long is cut off."""

STATUS_OK, STATUS_NOT_READY = 1, 13
IANA_UTF8 = 106

_WORDS = {
    FrameState.LIVE: "LIVE",
    FrameState.HELD: "HELD: x-ray is off, last image",
    FrameState.FROZEN: "FROZEN: the source sends the same picture",
    FrameState.NO_SIGNAL: "NO SIGNAL",
    FrameState.CORRUPT: "DAMAGED PICTURE",
}
DEAF = "NO CONNECTION: the service is not heard"
WAITING = "WAITING for a picture"

Grey = NDArray[np.uint8]


# pyigtl ships no types.
class StringMessage(pyigtl.StringMessage):  # type: ignore[misc]
    """STRING in UTF-8; pyigtl 0.3 can pack ASCII only, and there is a ² in every area."""

    def _pack_content(self) -> bytes:
        text: bytes = self.string.encode()[:65535]
        return struct.pack(">HH", IANA_UTF8, len(text)) + text


class StatusMessage(pyigtl.messages.MessageBase):  # type: ignore[misc]
    """STATUS (OpenIGTLink version 2), which pyigtl lacks. ``code``: 1 is OK, 13 not ready."""

    def __init__(self, code: int, words: str, device_name: str) -> None:
        super().__init__(device_name=device_name)
        self._message_type, self._valid_message = "STATUS", True
        self._code, self._words = code, words

    def _pack_content(self) -> bytes:
        name = b"" if self._code == STATUS_OK else b"NOT_LIVE"
        return struct.pack(">Hq20s", self._code, 0, name) + self._words.encode() + b"\0"


class PointMessage(pyigtl.PointMessage):  # type: ignore[misc]
    """POINT that may hold none at all, which pyigtl refuses to pack: it is how the last ones are taken away."""

    def _pack_content(self) -> bytes:
        packed: bytes = super()._pack_content() if len(self.positions) else b""
        return packed


def state_words(reception: Reception, frame: FrameMessage | None, age_s: float) -> tuple[bool, str]:
    """Whether the picture is live, and what there is to say of it. ``age_s``: since the frame came."""
    if reception.deaf:
        return False, DEAF
    if frame is None:
        return False, WAITING
    # Whichever of the two is the worse: a heartbeat may be older than the picture, or newer.
    state = frame.header.state
    if state is FrameState.LIVE and reception.health is not None:
        state = reception.health.state
    if age_s > STALE_S and state in (FrameState.LIVE, FrameState.HELD):
        return False, f"STALE: the last picture is {age_s:.0f} s old"
    return state is FrameState.LIVE, _WORDS[state]


def picture_of(frame: FrameMessage | None, is_live: bool, words: str) -> Grey:
    """The picture, (height, width): clean when live, its state written on it when held, else black with the reason."""
    if frame is None or not frame.jpeg:
        return _written(np.zeros((512, 512), np.uint8), words)
    picture = np.asarray(simplejpeg.decode_jpeg(frame.jpeg, colorspace="GRAY")[:, :, 0], dtype=np.uint8)
    if is_live:
        return picture
    if words == _WORDS[FrameState.HELD]:
        return _written(picture.copy(), words)
    return _written(np.zeros_like(picture), words)


def _written(picture: Grey, words: str) -> Grey:
    height, width = picture.shape
    bar = max(24, height // 12)
    size = min(bar / 40, width / (20.0 * len(words)))
    picture[:bar] = 255
    cv2.putText(picture, words, (8, round(0.7 * bar)), cv2.FONT_HERSHEY_SIMPLEX, size, 0, 2, cv2.LINE_AA)
    return picture


def ijk_to_ras_mm(mm_per_px: float) -> NDArray[np.float64]:
    """Pixels to Slicer's millimetres, (4, 4): x to the patient's left and y to posterior, so that the axial slice
    shows it upright and unmirrored. The picture's plane, not the patient's: a projection has no place in space."""
    return np.diag([-mm_per_px, -mm_per_px, 1.0, 1.0])


def messages_of(reception: Reception, frame: FrameMessage | None, age_s: float) -> list[Any]:
    """Everything a client should know now, as pyigtl's messages."""
    is_live, words = state_words(reception, frame, age_s)
    findings = None if frame is None else frame.header.findings
    mm_per_px = 1.0 if findings is None or findings.scale is None else findings.scale.mm_per_px
    taken = time.time() - (0.0 if frame is None else age_s)
    picture = picture_of(frame, is_live, words)
    alerts = "\n".join(f"{alert.priority.upper()} {alert.text}" for alert in reception.alerts) or "none detected"
    return [
        StatusMessage(STATUS_OK if is_live else STATUS_NOT_READY, words, "State"),
        StringMessage(words, device_name="State"),
        StringMessage("UNKNOWN: the service is not heard" if reception.deaf else alerts, device_name="Alerts"),
        pyigtl.ImageMessage(picture[None], ijk_to_ras_mm(mm_per_px), "ras", timestamp=taken, device_name="Fluoroscopy"),
        _tips(findings if is_live else None, mm_per_px, taken),
    ]


def _tips(findings: FindingsMessage | None, mm_per_px: float, taken: float) -> PointMessage:
    """Tips that are seen on this very picture: none that is predicted, or hidden behind cement or metal."""
    needles = [n for n in (findings.needles if findings else []) if not n.predicted and not n.tip_hidden]
    to_ras = ijk_to_ras_mm(mm_per_px)
    positions = [tuple((to_ras @ (*needle.tip_px, 0.0, 1.0))[:3]) for needle in needles]
    names = [f"Needle {needle.id}" for needle in needles]
    return PointMessage(positions, names, timestamp=taken, device_name="Tips")


class Client:
    """One that is connected: the newest of each message that it has not taken yet."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._waiting: dict[tuple[str, str], bytes] = {}
        self._some = asyncio.Event()

    def offer(self, messages: dict[tuple[str, str], bytes]) -> None:
        """These are newer than what waits of their kinds."""
        self._waiting |= messages
        self._some.set()

    async def deliver(self) -> None:
        """Send until the client goes, or does not take anything for STUCK_S (TimeoutError)."""
        while True:
            await self._some.wait()
            self._some.clear()
            while self._waiting:
                self._writer.write(self._waiting.pop(next(iter(self._waiting))))
                await asyncio.wait_for(self._writer.drain(), STUCK_S)


class Broadcast:
    """What the bus tells, told on to everybody who is connected. ``clients``: those that are."""

    def __init__(self, bus: AsyncSubscriber) -> None:
        self.clients: set[Client] = set()
        self._bus = bus
        self._frame: FrameMessage | None = None
        self._taken_s = float("-inf")
        self._changed = asyncio.Event()
        self._newcomer = False

    async def hear_messages(self) -> None:
        """Keep the state of the bus."""
        async for _ in self._bus.messages():
            self._changed.set()

    async def hear_pictures(self) -> None:
        """Keep the newest picture that has been looked at, and when it was taken."""
        async for frame in self._bus.newest_frames():
            self._frame = frame
            self._taken_s = time.monotonic() - max(0.0, frame.header.sent_s - frame.header.captured_s)
            self._changed.set()

    async def tell(self) -> None:
        """Tell what is new at once, and all of it each REPEAT_S and when somebody has come."""
        told, told_s = None, float("-inf")
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), LOOK_S)
            self._changed.clear()
            now_s = time.monotonic()
            age_s = now_s - self._taken_s
            _, words = state_words(self._bus.reception, self._frame, age_s)
            present = (self._frame, words, self._bus.alerts)
            if self.clients and (present != told or self._newcomer or now_s - told_s > REPEAT_S):
                told, told_s, self._newcomer = present, now_s, False
                messages = messages_of(self._bus.reception, self._frame, age_s)
                packed = {(message.message_type, message.device_name): message.pack() for message in messages}
                for client in self.clients:
                    client.offer(packed)

    async def welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until it goes."""
        # So little lies between us and a slow client that what it gets next is new.
        writer.transport.set_write_buffer_limits(high=0)
        client = Client(writer)
        self.clients.add(client)
        self._newcomer = True
        self._changed.set()
        work = [asyncio.create_task(client.deliver()), asyncio.create_task(_until_end(reader))]
        try:
            await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.clients.discard(client)
            for task in work:
                task.cancel()
            for result in await asyncio.gather(*work, return_exceptions=True):
                if isinstance(result, TimeoutError):
                    log.warning("a client has taken nothing for %g s: cut off", STUCK_S)
                elif isinstance(result, Exception) and not isinstance(result, OSError):
                    raise result
            writer.transport.abort()


async def _until_end(reader: asyncio.StreamReader) -> None:
    """What a client says is read and thrown away; the end is what counts."""
    while await reader.read(65536):
        pass


async def stream(
    endpoints: Endpoints | str,
    host: str,
    port: int,
    keys: ClientKeys | None = None,
    ready: Callable[[int], None] = lambda port: None,
) -> None:
    """Serve until cancelled. ``ready`` hears the port once clients may come. Raises HandOnError, BusError."""
    with AsyncSubscriber(endpoints, keys=keys, pictures=True) as bus:
        broadcast = Broadcast(bus)
        try:
            server = await asyncio.start_server(broadcast.welcome, host, port)
        except OSError as error:
            reason = error.strerror or str(error)
            raise HandOnError(f"{host}:{port}: cannot be listened at ({reason}); expected a free port") from error
        ready(server.sockets[0].getsockname()[1])
        async with server, asyncio.TaskGroup() as tasks:
            for work in (broadcast.hear_messages, broadcast.hear_pictures, broadcast.tell):
                tasks.create_task(work())


def serve(endpoint: str | None, host: str, port: int, keys: ClientKeys | None, ready: Callable[[int], None]) -> None:
    """``stream`` until SIGINT or SIGTERM."""

    async def run() -> None:
        work = asyncio.ensure_future(stream(endpoint or BUS, host, port, keys, ready))
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, work.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await work

    asyncio.run(run())
