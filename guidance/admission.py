"""Who may come to the dashboard, and over what line: what is refused before anything starts."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from guidance.accounts import read_accounts
from guidance.bus.publisher import is_loopback


class AdmissionError(Exception):
    """The dashboard cannot be offered that way. One line."""


@dataclass(frozen=True, slots=True)
class Admission:
    """How the dashboard is opened.

    ``accounts``: the file of those who may; without one everybody on this machine may, and nobody else.
    ``tls_cert`` and ``tls_key``: PEM files, the certificate with what leads up to its authority. ``plain_http``: beyond
    this machine without TLS, all the same.
    """

    accounts: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    plain_http: bool = False

    def check(self, host: str) -> None:
        """Raise AdmissionError or AccountsError where the dashboard may not be bound to ``host`` like that."""
        if self.accounts is not None:
            read_accounts(self.accounts)
        elif not is_loopback(host):
            raise AdmissionError(
                f"the dashboard on {host}: expected --accounts FILE: beyond this machine people log in; "
                "`fluoroguide accounts` makes the file"
            )
        if (self.tls_cert is None) != (self.tls_key is None):
            raise AdmissionError("the dashboard: expected --tls-cert and --tls-key together")
        if self.tls_cert is not None and self.tls_key is not None:
            check_pair(self.tls_cert, self.tls_key)
        elif not is_loopback(host) and not self.plain_http:
            raise AdmissionError(
                f"the dashboard on {host}: expected --tls-cert and --tls-key: passwords and pictures would cross the "
                "network in the clear; --plain-http where something in front of it speaks TLS"
            )

    @property
    def tls(self) -> bool:
        return self.tls_cert is not None

    def options(self) -> list[str]:
        """The same for ``web``'s command line."""
        named = {"--accounts": self.accounts, "--tls-cert": self.tls_cert, "--tls-key": self.tls_key}
        return [word for name, file in named.items() if file is not None for word in (name, str(file))]


def check_pair(cert: Path, key: Path) -> None:
    """Raise AdmissionError naming the file that no TLS can be spoken with."""
    for file in (cert, key):
        try:
            file.open("rb").close()
        except OSError as error:
            raise AdmissionError(f"{file}: cannot be read ({error.strerror}); expected a PEM file") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    asked = False

    def no_password() -> str:
        # Without this a key with a password would ask for it on the terminal, at each restart of the dashboard.
        nonlocal asked
        asked = True
        return ""

    try:
        context.load_cert_chain(cert, key, no_password)
    except ssl.SSLError as error:
        if asked:
            raise AdmissionError(f"{key}: is locked by a password; expected a key without one, mode 0600") from error
        if error.reason == "KEY_VALUES_MISMATCH":
            raise AdmissionError(f"{key}: not the key of {cert}; expected a pair") from error
        wrong = key if _holds_certificates(cert) else cert
        raise AdmissionError(f"{wrong}: cannot be used ({error.reason or 'no PEM file'}); expected PEM") from error


def _holds_certificates(file: Path) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except ssl.SSLError:
        return False
    return True
