"""The x-ray field inside the video frame: its outline, its polarity, and the text burned into it."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.frame import Pixels
from guidance.records import FieldKind, FieldOutline
from guidance.vision.field_polarity import polarity_evidence
from guidance.vision.field_text import find_text
from guidance.vision.kernels.field import CELL_PX, along_rays, cell_statistics, hull_radii, outermost_falls
from guidance.vision.outline import TOLERANCE_PX, Box, Grey, Mask, Outline, Points, fit_outline, full_outline, rectangle

Levels = NDArray[np.float64]

BUSY_SHARE = 0.15
"""X-ray pixels differ from their neighbours nearly everywhere (quantum noise); drawn panels nearly nowhere."""
CONTRAST = 6.0
"""The field differs from its surround by more than this, in 8-bit levels, on average over a cell."""
WELL_EXPLAINED = 0.9
"""Share of the edge on an outline from which on no other is tried."""
STEEP_IN_SHADE = 0.4
"""In a glowing surround the field's edge is a fall of at least this share of the largest on its way out."""
SHADE_CONTRAST = 50.0
"""A surround that is only in shade must differ from the middle of the picture by more than anatomy mostly does."""
SOFT_TOLERANCE = 0.5
"""An edge point on a soft edge may stray by this share of the edge's width: so far the half-height moves when the
field just inside is taken a third too bright or too dark, which anatomy does."""
DARK_SHUTTER, WHITE_SHUTTER = 64, 190
"""Behind a shutter a display shows less than this level, inverted at least that one: little comes through lead."""
EVEN_SHADOW_SHARE = 0.8
"""So much of what shutters hide lies at one level; of a dark body part at the field's rim half does."""
SCREEN_EVENNESS = 2.0
"""What is drawn in one grey stays within this many levels of it, compression included."""
PLAIN_SHARE = 0.1
"""A plain level that this share of what is around a region has is one of its surround."""
FILLED_SHARE = 0.94
"""An outline of at least this share of its picture's area is the picture's; an octagon has 0.83 of its square."""
NEAR_SHARE = 0.15
"""A part of a field, or what is drawn beside it, that is narrower than this share of the field may be mistaken."""
MIN_AREA_SHARE = 0.03
RAYS = 360
MEAN_REACH_RAYS = 2
LEAST_EDGE_RAYS = 30
"""Fewer of them than a twelfth are no edge of a field: any dozen points lie near some circle."""
SUSPECT_SHARE = 0.12
SAME_OVERLAP = 0.98
"""Outlines of this intersection over union are one and the same: 1 % of a circle's radius."""


@dataclass(frozen=True, eq=False)
class XrayField:
    """The irradiated part of a video frame.

    ``outline``: its polygon in input-frame pixels, its kind and polarity. ``box_px``: (x0, y0, x1, y1), the
    polygon's box inside the frame, x1 and y1 excluded. ``mask``: (height, width) uint8, 255 inside the outline and
    away from burned-in text. ``text_boxes_px``: (x0, y0, x1, y1) of the text that was masked out.
    ``polarity_evidence``: as ``polarity_evidence`` returned it. ``is_fitted``: a simple shape explains the edge; else
    the outline is the hull of what carries noise, or the whole frame. ``is_described``: not so where only the place of
    a field is known, for its text and its polarity cost as much.

    The outline, and the mask with it, lies where the edge has half its height in grey levels. A machine's mask ends
    within a pixel or three; the shadow of an iris (a penumbra) falls from three quarters of that height to one
    quarter over ``edge_width_px``, the median all around, 0 where no edge was seen. The beam's own half lies up to
    one such width inside the outline, and from two widths inside on the picture is as bright as the field: what ends
    between there and the outline may have left the field rather than ended. An iris that opens to the very border of
    its picture shows no edge, and none is told; a penumbra wider than a tenth of the field is told too narrow.
    """

    outline: FieldOutline
    frame_size_px: tuple[int, int]
    text_boxes_px: tuple[Box, ...] = ()
    polarity_evidence: float = 0.0
    edge_width_px: float = 0.0
    is_fitted: bool = True
    is_described: bool = True

    @property
    def bone_dark(self) -> bool:
        return self.outline.bone_dark

    @cached_property
    def box_px(self) -> Box:
        w, h = self.frame_size_px
        x0, y0 = np.floor(self.outline.polygon_px.min(axis=0) + 0.5).astype(int)
        x1, y1 = np.ceil(self.outline.polygon_px.max(axis=0) + 0.5).astype(int)
        return max(0, int(x0)), max(0, int(y0)), min(w, int(x1)), min(h, int(y1))

    @cached_property
    def mask(self) -> Mask:
        w, h = self.frame_size_px
        mask = polygon_mask(self.outline.polygon_px, (w, h))
        for x0, y0, x1, y1 in self.text_boxes_px:
            mask[y0:y1, x0:x1] = 0
        mask.flags.writeable = False
        return mask

    @cached_property
    def rim_index(self) -> NDArray[np.intp]:
        """Indices into the flattened frame of the pixels within a cell of the outline, text among them."""
        (w, _), (x0, y0, x1, y1) = self.frame_size_px, self.box_px
        # Of the frame's border the rim is no part.
        left, top = max(0, x0 - 1), max(0, y0 - 1)
        inside = polygon_mask(self.outline.polygon_px, self.frame_size_px)[top : y1 + 1, left : x1 + 1]
        inner = cv2.erode(inside, np.ones((2 * CELL_PX + 1, 2 * CELL_PX + 1), np.uint8))
        y, x = np.divmod(np.flatnonzero(cv2.compare(inside, inner, cv2.CMP_NE).view(np.bool_)), inside.shape[1])
        return np.asarray((y + top) * w + x + left, dtype=np.intp)


def polygon_mask(polygon: Points, size: tuple[int, int]) -> Mask:
    """(height, width) uint8, 255 where a pixel's centre lies in the convex polygon. ``size``: width, height."""
    w, h = size
    mask = np.zeros((h, w), dtype=np.uint8)
    cv2.fillConvexPoly(mask, np.round(polygon * 16).astype(np.int32), 255, lineType=cv2.LINE_8, shift=4)
    return mask


def find_field(pixels: Pixels, bits: int) -> XrayField:
    """The largest x-ray field of a frame; the whole frame where no surround can be told from it.

    ``pixels``: (height, width) uint8 or uint16 with ``bits`` significant bits. The outline lies where the edge
    has half its height, within about 3 px on soft edges; see ``find_fields``.
    """
    return find_fields(pixels, bits)[0]


def find_fields(pixels: Pixels, bits: int) -> tuple[XrayField, ...]:
    """Every x-ray field of a frame, the largest first, never empty; a monitor may show a stored one beside the live.

    X-ray pixels carry noise and differ from the surround's level; what is drawn (panels, banners) is flat, or, as
    text, thin. The outline of each such region is then measured along rays and fitted by ``fit_outline``.
    Misses: a field much smaller than 3 % of the frame; the part of a field that is as dark as its surround
    is only recovered where the rest of the outline shows the shape.
    """
    grey = eight_bit(pixels, bits)
    return tuple(described(grey, place) for place in places_in(grey))


def places_in(
    grey: Grey, known: tuple[XrayField, ...] = (), open_one: XrayField | None = None
) -> tuple[XrayField, ...]:
    """Where the fields of a frame lie; what is in them only ``described`` tells, where it was not needed for that.

    ``known``: some that have been seen before, and the text in them. ``open_one``: one that has no shutters within it
    on this very frame.
    """
    size = (grey.shape[1], grey.shape[0])
    outlines = _outlines(grey) or [_outline_in_shade(grey, (0, 0, *size)) or full_outline(size)]
    places = [_place(outline, size) for outline in outlines]
    return tuple(_place_within_shutters(grey, place, known, open_one) for place in places)


def described(grey: Grey, place: XrayField, known: tuple[XrayField, ...] = ()) -> XrayField:
    """The field at a place with its text and its polarity; the same object where they have been told already.

    Text is looked for unless it has been in a known field of this outline.
    """
    if place.is_described:
        return place
    same = next((other for other in known if is_same(place, other)), None)
    text = find_text(grey, place.mask) if same is None else same.text_boxes_px
    field = replace(place, text_boxes_px=text) if text else place
    evidence = evidence_of(grey, field)
    return _in_the_same_place(with_polarity(field, evidence >= 0), polarity_evidence=evidence, is_described=True)


def eight_bit(pixels: Pixels, bits: int) -> Grey:
    """The eight most significant bits, same shape; a view where nothing has to be done."""
    if pixels.dtype == np.uint8:
        return np.asarray(pixels, dtype=np.uint8)
    return np.asarray(np.right_shift(pixels, bits - 8), dtype=np.uint8)


def _place(outline: Outline, size: tuple[int, int]) -> XrayField:
    """The field within an outline, not described yet."""
    seen = FieldOutline(outline.kind, outline.polygon, True)
    is_fitted = outline.explained > 0
    return XrayField(seen, size, edge_width_px=outline.edge_width_px, is_fitted=is_fitted, is_described=False)


def evidence_of(grey: Grey, field: XrayField) -> float:
    """Evidence for bone that is dark, as ``polarity_evidence`` has it."""
    return polarity_evidence(grey, field.mask, field.box_px, field.edge_width_px)


def without_shutters(grey: Grey, field: XrayField) -> XrayField:
    """The field inside shutters whose shadow shows within a machine's mask: dark, or white in an inverted picture.

    The same object where there are none.
    """
    lit = _lit_between_shutters(grey, field, field.bone_dark)
    return field if lit is None else described(grey, _place(lit, field.frame_size_px))


def _place_within_shutters(
    grey: Grey, place: XrayField, known: tuple[XrayField, ...], open_one: XrayField | None
) -> XrayField:
    """``without_shutters`` for a field of which the polarity is only asked for where it would make a difference."""
    if is_same(place, open_one):
        field = described(grey, place, known)
        return field if _is_told_as(field, open_one) else without_shutters(grey, field)
    lit = {bone_dark: _lit_between_shutters(grey, place, bone_dark) for bone_dark in (True, False)}
    if lit[True] is None and lit[False] is None:
        return place
    field = described(grey, place, known)
    lit_in_field = lit[field.bone_dark]
    return field if lit_in_field is None else _place(lit_in_field, field.frame_size_px)


def _lit_between_shutters(grey: Grey, field: XrayField, bone_dark: bool) -> Outline | None:
    """What shutters within a field of this polarity leave open; None where there are none."""
    levels = np.bincount(grey.ravel()[field.rim_index], minlength=256)
    alike = np.convolve(levels, np.ones(2 * round(CONTRAST) + 1), "same")
    if bone_dark:
        alike[DARK_SHUTTER:] = 0
    else:
        alike[:WHITE_SHUTTER] = 0
    if alike.max() < SUSPECT_SHARE * levels.sum():
        return None
    shadow = int(np.argmax(alike))
    x0, y0, x1, y1 = field.box_px
    inside = polygon_mask(field.outline.polygon_px, field.frame_size_px)[y0:y1, x0:x1]
    picture = grey[y0:y1, x0:x1]
    masked = np.full_like(picture, shadow)
    cv2.copyTo(picture, inside, masked)
    lit = _outline_in_shade(masked, (0, 0, x1 - x0, y1 - y0))
    if lit is None or _polygon_area(lit.polygon) > SAME_OVERLAP * area(field):
        return None
    opened = polygon_mask(lit.polygon, (x1 - x0, y1 - y0))
    is_hidden = cv2.compare(inside, opened, cv2.CMP_GT).view(np.bool_)
    hidden = np.bincount(np.ravel(picture)[np.flatnonzero(is_hidden)], minlength=256)
    if _share_near_median(hidden, 3 * CONTRAST) < EVEN_SHADOW_SHARE:
        return None
    # Where a shutter's shadow is as deep as what is hidden beside it, the fit reaches beyond the mask.
    polygon = lit.polygon + np.array([x0, y0])
    _, common = cv2.intersectConvexConvex(polygon.astype(np.float32), field.outline.polygon_px.astype(np.float32))
    return replace(lit, kind=FieldKind.POLYGON, polygon=common.reshape(-1, 2).astype(np.float64))


def _share_near_median(count: NDArray[np.intp], within: float) -> float:
    """Share of pixels less than ``within`` levels from their median, of how many there are of each level; 0 of none."""
    below = np.cumsum(count)
    total = below[-1]
    if not total:
        return 0.0
    # Of an even number the median lies between the two in the middle.
    lower, upper = np.searchsorted(below, [total / 2, total / 2 + 0.5])
    near = np.abs(np.arange(len(count)) - (lower + upper) / 2) < within
    return float(count[near].sum() / total)


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """A frame in cells of CELL_PX: mean ``level``, whether neighbouring pixels differ often (``busy``) or
    nowhere (``plain``)."""

    level: NDArray[np.float32]
    busy: NDArray[np.bool_]
    plain: NDArray[np.bool_]


def _measure_cells(grey: Grey) -> _Cells:
    rows, columns = (-(-side // CELL_PX) for side in grey.shape)
    level, busy = np.empty((rows, columns), dtype=np.float32), np.empty((rows, columns), dtype=np.int32)
    cell_statistics(np.ascontiguousarray(grey), level, busy)
    return _Cells(level, busy > BUSY_SHARE * CELL_PX**2, busy == 0)


def _outlines(grey: Grey) -> list[Outline]:
    """Outlines of all fields in a frame, the largest first."""
    h, w = grey.shape
    cells = _measure_cells(grey)
    found = [_outline_of(grey, region, cells) for region in _regions(cells)]
    areas = [_polygon_area(outline.polygon) for outline in found]
    order = sorted(range(len(found)), key=lambda i: -areas[i])
    return [found[i] for i in order if areas[i] >= MIN_AREA_SHARE * w * h]


def _outline_of(grey: Grey, region: Mask, cells: _Cells) -> Outline:
    """The outline of the field that a region of noisy cells belongs to: all of it, or what lies lit in its shade."""
    size = (grey.shape[1], grey.shape[0])
    whole, surround = _with_saturated_parts(region, cells)
    if len(surround):
        box = _picture_box(grey, whole)
        seen = _box_of(whole, size)
        reach = _reach(seen, size) if len(surround) == 1 else seen
        outline = _fit(_edge_points(grey, whole, surround), rectangle(0, 0, *size), rectangle(*reach))
        outline = outline or _hull_outline(whole, size)
    else:
        box = (0, 0, *size)
        outline = full_outline(size)
    fills_picture = _polygon_area(outline.polygon) > FILLED_SHARE * _polygon_area(rectangle(*box))
    if outline.explained >= WELL_EXPLAINED and not fills_picture:
        return outline
    lit = _outline_in_shade(grey, box)
    if lit is None:
        return outline
    lies_within = fills_picture and lit.kind in (FieldKind.CIRCLE, FieldKind.OCTAGON)
    return lit if lies_within or lit.on_points > 1.05 * outline.on_points else outline


def _reach(box: Box, size: tuple[int, int]) -> Box:
    """The box, opened to those borders of the frame that are near: what is as dark as the surround may lie there."""
    (x0, y0, x1, y1), (w, h) = box, size
    near_x, near_y = NEAR_SHARE * (x1 - x0), NEAR_SHARE * (y1 - y0)
    return (
        0 if x0 < near_x else x0,
        0 if y0 < near_y else y0,
        w if w - x1 < near_x else x1,
        h if h - y1 < near_y else y1,
    )


def _fit(edge: tuple[Points, float], frame: Points, reach: Points) -> Outline | None:
    """The shape that an edge agrees on: to a pixel or two if it can be, else as far as a soft edge may stray."""
    points, width_px = edge
    if len(points) < LEAST_EDGE_RAYS:
        return None
    outline = fit_outline(points, frame, reach)
    if SOFT_TOLERANCE * width_px > TOLERANCE_PX and (outline is None or outline.explained < WELL_EXPLAINED):
        outline = fit_outline(points, frame, reach, SOFT_TOLERANCE * width_px) or outline
    return None if outline is None else replace(outline, edge_width_px=width_px)


def _outline_in_shade(grey: Grey, box: Box) -> Outline | None:
    """The outline of a field whose surround is as noisy as itself: the shadow of iris and shutters, not a mask.

    ``box``: the picture in which it lies, x1 and y1 excluded. Such a surround shows in at least three of the
    picture's corners and lies far from the field's level. None where there is no such surround, or the edge has no
    simple shape.
    """
    x0, y0, x1, y1 = box
    picture = np.ascontiguousarray(grey[y0:y1, x0:x1])
    cells = _measure_cells(picture)
    rows, columns = cells.level.shape
    k = max(1, round(0.04 * min(rows, columns)))
    ends = np.r_[:k, -k:0]
    in_corners = cells.level[np.ix_(ends, ends)].reshape(2, k, 2, k)
    corners = np.median(in_corners, axis=(1, 3)).ravel()
    surround = float(np.median(corners))
    middle = cells.level[rows // 4 : -(rows // 4) or None, columns // 4 : -(columns // 4) or None]
    height = abs(float(np.median(middle)) - surround)
    if (np.abs(corners - surround) < 3 * CONTRAST).sum() < 3 or height < SHADE_CONTRAST:
        return None
    content = np.where(np.abs(cells.level - surround) > height / 2, 255, 0).astype(np.uint8)
    content = cv2.morphologyEx(content, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(content, connectivity=4)
    if count < 2:
        return None
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    if stats[largest, cv2.CC_STAT_AREA] < MIN_AREA_SHARE * content.size:
        return None
    region = np.where(labels == largest, 255, 0).astype(np.uint8)
    edge = _edge_points(picture, region, np.array([surround]), STEEP_IN_SHADE)
    frame = rectangle(0, 0, x1 - x0, y1 - y0)
    outline = _fit(edge, frame, frame)
    if outline is None:
        return None
    return replace(outline, polygon=outline.polygon + np.array([x0, y0]))


def _box_of(region: Mask, size: tuple[int, int]) -> Box:
    """A region of cells in pixels, x1 and y1 excluded."""
    x, y, width, height = (CELL_PX * side for side in cv2.boundingRect(region))
    return x, y, min(x + width, size[0]), min(y + height, size[1])


def _picture_box(grey: Grey, region: Mask) -> Box:
    """The box of a region of cells, x1 and y1 excluded, without what a monitor draws around the picture.

    Rows and columns of a frame, a rule or a plain background hardly vary along themselves.
    """
    x, y, x1, y1 = _box_of(region, (grey.shape[1], grey.shape[0]))
    inside = grey[y:y1, x:x1]
    along, down = inside[:, 1:] != inside[:, :-1], inside[1:] != inside[:-1]
    counts = [
        cv2.reduce(differs.view(np.uint8), dim, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel()
        for differs, dim in ((along, 1), (down, 0))
    ]
    top, bottom = _without_plain_ends(counts[0] / along.shape[1])
    left, right = _without_plain_ends(counts[1] / down.shape[0])
    return x + left, y + top, x + right, y + bottom


def _without_plain_ends(varies: NDArray[np.float64]) -> tuple[int, int]:
    """First line and the one after the last that vary at least a quarter as much as most, within a cell or two."""
    enough = varies >= 0.25 * np.median(varies)
    most = round(NEAR_SHARE * len(varies))
    first = int(np.argmax(enough[:most])) if enough[:most].any() else 0
    last = int(np.argmax(enough[::-1][:most])) if enough[::-1][:most].any() else 0
    return first, len(varies) - last


def _regions(cells: _Cells) -> list[Mask]:
    """Each large region of noisy cells, lines of text removed; neither black nor white, which may be surround."""
    low, high = CONTRAST, 255 - CONTRAST
    rim = _along_rim(cells.level)
    dark, bright = _drawn_first(cells, rim < 4 * CONTRAST), _drawn_first(cells, rim > 255 - 4 * CONTRAST)
    # A surround may carry noise of its own (an analogue grabber, an intensifier's glow).
    if len(dark):
        low = max(low, float(dark.mean() + 3 * dark.std()))
    if len(bright):
        high = min(high, float(bright.mean() - 3 * bright.std()))
    content = np.where(cells.busy & (cells.level > low) & (cells.level < high), 255, 0).astype(np.uint8)
    content = cv2.morphologyEx(content, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    for level in _screen_levels(cells):
        # The gap between a picture and what is drawn beside it may be one cell wide.
        content[~cells.busy & (np.abs(cells.level - level) < SCREEN_EVENNESS)] = 0
    # The frame's border counts as content, or opening would eat a field that the frame clips.
    framed = cv2.copyMakeBorder(content, 3, 3, 3, 3, cv2.BORDER_REPLICATE)
    content = np.ascontiguousarray(cv2.morphologyEx(framed, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))[3:-3, 3:-3])
    count, labels, stats, _ = cv2.connectedComponentsWithStats(content, connectivity=4)
    narrowest = 0.15 * min(content.shape)
    large = [
        i
        for i in range(1, count)
        if stats[i, cv2.CC_STAT_AREA] >= 0.3 * MIN_AREA_SHARE * content.size
        and min(stats[i, cv2.CC_STAT_WIDTH], stats[i, cv2.CC_STAT_HEIGHT]) >= narrowest
    ]
    return [np.where(labels == i, 255, 0).astype(np.uint8) for i in large]


def _screen_levels(cells: _Cells) -> Levels:
    """Levels of what is drawn along a good part of the frame's rim."""
    level, busy = _along_rim(cells.level), _along_rim(cells.busy)
    count = np.bincount(level[~busy].round().astype(int), minlength=256)
    return np.flatnonzero(count >= PLAIN_SHARE * len(level)).astype(np.float64)


def _along_rim(cells: NDArray[Any]) -> NDArray[Any]:
    """The outermost cells of a frame, shape (n,)."""
    return np.concatenate([cells[0], cells[-1], cells[1:-1, 0], cells[1:-1, -1]])


def _drawn_first(cells: _Cells, chosen: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Levels of the chosen cells of the rim: of the plain ones alone where those are a third, for they are surround."""
    drawn = chosen & _along_rim(cells.plain)
    return np.asarray(_along_rim(cells.level)[drawn if 3 * drawn.sum() > chosen.sum() else chosen])


def _with_saturated_parts(region: Mask, cells: _Cells) -> tuple[Mask, Levels]:
    """A region grown by the saturated parts that touch it, and the levels around it, empty without surround.

    Flat at the end of the field's own grey scale that is not the surround's end is saturated x-ray; flat in
    between is drawn.
    """
    hull = np.zeros_like(region)
    contours, _ = cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.fillConvexPoly(hull, cv2.convexHull(np.concatenate(contours)), 255)
    ring = (cv2.dilate(hull, np.ones((5, 5), np.uint8)) > 0) & (hull == 0)
    if ring.sum() < 8:
        return region, np.zeros(0)
    inside = cells.level[region > 0]
    middle = float(np.median(inside))
    levels = _surround_levels(cells, ring, middle)
    black, white = CONTRAST, 255 - CONTRAST
    if levels[0] < middle:
        white = min(float(np.percentile(inside, 97)), white)
    else:
        black = max(float(np.percentile(inside, 3)), black)
    saturated = (cells.level <= black) | (cells.level >= white)
    for level in levels:
        saturated &= np.abs(cells.level - level) > CONTRAST
    grown = np.where((region > 0) | saturated, 255, 0).astype(np.uint8)
    grown = cv2.morphologyEx(grown, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) | region
    _, labels = cv2.connectedComponents(grown, connectivity=4)
    label = np.bincount(labels[region > 0]).argmax()
    return np.where(labels == label, 255, 0).astype(np.uint8), levels


def _surround_levels(cells: _Cells, ring: NDArray[np.bool_], inside: float) -> Levels:
    """The commonest level around a region, then what else is plain there and as far from the level ``inside``.

    The corners of a picture are black, the monitor beside them has a grey of its own. Plain on the other side of the
    field's level is saturated x-ray.
    """
    count = np.bincount(cells.level[ring].round().astype(int), minlength=256)
    levels = [int(count.argmax())]
    plain = np.bincount(cells.level[ring & cells.plain].round().astype(int), minlength=256)
    if levels[0] < inside:
        plain[int(inside) :] = 0
    else:
        plain[: int(inside)] = 0
    while True:
        for level in levels:
            plain[max(0, round(level - CONTRAST)) : round(level + CONTRAST) + 1] = 0
        if plain.max() < PLAIN_SHARE * ring.sum():
            return np.array(levels, dtype=np.float64)
        levels.append(int(plain.argmax()))


def _hull(region: Mask) -> Points:
    """Convex hull of a region of cells, (n, 2) in pixels of the frame."""
    contours, _ = cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cells = cv2.convexHull(np.concatenate(contours)).reshape(-1, 2)
    corners = (cells[:, None, :] + np.array([[0, 0], [1, 0], [1, 1], [0, 1]])).reshape(-1, 2) * CELL_PX - 0.5
    return np.asarray(cv2.convexHull(corners.astype(np.float32)).reshape(-1, 2), dtype=np.float64)


def _hull_outline(region: Mask, size: tuple[int, int]) -> Outline:
    """The region's hull, or the whole frame where the region reaches three of its sides (air, not surround)."""
    touched = [bool((side > 0).any()) for side in (region[0], region[-1], region[:, 0], region[:, -1])]
    if sum(touched) >= 3:
        return full_outline(size)
    return Outline(FieldKind.POLYGON, np.clip(_hull(region), -0.5, np.array(size) - 0.5), 0.0)


def _edge_points(grey: Grey, region: Mask, surround: Levels, steep: float = 0.0) -> tuple[Points, float]:
    """Where the field ends along rays from its middle, (n, 2) in pixels, n <= RAYS, and how wide its edge is there.

    Along each ray the outermost crossing of half the height between the surround, whichever of its levels is
    nearer, and the field just inside. Rays that end at the frame's border, or where the field is as dark as the
    surround, give no point. The width in pixels is the median one from three quarters of the height to one quarter.
    """
    h, w = grey.shape
    hull = _hull(region)
    moments = cv2.moments(hull.astype(np.float32))
    centre = np.array([moments["m10"], moments["m01"]]) / moments["m00"]
    turn = np.linspace(0.0, 2 * np.pi, RAYS, endpoint=False)
    heading = np.column_stack([np.cos(turn), np.sin(turn)])
    reach = np.empty(RAYS)
    hull_radii(hull - centre, heading, reach)
    depth = max(12, round(0.08 * float(np.median(reach))))
    inward, outward = 3 * depth, 3 * CELL_PX
    shape = RAYS, inward + 1 + outward
    x, y, ends = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32), np.empty(RAYS, dtype=np.int64)
    along_rays(float(centre[0]), float(centre[1]), heading, reach - inward, w, h, x, y, ends)
    smooth = cv2.blur(grey, (3, 3))
    profile = cv2.remap(smooth, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if steep > 0:
        # In a noisy surround neighbouring rays help each other: over so few a circle strays from its chord by no pixel.
        k = MEAN_REACH_RAYS
        profile = cv2.blur(np.concatenate([profile[-k:], profile, profile[:k]]), (1, 2 * k + 1))[k:-k]
    rise_of_level = np.abs(np.arange(256.0)[:, None] - surround).min(axis=1, initial=255.0).astype(np.float32)
    rise = cv2.LUT(profile, rise_of_level)
    at, widths = np.empty(RAYS), np.empty(RAYS)
    outermost_falls(rise, ends, depth, 2.0 * CONTRAST, steep, at, widths)
    # Where the surround is plain, all that carries noise is field: an edge that it lies beyond is anatomy's.
    within = 0 if steep > 0 else inward - 3 * CELL_PX
    met = (at + 2 < ends) & (at >= within)
    found = centre + heading[met] * (reach[met] - inward + at[met])[:, None]
    inner = (found > 2.0).all(axis=1) & (found < np.array([w, h]) - 3.0).all(axis=1)
    found, widths = found[inner], widths[met][inner]
    if not len(found):
        return found, 0.0
    # One collimator's edge is about as sharp all around; where it is lost in the dark, anatomy's own falls are wider.
    width_px = float(np.median(widths))
    return np.asarray(found[widths <= 2 * width_px + 4]), width_px


def with_polarity(field: XrayField, bone_dark: bool) -> XrayField:
    """The field with this polarity."""
    return _in_the_same_place(field, outline=replace(field.outline, bone_dark=bone_dark))


_OF_THE_PLACE = "box_px", "mask", "rim_index"


def _in_the_same_place(field: XrayField, **changes: Any) -> XrayField:
    """A field of which something else is told: its box, mask and rim need not be drawn again."""
    other = replace(field, **changes)
    other.__dict__.update({name: field.__dict__[name] for name in _OF_THE_PLACE if name in field.__dict__})
    return other


def area(field: XrayField) -> float:
    """Of the outline, in square pixels."""
    return _polygon_area(field.outline.polygon_px)


def _polygon_area(polygon: Points) -> float:
    return float(cv2.contourArea(polygon.astype(np.float32)))


def share_inside(a: XrayField, b: XrayField) -> float:
    """Share of one convex outline's area that lies in another."""
    common, _ = cv2.intersectConvexConvex(
        a.outline.polygon_px.astype(np.float32), b.outline.polygon_px.astype(np.float32)
    )
    return float(common / max(area(a), 1e-9))


def overlap(a: XrayField, b: XrayField | None) -> float:
    """Intersection over union of two convex outlines."""
    if b is None:
        return 0.0
    common, _ = cv2.intersectConvexConvex(
        a.outline.polygon_px.astype(np.float32), b.outline.polygon_px.astype(np.float32)
    )
    return float(common / max(area(a) + area(b) - common, 1e-9))


def is_same(a: XrayField, b: XrayField | None) -> bool:
    """Whether two outlines are one and the same, within SAME_OVERLAP."""
    return overlap(a, b) > SAME_OVERLAP


def _is_told_as(a: XrayField, b: XrayField | None) -> bool:
    """Whether two fields are the same in outline and polarity."""
    return b is not None and a.bone_dark == b.bone_dark and is_same(a, b)
