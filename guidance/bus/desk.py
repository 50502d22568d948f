"""Where subscribers and operators turn to: snapshots, names and orders, on two ROUTER sockets that no alert waits for.

Whatever comes in that is not a call or an order of the schema, is too long, has been said before, or comes from
somebody unknown, is refused and counted; nothing that comes in can end the desk.
"""

import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress

import zmq
from zmq.utils import z85

from guidance.bus.keys import ServiceKeys
from guidance.bus.messages import (
    LONGEST_CALL_BYTES,
    Answer,
    MessageError,
    Order,
    read_call,
    read_order,
)
from guidance.bus.publisher import Bound

ANSWERS_KEPT = 64
"""For each peer that asks and does not read."""

LONGEST_WIRE_BYTES = 1024 * 1024
"""Of a part that is longer the transport cuts the connection before it is in memory."""

MOST_PARTS = 4
ORDERS_REMEMBERED = 4096
ORDERS_WAITING = 64
NAMES_KEPT = 64
FORGET_S = 3600.0
"""Who has been gone for so long has left for good."""

ORDER_S = 2.0
"""An order that has not been obeyed by then is answered as such; it may still be."""

POLL_MS = 20
ZAP = "inproc://zeromq.zap.01"

Obey = Callable[[Order], "Future[str | None]"]
"""Hands an order to whoever obeys it, which comes to None, or to why it was not obeyed."""


class CallSocket(Bound):
    """A ROUTER socket that takes only short messages."""

    KIND = zmq.ROUTER

    def _prepare(self) -> None:
        self.socket.setsockopt(zmq.MAXMSGSIZE, LONGEST_WIRE_BYTES)
        self.socket.setsockopt(zmq.RCVHWM, ANSWERS_KEPT)
        # A stranger may take the identity of one who has gone, never of one who is there.
        self.socket.setsockopt(zmq.ROUTER_HANDOVER, 0)


class Gate:
    """Lets in whose key is known, on every socket of its context that has keys (ZeroMQ's RFC 27).

    Make it before those sockets: without it ZeroMQ lets everybody in.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keys: ServiceKeys) -> None:
        self._clients = dict(keys.clients)
        self.socket = context.socket(zmq.REP)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(ZAP)
        self.refused = 0

    def answer(self) -> None:
        """Answer one request to be let in."""
        version, request, _domain, _address, _identity, mechanism, *credentials = self.socket.recv_multipart()
        name = None
        if version == b"1.0" and mechanism == b"CURVE" and len(credentials) == 1:
            name = self._clients.get(z85.encode(credentials[0]))
        status, words = (b"200", b"OK") if name is not None else (b"400", b"unknown key")
        self.refused += name is None
        self.socket.send_multipart([b"1.0", request, status, words, (name or "").encode(), b""])

    def close(self) -> None:
        self.socket.close()


class Desk:
    """Answers on both sockets; belongs to the thread that calls ``serve``, except for its counts.

    ``present``: gives the snapshot to answer with, None while there is none. ``obey``: see ``Obey``. ``others``: the
    service's other sockets, of which it counts who was turned away.
    """

    def __init__(
        self,
        snapshots: CallSocket,
        commands: CallSocket,
        gate: Gate,
        present: Callable[[], bytes | None],
        obey: Obey,
        others: Sequence[Bound] = (),
    ) -> None:
        self._doors = [bound.turned_away for bound in (snapshots, commands, *others)]
        self._snapshots = snapshots
        self._commands = commands
        self._gate = gate
        self._present = present
        self._obey = obey
        self._heard_s: dict[str, float] = {}
        self._said: OrderedDict[str, None] = OrderedDict()
        self._waiting: deque[tuple[list[bytes], str, Future[str | None], float]] = deque()
        self._counts: Counter[str] = Counter()
        self._poller = zmq.Poller()
        for socket in (snapshots.socket, commands.socket, gate.socket, *self._doors):
            self._poller.register(socket, zmq.POLLIN)

    @property
    def refused(self) -> dict[str, int]:
        """How much was refused since the start, by why. May be read from any thread."""
        return dict(self._counts) | {"unknown key": self._gate.refused}

    def silent_s(self) -> tuple[tuple[str, float], ...]:
        """For each subscriber that gave its name, how long ago it was heard. May be called from any thread."""
        now = time.monotonic()
        heard = sorted(self._heard_s.copy().items())
        return tuple((name, now - heard_s) for name, heard_s in heard if now - heard_s < FORGET_S)

    def serve(self, timeout_ms: int = POLL_MS) -> None:
        """Answer what has come, and wait so long for something to come."""
        for socket, _ in self._poller.poll(timeout_ms):
            if socket is self._gate.socket:
                self._gate.answer()
            elif socket is self._snapshots.socket:
                self._take(self._snapshots.socket, self._answer_call)
            elif socket is self._commands.socket:
                self._take(self._commands.socket, self._take_order)
            else:
                socket.recv_multipart()
                self._counts["no handshake"] += 1
        self._answer_orders()

    def _take(self, socket: zmq.Socket[bytes], answer: Callable[[bytes, bytes, str], None]) -> None:
        """One message, whatever it is."""
        kept: list[bytes] = []
        parts = 0
        who = ""
        while True:
            frame = socket.recv(copy=False)
            parts += 1
            if parts <= MOST_PARTS:
                kept.append(frame.bytes)
            with suppress(zmq.ZMQError):  # no key was asked for on this socket
                who = str(frame.get("User-Id"))
            if not frame.more:
                break
        # A REQ socket puts an empty part before its own.
        if len(kept) == 3 and kept[1] == b"":
            del kept[1]
        if parts > MOST_PARTS or len(kept) != 2:
            self._counts["parts"] += 1
        elif len(kept[1]) > LONGEST_CALL_BYTES:
            self._counts["too long"] += 1
        else:
            answer(kept[0], kept[1], who)

    def _answer_call(self, peer: bytes, data: bytes, who: str) -> None:
        try:
            call = read_call(data)
        except MessageError:
            self._counts["malformed"] += 1
            return
        if call.name is not None and call.call == "leaving":
            self._heard_s.pop(call.name, None)
        elif call.name is not None:
            now = time.monotonic()
            self._heard_s = {name: at_s for name, at_s in self._heard_s.items() if now - at_s < FORGET_S}
            if call.name in self._heard_s or len(self._heard_s) < NAMES_KEPT:
                self._heard_s[call.name] = now
            else:
                self._counts["too many names"] += 1
        present = self._present() if call.call == "snapshot" else None
        if present is not None:
            self._send(self._snapshots.socket, [peer, present])

    def _take_order(self, peer: bytes, data: bytes, who: str) -> None:
        try:
            order = read_order(data)
        except MessageError as error:
            self._counts["malformed"] += 1
            self._send(self._commands.socket, [peer, Answer(id=None, ok=False, error=str(error)).to_bytes()])
            return
        if order.id in self._said:
            self._counts["said before"] += 1
            self._refuse(peer, order, "said before; expected a new id for each order")
            return
        self._said[order.id] = None
        if len(self._said) > ORDERS_REMEMBERED:
            self._said.popitem(last=False)
        if len(self._waiting) >= ORDERS_WAITING:
            self._counts["too many orders"] += 1
            self._refuse(peer, order, f"{ORDERS_WAITING} orders wait already; expected fewer")
            return
        named = order.model_copy(update={"by": f"{order.by} ({who})"})
        self._waiting.append(([peer], order.id, self._obey(named), time.monotonic() + ORDER_S))

    def _refuse(self, peer: bytes, order: Order, why: str) -> None:
        self._send(self._commands.socket, [peer, Answer(id=order.id, ok=False, error=why).to_bytes()])

    def _answer_orders(self) -> None:
        while self._waiting:
            peer, order_id, obeyed, due_s = self._waiting[0]
            if obeyed.done():
                error = obeyed.result()
            elif time.monotonic() > due_s:
                # What nobody has begun with will not be obeyed later, when it may mean something else.
                later = "" if obeyed.cancel() else "; it may still be"
                error = f"not obeyed within {ORDER_S:g} s{later}"
            else:
                return
            self._waiting.popleft()
            answer = Answer(id=order_id, ok=error is None, error=error)
            self._send(self._commands.socket, [*peer, answer.to_bytes()])

    def _send(self, socket: zmq.Socket[bytes], parts: list[bytes]) -> None:
        """To a peer that does not read its answers nothing is said any more."""
        try:
            socket.send_multipart(parts, zmq.DONTWAIT)
        except zmq.ZMQError:
            self._counts["unread answers"] += 1
