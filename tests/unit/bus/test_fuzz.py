"""Whatever may come in: refused, counted, and nothing dies. `python -m tests.unit.bus.fuzz 100000` does more of it."""

import json
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from guidance.bus.messages import (
    MessageError,
    read_answer,
    read_call,
    read_frame,
    read_message,
    read_order,
    read_snapshot,
)
from guidance.bus.subscriber import Reception
from tests.unit.bus.fuzz import fuzz, spoken

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


def refusal(read: Callable[[Any], Any], told: Any) -> str:
    """Why it is refused; empty where it is taken."""
    try:
        read(told)
    except MessageError as error:
        return str(error)
    return ""


@given(st.binary(max_size=300) | ANYTHING.map(lambda thing: json.dumps(thing).encode()))
def test_no_bytes_make_a_reader_of_single_parts_fail(data: bytes) -> None:
    for read in (read_call, read_order, read_answer):
        assert "\n" not in refusal(read, data)


@given(st.lists(st.binary(max_size=100) | ANYTHING.map(lambda thing: json.dumps(thing).encode()), max_size=5))
def test_no_parts_make_a_reader_fail(parts: list[bytes]) -> None:
    for read in (read_message, read_snapshot, read_frame):
        assert "\n" not in refusal(read, parts)


def paths(told: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a message."""
    inner = told.items() if isinstance(told, dict) else enumerate(told) if isinstance(told, list) else ()
    return [*([before] if before else []), *(path for key, value in inner for path in paths(value, (*before, key)))]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_message_with_one_value_in_anothers_place_is_taken_or_refused(data: st.DataObject) -> None:
    parts = list(data.draw(st.sampled_from(spoken())))
    place = 0 if len(parts) == 1 else 1
    told = json.loads(parts[place])
    *way, last = data.draw(st.sampled_from(paths(told)))
    holder = told
    for key in way:
        holder = holder[key]
    holder[last] = data.draw(ANYTHING)
    parts[place] = json.dumps(told).encode()
    reception = Reception()
    taken = [reception.take(parts), reception.take_snapshot(parts), reception.take_frame(parts)]
    assert reception.refused == sum(heard is None for heard in taken)


def test_thousands_of_inputs_on_every_socket_are_refused_and_counted_and_everything_still_answers() -> None:
    fates = fuzz(5_000, seed=1)
    assert sum(fate.sent for fate in fates.values()) >= 5_000
    for name in ("calls for snapshots", "orders with a key", "what a reader hears"):
        assert fates[name].refused > fates[name].accepted
    assert fates["orders without"].accepted == 0
