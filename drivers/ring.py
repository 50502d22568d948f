"""Room for a bounded number of pictures, allocated once."""

import threading
import weakref
from collections import deque

import numpy as np
from numpy.typing import NDArray

from drivers.frame import Pixels


class FrameRing:
    """Arrays of one shape that are handed out, and come back by themselves when nobody holds them any more.

    So a picture is never overwritten under its reader, memory stays flat, and who holds on to too many makes
    ``take`` return None: the frame is dropped, and counted, where it can be.
    """

    def __init__(self, slots: int, shape: tuple[int, int], dtype: type[np.uint8] | type[np.uint16]) -> None:
        self._shape, self._dtype = shape, np.dtype(dtype)
        size = shape[0] * shape[1] * self._dtype.itemsize
        self._free = deque(bytearray(size) for _ in range(slots))
        self._lock = threading.Lock()

    def take(self) -> Pixels | None:
        """An array to be filled, with what was last in it; None where all are in use."""
        with self._lock:
            if not self._free:
                return None
            slot = self._free.popleft()
        # Made from a memoryview, an array is the base of every view of it, so all of them keep the slot.
        flat: NDArray[np.uint8] | NDArray[np.uint16] = np.frombuffer(memoryview(slot), self._dtype)
        weakref.finalize(flat, self._free.append, slot).atexit = False
        pixels: Pixels = flat.reshape(self._shape)
        return pixels
