"""Each compiled loop beside plain NumPy, and beside the library function that gives the same, on a pulse's own data."""

from dataclasses import dataclass

from guidance.bench.pulses import Pulses


@dataclass(frozen=True, slots=True)
class KernelFigures:
    """Medians in milliseconds. ``library``: the best of OpenCV and scikit-image for the same result."""

    name: str
    ours_ms: float
    numpy_ms: float
    library: str | None = None
    library_ms: float | None = None


def time_kernels(pulses: Pulses) -> list[KernelFigures]:
    return []
