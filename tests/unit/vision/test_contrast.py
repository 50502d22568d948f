"""Contrast that runs down a root, and contrast that goes elsewhere."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guidance.records import NerveRoot, Phase
from guidance.vision.contrast import RootMapper, _quantile, centre_line
from guidance.vision.kernels.roadmap import draw
from tests.unit.vision.absorbers import (
    MM_PER_PX,
    PULSE_S,
    Beam,
    Plane,
    ball_cm,
    dice,
    filled,
    no_steel,
    nothing,
    tube_cm,
)
from tests.unit.vision.test_change import SHAPES, flags, planes

LEFT = [(50.0, 40.0), (70.0, 90.0), (72.0, 120.0), (95.0, 165.0)]
RIGHT = [(150.0, 40.0), (135.0, 90.0), (140.0, 150.0)]
BEGINS = 10
"""The pulse on which contrast begins to run; it has filled its tube a second and a half later."""


def map_roots(
    contrast_cm: Callable[[int], Plane],
    pulses: int = 34,
    planned: bool = True,
    mm_per_px: float | None = MM_PER_PX,
    shift_px: Callable[[int], tuple[float, float]] = lambda k: (0.0, 0.0),
    leaves: int = 10**6,
    before: Phase = Phase.BASELINE,
    noise: float = 0.15,
) -> Iterator[tuple[NerveRoot, ...]]:
    """What is told after each pulse; from pulse ``leaves`` on the epidurogram is over."""
    beam, roots = Beam(noise), RootMapper()
    for k in range(pulses):
        picture, motion = beam.pulse(contrast_cm(k), shift_px=shift_px(k))
        phase = before if k < BEGINS or not planned else Phase.EPIDUROGRAM
        phase = Phase.NEEDLE if k >= leaves else phase
        yield roots.update(picture, motion, True, (), no_steel(picture), phase, mm_per_px, k * PULSE_S)


def running(points_px: list[tuple[float, float]], k: int, diameter_mm: float = 4.0) -> Plane:
    share = float(np.clip((k - BEGINS) / 12, 0.0, 1.0))
    return tube_cm(points_px, diameter_mm, share) if share > 0 else nothing()


def test_two_roots_are_outlined_at_once_and_keep_their_ids() -> None:
    names = set()
    for roots in map_roots(lambda k: np.maximum(running(LEFT, k), running(RIGHT, k, 5.0))):
        names |= {r.id for r in roots}
    truth = np.maximum(running(LEFT, 33), running(RIGHT, 33, 5.0)) >= 0.03
    found = np.any([filled(r.polygons_px) for r in roots], axis=0)
    assert len(roots) == 2
    assert names == {r.id for r in roots}
    assert dice(found, truth) > 0.8
    for root in roots:
        area_px = filled(root.polygons_px).sum()
        assert abs((root.area_mm2 or 0.0) / MM_PER_PX**2 - area_px) < 0.1 * area_px


def test_a_centre_line_runs_from_where_contrast_came_from_along_the_middle() -> None:
    roots = list(map_roots(lambda k: running(LEFT, k)))[-1]
    (root,) = roots
    line = root.centerline_px
    assert np.hypot(*(line[0] - LEFT[0])) * MM_PER_PX < 3
    assert np.hypot(*(line[-1] - LEFT[-1])) * MM_PER_PX < 3
    along = np.linspace(0, 1, 400)
    corners = np.array(LEFT)
    axis = np.column_stack([np.interp(along * 3, np.arange(4), corners[:, k]) for k in (0, 1)])
    away = np.min(np.hypot(*(line[:, None, :] - axis[None, :, :]).transpose(2, 0, 1)), axis=1)
    assert np.median(away) * MM_PER_PX < 0.5


def test_the_roadmap_stays_after_the_contrast_has_washed_out_and_moves_with_the_anatomy() -> None:
    def washed_out(k: int) -> Plane:
        return running(LEFT, k) * (1.0 if k < 30 else np.exp(-(k - 30) / 3))

    def moved(k: int) -> tuple[float, float]:
        return (0.0, 0.0) if k < 35 else (6.0, -9.0)

    roots = list(map_roots(washed_out, 48, shift_px=moved, leaves=40))[-1]
    (root,) = roots
    truth = tube_cm([(x + 6.0, y - 9.0) for x, y in LEFT], 4.0) >= 0.03
    assert dice(filled(root.polygons_px), truth) > 0.8


def test_two_roots_that_run_together_in_the_canal_both_stay_on_the_roadmap() -> None:
    left = [(100.0, 40.0), (80.0, 80.0), (62.0, 165.0)]
    right = [(100.0, 40.0), (120.0, 80.0), (138.0, 165.0)]

    def one_after_the_other(k: int) -> Plane:
        return np.maximum(running(left, k), running(right, k - 14, 5.0))

    told = list(map_roots(one_after_the_other, pulses=48))
    assert {r.id for r in told[26]} == {1}
    truth = one_after_the_other(47) >= 0.03
    assert [r.id for r in told[-1]] == [1, 2]
    assert dice(np.any([filled(r.polygons_px) for r in told[-1]], axis=0), truth) > 0.8
    for earlier, later in pairwise(told):
        known = {r.id for r in earlier}
        assert known <= {r.id for r in later}


def test_three_roots_filled_at_once_that_run_together_are_told_apart() -> None:
    left = [(100.0, 30.0), (75.0, 70.0), (45.0, 165.0)]
    middle = [(97.0, 34.0), (100.0, 100.0), (100.0, 185.0)]
    right = [(100.0, 30.0), (125.0, 70.0), (155.0, 165.0)]

    def at_once(k: int) -> Plane:
        return np.maximum.reduce([running(line[::-1], k) for line in (left, middle, right)])

    roots = list(map_roots(at_once, 40))[-1]
    assert len(roots) == 3
    for line in (left, middle, right):
        alone = tube_cm(line, 4.0) >= 0.03
        shares = [(filled(root.polygons_px) & alone).sum() / alone.sum() for root in roots]
        assert sorted(share > 0.5 for share in shares) == [False, False, True]


def test_contrast_that_comes_and_goes_within_a_second_is_kept() -> None:
    def flash(k: int) -> Plane:
        return running(LEFT, k) * (1.0 if k < 24 else np.exp(-(k - 24) / 2))

    beam_is_strong = 0.04
    roots = list(map_roots(flash, 36, noise=beam_is_strong))[-1]
    assert dice(filled(roots[0].polygons_px), tube_cm(LEFT, 4.0) >= 0.03) > 0.8


def test_what_gas_leaves_as_it_drifts_away_is_not_a_root() -> None:
    def drifting(k: int) -> Plane:
        return -ball_cm(90 + 1.2 * max(0, k - BEGINS), 100, 9.0) * 0.2

    assert list(map_roots(drifting, 36))[-1] == ()


def test_edges_that_parallax_has_moved_are_not_roots() -> None:
    """A rib's shadow slides over the rest by a millimetre, as when the C-arm is rolled aside."""

    def slid(k: int) -> Plane:
        aside = 3.0 * np.clip((k - BEGINS) / 8, 0, 1)
        return 2.0 * tube_cm([(40 + aside, 20), (60 + aside, 100), (40 + aside, 180)], 8.0)

    assert list(map_roots(slid, 36))[-1] == ()


def test_the_rim_of_a_growing_puddle_is_not_a_root() -> None:
    for roots in map_roots(lambda k: ball_cm(90, 100, 2.0 + 0.5 * max(0, k - BEGINS)) * (k > BEGINS), noise=0.3):
        assert roots == ()


def test_what_lies_along_the_edge_of_the_field_is_not_a_root() -> None:
    along_the_edge = [(20.0, 190.0), (180.0, 190.0)]
    assert list(map_roots(lambda k: running(along_the_edge, k)))[-1] == ()


def test_a_needle_that_is_in_place_before_the_epidurogram_leaves_the_roots_to_be_seen() -> None:
    roots = list(map_roots(lambda k: running(LEFT, k), before=Phase.NEEDLE))[-1]
    assert dice(filled(roots[0].polygons_px), tube_cm(LEFT, 4.0) >= 0.03) > 0.8


def test_while_needles_are_driven_nothing_is_a_root_yet() -> None:
    early = (running(LEFT, k + BEGINS) for k in range(BEGINS))
    assert not any(map_roots(lambda k: next(early), pulses=BEGINS, before=Phase.NEEDLE))


def test_a_puddle_is_not_a_root() -> None:
    for roots in map_roots(lambda k: ball_cm(90, 100, 8.0) * 0.5 if k > BEGINS else nothing()):
        assert roots == ()


def test_a_short_spot_is_not_a_root() -> None:
    for roots in map_roots(lambda k: ball_cm(90, 100, 2.5) if k > BEGINS else nothing()):
        assert roots == ()


def test_a_clamp_that_is_there_all_at_once_is_not_a_root() -> None:
    clamp = tube_cm([(40, 60), (120, 130)], 4.0)
    for roots in map_roots(lambda k: clamp if k > BEGINS else nothing()):
        assert roots == ()


def test_noise_and_breath_alone_make_no_root() -> None:
    for roots in map_roots(lambda k: nothing(), 40, shift_px=lambda k: (0.0, 8.0 * np.sin(k / 7))):
        assert roots == ()


def test_contrast_is_seen_to_arrive_without_a_planned_phase() -> None:
    roots = list(map_roots(lambda k: running(LEFT, k), planned=False))[-1]
    assert len(roots) == 1


def test_without_a_scale_roots_are_outlined_but_not_measured() -> None:
    roots = list(map_roots(lambda k: running(LEFT, k), mm_per_px=None))[-1]
    assert len(roots) == 1
    assert roots[0].area_mm2 is None


def test_the_centre_line_of_a_bent_bar_stays_in_the_bar() -> None:
    bar = np.zeros((60, 90), bool)
    bar[10:17, 5:80] = True
    bar[10:55, 73:80] = True
    line = centre_line(bar)
    assert len(line) > 90
    rows, cols = line[:, 1].round().astype(int), line[:, 0].round().astype(int)
    assert bar[rows, cols].all()
    middle = line[(line[:, 0] > 20) & (line[:, 0] < 60) & (line[:, 1] < 20)]
    assert np.abs(middle[:, 1] - 13).max() <= 1.0


def test_the_centre_line_of_a_single_pixel_is_that_pixel() -> None:
    dot = np.zeros((3, 5), bool)
    dot[1, 3] = True
    assert centre_line(dot).tolist() == [[3.0, 1.0]]


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_the_roadmap_takes_the_densest_of_what_lasts(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    z, last_z, peak_z = (data.draw(planes(shape, 0.0, 8.0)) for _ in range(3))
    added, last_added, peak = (data.draw(planes(shape)) for _ in range(3))
    count, arrived_s, inner = (
        data.draw(planes(shape, 0.0, 6.0)),
        data.draw(planes(shape, 0.0, 9.0)),
        data.draw(flags(shape)),
    )
    lasting = np.minimum(z, last_z)
    denser = (lasting > peak_z) & ((count >= 3) | (lasting > 6)) & (inner > 0)
    twins = (
        z,
        added,
        np.where(denser, np.minimum(added, last_added), peak),
        np.where(denser, lasting, peak_z),
        np.where(denser & (lasting > 3.5), np.minimum(arrived_s, 5), arrived_s),
    )
    got = last_z, last_added, peak, peak_z, arrived_s
    draw(z, added, count, inner, *(np.float32(v) for v in (5, 3, 6, 3.5)), *got)
    for plane, twin in zip(got, twins, strict=True):
        assert np.array_equal(plane, twin)


@given(st.integers(0, 10_000), st.integers(1, 40), st.sampled_from([np.float32, np.float64]), st.floats(0, 1))
def test_a_quantile_is_numpys(seed: int, n: int, kind: type[np.floating], share: float) -> None:
    values = np.random.default_rng(seed).normal(0, 10, n).astype(np.float32)
    assert _quantile(values, kind(share)) == pytest.approx(float(np.quantile(values, kind(share))), abs=1e-4)
