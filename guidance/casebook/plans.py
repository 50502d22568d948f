"""Plans that were drawn, kept in a folder: whole or not at all, the newest first."""

import os
import re
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from guidance.plan import PlanError, PlanFile, read_plan

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
LONGEST_PLAN_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class KeptPlan:
    """What a list of plans tells of one. ``trouble``: why it cannot be used; None where it can."""

    name: str
    saved_at: datetime
    version: str | None
    zones: int
    views: tuple[str, ...]
    trouble: str | None = None


class PlansFolder:
    """``NAME.json`` for each plan. Raises PlanError in one line. Made when the first plan is saved."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def newest_first(self) -> list[KeptPlan]:
        """Every plan of the folder, also those that cannot be read, which say so."""
        try:
            files = [(file.stat().st_mtime, file) for file in self.folder.glob("*.json") if NAME.fullmatch(file.stem)]
        except OSError as error:
            raise PlanError(f"{self.folder}: cannot be read ({error.strerror}); expected a folder of plans") from error
        return [self._told(file, saved_s) for saved_s, file in sorted(files, reverse=True)]

    def read(self, name: str) -> PlanFile:
        """One plan."""
        file = self._file(name)
        try:
            with file.open("rb") as opened:
                data = opened.read(LONGEST_PLAN_BYTES + 1)
            text = data.decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PlanError(
                f"{name}: cannot be read as a plan ({error}); expected one of the folder's plans"
            ) from error
        if len(data) > LONGEST_PLAN_BYTES:
            raise PlanError(f"{name}: more than {LONGEST_PLAN_BYTES} bytes; expected a plan")
        return read_plan(text, name)

    def save(self, name: str, plan: PlanFile) -> Path:
        """Where it lies now. One of the same name is replaced."""
        file = self._file(name)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(file, plan_text(plan))
        except OSError as error:
            raise PlanError(f"{name}: cannot be saved ({error.strerror}); expected a writable folder") from error
        return file

    def _file(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise PlanError(f"{name[:80]!r}: no name for a plan; expected up to 64 letters, digits, - and _")
        return self.folder / f"{name}.json"

    def _told(self, file: Path, saved_s: float) -> KeptPlan:
        saved_at = datetime.fromtimestamp(saved_s, UTC)
        try:
            plan = self.read(file.stem)
        except PlanError as error:
            return KeptPlan(file.stem, saved_at, None, 0, (), str(error))
        views = sorted({zone.view.value for zone in plan.zones if zone.view is not None})
        return KeptPlan(file.stem, saved_at, plan.version, len(plan.zones), tuple(views))


def plan_text(plan: PlanFile) -> str:
    """The contract's ``plan.json``."""
    return plan.model_dump_json(by_alias=True, exclude_unset=True, exclude_none=True, indent=1) + "\n"


def write_whole(file: Path, text: str) -> None:
    """Write a file so that whoever reads it, and whoever cuts the power, finds the old one or the new one."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as written:
            written.write(text)
            written.flush()
            os.fsync(written.fileno())
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def default_folder() -> Path:
    """Where plans are kept unless told otherwise: the user's own state folder."""
    return state_folder() / "plans"


def state_folder() -> Path:
    """The user's own state folder of this program."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "fluoroguide"
