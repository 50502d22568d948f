"""Recorded procedures for scenes: what the pipeline and the alarms made of the phantom, frame by frame."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from guidance.casebook.replay import analyse
from guidance.phantom.source import open_phantom
from guidance.records import Alert, Findings
from guidance.settings import Settings
from tests.browser.room import Scene


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """One pulse: its picture, what was seen on it, and the alerts that were active."""

    findings: Findings
    alerts: tuple[Alert, ...]
    scene: Scene


@cache
def recorded(scenario: str, size_px: int) -> tuple[Moment, ...]:
    """The new pulses of a scenario of the phantom, analysed as fast as it can be."""
    moments: list[Moment] = []
    with open_phantom(f"phantom://{scenario}?size={size_px}") as source:
        for frame, findings, _, active in analyse(source, source.info, source.plan, Settings()):
            if not moments or findings.pulse != moments[-1].findings.pulse:
                sounding = (
                    min((a.priority for a in active), key=list(type(active[0].priority)).index) if active else None
                )
                scene = Scene(
                    findings, active, sounding=sounding, pixels=frame.pixels, noisy=False, source=source.info.name
                )
                moments.append(Moment(findings, active, scene))
    return tuple(moments)


def first(moments: Sequence[Moment], holds: Callable[[Moment], bool]) -> Moment:
    """The first moment of which something holds."""
    return next(moment for moment in moments if holds(moment))
