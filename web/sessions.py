"""Who has logged in, and for how long that counts.

A session is 256 random bits in a cookie, and an entry here under their hash. Entries are kept in a file beside the
alarm log, so that a dashboard or a service that is started again in the middle of a case does not take the picture
from a wall screen. The file is worth nothing to a thief: no cookie follows from a hash.
"""

import hashlib
import logging
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from guidance.accounts import Account, KnownAccounts, Role
from web.audit import Audit, Who

log = logging.getLogger(__name__)

UNWATCHED_S = {Role.OPERATOR: 3600.0, Role.VIEWER: 7 * 86400.0}
"""A session ends so long after the last page that it had open, or the last thing that it asked for."""

LONGEST_S = {Role.OPERATOR: 16 * 3600.0, Role.VIEWER: 90 * 86400.0}
"""So long after the log-in a session gives no more orders, and ends as soon as no page watches.

Sixteen hours are longer than any day in the procedure room. What is on the screen stays there: no clock may take a
picture away in the middle of a case.
"""

WATCHED_S = 10.0
"""A session that was asked for within this time has a page open: an open one is asked for several times a second."""

MOST_PER_ACCOUNT = 32
"""Of more the one that was unused for longest ends."""


@dataclass(slots=True)
class _Session:
    account: str
    granted: str
    """The account's fingerprint when it logged in."""
    began_s: float
    seen_s: float


class _Kept(BaseModel):
    """A session in the file, by the wall clock: the other one begins anew with the machine."""

    model_config = ConfigDict(extra="forbid")

    hash: str
    account: str
    granted: str
    began: float


_FILE = TypeAdapter(list[_Kept])


class Sessions:
    """All sessions. ``file``: where they outlive the process; None: nowhere. Belongs to one thread."""

    def __init__(
        self,
        accounts: KnownAccounts,
        audit: Audit,
        file: Path | None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.accounts = accounts
        self._audit = audit
        self._file = file
        self._clock = clock
        self._wall = wall
        self._sessions: dict[str, _Session] = {}
        if file is not None:
            self._read(file)

    def begin(self, account: Account) -> str:
        """What the cookie of a new session holds. Nothing that the browser had before is taken over."""
        for hash_ in list(self._sessions):
            self._of(hash_, "", touch=False)
        own = [hash_ for hash_, session in self._sessions.items() if session.account == account.name]
        own.sort(key=lambda hash_: self._sessions[hash_].seen_s)
        for hash_ in own[: max(0, len(own) + 1 - MOST_PER_ACCOUNT)]:
            del self._sessions[hash_]
        secret = secrets.token_urlsafe(32)
        now = self._clock()
        self._sessions[_hash(secret)] = _Session(account.name, account.fingerprint, now, now)
        self._keep()
        return secret

    def who(self, secret: str, address: str) -> Who | None:
        """Who comes with that cookie; None where it is nobody's any more. Counts as use of the session."""
        return self._of(_hash(secret), address)

    def end(self, secret: str) -> None:
        """Forget a session, if there is one: whoever has its cookie is a stranger from now on."""
        if self._sessions.pop(_hash(secret), None) is not None:
            self._keep()

    def _of(self, hash_: str, address: str, touch: bool = True) -> Who | None:
        session = self._sessions.get(hash_)
        if session is None:
            return None
        account = self.accounts.now().get(session.account)
        now = self._clock()
        if account is None or account.fingerprint != session.granted:
            self._over(hash_, address, "the account was removed or changed")
            return None
        unseen_s = now - session.seen_s
        grown_old = now - session.began_s > LONGEST_S[account.role]
        if unseen_s > UNWATCHED_S[account.role] or (grown_old and unseen_s > WATCHED_S):
            self._over(hash_, address, "unused for long, or begun long ago")
            return None
        if touch:
            session.seen_s = now
        return Who(account.name, Role.VIEWER if grown_old else account.role, address)

    def _over(self, hash_: str, address: str, why: str) -> None:
        session = self._sessions.pop(hash_)
        account = self.accounts.now().get(session.account)
        role = Role.VIEWER if account is None else account.role
        self._audit.note(Who(session.account, role, address), "session over", why=why)
        self._keep()

    def _read(self, file: Path) -> None:
        """What was kept, as unused as it can have been; nothing where the file is none of ours: people log in again."""
        try:
            kept = _FILE.validate_json(file.read_bytes())
        except FileNotFoundError:
            return
        except (OSError, ValidationError) as error:
            log.warning("%s: not read (%s): everybody logs in again", file, type(error).__name__)
            return
        now, wall = self._clock(), self._wall()
        for row in kept:
            # A clock that was set back makes no session older than it is, nor one that has not begun yet.
            age_s = max(0.0, wall - row.began)
            self._sessions[row.hash] = _Session(row.account, row.granted, now - age_s, now)

    def _keep(self) -> None:
        if self._file is None:
            return
        now, wall = self._clock(), self._wall()
        kept = [
            _Kept(hash=hash_, account=session.account, granted=session.granted, began=wall - (now - session.began_s))
            for hash_, session in self._sessions.items()
        ]
        fresh = self._file.with_name(f".{self._file.name}.fresh")
        try:
            secretly = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(secretly, "wb") as writing:
                writing.write(_FILE.dump_json(kept))
            fresh.replace(self._file)
        except OSError as error:
            # They count all the same, for as long as this process lives.
            log.warning(
                "%s: cannot be written (%s): who is logged in is forgotten with a restart", fresh, error.strerror
            )


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
