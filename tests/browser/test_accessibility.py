"""Every page in every state, looked over by axe-core: contrast, names, focus, structure."""

from collections.abc import Iterator

import pytest
from axe_core_python.selenium import Axe
from selenium.webdriver import Chrome

from tests.browser.gallery import STATES, Room, State, shown
from tests.browser.room import Dashboard, FakeService, Scene

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PICTURE_PX = 256


def serious_findings(page: Chrome) -> list[str]:
    """What axe-core finds on the page as it stands that keeps people from using it."""
    return [
        f"{one['id']}: {one['help']} {[node['target'] for node in one['nodes']]}"
        for one in Axe().run(page)["violations"]
        if one["impact"] in ("serious", "critical")
    ]


@pytest.fixture
def room(chrome: Chrome, service: FakeService, dashboard: Dashboard) -> Iterator[Room]:
    yield Room(service, dashboard, chrome, PICTURE_PX)
    service.scene = Scene()


@pytest.mark.parametrize("state", STATES, ids=[state.name for state in STATES])
def test_nothing_serious_keeps_anyone_from_using_the_page(room: Room, state: State):
    with shown(state, room) as page:
        assert not serious_findings(page)
