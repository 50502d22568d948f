"""How many threads linear algebra takes: one."""

from typing import Final

from threadpoolctl import threadpool_limits

BLAS_THREADS: Final = 1


def limit() -> None:
    """Keep NumPy's BLAS to the thread that calls it, in this process and from now on.

    Its matrices here are small. With a thread for each processor the others wait for the next call at full speed: of
    60 ms of processor time for a pulse of 1024 x 1024 on two processors 20 went there, which the pictures need.
    """
    threadpool_limits(BLAS_THREADS, user_api="blas")
