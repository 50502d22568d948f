"""Areas and distances between polygons of the picture plane, in pixels."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.records import PointPx, PolygonPx
from guidance.vision.kernels import polygons as kernels

SUBPIXELS = 4
"""Rasterised overlaps are counted on a grid this many times finer than the picture."""
DRAWN_BESIDE_PX = 1.0
"""What is drawn on that grid reaches no farther than this beside a shape: its corners are rounded, its edges drawn."""


def overlap_px2(rings: Sequence[PolygonPx], zone: PolygonPx) -> float:
    """Area in px² of the union of ``rings`` inside ``zone``, counted on a grid of 1/SUBPIXELS px.

    It is 0 where their gap is more than DRAWN_BESIDE_PX, which is told much faster.
    """
    low, high = np.floor(zone.min(axis=0)) - 1, np.ceil(zone.max(axis=0)) + 1
    near = [ring for ring in rings if _boxes_meet(ring, low, high)]
    if not near:
        return 0.0
    size = ((high - low) * SUBPIXELS).astype(int)
    corners = [_drawn(ring, low) for ring in near]
    every = np.concatenate(corners)
    left_top, right_bottom = every.min(axis=0).clip(0, size - 1), (every.max(axis=0) + 1).clip(None, size)
    (x0, y0), (x1, y1) = left_top.tolist(), right_bottom.tolist()
    cement, inside = np.zeros((y1 - y0, x1 - x0), np.uint8), np.zeros(size[::-1], np.uint8)
    for ring in corners:
        cv2.fillPoly(cement, [ring - left_top], 1)
    cv2.fillPoly(inside, [_drawn(zone, low)], 1)
    return float(cv2.countNonZero(cv2.bitwise_and(cement, inside[y0:y1, x0:x1]))) / SUBPIXELS**2


def depth_in_px(point: PointPx, polygon: PolygonPx) -> float:
    """Distance in px from a point to a polygon's edge: positive inside, negative outside."""
    contour = polygon.astype(np.float32).reshape(-1, 1, 2)
    return float(cv2.pointPolygonTest(contour, (float(point[0]), float(point[1])), True))


def deepest_corner(rings: Sequence[PolygonPx], polygon: PolygonPx) -> NDArray[np.float64]:
    """The corner of ``rings`` that lies deepest inside a polygon, or nearest to it: x and y."""
    corners = np.concatenate(rings)
    return np.asarray(corners[int(np.argmax(kernels.depths(corners, np.ascontiguousarray(polygon))))])


def gap_px(rings: Sequence[PolygonPx], zone: PolygonPx) -> float:
    """Shortest distance in px between the edges of ``rings`` and ``zone``; 0 where they touch or overlap."""
    gap = np.inf
    for ring in rings:
        if _one_holds_the_other(ring, zone):
            return 0.0
        gap = min(gap, _edge_gap(ring, zone, is_closed=True))
    return float(gap)


def gap_to_line_px(rings: Sequence[PolygonPx], line: PolygonPx) -> float:
    """Shortest distance in px from the edges of ``rings`` to an open polyline; 0 where they touch."""
    gap = np.inf
    for ring in rings:
        if depth_in_px((float(line[0, 0]), float(line[0, 1])), ring) >= 0:
            return 0.0
        gap = min(gap, _edge_gap(ring, line, is_closed=False))
    return float(gap)


def _one_holds_the_other(a: PolygonPx, b: PolygonPx) -> bool:
    return depth_in_px(tuple(a[0]), b) >= 0 or depth_in_px(tuple(b[0]), a) >= 0


def _edge_gap(ring: PolygonPx, other: PolygonPx, is_closed: bool) -> float:
    """Shortest distance between the edges of a ring and a polyline; 0 where any two edges cross."""
    return kernels.edge_gap(np.ascontiguousarray(ring), np.ascontiguousarray(other), is_closed)


def _boxes_meet(ring: PolygonPx, low: NDArray[np.float64], high: NDArray[np.float64]) -> bool:
    return bool((ring.min(axis=0) <= high).all() and (ring.max(axis=0) >= low).all())


def _drawn(ring: PolygonPx, low: NDArray[np.float64]) -> NDArray[np.int32]:
    """A ring's corners on a grid of 1/SUBPIXELS px that begins at ``low``."""
    return np.round((ring - low) * SUBPIXELS).astype(np.int32)
