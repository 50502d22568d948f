"""The dashboard's process: serves an inherited socket until the service that started it is gone."""

import argparse
import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from guidance.bus.keys import client_keys
from guidance.bus.messages import Endpoints
from guidance.casebook.plans import PlansFolder
from web.app import create_app
from web.setup import SetupFolders


def main(arguments: list[str] | None = None) -> int:
    """Serve until the lifeline ends or SIGTERM comes; 0 then."""
    parser = argparse.ArgumentParser(prog="python -m web", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="a listening TCP socket")
    parser.add_argument("--lifeline", type=int, required=True, help="a pipe's reading end; serving ends when it does")
    parser.add_argument("--keys", type=Path, required=True, help="folder of the client's keys")
    parser.add_argument("--guarded", action="store_true", help="every socket of the bus asks for keys")
    parser.add_argument("--remote-orders", action="store_true", help="pages on other machines may give orders")
    parser.add_argument("--plans", type=Path, help="folder of the setup page's plans; none are kept without")
    parser.add_argument("--recordings", type=Path, help="folder of recordings that may be chosen")
    parser.add_argument("--source", help="what the service began with")
    parser.add_argument("endpoints", nargs=4, help="of messages, frames, snapshots and commands")
    options = parser.parse_args(arguments)
    # Ctrl-C goes to the whole terminal; the service decides, and tells through the lifeline.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    plans = None if options.plans is None else PlansFolder(options.plans)
    folders = SetupFolders(plans, options.recordings, options.source)
    app = create_app(
        Endpoints(*options.endpoints), client_keys(options.keys), options.guarded, options.remote_orders, folders
    )
    asyncio.run(_serve(options.fd, options.lifeline, app))
    return 0


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals stay as ``main`` and ``_serve`` set them."""
        yield


async def _serve(fd: int, lifeline: int, app: FastAPI) -> None:
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        # JPEG does not compress again.
        ws_per_message_deflate=False,
        ws_max_size=4096,  # a page says "ack", or gives an order
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
