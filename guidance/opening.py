"""What a person names as a source, opened; and the plan that goes with it."""

from pathlib import Path

from drivers.frame import FrameSource
from drivers.sources import open_source
from guidance.first_run import tell_compiling
from guidance.plan import check_zones_inside, load_plan
from guidance.records import CasePlan


def open_spec(spec: str) -> FrameSource:
    """The source of a path or URL, ``phantom://`` too; it opens in its own ``with``. Raises SourceError."""
    return open_source(spec, {"phantom": _open_phantom})


def _open_phantom(url: str) -> FrameSource:
    with tell_compiling():
        from guidance.phantom.source import open_phantom  # nobody else waits for the phantom's imports

    return open_phantom(url)


def plan_file(spec: str, named: Path | None = None) -> Path | None:
    """The file that the plan comes from: the one that was named, else the one in the case's own folder."""
    beside = Path(spec) / "plan.json"
    return beside if named is None and beside.is_file() else named


def plan_for(source: FrameSource, spec: str, named: Path | None = None) -> CasePlan:
    """The plan of that file, or else the one that the phantom brings along. ``source``: opened. Raises PlanError."""
    path = plan_file(spec, named)
    if path is None:
        own: CasePlan | None = getattr(source, "plan", None)
        return own or CasePlan()
    plan = load_plan(path)
    check_zones_inside(plan, source.info.width_px, source.info.height_px, str(path))
    return plan
