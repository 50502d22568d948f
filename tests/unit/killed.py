"""Kills the service and the dashboard while a high alert is shown, and tells how soon it is shown again.

python -m tests.unit.killed 5        five times each
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from guidance.bus.subscriber import Subscriber
from guidance.casebook.alarm_log import read_log
from guidance.records import CasePlan
from guidance.service import Service, run_until_asked
from guidance.settings import Settings
from guidance.wire import AlertMessage
from tests.unit.test_service import EscapedPipeline, SmallPipeline, frames, source

PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Return:
    """``back_s``: from the kill until the process answers again; ``shown_s``: from there until the alert is shown."""

    back_s: float
    shown_s: float


@dataclass(frozen=True, slots=True)
class Place:
    """Where a service that may be killed keeps its log, and its ports."""

    log: Path
    port: int
    bus_port: int

    @property
    def bus(self) -> str:
        return f"tcp://127.0.0.1:{self.bus_port}"


def serve(place: Place, leaks: bool) -> int:
    """The service of this place, until it is killed. ``leaks`` False: nothing is seen that alarms."""
    service = Service(
        source(frames(100_000)),
        CasePlan(),
        Settings(),
        port=place.port,
        bus_port=place.bus_port,
        alarm_log=place.log,
        make_pipeline=EscapedPipeline if leaks else SmallPipeline,
    )
    return run_until_asked(service)


def free_place(log: Path) -> Place:
    """One on ports that nobody uses: five that follow each other."""
    for port in range(24800, 26000, 5):
        with ExitStack() as taken:
            try:
                for further in range(5):
                    taken.enter_context(socket.create_server(("127.0.0.1", port + further)))
            except OSError:
                continue
            return Place(log, port, port + 1)
    raise AssertionError("no free ports")


@contextmanager
def running(place: Place, leaks: bool) -> Iterator["subprocess.Popen[bytes]"]:
    words = [str(place.log), str(place.port), str(place.bus_port), "leaks" if leaks else "quiet"]
    with subprocess.Popen([sys.executable, "-m", "tests.unit.killed", "--serve", *words]) as process:
        try:
            yield process
        finally:
            process.kill()


def wait(true: Callable[[], bool]) -> float:
    """When it is so, by the monotonic clock."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline_s, "not so in time"
    return time.monotonic()


def shown_on_the_page(place: Place) -> list[str]:
    """The texts of the alerts in the first message of the dashboard that has heard the bus; none while it is down."""
    with suppress(OSError, WebSocketException), connect(f"ws://127.0.0.1:{place.port}/live", compression=None) as page:
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s:
            message = page.recv(timeout=PATIENCE_S)
            assert isinstance(message, bytes)
            header = json.loads(message[4 : 4 + int.from_bytes(message[:4], "little")])
            if not header["deaf"]:
                return [alert["text"] for alert in header["alerts"]]
    return []


def dashboard_of(service: int) -> int | None:
    """The process id of the service's dashboard; None while there is none."""
    for task in Path(f"/proc/{service}/task").iterdir():
        with suppress(OSError):
            for child in (task / "children").read_text().split():
                return int(child)
    return None


def kill_the_dashboard(place: Place) -> Return:
    """Killed while the alert is on the page; until the alert is on the page of the one that takes its place."""
    with running(place, leaks=True) as service:
        wait(lambda: bool(shown_on_the_page(place)))
        first = dashboard_of(service.pid)
        assert first is not None
        os.kill(first, signal.SIGKILL)
        killed_s = time.monotonic()
        wait(lambda: dashboard_of(service.pid) not in (None, first))
        back_s = wait(lambda: _answers(place))
        shown_s = wait(lambda: bool(shown_on_the_page(place)))
        return Return(back_s - killed_s, shown_s - back_s)


def kill_the_service(place: Place) -> tuple[Return, list[AlertMessage]]:
    """Killed the moment that its alert is heard; until the next one's bus and page show it, which sees no leak itself.

    The second of what is returned is all that was told before the kill.
    """
    with running(place, leaks=True) as service, Subscriber(place.bus) as reader:
        wait(lambda: reader.receive(timeout_s=0.01) is not None and bool(reader.alerts))
        service.send_signal(signal.SIGKILL)
        told = list(reader.alerts)
        killed_s = time.monotonic()
        service.wait()
    with running(place, leaks=False), Subscriber(place.bus) as reader:
        back_s = wait(lambda: reader.receive(timeout_s=0.01) is not None)
        wait(lambda: bool(reader.alerts) or (reader.receive(timeout_s=0.01) is not None and bool(reader.alerts)))
        shown_s = wait(lambda: bool(shown_on_the_page(place)))
        return Return(back_s - killed_s, shown_s - back_s), told


def _answers(place: Place) -> bool:
    with suppress(OSError, WebSocketException), connect(f"ws://127.0.0.1:{place.port}/live", compression=None):
        return True
    return False


def main() -> int:
    if sys.argv[1] == "--serve":
        log, port, bus_port, kind = sys.argv[2:]
        return serve(Place(Path(log), int(port), int(bus_port)), kind == "leaks")
    with ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory()))
        for i in range(int(sys.argv[1])):
            dashboard = kill_the_dashboard(free_place(folder / f"{i}.jsonl"))
            place = free_place(folder / f"{i}-service.jsonl")
            service, told = kill_the_service(place)
            noted = {entry.alert.id for entry in read_log(place.log).entries if entry.alert is not None}
            print(
                f"dashboard: back after {dashboard.back_s:.2f} s, alert shown {dashboard.shown_s:.2f} s later; "
                f"service: heard after {service.back_s:.2f} s, alert on bus and page {service.shown_s:.2f} s later; "
                f"told {len(told)}, in the log {len(noted & {alert.id for alert in told})}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
