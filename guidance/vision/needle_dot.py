"""Needles that the beam runs along: dark discs, and the black core of a shaft inside the grey shadow of its hub."""

from dataclasses import dataclass
from functools import cache
from math import ceil, floor, hypot, pi

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.records import PointPx
from guidance.vision.kernels import hub as kernels
from guidance.vision.kernels.median import median
from guidance.vision.kernels.shaft import straighten
from guidance.vision.needle_shaft import BAND_PX, Floats, SearchPlanes, falls_to
from guidance.vision.picture import Density, Mask

LEAST_DOT_CONTRAST = 0.45
"""Of a needle end-on: its whole length in the beam leaves nothing but scatter, 0.7 where that equals the primary."""
COARSE = 4
"""Work pixels to one of the picture on which places are looked for: a needle is two or three of them wide."""
HUB_REACH_DIAMETERS = 4.65
"""From the core to beyond the hub, 15 mm, in the greatest diameters that a known scale allows."""
HUB_REACH_OF_FIELD = 0.1
"""The same where scale and gauge are unknown: at the needle's depth a field is 100 to 200 mm wide."""
DIRECTIONS = 12
RAYS = 16
MOST_PLACES = 4
"""Compact dark places looked at in one picture, the largest first."""
LEAST_PLACE = 0.05
"""In units of the reach squared; smaller ones are specks."""
LEAST_SEEN_AROUND = 0.75
"""Of the way round at the reach: what lies beyond the field's border is not known to be lighter."""
CORE_SHARE = 0.8
"""Of the contrast between core and surroundings; plastic and the thin metal of a luer lock let more through."""
CORE_AREA = (0.08, 0.55)
"""Of a core with what of its hub is as dark, in units of the reach squared: no speck of bone, and no implant."""
RING = (0.08, 0.22)
"""How far from the core the hub is looked at, in units of the reach."""
LEAST_GREY = 0.25
"""The hub about the core, as a share of the core's contrast, on three quarters of the way round."""
LEAST_SOLID = 0.75
HUB_RADIUS = 0.6
"""Within this of the core's thickest place, in units of the reach: a longer core stands out of the hub."""
HUB_SHARE = 0.35
CAP_SHARE = 0.85
LEAST_OUT = 0.07
"""In units of the reach: a core that reaches no farther to one side than this is looked at straight along its axis."""


@dataclass(frozen=True, slots=True)
class Disc:
    """A dark disc with light all round it, in work pixels."""

    centre_xy: PointPx
    diameter: float
    contrast: float


@dataclass(frozen=True, slots=True)
class HubDot:
    """The tip of a shaft that is seen from behind, within or beside its hub's shadow, in work pixels."""

    tip_xy: PointPx
    contrast: float


@dataclass(frozen=True, slots=True, eq=False)
class _Core:
    """What is as dark as steel end-on inside a hub's shadow, in pixels of the half-scale picture.

    ``thick_xy``, ``thick``: middle and radius of the largest disc in it: the hub's metal, or the shaft alone.
    ``hub_xy``: the middle of the hub's shadow.
    """

    pixels_xy: Floats
    thick_xy: Floats
    thick: float
    hub_xy: Floats
    contrast: float


def hub_dots(planes: SearchPlanes, reach: float) -> list[HubDot]:
    """The needles that a hub's shadow surrounds, as in the bull's eye view down the shaft.

    ``reach``: from the core to beyond the hub, in work pixels. Such a core is as dark as the picture gets, lighter
    in all directions within that reach, and grey close about it: plastic and thin metal. A screw's head, a clamp's
    joint or a marker has no such grey ring. The beam runs nearly along the shaft, so what reaches farthest from the
    hub's middle is the tip; where nothing does, the core's middle. What it misses: hubs that are as dark as steel,
    hubs with other metal within reach, and hubs of whose surroundings the field's border cuts off a quarter.
    """
    half, half_seen = planes.half, planes.half_seen
    height, width = half.shape[0] // 2, half.shape[1] // 2
    coarse = cv2.resize(half[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)
    places = _compact_dark_places(np.asarray(coarse, dtype=np.float32), reach)
    cores = [_core_in_hub(half, place, reach) for place in places if _is_seen_around(half_seen, place, reach)]
    return [HubDot(_tip_of(planes.image, core, reach), core.contrast) for core in cores if core is not None]


def _compact_dark_places(coarse: Density, reach: float) -> list[PointPx]:
    """Middles of what is darker, by what steel end-on is, than each direction around it at the reach."""
    steps_yx = np.rint(reach / COARSE * _around(DIRECTIONS)[:, ::-1]).astype(np.int64)
    dark = kernels.standing_out(coarse, steps_yx, np.float32(LEAST_DOT_CONTRAST))
    unit, shift = (COARSE / reach) ** 2, (COARSE - 1) / 2
    pieces = [piece for piece in kernels.pieces_of(dark).tolist() if LEAST_PLACE < piece[0] * unit < CORE_AREA[1]]
    pieces.sort(key=lambda piece: -piece[0])
    return [(x * COARSE + shift, y * COARSE + shift) for _, x, y in pieces[:MOST_PLACES]]


def _is_seen_around(seen: Mask, place: PointPx, reach: float) -> bool:
    """Whether enough of the ring at the reach lies in the field: bone that its border cuts off looks compact too.

    ``seen``: of the half-scale picture.
    """
    height, width = seen.shape
    n = 0
    for along_x, along_y in _around(DIRECTIONS).tolist():
        x, y = round((place[0] + reach * along_x) / 2), round((place[1] + reach * along_y) / 2)
        n += 0 <= x < width and 0 <= y < height and seen[y, x] != 0
    return bool(n >= LEAST_SEEN_AROUND * DIRECTIONS)


@cache
def _around(directions: int) -> Floats:
    """Unit vectors in so many directions, shape (directions, 2)."""
    angles = np.arange(directions) * (2 * pi / directions)
    return np.column_stack([np.cos(angles), np.sin(angles)])


def _core_in_hub(half: Density, place: PointPx, reach: float) -> _Core | None:
    """The core about a place; None where it has no core's size and shape, or no grey hub about it."""
    x, y, reach = place[0] / 2, place[1] / 2, reach / 2
    x0, y0 = max(0, int(x - 1.5 * reach)), max(0, int(y - 1.5 * reach))
    window = half[y0 : int(y + 1.5 * reach) + 1, x0 : int(x + 1.5 * reach) + 1]
    window = cv2.GaussianBlur(window, (0, 0), max(0.5, reach / 26))
    place_x, place_y = x - x0, y - y0
    share, contrast = kernels.contrast_about(window, place_x, place_y, reach)
    if contrast < LEAST_DOT_CONTRAST:
        return None
    core = kernels.piece(share, place_x, place_y, CORE_SHARE)
    if not 0 < cv2.countNonZero(core) <= CORE_AREA[1] * reach**2:
        return None
    # Where the shaft leaves the hub's metal it lets a little more through: half-way to the hub's plastic is its edge.
    hub = _hub_about(core, share, reach)
    if len(hub) == 0:
        return None
    edge = 0.5 * (median(hub) + kernels.median_within(share, core))
    core = kernels.piece(share, place_x, place_y, edge)
    area = cv2.countNonZero(core)
    if not CORE_AREA[0] < area / reach**2 < CORE_AREA[1]:
        return None
    if _lower_quartile(_hub_about(core, share, reach)) < LEAST_GREY:
        return None
    pixels = np.reshape(cv2.findNonZero(core), (-1, 2)).astype(np.float64)
    hull = cv2.convexHull(pixels.astype(np.float32))
    # A hull through pixel centres lacks half a pixel all round.
    if area < LEAST_SOLID * (cv2.contourArea(hull) + 0.5 * cv2.arcLength(hull, True) + 1.0):
        return None
    thick, thick_xy = _thickest(core)
    x, y = pixels.mean(axis=0).tolist()
    hub_xy = kernels.middle_about(share, x, y, HUB_SHARE, 0.75 * reach)
    corner = np.array([x0, y0])
    return _Core(pixels + corner, corner + np.array(thick_xy), thick, corner + np.array(hub_xy), contrast)


def _lower_quartile(rising: Density) -> float:
    """The 25th percentile of values in rising order; 0 of none."""
    if len(rising) == 0:
        return 0.0
    at = 0.25 * (len(rising) - 1)
    below, above = rising[floor(at)], rising[ceil(at)]
    return float(below + (at - floor(at)) * (above - below))


def _thickest(core: Mask) -> tuple[float, tuple[int, int]]:
    """Radius and middle of the largest disc in the core."""
    _, thick, _, (x, y) = cv2.minMaxLoc(cv2.distanceTransform(core, cv2.DIST_L2, 5))
    return thick, (x, y)


def _hub_about(core: Mask, share: Density, reach: float) -> Density:
    """The contrast's share at the pixels close about the core, around its thickest place, in rising order."""
    x, y, width, height = cv2.boundingRect(core)
    beyond = ceil(RING[1] * reach) + 1
    left, top = max(0, x - beyond), max(0, y - beyond)
    box = np.s_[top : y + height + beyond, left : x + width + beyond]
    near = np.ascontiguousarray(core[box])
    _, (x, y) = _thickest(near)
    gap = np.asarray(cv2.distanceTransform(1 - near, cv2.DIST_L2, 3), dtype=np.float32)
    here = np.ascontiguousarray(share[box])
    return kernels.between(here, gap, RING[0] * reach, RING[1] * reach, x, y, HUB_RADIUS * reach)


def _tip_of(search: Density, core: _Core, reach: float) -> PointPx:
    """The core's end away from its hub's middle, where its density falls by half; its middle where it has no end."""
    far_xy = core.pixels_xy[
        np.argmax(np.hypot(*(core.pixels_xy - core.thick_xy).T) + np.hypot(*(core.pixels_xy - core.hub_xy).T))
    ]
    x, y = _work_xy(core.thick_xy)
    if np.hypot(*(far_xy - core.thick_xy)) < core.thick + LEAST_OUT * reach / 2:
        return x, y
    along = _unit(far_xy - core.thick_xy)
    for _ in range(2):
        ahead = (core.pixels_xy - core.thick_xy) @ along
        along = _unit(core.pixels_xy[ahead > CAP_SHARE * ahead.max()].mean(axis=0) - core.thick_xy)
    ux, uy = along.tolist()
    length = 2 * float(((core.pixels_xy - core.thick_xy) @ along).max())
    steel, grey = floor(length - RING[0] * reach), ceil(length + RING[0] * reach)
    strip = straighten(search, x, y, ux, uy, ceil(length + RING[1] * reach), max(1, round(0.04 * reach)))
    profile = np.nan_to_num(strip).mean(axis=1).astype(np.float64)
    half_way = 0.5 * float(np.median(profile[:steel]) + np.median(profile[grey:]))
    fallen = falls_to(profile[steel : grey + 1], half_way)
    end = length if fallen is None else steel + fallen
    return x + end * ux, y + end * uy


def _unit(vector: Floats) -> Floats:
    return np.asarray(vector / max(1e-9, hypot(vector[0], vector[1])))


def _work_xy(half_xy: NDArray[np.float64]) -> PointPx:
    return 2 * float(half_xy[0]) + 0.5, 2 * float(half_xy[1]) + 0.5


def dark_discs(search: Density, steep: Floats, flat: Floats) -> list[Disc]:
    """The dark discs: ribbon on rows and on columns, and as long as wide.

    ``steep``, ``flat``: the runs on rows and on columns.
    """
    places = kernels.disc_places(steep, flat, float(BAND_PX), 0.7 * LEAST_DOT_CONTRAST).tolist()
    return [disc for place in places if (disc := _disc(search, *place)) is not None]


def _disc(search: Density, x: float, y: float, width: float) -> Disc | None:
    """The disc near a place; None where its edge is no circle against light all round."""
    for _ in range(2):
        profiles = kernels.rays(search, x, y, _around(RAYS), ceil(1.1 * width) + 3)
        if not np.isfinite(profiles).all():
            return None
        core, around = float(profiles[:, :2].mean()), profiles[:, -3:].mean(axis=1)
        contrast = core - float(around.max())
        if contrast < LEAST_DOT_CONTRAST:
            return None
        radii = np.array([falls_to(p, 0.5 * (core + a)) for p, a in zip(profiles, around, strict=True)], dtype=float)
        if not np.isfinite(radii).all() or radii.std() > 0.25 * radii.mean():
            return None
        off_x, off_y = (2 * radii @ _around(RAYS) / RAYS).tolist()
        x, y = x + off_x, y + off_y
    if radii.std() > 0.12 * radii.mean() + 0.15:
        return None
    return Disc((x, y), 2.0 * float(radii.mean()), contrast)
