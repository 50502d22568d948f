"""The dashboard's process, from the side that keeps it running."""

import errno
import http.client
import logging
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

from guidance.bus.messages import Endpoints
from guidance.bus.publisher import BusError, port_in_use
from guidance.service.capture import TICK_S

log = logging.getLogger(__name__)


class Dashboard:
    """Keeps the dashboard's process running.

    The listening socket is bound here and inherited: a port in use is told at once, and while the dashboard is
    being restarted browsers wait instead of being refused. The process ends by itself when the other end of its
    lifeline is closed, which the kernel does however this process ends.

    ``keys``: the folder of the client on this machine. ``options``: further ones of ``web``'s command line. ``tls``: it
    speaks HTTPS.
    """

    FIRST_PAUSE_S = 0.25
    LONGEST_PAUSE_S = 5.0
    STEADY_S = 10.0
    """After running this long a death is not counted with those before it."""

    ENDING_S = 1.0
    """What it is given to end after being asked."""

    def __init__(
        self,
        command: Sequence[str],
        host: str,
        port: int,
        endpoints: Endpoints,
        keys: Path,
        options: Sequence[str],
        stopping: threading.Event,
        tls: bool = False,
    ) -> None:
        self._stopping = stopping
        self._tls = _whoever() if tls else None
        self._listening = listening_socket(host, port)
        bound_host, bound_port = self._listening.getsockname()[:2]
        # Bound to every address of this machine, it is reached from here by the loopback one.
        self.address: tuple[str, int] = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bound_host, bound_host), bound_port
        self._lifeline, self._our_end = os.pipe()
        # -P: the package that is installed beside this one, never a folder of that name where the user stands.
        self._command = [sys.executable, "-P", *command, "--fd", str(self._listening.fileno())]
        self._command += ["--lifeline", str(self._lifeline), "--keys", str(keys)]
        self._command += options
        self._command += [str(endpoint) for endpoint in astuple(endpoints)]

    def run(self) -> None:
        """Until told to stop."""
        pause_s = self.FIRST_PAUSE_S
        while not self._stopping.is_set():
            started_s = time.monotonic()
            with self._process() as process:
                status = self._wait(process)
            if status is None:
                return
            if time.monotonic() - started_s > self.STEADY_S:
                pause_s = self.FIRST_PAUSE_S
            log.warning("the dashboard ended (status %s); starting it again in %g s", status, pause_s)
            self._stopping.wait(pause_s)
            pause_s = min(2 * pause_s, self.LONGEST_PAUSE_S)

    @property
    def url(self) -> str:
        """What to open in a browser on this machine."""
        host, port = self.address
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://[{host}]:{port}/" if ":" in host else f"{scheme}://{host}:{port}/"

    def answers(self, timeout_s: float) -> bool:
        """Whether the dashboard says that it is healthy."""
        connection = (
            http.client.HTTPConnection(*self.address, timeout=timeout_s)
            if self._tls is None
            else http.client.HTTPSConnection(*self.address, timeout=timeout_s, context=self._tls)
        )
        try:
            connection.request("GET", "/healthy")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def close(self) -> None:
        """Give up the port and cut the lifeline."""
        self._listening.close()
        os.close(self._our_end)
        os.close(self._lifeline)

    def _process(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            pass_fds=(self._listening.fileno(), self._lifeline),
            # Ctrl-C on the terminal is for this process alone, which then ends the dashboard in order.
            start_new_session=True,
        )

    def _wait(self, process: subprocess.Popen[bytes]) -> int | None:
        """Its exit status, or None when the service stops, which ends it."""
        while not self._stopping.wait(TICK_S):
            if (status := process.poll()) is not None:
                return status
        process.terminate()
        try:
            process.wait(self.ENDING_S)
        except subprocess.TimeoutExpired:
            process.kill()
        return None


def _whoever() -> ssl.SSLContext:
    """TLS without a look at the certificate: it is for the name of this machine, and our own socket is what answers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def listening_socket(host: str, port: int) -> socket.socket:
    """What browsers come to. Raises BusError where the port cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if not 0 <= port <= 65535:
        raise BusError(f"port {port}: expected a number from 0 to 65535")
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise port_in_use(host, port, "--port") from error
        raise BusError(f"the dashboard cannot use port {port} on {host}: {error.strerror}") from error
