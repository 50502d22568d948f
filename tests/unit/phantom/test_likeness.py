"""The phantom's pictures beside real C-arm pictures: the same measures, and the range that the real ones span.

The ranges below were measured with these functions on the eleven full 8-bit pictures of carm_hip_dev; where the
pictures are at hand, the ranges are measured again.
"""

import json
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from guidance.casebook.case import FrameTruth
from guidance.phantom.procedure import Procedure
from guidance.phantom.scenario import load_scenario

Gray = NDArray[np.uint8]
Point = tuple[float, float]

REAL = Path(__file__).parents[4] / "shared" / "data" / "carm_hip_dev"

NOISE_GREY = {110: (2.3, 7.9), 150: (2.0, 6.1), 190: (1.7, 5.4)}
"""Standard deviation of the fine grain, by the grey level around it."""
GRAIN = (0.34, 0.69)
"""Correlation of the fine grain between neighbouring pixels."""
EDGE_PX = (2.0, 3.0)
"""The field's edge from 90 to 10 %."""
NEEDLE_STEP_GREY = (54, 88)
"""How much darker the axis of a steel pin is than what lies beside it, where that is a middle grey."""


def fine_grain(picture: Gray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What is finer than four pixels, and the level around it."""
    level = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 4)
    return picture - level, level


def noise_at(picture: Gray, inside: NDArray[np.bool_], grey: float) -> float | None:
    grain, level = fine_grain(picture)
    here = grain[inside & (np.abs(level - grey) < 10)]
    return None if here.size < 0.01 * picture.size else float(1.4826 * np.median(np.abs(here - np.median(here))))


def grain_correlation(picture: Gray, inside: NDArray[np.bool_]) -> float:
    grain, level = fine_grain(picture)
    grain = np.clip(grain, -15, 15)  # edges of bones are not grain
    use = inside & (level > 40) & (level < 200)
    return float((grain * np.roll(grain, -1, 1))[use].mean() / (grain**2)[use].mean())


def edge_width_px(picture: Gray, centre: Point, radius: float) -> float:
    """The median over all directions in which the field is bright up to its edge."""
    turn = np.linspace(0, 2 * np.pi, 360, endpoint=False)[:, None]
    out = np.arange(radius - 20, radius + 20, 0.5)[None]
    x, y = (centre[0] + out * np.cos(turn)).astype(np.float32), (centre[1] + out * np.sin(turn)).astype(np.float32)
    rays = cv2.remap(picture.astype(np.float32), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    widths = []
    for ray in rays:
        bright, dark = np.median(ray[:10]), np.median(ray[-10:])
        if bright - dark > 40:
            share = (ray - dark) / (bright - dark)
            last = np.flatnonzero(share > 0.9)[-1]
            below = np.flatnonzero(share[last:] < 0.1)
            if below.size:
                widths.append(0.5 * below[0])
    return float(np.median(widths))


def disc(picture: Gray, centre: Point, radius: float) -> NDArray[np.bool_]:
    y, x = np.indices(picture.shape)
    return np.asarray((x - centre[0]) ** 2 + (y - centre[1]) ** 2 < (radius - 15) ** 2)


def needle_step(picture: Gray, tip_px: Point, back_px: Point, width_px: float) -> tuple[float, float]:
    """Grey beside a shaft minus grey on its axis, over three to eight widths from the tip; and the grey beside."""
    tip, back = np.array(tip_px), np.array(back_px)
    length = float(np.linalg.norm(back - tip))
    along = (back - tip) / length
    across = np.array([-along[1], along[0]])
    s = np.arange(min(3 * width_px, 0.4 * length), min(8 * width_px, 0.9 * length))[:, None]

    def grey(aside: float) -> float:
        x, y = (tip + s * along + aside * width_px * across).astype(np.float32).T
        return float(cv2.remap(picture.astype(np.float32), x, y, cv2.INTER_LINEAR).mean())

    beside = (grey(1.2) + grey(-1.2)) / 2
    return beside - grey(0.0), beside


@lru_cache(maxsize=1)
def phantom() -> tuple[Gray, Point, float, Procedure, FrameTruth]:
    procedure = Procedure(load_scenario("leak_foramen"))
    moment, picture = next(frame for frame in procedure.frames() if frame[0].t_s > 7)
    half = (picture.shape[0] - 1) / 2
    return picture, (half, half), 0.985 * picture.shape[0] / 2, procedure, procedure.truth(moment)


def test_the_grain_is_as_strong_as_in_real_pictures() -> None:
    picture, centre, radius, *_ = phantom()
    inside = disc(picture, centre, radius)
    for grey, (low, high) in NOISE_GREY.items():
        noise = noise_at(picture, inside, grey)
        assert noise is None or low <= noise <= high, grey


def test_the_grain_is_as_coarse_as_in_real_pictures() -> None:
    picture, centre, radius, *_ = phantom()
    assert GRAIN[0] <= grain_correlation(picture, disc(picture, centre, radius)) <= GRAIN[1]


def test_the_fields_edge_is_as_sharp_as_in_real_pictures() -> None:
    picture, centre, radius, *_ = phantom()
    assert EDGE_PX[0] <= edge_width_px(picture, centre, radius) <= EDGE_PX[1]


def test_the_needle_has_the_contrast_of_real_pictures() -> None:
    picture, _, _, procedure, truth = phantom()
    tip = truth.tips[0]
    step, _ = needle_step(picture, tip.tip_px, tip.back_px, 3.05 / procedure.mm_per_px)
    assert NEEDLE_STEP_GREY[0] <= step <= NEEDLE_STEP_GREY[1]


@pytest.mark.skipif(not REAL.is_dir(), reason="the real C-arm pictures of carm_hip_dev are not at hand")
def test_the_ranges_are_those_of_the_real_pictures() -> None:
    labels = json.loads((REAL / "labels.json").read_text())["images"]
    noise: dict[float, list[float]] = {grey: [] for grey in NOISE_GREY}
    grain, edges, steps = [], [], []
    for name in sorted(labels):
        if "Lat" in name:
            picture = np.asarray(cv2.imread(str(REAL / name), cv2.IMREAD_GRAYSCALE), dtype=np.uint8)
            field = labels[name]["fov"]
            centre, radius = (field["cx"], field["cy"]), field["r"]
            inside = disc(picture, centre, radius)
            for grey, found in noise.items():
                value = noise_at(picture, inside, grey)
                found += [] if value is None else [value]
            grain.append(grain_correlation(picture, inside))
            edges.append(edge_width_px(picture, centre, radius))
            for pin in labels[name]["instruments"]:
                if pin["scored"] and pin.get("width_px", 0) > 6:
                    step, beside = needle_step(picture, pin["tip_px"], pin["back_px"], pin["width_px"])
                    steps += [step] if 85 < beside < 170 else []
    for grey, (low, high) in NOISE_GREY.items():
        assert min(noise[grey]) == pytest.approx(low, abs=0.3)
        assert max(noise[grey]) == pytest.approx(high, abs=0.3)
    assert (min(grain), max(grain)) == pytest.approx(GRAIN, abs=0.05)
    for found, (low, high), least in (
        (edges, EDGE_PX, 0.6),
        (steps, NEEDLE_STEP_GREY, 2.0),
    ):
        assert min(found) == pytest.approx(low, abs=least)
        assert max(found) == pytest.approx(high, abs=least)
