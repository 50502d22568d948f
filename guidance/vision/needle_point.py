"""How the point of a bone access needle looks: a three-faced trocar at any roll and foreshortening, blurred.

Everything is in diameters of the shaft, so that one table serves every gauge and magnification. Places along the axis
are counted from the visible apex backwards.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import cos, exp, pi, radians, sin

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.vision.needle_shaft import Floats

BEVEL_DEG = 22.0
"""Between each face of the trocar and its axis."""
VIEWS_DEG = (90.0, 60.0, 40.0, 25.0)
"""Between axis and beam. A needle more nearly along the beam hardly shows its point."""
ROLLS_DEG = (45.0, 75.0)
"""Of the first face about the axis, seen from beside it. What is left of 360° by three faces, and by taking both sides
of the axis together, is 30° to 90°."""
SEEN_STEEL = 0.1
"""Steel this thick, 0.3 mm, takes a fifth of the beam: less is lost in the noise. There the visible apex lies."""
STEEL_DEPTH = 2.4
"""Optical depth of one diameter in the primary beam: 3 mm of steel near 65 keV."""
GRAIN = 48
"""Table entries a diameter."""
BEFORE_APEX, BEHIND_APEX, ASIDE = 1.0, 2.0, 1.3
"""How far the tables reach. Farther behind, the shaft has its full thickness and the last row stands for all."""
USUAL_BLUR_PERCENT = range(4, 45)
"""Of the diameter: from a wide needle on a sharp picture to a thin one that moves."""
CORE = 0.22
"""Out to here from its axis the shaft is at its darkest."""


@dataclass(frozen=True, slots=True, eq=False)
class PointImages:
    """Density of points seen in several ways: (ways, columns out from the axis, rows along), GRAIN a diameter.

    Row ``BEFORE_APEX * GRAIN`` is the visible apex. ``half_behind``: for each way, how far behind the visible apex the
    axis reaches half of the shaft's contrast.
    """

    density: NDArray[np.float32]
    half_behind: Floats


@lru_cache(maxsize=256)
def point_images(blur_percent: int, contrast_quarters: int) -> PointImages:
    """The points seen through a blur, its standard deviation in percent of the diameter, behind so much scatter that
    the whole shaft has the given contrast, in quarters of a unit of density.

    What it misses: edge enhancement, and the display's curve beyond a logarithm.
    """
    primary = _blurred_primary(blur_percent)
    black = primary[:, :1, -1:]
    dark = exp(-max(0.3, 0.25 * contrast_quarters))
    scatter = np.maximum(0.0, (dark - black) / (1.0 - dark))
    density = -np.log((primary + scatter) / (1.0 + scatter))
    core = density[:, : round(CORE * GRAIN) + 1].mean(axis=1)
    half_behind = np.argmax(core > 0.5 * core[:, -1:], axis=1) / GRAIN - BEFORE_APEX
    return PointImages(density, half_behind)


def prepare() -> None:
    """Blur the points as much as needles in pictures are: it takes a pulse's time for one blur and must not wait."""
    for blur_percent in USUAL_BLUR_PERCENT:
        _blurred_primary(blur_percent)


@lru_cache(maxsize=64)
def _blurred_primary(blur_percent: int) -> NDArray[np.float32]:
    """The primary beam's share behind the points, both sides of the axis in one, as the detector blurs it."""
    sigma = 0.01 * blur_percent * GRAIN
    # One half: the blur mirrors it at the axis.
    return np.array([cv2.GaussianBlur(image, (0, 0), sigma) for image in _primary()])


@lru_cache(maxsize=1)
def _primary() -> NDArray[np.float32]:
    behind = np.arange(round((BEFORE_APEX + BEHIND_APEX) * GRAIN) + 1) / GRAIN - BEFORE_APEX
    out = np.arange(round(ASIDE * GRAIN) + 1) / GRAIN
    images = []
    for view_deg in VIEWS_DEG:
        for roll_deg in ROLLS_DEG:
            apex = _visible_apex(view_deg, roll_deg)
            sides = [trocar_path(view_deg, roll_deg, apex + behind, side * out) for side in (1.0, -1.0)]
            images.append(0.5 * (np.exp(-STEEL_DEPTH * sides[0]) + np.exp(-STEEL_DEPTH * sides[1])).T)
    return np.array(images, dtype=np.float32)


def _visible_apex(view_deg: float, roll_deg: float) -> float:
    """How far behind the projection of the true apex there is enough steel to be seen.

    Negative where an edge of the point, seen obliquely from behind, stands out beyond it.
    """
    behind = np.arange(-1.0, 1.0, 0.01)
    path = trocar_path(view_deg, roll_deg, behind, np.linspace(-0.25, 0.25, 5))
    return float(behind[np.argmax((path >= SEEN_STEEL).any(axis=1))])


def trocar_path(view_deg: float, roll_deg: float, behind: Floats, aside: Floats) -> Floats:
    """Steel along parallel rays through a trocar point, in diameters, shape (behind, aside).

    ``behind``, ``aside``: places in the picture from the projection of the true apex, backwards along the axis and
    across it. ``view_deg``: between axis and beam. ``roll_deg``: of the point about its axis.
    """
    view, roll, bevel = radians(view_deg), radians(roll_deg), radians(BEVEL_DEG)
    # x backwards in the picture, y across, z along the beam.
    back = np.array([sin(view), 0.0, cos(view)])
    across, upwards = np.array([0.0, 1.0, 0.0]), np.array([-cos(view), 0.0, sin(view)])
    x, y = behind[:, None], aside[None, :]
    # Inside the round shaft: where the ray's distance from the axis is at most the radius.
    middle = x / np.tan(view) + 0.0 * y
    reach = np.sqrt(np.maximum(0.0, 0.25 - y**2)) / sin(view)
    enters, leaves = middle - reach, middle + reach
    for face in range(3):
        turn = roll + face * 2.0 * pi / 3.0
        outward = cos(bevel) * (cos(turn) * across + sin(turn) * upwards) - sin(bevel) * back
        over, slope = x * outward[0] + y * outward[1], outward[2]
        if slope > 1e-9:
            leaves = np.minimum(leaves, -over / slope)
        elif slope < -1e-9:
            enters = np.maximum(enters, -over / slope)
        else:
            leaves = np.where(over > 0.0, enters, leaves)
    return np.asarray(np.maximum(0.0, leaves - enters))
