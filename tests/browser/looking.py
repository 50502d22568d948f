"""What the browser tests share: reading the page's parts and waiting for words."""

from collections.abc import Callable

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

PATIENCE_S = 15


def text(page: Chrome, part: str) -> str:
    return page.find_element(By.ID, part).text


def wait_until(page: Chrome, holds: Callable[[], object], message: str = "") -> None:
    WebDriverWait(page, PATIENCE_S, 0.05).until(lambda _: holds(), message)


def wait_for(page: Chrome, part: str, words: str) -> None:
    WebDriverWait(page, PATIENCE_S, 0.05).until(
        lambda _: words in text(page, part), f"{words!r} did not appear in {part}, but {text(page, part)!r}"
    )
