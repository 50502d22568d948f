"""Gas that moves: the bowel's bubbles make a picture lighter where they go and denser where they have been.

What gas has left is no growth. It is told by its edges, which only the baseline has.
"""

from math import ceil
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.records import PointPx
from guidance.vision.cement_pieces import Box, Pieces, inner_of
from guidance.vision.change import COARSE_MM, GROW_SIGMA, SEED_SIGMA, STEEL_MARGIN_PX, Change, grown, opened, square
from guidance.vision.grid import Placed
from guidance.vision.kernels import regions as kernels
from guidance.vision.picture import Mask

GAS_MM2: Final = 10.0
GAS_RADIUS_MM: Final = 0.75
"""Nothing that is injected makes a picture lighter: gas that moves does, over so much, in pieces this far across."""
GONE_SHARE: Final = 0.4
"""Of what gas leaves behind so much of the edges are the baseline's that are gone, of cement next to nothing."""
GAS_BLUR_MM: Final = 1.2
"""Bubbles are coarser than what is detected: smoothed twice as far, edges of noise weigh sixteen times less."""
GAS_DEPTH: Final = 1.5
"""Gas leaves no more behind than it takes where it goes: what is this much denser is something else."""
EDGE_MM: Final = 1.5
"""Edges are compared over about this length of them."""
LEAST_GAP_MM2: Final = 1.0
BETWEEN_MM: Final = 2.0
"""What lies between places so near to each other that gas has left has been left by it too. Looked at by itself a
speck of it shows no edges, and at 0.6 µR a crescent comes in specks."""


def gaps(
    change: Change,
    placed: Placed,
    found: NDArray[np.int32],
    box: Box,
    deposits: Mask,
    lately: Mask,
    tips: list[PointPx],
    work_mm: float,
) -> Mask:
    """255 on what gas has left where the baseline had it, the shape of ``box``.

    Part by part of what is new, also beside a deposit, so that what comes on top of it later is told. ``found``: not
    0 where density has been added, (h, w). ``box``: holds all of that and of ``lately`` with ``gap_reach_px`` around.
    ``deposits``: not 0 where cement has been for so long that it can be nothing else. ``lately``: 255 on what gas has
    left on the pulses before. Both of ``box``.
    """
    rim = max(1, round(1.0 / work_mm))
    settled = deposits.copy()
    for x, y in tips:
        cv2.circle(settled, (round(x) - box[1].start, round(y) - box[0].start), 2 * rim, 255, -1)
    least, *_ = cv2.minMaxLoc(change.broad, mask=cv2.compare(change.hidden, 0.0, cv2.CMP_EQ))
    settled |= cv2.compare(change.broad[box], GAS_DEPTH * -least, cv2.CMP_GT)
    around = cv2.dilate(settled, square(2 * rim))
    is_new = cv2.bitwise_and(cv2.compare(found[box], 0.0, cv2.CMP_GT), cv2.compare(around, 0.0, cv2.CMP_EQ))
    parts = Pieces(is_new, box)
    left_by_gas = np.zeros(settled.shape, np.uint8)
    for name in parts.kept:
        if parts.areas_px[name] * work_mm**2 < LEAST_GAP_MM2:
            break
        wide = grown(parts.box_of(name), 2 * rim)
        inside = inner_of(wide, box)
        part = cv2.dilate(parts.at(name, wide).astype(np.uint8), square(rim))
        part[settled[inside] > 0] = 0
        if _gone_share(change, placed, wide, part, work_mm) > GONE_SHARE:
            left_by_gas[inside] |= 255 * part
    if cv2.hasNonZero(left_by_gas):
        left = cv2.bitwise_or(left_by_gas, lately)
        between = cv2.morphologyEx(left, cv2.MORPH_CLOSE, square(_between_px(work_mm)))
        between[cv2.bitwise_or(around, cv2.compare(change.z[box], -GROW_SIGMA, cv2.CMP_LE)) > 0] = 0
        left_by_gas |= between
    return left_by_gas


def gap_reach_px(work_mm: float) -> int:
    """So far around what has been added, and around what gas has left before, ``gaps`` looks."""
    return 2 * max(1, round(1.0 / work_mm)) + _between_px(work_mm) + 1


def _between_px(work_mm: float) -> int:
    return ceil(BETWEEN_MM / 2 / work_mm)


def gas_moves(change: Change, placed: Placed, work_mm: float) -> bool:
    """Whether anything larger than noise and slipped edges has become lighter than the baseline."""
    has_gone, least_px = np.empty(change.shape, np.uint8), ceil(GAS_MM2 / work_mm**2)
    if kernels.lighter(change.z, placed.valid, change.hidden, SEED_SIGMA, least_px, has_gone) < least_px:
        return False
    return float(opened(has_gone, GAS_RADIUS_MM / work_mm).sum()) * work_mm**2 >= GAS_MM2


def fills_a_gap(change: Change, box: Box, part: NDArray[np.bool_], work_mm: float) -> bool:
    """True where the present picture goes on across a part's border and only the baseline had a step there.

    Gas has moved on, nothing has come. Where something else has changed beside the part, its border says nothing.
    """
    rim = max(2, round(2.0 / work_mm))
    wide = grown(box, 2 * rim)
    inside = np.zeros(change.base[wide].shape, np.uint8)
    inside[inner_of(box, wide)] = part
    inner = (inside > 0) & (cv2.erode(inside, square(rim)) == 0)
    outer = (cv2.dilate(inside, square(2 * rim)) > 0) & (cv2.dilate(inside, square(rim // 2)) == 0)
    outer &= (change.base_count[wide] > 0) & (np.abs(change.z[wide]) < GROW_SIGMA) & (change.base_steel[wide] == 0)
    if int(outer.sum()) < 20:
        return False
    step, added = (
        float(plane[wide][inner].mean() - plane[wide][outer].mean()) for plane in (change.base, change.broad)
    )
    return -step > 0.5 * added


def _gone_share(change: Change, placed: Placed, box: Box, part: Mask, work_mm: float) -> float:
    """How much of the edges of what has been added to a part is where the baseline had them, with the opposite sign.

    The edges that only the baseline has are of what has left. A bubble that has moved by less than its size leaves a
    crescent, of which one edge has gone and the other is the bubble's new one.
    """
    steel = cv2.dilate(placed.steel[box] | change.base_steel[box], square(STEEL_MARGIN_PX))
    use = (part > 0) & (steel == 0) & (placed.valid[box] > 0) & (change.base_count[box] > 0)
    if not use.any():
        return 0.0
    base = cv2.GaussianBlur(change.base[box], (0, 0), GAS_BLUR_MM / work_mm)
    broad = cv2.GaussianBlur(change.broad[box], (0, 0), (GAS_BLUR_MM**2 - COARSE_MM**2) ** 0.5 / work_mm)
    against, energy = np.zeros(base.shape, np.float32), np.zeros(base.shape, np.float32)
    for axis in ((1, 0), (0, 1)):
        was, came = (cv2.Sobel(plane, cv2.CV_32F, *axis) for plane in (base, broad))
        against -= was * came
        energy += came * came
    against[~use] = energy[~use] = 0
    near_against, near_energy = (cv2.GaussianBlur(plane, (0, 0), EDGE_MM / work_mm) for plane in (against, energy))
    total = float(energy.sum())
    return float(energy[near_against > 0.5 * near_energy].sum()) / total if total > 0 else 0.0
