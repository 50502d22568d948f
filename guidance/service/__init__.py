"""Threads, processes and wiring: the only place that owns them.

capture ──newest frame──> analysis ──findings, alerts, heartbeat──> bus
   │                          │ ^ ├──frame, while it is looked at──> encoding ──JPEG──┐
   │                          │ │ └──newest result──> pictures ──JPEG and overlay──> bus
   │                          │ └──orders── desk <──calls, orders── whoever listens or commands
   │                          ├──each change──> alarm log, which a thread of its own syncs
   │                          └──all that is told──> recording
   ├──newest frame──> early ──JPEG──> bus, before it is looked at
   └──every frame──> recording ──> the archive, where there is one, which a thread of its own syncs
dashboard: a process of its own, one more reader of the bus; restarted when it dies.

Every hand-over holds one thing, the newest, so that nothing lags behind and no stage waits for a later one; but for the
recording's, which holds some frames and counts those that it has no room for. The
heartbeat comes from the analysis thread itself: if analysis hangs, readers hear silence and know. If any thread
fails, everything is stopped: a frozen picture must never pass for a live one.
"""

from guidance.service.capture import Choice, read_ahead
from guidance.service.running import BUS_PORT, Service, listen, run_service, run_until_asked, tune_interpreter

__all__ = [
    "BUS_PORT",
    "Choice",
    "Service",
    "listen",
    "read_ahead",
    "run_service",
    "run_until_asked",
    "tune_interpreter",
]
