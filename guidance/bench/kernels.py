"""Compiled loops beside plain NumPy, and beside the library function that gives the same, on a pulse's own data.

Each kernel is timed on the arguments that it was called with while cement was injected. ``twins`` has what gives the
same result; a test holds them to it.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter_ns
from types import ModuleType
from typing import Any, Final

import numpy as np

from guidance.bench.pulses import Pulses
from guidance.bench.twins import TWINS, Twin
from guidance.vision.kernels._jit import KERNELS
from guidance.vision.pipeline import Pipeline

SHOWN: Final = 0.75
"""So far into the procedure the arguments are taken: contrast, needles and cement have all been seen by then."""
CALLS: Final = 25
Arguments = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class KernelFigures:
    """Medians in milliseconds. ``library``: of OpenCV or scikit-image, where it gives the same result."""

    name: str
    ours_ms: float
    numpy_ms: float
    library: str | None = None
    library_ms: float | None = None


def time_kernels(pulses: Pulses) -> list[KernelFigures]:
    """Every kernel that has a twin and was called."""
    calls = arguments_of(pulses)
    return [_figures(twin, calls[twin.kernel]) for twin in TWINS if twin.kernel in calls]


def arguments_of(pulses: Pulses) -> dict[Callable[..., Any], Arguments]:
    """What each kernel was last called with in the first part of the procedure, by the kernel, as it was then."""
    calls: dict[Callable[..., Any], Arguments] = {}
    pipeline = Pipeline(pulses.plan, pulses.info)
    with _noted(calls):
        for frame in pulses.frames[: int(SHOWN * len(pulses.frames))]:
            pipeline.step(frame)
    return calls


@contextmanager
def _noted(calls: dict[Callable[..., Any], Arguments]) -> Iterator[None]:
    """Whoever calls a kernel by a name in a module of the analysis leaves the arguments in ``calls``."""

    def noting(kernel: Callable[..., Any]) -> Callable[..., Any]:
        def note(*arguments: Any) -> Any:
            calls[kernel] = _copied(arguments)
            return kernel(*arguments)

        return note

    wrapped = {kernel: noting(kernel) for kernel in KERNELS}
    named: list[tuple[ModuleType, str, Callable[..., Any]]] = [
        (module, name, thing)
        for place, module in list(sys.modules.items())
        if place.startswith("guidance.vision")
        for name, thing in vars(module).items()
        if callable(thing) and any(thing is kernel for kernel in KERNELS)
    ]
    for module, name, kernel in named:
        setattr(module, name, wrapped[kernel])
    try:
        yield
    finally:
        for module, name, kernel in named:
            setattr(module, name, kernel)


def _figures(twin: Twin, arguments: Arguments) -> KernelFigures:
    try:
        library_ms = None if twin.library is None else _time(twin.library, arguments)
    except ModuleNotFoundError:
        library_ms = None
    return KernelFigures(
        f"{twin.kernel.__module__.rpartition('.')[2]}.{twin.kernel.__name__}",
        round(_time(twin.kernel, arguments), 4),
        round(_time(twin.numpy, arguments), 4),
        None if library_ms is None else twin.library_name,
        None if library_ms is None else round(library_ms, 4),
    )


def _time(function: Callable[..., Any], arguments: Arguments) -> float:
    spent_ms = []
    for _ in range(CALLS):
        fresh = _copied(arguments)
        begin_ns = perf_counter_ns()
        function(*fresh)
        spent_ms.append((perf_counter_ns() - begin_ns) / 1e6)
    return float(np.median(spent_ms))


def _copied(arguments: Arguments) -> Arguments:
    return tuple(one.copy() if isinstance(one, np.ndarray) else one for one in arguments)
