"""The trials of the leak campaign: cement that leaks, needles that stray, and all that must raise no alarm.

Every quiet trial has a needle at rest and cement under way, because false alarms come while cement is watched for.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from guidance.evaluation.trials import (
    CT_EVERY,
    DOSES_UR,
    LAYOUTS,
    Drawn,
    Rng,
    Trial,
    draw_gas,
    draw_machine,
    draw_metal,
    draw_needle,
    draw_pose,
    drive,
)
from guidance.phantom.scenario import Scenario
from guidance.records import View

DURATION_S = 13.0


def leak_trial(number: int, seed: int, ct: Path | None = None) -> Trial:
    """Trial ``number`` of the leak campaign: the events come in turn, all else at random.

    ``ct``: a CT volume, for every fifth trial's patient.
    """
    rng = np.random.default_rng([seed, number, 1])
    kind, happens, wanted = _EVENTS[number % len(_EVENTS)]
    turn = number // len(_EVENTS) + number
    view = wanted or (View.AP, View.LATERAL)[turn % 2]
    drawn = draw_machine(rng, view, DOSES_UR[turn % 3], LAYOUTS[number % 5])
    drawn["video"]["duration_s"] = DURATION_S
    drawn["title"], drawn["may_alarm"] = kind, kind in LEAKS + BREACHES
    drawn |= happens(rng, view, drawn)
    if ct is not None and turn % CT_EVERY == 0:
        drawn["anatomy"] = {"ct": str(ct)}
    return Trial(number, kind, int(rng.integers(1, 1 << 16)), Scenario.model_validate(drawn), knows_scale=True)


def _needle_at_rest(rng: Rng, view: View) -> Drawn:
    """Driven to its target within two seconds. From the side the S1 body shows best, from behind an ala."""
    target = "body_S1" if view is View.LATERAL else str(rng.choice(["ala_L", "ala_R"]))
    return drive(rng, draw_needle(rng, target), 0.4, 2.4)


def _cement(rng: Rng, start_s: float = 3.4, end_s: float = 12.5) -> Drawn:
    rate_ml_per_s = float(rng.uniform(0.08, 0.2))
    return {"ml": round(rate_ml_per_s * (end_s - start_s), 2), "start_s": start_s, "end_s": end_s}


def _leak(leak: str) -> Callable[[Rng, View, Drawn], Drawn]:
    def happens(rng: Rng, view: View, drawn: Drawn) -> Drawn:
        cement = _cement(rng) | {"leak": leak, "leak_after_ml": round(float(rng.uniform(0.15, 0.6)), 2)}
        return {"needles": [_needle_at_rest(rng, view)], "cement": [cement]}

    return happens


def _leak_after_epidurogram(rng: Rng, view: View, drawn: Drawn) -> Drawn:
    drawn["video"]["duration_s"] = 18.0
    side = str(rng.choice(["L", "R"]))
    needle = drive(rng, draw_needle(rng, f"ala_{side}"), 5.5, 7.5)
    cement = _cement(rng, 8.5, 17.5) | {"leak": "foramen", "leak_after_ml": round(float(rng.uniform(0.15, 0.6)), 2)}
    return {
        "contrast": _epidurogram(rng, side),
        "needles": [needle | {"appears_s": 4.5}],
        "cement": [cement],
    }


def _epidurogram(rng: Rng, side: str) -> list[Drawn]:
    roots = rng.permutation([f"S1{side}", f"S2{side}"])[: int(rng.integers(1, 3))]
    return [
        {
            "root": str(root),
            "ml": round(float(rng.uniform(0.7, 1.6)), 2),
            "start_s": round(0.6 + 0.8 * i, 2),
            "washout_s": round(float(rng.uniform(5, 30)), 1),
        }
        for i, root in enumerate(roots)
    ]


def _breach(rng: Rng, view: View, drawn: Drawn) -> Drawn:
    """A needle goes into a foramen as seen from behind, or into the canal as seen from the side."""
    side = str(rng.choice(["L", "R"]))
    target = "canal" if view is View.LATERAL else f"foramen_{rng.choice(['S1', 'S2'])}{side}"
    path = draw_needle(rng, target) | {"offset_mm": [0.0, 0.0, 0.0]}
    path["lateral_deg"] = round(float(rng.uniform(14, 35)) * (1 if side == "L" else -1), 1)
    strokes = [
        {"start_s": 1.5, "end_s": 2.1, "remaining_mm": 24.0},
        {"start_s": 3.5, "end_s": 4.1, "remaining_mm": 12.0},
        {"start_s": 5.5, "end_s": 6.3, "remaining_mm": 0.0},
    ]
    drawn["video"]["duration_s"] = 9.0
    return {"needles": [path | {"remaining_mm": 38.0, "strokes": strokes}]}


def _calm(rng: Rng, view: View, drawn: Drawn) -> Drawn:
    return {"needles": [_needle_at_rest(rng, view)], "cement": [_cement(rng)]}


def _breath(rng: Rng, view: View, drawn: Drawn) -> Drawn:
    breathing = {"amplitude_mm": 4.0, "per_minute": 16.0, "nod_deg": round(float(rng.uniform(0, 1.5)), 2)}
    return _calm(rng, view, drawn) | {"breathing": breathing}


def _table_jump(rng: Rng, view: View, drawn: Drawn) -> Drawn:
    """The patient is carried to two places, each 5 to 25 mm and up to 5° from where the reference was taken."""
    moves = []
    was, was_deg = np.zeros(3), 0.0
    for start_s in (4.5, 8.5):
        place, place_deg = rng.normal(0, 1, 3), float(rng.uniform(-5, 5))
        place *= float(rng.uniform(5, 25)) / np.linalg.norm(place)
        end_s = start_s + float(rng.uniform(0.3, 1.2))
        moves.append(
            {
                "start_s": start_s,
                "end_s": round(end_s, 2),
                "shift_mm": [round(v, 1) for v in (place - was).tolist()],
                "turn_deg": round(place_deg - was_deg, 2),
            }
        )
        was, was_deg = place, place_deg
    return _calm(rng, view, drawn) | {"table": moves}


def _pan(rng: Rng, view: View, drawn: Drawn) -> Drawn:
    """The C-arm is rolled aside with the beam on: the picture shifts, parallax and all."""
    here = draw_pose(rng, view)
    aside = [v + d for v, d in zip(here["isocentre_mm"], rng.uniform(-12, 12, 3).tolist(), strict=True)]
    there = here | {"isocentre_mm": [round(v, 1) for v in aside], "start_s": 7.0, "end_s": 8.2, "beam_on": True}
    return _calm(rng, view, drawn) | {"carm": here, "swings": [there]}


def _swing_and_back(rng: Rng, view: View, drawn: Drawn) -> Drawn:
    here, other = draw_pose(rng, view), draw_pose(rng, View.LATERAL if view is View.AP else View.AP)
    with_beam = bool(rng.random() < 0.5)
    drawn["video"]["duration_s"] = 18.0
    return {
        "carm": here,
        "needles": [drive(rng, draw_needle(rng, "body_S1"), 0.4, 2.4)],
        "cement": [_cement(rng, 3.4, 17.5)],
        "swings": [
            other | {"start_s": 6.5, "end_s": 8.1, "beam_on": with_beam},
            here | {"start_s": 11.5, "end_s": 13.1, "beam_on": with_beam},
        ],
    }


def _dose_step(rng: Rng, view: View, drawn: Drawn) -> Drawn:
    doses = rng.permutation(DOSES_UR).tolist()
    return _calm(rng, view, drawn) | {"dose": [{"at_s": 5.0, "dose_ur": doses[0]}, {"at_s": 9.0, "dose_ur": doses[1]}]}


def _shutters(rng: Rng, view: View, drawn: Drawn) -> Drawn:
    closed = [round(float(v), 2) for v in rng.uniform(0.0, 0.22, 4)]
    leaves = dict(zip(("left", "top", "right", "bottom"), closed, strict=True)) | {
        "turn_deg": round(float(rng.normal(0, 6)), 1)
    }
    return _calm(rng, view, drawn) | {"collimation": [leaves | {"at_s": 5.5}]}


def _clamp_moves(rng: Rng, view: View, drawn: Drawn) -> Drawn:
    things = draw_metal(rng, int(rng.integers(1, 3)))
    for thing in things:
        thing["drift_mm_per_s"] = [round(v, 1) for v in rng.normal(0, 6, 3).tolist()]
        thing |= {"start_s": 4.5, "end_s": 9.5}
    return _calm(rng, view, drawn) | {"distractors": things}


def _gas(rng: Rng, view: View, drawn: Drawn) -> Drawn:
    """Bubbles in the bowel before the sacrum, on their way."""
    bubbles = draw_gas(rng, 5.0, (7.0, 12.0))
    return _calm(rng, view, drawn) | {"distractors": bubbles}


def _washout(rng: Rng, view: View, drawn: Drawn) -> Drawn:
    """An epidurogram that fades while cement stays in the other ala."""
    drawn["video"]["duration_s"] = 18.0
    side, other = rng.permutation(["L", "R"]).tolist()
    needle = drive(rng, draw_needle(rng, f"ala_{other}"), 5.5, 7.5) | {"appears_s": 4.5}
    return {"contrast": _epidurogram(rng, side), "needles": [needle], "cement": [_cement(rng, 8.5, 17.5)]}


def _withdrawal(rng: Rng, view: View, drawn: Drawn) -> Drawn:
    """The needle comes out of the set cement."""
    path = _needle_at_rest(rng, view)
    path["strokes"].append({"start_s": 9.0, "end_s": 10.5, "remaining_mm": round(float(rng.uniform(25, 70)), 1)})
    return {"needles": [path], "cement": [_cement(rng, 3.4, 7.5)]}


def _held(rng: Rng, view: View, drawn: Drawn) -> Drawn:
    drawn["video"]["video_hz"] = 15.0
    pauses = [{"state": "held", "start_s": 5.0, "end_s": 7.0}, {"state": "held", "start_s": 9.0, "end_s": 10.0}]
    return _calm(rng, view, drawn) | {"intervals": pauses}


def _jpeg(rng: Rng, view: View, drawn: Drawn) -> Drawn:
    drawn["video"]["jpeg_quality"] = 70
    return _calm(rng, view, drawn)


LEAKS = ("leak foramen", "leak after epidurogram", "leak canal", "leak anterior", "leak vein")
BREACHES = ("breach",)

_EVENTS: tuple[tuple[str, Callable[[Rng, View, Drawn], Drawn], View | None], ...] = (
    ("leak foramen", _leak("foramen"), View.AP),
    ("breath", _breath, None),
    ("leak canal", _leak("canal"), View.LATERAL),
    ("table jump", _table_jump, None),
    ("leak vein", _leak("vein"), None),
    ("pan", _pan, None),
    ("breach", _breach, None),
    ("swing", _swing_and_back, None),
    ("leak anterior", _leak("anterior"), View.LATERAL),
    ("dose step", _dose_step, None),
    ("leak after epidurogram", _leak_after_epidurogram, View.AP),
    ("shutters", _shutters, None),
    ("leak foramen", _leak("foramen"), View.AP),
    ("clamp", _clamp_moves, None),
    ("leak vein", _leak("vein"), None),
    ("gas", _gas, None),
    ("breach", _breach, None),
    ("wash-out", _washout, View.AP),
    ("leak canal", _leak("canal"), View.LATERAL),
    ("withdrawal", _withdrawal, None),
    ("held", _held, None),
    ("jpeg", _jpeg, None),
)
"""Kind, what happens, and the view that shows it (None: either), in turn."""
