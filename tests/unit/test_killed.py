"""Each process killed in turn while a high alert is shown: it is shown again, and the log has lost nothing."""

from pathlib import Path

import pytest

from guidance.casebook.alarm_log import read_log
from tests.unit.killed import free_place, kill_the_dashboard, kill_the_service

pytestmark = pytest.mark.slow


def test_a_dashboard_that_is_killed_shows_the_alert_again(tmp_path: Path) -> None:
    kill_the_dashboard(free_place(tmp_path / "alarms.jsonl"))


def test_a_service_that_is_killed_shows_the_alert_again_and_its_log_has_all_that_was_told(tmp_path: Path) -> None:
    place = free_place(tmp_path / "alarms.jsonl")
    _, told = kill_the_service(place)
    log = read_log(place.log)
    assert log.damaged == 0
    noted = {(entry.alert.id, entry.alert.text) for entry in log.entries if entry.alert is not None}
    assert {(alert.id, alert.text) for alert in told} <= noted
