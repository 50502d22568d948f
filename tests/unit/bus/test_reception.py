"""What a reader makes of what it hears, without a socket: the present state, gaps, silence, and what it refuses."""

from dataclasses import replace

import pytest

from guidance.bus import subscriber
from guidance.bus.messages import (
    AlertEnvelope,
    FindingsEnvelope,
    HealthBody,
    HealthEnvelope,
    SnapshotBody,
    SnapshotEnvelope,
    Topic,
    message_parts,
)
from guidance.bus.subscriber import Reception
from guidance.records import AlertState
from guidance.wire import AlertMessage, alert_message, findings_message
from tests.unit.bus.test_bus import ALERT, FINDINGS, HEALTH


def alert(number: int, state: AlertState = AlertState.RAISED, active: bool = True) -> AlertMessage:
    return alert_message(replace(ALERT, id=number, state=state, active=active))


def change(sequence: int, body: AlertMessage, session: str = "s", case: str = "c") -> AlertEnvelope:
    return AlertEnvelope(session=session, sequence=sequence, case=case, sent_s=0.0, body=body)


def seen(sequence: int, session: str = "s") -> FindingsEnvelope:
    body = findings_message(replace(FINDINGS, frame=sequence))
    return FindingsEnvelope(session=session, sequence=sequence, case="c", sent_s=0.0, body=body)


def health(
    alerts: list[AlertMessage], alerts_next: int = 0, findings_next: int = 0, health_next: int = 1
) -> HealthBody:
    following = {Topic.ALERTS: alerts_next, Topic.FINDINGS: findings_next, Topic.HEALTH: health_next}
    return HEALTH.model_copy(update={"alerts": alerts, "next": following})


def beat(sequence: int, body: HealthBody, sent_s: float = 0.0, session: str = "s", case: str = "c") -> HealthEnvelope:
    return HealthEnvelope(session=session, sequence=sequence, case=case, sent_s=sent_s, body=body)


def snapshot(body: HealthBody, sent_s: float = 0.0, session: str = "s", case: str = "c") -> list[bytes]:
    told = SnapshotEnvelope(
        session=session, sequence=0, case=case, sent_s=sent_s, body=SnapshotBody(health=body, findings=None)
    )
    return [told.to_bytes()]


def active(reception: Reception) -> list[int]:
    return sorted(alert.id for alert in reception.alerts)


def test_changes_come_to_what_is_active() -> None:
    reception = Reception()
    reception.note(change(0, alert(1)))
    reception.note(change(1, alert(2)))
    reception.note(change(2, alert(1, AlertState.CLEARED, active=False)))
    assert active(reception) == [2]


def test_a_latched_alert_that_is_no_longer_seen_stays_active() -> None:
    reception = Reception()
    reception.note(change(0, alert(1)))
    reception.note(change(1, alert(1, AlertState.CLEARED)))
    assert [a.state for a in reception.alerts] == [AlertState.CLEARED]


def test_the_worst_alert_stands_first_whatever_came_last() -> None:
    reception = Reception()
    reception.note(change(0, alert(1)))
    reception.note(change(1, alert(2, AlertState.ACKNOWLEDGED)))
    assert [a.id for a in reception.alerts] == [1, 2]


def test_a_gap_is_counted_and_asks_for_a_snapshot() -> None:
    reception = Reception()
    reception.note(beat(0, health([])))
    reception.take_snapshot(snapshot(health([])))
    assert not reception.wants_snapshot
    reception.note(change(0, alert(1)))
    reception.note(change(3, alert(2)))
    assert reception.lost["alerts"] == 2
    assert reception.wants_snapshot


def test_the_loss_of_a_last_change_shows_with_the_next_heartbeat_which_mends_it() -> None:
    reception = Reception()
    reception.note(change(0, alert(1)))
    reception.note(beat(0, health([alert(1), alert(2)], alerts_next=2)))
    assert reception.lost["alerts"] == 1
    assert active(reception) == [1, 2]


def test_what_a_snapshot_that_has_overtaken_it_holds_is_not_taken_in_twice() -> None:
    reception = Reception()
    reception.take_snapshot(snapshot(health([alert(1)], alerts_next=5)))
    reception.note(change(3, alert(7)))
    reception.note(change(4, alert(7, AlertState.CLEARED, active=False)))
    assert active(reception) == [1]
    reception.note(change(5, alert(2)))
    assert active(reception) == [1, 2]
    assert reception.lost["alerts"] == reception.refused == 0


def test_what_was_lost_before_a_snapshot_came_is_counted_all_the_same() -> None:
    reception = Reception()
    reception.note(change(0, alert(1)))
    reception.take_snapshot(snapshot(health([alert(1)], alerts_next=9)))
    assert reception.lost["alerts"] == 0
    reception.note(change(4, alert(7)))
    assert reception.lost["alerts"] == 3
    assert active(reception) == [1]


def test_a_snapshot_that_is_older_than_what_was_heard_is_not_taken() -> None:
    reception = Reception()
    reception.note(change(7, alert(2)))
    assert reception.take_snapshot(snapshot(health([alert(1)], alerts_next=7))) is None
    assert active(reception) == [2]
    assert reception.wants_snapshot


def test_what_was_published_between_a_snapshot_and_the_subscription_is_a_gap() -> None:
    reception = Reception()
    reception.take_snapshot(snapshot(health([], alerts_next=5)))
    reception.note(change(6, alert(9)))
    assert reception.lost["alerts"] == 1
    assert reception.wants_snapshot


@pytest.mark.parametrize("parts", [message_parts(change(3, alert(8))), message_parts(seen(3))])
def test_a_message_that_is_said_again_is_refused(parts: list[bytes]) -> None:
    reception = Reception()
    assert reception.take(parts) is not None
    assert reception.take(parts) is None
    assert reception.refused == 1
    assert "told before" in (reception.last_refusal or "")


def test_a_service_that_starts_anew_is_no_loss_and_its_state_is_asked_for() -> None:
    reception = Reception()
    reception.take_snapshot(snapshot(health([alert(1)], alerts_next=9)))
    reception.note(change(0, alert(5), session="t", case="d"))
    assert reception.lost["alerts"] == 0
    assert reception.wants_snapshot
    assert active(reception) == [5]


def test_what_a_service_said_that_has_ended_is_refused() -> None:
    reception = Reception()
    reception.note(change(0, alert(1), session="s"))
    reception.note(change(0, alert(2), session="t"))
    assert reception.note(change(1, alert(3), session="s")) is None
    assert reception.take_snapshot(snapshot(health([alert(4)], alerts_next=5), session="s")) is None
    assert active(reception) == [2]
    assert reception.refused == 2


def test_a_new_case_forgets_the_alerts_of_the_one_before() -> None:
    reception = Reception()
    reception.note(change(0, alert(1), case="a"))
    reception.note(beat(0, health([], alerts_next=1), case="b"))
    assert active(reception) == []


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [b""],
        [b"alerts", b"{"],
        [b"alerts", b"\xff\xfe"],
        [b"alerts", b"null"],
        [b"health", message_parts(change(0, alert(1)))[1]],
        [b"a", b"b", b"c"],
    ],
)
def test_what_is_no_message_is_refused_and_counted_and_nothing_changes(parts: list[bytes]) -> None:
    reception = Reception()
    reception.note(change(0, alert(1)))
    assert reception.take(parts) is None
    assert reception.take_snapshot(parts) is None
    assert reception.take_frame(parts) is None
    assert reception.refused == 3
    assert active(reception) == [1]


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        monkeypatch.setattr(subscriber.time, "monotonic", lambda: self.now_s)


@pytest.mark.parametrize("apart_s", [0.0, 5000.0, -900.0])
def test_a_reader_knows_that_it_is_deaf_a_second_after_the_last_heartbeat_whatever_the_senders_clock(
    apart_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, reception = Clock(monkeypatch), Reception()
    assert reception.deaf
    for n in range(5):
        clock.now_s += 0.25
        reception.note(beat(n, health([], health_next=n + 1), sent_s=clock.now_s + apart_s))
    assert not reception.deaf
    clock.now_s += 0.99
    assert not reception.deaf
    clock.now_s += 0.02
    assert reception.deaf


def test_heartbeats_that_lay_in_a_queue_do_not_make_a_reader_hear(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, reception = Clock(monkeypatch), Reception()
    reception.note(beat(0, health([]), sent_s=50.0))
    clock.now_s += 30
    for n in range(1, 8):
        reception.note(beat(n, health([], health_next=n + 1), sent_s=50.0 + n * 0.25))
    assert reception.deaf
    assert reception.silent_s == pytest.approx(28.25)


def test_a_snapshot_ends_deafness_because_it_is_the_present_state(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, reception = Clock(monkeypatch), Reception()
    reception.take_snapshot(snapshot(health([]), sent_s=clock.now_s))
    assert not reception.deaf
