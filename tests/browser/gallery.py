"""Every page in every state, as pictures to look at.

    python -m tests.browser.gallery OUT
    python -m tests.browser.gallery OUT --only leak held --sizes tablet portrait
    python -m tests.browser.gallery OUT --only leak --sizes readme    # the README's picture

The states stand in ``STATES``; the accessibility test goes through the same ones. Needs Debian's chromium and
chromium-driver.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By

from guidance.records import Alert, AlertKind, AlertState, FrameState, Priority, Registration, ScaleSource, View
from tests.browser.recorded import Moment, first, recorded
from tests.browser.room import Dashboard, FakeService, Scene, chromium

SIZES = {
    "tablet": (1280, 800),
    "wall": (3840, 2160),
    "small": (1024, 768),
    "portrait": (800, 1280),
    "readme": (1600, 1000),
}
PICTURE_PX = 768
PULSE_S = 1 / 7.5
PLAY_S = 0.15
SETTLE_S = 0.9
TRIES = 4


@dataclass(frozen=True, slots=True)
class Room:
    """What a state is made from."""

    service: FakeService
    dashboard: Dashboard
    page: Chrome
    size_px: int

    def play(self, moments: tuple[Moment, ...], last: Moment) -> Scene:
        """Show a procedure from its start to a moment, faster than it was, as a case of its own; the last scene."""
        self.service.case = f"case {time.monotonic()}"
        for moment in moments[: moments.index(last) : 4]:
            self.service.scene = moment.scene
            time.sleep(PLAY_S)
        self.service.scene = last.scene
        return last.scene

    @property
    def leak(self) -> tuple[Moment, ...]:
        return recorded("leak_foramen", self.size_px)

    @property
    def swing(self) -> tuple[Moment, ...]:
        return recorded("swing_cement", self.size_px)


@dataclass(frozen=True, slots=True)
class State:
    """A page in a state. ``come``: how the service comes to it; ``act``: what is then done on the page, at ``path``."""

    name: str
    come: Callable[[Room], object]
    act: Callable[[Room], object] = lambda room: None
    path: str = ""
    touched: bool = True
    """Whether somebody has touched the page, so that it may sound."""


def press(*keys: str) -> Callable[[Room], None]:
    return lambda room: ActionChains(room.page).send_keys(*keys).perform()


def touch(*names: str) -> Callable[[Room], None]:
    """Press buttons by their ids, one after the other."""

    def act(room: Room) -> None:
        for name in names:
            room.page.find_element(By.ID, name).click()
            time.sleep(SETTLE_S)

    return act


def _needle(room: Room) -> None:
    room.play(room.leak, first(room.leak, lambda moment: bool(moment.findings.needles) and moment.findings.t_s > 6.4))


def _leak(room: Room) -> Scene:
    return room.play(room.leak, first(room.leak, lambda moment: moment.findings.t_s > 11.6))


def _leak_with(change: Callable[[Scene], Scene]) -> Callable[[Room], None]:
    def come(room: Room) -> None:
        room.service.scene = change(_leak(room))

    return come


def _seen(scene: Scene) -> Scene:
    """The high alerts are acknowledged, the medium ones are not."""
    alerts = tuple(
        replace(alert, state=AlertState.ACKNOWLEDGED, by="dashboard (local)")
        if alert.priority is Priority.HIGH
        else alert
        for alert in scene.alerts
    )
    return replace(scene, alerts=alerts, sounding=Priority.MEDIUM)


def _all_seen(scene: Scene) -> Scene:
    alerts = tuple(replace(alert, state=AlertState.ACKNOWLEDGED, by="dashboard (local)") for alert in scene.alerts)
    return replace(scene, alerts=alerts, sounding=None)


def _long(scene: Scene) -> Scene:
    text = "Anatomy not recognised for 12.4 s: zones are not watched"
    alert = Alert(40, AlertKind.REFERENCE_LOST, Priority.MEDIUM, AlertState.RAISED, 9, 9.0, None, None, 12.4, "s", text)
    lost = Registration((0.0, 0.0), 0.0, 0.1, ok=False)
    return replace(
        scene, findings=replace(scene.findings, registration=lost), alerts=(alert,), sounding=Priority.MEDIUM
    )


def _in_state(state: FrameState, fault: str | None = None) -> Callable[[Scene], Scene]:
    return lambda scene: replace(scene, findings=replace(scene.findings, state=state, input_fault=fault))


def _assumed(scene: Scene) -> Scene:
    scale = scene.findings.scale
    assert scale is not None
    findings = replace(scene.findings, scale=replace(scale, source=ScaleSource.ASSUMED), view=None, phase_inferred=True)
    return replace(scene, findings=findings, alerts=(), sounding=None)


def _lateral(room: Room) -> None:
    room.play(room.swing, first(room.swing, lambda m: m.findings.view is View.LATERAL and m.findings.t_s > 12.4))


def _wait_for_silence(room: Room) -> None:
    room.service.scene = replace(room.service.scene, pictures=False, heartbeat=False)
    time.sleep(1.6)


STATES = (
    State("opening_no_sound", _needle, touched=False),
    State("needle", _needle),
    State("leak", _leak),
    State("leak_no_sound", _leak, touched=False),
    State("leak_high_acknowledged", _leak_with(_seen)),
    State("leak_all_acknowledged", _leak_with(_all_seen)),
    State("audio_paused", _leak_with(lambda scene: replace(scene, sounding=None, paused_s=118.2))),
    State("long_words", _leak_with(_long)),
    State("lateral_beside_stored_ap", _lateral),
    State("lateral_compared", _lateral, press("v")),
    State("scale_assumed", _leak_with(_assumed)),
    State("overlay_thin", _leak, press("o")),
    State("overlay_off", _leak, press("oo")),
    State("field_only", _leak, press("f")),
    State("keys", _needle, press("?")),
    State("order_refused", _leak_with(lambda scene: replace(scene, refusal="alert 3 is not active")), press("a")),
    State("held", _leak_with(_in_state(FrameState.HELD))),
    State("frozen", _leak_with(_in_state(FrameState.FROZEN))),
    State("no_signal", _leak_with(_in_state(FrameState.NO_SIGNAL, "the grabber is unplugged"))),
    State("corrupt", _leak_with(_in_state(FrameState.CORRUPT))),
    State("no_new_picture", _leak, lambda room: setattr(room.service.scene, "pictures", False) or time.sleep(1.2)),
    State("analysis_lost", _leak, _wait_for_silence),
    State("server_lost", _leak, lambda room: room.dashboard.kill()),
    State("setup", _needle, touch("freeze"), path="setup.html"),
    State("setup_template", _needle, touch("freeze", "put-template"), path="setup.html"),
    State("setup_scale", _needle, touch("freeze", "tab-scale", "draw-ruler"), path="setup.html"),
    State("setup_field", _needle, touch("freeze", "tab-field"), path="setup.html"),
    State("setup_limits", _needle, touch("freeze", "tab-limits"), path="setup.html"),
    State("setup_plans", _needle, touch("freeze", "tab-plans"), path="setup.html"),
    State("setup_source", _needle, touch("freeze", "tab-source"), path="setup.html"),
)
"""A page of one's own: a line here, with its ``path``."""


@contextmanager
def shown(state: State, room: Room) -> Iterator[Chrome]:
    """The page in a state, and the room as it was before once it has been looked at."""
    page = room.page
    room.service.scene = Scene()
    page.get("about:blank")
    page.get(room.dashboard.address + state.path)
    if state.touched:
        page.find_element(By.TAG_NAME, "body").click()
    state.come(room)
    time.sleep(SETTLE_S)
    state.act(room)
    time.sleep(SETTLE_S)
    try:
        yield page
    finally:
        if not room.dashboard.is_running:
            room.dashboard.start()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.gallery", description=__doc__)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for STATE-SIZE.png")
    names = [state.name for state in STATES]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="STATE", help=", ".join(names))
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=("tablet", "wall"))
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    states = [state for state in STATES if state.name in options.only]
    with FakeService(PULSE_S) as service, Dashboard(service.endpoints, service.keys) as dashboard, chromium() as page:
        # A still must not be taken in the dark half of a flash.
        still = {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]}
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", still)
        for state in states:
            with shown(state, Room(service, dashboard, page, PICTURE_PX)):
                for size in options.sizes:
                    path = options.out / f"{state.name}-{size}.png"
                    _resize(page, *SIZES[size])
                    _take(page, path)
                    print(path)
    return 0


def _take(page: Chrome, path: Path) -> None:
    """A picture of the page as it is when the machine is not late with it, if that comes."""
    for _ in range(TRIES):
        time.sleep(SETTLE_S)
        page.save_screenshot(str(path))
        if page.execute_script("return document.body.dataset.word") != "DELAYED":
            return


def _resize(page: Chrome, width_px: int, height_px: int) -> None:
    metrics = {"width": width_px, "height": height_px, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


if __name__ == "__main__":
    sys.exit(main())
