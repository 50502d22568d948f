"""A hundred thousand messages to five subscribers: see storm.py."""

from pathlib import Path

import pytest

from tests.unit.bus.storm import Outcome, storm


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return storm(100_000, Path(tmp_path_factory.mktemp("storm")))


pytestmark = pytest.mark.slow


def test_one_died_in_the_middle_and_every_other_lived_to_the_end(outcome: Outcome) -> None:
    assert outcome.dead == ["dies"]
    assert set(outcome.readers) == {"steady", "stalls", "late", "cut"}


def test_each_living_one_ends_with_exactly_the_present_alert_state(outcome: Outcome) -> None:
    assert outcome.alerts
    for notes in outcome.readers.values():
        assert sorted(notes.alerts, key=lambda alert: alert["id"]) == sorted(
            outcome.alerts, key=lambda alert: alert["id"]
        )
        assert notes.findings_frame == 99_999


def test_every_gap_is_detected(outcome: Outcome) -> None:
    for who, notes in outcome.readers.items():
        assert notes.missed(outcome.sent) == {topic: notes.lost[topic] for topic in outcome.sent}, who


def test_the_day_was_as_bad_as_it_should_be(outcome: Outcome) -> None:
    assert sum(outcome.readers["stalls"].lost.values()) > 1000
    assert sum(outcome.readers["cut"].lost.values()) > 1000
    assert outcome.cuts >= 5


def test_nothing_is_taken_in_twice(outcome: Outcome) -> None:
    for notes in outcome.readers.values():
        assert notes.refused == 0
        for received in notes.received.values():
            assert received == sorted(set(received))


def test_the_publishers_memory_does_not_grow_with_what_it_has_published(outcome: Outcome) -> None:
    # Of every reader no more than 256 messages are kept, of 1 KiB; a hundred thousand would be 100 MB.
    assert outcome.grown_mb < 20
