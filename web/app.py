"""The dashboard's web application: a page, its live line, and an honest word on its own health."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI, WebSocket
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles

from guidance.accounts import KnownAccounts
from guidance.bus.commands import AsyncCommander
from guidance.bus.keys import ClientKeys
from guidance.bus.messages import Endpoints
from guidance.bus.subscriber import AsyncSubscriber
from guidance.overlay import look_json
from web.access import Access, identify_of
from web.attempts import Attempts
from web.audit import Audit
from web.live import TICK_S, Board, Viewer
from web.login import LogIn
from web.orders import OrderDesk, PageOrders
from web.sessions import Sessions

STATIC = Path(__file__).parent / "static"
NAME = "dashboard"
SYNC_S = 0.25


@dataclass(frozen=True, slots=True)
class Admitted:
    """Who may come and what is noted of it, see ``guidance.admission``.

    ``accounts``: None where everybody on this machine may. ``sessions``: the file that they outlive the process in.
    """

    accounts: KnownAccounts | None = None
    audit_log: Path | None = None
    sessions: Path | None = None
    tls: bool = False


EVERYBODY = Admitted()


def create_app(endpoints: Endpoints, keys: ClientKeys, guarded: bool = False, admitted: Admitted = EVERYBODY) -> Access:
    """The application on the bus's endpoints behind its door; it owns its subscriber for as long as it lives.

    ``keys``: to command with. ``guarded``: to listen with, too.
    """
    assert endpoints.commands is not None
    commands = endpoints.commands
    audit = Audit(admitted.audit_log)
    accounts = admitted.accounts
    sessions = None if accounts is None else Sessions(accounts, audit, admitted.sessions)
    log_in = LogIn(audit, sessions, admitted.tls, Attempts())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with (
            audit,
            closing(log_in),
            AsyncSubscriber(endpoints, NAME, keys if guarded else None, pictures=True) as subscriber,
            AsyncCommander(commands, keys, NAME) as commander,
        ):
            board = Board(subscriber.reception)
            app.state.board = board
            app.state.orders = OrderDesk(board, commander, audit)
            tasks = [
                asyncio.create_task(_hear_messages(subscriber, board)),
                asyncio.create_task(_hear_pictures(subscriber, board)),
                asyncio.create_task(_tick(board)),
                asyncio.create_task(_keep(audit)),
            ]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    app = FastAPI(title="fluoroguide", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.audit = audit
    app.include_router(log_in.router)

    @app.get("/healthy")
    async def healthy() -> JSONResponse:
        kept = "kept" if admitted.audit_log is not None else "not kept"
        state = _health(app.state.board) | {"audit_log": audit.fault or kept}
        if accounts is not None:
            state["accounts"] = "read" if accounts.fault is None else "changed, and cannot be read"
        return JSONResponse(state, status_code=200 if state["ok"] else 503)

    @app.get("/styles.json")
    async def styles() -> dict[str, Any]:
        return look_json()

    @app.websocket("/live")
    async def live(websocket: WebSocket) -> None:
        orders = PageOrders(app.state.orders, identify_of(websocket))
        await Viewer(websocket, app.state.board, orders).serve()

    app.mount("/", StaticFiles(directory=STATIC, html=True))
    return Access(app, audit, sessions, admitted.tls)


def _health(board: Board) -> dict[str, Any]:
    age_s = board.picture_age_s()
    return {
        "ok": not board.reception.deaf,
        "bus": "deaf" if board.reception.deaf else "heard",
        "messages_lost": board.reception.lost,
        "messages_refused": board.reception.refused,
        "source_state": None if board.reception.health is None else board.reception.health.state.value,
        "picture_age_ms": None if board.picture is None else round(1000 * age_s),
        "viewers": len(board.viewers),
    }


async def _hear_messages(subscriber: AsyncSubscriber, board: Board) -> None:
    async for message in subscriber.messages():
        board.hear(message)


async def _hear_pictures(subscriber: AsyncSubscriber, board: Board) -> None:
    async for picture in subscriber.newest_frames():
        board.hear_picture(picture)


async def _keep(audit: Audit) -> None:
    """The audit log reaches the disk, also what could not be written at first."""
    while True:
        await asyncio.sleep(SYNC_S)
        audit.retry()
        await asyncio.to_thread(audit.sync)


async def _tick(board: Board) -> None:
    while True:
        await asyncio.sleep(TICK_S)
        board.wake()
