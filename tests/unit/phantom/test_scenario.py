"""Scenario files: the built-in ones, and what is refused."""

from pathlib import Path

import pytest

from guidance.phantom.case import EXPECT, bounds_of
from guidance.phantom.scenario import ScenarioError, load_scenario, parse_scenario, scenario_names
from guidance.phantom.timeline import moments, phases
from guidance.records import FrameState, Phase

HEAD = 'title = "t"\nmay_alarm = false\n[video]\nduration_s = 2\n'


def test_there_are_twelve_scenarios_and_four_of_them_may_not_alarm() -> None:
    scenarios = {name: load_scenario(name) for name in scenario_names()}
    assert len(scenarios) >= 12
    assert sum(not scenario.may_alarm for scenario in scenarios.values()) >= 4
    assert "demo" in scenarios


@pytest.mark.parametrize("name", scenario_names())
def test_a_scenario_that_leaks_may_alarm(name: str) -> None:
    scenario = load_scenario(name)
    assert scenario.may_alarm or not any(injection.leak for injection in scenario.cement)


def test_the_demo_plays_every_act_in_order() -> None:
    acts = [mark.phase for mark in phases(load_scenario("demo"))]
    assert acts == [Phase.BASELINE, Phase.EPIDUROGRAM, Phase.NEEDLE, Phase.CEMENT]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("speed = 3\n" + HEAD, "mine.toml: speed: Extra inputs are not permitted"),
        (HEAD + "duration = 3\n", "mine.toml: video.duration: Extra inputs are not permitted"),
        (HEAD + "pulse_hz = 30\nvideo_hz = 15\n", "expected video_hz to be at least pulse_hz"),
        (
            HEAD + "[[table]]\nstart_s = 3\nend_s = 2\nshift_mm = [1, 0, 0]\n",
            "table.0: Value error, expected end_s after",
        ),
        (HEAD + "[[cement]]\nml = 1\nstart_s = 0\nend_s = 1\n", "cement goes through needle 1, but there are 0"),
        (HEAD + "[carm]\nview = 'oblique'\n", "mine.toml: carm.view: Input should be"),
        (HEAD + "[video\n", "mine.toml: not valid TOML"),
        (HEAD + "dose_ur = nan\n", "mine.toml: video.dose_ur"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(text: str, complaint: str) -> None:
    with pytest.raises(ScenarioError) as error:
        parse_scenario(text, "mine.toml")
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)


def test_a_name_that_is_no_scenario_is_answered_with_those_that_are() -> None:
    with pytest.raises(ScenarioError, match=r"expected a .toml file or one of .*demo"):
        load_scenario("demmo")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"gone.toml: cannot be read"):
        load_scenario(tmp_path / "gone.toml")


def test_a_pulse_is_shown_until_the_next_one_is_fired() -> None:
    frames = moments(parse_scenario(HEAD + "pulse_hz = 7.5\nvideo_hz = 30\n", "t"))
    assert len(frames) == 60
    assert [frame.pulse for frame in frames[:9]] == [0, 0, 0, 0, 1, 1, 1, 1, 2]
    assert [frame.fresh for frame in frames[:5]] == [True, False, False, False, True]


def test_no_pulse_is_fired_while_the_last_image_is_held_or_the_signal_is_lost() -> None:
    text = HEAD + (
        "[[intervals]]\nstate = 'held'\nstart_s = 0.4\nend_s = 0.8\n"
        "[[intervals]]\nstate = 'no_signal'\nstart_s = 0.6\nend_s = 1.2\n"
    )
    frames = moments(parse_scenario(text, "t"))
    assert {f.state for f in frames if 0.4 <= f.t_s < 0.6} == {FrameState.HELD}
    assert {f.state for f in frames if 0.6 <= f.t_s < 1.2} == {FrameState.NO_SIGNAL}
    assert not any(f.fresh for f in frames if 0.4 <= f.t_s < 1.2)


def test_a_scenarios_own_bounds_take_the_place_of_the_usual_ones() -> None:
    scenario = parse_scenario('title = "x"\nmay_alarm = false\nvideo.duration_s = 1\n[expect]\nfalse_alerts = 3', "x")
    assert bounds_of(scenario) == {
        "false_needles_per_frame": EXPECT["false_needles_per_frame"],
        "false_high_alerts": EXPECT["false_high_alerts"],
        "false_alerts": 3,
        "registration_median_mm": EXPECT["registration_median_mm"],
        "state_accuracy": EXPECT["state_accuracy"],
    }


@pytest.mark.parametrize("bound", ["tip_median = 1", "schema = 2", 'dice_cement = "much"', "dice_roots = nan"])
def test_a_bound_that_no_case_has_is_refused(bound: str) -> None:
    with pytest.raises(ScenarioError, match=r"^x: expect") as error:
        parse_scenario(f'title = "x"\nmay_alarm = false\nvideo.duration_s = 1\n[expect]\n{bound}', "x")
    assert "\n" not in str(error.value)
