"""Outlines of cement deposits: where what has been added ends, and what of it a shaft, veil or noise only pretends.

Thicknesses are in millimetres of cement, measured by what the machine's own needle adds to the picture.
"""

from collections.abc import Iterable
from math import ceil
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.records import PointPx
from guidance.vision.cement_pieces import Box, Pieces, bounds, inner_of, is_empty
from guidance.vision.change import SEED_SIGMA, STAY_SIGMA, STEEL_MARGIN_PX, Change, grown, square, steel_itself
from guidance.vision.grid import Placed
from guidance.vision.kernels import pieces as kernels
from guidance.vision.picture import Density, Mask

PLAIN_MM: Final = 0.4
"""Outlines end here at the latest: tone and veil are not fitted better everywhere."""
APART_MM: Final = 0.55
"""What is not joined to a deposit must be so thick somewhere; what those fits leave behind is not."""
THIN_MM: Final = 0.8
"""What is nowhere near so thick is less than a millimetre, or a shaft's or a bone's slipped edge."""
NEAR_MM: Final = 1.5
"""What lies apart from the deposit that feeds it is thicker than what a bone's edge adds that parallax has moved."""
MILLIMETRE_DENSITY: Final = 0.09
"""What one millimetre of cement adds to the display's density: 13 % of the signal, less a third for scatter. So it is
taken where no shaft tells better."""
SHAFT_SHARE: Final = 0.125
LEAST_MILLIMETRE: Final = 0.05
MOST_MILLIMETRE: Final = 0.13
"""A millimetre adds about a tenth of what an 11 or 13 gauge shaft adds, whatever the scatter and the display's curve,
because both bend shaft and cement alike: with scatter S times the primary, 0.13/(1 + S) of ln((1 + S)/S) is 0.08 to
0.11 for S of 0.5 to 2."""
EDGE_SHARE: Final = 0.5
"""Where even its middle is thinner than two millimetres, a deposit ends at half of that."""
SLOPE_SHARE: Final = 0.2
"""A thick deposit's edge is blurred: a sheer one lies at half of its plateau, a sloping one at a millimetre."""
FLANK_MM: Final = 1.0
"""Beside a shaft's mask its edge may still show, blurred and enhanced."""
SHAFT_MM: Final = 2.6
"""Half of a shaft with its flanks: cement on both sides is taken to lie across it, on one side up to its axis."""
LEAST_AREA_MM2: Final = 2.0
TIP_REACH_MM: Final = 5.0
"""Cement leaves a needle within its bevel and the blur of where the tip was measured."""
DEPOSIT_REACH_MM: Final = 10.0
"""A run of cement may be lost in noise or behind a shaft for this long and be seen again."""
APART_SIGMA: Final = 7.0
"""What is apart from its deposit must be so significant somewhere, or grow: over a case of minutes noise comes to six
now and then, and the least fault of a baseline does where it is thick."""
BORNE_OUT_SHARE: Final = 0.5
"""On a pulse by itself cement shows as thick as on the average of those before, growth aside, and noise not at all:
half way between lies the likelier of the two."""
PLAIN_AREA_MM2: Final = 4.0
"""What is near and so large counts at once, as every alarm waits for a second pulse; less must stand for three."""


def outlined(
    change: Change, found: Mask, box: Box, deposits: Mask, placed: Placed, work_mm: float, millimetre: float
) -> tuple[Mask, Box]:
    """The accepted regions, cut to where their finely smoothed density ends, joined across shafts; the box around them.

    ``found``: 255 on them, all within ``box``. ``deposits``: not 0 on those of the last pulse.
    """
    out = np.zeros(found.shape, np.uint8)
    if is_empty(box):
        return out, box
    box = grown(box, round(3.0 / work_mm))
    inside, hidden = found[box], swallowed(change, placed, box)
    added, broad = change.added[box], change.broad[box]
    reach = cv2.dilate(inside, square(1))
    if hidden.any():
        reach |= cv2.dilate(inside, square(round(2 * SHAFT_MM / work_mm))) & hidden
        added = _behind(added, hidden, reach, work_mm)
    plateau = _plateau(broad, inside, work_mm)
    part = np.empty_like(reach)
    thin, plain = THIN_MM * millimetre, PLAIN_MM * millimetre
    added = np.ascontiguousarray(added)
    kernels.cut(added, plateau, reach, thin, plain, millimetre, EDGE_SHARE, SLOPE_SHARE, part)
    part = without_threads(part, hidden, change.z[box])
    part = cv2.morphologyEx(part, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    part = cv2.morphologyEx(part, cv2.MORPH_CLOSE, square(1))
    pieces = Pieces(part, box)
    pieces.paint(_evident(pieces, deposits, change, work_mm, millimetre), out)
    return out, bounds(out, box)


def off_shafts(
    outlines: Mask,
    box: Box,
    placed: Placed,
    change: Change,
    tips: Iterable[PointPx],
    millimetre: float,
    work_mm: float,
) -> None:
    """Take out of outlines what only a shaft's own flanks show: its edges slip along all of its length.

    ``outlines``: 255 on them, all within ``box``.
    Over a shaft cement counts where it comes out beside it or at the tip, and where it has run along it from there.
    """
    if is_empty(box):
        return
    flank = max(1, round(FLANK_MM / work_mm))
    shafts, inside = _widened(placed, change, box, flank), outlines[box]
    beside = cv2.bitwise_and(inside, shafts)
    if not beside.any():
        return
    seen = cv2.bitwise_xor(inside, beside)
    reach = cv2.dilate(seen, square(round((FLANK_MM + SHAFT_MM) / work_mm)))
    for x, y in tips:
        at = round(x) - box[1].start, round(y) - box[0].start
        cv2.circle(reach, at, round(TIP_REACH_MM / work_mm), 255, -1)
    flanks = cv2.bitwise_and(beside, cv2.compare(reach, 0.0, cv2.CMP_EQ))
    if flanks.any():
        inside ^= _slipped(flanks, outlines, box, placed, change, millimetre, work_mm)


def _widened(placed: Placed, change: Change, box: Box, reach: int) -> Mask:
    """255 on shafts, now or in the baseline, and so far around them, the shape of ``box``."""
    wide = grown(box, reach)
    steel = cv2.bitwise_or(placed.steel[wide], change.base_steel[wide])
    return np.asarray(cv2.dilate(steel, square(reach))[inner_of(box, wide)], dtype=np.uint8)


def without_threads(outline: Mask, hidden: Mask, z: Density) -> Mask:
    """The outline without what is narrower than three pixels, about a millimetre, unless it is evident by itself.

    Blur leaves nothing so narrow: it is noise that a deposit's edge has gathered. ``hidden``: not 0 where steel may
    hide the rest of its width. ``z``: in standard deviations.
    """
    wide = cv2.morphologyEx(cv2.bitwise_or(outline, hidden), cv2.MORPH_OPEN, square(1))
    evident = cv2.bitwise_or(wide, cv2.compare(z, SEED_SIGMA, cv2.CMP_GT))
    return np.asarray(cv2.bitwise_and(outline, evident), dtype=np.uint8)


def _slipped(
    flanks: Mask, outlines: Mask, box: Box, placed: Placed, change: Change, millimetre: float, work_mm: float
) -> Mask:
    """What of the outlines on shafts, ``flanks``, may be no more than a shaft that has slipped: of ``box``.

    That is all but what hangs together with outlines beside shafts and has run along one from there.
    """
    slipped, pieces = flanks.copy(), Pieces(flanks, box)
    whole, parts = cv2.connectedComponents(outlines[box], connectivity=8)
    is_fed = np.zeros(whole, np.bool_)
    is_fed[parts[(outlines[box] > 0) & (flanks == 0)]] = True
    for name in pieces.kept:
        own = pieces.box_of(name)
        # A piece is of one part, as it hangs together.
        piece = pieces.at(name, own)
        if is_fed[parts[inner_of(own, box)][piece][0]] and _has_run_along(
            piece, own, outlines, placed, change, millimetre, work_mm
        ):
            slipped[inner_of(own, box)][piece] = 0
    return slipped


def _has_run_along(
    piece: NDArray[np.bool_],
    own: Box,
    outlines: Mask,
    placed: Placed,
    change: Change,
    millimetre: float,
    work_mm: float,
) -> bool:
    """Whether a piece of an outline that lies on a shaft is cement and not the shaft itself, slipped.

    ``own``: the box of the piece. A slip makes the other flank lighter by as much, and the shaft beyond the piece as
    dense; so does a shutter that closes, because less scatter makes steel darker. Only the flanks tell: the steel's own
    shadow has no equal in the picture that its tone could be matched by. What is beyond must be in sight.
    """
    box = grown(own, round(DEPOSIT_REACH_MM / work_mm))
    flank_px = max(1, round(FLANK_MM / work_mm))
    shafts = cv2.bitwise_and(_widened(placed, change, box, flank_px), placed.valid[box])
    mark = np.zeros(shafts.shape, np.uint8)
    mark[inner_of(own, box)] = piece
    broad, on_shaft = change.broad[box], shafts > 0
    flank = (mark > 0) & (cv2.erode(shafts, square(STEEL_MARGIN_PX + round(FLANK_MM / work_mm))) == 0)
    if not flank.any():
        return False
    thick = float(np.median(broad[flank]))
    across = on_shaft & (cv2.dilate(mark, square(round(2 * SHAFT_MM / work_mm))) > 0)
    lighter = across & (change.z[box] < -STAY_SIGMA)
    outlined = cv2.dilate(outlines[box], square(round(FLANK_MM / work_mm))) > 0
    beyond = on_shaft & ~outlined & (cv2.dilate(mark, square(round(DEPOSIT_REACH_MM / work_mm))) > 0)
    return (
        thick > millimetre
        and -float(broad[lighter].sum()) < 0.5 * float(broad[flank].sum())
        and int(beyond.sum()) * work_mm**2 >= SHAFT_MM**2
        and float(np.percentile(broad[beyond], 90)) < 0.5 * thick
    )


def _evident(pieces: Pieces, deposits: Mask, change: Change, work_mm: float, millimetre: float) -> NDArray[np.uint8]:
    """255 for each piece that would count if it stood alone, else 0: beside a deposit, veil and noise are no cement.

    Where cement was before, a new piece beside it must be a millimetre thick somewhere, a small one more: noise that
    lasts makes specks.
    """
    area_mm2 = pieces.areas_px * work_mm**2
    least_mm, least_sigma = np.full(pieces.count, APART_MM), np.full(pieces.count, SEED_SIGMA)
    is_new = pieces.eldest(deposits) == 0
    if not is_new.all():
        least_mm[is_new] = np.where(area_mm2 >= PLAIN_AREA_MM2, 1.0, NEAR_MM)[is_new]
        least_sigma[is_new] = APART_SIGMA
    seeded = pieces.evident(
        change.z, change.broad, least_sigma.astype(np.float32), least_mm.astype(np.float32), millimetre
    )
    return np.where(seeded & (area_mm2 >= LEAST_AREA_MM2), np.uint8(255), np.uint8(0))


def unsupported(
    change: Change, pieces: Pieces, deposits: Mask, since_s: NDArray[np.float32], than_s: float
) -> list[int]:
    """The pieces of the outlines that were first seen on the last pulse and that this one does not bear out.

    The average that chose a piece holds the noise that may have made it. The next pulse's own noise is another, so
    what is there shows on it as thick as it was taken for, and what is not does not, whatever the dose. ``than_s``:
    what of ``deposits`` has been there ``since_s`` later was first seen on the last pulse.
    """
    noise = []
    for piece in pieces.only_new(deposits, since_s, than_s):
        here = pieces.names == piece
        thick, alone = (float(plane[pieces.box][here].mean()) for plane in (change.broad, change.of_pulse_alone))
        if alone < BORNE_OUT_SHARE * thick:
            noise.append(piece)
    return noise


def millimetre_density(change: Change) -> float:
    """What a millimetre of cement adds on this machine, told by the baseline's shafts; the usual without one."""
    known = change.base_count > 0
    core = (steel_itself(change.base_steel) > 0) & known
    if not core.any():
        return MILLIMETRE_DENSITY
    beside = (cv2.dilate(change.base_steel, square(4)) > 0) & (cv2.dilate(change.base_steel, square(1)) == 0) & known
    contrast = float(np.median(change.base[core]) - np.median(change.base[beside])) if beside.any() else 0.0
    return min(max(SHAFT_SHARE * contrast, LEAST_MILLIMETRE), MOST_MILLIMETRE)


def swallowed(change: Change, placed: Placed, box: Box) -> Mask:
    """255 where an instrument's shadow hides what lies before or behind it: moved ones, and those at rest inside.

    The shape of ``box``.
    """
    wide = grown(box, STEEL_MARGIN_PX)
    core = steel_itself(cv2.bitwise_and(placed.steel[wide], change.base_steel[wide]))
    return np.asarray(cv2.bitwise_or(core[inner_of(box, wide)], change.hidden[box]), dtype=np.uint8)


def _plateau(broad: Density, inside: Mask, work_mm: float) -> Density:
    """The greatest density within some 2.5 mm, from inside; at half the resolution, which is enough for a level."""
    h, w = broad.shape
    half = cv2.resize(cv2.bitwise_and(broad, broad, mask=inside), ((w + 1) // 2, (h + 1) // 2))
    return np.asarray(cv2.resize(cv2.dilate(half, square(round(1.25 / work_mm))), (w, h)), dtype=np.float32)


def _behind(added: Density, hidden: Mask, reach: Mask, work_mm: float) -> Density:
    """The added density with what a shaft hides within ``reach`` filled in from both of its sides (a normalised
    convolution)."""
    sigma = 0.5 * SHAFT_MM / work_mm
    box = grown(bounds(cv2.bitwise_and(hidden, reach)), ceil(4 * sigma) + 1)
    seen = cv2.compare(hidden[box], 0.0, cv2.CMP_EQ)
    total = cv2.GaussianBlur(cv2.copyTo(added[box], seen), (0, 0), sigma)
    share = cv2.GaussianBlur((seen > 0).astype(np.float32), (0, 0), sigma)
    filled = added.copy()
    np.copyto(filled[box], np.maximum(added[box], total / np.maximum(share, 1e-3)), where=seen == 0)
    return filled
