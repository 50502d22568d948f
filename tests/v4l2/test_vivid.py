"""The driver against the kernel's own virtual grabber, every fault injected, in a virtual machine."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.v4l2 import machine

pytestmark = pytest.mark.grabber

TIMEOUT_S = 480


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the guest measured, by fault; of "leaks" the last."""
    if (words := machine.missing()) is not None:
        if os.environ.get("FLUOROGUIDE_REQUIRE_GRABBER") == "1":
            pytest.fail(words)
        pytest.skip(words)
    out = tmp_path_factory.mktemp("vivid")
    script = Path(__file__).with_name("guest_vivid.py")
    console = machine.run(script, [], ["vivid n_devs=1 num_inputs=2 input_types=0x3"], out, TIMEOUT_S)
    status = out / "status"
    ended = status.read_text().strip() if status.exists() else "the machine ended before its script"
    assert ended == "0", console + (out / "stderr").read_text()
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    first_leaks = next(line for line in lines if line["fault"] == "leaks")
    return {line["fault"]: line for line in lines} | {"before": first_leaks}


@pytest.mark.parametrize("fault", ["no signal", "no lock", "out of range"])
def test_an_input_without_a_usable_signal_is_told_by_its_name_and_never_live(
    fault: str, results: dict[str, dict[str, Any]]
) -> None:
    result = results[fault]

    assert result["told_ms"] is not None
    assert result["live_while_lost"] == 0
    assert result["recovered_ms"] is not None


def test_other_timings_are_taken_up(results: dict[str, dict[str, Any]]) -> None:
    result = results["timings change"]

    assert (result["before"], result["after"]) == ([640, 480], [720, 480])
    assert result["recovered_ms"] is not None


def test_dropped_frames_are_counted_to_the_frame(results: dict[str, dict[str, Any]]) -> None:
    result = results["30 % dropped"]

    assert result["counted"] == result["gaps"] > 0


@pytest.mark.parametrize(
    "fault", ["corrupt buffer", "fatal stream error", "buffer refused", "stream refused to start", "disconnect"]
)
def test_a_fault_of_the_stream_is_told_and_over_by_itself(fault: str, results: dict[str, dict[str, Any]]) -> None:
    assert results[fault]["told_ms"] is not None
    assert results[fault]["recovered_ms"] is not None


@pytest.mark.parametrize("fault", ["sequence wraps", "timestamp wraps"])
def test_a_count_or_clock_that_wraps_goes_on(fault: str, results: dict[str, dict[str, Any]]) -> None:
    result = results[fault]

    assert result["in_order"]
    assert result["time_never_falls"]
    assert result["last"] - result["first"] + 1 == result["frames"] + result["dropped"]


def test_a_thousand_faults_in_a_row_are_all_told_and_leave_nothing_behind(results: dict[str, dict[str, Any]]) -> None:
    assert results["many in a row"]["count"] == 1000
    assert results["many in a row"]["missed"] == []
    assert results["leaks"] == results["before"]
