"""How long somebody who failed to log in waits before trying again.

After a few failures the wait doubles with each: for an account, so that its password is not found by many machines
together, and for an address, so that one machine does not try all accounts. Where an account has been logged in from
before it does not wait for what others do from elsewhere: else anybody could shut it out.
"""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

FREE_OF_ACCOUNT = 3
FREE_OF_ADDRESS = 10
"""Failures that cost no wait: fingers slip, also in gloves. A ward's machines may share an address."""

LONGEST_OF_ACCOUNT_S = 30.0
LONGEST_OF_ADDRESS_S = 300.0

FORGET_S = 3600.0
MOST_KEPT = 4096
"""Of more the oldest is forgotten, so that no flood of names fills the memory."""


@dataclass(slots=True)
class _Failures:
    count: int
    last_s: float
    until_s: float


class Attempts:
    """Failures to log in, by account and by address. ``clock``: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[tuple[str, str], _Failures] = OrderedDict()
        self._homes: OrderedDict[tuple[str, str], None] = OrderedDict()

    def wait_s(self, account: str, address: str) -> float:
        """How long to wait before that account may be tried from that address; 0 where it may be now."""
        keys = [("address", _place(address))]
        if not self.is_home(account, address):
            keys.append(("account", account))
        return max(0.0, *(self._until_s(key) - self._clock() for key in keys))

    def is_home(self, account: str, address: str) -> bool:
        """Whether that account has been logged in from there."""
        return (account, _place(address)) in self._homes

    def note_attempt(self, account: str, address: str) -> None:
        """Somebody tries: counts as a failure until it turns out to be none, as many may try at the same moment."""
        place = _place(address)
        self._count(("address", place), FREE_OF_ADDRESS, LONGEST_OF_ADDRESS_S)
        if not self.is_home(account, address):
            self._count(("account", account), FREE_OF_ACCOUNT, LONGEST_OF_ACCOUNT_S)

    def note_success(self, account: str, address: str) -> None:
        """The last attempt was no failure. Those before it at other accounts from there stay: they may be a guest's."""
        place = _place(address)
        self._failures.pop(("account", account), None)
        if (failures := self._failures.get(("address", place))) is not None:
            failures.count -= 1
            failures.until_s = self._clock()
        self._homes[account, place] = None
        self._homes.move_to_end((account, place))
        if len(self._homes) > MOST_KEPT:
            self._homes.popitem(last=False)

    def _until_s(self, key: tuple[str, str]) -> float:
        failures = self._failures.get(key)
        return float("-inf") if failures is None else failures.until_s

    def _count(self, key: tuple[str, str], free: int, longest_s: float) -> None:
        now = self._clock()
        failures = self._failures.pop(key, None)
        count = 1 if failures is None or now - failures.last_s > FORGET_S else failures.count + 1
        wait_s = 0.0 if count < free else min(longest_s, 2.0 ** min(count - free, 30))
        self._failures[key] = _Failures(count, now, now + wait_s)
        if len(self._failures) > MOST_KEPT:
            self._failures.popitem(last=False)


def _place(address: str) -> str:
    """The address as far as one party owns it: whoever has an IPv6 address has the 2⁶⁴ around it too."""
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(known, ipaddress.IPv6Address):
        return str(known.ipv4_mapped or ipaddress.ip_network((known, 64), strict=False))
    return str(known)
