"""Lines of metal in coarse maps that are drawn by hand, and the kernel that finds them beside its plain twin."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from guidance.vision.cement_wires import WireWatch, without_runs
from guidance.vision.kernels import lines as kernels
from guidance.vision.kernels.lines import lines
from guidance.vision.picture import Density, Mask

SHAPE = (40, 60)
RULES = (2.0, 1.0, 18, 0.75, 3, 5.0, 2.0)


def noise() -> Density:
    return np.random.default_rng(3).normal(0, 1, SHAPE).astype(np.float32)


def wire() -> Mask:
    return cv2.line(np.zeros(SHAPE, np.uint8), (5, 8), (50, 34), 1)


def found(z: Density, age: Density, known: Mask | None = None) -> NDArray[np.bool_]:
    return np.asarray(lines(z, age, np.zeros(SHAPE, np.uint8) if known is None else known, *RULES) > 0)


def young() -> Density:
    return np.full(SHAPE, 2.0, np.float32)


def test_a_faint_line_that_came_at_once_is_found_from_end_to_end() -> None:
    on = wire() > 0
    here = found(noise() + np.float32(3.0) * on, young())
    assert here[on].mean() > 0.8
    assert (here & (cv2.dilate(wire(), np.ones((5, 5), np.uint8)) == 0)).sum() < 20


def test_noise_has_no_lines() -> None:
    assert not found(noise(), young()).any()


def test_a_line_that_has_grown_step_by_step_is_a_run() -> None:
    age = np.broadcast_to(np.linspace(6, 0, SHAPE[1], dtype=np.float32), SHAPE).copy()
    assert not found(noise() + np.float32(4.0) * wire(), age).any()


def test_an_old_line_counts_only_where_it_is_known() -> None:
    z, age = noise() + np.float32(4.0) * wire(), np.full(SHAPE, 8.0, np.float32)
    assert not found(z, age).any()
    assert found(z, age, cv2.dilate(wire(), np.ones((5, 5), np.uint8))).any()


def test_a_line_goes_on_behind_a_deposit_but_one_that_ends_there_may_have_come_from_it() -> None:
    z = noise() + np.float32(4.0) * wire()
    z[16:26, 22:34] = -np.inf
    assert found(z, young()).any()
    z[:, 34:] = noise()[:, 34:]
    assert not found(z, young()).any()


@pytest.mark.parametrize(
    ("line", "is_wire"),
    [
        (((5, 20), (55, 20)), True),  # across the deposit
        (((30, 20), (50, 20)), False),  # out of the deposit into the field
        (((30, 20), (59, 20)), True),  # out of the field to the deposit
        (((2, 36), (55, 36)), True),  # past it
    ],
)
def test_a_line_from_a_deposit_that_ends_within_the_field_is_a_run(
    line: tuple[tuple[int, int], tuple[int, int]], is_wire: bool
) -> None:
    deposits, beyond = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    deposits[14:26, 24:34] = 255
    beyond[:, -1] = 255
    drawn = cv2.line(np.zeros(SHAPE, np.uint8), *line, 255)
    assert without_runs(drawn, deposits, beyond).any() == is_wire


def test_what_is_broad_is_no_line() -> None:
    broad = cv2.dilate(wire(), np.ones((9, 9), np.uint8))
    assert not found(noise() + np.float32(4.0) * broad, young()).any()


def twin(z: Density, age: Density, known: Mask, rules: tuple[float, float, int, float, int, float, float]) -> Mask:
    """The kernel's rules once more, one line at a time over lists of cells."""
    seed, hit, least, share, aside, young, order = rules
    h, w = z.shape
    out = np.zeros((h, w), np.uint8)
    half = np.float32(0.5)

    def cell(r0: int, c0: int, n: int, m: int, step: NDArray[np.float32]) -> tuple[int, int] | None:
        r = int(np.floor(r0 + n * step[0] + m * step[1] + half))
        c = int(np.floor(c0 + n * step[1] - m * step[0] + half))
        return (r, c) if 0 <= r < h and 0 <= c < w else None

    def walk(r0: int, c0: int, sign: int, step: NDArray[np.float32]) -> tuple[list[int], list[int], bool]:
        on, off, at_deposit = list[int](), list[int](), False
        missed, blind, n = 0, 0, 0
        while missed < 3 and blind < least:
            n += sign
            at = cell(r0, c0, n, 0, step)
            if at is None:
                break
            if z[at] > hit:
                on.append(n)
                missed, blind, at_deposit = 0, 0, False
            elif np.isfinite(z[at]):
                off.append(n)
                missed, blind = missed + 1, 0
            else:
                blind, at_deposit = blind + 1, at_deposit or bool(np.isneginf(z[at]))
        return on, off, at_deposit

    for r0, c0 in np.argwhere(z > seed):
        if out[r0, c0]:
            continue
        for k in range(24):
            step = np.array([np.sin(np.pi * k / 24), np.cos(np.pi * k / 24)], np.float32)
            (on, off, ends_there), (on_2, off_2, ends_here) = (walk(r0, c0, sign, step) for sign in (1, -1))
            on, off = sorted([0, *on, *on_2]), [*off, *off_2]
            if len(on) < least or len(on) < share * (len(on) + len(off)):
                continue
            mean = np.mean([z[cell(r0, c0, n, 0, step)] for n in [*on, *off]])
            beside = [
                [
                    mean if np.isneginf(z[at]) else z[at]
                    for n in range(on[0], on[-1] + 1)
                    if (at := cell(r0, c0, n, m, step)) is not None and not np.isnan(z[at])
                ]
                for m in (aside, -aside)
            ]
            ages = [float(age[cell(r0, c0, n, 0, step)]) for n in on]
            rises = abs(np.polyfit(on, ages, 1)[0]) * (on[-1] - on[0]) > order
            if rises or max(np.mean(values) if values else 0.0 for values in beside) > 0.5 * mean:
                continue
            familiar = sum(known[cell(r0, c0, n, 0, step)] > 0 for n in on)
            if 2 * familiar < len(on) and (np.mean(ages) > young or ends_there or ends_here):
                continue
            for n in range(on[0], on[-1] + 1):
                out[cell(r0, c0, n, 0, step)] = 255
            break
    return out


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_lines_are_found_as_their_rules_say(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 12)))
    values = st.sampled_from([np.float32(v) for v in (-np.inf, np.nan, 0.0, 0.5, 1.5, 2.5, 3.25, 4.0)])
    z = data.draw(arrays(np.float32, shape, elements=values))
    age = data.draw(arrays(np.float32, shape, elements=st.sampled_from([np.float32(v) for v in (0, 1, 3.5, 7)])))
    known = data.draw(arrays(np.uint8, shape, elements=st.sampled_from([0, 255])))
    rules = (2.0, 1.0, 4, 0.65, 2, 4.7, 2.3)
    np.testing.assert_array_equal(lines(z, age, known, *rules), twin(z, age, known, rules))


ODD = st.sampled_from([np.float32(v) for v in (-np.inf, np.nan, -3.0, -0.25, 0.0, 0.5, 0.5, 1.5, 2.5, 1e-30, 1e38)])


@given(arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 12)), elements=ODD))
@settings(max_examples=60, deadline=None)
def test_the_median_size_is_that_of_what_is_finite(values: Density) -> None:
    finite = np.abs(values[np.isfinite(values)])
    expected = np.median(finite) if len(finite) else np.nan
    np.testing.assert_array_equal(np.float32(kernels.median_size(values)), np.float32(expected))


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_cells_are_followed_faster_where_they_depart(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 12)))
    pulse, mean = (data.draw(arrays(np.float32, shape, elements=st.floats(-9, 9, width=16))) for _ in range(2))
    steel, beyond, deposits = (data.draw(arrays(np.uint8, shape, elements=st.sampled_from([0, 255]))) for _ in range(3))
    after, z = mean.copy(), np.zeros_like(mean)
    kernels.follow(pulse, steel, beyond, deposits, 0.25, 0.875, 4.0, after, z)
    departs = pulse - mean
    np.testing.assert_allclose(after, mean + departs * (departs**2 / 16).clip(0.25, 0.875), rtol=1e-6, atol=1e-6)
    told = np.where((steel > 0) | (beyond > 0), np.nan, after)
    np.testing.assert_array_equal(z, np.where(deposits > 0, -np.inf, told))


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_cells_grow_older_while_they_show_and_younger_while_not(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 12)))
    z = data.draw(arrays(np.float32, shape, elements=ODD))
    age = data.draw(arrays(np.float32, shape, elements=st.integers(0, 8)))
    cut, older = z.copy(), age.copy()
    kernels.grow_older(cut, 2.0, 1.0, 8.0, older)
    np.testing.assert_array_equal(cut, np.minimum(z, 2.0))
    np.testing.assert_array_equal(older, (age + np.where(z > 1.0, 1, -1)).clip(0, 8))


class DrawnChange:
    """A pulse's change with one wire in it, 0.5 mm a pixel."""

    shape = (2 * SHAPE[0], 2 * SHAPE[1])

    def of_pulse_in_cells(self, width: int, height: int) -> Density:
        drawn = noise() + np.float32(6.0) * wire()
        return np.asarray(cv2.resize(drawn, (width, height)), dtype=np.float32)


def test_a_wire_is_followed_though_the_scale_flickers_with_a_needles_width() -> None:
    watch, nothing = WireWatch(), np.zeros(DrawnChange.shape, np.uint8)
    for work_mm in (0.5, 0.5, 0.52, 0.49, 0.5):
        seen = watch.seen(DrawnChange(), nothing, nothing, cv2.bitwise_not(nothing), work_mm)
        assert seen is not None
        assert seen.shape == DrawnChange.shape
        assert seen.any()
