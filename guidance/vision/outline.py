"""The outline of an x-ray field from edge points: a circle, straight shutters, or both."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guidance.records import FieldKind

Points = NDArray[np.float64]

TOLERANCE_PX = 1.6
"""An edge point this near a curve belongs to it: the half-level crossing of a noisy edge strays by about 1 px."""
CIRCLE_SHARE = 0.2
"""A circle must explain at least this share of the edge; shutters may hide the rest of it."""
LINE_SHARE = 0.07
SHUTTER_SHARE = 0.12
"""A side of a polygon, or a shutter before a circle, must explain at least these shares: the shadows of
instruments and of thick bone at a circle's edge are shorter or ragged, and overlooking a small shutter costs little."""
EXPLAINED_SHARE = 0.6


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """``polygon``: (n, 2) vertices inside the frame, in pixels. ``explained``: share of edge points on it."""

    kind: FieldKind
    polygon: Points
    explained: float


@dataclass(frozen=True, slots=True)
class Circle:
    x: float
    y: float
    radius: float

    def distance(self, points: Points) -> Points:
        """Signed distance of points, shape (n,); positive outside."""
        return np.asarray(np.hypot(points[:, 0] - self.x, points[:, 1] - self.y) - self.radius)

    def polygon(self) -> Points:
        turn = np.linspace(0.0, 2 * np.pi, 180, endpoint=False)
        return np.column_stack([self.x + self.radius * np.cos(turn), self.y + self.radius * np.sin(turn)])


@dataclass(frozen=True, slots=True)
class Side:
    """The half-plane ``nx x + ny y <= offset``: what a straight shutter leaves open."""

    nx: float
    ny: float
    offset: float

    def distance(self, points: Points) -> Points:
        """Signed distance of points, shape (n,); positive behind the shutter."""
        return np.asarray(points @ np.array([self.nx, self.ny]) - self.offset)


def fit_outline(points: Points, frame_size: tuple[int, int]) -> Outline | None:
    """The convex field shape that most edge points agree on; None where nothing simple explains them.

    ``points``: (n, 2), in order around the field, those on the frame's own border left out. ``frame_size``: width,
    height in pixels. A circle cut by shutters is tried against shutters alone; whatever the shape, the frame's
    border cuts it too. Points inside the outline may be many (a shadow that reaches the edge of the field looks
    like surround), points outside it must be few: there are no x-rays behind a collimator.

    Method: consensus of random samples (Fischler and Bolles, Random sample consensus, 1981) with a fixed seed.
    """
    frame = _frame_polygon(frame_size)
    if len(points) < 12:
        return None
    best: Outline | None = None
    best_score = 0.0
    circle = fit_circle(points)
    for start in (circle, None) if circle is not None else (None,):
        left = np.ones(len(points), dtype=bool)
        polygon = frame
        if start is not None:
            left = np.abs(start.distance(points)) > _circle_tolerance(start)
            polygon = clip(start.polygon(), _sides_of(frame))
        sides = fit_sides(points, left, LINE_SHARE if start is None else SHUTTER_SHARE)
        for side in sides:
            left &= np.abs(side.distance(points)) > TOLERANCE_PX
        polygon = clip(polygon, sides)
        explained = 1.0 - float(left.mean())
        # Each further curve explains a little by chance; prefer the simpler shape.
        score = explained - 0.02 * len(sides) - (0.02 if start is not None else 0.0)
        if score > best_score and explained > EXPLAINED_SHARE and len(polygon) >= 3:
            best, best_score = Outline(_kind(start, sides, polygon), polygon, explained), score
    return best


def fit_circle(points: Points) -> Circle | None:
    """The circle with the most points on it, refined by least squares; None below CIRCLE_SHARE."""
    rng = np.random.default_rng(0)
    n = len(points)
    spread = np.ptp(points, axis=0).max()
    a, b, c = (points[rng.integers(0, n, 400)] for _ in range(3))
    ab, ac = b - a, c - a
    twice_area = 2.0 * (ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0])
    usable = np.abs(twice_area) > 0.05 * spread**2
    a, ab, ac, twice_area = a[usable], ab[usable], ac[usable], twice_area[usable]
    if not len(a):
        return None
    bb, cc = (ab**2).sum(axis=1), (ac**2).sum(axis=1)
    x = (ac[:, 1] * bb - ab[:, 1] * cc) / twice_area
    y = (ab[:, 0] * cc - ac[:, 0] * bb) / twice_area
    centres, radii = a + np.column_stack([x, y]), np.hypot(x, y)
    voters = points[::2]
    off = np.hypot(voters[:, 0] - centres[:, :1], voters[:, 1] - centres[:, 1:]) - radii[:, None]
    votes = (np.abs(off) < 2.5 * TOLERANCE_PX).sum(axis=1) - 3.0 * (off > 4.0 * TOLERANCE_PX).sum(axis=1)
    winner = int(np.argmax(votes))
    circle = Circle(float(centres[winner, 0]), float(centres[winner, 1]), float(radii[winner]))
    for _ in range(3):
        near = np.abs(circle.distance(points)) < 1.5 * _circle_tolerance(circle)
        if near.mean() < CIRCLE_SHARE:
            return None
        circle = _least_squares_circle(points[near])
    return circle


def _circle_tolerance(circle: Circle) -> float:
    # Image intensifiers are not perfectly round: about a third of a percent of the radius.
    return max(TOLERANCE_PX, 0.0035 * circle.radius)


def _least_squares_circle(points: Points) -> Circle:
    """Algebraic fit (Kåsa, A circle fitting procedure and its error analysis, 1976); good over long arcs."""
    mean = points.mean(axis=0)
    x, y = (points - mean).T
    (p, q, r), *_ = np.linalg.lstsq(np.column_stack([x, y, np.ones_like(x)]), x**2 + y**2, rcond=None)
    cx, cy = p / 2, q / 2
    return Circle(float(cx + mean[0]), float(cy + mean[1]), float(np.sqrt(r + cx**2 + cy**2)))


def fit_sides(points: Points, left: NDArray[np.bool_], share: float) -> tuple[Side, ...]:
    """Straight shutters through the points marked in ``left``, the best supported first, at most eight."""
    rng = np.random.default_rng(1)
    inner = np.median(points, axis=0)
    left = left.copy()
    sides: list[Side] = []
    needed = max(8, int(share * len(points)))
    while left.sum() >= needed and len(sides) < 8:
        index = np.flatnonzero(left)
        first = rng.integers(0, len(index), 300)
        # The second point is a near neighbour around the field, so that both often lie on one side of it.
        second = (first + rng.integers(4, max(5, needed), 300)) % len(index)
        a, b = points[index[first]], points[index[second]]
        direction = b - a
        length = np.hypot(direction[:, 0], direction[:, 1])
        usable = length > 8.0
        if not usable.any():
            break
        a, direction, length = a[usable], direction[usable], length[usable]
        normal = np.column_stack([-direction[:, 1], direction[:, 0]]) / length[:, None]
        offset = (normal * a).sum(axis=1)
        flip = np.where(normal @ inner > offset, -1.0, 1.0)
        normal, offset = normal * flip[:, None], offset * flip
        off = points @ normal.T - offset
        votes = (np.abs(off[left]) < TOLERANCE_PX).sum(axis=0)
        votes = np.where((off > 2.5 * TOLERANCE_PX).mean(axis=0) > 0.03, 0, votes)
        winner = int(np.argmax(votes))
        if votes[winner] < needed:
            break
        near = left & (np.abs(off[:, winner]) < TOLERANCE_PX)
        sides.append(_least_squares_side(points[near], inner))
        left &= np.abs(sides[-1].distance(points)) > 2 * TOLERANCE_PX
    return tuple(sides)


def _least_squares_side(points: Points, inner: Points) -> Side:
    mean = points.mean(axis=0)
    normal = np.linalg.svd(points - mean, full_matrices=False)[2][1]
    offset = float(normal @ mean)
    if normal @ inner > offset:
        normal, offset = -normal, -offset
    return Side(float(normal[0]), float(normal[1]), offset)


def clip(polygon: Points, sides: tuple[Side, ...]) -> Points:
    """A convex polygon cut to half-planes (Sutherland and Hodgman, Reentrant polygon clipping, 1974)."""
    for side in sides:
        off = side.distance(polygon)
        kept: list[Points] = []
        for i in range(len(polygon)):
            j = (i + 1) % len(polygon)
            if off[i] <= 0:
                kept.append(polygon[i])
            if (off[i] < 0 < off[j]) or (off[j] < 0 < off[i]):
                share = off[i] / (off[i] - off[j])
                kept.append(polygon[i] + share * (polygon[j] - polygon[i]))
        polygon = np.array(kept).reshape(-1, 2)
        if len(polygon) < 3:
            break
    return polygon


def _frame_polygon(frame_size: tuple[int, int]) -> Points:
    w, h = frame_size
    return np.array([[-0.5, -0.5], [w - 0.5, -0.5], [w - 0.5, h - 0.5], [-0.5, h - 0.5]])


def full_outline(frame_size: tuple[int, int]) -> Outline:
    """The whole frame as field."""
    return Outline(FieldKind.FULL, _frame_polygon(frame_size), 0.0)


def _sides_of(frame: Points) -> tuple[Side, ...]:
    (x0, y0), (x1, y1) = frame[0], frame[2]
    return (Side(-1, 0, -x0), Side(1, 0, x1), Side(0, -1, -y0), Side(0, 1, y1))


def _kind(circle: Circle | None, sides: tuple[Side, ...], polygon: Points) -> FieldKind:
    if circle is not None:
        return FieldKind.POLYGON if sides else FieldKind.CIRCLE
    edges = np.roll(polygon, -1, axis=0) - polygon
    heading = np.degrees(np.arctan2(edges[:, 1], edges[:, 0]))[np.hypot(edges[:, 0], edges[:, 1]) > 4.0]
    turns = np.abs((np.diff(heading, append=heading[0]) + 180.0) % 360.0 - 180.0)
    if len(turns) == 4 and np.all(np.abs(turns - 90.0) < 4.0):
        return FieldKind.RECTANGLE
    if len(turns) in (6, 7, 8) and np.all(np.minimum(np.abs(turns - 45.0), np.abs(turns - 90.0)) < 8.0):
        return FieldKind.OCTAGON
    return FieldKind.POLYGON
