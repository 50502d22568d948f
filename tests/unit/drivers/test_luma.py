import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.luma import look_up, luma_of, luma_of_colour
from tests.unit.drivers.written import pictures


def _frame(pix_fmt: str, codes: np.ndarray, full_range: bool | None = None) -> av.VideoFrame:
    """A picture whose plane 0 holds these codes row by row, and whose other planes hold neutral colour."""
    form = av.VideoFormat(pix_fmt)
    width = codes.shape[1] // (2 if pix_fmt in ("yuyv422", "uyvy422") else 1)
    frame = av.VideoFrame(width, codes.shape[0], pix_fmt)
    for i, plane in enumerate(frame.planes):
        neutral = np.full((plane.height, plane.line_size // codes.dtype.itemsize), 1 << (form.components[0].bits - 1))
        samples = neutral.astype(codes.dtype)
        if i == 0:
            samples[:, : codes.shape[1]] = codes
        plane.update(samples.tobytes())
    if full_range is not None:
        frame.color_range = ColorRange.JPEG if full_range else ColorRange.MPEG
    return frame


@pytest.mark.parametrize("pix_fmt", ["gray", "yuvj420p", "yuvj444p"])
def test_full_range_luma_is_taken_as_it_is(pix_fmt: str) -> None:
    codes = pictures(1)[0]

    pixels, bits = luma_of(_frame(pix_fmt, codes))

    assert bits == 8
    np.testing.assert_array_equal(pixels, codes)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p", "nv12"])
def test_limited_range_is_stretched_as_a_monitor_does(pix_fmt: str) -> None:
    codes = np.tile(np.array([0, 16, 17, 126, 235, 255], np.uint8), (4, 1))

    pixels, _ = luma_of(_frame(pix_fmt, codes))

    # Black is 16 and white 235 (ITU-R BT.601): 255/219 a code.
    np.testing.assert_array_equal(pixels[0], [0, 0, 1, 128, 255, 255])


def test_yuv_tagged_as_full_range_is_not_stretched() -> None:
    codes = pictures(1)[0]

    pixels, _ = luma_of(_frame("yuv420p", codes, full_range=True))

    np.testing.assert_array_equal(pixels, codes)


def test_gray_is_full_range_whatever_its_tag_says() -> None:
    codes = pictures(1)[0]

    pixels, _ = luma_of(_frame("gray", codes, full_range=False))

    np.testing.assert_array_equal(pixels, codes)


@pytest.mark.parametrize(("pix_fmt", "bits"), [("gray10le", 10), ("gray12le", 12), ("gray16le", 16)])
def test_deep_gray_keeps_every_code_and_tells_its_bits(pix_fmt: str, bits: int) -> None:
    codes = pictures(1, dtype=np.uint16, top=2**bits - 1)[0]

    pixels, found = luma_of(_frame(pix_fmt, codes))

    assert found == bits
    assert pixels.dtype == np.uint16
    np.testing.assert_array_equal(pixels, codes)


def test_big_endian_gray_is_read_in_its_own_order() -> None:
    codes = pictures(1, dtype=np.uint16, top=65535)[0]

    pixels, _ = luma_of(_frame("gray16be", codes.byteswap()))

    assert pixels.dtype == np.dtype("=u2")
    np.testing.assert_array_equal(pixels, codes)


def test_deep_limited_range_runs_from_64_to_940_at_ten_bits() -> None:
    codes = np.tile(np.array([0, 64, 502, 940, 1023, 64], np.uint16), (4, 1))

    pixels, bits = luma_of(_frame("yuv420p10le", codes))

    assert bits == 10
    np.testing.assert_array_equal(pixels[0], [0, 0, 512, 1023, 1023, 0])


@pytest.mark.parametrize(("pix_fmt", "first"), [("yuyv422", 0), ("uyvy422", 1)])
def test_luma_of_packed_formats_is_every_second_byte(pix_fmt: str, first: int) -> None:
    luma = pictures(1)[0]
    packed = np.full((48, 140), 128, np.uint8)
    packed[:, first::2] = luma

    pixels, _ = luma_of(_frame(pix_fmt, packed, full_range=True))

    np.testing.assert_array_equal(pixels, luma)


@pytest.mark.parametrize("pix_fmt", ["rgb24", "bgr24", "bgra", "gbrp"])
def test_gray_stored_as_colour_comes_out_as_it_went_in(pix_fmt: str) -> None:
    codes = pictures(1)[0]
    rgb = np.repeat(codes[..., np.newaxis], 3, axis=2)
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=pix_fmt)

    pixels, bits = luma_of(frame)

    assert bits == 8
    np.testing.assert_array_equal(pixels, codes)


def test_a_palette_is_looked_up_and_not_taken_for_luma() -> None:
    indices = np.tile(np.array([0, 1, 2, 1], np.uint8), (4, 1))
    palette = np.zeros((256, 4), np.uint8)
    palette[1], palette[2] = [255, 200, 200, 200], [255, 90, 90, 90]
    frame = av.VideoFrame.from_ndarray((indices, palette), format="pal8")

    pixels, _ = luma_of(frame)

    np.testing.assert_array_equal(pixels[0], [0, 200, 90, 200])


def test_floating_point_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="32 bits"):
        luma_of(av.VideoFrame(8, 8, "grayf32le"))


def test_rows_padded_by_the_decoder_are_cut_to_the_width() -> None:
    codes = pictures(1, height=5, width=7)[0]

    pixels, _ = luma_of(_frame("gray", codes))

    assert pixels.shape == (5, 7)
    assert pixels.flags.c_contiguous
    assert not pixels.flags.writeable
    np.testing.assert_array_equal(pixels, codes)


def test_luma_weighs_red_green_and_blue_as_bt601_says() -> None:
    rgb = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)

    np.testing.assert_array_equal(luma_of_colour(rgb), [[76, 150, 29]])


@settings(max_examples=20, deadline=None)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    deep=st.booleans(),
    step=st.integers(1, 2),
    seed=st.integers(0, 99),
)
def test_looking_up_is_indexing_the_table(height: int, width: int, deep: bool, step: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    dtype, size = (np.uint16, 1024) if deep else (np.uint8, 256)
    table = rng.integers(0, size, size, dtype=dtype)
    codes = rng.integers(0, size, (height, width * step), dtype=dtype)[:, ::step]

    np.testing.assert_array_equal(look_up(codes, table), table[codes])
