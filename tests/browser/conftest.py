"""One service, one dashboard and one Chromium for all browser tests; each test starts from an untroubled scene.

They end with the last test of this folder: a picture a thirtieth of a second is no company for all other tests.
"""

import os
from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome

from tests.browser.room import CHROMIUM, DRIVER, Dashboard, FakeService, Scene, chromium


@pytest.fixture(scope="package")
def chrome() -> Iterator[Chrome]:
    missing = [str(program) for program in (CHROMIUM, DRIVER) if not program.exists()]
    if missing:
        words = f"{' and '.join(missing)} missing; install Debian's chromium and chromium-driver"
        if os.environ.get("FLUOROGUIDE_REQUIRE_BROWSER") == "1":
            pytest.fail(words)
        pytest.skip(words)
    with chromium() as driver:
        yield driver


@pytest.fixture(scope="package")
def running() -> Iterator[tuple[FakeService, Dashboard]]:
    with FakeService() as service, Dashboard(service.endpoints, service.keys) as dashboard:
        yield service, dashboard


@pytest.fixture
def service(running: tuple[FakeService, Dashboard]) -> FakeService:
    running[0].scene = Scene()
    running[0].case = "case"
    running[0].orders.clear()
    return running[0]


@pytest.fixture
def dashboard(running: tuple[FakeService, Dashboard]) -> Dashboard:
    return running[1]


@pytest.fixture
def page(chrome: Chrome, service: FakeService, dashboard: Dashboard) -> Chrome:
    """The dashboard's page, freshly opened."""
    chrome.get_log("browser")
    chrome.get(dashboard.address)
    return chrome
