"""What every viewer sees now, and how it reaches each of them: the newest only, at the viewer's own pace.

One binary message: the length of a JSON header (uint32, little-endian), the header, and a JPEG where there is a
picture. A viewer answers ``ack`` when it has drawn a picture; one that is behind misses pictures, so nothing queues
and it holds nobody else up. Words about alerts and health never wait for that. Anything else that a viewer says is an
order, a command of the bus as JSON, and is answered in text.
"""

import asyncio
import json
import time
from collections import deque
from typing import Any
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from guidance.bus.commands import AsyncCommander
from guidance.bus.messages import (
    FRAME_TOPIC,
    AlertEnvelope,
    Command,
    FindingsEnvelope,
    FrameMessage,
    Message,
    SnapshotEnvelope,
)
from guidance.bus.publisher import BusError, is_loopback
from guidance.bus.subscriber import Reception
from guidance.wire import AlertMessage
from web.remembered import CementTrends, StoredViews

_COMMAND: TypeAdapter[Command] = TypeAdapter(Command)

PICTURES_IN_FLIGHT = 2
"""One being drawn while the next one travels; more would only be older."""

CHANGES_KEPT = 20

ELSEWHERE = "orders are taken on the service's own machine, or over the bus with a key"

TICK_S = 0.1
"""How often a viewer hears something even when nothing happens: its proof that the line is alive, and that
a pulse which is shown for long is still the newest. The page calls nothing live that is older than 270 ms."""


class Board:
    """The newest of everything that the bus has told. Belongs to one event loop.

    ``reception``: what is known of alerts and health; ``hear`` is called with what it has taken in.
    """

    def __init__(self, reception: Reception) -> None:
        self.reception = reception
        self.viewers: set[Viewer] = set()
        self.picture: FrameMessage | None = None
        self.changes: deque[AlertMessage] = deque(maxlen=CHANGES_KEPT)
        self.views = StoredViews()
        self.trends = CementTrends()
        self._case: str | None = None
        self._picture_json = b"null"
        self._newest: FindingsEnvelope | None = None

    def hear(self, message: Message | SnapshotEnvelope) -> None:
        """Wake the viewers where a message concerns them; a new case forgets the one before."""
        if self.reception.case != self._case:
            self._case = self.reception.case
            self.changes.clear()
            self.picture, self._picture_json = None, b"null"
            self._newest = None
            self.views.forget()
            self.trends.forget()
        if isinstance(message, AlertEnvelope) and message.case == self._case:
            self.changes.appendleft(message.body)
        if isinstance(message, FindingsEnvelope):
            self._hear_findings(message)
        else:
            self.wake()

    def _hear_findings(self, message: FindingsEnvelope) -> None:
        if message.case != self._case:
            return
        # Told again, the same frame says nothing new about how things stand.
        if self._newest is None or message.body.frame != self._newest.body.frame:
            self._newest = message
        self.trends.note(message.body)

    def hear_picture(self, picture: FrameMessage) -> None:
        """Show a picture from now on, if it is of the present case."""
        header = picture.header
        if header.case != self._case:
            return
        self.picture = picture
        shown = {"frame", "t_s", "state", "findings", "strokes"}
        self._picture_json = header.model_dump_json(include=shown).encode()
        self.views.note(picture)
        self.wake()

    def wake(self) -> None:
        for viewer in self.viewers:
            viewer.wake()

    def message(self, with_picture: bool) -> bytes:
        """One message to a viewer, as the page reads it."""
        known = self.reception
        status: dict[str, Any] = {
            "deaf": known.deaf,
            # Pictures are skipped on purpose; a word that is missed is a fault.
            "lost": sum(count for topic, count in known.lost.items() if topic != FRAME_TOPIC.decode()),
            "case": self._case,
            "health": None if known.health is None else known.health.model_dump(mode="json", exclude={"alerts"}),
            "audio": None if known.audio is None else known.audio.model_dump(mode="json"),
            "alerts": [alert.model_dump(mode="json") for alert in known.alerts],
            "changes": [alert.model_dump(mode="json") for alert in self.changes],
            "newest": self._newest_json(),
            "other": self._other_json(),
        }
        header = json.dumps(status, separators=(",", ":")).encode()
        jpeg = b""
        if with_picture and self.picture is not None:
            age_ms = b"%.1f" % (1000 * self.picture_age_s())
            header = header[:-1] + b',"age_ms":' + age_ms + b',"picture":' + self._picture_json + b"}"
            jpeg = self.picture.jpeg
        return packed(header, jpeg)

    def _newest_json(self) -> dict[str, Any] | None:
        """The newest frame that was analysed, and how long ago it was captured: the pulse that it shows is no older."""
        if self._newest is None or self._newest.body.latency_ms is None:
            return None
        age_ms = _age_ms(self._newest.sent_s) + self._newest.body.latency_ms
        return {"pulse": self._newest.body.pulse, "age_ms": round(age_ms, 1)}

    def _other_json(self) -> dict[str, Any] | None:
        """Which picture ``other_view`` has, and how old it is: enough to know when to ask for it."""
        other = self.views.other
        if other is None:
            return None
        return {"frame": other.header.frame, "age_ms": _age_ms(other.header.captured_s)}

    def other_view(self) -> bytes | None:
        """The stored picture of the view that is not on the screen, as a message has one; None where there is none."""
        other = self.views.other
        if other is None:
            return None
        return packed(
            other.header.model_dump_json(include={"frame", "t_s", "findings", "strokes"}).encode(), other.jpeg
        )

    @property
    def case(self) -> str | None:
        """The present case; None before anything was heard."""
        return self._case

    def picture_age_s(self) -> float:
        """Seconds since the newest picture was captured; infinite before the first."""
        # All processes of one machine share this clock.
        return float("inf") if self.picture is None else time.monotonic() - self.picture.header.captured_s


def packed(header: bytes, jpeg: bytes) -> bytes:
    """A header and a picture as the page takes them apart."""
    return len(header).to_bytes(4, "little") + header + jpeg


def _age_ms(since_s: float) -> float:
    # All processes of one machine share this clock.
    return round(1000 * (time.monotonic() - since_s), 1)


class PageOrders:
    """What a page orders, handed on to the service: one at a time, each with its answer."""

    def __init__(self, board: Board, commander: AsyncCommander) -> None:
        self._board = board
        self._commander = commander
        self._turn = asyncio.Lock()

    async def answer(self, words: str) -> str:
        """The answer to what a page said, as JSON: ``{"error": null}`` where it was obeyed."""
        try:
            command = _COMMAND.validate_json(words)
        except ValidationError:
            return json.dumps({"error": "the page gave an order that is none"})
        if self._board.case is None:
            return json.dumps({"error": "no case has begun"})
        try:
            async with self._turn:
                await self._commander.order(self._board.case, command)
        except BusError as error:
            return json.dumps({"error": str(error)})
        return json.dumps({"error": None})


class Viewer:
    """One open page. ``orders``: who takes what it orders, None where it may not order."""

    def __init__(self, websocket: WebSocket, board: Board, orders: PageOrders | None) -> None:
        self._websocket = websocket
        self._board = board
        self._orders = orders
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
                words = heard.get("text")
                if words == "ack":
                    self._in_flight = max(0, self._in_flight - 1)
                    self.wake()
                elif words is not None and self._orders is not None:
                    await self._websocket.send_text(await self._orders.answer(words))
                elif words is not None:
                    await self._websocket.send_text(json.dumps({"error": ELSEWHERE}))
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


def is_of_this_machine(websocket: WebSocket) -> bool:
    """Whether the page was opened on the service's own machine, under its own name: nobody else is known by a key.

    The name counts because a page from elsewhere may have a name of its own made to mean this machine.
    """
    host = urlsplit(f"//{websocket.headers.get('host', '')}").hostname or ""
    return websocket.client is not None and is_loopback(websocket.client.host) and is_loopback(host)


def same_origin(websocket: WebSocket) -> bool:
    """Whether the page that opens this socket came from here; a program that is no browser names no origin."""
    origin = websocket.headers.get("origin")
    if origin is None:
        return True
    return origin in {f"{scheme}://{websocket.headers.get('host')}" for scheme in ("http", "https")}
