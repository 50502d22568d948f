"""The dashboard's web application: a page, its live line, and an honest word on its own health."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles

from guidance.bus.messages import MessageError
from guidance.bus.subscriber import AsyncSubscriber
from guidance.overlay import look_json
from web.live import TICK_S, Board, Viewer, same_origin

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

log = logging.getLogger(__name__)


def create_app(bus: str, frames: str) -> FastAPI:
    """The application on the bus's two endpoints; it owns its subscriber for as long as it lives."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with AsyncSubscriber(bus, frames) as subscriber:
            board = Board(subscriber.hearing)
            app.state.board = board
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
    async def guarded(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
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

    @app.websocket("/live")
    async def live(websocket: WebSocket) -> None:
        if same_origin(websocket):
            await Viewer(websocket, app.state.board).serve()
        else:
            await websocket.close(1008)

    app.mount("/", StaticFiles(directory=STATIC, html=True))
    return app


def _health(board: Board) -> dict[str, Any]:
    age_s = board.picture_age_s()
    return {
        "ok": not board.hearing.deaf,
        "bus": "deaf" if board.hearing.deaf else "heard",
        "messages_lost": board.hearing.lost,
        "source_state": None if board.health is None else board.health.state.value,
        "picture_age_ms": None if board.picture is None else round(1000 * age_s),
        "viewers": len(board.viewers),
    }


async def _hear_messages(subscriber: AsyncSubscriber, board: Board) -> None:
    while True:
        try:
            async for message in subscriber.messages():
                board.hear(message)
        except MessageError as error:
            # One bad message must not blind the dashboard to the next good one.
            log.warning("%s", error)


async def _hear_pictures(subscriber: AsyncSubscriber, board: Board) -> None:
    while True:
        try:
            async for picture in subscriber.newest_frames():
                board.hear_picture(picture)
        except MessageError as error:
            log.warning("%s", error)


async def _tick(board: Board) -> None:
    while True:
        await asyncio.sleep(TICK_S)
        board.wake()
