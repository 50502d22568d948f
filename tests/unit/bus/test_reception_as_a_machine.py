"""Whatever the line loses, repeats or delays: after a heartbeat that comes through, a reader holds the service's state.

The machine publishes, and a line between it and the reader loses some messages, says some again, and brings snapshots
late, as a second connection may.
"""

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from guidance.bus.messages import AlertEnvelope, HealthEnvelope, Message, SnapshotBody, SnapshotEnvelope, Topic
from guidance.bus.subscriber import Reception
from guidance.records import AlertState
from guidance.wire import AlertMessage, alert_message
from tests.unit.bus.test_bus import ALERT, HEALTH


class LineMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.reader = Reception()
        self.restarts = 0
        self._start()
        self.heard: list[Message] = []
        self.snapshots: list[SnapshotEnvelope] = []
        self.in_step = False

    def _start(self) -> None:
        self.session = f"session {self.restarts}"
        self.active: dict[int, AlertMessage] = {}
        self.next = dict.fromkeys(Topic, 0)
        self.number = 0

    def _health(self) -> dict[str, object]:
        return {"alerts": sorted(self.active.values(), key=lambda alert: alert.id), "next": dict(self.next)}

    def _stamp(self, topic: Topic) -> dict[str, object]:
        self.next[topic] += 1
        return {"session": self.session, "sequence": self.next[topic] - 1, "case": "c", "sent_s": 1.0}

    def _say(self, message: Message, arrives: bool) -> None:
        self.in_step = False
        if arrives:
            self.heard.append(message)
            assert self.reader.note(message) is message
            self.in_step = isinstance(message, HealthEnvelope)

    @rule(arrives=st.booleans())
    def an_alert_is_raised(self, arrives: bool) -> None:
        self.number += 1
        alert = alert_message(replace(ALERT, id=self.number))
        self.active[alert.id] = alert
        self._say(AlertEnvelope(**self._stamp(Topic.ALERTS), body=alert), arrives)

    @precondition(lambda self: self.active)
    @rule(data=st.data(), arrives=st.booleans(), over=st.booleans())
    def an_alert_changes(self, data: st.DataObject, arrives: bool, over: bool) -> None:
        number = data.draw(st.sampled_from(sorted(self.active)))
        state = AlertState.CLEARED if over else AlertState.ACKNOWLEDGED
        alert = alert_message(replace(ALERT, id=number, state=state, active=not over))
        if over:
            del self.active[number]
        else:
            self.active[number] = alert
        self._say(AlertEnvelope(**self._stamp(Topic.ALERTS), body=alert), arrives)

    @rule(arrives=st.booleans())
    def the_heart_beats(self, arrives: bool) -> None:
        stamp = self._stamp(Topic.HEALTH)
        self._say(HealthEnvelope(**stamp, body=HEALTH.model_copy(update=self._health())), arrives)

    @precondition(lambda self: self.heard)
    @rule(data=st.data())
    def what_was_heard_is_said_again(self, data: st.DataObject) -> None:
        message = data.draw(st.sampled_from(self.heard))
        before = (self.reader.alerts, self.reader.refused)
        assert self.reader.note(message) is None
        assert (self.reader.alerts, self.reader.refused) == (before[0], before[1] + 1)

    @rule()
    def a_snapshot_is_written(self) -> None:
        body = SnapshotBody(health=HEALTH.model_copy(update=self._health()), findings=None)
        self.snapshots.append(SnapshotEnvelope(session=self.session, sequence=0, case="c", sent_s=1.0, body=body))

    @precondition(lambda self: self.snapshots)
    @rule(data=st.data())
    def a_snapshot_comes_perhaps_late(self, data: st.DataObject) -> None:
        snapshot = data.draw(st.sampled_from(self.snapshots))
        if snapshot.session != self.session and snapshot.session not in {message.session for message in self.heard}:
            # Whoever has never heard of a service cannot know that it is over.
            return
        taken = self.reader.take_snapshot([snapshot.to_bytes()])
        following = snapshot.body.health.next
        if taken is not None and following == self.next:
            self.in_step = True

    @rule()
    def the_service_starts_anew(self) -> None:
        self.restarts += 1
        self._start()
        self.the_heart_beats(arrives=True)

    @invariant()
    def a_reader_that_has_just_heard_the_state_holds_it(self) -> None:
        if self.in_step:
            assert sorted(alert.id for alert in self.reader.alerts) == sorted(self.active)
            assert {alert.id: alert.state for alert in self.reader.alerts} == {
                number: alert.state for number, alert in self.active.items()
            }


TestLine = LineMachine.TestCase
TestLine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
