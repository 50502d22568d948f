"""A case as ``serve --archive`` leaves it, recorded from a fixture as fast as it can be analysed."""

from pathlib import Path

from drivers.sources import open_source
from guidance.casebook.recorder import CaseRecorder
from guidance.casebook.replay import analyse
from guidance.plan import load_plan, plan_json
from guidance.settings import Settings
from guidance.wire import alert_message, findings_message

FIXTURES = Path(__file__).parents[3] / "replay_fixtures"


def record_analysed(archive: Path, fixture: str = "leak_foramen", case_id: str = "20261130T090000-1") -> Path:
    """The folder of a new case in the archive: every frame of the fixture, its findings and alerts."""
    plan = load_plan(FIXTURES / fixture / "plan.json")
    with open_source(str(FIXTURES / fixture)) as source:
        recorder = CaseRecorder(archive / case_id, source.info, plan_json(plan))
        for frame, findings, changes, _ in analyse(source, source.info, plan, Settings()):
            recorder.frame(frame)
            recorder.findings(findings_message(findings))
            for change in changes:
                recorder.alert(alert_message(change))
        recorder.close()
    return archive / case_id
