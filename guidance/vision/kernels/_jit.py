"""How every kernel of this project is compiled: in one place, so that none is compiled in mid-stream."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])

KERNELS: list[Callable[..., Any]] = []
"""Every compiled function, so that start-up can tell how many there are and tests can compare each with its twin."""


def kernel(*signatures: str) -> Callable[[F], F]:
    """Compile a function for exactly the given numba signatures, at import, without the GIL, cached on disk.

    Explicit signatures matter: a strided view, another dtype or a read-only array would otherwise compile
    again in the middle of a procedure. Give inputs as read-only C-contiguous arrays, e.g.
    ``Array(float32, 2, "C", readonly=True)`` which also accepts writeable ones.

    Fill a row by a loop, not by ``out[i] = row``: for the words of the error that this might raise numba compiles its
    strings, which takes as long as ten kernels.
    """

    def compile_now(function: F) -> F:
        # Nobody calls a kernel from C: its door for that would cost a tenth of the compiling.
        options = {"nogil": True, "cache": True, "error_model": "numpy", "no_cfunc_wrapper": True}
        compiled = numba.njit(list(signatures), **options)(function)
        KERNELS.append(compiled)
        return cast(F, compiled)

    return compile_now
