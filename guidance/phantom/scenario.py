"""A simulated procedure as a readable file. Unknown or impossible fields are refused in one line."""

import tomllib
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from guidance.casebook.case import Expect
from guidance.phantom.monitor import FieldShape, Layout, LostVideo
from guidance.records import FrameState, View

Seconds = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]
Millimetres = Annotated[float, Field(ge=-200, le=200, allow_inf_nan=False)]
Vector = tuple[Millimetres, Millimetres, Millimetres]
Name = Annotated[str, Field(min_length=1, max_length=40)]
RootName = Annotated[str, Field(pattern="^S[1-4][LR]$")]


EXPECT_KEYS = frozenset(Expect.model_fields) - {"schema_"}


class ScenarioError(ValueError):
    """A scenario cannot be used. Its text is one line: the file, the place in it, what was expected."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Span(_Strict):
    start_s: Seconds
    end_s: Seconds

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.end_s <= self.start_s:
            raise ValueError(f"expected end_s after start_s, but {self.end_s:g} is not after {self.start_s:g}")
        return self


class Anatomy(_Strict):
    """Who lies on the table. ``ct``: a CT volume instead of the built-in pelvis, relative to the scenario's file."""

    seed: int = 1
    ct: str | None = None


class Video(_Strict):
    """The x-ray pulses and the video that shows them. ``dose_ur``: µR a pulse at the detector."""

    duration_s: Annotated[float, Field(gt=0, le=600)]
    size_px: Annotated[int, Field(ge=128, le=1536)] = 512
    pulse_hz: Annotated[float, Field(gt=0, le=60)] = 7.5
    video_hz: Annotated[float, Field(gt=0, le=60)] = 7.5
    dose_ur: Annotated[float, Field(gt=0, le=100)] = 4.0
    kvp: Annotated[float, Field(ge=55, le=120)] = 80
    lag: Annotated[float, Field(ge=0, le=0.9)] = 0.5
    jpeg_quality: Annotated[int, Field(ge=10, le=100)] | None = None

    @model_validator(mode="after")
    def _video_keeps_up(self) -> Self:
        if self.video_hz < self.pulse_hz:
            raise ValueError("expected video_hz to be at least pulse_hz: every pulse is shown")
        return self


class Display(_Strict):
    """How the machine shows the picture. ``picture_px``: its side in the video frame, the detector's if absent."""

    layout: Layout = Layout.PICTURE
    picture_px: Annotated[int, Field(ge=128, le=1536)] | None = None
    field: FieldShape = FieldShape.CIRCLE
    edge: Literal["hard", "soft"] = "hard"
    """hard: cut by the machine's own mask, black outside. soft: the iris's shadow, noise outside."""
    inverted: bool = False
    text: bool = True
    rotation_deg: Annotated[float, Field(ge=-180, le=180)] = 0.0
    edge_gain: Annotated[float, Field(ge=0, le=3)] = 0.3
    latitude: Annotated[float, Field(ge=0.8, le=6)] = 1.5


class Pose(_Strict):
    """Where the C-arm stands. ``isocentre_mm``: patient coordinates (left, posterior, superior) from the S1 body."""

    view: View
    rotation_deg: float | None = None
    tilt_deg: float = 0.0
    isocentre_mm: Vector = (0.0, 0.0, 0.0)
    field_mm: Annotated[float, Field(ge=60, le=400)] = 200.0
    """Side of the detector's square that makes the picture: 230 is a 9-inch field, 150 a 6-inch one."""

    @property
    def angle_deg(self) -> float:
        """The C-arm's rotation: 0 AP, 90 lateral, unless said otherwise."""
        if self.rotation_deg is not None:
            return self.rotation_deg
        return 0.0 if self.view is View.AP else 90.0


class Swing(Pose, _Span):
    """The C-arm goes to another pose. ``beam_on``: pulses go on; otherwise the last image is held."""

    beam_on: bool = False


class Stroke(_Span):
    """An even advance until ``remaining_mm`` are left to the target; negative is beyond it."""

    remaining_mm: Millimetres


class NeedlePath(_Strict):
    """A bone access needle on its way to a landmark.

    ``target``: ala_L, ala_R, body_S1, body_S2, foramen_S1L ..., or canal. ``lateral_deg`` leans its hub outwards
    (to the patient's left when positive), ``cephalad_deg`` towards the head.
    """

    target: Name
    offset_mm: Vector = (0.0, 0.0, 0.0)
    lateral_deg: Annotated[float, Field(ge=-80, le=80)] = 20.0
    cephalad_deg: Annotated[float, Field(ge=-80, le=80)] = 10.0
    gauge: Literal[11, 13] = 11
    appears_s: Seconds = 0.0
    remaining_mm: Millimetres = 40.0
    strokes: tuple[Stroke, ...] = ()


class ContrastInjection(_Strict):
    """Contrast injected through the foramen of a nerve root: down the root, or ``into`` something that is none."""

    root: RootName
    into: Literal["root", "vein", "tissue", "canal", "layer", "skin"] = "root"
    ml: Annotated[float, Field(gt=0, le=10)] = 1.0
    start_s: Seconds
    washout_s: Annotated[float, Field(gt=0, le=600)] = 6.0
    """Time constant of the washing out; quicker than in life, so that a scenario need not last minutes."""


class CementInjection(_Span):
    """Cement from the tip of a needle (counted from 1), at an even rate, perhaps with a leak."""

    needle: Annotated[int, Field(ge=1)] = 1
    ml: Annotated[float, Field(gt=0, le=6)]
    leak: Literal["foramen", "canal", "anterior", "vein"] | None = None
    leak_after_ml: Annotated[float, Field(ge=0, le=6)] = 0.8


class Breathing(_Strict):
    """The sacrum's share of breathing; a rise and fall along the body, and a nod in the picture."""

    amplitude_mm: Annotated[float, Field(ge=0, le=15)] = 0.0
    per_minute: Annotated[float, Field(gt=0, le=40)] = 13.0
    nod_deg: Annotated[float, Field(ge=0, le=5)] = 0.0


class TableMove(_Span):
    """The table carries the patient by ``shift_mm`` (left, posterior, superior).

    ``turn_deg``: the patient turns meanwhile, about the picture's middle, counter-clockwise in the picture.
    """

    shift_mm: Vector
    turn_deg: Annotated[float, Field(ge=-15, le=15)] = 0.0


class Interval(_Span):
    """While it lasts, the video is not live. ``screen``: what no_signal looks like."""

    state: Literal[FrameState.HELD, FrameState.FROZEN, FrameState.NO_SIGNAL]
    screen: LostVideo = LostVideo.BLUE


class Collimation(_Strict):
    """From ``at_s`` on, how far each shutter leaf is closed, as a share of the picture's side."""

    at_s: Seconds
    left: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    top: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    right: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    bottom: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    turn_deg: Annotated[float, Field(ge=-90, le=90)] = 0.0


class DoseStep(_Strict):
    """From ``at_s`` on, another exposure a pulse."""

    at_s: Seconds
    dose_ur: Annotated[float, Field(gt=0, le=100)]


class Distractor(_Strict):
    """Something seen that is no needle and no cement, there between ``start_s`` and ``end_s``.

    rail: two faint straight lines across the whole picture, the table's frame. spill: contrast on the skin. gas: a
    bubble in the bowel, radiolucent. ``drift_mm_per_s``: how it moves from its start on.
    """

    kind: Literal["clamp", "screw", "cable", "rail", "spill", "gas"]
    at_mm: Vector
    drift_mm_per_s: Vector = (0.0, 0.0, 0.0)
    angle_deg: Annotated[float, Field(ge=-180, le=180)] = 30.0
    start_s: Seconds = 0.0
    end_s: Seconds = 3600.0


class Scenario(_Strict):
    """A whole simulated procedure."""

    title: str
    may_alarm: bool
    """False: nothing in it may raise a clinical alert."""
    anatomy: Anatomy = Anatomy()
    video: Video
    display: Display = Display()
    carm: Pose = Pose(view=View.AP)
    swings: tuple[Swing, ...] = ()
    needles: tuple[NeedlePath, ...] = ()
    contrast: tuple[ContrastInjection, ...] = ()
    cement: tuple[CementInjection, ...] = ()
    breathing: Breathing = Breathing()
    table: tuple[TableMove, ...] = ()
    intervals: tuple[Interval, ...] = ()
    collimation: tuple[Collimation, ...] = ()
    dose: tuple[DoseStep, ...] = ()
    distractors: tuple[Distractor, ...] = ()
    expect: dict[str, float] = {}
    """Bounds of its rendered case where they differ from ``case.EXPECT``; the keys of ``expect.json``."""

    @field_validator("expect")
    @classmethod
    def _are_bounds(cls, bounds: dict[str, float]) -> dict[str, float]:
        for key in bounds.keys() - EXPECT_KEYS:
            raise ValueError(f"{key}: no such bound; expected one of {', '.join(sorted(EXPECT_KEYS))}")
        Expect.model_validate({"schema": 1, **bounds})
        return bounds

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        for injection in self.cement:
            if injection.needle > len(self.needles):
                raise ValueError(f"cement goes through needle {injection.needle}, but there are {len(self.needles)}")
        return self


def scenario_names() -> tuple[str, ...]:
    """Names of the built-in scenarios, sorted."""
    return tuple(sorted(f.name.removesuffix(".toml") for f in _built_in().iterdir() if f.name.endswith(".toml")))


def load_scenario(name_or_path: str | Path) -> Scenario:
    """The built-in scenario of that name, or the one in the file. Raises ScenarioError."""
    name = str(name_or_path)
    place: Traversable | Path = Path(name)
    if not name.endswith(".toml"):
        if name not in scenario_names():
            raise ScenarioError(
                f"{name}: no such scenario; expected a .toml file or one of {', '.join(scenario_names())}"
            )
        place = _built_in() / f"{name}.toml"
    try:
        text = place.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{name}: cannot be read ({error}); expected a scenario as TOML") from error
    return parse_scenario(text, name)


def parse_scenario(text: str, name: str) -> Scenario:
    """The scenario in ``text``; ``name`` is what an error calls it. Raises ScenarioError."""
    try:
        return Scenario.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{name}: not valid TOML: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "scenario"
        raise ScenarioError(f"{name}: {where}: {first['msg']}") from error


def _built_in() -> Traversable:
    return files("guidance.phantom") / "scenarios"
