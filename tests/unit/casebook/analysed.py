"""A case as ``serve --archive`` leaves it, recorded from a fixture as fast as it can be analysed."""

from functools import cache
from pathlib import Path

from drivers.frame import Frame, SourceInfo
from drivers.sources import open_source
from guidance.casebook.recorder import CaseRecorder
from guidance.casebook.replay import analyse
from guidance.plan import load_plan, plan_json
from guidance.settings import Settings
from guidance.wire import AlertMessage, FindingsMessage, alert_message, findings_message

Row = tuple[Frame, FindingsMessage, list[AlertMessage]]
FIXTURES = Path(__file__).parents[3] / "replay_fixtures"


def record_analysed(archive: Path, fixture: str = "leak_foramen", case_id: str = "20261130T090000-1") -> Path:
    """The folder of a new case in the archive: every frame of the fixture, its findings and alerts."""
    plan = load_plan(FIXTURES / fixture / "plan.json")
    info, rows = _analysed(fixture)
    recorder = CaseRecorder(archive / case_id, info, plan_json(plan))
    for frame, findings, changes in rows:
        recorder.frame(frame)
        recorder.findings(findings)
        recorder.alerts(changes)
    recorder.close()
    return archive / case_id


@cache
def _analysed(fixture: str) -> tuple[SourceInfo, list[Row]]:
    plan = load_plan(FIXTURES / fixture / "plan.json")
    with open_source(str(FIXTURES / fixture)) as source:
        rows = [
            (frame, findings_message(findings), [alert_message(change) for change in changes])
            for frame, findings, changes, _ in analyse(source, source.info, plan, Settings())
        ]
        return source.info, rows
