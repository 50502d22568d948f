"""Every fault of a grabber, from the card to the words over the picture; how long it takes: ``grabber_faults.py``."""

import pytest
from selenium.webdriver import Chrome

from tests.browser.grabber_faults import Told, tell_all


@pytest.fixture(scope="module")
def told(chrome: Chrome) -> dict[str, Told]:
    return {one.fault: one for one in tell_all(chrome)}


@pytest.mark.parametrize(
    ("fault", "word", "detail", "alert"),
    [
        ("no signal", "NO SIGNAL", "no signal at the input", "video_lost"),
        ("no lock", "NO SIGNAL", "cannot lock to", "video_lost"),
        ("silence", "NO SIGNAL", "stopped delivering", "video_lost"),
        ("unplugged", "NO SIGNAL", "unplugged", "video_lost"),
        ("damaged buffers", "CORRUPT", "damaged", "video_corrupt"),
        ("frozen", "FROZEN", "repeats one picture", "video_frozen"),
    ],
)
def test_a_fault_stands_over_the_picture_and_its_alert_is_raised_and_cleared_by_itself(
    told: dict[str, Told], fault: str, word: str, detail: str, alert: str
) -> None:
    assert told[fault].word == word
    assert detail in told[fault].detail
    assert not told[fault].live_meanwhile
    assert told[fault].alerts == [f"{alert} raised", f"{alert} cleared"]


def test_a_held_image_beside_a_running_clock_is_named_and_no_alarm(told: dict[str, Told]) -> None:
    assert told["held"].word == "HELD"
    assert told["held"].alerts == []
