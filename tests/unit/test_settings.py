"""Thresholds from a file."""

from pathlib import Path

import pytest

from guidance.safety.limits import AlarmTiming, Limits
from guidance.settings import Settings, SettingsError, load_settings


def test_the_defaults_are_the_same_at_the_edge_and_inside() -> None:
    assert Settings().limits() == Limits()
    assert Settings().timing() == AlarmTiming()


def test_a_file_changes_what_it_names(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text('{"cement_in_zone_mm2": 2.5}')
    assert load_settings(file).limits().cement_in_zone_mm2 == 2.5


@pytest.mark.parametrize("text", ['{"cement_in_zone": 2}', '{"persistence_pulses": 1}', "[]", "{"])
def test_a_file_that_does_not_fit_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "settings.json"
    file.write_text(text)
    with pytest.raises(SettingsError, match=r"settings\.json"):
        load_settings(file)


def test_every_setting_says_what_it_is_for() -> None:
    assert all(field.description for field in Settings.model_fields.values())
