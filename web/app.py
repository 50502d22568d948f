"""The dashboard's web application: a page, its live line, and what monitoring asks for."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.staticfiles import StaticFiles

from guidance.bus.commands import AsyncCommander
from guidance.bus.keys import ClientKeys
from guidance.bus.messages import Endpoints
from guidance.bus.subscriber import AsyncSubscriber
from guidance.overlay import look_json
from web import monitoring
from web.live import MOST_VIEWERS, TICK_S, Board, PageOrders, Viewer, is_of_this_machine, same_origin
from web.monitoring import Monitoring

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


def create_app(
    endpoints: Endpoints,
    keys: ClientKeys,
    guarded: bool = False,
    remote_orders: bool = False,
    most_viewers: int = MOST_VIEWERS,
) -> FastAPI:
    """The application on the bus's endpoints; it owns its subscriber for as long as it lives.

    ``keys``: to command with. ``guarded``: to listen with, too. ``remote_orders``: pages that were opened on other
    machines may give orders. ``most_viewers``: no more are let in at once, but for pages that may give orders.
    """
    assert endpoints.commands is not None
    commands = endpoints.commands

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with (
            AsyncSubscriber(endpoints, NAME, keys if guarded else None, pictures=True) as subscriber,
            AsyncCommander(commands, keys, NAME) as commander,
        ):
            board = Board(subscriber.reception, most_viewers)
            app.state.board = board
            app.state.monitoring = Monitoring(board)
            app.state.orders = PageOrders(board, commander)
            tasks = [
                asyncio.create_task(_hear_messages(subscriber, board, app.state.monitoring)),
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
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    app.include_router(monitoring.router)

    @app.get("/styles.json")
    async def styles() -> dict[str, Any]:
        return look_json()

    @app.websocket("/live")
    async def live(websocket: WebSocket) -> None:
        if same_origin(websocket):
            orders = app.state.orders if remote_orders or is_of_this_machine(websocket) else None
            await Viewer(websocket, app.state.board, orders, always=orders is not None).serve()
        else:
            await websocket.close(1008)

    app.mount("/", StaticFiles(directory=STATIC, html=True))
    return app


async def _hear_messages(subscriber: AsyncSubscriber, board: Board, monitoring: Monitoring) -> None:
    async for message in subscriber.messages():
        board.hear(message)
        monitoring.hear(message)


async def _hear_pictures(subscriber: AsyncSubscriber, board: Board) -> None:
    async for picture in subscriber.newest_frames():
        board.hear_picture(picture)


async def _tick(board: Board) -> None:
    while True:
        await asyncio.sleep(TICK_S)
        board.wake()
