"""Plans in a folder, and the names that they may have."""

import os
from pathlib import Path

import pytest

from guidance.casebook.plans import PlansFolder, plan_text
from guidance.plan import PlanError, PlanFile, load_plan

PLAN = PlanFile.model_validate(
    {
        "schema": 1,
        "mm_per_px": 0.3,
        "limits": {"cement_in_zone_mm2": 6.0},
        "zones": [{"id": "canal", "kind": "forbidden", "polygon_px": [[1, 1], [9, 1], [5, 9]], "view": "lateral"}],
    }
)


def test_a_plan_comes_back_as_it_was_saved_and_is_the_contracts_file(tmp_path: Path) -> None:
    folder = PlansFolder(tmp_path / "made" / "plans")
    file = folder.save("sacrum-1", PLAN)
    assert folder.read("sacrum-1") == PLAN
    assert load_plan(file).zones[0].id == "canal"
    assert '"limits"' in file.read_text()
    assert "cement_near_zone_mm" not in plan_text(PLAN)


def test_the_newest_plan_comes_first_and_one_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    folder = PlansFolder(tmp_path)
    for age, name in enumerate(("new", "old", "older")):
        os.utime(folder.save(name, PLAN), (1e9 - age, 1e9 - age))
    (tmp_path / "old.json").write_text("{")
    os.utime(tmp_path / "old.json", (1e9 - 1, 1e9 - 1))
    kept = folder.newest_first()
    assert [plan.name for plan in kept] == ["new", "old", "older"]
    assert (kept[0].version, kept[0].zones, kept[0].views, kept[0].trouble) == (PLAN.version, 1, ("lateral",), None)
    assert kept[1].trouble is not None
    assert "not valid JSON" in kept[1].trouble


@pytest.mark.parametrize(
    "name", ["", "..", "../x", "a/b", ".hidden", "a.json", "a\0b", "x" * 65, "größe", "a b", "-a", "a\n"]
)
def test_a_name_that_could_lead_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    for ask in (lambda: PlansFolder(tmp_path).read(name), lambda: PlansFolder(tmp_path).save(name, PLAN)):
        with pytest.raises(PlanError, match="expected up to 64 letters"):
            ask()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_yet_holds_no_plans(tmp_path: Path) -> None:
    assert PlansFolder(tmp_path / "none").newest_first() == []
    with pytest.raises(PlanError, match="expected one of the folder's plans"):
        PlansFolder(tmp_path).read("none")


def test_a_plan_that_cannot_be_written_leaves_the_one_before_and_nothing_else(tmp_path: Path) -> None:
    folder = PlansFolder(tmp_path)
    (tmp_path / "kept.json").mkdir()
    with pytest.raises(PlanError, match="kept: cannot be saved"):
        folder.save("kept", PLAN)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.json"]
