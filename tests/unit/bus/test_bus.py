"""The bus between real sockets, and the words spoken on it."""

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import zmq

from guidance.bus.messages import (
    AlertEnvelope,
    Endpoints,
    FindingsEnvelope,
    FrameMessage,
    HealthBody,
    HealthEnvelope,
    MessageError,
    message_parts,
    read_message,
)
from guidance.bus.publisher import BusError, FramePublisher, Publisher
from guidance.bus.subscriber import AsyncSubscriber, Reception, Subscriber
from guidance.records import (
    Alert,
    AlertKind,
    AlertState,
    CementDeposit,
    Findings,
    FrameState,
    Phase,
    Priority,
)
from guidance.wire import alert_message, findings_message

CEMENT = CementDeposit(1, (np.array([[1.0, 2.0], [3.5, 2.0], [3.0, 4.0]]),), area_mm2=143.25)
FINDINGS = Findings(
    7, 0.233333, FrameState.LIVE, Phase.CEMENT, False, None, 0, None, None, None, cement=(CEMENT,), pulse=3
)
ALERT = Alert(
    3,
    AlertKind.CEMENT_IN_ZONE,
    Priority.HIGH,
    AlertState.RAISED,
    7,
    0.233333,
    "foramen_S1L",
    None,
    4.2,
    "mm2",
    "Cement in foramen S1L: 4.2 mm²",
)
HEALTH = HealthBody(
    source="demo",
    state=FrameState.LIVE,
    frames=8,
    pulses=3,
    dropped=0,
    latency_ms=21.5,
    rate_hz=30.0,
    findings_t_s=FINDINGS.t_s,
    alerts=[alert_message(ALERT)],
)


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    own: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield own
    own.destroy(linger=0)


@pytest.fixture
def publisher(context: zmq.Context[zmq.Socket[bytes]]) -> Publisher:
    return Publisher(context, "127.0.0.1", 0)


@pytest.fixture
def frames(context: zmq.Context[zmq.Socket[bytes]]) -> FramePublisher:
    return FramePublisher(context, "127.0.0.1", 0)


def tell_health(publisher: Publisher) -> None:
    publisher.tell_health("case-1", HEALTH)


def tell_frame(frames: FramePublisher, number: int = 7, jpeg: bytes = b"\xff\xd8") -> None:
    findings = findings_message(replace(FINDINGS, frame=number))
    frames.tell_frame("case-1", time.monotonic(), findings, [], [alert_message(ALERT)], jpeg)


def meet(publisher: Publisher, subscriber: Subscriber) -> None:
    """Tell heartbeats until the subscription has arrived."""
    for _ in range(100):
        tell_health(publisher)
        if subscriber.receive(timeout_s=0.05) is not None:
            break
    while subscriber.receive(timeout_s=0.05) is not None:
        pass


def meet_frames(frames: FramePublisher, subscriber: Subscriber) -> FrameMessage:
    for _ in range(100):
        tell_frame(frames)
        message = subscriber.newest_frame(timeout_s=0.05)
        if message is not None:
            return message
    raise AssertionError("no picture came")


def test_findings_alerts_and_health_arrive_as_they_were_told(publisher: Publisher) -> None:
    with Subscriber(Endpoints(publisher.endpoint)) as subscriber:
        meet(publisher, subscriber)
        publisher.tell_findings("case-1", findings_message(FINDINGS))
        publisher.tell_alerts("case-1", [alert_message(ALERT)], HEALTH)
        tell_health(publisher)
        told = [subscriber.receive(timeout_s=1) for _ in range(3)]
    findings, alert, health = told
    assert isinstance(findings, FindingsEnvelope)
    assert isinstance(alert, AlertEnvelope)
    assert isinstance(health, HealthEnvelope)
    assert findings.body == findings_message(FINDINGS)
    assert alert.body == alert_message(ALERT)
    assert health.body.alerts == [alert_message(ALERT)]
    assert health.body.findings_t_s == FINDINGS.t_s
    assert {message.case for message in (findings, alert, health)} == {"case-1"}
    assert {message.session for message in (findings, alert, health)} == {publisher.session}
    assert (findings.sequence, alert.sequence) == (0, 0)
    assert (health.body.next["findings"], health.body.next["alerts"]) == (1, 1)


def test_an_envelope_is_json_with_its_schema_topic_and_sequence() -> None:
    message = AlertEnvelope(session="s", sequence=4, case="c", sent_s=1.5, body=alert_message(ALERT))
    topic, envelope = message_parts(message)
    assert topic == b"alerts"
    told = json.loads(envelope)
    assert {key: told[key] for key in ("schema", "topic", "sequence", "case")} == {
        "schema": 1,
        "topic": "alerts",
        "sequence": 4,
        "case": "c",
    }
    assert read_message([topic, envelope]) == message


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"schema": 2}, "schema"),
        ({"topic": "weather"}, "weather"),
        ({"sequence": -1}, "sequence"),
        ({"topic": "health"}, "health"),
    ],
    ids=lambda value: str(value),
)
def test_a_message_that_does_not_fit_the_schema_is_refused_in_one_line(
    change: dict[str, object], complaint: str
) -> None:
    message = AlertEnvelope(session="s", sequence=4, case="c", sent_s=1.5, body=alert_message(ALERT))
    topic, envelope = message_parts(message)
    with pytest.raises(MessageError, match=complaint) as refusal:
        read_message([topic, json.dumps(json.loads(envelope) | change).encode()])
    assert "\n" not in str(refusal.value)


def test_a_message_under_another_topic_than_its_own_is_refused() -> None:
    message = AlertEnvelope(session="s", sequence=4, case="c", sent_s=1.5, body=alert_message(ALERT))
    with pytest.raises(MessageError, match="findings"):
        read_message([b"findings", message.to_bytes()])


def test_a_field_that_a_reader_does_not_know_does_not_keep_an_alert_from_it() -> None:
    message = AlertEnvelope(session="s", sequence=4, case="c", sent_s=1.5, body=alert_message(ALERT))
    told = json.loads(message.to_bytes())
    told["body"]["invented_later"] = told["invented_later"] = 1
    assert read_message([b"alerts", json.dumps(told).encode()]) == message


def test_an_alert_of_a_kind_that_was_invented_later_reaches_an_older_reader() -> None:
    message = AlertEnvelope(session="s", sequence=4, case="c", sent_s=1.5, body=alert_message(ALERT))
    told = json.loads(message.to_bytes())
    told["body"] |= {"kind": "cement_in_disc", "unit": "mm3"}
    reception = Reception()
    reception.take([b"alerts", json.dumps(told).encode()])
    assert [(alert.kind, alert.priority, alert.text) for alert in reception.alerts] == [
        ("cement_in_disc", Priority.HIGH, ALERT.text)
    ]


def test_a_heartbeat_that_counts_a_topic_invented_later_is_heard() -> None:
    message = HealthEnvelope(session="s", sequence=4, case="c", sent_s=1.5, body=HEALTH)
    told = json.loads(message.to_bytes())
    told["body"]["next"] = {"findings": 3, "alerts": 1, "health": 5, "doses": 9}
    reception = Reception()
    reception.take([b"health", json.dumps(told).encode()])
    assert reception.refused == 0
    assert not reception.deaf


def test_a_picture_arrives_with_its_header_and_exactly_its_bytes(frames: FramePublisher) -> None:
    with Subscriber(Endpoints("tcp://127.0.0.1:9", frames.endpoint), pictures=True) as subscriber:
        message = meet_frames(frames, subscriber)
    assert message.jpeg == b"\xff\xd8"
    assert message.header.frame == 7
    assert message.header.state is FrameState.LIVE
    assert message.header.findings == findings_message(FINDINGS)
    assert message.header.alerts == [alert_message(ALERT)]


def test_a_reader_that_stalled_gets_the_newest_picture_that_reached_it_and_counts_the_rest(
    frames: FramePublisher,
) -> None:
    with Subscriber(Endpoints("tcp://127.0.0.1:9", frames.endpoint), pictures=True) as subscriber:
        meet_frames(frames, subscriber)
        while subscriber.newest_frame(timeout_s=0.05) is not None:
            pass
        for number in range(100, 102):
            tell_frame(frames, number)
            time.sleep(0.05)
        message = subscriber.newest_frame(timeout_s=1)
        assert message is not None
        assert message.header.frame == 101
        assert subscriber.reception.lost["frame"] == 1


def test_a_reader_that_stalls_never_holds_up_the_publisher(frames: FramePublisher) -> None:
    with Subscriber(Endpoints("tcp://127.0.0.1:9", frames.endpoint), pictures=True) as subscriber:
        meet_frames(frames, subscriber)
        for number in range(200):
            tell_frame(frames, number, jpeg=bytes(200_000))
        stale = subscriber.newest_frame(timeout_s=1)
        assert stale is not None
        # What lay in the queues is old, and says so; the next one that is told is heard again.
        for number in range(1000, 1100):
            tell_frame(frames, number)
            fresh = subscriber.newest_frame(timeout_s=0.05)
            if fresh is not None and fresh.header.frame >= 1000:
                break
        else:
            raise AssertionError("the reader did not catch up")
        assert subscriber.reception.lost["frame"] > 100


def test_the_asyncio_reader_hears_the_same(publisher: Publisher, frames: FramePublisher) -> None:
    async def hear() -> tuple[bool, int]:
        with AsyncSubscriber(Endpoints(publisher.endpoint, frames.endpoint), pictures=True) as subscriber:

            async def tell() -> None:
                while True:
                    tell_health(publisher)
                    tell_frame(frames)
                    await asyncio.sleep(0.02)

            telling = asyncio.create_task(tell())
            message = await asyncio.wait_for(anext(subscriber.messages()), 2)
            picture = await asyncio.wait_for(anext(subscriber.newest_frames()), 2)
            telling.cancel()
            assert isinstance(message, HealthEnvelope)
            return subscriber.deaf, picture.header.frame

    assert asyncio.run(hear()) == (False, 7)


def test_a_port_in_use_is_told_in_one_line(context: zmq.Context[zmq.Socket[bytes]], publisher: Publisher) -> None:
    port = int(publisher.endpoint.rsplit(":", 1)[1])
    with pytest.raises(BusError) as refusal:
        FramePublisher(context, "127.0.0.1", port)
    assert str(refusal.value) == (
        f"port {port} on 127.0.0.1 is in use; expected a free port: choose another with --bus-port"
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "example.org", "*"])
def test_the_bus_goes_nowhere_beyond_this_machine_without_keys(
    context: zmq.Context[zmq.Socket[bytes]], host: str
) -> None:
    with pytest.raises(BusError, match="expected --keys FOLDER") as refusal:
        Publisher(context, host, 0)
    assert "\n" not in str(refusal.value)


def test_an_endpoint_that_is_none_is_told_in_one_line() -> None:
    with pytest.raises(BusError, match="expected tcp://HOST:PORT"):
        Subscriber("nonsense")
