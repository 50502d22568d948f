"""Needles that the beam runs along: dark discs, and the black core of a shaft inside the grey shadow of its hub."""

from dataclasses import dataclass
from math import ceil, cos, floor, hypot, pi, sin

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.records import PointPx
from guidance.vision.kernels import ridge
from guidance.vision.needle_shaft import BAND_PX, Floats, falls_to
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


def hub_dots(search: Density, mask: Mask, reach: float) -> list[HubDot]:
    """The needles that a hub's shadow surrounds, as in the bull's eye view down the shaft.

    ``reach``: from the core to beyond the hub, in work pixels. Such a core is as dark as the picture gets, lighter
    in all directions within that reach, and grey close about it: plastic and thin metal. A screw's head, a clamp's
    joint or a marker has no such grey ring. The beam runs nearly along the shaft, so what reaches farthest from the
    hub's middle is the tip; where nothing does, the core's middle. What it misses: hubs that are as dark as steel,
    hubs with other metal within reach, and hubs of whose surroundings the field's border cuts off a quarter.
    """
    half, is_seen = _halved(search), _halved(mask) == 255
    np.putmask(half, ~is_seen, 0.0)
    places = _compact_dark_places(_halved(half), reach)
    cores = [_core_in_hub(half, place, reach) for place in places if _is_seen_around(is_seen, place, reach)]
    return [HubDot(_tip_of(search, core, reach), core.contrast) for core in cores if core is not None]


def _halved(image: Density | Mask) -> Density:
    """Means of two by two pixels."""
    height, width = image.shape[0] // 2, image.shape[1] // 2
    small = cv2.resize(image[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.float32)


def _compact_dark_places(coarse: Density, reach: float) -> list[PointPx]:
    """Middles of what is darker, by what steel end-on is, than each direction around it at the reach."""
    height, width = coarse.shape
    margin = ceil(reach / COARSE)
    wide = cv2.copyMakeBorder(coarse, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=0.0)
    around = np.zeros_like(coarse)
    for angle in np.arange(DIRECTIONS) * (2 * pi / DIRECTIONS):
        x = margin + round(reach / COARSE * cos(angle))
        y = margin + round(reach / COARSE * sin(angle))
        np.maximum(around, wide[y : y + height, x : x + width], out=around)
    stands_out = coarse - around
    dark = (stands_out > LEAST_DOT_CONTRAST).astype(np.uint8)
    count, _, boxes, middles = cv2.connectedComponentsWithStats(dark, connectivity=8)
    areas = boxes[:, cv2.CC_STAT_AREA] * (COARSE / reach) ** 2
    large = [i for i in range(1, count) if LEAST_PLACE < areas[i] < CORE_AREA[1]]
    shift = (COARSE - 1) / 2
    return [
        (float(middles[i, 0]) * COARSE + shift, float(middles[i, 1]) * COARSE + shift)
        for i in sorted(large, key=lambda i: -areas[i])[:MOST_PLACES]
    ]


def _is_seen_around(is_seen: NDArray[np.bool_], place: PointPx, reach: float) -> bool:
    """Whether enough of the ring at the reach lies in the field: bone that its border cuts off looks compact too.

    ``is_seen``: of the half-scale picture.
    """
    height, width = is_seen.shape
    angles = np.arange(DIRECTIONS) * (2 * pi / DIRECTIONS)
    x = np.rint((place[0] + reach * np.cos(angles)) / 2).astype(np.intp)
    y = np.rint((place[1] + reach * np.sin(angles)) / 2).astype(np.intp)
    is_inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    seen = is_seen[y[is_inside], x[is_inside]].sum()
    return bool(seen >= LEAST_SEEN_AROUND * DIRECTIONS)


def _core_in_hub(half: Density, place: PointPx, reach: float) -> _Core | None:
    """The core about a place; None where it has no core's size and shape, or no grey hub about it."""
    x, y, reach = place[0] / 2, place[1] / 2, reach / 2
    x0, y0 = max(0, int(x - 1.5 * reach)), max(0, int(y - 1.5 * reach))
    window = half[y0 : int(y + 1.5 * reach) + 1, x0 : int(x + 1.5 * reach) + 1]
    window = cv2.GaussianBlur(window, (0, 0), max(0.5, reach / 26))
    rows, columns = np.ogrid[: window.shape[0], : window.shape[1]]
    away = np.hypot(columns - (x - x0), rows - (y - y0))
    ground = float(np.median(window[np.abs(away - reach) < 1.0]))
    contrast = float(window[away < 0.3 * reach].max()) - ground
    share = (window - ground) / max(1e-6, contrast)
    core = _piece(share > CORE_SHARE, away)
    if contrast < LEAST_DOT_CONTRAST or core is None or core.sum() > CORE_AREA[1] * reach**2:
        return None
    # Where the shaft leaves the hub's metal it lets a little more through: half-way to the hub's plastic is its edge.
    hub = _hub_about(core, share, reach)
    if len(hub) == 0:
        return None
    plastic = float(np.median(hub))
    core = _piece(share > 0.5 * (plastic + float(np.median(share[core]))), away)
    if core is None or not CORE_AREA[0] < core.sum() / reach**2 < CORE_AREA[1]:
        return None
    pixels = np.argwhere(core)[:, ::-1].astype(np.float64)
    hull = cv2.convexHull(pixels.astype(np.float32))
    # A hull through pixel centres lacks half a pixel all round.
    hull_area = cv2.contourArea(hull) + 0.5 * cv2.arcLength(hull, True) + 1.0
    if len(pixels) < LEAST_SOLID * hull_area or np.percentile(_hub_about(core, share, reach), 25) < LEAST_GREY:
        return None
    _, thick, _, thick_xy = cv2.minMaxLoc(cv2.distanceTransform(core.astype(np.uint8), cv2.DIST_L2, 5))
    hub_xy = pixels.mean(axis=0)
    for _ in range(3):
        near = np.hypot(columns - hub_xy[0], rows - hub_xy[1]) < 0.75 * reach
        hub_xy = np.argwhere(near & (share > HUB_SHARE))[:, ::-1].mean(axis=0)
    corner = np.array([x0, y0])
    return _Core(pixels + corner, corner + np.array(thick_xy), thick, hub_xy + corner, contrast)


def _piece(dark: NDArray[np.bool_], away: Floats) -> NDArray[np.bool_] | None:
    """The connected piece that comes nearest to the place; None where nothing is dark."""
    _, labels = cv2.connectedComponents(dark.astype(np.uint8), connectivity=4)
    label = labels.ravel()[np.argmin(np.where(dark, away, np.inf))]
    return None if label == 0 else np.asarray(labels == label)


def _hub_about(core: NDArray[np.bool_], share: Density, reach: float) -> Density:
    """The contrast's share at the pixels close about the core, around its thickest place."""
    _, _, _, (x, y) = cv2.minMaxLoc(cv2.distanceTransform(core.astype(np.uint8), cv2.DIST_L2, 5))
    gap = cv2.distanceTransform((~core).astype(np.uint8), cv2.DIST_L2, 3)
    rows, columns = np.ogrid[: core.shape[0], : core.shape[1]]
    near = np.hypot(columns - x, rows - y) < HUB_RADIUS * reach
    return np.asarray(share[near & (gap > RING[0] * reach) & (gap < RING[1] * reach)])


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
    strip = ridge.straighten(search, x, y, ux, uy, ceil(length + RING[1] * reach), max(1, round(0.04 * reach)))
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
    found = []
    for runs in (steep, flat):
        length = (runs[:, 2] - runs[:, 1] + 1) * BAND_PX
        ratio = length / np.maximum(runs[:, 6], 1.0)
        runs = runs[(runs[:, 0] >= 2) & (ratio > 0.4) & (ratio < 1.7) & (runs[:, 7] > 0.7 * LEAST_DOT_CONTRAST)]
        band = 0.5 * (runs[:, 1] + runs[:, 2])
        found.append(np.column_stack([runs[:, 3] + runs[:, 4] * band, band * BAND_PX + (BAND_PX - 1) / 2, runs[:, 6]]))
    discs = []
    for x, y, width in found[0]:
        for other_y, other_x, other_width in found[1]:
            if hypot(x - other_x, y - other_y) > 0.35 * width or not 0.6 < width / other_width < 1.6:
                continue
            disc = _disc(search, 0.5 * (x + other_x), 0.5 * (y + other_y), 0.5 * (width + other_width))
            if disc is not None:
                discs.append(disc)
    return discs


def _disc(search: Density, x: float, y: float, width: float) -> Disc | None:
    """The disc near a place; None where its edge is no circle against light all round."""
    for _ in range(2):
        rays = [
            ridge.straighten(search, x, y, cos(angle), sin(angle), ceil(1.1 * width) + 3, 1).mean(axis=1)
            for angle in np.arange(16) * (pi / 8)
        ]
        profiles = np.array(rays, dtype=np.float64)
        if not np.isfinite(profiles).all():
            return None
        core, around = float(profiles[:, :2].mean()), profiles[:, -3:].mean(axis=1)
        contrast = core - float(around.max())
        if contrast < LEAST_DOT_CONTRAST:
            return None
        radii = np.array([falls_to(p, 0.5 * (core + a)) for p, a in zip(profiles, around, strict=True)], dtype=float)
        if not np.isfinite(radii).all() or radii.std() > 0.25 * radii.mean():
            return None
        angles = np.arange(16) * (pi / 8)
        x += float(2 * np.mean(radii * np.cos(angles)))
        y += float(2 * np.mean(radii * np.sin(angles)))
    if radii.std() > 0.12 * radii.mean() + 0.15:
        return None
    return Disc((x, y), 2.0 * float(radii.mean()), contrast)
