"""The outline of an x-ray field from edge points: a circle, straight shutters, or both."""

from dataclasses import dataclass
from math import atan2, cos, pi, radians, sin

import numpy as np
from numpy.typing import NDArray

from guidance.records import FieldKind
from guidance.vision.kernels.outline import best_side, circles_through, clipped, votes_for_circles

Points = NDArray[np.float64]
Grey = NDArray[np.uint8]
Mask = NDArray[np.uint8]
Box = tuple[int, int, int, int]

TOLERANCE_PX = 1.6
"""An edge point this near a curve belongs to it: the half-level crossing of a noisy edge strays by about 1 px."""
CIRCLE_SHARE = 0.2
"""A circle must explain at least this share of the edge; shutters may hide the rest of it."""
LINE_SHARE = 0.07
SHUTTER_SHARE = 0.12
"""A side of a polygon, or a shutter before a circle, must explain at least these shares: the shadows of
instruments and of thick bone at a circle's edge are shorter or ragged, and overlooking a small shutter costs little."""
EXPLAINED_SHARE = 0.6
BEYOND_SHARE = 0.03
"""No more than this share of the edge may lie behind a shutter: text and panels beside the field make a few."""
CIRCLES_TRIED = 400
TOUCHING_PX = 0.01
"""What the frame cuts ends this near to its border."""
EIGHTH = pi / 4
OCTAGON_SLANT = radians(2.0)
"""A side of an octagon is turned from its place by less than this: half a pixel of noise on a short one."""


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """``polygon``: (n, 2) vertices inside the frame, in pixels. ``explained``: share of edge points on it.

    ``on_points``: how many that are: of two edges seen in one picture that with more of them tells more.
    ``edge_width_px``: over how many pixels the edge falls from three quarters of its height to one quarter.
    """

    kind: FieldKind
    polygon: Points
    explained: float
    on_points: int = 0
    edge_width_px: float = 0.0


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


def fit_outline(points: Points, frame: Points, reach: Points, tolerance_px: float = TOLERANCE_PX) -> Outline | None:
    """The convex field shape that most edge points agree on; None where nothing simple explains them.

    ``points``: (n, 2), in order around the field, those on the frame's own border left out. ``frame``: the
    rectangle, as ``rectangle`` gives it, that cuts every shape. ``reach``: the one that closes a polygon where no
    side was found, as far as the field was seen to reach. ``tolerance_px``: an edge point this near a curve belongs
    to it. A circle cut by shutters is tried against shutters alone; whatever the shape, the frame
    cuts it too. Points inside the outline may be many (a shadow that reaches the edge of the field looks
    like surround), points outside it must be few: there are no x-rays behind a collimator.

    Method: consensus of random samples (Fischler and Bolles, Random sample consensus, 1981) with a fixed seed.
    """
    if len(points) < 12:
        return None
    best: Outline | None = None
    best_score = 0.0
    circle = fit_circle(points, tolerance_px)
    for start in (circle, None) if circle is not None else (None,):
        left = np.ones(len(points), dtype=bool)
        if start is not None:
            left = np.abs(start.distance(points)) > _circle_tolerance(start, tolerance_px)
        sides = fit_sides(points, left, LINE_SHARE if start is None else SHUTTER_SHARE, tolerance_px)
        octagon = octagon_through(sides, points, tolerance_px) if start is None else None
        curves = len(sides) + (start is not None) if octagon is None else 1
        sides = octagon or sides
        for side in sides:
            left &= np.abs(side.distance(points)) > tolerance_px
        polygon = clip(start.polygon() if start is not None else frame, sides + _sides_of(frame))
        if start is None and _touches(polygon, frame):
            polygon = clip(reach, sides)
        explained = 1.0 - float(left.mean())
        # Each further curve explains a little by chance; prefer the simpler shape.
        score = explained - 0.02 * curves
        if score > best_score and explained > EXPLAINED_SHARE and len(polygon) >= 3:
            best = Outline(_kind(start, sides, polygon), polygon, explained, int((~left).sum()))
            best_score = score
    return best


def fit_circle(points: Points, tolerance_px: float) -> Circle | None:
    """The circle with the most points on it, refined by least squares; None below CIRCLE_SHARE."""
    rng = np.random.default_rng(0)
    n = len(points)
    spread = np.ptp(points, axis=0).max()
    triples = np.column_stack([rng.integers(0, n, CIRCLES_TRIED) for _ in range(3)])
    centres, radii = np.empty((CIRCLES_TRIED, 2)), np.empty(CIRCLES_TRIED)
    count = circles_through(np.ascontiguousarray(points), triples, 0.05 * spread**2, centres, radii)
    if not count:
        return None
    centres, radii = centres[:count], radii[:count]
    x, y = np.ascontiguousarray(points[::2].T)
    votes = votes_for_circles(x, y, centres, radii, 2.5 * tolerance_px, 4.0 * tolerance_px)
    winner = int(np.argmax(votes))
    circle = Circle(float(centres[winner, 0]), float(centres[winner, 1]), float(radii[winner]))
    for _ in range(3):
        near = np.abs(circle.distance(points)) < 1.5 * _circle_tolerance(circle, tolerance_px)
        if near.mean() < CIRCLE_SHARE:
            return None
        circle = _least_squares_circle(points[near])
    return circle


def _circle_tolerance(circle: Circle, tolerance_px: float) -> float:
    # Image intensifiers are not perfectly round: about a third of a percent of the radius.
    return max(tolerance_px, 0.0035 * circle.radius)


def _least_squares_circle(points: Points) -> Circle:
    """Algebraic fit (Kåsa, A circle fitting procedure and its error analysis, 1976); good over long arcs."""
    mean = points.mean(axis=0)
    x, y = (points - mean).T
    (p, q, r), *_ = np.linalg.lstsq(np.column_stack([x, y, np.ones_like(x)]), x**2 + y**2, rcond=None)
    cx, cy = p / 2, q / 2
    return Circle(float(cx + mean[0]), float(cy + mean[1]), float(np.sqrt(r + cx**2 + cy**2)))


def fit_sides(points: Points, left: NDArray[np.bool_], share: float, tolerance_px: float) -> tuple[Side, ...]:
    """Straight shutters through the points marked in ``left``, the best supported first, at most eight."""
    rng = np.random.default_rng(1)
    inner = np.median(points, axis=0)
    left = left.copy()
    x, y = np.ascontiguousarray(points.T)
    sides: list[Side] = []
    needed = max(8, int(share * len(points)))
    while np.count_nonzero(left) >= needed and len(sides) < 8:
        (index,) = left.nonzero()
        first = rng.integers(0, len(index), 300)
        # The second point is a near neighbour around the field, so that both often lie on one side of it.
        second = (first + rng.integers(4, max(5, needed), 300)) % len(index)
        on, *side = best_side(
            x, y, left, index[first], index[second], inner, needed, tolerance_px, BEYOND_SHARE * len(points)
        )
        if not on:
            break
        sides.append(Side(*side))
    return tuple(sides)


def octagon_through(sides: tuple[Side, ...], points: Points, tolerance_px: float) -> tuple[Side, ...] | None:
    """``completed_octagon`` of all sides, or of all but one: a rule beside the edge may look like a side."""
    for left_out in range(-1, len(sides)):
        kept = tuple(side for i, side in enumerate(sides) if i != left_out)
        octagon = completed_octagon(kept, points, tolerance_px)
        if octagon is not None:
            return octagon
    return None


def completed_octagon(sides: tuple[Side, ...], points: Points, tolerance_px: float) -> tuple[Side, ...] | None:
    """All eight sides of the regular octagon that four or more sides lie on; None where they lie on none.

    Where part of the field is as dark as its surround, the sides that are seen tell where the others are.
    """
    if len(sides) < 4:
        return None
    first = atan2(sides[0].ny, sides[0].nx)
    eighths, turns = [], []
    for side in sides:
        heading = atan2(side.ny, side.nx)
        eighths.append(round((heading - first) / EIGHTH))
        turns.append(heading - eighths[-1] * EIGHTH)
        if abs(turns[-1] - first) > OCTAGON_SLANT:
            return None
    if len({eighth % 8 for eighth in eighths}) < len(sides) or len({eighth % 2 for eighth in eighths}) == 1:
        return None
    turn = sum(turns) / len(turns)
    # Each side is as far from the centre: n . centre + radius = offset.
    equations = np.array([(side.nx, side.ny, 1.0) for side in sides])
    offsets = np.array([side.offset for side in sides])
    (x, y, radius), *_ = np.linalg.lstsq(equations, offsets, rcond=None)
    if np.abs(equations @ (x, y, radius) - offsets).max() > 2 * tolerance_px:
        return None
    angles = [turn + EIGHTH * eighth for eighth in sorted(set(range(8)) - {eighth % 8 for eighth in eighths})]
    unseen = tuple(Side(cos(a), sin(a), float(x * cos(a) + y * sin(a) + radius)) for a in angles)
    if any((side.distance(points) > 2.5 * tolerance_px).mean() > BEYOND_SHARE for side in unseen):
        return None
    return sides + unseen


def clip(polygon: Points, sides: tuple[Side, ...]) -> Points:
    """A convex polygon, (n, 2), cut to half-planes."""
    if not sides:
        return polygon
    return clipped(np.ascontiguousarray(polygon), np.array([(side.nx, side.ny, side.offset) for side in sides]))


def rectangle(x0: int, y0: int, x1: int, y1: int) -> Points:
    """Corners, (4, 2), of the pixels from x0 and y0 to x1 and y1, those excluded."""
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]) - 0.5


def full_outline(frame_size: tuple[int, int]) -> Outline:
    """The whole frame as field."""
    return Outline(FieldKind.FULL, rectangle(0, 0, *frame_size), 0.0)


def _sides_of(frame: Points) -> tuple[Side, ...]:
    (x0, y0), (x1, y1) = frame[0], frame[2]
    return (Side(-1, 0, -x0), Side(1, 0, x1), Side(0, -1, -y0), Side(0, 1, y1))


def _touches(polygon: Points, frame: Points) -> bool:
    return bool((np.abs(polygon - frame[0]) < TOUCHING_PX).any() or (np.abs(polygon - frame[2]) < TOUCHING_PX).any())


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
