"""What was on the screen at a moment of a case: its findings, the alerts that were active, and the drawing of both."""

from collections.abc import Iterable, Mapping
from typing import Any

from guidance.overlay import draw, status_line, strokes_json
from guidance.safety.alarms import worst_first
from guidance.wire import AlertMessage, FindingsMessage, alert_record, findings_record

SAME_MOMENT_S = 1e-6
"""Times are told to a microsecond."""


def active_at(changes: Iterable[AlertMessage], t_s: float) -> tuple[AlertMessage, ...]:
    """The alerts that were shown at ``t_s``, each as its last change had left it, worst first."""
    last: dict[int, AlertMessage] = {}
    for change in changes:
        if change.t_s <= t_s + SAME_MOMENT_S:
            last[change.id] = change
    active = {alert.id: alert for alert in last.values() if alert.active}
    return tuple(active[alert.id] for alert in worst_first(alert_record(alert) for alert in active.values()))


def drawn(line: Mapping[str, Any], active: Iterable[AlertMessage]) -> dict[str, Any]:
    """A line of findings as it is drawn: ``strokes`` for the page, and ``status``, all of it in one line of words."""
    findings = findings_record(FindingsMessage.model_validate(line))
    strokes = strokes_json(draw(findings, [alert_record(alert) for alert in active]))
    return {"strokes": strokes, "status": status_line(findings)}
