"""What a monitoring system is told, of services that run, stall, die and see nothing."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from guidance.bus.messages import AlarmLogBody, FindingsEnvelope, InputBody
from guidance.records import FrameState
from guidance.wire import findings_message
from tests.browser.room import FINDINGS, Dashboard, FakeService
from tests.unit.web.test_app import fetched, live
from tests.unit.web.test_live import RAISED, Bus, picture
from web.monitoring import Monitoring, PartState, overall, parts_of


@pytest.fixture
def bus() -> Bus:
    bus = Bus()
    bus.heartbeat([])
    bus.board.hear_picture(picture(1))
    return bus


def tell(bus: Bus, **changes: Any) -> None:
    """A heartbeat that differs in this."""
    assert bus.reception.health is not None
    bus.reception.health = bus.reception.health.model_copy(update=changes)


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now_s = time.monotonic() + seconds
    monkeypatch.setattr(time, "monotonic", lambda: now_s)


def figures(bus: Bus, monitoring: Monitoring | None = None) -> dict[tuple[str, ...], float]:
    """Every sample: its name, and the values of its labels."""
    registry = (monitoring or Monitoring(bus.board)).registry
    return {
        (sample.name.removeprefix("fluoroguide_"), *sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
    }


def test_where_all_is_well_every_part_is(bus: Bus):
    parts = parts_of(bus.board)
    absent = {name for name, part in parts.items() if part["state"] is PartState.ABSENT}
    assert absent == {"alarm_log", "disk", "recorder"}, "none of these was told of"
    assert {part["state"] for name, part in parts.items() if name not in absent} == {PartState.OK}
    assert overall(parts) is PartState.OK


def test_of_a_service_that_is_silent_nothing_is_known_but_that(bus: Bus, monkeypatch: pytest.MonkeyPatch):
    later(monkeypatch, 1.5)
    parts = parts_of(bus.board)
    assert parts.pop("bus")["state"] is PartState.FAILED
    assert parts.pop("viewers")["state"] is PartState.OK
    assert all(part == {"state": PartState.UNKNOWN} for part in parts.values())
    assert overall(parts_of(bus.board)) is PartState.FAILED


def test_pictures_that_stop_while_the_service_is_heard_are_a_failure(bus: Bus):
    bus.board.picture_heard_s -= 1.5
    parts = parts_of(bus.board)
    assert parts["bus"]["state"] is PartState.OK
    assert parts["pictures"]["state"] is PartState.FAILED
    assert overall(parts) is PartState.FAILED


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (FrameState.LIVE, PartState.OK),
        (FrameState.HELD, PartState.OK),
        (FrameState.FROZEN, PartState.IMPAIRED),
        (FrameState.NO_SIGNAL, PartState.IMPAIRED),
        (FrameState.CORRUPT, PartState.IMPAIRED),
    ],
)
def test_a_source_without_video_impairs_and_no_new_start_would_mend_it(
    bus: Bus, state: FrameState, expected: PartState
):
    tell(bus, state=state)
    assert parts_of(bus.board)["source"]["state"] is expected
    assert overall(parts_of(bus.board)) is expected


def test_an_alarm_log_that_cannot_be_written_says_why(bus: Bus):
    tell(bus, alarm_log=AlarmLogBody(fault="the disk is full", free_mb=0.0))
    parts = parts_of(bus.board)
    assert parts["alarm_log"] == {"state": PartState.IMPAIRED, "fault": "the disk is full"}
    assert parts["disk"]["free_mb"] == 0.0
    assert figures(bus)["alarm_log_written",] == 0


def test_a_full_house_shows(bus: Bus):
    bus.board.most_viewers = 0
    assert parts_of(bus.board)["viewers"]["state"] is PartState.IMPAIRED


def test_the_figures_are_those_of_the_heartbeat(bus: Bus):
    signal = InputBody(signal="live", since_s=1, frames=70, dropped=2, corrupt=3, restarts=4)
    tell(bus, frames=70, dropped=2, corrupt=3, latency_ms=16.0, alarm_delay_max_ms=80.0, alerts=[RAISED], input=signal)
    seen = figures(bus)
    assert seen["bus_heard",] == 1
    assert (seen["frames_total",], seen["frames_dropped_total",], seen["frames_corrupt_total",]) == (70, 2, 3)
    assert seen["analysis_last_seconds",] == pytest.approx(0.016)
    assert seen["alarm_delay_most_seconds",] == pytest.approx(0.08)
    assert seen["alert_active", "high", "cement_in_zone", "raised"] == 1
    assert [seen["alerts_active", priority] for priority in ("high", "medium", "low")] == [1, 0, 0]
    assert [seen["source_state", state] for state in ("live", "held")] == [1, 0]
    assert [seen["input_signal", state] for state in ("live", "unplugged")] == [1, 0]
    assert seen["part_state", "bus", "ok"] == 1


def test_figures_of_a_service_that_is_silent_are_absent_and_not_its_last_ones(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
):
    heard = {name for name, *_ in figures(bus)}
    later(monkeypatch, 2.0)
    deaf = figures(bus)
    gone = heard - {name for name, *_ in deaf}
    assert {"frames_total", "source_state", "alerts_active", "analysis_last_seconds"} <= gone
    assert deaf["bus_heard",] == 0
    assert deaf["heartbeat_age_seconds",] == pytest.approx(2.0, abs=0.5)
    assert deaf["part_state", "source", "unknown"] == 1
    assert deaf["picture_age_seconds",] > 2.0


def test_each_pulse_is_timed_once_however_often_it_is_told(bus: Bus):
    monitoring = Monitoring(bus.board)
    for pulse, latency_ms, state in (
        (1, 16, "live"),
        (1, 20, "live"),
        (2, 30, "live"),
        (2, 31, "held"),
        (3, None, "live"),
    ):
        findings = replace(FINDINGS, pulse=pulse, latency_ms=latency_ms, state=FrameState(state))
        monitoring.hear(
            FindingsEnvelope(session="s", sequence=0, case="a", sent_s=1.0, body=findings_message(findings))
        )
    seen = figures(bus, monitoring)
    assert seen["analysis_seconds_count",] == 2
    assert seen["analysis_seconds_sum",] == pytest.approx(0.046)


def test_what_viewers_draw_and_miss_is_counted(bus: Bus):
    monitoring = Monitoring(bus.board)
    bus.board.tally.drawn_s(0.03)
    bus.board.tally.missed = 5
    seen = figures(bus, monitoring)
    assert (seen["viewer_drawn_seconds_count",], seen["viewer_pictures_missed_total",]) == (1, 5)


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[FakeService, Dashboard]]:
    with FakeService() as service, Dashboard(service.endpoints, service.keys) as dashboard:
        yield service, dashboard


def samples(dashboard: Dashboard) -> dict[str, float]:
    _, headers, body = fetched(dashboard.address + "metrics")
    assert headers["cache-control"] == "no-store"
    families = text_string_to_metric_families(body.decode())
    return {sample.name: sample.value for family in families for sample in family.samples if not sample.labels}


def until(holds: Any) -> None:
    give_up_s = time.monotonic() + 15
    while not holds():
        assert time.monotonic() < give_up_s
        time.sleep(0.05)


def test_a_scrape_reads_a_running_service_and_goes_without_its_figures_while_it_stalls(
    running: tuple[FakeService, Dashboard],
):
    service, dashboard = running
    until(lambda: samples(dashboard)["fluoroguide_bus_heard"] == 1)
    with live(dashboard) as viewer:
        viewer.recv(timeout=10)
        assert samples(dashboard)["fluoroguide_viewers"] == 1
    seen = samples(dashboard)
    assert seen["fluoroguide_frames_total"] > 0
    assert seen["fluoroguide_dashboard_process_resident_memory_bytes"] > 1e7
    assert seen["fluoroguide_service_process_resident_memory_bytes"] > 1e7

    service.scene.heartbeat = service.scene.pictures = False
    until(lambda: samples(dashboard)["fluoroguide_bus_heard"] == 0)
    assert fetched(dashboard.address + "healthy")[0] == 503
    assert "fluoroguide_frames_total" not in samples(dashboard)

    service.scene.heartbeat = service.scene.pictures = True
    until(lambda: fetched(dashboard.address + "healthy")[0] == 200)


def test_a_service_that_was_killed_is_told_as_not_heard():
    with ExitStack() as open_still:
        with FakeService() as service:
            dashboard = open_still.enter_context(Dashboard(service.endpoints, service.keys))
            until(lambda: samples(dashboard)["fluoroguide_bus_heard"] == 1)
        until(lambda: fetched(dashboard.address + "healthy")[0] == 503)
        assert samples(dashboard)["fluoroguide_bus_heard"] == 0


def test_a_source_that_died_is_told_by_its_state_and_the_service_stays_up(running: tuple[FakeService, Dashboard]):
    service, dashboard = running
    service.scene.findings = replace(FINDINGS, state=FrameState.NO_SIGNAL)
    until(lambda: b'source_state{state="no_signal"} 1.0' in fetched(dashboard.address + "metrics")[2])
    status, _, body = fetched(dashboard.address + "healthy")
    assert status == 200
    assert b'"video":"no_signal"' in body
    assert b'"state":"impaired"' in body
    service.scene.findings = FINDINGS
