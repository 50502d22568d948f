"""Conditions in, changes of alerts out: told once, never from a single pulse, and not dropped while unknown.

The lifecycle follows IEC 60601-1-8. A condition that lasts becomes an alert. An alert is over once its condition is no
longer seen and, if it is a clinical one of high priority, somebody has acknowledged it: in either order.

    condition lasts            not seen any more                    acknowledged
    ───────────────> RAISED ───────────────────────> CLEARED, latched ──────────> over
                      │  ^ └─ (medium, low, technical) ─> over
         acknowledged │  │ lasts on, or has become worse
                      v  │
                   ACKNOWLEDGED ──────────────────> over
                               not seen any more

Time arrives in the frames. It is added up from step to step, so that a clock which is set neither ends nor prolongs
anything.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from guidance.records import TECHNICAL, Alert, AlertKind, AlertState, Audio, Condition, Findings, Priority
from guidance.safety.limits import AlarmTiming, Limits
from guidance.safety.rules import Assessment, History, Key, assess, key_of, seconds_between

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

_RANK = {Priority.HIGH: 0, Priority.MEDIUM: 1, Priority.LOW: 2}
_WAITING = {AlertState.RAISED: 0, AlertState.CLEARED: 1, AlertState.ACKNOWLEDGED: 2}


class NoSuchAlertError(LookupError):
    """An alert that is not active cannot be acknowledged. One line."""


def worst_first(alerts: Iterable[Alert]) -> tuple[Alert, ...]:
    """The same alerts: by priority, what nobody has acknowledged first, clinical before technical, the newest first.

    Of the rest a named zone comes before none.
    """
    return tuple(
        sorted(
            alerts,
            key=lambda a: (_RANK[a.priority], _WAITING[a.state], a.kind in TECHNICAL, a.zone is None, -a.id),
        )
    )


def carried_over(alerts: Iterable[Alert]) -> tuple[Alert, ...]:
    """The clinical alerts of high priority among those active when watching broke off, as the next case begins with.

    What they told of was there, and a new reference picture cannot show it: cement that has run out is part of it. So
    they are raised again, also for whoever had acknowledged them, and stay until acknowledged.
    """
    return tuple(
        replace(
            alert,
            state=AlertState.RAISED,
            frame=0,
            t_s=0.0,
            text=alert.text.removesuffix(BEFORE_THE_BREAK) + BEFORE_THE_BREAK,
            first_seen_t_s=None,
            by=None,
        )
        for alert in alerts
        if alert.active and alert.priority is Priority.HIGH and alert.kind not in TECHNICAL
    )


BEFORE_THE_BREAK = " (before watching broke off)"


@dataclass(slots=True)
class _Course:
    """How one condition has gone so far. ``alert`` is None until it has lasted long enough to be told.

    ``view_id``: of the view that last showed it; None where it was carried over and nothing has shown it yet.
    """

    condition: Condition
    view_id: int | None
    first_seen_t_s: float | None = None
    seen_pulses: int = 0
    absent_pulses: int = 0
    absent_s: float | None = None
    alert: Alert | None = None
    acknowledged_value: float = 0.0
    acknowledged_for_s: float = 0.0
    worse_pulses: int = 0

    @property
    def is_told(self) -> bool:
        """Whether it has alarmed and is not over."""
        return self.alert is not None and self.alert.state is not AlertState.CLEARED


class Alarms:
    """The lifecycle of every alert of one case. ``carried``: see ``carried_over``."""

    def __init__(self, timing: AlarmTiming, carried: Iterable[Alert] = ()) -> None:
        self._timing = timing
        self._courses: dict[Key, _Course] = {}
        self._pause_left_s = 0.0
        self._frame, self._t_s = 0, 0.0
        for alert in carried:
            condition = _condition_of(alert)
            self._courses[key_of(condition)] = _Course(condition, None, alert=alert)
        self._next_id = 1 + max((alert.id for alert in self.active), default=0)

    @property
    def active(self) -> tuple[Alert, ...]:
        """Alerts that are not over, worst first, with their present values."""
        return worst_first(course.alert for course in self._courses.values() if course.alert is not None)

    @property
    def told(self) -> frozenset[Key]:
        """The conditions that have alarmed and were not seen to be over."""
        return frozenset(key for key, course in self._courses.items() if course.is_told)

    @property
    def audio(self) -> Audio:
        """What must be heard: the worst alert that nobody has acknowledged, unless audio is paused."""
        waiting = [alert.priority for alert in self.active if alert.state is not AlertState.ACKNOWLEDGED]
        paused = self._pause_left_s > 0
        return Audio(None if paused or not waiting else waiting[0], self._pause_left_s)

    def step(self, assessment: Assessment, findings: Findings, step_s: float) -> tuple[Alert, ...]:
        """What has changed with this frame, ``step_s`` after the one before."""
        self._frame, self._t_s = findings.frame, findings.t_s
        self._pause_left_s = max(0.0, self._pause_left_s - step_s)
        present = {key_of(condition): condition for condition in assessment.conditions}
        changes = [*self._note_present(present, assessment, findings)]
        changes += self._note_absent(present, assessment, findings, step_s)
        changes += self._note_forgotten(step_s)
        if any(change.state is AlertState.RAISED for change in changes):
            self._pause_left_s = 0.0
        return tuple(changes)

    def acknowledge(self, alert_id: int, by: str) -> tuple[Alert, ...]:
        """The change that this is: none where somebody has before. Raises NoSuchAlertError."""
        for key, course in list(self._courses.items()):
            alert = course.alert
            if alert is None or alert.id != alert_id:
                continue
            if alert.state is AlertState.ACKNOWLEDGED:
                return ()
            # What was carried over can never be seen to be over.
            over = not course.is_told or course.view_id is None
            course.alert = self._changed(alert, AlertState.ACKNOWLEDGED, active=not over, by=by)
            course.acknowledged_value, course.acknowledged_for_s, course.worse_pulses = alert.value, 0.0, 0
            if over:
                del self._courses[key]
            return (course.alert,)
        raise NoSuchAlertError(f"alert {alert_id}: not active; expected one of {[a.id for a in self.active]}")

    def pause_audio(self) -> None:
        """Be silent for the pause's time, from now. Any alert that is raised meanwhile ends it."""
        self._pause_left_s = self._timing.audio_pause_s

    def resume_audio(self) -> None:
        """End the pause."""
        self._pause_left_s = 0.0

    def _note_present(
        self, present: dict[Key, Condition], assessment: Assessment, findings: Findings
    ) -> Iterator[Alert]:
        for key, condition in present.items():
            technical = condition.kind in TECHNICAL
            if not (technical or assessment.new_pulse):
                continue
            course = self._courses.setdefault(key, _Course(condition, findings.view_id))
            if course.seen_pulses == 0 and not course.is_told:
                course.first_seen_t_s = findings.t_s
            course.condition, course.view_id = condition, findings.view_id
            course.seen_pulses, course.absent_pulses, course.absent_s = course.seen_pulses + 1, 0, None
            if course.is_told:
                yield from self._note_lasting(course)
            elif self._worse_is_told(condition):
                continue
            elif technical or course.seen_pulses >= self._timing.persistence_pulses:
                yield self._raise(course)
                yield from self._replace_lesser(condition)

    def _note_lasting(self, course: _Course) -> Iterator[Alert]:
        """Bring an alert up to date; raise it again where it was acknowledged and has become worse since."""
        assert course.alert is not None
        course.alert = replace(course.alert, value=course.condition.value, text=course.condition.text)
        if course.alert.state is not AlertState.ACKNOWLEDGED or not self._is_worse(course):
            course.worse_pulses = 0
            return
        course.worse_pulses += 1
        if course.worse_pulses >= self._timing.persistence_pulses:
            yield self._raise(course)

    def _is_worse(self, course: _Course) -> bool:
        value, acknowledged = course.condition.value, course.acknowledged_value
        match course.condition.kind:
            case AlertKind.CEMENT_IN_ZONE:
                return value >= acknowledged * self._timing.worse_factor
            case AlertKind.NEEDLE_IN_ZONE:
                return value >= acknowledged + self._timing.worse_needle_mm
            case _:
                return False

    def _note_absent(
        self, present: dict[Key, Condition], assessment: Assessment, findings: Findings, step_s: float
    ) -> Iterator[Alert]:
        for key, course in list(self._courses.items()):
            if key in present or not self._can_tell(course, assessment, findings):
                continue
            course.seen_pulses, course.worse_pulses = 0, 0
            course.absent_pulses += 1
            course.absent_s = 0.0 if course.absent_s is None else course.absent_s + step_s
            if course.alert is None:
                del self._courses[key]
            elif course.is_told and self._is_over(course):
                latched = self._latches(course.condition) and course.alert.state is not AlertState.ACKNOWLEDGED
                course.alert = self._changed(course.alert, AlertState.CLEARED, active=latched)
                if not latched:
                    del self._courses[key]
                yield course.alert

    def _is_over(self, course: _Course) -> bool:
        if course.condition.kind in TECHNICAL:
            return course.absent_s is not None and course.absent_s >= self._timing.technical_release_s
        return course.absent_pulses >= self._timing.release_pulses

    def _latches(self, condition: Condition) -> bool:
        """Whether its alert stays until somebody has acknowledged it."""
        return condition.priority is Priority.HIGH and (condition.kind not in TECHNICAL or self._timing.latch_technical)

    def _note_forgotten(self, step_s: float) -> Iterator[Alert]:
        """Raise again what was acknowledged long ago and still lasts."""
        for course in self._courses.values():
            if course.alert is None or course.alert.state is not AlertState.ACKNOWLEDGED:
                continue
            course.acknowledged_for_s += step_s
            clinical = course.condition.kind not in TECHNICAL
            if (
                clinical
                and course.condition.priority is Priority.HIGH
                and course.acknowledged_for_s >= self._timing.renotify_s
            ):
                yield self._raise(course)

    @staticmethod
    def _can_tell(course: _Course, assessment: Assessment, findings: Findings) -> bool:
        """Whether this frame can show that a condition is over: the same view, watched, a new pulse."""
        kind = course.condition.kind
        if kind in TECHNICAL:
            return True
        if not assessment.new_pulse or course.view_id != findings.view_id:
            return False
        return assessment.watched or kind not in NEEDS_REFERENCE

    def _raise(self, course: _Course) -> Alert:
        """Raise its alert, or raise the same one again: one place, one alert."""
        condition = course.condition
        if course.alert is None:
            number, self._next_id = self._next_id, self._next_id + 1
        else:
            number = course.alert.id
        course.alert = Alert(
            id=number,
            kind=condition.kind,
            priority=condition.priority,
            state=AlertState.RAISED,
            frame=self._frame,
            t_s=self._t_s,
            zone=condition.zone,
            needle=condition.needle,
            value=condition.value,
            unit=condition.unit,
            text=condition.text,
            root=condition.root,
            subject=condition.subject,
            first_seen_t_s=course.first_seen_t_s,
        )
        return course.alert

    def _changed(self, alert: Alert, state: AlertState, *, active: bool, by: str | None = None) -> Alert:
        return replace(alert, state=state, frame=self._frame, t_s=self._t_s, active=active, by=by)

    def _worse_is_told(self, lesser: Condition) -> bool:
        """Whether the worse condition of the same place lasts: telling the lesser one would double it."""
        kind = REPLACED_BY.get(lesser.kind)
        return any(
            course.is_told
            and course.condition.kind is kind
            and (course.condition.zone, course.condition.needle) == (lesser.zone, lesser.needle)
            for course in self._courses.values()
        )

    def _replace_lesser(self, worse: Condition) -> Iterator[Alert]:
        for key, course in list(self._courses.items()):
            lesser = course.condition
            same_place = (lesser.zone, lesser.needle) == (worse.zone, worse.needle)
            if REPLACED_BY.get(lesser.kind) is worse.kind and same_place:
                del self._courses[key]
                if course.alert is not None:
                    yield self._changed(course.alert, AlertState.CLEARED, active=False)


class Watch:
    """Rules and alarms of one case: findings in, changes of alerts out. ``carried``: see ``carried_over``."""

    def __init__(self, limits: Limits, timing: AlarmTiming, carried: Iterable[Alert] = ()) -> None:
        self._limits = limits
        self._timing = timing
        self._history = History()
        self._alarms = Alarms(timing, carried)
        self._t_s: float | None = None

    def step(self, findings: Findings, equipment: Iterable[Condition] = ()) -> tuple[Alert, ...]:
        """What has changed with this frame's findings. ``equipment``: what is wrong beside the picture."""
        step_s, self._t_s = seconds_between(self._t_s, findings.t_s), findings.t_s
        self._history.told = self._alarms.told
        seen = assess(findings, self._limits, self._timing, self._history)
        seen = replace(seen, conditions=(*seen.conditions, *equipment))
        return self._alarms.step(seen, findings, step_s)

    def use(self, limits: Limits) -> None:
        """Other thresholds from the next frame on; what is active stays until it is seen to be over by them."""
        self._limits = limits

    @property
    def active(self) -> tuple[Alert, ...]:
        """Alerts that are not over, worst first."""
        return self._alarms.active

    @property
    def audio(self) -> Audio:
        """What must be heard now."""
        return self._alarms.audio

    def acknowledge(self, alert_id: int, by: str) -> tuple[Alert, ...]:
        """The change that this is: none where somebody has before. Raises NoSuchAlertError."""
        return self._alarms.acknowledge(alert_id, by)

    def pause_audio(self) -> None:
        """Be silent for the pause's time, from now. Any alert that is raised meanwhile ends it."""
        self._alarms.pause_audio()

    def resume_audio(self) -> None:
        """End the pause."""
        self._alarms.resume_audio()


def _condition_of(alert: Alert) -> Condition:
    return Condition(
        alert.kind,
        alert.priority,
        alert.value,
        alert.unit,
        alert.text,
        zone=alert.zone,
        needle=alert.needle,
        root=alert.root,
        subject=alert.subject,
    )
