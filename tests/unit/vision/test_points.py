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


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.floats(-3, 3), st.floats(0.5, 2.0), st.floats(0.02, 0.3))
def test_the_apex_is_the_mean_of_all_places_weighted_by_their_likelihood(
    seed: int, images: int, ahead: float, contrast: float, noise: float
) -> None:
    rng = np.random.default_rng(seed)
    grain, reach, samples = 8.0, 4, 20.0
    # Points that grow dark over a few rows, each differently fast.
    behind = np.arange(40) / grain - 2.0
    along = [np.clip((behind + 0.2) / width, 0, 1) for width in rng.uniform(0.2, 1.0, images)]
    table = (np.array(along)[:, None, :] * np.linspace(1.0, 0.4, 5)[:, None]).astype(np.float32)
    half_behind, columns, rows = rng.uniform(0.1, 0.4, images), np.array([0, 1, 3, 4]), np.arange(0.5, 4.0, 0.13)
    where = np.clip(np.rint((rows + half_behind[0]) * grain + ahead), 0, 39).astype(int)
    picture = contrast * table[0][columns][:, where] + rng.normal(0, noise, (4, len(rows))).astype(np.float32)
    picture = (picture - picture.mean()).astype(np.float32)

    told = points.apex_ahead(table, half_behind, picture, columns, rows, grain, reach, samples)

    places, misfits = [], []
    for image in range(images):
        for step in range(-reach, reach + 1):
            # An image's row 0 lies where ``rows`` are 0.
            at = np.rint((half_behind[image] - reach / grain + rows) * grain).astype(int) + reach + step
            laid = table[image][columns][:, np.clip(at, 0, 39)].astype(np.float64)
            # Free level and contrast, which is not negative: what the best such fit leaves.
            fit = max(0.0, float(np.vdot(laid - laid.mean(), picture))) / float(((laid - laid.mean()) ** 2).sum())
            left = picture - fit * (laid - laid.mean())
            misfits.append(float((left**2).sum()))
            places.append(half_behind[image] + step / grain)
    likelihood = np.exp(-0.5 * samples * (np.array(misfits) / min(misfits) - 1.0))
    expected = float((likelihood * places).sum() / likelihood.sum())
    assert abs(told - expected) < 1e-3
