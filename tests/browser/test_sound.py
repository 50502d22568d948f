"""The bursts as they sound, against IEC 60601-1-8's figures: rendered by the browser, measured in the samples."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from guidance.records import Priority
from tests.browser.looking import wait_for, wait_until
from tests.browser.room import CEMENT_IN_FORAMEN, FakeService

pytestmark = pytest.mark.browser

RATE_HZ = 8000
LASTS_S = 4.0
RENDER = """
const [priority, rate, lasts, done] = arguments;
import("/sound.js").then(async ({burst}) => {
  const context = new OfflineAudioContext(1, rate * lasts, rate);
  burst(context, priority, 0.1);
  const samples = (await context.startRendering()).getChannelData(0);
  done([...samples].map((value) => Math.round(value * 1e4)));
});
"""


@dataclass(frozen=True)
class Pulse:
    """When a pulse begins and ends at a tenth of its height, and how long it rises from there to nine tenths."""

    begin_s: float
    end_s: float
    rise_s: float

    @property
    def lasts_s(self) -> float:
        return self.end_s - self.begin_s


def rendered(page: Chrome, priority: str) -> NDArray[np.float64]:
    page.set_script_timeout(20)
    return np.array(page.execute_async_script(RENDER, priority, RATE_HZ, LASTS_S), dtype=np.float64) / 1e4


def pulses(samples: NDArray[np.float64]) -> list[Pulse]:
    # The greatest of a period and a half of 440 Hz: the tone's envelope.
    span = round(1.5 * RATE_HZ / 440)
    envelope = np.lib.stride_tricks.sliding_window_view(np.abs(samples), span).max(axis=1)
    share = envelope / envelope.max()
    edges = np.flatnonzero(np.diff((share > 0.1).astype(int)))
    found = []
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        rise = np.argmax(share[begin : end + 1] > 0.9)
        found.append(Pulse(begin / RATE_HZ, end / RATE_HZ, rise / RATE_HZ))
    return found


def gaps(found: list[Pulse]) -> list[float]:
    return [after.begin_s - before.end_s for before, after in itertools.pairwise(found)]


def test_a_high_burst_is_three_and_two_pulses_twice(page: Chrome):
    found = pulses(rendered(page, "high"))
    assert len(found) == 10
    assert all(0.075 <= pulse.lasts_s <= 0.2 for pulse in found)
    between = gaps(found)
    short = [between[i] for i in (0, 1, 3, 5, 6, 8)]
    assert all(0.04 <= gap <= 0.125 for gap in short)
    assert max(short) - min(short) < 0.01, "one rhythm"
    third_to_fourth = [between[2], between[7]]
    assert third_to_fourth == pytest.approx([2 * short[0] + found[0].lasts_s] * 2, abs=0.03)
    assert 0.35 <= between[4] <= 1.3


def test_a_medium_burst_is_three_slower_pulses(page: Chrome):
    found = pulses(rendered(page, "medium"))
    assert len(found) == 3
    assert all(0.125 <= pulse.lasts_s <= 0.25 for pulse in found)
    assert all(0.125 <= gap <= 0.25 for gap in gaps(found))


def test_a_low_burst_is_two_pulses(page: Chrome):
    assert len(pulses(rendered(page, "low"))) == 2


@pytest.mark.parametrize("priority", list(Priority))
def test_a_pulse_rises_in_a_tenth_to_four_tenths_of_its_time(page: Chrome, priority: Priority):
    for pulse in pulses(rendered(page, priority.value)):
        assert 0.1 <= pulse.rise_s / pulse.lasts_s <= 0.4


def test_a_tone_has_four_harmonics_within_fifteen_decibels_so_that_it_can_be_located(page: Chrome):
    samples = rendered(page, "high")
    steady = samples[round(0.13 * RATE_HZ) : round(0.21 * RATE_HZ)]
    spectrum = np.abs(np.fft.rfft(steady * np.hanning(len(steady)), 4 * RATE_HZ))
    levels_db = [20 * np.log10(spectrum[4 * 440 * k] / spectrum[4 * 440]) for k in range(2, 6)]
    assert all(-15 <= level <= 15 for level in levels_db)


@pytest.mark.parametrize(("priority", "longest_s"), [("high", 15), ("medium", 30)])
def test_a_burst_comes_again_within_the_standards_time(page: Chrome, priority: str, longest_s: float):
    script = "import('/sound.js').then(({BURSTS}) => arguments[1](BURSTS[arguments[0]]));"
    burst = page.execute_async_script(script, priority)
    pause_s = burst["again"] - burst["at"][-1] - burst["lasts"]
    assert 2.5 <= pause_s <= longest_s


def test_a_page_that_may_not_sound_says_so_until_it_may(page: Chrome, service: FakeService):
    service.scene.alerts, service.scene.sounding = (CEMENT_IN_FORAMEN,), Priority.HIGH
    wait_for(page, "silence", "NO SOUND")
    silence = page.find_element(By.ID, "silence")
    height_px, letters = page.execute_script(
        "const s = arguments[0]; return [s.getBoundingClientRect().height,"
        " parseFloat(getComputedStyle(s.firstElementChild).fontSize) / innerHeight];",
        silence,
    )
    assert height_px > 40
    assert letters > 0.03
    silence.click()
    wait_until(page, lambda: not silence.is_displayed())
    wait_for(page, "sound", "Alerts are sounded.")
