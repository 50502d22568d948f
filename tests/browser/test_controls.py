"""What touches, keys and pedals do."""

import time
from dataclasses import replace

import pytest
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By

from guidance.bus.messages import Acknowledge, Command, Mark, PauseAudio, SetPhase, SetView, TakeReference
from guidance.records import Phase, View
from tests.browser.looking import text, wait_for, wait_until
from tests.browser.room import CEMENT_IN_FORAMEN, FakeService

pytestmark = pytest.mark.browser

HELD_S = 1.2
READ_S = 0.8


def commands(service: FakeService) -> list[Command]:
    return [order.command for order in service.orders]


def ordered(page: Chrome, service: FakeService, *wanted: Command) -> None:
    wait_until(page, lambda: len(service.orders) >= len(wanted), f"{wanted} expected, but {commands(service)}")
    assert commands(service) == list(wanted)


@pytest.fixture
def alerted(page: Chrome, service: FakeService) -> Chrome:
    """A page that has told an alert for long enough to be read."""
    service.scene.alerts = (CEMENT_IN_FORAMEN,)
    wait_for(page, "banner-text", CEMENT_IN_FORAMEN.text)
    time.sleep(READ_S)
    return page


@pytest.mark.parametrize("key", ["a", "A", Keys.PAGE_DOWN])
def test_a_key_or_a_pedal_acknowledges_the_alert_in_the_banner(alerted: Chrome, service: FakeService, key: str):
    ActionChains(alerted).send_keys(key).perform()
    ordered(alerted, service, Acknowledge(alert=CEMENT_IN_FORAMEN.id))
    wait_for(alerted, "refusal", "Acknowledged.")


def test_one_touch_acknowledges_and_leaves_no_focus_that_would_swallow_a_key(alerted: Chrome, service: FakeService):
    alerted.find_element(By.ID, "acknowledge-button").click()
    ordered(alerted, service, Acknowledge(alert=CEMENT_IN_FORAMEN.id))
    assert alerted.execute_script("return document.activeElement === document.body")


def test_an_alert_that_came_just_now_is_not_acknowledged_by_a_press_that_was_meant_for_another(
    alerted: Chrome, service: FakeService
):
    newer = replace(CEMENT_IN_FORAMEN, id=12, text="Cement in foramen S2L: 9.0 mm²")
    script = """
      const told = document.getElementById("banner-text");
      new MutationObserver(() => document.getElementById("acknowledge-button").click())
        .observe(told, {characterData: true, childList: true, subtree: true});
    """
    alerted.execute_script(script)
    service.scene.alerts = (newer, CEMENT_IN_FORAMEN)
    wait_for(alerted, "refusal", "A new alert came just now")
    assert not service.orders


@pytest.mark.parametrize("first", ["zoom-button", "mark-button", "keys-button"])
def test_no_key_is_lost_to_a_button_that_has_the_focus(alerted: Chrome, service: FakeService, first: str):
    alerted.execute_script("document.getElementById(arguments[0]).focus()", first)
    ActionChains(alerted).send_keys("p").perform()
    ordered(alerted, service, PauseAudio(on=True))


def test_keys_work_while_they_are_explained(alerted: Chrome, service: FakeService):
    ActionChains(alerted).send_keys("?").perform()
    dialog = alerted.find_element(By.ID, "keys")
    wait_until(alerted, dialog.is_displayed)
    assert "Acknowledge the alert in the banner" in dialog.text
    ActionChains(alerted).send_keys("a").perform()
    ordered(alerted, service, Acknowledge(alert=CEMENT_IN_FORAMEN.id))
    ActionChains(alerted).send_keys(Keys.ESCAPE).perform()
    wait_until(alerted, lambda: not dialog.is_displayed())
    alerted.find_element(By.ID, "keys-button").click()
    wait_until(alerted, dialog.is_displayed)
    alerted.find_element(By.ID, "keys-close").click()
    wait_until(alerted, lambda: not dialog.is_displayed())


def test_a_touch_by_accident_takes_no_reference_and_says_what_to_do(page: Chrome, service: FakeService):
    wait_for(page, "state", "LIVE")
    page.find_element(By.ID, "reference-button").click()
    wait_for(page, "refusal", "Hold it for a second")
    time.sleep(HELD_S)
    assert not service.orders


@pytest.mark.parametrize(
    ("button", "key", "command"),
    [
        ("reference-button", "r", TakeReference()),
        ("phase-cement", "4", SetPhase(phase=Phase.CEMENT)),
        ("view-lateral", "6", SetView(view=View.LATERAL)),
    ],
)
def test_what_changes_the_watching_is_held_by_finger_or_key(
    page: Chrome, service: FakeService, button: str, key: str, command: Command
):
    wait_for(page, "state", "LIVE")
    element = page.find_element(By.ID, button)
    ActionChains(page).click_and_hold(element).pause(HELD_S).release().perform()
    ordered(page, service, command)
    ActionChains(page).key_down(key).pause(HELD_S).key_up(key).perform()
    ordered(page, service, command, command)
    page.execute_script("arguments[0].focus()", element)
    ActionChains(page).key_down(Keys.ENTER).pause(HELD_S).key_up(Keys.ENTER).perform()
    ordered(page, service, command, command, command)


def test_a_mark_goes_into_the_log_at_one_touch(page: Chrome, service: FakeService):
    wait_for(page, "state", "LIVE")
    page.find_element(By.ID, "mark-button").click()
    ordered(page, service, Mark(text="marked in the room"))
    wait_for(page, "refusal", "Marked in the log.")


def test_why_an_order_was_not_obeyed_stands_on_the_page(alerted: Chrome, service: FakeService):
    service.scene.refusal = "alert 3 is not active"
    ActionChains(alerted).send_keys("a").perform()
    wait_for(alerted, "refusal", "alert 3 is not active")


def test_the_present_phase_and_view_stand_on_their_buttons(page: Chrome):
    wait_for(page, "state", "LIVE")
    pressed = page.find_elements(By.CSS_SELECTOR, ".hold[aria-pressed='true']")
    assert [button.get_attribute("id") for button in pressed] == ["phase-cement", "view-ap"]


def test_everything_is_reached_and_used_by_keyboard_alone(alerted: Chrome, service: FakeService):
    reached = []
    for _ in range(25):
        ActionChains(alerted).send_keys(Keys.TAB).perform()
        element = alerted.switch_to.active_element
        reached.append(element.get_attribute("id") or element.accessible_name)
        if reached[-1] == "keys-button":
            break
    buttons = [button.get_attribute("id") for button in alerted.find_elements(By.CSS_SELECTOR, "nav button")]
    assert [name for name in reached if name in buttons] == buttons
    assert f"Acknowledge: {CEMENT_IN_FORAMEN.text}" in reached
    ActionChains(alerted).send_keys(Keys.ENTER).perform()
    wait_until(alerted, alerted.find_element(By.ID, "keys").is_displayed)
    assert text(alerted, "keys-title") == "Keys and pedals"
