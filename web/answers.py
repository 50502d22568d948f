"""What is asked and refused in one sentence, ``{"error": "…"}``, by whatever door."""

from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, TypeVar

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError

LONGEST_BODY_BYTES = 64 * 1024
"""As long as the bus takes an order."""

Model = TypeVar("Model", bound=BaseModel)


class Refused(Exception):  # noqa: N818 - it is an answer, not a failure
    """What is asked for cannot be done; one sentence, and HTTP's word for it."""

    def __init__(self, why: str, status: int = 422) -> None:
        super().__init__(why)
        self.status = status


class Answering(APIRoute):
    """A door that answers what is refused with one sentence. ``refusals``: errors that are refusals here."""

    refusals: ClassVar[tuple[type[Exception], ...]] = ()

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own, that answers."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except Refused as refused:
                return JSONResponse({"error": str(refused)}, refused.status)
            except self.refusals as error:
                return JSONResponse({"error": str(error)}, 422)

        return answer


async def asked(request: Request, model: type[Model], called: str = "plan") -> Model:
    """The request's body as a model; ``called``: the whole of it. Raises Refused."""
    data = b""
    async for part in request.stream():
        data += part
        if len(data) > LONGEST_BODY_BYTES:
            raise Refused(f"That is more than {LONGEST_BODY_BYTES // 1024} KiB; expected less.", 413)
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Refused(f"{place or called}: {first['msg'].removeprefix('Value error, ')}") from error
