"""The needle finder on labelled real pictures: ``python -m guidance.evaluation.real_pictures FOLDER [--draw OUT]``.

FOLDER holds pictures and a ``labels.json`` that gives, for each, its ``instruments`` with ``tip_px``,
``shaft_polyline`` and ``scored``. Only scored instruments count as hit or missed; a finding on an unscored one is
neither right nor wrong; every other finding is false.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.frame import Frame
from drivers.images import ImageFolder
from guidance.vision.field import find_field
from guidance.vision.needle import NeedleSighting, find_needles
from guidance.vision.picture import Picture, make_picture

HIT_PX = 10.0
NEAR_HIT_PX = 5.0
ON_SHAFT_PX = 12.0
"""A finding whose tip or middle lies this near an unscored shaft is about that instrument."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Instrument:
    """A labelled instrument. ``shaft_px``: a polyline, shape (n, 2), or nothing but the tip."""

    tip_px: tuple[float, float]
    shaft_px: Floats
    scored: bool


@dataclass(frozen=True, slots=True)
class PictureScore:
    """What was found on one picture. ``errors_px``: of each scored tip, None where it was missed."""

    name: str
    has_instruments: bool
    errors_px: tuple[float | None, ...]
    false_count: int


def score_picture(name: str, instruments: Sequence[Instrument], sightings: Sequence[NeedleSighting]) -> PictureScore:
    """Pairs scored tips with sightings, nearest first, each once; what is left over is false or unscored."""
    scored = [i for i in instruments if i.scored]
    pairs = sorted(
        (float(np.hypot(*np.subtract(s.tip_px, i.tip_px))), a, b)
        for a, i in enumerate(scored)
        for b, s in enumerate(sightings)
    )
    error_of: dict[int, float] = {}
    used: set[int] = set()
    for error, a, b in pairs:
        if error <= HIT_PX and a not in error_of and b not in used:
            error_of[a] = error
            used.add(b)
    unscored = [i for i in instruments if not i.scored]
    false = [
        s
        for b, s in enumerate(sightings)
        if b not in used and not any(is_about(s, instrument) for instrument in unscored)
    ]
    return PictureScore(name, bool(instruments), tuple(error_of.get(a) for a in range(len(scored))), len(false))


def is_about(sighting: NeedleSighting, instrument: Instrument) -> bool:
    """Whether a finding lies on a labelled instrument, wherever its tip is."""
    points = [np.array(sighting.tip_px)]
    if sighting.shaft_px is not None:
        points.append(np.mean(sighting.shaft_px, axis=0))
    line = instrument.shaft_px.astype(np.float32)
    return any(_distance_px(line, point) <= ON_SHAFT_PX for point in points)


def _distance_px(line: NDArray[np.float32], point: Floats) -> float:
    """From a point to a polyline."""
    starts, ends = (line[:-1], line[1:]) if len(line) > 1 else (line, line)
    along = ends - starts
    share = ((point - starts) * along).sum(axis=1) / np.maximum((along**2).sum(axis=1), 1e-9)
    nearest = starts + np.clip(share, 0.0, 1.0)[:, None] * along
    return float(np.hypot(*(point - nearest).T).min())


def read_labels(folder: Path) -> dict[str, tuple[Instrument, ...]]:
    """The labelled instruments of each picture of a folder, by file name."""
    images = json.loads((folder / "labels.json").read_text(encoding="utf-8"))["images"]
    return {name: tuple(map(_instrument, entry["instruments"])) for name, entry in sorted(images.items())}


def _instrument(entry: dict[str, Any]) -> Instrument:
    tip = (float(entry["tip_px"][0]), float(entry["tip_px"][1]))
    shaft = entry.get("shaft_polyline") or [tip, entry.get("back_px") or tip]
    return Instrument(tip, np.array(shaft, dtype=np.float64), bool(entry["scored"]))


def read_frame(path: Path) -> Frame:
    """The first picture of an image file. Raises SourceError."""
    with ImageFolder(path.name, [path]) as source:
        return next(iter(source))


def picture_of(frame: Frame) -> Picture:
    """A single picture prepared as the pipeline does it."""
    return make_picture(frame.pixels, find_field(frame.pixels, frame.bits), frame.bits)


def as_table(scores: Sequence[PictureScore]) -> str:
    """A line a picture, then the totals."""
    width = max(len(s.name) for s in scores)
    lines = [f"{'picture':{width}}  tips  <= {HIT_PX:.0f} px  <= {NEAR_HIT_PX:.0f} px  false  errors px"]
    for s in scores:
        errors = " ".join("miss" if e is None else f"{e:.1f}" for e in s.errors_px)
        hits, near = _hits([s], HIT_PX), _hits([s], NEAR_HIT_PX)
        lines.append(
            f"{s.name:{width}}  {len(s.errors_px):4}  {hits:8}  {near:7}  {s.false_count:5}  {errors}".rstrip()
        )
    tips = sum(len(s.errors_px) for s in scores)
    without = [s for s in scores if not s.has_instruments]
    lines.append(
        f"{tips} tips: {_share(_hits(scores, HIT_PX), tips)} within {HIT_PX:.0f} px, "
        f"{_share(_hits(scores, NEAR_HIT_PX), tips)} within {NEAR_HIT_PX:.0f} px; false instruments a picture: "
        f"{sum(s.false_count for s in scores) / len(scores):.2f}, on the {len(without)} without any: "
        f"{sum(s.false_count for s in without) / max(1, len(without)):.2f}"
    )
    return "\n".join(lines)


def _hits(scores: Sequence[PictureScore], within_px: float) -> int:
    return sum(e is not None and e <= within_px for s in scores for e in s.errors_px)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "none"


def draw(frame: Frame, instruments: Sequence[Instrument], sightings: Sequence[NeedleSighting]) -> NDArray[np.uint8]:
    """The picture with scored tips (green rings), unscored ones (grey) and findings (red, with confidence)."""
    grey = (frame.pixels >> (frame.bits - 8)).astype(np.uint8)
    canvas = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    for instrument in instruments:
        colour = (0, 200, 0) if instrument.scored else (150, 150, 150)
        cv2.circle(canvas, _rounded(instrument.tip_px), int(HIT_PX), colour, 1, cv2.LINE_AA)
    for sighting in sightings:
        if sighting.shaft_px is not None:
            front, back = map(_rounded, sighting.shaft_px)
            cv2.line(canvas, front, back, (0, 0, 255), 1, cv2.LINE_AA)
        cv2.circle(canvas, _rounded(sighting.tip_px), 3, (0, 128, 255), 1, cv2.LINE_AA)
        text = f"{sighting.confidence:.2f}"
        cv2.putText(canvas, text, _rounded(sighting.tip_px), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 255), 1)
    return np.asarray(canvas, dtype=np.uint8)


def _rounded(point: tuple[float, float]) -> tuple[int, int]:
    return round(point[0]), round(point[1])


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table; with ``--draw`` also writes one annotated PNG a picture."""
    parser = argparse.ArgumentParser(description="Scores the needle finder on labelled real pictures.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--draw", type=Path, metavar="OUT", help="write the pictures with labels and findings here")
    options = parser.parse_args(arguments)
    scores = []
    for name, instruments in read_labels(options.folder).items():
        frame = read_frame(options.folder / name)
        # What cement covers is a needle only to a tracker that knows it from before.
        sightings = [s for s in find_needles(picture_of(frame)) if not s.tip_covered]
        scores.append(score_picture(name, instruments, sightings))
        if options.draw is not None:
            options.draw.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(options.draw / f"{Path(name).stem}.png"), draw(frame, instruments, sightings))
    sys.stdout.write(as_table(scores) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
