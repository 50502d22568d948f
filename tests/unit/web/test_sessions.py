"""For how long a log-in counts."""

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guidance.accounts import KnownAccounts, Role, add_token, read_accounts, remove_account
from web.audit import Audit
from web.sessions import LONGEST_S, MOST_PER_ACCOUNT, UNWATCHED_S, WATCHED_S, Sessions

HERE = "10.0.0.5"


class Room:
    """Accounts, and sessions at a time of one's own."""

    def __init__(self, folder: Path) -> None:
        self.accounts = folder / "accounts.json"
        self.file = folder / "sessions.json"
        self.audit_log = folder / "audit.jsonl"
        add_token(self.accounts, "ito", Role.OPERATOR)
        add_token(self.accounts, "wall", Role.VIEWER)
        self.now_s = 1000.0
        self.wall_s = 2e9
        self.start()

    def start(self) -> None:
        """As after a restart, of which the sessions know by their file alone."""
        known = KnownAccounts(self.accounts)
        self.sessions = Sessions(known, Audit(self.audit_log), self.file, lambda: self.now_s, lambda: self.wall_s)

    def log_in(self, name: str) -> str:
        return self.sessions.begin(read_accounts(self.accounts)[name])

    def role(self, secret: str) -> Role | None:
        who = self.sessions.who(secret, HERE)
        return None if who is None else who.role

    def pass_by(self, seconds: float) -> None:
        self.now_s += seconds
        self.wall_s += seconds

    def watch(self, secret: str, seconds: float) -> None:
        """A page is open for so long; asked for less often than a real one, to be quick."""
        for _ in range(int(seconds / (0.9 * WATCHED_S))):
            self.pass_by(0.9 * WATCHED_S)
            self.sessions.who(secret, HERE)


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def test_a_session_is_its_accounts_and_no_two_are_alike(room: Room):
    first, second = room.log_in("ito"), room.log_in("ito")
    assert first != second
    assert len(first) >= 43, "256 bits"
    who = room.sessions.who(first, HERE)
    assert who is not None
    assert (who.name, who.role, who.address) == ("ito", Role.OPERATOR, HERE)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text())
def test_what_is_no_sessions_cookie_lets_in_nobody(room: Room, garbage: str):
    room.log_in("ito")
    assert room.sessions.who(garbage, HERE) is None
    room.sessions.end(garbage)


def test_whoever_logs_out_is_a_stranger_elsewhere_stays_logged_in(room: Room):
    here, elsewhere = room.log_in("ito"), room.log_in("ito")
    room.sessions.end(here)
    assert room.role(here) is None
    assert room.role(elsewhere) is Role.OPERATOR


@pytest.mark.parametrize("name", ["ito", "wall"])
def test_a_session_ends_when_it_was_unused_for_long(room: Room, name: str):
    secret = room.log_in(name)
    longest_s = UNWATCHED_S[Role.OPERATOR if name == "ito" else Role.VIEWER]
    room.pass_by(longest_s - 1)
    assert room.role(secret) is not None
    room.pass_by(longest_s - 1)
    assert room.role(secret) is not None, "use counts from the last time"
    room.pass_by(longest_s + 1)
    assert room.role(secret) is None


def test_no_clock_takes_the_picture_from_a_page_that_watches_but_old_log_ins_order_nothing(room: Room):
    secret = room.log_in("ito")
    room.watch(secret, LONGEST_S[Role.OPERATOR] - 60)
    assert room.role(secret) is Role.OPERATOR
    room.watch(secret, 120)
    assert room.role(secret) is Role.VIEWER
    room.watch(secret, 3600)
    assert room.role(secret) is Role.VIEWER
    room.pass_by(WATCHED_S + 1)
    assert room.role(secret) is None


def test_an_account_that_is_removed_ends_its_sessions_at_once_and_alone(room: Room):
    ito, wall = room.log_in("ito"), room.log_in("wall")
    remove_account(room.accounts, "ito")
    assert room.role(ito) is None
    assert room.role(wall) is Role.VIEWER
    assert "session over" in room.audit_log.read_text(encoding="utf-8")


def test_an_account_of_the_same_name_with_another_secret_is_not_the_one_that_logged_in(room: Room):
    secret = room.log_in("ito")
    remove_account(room.accounts, "ito")
    add_token(room.accounts, "ito", Role.OPERATOR)
    assert room.role(secret) is None


def test_a_restart_in_the_middle_of_a_case_leaves_everybody_logged_in(room: Room):
    wall, ito = room.log_in("wall"), room.log_in("ito")
    out = room.log_in("ito")
    room.sessions.end(out)
    room.start()
    assert (room.role(wall), room.role(ito), room.role(out)) == (Role.VIEWER, Role.OPERATOR, None)


def test_a_restart_makes_no_session_younger(room: Room):
    secret = room.log_in("ito")
    room.watch(secret, LONGEST_S[Role.OPERATOR] - 60)
    room.start()
    room.watch(secret, 120)
    assert room.role(secret) is Role.VIEWER


def test_an_account_removed_while_the_service_is_down_is_out(room: Room):
    secret = room.log_in("ito")
    remove_account(room.accounts, "ito")
    room.start()
    assert room.role(secret) is None


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_wall_clock_set_by_an_hour_logs_nobody_out(room: Room, hours: int):
    secret = room.log_in("ito")
    room.wall_s += 3600 * hours
    assert room.role(secret) is Role.OPERATOR
    room.start()
    assert room.role(secret) is Role.OPERATOR


def test_the_file_holds_no_cookie_and_is_its_owners_alone(room: Room):
    secret = room.log_in("ito")
    assert secret not in room.file.read_text(encoding="utf-8")
    assert stat.S_IMODE(room.file.stat().st_mode) == 0o600


@pytest.mark.parametrize("damage", [lambda _: b"", lambda kept: kept[:-9], lambda _: b"\xff[]", lambda _: b"[1]"])
def test_a_damaged_file_means_that_everybody_logs_in_again(room: Room, damage: Callable[[bytes], bytes]):
    secret = room.log_in("ito")
    room.file.write_bytes(damage(room.file.read_bytes()))
    room.start()
    assert room.role(secret) is None
    assert room.role(room.log_in("ito")) is Role.OPERATOR


def test_a_file_that_cannot_be_written_keeps_nobody_from_logging_in(room: Room):
    room.file.mkdir()
    assert room.role(room.log_in("ito")) is Role.OPERATOR


def test_so_many_sessions_of_one_account_end_the_one_that_was_unused_for_longest(room: Room):
    wall = room.log_in("wall")
    secrets = []
    for _ in range(MOST_PER_ACCOUNT):
        secrets.append(room.log_in("ito"))
        room.pass_by(1)
    room.sessions.who(secrets[0], HERE)
    room.pass_by(1)
    newest = room.log_in("ito")
    assert [room.role(secret) for secret in secrets[:3]] == [Role.OPERATOR, None, Role.OPERATOR]
    assert room.role(newest) is Role.OPERATOR
    assert room.role(wall) is Role.VIEWER
