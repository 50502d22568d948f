"""How long a grabber's fault takes to be on the bus and over the dashboard's picture: the real service, dashboard and
browser on a simulated card.

    python -m tests.browser.grabber_faults

Needs Debian's chromium and chromium-driver.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from selenium.webdriver import Chrome

from drivers.v4l2 import V4L2Grabber
from drivers.v4l2_card import GrabberOptions
from drivers.v4l2_kernel import BufferFlag, InputStatus
from guidance.bus.messages import AlertEnvelope, Endpoints, FindingsEnvelope
from guidance.bus.subscriber import Subscriber
from guidance.records import AlertKind, CasePlan, FrameState
from guidance.service import Service
from guidance.settings import Settings
from tests.browser.room import chromium
from tests.unit.drivers.fake_v4l2 import Card, FakeKernel
from tests.unit.vision.xray_pictures import anatomy, disc, noisy, within

SIDE_PX = 240
FRAME_S = 0.04
PATIENCE_S = 30.0
VIDEO = (AlertKind.VIDEO_LOST, AlertKind.VIDEO_FROZEN, AlertKind.VIDEO_CORRUPT)

WATCH = """
window.seen = [];
let last = document.body.dataset.word;
const note = () => {
    if (document.body.dataset.word === last) return;
    last = document.body.dataset.word;
    window.seen.push([Date.now() / 1000, last, document.getElementById("cover-detail").textContent]);
};
new MutationObserver(note).observe(document.body, {attributes: true, attributeFilter: ["data-word"]});
"""


class Player:
    """A card that a C-arm's pictures come from, each a new pulse beside a clock that runs, until it is told otherwise.

    ``held``: the pulse repeats while the clock runs. ``frozen``: both stand.
    """

    def __init__(self) -> None:
        self._pictures = _pictures()
        self.card = Card(formats=("GREY",), sizes=((SIDE_PX, SIDE_PX),), rates=(1 / FRAME_S,))
        self.flags = 0
        self.silent = self.held = self.frozen = False
        self.last_s = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._play)

    def _play(self) -> None:
        number, shown = 0, self._pictures[0]
        while not self._over.wait(FRAME_S):
            if self.silent or not self.card.is_there:
                continue
            if not (self.held or self.frozen):
                number += 1
            if not self.frozen:
                shown = _clocked(self._pictures[number % len(self._pictures)])
            self.last_s = time.time()
            self.card.deliver(shown, self.flags)

    @contextmanager
    def playing(self) -> Iterator["Player"]:
        self._thread.start()
        try:
            yield self
        finally:
            self._over.set()
            self._thread.join()


def _clocked(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    shown = picture.copy()
    cv2.putText(shown, f":{int(time.time()) % 60:02d}", (2, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255, 1)
    return shown


def _pictures(count: int = 40) -> list[NDArray[np.uint8]]:
    """X-ray pictures of one anatomy; only the noise differs."""
    field = disc((SIDE_PX, SIDE_PX), (SIDE_PX // 2, SIDE_PX // 2), 0.44 * SIDE_PX)
    return [within(noisy(anatomy(SIDE_PX), number), field) for number in range(count)]


@dataclass(frozen=True)
class Fault:
    """``begin`` brings it about, after ``settled_s`` of good video, and ``end`` ends it ``lasts_s`` later."""

    begin: Callable[[Player], object]
    end: Callable[[Player], object]
    settled_s: float = 1.0
    lasts_s: float = 1.5


def input_status(status: InputStatus) -> Fault:
    return Fault(lambda at: setattr(at.card, "status", int(status)), lambda at: setattr(at.card, "status", 0))


def switch(name: str, settled_s: float = 1.0, lasts_s: float = 1.5) -> Fault:
    return Fault(lambda at: setattr(at, name, True), lambda at: setattr(at, name, False), settled_s, lasts_s)


FAULTS = {
    "no signal": input_status(InputStatus.NO_SIGNAL),
    "no lock": input_status(InputStatus.NO_H_LOCK),
    "damaged buffers": Fault(
        lambda at: setattr(at, "flags", int(BufferFlag.ERROR)), lambda at: setattr(at, "flags", 0)
    ),
    "silence": switch("silent"),
    "unplugged": Fault(lambda at: at.card.unplug(), lambda at: setattr(at.card, "is_there", True)),
    # The clock must be known as one that ticks.
    "held": switch("held", settled_s=4.0, lasts_s=4.0),
    "frozen": switch("frozen", settled_s=4.0, lasts_s=5.0),
}


@dataclass(frozen=True)
class Told:
    """``published_ms``, ``shown_ms``: from the fault (of silence, from the last frame) to bus and picture.

    ``word``, ``detail``: over the picture, at the end of the fault. ``alerts``: what was raised and cleared.
    ``live_meanwhile``: whether the page called its picture live before the fault was over.
    """

    fault: str
    word: str
    detail: str
    alerts: list[str]
    published_ms: float
    shown_ms: float
    recovered_ms: float
    live_meanwhile: bool


class _Ear:
    """When the bus first told of a frame that is not live, and what alerts there were."""

    def __init__(self, endpoints: Endpoints) -> None:
        self.told: list[tuple[float, FrameState]] = []
        self.alerts: list[str] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, args=(endpoints,))
        self._thread.start()

    def _listen(self, endpoints: Endpoints) -> None:
        with Subscriber(endpoints) as subscriber:
            while not self._over.is_set():
                message = subscriber.receive(timeout_s=0.1)
                if isinstance(message, FindingsEnvelope):
                    self.told.append((time.time(), message.body.state))
                elif isinstance(message, AlertEnvelope) and message.body.kind in VIDEO:
                    self.alerts.append(f"{message.body.kind} {message.body.state}")

    def lost_s(self, since_s: float) -> float | None:
        told = list(self.told)
        return next((at_s for at_s, state in told if at_s >= since_s and state is not FrameState.LIVE), None)

    def close(self) -> None:
        self._over.set()
        self._thread.join()


def tell_all(page: Chrome) -> list[Told]:
    """Each fault in turn on a running service, seen by the page."""
    player = Player()
    kernel = FakeKernel(player.card)
    service = Service(
        lambda: V4L2Grabber(GrabberOptions(player.card.path), kernel), CasePlan(), Settings(), port=0, bus_port=0
    )
    with player.playing(), service:
        _wait(lambda: service.ready and service.dashboard.answers(timeout_s=0.5))
        page.get(service.dashboard.url)
        _wait(lambda: _word(page) == "LIVE")
        page.execute_script(WATCH)
        ear = _Ear(service.endpoints)
        try:
            return [_tell(page, player, ear, fault) for fault in FAULTS]
        finally:
            ear.close()


def _tell(page: Chrome, player: Player, ear: _Ear, fault: str) -> Told:
    how = FAULTS[fault]
    time.sleep(how.settled_s)
    ear.alerts.clear()
    page.execute_script("window.seen = []")
    since_s = time.time()
    how.begin(player)
    time.sleep(2 * FRAME_S)
    since_s = player.last_s if player.silent else since_s
    time.sleep(how.lasts_s)
    seen = page.execute_script("return window.seen")
    detail = page.execute_script("return document.getElementById('cover-detail').textContent")
    published_s = ear.lost_s(since_s)
    over_s = time.time()
    how.end(player)
    _wait(lambda: _word(page) == "LIVE")
    back_s = page.execute_script("return window.seen.at(-1)[0]")
    assert seen, f"{fault}: nothing stood over the picture"
    assert published_s is not None, f"{fault}: nothing was published"
    _wait(lambda: not ear.alerts or ear.alerts[-1].endswith("cleared"))
    return Told(
        fault,
        seen[-1][1],
        detail,
        list(ear.alerts),
        (published_s - since_s) * 1000,
        (seen[0][0] - since_s) * 1000,
        (back_s - over_s) * 1000,
        any(word == "LIVE" for _, word, _ in seen),
    )


def _word(page: Chrome) -> str:
    return str(page.execute_script("return document.body.dataset.word ?? ''"))


def _wait(holds: Callable[[], bool]) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until_s, "not so in time"
        time.sleep(0.01)


def main() -> int:
    with chromium() as page:
        print(f"{'fault':18}{'published':>12}{'shown':>10}{'live again':>12}   over the picture (ms)")
        for told in tell_all(page):
            print(
                f"{told.fault:18}{told.published_ms:12.0f}{told.shown_ms:10.0f}{told.recovered_ms:12.0f}"
                f"   {told.word}: {told.detail} [{', '.join(told.alerts)}]"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
