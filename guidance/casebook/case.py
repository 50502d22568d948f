"""A fixture case: a recording with its plan, its truth and the bounds that an evaluation holds it to.

A folder with ``video.mkv`` (FFV1, gray) or ``frames.npz``, ``plan.json``, ``truth.json``, ``expect.json`` and
``SOURCE.md``. ``docs/data-formats.md`` describes each.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import av
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from guidance.casebook.pictures import FFV1
from guidance.plan import PlanError, load_plan
from guidance.records import CasePlan, FrameState, Phase, View

Mask = NDArray[np.uint8]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Point = tuple[Finite, Finite]
M = TypeVar("M", bound=BaseModel)

VIDEO, FRAMES, PLAN, TRUTH, EXPECT, SOURCE = (
    "video.mkv",
    "frames.npz",
    "plan.json",
    "truth.json",
    "expect.json",
    "SOURCE.md",
)


class CaseError(ValueError):
    """A case cannot be read or written. Its text is one line: the file, the place in it, what was expected."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RunLengths(_Strict):
    """A mask as the lengths of its runs, row by row; the first run counts zeros."""

    size: tuple[Annotated[int, Field(ge=1, le=16384)], Annotated[int, Field(ge=1, le=16384)]]
    """(height, width)."""
    counts: tuple[Annotated[int, Field(ge=0)], ...]

    @model_validator(mode="after")
    def _counts_fill_the_frame(self) -> "RunLengths":
        if sum(self.counts) != self.size[0] * self.size[1]:
            raise ValueError(f"expected counts that add up to {self.size[0]} x {self.size[1]}")
        return self

    @classmethod
    def of(cls, mask: NDArray[np.generic]) -> "RunLengths":
        """The run lengths of a mask, shape (h, w), true where not zero."""
        flat = np.concatenate([[False], np.asarray(mask, dtype=bool).ravel()])
        changes = np.flatnonzero(flat[1:] != flat[:-1])
        counts = np.diff(np.concatenate([[0], changes, [flat.size - 1]]))
        return cls(size=(mask.shape[0], mask.shape[1]), counts=tuple(int(n) for n in counts))

    def mask(self) -> Mask:
        """The mask, uint8 (h, w), 255 inside."""
        values = np.zeros(len(self.counts), np.uint8)
        values[1::2] = 255
        return np.repeat(values, self.counts).reshape(self.size)


class TipTruth(_Strict):
    """Where a needle's apex is.

    ``visible``: inside the field and not behind other metal; ``in_cement``: it is seen through cement; ``back_px``: a
    point up its shaft; ``shaft_px``: how much of the shaft lies inside the field.
    """

    id: int
    tip_px: Point
    back_px: Point
    visible: bool
    in_cement: bool = False
    shaft_px: Finite | None = None


class RootTruth(_Strict):
    """A nerve root that contrast has filled. ``mask``: where its sheath has held 0.3 mm; ``line_px``: its axis."""

    mask: RunLengths
    line_px: tuple[Point, ...]


class FrameTruth(_Strict):
    """What is true of one frame. ``shift_px`` and ``rotation_deg`` mean what ``records.Registration`` says.

    ``view`` is None while the C-arm swings: nothing can be registered then. ``leak_mm2`` and ``tip_in_zone`` go by
    the forbidden zones of the frame's view; ``leak_beside_steel_mm2``: what of the leak no instrument covers, empty
    where that is not known. ``cement``: at least 1 mm thick in projection; ``roots``: where the contrast of roots has
    been at least 0.3 mm thick, kept as a roadmap; both absent while there are none. ``filled``: each root by its name,
    without what has run on over the dura; contrast that goes elsewhere is in none of them.
    """

    frame: Annotated[int, Field(ge=0)]
    t_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    pulse: int
    state: FrameState
    held: bool
    phase: Phase
    view: View | None
    shift_px: Point | None
    rotation_deg: Finite | None
    tips: tuple[TipTruth, ...] = ()
    leak_mm2: dict[str, Finite] = {}
    leak_beside_steel_mm2: dict[str, Finite] = {}
    tip_in_zone: dict[str, bool] = {}
    cement_mm2: Finite = 0.0
    roots_mm2: Finite = 0.0
    escape: bool = False
    """Cement is running out of the deposit in a thin run (a vein, a fracture line) of at least 5 mm."""
    run_mm: Finite = 0.0
    """How far in this view a leak's front lies from all cement that is not of the leak."""
    run_beside_steel_mm: Finite | None = None
    """The same of what of the leak no instrument covers; None where that is not known."""
    cement: RunLengths | None = None
    roots: RunLengths | None = None
    filled: dict[str, RootTruth] = {}
    zones: dict[str, tuple[Point, ...]] = {}


class CaseTruth(_Strict):
    """``truth.json``."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    mm_per_px: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    width_px: int
    height_px: int
    frames: tuple[FrameTruth, ...]

    @model_validator(mode="after")
    def _frames_are_counted(self) -> "CaseTruth":
        for i, frame in enumerate(self.frames):
            if frame.frame != i:
                raise ValueError(f"expected frame {i} at frames.{i}, found {frame.frame}")
        return self


class Expect(_Strict):
    """``expect.json``: bounds; an absent one is not checked."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    tip_median_px: Finite | None = None
    tip_p95_mm: Finite | None = None
    missed_share: Finite | None = None
    false_needles_per_frame: Finite | None = None
    dice_cement: Finite | None = None
    dice_roots: Finite | None = None
    leak_delay_frames: Finite | None = None
    leaks_found_share: Finite | None = None
    breaches_found_share: Finite | None = None
    escapes_found_share: Finite | None = None
    false_high_alerts: Finite | None = None
    false_alerts: Finite | None = None
    registration_median_mm: Finite | None = None
    state_accuracy: Finite | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A case as read. ``recording``: the file with its frames."""

    folder: Path
    recording: Path
    plan: CasePlan
    truth: CaseTruth
    expect: Expect


def read_case(folder: Path) -> Case:
    """The case in ``folder``; its frames are not read. Raises CaseError."""
    if not folder.is_dir():
        raise CaseError(f"{folder}: not a folder; expected a case with {VIDEO} or {FRAMES}")
    recording = next((folder / name for name in (VIDEO, FRAMES) if (folder / name).is_file()), None)
    if recording is None:
        raise CaseError(f"{folder}: no frames; expected {VIDEO} or {FRAMES}")
    try:
        plan = load_plan(folder / PLAN) if (folder / PLAN).exists() else CasePlan()
    except PlanError as error:
        raise CaseError(str(error)) from error
    truth = _load(folder / TRUTH, CaseTruth)
    expect = _load(folder / EXPECT, Expect) if (folder / EXPECT).exists() else Expect.model_validate({"schema": 1})
    return Case(folder, recording, plan, truth, expect)


def write_case(
    folder: Path,
    frames: Iterable[tuple[Mask, FrameTruth]],
    mm_per_px: float,
    plan: Mapping[str, Any],
    expect: Mapping[str, Any],
    source: str,
) -> CaseTruth:
    """Write a case frame by frame, and give back its truth. Raises CaseError where the folder can't be written.

    ``frames``: 8-bit frames of one size with their truth, in order. ``plan`` and ``expect``: what goes into their
    files, without ``schema``. ``source``: the text of SOURCE.md.
    """
    truths: list[FrameTruth] = []
    size_px = (0, 0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with GrayVideo(folder / VIDEO) as video:
            for pixels, truth in frames:
                video.add(pixels, truth.t_s)
                truths.append(truth)
                size_px = (pixels.shape[1], pixels.shape[0])
        size = {"width_px": size_px[0], "height_px": size_px[1]}
        whole = CaseTruth.model_validate({"schema": 1, "mm_per_px": mm_per_px, **size, "frames": truths})
        _dump(folder / PLAN, {"schema": 1, **plan})
        _dump(folder / EXPECT, {"schema": 1, **expect})
        text = whole.model_dump_json(by_alias=True)
        # One frame a line: a change of one frame shows as one line.
        (folder / TRUTH).write_text(text.replace('{"frame":', '\n{"frame":') + "\n", encoding="utf-8")
        (folder / SOURCE).write_text(source, encoding="utf-8")
    except OSError as error:
        raise CaseError(f"{folder}: cannot be written ({error}); expected a writable folder") from error
    return whole


class GrayVideo:
    """A lossless 8-bit gray recording (FFV1 version 3 in Matroska) with each frame's own time, to a millisecond."""

    def __init__(self, path: Path) -> None:
        self._container = av.open(str(path), "w", format="matroska", options={"fflags": "+bitexact"})
        self._stream: Any = None

    def __enter__(self) -> "GrayVideo":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._stream is not None:
                self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()

    def add(self, pixels: Mask, t_s: float) -> None:
        """Append one frame, uint8 (h, w), shown from ``t_s`` on."""
        if self._stream is None:
            self._stream = self._open(pixels.shape[1], pixels.shape[0])
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="gray")
        frame.pts = round(t_s * 1000)
        frame.time_base = Fraction(1, 1000)
        self._container.mux(self._stream.encode(frame))

    def _open(self, width: int, height: int) -> Any:
        stream: Any = self._container.add_stream(FFV1.name, rate=30)
        stream.width, stream.height, stream.pix_fmt = width, height, "gray"
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.codec_context.thread_count = 1
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        stream.options = FFV1.options
        return stream


def _load(path: Path, model: type[M]) -> M:
    try:
        return model.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise CaseError(f"{path}: cannot be read ({error}); expected a JSON file") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or path.stem
        raise CaseError(f"{path}: {place}: {first['msg']}") from error
    except ValueError as error:
        raise CaseError(f"{path}: not valid JSON: {error}") from error


def _dump(path: Path, data: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")
