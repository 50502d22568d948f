"""How a case went, short enough to be drawn as a whole: what held from when on, and what was measured when."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, TypeVar

from guidance.casebook.archive import TimelineRow

Value = TypeVar("Value")
Point = tuple[float, float]

MOST_SPANS = 1200
"""A line over a whole case is drawn on fewer pixels than this."""


def course_json(rows: Sequence[TimelineRow]) -> dict[str, Any]:
    """``states``, ``phases`` and ``views``: [from_s, value] of each run. ``cement_mm2`` and each needle's ``depths``:
    [t_s, value], thinned so that no peak is lost. A line breaks where nothing was measured: its value there is null.
    """
    needles = sorted({needle for row in rows for needle in row.depths})
    return {
        "states": runs((row.t_s, row.state) for row in rows),
        "phases": runs((row.t_s, row.phase) for row in rows),
        "views": runs((row.t_s, row.view) for row in rows),
        "cement_mm2": thinned([(row.t_s, row.cement_mm2) for row in rows]),
        "depths": {needle: thinned([(row.t_s, row.depths.get(needle)) for row in rows]) for needle in needles},
    }


def runs(values: Iterable[tuple[float, Value]]) -> list[tuple[float, Value]]:
    """Where each value begins to hold, and the value."""
    return [next(group) for _, group in groupby(values, key=lambda one: one[1])]


def thinned(points: Sequence[tuple[float, float | None]]) -> list[tuple[float, float | None]]:
    """The line through the points with at most four of each of its ``MOST_SPANS`` spans: first, least, most, last.

    Where it breaks, one point without a value says so.
    """
    if not points:
        return []
    first_s = points[0][0]
    span_s = max((points[-1][0] - first_s) / MOST_SPANS, 1e-9)
    kept: list[tuple[float, float | None]] = []
    for (_, is_measured), group in groupby(points, key=lambda p: (int((p[0] - first_s) / span_s), p[1] is not None)):
        if is_measured:
            kept += _extremes([(t_s, value) for t_s, value in group if value is not None])
        elif not kept or kept[-1][1] is not None:
            kept.append(next(group))
    return kept


def _extremes(points: Sequence[Point]) -> list[Point]:
    """First, least, most and last, in their order, each once."""
    wanted = {points[0], min(points, key=lambda p: p[1]), max(points, key=lambda p: p[1]), points[-1]}
    return sorted(wanted)
