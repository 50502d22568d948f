"""The file of accounts."""

import json
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidance import accounts
from guidance.accounts import (
    AccountsError,
    KnownAccounts,
    Role,
    account_of_token,
    add_account,
    add_token,
    has_password,
    read_accounts,
    remove_account,
)

PASSWORD = "correct horse battery"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """With an operator who has a password, and a wall screen that has a token."""
    file = tmp_path / "accounts.json"
    add_account(file, "ito", Role.OPERATOR, PASSWORD)
    add_token(file, "wall", Role.VIEWER)
    return file


def test_the_file_is_its_owners_alone_and_holds_no_password_and_no_token(file: Path):
    token = add_token(file, "scraper", Role.VIEWER)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    written = file.read_text(encoding="utf-8")
    assert PASSWORD not in written
    assert token.partition("~")[2] not in written
    assert "$argon2id$v=19$m=47104,t=1,p=1$" in written
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_password_fits_its_own_account_alone(file: Path):
    known = read_accounts(file)
    assert has_password(known["ito"], PASSWORD)
    assert not has_password(known["ito"], PASSWORD + " ")
    assert not has_password(known["wall"], PASSWORD)
    assert not has_password(None, PASSWORD)


def test_the_same_password_from_another_keyboard_fits(tmp_path: Path):
    add_account(tmp_path / "a.json", "zoe", Role.VIEWER, "caf\u00e9 au lait noir")
    assert has_password(read_accounts(tmp_path / "a.json")["zoe"], "cafe\u0301 au lait noir")


def test_an_unknown_account_costs_the_same_work_as_a_known_one(file: Path, monkeypatch: pytest.MonkeyPatch):
    known = read_accounts(file)
    has_password(None, "the stand-in is made once")
    worked: list[str] = []
    verify = accounts._HASHER.verify

    class Counting:
        def verify(self, hash_: str, password: str) -> bool:
            worked.append(hash_.rpartition("$")[0].rpartition("$")[0])
            return verify(hash_, password)

    monkeypatch.setattr(accounts, "_HASHER", Counting())
    for account in (known["ito"], known["wall"], None):
        assert not has_password(account, "wrong wrong wrong")
    assert len(worked) == 3
    assert len(set(worked)) == 1, "the same memory, passes and lanes"


def test_a_token_lets_in_its_own_account_alone(file: Path):
    token = add_token(file, "scraper", Role.VIEWER)
    known = read_accounts(file)
    found = account_of_token(known, token)
    assert found is not None
    assert found.name == "scraper"
    assert account_of_token(known, token.replace("scraper", "wall")) is None
    assert account_of_token(known, token.replace("scraper", "ito")) is None
    assert account_of_token(known, token[:-1]) is None


@given(st.text())
def test_what_is_no_token_lets_in_nobody(garbage: str):
    known = {"ito": accounts.Account(name="ito", role=Role.OPERATOR, token_sha256="0" * 64)}
    assert account_of_token(known, garbage) is None
    assert account_of_token(known, f"ito~{garbage}") is None


@pytest.mark.parametrize("name", ["", "a b", "-a", "../a", "a" * 33, "ito\n", "naïve"])
def test_a_name_that_could_be_mistaken_is_refused(file: Path, name: str):
    with pytest.raises(AccountsError, match="expected a name"):
        add_token(file, name, Role.VIEWER)


@pytest.mark.parametrize("password", ["", "eleven char", "x" * 257])
def test_a_password_that_is_too_short_or_too_long_is_refused(file: Path, password: str):
    with pytest.raises(AccountsError, match="12 to 256"):
        add_account(file, "new", Role.VIEWER, password)
    assert "new" not in read_accounts(file)


def test_an_account_is_not_overwritten_by_another_of_its_name(file: Path):
    with pytest.raises(AccountsError, match="exists"):
        add_token(file, "ito", Role.OPERATOR)
    remove_account(file, "ito")
    add_token(file, "ito", Role.OPERATOR)
    with pytest.raises(AccountsError, match="no account 'nobody'"):
        remove_account(file, "nobody")


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("{", "JSON"),
        ("[]", "expected accounts"),
        ('{"schema": 2, "accounts": []}', "schema"),
        ('{"schema": 1, "accounts": [{"name": "a", "role": "boss", "token_sha256": "%s"}]}' % ("0" * 64), "role"),
        ('{"schema": 1, "accounts": [{"name": "a", "role": "viewer"}]}', "password's hash or a token's"),
        ('{"schema": 1, "accounts": [{"name": "a", "role": "viewer", "password": "plain"}]}', "password"),
        (
            '{"schema": 1, "accounts": [{"name": "a", "role": "viewer", "password": "$argon2id$cut"}]}',
            "none of argon2id",
        ),
    ],
)
def test_a_file_that_is_none_is_told_with_the_place_in_it(tmp_path: Path, written: str, words: str):
    file = tmp_path / "accounts.json"
    file.write_text(written, encoding="utf-8")
    file.chmod(0o600)
    with pytest.raises(AccountsError, match=words) as told:
        read_accounts(file)
    assert str(file) in str(told.value)
    assert "plain" not in str(told.value)


@pytest.mark.parametrize(
    ("mode", "may"), [(0o600, True), (0o640, True), (0o644, False), (0o660, False), (0o602, False)]
)
def test_a_file_that_others_could_read_or_change_is_refused(file: Path, mode: int, may: bool):
    file.chmod(mode)
    if may:
        assert read_accounts(file)
    else:
        with pytest.raises(AccountsError, match="open to others"):
            read_accounts(file)


def test_accounts_that_are_added_at_the_same_time_are_all_there(tmp_path: Path):
    file = tmp_path / "accounts.json"
    adding = [threading.Thread(target=add_token, args=(file, f"screen{n}", Role.VIEWER)) for n in range(12)]
    for thread in adding:
        thread.start()
    for thread in adding:
        thread.join()
    assert len(read_accounts(file)) == 12


def test_a_change_of_the_file_counts_at_once(file: Path):
    known = KnownAccounts(file)
    assert "ito" in known.now()
    remove_account(file, "ito")
    assert "ito" not in known.now()


def test_those_known_before_stay_while_a_changed_file_cannot_be_read(file: Path):
    known = KnownAccounts(file)
    good = file.read_bytes()
    file.write_text("{", encoding="utf-8")
    assert "ito" in known.now()
    assert known.fault is not None
    file.write_bytes(good.replace(b'"ito"', b'"dr_ito"'))
    assert "dr_ito" in known.now()
    assert known.fault is None
    file.unlink()
    assert "dr_ito" in known.now()


def test_an_account_that_changes_is_another_one(file: Path):
    before = read_accounts(file)["ito"]
    rows = json.loads(file.read_text(encoding="utf-8"))
    rows["accounts"][0]["role"] = "viewer"
    file.write_text(json.dumps(rows), encoding="utf-8")
    assert read_accounts(file)["ito"].fingerprint != before.fingerprint
