"""What the review pages ask for: cases, their pictures and what was found, and what people say of the alerts.

All of it is below ``/review``. Pictures have their frame's number in their address and never change. Whatever is
refused is refused in one sentence, ``{"error": "…"}``. Seeing needs a viewer, whatever is not a GET an operator:
``web.access`` sees to that before it comes here.
"""

import asyncio
import gc
import json
import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

import guidance
from drivers.frame import FrameFlag
from guidance.casebook.archive import Archive, ArchivedCase, ArchiveError, CaseEntry, CaseState
from guidance.casebook.course import course_json
from guidance.casebook.judgements import JudgementError, Said, judge, judgements, standing
from guidance.casebook.recompute import Recomputed, RecomputeError, forget, progress_of
from guidance.casebook.shown import active_at, drawn
from guidance.encoded import gray_jpeg, gray_png
from guidance.handon import HandOnError
from guidance.records import TECHNICAL, AlertKind
from guidance.review import labels_of
from web.access import identify_of
from web.answers import Answering, Refused, asked
from web.orders import LOGGED_OUT

OPEN_CASES = 3
"""So many are kept open: somebody compares two, and somebody else looks at a third."""

FOREVER = "private, max-age=31536000, immutable"
KEPT_NOWHERE = "no-store"

Result = TypeVar("Result")
Encode = Callable[[Any], bytes]

ENCODERS: dict[str, tuple[str, Encode]] = {"jpg": ("image/jpeg", gray_jpeg), "png": ("image/png", gray_png)}


@dataclass(slots=True, eq=False)
class _Opened:
    """A case that is open. One thread at a time: ``lock``."""

    case: ArchivedCase
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    recomputed: Recomputed | None = None
    damaged: set[int] = field(default_factory=set)
    """Frames that were asked for and are not what was recorded."""


class Reviewing:
    """The archive as the pages see it: a few cases open at a time, one being analysed anew. Belongs to one loop.

    ``stays``: pictures may stay in the browser's store; not where people log in, who log out again. Raises
    ArchiveError.
    """

    def __init__(self, archive: Path, stays: bool = True) -> None:
        self.archive = Archive(archive)
        self.cache = FOREVER if stays else KEPT_NOWHERE
        self._open: OrderedDict[str, _Opened] = OrderedDict()
        self._reading = asyncio.Lock()
        self._recomputing: asyncio.subprocess.Process | None = None

    async def with_case(self, case_id: str, use: Callable[[_Opened], Result]) -> Result:
        """What ``use`` makes of the case, in a thread of its own. Raises ArchiveError."""
        while True:
            opened = await self._opened(case_id)
            async with opened.lock:
                if self._open.get(case_id) is opened:  # it was not closed while this waited
                    return await asyncio.to_thread(use, opened)

    async def forget(self, case_id: str) -> None:
        """Forget what was read of a case that has changed."""
        await self._close(self._open.pop(case_id, None))

    async def forget_unended(self, case_id: str) -> None:
        """Forget what was read of a case that was being recorded, and may have grown or ended since."""
        if case_id in self._open and self._open[case_id].case.header.ended is None:
            await self.forget(case_id)

    async def _opened(self, case_id: str) -> _Opened:
        # The page asks for several things of a case at once: it is read for the first of them.
        async with self._reading:
            if case_id not in self._open:
                self._open[case_id] = _Opened(await asyncio.to_thread(_read, self.archive, case_id))
        self._open.move_to_end(case_id)
        opened = self._open[case_id]
        while len(self._open) > OPEN_CASES:
            await self._close(self._open.popitem(last=False)[1])
        return opened

    @staticmethod
    async def _close(opened: _Opened | None) -> None:
        if opened is not None:
            async with opened.lock:
                opened.case.close()

    async def recompute(self, case_id: str) -> None:
        """Begin to analyse a case anew, in a process of its own. Raises ArchiveError, Refused."""
        if self._recomputing is not None and self._recomputing.returncode is None:
            raise Refused(
                "A case is being analysed anew already; one at a time, so that the live one is not held up.", 409
            )
        await self.forget_unended(case_id)
        opened = await self._opened(case_id)
        if opened.case.state is CaseState.RECORDING:
            raise Refused("This case is still being recorded; it can be analysed anew once it has ended.", 409)
        opened.recomputed = None
        folder = opened.case.folder
        await asyncio.to_thread(forget, folder)
        self._recomputing = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "guidance.casebook.recompute", str(folder), stdin=asyncio.subprocess.DEVNULL
        )

    async def give_up(self) -> None:
        """Stop analysing a case anew; what it has come to stays where it is, and says that it is not complete."""
        process = self._recomputing
        if process is not None and process.returncode is None:
            process.terminate()
            await process.wait()

    async def close(self) -> None:
        """Close every case, and give up what is being analysed."""
        await self.give_up()
        while self._open:
            await self._close(self._open.popitem()[1])


def _read(archive: Archive, case_id: str) -> ArchivedCase:
    # Half an hour has 54 000 rows: the collector would go over all of them time and again while they are made, which
    # takes as long as making them.
    gc.disable()
    try:
        case = archive.open(case_id)
        _ = case.timeline
    finally:
        gc.enable()
    return case


class _Tags(BaseModel):
    model_config = ConfigDict(extra="forbid")
    tags: list[str] = Field(max_length=32)


class _Keep(BaseModel):
    model_config = ConfigDict(extra="forbid")
    keep: bool


def review_routes() -> APIRouter:
    """Everything below ``/review``; ``app.state.reviewing`` is what they show."""
    routes = APIRouter(prefix="/review", route_class=_ReviewAnswers)

    @routes.get("/about")
    async def about(request: Request) -> dict[str, Any]:
        return {"live": hasattr(request.app.state, "board")}

    @routes.get("/cases")
    async def cases(request: Request) -> list[dict[str, Any]]:
        found = await asyncio.to_thread(_reviewing(request).archive.cases)
        return [_entry_json(entry) for entry in found]

    @routes.get("/cases/{case_id}")
    async def opened(request: Request, case_id: str) -> Response:
        shown = _reviewing(request)
        await shown.forget_unended(case_id)
        return _json(await shown.with_case(case_id, _case_json))

    @routes.get("/cases/{case_id}/times")
    async def times(request: Request, case_id: str) -> Response:
        data = await _reviewing(request).with_case(case_id, lambda it: it.case.times_s.astype("<f8").tobytes())
        return Response(data, media_type="application/octet-stream")

    @routes.get("/cases/{case_id}/pictures/{number}.{form}")
    async def picture(request: Request, case_id: str, number: int, form: str) -> Response:
        if form not in ENCODERS:
            raise Refused(f"No pictures are made as {form!r}; expected jpg or png.", 404)
        media_type, encode = ENCODERS[form]
        shown = _reviewing(request)
        data, state = await shown.with_case(case_id, lambda it: _picture(it, number, encode))
        headers = {"Fluoroguide-Frame": state, "Cache-Control": shown.cache if state == "whole" else KEPT_NOWHERE}
        return Response(data, media_type=media_type, headers=headers)

    @routes.get("/cases/{case_id}/moments/{number}")
    async def moment(request: Request, case_id: str, number: int, recomputed: bool = False) -> Response:
        make = _recomputed_moment if recomputed else _moment
        return _json(await _reviewing(request).with_case(case_id, lambda it: make(it, number)))

    @routes.post("/cases/{case_id}/judgements")
    async def say(request: Request, case_id: str) -> dict[str, Any]:
        said = await asked(request, Said, "judgement")
        who = identify_of(request)()
        if who is None:
            raise Refused(LOGGED_OUT, 401)
        return await _reviewing(request).with_case(case_id, lambda it: _judge(it.case, said, who.name))

    @routes.get("/cases/{case_id}/recomputed")
    async def progress(request: Request, case_id: str) -> dict[str, Any]:
        folder = _reviewing(request).archive.folder(case_id)
        return _progress_json(await asyncio.to_thread(progress_of, folder))

    @routes.post("/cases/{case_id}/recomputed")
    async def recompute(request: Request, case_id: str) -> dict[str, Any]:
        await _reviewing(request).recompute(case_id)
        return {}

    @routes.delete("/cases/{case_id}/recomputed")
    async def stop(request: Request, case_id: str) -> dict[str, Any]:
        _reviewing(request).archive.folder(case_id)
        await _reviewing(request).give_up()
        return {}

    @routes.get("/cases/{case_id}/labels.zip")
    async def labels(request: Request, case_id: str) -> Response:
        data = await _reviewing(request).with_case(case_id, lambda it: labels_of(it.case))
        named = {"Content-Disposition": f'attachment; filename="{case_id}-labels.zip"', "Cache-Control": KEPT_NOWHERE}
        return Response(data, media_type="application/zip", headers=named)

    @routes.put("/cases/{case_id}/tags")
    async def tag(request: Request, case_id: str) -> dict[str, Any]:
        tags = [word.strip() for word in (await asked(request, _Tags, "tags")).tags]
        if any(not 0 < len(tag) <= 64 for tag in tags):
            raise Refused("A tag is empty or too long; expected 1 to 64 characters.")
        await asyncio.to_thread(_reviewing(request).archive.set_tags, case_id, tags)
        await _reviewing(request).forget(case_id)
        return {"tags": tags}

    @routes.put("/cases/{case_id}/keep")
    async def keep(request: Request, case_id: str) -> dict[str, Any]:
        wanted = (await asked(request, _Keep, "keep")).keep
        await asyncio.to_thread(_reviewing(request).archive.set_keep, case_id, wanted)
        await _reviewing(request).forget(case_id)
        return {"keep": wanted}

    return routes


class _ReviewAnswers(Answering):
    refusals = (ArchiveError, JudgementError, RecomputeError, HandOnError)


def _reviewing(request: Request) -> Reviewing:
    found: Reviewing | None = request.app.state.reviewing
    if found is None:
        raise Refused("This service keeps no cases; start it with --archive DIR.", 404)
    return found


def _json(data: Any) -> Response:
    """JSON without a look at each value: a whole case is large."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Response(text, media_type="application/json")


def _entry_json(entry: CaseEntry) -> dict[str, Any]:
    return {**asdict(entry), "began": entry.began.isoformat(), "complete": entry.complete}


def _case_json(opened: _Opened) -> dict[str, Any]:
    case = opened.case
    said, faults = judgements(case.folder)
    header = case.header
    missing = [*case.missing, *faults]
    if header.not_recorded:
        missing.append(f"{header.not_recorded} frames were not recorded: the recorder was behind")
    return {
        "id": case.id,
        "header": header.model_dump(mode="json", by_alias=True),
        "state": case.state.value,
        "frames": len(case),
        "missing": missing,
        "damaged": sorted(opened.damaged),
        "mm_per_px": case.plan.mm_per_px or header.mm_per_px,
        "zones": sorted(zone.id for zone in case.plan.zones),
        "course": course_json(case.timeline),
        "alerts": [alert.model_dump(mode="json") for alert in case.alerts],
        "commands": [{"t_s": row.t_s, "by": row.by, "kind": row.command.get("kind")} for row in case.commands],
        "judgements": [one.model_dump(mode="json") for one in standing(said)],
        "alert_kinds": [kind.value for kind in AlertKind if kind not in TECHNICAL],
        "version": guidance.__version__,
    }


def _picture(opened: _Opened, number: int, encode: Encode) -> tuple[bytes, str]:
    frame = opened.case.frame(number)
    if FrameFlag.NO_SIGNAL in frame.flags:
        return encode(frame), "no_signal"
    if FrameFlag.CORRUPT in frame.flags:
        opened.damaged.add(number)
        return encode(frame), "damaged"
    return encode(frame), "whole"


def _moment(opened: _Opened, number: int) -> dict[str, Any]:
    """What was on the screen when this frame was the newest."""
    case = opened.case
    t_s = _time_of(case, number)
    return _moment_json(number, t_s, case.findings_at(t_s), active_at(case.alerts, t_s))


def _recomputed_moment(opened: _Opened, number: int) -> dict[str, Any]:
    """What the present version would have shown."""
    t_s = _time_of(opened.case, number)
    if opened.recomputed is None:
        told = progress_of(opened.case.folder)
        if told is None or not told["complete"]:
            raise Refused("This case has not been analysed by the present version yet.", 404)
        opened.recomputed = Recomputed(opened.case.folder)
    return _moment_json(number, t_s, opened.recomputed.findings_at(t_s), active_at(opened.recomputed.alerts, t_s))


def _moment_json(number: int, t_s: float, line: dict[str, Any] | None, active: Any) -> dict[str, Any]:
    alerts = [alert.model_dump(mode="json") for alert in active]
    told = {"frame": number, "t_s": t_s, "findings": line, "alerts": alerts}
    return told | ({"strokes": [], "status": None} if line is None else drawn(line, active))


def _time_of(case: ArchivedCase, number: int) -> float:
    if not 0 <= number < len(case):
        raise ArchiveError(f"{case.id}: no frame {number}; expected 0 to {len(case) - 1}")
    return float(np.float64(case.times_s[number]))


def _judge(case: ArchivedCase, said: Said, by: str) -> dict[str, Any]:
    if said.alert is not None and said.alert not in {alert.id for alert in case.alerts}:
        raise JudgementError(f"{case.id}: no alert {said.alert}; expected one that was raised in this case")
    return judge(case.folder, said, by).model_dump(mode="json")


def _progress_json(told: dict[str, Any] | None) -> dict[str, Any]:
    return {"begun": False, "running": False, "complete": False} if told is None else {"begun": True, **told}
