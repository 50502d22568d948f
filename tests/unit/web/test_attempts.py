"""How long who failed to log in waits."""

import pytest

from web.attempts import (
    FORGET_S,
    FREE_OF_ACCOUNT,
    FREE_OF_ADDRESS,
    LONGEST_OF_ACCOUNT_S,
    LONGEST_OF_ADDRESS_S,
    MOST_KEPT,
    Attempts,
)

HERE, THERE = "10.0.0.5", "10.0.0.6"


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def attempts(clock: Clock) -> Attempts:
    return Attempts(clock)


def waits(attempts: Attempts, clock: Clock, count: int, accounts: list[str], address: str = HERE) -> list[float]:
    """The wait after each of so many failures, each tried as soon as it may be."""
    told = []
    for number in range(count):
        account = accounts[number % len(accounts)]
        attempts.note_attempt(account, address)
        told.append(attempts.wait_s(account, address))
        clock.now_s += told[-1]
    return told


def test_the_first_slips_cost_nothing_and_then_the_wait_doubles_up_to_its_longest(attempts: Attempts, clock: Clock):
    told = waits(attempts, clock, 9, ["ito"])
    assert told == [0, 0, 1, 2, 4, 8, 16, LONGEST_OF_ACCOUNT_S, LONGEST_OF_ACCOUNT_S]
    assert told.index(1) == FREE_OF_ACCOUNT - 1


def test_an_account_waits_also_where_each_attempt_comes_from_elsewhere(attempts: Attempts):
    for number in range(8):
        attempts.note_attempt("ito", f"10.0.1.{number}")
    assert attempts.wait_s("ito", "10.0.2.1") == LONGEST_OF_ACCOUNT_S


def test_an_address_waits_also_where_each_attempt_is_at_another_account(attempts: Attempts, clock: Clock):
    told = waits(attempts, clock, 20, [f"name{number}" for number in range(20)])
    assert told[: FREE_OF_ADDRESS - 1] == [0.0] * (FREE_OF_ADDRESS - 1)
    assert told[-1] == LONGEST_OF_ADDRESS_S
    assert attempts.wait_s("name0", THERE) == 0


def test_whoever_tries_many_at_the_same_moment_gains_nothing(attempts: Attempts):
    for _ in range(50):
        attempts.note_attempt("ito", HERE)
    assert attempts.wait_s("ito", HERE) == LONGEST_OF_ADDRESS_S


def test_an_account_is_not_shut_out_where_it_was_logged_in_before(attempts: Attempts):
    attempts.note_attempt("ito", HERE)
    attempts.note_success("ito", HERE)
    for _ in range(20):
        attempts.note_attempt("ito", THERE)
    assert attempts.wait_s("ito", THERE) > 0
    assert attempts.wait_s("ito", HERE) == 0


def test_a_log_in_of_ones_own_does_not_wipe_out_the_failures_at_others(attempts: Attempts, clock: Clock):
    waits(attempts, clock, 2 * FREE_OF_ADDRESS, [f"victim{number}" for number in range(40)])
    clock.now_s += LONGEST_OF_ADDRESS_S
    attempts.note_attempt("guest", HERE)
    attempts.note_success("guest", HERE)
    assert attempts.wait_s("victim", HERE) == 0
    attempts.note_attempt("victim", HERE)
    assert attempts.wait_s("victim", HERE) == LONGEST_OF_ADDRESS_S


def test_failures_are_forgotten(attempts: Attempts, clock: Clock):
    waits(attempts, clock, 8, ["ito"])
    clock.now_s += FORGET_S + 1
    attempts.note_attempt("ito", HERE)
    assert attempts.wait_s("ito", HERE) == 0


@pytest.mark.parametrize(
    ("first", "second", "one_party"),
    [
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2:bbbb::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:10.0.0.5", "10.0.0.5", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("testclient", "testclient", True),
        ("", "10.0.0.5", False),
    ],
)
def test_addresses_count_together_as_far_as_one_party_owns_them(
    attempts: Attempts, first: str, second: str, one_party: bool
):
    for number in range(12):
        attempts.note_attempt(f"name{number}", first)
    assert (attempts.wait_s("another", second) > 0) is one_party


def test_a_flood_of_names_and_addresses_fills_no_memory(attempts: Attempts):
    for number in range(3 * MOST_KEPT):
        attempts.note_attempt(f"name{number}", f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}")
        attempts.note_success(f"home{number}", HERE)
    assert len(attempts._failures) == MOST_KEPT
    assert len(attempts._homes) == MOST_KEPT
