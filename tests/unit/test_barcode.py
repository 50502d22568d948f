"""The barcode by which the latency is measured."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.browser import barcode
from tests.browser.stamped import since_s, stamp_of

NUMBERS = st.integers(0, (1 << barcode.BITS) - 1)


def picture() -> np.ndarray:
    return np.random.default_rng(3).normal(128, 30, (256, 256)).clip(0, 255).astype(np.uint8)


@given(NUMBERS)
def test_a_number_survives_jpeg(number: int):
    pixels = picture()
    barcode.write(pixels, number)
    jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 50])[1]
    assert barcode.read(cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE)) == number


@given(NUMBERS, st.integers(0, barcode.ROWS - 1), st.integers(0, barcode.COLUMNS - 1))
def test_one_wrong_cell_makes_it_unreadable_and_not_another_number(number: int, row: int, column: int):
    pixels = picture()
    barcode.write(pixels, number)
    rows, columns = (slice(at * barcode.CELL_PX, (at + 1) * barcode.CELL_PX) for at in (row, column))
    pixels[rows, columns] = 255 - pixels[rows, columns]
    assert barcode.read(pixels) is None


@pytest.mark.parametrize("grey", [0, 255])
def test_an_even_picture_is_no_number(grey: int):
    assert barcode.read(np.full((256, 256), grey, np.uint8)) is None


def test_what_needs_more_bits_is_refused():
    with pytest.raises(ValueError, match="at most 34 bits"):
        barcode.write(picture(), 1 << barcode.BITS)


@given(st.floats(0, 1e9), st.floats(0, 60))
def test_a_stamp_tells_how_long_ago_it_was_made_to_a_tenth_of_a_millisecond(at_s: float, later_s: float):
    assert since_s(stamp_of(at_s), at_s + later_s) == pytest.approx(later_s, abs=1.1e-4)
