"""A network between browser and dashboard that can be cut, stopped and mended."""

import selectors
import socket
import threading
from types import TracebackType
from typing import Self


class Network:
    """Hands on every connection to ``port`` until it is cut or stopped. ``address``: what to open instead."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listening.getsockname()[1]}/"
        self._peers: dict[socket.socket, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._is_cut = False
        self._is_stopped = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="network")
        self._thread.start()

    def cut(self) -> None:
        """Every connection breaks, and each new one at once."""
        self._is_cut = True

    def stop(self) -> None:
        """Nothing comes through, and nobody is told."""
        self._is_stopped = True

    def mend(self) -> None:
        self._is_cut = self._is_stopped = False

    def _run(self) -> None:
        while not self._over.is_set():
            if self._is_cut:
                self._drop_all()
            if self._is_stopped:
                self._over.wait(0.01)
                continue
            for key, _ in self._selector.select(0.01):
                if key.fileobj is self._listening:
                    self._take()
                elif isinstance(key.fileobj, socket.socket):
                    self._hand_on(key.fileobj)
        self._drop_all()
        self._selector.close()

    def _take(self) -> None:
        near, _ = self._listening.accept()
        if self._is_cut:
            near.close()
            return
        far = socket.create_connection(("127.0.0.1", self._port))
        self._peers |= {near: far, far: near}
        for end in (near, far):
            self._selector.register(end, selectors.EVENT_READ)

    def _hand_on(self, end: socket.socket) -> None:
        other = self._peers.get(end)
        if other is None:
            return
        try:
            data = end.recv(1 << 16)
            if data:
                other.sendall(data)
                return
        except OSError:
            pass  # either end has gone, which the other one is now told
        self._drop(end)

    def _drop(self, end: socket.socket) -> None:
        for one in (end, self._peers.pop(end)):
            self._peers.pop(one, None)
            self._selector.unregister(one)
            one.close()

    def _drop_all(self) -> None:
        while self._peers:
            self._drop(next(iter(self._peers)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._listening.close()
