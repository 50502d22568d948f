"""Whatever may come in on each socket: nothing dies, and what is refused is counted.

    python -m tests.unit.bus.fuzz 100000

So many inputs, shared among the snapshots' socket, the commands' (with a known key, an unknown one and none), raw bytes
on every port, and a reader whose publisher says the same kind of things.
"""

import json
import random
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import zmq

from guidance.bus.messages import (
    LONGEST_CALL_BYTES,
    Acknowledge,
    AlertEnvelope,
    Answer,
    Call,
    Endpoints,
    FindingsEnvelope,
    FrameHeader,
    FrameMessage,
    HealthEnvelope,
    Order,
    PauseAudio,
    SnapshotBody,
    SnapshotEnvelope,
    frame_parts,
    message_parts,
)
from guidance.bus.subscriber import Reception, Subscriber
from guidance.records import FrameState
from guidance.wire import alert_message, findings_message
from tests.unit.bus.test_bus import ALERT, FINDINGS, HEALTH
from tests.unit.bus.test_desk import Room

CASE = "c"
ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    2**70,
    1e308,
    "",
    "x" * 5000,
    "\u0000",
    "2099-01-01",
    [],
    {},
    [[]] * 50,
    {"kind": "acknowledge"},
)


@dataclass(slots=True)
class Fate:
    """What became of the inputs on one way in."""

    sent: int = 0
    refused: int = 0
    accepted: int = 0
    why: Counter[str] = field(default_factory=Counter)


class Mutator:
    """Turns messages of the schema into others that mostly are none."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def bent(self, data: bytes) -> bytes:
        """Something like this message."""
        ways: list[Callable[[bytes], bytes]] = [
            lambda d: d[: self.random.randrange(len(d) + 1)],
            self._flipped,
            lambda d: d + d,
            lambda d: self.random.randbytes(self.random.randrange(200)),
            lambda d: b"[" * self.random.randrange(1, 5000) + d,
            lambda d: d.replace(b"1", b"NaN"),
            lambda d: d.replace(b'"', b"'"),
            lambda d: b"\xff\xfe" + d,
            lambda d: d + b" " * self.random.choice([10, LONGEST_CALL_BYTES]),
            self._odd,
            self._odd,
            self._odd,
        ]
        return self.random.choice(ways)(data)

    def _flipped(self, data: bytes) -> bytes:
        if not data:
            return b"\x00"
        flipped = bytearray(data)
        for _ in range(self.random.randrange(1, 8)):
            flipped[self.random.randrange(len(flipped))] ^= 1 << self.random.randrange(8)
        return bytes(flipped)

    def _odd(self, data: bytes) -> bytes:
        """The same JSON with one value in another's place, one too many or one missing."""
        try:
            told = json.loads(data)
        except ValueError:
            return data[::-1]
        holder = told
        while isinstance(holder, dict) and holder:
            name = self.random.choice(list(holder))
            if isinstance(holder[name], dict) and holder[name] and self.random.random() < 0.7:
                holder = holder[name]
                continue
            what = self.random.randrange(3)
            if what == 0:
                holder[name] = self.random.choice(ODD)
            elif what == 1:
                del holder[name]
            else:
                holder[f"{name}_"] = self.random.choice(ODD)
            break
        return json.dumps(told).encode()

    def parts(self, data: bytes) -> list[bytes]:
        """Now and then in another number of parts."""
        dice = self.random.random()
        if dice < 0.9:
            return [data]
        return [data] * self.random.randrange(2, 12) if dice < 0.97 else [b"", *[b"x"] * self.random.randrange(3)]


def calls(mutator: Mutator) -> bytes:
    """What may come in on the snapshots' socket."""
    call = mutator.random.choice(
        [
            Call(call="snapshot"),
            Call(call="listening", name=f"reader {mutator.random.randrange(200)}"),
            Call(call="leaving", name=f"reader {mutator.random.randrange(200)}"),
        ]
    ).to_bytes()
    return mutator.bent(call) if mutator.random.random() < 0.9 else call


def orders(mutator: Mutator, said: list[bytes]) -> bytes:
    """What may come in on the commands' socket, now and then what was said before."""
    if said and mutator.random.random() < 0.1:
        return mutator.random.choice(said)
    command = mutator.random.choice([Acknowledge(alert=3), PauseAudio(on=True)])
    order = Order(id=f"order-{mutator.random.getrandbits(64):x}", case=CASE, by="me", command=command).to_bytes()
    order = mutator.bent(order) if mutator.random.random() < 0.8 else order
    said.append(order)
    return order


def on_snapshots(room: Room, count: int, mutator: Mutator) -> Fate:
    """Malformed, oversized and repeated calls. What is accepted is a call, whatever was done to it."""
    fate = Fate()
    before = sum(room.desk.refused.values())
    with zmq.Context() as context, context.socket(zmq.DEALER) as rude:
        rude.setsockopt(zmq.LINGER, 5000)
        rude.connect(str(room.endpoints.snapshots))
        for _ in range(count):
            rude.send_multipart(mutator.parts(calls(mutator)))
            fate.sent += 1
            while rude.poll(0):
                rude.recv()
        _drain(room)
        fate.refused = sum(room.desk.refused.values()) - before
        fate.why.update(room.desk.refused)
    fate.accepted = fate.sent - fate.refused
    return fate


def on_commands(room: Room, count: int, mutator: Mutator) -> Fate:
    """With a key that is known: each is answered, and obeyed at most once."""
    fate = Fate()
    said: list[bytes] = []
    before_obeyed = len(room.orders)
    with room.commander() as commander:
        rude = commander._socket
        for _ in range(count):
            data = orders(mutator, said)
            rude.send(data)
            fate.sent += 1
            if len(data) > LONGEST_CALL_BYTES:
                fate.refused += 1
                fate.why["too long"] += 1
                continue
            assert rude.poll(5000), "an order was not answered"
            answer = Answer.model_validate_json(rude.recv())
            fate.accepted += answer.ok
            fate.refused += not answer.ok
            fate.why[(answer.error or "obeyed").split(":")[0][:30]] += 1
    assert len(room.orders) - before_obeyed == fate.accepted
    return fate


def without_a_key(room: Room, count: int, mutator: Mutator) -> Fate:
    """With a key that nobody knows, and with none: not one gets in."""
    fate = Fate()
    before = len(room.orders)
    before_refused = room.desk.refused
    # Each connection is refused as a whole, so there are fewer of them than there are messages.
    while fate.sent < count:
        with zmq.Context() as context, context.socket(zmq.DEALER) as stranger:
            stranger.setsockopt(zmq.LINGER, 0)
            if mutator.random.random() < 0.5:
                public, secret = zmq.curve_keypair()
                stranger.setsockopt(zmq.CURVE_SERVERKEY, room.local.service)
                stranger.setsockopt(zmq.CURVE_PUBLICKEY, public)
                stranger.setsockopt(zmq.CURVE_SECRETKEY, secret)
            stranger.connect(str(room.endpoints.commands))
            for _ in range(200):
                with suppress(zmq.Again):
                    stranger.send(orders(mutator, []), zmq.DONTWAIT)
                fate.sent += 1
            stranger.poll(50)
    assert len(room.orders) == before
    fate.refused = fate.sent
    _drain(room)
    fate.why.update(Counter(room.desk.refused) - Counter(before_refused))
    assert fate.why["unknown key"] > 0
    assert fate.why["no handshake"] > 0
    return fate


def raw_bytes(room: Room, count: int, mutator: Mutator) -> Fate:
    """Bytes that are no ZeroMQ, or begin like it, on every port."""
    fate = Fate()
    before_refused = room.desk.refused
    greeting = b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x00" + b"NULL".ljust(20, b"\x00") + bytes(32)
    ports = [int(str(endpoint).rsplit(":", 1)[1]) for endpoint in _all(room.endpoints)]
    for _ in range(count):
        head = mutator.random.choice([b"", greeting, greeting[: mutator.random.randrange(64)]])
        length = struct.pack(">Q", mutator.random.choice([0, 2**16, 2**40, 2**63]))
        body = mutator.random.choice([mutator.random.randbytes(300), b"\x06" + length, b"GET / HTTP/1.0\r\n\r\n"])
        with suppress(OSError), socket.create_connection(("127.0.0.1", mutator.random.choice(ports)), 5) as line:
            line.sendall(head + body)
        fate.sent += 1
    _drain(room)
    fate.why.update(Counter(room.desk.refused) - Counter(before_refused))
    # A line that is closed before it has said enough to be refused is not counted.
    fate.refused = fate.why.total()
    return fate


def spoken() -> list[list[bytes]]:
    """One of each message that a reader may hear, in its parts."""
    stamp: dict[str, Any] = {"session": "s", "sequence": 5, "case": CASE, "sent_s": 1.0}
    header = FrameHeader(
        **stamp,
        captured_s=1.0,
        frame=1,
        t_s=0.1,
        state=FrameState.LIVE,
        findings=findings_message(FINDINGS),
        strokes=[],
        alerts=[alert_message(ALERT)],
    )
    return [
        message_parts(FindingsEnvelope(**stamp, body=findings_message(FINDINGS))),
        message_parts(AlertEnvelope(**stamp, body=alert_message(ALERT))),
        message_parts(HealthEnvelope(**stamp, body=HEALTH)),
        [SnapshotEnvelope(**stamp, body=SnapshotBody(health=HEALTH, findings=None)).to_bytes()],
        frame_parts(FrameMessage(header, b"jpeg")),
    ]


def bent_parts(mutator: Mutator, parts: list[bytes]) -> list[bytes]:
    """Something like this message."""
    bent = list(parts)
    place = mutator.random.randrange(len(bent))
    bent[place] = mutator.bent(bent[place])
    dice = mutator.random.random()
    if dice < 0.05:
        bent.pop()
    elif dice < 0.1:
        bent += [b"more"] * mutator.random.randrange(1, 9)
    return bent


def a_reader_believes_nothing(count: int, mutator: Mutator) -> Fate:
    """What a publisher might say, over real sockets, to a reader that must go on hearing."""
    fate = Fate()
    good = spoken()
    with (
        zmq.Context() as context,
        context.socket(zmq.PUB) as publisher,
        context.socket(zmq.PUB) as frames,
    ):
        ends = []
        for end in (publisher, frames):
            end.setsockopt(zmq.LINGER, 0)
            end.setsockopt(zmq.SNDHWM, 0)
            ends.append(f"tcp://127.0.0.1:{end.bind_to_random_port('tcp://127.0.0.1')}")
        with Subscriber(Endpoints(*ends), pictures=True) as reader:
            while reader.reception.health is None:
                publisher.send_multipart(good[2])
                reader.receive(timeout_s=0.05)
            while reader.receive(timeout_s=0.1) is not None:
                pass
            before = reader.reception.refused
            while fate.sent < count:
                for _ in range(min(100, count - fate.sent)):
                    publisher.send_multipart(bent_parts(mutator, mutator.random.choice(good)) or [b""])
                    fate.sent += 1
                while reader.receive(timeout_s=0.02) is not None:
                    fate.accepted += 1
            while reader.receive(timeout_s=0.2) is not None:
                fate.accepted += 1
            fate.refused = reader.reception.refused - before
            frames.send_multipart(bent_parts(mutator, good[4]) or [b""])
            reader.newest_frame(timeout_s=0.2)
    return fate


def a_reception_believes_nothing(count: int, mutator: Mutator) -> Fate:
    """The same for what comes as a snapshot or a picture, without a socket."""
    fate = Fate()
    good = spoken()
    for _ in range(count):
        reception = Reception()
        bent = bent_parts(mutator, mutator.random.choice(good))
        taken = [reception.take(bent), reception.take_snapshot(bent), reception.take_frame(bent)]
        fate.sent += 1
        fate.accepted += any(heard is not None for heard in taken)
        assert reception.refused == sum(heard is None for heard in taken)
    fate.refused = fate.sent - fate.accepted
    return fate


def still_answers(room: Room) -> bool:
    """Whether the desk gives a new reader the state and obeys an order, as if nothing had been."""
    room.publisher.tell_alerts(CASE, [alert_message(ALERT)], HEALTH)
    with Subscriber(room.endpoints) as reader, room.commander() as commander:
        deadline_s = time.monotonic() + 10
        while not reader.alerts and time.monotonic() < deadline_s:
            reader.receive(timeout_s=0.1)
        return [alert.id for alert in reader.alerts] == [ALERT.id] and commander.order(CASE, PauseAudio(on=True)).ok


def fuzz(count: int, seed: int) -> dict[str, Fate]:
    """So many inputs on all ways in, and what became of them. Raises AssertionError where something gives way."""
    mutator = Mutator(seed)
    fates: dict[str, Fate] = {}
    with Room() as room:
        room.publisher.tell_alerts(CASE, [alert_message(ALERT)], HEALTH)
        ways: dict[str, Callable[[], Fate]] = {
            "calls for snapshots": lambda: on_snapshots(room, count * 30 // 100, mutator),
            "orders with a key": lambda: on_commands(room, count * 20 // 100, mutator),
            "orders without": lambda: without_a_key(room, count * 10 // 100, mutator),
            "raw bytes on all ports": lambda: raw_bytes(room, count * 5 // 100, mutator),
            "what a reader hears": lambda: a_reader_believes_nothing(count * 20 // 100, mutator),
            "snapshots and pictures": lambda: a_reception_believes_nothing(count * 15 // 100, mutator),
        }
        for name, way in ways.items():
            fates[name] = way()
            assert still_answers(room), f"after {name}"
    return fates


def _drain(room: Room) -> None:
    """Until the desk has seen all that was sent: its counts rest."""
    counts = -1
    while counts != (counts := sum(room.desk.refused.values())):
        time.sleep(0.2)


def _all(endpoints: Endpoints) -> list[str | None]:
    return [endpoints.messages, endpoints.frames, endpoints.snapshots, endpoints.commands]


def main() -> None:
    begun_s = time.monotonic()
    fates = fuzz(int(sys.argv[1]), seed=int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    for name, fate in fates.items():
        print(f"{name:24} {fate.sent:7} sent, {fate.refused:7} refused, {fate.accepted:6} accepted  {dict(fate.why)}")
    total = sum(fate.sent for fate in fates.values())
    print(f"{total} inputs in {time.monotonic() - begun_s:.0f} s; everything still answers")


if __name__ == "__main__":
    main()
