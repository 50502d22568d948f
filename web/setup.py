"""What the setup page asks for and orders: pictures to draw on, plans kept and used, the x-ray field corrected.

Whatever is refused is refused in one sentence, ``{"error": "…"}``. Who may ask at all is decided before it comes here.
"""

import asyncio
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from guidance.bus.messages import ChooseSource, FrameMessage, NextPatient, PinField, UsePlan
from guidance.casebook.plans import PlansFolder, plan_text
from guidance.drawing import faults
from guidance.plan import PlanError, PlanFile, check_zones_inside
from guidance.records import FrameState
from guidance.settings import ClinicalLimits
from web.access import identify_of
from web.answers import Answering, Refused, asked
from web.live import Board
from web.orders import LOGGED_OUT, OrderDesk
from web.sources import NoPreviewError, offers_json, preview, same_device

VIEWS_KEPT = 8
"""Of so many views the last picture is kept: a case has two, and some more where references were taken anew."""


class Pictures:
    """Pictures of the present case that can be drawn on: the newest, and the last good one of each view."""

    def __init__(self) -> None:
        self._newest: FrameMessage | None = None
        self._of_view: dict[int, FrameMessage] = {}

    def hear(self, picture: FrameMessage) -> None:
        """Keep a picture; another case's are forgotten."""
        if self._newest is not None and self._newest.header.case != picture.header.case:
            self._newest = None
            self._of_view.clear()
        if not picture.jpeg:
            return
        self._newest = picture
        seen = picture.header.findings
        if seen.state is FrameState.LIVE and seen.registration is not None and seen.registration.ok:
            self._of_view.pop(seen.view_id, None)
            self._of_view[seen.view_id] = picture
            if len(self._of_view) > VIEWS_KEPT:
                del self._of_view[next(iter(self._of_view))]

    def listed(self) -> list[dict[str, Any]]:
        """What there is, the latest view first."""
        return [
            {"view_id": view_id, "view": picture.header.findings.view, "t_s": picture.header.picture_t_s}
            for view_id, picture in reversed(self._of_view.items())
        ]

    def packed(self, which: str) -> bytes:
        """``newest`` or a view's number: the length of a JSON header (uint32, little-endian), the header, a JPEG."""
        picture = self._newest if which == "newest" else self._of_view.get(int(which) if which.isdecimal() else -1)
        if picture is None:
            raise Refused("There is no such picture now; wait for a live one.", 404)
        head = picture.header
        header = {
            "case": head.case,
            "pulse": head.findings.pulse,
            "t_s": head.picture_t_s,
            "findings": head.findings.model_dump(mode="json", exclude={"nerve_roots", "cement"}),
        }
        text = json.dumps(header, separators=(",", ":")).encode()
        return len(text).to_bytes(4, "little") + text + picture.jpeg


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Use(_Asked):
    """``case``: the one whose pictures were drawn on."""

    case: str
    order: UsePlan


class _Pin(_Asked):
    case: str
    order: PinField


class _SetupAnswers(Answering):
    refusals = (PlanError,)


class _Source(_Asked):
    source: str


class _Choose(_Asked):
    case: str
    order: ChooseSource


class _Next(_Asked):
    case: str
    order: NextPatient


@dataclass(frozen=True, slots=True)
class SetupFolders:
    """``plans`` None: none are kept. ``recordings``: to choose from. ``source``: what the service began with."""

    plans: PlansFolder | None = None
    recordings: Path | None = None
    source: str | None = None


def setup_routes(folders: SetupFolders) -> APIRouter:
    """Everything below ``/setup``."""
    routes = APIRouter(prefix="/setup", route_class=_SetupAnswers)

    def folder() -> PlansFolder:
        if folders.plans is None:
            raise Refused("This service keeps no plans; start it with --plans DIR.", 404)
        return folders.plans

    previewing = asyncio.Lock()

    async def offered(request: Request, spec: str) -> None:
        listed = await asyncio.to_thread(offers_json, folders.recordings)
        if spec not in {offer["spec"] for offer in listed}:
            raise Refused("There is no such source now; expected one of the list.", 404)

    @routes.get("/limits")
    async def limits() -> list[dict[str, Any]]:
        return limits_json()

    @routes.get("/pictures")
    async def pictures(request: Request) -> list[dict[str, Any]]:
        return _pictures(request).listed()

    @routes.get("/pictures/{which}")
    async def picture(request: Request, which: str) -> Response:
        return Response(_pictures(request).packed(which), media_type="application/octet-stream")

    @routes.get("/plans")
    async def kept() -> list[dict[str, Any]]:
        listed = await asyncio.to_thread(folder().newest_first)
        return [asdict(plan) | {"saved_at": plan.saved_at.isoformat()} for plan in listed]

    @routes.get("/plans/{name}")
    async def read(name: str) -> Response:
        return Response(plan_text(await asyncio.to_thread(folder().read, name)), media_type="application/json")

    @routes.post("/checked")
    async def checked(request: Request) -> Response:
        return Response(plan_text(await asked(request, PlanFile)), media_type="application/json")

    @routes.put("/plans/{name}")
    async def save(request: Request, name: str, replace: bool = False) -> dict[str, Any]:
        plan = await asked(request, PlanFile)
        check_plan(plan)
        await asyncio.to_thread(_save, folder(), name, plan, replace)
        return {"name": name, "version": plan.version}

    @routes.post("/use")
    async def use(request: Request) -> dict[str, Any]:
        said = await asked(request, _Use)
        await _order(request, said.case, said.order)
        return {"version": said.order.plan.version}

    @routes.post("/field")
    async def field(request: Request) -> dict[str, Any]:
        said = await asked(request, _Pin)
        await _order(request, said.case, said.order)
        return {}

    @routes.get("/sources")
    async def sources(request: Request) -> list[dict[str, Any]]:
        listed = await asyncio.to_thread(offers_json, folders.recordings)
        now = _present_source(request, folders)
        return [offer | {"in_use": same_device(offer["spec"], now)} for offer in listed]

    @routes.post("/preview")
    async def shown(request: Request) -> Response:
        said = await asked(request, _Source)
        await offered(request, said.source)
        if same_device(said.source, _present_source(request, folders)):
            raise Refused("That is the source in use: it is the live picture, and its input cannot be tried now.", 409)
        if previewing.locked():
            raise Refused("Another preview is being made; try again in a moment.", 409)
        async with previewing:
            try:
                return Response(await preview(said.source), media_type="image/jpeg")
            except NoPreviewError as error:
                raise Refused(str(error)) from error

    @routes.post("/source")
    async def choose(request: Request) -> dict[str, Any]:
        said = await asked(request, _Choose)
        await offered(request, said.order.source)
        await _order(request, said.case, said.order)
        return {}

    @routes.post("/next-patient")
    async def next_patient(request: Request) -> dict[str, Any]:
        said = await asked(request, _Next)
        await _order(request, said.case, said.order)
        return {}

    return routes


def check_plan(plan: PlanFile) -> None:
    """Raise PlanError where a plan cannot be used as it is drawn."""
    record = plan.record()
    if plan.picture_px is None:
        raise PlanError("picture_px is missing; expected the size of the pictures that the zones are drawn on")
    width_px, height_px = plan.picture_px
    check_zones_inside(record, width_px, height_px, "plan")
    for fault in faults(record.zones, width_px, height_px):
        if fault.is_error:
            raise PlanError(fault.text)


def limits_json() -> list[dict[str, Any]]:
    """Each threshold that a plan may have of its own: name, unit, what it is for, default and bounds."""
    properties = ClinicalLimits.model_json_schema()["properties"]
    return [
        {
            "name": name,
            "unit": words["description"].split(" ", 1)[0],
            "about": words["description"].split(" ", 1)[1],
            "default": words["default"],
            "least": words["minimum"],
            "most": words["maximum"],
        }
        for name, words in properties.items()
    ]


def _save(folder: PlansFolder, name: str, plan: PlanFile, replace: bool) -> None:
    if not replace and any(kept.name == name for kept in folder.newest_first()):
        raise Refused(f"There is a plan “{name}” already; choose another name, or replace it.", 409)
    folder.save(name, plan)


def _pictures(request: Request) -> Pictures:
    found: Pictures = request.app.state.pictures
    return found


def _present_source(request: Request, folders: SetupFolders) -> str | None:
    board: Board = request.app.state.board
    health = board.reception.health
    return folders.source if health is None or health.source_spec is None else health.source_spec


async def _order(request: Request, case: str, command: UsePlan | PinField | ChooseSource | NextPatient) -> None:
    board: Board = request.app.state.board
    desk: OrderDesk = request.app.state.orders
    who = identify_of(request)()
    if case != board.case:
        raise Refused("A new case has begun since that picture was taken; freeze a picture of this one.", 409)
    error = LOGGED_OUT if who is None else await desk.give(who, command, case)
    if error is not None:
        raise Refused(error)
