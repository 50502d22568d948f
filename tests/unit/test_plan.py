"""What a plan may say, and what is told of one that may not."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from guidance.plan import PlanError, check_zones_inside, load_plan, parse_plan, read_plan
from guidance.records import Phase, View, ZoneKind
from guidance.settings import Settings

TRIANGLE = [[410, 300], [430, 310], [415, 330]]


def plan_text(**fields: Any) -> str:
    return json.dumps({"schema": 1, **fields})


def test_the_contracts_example_is_read() -> None:
    plan = parse_plan(
        plan_text(
            mm_per_px=0.21,
            needle_diameter_mm=3.05,
            view="ap",
            phases=[{"at_s": 0, "phase": "baseline"}, {"at_s": 13, "phase": "cement"}],
            zones=[{"id": "foramen_S1L", "kind": "forbidden", "polygon_px": TRIANGLE}],
            views=[{"view": "lateral", "reference_s": 14.2}],
        ),
        "plan.json",
    )
    assert plan.mm_per_px == 0.21
    assert plan.view is View.AP
    assert plan.phases[1].phase is Phase.CEMENT
    assert plan.zones[0].kind is ZoneKind.FORBIDDEN
    assert plan.zones[0].polygon_px.tolist() == TRIANGLE
    assert plan.views[0].reference_s == 14.2


def test_every_field_but_the_schema_may_be_missing() -> None:
    plan = parse_plan(plan_text(), "plan.json")
    assert plan.mm_per_px is None
    assert plan.zones == ()


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"mm_per_pixel": 0.2}, "mm_per_pixel"),
        ({"mm_per_px": -0.2}, "mm_per_px"),
        ({"mm_per_px": 0}, "mm_per_px"),
        ({"view": "oblique"}, "view"),
        ({"zones": [{"id": "a", "kind": "forbidden", "polygon_px": TRIANGLE[:2]}]}, "zones.0.polygon_px"),
        ({"zones": [{"id": "a", "kind": "danger", "polygon_px": TRIANGLE}]}, "zones.0.kind"),
        ({"zones": [{"id": "a", "kind": "target", "polygon_px": TRIANGLE}] * 2}, "'a'"),
        ({"phases": [{"at_s": 5, "phase": "cement"}, {"at_s": 1, "phase": "needle"}]}, "phases"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused_with_its_place(fields: dict[str, Any], place: str) -> None:
    with pytest.raises(PlanError, match=r"case/plan\.json") as refused:
        parse_plan(plan_text(**fields), "case/plan.json")
    assert place in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_is_none_is_refused(word: str) -> None:
    with pytest.raises(PlanError, match="not a number"):
        parse_plan(f'{{"schema": 1, "mm_per_px": {word}}}', "plan.json")


def test_a_plan_of_another_schema_is_refused() -> None:
    with pytest.raises(PlanError, match="schema"):
        parse_plan('{"schema": 2}', "plan.json")


def test_text_that_is_no_json_is_refused_with_its_line() -> None:
    with pytest.raises(PlanError, match="line 1"):
        parse_plan("{schema: 1}", "plan.json")


def test_a_missing_plan_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="expected a JSON file"):
        load_plan(tmp_path / "none.json")


def test_a_zone_outside_the_frame_is_refused() -> None:
    plan = parse_plan(plan_text(zones=[{"id": "a", "kind": "target", "polygon_px": TRIANGLE}]), "plan.json")
    check_zones_inside(plan, 512, 512, "plan.json")
    with pytest.raises(PlanError, match=r"zone 'a', polygon_px\[1\] = \[430, 310\].*420 x 420"):
        check_zones_inside(plan, 420, 420, "plan.json")


def test_a_plan_may_have_thresholds_of_its_own_within_the_settings_bounds() -> None:
    plan = parse_plan(plan_text(limits={"cement_in_zone_mm2": 2.5}), "plan.json")
    assert plan.limits == (("cement_in_zone_mm2", 2.5),)
    limits = Settings(needle_near_zone_mm=5.0).limits(plan)
    assert (limits.cement_in_zone_mm2, limits.needle_near_zone_mm) == (2.5, 5.0)
    for wrong in ({"cement_in_zone_mm2": 0.1}, {"cement_in_zone": 2}, {"persistence_pulses": 3}):
        with pytest.raises(PlanError, match=next(iter(wrong))):
            parse_plan(plan_text(limits=wrong), "plan.json")


def test_a_plan_drawn_on_pictures_of_another_size_is_refused() -> None:
    plan = parse_plan(plan_text(picture_px=[1024, 768]), "plan.json")
    check_zones_inside(plan, 1024, 768, "plan.json")
    with pytest.raises(PlanError, match="drawn on 1024 x 768 pictures; expected 512 x 512 ones"):
        check_zones_inside(plan, 512, 512, "plan.json")


def test_two_plans_of_one_version_say_the_same() -> None:
    zone = {"id": "a", "kind": "target", "polygon_px": TRIANGLE}
    first = read_plan(plan_text(mm_per_px=0.2, zones=[zone]), "plan.json")
    assert first.version == read_plan(plan_text(zones=[zone], mm_per_px=0.2), "plan.json").version
    assert first.version != read_plan(plan_text(mm_per_px=0.21, zones=[zone]), "plan.json").version
    assert re.fullmatch("[0-9a-f]{12}", first.version)
