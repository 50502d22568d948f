"""Orders to the service, each with its answer, over a socket that lets in known keys only.

with Commander(endpoints.commands, client_keys(local_folder("5570")), by="Dr. Ito") as desk:
    desk.order(bus.reception.case, Acknowledge(alert=3))
"""

import contextlib
import time
import uuid
from types import TracebackType
from typing import Generic, Self, TypeVar

import zmq
import zmq.asyncio

from guidance.bus.keys import ClientKeys
from guidance.bus.messages import Answer, Command, MessageError, Order, read_answer
from guidance.bus.publisher import BusError

ANSWER_S = 3.0
"""An answer that has not come by then is not coming: the service is gone, or does not know the key."""

AnySocket = TypeVar("AnySocket", zmq.Socket[bytes], zmq.asyncio.Socket)


class _Commanding(Generic[AnySocket]):
    def __init__(self, context: zmq.Context[AnySocket], endpoint: str, keys: ClientKeys, by: str) -> None:
        self._context: zmq.Context[AnySocket] = context
        self._endpoint = endpoint
        self._by = by
        self._socket: AnySocket = context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        # An order that cannot be sent now is not sent later, when it may mean something else.
        self._socket.setsockopt(zmq.IMMEDIATE, 1)
        self._socket.setsockopt(zmq.SNDTIMEO, round(1000 * ANSWER_S))
        self._socket.setsockopt(zmq.CURVE_SERVERKEY, keys.service)
        self._socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.public)
        self._socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
        try:
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            context.destroy(linger=0)
            raise BusError(f"{endpoint}: not an endpoint ({error.strerror}); expected tcp://HOST:PORT") from error

    def close(self) -> None:
        """May be called twice."""
        self._context.destroy(linger=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _order(self, case: str, command: Command, by: str | None) -> Order:
        return Order(id=uuid.uuid4().hex, case=case, by=by or self._by, command=command)

    def _answers(self, order: Order, parts: list[bytes]) -> Answer | None:
        """The answer to this order, None where it is to another one. Raises BusError where it was not obeyed."""
        try:
            answer = read_answer(parts[-1])
        except MessageError as error:
            raise BusError(str(error)) from error
        if answer.id not in (order.id, None):
            return None
        if not answer.ok:
            raise BusError(f"not obeyed: {answer.error}")
        return answer

    def _no_answer(self) -> BusError:
        return BusError(f"{self._endpoint}: no answer within {ANSWER_S:g} s; is the service running, is the key known?")


class Commander(_Commanding[zmq.Socket[bytes]]):
    """Gives orders from a plain loop. ``by``: who gives them, for the log."""

    def __init__(self, endpoint: str, keys: ClientKeys, by: str) -> None:
        super().__init__(zmq.Context(), endpoint, keys, by)

    def order(self, case: str, command: Command, by: str | None = None) -> Answer:
        """The answer. ``case``: the one that it is meant for. Raises BusError where none comes, or it is not obeyed."""
        order = self._order(case, command, by)
        deadline_s = time.monotonic() + ANSWER_S
        with contextlib.suppress(zmq.Again):
            self._socket.send(order.to_bytes())
            while self._socket.poll(max(0, round(1000 * (deadline_s - time.monotonic())))):
                answer = self._answers(order, self._socket.recv_multipart())
                if answer is not None:
                    return answer
        raise self._no_answer()


class AsyncCommander(_Commanding[zmq.asyncio.Socket]):
    """Gives orders from an asyncio loop; otherwise as Commander. One order at a time."""

    def __init__(self, endpoint: str, keys: ClientKeys, by: str) -> None:
        super().__init__(zmq.asyncio.Context(), endpoint, keys, by)

    async def order(self, case: str, command: Command, by: str | None = None) -> Answer:
        """The answer. ``case``: the one that it is meant for. Raises BusError where none comes, or it is not obeyed."""
        order = self._order(case, command, by)
        deadline_s = time.monotonic() + ANSWER_S
        with contextlib.suppress(zmq.Again):
            await self._socket.send(order.to_bytes())
            while await self._socket.poll(max(0, round(1000 * (deadline_s - time.monotonic())))):
                answer = self._answers(order, await self._socket.recv_multipart())
                if answer is not None:
                    return answer
        raise self._no_answer()
