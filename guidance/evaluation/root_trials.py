"""The trials of the root campaign: epidurograms of one to four roots, and what looks like a root and is none.

Contrast goes in from the second second on, for two to three seconds; then it washes out, and the table moves.
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
    draw_needle,
)
from guidance.phantom.scenario import Scenario
from guidance.records import View

DURATION_S = 9.0
FIRST_S = 1.2
"""When contrast first goes in."""

ROOTS = ("S1L", "S1R", "S2L", "S2R")
LATERAL_EVERY = 4
"""The epidurogram is watched from behind; one in so many from the side, where left and right lie in one."""


def root_trial(number: int, seed: int, ct: Path | None = None) -> Trial:
    """Trial ``number`` of the root campaign: events, views, doses and layouts come in turn, all else at random.

    ``ct``: a CT volume, for every fifth trial's patient.
    """
    rng = np.random.default_rng([seed, number, 2])
    kind, happens = _EVENTS[number % len(_EVENTS)]
    turn = number // len(_EVENTS) + number
    view = View.LATERAL if number % LATERAL_EVERY == LATERAL_EVERY - 1 else View.AP
    drawn = draw_machine(rng, view, DOSES_UR[turn % 3], LAYOUTS[number % 5])
    drawn["video"]["duration_s"] = DURATION_S
    drawn["title"], drawn["may_alarm"] = kind, True
    drawn["contrast"] = _filled_roots(rng, 1 + turn % 4)
    drawn["table"] = [_table_move(rng, float(rng.uniform(6.0, 6.5)))]
    drawn |= happens(rng, view, drawn)
    if ct is not None and turn % CT_EVERY == 0:
        drawn["anatomy"] = {"ct": str(ct)}
    return Trial(number, kind, int(rng.integers(1, 1 << 16)), Scenario.model_validate(drawn), knows_scale=True)


def _filled_roots(rng: Rng, count: int) -> list[Drawn]:
    """So many roots, all within 0.6 s: several needles lie in their foramina, with a syringe on each."""
    return [_injection(rng, str(name)) for name in rng.permutation(ROOTS)[:count]]


def _injection(rng: Rng, root: str) -> Drawn:
    return {
        "root": root,
        "ml": round(float(rng.uniform(0.6, 1.3)), 2),
        "start_s": round(FIRST_S + float(rng.uniform(0, 0.6)), 2),
        "washout_s": round(float(rng.uniform(1, 4)), 1),
    }


def _table_move(rng: Rng, start_s: float) -> Drawn:
    shift = rng.normal(0, 1, 3)
    shift *= float(rng.uniform(4, 12)) / np.linalg.norm(shift)
    end_s = start_s + float(rng.uniform(0.4, 1.0))
    return {
        "start_s": round(start_s, 2),
        "end_s": round(end_s, 2),
        "shift_mm": [round(v, 1) for v in shift.tolist()],
    }


def _nothing_else(rng: Rng, view: View, drawn: Drawn) -> Drawn:
    return {}


def _breath(rng: Rng, view: View, drawn: Drawn) -> Drawn:
    nod_deg = round(float(rng.uniform(0, 1.5)), 2)
    return {"breathing": {"amplitude_mm": 4.0, "per_minute": 18.0, "nod_deg": nod_deg}}


def _table(rng: Rng, view: View, drawn: Drawn) -> Drawn:
    """The table moves while contrast runs, and again later."""
    return {"table": [_table_move(rng, 2.0), *drawn["table"]]}


def _pan(rng: Rng, view: View, drawn: Drawn) -> Drawn:
    """The C-arm is rolled aside while contrast runs: the picture shifts, parallax and all."""
    here = drawn["carm"]
    aside = [v + d for v, d in zip(here["isocentre_mm"], rng.uniform(-12, 12, 3).tolist(), strict=True)]
    there = here | {"isocentre_mm": [round(v, 1) for v in aside], "start_s": 2.0, "end_s": 3.0, "beam_on": True}
    return {"swings": [there], "table": []}


def _dose(rng: Rng, view: View, drawn: Drawn) -> Drawn:
    doses = rng.permutation([dose for dose in DOSES_UR if dose != drawn["video"]["dose_ur"]]).tolist()
    return {"dose": [{"at_s": 2.4, "dose_ur": doses[0]}, {"at_s": 5.0, "dose_ur": doses[1]}]}


def _needle(rng: Rng, view: View, drawn: Drawn) -> Drawn:
    """A bone access needle is in place already."""
    return {"needles": [draw_needle(rng)]}


def _astray(into: str) -> Callable[[Rng, View, Drawn], Drawn]:
    """Contrast goes elsewhere, along with that which fills a root in half of the trials."""

    def happens(rng: Rng, view: View, drawn: Drawn) -> Drawn:
        amiss, *others = rng.permutation(ROOTS).tolist()
        stray = _injection(rng, amiss) | {"into": into, "ml": round(float(rng.uniform(0.3, 1.2)), 2)}
        if into == "vein":
            stray["washout_s"] = 0.5
        return {"contrast": [stray, *[_injection(rng, name) for name in others[: int(rng.integers(0, 2))]]]}

    return happens


def _wire(rng: Rng, view: View, drawn: Drawn) -> Drawn:
    """A lead is laid over the field while contrast is awaited."""
    lead = {
        "kind": "cable",
        "at_mm": [round(v, 1) for v in rng.uniform((-30, 60, -30), (30, 75, 30)).tolist()],
        "angle_deg": round(float(rng.uniform(-180, 180))),
        "start_s": round(float(rng.uniform(1.5, 3.5)), 1),
    }
    return {"distractors": [lead], "contrast": drawn["contrast"][: int(rng.integers(0, 2))] or [_a_drop(rng)]}


def _gas(rng: Rng, view: View, drawn: Drawn) -> Drawn:
    """Bubbles in the bowel before the sacrum, on their way."""
    bubbles = draw_gas(rng, 3.0, (4.0, 8.0))
    return {"distractors": bubbles, "contrast": drawn["contrast"][: int(rng.integers(0, 2))] or [_a_drop(rng)]}


def _a_drop(rng: Rng) -> Drawn:
    """A drop that fills nothing: contrast is awaited, so the epidurogram begins, and none comes."""
    return _injection(rng, "S1L") | {"into": "layer", "ml": 0.01}


_EVENTS: tuple[tuple[str, Callable[[Rng, View, Drawn], Drawn]], ...] = (
    ("roots", _nothing_else),
    ("vein", _astray("vein")),
    ("table", _table),
    ("tissue", _astray("tissue")),
    ("needle", _needle),
    ("canal", _astray("canal")),
    ("pan", _pan),
    ("layer", _astray("layer")),
    ("dose", _dose),
    ("skin", _astray("skin")),
    ("breath", _breath),
    ("wire", _wire),
    ("gas", _gas),
)
"""Kind and what happens, in turn."""
