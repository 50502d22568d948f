"""The trials of a campaign: procedures drawn at random over anatomies, views, doses, machines and events.

What a fixture shows once, a campaign shows many times and never twice the same: a figure holds when it holds over
these. Same seed and number, same trial.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, radians, sin
from pathlib import Path
from typing import Any

import numpy as np

from guidance.phantom.monitor import FieldShape, Layout
from guidance.phantom.scenario import Scenario
from guidance.records import View

DOSES_UR = (0.6, 1.0, 4.0)
SIDES_PX = (512, 768, 1024)
LAYOUTS = (Layout.PICTURE, Layout.PICTURE, Layout.MONITOR_1280X1024, Layout.PICTURE, Layout.MONITOR_1920X1080)
MONITOR_SIDE_PX = 512
"""What a machine's processor sends to its monitor, which enlarges it."""

CT_EVERY = 5
"""One trial in so many is on the CT volume, where there is one."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One simulated procedure of a campaign. ``kind``: what happens in it. ``knows_scale``: the plan has mm_per_px."""

    number: int
    kind: str
    seed: int
    scenario: Scenario
    knows_scale: bool

    @property
    def name(self) -> str:
        """What it is, for a reader, as in '12 crossing lateral 1 µR 768 px'."""
        video, display = self.scenario.video, self.scenario.display
        words = [f"{self.number} {self.kind} {self.scenario.carm.view.value}", f"{video.dose_ur:g} µR"]
        words.append(f"{video.size_px} px" if display.layout is Layout.PICTURE else display.layout.value)
        words += ["inverted"] * display.inverted + ["CT"] * (self.scenario.anatomy.ct is not None)
        return " ".join(words) + ("" if self.knows_scale else ", scale unknown")


def needle_trial(number: int, seed: int, ct: Path | None = None) -> Trial:
    """Trial ``number`` of the needle campaign: the kinds come in turn, all else at random.

    ``ct``: a CT volume, for every fifth trial's patient.
    """
    rng = np.random.default_rng([seed, number])
    kind, happens = _EVENTS[number % len(_EVENTS)]
    # In turn, each in a rhythm of its own: so short campaigns meet everything, too.
    turn = number // len(_EVENTS) + number
    view = (View.AP, View.LATERAL)[turn % 2]
    drawn = draw_machine(rng, view, DOSES_UR[turn % 3], LAYOUTS[number % 5])
    drawn["title"], drawn["may_alarm"] = kind, True
    drawn |= happens(rng, view, drawn["video"])
    if ct is not None and turn % CT_EVERY == 0:
        drawn["anatomy"] = {"ct": str(ct)}
    knows_scale = bool(rng.random() < 0.75)
    return Trial(number, kind, int(rng.integers(1, 1 << 16)), Scenario.model_validate(drawn), knows_scale)


Rng = np.random.Generator
Drawn = dict[str, Any]


def draw_machine(rng: Rng, view: View, dose_ur: float, layout: Layout) -> Drawn:
    """How the machine makes and shows its picture, and how the patient breathes."""
    on_monitor = layout is not Layout.PICTURE
    through_jpeg = bool(rng.random() < (0.6 if on_monitor else 0.2))
    return {
        "video": {
            "duration_s": 6.0,
            "size_px": MONITOR_SIDE_PX if on_monitor else int(rng.choice(SIDES_PX)),
            "dose_ur": dose_ur,
            "kvp": round(rng.uniform(65, 95)),
            "lag": round(rng.uniform(0.2, 0.6), 2),
            "jpeg_quality": int(rng.integers(70, 95)) if through_jpeg else None,
        },
        "display": {
            "layout": layout,
            "field": rng.choice(list(FieldShape)),
            "edge": rng.choice(["hard", "soft"]),
            "inverted": bool(rng.random() < 0.5),
            "rotation_deg": round(rng.normal(0, 6), 1) if rng.random() < 0.5 else 0.0,
            "edge_gain": round(rng.uniform(0, 0.8), 2),
            "latitude": round(rng.uniform(1.2, 2.0), 2),
        },
        "carm": draw_pose(rng, view),
        "breathing": {"amplitude_mm": round(rng.uniform(0, 3), 2), "per_minute": round(rng.uniform(9, 18), 1)},
    }


def draw_pose(rng: Rng, view: View) -> Drawn:
    straight = 0.0 if view is View.AP else 90.0
    return {
        "view": view,
        "rotation_deg": round(straight + rng.normal(0, 3), 1),
        "tilt_deg": round(rng.normal(5, 6), 1) if view is View.AP else 0.0,
        "isocentre_mm": [round(v, 1) for v in rng.uniform(-10, 10, 3)],
        "field_mm": round(rng.uniform(170, 240)),
    }


def draw_needle(rng: Rng, target: str | None = None) -> Drawn:
    """A needle that lies still, never so nearly along the AP beam that it is a dot."""
    target = target or str(rng.choice(["ala_L", "ala_R", "body_S1", "body_S2"]))
    outwards = {"L": 1, "R": -1}.get(target[-1], int(rng.choice([-1, 1])))
    return {
        "target": target,
        "offset_mm": [round(v, 1) for v in rng.uniform(-4, 4, 3)],
        "lateral_deg": round(float(outwards * rng.uniform(14, 40)), 1),
        "cephalad_deg": round(rng.uniform(-25, 25), 1),
        "gauge": int(rng.choice([11, 11, 13])),
        "remaining_mm": round(rng.uniform(0, 10), 1),
    }


def drive(rng: Rng, path: Drawn, start_s: float, end_s: float) -> Drawn:
    """The path with two to four strokes of a mallet."""
    count = int(rng.integers(2, 5))
    starts = start_s + (end_s - start_s) * (np.arange(count) + rng.uniform(0, 0.3, count)) / count
    left = np.linspace(float(rng.uniform(22, 38)), float(rng.uniform(-3, 3)), count + 1).tolist()
    strokes = [
        {"start_s": round(s, 2), "end_s": round(s + float(rng.uniform(0.3, 0.7)), 2), "remaining_mm": round(mm, 1)}
        for s, mm in zip(starts.tolist(), left[1:], strict=True)
    ]
    return path | {"remaining_mm": round(left[0], 1), "strokes": strokes}


def draw_gas(rng: Rng, start_s: float, end_s: tuple[float, float]) -> list[Drawn]:
    """Three bubbles in the bowel before the sacrum: one drifts from the start, all have since ``start_s`` at most.

    ``end_s``: between what times each comes to rest.
    """
    return [
        {
            "kind": "gas",
            "at_mm": [round(v, 1) for v in rng.uniform((-30, -45, -35), (30, -25, 35)).tolist()],
            "drift_mm_per_s": [round(v, 1) for v in rng.normal(0, 2.5, 3).tolist()],
            "start_s": round(float(rng.uniform(0, start_s)), 1) * (i > 0),
            "end_s": round(float(rng.uniform(*end_s)), 1),
        }
        for i in range(3)
    ]


def _still(rng: Rng, view: View, video: Drawn) -> Drawn:
    return {"needles": [draw_needle(rng)]}


def _driving(rng: Rng, view: View, video: Drawn) -> Drawn:
    targets = rng.permutation(["ala_L", "ala_R", "body_S1"])[: int(rng.integers(1, 4))]
    paths = [draw_needle(rng, str(target)) for target in targets]
    return {"needles": [drive(rng, paths[0], 0.8, 5.5), *paths[1:]]}


def _crossing(rng: Rng, view: View, video: Drawn) -> Drawn:
    """Two needles whose shadows cross, one of them on the move."""
    target = str(rng.choice(["ala_L", "ala_R"]))
    one, other = draw_needle(rng, target), draw_needle(rng, target)
    other |= {"lateral_deg": -0.4 * one["lateral_deg"], "cephalad_deg": -one["cephalad_deg"]}
    other["offset_mm"] = [round(v, 1) for v in rng.uniform(-12, 12, 3)]
    return {"needles": [drive(rng, one, 0.8, 5.5), other]}


def _beside_metal(rng: Rng, view: View, video: Drawn) -> Drawn:
    return {
        "needles": [drive(rng, draw_needle(rng), 0.8, 5.0)],
        "distractors": draw_metal(rng, int(rng.integers(1, 3))),
    }


def _in_cement(rng: Rng, view: View, video: Drawn) -> Drawn:
    video["duration_s"] = 9.0
    path = drive(rng, draw_needle(rng, str(rng.choice(["ala_L", "ala_R"]))), 0.5, 2.5)
    ml = round(float(rng.uniform(0.5, 1.4)), 2)
    return {"needles": [path], "cement": [{"ml": ml, "start_s": 3.5, "end_s": 8.5}]}


def _end_on(rng: Rng, view: View, video: Drawn) -> Drawn:
    """The bull's eye view down the needle: the C-arm looks along it, give or take two degrees."""
    path = draw_needle(rng, str(rng.choice(["ala_L", "ala_R"])))
    path |= {"cephalad_deg": 0.0, "lateral_deg": round(0.6 * path["lateral_deg"], 1)}
    aim = float(path["lateral_deg"] + rng.normal(0, 0.7))
    return {
        "needles": [path],
        "carm": draw_pose(rng, View.AP)
        | {"rotation_deg": round(aim, 2), "tilt_deg": round(float(rng.normal(0, 0.7)), 2)},
    }


def _swing(rng: Rng, view: View, video: Drawn) -> Drawn:
    """To the other view and back. The needle goes on meanwhile in half of them."""
    video["duration_s"] = 12.0
    other = draw_pose(rng, View.LATERAL if view is View.AP else View.AP)
    here = draw_pose(rng, view)
    path = draw_needle(rng, "body_S1") | {"remaining_mm": 14.0}
    if rng.random() < 0.5:
        path["strokes"] = [{"start_s": 6.0, "end_s": 6.5, "remaining_mm": round(float(rng.uniform(6, 10)), 1)}]
    return {
        "carm": here,
        "needles": [path],
        "swings": [
            other | {"start_s": 3.0, "end_s": 4.6, "beam_on": bool(rng.random() < 0.5)},
            here | {"start_s": 7.4, "end_s": 9.0, "beam_on": bool(rng.random() < 0.5)},
        ],
    }


def _occlusion(rng: Rng, view: View, video: Drawn) -> Drawn:
    """For one second a clamp's joint lies over the tip."""
    target = str(rng.choice(["ala_L", "ala_R"]))
    start_s = round(float(rng.uniform(2, 3.5)), 2)
    return {
        "needles": [draw_needle(rng, target) | {"remaining_mm": 0.0, "offset_mm": [0.0, 0.0, 0.0]}],
        "distractors": [_clamp_over(rng, target) | {"start_s": start_s, "end_s": start_s + 1.0}],
    }


def _withdrawal(rng: Rng, view: View, video: Drawn) -> Drawn:
    """Drawn back, out of the field where it is not too large, and in again along the same way."""
    video["duration_s"] = 9.0
    back_mm, away_s = round(float(rng.uniform(60, 110))), round(float(rng.uniform(0.5, 2.5)), 2)
    strokes = [
        {"start_s": 2.0, "end_s": 3.2, "remaining_mm": back_mm},
        {"start_s": 3.2 + away_s, "end_s": 4.6 + away_s, "remaining_mm": 0.0},
    ]
    return {"needles": [draw_needle(rng) | {"remaining_mm": 0.0, "strokes": strokes}]}


def _nothing(rng: Rng, view: View, video: Drawn) -> Drawn:
    contrast = [{"root": "S1L", "start_s": 1.5}] if rng.random() < 0.3 and view is View.AP else []
    return {"contrast": contrast}


def _only_metal(rng: Rng, view: View, video: Drawn) -> Drawn:
    return {"distractors": draw_metal(rng, int(rng.integers(1, 4)))}


_EVENTS: tuple[tuple[str, Callable[[Rng, View, Drawn], Drawn]], ...] = (
    ("still", _still),
    ("driving", _driving),
    ("nothing", _nothing),
    ("crossing", _crossing),
    ("metal", _only_metal),
    ("beside metal", _beside_metal),
    ("in cement", _in_cement),
    ("swing", _swing),
    ("metal", _only_metal),
    ("occlusion", _occlusion),
    ("withdrawal", _withdrawal),
    ("nothing", _nothing),
    ("end-on", _end_on),
)
"""What happens in the needle campaign's trials, in turn."""


def draw_metal(rng: Rng, count: int) -> list[Drawn]:
    """Clamps, screws, leads and rails anywhere in the field, each there from the start or laid down later."""
    things = []
    for kind in rng.choice(["clamp", "screw", "cable", "rail"], count).tolist():
        entry: Drawn = {
            "kind": kind,
            "at_mm": [round(v, 1) for v in rng.uniform((-35, -60, -35), (35, 75, 35))],
            "angle_deg": round(float(rng.uniform(-180, 180))),
        }
        if rng.random() < 0.4:
            entry["start_s"] = round(float(rng.uniform(1, 3)), 1)
        things.append(entry)
    return things


def _clamp_over(rng: Rng, target: str) -> Drawn:
    """A clamp whose joint, 42 mm behind its jaws' point, lies on the ala's target: in every view it covers it."""
    side = 38.0 if target[-1] == "L" else -38.0
    angle = float(rng.uniform(-180, 180))
    a = radians(angle)
    at = [side + 42 * cos(a), 2.5, 42 * sin(a)]
    return {"kind": "clamp", "at_mm": [round(v, 1) for v in at], "angle_deg": round(angle, 1)}
