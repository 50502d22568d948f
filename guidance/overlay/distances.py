"""How far each needle's tip and each deposit still is from the next thing that it must not reach.

A finding that always stands there, alert or none; what is near enough to alarm is for ``safety.rules`` to say.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.records import CementDeposit, Findings, Needle, PointPx, PolygonPx, Scale, ScaleSource, ZoneKind
from guidance.safety.shapes import depth_in_px, gap_px

THINNED_WITHIN_PX = 1.0
"""How far the outlines that distances are taken between may lie from the found ones: the step of the pixels on which
they were found, a fifth of a millimetre. With every step of them it would take 7 ms a picture instead of 2."""


@dataclass(frozen=True, slots=True)
class Distance:
    """From ``from_px``, a tip or a deposit's nearest point, to ``to_px`` on the edge of what must not be reached.

    ``gap_px``: negative where it has been reached, and by how much. ``to``: the place's name in words.
    """

    to: str
    gap_px: float
    from_px: PointPx
    to_px: PointPx


def needle_distance(needle: Needle, findings: Findings) -> Distance | None:
    """From a needle's tip to the nearest forbidden zone or nerve root; None where there is none that is watched."""
    depths = [(depth_in_px(needle.tip_px, ring), name, ring) for name, rings in _forbidden(findings) for ring in rings]
    if not depths:
        return None
    depth, name, ring = max(depths, key=lambda one: one[0])
    return Distance(name, -depth, needle.tip_px, _corner_to_edge(np.array([needle.tip_px]), ring)[2])


def cement_distance(deposit: CementDeposit, findings: Findings) -> Distance | None:
    """From a deposit's edge to the nearest forbidden zone or nerve root; None where there is none that is watched.

    Of cement that has reached a place ``gap_px`` says 0: how much is in it is an area.
    """
    outline = [_thinned(ring) for ring in deposit.polygons_px]
    pairs = [
        (gap_px([ours], theirs), name, ours, theirs)
        for name, rings in _forbidden(findings)
        for theirs in rings
        for ours in outline
    ]
    if not pairs:
        return None
    gap, name, ours, theirs = min(pairs, key=lambda pair: pair[0])
    return Distance(name, gap, *_nearest_points(ours, theirs))


def distance_words(distance: Distance, scale: Scale | None) -> str:
    """The distance as it is told: millimetres, marked where the scale is a guess, pixels where there is none."""
    gap = abs(distance.gap_px)
    if scale is None:
        amount = f"{gap:.0f} px"
    else:
        about = "≈ " if scale.source is ScaleSource.ASSUMED else ""
        amount = f"{about}{gap * scale.mm_per_px:.1f} mm"
    if distance.gap_px > 0:
        return f"{amount} to {distance.to}"
    return f"{amount} inside {distance.to}" if distance.gap_px < 0 else f"at {distance.to}"


def _forbidden(findings: Findings) -> Iterator[tuple[str, list[PolygonPx]]]:
    """What must not be reached, by name; nothing while it cannot be trusted to lie where it is drawn."""
    if findings.registration is None or not findings.registration.ok:
        return
    for zone in findings.zones:
        if zone.kind is ZoneKind.FORBIDDEN:
            yield zone.id.replace("_", " "), [zone.polygon_px]
    for root in findings.nerve_roots:
        yield f"root {root.id}", [_thinned(ring) for ring in root.polygons_px]


def _nearest_points(a: PolygonPx, b: PolygonPx) -> tuple[PointPx, PointPx]:
    """Where two rings come nearest, a corner of one and a point on an edge of the other: on ``a``, on ``b``."""
    (gap_ab, corner_a, foot_b), (gap_ba, corner_b, foot_a) = _corner_to_edge(a, b), _corner_to_edge(b, a)
    return (corner_a, foot_b) if gap_ab <= gap_ba else (foot_a, corner_b)


def _corner_to_edge(corners: PolygonPx, ring: PolygonPx) -> tuple[float, PointPx, PointPx]:
    feet = _feet(corners, ring)
    gaps = np.hypot(*np.moveaxis(feet - corners[:, None], 2, 0))
    corner, edge = np.unravel_index(int(np.argmin(gaps)), gaps.shape)
    (x, y), (foot_x, foot_y) = corners[corner].tolist(), feet[corner, edge].tolist()
    return float(gaps[corner, edge]), (x, y), (foot_x, foot_y)


def _feet(points: NDArray[np.float64], ring: PolygonPx) -> NDArray[np.float64]:
    """The nearest point of each edge of a ring to each point, (points, edges, 2)."""
    along = np.roll(ring, -1, axis=0) - ring
    length2 = np.maximum((along**2).sum(axis=1), 1e-12)
    share = np.clip(((points[:, None] - ring) * along).sum(axis=2) / length2, 0.0, 1.0)
    return np.asarray(ring + share[..., None] * along)


def _thinned(ring: PolygonPx) -> PolygonPx:
    thin = cv2.approxPolyDP(np.ascontiguousarray(ring, dtype=np.float32), THINNED_WITHIN_PX, True)
    return np.asarray(thin.reshape(-1, 2), dtype=np.float64)
