"""What the bench looks at: simulated procedures, rendered beforehand, every frame a new pulse.

A procedure has it all within ten seconds: contrast in a root, needles that are driven, cement that leaks. All frames
are in memory, so that neither a phantom nor a decoder is timed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from tqdm import tqdm

from drivers.frame import Frame, FrameSource, SourceInfo, freeze
from guidance.phantom.monitor import Layout
from guidance.phantom.scenario import Scenario
from guidance.phantom.source import PhantomSource
from guidance.records import CasePlan
from guidance.vision.field_watch import FieldWatch
from guidance.vision.picture import Density, make_picture

RATE_HZ: Final = 30
DURATION_S: Final = 10

_NEEDLES: Final[tuple[dict[str, Any], ...]] = (
    {"target": "ala_L", "strokes": [{"start_s": 2.6, "end_s": 3.2, "remaining_mm": 0}]},
    {
        "target": "ala_R",
        "lateral_deg": -22,
        "gauge": 13,
        "strokes": [{"start_s": 3.0, "end_s": 3.6, "remaining_mm": 0}],
    },
    {
        "target": "body_S1",
        "lateral_deg": 5,
        "cephalad_deg": 25,
        "strokes": [{"start_s": 3.2, "end_s": 3.8, "remaining_mm": 5}],
    },
)
_APPEARS: Final = {"appears_s": 2.2, "remaining_mm": 20}
_FIELD_MM: Final = 220
_MONITORS: Final = {(1280, 1024): Layout.MONITOR_1280X1024, (1920, 1080): Layout.MONITOR_1920X1080}


@dataclass(frozen=True, slots=True)
class BenchCase:
    """One procedure to time. ``bits``: 8, or 16 with the same picture in the upper ones and noise in the lower."""

    width_px: int
    height_px: int
    bits: int = 8
    needles: int = 1

    @property
    def name(self) -> str:
        """``1024 x 1024, 8 bit, 1 needle``."""
        plural = "" if self.needles == 1 else "s"
        return f"{self.width_px} x {self.height_px}, {self.bits} bit, {self.needles} needle{plural}"

    @property
    def scenario(self) -> Scenario:
        """A root with contrast for each of the first two needles, and cement through both; the first one leaks."""
        layout = _MONITORS.get((self.width_px, self.height_px), Layout.PICTURE)
        cement = [
            {"needle": 1, "ml": 1.8, "start_s": 4.5, "end_s": 9.5, "leak": "foramen", "leak_after_ml": 0.7},
            {"needle": 2, "ml": 1.2, "start_s": 4.7, "end_s": 9.0},
        ]
        roots = ("S1L", "S1R")
        return Scenario.model_validate(
            {
                "title": self.name,
                "may_alarm": True,
                "video": {
                    "duration_s": DURATION_S,
                    "size_px": self.height_px if layout is Layout.PICTURE else min(self.height_px, 1024),
                    "pulse_hz": RATE_HZ,
                    "video_hz": RATE_HZ,
                },
                "display": {"layout": layout},
                "carm": {"view": "ap", "isocentre_mm": (0, 0, -12), "field_mm": _FIELD_MM},
                "breathing": {"amplitude_mm": 1.0},
                "needles": [needle | _APPEARS for needle in _NEEDLES[: self.needles]],
                "contrast": [
                    {"root": root, "start_s": 0.4 + 0.2 * i, "washout_s": 1.5}
                    for i, root in enumerate(roots[: self.needles])
                ],
                "cement": cement[: self.needles],
            }
        )


@dataclass(frozen=True, slots=True, eq=False)
class Pulses:
    """A recording in memory, with what an operator would know of it."""

    name: str
    frames: tuple[Frame, ...]
    info: SourceInfo
    plan: CasePlan


def render(case: BenchCase) -> Pulses:
    """The case's procedure, each frame a new pulse."""
    with PhantomSource(case.scenario, seed=1) as source:
        rng = np.random.default_rng(1)
        progress = tqdm(source, total=source.info.frame_count, unit=" pulses", disable=None, desc=case.name)
        frames = tuple(_deepened(frame, case.bits, rng) for frame in progress)
        info = SourceInfo(case.name, source.info.width_px, source.info.height_px, case.bits, False, len(frames))
        return Pulses(case.name, frames, info, source.plan)


def recorded(name: str, source: FrameSource, plan: CasePlan) -> Pulses:
    """All frames of an opened source, repeats of a pulse included."""
    frames = tuple(tqdm(source, total=source.info.frame_count, unit=" frames", disable=None, desc=name))
    return Pulses(name, frames, source.info, plan)


def densities_of(pulses: Pulses, most: int) -> list[Density]:
    """At most so many pulses, evenly over the procedure, as the stages look at them: optical density at work scale.

    All inside the first one's field, and so of one size.
    """
    shown = [pulses.frames[int(n)] for n in np.linspace(0, len(pulses.frames) - 1, min(most, len(pulses.frames)))]
    field = FieldWatch().update(shown[0].pixels, shown[0].bits)
    return [make_picture(frame.pixels, field, frame.bits).density for frame in shown]


class PulseSource:
    """The pulses as a recording that the service plays; may be opened again and again."""

    def __init__(self, pulses: Pulses) -> None:
        self._pulses = pulses

    @property
    def info(self) -> SourceInfo:
        return self._pulses.info

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """There is nothing to let go of."""

    def __iter__(self) -> Iterator[Frame]:
        return iter(self._pulses.frames)


def _deepened(frame: Frame, bits: int, rng: np.random.Generator) -> Frame:
    if bits == frame.bits:
        return frame
    low = rng.integers(0, 1 << (bits - 8), frame.pixels.shape, np.uint16)
    pixels = (frame.pixels.astype(np.uint16) << (bits - 8)) | low
    return Frame(freeze(pixels), frame.t_s, frame.sequence, bits, frame.flags)
