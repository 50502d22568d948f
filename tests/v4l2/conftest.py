"""Guest scripts run in a virtual machine, once for all tests; each result is found by its fault.

How long each fault took to be told and to be over is printed at the end of the run, for whoever wants to know.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.v4l2 import machine

TIMEOUT_S = 480

Results = dict[str, dict[str, Any]]

FIGURES = pytest.StashKey[list[str]]()


def run_guest(script: str, modules: tuple[str, ...], factory: pytest.TempPathFactory) -> Results:
    """What a guest script measured, by fault; "before" is what was open before the first."""
    if (words := machine.missing()) is not None:
        if os.environ.get("FLUOROGUIDE_REQUIRE_GRABBER") == "1":
            pytest.fail(words)
        pytest.skip(words)
    out = factory.mktemp("guest")
    console = machine.run(Path(__file__).with_name(script), [], modules, out, TIMEOUT_S)
    status = out / "status"
    ended = status.read_text().strip() if status.exists() else "the machine ended before its script"
    assert ended == "0", console + (out / "stderr").read_text()
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    before = next(line for line in lines if line["fault"] == "leaks")
    return {line["fault"]: line for line in lines} | {"before": before}


def note(request: pytest.FixtureRequest, results: Results) -> Results:
    """The same results, whose figures are printed at the end."""
    lines = request.config.stash.setdefault(FIGURES, [])
    for fault, result in results.items():
        if isinstance(result.get("told_ms"), list) and isinstance(result["recovered_ms"], list):
            told, recovered = (" / ".join(f"{ms:.0f}" for ms in result[name]) for name in ("told_ms", "recovered_ms"))
            lines.append(f"{fault:50} {told:>12} {recovered:>12}")
    return results


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = config.stash.get(FIGURES, [])
    if lines:
        terminalreporter.section("faults: median / longest in ms")
        terminalreporter.write_line(f"{'':50} {'told':>12} {'recovered':>12}")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def vivid(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Results:
    modules = ("vivid n_devs=1 num_inputs=2 input_types=0x3",)
    return note(request, run_guest("guest_vivid.py", modules, tmp_path_factory))


@pytest.fixture(scope="session")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Results:
    vivid = "vivid n_devs=1 num_inputs=2 input_types=0x3 num_outputs=1 output_types=0x1"
    return run_guest("guest_loop.py", (vivid,), tmp_path_factory)


@pytest.fixture(scope="session")
def usb(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Results:
    return note(request, run_guest("guest_usb.py", ("vhci-hcd", "uvcvideo"), tmp_path_factory))
