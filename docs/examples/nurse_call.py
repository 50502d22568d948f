"""Passes alarms on, or says that nothing is known. `python nurse_call.py tcp://127.0.0.1:5570`"""

import sys

from guidance.bus.subscriber import Subscriber

with Subscriber(sys.argv[1], name="nurse call") as bus:
    while True:
        bus.receive(timeout_s=0.5)
        print("UNKNOWN" if bus.deaf else [alert.text for alert in bus.alerts], flush=True)
