"""A picture that is not live is never shown as if it were, whatever has ended; how fast: ``staleness.py``."""

import pytest
from selenium.webdriver import Chrome

from tests.browser.looking import text, wait_for, wait_until
from tests.browser.network import Network
from tests.browser.room import Dashboard, FakeService
from tests.browser.staleness import ENDINGS, Ending, grey_after_ms

pytestmark = pytest.mark.browser

LIMIT_MS = 300
TRIES = 5
"""The limit is the page's; what a busy machine adds to it is not. One run in so many within it shows the page's own."""


@pytest.mark.parametrize("ending", ENDINGS, ids=[ending.name for ending in ENDINGS])
def test_the_picture_is_grey_within_300_ms_of_what_kept_it_live(
    page: Chrome, service: FakeService, dashboard: Dashboard, ending: Ending
):
    times_ms = []
    for _ in range(TRIES):
        times_ms.append(grey_after_ms(page, service, dashboard, ending))
        if times_ms[-1] <= LIMIT_MS:
            return
    pytest.fail(f"grey only after {[round(t) for t in times_ms]} ms")


@pytest.mark.parametrize("trouble", ["cut", "stop"])
def test_a_network_that_breaks_or_stops_is_told_and_the_page_comes_back_by_itself(
    page: Chrome, service: FakeService, dashboard: Dashboard, trouble: str
):
    port = int(dashboard.address.rsplit(":", 1)[1].strip("/"))
    with Network(port) as network:
        page.get(network.address)
        for _ in range(2):
            wait_for(page, "state", "LIVE")
            getattr(network, trouble)()
            wait_for(page, "cover-word", "CONNECTION LOST")
            assert text(page, "banner-text") == "Connection lost: alerts unknown"
            network.mend()
        wait_for(page, "state", "LIVE")
        assert text(page, "banner-text") == "Alerts: none detected"
        page.get("about:blank")


def test_an_order_without_a_connection_is_not_passed_off_as_obeyed(
    page: Chrome, service: FakeService, dashboard: Dashboard
):
    wait_for(page, "state", "LIVE")
    dashboard.kill()
    try:
        wait_for(page, "cover-word", "CONNECTION LOST")
        page.find_element("id", "mark-button").click()
        wait_for(page, "refusal", "nothing was ordered")
    finally:
        dashboard.start()
    wait_for(page, "state", "LIVE")


def test_a_loss_that_lasts_is_heard_until_somebody_acknowledges_it(
    page: Chrome, service: FakeService, dashboard: Dashboard
):
    wait_for(page, "state", "LIVE")
    body = page.find_element("tag name", "body")
    dashboard.kill()
    try:
        wait_until(page, lambda: body.get_attribute("data-sounding") == "medium")
        page.find_element("id", "acknowledge-button").click()
        wait_until(page, lambda: body.get_attribute("data-sounding") == "none")
    finally:
        dashboard.start()
    wait_for(page, "state", "LIVE")
