"""How long a recorded case takes to open, to seek in and to jump to an alert in, in a real Chromium.

``python -m tests.browser.review_times`` makes a case of half an hour: 54 000 frames of 1024 x 1024 at 30 a second, ten
pulses a second, each with findings as large as a leak's. Its pictures are a few that come again and again, so that it
takes a minute to make and not an hour; each is read from its own place and decoded like any other.
"""

import argparse
import json
import struct
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from selenium.webdriver import Chrome

from drivers.archived import INDEX, IndexRow
from drivers.frame import FrameFlag, SourceInfo, freeze
from drivers.sources import open_source
from guidance.casebook.archive import ArchivedCase
from guidance.casebook.recorder import ALERTS, FINDINGS, TIMELINE, CaseRecorder, edit_header
from guidance.plan import load_plan, plan_json
from tests.browser.room import chromium
from tests.unit.casebook.analysed import FIXTURES, record_analysed
from tests.unit.web.test_review import serving

CASE_ID = "20261130T090000-1"
FRAMES, RATE_HZ, REPEATS, SIDE_PX = 54_000, 30, 3, 1024
ALERT_EVERY_S = 30.0

# When the caption tells of another frame, its picture is drawn; the next animation frame puts it on the screen.
WATCH = """
window.shownAt = {};
const caption = document.getElementById("main-caption");
new MutationObserver(() => {
  const words = caption.textContent;
  requestAnimationFrame(() => setTimeout(() => { window.shownAt[words.split("frame ")[1]] = performance.now(); }));
}).observe(caption, { childList: true, characterData: true, subtree: true });
"""
OPENED = """
const done = arguments[arguments.length - 1];
const wait = () => document.getElementById("main-caption")?.textContent.includes("frame")
  ? requestAnimationFrame(() => setTimeout(() => done(performance.now())))
  : setTimeout(wait, 2);
wait();
"""
CLICKED = """
const [t_s, end_s, done] = arguments;
const timeline = document.getElementById("timeline");
const box = timeline.getBoundingClientRect();
const left = 5.6 * parseFloat(getComputedStyle(timeline).fontSize);
const x = box.left + left + (t_s / end_s) * (box.width - left - 4);
const began = performance.now();
window.shownAt = {};
const place = { clientX: x, clientY: box.top + 9, pointerId: 1, bubbles: true };
timeline.dispatchEvent(new PointerEvent("pointerdown", place));
const wait = () => {
  const shown = Object.values(window.shownAt);
  if (shown.length) done(Math.max(...shown) - began);
  else setTimeout(wait, 2);
};
wait();
"""
PRESSED = """
const [key, done] = arguments;
const began = performance.now();
window.shownAt = {};
document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
const wait = () => {
  const shown = Object.values(window.shownAt);
  if (shown.length) done(Math.max(...shown) - began);
  else setTimeout(wait, 2);
};
wait();
"""


def make_case(archive: Path, pictures: int = 90) -> Path:
    """The folder of the case; its pictures are a fixture's, enlarged, in a cycle."""
    with tempfile.TemporaryDirectory() as small:
        donor = record_analysed(Path(small))
        with ArchivedCase(donor) as case:
            lines = [case.findings_at(float(t_s)) for t_s in case.times_s]
            alerts = [json.loads(line) for line in (donor / ALERTS).read_text().splitlines()]
    plan = load_plan(FIXTURES / "leak_foramen" / "plan.json")
    info = SourceInfo("half an hour", SIDE_PX, SIDE_PX, 8, live=True)
    recorder = CaseRecorder(archive / CASE_ID, info, plan_json(plan))
    with open_source(str(FIXTURES / "leak_foramen")) as source:
        for frame, _ in zip(source, range(pictures), strict=False):
            large = cv2.resize(frame.pixels, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)
            noise = np.random.default_rng(frame.sequence).normal(0, 4, large.shape)
            recorder.frame(type(frame)(freeze(np.clip(large + noise, 0, 255).astype(np.uint8)), frame.t_s, 0))
    recorder.close()
    _stretch(archive / CASE_ID, lines, alerts)
    return archive / CASE_ID


def _stretch(folder: Path, lines: list[Any], alerts: list[Any]) -> None:
    """Let the recording's few pictures and findings stand for half an hour."""
    with ArchivedCase(folder) as case:
        crcs = [zlib.crc32(memoryview(case.frame(i).pixels)) for i in range(len(case))]  # type: ignore[arg-type]
    few = [json.loads(line) for line in (folder / INDEX).read_text().splitlines()]
    with (folder / INDEX).open("wb") as index, (folder / FINDINGS).open("wb") as findings:
        rows = (folder / TIMELINE).open("w", encoding="utf-8")
        for number in range(FRAMES):
            t_s = number / RATE_HZ
            picture = number // REPEATS % len(few)
            head = struct.pack("<dqi", t_s, number, FrameFlag.NONE.value)
            placed = {name: few[picture][name] for name in ("part", "at", "size")}
            row = IndexRow(number, t_s, number, 0, zlib.crc32(head, crcs[picture]), **placed)
            index.write(row.as_line())
            if number % REPEATS == 0:
                line = lines[number // REPEATS % len(lines)] | {"frame": number, "t_s": round(t_s, 6)}
                at = findings.tell()
                findings.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
                mm2 = sum(deposit["area_mm2"] or 0 for deposit in line["cement"]) or None
            told = {"t_s": round(t_s, 6), "at": at, "state": "live", "phase": line["phase"], "view": "ap"}
            rows.write(json.dumps(told | {"depths": {"1": 0.4}, "cement_mm2": mm2, "latency_ms": 30.0}) + "\n")
        rows.close()
    with (folder / ALERTS).open("w", encoding="utf-8") as file:
        for number in range(int(FRAMES / RATE_HZ / ALERT_EVERY_S)):
            raised = alerts[number % 2] | {"id": number, "t_s": 5 + number * ALERT_EVERY_S, "state": "raised"}
            for change in (raised, raised | {"t_s": raised["t_s"] + 9, "state": "cleared", "active": False}):
                file.write(json.dumps(change) + "\n")
    end_s = (FRAMES - 1) / RATE_HZ
    edit_header(folder, lambda header: header.model_copy(update={"frames": FRAMES, "duration_s": end_s}))


def measure(page: Chrome, address: str, times: int) -> dict[str, list[float]]:
    """Milliseconds of each opening, seek, jump and step.

    ``open``: a case that the server has not read yet; ``open once more``: one that it has open.
    """
    found: dict[str, list[float]] = {
        name: [] for name in ("open", "open once more", "seek", "jump to an alert", "step by a frame")
    }
    page.set_script_timeout(30)
    page.get(f"{address}review.html")
    for turn in range(max(3, times // 6)):
        for name, case_id in (("open", f"{CASE_ID}{turn}"), ("open once more", f"{CASE_ID}{turn}")):
            page.get("about:blank")
            page.get(f"{address}review-case.html#{case_id}")
            found[name].append(page.execute_async_script(OPENED))
    page.execute_script(WATCH)
    rng = np.random.default_rng(1)
    end_s = (FRAMES - 1) / RATE_HZ
    for t_s in rng.uniform(1, end_s - 1, times):
        found["seek"].append(page.execute_async_script(CLICKED, float(t_s), end_s))
    page.execute_async_script(CLICKED, 0.1, end_s)
    for _ in range(min(times, 50)):
        found["jump to an alert"].append(page.execute_async_script(PRESSED, "n"))
    for _ in range(times):
        time.sleep(0.15)  # as somebody who looks at each frame
        found["step by a frame"].append(page.execute_async_script(PRESSED, "ArrowRight"))
    return found


def played(page: Chrome, speed: str) -> str:
    """Pictures a second, and how much of the case a second, for five seconds from its middle."""
    page.execute_script("document.getElementById('speed').value = arguments[0]", speed)
    page.execute_script("document.getElementById('speed').dispatchEvent(new Event('change'))")
    page.execute_async_script(CLICKED, 900.0, (FRAMES - 1) / RATE_HZ)
    time.sleep(1)
    page.execute_script("window.shownAt = {}; document.getElementById('play').click()")
    time.sleep(5)
    numbers = [int(name) for name in page.execute_script("return Object.keys(window.shownAt)")]
    page.execute_script("document.getElementById('play').click()")
    span_s = (max(numbers) - min(numbers)) / RATE_HZ if numbers else 0.0
    return f"{float(speed):g}x: {len(numbers) / 5:.0f} frames shown a second, {span_s / 5:.2f} s of the case a second"


def main(arguments: list[str] | None = None) -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.review_times", description=__doc__)
    parser.add_argument("--times", type=int, default=30, help="how often each is done (default: %(default)s)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        made = make_case(Path(folder))
        for turn in range(max(3, options.times // 6)):
            (Path(folder) / f"{CASE_ID}{turn}").symlink_to(made)
        size = sum(file.stat().st_size for file in made.iterdir()) / 1e6
        print(f"made in {time.monotonic() - began:.0f} s: {FRAMES} frames, {size:.0f} MB")
        with serving(Path(folder)) as address, chromium() as page:
            for name, values in measure(page, address, options.times).items():
                low, high = np.percentile(values, [50, 95])
                print(f"{name:18} p50 {low:6.0f} ms   p95 {high:6.0f} ms   worst {max(values):6.0f} ms")
            for speed in ("0.125", "1", "4", "8"):
                print(f"played at {played(page, speed)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
