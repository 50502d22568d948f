"""What pages order: checked against who orders, handed on to the service one at a time, noted, answered."""

import asyncio
import json
from collections.abc import Callable

from pydantic import TypeAdapter, ValidationError

from guidance.accounts import Role
from guidance.bus.commands import AsyncCommander
from guidance.bus.messages import Command
from guidance.bus.publisher import BusError
from web.audit import Audit, Who
from web.live import Board

_COMMAND: TypeAdapter[Command] = TypeAdapter(Command)

SEES_ONLY = "this log-in may see and not order: log in as an operator"
LOGGED_OUT = "logged out"


class OrderDesk:
    """Hands orders on, whoever gives them. Belongs to one event loop."""

    def __init__(self, board: Board, commander: AsyncCommander, audit: Audit) -> None:
        self._board = board
        self._commander = commander
        self._audit = audit
        self._turn = asyncio.Lock()

    async def give(self, who: Who, command: Command, case: str | None = None) -> str | None:
        """Why the order was not obeyed; None where it was. Noted before that is known to anybody.

        ``case``: the one that it is meant for, where who gives it knows; else the present one.
        """
        error = await self._give(who, command, case)
        order = command.model_dump(mode="json")
        self._audit.note(who, "order", order=order, case=case or self._board.case, error=error)
        return error

    async def _give(self, who: Who, command: Command, case: str | None) -> str | None:
        if who.role is not Role.OPERATOR:
            return SEES_ONLY
        if self._board.case is None:
            return "no case has begun"
        try:
            async with self._turn:
                await self._commander.order(case or self._board.case, command, by=who.name)
        except BusError as error:
            return str(error)
        return None


class PageOrders:
    """The orders of one page. ``who``: whose page it is at this moment, None once that has logged out."""

    def __init__(self, desk: OrderDesk, who: Callable[[], Who | None]) -> None:
        self._desk = desk
        self._who = who

    async def answer(self, words: str) -> str:
        """The answer to what the page said, as JSON: ``{"error": null}`` where it was obeyed."""
        return json.dumps({"error": await self._error(words)})

    async def _error(self, words: str) -> str | None:
        who = self._who()
        if who is None:
            return LOGGED_OUT
        try:
            command = _COMMAND.validate_json(words)
        except ValidationError:
            return "the page gave an order that is none"
        return await self._desk.give(who, command)
