"""The dashboard as the room sees it, in a real Chromium."""

import time
from dataclasses import replace

import pytest
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from guidance.bus.messages import Acknowledge, PauseAudio
from guidance.records import AlertKind, AlertState, FrameState, Priority, Registration, View
from tests.browser.looking import PATIENCE_S, text, wait_for
from tests.browser.room import CEMENT_IN_FORAMEN, FINDINGS, Dashboard, FakeService

pytestmark = pytest.mark.browser

# How many points of the overlay, in a box of 40 px around an input-frame point, have a colour of this hue.
PIXELS_LIKE = """
const [x, y, red, green, blue] = arguments;
const overlay = document.getElementById("overlay");
const frame = document.getElementById("picture").getBoundingClientRect();
const stage = overlay.getBoundingClientRect();
const zoom = frame.width / document.getElementById("picture").width;
const left = frame.left - stage.left + (x + 0.5) * zoom - 20;
const top = frame.top - stage.top + (y + 0.5) * zoom - 20;
const data = overlay.getContext("2d").getImageData(left, top, 40, 40).data;
let count = 0;
for (let i = 0; i < data.length; i += 4) {
  const far = Math.abs(data[i] - red) + Math.abs(data[i + 1] - green) + Math.abs(data[i + 2] - blue);
  if (data[i + 3] > 200 && far < 60) count += 1;
}
return count;
"""
CYAN = (0x38, 0xD6, 0xFF)
RED = (0xFF, 0x3B, 0x30)


def pixels_like(page: Chrome, x: float, y: float, colour: tuple[int, int, int]) -> int:
    return int(page.execute_script(PIXELS_LIKE, x, y, *colour))


def test_the_first_picture_stands_on_the_page_with_its_strokes(page: Chrome):
    wait_for(page, "state", "LIVE")
    size = page.execute_script("const c = document.getElementById('picture'); return [c.width, c.height];")
    assert size == [512, 480]
    middle = page.execute_script(
        "return [...document.getElementById('picture').getContext('2d').getImageData(400, 400, 1, 1).data];"
    )
    assert 80 < middle[0] < 140, "the picture's own grey, not the canvas's black"
    assert pixels_like(page, *FINDINGS.needles[0].tip_px, CYAN) > 20


def test_what_is_found_stands_in_words_and_no_alert_is_none_detected(page: Chrome):
    wait_for(page, "banner-text", "Alerts: none detected")
    wait_for(page, "needles", "124°")
    assert "mm to foramen S1L" in text(page, "needles"), "the distance stands there without any alert"
    assert "143 mm²" in text(page, "cement")
    assert "cement (planned)" in text(page, "situation")
    assert "3 watched" in text(page, "situation")
    everything = page.find_element(By.TAG_NAME, "body").text.lower()
    assert "safe" not in everything
    assert "clear" not in everything


def test_an_alert_appears_in_words_in_the_banner_in_the_list_and_on_the_picture(page: Chrome, service: FakeService):
    near = replace(
        CEMENT_IN_FORAMEN,
        id=4,
        kind=AlertKind.NEEDLE_NEAR_ROOT,
        priority=Priority.MEDIUM,
        zone=None,
        needle=1,
        value=2.2,
        unit="mm",
        text="Needle 1 near nerve root 1: 2.2 mm",
    )
    wait_for(page, "state", "LIVE")
    service.scene.alerts = (near, CEMENT_IN_FORAMEN)
    wait_for(page, "banner-text", "Cement in foramen S1L: 4.2 mm²")
    banner = page.find_element(By.ID, "banner")
    assert banner.get_attribute("data-priority") == "high"
    assert text(page, "banner-marks") == "!!!"
    assert "+1 more" in text(page, "banner-more")
    first, second = page.find_elements(By.CSS_SELECTOR, "#alerts li")
    assert "Cement in foramen S1L" in first.text
    assert "high" in first.text
    assert "Needle 1 near nerve root 1" in second.text
    happened = page.find_element(By.ID, "history").get_property("textContent")
    assert "raised: Cement in foramen S1L" in happened
    WebDriverWait(page, PATIENCE_S).until(lambda _: pixels_like(page, 182, 200, RED) > 20)


def test_a_high_alert_flashes_twice_a_second_until_it_is_acknowledged(page: Chrome, service: FakeService):
    def changes_in_two_seconds() -> int:
        return page.execute_async_script(
            "const [done] = arguments, banner = document.getElementById('banner');"
            "let changes = 0, before = getComputedStyle(banner).backgroundColor;"
            "const look = setInterval(() => {"
            "  const now = getComputedStyle(banner).backgroundColor;"
            "  if (now !== before) { changes += 1; before = now; }"
            "}, 10);"
            "setTimeout(() => { clearInterval(look); done(changes); }, 2000);"
        )

    service.scene.alerts = (CEMENT_IN_FORAMEN,)
    wait_for(page, "banner-text", "Cement in foramen")
    assert changes_in_two_seconds() in range(6, 10)
    service.scene.alerts = (replace(CEMENT_IN_FORAMEN, state=AlertState.ACKNOWLEDGED),)
    wait_for(page, "banner-more", "acknowledged")
    assert changes_in_two_seconds() <= 1
    assert "Cement in foramen" in text(page, "banner-text")


def test_an_alert_is_acknowledged_from_the_page_by_itself(page: Chrome, service: FakeService):
    lost = replace(CEMENT_IN_FORAMEN, id=4, kind=AlertKind.VIDEO_LOST, zone=None, text="No video signal for 2.0 s")
    service.scene.alerts = (CEMENT_IN_FORAMEN, lost)
    wait_for(page, "alerts", "No video signal")
    clinical, technical = page.find_elements(By.CSS_SELECTOR, "#alerts li")
    assert "technical" in technical.text
    assert "technical" not in clinical.text
    clinical.find_element(By.TAG_NAME, "button").click()
    WebDriverWait(page, PATIENCE_S).until(lambda _: service.orders)
    assert [order.command for order in service.orders] == [Acknowledge(alert=CEMENT_IN_FORAMEN.id)]


def test_a_button_stays_the_same_while_its_alerts_value_changes(page: Chrome, service: FakeService):
    service.scene.alerts = (CEMENT_IN_FORAMEN,)
    wait_for(page, "alerts", "Cement in foramen")
    button = page.find_element(By.CSS_SELECTOR, "#alerts button")
    service.scene.alerts = (replace(CEMENT_IN_FORAMEN, value=9.9),)
    wait_for(page, "alerts", "9.9 mm²")
    assert page.find_element(By.CSS_SELECTOR, "#alerts button") == button


def test_a_latched_alert_says_that_it_is_no_longer_seen(page: Chrome, service: FakeService):
    service.scene.alerts = (replace(CEMENT_IN_FORAMEN, state=AlertState.CLEARED),)
    wait_for(page, "banner-more", "no longer seen, not acknowledged")
    wait_for(page, "alerts", "no longer seen, not acknowledged")


def test_an_audio_pause_counts_down_on_its_button(page: Chrome, service: FakeService):
    service.scene.alerts, service.scene.sounding = (CEMENT_IN_FORAMEN,), Priority.HIGH
    wait_for(page, "pause-button", "Pause audio")
    page.find_element(By.ID, "pause-button").click()
    WebDriverWait(page, PATIENCE_S).until(lambda _: service.orders)
    assert [order.command for order in service.orders] == [PauseAudio(on=True)]
    service.scene.paused_s, service.scene.sounding = 118.4, None
    wait_for(page, "pause-button", "Audio paused: 119 s")


def test_what_must_be_heard_is_sounded_once_the_page_may(page: Chrome, service: FakeService):
    service.scene.alerts, service.scene.sounding = (CEMENT_IN_FORAMEN,), Priority.HIGH
    wait_for(page, "banner-text", "Cement in foramen")
    page.find_element(By.TAG_NAME, "body").click()
    wait_for(page, "sound", "Alerts are sounded.")
    body = page.find_element(By.TAG_NAME, "body")
    WebDriverWait(page, PATIENCE_S).until(lambda _: body.get_attribute("data-sounding") == "high")
    time.sleep(0.3)
    service.scene.sounding = None
    WebDriverWait(page, PATIENCE_S).until(lambda _: body.get_attribute("data-sounding") == "none")
    assert not [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.mark.parametrize(
    ("state", "words"),
    [(FrameState.HELD, "HELD"), (FrameState.FROZEN, "FROZEN"), (FrameState.NO_SIGNAL, "NO SIGNAL")],
)
def test_a_picture_that_is_not_live_says_so_in_words_over_it(
    page: Chrome, service: FakeService, state: FrameState, words: str
):
    wait_for(page, "state", "LIVE")
    service.scene.findings = replace(FINDINGS, state=state)
    wait_for(page, "cover-word", words)
    dimmed = page.execute_script("return getComputedStyle(document.getElementById('picture')).filter")
    assert "brightness" in dimmed
    service.scene.findings = FINDINGS
    wait_for(page, "state", "LIVE")


def test_pictures_that_stop_coming_are_called_old_without_any_message_saying_so(page: Chrome, service: FakeService):
    wait_for(page, "state", "LIVE")
    service.scene.pictures = False
    wait_for(page, "cover-word", "NO NEW PICTURE")


def test_an_analysis_that_is_not_heard_leaves_the_alerts_unknown(page: Chrome, service: FakeService):
    wait_for(page, "state", "LIVE")
    service.scene.pictures = service.scene.heartbeat = False
    wait_for(page, "cover-detail", "does not hear the analysis")
    assert text(page, "banner-text") == "Connection lost: alerts unknown"
    service.scene.pictures = service.scene.heartbeat = True
    wait_for(page, "banner-text", "none detected")


def test_alerts_are_told_also_when_no_picture_comes(page: Chrome, service: FakeService):
    wait_for(page, "state", "LIVE")
    service.scene.pictures = False
    wait_for(page, "cover-word", "NO NEW PICTURE")
    service.scene.alerts = (CEMENT_IN_FORAMEN,)
    wait_for(page, "banner-text", "Cement in foramen S1L")


def test_a_killed_server_shows_connection_lost_and_the_page_recovers(page: Chrome, dashboard: Dashboard):
    wait_for(page, "state", "LIVE")
    dashboard.kill()
    wait_for(page, "cover-word", "CONNECTION LOST")
    assert text(page, "banner-text") == "Connection lost: alerts unknown"
    dashboard.start()
    wait_for(page, "state", "LIVE")
    assert text(page, "banner-text") == "Alerts: none detected"


def test_what_a_view_cannot_show_stands_beside_the_picture(page: Chrome, service: FakeService):
    lost = Registration((0.0, 0.0), 0.0, 0.1, ok=False)
    service.scene.findings = replace(FINDINGS, registration=lost, view=View.LATERAL)
    wait_for(page, "notices", "Zones not watched")
    assert "A lateral view cannot show the foramina" in text(page, "notices")
    wait_for(page, "situation", "not watched")


def test_the_overlay_is_thinned_and_hidden_with_one_key(page: Chrome):
    x, y = FINDINGS.needles[0].tip_px
    wait_for(page, "state", "LIVE")
    ActionChains(page).send_keys("o").perform()
    wait_for(page, "overlay-button", "thin")
    assert pixels_like(page, x, y, CYAN) > 20, "the tip stays"
    assert pixels_like(page, 140, 155, CYAN) == 0, "the shaft goes"
    ActionChains(page).send_keys("o").perform()
    wait_for(page, "overlay-button", "off")
    assert pixels_like(page, x, y, CYAN) == 0
    page.find_element(By.ID, "overlay-button").click()
    wait_for(page, "overlay-button", "full")
    assert pixels_like(page, 140, 155, CYAN) > 20


def test_the_xray_field_alone_is_shown_with_one_key_and_its_strokes_stay_in_place(page: Chrome):
    wait_for(page, "state", "LIVE")
    ActionChains(page).send_keys("f").perform()
    # The field is a circle of 230 px about (256, 240).
    WebDriverWait(page, PATIENCE_S).until(
        lambda _: page.execute_script("return document.getElementById('picture').width") == 461
    )
    x, y = FINDINGS.needles[0].tip_px
    assert pixels_like(page, x - 26, y - 10, CYAN) > 20
    assert pixels_like(page, x, y, CYAN) == 0


def test_the_page_logs_no_error_and_loads_nothing_from_elsewhere(page: Chrome, dashboard: Dashboard):
    wait_for(page, "state", "LIVE")
    assert page.get_log("browser") == []
    loaded = page.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert loaded
    assert all(name.startswith(dashboard.address) for name in loaded)


def test_what_is_wrong_with_the_grabber_stands_over_the_picture_in_words(page: Chrome, service: FakeService):
    wait_for(page, "state", "LIVE")
    unplugged = replace(FINDINGS, state=FrameState.NO_SIGNAL, input_fault="the grabber is unplugged")
    service.scene = replace(service.scene, findings=unplugged)

    wait_for(page, "cover-detail", "the grabber is unplugged")
    assert "stale" in page.find_element(By.TAG_NAME, "body").get_attribute("class")
