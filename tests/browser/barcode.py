"""A number in a picture's own pixels, which survives JPEG and is read back from a page's canvas.

Black and white cells, each of two blocks of JPEG a side, row by row from the most significant bit; the last eight are a
checksum. ``painted.js`` reads the same.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

CELL_PX: Final = 16
COLUMNS: Final = 7
ROWS: Final = 6
CHECK_BITS: Final = 8
BITS: Final = COLUMNS * ROWS - CHECK_BITS
WIDTH_PX: Final = COLUMNS * CELL_PX
HEIGHT_PX: Final = ROWS * CELL_PX
BLACK: Final = 16
WHITE: Final = 240

LAYOUT: Final[dict[str, Any]] = {
    "cell_px": CELL_PX,
    "columns": COLUMNS,
    "rows": ROWS,
    "check_bits": CHECK_BITS,
    "threshold": (BLACK + WHITE) / 2,
}
"""What the page needs to know to read it."""


def write(pixels: NDArray[np.uint8], value: int) -> None:
    """Write the number into the picture's upper left corner. Raises ValueError where it has too many bits."""
    if not 0 <= value < 1 << BITS:
        raise ValueError(f"{value}: expected a number of at most {BITS} bits")
    word = value << CHECK_BITS | checksum(value)
    bits = np.array([word >> i & 1 for i in reversed(range(COLUMNS * ROWS))], np.uint8).reshape(ROWS, COLUMNS)
    cells = np.where(bits, np.uint8(WHITE), np.uint8(BLACK))
    pixels[:HEIGHT_PX, :WIDTH_PX] = cells.repeat(CELL_PX, axis=0).repeat(CELL_PX, axis=1)


def read(pixels: NDArray[np.uint8]) -> int | None:
    """The number in the picture's upper left corner; None where there is none, or it was damaged."""
    inner = slice(CELL_PX // 4, 3 * CELL_PX // 4)
    cells = pixels[:HEIGHT_PX, :WIDTH_PX].reshape(ROWS, CELL_PX, COLUMNS, CELL_PX)[:, inner, :, inner]
    word = 0
    for bit in (cells.mean(axis=(1, 3)) > LAYOUT["threshold"]).ravel().tolist():
        word = word << 1 | bit
    value, check = word >> CHECK_BITS, word & 0xFF
    return value if checksum(value) == check else None


def checksum(value: int) -> int:
    """CRC-8 of the bits, with the polynomial x^8 + x^2 + x + 1, begun with ones: a black picture is no number."""
    crc = 0xFF
    for i in reversed(range(BITS)):
        top = crc >> 7 ^ value >> i & 1
        crc = crc << 1 & 0xFF ^ (0x07 if top else 0)
    return crc
