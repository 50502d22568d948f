"""How long a picture that is no longer live is still shown as live: from the end of what kept it so to the grey page.

    python -m tests.browser.staleness --runs 20

Needs Debian's chromium and chromium-driver.
"""

import argparse
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from selenium.webdriver import Chrome

from tests.browser.looking import wait_for, wait_until
from tests.browser.room import Dashboard, FakeService, chromium

# When the page greys itself, by the clock that this process reads too; false where it is not live to begin with.
WATCH = """
if (document.body.classList.contains("stale")) return false;
window.greyAt = null;
new MutationObserver(() => {
  if (window.greyAt === null && document.body.classList.contains("stale")) {
    // The frame after the change is the one that the room sees.
    requestAnimationFrame(() => { window.greyAt = Date.now() / 1000; });
  }
}).observe(document.body, {attributes: true, attributeFilter: ["class"]});
return true;
"""
PATIENCE_S = 10


@dataclass(frozen=True, slots=True)
class Ending:
    """A way in which a picture stops being live, and how that is mended."""

    name: str
    word: str
    begin: Callable[[FakeService, Dashboard], None]
    mend: Callable[[FakeService, Dashboard], None]


def _pictures(on: bool) -> Callable[[FakeService, Dashboard], None]:
    return lambda service, dashboard: setattr(service.scene, "pictures", on)


def _silence(on: bool) -> Callable[[FakeService, Dashboard], None]:
    def change(service: FakeService, dashboard: Dashboard) -> None:
        service.scene.pictures = service.scene.heartbeat = not on

    return change


ENDINGS = (
    Ending("server killed", "CONNECTION LOST", lambda _, web: web.kill(), lambda _, web: web.start()),
    Ending(
        "server stopped (SIGSTOP)",
        "CONNECTION LOST",
        lambda _, web: os.kill(web.pid, signal.SIGSTOP),
        lambda _, web: os.kill(web.pid, signal.SIGCONT),
    ),
    Ending("no more pictures", "NO NEW PICTURE", _pictures(False), _pictures(True)),
    Ending("analysis silent", "CONNECTION LOST", _silence(True), _silence(False)),
)


def grey_after_ms(page: Chrome, service: FakeService, dashboard: Dashboard, ending: Ending) -> float:
    """From the ending until the picture is grey on the screen. The page is live before and after."""
    wait_for(page, "state", "LIVE")
    time.sleep(0.6)
    wait_until(page, lambda: page.execute_script(WATCH), "the page is not live")
    since_s = time.time()
    ending.begin(service, dashboard)
    try:
        while (grey_s := page.execute_script("return window.greyAt")) is None:
            assert time.time() < since_s + PATIENCE_S, f"{ending.name}: the picture is still called live"
            time.sleep(0.02)
        wait_for(page, "cover-word", ending.word)
    finally:
        ending.mend(service, dashboard)
    return float(grey_s - since_s) * 1000


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.staleness", description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    runs = parser.parse_args(arguments).runs
    with FakeService() as service, Dashboard(service.endpoints, service.keys) as dashboard, chromium() as page:
        page.get(dashboard.address)
        print(f"{'':28}{'median':>8}{'longest':>9}   (ms until grey, of {runs})")
        for ending in ENDINGS:
            times_ms = [grey_after_ms(page, service, dashboard, ending) for _ in range(runs)]
            print(f"{ending.name:28}{statistics.median(times_ms):8.0f}{max(times_ms):9.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
