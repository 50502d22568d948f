"""What an engineer would otherwise reach for, on the same pictures, in the same process, on one thread.

The pictures are those that the stages look at: optical density at work scale, as floats or stretched to 8 bit. None
of these tools gives what the stage gives; each is the first step of a way to it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from time import perf_counter_ns
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.bench.analysis import Quantiles
from guidance.bench.pulses import Pulses, densities_of
from guidance.vision.picture import Density

LOOKS: Final = 20
"""So many pulses, evenly over the procedure, are shown to each tool."""
SHAFT_SIGMAS_PX: Final = (2.0, 3.0, 4.0)
"""Scales of the ridge filters: needles are 5 to 13 pixels wide at work scale."""
SKIMAGE: Final = "scikit-image"

Gray = NDArray[np.uint8]
Tool = Callable[[Density, Gray], object]


@dataclass(frozen=True, slots=True)
class ToolFigures:
    """``stage``: of ours that it would be a step of. ``ms`` None: its library is not installed."""

    stage: str
    name: str
    ms: Quantiles | None


def time_tools(pulses: Pulses) -> list[ToolFigures]:
    """Each tool on the same pulses."""
    densities = densities_of(pulses, LOOKS)
    grays = [_as_gray(density) for density in densities]
    with _one_thread():
        return [
            ToolFigures(stage, name, None if tool is None else _time(tool, densities, grays))
            for stage, name, tool in _tools(densities[0])
        ]


def _tools(first: Density) -> Iterator[tuple[str, str, Tool | None]]:
    """Stage, name and tool. ``first``: what registration is to."""
    segments = cv2.createLineSegmentDetector()
    window = cv2.createHanningWindow(first.shape[::-1], cv2.CV_32F)
    subtractor = cv2.createBackgroundSubtractorMOG2()
    tools: list[tuple[str, str, Tool]] = [
        ("needles", "OpenCV LSD", lambda density, gray: segments.detect(gray)),
        ("needles", "OpenCV Canny and HoughLinesP", _hough),
        ("registration", "OpenCV phaseCorrelate", lambda density, gray: cv2.phaseCorrelate(first, density, window)),
        ("registration", "OpenCV findTransformECC", lambda density, gray: _ecc(first, density)),
        ("cement", "OpenCV BackgroundSubtractorMOG2", lambda density, gray: subtractor.apply(gray)),
    ]
    yield from tools
    yield from _of_skimage(first)


def _of_skimage(first: Density) -> Iterator[tuple[str, str, Tool | None]]:
    names = {"frangi": "needles", "sato": "needles", "phase_cross_correlation": "registration"}
    try:
        filters, registration = import_module("skimage.filters"), import_module("skimage.registration")
    except ModuleNotFoundError:
        yield from ((stage, f"{SKIMAGE} {name}", None) for name, stage in names.items())
        return
    scales = {"sigmas": SHAFT_SIGMAS_PX, "black_ridges": False}
    tools: dict[str, Tool] = {
        "frangi": lambda density, gray: filters.frangi(density, **scales),
        "sato": lambda density, gray: filters.sato(density, **scales),
        "phase_cross_correlation": lambda density, gray: registration.phase_cross_correlation(
            first, density, upsample_factor=20
        ),
    }
    yield from ((stage, f"{SKIMAGE} {name}", tools[name]) for name, stage in names.items())


def _hough(density: Density, gray: Gray) -> object:
    return cv2.HoughLinesP(cv2.Canny(gray, 50, 150), 1, np.pi / 180, 80)


def _ecc(first: Density, density: Density) -> object:
    """A rigid motion; pulses that it does not converge on are as good as any for its time."""
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-4)
    try:
        return cv2.findTransformECC(first, density, np.eye(2, 3, dtype=np.float32), cv2.MOTION_EUCLIDEAN, stop)
    except cv2.error as error:
        if error.code != cv2.Error.StsNoConv:
            raise
        return None


def _time(tool: Tool, densities: list[Density], grays: list[Gray]) -> Quantiles:
    tool(densities[0], grays[0])
    spent_ms = []
    for density, gray in zip(densities, grays, strict=True):
        begin_ns = perf_counter_ns()
        tool(density, gray)
        spent_ms.append((perf_counter_ns() - begin_ns) / 1e6)
    return Quantiles.of(spent_ms)


def _as_gray(density: Density) -> Gray:
    return np.asarray(cv2.normalize(density, None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U), dtype=np.uint8)


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
