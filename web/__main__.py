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

from guidance.accounts import AccountsError, KnownAccounts
from guidance.admission import Admission, AdmissionError
from guidance.bus.keys import KeysError, client_keys
from guidance.bus.messages import Endpoints
from web.access import Access
from web.app import Admitted, create_app


def main(arguments: list[str] | None = None) -> int:
    """Serve until the lifeline ends or SIGTERM comes; 0 then, and 2 where it cannot be served like that."""
    parser = argparse.ArgumentParser(prog="python -m web", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="a listening TCP socket")
    parser.add_argument("--lifeline", type=int, required=True, help="a pipe's reading end; serving ends when it does")
    parser.add_argument("--keys", type=Path, required=True, help="folder of the client's keys")
    parser.add_argument("--guarded", action="store_true", help="every socket of the bus asks for keys")
    parser.add_argument("--accounts", type=Path, help="who may; without them everybody on this machine")
    parser.add_argument("--audit-log", type=Path, help="where it is noted who did what")
    parser.add_argument("--sessions", type=Path, help="where it is kept who is logged in")
    parser.add_argument("--tls-cert", type=Path, help="PEM; with --tls-key")
    parser.add_argument("--tls-key", type=Path, help="PEM")
    parser.add_argument("endpoints", nargs=4, help="of messages, frames, snapshots and commands")
    options = parser.parse_args(arguments)
    # Ctrl-C goes to the whole terminal; the service decides, and tells through the lifeline.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listening = socket.socket(fileno=options.fd)
    admission = Admission(options.accounts, options.tls_cert, options.tls_key, plain_http=True)
    try:
        admission.check(listening.getsockname()[0])
        admitted = Admitted(
            None if options.accounts is None else KnownAccounts(options.accounts),
            options.audit_log,
            options.sessions,
            admission.tls,
        )
        app = create_app(Endpoints(*options.endpoints), client_keys(options.keys), options.guarded, admitted)
    except (AdmissionError, AccountsError, KeysError) as error:
        print(f"fluoroguide's dashboard: {error}", file=sys.stderr)  # noqa: T201 - the service's own standard error
        return 2
    asyncio.run(_serve(listening, options.lifeline, app, admission))
    return 0


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals stay as ``main`` and ``_serve`` set them."""
        yield


async def _serve(listening: socket.socket, lifeline: int, app: Access, admission: Admission) -> None:
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        # An address that a header claims is nobody's: whoever tries passwords would have a new one for each.
        proxy_headers=False,
        ssl_certfile=admission.tls_cert,
        ssl_keyfile=admission.tls_key,
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
    with listening:
        await server.serve(sockets=[listening])


if __name__ == "__main__":
    sys.exit(main())
