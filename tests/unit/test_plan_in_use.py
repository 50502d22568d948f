"""A plan drawn on a frozen picture of a patient who breathes, while the table moves, and put to use much later."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from drivers.sources import open_source
from guidance.casebook.case import FrameTruth
from guidance.phantom.source import PhantomSource
from guidance.plan import load_plan
from guidance.records import CasePlan, PolygonPx, View, Zone, ZoneKind
from guidance.vision.geometry import RigidMotion
from guidance.vision.pipeline import Pipeline

pytestmark = pytest.mark.slow

SIZE_PX = 256
FROZEN_S, USED_S, END_S = 1.6, 6.0, 7.6
"""The table carries the patient by 7 mm between the two."""
SQUARE = np.array([[110.0, 115.0], [140.0, 115.0], [140.0, 145.0], [110.0, 145.0]])
PLAN = CasePlan(zones=(Zone("canal", ZoneKind.FORBIDDEN, SQUARE),))


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Where the square is told and where it is, drawn on the first frame, and drawn on the frozen picture."""

    first_px: PolygonPx
    first_truth_px: PolygonPx
    frozen_px: PolygonPx
    frozen_truth_px: PolygonPx

    @property
    def registration_error_px(self) -> float:
        return _farthest(self.first_px, self.first_truth_px)

    @property
    def error_px(self) -> float:
        return _farthest(self.frozen_px, self.frozen_truth_px)


def lay(truth: FrameTruth) -> RigidMotion:
    assert truth.shift_px is not None
    assert truth.rotation_deg is not None
    return RigidMotion(truth.shift_px, truth.rotation_deg, ((SIZE_PX - 1) / 2, (SIZE_PX - 1) / 2))


def _farthest(told: NDArray[np.float64], true: NDArray[np.float64]) -> float:
    return float(np.hypot(*(told - true).T).max())


@pytest.fixture(scope="module")
def seen() -> tuple[float, list[Seen]]:
    """How far registration erred on the frozen picture, and every frame from the use on."""
    rows: list[Seen] = []
    frozen: tuple[int, RigidMotion, float] | None = None
    used = False
    with PhantomSource("breathing_table_move", size_px=SIZE_PX, keep_truth=True) as source:
        drawn_first, drawn_frozen = Pipeline(PLAN, source.info), Pipeline(CasePlan(), source.info)
        for number, frame in enumerate(source):
            first, later = drawn_first.step(frame), drawn_frozen.step(frame)
            motion = lay(source.truth_of(number))
            here = first.zones[0].polygon_px
            if frozen is None and later.t_s >= FROZEN_S:
                frozen = later.pulse, motion, _farthest(here, motion.move(SQUARE))
            if frozen is not None and used:
                truth = motion.move(frozen[1].move_back(SQUARE))
                rows.append(Seen(here, motion.move(SQUARE), later.zones[0].polygon_px, truth))
            elif frozen is not None and later.t_s >= USED_S:
                drawn_frozen.use_plan(PLAN, {View.AP: frozen[0]})
                used = True
            if later.t_s >= END_S:
                break
    assert frozen is not None
    return frozen[2], rows


def test_its_zone_lies_on_the_anatomy_that_it_was_drawn_on(seen: tuple[float, list[Seen]]) -> None:
    frozen_error_px, rows = seen
    assert len(rows) > 10
    # On the screen it would be far off by now.
    assert min(_farthest(SQUARE, row.frozen_truth_px) for row in rows) > 5
    # It is told as well as the two pulses are registered: to carry it over adds nothing of its own.
    assert all(row.error_px <= row.registration_error_px + frozen_error_px + 0.05 for row in rows)
    assert max(row.error_px for row in rows) < 2


def test_another_scale_in_the_midst_of_cement_only_changes_what_is_measured() -> None:
    case = Path(__file__).parents[2] / "replay_fixtures" / "leak_foramen"
    areas_mm2: list[tuple[float, float]] = []
    with open_source(str(case)) as source:
        plan = load_plan(case / "plan.json")
        pipeline = Pipeline(plan, source.info)
        for number, frame in enumerate(source):
            findings = pipeline.step(frame)
            if number == 85:
                assert findings.scale is not None
                was_mm_per_px = findings.scale.mm_per_px
                pipeline.use_plan(replace(plan, mm_per_px=1.25 * was_mm_per_px), {View.AP: findings.pulse})
            if number >= 84 and findings.cement and findings.scale is not None:
                areas_mm2.append(
                    (findings.scale.mm_per_px, sum(deposit.area_mm2 or 0.0 for deposit in findings.cement))
                )
    (before_scale, before), (after_scale, after) = areas_mm2[1], areas_mm2[3]
    assert after_scale == pytest.approx(1.25 * before_scale)
    # A pulse or two of injection come on top.
    assert after / before == pytest.approx(1.25**2, rel=0.25)
    assert all(area > 0 for _, area in areas_mm2)
