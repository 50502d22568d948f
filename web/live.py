"""What every viewer sees now, and how it reaches each of them: the newest only, at the viewer's own pace.

One binary message: the length of a JSON header (uint32, little-endian), the header, and a JPEG where there is a
picture. A viewer answers ``ack`` when it has drawn a picture, and then gets the newest one; those between it misses, so
nothing queues and it holds nobody else up. Words about alerts and health never wait for that. Anything else that a
viewer says is an order, a command of the bus as JSON, and is answered in text.

What a viewer can make the server hold is one message and the kernel's buffer: no other follows before the line has
taken it, and a line that takes nothing, or a page that draws nothing, is cut off.
"""

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from starlette.websockets import WebSocket, WebSocketDisconnect

from guidance.bus.messages import (
    FRAME_TOPIC,
    AlertEnvelope,
    EarlyPicture,
    FindingsEnvelope,
    FrameMessage,
    Message,
    SnapshotEnvelope,
)
from guidance.bus.publisher import is_loopback
from guidance.bus.subscriber import Reception
from guidance.wire import AlertMessage
from web.remembered import CementTrends, StoredViews

MOST_VIEWERS = 12
"""Each takes 45 Mbit/s at 30 pictures of 1024 x 1024 a second: half of a gigabit line."""

PATIENCE_S = 10.0
"""A viewer that has not drawn a picture, or whose line has not taken a message, for this long is cut off. It comes back
by itself if it can."""

TRY_AGAIN_LATER = 1013

LOCAL_PER_S = 30.0
"""Pages on the service's own machine draw on the processors that the analysis needs: together they get so many pictures
a second."""

CHANGES_KEPT = 20

TICK_S = 0.1
"""How often a viewer hears something even when nothing happens: its proof that the line is alive, and that
a pulse which is shown for long is still the newest. The page calls nothing live that is older than 270 ms."""


log = logging.getLogger(__name__)


class Board:
    """The newest of everything that the bus has told. Belongs to one event loop.

    ``reception``: what is known of alerts and health; ``hear`` is called with what it has taken in. ``most_viewers``:
    no more are let in, but for those that must be. ``pictures``: how many were heard. ``tally``: of all viewers since
    the start.
    """

    def __init__(self, reception: Reception, most_viewers: int = MOST_VIEWERS) -> None:
        self.reception = reception
        self.most_viewers = most_viewers
        self.viewers: set[Viewer] = set()
        self.tally = ViewerTally()
        self.pictures = 0
        self.picture: FrameMessage | None = None
        self.picture_heard_s = float("-inf")
        """When a picture was last heard, be it the same again, by the monotonic clock."""
        self.changes: deque[AlertMessage] = deque(maxlen=CHANGES_KEPT)
        self.views = StoredViews()
        self.trends = CementTrends()
        self._case: str | None = None
        self._picture_json = b"null"
        self.early: EarlyPicture | None = None
        """The newest frame, looked at or not."""
        self._words: bytes | None = None
        """All but the picture and what ages, as it was told last; None where there is news."""
        self._newest: FindingsEnvelope | None = None

    def hear(self, message: Message | SnapshotEnvelope) -> None:
        """Wake the viewers where a message concerns them; a new case forgets the one before."""
        if self.reception.case != self._case:
            self._case = self.reception.case
            self.changes.clear()
            self.picture, self._picture_json = None, b"null"
            self._newest = self.early = None
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
        self.pictures += 1
        self.picture_heard_s = time.monotonic()
        shown = {"frame", "t_s", "state", "findings", "strokes"}
        self._picture_json = header.model_dump_json(include=shown).encode()
        self.views.note(picture)
        self._wake_for_pictures()

    def hear_early(self, picture: EarlyPicture) -> None:
        """Show the pixels of a frame, if it is of the present case, under what was seen last."""
        if picture.header.case != self._case:
            return
        self.early = picture
        self._wake_for_pictures()

    def _wake_for_pictures(self) -> None:
        for viewer in self.viewers:
            viewer.wake(words=False)

    def wake(self) -> None:
        self._words = None
        for viewer in self.viewers:
            viewer.wake()

    def message(self, with_picture: bool, early: EarlyPicture | None = None) -> bytes:
        """One message to a viewer, as the page reads it. However many read it, what does not age is written once.

        ``with_picture``: tell what was seen last. ``early``: a frame whose pixels this viewer has not got yet. Pixels
        of an older one are not told again: the drawing alone follows them.
        """
        if self._words is None:
            self._words = self._written()
        parts, jpeg = [self._words[:-1], b",", self._ages()], b""
        if early is not None:
            parts.append(b',"captured_ms":%.1f' % _age_ms(early.header.captured_s))
            jpeg = early.jpeg
        if with_picture and self.picture is not None:
            parts += [b',"age_ms":%.1f' % (1000 * self.picture_age_s()), b',"picture":', self._picture_json]
            if self.early is None or self.early.header.captured_s < self.picture.header.captured_s:
                jpeg = self.picture.jpeg
        return packed(b"".join([*parts, b"}"]), jpeg)

    def _written(self) -> bytes:
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
        }
        return json.dumps(status, separators=(",", ":")).encode()

    def _ages(self) -> bytes:
        """What is older with each message that tells of it, as a part of its JSON.

        ``newest``: the newest frame that was analysed, and how long ago it was captured: the pulse that it shows is no
        older. ``other``: which picture ``other_view`` has, enough to know when to ask for it.
        """
        newest, other = b"null", b"null"
        if self._newest is not None and self._newest.body.latency_ms is not None:
            age_ms = _age_ms(self._newest.sent_s) + self._newest.body.latency_ms
            newest = b'{"pulse":%d,"age_ms":%.1f}' % (self._newest.body.pulse, age_ms)
        if (stored := self.views.other) is not None:
            other = b'{"frame":%d,"age_ms":%.1f}' % (stored.header.frame, _age_ms(stored.header.captured_s))
        return b'"newest":%b,"other":%b' % (newest, other)

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
    return b"".join((len(header).to_bytes(4, "little"), header, jpeg))


def _age_ms(since_s: float) -> float:
    # All processes of one machine share this clock.
    return 1000 * (time.monotonic() - since_s)


class Orders(Protocol):
    """Who takes what a page orders."""

    async def answer(self, words: str) -> str:
        """What became of it, as JSON: ``{"error": null}`` where it was obeyed."""


class ViewerTally:
    """What became of all viewers and their pictures since the start.

    ``missed``: pictures that came while a viewer drew an older one, and were old when it had. ``cut``: viewers that did
    not answer. ``refused``: those that were too many. ``drawn_s``: is told, for each picture that a viewer says it has
    drawn, how long ago it was captured.
    """

    def __init__(self) -> None:
        self.drawn = self.missed = self.cut = self.refused = 0
        self.drawn_s: Callable[[float], None] = lambda seconds: None


class Viewer:
    """One open page. ``orders``: who takes what it orders.

    ``always``: let in however many there are, as the room's own screen must be: those who look on may not lock it out.
    """

    def __init__(self, websocket: WebSocket, board: Board, orders: Orders, *, always: bool = False) -> None:
        self._always = always
        self._websocket = websocket
        self._board = board
        self._orders = orders
        self._news = asyncio.Event()
        self._has_words = True
        self._drawing: tuple[float, float] | None = None
        """The picture that it has not drawn yet, and when it was sent."""
        self._early: EarlyPicture | None = None
        self.is_local = websocket.client is not None and is_loopback(websocket.client.host)
        self._sent_s = float("-inf")
        self._last: tuple[FrameMessage | None, int] = (None, board.pictures)
        """The last picture that it got, and the how-manieth."""

    def wake(self, words: bool = True) -> None:
        """There is news: a picture, and where ``words`` more than that."""
        self._has_words = self._has_words or words
        self._news.set()

    async def serve(self) -> None:
        """Show the board until the viewer leaves, or does not answer any more."""
        await self._websocket.accept()
        if len(self._board.viewers) >= self._board.most_viewers and not self._always:
            await self._refuse()
            return
        self._board.viewers.add(self)
        self.wake()
        tasks = [asyncio.create_task(self._hear()), asyncio.create_task(self._tell())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._board.viewers.discard(self)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _refuse(self) -> None:
        self._board.tally.refused += 1
        words = f"the dashboard is open on as many screens as it may be ({self._board.most_viewers}); close one of them"
        with suppress(WebSocketDisconnect):
            await self._websocket.send_text(json.dumps({"error": words}))
            await self._websocket.close(TRY_AGAIN_LATER, words)

    async def _hear(self) -> None:
        """Until it leaves."""
        while (heard := await self._websocket.receive())["type"] != "websocket.disconnect":
            words = heard.get("text")
            if words == "ack":
                self._note_drawn()
            elif words is not None:
                await self._websocket.send_text(await self._orders.answer(words))

    def _note_drawn(self) -> None:
        if self._drawing is None:
            return
        captured_s, _ = self._drawing
        self._drawing = None
        self._board.tally.drawn += 1
        self._board.tally.drawn_s(time.monotonic() - captured_s)
        self.wake(words=False)

    async def _tell(self) -> None:
        """Until it has left, or is cut off."""
        while True:
            await self._news.wait()
            self._news.clear()
            if self._drawing is not None and time.monotonic() - self._drawing[1] > PATIENCE_S:
                self._note_cut("has not drawn a picture")
                with suppress(WebSocketDisconnect, TimeoutError):
                    async with asyncio.timeout(TICK_S):
                        await self._websocket.close(TRY_AGAIN_LATER, f"no picture drawn for {PATIENCE_S:g} s")
                return
            try:
                taken = self._take_picture()
                if not self._has_words and taken == (False, None):
                    continue
                self._has_words = False
                async with asyncio.timeout(PATIENCE_S):
                    await self._websocket.send_bytes(self._board.message(*taken))
            except WebSocketDisconnect:
                return
            except TimeoutError:
                self._note_cut("has taken nothing")
                return

    def _take_picture(self) -> tuple[bool, EarlyPicture | None]:
        """Whether the next message tells what was seen, and the pixels that come with it: once the last was drawn."""
        picture, early = self._board.picture, self._board.early
        before, number = self._last
        is_seen = picture is not None and picture is not before
        early = None if early is self._early else early
        if self._drawing is not None or not (is_seen or early is not None) or self._is_too_soon():
            return False, None
        if is_seen:
            self._board.tally.missed += max(0, self._board.pictures - number - 1)
            self._last = (picture, self._board.pictures)
        self._early = self._board.early
        newest = picture if early is None else early
        assert newest is not None
        self._sent_s = time.monotonic()
        self._drawing = (newest.header.captured_s, self._sent_s)
        return is_seen, early

    def _is_too_soon(self) -> bool:
        """Whether the others on this machine have their turn first."""
        beside = sum(viewer.is_local for viewer in self._board.viewers) if self.is_local else 1
        return beside > 1 and time.monotonic() - self._sent_s < beside / LOCAL_PER_S

    def _note_cut(self, why: str) -> None:
        self._board.tally.cut += 1
        client = self._websocket.client
        log.warning("viewer %s %s for %g s; cut off", "" if client is None else client.host, why, PATIENCE_S)
