"""Calls and orders between real sockets: answered, or refused and counted, and nobody unknown gets in."""

import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path

import pytest
import zmq

from guidance.bus import commands as commanding
from guidance.bus.commands import Commander
from guidance.bus.desk import MOST_PARTS, CallSocket, Desk, Gate
from guidance.bus.keys import ClientKeys, KeysError, client_keys, local_folder, local_keys, make_keys, service_keys
from guidance.bus.messages import (
    LONGEST_CALL_BYTES,
    Acknowledge,
    Call,
    Endpoints,
    HealthEnvelope,
    Mark,
    Order,
    PauseAudio,
    SnapshotEnvelope,
)
from guidance.bus.publisher import FRAMES_KEPT, MESSAGES_KEPT, BusError, FramePublisher, Publisher
from guidance.bus.subscriber import Subscriber
from guidance.wire import alert_message, findings_message
from tests.unit.bus.test_bus import ALERT, FINDINGS, HEALTH


class Room:
    """A publisher and its desk in a thread of its own. ``refusal``: what orders are answered with, None to obey."""

    def __init__(self, keys: Path | None = None) -> None:
        self.orders: list[Order] = []
        self.refusal: str | None = None
        self.obeys = True
        self._closing = ExitStack()
        enter = self._closing.enter_context
        context = enter(zmq.Context())
        name = f"test-{os.getpid()}-{id(self):x}"
        own = enter(local_keys(name, keys))
        self.local = client_keys(local_folder(name))
        guarded = own if keys is not None else None
        gate = Gate(context, own)
        self._closing.callback(gate.close)
        self.publisher = enter(Publisher(context, "127.0.0.1", 0, MESSAGES_KEPT, guarded))
        self.frames = enter(FramePublisher(context, "127.0.0.1", 0, FRAMES_KEPT, guarded))
        snapshots = enter(CallSocket(context, "127.0.0.1", 0, keys=guarded))
        commands = enter(CallSocket(context, "127.0.0.1", 0, keys=own))
        self.endpoints = Endpoints(self.publisher.endpoint, self.frames.endpoint, snapshots.endpoint, commands.endpoint)
        self.desk = Desk(snapshots, commands, gate, self.publisher.present, self._obey, (self.publisher, self.frames))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            self.desk.serve()

    def _obey(self, order: Order) -> "Future[str | None]":
        self.orders.append(order)
        obeyed: Future[str | None] = Future()
        if self.obeys:
            obeyed.set_result(self.refusal)
        return obeyed

    def commander(self, keys: ClientKeys | None = None) -> Commander:
        assert self.endpoints.commands is not None
        return Commander(self.endpoints.commands, keys or self.local, "Dr. Ito")

    def __enter__(self) -> "Room":
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        self._closing.close()


@pytest.fixture
def room() -> Iterator[Room]:
    with Room() as room:
        yield room


@pytest.fixture
def plain() -> Iterator[Callable[[str], zmq.Socket[bytes]]]:
    """Connects a bare socket, as somebody would who does not use our clients."""
    with zmq.Context() as context:
        sockets = []

        def connect(endpoint: str) -> zmq.Socket[bytes]:
            socket = context.socket(zmq.DEALER)
            socket.setsockopt(zmq.LINGER, 0)
            socket.connect(endpoint)
            sockets.append(socket)
            return socket

        yield connect
        for socket in sockets:
            socket.close()


def wait_until(true: Callable[[], bool], within_s: float = 3.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline_s, "not so in time"
        time.sleep(0.01)


def test_a_late_reader_gets_the_whole_present_state_at_once_and_goes_on_without_a_gap(room: Room) -> None:
    room.publisher.tell_findings("c", findings_message(FINDINGS))
    for _ in range(5):
        room.publisher.tell_alerts("c", [alert_message(ALERT)], HEALTH)
    with Subscriber(room.endpoints) as late:
        first = late.receive(timeout_s=2)
        assert isinstance(first, SnapshotEnvelope)
        assert first.body.findings == findings_message(FINDINGS)
        assert [alert.id for alert in late.alerts] == [ALERT.id]
        room.publisher.tell_health("c", HEALTH)
        wait_until(lambda: isinstance(late.receive(timeout_s=0.1), HealthEnvelope) or late.reception.lost["alerts"] > 0)
        assert not any(late.reception.lost.values())
        assert not late.deaf


def test_a_snapshot_of_a_service_whose_analysis_hangs_does_not_make_a_reader_hear(room: Room) -> None:
    room.publisher.tell_health("c", HEALTH)
    time.sleep(1.1)
    with Subscriber(room.endpoints) as late:
        # The first that is heard cannot tell how old it is; the next ones can.
        wait_until(lambda: late.receive(timeout_s=0.1) is None and late.reception.health is not None)
        time.sleep(1.1)
        late.receive(timeout_s=0.2)
        assert late.deaf


def test_the_state_before_the_first_heartbeat_is_asked_for_again_until_there_is_one(room: Room) -> None:
    with Subscriber(room.endpoints) as early:
        assert early.receive(timeout_s=0.2) is None
        room.publisher.tell_alerts("c", [], HEALTH)
        wait_until(lambda: isinstance(early.receive(timeout_s=0.1), SnapshotEnvelope))


def test_a_subscriber_with_a_name_is_known_until_it_leaves(room: Room) -> None:
    with Subscriber(room.endpoints, name="nurse call") as subscriber:
        subscriber.receive(timeout_s=0.2)
        wait_until(lambda: [name for name, _ in room.desk.silent_s()] == ["nurse call"])
    wait_until(lambda: room.desk.silent_s() == ())


def test_a_subscriber_that_dies_without_a_word_is_known_to_be_silent(
    room: Room, plain: Callable[[str], "zmq.Socket[bytes]"]
) -> None:
    assert room.endpoints.snapshots is not None
    plain(room.endpoints.snapshots).send(Call(call="listening", name="nurse call").to_bytes())
    wait_until(lambda: bool(room.desk.silent_s()) and room.desk.silent_s()[0][1] > 0.2)


def test_an_order_is_obeyed_and_answered_with_who_gave_it(room: Room) -> None:
    with room.commander() as commander:
        assert commander.order("c", Acknowledge(alert=3)).ok
        assert commander.order("c", PauseAudio(on=True), by="nurse").ok
    assert [order.by for order in room.orders] == ["Dr. Ito (local)", "nurse (local)"]
    assert room.orders[0].command == Acknowledge(alert=3)


def test_an_order_that_is_not_obeyed_says_why(room: Room) -> None:
    room.refusal = "alert 3: not active"
    with room.commander() as commander, pytest.raises(BusError, match="not obeyed: alert 3: not active"):
        commander.order("c", Acknowledge(alert=3))


def test_an_order_that_nobody_begins_with_is_answered_and_not_obeyed_later(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.obeys = False
    with room.commander() as commander, pytest.raises(BusError, match=r"not obeyed within 2 s$"):
        commander.order("c", Mark(text="now"))


def test_an_order_that_is_said_again_is_refused(room: Room) -> None:
    order = Order(id="an-id-of-mine", case="c", by="me", command=Mark(text="now"))
    with room.commander() as commander:
        socket = commander._socket
        for _ in range(2):
            socket.send(order.to_bytes())
        answers = [socket.recv() for _ in range(2)]
    assert [b'"ok":true' in answer for answer in answers] == [True, False]
    assert room.desk.refused["said before"] == 1
    assert len(room.orders) == 1


def test_somebody_without_a_key_is_not_heard(
    room: Room, plain: Callable[[str], "zmq.Socket[bytes]"], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert room.endpoints.commands is not None
    order = Order(id="an-id-of-mine", case="c", by="me", command=Mark(text="now"))
    plain(room.endpoints.commands).send(order.to_bytes())
    public, secret = zmq.curve_keypair()
    monkeypatch.setattr(commanding, "ANSWER_S", 0.5)
    with (
        room.commander(ClientKeys(room.local.service, public, secret)) as stranger,
        pytest.raises(BusError, match=r"no answer within 0\.5 s; is the service running, is the key known\?"),
    ):
        stranger.order("c", Mark(text="now"))
    assert not room.orders
    assert room.desk.refused["unknown key"] >= 1


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ([b"{"], "malformed"),
        ([b"\xff" * 100], "malformed"),
        ([b'{"schema": 2, "call": "snapshot"}'], "malformed"),
        ([b'{"schema": 1, "call": "snapshot", "extra": 1}'], "malformed"),
        ([b'{"schema": 1, "call": "listening", "name": "\\u0000"}'], "malformed"),
        ([b"x" * (LONGEST_CALL_BYTES + 1)], "too long"),
        ([b"x"] * (MOST_PARTS + 1), "parts"),
        ([b"x", b"y"], "parts"),
    ],
)
def test_a_call_that_is_none_is_refused_counted_and_harms_nobody(
    room: Room, plain: Callable[[str], "zmq.Socket[bytes]"], parts: list[bytes], why: str
) -> None:
    assert room.endpoints.snapshots is not None
    rude = plain(room.endpoints.snapshots)
    rude.send_multipart(parts)
    wait_until(lambda: room.desk.refused.get(why, 0) == 1)
    room.publisher.tell_alerts("c", [], HEALTH)
    rude.send(Call(call="snapshot").to_bytes())
    assert rude.poll(2000)


def test_a_part_of_megabytes_cuts_its_senders_connection_and_nobody_elses(
    room: Room, plain: Callable[[str], "zmq.Socket[bytes]"]
) -> None:
    assert room.endpoints.snapshots is not None
    plain(room.endpoints.snapshots).send(bytes(8 * 1024 * 1024))
    room.publisher.tell_alerts("c", [], HEALTH)
    other = plain(room.endpoints.snapshots)
    other.send(Call(call="snapshot").to_bytes())
    assert other.poll(2000)


def test_whoever_asks_and_never_reads_holds_nobody_up(room: Room, plain: Callable[[str], "zmq.Socket[bytes]"]) -> None:
    assert room.endpoints.snapshots is not None
    room.publisher.tell_findings("c", findings_message(FINDINGS))
    room.publisher.tell_alerts("c", [], HEALTH)
    deaf = plain(room.endpoints.snapshots)
    deaf.setsockopt(zmq.RCVHWM, 1)
    for _ in range(2000):
        deaf.send(Call(call="snapshot").to_bytes())
    other = plain(room.endpoints.snapshots)
    other.send(Call(call="snapshot").to_bytes())
    assert other.poll(3000)


def test_the_keys_of_a_bus_let_in_those_whose_file_lies_there_and_nobody_else(tmp_path: Path) -> None:
    make_keys(tmp_path, ["nurse_call"])
    keys = client_keys(tmp_path, "nurse_call")
    with Room(tmp_path) as room:
        room.publisher.tell_alerts("c", [alert_message(ALERT)], HEALTH)
        with Subscriber(room.endpoints, keys=keys) as known, Subscriber(room.endpoints) as stranger:
            wait_until(lambda: bool(known.receive(timeout_s=0.1)) and not known.deaf)
            room.publisher.tell_health("c", HEALTH)
            assert stranger.receive(timeout_s=0.3) is None
        with room.commander(keys) as commander:
            commander.order("c", Mark(text="now"))
        assert room.orders[0].by == "Dr. Ito (nurse_call)"


def test_secret_keys_may_be_read_by_their_owner_alone(tmp_path: Path) -> None:
    files = make_keys(tmp_path / "keys", ["a", "b"])
    assert [file.name for file in files] == [
        "service.key",
        "service.key_secret",
        "a.key",
        "a.key_secret",
        "b.key",
        "b.key_secret",
    ]
    for file in files:
        if file.suffix == ".key_secret":
            assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0


def test_keys_that_were_given_away_are_not_made_anew(tmp_path: Path) -> None:
    make_keys(tmp_path, ["a"])
    before = service_keys(tmp_path)
    make_keys(tmp_path, ["b"])
    assert service_keys(tmp_path).secret == before.secret
    assert sorted(service_keys(tmp_path).clients.values()) == ["a", "b"]
    with pytest.raises(KeysError, match="exists"):
        make_keys(tmp_path, ["a"])


@pytest.mark.parametrize("name", ["", "../a", "a/b", ".hidden", "x" * 65])
def test_a_clients_name_is_no_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeysError, match="expected a name"):
        make_keys(tmp_path, [name])


def test_what_is_no_key_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "service.key_secret").write_text("nothing")
    with pytest.raises(KeysError, match=r"service\.key_secret: cannot be read"):
        service_keys(tmp_path)
    with pytest.raises(KeysError, match=r"expected service\.key and one client's secret key"):
        client_keys(tmp_path)


def test_the_keys_of_this_machine_lie_where_only_their_user_can_read_and_go_with_the_service() -> None:
    with local_keys("of-a-test"):
        folder = local_folder("of-a-test")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert client_keys(folder, "local")
    assert not folder.exists()
