"""From the capture of an x-ray pulse until it stands on the page's canvas: the real service, dashboard and Chromium.

    python -m tests.browser.latency [alone] [rates] [several] [stalled] [memory] [--viewers N] [--seconds S] [--json]

Pulses of 1024 x 1024 carry the moment of their capture as a barcode in their own pixels, outside the x-ray field; it is
read back from the canvas after the browser has painted it. Roots, a needle and cement are in sight, and the analysis
runs. What is not in it: the screen, and what the compositor does after the page has painted.

``alone``: one viewer, and how soon a browser that was never used before shows its first picture. ``rates``: one viewer
at 15 and 7.5 pulses a second. ``several``: ``--viewers`` at once, each a browser of its own. ``stalled``: one viewer
beside one that has opened the line and never reads, and beside a browser that was stopped, by turns with neither.
``memory``: of every process over ``--minutes``. Without a name all but the last. Needs Debian's chromium and
chromium-driver, and 400 MB for the pulses. ``latency_both_sides.toml`` is a scenario with two of everything.
"""

import argparse
import base64
import json
import os
import platform
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np
from selenium.webdriver import Chrome

from tests.browser import barcode
from tests.browser.room import chromium
from tests.browser.stamped import SCENARIO, VIDEO_HZ, render, since_s

PAINTED: Final = Path(__file__).with_name("painted.js")
SETTLED_S: Final = 15.0
"""From the start of the service until all that is watched is in sight."""
CLOCK_TRIES: Final = 40
TURNS: Final = 5
STALLED_S: Final = 6.0
"""Of each turn: the dashboard cuts off a viewer that does not answer for longer than ``web.live.PATIENCE_S``."""
MEMORY_EVERY_S: Final = 15.0
PATIENCE_S: Final = 60.0
WHEN: Final = ("came", "decoded", "drawn", "painted")
FOUND: Final = ("needles", "roots", "cement", "alerts")
LEGS: Final = ("capture to findings", "to the message", "to the page", "to decoded", "to drawn", "to painted")


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Milliseconds."""

    p50: float
    p95: float
    p99: float
    max: float

    @classmethod
    def of(cls, ms: list[float]) -> "Quantiles":
        return cls(*(round(float(value), 1) for value in (*np.percentile(ms, (50, 95, 99)), max(ms))))


@dataclass(frozen=True, slots=True)
class Seen:
    """What one viewer was shown. ``clock_error_ms``: how far off its clock may be. ``unreadable``: barcodes."""

    painted: int
    painted_hz: float
    captured_to_painted_ms: Quantiles
    legs_ms: dict[str, Quantiles]
    clock_error_ms: float
    unreadable: int
    found: dict[str, float]
    """How many needles, roots, deposits and alerts stood on a picture, in the mean."""


@dataclass(slots=True)
class Report:
    """All that was measured, with the machine and its load."""

    machine: str = field(default_factory=lambda: f"{os.cpu_count()} x {platform.machine()}, {platform.platform()}")
    load_before: tuple[float, ...] = field(default_factory=os.getloadavg)
    load_after: tuple[float, ...] = ()
    first_picture_ms: list[float] = field(default_factory=list)
    measured: dict[str, list[Seen]] = field(default_factory=dict)
    stalled_ms: dict[str, dict[str, Any]] = field(default_factory=dict)
    memory: dict[str, dict[str, Any]] = field(default_factory=dict)

    def as_table(self) -> str:
        lines = [self.machine, f"load {self.load_before[0]:.2f} before, {self.load_after[0]:.2f} after", ""]
        if self.measured:
            lines.append(
                f"{'capture to painted, ms':28}{'p50':>8}{'p95':>8}{'p99':>8}{'max':>8}{'painted/s':>11}  clock"
            )
        for name, viewers in self.measured.items():
            for number, seen in enumerate(viewers, 1):
                label = name if len(viewers) == 1 else f"{name}, {number}"
                row = "".join(f"{value:8.1f}" for value in asdict(seen.captured_to_painted_ms).values())
                lines.append(f"{label:28}{row}{seen.painted_hz:11.1f}  ± {seen.clock_error_ms:.2f}")
                if seen.unreadable:
                    lines.append(f"{'':28}  {seen.unreadable} barcodes could not be read")
        for name, viewers in self.measured.items():
            lines += ["", f"{name}: its legs, ms" + (" (first viewer)" if len(viewers) > 1 else "")]
            for leg, ms in viewers[0].legs_ms.items():
                lines.append(f"  {leg:26}" + "".join(f"{value:8.1f}" for value in asdict(ms).values()))
            found = ", ".join(f"{count:g} {what}" for what, count in viewers[0].found.items())
            lines.append(f"  in sight, in the mean: {found}")
        if self.first_picture_ms:
            words = ", ".join(f"{ms:.0f}" for ms in self.first_picture_ms)
            lines += ["", f"first picture after opening, each in a browser never used before, ms: {words}"]
        for name, figures in self.stalled_ms.items():
            lines += [
                "",
                f"{name}: the other viewer's p50 by turns, ms: {figures['without']} without, {figures['with']} with",
            ]
            lines.append(f"  added: {figures['added']:+.1f} ms at the median of the turns")
        if self.memory:
            lines += ["", f"{'memory, MiB':28}{'begin':>9}{'end':>9}{'most':>9}{'slope/30 min':>14}"]
            for name, figures in self.memory.items():
                row = "".join(f"{figures[key]:9.1f}" for key in ("begin", "end", "most"))
                lines.append(f"{name:28}{row}{figures['slope']:14.2f}")
        return "\n".join(lines)

    def as_json(self) -> str:
        return json.dumps(asdict(self), indent=2)


class Viewer:
    """A page of a browser of its own, which notes what it paints."""

    def __init__(self, driver: Chrome, address: str) -> None:
        self.driver = driver
        layout = f"const LAYOUT = {json.dumps(barcode.LAYOUT)};\n"
        source = layout + PAINTED.read_text(encoding="utf-8")
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})
        driver.get(address)
        self._records: list[dict[str, Any]] = []
        until_s = time.monotonic() + PATIENCE_S
        while not self._take():
            assert time.monotonic() < until_s, "the page has painted no picture"
            time.sleep(0.05)
        self.first_picture_ms: float = self._records[0]["painted"]
        self.origin_s, self.clock_error_s = self._clock()

    def _take(self) -> list[dict[str, Any]]:
        self._records += self.driver.execute_script("return paintedSince()")
        return self._records

    def _clock(self) -> tuple[float, float]:
        """When the page's clock was 0, by the monotonic clock, and how far off that may be.

        Each look at the page's clock came after it was asked for and before it was answered; all bounds together are
        narrower than any. No assumption about either clock but that both run evenly.
        """
        bounds = []
        for _ in range(CLOCK_TRIES):
            before_s = time.monotonic()
            page_s = self.driver.execute_script("return performance.now()") / 1000
            bounds.append((before_s - page_s, time.monotonic() - page_s))
        earliest_s, latest_s = max(low for low, _ in bounds), min(high for _, high in bounds)
        return (earliest_s + latest_s) / 2, abs(latest_s - earliest_s) / 2

    def begin(self) -> None:
        self._take()
        self._records.clear()
        self._begun_s = time.monotonic()

    def end(self) -> Seen:
        seconds = time.monotonic() - self._begun_s
        records = self._take()
        first = {record["number"]: record for record in reversed(records)}
        # What stands on the canvas is drawn again where something else has changed, or nothing comes: that is no pulse.
        readable = [
            record for number, record in first.items() if number is not None and record["analysed_ms"] is not None
        ]
        assert readable, "no barcode could be read"
        legs: dict[str, list[float]] = {leg: [] for leg in LEGS}
        whole = []
        for record in readable:
            ms = {key: 1000 * since_s(record["number"], self.origin_s + record[key] / 1000) for key in WHEN}
            captured_s = [0.0, record["analysed_ms"], record["age_ms"], *(ms[key] for key in WHEN)]
            for leg, (begin, end) in zip(LEGS, pairwise(captured_s), strict=True):
                legs[leg].append(end - begin)
            whole.append(ms["painted"])
        found = {what: round(float(np.mean([r[what] for r in readable])), 2) for what in FOUND}
        return Seen(
            painted=len(readable),
            painted_hz=round(len(readable) / seconds, 1),
            captured_to_painted_ms=Quantiles.of(whole),
            legs_ms={leg: Quantiles.of(ms) for leg, ms in legs.items()},
            clock_error_ms=round(1000 * self.clock_error_s, 2),
            unreadable=sum(record["number"] is None for record in records),
            found=found,
        )

    @property
    def heap_mib(self) -> float:
        """What the page's scripts hold, once the garbage is out."""
        self.driver.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
        metrics = self.driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
        return next(metric["value"] for metric in metrics if metric["name"] == "JSHeapUsedSize") / 2**20


@dataclass(frozen=True, slots=True)
class Room:
    """A service that runs: the dashboard's address and both processes."""

    address: str
    service: int
    web: int


@contextmanager
def running(pulses: Path, pulse_hz: float = VIDEO_HZ) -> Iterator[Room]:
    """The service in a process of its own, once all that is watched is in sight."""
    command = [sys.executable, "-m", "tests.browser.stamped", str(pulses), "--pulse-hz", f"{pulse_hz:g}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        try:
            assert service.stdout is not None
            line = service.stdout.readline()
            told = re.search(r"http://\S+", line)
            assert told is not None, f"the service has told no address: {line!r}"
            (web,) = _children(service.pid)
            time.sleep(SETTLED_S)
            yield Room(told[0], service.pid, web)
        finally:
            service.send_signal(signal.SIGTERM)
            service.wait(10)


@contextmanager
def viewers(room: Room, count: int) -> Iterator[list[Viewer]]:
    """Pages, each in a browser of its own, opened one after the other."""
    with ExitStack() as closing:
        yield [Viewer(closing.enter_context(chromium()), room.address) for _ in range(count)]


def watch(pages: list[Viewer], seconds: float) -> list[Seen]:
    for page in pages:
        page.begin()
    time.sleep(seconds)
    return [page.end() for page in pages]


def measure_stalled(room: Room, page: Viewer) -> dict[str, dict[str, Any]]:
    """What each kind of stalled viewer adds to another one's latency, by turns with none."""
    figures = {}
    for name, stall in STALLS.items():
        without, beside = [], []
        for _ in range(TURNS):
            without += watch([page], STALLED_S)
            with stall(room):
                # Until its buffers are full.
                time.sleep(2.0)
                beside += watch([page], STALLED_S)
        medians = [[seen.captured_to_painted_ms.p50 for seen in turns] for turns in (without, beside)]
        figures[name] = {"without": medians[0], "with": medians[1], "added": median(medians[1]) - median(medians[0])}
    return figures


@contextmanager
def _never_reads(room: Room) -> Iterator[None]:
    """A program that opens the live line and neither reads nor answers."""
    where = urlsplit(room.address)
    assert where.hostname is not None
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with line:
        line.connect((where.hostname, where.port or 80))
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        line.sendall(
            f"GET /live HTTP/1.1\r\nHost: {where.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        yield


@contextmanager
def _stopped_browser(room: Room) -> Iterator[None]:
    """A browser whose every process was stopped while it showed the page."""
    with chromium() as driver:
        Viewer(driver, room.address)
        browser = _browser_of(driver)
        processes = [browser, *_descendants(browser)]
        for pid in processes:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in processes:
                os.kill(pid, signal.SIGCONT)


STALLS: Final[dict[str, Callable[[Room], Any]]] = {
    "beside a line that is never read": _never_reads,
    "beside a stopped browser": _stopped_browser,
}


def measure_memory(room: Room, page: Viewer, minutes: float) -> dict[str, dict[str, Any]]:
    """Of service, dashboard and page, every quarter of a minute; the slope leaves out the first third, while all warms
    up."""
    page.driver.execute_cdp_cmd("Performance.enable", {})
    at_s: list[float] = []
    held: dict[str, list[float]] = {"service": [], "dashboard": [], "browser, all processes": [], "page's scripts": []}
    browser = _browser_of(page.driver)
    begun_s = time.monotonic()
    while time.monotonic() - begun_s < 60 * minutes:
        page.begin()
        time.sleep(MEMORY_EVERY_S)
        at_s.append(time.monotonic() - begun_s)
        chromium_mib = sum(_resident_mib(pid) for pid in [browser, *_descendants(browser)])
        for name, mib in zip(
            held, (_resident_mib(room.service), _resident_mib(room.web), chromium_mib, page.heap_mib), strict=True
        ):
            held[name].append(mib)
    warm = len(at_s) // 3
    return {
        name: {
            "begin": mib[warm],
            "end": mib[-1],
            "most": max(mib),
            "slope": float(np.polyfit(at_s[warm:], mib[warm:], 1)[0]) * 1800,
            "all": [round(value, 2) for value in mib],
        }
        for name, mib in held.items()
    }


def _resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    # Not the pulses' file, which the service has in its map.
    kib = re.search(r"RssAnon:\s+(\d+) kB", status)
    return 0.0 if kib is None else int(kib[1]) / 1024


def _browser_of(driver: Chrome) -> int:
    (browser,) = _children(driver.service.process.pid)
    return browser


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def _descendants(pid: int) -> list[int]:
    children = _children(pid)
    return children + [below for child in children for below in _descendants(child)]


def measure(parts: set[str], pulses: Path, options: argparse.Namespace) -> Report:
    report = Report()
    if parts & {"alone", "several", "stalled", "memory"}:
        with running(pulses) as room:
            if "alone" in parts:
                with viewers(room, 1) as pages:
                    report.measured["one viewer"] = watch(pages, options.seconds)
                report.first_picture_ms.append(pages[0].first_picture_ms)
                for _ in range(options.openings - 1):
                    with viewers(room, 1) as pages:
                        report.first_picture_ms.append(pages[0].first_picture_ms)
            if "several" in parts:
                with viewers(room, options.viewers) as pages:
                    report.measured[f"{options.viewers} viewers"] = watch(pages, options.seconds)
            if "stalled" in parts:
                with viewers(room, 1) as pages:
                    report.stalled_ms = measure_stalled(room, pages[0])
            if "memory" in parts:
                with viewers(room, 1) as pages:
                    report.memory = measure_memory(room, pages[0], options.minutes)
    if "rates" in parts:
        for pulse_hz in (15.0, 7.5):
            with running(pulses, pulse_hz) as room, viewers(room, 1) as pages:
                report.measured[f"{pulse_hz:g} pulses a second"] = watch(pages, options.seconds)
    report.load_after = os.getloadavg()
    return report


PARTS: Final = ("alone", "rates", "several", "stalled", "memory")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.browser.latency", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all but memory)")
    parser.add_argument("--viewers", type=int, default=5, help="for `several` (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each measurement (default: %(default)s)")
    parser.add_argument("--openings", type=int, default=5, help="browsers for the first picture (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=30.0, help="of `memory` (default: %(default)s)")
    parser.add_argument("--scenario", type=Path, default=SCENARIO, help="another .toml file of 30 pulses a second")
    parser.add_argument("--pulses", type=Path, help="FILE.npy that keeps the rendered pulses, for a further run")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    parts = set(options.parts) or set(PARTS) - {"memory"}
    if parts - set(PARTS):
        parser.error(f"{', '.join(sorted(parts - set(PARTS)))}: expected {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory(prefix="fluoroguide-latency-") as folder:
        pulses = options.pulses or Path(folder) / "pulses.npy"
        if not pulses.exists():
            render(pulses, options.scenario)
        report = measure(parts, pulses, options)
    print(report.as_json() if options.json else report.as_table())
    return 0


if __name__ == "__main__":
    sys.exit(main())
