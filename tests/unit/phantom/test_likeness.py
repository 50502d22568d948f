"""The phantom's pictures beside real C-arm pictures: the same measures, and the range that the real ones span.

The ranges below were measured with ``likeness.measures`` on the eleven full 8-bit pictures of carm_hip_dev; where the
pictures are at hand, the ranges are measured again.
"""

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from guidance.phantom.likeness import Picture, Shaft, main, measures, phantom_picture, real_pictures, sheet, table

REAL = Path(__file__).parents[4] / "shared" / "data" / "carm_hip_dev"

RANGES = {
    "noise at 110": (2.3, 7.9),
    "noise at 150": (2.0, 6.15),
    "noise at 190": (1.7, 5.4),
    "grain": (0.34, 0.69),
    "field edge": (2.0, 3.0),
    "texture": (2.0, 6.5),
    "line depth": (5.1, 22.9),
    "steel": (21, 70),
    "steel edge": (2.05, 7.55),
    "steel step": (54, 88),
}

GREY_RANGE = {"ap": (60, 228), "lateral": (136, 228)}
"""Seen from the front a pelvis has no air beside it, as the real hips have: less is asked for there than 136."""

needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="the real C-arm pictures of carm_hip_dev are not at hand")


@lru_cache(maxsize=2)
def phantom(view: str) -> tuple[Picture, dict[str, float]]:
    picture = phantom_picture({"ap": "leak_foramen", "lateral": "leak_canal_lateral"}[view], 4.0, 1)
    return picture, measures(picture)


@pytest.mark.parametrize("view", ["ap", "lateral"])
@pytest.mark.parametrize("measure", RANGES)
def test_a_measure_of_the_phantom_lies_in_the_range_of_real_pictures(view: str, measure: str) -> None:
    _, found = phantom(view)
    low, high = RANGES[measure]
    if measure in found:
        assert low <= found[measure] <= high


@pytest.mark.parametrize("view", ["ap", "lateral"])
def test_the_pictures_use_the_grey_scale_as_real_ones_do(view: str) -> None:
    low, high = GREY_RANGE[view]
    assert low <= phantom(view)[1]["grey range"] <= high


def test_steel_is_nearly_black_in_every_view() -> None:
    assert all(phantom(view)[1]["steel"] < 60 for view in ("ap", "lateral"))


def test_the_measures_find_what_was_drawn() -> None:
    side = 400
    y, x = np.indices((side, side))
    pixels = np.where((x - 199.5) ** 2 + (y - 199.5) ** 2 < 190**2, 150, 0).astype(np.uint8)
    cv2.line(pixels, (100, 200), (330, 200), 40, 13)
    blurred = np.asarray(cv2.GaussianBlur(pixels, (0, 0), 1.0), dtype=np.uint8)
    found = measures(Picture("drawn", blurred, (199.5, 199.5), 190, (Shaft((100, 200), (330, 200), 13),)))
    assert found["steel"] == pytest.approx(40, abs=2)
    assert found["steel step"] == pytest.approx(110, abs=3)
    # A Gaussian of one pixel takes 2.56 px from 10 to 90 %.
    assert found["steel edge"] == pytest.approx(2.56, abs=0.3)
    assert found["field edge"] == pytest.approx(2.56, abs=0.6)
    assert found["noise at 150"] < 0.5
    assert "noise at 110" not in found


def test_the_table_and_the_sheet_hold_both() -> None:
    picture, _ = phantom("lateral")
    text = table([picture], [picture])
    assert text.splitlines()[0].count("|") == 4
    assert "| steel edge |" in text
    assert sheet([picture], [picture]).shape == (960, 480)


def test_a_folder_without_labels_gives_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@needs_real
def test_the_ranges_are_those_of_the_real_pictures() -> None:
    found = [measures(picture) for picture in real_pictures(REAL)]
    for name, (low, high) in RANGES.items():
        values = [of_one[name] for of_one in found if name in of_one]
        assert min(values) == pytest.approx(low, rel=0.03), name
        assert max(values) == pytest.approx(high, rel=0.03), name
