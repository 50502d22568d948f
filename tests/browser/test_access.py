"""Logging in and out, and what each role can do, in a real Chromium."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from guidance.accounts import Role, add_account, add_token, remove_account
from guidance.bus.messages import Acknowledge
from tests.browser.room import CEMENT_IN_FORAMEN, Dashboard, FakeService
from tests.browser.test_accessibility import serious_findings

pytestmark = pytest.mark.browser

PATIENCE_S = 15
PASSWORD = "correct horse battery"


class Ward:
    """A dashboard on which people log in."""

    def __init__(self, service: FakeService, folder: Path) -> None:
        self.accounts = folder / "accounts.json"
        add_account(self.accounts, "ito", Role.OPERATOR, PASSWORD)
        add_account(self.accounts, "nurse", Role.VIEWER, PASSWORD)
        self.token = add_token(self.accounts, "wall", Role.VIEWER)
        options = ("--accounts", str(self.accounts), "--sessions", str(folder / "sessions.json"))
        self.dashboard = Dashboard(service.endpoints, service.keys, *options)


@pytest.fixture(scope="module")
def ward(running: tuple[FakeService, Dashboard], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    ward = Ward(running[0], tmp_path_factory.mktemp("ward"))
    with ward.dashboard:
        yield ward


@pytest.fixture
def page(chrome: Chrome, service: FakeService, ward: Ward) -> Iterator[Chrome]:
    """The room's page as a stranger's browser opens it."""
    chrome.get(ward.dashboard.address)
    chrome.delete_all_cookies()
    chrome.get_log("browser")
    chrome.get(ward.dashboard.address)
    wait_until(chrome, lambda: chrome.find_elements(By.ID, "by-password"))
    yield chrome
    chrome.delete_all_cookies()
    chrome.get("about:blank")


def text(page: Chrome, part: str) -> str:
    return page.find_element(By.ID, part).text


def wait_until(page: Chrome, true: Callable[[], object], what: str = "") -> None:
    """Also across pages: what is not there yet, or no more, is waited for."""
    waiting = WebDriverWait(
        page, PATIENCE_S, 0.05, ignored_exceptions=[NoSuchElementException, StaleElementReferenceException]
    )
    waiting.until(lambda _: true(), what)


def wait_for(page: Chrome, part: str, words: str) -> None:
    wait_until(page, lambda: words in text(page, part), f"{words!r} did not appear in {part}")


def log_in(page: Chrome, name: str, password: str = PASSWORD) -> None:
    field = page.find_element(By.ID, "name")
    field.clear()
    field.send_keys(name)
    page.find_element(By.ID, "password").send_keys(password + Keys.ENTER)


def is_hidden(page: Chrome, part: str) -> bool:
    visibility = page.execute_script(f"return getComputedStyle(document.getElementById('{part}')).visibility")
    return bool(visibility == "hidden")


def test_a_strangers_browser_comes_to_the_log_in_and_from_there_to_the_picture(page: Chrome, ward: Ward):
    assert page.current_url == ward.dashboard.address + "login.html"
    log_in(page, "ito")
    wait_for(page, "state", "LIVE")
    wait_for(page, "account", "ito may give orders")
    assert page.current_url == ward.dashboard.address


def test_a_wrong_password_is_told_where_a_screen_reader_hears_it_and_can_be_typed_again(page: Chrome):
    log_in(page, "nurse", "wrong wrong wrong")
    wait_for(page, "said", "Wrong name or password.")
    assert page.find_element(By.ID, "said").get_attribute("role") == "alert"
    assert page.switch_to.active_element == page.find_element(By.ID, "password")
    assert page.find_element(By.ID, "password").get_attribute("value") == ""
    page.find_element(By.ID, "password").send_keys(PASSWORD + Keys.ENTER)
    wait_for(page, "state", "LIVE")


def test_too_many_attempts_say_how_long_to_wait(page: Chrome):
    for _ in range(10):  # the first waits are short, and may be over before the next attempt
        log_in(page, "nobody", "wrong wrong wrong")
        wait_until(page, lambda: text(page, "said"))
        if text(page, "said").startswith("Too many attempts. Try again in"):
            return
    pytest.fail(text(page, "said"))


def test_the_log_in_works_with_the_keyboard_alone_and_every_field_has_a_name(page: Chrome):
    assert page.switch_to.active_element == page.find_element(By.ID, "name"), "ready to type"
    ActionChains(page).send_keys("ito", Keys.TAB, PASSWORD, Keys.TAB, Keys.ENTER).perform()
    wait_for(page, "state", "LIVE")


def test_every_field_of_the_log_in_has_a_label(page: Chrome):
    page.find_element(By.TAG_NAME, "summary").click()
    names = {field.get_attribute("id"): field.accessible_name for field in page.find_elements(By.TAG_NAME, "input")}
    assert names == {"name": "Name", "password": "Password", "token": "Token"}


def test_a_wall_screen_logs_in_by_its_token_with_the_keyboard(page: Chrome, ward: Ward):
    page.find_element(By.TAG_NAME, "summary").send_keys(Keys.ENTER)
    page.find_element(By.ID, "token").send_keys(ward.token + Keys.ENTER)
    wait_for(page, "account", "wall sees only")
    wait_for(page, "state", "LIVE")
    assert ward.token not in page.current_url


def test_nothing_serious_keeps_anyone_from_logging_in_nor_from_seeing_that_they_did(page: Chrome):
    assert not serious_findings(page)
    log_in(page, "nurse", "a wrong password")
    wait_for(page, "said", "Wrong")
    assert not serious_findings(page)
    log_in(page, "nurse")
    wait_for(page, "account", "nurse sees only")
    assert not serious_findings(page)


def test_a_viewer_sees_the_alert_and_cannot_acknowledge_it(page: Chrome, service: FakeService):
    log_in(page, "nurse")
    wait_for(page, "account", "nurse sees only")
    assert page.find_element(By.TAG_NAME, "body").get_attribute("data-role") == "viewer"
    service.scene.alerts = (CEMENT_IN_FORAMEN,)
    wait_for(page, "banner-text", "Cement in foramen S1L")
    buttons = page.find_elements(By.CSS_SELECTOR, "#alerts button, button.order")
    assert len(buttons) > 8
    assert not any(button.is_displayed() and button.is_enabled() for button in buttons)
    # A key is a wish that the service refuses in words.
    wait_until(page, lambda: page.execute_script("return document.querySelector('#alerts button') !== null"))
    time.sleep(0.6)
    page.find_element(By.TAG_NAME, "body").send_keys("a")
    wait_for(page, "refusal", "log in as an operator")
    assert not service.orders
    assert "Cement in foramen S1L" in text(page, "banner-text")


def test_an_operator_acknowledges_in_their_own_name(page: Chrome, service: FakeService):
    log_in(page, "ito")
    service.scene.alerts = (CEMENT_IN_FORAMEN,)
    wait_for(page, "alerts", "Cement in foramen")
    page.find_element(By.CSS_SELECTOR, "#alerts button").click()
    wait_until(page, lambda: service.orders)
    assert [(order.command, order.by) for order in service.orders] == [
        (Acknowledge(alert=CEMENT_IN_FORAMEN.id), "ito (local)")
    ]


def test_an_operator_takes_over_from_a_viewer_without_a_moment_logged_out(page: Chrome):
    log_in(page, "nurse")
    wait_for(page, "account", "nurse sees only")
    page.find_element(By.ID, "log-in").click()
    wait_until(page, lambda: page.find_elements(By.ID, "by-password"))
    log_in(page, "ito")
    wait_for(page, "account", "ito may give orders")


def test_logging_out_leaves_nothing_of_the_patient_on_the_screen(page: Chrome, ward: Ward):
    log_in(page, "ito")
    wait_for(page, "state", "LIVE")
    page.find_element(By.ID, "log-out").click()
    wait_until(page, lambda: page.find_elements(By.ID, "by-password"))
    page.back()
    wait_until(page, lambda: page.find_elements(By.ID, "by-password"))
    assert "login.html" in page.current_url, "the page behind is not shown from the browser's memory"


def test_a_session_that_ends_takes_the_picture_from_the_page(page: Chrome, ward: Ward):
    add_account(ward.accounts, "locum", Role.OPERATOR, PASSWORD)
    log_in(page, "locum")
    wait_for(page, "state", "LIVE")
    remove_account(ward.accounts, "locum")
    wait_for(page, "cover-word", "LOGGED OUT")
    assert is_hidden(page, "picture")
    assert is_hidden(page, "overlay")
    assert "stale" in (page.find_element(By.TAG_NAME, "body").get_attribute("class") or "")
    assert "none detected" not in text(page, "banner-text")
    page.find_element(By.ID, "log-in").click()
    wait_until(page, lambda: page.find_elements(By.ID, "by-password"))


def test_a_dashboard_that_is_started_again_finds_the_screen_logged_in(page: Chrome, ward: Ward):
    log_in(page, "nurse")
    wait_for(page, "state", "LIVE")
    ward.dashboard.kill()
    wait_for(page, "cover-word", "CONNECTION LOST")
    assert not is_hidden(page, "picture"), "grey, as it is only the line that is lost"
    ward.dashboard.start()
    wait_for(page, "state", "LIVE")
    wait_for(page, "account", "nurse sees only")


def test_neither_page_breaks_its_own_policy(page: Chrome):
    log_in(page, "ito")
    wait_for(page, "state", "LIVE")
    severe = [entry["message"] for entry in page.get_log("browser") if entry["level"] == "SEVERE"]
    assert severe == []
