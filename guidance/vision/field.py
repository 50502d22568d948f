"""The x-ray field inside the video frame: its outline, its polarity, and the text burned into it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property, reduce
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.frame import Pixels
from guidance.records import FieldKind, FieldOutline
from guidance.vision.kernels.field import CELL_PX, area_mean, cell_statistics, glyphs, outermost_falls
from guidance.vision.outline import TOLERANCE_PX, Outline, Points, fit_outline, full_outline, rectangle

Grey = NDArray[np.uint8]
Mask = NDArray[np.uint8]
Levels = NDArray[np.float64]
Box = tuple[int, int, int, int]
Fine = NDArray[np.uint16]
_Morphology = Callable[..., Any]

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
POLARITY_SIDE_PX = 240
FINE_LEVELS = 256
"""Steps within one 8-bit level that thin structures are told in."""
TEXT_CONTRAST = 64
"""Strokes of burned-in text stand out by more than this, in 8-bit levels, within one pixel."""
SUSPECT_SHARE = 0.12
SUSPECT_FRAMES = 2
SETTLED_FRAMES = 8
"""So many frames after a change a recursive filter shows no more of what was."""
LOOK_EVERY_FRAMES = 2
"""Until then the field is looked for so often: shutters that close show as soon as the filter lets them."""
MASK_EDGE_PX = 4.0
"""A machine's mask ends within three pixels, softened by a monitor's scaling and compression to four."""
SHADE_SIDE_PX = 31
"""Of the picture that the polarity is told in: well within a penumbra's reach and beyond it."""
SURE_POLARITY = 2.0
"""Evidence summed over looks from which the polarity is no longer questioned while the picture stays."""
WRONG_POLARITY = 0.3
"""Summed evidence against the polarity as told that overturns it."""
POLARITY_LOOK_FRAMES = 8
"""While unsure, the polarity is looked at anew this often: a needle may have come, gas may have moved on."""
SAME_OVERLAP = 0.98
"""Outlines of this intersection over union are one and the same: 1 % of a circle's radius."""
RIVAL_SHARE = 0.4
"""Another field on the monitor may be the live one from this share of the larger one's area on."""


@dataclass(frozen=True, eq=False)
class XrayField:
    """The irradiated part of a video frame.

    ``outline``: its polygon in input-frame pixels, its kind and polarity. ``box_px``: (x0, y0, x1, y1), the
    polygon's box inside the frame, x1 and y1 excluded. ``mask``: (height, width) uint8, 255 inside the outline and
    away from burned-in text. ``text_boxes_px``: (x0, y0, x1, y1) of the text that was masked out.
    ``polarity_evidence``: as ``polarity_evidence`` returned it. ``is_fitted``: a simple shape explains the edge; else
    the outline is the hull of what carries noise, or the whole frame.

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
    return _fields(eight_bit(pixels, bits))


def _fields(grey: Grey, known: tuple[XrayField, ...] = (), open_one: XrayField | None = None) -> tuple[XrayField, ...]:
    """The fields of a frame.

    ``known``: some that have been seen before, and the text in them. ``open_one``: one that has no shutters within it
    on this very frame.
    """
    size = (grey.shape[1], grey.shape[0])
    outlines = _outlines(grey) or [_outline_in_shade(grey, (0, 0, *size)) or full_outline(size)]
    fields = [_describe(grey, outline, known) for outline in outlines]
    return tuple(field if _is_told_as(field, open_one) else _without_shutters(grey, field) for field in fields)


def eight_bit(pixels: Pixels, bits: int) -> Grey:
    """The eight most significant bits, same shape; a view where nothing has to be done."""
    if pixels.dtype == np.uint8:
        return np.asarray(pixels, dtype=np.uint8)
    return np.asarray(np.right_shift(pixels, bits - 8), dtype=np.uint8)


def _describe(grey: Grey, outline: Outline, known: tuple[XrayField, ...] = ()) -> XrayField:
    """The field within an outline. Text is looked for unless it has been in a known field of this outline."""
    size = (grey.shape[1], grey.shape[0])
    seen = FieldOutline(outline.kind, outline.polygon, True)
    field = XrayField(seen, size, edge_width_px=outline.edge_width_px, is_fitted=outline.explained > 0)
    same = next((other for other in known if _same(field, other)), None)
    text = find_text(grey, field.mask) if same is None else same.text_boxes_px
    if text:
        field = replace(field, text_boxes_px=text)
    evidence = polarity_evidence(grey, field)
    return _in_the_same_place(_with_polarity(field, evidence >= 0), polarity_evidence=evidence)


def _without_shutters(grey: Grey, field: XrayField) -> XrayField:
    """The field inside shutters whose shadow shows within a machine's mask: dark, or white in an inverted picture.

    The same object where there are none.
    """
    size = (grey.shape[1], grey.shape[0])
    inside = field.mask if not field.text_boxes_px else polygon_mask(field.outline.polygon_px, size)
    rim = cv2.subtract(inside, cv2.erode(inside, np.ones((2 * CELL_PX + 1, 2 * CELL_PX + 1), np.uint8)))
    levels = np.bincount(grey[rim > 0], minlength=256)
    alike = np.convolve(levels, np.ones(2 * round(CONTRAST) + 1), "same")
    if field.bone_dark:
        alike[DARK_SHUTTER:] = 0
    else:
        alike[:WHITE_SHUTTER] = 0
    if alike.max() < SUSPECT_SHARE * levels.sum():
        return field
    shadow = int(np.argmax(alike))
    lit = _outline_in_shade(np.where(inside > 0, grey, np.uint8(shadow)), field.box_px)
    if lit is None or _polygon_area(lit.polygon) > SAME_OVERLAP * _area(field):
        return field
    hidden = grey[(inside > 0) & (polygon_mask(lit.polygon, size) == 0)].astype(np.float32)
    if (np.abs(hidden - np.median(hidden)) < 3 * CONTRAST).mean() < EVEN_SHADOW_SHARE:
        return field
    # Where a shutter's shadow is as deep as what is hidden beside it, the fit reaches beyond the mask.
    _, common = cv2.intersectConvexConvex(lit.polygon.astype(np.float32), field.outline.polygon_px.astype(np.float32))
    return _describe(grey, replace(lit, kind=FieldKind.POLYGON, polygon=common.reshape(-1, 2).astype(np.float64)))


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
    corners = np.array(
        [np.median(cells.level[y, x]) for y in (slice(k), slice(-k, None)) for x in (slice(k), slice(-k, None))]
    )
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
    reach = _hull_radius(hull, centre, heading)
    depth = max(12, round(0.08 * float(np.median(reach))))
    inward, outward = 3 * depth, 3 * CELL_PX
    steps = np.arange(-inward, outward + 1, dtype=np.float64)
    along = reach[:, None] + steps[None, :]
    x = centre[0] + heading[:, :1] * along
    y = centre[1] + heading[:, 1:] * along
    outside = (x < -0.5) | (y < -0.5) | (x > w - 0.5) | (y > h - 0.5)
    smooth = cv2.blur(grey, (3, 3))
    profile = cv2.remap(
        smooth, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    if steep > 0:
        # In a noisy surround neighbouring rays help each other: over so few a circle strays from its chord by no pixel.
        k = MEAN_REACH_RAYS
        profile = cv2.blur(np.concatenate([profile[-k:], profile, profile[:k]]), (1, 2 * k + 1))[k:-k]
    rise = np.full(profile.shape, 255, dtype=np.float32)
    for level in surround:
        np.minimum(rise, np.abs(profile.astype(np.float32) - np.float32(level)), out=rise)
    ends = np.where(outside.any(axis=1), outside.argmax(axis=1), len(steps)).astype(np.int64)
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


def _hull_radius(hull: Points, centre: Points, heading: Points) -> Points:
    """Distance from the centre to a convex hull along each heading, shape (rays,)."""
    a, b = hull - centre, np.roll(hull, -1, axis=0) - centre
    edge = b - a
    cross = heading[:, :1] * edge[:, 1] - heading[:, 1:] * edge[:, 0]
    far = a[:, 0] * edge[:, 1] - a[:, 1] * edge[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        along = far / cross
        share = (a[:, 0] * heading[:, 1:] - a[:, 1] * heading[:, :1]) / cross
    hits = np.isfinite(along) & (along > 0) & (share > -1e-6) & (share < 1 + 1e-6)
    return np.asarray(np.where(hits, along, 0.0).max(axis=1))


def polarity_evidence(grey: Grey, field: XrayField) -> float:
    """Positive where absorbers look darker than air, negative where brighter, 0 where the field is too small to tell.

    Thin structures (cortices, trabeculae, needles) are absorbers, so closing them changes a bone-dark picture more
    than opening. What a tenth of the picture reaches tells of the bone, the last few thousandths of steel. The least
    plain of the real pictures gives 0.28 of the right sign, most phantoms about 1. Left out, because real pictures
    contradict it: how noise changes with the grey level (it depends on the display curve), featureless air (their
    darkest parts are as featureless), and the surround's level (black is painted in either polarity).
    """
    x0, y0, x1, y1 = field.box_px
    scale = min(1.0, POLARITY_SIDE_PX / max(x1 - x0, y1 - y0))
    size = (max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale)))
    small = np.empty(size[::-1], dtype=np.float32)
    area_mean(np.ascontiguousarray(grey[y0:y1, x0:x1]), small)
    mask = cv2.resize(field.mask[y0:y1, x0:x1], size, interpolation=cv2.INTER_NEAREST)
    # From the frame's own rim too: a few black pixels there, too few to be told from the field, are a thin structure.
    inner = cv2.erode(mask, np.ones((21, 21), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0) == 255
    if inner.sum() < 400:
        return 0.0
    # Whole numbers of 16 bits are compared in half the time of floats.
    smooth = np.rint(cv2.GaussianBlur(small, (0, 0), 1.0) * np.float32(FINE_LEVELS)).astype(np.uint16)
    bone, steel = _thin_absorbers(smooth, inner, 9, (90.0, 99.8))
    (broad_bone,) = _thin_absorbers(smooth, inner, 15, (90.0,))
    return 4.0 * (bone + broad_bone) + 0.5 * steel + _shade(small, mask, field.edge_width_px)


def _shade(small: NDArray[np.float32], mask: Mask, edge_width_px: float) -> float:
    """1 where the field lies in a dark shade, -1 in a bright one, 0 in a mask: behind an iris no x-rays arrive.

    A mask is painted black in either polarity, but it is sharp; the shade of an iris has a penumbra. The shade is held
    against what lies beside it in the field: beside air it may still be brighter than the rest of the picture.
    """
    if edge_width_px <= MASK_EDGE_PX or (mask == 0).sum() < POLARITY_SIDE_PX:
        return 0.0
    shade = cv2.compare(mask, 0, cv2.CMP_EQ)
    beside = (cv2.dilate(shade, np.ones((SHADE_SIDE_PX, SHADE_SIDE_PX), np.uint8)) > 0) & (mask > 0)
    return 1.0 if float(np.median(small[shade > 0])) < float(np.median(small[beside])) else -1.0


def _thin_absorbers(smooth: Fine, inner: NDArray[np.bool_], side: int, percentiles: tuple[float, ...]) -> list[float]:
    """Dark against bright structures thinner than ``side`` px, from -1 to 1, at each percentile of their strength."""
    closed = _over_disc(cv2.erode, _over_disc(cv2.dilate, smooth, side), side)
    opened = _over_disc(cv2.dilate, _over_disc(cv2.erode, smooth, side), side)
    dark = np.percentile((closed - smooth)[inner], percentiles) / FINE_LEVELS
    bright = np.percentile((smooth - opened)[inner], percentiles) / FINE_LEVELS
    return [float((d - b) / (d + b + 1.0)) for d, b in zip(dark, bright, strict=True)]


def _over_disc(operation: _Morphology, image: Fine, side: int) -> Fine:
    """Erosion or dilation with a disc ``side`` px across, as that with each of the rectangles that it is made of."""
    extreme = np.minimum if operation is cv2.erode else np.maximum
    parts = [np.asarray(operation(image, rectangle), dtype=np.uint16) for rectangle in _rectangles_of_disc(side)]
    return reduce(extreme, parts)


@cache
def _rectangles_of_disc(side: int) -> tuple[Mask, ...]:
    """Rectangles, each as wide as some row of a disc, that together cover it: each costs no more than one row."""
    widths = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)).sum(axis=1)
    return tuple(np.ones((int((widths >= width).sum()), int(width)), np.uint8) for width in np.unique(widths))


def find_text(grey: Grey, inside: Mask) -> tuple[Box, ...]:
    """Boxes (x0, y0, x1, y1) of text burned into the field, with a margin.

    Drawn strokes are thin, end within one pixel and have one grey; the edge of anything seen by x-rays is blurred
    by the focal spot and the detector. Bright strokes are taken from two glyphs in a row on, dark ones, which
    could be instruments, from three on and only in black. Misses: soft or half-transparent strokes, single marks.
    """
    left, top, width, height = cv2.boundingRect(inside)
    grey = grey[top : top + height, left : left + width]
    inside = inside[top : top + height, left : left + width]
    boxes = _rows_of_text(_glyphs(grey, inside > 0, cv2.MORPH_TOPHAT), 2)
    ink = (grey < round(2 * CONTRAST)) & (inside > 0)
    if ink.any():
        boxes += _rows_of_text(_glyphs(grey, ink, cv2.MORPH_BLACKHAT), 3)
    return tuple(
        (
            left + max(0, x0 - 4),
            top + max(0, y0 - 4),
            left + min(width, x1 + 4),
            top + min(height, y1 + 4),
        )
        for x0, y0, x1, y1 in boxes
    )


def _glyphs(grey: Grey, where: NDArray[np.bool_], operation: int) -> list[Box]:
    """Boxes of what a top-hat or black-hat brings out there, as large, as sharp and as even as a character."""
    hat = cv2.morphologyEx(grey, operation, np.ones((9, 9), np.uint8))
    h, w = grey.shape
    # A rim without strokes, as if the picture went on there, saves asking each pixel for its neighbours.
    strokes = np.zeros((h + 2, w + 2), dtype=np.bool_)
    np.logical_and(hat > TEXT_CONTRAST, where, out=strokes[1:-1, 1:-1])
    framed = cv2.copyMakeBorder(grey, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    found = glyphs(framed, strokes, np.flatnonzero(strokes), round(3 * CONTRAST), round(1.25 * TEXT_CONTRAST)) - 1
    return [(int(x0), int(y0), int(x1), int(y1)) for x0, y0, x1, y1 in found]


def _rows_of_text(glyphs: list[Box], needed: int) -> list[Box]:
    """Boxes around runs of at least ``needed`` glyphs that stand side by side on one line."""
    rows: list[list[Box]] = []
    for glyph in sorted(glyphs):
        height = glyph[3] - glyph[1]
        for row in rows:
            last = row[-1]
            tall = last[3] - last[1]
            level = min(glyph[3], last[3]) - max(glyph[1], last[1]) > 0.5 * max(height, tall)
            if level and glyph[0] - last[2] < 1.5 * max(height, tall):
                row.append(glyph)
                break
        else:
            rows.append([glyph])
    return [
        (min(g[0] for g in row), min(g[1] for g in row), max(g[2] for g in row), max(g[3] for g in row))
        for row in rows
        if len(row) >= needed
    ]


class FieldWatch:
    """Keeps the x-ray field from frame to frame; looks for it anew only when the picture says that it has changed.

    A few hundred pixels are read on each frame: just inside and outside the outline, and over the field. The
    outline is suspect when many of those outside no longer show the surround, or many inside now do. A suspicion
    must last SUSPECT_FRAMES frames, and a new outline must be found twice in a row, before it replaces the old: a
    field that flickers would tear zones and masks. A picture that washes out while the C-arm swings hides its edge but
    does not move it: a field grows only where something has appeared beyond it. The polarity changes when the field's
    pattern turns over from one frame to the next, or when the evidence, summed over several looks, has come to
    contradict it.

    ``drawn_px``: (n, 2), what the operator has drawn on the live picture (zones); of several pictures on a
    monitor, the one that holds most of it is taken for the live one until another one moves. What somebody has
    corrected (``pin``) is told in the place of what is found.
    """

    def __init__(self, drawn_px: Points | None = None) -> None:
        self._drawn_px = np.zeros((0, 2)) if drawn_px is None else drawn_px
        self._evidence = 0.0
        self._is_live = False
        self._mistakes = 0
        self._field: XrayField | None = None
        self._told: XrayField | None = None
        self._pinned_px: Points | None = None
        self._pinned_bone_dark: bool | None = None
        self._probe: _Probe | None = None
        self._rivals: tuple[tuple[XrayField, _Probe], ...] = ()
        self._proposal: XrayField | None = None
        self._suspect_frames = 0
        self._frames = 0
        self._look_again_at = 1
        self._settled_at = 0

    @property
    def field(self) -> XrayField | None:
        """The field as last told; None before the first frame."""
        return self._told

    @property
    def is_in_doubt(self) -> bool:
        """Whether the outline as told may no longer fit: a shutter may be closing, which one more look will tell.

        Never of one that is pinned: whoever has pinned it answers for it.
        """
        if self._pinned_px is not None:
            return False
        return self._suspect_frames > 0 or self._proposal is not None

    @property
    def mistakes(self) -> int:
        """How often the field as told from the first frame on was wrong: a stored picture, or the other polarity.

        What has been measured before such a correction belongs to no picture and must be measured anew; a collimator
        that moves, or an operator who inverts the picture, is no mistake.
        """
        return self._mistakes

    def pin(self, polygon_px: Points | None, bone_dark: bool | None) -> None:
        """From the next frame on tell this outline, convex, (n, 2), and this polarity; None: as it is found.

        What is found goes on underneath, so that letting go of a pin shows it at once.
        """
        self._pinned_px, self._pinned_bone_dark = polygon_px, bone_dark

    def would_turn_over(self, bone_dark: bool | None) -> bool:
        """Whether pinning this polarity would change the one that is told now."""
        if self._told is None or self._field is None:
            return False
        return self._told.bone_dark != (self._field.bone_dark if bone_dark is None else bone_dark)

    def update(self, pixels: Pixels, bits: int) -> XrayField:
        """The field of this frame. Call it on every sound frame, repeated ones too: a rival may be the live one."""
        mistakes, told = self._mistakes, self._told
        self._told = self._as_pinned(self._find(pixels, bits), pixels, bits)
        if self._told is told:
            # Whatever was found to be wrong, nobody was told of it.
            self._mistakes = mistakes
        return self._told

    def _as_pinned(self, found: XrayField, pixels: Pixels, bits: int) -> XrayField:
        """The field with the pins in their place: the same object as last time where nothing has changed."""
        if self._pinned_px is None and self._pinned_bone_dark is None:
            return found
        polygon = found.outline.polygon_px if self._pinned_px is None else self._pinned_px
        bone_dark = found.bone_dark if self._pinned_bone_dark is None else self._pinned_bone_dark
        told, size = self._told, found.frame_size_px
        if told is not None and told.outline.polygon_px is polygon and told.frame_size_px == size:
            return told if told.bone_dark == bone_dark else _with_polarity(told, bone_dark)
        if self._pinned_px is None:
            return _with_polarity(found, bone_dark)
        text = find_text(eight_bit(pixels, bits), polygon_mask(polygon, size))
        return XrayField(FieldOutline(FieldKind.POLYGON, polygon, bone_dark), size, text)

    def _find(self, pixels: Pixels, bits: int) -> XrayField:
        self._frames += 1
        size = (pixels.shape[1], pixels.shape[0])
        if self._field is None or self._probe is None or self._field.frame_size_px != size:
            return self._begin(find_fields(pixels, bits), pixels, bits)
        if self._probe.has_turned_over(pixels, bits):
            # The operator inverts the whole picture at once: between two frames, the same anatomy.
            self._field = _with_polarity(self._field, not self._field.bone_dark)
            self._evidence = -self._evidence
            self._probe = _Probe(self._field, pixels, bits)
        live = self._live_rival(pixels, bits)
        if live is not None:
            fields = [self._field, *(field for field, _ in self._rivals)]
            self._mistakes += 1
            self._is_live = True
            self._evidence = _one_look(live.polarity_evidence)
            return self._adopt((live, *(field for field in fields if field is not live)), pixels, bits)
        suspect = self._probe.suspects(pixels, bits)
        self._suspect_frames = self._suspect_frames + 1 if suspect else 0
        settling = self._settled_at - self._frames
        is_due = self._frames == self._look_again_at or (settling >= 0 and settling % LOOK_EVERY_FRAMES == 0)
        unsettled = self._proposal is not None or is_due
        if self._suspect_frames >= SUSPECT_FRAMES or unsettled:
            self._look_again(pixels, bits)
        elif abs(self._evidence) < SURE_POLARITY and self._frames % POLARITY_LOOK_FRAMES == 0:
            self._weigh(polarity_evidence(eight_bit(pixels, bits), self._field), pixels, bits)
        return self._field

    def _begin(self, fields: tuple[XrayField, ...], pixels: Pixels, bits: int) -> XrayField:
        """Take up the first frame: of fields of like size the one that has been drawn on, else the largest."""
        large = [field for field in fields if _area(field) > RIVAL_SHARE * _area(fields[0])]
        first = max(large, key=lambda field: _share_within(field, self._drawn_px))
        self._evidence = _one_look(first.polarity_evidence)
        return self._adopt((first, *(field for field in fields if field is not first)), pixels, bits)

    def _weigh(self, evidence: float, pixels: Pixels, bits: int) -> None:
        """Add a look's evidence to the polarity's; correct the polarity where it has come to be against it."""
        assert self._field is not None
        self._evidence = float(np.clip(self._evidence + _one_look(evidence), -3.0, 3.0))
        told = 1.0 if self._field.bone_dark else -1.0
        if told * self._evidence < -WRONG_POLARITY:
            self._field = _with_polarity(self._field, not self._field.bone_dark)
            self._probe = _Probe(self._field, pixels, bits)
            self._mistakes += 1

    def _look_again(self, pixels: Pixels, bits: int) -> None:
        assert self._field is not None
        grey = eight_bit(pixels, bits)
        cut = _without_shutters(grey, self._field)
        known = (self._field,) if self._proposal is None else (self._field, self._proposal)
        fields = _fields(grey, known, open_one=self._field) if cut is self._field else (cut,)
        nearest = max(fields, key=lambda field: _overlap(field, self._field))
        # The largest picture on a monitor may be the stored one: of several it is the one where it was.
        found = nearest if _overlap(nearest, self._field) > 0.0 else fields[0]
        is_suspect, self._suspect_frames = self._suspect_frames >= SUSPECT_FRAMES, 0
        if not self._may_become(found, pixels, bits):
            self._proposal = None
            return
        self._weigh(found.polarity_evidence, pixels, bits)
        found = _with_polarity(found, self._field.bone_dark)
        if _same(found, self._field):
            # What looked like a change was not one (a shadow at the edge): take it as the new normal.
            if is_suspect or self._proposal is not None:
                # Or it was one that the display's filter still hid.
                self._settled_at = self._frames + SETTLED_FRAMES
            self._probe, self._proposal = _Probe(self._field, pixels, bits), None
        elif self._proposal is not None and _same(found, self._proposal):
            others = tuple(field for field in fields if field is not found)
            self._adopt((found, *(() if self._is_live and found is nearest else others)), pixels, bits)
        else:
            self._proposal = found

    def _may_become(self, found: XrayField, pixels: Pixels, bits: int) -> bool:
        """False for a shape that nothing has appeared for, and for no shape at all: the edge has only faded."""
        assert self._field is not None
        assert self._probe is not None
        is_less = found.is_fitted and _share_inside(found, self._field) > SAME_OVERLAP
        return is_less or not self._field.is_fitted or self._probe.shows_beyond(pixels, bits)

    def _adopt(self, fields: tuple[XrayField, ...], pixels: Pixels, bits: int) -> XrayField:
        self._field = fields[0]
        self._probe = _Probe(fields[0], pixels, bits)
        own_area = _area(fields[0])
        rivals = [field for field in fields[1:] if _area(field) > RIVAL_SHARE * own_area]
        self._rivals = tuple((field, _Probe(field, pixels, bits)) for field in rivals)
        self._proposal, self._suspect_frames = None, 0
        if fields[0].outline.kind in (FieldKind.FULL, FieldKind.POLYGON):
            # A first picture in the dark may hide the field's shape: ask again, ever more rarely.
            self._look_again_at = 2 * self._frames + 1
        return fields[0]

    def _live_rival(self, pixels: Pixels, bits: int) -> XrayField | None:
        """The other field on the monitor that has changed since adoption while the present one never did."""
        if not self._rivals:
            return None
        assert self._probe is not None
        if self._probe.has_changed(pixels, bits):
            self._rivals, self._is_live = (), True
            return None
        return next((field for field, probe in self._rivals if probe.has_changed(pixels, bits)), None)


class _Probe:
    """Some hundred pixels of a field and around it, as they were when it was last looked at."""

    def __init__(self, field: XrayField, pixels: Pixels, bits: int) -> None:
        w, h = field.frame_size_px
        outline = field.outline.polygon_px
        corners = np.vstack([outline, outline[:1]])
        length = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(corners, axis=0).T))])
        at = np.linspace(0.0, length[-1], 96, endpoint=False)
        edge = np.column_stack([np.interp(at, length, corners[:, 0]), np.interp(at, length, corners[:, 1])])
        centre = edge.mean(axis=0)
        outward = (edge - centre) / np.hypot(*(edge - centre).T)[:, None]
        self._inner = _flat_index(edge - 10 * outward, (w, h))
        # Beyond a penumbra, which brightens and darkens with the anatomy that it lies over.
        self._outer = _flat_index(edge + (10 + 2 * field.edge_width_px) * outward, (w, h))
        x0, y0, x1, y1 = field.box_px
        sides = np.meshgrid(np.linspace(x0, x1 - 1, 26), np.linspace(y0, y1 - 1, 26))
        grid = np.stack(sides, axis=-1).reshape(-1, 2)
        # Away from the edge, where surround and anatomy would mix.
        wider = np.clip(np.round(centre + 1.1 * (grid - centre)).astype(int), 0, np.array([w, h]) - 1)
        grid_index = _flat_index(grid[field.mask[wider[:, 1], wider[:, 0]] > 0], (w, h))
        self._grid = grid_index[field.mask.ravel()[grid_index] > 0]
        was_inner, was_outer = _levels(pixels, bits, self._inner), _levels(pixels, bits, self._outer)
        self._surround = float(np.median(was_outer)) if len(was_outer) else None
        self._was_beyond = np.abs(was_outer - (self._surround or 0.0))
        was_rise = np.abs(was_inner - (self._surround or 0.0))
        self._stood_out = was_rise >= 2 * CONTRAST
        self._covered_below = np.maximum(CONTRAST, 0.25 * was_rise)
        self._was_white = _share(was_inner >= WHITE_SHUTTER)
        self._was_grid = _levels(pixels, bits, self._grid)
        self._last_grid, self._last_spread = _centred(self._was_grid)
        self._bone_dark = field.bone_dark

    def suspects(self, pixels: Pixels, bits: int) -> bool:
        """True where the outline no longer fits this frame."""
        if self.shows_beyond(pixels, bits):
            return True
        inner = _levels(pixels, bits, self._inner)
        if not len(inner):
            return False
        rise = np.abs(inner - (self._surround or 0.0))
        if _share((rise < self._covered_below) & self._stood_out) > SUSPECT_SHARE:
            return True
        return not self._bone_dark and _share(inner >= WHITE_SHUTTER) - self._was_white > SUSPECT_SHARE

    def shows_beyond(self, pixels: Pixels, bits: int) -> bool:
        """True where much of what lies just outside the outline is farther from the surround's level than it was."""
        if self._surround is None:
            return False
        rise = np.abs(_levels(pixels, bits, self._outer) - self._surround)
        return _share(rise - self._was_beyond > 3 * CONTRAST) > SUSPECT_SHARE

    def has_turned_over(self, pixels: Pixels, bits: int) -> bool:
        """True where what was bright on the last frame is dark on this one and the other way round."""
        grid, spread = _centred(_levels(pixels, bits, self._grid))
        was, was_spread = self._last_grid, self._last_spread
        self._last_grid, self._last_spread = grid, spread
        return spread * was_spread > 0 and float(grid @ was) < -0.4 * spread * was_spread

    def has_changed(self, pixels: Pixels, bits: int) -> bool:
        """True where the field's content is another picture than it was; compression alone changes little."""
        return _share(np.abs(_levels(pixels, bits, self._grid) - self._was_grid) > CONTRAST) > 0.05


def _flat_index(points: Points, size: tuple[int, int]) -> NDArray[np.intp]:
    """Indices into the flattened frame of those points that lie in it."""
    w, h = size
    x, y = np.round(points).astype(np.intp).T
    seen = (x >= 0) & (y >= 0) & (x < w) & (y < h)
    return np.asarray(y[seen] * w + x[seen], dtype=np.intp)


def _levels(pixels: Pixels, bits: int, index: NDArray[np.intp]) -> NDArray[np.float32]:
    """Pixels at flat indices in 8-bit levels, float32."""
    return np.asarray(pixels.ravel()[index], dtype=np.float32) * np.float32(255.0 / (2**bits - 1))


def _share(marks: NDArray[np.bool_]) -> float:
    """Share of the marks that are set, 0 of none: the mean, at a fifth of what it costs."""
    return np.count_nonzero(marks) / max(1, len(marks))


def _centred(levels: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """Levels less their mean, and the length of that."""
    if not len(levels):
        return levels, 0.0
    centred = levels - levels.mean()
    return centred, float(np.sqrt(centred @ centred))


def _with_polarity(field: XrayField, bone_dark: bool) -> XrayField:
    return _in_the_same_place(field, outline=replace(field.outline, bone_dark=bone_dark))


def _in_the_same_place(field: XrayField, **changes: Any) -> XrayField:
    """A field of which something else is told: its box and mask need not be drawn again."""
    other = replace(field, **changes)
    other.__dict__.update({name: field.__dict__[name] for name in ("box_px", "mask") if name in field.__dict__})
    return other


def _area(field: XrayField) -> float:
    return _polygon_area(field.outline.polygon_px)


def _polygon_area(polygon: Points) -> float:
    return float(cv2.contourArea(polygon.astype(np.float32)))


def _share_inside(a: XrayField, b: XrayField) -> float:
    """Share of one convex outline's area that lies in another."""
    common, _ = cv2.intersectConvexConvex(
        a.outline.polygon_px.astype(np.float32), b.outline.polygon_px.astype(np.float32)
    )
    return float(common / max(_area(a), 1e-9))


def _overlap(a: XrayField, b: XrayField | None) -> float:
    """Intersection over union of two convex outlines."""
    if b is None:
        return 0.0
    common, _ = cv2.intersectConvexConvex(
        a.outline.polygon_px.astype(np.float32), b.outline.polygon_px.astype(np.float32)
    )
    return float(common / max(_area(a) + _area(b) - common, 1e-9))


def _one_look(evidence: float) -> float:
    """What one look may add to the evidence: however strong, it is of one picture."""
    return float(np.clip(evidence, -1.0, 1.0))


def _share_within(field: XrayField, points: Points) -> float:
    """Share of (n, 2) points that lie in a field's box; 0 without points."""
    if not len(points):
        return 0.0
    x0, y0, x1, y1 = field.box_px
    return float(((points >= (x0, y0)) & (points < (x1, y1))).all(axis=1).mean())


def _same(a: XrayField, b: XrayField | None) -> bool:
    return _overlap(a, b) > SAME_OVERLAP


def _is_told_as(a: XrayField, b: XrayField | None) -> bool:
    return b is not None and a.bone_dark == b.bone_dark and _same(a, b)
