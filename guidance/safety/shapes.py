"""Areas and distances between polygons of the picture plane, in pixels."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.records import PointPx, PolygonPx

SUBPIXELS = 4
"""Rasterised overlaps are counted on a grid this many times finer than the picture."""


def overlap_px2(rings: Sequence[PolygonPx], zone: PolygonPx) -> float:
    """Area in px² of the union of ``rings`` inside ``zone``, counted on a grid of 1/SUBPIXELS px."""
    low, high = np.floor(zone.min(axis=0)) - 1, np.ceil(zone.max(axis=0)) + 1
    if not any(_boxes_meet(ring, low, high) for ring in rings):
        return 0.0
    w, h = ((high - low) * SUBPIXELS).astype(int)
    inside = cv2.bitwise_and(_fill(rings, low, (h, w)), _fill([zone], low, (h, w)))
    return float(cv2.countNonZero(inside)) / SUBPIXELS**2


def depth_in_px(point: PointPx, polygon: PolygonPx) -> float:
    """Distance in px from a point to a polygon's edge: positive inside, negative outside."""
    contour = polygon.astype(np.float32).reshape(-1, 1, 2)
    return float(cv2.pointPolygonTest(contour, (float(point[0]), float(point[1])), True))


def gap_px(rings: Sequence[PolygonPx], zone: PolygonPx) -> float:
    """Shortest distance in px between the edges of ``rings`` and ``zone``; 0 where they touch or overlap."""
    gap = np.inf
    for ring in rings:
        if _one_holds_the_other(ring, zone):
            return 0.0
        gap = min(gap, _edge_gap(ring, zone, closed_b=True))
    return float(gap)


def gap_to_line_px(rings: Sequence[PolygonPx], line: PolygonPx) -> float:
    """Shortest distance in px from the edges of ``rings`` to an open polyline; 0 where they touch."""
    gap = np.inf
    for ring in rings:
        if depth_in_px((float(line[0, 0]), float(line[0, 1])), ring) >= 0:
            return 0.0
        gap = min(gap, _edge_gap(ring, line, closed_b=False))
    return float(gap)


def _one_holds_the_other(a: PolygonPx, b: PolygonPx) -> bool:
    return depth_in_px(tuple(a[0]), b) >= 0 or depth_in_px(tuple(b[0]), a) >= 0


def _edge_gap(a: PolygonPx, b: PolygonPx, closed_b: bool) -> float:
    """Shortest distance between two polylines' edges, ``a`` closed; 0 where any two edges cross."""
    a0, a1 = a, np.roll(a, -1, axis=0)
    b0, b1 = (b, np.roll(b, -1, axis=0)) if closed_b else (b[:-1], b[1:])
    if len(b0) == 0:
        b0, b1 = b, b
    if _any_cross(a0, a1, b0, b1):
        return 0.0
    return min(_points_to_edges(a0, b0, b1), _points_to_edges(b, a0, a1))


def _points_to_edges(points: PolygonPx, start: PolygonPx, end: PolygonPx) -> float:
    along = end - start
    length2 = np.maximum((along**2).sum(axis=1), 1e-12)
    to_point = points[:, None, :] - start[None, :, :]
    share = np.clip((to_point * along).sum(axis=2) / length2, 0.0, 1.0)
    nearest = to_point - share[..., None] * along
    return float(np.sqrt((nearest**2).sum(axis=2).min()))


def _any_cross(a0: PolygonPx, a1: PolygonPx, b0: PolygonPx, b1: PolygonPx) -> bool:
    def side(p: NDArray[np.float64], q: NDArray[np.float64], r: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.sign(
            (q[..., 0] - p[..., 0]) * (r[..., 1] - p[..., 1]) - (q[..., 1] - p[..., 1]) * (r[..., 0] - p[..., 0])
        )

    A0, A1, B0, B1 = a0[:, None], a1[:, None], b0[None], b1[None]
    parted_by_a = side(A0, A1, B0) * side(A0, A1, B1) < 0
    parted_by_b = side(B0, B1, A0) * side(B0, B1, A1) < 0
    return bool((parted_by_a & parted_by_b).any())


def _boxes_meet(ring: PolygonPx, low: NDArray[np.float64], high: NDArray[np.float64]) -> bool:
    return bool((ring.min(axis=0) <= high).all() and (ring.max(axis=0) >= low).all())


def _fill(rings: Sequence[PolygonPx], low: NDArray[np.float64], size_rc: tuple[int, int]) -> NDArray[np.uint8]:
    canvas = np.zeros(size_rc, np.uint8)
    for ring in rings:
        cv2.fillPoly(canvas, [np.round((ring - low) * SUBPIXELS).astype(np.int32)], 1)
    return canvas
