"""The kernel that lays a point's images on a picture, and its plain twin."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from guidance.vision.kernels import points

GRAIN = 8.0


@given(
    images=st.integers(1, 4),
    image_rows=st.integers(1, 30),
    picture_rows=st.integers(1, 40),
    places=st.integers(1, 9),
    seed=st.integers(0, 2**32 - 1),
)
def test_sums_along_diagonals_are_those_of_its_plain_twin(
    images: int, image_rows: int, picture_rows: int, places: int, seed: int
):
    rng = np.random.default_rng(seed)
    products = rng.normal(size=(images, image_rows, picture_rows)).astype(np.float32)
    totals, squares = rng.normal(size=(2, images, image_rows)).astype(np.float32)
    # Also beyond both ends of the images.
    at, offsets = rng.uniform(-1, 3, (images, places)), rng.uniform(-1, 3, picture_rows)

    sums = points.along_diagonals(products, totals, squares, at, offsets, GRAIN)

    rows = np.clip(np.rint((at[:, :, None] + offsets) * GRAIN).astype(int), 0, image_rows - 1)
    of = (np.arange(images)[:, None, None], rows)
    twin = [products[(*of, np.arange(picture_rows))].sum(axis=2), totals[of].sum(axis=2), squares[of].sum(axis=2)]
    assert sums.dtype == np.float32
    # Forty terms of about 1 in single precision.
    np.testing.assert_allclose(sums, twin, rtol=0, atol=40 * 40 * np.finfo(np.float32).eps)
