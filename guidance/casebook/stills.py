"""Single pictures of a case with what was told of them, drawn as the room saw it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.frame import Frame, FrameSource, Pixels
from guidance.casebook.archive import ArchivedCase
from guidance.casebook.replay import OutputError
from guidance.casebook.results import SAME_TIME_S, Results, ResultsError
from guidance.overlay import draw, paint
from guidance.records import Alert, AlertState, Findings

Bgr = NDArray[np.uint8]


Redact = Callable[[Frame], Pixels]
"""A frame's pixels without what may name the patient."""


class Pictures(Protocol):
    """Where the pictures of a case are found by their time."""

    def at(self, times_s: Sequence[float]) -> Iterator[Frame]:
        """The last frame at or before each time; times rise, seconds from the first frame."""


class SourcePictures:
    """The pictures of an opened recording, read through once from its start."""

    def __init__(self, source: FrameSource) -> None:
        self._source = source

    def at(self, times_s: Sequence[float]) -> Iterator[Frame]:
        """The last frame at or before each time; nothing is read beyond it, for a recording may break off there.

        SourceError passes through.
        """
        frames = iter(self._source)
        last = next(frames)
        first_s = last.t_s
        later: Frame | None = None
        for t_s in times_s:
            while last.t_s - first_s < t_s - SAME_TIME_S:
                later = next(frames, None) if later is None else later
                if later is None or later.t_s - first_s > t_s + SAME_TIME_S:
                    break
                last, later = later, None
            yield last


class ArchivedCasePictures:
    """The pictures of a recorded case, each found at once."""

    def __init__(self, case: ArchivedCase) -> None:
        self._case = case

    def at(self, times_s: Sequence[float]) -> Iterator[Frame]:
        """The last frame at or before each time; its flags say where it is not what was recorded."""
        for t_s in times_s:
            yield self._case.frame(self._case.number_at(t_s + SAME_TIME_S))


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """A frame, what was found on it, and the alerts that were active."""

    frame: Frame
    findings: Findings
    alerts: tuple[Alert, ...]


def raised_times(results: Results) -> list[float]:
    """When alerts were raised, each time once."""
    return sorted({change.t_s for change in results.alerts if change.state is AlertState.RAISED})


def require_within(results: Results, times_s: Iterable[float]) -> None:
    """Raise ResultsError for a time before the first or after the last of what was told."""
    (last,) = results.findings_at([inf])
    for t_s in times_s:
        if last is None or not 0 <= t_s <= last.t_s + SAME_TIME_S:
            end = "which is empty" if last is None else f"which ends at {last.t_s:g} s"
            raise ResultsError(f"{t_s:g} s: expected a time within the case, {end}")


def moments(pictures: Pictures, results: Results, times_s: Iterable[float]) -> Iterator[tuple[float, Moment]]:
    """Each time, in their order, with what was shown then: the newest findings on the very picture that they are of.

    A time before anything was told is passed over.
    """
    times = sorted(times_s)
    told = [(t_s, findings) for t_s, findings in zip(times, results.findings_at(times), strict=True) if findings]
    frames = pictures.at([findings.t_s for _, findings in told])
    for (t_s, findings), frame in zip(told, frames, strict=True):
        yield t_s, Moment(frame, findings, results.active_at(t_s))


def paint_moment(moment: Moment, redact: Redact | None) -> Bgr:
    """The annotated picture as ``overlay.paint`` draws it, (height, width, 3) BGR.

    ``redact``: takes away what may name the patient; None where that may be seen.
    """
    frame, findings = moment.frame, moment.findings
    pixels = frame.pixels if redact is None else redact(frame)
    return paint(pixels, draw(findings, moment.alerts), findings, moment.alerts, frame.bits)


def write_stills(
    pictures: Pictures, results: Results, times_s: Iterable[float], out: Path, redact: Redact | None
) -> list[Path]:
    """``SECONDS.png`` for each time; the files. ``redact`` as for ``paint_moment``. Raises OutputError."""
    written: list[Path] = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        for _, moment in moments(pictures, results, times_s):
            path = out / f"{moment.findings.t_s:010.3f}s.png"
            _, png = cv2.imencode(".png", paint_moment(moment, redact))
            path.write_bytes(png.tobytes())
            written.append(path)
    except OSError as error:
        raise OutputError(
            f"{error.filename or out}: cannot be written ({error.strerror}); expected a writable folder"
        ) from error
    return written
