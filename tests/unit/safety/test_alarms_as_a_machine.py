"""Whatever happens in whatever order: no high condition that lasts is ever neither sounding, shown nor acknowledged.

The machine keeps a model of its own, by the definition: for each place, how many pulses the condition has been seen
and not been seen, and what was acknowledged. It knows nothing of how the alarms do it.
"""

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from guidance.records import TECHNICAL, Alert, AlertKind, AlertState, Condition, FrameState, Priority
from guidance.safety.alarms import NEEDS_REFERENCE, REPLACED_BY, Alarms, carried_over
from guidance.safety.limits import AlarmTiming
from guidance.safety.rules import Assessment, Key, key_of
from tests.unit.safety.scenes import findings

TIMING = AlarmTiming(audio_pause_s=20, renotify_s=60)
HIGH = (
    Condition(AlertKind.CEMENT_IN_ZONE, Priority.HIGH, 4.0, "mm2", "in A", zone="A"),
    Condition(AlertKind.CEMENT_IN_ZONE, Priority.HIGH, 4.0, "mm2", "in B", zone="B"),
    Condition(AlertKind.CEMENT_ESCAPE, Priority.HIGH, 9.0, "mm/s", "escape"),
    Condition(AlertKind.NEEDLE_IN_ZONE, Priority.HIGH, 1.0, "mm", "needle in A", zone="A", needle=1),
    Condition(AlertKind.VIDEO_LOST, Priority.HIGH, 1.0, "s", "no video"),
)
LESSER = (
    Condition(AlertKind.CEMENT_NEAR_ZONE, Priority.MEDIUM, 2.0, "mm", "near A", zone="A"),
    Condition(AlertKind.NEEDLE_NEAR_ZONE, Priority.MEDIUM, 2.0, "mm", "needle near A", zone="A", needle=1),
    Condition(AlertKind.REFERENCE_LOST, Priority.MEDIUM, 1.0, "s", "lost"),
    Condition(AlertKind.SUBSCRIBER_LOST, Priority.MEDIUM, 4.0, "s", "deaf", subject="nurse call"),
    Condition(AlertKind.DISK_FILLING, Priority.LOW, 9.0, "MB", "disk"),
)
STEPS_S = st.sampled_from([0.0, 0.02, 0.13, 1.0, 9.0])


@dataclass(slots=True)
class Place:
    """What by definition is true of one high condition."""

    pulses: int = 0
    gone_pulses: int = 0
    gone_s: float | None = None
    lasts: bool = False
    view_id: int = 0


class AlarmMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.alarms = Alarms(TIMING)
        self.places: dict[Key, Place] = {}
        self.log: list[Alert] = []
        self.acknowledged: set[int] = set()
        self.pulse, self.t_s, self.silent_s = 0, 0.0, 0.0
        self.paused = False

    @rule(
        high=st.sets(st.sampled_from(HIGH)),
        lesser=st.sets(st.sampled_from(LESSER)),
        growth=st.sampled_from([1.0, 1.1, 2.5]),
        new_pulse=st.booleans(),
        watched=st.booleans(),
        view_id=st.integers(0, 1),
        step_s=STEPS_S,
        times=st.integers(1, 7),
    )
    def look(
        self,
        high: set[Condition],
        lesser: set[Condition],
        growth: float,
        new_pulse: bool,
        watched: bool,
        view_id: int,
        step_s: float,
        times: int,
    ) -> None:
        """Some frames that show the same."""
        seen = tuple(
            Condition(c.kind, c.priority, c.value * growth, c.unit, c.text, c.zone, c.needle, c.root, c.subject)
            for c in sorted(high | lesser, key=lambda c: c.text)
        )
        for _ in range(times):
            self.pulse += new_pulse
            self.t_s += step_s
            state = FrameState.LIVE if new_pulse else FrameState.HELD
            frame = findings(self.pulse, state=state, view_id=view_id, t_s=self.t_s)
            self._note({key_of(c) for c in seen}, new_pulse, watched, view_id, step_s)
            changes = self.alarms.step(Assessment(seen, new_pulse, watched), frame, step_s)
            self._hear(changes)
            self.silent_s += step_s
            if any(change.state is AlertState.RAISED for change in changes):
                self.paused = False

    def _note(self, seen: set[Key], new_pulse: bool, watched: bool, view_id: int, step_s: float) -> None:
        for condition in HIGH:
            key, technical = key_of(condition), condition.kind in TECHNICAL
            place = self.places.setdefault(key, Place(view_id=view_id))
            if key in seen and (technical or new_pulse):
                place.pulses, place.gone_pulses, place.gone_s, place.view_id = place.pulses + 1, 0, None, view_id
                place.lasts = place.lasts or technical or place.pulses >= TIMING.persistence_pulses
            elif key not in seen:
                can_tell = technical or (
                    new_pulse and view_id == place.view_id and (watched or condition.kind not in NEEDS_REFERENCE)
                )
                if can_tell:
                    place.pulses, place.gone_pulses = 0, place.gone_pulses + 1
                    place.gone_s = 0.0 if place.gone_s is None else place.gone_s + step_s
                    enough = place.gone_s >= TIMING.technical_release_s
                    if enough if technical else place.gone_pulses >= TIMING.release_pulses:
                        place.lasts = False

    def _hear(self, changes: tuple[Alert, ...]) -> None:
        self.log += changes
        for change in changes:
            if change.state is AlertState.RAISED:
                self.acknowledged.discard(change.id)

    @precondition(lambda self: self.alarms.active)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        """Somebody acknowledges one alert; no other one changes by it."""
        alert = data.draw(st.sampled_from(self.alarms.active))
        others = [a for a in self.alarms.active if a.id != alert.id]
        self._hear(self.alarms.acknowledge(alert.id, "somebody"))
        self.acknowledged.add(alert.id)
        assert [a for a in self.alarms.active if a.id != alert.id] == others

    @rule()
    def pause(self) -> None:
        self.alarms.pause_audio()
        self.paused, self.silent_s = True, 0.0

    @rule()
    def resume(self) -> None:
        self.alarms.resume_audio()
        self.paused = False

    @rule()
    def break_off(self) -> None:
        """The service dies and comes back: all that is carried over must be acknowledged anew."""
        carried = carried_over(self.alarms.active)
        self.alarms = Alarms(TIMING, carried)
        self.log = list(carried)
        self.places, self.paused, self.acknowledged = {}, False, set()
        assert set(self.alarms.active) == set(carried)

    @invariant()
    def every_high_condition_that_lasts_is_shown_and_sounds_unless_acknowledged_or_paused(self) -> None:
        active = {_key(alert): alert for alert in self.alarms.active}
        for key, place in self.places.items():
            if not place.lasts:
                continue
            assert key in active, "shown"
            alert = active[key]
            assert alert.state is not AlertState.CLEARED, "not called over while it lasts"
            if alert.id not in self.acknowledged:
                paused = self.paused and self.silent_s < TIMING.audio_pause_s
                assert self.alarms.audio.sounding is Priority.HIGH or paused, "heard"

    @invariant()
    def nothing_is_taken_for_acknowledged_that_nobody_has_acknowledged(self) -> None:
        states = {alert.id for alert in self.alarms.active if alert.state is AlertState.ACKNOWLEDGED}
        assert states <= self.acknowledged

    @invariant()
    def a_clinical_high_alert_ends_only_when_acknowledged_and_no_longer_seen(self) -> None:
        for alert in self.log:
            if alert.active or alert.priority is not Priority.HIGH or alert.kind in TECHNICAL:
                continue
            course = [change.state for change in self.log if change.id == alert.id]
            last_raised = len(course) - 1 - course[::-1].index(AlertState.RAISED)
            assert AlertState.ACKNOWLEDGED in course[last_raised:]

    @invariant()
    def a_place_has_one_alert_and_never_a_lesser_one_beside_a_worse_one_that_lasts(self) -> None:
        keys = [_key(alert) for alert in self.alarms.active]
        assert len(keys) == len(set(keys))
        lasting = {(a.kind, a.zone, a.needle) for a in self.alarms.active if a.state is not AlertState.CLEARED}
        for kind, zone, needle in lasting:
            worse = REPLACED_BY.get(kind)
            if worse is not None and (worse, zone, needle) in lasting:
                raise AssertionError("told twice")

    @invariant()
    def the_changes_told_come_to_what_is_active(self) -> None:
        shown: dict[int, AlertState] = {}
        for change in self.log:
            if change.active:
                shown[change.id] = change.state
            else:
                shown.pop(change.id, None)
        assert shown == {alert.id: alert.state for alert in self.alarms.active}

    @invariant()
    def a_pause_is_never_longer_than_it_may_be(self) -> None:
        audio = self.alarms.audio
        assert 0 <= audio.paused_s <= TIMING.audio_pause_s
        assert audio.paused_s == 0 or audio.sounding is None
        if not self.paused or self.silent_s >= TIMING.audio_pause_s:
            assert audio.paused_s <= 1e-9


def _key(alert: Alert) -> Key:
    return (alert.kind, alert.zone, alert.needle, alert.root, alert.subject)


TestAlarmMachine = AlarmMachine.TestCase
TestAlarmMachine.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
