"""Who may open the dashboard, and what they may do there: a file of names, roles and hashes.

    {"schema": 1, "accounts": [
        {"name": "ito", "role": "operator", "password": "$argon2id$..."},
        {"name": "wall", "role": "viewer", "token_sha256": "..."}]}

A password is a person's, and is kept as argon2id (RFC 9106). A token is a program's or a wall screen's: 256 random
bits, which nobody can guess, so that one SHA-256 keeps it and checking one costs nothing.
"""

import fcntl
import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import stat
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Literal, Self

from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

log = logging.getLogger(__name__)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 256

# OWASP's Password Storage Cheat Sheet (2025): 46 MiB, one pass, one lane. More lanes would take the analysis's cores.
_HASHER = PasswordHasher(time_cost=1, memory_cost=47104, parallelism=1)


class AccountsError(Exception):
    """Accounts cannot be read or changed. One line."""


class Role(StrEnum):
    """What an account may do. ``viewer``: see everything. ``operator``: also give orders and change the plan."""

    VIEWER = "viewer"
    OPERATOR = "operator"


class Account(BaseModel):
    """One who is known. Has either a password's hash or a token's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=f"^{NAME.pattern}$")
    role: Role
    password: str | None = Field(default=None, pattern=r"^\$argon2id\$")
    token_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _has_one_secret(self) -> Self:
        if (self.password is None) == (self.token_sha256 is None):
            raise ValueError("expected either a password's hash or a token's")
        if self.password is not None:
            try:
                extract_parameters(self.password)
            except InvalidHashError as error:
                raise ValueError("the password's hash is none of argon2id") from error
        return self

    @property
    def fingerprint(self) -> str:
        """Changes with the role and with the password or token: what was granted to another one is granted no more."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = Field(alias="schema")
    accounts: list[Account]


def read_accounts(file: Path) -> dict[str, Account]:
    """The accounts by their names. Raises AccountsError, also where others could read or change the file."""
    try:
        mode = file.stat().st_mode
        written = file.read_bytes()
    except OSError as error:
        raise AccountsError(
            f"{file}: cannot be read ({error.strerror}); expected accounts: `fluoroguide accounts` makes them"
        ) from error
    if mode & (stat.S_IWGRP | stat.S_IRWXO):
        raise AccountsError(f"{file}: open to others (mode {stat.S_IMODE(mode):04o}); expected 0600, or 0640 at most")
    try:
        listed = _File.model_validate_json(written).accounts
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise AccountsError(f"{file}: {place}: {first['msg']}; expected accounts, schema 1") from error
    accounts = {account.name: account for account in listed}
    if len(accounts) < len(listed):
        raise AccountsError(f"{file}: a name stands there twice; expected each account once")
    return accounts


def require_new(file: Path, name: str) -> None:
    """Raise AccountsError unless an account of that name can be added."""
    _require_new(read_accounts(file) if file.exists() else {}, name)


def add_account(file: Path, name: str, role: Role, password: str, *, anew: bool = False) -> None:
    """Let in whoever knows ``password``; makes the file where there is none. Raises AccountsError.

    ``anew``: instead of the account of that name, which then is let in no more.
    """
    if not SHORTEST_PASSWORD <= len(_normal(password)) <= LONGEST_PASSWORD:
        raise AccountsError(
            f"the password of {name}: expected {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters; "
            "three or four words are easily remembered"
        )
    with _changing(file) as accounts:
        _require_new({} if anew else accounts, name)
        accounts[name] = Account(name=name, role=role, password=_HASHER.hash(_normal(password)))


def add_token(file: Path, name: str, role: Role, *, anew: bool = False) -> str:
    """Let in whoever has the token that is returned and kept nowhere. Otherwise as ``add_account``."""
    with _changing(file) as accounts:
        _require_new({} if anew else accounts, name)
        token = f"{name}~{secrets.token_urlsafe(32)}"
        accounts[name] = Account(name=name, role=role, token_sha256=_sha256(token))
    return token


def remove_account(file: Path, name: str) -> None:
    """Let nobody in under that name any more. Raises AccountsError."""
    with _changing(file) as accounts:
        if accounts.pop(name, None) is None:
            raise AccountsError(
                f"{file}: no account {name!r}; expected one of: {', '.join(accounts) or 'none is left'}"
            )


def has_password(account: Account | None, password: str) -> bool:
    """Whether the password is that account's. Takes the same time and memory where there is no such account."""
    stand_in = _stand_in()
    known = None if account is None else account.password
    try:
        return _HASHER.verify(known or stand_in, _normal(password)) and known is not None
    except VerificationError:
        return False


def account_of_token(accounts: Mapping[str, Account], token: str) -> Account | None:
    """Whose token it is; None where it is nobody's."""
    account = accounts.get(token.partition("~")[0])
    known = None if account is None else account.token_sha256
    fits = hmac.compare_digest(known or _sha256(""), _sha256(token))
    return account if fits and known is not None else None


class KnownAccounts:
    """The accounts of a file as it is now: read again whenever it has changed.

    Where a changed file cannot be read, those known before stay, and ``fault`` says why: a slip of an editor must not
    take the picture from a room. Whoever is to be shut out is removed.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stamp = self._stamp_now()
        self._accounts = read_accounts(file)
        self.fault: str | None = None

    def now(self) -> Mapping[str, Account]:
        """By their names."""
        stamp = self._stamp_now()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._accounts = read_accounts(self._file)
                self.fault = None
            except AccountsError as error:
                self.fault = str(error)
                log.error("%s; those known before stay", error)
        return self._accounts

    def _stamp_now(self) -> tuple[int, ...] | None:
        try:
            status = self._file.stat()
        except OSError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@contextmanager
def _changing(file: Path) -> Iterator[dict[str, Account]]:
    """The accounts, to be changed: written as a whole or not at all, by one process at a time."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = os.open(file.parent, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise AccountsError(f"{file}: cannot be written ({error.strerror}); expected a file for accounts") from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        accounts = read_accounts(file) if file.exists() else {}
        yield accounts
        _write(file, accounts)
        os.fsync(folder)
    except OSError as error:
        raise AccountsError(f"{file}: cannot be written ({error.strerror}); expected a file for accounts") from error
    finally:
        os.close(folder)


def _write(file: Path, accounts: Mapping[str, Account]) -> None:
    rows = [account.model_dump(mode="json", exclude_none=True) for account in accounts.values()]
    fresh = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        secretly = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(secretly, "w", encoding="utf-8") as writing:
            json.dump({"schema": 1, "accounts": rows}, writing, indent=1)
            writing.write("\n")
            writing.flush()
            os.fsync(writing.fileno())
        fresh.replace(file)
    finally:
        fresh.unlink(missing_ok=True)


def _require_new(accounts: Mapping[str, Account], name: str) -> None:
    if NAME.fullmatch(name) is None:
        raise AccountsError(f"account {name!r}: expected a name of up to 32 letters, digits, '-', '_' and '.'")
    if name in accounts:
        raise AccountsError(f"account {name!r}: exists; expected another name, or that it is removed: --remove {name}")


def _normal(password: str) -> str:
    """The same password from any keyboard (RFC 8265)."""
    return unicodedata.normalize("NFC", password)


def _sha256(words: str) -> str:
    return hashlib.sha256(words.encode()).hexdigest()


@cache
def _stand_in() -> str:
    """The hash of a password that nobody knows."""
    return _HASHER.hash(secrets.token_hex(16))
