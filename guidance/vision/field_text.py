"""Text burned into an x-ray field."""

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels.field import glyphs
from guidance.vision.outline import Box, Grey, Mask

TEXT_CONTRAST = 64
"""Strokes of burned-in text stand out by more than this, in 8-bit levels, within one pixel."""
STEEP_LEVELS = 80
"""A drawn stroke ends by more than this within one pixel."""
EVEN_LEVELS = 18
"""Most of a character's pixels are within this many levels of its own grey."""
INK_LEVEL = 12
"""Dark text is black: below this level."""


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
    ink = (grey < INK_LEVEL) & (inside > 0)
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
    found = glyphs(framed, strokes, np.flatnonzero(strokes), EVEN_LEVELS, STEEP_LEVELS) - 1
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
