"""The dashboard's process: serves an inherited socket until the service that started it is gone."""

import argparse
import asyncio
import gc
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from guidance.accounts import AccountsError, KnownAccounts
from guidance.admission import Admission, AdmissionError, check_pair
from guidance.bus.keys import KeysError, client_keys
from guidance.bus.messages import Endpoints
from guidance.casebook.archive import ArchiveError
from guidance.casebook.plans import PlansFolder
from web.access import Access
from web.app import Admitted, create_app, create_review_app
from web.live import MOST_VIEWERS, PATIENCE_S
from web.setup import SetupFolders

log = logging.getLogger(__name__)

RENEWED_S = 5.0
"""How soon a renewed certificate is found."""


def main(arguments: list[str] | None = None) -> int:
    """Serve until the lifeline ends or SIGTERM comes; 0 then, and 2 where it cannot be served like that."""
    parser = argparse.ArgumentParser(prog="python -m web", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="a listening TCP socket")
    parser.add_argument("--lifeline", type=int, required=True, help="a pipe's reading end; serving ends when it does")
    parser.add_argument("--keys", type=Path, help="folder of the client's keys")
    parser.add_argument("--guarded", action="store_true", help="every socket of the bus asks for keys")
    parser.add_argument("--accounts", type=Path, help="who may; without them everybody on this machine")
    parser.add_argument("--audit-log", type=Path, help="where it is noted who did what")
    parser.add_argument("--sessions", type=Path, help="where it is kept who is logged in")
    parser.add_argument("--tls-cert", type=Path, help="PEM; with --tls-key")
    parser.add_argument("--tls-key", type=Path, help="PEM")
    parser.add_argument("--most-viewers", type=int, default=MOST_VIEWERS, help="no more are let in at once")
    parser.add_argument("--plans", type=Path, help="folder of the setup page's plans; none are kept without")
    parser.add_argument("--recordings", type=Path, help="folder of recordings that may be chosen")
    parser.add_argument("--source", help="what the service began with")
    parser.add_argument("--archive", type=Path, help="folder of recorded cases, to be reviewed")
    parser.add_argument(
        "endpoints", nargs="*", help="of messages, frames, snapshots and commands; without them only reviews are served"
    )
    options = parser.parse_args(arguments)
    if len(options.endpoints) != (0 if options.keys is None else 4) or not (options.endpoints or options.archive):
        parser.error("expected --keys and four endpoints, or --archive alone")
    # Ctrl-C goes to the whole terminal; the service decides, and tells through the lifeline.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listening = socket.socket(fileno=options.fd)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # Lines inherit it. The kernel itself drops one that takes nothing, with what waits to be sent: to close it
        # would only wait for that.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * PATIENCE_S))
    admission = Admission(options.accounts, options.tls_cert, options.tls_key, plain_http=True)
    try:
        admission.check(listening.getsockname()[0])
        admitted = Admitted(
            None if options.accounts is None else KnownAccounts(options.accounts),
            options.audit_log,
            options.sessions,
            admission.tls,
            options.most_viewers,
        )
        if options.endpoints:
            plans = None if options.plans is None else PlansFolder(options.plans)
            folders = SetupFolders(plans, options.recordings, options.source)
            endpoints, keys = Endpoints(*options.endpoints), client_keys(options.keys)
            app = create_app(endpoints, keys, options.guarded, admitted, folders, options.archive)
        else:
            app = create_review_app(options.archive, admitted)
    except (AdmissionError, AccountsError, KeysError, ArchiveError) as error:
        print(f"fluoroguide's dashboard: {error}", file=sys.stderr)  # noqa: T201 - the service's own standard error
        return 2
    # What the imports made lives as long as the process; to walk it took a picture's time, every few seconds.
    gc.freeze()
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
    config.load()
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
    renewing = asyncio.create_task(_renew(config.ssl, admission))
    try:
        with listening:
            await server.serve(sockets=[listening])
    finally:
        renewing.cancel()


async def _renew(context: ssl.SSLContext | None, admission: Admission) -> None:
    """Take up a renewed certificate for connections that begin from then on; those that are open stay so."""
    cert, key = admission.tls_cert, admission.tls_key
    if context is None or cert is None or key is None:
        return
    used = _stamps(cert, key)
    told = used
    while True:
        await asyncio.sleep(RENEWED_S)
        found = _stamps(cert, key)
        if found == used:
            continue
        try:
            # First in a context of its own: half of a new pair would spoil the one that is in use.
            check_pair(cert, key)
            context.load_cert_chain(cert, key)
            used = found
        except (AdmissionError, OSError) as error:
            # Two files are not written at the same moment, so that the next look may find a pair.
            if found != told:
                log.error("%s; the certificate before it stays in use", error)
            told = found


def _stamps(*files: Path) -> list[tuple[int, ...] | None]:
    """What changes when a file does; None where there is none."""
    found: list[tuple[int, ...] | None] = []
    for file in files:
        try:
            status = file.stat()
        except OSError:
            found.append(None)
        else:
            found.append((status.st_ino, status.st_size, status.st_mtime_ns))
    return found


if __name__ == "__main__":
    sys.exit(main())
