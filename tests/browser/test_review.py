"""Recorded cases in a real Chromium: found, opened, played, stepped through, compared, measured and judged by keys."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from drivers.archived import INDEX
from guidance.casebook.judgements import Verdict, judgements, standing
from tests.browser.looking import text, wait_for, wait_until
from tests.browser.room import CEMENT_IN_FORAMEN, FakeService
from tests.browser.room import Dashboard as LiveDashboard
from tests.browser.test_accessibility import serious_findings
from tests.unit.casebook.analysed import record_analysed
from tests.unit.web.test_review import serving

pytestmark = pytest.mark.browser

LEAK, SWING, DAMAGED = "20261130T090000-1", "20261129T090000-1", "20261128T090000-1"
PIXEL = """
const canvas = document.getElementById(arguments[0]);
return [...canvas.getContext("2d").getImageData(arguments[1], arguments[2], 1, 1).data];
"""
DRAWN = """
const canvas = document.getElementById("main-overlay");
const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
let count = 0;
for (let i = 3; i < data.length; i += 4) if (data[i] > 0) count++;
return count;
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("archive")
    record_analysed(root, case_id=LEAK)
    record_analysed(root, "swing_ap_lateral", SWING)
    return root


@pytest.fixture(scope="module")
def address(archive: Path) -> Iterator[str]:
    with serving(archive) as found:
        yield found


@pytest.fixture
def opened(chrome: Chrome, address: str) -> Callable[[str], Chrome]:
    """Opens a case at a moment, and waits for its picture."""

    def open_case(place: str) -> Chrome:
        chrome.get("about:blank")
        chrome.get(f"{address}review-case.html#{place}")
        wait_until(chrome, lambda: "frame" in text(chrome, "main-caption"))
        return chrome

    return open_case


def press(page: Chrome, *keys: str) -> None:
    ActionChains(page).send_keys(*keys).perform()


def frame(page: Chrome) -> int:
    return int(text(page, "main-caption").split("frame ")[1])


def wait_for_frame(page: Chrome, number: int) -> None:
    wait_until(page, lambda: frame(page) == number, f"frame {number} is not shown")


def pressed(page: Chrome, part: str) -> bool:
    return page.find_element(By.ID, part).get_attribute("aria-pressed") == "true"


def test_cases_are_found_by_words_and_alerts_and_opened_by_keys(chrome: Chrome, address: str) -> None:
    chrome.get(address)
    wait_for(chrome, "count", "2 of 2 cases")
    press(chrome, "/", "swing")
    wait_for(chrome, "count", "1 of 2 cases")
    chrome.find_element(By.CSS_SELECTOR, "#search button[type=reset]").click()
    wait_for(chrome, "count", "2 of 2 cases")
    Select(chrome.find_element(By.ID, "alert")).select_by_value("cement_in_zone")
    wait_for(chrome, "count", "1 of 2 cases")
    chrome.find_element(By.CSS_SELECTOR, "#search button[type=reset]").click()
    chrome.execute_script("document.getElementById('from').value = '2099-01-01'")
    chrome.find_element(By.ID, "most").send_keys("9")
    wait_for(chrome, "count", "0 of 2 cases")
    chrome.find_element(By.CSS_SELECTOR, "#search button[type=reset]").click()
    wait_for(chrome, "count", "2 of 2 cases")
    press(chrome, "/", Keys.ARROW_DOWN, Keys.ENTER)
    wait_until(chrome, lambda: "review-case.html#" in chrome.current_url)


def test_a_case_says_that_it_is_recorded_and_shows_its_picture_with_what_was_drawn(
    opened: Callable[[str], Chrome],
) -> None:
    page = opened(f"{LEAK}@11.6")
    assert text(page, "recorded") == "RECORDED, not live"
    assert frame(page) == 87
    assert "Cement in foramen S1L" in text(page, "main-alerts")
    assert page.execute_script(DRAWN) > 2000
    assert page.execute_script(PIXEL, "main-picture", 144, 144)[0] > 20


def test_frames_are_stepped_and_alerts_jumped_to_by_keys(opened: Callable[[str], Chrome]) -> None:
    page = opened(LEAK)
    press(page, Keys.ARROW_RIGHT)
    wait_for_frame(page, 1)
    press(page, Keys.END)
    wait_for_frame(page, 104)
    press(page, Keys.ARROW_LEFT)
    wait_for_frame(page, 103)
    press(page, Keys.HOME)
    wait_for_frame(page, 0)
    press(page, "n")
    wait_for_frame(page, 78)
    assert page.find_element(By.CSS_SELECTOR, "#alerts [aria-current=true]").text.startswith("0:10.4")
    press(page, "n", "n")
    wait_for_frame(page, 79)
    press(page, "p")
    wait_for_frame(page, 78)
    slider = page.find_element(By.ID, "timeline")
    assert "cement, AP view" in (slider.get_attribute("aria-valuetext") or "")


def test_it_plays_at_the_frames_own_times_and_faster_when_told_to(opened: Callable[[str], Chrome]) -> None:
    page = opened(LEAK)
    began = time.monotonic()
    press(page, " ")
    wait_until(page, lambda: frame(page) >= 15)
    took_s = time.monotonic() - began
    # Frame 15 is of 2.0 s: it cannot be shown before.
    assert took_s >= 1.9
    press(page, "]", "]", "]")
    assert Select(page.find_element(By.ID, "speed")).first_selected_option.text == "8×"
    wait_for_frame(page, 104)
    wait_for(page, "play", "Play")
    press(page, Keys.HOME, "[", "[", "[", "[", "[", "[")
    assert Select(page.find_element(By.ID, "speed")).first_selected_option.text == "1/8×"


def test_a_lateral_view_says_what_it_cannot_show_and_a_held_picture_that_it_is_held(
    opened: Callable[[str], Chrome],
) -> None:
    page = opened(f"{SWING}@9")
    wait_for(page, "main-notices", "A lateral view cannot show the foramina")
    assert "which cannot show the foramina" in (
        page.find_element(By.ID, "timeline").get_attribute("aria-valuetext") or ""
    )
    page = opened(f"{SWING}@12")
    wait_for(page, "main-cover", "HELD")


def test_distance_and_angle_are_measured_by_keys_in_the_plans_scale(opened: Callable[[str], Chrome]) -> None:
    page = opened(f"{LEAK}@11.6")
    press(page, "d", Keys.ENTER)
    ActionChains(page).key_down(Keys.SHIFT).send_keys(Keys.ARROW_RIGHT * 3).key_up(Keys.SHIFT).perform()
    press(page, Keys.ENTER)
    # Three tens of pixels of 0.4167 mm.
    wait_for(page, "measures", "distance 12.5 mm")
    assert "from the plan's scale" in text(page, "measure-scale")
    press(page, Keys.ESCAPE, "a", Keys.ENTER)
    press(page, *[Keys.ARROW_RIGHT] * 20, Keys.ENTER, *[Keys.ARROW_UP] * 20, Keys.ENTER)
    wait_for(page, "measures", "angle 90.0°")
    press(page, Keys.ESCAPE, Keys.ARROW_RIGHT)
    wait_for_frame(page, 88)
    assert text(page, "measures") == ""


def test_a_distance_is_where_the_mouse_puts_it(opened: Callable[[str], Chrome]) -> None:
    page = opened(f"{LEAK}@11.6")
    press(page, "d")
    stage = page.find_element(By.ID, "main-stage")
    picture = page.find_element(By.ID, "main-picture")
    apart_px = picture.rect["width"] / 4
    actions = ActionChains(page)
    actions.move_to_element_with_offset(stage, 0, 0).click()
    actions.move_to_element_with_offset(stage, round(apart_px), 0).click().perform()
    # A quarter of 288 pixels of 0.4167 mm, and the mouse goes by whole pixels of the screen.
    told_mm = float(text(page, "measures").split("distance ")[1].split(" mm")[0])
    assert told_mm == pytest.approx(288 / 4 * 0.416667, abs=0.5)


def test_two_moments_stand_side_by_side_and_change_places(opened: Callable[[str], Chrome]) -> None:
    page = opened(f"{LEAK}@11.6")
    press(page, "k", Keys.HOME)
    wait_for_frame(page, 0)
    assert "frame 87" in text(page, "beside-caption")
    press(page, "w")
    wait_for_frame(page, 87)
    assert "frame 0" in text(page, "beside-caption")
    press(page, "k")
    assert not page.find_element(By.ID, "pane-beside").is_displayed()


def test_alerts_are_judged_by_keys_and_a_missed_one_is_told(opened: Callable[[str], Chrome], archive: Path) -> None:
    page = opened(LEAK)
    press(page, "n")
    wait_for_frame(page, 78)
    press(page, "e")
    press(page, "seen by eye 12")
    press(page, Keys.ESCAPE, "1")
    wait_for(page, "judged", "right, says dashboard: seen by eye 12")
    assert pressed(page, "judge-right")
    press(page, "3")
    wait_for(page, "answer", "Go to the moment")
    press(page, Keys.ARROW_LEFT * 3)
    wait_for_frame(page, 75)
    press(page, "3")
    wait_for(page, "judged", "late")
    Select(page.find_element(By.ID, "missed-zone")).select_by_value("foramen_S1L")
    press(page, Keys.ESCAPE, "4")
    wait_for(page, "alerts", "missed")
    said = standing(judgements(archive / LEAK)[0])
    assert [(one.verdict, one.zone) for one in said] == [(Verdict.LATE, None), (Verdict.MISSED, "foramen_S1L")]
    assert said[0].t_s == pytest.approx(10.0)
    page.find_element(By.ID, "judge-withdraw").click()
    wait_for(page, "answer", "Withdrawn")
    assert [one.verdict for one in standing(judgements(archive / LEAK)[0])] == [Verdict.LATE]


def test_the_present_version_is_drawn_over_what_was_drawn_then(opened: Callable[[str], Chrome]) -> None:
    page = opened(f"{LEAK}@11.6")
    page.find_element(By.ID, "tab-compare").click()
    page.find_element(By.ID, "overlay-both").click()
    wait_for(page, "answer", "has not analysed the case yet")
    page.find_element(By.ID, "recompute").click()
    wait_until(page, lambda: "0 differences" in text(page, "recompute-words"))
    page.find_element(By.ID, "overlay-both").click()
    wait_for(page, "main-notices", "White, dashed: found by version")
    press(page, "o")
    wait_until(page, lambda: pressed(page, "overlay-none"))
    assert page.execute_script(DRAWN) == 0


def test_a_damaged_frame_and_what_is_missing_are_told_and_never_shown_as_good(
    opened: Callable[[str], Chrome], archive: Path
) -> None:
    folder = archive / DAMAGED
    shutil.copytree(archive / LEAK, folder)
    row = json.loads((folder / INDEX).read_text().splitlines()[60])
    video = bytearray((folder / row["part"]).read_bytes())
    video[row["at"] + row["size"] // 2] ^= 0xFF
    (folder / row["part"]).write_bytes(video)
    try:
        page = opened(f"{DAMAGED}@8")
        wait_for_frame(page, 60)
        wait_for(page, "main-cover", "DAMAGED")
        assert "Frame 60" in text(page, "main-cover")
        assert "frame 60" in text(page, "missing")
        press(page, Keys.ARROW_RIGHT)
        wait_for_frame(page, 61)
        assert text(page, "main-cover") == ""
    finally:
        shutil.rmtree(folder)


def test_a_live_alert_is_told_to_whoever_looks_at_an_old_case(chrome: Chrome, archive: Path) -> None:
    with FakeService() as service, LiveDashboard(service.endpoints, service.keys, "--archive", str(archive)) as live:
        chrome.get(f"{live.address}review-case.html#{LEAK}")
        wait_for(chrome, "live-words", "LIVE NOW: alerts: none detected")
        service.scene.alerts = (CEMENT_IN_FORAMEN,)
        wait_for(chrome, "live-words", f"LIVE NOW: {CEMENT_IN_FORAMEN.text}")
        assert chrome.find_element(By.ID, "live-words").get_attribute("data-priority") == "high"


@pytest.mark.slow
@pytest.mark.parametrize("tab", ["alerts", "findings", "compare", "measure", "case"])
def test_nothing_serious_keeps_anyone_from_using_a_case(opened: Callable[[str], Chrome], tab: str) -> None:
    page = opened(f"{LEAK}@11.6")
    page.find_element(By.ID, f"tab-{tab}").click()
    assert not serious_findings(page)


@pytest.mark.slow
def test_nothing_serious_keeps_anyone_from_using_the_list(chrome: Chrome, address: str) -> None:
    chrome.get(address)
    wait_for(chrome, "count", "2 of 2 cases")
    assert not serious_findings(chrome)


def test_nothing_is_refused_by_the_pages_own_rules(opened: Callable[[str], Chrome]) -> None:
    page = opened(LEAK)
    page.get_log("browser")
    page = opened(f"{LEAK}@3")
    assert [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []
