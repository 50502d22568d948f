"""What a stalled and a dead subscriber cost the others: from publication until a healthy one has the message.

python -m tests.unit.bus.stall 5000
"""

import os
import signal
import subprocess
import sys
import threading
import time

import zmq

from guidance.bus.messages import Endpoints, FindingsEnvelope
from guidance.bus.publisher import Publisher
from guidance.bus.subscriber import Subscriber
from guidance.wire import findings_message
from tests.unit.bus.test_bus import FINDINGS, HEALTH

ONE = """
import sys
from guidance.bus.messages import Endpoints
from guidance.bus.subscriber import Subscriber
with Subscriber(Endpoints(sys.argv[1])) as reader:
    while True:
        reader.receive(1)
"""
GAP_S = 0.001


def delays_ms(messages: int, others: bool) -> list[float]:
    """Of each message, in their order."""
    delays: list[float] = []
    with zmq.Context() as context, Publisher(context, "127.0.0.1", 0) as publisher:
        stalled = []
        if others:
            stalled = [subprocess.Popen([sys.executable, "-c", ONE, publisher.endpoint]) for _ in range(2)]
            time.sleep(3)
            os.kill(stalled[0].pid, signal.SIGSTOP)
            os.kill(stalled[1].pid, signal.SIGKILL)
        over = threading.Event()

        def hear() -> None:
            with Subscriber(Endpoints(publisher.endpoint)) as healthy:
                while not over.is_set():
                    message = healthy.receive(timeout_s=0.2)
                    if isinstance(message, FindingsEnvelope):
                        delays.append(1000 * (time.monotonic() - message.sent_s))

        thread = threading.Thread(target=hear)
        thread.start()
        time.sleep(0.3)
        body = findings_message(FINDINGS)
        for number in range(messages):
            publisher.tell_findings("c", body)
            if number % 100 == 0:
                publisher.tell_health("c", HEALTH)
            time.sleep(GAP_S)
        time.sleep(0.5)
        over.set()
        thread.join()
        for reader in stalled:
            reader.kill()
            reader.wait()
    return delays


def main() -> None:
    for others in (False, True, False, True):
        delays = sorted(delays_ms(int(sys.argv[1]), others))
        share = {
            name: delays[min(len(delays) - 1, int(len(delays) * part))]
            for name, part in (("median", 0.5), ("99 %", 0.99), ("longest", 1.0))
        }
        words = ", ".join(f"{name} {value:.2f} ms" for name, value in share.items())
        print(f"{'one stalled, one dead' if others else 'alone':22} {len(delays)} heard: {words}")


if __name__ == "__main__":
    main()
