"""What operators have corrected about the x-ray field of each source, so that nobody has to do it again next time."""

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from drivers.frame import SourceInfo
from guidance.casebook.plans import state_folder, write_whole
from guidance.drawing import is_convex
from guidance.plan import Finite


class FieldPin(BaseModel):
    """An outline and a polarity to tell in the place of those that are found; None: as they are found."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    polygon_px: Annotated[list[tuple[Finite, Finite]], Field(min_length=3, max_length=256)] | None = None
    bone_dark: bool | None = None

    @property
    def is_automatic(self) -> bool:
        return self.polygon_px is None and self.bone_dark is None


class FieldPinsError(Exception):
    """The corrections cannot be kept there. One line."""


_PINS: TypeAdapter[dict[str, FieldPin]] = TypeAdapter(dict[str, FieldPin])


class FieldPins:
    """The corrections by source: its name and its picture's size. ``path`` None: for as long as this process lives.

    Raises FieldPinsError where the file is none.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._pins = self._kept()

    def of(self, info: SourceInfo) -> FieldPin:
        """What is corrected for this source; nothing for most."""
        return self._pins.get(_key(info), FieldPin())

    def keep(self, info: SourceInfo, pin: FieldPin) -> None:
        """Remember a correction, or that there is none. Raises FieldPinsError where only this process will."""
        self._pins = _with(self._pins, info, pin)
        if self._path is None:
            return
        # Another service of this machine may have corrected its own source meanwhile.
        kept = _with(self._kept(), info, pin)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._path, _PINS.dump_json(kept, indent=1).decode() + "\n")
        except OSError as error:
            raise FieldPinsError(
                f"done for now, but not remembered for the next time: {self._path}: {error.strerror}"
            ) from error

    def _kept(self) -> dict[str, FieldPin]:
        if self._path is None:
            return {}
        try:
            pins = _PINS.validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValidationError) as error:
            raise FieldPinsError(
                f"{self._path}: not a file of corrected x-ray fields; mend it or take it away ({_first_line(error)})"
            ) from error
        for source, pin in pins.items():
            if pin.polygon_px is not None and not is_convex(np.array(pin.polygon_px)):
                raise FieldPinsError(f"{self._path}: {source}: polygon_px has a dent; expected a convex outline")
        return pins


def default_path() -> Path:
    """Where corrections are kept unless told otherwise."""
    return state_folder() / "fields.json"


def _with(pins: dict[str, FieldPin], info: SourceInfo, pin: FieldPin) -> dict[str, FieldPin]:
    others = {source: other for source, other in pins.items() if source != _key(info)}
    return others if pin.is_automatic else others | {_key(info): pin}


def _key(info: SourceInfo) -> str:
    return f"{info.name} {info.width_px}x{info.height_px}"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
