"""The dashboard's web application: a page, its live line, and what monitoring asks for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Response, WebSocket
from fastapi.responses import RedirectResponse
from fastapi.staticfiles import StaticFiles

from guidance.accounts import KnownAccounts, Role
from guidance.bus.commands import AsyncCommander
from guidance.bus.keys import ClientKeys
from guidance.bus.messages import EarlyPicture, Endpoints
from guidance.bus.subscriber import AsyncSubscriber
from guidance.overlay import look_json
from web import monitoring
from web.access import Access, identify_of
from web.attempts import Attempts
from web.audit import Audit
from web.live import MOST_VIEWERS, TICK_S, Board, Viewer
from web.login import LogIn
from web.monitoring import Monitoring, Part, PartState
from web.orders import OrderDesk, PageOrders
from web.review import Reviewing, review_routes
from web.sessions import Sessions
from web.setup import Pictures, SetupFolders, setup_routes

STATIC = Path(__file__).parent / "static"
NAME = "dashboard"
SYNC_S = 0.25


@dataclass(frozen=True, slots=True)
class Admitted:
    """Who may come and what is noted of it, see ``guidance.admission``.

    ``accounts``: None where everybody on this machine may. ``sessions``: the file that they outlive the process in.
    ``most_viewers``: no more are let in at once, but for operators.
    """

    accounts: KnownAccounts | None = None
    audit_log: Path | None = None
    sessions: Path | None = None
    tls: bool = False
    most_viewers: int = MOST_VIEWERS


EVERYBODY = Admitted()


def create_app(
    endpoints: Endpoints,
    keys: ClientKeys,
    guarded: bool = False,
    admitted: Admitted = EVERYBODY,
    folders: SetupFolders | None = None,
    archive: Path | None = None,
) -> Access:
    """The application on the bus's endpoints behind its door; it owns its subscriber for as long as it lives.

    ``keys``: to command with. ``guarded``: to listen with, too. ``folders``: what the setup page keeps and chooses.
    ``archive``: the cases that can be reviewed. Raises ArchiveError.
    """
    assert endpoints.commands is not None
    commands = endpoints.commands
    audit = Audit(admitted.audit_log)
    accounts = admitted.accounts
    sessions = None if accounts is None else Sessions(accounts, audit, admitted.sessions)
    log_in = LogIn(audit, sessions, admitted.tls, Attempts())
    reviewing = None if archive is None else Reviewing(archive, stays=accounts is None)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with (
            audit,
            closing(log_in),
            AsyncSubscriber(endpoints, NAME, keys if guarded else None, pictures=True) as subscriber,
            AsyncCommander(commands, keys, NAME) as commander,
        ):
            board = Board(subscriber.reception, admitted.most_viewers)
            app.state.board = board
            app.state.monitoring = Monitoring(board, doors)
            app.state.orders = OrderDesk(board, commander, audit)
            app.state.pictures = pictures = Pictures()
            tasks = [
                asyncio.create_task(_hear_messages(subscriber, board, app.state.monitoring)),
                asyncio.create_task(_hear_pictures(subscriber, board, pictures)),
                asyncio.create_task(_tick(board)),
                asyncio.create_task(_keep(audit)),
            ]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                if reviewing is not None:
                    await reviewing.close()

    app = FastAPI(title="fluoroguide", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.audit = audit
    app.state.reviewing = reviewing
    app.include_router(log_in.router)
    app.include_router(monitoring.router)
    app.include_router(review_routes())

    def doors() -> dict[str, Part]:
        """Whether it is noted who did what, and whether it is known who may."""
        kept = PartState.ABSENT if admitted.audit_log is None else PartState.OK
        parts: dict[str, Part] = {
            "audit_log": {"state": PartState.IMPAIRED if audit.fault else kept, "fault": audit.fault}
        }
        if accounts is not None:
            state = PartState.OK if accounts.fault is None else PartState.IMPAIRED
            parts["accounts"] = {
                "state": state,
                "known": "read" if accounts.fault is None else "changed, and cannot be read",
            }
        return parts

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
        who = identify_of(websocket)
        orders = PageOrders(app.state.orders, who)
        present = who()
        is_operator = present is not None and present.role is Role.OPERATOR
        await Viewer(websocket, app.state.board, orders, always=is_operator).serve()

    app.include_router(setup_routes(folders or SetupFolders()))
    app.mount("/", StaticFiles(directory=STATIC, html=True))
    return Access(app, audit, sessions, admitted.tls)


def create_review_app(archive: Path, admitted: Admitted = EVERYBODY) -> Access:
    """The review pages alone, behind the same door: no service is heard, nothing is live. Raises ArchiveError."""
    audit = Audit(admitted.audit_log)
    accounts = admitted.accounts
    sessions = None if accounts is None else Sessions(accounts, audit, admitted.sessions)
    log_in = LogIn(audit, sessions, admitted.tls, Attempts())
    reviewing = Reviewing(archive, stays=accounts is None)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with audit, closing(log_in):
            keeping = asyncio.create_task(_keep(audit))
            try:
                yield
            finally:
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)
                await reviewing.close()

    app = FastAPI(title="fluoroguide", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.audit = audit
    app.state.reviewing = reviewing
    app.include_router(log_in.router)
    app.include_router(review_routes())

    @app.get("/styles.json")
    async def styles() -> dict[str, Any]:
        return look_json()

    @app.get("/healthy")
    async def healthy() -> dict[str, Any]:
        return {"ok": True, "parts": {"archive": {"state": "ok"}}}

    async def to_cases() -> Response:
        return RedirectResponse("/review.html", HTTPStatus.SEE_OTHER)

    for page in ("/", "/index.html", "/setup.html"):
        app.add_api_route(page, to_cases, methods=["GET", "HEAD"])
    app.mount("/", StaticFiles(directory=STATIC))
    return Access(app, audit, sessions, admitted.tls)


async def _hear_messages(subscriber: AsyncSubscriber, board: Board, monitoring: Monitoring) -> None:
    async for message in subscriber.messages():
        board.hear(message)
        monitoring.hear(message)


async def _hear_pictures(subscriber: AsyncSubscriber, board: Board, pictures: Pictures) -> None:
    async for picture in subscriber.newest_pictures():
        if isinstance(picture, EarlyPicture):
            board.hear_early(picture)
        else:
            board.hear_picture(picture)
            pictures.hear(picture)


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
