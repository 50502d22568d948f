"""How a case went, short enough to be drawn as a whole: what held from when on, and what was measured when."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

from guidance.casebook.archive import TimelineRow

Value = TypeVar("Value")

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
    kept: list[tuple[float, Value]] = []
    for one in values:
        if not kept or one[1] != kept[-1][1]:
            kept.append(one)
    return kept


def thinned(points: Sequence[tuple[float, float | None]]) -> list[tuple[float, float | None]]:
    """The line through the points with at most four of each of its ``MOST_SPANS`` spans: first, least, most, last.

    Where it breaks, one point without a value says so.
    """
    if not points:
        return []
    t_s = np.array([point[0] for point in points])
    values = np.array([point[1] for point in points], dtype=np.float64)  # None becomes NaN
    is_gap = np.isnan(values)
    span = ((t_s - t_s[0]) / max((t_s[-1] - t_s[0]) / MOST_SPANS, 1e-9)).astype(np.int64)
    begins = np.flatnonzero((span[1:] != span[:-1]) | (is_gap[1:] != is_gap[:-1])) + 1
    kept: list[int] = []
    for low, high in pairwise([0, *begins.tolist(), len(points)]):
        if not is_gap[low]:
            part = values[low:high]
            kept += sorted({low, low + int(part.argmin()), low + int(part.argmax()), high - 1})
        elif not kept or not is_gap[kept[-1]]:
            kept.append(low)
    return [points[i] for i in kept]
