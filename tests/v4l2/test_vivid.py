"""The driver against the kernel's own virtual grabber, every fault injected, in a virtual machine."""

import pytest

from tests.v4l2.conftest import Results

pytestmark = pytest.mark.grabber


@pytest.mark.parametrize("fault", ["no signal", "no lock", "out of range"])
def test_an_input_without_a_usable_signal_is_told_by_its_name_and_never_live(fault: str, vivid: Results) -> None:
    result = vivid[fault]

    assert result["told_ms"] is not None
    assert result["live_while_lost"] == 0
    assert result["recovered_ms"] is not None


def test_other_timings_are_taken_up(vivid: Results) -> None:
    result = vivid["timings change"]

    assert (result["before"], result["after"]) == ([640, 480], [720, 480])
    assert result["recovered_ms"] is not None


def test_dropped_frames_are_counted_to_the_frame(vivid: Results) -> None:
    result = vivid["30 % dropped"]

    assert result["counted"] == result["gaps"] > 0


@pytest.mark.parametrize(
    "fault", ["corrupt buffer", "fatal stream error", "buffer refused", "stream refused to start", "disconnect"]
)
def test_a_fault_of_the_stream_is_told_and_over_by_itself(fault: str, vivid: Results) -> None:
    assert vivid[fault]["told_ms"] is not None
    assert vivid[fault]["recovered_ms"] is not None


@pytest.mark.parametrize("fault", ["sequence wraps", "timestamp wraps"])
def test_a_count_or_clock_that_wraps_goes_on(fault: str, vivid: Results) -> None:
    result = vivid[fault]

    assert result["in_order"]
    assert result["time_never_falls"]
    assert result["last"] - result["first"] + 1 == result["frames"] + result["dropped"]


def test_a_thousand_faults_in_a_row_are_all_told_and_leave_nothing_behind(vivid: Results) -> None:
    assert vivid["many in a row"]["count"] == 1000
    assert vivid["many in a row"]["missed"] == []
    assert vivid["leaks"] == vivid["before"]


@pytest.mark.parametrize("code", ["GREY", "UYVY"])
def test_the_pixels_that_come_out_are_the_pixels_that_went_in(code: str, loop: Results) -> None:
    result = loop[f"loop {code}"]

    assert (result["frames"], result["unknown"]) == (60, 0)
    assert result["different"] > 8
