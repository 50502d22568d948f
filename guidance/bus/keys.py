"""Who may speak and listen: CURVE keys, made once, kept in files that only their owner may read.

    FOLDER/service.key             the service's public key: goes to every client
    FOLDER/service.key_secret      stays where the service runs
    FOLDER/clients/NAME.key        whoever's public key lies here is let in, and known by that name
    FOLDER/clients/NAME.key_secret goes to that client, together with service.key

Beyond this machine every socket is encrypted and lets in known clients only. On this machine's loopback the commands'
socket does: for that the service makes keys that last as long as it runs, where only its own user can read them.
"""

import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import zmq
import zmq.auth

LOCAL = "local"
"""The client on the service's own machine, by the keys that the service makes for itself."""


class KeysError(Exception):
    """Keys cannot be made or read. One line."""


@dataclass(frozen=True, slots=True)
class ServiceKeys:
    """The service's own pair, and the name that each known client's public key stands for."""

    public: bytes
    secret: bytes
    clients: dict[bytes, str]


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """A client's pair, and the service's public key."""

    service: bytes
    public: bytes
    secret: bytes


def make_keys(folder: Path, clients: Sequence[str]) -> list[Path]:
    """The files that were made: of the service, unless it has its keys, and of each client. Raises KeysError.

    Nothing that exists is overwritten: a key that was given away would stop to fit.
    """
    for name in clients:
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name) is None:
            raise KeysError(f"client {name!r}: expected a name of letters, digits, '-', '_' and '.'")
        if (folder / "clients" / f"{name}.key").exists():
            raise KeysError(f"{folder / 'clients' / name}.key: exists; expected another name, or that it is deleted")
    try:
        (folder / "clients").mkdir(parents=True, exist_ok=True, mode=0o700)
        made = [] if (folder / "service.key_secret").exists() else _make_pair(folder, "service")
        for name in clients:
            made += _make_pair(folder / "clients", name)
    except OSError as error:
        raise KeysError(f"{folder}: cannot be written ({error.strerror}); expected a folder for keys") from error
    return made


def service_keys(folder: Path) -> ServiceKeys:
    """What the service needs of a folder of keys. Raises KeysError."""
    public, secret = _read_pair(folder / "service.key_secret")
    clients = {_read_public(file): file.stem for file in sorted((folder / "clients").glob("*.key"))}
    if not clients:
        raise KeysError(f"{folder / 'clients'}: no client's key; expected some: `fluoroguide keys` makes them")
    return ServiceKeys(public, secret, clients)


def client_keys(folder: Path, name: str | None = None) -> ClientKeys:
    """A client's keys from a folder with ``service.key`` and its own secret one, or from the service's folder.

    Raises KeysError. ``name`` may be missing where only one client's secret key lies there.
    """
    secrets = [file for place in (folder, folder / "clients") for file in sorted(place.glob("*.key_secret"))]
    own = [file for file in secrets if file.stem == name or (name is None and file.stem != "service")]
    if len(own) != 1:
        which = "one client's secret key" if name is None else f"{name}.key_secret"
        raise KeysError(f"{folder}: holds {len(own)} that could be meant; expected service.key and {which}")
    public, secret = _read_pair(own[0])
    return ClientKeys(_read_public(folder / "service.key"), public, secret)


def local_folder(service: str) -> Path:
    """Where a service keeps its own keys while it runs. ``service``: the port of its bus."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    place = Path(runtime) if runtime else Path(tempfile.gettempdir())
    return place / f"fluoroguide-{os.getuid()}" / service


@contextmanager
def local_keys(service: str, given: Path | None = None) -> Iterator[ServiceKeys]:
    """The service's keys and clients, among them ``local`` with fresh ones in ``local_folder``, deleted in the end.

    ``given``: the folder with the service's own keys; without one they are fresh too. Raises KeysError.
    """
    folder = local_folder(service)
    try:
        for place in (folder.parent, folder):
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
            status = place.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
                raise KeysError(f"{place}: not this user's alone; expected a folder of mode 0700, or none")
        # What a service that was killed has left.
        for entry in folder.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        if given is not None:
            known = service_keys(given)
            shutil.copy(given / "service.key_secret", folder)
            shutil.copy(given / "service.key", folder)
    except OSError as error:
        raise KeysError(f"{folder}: cannot be written ({error.strerror}); expected a folder for keys") from error
    try:
        make_keys(folder, [LOCAL])
        keys = service_keys(folder)
        yield keys if given is None else replace(keys, clients=known.clients | keys.clients)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make_pair(folder: Path, name: str) -> list[Path]:
    # Nobody else may read the secret key, not even between its making and a chmod.
    umask = os.umask(0o077)
    try:
        public, secret = zmq.auth.create_certificates(folder, name)
    finally:
        os.umask(umask)
    return [Path(public), Path(secret)]


def _read_pair(file: Path) -> tuple[bytes, bytes]:
    public, secret = _load(file)
    if secret is None:
        raise KeysError(f"{file}: holds no secret key; expected a file that `fluoroguide keys` has made")
    return public, secret


def _read_public(file: Path) -> bytes:
    return _load(file)[0]


def _load(file: Path) -> tuple[bytes, bytes | None]:
    try:
        return zmq.auth.load_certificate(file)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not a key file"
        raise KeysError(f"{file}: cannot be read ({why}); expected a file that `fluoroguide keys` has made") from error
