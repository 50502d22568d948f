"""One Orthanc, Debian's, for all tests of this suite; without it they skip and say so, or fail where it is required."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PLUGINS = Path("/usr/share/orthanc/plugins")
NEEDED = {
    "Orthanc": "orthanc",
    "dciodvfy": "dicom3tools",
    str(PLUGINS / "libModalityWorklists.so"): "orthanc",
    str(PLUGINS / "libOrthancDicomWeb.so"): "orthanc-dicomweb",
}


@dataclass(frozen=True)
class Orthanc:
    """Where it is. ``commit_port``: where it answers a request for commitment. ``worklists``: its folder of them."""

    dicom_port: int
    http_port: int
    commit_port: int
    worklists: Path

    @property
    def address(self) -> str:
        return f"ORTHANC@127.0.0.1:{self.dicom_port}"

    @property
    def dicomweb(self) -> str:
        return f"http://127.0.0.1:{self.http_port}/dicom-web"

    def ask(self, path: str) -> Any:
        """The answer of its own interface."""
        return json.loads(self.fetch(path))

    def fetch(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=20) as answer:
            return bytes(answer.read())

    def forget(self) -> None:
        """Remove everything stored."""
        for study in self.ask("/studies"):
            address = f"http://127.0.0.1:{self.http_port}/studies/{study}"
            urllib.request.urlopen(urllib.request.Request(address, method="DELETE"), timeout=20).close()


def _missing(words: str) -> None:
    if os.environ.get("FLUOROGUIDE_REQUIRE_ORTHANC") == "1":
        pytest.fail(words)
    pytest.skip(words)


@pytest.fixture(scope="package")
def debian() -> None:
    """Debian's DICOM programs are there."""
    missing = [package for name, package in NEEDED.items() if not (shutil.which(name) or Path(name).exists())]
    if missing:
        _missing(f"install Debian's {', '.join(sorted(set(missing)))}")


@pytest.fixture(scope="package")
def running(debian: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    folder = tmp_path_factory.mktemp("orthanc")
    place = Orthanc(_free_port(), _free_port(), _free_port(), folder / "worklists")
    place.worklists.mkdir()
    settings = {
        "Name": "test",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": place.http_port,
        "DicomPort": place.dicom_port,
        "DicomAet": "ORTHANC",
        "DicomCheckCalledAet": True,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomModalities": {"fluoroguide": ["FLUOROGUIDE", "127.0.0.1", place.commit_port]},
        "Plugins": [str(PLUGINS / "libModalityWorklists.so"), str(PLUGINS / "libOrthancDicomWeb.so")],
        "Worklists": {"Enable": True, "Database": str(place.worklists)},
        "DicomWeb": {"Enable": True},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["Orthanc", str(folder / "orthanc.json")], stdout=log, stderr=log)
        try:
            _wait_for(place, process, folder / "log")
            yield place
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture
def orthanc(running: Orthanc) -> Orthanc:
    """Empty."""
    running.forget()
    return running


def _wait_for(place: Orthanc, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline_s = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline_s:
        try:
            place.ask("/system")
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"Orthanc does not answer: {log.read_text(errors='replace')[-2000:]}")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
