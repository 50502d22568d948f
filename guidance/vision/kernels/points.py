"""A kernel that lays images of a needle's point on a picture at many places at once."""

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel

Plane = NDArray[np.float32]
Block = NDArray[np.float32]
Floats = NDArray[np.float64]

_BLOCK = 'Array(float32, 3, "C", readonly=True)'
_PLANE = 'Array(float32, 2, "C", readonly=True)'
_PLACES = 'Array(float64, 2, "C", readonly=True)'
_LINE = 'Array(float64, 1, "C", readonly=True)'
_LANES = 8
"""Sums of single precision lose least in lanes that are added at the end, and the processor takes them side by side."""


@kernel('float32(Array(float32, 1, "C"))')
def _added(lanes: NDArray[np.float32]) -> np.float32:
    return np.float32(((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7])))


@kernel(f"float32[:, :, ::1]({_BLOCK}, {_PLANE}, {_PLANE}, {_PLACES}, {_LINE}, float64)")
def along_diagonals(
    products: Block, totals: Plane, squares: Plane, places: Floats, offsets: Floats, grain: float
) -> Block:
    """Sums over the picture's rows for each image at each of its places, shape (3, images, places): of products with
    the picture, of the image's values, and of their squares.

    ``products``: (images, image rows, picture rows), of every row of an image with every row of the picture.
    ``totals``, ``squares``: (images, image rows), of each row's values. With an image at a place, picture row k lies on
    its row (place + ``offsets``[k]) * ``grain``, rounded; beyond its ends on the last one.
    """
    images, rows, n = products.shape
    sums = np.empty((3, images, places.shape[1]), dtype=np.float32)
    product = np.empty(_LANES, dtype=np.float32)
    total = np.empty(_LANES, dtype=np.float32)
    square = np.empty(_LANES, dtype=np.float32)
    in_lanes = n - n % _LANES
    for image in range(images):
        for place in range(places.shape[1]):
            product[:] = np.float32(0.0)
            total[:] = np.float32(0.0)
            square[:] = np.float32(0.0)
            at = places[image, place]
            for k in range(in_lanes):
                row = min(max(int(np.rint((at + offsets[k]) * grain)), 0), rows - 1)
                product[k % _LANES] += products[image, row, k]
                total[k % _LANES] += totals[image, row]
                square[k % _LANES] += squares[image, row]
            a, b, c = _added(product), _added(total), _added(square)
            for k in range(in_lanes, n):
                row = min(max(int(np.rint((at + offsets[k]) * grain)), 0), rows - 1)
                a += products[image, row, k]
                b += totals[image, row]
                c += squares[image, row]
            sums[0, image, place], sums[1, image, place], sums[2, image, place] = a, b, c
    return sums
