"""The stored other view beside the live one, and cement's trends."""

from dataclasses import replace

import numpy as np
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from guidance.records import FrameState, View
from tests.browser.looking import text, wait_for, wait_until
from tests.browser.room import FINDINGS, FakeService, Scene

pytestmark = pytest.mark.browser

LATERAL = replace(FINDINGS, view=View.LATERAL, view_id=1, nerve_roots=(), cement=(), needles=())
MIDDLE = """
const c = document.getElementById("other-picture");
return c.getContext("2d").getImageData(Math.round(c.width / 2), Math.round(c.height / 2), 1, 1).data[0];
"""


def swing(service: FakeService) -> None:
    """From the side now; the AP picture was brighter."""
    service.scene = Scene(findings=LATERAL, pixels=np.full((480, 512), 30, np.uint8))


def test_without_a_swing_there_is_no_other_view(page: Chrome):
    wait_for(page, "other-words", "No other view yet")


def test_after_a_swing_the_view_before_is_kept_with_its_picture_and_marked_as_stored(
    page: Chrome, service: FakeService
):
    wait_for(page, "state", "LIVE")
    swing(service)
    wait_for(page, "other-words", "NOT LIVE")
    assert text(page, "other-title").lower() == "ap · stored"
    wait_until(page, lambda: 90 < page.execute_script(MIDDLE) < 140, "the AP picture's grey")
    assert "dashed" in page.execute_script(
        "return getComputedStyle(document.getElementById('other-stage')).borderStyle"
    )
    wait_for(page, "other-words", "2.")
    service.scene = Scene()
    wait_until(page, lambda: text(page, "other-title").lower() == "lateral · stored")


def test_a_page_that_opens_late_has_the_other_view_too(page: Chrome, service: FakeService):
    wait_for(page, "state", "LIVE")
    swing(service)
    wait_for(page, "other-words", "NOT LIVE")
    page.refresh()
    wait_for(page, "other-words", "NOT LIVE")


def test_a_new_case_forgets_the_other_view(page: Chrome, service: FakeService):
    wait_for(page, "state", "LIVE")
    swing(service)
    wait_for(page, "other-words", "NOT LIVE")
    service.case = "another patient"
    wait_for(page, "other-words", "No other view yet")


def test_a_held_picture_is_not_stored_as_a_view_of_its_own(page: Chrome, service: FakeService):
    wait_for(page, "state", "LIVE")
    service.scene.findings = replace(LATERAL, state=FrameState.HELD)
    wait_for(page, "state", "HELD")
    service.scene.findings = FINDINGS
    wait_for(page, "state", "LIVE")
    wait_for(page, "other-words", "No other view yet")


def test_the_other_view_is_shown_large_with_one_touch(page: Chrome, service: FakeService):
    wait_for(page, "state", "LIVE")
    swing(service)
    wait_for(page, "other-words", "NOT LIVE")
    stored = page.find_element(By.ID, "other-stage")
    before = stored.size["width"] * stored.size["height"]
    page.find_element(By.ID, "other-button").click()
    assert stored.size["width"] * stored.size["height"] > 2 * before
    assert text(page, "state") == "LIVE"


def test_cements_growth_is_a_line_that_rises_and_a_late_page_has_it_from_the_start(page: Chrome, service: FakeService):
    wait_for(page, "state", "LIVE")
    service.case = "growing"
    for area_mm2 in (20.0, 60.0, 120.0, 180.0):
        (deposit,) = FINDINGS.cement
        service.scene.findings = replace(FINDINGS, cement=(replace(deposit, area_mm2=area_mm2),))
        wait_until(page, lambda area=area_mm2: f"{area:.0f} mm²" in text(page, "cement"))
        wait_until(page, lambda area=area_mm2: f"1: {area:.0f}" in label(page))
    rises(page)
    page.refresh()
    wait_until(page, lambda: "1: 180" in label(page))
    rises(page)


def label(page: Chrome) -> str:
    return page.find_element(By.ID, "trends").get_attribute("aria-label") or ""


def rises(page: Chrome) -> None:
    # The line is drawn anew while this looks.
    points = page.execute_script("return document.querySelector('#trends .line').getAttribute('points')")
    heights = [float(point.split(",")[1]) for point in points.split()]
    assert len(heights) >= 4
    assert heights == sorted(heights, reverse=True), "up is smaller"
    assert heights[0] > heights[-1] + 20
