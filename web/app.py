"""The dashboard's web application: a page, its live line, and an honest word on its own health."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles

from guidance.bus.commands import AsyncCommander
from guidance.bus.keys import ClientKeys
from guidance.bus.messages import Endpoints
from guidance.bus.subscriber import AsyncSubscriber
from guidance.overlay import look_json
from web.live import TICK_S, Board, PageOrders, Viewer, is_of_this_machine, same_origin

STATIC = Path(__file__).parent / "static"
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # A page that is older than the service must not be shown.
    "Cache-Control": "no-cache",
}

NAME = "dashboard"


def create_app(endpoints: Endpoints, keys: ClientKeys, guarded: bool = False, remote_orders: bool = False) -> FastAPI:
    """The application on the bus's endpoints; it owns its subscriber for as long as it lives.

    ``keys``: to command with. ``guarded``: to listen with, too. ``remote_orders``: pages that were opened on other
    machines may give orders.
    """
    assert endpoints.commands is not None
    commands = endpoints.commands

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with (
            AsyncSubscriber(endpoints, NAME, keys if guarded else None, pictures=True) as subscriber,
            AsyncCommander(commands, keys, NAME) as commander,
        ):
            board = Board(subscriber.reception)
            app.state.board = board
            app.state.orders = PageOrders(board, commander)
            tasks = [
                asyncio.create_task(_hear_messages(subscriber, board)),
                asyncio.create_task(_hear_pictures(subscriber, board)),
                asyncio.create_task(_tick(board)),
            ]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    app = FastAPI(title="fluoroguide", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @app.middleware("http")
    async def with_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        response.headers.update(HEADERS)
        return response

    @app.get("/healthy")
    async def healthy() -> JSONResponse:
        state = _health(app.state.board)
        return JSONResponse(state, status_code=200 if state["ok"] else 503)

    @app.get("/styles.json")
    async def styles() -> dict[str, Any]:
        return look_json()

    @app.get("/other-view")
    async def other_view() -> Response:
        stored = app.state.board.other_view()
        return Response(stored, 200 if stored is not None else 404, media_type="application/octet-stream")

    @app.get("/trends.json")
    async def trends() -> dict[str, Any]:
        return dict(app.state.board.trends.as_json())

    @app.websocket("/live")
    async def live(websocket: WebSocket) -> None:
        if same_origin(websocket):
            orders = app.state.orders if remote_orders or is_of_this_machine(websocket) else None
            await Viewer(websocket, app.state.board, orders).serve()
        else:
            await websocket.close(1008)

    app.mount("/", StaticFiles(directory=STATIC, html=True))
    return app


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


async def _tick(board: Board) -> None:
    while True:
        await asyncio.sleep(TICK_S)
        board.wake()
