"""``plan.json``: what the operator knows, checked at the edge and handed inwards as a plain record."""

import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer, field_validator, model_validator

from guidance.records import CasePlan, Phase, PhaseMark, View, ViewMark, Zone, ZoneKind
from guidance.settings import ClinicalLimits

Finite = Annotated[float, Field(allow_inf_nan=False)]
PictureSide = Annotated[int, Field(ge=16, le=16384)]


class PlanError(ValueError):
    """A plan cannot be used. Its text is one line: the file, the place in it, what was expected."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PhaseEntry(_Strict):
    """From ``at_s`` seconds after the first frame the procedure is in ``phase``."""

    at_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    phase: Phase


class ZoneEntry(_Strict):
    """A polygon of at least three corners, in pixels of its view's reference frame."""

    id: Annotated[str, Field(min_length=1, max_length=64)]
    kind: ZoneKind
    polygon_px: Annotated[list[tuple[Finite, Finite]], Field(min_length=3)]
    view: View | None = None


class ViewEntry(_Strict):
    """Which frame a view's zones are drawn on."""

    view: View
    reference_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class PlanFile(_Strict):
    """The file as the contract describes it. Every field but ``schema`` may be missing.

    ``picture_px``: width and height of the pictures that the zones are drawn on; on others they would mean nothing.
    ``limits``: thresholds of this case, in the place of the settings'; only those that are given.
    """

    schema_: Annotated[Literal[1], Field(alias="schema")]
    mm_per_px: Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)] | None = None
    needle_diameter_mm: Annotated[float, Field(gt=0, le=20, allow_inf_nan=False)] | None = None
    view: View | None = None
    phases: list[PhaseEntry] = []
    zones: list[ZoneEntry] = []
    views: list[ViewEntry] = []
    picture_px: tuple[PictureSide, PictureSide] | None = None
    limits: ClinicalLimits | None = None

    @field_validator("phases")
    @classmethod
    def _in_order(cls, phases: list[PhaseEntry]) -> list[PhaseEntry]:
        if any(later.at_s < earlier.at_s for earlier, later in pairwise(phases)):
            raise ValueError("expected phases in the order of at_s")
        return phases

    @model_validator(mode="after")
    def _ids_are_unique(self) -> "PlanFile":
        seen: set[str] = set()
        for zone in self.zones:
            if zone.id in seen:
                raise ValueError(f"expected each zone id once, but {zone.id!r} stands twice")
            seen.add(zone.id)
        return self

    @field_serializer("limits")
    def _only_those_given(self, limits: ClinicalLimits | None) -> dict[str, float] | None:
        return None if limits is None else limits.model_dump(exclude_unset=True)

    @property
    def version(self) -> str:
        """Twelve hexadecimal digits that stand for what the plan says, however it is written."""
        words = json.dumps(self.model_dump(mode="json", by_alias=True, exclude_none=True), sort_keys=True)
        return hashlib.sha256(words.encode()).hexdigest()[:12]

    def record(self) -> CasePlan:
        """The same as a plain record, for vision and safety."""
        return CasePlan(
            mm_per_px=self.mm_per_px,
            needle_diameter_mm=self.needle_diameter_mm,
            view=self.view,
            phases=tuple(PhaseMark(entry.at_s, entry.phase) for entry in self.phases),
            zones=tuple(
                Zone(entry.id, entry.kind, np.array(entry.polygon_px, dtype=np.float64), entry.view)
                for entry in self.zones
            ),
            views=tuple(ViewMark(entry.view, entry.reference_s) for entry in self.views),
            picture_px=self.picture_px,
            limits=() if self.limits is None else tuple(self.limits.model_dump(exclude_unset=True).items()),
        )


def plan_json(plan: CasePlan) -> dict[str, Any]:
    """A plan as ``plan.json`` holds it; what ``parse_plan`` makes of it is the same plan again."""
    entries = {
        "phases": [{"at_s": mark.at_s, "phase": mark.phase} for mark in plan.phases],
        "zones": [
            {"id": zone.id, "kind": zone.kind, "polygon_px": zone.polygon_px.tolist(), "view": zone.view}
            for zone in plan.zones
        ],
        "views": [{"view": mark.view, "reference_s": mark.reference_s} for mark in plan.views],
    }
    alone = {name: getattr(plan, name) for name in ("mm_per_px", "needle_diameter_mm", "view", "picture_px")}
    file = PlanFile.model_validate({"schema": 1, **entries, **alone, "limits": dict(plan.limits) or None})
    return file.model_dump(mode="json", by_alias=True, exclude_none=True)


def load_plan(path: Path) -> CasePlan:
    """Read a plan file. Raises PlanError on what cannot be read or does not fit the contract."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"{path}: cannot be read as a plan ({error}); expected a JSON file") from error
    return parse_plan(text, name=str(path))


def parse_plan(text: str, name: str) -> CasePlan:
    """The plan in ``text``; ``name`` is what an error calls it. Raises PlanError."""
    return read_plan(text, name).record()


def read_plan(text: str, name: str) -> PlanFile:
    """The same as a file's model, which can be written again."""
    try:
        data = json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        raise PlanError(f"{name}: not valid JSON: {error}") from error
    try:
        return PlanFile.model_validate(data)
    except ValidationError as error:
        raise PlanError(f"{name}: {_first_complaint(error)}") from error


def check_zones_inside(plan: CasePlan, width_px: int, height_px: int, name: str) -> None:
    """Raise PlanError where a zone has a corner outside the frame, or is drawn on frames of another size."""
    if plan.picture_px is not None and plan.picture_px != (width_px, height_px):
        w, h = plan.picture_px
        raise PlanError(f"{name}: picture_px: drawn on {w} x {h} pictures; expected {width_px} x {height_px} ones")
    for zone in plan.zones:
        for i, (x, y) in enumerate(zone.polygon_px):
            if not (-0.5 <= x <= width_px - 0.5 and -0.5 <= y <= height_px - 0.5):
                raise PlanError(
                    f"{name}: zone {zone.id!r}, polygon_px[{i}] = [{x:g}, {y:g}]: "
                    f"expected a point inside the {width_px} x {height_px} frame"
                )


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is not a number; expected a finite one")


def _first_complaint(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "plan"
    return f"{place}: {first['msg']}"
