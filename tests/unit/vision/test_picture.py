"""A pulse at work scale, as optical density."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from guidance.vision.field import find_field
from guidance.vision.kernels.picture import look_up
from guidance.vision.picture import density_of, make_picture
from tests.unit.vision.xray_pictures import anatomy, disc, noisy, within

SIDE = 700
SHOWN = within(noisy(anatomy(SIDE), 1), disc((SIDE, SIDE), (350, 350), 330))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_each_pixel_is_looked_up_in_the_table(data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=30))
    pixels = data.draw(hnp.arrays(np.uint16, shape, elements=st.integers(0, 2**16 - 1)))
    table = np.random.default_rng(0).random(2**16).astype(np.float32)
    found = np.empty(shape, dtype=np.float32)
    look_up(pixels, table, found)
    assert (found == table[pixels]).all()


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("inverted", [False, True], ids=["as taken", "inverted"])
def test_density_is_that_of_each_value_at_every_depth(bits: int, inverted: bool) -> None:
    shown = 255 - SHOWN if inverted else SHOWN
    pixels: NDArray[np.uint8 | np.uint16] = shown if bits == 8 else np.left_shift(shown.astype(np.uint16), bits - 8)
    field = find_field(pixels, bits)
    picture = make_picture(pixels, field, bits)
    (x0, y0), (h, w), n = picture.origin_px, picture.density.shape, picture.factor
    means = pixels[y0 : y0 + h * n, x0 : x0 + w * n].reshape(h, n, w, n).mean(axis=(1, 3))
    expected = density_of(means, 2.0**bits - 1, not inverted)
    # A mean is rounded to a whole grey value first, which counts for most where the density is steepest.
    assert field.bone_dark is not inverted
    assert np.abs(picture.density - expected).max() < 0.51 * 64 / (2**bits - 1)


def test_what_is_beyond_full_scale_is_as_bright_as_that() -> None:
    pixels = np.left_shift(SHOWN.astype(np.uint16), 4)
    field = find_field(pixels, 12)
    pixels[300:340, 300:340] = 2**16 - 1
    picture = make_picture(pixels, field, 12)
    assert picture.density.min() == 0.0
    assert np.isfinite(picture.density).all()


def test_pulses_of_one_field_share_its_mask_which_nobody_may_change() -> None:
    field = find_field(SHOWN, 8)
    first, second = (make_picture(pixels, field, 8) for pixels in (SHOWN, np.roll(SHOWN, 1)))
    assert first.mask is second.mask
    with pytest.raises(ValueError, match="read-only"):
        first.mask[0, 0] = 0
    other = make_picture(SHOWN[:600], find_field(SHOWN[:600], 8), 8)
    assert other.mask is not first.mask
