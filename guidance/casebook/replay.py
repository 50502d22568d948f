"""A recording analysed as fast as it can be: every frame, no clock, the same bytes out for the same bytes in."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import guidance
from drivers.frame import Frame, SourceInfo
from guidance.casebook.annotated import AnnotatedVideo
from guidance.overlay import VIEW_LIMITS
from guidance.records import Alert, AlertState, CasePlan, Findings
from guidance.safety.alarms import Watch
from guidance.settings import Settings
from guidance.vision.pipeline import Pipeline
from guidance.wire import FindingsLines, alert_json


class OutputError(Exception):
    """A result cannot be written; one line that names the file and the reason."""


@dataclass(slots=True)
class Replayed:
    """What a replay has come to so far: the counts of ``summary.json``."""

    frames: int = 0
    pulses: int = 0
    duration_s: float = 0.0
    states: Counter[str] = field(default_factory=Counter)
    alerts: Counter[str] = field(default_factory=Counter)
    needles: set[int] = field(default_factory=set)
    views: set[int] = field(default_factory=set)
    largest_cement_mm2: float | None = None
    scale: dict[str, Any] | None = None
    not_shown: set[str] = field(default_factory=set)

    def note(self, findings: Findings, changes: tuple[Alert, ...]) -> None:
        """Count one frame."""
        self.frames += 1
        self.pulses = findings.pulse
        self.duration_s = findings.t_s
        self.states[findings.state.value] += 1
        self.alerts.update(change.kind.value for change in changes if change.state is AlertState.RAISED)
        self.needles.update(needle.id for needle in findings.needles)
        if findings.view_id >= 0:
            self.views.add(findings.view_id)
            self.not_shown.update(words for view, words in VIEW_LIMITS.items() if view is findings.view)
        areas = [deposit.area_mm2 for deposit in findings.cement if deposit.area_mm2 is not None]
        if areas:
            self.largest_cement_mm2 = max(self.largest_cement_mm2 or 0.0, sum(areas))
        if findings.scale is not None:
            self.scale = {
                "mm_per_px": round(findings.scale.mm_per_px, 6),
                "source": findings.scale.source.value,
            }

    def as_json(self, source: str, complete: bool) -> dict[str, Any]:
        """The contents of ``summary.json``. ``complete`` False: the recording broke off before its end."""
        return {
            "schema": 1,
            "software": f"fluoroguide {guidance.__version__}",
            "source": source,
            "complete": complete,
            "frames": self.frames,
            "pulses": self.pulses,
            "duration_s": round(self.duration_s, 6),
            "states": dict(sorted(self.states.items())),
            "alerts_raised": dict(sorted(self.alerts.items())),
            "needles": len(self.needles),
            "views": len(self.views),
            "largest_cement_mm2": None if self.largest_cement_mm2 is None else round(self.largest_cement_mm2, 3),
            "scale": self.scale,
            "not_shown": sorted(self.not_shown),
        }


def analyse(
    frames: Iterable[Frame], info: SourceInfo, plan: CasePlan, settings: Settings
) -> Iterable[tuple[Frame, Findings, tuple[Alert, ...], tuple[Alert, ...]]]:
    """Each frame with its findings, the changes of alerts on it and the alerts active after it."""
    pipeline = Pipeline(plan, info)
    watch = Watch(settings.limits(plan), settings.timing())
    for frame in frames:
        findings = pipeline.step(frame)
        changes = watch.step(findings)
        yield frame, findings, changes, watch.active


def replay(
    frames: Iterable[Frame],
    info: SourceInfo,
    plan: CasePlan,
    settings: Settings,
    out: Path,
    annotated: bool = False,
    progress: Callable[[Findings], None] = lambda findings: None,
) -> Replayed:
    """Analyse every frame and write ``findings.jsonl``, ``alerts.jsonl``, ``summary.json`` [``annotated.mp4``].

    Lines are written as they come: where the recording breaks off (SourceError passes through), all that was found
    before stays readable and ``summary.json`` says that it is not complete. Raises OutputError.
    """
    result = Replayed()
    complete = False
    try:
        out.mkdir(parents=True, exist_ok=True)
        with ExitStack() as files:
            findings_file = files.enter_context((out / "findings.jsonl").open("wb"))
            alerts_file = files.enter_context((out / "alerts.jsonl").open("w", encoding="utf-8"))
            video = files.enter_context(AnnotatedVideo(out / "annotated.mp4")) if annotated else None
            files.callback(lambda: _write_summary(out, result.as_json(info.name, complete)))
            lines = FindingsLines()
            for frame, findings, changes, active in analyse(frames, info, plan, settings):
                findings_file.write(lines.line(findings))
                for change in changes:
                    write_line(alerts_file, alert_json(change))
                if video is not None:
                    video.add(frame, findings, active)
                result.note(findings, changes)
                progress(findings)
            complete = True
    except OSError as error:
        raise OutputError(
            f"{error.filename or out}: cannot be written ({error.strerror}); expected a writable folder"
        ) from error
    return result


def write_line(file: IO[str], row: dict[str, Any]) -> None:
    """One JSON object as one line."""
    file.write(json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n")


def _write_summary(out: Path, summary: dict[str, Any]) -> None:
    (out / "summary.json").write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
