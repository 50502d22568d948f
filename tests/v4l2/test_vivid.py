"""The driver against the kernel's own virtual grabber, every fault injected, in a virtual machine."""

import pytest

from tests.v4l2.conftest import Results

pytestmark = pytest.mark.grabber


@pytest.mark.parametrize("percent", [10, 30, 60])
def test_dropped_frames_are_counted_to_the_frame(percent: int, vivid: Results) -> None:
    result = vivid[f"{percent} % dropped"]

    assert result["counted"] == result["gaps"] > 0


@pytest.mark.parametrize(("choice", "size"), [(2, [720, 480]), (0, [640, 480])])
def test_other_timings_are_taken_up_by_themselves(choice: int, size: list[int], vivid: Results) -> None:
    result = vivid[f"timings {choice}"]

    assert result["info"] == size
    assert result["shapes"] == [size[::-1]]


def test_interlaced_video_is_told_as_out_of_range_and_never_live(vivid: Results) -> None:
    result = vivid["interlaced"]

    assert result["told_ms"] is not None
    assert result["live_while_lost"] == 0
    assert result["recovered_ms"] is not None


def test_a_thousand_faults_in_a_row_are_all_told_by_name_and_over_by_themselves(vivid: Results) -> None:
    result = vivid["a thousand in a row"]

    assert result["count"] == 1000
    assert result["missed"] == []
    assert result["held_after"] == result["held_before"]


def test_a_webcam_input_brings_the_rate_that_it_is_asked_for(vivid: Results) -> None:
    for rate_hz in (30, 10):
        result = vivid[f"webcam at {rate_hz}/s"]
        assert result["told_hz"] == rate_hz
        assert result["measured_hz"] == pytest.approx(rate_hz, rel=0.05)


def test_the_faults_of_a_webcam_input_are_told_and_over_by_themselves(vivid: Results) -> None:
    assert vivid["webcam"]["missed"] == []
    assert vivid["webcam"]["held_after"] == vivid["webcam"]["held_before"]


@pytest.mark.parametrize("fault", ["sequence wraps", "timestamp wraps"])
def test_a_count_or_clock_that_wraps_goes_on(fault: str, vivid: Results) -> None:
    result = vivid[fault]

    assert result["in_order"]
    assert result["time_never_falls"]
    assert result["time_passed_share"] == pytest.approx(1, abs=0.1)
    assert result["last"] - result["first"] + 1 == result["frames"] + result["dropped"]


@pytest.mark.parametrize("code", ["Y10", "Y12", "Y16", "YUYV", "UYVY", "NV12", "RGB3", "BGR3"])
def test_every_format_gives_the_same_picture(code: str, vivid: Results) -> None:
    result = vivid[f"format {code}"]

    assert result["bits"] == {"Y10": 10, "Y12": 12, "Y16": 16}.get(code, 8)
    # What rounding twice, to limited range and back, may cost.
    assert result["away"] <= (0 if result["bits"] > 8 else 1)
    assert result["ends_away"] <= 1


def test_devices_lists_inputs_signal_timings_formats_rates_and_the_edid_that_was_written(vivid: Results) -> None:
    good, bad, webcam = (
        vivid[name]["devices"][0] for name in ("listed in mode 4", "listed in mode 2", "webcam listed")
    )

    assert [entry["name"] for entry in good["inputs"]] == ["HDMI 0", "Webcam 0"]
    assert (good["inputs"][0]["signal"], good["inputs"][0]["edid_bytes"]) == ("live", 128)
    assert "480p" in good["inputs"][0]["timings"]
    assert bad["inputs"][0]["signal"] == "no_lock"
    assert [entry["is_chosen"] for entry in webcam["inputs"]] == [False, True]
    small = next(mode for mode in webcam["modes"] if (mode["format"], mode["width_px"]) == ("UYVY", 320))
    assert {60, 30, 25} < set(small["rates_hz"])


def test_nothing_is_left_behind(vivid: Results) -> None:
    assert vivid["leaks"] == vivid["before"]


@pytest.mark.parametrize("code", ["GREY", "UYVY"])
def test_the_pixels_that_come_out_are_the_pixels_that_went_in(code: str, loop: Results) -> None:
    result = loop[f"loop {code}"]

    assert (result["frames"], result["unknown"]) == (60, 0)
    assert result["different"] > 8
