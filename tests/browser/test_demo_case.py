"""The whole demo case through the real service: each alert appears, sounds and is acknowledged in the browser."""

import time
from collections.abc import Iterator

import pytest
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By

from guidance.phantom.source import PhantomSource
from guidance.service import Service
from guidance.settings import Settings

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PATIENCE_S = 150
# Those of high priority, which stay until somebody has acknowledged them.
ALERTS = {"Cement in foramen S1L", "Cement escapes"}

# All that the banner, the page's sound and the words over the picture have been.
NOTE = """
window.noted = {banner: [], sounding: [], words: []};
const note = (list, value) => { if (value && list.at(-1) !== value) list.push(value); };
setInterval(() => {
  note(noted.banner, document.getElementById("banner-text").textContent.replace(/\\u00a0/g, " "));
  note(noted.sounding, document.body.dataset.sounding);
  note(noted.words, document.body.dataset.word);
}, 50);
"""


@pytest.fixture
def demo() -> Iterator[Service]:
    source = PhantomSource("demo", size_px=384)
    with source:
        plan = source.plan
    settings = Settings(behind_ms=5000)
    with Service(lambda: source, plan, settings, port=0, bus_port=0) as service:
        deadline_s = time.monotonic() + PATIENCE_S
        while not (service.ready and service.dashboard.answers(timeout_s=0.5)):
            assert time.monotonic() < deadline_s
            time.sleep(0.1)
        yield service


def test_each_alert_of_the_demo_appears_sounds_and_is_acknowledged(chrome: Chrome, demo: Service):
    chrome.get(demo.dashboard.url)
    chrome.find_element(By.TAG_NAME, "body").click()
    chrome.execute_script(NOTE)
    acknowledged: set[str] = set()
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s and not demo.stopping.is_set():
        banner = chrome.find_element(By.ID, "banner")
        if "flash" in (banner.get_attribute("class") or "") and banner.get_attribute("data-priority") != "none":
            # As the team does it: look, then press.
            time.sleep(0.7)
            ActionChains(chrome).send_keys("a").perform()
        history = chrome.find_element(By.ID, "history").get_property("textContent")
        assert isinstance(history, str)
        acknowledged |= {kind for kind in ALERTS if f"acknowledged: {kind}" in history}
        if acknowledged == ALERTS:
            break
        time.sleep(0.2)
    noted = chrome.execute_script("return window.noted")
    assert acknowledged == ALERTS, noted
    assert {"high", "medium", "none"} <= set(noted["sounding"])
    assert {"LIVE", "HELD"} <= set(noted["words"])
    for kind in ALERTS:
        assert any(words.startswith(kind) for words in noted["banner"]), kind
