"""What is refused before the dashboard is opened."""

import io
import subprocess
from pathlib import Path

import pytest

from guidance.accounts import AccountsError, Role, add_token, read_accounts
from guidance.admission import Admission, AdmissionError
from guidance.cli import main
from guidance.records import CasePlan
from guidance.service import Service
from guidance.settings import Settings
from tests.unit.certificates import self_signed


@pytest.fixture
def accounts(tmp_path: Path) -> Path:
    add_token(tmp_path / "accounts.json", "wall", Role.VIEWER)
    return tmp_path / "accounts.json"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_on_this_machine_nobody_needs_to_log_in(host: str):
    Admission().check(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "c-arm-7", ""])
def test_beyond_this_machine_people_log_in_over_tls(host: str, accounts: Path, tmp_path: Path):
    with pytest.raises(AdmissionError, match="--accounts FILE"):
        Admission(plain_http=True).check(host)
    with pytest.raises(AdmissionError, match="--tls-cert and --tls-key"):
        Admission(accounts).check(host)
    Admission(accounts, plain_http=True).check(host)
    Admission(accounts, *self_signed(tmp_path)).check(host)


def test_accounts_that_cannot_be_read_are_told_at_the_start(tmp_path: Path):
    with pytest.raises(AccountsError, match="cannot be read"):
        Admission(tmp_path / "none.json").check("127.0.0.1")


def test_a_certificate_comes_with_its_key(tmp_path: Path):
    cert, key = self_signed(tmp_path)
    with pytest.raises(AdmissionError, match="together"):
        Admission(tls_cert=cert).check("127.0.0.1")
    with pytest.raises(AdmissionError, match="together"):
        Admission(tls_key=key).check("127.0.0.1")


def test_what_is_wrong_with_a_certificate_names_the_file(tmp_path: Path):
    cert, key = self_signed(tmp_path)
    _, other = self_signed(tmp_path, "elsewhere")
    none = tmp_path / "none.pem"
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no PEM", encoding="utf-8")
    locked = tmp_path / "locked.pem"
    subprocess.run(
        ["openssl", "ec", "-in", str(key), "-aes128", "-passout", "pass:secret", "-out", str(locked)],
        check=True,
        capture_output=True,
    )
    for wrong_cert, wrong_key, words in (
        (cert, other, f"{other}: not the key of {cert}"),
        (cert, none, f"{none}: cannot be read"),
        (none, key, f"{none}: cannot be read"),
        (garbage, key, f"{garbage}: cannot be used"),
        (cert, garbage, f"{garbage}: cannot be used"),
        (cert, locked, f"{locked}: is locked by a password"),
    ):
        with pytest.raises(AdmissionError) as told:
            Admission(tls_cert=wrong_cert, tls_key=wrong_key).check("127.0.0.1")
        assert words in str(told.value)


def test_the_command_line_refuses_with_one_line_before_anything_is_opened(capsys: pytest.CaptureFixture[str]):
    assert main(["serve", "--source", "no-such-source", "--host", "0.0.0.0"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "--accounts FILE" in told


def test_accounts_come_with_a_log_of_who_did_what(accounts: Path):
    service = Service(
        lambda: pytest.fail("opened"), CasePlan(), Settings(), port=0, bus_port=0, admission=Admission(accounts)
    )
    with pytest.raises(AdmissionError, match="--alarm-log FILE"):
        service.start()


def test_accounts_are_made_listed_and_removed_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    file = str(tmp_path / "accounts.json")
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse battery\n"))
    assert main(["accounts", file, "--add", "ito", "--role", "operator"]) == 0
    assert main(["accounts", file, "--token", "wall", "--role", "viewer"]) == 0
    token = capsys.readouterr().out.strip()
    assert token.startswith("wall~")
    assert main(["accounts", file]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["ito", "operator", "password"],
        ["wall", "viewer", "token"],
    ]
    assert main(["accounts", file, "--remove", "wall"]) == 0
    assert main(["accounts", file, "--add", "ito", "--role", "viewer"]) == 2
    assert main(["accounts", file, "--role", "viewer"]) == 2
    assert "correct" not in capsys.readouterr().err


def test_an_account_made_anew_is_not_lost_where_its_new_password_is_refused(
    accounts: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    anew = ["accounts", str(accounts), "--remove", "wall", "--add", "wall", "--role", "viewer"]
    monkeypatch.setattr("sys.stdin", io.StringIO("too short\n"))
    assert main(anew) == 2
    assert read_accounts(accounts)["wall"].token_sha256 is not None
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse battery\n"))
    assert main(anew) == 0
    assert read_accounts(accounts)["wall"].token_sha256 is None
