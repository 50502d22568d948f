"""What a viewer gets, and what it can do to others, over a line that is as slow as the test wants."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from starlette.websockets import WebSocket, WebSocketDisconnect

import web.live
from guidance.bus.messages import EarlyHeader, EarlyPicture
from tests.unit.web.test_live import RAISED, Bus, picture, unpacked
from web.live import Viewer


class Line:
    """A viewer's line. ``takes``: while it is not set the line takes nothing more."""

    def __init__(self) -> None:
        self.takes = asyncio.Event()
        self.takes.set()
        self.sent: list[bytes | str] = []
        self.closed: tuple[int, str] | None = None
        self.client = None
        self._said: asyncio.Queue[dict[str, str]] = asyncio.Queue()

    def say(self, words: str) -> None:
        self._said.put_nowait({"type": "websocket.receive", "text": words})

    def leave(self) -> None:
        self._said.put_nowait({"type": "websocket.disconnect"})

    @property
    def headers(self) -> list[dict[str, Any]]:
        return [unpacked(message)[0] for message in self.sent if isinstance(message, bytes)]

    @property
    def frames(self) -> list[int]:
        return [header["picture"]["frame"] for header in self.headers if "picture" in header]

    async def accept(self) -> None: ...

    async def receive(self) -> dict[str, str]:
        return await self._said.get()

    async def send_bytes(self, message: bytes) -> None:
        await self._send(message)

    async def send_text(self, message: str) -> None:
        await self._send(message)

    async def _send(self, message: bytes | str) -> None:
        await self.takes.wait()
        if self.closed is not None:
            raise WebSocketDisconnect
        self.sent.append(message)

    async def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)


class Screens:
    """A board and the viewers that look at it."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.ended: list[asyncio.Task[None]] = []

    async def open(self, always: bool = False) -> Line:
        line = Line()
        viewer = Viewer(cast(WebSocket, line), self.bus.board, None, always=always)
        self.ended.append(asyncio.create_task(viewer.serve()))
        await settled()
        return line

    async def show(self, frame: int) -> None:
        self.bus.board.hear_picture(picture(frame))
        await settled()


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def looking(scene: Callable[[Screens], Awaitable[None]]) -> None:
    """Play a scene before a board that has heard one heartbeat."""

    async def play() -> None:
        bus = Bus()
        bus.heartbeat([])
        screens = Screens(bus)
        await scene(screens)
        for task in screens.ended:
            task.cancel()
        await asyncio.gather(*screens.ended, return_exceptions=True)

    asyncio.run(play())


def test_a_viewer_gets_the_picture_there_is_as_soon_as_it_comes():
    async def scene(screens: Screens) -> None:
        await screens.show(7)
        assert (await screens.open()).frames == [7]

    looking(scene)


def test_one_that_draws_slowly_gets_the_newest_when_it_has_drawn_and_the_missed_ones_are_counted():
    async def scene(screens: Screens) -> None:
        line = await screens.open()
        for frame in range(1, 6):
            await screens.show(frame)
        line.say("ack")
        await settled()
        assert line.frames == [1, 5]
        assert screens.bus.board.tally.missed == 3
        assert screens.bus.board.tally.drawn == 1

    looking(scene)


def test_one_that_draws_nothing_is_told_of_alerts_all_the_same():
    async def scene(screens: Screens) -> None:
        line = await screens.open()
        await screens.show(1)
        await screens.show(2)
        screens.bus.change(RAISED)
        await settled()
        assert line.frames == [1]
        assert [alert["id"] for alert in line.headers[-1]["alerts"]] == [RAISED.id]

    looking(scene)


def test_for_a_line_that_takes_nothing_nothing_is_kept_and_others_see_every_picture():
    async def scene(screens: Screens) -> None:
        stalled, other = await screens.open(), await screens.open()
        stalled.takes.clear()
        told = len(stalled.sent)
        for frame in range(1, 30):
            await screens.show(frame)
            screens.bus.heartbeat([])
            other.say("ack")
            await settled()
        assert other.frames == list(range(1, 30))
        stalled.takes.set()
        await settled()
        # The one message that was on its way, and then the newest words.
        assert len(stalled.sent) - told == 2
        assert stalled.frames == [1]
        stalled.say("ack")
        await settled()
        assert stalled.frames == [1, 29]

    looking(scene)


def test_one_that_never_draws_is_cut_off_with_a_word(monkeypatch: pytest.MonkeyPatch):
    async def scene(screens: Screens) -> None:
        line = await screens.open()
        await screens.show(1)
        late_s = time.monotonic() + web.live.PATIENCE_S + 1
        monkeypatch.setattr(time, "monotonic", lambda: late_s)
        screens.bus.board.wake()
        await settled()
        assert line.closed == (1013, "no picture drawn for 10 s")
        assert screens.ended[0].done()
        assert not screens.bus.board.viewers
        assert screens.bus.board.tally.cut == 1

    looking(scene)


def test_a_line_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(web.live, "PATIENCE_S", 0.01)

    async def scene(screens: Screens) -> None:
        line = await screens.open()
        line.takes.clear()
        await screens.show(1)
        await asyncio.wait(screens.ended, timeout=5)
        assert screens.ended[0].done()
        assert not screens.bus.board.viewers
        assert screens.bus.board.tally.cut == 1

    looking(scene)


def test_one_that_draws_at_leisure_while_no_picture_comes_is_not_cut_off(monkeypatch: pytest.MonkeyPatch):
    async def scene(screens: Screens) -> None:
        line = await screens.open()
        await screens.show(1)
        line.say("ack")
        await settled()
        late_s = time.monotonic() + 1000
        monkeypatch.setattr(time, "monotonic", lambda: late_s)
        screens.bus.board.wake()
        await settled()
        assert line.closed is None

    looking(scene)


def test_one_viewer_too_many_is_told_so_and_let_in_once_there_is_room():
    async def scene(screens: Screens) -> None:
        screens.bus.board.most_viewers = 1
        first = await screens.open()
        second = await screens.open()
        (refusal,) = second.sent
        assert "as many screens as it may be (1)" in json.loads(refusal)["error"]
        assert second.closed is not None
        assert screens.bus.board.tally.refused == 1
        first.leave()
        await settled()
        assert (await screens.open()).headers

    looking(scene)


def test_the_rooms_own_screen_is_let_in_however_many_look_on():
    async def scene(screens: Screens) -> None:
        screens.bus.board.most_viewers = 1
        await screens.open()
        assert (await screens.open(always=True)).headers

    looking(scene)


def test_an_answer_that_was_not_asked_for_is_passed_over():
    async def scene(screens: Screens) -> None:
        line = await screens.open()
        line.say("ack")
        await screens.show(1)
        await screens.show(2)
        assert line.frames == [1]
        assert screens.bus.board.tally.drawn == 0

    looking(scene)


def test_what_many_viewers_are_told_is_written_once(monkeypatch: pytest.MonkeyPatch):
    async def scene(screens: Screens) -> None:
        for _ in range(5):
            await screens.open()
        written = []
        write = json.dumps
        monkeypatch.setattr(json, "dumps", lambda *given, **how: written.append(1) or write(*given, **how))
        screens.bus.heartbeat([])
        await settled()
        assert len(written) == 1
        # A picture is news of its own.
        await screens.show(1)
        assert len(written) == 1

    looking(scene)


def early(captured_s: float, case: str = "a") -> EarlyPicture:
    header = EarlyHeader(session="s", sequence=0, case=case, sent_s=captured_s, captured_s=captured_s)
    return EarlyPicture(header, b"early %.0f" % captured_s)


def pixels_of(line: Line) -> list[bytes]:
    return [unpacked(message)[1] for message in line.sent if isinstance(message, bytes) and unpacked(message)[1]]


def test_pixels_are_shown_before_they_are_looked_at_and_what_was_seen_follows_without_them():
    async def scene(screens: Screens) -> None:
        line = await screens.open()
        screens.bus.board.hear_early(early(time.monotonic()))
        await settled()
        assert (len(pixels_of(line)), line.frames) == (1, [])
        line.say("ack")
        await settled()
        # The picture in the test was captured long before.
        await screens.show(1)
        assert (len(pixels_of(line)), line.frames) == (1, [1])

    looking(scene)


def test_a_viewer_that_comes_late_gets_the_newest_pixels_with_what_was_seen_last():
    async def scene(screens: Screens) -> None:
        await screens.show(1)
        newest = early(time.monotonic())
        screens.bus.board.hear_early(newest)
        line = await screens.open()
        assert (pixels_of(line), line.frames) == ([newest.jpeg], [1])

    looking(scene)


def test_pixels_of_another_case_are_not_shown():
    async def scene(screens: Screens) -> None:
        line = await screens.open()
        screens.bus.board.hear_early(early(time.monotonic(), case="before"))
        await settled()
        assert not pixels_of(line)
        screens.bus.board.hear_early(early(time.monotonic()))
        screens.bus.heartbeat([], case="b")
        assert screens.bus.board.early is None

    looking(scene)


def test_pages_on_the_services_own_machine_share_what_it_can_draw(monkeypatch: pytest.MonkeyPatch):
    async def scene(screens: Screens) -> None:
        lines = [await screens.open() for _ in range(3)]
        for viewer in screens.bus.board.viewers:
            viewer.is_local = True
        clock = [100.0]
        monkeypatch.setattr(web.live.time, "monotonic", lambda: clock[0])
        for number in range(1, 10):
            clock[0] += 1 / 30
            await screens.show(number)
            for line in lines:
                line.say("ack")
            await settled()
        # Nine thirtieths of a second, of which each may have every third picture.
        assert [len(line.frames) for line in lines] == [3, 3, 3]

    looking(scene)
