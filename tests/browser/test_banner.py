"""The banner: large enough for three metres, and never hiding one alert behind another."""

from dataclasses import replace

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.support.ui import WebDriverWait

from guidance.records import Alert, AlertKind, AlertState, Priority
from tests.browser.looking import text, wait_for
from tests.browser.room import CEMENT_IN_FORAMEN, FakeService

pytestmark = pytest.mark.browser

LONG = "Needle 1 12.0 mm from the anterior cortex of S1 and advancing"
NEAR = replace(
    CEMENT_IN_FORAMEN,
    id=9,
    kind=AlertKind.NEEDLE_NEAR_ZONE,
    priority=Priority.MEDIUM,
    needle=1,
    value=2.0,
    unit="mm",
    text="Needle 1 2.0 mm from canal and advancing",
)

# How tall a capital is, and whether any word runs out of the banner.
LETTERS = """
const words = document.getElementById("banner-text");
const style = getComputedStyle(words);
const pen = document.createElement("canvas").getContext("2d");
pen.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
const box = document.getElementById("banner").getBoundingClientRect();
const inside = [...words.getClientRects()].every((line) => line.left >= box.left && line.right <= box.right
  && line.top >= box.top && line.bottom <= box.bottom + 1);
return [pen.measureText("H").actualBoundingBoxAscent, innerHeight, innerWidth, inside];
"""


@pytest.mark.parametrize("words", [CEMENT_IN_FORAMEN.text, LONG])
@pytest.mark.parametrize(("width_px", "height_px"), [(1280, 800), (1024, 768), (3840, 2160), (1920, 1080)])
def test_an_alerts_capitals_are_a_twentieth_of_the_screen_however_long_it_is(
    page: Chrome, service: FakeService, width_px: int, height_px: int, words: str
):
    metrics = {"width": width_px, "height": height_px, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        service.scene.alerts = (replace(CEMENT_IN_FORAMEN, text=words),)
        wait_for(page, "banner-text", words)
        capital_px, screen_px, _, is_inside = page.execute_script(LETTERS)
    finally:
        page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {**metrics, "width": 1280, "height": 800})
    assert capital_px >= 0.05 * screen_px
    assert is_inside


def seen(alert: Alert) -> Alert:
    return replace(alert, state=AlertState.ACKNOWLEDGED, by="dashboard (local)")


def test_an_acknowledged_high_alert_does_not_hide_a_medium_one_that_nobody_has_seen(page: Chrome, service: FakeService):
    service.scene.alerts = (seen(CEMENT_IN_FORAMEN), NEAR)
    wait_for(page, "banner-text", NEAR.text)
    assert text(page, "banner-marks") == "!!"
    assert text(page, "banner-stated") == f"!!! acknowledged: {CEMENT_IN_FORAMEN.text}"


def test_once_all_are_acknowledged_the_worst_is_told_without_flashing(page: Chrome, service: FakeService):
    service.scene.alerts = (seen(CEMENT_IN_FORAMEN), seen(NEAR))
    wait_for(page, "banner-text", CEMENT_IN_FORAMEN.text)
    assert text(page, "banner-stated") == ""
    assert text(page, "banner-more") == "acknowledged · +1 more"
    banner = page.find_element("id", "banner")
    assert "flash" not in (banner.get_attribute("class") or "")


def test_the_pictures_frame_tells_an_alert_too(page: Chrome, service: FakeService):
    service.scene.alerts = (CEMENT_IN_FORAMEN,)
    wait_for(page, "banner-text", "Cement in foramen")
    WebDriverWait(page, 5, 0.02).until(
        lambda _: "dark" in (page.find_element("id", "stage").get_attribute("class") or "")
    )
