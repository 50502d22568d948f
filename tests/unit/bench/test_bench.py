"""The bench times what it says it does; the figures themselves are no test's business."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from guidance.bench.analysis import RULES, TOLD, WHOLE, Quantiles, time_analysis
from guidance.bench.pulses import DURATION_S, RATE_HZ, BenchCase, Pulses, recorded, render
from guidance.bench.recording import time_replay
from guidance.bench.report import Machine, Report
from guidance.bench.service import time_service
from guidance.bench.tools import time_tools
from guidance.cli import main
from guidance.opening import open_spec
from guidance.phantom.source import PhantomSource
from guidance.records import CasePlan

STAGES = (
    "liveness",
    "field",
    "picture",
    "needles",
    "registration",
    "tracking",
    "nerve roots",
    "cement",
    RULES,
    "as JSON",
    "settling",
    TOLD,
    WHOLE,
)


@pytest.fixture(autouse=True)
def interpreter_of_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Left as it is: what the collector is told not to look at any more, it would not in later tests."""
    monkeypatch.setattr("guidance.bench.command.tune_interpreter", lambda: None)


@pytest.fixture(scope="module")
def pulses() -> Pulses:
    return render(BenchCase(192, 192, needles=3))


def test_every_frame_is_a_new_pulse_and_everything_is_in_sight(pulses: Pulses) -> None:
    assert len(pulses.frames) == DURATION_S * RATE_HZ
    pairs = zip(pulses.frames, pulses.frames[1:], strict=False)
    assert not any(np.array_equal(a.pixels, b.pixels) for a, b in pairs)
    scenario = BenchCase(192, 192, needles=3).scenario
    assert (len(scenario.needles), len(scenario.contrast), len(scenario.cement)) == (3, 2, 2)


def test_each_stage_has_a_time_for_each_frame_but_a_procedures_first(pulses: Pulses) -> None:
    short = replace(pulses, frames=pulses.frames[:20])
    figures = time_analysis(short, 50)
    assert tuple(figures.stages_ms) == STAGES
    assert figures.frames == 50
    told, whole = figures.stages_ms[TOLD], figures.stages_ms[WHOLE]
    assert 0 < told.p50 <= told.p99 <= told.max <= whole.max
    assert figures.first_ms > 0
    assert max(ms.max for ms in figures.stages_ms.values()) == whole.max
    assert figures.allocated_mib.max > 0


def test_sixteen_bits_hold_the_same_picture_in_the_upper_eight() -> None:
    case = BenchCase(128, 128)
    shallow, deep = render(case), render(replace(case, bits=16))
    np.testing.assert_array_equal(deep.frames[9].pixels >> 8, shallow.frames[9].pixels)
    assert deep.info.bits == deep.frames[9].bits == 16


def test_quantiles_are_those_of_the_values() -> None:
    assert Quantiles.of([float(v) for v in range(1001)]) == Quantiles(500, 900, 990, 999, 1000)


def test_a_monitors_picture_has_the_monitors_size() -> None:
    with PhantomSource(BenchCase(1280, 1024).scenario) as source:
        assert (source.info.width_px, source.info.height_px) == (1280, 1024)


def test_a_recording_is_timed_with_its_repeats() -> None:
    with open_spec("phantom://low_dose?size=128") as source:
        assert len(recorded("low dose", source, CasePlan()).frames) == source.info.frame_count


def test_every_tool_is_shown_the_same_pulses(pulses: Pulses) -> None:
    figures = time_tools(pulses)
    assert {figure.stage for figure in figures} == {"needles", "registration", "cement"}
    assert all(figure.ms is not None and figure.ms.p50 > 0 for figure in figures)


def test_a_replay_takes_every_frame_on_one_core_and_on_two(pulses: Pulses) -> None:
    figures = time_replay(replace(pulses, frames=pulses.frames[:6]), each=2)
    assert (figures.frames, figures.pulse_hz) == (12, 15)
    assert figures.one_core_hz > 0


def test_the_whole_service_is_heard_and_seen(pulses: Pulses) -> None:
    figures = time_service(pulses, seconds=3.0)
    assert 60 < figures.frames < 120
    assert 0 < figures.told_ms.p50 < 1000
    assert 0 < figures.seen_ms.p50 < 1000
    assert figures.lost_by_reader == 0


def test_the_report_says_for_which_machine_it_holds(pulses: Pulses) -> None:
    report = Report(Machine.here(), [time_analysis(replace(pulses, frames=pulses.frames[:10]), 20)])
    assert "numba" in report.as_markdown()
    assert "| whole |" in report.as_markdown()
    assert json.loads(json.dumps(report.as_json()))["analysis"][0]["frames"] == 20


def test_the_command_prints_and_writes_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "performance.md"
    assert main(["bench", "--size", "192", "--frames", "20", "--report", str(report)]) == 0
    assert "p99.9" in capsys.readouterr().out
    assert report.read_text(encoding="utf-8").startswith("# Performance\n")


@pytest.mark.parametrize("wrong", [["--size", "64"], ["--frames", "1"], ["--source", "nothing.mkv"]])
def test_what_cannot_be_timed_is_refused_in_one_line(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *wrong]) == 2
    assert capsys.readouterr().err.count("\n") == 1
