"""What is wrong with zones as they are drawn: one clear sentence for each fault, and where to mark it on the picture.

``web/static/setup_checks.js`` says the same while somebody draws; ``tests/unit/drawing_cases.json`` holds both to it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from guidance.records import PointPx, PolygonPx, View, Zone, ZoneKind

LEAST_AREA_PX2 = 16.0
"""Less is a slip of the hand: a 5 mm foramen in a 23 cm field of 512 pixels has over a hundred."""

SAME_CORNER_PX = 0.5
GRID_SIDE = 48
OVERLAP_SHARE = 0.02
"""Zones that share an edge, as snapped ones do, overlap by less than this of the smaller one."""


@dataclass(frozen=True, slots=True)
class Fault:
    """``is_error``: the zones cannot be used so; else it is worth a look. ``at_px``: where to mark it, None nowhere."""

    is_error: bool
    text: str
    zone: str | None = None
    at_px: PointPx | None = None


def faults(zones: Iterable[Zone], width_px: int, height_px: int, field_px: PolygonPx | None = None) -> list[Fault]:
    """All that is wrong with the zones of a plan, errors first. ``field_px``: the x-ray field, where it is known."""
    zones = list(zones)
    found = [
        Fault(True, f"“{name}” names {count} zones; give each a name of its own.", name)
        for name, count in Counter(zone.id for zone in zones).items()
        if count > 1
    ]
    for zone in zones:
        found += _of_one(zone, width_px, height_px, field_px)
    broken = {fault.zone for fault in found if fault.is_error}
    found += _overlaps([zone for zone in zones if zone.id not in broken])
    found += _unguarded(zones)
    return sorted(found, key=lambda fault: not fault.is_error)


def is_convex(polygon_px: PolygonPx) -> bool:
    """Whether a polygon of at least three corners has no dent and does not cross itself."""
    edges = np.roll(polygon_px, -1, axis=0) - polygon_px
    after = np.roll(edges, -1, axis=0)
    turns = edges[:, 0] * after[:, 1] - edges[:, 1] * after[:, 0]
    angle = np.arctan2(turns, (edges * after).sum(axis=1)).sum()
    one_way = bool((turns >= 0).all() or (turns <= 0).all())
    return len(polygon_px) >= 3 and one_way and abs(abs(float(angle)) - 2 * np.pi) < 1e-6


def _of_one(zone: Zone, width_px: int, height_px: int, field_px: PolygonPx | None) -> Iterator[Fault]:
    name, corners = zone.id, zone.polygon_px
    if not name.strip():
        yield Fault(True, "A zone has no name; give it one.", name, _point(corners[0]) if len(corners) else None)
    if len(corners) < 3:
        yield Fault(True, f"“{name}” has {len(corners)} corners; a zone needs at least 3.", name)
        return
    outside = _first_outside(corners, width_px, height_px)
    if outside is not None:
        yield Fault(
            True, f"“{name}” reaches beyond the picture of {width_px} × {height_px} pixels; pull it in.", name, outside
        )
    crossing = _crossing(corners)
    if crossing is not None:
        yield Fault(True, f"“{name}” crosses itself; move a corner so that its edges do not cross.", name, crossing)
    elif abs(_area(corners)) < LEAST_AREA_PX2:
        yield Fault(
            True,
            f"“{name}” is only {abs(_area(corners)):.0f} square pixels; draw it larger or remove it.",
            name,
            _point(corners[0]),
        )
    elif field_px is not None and not _holds(field_px, corners).any():
        yield Fault(False, f"“{name}” lies outside the X-ray field: nothing is seen there.", name, _point(corners[0]))


def _overlaps(zones: list[Zone]) -> Iterator[Fault]:
    pairs = {ZoneKind.TARGET, ZoneKind.FORBIDDEN}
    for a, b in combinations(zones, 2):
        if {a.kind, b.kind} == pairs and a.view is b.view:
            target, forbidden = (a, b) if a.kind is ZoneKind.TARGET else (b, a)
            at = _overlap(a.polygon_px, b.polygon_px)
            if at is not None:
                yield Fault(
                    False,
                    f"Target “{target.id}” overlaps forbidden “{forbidden.id}”: cement there alarms.",
                    target.id,
                    at,
                )


def _unguarded(zones: list[Zone]) -> Iterator[Fault]:
    """For each view that something is drawn on, whether anything is forbidden in it; with no zone at all, once."""
    forbidden = {zone.view for zone in zones if zone.kind is ZoneKind.FORBIDDEN}
    for view in sorted({zone.view for zone in zones} - forbidden, key=str):
        yield Fault(False, f"No forbidden zone is drawn{_on(view)}: no leak into one can be told.")
    if not zones:
        yield Fault(False, "No forbidden zone is drawn: no leak into one can be told.")


def _on(view: View | None) -> str:
    return "" if view is None else f" on the {'AP' if view is View.AP else 'lateral'} view"


def _first_outside(corners: PolygonPx, width_px: int, height_px: int) -> PointPx | None:
    high = np.array([width_px, height_px]) - 0.5
    out = ((corners < -0.5) | (corners > high)).any(axis=1)
    return _point(corners[int(out.argmax())]) if out.any() else None


def _crossing(corners: PolygonPx) -> PointPx | None:
    """Where two edges cross, or a corner lies on another; None where the outline is simple."""
    count = len(corners)
    for i, j in combinations(range(count), 2):
        if np.hypot(*(corners[i] - corners[j])) < SAME_CORNER_PX:
            return _point(corners[i])
    for i, j in combinations(range(count), 2):
        if j - i < 2 or (i == 0 and j == count - 1):
            continue
        at = _meeting(corners[i], corners[(i + 1) % count], corners[j], corners[(j + 1) % count])
        if at is not None:
            return at
    return None


def _meeting(
    a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64], d: NDArray[np.float64]
) -> PointPx | None:
    """Where the line from a to b meets the one from c to d, ends included; None where it does not."""
    along, other = b - a, d - c
    cross = along[0] * other[1] - along[1] * other[0]
    if abs(cross) < 1e-12:
        return None
    gap = c - a
    s = (gap[0] * other[1] - gap[1] * other[0]) / cross
    t = (gap[0] * along[1] - gap[1] * along[0]) / cross
    return _point(a + s * along) if 0 <= s <= 1 and 0 <= t <= 1 else None


def _overlap(a: PolygonPx, b: PolygonPx) -> PointPx | None:
    """The middle of what two polygons have in common, on a grid over it; None where that is next to nothing."""
    low = np.maximum(a.min(axis=0), b.min(axis=0))
    high = np.minimum(a.max(axis=0), b.max(axis=0))
    if (high <= low).any():
        return None
    step = (high - low) / GRID_SIDE
    x, y = (low[axis] + step[axis] * (np.arange(GRID_SIDE) + 0.5) for axis in (0, 1))
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    common = grid[_holds(a, grid) & _holds(b, grid)]
    if len(common) * float(step.prod()) <= OVERLAP_SHARE * min(abs(_area(a)), abs(_area(b))):
        return None
    return _point(common.mean(axis=0))


def _holds(polygon: PolygonPx, points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """For each point, shape (n, 2), whether the polygon holds it, by the edges that a ray to the right crosses."""
    (x0, y0), (x1, y1) = polygon.T, np.roll(polygon, -1, axis=0).T
    x, y = points[:, 0, None], points[:, 1, None]
    spans = (y0 > y) != (y1 > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        right = x < (x1 - x0) * (y - y0) / (y1 - y0) + x0
    return np.asarray((spans & right).sum(axis=1) % 2 == 1)


def _area(corners: PolygonPx) -> float:
    """Signed area (the surveyor's formula)."""
    x, y = corners.T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2


def _point(xy: NDArray[np.float64]) -> PointPx:
    return float(xy[0]), float(xy[1])
