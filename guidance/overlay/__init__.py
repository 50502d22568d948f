"""Findings as drawing instructions: one source for the browser, the annotated video and stills.

``draw`` says what is drawn where, ``look_json`` how it looks; the browser draws both as vectors, ``paint`` draws
them into pixels.
"""

from guidance.overlay.look import VIEW_LIMITS, look_json
from guidance.overlay.painting import paint, paint_over
from guidance.overlay.strokes import Stroke, StrokeKind, draw, notices, status_line, strokes_json, told_first, worst

__all__ = [
    "VIEW_LIMITS",
    "Stroke",
    "StrokeKind",
    "draw",
    "look_json",
    "notices",
    "paint",
    "paint_over",
    "status_line",
    "strokes_json",
    "told_first",
    "worst",
]
