"""The dashboard's process: serves an inherited socket until the service that started it is gone."""

import argparse
import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from web.app import create_app


def main(arguments: list[str] | None = None) -> int:
    """Serve until the lifeline ends or SIGTERM comes; 0 then."""
    parser = argparse.ArgumentParser(prog="python -m web", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="a listening TCP socket")
    parser.add_argument("--lifeline", type=int, required=True, help="a pipe's reading end; serving ends when it does")
    parser.add_argument("--bus", required=True, help="endpoint of findings, alerts and health")
    parser.add_argument("--frames", required=True, help="endpoint of the pictures")
    options = parser.parse_args(arguments)
    # Ctrl-C goes to the whole terminal; the service decides, and tells through the lifeline.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(_serve(options.fd, options.lifeline, options.bus, options.frames))
    return 0


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals stay as ``main`` and ``_serve`` set them."""
        yield


async def _serve(fd: int, lifeline: int, bus: str, frames: str) -> None:
    config = uvicorn.Config(
        create_app(bus, frames),
        log_level="warning",
        access_log=False,
        # JPEG does not compress again.
        ws_per_message_deflate=False,
        ws_max_size=256,  # a page says nothing but "ack"
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        server.should_exit = True

    def read_lifeline() -> None:
        if not os.read(lifeline, 64):
            loop.remove_reader(lifeline)
            stop()

    loop.add_reader(lifeline, read_lifeline)
    loop.add_signal_handler(signal.SIGTERM, stop)
    with socket.socket(fileno=fd) as listening:
        await server.serve(sockets=[listening])


if __name__ == "__main__":
    sys.exit(main())
