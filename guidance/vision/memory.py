"""What becomes of memory that a pulse gives back: the process keeps it for the next one."""

import ctypes
from typing import Final

# Numbers of glibc's malloc.h.
_TRIM_THRESHOLD: Final = -1
_TOP_PAD: Final = -2
_MMAP_THRESHOLD: Final = -3

KEPT_BYTES: Final = 256 * 2**20
"""No more than this lies idle between two pulses."""
AT_ONCE_BYTES: Final = 32 * 2**20
"""Smaller pieces come from what is kept; glibc takes no larger figure. 1920 x 1080 pixels of 16 bits have 4 MB."""


def keep() -> bool:
    """Let the C library keep freed pictures, from now on; False where it is none that can be told so.

    Otherwise each array of image size is given back to the kernel and asked for again, a fault for every 4 KB of it:
    0.1 to 0.5 ms for each MB, a tenth of what a pulse cost and a sixth of what the slowest of a hundred did.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return all(
        mallopt(parameter, size) == 1
        for parameter, size in (
            (_MMAP_THRESHOLD, AT_ONCE_BYTES),
            (_TRIM_THRESHOLD, KEPT_BYTES),
            (_TOP_PAD, AT_ONCE_BYTES),
        )
    )
