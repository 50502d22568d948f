"""What happened in a case, from its findings and alerts: phases, needles, cement, alerts, and its scale."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from guidance.records import AlertState, FrameState, Phase, Priority, ScaleSource
from guidance.wire import AlertMessage


@dataclass(slots=True)
class PhaseSpan:
    """A stretch of the case in one phase, seconds from its first frame."""

    phase: Phase
    from_s: float
    to_s: float
    inferred: bool


@dataclass(slots=True)
class NeedleEvent:
    """A needle as it was last measured in one view, and how deep it has ever been there.

    ``depth_share``: of a vertebral body, 0 at its posterior wall, 1 at its anterior cortex; None where never measured.
    """

    id: int
    view: str | None
    t_s: float
    angle_deg: float | None = None
    depth_share: float | None = None
    depth_t_s: float | None = None
    deepest_share: float | None = None
    deepest_t_s: float | None = None


@dataclass(slots=True)
class CementEvent:
    """A deposit in one view: when it was first seen, and its area when it was largest and when last seen."""

    id: int
    view: str | None
    first_t_s: float
    t_s: float
    area_mm2: float | None = None
    largest_mm2: float | None = None
    largest_t_s: float | None = None


@dataclass(slots=True)
class AlertEvent:
    """One raising of one alert. ``acknowledged_s``, ``cleared_s``: None where that never came."""

    raised: AlertMessage
    acknowledged_s: float | None = None
    cleared_s: float | None = None


@dataclass(slots=True)
class Events:
    """All of a case. ``scales``: every mm_per_px that was used, with its source."""

    phases: list[PhaseSpan] = field(default_factory=list)
    needles: list[NeedleEvent] = field(default_factory=list)
    cement: list[CementEvent] = field(default_factory=list)
    alerts: list[AlertEvent] = field(default_factory=list)
    scales: set[tuple[float, ScaleSource]] = field(default_factory=set)

    @property
    def highest(self) -> Priority | None:
        """The worst priority that was ever raised; None without an alert."""
        order = list(Priority)
        return min((event.raised.priority for event in self.alerts), key=order.index, default=None)


def events_of(findings: Iterable[dict[str, Any]], alerts: Iterable[AlertMessage]) -> Events:
    """The events that lines of findings and changes of alerts tell. Only frames that are live are looked at."""
    events = Events(alerts=_alerts(alerts))
    needles: dict[tuple[int, int], NeedleEvent] = {}
    cement: dict[tuple[int, int], CementEvent] = {}
    pulse = None
    for row in findings:
        _note_phase(events.phases, row)
        if row["state"] != FrameState.LIVE or row["pulse"] == pulse:
            continue
        pulse = row["pulse"]
        t_s, view, view_id = row["t_s"], row["view"], row["view_id"]
        if row["scale"] is not None:
            events.scales.add((row["scale"]["mm_per_px"], ScaleSource(row["scale"]["source"])))
        for seen in row["needles"]:
            if not seen["predicted"]:
                key = (view_id, seen["id"])
                _note_needle(needles.setdefault(key, NeedleEvent(seen["id"], view, t_s)), seen, view, t_s)
        for seen in row["cement"]:
            key = (view_id, seen["id"])
            _note_cement(cement.setdefault(key, CementEvent(seen["id"], view, t_s, t_s)), seen, view, t_s)
    events.needles, events.cement = list(needles.values()), list(cement.values())
    return events


def _note_phase(phases: list[PhaseSpan], row: dict[str, Any]) -> None:
    if phases and phases[-1].phase == row["phase"]:
        phases[-1].to_s = row["t_s"]
    else:
        phases.append(PhaseSpan(Phase(row["phase"]), row["t_s"], row["t_s"], row["phase_inferred"]))


def _note_needle(needle: NeedleEvent, seen: dict[str, Any], view: str | None, t_s: float) -> None:
    needle.t_s, needle.angle_deg, needle.view = t_s, seen["angle_deg"], view
    depth = seen["depth_share"]
    if depth is None or seen.get("tip_hidden"):
        return
    needle.depth_share, needle.depth_t_s = depth, t_s
    if needle.deepest_share is None or depth > needle.deepest_share:
        needle.deepest_share, needle.deepest_t_s = depth, t_s


def _note_cement(deposit: CementEvent, seen: dict[str, Any], view: str | None, t_s: float) -> None:
    deposit.t_s, deposit.area_mm2, deposit.view = t_s, seen["area_mm2"], view
    area = seen["area_mm2"]
    if area is not None and (deposit.largest_mm2 is None or area > deposit.largest_mm2):
        deposit.largest_mm2, deposit.largest_t_s = area, t_s


def _alerts(changes: Iterable[AlertMessage]) -> list[AlertEvent]:
    events: list[AlertEvent] = []
    last: dict[int, AlertEvent] = {}
    for change in changes:
        if change.state is AlertState.RAISED:
            last[change.id] = AlertEvent(change)
            events.append(last[change.id])
        elif change.id in last and change.state is AlertState.ACKNOWLEDGED:
            last[change.id].acknowledged_s = change.t_s
        elif change.id in last:
            last[change.id].cleared_s = change.t_s
    return events
