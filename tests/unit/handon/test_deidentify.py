"""Burned-in text goes, the x-ray picture stays."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from drivers.frame import Frame, FrameFlag
from guidance.handon import HandOnError
from guidance.handon.deidentify import deidentified, preview, survey
from tests.unit.handon.made import picture

REAL = Path(__file__).parents[4] / "shared" / "data" / "carm_hip_dev"

needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="the real C-arm pictures of carm_hip_dev are not at hand")


def with_text(
    pixels: NDArray[np.uint8], xy: tuple[int, int], words: str, level: int, height_px: int
) -> NDArray[np.uint8]:
    image = Image.fromarray(pixels)
    ImageDraw.Draw(image).text(xy, words, fill=level, font=ImageFont.load_default(height_px))
    return np.array(image)


def ink(written: NDArray[np.uint8], before: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.abs(written.astype(np.int16) - before) > 20


def frames(pictures: list[NDArray[np.uint8]], flags: FrameFlag = FrameFlag.NONE) -> list[Frame]:
    return [Frame(pixels, i / 30, i, flags=flags) for i, pixels in enumerate(pictures)]


def test_nothing_stands_beside_the_field_any_more_and_the_field_is_untouched() -> None:
    before = picture(1)
    shown, boxes = deidentified(before)
    y, x = np.mgrid[: before.shape[0], : before.shape[1]]
    far = np.hypot(x - 160, y - 128)
    assert shown[far > 125].max() == 0
    # But for its rim, to which a row of letters comes close.
    np.testing.assert_array_equal(shown[far < 100], before[far < 100])
    assert any(x0 < 20 and y0 < 14 for x0, y0, _, _ in boxes)


def test_a_row_of_text_in_the_field_goes_as_a_whole() -> None:
    before = picture(1, text="")
    for level, height_px in ((255, 14), (0, 16), (230, 20)):
        written = with_text(before, (80, 120), "ANNE MULLER 1950", level, height_px)
        shown, _ = deidentified(written)
        assert shown[ink(written, before)].max() == 0


def test_a_picture_of_16_bits_keeps_all_of_them() -> None:
    before = picture(1, bits=12)
    shown, _ = deidentified(before, bits=12)
    assert shown.dtype == np.uint16
    np.testing.assert_array_equal(shown[100:150, 120:200], before[100:150, 120:200])
    assert shown[:16, :90].max() == 0


def test_text_that_stands_through_a_case_goes_from_frames_on_which_it_is_not_seen() -> None:
    pictures = [with_text(picture(i), (90, 120), "ANNE MULLER", 255, 16) for i in range(8)]
    faint = with_text(picture(9), (90, 120), "ANNE MULLER", 150, 16)
    shown, _ = survey(frames(pictures)).apply(faint, 8)
    assert shown[122:134, 92:180].max() == 0


def test_a_menu_that_was_on_the_screen_for_a_moment_is_shown_nowhere_but_in_the_field() -> None:
    menu = np.full((256, 320), 40, np.uint8)
    cv2.putText(menu, "PATIENT LIST", (4, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 1)
    redaction = survey(frames([*(picture(i) for i in range(6)), menu]))
    shown, _ = redaction.apply(menu, 8)
    assert shown[:, :30].max() == 0


def test_damaged_frames_say_nothing_about_the_field() -> None:
    with pytest.raises(HandOnError, match="no sound frame"):
        survey(frames([picture(1)], FrameFlag.CORRUPT))


def test_a_picture_of_another_size_is_refused() -> None:
    with pytest.raises(HandOnError, match="expected 320x256"):
        survey(frames([picture(1), picture(2)])).apply(np.zeros((10, 20), np.uint8), 8)


def test_the_preview_shows_before_and_after() -> None:
    shown = preview(survey(frames([picture(1), picture(2)])))
    assert shown.shape == (256, 2 * 320 + 8, 3)
    assert shown[:14, :90].max() == 255
    assert shown[:14, 328 : 328 + 90].max() == 0


@needs_real
def test_no_anatomy_and_no_instrument_of_real_pictures_is_taken_for_text() -> None:
    for path in sorted(REAL.glob("*.png")):
        before = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        shown, _ = deidentified(before)
        height, width = before.shape
        y, x = np.mgrid[:height, :width]
        inside = np.hypot(x - width / 2, y - height / 2) < 0.46 * min(height, width)
        np.testing.assert_array_equal(shown[inside], before[inside], err_msg=path.name)


@needs_real
def test_a_name_burned_into_real_pictures_goes() -> None:
    """Of pictures with all their grey levels: in halftoned ones everything is as fine as letters."""
    looked_at = 0
    for path in sorted(REAL.glob("*.png")):
        before = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if len(np.unique(before)) < 64:
            continue
        looked_at += 1
        height, width = before.shape
        for level in (0, 255):
            written = with_text(before, (int(0.3 * width), height // 2), "MUELLER, ANNA 31.01.1950", level, 20)
            shown, _ = deidentified(written)
            left = np.count_nonzero(shown[ink(written, before)])
            assert left == 0, f"{path.name}: {left} pixels of letters of level {level} left"
    assert looked_at
