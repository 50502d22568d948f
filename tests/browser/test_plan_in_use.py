"""A plan drawn in Chromium on a running case: the service alarms by it at once, and a replay of its file does later."""

import json
import re
import time
from pathlib import Path

import pytest
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from drivers.sources import open_source
from guidance.casebook.replay import replay
from guidance.plan import check_zones_inside, load_plan
from guidance.records import CasePlan
from guidance.service import Service
from guidance.settings import Settings

pytestmark = [pytest.mark.browser, pytest.mark.slow]

RECORDING = Path(__file__).parents[2] / "replay_fixtures" / "leak_foramen" / "video.mkv"
SIDE_PX = 288
FORAMEN_S1L = [(64, 168), (96, 168), (96, 193), (64, 193)]
LEAK_S = 10.4
PATIENCE_S = 60


def text(page: Chrome, part: str) -> str:
    return page.find_element(By.ID, part).text


def freeze_early(page: Chrome) -> None:
    """A picture from before needle and cement; the recording begins anew when it ends."""
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        page.find_element(By.ID, "view-live").click()
        page.find_element(By.ID, "freeze").click()
        time.sleep(0.2)
        frozen = re.search(r"picture of ([\d.]+) s$", text(page, "picture-words"))
        if frozen is not None and 0.5 < float(frozen[1]) < 4.0:
            return
    raise AssertionError(f"no early picture was frozen: {text(page, 'picture-words')}")


def draw(page: Chrome) -> None:
    board = page.find_element(By.ID, "board")
    zoom = min(board.size["width"], board.size["height"]) / SIDE_PX
    page.find_element(By.ID, "draw-polygon").click()
    for x, y in FORAMEN_S1L:
        place = (round((x - SIDE_PX / 2) * zoom), round((y - SIDE_PX / 2) * zoom))
        ActionChains(page, duration=20).move_to_element_with_offset(board, *place).click().perform()
    board.send_keys(Keys.ENTER)


def test_a_plan_that_is_drawn_raises_the_alert_live_and_in_a_replay_of_its_file(chrome: Chrome, tmp_path: Path) -> None:
    plans = tmp_path / "plans"
    service = Service(
        lambda: open_source(str(RECORDING)), CasePlan(), Settings(), port=0, bus_port=0, loop=True, plans=plans
    )
    with service:
        wait = WebDriverWait(chrome, PATIENCE_S, 0.05)
        wait.until(lambda _: service.ready and service.dashboard.answers(timeout_s=0.5))
        chrome.get(service.dashboard.url + "setup.html")
        wait.until(lambda _: "none detected" in text(chrome, "banner-text"))
        freeze_early(chrome)
        draw(chrome)
        chrome.find_element(By.ID, "use").click()
        wait.until(lambda _: "In use from now on" in text(chrome, "answer"))
        wait.until(lambda _: "as drawn here" in text(chrome, "in-use"))
        wait.until(lambda _: text(chrome, "banner-text").startswith("Cement in zone 1"))
        chrome.find_element(By.ID, "tab-plans").click()
        chrome.find_element(By.ID, "plan-name").send_keys("drawn", Keys.ENTER)
        wait.until(lambda _: "Saved as “drawn”" in text(chrome, "answer"))

    plan = load_plan(plans / "drawn.json")
    with open_source(str(RECORDING)) as source:
        check_zones_inside(plan, source.info.width_px, source.info.height_px, "drawn.json")
        replay(source, source.info, plan, Settings(), tmp_path / "out")
    alerts = [json.loads(line) for line in (tmp_path / "out" / "alerts.jsonl").read_text().splitlines()]
    leak = next(alert for alert in alerts if alert["kind"] == "cement_in_zone")
    assert leak["zone"] == "zone_1"
    assert leak["t_s"] == pytest.approx(LEAK_S, abs=0.5)
