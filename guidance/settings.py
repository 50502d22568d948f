"""How the service is set: every threshold with its unit, default, range and reason."""

import json
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from guidance.records import CasePlan
from guidance.safety.limits import AlarmTiming, Limits


class SettingsError(ValueError):
    """A settings file cannot be used; one line that names file, place and what was expected."""


class ClinicalLimits(BaseModel):
    """The thresholds that a case may have of its own. Unknown ones are refused: no misspelt one may pass silently."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cement_in_zone_mm2: Annotated[
        float,
        Field(ge=0.5, le=50, description="mm² of cement in a forbidden zone that is a breach; the contract's 4"),
    ] = 4.0
    cement_near_zone_mm: Annotated[
        float, Field(ge=0, le=20, description="mm from cement's edge to a forbidden zone that warns")
    ] = 3.0
    cement_arrival_s: Annotated[
        float,
        Field(
            ge=0,
            le=10,
            description="s until the cement's front would reach a zone: time to let go of the plunger",
        ),
    ] = 2.0
    cement_escape_mm_per_s: Annotated[
        float,
        Field(
            ge=0.5,
            le=50,
            description="mm/s of a thin run's front: arms that thicken in bone show 2 to 4, runs into a vein 6 to 30",
        ),
    ] = 5.0
    cement_near_root_mm: Annotated[
        float, Field(ge=0, le=20, description="mm from cement's edge to a mapped nerve root that warns")
    ] = 2.0
    needle_near_zone_mm: Annotated[
        float, Field(ge=0, le=20, description="mm from an advancing tip to a forbidden zone that warns")
    ] = 3.0
    needle_near_root_mm: Annotated[
        float, Field(ge=0, le=20, description="mm from a tip to a mapped nerve root that warns")
    ] = 3.0


class Settings(ClinicalLimits):
    """The settings file's fields."""

    persistence_pulses: Annotated[
        int, Field(ge=2, le=10, description="x-ray pulses a condition must last to alarm: never a single one")
    ] = 2
    release_pulses: Annotated[
        int, Field(ge=1, le=60, description="pulses without the condition before its alert clears")
    ] = 5
    lost_grace_s: Annotated[float, Field(ge=0, le=10, description="s without signal before it is told")] = 0.25
    frozen_grace_s: Annotated[float, Field(ge=0, le=30, description="s of a frozen source before it is told")] = 1.0
    corrupt_grace_s: Annotated[float, Field(ge=0, le=10, description="s of damaged frames before it is told")] = 0.25
    reference_grace_s: Annotated[float, Field(ge=0, le=10, description="s without registration before it is told")] = (
        0.25
    )
    behind_ms: Annotated[float, Field(ge=20, le=5000, description="age of the findings that is too old, live only")] = (
        250.0
    )
    behind_grace_s: Annotated[
        float, Field(ge=0, le=10, description="s of findings that are too old before it is told: one hiccup is none")
    ] = 0.5
    release_mm: Annotated[
        float,
        Field(
            ge=0,
            le=5,
            description="mm beyond a distance threshold before what has alarmed is over: outlines flicker by 0.2, "
            "tips by 0.75 in one of twenty",
        ),
    ] = 0.5
    release_share: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="share of an area or age threshold below which what has alarmed is over: a leak's measured "
            "area breathes by a tenth",
        ),
    ] = 0.75
    technical_release_s: Annotated[
        float,
        Field(ge=0, le=10, description="s without a technical trouble before its alert clears: a loose plug flutters"),
    ] = 0.5
    latch_technical: Annotated[
        bool,
        Field(
            description="whether technical alerts of high priority also stay until acknowledged (clinical ones always "
            "do); off: a picture that is back tells itself, and every swing of some C-arms interrupts their video"
        ),
    ] = False
    audio_pause_s: Annotated[
        float,
        Field(
            ge=10,
            le=180,
            description="s of an audio pause: long enough to speak and act, never so long as to be forgotten",
        ),
    ] = 120.0
    renotify_s: Annotated[
        float,
        Field(
            ge=30,
            le=3600,
            description="s after which an acknowledged clinical alert of high priority is raised again while its "
            "condition lasts: hands change, and cement sets in some five minutes",
        ),
    ] = 300.0
    worse_factor: Annotated[
        float,
        Field(
            gt=1,
            le=10,
            description="an acknowledged leak that has grown to so many times what was acknowledged is raised again",
        ),
    ] = 2.0
    worse_needle_mm: Annotated[
        float,
        Field(
            ge=0.75,
            le=20,
            description="mm that an acknowledged tip must go deeper to be raised again: well beyond a tip's error",
        ),
    ] = 2.0
    carry_over_h: Annotated[
        float,
        Field(
            ge=0,
            le=72,
            description="h within which alerts that were active when the service was killed are raised again: longer "
            "ago it was another patient",
        ),
    ] = 12.0
    disk_free_mb: Annotated[
        float,
        Field(
            ge=10,
            le=1e6,
            description="MB left where the alarm log is written below which it is told: an hour of alarms is 1, "
            "but a full disk stops every other recorder of the machine too",
        ),
    ] = 1024.0
    recording_left_min: Annotated[
        float,
        Field(
            ge=1,
            le=1440,
            description="minutes of recording that the disk has room for below which it is told: longer than a "
            "procedure lasts, so that it is known before one begins",
        ),
    ] = 60.0
    archive_keep_days: Annotated[
        float | None,
        Field(gt=0, le=36500, description="days after which a case is deleted unless marked keep; none: never"),
    ] = None
    archive_keep_gb: Annotated[
        float | None,
        Field(
            gt=0,
            le=1e6,
            description="GB of all cases beyond which the oldest are deleted unless marked keep; none: no bound",
        ),
    ] = None
    subscriber_grace_s: Annotated[
        float,
        Field(
            ge=1,
            le=60,
            description="s without a word from a named subscriber before it is told as lost: it reports each second, "
            "and a dashboard that died is back within two",
        ),
    ] = 3.0
    most_viewers: Annotated[
        int,
        Field(
            ge=1,
            le=100,
            description="pages that show the dashboard at once: each takes 45 Mbit/s at 30 pictures of 1024 x 1024 a "
            "second, and twelve of them half of a gigabit line",
        ),
    ] = 12

    def limits(self, plan: CasePlan | None = None) -> Limits:
        """The rules' thresholds as a plain record, with those in their place that the plan has of its own."""
        own = {} if plan is None else dict(plan.limits)
        return Limits(**{name: getattr(self, name) for name in Limits.__dataclass_fields__} | own)

    def timing(self) -> AlarmTiming:
        """The alarms' persistence as a plain record."""
        return AlarmTiming(**{name: getattr(self, name) for name in AlarmTiming.__dataclass_fields__})


def load_settings(path: Path | None) -> Settings:
    """The settings of a JSON file, or the defaults. Raises SettingsError."""
    if path is None:
        return Settings()
    try:
        return Settings.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False)[0]
            detail = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        else:
            detail = str(error)
        raise SettingsError(f"{path}: {detail}") from error
