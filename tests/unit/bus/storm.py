"""Many messages to five subscribers, most of which have a bad day.

    python -m tests.unit.bus.storm 100000

One has a good day, one stalls, one dies in the middle of the flow, one joins late, and one is behind a proxy that cuts
its connection in the middle of messages. Each living one writes down what it has received and what it believes.
"""

import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import Any

import zmq

from guidance.bus.desk import CallSocket, Desk, Gate
from guidance.bus.keys import local_keys
from guidance.bus.messages import Endpoints, HealthBody, HealthEnvelope, SnapshotEnvelope, Topic
from guidance.bus.publisher import Publisher
from guidance.bus.subscriber import Subscriber
from guidance.records import Alert, AlertKind, AlertState, FrameState, Priority
from guidance.wire import AlertMessage, alert_message, findings_message
from tests.unit.bus.test_bus import FINDINGS

CASE = "storm"
OVER = "over"
"""The source's name in the heartbeats after the last message: whoever hears one is done."""

STALL_S = 2.0
WHO = ("steady", "stalls", "dies", "late", "cut")


@dataclass(slots=True)
class Notes:
    """What a reader has to say at the end.

    ``received``: sequence numbers by topic, in the order of their coming. ``joined_at``: where a topic goes
    on of which nothing had been heard yet, by the first snapshot or heartbeat.
    """

    received: dict[str, list[int]]
    joined_at: dict[str, int]
    lost: dict[str, int]
    refused: int
    alerts: list[dict[str, Any]]
    findings_frame: int | None

    def missed(self, sent: dict[str, int]) -> dict[str, int]:
        """What of each topic did not come after all, of so many that were sent."""
        ends = sent | {"health": self.received["health"][-1] + 1}
        return {
            topic: len(
                set(range(min(received[0], self.joined_at.get(topic, received[0])), ends[topic])) - set(received)
            )
            for topic, received in self.received.items()
        }


@dataclass(slots=True)
class Outcome:
    """``sent``: how many by topic. ``alerts``: active at the end. ``slowest_ms``: of all publications."""

    sent: dict[str, int]
    alerts: list[dict[str, Any]]
    readers: dict[str, Notes]
    dead: list[str]
    cuts: int
    publish_ms: list[float] = field(repr=False)
    grown_mb: float


def read(who: str, endpoints: Endpoints, out: Path) -> None:
    """One subscriber, until it hears that all is over."""
    received: dict[str, list[int]] = {topic.value: [] for topic in Topic}
    joined_at: dict[str, int] = {}
    with Subscriber(endpoints) as bus:
        count = 0
        while True:
            message = bus.receive(timeout_s=1)
            if message is None:
                continue
            count += 1
            if not isinstance(message, SnapshotEnvelope):
                received[message.topic.value].append(message.sequence)
            if isinstance(message, SnapshotEnvelope | HealthEnvelope):
                body = message.body if isinstance(message, HealthEnvelope) else message.body.health
                for topic, following in body.next.items():
                    if not received[topic] and topic not in joined_at:
                        joined_at[topic] = following
            if who == "stalls" and count == 500:
                time.sleep(STALL_S)
            if who == "dies" and count == 2000:
                os.kill(os.getpid(), signal.SIGKILL)
            over = isinstance(message, HealthEnvelope) and message.body.source == OVER
            if over and not bus.reception.wants_snapshot:
                break
        findings = bus.reception.findings
        notes = Notes(
            received,
            joined_at,
            bus.reception.lost,
            bus.reception.refused,
            [alert.model_dump(mode="json") for alert in bus.alerts],
            None if findings is None else findings.frame,
        )
    out.write_text(json.dumps({name: getattr(notes, name) for name in Notes.__dataclass_fields__}))


class Cutter:
    """A TCP proxy that cuts each connection after some bytes, wherever in a message that is, until told to stop."""

    def __init__(self, to: str, after_bytes: tuple[int, int], seed: int) -> None:
        host, port = to.removeprefix("tcp://").rsplit(":", 1)
        self._to = host, int(port)
        self._after = after_bytes
        self._random = random.Random(seed)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._listening.getsockname()[1]}"
        self.cuts = 0
        self.gentle = False
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = socket.create_connection(self._to)
                left = [self._random.randint(*self._after)]
                for one, other in ((near, far), (far, near)):
                    thread = threading.Thread(target=self._pass_on, args=(one, other, left), daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _pass_on(self, one: socket.socket, other: socket.socket, left: list[int]) -> None:
        with suppress(OSError):
            while data := one.recv(4096):
                if not self.gentle and len(data) >= left[0]:
                    other.sendall(data[: left[0]])
                    self.cuts += 1
                    break
                left[0] -= len(data)
                other.sendall(data)
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join(2)


class Alarms:
    """A made-up alert state that changes all the time."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.active: dict[int, AlertMessage] = {}
        self._next = 1

    def change(self) -> AlertMessage:
        dice = self._random.random()
        if not self.active or (dice < 0.5 and len(self.active) < 20):
            alert = Alert(
                self._next,
                AlertKind.CEMENT_IN_ZONE,
                Priority.HIGH,
                AlertState.RAISED,
                1,
                0.1,
                "S1L",
                None,
                4.2,
                "mm2",
                "!",
            )
            self._next += 1
        else:
            told = self.active[self._random.choice(list(self.active))]
            state = AlertState.ACKNOWLEDGED if dice < 0.75 else AlertState.CLEARED
            alert = replace(_record(told), state=state, active=dice < 0.85)
        message = alert_message(alert)
        if message.active:
            self.active[message.id] = message
        else:
            self.active.pop(message.id)
        return message


def _record(message: AlertMessage) -> Alert:
    return Alert(**{name: getattr(message, name) for name in Alert.__dataclass_fields__})


def storm(messages: int, folder: Path, seed: int = 1) -> Outcome:
    """So many messages of all topics, and what came of them."""
    alarms = Alarms(seed)
    with ExitStack() as closing:
        context = closing.enter_context(zmq.Context())
        keys = closing.enter_context(local_keys(f"storm-{os.getpid()}"))
        gate = Gate(context, keys)
        closing.callback(gate.close)
        publisher = closing.enter_context(Publisher(context, "127.0.0.1", 0))
        snapshots = closing.enter_context(CallSocket(context, "127.0.0.1", 0))
        commands = closing.enter_context(CallSocket(context, "127.0.0.1", 0, keys=keys))
        desk = Desk(snapshots, commands, gate, publisher.present, lambda order: NotImplemented)
        closing.enter_context(_served(desk))
        direct = Endpoints(publisher.endpoint, snapshots=snapshots.endpoint)
        cutter = Cutter(publisher.endpoint, (50_000, 800_000), seed)
        closing.callback(cutter.close)
        behind = Endpoints(cutter.endpoint, snapshots=snapshots.endpoint)

        readers: dict[str, subprocess.Popen[bytes]] = {}
        closing.callback(lambda: [reader.kill() or reader.wait() for reader in readers.values()])

        def join(who: str, where: Endpoints) -> None:
            endpoints = [str(endpoint) for endpoint in astuple(where)]
            command = [sys.executable, "-m", "tests.unit.bus.storm", "--read", who, str(folder / who), *endpoints]
            readers[who] = subprocess.Popen(command)

        def health(source: str) -> HealthBody:
            return HealthBody(
                source=source,
                state=FrameState.LIVE,
                frames=number,
                pulses=number,
                dropped=0,
                latency_ms=None,
                rate_hz=None,
                findings_t_s=None,
                alerts=sorted(alarms.active.values(), key=lambda alert: alert.id),
            )

        number = 0
        sent = dict.fromkeys((topic.value for topic in Topic), 0)
        publish_ms: list[float] = []
        findings = findings_message(FINDINGS)

        def tell() -> None:
            kind = number % 20
            # Made outside of what is timed: the message, not its making, could be held up.
            body = findings.model_copy(update={"frame": number})
            changes = [alarms.change()] if kind == 7 else []
            state = health("storm") if kind in (7, 13) else None
            before_s = time.perf_counter()
            if changes and state is not None:
                publisher.tell_alerts(CASE, changes, state)
            elif state is not None:
                publisher.tell_health(CASE, state)
            else:
                publisher.tell_findings(CASE, body)
            publish_ms.append(1000 * (time.perf_counter() - before_s))
            sent["alerts" if kind == 7 else "health" if kind == 13 else "findings"] += 1

        publisher.tell_health(CASE, health("storm"))
        sent["health"] += 1
        for who in ("steady", "stalls", "dies"):
            join(who, direct)
        join("cut", behind)
        _wait_for_readers(folder, readers)
        before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number in range(messages):
            tell()
            if number == messages // 2:
                join("late", direct)
            if number % 50 == 49:
                # 50 messages a time, so that a reader that does nothing else keeps up on a small machine.
                time.sleep(0.004)
        grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
        # The line holds from now on: what is lost for good must be made good.
        cutter.gentle = True
        deadline_s = time.monotonic() + 60
        living = [who for who in WHO if who != "dies"]
        while any(readers[who].poll() is None for who in living):
            assert time.monotonic() < deadline_s, "readers did not end"
            publisher.tell_health(CASE, health(OVER))
            sent["health"] += 1
            time.sleep(0.05)
        readers["dies"].wait(10)
        notes = {who: Notes(**json.loads((folder / who).read_text())) for who in living}
        dead = [who for who, reader in readers.items() if reader.returncode == -signal.SIGKILL]
        at_the_end = [alert.model_dump(mode="json") for alert in alarms.active.values()]
        return Outcome(sent, at_the_end, notes, dead, cutter.cuts, publish_ms, grown_kb / 1024)


def _wait_for_readers(folder: Path, readers: dict[str, subprocess.Popen[bytes]]) -> None:
    deadline_s = time.monotonic() + 30
    while not all((folder / f"{who}.ready").exists() for who in readers):
        assert time.monotonic() < deadline_s, "readers did not begin"
        time.sleep(0.05)


@contextmanager
def _served(desk: Desk) -> Iterator[None]:
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            desk.serve()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def main() -> None:
    if sys.argv[1] == "--read":
        who, out, *endpoints = sys.argv[2:]
        Path(f"{out}.ready").touch()
        read(who, Endpoints(*(None if endpoint == "None" else endpoint for endpoint in endpoints)), Path(out))  # type: ignore[arg-type]
        return
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        begun_s = time.monotonic()
        outcome = storm(int(sys.argv[1]), Path(folder))
    slow = sorted(outcome.publish_ms)
    print(f"{sum(outcome.sent.values())} messages in {time.monotonic() - begun_s:.1f} s: {outcome.sent}")
    print(
        f"one publication: median {slow[len(slow) // 2]:.3f} ms, 99.9 % {slow[len(slow) * 999 // 1000]:.3f} ms, "
        f"longest {slow[-1]:.2f} ms; memory grew by {outcome.grown_mb:.1f} MB; {outcome.cuts} cuts"
    )
    for who, notes in outcome.readers.items():
        heard = sum(map(len, notes.received.values()))
        print(
            f"{who:8} heard {heard}, counted as lost {sum(notes.lost.values())}, state {notes.alerts == outcome.alerts}"
        )


if __name__ == "__main__":
    main()
