"""One picture of each stage on a phantom frame: ``python -m guidance.evaluation.stage_pictures FOLDER``.

The documentation shows them. Each stage's own findings are painted alone, by the overlay that the dashboard uses;
what no overlay shows (how well a pulse lies on its reference, what has become denser) is a map in grey.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.frame import Frame
from guidance.casebook.replay import analyse
from guidance.overlay import draw, paint, paint_over
from guidance.phantom.source import open_phantom
from guidance.records import Alert, Findings, Phase
from guidance.settings import Settings
from guidance.vision.change import Change
from guidance.vision.field import XrayField
from guidance.vision.geometry import RigidMotion
from guidance.vision.grid import Placed, ReferenceGrid
from guidance.vision.needle import find_needles, shaft_mask
from guidance.vision.picture import Picture, make_picture
from guidance.vision.pipeline import SHAFT_MARGIN_PX
from guidance.vision.registration import Registrar

Image = NDArray[np.uint8]

SIDE_PX = 560
MAP_GREY_PER_DENSITY = 400.0
MAP_GREY_PER_SIGMA = 10.0


class Walk:
    """A procedure's pulses once more, stage by stage, for what findings do not tell.

    ``unplaced``: the present pulse as it came, (h, w) density. ``placed``: laid on the reference. ``reference``: the
    first pulse. ``change``: what has become denser since cement began to be watched for.
    """

    def __init__(self) -> None:
        self._registrar = Registrar()
        self._grid: ReferenceGrid | None = None
        self._unmoved: ReferenceGrid | None = None
        self.change: Change | None = None

    def note(self, picture: Picture, findings: Findings) -> None:
        """Take one pulse; all of one view."""
        shafts = shaft_mask(picture, find_needles(picture), SHAFT_MARGIN_PX)
        placement = self._registrar.update(picture, shafts, findings.frame, findings.t_s)
        if self._grid is None or self._unmoved is None or self.change is None:
            self._grid, self._unmoved = ReferenceGrid(picture), ReferenceGrid(picture)
            self.change = Change(picture.density.shape)
            self.reference = picture.density
        assert findings.scale is not None
        work_mm = self._grid.work_mm(findings.scale.mm_per_px)
        # On a grid of its own: what a grid has placed holds until it places the next.
        self.unplaced = self._unmoved.place(picture, RigidMotion(), shafts, work_mm)
        self.placed = self._grid.place(picture, placement.motion, shafts, work_mm)
        if findings.phase is Phase.CEMENT:
            self.change.compare(self.placed, work_mm)
        else:
            self.change.learn(self.placed, work_mm)


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """A frame with all that is known about it. ``alerts``: the active ones."""

    frame: Frame
    findings: Findings
    alerts: tuple[Alert, ...]
    walk: Walk


@dataclass(frozen=True, slots=True)
class Stage:
    """``picture`` draws the scenario's first frame at or after ``at_s``."""

    name: str
    scenario: str
    at_s: float
    picture: Callable[[Moment], Image]


def _only(*kept: str) -> Callable[[Moment], Image]:
    """The frame with these findings and nothing else."""

    def picture(moment: Moment) -> Image:
        gone: dict[str, Any] = {kind: () for kind in ("zones", "needles", "nerve_roots", "cement") if kind not in kept}
        shown = replace(moment.findings, **gone, field=moment.findings.field if "field" in kept else None)
        return _smaller(paint_over(moment.frame.pixels, draw(shown), shown, moment.frame.bits))

    return picture


def _everything(moment: Moment) -> Image:
    """The frame as it is shown, with its alerts."""
    strokes = draw(moment.findings, moment.alerts)
    return _smaller(paint(moment.frame.pixels, strokes, moment.findings, moment.alerts, moment.frame.bits))


def _registered(moment: Moment) -> Image:
    """What differs from the reference, left as the pulse came, right laid on it. An even grey is no difference."""
    walk = moment.walk
    maps = [_map(_difference(placed, walk.reference), MAP_GREY_PER_DENSITY) for placed in (walk.unplaced, walk.placed)]
    return _smaller(np.hstack(maps), 2 * SIDE_PX)


def _denser(moment: Moment) -> Image:
    """What has become denser (white) or lighter (black) since the baseline, in its standard deviations."""
    assert moment.walk.change is not None
    return _smaller(_map(moment.walk.change.z, MAP_GREY_PER_SIGMA))


def _difference(placed: Placed, reference: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(placed.valid > 0, placed.density - reference, 0).astype(np.float32)


def _map(values: NDArray[np.float32], grey_per_unit: float) -> Image:
    grey = np.clip(128 + grey_per_unit * values, 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), dtype=np.uint8)


def _smaller(image: NDArray[np.uint8], width_px: int = SIDE_PX) -> Image:
    height_px = round(image.shape[0] * width_px / image.shape[1])
    return np.asarray(cv2.resize(image, (width_px, height_px), interpolation=cv2.INTER_AREA), dtype=np.uint8)


STAGES = (
    Stage("registration", "breathing_table_move", 6.0, _registered),
    Stage("field", "demo", 2.0, _only("field")),
    Stage("roots", "demo", 14.0, _only("nerve_roots")),
    Stage("needles", "demo", 29.0, _only("needles")),
    Stage("change", "demo", 57.0, _denser),
    Stage("cement", "demo", 57.0, _only("cement")),
    Stage("alert", "demo", 57.0, _everything),
)


def stage_pictures(stages: Sequence[Stage] = STAGES) -> Iterator[tuple[str, Image]]:
    """Each stage's name and picture, (h, w, 3) BGR; every scenario is played once."""
    for scenario in dict.fromkeys(stage.scenario for stage in stages):
        yield from _of_scenario(scenario, [stage for stage in stages if stage.scenario == scenario])


def _of_scenario(scenario: str, stages: Sequence[Stage]) -> Iterator[tuple[str, Image]]:
    waiting = sorted(stages, key=lambda stage: stage.at_s)
    walk = Walk()
    pulse = 0
    with open_phantom(f"phantom://{scenario}") as source:
        for frame, findings, _, alerts in analyse(source, source.info, source.plan, Settings()):
            if findings.pulse != pulse and findings.field is not None:
                pulse = findings.pulse
                field = XrayField(findings.field, (source.info.width_px, source.info.height_px))
                walk.note(make_picture(frame.pixels, field, frame.bits), findings)
            while waiting and findings.t_s >= waiting[0].at_s:
                stage = waiting.pop(0)
                yield stage.name, stage.picture(Moment(frame, findings, alerts, walk))
            if not waiting:
                return


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes ``stage_NAME.jpg`` for each stage."""
    parser = argparse.ArgumentParser(description="Draws one picture of each stage on a phantom frame.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(arguments).folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in stage_pictures():
        cv2.imwrite(str(folder / f"stage_{name}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 85])
    return 0


if __name__ == "__main__":
    sys.exit(main())
