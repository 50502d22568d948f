"""The driver behind the kernel's real uvcvideo driver, with a USB grabber in software, in a virtual machine."""

import pytest

from tests.v4l2.conftest import Results

pytestmark = pytest.mark.grabber


def test_a_grabber_that_is_plugged_in_is_listed(usb: Results) -> None:
    assert usb["plug"]["url"] is not None


def test_the_pixels_that_come_out_are_the_pixels_that_went_in(usb: Results) -> None:
    assert usb["content"]["frames"] == 30
    assert usb["content"]["unknown"] == 0
    assert usb["content"]["in_order"]


@pytest.mark.parametrize("fault", ["error", "short"])
def test_a_frame_that_the_kernel_drops_without_a_word_is_counted_to_the_frame(fault: str, usb: Results) -> None:
    assert usb[fault]["dropped"] == usb[fault]["count"]
    assert usb[fault]["corrupt"] == 0


def test_a_grabber_that_falls_silent_is_told_and_comes_back(usb: Results) -> None:
    assert usb["silence"]["told_ms"] is not None
    assert usb["silence"]["recovered_ms"] is not None


def test_an_unplugged_grabber_is_told_and_taken_up_again_under_another_number_but_no_other_one(usb: Results) -> None:
    assert usb["replug"]["told_ms"] is not None
    assert usb["stranger"]["state"] == "unplugged"
    assert usb["replug"]["recovered_ms"] is not None
    assert usb["replug"]["after"] != usb["replug"]["before"]


def test_plugging_and_pulling_again_and_again_leaves_nothing_behind(usb: Results) -> None:
    result = usb["replugged again and again"]

    assert (result["count"], result["missed"]) == (10, 0)
    assert result["held_after"] == result["held_before"]
    assert usb["leaks"] == usb["before"]
