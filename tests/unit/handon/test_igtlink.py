"""3D Slicer's end: what a real OpenIGTLink client is told, and that it can't take an old picture for a live one."""

import asyncio
import dataclasses
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyigtl
import pytest
from pyigtl import messages

from guidance.bus.messages import Endpoints
from guidance.handon import HandOnError
from guidance.handon.igtlink import stream
from guidance.records import FrameState, Needle
from tests.browser.room import CEMENT_IN_FORAMEN, FINDINGS, FakeService, Scene


class Status(messages.MessageBase):
    """What pyigtl lacks: STATUS, as the protocol's page describes it."""

    def _unpack_content(self, content: bytes) -> None:
        self.code, _, name = struct.unpack(">Hq20s", content[:30])
        self.name, self.words = name.rstrip(b"\0").decode(), content[30:].rstrip(b"\0").decode()


class Served:
    """The bridge in a loop of its own, between a service and its clients."""

    def __init__(self, endpoints: Endpoints) -> None:
        self.port = 0
        self._endpoints, self._up = endpoints, threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Served":
        self._thread.start()
        assert self._up.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        def ready(port: int) -> None:
            self.port = port
            self._up.set()

        async def work() -> None:
            self._task = asyncio.ensure_future(stream(self._endpoints, "127.0.0.1", 0, ready=ready))
            await asyncio.wait([self._task])

        self._loop.run_until_complete(work())
        self._loop.close()


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[FakeService, Served]]:
    with FakeService() as service, Served(service.endpoints) as served:
        yield service, served


@pytest.fixture
def service(running: tuple[FakeService, Served]) -> FakeService:
    running[0].scene = Scene()
    return running[0]


@pytest.fixture
def client(running: tuple[FakeService, Served], monkeypatch: pytest.MonkeyPatch) -> Iterator[pyigtl.OpenIGTLinkClient]:
    monkeypatch.setitem(messages.message_type_to_class_constructor, "STATUS", Status)
    client = pyigtl.OpenIGTLinkClient("127.0.0.1", running[1].port)
    yield client
    client.stop()


def told(client: pyigtl.OpenIGTLinkClient, device: str, fits: Callable[[Any], bool]) -> Any:
    """The device's next message that fits; which of them never does fails the test."""
    deadline_s, last = time.monotonic() + 15, None
    while time.monotonic() < deadline_s:
        last = client.wait_for_message(device, timeout=1) or last
        if last is not None and fits(last):
            return last
    pytest.fail(f"{device}: {last}")


def is_black(message: Any) -> bool:
    """Below its bar of words."""
    return bool(message.image[0, 60:].max() == 0)


def is_string(words: str) -> Callable[[Any], bool]:
    return lambda message: message.message_type == "STRING" and words in message.string


def test_the_live_picture_comes_as_it_is_with_its_size_in_millimetres(
    service: FakeService, client: pyigtl.OpenIGTLinkClient
) -> None:
    service.scene = Scene(noisy=False)
    picture = told(client, "Fluoroscopy", lambda message: bool((message.image == 96).all()))
    assert picture.image.shape == (1, 480, 512)
    assert np.abs(np.diag(picture.ijk_to_world_matrix)[:2]) == pytest.approx([0.4, 0.4])
    assert told(client, "State", is_string("LIVE")).string == "LIVE"


def test_tips_lie_on_the_picture_where_they_were_seen(service: FakeService, client: pyigtl.OpenIGTLinkClient) -> None:
    points = told(client, "Tips", lambda message: len(message.positions) == 1)
    picture = told(client, "Fluoroscopy", lambda message: True)
    assert points.names == ["Needle 1"]
    ras = picture.ijk_to_world_matrix @ (*FINDINGS.needles[0].tip_px, 0.0, 1.0)
    assert points.positions[0] == pytest.approx(ras[:3], abs=1e-3)


def test_a_tip_that_is_only_predicted_or_hidden_is_no_point(
    service: FakeService, client: pyigtl.OpenIGTLinkClient
) -> None:
    seen = FINDINGS.needles[0]
    others = (dataclasses.replace(seen, id=2, predicted=True), dataclasses.replace(seen, id=3, tip_hidden=True))
    needles: tuple[Needle, ...] = (*others, dataclasses.replace(seen, id=4))
    service.scene = Scene(findings=dataclasses.replace(FINDINGS, needles=needles))
    assert told(client, "Tips", lambda message: message.names == ["Needle 4"])


def test_alerts_come_in_words_and_without_one_none_is_called_safe(
    service: FakeService, client: pyigtl.OpenIGTLinkClient
) -> None:
    assert told(client, "Alerts", lambda message: True).string == "none detected"
    service.scene = Scene(alerts=(CEMENT_IN_FORAMEN,))
    assert told(client, "Alerts", is_string("HIGH Cement in foramen S1L: 4.2 mm²"))


@pytest.mark.parametrize("state", [FrameState.FROZEN, FrameState.NO_SIGNAL, FrameState.CORRUPT])
def test_a_picture_that_means_nothing_any_more_is_taken_away(
    service: FakeService, client: pyigtl.OpenIGTLinkClient, state: FrameState
) -> None:
    told(client, "Tips", lambda message: len(message.positions) == 1)
    service.scene = Scene(findings=dataclasses.replace(FINDINGS, state=state))
    assert told(client, "Fluoroscopy", is_black)
    assert told(client, "Tips", lambda message: not message.positions)


def test_a_held_picture_says_so_in_its_own_pixels(service: FakeService, client: pyigtl.OpenIGTLinkClient) -> None:
    service.scene = Scene(findings=dataclasses.replace(FINDINGS, state=FrameState.HELD))
    assert told(client, "Fluoroscopy", lambda m: m.image[0, :24].max() == 255 and not is_black(m))
    assert told(client, "Tips", lambda message: not message.positions)


def test_pictures_that_stop_coming_are_taken_away_whatever_the_last_one_said(
    service: FakeService, client: pyigtl.OpenIGTLinkClient
) -> None:
    told(client, "Fluoroscopy", lambda message: not is_black(message))
    service.scene = Scene(pictures=False)
    assert told(client, "Fluoroscopy", is_black)


def test_a_service_that_is_not_heard_is_told(service: FakeService, client: pyigtl.OpenIGTLinkClient) -> None:
    told(client, "Fluoroscopy", lambda message: not is_black(message))
    service.scene = Scene(heartbeat=False)
    assert told(client, "Alerts", is_string("UNKNOWN"))
    assert told(client, "Fluoroscopy", is_black)


def test_the_state_is_a_status_too(running: tuple[FakeService, Served], service: FakeService) -> None:
    """Read from the wire, since pyigtl's client keeps one message for each name and STRING has the same."""
    service.scene = Scene(findings=dataclasses.replace(FINDINGS, state=FrameState.NO_SIGNAL))
    codes: dict[int, str] = {}
    with socket.create_connection(("127.0.0.1", running[1].port), timeout=10) as line, line.makefile("rb") as file:
        deadline_s = time.monotonic() + 15
        while 13 not in codes and time.monotonic() < deadline_s:
            header = messages.MessageBase.parse_header(file.read(58))
            body = file.read(header["body_size"])
            if header["message_type"] == "STATUS":
                status = Status()
                status.unpack(header, body)
                codes[status.code] = status.words
    assert codes[13] == "NO SIGNAL"


def test_a_client_that_reads_nothing_delays_nobody(
    running: tuple[FakeService, Served], service: FakeService, client: pyigtl.OpenIGTLinkClient
) -> None:
    with socket.create_connection(("127.0.0.1", running[1].port)):
        for level in (60, 200, 60):
            service.scene = Scene(pixels=np.full((480, 512), level, np.uint8), noisy=False)
            assert told(client, "Fluoroscopy", lambda m, level=level: bool((m.image == level).all()))


def test_a_port_that_is_taken_is_one_clear_line(running: tuple[FakeService, Served]) -> None:
    async def second() -> None:
        await stream(running[0].endpoints, "127.0.0.1", running[1].port)

    with pytest.raises(HandOnError, match="expected a free port"):
        asyncio.run(second())
