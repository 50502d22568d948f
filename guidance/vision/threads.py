"""How many threads linear algebra and OpenCV take: one."""

from typing import Final

import cv2
from threadpoolctl import threadpool_limits

THREADS: Final = 1


def limit() -> None:
    """Keep NumPy's BLAS and OpenCV to the thread that calls them, in this process and from now on.

    The pictures at work scale and the matrices are small. With a thread for each processor the others wait for the next
    call at full speed: of 60 ms of processor time for a pulse of 1024 x 1024 on two processors 20 went there for BLAS
    alone, which encoding and recording need; and a pulse waits for whichever of its threads the system wakes last.
    """
    threadpool_limits(THREADS, user_api="blas")
    cv2.setNumThreads(THREADS)
