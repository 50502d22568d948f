"""Makes the README's picture of the dashboard: starts the demo, waits for a moment, writes a PNG.

    python -m tests.browser.screenshot
    python -m tests.browser.screenshot --at 17.5 --out docs/images/dashboard.png

Needs Debian's chromium and chromium-driver.
"""

import argparse
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium.common.exceptions import TimeoutException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser.room import chromium

DEMO = "import sys; from guidance.cli import main; sys.exit(main(sys.argv[1:]))"
OUT = Path(__file__).parents[2] / "docs" / "images" / "dashboard.png"
# The moment comes round again when the demo starts anew.
PATIENCE_S = 180
# Numbers beside the picture follow it by a fifth of a second.
SETTLE_S = 0.4


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshot", description=__doc__)
    moment = parser.add_mutually_exclusive_group()
    moment.add_argument(
        "--alert", default="Cement in foramen", help="words in the banner to wait for (default: %(default)s)"
    )
    moment.add_argument("--at", type=float, help="seconds of the recording to wait for")
    parser.add_argument("--address", help="a dashboard that runs already; default: start the demo")
    parser.add_argument("--scenario", default="phantom://demo")
    parser.add_argument("--size", type=int, nargs=2, default=(1600, 1000), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    with _dashboard(options.address, options.scenario) as address, chromium(*options.size) as page:
        # A still must not be taken in the dark half of a flash.
        still = {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]}
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", still)
        page.get(address)
        # Until somebody touches it, the page says that it may not sound.
        page.find_element(By.TAG_NAME, "body").click()
        try:
            WebDriverWait(page, PATIENCE_S, 0.05).until(lambda _: _has_come(page, options.at, options.alert))
        except TimeoutException:
            print(f"the moment did not come within {PATIENCE_S} s", file=sys.stderr)
            return 1
        time.sleep(SETTLE_S)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        page.save_screenshot(str(options.out))
    print(options.out)
    return 0


def _has_come(page: Chrome, at_s: float | None, alert: str) -> bool:
    if page.find_element(By.ID, "state").text != "LIVE":
        return False
    if at_s is None:
        return alert in page.find_element(By.ID, "banner-text").text
    time_shown = re.search(r"Time\s+([\d.]+) s", page.find_element(By.ID, "situation").text)
    return time_shown is not None and at_s <= float(time_shown[1]) < at_s + 1.0


@contextmanager
def _dashboard(address: str | None, scenario: str) -> Iterator[str]:
    """The address of a running dashboard, or of the demo's for as long as it is needed."""
    if address is not None:
        yield address
        return
    ports = ["--port", "0", "--bus-port", "0"]  # any free ones
    command = [sys.executable, "-u", "-c", DEMO, "demo", "--scenario", scenario, *ports]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
        try:
            assert demo.stdout is not None
            found = next(filter(None, (re.search(r"http://\S+", line) for line in demo.stdout)), None)
            if found is None:
                raise SystemExit("the demo ended before it told its dashboard's address")
            yield found[0]
        finally:
            demo.send_signal(signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
