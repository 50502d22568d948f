"""Burned-in text: found, shown and blacked out.

A machine burns the patient's name, the date and the hospital into its pictures, mostly beside the x-ray field and
sometimes in it. Beside the field nothing is x-ray, so all of it goes, read or not; in the field rows of text go.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.frame import Frame, Pixels, freeze
from guidance.handon import HandOnError
from guidance.records import FieldKind
from guidance.vision.field import CONTRAST, XrayField, eight_bit, find_fields, polygon_mask
from guidance.vision.field_text import find_text
from guidance.vision.outline import Box, Mask

SURVEYED = 32
"""So many frames, spread over a case, say where its x-ray field is and what text stands in it."""

LEAST_MARGIN_PX = 2.0
"""The field is kept this much beyond its edge, or as far as the edge is soft."""

STROKE_CONTRAST = 16
"""In 8-bit levels: a letter that is fainter than this is not read."""

ROW_HEIGHT_PX = range(6, 65)
"""Beside the field what is lower is a speck, what is taller a frame or a glow: no row of text that may go on in it."""

WIDEST_GAP = 2
"""Within a row, in heights of it."""

STEADY_SHARE = 0.9
"""Two frames show the same field where their outlines share this much of what either covers."""


@dataclass(frozen=True, slots=True, eq=False)
class Redaction:
    """What of a case's pictures may be shown.

    ``keep``: (height, width) uint8, 255 where x-rays were ever seen. ``boxes_px``: (x0, y0, x1, y1) of text that stands
    there on several of the case's frames. ``example``: one of these with its bits, for a preview.
    """

    keep: Mask
    boxes_px: tuple[Box, ...]
    example: tuple[Pixels, int]

    def apply(self, pixels: Pixels, bits: int) -> tuple[Pixels, tuple[Box, ...]]:
        """The picture with all else black, same shape and type, and the boxes of text in the field that went with it.

        Raises HandOnError for a picture of another size.
        """
        if pixels.shape != self.keep.shape:
            (h, w), (height, width) = pixels.shape, self.keep.shape
            raise HandOnError(f"a picture of {w}x{h} pixels; expected {width}x{height} as in the frames before")
        boxes = _merged((*self.boxes_px, *text_in(eight_bit(pixels, bits), self.keep)))
        shown = np.where(self.keep > 0, pixels, np.zeros((), pixels.dtype))
        for x0, y0, x1, y1 in boxes:
            shown[y0:y1, x0:x1] = 0
        return freeze(shown), boxes


def survey(frames: Iterable[Frame]) -> Redaction:
    """What may be shown of a case, from a look at SURVEYED to twice as many of its frames, evenly spread.

    The x-ray field is every outline that two of these frames agree on, so that a menu which was on the screen for a
    moment does not pass for one. Raises HandOnError without a sound frame. Misses: a field that was open only between
    two of the frames is blacked out as well.
    """
    looked_at: list[tuple[Pixels, int]] = []
    step = 1
    for number, frame in enumerate(frame for frame in frames if not frame.flags):
        if number % step == 0:
            looked_at.append((frame.pixels, frame.bits))
        if len(looked_at) == 2 * SURVEYED:
            looked_at, step = looked_at[::2], 2 * step
    return _of_pictures(looked_at)


def deidentified(picture: Pixels, bits: int = 8) -> tuple[Pixels, tuple[Box, ...]]:
    """One picture without its burned-in text, and the boxes (x0, y0, x1, y1) of it and of all else beside the field.

    ``picture``: (height, width) uint8 or uint16 with ``bits`` significant bits. Everything outside the x-ray field is
    black in the result, whether or not text was found there. For a case's frames ``survey`` knows more than one can
    tell.
    """
    redaction = _of_pictures([(picture, bits)])
    shown, boxes = redaction.apply(picture, bits)
    return shown, _merged((*boxes, *_drawn_beside(eight_bit(picture, bits), redaction.keep)))


def preview(redaction: Redaction) -> NDArray[np.uint8]:
    """Before and after, (height, 2 * width + 8, 3) BGR: on the left what goes in red and the field's edge in yellow."""
    pixels, bits = redaction.example
    shown, boxes = redaction.apply(pixels, bits)
    grey = eight_bit(pixels, bits)
    before = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    edges, _ = cv2.findContours(redaction.keep, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(before, edges, -1, (0, 220, 255), 1)
    for x0, y0, x1, y1 in (*boxes, *_drawn_beside(grey, redaction.keep)):
        cv2.rectangle(before, (x0, y0), (x1 - 1, y1 - 1), (0, 0, 255), 2)
    after = cv2.cvtColor(eight_bit(shown, bits), cv2.COLOR_GRAY2BGR)
    gap = np.full((grey.shape[0], 8, 3), 96, np.uint8)
    return np.asarray(np.hstack([before, gap, after]), dtype=np.uint8)


def write_preview(path: Path, redaction: Redaction) -> None:
    """``preview`` as a PNG. Raises HandOnError where it cannot be written."""
    written, png = cv2.imencode(".png", preview(redaction))
    assert written
    try:
        path.write_bytes(png.tobytes())
    except OSError as error:
        raise HandOnError(f"{path}: cannot be written ({error.strerror}); expected a writable place") from error


def text_in(grey: Mask, inside: Mask) -> tuple[Box, ...]:
    """Boxes (x0, y0, x1, y1) of text in the field, whole rows. ``inside``: (height, width), 255 in the field.

    ``find_text`` is made so as not to take instruments for text, and leaves out single letters, thin ones and those on
    ground of their own grey. It is asked about the picture and, where noise allows, about its fine detail, twice as
    strong; from what it finds, and from rows that begin beside the field, a box grows along the row over all that is
    as thin and sharp as a stroke. Misses: a row in the field of which not two letters side by side are seen.
    """
    fine = grey.astype(np.int16) - cv2.blur(grey, (15, 15))
    sample = np.abs(fine[::4, ::4])[inside[::4, ::4] > 0]
    if not sample.size:
        return ()
    # The level that a tenth of what noise and halftoning make exceeds.
    noise = float(np.percentile(sample, 90))
    seeds = [*find_text(grey, inside)]
    seeds += [box for box in _drawn_beside(grey, inside) if box[3] - box[1] in ROW_HEIGHT_PX]
    if noise < STROKE_CONTRAST:
        seeds += find_text(np.clip(2 * fine + 128, 0, 255).astype(np.uint8), inside)
    strokes = (np.abs(fine) > max(STROKE_CONTRAST, 2 * noise)) & (inside > 0)
    return _merged(_whole_row(box, strokes) for box in seeds)


def _whole_row(box: Box, strokes: NDArray[np.bool_]) -> Box:
    """The box, longer by the strokes to its left and right that no wide gap parts from it, and by such a gap again: a
    first or last letter may be too faint to be seen."""
    x0, y0, x1, y1 = box
    gap = WIDEST_GAP * (y1 - y0)
    columns = np.flatnonzero(strokes[y0:y1].sum(axis=0) >= 2)
    for x in columns[columns >= x1]:
        if x - x1 > gap:
            break
        x1 = int(x) + 1
    for x in columns[columns < x0][::-1]:
        if x0 - x > gap:
            break
        x0 = int(x)
    return max(0, x0 - gap), y0, min(strokes.shape[1], x1 + gap), y1


def _drawn_beside(grey: Mask, keep: Mask) -> tuple[Box, ...]:
    """Boxes of what stands out beside the field, whatever it is: rows of letters, a ruler, a logo."""
    beside = keep == 0
    if not beside.any():
        return ()
    stands_out = beside & (np.abs(grey.astype(np.int16) - int(np.median(grey[beside]))) > 4 * CONTRAST)
    # Letters of a row are less than a letter's height apart.
    joined = cv2.morphologyEx(stands_out.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 15), np.uint8))
    count, _, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    return tuple((int(x), int(y), int(x + w), int(y + h)) for x, y, w, h, area in stats[1:count] if area >= 8)


def _of_pictures(pictures: list[tuple[Pixels, int]]) -> Redaction:
    if not pictures:
        raise HandOnError("no sound frame to look at; expected at least one")
    shape = pictures[0][0].shape
    fields = [field for picture, bits in pictures for field in find_fields(picture, bits)]
    keep = np.zeros(shape, np.uint8)
    for field in _trusted(fields, len(pictures)):
        keep |= _grown(field, (shape[1], shape[0]))
    found = [text_in(eight_bit(picture, bits), keep) for picture, bits in pictures]
    most = max(range(len(found)), key=lambda i: len(found[i]))
    return Redaction(keep, _standing(found), pictures[most])


def _trusted(fields: list[XrayField], pictures: int) -> list[XrayField]:
    """The fields with a clear edge that two pictures agree on; the best there are where none is so."""
    clear = [field for field in fields if field.is_fitted and field.outline.kind is not FieldKind.FULL]
    steady = [field for field in clear if sum(_alike(field, other) for other in clear) >= min(2, pictures)]
    return steady or clear or fields


def _alike(a: XrayField, b: XrayField) -> bool:
    one, other = (field.outline.polygon_px.astype(np.float32) for field in (a, b))
    common, _ = cv2.intersectConvexConvex(one, other)
    return bool(common >= STEADY_SHARE * (cv2.contourArea(one) + cv2.contourArea(other) - common))


def _grown(field: XrayField, size: tuple[int, int]) -> Mask:
    """The field with its soft edge, 255 inside."""
    mask = polygon_mask(field.outline.polygon_px, size)
    margin = round(max(LEAST_MARGIN_PX, field.edge_width_px))
    return np.asarray(cv2.dilate(mask, np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)), dtype=np.uint8)


def _standing(found: list[tuple[Box, ...]]) -> tuple[Box, ...]:
    """The boxes that meet one of another picture: text stays where it is, a row of screws moves with the anatomy."""
    return _merged(
        box
        for i, boxes in enumerate(found)
        for box in boxes
        if any(_meet(box, other) for j, others in enumerate(found) if j != i for other in others)
    )


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _merged(boxes: Iterable[Box]) -> tuple[Box, ...]:
    """The same boxes, each that lies within another left out, in reading order."""
    unique = sorted(set(boxes), key=lambda box: (box[1], box[0]))
    return tuple(
        box
        for box in unique
        if not any(o != box and o[0] <= box[0] and o[1] <= box[1] and o[2] >= box[2] and o[3] >= box[3] for o in unique)
    )
