"""The same inside an asyncio program. `python nurse_call_async.py tcp://127.0.0.1:5570`"""

import asyncio
import sys

from guidance.bus.subscriber import AsyncSubscriber


async def pass_on(endpoint: str) -> None:
    with AsyncSubscriber(endpoint, name="nurse call") as bus:
        while True:
            await bus.receive(timeout_s=0.5)
            print("UNKNOWN" if bus.deaf else [alert.text for alert in bus.alerts], flush=True)


asyncio.run(pass_on(sys.argv[1]))
