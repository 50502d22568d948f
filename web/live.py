"""What every viewer sees now, and how it reaches each of them: the newest only, at the viewer's own pace.

One binary message: the length of a JSON header (uint32, little-endian), the header, and a JPEG where there is a
picture. A viewer answers ``ack`` when it has drawn a picture; one that is behind misses pictures, so nothing queues
and it holds nobody else up. Words about alerts and health never wait for an acknowledgement.
"""

import asyncio
import json
import time
from collections import deque
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from guidance.bus.messages import FRAME_TOPIC, AlertEnvelope, FrameMessage, HealthBody, HealthEnvelope, Message
from guidance.bus.subscriber import Hearing
from guidance.records import AlertState
from guidance.wire import AlertMessage

PICTURES_IN_FLIGHT = 2
"""One being drawn while the next one travels; more would only be older."""

CHANGES_KEPT = 20
TICK_S = 0.25
"""How often a viewer hears something even when nothing happens: its proof that the line is alive."""


class Board:
    """The newest of everything that the bus has told. Belongs to one event loop."""

    def __init__(self, hearing: Hearing) -> None:
        self.hearing = hearing
        self.viewers: set[Viewer] = set()
        self.picture: FrameMessage | None = None
        self.health: HealthBody | None = None
        self.alerts: list[AlertMessage] = []
        self.changes: deque[AlertMessage] = deque(maxlen=CHANGES_KEPT)
        self._alerts_sent_s = float("-inf")
        self._case: str | None = None
        self._case_since_s = float("-inf")
        self._picture_json = b"null"

    def hear(self, message: Message) -> None:
        """Take in what the bus says; wake the viewers where it concerns them."""
        if not self._enter(message.case, message.sent_s):
            return
        if isinstance(message, AlertEnvelope):
            self.changes.appendleft(message.body)
            others = [alert for alert in self.alerts if alert.id != message.body.id]
            over = message.body.state is AlertState.CLEARED
            self._take_alerts(others if over else [message.body, *others], message.sent_s)
            self.wake()
        elif isinstance(message, HealthEnvelope):
            self.health = message.body
            self._take_alerts(message.body.alerts, message.sent_s)
            self.wake()

    def hear_picture(self, picture: FrameMessage) -> None:
        """Show a picture from now on."""
        header = picture.header
        if not self._enter(header.case, header.sent_s):
            return
        self._take_alerts(header.alerts, header.sent_s)
        self.picture = picture
        shown = {"frame", "t_s", "state", "findings", "strokes"}
        self._picture_json = header.model_dump_json(include=shown).encode()
        self.wake()

    def wake(self) -> None:
        for viewer in self.viewers:
            viewer.wake()

    def message(self, with_picture: bool) -> bytes:
        """One message to a viewer, as the page reads it."""
        status: dict[str, Any] = {
            "deaf": self.hearing.deaf,
            # Pictures are skipped on purpose; a word that is missed is a fault.
            "lost": sum(count for topic, count in self.hearing.lost.items() if topic != FRAME_TOPIC.decode()),
            "health": None if self.health is None else self.health.model_dump(mode="json", exclude={"alerts"}),
            "alerts": [alert.model_dump(mode="json") for alert in self.alerts],
            "changes": [alert.model_dump(mode="json") for alert in self.changes],
        }
        header = json.dumps(status, separators=(",", ":")).encode()
        jpeg = b""
        if with_picture and self.picture is not None:
            age_ms = b"%.1f" % (1000 * self.picture_age_s())
            header = header[:-1] + b',"age_ms":' + age_ms + b',"picture":' + self._picture_json + b"}"
            jpeg = self.picture.jpeg
        return len(header).to_bytes(4, "little") + header + jpeg

    def picture_age_s(self) -> float:
        """Seconds since the newest picture was captured; infinite before the first."""
        # All processes of one machine share this clock.
        return float("inf") if self.picture is None else time.monotonic() - self.picture.header.captured_s

    def _take_alerts(self, active: list[AlertMessage], sent_s: float) -> None:
        """Pictures and words come by different sockets: what was said last is true, not what arrived last."""
        if sent_s >= self._alerts_sent_s:
            self.alerts, self._alerts_sent_s = list(active), sent_s

    def _enter(self, case: str, sent_s: float) -> bool:
        """Whether this belongs to the present case; a new case forgets the one before."""
        if case == self._case:
            return True
        if sent_s < self._case_since_s:
            return False
        self._case, self._case_since_s = case, sent_s
        self.alerts = []
        self.changes.clear()
        self.picture, self._picture_json = None, b"null"
        return True


class Viewer:
    """One open page."""

    def __init__(self, websocket: WebSocket, board: Board) -> None:
        self._websocket = websocket
        self._board = board
        self._news = asyncio.Event()
        self._in_flight = 0

    def wake(self) -> None:
        self._news.set()

    async def serve(self) -> None:
        """Show the board until the viewer leaves."""
        await self._websocket.accept()
        self._board.viewers.add(self)
        self.wake()
        telling = asyncio.create_task(self._tell())
        try:
            while (heard := await self._websocket.receive())["type"] != "websocket.disconnect":
                if heard.get("text") == "ack":
                    self._in_flight = max(0, self._in_flight - 1)
                    self.wake()
        finally:
            self._board.viewers.discard(self)
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    async def _tell(self) -> None:
        shown: FrameMessage | None = None
        while True:
            await self._news.wait()
            self._news.clear()
            picture = self._board.picture
            fresh = picture is not None and picture is not shown and self._in_flight < PICTURES_IN_FLIGHT
            if fresh:
                shown = picture
                self._in_flight += 1
            try:
                await self._websocket.send_bytes(self._board.message(with_picture=fresh))
            except WebSocketDisconnect:
                return


def same_origin(websocket: WebSocket) -> bool:
    """Whether the page that opens this socket came from here; a program that is no browser names no origin."""
    origin = websocket.headers.get("origin")
    if origin is None:
        return True
    return origin in {f"{scheme}://{websocket.headers.get('host')}" for scheme in ("http", "https")}
