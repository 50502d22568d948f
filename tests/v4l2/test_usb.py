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
def test_a_frame_that_the_kernel_drops_without_a_word_is_counted(fault: str, usb: Results) -> None:
    assert usb[fault]["dropped"] + usb[fault]["corrupt"] >= 1


def test_a_grabber_that_falls_silent_is_told_and_comes_back(usb: Results) -> None:
    assert usb["silence"]["told_ms"] is not None
    assert usb["after silence"]["recovered_ms"] is not None


def test_an_unplugged_grabber_is_told_and_taken_up_again_on_another_port_but_no_other_one(usb: Results) -> None:
    assert usb["unplug"]["told_ms"] is not None
    assert usb["stranger"]["state"] == "unplugged"
    assert usb["replug"]["recovered_ms"] is not None


def test_plugging_and_pulling_leaves_nothing_behind(usb: Results) -> None:
    assert usb["leaks"] == usb["before"]
