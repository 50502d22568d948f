"""Certificates for the tests, by the openssl program."""

import shutil
import subprocess
from pathlib import Path

import pytest


def self_signed(folder: Path, name: str = "localhost") -> tuple[Path, Path]:
    """A certificate for this machine and its key; the test skips where there is no openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl missing")
    cert, key = folder / f"{name}.cert.pem", folder / f"{name}.key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return cert, key
