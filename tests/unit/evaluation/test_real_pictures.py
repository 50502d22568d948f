"""The score on labelled pictures: what counts as hit, missed and false."""

from pathlib import Path

import numpy as np
import pytest

from guidance.evaluation.real_pictures import Instrument, as_table, main, score_picture
from guidance.vision.needle import NeedleSighting

FOLDER = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "carm_hip_dev"


def instrument(x: float, y: float, scored: bool = True) -> Instrument:
    return Instrument((x, y), np.array([[x, y], [x + 200, y]]), scored)


def sighting(x: float, y: float) -> NeedleSighting:
    return NeedleSighting((x, y), ((x, y), (x + 200, y)), 0.0, 10.0, 0.9)


def test_each_tip_is_paired_once_with_the_nearest_sighting() -> None:
    score = score_picture("a", [instrument(0, 0), instrument(0, 12)], [sighting(0, 3), sighting(0, 14)])
    assert score.errors_px == (3.0, 2.0)
    assert score.false_count == 0


def test_a_sighting_too_far_from_a_tip_is_a_miss_and_a_false_one() -> None:
    score = score_picture("a", [instrument(0, 0)], [sighting(0, 11)])
    assert score.errors_px == (None,)
    assert score.false_count == 1


def test_a_sighting_on_an_unscored_shaft_is_neither_right_nor_wrong() -> None:
    score = score_picture("a", [instrument(0, 0, scored=False)], [sighting(90, 4)])
    assert score.errors_px == ()
    assert score.false_count == 0


def test_the_table_ends_with_the_totals() -> None:
    scores = [score_picture("a", [instrument(0, 0)], [sighting(0, 7)]), score_picture("b", [], [sighting(5, 5)])]
    last = as_table(scores).splitlines()[-1]
    assert "100% within 10 px, 0% within 5 px" in last
    assert "picture: 0.50, on the 1 without any: 1.00" in last


@pytest.mark.skipif(not FOLDER.is_dir(), reason="the labelled real pictures lie outside the project")
def test_most_wires_of_the_real_pictures_are_found(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([str(FOLDER), "--draw", str(tmp_path)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    within_10, within_5 = (float(word.rstrip("%")) for word in last.split() if word.endswith("%"))
    assert within_10 >= 80
    assert within_5 >= 60
    assert float(last.split("picture: ")[1].split(",")[0]) <= 0.3
    assert len(list(tmp_path.glob("*.png"))) == 20
