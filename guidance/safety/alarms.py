"""Conditions in, changes of alerts out: told once, never from a single pulse, and not dropped while unknown."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from guidance.records import Alert, AlertKind, AlertState, Condition, Findings, Priority
from guidance.safety.limits import AlarmTiming, Limits
from guidance.safety.rules import Assessment, History, assess

TECHNICAL = frozenset(
    {
        AlertKind.VIDEO_LOST,
        AlertKind.VIDEO_FROZEN,
        AlertKind.VIDEO_CORRUPT,
        AlertKind.REFERENCE_LOST,
        AlertKind.ANALYSIS_BEHIND,
    }
)
NEEDS_REFERENCE = frozenset(
    {
        AlertKind.CEMENT_IN_ZONE,
        AlertKind.CEMENT_NEAR_ZONE,
        AlertKind.CEMENT_NEAR_ROOT,
        AlertKind.NEEDLE_IN_ZONE,
        AlertKind.NEEDLE_NEAR_ZONE,
        AlertKind.NEEDLE_NEAR_ROOT,
    }
)
REPLACED_BY = {
    AlertKind.CEMENT_NEAR_ZONE: AlertKind.CEMENT_IN_ZONE,
    AlertKind.NEEDLE_NEAR_ZONE: AlertKind.NEEDLE_IN_ZONE,
}
"""The worse alert for the same zone (and needle) takes the place of the lesser one."""

Key = tuple[AlertKind, str | None, int | None, int | None]

_RANK = {Priority.HIGH: 0, Priority.MEDIUM: 1, Priority.LOW: 2}


def worst_first(alerts: tuple[Alert, ...]) -> tuple[Alert, ...]:
    """The same alerts: by priority, clinical before technical, a named zone before none, the newest first."""
    return tuple(sorted(alerts, key=lambda a: (_RANK[a.priority], a.kind in TECHNICAL, a.zone is None, -a.id)))


@dataclass(slots=True)
class _Course:
    """How one condition has gone so far. ``alert`` is None until it has lasted long enough to be told."""

    condition: Condition
    view_id: int
    seen_pulses: int = 0
    absent_pulses: int = 0
    alert: Alert | None = None


class Alarms:
    """The lifecycle of every alert of one case."""

    def __init__(self, timing: AlarmTiming) -> None:
        self._timing = timing
        self._courses: dict[Key, _Course] = {}
        self._next_id = 1

    @property
    def active(self) -> tuple[Alert, ...]:
        """Alerts raised and not over, worst first, with their present values."""
        return worst_first(tuple(course.alert for course in self._courses.values() if course.alert is not None))

    def step(self, assessment: Assessment, findings: Findings) -> tuple[Alert, ...]:
        """What has changed with this frame."""
        present = {_key(condition): condition for condition in assessment.conditions}
        changes = [*self._note_present(present, assessment, findings)]
        changes += self._note_absent(present, assessment, findings)
        return tuple(changes)

    def acknowledge(self, alert_id: int, findings: Findings) -> Alert | None:
        """The acknowledged alert, or None where no such alert is active."""
        for course in self._courses.values():
            if course.alert is not None and course.alert.id == alert_id:
                course.alert = replace(
                    course.alert, state=AlertState.ACKNOWLEDGED, frame=findings.frame, t_s=findings.t_s
                )
                return course.alert
        return None

    def _note_present(
        self, present: dict[Key, Condition], assessment: Assessment, findings: Findings
    ) -> Iterator[Alert]:
        for key, condition in present.items():
            technical = condition.kind in TECHNICAL
            if not (technical or assessment.new_pulse):
                continue
            course = self._courses.setdefault(key, _Course(condition, findings.view_id))
            course.condition, course.view_id = condition, findings.view_id
            course.seen_pulses, course.absent_pulses = course.seen_pulses + 1, 0
            if course.alert is not None:
                course.alert = replace(course.alert, value=condition.value, text=condition.text)
            elif self._worse_is_told(condition):
                continue
            elif technical or course.seen_pulses >= self._timing.persistence_pulses:
                course.alert = self._raise(condition, findings)
                yield course.alert
                yield from self._replace_lesser(condition, findings)

    def _note_absent(
        self, present: dict[Key, Condition], assessment: Assessment, findings: Findings
    ) -> Iterator[Alert]:
        for key, course in list(self._courses.items()):
            if key in present or not self._can_tell(course, assessment, findings):
                continue
            course.absent_pulses += 1
            over = key[0] in TECHNICAL or course.absent_pulses >= self._timing.release_pulses
            if course.alert is None or over:
                del self._courses[key]
            if course.alert is not None and over:
                yield replace(course.alert, state=AlertState.CLEARED, frame=findings.frame, t_s=findings.t_s)

    @staticmethod
    def _can_tell(course: _Course, assessment: Assessment, findings: Findings) -> bool:
        """Whether this frame can show that a condition is over: the same view, watched, a new pulse."""
        kind = course.condition.kind
        if kind in TECHNICAL:
            return True
        if not assessment.new_pulse or course.view_id != findings.view_id:
            return False
        return assessment.watched or kind not in NEEDS_REFERENCE

    def _raise(self, condition: Condition, findings: Findings) -> Alert:
        alert = Alert(
            id=self._next_id,
            kind=condition.kind,
            priority=condition.priority,
            state=AlertState.RAISED,
            frame=findings.frame,
            t_s=findings.t_s,
            zone=condition.zone,
            needle=condition.needle,
            value=condition.value,
            unit=condition.unit,
            text=condition.text,
        )
        self._next_id += 1
        return alert

    def _worse_is_told(self, lesser: Condition) -> bool:
        """Whether the worse alert for the same place is still active: telling the lesser one would double it."""
        kind = REPLACED_BY.get(lesser.kind)
        return any(
            course.alert is not None
            and course.condition.kind is kind
            and (course.condition.zone, course.condition.needle) == (lesser.zone, lesser.needle)
            for course in self._courses.values()
        )

    def _replace_lesser(self, worse: Condition, findings: Findings) -> Iterator[Alert]:
        for key, course in list(self._courses.items()):
            lesser = course.condition
            same_place = (lesser.zone, lesser.needle) == (worse.zone, worse.needle)
            if REPLACED_BY.get(lesser.kind) is worse.kind and same_place:
                del self._courses[key]
                if course.alert is not None:
                    yield replace(course.alert, state=AlertState.CLEARED, frame=findings.frame, t_s=findings.t_s)


class Watch:
    """Rules and alarms of one case: findings in, changes of alerts out."""

    def __init__(self, limits: Limits, timing: AlarmTiming) -> None:
        self._limits = limits
        self._timing = timing
        self._history = History()
        self._alarms = Alarms(timing)
        self._findings: Findings | None = None

    def step(self, findings: Findings) -> tuple[Alert, ...]:
        """What has changed with this frame's findings."""
        self._findings = findings
        return self._alarms.step(assess(findings, self._limits, self._timing, self._history), findings)

    @property
    def active(self) -> tuple[Alert, ...]:
        """Alerts raised and not over, worst first."""
        return self._alarms.active

    def acknowledge(self, alert_id: int) -> Alert | None:
        """The acknowledged alert, or None where no such alert is active."""
        return None if self._findings is None else self._alarms.acknowledge(alert_id, self._findings)


def _key(condition: Condition) -> Key:
    return (condition.kind, condition.zone, condition.needle, condition.root)
