"""A whole case as a few lines to draw: no peak is lost, and a gap stays a gap."""

from hypothesis import given
from hypothesis import strategies as st

from guidance.casebook.archive import TimelineRow
from guidance.casebook.course import MOST_SPANS, course_json, runs, thinned
from guidance.records import FrameState, Phase, View


def row(
    t_s: float, state: str = "live", depths: dict[int, float | None] | None = None, mm2: float | None = None
) -> TimelineRow:
    return TimelineRow(t_s, 0, FrameState(state), Phase.CEMENT, View.LATERAL, depths or {}, mm2, 9.0)


def test_a_run_begins_where_its_value_does() -> None:
    assert runs([(0.0, "a"), (1.0, "a"), (2.0, "b"), (3.0, "a")]) == [(0.0, "a"), (2.0, "b"), (3.0, "a")]


def test_a_course_tells_of_every_state_needle_and_area() -> None:
    told = course_json(
        [row(0, depths={1: None}), row(1, "held", {1: 0.4, 2: 0.1}, 12.5), row(2, depths={2: 0.2}, mm2=20)]
    )
    assert told["states"] == [(0, "live"), (1, "held"), (2, "live")]
    assert told["views"] == [(0, "lateral")]
    assert told["cement_mm2"] == [(0, None), (1, 12.5), (2, 20)]
    assert told["depths"] == {1: [(0, None), (1, 0.4), (2, None)], 2: [(0, None), (1, 0.1), (2, 0.2)]}


def test_an_empty_case_has_an_empty_course() -> None:
    assert course_json([])["states"] == []


def test_a_short_peak_of_a_long_case_is_drawn() -> None:
    points: list[tuple[float, float | None]] = [(i / 30, 10.0) for i in range(54_000)]
    points[31_007] = (31_007 / 30, 99.0)
    kept = thinned(points)
    assert (31_007 / 30, 99.0) in kept
    assert len(kept) <= 4 * (MOST_SPANS + 1)


@given(st.lists(st.one_of(st.none(), st.floats(0, 1e3)), max_size=60))
def test_few_points_are_kept_but_for_the_middle_of_gaps(values: list[float | None]) -> None:
    points = [(float(i), value) for i, value in enumerate(values)]
    kept = thinned(points)
    assert [one for one in kept if one[1] is not None] == [one for one in points if one[1] is not None]
    gaps = [i for i, (_, value) in enumerate(points) if value is None and (i == 0 or points[i - 1][1] is not None)]
    assert [one for one in kept if one[1] is None] == [points[i] for i in gaps]
