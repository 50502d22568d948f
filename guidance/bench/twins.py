"""What gives the same as a kernel: plain NumPy, and a function of OpenCV or scikit-image where there is one.

Each takes the kernel's own arguments. What a kernel writes into its arguments, its twin returns; ``result`` takes the
kernel's from either, so that the two can be compared.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels import cells, change, field, paths, regions
from guidance.vision.kernels import grey as grey_levels

Plane = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Function = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Twin:
    """``written``: which argument of the kernel holds its result, None where it is returned.

    ``within``: how far the results may lie apart, for sums are taken in another order. ``library``: raises
    ModuleNotFoundError where it is not installed; it need not return anything that can be compared.
    """

    kernel: Function
    numpy: Function
    written: int | None = None
    within: float = 0.0
    library_name: str | None = None
    library: Function | None = None

    def result(self, arguments: tuple[Any, ...]) -> NDArray[Any]:
        """What the kernel gives."""
        returned = self.kernel(*arguments)
        return np.asarray(returned if self.written is None else arguments[self.written])


def _classify(base: Plane, bins: int, top: float, out: Bytes) -> Bytes:
    return np.asarray(np.clip(base * np.float32(bins / top), 0, bins - 1), dtype=np.uint8)


def _quartiles(grey: Bytes, value: Plane, marks: Bytes, bits: int, step: int, bins: int, reach: float) -> Plane:
    some = np.s_[step // 2 :: step, step // 2 :: step]
    told = (marks[some] & bits) == bits
    classes, values = grey[some][told], value[some][told]
    out = np.zeros((bins, 4), np.float32)
    for name in np.unique(classes):
        own = values[classes == name]
        out[name, :3], out[name, 3] = np.quantile(own, (0.25, 0.5, 0.75)), len(own)
    return out


def _take_slip(delta: Plane, grad_x: Plane, grad_y: Plane, marks: Bytes, slip_x: float, slip_y: float) -> Plane:
    slipped = delta + (grad_x * np.float32(slip_x) + grad_y * np.float32(slip_y))
    return np.where(marks & grey_levels.SEEN, slipped, delta)


def _take_slip_cv(delta: Plane, grad_x: Plane, grad_y: Plane, marks: Bytes, slip_x: float, slip_y: float) -> Plane:
    slipped = cv2.scaleAdd(grad_y, slip_y, cv2.scaleAdd(grad_x, slip_x, delta))
    cv2.copyTo(slipped, cv2.bitwise_and(marks, grey_levels.SEEN), delta)
    return delta


def _departed(grey: Bytes, coarse: Plane, steep: Plane, sigma: Plane, sigmas: float, out: Bytes) -> Bytes:
    return np.where(coarse**2 > np.float32(sigmas**2) * (sigma[grey] ** 2 + steep), np.uint8(255), np.uint8(0))


def _learn(delta: Plane, valid: Bytes, hold: Bytes, anew: Bytes, longest: float, base: Plane, count: Plane) -> Plane:
    use = (valid > 0) & (hold == 0)
    n = np.minimum(np.where(anew > 0, np.float32(0), count) + np.float32(1), np.float32(longest))
    return np.where(use, base + delta / n, base)


def _averages(plane: Plane, top: Any, down: Plane, left: Any, across: Plane, out: Plane) -> Plane:
    rows = (plane[top + np.arange(len(down))[:, None]] * down[..., None]).sum(axis=0)
    return np.asarray((rows[:, left + np.arange(len(across))[:, None]] * across).sum(axis=1), dtype=np.float32)


def _averages_cv(plane: Plane, top: Any, down: Plane, left: Any, across: Plane, out: Plane) -> Any:
    return cv2.resize(plane, out.shape[::-1], interpolation=cv2.INTER_AREA)


def _area_mean(grey: Bytes, small: Plane) -> Plane:
    """The picture's rows and columns weighed by how much of them each cell covers."""
    down, across = (_shares(length, count) for length, count in zip(grey.shape, small.shape, strict=True))
    return np.asarray(np.rint(down @ grey.astype(np.float32) @ across.T))


def _shares(length: int, count: int) -> Plane:
    edges = np.arange(count + 1) * (length / count)
    pixels = np.arange(length)
    share = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.asarray(np.maximum(share, 0) / (length / count), dtype=np.float32)


def _area_mean_cv(grey: Bytes, small: Plane) -> Any:
    return cv2.resize(grey, small.shape[::-1], interpolation=cv2.INTER_AREA)


def _lighter(z: Plane, valid: Bytes, hidden: Bytes, sigmas: float, least: int, out: Bytes) -> int:
    return int(((z < -sigmas) & (valid != 0) & (hidden == 0)).sum())


def _lighter_cv(z: Plane, valid: Bytes, hidden: Bytes, sigmas: float, least: int, out: Bytes) -> int:
    lighter = cv2.bitwise_and(cv2.compare(z, -sigmas, cv2.CMP_LT), valid)
    return cv2.countNonZero(cv2.bitwise_and(lighter, cv2.compare(hidden, 0, cv2.CMP_EQ), dst=out))


def _regions(
    z: Plane,
    added: Plane,
    foreign: Bytes,
    standing: Bytes,
    seed: float,
    grow: float,
    stay: float,
    least: float,
    labels: Any,
) -> NDArray[np.int32]:
    """Boxes and areas, by labelling what may belong and keeping what holds a seed."""
    stays = (standing > 0) & (z > stay)
    joins, sown = ((z > grow) | stays) & (added > least) & (foreign == 0), (z > seed) | stays
    _, parts, stats, _ = cv2.connectedComponentsWithStats(joins.view(np.uint8), connectivity=4)
    names = np.unique(parts[joins & sown])
    left, top, width, height, area = stats[names].T
    return np.stack([left, top, left + width, top + height, area], axis=1).astype(np.int32)


def _paths(cost: Plane, row: int, column: int, previous: Any) -> Plane:
    """Every pixel from its neighbours, over and over, until nothing gets cheaper (Bellman, 1958)."""
    total = np.full(cost.shape, np.inf, np.float32)
    total[row, column] = 0
    steps = [(r, c) for r in (-1, 0, 1) for c in (-1, 0, 1) if (r, c) != (0, 0)]
    h, w = cost.shape
    framed_cost = np.pad(cost, 1, constant_values=np.inf)
    while True:
        framed = np.pad(total, 1, constant_values=np.inf)
        cheaper = total
        for r, c in steps:
            at = np.s_[1 + r : 1 + r + h, 1 + c : 1 + c + w]
            way = framed[at] + np.float32(np.hypot(r, c) * 0.5) * (cost + framed_cost[at])
            cheaper = np.minimum(cheaper, way)
        if np.array_equal(cheaper, total):
            return total
        total = cheaper


def _paths_skimage(cost: Plane, row: int, column: int, previous: Any) -> Any:
    graph = import_module("skimage.graph")
    return graph.MCP_Geometric(cost).find_costs([(row, column)])[0]


TWINS: Final = (
    Twin(grey_levels.classify, _classify, written=3),
    Twin(grey_levels.quartiles_by_grey, _quartiles, within=1 / 128),
    Twin(change.take_slip, _take_slip, written=0, within=1e-6, library_name="OpenCV scaleAdd", library=_take_slip_cv),
    Twin(change.departed, _departed, written=5),
    Twin(change.learn, _learn, written=5, within=1e-6),
    Twin(cells.averages, _averages, written=5, within=1e-5, library_name="OpenCV resize", library=_averages_cv),
    Twin(field.area_mean, _area_mean, written=1, within=1.0, library_name="OpenCV resize", library=_area_mean_cv),
    Twin(regions.lighter, _lighter, library_name="OpenCV compare", library=_lighter_cv),
    Twin(regions.regions, _regions, library_name="OpenCV connectedComponentsWithStats", library=_regions),
    Twin(paths.paths_from, _paths, within=1e-3, library_name="scikit-image MCP_Geometric", library=_paths_skimage),
)
"""Those that do by themselves what a library does too, or what NumPy says in a few lines."""
