"""Growing cement in small simulated pulses: what is found, what is not taken for it."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest

from guidance.records import CementDeposit, Needle, Phase
from guidance.vision.cement import CementWatch
from guidance.vision.cement_outline import unsupported, without_threads
from guidance.vision.cement_pieces import Pieces
from guidance.vision.change import Change
from guidance.vision.geometry import RigidMotion
from guidance.vision.grid import Placed
from guidance.vision.picture import Mask, Picture
from tests.unit.vision.absorbers import (
    MM_PER_PX,
    PER_CM,
    PULSE_S,
    SIDE_PX,
    Beam,
    Plane,
    ball_cm,
    dice,
    filled,
    needle_at,
    no_steel,
    nothing,
    tube_cm,
)

TIP = (100.0, 110.0)
BEGINS = 12
"""The pulse on which the cement phase begins."""


def watch(
    absorber_cm: Callable[[int], Plane],
    pulses: int = 45,
    shift_px: Callable[[int], tuple[float, float]] = lambda k: (0.0, 0.0),
    gain: Callable[[int], float] = lambda k: 1.0,
    noise: Callable[[int], float] = lambda k: 0.15,
    needles: tuple[Needle, ...] = (needle_at(TIP),),
    mm_per_px: float | None = MM_PER_PX,
    ok: Callable[[int], bool] = lambda k: True,
    planned: bool = True,
    steel: Callable[[Picture], Mask] = no_steel,
    rests: Callable[[int], int] = lambda k: 0,
    contrast: Plane | None = None,
) -> Iterator[tuple[CementDeposit, ...]]:
    """What is told after each pulse; ``absorber_cm(k)`` is what lies in the beam on pulse k."""
    beam, cement = Beam(), CementWatch(phase_inferred=not planned)
    for k in range(pulses):
        picture, motion = beam.pulse(absorber_cm(k), shift_px=shift_px(k), gain=gain(k), noise=noise(k))
        phase = Phase.CEMENT if planned and k >= BEGINS else Phase.NEEDLE
        there = tuple(shifted(needle, shift_px(k)) for needle in needles)
        yield cement.update(
            picture,
            motion,
            ok(k),
            there,
            steel(picture),
            phase,
            mm_per_px,
            k * PULSE_S,
            rests(k),
            None if contrast is None else lambda grid: (PER_CM * contrast).astype(np.float32),
        )


def shifted(needle: Needle, shift_px: tuple[float, float]) -> Needle:
    tip_px, end_px = ((x + shift_px[0], y + shift_px[1]) for x, y in needle.shaft_px or ())
    return replace(needle, tip_px=tip_px, shaft_px=(tip_px, end_px))


def growing(k: int) -> Plane:
    """From 1 to 5 mm of radius in three seconds, beginning with the phase."""
    return nothing() if k < BEGINS else ball_cm(*TIP, min(5.0, 1.0 + 0.18 * (k - BEGINS)))


def thick(absorber_cm: Plane) -> np.ndarray:
    """Cement as the truth counts it: at least a millimetre."""
    return absorber_cm >= 0.1


def breathing(k: int) -> tuple[float, float]:
    return 2.0 * np.sin(k / 5), 8.0 * np.sin(k / 7)


def test_a_growing_deposit_is_outlined_and_measured() -> None:
    deposits = list(watch(growing))[-1]
    truth = thick(growing(44))
    assert len(deposits) == 1
    assert dice(filled(deposits[0].polygons_px), truth) > 0.85
    area_mm2 = deposits[0].area_mm2
    assert area_mm2 is not None
    assert area_mm2 == pytest.approx(truth.sum() * MM_PER_PX**2, rel=0.15)
    assert deposits[0].growth_mm2_per_s is not None


def test_a_deposit_is_seen_within_a_second_of_reaching_ten_square_millimetres() -> None:
    reached = next(k for k in range(45) if thick(growing(k)).sum() * MM_PER_PX**2 >= 10)
    seen = next(k for k, deposits in enumerate(watch(growing)) if deposits)
    assert BEGINS < seen <= reached + 7


def test_a_deposit_moves_with_the_anatomy() -> None:
    deposits = list(watch(growing, shift_px=breathing))[-1]
    dx, dy = breathing(44)
    truth = thick(ball_cm(TIP[0] + dx, TIP[1] + dy, 5.0))
    assert dice(filled(deposits[0].polygons_px), truth) > 0.85


def test_a_deposit_never_shrinks_by_more_than_its_ragged_edge() -> None:
    largest = 0.0
    for deposits in watch(growing, shift_px=breathing):
        area = sum(d.area_mm2 or 0.0 for d in deposits)
        assert area >= 0.8 * largest
        largest = max(largest, area)


@pytest.mark.parametrize(
    ("shift_px", "gain", "noise"),
    [
        (lambda k: (0.0, 0.0), lambda k: 1.0, lambda k: 0.3),
        (breathing, lambda k: 1.0, lambda k: 0.2),
        (lambda k: (0.0, 0.0), lambda k: 1.0 if k < 25 else 1.25, lambda k: 0.25 if k < 25 else 0.12),
        (breathing, lambda k: 1.0 if k < 25 else 0.7, lambda k: 0.15 if k < 25 else 0.25),
    ],
    ids=["still and noisy", "breathing", "brighter at more dose", "darker at less dose, breathing"],
)
def test_nothing_is_called_cement_where_nothing_is_injected(
    shift_px: Callable[[int], tuple[float, float]], gain: Callable[[int], float], noise: Callable[[int], float]
) -> None:
    for deposits in watch(lambda k: nothing(), 40, shift_px, gain, noise):
        assert deposits == ()


def test_contrast_that_washes_out_is_not_cement() -> None:
    root = tube_cm([(60, 60), (95, 105), (110, 160)], 5.0)
    for deposits in watch(lambda k: root * np.exp(-k / 20)):
        assert deposits == ()


def test_more_of_the_cement_over_a_root_is_told_where_the_contrast_that_washes_out_is_known() -> None:
    root = tube_cm([(60, 30), (95, 105), (110, 170)], 5.0)

    def arm(k: int) -> Plane:
        share = min(1.0, (k - 23) / 7)
        return np.asarray(0.2 * (tube_cm([(100, 110), (100 - 30 * share, 110 - 70 * share)], 4.0) > 0))

    over_root = (arm(40) > 0) & (root > 0.2)

    def told_px(contrast: Plane | None) -> int:
        def there(k: int) -> Plane:
            return np.asarray(growing(k) + (arm(k) if k >= 24 else 0.0) + root * np.exp(-k / 15))

        deposits = list(watch(there, 40, contrast=contrast))[-1]
        return int((filled(sum((d.polygons_px for d in deposits), ()))[over_root] > 0).sum())

    assert told_px(root) > 2.0 * told_px(None)


def test_contrast_that_stays_where_the_rest_of_its_root_washes_out_is_not_cement() -> None:
    root = tube_cm([(60, 60), (95, 105), (110, 160)], 5.0)
    stays = root * (np.arange(SIDE_PX)[:, None] % 40 < 14)
    for deposits in watch(lambda k: stays + (root - stays) * np.exp(-k / 12), contrast=root):
        assert deposits == ()


def test_gas_that_moves_on_is_not_cement() -> None:
    tissue, here, there = 2.0 * np.ones((SIDE_PX, SIDE_PX)), ball_cm(60, 60, 6.0), ball_cm(90, 45, 6.0)
    for deposits in watch(lambda k: 0.3 * (tissue - (here if k < 25 else there))):
        assert deposits == ()


def test_the_trail_of_gas_on_its_way_is_not_cement() -> None:
    """It moves during the baseline, too, which has it smeared, and another bubble comes in beside it."""
    tissue = 2.0 * np.ones((SIDE_PX, SIDE_PX))
    for deposits in watch(
        lambda k: 0.3 * (tissue - ball_cm(40.0 + 0.8 * k, 45.0, 7.0) - ball_cm(40.0, 20.0 + 1.2 * k, 6.0)), 50
    ):
        assert all(not filled(d.polygons_px)[:90, :90].any() for d in deposits)


@pytest.mark.parametrize("away_px", [-1.0, 1.0])
def test_most_of_what_gas_leaves_behind_does_not_join_the_deposit_beside_it(away_px: float) -> None:
    """A bubble that covers the tip's surroundings in the baseline drifts past the growing deposit."""
    tissue = nothing() + 2.0

    def bubble(k: int) -> Plane:
        return ball_cm(78.0, 110.0 + away_px * max(0, k - BEGINS), 8.0)

    *_, deposits = watch(lambda k: 0.3 * (tissue - bubble(k)) + growing(k), 44)
    told = np.any([filled(d.polygons_px) for d in deposits], axis=0)
    left = (bubble(0) > 0) & (bubble(43) == 0) & (growing(43) == 0)
    assert (told & left).sum() < left.sum() / 3


@pytest.mark.parametrize("share", [0.1, 0.2])
def test_the_trail_of_gas_beside_a_deposit_does_not_join_it_step_by_step(share: float) -> None:
    """At 0.6 µR, a bubble that covered the tip's surroundings in the baseline goes off at 2 mm/s."""

    def with_gas(k: int) -> Plane:
        return growing(k) - share * ball_cm(TIP[0] + 14.0 + k, TIP[1] - 10.0, 7.0)

    *_, deposits = watch(with_gas, noise=lambda k: 0.3)
    told = filled(sum((d.polygons_px for d in deposits), ())) > 0
    assert told[ball_cm(*TIP, 6.5) == 0].sum() * MM_PER_PX**2 < 4.0


def test_thick_metal_that_moves_off_from_where_it_was_laid_beside_a_deposit_is_not_told() -> None:
    def with_metal(k: int) -> Plane:
        if k < 20:
            return growing(k)
        x = 125.0 + 0.5 * (k - 20)
        return np.maximum(growing(k), 0.9 * (tube_cm([(x, 80), (x, 170)], 5.0) > 0))

    for k, deposits in enumerate(watch(with_metal, 60)):
        told = filled(sum((d.polygons_px for d in deposits), ())) > 0
        beyond = told & (ball_cm(*TIP, 7.0) == 0)
        assert beyond.sum() * MM_PER_PX**2 < 4.0, k


@pytest.mark.parametrize("y", [30.0, 105.0], ids=["far from the needle", "across its tip"])
def test_an_instrument_laid_into_the_field_is_not_cement(y: float) -> None:
    clamp = tube_cm([(40, y), (150, y)], 5.0)
    for deposits in watch(lambda k: clamp if k >= 25 else nothing()):
        assert deposits == ()


def test_a_wire_laid_in_that_shows_in_pieces_beside_a_deposit_is_not_cement() -> None:
    wire = sum((tube_cm([(left, 84), (left + 56, 84)], 3.0) for left in (40, 108)), nothing())
    for deposits in watch(lambda k: growing(k) + (wire if k >= 25 else nothing())):
        assert all(not filled(d.polygons_px)[:90].any() for d in deposits)


def passing(k: int) -> Plane:
    """A wire that is laid in two centimetres left of the deposit and drawn over it at 1 cm/s."""
    x = 30.0 + 5 * (k - 25)
    return tube_cm([(x, 10), (x + 20, 190)], 2.0) if k >= 25 else nothing()


def test_a_wire_that_is_drawn_over_a_deposit_does_not_join_it() -> None:
    around = cv2.dilate(thick(growing(44)).astype(np.uint8), np.ones((11, 11), np.uint8)) > 0
    for deposits in watch(lambda k: growing(k) + passing(k)):
        told = filled(sum((d.polygons_px for d in deposits), ()))
        assert (told & ~around).sum() * MM_PER_PX**2 < 2.0
    assert dice(told, thick(growing(44))) > 0.8


def test_cement_that_runs_beside_a_wire_at_rest_is_told() -> None:
    wire = tube_cm([(40, 123), (160, 123)], 2.0)

    def running(k: int) -> Plane:
        length = 2.0 * max(0, k - 28)
        run = tube_cm([TIP, (TIP[0] - length, TIP[1])], 3.0) if length else nothing()
        return np.maximum(growing(min(k, 22)), run) + (wire if k >= 25 else 0.0)

    told = filled(sum((d.polygons_px for d in list(watch(running))[-1]), ()))
    assert told[105:115, 75:85].any()


def test_cement_that_begins_while_something_is_laid_in_elsewhere_is_seen() -> None:
    def laid_in_elsewhere(k: int) -> Plane:
        return growing(k) + (tube_cm([(40, 40), (150, 40)], 5.0) if k >= BEGINS + 1 else nothing())

    deposits = list(watch(laid_in_elsewhere))[-1]
    assert dice(filled(sum((d.polygons_px for d in deposits), ())), thick(growing(44))) > 0.85


def test_cement_that_no_needle_is_seen_to_feed_is_none_of_what_is_laid_in_elsewhere() -> None:
    def far_off(k: int) -> Plane:
        ball = ball_cm(130, 60, min(5.0, 1.0 + 0.18 * (k - BEGINS))) if k >= BEGINS else nothing()
        return ball + (tube_cm([(20, 160), (180, 160)], 5.0) if k >= BEGINS + 5 else nothing())

    told = filled(sum((d.polygons_px for d in list(watch(far_off))[-1]), ()))
    assert told[60, 130]


def test_a_shutter_that_closes_is_not_cement() -> None:
    shutter = nothing()
    shutter[:, :110] = 2.0
    for deposits in watch(lambda k: shutter if k >= 25 else nothing()):
        assert sum(filled(d.polygons_px).sum() for d in deposits) == 0


def test_cement_that_grew_while_the_c_arm_was_elsewhere_is_seen_on_return() -> None:
    beam, cement = Beam(), CementWatch()
    for k in [*range(BEGINS + 4), *range(60, 70)]:
        absorber = ball_cm(*TIP, 6.0) if k >= 60 else nothing()
        picture, motion = beam.pulse(absorber)
        phase = Phase.CEMENT if k >= BEGINS else Phase.NEEDLE
        deposits = cement.update(
            picture, motion, True, (needle_at(TIP),), no_steel(picture), phase, MM_PER_PX, k * PULSE_S
        )
    assert len(deposits) == 1
    assert dice(filled(deposits[0].polygons_px), thick(ball_cm(*TIP, 6.0))) > 0.85


def test_where_the_c_arm_rests_elsewhere_deposits_stay_and_grow_and_what_parallax_moves_is_none() -> None:
    def beside(k: int) -> Plane:
        return growing(k) + tube_cm([(70 + 2 * (k >= 25), 30), (70 + 2 * (k >= 25), 170)], 3.0)

    for k, deposits in enumerate(watch(beside, rests=lambda k: int(k >= 25))):
        if k >= 25:
            assert len(deposits) == 1
            assert dice(filled(deposits[0].polygons_px), thick(growing(k))) > 0.75
    assert dice(filled(deposits[0].polygons_px), thick(growing(44))) > 0.85


def test_a_thin_fast_run_has_a_length_and_a_front() -> None:
    body = ball_cm(*TIP, 4.0)

    def leaking(k: int) -> Plane:
        if k < BEGINS:
            return nothing()
        run = tube_cm([(108, 112), (150, 140), (180, 150)], 2.5, share=np.clip((k - 25) / 10, 0.01, 1.0))
        return np.maximum(body * min(1.0, (k - BEGINS) / 8), run if k > 25 else 0.0)

    runs = [d for deposits in watch(leaking, 40) for d in deposits if d.run_mm is not None]
    assert runs
    assert max(d.run_mm or 0.0 for d in runs) > 10.0
    assert max(d.front_mm_per_s or 0.0 for d in runs) > 8.0
    assert runs[-1].front_px is not None
    assert runs[-1].front_px[0] > 140


def with_an_arm(share: Callable[[int], float]) -> Callable[[int], Plane]:
    """A deposit that is filled within a second, and a thin arm of it that is ``share(k)`` of its way long."""

    def absorber_cm(k: int) -> Plane:
        if k < BEGINS:
            return nothing()
        body = ball_cm(*TIP, 4.0) * min(1.0, (k - BEGINS) / 8)
        return np.maximum(body, tube_cm([(108, 112), (150, 140)], 2.5, share(k))) if share(k) > 0 else body

    return absorber_cm


def test_an_arm_that_is_there_when_the_deposit_is_first_outlined_is_no_run() -> None:
    for deposits in watch(with_an_arm(lambda k: 1.0), 40):
        assert all(d.run_mm is None for d in deposits)


def test_an_arm_that_appears_at_once_is_no_run() -> None:
    # Seen in full within two pulses, as when noise gives way or a shaft moves aside.
    seen = list(watch(with_an_arm(lambda k: 1.0 if k >= 28 else 0.0), 45))
    assert all(d.run_mm is None for deposits in seen[36:] for d in deposits)
    assert sum(d.run_mm is not None for deposits in seen for d in deposits) <= 1


def test_what_grows_apart_from_a_deposit_is_no_run_of_it() -> None:
    def two_pieces(k: int) -> Plane:
        share = float(np.clip((k - 25) / 12, 0.0, 1.0))
        apart = tube_cm([(135, 130), (180, 150)], 2.5, share) if share > 0 else nothing()
        return np.maximum(with_an_arm(lambda k: 0.0)(k), apart)

    told = list(watch(two_pieces, 45))
    assert sum(len(d.polygons_px) for d in told[-1]) == 2
    assert all(d.run_mm is None for deposits in told for d in deposits)


def test_a_speck_beside_a_deposit_is_not_told() -> None:
    def specked(k: int) -> Plane:
        return np.maximum(growing(k), ball_cm(145.0, 110.0, 0.5) if k >= 26 else 0.0)

    assert all(len(d.polygons_px) == 1 for deposits in watch(specked) for d in deposits)


def test_a_run_s_next_piece_beyond_a_gap_is_told_on_the_pulse_that_shows_it() -> None:
    def with_a_piece(k: int) -> Plane:
        return np.maximum(growing(k), ball_cm(140.0, 110.0, 1.6) if k >= 30 else 0.0)

    *_, before, first = watch(with_a_piece, 31)
    assert not any(filled(d.polygons_px)[110, 140] for d in before)
    assert any(filled(d.polygons_px)[110, 140] for d in first)


def test_a_run_that_has_come_to_rest_is_no_run_any_more() -> None:
    resting = list(watch(with_an_arm(lambda k: float(np.clip((k - 22) / 6, 0.0, 1.0))), 45))[-1]
    assert all(d.run_mm is None for d in resting)


def test_what_appears_by_the_hub_of_a_driven_needle_is_no_cement() -> None:
    hub = (160.0, 50.0)
    for deposits in watch(lambda k: np.maximum(growing(k), ball_cm(*hub, 5.0) if k >= 30 else 0.0)):
        assert all(not filled(d.polygons_px)[50, 160] for d in deposits)


def test_what_appears_by_a_hub_that_is_taken_for_a_tip_is_no_cement() -> None:
    hub = (160.0, 50.0)
    driven = needle_at(TIP)
    reverse = replace(driven, id=2, tip_px=hub, shaft_px=(hub, TIP))
    for deposits in watch(
        lambda k: np.maximum(growing(k), ball_cm(*hub, 3.0) if k >= 30 else 0.0), needles=(driven, reverse)
    ):
        assert all(not filled(d.polygons_px)[50, 160] for d in deposits)


def test_a_round_growing_deposit_is_no_run() -> None:
    for deposits in watch(growing):
        assert all(d.run_mm is None for d in deposits)


def shaft_of(picture: Picture) -> Mask:
    """The mask of the needle at TIP, three pixels wider than its steel on either side."""
    mask = no_steel(picture)
    cv2.line(mask, (100, 110), (160, 50), 255, 16)
    return mask


def test_cement_over_a_resting_shaft_is_outlined_with_the_rest() -> None:
    core = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    cv2.line(core, (100, 110), (160, 50), 255, 10)
    deposits = list(watch(lambda k: growing(k) + np.where(core > 0, 0.6, 0.0), steel=shaft_of))[-1]
    assert dice(filled(deposits[0].polygons_px), thick(growing(44))) > 0.85


def test_a_run_back_along_a_shaft_is_told_before_it_comes_out_beside_it() -> None:
    def running(k: int) -> Plane:
        share = min(1.0, max(0, k - 24) / 8)
        end = (105.0 + 40.0 * share, 98.0 - 40.0 * share)
        return np.maximum(growing(k), tube_cm([(105.0, 98.0), end], 2.2) if share else 0.0)

    core = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    cv2.line(core, (100, 110), (160, 50), 255, 10)
    deposits = list(watch(lambda k: running(k) + np.where(core > 0, 0.6, 0.0), 36, steel=shaft_of))[-1]
    assert filled(deposits[0].polygons_px)[55:75, 120:150].any()


def test_a_shaft_that_slips_below_its_deposit_is_no_run() -> None:
    def shaft(k: int) -> Plane:
        core = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
        aside = 0.5 if k >= 30 else 0.0
        ends = [(round(16 * (x + aside)), round(16 * (y + aside))) for x, y in ((100, 110), (160, 50))]
        cv2.line(core, ends[0], ends[1], 255, 10, cv2.LINE_AA, 4)
        return np.asarray(0.6 * (core / 255.0))

    for deposits in watch(lambda k: growing(k) + shaft(k), steel=shaft_of):
        assert all(not filled(d.polygons_px)[:80, 120:].any() for d in deposits)


def test_a_shaft_that_a_closing_shutter_shows_darker_is_not_cement_along_it() -> None:
    def scene(k: int) -> Plane:
        darker = 1.0 if k < 28 else 1.35
        core = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
        cv2.line(core, (100, 110), (160, 50), 255, 10)
        return growing(k) + np.where(core > 0, 0.6 * darker, 0.0)

    for deposits in watch(scene, ok=lambda k: not 28 <= k < 31, steel=shaft_of):
        told = filled(sum((d.polygons_px for d in deposits), ())) > 0
        assert told[ball_cm(*TIP, 9.0) == 0].sum() * MM_PER_PX**2 < 2.0


def test_a_bone_s_edge_that_looks_like_a_line_does_not_hide_what_grows_at_a_tip() -> None:
    def scene(k: int) -> Plane:
        return growing(k) + (0.03 * (tube_cm([(60, 108), (150, 112)], 1.0) > 0) if k >= BEGINS else 0.0)

    def first(absorber_cm: Callable[[int], Plane]) -> int:
        return next(k for k, deposits in enumerate(watch(absorber_cm)) if deposits)

    assert first(scene) <= first(growing) + 2


def test_a_machine_that_shows_little_contrast_has_its_cement_outlined_alike() -> None:
    """Its shaft tells: what is a third of the usual for steel is a third for a millimetre of cement, too."""
    core = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    cv2.line(core, (100, 110), (160, 50), 255, 10)
    faint = list(
        watch(lambda k: 0.35 * (growing(k) + np.where(core > 0, 0.8, 0.0)), steel=shaft_of, noise=lambda k: 0.05)
    )[-1]
    assert dice(filled(faint[0].polygons_px), thick(growing(44))) > 0.85


def test_a_faint_line_beside_a_deposit_is_not_cement() -> None:
    line = 0.065 * (tube_cm([(70.0, 135.0), (110.0, 150.0)], 3.0) > 0)
    for deposits in watch(lambda k: growing(k) + (line if k >= 24 else 0.0), noise=lambda k: 0.08):
        assert all(not filled(d.polygons_px)[138:].any() for d in deposits)


def test_a_deposit_far_from_any_needle_is_seen_once_it_is_thick() -> None:
    def apart(k: int) -> Plane:
        return nothing() if k < BEGINS else ball_cm(60.0, 60.0, min(5.0, 1.0 + 0.12 * (k - BEGINS)))

    deposits = list(watch(apart, 50, needles=()))[-1]
    assert len(deposits) == 1
    assert dice(filled(deposits[0].polygons_px), thick(apart(49))) > 0.8


def test_a_deposit_that_began_at_the_field_s_border_is_seen_once_enough_of_it_lies_inside() -> None:
    def at_border(k: int) -> Plane:
        return nothing() if k < BEGINS else ball_cm(16.0, 60.0, min(7.0, 1.0 + 0.16 * (k - BEGINS)))

    deposits = list(watch(at_border, 55, needles=()))[-1]
    assert dice(filled(sum((d.polygons_px for d in deposits), ())), thick(at_border(54))) > 0.8


def test_a_deposit_whose_thick_middle_lies_at_the_field_s_border_is_seen_within_two_seconds() -> None:
    """Only a needle's tip shows in the field, so that no shaft is found and what it injects stands alone."""

    def at_border(k: int) -> Plane:
        return nothing() if k < BEGINS else ball_cm(11.0, 60.0, min(7.0, 1.0 + 0.16 * (k - BEGINS)))

    assert any(deposits for deposits in watch(at_border, BEGINS + 15, needles=()))


@pytest.mark.parametrize(
    "slow",
    [
        lambda share: 0.15 * (ball_cm(50.0, 50.0, 2.0 + 4.0 * share) > 0),
        lambda share: 0.4 * (tube_cm([(40.0, 60.0), (45.0 + 60.0 * share, 45.0)], 1.2) > 0.03),
        lambda share: ball_cm(6.0, 60.0, 2.0 + 2.0 * share),
    ],
    ids=["a growing haze", "a bone's slipping edge", "what stays at the field's border"],
)
def test_what_grows_far_from_any_needle_must_be_thick_and_compact_and_inside(slow: Callable[[float], Plane]) -> None:
    for deposits in watch(lambda k: slow(min(1.0, (k - 20) / 20)) if k >= 20 else nothing(), 45):
        assert all(not filled(d.polygons_px)[:90, :90].any() for d in deposits)


def test_a_hub_that_a_last_stroke_has_moved_is_not_cement() -> None:
    """The needle comes to rest half a second before cement begins; the handle beside its shaft has gone along."""
    beam, cement = Beam(), CementWatch()
    for k in range(40):
        on_its_way = max(0, BEGINS - 4 - k) * 2.0
        tip = (TIP[0] + on_its_way, TIP[1] - on_its_way)
        handle = 0.2 * (tube_cm([(150.0 + on_its_way, 60.0 - on_its_way), (175.0, 30.0)], 9.0) > 0)
        absorber = np.maximum(growing(k), handle)
        picture, motion = beam.pulse(absorber)
        phase = Phase.CEMENT if k >= BEGINS else Phase.NEEDLE
        told = cement.update(picture, motion, True, (needle_at(tip),), no_steel(picture), phase, MM_PER_PX, k * PULSE_S)
        assert all(not filled(d.polygons_px)[:75, 140:].any() for d in told)
    assert told


def test_two_needles_feed_two_deposits() -> None:
    other = (50.0, 160.0)
    both = (needle_at(TIP), needle_at(other))

    def twice(k: int) -> Plane:
        size = min(3.0, 0.12 * (k - BEGINS))
        return nothing() if k <= BEGINS else np.maximum(ball_cm(*TIP, size), ball_cm(*other, size))

    deposits = list(watch(twice, needles=both))[-1]
    assert [d.id for d in deposits] == sorted(d.id for d in deposits)
    assert len(deposits) == 2


def test_without_a_scale_cement_is_outlined_but_not_measured() -> None:
    deposits = list(watch(growing, mm_per_px=None))[-1]
    assert len(deposits) == 1
    assert deposits[0].polygons_px
    assert deposits[0].area_mm2 is None
    assert deposits[0].growth_mm2_per_s is None


def test_while_registration_is_lost_nothing_new_is_told() -> None:
    lost = [d for k, d in enumerate(watch(growing, ok=lambda k: k < BEGINS)) if k >= BEGINS]
    assert all(deposits == () for deposits in lost)


def test_a_deposit_that_is_told_as_it_was_last_seen_says_so() -> None:
    told = list(watch(growing, ok=lambda k: k != 40, rests=lambda k: int(k >= 30)))
    assert [k for k in range(28, 45) if told[k][0].is_held] == [30, 31, 32, 33, 40]


def test_a_thread_narrower_than_blur_counts_where_it_is_evident_or_steel_hides_the_rest() -> None:
    outline, steel = np.zeros((40, 60), np.uint8), np.zeros((40, 60), np.uint8)
    outline[10:20, 10:20] = 1
    outline[12:14, 20:30] = outline[16:18, 20:30] = outline[22:24, 10:30] = 1
    steel[24:34, 10:30] = 255
    z = np.full(outline.shape, 3.0, np.float32)
    z[16:18] = 8.0
    kept = without_threads(outline, steel, z)
    assert not kept[12:14, 21:30].any()
    kept[12:14, 20:30] = outline[12:14, 20:30]
    assert np.array_equal(kept, outline)


def test_growth_at_a_tip_is_seen_without_a_planned_phase() -> None:
    deposits = list(watch(growing, planned=False))[-1]
    assert len(deposits) == 1
    assert dice(filled(deposits[0].polygons_px), thick(growing(44))) > 0.8


def test_cement_that_reaches_a_hub_is_still_cement() -> None:
    """The shaft ends in the field, where hub and hand move. What shows 8 mm from the deposit lies partly there."""
    needle = needle_at(TIP)
    short = replace(needle, shaft_px=(needle.tip_px, (TIP[0] + 90.0, TIP[1])))

    def pool(k: int) -> Plane:
        return ball_cm(TIP[0] + 40, TIP[1] + 4, min(2.5, 0.3 * (k - 30))) if k > 30 else nothing()

    told = [filled(d.polygons_px) for d in list(watch(lambda k: growing(k) + pool(k), 38, needles=(short,)))[-1]]
    assert (np.sum(told, axis=0) > 0)[112:117, 136:143].all()


@pytest.mark.parametrize("is_there", [True, False])
def test_what_is_first_seen_apart_stays_only_where_the_next_pulse_bears_it_out(is_there: bool) -> None:
    shape, work_mm = (80, 80), 0.5
    rng = np.random.default_rng(2)
    change = Change(shape)
    spot = np.s_[30:36, 30:36]
    outlines = np.zeros(shape, np.uint8)
    outlines[spot] = 255
    for k in range(14):
        density = 1.0 + rng.normal(0, 0.02, shape)
        if k >= 10 and (is_there or k < 13):
            density[spot] += 0.2
        placed = Placed(
            density.astype(np.float32),
            np.full(shape, 255, np.uint8),
            np.zeros(shape, np.uint8),
            RigidMotion((0.0, 0.0), 0.0, (0.0, 0.0)),
        )
        if k < 10:
            change.learn(placed, work_mm)
        else:
            change.compare(placed, work_mm, outlines)
    pieces = Pieces(outlines, np.s_[0:80, 0:80])
    since_s = np.full(shape, 2.0, np.float32)
    assert unsupported(change, pieces, outlines, since_s, 1.0) == ([] if is_there else [1])
    # What has stood for longer has been borne out.
    assert unsupported(change, pieces, outlines, since_s, 2.0) == []
