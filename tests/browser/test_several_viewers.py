"""Several screens at once, each a real page of its own."""

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from selenium.webdriver import Chrome
from websockets.sync.client import connect

from tests.browser.room import CEMENT_IN_FORAMEN, Dashboard, FakeService, chromium
from tests.browser.test_dashboard import wait_for

pytestmark = pytest.mark.browser

SCREENS = 3

# A page that never says that it has drawn: its script hangs there, as seen from the server.
MUTE = """
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (words) { if (words !== "ack") send.call(this, words); };
window.speak = () => { WebSocket.prototype.send = send; };
"""

DRAWN = "return document.getElementById('state').textContent + document.getElementById('age').textContent"


@pytest.fixture
def screens(chrome: Chrome, service: FakeService, dashboard: Dashboard) -> Iterator[list[Chrome]]:
    """Browsers with the page open; ``chrome`` only tells whether there is one at all."""
    with ExitStack() as closing:
        drivers = [closing.enter_context(chromium(640, 480)) for _ in range(SCREENS)]
        for driver in drivers:
            driver.get(dashboard.address)
        yield drivers


def test_every_screen_shows_the_picture_and_is_told_of_an_alert(screens: list[Chrome], service: FakeService):
    for screen in screens:
        wait_for(screen, "state", "LIVE")
    service.scene.alerts = (CEMENT_IN_FORAMEN,)
    for screen in screens:
        wait_for(screen, "banner-text", "Cement in foramen S1L")


def test_a_screen_that_draws_nothing_and_a_line_that_is_never_read_leave_the_others_live(
    screens: list[Chrome], service: FakeService, dashboard: Dashboard
):
    mute, *others = screens
    mute.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": MUTE})
    mute.get(dashboard.address)
    with connect(dashboard.address.replace("http", "ws") + "live", compression=None, max_queue=1):
        wait_for(mute, "cover-word", "NO NEW PICTURE")
        for screen in others:
            wait_for(screen, "state", "LIVE")
            ages = {screen.execute_script(DRAWN) for _ in range(20) if time.sleep(0.05) is None}
            assert len(ages) > 1, "its picture moves on"
        service.scene.alerts = (CEMENT_IN_FORAMEN,)
        # Words come to the mute one too.
        for screen in screens:
            wait_for(screen, "banner-text", "Cement in foramen S1L")


def test_a_screen_that_hung_is_cut_off_and_comes_back_by_itself(screens: list[Chrome]):
    screen = screens[0]
    wait_for(screen, "state", "LIVE")
    screen.execute_script(MUTE)
    wait_for(screen, "cover-word", "NO NEW PICTURE")
    # Its line still waits for an answer that is lost.
    screen.execute_script("window.speak()")
    wait_for(screen, "state", "LIVE")
