"""The kernel that lays a point's images on a picture, and its plain twin."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from guidance.vision.kernels import points


@given(
    images=st.integers(1, 4),
    image_rows=st.integers(1, 30),
    image_columns=st.integers(1, 9),
    picture_rows=st.integers(1, 40),
    picture_columns=st.integers(1, 12),
    places=st.integers(1, 9),
    seed=st.integers(0, 2**32 - 1),
)
def test_sums_over_the_picture_are_those_of_the_plain_twin(
    images: int, image_rows: int, image_columns: int, picture_rows: int, picture_columns: int, places: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(images, image_columns, image_rows)).astype(np.float32)
    picture = rng.normal(size=(picture_columns, picture_rows)).astype(np.float32)
    columns = rng.integers(0, image_columns, picture_columns)
    # Also beyond both ends of the images.
    first_rows = rng.integers(-40, image_rows + 40, (images, picture_rows))

    sums = points.laid_on(table, picture, columns, first_rows, places)

    rows = np.clip(first_rows[:, None, None, :] + np.arange(places)[:, None, None], 0, image_rows - 1)
    laid = table[np.arange(images)[:, None, None, None], columns[:, None], rows].astype(np.float64)
    twin = [(laid * picture).sum(axis=(2, 3)), laid.sum(axis=(2, 3)), (laid**2).sum(axis=(2, 3))]
    # A dozen terms of about 1 in single precision, forty times.
    np.testing.assert_allclose(sums, twin, rtol=0, atol=480 * 12 * np.finfo(np.float32).eps)
