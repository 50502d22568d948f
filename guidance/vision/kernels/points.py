"""A kernel that lays images of a needle's point on a picture at many places at once."""

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel

Plane = NDArray[np.float32]
Block = NDArray[np.float32]
Floats = NDArray[np.float64]

_BLOCK = 'Array(float32, 3, "C", readonly=True)'
_PLANE = 'Array(float32, 2, "C", readonly=True)'
_INTS = 'Array(int64, 1, "C", readonly=True)'
_LINE = 'Array(float64, 1, "C", readonly=True)'
_ROWS = 'Array(int64, 2, "C", readonly=True)'


@kernel(f"float64[:, :, ::1]({_BLOCK}, {_PLANE}, {_INTS}, {_ROWS}, int64)")
def laid_on(
    images: Block, picture: Plane, columns: NDArray[np.int64], first_rows: NDArray[np.int64], n_places: int
) -> Floats:
    """Sums over the picture for each image at each of its places, shape (3, images, places): of products with the
    picture, of the image's values there, and of their squares.

    ``images``: (images, columns, rows), ``picture``: (columns, rows). Picture column j lies on an image's column
    ``columns[j]``; picture row k lies on its row ``first_rows[image, k]`` at the first place and one further at each
    next, beyond its ends on the last one.
    """
    rows = images.shape[2]
    sums = np.zeros((3, images.shape[0], n_places))
    # A whole number of vectors; the places that are too many are not told.
    wide = -(-n_places // 8) * 8
    # Each column of an image with room for places beyond its ends.
    padded = np.empty((columns.size, rows + n_places + wide), np.float32)
    product, total, square = np.empty(wide, np.float32), np.empty(padded.shape[1]), np.empty(padded.shape[1])
    own = np.empty((3, wide))
    for image in range(images.shape[0]):
        own[:] = 0.0
        total[:] = 0.0
        square[:] = 0.0
        for j in range(columns.size):
            along = padded[j]
            along[:n_places] = images[image, columns[j], 0]
            for row in range(rows):
                along[n_places + row] = images[image, columns[j], row]
            along[n_places + rows :] = images[image, columns[j], rows - 1]
            for row in range(along.size):
                value = np.float64(along[row])
                total[row] += value
                square[row] += value * value
        for k in range(picture.shape[1]):
            begin = min(max(first_rows[image, k], -n_places), rows) + n_places
            product[:] = np.float32(0.0)
            for j in range(columns.size):
                along, seen = padded[j, begin : begin + wide], picture[j, k]
                for place in range(wide):
                    product[place] += seen * along[place]
            of_rows, of_squares = total[begin : begin + wide], square[begin : begin + wide]
            for place in range(wide):
                own[0, place] += product[place]
                own[1, place] += of_rows[place]
                own[2, place] += of_squares[place]
        sums[:, image] = own[:, :n_places]
    return sums


@kernel(f"float64({_BLOCK}, {_LINE}, {_PLANE}, {_INTS}, {_LINE}, float64, int64, float64)")
def apex_ahead(
    images: Block,
    half_behind: Floats,
    picture: Plane,
    columns: NDArray[np.int64],
    rows: Floats,
    grain: float,
    reach: int,
    samples: float,
) -> float:
    """How far the apex lies ahead of the point at half contrast, in ``1 / grain`` of the images' rows: the mean over
    all images and places, each weighted by its likelihood with free level and contrast.

    ``picture``: of mean 0, (columns, rows); ``columns``: of the images, where the picture's lie; ``rows``: where the
    picture's lie on an image whose apex is at the point at half contrast. ``half_behind``: for each image, where that
    point is, and so the apex, but for ``reach`` rows to either side. ``samples``: in the picture, independent ones.
    """
    n_places = 2 * reach + 1
    first_rows = np.empty((images.shape[0], rows.size), np.int64)
    for image in range(images.shape[0]):
        for k in range(rows.size):
            first_rows[image, k] = np.int64(np.rint((half_behind[image] - reach / grain + rows[k]) * grain))
    product, total, square = laid_on(images, picture, columns, first_rows, n_places)
    power, least = 0.0, np.inf
    for value in picture.flat:
        power += np.float64(value) * np.float64(value)
    misfits = np.empty((images.shape[0], n_places))
    for image in range(images.shape[0]):
        for place in range(n_places):
            spread = square[image, place] - total[image, place] ** 2 / picture.size
            misfits[image, place] = power - max(0.0, product[image, place]) ** 2 / spread
            least = min(least, misfits[image, place])
    weight, weighted = 0.0, 0.0
    for image in range(images.shape[0]):
        for place in range(n_places):
            likelihood = np.exp(-0.5 * samples * (misfits[image, place] / least - 1.0))
            weight += likelihood
            weighted += likelihood * (half_behind[image] + (place - reach) / grain)
    return weighted / weight
